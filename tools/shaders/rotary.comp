#version 450
#define MEMBERS 3
#include "math.glsl"
#include "members.glsl"
/* Rotate each pair (2j, 2j+1) of every head by t theta_j: from [N, ld_from] to [N, ld_to], `width`
   columns. turns [E/2], every `step`th of them: theta_j / 2 pi as a binary fraction of 64 bits (low, high), so that t theta
   is reduced exactly for any t. back: by the opposite angle, as the gradient turns. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer From { float from[]; };
layout(set = 0, binding = 1, std430) readonly buffer Turns { uvec2 turns[]; };
layout(set = 0, binding = 2, std430) buffer To { float to[]; };
layout(push_constant) uniform Rotary { uint rows, width, wide, seq, ld_from, ld_to, back, step; }
p;

vec2 angle_of(uint j, uint row)
{
    uint t = row % p.seq, low = members[row / p.seq].position_low + t,
         high = members[row / p.seq].position_high + (low < t ? 1u : 0u), top, rest;
    umulExtended(turns[j].x, low, top, rest);
    top += turns[j].y * low + turns[j].x * high;
    return sincos_(float(int(top)) * 1.46291808e-9);
}

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.rows * (p.width / 2u); i += stride) {
        uint row = i / (p.width / 2u), c = i % (p.width / 2u) * 2u;
        vec2 sc = angle_of(c % p.wide / 2u * p.step, row);
        float a = from[row * p.ld_from + c], b = from[row * p.ld_from + c + 1u];
        if (p.back != 0u) sc.x = -sc.x;
        to[row * p.ld_to + c] = a * sc.y - b * sc.x;
        to[row * p.ld_to + c + 1u] = a * sc.x + b * sc.y;
    }
}
