#version 450
/* part: training */
/* dx = or += W_k^T g; partial [chunks, 6K] = sums over a chunk's rows of (dW_k [K,4], db_k [K,2]).
   Grid: band tiles of 64, chunks of rows. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer G { vec2 g[]; };
layout(set = 0, binding = 1, std430) readonly buffer X { vec2 x[]; };
layout(set = 0, binding = 2, std430) readonly buffer Weight { vec4 weight[]; };
layout(set = 0, binding = 3, std430) buffer Dx { vec2 dx[]; };
layout(set = 0, binding = 4, std430) writeonly buffer Partial { vec2 partial[]; };
layout(push_constant) uniform PerBandBack { uint rows, bands, chunk, add; }
p;

void main()
{
    uint k = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, row, at,
         to = gl_WorkGroupID.y * 3u * p.bands;
    uint first = gl_WorkGroupID.y * p.chunk, last = min(first + p.chunk, p.rows);
    vec4 w, dw = vec4(0.0);
    vec2 db = vec2(0.0);
    if (k >= p.bands) return;
    w = weight[k];
    for (row = first; row < last; row++) {
        at = row * p.bands + k;
        vec2 d = g[at], z = x[at], v = vec2(w.x * d.x + w.z * d.y, w.y * d.x + w.w * d.y);
        dx[at] = p.add != 0u ? dx[at] + v : v;
        dw += vec4(d.x * z.x, d.x * z.y, d.y * z.x, d.y * z.y);
        db += d;
    }
    partial[to + 2u * k] = dw.xy;
    partial[to + 2u * k + 1u] = dw.zw;
    partial[to + 2u * p.bands + k] = db;
}
