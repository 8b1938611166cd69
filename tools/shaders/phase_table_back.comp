#version 450
/* part: training */
#include "math.glsl"
/* From dtable [V,D] of phase_table.comp: dphases += w (cos dtable_s - sin dtable_r) where they are
   trained, partial [chunks,K] = cos dtable_r + sin dtable_s over a chunk of symbols. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Phases { float phases[]; };
layout(set = 0, binding = 1, std430) readonly buffer Bands { float bands[]; };
layout(set = 0, binding = 2, std430) readonly buffer Dtable { float dtable[]; };
layout(set = 0, binding = 3, std430) buffer Dphases { float dphases[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform PhaseTableBack { uint vocab, bands, chunk, trained; }
p;

void main()
{
    uint k = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, v = gl_WorkGroupID.y * p.chunk;
    uint last = min(v + p.chunk, p.vocab);
    float sum = 0.0;
    if (k >= p.bands) return;
    for (; v < last; v++) {
        uint i = v * p.bands + k;
        vec2 sc = sincos_(phases[i]);
        float a = dtable[2u * i], b = dtable[2u * i + 1u];
        if (p.trained != 0u) dphases[i] += bands[k] * (sc.y * b - sc.x * a);
        sum += sc.y * a + sc.x * b;
    }
    partial[gl_WorkGroupID.y * p.bands + k] = sum;
}
