/* The oscillators' parts that forward and backward share. In a row, band k is z = r + i s at
   x[2k], x[2k+1]. In order: limiter, + offset, oscillators, corrector rotation. */
#include "math.glsl"

const uint LIMITED = 1u, OFFSET = 2u, CORRECTED = 4u, CONTROLLED = 8u, WEIGHTED = 16u;
const uint EXACT = 0u, PERTURBATIVE = 1u, NONE = 3u, SPLIT = 4u; /* RK4 has shaders of its own */

struct Band {
    float gamma, decay;    /* softplus(gamma_raw), e^-gamma */
    float energy, denergy; /* e(gamma) = (1 - e^{-2 gamma}) / (2 gamma) and its derivative */
    float omega, corrector;
};

/* e and de/dgamma: by their series sum (-2g)^n / (n+1)! where the closed forms would cancel */
void energy_of(float gamma, out float energy, out float denergy)
{
    float term = 1.0, a = -2.0 * gamma;
    int n;
    if (gamma > 0.5) {
        float rest = exp_(-2.0 * gamma);
        energy = (1.0 - rest) / (2.0 * gamma);
        denergy = (rest - energy) / gamma;
        return;
    }
    energy = 1.0;
    denergy = 0.0;
    for (n = 1; n < 14; n++) { /* term = a^(n-1) / (n+1)! */
        term /= float(n + 1);
        denergy += -2.0 * float(n) * term;
        term *= a;
        energy += term;
    }
}

/* The knee: f = m up to c, c + c tanh((m - c)/c) above. (f/m, f'): of a modulus m */
vec2 knee(float m, float c)
{
    float t;
    if (m <= c) return vec2(1.0, 1.0);
    t = tanh_((m - c) / c);
    return vec2((c + c * t) / m, 1.0 - t * t);
}

vec2 limit(vec2 z, float c) { return z * knee(sqrt(z.x * z.x + z.y * z.y), c).x; }

/* gradient through the limiter: (f/m) g + ((f' - f/m)/m^2) (z.g) z */
vec2 limit_back(vec2 z, float c, vec2 g)
{
    float m = sqrt(z.x * z.x + z.y * z.y);
    vec2 f = knee(m, c);
    if (m <= c) return g;
    return f.x * g + (f.y - f.x) / (m * m) * (z.x * g.x + z.y * g.y) * z;
}

vec2 rotate(vec2 z, vec2 sine_cosine)
{
    return vec2(sine_cosine.y * z.x - sine_cosine.x * z.y,
                sine_cosine.x * z.x + sine_cosine.y * z.y);
}
