#version 450
/* part: training */
#include "kerr.glsl"
#include "two_float.glsl"
#include "kerr_bind.glsl"
/* dx = or += the gradient at the input; partial [chunks, 5K] = sums over a chunk's rows of (dgamma,
   domega, dcorrector, dalpha, dbeta) of each band. 64 bands a workgroup; powers are needed 4 bands
   beyond, phase gradients 2. Exact: g_theta = -s' g_r + r' g_s, g_P = alpha g_theta + beta
   sten(g_theta). Perturbative: g_delta = -b g_r + a g_s, g_p = alpha g_delta + beta sten(g_delta).
   */
layout(local_size_x = 64) in;
layout(set = 0, binding = 8, std430) readonly buffer Dz { vec2 dz[]; };
layout(set = 0, binding = 9, std430) buffer Dx { vec2 dx[]; };
layout(set = 0, binding = 10, std430) writeonly buffer Partial { float partial[]; };
shared float power[72]; /* bands k0-4 .. k0+67 */
shared float phase[68]; /* bands k0-2 .. k0+65 */

float alpha, beta;

/* Of alpha, the share of a band's own power. */
float share_of(Band b) { return p.solver == SPLIT ? b.energy : 1.0; }

float stencil_power(uint i)
{
    return power[i - 2u] + power[i - 1u] + power[i + 1u] + power[i + 2u];
}

/* gradient of the output with the corrector turned back */
vec2 output_gradient(uint row, uint k, Band b)
{
    vec2 g = dz[row * p.bands + k];
    if ((p.flags & CORRECTED) != 0u) g = rotate(g, sincos_(b.corrector) * vec2(-1.0, 1.0));
    return g;
}

/* The oscillator of band k, whose power is power[i]: turned is z' (exact) or a + ib (perturbative).
   */
float phase_gradient(uint row, uint k, uint i, Band b, out vec2 turned, out float shift, out vec2 g)
{
    vec2 z = input_of(row, k);
    g = output_gradient(row, k, b);
    shift = alpha * share_of(b) * power[i] + beta * stencil_power(i);
    turned = b.decay * rotate(z, sincos_(p.solver == PERTURBATIVE ? b.omega : b.omega + shift));
    return -turned.y * g.x + turned.x * g.y;
}

vec2 exact_back(Band b, vec2 z, vec2 turned, float shift, vec2 g, float own, float dp,
                inout float dgamma)
{
    float damped = p.solver == SPLIT ? alpha * own : dp; /* what e(gamma) was a factor of */
    dgamma += -(turned.x * g.x + turned.y * g.y) + (z.x * z.x + z.y * z.y) * damped * b.denergy;
    return b.decay * rotate(g, sincos_(b.omega + shift) * vec2(-1.0, 1.0)) +
           2.0 * power_of(b) * dp * z;
}

vec2 perturbative_back(Band b, vec2 ab, float shift, vec2 g, float dp, inout float dgamma,
                       inout float domega)
{
    vec2 d = vec2(g.x + shift * g.y + 2.0 * ab.x * dp, g.y - shift * g.x + 2.0 * ab.y * dp);
    domega += -ab.y * d.x + ab.x * d.y;
    dgamma += -(ab.x * d.x + ab.y * d.y);
    return b.decay * rotate(d, sincos_(b.omega) * vec2(-1.0, 1.0));
}

void main()
{
    uint tid = gl_LocalInvocationID.x, k0 = gl_WorkGroupID.x * 64u, k = k0 + tid, row, i;
    uint first = p.first + gl_WorkGroupID.y * p.chunk, last = min(first + p.chunk, p.rows);
    uint edge = tid < 4u ? k0 + tid - 4u : k0 + 60u + tid; /* threads 0..7 */
    uint edge_at = tid < 4u ? tid : tid + 64u;
    Band b = band_of(k), e = Band(0.0, 1.0, 1.0, 0.0, 0.0, 0.0);
    float sums[3];
    vec2 dalpha = vec2(0.0), dbeta = vec2(0.0); /* all bands add to these: pairs of floats */
    [[unroll]] for (i = 0u; i < 3u; i++) sums[i] = 0.0;
    ceiling = knee_at();
    alpha = p.solver != NONE ? p.time * alpha_[0] : 0.0;
    beta = p.solver != NONE ? p.time * beta_[0] : 0.0;
    if (tid < 8u) e = band_of(edge);
    for (row = first; row < last; row++) {
        vec2 z = vec2(0.0), turned = vec2(0.0), g = vec2(0.0), out_g = vec2(0.0);
        float shift = 0.0, own = 0.0, dp;
        if (k < p.bands) z = input_of(row, k);
        power[tid + 4u] = power_of(b) * (z.x * z.x + z.y * z.y);
        if (tid < 8u) {
            vec2 w = edge < p.bands ? input_of(row, edge) : vec2(0.0);
            power[edge_at] = power_of(e) * (w.x * w.x + w.y * w.y);
        }
        barrier();
        if (k < p.bands) own = phase_gradient(row, k, tid + 4u, b, turned, shift, g);
        phase[tid + 2u] = own;
        if (tid >= 2u && tid < 6u) { /* the two bands on either side */
            vec2 skip_turned, skip_g;
            float skip_shift;
            phase[edge_at - 2u] = edge < p.bands ? phase_gradient(row, edge, edge_at, e,
                                                                  skip_turned, skip_shift, skip_g)
                                                 : 0.0;
        }
        barrier();
        dp =
            alpha * share_of(b) * own + beta * (phase[tid] + phase[tid + 1u] + phase[tid + 3u] + phase[tid + 4u]);
        dalpha = two_add_float(dalpha, own * share_of(b) * power[tid + 4u]);
        dbeta = two_add_float(dbeta, own * stencil_power(tid + 4u));
        if (p.solver == EXACT || p.solver == SPLIT) {
            sums[1] += own;
            sums[2] += own;
            g = exact_back(b, z, turned, shift, g, own, dp, sums[0]);
        } else if (p.solver == PERTURBATIVE) {
            vec2 ab = turned;
            turned = vec2(ab.x - shift * ab.y, ab.y + shift * ab.x);
            sums[2] += -turned.y * g.x + turned.x * g.y;
            g = perturbative_back(b, ab, shift, g, dp, sums[0], sums[1]);
        } else {
            sums[2] += -z.y * g.x + z.x * g.y;
        }
        if (k < p.bands) {
            uint at = row * p.bands + k;
            if ((p.flags & LIMITED) != 0u) g = limit_back(x[at], ceiling, g);
            dx[at] = p.add != 0u ? dx[at] + g : g;
        }
        barrier();
    }
    if (k >= p.bands) return;
    [[unroll]] for (i = 0u; i < 3u; i++) partial[(gl_WorkGroupID.y * 5u + i) * p.bands + k] =
        sums[i];
    partial[(gl_WorkGroupID.y * 5u + 3u) * p.bands + k] = dalpha.x;
    partial[(gl_WorkGroupID.y * 5u + 4u) * p.bands + k] = dbeta.x;
}
