vec4 load_a(uint i, uint base, uint m0, uint k0, uint end)
{
    if (i >= BM * BK / 4u) return vec4(0.0);
    if (TRANSPOSED_A != 0u) return fetch_a(base, p.lda, end, p.m, k0 + i / PM, m0 + i % PM * 4u);
    return fetch_a(base, p.lda, p.m, end, m0 + i / (BK / 4u), k0 + i % (BK / 4u) * 4u);
}

vec4 load_b(uint i, uint base, uint n0, uint k0, uint end)
{
    if (i >= BN * BK / 4u) return vec4(0.0);
    if (TRANSPOSED_B != 0u)
        return fetch_b(base, p.ldb, p.n, end, n0 + i / (BK / 4u), k0 + i % (BK / 4u) * 4u);
    return fetch_b(base, p.ldb, end, p.n, k0 + i / PN, n0 + i % PN * 4u);
}
