/* One tile of a product, as gemm.comp has it. Included once for each product of a shader: what it and
   gemm_load.glsl name (BM .. STAGES, p, pre, load_a, finish_four, ..) is then another's. */
/* Shared tiles are [BK][BM] and [BK][BN], whatever the storage order. */
void store_a(uint i, uint stage, vec4 v)
{
    uint first = stage * BK * (PM + 1u);
    if (i >= BM * BK / 4u) return;
    if (TRANSPOSED_A != 0u) {
        tile_a[first + i / PM * (PM + 1u) + i % PM] = v;
        return;
    }
    uint row = i / (BK / 4u), k = i % (BK / 4u) * 4u;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        tile_a[first + (k + j) * (PM + 1u) + row / 4u][row % 4u] = v[j];
}

void store_b(uint i, uint stage, vec4 v)
{
    uint first = stage * BK * (PN + 1u);
    if (i >= BN * BK / 4u) return;
    if (TRANSPOSED_B == 0u) {
        tile_b[first + i / PN * (PN + 1u) + i % PN] = v;
        return;
    }
    uint column = i / (BK / 4u), k = i % (BK / 4u) * 4u;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        tile_b[first + (k + j) * (PN + 1u) + column / 4u][column % 4u] = v[j];
}

/* The tile (at.x, at.y) of group at.z, which is share `split` of the sum over k: `chunk` of it. */
void make_tile(uvec3 at, uint groups, uint split, uint chunk)
{
    uint tid = gl_LocalInvocationID.x, tx = tid % (BN / TN), ty = tid / (BN / TN);
    uint m0 = at.y * BM, n0 = at.x * BN, group = at.z;
    uint base_a = p.first_a + group * p.group_a, base_b = group * p.group_b;
    uint begin = split * chunk, end = min(begin + chunk, p.k);
    vec4 sum[SUMS], next_a[LOADS_A], next_b[LOADS_B], column[VM];
    uint i, j, r, kk, k0, stage = 0u;

    [[unroll]] for (i = 0u; i < SUMS; i++) sum[i] = vec4(0.0);
    [[unroll]] for (i = 0u; i < VM; i++) column[i] = vec4(0.0);
    [[unroll]] for (i = 0u; i < LOADS_A; i++) next_a[i] =
        load_a(tid + i * THREADS, base_a, m0, begin, end);
    [[unroll]] for (i = 0u; i < LOADS_B; i++) next_b[i] =
        load_b(tid + i * THREADS, base_b, n0, begin, end);
    for (k0 = begin; k0 < end; k0 += BK) {
        [[unroll]] for (i = 0u; i < LOADS_A; i++) store_a(tid + i * THREADS, stage, next_a[i]);
        [[unroll]] for (i = 0u; i < LOADS_B; i++) store_b(tid + i * THREADS, stage, next_b[i]);
        barrier();
        if (k0 + BK < end) {
            [[unroll]] for (i = 0u; i < LOADS_A; i++) next_a[i] =
                load_a(tid + i * THREADS, base_a, m0, k0 + BK, end);
            [[unroll]] for (i = 0u; i < LOADS_B; i++) next_b[i] =
                load_b(tid + i * THREADS, base_b, n0, k0 + BK, end);
        }
        [[unroll]] for (kk = 0u; kk < BK; kk++)
        {
            uint at_a = (stage * BK + kk) * (PM + 1u), at_b = (stage * BK + kk) * (PN + 1u);
            vec4 b[VN];
            [[unroll]] for (j = 0u; j < VN; j++) b[j] = tile_b[at_b + j * (BN / TN) + tx];
            [[unroll]] for (i = 0u; i < VM; i++)
            {
                vec4 a = tile_a[at_a + i * (BM / TM) + ty];
                if (COLUMN_SUMS != 0u) column[i] += a;
                [[unroll]] for (r = 0u; r < 4u; r++) [[unroll]] for (j = 0u; j < VN; j++)
                    sum[(i * 4u + r) * VN + j] = fma(vec4(a[r]), b[j], sum[(i * 4u + r) * VN + j]);
            }
        }
        if (STAGES == 1u) barrier();
        else stage = 1u - stage;
    }
#ifdef WALK
    if (tail != WHOLE && !gather(split, sum)) return;
    split = 0u;
#endif
    [[unroll]] for (i = 0u; i < VM; i++) [[unroll]] for (r = 0u; r < 4u; r++)
        [[unroll]] for (j = 0u; j < VN; j++)
    {
        uint row = m0 + (i * (BM / TM) + ty) * 4u + r, first = n0 + (j * (BN / TN) + tx) * 4u;
        finish_four(row, first, group, split, sum[(i * 4u + r) * VN + j]);
    }
    if (COLUMN_SUMS == 0u || at.x > 0u || tx > 0u) return;
    [[unroll]] for (i = 0u; i < VM; i++) [[unroll]] for (r = 0u; r < 4u; r++)
    {
        uint row = m0 + (i * (BM / TM) + ty) * 4u + r;
        if (row < p.m) pre[(split * groups + group) * p.m + row] = column[i][r];
    }
}
