#version 450
/* part: training */
#include "math.glsl"
/* dgain_raw += dkappa sigmoid(gain_raw), dcarrier += domega, ddamping_raw += dlambda
   sigmoid(damping_raw) where a head has one (gained 0: rows bring their gains); sums [3H] = (dkappa, domega, dlambda) */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Sums { float sums[]; };
layout(set = 0, binding = 1, std430) readonly buffer Gain { float gain_raw[]; };
layout(set = 0, binding = 2, std430) readonly buffer Damping { float damping_raw[]; };
layout(set = 0, binding = 3, std430) buffer Dgain { float dgain[]; };
layout(set = 0, binding = 4, std430) buffer Dcarrier { float dcarrier[]; };
layout(set = 0, binding = 5, std430) buffer Ddamping { float ddamping[]; };
layout(push_constant) uniform CoherenceFinish { uint heads, gained, damped; }
p;

void main()
{
    for (uint h = gl_LocalInvocationID.x; h < p.heads; h += 64u) {
        if (p.gained != 0u) dgain[h] += sums[h] * sigmoid(gain_raw[h]);
        dcarrier[h] += sums[p.heads + h];
        if (p.damped != 0u) ddamping[h] += sums[2u * p.heads + h] * sigmoid(damping_raw[h]);
    }
}
