#version 450
/* C [m,n] = or += op(A) [m,k] op(B) [k,n] + bias [n] + residual [m,n], then gelu. A is stored
   [m,k], or [k,m] with TRANSPOSED_A; B [k,n], or [n,k] with TRANSPOSED_B (a weight). A workgroup
   makes one BM x BN tile in steps of BK along k through shared memory, while the next step's tiles
   are on their way into registers; a thread makes TM x TN of it. Slice z of the grid is `group *
   splits + split`: groups are the diagonal blocks of a block matrix, splits share the sum over k
   and write partial products one after the other. VEC: rows begin at multiples of 4. STAGES 2: two
   pairs of tiles, so that one barrier a step is enough (a thread that stores into a pair has passed
   the barrier that all reach when they are done with it); the sums are the same. */
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint BM = 32;
layout(constant_id = 2) const uint BN = 32;
layout(constant_id = 3) const uint BK = 16;
layout(constant_id = 4) const uint TM = 4;
layout(constant_id = 5) const uint TN = 4;
layout(constant_id = 9) const uint STAGES = 1;
layout(constant_id = 10) const uint COLUMN_SUMS = 0; /* with TRANSPOSED_A: sums of A's columns over k
                                        as `pre` [splits, groups, m]: the gradient of a bias */
#include "gemm.glsl"
const uint VM = TM / 4u, VN = TN / 4u;
shared vec4 tile_a[STAGES * BK * (PM + 1u)];
shared vec4 tile_b[STAGES * BK * (PN + 1u)];

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

void main()
{
    uint tid = gl_LocalInvocationID.x, tx = tid % (BN / TN), ty = tid / (BN / TN);
    uint m0 = gl_WorkGroupID.y * BM, n0 = gl_WorkGroupID.x * BN;
    uint group = gl_WorkGroupID.z / p.splits, split = gl_WorkGroupID.z % p.splits;
    uint base_a = p.first_a + group * p.group_a, base_b = group * p.group_b;
    uint begin = split * p.chunk, end = min(begin + p.chunk, p.k);
    vec4 sum[TM * VN], next_a[LOADS_A], next_b[LOADS_B], column[VM];
    uint i, j, r, kk, k0, stage = 0u;

    [[unroll]] for (i = 0u; i < TM * VN; i++) sum[i] = vec4(0.0);
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
    [[unroll]] for (i = 0u; i < VM; i++) [[unroll]] for (r = 0u; r < 4u; r++)
        [[unroll]] for (j = 0u; j < VN; j++)
    {
        vec4 v = sum[(i * 4u + r) * VN + j];
        uint row = m0 + (i * (BM / TM) + ty) * 4u + r, first = n0 + (j * (BN / TN) + tx) * 4u;
        finish(row, first, group, split, v.x);
        finish(row, first + 1u, group, split, v.y);
        finish(row, first + 2u, group, split, v.z);
        finish(row, first + 3u, group, split, v.w);
    }
    if (COLUMN_SUMS == 0u || gl_WorkGroupID.x > 0u || tx > 0u) return;
    [[unroll]] for (i = 0u; i < VM; i++) [[unroll]] for (r = 0u; r < 4u; r++)
    {
        uint row = m0 + (i * (BM / TM) + ty) * 4u + r;
        uint at = (split * (gl_NumWorkGroups.z / p.splits) + group) * p.m + row;
        if (row < p.m) pre[at] = column[i][r];
    }
}
