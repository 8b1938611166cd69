#version 450
/* part: tests */
/* For measurements alone: multiply-adds in registers, 16 vec4 chains a thread, 128 flops a turn.
   What a device reaches here is the peak that shares in tables are of. */
layout(local_size_x = 256) in;
layout(set = 0, binding = 0, std430) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Peak
{
    uint turns;
    float a, b;
}
p;

void main()
{
    vec4 v[16], sum = vec4(0.0);
    uint i, t;
    for (i = 0u; i < 16u; i++) v[i] = vec4(float(gl_LocalInvocationID.x + i));
    for (t = 0u; t < p.turns; t++) {
        v[0] = fma(v[0], vec4(p.a), vec4(p.b));
        v[1] = fma(v[1], vec4(p.a), vec4(p.b));
        v[2] = fma(v[2], vec4(p.a), vec4(p.b));
        v[3] = fma(v[3], vec4(p.a), vec4(p.b));
        v[4] = fma(v[4], vec4(p.a), vec4(p.b));
        v[5] = fma(v[5], vec4(p.a), vec4(p.b));
        v[6] = fma(v[6], vec4(p.a), vec4(p.b));
        v[7] = fma(v[7], vec4(p.a), vec4(p.b));
        v[8] = fma(v[8], vec4(p.a), vec4(p.b));
        v[9] = fma(v[9], vec4(p.a), vec4(p.b));
        v[10] = fma(v[10], vec4(p.a), vec4(p.b));
        v[11] = fma(v[11], vec4(p.a), vec4(p.b));
        v[12] = fma(v[12], vec4(p.a), vec4(p.b));
        v[13] = fma(v[13], vec4(p.a), vec4(p.b));
        v[14] = fma(v[14], vec4(p.a), vec4(p.b));
        v[15] = fma(v[15], vec4(p.a), vec4(p.b));
    }
    for (i = 0u; i < 16u; i++) sum += v[i];
    y[gl_WorkGroupID.x * 256u + gl_LocalInvocationID.x] = sum.x + sum.y + sum.z + sum.w;
}
