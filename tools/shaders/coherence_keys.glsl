/* What the passes of coherence attention that go by keys do with a key's sums: dv [N, .. H E], and the slopes
   of its phase and of its score, in row_a and row_b. */
layout(set = 0, binding = 6, std430) buffer Dvalues { float dvalues[]; };
layout(set = 0, binding = 7, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 8, std430) buffer Draw { float draw[]; };
layout(set = 0, binding = 10, std430) writeonly buffer Slopes { float slopes[]; };
layout(set = 0, binding = 12, std430) readonly buffer Far { vec2 far[]; }; /* slopes of other chunks' pairs */

/* row_a, row_b += the shares of phase [4] and slope [4] that 8 threads have of a key. */
void add_phases(float phase[4], float slope[4])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++)
    {
        scores[(4u * tx + i) * 33u + ty] = phase[i];
        scores[(4u * tx + i) * 33u + 8u + ty] = slope[i];
    }
    barrier();
    if (tid < 32u)
        for (uint i = 0u; i < 8u; i++) {
            row_a[tid] += scores[tid * 33u + i];
            row_b[tid] += scores[tid * 33u + 8u + i];
        }
}

/* sum [4][CW], row_a, row_b of the keys from k0: what queries of other chunks gave. */
void take_far(uint k0, uint c0, inout float sum[32])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++) [[unroll]] for (uint j = 0u; j < CW; j++)
        {
            uint t = k0 + 4u * ty + i, e = c0 + tx + 8u * j;
            if (t < p.seq && e < p.wide)
                sum[i * CW + j] =
                    dvalues[(first + t) * p.value_stride + p.value_column + head * p.wide + e];
        }
    if (tid < 32u && k0 + tid < p.seq) {
        vec2 s = far[(first + k0 + tid) * p.heads + head];
        row_a[tid] = s.x;
        row_b[tid] = s.y;
    }
}

/* dv of the keys from k0, sum [4][CW] */
void write_values(uint k0, uint c0, float sum[32])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++) [[unroll]] for (uint j = 0u; j < CW; j++)
        {
            uint t = k0 + 4u * ty + i, e = c0 + tx + 8u * j;
            if (t < p.seq && e < p.wide)
                dvalues[(first + t) * p.value_stride + p.value_column + head * p.wide + e] =
                    sum[i * CW + j];
        }
}

void write_phases(uint k0)
{
    if (tid >= 32u || k0 + tid >= p.seq) return;
    uint at = (first + k0 + tid) * p.stride + p.column + 2u * head;
    vec2 z = vec2(raw[at], raw[at + 1u]);
    float r2 = z.x * z.x + z.y * z.y, g = coefficients[head].z * row_a[tid] / r2;
    bool add = (p.flags & ADD) != 0u;
    if (sqrt(r2) < 1e-6) g = 0.0;
    draw[at] = (add ? draw[at] : 0.0) - z.y * g;
    draw[at + 1u] = (add ? draw[at + 1u] : 0.0) + z.x * g;
    if (LISTENS != 0u) slopes[(first + k0 + tid) * p.heads + head] = row_b[tid];
}
