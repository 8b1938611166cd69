/* Vectors from files for the example programs: a matrix of a .npy file or of a safetensors file.
   Names of its rows, and pairs of them. Include it after common.h; it is no part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_VECTORS_H
#define WAVECOH_EXAMPLES_VECTORS_H

#include <math.h>

typedef struct vectors {
    float *values; /* [count, n] */
    size_t count;
    int n;
    const char *name; /* of the tensor; "" in a file without names */
} vectors;

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

/* The first matrix of a file, or the tensor of that name, or the only one; where there are more
   matrices and none is named, it is said which it is. */
COMMON_USED(__unused__)
static vectors vectors_read(const char *path, const char *tensor)
{
    vectors v;
    wcoh_tensors *t;
    wcoh_tensor_info info;
    wcoh_error error;
    int i, found = -1, more = 0;
    memset(&v, 0, sizeof v);
    must(wcoh_tensors_open_file(&t, path, NULL, &error), NULL, &error);
    for (i = 0; i < wcoh_tensors_count(t); i++) {
        wcoh_tensors_info(t, i, &info, NULL);
        if (tensor ? strcmp(info.name, tensor) : info.dims != 2 && wcoh_tensors_count(t) > 1)
            continue;
        if (found < 0) found = i;
        else more++;
    }
    if (found < 0) fail(EXIT_FAILED, "%s: it has no %s", path, tensor ? tensor : "matrix");
    wcoh_tensors_info(t, found, &info, NULL);
    if (more)
        say("%s: %s is taken, one of %d matrices; --tensor names another", path,
            text_shown(info.name), more + 1);
    v.name = text_made("%s", info.name);
    vectors_shape(&v, path, info.dims, info.shape);
    must(wcoh_tensors_read(t, found, 0, v.count * (size_t)v.n, v.values, &error), path, &error);
    wcoh_tensors_close(t);
    return v;
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct row_name {
    const char *name;
    uint32_t row;
} row_name;

typedef struct names {
    char **of_row;   /* [count]; NULL without a file of names */
    row_name *table; /* [count], in order of name and row */
    size_t count;
} names;

static int row_name_order(const void *a, const void *b)
{
    const row_name *x = (const row_name *)a, *y = (const row_name *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->row < y->row ? -1 : x->row > y->row;
}

/* Line i is the name of row i - 1, a blank one too: so there must be as many lines as rows. */
COMMON_USED(__unused__)
static names names_read(const char *path, size_t rows_of)
{
    names n;
    size_t i;
    n.of_row = file_lines(path, &n.count);
    if (n.count != rows_of)
        fail(EXIT_FAILED, "%s: %lu lines for %lu vectors; each line is the name of a row", path,
             (unsigned long)n.count, (unsigned long)rows_of);
    n.table = (row_name *)memory_of(n.count, sizeof *n.table);
    for (i = 0; i < n.count; i++) {
        n.table[i].name = n.of_row[i];
        n.table[i].row = (uint32_t)i;
    }
    qsort(n.table, n.count, sizeof *n.table, row_name_order);
    return n;
}

/* The first of that name or behind it. */
static size_t names_place(const names *n, const char *name)
{
    size_t low = 0, high = n->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(n->table[middle].name, name) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* A row by its name, or else by its number; `path` and `line` are where it is asked for. */
COMMON_USED(__unused__)
static uint32_t row_named(const names *n, const char *name, size_t rows_of, const char *path,
                          size_t line)
{
    size_t at = names_place(n, name), digits = strspn(name, "0123456789");
    unsigned long row = digits && digits < 11 ? strtoul(name, NULL, 10) : (unsigned long)-1;
    if (at + 1 < n->count && strcmp(n->table[at + 1].name, name) == 0)
        fail(EXIT_FAILED, "%s: line %lu: rows %lu and %lu are both named \"%s\"; say the number",
             path, (unsigned long)line, (unsigned long)n->table[at].row,
             (unsigned long)n->table[at + 1].row, name);
    if (at < n->count && strcmp(n->table[at].name, name) == 0) return n->table[at].row;
    if (name[digits] || row >= rows_of || row > 0xffffffffu)
        fail(EXIT_FAILED, "%s: line %lu: there is no vector named \"%s\"", path,
             (unsigned long)line, name);
    return (uint32_t)row;
}

/* ---- fields of a line ------------------------------------------------------------------------ */

/* A field in double quotes, in which "" is one of them; returns what follows, NULL if it is open. */
static char *field_quoted(char *at)
{
    char *to = at;
    for (at++; *at; at++) {
        if (*at == '"' && at[1] != '"') {
            *to = 0;
            return at + 1;
        }
        at += *at == '"';
        *to++ = *at;
    }
    return NULL;
}

/* Split a line in place: at tabs if it has one, else at blanks outside double quotes. Returns the
   number of fields, of which at most `most` are stored; -1 where a quote is not closed. */
COMMON_USED(__unused__)
static int line_fields(char *line, char **fields, int most)
{
    int count = 0, tabs = strchr(line, '\t') != NULL;
    while (*line || (tabs && count > 0)) {
        char *end;
        if (!tabs) line += strspn(line, " ");
        if (!tabs && !*line) break;
        if (count < most) fields[count] = line;
        count++;
        if (!tabs && *line == '"') {
            end = field_quoted(line);
            if (!end || (*end && *end != ' ')) return -1;
            line = end;
            continue;
        }
        end = line + strcspn(line, tabs ? "\t" : " ");
        if (!*end) break;
        *end = 0;
        line = end + 1;
    }
    return count;
}

/* Text as a JSON string. */
COMMON_USED(__unused__)
static void json_text(const char *text) { printf("\"%s\"", text_json(text)); }

#endif
