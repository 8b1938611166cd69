#version 450
#include "kerr.glsl"
#include "kerr_bind.glsl"
layout(local_size_x = 64) in;
layout(set = 0, binding = 8, std430) writeonly buffer Z { vec2 z_out[]; };
layout(set = 0, binding = 9, std430) coherent buffer Work { vec2 work[]; };
#define WEIGHTS 10
#include "kerr_rk4.glsl"
/* Planes of a row: 0 the state, 1 and 2 stage points in turn, 3 the sum of slopes. Grid: rows. */

void step_row(float h)
{
    uint stage;
    for (stage = 0u; stage < 4u; stage++) {
        uint from = stage == 0u ? 0u : 1u + (stage + 1u) % 2u, to = 1u + stage % 2u;
        float ahead = stage < 2u ? 0.5 * h : h, share = share_of(stage);
        EACH_BAND
        {
            vec2 d = slope(from, k, softplus(gamma_raw[k])), sum = share * d;
            if (stage > 0u) sum += work[PLANE(3u) + k];
            work[PLANE(3u) + k] = sum;
            if (stage < 3u) work[PLANE(to) + k] = work[PLANE(0u) + k] + ahead * d;
        }
        sync_planes();
    }
    EACH_BAND work[PLANE(0u) + k] += unit_of(h) * work[PLANE(3u) + k];
    sync_planes();
}

void main()
{
    uint row = p.first + gl_WorkGroupID.x, n;
    base = 4u * gl_WorkGroupID.x;
    ceiling = knee_at();
    alpha = alpha_[0];
    beta = beta_[0];
    EACH_BAND work[PLANE(0u) + k] = input_of(row, k);
    sync_planes();
    for (n = 0u; n < p.steps; n++) step_row(1.0 / float(p.steps));
    EACH_BAND
    {
        vec2 z = work[PLANE(0u) + k];
        if ((p.flags & CORRECTED) != 0u) z = rotate(z, sincos_(corrector[k]));
        z_out[row * p.bands + k] = z;
    }
}
