#version 450
/* variants: dot_whole_forward=FORWARD dot_whole_back_query=BACK,QUERY dot_whole_back_key=BACK,KEY */
/* Dot attention of heads whose columns, at most 64, are taken whole; rows of all arrays and heads begin at
   multiples of 4. Tiles of 64 rows of the workgroup's own (queries; keys in dot_whole_back_key) by 32
   others: of DOWN x 8 threads each keeps in registers the pairs (own ty + DOWN i, other tx + 8 j), i < ROWS,
   j < 4, and, of what its own rows get, the rows ty + DOWN i and their columns 4 tx .. and 32 + 4 tx .. .
   Shared memory is read four reals at a time: ROWS + 4 reads for 16 ROWS multiply-adds of scores, ROWS + 8
   for 32 ROWS of what rows get. Scores and gradients are those of attend.glsl. Grid: tiles of 64 own rows,
   heads, sequences. */
#include "math.glsl"
#if defined(KEY)
#define FRAME 8
#elif defined(QUERY)
#define FRAME 7
#else
#define FRAME 5
#endif
#include "frame.glsl"
#include "noise.glsl"
#include "attend_push.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 128; /* 128 or 64 */
const uint ROWS = 512u / THREADS, DOWN = 64u / ROWS, PAIRS = 4u * ROWS, FOURS = 2u * ROWS;

