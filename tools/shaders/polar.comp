#version 450
/* variants: polar=FORWARD polar_back=BACK */
#include "math.glsl"
/* FORWARD: rows of x [q, k, v] (A, A and B reals) -> y [A pairs (softplus q, 0)], [A pairs softplus k
   e^{i shift}], v. BACK: dx from dy, and slopes [N,A] = what each row says of dshift. Threads for the
   larger of A and B. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Shift { float shift[]; };
layout(set = 0, binding = 2, std430) buffer Y { float y[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Dx { float dx[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Slopes { float slopes[]; };
layout(push_constant) uniform Polar { uint count, all, values; }
p;

void main()
{
    uint n = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; n < p.count; n += stride) {
        uint most = max(p.all, p.values), row = n / most, i = n % most;
        uint from = row * (2u * p.all + p.values) + i, to = row * (4u * p.all + p.values) + 2u * i;
        uint key = to + 2u * p.all, value = to + 4u * p.all - i;
        if (i < p.values) {
#ifdef FORWARD
            y[value] = x[from + 2u * p.all];
#else
            dx[from + 2u * p.all] = y[value];
#endif
        }
        if (i >= p.all) continue;
        float q = x[from], k = x[from + p.all];
        vec2 sc = sincos_(shift[i]);
#ifdef FORWARD
        y[to] = softplus(q);
        y[to + 1u] = 0.0;
        y[key] = softplus(k) * sc.y;
        y[key + 1u] = softplus(k) * sc.x;
#else
        dx[from] = y[to] * sigmoid(q);
        dx[from + p.all] = (sc.y * y[key] + sc.x * y[key + 1u]) * sigmoid(k);
        slopes[row * p.all + i] = softplus(k) * (sc.y * y[key + 1u] - sc.x * y[key]);
#endif
    }
}
