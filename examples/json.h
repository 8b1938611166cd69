/* JSON for programs that answer requests: a value read into a tree by the library's own reader, and
   text that grows. Include it after the implementation of wavecoh.h, whose wcohi_json it stands on,
   and after text.h. Nothing here prints, ends the program or keeps memory: a server lives long.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_JSON_H
#define WAVECOH_EXAMPLES_JSON_H

#include "text.h"

/* ---- text that grows ------------------------------------------------------------------------- */

/* All zero is empty. Where memory runs out it is `broken` and stays as it is. */
typedef struct buffer {
    char *text; /* [size], not terminated */
    size_t size, room;
    int broken;
} buffer;

static void buffer_free(buffer *b)
{
    free(b->text);
    memset(b, 0, sizeof *b);
}

/* Room for `size` bytes more; NULL where there is none. */
static char *buffer_room(buffer *b, size_t size)
{
    size_t room = b->room ? b->room : 256;
    char *text;
    if (b->broken || size > (size_t)-1 / 4 - b->size) b->broken = 1;
    if (b->broken) return NULL;
    while (room < b->size + size) room *= 2;
    if (room > b->room) {
        text = (char *)realloc(b->text, room);
        if (!text) b->broken = 1;
        if (!text) return NULL;
        b->text = text;
        b->room = room;
    }
    return b->text + b->size;
}

static void buffer_put(buffer *b, const char *text, size_t size)
{
    char *to = buffer_room(b, size);
    if (to && size) memcpy(to, text, size);
    if (to) b->size += size;
}

static void buffer_text(buffer *b, const char *text) { buffer_put(b, text, strlen(text)); }

COMMON_USED(__format__(__printf__, 2, 3))
static void buffer_print(buffer *b, const char *format, ...)
{
    va_list arguments;
    char *to;
    int length;
    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    to = length < 0 ? NULL : buffer_room(b, (size_t)length + 1);
    if (!to) return;
    va_start(arguments, format);
    vsnprintf(to, (size_t)length + 1, format, arguments);
    va_end(arguments);
    b->size += (size_t)length;
}

/* Bytes as a JSON string with its quotes; what is no UTF-8 becomes U+FFFD. */
static void buffer_json(buffer *b, const char *text, size_t size)
{
    size_t at = 0;
    buffer_put(b, "\"", 1);
    while (at < size && !b->broken) {
        char one[16];
        unsigned long point = 0;
        int length = utf8_length(text + at, size - at, &point);
        buffer_put(b, one, (size_t)write_json(one, text + at, length, point));
        at += length ? (size_t)length : 1;
    }
    buffer_put(b, "\"", 1);
}

static void buffer_json_text(buffer *b, const char *text) { buffer_json(b, text, strlen(text)); }

/* A finite number; null for what JSON cannot write. */
COMMON_USED(__unused__)
static void buffer_number(buffer *b, double x)
{
    char text[40];
    if (x != x || x > 1e300 || x < -1e300) buffer_text(b, "null");
    else sprintf(text, "%.9g", x), buffer_text(b, text);
}

/* Bytes at the start of text [size] that are whole characters, or are none whatever comes: text
   [0 .. that) can be shown before the rest is there. */
static size_t text_whole(const char *text, size_t size)
{
    size_t most = size < 3 ? size : 3, back;
    unsigned long point;
    for (back = most; back > 0; back--) { /* the tail that begins there can still become one */
        text_flow flow;
        memset(&flow, 0, sizeof flow);
        flow.count = (int)back;
        memcpy(flow.held, text + size - back, back);
        if (utf8_length(flow.held, back, &point) == 0 && flow_can_grow(&flow)) return size - back;
    }
    return size;
}

/* ---- a value as a tree ----------------------------------------------------------------------- */

typedef enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_LIST,
    JSON_OBJECT
} json_kind;

/* "a list is needed" */
static const char *const json_kind_names[] = {"null",     "a boolean", "a boolean", "a number",
                                              "a string", "a list",    "an object"};

typedef struct json_node {
    json_kind kind;
    wcohi_slice key;             /* of a member of an object */
    wcohi_slice text;            /* a string, decoded; a number or a word as it stands */
    uint32_t first, next, count; /* the first child and the next sibling, 0: none; children */
} json_node;

/* Node 0 is the value. The tree lives in the text that was read. */
typedef struct json_tree {
    wcohi_json json;
    json_node *nodes;
    uint32_t count, room;
} json_tree;

enum { JSON_DEEP = 64 };

/* The number of a new node; 0 after a failure, for the first has no sibling and no parent. */
static uint32_t json_node_new(json_tree *tree)
{
    if (tree->count == tree->room) {
        uint32_t room = tree->room ? 2 * tree->room : 64;
        json_node *nodes = (json_node *)realloc(tree->nodes, room * sizeof *nodes);
        if (!nodes) return 0;
        tree->nodes = nodes;
        tree->room = room;
    }
    memset(&tree->nodes[tree->count], 0, sizeof *tree->nodes);
    return tree->count++;
}

static wcoh_result json_read_value(json_tree *tree, uint32_t at, int deep);

/* The members of a list or an object, behind its bracket. */
static wcoh_result json_read_children(json_tree *tree, uint32_t at, int deep)
{
    int object = tree->nodes[at].kind == JSON_OBJECT;
    uint32_t last = 0;
    wcoh_result result = WCOH_OK;
    if (wcohi_json_accept(&tree->json, object ? '}' : ']')) return WCOH_OK;
    do {
        uint32_t child = json_node_new(tree);
        if (!child) return wcohi_fail(tree->json.error, WCOH_E_MEMORY, "no memory for the values");
        if (last) tree->nodes[last].next = child;
        else tree->nodes[at].first = child;
        tree->nodes[at].count++;
        last = child;
        if (object) result = wcohi_json_key(&tree->json, &tree->nodes[child].key);
        if (!result) result = json_read_value(tree, child, deep - 1);
        if (result) return result;
    } while (wcohi_json_accept(&tree->json, ','));
    return wcohi_json_expect(&tree->json, object ? '}' : ']');
}

