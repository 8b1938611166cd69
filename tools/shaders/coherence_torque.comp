#version 450
/* part: training */
/* variants: coherence_torque_double=WIDE_DOUBLE coherence_torque_pairs= */
#include "far.glsl"
#include "far_given.glsl"
/* With y_j = states_j . x: far [N,H,2] = (slope of the phase sum_m m c_m (cos y_sin - sin y_cos), sum_j
   c_j F_j y_j), c_j = 1 for keys. partial [.., 3H] of the chunk: (dkappa, domega, dlambda), from its
   queries to the row before it, or from its keys to its last row and all that passes over it (other: the
   states before it). Grid: chunks, heads, sequences. */
layout(set = 0, binding = 7, std430) readonly buffer States { wide states[]; };
layout(set = 0, binding = 8, std430) readonly buffer Other { wide other[]; };
layout(set = 0, binding = 9, std430) writeonly buffer Far { vec2 far[]; };
layout(set = 0, binding = 10, std430) writeonly buffer Partial { float partial[]; };

shared wide z[FEATURES * COLUMNS];
shared vec3 sums[64];

void load_states(uint c0, uint count)
{
    uint at = state_of(chunk);
    for (uint i = tid; i < count * COLUMNS; i += 64u) {
        uint e = c0 + i % COLUMNS;
        z[i] = e <= p.wide_ ? states[at + i / COLUMNS * (p.wide_ + 1u) + e] : wide_of(0.0);
    }
}

/* states_j . x of the columns at hand */
wide meet(uint j, uint row)
{
    wide y = wide_of(0.0);
    for (uint e = 0u; e < COLUMNS; e++) y = wide_add(y, wide_scale(z[j * COLUMNS + e], x[row * 17u + e]));
    return y;
}

/* A thread's share of its row: slope of the phase, product, slope of the gain of e^{kappa (cos - 1)} */
void add_row(uint t, uint order, inout wide across, inout wide product, inout wide gain)
{
    uint row = tid / 4u, lane = tid % 4u, m;
    Walk w = walk_of(t, lane);
    for (m = lane + 1u; m <= order; m += 4u) {
        wide yc = meet(2u * m - 1u, row), ys = meet(2u * m, row), c = wide_of(1.0), a, b;
        if (QUERIES != 0u) c = coefficient(m);
        a = wide_add(wide_multiply(w.c, ys), wide_negate(wide_multiply(w.s, yc)));
        b = wide_add(wide_multiply(w.c, yc), wide_multiply(w.s, ys));
        across = wide_add(across, wide_scale(wide_multiply(c, a), float(m)));
        product = wide_add(product, wide_multiply(c, b));
        if (QUERIES != 0u) {
            c = wide_add(wide_add(bessel(m - 1u), bessel(m + 1u)), wide_negate(c));
            gain = wide_add(gain, wide_multiply(c, b));
        }
        walk(w);
    }
    if (lane == 0u) {
        wide y = meet(0u, row), c = QUERIES != 0u ? bessel(0u) : wide_of(1.0);
        product = wide_add(product, wide_multiply(c, y));
        gain = wide_add(gain, wide_multiply(wide_add(bessel(1u), wide_negate(bessel(0u))), y));
    }
}

/* What passes over the whole chunk: (0, torque, -product) of the states before and behind it. */
vec3 pass(uint order)
{
    uint at = state_of(chunk), width = p.wide_ + 1u, i;
    wide torque = wide_of(0.0), product = wide_of(0.0);
    float rows = float(rows_of(chunk)) * keep(chunk);
    for (i = tid; i < (order + 1u) * width; i += 64u) {
        uint m = i / width, s = at + (m == 0u ? i : 2u * m * width + i % width), c = s - width;
        product = wide_add(product, wide_multiply(states[s], other[s]));
        if (m == 0u) continue;
        product = wide_add(product, wide_multiply(states[c], other[c]));
        torque = wide_add(torque, wide_scale(wide_add(wide_multiply(states[c], other[s]),
                                                      wide_negate(wide_multiply(states[s], other[c]))),
                                             float(m)));
    }
    return rows * vec3(0.0, wide_float(torque), -wide_float(product));
}

void finish(vec3 sum)
{
    uint chunks = (p.seq + p.chunk - 1u) / p.chunk, i;
    sums[tid] = sum;
    for (i = 32u; i > 0u; i /= 2u) {
        barrier();
        if (tid < i) sums[tid] += sums[tid + i];
    }
    barrier();
    if (tid < 3u)
        partial[(p.partial + gl_WorkGroupID.z * chunks + chunk) * 3u * p.heads + tid * p.heads + head] =
            sums[0][tid];
}

void main()
{
    uint groups = (p.wide_ + COLUMNS) / COLUMNS, order = order_of(head), t0, g, i;
    vec3 total = vec3(0.0); /* of this thread's rows */
    for (t0 = chunk * p.chunk; t0 < min((chunk + 1u) * p.chunk, p.seq); t0 += ROWS) {
        uint t = t0 + tid / 4u;
        wide across = wide_of(0.0), product = wide_of(0.0), gain = wide_of(0.0);
        barrier();
        make_scales(t0);
        barrier();
        for (g = 0u; g < groups; g++) {
            make_given(t0, g * COLUMNS);
            if (groups > 1u || t0 == chunk * p.chunk) load_states(g * COLUMNS, 2u * order + 1u);
            barrier();
            add_row(t, order, across, product, gain);
            barrier();
        }
        sums[tid] = vec3(wide_float(across), wide_float(product), wide_float(gain));
        barrier();
        if (tid % 4u == 0u && t < p.seq) {
            vec3 s = sums[tid] + sums[tid + 1u] + sums[tid + 2u] + sums[tid + 3u];
            float away = QUERIES != 0u ? float(t % p.chunk + 1u)
                                       : -float(chunk * p.chunk + rows_of(chunk) - 1u - t);
            far[(first + t) * p.heads + head] = s.xy;
            total += vec3(QUERIES != 0u ? s.z : 0.0, away * s.x, -abs(away) * s.y);
        }
    }
    barrier();
    if (QUERIES == 0u) total += pass(order);
    finish(total);
}
