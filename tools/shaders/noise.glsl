/* The noise of training, bit for bit that of wavecoh.h ("noise of training"); after frame.glsl. */
uint hash32(uint x)
{
    x = (x ^ x >> 16) * 0x21f0aaadu;
    x = (x ^ x >> 15) * 0x735a2d97u;
    return x ^ x >> 15;
}

/* The key of a row of the batch; its element c has the bits hash32(key + c). */
uint noise_row(uint stream, uint row, uint seq)
{
    uint key = hash32(hash32(frame.noise_low ^ hash32(stream + 1u)) ^ frame.noise_high);
    return hash32(hash32(key ^ (frame.window + row / seq)) ^ row % seq);
}
