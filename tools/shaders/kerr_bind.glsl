/* Bindings 0..7 and the push block of every Kerr shader. */
layout(set = 0, binding = 0, std430) readonly buffer X { vec2 x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Gamma { float gamma_raw[]; };
layout(set = 0, binding = 2, std430) readonly buffer Omega { float omega[]; };
layout(set = 0, binding = 3, std430) readonly buffer Alpha { float alpha_[]; };
layout(set = 0, binding = 4, std430) readonly buffer Beta { float beta_[]; };
layout(set = 0, binding = 5, std430) readonly buffer Corrector { float corrector[]; };
layout(set = 0, binding = 6, std430) readonly buffer Offset { vec2 offset_[]; };
layout(set = 0, binding = 7, std430) readonly buffer Seen { float seen[]; };
layout(push_constant) uniform Kerr
{
    uint rows, bands, chunk; /* chunk: rows of a workgroup */
    uint flags, solver, steps;
    float ceiling, time; /* time: of the flow, not with RK4 */
    uint add, first; /* first: row where this dispatch begins */
}
p;

Band band_of(uint k)
{
    Band b = Band(0.0, 1.0, 1.0, 0.0, 0.0, 0.0);
    if (k >= p.bands) return b;
    if (p.solver != NONE) {
        b.gamma = p.time * softplus(gamma_raw[k]);
        b.decay = exp_(-b.gamma);
        energy_of(b.gamma, b.energy, b.denergy);
        b.omega = p.time * omega[k];
    }
    if ((p.flags & CORRECTED) != 0u) b.corrector = corrector[k];
    return b;
}

/* Where the knee is: the ceiling; with gain control what training saw decides (wcohi_kerr_knee_of). */
float knee_at()
{
    float c = p.ceiling;
    if ((p.flags & CONTROLLED) == 0u) return c;
    if (!(seen[2] > 0.0)) return 0.75 * c;
    return clamp(seen[0] + 3.0 * max(sqrt(max(seen[1], 0.0)), 0.01), min(c, max(0.5, 0.3 * c)), c);
}
float ceiling; /* knee_at(), once main has begun */

/* What |z|^2 is multiplied by before neighbours see it. */
float power_of(Band b)
{
    return p.solver == PERTURBATIVE ? b.decay * b.decay : p.solver == SPLIT ? 1.0 : b.energy;
}

vec2 input_of(uint row, uint k)
{
    vec2 z = x[row * p.bands + k];
    if ((p.flags & LIMITED) != 0u) z = limit(z, ceiling);
    if ((p.flags & OFFSET) != 0u) z += offset_[k];
    return z;
}
