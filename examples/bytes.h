/* Little-endian numbers out of bytes in memory and into them, for other programs' files. What is not
   there ends the program with a sentence (fail of common.h).
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef BYTES_H
#define BYTES_H

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *at, *end;
    const char *path;
} reader;

COMMON_USED(__unused__)
static reader reader_of(const char *path, const char *bytes, size_t size)
{
    reader in;
    in.at = (const unsigned char *)bytes;
    in.end = in.at + size;
    in.path = path;
    return in;
}

/* The next `bytes`, up to 8, as a little-endian number. */
COMMON_USED(__unused__)
static unsigned long long read_whole(reader *in, int bytes)
{
    unsigned long long value = 0;
    int i;
    if (in->end - in->at < bytes)
        fail(EXIT_FAILED, "%s: the file ends in its header: it is cut short", in->path);
    for (i = 0; i < bytes; i++) value |= (unsigned long long)in->at[i] << (8 * i);
    in->at += bytes;
    return value;
}

COMMON_USED(__unused__)
static float read_float(reader *in)
{
    uint32_t bits = (uint32_t)read_whole(in, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A number of a tensor, which the sentence names. */
COMMON_USED(__unused__)
static float read_finite(reader *in, const char *tensor)
{
    float value = read_float(in);
    if (!(fabsf(value) <= 3e38f))
        fail(EXIT_FAILED, "%s: %s has a number that is not finite", in->path, tensor);
    return value;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct bytes_out { /* whoever made it knows that there is room */
    unsigned char *bytes;
    size_t used;
    unsigned long long parameters; /* that a whole file holds */
} bytes_out;

COMMON_USED(__unused__)
static void put_whole(bytes_out *out, unsigned long long value, int bytes)
{
    for (; bytes > 0; bytes--, value >>= 8) out->bytes[out->used++] = (unsigned char)(value & 255);
}

COMMON_USED(__unused__)
static void put_float(bytes_out *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_whole(out, bits, 4);
}

/* Room for a file with so many floats and a head; all zero. */
COMMON_USED(__unused__)
static bytes_out bytes_for(unsigned long long floats)
{
    bytes_out out;
    out.used = 0;
    out.parameters = 0;
    out.bytes =
        floats < (size_t)-1 / 4 - 32 ? (unsigned char *)calloc(1, 128 + 4 * (size_t)floats) : NULL;
    if (!out.bytes) fail(EXIT_FAILED, "no memory for %.0f numbers", (double)floats);
    return out;
}

#endif