layout(set = 0, binding = 0, std430) readonly buffer Queries { vec4 queries[]; };
layout(set = 0, binding = 1, std430) readonly buffer Keys { vec4 keys[]; };
layout(set = 0, binding = 2, std430) readonly buffer Values { vec4 values[]; };
#ifdef FORWARD
layout(set = 0, binding = 3, std430) writeonly buffer Out { vec4 out_[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Logsum { float logsum[]; };
#else
layout(set = 0, binding = 3, std430) readonly buffer Dout { vec4 dout[]; };
layout(set = 0, binding = 4, std430) readonly buffer Logsum { float logsum[]; };
layout(set = 0, binding = 5, std430) readonly buffer Delta { float delta[]; };
#ifdef QUERY
layout(set = 0, binding = 6, std430) writeonly buffer Dqueries { vec4 dqueries[]; };
#else
layout(set = 0, binding = 6, std430) writeonly buffer Dvalues { vec4 dvalues[]; };
layout(set = 0, binding = 7, std430) writeonly buffer Dkeys { vec4 dkeys[]; };
#endif
#endif

shared vec4 own[64 * 9];    /* 32 columns of the own rows; or a number of each pair, [own][other] */
shared vec4 other[32 * 16]; /* 32 columns of the others [32][9]; or all 64 of them [32][16] */

uint tid = gl_LocalInvocationID.x, tx = tid % 8u, ty = tid / 8u;

/* tile [rows][quads, pitch] = columns 4 c0 .. of the head's 4 fours, of rows t0 .. of an array; 0 outside */
#define LOAD(tile, rows, pitch, quads, array, t0, at, fours, c0)                                   \
    for (uint li = tid; li < rows * quads; li += THREADS) {                                            \
        uint lr = li / quads, lc = li % quads, lt = (t0) + lr;                                     \
        vec4 lv = vec4(0.0);                                                                       \
        if (lt < p.seq && (c0) + lc < (fours)) lv = array[at(lt) + (c0) + lc];                     \
        tile[lr * pitch + lc] = lv;                                                                \
    }

/* Where row t of the head begins, in fours. */
uint query_at(uint t) { return ((first + t) * p.key_stride + head * p.wide_key) / 4u; }
uint key_at(uint t) { return ((first + t) * p.key_stride + p.key_column + head * p.wide_key) / 4u; }
uint value_at(uint t) { return ((first + t) * p.value_stride + p.value_column + head * p.wide) / 4u; }
uint dquery_at(uint t) { return ((first + t) * p.stride + p.column + head * p.wide_key) / 4u; }
uint out_at(uint t) { return ((first + t) * p.heads + head) * p.wide / 4u; }

/* block[i][j] += own row ty + 8 i . other row tx + 8 j, over the 32 columns that are loaded */
void multiply_rows(inout float block[PAIRS])
{
    for (uint e = 0u; e < 8u; e++) {
        vec4 b[4];
        [[unroll]] for (uint j = 0u; j < 4u; j++) b[j] = other[(tx + 8u * j) * 9u + e];
        [[unroll]] for (uint i = 0u; i < ROWS; i++)
        {
            vec4 a = own[(ty + DOWN * i) * 9u + e];
            [[unroll]] for (uint c = 0u; c < 4u; c++) [[unroll]] for (uint j = 0u; j < 4u; j++)
                block[i * 4u + j] = fma(a[c], b[j][c], block[i * 4u + j]);
        }
    }
}

/* block = products of a tile's rows of two arrays; at the end other threads may still read own and other */
#define PRODUCTS(block, array_o, o0, at_o, array_x, x0, at_x, fours)                               \
    [[unroll]] for (uint bi = 0u; bi < PAIRS; bi++) block[bi] = 0.0;                                 \
    for (uint half_ = 0u; half_ < (fours); half_ += 8u) {                                          \
        barrier();                                                                                 \
        LOAD(own, 64u, 9u, 8u, array_o, o0, at_o, fours, half_)                                    \
        LOAD(other, 32u, 9u, 8u, array_x, x0, at_x, fours, half_)                                  \
        barrier();                                                                                 \
        multiply_rows(block);                                                                      \
    }

/* own[own][other] = a number of the thread's pair i, j */
#define STORE_PAIR(i, j, v) own[(ty + DOWN * (i)) * 9u + tx / 4u + 2u * (j)][tx % 4u] = v

/* sum[i][h] += sum over others of own[ty + 8 i][other] other[other][4 tx + 32 h ..] */
void add_rows(inout vec4 sum[FOURS])
{
    for (uint x = 0u; x < 8u; x++) {
        vec4 m[8];
        [[unroll]] for (uint c = 0u; c < 8u; c++) m[c] =
            other[(4u * x + c / 2u) * 16u + tx + c % 2u * 8u];
        [[unroll]] for (uint i = 0u; i < ROWS; i++)
        {
            vec4 w = own[(ty + DOWN * i) * 9u + x];
            [[unroll]] for (uint c = 0u; c < 8u; c++)
                sum[2u * i + c % 2u] = fma(vec4(w[c / 2u]), m[c], sum[2u * i + c % 2u]);
        }
    }
}

/* The thread's part of `array`, whose row t begins at at(t), from the rows t0 on */
#define STORE_ROWS(array, sum, t0, at, fours, factor)                                              \
    [[unroll]] for (uint i = 0u; i < 2u * ROWS; i++)                                                     \
    {                                                                                              \
        uint st = (t0) + ty + i / 2u * DOWN, sc = tx + i % 2u * 8u;                                \
        if (st < p.seq && sc < (fours)) array[at(st) + sc] = sum[i] * (factor);                    \
    }

bool seen(uint q, uint k) { return q < p.seq && k <= q; }

#ifdef FORWARD
shared vec4 shares[64 * 2]; /* of 8 threads, of what they have of a row */

void share(uint i, float v) { shares[(ty + DOWN * i) * 2u + tx / 4u][tx % 4u] = v; }

/* block holds products: to weights, which `own` gets, with running maxima and sums of the queries; sum
   shrinks as maxima grow. */
void weigh(uint q0, uint k0, float block[PAIRS], inout float top[ROWS], inout float total[ROWS],
           inout vec4 sum[FOURS])
{
    float scale = 1.0 / sqrt(float(p.wide_score));
    [[unroll]] for (uint i = 0u; i < ROWS; i++)
    {
        float most = -1e30;
        [[unroll]] for (uint j = 0u; j < 4u; j++)
        {
            bool is = seen(q0 + ty + DOWN * i, k0 + tx + 8u * j);
            block[4u * i + j] = is ? block[4u * i + j] * scale : -1e30;
            most = max(most, block[4u * i + j]);
        }
        share(i, most);
    }
    barrier();
    [[unroll]] for (uint i = 0u; i < ROWS; i++)
    {
        vec4 a = max(shares[(ty + DOWN * i) * 2u], shares[(ty + DOWN * i) * 2u + 1u]);
        float most = max(top[i], max(max(a.x, a.y), max(a.z, a.w))), shrink = exp_(top[i] - most);
        top[i] = most;
        total[i] *= shrink;
        sum[2u * i] *= shrink;
        sum[2u * i + 1u] *= shrink;
        [[unroll]] for (uint j = 0u; j < 4u; j++)
        {
            uint q = q0 + ty + DOWN * i, k = k0 + tx + 8u * j;
            float w = seen(q, k) ? exp_(block[4u * i + j] - most) : 0.0;
            total[i] += w;
            STORE_PAIR(i, j, w * kept(q, k));
        }
    }
}

void main()
{
    uint q0 = gl_WorkGroupID.x * 64u, k0, i;
    float block[PAIRS], top[ROWS], total[ROWS];
    vec4 sum[FOURS];
    head = gl_WorkGroupID.y;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < ROWS; i++) top[i] = -1e30, total[i] = 0.0;
    [[unroll]] for (i = 0u; i < 2u * ROWS; i++) sum[i] = vec4(0.0);
    for (k0 = 0u; k0 < min(q0 + 64u, p.seq); k0 += 32u) {
        PRODUCTS(block, queries, q0, query_at, keys, k0, key_at, p.wide_key / 4u)
        weigh(q0, k0, block, top, total, sum);
        LOAD(other, 32u, 16u, 16u, values, k0, value_at, p.wide / 4u, 0u)
        barrier();
        add_rows(sum);
    }
    [[unroll]] for (i = 0u; i < ROWS; i++) share(i, total[i]);
    barrier();
    [[unroll]] for (i = 0u; i < ROWS; i++)
    {
        vec4 a = shares[(ty + DOWN * i) * 2u] + shares[(ty + DOWN * i) * 2u + 1u];
        uint q = q0 + ty + DOWN * i;
        total[i] = a.x + a.y + (a.z + a.w);
        sum[2u * i] /= total[i];
        sum[2u * i + 1u] /= total[i];
        if (tx == 0u && q < p.seq) logsum[(first + q) * p.heads + head] = top[i] + log_(total[i]);
    }
    STORE_ROWS(out_, sum, q0, out_at, p.wide / 4u, 1.0)
}
#else

/* block holds scores and d the products of dO and v of a query and a key: to weights and their gradients */
void pair_gradient(uint q, uint k, inout float weight, inout float d)
{
    uint at = (first + min(q, p.seq - 1u)) * p.heads + head;
    float m = kept(q, k);
    weight = seen(q, k) ? exp_(weight / sqrt(float(p.wide_score)) - logsum[at]) : 0.0;
    d = weight * (d * m - delta[at]);
    weight *= m;
}

#ifdef QUERY
void main()
{
    uint q0 = gl_WorkGroupID.x * 64u, k0, i;
    float block[PAIRS], d[PAIRS];
    vec4 sum[FOURS];
    head = gl_WorkGroupID.y;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 2u * ROWS; i++) sum[i] = vec4(0.0);
    for (k0 = 0u; k0 < min(q0 + 64u, p.seq); k0 += 32u) {
        PRODUCTS(block, queries, q0, query_at, keys, k0, key_at, p.wide_key / 4u)
        PRODUCTS(d, dout, q0, out_at, values, k0, value_at, p.wide / 4u)
        barrier();
        [[unroll]] for (i = 0u; i < PAIRS; i++)
        {
            pair_gradient(q0 + ty + i / 4u * DOWN, k0 + tx + i % 4u * 8u, block[i], d[i]);
            STORE_PAIR(i / 4u, i % 4u, d[i]);
        }
        LOAD(other, 32u, 16u, 16u, keys, k0, key_at, p.wide_key / 4u, 0u)
        barrier();
        add_rows(sum);
    }
    STORE_ROWS(dqueries, sum, q0, dquery_at, p.wide_key / 4u, 1.0 / sqrt(float(p.wide_score)))
}
#else
void main()
{
    uint k0 = gl_WorkGroupID.x * 64u, q0, i;
    float block[PAIRS], d[PAIRS];
    vec4 sum[FOURS], keys_sum[FOURS];
    head = gl_WorkGroupID.y;
    first = gl_WorkGroupID.z * p.seq;
    [[unroll]] for (i = 0u; i < 2u * ROWS; i++) sum[i] = keys_sum[i] = vec4(0.0);
    for (q0 = k0; q0 < p.seq; q0 += 32u) {
        PRODUCTS(block, keys, k0, key_at, queries, q0, query_at, p.wide_key / 4u)
        PRODUCTS(d, values, k0, value_at, dout, q0, out_at, p.wide / 4u)
        barrier();
        [[unroll]] for (i = 0u; i < PAIRS; i++)
        {
            pair_gradient(q0 + tx + i % 4u * 8u, k0 + ty + i / 4u * DOWN, block[i], d[i]);
            STORE_PAIR(i / 4u, i % 4u, block[i]);
        }
        LOAD(other, 32u, 16u, 16u, dout, q0, out_at, p.wide / 4u, 0u)
        barrier();
        add_rows(sum);
        barrier();
        [[unroll]] for (i = 0u; i < PAIRS; i++) STORE_PAIR(i / 4u, i % 4u, d[i]);
        LOAD(other, 32u, 16u, 16u, queries, q0, query_at, p.wide_key / 4u, 0u)
        barrier();
        add_rows(keys_sum);
    }
    STORE_ROWS(dvalues, sum, k0, value_at, p.wide / 4u, 1.0)
    STORE_ROWS(dkeys, keys_sum, k0, dquery_at, p.wide_key / 4u, 1.0 / sqrt(float(p.wide_score)))
}
#endif
#endif
