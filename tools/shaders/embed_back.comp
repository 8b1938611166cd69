#version 450
/* part: training */
#define FRAME 3
#include "frame.glsl"
/* dtable[v,d] += sum of g[n,d] over the rows n whose token is v, in order of n. A workgroup per
   symbol gathers the rows of each stretch of 256 into a list first. Positions: v is t, token n is n
   % seq. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) readonly buffer Tokens { uint tokens[]; };
layout(set = 0, binding = 1, std430) readonly buffer Gradient { float g[]; };
layout(set = 0, binding = 2, std430) buffer Table { float dtable[]; };
layout(push_constant) uniform EmbedBack { uint rows, width, seq, places, symbols, whole; }
p;
shared uint marks[64];
shared uint list[64];
shared uint found;

void main()
{
    uint tid = gl_LocalInvocationID.x, v, first, d, i;
    uint limit = p.whole != 0u ? p.width : min(p.width, 2u * frame.active_bands);
    for (v = gl_WorkGroupID.x; v < p.symbols; v += gl_NumWorkGroups.x)
        for (first = 0u; first < p.rows; first += 64u) {
            uint n = first + tid;
            bool match = n < p.rows && (p.places != 0u ? n % p.seq : tokens[n]) == v;
            marks[tid] = match ? 1u : 0u;
            barrier();
            if (tid == 0u) {
                uint count = 0u;
                for (i = 0u; i < 64u; i++)
                    if (marks[i] != 0u) list[count++] = first + i;
                found = count;
            }
            barrier();
            if (found != 0u)
                for (d = tid; d < limit; d += 64u) {
                    float s = dtable[v * p.width + d];
                    for (i = 0u; i < found; i++) s += g[list[i] * p.width + d];
                    dtable[v * p.width + d] = s;
                }
            barrier();
        }
}
