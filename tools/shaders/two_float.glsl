/* Numbers as unevaluated sums of two floats, about 48 bits: Knuth's and Dekker's exact sums and
   products (`precise` forbids the compiler to rearrange them; no fma, which may not be fused). */
vec2 two_quick(float a, float b)
{
    precise float s = a + b;
    precise float e = b - (s - a);
    return vec2(s, e);
}

vec2 two_sum(float a, float b)
{
    precise float s = a + b;
    precise float v = s - a;
    precise float e = (a - (s - v)) + (b - v);
    return vec2(s, e);
}

vec2 two_split(float a)
{
    precise float t = 4097.0 * a;
    precise float high = t - (t - a);
    precise float low = a - high;
    return vec2(high, low);
}

vec2 two_product(float a, float b)
{
    vec2 x = two_split(a), y = two_split(b);
    precise float v = a * b;
    precise float e = ((x.x * y.x - v) + x.x * y.y + x.y * y.x) + x.y * y.y;
    return vec2(v, e);
}

vec2 two_add(vec2 a, vec2 b)
{
    vec2 s = two_sum(a.x, b.x), t = two_sum(a.y, b.y);
    precise float e = s.y + t.x;
    s = two_quick(s.x, e);
    e = s.y + t.y;
    return two_quick(s.x, e);
}

vec2 two_add_float(vec2 a, float b)
{
    vec2 s = two_sum(a.x, b);
    precise float e = s.y + a.y;
    return two_quick(s.x, e);
}

vec2 two_multiply(vec2 a, vec2 b)
{
    vec2 v = two_product(a.x, b.x);
    precise float e = v.y + (a.x * b.y + a.y * b.x);
    return two_quick(v.x, e);
}

/* a / b and sqrt(a): a float's guess, then Newton's correction with an exact remainder */
vec2 two_divide(vec2 a, vec2 b)
{
    float q = a.x / b.x, q2;
    vec2 r = two_add(a, -two_multiply(b, vec2(q, 0.0)));
    q2 = r.x / b.x;
    r = two_add(r, -two_multiply(b, vec2(q2, 0.0)));
    return two_add_float(two_quick(q, q2), r.x / b.x);
}

vec2 two_sqrt(vec2 a)
{
    float s;
    if (a.x <= 0.0) return vec2(0.0);
    s = sqrt(a.x);
    return two_add_float(two_quick(s, two_add(a, -two_product(s, s)).x / (2.0 * s)), 0.0);
}
