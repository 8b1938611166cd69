#version 450
/* part: training */
#include "two_float.glsl"
/* dx = or += the gradient at the input, partial [chunks, K] = a chunk's share of dchi by bands. A
   stage hands back u = Dh(node) [v], v = i times what reaches it; dchi += <node, u> / 3. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { vec2 x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Chi { float chi_[]; };
layout(set = 0, binding = 2, std430) readonly buffer Dz { vec2 dz[]; };
layout(set = 0, binding = 3, std430) buffer Dx { vec2 dx[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Partial { float partial[]; };
layout(push_constant) uniform MixingBack
{
    uint rows, bands, chunk, add;
    float time;
}
p;
#define HALO 21u
#define PLANES 8u
#include "mixing.glsl"
const uint G = 5u * SPAN, U = 6u * SPAN, V = 7u * SPAN;

void main()
{
    uint row = gl_WorkGroupID.y * p.chunk, last = min(row + p.chunk, p.rows), stage, own;
    float chi = p.time * chi_[0];
    vec2 dchi = vec2(0.0);
    k0 = gl_WorkGroupID.x * 64u;
    for (; row < last; row++) {
        solve(row, chi);
        EACH_BAND
        {
            s[G + i] = in_row(i) ? dz[row * p.bands + k0 + i - HALO] : vec2(0.0);
            s[SUM + i] = s[G + i];
            s[U + i] = vec2(0.0);
        }
        for (stage = 4u; stage-- > 0u;) {
            uint node = NODE + stage * SPAN;
            EACH_BAND
            {
                vec2 g = weight_of(stage) * s[G + i] + ahead_of(stage) * chi * s[U + i];
                s[V + i] = vec2(-g.y, g.x);
            }
            barrier();
            EACH_BAND
            {
                vec2 u = vec2(0.0);
                if (known(i, 21u - 3u * stage))
                    u = terms(V, node, node, i) + terms(node, V, node, i) + terms(node, node, V, i);
                s[U + i] = u;
                s[SUM + i] += chi * u;
                if (known(i, HALO)) dchi = two_add_float(dchi, dot(s[node + i], u));
            }
            barrier();
        }
        EACH_BAND if (known(i, HALO))
        {
            uint at = row * p.bands + k0 + i - HALO;
            dx[at] = p.add != 0u ? dx[at] + s[SUM + i] : s[SUM + i];
        }
        barrier();
    }
    own = k0 + (gl_LocalInvocationID.x + 64u - HALO) % 64u; /* the band that was this thread's */
    if (own < p.bands) partial[gl_WorkGroupID.y * p.bands + own] = p.time / 3.0 * dchi.x;
}
