/* What the passes of attention share. Tiles of 32 queries by 32 keys; 64 threads in 8 x 8, a thread
   has the 4 x 4 pairs (query 4 ty + i, key 4 tx + j) of a tile and, of a tile's product with 8 CW
   columns, the rows 4 ty + i and the columns tx + 8 j. Memory is linear in the sequence: nothing of
   the pair matrix outlives its tile. N = batch * seq rows, heads of width E.

   COHERENCE: score = kappa (cos(a_q - b_k) - 1) - lambda (q - k), a and b on the carrier. Bounded
   (no weight is above 1, the query's own is at least e^{-2 kappa}): no running maximum is needed.
   LISTENS: depth_q - lift_k (coherence_prepare.comp) in place of lambda (q - k); a lift adds 8 at most.
   2: the phasor of a query is as long as its gain, and kappa is 1. 3: overtones, P(cos) - bound in
   place of kappa (cos - 1), P = kappa cos x + kappa_2 cos 2x + kappa_3 cos 3x; P' goes into the sine.
   DOT: score = q . k / sqrt(wide_score), online softmax.
   COHERENCE with `within`: only pairs inside one chunk of so many rows; what comes from elsewhere is there
   already (far.glsl). */
#include "math.glsl"
#include "frame.glsl"
#include "noise.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint CW = 1; /* columns of a thread */

#ifdef COHERENCE
layout(set = 0, binding = 0, std430) readonly buffer Coefficients { vec4 coefficients[]; };
layout(set = 0, binding = 1, std430) readonly buffer Phasors { vec4 phasors[]; };
layout(constant_id = 1) const uint LISTENS = 0; /* 1: rows bring dampings or loudnesses; 2: gains; 3: overtones */
layout(set = 0, binding = DEPTHS, std430) readonly buffer Depths { vec4 depths[]; };
#else
layout(set = 0, binding = 0, std430) readonly buffer Queries { float queries[]; };
layout(set = 0, binding = 1, std430) readonly buffer Keys { float keys[]; };
#endif
layout(set = 0, binding = 2, std430) readonly buffer Values { float values[]; };

#include "attend_push.glsl"

const uint ADD = 1u; /* the shared form: keys add to what queries wrote */

/* Columns of a head that are multiplied at once: 8, 16 or 32, so that narrow heads take no more shared
   memory and work than they have columns; and from row to row of those. */
const uint EDGE = 8u * CW - CW / 8u * 32u, PITCH = EDGE + 1u;

shared float scores[32 * 33];
shared float left[32 * PITCH];
shared float right[32 * (8 * CW + 1)];
shared float row_a[32];
shared float row_b[32];
shared float row_c[32];

uint tid = gl_LocalInvocationID.x, tx = tid % 8u, ty = tid / 8u;

/* left or right [32][width, pitch width + 1] = rows t0.. of an array, columns c0.. of the head; 0 outside
   the sequence and the head */
#define LOAD_TILE(tile, pitch, array, t0, stride_, base, c0, width)                                \
    LOAD_TILE_OF(p.wide, tile, pitch, array, t0, stride_, base, c0, width)
#define LOAD_TILE_OF(wide_, tile, pitch, array, t0, stride_, base, c0, width)                      \
    for (uint li = tid; li < 32u * (width); li += 64u) {                                           \
        uint lr = li / (width), lc = li % (width), lt = (t0) + lr;                                 \
        float lv = 0.0;                                                                            \
        if (lt < p.seq && (c0) + lc < wide_)                                                       \
            lv = array[(first + lt) * (stride_) + (base) + (c0) + lc];                             \
        tile[lr * (pitch) + lc] = lv;                                                              \
    }

/* block[i][j] += left row (4 ty + i) . right row (4 tx + j) over EDGE columns */
void multiply_rows(inout float block[16])
{
    for (uint e = 0u; e < EDGE; e++) {
        float a[4], b[4];
        [[unroll]] for (uint i = 0u; i < 4u; i++)
        {
            a[i] = left[(4u * ty + i) * PITCH + e];
            b[i] = right[(4u * tx + i) * PITCH + e];
        }
        [[unroll]] for (uint i = 0u; i < 16u; i++) block[i] = fma(a[i / 4u], b[i % 4u], block[i]);
    }
}