static wcoh_result json_read_value(json_tree *tree, uint32_t at, int deep)
{
    wcohi_json *json = &tree->json;
    char first = wcohi_json_peek(json);
    size_t from = json->at;
    json_node *node = &tree->nodes[at];
    wcoh_result result;
    if (first == '"') {
        node->kind = JSON_STRING;
        return wcohi_json_string(json, &node->text);
    }
    if (first == '{' || first == '[') {
        if (deep == 0) return wcohi_json_fail(json, "nested too deep");
        node->kind = first == '{' ? JSON_OBJECT : JSON_LIST;
        json->at++;
        return json_read_children(tree, at, deep);
    }
    result = wcohi_json_word(json);
    node->kind = first == 'n'   ? JSON_NULL
                 : first == 't' ? JSON_TRUE
                 : first == 'f' ? JSON_FALSE
                                : JSON_NUMBER;
    node->text.at = (uint32_t)from;
    node->text.size = (uint32_t)(json->at - from);
    return result;
}

static void json_close(json_tree *tree)
{
    free(tree->nodes);
    memset(tree, 0, sizeof *tree);
}

/* Read the one value in text [size], which is changed (a zero byte follows it) and must outlive the
   tree. Errors: WCOH_E_FORMAT ("byte 12: .."), WCOH_E_MEMORY; the tree is closed then. Untrusted
   input: yes. */
static wcoh_result json_open(json_tree *tree, char *text, size_t size, wcoh_error *error)
{
    static const char head[] = "header, ";
    wcoh_result result = WCOH_OK;
    memset(tree, 0, sizeof *tree);
    tree->json.text = text;
    tree->json.size = size;
    tree->json.error = error;
    tree->json.name = "header";
    json_node_new(tree);
    if (!tree->nodes || size > 0x7fffffff)
        result = wcohi_fail(error, WCOH_E_MEMORY, "no memory for the values");
    if (!result) result = json_read_value(tree, 0, JSON_DEEP);
    if (!result && (wcohi_json_peek(&tree->json) || tree->json.at < size))
        result = wcohi_json_fail(&tree->json, "something after the end of the value");
    if (!result) return result;
    json_close(tree);
    if (error && strncmp(error->text, head, sizeof head - 1) == 0) /* the library's reads headers */
        memmove(error->text, error->text + sizeof head - 1, strlen(error->text) + 2 - sizeof head);
    return result;
}

/* The member of that name, or NULL: the last one, as JSON's readers have it. */
static const json_node *json_member(const json_tree *tree, const json_node *object,
                                    const char *name)
{
    size_t length = strlen(name);
    const json_node *found = NULL;
    uint32_t i;
    if (!object || object->kind != JSON_OBJECT) return NULL;
    for (i = object->first; i; i = tree->nodes[i].next) {
        const json_node *node = &tree->nodes[i];
        if (node->key.size == length && memcmp(tree->json.text + node->key.at, name, length) == 0)
            found = node;
    }
    return found;
}

/* The children of a node: for (c = json_first(tree, node); c; c = json_next(tree, c)) */
static const json_node *json_first(const json_tree *tree, const json_node *node)
{
    return node && node->first ? &tree->nodes[node->first] : NULL;
}

static const json_node *json_next(const json_tree *tree, const json_node *node)
{
    return node->next ? &tree->nodes[node->next] : NULL;
}

static const char *json_text(const json_tree *tree, const json_node *node)
{
    return tree->json.text + node->text.at;
}

static int json_is(const json_tree *tree, const json_node *node, const char *text)
{
    return node && node->kind == JSON_STRING && node->text.size == strlen(text) &&
           memcmp(json_text(tree, node), text, node->text.size) == 0;
}

/* The number of a node -> *value; 0 where it is none or too large for a double. */
static int json_number(const json_tree *tree, const json_node *node, double *value)
{
    char text[400]; /* no double needs more digits */
    if (node->kind != JSON_NUMBER || node->text.size >= sizeof text) return 0;
    memcpy(text, json_text(tree, node), node->text.size);
    text[node->text.size] = 0;
    return wcohi_parse_real(text, value);
}

/* A whole number -> *value, every one of its 64 bits; -1 becomes 2^64 - 1. 1.0 and 1e3 are whole. */
static int json_whole(const json_tree *tree, const json_node *node, int64_t *value)
{
    char text[24];
    uint64_t magnitude;
    double real;
    int minus;
    if (node->kind != JSON_NUMBER) return 0;
    minus = *json_text(tree, node) == '-';
    if (node->text.size < sizeof text) {
        memcpy(text, json_text(tree, node) + minus, node->text.size - (uint32_t)minus);
        text[node->text.size - (uint32_t)minus] = 0;
        if (wcohi_parse_u64(text, &magnitude) && magnitude <= (uint64_t)INT64_MAX + (minus != 0)) {
            *value = !minus ? (int64_t)magnitude : magnitude ? -(int64_t)(magnitude - 1) - 1 : 0;
            return 1;
        }
    }
    if (!json_number(tree, node, &real) || real != floor(real) || fabs(real) > 9e15) return 0;
    *value = (int64_t)real;
    return 1;
}

#endif
