#version 450
#define FRAME 4
#define MEMBERS 5
#include "frame.glsl"
#include "members.glsl"
/* out [N,D] = table[token], or a row of `table` for each (given), + place[t]; bands past the active
   ones are 0 unless `whole`. places: 0 none, 1 table
   of positions, 2 one row for each row of the run (sinusoids past the table) */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Tokens { uint tokens[]; };
layout(set = 0, binding = 1, std430) readonly buffer Table { float table[]; };
layout(set = 0, binding = 2, std430) readonly buffer Places { float places[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Out { float out_[]; };
layout(push_constant) uniform Embed { uint count, width, seq, places, given, whole; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        uint row = i / p.width, d = i % p.width;
        float v = table[p.given != 0u ? i : tokens[row] * p.width + d];
        if (p.places == 1u) v += places[(members[row / p.seq].position_low + row % p.seq) * p.width + d];
        if (p.places == 2u) v += places[i];
        out_[i] = p.whole != 0u || d < 2u * frame.active_bands ? v : 0.0;
    }
}
