#version 450
/* variants: gemm= gemm_walk=WALK */
/* C [m,n] = or += op(A) [m,k] op(B) [k,n] + bias [n] + residual [m,n], then gelu. A is stored
   [m,k], or [k,m] with TRANSPOSED_A; B [k,n], or [n,k] with TRANSPOSED_B (a weight). A workgroup
   makes one BM x BN tile in steps of BK along k through shared memory, while the next step's tiles
   are on their way into registers; a thread makes TM x TN of it. Slice z of the grid is `group *
   splits + split`: groups are the diagonal blocks of a block matrix, splits share the sum over k
   and write partial products one after the other. VEC: rows begin at multiples of 4. STAGES 2: two
   pairs of tiles, so that one barrier a step is enough (a thread that stores into a pair has passed
   the barrier that all reach when they are done with it); the sums are the same.
   WALK: where tiles are few waves of what runs at once, the last, which would leave most of the device idle,
   are cut along k: p.shift of the p.split_c tiles are made whole, each of the others by p.splits workgroups,
   `chunk` of k each, of which the last to come adds the shares up, in their order. Nobody waits. */
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
const uint VM = TM / 4u, VN = TN / 4u, SUMS = TM * VN;
shared vec4 tile_a[STAGES * BK * (PM + 1u)];
shared vec4 tile_b[STAGES * BK * (PN + 1u)];
#ifdef WALK
const uint WHOLE = 0xffffffffu;
layout(set = 0, binding = 6, std430) coherent buffer Shares { vec4 shares[]; };
layout(set = 0, binding = 7, std430) coherent buffer Turns { uint turns[]; }; /* 0 before and after */
shared uint turn;
uint tail; /* which of the tiles that are cut this is; WHOLE: none of them */

/* sum becomes that of all shares, if this is the last of them; false: it is not. */
bool gather(uint split, inout vec4 sum[SUMS])
{
    uint tid = gl_LocalInvocationID.x, at = tail * p.splits * SUMS * THREADS + tid;
    [[unroll]] for (uint i = 0u; i < SUMS; i++) shares[at + (split * SUMS + i) * THREADS] = sum[i];
    memoryBarrierBuffer();
    barrier();
    if (tid == 0u) turn = atomicAdd(turns[tail], 1u);
    barrier();
    if (turn + 1u < p.splits) return false;
    memoryBarrierBuffer();
    [[unroll]] for (uint i = 0u; i < SUMS; i++) sum[i] = shares[at + i * THREADS];
    for (uint s = 1u; s < p.splits; s++) [[unroll]] for (uint i = 0u; i < SUMS; i++)
            sum[i] += shares[at + (s * SUMS + i) * THREADS];
    if (tid == 0u) turns[tail] = 0u;
    return true;
}
#endif
#include "gemm_tile.glsl"

#ifdef WALK
void main()
{
    uint i = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, split = 0u, chunk = p.k;
    uint across = (p.n + BN - 1u) / BN, down = (p.m + BM - 1u) / BM;
    tail = WHOLE;
    if (i >= p.shift) {
        tail = (i - p.shift) / p.splits;
        split = (i - p.shift) % p.splits;
        chunk = p.chunk;
        i = p.shift + tail;
    }
    if (i < p.split_c)
        make_tile(uvec3(i % across, i / across % down, i / (across * down)), 1u, split, chunk);
}
#else
void main()
{
    uvec3 at = gl_WorkGroupID;
    make_tile(uvec3(at.xy, at.z / p.splits), gl_NumWorkGroups.z / p.splits, at.z % p.splits, p.chunk);
}
#endif
