/* Features of ROWS rows in shared memory, those of queries times c_j. */
shared wide features[ROWS * 74u];

void make_features(uint t0, uint order)
{
    uint row = tid / 4u, lane = tid % 4u, at = row * 74u, m;
    Walk w = walk_of(t0 + row, lane);
    for (m = lane + 1u; m <= order; m += 4u) {
        wide c = coefficient(m);
        features[at + 2u * m - 1u] = QUERIES != 0u ? wide_multiply(c, w.c) : w.c;
        features[at + 2u * m] = QUERIES != 0u ? wide_multiply(c, w.s) : w.s;
        walk(w);
    }
    if (lane == 0u) features[at] = QUERIES != 0u ? bessel(0u) : wide_of(1.0);
}
