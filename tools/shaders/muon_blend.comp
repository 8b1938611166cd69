#version 450
/* part: training */
/* s [count] = a I + b gram + c s, matrices [n,n] one behind the other */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer Squares { float s[]; };
layout(set = 0, binding = 1, std430) readonly buffer Grams { float gram[]; };
layout(push_constant) uniform MuonBlend { uint count, n; float a, b, c; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        float v = p.b * gram[i] + p.c * s[i];
        if (i % (p.n * p.n) % (p.n + 1u) == 0u) v += p.a;
        s[i] = v;
    }
}
