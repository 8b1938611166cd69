/* Vectors from files for the example programs: a matrix of a .npy file or of a safetensors file.
   Include it after common.h; it is no part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_VECTORS_H
#define WAVECOH_EXAMPLES_VECTORS_H

#include <math.h>

typedef struct vectors {
    float *values; /* [count, n] */
    size_t count;
    int n;
    char name[128]; /* of the tensor */
} vectors;

COMMON_USED(__unused__)
static void *memory_of(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail(EXIT_FAILED, "no memory for %lu bytes", (unsigned long)(count * size));
    return memory;
}

static void vectors_shape(vectors *v, const char *path, int dims, const uint64_t *shape)
{
    uint64_t rows_of = dims == 2 ? shape[0] : 1, n = dims == 2 ? shape[1] : dims ? shape[0] : 0;
    if (dims < 1 || dims > 2 || n < 1 || n > 1 << 20 || rows_of < 1)
        fail(EXIT_FAILED, "%s: a matrix [vectors, dimensions] is needed", path);
    if (rows_of > ((size_t)-1) / sizeof(float) / n)
        fail(EXIT_FAILED, "%s: too large for this machine", path);
    v->count = (size_t)rows_of;
    v->n = (int)n;
    v->values = (float *)memory_of((size_t)(rows_of * n), sizeof(float));
}

/* The first matrix of a file, or the tensor of that name, or the only one. */
COMMON_USED(__unused__)
static vectors vectors_read(const char *path, const char *tensor)
{
    vectors v;
    wcoh_tensors *t;
    wcoh_tensor_info info;
    wcoh_error error;
    int i, found = -1;
    memset(&v, 0, sizeof v);
    must(wcoh_tensors_open_file(&t, path, NULL, &error), NULL, &error);
    for (i = 0; i < wcoh_tensors_count(t) && found < 0; i++) {
        wcoh_tensors_info(t, i, &info, NULL);
        if (tensor ? strcmp(info.name, tensor) == 0 : info.dims == 2 || wcoh_tensors_count(t) == 1)
            found = i;
    }
    if (found < 0) fail(EXIT_FAILED, "%s: it has no %s", path, tensor ? tensor : "matrix");
    wcoh_tensors_info(t, found, &info, NULL);
    sprintf(v.name, "%.120s", info.name);
    vectors_shape(&v, path, info.dims, info.shape);
    must(wcoh_tensors_read(t, found, 0, v.count * (size_t)v.n, v.values, &error), path, &error);
    wcoh_tensors_close(t);
    return v;
}

/* Text as a JSON string. */
COMMON_USED(__unused__)
static void json_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') printf("\\%c", *text);
        else if ((unsigned char)*text < 32) printf("\\u%04x", (unsigned)(unsigned char)*text);
        else putchar(*text);
    }
    putchar('"');
}

#endif
