#version 450
/* part: training */
#include "kerr.glsl"
#include "kerr_bind.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 8, std430) readonly buffer Dz { vec2 dz[]; };
layout(set = 0, binding = 9, std430) buffer Dx { vec2 dx[]; };
layout(set = 0, binding = 10, std430) writeonly buffer Partial { float partial[]; };
layout(set = 0, binding = 11, std430) coherent buffer Work { vec2 work[]; };
#define WEIGHTS 12
#include "kerr_rk4.glsl"
/* The row is solved again, keeping the state before each step; then each step is walked back
   through its four nodes. Adjoint of the derivative at (r,s) with incoming (a,b): g_phi = -s a + r
   b, g_m = alpha g_phi + beta sten(g_phi), g_r = -gamma a + phi b + 2 r g_m, g_s = -phi a - gamma b
   + 2 s g_m. partial [rows, 5K] as kerr_back.comp; WEIGHTED [rows,
   5K + 4], those of the weights behind them: h g . slope of each node, g of the state after the step. Planes of a row: 0..3 the nodes of the step
   under way, 4 the gradient of the state after it, 5 incoming at the node, 6 (g_phi, unused), 7 the
   gradient of the state before it, 8.. the states before each step. Sums of a band stay in
   `partial`'s planes of `work`, 3 after the states: (dgamma, domega), (dalpha, dbeta), (dcorrector,
   unused). Grid: rows. */
const uint AFTER = 4u, INCOMING = 5u, PHASE = 6u, BEFORE = 7u, STATES = 8u;

float ahead_of(uint node, float h) { return node == 3u ? h : 0.5 * h; }

/* nodes 0..3 from the state `n` */
void solve_nodes(uint n, float h)
{
    uint node;
    EACH_BAND work[PLANE(0u) + k] = work[PLANE(STATES + n) + k];
    sync_planes();
    for (node = 1u; node < 4u; node++) {
        EACH_BAND work[PLANE(node) + k] =
            work[PLANE(0u) + k] + ahead_of(node, h) * slope(node - 1u, k, softplus(gamma_raw[k]));
        sync_planes();
    }
}

void next_state(uint n, float h)
{
    EACH_BAND
    {
        float gamma = softplus(gamma_raw[k]);
        vec2 sum = share_of(0u) * slope(0u, k, gamma) + share_of(1u) * slope(1u, k, gamma) +
                   share_of(2u) * slope(2u, k, gamma) + share_of(3u) * slope(3u, k, gamma);
        work[PLANE(STATES + n + 1u) + k] = work[PLANE(STATES + n) + k] + unit_of(h) * sum;
    }
    sync_planes();
}

float phase_plane(uint k) { return k >= p.bands ? 0.0 : work[PLANE(PHASE) + k].x; }

vec4 dweights = vec4(0.0);  /* of this thread's bands */
shared vec4 weight_sums[64]; /* of every thread's */

/* dweights of the row, to the end of its partial */
void write_weights(uint to)
{
    uint tid = gl_LocalInvocationID.x, step;
    weight_sums[tid] = dweights;
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step) weight_sums[tid] += weight_sums[tid + step];
        barrier();
    }
    if (tid < 4u) partial[to + tid] = weight_sums[0][tid];
}

/* The adjoint at one node: PHASE from INCOMING, then its gradient added to BEFORE and made the
   incoming of the node before it. */
