/* Numbers of about twice a float's precision: `double` where the device has 64-bit floats
   (WIDE_DOUBLE), else pairs of floats. The rest of a shader is written once for both. */
#ifdef WIDE_DOUBLE
#define wide double
wide wide_of(float x) { return double(x); }
float wide_float(wide x) { return float(x); }
wide wide_add(wide a, wide b) { return a + b; }
wide wide_negate(wide a) { return -a; }
wide wide_multiply(wide a, wide b) { return a * b; }
wide wide_divide(wide a, wide b) { return a / b; }
wide wide_scale(wide a, float b) { return a * double(b); }
#else
#include "two_float.glsl"
#define wide vec2
wide wide_of(float x) { return vec2(x, 0.0); }
float wide_float(wide x) { return x.x + x.y; }
wide wide_add(wide a, wide b) { return two_add(a, b); }
wide wide_negate(wide a) { return -a; }
wide wide_multiply(wide a, wide b) { return two_multiply(a, b); }
wide wide_divide(wide a, wide b) { return two_divide(a, b); }
wide wide_scale(wide a, float b)
{
    vec2 v = two_product(a.x, b);
    precise float e = v.y + a.y * b;
    return two_quick(v.x, e);
}
#endif
