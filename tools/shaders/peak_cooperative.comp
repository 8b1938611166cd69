#version 450
/* target: vulkan1.3 */
/* tool: slangpy */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : enable
/* For measurements alone: products of 16 x 16 x 16 in registers, 8 sums a subgroup, 65536 flops a
   turn of a subgroup of 32. */
layout(local_size_x = 256) in;
layout(set = 0, binding = 0, std430) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Push
{
    uint turns;
    float a, b;
}
p;

void main()
{
    coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a =
        coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>(float16_t(p.a));
    coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> b =
        coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>(float16_t(p.b));
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> sum[8];
    uint i, t;
    [[unroll]] for (i = 0u; i < 8u; i++) sum[i] =
        coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>(float(i));
    for (t = 0u; t < p.turns; t++)
        [[unroll]] for (i = 0u; i < 8u; i++) sum[i] = coopMatMulAdd(a, b, sum[i]);
    [[unroll]] for (i = 1u; i < 8u; i++) sum[0] += sum[i];
    coopMatStore(sum[0], y, (gl_WorkGroupID.x * 8u + gl_LocalInvocationID.x / 32u) * 256u, 16u,
                 gl_CooperativeMatrixLayoutRowMajor);
}
