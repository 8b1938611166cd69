#version 450
/* part: training */
#define FRAME 6
#include "frame.glsl"
/* Muon's step of a row that begins at `from`, its direction x at `to`: m = mu m + g,
   p -= lr (size x + decay p). rules as in adamw.comp. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer Params { float params[]; };
layout(set = 0, binding = 1, std430) buffer First { float m[]; };
layout(set = 0, binding = 2, std430) readonly buffer Direction { float x[]; };
layout(set = 0, binding = 3, std430) readonly buffer Gradient { float g[]; };
layout(set = 0, binding = 4, std430) readonly buffer Rules { vec2 rules[]; };
layout(set = 0, binding = 5, std430) readonly buffer Result { float result[]; };
layout(push_constant) uniform MuonStep { uint count, from, to; float size; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    if (result[5] == 0.0) return;
    for (; i < p.count; i += stride) {
        uint at = p.from + i;
        vec2 rule = rules[at / 16u];
        if (rule.x >= 4.0) continue;
        float before = params[at];
        float step = p.size * x[p.to + i] + (rule.x - 2.0) * frame.decay * before;
        m[at] = frame.momentum * m[at] + g[at] * result[4];
        params[at] = min(before - frame.muon_rate * step, rule.y);
    }
}
