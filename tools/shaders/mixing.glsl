/* Four-wave mixing, one step of classical Runge-Kutta: dz/dt = -i chi h(z), h_k = z*_{k+3} z_{k+1}
   z_{k+2} + z*_{k-3} z_{k-1} z_{k-2} + z*_{k+1} z_{k+2} z_{k-1} + z*_{k-1} z_{k-2} z_{k+1}. A
   workgroup takes 64 bands of a row and the HALO on either side that they depend on: planes of SPAN
   pairs, 0 outside the row; a stage is known three bands less far than the one before. */
#define SPAN (64u + 2u * HALO)
#define EACH_BAND for (uint i = gl_LocalInvocationID.x; i < SPAN; i += 64u)
const uint NODE = 0u, SUM = 4u * SPAN; /* planes: four nodes, where they get to */
shared vec2 s[PLANES * SPAN];

uint k0; /* band of index HALO */

bool in_row(uint i) { return k0 + i >= HALO && k0 + i - HALO < p.bands; }
bool known(uint i, uint margin) { return i >= margin && i < SPAN - margin && in_row(i); }

float ahead_of(uint stage) { return stage == 3u ? 0.0 : stage == 2u ? 1.0 : 0.5; }
float weight_of(uint stage) { return stage == 0u || stage == 3u ? 1.0 / 6.0 : 1.0 / 3.0; }

/* conj(a) b c */
vec2 term(vec2 a, vec2 b, vec2 c)
{
    vec2 bc = vec2(b.x * c.x - b.y * c.y, b.x * c.y + b.y * c.x);
    return vec2(a.x * bc.x + a.y * bc.y, a.x * bc.y - a.y * bc.x);
}

/* of planes a, b, c at index i */
vec2 terms(uint a, uint b, uint c, uint i)
{
    return term(s[a + i + 3u], s[b + i + 1u], s[c + i + 2u]) +
           term(s[a + i - 3u], s[b + i - 1u], s[c + i - 2u]) +
           term(s[a + i + 1u], s[b + i + 2u], s[c + i - 1u]) +
           term(s[a + i - 1u], s[b + i - 2u], s[c + i + 1u]);
}

void solve(uint row, float chi)
{
    uint stage;
    EACH_BAND s[SUM + i] = s[NODE + i] = in_row(i) ? x[row * p.bands + k0 + i - HALO] : vec2(0.0);
    barrier();
    for (stage = 0u; stage < 4u; stage++) {
        EACH_BAND
        {
            uint node = NODE + stage * SPAN;
            vec2 d = vec2(0.0);
            bool able = known(i, 3u * stage + 3u);
            if (able) d = terms(node, node, node, i);
            d = chi * vec2(d.y, -d.x);
            s[SUM + i] += weight_of(stage) * d;
            if (stage < 3u)
                s[node + SPAN + i] = able ? s[NODE + i] + ahead_of(stage) * d : vec2(0.0);
        }
        barrier();
    }
}
