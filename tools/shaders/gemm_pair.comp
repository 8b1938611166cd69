#version 450
/* part: training */
/* Both products of a linear op's backward in one dispatch, each in tiles of its own: dX [m,n] = or +=
   G [m,k] W [k,n], what `p` says, and dW [k,n] += G^T X of X [m,n] with, COLUMN_SUMS, sums of G's columns
   as `sums`. The first p.shift workgroups make dW, whose sum over m has p.splits shares of p.chunk, the rest
   dX. p.first_a is 0; rows of X and G hold the groups side by side. Their tiles take as many threads;
   of shared memory there is what the larger needs. The sums are gemm.comp's. */
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint BM = 32; /* of dX */
layout(constant_id = 2) const uint BN = 32;
layout(constant_id = 3) const uint BK = 16;
layout(constant_id = 4) const uint TM = 4;
layout(constant_id = 5) const uint TN = 4;
layout(constant_id = 9) const uint STAGES = 1;
layout(constant_id = 10) const uint COLUMN_SUMS_W = 0;
layout(constant_id = 11) const uint PUSHED_FLAGS = 0; /* of dX */
layout(constant_id = 12) const uint FOURS = 0; /* rows of dX and of dW begin at multiples of 4 */
layout(constant_id = 13) const uint BM_W = 32; /* of dW */
layout(constant_id = 14) const uint BN_W = 32;
layout(constant_id = 15) const uint BK_W = 16;
layout(constant_id = 16) const uint TM_W = 4;
layout(constant_id = 17) const uint TN_W = 4;
layout(constant_id = 18) const uint STAGES_W = 1;
const uint COLUMN_SUMS = 0u;
#define FLAGS PUSHED_FLAGS
#define FOURS FOURS
#include "gemm.glsl"
const uint VM = TM / 4u, VN = TN / 4u, VM_W = TM_W / 4u, VN_W = TN_W / 4u;
const uint SUMS = TM * VN, SUMS_W = TM_W * VN_W;
const uint PM_W = BM_W / 4u, PN_W = BN_W / 4u;
const uint LOADS_A_W = (BM_W * BK_W / 4u + THREADS - 1u) / THREADS;
const uint LOADS_B_W = (BN_W * BK_W / 4u + THREADS - 1u) / THREADS;
const uint SIZE_A = STAGES * BK * (PM + 1u), SIZE_A_W = STAGES_W * BK_W * (PM_W + 1u);
const uint SIZE_B = STAGES * BK * (PN + 1u), SIZE_B_W = STAGES_W * BK_W * (PN_W + 1u);
shared vec4 tile_a[SIZE_A > SIZE_A_W ? SIZE_A : SIZE_A_W];
shared vec4 tile_b[SIZE_B > SIZE_B_W ? SIZE_B : SIZE_B_W];
layout(set = 0, binding = 6, std430) readonly buffer X4 { vec4 x4[]; };
layout(set = 0, binding = 6, std430) readonly buffer X1 { float x1[]; };
layout(set = 0, binding = 7, std430) buffer Weight4 { vec4 dw4[]; };
layout(set = 0, binding = 7, std430) buffer Weight1 { float dw1[]; };
layout(set = 0, binding = 8, std430) buffer Sums { float sums[]; };
#include "gemm_tile.glsl"

/* The product of dW, by the names of the first. */
struct Product {
    uint m, n, k, lda, ldb, group_a, group_b, first_a;
} w;

void finish_w(uint row, uint column, uint group, uint split, vec4 v)
{
    uint at = (group * w.m + row) * w.n + column + (p.splits > 1u ? split * p.split_c : 0u);
    if (row >= w.m || column >= w.n) return;
    if (FOURS != 0u) {
        dw4[at / 4u] = p.splits > 1u ? v : dw4[at / 4u] + v;
        return;
    }
    [[unroll]] for (uint j = 0u; j < 4u; j++)
        if (column + j < w.n) dw1[at + j] = p.splits > 1u ? v[j] : dw1[at + j] + v[j];
}

FETCH(fetch_x, x4, x1)
#define TRANSPOSED_A 1u
#define TRANSPOSED_B 0u
#define BM BM_W
#define BN BN_W
#define BK BK_W
#define TM TM_W
#define TN TN_W
#define VM VM_W
#define VN VN_W
#define SUMS SUMS_W
#define PM PM_W
#define PN PN_W
#define LOADS_A LOADS_A_W
#define LOADS_B LOADS_B_W
#define STAGES STAGES_W
#define COLUMN_SUMS COLUMN_SUMS_W
#define fetch_b fetch_x
#define load_a load_a_w
#define load_b load_b_w
#define store_a store_a_w
#define store_b store_b_w
#define make_tile make_tile_w
#define finish_four finish_w
#define pre sums
#define p w
#include "gemm_load.glsl" /* again */
#include "gemm_tile.glsl" /* again */
#undef p
#undef BM
#undef BN
#undef make_tile

void main()
{
    uint i = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, groups = p.lda / p.k;
    uint across = (p.n + BN_W - 1u) / BN_W, down = (p.k + BM_W - 1u) / BM_W;
    w = Product(p.k, p.n, p.m, p.lda, p.n * groups, p.k, p.n, 0u);
    if (i < p.shift) {
        uint slice = i / (across * down);
        make_tile_w(uvec3(i % across, i / across % down, slice / p.splits), groups, slice % p.splits,
                    p.chunk);
        return;
    }
    i -= p.shift;
    across = (p.n + BN - 1u) / BN;
    down = (p.m + BM - 1u) / BM;
    if (i < across * down * groups)
        make_tile(uvec3(i % across, i / across % down, i / (across * down)), groups, 0u, p.k);
}
