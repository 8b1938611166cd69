#version 450
/* target: vulkan1.3 */
/* tool: slangpy */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
/* The product of gemm.comp on the device's matrix units: A and B are rounded to half floats on
   their way into shared memory, sums are float. Eight subgroups of 32 make a tile of 128 x 128,
   each 64 x 32 of it in pieces of 16 x 16; steps of 32 along k. */
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint UNUSED0 = 0;
const uint THREADS = 256u, BM = 128u, BN = 128u, BK = 32u;
#include "gemm.glsl"

const uint LD = BK + 8u;          /* halves a row of a shared tile */
shared float16_t tile_a[BM * LD]; /* [m][k] */
shared float16_t tile_b[BN * LD]; /* [n][k] */
shared float results[8 * 256];

void store_a(uint i, vec4 v)
{
    bool along_m = TRANSPOSED_A != 0u;
    uint row = along_m ? i % PM * 4u : i / (BK / 4u), k = along_m ? i / PM : i % (BK / 4u) * 4u;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        tile_a[along_m ? (row + j) * LD + k : row * LD + k + j] = float16_t(v[j]);
}

void store_b(uint i, vec4 v)
{
    bool along_k = TRANSPOSED_B != 0u;
    uint column = along_k ? i / (BK / 4u) : i % PN * 4u;
    uint k = along_k ? i % (BK / 4u) * 4u : i / PN;
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        tile_b[along_k ? column * LD + k + j : (column + j) * LD + k] = float16_t(v[j]);
}

void main()
{
    uint tid = gl_LocalInvocationID.x, lane = tid % 32u, part = tid / 32u;
    uint m0 = gl_WorkGroupID.y * BM, n0 = gl_WorkGroupID.x * BN;
    uint sm = part / 4u * 64u, sn = part % 4u * 32u; /* where this subgroup's piece begins */
    uint group = gl_WorkGroupID.z / p.splits, split = gl_WorkGroupID.z % p.splits;
    uint base_a = p.first_a + group * p.group_a, base_b = group * p.group_b;
    uint begin = split * p.chunk, end = min(begin + p.chunk, p.k), i, j, k0, kk;
    vec4 next_a[LOADS_A], next_b[LOADS_B];
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> sum[8];

    [[unroll]] for (i = 0u; i < 8u; i++) sum[i] =
        coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>(0.0);
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
        [[unroll]] for (kk = 0u; kk < BK; kk += 16u)
        {
            coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a[4];
            coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> b;
            [[unroll]] for (i = 0u; i < 4u; i++) coopMatLoad(
                a[i], tile_a, (sm + 16u * i) * LD + kk, LD, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (j = 0u; j < 2u; j++)
            {
                coopMatLoad(b, tile_b, (sn + 16u * j) * LD + kk, LD,
                            gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (i = 0u; i < 4u; i++) sum[i * 2u + j] =
                    coopMatMulAdd(a[i], b, sum[i * 2u + j]);
            }
        }
        barrier();
    }
    [[unroll]] for (i = 0u; i < 8u; i++)
    { /* through shared memory: which lane has what is opaque */
        coopMatStore(sum[i], results, part * 256u, 16u, gl_CooperativeMatrixLayoutRowMajor);
        barrier();
        [[unroll]] for (j = 0u; j < 8u; j++)
        {
            uint at = lane + 32u * j, row = m0 + sm + i / 2u * 16u + at / 16u;
            finish(row, n0 + sn + i % 2u * 16u + at % 16u, group, split, results[part * 256u + at]);
        }
        barrier();
    }
}
