/* Classical Runge-Kutta with `steps` steps of 1/steps: z' = (-gamma + i phi) z, phi = omega + alpha
   |z|^2 + beta sten(|z|^2). A workgroup takes one row; a thread the bands tid, tid + 64, ..
   Everything of a row lies in planes of K bands in `work`, which only this workgroup touches, with
   a barrier between writing a plane and reading its neighbours. */
layout(set = 0, binding = WEIGHTS, std430) readonly buffer Weights { float weights[]; };

/* Of a stage's slope, in units of `unit_of`: the weights of the model, or 1, 2, 2, 1. */
float share_of(uint stage)
{
    if ((p.flags & WEIGHTED) != 0u) return weights[stage];
    return stage == 0u || stage == 3u ? 1.0 : 2.0;
}
float unit_of(float h) { return (p.flags & WEIGHTED) != 0u ? h : h / 6.0; }

#define PLANE(i) ((base + (i)) * p.bands)
#define EACH_BAND for (uint k = gl_LocalInvocationID.x; k < p.bands; k += 64u)

float alpha, beta;
uint base; /* first plane of this workgroup */

void sync_planes()
{
    memoryBarrierBuffer();
    barrier();
}

float power_at(uint plane, uint k)
{
    if (k >= p.bands) return 0.0; /* k - 1 below band 0 wraps to a large number */
    vec2 z = work[PLANE(plane) + k];
    return z.x * z.x + z.y * z.y;
}

float stencil_of(uint plane, uint k)
{
    return power_at(plane, k - 2u) + power_at(plane, k - 1u) + power_at(plane, k + 1u) +
           power_at(plane, k + 2u);
}

float phase_of(uint plane, uint k)
{
    return omega[k] + alpha * power_at(plane, k) + beta * stencil_of(plane, k);
}

/* dz/dt of band k at the point in `plane` */
vec2 slope(uint plane, uint k, float gamma)
{
    vec2 z = work[PLANE(plane) + k];
    float phi = phase_of(plane, k);
    return vec2(-gamma * z.x - phi * z.y, -gamma * z.y + phi * z.x);
}
