#version 450
/* variants: blend=FORWARD blend_back=BACK */
#ifdef FORWARD
#define FRAME 4
#else
#define FRAME 7
#endif
#include "frame.glsl"
#include "math.glsl"
/* FORWARD: y [N,D] = x + sigma(b) (x2 - x), 0 past the active bands. BACK: dx, dx2 from dy, and slopes
   [N,D] = what each row says of db. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer X2 { float x2[]; };
layout(set = 0, binding = 2, std430) readonly buffer B { float b[]; };
layout(set = 0, binding = 3, std430) buffer Y { float y[]; };
#ifdef BACK
layout(set = 0, binding = 4, std430) writeonly buffer Dx { float dx[]; };
layout(set = 0, binding = 5, std430) writeonly buffer Dx2 { float dx2[]; };
layout(set = 0, binding = 6, std430) writeonly buffer Slopes { float slopes[]; };
#endif
layout(push_constant) uniform Blend { uint count, width; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        float share = sigmoid(b[i % p.width]), apart = x2[i] - x[i];
        bool active_ = i % p.width < 2u * frame.active_bands;
#ifdef FORWARD
        y[i] = active_ ? x[i] + share * apart : 0.0;
#else
        float g = active_ ? y[i] : 0.0;
        dx[i] = (1.0 - share) * g;
        dx2[i] = share * g;
        slopes[i] = g * share * (1.0 - share) * apart;
#endif
    }
}
