/* Coherence attention of long windows in linear time (MATH.md 3.1): pairs inside one chunk of rows go
   through the tiles of attend.glsl, keys of earlier chunks act through states
       Z [sequence, H, chunk, 2M+1, E+1] = sum over the keys before it of age F (v, 1),
   F = (1, cos b, sin b, cos 2b, ..) of the key's phasor; a query reads reach sum_j c_j G_j Z_j, G of its
   own. Z stands at the row before its chunk: reach = e^{depth there - depth_q}, age = e^{lift_k - depth
   there}. Backward, states of the same form hold R = sum over the queries behind it of c_j G_j g, g =
   reach (dO, -delta) / D; keys read them. F and Z are wide: weights are differences that cancel.
   The queries' part and the keys' are one text: QUERIES. Shapes as in attend.glsl. */
#include "math.glsl"
#include "wide.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint COLUMNS = 9; /* of E + 1 that are taken at once, at most 17 */
layout(constant_id = 1) const uint QUERIES = 0; /* 1: of queries; 0: of keys */

layout(set = 0, binding = 0, std430) readonly buffer Coefficients { vec4 coefficients[]; };
layout(set = 0, binding = 1, std430) readonly buffer Phasors { vec4 phasors[]; };
layout(set = 0, binding = 2, std430) readonly buffer Depths { vec4 depths[]; };
layout(set = 0, binding = 3, std430) readonly buffer Series { wide series[]; };

layout(push_constant) uniform CoherenceFar
{
    uint seq, heads, wide_, chunk; /* T, H, E, rows of a chunk */
    uint listens;                  /* 1: depths say how scores fade; 0: the head's damping does */
    uint stride, column;           /* of rows of v or dO, or of what is written */
    uint partial;                  /* row of the first partial sums */
}
p;

const uint ORDERS = 36u, FEATURES = 73u, SERIES = 50u, ORDER_AT = 48u;
const uint ROWS = 16u; /* at once, four threads each */

uint tid = gl_LocalInvocationID.x, head = gl_WorkGroupID.y, chunk = gl_WorkGroupID.x;
uint first = gl_WorkGroupID.z * p.seq; /* first row of the sequence */

uint order_of(uint h) { return uint(wide_float(series[h * SERIES + ORDER_AT]) + 0.5); }
wide bessel(uint m) { return series[head * SERIES + m]; }
wide coefficient(uint m) { return m == 0u ? bessel(0u) : wide_add(bessel(m), bessel(m)); }

uint rows_of(uint c) { return min(p.chunk, p.seq - c * p.chunk); }

/* Where the numbers of a chunk's states begin, and how many a feature has. */
uint state_of(uint c)
{
    uint chunks = (p.seq + p.chunk - 1u) / p.chunk;
    return ((gl_WorkGroupID.z * p.heads + head) * chunks + c) * FEATURES * (p.wide_ + 1u);
}

/* How far row t lies below the row before its chunk: 1 for the first if the damping is 1. */
float fall(uint t)
{
    uint o = t / p.chunk * p.chunk;
    if (p.listens == 0u) return coefficients[head].y * float(t - o + 1u);
    vec2 a = depths[(first + t) * p.heads + head].xy;
    vec2 b = o == 0u ? vec2(0.0) : depths[(first + o - 1u) * p.heads + head].xy;
    precise float high = a.x - b.x;
    return high + (a.y - b.y);
}

/* How much higher a key stands than the last row of its chunk. */
float rise(uint t)
{
    uint last = t / p.chunk * p.chunk + rows_of(t / p.chunk) - 1u;
    if (p.listens == 0u) return -coefficients[head].y * float(last - t);
    vec2 a = depths[(first + t) * p.heads + head].zw, b = depths[(first + last) * p.heads + head].xy;
    precise float high = a.x - b.x;
    return high + (a.y - b.y);
}

/* What is left of the states before a chunk behind it. */
float keep(uint c) { return exp_(-fall(c * p.chunk + rows_of(c) - 1u)); }

void turn(wide r, wide s, wide x, wide y, out wide to_r, out wide to_s)
{
    to_r = wide_add(wide_multiply(r, x), wide_negate(wide_multiply(s, y)));
    to_s = wide_add(wide_multiply(r, y), wide_multiply(s, x));
}

/* Powers of row t's phasor, made of length one, that a thread walks through: m = lane + 1, lane + 5 .. */
struct Walk {
    wide c, s, step_c, step_s;
};
Walk walk_of(uint t, uint lane)
{
    vec4 both = phasors[(first + min(t, p.seq - 1u)) * p.heads + head];
    vec2 u = QUERIES != 0u ? both.xy : both.zw;
    wide r = wide_of(u.x), s = wide_of(u.y), fix;
    Walk w;
    fix = wide_add(wide_multiply(r, r), wide_multiply(s, s));
    fix = wide_add(wide_of(1.5), wide_scale(fix, -0.5));
    r = wide_multiply(fix, r);
    s = wide_multiply(fix, s);
    w.c = r;
    w.s = s;
    for (uint i = 0u; i < lane; i++) turn(w.c, w.s, r, s, w.c, w.s);
    turn(r, s, r, s, w.step_c, w.step_s);
    turn(w.step_c, w.step_s, w.step_c, w.step_s, w.step_c, w.step_s);
    return w;
}
void walk(inout Walk w) { turn(w.c, w.s, w.step_c, w.step_s, w.c, w.s); }
