#version 450
/* y_k = W_k z_k + b_k, a 2x2 matrix a band: weight [K,2,2], bias [K,2] */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { vec2 x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Weight { vec4 weight[]; };
layout(set = 0, binding = 2, std430) readonly buffer Bias { vec2 bias[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Y { vec2 y[]; };
layout(push_constant) uniform PerBand { uint count, bands; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        vec4 w = weight[i % p.bands];
        vec2 z = x[i];
        y[i] = vec2(w.x * z.x + w.y * z.y, w.z * z.x + w.w * z.y) + bias[i % p.bands];
    }
}
