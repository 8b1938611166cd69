#version 450
/* part: cooperative */
/* target: vulkan1.3 */
/* tool: slangpy */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
/* The product of gemm.comp on the device's matrix units: A and B are rounded to half floats on
   their way into shared memory (A times 2^shift, so that gradients of many rows do not vanish),
   sums are float. A tile is 128 x 128, in steps of 32 along k; its parts of WM x WN go to the
   subgroups, each in pieces of M x N x K, which is what the device multiplies. The host makes as
   many parts as it expects subgroups: if there are fewer, they take turns, if there are more, some
   rest. */
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint M = 16;
layout(constant_id = 1) const uint N = 16;
layout(constant_id = 2) const uint K = 16;
layout(constant_id = 3) const uint WM = 64;
layout(constant_id = 4) const uint WN = 32;
const uint THREADS = 256u, BM = 128u, BN = 128u, BK = 32u;
#include "gemm.glsl"

const uint LD = BK + 8u; /* halves a row of a shared tile */
const uint PARTS = BM / WM * (BN / WN), ROWS = WM / M, COLUMNS = WN / N;
shared float16_t tile_a[BM * LD]; /* [m][k] */
shared float16_t tile_b[BN * LD]; /* [n][k] */
shared float results[PARTS * M * N];

float power(int exponent) { return uintBitsToFloat(uint(127 + exponent) << 23); }

void store_a(uint i, vec4 v)
{
    bool along_m = TRANSPOSED_A != 0u;
    uint row = along_m ? i % PM * 4u : i / (BK / 4u), k = along_m ? i / PM : i % (BK / 4u) * 4u;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        tile_a[along_m ? (row + j) * LD + k : row * LD + k + j] =
            float16_t(v[j] * power(int(p.shift)));
}

void store_b(uint i, vec4 v)
{
    bool along_k = TRANSPOSED_B != 0u;
    uint column = along_k ? i / (BK / 4u) : i % PN * 4u;
    uint k = along_k ? i % (BK / 4u) * 4u : i / PN;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        tile_b[along_k ? column * LD + k + j : (column + j) * LD + k] = float16_t(v[j]);
}

/* One part of the tile; `busy` is the same in all of a subgroup. */
void make_part(uint part, bool busy)
{
    uint tid = gl_LocalInvocationID.x, m0 = gl_WorkGroupID.y * BM, n0 = gl_WorkGroupID.x * BN;
    uint sm = part / (BN / WN) * WM, sn = part % (BN / WN) * WN;
    uint group = gl_WorkGroupID.z / p.splits, split = gl_WorkGroupID.z % p.splits;
    uint base_a = p.first_a + group * p.group_a, base_b = group * p.group_b;
    uint begin = split * p.chunk, end = min(begin + p.chunk, p.k), i, j, k0, kk, at;
    vec4 next_a[LOADS_A], next_b[LOADS_B];
    coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sum[ROWS * COLUMNS];

    [[unroll]] for (i = 0u; i < ROWS * COLUMNS; i++) sum[i] =
        coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0.0);
    [[unroll]] for (i = 0u; i < LOADS_A; i++) next_a[i] =
        load_a(tid + i * THREADS, base_a, m0, begin, end);
    [[unroll]] for (i = 0u; i < LOADS_B; i++) next_b[i] =
        load_b(tid + i * THREADS, base_b, n0, begin, end);
    for (k0 = begin; k0 < end; k0 += BK) {
        [[unroll]] for (i = 0u; i < LOADS_A; i++) store_a(tid + i * THREADS, next_a[i]);
        [[unroll]] for (i = 0u; i < LOADS_B; i++) store_b(tid + i * THREADS, next_b[i]);
        barrier();
        if (k0 + BK < end) {
            [[unroll]] for (i = 0u; i < LOADS_A; i++) next_a[i] =
                load_a(tid + i * THREADS, base_a, m0, k0 + BK, end);
            [[unroll]] for (i = 0u; i < LOADS_B; i++) next_b[i] =
                load_b(tid + i * THREADS, base_b, n0, k0 + BK, end);
        }
        if (busy) {
            [[unroll]] for (kk = 0u; kk < BK; kk += K)
            {
                coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a[ROWS];
                coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b;
                [[unroll]] for (i = 0u; i < ROWS; i++) coopMatLoad(
                    a[i], tile_a, (sm + M * i) * LD + kk, LD, gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (j = 0u; j < COLUMNS; j++)
                {
                    coopMatLoad(b, tile_b, (sn + N * j) * LD + kk, LD,
                                gl_CooperativeMatrixLayoutColumnMajor);
                    [[unroll]] for (i = 0u; i < ROWS; i++) sum[i * COLUMNS + j] =
                        coopMatMulAdd(a[i], b, sum[i * COLUMNS + j]);
                }
            }
        }
        barrier();
    }
    [[unroll]] for (i = 0u; i < ROWS * COLUMNS; i++)
    { /* through shared memory: which lane has what is opaque */
        if (busy)
            coopMatStore(sum[i], results, part * M * N, N, gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        for (at = gl_SubgroupInvocationID; busy && at < M * N; at += gl_SubgroupSize)
            finish(m0 + sm + i / COLUMNS * M + at / N, n0 + sn + i % COLUMNS * N + at % N, group,
                   split, results[part * M * N + at] * power(-int(p.shift)));
        barrier();
    }
}

void main()
{
    for (uint first = 0u; first < PARTS; first += gl_NumSubgroups) {
        uint part = first + gl_SubgroupID;
        make_part(min(part, PARTS - 1u), part < PARTS);
    }
}