void node_back(uint node, float h, uint sums)
{
    EACH_BAND
    {
        vec2 z = work[PLANE(node) + k], in_ = work[PLANE(INCOMING) + k];
        work[PLANE(PHASE) + k] = vec2(-z.y * in_.x + z.x * in_.y, 0.0);
    }
    sync_planes();
    EACH_BAND
    {
        vec2 z = work[PLANE(node) + k], in_ = work[PLANE(INCOMING) + k], g;
        float phi = phase_of(node, k), gamma = softplus(gamma_raw[k]), own = phase_plane(k);
        float gm = alpha * own + beta * (phase_plane(k - 2u) + phase_plane(k - 1u) +
                                         phase_plane(k + 1u) + phase_plane(k + 2u));
        g = vec2(-gamma * in_.x + phi * in_.y + 2.0 * z.x * gm,
                 -phi * in_.x - gamma * in_.y + 2.0 * z.y * gm);
        work[PLANE(sums) + k] += vec2(-(z.x * in_.x + z.y * in_.y), own);
        work[PLANE(sums + 1u) + k] += vec2(own * power_at(node, k), own * stencil_of(node, k));
        work[PLANE(BEFORE) + k] += g;
        if ((p.flags & WEIGHTED) != 0u) {
            vec2 rate = vec2(-gamma * z.x - phi * z.y, -gamma * z.y + phi * z.x);
            dweights[node] += h * dot(work[PLANE(AFTER) + k], rate);
        }
        if (node > 0u)
            work[PLANE(INCOMING) + k] = ahead_of(node, h) * g + share_of(node - 1u) * unit_of(h) *
                                                                    work[PLANE(AFTER) + k];
    }
    sync_planes();
}

void main()
{
    uint row = p.first + gl_WorkGroupID.x, n, sums = STATES + p.steps + 1u;
    uint wide = 5u * p.bands + ((p.flags & WEIGHTED) != 0u ? 4u : 0u);
    float h = 1.0 / float(p.steps);
    base = (STATES + p.steps + 4u) * gl_WorkGroupID.x;
    ceiling = knee_at();
    alpha = alpha_[0];
    beta = beta_[0];
    EACH_BAND
    {
        work[PLANE(STATES) + k] = input_of(row, k);
        work[PLANE(sums) + k] = work[PLANE(sums + 1u) + k] = vec2(0.0);
    }
    sync_planes();
    for (n = 0u; n < p.steps; n++) {
        solve_nodes(n, h);
        next_state(n, h);
    }
    EACH_BAND
    {
        vec2 g = dz[row * p.bands + k], z = work[PLANE(STATES + p.steps) + k];
        if ((p.flags & CORRECTED) != 0u) g = rotate(g, sincos_(corrector[k]) * vec2(-1.0, 1.0));
        work[PLANE(sums + 2u) + k] = vec2(-z.y * g.x + z.x * g.y, 0.0);
        work[PLANE(AFTER) + k] = g;
    }
    sync_planes();
    for (n = p.steps; n-- > 0u;) {
        solve_nodes(n, h);
        EACH_BAND
        {
            work[PLANE(INCOMING) + k] = share_of(3u) * unit_of(h) * work[PLANE(AFTER) + k];
            work[PLANE(BEFORE) + k] = work[PLANE(AFTER) + k];
        }
        sync_planes();
        for (uint node = 4u; node-- > 0u;) node_back(node, h, sums);
        EACH_BAND work[PLANE(AFTER) + k] = work[PLANE(BEFORE) + k];
        sync_planes();
    }
    EACH_BAND
    {
        uint at = row * p.bands + k, to = gl_WorkGroupID.x * wide + k;
        vec2 g = work[PLANE(AFTER) + k], a = work[PLANE(sums) + k], b = work[PLANE(sums + 1u) + k];
        if ((p.flags & LIMITED) != 0u) g = limit_back(x[at], ceiling, g);
        dx[at] = p.add != 0u ? dx[at] + g : g;
        partial[to] = a.x;
        partial[to + p.bands] = a.y;
        partial[to + 2u * p.bands] = work[PLANE(sums + 2u) + k].x;
        partial[to + 3u * p.bands] = b.x;
        partial[to + 4u * p.bands] = b.y;
    }
    if ((p.flags & WEIGHTED) != 0u) write_weights(gl_WorkGroupID.x * wide + 5u * p.bands);
}
