#version 450
/* part: training */
/* Running mean and variance of what steps see, of one row of 3: wcohi_seen_add in wavecoh.h. now: mean, mean
   square and share of what counted, all times some factor. Nothing where no parameter may change. */
layout(local_size_x = 1) in;
layout(set = 0, binding = 0, std430) buffer Params { float seen[]; };
layout(set = 0, binding = 1, std430) readonly buffer First { float now[]; };
layout(set = 0, binding = 2, std430) readonly buffer Result { float result[]; };
layout(push_constant) uniform SeenRow { uint at; }
p;

void main()
{
    float mean, variance, keep = seen[p.at + 2u] < 9.0 ? 0.0 : 0.995;
    if (result[5] == 0.0 || !(now[p.at + 2u] > 0.0)) return;
    mean = now[p.at] / now[p.at + 2u];
    variance = max(now[p.at + 1u] / now[p.at + 2u] - mean * mean, 0.0);
    seen[p.at] = keep * seen[p.at] + (1.0 - keep) * mean;
    seen[p.at + 1u] = keep * seen[p.at + 1u] + (1.0 - keep) * variance;
    if (seen[p.at + 2u] < 9.0) seen[p.at + 2u] += 1.0;
}
