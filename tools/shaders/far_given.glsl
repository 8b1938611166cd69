/* x [rows,E+1], what a chunk's rows bring into the states: keys age (v, 1), queries g. */
layout(set = 0, binding = 4, std430) readonly buffer Given { float given[]; };
layout(set = 0, binding = 5, std430) readonly buffer Logsum { float logsum[]; };
layout(set = 0, binding = 6, std430) readonly buffer Delta { float delta[]; };

shared float x[ROWS * 17u], scales[ROWS];

/* `scales` of rows t0 .. */
void make_scales(uint t0)
{
    uint t = t0 + tid;
    if (tid >= ROWS) return;
    scales[tid] = 0.0;
    if (t < p.seq && QUERIES != 0u)
        scales[tid] = exp_(-logsum[(first + t) * p.heads + head] - fall(t));
    else if (t < p.seq) scales[tid] = exp_(rise(t));
}

/* columns c0 .. of rows t0 .., 0 outside */
void make_given(uint t0, uint c0)
{
    for (uint i = tid; i < ROWS * COLUMNS; i += 64u) {
        uint row = i / COLUMNS, e = c0 + i % COLUMNS, t = t0 + row;
        float v = 0.0;
        if (t < p.seq && e < p.wide_)
            v = given[(first + t) * p.stride + p.column + head * p.wide_ + e];
        else if (t < p.seq && e == p.wide_)
            v = QUERIES != 0u ? -delta[(first + t) * p.heads + head] : 1.0;
        x[row * 17u + i % COLUMNS] = v * scales[row];
    }
}
