#version 450
/* variants: coherence_series_double=WIDE_DOUBLE coherence_series_pairs= */
#include "math.glsl"
#include "wide.glsl"
/* series [H,50]: e^-kappa I_m(kappa), m = 0 .. 47, as wcohi_bessel has them, and in [48] the order M: the
   smallest whose rest is below 1e-7 of the least weight, at most 36. kappa as in coherence_prepare.comp. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Coefficients { vec4 coefficients[]; };
layout(set = 0, binding = 1, std430) buffer Series { wide series[]; };
layout(push_constant) uniform CoherenceSeries { uint heads; }
p;

void main()
{
    uint head = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, at = head * 50u, m;
    if (head >= p.heads) return;
    float gain = coefficients[head].x, rest = 0.0;
    wide ratio = wide_of(0.0), total = wide_of(0.0), kappa = wide_of(gain);
    for (m = 60u; m > 0u; m--) {
        ratio = wide_divide(kappa, wide_add(wide_of(float(2u * m)), wide_multiply(kappa, ratio)));
        if (m < 48u) series[at + m] = ratio;
    }
    ratio = wide_of(1.0);
    for (m = 1u; m < 48u; m++) {
        ratio = wide_multiply(ratio, series[at + m]);
        total = wide_add(total, ratio);
        series[at + m] = ratio;
    }
    series[at] = wide_of(1.0);
    total = wide_add(wide_of(1.0), wide_add(total, total));
    for (m = 0u; m < 48u; m++) series[at + m] = wide_divide(series[at + m], total);
    for (m = 47u; m > 0u; m--) {
        rest += 2.0 * wide_float(series[at + m]);
        if (rest > 1e-7 * exp_(-2.0 * gain)) break;
    }
    series[at + 48u] = wide_of(float(min(m, 36u)));
}
