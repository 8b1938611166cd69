/* Elementary functions of our own: Vulkan promises native sin and cos only to 2^-11. Polynomials
   and reductions as in the CPU's kernels; each comment gives the largest error found. */

#extension GL_EXT_control_flow_attributes : enable

const float PI = 3.14159265358979;

/* Finite by the bits: a driver may assume that no NaN occurs. */
bool finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

/* x 2^n for -252 <= n <= 254 without ldexp, whose overflow rules differ between drivers */
float scale2(float x, int n)
{
    int half_n = n >> 1;
    return x * intBitsToFloat((half_n + 127) << 23) * intBitsToFloat((n - half_n + 127) << 23);
}

/* e^x, 2 ULP; 0 below -87.3, infinity above 88.72. x = n ln 2 + r, |r| <= ln 2 / 2. */
float exp_(float x)
{
    float n = floor(clamp(x, -90.0, 90.0) * 1.44269504088896 + 0.5), p;
    precise float r = clamp(x, -90.0, 90.0) - n * 0.693359375;
    r = r + n * 2.12194440e-4;
    p = 1.9875691500e-4;
    p = p * r + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 5.0000001201e-1;
    p = p * r * r + r + 1.0;
    if (x < -87.3) return 0.0;
    return scale2(p, int(n));
}

/* ln x of a normal x > 0, 2 ULP. x = m 2^e with m in [sqrt(1/2), sqrt 2). */
float log_(float x)
{
    int bits = floatBitsToInt(x), e = (bits >> 23) - 127;
    float m = intBitsToFloat((bits & 0x7fffff) | 0x3f800000), z, p;
    if (m > 1.41421356) {
        m *= 0.5;
        e += 1;
    }
    m -= 1.0;
    z = m * m;
    p = 7.0376836292e-2;
    p = p * m - 1.1514610310e-1;
    p = p * m + 1.1676998740e-1;
    p = p * m - 1.2420140846e-1;
    p = p * m + 1.4249322787e-1;
    p = p * m - 1.6668057665e-1;
    p = p * m + 2.0000714765e-1;
    p = p * m - 2.4999993993e-1;
    p = p * m + 3.3333331174e-1;
    p = p * m * z + float(e) * -2.12194440e-4 - 0.5 * z;
    return m + p + float(e) * 0.693359375;
}

/* ln(1 + y) for y >= 0: 2 atanh(y / (2 + y)) where the plain form would cancel */
float log1p_(float y)
{
    float s = y / (2.0 + y), q = s * s, p = 1.0 / 17.0;
    int i;
    if (y > 1.0) return log_(1.0 + y);
    [[unroll]] for (i = 15; i >= 3; i -= 2) p = p * q + 1.0 / float(i);
    return 2.0 * (s + s * q * p);
}

float softplus(float x) { return x > 20.0 ? x : log1p_(exp_(x)); }
float sigmoid(float x) { return 1.0 / (1.0 + exp_(-x)); }

/* sin and cos of the remainder |r| <= pi/4 in quadrant q */
vec2 sincos_quadrant(float r, int q)
{
    float z = r * r, s, c;
    s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
    c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z -
        0.5 * z + 1.0;
    if ((q & 1) != 0) {
        float t = s;
        s = c;
        c = t;
    }
    if ((q & 2) != 0) s = -s;
    if (((q + 1) & 2) != 0) c = -c;
    return vec2(s, c);
}

/* 1/2pi to 224 bits behind a zero, for arguments that three constants cannot reduce */
const uint TURNS[8] = uint[8](0u, 0x28BE60DBu, 0x9391054Au, 0x7F09D5F4u, 0x7D4D3770u, 0x36D8A566u,
                              0x4F10E410u, 0x7F9458EAu);

/* Payne and Hanek: |x| = m 2^e; the 96 bits of 1/2pi that matter at that exponent times m, modulo
   a turn; (high, low) is the fraction of a quadrant in 62 bits with the quadrant above it. */
vec2 sincos_huge(float x)
{
    uint bits = floatBitsToUint(x), m = (bits << 8) | 0x80000000u, e = ((bits >> 23) & 255u) - 126u;
    uint i = e >> 5, s = e & 31u, high, low, carry, unused, q;
    uint a = TURNS[i], b = TURNS[i + 1u], c = TURNS[i + 2u];
    float r, sign_r = 1.0;
    vec2 sc;
    if (s != 0u) {
        a = (a << s) | (b >> (32u - s));
        b = (b << s) | (c >> (32u - s));
        c = (c << s) | (TURNS[i + 3u] >> (32u - s));
    }
    umulExtended(m, c, carry, unused);
    umulExtended(m, b, high, low);
    low = uaddCarry(low, carry, carry);
    high += carry + m * a;
    q = high >> 30;
    if ((high & 0x20000000u) != 0u) { /* nearer to the next quadrant */
        q += 1u;
        high = ~high;
        low = ~low;
        sign_r = -1.0;
    }
    r = float(high & 0x3fffffffu) * 9.31322575e-10 + float(low) * 2.16840434e-19;
    sc = sincos_quadrant(sign_r * r * 1.57079632679490, int(q & 3u));
    return vec2(x < 0.0 ? -sc.x : sc.x, sc.y);
}

/* (sin x, cos x), 2 ULP of 1 for every finite x. Below 8192 by pi/2 in three parts. */
vec2 sincos_(float x)
{
    float n = floor(x * 0.636619772367581 + 0.5);
    if (abs(x) > 8192.0) return sincos_huge(x);
    precise float r = x - n * 1.5703125;
    r = r - n * 4.837512969970703e-4;
    r = r - n * 7.549789948768648e-8;
    return sincos_quadrant(r, int(n) & 3);
}

float tanh_(float x)
{
    float z = x * x, a = abs(x), t;
    if (a < 0.625) {
        t = -5.70498872745e-3;
        t = t * z + 2.06390887954e-2;
        t = t * z - 5.37397155531e-2;
        t = t * z + 1.33314422036e-1;
        t = t * z - 3.33332819422e-1;
        return t * z * x + x;
    }
    t = a > 9.1 ? 1.0 : 1.0 - 2.0 / (exp_(2.0 * a) + 1.0);
    return x < 0.0 ? -t : t;
}

float atan_small(float x)
{
    float z = x * x;
    return (((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z -
            3.33329491539e-1) *
               z * x +
           x;
}

/* the angle of (x, y), not both 0 */
float atan2_(float y, float x)
{
    float a = abs(x), b = abs(y), big = max(a, b), t = min(a, b) / big, r;
    r = t > 0.414213562373095 ? 0.785398163397448 + atan_small((t - 1.0) / (t + 1.0))
                              : atan_small(t);
    if (b > a) r = 1.57079632679490 - r;
    if (x < 0.0) r = 3.14159265358979 - r;
    return y < 0.0 ? -r : r;
}

/* y = x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3) */
float gelu(float x)
{
    return 0.5 * x * (1.0 + tanh_(0.797884560802865 * (x + 0.044715 * x * x * x)));
}

/* y' = (1 + t)/2 + x/2 (1 - t^2) sqrt(2/pi) (1 + 0.134145 x^2) */
float gelu_slope(float x)
{
    float t = tanh_(0.797884560802865 * (x + 0.044715 * x * x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.797884560802865 * (1.0 + 0.134145 * x * x);
}
