#version 450
/* part: training */
#define COHERENCE
#define DEPTHS 9
#define FRAME 11
#define ROW_DELTA
#include "attend_back.glsl"
#include "coherence_keys.glsl"
/* Both passes of the backward in one, where gains are the heads' own: what coherence_back_key.comp makes of
   keys, and of every tile the slopes that its keys give to the phases of its queries, shares [sequences, H,
   slots, T'], T' the rows of all tiles; coherence_listen_back.comp adds up the slots of a query, one for each tile
   of keys that it sees. partial [sequences * tiles, 3H] = (dkappa, domega, dlambda) of the pairs of a tile's keys.
   Grid: key tiles, heads, sequences. E at most 8 CW. */
layout(set = 0, binding = 13, std430) writeonly buffer Partial { float partial[]; };
layout(set = 0, binding = 14, std430) writeonly buffer Shares { float shares[]; };

shared float turned[32 * 9]; /* of a query, what 8 threads have */
shared float sums[3 * 64];

/* delta = dO . O of the tile's queries, into row_c; with far slopes it is there. */
void make_delta(uint q0)
{
    uint at = (first + min(q0 + tid, p.seq - 1u)) * p.heads + head;
    float s = 0.0;
    if (tid >= 32u) return;
    if (p.within != 0u) s = delta[at];
    for (uint e = 0u; p.within == 0u && e < p.wide; e++) s += delta[at * p.wide + e] * dout[at * p.wide + e];
    row_c[tid] = s;
}

/* `turned` of the queries from q0 by the keys from k0 */
void write_turned(uint q0, uint k0)
{
    uint tiles = gl_NumWorkGroups.x, slots = p.within == 0u ? tiles : min(p.within / 32u, tiles);
    uint slot = (k0 - near_first(k0)) / 32u;
    float s = 0.0;
    if (tid >= 32u) return;
    for (uint j = 0u; j < 8u; j++) s += turned[tid * 9u + j];
    shares[((gl_WorkGroupID.z * p.heads + head) * slots + slot) * tiles * 32u + q0 + tid] = s;
}

void write_partial(float cosines, float turns, float distances)
{
    uint at = (gl_WorkGroupID.z * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 3u * p.heads + head;
    float s = 0.0;
    sums[tid] = cosines;
    sums[64u + tid] = turns;
    sums[128u + tid] = distances;
    barrier();
    if (tid >= 3u) return;
    for (uint i = 0u; i < 64u; i++) s += sums[tid * 64u + i];
    partial[at + tid * p.heads] = s;
}

void main()
{
    uint k0 = gl_WorkGroupID.x * 32u, q0, i;
    float sum[32], phase[4], slope[4], kappa, cosines = 0.0, turns = 0.0, distances = 0.0;
    head = gl_WorkGroupID.y;
    first = gl_WorkGroupID.z * p.seq;
    kappa = coefficients[head].x;
    [[unroll]] for (i = 0u; i < 4u * CW; i++) sum[i] = 0.0;
    [[unroll]] for (i = 0u; i < 4u; i++) phase[i] = slope[i] = 0.0;
    if (tid < 32u) row_a[tid] = row_b[tid] = 0.0;
    if (p.within != 0u) take_far(k0, 0u, sum);
    for (q0 = k0; q0 < near_end(k0); q0 += 32u) {
        float block[16], d[16], cosine[16], sine[16], turn[4];
        load_phasors(q0, k0);
        make_delta(q0);
        pair_values(q0, k0, d);
        pair_scores(q0, k0, block, cosine, sine);
        pair_gradient(q0, k0, block, d);
        [[unroll]] for (i = 0u; i < 4u; i++) turn[i] = 0.0;
        [[unroll]] for (i = 0u; i < 16u; i++)
        {
            float t = kappa * sine[i] * d[i];
            float away = float(q0 + 4u * ty + i / 4u) - float(k0 + 4u * tx + i % 4u);
            scores[(4u * ty + i / 4u) * 33u + 4u * tx + i % 4u] = block[i];
            phase[i % 4u] += t;
            slope[i % 4u] += d[i];
            turn[i / 4u] -= t;
            cosines += d[i] * (cosine[i] - 1.0);
            turns -= t * away;
            distances -= d[i] * away;
        }
        [[unroll]] for (i = 0u; i < 4u; i++) turned[(4u * ty + i) * 9u + tx] = turn[i];
        if (p.wide > EDGE) { /* else dO stands in left */
            barrier();
            LOAD_TILE(right, 8u * CW + 1u, dout, q0, p.heads * p.wide, head * p.wide, 0u, 8u * CW)
        }
        barrier();
        write_turned(q0, k0);
        if (p.wide > EDGE) MULTIPLY_TILE(scores, right, sum)
        else MULTIPLY_TILE(scores, left, sum)
        barrier();
    }
    add_phases(phase, slope);
    write_values(k0, 0u, sum);
    write_phases(k0);
    write_partial(cosines, turns, distances);
}
