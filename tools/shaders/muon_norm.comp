#version 450
/* part: training */
/* x [matrices,count] = x / (Frobenius norm of its matrix + 1e-7); a workgroup a matrix */
layout(local_size_x = 128) in;
layout(set = 0, binding = 0, std430) buffer Matrices { float x[]; };
layout(push_constant) uniform MuonNorm { uint matrices, count; }
p;
shared float sums[128];

void main()
{
    uint tid = gl_LocalInvocationID.x, matrix, i, step;
    for (matrix = gl_WorkGroupID.x; matrix < p.matrices; matrix += gl_NumWorkGroups.x) {
        uint base = matrix * p.count;
        float sum = 0.0;
        for (i = tid; i < p.count; i += 128u) sum += x[base + i] * x[base + i];
        sums[tid] = sum;
        barrier();
        for (step = 64u; step > 0u; step /= 2u) {
            if (tid < step) sums[tid] += sums[tid + step];
            barrier();
        }
        sum = 1.0 / (sqrt(sums[0]) + 1e-7);
        for (i = tid; i < p.count; i += 128u) x[base + i] *= sum;
        barrier();
    }
}
