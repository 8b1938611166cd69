#version 450
/* part: training */
/* variants: coherence_listen_back= coherence_finish=QUERIES */
#include "math.glsl"
/* With s_k [N,H] the sum of dscore over the queries of key k, where rows listen: draw of the raw loudness =
   s_k (1 - tanh^2), of the raw damping = sigmoid times the sum of s from its row to the end. QUERIES: and
   draw of the raw query, of the shares that coherence_back.comp leaves. A workgroup a head and sequence: from
   its last 64 rows to its first. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 1, std430) readonly buffer Slopes { float slopes[]; };
layout(push_constant) uniform CoherenceListenBack
{
    uint seq, heads, stride, forget_column, loud_column;
    uint within, add; /* as in attend.glsl; add: keys have written to the same columns */
}
p;

shared float sums[64];

#ifdef QUERIES
layout(set = 0, binding = 2, std430) buffer Draw { float draw[]; };
layout(set = 0, binding = 3, std430) readonly buffer Shares { float shares[]; };
layout(set = 0, binding = 4, std430) readonly buffer Coefficients { vec4 coefficients[]; };
layout(set = 0, binding = 5, std430) readonly buffer Far { vec2 far[]; };

/* draw of the raw query of row t */
void write_query(uint head, uint first, uint t)
{
    uint tiles = (p.seq + 31u) / 32u, slots = p.within == 0u ? tiles : min(p.within / 32u, tiles), i;
    uint seen = (p.within == 0u ? t : t % p.within) / 32u, at = (first + t) * p.stride + 2u * head;
    vec2 z = vec2(raw[at], raw[at + 1u]);
    float s = 0.0, r2 = z.x * z.x + z.y * z.y, g;
    for (i = 0u; i <= seen; i++)
        s += shares[((gl_WorkGroupID.y * p.heads + head) * slots + i) * tiles * 32u + t];
    if (p.within != 0u) s += far[(first + t) * p.heads + head].x;
    g = coefficients[head].z * s / r2;
    if (sqrt(r2) < 1e-6) g = 0.0;
    draw[at] = (p.add != 0u ? draw[at] : 0.0) - z.y * g;
    draw[at + 1u] = (p.add != 0u ? draw[at + 1u] : 0.0) + z.x * g;
}
#else
layout(set = 0, binding = 2, std430) writeonly buffer Draw { float draw[]; };
#endif

void main()
{
    uint tid = gl_LocalInvocationID.x, head = gl_WorkGroupID.x, first = gl_WorkGroupID.y * p.seq, i;
    uint parts = (p.seq + 63u) / 64u;
    float later = 0.0;
    for (; parts > 0u; parts--) {
        uint t = (parts - 1u) * 64u + tid, row = first + min(t, p.seq - 1u);
        uint at = row * p.stride + head;
        float slope, y, sum;
#ifdef QUERIES
        if (t < p.seq) write_query(head, first, t);
        if (p.forget_column == 0u && p.loud_column == 0u) continue;
#endif
        slope = t < p.seq ? slopes[row * p.heads + head] : 0.0;
        sums[tid] = slope;
        barrier();
        for (i = 1u; i < 64u; i *= 2u) {
            sum = sums[tid] + (tid + i < 64u ? sums[tid + i] : 0.0);
            barrier();
            sums[tid] = sum;
            barrier();
        }
        sum = later + sums[tid];
        later += sums[0];
        if (t < p.seq && p.forget_column != 0u)
            draw[at + p.forget_column] = sum * sigmoid(raw[at + p.forget_column]);
        if (t < p.seq && p.loud_column != 0u) {
            y = tanh_(raw[at + p.loud_column] * 0.125);
            draw[at + p.loud_column] = slope * (1.0 - y * y);
        }
        barrier();
    }
}
