#version 450
/* variants: coherence_read_double=WIDE_DOUBLE coherence_read_pairs= */
#include "far.glsl"
#include "far_features.glsl"
/* What states give: queries (N, D) = reach sum_j c_j F_j Z_j, N into `to` and D into `rest`; keys dv =
   age sum_j F_j R_j into `to`. Grid: chunks, heads * column groups, sequences. */
layout(set = 0, binding = 4, std430) readonly buffer States { wide states[]; };
layout(set = 0, binding = 5, std430) writeonly buffer To { float to[]; };
layout(set = 0, binding = 6, std430) writeonly buffer Rest { float rest[]; };

shared wide z[FEATURES * COLUMNS];

void load_states(uint c0, uint count)
{
    uint at = state_of(chunk);
    for (uint i = tid; i < count * COLUMNS; i += 64u) {
        uint e = c0 + i % COLUMNS;
        z[i] = e <= p.wide_ ? states[at + i / COLUMNS * (p.wide_ + 1u) + e] : wide_of(0.0);
    }
}

void main()
{
    uint groups = (p.wide_ + COLUMNS) / COLUMNS, c0 = gl_WorkGroupID.y % groups * COLUMNS, j, t0, e;
    uint row = tid / 4u;
    head = gl_WorkGroupID.y / groups;
    uint order = order_of(head), count = 2u * order + 1u;
    load_states(c0, count);
    for (t0 = chunk * p.chunk; t0 < min((chunk + 1u) * p.chunk, p.seq); t0 += ROWS) {
        uint t = t0 + row;
        make_features(t0, order);
        barrier();
        if (t < p.seq)
            for (e = tid % 4u; e < COLUMNS && c0 + e <= p.wide_; e += 4u) {
                wide sum = wide_of(0.0);
                float v;
                for (j = 0u; j < count; j++)
                    sum = wide_add(sum, wide_multiply(features[row * 74u + j], z[j * COLUMNS + e]));
                v = wide_float(sum) * exp_(QUERIES != 0u ? -fall(t) : rise(t));
                if (c0 + e < p.wide_)
                    to[(first + t) * p.stride + p.column + head * p.wide_ + c0 + e] = v;
                else if (QUERIES != 0u) rest[(first + t) * p.heads + head] = v;
            }
        barrier();
    }
}
