/* GGUF files (llama.cpp's), read from memory: settings by key, tensors by name. Nothing of the file is
   trusted; what is wrong ends the program with a sentence (fail of common.h). Format: versions 2 and
   3 of gguf.md of the ggml project, little-endian.
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef GGUF_H
#define GGUF_H

#include "bytes.h"

typedef enum gguf_kind { /* of a setting; the numbers are the format's */
                         GGUF_U8,
                         GGUF_I8,
                         GGUF_U16,
                         GGUF_I16,
                         GGUF_U32,
                         GGUF_I32,
                         GGUF_F32,
                         GGUF_BOOL,
                         GGUF_STRING,
                         GGUF_ARRAY,
                         GGUF_U64,
                         GGUF_I64,
                         GGUF_F64,
                         GGUF_KINDS
} gguf_kind;

static const unsigned char gguf_bytes[GGUF_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* A stretch of the file. */
typedef struct gguf_text {
    const char *bytes;
    size_t size;
} gguf_text;

typedef struct gguf_value {
    gguf_kind kind, of;       /* of: an array's elements */
    unsigned long long count; /* an array's */
    const unsigned char *at;  /* the bytes of a number, of a string, of an array's elements */
    size_t size;              /* a string's, an array's */
} gguf_value;

enum { GGUF_DIMS = 4 };

typedef struct gguf_tensor {
    gguf_text name;
    unsigned long dims, type;
    unsigned long long shape[GGUF_DIMS]; /* columns first, as the file has them */
    unsigned long long count;
    const unsigned char *data; /* count numbers of `type` */
    int used;
} gguf_tensor;

typedef struct gguf {
    const char *path;
    const unsigned char *bytes, *end, *settings;
    unsigned long long setting_count, tensor_count;
    gguf_tensor *tensors; /* by their names */
} gguf;

/* ---- reading --------------------------------------------------------------------------------- */

static const unsigned char *gguf_skip(reader *in, unsigned long long bytes)
{
    const unsigned char *at = in->at;
    if (bytes > (unsigned long long)(in->end - in->at))
        fail(EXIT_FAILED, "%s: the file ends in its header: it is cut short", in->path);
    in->at += bytes;
    return at;
}

static gguf_text gguf_string(reader *in)
{
    gguf_text text;
    unsigned long long size = read_whole(in, 8);
    text.bytes = (const char *)gguf_skip(in, size);
    text.size = (size_t)size;
    return text;
}

/* As it may be printed. */
static const char *gguf_shown(gguf_text text)
{
    return text_shown(text_made("%.*s", (int)(text.size < 64 ? text.size : 64), text.bytes));
}

static gguf_kind gguf_kind_next(reader *in)
{
    unsigned long long kind = read_whole(in, 4);
    if (kind >= GGUF_KINDS)
        fail(EXIT_FAILED, "%s: a setting of kind %.0f: 0 to 12 are known", in->path, (double)kind);
    return (gguf_kind)kind;
}

static gguf_value gguf_value_next(reader *in)
{
    gguf_value value;
    unsigned long long i;
    memset(&value, 0, sizeof value);
    value.kind = gguf_kind_next(in);
    if (value.kind == GGUF_STRING) {
        gguf_text text = gguf_string(in);
        value.at = (const unsigned char *)text.bytes;
        value.size = text.size;
    } else if (value.kind != GGUF_ARRAY) {
        value.at = gguf_skip(in, gguf_bytes[value.kind]);
    } else {
        value.of = gguf_kind_next(in);
        value.count = read_whole(in, 8);
        value.at = in->at;
        if (value.of == GGUF_ARRAY)
            fail(EXIT_FAILED, "%s: an array of arrays among the settings", in->path);
        if (value.of == GGUF_STRING)
            for (i = 0; i < value.count; i++) gguf_string(in);
        else if (value.count > (unsigned long long)(in->end - in->at) / gguf_bytes[value.of])
            fail(EXIT_FAILED, "%s: the file ends in its header: it is cut short", in->path);
        else gguf_skip(in, value.count * gguf_bytes[value.of]);
        value.size = (size_t)(in->at - value.at);
    }
    return value;
}

/* ---- what is asked --------------------------------------------------------------------------- */

static int gguf_same(gguf_text text, const char *name)
{
    return text.size == strlen(name) && memcmp(text.bytes, name, text.size) == 0;
}

/* 1 if there is a setting of that name. */
static int gguf_find(const gguf *file, const char *name, gguf_value *value)
{
    reader in;
    unsigned long long i;
    in.at = file->settings;
    in.end = file->end;
    in.path = file->path;
    for (i = 0; i < file->setting_count; i++) {
        gguf_text key = gguf_string(&in);
        *value = gguf_value_next(&in);
        if (gguf_same(key, name)) return 1;
    }
    return 0;
}

/* A number; `otherwise` where there is none of that name. */
static double gguf_number(const gguf *file, const char *name, double otherwise)
{
    gguf_value value;
    unsigned long long bits = 0;
    float single;
    double number;
    int i, width;
    if (!gguf_find(file, name, &value)) return otherwise;
    if (value.kind == GGUF_STRING || value.kind == GGUF_ARRAY)
        fail(EXIT_FAILED, "%s: %s is no number", file->path, name);
    width = gguf_bytes[value.kind];
    for (i = 0; i < width; i++) bits |= (unsigned long long)value.at[i] << (8 * i);
    if (value.kind == GGUF_F32) {
        uint32_t word = (uint32_t)bits;
        memcpy(&single, &word, sizeof single);
        return (double)single;
    }
    if (value.kind == GGUF_F64) {
        memcpy(&number, &bits, sizeof number);
        return number;
    }
    number = (double)bits;
    if ((value.kind == GGUF_I8 || value.kind == GGUF_I16 || value.kind == GGUF_I32 ||
         value.kind == GGUF_I64) &&
        value.at[width - 1] & 128)
        number -= ldexp(1, 8 * width);
    return number;
}

/* Of two rows that begin with a gguf_text. */
static int gguf_order(const void *a, const void *b)
{
    const gguf_text *x = (const gguf_text *)a, *y = (const gguf_text *)b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static gguf_tensor *gguf_tensor_find(const gguf *file, const char *name)
{
    gguf_text wanted;
    wanted.bytes = name;
    wanted.size = strlen(name);
    return (gguf_tensor *)bsearch(&wanted, file->tensors, (size_t)file->tensor_count,
                                  sizeof *file->tensors, gguf_order);
}

/* ---- opening --------------------------------------------------------------------------------- */

enum { GGUF_TYPE_F32 = 0, GGUF_TYPE_F16 = 1, GGUF_TYPE_BF16 = 30 };

/* The format's name of a number type. */
static const char *gguf_type_name(unsigned long type)
{
    static const char *const names[] = {
        "F32",     "F16",    "Q4_0",    "Q4_1",  "Q4_2",   "Q4_3",  "Q5_0",  "Q5_1",
        "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
        "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
        "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16"};
    return type < sizeof names / sizeof *names ? names[type] : text_made("%lu", type);
}

/* Shape and place of the next tensor; its data are looked for once it is known where they begin. */
static unsigned long long gguf_tensor_next(reader *in, gguf_tensor *tensor)
{
    unsigned long i;
    tensor->name = gguf_string(in);
    tensor->dims = (unsigned long)read_whole(in, 4);
    tensor->count = 1;
    if (tensor->name.size == 0 || tensor->name.size > 64 || tensor->dims < 1 ||
        tensor->dims > GGUF_DIMS)
        fail(EXIT_FAILED, "%s: a tensor with a name of %.0f bytes and %lu dimensions", in->path,
             (double)tensor->name.size, tensor->dims);
    for (i = 0; i < tensor->dims; i++) {
        tensor->shape[i] = read_whole(in, 8);
        if (tensor->shape[i] < 1 || tensor->shape[i] > (1ull << 40) / tensor->count)
            fail(EXIT_FAILED, "%s: %s: its shape is none", in->path, gguf_shown(tensor->name));
        tensor->count *= tensor->shape[i];
    }
    tensor->type = (unsigned long)read_whole(in, 4);
    if (tensor->type != GGUF_TYPE_F32 && tensor->type != GGUF_TYPE_F16 &&
        tensor->type != GGUF_TYPE_BF16)
        fail(EXIT_FAILED, "%s: %s is of type %s: F32, F16 and BF16 are read, nothing quantised",
             in->path, gguf_shown(tensor->name), gguf_type_name(tensor->type));
    return read_whole(in, 8);
}

/* Sort rows by the name that each begins with; none stands there twice. */
static void gguf_sort(const char *path, void *rows, unsigned long long count, size_t size,
                      const char *what)
{
    const char *row = (const char *)rows;
    qsort(rows, (size_t)count, size, gguf_order);
    for (; count > 1; count--, row += size)
        if (gguf_order(row, row + size) == 0)
            fail(EXIT_FAILED, "%s: it has the %s %s twice", path, what,
                 gguf_shown(*(const gguf_text *)(const void *)row));
}

/* bytes [size] begin with GGUF and live as long as what is returned. */
static gguf gguf_open(const char *path, const char *bytes, size_t size)
{
    gguf file;
    reader in;
    gguf_text *keys;
    unsigned long long version, i, *offsets, align, next = 0;
    double aligned;
    memset(&file, 0, sizeof file);
    in.path = file.path = path;
    file.bytes = (const unsigned char *)bytes;
    in.at = file.bytes + 4;
    in.end = file.end = file.bytes + size;
    version = read_whole(&in, 4);
    if (version == 2ul << 24 || version == 3ul << 24)
        fail(EXIT_FAILED, "%s: its numbers have their highest byte first: that is not read", path);
    if (version != 2 && version != 3)
        fail(EXIT_FAILED, "%s: GGUF of version %.0f: 2 and 3 are known", path, (double)version);
    file.tensor_count = read_whole(&in, 8);
    file.setting_count = read_whole(&in, 8);
    if (file.tensor_count > size / 24 || file.setting_count > size / 12)
        fail(EXIT_FAILED,
             "%s: it says to have %.0f tensors and %.0f settings: more than it can hold", path,
             (double)file.tensor_count, (double)file.setting_count);
    file.settings = in.at;
    keys = (gguf_text *)calloc((size_t)file.setting_count + 1, sizeof *keys);
    file.tensors = (gguf_tensor *)calloc((size_t)file.tensor_count + 1, sizeof *file.tensors);
    offsets = (unsigned long long *)calloc((size_t)file.tensor_count + 1, sizeof *offsets);
    if (!keys || !file.tensors || !offsets) fail(EXIT_FAILED, "%s: no memory for its header", path);
    for (i = 0; i < file.setting_count; i++) {
        keys[i] = gguf_string(&in);
        gguf_value_next(&in);
    }
    gguf_sort(path, keys, file.setting_count, sizeof *keys, "setting");
    free(keys);
    for (i = 0; i < file.tensor_count; i++) offsets[i] = gguf_tensor_next(&in, &file.tensors[i]);
    aligned = gguf_number(&file, "general.alignment", 32);
    align = aligned >= 1 && aligned <= 1 << 20 ? (unsigned long long)aligned : 0;
    if (align < 1 || (align & (align - 1)) || (double)align < aligned)
        fail(EXIT_FAILED, "%s: general.alignment is %g: no power of two up to 2^20", path, aligned);
    gguf_skip(&in, (align - (unsigned long long)(in.at - file.bytes) % align) % align);
    for (i = 0; i < file.tensor_count; i++) {
        gguf_tensor *tensor = &file.tensors[i];
        unsigned long long there = (unsigned long long)(in.end - in.at);
        unsigned long long bytes_wanted = tensor->count * (tensor->type == GGUF_TYPE_F32 ? 4 : 2);
        if (offsets[i] != next)
            fail(EXIT_FAILED, "%s: %s: its numbers begin at %.0f, those before it end at %.0f",
                 path, gguf_shown(tensor->name), (double)offsets[i], (double)next);
        if (offsets[i] > there || bytes_wanted > there - offsets[i])
            fail(EXIT_FAILED, "%s: %s: its numbers are not in the file: it is cut short", path,
                 gguf_shown(tensor->name));
        tensor->data = in.at + offsets[i];
        next += (bytes_wanted + align - 1) / align * align;
    }
    free(offsets);
    gguf_sort(path, file.tensors, file.tensor_count, sizeof *file.tensors, "tensor");
    return file;
}

/* Number i of a tensor. */
static float gguf_at(const gguf_tensor *tensor, size_t i)
{
    const unsigned char *at = tensor->data + i * (tensor->type == GGUF_TYPE_F32 ? 4 : 2);
    unsigned low = at[0] | (unsigned)at[1] << 8, exponent = low >> 10 & 31, fraction = low & 1023;
    uint32_t bits;
    float value;
    if (tensor->type == GGUF_TYPE_F16) {
        value = (float)(exponent == 0    ? ldexp(fraction, -24)
                        : exponent == 31 ? (fraction ? NAN : INFINITY)
                                         : ldexp(1024 + fraction, (int)exponent - 25));
        return low & 32768 ? -value : value;
    }
    bits = tensor->type == GGUF_TYPE_BF16
               ? (uint32_t)low << 16
               : (uint32_t)low | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
