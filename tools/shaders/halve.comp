#version 450
/* part: training */
/* variants: halve=HALVE widen= */
/* Half floats, two in a word, of `count` groups of 8 floats, and back. In integers, so that every device
   makes the same bits: to the nearest, ties to even; what is finite stays finite (at most 65504), and
   below 2^-14 steps are 2^-24. No feature of half floats is needed. */
layout(local_size_x = 64) in;
#ifdef HALVE
layout(set = 0, binding = 0, std430) readonly buffer Floats { vec4 floats[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Halves { uvec4 halves[]; };
#else
layout(set = 0, binding = 0, std430) readonly buffer Halves { uvec4 halves[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Floats { vec4 floats[]; };
#endif
layout(push_constant) uniform Halve { uint count; }
p;

#ifdef HALVE
uint half_of(float x)
{
    uint bits = floatBitsToUint(x), sign = bits >> 16 & 0x8000u, a = bits & 0x7fffffffu;
    if (a >= 0x7f800000u) return sign | (a > 0x7f800000u ? 0x7e00u : 0x7c00u);
    if (a >= 0x477ff000u) return sign | 0x7bffu;
    if (a < 0x38800000u) return sign | uint(roundEven(uintBitsToFloat(a) * 16777216.0));
    return sign | (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
}

uint pair(vec2 x) { return half_of(x.x) | half_of(x.y) << 16; }
#else
float float_of(uint h)
{
    uint sign = (h & 0x8000u) << 16, a = h & 0x7fffu;
    if (a < 0x400u) return uintBitsToFloat(sign | floatBitsToUint(float(a) * 5.9604644775390625e-8));
    return uintBitsToFloat(sign | (a << 13) + (a >= 0x7c00u ? 0x70000000u : 0x38000000u));
}

vec2 pair(uint h) { return vec2(float_of(h & 0xffffu), float_of(h >> 16)); }
#endif

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
#ifdef HALVE
        vec4 a = floats[2u * i], b = floats[2u * i + 1u];
        halves[i] = uvec4(pair(a.xy), pair(a.zw), pair(b.xy), pair(b.zw));
#else
        uvec4 h = halves[i];
        floats[2u * i] = vec4(pair(h.x), pair(h.y));
        floats[2u * i + 1u] = vec4(pair(h.z), pair(h.w));
#endif
    }
}
