#version 450
/* part: training */
#include "two_float.glsl"
/* Many sums over rows at once: to[s.to + i] += sum over rows r of from[s.from + r * s.ld + i], i < s.n,
   for every segment s of a table; no two write to the same place. A workgroup takes 256 columns of a
   segment of few rows, or 16 columns of one of many, by 16 lanes as reduce.comp does. Fixed orders; sums
   are pairs of floats. */
layout(local_size_x = 256) in;
struct Segment {
    uint end; /* workgroups of this and all segments before */
    uint from, to, rows, ld, n, flat_rows, pad;
};
layout(set = 0, binding = 0, std430) readonly buffer Table { Segment table[]; };
layout(set = 0, binding = 1, std430) readonly buffer From { float from[]; };
layout(set = 0, binding = 2, std430) buffer To { float to[]; };
layout(push_constant) uniform ReduceTable { uint segments; }
p;
shared vec2 sums[16][17];

vec2 sum_of(Segment s, uint column, uint first, uint stride)
{
    vec2 sum = vec2(0.0);
    for (uint r = first; r < s.rows; r += stride)
        sum = two_add_float(sum, from[s.from + r * s.ld + column]);
    return sum;
}

void main()
{
    uint tid = gl_LocalInvocationID.x, x = tid % 16u, y = tid / 16u, step, low = 0u, high = p.segments;
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, middle, i;
    while (low < high) { /* the first segment that ends behind the group */
        middle = (low + high) / 2u;
        if (table[middle].end > group) high = middle;
        else low = middle + 1u;
    }
    if (low == p.segments) return;
    Segment s = table[low];
    if (low > 0u) group -= table[low - 1u].end;
    if (s.flat_rows != 0u) {
        i = group * 256u + tid;
        if (i < s.n) to[s.to + i] += sum_of(s, i, 0u, 1u).x;
        return;
    }
    i = group * 16u + x;
    sums[y][x] = i < s.n ? sum_of(s, i, y, 16u) : vec2(0.0);
    barrier();
    for (step = 8u; step > 0u; step /= 2u) {
        if (y < step) sums[y][x] = two_add(sums[y][x], sums[y + step][x]);
        barrier();
    }
    if (y == 0u && i < s.n) to[s.to + i] += sums[0][x].x;
}
