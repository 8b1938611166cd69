#version 450
/* part: training */
#include "two_float.glsl"
/* to[c, i] = or += sum over the rows r of chunk c of from[r * ld + first + i], i < n. 16 columns by
   16 lanes: a lane sums every 16th row in order, then the lanes are added as a tree: a fixed order.
   Sums are pairs of floats: gradients of single numbers (alpha, kappa ..) cancel a lot. */
layout(local_size_x = 16, local_size_y = 16) in;
layout(set = 0, binding = 0, std430) readonly buffer From { float from[]; };
layout(set = 0, binding = 1, std430) buffer To { float to[]; };
layout(push_constant) uniform Reduce { uint rows, n, ld, first, chunk, add; }
p;
shared vec2 sums[16][17];

void main()
{
    uint x = gl_LocalInvocationID.x, y = gl_LocalInvocationID.y, i = gl_WorkGroupID.x * 16u + x;
    uint begin = gl_WorkGroupID.y * p.chunk, end = min(begin + p.chunk, p.rows), r, step;
    vec2 s = vec2(0.0);
    if (i < p.n)
        for (r = begin + y; r < end; r += 16u) s = two_add_float(s, from[r * p.ld + p.first + i]);
    sums[y][x] = s;
    barrier();
    for (step = 8u; step > 0u; step /= 2u) {
        if (y < step) sums[y][x] = two_add(sums[y][x], sums[y + step][x]);
        barrier();
    }
    if (y == 0u && i < p.n) {
        uint at = gl_WorkGroupID.y * p.n + i;
        to[at] = p.add != 0u ? to[at] + sums[0][x].x : sums[0][x].x;
    }
}
