#version 450
#define MEMBERS 6
#include "math.glsl"
#include "members.glsl"
/* The ring of a member keeps keys [wide_key, pitch] and values [context, E] of a head for the last
   `context` tokens. Each of its rows enters its key and value, then asks softmax(q . k /
   sqrt(wide_score)) of what the ring holds. A workgroup per head and member; weights [B, H, context]
   are scratch. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Queries { float queries[]; };
layout(set = 0, binding = 1, std430) readonly buffer Keys { float keys[]; };
layout(set = 0, binding = 2, std430) readonly buffer Values { float values[]; };
layout(set = 0, binding = 3, std430) writeonly buffer Out { float out_[]; };
layout(set = 0, binding = 4, std430) coherent buffer Ring { float ring[]; };
layout(set = 0, binding = 5, std430) coherent buffer Weights { float weights[]; };
layout(push_constant) uniform DotSession
{
    uint rows, heads, width, context; /* rows: of each member; width: of values */
    uint wide_key; /* of queries and keys */
    uint wide_score; /* scores are over its root */
    uint stride, key_column; /* of queries and keys a row */
    uint value_stride, value_column;
    uint pitch;
    uint first; /* where this layer's ring begins among a member's states, */
    uint member; /* of so many numbers */
}
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
    uint tid = gl_LocalInvocationID.x, head = gl_WorkGroupID.x, b = gl_WorkGroupID.y, row, t, e, k;
    Member member = members[b];
    uint base = member.slot * p.member + p.first +
                head * (p.pitch * p.wide_key + p.context * p.width),
         value_base = base + p.pitch * p.wide_key, w = (b * p.heads + head) * p.context;
    if (member.slot == ABSENT) return;
    for (t = 0u; t < p.rows; t++) {
        uint slot = (member.ring_start + t) % p.context;
        bool full = member.position_high != 0u || member.position_low >= p.context ||
                    member.position_low + t >= p.context;
        uint n = full ? p.context : slot + 1u, at;
        float top = -1e30, total = 0.0;
        row = b * p.rows + t;
        at = row * p.stride + head * p.wide_key;
        for (e = tid; e < p.wide_key; e += 64u)
            ring[base + e * p.pitch + slot] = keys[at + p.key_column + e];
        for (e = tid; e < p.width; e += 64u) {
            ring[value_base + slot * p.width + e] =
                values[row * p.value_stride + p.value_column + head * p.width + e];
        }
        memoryBarrierBuffer();
        barrier();
        for (k = tid; k < n; k += 64u) {
            float s = 0.0;
            for (e = 0u; e < p.wide_key; e++) s += queries[at + e] * ring[base + e * p.pitch + k];
            s /= sqrt(float(p.wide_score));
            weights[w + k] = s;
            top = max(top, s);
        }
        top = row_max(top);
        for (k = tid; k < n; k += 64u) {
            float s = exp_(weights[w + k] - top);
            weights[w + k] = s;
            total += s;
        }
        total = row_sum(total);
        memoryBarrierBuffer();
        barrier();
        for (e = tid; e < p.width; e += 64u) {
            float s = 0.0;
            for (k = 0u; k < n; k++) s += weights[w + k] * ring[value_base + k * p.width + e];
            out_[(row * p.heads + head) * p.width + e] = s / total;
        }
        barrier();
    }
}
