#version 450
/* z = x + the wave memory of each row's stream, of width `width` from `first` on among the `wide`
   numbers of a stream; a number of 0 leaves every bit. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer X { float x[]; };
layout(set = 0, binding = 1, std430) readonly buffer Wave { float wave[]; };
layout(set = 0, binding = 2, std430) writeonly buffer Z { float z[]; };
layout(push_constant) uniform WaveRecall { uint count, width, seq, wide, first; }
p;

void main()
{
    uint i = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x, stride = gl_NumWorkGroups.x * 64u;
    for (; i < p.count; i += stride) {
        float w = wave[i / p.width / p.seq * p.wide + p.first + i % p.width];
        z[i] = w == 0.0 ? x[i] : x[i] + w;
    }
}
