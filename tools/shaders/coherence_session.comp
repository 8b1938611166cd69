#version 450
/* variants: coherence_session_double=WIDE_DOUBLE coherence_session_pairs= */
#include "math.glsl"
#include "wide.glsl"
#define MEMBERS 5
#include "members.glsl"
/* Every row reads its member's states Z_j = sum_k e^{-lambda age} F_j(k) (v_k, 1), j = 0..2M, and
   then advances them: Z_j += F_j v, number = sum_j c_j G_j Z_j, Z_j *= e^-lambda, out = number /
   denominator, with the features F of the key and G of the query, (1, cos a, sin a, cos 2a, ..), in a
   frame that turns by omega a row. A workgroup per head and member, a thread per column of v. Where
   rows listen, Z fades before it is advanced, by the row's own damping or the head's, and keys count
   e^b. Where rows bring gains, c_j are those of the row's. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 1, std430) readonly buffer Values { float values[]; };
layout(set = 0, binding = 2, std430) coherent buffer Out { float out_[]; };
layout(set = 0, binding = 3, std430) coherent buffer States { wide states[]; };
layout(set = 0, binding = 4, std430) readonly buffer Harmonic { float harmonic[]; };
layout(push_constant) uniform CoherenceSession
{
    uint rows, heads, width; /* rows: of each member; width: E */
    uint stride, key_column; /* of raw phasors */
    uint value_stride, value_column;
    uint pitch; /* of a row of Z */
    uint size;  /* numbers of a head: header, coefficients, denominators, Z */
    uint coefficients, denominators, z; /* where those begin */
    uint frozen;
    uint first; /* where this layer's states begin among a member's, */
    uint member; /* of so many numbers */
    uint forget_column, loud_column; /* of raw dampings and loudnesses of rows; 0: none */
    uint gain_column;                /* of raw gains of queries, cut at gain_most; 0: the head's */
    float gain_most;
}
p;

/* places in the header */
const uint FRAME_COS = 0u, FRAME_SIN = 1u, DECAY = 5u, TURN_COS = 6u, TURN_SIN = 7u, ORDER = 8u;

shared wide features[2][76]; /* of the query, times c_j, and of the key */
shared wide series[38]; /* e^-kappa I_m of a row's own gain */
shared float inverse;

bool listens() { return (p.forget_column | p.loud_column | p.gain_column) != 0u; }

/* (r + i s), made of length one, times (x + i y) */
void turn(wide r, wide s, wide x, wide y, out wide to_r, out wide to_s)
{
    wide length2 = wide_add(wide_multiply(r, r), wide_multiply(s, s));
    wide fix = wide_add(wide_of(1.5), wide_multiply(wide_of(-0.5), length2));
    to_r = wide_multiply(fix, wide_add(wide_multiply(r, x), wide_negate(wide_multiply(s, y))));
    to_s = wide_multiply(fix, wide_add(wide_multiply(r, y), wide_multiply(s, x)));
}

vec2 unit(vec2 z, float n)
{
    float r = sqrt(z.x * z.x + z.y * z.y);
    if (r < 1e-6) return vec2(1.0, 0.0);
    return p.frozen != 0u ? sincos_(n * atan2_(z.y, z.x)).yx : z / r;
}

/* series [M + 1] of a gain, by the backward recurrence of wcohi_bessel */
void make_series(float gain, uint order)
{
    wide ratio = wide_of(0.0), total = wide_of(0.0), kappa = wide_of(gain);
    uint m;
    for (m = order + 12u; m > 0u; m--) {
        ratio = wide_divide(kappa, wide_add(wide_of(float(2u * m)), wide_multiply(kappa, ratio)));
        if (m <= order + 1u) series[m] = ratio;
    }
    series[0] = wide_of(1.0);
    for (m = 1u; m <= order + 1u; m++) {
        series[m] = wide_multiply(series[m], series[m - 1u]);
        total = wide_add(total, series[m]);
    }
    total = wide_add(wide_of(1.0), wide_add(total, total));
    for (m = 0u; m <= order; m++) series[m] = wide_divide(series[m], total);
}