#ifdef COHERENCE
/* Of the tile's queries and keys: the phasor, and the depth of a query or the lift of a key as two floats. */
shared vec4 tile_q[32], tile_k[32];

void load_phasors(uint q0, uint k0)
{
    uint i = tid % 32u, at = (first + min((tid < 32u ? q0 : k0) + i, p.seq - 1u)) * p.heads + head;
    vec4 a = phasors[at], d = vec4(0.0);
    if (LISTENS != 0u) d = depths[at];
    if (tid < 32u) tile_q[i] = vec4(a.xy, d.xy);
    else tile_k[i] = vec4(a.zw, d.zw);
}

/* what the distance of query and key takes from their score */
float faded(vec4 q, vec4 k)
{
    precise float high = q.z - k.z;
    return high + (q.w - k.w);
}

/* Score, cosine and sine of each pair of the tile that load_phasors loaded. */
void pair_scores(uint q0, uint k0, out float block[16], out float cosine[16], out float sine[16])
{
    vec4 c = coefficients[head], o = coefficients[LISTENS > 2u ? p.heads + head : head], qs[4], ks[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++)
    {
        qs[i] = tile_q[4u * ty + i];
        ks[i] = tile_k[4u * tx + i];
    }
    [[unroll]] for (uint i = 0u; i < 16u; i++)
    {
        uint q = 4u * ty + i / 4u, k = 4u * tx + i % 4u;
        vec4 a = qs[i / 4u], b = ks[i % 4u];
        cosine[i] = a.x * b.x + a.y * b.y;
        sine[i] = a.y * b.x - a.x * b.y;
        if (LISTENS > 2u) { /* o = kappa_2, kappa_3, bound */
            float x = cosine[i], y = x * x;
            block[i] = c.x * x + o.x * (2.0 * y - 1.0) + o.y * x * (4.0 * y - 3.0) - o.z - faded(a, b);
            sine[i] *= c.x + 4.0 * o.x * x + o.y * (12.0 * y - 3.0);
        } else if (LISTENS > 1u) block[i] = cosine[i] - sqrt(a.x * a.x + a.y * a.y) - faded(a, b);
        else if (LISTENS != 0u) block[i] = c.x * (cosine[i] - 1.0) - faded(a, b);
        else block[i] = c.x * (cosine[i] - 1.0) - c.y * (float(q0 + q) - float(k0 + k));
    }
}
#else
void pair_scores(uint q0, uint k0, out float block[16])
{
    float scale = 1.0 / sqrt(float(p.wide_score));
    [[unroll]] for (uint i = 0u; i < 16u; i++) block[i] = 0.0;
    for (uint c0 = 0u; c0 < p.wide_key; c0 += EDGE) {
        LOAD_TILE_OF(p.wide_key, left, PITCH, queries, q0, p.key_stride, head * p.wide_key, c0, EDGE)
        LOAD_TILE_OF(p.wide_key, right, PITCH, keys, k0, p.key_stride,
                     p.key_column + head * p.wide_key, c0, EDGE)
        barrier();
        multiply_rows(block);
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < 16u; i++) block[i] *= scale;
}
#endif

/* The first row of the chunk of row t, and the row behind its last. */
uint near_first(uint t) { return p.within == 0u ? 0u : t / p.within * p.within; }
uint near_end(uint t) { return p.within == 0u ? p.seq : min(p.seq, near_first(t) + p.within); }

/* 1 if query and key of pair i are in the sequence and the key is not ahead */
bool seen(uint q0, uint k0, uint i)
{
    uint q = q0 + 4u * ty + i / 4u, k = k0 + 4u * tx + i % 4u;
    return q < p.seq && k <= q;
}

float mask(uint q0, uint k0, uint i)
{
    uint q = q0 + 4u * ty + i / 4u, k = k0 + 4u * tx + i % 4u;
    return kept(q, k);
}
