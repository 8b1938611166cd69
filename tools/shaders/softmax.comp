#version 450
#define FRAME 3
#include "math.glsl"
#include "frame.glsl"
/* Of each row of logits [rows,V]: nats[first + row] = -ln p(target); with `gradient`, logits become
   (p - 1_target) gradient_scale. A target outside the vocabulary does not count: both are 0 then.
   A workgroup a row. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer Logits { float logits[]; };
layout(set = 0, binding = 1, std430) readonly buffer Targets { uint targets[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Nats { float nats[]; };
layout(push_constant) uniform Softmax { uint rows, first, vocab, gradient; }
p;
shared float sums[64];
#include "row_sum.glsl"

float row_max(float v)
{
    uint tid = gl_LocalInvocationID.x, step;
    float top;
    sums[tid] = v;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) sums[tid] = max(sums[tid], sums[tid + step]);
        barrier();
    }
    top = sums[0];
    barrier();
    return top;
}

void main()
{
    uint tid = gl_LocalInvocationID.x, row, i;
    for (row = gl_WorkGroupID.x; row < p.rows; row += gl_NumWorkGroups.x) {
        uint at = row * p.vocab, target = targets[p.first + row];
        bool counts = target < p.vocab;
        float hit = logits[at + min(target, p.vocab - 1u)];
        float top = -3e38, total = 0.0;
        for (i = tid; i < p.vocab; i += 64u) top = max(top, logits[at + i]);
        top = row_max(top);
        for (i = tid; i < p.vocab; i += 64u) total += exp_(logits[at + i] - top);
        total = row_sum(total);
        if (tid == 0u) nats[p.first + row] = counts ? log_(total) + (top - hit) : 0.0;
        barrier();
        if (p.gradient != 0u)
            for (i = tid; i < p.vocab; i += 64u)
                logits[at + i] = (exp_(logits[at + i] - top) / total - (i == target ? 1.0 : 0.0)) *
                                 (counts ? frame.gradient_scale : 0.0);
    }
}
