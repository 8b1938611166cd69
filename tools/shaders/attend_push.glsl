layout(push_constant) uniform Attend
{
    uint seq, heads, wide;       /* T, H, E */
    uint key_stride, key_column; /* of queries and keys a row; where the keys begin */
    uint value_stride, value_column;
    uint stride, column; /* COHERENCE backward: raw phasors; DOT: of dq or dk */
    uint flags;
    uint stream, drop; /* of weights that are dropped; drop 0: none */
    float keep;        /* what the others are multiplied by */
    uint gain_column;  /* COHERENCE backward: of the raw gains of queries, cut at gain_most */
    float gain_most;
    uint wide_key;   /* DOT: of queries and keys */
    uint wide_score; /* DOT: scores are over its root */
    uint within;     /* COHERENCE: rows of a chunk, a multiple of 32; 0: pairs of all rows */
}
p;

uint head, first; /* head of this workgroup, first row of its sequence */

/* By what the weight of a query and a key is multiplied after the sum of the weights is taken. */
float kept(uint q, uint k)
{
    if (p.drop == 0u) return 1.0;
    return hash32(noise_row(p.stream + (head << 16), first + q, p.seq) + k) < p.drop ? 0.0 : p.keep;
}
