#version 450
/* variants: resonate=FORWARD resonate_copy=BACK */
#include "math.glsl"
/* Rows of x [q [H,W], k [H,W], v [H,E]] and of y [q, k [H,W + 2F], v [H,E]], where queries and keys
   end in u = (cos, sin) of the phases [N,F] / sqrt F, queries times lambda_h sqrt W. FORWARD: y from x
   and the phases. BACK: dx from dy. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Phi { float phi[]; };
layout(set = 0, binding = 2, std430) readonly buffer Lambda { float lambda[]; };
layout(set = 0, binding = 3, std430) buffer Y { float y[]; };
layout(push_constant) uniform Resonate { uint count, heads, wide, phases, reals; } /* wide: W; reals: H E */
p;

void main()
{
    uint n = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    uint key = p.wide + 2u * p.phases, values = 2u * p.heads * key, all = values + p.reals;
    for (; n < p.count; n += stride) {
        uint row = n / all, i = n % all, h = i / key, e = i % key;
        uint from = row * (2u * p.heads * p.wide + p.reals);
        bool value = i >= values;
        if (value) from += 2u * p.heads * p.wide + i - values;
        else from += h * p.wide + e;
        if (value || e < p.wide) {
#ifdef FORWARD
            y[n] = x[from];
#else
            x[from] = y[n];
#endif
        }
#ifdef FORWARD
        else {
            vec2 sc = sincos_(phi[row * p.phases + (e - p.wide) / 2u]);
            float by = h < p.heads ? lambda[h] * sqrt(float(p.wide)) : 1.0;
            y[n] = by * ((e - p.wide) % 2u == 0u ? sc.y : sc.x) / sqrt(float(p.phases));
        }
#endif
    }
}
