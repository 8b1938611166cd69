#version 450
#include "math.glsl"
#include "two_float.glsl"
/* What the tiles of coherence attention read: coefficients [H,4] = (kappa, lambda, n, unused)
   and with overtones [H,4] = (kappa_2, kappa_3, sum of the sizes, unused), kappa = softplus(gain_raw), lambda = softplus(damping_raw) or, without one, 0; phasors [N,H,4] = (u e^{i omega t}, w
   e^{i omega t}): unit phasors of queries and keys on the carrier. With harmonic numbers (frozen
   form) the angle is n phi, kappa 1, omega and lambda 0. Where rows bring gains (gain_column), u is as
   long as its row's, min(softplus, gain_most), and kappa 1. A phasor shorter than 1e-6 is (1, 0).
   Where rows say more of themselves: depths [N,H,4] = (depth, lift), each as two floats: depth_t =
   lambda_0 + .. + lambda_t, lambda = softplus of the row's raw damping or lambda of the head, lift =
   depth + 8 tanh(raw loudness / 8). Columns 0: there is none. The second row of workgroups makes those,
   each a head and sequence at a time: sums over 64 rows. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Raw { float raw[]; };
layout(set = 0, binding = 1, std430) readonly buffer Gain { float gain_raw[]; };
layout(set = 0, binding = 2, std430) readonly buffer Carrier { float carrier[]; };
layout(set = 0, binding = 3, std430) readonly buffer Damping { float damping_raw[]; };
layout(set = 0, binding = 4, std430) readonly buffer Harmonic { float harmonic[]; };
layout(set = 0, binding = 5, std430) writeonly buffer Coefficients { vec4 coefficients[]; };
layout(set = 0, binding = 6, std430) writeonly buffer Phasors { vec4 phasors[]; };
layout(set = 0, binding = 7, std430) readonly buffer Overtone { float overtone_raw[]; };
layout(set = 0, binding = 8, std430) writeonly buffer Depths { vec4 depths[]; };
layout(push_constant) uniform CoherencePrepare
{
    uint rows, heads, seq, stride, key_column, frozen, damped, gain_column;
    float gain_most;
    uint overtones, forget_column, loud_column;
}
p;

shared vec2 sums[64];

vec2 turn(vec2 a, vec2 b) { return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

/* e^{i omega t}, t <= 65536: omega is cut into 8 + 16 bits, so that the large product is exact. */
vec2 carry_short(float omega, uint t)
{
    float high = uintBitsToFloat(floatBitsToUint(omega) & 0xffff0000u), low = omega - high,
          f = float(t);
    vec2 a = sincos_(high * f), b = sincos_(low * f);
    return turn(a.yx, b.yx);
}

/* The same for every t: the part above is the power of one phasor, which all rows have alike. */
vec2 carry(float omega, uint t)
{
    vec2 z = carry_short(omega, t & 65535u), step;
    if (t < 65536u) return z;
    step = carry_short(omega, 65536u);
    for (t >>= 16; t > 0u; t--) z = turn(z, step);
    return z * (1.5 - 0.5 * (z.x * z.x + z.y * z.y));
}

vec2 unit(vec2 z, float n)
{
    float r = sqrt(z.x * z.x + z.y * z.y);
    if (r < 1e-6) return vec2(1.0, 0.0);
    if (p.frozen != 0u) return sincos_(n * atan2_(z.y, z.x)).yx;
    return z / r;
}

/* 2 tanh(x / 2) and tanh(2 x) / 2 */
vec4 overtones(uint h)
{
    vec4 o = vec4(2.0 * tanh_(overtone_raw[h] / 2.0), 0.0, softplus(gain_raw[h]), 0.0);
    if (p.overtones > 1u) o.y = tanh_(2.0 * overtone_raw[p.heads + h]) / 2.0;
    o.z += abs(o.x) + abs(o.y);
    return o;
}

void make_depths(uint head, uint first)
{
    uint tid = gl_LocalInvocationID.x, t, i;
    float lambda = p.damped != 0u ? softplus(damping_raw[head]) : 0.0;
    vec2 before = vec2(0.0);
    for (t = 0u; t < p.seq; t += 64u) {
        uint row = first + min(t + tid, p.seq - 1u), at = row * p.stride + head;
        vec2 depth, lift;
        sums[tid] = vec2(p.forget_column != 0u ? softplus(raw[at + p.forget_column]) : lambda, 0.0);
        barrier();
        for (i = 1u; i < 64u; i *= 2u) {
            depth = sums[tid];
            if (tid >= i) depth = two_add(depth, sums[tid - i]);
            barrier();
            sums[tid] = depth;
            barrier();
        }
        depth = two_add(before, sums[tid]);
        before = two_add(before, sums[63]);
        lift = depth;
        if (p.loud_column != 0u)
            lift = two_add_float(depth, 8.0 * tanh_(raw[at + p.loud_column] * 0.125));
        if (t + tid < p.seq) depths[row * p.heads + head] = vec4(depth, lift);
        barrier();
    }
}

void main()
{
    if (gl_WorkGroupID.y > 0u) {
        for (uint n = gl_WorkGroupID.x; n < p.rows / p.seq * p.heads; n += gl_NumWorkGroups.x)
            make_depths(n % p.heads, n / p.heads * p.seq);
        return;
    }
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.rows * p.heads; i += stride) {
        uint row = i / p.heads, h = i % p.heads, at = row * p.stride + 2u * h;
        float n = p.frozen != 0u ? harmonic[h] : 1.0;
        vec2 wave = p.frozen != 0u ? vec2(1.0, 0.0) : carry(carrier[h], row % p.seq);
        vec2 u = unit(vec2(raw[at], raw[at + 1u]), n), w = u;
        if (p.key_column != 0u)
            w = unit(vec2(raw[at + p.key_column], raw[at + p.key_column + 1u]), n);
        if (p.gain_column != 0u) u *= min(p.gain_most, softplus(raw[row * p.stride + p.gain_column + h]));
        phasors[i] = vec4(turn(u, wave), turn(w, wave));
        if (i < p.heads && p.overtones != 0u) coefficients[p.heads + h] = overtones(h);
        if (i < p.heads)
            coefficients[h] = p.frozen != 0u
                                  ? vec4(1.0, 0.0, n, 0.0)
                                  : vec4(p.gain_column != 0u ? 1.0 : softplus(gain_raw[h]),
                                         p.damped != 0u ? softplus(damping_raw[h]) : 0.0, 1.0, 0.0);
    }
}
