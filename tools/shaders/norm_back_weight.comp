#version 450
/* part: training */
/* Partial sums over a chunk of rows: partial [chunks, 2D] = (sum g xh, sum g); layout as
   reduce.comp */
layout(local_size_x = 16, local_size_y = 16) in;
layout(set = 0, binding = 0, std430) readonly buffer G { float g[]; };
layout(set = 0, binding = 1, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 2, std430) readonly buffer Stats { float stats[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform NormBackWeight { uint rows, width, chunk; }
p;
shared vec2 sums[16][17];

void main()
{
    uint x_ = gl_LocalInvocationID.x, y_ = gl_LocalInvocationID.y, d = gl_WorkGroupID.x * 16u + x_;
    uint first = gl_WorkGroupID.y * p.chunk, last = min(first + p.chunk, p.rows), r, step;
    vec2 s = vec2(0.0);
    if (d < p.width)
        for (r = first + y_; r < last; r += 16u) {
            float v = g[r * p.width + d];
            s += vec2(v * (x[r * p.width + d] - stats[2u * r]) * stats[2u * r + 1u], v);
        }
    sums[y_][x_] = s;
    barrier();
    for (step = 8u; step > 0u; step /= 2u) {
        if (y_ < step) sums[y_][x_] += sums[y_ + step][x_];
        barrier();
    }
    if (y_ == 0u && d < p.width) {
        partial[gl_WorkGroupID.y * 2u * p.width + d] = sums[0][x_].x;
        partial[gl_WorkGroupID.y * 2u * p.width + p.width + d] = sums[0][x_].y;
    }
}
