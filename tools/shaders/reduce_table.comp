#version 450
/* part: training */
#include "math.glsl"
#include "two_float.glsl"
/* Many sums over rows at once: to[s.to + i] += f sum over rows r of from[s.from + r * s.ld + i], i < s.n,
   for every segment s of a table; no two write to the same place. f is s.scale, with s.raw also the
   sigmoid of parameter s.raw - 1 + i. With s.inner > 1 a row is that many columns of one sum. A
   workgroup takes 256 columns, 16 columns by 16 lanes, or one column by 256 lanes. Fixed orders; sums are
   pairs of floats. */
layout(local_size_x = 256) in;
struct Segment {
    uint end; /* workgroups of this and all segments before */
    uint from, to, rows, ld, n;
    uint lanes; /* that share a column: 1, 16, 256 */
    uint inner, raw;
    float scale;
    uint pad0, pad1;
};
layout(set = 0, binding = 0, std430) readonly buffer Table { Segment table[]; };
layout(set = 0, binding = 1, std430) readonly buffer From { float from[]; };
layout(set = 0, binding = 2, std430) buffer To { float to[]; };
layout(set = 0, binding = 3, std430) readonly buffer Params { float params[]; };
layout(push_constant) uniform ReduceTable { uint segments; }
p;
shared vec2 sums[256];

vec2 sum_of(Segment s, uint column, uint first, uint stride)
{
    vec2 sum = vec2(0.0);
    for (uint r = first; r < s.rows; r += stride)
        sum = two_add_float(sum, from[s.from + r / s.inner * s.ld + r % s.inner + column]);
    return sum;
}

void add(Segment s, uint column, float v)
{
    if (s.raw != 0u) v *= sigmoid(params[s.raw - 1u + column]);
    to[s.to + column] += s.scale * v;
}

void main()
{
    uint tid = gl_LocalInvocationID.x, step, low = 0u, high = p.segments;
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, middle, i;
    while (low < high) { /* the first segment that ends behind the group */
        middle = (low + high) / 2u;
        if (table[middle].end > group) high = middle;
        else low = middle + 1u;
    }
    if (low == p.segments) return;
    Segment s = table[low];
    if (low > 0u) group -= table[low - 1u].end;
    uint wide = 256u / s.lanes, lane = tid / wide; /* columns of the workgroup */
    i = group * wide + tid % wide;
    sums[tid] = i < s.n ? sum_of(s, i, lane, s.lanes) : vec2(0.0);
    for (step = s.lanes / 2u; step > 0u; step /= 2u) {
        barrier();
        if (lane < step) sums[tid] = two_add(sums[tid], sums[tid + step * wide]);
    }
    if (lane == 0u && i < s.n) add(s, i, sums[tid].x);
}
