#version 450
/* part: training */
#include "math.glsl"
#include "two_float.glsl"
/* From sums [5,K] = (dgamma, domega, dcorrector, dalpha, dbeta) of each band: dgamma_raw += dgamma
   sigmoid(gamma_raw), domega, dcorrector +=, dalpha and dbeta += their sums over the bands. One
   workgroup. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Sums { float from[]; };
layout(set = 0, binding = 1, std430) readonly buffer Gamma { float gamma_raw[]; };
layout(set = 0, binding = 2, std430) buffer Dgamma { float dgamma[]; };
layout(set = 0, binding = 3, std430) buffer Domega { float domega[]; };
layout(set = 0, binding = 4, std430) buffer Dalpha { float dalpha[]; };
layout(set = 0, binding = 5, std430) buffer Dbeta { float dbeta[]; };
layout(set = 0, binding = 6, std430) buffer Dcorrector { float dcorrector[]; };
layout(push_constant) uniform KerrFinish
{
    uint bands, flags;
    float time;
}
p;
const uint GAMMA = 1u, OMEGA = 2u, CORRECTOR = 4u; /* what is trained; GAMMA: alpha and beta too */
shared vec4 sums[64];                              /* pairs of floats: alpha, beta */

void main()
{
    uint tid = gl_LocalInvocationID.x, k, step;
    vec2 a = vec2(0.0), b = vec2(0.0);
    for (k = tid; k < p.bands; k += 64u) {
        if ((p.flags & GAMMA) != 0u) dgamma[k] += p.time * from[k] * sigmoid(gamma_raw[k]);
        if ((p.flags & OMEGA) != 0u) domega[k] += p.time * from[p.bands + k];
        if ((p.flags & CORRECTOR) != 0u) dcorrector[k] += from[2u * p.bands + k];
        a = two_add_float(a, from[3u * p.bands + k]);
        b = two_add_float(b, from[4u * p.bands + k]);
    }
    sums[tid] = vec4(a, b);
    barrier();
    for (step = 32u; step > 0u; step /= 2u) {
        if (tid < step)
            sums[tid] = vec4(two_add(sums[tid].xy, sums[tid + step].xy),
                             two_add(sums[tid].zw, sums[tid + step].zw));
        barrier();
    }
    if (tid == 0u && (p.flags & GAMMA) != 0u) {
        dalpha[0] += p.time * sums[0].x;
        dbeta[0] += p.time * sums[0].z;
    }
}
