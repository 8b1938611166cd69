#version 450
/* part: training */
#include "math.glsl"
/* From dy (see resonate.comp): dphi [N,F] = or +=, and slopes [N,F,H], what each phase of a row says
   of dlambda; a thread for each phase of a row. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Dy { float dy[]; };
layout(set = 0, binding = 1, std430) readonly buffer Phi { float phi[]; };
layout(set = 0, binding = 2, std430) readonly buffer Lambda { float lambda[]; };
layout(set = 0, binding = 3, std430) buffer Dphi { float dphi[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Slopes { float slopes[]; };
layout(push_constant) uniform ResonateBack { uint count, heads, wide, phases, reals, add; } /* as resonate.comp has them */
p;

void main()
{
    uint n = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u, h;
    uint key = p.wide + 2u * p.phases, all = 2u * p.heads * key + p.reals;
    float root = sqrt(float(p.wide)), by = 1.0 / sqrt(float(p.phases));
    for (; n < p.count; n += stride) {
        uint row = n / p.phases, f = n % p.phases, at = row * all + p.wide + 2u * f;
        vec2 sc = by * sincos_(phi[n]);
        float sum = 0.0;
        for (h = 0u; h < 2u * p.heads; h++, at += key) {
            float c = dy[at], s = dy[at + 1u];
            sum += (h < p.heads ? lambda[h] * root : 1.0) * (sc.y * s - sc.x * c);
            if (h < p.heads) slopes[n * p.heads + h] = root * (sc.y * c + sc.x * s);
        }
        dphi[n] = p.add != 0u ? dphi[n] + sum : sum;
    }
}
