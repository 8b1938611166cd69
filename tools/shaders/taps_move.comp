#version 450
#define MEMBERS 2
#include "members.glsl"
/* A member's rows move on: heard [taps - 1, D] becomes the last rows of heard and x [rows, D]. A
   thread takes a column, the first row first: none is overwritten before it has moved. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) buffer Heard { float heard[]; };
layout(push_constant) uniform TapsMove { uint rows, width, taps, first, member; }
p;

void main()
{
    uint d = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, b = gl_WorkGroupID.y, i;
    uint at = members[b].slot * p.member + p.first + d, row = b * p.rows * p.width + d;
    if (d >= p.width || members[b].slot == ABSENT) return;
    for (i = 0u; i + 1u < p.taps; i++) {
        uint from = i + p.rows; /* of heard, then x */
        heard[at + i * p.width] = from < p.taps - 1u ? heard[at + from * p.width]
                                                     : x[row + (from - (p.taps - 1u)) * p.width];
    }
}
