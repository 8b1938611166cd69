#version 450
#include "kerr.glsl"
#include "kerr_bind.glsl"
/* z' of the exact solver: P = |z|^2 e(gamma), theta = omega + alpha P + beta sten(P), z' = e^-gamma
   e^{i theta} z; of the perturbative one: a + ib = e^-gamma e^{i omega} z, p = a^2 + b^2, delta =
   alpha p + beta sten(p), z' = (a - delta b) + i (b + delta a); of the split one as exact, but
   theta = omega + alpha P + beta sten(|z|^2). sten(p)_k sums the bands k-2, k-1,
   k+1, k+2. 64 bands and `chunk` rows a workgroup. Grid: band tiles, chunks. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 8, std430) writeonly buffer Z { vec2 z_out[]; };
shared float power[68]; /* of bands k0-2 .. k0+65, 0 outside */

void main()
{
    uint tid = gl_LocalInvocationID.x, k0 = gl_WorkGroupID.x * 64u, k = k0 + tid, row;
    uint first = p.first + gl_WorkGroupID.y * p.chunk, last = min(first + p.chunk, p.rows);
    uint edge =
        tid < 2u ? k0 + tid - 2u : k0 + 62u + tid; /* threads 0..3 have a band of the edge too */
    ceiling = knee_at();
    Band b = band_of(k), e = Band(0.0, 1.0, 1.0, 0.0, 0.0, 0.0);
    vec2 turned = sincos_(b.omega), correct = sincos_(b.corrector);
    float alpha = p.solver != NONE ? p.time * alpha_[0] : 0.0;
    float beta = p.solver != NONE ? p.time * beta_[0] : 0.0;
    if (tid < 4u) e = band_of(edge);
    for (row = first; row < last; row++) {
        vec2 z = vec2(0.0), w = vec2(0.0);
        float own, shift, mine = alpha;
        if (k < p.bands) z = input_of(row, k);
        if (tid < 4u && edge < p.bands) w = input_of(row, edge);
        own = power_of(b) * (z.x * z.x + z.y * z.y);
        power[tid + 2u] = own;
        if (tid < 4u) power[tid < 2u ? tid : tid + 64u] = power_of(e) * (w.x * w.x + w.y * w.y);
        barrier();
        if (p.solver == SPLIT) mine *= b.energy;
        shift =
            mine * own + beta * (power[tid] + power[tid + 1u] + power[tid + 3u] + power[tid + 4u]);
        if (p.solver == EXACT || p.solver == SPLIT) {
            z = b.decay * rotate(z, sincos_(b.omega + shift));
        } else if (p.solver == PERTURBATIVE) {
            z = b.decay * rotate(z, turned);
            z = vec2(z.x - shift * z.y, z.y + shift * z.x);
        }
        if ((p.flags & CORRECTED) != 0u) z = rotate(z, correct);
        if (k < p.bands) z_out[row * p.bands + k] = z;
        barrier();
    }
}
