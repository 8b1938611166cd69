/* wavecoh_vk.h - any Vulkan 1.1 GPU as a device of wavecoh.h, the wave-coherence network library.

   In one C or C++ file of your program:

       #define WAVECOH_IMPLEMENTATION
       #include "wavecoh_vk.h"         (brings in wavecoh.h and shaders.h)

   and `cc -O2 program.c -lm -lpthread` builds it (before glibc 2.34 also -ldl). Only the Vulkan
   headers are needed to build; the Vulkan library is found and loaded at run time, and no vk*
   symbol is defined.

       wcoh_vk_desc desc = {0};
       wcoh_device *device;
       if (wcoh_vk_device_create(&device, &desc, &error) == WCOH_OK) trainer_desc.device = device;
       ...                              (otherwise error.text says why, and the CPU goes on)
       wcoh_device_destroy(device);

   Programs that make devices again and again (an editor that restarts its game, a lost device) make
   one wcoh_vk_instance and name it in desc.shared: drivers tire of instances, not of devices.

   A device executes the library's plan: training, evaluation and sessions, with the losses and the
   checkpoints of the CPU. Parameters, gradients, moments and activations stay on the GPU; a pass is
   recorded once for each shape and submitted again and again. Results are the same bits from run to
   run on one device and driver; between devices they differ by rounding.

   CONTENTS: five floors, each calls only downward; search for the banners

     1 surface    settings and facts of a device: all that users see
     2 recording  what a GPU does for an op, in no interface's words: the recorder, sums and
                  products, rooms of the ops, wider queries and keys, phases of symbols, maestros,
                  oscillators, loss, noise, the optimisers, a pass
     3 vulkan     loading, choosing a device, memory, pipelines, dispatches
     4 running    commands of a pass, copies and slots, sessions, runs, a plan made ready, tuning
     5 device     the table, matrix units, its life

   OPTIONS, defined before the implementation is included, besides those of wavecoh.h

     WAVECOH_VK_NO_COOPERATIVE      no products on matrix units: desc.cooperative is refused
     WAVECOH_VK_TEST_SHADERS        the shaders that only tests and benchmarks use

   Memory: host memory comes in one block from desc.memory, device memory in two allocations for
   each trainer, session or evaluation. Vulkan objects use desc.allocator.
   Threads: objects that share a device are used by one thread at a time; make a device a thread.
   Does not: run several GPUs, compile shaders, fall back to the CPU by itself.

   SPDX-License-Identifier: see wavecoh.h */
#ifndef WAVECOH_VK_H
#define WAVECOH_VK_H

#include "wavecoh.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ======== 1 surface: settings and facts of a device =========================================== */

/* vkGetInstanceProcAddr, as loaders hand it out. */
typedef void (*wcoh_vk_function)(void);
typedef wcoh_vk_function (*wcoh_vk_get_proc)(void *instance, const char *name);

/* Vulkan, opened once for many devices. */
typedef struct wcoh_vk_instance wcoh_vk_instance;

/* All zero: load the system's Vulkan, take the first discrete GPU, else the first device. Handles
   are void pointers so that this part needs no Vulkan header. */
typedef struct wcoh_vk_desc {
    int index;        /* take device `index` of wcoh_vk_device_list, counted from 1; 0: by name */
    const char *name; /* take the first device whose name contains this; NULL: see above */
    const char *library; /* path of the Vulkan library; NULL: the system's */
    int validation;      /* 1: Khronos validation layer with synchronization checks, if installed */
    int two_float;   /* 1: sessions use pairs of floats even where the device has 64-bit floats */
    int linear_from; /* coherence attention of windows longer than this takes time in proportion to
                             their length: pairs near each other, states for what is farther (the same
                             function, to rounding); 0: 1024; negative: never. Where queries bring
                             gains of their own, all pairs always */
    int half_activations; /* 1: what a training step's forward leaves for its backward stands in half
                             floats meanwhile: less memory, the same losses, gradients off by about
                             5e-4; see wcoh_vk_bytes.half_saves */
    int cooperative; /* 1: large matrix products on the device's matrix units, with factors rounded
                             to half floats (sums stay float): faster, other losses. Needs Vulkan
                             1.3 and VK_KHR_cooperative_matrix; a lent device must have it enabled,
                             and the features shaderFloat16 and vulkanMemoryModel */
    const wcoh_vk_instance *shared;     /* of wcoh_vk_instance_create, which then decides library,
                             validation and message; NULL: an instance of its own */
    wcoh_vk_get_proc get_instance_proc; /* of the host program; NULL: from the library */
    /* The host program's own objects; all or none. The device needs one compute queue of `family`,
       Vulkan 1.1, and shaderFloat64 if the physical device has it (else set two_float). They stay
       the caller's and must outlive this device; its queue is used inside calls into the library
       only. */
    void *instance, *physical_device, *device, *queue;
    uint32_t family;
    const char *tuning; /* a text of wcoh_vk_tune, which decides how products are computed; NULL: a
                           rule does. Read when the device is made */
    const void
        *allocator; /* const VkAllocationCallbacks *, for every Vulkan object; NULL: the driver's */
    void (*message)(const char *text, void *user); /* of the validation layer */
    void *message_user;
    wcoh_memory memory; /* of the device itself */
} wcoh_vk_desc;

/* What is known of a device. */
typedef struct wcoh_vk_info {
    char name[256];
    char driver[256];     /* name and version as the driver tells it; empty if it does not */
    int discrete;         /* 1: a discrete GPU */
    int software;         /* 1: Vulkan on the CPU */
    int float64;          /* 1: 64-bit floats in shaders */
    int usable;           /* 0: lacks Vulkan 1.1 or a compute queue */
    uint32_t api_version; /* VK_MAKE_API_VERSION */
    uint32_t driver_version;
    uint32_t vendor;
    uint32_t subgroup; /* lanes */
    uint64_t memory;   /* bytes of the largest device-local heap */
    uint32_t multiprocessors; /* of a device made; 0: no extension of its driver tells */
} wcoh_vk_info;

/* Open the Vulkan library and make an instance that devices share (desc.shared): NVIDIA's driver
   refuses the 29th instance of a process, whatever was destroyed before. Of `desc` (may be NULL)
   library, validation, get_instance_proc, allocator, message, message_user and memory are used. It
   outlives its devices, which may stand on several threads. On failure *instance is NULL.
   Errors: WCOH_E_DEVICE (no library, no driver), WCOH_E_UNSUPPORTED, WCOH_E_MEMORY, WCOH_E_ARGUMENT
   (instance or shared is set in desc). */
WCOH_API wcoh_result wcoh_vk_instance_create(wcoh_vk_instance **instance, const wcoh_vk_desc *desc,
                                             wcoh_error *error);
/* End it, after all its devices. NULL is allowed. */
WCOH_API void wcoh_vk_instance_destroy(wcoh_vk_instance *instance);
/* The devices of this machine in the loader's order: at most `capacity` are written to `infos` (may
   be NULL with 0), *count is their number. Of `desc` (may be NULL) library, shared,
   get_instance_proc, instance and allocator are used. Errors: WCOH_E_DEVICE (no Vulkan library),
   WCOH_E_MEMORY. */
WCOH_API wcoh_result wcoh_vk_device_list(const wcoh_vk_desc *desc, wcoh_vk_info *infos,
                                         int capacity, int *count, wcoh_error *error);
/* Make a device; wcoh_device_destroy ends it, after everything that uses it. desc may be NULL (all
   zero). On failure *device is NULL and nothing is left behind.
   Errors: WCOH_E_DEVICE (no library, no such device, driver failure), WCOH_E_UNSUPPORTED (a feature
   is missing: the sentence names it), WCOH_E_MEMORY, WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_vk_device_create(wcoh_device **device, const wcoh_vk_desc *desc,
                                           wcoh_error *error);
/* What a trainer takes: memory in bytes. */
typedef struct wcoh_vk_bytes {
    uint64_t device;      /* on the device, in all: one buffer */
    uint64_t host;        /* of the host, seen by the device: one buffer */
    uint64_t parameters;  /* of `device`: parameters, gradient, moments, rules of the optimiser */
    uint64_t activations; /* of `device`: what the forward keeps for the backward */
    uint64_t half_saves;  /* what desc.half_activations takes, or would take, from `activations` */
    uint64_t scratch;    /* of `device`: what the largest op wants for itself, and sums that wait */
    uint32_t dispatches; /* of a step: how often the device is given work */
    uint64_t heap;        /* what the device has: its largest local heap; 0: it does not tell */
} wcoh_vk_bytes;

#ifndef WAVECOH_NO_TRAINING
/* What wcoh_trainer_create would take on this device, to the byte, before anything is made. The
   device of `trainer` is ignored. Errors: WCOH_E_ARGUMENT (a desc; not a Vulkan device),
   WCOH_E_UNSUPPORTED, WCOH_E_MEMORY (what does not fit: the sentence tells the largest batch). */
WCOH_API wcoh_result wcoh_vk_trainer_bytes(wcoh_device *device, const wcoh_model_desc *model,
                                           const wcoh_trainer_desc *trainer, wcoh_vk_bytes *bytes,
                                           wcoh_error *error);
#endif
#ifndef WAVECOH_NO_TRAINING
/* Try for at most `seconds` how the products of such a trainer (tiles, stages, shares of long sums and of
   the last tiles, the two of a linear op's backward in one dispatch or two) and its attention (columns,
   states for rows far away, passes of the backward; a third of the time, with the trainer's memory taken
   meanwhile) are computed fastest on this device, and write what was found:
   a few lines of text with a 0 behind them, of the device, its driver and this version of the shaders.
   text [size]: 64 KB hold any. Given back in desc.tuning it is used as it stands: the same text, the
   same bits; without one, or for other shapes, the rule decides. What the time did not suffice for is
   left to the rule too. The device must not be in use by another thread. Errors: WCOH_E_ARGUMENT (a
   desc; not a Vulkan device; size is too small; a NaN), WCOH_E_UNSUPPORTED, WCOH_E_MEMORY, WCOH_E_DEVICE. */
WCOH_API wcoh_result wcoh_vk_tune(wcoh_device *device, const wcoh_model_desc *model,
                                  const wcoh_trainer_desc *trainer, double seconds, char *text,
                                  size_t size, wcoh_error *error);
#endif
/* What is known of a device made by wcoh_vk_device_create; all zero for any other. */
WCOH_API void wcoh_vk_device_info(const wcoh_device *device, wcoh_vk_info *info);

#ifdef __cplusplus
}
#endif
#endif /* WAVECOH_VK_H */

#if defined(WAVECOH_IMPLEMENTATION) && !defined(WAVECOH_VK_IMPLEMENTATION_DONE)
#define WAVECOH_VK_IMPLEMENTATION_DONE

#include "shaders.h"

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES
#endif
#include <vulkan/vulkan_core.h>

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#ifdef WAVECOH_TEST_DOUBLE
#error "the Vulkan device computes in float: WAVECOH_TEST_DOUBLE is for the CPU alone"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ======== 2 recording: the recorder =========================================================== */

/* What a GPU does for every op. Nothing on this floor knows Vulkan: a recording speaks of views
   (stretches of arrays), of scratch, and of dispatches of the shaders in shaders.h; another
   interface to GPUs would fill wcohi_gpu_table. */

/* A stretch of the device's memory or, with host, of memory that the host sees. bytes 0: absent. */
typedef struct wcohi_gpu_view {
    int host;
    size_t offset, bytes;
} wcohi_gpu_view;

/* Where things are. The device's memory holds parameters, gradient, moments, rules of the
   optimiser, activations, tables, states and scratch, and `exchange`: what a pass reads from the
   host (frame to waves) and writes for it (result, impress). The host's memory holds a copy
   of the exchange for every slot. */
typedef struct wcohi_gpu_layout {
    wcohi_gpu_view params, gradient, moment1, moment2, rules, activations, tables, states, nats,
        scratch;
    wcohi_gpu_view later, segments; /* shares of sums that wait, and which they are */
    wcohi_gpu_view turns;           /* [WCOHI_GPU_TURNS] of gemm_walk.comp, 0 between dispatches */
    wcohi_gpu_view exchange, frame, members, tokens, targets, places, waves, result, impress;
    wcohi_gpu_view slot_area, hidden, logits, staging;
    size_t device_bytes, host_bytes, half_saves;
    uint32_t dispatches; /* of a step */
} wcohi_gpu_layout;

/* What distinguishes one recorded pass from another; everything else is in the frame. */
typedef struct wcohi_gpu_pass {
    int first, last; /* times of the plan; -1: the optimiser's update */
    int batch, seq;
    int backward, add, session, logits, loss;
    int noise;  /* training drops what its settings say */
    int places; /* rows of positions come from the host: sinusoids past their table */
    int timed;  /* every time of the plan leaves a mark */
} wcohi_gpu_pass;

/* How a product is tiled; cost: of one element, relative to the largest tile, for the rule. */
typedef struct wcohi_gpu_tile {
    uint32_t bm, bn, bk, tm, tn, stages;
    double cost;
} wcohi_gpu_tile;

/* What tells products apart for whom they are measured. adds: its sum over k may be shared. */
typedef struct wcohi_gpu_shape {
    uint32_t m, n, k, ta, tb, groups, adds;
} wcohi_gpu_shape;

/* What was found best for a shape. walk: tiles that are made at once; those that are left over behind all
   waves of so many are cut along k, 0: no tile is. */
typedef struct wcohi_gpu_choice {
    wcohi_gpu_shape shape;
    const wcohi_gpu_tile *tile;
    uint32_t splits, walk;
} wcohi_gpu_choice;

/* How the two products of a linear op's backward are made, dX [m,n] = G [m,k] W in each of the groups and
   dW = G^T X: in one dispatch with these tiles, or, where they are NULL, in two. */
typedef struct wcohi_gpu_pair {
    uint32_t m, n, k, groups;
    const wcohi_gpu_tile *input, *weight; /* of dX and dW */
    uint32_t splits;                      /* of dW */
} wcohi_gpu_pair;

#define WCOHI_GPU_CHOICES 128 /* at most, of a tuning */
#define WCOHI_GPU_JOINED 64   /* pairs, likewise */

/* What tells attention ops apart; listens: see wcohi_gpu_listens. */
typedef struct wcohi_gpu_sight {
    uint32_t coherence, listens, batch, seq, heads, wide;
} wcohi_gpu_sight;

/* Columns of a head at most, and own rows of a tile, in dot_whole.comp. */
#define WCOHI_GPU_WHOLE 64u

/* How one is computed. columns: of a thread (CW in attend.glsl), WCOHI_GPU_WHOLE: in dot_whole.comp
   with 4 rows a thread, twice that: with 8; chunk: rows of those that go through tiles while states
   stand for all others, 0: all go through tiles; passes: of its backward. */
typedef struct wcohi_gpu_way {
    uint32_t columns, chunk, passes;
} wcohi_gpu_way;

/* What was found best for one. */
typedef struct wcohi_gpu_path {
    wcohi_gpu_sight sight;
    wcohi_gpu_way way;
} wcohi_gpu_path;

#define WCOHI_GPU_PATHS 32 /* at most, of a tuning */

/* What of a device shapes the recordings. */
typedef struct wcohi_gpu_traits {
    uint32_t shared;      /* bytes of shared memory that a workgroup may have */
    uint32_t invocations; /* threads that it may have */
    uint32_t arrays;      /* that a shader may bind */
    uint32_t cores;       /* multiprocessors; 0: unknown */
    int two_float;        /* sessions and states in pairs of floats */
    int linear_from;      /* longer windows take states; negative: none do */
    int halves;           /* desc.half_activations */
    int cooperative;      /* large products in gemm_cooperative.comp */
    uint32_t units[5];    /* its constants M, N, K, WM, WN */
    const wcohi_gpu_choice *choices; /* of a tuning; the rule decides about other shapes */
    int choice_count;
    const wcohi_gpu_pair *pairs; /* likewise of a linear op's backward */
    int pair_count;
    const wcohi_gpu_path *paths; /* likewise of attention */
    int path_count;
} wcohi_gpu_traits;

typedef struct wcohi_gpu_recorder wcohi_gpu_recorder;

/* `groups` workgroups of a shader. specs: its specialization constants; views and push: as many and
   as long as its row of wcoh_spv_table says. */
typedef struct wcohi_gpu_call {
    int shader;
    const uint32_t *specs;
    const wcohi_gpu_view *views;
    uint32_t view_count;
    const void *push;
    size_t push_bytes;
    uint32_t groups[3];
} wcohi_gpu_call;

/* What a device does for a recording. What is called later sees what was called before. */
typedef struct wcohi_gpu_table {
    wcoh_result (*dispatch)(wcohi_gpu_recorder *r, const wcohi_gpu_call *call);
    void (*zero)(wcohi_gpu_recorder *r, wcohi_gpu_view view);
    void (*copy)(wcohi_gpu_recorder *r, wcohi_gpu_view to, wcohi_gpu_view from); /* of one size */
    /* `to` becomes these bytes, at most 65536, whenever the recording runs. */
    void (*write)(wcohi_gpu_recorder *r, wcohi_gpu_view to, const void *data);
    /* When all before is done, the clock's time is kept as number `index` of the pass. */
    void (*mark)(wcohi_gpu_recorder *r, int index);
} wcohi_gpu_table;

/* A sum over rows that waits, as reduce_table.comp has it. */
typedef struct wcohi_gpu_segment {
    uint32_t end, from, to, rows, ld, n, lanes, inner, raw;
    float scale;
    uint32_t pad[2];
} wcohi_gpu_segment;

#define WCOHI_GPU_SEGMENTS 256 /* at most, at once */

struct wcohi_gpu_recorder {
    const wcohi_gpu_table *table;
    const wcohi_gpu_traits *traits;
    const wcohi_gpu_layout *at;
    const wcohi_plan *plan; /* with tensors placed for this device */
    const int *halves;      /* of them: see "activations in half floats"; NULL: none are */
    int back;               /* the backward is being recorded */
    wcohi_gpu_pass pass;
    uint32_t rows;                /* batch * seq of the pass */
    int building;                 /* 0: nothing is recorded, only counted */
    size_t scratch, scratch_most; /* bytes the op under way has taken; most of any op */
    size_t later, later_most;     /* reals of shares that wait */
    wcohi_gpu_segment segments[WCOHI_GPU_SEGMENTS]; /* the sums of those */
    uint32_t segment_count;
    struct wcohi_gpu_shapes *shapes; /* where the products are noted, or NULL */
    wcoh_result result;           /* the first failure; later calls do nothing */
    wcoh_error *error;
};

/* The one place where recordings meet the device. */
static void wcohi_gpu_dispatch(wcohi_gpu_recorder *r, int shader, const uint32_t *specs,
                               const wcohi_gpu_view *views, uint32_t view_count, const void *push,
                               size_t push_bytes, uint32_t x, uint32_t y, uint32_t z)
{
    wcohi_gpu_call call;
    call.shader = shader;
    call.specs = specs;
    call.views = views;
    call.view_count = view_count;
    call.push = push;
    call.push_bytes = push_bytes;
    call.groups[0] = x;
    call.groups[1] = y;
    call.groups[2] = z;
    if (!r->result) r->result = r->table->dispatch(r, &call);
}

/* A dispatch: views is an array in the order of the shader's bindings, push its push struct. */
#define WCOHI_GPU_DISPATCH(r, shader, specs, views, push, x, y, z)                                 \
    wcohi_gpu_dispatch(r, shader, specs, views, WCOHI_COUNT(views), &(push), sizeof(push), x, y, z)

static const wcohi_gpu_view wcohi_gpu_absent = {0, 0, 0};

static wcohi_gpu_view wcohi_gpu_part(wcohi_gpu_view whole, size_t offset, size_t bytes)
{
    whole.offset += offset;
    whole.bytes = bytes;
    return whole;
}

/* 1 if both have a byte. */
static int wcohi_gpu_meets(wcohi_gpu_view a, wcohi_gpu_view b)
{
    return a.host == b.host && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

#define WCOHI_GPU_ALIGN WCOHI_DEVICE_ALIGN /* bytes between arrays */

/* Scratch of the op under way: `count` reals. */
static wcohi_gpu_view wcohi_gpu_scratch(wcohi_gpu_recorder *r, size_t count)
{
    size_t bytes = wcohi_round_up(wcohi_mul(count, sizeof(float)), WCOHI_GPU_ALIGN),
           at = r->scratch;
    r->scratch = wcohi_add(at, bytes);
    r->scratch_most = WCOHI_MAX(r->scratch_most, r->scratch);
    if (!r->result &&
        (r->scratch == WCOHI_SIZE_BAD || (r->building && r->scratch > r->at->scratch.bytes)))
        r->result = wcohi_fail(
            r->error, WCOH_E_MEMORY, "a pass wants %llu bytes of scratch, %llu were taken",
            (unsigned long long)r->scratch, (unsigned long long)r->at->scratch.bytes);
    return wcohi_gpu_part(r->at->scratch, at, bytes);
}

/* `count` reals from the beginning of a parameter: tensors that stand together are read as one. */
static wcohi_gpu_view wcohi_gpu_param_of(const wcohi_gpu_recorder *r, int row, size_t count)
{
    if (row < 0) return wcohi_gpu_absent;
    return wcohi_gpu_part(r->at->params, r->plan->rows[row].offset * sizeof(float),
                          count * sizeof(float));
}

static wcohi_gpu_view wcohi_gpu_param(const wcohi_gpu_recorder *r, int row)
{
    return wcohi_gpu_param_of(r, row, row < 0 ? 0 : r->plan->rows[row].count);
}

static uint32_t wcohi_gpu_width(const wcohi_gpu_recorder *r, int tensor)
{
    return (uint32_t)r->plan->tensors[tensor].width;
}

/* A tensor's rows of this pass (aux tensors: all of it). */
static wcohi_gpu_view wcohi_gpu_data(const wcohi_gpu_recorder *r, int tensor)
{
    const wcohi_tensor *t;
    if (tensor < 0) return wcohi_gpu_absent;
    t = &r->plan->tensors[r->back && r->halves && r->halves[tensor] >= 0 ? r->halves[tensor] + 1
                                                                         : tensor];
    return wcohi_gpu_part(r->at->activations, t->offset * sizeof(float),
                          (t->width ? (size_t)r->rows * (size_t)t->width : t->count) *
                              sizeof(float));
}

/* Reals that `count` take in an aux tensor. */
static size_t wcohi_gpu_aux_size(size_t count)
{
    return wcohi_round_up(count, WCOHI_GPU_ALIGN / sizeof(float));
}

/* `count` reals of an aux tensor, the next after *used. */
static wcohi_gpu_view wcohi_gpu_aux(const wcohi_gpu_recorder *r, const wcohi_op *op, size_t *used,
                                    size_t count)
{
    wcohi_gpu_view view =
        wcohi_gpu_part(wcohi_gpu_data(r, op->aux), *used * sizeof(float), count * sizeof(float));
    *used += wcohi_gpu_aux_size(count);
    return view;
}

#ifndef WAVECOH_NO_TRAINING
/* The gradients of a parameter (absent if it is frozen) and of a tensor. */
static wcohi_gpu_view wcohi_gpu_dparam_of(const wcohi_gpu_recorder *r, int row, size_t count)
{
    if (row < 0 || !r->plan->rows[row].trained) return wcohi_gpu_absent;
    return wcohi_gpu_part(r->at->gradient, r->plan->rows[row].offset * sizeof(float),
                          count * sizeof(float));
}

static wcohi_gpu_view wcohi_gpu_dparam(const wcohi_gpu_recorder *r, int row)
{
    return wcohi_gpu_dparam_of(r, row, row < 0 ? 0 : r->plan->rows[row].count);
}

static wcohi_gpu_view wcohi_gpu_ddata(const wcohi_gpu_recorder *r, int tensor)
{
    return tensor < 0 ? wcohi_gpu_absent : wcohi_gpu_data(r, r->plan->tensors[tensor].grad);
}
#endif

/* Workgroups of 64 for `count` elements; the shaders of elements go on in strides of the grid. */
static uint32_t wcohi_gpu_groups(size_t count)
{
    return (uint32_t)WCOHI_MIN((count + 63) / 64, (size_t)16384);
}

/* Workgroups of which each takes one row, then goes on in strides of the grid. */
static uint32_t wcohi_gpu_row_groups(uint32_t rows) { return WCOHI_MIN(rows, 65535u); }

static uint32_t wcohi_gpu_ceil(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

/* ======== 2 recording: sums and products ====================================================== */

/* ---- sums over rows -------------------------------------------------------------------------- */

#ifndef WAVECOH_NO_TRAINING
#define WCOHI_GPU_CHUNK 256u /* rows that one workgroup sums */

/* Parameters' gradients are sums of shares (of stretches of rows, of k) that ops leave behind one
   another in `later`; when it is full, and at the end, one dispatch adds all of them up. */
#define WCOHI_GPU_LATER ((size_t)1 << 24) /* reals at most */
#define WCOHI_GPU_FEW 32u                 /* rows that a thread sums alone */

static void wcohi_gpu_later_sum(wcohi_gpu_recorder *r)
{
    wcohi_gpu_view views[4];
    wcoh_push_reduce_table push;
    uint32_t groups, wide;
    if (r->segment_count == 0) return;
    groups = r->segments[r->segment_count - 1].end;
    wide = WCOHI_MIN(groups, 32768u);
    push.segments = r->segment_count;
    views[0] = wcohi_gpu_part(r->at->segments, 0, r->segment_count * sizeof *r->segments);
    views[1] = r->at->later;
    views[2] = r->at->gradient;
    views[3] = wcohi_gpu_part(r->at->params, 0, r->at->gradient.bytes);
    if (!r->result) r->table->write(r, views[0], r->segments);
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_REDUCE_TABLE, NULL, views, push, wide,
                       wcohi_gpu_ceil(groups, wide), 1);
    r->segment_count = 0;
    r->later = 0;
}

/* Room for `count` reals that wcohi_gpu_later_add then names: nothing else may take some between. */
static wcohi_gpu_view wcohi_gpu_later(wcohi_gpu_recorder *r, size_t count)
{
    size_t reals = wcohi_gpu_aux_size(count), at;
    if (r->later + reals > WCOHI_GPU_LATER) wcohi_gpu_later_sum(r);
    at = r->later;
    r->later = wcohi_add(at, reals);
    r->later_most = WCOHI_MAX(r->later_most, r->later);
    return wcohi_gpu_part(r->at->later, at * sizeof(float), count * sizeof(float));
}

/* `to`, a part of the gradient, gets that sum at last; raw: times the sigmoid of these parameters. sum has
   rows, ld, n, inner, scale, and in `from` the first column. */
static void wcohi_gpu_later_segment(wcohi_gpu_recorder *r, wcohi_gpu_segment sum,
                                    wcohi_gpu_view from, wcohi_gpu_view to, wcohi_gpu_view raw)
{
    uint32_t i, n = sum.n, meets = 0,
                place = (uint32_t)((to.offset - r->at->gradient.offset) / sizeof(float));
    if (to.bytes == 0) return; /* frozen */
    for (i = 0; i < r->segment_count; i++)
        meets |= r->segments[i].to < place + n && place < r->segments[i].to + r->segments[i].n;
    if (meets || r->segment_count == WCOHI_GPU_SEGMENTS) {
        size_t kept = r->later;
        wcohi_gpu_later_sum(r);
        r->later = kept; /* `from` stands there */
    }
    sum.from += (uint32_t)((from.offset - r->at->later.offset) / sizeof(float));
    sum.to = place;
    sum.lanes = sum.rows <= WCOHI_GPU_FEW ? 1 : n < 16 ? 256 : 16;
    sum.end = wcohi_gpu_ceil(n, 256 / sum.lanes);
    if (raw.bytes) sum.raw = 1 + (uint32_t)((raw.offset - r->at->params.offset) / sizeof(float));
    if (r->segment_count) sum.end += r->segments[r->segment_count - 1].end;
    r->segments[r->segment_count++] = sum;
}

static wcohi_gpu_segment wcohi_gpu_segment_of(uint32_t rows, uint32_t ld, uint32_t first,
                                              uint32_t n)
{
    wcohi_gpu_segment sum;
    memset(&sum, 0, sizeof sum);
    sum.from = first;
    sum.rows = rows;
    sum.ld = ld;
    sum.n = n;
    sum.inner = 1;
    sum.scale = 1;
    return sum;
}

/* to [n], a part of the gradient, += sum over `rows` of from[row * ld + first ..], at last. */
static void wcohi_gpu_later_add(wcohi_gpu_recorder *r, wcohi_gpu_view from, uint32_t rows,
                                uint32_t ld, uint32_t first, uint32_t n, wcohi_gpu_view to)
{
    wcohi_gpu_later_segment(r, wcohi_gpu_segment_of(rows, ld, first, n), from, to,
                            wcohi_gpu_absent);
}

/* to [n] = or += sum over `rows` of from[row * ld + first ..]; in two stages where rows are many. */
static void wcohi_gpu_sum_rows(wcohi_gpu_recorder *r, wcohi_gpu_view from, uint32_t rows,
                               uint32_t ld, uint32_t first, uint32_t n, wcohi_gpu_view to,
                               uint32_t add)
{
    uint32_t chunks = rows > 2 * WCOHI_GPU_CHUNK ? wcohi_gpu_ceil(rows, WCOHI_GPU_CHUNK) : 1;
    wcohi_gpu_view views[2];
    wcoh_push_reduce push;
    if (to.bytes == 0) return; /* frozen */
    views[0] = from;
    views[1] = chunks > 1 ? wcohi_gpu_scratch(r, (size_t)chunks * n) : to;
    push.rows = rows;
    push.n = n;
    push.ld = ld;
    push.first = first;
    push.chunk = chunks > 1 ? WCOHI_GPU_CHUNK : rows;
    push.add = chunks > 1 ? 0 : add;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_REDUCE, NULL, views, push, wcohi_gpu_ceil(n, 16), chunks, 1);
    if (chunks > 1) wcohi_gpu_sum_rows(r, views[1], chunks, n, 0, n, to, add);
}
#endif

/* 1 if a view is a part of the gradient. */
static int wcohi_gpu_is_gradient(const wcohi_gpu_recorder *r, wcohi_gpu_view view)
{
    const wcohi_gpu_view *all = &r->at->gradient;
    return view.bytes && !view.host && all->bytes && view.offset >= all->offset &&
           view.offset + view.bytes <= all->offset + all->bytes;
}

/* ---- matrix products ------------------------------------------------------------------------- */

/* C [m,n] = or += op(A) [m,k] op(B) [k,n], as gemm.comp has it; `groups` products side by side. */
typedef struct wcohi_gpu_gemm {
    uint32_t m, n, k;
    wcohi_gpu_view a, b, c, bias, residual, pre;
    uint32_t lda, ldb, ldc;
    int ta, tb, gelu, add, gradient; /* gradient: A is one, of a mean over the rows */
    int slope;                       /* times the slope of gelu at `pre` */
    int gate;                        /* 1: through the gate; 2: back through it: see gemm.glsl */
    uint32_t ldv, first_v, form;     /* of the gate */
    uint32_t groups, group_a, group_b, group_c, group_bias, first_a;
    wcohi_gpu_view dbias; /* of a weight's gradient: the bias's, the sums of A's columns */
} wcohi_gpu_gemm;

/* The products of some passes, one of each shape, and how often it is made; likewise what could go in one
   dispatch, dX and dW. */
typedef struct wcohi_gpu_shapes {
    wcohi_gpu_gemm product[WCOHI_GPU_CHOICES];
    int times[WCOHI_GPU_CHOICES], count;
    wcohi_gpu_gemm pairs[WCOHI_GPU_JOINED][2];
    int pair_count;
} wcohi_gpu_shapes;

/* Tiles that gemm.comp is specialized for. The rule chooses among the first, the tuner among all. */
static const wcohi_gpu_tile wcohi_gpu_tiles[] = {
    {128, 128, 16, 8, 8, 1, 1.0}, {64, 64, 16, 4, 4, 1, 1.4},  {32, 32, 16, 4, 4, 1, 2.2},
    {128, 16, 16, 8, 4, 1, 2.6},  {16, 128, 16, 4, 8, 1, 2.6}, {128, 128, 8, 8, 8, 2, 1},
    {128, 128, 16, 8, 8, 2, 1},   {128, 128, 8, 8, 8, 1, 1},   {128, 64, 16, 8, 8, 1, 1},
    {64, 128, 16, 8, 8, 1, 1},    {128, 64, 16, 8, 4, 2, 1},   {64, 128, 16, 4, 8, 2, 1},
    {64, 64, 16, 4, 4, 2, 1},     {64, 64, 16, 8, 4, 2, 1},    {64, 64, 32, 4, 4, 1, 1},
    {64, 32, 16, 4, 4, 2, 1},     {32, 64, 16, 4, 4, 2, 1},    {32, 32, 32, 4, 4, 2, 1},
    {128, 16, 16, 8, 4, 2, 1},    {256, 16, 16, 8, 4, 1, 1},   {64, 16, 32, 4, 4, 2, 1},
    {16, 128, 16, 4, 8, 2, 1},    {16, 64, 32, 4, 4, 2, 1},    {256, 128, 8, 8, 8, 2, 1},
};
enum { WCOHI_GPU_RULED = 5 };

#define WCOHI_GPU_BUSY 128 /* workgroups that keep a GPU busy whose multiprocessors are not known */
#define WCOHI_GPU_TURNS 1024 /* tiles that may be cut, of a walk */
#define WCOHI_GPU_JOIN 1.25  /* of the cost of two dispatches one may take */
#define WCOHI_GPU_PAIR_SPECS (WCOHI_GPU_SPECS + 6)

static uint32_t wcohi_gpu_busy(const wcohi_gpu_traits *traits)
{
    return traits->cores ? traits->cores : WCOHI_GPU_BUSY;
}

static uint32_t wcohi_gpu_tile_count(const wcohi_gpu_gemm *g, const wcohi_gpu_tile *tile)
{
    return wcohi_gpu_ceil(g->m, tile->bm) * wcohi_gpu_ceil(g->n, tile->bn) * g->groups;
}

/* Shares of a long sum over k (weight gradients), so that a small C keeps the device busy too; the
   partial products must fit into `room` reals. A function of shape and device alone. */
static uint32_t wcohi_gpu_splits(const wcohi_gpu_gemm *g, const wcohi_gpu_traits *traits,
                                 uint32_t tiles, size_t room)
{
    uint32_t most = WCOHI_MIN(g->k / 128, wcohi_gpu_busy(traits) * 2 / tiles);
    size_t fits = room / ((size_t)g->groups * g->m * g->n);
    if (!g->add || g->bias.bytes || g->residual.bytes || g->gelu) return 1;
    return WCOHI_CLAMP(WCOHI_MIN(most, (uint32_t)WCOHI_MIN(fits, (size_t)64)), 1, 64);
}

static uint32_t wcohi_gpu_tile_threads(const wcohi_gpu_tile *tile)
{
    return tile->bm / tile->tm * (tile->bn / tile->tn);
}

/* 1 if the device can run the tile. */
static int wcohi_gpu_tile_fits(const wcohi_gpu_tile *tile, const wcohi_gpu_traits *traits)
{
    return 16 * tile->stages * tile->bk * (tile->bm / 4 + tile->bn / 4 + 2) <= traits->shared &&
           wcohi_gpu_tile_threads(tile) <= traits->invocations;
}

/* 1 if gemm_pair.comp can have these tiles. */
static int wcohi_gpu_pair_fits(const wcohi_gpu_tile *a, const wcohi_gpu_tile *b,
                               const wcohi_gpu_traits *traits)
{
    uint32_t deep_a = a->stages * a->bk, deep_b = b->stages * b->bk,
             left = WCOHI_MAX(deep_a * (a->bm / 4 + 1), deep_b * (b->bm / 4 + 1)),
             right = WCOHI_MAX(deep_a * (a->bn / 4 + 1), deep_b * (b->bn / 4 + 1));
    return wcohi_gpu_tile_threads(a) == wcohi_gpu_tile_threads(b) &&
           wcohi_gpu_tile_threads(a) <= traits->invocations &&
           16 * (left + right) <= traits->shared;
}

static wcohi_gpu_shape wcohi_gpu_shape_of(const wcohi_gpu_gemm *g)
{
    wcohi_gpu_shape shape;
    memset(&shape, 0, sizeof shape);
    shape.m = g->m;
    shape.n = g->n;
    shape.k = g->k;
    shape.ta = g->ta != 0;
    shape.tb = g->tb != 0;
    shape.groups = g->groups;
    shape.adds = g->add && !g->bias.bytes && !g->residual.bytes && !g->gelu;
    return shape;
}

/* What a tuning says of a product; NULL: nothing. */
static const wcohi_gpu_choice *wcohi_gpu_choice_find(const wcohi_gpu_traits *traits,
                                                     const wcohi_gpu_gemm *g)
{
    const wcohi_gpu_shape shape = wcohi_gpu_shape_of(g);
    int i;
    for (i = 0; i < traits->choice_count; i++)
        if (memcmp(&traits->choices[i].shape, &shape, sizeof shape) == 0)
            return &traits->choices[i];
    return NULL;
}

/* What the rule takes a product for in such tiles, a step of k; whole: its sum is not shared. */
static double wcohi_gpu_tile_cost(const wcohi_gpu_gemm *g, const wcohi_gpu_traits *traits,
                                  const wcohi_gpu_tile *tile, int whole)
{
    uint32_t tiles = wcohi_gpu_tile_count(g, tile),
             splits = whole ? 1 : wcohi_gpu_splits(g, traits, tiles, (size_t)1 << 40);
    return (double)tiles * tile->bm * tile->bn * tile->cost *
           WCOHI_MAX(1.0, wcohi_gpu_busy(traits) / ((double)tiles * splits));
}

static const wcohi_gpu_tile *wcohi_gpu_tile_choose(const wcohi_gpu_gemm *g,
                                                   const wcohi_gpu_traits *traits)
{
    const wcohi_gpu_tile *best = NULL;
    double lowest = 0;
    int i;
    for (i = 0; i < WCOHI_GPU_RULED; i++) {
        const wcohi_gpu_tile *tile = &wcohi_gpu_tiles[i];
        double cost = wcohi_gpu_tile_cost(g, traits, tile, 0);
        if (!wcohi_gpu_tile_fits(tile, traits)) continue;
        if (best && cost >= lowest) continue;
        best = tile;
        lowest = cost;
    }
    return best;
}

static int wcohi_gpu_fours(uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return ((a | b | c | d) & 3) == 0;
}

/* Specialization constants of gemm.comp: gemm_cooperative.comp has the first nine too, gemm_pair.comp all of
   them and six more. */
#define WCOHI_GPU_SPECS 13

/* How a product is computed. */
typedef struct wcohi_gpu_kernel {
    int shader;
    const wcohi_gpu_tile *tile; /* NULL: this device can run none */
    uint32_t specs[WCOHI_GPU_SPECS];
    uint32_t splits; /* 0: as the rule says */
    uint32_t walk;   /* of a choice */
    uint32_t shift; /* of A's exponents before it is rounded */
} wcohi_gpu_kernel;

#ifndef WAVECOH_VK_NO_COOPERATIVE
/* The one tile of gemm_cooperative.comp. */
static const wcohi_gpu_tile wcohi_gpu_unit_tile = {128, 128, 32, 8, 8, 1, 1.0};

/* Gradients of a mean over many rows are small: they are multiplied by as much. */
static void wcohi_gpu_use_units(const wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g,
                                wcohi_gpu_kernel *kernel)
{
    kernel->shader = WCOH_SPV_GEMM_COOPERATIVE;
    memcpy(kernel->specs, r->traits->units, sizeof r->traits->units);
    while (g->gradient && 1u << kernel->shift < r->rows) kernel->shift++;
}
#endif

/* gemm.comp in such tiles; NULL: in none. */
static wcohi_gpu_kernel wcohi_gpu_kernel_in(const wcohi_gpu_gemm *g, const wcohi_gpu_tile *t)
{
    wcohi_gpu_kernel kernel;
    memset(&kernel, 0, sizeof kernel);
    kernel.shader = WCOH_SPV_GEMM;
    if ((kernel.tile = t) == NULL) return kernel;
    kernel.specs[0] = wcohi_gpu_tile_threads(t);
    kernel.specs[1] = t->bm;
    kernel.specs[2] = t->bn;
    kernel.specs[3] = t->bk;
    kernel.specs[4] = t->tm;
    kernel.specs[5] = t->tn;
    kernel.specs[6] = (uint32_t)g->ta;
    kernel.specs[7] = (uint32_t)g->tb;
    kernel.specs[8] = wcohi_gpu_fours(g->lda, g->ta ? g->m : g->k, g->group_a, g->first_a) &&
                      wcohi_gpu_fours(g->ldb, g->tb ? g->k : g->n, g->group_b, 0);
    kernel.specs[9] = t->stages;
    kernel.specs[10] = g->dbias.bytes > 0;
    kernel.specs[12] = (uint32_t)wcohi_gpu_fours(g->ldc, g->n, g->group_c, g->m * g->n);
    return kernel;
}

static wcohi_gpu_kernel wcohi_gpu_kernel_of(const wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g)
{
    const wcohi_gpu_choice *choice = wcohi_gpu_choice_find(r->traits, g);
    wcohi_gpu_kernel kernel;
#ifndef WAVECOH_VK_NO_COOPERATIVE
    if (r->traits->cooperative && g->m >= 64 && g->n >= 64 && g->k >= 32) {
        kernel = wcohi_gpu_kernel_in(g, &wcohi_gpu_unit_tile);
        wcohi_gpu_use_units(r, g, &kernel);
        return kernel;
    }
#endif
    kernel = wcohi_gpu_kernel_in(g, choice ? choice->tile : wcohi_gpu_tile_choose(g, r->traits));
    if (choice) kernel.splits = choice->splits;
    if (choice) kernel.walk = choice->walk;
    return kernel;
}

static wcoh_push_gemm wcohi_gpu_gemm_push(const wcohi_gpu_gemm *g, uint32_t splits, uint32_t chunk,
                                          uint32_t shift)
{
    wcoh_push_gemm push;
    push.m = g->m;
    push.n = g->n;
    push.k = g->k;
    push.lda = g->lda;
    push.ldb = g->ldb;
    push.ldc = g->ldc;
    push.group_a = g->group_a;
    push.group_b = g->group_b;
    push.group_c = g->group_c;
    push.group_bias = g->group_bias;
    push.splits = splits;
    push.chunk = chunk;
    push.split_c = g->groups * g->m * g->n;
    push.first_a = g->first_a;
    push.flags = (g->gate == 1        ? 64u
                  : g->gate == 2      ? 128u
                  : g->residual.bytes ? 2u
                                      : 0u) |
                 (g->bias.bytes && g->gate != 2 ? 1u : 0u) |
                 (g->pre.bytes && !g->slope && g->gate != 2 ? 4u : 0u) | (g->gelu ? 8u : 0u) |
                 (g->add && splits == 1 ? 16u : 0u) | (g->slope ? 32u : 0u);
    push.shift = shift;
    push.ldv = g->ldv;
    push.first_v = g->first_v;
    push.form = g->form;
    return push;
}

/* Keep the first product of each shape. */
static void wcohi_gpu_shape_note(wcohi_gpu_shapes *shapes, const wcohi_gpu_gemm *g)
{
    const wcohi_gpu_shape shape = wcohi_gpu_shape_of(g);
    int i;
    for (i = 0; i < shapes->count; i++) {
        const wcohi_gpu_shape known = wcohi_gpu_shape_of(&shapes->product[i]);
        if (memcmp(&known, &shape, sizeof shape) == 0) break;
    }
    if (i == WCOHI_GPU_CHOICES) return;
    if (i == shapes->count) shapes->product[shapes->count++] = *g;
    shapes->times[i]++;
}

/* How a product is cut: shares of the sum over k, each `chunk` long. */
static uint32_t wcohi_gpu_cut(const wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g,
                              const wcohi_gpu_kernel *kernel, uint32_t *chunk)
{
    const wcohi_gpu_tile *t = kernel->tile;
    size_t room = wcohi_gpu_is_gradient(r, g->c) || !r->building
                      ? (size_t)1 << 22
                      : (r->at->scratch.bytes - r->scratch) / sizeof(float);
    uint32_t splits = kernel->splits
                          ? kernel->splits
                          : wcohi_gpu_splits(g, r->traits, wcohi_gpu_tile_count(g, t), room);
    *chunk = wcohi_gpu_ceil(wcohi_gpu_ceil(g->k, splits), t->bk) * t->bk;
    return wcohi_gpu_ceil(g->k, *chunk);
}

#ifndef WAVECOH_NO_TRAINING
/* Where shares of C and sums of A's columns go: the former into scratch where C is no parameter's
   gradient, the rest where it waits. */
static void wcohi_gpu_shares(wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g, uint32_t splits,
                             wcohi_gpu_view *shares, wcohi_gpu_view *sums)
{
    size_t whole = splits > 1 ? splits * (size_t)g->groups * g->m * g->n : 0,
           columns = g->dbias.bytes ? splits * (size_t)g->groups * g->m : 0;
    wcohi_gpu_view both;
    *shares = *sums = wcohi_gpu_absent;
    if (whole && !wcohi_gpu_is_gradient(r, g->c)) *shares = wcohi_gpu_scratch(r, whole), whole = 0;
    if (whole + columns == 0) return;
    both = wcohi_gpu_later(r, wcohi_gpu_aux_size(whole) + columns);
    if (whole) *shares = wcohi_gpu_part(both, 0, whole * sizeof(float));
    if (columns)
        *sums = wcohi_gpu_part(both, wcohi_gpu_aux_size(whole) * sizeof(float),
                               columns * sizeof(float));
}

static void wcohi_gpu_shares_add(wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g, uint32_t splits,
                                 wcohi_gpu_view shares, wcohi_gpu_view sums)
{
    const uint32_t all = g->groups * g->m;
    if (splits > 1 && wcohi_gpu_is_gradient(r, g->c))
        wcohi_gpu_later_add(r, shares, splits, all * g->n, 0, all * g->n, g->c);
    else if (splits > 1) wcohi_gpu_sum_rows(r, shares, splits, all * g->n, 0, all * g->n, g->c, 1);
    wcohi_gpu_later_add(r, sums, splits, all, 0, all, g->dbias);
}
#endif

/* The arrays of a product [6], in the order of gemm.comp. */
static void wcohi_gpu_gemm_views(const wcohi_gpu_gemm *g, wcohi_gpu_view *views)
{
    views[0] = g->a;
    views[1] = g->b;
    views[2] = g->bias;
    views[3] = g->residual;
    views[4] = g->c;
    views[5] = g->pre;
}

/* 1 if the tiles that a walk leaves over were cut: see gemm_walk.comp. Where there are none, or shares would be
   too short or too many, there is nothing to gain. */
static int wcohi_gpu_multiply_walk(wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g,
                                   wcohi_gpu_kernel *kernel)
{
    const wcohi_gpu_tile *t = kernel->tile;
    uint32_t tiles = wcohi_gpu_tile_count(g, t), tail = kernel->walk ? tiles % kernel->walk : 0,
             shares = tail ? WCOHI_MIN(kernel->walk / tail, g->k / (2 * t->bk)) : 0, chunk, wide;
    size_t reals = (size_t)tail * shares * t->bm * t->bn;
    wcohi_gpu_view views[8];
    wcoh_push_gemm push;
    if (shares < 2 || tail > WCOHI_GPU_TURNS || reals > (size_t)1 << 22) return 0;
    if (g->dbias.bytes || r->traits->arrays < WCOHI_COUNT(views)) return 0;
    chunk = wcohi_gpu_ceil(wcohi_gpu_ceil(g->k, shares), t->bk) * t->bk;
    shares = wcohi_gpu_ceil(g->k, chunk);
    push = wcohi_gpu_gemm_push(g, 1, chunk, tiles - tail);
    push.splits = shares;
    push.split_c = tiles;
    kernel->specs[11] = push.flags;
    wcohi_gpu_gemm_views(g, views);
    views[6] = wcohi_gpu_scratch(r, reals);
    views[7] = r->at->turns;
    tiles += tail * (shares - 1);
    wide = WCOHI_MIN(tiles, 32768u);
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_GEMM_WALK, kernel->specs, views, push, wide,
                       wcohi_gpu_ceil(tiles, wide), 1);
    return 1;
}

static void wcohi_gpu_multiply(wcohi_gpu_recorder *r, const wcohi_gpu_gemm *g)
{
    wcohi_gpu_kernel kernel = wcohi_gpu_kernel_of(r, g);
    const wcohi_gpu_tile *t = kernel.tile;
    uint32_t splits, chunk;
    wcohi_gpu_view views[6], shares, sums;
    wcoh_push_gemm push;
    if (g->m == 0 || g->n == 0 || !t) return;
    if (r->shapes) wcohi_gpu_shape_note(r->shapes, g);
    if (wcohi_gpu_multiply_walk(r, g, &kernel)) return;
    splits = wcohi_gpu_cut(r, g, &kernel, &chunk);
    wcohi_gpu_gemm_views(g, views);
#ifdef WAVECOH_NO_TRAINING /* nothing adds */
    (void)shares, (void)sums;
#else
    wcohi_gpu_shares(r, g, splits, &shares, &sums);
    if (splits > 1) views[4] = shares;
    if (sums.bytes) views[5] = sums;
#endif
    push = wcohi_gpu_gemm_push(g, splits, chunk, kernel.shift);
    kernel.specs[11] = push.flags;
    WCOHI_GPU_DISPATCH(r, kernel.shader, kernel.specs, views, push, wcohi_gpu_ceil(g->n, t->bn),
                       wcohi_gpu_ceil(g->m, t->bm), g->groups * splits);
#ifndef WAVECOH_NO_TRAINING
    wcohi_gpu_shares_add(r, g, splits, shares, sums);
#endif
}

/* y [N,O] = x [N,I] W^T + bias; the caller adds residual, gelu, groups. */
static wcohi_gpu_gemm wcohi_gpu_product(wcohi_gpu_view y, wcohi_gpu_view x, wcohi_gpu_view weight,
                                        uint32_t rows, uint32_t wide_out, uint32_t wide_in)
{
    wcohi_gpu_gemm g;
    memset(&g, 0, sizeof g);
    g.m = rows;
    g.n = wide_out;
    g.k = wide_in;
    g.a = x;
    g.lda = wide_in;
    g.b = weight;
    g.ldb = wide_in;
    g.tb = 1;
    g.c = y;
    g.ldc = wide_out;
    g.groups = 1;
    return g;
}

#ifndef WAVECOH_NO_TRAINING
/* ---- matrix products: the two of a linear op's backward ---------------------------------------- */

/* dx [N,I] = or += g [N,O] W [O,I] */
static wcohi_gpu_gemm wcohi_gpu_product_back(wcohi_gpu_view dx, int add, wcohi_gpu_view grad,
                                             wcohi_gpu_view weight, uint32_t rows,
                                             uint32_t wide_out, uint32_t wide_in, uint32_t groups)
{
    wcohi_gpu_gemm g =
        wcohi_gpu_product(dx, grad, weight, rows, wide_in / groups, wide_out / groups);
    g.gradient = 1;
    g.lda = wide_out;
    g.tb = 0;
    g.ldb = wide_in / groups;
    g.ldc = wide_in;
    g.add = add;
    g.groups = groups;
    g.group_a = wide_out / groups;
    g.group_b = wide_out / groups * (wide_in / groups);
    g.group_c = wide_in / groups;
    return g;
}

/* db [O] += sum over rows of g [N,O]; absent: frozen */
static void wcohi_gpu_product_bias(wcohi_gpu_recorder *r, wcohi_gpu_view dbias, wcohi_gpu_view grad,
                                   uint32_t rows, uint32_t wide_out)
{
    uint32_t chunks = wcohi_gpu_ceil(rows, WCOHI_GPU_CHUNK);
    wcohi_gpu_view views[2];
    wcoh_push_reduce push;
    if (dbias.bytes == 0) return;
    views[0] = grad;
    views[1] = wcohi_gpu_later(r, (size_t)chunks * wide_out);
    push.rows = rows;
    push.n = push.ld = wide_out;
    push.first = push.add = 0;
    push.chunk = WCOHI_GPU_CHUNK;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_REDUCE, NULL, views, push, wcohi_gpu_ceil(wide_out, 16), chunks,
                       1);
    wcohi_gpu_later_add(r, views[1], chunks, wide_out, 0, wide_out, dbias);
}

/* dW [O,I] += g^T [O,N] x [N,I], as blocks one after the other with groups, and db [O] += sum over rows
   of g, which the product reads anyway; of the op whose dx is `input`. */
static wcohi_gpu_gemm wcohi_gpu_product_weight(wcohi_gpu_view dweight, wcohi_gpu_view dbias,
                                               wcohi_gpu_view x, const wcohi_gpu_gemm *input)
{
    wcohi_gpu_gemm g = wcohi_gpu_product(dweight, input->a, x, input->k, input->n, input->m);
    g.dbias = dbias;
    g.gradient = 1;
    g.ta = 1;
    g.lda = input->lda;
    g.tb = 0;
    g.ldb = input->n * input->groups;
    g.ldc = input->n;
    g.add = 1;
    g.groups = input->groups;
    g.group_a = input->k;
    g.group_b = input->n;
    g.group_c = input->k * input->n;
    return g;
}

static double wcohi_gpu_pair_cost(const wcohi_gpu_gemm *input, const wcohi_gpu_tile *a,
                                  const wcohi_gpu_gemm *weight, const wcohi_gpu_tile *b,
                                  const wcohi_gpu_traits *traits, int one)
{
    return wcohi_gpu_tile_cost(input, traits, a, one) * input->k +
           wcohi_gpu_tile_cost(weight, traits, b, 0) * weight->k;
}

/* The rule: one dispatch, whose two tiles take as many threads and whose dX is not shared, where that costs
   little more than two. */
static void wcohi_gpu_pair_rule(const wcohi_gpu_gemm *input, const wcohi_gpu_gemm *weight,
                                const wcohi_gpu_traits *traits, wcohi_gpu_pair *pair)
{
    double two = wcohi_gpu_pair_cost(input, wcohi_gpu_tile_choose(input, traits), weight,
                                     wcohi_gpu_tile_choose(weight, traits), traits, 0),
           least = WCOHI_GPU_JOIN * two;
    int i;
    for (i = 0; i < WCOHI_GPU_RULED * WCOHI_GPU_RULED; i++) {
        const wcohi_gpu_tile *a = &wcohi_gpu_tiles[i % WCOHI_GPU_RULED],
                             *b = &wcohi_gpu_tiles[i / WCOHI_GPU_RULED];
        double one = wcohi_gpu_pair_cost(input, a, weight, b, traits, 1);
        if (!wcohi_gpu_pair_fits(a, b, traits) || one > least) continue;
        pair->input = a;
        pair->weight = b;
        least = one;
    }
}

/* Two dispatches, until tiles are named. */
static wcohi_gpu_pair wcohi_gpu_pair_of(const wcohi_gpu_gemm *input)
{
    wcohi_gpu_pair pair;
    memset(&pair, 0, sizeof pair);
    pair.m = input->m;
    pair.n = input->n;
    pair.k = input->k;
    pair.groups = input->groups;
    return pair;
}

static int wcohi_gpu_same_pair(const wcohi_gpu_pair *pair, const wcohi_gpu_gemm *input)
{
    return pair->m == input->m && pair->n == input->n && pair->k == input->k &&
           pair->groups == input->groups;
}

/* As a tuning says of the pair; else with the tiles that it has for its two products; else as the rule says. */
static wcohi_gpu_pair wcohi_gpu_pair_choose(const wcohi_gpu_gemm *input,
                                            const wcohi_gpu_gemm *weight,
                                            const wcohi_gpu_traits *traits)
{
    const wcohi_gpu_choice *a = wcohi_gpu_choice_find(traits, input),
                           *b = wcohi_gpu_choice_find(traits, weight);
    wcohi_gpu_pair pair = wcohi_gpu_pair_of(input);
    int i;
    for (i = 0; i < traits->pair_count; i++)
        if (wcohi_gpu_same_pair(&traits->pairs[i], input)) return traits->pairs[i];
    if (!a || !b) {
        wcohi_gpu_pair_rule(input, weight, traits, &pair);
    } else if (a->splits == 1 && !a->walk && wcohi_gpu_pair_fits(a->tile, b->tile, traits)) {
        pair.input = a->tile;
        pair.weight = b->tile;
        pair.splits = b->splits;
    }
    return pair;
}

/* 1 if one dispatch can make both: neither reads what the other writes, none is for matrix units. */
static int wcohi_gpu_pair_may(const wcohi_gpu_recorder *r, const wcohi_gpu_gemm *input,
                              const wcohi_gpu_gemm *weight)
{
    wcohi_gpu_view dv = input->slope ? wcohi_gpu_absent : input->pre;
    wcohi_gpu_kernel a = wcohi_gpu_kernel_of(r, input), b = wcohi_gpu_kernel_of(r, weight);
    return a.tile && b.tile && a.shader == WCOH_SPV_GEMM && b.shader == WCOH_SPV_GEMM &&
           input->first_a == 0 && input->group_a == input->k && r->traits->arrays >= 9 &&
           !wcohi_gpu_meets(input->c, weight->a) && !wcohi_gpu_meets(input->c, weight->b) &&
           !wcohi_gpu_meets(dv, weight->a) && !wcohi_gpu_meets(dv, weight->b);
}

/* Keep the first pair of each shape. */
static void wcohi_gpu_pair_note(wcohi_gpu_shapes *shapes, const wcohi_gpu_gemm *input,
                                const wcohi_gpu_gemm *weight)
{
    int i;
    for (i = 0; i < shapes->pair_count; i++) {
        const wcohi_gpu_pair known = wcohi_gpu_pair_of(shapes->pairs[i]);
        if (wcohi_gpu_same_pair(&known, input)) return;
    }
    if (i == WCOHI_GPU_JOINED) return;
    shapes->pairs[i][0] = *input;
    shapes->pairs[i][1] = *weight;
    shapes->pair_count++;
}

/* Both in one dispatch; see gemm_pair.comp. */
static void wcohi_gpu_multiply_pair(wcohi_gpu_recorder *r, const wcohi_gpu_gemm *input,
                                    const wcohi_gpu_gemm *weight, const wcohi_gpu_pair *pair)
{
    uint32_t specs[WCOHI_GPU_PAIR_SPECS], splits, chunk, count, wide,
        all = weight->groups * weight->m;
    wcohi_gpu_kernel kernel = wcohi_gpu_kernel_in(weight, pair->weight);
    wcohi_gpu_view views[9], shares, sums;
    wcoh_push_gemm push;
    memcpy(specs + WCOHI_GPU_SPECS, kernel.specs + 1, 5 * sizeof *specs);
    specs[WCOHI_GPU_SPECS + 5] = kernel.specs[9];
    memcpy(specs, wcohi_gpu_kernel_in(input, pair->input).specs, WCOHI_GPU_SPECS * sizeof *specs);
    specs[8] &= kernel.specs[8];
    specs[10] = kernel.specs[10];
    specs[12] &= kernel.specs[12];
    kernel.splits = pair->splits;
    splits = wcohi_gpu_cut(r, weight, &kernel, &chunk);
    wcohi_gpu_shares(r, weight, splits, &shares, &sums);
    wcohi_gpu_gemm_views(input, views);
    views[6] = weight->b;
    views[7] = splits > 1 ? shares : weight->c;
    views[8] = sums;
    push =
        wcohi_gpu_gemm_push(input, 1, chunk, wcohi_gpu_tile_count(weight, pair->weight) * splits);
    push.splits = splits;
    push.split_c = all * weight->n;
    specs[11] = push.flags;
    count = push.shift + wcohi_gpu_tile_count(input, pair->input);
    wide = WCOHI_MIN(count, 32768u);
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_GEMM_PAIR, specs, views, push, wide, wcohi_gpu_ceil(count, wide),
                       1);
    wcohi_gpu_shares_add(r, weight, splits, shares, sums);
}

/* dW and db, unless they are frozen, and dx (`input`) of a linear op of x. */
static void wcohi_gpu_products_back(wcohi_gpu_recorder *r, wcohi_gpu_view dweight,
                                    wcohi_gpu_view dbias, wcohi_gpu_view x,
                                    const wcohi_gpu_gemm *input)
{
    wcohi_gpu_gemm weight = wcohi_gpu_product_weight(dweight, dbias, x, input);
    wcohi_gpu_pair pair;
    memset(&pair, 0, sizeof pair);
    if (dweight.bytes && wcohi_gpu_pair_may(r, input, &weight)) {
        if (r->shapes) wcohi_gpu_pair_note(r->shapes, input, &weight);
        pair = wcohi_gpu_pair_choose(input, &weight, r->traits);
    }
    if (pair.input) {
        if (r->shapes) wcohi_gpu_shape_note(r->shapes, &weight);
        if (r->shapes) wcohi_gpu_shape_note(r->shapes, input);
        wcohi_gpu_multiply_pair(r, input, &weight, &pair);
        return;
    }
    if (!dweight.bytes || wcohi_gpu_kernel_of(r, &weight).shader != WCOH_SPV_GEMM) {
        wcohi_gpu_product_bias(r, dbias, input->a, input->m, input->lda);
        weight.dbias = wcohi_gpu_absent;
    }
    if (dweight.bytes) wcohi_gpu_multiply(r, &weight);
    wcohi_gpu_multiply(r, input);
}

static void wcohi_gpu_gelu_back(wcohi_gpu_recorder *r, wcohi_gpu_view grad, wcohi_gpu_view pre,
                                size_t count)
{
    const wcohi_gpu_view views[2] = {pre, grad};
    wcoh_push_gelu_back push;
    push.count = (uint32_t)count;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_GELU_BACK, NULL, views, push, wcohi_gpu_groups(count), 1, 1);
}
#endif

/* ======== 2 recording: rooms of the ops ======================================================= */

/* Each op has a room: what its aux tensor holds, forward, backward. */

/* ---- embed: out[row] = table[token] (+ positions[t]) ----------------------------------------- */

static void wcohi_gpu_embed(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t places = op->param[WCOHI_EMBED_POSITIONS] < 0 ? 0 : r->pass.places ? 2 : 1;
    int given = op->in2 >= 0;
    const wcohi_gpu_view views[6] = {
        r->at->tokens,
        given ? wcohi_gpu_data(r, op->in2) : wcohi_gpu_param(r, op->param[WCOHI_EMBED_TABLE]),
        places == 2 ? r->at->places : wcohi_gpu_param(r, op->param[WCOHI_EMBED_POSITIONS]),
        wcohi_gpu_data(r, op->out),
        r->at->frame,
        r->at->members};
    wcoh_push_embed push;
    push.width = (uint32_t)op->wide_out;
    push.count = r->rows * push.width;
    push.seq = (uint32_t)r->pass.seq;
    push.places = places;
    push.given = (uint32_t)given;
    push.whole = (uint32_t)op->whole;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_EMBED, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_embed_table_back(wcohi_gpu_recorder *r, const wcohi_op *op, uint32_t places)
{
    const wcohi_gpu_view views[4] = {r->at->tokens, wcohi_gpu_ddata(r, op->out),
                                     wcohi_gpu_dparam(r, op->param[places]), r->at->frame};
    wcoh_push_embed_back push;
    push.rows = r->rows;
    push.width = (uint32_t)op->wide_out;
    push.seq = (uint32_t)r->pass.seq;
    push.places = places;
    push.symbols = places ? push.seq : (uint32_t)op->vocab;
    push.whole = (uint32_t)op->whole;
    if (views[2].bytes)
        WCOHI_GPU_DISPATCH(r, WCOH_SPV_EMBED_BACK, NULL, views, push,
                           WCOHI_MIN(push.symbols, 16384u), 1, 1);
}

static void wcohi_gpu_embed_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_embed_table_back(r, op, 0);
    wcohi_gpu_embed_table_back(r, op, 1);
}
#endif

/* ---- norm, rms ------------------------------------------------------------------------------- */

/* RMS is not centred: no mean, no bias. */
static void wcohi_gpu_norm_rows(wcohi_gpu_recorder *r, const wcohi_op *op, int weight, int bias,
                                uint32_t centred)
{
    const wcohi_gpu_view views[5] = {wcohi_gpu_data(r, op->in), wcohi_gpu_param(r, weight),
                                     wcohi_gpu_param(r, bias), wcohi_gpu_data(r, op->out),
                                     wcohi_gpu_data(r, op->aux)};
    wcoh_push_norm push;
    push.rows = r->rows;
    push.width = (uint32_t)op->wide_in;
    push.centred = centred;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_NORM, NULL, views, push, wcohi_gpu_row_groups(r->rows), 1, 1);
}

static void wcohi_gpu_norm(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_norm_rows(r, op, op->param[WCOHI_NORM_WEIGHT], op->param[WCOHI_NORM_BIAS], 1);
}

static void wcohi_gpu_rms(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_norm_rows(r, op, op->param[WCOHI_RMS_WEIGHT], -1, 0);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_norm_rows_back(wcohi_gpu_recorder *r, const wcohi_op *op, int weight,
                                     int bias, uint32_t centred)
{
    /* 16 rows a workgroup, more where they would be more workgroups than Vulkan promises */
    uint32_t width = (uint32_t)op->wide_in, chunk = 16 * wcohi_gpu_ceil(r->rows, 16 * 65535u),
             chunks = wcohi_gpu_ceil(r->rows, chunk);
    wcohi_gpu_view partial = wcohi_gpu_later(r, 2 * (size_t)chunks * width);
    const wcohi_gpu_view views[6] = {wcohi_gpu_ddata(r, op->out), wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_data(r, op->aux),  wcohi_gpu_param(r, weight),
                                     wcohi_gpu_ddata(r, op->in),  partial};
    wcoh_push_norm_back push;
    push.rows = r->rows;
    push.width = width;
    push.add = (uint32_t)op->add_in;
    push.centred = centred;
    push.chunk = chunk;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_NORM_BACK, NULL, views, push, chunks, 1, 1);
    wcohi_gpu_later_add(r, partial, chunks, 2 * width, 0, width, wcohi_gpu_dparam(r, weight));
    wcohi_gpu_later_add(r, partial, chunks, 2 * width, width, width, wcohi_gpu_dparam(r, bias));
}

static void wcohi_gpu_norm_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_norm_rows_back(r, op, op->param[WCOHI_NORM_WEIGHT], op->param[WCOHI_NORM_BIAS], 1);
}

static void wcohi_gpu_rms_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_norm_rows_back(r, op, op->param[WCOHI_RMS_WEIGHT], -1, 0);
}
#endif

/* ---- linear: y = x W^T + b (+ residual) (gelu); G diagonal blocks ---------------------------- */

#define WCOHI_GPU_GATE_REACH 16 /* ops between a gate and the product that makes its s, at most */

/* The op whose product is a gate's s in whole, where nothing between reads that or writes over what it is
   made of: it waits for v, and goes through the gate at once. NULL: there is none. */
static const wcohi_op *wcohi_gpu_gate_source(const wcohi_gpu_recorder *r, const wcohi_op *gate)
{
    const wcohi_op *op = gate, *between;
    if (gate->in == gate->in2) return NULL;
    do {
        if (op == r->plan->ops || gate - op == WCOHI_GPU_GATE_REACH) return NULL;
        if (op != gate && (op->in == gate->in || op->in2 == gate->in)) return NULL;
    } while ((--op)->out != gate->in);
    if (op->kind != WCOHI_LINEAR || op->groups != 1 || op->gelu || op->in2 >= 0) return NULL;
    if (op->wide_out != gate->wide_out) return NULL;
    for (between = op + 1; between <= gate; between++) {
        wcohi_gpu_view from = wcohi_gpu_data(r, op->in);
        if (wcohi_gpu_meets(from, wcohi_gpu_data(r, between->out)) ||
            wcohi_gpu_meets(from, wcohi_gpu_data(r, between->aux)))
            return NULL;
    }
    return op;
}

/* 1 if this op's product waits for a gate. */
static int wcohi_gpu_gate_waits(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_op *gate = op + 1, *end = r->plan->ops + r->plan->count;
    for (; gate < end && gate - op <= WCOHI_GPU_GATE_REACH; gate++)
        if (gate->kind == WCOHI_GATE && gate->in == op->out)
            return wcohi_gpu_gate_source(r, gate) == op;
    return 0;
}

#ifndef WAVECOH_NO_TRAINING
/* The gate whose output is all that this op reads and nothing else does: back through it at once. */
static const wcohi_op *wcohi_gpu_gate_before(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_op *gate = op - 1;
    wcohi_gpu_view grad;
    if (op->kind != WCOHI_LINEAR || op == r->plan->ops) return NULL;
    if (gate->kind != WCOHI_GATE || gate->out != op->in || op->add_in) return NULL;
    if (op->groups != 1 || op->wide_in != gate->wide_out) return NULL;
    grad = wcohi_gpu_ddata(r, op->out);
    return wcohi_gpu_meets(grad, wcohi_gpu_ddata(r, gate->in)) ||
                   wcohi_gpu_meets(grad, wcohi_gpu_ddata(r, gate->in2))
               ? NULL
               : gate;
}
#endif

/* Where the gate finds v. */
static void wcohi_gpu_gate_take(const wcohi_gpu_recorder *r, wcohi_gpu_gemm *g,
                                const wcohi_op *gate)
{
    g->residual = wcohi_gpu_data(r, gate->in2);
    g->ldv = wcohi_gpu_width(r, gate->in2);
    g->first_v = (uint32_t)gate->column;
    g->form = (uint32_t)gate->form;
}

/* gate NULL: none */
static void wcohi_gpu_linear_through(wcohi_gpu_recorder *r, const wcohi_op *op,
                                     const wcohi_op *gate)
{
    uint32_t groups = (uint32_t)op->groups, out = (uint32_t)op->wide_out / groups,
             in = (uint32_t)op->wide_in / groups;
    wcohi_gpu_gemm g = wcohi_gpu_product(
        wcohi_gpu_data(r, op->out), wcohi_gpu_data(r, op->in),
        wcohi_gpu_param_of(r, op->param[WCOHI_LINEAR_WEIGHT], (size_t)groups * out * in), r->rows,
        out, in);
    g.lda = (uint32_t)op->wide_in;
    g.ldc = (uint32_t)op->wide_out;
    g.bias = wcohi_gpu_param_of(r, op->param[WCOHI_LINEAR_BIAS], (size_t)op->wide_out);
    g.residual = wcohi_gpu_data(r, op->in2);
    g.gelu = op->gelu;
    if (op->gelu) g.pre = wcohi_gpu_data(r, op->aux);
    g.groups = groups;
    g.group_a = in;
    g.group_b = out * in;
    g.group_c = g.group_bias = out;
    if (gate) {
        g.gate = 1;
        g.pre = g.c;
        g.c = wcohi_gpu_data(r, gate->out);
        wcohi_gpu_gate_take(r, &g, gate);
    }
    wcohi_gpu_multiply(r, &g);
}

static void wcohi_gpu_linear(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    if (!wcohi_gpu_gate_waits(r, op)) wcohi_gpu_linear_through(r, op, NULL);
}

#ifndef WAVECOH_NO_TRAINING
/* dx of a linear op, and back through the gate before it */
static wcohi_gpu_gemm wcohi_gpu_linear_input(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t groups = (uint32_t)op->groups, out = (uint32_t)op->wide_out,
             in = (uint32_t)op->wide_in;
    const wcohi_op *gate = wcohi_gpu_gate_before(r, op);
    wcohi_gpu_gemm g = wcohi_gpu_product_back(
        wcohi_gpu_ddata(r, op->in), op->add_in, wcohi_gpu_ddata(r, op->out),
        wcohi_gpu_param_of(r, op->param[WCOHI_LINEAR_WEIGHT], (size_t)out * in / groups), r->rows,
        out, in, groups);
    if (gate) {
        g.gate = 2;
        g.c = wcohi_gpu_ddata(r, gate->in);
        g.ldc = wcohi_gpu_width(r, gate->in);
        g.bias = wcohi_gpu_data(r, gate->in);
        g.pre = wcohi_gpu_ddata(r, gate->in2);
        wcohi_gpu_gate_take(r, &g, gate);
    }
    return g;
}

static void wcohi_gpu_linear_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_gemm input = wcohi_gpu_linear_input(r, op);
    if (op->gelu)
        wcohi_gpu_gelu_back(r, input.a, wcohi_gpu_data(r, op->aux), (size_t)r->rows * input.lda);
    wcohi_gpu_products_back(
        r, wcohi_gpu_dparam_of(r, op->param[WCOHI_LINEAR_WEIGHT], (size_t)input.lda * input.n),
        wcohi_gpu_dparam_of(r, op->param[WCOHI_LINEAR_BIAS], input.lda), wcohi_gpu_data(r, op->in),
        &input);
}
#endif

/* ---- gate: y = v f(s), by the form of the op ------------------------------------------------- */

static wcoh_push_gate wcohi_gpu_gate_push(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcoh_push_gate push;
    push.width = (uint32_t)op->wide_out;
    push.count = r->rows * push.width;
    push.lds = wcohi_gpu_width(r, op->in);
    push.ldv = wcohi_gpu_width(r, op->in2);
    push.column = (uint32_t)op->column;
    push.form = (uint32_t)op->form;
    return push;
}

static void wcohi_gpu_gate(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[3] = {wcohi_gpu_data(r, op->in), wcohi_gpu_data(r, op->in2),
                                     wcohi_gpu_data(r, op->out)};
    const wcohi_op *source = wcohi_gpu_gate_source(r, op);
    wcoh_push_gate push = wcohi_gpu_gate_push(r, op);
    if (source) {
        wcohi_gpu_linear_through(r, source, op);
        return;
    }
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_GATE, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_gate_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[5] = {wcohi_gpu_ddata(r, op->out), wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_data(r, op->in2), wcohi_gpu_ddata(r, op->in),
                                     wcohi_gpu_ddata(r, op->in2)};
    wcoh_push_gate push = wcohi_gpu_gate_push(r, op);
    /* done by the product that made dy */
    if (op + 1 < r->plan->ops + r->plan->count && wcohi_gpu_gate_before(r, op + 1)) return;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_GATE_BACK, NULL, views, push, wcohi_gpu_groups(push.count), 1,
                       1);
}
#endif

/* ---- what both kinds of attention share: tiles of the pair matrix ---------------------------- */

/* What an attention op's aux tensor holds. */
typedef struct wcohi_gpu_attention {
    wcohi_gpu_view coefficients, phasors; /* coherence: [H,4], [N,H,4] */
    wcohi_gpu_view depths;                /* [N,H,4] where rows listen */
    wcohi_gpu_view rotated;               /* rotary: queries and keys [N,2 H wide_key] */
    wcohi_gpu_view logsum, delta;         /* [N,H] */
} wcohi_gpu_attention;

/* Where a dispatch of attend.glsl finds its arrays, and its grid. */
typedef struct wcohi_gpu_pairs {
    wcoh_push_attend push;
    uint32_t specs[2]; /* columns of a thread; coherence: wcohi_gpu_listens */
    uint32_t tiles, chunks;
    uint32_t passes;                   /* of its backward */
    wcohi_gpu_view left, right, value; /* bindings 0, 1, 2 */
    wcohi_gpu_view depths, rest;       /* the last of coherence attention */
} wcohi_gpu_pairs;

/* 1 if rows bring dampings or loudnesses of their own, 2 if gains, 3 with overtones */
static int wcohi_gpu_listens(const wcohi_op *op)
{
    return op->overtones ? 3 : op->gain_column ? 2 : op->forget_column || op->loud_column;
}

static wcohi_gpu_sight wcohi_gpu_sight_of(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_sight sight;
    sight.coherence = op->kind == WCOHI_COHERENCE;
    sight.listens = sight.coherence ? (uint32_t)wcohi_gpu_listens(op) : 0;
    sight.batch = (uint32_t)r->pass.batch;
    sight.seq = (uint32_t)r->pass.seq;
    sight.heads = (uint32_t)op->heads;
    sight.wide = (uint32_t)(op->wide_out / op->heads);
    return sight;
}

/* What a tuning says of an op; NULL: nothing. */
static const wcohi_gpu_way *wcohi_gpu_way_find(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_sight sight = wcohi_gpu_sight_of(r, op);
    int i;
    for (i = 0; i < r->traits->path_count; i++)
        if (memcmp(&r->traits->paths[i].sight, &sight, sizeof sight) == 0)
            return &r->traits->paths[i].way;
    return NULL;
}

/* The grid; where the arrays stand is the op's. */
static wcohi_gpu_pairs wcohi_gpu_pairs_of(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_pairs t;
    uint32_t wide = (uint32_t)(op->wide_out / op->heads);
    const wcohi_gpu_way *way = wcohi_gpu_way_find(r, op);
    memset(&t, 0, sizeof t);
    t.push.seq = (uint32_t)r->pass.seq;
    t.push.heads = (uint32_t)op->heads;
    t.push.wide = wide;
    t.push.wide_key = (uint32_t)op->wide_key;
    t.push.wide_score = (uint32_t)op->wide_score;
    t.specs[0] = way && way->columns <= 8 ? way->columns
                 : wide <= 8              ? 1
                 : wide <= 16             ? 2
                 : wide <= 32             ? 4
                                          : 8;
    t.tiles = wcohi_gpu_ceil((uint32_t)r->pass.seq, 32);
    t.chunks = wcohi_gpu_ceil(wide, 8 * t.specs[0]);
#ifndef WAVECOH_NO_TRAINING
    if (r->pass.noise && op->rate > 0 &&
        (op->kind != WCOHI_COHERENCE || r->pass.seq <= WCOHI_CHUNK_MAX)) { /* as on the CPU */
        wcohi_noise noise = {1, {0, 0}, 0};
        t.push.stream = op->stream;
        t.push.drop = wcohi_noise_drop(&noise, op->rate);
        t.push.keep = (float)wcohi_noise_scale(&noise, op->rate);
    }
#endif
    return t;
}

static void wcohi_gpu_attend(wcohi_gpu_recorder *r, const wcohi_op *op, int shader,
                             const wcohi_gpu_pairs *t, wcohi_gpu_view logsum)
{
    int coherence = op->kind == WCOHI_COHERENCE;
    const wcohi_gpu_view views[8] = {t->left,      t->right,
                                     t->value,     wcohi_gpu_data(r, op->out),
                                     logsum,       coherence ? t->depths : r->at->frame,
                                     r->at->frame, t->rest};
    wcohi_gpu_dispatch(r, shader, t->specs, views, coherence ? 8 : 6, &t->push, sizeof t->push,
                       t->tiles, t->push.heads * t->chunks, (uint32_t)r->pass.batch);
}

/* Where an op's state begins among those of a member, and how long those are together, in numbers
   of `size` bytes. */
static uint32_t wcohi_gpu_state_first(const wcohi_op *op, size_t size)
{
    return (uint32_t)(op->state / size);
}

static uint32_t wcohi_gpu_state_member(const wcohi_gpu_recorder *r, size_t size)
{
    return (uint32_t)(r->plan->states / size);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_attend_delta(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view delta)
{
    const wcohi_gpu_view views[3] = {wcohi_gpu_data(r, op->out), wcohi_gpu_ddata(r, op->out),
                                     delta};
    wcoh_push_attend_delta push;
    push.count = r->rows * (uint32_t)op->heads;
    push.wide = (uint32_t)(op->wide_out / op->heads);
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_ATTEND_DELTA, NULL, views, push, wcohi_gpu_groups(push.count), 1,
                       1);
}
#endif

/* ---- taps: y_t = sum of w_j x_{t-j} ---------------------------------------------------------- */

static void wcohi_gpu_taps_move(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[3] = {wcohi_gpu_data(r, op->in), r->at->states, r->at->members};
    wcoh_push_taps_move push;
    push.rows = (uint32_t)r->pass.seq;
    push.width = (uint32_t)op->wide_in;
    push.taps = (uint32_t)op->taps;
    push.first = wcohi_gpu_state_first(op, sizeof(float));
    push.member = wcohi_gpu_state_member(r, sizeof(float));
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_TAPS_MOVE, NULL, views, push, wcohi_gpu_ceil(push.width, 64),
                       (uint32_t)r->pass.batch, 1);
}

static void wcohi_gpu_taps(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[5] = {wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_param(r, op->param[WCOHI_TAPS_WEIGHT]),
                                     r->pass.session ? r->at->states : wcohi_gpu_absent,
                                     wcohi_gpu_data(r, op->out), r->at->members};
    wcoh_push_taps push;
    push.width = (uint32_t)op->wide_in;
    push.count = r->rows * push.width;
    push.seq = (uint32_t)r->pass.seq;
    push.taps = (uint32_t)op->taps;
    push.session = (uint32_t)r->pass.session;
    push.first = wcohi_gpu_state_first(op, sizeof(float));
    push.member = wcohi_gpu_state_member(r, sizeof(float));
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_TAPS, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
    if (r->pass.session) wcohi_gpu_taps_move(r, op);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_taps_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t chunk = 64, chunks = wcohi_gpu_ceil(r->rows, chunk);
    uint32_t width = (uint32_t)op->wide_in, count = (uint32_t)op->taps * width,
             wide = wcohi_gpu_ceil(count, 64);
    wcohi_gpu_view partial = wcohi_gpu_later(r, (size_t)chunks * count);
    const wcohi_gpu_view views[5] = {
        wcohi_gpu_ddata(r, op->out), wcohi_gpu_param(r, op->param[WCOHI_TAPS_WEIGHT]),
        wcohi_gpu_ddata(r, op->in), wcohi_gpu_data(r, op->in), partial};
    wcoh_push_taps_back push;
    push.rows = r->rows;
    push.width = width;
    push.seq = (uint32_t)r->pass.seq;
    push.taps = (uint32_t)op->taps;
    push.add = (uint32_t)op->add_in;
    push.chunk = chunk;
    push.chunks = chunks;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_TAPS_BACK, NULL, views, push, wide,
                       chunks + wcohi_gpu_ceil(wcohi_gpu_groups((size_t)r->rows * width), wide), 1);
    wcohi_gpu_later_add(r, partial, chunks, count, 0, count,
                        wcohi_gpu_dparam(r, op->param[WCOHI_TAPS_WEIGHT]));
}
#endif

/* ---- coherence attention --------------------------------------------------------------------- */

/* Row of the heads' gains, -1 where rows bring them: it is a part of their biases then. */
static int wcohi_gpu_gain_row(const wcohi_op *op)
{
    return op->gain_column ? -1 : op->param[WCOHI_COHERENCE_GAIN];
}

static size_t wcohi_gpu_coherence_aux_count(const wcohi_plan *plan, const wcohi_op *op, size_t rows)
{
    size_t heads = (size_t)op->heads, pairs = wcohi_gpu_listens(op) ? 2 : 1;
    (void)plan;
    return wcohi_gpu_aux_size(8 * heads) + pairs * wcohi_gpu_aux_size(wcohi_mul(4 * heads, rows)) +
           2 * wcohi_gpu_aux_size(wcohi_mul(rows, heads));
}

static wcohi_gpu_attention wcohi_gpu_coherence_aux(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_attention a;
    size_t used = 0, rows = r->rows, heads = (size_t)op->heads;
    a.coefficients = wcohi_gpu_aux(r, op, &used, 8 * heads);
    a.phasors = wcohi_gpu_aux(r, op, &used, 4 * heads * rows);
    a.rotated = wcohi_gpu_absent;
    a.logsum = wcohi_gpu_aux(r, op, &used, heads * rows);
    a.delta = wcohi_gpu_aux(r, op, &used, heads * rows);
    a.depths = wcohi_gpu_absent;
    if (wcohi_gpu_listens(op)) a.depths = wcohi_gpu_aux(r, op, &used, 4 * heads * rows);
    return a;
}

/* 2M + 1 of the largest order, as gains are known on the device alone; bytes of an op's states, which
   every device binds. */
#define WCOHI_GPU_FEATURES 73u
#define WCOHI_GPU_FAR_MOST ((size_t)1 << 27)

/* Reals of the states of an op, for chunks of so many rows. */
static size_t wcohi_gpu_far_states(const wcohi_gpu_pairs *t, uint32_t batch, uint32_t chunk)
{
    size_t chunks = wcohi_gpu_ceil(t->push.seq, chunk), row = t->push.wide + 1;
    return wcohi_mul(wcohi_mul(2 * (size_t)batch, t->push.heads),
                     wcohi_mul(chunks * WCOHI_GPU_FEATURES, row));
}

/* 1 if states may stand for other chunks of so many rows: they keep within bounds, and no weight is an
   op's own. */
static int wcohi_gpu_far_may(const wcohi_gpu_recorder *r, const wcohi_op *op,
                             const wcohi_gpu_pairs *t, uint32_t chunk)
{
    size_t bytes =
        wcohi_mul(wcohi_gpu_far_states(t, (uint32_t)r->pass.batch, chunk), sizeof(float));
    return r->traits->linear_from >= 0 && !op->gain_column && !op->overtones && !t->push.drop &&
           bytes <= WCOHI_GPU_FAR_MOST;
}

/* Rows of a chunk of a long window, so that 16 or more run side by side; 0: the tiles see all pairs. */
static uint32_t wcohi_gpu_far_chunk(const wcohi_gpu_recorder *r, const wcohi_op *op,
                                    const wcohi_gpu_pairs *t)
{
    const wcohi_gpu_way *way = wcohi_gpu_way_find(r, op);
    uint32_t chunk = WCOHI_CLAMP((uint32_t)wcohi_round_up((size_t)r->pass.seq / 16, 32), 32, 128);
    if (way) return way->chunk && wcohi_gpu_far_may(r, op, t, way->chunk) ? way->chunk : 0;
    if (r->pass.seq <= r->traits->linear_from) return 0;
    for (; chunk <= 1024; chunk *= 2)
        if (wcohi_gpu_far_may(r, op, t, chunk)) return chunk;
    return 0;
}

/* Reals of what coherence_back.comp leaves of its queries. */
static size_t wcohi_gpu_coherence_shares(const wcohi_gpu_recorder *r, const wcohi_gpu_pairs *t)
{
    size_t shares = t->push.within ? WCOHI_MIN(t->push.within / 32, t->tiles) : t->tiles;
    return wcohi_mul((size_t)r->pass.batch * t->push.heads,
                     wcohi_mul(shares, 32 * (size_t)t->tiles));
}

/* Passes of the backward: one for both gradients, where heads have gains and no overtones, a tile holds their
   columns, and the shares keep within bounds; else one for the queries and one for the keys. */
static uint32_t wcohi_gpu_coherence_passes(const wcohi_gpu_recorder *r, const wcohi_op *op,
                                           const wcohi_gpu_pairs *t)
{
    const wcohi_gpu_way *way = wcohi_gpu_way_find(r, op);
    if (t->specs[1] > 1 || t->chunks > 1 || (!way && t->specs[0] > 4) || /* it spills there */
        wcohi_mul(wcohi_gpu_coherence_shares(r, t), sizeof(float)) > WCOHI_GPU_FAR_MOST)
        return 2;
    return way ? way->passes : 1;
}

static wcohi_gpu_pairs wcohi_gpu_coherence_pairs(const wcohi_gpu_recorder *r, const wcohi_op *op,
                                                 const wcohi_gpu_attention *aux)
{
    wcohi_gpu_pairs t = wcohi_gpu_pairs_of(r, op);
    t.left = aux->coefficients;
    t.right = aux->phasors;
    t.value = wcohi_gpu_data(r, op->in2);
    t.depths = aux->depths;
    t.push.value_stride = wcohi_gpu_width(r, op->in2);
    t.push.value_column = (uint32_t)op->column;
    t.push.stride = wcohi_gpu_width(r, op->in); /* raw phasors, of the query */
    t.push.gain_column = (uint32_t)op->gain_column;
    t.push.gain_most = (float)op->gain_most;
    t.specs[1] = (uint32_t)wcohi_gpu_listens(op);
    t.push.within = wcohi_gpu_far_chunk(r, op, &t);
    t.passes = wcohi_gpu_coherence_passes(r, op, &t);
    return t;
}

static void wcohi_gpu_coherence_prepare(wcohi_gpu_recorder *r, const wcohi_op *op,
                                        const wcohi_gpu_attention *aux)
{
    const wcohi_gpu_view views[9] = {wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_param(r, wcohi_gpu_gain_row(op)),
                                     wcohi_gpu_param(r, op->param[WCOHI_COHERENCE_CARRIER]),
                                     wcohi_gpu_param(r, op->param[WCOHI_COHERENCE_DAMPING]),
                                     wcohi_gpu_param(r, op->param[WCOHI_COHERENCE_HARMONIC]),
                                     aux->coefficients,
                                     aux->phasors,
                                     wcohi_gpu_param(r, op->param[WCOHI_COHERENCE_OVERTONE]),
                                     aux->depths};
    wcoh_push_coherence_prepare push;
    push.rows = r->rows;
    push.heads = (uint32_t)op->heads;
    push.seq = (uint32_t)r->pass.seq;
    push.stride = wcohi_gpu_width(r, op->in);
    push.key_column = (uint32_t)op->key_column;
    push.frozen = op->param[WCOHI_COHERENCE_HARMONIC] >= 0;
    push.damped = op->param[WCOHI_COHERENCE_DAMPING] >= 0;
    push.gain_column = (uint32_t)op->gain_column;
    push.gain_most = (float)op->gain_most;
    push.overtones = (uint32_t)op->overtones;
    push.forget_column = (uint32_t)op->forget_column;
    push.loud_column = (uint32_t)op->loud_column;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_COHERENCE_PREPARE, NULL, views, push,
                       wcohi_gpu_groups((size_t)r->rows * (size_t)op->heads),
                       wcohi_gpu_listens(op) ? 2 : 1, 1);
}

static void wcohi_gpu_coherence_session(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    int width = op->wide_out / op->heads;
    const wcohi_gpu_view views[6] = {wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_data(r, op->in2),
                                     wcohi_gpu_data(r, op->out),
                                     r->at->states,
                                     wcohi_gpu_param(r, op->param[WCOHI_COHERENCE_HARMONIC]),
                                     r->at->members};
    wcoh_push_coherence_session push;
    push.rows = (uint32_t)r->pass.seq;
    push.heads = (uint32_t)op->heads;
    push.width = (uint32_t)width;
    push.stride = wcohi_gpu_width(r, op->in);
    push.key_column = (uint32_t)op->key_column;
    push.value_stride = wcohi_gpu_width(r, op->in2);
    push.value_column = (uint32_t)op->column;
    push.pitch = (uint32_t)wcohi_wave_pitch(width);
    push.size = (uint32_t)wcohi_wave_session(width);
    push.coefficients = WCOHI_WAVE_HEADER;
    push.denominators = WCOHI_WAVE_HEADER + WCOHI_FEATURES + 4;
    push.z = push.denominators + WCOHI_DENOMINATORS;
    push.frozen = op->param[WCOHI_COHERENCE_HARMONIC] >= 0;
    push.first = wcohi_gpu_state_first(op, sizeof(double));
    push.member = wcohi_gpu_state_member(r, sizeof(double));
    push.forget_column = (uint32_t)op->forget_column;
    push.loud_column = (uint32_t)op->loud_column;
    push.gain_column = (uint32_t)op->gain_column;
    push.gain_most = (float)op->gain_most;
    WCOHI_GPU_DISPATCH(r,
                       r->traits->two_float ? WCOH_SPV_COHERENCE_SESSION_PAIRS
                                            : WCOH_SPV_COHERENCE_SESSION_DOUBLE,
                       NULL, views, push, push.heads, (uint32_t)r->pass.batch, 1);
}

/* Parameters of every head of an op, in double, as the CPU's attention takes them; table [4,H]. */
static void wcohi_gpu_coherence_heads(const wcohi_param_row *rows, const wcoh_real *params,
                                      const wcohi_op *op, double *table, wcohi_coherence *call)
{
    int heads = op->heads, h, i;
    double *column[4];
    for (i = 0; i < 4; i++) column[i] = table + i * heads;
    for (i = 0; i < 4; i++)
        for (h = 0; op->param[i] >= 0 && h < heads; h++) {
            double raw = (double)params[rows[op->param[i]].offset + (size_t)h];
            column[i][h] = i == 0 || i == 2 ? wcohi_softplus(raw) : raw;
        }
    for (h = 0; op->gain_column && h < heads; h++) column[0][h] = op->gain_most;
    call->gain = op->param[WCOHI_COHERENCE_GAIN] < 0 ? NULL : column[0];
    call->carrier = op->param[WCOHI_COHERENCE_CARRIER] < 0 ? NULL : column[1];
    call->damping = op->param[WCOHI_COHERENCE_DAMPING] < 0 ? NULL : column[2];
    call->harmonic = op->param[WCOHI_COHERENCE_HARMONIC] < 0 ? NULL : column[3];
    call->overtones = op->overtones;
    call->overtone = table + 4 * heads;
    for (h = 0; h < op->overtones * heads; h++)
        table[4 * heads + h] = wcohi_overtone(
            h / heads,
            (double)params[rows[op->param[WCOHI_COHERENCE_OVERTONE]].offset + (size_t)h]);
}

/* Bring the header of a head's saved state up to date: tables of order, coefficients, decay, turn,
   which the device only reads. Harmonics that it did not hold before start empty. */
static void wcohi_gpu_coherence_head(const wcohi_coherence *call, int head, double *header)
{
    double *coefficient = header + WCOHI_WAVE_HEADER, *state = coefficient + WCOHI_FEATURES + 4;
    int used = header[WCOHI_WAVE_USED] > 0, order = (int)header[WCOHI_WAVE_ORDER], first, last;
    size_t pitch = wcohi_wave_pitch(call->width);
    wcohi_wave wave;
    wcohi_wave_parameters(&wave, call, head);
    if (used && !wave.overtones && header[WCOHI_WAVE_GAIN] == wave.gain &&
        header[WCOHI_WAVE_CARRIER] == wave.carrier && header[WCOHI_WAVE_DAMPING] == wave.damping)
        return;
    wcohi_wave_series(&wave);
    first = used ? 2 * order + 1 : 0;
    last = 2 * wave.order + 1;
    if (last > first) {
        double *rows = state + WCOHI_DENOMINATORS + (size_t)first * pitch;
        memset(state + first, 0, (size_t)(last - first) * sizeof(double));
        memset(rows, 0, (size_t)(last - first) * pitch * sizeof(double));
    }
    if (!used) header[WCOHI_WAVE_COS] = 1, header[WCOHI_WAVE_SIN] = 0;
    memcpy(coefficient, wave.coefficient, (size_t)last * sizeof(double));
    header[WCOHI_WAVE_GAIN] = wave.gain;
    header[WCOHI_WAVE_CARRIER] = wave.carrier;
    header[WCOHI_WAVE_DAMPING] = wave.damping;
    header[WCOHI_WAVE_DECAY] = exp(-wave.damping);
    header[WCOHI_WAVE_TURN_COS] = cos(wave.carrier);
    header[WCOHI_WAVE_TURN_SIN] = sin(wave.carrier);
    header[WCOHI_WAVE_ORDER] = wave.order;
    header[WCOHI_WAVE_USED] = 1;
}

static void wcohi_gpu_coherence_open(const wcohi_plan *plan, const wcoh_real *params,
                                     const wcohi_op *op, unsigned char *states, double *table)
{
    wcohi_coherence call;
    double *header = (double *)(void *)(states + op->state);
    int h;
    memset(&call, 0, sizeof call);
    call.heads = op->heads;
    call.width = op->wide_out / op->heads;
    wcohi_gpu_coherence_heads(plan->rows, params, op, table, &call);
    for (h = 0; h < op->heads; h++, header += wcohi_wave_session(call.width))
        wcohi_gpu_coherence_head(&call, h, header);
}

/* ---- coherence attention in linear time: far.glsl -------------------------------------------- */

#define WCOHI_GPU_SERIES 50u /* wide numbers of a head, see coherence_series.comp */

/* The shader of sums in doubles, or in pairs of floats */
#define WCOHI_GPU_WIDE(r, name)                                                                    \
    ((r)->traits->two_float ? WCOH_SPV_##name##_PAIRS : WCOH_SPV_##name##_DOUBLE)

/* What the passes of far keys or queries share. */
typedef struct wcohi_gpu_far {
    wcoh_push_coherence_far push;
    uint32_t specs[2]; /* columns taken at once; 1: of queries */
    uint32_t chunks, groups, heads, batch;
    wcohi_gpu_view coefficients, phasors, depths, series;
    wcohi_gpu_view logsum, delta;
} wcohi_gpu_far;

/* Ready the states of an op whose tiles are `t`, and the series of its heads. */
static wcohi_gpu_far wcohi_gpu_far_of(wcohi_gpu_recorder *r, const wcohi_gpu_attention *aux,
                                      const wcohi_gpu_pairs *t)
{
    wcohi_gpu_far distant;
    wcohi_gpu_view views[2];
    wcoh_push_coherence_series push;
    memset(&distant, 0, sizeof distant);
    distant.heads = push.heads = t->push.heads;
    distant.batch = (uint32_t)r->pass.batch;
    distant.push.seq = t->push.seq;
    distant.push.heads = distant.heads;
    distant.push.wide_ = t->push.wide;
    distant.push.chunk = t->push.within;
    distant.push.listens = aux->depths.bytes > 0;
    distant.chunks = wcohi_gpu_ceil(distant.push.seq, distant.push.chunk);
    distant.groups = wcohi_gpu_ceil(t->push.wide + 1, 17);
    distant.specs[0] = wcohi_gpu_ceil(t->push.wide + 1, distant.groups);
    distant.coefficients = views[0] = aux->coefficients;
    distant.phasors = aux->phasors;
    distant.depths = aux->depths;
    distant.logsum = aux->logsum;
    distant.delta = aux->delta;
    distant.series = views[1] = wcohi_gpu_scratch(r, 2 * WCOHI_GPU_SERIES * (size_t)distant.heads);
    WCOHI_GPU_DISPATCH(r, WCOHI_GPU_WIDE(r, COHERENCE_SERIES), NULL, views, push,
                       wcohi_gpu_ceil(distant.heads, 64), 1, 1);
    return distant;
}

/* States of every chunk: of the keys before it, given v, or of the queries behind it, given dO. */
static wcohi_gpu_view wcohi_gpu_far_gather(wcohi_gpu_recorder *r, wcohi_gpu_far *distant,
                                           const wcohi_gpu_pairs *t, wcohi_gpu_view given)
{
    wcohi_gpu_view states =
        wcohi_gpu_scratch(r, wcohi_gpu_far_states(t, distant->batch, distant->push.chunk));
    const wcohi_gpu_view views[8] = {
        distant->coefficients, distant->phasors, distant->depths, distant->series, given,
        distant->logsum,       distant->delta,   states};
    const wcohi_gpu_view carry[5] = {distant->coefficients, distant->phasors, distant->depths,
                                     distant->series, states};
    WCOHI_GPU_DISPATCH(r, WCOHI_GPU_WIDE(r, COHERENCE_GATHER), distant->specs, views, distant->push,
                       distant->chunks, distant->heads * distant->groups, distant->batch);
    WCOHI_GPU_DISPATCH(r, WCOHI_GPU_WIDE(r, COHERENCE_CARRY), distant->specs, carry, distant->push,
                       wcohi_gpu_ceil(WCOHI_GPU_FEATURES * (t->push.wide + 1), 64), distant->heads,
                       distant->batch);
    return states;
}

/* Whether rows of keys or of queries are meant from here on, and where v or dO of them stand. */
static void wcohi_gpu_far_turn(wcohi_gpu_far *distant, uint32_t queries, uint32_t stride,
                               uint32_t column)
{
    distant->specs[1] = queries;
    distant->push.stride = stride;
    distant->push.column = column;
}

static void wcohi_gpu_far_read(wcohi_gpu_recorder *r, const wcohi_gpu_far *distant,
                               wcohi_gpu_view states, wcohi_gpu_view to, wcohi_gpu_view rest)
{
    const wcohi_gpu_view views[7] = {distant->coefficients,
                                     distant->phasors,
                                     distant->depths,
                                     distant->series,
                                     states,
                                     to,
                                     rest};
    WCOHI_GPU_DISPATCH(r, WCOHI_GPU_WIDE(r, COHERENCE_READ), distant->specs, views, distant->push,
                       distant->chunks, distant->heads * distant->groups, distant->batch);
}

/* What keys of other chunks give to the queries: numerators in place of out, weights in t->rest. */
static void wcohi_gpu_far_forward(wcohi_gpu_recorder *r, const wcohi_op *op,
                                  const wcohi_gpu_attention *aux, wcohi_gpu_pairs *t)
{
    wcohi_gpu_far distant = wcohi_gpu_far_of(r, aux, t);
    wcohi_gpu_view states;
    wcohi_gpu_far_turn(&distant, 0, t->push.value_stride, t->push.value_column);
    states = wcohi_gpu_far_gather(r, &distant, t, t->value);
    wcohi_gpu_far_turn(&distant, 1, distant.heads * t->push.wide, 0);
    t->rest = aux->delta; /* which the backward writes anew */
    wcohi_gpu_far_read(r, &distant, states, wcohi_gpu_data(r, op->out), t->rest);
}

static void wcohi_gpu_coherence(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_attention aux = wcohi_gpu_coherence_aux(r, op);
    wcohi_gpu_pairs t = wcohi_gpu_coherence_pairs(r, op, &aux);
    if (r->pass.session) {
        wcohi_gpu_coherence_session(r, op);
        return;
    }
    wcohi_gpu_coherence_prepare(r, op, &aux);
    if (t.push.within) wcohi_gpu_far_forward(r, op, &aux, &t);
    wcohi_gpu_attend(r, op, WCOH_SPV_COHERENCE_FORWARD, &t, aux.logsum);
}

#ifndef WAVECOH_NO_TRAINING
/* Columns of H of what a tile of queries adds: dkappa, domega, dlambda, with overtones dkappa_2 and 3. */
static uint32_t wcohi_gpu_coherence_sums(const wcohi_op *op) { return op->overtones ? 5 : 3; }

/* Those of every tile into the raw parameters' gradients */
static void wcohi_gpu_coherence_finish(wcohi_gpu_recorder *r, const wcohi_op *op,
                                       wcohi_gpu_view partial, uint32_t rows)
{
    const uint32_t h = (uint32_t)op->heads, wide = wcohi_gpu_coherence_sums(op) * h;
    const int gain = wcohi_gpu_gain_row(op), damping = op->param[WCOHI_COHERENCE_DAMPING];
    if (op->param[WCOHI_COHERENCE_GAIN] < 0) return; /* the frozen form has none */
    wcohi_gpu_later_segment(r, wcohi_gpu_segment_of(rows, wide, 0, h), partial,
                            wcohi_gpu_dparam(r, gain), wcohi_gpu_param(r, gain));
    wcohi_gpu_later_add(r, partial, rows, wide, h, h,
                        wcohi_gpu_dparam(r, op->param[WCOHI_COHERENCE_CARRIER]));
    wcohi_gpu_later_segment(r, wcohi_gpu_segment_of(rows, wide, 2 * h, h), partial,
                            wcohi_gpu_dparam(r, damping), wcohi_gpu_param(r, damping));
    if (op->overtones)
        wcohi_gpu_later_add(r, partial, rows, wide, 3 * h, (uint32_t)op->overtones * h,
                            wcohi_gpu_dparam(r, op->param[WCOHI_COHERENCE_OVERTONE]));
}

/* slopes [N,H], of keys over all queries, to the raw columns of rows that listen; shares: of the queries'
   phases to their raw columns, absent: they are there */
static void wcohi_gpu_coherence_listen_back(wcohi_gpu_recorder *r, const wcohi_op *op,
                                            const wcohi_gpu_pairs *t, wcohi_gpu_view slopes,
                                            wcohi_gpu_view shares, wcohi_gpu_view distant)
{
    const wcohi_gpu_view views[6] = {
        wcohi_gpu_data(r, op->in), slopes, wcohi_gpu_ddata(r, op->in), shares, t->left, distant};
    int finish = shares.bytes > 0;
    wcoh_push_coherence_listen_back push;
    push.seq = (uint32_t)r->pass.seq;
    push.heads = (uint32_t)op->heads;
    push.stride = wcohi_gpu_width(r, op->in);
    push.forget_column = (uint32_t)op->forget_column;
    push.loud_column = (uint32_t)op->loud_column;
    push.within = t->push.within;
    push.add = op->key_column == 0;
    wcohi_gpu_dispatch(r, finish ? WCOH_SPV_COHERENCE_FINISH : WCOH_SPV_COHERENCE_LISTEN_BACK, NULL,
                       views, finish ? 6 : 3, &push, sizeof push, push.heads,
                       (uint32_t)r->pass.batch, 1);
}

/* Slopes far [N,H,2] of the rows' phases and scores towards other chunks, and a chunk's partial sums:
   of queries against the keys' states, of keys against the queries'; `other` are the keys'. */
static wcohi_gpu_view wcohi_gpu_far_torque(wcohi_gpu_recorder *r, wcohi_gpu_far *distant,
                                           wcohi_gpu_view given, wcohi_gpu_view states,
                                           wcohi_gpu_view other, wcohi_gpu_view partial)
{
    wcohi_gpu_view slopes = wcohi_gpu_scratch(r, 2 * (size_t)r->rows * distant->heads);
    const wcohi_gpu_view views[11] = {distant->coefficients,
                                      distant->phasors,
                                      distant->depths,
                                      distant->series,
                                      given,
                                      distant->logsum,
                                      distant->delta,
                                      states,
                                      other,
                                      slopes,
                                      partial};
    WCOHI_GPU_DISPATCH(r, WCOHI_GPU_WIDE(r, COHERENCE_TORQUE), distant->specs, views, distant->push,
                       distant->chunks, distant->heads, distant->batch);
    distant->push.partial += distant->batch * distant->chunks;
    return slopes;
}

/* What pairs of different chunks give: slopes of queries and keys, and dv. */
static void wcohi_gpu_far_back(wcohi_gpu_recorder *r, const wcohi_op *op,
                               const wcohi_gpu_attention *aux, const wcohi_gpu_pairs *t,
                               wcohi_gpu_view partial, wcohi_gpu_view slopes[2])
{
    wcohi_gpu_far distant = wcohi_gpu_far_of(r, aux, t);
    uint32_t wide = distant.heads * t->push.wide, pitch = t->push.value_stride;
    wcohi_gpu_view dout = wcohi_gpu_ddata(r, op->out), keys, queries;
    distant.push.partial = distant.batch * t->tiles;
    wcohi_gpu_far_turn(&distant, 0, pitch, t->push.value_column);
    keys = wcohi_gpu_far_gather(r, &distant, t, t->value);
    wcohi_gpu_far_turn(&distant, 1, wide, 0);
    queries = wcohi_gpu_far_gather(r, &distant, t, dout);
    slopes[0] = wcohi_gpu_far_torque(r, &distant, dout, keys, keys, partial);
    wcohi_gpu_far_turn(&distant, 0, pitch, t->push.value_column);
    slopes[1] = wcohi_gpu_far_torque(r, &distant, t->value, queries, keys, partial);
    wcohi_gpu_far_read(r, &distant, queries, wcohi_gpu_ddata(r, op->in2), wcohi_gpu_absent);
}

/* What the passes of the backward share; slopes of keys over all queries, and far ones. */
typedef struct wcohi_gpu_slopes {
    wcohi_gpu_view dout, raw, draw, dvalues, keys, distant[2], partial;
} wcohi_gpu_slopes;

/* Queries and keys at once, then what is left of the queries and of rows that listen. */
static void wcohi_gpu_coherence_back_once(wcohi_gpu_recorder *r, const wcohi_op *op,
                                          const wcohi_gpu_attention *aux, wcohi_gpu_pairs *t,
                                          const wcohi_gpu_slopes *s)
{
    wcohi_gpu_view shares = wcohi_gpu_scratch(r, wcohi_gpu_coherence_shares(r, t));
    const wcohi_gpu_view views[15] = {
        t->left,       t->right,    t->value,
        s->dout,       aux->logsum, t->push.within ? aux->delta : wcohi_gpu_data(r, op->out),
        s->dvalues,    s->raw,      s->draw,
        t->depths,     s->keys,     r->at->frame,
        s->distant[1], s->partial,  shares};
    t->push.column = (uint32_t)op->key_column;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_COHERENCE_BACK, t->specs, views, t->push, t->tiles,
                       t->push.heads, (uint32_t)r->pass.batch);
    wcohi_gpu_coherence_listen_back(r, op, t, s->keys, shares, s->distant[0]);
}

/* Queries, then keys. */
static void wcohi_gpu_coherence_back_twice(wcohi_gpu_recorder *r, const wcohi_op *op,
                                           const wcohi_gpu_attention *aux, wcohi_gpu_pairs *t,
                                           const wcohi_gpu_slopes *s)
{
    uint32_t batch = (uint32_t)r->pass.batch, heads = t->push.heads;
    const wcohi_gpu_view queries[13] = {t->left,
                                        t->right,
                                        t->value,
                                        s->dout,
                                        aux->logsum,
                                        aux->delta,
                                        s->raw,
                                        s->draw,
                                        s->partial,
                                        t->depths,
                                        r->at->frame,
                                        s->distant[0],
                                        wcohi_gpu_data(r, op->out)};
    const wcohi_gpu_view keys[13] = {t->left,    t->right,     t->value,     s->dout, aux->logsum,
                                     aux->delta, s->dvalues,   s->raw,       s->draw, t->depths,
                                     s->keys,    r->at->frame, s->distant[1]};
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_COHERENCE_BACK_QUERY, t->specs, queries, t->push, t->tiles,
                       heads, batch);
    t->push.column = (uint32_t)op->key_column;
    t->push.flags = t->push.column == 0; /* shared: adds to what the queries wrote */
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_COHERENCE_BACK_KEY, t->specs, keys, t->push, t->tiles,
                       heads * t->chunks, batch);
    if (t->specs[1])
        wcohi_gpu_coherence_listen_back(r, op, t, s->keys, wcohi_gpu_absent, wcohi_gpu_absent);
}

static void wcohi_gpu_coherence_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_attention aux = wcohi_gpu_coherence_aux(r, op);
    wcohi_gpu_pairs t = wcohi_gpu_coherence_pairs(r, op, &aux);
    uint32_t heads = t.push.heads, near_rows = t.push.within,
             chunks = near_rows ? wcohi_gpu_ceil(t.push.seq, near_rows) : 0,
             sums = (uint32_t)r->pass.batch * (t.tiles + 2 * chunks);
    wcohi_gpu_slopes s;
    memset(&s, 0, sizeof s);
    s.dout = wcohi_gpu_ddata(r, op->out);
    s.raw = wcohi_gpu_data(r, op->in);
    s.draw = wcohi_gpu_ddata(r, op->in);
    s.dvalues = wcohi_gpu_ddata(r, op->in2);
    s.partial = wcohi_gpu_later(r, (size_t)sums * wcohi_gpu_coherence_sums(op) * heads);
    if (t.specs[1]) s.keys = wcohi_gpu_scratch(r, (size_t)r->rows * heads);
    if (near_rows) wcohi_gpu_attend_delta(r, op, aux.delta);
    if (near_rows) wcohi_gpu_far_back(r, op, &aux, &t, s.partial, s.distant);
    if (t.passes == 1) wcohi_gpu_coherence_back_once(r, op, &aux, &t, &s);
    else wcohi_gpu_coherence_back_twice(r, op, &aux, &t, &s);
    wcohi_gpu_coherence_finish(r, op, s.partial, sums);
}
#endif

/* ---- dot attention, plain and rotary --------------------------------------------------------- */

/* Reals of a row's keys: of DOT, of what POLAR and RESONATE are given. */
static uint32_t wcohi_gpu_keys(const wcohi_op *op) { return (uint32_t)(op->heads * op->wide_key); }

static size_t wcohi_gpu_dot_aux_count(const wcohi_plan *plan, const wcohi_op *op, size_t rows)
{
    size_t rotated = op->rotary ? wcohi_mul(2 * (size_t)(op->heads * op->wide_key), rows) : 0;
    (void)plan;
    return wcohi_gpu_aux_size(rotated) + 2 * wcohi_gpu_aux_size(wcohi_mul(rows, (size_t)op->heads));
}

static wcohi_gpu_attention wcohi_gpu_dot_aux(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_attention a;
    size_t used = 0, rows = r->rows, heads = (size_t)op->heads;
    memset(&a, 0, sizeof a);
    if (op->rotary)
        a.rotated = wcohi_gpu_aux(r, op, &used, 2 * heads * (size_t)op->wide_key * rows);
    a.logsum = wcohi_gpu_aux(r, op, &used, heads * rows);
    a.delta = wcohi_gpu_aux(r, op, &used, heads * rows);
    return a;
}

static wcohi_gpu_pairs wcohi_gpu_dot_pairs(const wcohi_gpu_recorder *r, const wcohi_op *op,
                                           const wcohi_gpu_attention *aux)
{
    wcohi_gpu_pairs t = wcohi_gpu_pairs_of(r, op);
    uint32_t keys = wcohi_gpu_keys(op), all = (uint32_t)op->wide_in;
    t.left = t.right = op->rotary ? aux->rotated : wcohi_gpu_data(r, op->in);
    t.value = wcohi_gpu_data(r, op->in);
    t.push.key_stride = t.push.stride = op->rotary ? 2 * keys : all;
    t.push.key_column = keys;
    t.push.value_stride = all;
    t.push.value_column = 2 * keys;
    return t;
}

/* 1 if dot_whole.comp computes the op, which then gets its grid: as a tuning says or, without one, where heads
   have more than 32 columns and windows more rows than a narrow tile. */
static int wcohi_gpu_dot_whole(const wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_pairs *t)
{
    const wcohi_gpu_way *way = wcohi_gpu_way_find(r, op);
    const wcoh_push_attend *p = &t->push;
    if (way ? way->columns < WCOHI_GPU_WHOLE : p->wide <= 32 || p->seq <= 32) return 0;
    if (p->wide > WCOHI_GPU_WHOLE || p->wide_key > WCOHI_GPU_WHOLE ||
        !wcohi_gpu_fours(p->wide, p->wide_key, p->key_stride, p->value_stride))
        return 0;
    t->tiles = wcohi_gpu_ceil(p->seq, WCOHI_GPU_WHOLE);
    t->chunks = 1;
    t->specs[0] = way && way->columns > WCOHI_GPU_WHOLE ? 64 : 128; /* threads */
    return 1;
}

/* 10000^(-2j/W) / (2 pi) as binary fractions of 64 bits, low word first: see rotary.comp. Those of
   j = first .. first+count-1; wide is W. */
static void wcohi_gpu_turns(uint32_t *words, int wide, int first, int count)
{
    int j;
    for (j = 0; j < count; j++) {
        double turn = pow(10000.0, -2.0 * (first + j) / wide) / (2 * wcohi_pi);
        uint64_t bits = (uint64_t)ldexp(turn, 63) << 1;
        words[2 * j] = (uint32_t)bits;
        words[2 * j + 1] = (uint32_t)(bits >> 32);
    }
}

/* Width of the widest queries that turn; 0: the plan has none. Narrower ones turn by some of their
   angles. */
static int wcohi_gpu_rotary_width(const wcohi_plan *plan)
{
    int i, most = 0;
    for (i = 0; i < plan->count; i++)
        if (plan->ops[i].rotary) most = WCOHI_MAX(most, plan->ops[i].wide_key);
    return most;
}

/* Queries and keys of a row by the angles of its place; back: the opposite way. */
static void wcohi_gpu_rotate(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view from,
                             uint32_t ld_from, wcohi_gpu_view to, uint32_t ld_to, uint32_t back)
{
    uint32_t width = 2 * wcohi_gpu_keys(op), wide = (uint32_t)op->wide_key,
             most = (uint32_t)wcohi_gpu_rotary_width(r->plan);
    const wcohi_gpu_view views[4] = {from, wcohi_gpu_part(r->at->tables, 0, most / 2 * 8), to,
                                     r->at->members};
    wcoh_push_rotary push;
    push.rows = r->rows;
    push.width = width;
    push.wide = wide;
    push.seq = (uint32_t)r->pass.seq;
    push.ld_from = ld_from;
    push.ld_to = ld_to;
    push.back = back;
    push.step = most / wide;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_ROTARY, NULL, views, push,
                       wcohi_gpu_groups((size_t)r->rows * width / 2), 1, 1);
}

static void wcohi_gpu_dot_session(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view rotated)
{
    uint32_t heads = (uint32_t)op->heads, keys = wcohi_gpu_keys(op), all = (uint32_t)op->wide_in;
    uint32_t context = (uint32_t)op->context, batch = (uint32_t)r->pass.batch;
    wcohi_gpu_view qkv = wcohi_gpu_data(r, op->in), turned = op->rotary ? rotated : qkv,
                   weights = wcohi_gpu_scratch(r, wcohi_mul((size_t)batch * heads, context));
    const wcohi_gpu_view views[7] = {
        turned, turned, qkv, wcohi_gpu_data(r, op->out), r->at->states, weights, r->at->members};
    wcoh_push_dot_session push;
    push.rows = (uint32_t)r->pass.seq;
    push.heads = heads;
    push.width = (uint32_t)op->wide_out / heads;
    push.wide_key = (uint32_t)op->wide_key;
    push.wide_score = (uint32_t)op->wide_score;
    push.context = context;
    push.stride = op->rotary ? 2 * keys : all;
    push.key_column = keys;
    push.value_stride = all;
    push.value_column = 2 * keys;
    push.pitch = (uint32_t)wcohi_round_up(context, 16);
    push.first = wcohi_gpu_state_first(op, sizeof(float));
    push.member = wcohi_gpu_state_member(r, sizeof(float));
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_DOT_SESSION, NULL, views, push, heads, batch, 1);
}

static void wcohi_gpu_dot(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_attention aux = wcohi_gpu_dot_aux(r, op);
    wcohi_gpu_pairs t = wcohi_gpu_dot_pairs(r, op, &aux);
    if (op->rotary)
        wcohi_gpu_rotate(r, op, wcohi_gpu_data(r, op->in), (uint32_t)op->wide_in, aux.rotated,
                         2 * wcohi_gpu_keys(op), 0);
    if (r->pass.session) wcohi_gpu_dot_session(r, op, aux.rotated);
    else if (wcohi_gpu_dot_whole(r, op, &t))
        wcohi_gpu_attend(r, op, WCOH_SPV_DOT_WHOLE_FORWARD, &t, aux.logsum);
    else wcohi_gpu_attend(r, op, WCOH_SPV_DOT_FORWARD, &t, aux.logsum);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_dot_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_attention aux = wcohi_gpu_dot_aux(r, op);
    wcohi_gpu_pairs t = wcohi_gpu_dot_pairs(r, op, &aux);
    uint32_t batch = (uint32_t)r->pass.batch, width = wcohi_gpu_keys(op), heads = t.push.heads;
    int whole = wcohi_gpu_dot_whole(r, op, &t);
    uint32_t chunks = whole ? 1 : wcohi_gpu_ceil(t.push.wide_key, 8 * t.specs[0]);
    uint32_t chunks_both = whole ? 1 : WCOHI_MAX(chunks, t.chunks);
    wcohi_gpu_view dout = wcohi_gpu_ddata(r, op->out), dqkv = wcohi_gpu_ddata(r, op->in);
    wcohi_gpu_view to = op->rotary ? wcohi_gpu_scratch(r, 2 * (size_t)r->rows * width) : dqkv;
    const wcohi_gpu_view queries[8] = {t.left,     t.right,   t.value, dout,
                                       aux.logsum, aux.delta, to,      r->at->frame};
    const wcohi_gpu_view keys[9] = {t.left,    t.right, t.value, dout,        aux.logsum,
                                    aux.delta, dqkv,    to,      r->at->frame};
    wcohi_gpu_attend_delta(r, op, aux.delta);
    WCOHI_GPU_DISPATCH(r, whole ? WCOH_SPV_DOT_WHOLE_BACK_QUERY : WCOH_SPV_DOT_BACK_QUERY, t.specs,
                       queries, t.push, t.tiles, heads * chunks, batch);
    t.push.column = width;
    WCOHI_GPU_DISPATCH(r, whole ? WCOH_SPV_DOT_WHOLE_BACK_KEY : WCOH_SPV_DOT_BACK_KEY, t.specs,
                       keys, t.push, t.tiles, heads * chunks_both, batch);
    if (op->rotary) wcohi_gpu_rotate(r, op, to, 2 * width, dqkv, (uint32_t)op->wide_in, 1);
}
#endif

/* ======== 2 recording: wider queries and keys, phases of symbols ============================== */

/* ---- polar: magnitudes, and pairs that positions turn ---------------------------------------- */

static void wcohi_gpu_polar_rows(wcohi_gpu_recorder *r, const wcohi_op *op, int shader,
                                 wcohi_gpu_view y, wcohi_gpu_view dx, wcohi_gpu_view slopes)
{
    const wcohi_gpu_view views[5] = {
        wcohi_gpu_data(r, op->in), wcohi_gpu_param(r, op->param[WCOHI_POLAR_SHIFT]), y, dx, slopes};
    wcoh_push_polar push;
    push.all = wcohi_gpu_keys(op);
    push.values = (uint32_t)op->wide_in - 2 * push.all;
    push.count = r->rows * WCOHI_MAX(push.all, push.values);
    WCOHI_GPU_DISPATCH(r, shader, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

static void wcohi_gpu_polar(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_polar_rows(r, op, WCOH_SPV_POLAR, wcohi_gpu_data(r, op->out), wcohi_gpu_absent,
                         wcohi_gpu_absent);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_polar_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t all = wcohi_gpu_keys(op);
    wcohi_gpu_view slopes = wcohi_gpu_scratch(r, (size_t)r->rows * all);
    wcohi_gpu_polar_rows(r, op, WCOH_SPV_POLAR_BACK, wcohi_gpu_ddata(r, op->out),
                         wcohi_gpu_ddata(r, op->in), slopes);
    wcohi_gpu_product_bias(r, wcohi_gpu_dparam(r, op->param[WCOHI_POLAR_SHIFT]), slopes, r->rows,
                           all);
}
#endif

/* ---- resonate: queries and keys hear the phases of their symbols ----------------------------- */

static void wcohi_gpu_resonate_rows(wcohi_gpu_recorder *r, const wcohi_op *op, int shader,
                                    wcohi_gpu_view x, wcohi_gpu_view y)
{
    const wcohi_gpu_view views[4] = {x, wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_param(r, op->param[WCOHI_RESONATE_LAMBDA]), y};
    wcoh_push_resonate push;
    push.count = r->rows * (uint32_t)op->wide_out;
    push.heads = (uint32_t)op->heads;
    push.wide = (uint32_t)op->wide_key;
    push.phases = (uint32_t)op->wide_in;
    push.reals = wcohi_gpu_width(r, op->in2) - 2 * wcohi_gpu_keys(op);
    WCOHI_GPU_DISPATCH(r, shader, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

static void wcohi_gpu_resonate(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_resonate_rows(r, op, WCOH_SPV_RESONATE, wcohi_gpu_data(r, op->in2),
                            wcohi_gpu_data(r, op->out));
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_resonate_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t heads = (uint32_t)op->heads, phases = (uint32_t)op->wide_in;
    wcohi_gpu_view slopes = wcohi_gpu_scratch(r, (size_t)r->rows * heads * phases),
                   dlambda = wcohi_gpu_dparam(r, op->param[WCOHI_RESONATE_LAMBDA]);
    const wcohi_gpu_view views[5] = {wcohi_gpu_ddata(r, op->out), wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_param(r, op->param[WCOHI_RESONATE_LAMBDA]),
                                     wcohi_gpu_ddata(r, op->in), slopes};
    wcoh_push_resonate_back push;
    push.count = r->rows * phases;
    push.heads = heads;
    push.wide = (uint32_t)op->wide_key;
    push.phases = phases;
    push.reals = wcohi_gpu_width(r, op->in2) - 2 * wcohi_gpu_keys(op);
    push.add = (uint32_t)op->add_in;
    wcohi_gpu_resonate_rows(r, op, WCOH_SPV_RESONATE_COPY, wcohi_gpu_ddata(r, op->in2),
                            wcohi_gpu_ddata(r, op->out));
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_RESONATE_BACK, NULL, views, push, wcohi_gpu_groups(push.count),
                       1, 1);
    wcohi_gpu_sum_rows(r, slopes, r->rows * phases, heads, 0, heads, dlambda, 1);
}
#endif

/* ---- blend: y = x + sigma(b) (x2 - x) -------------------------------------------------------- */

static void wcohi_gpu_blend(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[5] = {wcohi_gpu_data(r, op->in), wcohi_gpu_data(r, op->in2),
                                     wcohi_gpu_param(r, op->param[WCOHI_BLEND_SHARE]),
                                     wcohi_gpu_data(r, op->out), r->at->frame};
    wcoh_push_blend push;
    push.width = (uint32_t)op->wide_out;
    push.count = r->rows * push.width;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_BLEND, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_blend_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t width = (uint32_t)op->wide_out;
    wcohi_gpu_view slopes = wcohi_gpu_scratch(r, (size_t)r->rows * width);
    const wcohi_gpu_view views[8] = {wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_data(r, op->in2),
                                     wcohi_gpu_param(r, op->param[WCOHI_BLEND_SHARE]),
                                     wcohi_gpu_ddata(r, op->out),
                                     wcohi_gpu_ddata(r, op->in),
                                     wcohi_gpu_ddata(r, op->in2),
                                     slopes,
                                     r->at->frame};
    wcoh_push_blend push;
    push.width = width;
    push.count = r->rows * width;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_BLEND_BACK, NULL, views, push, wcohi_gpu_groups(push.count), 1,
                       1);
    wcohi_gpu_product_bias(r, wcohi_gpu_dparam(r, op->param[WCOHI_BLEND_SHARE]), slopes, r->rows,
                           width);
}
#endif

/* ======== 2 recording: maestros, oscillators, loss, noise ===================================== */

/* ---- maestro: y = residual + W2 gelu(W1 x + b1) + b2 ----------------------------------------- */

/* Its aux tensor: W1 x + b1, the gelu of that, and a gradient. */
typedef struct wcohi_gpu_narrow {
    wcohi_gpu_view pre, squeezed, gradient; /* [N,M] */
    uint32_t width;                         /* M */
} wcohi_gpu_narrow;

static size_t wcohi_gpu_maestro_aux_count(const wcohi_plan *plan, const wcohi_op *op, size_t rows)
{
    (void)plan;
    return wcohi_mul(3, wcohi_gpu_aux_size(wcohi_mul(rows, (size_t)op->narrow)));
}

static wcohi_gpu_narrow wcohi_gpu_maestro_aux(const wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_narrow n;
    size_t used = 0, count;
    n.width = (uint32_t)op->narrow;
    count = (size_t)r->rows * n.width;
    n.pre = wcohi_gpu_aux(r, op, &used, count);
    n.squeezed = wcohi_gpu_aux(r, op, &used, count);
    n.gradient = wcohi_gpu_aux(r, op, &used, count);
    return n;
}

static void wcohi_gpu_maestro(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_narrow n = wcohi_gpu_maestro_aux(r, op);
    wcohi_gpu_gemm g = wcohi_gpu_product(n.squeezed, wcohi_gpu_data(r, op->in),
                                         wcohi_gpu_param(r, op->param[WCOHI_MAESTRO_SQUEEZE]),
                                         r->rows, n.width, (uint32_t)op->wide_in);
    g.bias = wcohi_gpu_param(r, op->param[WCOHI_MAESTRO_SQUEEZE_BIAS]);
    g.gelu = 1;
    g.pre = n.pre;
    wcohi_gpu_multiply(r, &g);
    g = wcohi_gpu_product(wcohi_gpu_data(r, op->out), n.squeezed,
                          wcohi_gpu_param(r, op->param[WCOHI_MAESTRO_EXPAND]), r->rows,
                          (uint32_t)op->wide_out, n.width);
    g.bias = wcohi_gpu_param(r, op->param[WCOHI_MAESTRO_EXPAND_BIAS]);
    g.residual = wcohi_gpu_data(r, op->in2);
    wcohi_gpu_multiply(r, &g);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_maestro_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_narrow n = wcohi_gpu_maestro_aux(r, op);
    uint32_t out = (uint32_t)op->wide_out, in = (uint32_t)op->wide_in;
    wcohi_gpu_view g = wcohi_gpu_ddata(r, op->out);
    wcohi_gpu_gemm input = wcohi_gpu_product_back(
        n.gradient, 0, g, wcohi_gpu_param(r, op->param[WCOHI_MAESTRO_EXPAND]), r->rows, out,
        n.width, 1);
    input.slope = 1;
    input.pre = n.pre;
    wcohi_gpu_products_back(r, wcohi_gpu_dparam(r, op->param[WCOHI_MAESTRO_EXPAND]),
                            wcohi_gpu_dparam(r, op->param[WCOHI_MAESTRO_EXPAND_BIAS]), n.squeezed,
                            &input);
    input = wcohi_gpu_product_back(wcohi_gpu_ddata(r, op->in), op->add_in, n.gradient,
                                   wcohi_gpu_param(r, op->param[WCOHI_MAESTRO_SQUEEZE]), r->rows,
                                   n.width, in, 1);
    wcohi_gpu_products_back(r, wcohi_gpu_dparam(r, op->param[WCOHI_MAESTRO_SQUEEZE]),
                            wcohi_gpu_dparam(r, op->param[WCOHI_MAESTRO_SQUEEZE_BIAS]),
                            wcohi_gpu_data(r, op->in), &input);
}
#endif

/* ---- kerr: limiter, offset, oscillators, corrector ------------------------------------------- */

/* Bindings 0..7 and the push constants of every Kerr shader. */
typedef struct wcohi_gpu_kerr_call {
    wcohi_gpu_view views[13];
    wcoh_push_kerr push;
    int rk4;
} wcohi_gpu_kerr_call;

static wcohi_gpu_kerr_call wcohi_gpu_kerr_of(const wcohi_gpu_recorder *r, const wcohi_op *op,
                                             uint32_t chunk)
{
    wcohi_gpu_kerr_call k;
    int i;
    memset(&k, 0, sizeof k);
    k.views[0] = wcohi_gpu_data(r, op->in);
    for (i = 0; i < 6; i++) k.views[1 + i] = wcohi_gpu_param(r, op->param[i]);
    k.views[7] = wcohi_gpu_param(r, op->param[WCOHI_KERR_SEEN]);
    k.rk4 = op->solver == WCOH_SOLVER_RK4;
    k.push.rows = r->rows;
    k.push.bands = (uint32_t)op->wide_in / 2;
    k.push.chunk = chunk;
    k.push.flags = (op->ceiling > 0 ? 1u : 0u) | (op->param[WCOHI_KERR_OFFSET] >= 0 ? 2u : 0u) |
                   (op->param[WCOHI_KERR_CORRECTOR] >= 0 ? 4u : 0u) |
                   (op->param[WCOHI_KERR_SEEN] >= 0 ? 8u : 0u) |
                   (op->param[WCOHI_KERR_WEIGHTS] >= 0 ? 16u : 0u);
    k.push.solver = (uint32_t)op->solver;
    k.push.steps = (uint32_t)op->rk4_steps;
    k.push.ceiling = (float)op->ceiling;
    k.push.time = (float)op->time;
    k.push.add = (uint32_t)op->add_in;
    return k;
}

/* A Kerr shader, which reads and writes the first `count` of the views. */
static void wcohi_gpu_kerr_dispatch(wcohi_gpu_recorder *r, int shader, const wcohi_gpu_kerr_call *k,
                                    uint32_t count, uint32_t x, uint32_t y)
{
    wcohi_gpu_dispatch(r, shader, NULL, k->views, count, &k->push, sizeof k->push, x, y, 1);
}

/* Rows whose planes of K pairs of reals fit into 16 MiB of scratch; at least 1. */
static uint32_t wcohi_gpu_kerr_rows(const wcohi_gpu_recorder *r, uint32_t bands, uint32_t planes)
{
    uint32_t fit = (uint32_t)((1u << 22) / WCOHI_MAX(2 * (size_t)bands * planes, (size_t)1));
    return WCOHI_CLAMP(fit, 1, WCOHI_MIN(r->rows, 65535u));
}

/* The streams' wave memories are added to what a layer's first oscillators are given: into scratch. */
static wcohi_gpu_view wcohi_gpu_recall(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const size_t count = (size_t)r->rows * (size_t)op->wide_in;
    const wcohi_gpu_view views[3] = {wcohi_gpu_data(r, op->in), r->at->waves,
                                     wcohi_gpu_scratch(r, count)};
    wcoh_push_wave_recall push;
    push.count = (uint32_t)count;
    push.width = (uint32_t)op->wide_in;
    push.seq = (uint32_t)r->pass.seq;
    push.wide = (uint32_t)r->plan->keeping.waves;
    push.first = (uint32_t)op->layer * push.width;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_WAVE_RECALL, NULL, views, push, wcohi_gpu_groups(count), 1, 1);
    return views[2];
}

/* What its last oscillators returned is summed up. */
static void wcohi_gpu_impress(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[2] = {wcohi_gpu_data(r, op->out), r->at->impress};
    wcoh_push_wave_impress push;
    push.width = (uint32_t)op->wide_out;
    push.seq = (uint32_t)r->pass.seq;
    push.wide = (uint32_t)r->plan->keeping.waves;
    push.first = (uint32_t)op->layer * push.width;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_WAVE_IMPRESS, NULL, views, push, wcohi_gpu_ceil(push.width, 64),
                       (uint32_t)r->pass.batch, 1);
}

static void wcohi_gpu_oscillate(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_kerr_call k = wcohi_gpu_kerr_of(r, op, 16);
    uint32_t step, planes = 4, bands = k.push.bands;
    k.views[8] = wcohi_gpu_data(r, op->out);
    if (r->plan->keeping.waves && op->edges & WCOHI_EDGE_FIRST)
        k.views[0] = wcohi_gpu_recall(r, op);
    if (!k.rk4) {
        wcohi_gpu_kerr_dispatch(r, WCOH_SPV_KERR, &k, 9, wcohi_gpu_ceil(bands, 64),
                                wcohi_gpu_ceil(r->rows, 16));
        return;
    }
    step = wcohi_gpu_kerr_rows(r, bands, planes);
    k.views[9] = wcohi_gpu_scratch(r, 2 * (size_t)step * bands * planes);
    k.views[10] = wcohi_gpu_param(r, op->param[WCOHI_KERR_WEIGHTS]);
    for (; k.push.first < r->rows; k.push.first += step)
        wcohi_gpu_kerr_dispatch(r, WCOH_SPV_KERR_RK4, &k, 11,
                                WCOHI_MIN(step, r->rows - k.push.first), 1);
}

static void wcohi_gpu_kerr(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_oscillate(r, op);
    if (r->plan->keeping.waves && op->edges & WCOHI_EDGE_LAST) wcohi_gpu_impress(r, op);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_kerr_finish(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view sums,
                                  uint32_t bands)
{
    const wcohi_gpu_view views[7] = {sums,
                                     wcohi_gpu_param(r, op->param[WCOHI_KERR_GAMMA]),
                                     wcohi_gpu_dparam(r, op->param[WCOHI_KERR_GAMMA]),
                                     wcohi_gpu_dparam(r, op->param[WCOHI_KERR_OMEGA]),
                                     wcohi_gpu_dparam(r, op->param[WCOHI_KERR_ALPHA]),
                                     wcohi_gpu_dparam(r, op->param[WCOHI_KERR_BETA]),
                                     wcohi_gpu_dparam(r, op->param[WCOHI_KERR_CORRECTOR])};
    wcoh_push_kerr_finish push;
    push.bands = bands;
    push.time = (float)op->time;
    push.flags =
        (views[2].bytes ? 1u : 0u) | (views[3].bytes ? 2u : 0u) | (views[6].bytes ? 4u : 0u);
    if (push.flags) WCOHI_GPU_DISPATCH(r, WCOH_SPV_KERR_FINISH, NULL, views, push, 1, 1, 1);
}

/* RK4: stretches of rows, each adding to the sums, which learnt weights stand behind. */
static void wcohi_gpu_kerr_rk4_back(wcohi_gpu_recorder *r, const wcohi_op *op,
                                    wcohi_gpu_kerr_call *k)
{
    uint32_t bands = k->push.bands, planes = 12 + k->push.steps,
             wide = 5 * bands + (op->param[WCOHI_KERR_WEIGHTS] >= 0 ? 4 : 0),
             step = wcohi_gpu_kerr_rows(r, bands, planes), count;
    wcohi_gpu_view sums = wcohi_gpu_scratch(r, wide);
    size_t top;
    k->views[10] = wcohi_gpu_scratch(r, (size_t)step * wide);
    k->views[11] = wcohi_gpu_scratch(r, 2 * (size_t)step * bands * planes);
    k->views[12] = wcohi_gpu_param(r, op->param[WCOHI_KERR_WEIGHTS]);
    top = r->scratch;
    for (; k->push.first < r->rows; k->push.first += step) {
        count = WCOHI_MIN(step, r->rows - k->push.first);
        r->scratch = top;
        wcohi_gpu_kerr_dispatch(r, WCOH_SPV_KERR_RK4_BACK, k, 13, count, 1);
        wcohi_gpu_sum_rows(r, k->views[10], count, wide, 0, wide, sums, k->push.first > 0);
    }
    wcohi_gpu_kerr_finish(r, op, sums, bands);
    wcohi_gpu_sum_rows(r, sums, 1, wide, 5 * bands, 4,
                       wcohi_gpu_dparam(r, op->param[WCOHI_KERR_WEIGHTS]), 1);
}

/* The magnitudes that gain control goes by: mean, mean square and share of those that count. */
static void wcohi_gpu_kerr_see(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t count = r->rows * (uint32_t)op->wide_in / 2, chunk = 4096,
             chunks = wcohi_gpu_ceil(count, chunk);
    wcohi_gpu_view partial = wcohi_gpu_later(r, 3 * (size_t)chunks);
    const wcohi_gpu_view views[2] = {wcohi_gpu_data(r, op->in), partial};
    wcohi_gpu_segment sum = wcohi_gpu_segment_of(chunks, 3, 0, 3);
    wcoh_push_kerr_see push;
    push.count = count;
    push.chunk = chunk;
    push.ceiling = (float)op->ceiling;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_KERR_SEE, NULL, views, push, chunks, 1, 1);
    sum.scale = 1 / (float)count;
    wcohi_gpu_later_segment(r, sum, partial, wcohi_gpu_dparam(r, op->param[WCOHI_KERR_SEEN]),
                            wcohi_gpu_absent);
}

/* Shares [chunks,5,K] of sums over rows, as kerr_finish.comp has them, to the parameters' gradients. */
static void wcohi_gpu_kerr_later(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view partial,
                                 uint32_t chunks, uint32_t bands)
{
    static const int own[] = {WCOHI_KERR_GAMMA, WCOHI_KERR_OMEGA, WCOHI_KERR_CORRECTOR,
                              WCOHI_KERR_ALPHA, WCOHI_KERR_BETA};
    uint32_t i;
    for (i = 0; i < 5; i++) {
        wcohi_gpu_segment sum = wcohi_gpu_segment_of(chunks, 5 * bands, i * bands, bands);
        if (i != 2) sum.scale = (float)op->time;
        if (i >= 3) { /* one number, of all bands */
            sum.rows *= bands;
            sum.inner = bands;
            sum.n = 1;
        }
        wcohi_gpu_later_segment(r, sum, partial, wcohi_gpu_dparam(r, op->param[own[i]]),
                                i ? wcohi_gpu_absent : wcohi_gpu_param(r, op->param[own[0]]));
    }
}

static void wcohi_gpu_kerr_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t chunk = 32, chunks = wcohi_gpu_ceil(r->rows, chunk);
    wcohi_gpu_kerr_call k = wcohi_gpu_kerr_of(r, op, chunk);
    uint32_t bands = k.push.bands;
    k.views[8] = wcohi_gpu_ddata(r, op->out);
    k.views[9] = wcohi_gpu_ddata(r, op->in);
    if (op->param[WCOHI_KERR_SEEN] >= 0) wcohi_gpu_kerr_see(r, op);
    if (k.rk4) {
        wcohi_gpu_kerr_rk4_back(r, op, &k);
        return;
    }
    k.views[10] = wcohi_gpu_later(r, 5 * (size_t)chunks * bands);
    wcohi_gpu_kerr_dispatch(r, WCOH_SPV_KERR_BACK, &k, 11, wcohi_gpu_ceil(bands, 64), chunks);
    wcohi_gpu_kerr_later(r, op, k.views[10], chunks, bands);
}
#endif

/* ---- mixing: four-wave mixing ---------------------------------------------------------------- */

static void wcohi_gpu_mixing(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[3] = {wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_param(r, op->param[WCOHI_MIXING_CHI]),
                                     wcohi_gpu_data(r, op->out)};
    wcoh_push_mixing push;
    push.rows = r->rows;
    push.bands = (uint32_t)op->wide_in / 2;
    push.chunk = 16;
    push.time = (float)op->time;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_MIXING, NULL, views, push, wcohi_gpu_ceil(push.bands, 64),
                       wcohi_gpu_ceil(r->rows, push.chunk), 1);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_mixing_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t chunk = 32, chunks = wcohi_gpu_ceil(r->rows, chunk), bands = (uint32_t)op->wide_in / 2;
    wcohi_gpu_view partial = wcohi_gpu_scratch(r, (size_t)chunks * bands);
    const wcohi_gpu_view views[5] = {
        wcohi_gpu_data(r, op->in), wcohi_gpu_param(r, op->param[WCOHI_MIXING_CHI]),
        wcohi_gpu_ddata(r, op->out), wcohi_gpu_ddata(r, op->in), partial};
    wcoh_push_mixing_back push;
    push.rows = r->rows;
    push.bands = bands;
    push.chunk = chunk;
    push.add = (uint32_t)op->add_in;
    push.time = (float)op->time;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_MIXING_BACK, NULL, views, push, wcohi_gpu_ceil(bands, 64),
                       chunks, 1);
    wcohi_gpu_sum_rows(r, partial, chunks * bands, 1, 0, 1,
                       wcohi_gpu_dparam(r, op->param[WCOHI_MIXING_CHI]), 1);
}
#endif

/* ---- per band: y_k = W_k z_k + b_k ----------------------------------------------------------- */

static void wcohi_gpu_per_band(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    const wcohi_gpu_view views[4] = {
        wcohi_gpu_data(r, op->in), wcohi_gpu_param(r, op->param[WCOHI_PER_BAND_WEIGHT]),
        wcohi_gpu_param(r, op->param[WCOHI_PER_BAND_BIAS]), wcohi_gpu_data(r, op->out)};
    wcoh_push_per_band push;
    push.bands = (uint32_t)op->wide_in / 2;
    push.count = r->rows * push.bands;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_PER_BAND, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gpu_per_band_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t bands = (uint32_t)op->wide_in / 2, chunk = 32, chunks = wcohi_gpu_ceil(r->rows, chunk);
    wcohi_gpu_view partial = wcohi_gpu_later(r, 6 * (size_t)chunks * bands);
    const wcohi_gpu_view views[5] = {wcohi_gpu_ddata(r, op->out), wcohi_gpu_data(r, op->in),
                                     wcohi_gpu_param(r, op->param[WCOHI_PER_BAND_WEIGHT]),
                                     wcohi_gpu_ddata(r, op->in), partial};
    wcoh_push_per_band_back push;
    push.rows = r->rows;
    push.bands = bands;
    push.chunk = chunk;
    push.add = (uint32_t)op->add_in;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_PER_BAND_BACK, NULL, views, push, wcohi_gpu_ceil(bands, 64),
                       chunks, 1);
    wcohi_gpu_later_add(r, partial, chunks, 6 * bands, 0, 4 * bands,
                        wcohi_gpu_dparam(r, op->param[WCOHI_PER_BAND_WEIGHT]));
    wcohi_gpu_later_add(r, partial, chunks, 6 * bands, 4 * bands, 2 * bands,
                        wcohi_gpu_dparam(r, op->param[WCOHI_PER_BAND_BIAS]));
}
#endif

/* ---- logits = scale W h, loss -------------------------------------------------------------------

   Rows are taken in stretches whose logits fit into 64 MiB, so that no [N,V] array exists, and
   within a stretch the whole vocabulary at once, so that no product is made twice. */

#define WCOHI_GPU_LOGITS ((size_t)1 << 24)

/* to [count] = or += scale from, in chunks; partial [chunks], unless absent: sums of from x */
static void wcohi_gpu_logits_scale(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view from,
                                   wcohi_gpu_view x, wcohi_gpu_view to, uint32_t add,
                                   wcohi_gpu_view partial)
{
    const wcohi_gpu_view views[5] = {from, wcohi_gpu_param(r, op->param[WCOHI_LOGITS_SCALE]), x, to,
                                     partial};
    wcoh_push_tied push;
    push.count = r->rows * (uint32_t)op->wide_in;
    push.chunk = 4096;
    push.add = add;
    push.partial_sums = partial.bytes > 0;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_TIED, NULL, views, push, wcohi_gpu_ceil(push.count, push.chunk),
                       1, 1);
}

/* What the logits are made of: the op's input, scaled if the weight is the embedding's. */
static wcohi_gpu_view wcohi_gpu_logits_input(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_view x = wcohi_gpu_data(r, op->in), scaled;
    if (op->param[WCOHI_LOGITS_SCALE] < 0) return x;
    scaled = wcohi_gpu_scratch(r, (size_t)r->rows * (size_t)op->wide_in);
    wcohi_gpu_logits_scale(r, op, x, x, scaled, 0, wcohi_gpu_absent);
    return scaled;
}

static void wcohi_gpu_softmax(wcohi_gpu_recorder *r, wcohi_gpu_view logits, uint32_t first,
                              uint32_t rows, uint32_t vocab, uint32_t gradient)
{
    const wcohi_gpu_view views[4] = {logits, r->at->targets, r->at->nats, r->at->frame};
    wcoh_push_softmax push;
    push.rows = rows;
    push.first = first;
    push.vocab = vocab;
    push.gradient = gradient;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_SOFTMAX, NULL, views, push, wcohi_gpu_row_groups(rows), 1, 1);
}

static void wcohi_gpu_loss(wcohi_gpu_recorder *r)
{
    const wcohi_gpu_view views[2] = {r->at->nats, r->at->result};
    wcoh_push_loss push;
    push.n = r->rows;
    push.add = (uint32_t)r->pass.add;
    push.gradient = (uint32_t)r->pass.backward;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_LOSS, NULL, views, push, 1, 1, 1);
}

/* [V,D] of which the logits are products: of WAVE_DECODE it is made anew, in scratch. */
static wcohi_gpu_view wcohi_gpu_logits_table(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_view table;
    if (op->param[WCOHI_LOGITS_PHASES] < 0)
        return wcohi_gpu_param(r, op->param[WCOHI_LOGITS_WEIGHT]);
    table = wcohi_gpu_scratch(r, wcohi_mul((size_t)op->vocab, (size_t)op->wide_in));
    {
        const wcohi_gpu_view views[3] = {wcohi_gpu_param(r, op->param[WCOHI_LOGITS_PHASES]),
                                         wcohi_gpu_param(r, op->param[WCOHI_LOGITS_BANDS]), table};
        wcoh_push_phase_table push;
        push.bands = (uint32_t)op->wide_in / 2;
        push.count = (uint32_t)op->vocab * push.bands;
        WCOHI_GPU_DISPATCH(r, WCOH_SPV_PHASE_TABLE, NULL, views, push, wcohi_gpu_groups(push.count),
                           1, 1);
    }
    return table;
}

/* Rows of a stretch. */
static uint32_t wcohi_gpu_logits_step(const wcohi_gpu_recorder *r, uint32_t vocab)
{
    size_t fit = WCOHI_MAX(WCOHI_GPU_LOGITS / vocab / 64 * 64, (size_t)64);
    return (uint32_t)WCOHI_MIN((size_t)r->rows, fit);
}

/* Rows first .. first+count-1 of an array [N,D] of the op's input width. */
static wcohi_gpu_view wcohi_gpu_stretch(const wcohi_op *op, wcohi_gpu_view whole, uint32_t first,
                                        uint32_t count)
{
    size_t row = (size_t)op->wide_in * sizeof(float);
    return wcohi_gpu_part(whole, first * row, count * row);
}

/* logits [count,V] of rows x [count,D], whose losses go to the rows first .. of nats; gradient: the
   logits become their own gradient */
static void wcohi_gpu_logits_stretch(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view x,
                                     wcohi_gpu_view table, wcohi_gpu_view logits, uint32_t first,
                                     uint32_t count, uint32_t gradient)
{
    uint32_t vocab = (uint32_t)op->vocab;
    wcohi_gpu_gemm g = wcohi_gpu_product(logits, x, table, count, vocab, (uint32_t)op->wide_in);
    wcohi_gpu_multiply(r, &g);
    wcohi_gpu_softmax(r, logits, first, count, vocab, gradient);
}

/* Loss of all rows. */
static void wcohi_gpu_logits_loss(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view x,
                                  wcohi_gpu_view table)
{
    uint32_t vocab = (uint32_t)op->vocab, step = wcohi_gpu_logits_step(r, vocab), first, count;
    wcohi_gpu_view logits = wcohi_gpu_scratch(r, (size_t)step * vocab);
    for (first = 0; first < r->rows; first += count) {
        count = WCOHI_MIN(step, r->rows - first);
        wcohi_gpu_logits_stretch(r, op, wcohi_gpu_stretch(op, x, first, count), table, logits,
                                 first, count, 0);
    }
    wcohi_gpu_loss(r);
}

/* Logits of the last row of each member (of one member, or of one row each) and the row itself for
   the host; the loss where no backward follows. */
static void wcohi_gpu_logits(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    uint32_t wide = (uint32_t)op->wide_in, batch = (uint32_t)r->pass.batch;
    wcohi_gpu_view x, table;
    wcohi_gpu_gemm g;
    if (!r->pass.logits && (!r->pass.loss || r->pass.backward)) return;
    x = wcohi_gpu_logits_input(r, op);
    table = wcohi_gpu_logits_table(r, op);
    if (r->pass.logits) {
        wcohi_gpu_view rows = wcohi_gpu_data(r, op->in2), last = r->at->hidden;
        r->table->copy(r, last, wcohi_gpu_part(rows, rows.bytes - last.bytes, last.bytes));
        g = wcohi_gpu_product(r->at->logits, x, table, batch, (uint32_t)op->vocab, wide);
        g.first_a = (r->rows - batch) * wide;
        wcohi_gpu_multiply(r, &g);
    }
    if (r->pass.loss && !r->pass.backward) wcohi_gpu_logits_loss(r, op, x, table);
}

#ifndef WAVECOH_NO_TRAINING
/* dphases and dbands += what dtable [V,D] makes of them. */
static void wcohi_gpu_phase_table_back(wcohi_gpu_recorder *r, const wcohi_op *op,
                                       wcohi_gpu_view dtable)
{
    uint32_t chunk = WCOHI_MAX(64u, (uint32_t)op->vocab / 1024);
    uint32_t chunks = wcohi_gpu_ceil((uint32_t)op->vocab, chunk);
    wcohi_gpu_view dphases = wcohi_gpu_dparam(r, op->param[WCOHI_LOGITS_PHASES]),
                   dbands = wcohi_gpu_dparam(r, op->param[WCOHI_LOGITS_BANDS]), partial;
    wcoh_push_phase_table_back push;
    push.vocab = (uint32_t)op->vocab;
    push.bands = (uint32_t)op->wide_in / 2;
    push.chunk = chunk;
    push.trained = dphases.bytes > 0;
    partial = wcohi_gpu_scratch(r, wcohi_mul(chunks, push.bands));
    {
        const wcohi_gpu_view views[5] = {wcohi_gpu_param(r, op->param[WCOHI_LOGITS_PHASES]),
                                         wcohi_gpu_param(r, op->param[WCOHI_LOGITS_BANDS]), dtable,
                                         dphases, partial};
        WCOHI_GPU_DISPATCH(r, WCOH_SPV_PHASE_TABLE_BACK, NULL, views, push,
                           wcohi_gpu_ceil(push.bands, 64), chunks, 1);
    }
    wcohi_gpu_sum_rows(r, partial, chunks, push.bands, 0, push.bands, dbands, 1);
}

/* Where the table's gradient is added: that of WAVE_DECODE becomes its parameters'. */
static wcohi_gpu_view wcohi_gpu_logits_dtable(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_view dtable = wcohi_gpu_dparam(r, op->param[WCOHI_LOGITS_WEIGHT]);
    if (op->param[WCOHI_LOGITS_PHASES] < 0) return dtable;
    dtable = wcohi_gpu_scratch(r, wcohi_mul((size_t)op->vocab, (size_t)op->wide_in));
    r->table->zero(r, dtable);
    return dtable;
}

/* Loss, dx and dW of all rows; x is what the logits are made of, dx its gradient. */
static void wcohi_gpu_logits_loss_back(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view x,
                                       wcohi_gpu_view dx, int add)
{
    uint32_t vocab = (uint32_t)op->vocab, wide = (uint32_t)op->wide_in,
             step = wcohi_gpu_logits_step(r, vocab), first, count;
    wcohi_gpu_view table = wcohi_gpu_logits_table(r, op), dtable = wcohi_gpu_logits_dtable(r, op),
                   logits = wcohi_gpu_scratch(r, (size_t)step * vocab);
    size_t top = r->scratch;
    for (first = 0; first < r->rows; first += count) {
        wcohi_gpu_view xs, dxs;
        wcohi_gpu_gemm input;
        count = WCOHI_MIN(step, r->rows - first);
        xs = wcohi_gpu_stretch(op, x, first, count);
        dxs = wcohi_gpu_stretch(op, dx, first, count);
        r->scratch = top;
        wcohi_gpu_logits_stretch(r, op, xs, table, logits, first, count, 1);
        input = wcohi_gpu_product_back(dxs, add, logits, table, count, vocab, wide, 1);
        wcohi_gpu_products_back(r, dtable, wcohi_gpu_absent, xs, &input);
    }
    if (op->param[WCOHI_LOGITS_PHASES] >= 0) wcohi_gpu_phase_table_back(r, op, dtable);
    wcohi_gpu_loss(r);
}

static void wcohi_gpu_logits_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_view x = wcohi_gpu_data(r, op->in), dx = wcohi_gpu_ddata(r, op->in), scaled, dscaled,
                   dscale = wcohi_gpu_dparam(r, op->param[WCOHI_LOGITS_SCALE]),
                   partial = wcohi_gpu_absent;
    uint32_t count = r->rows * (uint32_t)op->wide_in, chunks = wcohi_gpu_ceil(count, 4096);
    if (op->param[WCOHI_LOGITS_SCALE] < 0) {
        wcohi_gpu_logits_loss_back(r, op, x, dx, op->add_in);
        return;
    }
    scaled = wcohi_gpu_logits_input(r, op);
    dscaled = wcohi_gpu_scratch(r, count);
    wcohi_gpu_logits_loss_back(r, op, scaled, dscaled, 0);
    if (dscale.bytes) partial = wcohi_gpu_scratch(r, chunks);
    wcohi_gpu_logits_scale(r, op, dscaled, x, dx, (uint32_t)op->add_in, partial);
    wcohi_gpu_sum_rows(r, partial, chunks, 1, 0, 1, dscale, 1);
}

/* ---- dropout: y = x m (+ residual) ----------------------------------------------------------- */

/* add: 1 to += , 2 residual too */
static void wcohi_gpu_drop(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view to,
                           wcohi_gpu_view residual, wcohi_gpu_view from, uint32_t add)
{
    const wcohi_gpu_view views[4] = {from, residual, to, r->at->frame};
    wcohi_noise noise;
    wcoh_push_dropout push;
    memset(&noise, 0, sizeof noise);
    noise.on = r->pass.noise;
    push.width = (uint32_t)op->wide_in;
    push.count = r->rows * push.width;
    push.seq = (uint32_t)r->pass.seq;
    push.stream = op->stream;
    push.drop = wcohi_noise_drop(&noise, op->rate);
    push.scale = (float)wcohi_noise_scale(&noise, op->rate);
    push.add = add;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_DROPOUT, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

static void wcohi_gpu_dropout(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_drop(r, op, wcohi_gpu_data(r, op->out), wcohi_gpu_data(r, op->in2),
                   wcohi_gpu_data(r, op->in), op->in2 < 0 ? 0 : 2);
}

static void wcohi_gpu_dropout_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_drop(r, op, wcohi_gpu_ddata(r, op->in), wcohi_gpu_absent, wcohi_gpu_ddata(r, op->out),
                   op->add_in ? 1 : 0);
}

/* ---- phases: pairs turned by random angles --------------------------------------------------- */

static void wcohi_gpu_turn(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view to,
                           wcohi_gpu_view from, double sign, int add)
{
    const wcohi_gpu_view views[3] = {from, to, r->at->frame};
    wcoh_push_phases push;
    push.width = (uint32_t)op->wide_in;
    push.count = r->rows * push.width;
    push.turned = r->pass.noise ? (uint32_t)op->column : 0;
    push.seq = (uint32_t)r->pass.seq;
    push.stream = op->stream;
    push.deviation = (float)(sign * WCOHI_ROOT_6 * op->rate);
    push.add = (uint32_t)add;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_PHASES, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

static void wcohi_gpu_phases(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_turn(r, op, wcohi_gpu_data(r, op->out), wcohi_gpu_data(r, op->in), 1, 0);
}

static void wcohi_gpu_phases_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_turn(r, op, wcohi_gpu_ddata(r, op->in), wcohi_gpu_ddata(r, op->out), -1, op->add_in);
}

/* ---- opening: what the soft curriculum lets through ------------------------------------------ */

static void wcohi_gpu_open(wcohi_gpu_recorder *r, const wcohi_op *op, wcohi_gpu_view to,
                           wcohi_gpu_view from, int add)
{
    const wcohi_gpu_view views[3] = {from, to, r->at->frame};
    wcoh_push_opening push;
    push.width = (uint32_t)op->wide_in;
    push.count = r->rows * push.width;
    push.add = (uint32_t)add;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_OPENING, NULL, views, push, wcohi_gpu_groups(push.count), 1, 1);
}

static void wcohi_gpu_opening(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_open(r, op, wcohi_gpu_data(r, op->out), wcohi_gpu_data(r, op->in), 0);
}

static void wcohi_gpu_opening_back(wcohi_gpu_recorder *r, const wcohi_op *op)
{
    wcohi_gpu_open(r, op, wcohi_gpu_ddata(r, op->in), wcohi_gpu_ddata(r, op->out), op->add_in);
}

#endif

/* ======== 2 recording: the optimisers ========================================================= */

#ifndef WAVECOH_NO_TRAINING
#define WCOHI_GPU_SQUARES 16384u /* reals that one workgroup of sum_squares takes */

static void wcohi_gpu_sum_squares(wcohi_gpu_recorder *r, wcohi_gpu_view partial, uint32_t count)
{
    const wcohi_gpu_view views[5] = {r->at->gradient, partial, r->at->moment1, r->at->rules,
                                     r->at->frame};
    wcoh_push_sum_squares push;
    push.count = count;
    push.chunk = WCOHI_GPU_SQUARES;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_SUM_SQUARES, NULL, views, push,
                       wcohi_gpu_ceil(count, WCOHI_GPU_SQUARES), 1, 1);
}

static void wcohi_gpu_clip(wcohi_gpu_recorder *r, wcohi_gpu_view partial, uint32_t count)
{
    const wcohi_gpu_view views[3] = {partial, r->at->result, r->at->frame};
    wcoh_push_clip push;
    push.count = count;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_CLIP, NULL, views, push, 1, 1, 1);
}

static void wcohi_gpu_adamw(wcohi_gpu_recorder *r, uint32_t count)
{
    const wcohi_gpu_layout *at = r->at;
    const wcohi_gpu_view params = wcohi_gpu_part(at->params, 0, at->gradient.bytes);
    const wcohi_gpu_view views[7] = {params,    at->moment1, at->moment2, at->gradient,
                                     at->rules, at->result,  at->frame};
    wcoh_push_adamw push;
    push.count = count;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_ADAMW, NULL, views, push, wcohi_gpu_groups(count), 1, 1);
}

#define WCOHI_GPU_MATRICES ((size_t)1 << 22) /* reals of Muon's matrices that are made at once */

/* Muon's matrices of one shape, one behind the other: X and what it becomes [R,C], X X^T and its
   square [n,n]. Matrices lie so that n, the shorter side, is that of the products. */
typedef struct wcohi_gpu_matrices {
    uint32_t rows, columns, side, count;
    wcohi_gpu_view x, next, gram, square;
} wcohi_gpu_matrices;

static void wcohi_gpu_muon_mix(wcohi_gpu_recorder *r, const wcohi_param_row *row, wcohi_gpu_view x,
                               uint32_t to)
{
    const wcohi_gpu_layout *at = r->at;
    const wcohi_gpu_view views[5] = {x, at->moment1, at->gradient, at->result, at->frame};
    wcoh_push_muon_mix push;
    push.count = (uint32_t)row->count;
    push.from = (uint32_t)row->offset;
    push.to = to;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_MUON_MIX, NULL, views, push, wcohi_gpu_groups(row->count), 1, 1);
}

static void wcohi_gpu_muon_step(wcohi_gpu_recorder *r, const wcohi_param_row *row, wcohi_gpu_view x,
                                uint32_t to)
{
    const wcohi_gpu_layout *at = r->at;
    const wcohi_gpu_view params = wcohi_gpu_part(at->params, 0, at->gradient.bytes);
    const wcohi_gpu_view views[7] = {params,    at->moment1, x,        at->gradient,
                                     at->rules, at->result,  at->frame};
    wcoh_push_muon_step push;
    push.count = (uint32_t)row->count;
    push.from = (uint32_t)row->offset;
    push.to = to;
    push.size = (float)wcohi_muon_size(row);
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_MUON_STEP, NULL, views, push, wcohi_gpu_groups(row->count), 1,
                       1);
}

static void wcohi_gpu_muon_norm(wcohi_gpu_recorder *r, const wcohi_gpu_matrices *m)
{
    const wcohi_gpu_view views[1] = {m->x};
    wcoh_push_muon_norm push;
    push.matrices = m->count;
    push.count = m->rows * m->columns;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_MUON_NORM, NULL, views, push, wcohi_gpu_row_groups(m->count), 1,
                       1);
}

/* A product of every matrix, whose arrays are without gaps. */
static void wcohi_gpu_muon_product(wcohi_gpu_recorder *r, const wcohi_gpu_matrices *m,
                                   wcohi_gpu_gemm *g)
{
    g->lda = g->ta ? g->m : g->k;
    g->ldb = g->tb ? g->k : g->n;
    g->ldc = g->n;
    g->groups = m->count;
    g->group_a = g->m * g->k;
    g->group_b = g->k * g->n;
    g->group_c = g->m * g->n;
    wcohi_gpu_multiply(r, g);
}

/* X <- (a + b A + c A^2) X, A = X X^T; where X stands upright X (..), A = X^T X. */
static void wcohi_gpu_muon_round(wcohi_gpu_recorder *r, wcohi_gpu_matrices *m)
{
    const int upright = m->rows > m->columns;
    const wcohi_gpu_view views[2] = {m->square, m->gram}, x = m->x;
    wcoh_push_muon_blend push;
    wcohi_gpu_gemm g;
    memset(&g, 0, sizeof g);
    g.m = g.n = m->side;
    g.k = upright ? m->rows : m->columns;
    g.a = g.b = x;
    g.c = m->gram;
    g.ta = upright;
    g.tb = !upright;
    wcohi_gpu_muon_product(r, m, &g);
    g.k = m->side;
    g.a = g.b = m->gram;
    g.c = m->square;
    g.ta = g.tb = 0;
    wcohi_gpu_muon_product(r, m, &g);
    push.count = m->count * m->side * m->side;
    push.n = m->side;
    push.a = (float)WCOHI_MUON_A;
    push.b = (float)WCOHI_MUON_B;
    push.c = (float)WCOHI_MUON_C;
    WCOHI_GPU_DISPATCH(r, WCOH_SPV_MUON_BLEND, NULL, views, push, wcohi_gpu_groups(push.count), 1,
                       1);
    g.m = m->rows;
    g.n = m->columns;
    g.a = upright ? x : m->square;
    g.b = upright ? m->square : x;
    g.c = m->next;
    wcohi_gpu_muon_product(r, m, &g);
    m->x = m->next;
    m->next = x;
}

static int wcohi_gpu_same_shape(const wcohi_param_row *a, const wcohi_param_row *b)
{
    wcohi_matrix x, y;
    if (!a->matrices || !b->matrices) return 0;
    x = wcohi_matrix_of(a, 0);
    y = wcohi_matrix_of(b, 0);
    return x.rows == y.rows && x.columns == y.columns;
}

/* Rows of the shape of row `first` from there on, as many as are made at once, at least one: their
   matrices, and the row behind the last of them. */
static uint32_t wcohi_gpu_muon_gather(const wcohi_plan *plan, int first, int *end)
{
    size_t reals = 0;
    uint32_t matrices = 0;
    int i;
    for (i = *end = first; i < plan->row_count; i++) {
        const wcohi_param_row *row = &plan->rows[i];
        if (!wcohi_gpu_same_shape(row, &plan->rows[first])) continue;
        if (matrices && reals + row->count > WCOHI_GPU_MATRICES) break;
        reals += row->count;
        matrices += (uint32_t)row->matrices;
        *end = i + 1;
    }
    return matrices;
}

/* Steps of the rows like `first` up to `end`. */
static void wcohi_gpu_muon_rows(wcohi_gpu_recorder *r, int first, int end, uint32_t matrices)
{
    const wcohi_param_row *rows = r->plan->rows;
    const wcohi_matrix shape = wcohi_matrix_of(&rows[first], 0);
    wcohi_gpu_matrices m;
    uint32_t to = 0;
    int i, round;
    m.rows = (uint32_t)shape.rows;
    m.columns = (uint32_t)shape.columns;
    m.side = WCOHI_MIN(m.rows, m.columns);
    m.count = matrices;
    m.x = wcohi_gpu_scratch(r, (size_t)matrices * m.rows * m.columns);
    m.next = wcohi_gpu_scratch(r, (size_t)matrices * m.rows * m.columns);
    m.gram = wcohi_gpu_scratch(r, (size_t)matrices * m.side * m.side);
    m.square = wcohi_gpu_scratch(r, (size_t)matrices * m.side * m.side);
    for (i = first; i < end; i++) {
        if (!wcohi_gpu_same_shape(&rows[i], &rows[first])) continue;
        wcohi_gpu_muon_mix(r, &rows[i], m.x, to);
        to += (uint32_t)rows[i].count;
    }
    wcohi_gpu_muon_norm(r, &m);
    for (round = 0; round < WCOHI_MUON_ROUNDS; round++) wcohi_gpu_muon_round(r, &m);
    for (i = first, to = 0; i < end; i++) {
        if (!wcohi_gpu_same_shape(&rows[i], &rows[first])) continue;
        wcohi_gpu_muon_step(r, &rows[i], m.x, to);
        to += (uint32_t)rows[i].count;
    }
}

/* Shape by shape, each in the order of the rows. */
static void wcohi_gpu_muon(wcohi_gpu_recorder *r)
{
    const wcohi_plan *plan = r->plan;
    const size_t top = r->scratch;
    uint32_t matrices;
    int i, j, end;
    for (i = 0; i < plan->row_count && !r->result; i++) {
        if (!plan->rows[i].matrices) continue;
        for (j = 0; j < i && !wcohi_gpu_same_shape(&plan->rows[j], &plan->rows[i]);) j++;
        if (j < i) continue; /* not the first of its shape */
        for (; j < plan->row_count; j++) {
            if (!wcohi_gpu_same_shape(&plan->rows[j], &plan->rows[i])) continue;
            r->scratch = top;
            matrices = wcohi_gpu_muon_gather(plan, j, &end);
            wcohi_gpu_muon_rows(r, j, end, matrices);
            j = end - 1;
        }
    }
}

/* Statistics have no gradient: what was seen waits in their moment (wcohi_gradient_freeze). */
static void wcohi_gpu_seen_take(wcohi_gpu_recorder *r)
{
    const wcohi_gpu_layout *at = r->at;
    int i;
    for (i = 0; i < r->plan->row_count; i++) {
        const wcohi_param_row *row = &r->plan->rows[i];
        size_t from = row->offset * sizeof(float), bytes = row->count * sizeof(float);
        if (!row->seen) continue;
        r->table->copy(r, wcohi_gpu_part(at->moment1, from, bytes),
                       wcohi_gpu_part(at->gradient, from, bytes));
        r->table->zero(r, wcohi_gpu_part(at->gradient, from, bytes));
    }
}

static void wcohi_gpu_seen_add(wcohi_gpu_recorder *r)
{
    const wcohi_gpu_layout *at = r->at;
    const wcohi_gpu_view params = wcohi_gpu_part(at->params, 0, at->gradient.bytes);
    const wcohi_gpu_view views[3] = {params, at->moment1, at->result};
    wcoh_push_seen_row push;
    int i;
    for (i = 0; i < r->plan->row_count; i++) {
        if (!r->plan->rows[i].seen) continue;
        push.at = (uint32_t)r->plan->rows[i].offset;
        WCOHI_GPU_DISPATCH(r, WCOH_SPV_SEEN, NULL, views, push, 1, 1, 1);
    }
}

/* Clip and the optimiser over the trained parameters, unless norm or loss is not finite. */
static void wcohi_gpu_update(wcohi_gpu_recorder *r)
{
    uint32_t count = (uint32_t)(r->at->gradient.bytes / sizeof(float)),
             chunks = wcohi_gpu_ceil(count, WCOHI_GPU_SQUARES);
    wcohi_gpu_view partial = wcohi_gpu_scratch(r, 4 * (size_t)chunks);
    wcohi_gpu_seen_take(r);
    wcohi_gpu_sum_squares(r, partial, count);
    wcohi_gpu_clip(r, partial, chunks);
    wcohi_gpu_adamw(r, count);
    wcohi_gpu_seen_add(r);
    if (r->plan->muon) wcohi_gpu_muon(r);
}
#endif

#ifndef WAVECOH_NO_TRAINING
/* ---- activations in half floats ---------------------------------------------------------------

   Between the last op of the forward that reads a tensor and the first of the backward that does, its
   values stand in half floats (halve.comp), in a tensor of their own; the backward reads a third one,
   widened when it is first needed. Ops know nothing of it, forward and losses keep their bits. Of each
   op that is what has rows and columns, and what gelu had; what backward sums in high precision stays
   float: statistics of norms, depths and logarithms of attention, gradients. Half floats, not
   bfloat16: activations are far from 65504, and 11 bits are off by 5e-4 where 8 are by 4e-3. */

/* 1 if the halved life of a tensor may begin: it outlives the forward. */
static int wcohi_gpu_halves_may(const wcohi_plan *plan, const wcohi_tensor *t)
{
    return t->count && t->first < plan->count && t->last >= plan->count;
}

/* Two tensors more for one whose values are halved: in halves, and widened. */
static void wcohi_gpu_halves_add(wcohi_plan *plan, int *halves, int tensor)
{
    wcohi_tensor *half = &plan->tensors[plan->tensor_count];
    if (tensor < 0 || halves[tensor] >= 0 || !wcohi_gpu_halves_may(plan, &plan->tensors[tensor]))
        return;
    halves[tensor] = plan->tensor_count;
    half[0] = half[1] = plan->tensors[tensor];
    half[0].last = INT_MAX;
    plan->tensor_count += 2;
}

/* An op uses a tensor at this time: halves live from the last such time of the forward to the first
   of the backward. */
static void wcohi_gpu_halves_use(const wcohi_plan *plan, const int *halves, int tensor, int time)
{
    wcohi_tensor *half;
    if (tensor < 0 || halves[tensor] < 0) return;
    half = &plan->tensors[halves[tensor]];
    if (time < plan->count) half->first = WCOHI_MAX(half->first, time);
    else half->last = WCOHI_MIN(half->last, time);
}

/* Gates go through in products beside them: what makes a gate's number is read when the gate is, and
   what a gate reads an op sooner on the way back. */
static void wcohi_gpu_halves_gate(const wcohi_plan *plan, const int *halves, int gate)
{
    const wcohi_op *op = &plan->ops[gate];
    int i;
    if (op->kind != WCOHI_GATE) return;
    for (i = gate - 1; i >= 0 && gate - i <= WCOHI_GPU_GATE_REACH; i--)
        if (plan->ops[i].out == op->in) wcohi_gpu_halves_use(plan, halves, plan->ops[i].in, gate);
    for (i = 0; i < 2; i++)
        wcohi_gpu_halves_use(plan, halves, i ? op->in2 : op->in,
                             WCOHI_MAX(2 * plan->count - 2 - gate, plan->count));
}

/* The three lives of a tensor; one whose halves would live for no op between stays whole. */
static void wcohi_gpu_halves_live(const wcohi_plan *plan, int *halves, int tensor)
{
    wcohi_tensor *whole = &plan->tensors[tensor], *half = whole;
    if (halves[tensor] < 0) return;
    half = &plan->tensors[halves[tensor]];
    if (half[0].last - half[0].first < 2) {
        half[0].first = half[1].first = INT_MAX; /* never born */
        half[0].last = half[1].last = -1;
        halves[tensor] = -1;
        return;
    }
    half[0].count = wcohi_gpu_aux_size(whole->count / 2);
    half[1].first = half[0].last;
    whole->last = half[0].first;
}

/* Link the tensors anew in the order in which they are born, and in that in which they die. */
static void wcohi_gpu_halves_order(wcohi_plan *plan)
{
    int *born = &plan->born, *dying = &plan->dying, time, i;
    for (time = 0; time < 2 * plan->count; time++)
        for (i = 0; i < plan->tensor_count; i++) {
            wcohi_tensor *t = &plan->tensors[i];
            if (t->last < 0) continue; /* nothing uses it */
            if (t->first == time) *born = i, born = &t->born_next;
            if (t->last == time) *dying = i, dying = &t->dying_next;
        }
    *born = *dying = -1;
}

/* halves [3 times the tensors of the plan]: where the halves of each stand, -1: they do not. */
static void wcohi_gpu_halves_plan(wcohi_plan *plan, int *halves)
{
    int count = plan->tensor_count, i, j, time, uses[WCOHI_USES];
    for (i = 0; i < 3 * count; i++) halves[i] = -1;
    for (i = 0; i < plan->count; i++) {
        const wcohi_op *op = &plan->ops[i];
        wcohi_gpu_halves_add(plan, halves, op->in);
        wcohi_gpu_halves_add(plan, halves, op->in2);
        wcohi_gpu_halves_add(plan, halves, op->out);
        if (op->kind == WCOHI_LINEAR) wcohi_gpu_halves_add(plan, halves, op->aux);
    }
    for (time = 0; time < 2 * plan->count; time++) {
        wcohi_plan_uses(plan, time, uses);
        for (j = 0; j < WCOHI_USES; j++) wcohi_gpu_halves_use(plan, halves, uses[j], time);
    }
    for (i = 0; i < plan->count; i++) wcohi_gpu_halves_gate(plan, halves, i);
    for (i = 0; i < count; i++) wcohi_gpu_halves_live(plan, halves, i);
    wcohi_gpu_halves_order(plan);
}

/* What the forward is done with at this time is halved; what the backward begins with is widened. */
static void wcohi_gpu_halve(wcohi_gpu_recorder *r, int time)
{
    const wcohi_tensor *tensors = r->plan->tensors;
    int i;
    for (i = 0; r->halves && r->pass.backward && i < r->plan->tensor_count; i++) {
        int half = r->halves[i];
        wcohi_gpu_view views[2];
        wcoh_push_halve push;
        if (half < 0 || time != (r->back ? tensors[half].last : tensors[half].first)) continue;
        push.count = (uint32_t)(tensors[i].count / 8);
        views[r->back] = wcohi_gpu_part(r->at->activations,
                                        tensors[r->back ? half + 1 : i].offset * sizeof(float),
                                        push.count * 8 * sizeof(float));
        views[!r->back] = wcohi_gpu_part(r->at->activations, tensors[half].offset * sizeof(float),
                                         push.count * 4 * sizeof(float));
        WCOHI_GPU_DISPATCH(r, r->back ? WCOH_SPV_WIDEN : WCOH_SPV_HALVE, NULL, views, push,
                           wcohi_gpu_groups(push.count), 1, 1);
    }
}
#endif

/* ======== 2 recording: a pass ================================================================= */

typedef struct wcohi_gpu_op {
    void (*forward)(wcohi_gpu_recorder *r, const wcohi_op *op);
#ifndef WAVECOH_NO_TRAINING
    void (*backward)(wcohi_gpu_recorder *r, const wcohi_op *op);
#endif
    /* Reals of the aux tensor of a pass of at most `rows`; NULL: as many as on the CPU. */
    size_t (*aux_count)(const wcohi_plan *plan, const wcohi_op *op, size_t rows);
} wcohi_gpu_op;

#ifdef WAVECOH_NO_TRAINING
#define WCOHI_GPU_OP(forward, backward, aux_count)                                                 \
    {                                                                                              \
        forward, aux_count                                                                         \
    }
#else
#define WCOHI_GPU_OP(forward, backward, aux_count)                                                 \
    {                                                                                              \
        forward, backward, aux_count                                                               \
    }
#endif

/* In the order of wcohi_kind. */
static const wcohi_gpu_op wcohi_gpu_ops[] = {
    WCOHI_GPU_OP(wcohi_gpu_embed, wcohi_gpu_embed_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_norm, wcohi_gpu_norm_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_rms, wcohi_gpu_rms_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_linear, wcohi_gpu_linear_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_gate, wcohi_gpu_gate_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_taps, wcohi_gpu_taps_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_coherence, wcohi_gpu_coherence_back, wcohi_gpu_coherence_aux_count),
    WCOHI_GPU_OP(wcohi_gpu_dot, wcohi_gpu_dot_back, wcohi_gpu_dot_aux_count),
    WCOHI_GPU_OP(wcohi_gpu_polar, wcohi_gpu_polar_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_resonate, wcohi_gpu_resonate_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_blend, wcohi_gpu_blend_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_maestro, wcohi_gpu_maestro_back, wcohi_gpu_maestro_aux_count),
    WCOHI_GPU_OP(wcohi_gpu_kerr, wcohi_gpu_kerr_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_mixing, wcohi_gpu_mixing_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_per_band, wcohi_gpu_per_band_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_logits, wcohi_gpu_logits_back, NULL),
#ifndef WAVECOH_NO_TRAINING
    WCOHI_GPU_OP(wcohi_gpu_dropout, wcohi_gpu_dropout_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_phases, wcohi_gpu_phases_back, NULL),
    WCOHI_GPU_OP(wcohi_gpu_opening, wcohi_gpu_opening_back, NULL),
#endif
};

/* A negative size: an op of WCOHI_OP_KINDS has no row here. */
typedef char wcohi_gpu_ops_complete[WCOHI_COUNT(wcohi_gpu_ops) == WCOHI_KINDS ? 1 : -1];

/* Ops of times pass.first .. pass.last-1, or the update. */
static void wcohi_gpu_record(wcohi_gpu_recorder *r)
{
    const wcohi_plan *plan = r->plan;
    int time;
#ifndef WAVECOH_NO_TRAINING
    if (r->pass.first < 0) {
        if (r->pass.timed) r->table->mark(r, 0);
        wcohi_gpu_update(r);
        if (r->pass.timed) r->table->mark(r, 1);
        return;
    }
#endif
    for (time = r->pass.first; time < r->pass.last && !r->result; time++) {
        const wcohi_op *op = &plan->ops[time < plan->count ? time : 2 * plan->count - 1 - time];
        r->scratch = 0;
        r->back = time >= plan->count;
        if (r->pass.timed) r->table->mark(r, time - r->pass.first);
        if (time < plan->count) wcohi_gpu_ops[op->kind].forward(r, op);
#ifndef WAVECOH_NO_TRAINING
        if (time == plan->count && !r->pass.add) r->table->zero(r, r->at->gradient);
        wcohi_gpu_halve(r, time);
        if (r->back) wcohi_gpu_ops[op->kind].backward(r, op);
#endif
    }
#ifndef WAVECOH_NO_TRAINING
    wcohi_gpu_later_sum(r);
#endif
    if (r->pass.timed) r->table->mark(r, time - r->pass.first);
}

/* The library's plan with its tensors placed anew: aux sizes and alignment of these recordings; halves
   [3 times the tensors, as `tensors`]: see wcohi_gpu_halves_plan; NULL: all stay whole. */
static void wcohi_gpu_plan_adapt(wcohi_plan *adapted, const wcohi_plan *plan, wcohi_tensor *tensors,
                                 int *halves)
{
    size_t rows = (size_t)plan->batch * (size_t)plan->seq;
    int i;
    *adapted = *plan;
    adapted->tensors = tensors;
    adapted->activations = 0;
    memcpy(tensors, plan->tensors, (size_t)plan->tensor_count * sizeof *tensors);
    for (i = 0; i < plan->count; i++) {
        const wcohi_op *op = &plan->ops[i];
        if (op->aux >= 0 && wcohi_gpu_ops[op->kind].aux_count)
            tensors[op->aux].count = wcohi_gpu_ops[op->kind].aux_count(plan, op, rows);
    }
    for (i = 0; i < plan->tensor_count; i++)
        tensors[i].count = wcohi_gpu_aux_size(tensors[i].count);
#ifndef WAVECOH_NO_TRAINING
    if (halves) wcohi_gpu_halves_plan(adapted, halves);
#else
    (void)halves;
#endif
    wcohi_plan_place(adapted);
}

/* ======== 3 vulkan: loading =================================================================== */

/* Every Vulkan function in use: X(name without vk). Tests inject faults through this table. */
/* clang-format off */
#define WCOHI_VK_GLOBAL(X)                                                                         \
    X(CreateInstance) X(EnumerateInstanceExtensionProperties) X(EnumerateInstanceLayerProperties)
#define WCOHI_VK_INSTANCE(X)                                                                       \
    X(DestroyInstance) X(EnumeratePhysicalDevices) X(GetPhysicalDeviceProperties2)                 \
    X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceMemoryProperties)                             \
    X(GetPhysicalDeviceQueueFamilyProperties) X(EnumerateDeviceExtensionProperties)                \
    X(CreateDevice) X(GetDeviceProcAddr)
#define WCOHI_VK_DEVICE(X)                                                                         \
    X(DestroyDevice) X(GetDeviceQueue) X(CreateBuffer) X(DestroyBuffer)                            \
    X(GetBufferMemoryRequirements) X(AllocateMemory) X(FreeMemory) X(BindBufferMemory)             \
    X(MapMemory) X(CreateShaderModule) X(DestroyShaderModule) X(CreateDescriptorSetLayout)         \
    X(DestroyDescriptorSetLayout) X(CreatePipelineLayout) X(DestroyPipelineLayout)                 \
    X(CreateComputePipelines) X(DestroyPipeline) X(CreateDescriptorPool) X(DestroyDescriptorPool)  \
    X(AllocateDescriptorSets) X(UpdateDescriptorSets) X(CreateCommandPool) X(DestroyCommandPool)   \
    X(AllocateCommandBuffers) X(FreeCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer)      \
    X(CmdBindPipeline) X(CmdBindDescriptorSets) X(CmdPushConstants) X(CmdDispatch)                 \
    X(CmdPipelineBarrier) X(CmdFillBuffer) X(CmdUpdateBuffer) X(CmdCopyBuffer) X(CreateFence) X(DestroyFence)         \
    X(ResetFences) X(WaitForFences) X(QueueSubmit) X(QueueWaitIdle) X(CreateQueryPool)             \
    X(DestroyQueryPool) X(CmdResetQueryPool) X(CmdWriteTimestamp) X(GetQueryPoolResults)
/* clang-format on */

typedef struct wcohi_vk_api {
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
#define WCOHI_VK_MEMBER(name) PFN_vk##name name;
    WCOHI_VK_GLOBAL(WCOHI_VK_MEMBER)
    WCOHI_VK_INSTANCE(WCOHI_VK_MEMBER)
    WCOHI_VK_DEVICE(WCOHI_VK_MEMBER)
#undef WCOHI_VK_MEMBER
    PFN_vkCreateDebugUtilsMessengerEXT CreateDebugUtilsMessengerEXT; /* with validation only */
    PFN_vkDestroyDebugUtilsMessengerEXT DestroyDebugUtilsMessengerEXT;
} wcohi_vk_api;

/* Open a library and look a symbol up; NULL on failure. */
#ifdef _WIN32
static void *wcohi_vk_library_open(const char *path) { return (void *)LoadLibraryA(path); }
static void wcohi_vk_library_close(void *library) { FreeLibrary((HMODULE)library); }
static wcoh_vk_function wcohi_vk_library_symbol(void *library, const char *name)
{
    FARPROC symbol = GetProcAddress((HMODULE)library, name);
    wcoh_vk_function function;
    memcpy(&function, &symbol, sizeof function);
    return function;
}
static const char *const wcohi_vk_libraries[] = {"vulkan-1.dll"};
#else
static void *wcohi_vk_library_open(const char *path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
static void wcohi_vk_library_close(void *library) { dlclose(library); }
static wcoh_vk_function wcohi_vk_library_symbol(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    wcoh_vk_function function;
    memcpy(&function, &symbol, sizeof function); /* ISO C has no cast from object to function */
    return function;
}
static const char *const wcohi_vk_libraries[] = {
#ifdef __APPLE__
    "libvulkan.dylib", "libvulkan.1.dylib", "libMoltenVK.dylib", "/usr/local/lib/libvulkan.dylib",
    "/opt/homebrew/lib/libvulkan.dylib"
#else
    "libvulkan.so.1", "libvulkan.so"
#endif
};
#endif

/* What lies below a device: library, instance, and what was made of it. */
typedef struct wcohi_vk_root {
    void *library; /* NULL: the host program's get_instance_proc */
    wcohi_vk_api api;
    VkInstance instance;
    int own_instance;
    VkDebugUtilsMessengerEXT messenger;
    const VkAllocationCallbacks *allocator;
    void (*message)(const char *text, void *user);
    void *message_user;
} wcohi_vk_root;

/* What users meet of Vulkan's results, as ours. */
static const struct {
    int vulkan;
    wcoh_result ours;
    const char *sentence;
} wcohi_vk_results[] = {
    {VK_ERROR_OUT_OF_HOST_MEMORY, WCOH_E_MEMORY, "the driver has no host memory left"},
    {VK_ERROR_OUT_OF_DEVICE_MEMORY, WCOH_E_MEMORY, "the device has no memory left"},
    {VK_ERROR_INITIALIZATION_FAILED, WCOH_E_DEVICE, "the driver could not start the device"},
    {VK_ERROR_DEVICE_LOST, WCOH_E_DEVICE, "the device was lost (reset, unplugged or timed out)"},
    {VK_ERROR_MEMORY_MAP_FAILED, WCOH_E_MEMORY, "device memory cannot be mapped"},
    {VK_ERROR_LAYER_NOT_PRESENT, WCOH_E_DEVICE, "a layer that was asked for is not installed"},
    {VK_ERROR_EXTENSION_NOT_PRESENT, WCOH_E_UNSUPPORTED, "the driver lacks an extension"},
    {VK_ERROR_FEATURE_NOT_PRESENT, WCOH_E_UNSUPPORTED, "the device lacks a feature"},
    {VK_ERROR_INCOMPATIBLE_DRIVER, WCOH_E_DEVICE,
     "no Vulkan driver was found: install your GPU's (Mesa's on Debian: mesa-vulkan-drivers), or "
     "name its .json file in VK_ICD_FILENAMES; after many instances in one process share one "
     "(wcoh_vk_instance_create)"},
    {VK_ERROR_TOO_MANY_OBJECTS, WCOH_E_DEVICE, "the driver holds too many objects already"},
    {VK_ERROR_FRAGMENTED_POOL, WCOH_E_MEMORY, "a pool of descriptors is used up"},
    {VK_ERROR_OUT_OF_POOL_MEMORY, WCOH_E_MEMORY, "a pool of descriptors is used up"},
    {VK_ERROR_FRAGMENTATION, WCOH_E_MEMORY, "a pool of descriptors is used up"},
    {-1000174001, WCOH_E_DEVICE, "another program has priority on this device"}, /* NOT_PERMITTED */
    {VK_ERROR_UNKNOWN, WCOH_E_DEVICE, "the driver failed and does not say why"},
};

/* A Vulkan result as one of ours; the sentence names the call. */
static wcoh_result wcohi_vk_check(VkResult result, const char *call, wcoh_error *error)
{
    int i;
    if (result == VK_SUCCESS || result == VK_INCOMPLETE) return WCOH_OK;
    for (i = 0; i < WCOHI_COUNT(wcohi_vk_results); i++)
        if (wcohi_vk_results[i].vulkan == (int)result)
            return wcohi_fail(error, wcohi_vk_results[i].ours, "%s: %s (VkResult %d)", call,
                              wcohi_vk_results[i].sentence, (int)result);
    return wcohi_fail(error, WCOH_E_DEVICE, "%s failed with VkResult %d", call, (int)result);
}

static wcoh_result wcohi_vk_library_load(wcohi_vk_root *root, const wcoh_vk_desc *desc,
                                         wcoh_error *error)
{
    wcoh_vk_function symbol = NULL;
    int i;
    if (desc->get_instance_proc) {
        wcoh_vk_get_proc given = desc->get_instance_proc;
        memcpy(&root->api.GetInstanceProcAddr, &given, sizeof given);
        return WCOH_OK;
    }
    if (desc->library) root->library = wcohi_vk_library_open(desc->library);
    for (i = 0; !desc->library && !root->library && i < WCOHI_COUNT(wcohi_vk_libraries); i++)
        root->library = wcohi_vk_library_open(wcohi_vk_libraries[i]);
    if (!root->library)
        return wcohi_fail(error, WCOH_E_DEVICE, "%.150s: this machine has no such Vulkan library%s",
                          desc->library ? desc->library : wcohi_vk_libraries[0],
                          desc->library ? "" : "; install it with your GPU's driver");
    symbol = wcohi_vk_library_symbol(root->library, "vkGetInstanceProcAddr");
    if (!symbol)
        return wcohi_fail(error, WCOH_E_DEVICE, "the Vulkan library has no vkGetInstanceProcAddr");
    memcpy(&root->api.GetInstanceProcAddr, &symbol, sizeof symbol);
    return WCOH_OK;
}

#define WCOHI_VK_LOAD(name)                                                                        \
    api->name = (PFN_vk##name)api->GetInstanceProcAddr(instance, "vk" #name);                      \
    if (!api->name) missing = "vk" #name;
#define WCOHI_VK_LOAD_DEVICE(name)                                                                 \
    api->name = (PFN_vk##name)api->GetDeviceProcAddr(device, "vk" #name);                          \
    if (!api->name) missing = "vk" #name;

static wcoh_result wcohi_vk_missing(const char *missing, wcoh_error *error)
{
    return missing ? wcohi_fail(error, WCOH_E_UNSUPPORTED, "this Vulkan has no %s", missing)
                   : WCOH_OK;
}

static wcoh_result wcohi_vk_load_global(wcohi_vk_api *api, wcoh_error *error)
{
    VkInstance instance = NULL;
    const char *missing = NULL;
    WCOHI_VK_GLOBAL(WCOHI_VK_LOAD)
    return wcohi_vk_missing(missing, error);
}

static wcoh_result wcohi_vk_load_instance(wcohi_vk_api *api, VkInstance instance, wcoh_error *error)
{
    const char *missing = NULL;
    WCOHI_VK_INSTANCE(WCOHI_VK_LOAD)
    return wcohi_vk_missing(missing, error);
}

static wcoh_result wcohi_vk_load_device(wcohi_vk_api *api, VkDevice device, wcoh_error *error)
{
    const char *missing = NULL;
    WCOHI_VK_DEVICE(WCOHI_VK_LOAD_DEVICE)
    return wcohi_vk_missing(missing, error);
}

/* 1 if `name` is among the extensions of the instance (or its validation layer). */
static int wcohi_vk_has_extension(const wcohi_vk_root *root, const char *layer, const char *name)
{
    VkExtensionProperties list[256];
    uint32_t count = WCOHI_COUNT(list), i;
    VkResult result = root->api.EnumerateInstanceExtensionProperties(layer, &count, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return 0;
    for (i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, name) == 0) return 1;
    return 0;
}

#define WCOHI_VK_LAYER "VK_LAYER_KHRONOS_validation"

static int wcohi_vk_has_layer(const wcohi_vk_root *root)
{
    VkLayerProperties list[64];
    uint32_t count = WCOHI_COUNT(list), i;
    VkResult result = root->api.EnumerateInstanceLayerProperties(&count, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return 0;
    for (i = 0; i < count; i++)
        if (strcmp(list[i].layerName, WCOHI_VK_LAYER) == 0) return 1;
    return 0;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL wcohi_vk_hear(
    VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
    const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    const wcohi_vk_root *root = (const wcohi_vk_root *)user;
    (void)severity;
    (void)types;
    if (root->message) root->message(data->pMessage, root->message_user);
    return VK_FALSE;
}

static wcoh_result wcohi_vk_listen(wcohi_vk_root *root, wcoh_error *error)
{
    wcohi_vk_api *api = &root->api;
    VkInstance instance = root->instance;
    const char *missing = NULL;
    VkDebugUtilsMessengerCreateInfoEXT info;
    WCOHI_VK_LOAD(CreateDebugUtilsMessengerEXT)
    WCOHI_VK_LOAD(DestroyDebugUtilsMessengerEXT)
    if (missing) return wcohi_vk_missing(missing, error);
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
    info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
    info.pfnUserCallback = wcohi_vk_hear;
    info.pUserData = root;
    return wcohi_vk_check(
        api->CreateDebugUtilsMessengerEXT(instance, &info, root->allocator, &root->messenger),
        "vkCreateDebugUtilsMessengerEXT", error);
}

/* Layers since 2024 look at what shaders read and write only if told so; VK_EXT_layer_settings,
   which older headers lack, tells them. */
typedef struct wcohi_vk_setting {
    const char *layer, *name;
    int32_t type; /* 0: VkBool32 */
    uint32_t count;
    const void *values;
} wcohi_vk_setting;

typedef struct wcohi_vk_settings {
    VkStructureType type;
    const void *next;
    uint32_t count;
    const wcohi_vk_setting *settings;
} wcohi_vk_settings;

static const void *wcohi_vk_layer_settings(wcohi_vk_settings *all)
{
    static const VkBool32 yes = VK_TRUE;
    static const wcohi_vk_setting setting = {WCOHI_VK_LAYER, "syncval_shader_accesses_heuristic", 0,
                                             1, &yes};
    all->type = (VkStructureType)1000496000; /* LAYER_SETTINGS_CREATE_INFO_EXT */
    all->next = NULL;
    all->count = 1;
    all->settings = &setting;
    return all;
}

static wcoh_result wcohi_vk_make_instance(wcohi_vk_root *root, const wcoh_vk_desc *desc,
                                          wcoh_error *error)
{
    VkApplicationInfo application;
    VkInstanceCreateInfo info;
    VkValidationFeaturesEXT features;
    wcohi_vk_settings settings;
    VkValidationFeatureEnableEXT enable =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    const char *layer = WCOHI_VK_LAYER, *extensions[4];
    wcoh_result result;
    int validation;
    memset(&application, 0, sizeof application);
    memset(&info, 0, sizeof info);
    memset(&features, 0, sizeof features);
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.pEngineName = "wavecoh";
    application.apiVersion = desc->cooperative ? VK_API_VERSION_1_3 : VK_API_VERSION_1_1;
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    info.ppEnabledExtensionNames = extensions;
    validation = desc->validation && wcohi_vk_has_layer(root);
    if (validation) {
        features.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT;
        features.enabledValidationFeatureCount = 1;
        features.pEnabledValidationFeatures = &enable;
        info.pNext = &features;
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = &layer;
        extensions[info.enabledExtensionCount++] = "VK_EXT_debug_utils";
        if (wcohi_vk_has_extension(root, layer, "VK_EXT_validation_features"))
            extensions[info.enabledExtensionCount++] = "VK_EXT_validation_features";
        if (wcohi_vk_has_extension(root, layer, "VK_EXT_layer_settings")) {
            extensions[info.enabledExtensionCount++] = "VK_EXT_layer_settings";
            features.pNext = wcohi_vk_layer_settings(&settings);
        }
    }
    if (wcohi_vk_has_extension(root, NULL, "VK_KHR_portability_enumeration")) { /* MoltenVK */
        extensions[info.enabledExtensionCount++] = "VK_KHR_portability_enumeration";
        info.flags |= 1; /* ENUMERATE_PORTABILITY_BIT_KHR, which old headers lack */
    }
    result = wcohi_vk_check(root->api.CreateInstance(&info, root->allocator, &root->instance),
                            "vkCreateInstance", error);
    if (result) return result;
    root->own_instance = 1;
    if ((result = wcohi_vk_load_instance(&root->api, root->instance, error)) != WCOH_OK)
        return result;
    return validation ? wcohi_vk_listen(root, error) : WCOH_OK;
}

static void wcohi_vk_root_close(wcohi_vk_root *root)
{
    if (root->messenger)
        root->api.DestroyDebugUtilsMessengerEXT(root->instance, root->messenger, root->allocator);
    if (root->own_instance) {
        PFN_vkDestroyInstance destroy = root->api.DestroyInstance; /* missing if loading failed */
        if (!destroy)
            destroy = (PFN_vkDestroyInstance)root->api.GetInstanceProcAddr(root->instance,
                                                                           "vkDestroyInstance");
        if (destroy) destroy(root->instance, root->allocator);
    }
    if (root->library) wcohi_vk_library_close(root->library);
    memset(root, 0, sizeof *root);
}

struct wcoh_vk_instance {
    wcohi_allocation block;
    wcohi_vk_root root;
};

/* What a device borrows of a shared instance: no part of it is closed with the device. */
static wcohi_vk_root wcohi_vk_root_shared(const wcoh_vk_desc *desc)
{
    wcohi_vk_root root = desc->shared->root;
    root.library = NULL;
    root.own_instance = 0;
    root.messenger = VK_NULL_HANDLE;
    root.allocator = (const VkAllocationCallbacks *)desc->allocator;
    return root;
}

/* Library and instance; on failure everything is closed again. */
static wcoh_result wcohi_vk_root_open(wcohi_vk_root *root, const wcoh_vk_desc *desc,
                                      wcoh_error *error)
{
    wcoh_result result;
    if (desc->shared) {
        *root = wcohi_vk_root_shared(desc);
        return WCOH_OK;
    }
    memset(root, 0, sizeof *root);
    root->allocator = (const VkAllocationCallbacks *)desc->allocator;
    root->message = desc->message;
    root->message_user = desc->message_user;
    result = wcohi_vk_library_load(root, desc, error);
    if (!result) result = wcohi_vk_load_global(&root->api, error);
    if (!result && desc->instance) {
        root->instance = (VkInstance)desc->instance;
        result = wcohi_vk_load_instance(&root->api, root->instance, error);
    } else if (!result) {
        result = wcohi_vk_make_instance(root, desc, error);
    }
    if (result) wcohi_vk_root_close(root);
    return result;
}

WCOH_API wcoh_result wcoh_vk_instance_create(wcoh_vk_instance **out, const wcoh_vk_desc *given,
                                             wcoh_error *error)
{
    wcoh_vk_desc desc;
    wcohi_arena arena;
    wcohi_allocation block;
    wcoh_vk_instance *instance;
    wcoh_result result;
    if (!out) return wcohi_null("instance", error);
    *out = NULL;
    memset(&desc, 0, sizeof desc);
    if (given) desc = *given;
    if (desc.instance || desc.shared)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "instance and shared: both must be NULL where an instance is made");
    desc.cooperative = 1; /* Vulkan 1.3, for any device to come */
    result = wcohi_allocation_take(&block, &arena, &desc.memory,
                                   wcohi_round_up(sizeof *instance, WCOHI_ALIGN), "Vulkan", error);
    if (result) return result;
    instance = WCOHI_TAKE(&arena, 1, wcoh_vk_instance);
    instance->block = block;
    result = wcohi_vk_root_open(&instance->root, &desc, error);
    if (result) wcohi_allocation_give(&block);
    else *out = instance;
    return result;
}

WCOH_API void wcoh_vk_instance_destroy(wcoh_vk_instance *instance)
{
    if (!instance) return;
    wcohi_vk_root_close(&instance->root);
    wcohi_allocation_give(&instance->block);
}

/* ======== 3 vulkan: choosing a device ========================================================= */

#define WCOHI_VK_DEVICES 64 /* at most, of one machine */

/* First queue family with compute, preferring one without graphics; UINT32_MAX: none. */
static uint32_t wcohi_vk_family(const wcohi_vk_api *api, VkPhysicalDevice physical)
{
    VkQueueFamilyProperties list[64];
    uint32_t count = WCOHI_COUNT(list), i, best = UINT32_MAX;
    api->GetPhysicalDeviceQueueFamilyProperties(physical, &count, list);
    for (i = 0; i < count; i++) {
        int compute = (list[i].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0 && list[i].queueCount > 0;
        int graphics = (list[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) != 0;
        if (compute && (best == UINT32_MAX || !graphics)) best = i;
        if (compute && !graphics) break;
    }
    return best;
}

static uint32_t wcohi_vk_clock_bits(const wcohi_vk_api *api, VkPhysicalDevice physical,
                                    uint32_t family)
{
    VkQueueFamilyProperties list[64];
    uint32_t count = WCOHI_COUNT(list);
    memset(list, 0, sizeof list);
    api->GetPhysicalDeviceQueueFamilyProperties(physical, &count, list);
    return family < count ? list[family].timestampValidBits : 0;
}

static uint64_t wcohi_vk_heap(const wcohi_vk_api *api, VkPhysicalDevice physical)
{
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t most = 0;
    uint32_t i;
    api->GetPhysicalDeviceMemoryProperties(physical, &memory);
    for (i = 0; i < memory.memoryHeapCount; i++)
        if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            most = WCOHI_MAX(most, memory.memoryHeaps[i].size);
    return most;
}

static void wcohi_vk_describe(const wcohi_vk_api *api, VkPhysicalDevice physical,
                              wcoh_vk_info *info, VkPhysicalDeviceLimits *limits)
{
    VkPhysicalDeviceProperties2 all;
    VkPhysicalDeviceSubgroupProperties subgroup;
    VkPhysicalDeviceDriverProperties driver;
    VkPhysicalDeviceFeatures2 features;
    memset(info, 0, sizeof *info);
    memset(&features, 0, sizeof features);
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    memset(&all, 0, sizeof all);
    memset(&subgroup, 0, sizeof subgroup);
    memset(&driver, 0, sizeof driver);
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    api->GetPhysicalDeviceProperties2(physical, &all);
    if (all.properties.apiVersion >= VK_API_VERSION_1_1) {
        subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
        driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
        all.pNext = &subgroup;
        if (all.properties.apiVersion >= VK_API_VERSION_1_2) subgroup.pNext = &driver;
        api->GetPhysicalDeviceProperties2(physical, &all);
    }
    api->GetPhysicalDeviceFeatures2(physical, &features);
    snprintf(info->name, sizeof info->name, "%s", all.properties.deviceName);
    snprintf(info->driver, sizeof info->driver, "%.120s %.120s", driver.driverName,
             driver.driverInfo);
    info->discrete = all.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    info->software = all.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    info->float64 = features.features.shaderFloat64 == VK_TRUE;
    info->usable = all.properties.apiVersion >= VK_API_VERSION_1_1 &&
                   wcohi_vk_family(api, physical) != UINT32_MAX;
    info->api_version = all.properties.apiVersion;
    info->driver_version = all.properties.driverVersion;
    info->vendor = all.properties.vendorID;
    info->subgroup = subgroup.subgroupSize;
    info->memory = wcohi_vk_heap(api, physical);
    if (limits) *limits = all.properties.limits;
}

static wcoh_result wcohi_vk_enumerate(const wcohi_vk_root *root, VkPhysicalDevice *list,
                                      uint32_t *count, wcoh_error *error)
{
    *count = WCOHI_VK_DEVICES;
    return wcohi_vk_check(root->api.EnumeratePhysicalDevices(root->instance, count, list),
                          "vkEnumeratePhysicalDevices", error);
}

WCOH_API wcoh_result wcoh_vk_device_list(const wcoh_vk_desc *given, wcoh_vk_info *infos,
                                         int capacity, int *count, wcoh_error *error)
{
    VkPhysicalDevice list[WCOHI_VK_DEVICES];
    wcoh_vk_desc desc;
    wcohi_vk_root root;
    uint32_t found = 0, i;
    wcoh_result result;
    if (!count) return wcohi_null("count", error);
    if (!infos && capacity > 0) return wcohi_null("infos", error);
    memset(&desc, 0, sizeof desc);
    if (given) desc = *given;
    *count = 0;
    desc.validation = 0;
    if ((result = wcohi_vk_root_open(&root, &desc, error)) != WCOH_OK) return result;
    result = wcohi_vk_enumerate(&root, list, &found, error);
    for (i = 0; !result && i < found && (int)i < capacity; i++)
        wcohi_vk_describe(&root.api, list[i], &infos[i], NULL);
    if (!result) *count = (int)found;
    wcohi_vk_root_close(&root);
    return result;
}

/* The device that desc asks for among `found`: by number, by part of its name, else the first
   discrete one, else the first. -1: none. */
static int wcohi_vk_choose(const wcohi_vk_root *root, const wcoh_vk_desc *desc,
                           const VkPhysicalDevice *list, int found)
{
    wcoh_vk_info info;
    int i, best = -1;
    if (desc->index > 0) return desc->index <= found ? desc->index - 1 : -1;
    for (i = 0; i < found; i++) {
        wcohi_vk_describe(&root->api, list[i], &info, NULL);
        if (!info.usable || (desc->name && !strstr(info.name, desc->name))) continue;
        if (best < 0) best = i;
        if (desc->name || info.discrete) return i;
    }
    return best;
}

static wcoh_result wcohi_vk_pick(const wcohi_vk_root *root, const wcoh_vk_desc *desc,
                                 VkPhysicalDevice *physical, wcoh_error *error)
{
    VkPhysicalDevice list[WCOHI_VK_DEVICES];
    wcoh_vk_info info;
    uint32_t found = 0;
    int chosen;
    wcoh_result result = wcohi_vk_enumerate(root, list, &found, error);
    if (result) return result;
    if (found == 0) return wcohi_vk_check(VK_ERROR_INCOMPATIBLE_DRIVER, "devices", error);
    chosen = wcohi_vk_choose(root, desc, list, (int)found);
    if (chosen < 0 && desc->index > 0)
        return wcohi_fail(error, WCOH_E_DEVICE, "index is %d: this machine has %d Vulkan devices",
                          desc->index, (int)found);
    if (chosen < 0)
        return wcohi_fail(error, WCOH_E_DEVICE,
                          "none of this machine's %d Vulkan devices is usable%s%.100s", (int)found,
                          desc->name ? " and named " : "", desc->name ? desc->name : "");
    wcohi_vk_describe(&root->api, list[chosen], &info, NULL);
    if (!info.usable)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "%.120s lacks Vulkan 1.1 or a compute queue",
                          info.name);
    *physical = list[chosen];
    return WCOH_OK;
}

/* What a shader's pipelines share; made when it is first used. */
typedef struct wcohi_vk_program {
    VkShaderModule module;
    VkDescriptorSetLayout set;
    VkPipelineLayout layout;
} wcohi_vk_program;

#define WCOHI_VK_PIPELINES 256 /* at most, of one device */
#define WCOHI_VK_SPECS 19      /* specialization constants of a shader, at most */

/* A shader with its specialization constants. */
typedef struct wcohi_vk_pipeline {
    int shader;
    uint32_t specs[WCOHI_VK_SPECS];
    VkPipeline pipeline;
} wcohi_vk_pipeline;

typedef struct wcohi_vk {
    wcoh_device base;
    wcohi_gpu_choice choices[WCOHI_GPU_CHOICES]; /* of desc.tuning */
    wcohi_gpu_pair pairs[WCOHI_GPU_JOINED];
    wcohi_gpu_path paths[WCOHI_GPU_PATHS];
    wcohi_vk_root root;
    wcoh_vk_info info;
    VkPhysicalDeviceLimits limits;
    VkPhysicalDeviceMemoryProperties memory;
    VkPhysicalDevice physical;
    VkDevice device;
    int own_device;
    uint32_t family;
    uint32_t clock_bits; /* of a timestamp; 0: there are none */
    VkQueue queue;
    VkCommandPool commands;
    wcohi_gpu_traits traits;
    wcohi_vk_program programs[WCOH_SPV_COUNT];
    wcohi_vk_pipeline pipelines[WCOHI_VK_PIPELINES];
    int pipeline_count;
    uint32_t words[WCOH_SPV_MOST]; /* of the shader that is being made */
} wcohi_vk;

/* ======== 3 vulkan: memory ==================================================================== */

typedef struct wcohi_vk_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    unsigned char *mapped; /* host buffers */
} wcohi_vk_buffer;

/* The first memory type among `types` with all of `flags`; -1: none. */
static int wcohi_vk_memory_type(const wcohi_vk *vk, uint32_t types, VkMemoryPropertyFlags flags)
{
    uint32_t i;
    for (i = 0; i < vk->memory.memoryTypeCount; i++)
        if (types & (1u << i) && (vk->memory.memoryTypes[i].propertyFlags & flags) == flags)
            return (int)i;
    return -1;
}

/* Device buffers prefer the device's own memory; host buffers are coherent (Vulkan promises such a
   type) and cached where there is one, since results are read from them. */
static int wcohi_vk_memory_choose(const wcohi_vk *vk, uint32_t types, int host)
{
    VkMemoryPropertyFlags need =
        host ? VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT : 0;
    VkMemoryPropertyFlags wish =
        host ? VK_MEMORY_PROPERTY_HOST_CACHED_BIT : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    int type = wcohi_vk_memory_type(vk, types, need | wish);
    return type >= 0 ? type : wcohi_vk_memory_type(vk, types, need);
}

static void wcohi_vk_buffer_give(const wcohi_vk *vk, wcohi_vk_buffer *buffer)
{
    if (buffer->buffer) vk->root.api.DestroyBuffer(vk->device, buffer->buffer, vk->root.allocator);
    if (buffer->memory) vk->root.api.FreeMemory(vk->device, buffer->memory, vk->root.allocator);
    memset(buffer, 0, sizeof *buffer);
}

static wcoh_result wcohi_vk_buffer_bind(const wcohi_vk *vk, wcohi_vk_buffer *buffer, int host,
                                        wcoh_error *error)
{
    const wcohi_vk_api *api = &vk->root.api;
    VkMemoryRequirements need;
    VkMemoryAllocateInfo info;
    void *mapped = NULL;
    wcoh_result result;
    int type;
    api->GetBufferMemoryRequirements(vk->device, buffer->buffer, &need);
    if ((type = wcohi_vk_memory_choose(vk, need.memoryTypeBits, host)) < 0)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "%.100s has no memory type for %s buffers",
                          vk->info.name, host ? "host" : "device");
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.allocationSize = need.size;
    info.memoryTypeIndex = (uint32_t)type;
    result =
        wcohi_vk_check(api->AllocateMemory(vk->device, &info, vk->root.allocator, &buffer->memory),
                       "vkAllocateMemory", error);
    if (!result)
        result =
            wcohi_vk_check(api->BindBufferMemory(vk->device, buffer->buffer, buffer->memory, 0),
                           "vkBindBufferMemory", error);
    if (!result && host)
        result =
            wcohi_vk_check(api->MapMemory(vk->device, buffer->memory, 0, VK_WHOLE_SIZE, 0, &mapped),
                           "vkMapMemory", error);
    buffer->mapped = (unsigned char *)mapped;
    return result;
}

/* The one place where device memory is taken. host: mapped for good. Nothing is left on failure. */
static wcoh_result wcohi_vk_buffer_take(const wcohi_vk *vk, wcohi_vk_buffer *buffer, size_t size,
                                        int host, wcoh_error *error)
{
    VkBufferCreateInfo info;
    wcoh_result result;
    memset(buffer, 0, sizeof *buffer);
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = size;
    info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    result = wcohi_vk_check(
        vk->root.api.CreateBuffer(vk->device, &info, vk->root.allocator, &buffer->buffer),
        "vkCreateBuffer", error);
    if (!result) result = wcohi_vk_buffer_bind(vk, buffer, host, error);
    if (result) wcohi_vk_buffer_give(vk, buffer);
    return result;
}

/* ======== 3 vulkan: pipelines ================================================================= */

static wcoh_result wcohi_vk_set_layout(wcohi_vk *vk, int shader, wcoh_error *error)
{
    VkDescriptorSetLayoutBinding bindings[32];
    VkDescriptorSetLayoutCreateInfo info;
    uint32_t count = wcoh_spv_table[shader].bindings, i;
    memset(bindings, 0, sizeof bindings);
    for (i = 0; i < count; i++) {
        bindings[i].binding = i;
        bindings[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        bindings[i].descriptorCount = 1;
        bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    }
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    info.bindingCount = count;
    info.pBindings = bindings;
    return wcohi_vk_check(vk->root.api.CreateDescriptorSetLayout(
                              vk->device, &info, vk->root.allocator, &vk->programs[shader].set),
                          "vkCreateDescriptorSetLayout", error);
}

static wcoh_result wcohi_vk_pipeline_layout(wcohi_vk *vk, int shader, wcoh_error *error)
{
    VkPushConstantRange range;
    VkPipelineLayoutCreateInfo info;
    memset(&range, 0, sizeof range);
    memset(&info, 0, sizeof info);
    range.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    range.size = wcoh_spv_table[shader].push;
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    info.setLayoutCount = 1;
    info.pSetLayouts = &vk->programs[shader].set;
    info.pushConstantRangeCount = range.size > 0;
    info.pPushConstantRanges = &range;
    return wcohi_vk_check(vk->root.api.CreatePipelineLayout(vk->device, &info, vk->root.allocator,
                                                            &vk->programs[shader].layout),
                          "vkCreatePipelineLayout", error);
}

/* A number of the text that shaders.h has; rows of it end with a 0. */
static uint32_t wcohi_vk_number(const char **text)
{
    uint32_t value = 0;
    for (;; ++*text) {
        char c = **text;
        if (c > '[') value = value * 34 + (uint32_t)(c - ']') + 1;
        else if (c) break;
    }
    value = value * 57 + (uint32_t)((**text == '!' ? '?' : **text) - '#');
    ++*text;
    return value;
}

/* The words of a shader out of its text: five of the head, then instructions, each the number of
   its form and its operands, ids of which count down from the largest so far. */
static void wcohi_vk_words(const wcoh_spv_row *row, uint32_t *words)
{
    const char *text = row->text;
    uint32_t largest = 0, i;
    size_t at = 0, end;
    while (at < 5) words[at++] = wcohi_vk_number(&text);
    while (at < row->count) {
        const uint32_t *form = wcoh_spv_forms[wcohi_vk_number(&text)];
        words[at] = form[0];
        end = at + (form[0] >> 16);
        for (++at, i = 0; at < end; at++, i++) {
            words[at] = wcohi_vk_number(&text);
            if (i >= 32 || !(form[1] >> i & 1)) continue;
            words[at] = largest + 2 - words[at];
            largest = WCOHI_MAX(largest, words[at]);
        }
    }
}

static wcoh_result wcohi_vk_module(wcohi_vk *vk, int shader, wcoh_error *error)
{
    VkShaderModuleCreateInfo info;
    wcohi_vk_words(&wcoh_spv_table[shader], vk->words);
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.codeSize = wcoh_spv_table[shader].count * sizeof(uint32_t);
    info.pCode = vk->words;
    return wcohi_vk_check(vk->root.api.CreateShaderModule(vk->device, &info, vk->root.allocator,
                                                          &vk->programs[shader].module),
                          "vkCreateShaderModule", error);
}

/* Module and layouts of a shader. What was made stays in vk->programs, also on failure. */
static wcoh_result wcohi_vk_program_make(wcohi_vk *vk, int shader, wcoh_error *error)
{
    wcohi_vk_program *program = &vk->programs[shader];
    wcoh_result result = WCOH_OK;
    if (!program->module) result = wcohi_vk_module(vk, shader, error);
    if (!result && !program->set) result = wcohi_vk_set_layout(vk, shader, error);
    if (!result && !program->layout) result = wcohi_vk_pipeline_layout(vk, shader, error);
    return result;
}

static wcoh_result wcohi_vk_pipeline_make(wcohi_vk *vk, wcohi_vk_pipeline *pipeline,
                                          wcoh_error *error)
{
    const wcoh_spv_row *row = &wcoh_spv_table[pipeline->shader];
    VkSpecializationMapEntry entries[WCOHI_VK_SPECS];
    VkSpecializationInfo special;
    VkComputePipelineCreateInfo info;
    uint32_t i;
    wcoh_result result = wcohi_vk_program_make(vk, pipeline->shader, error);
    if (result) return result;
    for (i = 0; i < row->specs; i++) {
        entries[i].constantID = i;
        entries[i].offset = i * (uint32_t)sizeof(uint32_t);
        entries[i].size = sizeof(uint32_t);
    }
    special.mapEntryCount = row->specs;
    special.pMapEntries = entries;
    special.dataSize = row->specs * sizeof(uint32_t);
    special.pData = pipeline->specs;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = vk->programs[pipeline->shader].module;
    info.stage.pName = "main";
    info.stage.pSpecializationInfo = row->specs ? &special : NULL;
    info.layout = vk->programs[pipeline->shader].layout;
    return wcohi_vk_check(vk->root.api.CreateComputePipelines(vk->device, VK_NULL_HANDLE, 1, &info,
                                                              vk->root.allocator,
                                                              &pipeline->pipeline),
                          "vkCreateComputePipelines", error);
}

/* The pipeline of a shader with these constants, made when first asked for. */
static wcoh_result wcohi_vk_pipeline_get(wcohi_vk *vk, int shader, const uint32_t *specs,
                                         VkPipeline *out, wcoh_error *error)
{
    wcohi_vk_pipeline wanted;
    wcoh_result result;
    int i;
    memset(&wanted, 0, sizeof wanted);
    wanted.shader = shader;
    if (specs) memcpy(wanted.specs, specs, wcoh_spv_table[shader].specs * sizeof *specs);
    for (i = 0; i < vk->pipeline_count; i++)
        if (vk->pipelines[i].shader == shader &&
            memcmp(vk->pipelines[i].specs, wanted.specs, sizeof wanted.specs) == 0) {
            *out = vk->pipelines[i].pipeline;
            return WCOH_OK;
        }
    if (vk->pipeline_count == WCOHI_VK_PIPELINES)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED,
                          "shader %s: more than %d pipelines on one device",
                          wcoh_spv_table[shader].name, WCOHI_VK_PIPELINES);
    if ((result = wcohi_vk_pipeline_make(vk, &wanted, error)) != WCOH_OK) return result;
    vk->pipelines[vk->pipeline_count++] = wanted;
    *out = wanted.pipeline;
    return WCOH_OK;
}

static void wcohi_vk_pipelines_destroy(wcohi_vk *vk)
{
    const wcohi_vk_api *api = &vk->root.api;
    const VkAllocationCallbacks *allocator = vk->root.allocator;
    int i;
    for (i = 0; i < vk->pipeline_count; i++)
        api->DestroyPipeline(vk->device, vk->pipelines[i].pipeline, allocator);
    for (i = 0; i < WCOH_SPV_COUNT; i++) {
        wcohi_vk_program *program = &vk->programs[i];
        if (program->layout) api->DestroyPipelineLayout(vk->device, program->layout, allocator);
        if (program->set) api->DestroyDescriptorSetLayout(vk->device, program->set, allocator);
        if (program->module) api->DestroyShaderModule(vk->device, program->module, allocator);
    }
}

/* ======== 3 vulkan: dispatches ================================================================ */

typedef struct wcohi_vk_recording {
    wcohi_gpu_pass pass;
    VkCommandBuffer commands; /* NULL: a free place */
    VkDescriptorPool pool;
    uint64_t used; /* when it last ran */
} wcohi_vk_recording;

#define WCOHI_VK_RECORDINGS 12

#define WCOHI_VK_SLOTS 4 /* submits on their way at once */

/* A submit on its way: copies to the device, a recorded pass, copies to the host. */
typedef struct wcohi_vk_slot {
    VkCommandBuffer in, out;
    VkFence fence;
    uint64_t sent; /* number of its submit; above exec's `done`: not waited for yet */
} wcohi_vk_slot;

typedef struct wcohi_vk_exec {
    wcohi_exec base;
    wcohi_vk *vk;
    wcohi_plan plan; /* the library's, with tensors placed for this device */
    int *halves;     /* of its tensors; NULL: they stay whole */
    wcohi_gpu_layout at;
    wcohi_vk_buffer device_buffer, host_buffer;
    wcohi_vk_recording recordings[WCOHI_VK_RECORDINGS];
    wcohi_vk_slot slot[WCOHI_VK_SLOTS];
    int next_slot, run_slot, update_slot; /* next to take; of the last run and update */
    uint64_t sent, done;                  /* submits; a submit is done with all before it */
    VkCommandBuffer transfer;             /* for uploads and downloads */
    VkFence fence;                        /* of transfers */
    uint64_t clock;                       /* of recordings */
    uint64_t version;                     /* of the parameters that the device has */
    uint64_t freezes;                     /* of the model's, when the optimiser's rules were made */
    VkQueryPool marks; /* [2*count+1] of a pass that is timed; made when first used */
    unsigned char *mapped[WCOHI_AREA_LOGITS + 1]; /* host memory of areas, for `map` */
    uint64_t
        *prepared; /* [streams] of the parameters that the tables of a stream's states are of */
    unsigned char *states; /* [plan.states] of a stream on their way to the device or back */
    double *heads;         /* [4,H] parameters of the heads of an op */
} wcohi_vk_exec;

/* A range that dispatches since the last barrier have touched. */
typedef struct wcohi_vk_touch {
    wcohi_gpu_view view;
    int write;
} wcohi_vk_touch;

#define WCOHI_VK_TOUCHES 128

/* The recorder of one pass. */
typedef struct wcohi_vk_recorder {
    wcohi_gpu_recorder base;
    wcohi_vk_exec *exec;
    VkCommandBuffer commands;
    VkDescriptorPool pool;
    uint32_t sets, descriptors;
    wcohi_vk_touch touches[WCOHI_VK_TOUCHES];
    int touch_count;
} wcohi_vk_recorder;

/* What was written so far before what follows, in the order of submission. */
static void wcohi_vk_barrier(const wcohi_vk *vk, VkCommandBuffer commands, VkPipelineStageFlags to,
                             VkAccessFlags access)
{
    VkMemoryBarrier barrier;
    memset(&barrier, 0, sizeof barrier);
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    barrier.dstAccessMask = access;
    vk->root.api.CmdPipelineBarrier(
        commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, to, 0, 1,
        &barrier, 0, NULL, 0, NULL);
}

/* Before later dispatches and copies of ours. */
static void wcohi_vk_barrier_work(const wcohi_vk *vk, VkCommandBuffer commands)
{
    wcohi_vk_barrier(vk, commands,
                     VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                     VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                         VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
}

/* A barrier, if the views meet something written (or write something touched) since the last one. */
static void wcohi_vk_order(wcohi_vk_recorder *r, const wcohi_gpu_view *views, uint32_t count,
                           uint32_t writes)
{
    uint32_t i;
    int t, meets = r->touch_count + (int)count > WCOHI_VK_TOUCHES;
    for (i = 0; i < count && !meets; i++)
        for (t = 0; t < r->touch_count && !meets; t++)
            meets = views[i].bytes > 0 && (r->touches[t].write || (writes >> i & 1)) &&
                    wcohi_gpu_meets(views[i], r->touches[t].view);
    if (meets) r->touch_count = 0;
    if (meets && r->base.building) wcohi_vk_barrier_work(r->exec->vk, r->commands);
    for (i = 0; i < count; i++) {
        if (views[i].bytes == 0) continue;
        r->touches[r->touch_count].view = views[i];
        r->touches[r->touch_count++].write = (int)(writes >> i & 1);
    }
}

static VkBuffer wcohi_vk_buffer_of(const wcohi_vk_exec *exec, const wcohi_gpu_view *view)
{
    return view->host ? exec->host_buffer.buffer : exec->device_buffer.buffer;
}

/* A descriptor set of the views; an absent one stands for the first that the shader writes. */
static wcoh_result wcohi_vk_bind(wcohi_vk_recorder *r, int shader, const wcohi_gpu_view *views,
                                 uint32_t writes)
{
    const wcohi_vk *vk = r->exec->vk;
    const wcohi_vk_api *api = &vk->root.api;
    VkDescriptorSetAllocateInfo info;
    VkDescriptorBufferInfo buffers[32];
    VkWriteDescriptorSet write;
    VkDescriptorSet set = VK_NULL_HANDLE;
    uint32_t count = wcoh_spv_table[shader].bindings, i, stand_in = 0;
    wcoh_result result;
    while (stand_in + 1 < count && (!(writes >> stand_in & 1) || views[stand_in].bytes == 0))
        stand_in++;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    info.descriptorPool = r->pool;
    info.descriptorSetCount = 1;
    info.pSetLayouts = &vk->programs[shader].set;
    result = wcohi_vk_check(api->AllocateDescriptorSets(vk->device, &info, &set),
                            "vkAllocateDescriptorSets", r->base.error);
    if (result) return result;
    for (i = 0; i < count; i++) {
        const wcohi_gpu_view *view = &views[views[i].bytes ? i : stand_in];
        buffers[i].buffer = wcohi_vk_buffer_of(r->exec, view);
        buffers[i].offset = view->offset;
        buffers[i].range = view->bytes;
    }
    memset(&write, 0, sizeof write);
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = set;
    write.descriptorCount = count;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = buffers;
    api->UpdateDescriptorSets(vk->device, 1, &write, 0, NULL);
    api->CmdBindDescriptorSets(r->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                               vk->programs[shader].layout, 0, 1, &set, 0, NULL);
    return WCOH_OK;
}

/* Sizes that the limits of the device allow. */
static wcoh_result wcohi_vk_views_check(const VkPhysicalDeviceLimits *limits,
                                        const wcohi_gpu_call *call, wcoh_error *error)
{
    const char *name = wcoh_spv_table[call->shader].name;
    uint32_t i;
    for (i = 0; i < call->view_count; i++) {
        const wcohi_gpu_view *view = &call->views[i];
        if (view->bytes > limits->maxStorageBufferRange)
            return wcohi_fail(
                error, WCOH_E_UNSUPPORTED,
                "shader %s: an array of %llu bytes, this device allows %lu; use a smaller batch",
                name, (unsigned long long)view->bytes,
                (unsigned long)limits->maxStorageBufferRange);
        if (view->bytes && view->offset % limits->minStorageBufferOffsetAlignment)
            return wcohi_fail(
                error, WCOH_E_UNSUPPORTED,
                "shader %s: an array begins at byte %llu, this device wants %lu bytes", name,
                (unsigned long long)view->offset,
                (unsigned long)limits->minStorageBufferOffsetAlignment);
    }
    return WCOH_OK;
}

static wcoh_result wcohi_vk_groups_check(const VkPhysicalDeviceLimits *limits,
                                         const wcohi_gpu_call *call, wcoh_error *error)
{
    int i;
    for (i = 0; i < 3; i++)
        if (call->groups[i] > limits->maxComputeWorkGroupCount[i])
            return wcohi_fail(
                error, WCOH_E_UNSUPPORTED,
                "shader %s: %lu workgroups, this device allows %lu; use a smaller batch",
                wcoh_spv_table[call->shader].name, (unsigned long)call->groups[i],
                (unsigned long)limits->maxComputeWorkGroupCount[i]);
    return WCOH_OK;
}

/* What the table of shaders says, and what the device allows. */
static wcoh_result wcohi_vk_call_check(const wcohi_vk *vk, const wcohi_gpu_call *call,
                                       wcoh_error *error)
{
    const wcoh_spv_row *row = &wcoh_spv_table[call->shader];
    wcoh_result result;
    if (call->view_count != row->bindings || call->push_bytes != row->push)
        return wcohi_fail(error, WCOH_E_DEVICE,
                          "shader %s: takes %u bindings and %u bytes, was given %u and %u",
                          row->name, row->bindings, row->push, (unsigned)call->view_count,
                          (unsigned)call->push_bytes);
    if (call->view_count > vk->limits.maxPerStageDescriptorStorageBuffers)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED,
                          "shader %s: reads and writes %u arrays, this device allows %lu",
                          row->name, (unsigned)call->view_count,
                          (unsigned long)vk->limits.maxPerStageDescriptorStorageBuffers);
    if ((result = wcohi_vk_views_check(&vk->limits, call, error)) != WCOH_OK) return result;
    return wcohi_vk_groups_check(&vk->limits, call, error);
}

/* The one place where a dispatch is recorded: a barrier if it meets what an earlier one wrote, its
   pipeline, descriptor set and push constants. While counting, sets alone. */
static wcoh_result wcohi_vk_dispatch(wcohi_gpu_recorder *base, const wcohi_gpu_call *call)
{
    wcohi_vk_recorder *r = (wcohi_vk_recorder *)base;
    wcohi_vk *vk = r->exec->vk;
    const wcoh_spv_row *row = &wcoh_spv_table[call->shader];
    VkPipeline pipeline = VK_NULL_HANDLE;
    wcoh_result result = wcohi_vk_call_check(vk, call, base->error);
    if (result) return result;
    r->sets++;
    r->descriptors += row->bindings;
    wcohi_vk_order(r, call->views, call->view_count, row->writes);
    if (!base->building) return WCOH_OK;
    result = wcohi_vk_pipeline_get(vk, call->shader, call->specs, &pipeline, base->error);
    if (!result) result = wcohi_vk_bind(r, call->shader, call->views, row->writes);
    if (result) return result;
    vk->root.api.CmdBindPipeline(r->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vk->root.api.CmdPushConstants(r->commands, vk->programs[call->shader].layout,
                                  VK_SHADER_STAGE_COMPUTE_BIT, 0, row->push, call->push);
    vk->root.api.CmdDispatch(r->commands, call->groups[0], call->groups[1], call->groups[2]);
    return WCOH_OK;
}

static void wcohi_vk_zero(wcohi_gpu_recorder *base, wcohi_gpu_view view)
{
    wcohi_vk_recorder *r = (wcohi_vk_recorder *)base;
    if (base->result || view.bytes == 0) return;
    wcohi_vk_order(r, &view, 1, 1);
    if (base->building)
        r->exec->vk->root.api.CmdFillBuffer(r->commands, wcohi_vk_buffer_of(r->exec, &view),
                                            view.offset, view.bytes, 0);
}

static void wcohi_vk_copy_view(wcohi_gpu_recorder *base, wcohi_gpu_view to, wcohi_gpu_view from)
{
    wcohi_vk_recorder *r = (wcohi_vk_recorder *)base;
    wcohi_gpu_view views[2];
    VkBufferCopy region;
    if (base->result || to.bytes == 0) return;
    views[0] = to;
    views[1] = from;
    wcohi_vk_order(r, views, 2, 1);
    region.srcOffset = from.offset;
    region.dstOffset = to.offset;
    region.size = to.bytes;
    if (base->building)
        r->exec->vk->root.api.CmdCopyBuffer(r->commands, wcohi_vk_buffer_of(r->exec, &from),
                                            wcohi_vk_buffer_of(r->exec, &to), 1, &region);
}

static void wcohi_vk_write(wcohi_gpu_recorder *base, wcohi_gpu_view to, const void *data)
{
    wcohi_vk_recorder *r = (wcohi_vk_recorder *)base;
    wcohi_vk_order(r, &to, 1, 1);
    if (base->building)
        r->exec->vk->root.api.CmdUpdateBuffer(r->commands, wcohi_vk_buffer_of(r->exec, &to),
                                              to.offset, to.bytes, data);
}

/* Behind a barrier, so that an op's time is its own. */
static void wcohi_vk_mark(wcohi_gpu_recorder *base, int index)
{
    wcohi_vk_recorder *r = (wcohi_vk_recorder *)base;
    const wcohi_vk *vk = r->exec->vk;
    uint32_t times = 2 * (uint32_t)base->plan->count + 1;
    if (!base->building) return;
    if (index == 0) vk->root.api.CmdResetQueryPool(r->commands, r->exec->marks, 0, times);
    wcohi_vk_barrier_work(vk, r->commands);
    r->touch_count = 0;
    vk->root.api.CmdWriteTimestamp(r->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                   r->exec->marks, (uint32_t)index);
}

static const wcohi_gpu_table wcohi_vk_recordings = {
    wcohi_vk_dispatch, wcohi_vk_zero, wcohi_vk_copy_view, wcohi_vk_write, wcohi_vk_mark};

static void wcohi_vk_recorder_open(wcohi_vk_recorder *r, wcohi_vk_exec *exec,
                                   const wcohi_gpu_pass *pass, wcoh_error *error)
{
    memset(r, 0, sizeof *r);
    r->exec = exec;
    r->base.table = &wcohi_vk_recordings;
    r->base.traits = &exec->vk->traits;
    r->base.at = &exec->at;
    r->base.plan = &exec->plan;
    r->base.halves = exec->halves;
    r->base.pass = *pass;
    r->base.rows = (uint32_t)pass->batch * (uint32_t)pass->seq;
    r->base.error = error;
}

/* ======== 4 running: commands of a pass ======================================================= */

static wcoh_result wcohi_vk_fence_wait(const wcohi_vk *vk, VkFence fence, wcoh_error *error)
{
    wcoh_result result =
        wcohi_vk_check(vk->root.api.WaitForFences(vk->device, 1, &fence, VK_TRUE, UINT64_MAX),
                       "vkWaitForFences", error);
    if (result) vk->root.api.QueueWaitIdle(vk->queue); /* nothing runs on when memory is freed */
    return result;
}

/* Until the submit of a slot is done. */
static wcoh_result wcohi_vk_slot_wait(wcohi_vk_exec *exec, int slot, wcoh_error *error)
{
    wcoh_result result;
    if (exec->slot[slot].sent <= exec->done) return WCOH_OK;
    result = wcohi_vk_fence_wait(exec->vk, exec->slot[slot].fence, error);
    if (!result) exec->done = exec->slot[slot].sent;
    return result;
}

static void wcohi_vk_wait_all(wcohi_vk_exec *exec)
{
    int slot;
    for (slot = 0; slot < WCOHI_VK_SLOTS; slot++) wcohi_vk_slot_wait(exec, slot, NULL);
}

static void wcohi_vk_commands_give(const wcohi_vk *vk, VkCommandBuffer commands)
{
    if (commands) vk->root.api.FreeCommandBuffers(vk->device, vk->commands, 1, &commands);
}

static void wcohi_vk_recording_give(wcohi_vk_exec *exec, wcohi_vk_recording *recording)
{
    const wcohi_vk *vk = exec->vk;
    if (recording->pool)
        vk->root.api.DestroyDescriptorPool(vk->device, recording->pool, vk->root.allocator);
    wcohi_vk_commands_give(vk, recording->commands);
    memset(recording, 0, sizeof *recording);
}

static wcoh_result wcohi_vk_commands_take(const wcohi_vk *vk, VkCommandBuffer *commands,
                                          wcoh_error *error)
{
    VkCommandBufferAllocateInfo info;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = vk->commands;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    return wcohi_vk_check(vk->root.api.AllocateCommandBuffers(vk->device, &info, commands),
                          "vkAllocateCommandBuffers", error);
}

static wcoh_result wcohi_vk_pool_take(const wcohi_vk *vk, VkDescriptorPool *pool, uint32_t sets,
                                      uint32_t descriptors, wcoh_error *error)
{
    VkDescriptorPoolSize size;
    VkDescriptorPoolCreateInfo info;
    memset(&info, 0, sizeof info);
    size.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    size.descriptorCount = WCOHI_MAX(descriptors, 1u);
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    info.maxSets = WCOHI_MAX(sets, 1u);
    info.poolSizeCount = 1;
    info.pPoolSizes = &size;
    return wcohi_vk_check(
        vk->root.api.CreateDescriptorPool(vk->device, &info, vk->root.allocator, pool),
        "vkCreateDescriptorPool", error);
}

static wcoh_result wcohi_vk_commands_begin(const wcohi_vk *vk, VkCommandBuffer commands,
                                           VkCommandBufferUsageFlags usage, wcoh_error *error)
{
    VkCommandBufferBeginInfo info;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    info.flags = usage;
    return wcohi_vk_check(vk->root.api.BeginCommandBuffer(commands, &info), "vkBeginCommandBuffer",
                          error);
}

/* to_host: what was written so far becomes visible to the host. */
static wcoh_result wcohi_vk_commands_end(const wcohi_vk *vk, VkCommandBuffer commands, int to_host,
                                         wcoh_error *error)
{
    if (to_host)
        wcohi_vk_barrier(vk, commands, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    return wcohi_vk_check(vk->root.api.EndCommandBuffer(commands), "vkEndCommandBuffer", error);
}

/* Record the pass of `r`, which was only counted so far, into a free place. */
static wcoh_result wcohi_vk_record(wcohi_vk_recorder *r, wcohi_vk_recording *recording)
{
    const wcohi_vk *vk = r->exec->vk;
    wcoh_result result = wcohi_vk_commands_take(vk, &recording->commands, r->base.error);
    if (!result)
        result = wcohi_vk_pool_take(vk, &recording->pool, r->sets, r->descriptors, r->base.error);
    if (!result)
        result = wcohi_vk_commands_begin(
            vk, recording->commands, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT, r->base.error);
    if (result) return result;
    r->base.building = 1;
    r->base.scratch = 0;
    r->commands = recording->commands;
    r->pool = recording->pool;
    wcohi_vk_barrier_work(vk, r->commands); /* after everything submitted before */
    wcohi_gpu_record(&r->base);
    if (r->base.result) return r->base.result;
    recording->pass = r->base.pass;
    return wcohi_vk_commands_end(vk, r->commands, 0, r->base.error);
}

/* The place of the oldest recording, freed when nothing is on its way. */
static wcohi_vk_recording *wcohi_vk_recording_place(wcohi_vk_exec *exec)
{
    wcohi_vk_recording *place = exec->recordings;
    int i;
    for (i = 1; i < WCOHI_VK_RECORDINGS; i++)
        if (exec->recordings[i].used < place->used) place = &exec->recordings[i];
    if (place->commands) wcohi_vk_wait_all(exec);
    wcohi_vk_recording_give(exec, place);
    return place;
}

/* The commands of a pass, recorded when first asked for. */
static wcoh_result wcohi_vk_recording_get(wcohi_vk_exec *exec, const wcohi_gpu_pass *pass,
                                          VkCommandBuffer *commands, wcoh_error *error)
{
    wcohi_vk_recorder recorder;
    wcohi_vk_recording *place = NULL;
    wcoh_result result;
    int i;
    for (i = 0; i < WCOHI_VK_RECORDINGS && !place; i++)
        if (exec->recordings[i].commands &&
            memcmp(&exec->recordings[i].pass, pass, sizeof *pass) == 0)
            place = &exec->recordings[i];
    if (!place) {
        wcohi_vk_recorder_open(&recorder, exec, pass, error);
        wcohi_gpu_record(&recorder.base);
        if (recorder.base.result) return recorder.base.result;
        place = wcohi_vk_recording_place(exec);
        if ((result = wcohi_vk_record(&recorder, place)) != WCOH_OK) {
            wcohi_vk_recording_give(exec, place);
            return result;
        }
    }
    place->used = ++exec->clock;
    *commands = place->commands;
    return WCOH_OK;
}

/* ======== 4 running: copies and slots ========================================================= */

/* Record copies to the device buffer, or from it to the host's, after all submitted before. */
static wcoh_result wcohi_vk_copies(const wcohi_vk_exec *exec, VkCommandBuffer commands,
                                   int from_host, int to_host, const VkBufferCopy *regions,
                                   uint32_t count, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    VkBuffer host = exec->host_buffer.buffer, device = exec->device_buffer.buffer;
    wcoh_result result =
        wcohi_vk_commands_begin(vk, commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, error);
    if (result) return result;
    wcohi_vk_barrier_work(vk, commands);
    vk->root.api.CmdCopyBuffer(commands, from_host ? host : device, to_host ? host : device, count,
                               regions);
    return wcohi_vk_commands_end(vk, commands, to_host, error);
}

static wcoh_result wcohi_vk_submit(const wcohi_vk *vk, const VkCommandBuffer *commands,
                                   uint32_t count, VkFence fence, wcoh_error *error)
{
    const wcohi_vk_api *api = &vk->root.api;
    VkSubmitInfo info;
    wcoh_result result =
        wcohi_vk_check(api->ResetFences(vk->device, 1, &fence), "vkResetFences", error);
    if (result) return result;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = count;
    info.pCommandBuffers = commands;
    return wcohi_vk_check(api->QueueSubmit(vk->queue, 1, &info, fence), "vkQueueSubmit", error);
}

/* Submit commands and wait for the device to finish them, and with them all before. */
static wcoh_result wcohi_vk_submit_wait(wcohi_vk_exec *exec, VkCommandBuffer commands,
                                        wcoh_error *error)
{
    wcoh_result result = wcohi_vk_submit(exec->vk, &commands, 1, exec->fence, error);
    if (!result) result = wcohi_vk_fence_wait(exec->vk, exec->fence, error);
    if (!result) exec->done = exec->sent;
    return result;
}

/* Copy between the buffers, `bytes` at most the staging area. */
static wcoh_result wcohi_vk_copy(wcohi_vk_exec *exec, wcohi_gpu_view from, wcohi_gpu_view to,
                                 size_t bytes, wcoh_error *error)
{
    VkBufferCopy region;
    wcoh_result result;
    region.srcOffset = from.offset;
    region.dstOffset = to.offset;
    region.size = bytes;
    result = wcohi_vk_copies(exec, exec->transfer, from.host, to.host, &region, 1, error);
    return result ? result : wcohi_vk_submit_wait(exec, exec->transfer, error);
}

/* What a slot has of a view of the exchange. */
static size_t wcohi_vk_slot_offset(const wcohi_vk_exec *exec, int slot, const wcohi_gpu_view *view)
{
    const wcohi_gpu_layout *at = &exec->at;
    return at->slot_area.offset + (size_t)slot * at->exchange.bytes + view->offset -
           at->exchange.offset;
}

static void *wcohi_vk_slot_data(const wcohi_vk_exec *exec, int slot, const wcohi_gpu_view *view)
{
    return exec->host_buffer.mapped + wcohi_vk_slot_offset(exec, slot, view);
}

/* The next slot, when the submit that had it is done. */
static wcoh_result wcohi_vk_slot_take(wcohi_vk_exec *exec, int *slot, wcoh_error *error)
{
    *slot = exec->next_slot;
    exec->next_slot = (exec->next_slot + 1) % WCOHI_VK_SLOTS;
    return wcohi_vk_slot_wait(exec, *slot, error);
}

/* Send a recorded pass off: before it the inputs that the slot holds, behind it its result. */
static wcoh_result wcohi_vk_slot_send(wcohi_vk_exec *exec, int slot, const wcohi_gpu_view *inputs,
                                      uint32_t count, VkCommandBuffer pass, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    wcohi_vk_slot *sent = &exec->slot[slot];
    VkBufferCopy regions[6], back[2];
    VkCommandBuffer commands[3];
    wcoh_result result;
    uint32_t i, filled = 0;
    for (i = 0; i < count; i++) {
        if (inputs[i].bytes == 0) continue;
        regions[filled].srcOffset = wcohi_vk_slot_offset(exec, slot, &inputs[i]);
        regions[filled].dstOffset = inputs[i].offset;
        regions[filled++].size = inputs[i].bytes;
    }
    for (i = 0; i < WCOHI_COUNT(back); i++) {
        const wcohi_gpu_view *view = i ? &exec->at.impress : &exec->at.result;
        back[i].srcOffset = view->offset;
        back[i].dstOffset = wcohi_vk_slot_offset(exec, slot, view);
        back[i].size = view->bytes;
    }
    commands[0] = sent->in;
    commands[1] = pass;
    commands[2] = sent->out;
    result = wcohi_vk_copies(exec, sent->in, 1, 0, regions, filled, error);
    if (!result)
        result =
            wcohi_vk_copies(exec, sent->out, 0, 1, back, exec->at.impress.bytes ? 2 : 1, error);
    if (!result) result = wcohi_vk_submit(vk, commands, 3, sent->fence, error);
    if (!result) sent->sent = ++exec->sent;
    return result;
}

/* Doubles of a session's states as pairs of floats, where the device computes in those, and back. */
static void wcohi_vk_split(void *pairs, const void *doubles, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        double d;
        float pair[2];
        memcpy(&d, (const unsigned char *)doubles + 8 * i, 8);
        pair[0] = (float)d;
        pair[1] = (float)(d - (double)pair[0]);
        memcpy((unsigned char *)pairs + 8 * i, pair, 8);
    }
}

static void wcohi_vk_join(void *doubles, const void *pairs, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        float pair[2];
        double d;
        memcpy(pair, (const unsigned char *)pairs + 8 * i, 8);
        d = (double)pair[0] + (double)pair[1];
        memcpy((unsigned char *)doubles + 8 * i, &d, 8);
    }
}

/* Move bytes in or out through the staging area, piece by piece. pairs: numbers change their form. */
static wcoh_result wcohi_vk_transfer(wcohi_vk_exec *exec, wcohi_gpu_view view, void *in,
                                     const void *out, int pairs, wcoh_error *error)
{
    unsigned char *staging = exec->host_buffer.mapped + exec->at.staging.offset;
    size_t done, bytes;
    wcoh_result result = WCOH_OK;
    for (done = 0; !result && done < view.bytes; done += bytes) {
        wcohi_gpu_view piece = view;
        bytes = WCOHI_MIN(view.bytes - done, exec->at.staging.bytes);
        piece.offset += done;
        if (out && pairs) wcohi_vk_split(staging, (const unsigned char *)out + done, bytes / 8);
        else if (out) memcpy(staging, (const unsigned char *)out + done, bytes);
        result = out ? wcohi_vk_copy(exec, exec->at.staging, piece, bytes, error)
                     : wcohi_vk_copy(exec, piece, exec->at.staging, bytes, error);
        if (result || out) continue;
        if (pairs) wcohi_vk_join((unsigned char *)in + done, staging, bytes / 8);
        else memcpy((unsigned char *)in + done, staging, bytes);
    }
    return result;
}

/* Elements first .. first+count-1 of an area, and how large one is. */
static wcohi_gpu_view wcohi_vk_area(const wcohi_vk_exec *exec, wcohi_area area, size_t first,
                                    size_t count)
{
    const wcohi_gpu_layout *at = &exec->at;
    wcohi_gpu_view view = area == WCOHI_AREA_PARAMS     ? at->params
                          : area == WCOHI_AREA_GRADIENT ? at->gradient
                          : area == WCOHI_AREA_MOMENT1  ? at->moment1
                          : area == WCOHI_AREA_MOMENT2  ? at->moment2
                          : area == WCOHI_AREA_HIDDEN   ? at->hidden
                                                        : at->logits;
    return wcohi_gpu_part(view, first * sizeof(wcoh_real), count * sizeof(wcoh_real));
}

static wcoh_result wcohi_vk_upload(wcohi_exec *base, wcohi_area area, size_t first,
                                   const void *data, size_t count, wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    wcoh_result result =
        wcohi_vk_transfer(exec, wcohi_vk_area(exec, area, first, count), NULL, data, 0, error);
    if (!result && area == WCOHI_AREA_PARAMS && count == base->model->reals)
        exec->version = base->model->version;
    return result;
}

/* Bring the device's parameters up to date with the model's. */
static wcoh_result wcohi_vk_refresh(wcohi_vk_exec *exec, wcoh_error *error)
{
    wcoh_model *model = exec->base.model;
    if (exec->version == model->version) return WCOH_OK;
    return wcohi_vk_upload(&exec->base, WCOHI_AREA_PARAMS, 0, model->params, model->reals, error);
}

static wcoh_result wcohi_vk_download(wcohi_exec *base, wcohi_area area, size_t first, void *data,
                                     size_t count, wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    wcohi_gpu_view view = wcohi_vk_area(exec, area, first, count);
    wcoh_result result = area == WCOHI_AREA_PARAMS ? wcohi_vk_refresh(exec, error) : WCOH_OK;
    if (result) return result;
    if (!view.host) return wcohi_vk_transfer(exec, view, data, NULL, 0, error);
    if ((result = wcohi_vk_slot_wait(exec, exec->run_slot, error)) == WCOH_OK)
        memcpy(data, exec->host_buffer.mapped + view.offset, view.bytes);
    return result;
}

static void *wcohi_vk_map(wcohi_exec *base, wcohi_area area, wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    if (!exec->mapped[area]) {
        wcohi_fail(error, WCOH_E_DEVICE, "this area of a Vulkan device has no host memory");
        return NULL;
    }
    if (wcohi_vk_download(base, area, 0, exec->mapped[area],
                          exec->at.gradient.bytes / sizeof(wcoh_real), error))
        return NULL;
    return exec->mapped[area];
}

/* ======== 4 running: sessions ================================================================= */

/* The states of a stream stand on the device as files have them, one stream's after the other's. */
static wcohi_gpu_view wcohi_vk_states(const wcohi_vk_exec *exec, size_t slot)
{
    return wcohi_gpu_part(exec->at.states, slot * exec->plan.states, exec->plan.states);
}

/* Move them: out of the device into `out`, or `in` into it. With states in pairs of floats each op's
   doubles are split or joined on the way, its reals are not. */
static wcoh_result wcohi_vk_move(wcohi_vk_exec *exec, size_t slot, void *out, const void *in,
                                 wcoh_error *error)
{
    const wcohi_plan *plan = &exec->plan;
    wcohi_gpu_view whole = wcohi_vk_states(exec, slot);
    wcoh_result result = WCOH_OK;
    int i;
    if (in) exec->prepared[slot] = 0; /* their tables may be of other parameters */
    if (!exec->vk->traits.two_float) return wcohi_vk_transfer(exec, whole, out, in, 0, error);
    for (i = 0; !result && i < plan->count; i++) {
        const wcohi_op *op = &plan->ops[i];
        wcohi_sizes sizes = wcohi_op_sizes(plan, op, 1);
        if (sizes.state == 0) continue;
        result = wcohi_vk_transfer(exec, wcohi_gpu_part(whole, op->state, sizes.state),
                                   out ? (unsigned char *)out + op->state : NULL,
                                   in ? (const unsigned char *)in + op->state : NULL,
                                   !sizes.saved_reals, error);
    }
    return result;
}

static wcoh_result wcohi_vk_save_states(wcohi_exec *exec, size_t slot, void *data,
                                        wcoh_error *error)
{
    return wcohi_vk_move((wcohi_vk_exec *)exec, slot, data, NULL, error);
}

static wcoh_result wcohi_vk_load_states(wcohi_exec *exec, size_t slot, const void *data,
                                        wcoh_error *error)
{
    return wcohi_vk_move((wcohi_vk_exec *)exec, slot, NULL, data, error);
}

static wcoh_result wcohi_vk_copy_states(wcohi_exec *to, size_t to_slot, wcohi_exec *from,
                                        size_t from_slot, wcoh_error *error)
{
    wcohi_vk_exec *here = (wcohi_vk_exec *)from, *there = (wcohi_vk_exec *)to;
    wcoh_result result;
    if (here != there) {
        result = wcohi_vk_move(here, from_slot, here->states, NULL, error);
        return result ? result : wcohi_vk_move(there, to_slot, NULL, here->states, error);
    }
    there->prepared[to_slot] = here->prepared[from_slot];
    return wcohi_vk_copy(here, wcohi_vk_states(here, from_slot), wcohi_vk_states(here, to_slot),
                         here->plan.states, error);
}

/* Write the headers of a stream's states when it begins or the parameters have changed. */
static wcoh_result wcohi_vk_stream_prepare(wcohi_vk_exec *exec, const wcohi_stream *stream,
                                           wcoh_error *error)
{
    const wcohi_plan *plan = &exec->plan;
    wcoh_result result = WCOH_OK;
    int i;
    if (stream->position > 0 && exec->prepared[stream->slot] == exec->base.model->version)
        return WCOH_OK;
    if (stream->position == 0) memset(exec->states, 0, plan->states);
    else result = wcohi_vk_move(exec, stream->slot, exec->states, NULL, error);
    for (i = 0; !result && i < plan->count; i++) {
        const wcohi_op *op = &plan->ops[i];
        if (op->kind == WCOHI_COHERENCE)
            wcohi_gpu_coherence_open(plan, exec->base.model->params, op, exec->states, exec->heads);
    }
    if (!result) result = wcohi_vk_move(exec, stream->slot, NULL, exec->states, error);
    if (!result) exec->prepared[stream->slot] = exec->base.model->version;
    return result;
}

/* ======== 4 running: runs ===================================================================== */

/* The embedding, with which every plan begins. */
static const wcohi_op *wcohi_vk_embed(const wcohi_vk_exec *exec) { return &exec->plan.ops[0]; }

/* Whose rows those of a pass are; a pass may have more than the run. */
static void wcohi_vk_stage_members(const wcohi_run *run, int batch, int context,
                                   wcoh_spv_member *members)
{
    int b;
    memset(members, 0, (size_t)batch * sizeof *members);
    for (b = 0; run->streams && b < batch; b++) {
        uint64_t position = b < run->batch ? run->streams[b].position : 0;
        members[b].slot = b < run->batch ? (uint32_t)run->streams[b].slot : UINT32_MAX;
        members[b].position_low = (uint32_t)position;
        members[b].position_high = (uint32_t)(position >> 32);
        members[b].ring_start = (uint32_t)(position % (uint64_t)context);
    }
}

/* The streams' wave memories, strength x M, [batch] of them. */
static void wcohi_vk_stage_waves(const wcohi_run *run, size_t wide, float *waves)
{
    int b;
    for (b = 0; wide && b < run->batch; b++, waves += wide)
        if (run->streams[b].wave) memcpy(waves, run->streams[b].wave, wide * sizeof *waves);
        else memset(waves, 0, wide * sizeof *waves);
}

/* Frame, members, tokens, targets, places (of sinusoids past their table) and wave memories into a
   slot; inputs [6] are their views. */
static void wcohi_vk_stage(wcohi_vk_exec *exec, const wcohi_run *run, const wcohi_gpu_pass *pass,
                           int slot, wcohi_gpu_view *inputs)
{
    const wcohi_op *embed = wcohi_vk_embed(exec);
    const wcohi_gpu_layout *at = &exec->at;
    wcoh_spv_frame *frame = (wcoh_spv_frame *)wcohi_vk_slot_data(exec, slot, &at->frame);
    float *places = (float *)wcohi_vk_slot_data(exec, slot, &at->places);
    size_t seq = (size_t)run->seq, rows = (size_t)run->batch * seq, row,
           bytes = rows * sizeof *run->tokens, width = (size_t)embed->wide_out;
    inputs[0] = at->frame;
    inputs[1] = wcohi_gpu_part(at->members, 0, (size_t)pass->batch * sizeof(wcoh_spv_member));
    inputs[2] = wcohi_gpu_part(at->tokens, 0, (size_t)pass->batch * seq * sizeof *run->tokens);
    inputs[3] = wcohi_gpu_part(at->targets, 0, pass->loss ? bytes : 0);
    inputs[4] = wcohi_gpu_part(at->places, 0, pass->places ? rows * width * sizeof *places : 0);
    inputs[5] = at->waves;
    wcohi_vk_stage_waves(run, exec->plan.keeping.waves,
                         (float *)wcohi_vk_slot_data(exec, slot, &at->waves));
    wcohi_vk_stage_members(run, pass->batch, embed->context,
                           (wcoh_spv_member *)wcohi_vk_slot_data(exec, slot, &at->members));
    memset(wcohi_vk_slot_data(exec, slot, &at->tokens), 0, inputs[2].bytes);
    memcpy(wcohi_vk_slot_data(exec, slot, &at->tokens), run->tokens, bytes);
    if (pass->loss) memcpy(wcohi_vk_slot_data(exec, slot, &at->targets), run->targets, bytes);
    for (row = 0; pass->places && row < rows; row++) {
        uint64_t position = (run->streams ? run->streams[row / seq].position : 0) + row % seq;
        if (!run->streams && row >= seq) /* every window begins anew */
            memcpy(places + row * width, places + (row - seq) * width, width * sizeof *places);
        else
            wcohi_sinusoid(places + row * width, embed->wide_out / 2, embed->amplitude,
                           (double)position);
    }
    memset(frame, 0, sizeof *frame);
    frame->active_bands = (uint32_t)run->active_bands;
    frame->open = (uint32_t)run->open;
    frame->opening = (uint32_t)run->opening;
    frame->share = (float)run->share;
    frame->gradient_scale = (float)(run->scale / (double)rows);
    frame->noise_low = run->noise.key[0];
    frame->noise_high = run->noise.key[1];
    frame->window = run->noise.window;
}

/* 1: a stream, or a window, goes past the table of positions. */
static int wcohi_vk_past_table(const wcohi_op *embed, const wcohi_run *run)
{
    int b;
    if (!run->streams) return embed->amplitude > 0 && run->seq > embed->context;
    for (b = 0; embed->amplitude > 0 && b < run->batch; b++)
        if (run->streams[b].position + (uint64_t)run->seq > (uint64_t)embed->context) return 1;
    return 0;
}

/* ---- profiles -------------------------------------------------------------------------------- */

/* Room for the marks of a pass that is timed. */
static wcoh_result wcohi_vk_marks_take(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    VkQueryPoolCreateInfo info;
    if (exec->marks) return WCOH_OK;
    if (vk->clock_bits == 0)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "profile: %.120s has no timestamps",
                          vk->info.name);
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = 2 * (uint32_t)exec->plan.count + 1;
    return wcohi_vk_check(
        vk->root.api.CreateQueryPool(vk->device, &info, vk->root.allocator, &exec->marks),
        "vkCreateQueryPool", error);
}

/* Wait for the pass that a slot has sent, and add what lies between its marks to seconds [times]. */
static wcoh_result wcohi_vk_marks_read(wcohi_vk_exec *exec, int slot, int times, double *seconds,
                                       wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    uint64_t mask = vk->clock_bits < 64 ? ((uint64_t)1 << vk->clock_bits) - 1 : UINT64_MAX, pair[2];
    wcoh_result result = wcohi_vk_slot_wait(exec, slot, error);
    int i;
    for (i = 0; !result && i < times; i++) {
        result =
            wcohi_vk_check(vk->root.api.GetQueryPoolResults(
                               vk->device, exec->marks, (uint32_t)i, 2, sizeof pair, pair,
                               sizeof *pair, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                           "vkGetQueryPoolResults", error);
        if (!result)
            seconds[i] +=
                (double)((pair[1] - pair[0]) & mask) * 1e-9 * (double)vk->limits.timestampPeriod;
    }
    return result;
}

/* When the pass is done, what its oscillators returned is added to each stream's sums. */
static wcoh_result wcohi_vk_impress(wcohi_vk_exec *exec, const wcohi_run *run, int slot,
                                    wcoh_error *error)
{
    size_t wide = exec->plan.keeping.waves, i;
    const float *sums = (const float *)wcohi_vk_slot_data(exec, slot, &exec->at.impress);
    wcoh_result result = wide ? wcohi_vk_slot_wait(exec, slot, error) : WCOH_OK;
    int b;
    for (b = 0; wide && !result && b < run->batch; b++, sums += wide)
        for (i = 0; i < wide; i++) run->streams[b].impress[i] += (double)sums[i];
    return result;
}

/* The losses of a pass's rows, when it is done. */
static wcoh_result wcohi_vk_losses(wcohi_vk_exec *exec, const wcohi_run *run, wcoh_error *error)
{
    size_t bytes = (size_t)run->batch * (size_t)run->seq * sizeof *run->losses;
    return wcohi_vk_transfer(exec, wcohi_gpu_part(exec->at.nats, 0, bytes), run->losses, NULL, 0,
                             error);
}

/* A run is sent off and not waited for: the next one may be sent while the device works. Streams
   always pass as many at once as there can be: what a member computes depends on no company. */
static wcoh_result wcohi_vk_run(wcohi_exec *base, const wcohi_run *run, int first, int last,
                                wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    VkCommandBuffer commands = NULL;
    wcohi_gpu_view inputs[6];
    wcohi_gpu_pass pass;
    wcoh_result result;
    int slot, b;
    memset(&pass, 0, sizeof pass);
    pass.first = first;
    pass.last = last;
    pass.batch = run->streams ? exec->plan.batch : run->batch;
    pass.seq = run->seq;
    pass.backward = run->backward;
    pass.add = run->add;
    pass.session = run->streams != NULL;
    pass.logits = run->logits;
    pass.loss = run->targets != NULL;
    pass.noise = run->noise.on;
    pass.places = wcohi_vk_past_table(wcohi_vk_embed(exec), run);
    pass.timed = run->backward && base->seconds;
    if (pass.timed && (result = wcohi_vk_marks_take(exec, error)) != WCOH_OK) return result;
    if ((result = wcohi_vk_refresh(exec, error)) != WCOH_OK) return result;
    for (b = 0; run->streams && b < run->batch; b++)
        if ((result = wcohi_vk_stream_prepare(exec, &run->streams[b], error)) != WCOH_OK)
            return result;
    if ((result = wcohi_vk_recording_get(exec, &pass, &commands, error)) != WCOH_OK) return result;
    if ((result = wcohi_vk_slot_take(exec, &slot, error)) != WCOH_OK) return result;
    wcohi_vk_stage(exec, run, &pass, slot, inputs);
    exec->run_slot = slot;
    result = wcohi_vk_slot_send(exec, slot, inputs, WCOHI_COUNT(inputs), commands, error);
    if (!result) result = wcohi_vk_impress(exec, run, slot, error);
    if (!result && run->losses && last == exec->plan.count)
        result = wcohi_vk_losses(exec, run, error);
    if (result || !pass.timed) return result;
    return wcohi_vk_marks_read(exec, slot, last - first, base->seconds + first, error);
}

/* result[0..1]: loss, [2..3]: squared norm, [4] clip factor, [5] 1 if applied, [6..7]: loss of the
   runs that made the gradient, [8..9] along, [10] 1 if that is known: see wcohi_outcome */
static const float *wcohi_vk_result_of(const wcohi_vk_exec *exec, int slot)
{
    return (const float *)wcohi_vk_slot_data(exec, slot, &exec->at.result);
}

/* Two floats as the number whose sum they are; the second of an infinity says nothing. */
static double wcohi_vk_joined(const float *pair)
{
    return wcohi_is_finite((double)pair[0]) ? (double)pair[0] + (double)pair[1] : (double)pair[0];
}

static wcoh_result wcohi_vk_loss(wcohi_exec *base, double *nats, wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    wcoh_result result = wcohi_vk_slot_wait(exec, exec->run_slot, error);
    *nats = wcohi_vk_joined(wcohi_vk_result_of(exec, exec->run_slot));
    return result;
}

#ifndef WAVECOH_NO_TRAINING
/* What the optimiser does to every 16 parameters: (1 if decayed, plus 2 if Muon's; 4 if frozen or
   statistics, largest value allowed). */
static wcoh_result wcohi_vk_rules_upload(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcoh_model *model = exec->base.model;
    float *rules = (float *)(void *)exec->mapped[WCOHI_AREA_GRADIENT];
    size_t i;
    int r, muon = exec->plan.muon;
    if (!exec->plan.training) return WCOH_OK;
    for (i = 0; i < model->trained_reals / 16; i++) {
        rules[2 * i] = 0;
        rules[2 * i + 1] = 1e30f;
    }
    for (r = 0; r < model->row_count; r++) {
        const wcohi_param_row *row = &model->rows[r];
        if (!row->trained) continue;
        for (i = row->offset / 16; i <= (row->offset + row->count - 1) / 16; i++) {
            rules[2 * i] = (row->decayed ? 1.0f : 0.0f) + (muon && row->matrices ? 2.0f : 0.0f);
            if (row->frozen || row->seen) rules[2 * i] = 4;
            rules[2 * i + 1] = (float)WCOHI_MIN(row->maximum, 1e30);
        }
    }
    exec->freezes = model->freezes;
    return wcohi_vk_transfer(exec, exec->at.rules, NULL, rules, 0, error);
}

/* What is frozen has no gradient: it is filled with zeros behind the pass that made it. */
static wcoh_result wcohi_vk_freeze(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    const wcoh_model *model = exec->base.model;
    VkCommandBuffer commands = exec->transfer;
    wcoh_result result = WCOH_OK;
    int r;
    if (model->freezes == 0) return WCOH_OK;
    if (exec->freezes != model->freezes) result = wcohi_vk_rules_upload(exec, error);
    if (!result)
        result = wcohi_vk_commands_begin(vk, commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
                                         error);
    if (result) return result;
    wcohi_vk_barrier_work(vk, commands);
    for (r = 0; r < model->row_count; r++)
        if (model->rows[r].frozen)
            vk->root.api.CmdFillBuffer(commands, exec->device_buffer.buffer,
                                       exec->at.gradient.offset + model->rows[r].offset * 4,
                                       model->rows[r].count * 4, 0);
    result = wcohi_vk_commands_end(vk, commands, 0, error);
    return result ? result : wcohi_vk_submit_wait(exec, commands, error);
}

static void wcohi_vk_stage_update(wcoh_spv_frame *frame, const wcohi_update *update)
{
    double step = (double)update->step, before = step - 1;
    memset(frame, 0, sizeof *frame);
    frame->learning_rate = (float)update->lr;
    frame->beta1 = (float)update->beta1;
    frame->beta2 = (float)update->beta2;
    frame->epsilon = (float)update->epsilon;
    frame->decay = (float)update->decay;
    frame->clip = (float)update->clip;
    frame->correction1 = (float)(1 / (1 - pow(update->beta1, step)));
    frame->correction2 = (float)(1 / (1 - pow(update->beta2, step)));
    frame->muon_rate = (float)update->muon_lr;
    frame->momentum = (float)update->momentum;
    if (before < 1) return;
    frame->along = (float)(1 / (1 - pow(update->beta1, before)));
    frame->along_muon = (float)((1 - update->momentum) / (1 - pow(update->momentum, before)));
}

static wcoh_result wcohi_vk_update(wcohi_exec *base, const wcohi_update *update, int whole,
                                   int *time, wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    wcoh_spv_frame *frame;
    VkCommandBuffer commands = NULL;
    wcohi_gpu_pass pass;
    wcoh_result result;
    int slot;
    (void)whole, (void)time; /* it is never left half done */
    memset(&pass, 0, sizeof pass);
    pass.first = -1;
    pass.timed = base->seconds != NULL;
    if (pass.timed && (result = wcohi_vk_marks_take(exec, error)) != WCOH_OK) return result;
    if ((result = wcohi_vk_refresh(exec, error)) != WCOH_OK) return result;
    if ((result = wcohi_vk_freeze(exec, error)) != WCOH_OK) return result;
    if ((result = wcohi_vk_recording_get(exec, &pass, &commands, error)) != WCOH_OK) return result;
    if ((result = wcohi_vk_slot_take(exec, &slot, error)) != WCOH_OK) return result;
    frame = (wcoh_spv_frame *)wcohi_vk_slot_data(exec, slot, &exec->at.frame);
    wcohi_vk_stage_update(frame, update);
    exec->update_slot = slot;
    result = wcohi_vk_slot_send(exec, slot, &exec->at.frame, 1, commands, error);
    if (result || !pass.timed) return result;
    return wcohi_vk_marks_read(exec, slot, 1, base->seconds + 2 * base->plan->count, error);
}

static wcoh_result wcohi_vk_outcome(wcohi_exec *base, wcohi_outcome *outcome, wcoh_error *error)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    const float *out = wcohi_vk_result_of(exec, exec->update_slot);
    wcoh_result result = wcohi_vk_slot_wait(exec, exec->update_slot, error);
    if (result) return result;
    outcome->nats = wcohi_vk_joined(out + 6);
    outcome->norm = sqrt(wcohi_vk_joined(out + 2));
    outcome->applied = out[5] != 0;
    outcome->along = wcohi_vk_joined(out + 8);
    outcome->clipped = out[10] > 0 ? pow((double)out[4] * outcome->norm, 2) : 0;
    if (outcome->applied) exec->version = ++base->model->version;
    return WCOH_OK;
}
#endif

/* ======== 4 running: a plan made ready ======================================================== */

/* Where an area begins and how long it is; `end` moves on. */
static wcohi_gpu_view wcohi_vk_place(size_t *end, int host, size_t count, size_t size)
{
    wcohi_gpu_view view;
    view.host = host;
    view.offset = *end;
    view.bytes = wcohi_mul(count, size);
    *end = wcohi_add(*end, wcohi_round_up(view.bytes, WCOHI_GPU_ALIGN));
    return view;
}

/* scratch: bytes; later: reals */
static void wcohi_vk_layout_make(wcohi_vk_exec *exec, size_t scratch, size_t later)
{
    const wcohi_plan *plan = &exec->plan;
    size_t trained = plan->training ? plan->trained_reals : 0,
           rows = (size_t)plan->batch * (size_t)plan->seq;
    size_t width = (size_t)wcohi_vk_embed(exec)->wide_out, end = 0;
    size_t places = wcohi_vk_embed(exec)->amplitude > 0 &&
                            (plan->session || plan->seq > wcohi_vk_embed(exec)->context)
                        ? rows
                        : 0;
    size_t waves = wcohi_mul((size_t)plan->batch, plan->keeping.waves);
    wcohi_gpu_layout *at = &exec->at;
    at->params = wcohi_vk_place(&end, 0, plan->reals, sizeof(float));
    at->gradient = wcohi_vk_place(&end, 0, trained, sizeof(float));
    at->moment1 = wcohi_vk_place(&end, 0, trained, sizeof(float));
    at->moment2 = wcohi_vk_place(&end, 0, trained, sizeof(float));
    at->rules = wcohi_vk_place(&end, 0, trained / 16, 2 * sizeof(float));
    at->activations = wcohi_vk_place(&end, 0, plan->activations, sizeof(float));
    at->tables = wcohi_vk_place(&end, 0, (size_t)wcohi_gpu_rotary_width(plan), sizeof(uint32_t));
    at->states =
        wcohi_vk_place(&end, 0, plan->session ? (size_t)plan->keeping.streams : 0, plan->states);
    at->nats = wcohi_vk_place(&end, 0, rows, sizeof(float));
    at->frame = wcohi_vk_place(&end, 0, 1, sizeof(wcoh_spv_frame));
    at->members = wcohi_vk_place(&end, 0, (size_t)plan->batch, sizeof(wcoh_spv_member));
    at->tokens = wcohi_vk_place(&end, 0, rows, sizeof(uint32_t));
    at->targets = wcohi_vk_place(&end, 0, rows, sizeof(uint32_t));
    at->places = wcohi_vk_place(&end, 0, wcohi_mul(places, width), sizeof(float));
    at->waves = wcohi_vk_place(&end, 0, waves, sizeof(float));
    at->result = wcohi_vk_place(&end, 0, 16, sizeof(float));
    at->impress = wcohi_vk_place(&end, 0, waves, sizeof(float));
    at->exchange = wcohi_gpu_part(at->frame, 0, end - at->frame.offset);
    at->scratch = wcohi_vk_place(&end, 0, scratch, 1);
    at->later = wcohi_vk_place(&end, 0, later, sizeof(float));
    at->segments =
        wcohi_vk_place(&end, 0, later ? WCOHI_GPU_SEGMENTS : 0, sizeof(wcohi_gpu_segment));
    at->turns = wcohi_vk_place(&end, 0, WCOHI_GPU_TURNS, sizeof(uint32_t));
    at->device_bytes = end;
    end = 0;
    at->slot_area = wcohi_vk_place(&end, 1, WCOHI_VK_SLOTS, at->exchange.bytes);
    at->hidden = wcohi_vk_place(&end, 1, plan->session ? (size_t)plan->batch : 0,
                                (size_t)plan->hidden * sizeof(float));
    at->logits = wcohi_vk_place(&end, 1, plan->session ? (size_t)plan->batch : 0,
                                (size_t)plan->vocab * sizeof(float));
    at->staging =
        wcohi_vk_place(&end, 1, WCOHI_CLAMP(at->device_bytes / 8 / 4096, 1, 1024) * 4096, 1);
    at->host_bytes = end;
}

/* Scratch that the largest pass of this plan wants: every kind of pass is walked without recording.
   Sizes that this device cannot run are refused here. */
static wcoh_result wcohi_vk_measure(wcohi_vk_exec *exec, size_t *scratch, size_t *later,
                                    wcohi_gpu_shapes *shapes, wcoh_error *error)
{
    const wcohi_plan *plan = &exec->plan;
    wcohi_vk_recorder r;
    wcohi_gpu_pass passes[3];
    int i, count = 1;
    memset(passes, 0, sizeof passes);
    passes[0].last = plan->count;
    passes[0].batch = plan->batch;
    passes[0].seq = plan->seq;
    passes[0].loss = 1;
    passes[0].session = passes[0].logits = plan->session;
    if (plan->training) {
        passes[1] = passes[0];
        passes[1].last = 2 * plan->count;
        passes[1].backward = 1;
        passes[2].first = -1;
        count = 3;
    }
    *scratch = 0;
    for (i = 0; i < count; i++) {
        wcohi_vk_recorder_open(&r, exec, &passes[i], error);
        r.base.shapes = i ? shapes : NULL; /* of a step */
        wcohi_gpu_record(&r.base);
        if (r.base.result) return r.base.result;
        *scratch = WCOHI_MAX(*scratch, r.base.scratch_most);
        *later = WCOHI_MAX(*later, r.base.later_most);
        if (i) exec->at.dispatches += r.sets;
    }
    return WCOH_OK;
}

/* The angles of rotary attention, made in the staging area, as many as it holds at once. */
static wcoh_result wcohi_vk_turns_upload(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcohi_gpu_view staging = exec->at.staging;
    uint32_t *words = (uint32_t *)(void *)(exec->host_buffer.mapped + staging.offset);
    int wide = wcohi_gpu_rotary_width(&exec->plan), half = wide / 2, done = 0, count;
    wcoh_result result = WCOH_OK;
    for (; !result && done < half; done += count) {
        size_t first = (size_t)done * 8, bytes = WCOHI_MIN((size_t)half * 8 - first, staging.bytes);
        count = (int)(bytes / 8);
        wcohi_gpu_turns(words, wide, done, count);
        result = wcohi_vk_copy(exec, staging, wcohi_gpu_part(exec->at.tables, first, bytes), bytes,
                               error);
    }
    return result;
}

static wcoh_result wcohi_vk_fence_take(const wcohi_vk *vk, VkFence *fence, wcoh_error *error)
{
    VkFenceCreateInfo info;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    return wcohi_vk_check(vk->root.api.CreateFence(vk->device, &info, vk->root.allocator, fence),
                          "vkCreateFence", error);
}

/* Zero the whole device buffer: moments and states begin so, and gaps stay so. */
static wcoh_result wcohi_vk_clear(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    wcoh_result result = wcohi_vk_commands_begin(
        vk, exec->transfer, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, error);
    if (result) return result;
    vk->root.api.CmdFillBuffer(exec->transfer, exec->device_buffer.buffer, 0, VK_WHOLE_SIZE, 0);
    result = wcohi_vk_commands_end(vk, exec->transfer, 0, error);
    return result ? result : wcohi_vk_submit_wait(exec, exec->transfer, error);
}

/* Commands and fences of the slots and of transfers. */
static wcoh_result wcohi_vk_slots_take(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    wcoh_result result = wcohi_vk_commands_take(vk, &exec->transfer, error);
    int i;
    if (!result) result = wcohi_vk_fence_take(vk, &exec->fence, error);
    for (i = 0; !result && i < WCOHI_VK_SLOTS; i++) {
        result = wcohi_vk_commands_take(vk, &exec->slot[i].in, error);
        if (!result) result = wcohi_vk_commands_take(vk, &exec->slot[i].out, error);
        if (!result) result = wcohi_vk_fence_take(vk, &exec->slot[i].fence, error);
    }
    return result;
}

static void wcohi_vk_fence_give(const wcohi_vk *vk, VkFence fence)
{
    if (fence) vk->root.api.DestroyFence(vk->device, fence, vk->root.allocator);
}

static void wcohi_vk_exec_close(wcohi_exec *base)
{
    wcohi_vk_exec *exec = (wcohi_vk_exec *)base;
    const wcohi_vk *vk = exec->vk;
    int i;
    wcohi_vk_wait_all(exec);
    for (i = 0; i < WCOHI_VK_RECORDINGS; i++) wcohi_vk_recording_give(exec, &exec->recordings[i]);
    for (i = 0; i < WCOHI_VK_SLOTS; i++) {
        wcohi_vk_commands_give(vk, exec->slot[i].in);
        wcohi_vk_commands_give(vk, exec->slot[i].out);
        wcohi_vk_fence_give(vk, exec->slot[i].fence);
    }
    wcohi_vk_commands_give(vk, exec->transfer);
    wcohi_vk_fence_give(vk, exec->fence);
    if (exec->marks) vk->root.api.DestroyQueryPool(vk->device, exec->marks, vk->root.allocator);
    wcohi_vk_buffer_give(vk, &exec->device_buffer);
    wcohi_vk_buffer_give(vk, &exec->host_buffer);
}

/* Tensors of a plan, with room for the halved and widened ones of each. */
static wcohi_tensor *wcohi_vk_tensors_layout(wcohi_arena *arena, const wcohi_plan *plan,
                                             int **halves)
{
    size_t count = (plan->training ? 3 : 1) * (size_t)plan->tensor_count;
    *halves = plan->training ? WCOHI_TAKE(arena, count, int) : NULL;
    return WCOHI_TAKE(arena, count, wcohi_tensor);
}

/* Lay host memory out: the exec, the plan's tensors, and what `map` shows. */
static wcohi_vk_exec *wcohi_vk_exec_layout(wcohi_arena *arena, const wcohi_plan *plan,
                                           size_t trained, wcohi_tensor **tensors)
{
    wcohi_vk_exec *exec = WCOHI_TAKE(arena, 1, wcohi_vk_exec);
    int area, heads = 0, i, *halves;
    for (i = 0; i < plan->count; i++) heads = WCOHI_MAX(heads, plan->ops[i].heads);
    *tensors = wcohi_vk_tensors_layout(arena, plan, &halves);
    if (exec) exec->halves = halves;
    for (area = WCOHI_AREA_GRADIENT; plan->training && area <= WCOHI_AREA_MOMENT2; area++) {
        unsigned char *memory = (unsigned char *)wcohi_take(arena, trained, sizeof(float));
        if (exec) exec->mapped[area] = memory;
    }
    if (plan->session) {
        uint64_t *prepared = WCOHI_TAKE(arena, plan->keeping.streams, uint64_t);
        unsigned char *states = WCOHI_TAKE(arena, plan->states, unsigned char);
        double *table = WCOHI_TAKE(arena, (4 + WCOHI_OVERTONES) * (size_t)heads, double);
        if (exec) exec->prepared = prepared, exec->states = states, exec->heads = table;
    }
    return exec;
}

static size_t wcohi_vk_bytes(wcoh_device *device, const wcohi_plan *plan, int session)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_tensor *tensors;
    (void)device;
    (void)session;
    wcohi_vk_exec_layout(&arena, plan, plan->trained_reals, &tensors);
    return arena.used;
}

static wcoh_result wcohi_vk_buffers_take(wcohi_vk_exec *exec, wcoh_error *error)
{
    const wcohi_vk *vk = exec->vk;
    wcoh_result result =
        wcohi_vk_buffer_take(vk, &exec->device_buffer, exec->at.device_bytes, 0, error);
    return result ? result
                  : wcohi_vk_buffer_take(vk, &exec->host_buffer, exec->at.host_bytes, 1, error);
}

/* Everything in the buffers that does not change, and what submits need. */
static wcoh_result wcohi_vk_exec_fill(wcohi_vk_exec *exec, wcoh_error *error)
{
    wcoh_result result = wcohi_vk_slots_take(exec, error);
    if (!result) result = wcohi_vk_clear(exec, error);
#ifndef WAVECOH_NO_TRAINING
    if (!result) result = wcohi_vk_rules_upload(exec, error);
#endif
    if (!result) result = wcohi_vk_turns_upload(exec, error);
    return result;
}

/* Place the tensors of a plan, and find out what halving them saves. */
static void wcohi_vk_exec_place(wcohi_vk_exec *exec, const wcohi_plan *plan, wcohi_tensor *tensors)
{
    int on = exec->vk->traits.halves && exec->halves, i;
    size_t reals[2] = {0, 0};
    for (i = exec->halves ? 0 : 1; i < 2; i++) { /* the way that is not wanted, then the other */
        int half = i ? on : !on;
        wcohi_gpu_plan_adapt(&exec->plan, plan, tensors, half ? exec->halves : NULL);
        reals[half] = exec->plan.activations;
    }
    if (exec->halves) exec->at.half_saves = (reals[0] - reals[1]) * sizeof(float);
    if (!on) exec->halves = NULL;
}

/* Where everything of a plan stands. Refuses what this device cannot run, or has no memory for. */
static wcoh_result wcohi_vk_exec_size(wcohi_vk_exec *exec, const wcohi_plan *plan,
                                      wcohi_tensor *tensors, wcohi_gpu_shapes *shapes,
                                      wcoh_error *error)
{
    uint64_t heap = exec->vk->info.memory;
    size_t scratch = 0, later = 0;
    wcoh_result result;
    wcohi_vk_exec_place(exec, plan, tensors);
    wcohi_vk_layout_make(exec, 0, 0);
    if ((result = wcohi_vk_measure(exec, &scratch, &later, shapes, error)) != WCOH_OK)
        return result;
    wcohi_vk_layout_make(exec, WCOHI_MAX(scratch, (size_t)4096), later);
    if (exec->at.device_bytes >= WCOHI_SIZE_BAD / 2)
        return wcohi_fail(error, WCOH_E_MEMORY, "batch %d x seq %d does not fit this machine",
                          plan->batch, plan->seq);
    if (heap && exec->at.device_bytes > heap)
        return wcohi_fail(error, WCOH_E_MEMORY,
                          "batch %d x seq %d wants %llu MiB of device memory, there are %llu",
                          plan->batch, plan->seq, (unsigned long long)(exec->at.device_bytes >> 20),
                          (unsigned long long)(heap >> 20));
    return WCOH_OK;
}

/* Lay the arrays of a plan out that is measured and never run. */
static wcohi_vk_exec *wcohi_vk_draft_layout(wcohi_arena *arena, wcohi_plan *plan,
                                            const wcoh_model_desc *model, wcohi_mode mode,
                                            wcohi_param_row **rows, wcohi_tensor **tensors)
{
    wcohi_vk_exec *exec = WCOHI_TAKE(arena, 1, wcohi_vk_exec);
    int *halves;
    plan->ops = NULL;
    plan->tensors = NULL;
    wcohi_walk_plan(plan, model, mode); /* counts */
    *rows = WCOHI_TAKE(arena, plan->row_count, wcohi_param_row);
    *tensors = wcohi_vk_tensors_layout(arena, plan, &halves);
    if (exec) exec->halves = halves;
    wcohi_plan_layout(plan, arena, model, mode);
    return exec;
}

/* What is done with a plan that is measured, besides. */
typedef struct wcohi_vk_wish {
    int take;                 /* 1: try whether the device gives the memory now */
    wcohi_gpu_shapes *shapes; /* note the products of its step; NULL: none */
    wcoh_result (*use)(wcohi_vk_exec *exec, void *user, wcoh_error *error); /* NULL: nothing */
    void *user;
} wcohi_vk_wish;

/* Measure a plan like `like` (its settings and seq count) with this batch. */
static wcoh_result wcohi_vk_draft(wcohi_vk *vk, const wcohi_plan *like,
                                  const wcoh_model_desc *model, int batch,
                                  const wcohi_vk_wish *wish, wcohi_gpu_layout *at,
                                  wcoh_error *error)
{
    wcohi_mode mode = like->training  ? WCOHI_MODE_TRAIN
                      : like->session ? WCOHI_MODE_SESSION
                                      : WCOHI_MODE_SCORE;
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_memory hooks = wcohi_temporary(&vk->base.block.memory); /* the device may live in it */
    wcohi_plan plan = *like;
    wcohi_param_row *rows;
    wcohi_tensor *tensors;
    wcohi_vk_exec *exec;
    wcoh_result result;
    plan.batch = batch;
    wcohi_vk_draft_layout(&arena, &plan, model, mode, &rows, &tensors);
    result = wcohi_allocation_take(&block, &arena, &hooks, arena.used, "plan", error);
    if (result) return result;
    exec = wcohi_vk_draft_layout(&arena, &plan, model, mode, &rows, &tensors);
    exec->vk = vk;
    wcohi_walk_rows(model, rows);
    wcohi_plan_build(&plan, model, rows, batch, like->seq, mode);
    if (plan.overflow || plan.activations == WCOHI_SIZE_BAD)
        result = wcohi_fail(error, WCOH_E_MEMORY, "batch %d x seq %d does not fit this machine",
                            batch, like->seq);
    else result = wcohi_vk_exec_size(exec, &plan, tensors, wish->shapes, error);
    *at = exec->at;
    if (!result && wish->use) result = wish->use(exec, wish->user, error);
    if (!result && wish->take) result = wcohi_vk_buffers_take(exec, error);
    wcohi_vk_buffer_give(vk, &exec->device_buffer);
    wcohi_vk_buffer_give(vk, &exec->host_buffer);
    wcohi_allocation_give(&block);
    return result;
}

/* Add to the sentence of a refusal the largest batch that this device would take. */
static wcoh_result wcohi_vk_refuse(wcohi_vk *vk, const wcohi_plan *plan,
                                   const wcoh_model_desc *model, wcoh_result refused,
                                   wcoh_error *error)
{
    const wcohi_vk_wish wish = {1, NULL, NULL, NULL};
    wcohi_gpu_layout at;
    char sentence[160];
    int fits = 0, fails = plan->batch, batch;
    if (!error || (refused != WCOH_E_MEMORY && refused != WCOH_E_UNSUPPORTED)) return refused;
    snprintf(sentence, sizeof sentence, "%.159s", error->text);
    while (fails - fits > 1) {
        batch = fits + (fails - fits) / 2;
        if (wcohi_vk_draft(vk, plan, model, batch, &wish, &at, NULL)) fails = batch;
        else fits = batch;
    }
    return fits
               ? wcohi_fail(error, refused, "%s; the largest batch that fits is %d", sentence, fits)
               : refused;
}

static wcoh_result wcohi_vk_open(wcoh_device *device, const wcohi_plan *plan, wcoh_model *model,
                                 int session, void *memory, wcohi_exec **out, wcoh_error *error)
{
    wcohi_arena arena;
    wcohi_tensor *tensors;
    wcohi_vk_exec *exec;
    wcoh_result result;
    (void)session;
    arena.base = (unsigned char *)memory;
    arena.used = 0;
    exec = wcohi_vk_exec_layout(&arena, plan, model->trained_reals, &tensors);
    exec->vk = (wcohi_vk *)device;
    exec->base.device = device;
    exec->base.plan = plan;
    exec->base.model = model;
    result = wcohi_vk_exec_size(exec, plan, tensors, NULL, error);
    if (!result) result = wcohi_vk_buffers_take(exec, error);
    if (result) {
        wcohi_vk_exec_close(&exec->base);
        return wcohi_vk_refuse(exec->vk, plan, &model->desc, result, error);
    }
    if ((result = wcohi_vk_exec_fill(exec, error)) != WCOH_OK) {
        wcohi_vk_exec_close(&exec->base);
        return result;
    }
    *out = &exec->base;
    return WCOH_OK;
}

/* ======== 4 running: tuning =================================================================== */

/* What a tuning text is good for: these shaders (of attention those that every program has, whose
   sources the backward's share). */
static uint32_t wcohi_vk_shaders_hash(void)
{
    static const int tuned[] = {WCOH_SPV_GEMM, WCOH_SPV_COHERENCE_FORWARD, WCOH_SPV_DOT_FORWARD,
                                WCOH_SPV_DOT_WHOLE_FORWARD, WCOH_SPV_COHERENCE_GATHER_PAIRS};
    uint32_t hash = 2166136261u; /* FNV-1a */
    int i;
    for (i = 0; i < WCOHI_COUNT(tuned); i++) {
        const unsigned char *c = (const unsigned char *)wcoh_spv_table[tuned[i]].hash;
        for (; *c; c++) hash = (hash ^ *c) * 16777619u;
    }
    return hash;
}

/* The head of a tuning text of this device. */
static int wcohi_vk_tuning_head(const wcohi_vk *vk, char *text, size_t size)
{
    return snprintf(text, size, "wavecoh tuning 3\ndevice %.250s\ndriver %08lx\nshaders %08lx\n",
                    vk->info.name, (unsigned long)vk->info.driver_version,
                    (unsigned long)wcohi_vk_shaders_hash());
}

/* One line: m n k, A transposed, B transposed, groups, adds | tile, k, elements of a thread, stages |
   splits, walk */
#define WCOHI_VK_TILE "%lu %lu %lu %lu %lu %lu"
#define WCOHI_VK_TUNED                                                                             \
    "product %lu %lu %lu %lu %lu %lu %lu tile " WCOHI_VK_TILE " splits %lu walk %lu"
/* m n k groups | tiles of dX and dW, likewise | splits; all 0: two dispatches */
#define WCOHI_VK_JOINED                                                                            \
    "backward %lu %lu %lu %lu tile " WCOHI_VK_TILE " tile " WCOHI_VK_TILE " splits %lu"
/* coherence, listens, batch, T, H, E | see wcohi_gpu_way */
#define WCOHI_VK_SEEN "attention %lu %lu %lu %lu %lu %lu columns %lu chunk %lu passes %lu"

#ifndef WAVECOH_NO_TRAINING
static size_t wcohi_vk_choice_write(const wcohi_gpu_choice *choice, char *text, size_t size)
{
    const wcohi_gpu_shape *s = &choice->shape;
    const wcohi_gpu_tile *t = choice->tile;
    return (size_t)snprintf(text, size, WCOHI_VK_TUNED "\n", (unsigned long)s->m,
                            (unsigned long)s->n, (unsigned long)s->k, (unsigned long)s->ta,
                            (unsigned long)s->tb, (unsigned long)s->groups, (unsigned long)s->adds,
                            (unsigned long)t->bm, (unsigned long)t->bn, (unsigned long)t->bk,
                            (unsigned long)t->tm, (unsigned long)t->tn, (unsigned long)t->stages,
                            (unsigned long)choice->splits, (unsigned long)choice->walk);
}

static size_t wcohi_vk_pair_write(const wcohi_gpu_pair *pair, char *text, size_t size)
{
    static const wcohi_gpu_tile none = {0, 0, 0, 0, 0, 0, 0};
    const wcohi_gpu_tile *a = pair->input ? pair->input : &none,
                         *b = pair->input ? pair->weight : &none;
    return (size_t)snprintf(text, size, WCOHI_VK_JOINED "\n", (unsigned long)pair->m,
                            (unsigned long)pair->n, (unsigned long)pair->k,
                            (unsigned long)pair->groups, (unsigned long)a->bm, (unsigned long)a->bn,
                            (unsigned long)a->bk, (unsigned long)a->tm, (unsigned long)a->tn,
                            (unsigned long)a->stages, (unsigned long)b->bm, (unsigned long)b->bn,
                            (unsigned long)b->bk, (unsigned long)b->tm, (unsigned long)b->tn,
                            (unsigned long)b->stages, (unsigned long)pair->splits);
}

static size_t wcohi_vk_path_write(const wcohi_gpu_path *path, char *text, size_t size)
{
    const wcohi_gpu_sight *s = &path->sight;
    const wcohi_gpu_way *w = &path->way;
    return (size_t)snprintf(text, size, WCOHI_VK_SEEN "\n", (unsigned long)s->coherence,
                            (unsigned long)s->listens, (unsigned long)s->batch,
                            (unsigned long)s->seq, (unsigned long)s->heads, (unsigned long)s->wide,
                            (unsigned long)w->columns, (unsigned long)w->chunk,
                            (unsigned long)w->passes);
}

static wcoh_result wcohi_vk_tuning_write(const wcohi_vk *vk, const wcohi_gpu_traits *found,
                                         char *text, size_t size, wcoh_error *error)
{
    size_t used = (size_t)wcohi_vk_tuning_head(vk, text, size);
    int i;
    for (i = 0; i < found->choice_count && used < size; i++)
        used += wcohi_vk_choice_write(&found->choices[i], text + used, size - used);
    for (i = 0; i < found->pair_count && used < size; i++)
        used += wcohi_vk_pair_write(&found->pairs[i], text + used, size - used);
    for (i = 0; i < found->path_count && used < size; i++)
        used += wcohi_vk_path_write(&found->paths[i], text + used, size - used);
    if (used < size) return WCOH_OK;
    if (size) *text = 0;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "size is %llu: the tuning text is longer",
                      (unsigned long long)size);
}
#endif

/* The tile of six numbers; NULL: none that this device can run. */
static const wcohi_gpu_tile *wcohi_vk_tuning_tile(const wcohi_vk *vk, const unsigned long *v)
{
    int i;
    for (i = 0; i < WCOHI_COUNT(wcohi_gpu_tiles); i++) {
        const wcohi_gpu_tile *t = &wcohi_gpu_tiles[i];
        if (t->bm == v[0] && t->bn == v[1] && t->bk == v[2] && t->tm == v[3] && t->tn == v[4] &&
            t->stages == v[5] && wcohi_gpu_tile_fits(t, &vk->traits))
            return t;
    }
    return NULL;
}

/* The choice of a line; 0 if it is none, or of a tile that this device cannot run. */
static int wcohi_vk_tuning_line(const wcohi_vk *vk, const char *line, wcohi_gpu_choice *choice)
{
    unsigned long v[15];
    if (sscanf(line, WCOHI_VK_TUNED, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8],
               &v[9], &v[10], &v[11], &v[12], &v[13], &v[14]) != 15)
        return 0;
    memset(choice, 0, sizeof *choice);
    choice->shape.m = (uint32_t)v[0];
    choice->shape.n = (uint32_t)v[1];
    choice->shape.k = (uint32_t)v[2];
    choice->shape.ta = (uint32_t)v[3];
    choice->shape.tb = (uint32_t)v[4];
    choice->shape.groups = (uint32_t)v[5];
    choice->shape.adds = (uint32_t)v[6];
    choice->splits = (uint32_t)v[13];
    choice->walk = (uint32_t)v[14];
    choice->tile = wcohi_vk_tuning_tile(vk, v + 7);
    return choice->tile && v[13] >= 1 && v[13] <= (v[6] ? 64 : 1) && v[14] <= (v[6] ? 0 : 65535);
}

/* The pair of a line; 0 if it is none, or of tiles that cannot go together. */
static int wcohi_vk_tuning_pair(const wcohi_vk *vk, const char *line, wcohi_gpu_pair *pair)
{
    unsigned long v[17], any = 0;
    int i;
    if (sscanf(line, WCOHI_VK_JOINED, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8],
               &v[9], &v[10], &v[11], &v[12], &v[13], &v[14], &v[15], &v[16]) != 17)
        return 0;
    memset(pair, 0, sizeof *pair);
    pair->m = (uint32_t)v[0];
    pair->n = (uint32_t)v[1];
    pair->k = (uint32_t)v[2];
    pair->groups = (uint32_t)v[3];
    for (i = 4; i < 17; i++) any |= v[i];
    if (!any) return 1; /* two dispatches */
    pair->input = wcohi_vk_tuning_tile(vk, v + 4);
    pair->weight = wcohi_vk_tuning_tile(vk, v + 10);
    pair->splits = (uint32_t)v[16];
    return pair->input && pair->weight && v[16] >= 1 && v[16] <= 64 &&
           wcohi_gpu_pair_fits(pair->input, pair->weight, &vk->traits);
}

/* The path of a line; 0 if it is none. */
static int wcohi_vk_tuning_path(const char *line, wcohi_gpu_path *path)
{
    unsigned long v[9];
    if (sscanf(line, WCOHI_VK_SEEN, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7],
               &v[8]) != 9)
        return 0;
    path->sight.coherence = (uint32_t)v[0];
    path->sight.listens = (uint32_t)v[1];
    path->sight.batch = (uint32_t)v[2];
    path->sight.seq = (uint32_t)v[3];
    path->sight.heads = (uint32_t)v[4];
    path->sight.wide = (uint32_t)v[5];
    path->way.columns = (uint32_t)v[6];
    path->way.chunk = (uint32_t)v[7];
    path->way.passes = (uint32_t)v[8];
    return (v[6] == 1 || v[6] == 2 || v[6] == 4 || v[6] == 8 ||
            (!v[0] && (v[6] == WCOHI_GPU_WHOLE || v[6] == 2 * WCOHI_GPU_WHOLE))) &&
           v[7] % 32 == 0 && v[7] <= 1024 && (v[8] == 1 || v[8] == 2);
}

/* Read desc.tuning, if there is one. */
static wcoh_result wcohi_vk_tuning_read(wcohi_vk *vk, const char *text, wcoh_error *error)
{
    char head[512];
    size_t length = (size_t)wcohi_vk_tuning_head(vk, head, sizeof head), same = 0;
    int line = 5;
    if (!text) return WCOH_OK;
    while (head[same] && text[same] == head[same]) same++;
    if (same < 15) /* up to the number of its form */
        return wcohi_fail(error, WCOH_E_ARGUMENT, "tuning: this is no text of wcoh_vk_tune");
    if (same < length)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED,
                          "tuning: it was made for another device, driver or version of wavecoh "
                          "than this %.100s: tune again",
                          vk->info.name);
    vk->traits.choices = vk->choices;
    vk->traits.pairs = vk->pairs;
    vk->traits.paths = vk->paths;
    for (text += length; *text; line++) {
        int *choices = &vk->traits.choice_count, *pairs = &vk->traits.pair_count,
            *paths = &vk->traits.path_count;
        if (*choices < WCOHI_GPU_CHOICES && wcohi_vk_tuning_line(vk, text, &vk->choices[*choices]))
            ++*choices;
        else if (*pairs < WCOHI_GPU_JOINED && wcohi_vk_tuning_pair(vk, text, &vk->pairs[*pairs]))
            ++*pairs;
        else if (*paths < WCOHI_GPU_PATHS && wcohi_vk_tuning_path(text, &vk->paths[*paths]))
            ++*paths;
        else return wcohi_fail(error, WCOH_E_ARGUMENT, "tuning: line %d says nothing of use", line);
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return WCOH_OK;
}

#ifndef WAVECOH_NO_TRAINING
enum { WCOHI_VK_THREADS = 4 }; /* numbers of threads that tiles have: 64, 128, 256, 512 */

/* The fastest tile of so many threads. */
typedef struct wcohi_vk_fast {
    const wcohi_gpu_tile *tile;
    uint32_t splits;
    double seconds;
} wcohi_vk_fast;

/* Products on arrays of their own, outside any plan; attention in the plan of the trainer. */
typedef struct wcohi_vk_tuner {
    wcohi_gpu_shapes shapes;
    wcohi_gpu_choice choices[WCOHI_GPU_CHOICES];
    wcohi_vk_fast fast[WCOHI_GPU_CHOICES][WCOHI_VK_THREADS]; /* of each choice's shape */
    wcohi_gpu_pair pairs[WCOHI_GPU_JOINED];
    wcohi_gpu_path paths[WCOHI_GPU_PATHS];
    int choice_count, pair_count, path_count;
    double until; /* the time is over then */
    wcohi_vk_exec own, *exec;
    wcohi_vk_recorder recorder;
    wcohi_vk_recording recording;
    wcohi_gpu_gemm product;                                    /* the one under way .. */
    wcohi_gpu_gemm weight; /* .. with this, if its m is not 0 .. */
    const wcohi_op *op;                                        /* .. unless it is this attention */
    void (*tried)(const wcohi_gpu_path *path, double seconds); /* tells benchmarks; NULL: nobody */
} wcohi_vk_tuner;

enum { WCOHI_VK_REPEATS = 4, WCOHI_VK_TRIES = 3 };

/* The next array of `reals`. */
static wcohi_gpu_view wcohi_vk_tune_array(size_t *end, size_t reals)
{
    return wcohi_vk_place(end, 0, reals, sizeof(float));
}

/* A product like g on arrays of its own; beside it neither bias nor residual. */
static wcohi_gpu_gemm wcohi_vk_tune_product(const wcohi_gpu_gemm *g, size_t *end)
{
    wcohi_gpu_gemm p = *g;
    p.bias = p.residual = p.pre = p.dbias = wcohi_gpu_absent;
    p.gelu = p.slope = p.gate = 0;
    p.first_a = 0;
    p.a = wcohi_vk_tune_array(end, (size_t)(g->ta ? g->k : g->m) * g->lda +
                                       (size_t)g->groups * g->group_a);
    p.b = wcohi_vk_tune_array(end, (size_t)(g->tb ? g->n : g->k) * g->ldb +
                                       (size_t)g->groups * g->group_b);
    p.c = wcohi_vk_tune_array(end, wcohi_mul((size_t)g->m + 1, (size_t)g->ldc) +
                                       (size_t)g->groups * g->group_c);
    return p;
}

/* Arrays for a product and, unless it is NULL, the weight's of its op, with room for shares of sums. */
static wcoh_result wcohi_vk_tune_open(wcohi_vk *vk, wcohi_vk_tuner *tuner, const wcohi_gpu_gemm *g,
                                      const wcohi_gpu_gemm *weight, wcoh_error *error)
{
    wcohi_vk_exec *exec = tuner->exec = &tuner->own;
    const wcohi_gpu_gemm *sum = weight ? weight : g;
    size_t end = 0, whole = wcohi_mul((size_t)sum->groups * sum->m, sum->n);
    wcoh_result result;
    memset(exec, 0, sizeof *exec);
    tuner->product = wcohi_vk_tune_product(g, &end);
    memset(&tuner->weight, 0, sizeof tuner->weight);
    if (weight) tuner->weight = wcohi_vk_tune_product(weight, &end);
    exec->at.turns = wcohi_vk_tune_array(&end, WCOHI_GPU_TURNS);
    exec->at.scratch = wcohi_vk_tune_array(
        &end, wcohi_gpu_shape_of(sum).adds ? WCOHI_MIN(64 * whole, ((size_t)1 << 22) + whole)
                                           : (size_t)1 << 22);
    exec->vk = vk;
    exec->plan.count = 1; /* two marks */
    result = wcohi_vk_buffer_take(vk, &exec->device_buffer, end, 0, error);
    if (!result) result = wcohi_vk_commands_take(vk, &exec->transfer, error);
    if (!result) result = wcohi_vk_fence_take(vk, &exec->fence, error);
    if (!result) result = wcohi_vk_clear(exec, error);
    if (!result && vk->clock_bits) result = wcohi_vk_marks_take(exec, error);
    return result;
}

/* What is measured: a product, or an op of attention forward and backward. */
static void wcohi_vk_tune_once(wcohi_gpu_recorder *r, const wcohi_vk_tuner *tuner)
{
    r->scratch = 0;
    if (!tuner->op && tuner->weight.m) {
        wcohi_gpu_products_back(r, tuner->weight.c, wcohi_gpu_absent, tuner->weight.b,
                                &tuner->product);
        return;
    }
    if (!tuner->op) {
        wcohi_gpu_multiply(r, &tuner->product);
        return;
    }
    wcohi_gpu_ops[tuner->op->kind].forward(r, tuner->op);
    r->scratch = 0;
    wcohi_gpu_ops[tuner->op->kind].backward(r, tuner->op);
    wcohi_gpu_later_sum(r);
}

static void wcohi_vk_tune_recorder(wcohi_vk_tuner *tuner, const wcohi_gpu_traits *traits,
                                   wcoh_error *error)
{
    wcohi_gpu_pass pass;
    memset(&pass, 0, sizeof pass);
    if (tuner->op) {
        pass.batch = tuner->exec->plan.batch;
        pass.seq = tuner->exec->plan.seq;
    }
    wcohi_vk_recorder_open(&tuner->recorder, tuner->exec, &pass, error);
    tuner->recorder.base.traits = traits;
}

/* Record it several times, between two marks. */
static wcoh_result wcohi_vk_tune_record(wcohi_vk_tuner *tuner, const wcohi_gpu_traits *traits,
                                        wcoh_error *error)
{
    const wcohi_vk *vk = tuner->exec->vk;
    wcohi_vk_recorder *r = &tuner->recorder;
    wcoh_result result;
    int i;
    wcohi_vk_tune_recorder(tuner, traits, error);
    r->base.building = 1;
    result = wcohi_vk_commands_take(vk, &tuner->recording.commands, error);
    if (!result) result = wcohi_vk_pool_take(vk, &tuner->recording.pool, 128, 1024, error);
    if (!result) result = wcohi_vk_commands_begin(vk, tuner->recording.commands, 0, error);
    if (result) return result;
    r->commands = tuner->recording.commands;
    r->pool = tuner->recording.pool;
    if (tuner->exec->marks) wcohi_vk_mark(&r->base, 0);
    for (i = 0; i < WCOHI_VK_REPEATS; i++) wcohi_vk_tune_once(&r->base, tuner);
    if (tuner->exec->marks) wcohi_vk_mark(&r->base, 1);
    if (r->base.result) return r->base.result;
    return wcohi_vk_commands_end(vk, r->commands, 0, error);
}

/* Seconds of what is measured on such a device: the best of some tries. */
static wcoh_result wcohi_vk_tune_time(wcohi_vk_tuner *tuner, const wcohi_gpu_traits *traits,
                                      double *seconds, wcoh_error *error)
{
    wcohi_vk_exec *exec = tuner->exec;
    wcoh_result result;
    int i;
    *seconds = 1e30;
    result = wcohi_vk_tune_record(tuner, traits, error);
    for (i = 0; !result && i <= WCOHI_VK_TRIES; i++) {
        double took = 0, start = wcohi_seconds();
        result = wcohi_vk_submit_wait(exec, tuner->recording.commands, error);
        if (!exec->marks) took = wcohi_seconds() - start;
        else if (!result) result = wcohi_vk_marks_read(exec, 0, 1, &took, error);
        if (i) *seconds = WCOHI_MIN(*seconds, took);
    }
    wcohi_vk_recording_give(exec, &tuner->recording);
    return result;
}

/* fast: of one shape */
static void wcohi_vk_tune_keep(wcohi_vk_fast *fast, const wcohi_gpu_tile *tile, uint32_t splits,
                               double seconds)
{
    uint32_t threads = 64;
    for (; threads < wcohi_gpu_tile_threads(tile); threads *= 2) fast++;
    if (fast->tile && seconds >= fast->seconds) return;
    fast->tile = tile;
    fast->splits = splits;
    fast->seconds = seconds;
}

/* Time a tile with some shares, unless the time is over; the fastest so far is the last choice. */
static wcoh_result wcohi_vk_tune_try(wcohi_vk_tuner *tuner, const wcohi_gpu_tile *tile,
                                     uint32_t splits, uint32_t walk, double *least,
                                     wcoh_error *error)
{
    wcohi_gpu_traits traits = tuner->exec->vk->traits;
    wcohi_gpu_choice tried;
    double seconds = 0;
    wcoh_result result;
    if (!tile || wcohi_seconds() >= tuner->until) return WCOH_OK;
    memset(&tried, 0, sizeof tried);
    tried.shape = wcohi_gpu_shape_of(&tuner->product);
    tried.tile = tile;
    tried.splits = splits;
    tried.walk = walk;
    traits.choices = &tried;
    traits.choice_count = 1;
    traits.cooperative = 0;
    result = wcohi_vk_tune_time(tuner, &traits, &seconds, error);
    if (result) return result;
    if (!walk) wcohi_vk_tune_keep(tuner->fast[tuner->choice_count], tile, splits, seconds);
    if (seconds >= *least) return WCOH_OK;
    *least = seconds;
    tuner->choices[tuner->choice_count] = tried;
    return WCOH_OK;
}

/* Walks of the fastest tiles of each number of threads, one or two a multiprocessor at once; where nothing
   tells those, of what GPUs have. */
static wcoh_result wcohi_vk_tune_walks(wcohi_vk_tuner *tuner, double *least, wcoh_error *error)
{
    static const uint32_t usual[] = {24, 48, 80, 132};
    const uint32_t cores = tuner->exec->vk->traits.cores;
    const wcohi_vk_fast *fast = tuner->fast[tuner->choice_count];
    wcoh_result result = WCOH_OK;
    uint32_t i, n = cores ? 2 : WCOHI_COUNT(usual);
    for (i = 0; !result && i < n * WCOHI_VK_THREADS; i++)
        result = wcohi_vk_tune_try(tuner, fast[i / n].tile, 1,
                                   cores ? cores * (1 + i % n) : usual[i % n], least, error);
    return result;
}

/* What the rule says of a product, then all tiles and shares while there is time: the best becomes a
   choice. */
static wcoh_result wcohi_vk_tune_shape(wcohi_vk_tuner *tuner, wcoh_error *error)
{
    static const uint32_t shares[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
    const wcohi_gpu_gemm *g = &tuner->product;
    const wcohi_gpu_traits *traits = &tuner->exec->vk->traits;
    const wcohi_gpu_tile *ruled = wcohi_gpu_tile_choose(g, traits);
    const size_t whole = (size_t)g->groups * g->m * g->n, room = (size_t)1 << 22;
    const int most = wcohi_gpu_shape_of(g).adds ? WCOHI_COUNT(shares) : 1;
    double least = 1e30;
    wcoh_result result = WCOH_OK;
    int i, j;
    if (ruled)
        result = wcohi_vk_tune_try(
            tuner, ruled, wcohi_gpu_splits(g, traits, wcohi_gpu_tile_count(g, ruled), room), 0,
            &least, error);
    for (i = 0; i < WCOHI_COUNT(wcohi_gpu_tiles) && !result; i++) {
        if (!wcohi_gpu_tile_fits(&wcohi_gpu_tiles[i], traits)) continue;
        for (j = 0; j < most && !result; j++) {
            if (j && (g->k / shares[j] < 64 || shares[j] * whole > room)) break;
            result = wcohi_vk_tune_try(tuner, &wcohi_gpu_tiles[i], shares[j], 0, &least, error);
        }
    }
    if (!result && most == 1) result = wcohi_vk_tune_walks(tuner, &least, error);
    if (!result && least < 1e30) tuner->choice_count++;
    return result;
}

/* Pipelines behind the first `kept` are not needed any more. */
static void wcohi_vk_pipelines_drop(wcohi_vk *vk, int kept)
{
    while (vk->pipeline_count > kept)
        vk->root.api.DestroyPipeline(vk->device, vk->pipelines[--vk->pipeline_count].pipeline,
                                     vk->root.allocator);
}

static int wcohi_vk_tune_work(const wcohi_gpu_shapes *shapes, int i)
{
    const wcohi_gpu_gemm *g = &shapes->product[i];
    double work = (double)g->m * g->n * g->k * g->groups * shapes->times[i];
    return (int)WCOHI_MIN(work / 4096 + 1, 2e9);
}

/* Shape by shape, those with most work first. */
static wcoh_result wcohi_vk_tune_shapes(wcohi_vk *vk, wcohi_vk_tuner *tuner, wcoh_error *error)
{
    wcohi_gpu_shapes *shapes = &tuner->shapes;
    const int kept = vk->pipeline_count;
    wcoh_result result = WCOH_OK;
    int i, most;
    while (!result && shapes->count && wcohi_seconds() < tuner->until) {
        for (i = 1, most = 0; i < shapes->count; i++)
            if (wcohi_vk_tune_work(shapes, i) > wcohi_vk_tune_work(shapes, most)) most = i;
        result = wcohi_vk_tune_open(vk, tuner, &shapes->product[most], NULL, error);
        if (!result) result = wcohi_vk_tune_shape(tuner, error);
        wcohi_vk_exec_close(&tuner->own.base);
        wcohi_vk_pipelines_drop(vk, kept);
        shapes->product[most] = shapes->product[--shapes->count];
        shapes->times[most] = shapes->times[shapes->count];
    }
    return result;
}

/* Candidate `number` for both products of a linear op's backward: first as the rule says, so that a time too
   short for more changes nothing, then two dispatches, then the fastest tiles of each number of threads,
   splits 0: those do not go together; 0 behind the last. */
static int wcohi_vk_tune_joint(const wcohi_vk_tuner *tuner, int number, wcohi_gpu_pair *pair)
{
    const wcohi_gpu_traits *traits = &tuner->exec->vk->traits;
    const wcohi_gpu_gemm *g[2];
    const wcohi_vk_fast *fast[2] = {NULL, NULL};
    int i, j;
    g[0] = &tuner->product;
    g[1] = &tuner->weight;
    *pair = wcohi_gpu_pair_of(g[0]);
    if (number == 1 || number >= 2 + WCOHI_VK_THREADS) return number == 1;
    for (i = 0; i < tuner->choice_count; i++)
        for (j = 0; j < 2; j++) {
            const wcohi_gpu_shape shape = wcohi_gpu_shape_of(g[j]);
            if (memcmp(&tuner->choices[i].shape, &shape, sizeof shape) == 0)
                fast[j] = tuner->fast[i];
        }
    if (number == 0) {
        wcohi_gpu_pair_rule(g[0], g[1], traits, pair);
        if (pair->input)
            pair->splits = wcohi_gpu_splits(g[1], traits, wcohi_gpu_tile_count(g[1], pair->weight),
                                            (size_t)1 << 22);
    } else if (fast[0] && fast[1]) {
        pair->input = fast[0][number - 2].tile;
        pair->weight = fast[1][number - 2].tile;
        if (pair->input && pair->weight && wcohi_gpu_pair_fits(pair->input, pair->weight, traits))
            pair->splits = fast[1][number - 2].splits;
    }
    return 1;
}

/* Time the candidates while there is time: the fastest becomes the pair of the shape. */
static wcoh_result wcohi_vk_tune_pair(wcohi_vk_tuner *tuner, wcoh_error *error)
{
    wcohi_gpu_traits traits = tuner->exec->vk->traits;
    wcohi_gpu_pair tried;
    double least = 1e30, seconds;
    wcoh_result result = WCOH_OK;
    int i;
    traits.choices = tuner->choices;
    traits.choice_count = tuner->choice_count;
    traits.pairs = &tried;
    traits.pair_count = 1;
    traits.cooperative = 0;
    for (i = 0; !result && wcohi_vk_tune_joint(tuner, i, &tried); i++) {
        if (wcohi_seconds() >= tuner->until) break;
        if (i > 1 && !tried.splits) continue;
        result = wcohi_vk_tune_time(tuner, &traits, &seconds, error);
        if (result || seconds >= least) continue;
        least = seconds;
        tuner->pairs[tuner->pair_count] = tried;
    }
    if (!result && least < 1e30) tuner->pair_count++;
    return result;
}

static wcoh_result wcohi_vk_tune_pairs(wcohi_vk *vk, wcohi_vk_tuner *tuner, wcoh_error *error)
{
    const wcohi_gpu_shapes *shapes = &tuner->shapes;
    const int kept = vk->pipeline_count;
    wcoh_result result = WCOH_OK;
    int i;
    for (i = 0; !result && i < shapes->pair_count && wcohi_seconds() < tuner->until; i++) {
        result = wcohi_vk_tune_open(vk, tuner, &shapes->pairs[i][0], &shapes->pairs[i][1], error);
        if (!result) result = wcohi_vk_tune_pair(tuner, error);
        wcohi_vk_exec_close(&tuner->own.base);
        wcohi_vk_pipelines_drop(vk, kept);
    }
    return result;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Candidate `number` for the op whose path is the next; 0 behind the last. */
static int wcohi_vk_tune_way(const wcohi_vk_tuner *tuner, int number, wcohi_gpu_way *way)
{
    static const uint32_t chunks[] = {0, 32, 64, 128, 256};
    const wcohi_gpu_sight *s = &tuner->paths[tuner->path_count].sight;
    uint32_t columns = s->wide <= 8 ? 1 : s->wide <= 16 ? 2 : s->wide <= 32 ? 4 : 8;
    int kinds = s->coherence ? 2 * WCOHI_COUNT(chunks) : 1;
    if (!s->coherence && number < 2) columns = WCOHI_GPU_WHOLE << number, number = 0;
    else if (!s->coherence) number -= 2;
    way->columns = columns >> number / kinds;
    way->chunk = s->coherence ? chunks[number % kinds / 2] : 0;
    way->passes = s->coherence && number % 2 == 0 ? 1 : 2;
    return way->columns > 0;
}

/* 1 if this device would do as the way says. */
static int wcohi_vk_tune_allows(const wcohi_vk_tuner *tuner, const wcohi_gpu_way *way)
{
    const wcohi_gpu_recorder *r = &tuner->recorder.base;
    wcohi_gpu_attention aux;
    wcohi_gpu_pairs t;
    if (tuner->op->kind != WCOHI_COHERENCE) {
        aux = wcohi_gpu_dot_aux(r, tuner->op);
        t = wcohi_gpu_dot_pairs(r, tuner->op, &aux);
        return way->columns < WCOHI_GPU_WHOLE || wcohi_gpu_dot_whole(r, tuner->op, &t);
    }
    if (way->chunk >= (uint32_t)r->pass.seq) return 0;
    aux = wcohi_gpu_coherence_aux(r, tuner->op);
    t = wcohi_gpu_coherence_pairs(r, tuner->op, &aux);
    return t.push.within == way->chunk && t.passes == way->passes;
}

/* What the candidates want of scratch and of sums that wait. */
static wcoh_result wcohi_vk_tune_room(wcohi_vk_tuner *tuner, const wcohi_gpu_traits *traits,
                                      size_t room[2], wcoh_error *error)
{
    wcohi_gpu_recorder *r = &tuner->recorder.base;
    int i;
    for (i = 0; wcohi_vk_tune_way(tuner, i, &tuner->paths[tuner->path_count].way); i++) {
        wcohi_vk_tune_recorder(tuner, traits, error);
        wcohi_vk_tune_once(r, tuner);
        if (r->result) return r->result;
        room[0] = WCOHI_MAX(room[0], r->scratch_most);
        room[1] = WCOHI_MAX(room[1], r->later_most);
    }
    return WCOH_OK;
}

/* Time the candidates while there is time: the fastest becomes the path of the op. */
static wcoh_result wcohi_vk_tune_path(wcohi_vk_tuner *tuner, const wcohi_gpu_traits *traits,
                                      wcoh_error *error)
{
    wcohi_gpu_way *way = &tuner->paths[tuner->path_count].way, best;
    double least = 1e30, seconds;
    wcoh_result result = WCOH_OK;
    int i;
    memset(&best, 0, sizeof best);
    for (i = 0; !result && wcohi_vk_tune_way(tuner, i, way); i++) {
        wcohi_vk_tune_recorder(tuner, traits, error);
        if (wcohi_seconds() >= tuner->until || !wcohi_vk_tune_allows(tuner, way)) continue;
        result = wcohi_vk_tune_time(tuner, traits, &seconds, error);
        if (!result && tuner->tried) tuner->tried(&tuner->paths[tuner->path_count], seconds);
        if (result || seconds >= least) continue;
        least = seconds;
        best = *way;
    }
    *way = best;
    if (!result && least < 1e30) tuner->path_count++;
    return result;
}

/* Each kind of attention of a trainer's plan, once. room: only what all candidates want is found out. */
static wcoh_result wcohi_vk_tune_paths(wcohi_vk_tuner *tuner, size_t *room, wcoh_error *error)
{
    const wcohi_plan *plan = &tuner->exec->plan;
    wcohi_gpu_traits traits = tuner->exec->vk->traits;
    wcoh_result result = WCOH_OK;
    int i;
    traits.paths = tuner->paths;
    for (i = 0; !result && i < plan->count && tuner->path_count < WCOHI_GPU_PATHS; i++) {
        tuner->op = &plan->ops[i];
        if (tuner->op->kind != WCOHI_COHERENCE && tuner->op->kind != WCOHI_DOT) continue;
        traits.path_count = tuner->path_count;
        wcohi_vk_tune_recorder(tuner, &traits, error);
        if (wcohi_gpu_way_find(&tuner->recorder.base, tuner->op)) continue;
        tuner->paths[traits.path_count++].sight =
            wcohi_gpu_sight_of(&tuner->recorder.base, tuner->op);
        result = room ? wcohi_vk_tune_room(tuner, &traits, room, error)
                      : wcohi_vk_tune_path(tuner, &traits, error);
    }
    tuner->op = NULL;
    return result;
}

/* exec: a trainer's plan, laid out and without memory. What its arrays hold is zeros: no time depends on it. */
static wcoh_result wcohi_vk_tune_attention(wcohi_vk_exec *exec, void *user, wcoh_error *error)
{
    wcohi_vk_tuner *tuner = (wcohi_vk_tuner *)user;
    const int kept = exec->vk->pipeline_count;
    size_t room[2];
    wcoh_result result;
    if (wcohi_seconds() >= tuner->until) return WCOH_OK;
    room[0] = exec->at.scratch.bytes;
    room[1] = exec->at.later.bytes / sizeof(float);
    tuner->exec = exec;
    if ((result = wcohi_vk_tune_paths(tuner, room, error)) != WCOH_OK) return result;
    wcohi_vk_layout_make(exec, room[0], room[1]);
    result = wcohi_vk_buffers_take(exec, error);
    if (!result) result = wcohi_vk_slots_take(exec, error);
    if (!result) result = wcohi_vk_clear(exec, error);
    if (!result && exec->vk->clock_bits) result = wcohi_vk_marks_take(exec, error);
    if (!result) result = wcohi_vk_tune_paths(tuner, NULL, error);
    wcohi_vk_exec_close(&exec->base);
    wcohi_vk_pipelines_drop(exec->vk, kept);
    return result;
}
#endif

/* ======== 5 device: the table ================================================================= */

static void wcohi_vk_close(wcohi_vk *vk)
{
    const wcohi_vk_api *api = &vk->root.api;
    if (vk->device && api->DestroyCommandPool) {
        wcohi_vk_pipelines_destroy(vk);
        if (vk->commands) api->DestroyCommandPool(vk->device, vk->commands, vk->root.allocator);
    }
    if (vk->own_device && vk->device) {
        PFN_vkDestroyDevice destroy = api->DestroyDevice;
        if (!destroy)
            destroy = (PFN_vkDestroyDevice)api->GetDeviceProcAddr(vk->device, "vkDestroyDevice");
        if (destroy) destroy(vk->device, vk->root.allocator);
    }
    wcohi_vk_root_close(&vk->root);
}

static void wcohi_vk_destroy(wcoh_device *device)
{
    wcohi_vk_close((wcohi_vk *)device);
    wcohi_allocation_give(&device->block);
}

static const wcohi_device_table wcohi_vk_table = {
    "vulkan",
    1,
    0,
    wcohi_vk_bytes,
    wcohi_vk_open,
    wcohi_vk_exec_close,
    wcohi_vk_upload,
    wcohi_vk_download,
    wcohi_vk_map,
    wcohi_vk_save_states,
    wcohi_vk_load_states,
    wcohi_vk_copy_states,
    wcohi_vk_run,
    wcohi_vk_loss,
#ifndef WAVECOH_NO_TRAINING
    wcohi_vk_update,
    wcohi_vk_outcome,
#endif
    wcohi_vk_destroy,
};

/* ======== 5 device: matrix units ============================================================== */

/* 1 if the physical device offers the extension. */
static int wcohi_vk_device_extension(const wcohi_vk *vk, const char *name)
{
    VkExtensionProperties list[512];
    uint32_t count = WCOHI_COUNT(list), i;
    VkResult result =
        vk->root.api.EnumerateDeviceExtensionProperties(vk->physical, NULL, &count, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return 0;
    for (i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, name) == 0) return 1;
    return 0;
}

/* What is used of VK_KHR_cooperative_matrix, which older headers lack. */
#ifndef WAVECOH_VK_NO_COOPERATIVE
#define WCOHI_VK_MATRIX "VK_KHR_cooperative_matrix"
enum { WCOHI_VK_MATRIX_FEATURES = 1000506000, WCOHI_VK_MATRIX_KIND = 1000506001 };

typedef struct wcohi_vk_matrix_features {
    VkStructureType type;
    void *next;
    VkBool32 present, robust;
} wcohi_vk_matrix_features;

typedef struct wcohi_vk_matrix_kind { /* C [m,n] = A [m,k] B [k,n] + C */
    VkStructureType type;
    void *next;
    uint32_t m, n, k;
    int32_t a, b, c, result; /* 0: half float, 1: float */
    VkBool32 saturating;
    int32_t scope; /* 3: subgroup */
} wcohi_vk_matrix_kind;

typedef VkResult(VKAPI_PTR *wcohi_vk_matrix_list)(VkPhysicalDevice physical, uint32_t *count,
                                                  wcohi_vk_matrix_kind *kinds);

/* Bytes of shared memory that gemm_cooperative.comp takes: its tiles and a piece for each part. */
static uint32_t wcohi_vk_matrix_shared(const uint32_t units[5])
{
    return 2 * (128 + 128) * 40 + 128 / units[3] * (128 / units[4]) * units[0] * units[1] * 4;
}

/* 1 if gemm_cooperative.comp can use this kind; units: with which constants. Its tile of 128 x 128
   is halved into as many parts as its 256 threads are subgroups. */
static int wcohi_vk_matrix_fits(const wcohi_vk *vk, const wcohi_vk_matrix_kind *kind,
                                uint32_t units[5])
{
    uint32_t m = kind->m, n = kind->n, wm = 128, wn = 128, parts = 1;
    if (kind->a != 0 || kind->b != 0 || kind->c != 1 || kind->result != 1 || kind->scope != 3)
        return 0;
    if (kind->saturating || wm % m || wn % n || 32 % kind->k) return 0;
    for (; parts * vk->info.subgroup < 256; parts *= 2) {
        if (wm > wn && wm % (2 * m) == 0) wm /= 2;
        else if (wn % (2 * n) == 0) wn /= 2;
        else if (wm % (2 * m) == 0) wm /= 2;
        else break;
    }
    units[0] = m;
    units[1] = n;
    units[2] = kind->k;
    units[3] = wm;
    units[4] = wn;
    return wcohi_vk_matrix_shared(units) <= vk->limits.maxComputeSharedMemorySize;
}

/* Chooses the pieces of gemm_cooperative.comp: 16 x 16 x 16, which every vendor has, else the
   largest. 0: the device has none that it can use. */
static int wcohi_vk_matrix_choose(wcohi_vk *vk)
{
    wcohi_vk_matrix_kind kinds[64];
    uint32_t count = WCOHI_COUNT(kinds), i, units[5], size, most = 0;
    wcohi_vk_matrix_list list = (wcohi_vk_matrix_list)vk->root.api.GetInstanceProcAddr(
        vk->root.instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    VkResult result;
    memset(kinds, 0, sizeof kinds);
    for (i = 0; i < count; i++) kinds[i].type = (VkStructureType)WCOHI_VK_MATRIX_KIND;
    result = list ? list(vk->physical, &count, kinds) : VK_ERROR_FEATURE_NOT_PRESENT;
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return 0;
    for (i = 0; i < count; i++) {
        if (!wcohi_vk_matrix_fits(vk, &kinds[i], units)) continue;
        size = units[0] * units[1] * units[2];
        if (units[0] == 16 && units[1] == 16 && units[2] == 16) size = UINT32_MAX;
        if (size > most) memcpy(vk->traits.units, units, sizeof units);
        most = WCOHI_MAX(most, size);
    }
    return most > 0;
}

static wcoh_result wcohi_vk_matrix_check(wcohi_vk *vk, wcoh_error *error)
{
    VkPhysicalDeviceFeatures2 all;
    VkPhysicalDeviceShaderFloat16Int8Features half;
    const char *missing = NULL;
    memset(&all, 0, sizeof all);
    memset(&half, 0, sizeof half);
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    half.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    all.pNext = &half;
    if (vk->info.api_version < VK_API_VERSION_1_3) missing = "Vulkan 1.3";
    else if (!wcohi_vk_device_extension(vk, WCOHI_VK_MATRIX)) missing = WCOHI_VK_MATRIX;
    else if (WCOHI_MIN(vk->limits.maxComputeWorkGroupInvocations,
                       vk->limits.maxComputeWorkGroupSize[0]) < 256)
        missing = "workgroups of 256";
    else if (!wcohi_vk_matrix_choose(vk)) missing = "products of half floats in a size of use";
    if (!missing) {
        vk->root.api.GetPhysicalDeviceFeatures2(vk->physical, &all);
        if (!half.shaderFloat16) missing = "shaderFloat16";
    }
    return missing ? wcohi_fail(error, WCOH_E_UNSUPPORTED, "cooperative: %.100s lacks %s",
                                vk->info.name, missing)
                   : WCOH_OK;
}

/* The features that gemm_cooperative.comp needs, as a chain for vkCreateDevice. */
typedef struct wcohi_vk_matrix_chain {
    wcohi_vk_matrix_features matrix;
    VkPhysicalDeviceShaderFloat16Int8Features half;
    VkPhysicalDeviceVulkanMemoryModelFeatures model;
} wcohi_vk_matrix_chain;

static const void *wcohi_vk_matrix_enable(wcohi_vk_matrix_chain *chain)
{
    memset(chain, 0, sizeof *chain);
    chain->matrix.type = (VkStructureType)WCOHI_VK_MATRIX_FEATURES;
    chain->matrix.next = &chain->half;
    chain->matrix.present = VK_TRUE;
    chain->half.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    chain->half.pNext = &chain->model;
    chain->half.shaderFloat16 = VK_TRUE;
    chain->model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
    chain->model.vulkanMemoryModel = VK_TRUE;
    return chain;
}
#else
static wcoh_result wcohi_vk_matrix_check(wcohi_vk *vk, wcoh_error *error)
{
    (void)vk;
    return wcohi_fail(error, WCOH_E_UNSUPPORTED,
                      "cooperative: this program is built with WAVECOH_VK_NO_COOPERATIVE");
}
#endif

/* ======== 5 device: its life ================================================================== */

static wcoh_result wcohi_vk_make_device(wcohi_vk *vk, wcoh_error *error)
{
    VkDeviceQueueCreateInfo queue;
    VkDeviceCreateInfo info;
    VkPhysicalDeviceFeatures features;
    const char *extensions[2];
    float priority = 1;
    wcoh_result result;
#ifndef WAVECOH_VK_NO_COOPERATIVE
    wcohi_vk_matrix_chain chain;
#endif
    memset(&queue, 0, sizeof queue);
    memset(&info, 0, sizeof info);
    memset(&features, 0, sizeof features);
    vk->family = wcohi_vk_family(&vk->root.api, vk->physical);
    features.shaderFloat64 = (VkBool32)vk->info.float64;
    queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue.queueFamilyIndex = vk->family;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.pEnabledFeatures = &features;
    info.ppEnabledExtensionNames = extensions;
    if (wcohi_vk_device_extension(vk, "VK_KHR_portability_subset")) /* MoltenVK wants it named */
        extensions[info.enabledExtensionCount++] = "VK_KHR_portability_subset";
#ifndef WAVECOH_VK_NO_COOPERATIVE
    if (vk->traits.cooperative) {
        extensions[info.enabledExtensionCount++] = WCOHI_VK_MATRIX;
        info.pNext = wcohi_vk_matrix_enable(&chain);
    }
#endif
    result = wcohi_vk_check(
        vk->root.api.CreateDevice(vk->physical, &info, vk->root.allocator, &vk->device),
        "vkCreateDevice", error);
    vk->own_device = !result;
    return result;
}

static wcoh_result wcohi_vk_command_pool(wcohi_vk *vk, wcoh_error *error)
{
    VkCommandPoolCreateInfo info;
    memset(&info, 0, sizeof info);
    info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    info.queueFamilyIndex = vk->family;
    return wcohi_vk_check(
        vk->root.api.CreateCommandPool(vk->device, &info, vk->root.allocator, &vk->commands),
        "vkCreateCommandPool", error);
}

#define WCOHI_VK_SHARED 21504u /* bytes of shared memory that attend.glsl takes, more than others */

static wcoh_result wcohi_vk_limits_check(const wcohi_vk *vk, wcoh_error *error)
{
    if (vk->limits.maxComputeSharedMemorySize < WCOHI_VK_SHARED)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED,
                          "%.100s has %lu bytes of shared memory a workgroup, %u are needed",
                          vk->info.name, (unsigned long)vk->limits.maxComputeSharedMemorySize,
                          WCOHI_VK_SHARED);
    return WCOH_OK;
}

/* Multiprocessors, where an extension tells how many there are; 0: none does. */
static uint32_t wcohi_vk_cores(const wcohi_vk *vk)
{
    VkPhysicalDeviceProperties2 all;
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nv;
    VkPhysicalDeviceShaderCorePropertiesAMD amd;
    memset(&all, 0, sizeof all);
    memset(&nv, 0, sizeof nv);
    memset(&amd, 0, sizeof amd);
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    nv.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV;
    amd.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD;
    if (wcohi_vk_device_extension(vk, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME)) all.pNext = &nv;
    else if (wcohi_vk_device_extension(vk, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME))
        all.pNext = &amd;
    if (!all.pNext) return 0;
    vk->root.api.GetPhysicalDeviceProperties2(vk->physical, &all);
    return nv.shaderSMCount +
           amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
}

/* Everything above the instance, in `vk`; what was made stays there on failure. */
static wcoh_result wcohi_vk_build(wcohi_vk *vk, const wcoh_vk_desc *desc, wcoh_error *error)
{
    const wcohi_vk_api *api = &vk->root.api;
    wcoh_result result = WCOH_OK;
    if (desc->device) vk->physical = (VkPhysicalDevice)desc->physical_device;
    else result = wcohi_vk_pick(&vk->root, desc, &vk->physical, error);
    if (result) return result;
    wcohi_vk_describe(api, vk->physical, &vk->info, &vk->limits);
    api->GetPhysicalDeviceMemoryProperties(vk->physical, &vk->memory);
    if ((result = wcohi_vk_limits_check(vk, error)) != WCOH_OK) return result;
    vk->traits.two_float = desc->two_float || !vk->info.float64;
    vk->traits.linear_from = desc->linear_from ? desc->linear_from : 1024;
    vk->traits.shared = vk->limits.maxComputeSharedMemorySize;
    vk->traits.invocations = vk->limits.maxComputeWorkGroupInvocations;
    vk->traits.arrays = vk->limits.maxPerStageDescriptorStorageBuffers;
    vk->traits.cores = vk->info.multiprocessors = wcohi_vk_cores(vk);
    vk->traits.halves = desc->half_activations != 0;
    vk->traits.cooperative = desc->cooperative != 0;
    if (vk->traits.cooperative && (result = wcohi_vk_matrix_check(vk, error)) != WCOH_OK)
        return result;
    if ((result = wcohi_vk_tuning_read(vk, desc->tuning, error)) != WCOH_OK) return result;
    if (desc->device) {
        vk->device = (VkDevice)desc->device;
        vk->queue = (VkQueue)desc->queue;
        vk->family = desc->family;
    } else if ((result = wcohi_vk_make_device(vk, error)) != WCOH_OK) {
        return result;
    }
    if ((result = wcohi_vk_load_device(&vk->root.api, vk->device, error)) != WCOH_OK) return result;
    if (!vk->queue) api->GetDeviceQueue(vk->device, vk->family, 0, &vk->queue);
    vk->clock_bits = wcohi_vk_clock_bits(api, vk->physical, vk->family);
    return wcohi_vk_command_pool(vk, error);
}

static wcoh_result wcohi_vk_desc_check(const wcoh_vk_desc *desc, wcoh_error *error)
{
    int given = !!desc->physical_device + !!desc->device + !!desc->queue;
    if (desc->index < 0)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "index is %d: devices count from 1, 0 for the default", desc->index);
    if (desc->shared && (desc->instance || desc->get_instance_proc || desc->library))
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "shared: instance, get_instance_proc and library must be NULL with it");
    if (given != 0 && (given != 3 || !desc->instance))
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "instance, physical_device, device and queue: give all or none");
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_vk_device_create(wcoh_device **out, const wcoh_vk_desc *given,
                                           wcoh_error *error)
{
    wcoh_vk_desc desc;
    wcohi_arena arena;
    wcohi_allocation block;
    wcohi_vk *vk;
    wcoh_result result;
    if (!out) return wcohi_null("device", error);
    *out = NULL;
    memset(&desc, 0, sizeof desc);
    if (given) desc = *given;
    if ((result = wcohi_vk_desc_check(&desc, error)) != WCOH_OK) return result;
    result = wcohi_allocation_take(&block, &arena, &desc.memory,
                                   wcohi_round_up(sizeof *vk, WCOHI_ALIGN), "Vulkan device", error);
    if (result) return result;
    vk = WCOHI_TAKE(&arena, 1, wcohi_vk);
    vk->base.table = &wcohi_vk_table;
    vk->base.block = block;
    if ((result = wcohi_vk_root_open(&vk->root, &desc, error)) == WCOH_OK) {
        result = wcohi_vk_build(vk, &desc, error);
        if (result) wcohi_vk_close(vk);
    }
    if (result) wcohi_allocation_give(&block);
    else *out = &vk->base;
    return result;
}

#ifndef WAVECOH_NO_TRAINING
/* Measure the trainer that these descs would make. */
static wcoh_result wcohi_vk_trainer_draft(wcoh_device *device, const wcoh_model_desc *model,
                                          const wcoh_trainer_desc *trainer,
                                          const wcohi_vk_wish *wish, wcohi_gpu_layout *at,
                                          wcoh_error *error)
{
    wcohi_engine_desc engine;
    wcoh_model_desc resolved = *model;
    wcoh_trainer_desc desc = *trainer;
    wcohi_plan like;
    wcoh_result result;
    size_t used;
    if (device->table != &wcohi_vk_table)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "device is the CPU or another's: not Vulkan");
    desc.device = device;
    desc.memory = wcohi_temporary(&trainer->memory);
    if ((result = wcoh_model_desc_resolve(&resolved, error)) != WCOH_OK) return result;
    if ((result = wcohi_trainer_measure(&desc, &engine, &resolved, &used, error)) != WCOH_OK)
        return result;
    memset(&like, 0, sizeof like);
    like.training = 1;
    like.rates = engine.rates;
    like.muon = engine.muon;
    like.seq = desc.seq;
    like.batch = desc.batch;
    result = wcohi_vk_draft((wcohi_vk *)device, &like, &resolved, desc.batch, wish, at, error);
    return result ? wcohi_vk_refuse((wcohi_vk *)device, &like, &resolved, result, error) : WCOH_OK;
}

WCOH_API wcoh_result wcoh_vk_trainer_bytes(wcoh_device *device, const wcoh_model_desc *model,
                                           const wcoh_trainer_desc *trainer, wcoh_vk_bytes *bytes,
                                           wcoh_error *error)
{
    const wcohi_vk_wish wish = {0, NULL, NULL, NULL};
    wcohi_gpu_layout at;
    wcoh_result result;
    if (!device || !model || !trainer || !bytes)
        return wcohi_null(!device    ? "device"
                          : !model   ? "model"
                          : !trainer ? "trainer"
                                     : "bytes",
                          error);
    memset(bytes, 0, sizeof *bytes);
    result = wcohi_vk_trainer_draft(device, model, trainer, &wish, &at, error);
    if (result) return result;
    bytes->device = at.device_bytes;
    bytes->host = at.host_bytes;
    bytes->parameters = at.activations.offset;
    bytes->activations = at.activations.bytes;
    bytes->half_saves = at.half_saves;
    bytes->scratch = at.scratch.bytes + at.later.bytes + at.segments.bytes + at.turns.bytes;
    bytes->dispatches = at.dispatches;
    bytes->heap = ((wcohi_vk *)device)->info.memory;
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_vk_tune(wcoh_device *device, const wcoh_model_desc *model,
                                  const wcoh_trainer_desc *trainer, double seconds, char *text,
                                  size_t size, wcoh_error *error)
{
    wcohi_vk *vk = (wcohi_vk *)device;
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcohi_gpu_traits found;
    wcohi_gpu_layout at;
    wcohi_vk_wish wish;
    wcohi_vk_tuner *tuner;
    wcoh_memory hooks;
    wcoh_result result;
    if (!device || !model || !trainer || !text)
        return wcohi_null(!device    ? "device"
                          : !model   ? "model"
                          : !trainer ? "trainer"
                                     : "text",
                          error);
    if (wcohi_is_nan(seconds))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "seconds is nan: no time to end at");
    hooks = wcohi_temporary(&device->block.memory);
    result = wcohi_allocation_take(&block, &arena, &hooks,
                                   wcohi_round_up(sizeof *tuner, WCOHI_ALIGN), "tuner", error);
    if (result) return result;
    tuner = WCOHI_TAKE(&arena, 1, wcohi_vk_tuner);
    memset(&wish, 0, sizeof wish);
    wish.shapes = &tuner->shapes;
    wish.use = wcohi_vk_tune_attention;
    wish.user = tuner;
    tuner->until = wcohi_seconds() + seconds / 3;
    result = wcohi_vk_trainer_draft(device, model, trainer, &wish, &at, error);
    tuner->until += seconds / 2;
    if (!result) result = wcohi_vk_tune_shapes(vk, tuner, error);
    tuner->until += seconds / 6;
    if (!result) result = wcohi_vk_tune_pairs(vk, tuner, error);
    memset(&found, 0, sizeof found);
    found.choices = tuner->choices;
    found.choice_count = tuner->choice_count;
    found.pairs = tuner->pairs;
    found.pair_count = tuner->pair_count;
    found.paths = tuner->paths;
    found.path_count = tuner->path_count;
    if (!result) result = wcohi_vk_tuning_write(vk, &found, text, size, error);
    wcohi_allocation_give(&block);
    return result;
}
#endif

WCOH_API void wcoh_vk_device_info(const wcoh_device *device, wcoh_vk_info *info)
{
    if (!info) return;
    memset(info, 0, sizeof *info);
    if (device && device->table == &wcohi_vk_table) *info = ((const wcohi_vk *)device)->info;
}

#ifdef __cplusplus
}
#endif
#endif /* WAVECOH_VK_IMPLEMENTATION_DONE */
