#version 450
/* part: training */
#define FRAME 6
#include "frame.glsl"
/* AdamW: m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, p -= lr (m^ / (sqrt v^ + eps) + decay p), with
   g clipped. rules holds, for every 16 parameters, (1 if decayed, plus 2 if Muon's; 4 if frozen,
   largest value allowed). */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer Params { float params[]; };
layout(set = 0, binding = 1, std430) buffer First { float m[]; };
layout(set = 0, binding = 2, std430) buffer Second { float v[]; };
layout(set = 0, binding = 3, std430) readonly buffer Gradient { float g[]; };
layout(set = 0, binding = 4, std430) readonly buffer Rules { vec2 rules[]; };
layout(set = 0, binding = 5, std430) readonly buffer Result { float result[]; };
layout(push_constant) uniform Adamw { uint count; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    if (result[5] == 0.0) return;
    for (; i < p.count; i += stride) {
        vec2 rule = rules[i / 16u];
        if (rule.x >= 2.0) continue;
        float d = g[i] * result[4], x = params[i], a, b;
        a = frame.beta1 * m[i] + (1.0 - frame.beta1) * d;
        b = frame.beta2 * v[i] + (1.0 - frame.beta2) * d * d;
        m[i] = a;
        v[i] = b;
        d = a * frame.correction1 / (sqrt(b * frame.correction2) + frame.epsilon);
        d += rule.x * frame.decay * x;
        params[i] = min(x - frame.learning_rate * d, rule.y);
    }
}
