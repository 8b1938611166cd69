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
layout(constant_id = 11) const uint PUSHED_FLAGS = 0; /* those of the push block */
layout(constant_id = 12) const uint FOURS = 0; /* rows of C begin at multiples of 4 */
#define FLAGS PUSHED_FLAGS
#define FOURS FOURS
#include "gemm.glsl"
const uint VM = TM / 4u, VN = TN / 4u;
shared vec4 tile_a[STAGES * BK * (PM + 1u)];
shared vec4 tile_b[STAGES * BK * (PN + 1u)];
#include "gemm_tile.glsl"

void main()
{
    uvec3 at = gl_WorkGroupID;
    make_tile(uvec3(at.xy, at.z / p.splits), gl_NumWorkGroups.z / p.splits, at.z % p.splits, p.chunk);
}