/* Features of the query times c_j */
void weigh_features(uint head, uint row, uint base, uint order)
{
    uint m;
    if (p.gain_column == 0u) {
        for (m = 0u; m <= 2u * order; m++)
            features[0][m] = wide_multiply(features[0][m], states[base + p.coefficients + m]);
        return;
    }
    make_series(min(p.gain_most, softplus(raw[row * p.stride + p.gain_column + head])), order);
    features[0][0] = wide_multiply(features[0][0], series[0]);
    for (m = 1u; m <= 2u * order; m++) {
        wide c = series[(m + 1u) / 2u];
        features[0][m] = wide_multiply(features[0][m], wide_add(c, c));
    }
}

/* features[which]: 0 the query's, 1 the key's */
void make_features(uint which, uint head, uint row, uint base, uint order)
{
    uint at = row * p.stride + 2u * head + which * p.key_column, m;
    vec2 u = unit(vec2(raw[at], raw[at + 1u]), p.frozen != 0u ? harmonic[head] : 1.0);
    wide r, s, c, d, next;
    turn(wide_of(u.x), wide_of(u.y), states[base + FRAME_COS], states[base + FRAME_SIN], r, s);
    features[which][0] = wide_of(1.0);
    c = r;
    d = s;
    for (m = 1u; m <= order; m++) {
        features[which][2u * m - 1u] = c;
        features[which][2u * m] = d;
        next = wide_add(wide_multiply(c, r), wide_negate(wide_multiply(d, s)));
        d = wide_add(wide_multiply(c, s), wide_multiply(d, r));
        c = next;
    }
    if (which == 0u) weigh_features(head, row, base, order);
    if (which == 1u && p.loud_column != 0u) {
        float b = 8.0 * tanh_(raw[row * p.stride + p.loud_column + head] * 0.125);
        for (m = 0u; m <= 2u * order; m++)
            features[1][m] = wide_multiply(features[1][m], wide_of(exp_(b)));
    }
}

/* One column of the states, `step` numbers from feature to feature; returns its number. */
float advance(uint at, uint step, wide v, wide decay, uint count)
{
    wide sum = wide_of(0.0), now;
    for (uint j = 0u; j < count; j++, at += step) {
        now = states[at];
        if (listens()) now = wide_multiply(decay, now);
        now = wide_add(now, wide_multiply(features[1][j], v));
        sum = wide_add(sum, wide_multiply(features[0][j], now));
        states[at] = listens() ? now : wide_multiply(decay, now);
    }
    return wide_float(sum);
}

void main()
{
    uint tid = gl_LocalInvocationID.x, head = gl_WorkGroupID.x, b = gl_WorkGroupID.y, row, c;
    uint base = members[b].slot * p.member + p.first + head * p.size, order, count;
    wide decay;
    if (members[b].slot == ABSENT) return;
    order = uint(wide_float(states[base + ORDER]) + 0.5);
    count = 2u * order + 1u;
    decay = states[base + DECAY];
    for (row = b * p.rows; row < (b + 1u) * p.rows; row++) {
        uint to = (row * p.heads + head) * p.width,
             from = row * p.value_stride + p.value_column + head * p.width;
        if (tid < 2u) make_features(tid, head, row, base, order);
        if (p.forget_column != 0u) /* e^{-softplus x} */
            decay = wide_of(sigmoid(-raw[row * p.stride + p.forget_column + head]));
        barrier();
        for (c = tid; c <= p.width; c += 64u) {
            if (c < p.width)
                out_[to + c] =
                    advance(base + p.z + c, p.pitch, wide_of(values[from + c]), decay, count);
            else inverse = 1.0 / advance(base + p.denominators, 1u, wide_of(1.0), decay, count);
        }
        if (tid == 0u) {
            wide x, y;
            turn(states[base + TURN_COS], states[base + TURN_SIN], states[base + FRAME_COS],
                 states[base + FRAME_SIN], x, y);
            states[base + FRAME_COS] = x;
            states[base + FRAME_SIN] = y;
        }
        memoryBarrierBuffer();
        barrier();
        for (c = tid; c < p.width; c += 64u) out_[to + c] *= inverse;
    }
}
