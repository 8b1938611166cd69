#version 450
/* part: training */
#define COHERENCE
#define DEPTHS 9
#define FRAME 10
#define OWN_DELTA
#include "attend_back.glsl"
/* With t = -kappa sin dscore: dphi_q = sum_k t, (drho, dsigma) = n dphi (-sigma, rho) / r^2.
   partial [sequences * tiles, 3H] = (dkappa, domega, dlambda) of a tile's queries:
   sum dscore (cos - 1), sum t (q - k), -sum dscore (q - k). Grid: query tiles, heads, sequences.
   Overtones: 5H, behind them the sums of dscore (cos 2x - 1), dscore (cos 3x - 1), for the raw ones.
   Where queries have gains, their kappa cos stands for cos: dkappa_q = sum dscore (kappa cos) / kappa. */
layout(set = 0, binding = 6, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 7, std430) buffer Draw { float draw[]; };
layout(set = 0, binding = 8, std430) writeonly buffer Partial { float partial[]; };
layout(set = 0, binding = 11, std430) readonly buffer Far { vec2 far[]; }; /* slopes of other chunks' pairs */

shared float other[32 * 33 * (LISTENS / 3) + 1];

void write_gain(uint row, float slope)
{
    uint at = row * p.stride + p.gain_column + head;
    vec2 a = phasors[row * p.heads + head].xy;
    float gain = sqrt(a.x * a.x + a.y * a.y), x = raw[at];
    draw[at] = softplus(x) < p.gain_most && gain > 0.0 ? slope / gain * sigmoid(x) : 0.0;
}

/* delta = dO . O of the tile's queries, what the softmax backward subtracts; with far slopes it is there. */
void make_delta(uint q0)
{
    uint at = (first + min(q0 + tid, p.seq - 1u)) * p.heads + head, e;
    float s = 0.0;
    if (tid >= 32u) return;
    if (p.within != 0u) s = delta[at];
    for (e = 0u; p.within == 0u && e < p.wide; e++) s += out_[at * p.wide + e] * dout[at * p.wide + e];
    if (p.within == 0u && q0 + tid < p.seq) delta[at] = s;
    row_c[tid] = s;
}

/* Sums of the tile's queries, in `other`, times the slope of 2 tanh(x / 2) or of tanh(2 x) / 2. */
void write_overtone(uint at, uint m)
{
    float s = 0.0, k = m == 0u ? 0.5 * coefficients[p.heads + head].x : 2.0 * coefficients[p.heads + head].y;
    for (uint q = 0u; q < 32u; q++)
        for (uint j = 0u; j < 8u; j++) s += other[q * 33u + 8u * m + j];
    partial[at] = s * (1.0 - k * k);
}

void main()
{
    uint q0 = gl_WorkGroupID.x * 32u, k0, i;
    float kappa, phase[4], cosines[4], distances[4], turns[4], twice[4], thrice[4];
    head = gl_WorkGroupID.y;
    first = gl_WorkGroupID.z * p.seq;
    kappa = LISTENS > 2u ? 1.0 : coefficients[head].x; /* sines have the overtones' already */
    [[unroll]] for (i = 0u; i < 4u; i++) phase[i] = cosines[i] = distances[i] = turns[i] = twice[i] =
        thrice[i] = 0.0;
    make_delta(q0);
    for (k0 = near_first(q0); k0 <= q0; k0 += 32u) {
        float block[16], cosine[16], sine[16], d[16];
        load_phasors(q0, k0);
        pair_values(q0, k0, d);
        pair_scores(q0, k0, block, cosine, sine);
        pair_gradient(q0, k0, block, d);
        [[unroll]] for (i = 0u; i < 16u; i++)
        {
            float t = -kappa * sine[i] * d[i];
            float away = float(q0 + 4u * ty + i / 4u) - float(k0 + 4u * tx + i % 4u);
            phase[i / 4u] += t;
            cosines[i / 4u] += d[i] * (LISTENS == 2u ? cosine[i] : cosine[i] - 1.0);
            turns[i / 4u] += t * away;
            distances[i / 4u] -= d[i] * away;
            if (LISTENS > 2u) {
                float x = cosine[i];
                twice[i / 4u] += d[i] * 2.0 * (x * x - 1.0);
                thrice[i / 4u] += d[i] * (x * (4.0 * x * x - 3.0) - 1.0);
            }
        }
        barrier();
    }
    [[unroll]] for (i = 0u; i < 4u; i++)
    { /* one row of `other` each: 8 shares of a query */
        uint row = 4u * ty + i;
        scores[row * 33u + tx] = phase[i];
        scores[row * 33u + 8u + tx] = cosines[i];
        scores[row * 33u + 16u + tx] = turns[i];
        scores[row * 33u + 24u + tx] = distances[i];
        if (LISTENS > 2u) {
            other[row * 33u + tx] = twice[i];
            other[row * 33u + 8u + tx] = thrice[i];
        }
    }
    barrier();
    if (tid < 32u) {
        float s[4];
        [[unroll]] for (i = 0u; i < 4u; i++)
        {
            s[i] = 0.0;
            for (uint j = 0u; j < 8u; j++) s[i] += scores[tid * 33u + 8u * i + j];
        }
        row_a[tid] = s[1];
        row_b[tid] = s[2];
        row_c[tid] = s[3];
        if (q0 + tid < p.seq) {
            uint at = (first + q0 + tid) * p.stride + p.column + 2u * head;
            vec2 z = vec2(raw[at], raw[at + 1u]);
            if (p.within != 0u) s[0] += far[(first + q0 + tid) * p.heads + head].x;
            float r2 = z.x * z.x + z.y * z.y, g = coefficients[head].z * s[0] / r2;
            if (sqrt(r2) < 1e-6) g = 0.0;
            draw[at] = -z.y * g;
            draw[at + 1u] = z.x * g;
            if (LISTENS == 2u) write_gain(first + q0 + tid, s[1]);
        }
    }
    barrier();
    uint at = (gl_WorkGroupID.z * gl_NumWorkGroups.x + gl_WorkGroupID.x) * (LISTENS > 2u ? 5u : 3u) *
                  p.heads + head;
    if (tid < 3u) {
        float s = 0.0;
        for (i = 0u; i < 32u; i++) s += tid == 0u ? row_a[i] : tid == 1u ? row_b[i] : row_c[i];
        partial[at + tid * p.heads] = s;
    }
    if (LISTENS > 2u && tid < 2u) write_overtone(at + (3u + tid) * p.heads, tid);
}
