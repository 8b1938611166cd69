#version 450
/* part: tests */
/* target: vulkan1.3 */
/* tool: slangpy */
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : enable
/* For measurements alone: products of M x N x K in registers, 8 sums a subgroup, so 16 M N K flops
   a turn of a subgroup. */
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint M = 16;
layout(constant_id = 1) const uint N = 16;
layout(constant_id = 2) const uint K = 16;
layout(set = 0, binding = 0, std430) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Peak
{
    uint turns;
    float a, b;
}
p;

void main()
{
    coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a =
        coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>(float16_t(p.a));
    coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b =
        coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>(float16_t(p.b));
    coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sum[8];
    uint i, t, at = (gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID) * M * N;
    [[unroll]] for (i = 0u; i < 8u; i++) sum[i] =
        coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(float(i));
    for (t = 0u; t < p.turns; t++)
        [[unroll]] for (i = 0u; i < 8u; i++) sum[i] = coopMatMulAdd(a, b, sum[i]);
    [[unroll]] for (i = 1u; i < 8u; i++) sum[0] += sum[i];
    if (at + M * N <= uint(y.length())) /* more subgroups than the host has made room for? */
        coopMatStore(sum[0], y, at, N, gl_CooperativeMatrixLayoutRowMajor);
}
