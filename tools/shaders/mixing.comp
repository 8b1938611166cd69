#version 450
/* z = x after `time` of four-wave mixing. Grid: band tiles, chunks of rows. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { vec2 x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Chi { float chi_[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Z { vec2 z_out[]; };
layout(push_constant) uniform Mixing
{
    uint rows, bands, chunk;
    float time;
}
p;
#define HALO 12u
#define PLANES 5u
#include "mixing.glsl"

void main()
{
    uint row = gl_WorkGroupID.y * p.chunk, last = min(row + p.chunk, p.rows);
    k0 = gl_WorkGroupID.x * 64u;
    for (; row < last; row++) {
        solve(row, p.time * chi_[0]);
        EACH_BAND if (known(i, HALO)) z_out[row * p.bands + k0 + i - HALO] = s[SUM + i];
        barrier();
    }
}
