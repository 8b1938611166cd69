/* wavecoh.h - v0.2.0 - train and run a wave-coherence network, in one file
   SPDX-License-Identifier: Unlicense OR MIT-0 (texts at the end of this file)

   USE

   Do this in one C or C++ file, and include the header without the define everywhere else:

       #define WAVECOH_IMPLEMENTATION
       #include "wavecoh.h"

       cc -O2 program.c -o program -lm -lpthread

   A whole program (examples/hello.c trains a second on a sentence and writes it):

       wcoh_error error;                                      // every failure is one sentence
       wcoh_model_desc desc = {0};                            // zero is the good default
       wcoh_trainer_desc training = {0};
       wcoh_session_desc listening = {0};
       wcoh_model *model; wcoh_trainer *trainer; wcoh_session *session;
       desc.vocab = 65;                                       // symbols 0 .. 64: yours
       if (wcoh_model_create(&model, &desc, &error) < 0) puts(error.text);
       wcoh_trainer_create(&trainer, model, &training, &error);
       wcoh_trainer_set_data(trainer, train, train_count, val, val_count, &error);
       wcoh_trainer_run(trainer, 2.0, NULL, &error);          // 2 ms of training, inside a frame
       wcoh_session_create(&session, model, &listening, &error);
       wcoh_session_step(session, symbol, &error);            // hear one symbol
       logits = wcoh_session_logits(session);                 // what may come next
       wcoh_model_save_file(model, "model.safetensors", &error);

   THE NETWORK

   A symbol is a set of phases on a circle, embedded as harmonics (cos n theta, sin n theta). Its
   row of D = 2K numbers is K complex bands. A block adds two things to the row:
     attention by phase coherence  - a head compares one phasor of the query with one of the key,
       score = gain cos(phi - psi + carrier distance) - damping distance. It is softmax attention,
       and it is a linear recurrence: a session needs constant memory and has no end of context;
     a layer of coupled Kerr oscillators  - each band turns and decays, its frequency shifted by
       its own and its neighbours' energy. It has a closed form, so nothing is integrated. Two
       narrow "maestro" layers, one before and one after, steer it.
   The same plan also spells GPT (dot attention, rotary or learned positions, MLP) and the two
   published engines this grew from: comparisons need no second program (wcoh_model_preset).

   CONTENTS: seven floors, each calls only downward; search for "======== 3 ops" and the like

     1 surface    results, memory, settings, model, device, trainer, session, sampling,
                  tokenizers, files, coherence toolkit: all that users see
     2 ground     platform | clock, CPU and threads | files | reading a file of tensors |
                  writing files | one vocabulary, five instruction sets | matrix products |
                  kernels of rows
     3 ops        what devices are given: parameters, plan (a list of ops), table of a device |
                  work on rows, and a room for every op: its formula, kernels, sizes, forward,
                  backward: embed, norm, linear, gate, maestro, per band, noise | Kerr oscillators |
                  coherence attention, pairs of rows | coherence attention, states |
                  dot attention | logits and loss, the optimiser | the sets, the CPU device
     4 model      settings | tokenizers | the walk: desc -> parameters and plan |
                  initial values and the object
     5 running    engine | evaluation and session, sampling | files of models and sessions
     6 training   trainer | files of trainers
     7 toolkit    the circle | spectral coherence | resonance memory | attention and weights

   OPTIONS, defined before the implementation is included

     WAVECOH_STATIC                 every function static; no symbol leaves the file (also on the
                                    command line, for files without the implementation)
     WAVECOH_API                    put before every public function: __declspec(dllexport), or
                                    __attribute__((visibility("default"))); default extern
     WAVECOH_MALLOC, WAVECOH_FREE   (size) and (pointer), in place of malloc and free
     WAVECOH_NO_STDIO               no function that opens a path, no file is ever touched
     WAVECOH_NO_THREADS             no thread is created, nothing to link but libm
     WAVECOH_NO_SIMD                portable C kernels only
     WAVECOH_SCALAR                 portable C kernels too, where the machine always has better
     WAVECOH_FILE                   name by which this file includes itself, in quotes: only for a
                                    renamed file, and a compiler without __FILE_NAME__ (GCC < 12)
     WAVECOH_NO_TOOLKIT             no coherence toolkit (floor 7)
     WAVECOH_NO_TRAINING            no trainer (floor 6), no gradients, no optimiser: what a shipped
                                    game needs stays. Models and trainers' checkpoints load, sessions
                                    listen, sample and are saved, texts are scored
     WAVECOH_MINGW_AVX              use AVX with MinGW GCC (off: its 32-byte stack spills crash)
     WAVECOH_TEST_DOUBLE            tests only: float64 throughout, for gradient checks
     WAVECOH_PLAIN                  tests only: every op once more, in plain C (wcohi_<op>_plain)

   MEMORY    An object takes one block through the allocator of its desc, or lives in a block that
             you hand over; *_size tells how much, before. Nothing is allocated after creation.
   ERRORS    A negative wcoh_result is a failure: the wcoh_error you gave (or none) is filled, and
             nothing prints, exits, asserts on input, or is left half made. So ask `< 0`: a trainer
             whose run is over returns WCOH_DONE, which is 1.
   THREADS   No global state: objects of different models are independent. One thread at a time
             per object; inside, a trainer uses as many threads as its desc says, or your job
             system. A session reads its model: do not train that model during its calls.
   SAME BITS Same seed, build, instruction set and input give the same bits, for any number of
             threads, for a run cut into slices of time, and for one that was saved and resumed.
   INPUT     Files, tokens, text and settings may be hostile; they are checked before use.
   LIMITS    At most 2^24 symbols, 65,536 bands; batch x seq below 2^28.
   DOES NOT  quantise, shard a model over machines (there is an all-reduce hook for data
             parallelism), import other architectures, or split text into subwords.

   FOR THOSE WHO CHANGE IT

     desc -- one walk --> parameter rows --> save, load, count, optimise, upload
               |
               +--------> plan: a list of ops --> table of a device (CPU | Vulkan):
                                                  forward, backward, update, session

   To add an op, copy a room (floor 3) and a row:
     1  WCOHI_OP_KINDS: its row, what it computes, an enum of its parameters
     2  its room: its formula in plain C, wcohi_<op>_plain, which the tests take for the truth;
        kernels in a block of a group (WCOHI_KERNEL_GROUPS); wcohi_<op>_sizes, _forward, _backward
     3  the walk (floor 4): emit its parameter rows and the op where the architecture wants it,
        and a setting that says so (its table stands on floor 4 too)
     4  wavecoh_vk.h: its recordings, and a row in wcohi_gpu_ops
     5  tools/shaders: its shaders; tools/gen_shaders.py makes shaders.h of them
     6  tests/cases.h: a line that turns it on. Gradients, devices, sessions, files follow
   What is forgotten of 1, 2, 4 or 5 does not compile.

   WORDS     room: all about one op, on one device.  op kind: what an op computes.  parameter row: a
             tensor of the model, its name, shape, place.  batch span: rows of the batch, a row a
             token, that one job takes.  kernel group: kernels of one room, a struct of functions in
             the table of an instruction set.  head: of attention; the output layer is the logits.
             chunk: rows, or a part of the vocabulary, that one job takes.  stretch: rows that all
             heads pass before the next begin.  slot: a worker's place, and its scratch.  area:
             memory that exists once per exec.  exec: a plan made ready on a device.  allocation: an
             object's one piece of memory.  wave: one head of coherence attention, made ready.
             walk: the one place that spells an architecture. */

#ifndef WAVECOH_H
#define WAVECOH_H
#if __LINE__ == 127 /* nothing stands above this text: a compiler may be given the file itself */
#define WCOHI_FIRST_LINES
#endif

#include <stddef.h>
#include <stdint.h>

#define WCOH_VERSION_MAJOR 0
#define WCOH_VERSION_MINOR 2
#define WCOH_VERSION_PATCH 0
#define WCOH_VERSION "0.2.0"

/* WCOH_API marks every public function. WAVECOH_STATIC makes them all static: private to the
   one file that includes the implementation, no exported symbol, no unused-function warning.
   WAVECOH_API goes before each instead: a visibility or an export attribute. */
#if defined(__GNUC__) || defined(__clang__)
#define WCOHI_UNUSED __attribute__((unused))
#else
#define WCOHI_UNUSED
#endif
#if defined(WAVECOH_STATIC)
#define WCOH_API static WCOHI_UNUSED
#elif defined(WAVECOH_API)
#define WCOH_API WAVECOH_API
#else
#define WCOH_API extern
#endif

/* Static functions that a file declares and never defines: gcc looks at the end of the file
   whether to warn, so this lasts until there, or until the implementation comes. */
#if defined(WAVECOH_STATIC) && !defined(WAVECOH_IMPLEMENTATION) && defined(__GNUC__)
#define WCOHI_QUIET_UNUSED
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ======== 1 surface =========================================================================== */

/* The scalar of parameters, activations and logits. float; the tests alone compile the same text
   with WAVECOH_TEST_DOUBLE to check every gradient in float64. */
#ifdef WAVECOH_TEST_DOUBLE
typedef double wcoh_real;
#else
typedef float wcoh_real;
#endif

/* ---- results --------------------------------------------------------------------------------- */

/* One list gives the enum, the names and the sentences: X(name, value, sentence). */
#define WCOH_RESULTS(X)                                                                            \
    X(WCOH_DONE, 1, "the run is over: nothing was left to do")                                     \
    X(WCOH_OK, 0, "success")                                                                       \
    X(WCOH_E_ARGUMENT, -1, "an argument or a setting is outside its range")                        \
    X(WCOH_E_MEMORY, -2, "the allocator or the given block has no memory left")                    \
    X(WCOH_E_IO, -3, "reading or writing failed")                                                  \
    X(WCOH_E_FORMAT, -4, "the file is damaged or not of a known format")                           \
    X(WCOH_E_MISMATCH, -5, "the file is sound but belongs to another model")                       \
    X(WCOH_E_TOKEN, -6, "a token or symbol is outside the vocabulary")                             \
    X(WCOH_E_CONTEXT, -7, "a position is past the table of learned positions")                     \
    X(WCOH_E_DATA, -8, "there is too little data for one window")                                  \
    X(WCOH_E_DEVICE, -9, "the device failed or is not there")                                      \
    X(WCOH_E_UNSUPPORTED, -10, "this device or build does not support the request")                \
    X(WCOH_E_NUMERIC, -11, "a loss or gradient is not finite")

#define WCOHI_ENUM_ROW(name, value, text) name = value,
typedef enum wcoh_result {
    WCOH_RESULTS(WCOHI_ENUM_ROW) WCOH_RESULT_FORCE_INT = 0x7fffffff
} wcoh_result;
#undef WCOHI_ENUM_ROW

/* Where a failing call leaves its one sentence. Every function that can fail takes a pointer to
   one as its last argument; NULL is allowed. On success it is left untouched.
   NULL for a pointer that a call needs is WCOH_E_ARGUMENT. A function that returns no wcoh_result
   then does nothing and answers as for no elements: 0, NULL, zeros, -1 for an index or a length.
   NULL is allowed where a comment says so, for `memory` (libc) and for arrays of no elements. */
typedef struct wcoh_error {
    wcoh_result code;
    char text[256]; /* e.g. "blocks.3.attn.out.weight: expected [128,128], file has [64,64]" */
} wcoh_error;

/* Name ("WCOH_E_IO") and sentence of a result; never NULL. Thread rule: any thread. */
WCOH_API const char *wcoh_result_name(wcoh_result result);
WCOH_API const char *wcoh_result_text(wcoh_result result);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Where an object takes its one block from. All zero: WAVECOH_MALLOC/WAVECOH_FREE (libc).
   With `block` set, the object lives in the caller's block (any alignment, `block_size` bytes, at
   least what the matching *_size function reports) and nothing is allocated or freed. */
typedef struct wcoh_memory {
    size_t block_size;
    void *block;
    /* any alignment will do; NULL when out of memory */
    void *(*alloc)(size_t size, void *user);
    void (*release)(void *pointer, size_t size, void *user);
    void *user;
} wcoh_memory;

/* ---- settings as a table --------------------------------------------------------------------- */

/* Every setting of a desc is one row of a table: it gives defaults, validation, the options of the
   example programs, the metadata of checkpoints and the README's table. */
typedef enum wcoh_field_kind {
    WCOH_FIELD_INT,   /* int */
    WCOH_FIELD_REAL,  /* double */
    WCOH_FIELD_SEED,  /* uint64_t */
    WCOH_FIELD_CHOICE /* an enum whose values are 0 (default), 1, 2 .. in the order of `choices` */
} wcoh_field_kind;

typedef struct wcoh_field {
    const char *name; /* "bands"; the examples spell it --bands */
    wcoh_field_kind kind;
    size_t offset;   /* of the member inside its desc */
    double standard; /* what 0 stands for; see the help where it depends on other fields */
    double minimum;  /* smallest and largest value that may be given */
    double maximum;
    int off;             /* 1: a negative value switches it off */
    int required;        /* 1: there is no default, 0 is refused */
    const char *choices; /* CHOICE: "harmonic circles random"; the first is the default */
    size_t pattern;      /* CHOICE: offset of the wcoh_pattern beside it; 0: there is none */
    const char *help;    /* one line, for --help and the README */
    int live;            /* trainer: 1 if wcoh_trainer_set may change it in mid-run */
} wcoh_field;

/* The struct that a table describes. A part that the build leaves out has no rows. */
typedef enum wcoh_desc_kind {
    WCOH_DESC_MODEL,          /* wcoh_model_desc */
    WCOH_DESC_TRAINER,        /* wcoh_trainer_desc */
    WCOH_DESC_SAMPLE,         /* wcoh_sample_desc */
    WCOH_DESC_SESSION,        /* wcoh_session_desc */
    WCOH_DESC_EVAL,           /* wcoh_eval_desc */
    WCOH_DESC_TOKENIZER,      /* wcoh_tokenizer_desc */
    WCOH_DESC_CIRCLE,         /* wcoh_circle_desc */
    WCOH_DESC_SPECTRAL,       /* wcoh_spectral_desc */
    WCOH_DESC_RESONANCE,      /* wcoh_resonance_desc */
    WCOH_DESC_RESONANCE_QUERY /* wcoh_resonance_query */
} wcoh_desc_kind;

/* The table of a kind of desc; *count rows (NULL is allowed). NULL and 0 rows for one that there is
   not. Thread rule: any thread; constant data. */
WCOH_API const wcoh_field *wcoh_fields(wcoh_desc_kind kind, int *count);
/* Set one member of `desc` (a struct of that kind) from text, as an option or metadata value.
   Errors: WCOH_E_ARGUMENT for an unknown name, unreadable text or a value out of range (the
   sentence names field, value and range). Untrusted input: yes. */
WCOH_API wcoh_result wcoh_field_set(wcoh_desc_kind kind, void *desc, const char *name,
                                    const char *text, wcoh_error *error);
/* Write one member as text that wcoh_field_set reads back to the same bits; returns its length
   (snprintf's rule), or -1 for an unknown name. */
WCOH_API int wcoh_field_get(wcoh_desc_kind kind, const void *desc, const char *name, char *text,
                            size_t size);

/* ---- model ----------------------------------------------------------------------------------- */

/* Kinds that are cycled over the layers: layer l is of kind kinds[l % count]. count 0: all layers are
   of the kind that the member beside it names. As text "coherence,coherence,rotary". */
#define WCOH_PATTERN_MAX 16
typedef struct wcoh_pattern {
    int count;
    int kinds[WCOH_PATTERN_MAX]; /* values of the enum of the member beside it */
} wcoh_pattern;

/* Choices: 0 is the default, the others follow in the order of the field table. */
typedef enum wcoh_embedding {
    WCOH_EMBEDDING_AUTO,     /* harmonic; circles when one circle cannot tell neighbours apart */
    WCOH_EMBEDDING_HARMONIC, /* one circle, (cos n theta, sin n theta) */
    WCOH_EMBEDDING_CIRCLES,  /* several circles of pairwise coprime moduli share the bands */
    WCOH_EMBEDDING_RANDOM    /* normal(0, 0.02) */
} wcoh_embedding;
typedef enum wcoh_position {
    WCOH_POSITION_NONE,
    WCOH_POSITION_SINUSOIDAL,
    WCOH_POSITION_LEARNED
} wcoh_position;
typedef enum wcoh_attention {
    WCOH_ATTENTION_COHERENCE, /* separate query and key phasors, gain, carrier, damping */
    WCOH_ATTENTION_SHARED,    /* one phasor for query and key; gain, carrier, damping */
    WCOH_ATTENTION_FROZEN,    /* wave-engine's: frozen, harmonic numbers, values per head */
    WCOH_ATTENTION_DOT,       /* scaled dot product */
    WCOH_ATTENTION_ROTARY     /* scaled dot product with rotary positions */
} wcoh_attention;
typedef enum wcoh_ffn {
    WCOH_FFN_KERR,
    WCOH_FFN_MLP,      /* W2 gelu(W1 x) */
    WCOH_FFN_GATED_MLP /* W2 (silu(a) b), (a, b) = W1 x: SwiGLU (Shazeer, 2020) */
} wcoh_ffn;
typedef enum wcoh_maestros {
    WCOH_MAESTROS_DUAL, /* before and after the oscillators */
    WCOH_MAESTROS_ADD   /* kerr-engine's single one: out(kerr(x) + maestro(x)) */
} wcoh_maestros;
typedef enum wcoh_solver {
    WCOH_SOLVER_EXACT,        /* the closed form of the flow */
    WCOH_SOLVER_PERTURBATIVE, /* first order in the phase shift; limiter on by default */
    WCOH_SOLVER_RK4,          /* classical Runge-Kutta, `rk4_steps` steps */
    WCOH_SOLVER_NONE          /* no oscillators: the control */
} wcoh_solver;
typedef enum wcoh_switch { WCOH_SWITCH_AUTO, WCOH_SWITCH_OFF, WCOH_SWITCH_ON } wcoh_switch;
typedef enum wcoh_block_form {
    WCOH_BLOCK_PARALLEL,        /* h + attention(norm1 h) + ffn(norm2 h) */
    WCOH_BLOCK_PARALLEL_SHARED, /* h + attention(norm1 h) + ffn(norm1 h) */
    WCOH_BLOCK_SEQUENTIAL       /* h += attention(norm1 h); h += ffn(norm2 h) */
} wcoh_block_form;
typedef enum wcoh_norm {
    WCOH_NORM_LAYER, /* less the mean, over the deviation, weight and bias */
    WCOH_NORM_RMS    /* over the root mean square, weight alone (Zhang and Sennrich, 2019) */
} wcoh_norm;
typedef enum wcoh_head { WCOH_HEAD_DENSE, WCOH_HEAD_TIED, WCOH_HEAD_LOW_RANK } wcoh_head;
typedef enum wcoh_init {
    WCOH_INIT_UNIFORM,      /* weights and biases U(+-1/sqrt(fan_in)) */
    WCOH_INIT_UNIFORM_ZERO, /* weights U(+-1/sqrt(fan_in)), biases 0 (the published engines) */
    WCOH_INIT_NORMAL        /* weights N(0, 0.02^2), biases 0 (nanoGPT) */
} wcoh_init;
typedef enum wcoh_preset {
    WCOH_PRESET_WAVE, /* the default wave-coherence network */
    WCOH_PRESET_GPT,  /* nanoGPT's CPU shape: 4 layers, 128 wide, 4 heads, learned positions */
    WCOH_PRESET_KERR_ENGINE, /* kerr-engine: RK4-8, sequential blocks, first block per-band */
    WCOH_PRESET_WAVE_ENGINE  /* wave-engine: frozen coherence, knee limiter, perturbative */
} wcoh_preset;

typedef struct wcoh_tokenizer wcoh_tokenizer;

/* All zero but `vocab` is the default network. wcoh_fields(WCOH_DESC_MODEL) lists each setting with
   range, default and meaning. Letters: K bands, D = 2K, H heads, M maestro, V vocab. */
typedef struct wcoh_model_desc {
    int vocab;   /* V: symbols are 0 .. vocab-1; the one required setting */
    int context; /* tokens in the position table, and the ring of dot attention in a session */
    int bands;   /* K; the width is D = 2K */
    int layers;
    int heads;   /* H; divides D */
    int maestro; /* M */
    wcoh_embedding embedding;
    wcoh_switch embedding_trained; /* AUTO: trained when learned positions are (gpt), else frozen */
    wcoh_switch embedding_unit;    /* ON: harmonic tables times 1/sqrt(K); AUTO: OFF */
    int circles;                   /* number of circles for WCOH_EMBEDDING_CIRCLES */
    int modulus1, modulus2, modulus3, modulus4; /* 0: automatic */
    wcoh_position position;
    wcoh_attention attention;
    wcoh_pattern attention_pattern; /* in place of `attention`, layer by layer */
    double gain;                    /* kappa at the start */
    wcoh_switch forgetting;         /* ON: each row brings the damping of its own step; AUTO: OFF */
    wcoh_switch loudness;           /* ON: each row says how loudly it speaks as a key; AUTO: OFF */
    wcoh_block_form block;
    wcoh_norm norm;
    wcoh_ffn ffn;
    wcoh_pattern ffn_pattern; /* in place of `ffn`, layer by layer */
    int hidden;               /* F: MLP width; 4D, gated 8/3 D to a multiple of 8 */
    wcoh_switch gate;         /* ON: the Kerr layer times a linear gate of its input */
    wcoh_switch value_gate;   /* ON: attention times 2 sigma of a linear layer of its input */
    wcoh_maestros maestros;
    wcoh_solver solver;
    int rk4_steps;
    wcoh_switch limiter;        /* AUTO: on for the perturbative solver alone */
    double ceiling;             /* c of the knee; sqrt((pi/2)/(alpha+4 beta)) */
    double gamma, alpha, beta;  /* oscillators at the start */
    wcoh_switch kerr_trained;   /* OFF: gamma, omega, alpha, beta stay as they start */
    wcoh_switch omega_trained;  /* AUTO: as kerr_trained */
    wcoh_switch corrector;      /* ON: rotate each band by a learned angle after the oscillators */
    wcoh_switch per_band_first; /* ON: the first block has a 2x2 layer per band in place of Kerr */
    int groups;                 /* G: block-diagonal output projection of the ffn; 1 is dense */
    /* stochastic resonance: deviation of one fixed random offset before the oscillators; 0: none */
    double offset;
    wcoh_head head;
    int head_rank; /* R of the low-rank head */
    wcoh_init init;
    uint64_t seed;
    /* copied into the model and its file; NULL: symbols of the caller */
    const wcoh_tokenizer *tokenizer;
    wcoh_memory memory;
} wcoh_model_desc;

typedef struct wcoh_model wcoh_model;

/* Settings of a preset; `vocab` is set as given, the rest filled in. The fields of the two
   published engines are from kerr-engine's README (354,358 parameters at V = 65) and wave-engine as
   of 22 March 2026 (RESULTS). See also wcoh_trainer_preset. */
WCOH_API wcoh_model_desc wcoh_model_preset(wcoh_preset preset, int vocab);
/* Fill every default of `desc` in place and check it. Errors: WCOH_E_ARGUMENT; the sentence names
   the field, its value and the allowed range. */
WCOH_API wcoh_result wcoh_model_desc_resolve(wcoh_model_desc *desc, wcoh_error *error);
/* Bytes that wcoh_model_create will take; 0 if the desc is invalid (error says why). */
WCOH_API size_t wcoh_model_size(const wcoh_model_desc *desc, wcoh_error *error);
/* Make a model with its initial parameters; *model is NULL on failure.
   Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY. Thread rule: one thread per model; many models at
   once. */
WCOH_API wcoh_result wcoh_model_create(wcoh_model **model, const wcoh_model_desc *desc,
                                       wcoh_error *error);
WCOH_API void wcoh_model_destroy(wcoh_model *model); /* NULL is allowed */
/* The desc with every default filled in. Lives as long as the model. */
WCOH_API const wcoh_model_desc *wcoh_model_get_desc(const wcoh_model *model);
/* The model's own copy of its tokenizer, or NULL. Lives as long as the model. */
WCOH_API const wcoh_tokenizer *wcoh_model_tokenizer(const wcoh_model *model);

/* One tensor of the parameter table (names as "blocks.0.attn.carrier"). */
typedef struct wcoh_param {
    char name[64];
    int dims;        /* 1..3 */
    int shape[3];    /* row-major */
    size_t count;    /* product of the shape */
    int trained;     /* 1: has a gradient and moments; 0: frozen table */
    int decayed;     /* 1: weight decay applies (matrices) */
    int matrices; /* hidden ones stacked in it, each for itself with Muon; 0: AdamW's in any case */
    wcoh_real *data; /* [count], may be written between steps of trainers and sessions */
} wcoh_param;

WCOH_API int wcoh_model_param_count(const wcoh_model *model);
/* Row `index` of the table. Errors: WCOH_E_ARGUMENT outside 0 .. count-1. */
WCOH_API wcoh_result wcoh_model_param(const wcoh_model *model, int index, wcoh_param *param,
                                      wcoh_error *error);
/* Index of the tensor of that name, or -1. */
WCOH_API int wcoh_model_param_find(const wcoh_model *model, const char *name);
/* Number of trained scalars (276,424 for the default model on 65 symbols). */
WCOH_API size_t wcoh_model_trained_count(const wcoh_model *model);
/* Copy all parameters between two models of equal desc: a snapshot that a session on another thread
   may use while a trainer goes on. Errors: WCOH_E_MISMATCH. */
WCOH_API wcoh_result wcoh_model_copy(wcoh_model *to, const wcoh_model *from, wcoh_error *error);
/* Tell sessions and trainers that parameters were written by hand (trainers and loaders do this
   themselves). With a trainer on a GPU, wcoh_trainer_sync before writing. */
WCOH_API void wcoh_model_touch(wcoh_model *model);

/* ---- device ---------------------------------------------------------------------------------- */

/* A device executes plans. A trainer, session or evaluation without one makes a CPU device of its
   own from `cpu`; wavecoh_vk.h makes Vulkan devices. */
typedef struct wcoh_device wcoh_device;

typedef enum wcoh_isa {
    WCOH_ISA_AUTO,
    WCOH_ISA_SCALAR,
    WCOH_ISA_SSE2,
    WCOH_ISA_AVX2,
    WCOH_ISA_AVX512,
    WCOH_ISA_NEON
} wcoh_isa;

/* A user's job system: call task(index, task_user) once for every index in 0 .. count-1, on any
   threads, and return when all are done. Must not be entered again from inside a task. */
typedef void (*wcoh_task)(int index, void *task_user);
typedef void (*wcoh_parallel_for)(int count, wcoh_task task, void *task_user, void *user);

typedef struct wcoh_cpu_desc {
    int threads;  /* 0: the CPUs this process may use; 1: creates no thread; at most 256 */
    wcoh_isa isa; /* AUTO: the best this machine has; a forced one that it lacks is an error */
    wcoh_parallel_for parallel_for; /* lend a job system; `threads` then is its width */
    void *parallel_user;
} wcoh_cpu_desc;

/* The best instruction set of this machine and build, and its name ("avx2"). Any thread. */
WCOH_API wcoh_isa wcoh_cpu_best_isa(void);
WCOH_API const char *wcoh_isa_name(wcoh_isa isa);
/* 1 if this machine and this build can run `isa`. */
WCOH_API int wcoh_cpu_has_isa(wcoh_isa isa);
/* CPUs that this process may use (affinity and quota respected), at least 1. */
WCOH_API int wcoh_cpu_count(void);

/* A CPU device to share among trainers and sessions, one of them at a time: one pool of threads for
   all. Errors: WCOH_E_ARGUMENT, WCOH_E_UNSUPPORTED (isa), WCOH_E_MEMORY, WCOH_E_DEVICE (no
   thread). */
WCOH_API wcoh_result wcoh_cpu_device_create(wcoh_device **device, const wcoh_cpu_desc *desc,
                                            const wcoh_memory *memory, wcoh_error *error);
/* Any device, after all that use it. NULL is allowed. */
WCOH_API void wcoh_device_destroy(wcoh_device *device);

/* ---- data ------------------------------------------------------------------------------------ */

/* Texts as sequences, one behind the other: sequence i is tokens offsets[i] .. offsets[i+1] - 1, two
   or more. No window crosses from one into the next. */
typedef struct wcoh_sequences {
    size_t count;
    const size_t *offsets;  /* [count + 1], ascending */
    const uint32_t *tokens; /* below the vocabulary; a start symbol stands before a text, if at all */
} wcoh_sequences;

/* In the place of a target: it does not count, with no loss and no gradient. */
#define WCOH_TARGET_NONE 0xffffffffu

#ifndef WAVECOH_NO_TRAINING
/* ---- trainer --------------------------------------------------------------------------------- */

/* What a trainer did so far; given to the progress callback and by wcoh_trainer_stats. */
typedef struct wcoh_stats {
    uint64_t step;     /* steps finished */
    uint64_t tokens;   /* tokens trained on */
    double train_loss; /* nats, of the last step; before the first: 0 */
    double val_loss;   /* nats, of the last evaluation, also if not finite; negative: none yet */
    double best_val;   /* of the evaluations whose loss is finite; negative: none yet */
    uint64_t best_step;
    double lr;        /* of the last step */
    double grad_norm; /* of the last step, before clipping */
    double seconds;   /* spent inside the library */
    int evaluated;    /* 1 in the callback that follows an evaluation */
    int improved;     /* 1 in the callback whose evaluation is the best so far */
    int best_pending; /* 1: the weights of best_step wait to be kept (wcoh_trainer_best_kept) */
    int done;         /* 1: all steps made, the patience is spent, or the target reached */
} wcoh_stats;

typedef enum wcoh_optimizer {
    WCOH_OPTIMIZER_ADAMW, /* Loshchilov and Hutter, 2019 */
    WCOH_OPTIMIZER_MUON   /* Jordan and others, 2024: for hidden matrices; AdamW for the rest */
} wcoh_optimizer;

/* All zero is the trainer found best for the default model. wcoh_fields(WCOH_DESC_TRAINER). */
typedef struct wcoh_trainer_desc {
    int batch; /* B windows a micro-batch */
    int seq;   /* T tokens a window; at most the model's context where that has positions */
    int steps;     /* of the run; negative: without end, until wcoh_trainer_finish */
    wcoh_optimizer optimizer;
    double lr;      /* peak learning rate */
    double muon_lr; /* the same of Muon's matrices: it goes up and down as lr does */
    double lr_end;  /* its share at the end of the cosine; negative: constant after warm-up */
    int warmup;    /* steps; negative: none */
    double beta1, beta2, epsilon;
    double muon_momentum;
    double decay;      /* matrices only; negative: none */
    double clip;       /* global norm; negative: none */
    int accumulate;    /* micro-batches a step */
    int eval_every;    /* steps; negative: never */
    int eval_batches;  /* windows of the validation set = eval_batches x batch, evenly spaced */
    int patience;      /* evaluations without a better value before it stops; 0: no early stop */
    double target_val; /* stop when the validation loss is at or below; 0: none */
    wcoh_switch curriculum; /* ON: 8, 3K/8, K active bands over thirds of the run */
    /* Shares that become 0 at random in every step, for little text; 0: none. Evaluations and sessions
       drop nothing. */
    double dropout;           /* of what attention and feed-forward add to the stream */
    double embedding_dropout; /* of the embedded rows */
    uint64_t seed;            /* of the batches and of what is dropped */
    wcoh_cpu_desc cpu;
    /* NULL: a CPU device of its own, made from `cpu`; else borrowed, must outlive the trainer */
    wcoh_device *device;
    /* After each step and each evaluation; may save, evaluate, change settings (wcoh_trainer_set)
       and parameters (wcoh_trainer_sync before, wcoh_model_touch after). Return 0 to go on, non-zero
       to stop: the call under way returns WCOH_OK, the next one goes on there. */
    int (*progress)(const wcoh_stats *stats, void *user);
    void *progress_user;
    /* Several processes train one model: called once a step with the gradient of all trained
       parameters, [count], to be replaced by the mean over processes. Return 0, or non-zero to
       make the step fail with WCOH_E_DEVICE. Give each process its own seed. */
    int (*all_reduce)(wcoh_real *gradient, size_t count, void *user);
    void *all_reduce_user;
    wcoh_memory memory;
} wcoh_trainer_desc;

typedef struct wcoh_trainer wcoh_trainer;

/* The trainer that goes with a preset (kerr-engine: constant lr 3e-4, no decay, beta2 0.999). */
WCOH_API wcoh_trainer_desc wcoh_trainer_preset(wcoh_preset preset);
/* Fill every default in place and check it against `model` (may be NULL). Errors:
   WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_trainer_desc_resolve(wcoh_trainer_desc *desc,
                                               const wcoh_model_desc *model, wcoh_error *error);
/* Host bytes that wcoh_trainer_create will take (activations, gradients, moments); 0 if invalid. */
WCOH_API size_t wcoh_trainer_size(const wcoh_model_desc *model, const wcoh_trainer_desc *desc,
                                  wcoh_error *error);
/* Make a trainer of `model`, which must outlive it. Thread rule: one thread at a time per trainer;
   it writes the model's parameters at the end of each step.
   Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY, WCOH_E_DEVICE, WCOH_E_UNSUPPORTED. */
WCOH_API wcoh_result wcoh_trainer_create(wcoh_trainer **trainer, wcoh_model *model,
                                         const wcoh_trainer_desc *desc, wcoh_error *error);
WCOH_API void wcoh_trainer_destroy(wcoh_trainer *trainer); /* NULL is allowed */
WCOH_API const wcoh_trainer_desc *wcoh_trainer_get_desc(const wcoh_trainer *trainer);
/* Text to learn from, as tokens below the vocabulary. Both arrays stay the caller's and must live
   while the trainer uses them. val may be NULL (no evaluation).
   Errors: WCOH_E_DATA (fewer than seq+1 tokens), WCOH_E_TOKEN (names position and token). */
WCOH_API wcoh_result wcoh_trainer_set_data(wcoh_trainer *trainer, const uint32_t *train,
                                           size_t train_count, const uint32_t *val,
                                           size_t val_count, wcoh_error *error);
/* The same with several texts; val may be NULL. Copied is the struct alone: offsets and tokens must
   live on. A window is drawn from a sequence of n tokens with weight max(n - 1, seq): from any place
   of a longer one, the whole of a shorter one, whose missing targets do not count. So each target is
   about as likely as any other. Validation takes windows that follow each other within the sequences
   (the last of each may be short), evenly chosen among all. A single sequence of more than seq
   tokens is what wcoh_trainer_set_data makes of it, bit for bit.
   Errors: WCOH_E_DATA (none, or a sequence of fewer than two tokens), WCOH_E_TOKEN,
   WCOH_E_ARGUMENT (offsets that fall). */
WCOH_API wcoh_result wcoh_trainer_set_sequences(wcoh_trainer *trainer, const wcoh_sequences *train,
                                                const wcoh_sequences *val, wcoh_error *error);
/* One whole step: batches, forward, backward, clip, update, and an evaluation where one is due.
   Finishes a step that wcoh_trainer_run left half done. stats may be NULL. WCOH_DONE and nothing
   done where the run was over before the call (stats.done is 1 already after the call that ended it).
   Errors: WCOH_E_DATA without data, WCOH_E_NUMERIC (parameters untouched by the step),
   WCOH_E_DEVICE. */
WCOH_API wcoh_result wcoh_trainer_step(wcoh_trainer *trainer, wcoh_stats *stats, wcoh_error *error);
/* Work for about `milliseconds` (at least one op; negative: to the end of the run), stop between
   any two ops and any two matrices of Muon (a GPU: any two passes), go on there in the next call: bit for bit the run that was
   never interrupted. stats may be NULL. Returns and errors as wcoh_trainer_step. */
WCOH_API wcoh_result wcoh_trainer_run(wcoh_trainer *trainer, double milliseconds, wcoh_stats *stats,
                                      wcoh_error *error);
/* Change a setting in mid-run, from text as wcoh_field_set takes it: those whose wcoh_field says
   `live`. It counts from the next update on and is saved with the run. A new lr is warmed up to, over
   `warmup` steps, from the rate at hand. A run that made its steps and gets more goes on at the rate
   that it ended with; a new lr after that warms up again. May be called in the progress callback.
   Errors: WCOH_E_ARGUMENT (nothing is changed); a setting that is fixed is named. */
WCOH_API wcoh_result wcoh_trainer_set(wcoh_trainer *trainer, const char *name, const char *text,
                                      wcoh_error *error);
/* Begin the final decay: the run ends `steps` steps from now (0: a tenth of those made so far, at
   least one), and over them the rate falls from where it is to lr_end x lr by half a cosine; with
   lr_end negative it stays. Sets `steps`, and patience begins anew. With steps negative this makes the
   warm-up/stable/decay schedule of Hu et al. (MiniCPM, 2024) and Haegele et al. (2024): train without
   end, keep checkpoints, finish from any of them. Errors: WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_trainer_finish(wcoh_trainer *trainer, int steps, wcoh_error *error);
/* Loss and gradient of the caller's own batch, tokens and targets [batch, seq] with batch and seq
   at most the desc's; replaces the gradient buffer, changes no parameter. loss (may be NULL): mean
   nats of the targets that count; the gradient is that of this mean.
   For gradient checks, meta-learning, and steps on data that is not a text (wcoh_trainer_update).
   With dropout the masks are those of the step at hand, here and in wcoh_trainer_loss.
   Errors: WCOH_E_ARGUMENT, WCOH_E_TOKEN, WCOH_E_DATA where no target counts, WCOH_E_DEVICE. */
WCOH_API wcoh_result wcoh_trainer_gradient(wcoh_trainer *trainer, const uint32_t *tokens,
                                           const uint32_t *targets, int batch, int seq,
                                           double *loss, wcoh_error *error);
/* One optimiser step with the gradient that wcoh_trainer_gradient left. stats may be NULL. */
WCOH_API wcoh_result wcoh_trainer_update(wcoh_trainer *trainer, wcoh_stats *stats,
                                         wcoh_error *error);
/* Loss alone of the caller's batch (same shapes, same targets that do not count). */
WCOH_API wcoh_result wcoh_trainer_loss(wcoh_trainer *trainer, const uint32_t *tokens,
                                       const uint32_t *targets, int batch, int seq, double *loss,
                                       wcoh_error *error);
/* The gradient buffer of parameter `index` [count] after wcoh_trainer_gradient or
   wcoh_trainer_step; NULL if it is frozen. On a GPU this copies it to the host first. */
WCOH_API const wcoh_real *wcoh_trainer_param_gradient(wcoh_trainer *trainer, int index);
/* Evaluate now on the validation set, whatever eval_every says. Errors: WCOH_E_DATA without one. */
WCOH_API wcoh_result wcoh_trainer_evaluate(wcoh_trainer *trainer, double *val_loss,
                                           wcoh_error *error);
WCOH_API void wcoh_trainer_stats(const wcoh_trainer *trainer, wcoh_stats *stats);
/* Tell that the best weights so far are kept: stats.best_pending is 0 until better ones are found. A
   checkpoint remembers it, so that a run resumed after a crash knows whether they still wait; while
   best_step is step, the model holds them. */
WCOH_API void wcoh_trainer_best_kept(wcoh_trainer *trainer);
/* One sentence about the data, or NULL: after wcoh_trainer_set_data or wcoh_trainer_resume, that the
   text is not the one of the steps before (a checkpoint knows length and hash of its data). Nothing
   is refused; where the validation text is another, its losses so far are forgotten. Lives as long as
   the trainer, until the next of these two calls. */
WCOH_API const char *wcoh_trainer_notice(const wcoh_trainer *trainer);
/* Bring the model's host parameters up to date (a no-op on the CPU). */
WCOH_API wcoh_result wcoh_trainer_sync(wcoh_trainer *trainer, wcoh_error *error);

#endif /* WAVECOH_NO_TRAINING */
/* ---- evaluation ------------------------------------------------------------------------------ */

/* wcoh_fields(WCOH_DESC_EVAL) lists ranges and defaults. */
typedef struct wcoh_eval_desc {
    int seq;   /* tokens a window; 64, or the context where that is less */
    int batch; /* windows at once; 16 */
    wcoh_cpu_desc cpu;
    wcoh_device *device;
    wcoh_memory memory;
} wcoh_eval_desc;
/* Mean loss of non-overlapping windows of `seq` tokens with a fresh context each; the last
   incomplete window is dropped. scored (may be NULL): tokens predicted. One block is taken and
   given back.
   Errors: WCOH_E_DATA, WCOH_E_TOKEN, WCOH_E_MEMORY, WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_model_evaluate(wcoh_model *model, const wcoh_eval_desc *desc,
                                         const uint32_t *tokens, size_t count, double *loss,
                                         size_t *scored, wcoh_error *error);
/* The same over sequences: windows begin anew with each, and none is dropped. Every token but the
   first of each sequence is predicted. Errors: also those of wcoh_trainer_set_sequences. */
WCOH_API wcoh_result wcoh_model_evaluate_sequences(wcoh_model *model, const wcoh_eval_desc *desc,
                                                   const wcoh_sequences *sequences, double *loss,
                                                   size_t *scored, wcoh_error *error);

/* ---- session: one token at a time ------------------------------------------------------------ */

/* wcoh_fields(WCOH_DESC_SESSION) lists ranges and defaults. */
typedef struct wcoh_session_desc {
    int prefill; /* tokens that wcoh_session_prefill pushes through the batched path at once; 64 */
    wcoh_cpu_desc cpu; /* threads: 0 means 1 here */
    wcoh_device *device;
    wcoh_memory memory;
} wcoh_session_desc;

typedef struct wcoh_session wcoh_session;

/* Inference state over `model`, which must outlive it: constant time and memory per token, no limit
   on length. Parameters are read, never copied: do not let a trainer of the same model
   update them during a call (use wcoh_model_copy for a snapshot). One thread at a time per session;
   many sessions may share a model. Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY, WCOH_E_UNSUPPORTED. */
WCOH_API size_t wcoh_session_size(const wcoh_model *model, const wcoh_session_desc *desc,
                                  wcoh_error *error);
WCOH_API wcoh_result wcoh_session_create(wcoh_session **session, wcoh_model *model,
                                         const wcoh_session_desc *desc, wcoh_error *error);
WCOH_API void wcoh_session_destroy(wcoh_session *session); /* NULL is allowed */
WCOH_API void wcoh_session_reset(wcoh_session *session);   /* forget everything heard */
/* Hear one token. Errors: WCOH_E_TOKEN, WCOH_E_CONTEXT (learned positions only); state unchanged
   then. */
WCOH_API wcoh_result wcoh_session_step(wcoh_session *session, uint32_t token, wcoh_error *error);
/* Hear many tokens at once; equals that many steps to rounding. On an error nothing was heard. */
WCOH_API wcoh_result wcoh_session_prefill(wcoh_session *session, const uint32_t *tokens,
                                          size_t count, wcoh_error *error);
/* Hear tokens and add up -log p(next) in nats of each tokens[i+1] given all before; count-1 terms,
   all tokens but the last are heard. For scores of an unbroken stream. */
WCOH_API wcoh_result wcoh_session_score(wcoh_session *session, const uint32_t *tokens, size_t count,
                                        double *nats, wcoh_error *error);
/* Logits [vocab] after the last token heard; NULL before the first. Valid until the next call. */
WCOH_API const wcoh_real *wcoh_session_logits(const wcoh_session *session);
WCOH_API uint64_t wcoh_session_position(const wcoh_session *session); /* tokens heard */
/* Make `to` continue exactly as `from` would (two sessions of one model). Errors:
   WCOH_E_MISMATCH. */
WCOH_API wcoh_result wcoh_session_copy(wcoh_session *to, const wcoh_session *from,
                                       wcoh_error *error);

/* ---- sampling -------------------------------------------------------------------------------- */

/* xoshiro256** seeded through splitmix64 (Blackman and Vigna). A plain value: copy it to fork. */
typedef struct wcoh_rng {
    uint64_t s[4];
} wcoh_rng;
WCOH_API wcoh_rng wcoh_rng_seed(uint64_t seed);
WCOH_API uint64_t wcoh_rng_next(wcoh_rng *rng);
WCOH_API double wcoh_rng_uniform(wcoh_rng *rng); /* [0, 1) */
WCOH_API double wcoh_rng_normal(wcoh_rng *rng);  /* mean 0, deviation 1 */

/* Added to a logit; -infinity: never this token. */
typedef struct wcoh_logit_bias {
    uint32_t token;
    float bias;
} wcoh_logit_bias;

/* All zero is greedy: each filter is off at 0. Applied in this order: bias, repetition penalty,
   temperature, top-k, top-p, min-p. */
typedef struct wcoh_sample_desc {
    int top_k;          /* keep the k most likely; 0: all */
    double temperature; /* 0: greedy */
    double top_p;       /* smallest set whose probability reaches p; 0: off */
    double min_p;       /* drop below min_p x the largest probability; 0: off */
    /* divides positive and multiplies negative logits of tokens heard, once per distinct token; 0:
       off */
    double repetition_penalty;
    int repetition_window; /* tokens looked back; 64, at most 1024 */
    uint64_t seed;         /* used by whoever makes the wcoh_rng */
    const wcoh_logit_bias *bias;
    int bias_count;
} wcoh_sample_desc;

/* Check the settings. Errors: WCOH_E_ARGUMENT, the sentence names field, value and range;
   WCOH_E_TOKEN for a bias of a token outside the vocabulary. Thread rule: any thread. */
WCOH_API wcoh_result wcoh_sample_desc_check(const wcoh_sample_desc *desc, int vocab,
                                            wcoh_error *error);
/* Draw a token from logits [vocab] (read), given the `recent_count` tokens heard last, oldest
   first. scratch: [2*vocab] floats of the caller. rng may be NULL at temperature 0, which draws
   nothing. Ties go to the lower token; a logit that is not finite is never drawn.
   Errors: WCOH_E_ARGUMENT, WCOH_E_TOKEN, WCOH_E_NUMERIC (no finite logit). Thread rule: any
   thread. */
WCOH_API wcoh_result wcoh_sample(const wcoh_sample_desc *desc, wcoh_rng *rng,
                                 const wcoh_real *logits, int vocab, const uint32_t *recent,
                                 size_t recent_count, float *scratch, uint32_t *token,
                                 wcoh_error *error);
/* The same from the session's logits and its last tokens; does not hear the token. */
WCOH_API wcoh_result wcoh_session_sample(wcoh_session *session, const wcoh_sample_desc *desc,
                                         wcoh_rng *rng, uint32_t *token, wcoh_error *error);

/* ---- tokenizers ------------------------------------------------------------------------------ */

typedef enum wcoh_tokenizer_kind {
    WCOH_TOKENIZER_BYTES,      /* token = byte, 256 symbols */
    WCOH_TOKENIZER_CHARS,      /* the distinct characters of a text, in the order of code points */
    WCOH_TOKENIZER_CHARS_BYTES /* those, and 256 bytes behind them: no text is refused */
} wcoh_tokenizer_kind;

/* All zero is bytes. wcoh_fields(WCOH_DESC_TOKENIZER). */
typedef struct wcoh_tokenizer_desc {
    int start; /* 1: one symbol more, the last: what every sequence begins with. No text has it */
    wcoh_tokenizer_kind kind;
    wcoh_memory memory;
} wcoh_tokenizer_desc;

/* Make a tokenizer; `text` [size] gives the alphabet where the kind has one. For CHARS it must be
   UTF-8 and not empty; for CHARS_BYTES bytes that are no UTF-8 are passed over.
   Errors: WCOH_E_FORMAT (names the byte of the first malformed sequence), WCOH_E_DATA (no text),
   WCOH_E_MEMORY, WCOH_E_ARGUMENT. Untrusted input: yes. */
WCOH_API wcoh_result wcoh_tokenizer_create(wcoh_tokenizer **tokenizer,
                                           const wcoh_tokenizer_desc *desc, const char *text,
                                           size_t size, wcoh_error *error);
/* The same in short for bytes, and for the characters of a text. */
WCOH_API wcoh_result wcoh_tokenizer_create_bytes(wcoh_tokenizer **tokenizer,
                                                 const wcoh_memory *memory, wcoh_error *error);
WCOH_API wcoh_result wcoh_tokenizer_create_chars(wcoh_tokenizer **tokenizer, const char *text,
                                                 size_t size, const wcoh_memory *memory,
                                                 wcoh_error *error);
WCOH_API void wcoh_tokenizer_destroy(wcoh_tokenizer *tokenizer); /* NULL is allowed */
WCOH_API wcoh_tokenizer_kind wcoh_tokenizer_get_kind(const wcoh_tokenizer *tokenizer);
WCOH_API int wcoh_tokenizer_vocab(const wcoh_tokenizer *tokenizer);
/* Characters of the alphabet: tokens 0 .. that - 1 (0 for bytes); bytes follow, then the start. */
WCOH_API int wcoh_tokenizer_characters(const wcoh_tokenizer *tokenizer);
/* The start symbol's token, or -1 without one. Put it before the tokens of each sequence that a
   model learns, and let a session hear it first. */
WCOH_API int wcoh_tokenizer_start(const wcoh_tokenizer *tokenizer);
/* Text to tokens. *count (may be NULL) = tokens of the whole text; at most `capacity` are written
   (tokens may be NULL with capacity 0 to measure); after WCOH_E_TOKEN and WCOH_E_FORMAT it counts
   those before the fault. Errors: WCOH_E_TOKEN for a character outside the alphabet (names it and
   its byte), WCOH_E_FORMAT for malformed UTF-8, WCOH_E_MEMORY if capacity was too small. Where the
   tokenizer has bytes neither of the first two comes: what is no character of the alphabet, valid
   UTF-8 or not, is spelled in bytes, and decoding gives any text back. */
WCOH_API wcoh_result wcoh_tokenizer_encode(const wcoh_tokenizer *tokenizer, const char *text,
                                           size_t size, uint32_t *tokens, size_t capacity,
                                           size_t *count, wcoh_error *error);
/* The bytes of one token (1..4), not terminated; returns their number, 0 for the start symbol and
   outside the vocabulary. Bytes of one character may come in several tokens: to show text as it
   comes, hold them back until they are whole (examples/text.h: flow_write). */
WCOH_API int wcoh_tokenizer_decode(const wcoh_tokenizer *tokenizer, uint32_t token, char bytes[4]);

/* ---- files ----------------------------------------------------------------------------------- */

/* Where bytes come from or go to. Reading uses size and read, writing uses write and finish.
   A game passes its own archive; wcoh_io_memory and the *_file functions are two ready ones.
   Each callback returns 0 for success. */
typedef struct wcoh_io {
    void *user;
    int (*size)(void *user, uint64_t *bytes);
    int (*read)(void *user, uint64_t offset, void *data,
                size_t size);                                /* exactly size bytes, or fails */
    int (*write)(void *user, const void *data, size_t size); /* appends all of it, or fails */
    int (*finish)(void *user, int keep); /* once, last; 1: make it durable and visible, or fail and
                                            throw it away; 0: throw it away; may be NULL */
} wcoh_io;

/* A block of memory as a file. Writing fails past capacity. */
typedef struct wcoh_memory_file {
    unsigned char *data;
    size_t capacity; /* of data, for writing */
    size_t used;     /* bytes there are to read; writing appends here, so 0 before saving, and 0
                        again after a save that failed */
} wcoh_memory_file;
WCOH_API wcoh_io wcoh_io_memory(wcoh_memory_file *block); /* block must outlive the wcoh_io */

/* Checkpoints are safetensors files, as Python's package reads them. Loading believes nothing; a
   bad file leaves the model as it was. Untrusted input: yes.
   Errors: WCOH_E_IO, WCOH_E_FORMAT, WCOH_E_MISMATCH (names the tensor), WCOH_E_MEMORY,
   WCOH_E_ARGUMENT. Saving takes no memory, and refuses (WCOH_E_NUMERIC) what loading would refuse:
   a number that is not finite, a gain above 12. Loading takes temporary blocks from the object's
   (or the given) alloc hook, libc where there is none. */
WCOH_API wcoh_result wcoh_model_save(const wcoh_model *model, const wcoh_io *io, wcoh_error *error);
/* The same with a text of the caller's own, UTF-8, that wcoh_tensors_metadata finds as "note";
   WCOH_E_FORMAT if it is not. */
WCOH_API wcoh_result wcoh_model_save_note(const wcoh_model *model, const char *note,
                                          const wcoh_io *io, wcoh_error *error);
/* Make the model that the file describes. `memory` may be NULL (libc). */
WCOH_API wcoh_result wcoh_model_load(wcoh_model **model, const wcoh_io *io,
                                     const wcoh_memory *memory, wcoh_error *error);
/* Read the tensors of a file into a model that the caller made; the file may lack our metadata,
   which are not looked at. Every tensor of the model must be there, frozen tables too, and none
   besides (optimiser moments, adam.* and muon.*, are passed over). F64, F16 and BF16 are converted. */
WCOH_API wcoh_result wcoh_model_read(wcoh_model *model, const wcoh_io *io, wcoh_error *error);
/* Bytes that wcoh_model_save writes at most. */
WCOH_API size_t wcoh_model_file_size(const wcoh_model *model);

#ifndef WAVECOH_NO_TRAINING
/* The model's file plus moments, step, RNG, cursor and trainer settings: resuming equals never
   having stopped, bit for bit. Saves between steps only: a half-done step is begun again after
   resuming, with the same result. */
WCOH_API wcoh_result wcoh_trainer_save(wcoh_trainer *trainer, const wcoh_io *io, wcoh_error *error);
/* Restore a trainer whose model was loaded from the same file. Errors as loading. */
WCOH_API wcoh_result wcoh_trainer_resume(wcoh_trainer *trainer, const wcoh_io *io,
                                         wcoh_error *error);
/* The settings a trainer's file was made with, to create the same trainer again.
   WCOH_E_MISMATCH if the file holds weights alone. */
WCOH_API wcoh_result wcoh_trainer_read_desc(wcoh_trainer_desc *desc, const wcoh_io *io,
                                            wcoh_error *error);
/* Bytes that wcoh_trainer_save writes at most. */
WCOH_API size_t wcoh_trainer_file_size(wcoh_trainer *trainer);
#endif

/* The state of a session (not its model). Errors as loading; a state of another model is a
   mismatch. */
WCOH_API wcoh_result wcoh_session_save(const wcoh_session *session, const wcoh_io *io,
                                       wcoh_error *error);
/* Bytes that wcoh_session_save writes at most. */
WCOH_API size_t wcoh_session_file_size(const wcoh_session *session);
WCOH_API wcoh_result wcoh_session_load(wcoh_session *session, const wcoh_io *io, wcoh_error *error);

#ifndef WAVECOH_NO_STDIO
/* The same on a path, as fopen takes it; sentences begin with it. Saving is atomic: a temporary
   file beside it (PATH.<process>-<n>.tmp), synced, renamed. A killed process leaves it behind; the
   next save to that path takes it away where it can see that the process is gone (POSIX).
   Links are followed, permissions kept; a device or a pipe is written as it stands. */
WCOH_API wcoh_result wcoh_model_save_file(const wcoh_model *model, const char *path,
                                          wcoh_error *error);
WCOH_API wcoh_result wcoh_model_save_note_file(const wcoh_model *model, const char *note,
                                               const char *path, wcoh_error *error);
/* Can a file be saved at `path`? Makes the temporary file that saving would make and takes it away;
   what stands at the path is not touched, a device or a pipe not opened. Errors: WCOH_E_IO,
   WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_path_check(const char *path, wcoh_error *error);
WCOH_API wcoh_result wcoh_model_load_file(wcoh_model **model, const char *path,
                                          const wcoh_memory *memory, wcoh_error *error);
WCOH_API wcoh_result wcoh_model_read_file(wcoh_model *model, const char *path, wcoh_error *error);
#ifndef WAVECOH_NO_TRAINING
WCOH_API wcoh_result wcoh_trainer_save_file(wcoh_trainer *trainer, const char *path,
                                            wcoh_error *error);
WCOH_API wcoh_result wcoh_trainer_resume_file(wcoh_trainer *trainer, const char *path,
                                              wcoh_error *error);
WCOH_API wcoh_result wcoh_trainer_read_desc_file(wcoh_trainer_desc *desc, const char *path,
                                                 wcoh_error *error);
#endif
WCOH_API wcoh_result wcoh_session_save_file(const wcoh_session *session, const char *path,
                                            wcoh_error *error);
WCOH_API wcoh_result wcoh_session_load_file(wcoh_session *session, const char *path,
                                            wcoh_error *error);
#endif

/* Any file of tensors, tensor by tensor: the toolkit's way to vectors of other models. The format is
   found by the file's first bytes: safetensors, or NumPy's .npy (versions 1 to 3, either byte order,
   C or Fortran order), a file of one tensor named "array". F64, F32, F16, BF16, integers and bool
   are read as floats; a tensor of another type is listed, and refused when its numbers are read. A
   header may have 100,000,000 bytes. Opaque; takes one block. Untrusted input: yes.
   Errors of opening: WCOH_E_IO, WCOH_E_FORMAT, WCOH_E_UNSUPPORTED (another version of .npy),
   WCOH_E_MEMORY, WCOH_E_ARGUMENT. */
typedef struct wcoh_tensors wcoh_tensors;
typedef struct wcoh_tensor_info {
    const char *name; /* lives as long as the wcoh_tensors */
    char dtype[16];   /* "F32"; a type that is not known as the file spells it */
    int dims;         /* 0..8 */
    uint64_t shape[8];
    uint64_t count;
} wcoh_tensor_info;
/* `io` must stay valid while it is open. */
WCOH_API wcoh_result wcoh_tensors_open(wcoh_tensors **tensors, const wcoh_io *io,
                                       const wcoh_memory *memory, wcoh_error *error);
#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_tensors_open_file(wcoh_tensors **tensors, const char *path,
                                            const wcoh_memory *memory, wcoh_error *error);
#endif
WCOH_API void wcoh_tensors_close(wcoh_tensors *tensors); /* NULL is allowed */
WCOH_API int wcoh_tensors_count(const wcoh_tensors *tensors);
WCOH_API wcoh_result wcoh_tensors_info(const wcoh_tensors *tensors, int index,
                                       wcoh_tensor_info *info, wcoh_error *error);
WCOH_API int wcoh_tensors_find(const wcoh_tensors *tensors, const char *name); /* -1 if absent */
/* Elements first .. first+count-1 of a tensor as floats, the last index fastest.
   Errors: WCOH_E_ARGUMENT outside the tensor, WCOH_E_UNSUPPORTED (names tensor and type),
   WCOH_E_IO. */
WCOH_API wcoh_result wcoh_tensors_read(const wcoh_tensors *tensors, int index, uint64_t first,
                                       size_t count, float *values, wcoh_error *error);
/* A metadata string (lives as long as the wcoh_tensors), or NULL. */
WCOH_API const char *wcoh_tensors_metadata(const wcoh_tensors *tensors, const char *key);

#ifndef WAVECOH_NO_TOOLKIT
/* ---- coherence toolkit: measure waves in any embedding, attention or weights ----------------- */

/* Five groups: relations on the circle, spectral coherence, resonance memory, attention, weights.
   They need no model: vectors come from the caller, a .npy file or a safetensors file.
   Angles are radians in double precision. Functions that return double cannot fail; a count or a
   modulus of 0 gives 0. Source of groups 1 to 3, where nothing else is said: "Wave Coherence as a
   Computational Primitive"; the resonance score: Listopad 2025, arXiv 2509.09691.
   Thread rule, where nothing else is said: any thread, any number at once. */

/* 1. Relations on the circle. */

/* Phase of id k on a ring of `buckets`: 2 pi (k mod buckets) / buckets, in [0, 2 pi). */
WCOH_API double wcoh_phase_id(uint64_t k, uint64_t buckets);
/* The same for a real-valued k (a symbol between two symbols), and from degrees. In [0, 2 pi). */
WCOH_API double wcoh_phase_fraction(double k, double buckets);
WCOH_API double wcoh_phase_degrees(double degrees);
/* Any angle folded into [0, 2 pi): exact to the last digits up to 2^53 radians, beyond which doubles
   lie more than a radian apart; 0 for one that is not finite. */
WCOH_API double wcoh_phase_wrap(double phase);
/* Coherence cos(a - b), and its harmonic n: cos(n (a - b)), 1 where the phases differ by a multiple
   of 2 pi / n. Both in [-1, 1]. Here and below phases are folded first. */
WCOH_API double wcoh_coherence(double a, double b);
WCOH_API double wcoh_coherence_harmonic(double a, double b, int n);
/* Angle between two phases, 0 .. pi, and the way from source to target counter-clockwise,
   [0, 2 pi). */
WCOH_API double wcoh_angle(double a, double b);
WCOH_API double wcoh_angle_directed(double source, double target);
/* Fuzzy match: cos(pi d / (2 orb)) where d = | angle(a, b) - angle | <= orb, else 0. The directed
   form measures the angle from source to target. angle, orb: radians. */
WCOH_API double wcoh_fuzzy(double a, double b, double angle, double orb);
WCOH_API double wcoh_fuzzy_directed(double source, double target, double angle, double orb);
/* Typed reach: the best directed fuzzy match over a type's list of angles [count]. */
WCOH_API double wcoh_reach(double source, double target, const double *angles, int count,
                           double orb);
/* Conjunction over attributes: the product of scores [count]. */
WCOH_API double wcoh_conjunction(const double *scores, int count);
/* Floor cos(2 pi n / buckets): above it a match of harmonic n on that ring is exact (n = 1: only
   the bucket itself). The safe threshold half-way to 1: (1 + cos(2 pi / buckets)) / 2. */
WCOH_API double wcoh_threshold_floor(uint64_t buckets, int n);
WCOH_API double wcoh_threshold_safe(uint64_t buckets);
/* Buckets that a threshold needs, the least integer above 2 pi n / acos(t), and the half-width
   acos(t) / n of a match in radians. */
WCOH_API double wcoh_threshold_buckets(double threshold, int n);
WCOH_API double wcoh_threshold_width(double threshold, int n);
/* Fingerprint: the harmonic at which two phases first fall below the threshold,
   ceil(acos(t) / angle); 0 for equal phases, which never do. */
WCOH_API double wcoh_fingerprint(double a, double b, double threshold);
/* Harmonic sweep of a pair: scores [count], scores[n-1] = cos(n (a - b)). */
WCOH_API void wcoh_sweep(double a, double b, double *scores, int count);
/* One row of the spectral profile of a set of phases [count] at harmonic n, over distinct pairs.
   O(count^2). */
typedef struct wcoh_profile_row {
    double mean_abs;  /* mean of |C_n| */
    double max_abs;
    double mean;      /* signed */
    uint64_t above;   /* pairs with |C_n| > threshold */
} wcoh_profile_row;
WCOH_API wcoh_profile_row wcoh_profile(const double *phases, size_t count, int n,
                                       double threshold);
/* The fundamental of a set: smallest n <= harmonics whose signed mean of C_n over distinct pairs is
   above the threshold; 0 if none. O(count harmonics). The sign matters: overtones of the
   fundamental have the same mean of |C_n|. */
WCOH_API int wcoh_fundamental(const double *phases, size_t count, int harmonics,
                              double threshold);
/* Hidden coherence of phase differences [count] at harmonic n: mean resultant length in 0 .. 1;
   *offset (may be NULL) gets the common offset, radians in +-pi/n. */
WCOH_API double wcoh_resultant(const double *differences, size_t count, int n, double *offset);
/* Harmonic vector of unit norm, values [2 count]: cos(n phase), sin(n phase) over sqrt(count). */
WCOH_API void wcoh_harmonic_vector(double phase, float *values, int count);
/* Several grids on one circle, moduli [count <= 16]: positions, the highest harmonic they resolve
   together (lcm / 2) and the gain lcm / max. Errors: WCOH_E_ARGUMENT for a modulus of 0 or a least
   common multiple of 2^63 or more. */
typedef struct wcoh_grids {
    uint64_t positions; /* of all grids together: the sum of the moduli */
    uint64_t distinct;  /* of those, how many differ: the union of the grid points */
    uint64_t lcm;
    uint64_t harmonic;  /* lcm / 2 */
    double gain;
} wcoh_grids;
WCOH_API wcoh_result wcoh_grids_of(wcoh_grids *grids, const uint64_t *moduli, int count,
                                   wcoh_error *error);

/* The circle as an index: entities with one phase (a ring of buckets) or two (a torus of
   buckets x buckets cells). A query touches the buckets that can hold an answer and gives exactly
   what a full scan gives. Grows with its entities; with memory.block, until the block is full. */
typedef struct wcoh_circle wcoh_circle;
typedef struct wcoh_circle_desc {
    int buckets; /* per axis; 360. 1 .. 2^24 on the ring, 1 .. 4096 on the torus */
    int axes;    /* 1: ring, 2: torus; 1 */
    wcoh_memory memory;
} wcoh_circle_desc;
typedef struct wcoh_circle_query {
    int harmonic[2];     /* n of each axis; 0 is 1, the exact match; at most 2^20 */
    double phase[2];     /* target */
    double threshold[2]; /* keep where C_n >= threshold on every axis */
} wcoh_circle_query;
typedef struct wcoh_circle_hit {
    uint64_t slot;
    double score; /* C_n; on the torus the product of both */
} wcoh_circle_hit;
/* desc may be NULL (all zero). Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY. Thread rule: one thread
   writes, or many read. */
WCOH_API wcoh_result wcoh_circle_create(wcoh_circle **circle, const wcoh_circle_desc *desc,
                                        wcoh_error *error);
WCOH_API void wcoh_circle_destroy(wcoh_circle *circle); /* NULL is allowed */
/* Add an entity, phases [axes], folded into [0, 2 pi) as by wcoh_phase_wrap; slots count up from 0
   and are never used twice (slot may be NULL). Errors: WCOH_E_ARGUMENT for a phase that is not
   finite or beyond 2^53 radians, WCOH_E_MEMORY; nothing changes then. */
WCOH_API wcoh_result wcoh_circle_insert(wcoh_circle *circle, const double *phases, uint64_t *slot,
                                        wcoh_error *error);
/* 1 if the entity was there and is gone; 0 if it is unknown or already removed. */
WCOH_API int wcoh_circle_remove(wcoh_circle *circle, uint64_t slot);
/* Move an entity; it keeps its slot. Errors: as insert, and WCOH_E_ARGUMENT if it is not there. */
WCOH_API wcoh_result wcoh_circle_update(wcoh_circle *circle, uint64_t slot, const double *phases,
                                        wcoh_error *error);
WCOH_API uint64_t wcoh_circle_count(const wcoh_circle *circle); /* entities there */
WCOH_API uint64_t wcoh_circle_slots(const wcoh_circle *circle); /* slots ever given out */
WCOH_API const wcoh_circle_desc *wcoh_circle_get_desc(const wcoh_circle *circle);
/* Phases [axes] of a slot, in [0, 2 pi); returns 0 if it was removed or never given out. */
WCOH_API int wcoh_circle_phases(const wcoh_circle *circle, uint64_t slot, double *phases);
/* All entities that answer: *count of them, at most `capacity` written, in no promised order;
   hits (nothing is written then), count and examined (entities whose phase was compared) may be
   NULL. Errors: WCOH_E_ARGUMENT, also for a target beyond 2^53 radians. */
WCOH_API wcoh_result wcoh_circle_find(const wcoh_circle *circle, const wcoh_circle_query *query,
                                      wcoh_circle_hit *hits, size_t capacity, size_t *count,
                                      size_t *examined, wcoh_error *error);
/* A safetensors file with "phase.N" [slots, 2] F64 and "alive.N" [slots] U8.
   The forms with a path save atomically. Errors: WCOH_E_IO, WCOH_E_FORMAT, WCOH_E_MISMATCH,
   WCOH_E_MEMORY. Untrusted input: yes. */
WCOH_API wcoh_result wcoh_circle_save(const wcoh_circle *circle, const wcoh_io *io,
                                      wcoh_error *error);
WCOH_API wcoh_result wcoh_circle_load(wcoh_circle **circle, const wcoh_io *io,
                                      const wcoh_memory *memory, wcoh_error *error);
#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_circle_save_file(const wcoh_circle *circle, const char *path,
                                           wcoh_error *error);
WCOH_API wcoh_result wcoh_circle_load_file(wcoh_circle **circle, const char *path,
                                           const wcoh_memory *memory, wcoh_error *error);
#endif

/* 2. Spectral coherence of dense vectors. */

typedef struct wcoh_complex { double re, im; } wcoh_complex;

/* One-sided DFT of real data of any length 1 .. 2^26, O(n log n) (mixed radix; Bluestein's chirp
   where a prime factor is above 61): X[k] = sum_j x[j] exp(-2 pi i jk/n), k = 0 .. n/2. One block.
   Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY. Thread rule: one thread at a time per wcoh_dft. */
typedef struct wcoh_dft wcoh_dft;
WCOH_API wcoh_result wcoh_dft_create(wcoh_dft **dft, int length, const wcoh_memory *memory,
                                     wcoh_error *error);
WCOH_API void wcoh_dft_destroy(wcoh_dft *dft); /* NULL is allowed */
WCOH_API int wcoh_dft_length(const wcoh_dft *dft);
WCOH_API int wcoh_dft_bins(const wcoh_dft *dft); /* n/2 + 1 */
WCOH_API void wcoh_dft_forward(wcoh_dft *dft, const double *x, wcoh_complex *bins);
/* The inverse, 1/n included: x [n] from bins [n/2+1]; imaginary parts at DC and Nyquist are
   ignored. */
WCOH_API void wcoh_dft_inverse(wcoh_dft *dft, const wcoh_complex *bins, double *x);

typedef enum wcoh_split {
    WCOH_SPLIT_DFT,   /* bands of consecutive DFT bins, bins / bands each, the last has the rest */
    WCOH_SPLIT_BLOCKS /* bands of consecutive dimensions: the block cosine */
} wcoh_split;
typedef enum wcoh_null {
    WCOH_NULL_ROTATION,   /* random pairs of the same lengths and cosine, any direction */
    WCOH_NULL_PERMUTATION /* the dimensions of both vectors in the same random order */
} wcoh_null;

/* A number and what chance gives: the same statistic over `draws` random rotations or permutations.
   The index order of a learned embedding is arbitrary, so a figure means something only outside
   its null. A draw ties with the value where they differ by rounding alone: by at most 1e-12 in
   coherences and shares, and by what such errors do to their variance. */
typedef struct wcoh_figure {
    double value;
    double mean, deviation; /* of the null */
    double z;               /* (value - mean) / deviation; 0 where the deviation is 0 */
    double percentile;      /* of null draws below the value, 0 .. 100; ties count half */
} wcoh_figure;

typedef struct wcoh_spectral_desc {
    int dimensions;   /* n of each vector; required, 1 .. 2^20 */
    int bands;        /* 8; at most the number of bins or dimensions, and 128 */
    int draws;        /* of the null; 200, at most 10,000; negative: none, z and percentile are 0 */
    wcoh_split split;
    wcoh_null null;
    uint64_t seed;    /* same seed, same figures, whatever the number of threads */
    wcoh_cpu_desc cpu;
    wcoh_memory memory;
} wcoh_spectral_desc;

/* The figures of one pair. Coherence of band i: Re(sum A conj B) / sqrt(sum|A|^2 sum|B|^2) over the
   band, 0 if a power is 0; every bin has weight 1. With p the elementwise product: */
typedef struct wcoh_pair_figures {
    double cosine;            /* fixed under both nulls */
    wcoh_figure variance;     /* population variance of the band coherences */
    wcoh_figure cancellation; /* |sum p| / sum |p| */
    wcoh_figure positive;     /* share of p > 0 */
} wcoh_pair_figures;

typedef struct wcoh_spectral wcoh_spectral;
/* Takes one block. Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY. Thread rule: one thread at a time. */
WCOH_API wcoh_result wcoh_spectral_create(wcoh_spectral **spectral, const wcoh_spectral_desc *desc,
                                          wcoh_error *error);
WCOH_API void wcoh_spectral_destroy(wcoh_spectral *spectral); /* NULL is allowed */
WCOH_API const wcoh_spectral_desc *wcoh_spectral_get_desc(const wcoh_spectral *spectral);
/* Measure a group of pairs: vectors [vector_count, n], pairs [count, 2] (rows of vectors).
   each [count], bands [count, bands] (the coherences of each pair), mean (the group's means, the
   null drawn for the mean) and profile [bands] (mean coherence of each band): any may be NULL.
   Errors: WCOH_E_ARGUMENT for a row outside, or a value that is not finite.
   Untrusted input: yes. */
WCOH_API wcoh_result wcoh_spectral_pairs(wcoh_spectral *spectral, const float *vectors,
                                         size_t vector_count, const uint32_t *pairs, size_t count,
                                         wcoh_pair_figures *each, wcoh_figure *bands,
                                         wcoh_pair_figures *mean, wcoh_figure *profile,
                                         wcoh_error *error);
/* Share of energy in each band [bands], mean over vectors [count, n]; its null, in closed form, is
   the mean share of as many independent random directions. Errors: as above. */
WCOH_API wcoh_result wcoh_spectral_energy(wcoh_spectral *spectral, const float *vectors,
                                          size_t count, wcoh_figure *bands, wcoh_error *error);

/* 3. Resonance memory. */

/* A wave packet is a list of bins, each with amplitude A >= 0 and phase. From a real vector:
   sign-phase (A = |v|, phase 0 or pi; bins = n) or the DFT (bins = n/2+1, inner bins count twice:
   Parseval). Or amplitudes and phases as given. */
typedef enum wcoh_packet { WCOH_PACKET_SIGN, WCOH_PACKET_DFT, WCOH_PACKET_PHASES } wcoh_packet;
typedef enum wcoh_score {
    /* S = 1/2 (sum |psi1 + psi2|^2 / (E1 + E2)) (2 sqrt(E1 E2) / (E1 + E2)): 1 equal, 1/2
       orthogonal of equal energy, 0 in antiphase. For equal energies S = (1 + R) / 2, so the same
       ranking as R. */
    WCOH_SCORE_RESONANCE,
    /* R = sum w A1 A2 cos(phi1 - phi2) / sqrt(E1 E2): over all bins the cosine of the vectors. */
    WCOH_SCORE_COSINE
} wcoh_score;

/* Resonance S of two packets, amplitude and phase [bins]; *difference (may be NULL) gets the mean
   wrapped phase difference phi2 - phi1 over bins where both amplitudes are positive, radians. */
WCOH_API double wcoh_packet_resonance(const double *amplitude1, const double *phase1,
                                      const double *amplitude2, const double *phase2, int bins,
                                      double *difference);
/* Amplitude and phase [n] of a real vector [n] by sign, [n/2+1] by DFT (unscaled bins). */
WCOH_API void wcoh_packet_sign(const float *vector, int n, double *amplitude, double *phase);
WCOH_API void wcoh_packet_dft(wcoh_dft *dft, const float *vector, double *amplitude,
                              double *phase);
/* mask[k] = 1 where the amplitude is at or above that percentile (0 .. 100, linear interpolation
   between order statistics; 1e-12 of it is a tie), else 0; returns how many. order [bins]:
   scratch. */
WCOH_API int wcoh_packet_strongest(const double *amplitude, int bins, double percentile,
                                   double *order, uint8_t *mask);

/* A store of packets, searched exhaustively at the speed of memory: up to 1024 packets side by
   side, bin after bin, so that a contiguous range of bins reads only its own share. Grows as
   packets are added, by about 2 MB; with memory.block, until the block is full. */
typedef struct wcoh_resonance wcoh_resonance;
typedef struct wcoh_resonance_desc {
    int dimensions;     /* n of each vector; required, 1 .. 2^20 */
    wcoh_packet packet;
    wcoh_cpu_desc cpu;
    wcoh_memory memory;
} wcoh_resonance_desc;
typedef struct wcoh_resonance_query {
    int top;             /* best packets wanted; 10, at most 1024 */
    wcoh_score score;
    int first_bin, bins; /* the range that counts; bins 0: all from first_bin on */
    const uint8_t *mask; /* [all bins of a packet] or NULL: bins with 0 do not count */
} wcoh_resonance_query;
typedef struct wcoh_resonance_hit {
    uint64_t index; /* packets count up from 0 in the order they were added */
    double score;
} wcoh_resonance_hit;
/* Errors: WCOH_E_ARGUMENT, WCOH_E_MEMORY. Thread rule: one thread at a time per store. */
WCOH_API wcoh_result wcoh_resonance_create(wcoh_resonance **store, const wcoh_resonance_desc *desc,
                                           wcoh_error *error);
WCOH_API void wcoh_resonance_destroy(wcoh_resonance *store); /* NULL is allowed */
WCOH_API const wcoh_resonance_desc *wcoh_resonance_get_desc(const wcoh_resonance *store);
WCOH_API uint64_t wcoh_resonance_count(const wcoh_resonance *store);
WCOH_API int wcoh_resonance_bins(const wcoh_resonance *store);       /* of a whole packet */
WCOH_API uint64_t wcoh_resonance_bytes(const wcoh_resonance *store); /* a full query reads */
/* Append vectors [count, n]; phases [count, n] for WCOH_PACKET_PHASES, where vectors are the
   amplitudes; else NULL. Errors: WCOH_E_ARGUMENT for a value that is not finite, a norm above
   1e38 or a store that holds only part of the bins, WCOH_E_MEMORY; those before the failing one are
   kept. Untrusted input: yes. */
WCOH_API wcoh_result wcoh_resonance_add(wcoh_resonance *store, const float *vectors,
                                        const float *phases, size_t count, wcoh_error *error);
/* The best packets for a vector [n] (phases [n] as above): hits [top], best first, equal scores by
   index; *found of them. query may be NULL (all zero). Energies count the chosen bins alone.
   Packets and query may have any scale from 1e-30 to 1e30; a store whose norms lie outside
   1e-15 .. 1e15 is searched in double, at about a third of the speed. Errors: WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_resonance_find(wcoh_resonance *store, const wcoh_resonance_query *query,
                                         const float *vector, const float *phases,
                                         wcoh_resonance_hit *hits, int *found, wcoh_error *error);
/* One packet back, as numbers [bins]: amplitude and phase, so scaled that the energy (inner DFT
   bins counted twice) is that of the vector. Errors: WCOH_E_ARGUMENT. */
WCOH_API wcoh_result wcoh_resonance_get(const wcoh_resonance *store, uint64_t index,
                                        double *amplitude, double *phase, wcoh_error *error);
/* A safetensors file with "packets.N" [tiles, 1 + columns, lanes] F32, the first row of a tile the
   packets' norms (not read: they follow from the rest). Loading may pick a range of
   bins and then reads only that part of the file, without its checksum (first_bin and bins 0: all
   of it); cpu and memory may be NULL. The file's header passes through memory.alloc, or libc.
   Errors: WCOH_E_IO, WCOH_E_FORMAT, WCOH_E_MISMATCH, WCOH_E_MEMORY, WCOH_E_ARGUMENT.
   Untrusted input: yes. */
WCOH_API wcoh_result wcoh_resonance_save(const wcoh_resonance *store, const wcoh_io *io,
                                         wcoh_error *error);
WCOH_API wcoh_result wcoh_resonance_load(wcoh_resonance **store, const wcoh_io *io, int first_bin,
                                         int bins, const wcoh_cpu_desc *cpu,
                                         const wcoh_memory *memory, wcoh_error *error);
#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_resonance_save_file(const wcoh_resonance *store, const char *path,
                                              wcoh_error *error);
WCOH_API wcoh_result wcoh_resonance_load_file(wcoh_resonance **store, const char *path,
                                              int first_bin, int bins, const wcoh_cpu_desc *cpu,
                                              const wcoh_memory *memory, wcoh_error *error);
#endif

/* 4. Attention and depth. */

/* Means over the queries (rows) of an attention map. Key j of N sits at angle 2 pi j / N; a row
   with weights w has the resultant sum_j w_j e^{i angle_j}: its length is the concentration R, its
   argument the centroid phase, undefined (and not counted) where R < 1e-6. */
typedef struct wcoh_map_mean {
    double entropy;       /* nats */
    double concentration; /* R */
    double centroid;      /* argument of the mean of the unit centroids, radians in +-pi */
    double first;         /* weight on key 0, the sink; 0 where that key is left out */
    uint64_t rows;        /* rows that counted */
    uint64_t undefined;   /* rows of those whose centroid is undefined */
} wcoh_map_mean;
/* Never a figure without its baseline: uniform rows over the same keys, and both again without key
   0. */
typedef struct wcoh_map_figures {
    wcoh_map_mean all, all_uniform;
    wcoh_map_mean rest, rest_uniform; /* key 0 left out, rows renormalised; a row without keys, as
                                         row 0 of a causal map, is not counted */
} wcoh_map_figures;
typedef enum wcoh_map_keys {
    WCOH_MAP_CAUSAL, /* keys after the query are ignored */
    WCOH_MAP_ALL     /* all keys count: the map of an encoder */
} wcoh_map_keys;
/* Measure a map [T,T], row = query; rows are renormalised over the keys that count.
   centroids (may be NULL) [T]: the centroid phase of each row, 4.0 where it is undefined. Takes a
   block of 16 T bytes while it works. Errors: WCOH_E_ARGUMENT for T outside 1 .. 2^20, a negative
   weight that counts or one that is not finite; WCOH_E_MEMORY. Untrusted input: yes. */
WCOH_API wcoh_result wcoh_map_measure(wcoh_map_figures *figures, const float *map, int tokens,
                                      wcoh_map_keys keys, const wcoh_memory *memory,
                                      double *centroids, wcoh_error *error);

/* The heads of one layer, from their centroids [heads, T] (wcoh_map_measure; 4.0: undefined): */
typedef struct wcoh_heads_figures {
    double synchronisation; /* mean over queries of |mean over heads of e^{i centroid}|, 0 .. 1 */
    double dispersion;      /* circular deviation sqrt(-2 ln synchronisation), radians; 9 at 0 */
    uint64_t rows;          /* queries where at least two heads have a centroid */
} wcoh_heads_figures;
/* alignment (may be NULL) [heads, heads]: mean over queries of cos(centroid_g - centroid_h) where
   both are defined; 0 where none is. A head with itself: 1. */
WCOH_API wcoh_heads_figures wcoh_heads_measure(const double *centroids, int heads, int tokens,
                                               double *alignment);

/* Collapse over depth: the largest fall of a figure (mean entropy, say) from one layer to the next,
   values [layers]. */
typedef struct wcoh_collapse {
    int layer;        /* the layer after the largest fall; -1 if it never falls by more than 1e-12
                         of itself */
    double drop;
    int runner_up;    /* the second largest; -1 if there is none */
    double runner_up_drop; /* where it is close to the first, there is no collapse layer */
} wcoh_collapse;
WCOH_API wcoh_collapse wcoh_collapse_of(const double *values, int layers);

/* The wave of a head of a model with coherence attention: how far it listens, at which length. */
typedef struct wcoh_wave {
    double gain;       /* kappa: a weight changes by up to e^{2 kappa} */
    double carrier;    /* omega, radians a token */
    double wavelength; /* 2 pi / |omega| tokens; 0 where the carrier is 0 */
    double damping; /* lambda, nats a token; of a head that forgets by content: of a row of zeros */
    double reach;      /* 1 / lambda tokens; 0 where the damping is 0: no end */
} wcoh_wave;
/* Errors: WCOH_E_ARGUMENT, WCOH_E_UNSUPPORTED for a model without coherence attention. */
WCOH_API wcoh_result wcoh_model_wave(const wcoh_model *model, int layer, int head, wcoh_wave *wave,
                                     wcoh_error *error);
/* Run the model over a text, tokens [count], and hand over what is inside: called once a layer,
   with hidden [count, D] the residual stream before the layer (a last call with layer = layers:
   before the final norm, maps NULL) and maps [heads, count, count], row = query, the weights.
   One block of about heads x count^2 floats. Any thread; reads the parameters.
   Errors: WCOH_E_ARGUMENT, WCOH_E_TOKEN, WCOH_E_CONTEXT, WCOH_E_MEMORY. */
typedef void (*wcoh_inspector)(int layer, const wcoh_real *hidden, const float *maps, void *user);
WCOH_API wcoh_result wcoh_model_inspect(wcoh_model *model, const uint32_t *tokens, int count,
                                        const wcoh_cpu_desc *cpu, const wcoh_memory *memory,
                                        wcoh_inspector inspector, void *user, wcoh_error *error);

/* 5. Weights. */

/* A matrix [rows, columns] in figures. */
typedef struct wcoh_matrix_figures {
    double norm;           /* Frobenius */
    double largest;        /* singular value */
    double smallest;
    double effective_rank; /* exp of the entropy of the normalised singular values (Roy, Vetterli
                              2007), 1 .. min(rows, columns); 0 for a zero matrix */
    double stable_rank;    /* norm^2 / largest^2 */
    double random_rank;    /* effective rank of white noise of that shape (Marchenko, Pastur) */
    double thirds[3];      /* share of the rows' DFT energy in low, middle, high bins */
    double thirds_random[3]; /* what white noise gives: the share of dimensions */
    double identity;       /* |W - I| / |I|, square matrices; else negative */
    double identity_random; /* the same for a random matrix of that norm; else negative */
} wcoh_matrix_figures;
/* values (may be NULL) [min(rows, columns)] gets the singular values, largest first: Householder
   bidiagonalisation and bisection in double, absolute error about 1e-15 x largest.
   O(rows columns min) time, one block of doubles. Errors: WCOH_E_ARGUMENT for an empty matrix, a
   side above 2^20 or a value that is not finite, WCOH_E_MEMORY. Untrusted input: yes. */
WCOH_API wcoh_result wcoh_matrix_measure(wcoh_matrix_figures *figures, const float *matrix,
                                         int rows, int columns, double *values,
                                         const wcoh_memory *memory, wcoh_error *error);

#endif /* WAVECOH_NO_TOOLKIT */

#ifdef __cplusplus
}
#endif
#endif /* WAVECOH_H */

/* A pass is an inclusion of this file by itself (see "one vocabulary, five instruction sets"): it
   reads the kernels alone. */
#if defined(WAVECOH_IMPLEMENTATION) &&                                                             \
    (defined(WCOHI_PASS) || !defined(WAVECOH_IMPLEMENTATION_DONE))
#ifdef WCOHI_PASS
#define WCOHI_PASS_DONE
#endif
#ifndef WCOHI_PASS
#define WAVECOH_IMPLEMENTATION_DONE
#ifdef WCOHI_QUIET_UNUSED
#pragma GCC diagnostic pop
#endif

/* ======== 2 ground: platform ================================================================== */

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h> /* snprintf; files only where WAVECOH_NO_STDIO is not set */
#include <stdlib.h>
#include <string.h>

#if defined(WAVECOH_MALLOC) != defined(WAVECOH_FREE)
#error "define both WAVECOH_MALLOC and WAVECOH_FREE, or neither"
#endif
#ifndef WAVECOH_MALLOC
#define WAVECOH_MALLOC(size) malloc(size)
#define WAVECOH_FREE(pointer) free(pointer)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define WCOHI_ALIGN 64u         /* every array of ours starts on a cache line */
#define WCOHI_DEVICE_ALIGN 256u /* what a GPU binds: no Vulkan device may ask for more */
#define WCOHI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define WCOHI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define WCOHI_CLAMP(x, lo, hi) ((x) < (lo) ? (lo) : (x) > (hi) ? (hi) : (x))
#define WCOHI_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define WCOHI_SIZE_BAD ((size_t)-1) /* what a size computation returns when it does not fit */

static const double wcohi_pi = 3.14159265358979323846;

/* Finite by the bits, so that -ffast-math cannot fold the test away. */
static int wcohi_is_finite(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7ff0000000000000ull) != 0x7ff0000000000000ull;
}

/* ---- results and errors ---------------------------------------------------------------------- */

/* WCOHI_COLD: a static function that runs once in the life of an object, or when something is
   refused. Compilers make it small, take branches that lead to it for rare, and treat so what only
   such functions call. */
#if defined(__GNUC__) || defined(__clang__)
#define WCOHI_PRINTF(at, first) __attribute__((__format__(__printf__, at, first)))
#define WCOHI_COLD static __attribute__((__cold__))
#else
#define WCOHI_PRINTF(at, first)
#define WCOHI_COLD static
#endif

/* Leave the sentence and hand the code on: `return wcohi_fail(error, WCOH_E_IO, "...", ...)`.
   Integers and strings only in the format: a real goes through wcohi_format_real (locales). */
WCOHI_PRINTF(3, 4)
WCOHI_COLD wcoh_result wcohi_fail(wcoh_error *error, wcoh_result code, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->code = code;
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return code;
}

/* A pointer that the call needs was not given. */
static wcoh_result wcohi_null(const char *name, wcoh_error *error)
{
    return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is NULL", name);
}

WCOH_API const char *wcoh_result_name(wcoh_result result)
{
#define WCOHI_NAME_ROW(name, value, text)                                                          \
    case name: return #name;
    switch (result) {
        WCOH_RESULTS(WCOHI_NAME_ROW) default : return "WCOH_E_UNKNOWN";
    }
#undef WCOHI_NAME_ROW
}

WCOH_API const char *wcoh_result_text(wcoh_result result)
{
#define WCOHI_TEXT_ROW(name, value, text)                                                          \
    case name: return text;
    switch (result) {
        WCOH_RESULTS(WCOHI_TEXT_ROW) default : return "unknown result";
    }
#undef WCOHI_TEXT_ROW
}

/* ---- checked sizes --------------------------------------------------------------------------- */

/* a*b and a+b of sizes; WCOHI_SIZE_BAD on overflow, and once bad, for ever bad. */
static size_t wcohi_mul(size_t a, size_t b)
{
    if (a == WCOHI_SIZE_BAD || b == WCOHI_SIZE_BAD) return WCOHI_SIZE_BAD;
    return b != 0 && a > (WCOHI_SIZE_BAD - 1) / b ? WCOHI_SIZE_BAD : a * b;
}

static size_t wcohi_add(size_t a, size_t b)
{
    if (a == WCOHI_SIZE_BAD || b == WCOHI_SIZE_BAD) return WCOHI_SIZE_BAD;
    return a > WCOHI_SIZE_BAD - 1 - b ? WCOHI_SIZE_BAD : a + b;
}

static size_t wcohi_round_up(size_t size, size_t multiple)
{
    size_t padded = wcohi_add(size, multiple - 1);
    return padded == WCOHI_SIZE_BAD ? padded : padded / multiple * multiple;
}

/* ---- memory: one block an object, cut by an arena -------------------------------------------- */

/* An arena with base NULL only measures: the same code first asks for the size, then lays out.
   Sizes include the slack for aligning whatever block the user hands over. */
typedef struct wcohi_arena {
    unsigned char *base; /* aligned to WCOHI_ALIGN, or NULL to measure */
    size_t used;         /* WCOHI_SIZE_BAD after an overflow */
} wcohi_arena;

static void *wcohi_take(wcohi_arena *arena, size_t count, size_t size)
{
    size_t start = arena->used;
    arena->used = wcohi_add(start, wcohi_round_up(wcohi_mul(count, size), WCOHI_ALIGN));
    if (!arena->base || arena->used == WCOHI_SIZE_BAD) return NULL;
    return arena->base + start;
}
#define WCOHI_TAKE(arena, count, type) ((type *)wcohi_take((arena), (size_t)(count), sizeof(type)))

/* Where an object's block came from, to give it back. */
typedef struct wcohi_allocation {
    wcoh_memory memory;
    void *pointer; /* as allocated; NULL if the caller's */
    size_t size;
} wcohi_allocation;

/* Bytes to ask for so that `used` aligned bytes fit into any block. */
static size_t wcohi_allocation_bytes(size_t used) { return wcohi_add(used, WCOHI_ALIGN); }

/* Take `used` bytes (zeroed) and open an arena on them. */
static wcoh_result wcohi_allocation_take(wcohi_allocation *block, wcohi_arena *arena,
                                         const wcoh_memory *memory, size_t used, const char *what,
                                         wcoh_error *error)
{
    size_t bytes = wcohi_allocation_bytes(used);
    unsigned char *pointer;
    memset(block, 0, sizeof *block);
    if (memory) block->memory = *memory;
    if (bytes == WCOHI_SIZE_BAD)
        return wcohi_fail(error, WCOH_E_MEMORY, "%s: the size does not fit this machine", what);
    if (block->memory.block) {
        if (block->memory.block_size < bytes)
            return wcohi_fail(error, WCOH_E_MEMORY, "%s: the block has %llu bytes, %llu are needed",
                              what, (unsigned long long)block->memory.block_size,
                              (unsigned long long)bytes);
        pointer = (unsigned char *)block->memory.block;
    } else {
        block->size = bytes;
        block->pointer = block->memory.alloc ? block->memory.alloc(bytes, block->memory.user)
                                             : WAVECOH_MALLOC(bytes);
        pointer = (unsigned char *)block->pointer;
        if (!pointer)
            return wcohi_fail(error, WCOH_E_MEMORY, "%s: no memory for %llu bytes", what,
                              (unsigned long long)bytes);
    }
    pointer += (WCOHI_ALIGN - (uintptr_t)pointer % WCOHI_ALIGN) % WCOHI_ALIGN;
    memset(pointer, 0, used);
    arena->base = pointer;
    arena->used = 0;
    return WCOH_OK;
}

/* `block` may itself lie inside the memory that is given back. */
static void wcohi_allocation_give(const wcohi_allocation *block)
{
    wcohi_allocation copy = *block;
    if (!copy.pointer) return;
    if (copy.memory.alloc) {
        if (copy.memory.release) copy.memory.release(copy.pointer, copy.size, copy.memory.user);
    } else {
        WAVECOH_FREE(copy.pointer);
    }
}

/* ---- random numbers -------------------------------------------------------------------------- */

WCOH_API wcoh_rng wcoh_rng_seed(uint64_t seed)
{
    wcoh_rng rng;
    int i;
    for (i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = (seed += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        rng.s[i] = z ^ (z >> 31);
    }
    return rng;
}

static uint64_t wcohi_rotate_left(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

WCOH_API uint64_t wcoh_rng_next(wcoh_rng *rng)
{
    uint64_t *s, result, t;
    if (!rng) return 0;
    s = rng->s;
    result = wcohi_rotate_left(s[1] * 5, 7) * 9;
    t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = wcohi_rotate_left(s[3], 45);
    return result;
}

WCOH_API double wcoh_rng_uniform(wcoh_rng *rng)
{
    return (double)(wcoh_rng_next(rng) >> 11) * (1.0 / 9007199254740992.0);
}

WCOH_API double wcoh_rng_normal(wcoh_rng *rng) /* Box-Muller, the cosine branch */
{
    double u = 1.0 - wcoh_rng_uniform(rng), v = wcoh_rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(2.0 * wcohi_pi * v);
}

#if !defined(WAVECOH_NO_TRAINING) || !defined(WAVECOH_NO_TOOLKIT)
/* Uniform integer in 0 .. bound-1 without bias (Lemire's rejection, 64 bit by modulus). */
static uint64_t wcohi_rng_below(wcoh_rng *rng, uint64_t bound)
{
    uint64_t reject = (0 - bound) % bound, x;
    do {
        x = wcoh_rng_next(rng);
    } while (x < reject);
    return x % bound;
}
#endif

/* ---- numbers as text, whatever the locale ---------------------------------------------------- */

static int wcohi_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* "+12", "-3": at most four digits and something; returns 1 if that is all there is. */
static int wcohi_parse_exponent(const char *s, int *exponent)
{
    int sign = 1, given = 0;
    if (*s == '-' || *s == '+') sign = *s++ == '-' ? -1 : 1;
    if (!*s) return 0;
    for (; *s; s++) {
        if (wcohi_digit(*s) > 9 || given > 9999) return 0;
        given = given * 10 + wcohi_digit(*s);
    }
    *exponent += sign * given;
    return 1;
}

/* "1.8p-3", what follows the 0x: exact. */
static int wcohi_parse_hex_real(const char *s, double *value)
{
    uint64_t mantissa = 0;
    int exponent = 0, digits = 0, dot = 0;
    for (; *s && *s != 'p'; s++) {
        if (*s == '.' && !dot) {
            dot = 1;
            continue;
        }
        if (wcohi_digit(*s) > 15 || ++digits > 15) return 0;
        mantissa = mantissa * 16 + (uint64_t)wcohi_digit(*s);
        exponent -= dot ? 4 : 0;
    }
    if (!digits || !*s || !wcohi_parse_exponent(s + 1, &exponent)) return 0;
    *value = ldexp((double)mantissa, exponent);
    return 1;
}

/* x 10^exponent; exact for whole x of up to 15 digits and exponents to 22 either way, where both
   factors are doubles. (No pow: -Ofast compilers bring an inexact one.) */
static double wcohi_times_ten(double x, int exponent)
{
    static const double tens[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (x == 0) return 0;
    for (; exponent > 22 && x < 1e300; exponent -= 22) x *= 1e22;
    for (; exponent < -22 && x > 1e-300; exponent += 22) x /= 1e22;
    if (exponent > 22) return x * 1e300; /* infinite: the caller refuses it */
    if (exponent < -22) return 0;
    return exponent < 0 ? x / tens[-exponent] : x * tens[exponent];
}

/* "12.5e-3", unsigned */
static int wcohi_parse_decimal(const char *s, double *value)
{
    uint64_t mantissa = 0;
    int exponent = 0, digits = 0, dot = 0;
    for (; *s && *s != 'e' && *s != 'E'; s++) {
        if (*s == '.' && !dot) {
            dot = 1;
            continue;
        }
        if (wcohi_digit(*s) > 9) return 0;
        digits++;
        if (mantissa < 100000000000000000ull) {
            mantissa = mantissa * 10 + (uint64_t)wcohi_digit(*s);
            exponent -= dot;
        } else {
            exponent += !dot;
        }
    }
    if (!digits || (*s && !wcohi_parse_exponent(s + 1, &exponent))) return 0;
    *value = wcohi_times_ten((double)mantissa, exponent);
    return 1;
}

/* Strict: the whole of `text` is one finite number, decimal or hexadecimal. Returns 1 if so. */
WCOHI_COLD int wcohi_parse_real(const char *text, double *value)
{
    int negative = *text == '-';
    const char *s = text + (*text == '-' || *text == '+');
    double result = 0;
    if (s[0] == '0' && s[1] == 'x' ? !wcohi_parse_hex_real(s + 2, &result)
                                   : !wcohi_parse_decimal(s, &result))
        return 0;
    if (!wcohi_is_finite(result)) return 0;
    *value = negative ? -result : result;
    return 1;
}

/* Strict unsigned decimal that fits 64 bits. */
WCOHI_COLD int wcohi_parse_u64(const char *text, uint64_t *value)
{
    uint64_t result = 0;
    if (!*text) return 0;
    for (; *text; text++) {
        int digit = wcohi_digit(*text);
        if (digit > 9 || result > (UINT64_MAX - (uint64_t)digit) / 10) return 0;
        result = result * 10 + (uint64_t)digit;
    }
    *value = result;
    return 1;
}

/* Shortest decimal that wcohi_parse_real reads back to the same bits, else hexadecimal.
   text [40]; returns it. */
WCOHI_COLD char *wcohi_format_real(double x, char *text)
{
    char raw[40], *out = text;
    double back;
    int precision, exponent, i, last;
    if (!wcohi_is_finite(x)) return strcpy(text, x > 0 ? "inf" : x < 0 ? "-inf" : "nan");
    if (x == 0) return strcpy(text, "0");
    for (precision = 0; precision < 15; precision++) {
        snprintf(raw, sizeof raw, "%.*e", precision, fabs(x)); /* d<point>ddde+xx */
        exponent = atoi(strchr(raw, 'e') + 1);
        if (precision) { /* drop the point, of whatever locale */
            char *digit = raw + 1;
            while (*digit < '0' || *digit > '9') digit++;
            memmove(raw + 1, digit, strlen(digit) + 1);
        }
        out = text;
        if (x < 0) *out++ = '-';
        last = precision;
        while (last > 0 && raw[last] == '0') last--;
        if (exponent < 0 && exponent >= -5) {
            *out++ = '0';
            *out++ = '.';
            for (i = -1; i > exponent; i--) *out++ = '0';
            for (i = 0; i <= last; i++) *out++ = raw[i];
        } else if (exponent >= 0 && exponent < 15) {
            for (i = 0; i <= WCOHI_MAX(last, exponent); i++) {
                if (i == exponent + 1) *out++ = '.';
                *out++ = i <= last ? raw[i] : '0';
            }
        } else {
            *out++ = raw[0];
            if (last > 0) *out++ = '.';
            for (i = 1; i <= last; i++) *out++ = raw[i];
            out += snprintf(out, 8, "e%d", exponent);
        }
        *out = 0;
        if (wcohi_parse_real(text, &back) && back == x) return text;
    }
    {
        double mantissa =
            frexp(fabs(x), &exponent); /* [0.5, 1): 53 bits as 14 hexadecimal digits */
        uint64_t bits = (uint64_t)ldexp(mantissa, 53);
        snprintf(text, 40, "%s0x%llxp%d", x < 0 ? "-" : "", (unsigned long long)bits,
                 exponent - 53);
    }
    return text;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* The code point at `text` [size >= 1] -> *point; returns its 1..4 bytes, or 0 where that is not
   UTF-8: a stray or missing continuation byte, an overlong form, a surrogate, above U+10FFFF. */
static int wcohi_utf8_read(const char *text, size_t size, uint32_t *point)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000}; /* shorter forms are overlong */
    const unsigned char *s = (const unsigned char *)text;
    int i, length = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t value = length == 1 ? s[0] : s[0] & (0xffu >> (length + 1));
    if (length == 0 || s[0] > 0xf4 || (size_t)length > size) return 0;
    for (i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (s[i] & 0x3fu);
    }
    if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 0;
    *point = value;
    return length;
}

/* A valid code point -> bytes [4]; returns their number. */
static int wcohi_utf8_write(uint32_t point, char *bytes)
{
    int i, length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    uint32_t lead = length == 1 ? 0 : 0xff00u >> length & 0xffu; /* 110xxxxx, 1110xxxx, 11110xxx */
    for (i = length - 1; i > 0; i--, point >>= 6) bytes[i] = (char)(0x80u | (point & 0x3fu));
    bytes[0] = (char)(lead | point);
    return length;
}

WCOHI_COLD wcoh_result wcohi_utf8_fail(const char *text, size_t at, wcoh_error *error)
{
    return wcohi_fail(error, WCOH_E_FORMAT, "byte %llu of the text (0x%02x) is not UTF-8",
                      (unsigned long long)at, (unsigned)(unsigned char)text[at]);
}

/* ---- JSON, as much of it as a header is ------------------------------------------------------ */

typedef struct wcohi_slice {
    uint32_t at, size; /* within the header's text; a zero byte follows */
} wcohi_slice;

/* Every string is decoded where it stands: text before `at` is not JSON any more. */
typedef struct wcohi_json {
    char *text; /* [size] and a zero byte */
    size_t size, at;
    wcoh_error *error;
} wcohi_json;

static wcoh_result wcohi_json_fail(const wcohi_json *json, const char *what)
{
    return wcohi_fail(json->error, WCOH_E_FORMAT, "header, byte %llu: %s",
                      (unsigned long long)json->at, what);
}

/* The next character that is not white space, 0 at the end. */
static char wcohi_json_peek(wcohi_json *json)
{
    while (json->at < json->size && memchr(" \t\r\n", json->text[json->at], 4)) json->at++;
    return json->at < json->size ? json->text[json->at] : (char)0;
}

static int wcohi_json_accept(wcohi_json *json, char c)
{
    if (wcohi_json_peek(json) != c) return 0;
    json->at++;
    return 1;
}

static wcoh_result wcohi_json_expect(wcohi_json *json, char c)
{
    char what[] = "expected ' '";
    if (wcohi_json_accept(json, c)) return WCOH_OK;
    what[10] = c;
    return wcohi_json_fail(json, what);
}

static wcoh_result wcohi_json_hex4(wcohi_json *json, uint32_t *value)
{
    int i;
    *value = 0;
    for (i = 0; i < 4; i++, json->at++) {
        char c = json->at < json->size ? json->text[json->at] : (char)0;
        int digit = wcohi_digit(c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c);
        if (digit > 15) return wcohi_json_fail(json, "\\u needs four hexadecimal digits");
        *value = *value * 16 + (uint32_t)digit;
    }
    return WCOH_OK;
}

/* `at` is behind the backslash. */
static wcoh_result wcohi_json_escape(wcohi_json *json, uint32_t *point)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = json->at < json->size ? json->text[json->at] : (char)0;
    const char *found = c ? strchr(from, c) : NULL;
    uint32_t low = 0;
    wcoh_result result;
    if (!found && c != 'u') return wcohi_json_fail(json, "unknown escape");
    json->at++;
    if (found) {
        *point = (uint32_t)to[found - from];
        return WCOH_OK;
    }
    if ((result = wcohi_json_hex4(json, point)) != WCOH_OK) return result;
    if (*point < 0xd800 || *point >= 0xe000) return WCOH_OK;
    if (*point < 0xdc00 && json->size - json->at >= 6 && json->text[json->at] == '\\' &&
        json->text[json->at + 1] == 'u') {
        json->at += 2;
        if ((result = wcohi_json_hex4(json, &low)) != WCOH_OK) return result;
    }
    if (low < 0xdc00 || low >= 0xe000) return wcohi_json_fail(json, "half a surrogate pair");
    *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
    return WCOH_OK;
}

/* A string, decoded in place: what comes out is never longer than what was read. */
static wcoh_result wcohi_json_string(wcohi_json *json, wcohi_slice *slice)
{
    wcoh_result result = wcohi_json_expect(json, '"');
    size_t out = json->at;
    slice->at = (uint32_t)out;
    if (result) return result;
    for (;;) {
        unsigned char c = json->at < json->size ? (unsigned char)json->text[json->at] : 0;
        uint32_t point = 0;
        int length = 0;
        if (c == '"') break;
        if (json->at >= json->size) return wcohi_json_fail(json, "a string does not end");
        if (c < 0x20) return wcohi_json_fail(json, "a control character in a string");
        if (c == '\\') {
            json->at++;
            if ((result = wcohi_json_escape(json, &point)) != WCOH_OK) return result;
        } else {
            length = wcohi_utf8_read(json->text + json->at, json->size - json->at, &point);
            if (!length) return wcohi_json_fail(json, "not UTF-8");
            json->at += (size_t)length;
        }
        out += (size_t)wcohi_utf8_write(point, json->text + out);
    }
    slice->size = (uint32_t)(out - slice->at);
    json->text[out] = 0;
    json->at++;
    return WCOH_OK;
}

/* The key of a member and its colon. A key is a name: without a zero character. */
static wcoh_result wcohi_json_key(wcohi_json *json, wcohi_slice *key)
{
    wcoh_result result = wcohi_json_string(json, key);
    if (!result && memchr(json->text + key->at, 0, key->size))
        result = wcohi_json_fail(json, "a name with a zero character");
    return result ? result : wcohi_json_expect(json, ':');
}

/* A whole number below 2^64: digits alone, as JSON writes them. */
static wcoh_result wcohi_json_u64(wcohi_json *json, uint64_t *value)
{
    char first = wcohi_json_peek(json);
    size_t start = json->at;
    *value = 0;
    for (; json->at < json->size && wcohi_digit(json->text[json->at]) <= 9; json->at++) {
        uint64_t digit = (uint64_t)wcohi_digit(json->text[json->at]);
        if (*value > (UINT64_MAX - digit) / 10)
            return wcohi_json_fail(json, "a number of more than 64 bits");
        *value = *value * 10 + digit;
    }
    if (json->at == start || (first == '0' && json->at - start > 1))
        return wcohi_json_fail(json, "expected a whole number");
    return WCOH_OK;
}

/* true, false, null or any number; what may follow it is the caller's to check. */
static wcoh_result wcohi_json_word(wcohi_json *json)
{
    static const char words[3][6] = {"true", "false", "null"};
    char first = wcohi_json_peek(json);
    const char *text = json->text + json->at, *end = json->text + json->size, *start;
    int i;
    for (i = 0; i < 3; i++)
        if (first == words[i][0] && (size_t)(end - text) >= strlen(words[i]) &&
            memcmp(text, words[i], strlen(words[i])) == 0) {
            json->at += strlen(words[i]);
            return WCOH_OK;
        }
    text += first == '-';
    for (i = 0; i < 3; i++) { /* digits, .digits, exponent */
        if (i == 1 && (text == end || *text != '.')) continue;
        if (i == 2 && (text == end || (*text != 'e' && *text != 'E'))) continue;
        text += i > 0;
        if (i == 2 && text < end && (*text == '+' || *text == '-')) text++;
        for (start = text; text < end && wcohi_digit(*text) <= 9;) text++;
        if (text == start || (i == 0 && *start == '0' && text - start > 1))
            return wcohi_json_fail(json, "expected a value");
    }
    json->at = (size_t)(text - json->text);
    return WCOH_OK;
}

/* Any value, nested at most `depth` deep, passed over. */
static wcoh_result wcohi_json_skip(wcohi_json *json, int depth)
{
    char open = wcohi_json_peek(json), close = open == '{' ? '}' : ']';
    wcohi_slice ignored;
    wcoh_result result = WCOH_OK;
    if (open == '"') return wcohi_json_string(json, &ignored);
    if (open != '{' && open != '[') return wcohi_json_word(json);
    if (depth == 0) return wcohi_json_fail(json, "nested too deep");
    json->at++;
    if (wcohi_json_accept(json, close)) return WCOH_OK;
    do {
        if (open == '{') result = wcohi_json_key(json, &ignored);
        if (!result) result = wcohi_json_skip(json, depth - 1);
        if (result) return result;
    } while (wcohi_json_accept(json, ','));
    return wcohi_json_expect(json, close);
}

/* [a,b,..]: at most `limit` numbers. */
static wcoh_result wcohi_json_list(wcohi_json *json, uint64_t *values, int limit, int *count)
{
    wcoh_result result = wcohi_json_expect(json, '[');
    *count = 0;
    if (result || wcohi_json_accept(json, ']')) return result;
    do {
        if (*count == limit) return wcohi_json_fail(json, "too many numbers in a list");
        if ((result = wcohi_json_u64(json, &values[*count])) != WCOH_OK) return result;
        *count += 1;
    } while (wcohi_json_accept(json, ','));
    return wcohi_json_expect(json, ']');
}

/* ======== 2 ground: clock, CPU and threads ==================================================== */

#if defined(__EMSCRIPTEN__) && !defined(__EMSCRIPTEN_PTHREADS__) && !defined(WAVECOH_NO_THREADS)
#define WAVECOH_NO_THREADS
#endif

#if defined(__FAST_MATH__) || defined(__RECIPROCAL_MATH__) ||                                      \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#define WCOHI_FAST_MATH 1 /* compilers may then reassociate sums and estimate division and root */
#endif

/* Which vector sets this build has. 32-bit Windows stays scalar: callers there may leave the stack
   aligned to 4 bytes. MinGW GCC spills 32-byte vectors to a 16-byte stack (GCC bug 54412), so AVX
   is off there unless WAVECOH_MINGW_AVX asks for it. GCC cannot inline intrinsics in 32-bit
   fast-math builds without -msse2. tcc has no intrinsics. */
#if !defined(WAVECOH_NO_SIMD) && !defined(WAVECOH_TEST_DOUBLE) && !defined(__TINYC__)
#if defined(__i386__) && !defined(_WIN32) && (defined(__SSE2__) || !defined(WCOHI_FAST_MATH))
#define WCOHI_I386_VECTORS 1
#else
#define WCOHI_I386_VECTORS 0
#endif
#if (defined(__x86_64__) || defined(_M_X64) || WCOHI_I386_VECTORS) &&                              \
    ((defined(__GNUC__) && (__GNUC__ >= 7 || defined(__clang__))) ||                               \
     (defined(_MSC_VER) && _MSC_VER >= 1920))
#define WCOHI_HAS_SSE2 1
#if !(defined(__MINGW32__) || defined(__CYGWIN__)) || defined(__clang__) ||                        \
    defined(WAVECOH_MINGW_AVX)
#define WCOHI_HAS_AVX 1
#endif
#elif (defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
#define WCOHI_HAS_NEON 1
#endif
#endif

/* The scalar set is compiled where nothing better is certain, or on request. */
#if defined(WAVECOH_SCALAR) ||                                                                     \
    !(defined(WCOHI_HAS_NEON) || (defined(WCOHI_HAS_SSE2) && !defined(__i386__)))
#define WCOHI_HAS_SCALAR 1
#endif

#ifdef __cplusplus
} /* system headers may hold templates */
#endif
#ifdef WCOHI_HAS_SSE2
#include <immintrin.h>
#if defined(_MSC_VER) && defined(__clang__) /* its immintrin.h stops at what /arch allows */
#include <pmmintrin.h>
#include <tmmintrin.h>
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <avx512fintrin.h>
#include <avx512bwintrin.h>
#include <avx512dqintrin.h>
#include <avx512vlintrin.h>
#include <avx512vlbwintrin.h>
#include <avx512vldqintrin.h>
#endif
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif
#ifdef WCOHI_HAS_NEON
#include <arm_neon.h>
#endif
#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <time.h>
#include <unistd.h>
#ifndef WAVECOH_NO_THREADS
#include <pthread.h>
#include <sched.h>
#endif
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* ---- clock ----------------------------------------------------------------------------------- */

#ifndef WAVECOH_NO_TRAINING /* whose steps are the only work that looks at it */
/* Strict C99 hides the name; the label finds it without a clash where it does not. */
#if !defined(_WIN32) && !defined(CLOCK_MONOTONIC)
typedef struct wcohi_timespec {
    long seconds, nanoseconds;
} wcohi_timespec;
extern int wcohi_clock_gettime(int clock, wcohi_timespec *time) __asm__("clock_gettime");
#endif

/* Seconds on a clock that only goes forward, from an arbitrary origin. */
static double wcohi_seconds(void)
{
#if defined(_WIN32)
    LARGE_INTEGER ticks, rate;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    return (double)ticks.QuadPart / (double)rate.QuadPart;
#elif defined(CLOCK_MONOTONIC)
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#else
    wcohi_timespec now;
    wcohi_clock_gettime(1, &now);
    return (double)now.seconds + 1e-9 * (double)now.nanoseconds;
#endif
}
#endif

/* ---- what the CPU can do --------------------------------------------------------------------- */

#ifdef WCOHI_HAS_SSE2
typedef struct wcohi_cpuid {
    unsigned int eax, ebx, ecx, edx;
} wcohi_cpuid;

/* Zeros where the leaf does not exist. */
static wcohi_cpuid wcohi_cpuid_leaf(unsigned int leaf)
{
    wcohi_cpuid r = {0, 0, 0, 0};
#ifdef _MSC_VER
    int word[4];
    __cpuid(word, 0);
    if ((unsigned int)word[0] < leaf) return r;
    __cpuidex(word, (int)leaf, 0);
    r.eax = (unsigned int)word[0], r.ebx = (unsigned int)word[1];
    r.ecx = (unsigned int)word[2], r.edx = (unsigned int)word[3];
#else
    if ((unsigned int)__get_cpuid_max(0, NULL) < leaf) return r;
    __cpuid_count(leaf, 0, r.eax, r.ebx, r.ecx, r.edx);
#endif
    return r;
}

/* Which register files the operating system saves (XCR0); 0 where XGETBV is off. */
static unsigned int wcohi_saved_state(void)
{
    if (!(wcohi_cpuid_leaf(1).ecx & (1u << 27))) return 0;
#if defined(_MSC_VER) && !defined(__clang__)
    return (unsigned int)_xgetbv(0);
#else
    {
        unsigned int low, high;
        __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
        (void)high;
        return low;
    }
#endif
}

/* AVX-512 is taken only with VBMI2: the chips before it slow their clock too much for 512 bits. */
WCOHI_COLD int wcohi_x86_has(wcoh_isa isa)
{
    const unsigned int avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31), vbmi2 = 1u << 6;
    wcohi_cpuid basic = wcohi_cpuid_leaf(1), extended = wcohi_cpuid_leaf(7);
    unsigned int saved = wcohi_saved_state();
    int sse2 = (basic.edx >> 26) & 1;
    int avx2 = sse2 && (saved & 0x06) == 0x06 && (basic.ecx & (1u << 28)) &&
               (basic.ecx & (1u << 12)) && (extended.ebx & (1u << 5));
    if (isa == WCOH_ISA_SSE2) return sse2;
    if (isa == WCOH_ISA_AVX2) return avx2;
    return avx2 && (saved & 0xe6) == 0xe6 && (extended.ebx & avx512) == avx512 &&
           (extended.ecx & vbmi2);
}
#endif

WCOH_API int wcoh_cpu_has_isa(wcoh_isa isa)
{
    switch (isa) {
    case WCOH_ISA_AUTO: return 1;
#ifdef WCOHI_HAS_SCALAR
    case WCOH_ISA_SCALAR: return 1;
#endif
#ifdef WCOHI_HAS_SSE2
    case WCOH_ISA_SSE2: return wcohi_x86_has(isa);
#endif
#ifdef WCOHI_HAS_AVX
    case WCOH_ISA_AVX2:
    case WCOH_ISA_AVX512: return wcohi_x86_has(isa);
#endif
#ifdef WCOHI_HAS_NEON
    case WCOH_ISA_NEON: return 1;
#endif
    default: return 0;
    }
}

WCOH_API wcoh_isa wcoh_cpu_best_isa(void)
{
    if (wcoh_cpu_has_isa(WCOH_ISA_NEON)) return WCOH_ISA_NEON;
    if (wcoh_cpu_has_isa(WCOH_ISA_AVX512)) return WCOH_ISA_AVX512;
    if (wcoh_cpu_has_isa(WCOH_ISA_AVX2)) return WCOH_ISA_AVX2;
    return wcoh_cpu_has_isa(WCOH_ISA_SSE2) ? WCOH_ISA_SSE2 : WCOH_ISA_SCALAR;
}

WCOH_API const char *wcoh_isa_name(wcoh_isa isa)
{
    switch (isa) {
    case WCOH_ISA_AUTO: return "auto";
    case WCOH_ISA_SCALAR: return "scalar";
    case WCOH_ISA_SSE2: return "sse2";
    case WCOH_ISA_AVX2: return "avx2";
    case WCOH_ISA_AVX512: return "avx512";
    case WCOH_ISA_NEON: return "neon";
    default: return "unknown";
    }
}

/* The set to use where `asked` is what the desc says. */
WCOHI_COLD wcoh_result wcohi_isa_choose(wcoh_isa *isa, wcoh_isa asked, wcoh_error *error)
{
    *isa = asked == WCOH_ISA_AUTO ? wcoh_cpu_best_isa() : asked;
    if (wcoh_cpu_has_isa(asked)) return WCOH_OK;
    if (asked == WCOH_ISA_SCALAR)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED,
                          "isa: this build has no scalar kernels; define WAVECOH_SCALAR where the "
                          "implementation is compiled");
    return wcohi_fail(error, WCOH_E_UNSUPPORTED, "isa: this machine or build has no %s",
                      wcoh_isa_name(asked));
}

/* ---- how many CPUs this process may use ------------------------------------------------------ */

#if defined(__linux__) && !defined(WAVECOH_NO_STDIO)
/* Up to size-1 bytes of a small text file; 0 if there is none. */
static int wcohi_read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t length;
    if (!file) return 0;
    length = fread(text, 1, size - 1, file);
    fclose(file);
    text[length] = 0;
    return length > 0;
}

static const char *wcohi_read_count(const char *text, double *value)
{
    *value = -1;
    while (*text == ' ' || *text == '\n') text++;
    if (*text < '0' || *text > '9') return text;
    for (*value = 0; *text >= '0' && *text <= '9'; text++) *value = *value * 10 + (*text - '0');
    return text;
}

/* CPUs that "quota period" (cpu.max of control groups) allows; 0: no limit. */
static int wcohi_quota(const char *text)
{
    double quota, period, cpus;
    wcohi_read_count(wcohi_read_count(text, &quota), &period);
    if (quota <= 0 || period <= 0) return 0;
    cpus = ceil(quota / period);
    return cpus < 1 ? 1 : cpus > 4096 ? 0 : (int)cpus;
}

/* The tightest quota from the process's group (version 2) up to the root; else version 1's. */
WCOHI_COLD int wcohi_cgroup_cpus(void)
{
    char groups[1024], path[1100], text[128], *group, *end;
    int least = 0, cpus;
    if (wcohi_read_text("/proc/self/cgroup", groups, sizeof groups) &&
        (group = strstr(groups, "0::")) != NULL) {
        group += 3;
        for (end = group; *end && *end != '\n'; end++) {}
        for (;;) {
            *end = 0;
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
            cpus = wcohi_read_text(path, text, sizeof text) ? wcohi_quota(text) : 0;
            if (cpus && (!least || cpus < least)) least = cpus;
            if (end == group) break;
            do { end--; } while (end > group && *end != '/');
        }
    }
    if (!least && wcohi_read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", text, 32)) {
        size_t length = strlen(text);
        if (wcohi_read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", text + length, 32))
            least = wcohi_quota(text);
    }
    return least;
}
#endif

#ifdef __linux__ /* strict C99 hides the name; the label finds it without a clash elsewhere */
extern int wcohi_sched_getaffinity(int process, size_t size, unsigned long *mask)
    __asm__("sched_getaffinity");
#endif

WCOH_API int wcoh_cpu_count(void)
{
    int count = 0;
#if defined(_WIN32)
    DWORD_PTR own = 0, all = 0;
    GetProcessAffinityMask(GetCurrentProcess(), &own, &all);
    for (; own; own &= own - 1) count++;
#elif defined(__linux__)
    unsigned long mask[1024 / sizeof(unsigned long)], bits;
    size_t i;
    memset(mask, 0, sizeof mask);
    if (wcohi_sched_getaffinity(0, sizeof mask, mask) >= 0)
        for (i = 0; i < sizeof mask / sizeof *mask; i++)
            for (bits = mask[i]; bits; bits &= bits - 1) count++;
#ifndef WAVECOH_NO_STDIO
    {
        int quota = wcohi_cgroup_cpus();
        if (quota && quota < count) count = quota;
    }
#endif
#elif defined(_SC_NPROCESSORS_ONLN)
    count = (int)sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return count < 1 ? 1 : count;
}

/* ---- platform: atomics, locks, threads ------------------------------------------------------- */

#define WCOHI_MAX_THREADS 256
#ifndef WCOHI_SMALL_WORK
#define WCOHI_SMALL_WORK 300000.0 /* multiply-adds that one thread does sooner than it finds help */
#endif
#define WCOHI_PAUSES 100
#define WCOHI_YIELDS 400

#ifdef WAVECOH_NO_THREADS
typedef int wcohi_lock;
typedef int wcohi_signal;
#define wcohi_lock_take(lock) ((void)(lock))
#define wcohi_lock_give(lock) ((void)(lock))
#define wcohi_yield() ((void)0)
#elif defined(_WIN32)
typedef SRWLOCK wcohi_lock;
typedef CONDITION_VARIABLE wcohi_signal;
typedef HANDLE wcohi_thread;
#define wcohi_lock_open(lock) InitializeSRWLock(lock)
#define wcohi_lock_close(lock) ((void)(lock))
#define wcohi_lock_take(lock) AcquireSRWLockExclusive(lock)
#define wcohi_lock_give(lock) ReleaseSRWLockExclusive(lock)
#define wcohi_signal_open(signal) InitializeConditionVariable(signal)
#define wcohi_signal_close(signal) ((void)(signal))
#define wcohi_signal_wait(signal, lock) SleepConditionVariableSRW(signal, lock, INFINITE, 0)
#define wcohi_signal_one(signal) WakeConditionVariable(signal)
#define wcohi_signal_all(signal) WakeAllConditionVariable(signal)
#define wcohi_yield() ((void)SwitchToThread())
#else
typedef pthread_mutex_t wcohi_lock;
typedef pthread_cond_t wcohi_signal;
typedef pthread_t wcohi_thread;
#define wcohi_lock_open(lock) pthread_mutex_init(lock, NULL)
#define wcohi_lock_close(lock) pthread_mutex_destroy(lock)
#define wcohi_lock_take(lock) pthread_mutex_lock(lock)
#define wcohi_lock_give(lock) pthread_mutex_unlock(lock)
#define wcohi_signal_open(signal) pthread_cond_init(signal, NULL)
#define wcohi_signal_close(signal) pthread_cond_destroy(signal)
#define wcohi_signal_wait(signal, lock) pthread_cond_wait(signal, lock)
#define wcohi_signal_one(signal) pthread_cond_signal(signal)
#define wcohi_signal_all(signal) pthread_cond_broadcast(signal)
#define wcohi_yield() ((void)sched_yield())
#endif

/* Sequentially consistent. `guard` is for compilers without atomics (tcc): they pay with a lock. */
#if defined(_MSC_VER) && !defined(__clang__)
typedef long wcohi_atomic;
#define WCOHI_SPINS 1
#define wcohi_atomic_add(guard, p, d) ((void)(guard), _InterlockedExchangeAdd(p, d) + (d))
#define wcohi_atomic_swap(guard, p, from, to)                                                      \
    ((void)(guard), _InterlockedCompareExchange(p, to, from) == (from))
#elif (defined(__GNUC__) || defined(__clang__)) && !defined(__TINYC__)
typedef int wcohi_atomic;
#define WCOHI_SPINS 1
#define wcohi_atomic_add(guard, p, d) ((void)(guard), __atomic_add_fetch(p, d, __ATOMIC_SEQ_CST))
#define wcohi_atomic_get(guard, p) ((void)(guard), __atomic_load_n(p, __ATOMIC_SEQ_CST))
static int wcohi_atomic_swap(wcohi_lock *guard, int *p, int from, int to)
{
    (void)guard;
    return __atomic_compare_exchange_n(p, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
#else
typedef int wcohi_atomic;
#ifdef WAVECOH_NO_THREADS
#define WCOHI_NO_LENT_THREADS 1 /* neither atomics nor locks: a lent job system is not used */
#endif
static int wcohi_atomic_add(wcohi_lock *guard, int *p, int d)
{
    int value;
    wcohi_lock_take(guard);
    value = *p += d;
    wcohi_lock_give(guard);
    return value;
}
static int wcohi_atomic_swap(wcohi_lock *guard, int *p, int from, int to)
{
    int same;
    wcohi_lock_take(guard);
    same = *p == from;
    if (same) *p = to;
    wcohi_lock_give(guard);
    return same;
}
#endif
#ifndef wcohi_atomic_get
#define wcohi_atomic_get(guard, p) wcohi_atomic_add(guard, p, 0)
#endif

static WCOHI_UNUSED void wcohi_pause(void)
{
#if defined(WCOHI_HAS_SSE2) && defined(_MSC_VER)
    _mm_pause();
#elif (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    __asm__ volatile("rep; nop");
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("isb");
#endif
}

/* Rounding and flushing of denormals of this thread. Helpers take over the caller's, or the bits
   would depend on who computes. 0 where we cannot ask. */
static unsigned int wcohi_float_mode(void)
{
    unsigned int mode = 0;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__TINYC__)
    __asm__ volatile("stmxcsr %0" : "=m"(mode));
    mode &= ~0x3fu; /* without the sticky flags */
#elif defined(_M_X64)
    mode = _mm_getcsr() & ~0x3fu;
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    mode = (unsigned int)word;
#endif
    return mode;
}

static void wcohi_float_mode_set(unsigned int mode)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__TINYC__)
    __asm__ volatile("ldmxcsr %0" : : "m"(mode));
#elif defined(_M_X64)
    _mm_setcsr(mode);
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t word = mode;
    __asm__ volatile("msr fpcr, %0" : : "r"(word));
#else
    (void)mode;
#endif
}

/* ---- pool ------------------------------------------------------------------------------------ */

/* One piece of a job. No two calls that run at once share a slot (0 .. slots-1): scratch memory. */
typedef void (*wcohi_job)(int index, int slot, void *user);

typedef struct wcohi_pool wcohi_pool;

typedef struct wcohi_worker {
    wcohi_pool *pool;
    int slot;
    wcohi_atomic busy; /* slots of a lent job system: 1 while in use */
#ifndef WAVECOH_NO_THREADS
    wcohi_thread thread;
#endif
} wcohi_worker;

/* The caller is slot 0 and works too. A run sets the job, then `pending`, then `remaining`, which
   everyone counts down to claim an index; the caller goes on when `pending` is 0, so nobody reads
   the job any more. Who finds nothing pauses, then yields, then sleeps. */
struct wcohi_pool {
    wcohi_job job;
    void *user;
    int count;
    unsigned int float_mode;
    int slots;
    int cpus; /* no more than this many are woken */
    int made; /* threads that run */
    wcohi_atomic quit, sleepers, waiting;
    wcoh_parallel_for parallel_for;
    void *parallel_user;
    wcohi_lock lock, guard;
    wcohi_signal work, done;
    char apart1[64];
    wcohi_atomic remaining;
    char apart2[64];
    wcohi_atomic pending;
    char apart3[64];
    wcohi_worker workers[1]; /* [slots] */
};

static int wcohi_pool_width(const wcoh_cpu_desc *cpu)
{
    int threads = cpu->threads == 0 ? wcoh_cpu_count() : cpu->threads;
#ifdef WAVECOH_NO_THREADS
    if (!cpu->parallel_for) threads = 1;
#endif
#ifdef WCOHI_NO_LENT_THREADS
    threads = 1;
#endif
    return WCOHI_CLAMP(threads, 1, WCOHI_MAX_THREADS);
}

/* Bytes that wcohi_pool_open wants for this desc. */
static size_t wcohi_pool_bytes(const wcoh_cpu_desc *cpu)
{
    return sizeof(wcohi_pool) + (size_t)(wcohi_pool_width(cpu) - 1) * sizeof(wcohi_worker);
}

static int wcohi_pool_slots(const wcohi_pool *pool) { return pool ? pool->slots : 1; }

static void wcohi_pool_alone(int count, wcohi_job job, void *user)
{
    int i;
    for (i = 0; i < count; i++) job(i, 0, user);
}

#ifndef WAVECOH_NO_THREADS
/* The next index of the job, or -1. */
static int wcohi_pool_claim(wcohi_pool *pool)
{
    for (;;) {
        int left = (int)wcohi_atomic_get(&pool->guard, &pool->remaining);
        if (left <= 0) return -1;
        if (wcohi_atomic_swap(&pool->guard, &pool->remaining, left, left - 1))
            return pool->count - left;
    }
}

static void wcohi_pool_finish(wcohi_pool *pool)
{
    if (wcohi_atomic_add(&pool->guard, &pool->pending, -1) > 0) return;
    if (!wcohi_atomic_get(&pool->guard, &pool->waiting)) return;
    wcohi_lock_take(&pool->lock);
    wcohi_signal_one(&pool->done);
    wcohi_lock_give(&pool->lock);
}

/* Pause, then yield, until *value is positive or not, as wanted; 0 when out of patience. */
static int wcohi_pool_spin(wcohi_pool *pool, wcohi_atomic *value, int positive)
{
#ifdef WCOHI_SPINS
    int i;
    for (i = 0; i < WCOHI_PAUSES + WCOHI_YIELDS; i++) {
        if ((wcohi_atomic_get(&pool->guard, value) > 0) == positive) return 1;
        if (wcohi_atomic_get(&pool->guard, &pool->quit)) return 1;
        if (i < WCOHI_PAUSES) wcohi_pause();
        else wcohi_yield();
    }
#else
    (void)pool, (void)value, (void)positive;
#endif
    return 0;
}

/* Wait for work; 0 when the pool closes. */
static int wcohi_pool_await(wcohi_pool *pool)
{
    if (!wcohi_pool_spin(pool, &pool->remaining, 1)) {
        wcohi_lock_take(&pool->lock);
        wcohi_atomic_add(&pool->guard, &pool->sleepers, 1);
        while (wcohi_atomic_get(&pool->guard, &pool->remaining) <= 0 &&
               !wcohi_atomic_get(&pool->guard, &pool->quit))
            wcohi_signal_wait(&pool->work, &pool->lock);
        wcohi_atomic_add(&pool->guard, &pool->sleepers, -1);
        wcohi_lock_give(&pool->lock);
    }
    return !wcohi_atomic_get(&pool->guard, &pool->quit);
}

static void wcohi_worker_run(wcohi_worker *worker)
{
    wcohi_pool *pool = worker->pool;
    unsigned int mode = wcohi_float_mode();
    do {
        int index;
        while ((index = wcohi_pool_claim(pool)) >= 0) {
            if (mode != pool->float_mode) wcohi_float_mode_set(mode = pool->float_mode);
            pool->job(index, worker->slot, pool->user);
            wcohi_pool_finish(pool);
        }
    } while (wcohi_pool_await(pool));
}

#ifdef _WIN32
static DWORD WINAPI wcohi_thread_main(LPVOID worker)
{
    wcohi_worker_run((wcohi_worker *)worker);
    return 0;
}
static int wcohi_thread_make(wcohi_worker *worker)
{
    worker->thread = CreateThread(NULL, 0, wcohi_thread_main, worker, 0, NULL);
    return worker->thread != NULL;
}
static void wcohi_thread_join(wcohi_worker *worker)
{
    WaitForSingleObject(worker->thread, INFINITE);
    CloseHandle(worker->thread);
}
#else
static void *wcohi_thread_main(void *worker)
{
    wcohi_worker_run((wcohi_worker *)worker);
    return NULL;
}
static int wcohi_thread_make(wcohi_worker *worker)
{
    return pthread_create(&worker->thread, NULL, wcohi_thread_main, worker) == 0;
}
static void wcohi_thread_join(wcohi_worker *worker) { pthread_join(worker->thread, NULL); }
#endif

/* Wake as many sleepers as the machine has CPUs for. */
static void wcohi_pool_wake(wcohi_pool *pool, int count)
{
    int asleep = (int)wcohi_atomic_get(&pool->guard, &pool->sleepers), wanted, i;
    if (asleep == 0) return;
    wanted = WCOHI_MIN(WCOHI_MIN(count, pool->cpus), pool->slots) - 1;
    wanted -= pool->slots - 1 - asleep;
    if (wanted <= 0) return;
    wcohi_lock_take(&pool->lock);
    for (i = 0; i < wanted; i++) wcohi_signal_one(&pool->work);
    wcohi_lock_give(&pool->lock);
}

static void wcohi_pool_share(wcohi_pool *pool, int count, wcohi_job job, void *user)
{
    int index;
    pool->job = job;
    pool->user = user;
    pool->count = count;
    pool->float_mode = wcohi_float_mode();
    wcohi_atomic_add(&pool->guard, &pool->pending, count); /* was 0 */
    wcohi_atomic_add(&pool->guard, &pool->remaining, count);
    wcohi_pool_wake(pool, count);
    while ((index = wcohi_pool_claim(pool)) >= 0) {
        job(index, 0, user);
        wcohi_atomic_add(&pool->guard, &pool->pending, -1);
    }
    if (wcohi_pool_spin(pool, &pool->pending, 0)) return;
    wcohi_lock_take(&pool->lock);
    wcohi_atomic_add(&pool->guard, &pool->waiting, 1);
    while (wcohi_atomic_get(&pool->guard, &pool->pending) > 0)
        wcohi_signal_wait(&pool->done, &pool->lock);
    wcohi_atomic_add(&pool->guard, &pool->waiting, -1);
    wcohi_lock_give(&pool->lock);
}
#endif

/* Stop and join; the memory stays the caller's. NULL is allowed. */
WCOHI_COLD void wcohi_pool_close(wcohi_pool *pool)
{
#ifndef WAVECOH_NO_THREADS
    int i;
    if (!pool || pool->parallel_for || pool->slots == 1) return;
    wcohi_atomic_add(&pool->guard, &pool->quit, 1);
    wcohi_lock_take(&pool->lock);
    wcohi_signal_all(&pool->work);
    wcohi_lock_give(&pool->lock);
    for (i = 1; i <= pool->made; i++) wcohi_thread_join(&pool->workers[i]);
    wcohi_signal_close(&pool->work);
    wcohi_signal_close(&pool->done);
    wcohi_lock_close(&pool->lock);
    wcohi_lock_close(&pool->guard);
#else
    (void)pool;
#endif
}

/* Open a pool in `memory` [wcohi_pool_bytes] and start its threads (none for one slot or a lent job
   system). Errors: WCOH_E_ARGUMENT, WCOH_E_DEVICE when the system gives no thread. */
WCOHI_COLD wcoh_result wcohi_pool_open(wcohi_pool **pool, void *memory, const wcoh_cpu_desc *cpu,
                                       wcoh_error *error)
{
    wcohi_pool *p = (wcohi_pool *)memory;
    int i;
    *pool = NULL;
    if (cpu->threads < 0 || cpu->threads > WCOHI_MAX_THREADS)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "cpu.threads: %d is outside 0..%d", cpu->threads,
                          WCOHI_MAX_THREADS);
    memset(p, 0, wcohi_pool_bytes(cpu));
    p->slots = wcohi_pool_width(cpu);
    p->cpus = wcoh_cpu_count();
    p->parallel_for = cpu->parallel_for;
    p->parallel_user = cpu->parallel_user;
    for (i = 0; i < p->slots; i++) {
        p->workers[i].pool = p;
        p->workers[i].slot = i;
    }
#ifndef WAVECOH_NO_THREADS
    if (p->slots > 1) {
        wcohi_lock_open(&p->lock);
        wcohi_lock_open(&p->guard);
        wcohi_signal_open(&p->work);
        wcohi_signal_open(&p->done);
    }
    for (i = 1; i < p->slots && !p->parallel_for; i++) {
        if (!wcohi_thread_make(&p->workers[i])) {
            wcohi_pool_close(p);
            return wcohi_fail(error, WCOH_E_DEVICE, "thread %d of %d could not be started", i,
                              p->slots - 1);
        }
        p->made = i;
    }
#endif
    *pool = p;
    return WCOH_OK;
}

/* One index on a lent job system: any free slot will do. */
static void wcohi_pool_lent_task(int index, void *user)
{
    wcohi_pool *pool = (wcohi_pool *)user;
    unsigned int mode = wcohi_float_mode();
    int slot = index % pool->slots;
    while (!wcohi_atomic_swap(&pool->guard, &pool->workers[slot].busy, 0, 1)) {
        if (++slot == pool->slots) {
            slot = 0;
            wcohi_yield();
        }
    }
    if (mode != pool->float_mode) wcohi_float_mode_set(pool->float_mode);
    pool->job(index, slot, pool->user);
    if (mode != pool->float_mode) wcohi_float_mode_set(mode);
    wcohi_atomic_add(&pool->guard, &pool->workers[slot].busy, -1);
}

/* job(i, slot, user) once for every i in 0 .. count-1, in any order and on any slots; returns when
   all are done. `work` is the whole job in multiply-adds: little work stays on the caller. One run
   at a time per pool; pool NULL: the caller alone. */
static void wcohi_pool_run(wcohi_pool *pool, int count, double work, wcohi_job job, void *user)
{
    if (count <= 1 || !pool || pool->slots == 1 || work < WCOHI_SMALL_WORK) {
        wcohi_pool_alone(count, job, user);
        return;
    }
    if (pool->parallel_for) {
        pool->job = job;
        pool->user = user;
        pool->count = count;
        pool->float_mode = wcohi_float_mode();
        pool->parallel_for(count, wcohi_pool_lent_task, pool, pool->parallel_user);
        return;
    }
#ifndef WAVECOH_NO_THREADS
    wcohi_pool_share(pool, count, job, user);
#endif
}

/* ======== 2 ground: files ===================================================================== */

/* In order: little-endian numbers, a checksum, number types | wcoh_tensors: a table of the tensors
   of a file | the formats, one chapter and one row each, strict because a file may come from an
   enemy | what is the same in all of them: opening, checking, finding, reading | wcohi_save, which
   writes safetensors in three passes (count, check and hash, write) and so needs neither memory nor
   a seekable output | wcohi_load, which reads a list of tensors or changes nothing | memory and
   paths as files. */

#define WCOHI_HEADER_MAX 100000000u /* bytes, in any format; the safetensors package's limit */
#define WCOHI_DIMS_MAX 8

/* ---- little-endian numbers ------------------------------------------------------------------- */

static int wcohi_little_endian(void)
{
    uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first;
}

/* An unsigned number of 1..8 bytes. */
static uint64_t wcohi_get_le(const unsigned char *bytes, int size)
{
    uint64_t value = 0;
    if (size == 8 && wcohi_little_endian()) {
        memcpy(&value, bytes, 8);
        return value;
    }
    while (size-- > 0) value = value << 8 | bytes[size];
    return value;
}

static void wcohi_put_le(unsigned char *bytes, uint64_t value, int size)
{
    int i;
    for (i = 0; i < size; i++, value >>= 8) bytes[i] = (unsigned char)(value & 0xff);
}

/* a*b; 0 if it does not fit 64 bits. */
static int wcohi_mul64(uint64_t a, uint64_t b, uint64_t *product)
{
    *product = a * b;
    return b == 0 || a <= UINT64_MAX / b;
}

/* ---- checksum: XXH64 with seed 0 (Collet, xxHash specification 0.1.1) ------------------------ */

#define WCOHI_HASH_1 0x9e3779b185ebca87ull
#define WCOHI_HASH_2 0xc2b2ae3d27d4eb4full
#define WCOHI_HASH_3 0x165667b19e3779f9ull
#define WCOHI_HASH_4 0x85ebca77c2b2ae63ull
#define WCOHI_HASH_5 0x27d4eb2f165667c5ull

typedef struct wcohi_hash {
    uint64_t lane[4];
    uint64_t total;
    size_t used;
    unsigned char rest[32]; /* bytes of a stripe that is not complete yet */
} wcohi_hash;

static void wcohi_hash_start(wcohi_hash *hash)
{
    memset(hash, 0, sizeof *hash);
    hash->lane[0] = WCOHI_HASH_1 + WCOHI_HASH_2;
    hash->lane[1] = WCOHI_HASH_2;
    hash->lane[3] = 0 - WCOHI_HASH_1;
}

static uint64_t wcohi_hash_round(uint64_t lane, uint64_t word)
{
    return wcohi_rotate_left(lane + word * WCOHI_HASH_2, 31) * WCOHI_HASH_1;
}

static void wcohi_hash_stripe(wcohi_hash *hash, const unsigned char *bytes)
{
    int i;
    for (i = 0; i < 4; i++)
        hash->lane[i] = wcohi_hash_round(hash->lane[i], wcohi_get_le(bytes + 8 * i, 8));
}

static void wcohi_hash_add(wcohi_hash *hash, const void *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    hash->total += size;
    if (hash->used > 0) {
        size_t part = WCOHI_MIN(sizeof hash->rest - hash->used, size);
        memcpy(hash->rest + hash->used, bytes, part);
        hash->used += part;
        bytes += part;
        size -= part;
        if (hash->used < sizeof hash->rest) return;
        wcohi_hash_stripe(hash, hash->rest);
        hash->used = 0;
    }
    for (; size >= sizeof hash->rest; size -= 32, bytes += 32) wcohi_hash_stripe(hash, bytes);
    if (size > 0) memcpy(hash->rest, bytes, size);
    hash->used = size;
}

static uint64_t wcohi_hash_end(const wcohi_hash *hash)
{
    const unsigned char *bytes = hash->rest, *end = hash->rest + hash->used;
    const uint64_t *lane = hash->lane;
    uint64_t h = WCOHI_HASH_5;
    int i;
    if (hash->total >= 32) {
        h = wcohi_rotate_left(lane[0], 1) + wcohi_rotate_left(lane[1], 7) +
            wcohi_rotate_left(lane[2], 12) + wcohi_rotate_left(lane[3], 18);
        for (i = 0; i < 4; i++)
            h = (h ^ wcohi_hash_round(0, lane[i])) * WCOHI_HASH_1 + WCOHI_HASH_4;
    }
    h += hash->total;
    for (; end - bytes >= 8; bytes += 8) {
        h ^= wcohi_hash_round(0, wcohi_get_le(bytes, 8));
        h = wcohi_rotate_left(h, 27) * WCOHI_HASH_1 + WCOHI_HASH_4;
    }
    if (end - bytes >= 4) {
        h ^= wcohi_get_le(bytes, 4) * WCOHI_HASH_1;
        h = wcohi_rotate_left(h, 23) * WCOHI_HASH_2 + WCOHI_HASH_3;
        bytes += 4;
    }
    for (; bytes < end; bytes++)
        h = wcohi_rotate_left(h ^ *bytes * WCOHI_HASH_5, 11) * WCOHI_HASH_1;
    h = (h ^ h >> 33) * WCOHI_HASH_2;
    h = (h ^ h >> 29) * WCOHI_HASH_3;
    return h ^ h >> 32;
}

#define WCOHI_HASH_DIGITS 16

static void wcohi_hash_text(uint64_t value, char digits[WCOHI_HASH_DIGITS + 1])
{
    snprintf(digits, WCOHI_HASH_DIGITS + 1, "%016llx", (unsigned long long)value);
}

/* ---- number types of files ------------------------------------------------------------------- */

typedef enum wcohi_number {
    WCOHI_NUMBER_FLOAT,  /* IEEE 754 of 16, 32 or 64 bits */
    WCOHI_NUMBER_BFLOAT, /* the upper half of a 32-bit one */
    WCOHI_NUMBER_SIGNED,
    WCOHI_NUMBER_UNSIGNED,
    WCOHI_NUMBER_OPAQUE /* its size is known, its values are not read */
} wcohi_number;

typedef struct wcohi_dtype {
    char name[13];
    char npy[3]; /* as NumPy spells it, behind the byte order; "" where it does not */
    unsigned char bits;
    unsigned char number;
} wcohi_dtype;

/* The first rows are the types that wcohi_save writes, in the order of wcohi_number_type; the last is
   any other: a tensor of it is listed, its size is believed, its numbers cannot be read. */
static const wcohi_dtype wcohi_dtypes[] = {
    {"F64", "f8", 64, WCOHI_NUMBER_FLOAT},
    {"F32", "f4", 32, WCOHI_NUMBER_FLOAT},
    {"U32", "u4", 32, WCOHI_NUMBER_UNSIGNED},
    {"U8", "u1", 8, WCOHI_NUMBER_UNSIGNED},
    {"F16", "f2", 16, WCOHI_NUMBER_FLOAT},
    {"BF16", "", 16, WCOHI_NUMBER_BFLOAT},
    {"I64", "i8", 64, WCOHI_NUMBER_SIGNED},
    {"U64", "u8", 64, WCOHI_NUMBER_UNSIGNED},
    {"I32", "i4", 32, WCOHI_NUMBER_SIGNED},
    {"I16", "i2", 16, WCOHI_NUMBER_SIGNED},
    {"U16", "u2", 16, WCOHI_NUMBER_UNSIGNED},
    {"I8", "i1", 8, WCOHI_NUMBER_SIGNED},
    {"BOOL", "b1", 8, WCOHI_NUMBER_UNSIGNED},
    {"C64", "c8", 64, WCOHI_NUMBER_OPAQUE},
    {"F8_E4M3", "", 8, WCOHI_NUMBER_OPAQUE},
    {"F8_E5M2", "", 8, WCOHI_NUMBER_OPAQUE},
    {"F8_E8M0", "", 8, WCOHI_NUMBER_OPAQUE},
    {"F8_E4M3FNUZ", "", 8, WCOHI_NUMBER_OPAQUE},
    {"F8_E5M2FNUZ", "", 8, WCOHI_NUMBER_OPAQUE},
    {"F6_E2M3", "", 6, WCOHI_NUMBER_OPAQUE},
    {"F6_E3M2", "", 6, WCOHI_NUMBER_OPAQUE},
    {"F4", "", 4, WCOHI_NUMBER_OPAQUE},
    {"", "", 0, WCOHI_NUMBER_OPAQUE},
};
#define WCOHI_DTYPE_OTHER (WCOHI_COUNT(wcohi_dtypes) - 1)

typedef enum wcohi_number_type {
    WCOHI_OF_F64,
    WCOHI_OF_F32,
    WCOHI_OF_U32,
    WCOHI_OF_U8,
    WCOHI_OF_REAL = sizeof(wcoh_real) == 8 ? WCOHI_OF_F64 : WCOHI_OF_F32
} wcohi_number_type;

static size_t wcohi_number_size(wcohi_number_type kind) { return wcohi_dtypes[kind].bits / 8u; }

static double wcohi_bits_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double wcohi_bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* sign 1, exponent 5, mantissa 10: +-2^(e-15) 1.m; e = 0: +-2^-14 0.m; e = 31: infinity or NaN. */
static double wcohi_bits_half(uint32_t bits)
{
    uint32_t sign = bits & 0x8000u, exponent = bits >> 10 & 31u, mantissa = bits & 0x3ffu;
    double value;
    if (exponent == 31) return wcohi_bits_float(sign << 16 | 0x7f800000u | mantissa << 13);
    value =
        ldexp((double)(exponent ? mantissa + 1024 : mantissa), exponent ? (int)exponent - 25 : -24);
    return sign ? -value : value;
}

/* One number of a file as a double (64-bit integers are rounded). */
static double wcohi_decode(const wcohi_dtype *dtype, const unsigned char *bytes)
{
    uint64_t bits = wcohi_get_le(bytes, dtype->bits / 8);
    uint64_t sign = (uint64_t)1 << (dtype->bits - 1);
    switch (dtype->number) {
    case WCOHI_NUMBER_FLOAT:
        if (dtype->bits == 64) return wcohi_bits_double(bits);
        return dtype->bits == 32 ? wcohi_bits_float((uint32_t)bits)
                                 : wcohi_bits_half((uint32_t)bits);
    case WCOHI_NUMBER_BFLOAT: return wcohi_bits_float((uint32_t)bits << 16);
    case WCOHI_NUMBER_SIGNED:
        return bits & sign ? -(double)((sign - 1) - (bits & (sign - 1))) - 1 : (double)bits;
    default: return (double)bits;
    }
}

/* A double as float; too large becomes infinity. By the bits, so that no compiler flag matters. */
static float wcohi_narrow(double x)
{
    const uint64_t limit = 0x47effffff0000000ull; /* halfway between FLT_MAX and 2^128: rounds up */
    uint64_t bits;
    uint32_t narrow;
    float value;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & ~(1ull << 63)) < limit) return (float)x;
    narrow = (uint32_t)(bits >> 32) & 0x80000000u;
    narrow |= (bits & ~(1ull << 63)) > 0x7ff0000000000000ull ? 0x7fc00000u : 0x7f800000u;
    memcpy(&value, &narrow, sizeof value);
    return value;
}

/* Number `index` of an array in memory. */
static double wcohi_number_value(wcohi_number_type kind, const void *data, size_t index)
{
    if (kind == WCOHI_OF_F64) return ((const double *)data)[index];
    if (kind == WCOHI_OF_F32) return (double)((const float *)data)[index];
    if (kind == WCOHI_OF_U32) return ((const uint32_t *)data)[index];
    return ((const unsigned char *)data)[index];
}

/* ---- tables that sort themselves ------------------------------------------------------------- */

typedef int (*wcohi_order)(const void *a, const void *b, const wcoh_tensors *t);

static void wcohi_swap(unsigned char *a, unsigned char *b, size_t size)
{
    unsigned char kept[128];
    for (; size > 0; a += sizeof kept, b += sizeof kept) {
        size_t part = WCOHI_MIN(size, sizeof kept);
        memcpy(kept, a, part);
        memcpy(a, b, part);
        memcpy(b, kept, part);
        size -= part;
    }
}

/* Let element `at` sink to its place in the heap [count]. */
static void wcohi_sift(unsigned char *base, size_t at, size_t count, size_t size, wcohi_order order,
                       const wcoh_tensors *t)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) return;
        if (child + 1 < count && order(base + child * size, base + (child + 1) * size, t) < 0)
            child++;
        if (order(base + at * size, base + child * size, t) >= 0) return;
        wcohi_swap(base + at * size, base + child * size, size);
        at = child;
    }
}

/* Heapsort: n log n whatever the input, neither recursion nor memory. */
static void wcohi_sort(void *array, size_t count, size_t size, wcohi_order order,
                       const wcoh_tensors *t)
{
    unsigned char *base = (unsigned char *)array;
    size_t i;
    for (i = count / 2; i-- > 0;) wcohi_sift(base, i, count, size, order, t);
    for (i = count; i-- > 1;) {
        wcohi_swap(base, base + i * size, size);
        wcohi_sift(base, 0, i, size, order, t);
    }
}

#ifndef WAVECOH_NO_STDIO
/* ---- the system's files, as a table ---------------------------------------------------------- */

/* What a path needs from the system; tests put tables here that fail at a chosen call. Every call
   returns 0, or the system's error number, or one of the codes below. */
typedef struct wcohi_system {
    void *user;
    /* Where `path` leads, links followed: real [size]. *mode: permissions of the file there, or -1
       if there is none; *special: it is a device or a pipe, to be written as it stands. */
    int (*resolve)(void *user, const char *path, char *real, size_t size, int *mode, int *special);
    int (*open)(void *user, const char *path, intptr_t *handle, uint64_t *size); /* to read */
    /* to write: a new file with that mode (-1: the usual one), or with `special` what is there */
    int (*create)(void *user, const char *path, int mode, int special, intptr_t *handle);
    int (*read)(void *user, intptr_t handle, uint64_t offset, void *data, size_t size);
    int (*write)(void *user, intptr_t handle, const void *data, size_t size);
    int (*sync)(void *user, intptr_t handle);
    int (*close)(void *user, intptr_t handle);
    int (*replace)(void *user, const char *from, const char *to);
    int (*sync_directory)(void *user, const char *path); /* of the directory that holds `path` */
    int (*remove)(void *user, const char *path);
    /* take away the temporary files of `path` whose processes are gone, where that can be seen */
    void (*sweep)(void *user, const char *path);
} wcohi_system;

enum {
    WCOHI_SYSTEM_SHORT = -1,   /* the file ended early */
    WCOHI_SYSTEM_SPECIAL = -2, /* not a regular file */
    WCOHI_SYSTEM_LONG = -3,    /* the path is too long */
    WCOHI_SYSTEM_EXISTS = -4,  /* create: the name is taken */
    WCOHI_SYSTEM_UNKNOWN = -5
};

/* A file being read; `user` of its wcoh_io. */
typedef struct wcohi_path_reader {
    const wcohi_system *system;
    intptr_t handle;
    uint64_t size;
    int code; /* of the call that failed */
} wcohi_path_reader;
#endif

/* ======== 2 ground: reading a file of tensors ================================================= */

/* ---- wcoh_tensors ---------------------------------------------------------------------------- */

typedef struct wcohi_entry {
    uint64_t begin, end; /* where its data lie behind the header */
    uint64_t count;      /* of its numbers */
    uint64_t shape[WCOHI_DIMS_MAX];
    uint32_t name, type; /* where its name and its number type stand in the text */
    unsigned char dtype, dims;
    unsigned char turned;  /* 1: big-endian numbers */
    unsigned char fortran; /* 1: the first index runs fastest */
} wcohi_entry;

typedef struct wcohi_note {
    wcohi_slice key, value;
} wcohi_note;

/* What is asked of a format; a new one is a row of wcohi_formats and a chapter like those below. */
typedef struct wcohi_format {
    char name[12];
    /* May a file that begins with these bytes be one? */
    int (*sniff)(const unsigned char *start, size_t size);
    /* Before memory is taken: where header and data stand, and bounds of text, entries, notes. */
    wcoh_result (*count)(wcoh_tensors *t, wcoh_error *error);
    /* The header, which stands in t->text, into entries and notes. */
    wcoh_result (*parse)(wcoh_tensors *t, wcoh_error *error);
    /* Numbers first .. first+count-1 of an entry, the last index fastest, as `kind`. */
    wcoh_result (*decode)(const wcoh_tensors *t, const wcohi_entry *entry, uint64_t first,
                          size_t count, wcohi_number_type kind, void *values, wcoh_error *error);
} wcohi_format;

struct wcoh_tensors {
    wcohi_allocation block;
    wcoh_io io;
    const wcohi_format *format;
    char *text; /* [text_size] the header, its strings decoded */
    uint64_t header_at, header_size, data_at, file_size;
    wcohi_entry *entries;  /* [entry_count] in the order of their data */
    uint32_t *by_name;     /* [entry_count] */
    unsigned char *wanted; /* [entry_count] 1: the list that is being read has it */
    wcohi_note *notes;     /* [note_count] metadata, in the order of their keys */
    size_t text_size, entry_count, entry_limit, note_count, note_limit;
    uint64_t digits_at; /* of the checksum in the file; 0: there is none */
    char digits[WCOHI_HASH_DIGITS + 1];
#ifndef WAVECOH_NO_STDIO
    wcohi_path_reader path; /* system != NULL: opened by path, and closed with this */
#endif
};

static const char wcohi_checksum_key[] = "wavecoh.checksum";

/* A name from a file as a sentence may show it: short, and no control characters.
   shown [size >= 8]; returns it. */
static const char *wcohi_shown_in(const char *name, char *shown, size_t size)
{
    size_t i;
    for (i = 0; i < size - 4 && name[i]; i++)
        shown[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    if (name[i]) { /* cut before a character of UTF-8, not inside */
        while (i > 0 && ((unsigned char)name[i] & 0xc0) == 0x80) i--;
        memcpy(shown + i, "...", 4);
        return shown;
    }
    shown[i] = 0;
    return shown;
}

static const char *wcohi_shown(const char *name, char shown[64])
{
    return wcohi_shown_in(name, shown, 64);
}

/* Read, with the file's end checked here and not left to the callback. */
static wcoh_result wcohi_read(const wcoh_io *io, uint64_t file_size, uint64_t offset, void *data,
                              size_t size, wcoh_error *error)
{
    if (offset > file_size || size > file_size - offset)
        return wcohi_fail(error, WCOH_E_FORMAT,
                          "the file ends after %llu bytes, before its data do",
                          (unsigned long long)file_size);
    if (size > 0 && io->read(io->user, offset, data, size))
        return wcohi_fail(error, WCOH_E_IO, "reading %llu bytes at %llu failed",
                          (unsigned long long)size, (unsigned long long)offset);
    return WCOH_OK;
}

static const char *wcohi_entry_name(const wcoh_tensors *t, size_t index)
{
    return t->text + t->entries[index].name;
}

/* The header's size, from the file, before anything of that size is asked for. */
static wcoh_result wcohi_header_fits(const wcoh_tensors *t, wcoh_error *error)
{
    if (t->header_at <= t->file_size && t->header_size <= t->file_size - t->header_at &&
        t->header_size <= WCOHI_HEADER_MAX)
        return WCOH_OK;
    return wcohi_fail(error, WCOH_E_FORMAT,
                      "not a %s file, or cut short: a header of %llu bytes in %llu",
                      t->format->name, (unsigned long long)t->header_size,
                      (unsigned long long)t->file_size);
}

/* The count of numbers that a shape gives; 0 returned where it does not fit 64 bits. */
static int wcohi_entry_size(wcohi_entry *entry)
{
    int i;
    entry->count = 1;
    for (i = 0; i < entry->dims; i++)
        if (!wcohi_mul64(entry->count, entry->shape[i], &entry->count)) return 0;
    return 1;
}

/* Count and type give the bytes from begin to end (those of an unknown type are believed). */
static int wcohi_entry_fills(const wcohi_entry *entry)
{
    uint64_t bits;
    if (entry->dtype == WCOHI_DTYPE_OTHER) return 1;
    return wcohi_mul64(entry->count, wcohi_dtypes[entry->dtype].bits, &bits) && bits % 8 == 0 &&
           bits / 8 == entry->end - entry->begin;
}

static void wcohi_number_put(wcohi_number_type kind, void *data, size_t index, double value)
{
    if (kind == WCOHI_OF_F64) ((double *)data)[index] = value;
    else if (kind == WCOHI_OF_F32) ((float *)data)[index] = wcohi_narrow(value);
    else if (kind == WCOHI_OF_U32) ((uint32_t *)data)[index] = (uint32_t)value;
    else ((unsigned char *)data)[index] = (unsigned char)value;
}

/* Number `index` of bytes as the file has them. */
static double wcohi_entry_value(const wcohi_entry *entry, const unsigned char *bytes, size_t index)
{
    const wcohi_dtype *dtype = &wcohi_dtypes[entry->dtype];
    size_t width = dtype->bits / 8u, i;
    unsigned char turned[8];
    bytes += index * width;
    if (!entry->turned) return wcohi_decode(dtype, bytes);
    for (i = 0; i < width; i++) turned[i] = bytes[width - 1 - i];
    return wcohi_decode(dtype, turned);
}

/* Numbers first .. first+count-1 in the order of the file. */
static wcoh_result wcohi_decode_run(const wcoh_tensors *t, const wcohi_entry *entry, uint64_t first,
                                    size_t count, wcohi_number_type kind, void *values,
                                    wcoh_error *error)
{
    size_t width = wcohi_dtypes[entry->dtype].bits / 8u, done = 0;
    unsigned char chunk[4096];
    uint64_t at = t->data_at + entry->begin + first * width;
    if (entry->dtype == kind && wcohi_little_endian() && !entry->turned)
        return wcohi_read(&t->io, t->file_size, at, values, count * width, error);
    while (done < count) {
        size_t i, part = WCOHI_MIN(sizeof chunk / width, count - done);
        wcoh_result result = wcohi_read(&t->io, t->file_size, at, chunk, part * width, error);
        if (result) return result;
        for (i = 0; i < part; i++)
            wcohi_number_put(kind, values, done + i, wcohi_entry_value(entry, chunk, i));
        done += part;
        at += part * width;
    }
    return WCOH_OK;
}

/* ---- format: safetensors --------------------------------------------------------------------- */

/* The size n of the header as 8 bytes, little-endian; n bytes of JSON,
   {"__metadata__":{key:text,..},name:{"dtype":"F32","shape":[..],"data_offsets":[begin,end]},..};
   the data, in which the tensors lie without hole or overlap. As in Python's package, blanks may
   stand around the JSON, "__metadata__" may be null, and other members of a tensor are passed
   over. */

static int wcohi_safetensors_sniff(const unsigned char *start, size_t size)
{
    return size >= 8 && wcohi_get_le(start, 8) <= WCOHI_HEADER_MAX;
}

/* Objects and texts behind colons bound the numbers of tensors and of metadata before any memory is
   asked for; so do the fewest bytes that one of each takes. One more each: a broken one to name. */
WCOHI_COLD wcoh_result wcohi_safetensors_count(wcoh_tensors *t, wcoh_error *error)
{
    unsigned char chunk[2048];
    int inside = 0, escaped = 0, colon = 0;
    uint64_t at, objects = 0, texts = 0;
    wcoh_result result = wcohi_read(&t->io, t->file_size, 0, chunk, 8, error);
    if (result) return result;
    t->header_at = 8;
    t->header_size = wcohi_get_le(chunk, 8);
    if ((result = wcohi_header_fits(t, error)) != WCOH_OK) return result;
    for (at = 0; at < t->header_size; at += sizeof chunk) {
        size_t i, size = (size_t)WCOHI_MIN((uint64_t)sizeof chunk, t->header_size - at);
        result = wcohi_read(&t->io, t->file_size, 8 + at, chunk, size, error);
        if (result) return result;
        for (i = 0; i < size; i++) {
            objects += colon && chunk[i] == '{';
            texts += colon && chunk[i] == '"';
            if (chunk[i] == '"' && !escaped) inside = !inside;
            escaped = inside && !escaped && chunk[i] == '\\';
            colon = !inside && (chunk[i] == ':' || (colon && chunk[i] <= ' '));
        }
    }
    t->text_size = (size_t)t->header_size + 1;
    t->entry_limit = (size_t)WCOHI_MIN(objects, t->header_size / 47) + 1;
    t->note_limit = (size_t)WCOHI_MIN(texts, t->header_size / 5) + 1;
    return WCOH_OK;
}

static wcoh_result wcohi_safetensors_dtype(wcohi_json *json, wcohi_entry *entry)
{
    wcohi_slice type;
    wcoh_result result = wcohi_json_string(json, &type);
    int i = 0;
    if (result) return result;
    while (i < WCOHI_DTYPE_OTHER && (strcmp(json->text + type.at, wcohi_dtypes[i].name) != 0 ||
                                     strlen(wcohi_dtypes[i].name) != type.size))
        i++;
    entry->dtype = (unsigned char)i;
    entry->type = type.at;
    return WCOH_OK;
}

static wcoh_result wcohi_safetensors_shape(wcohi_json *json, wcohi_entry *entry)
{
    int count;
    wcoh_result result = wcohi_json_list(json, entry->shape, WCOHI_DIMS_MAX, &count);
    if (result) return result;
    entry->dims = (unsigned char)count;
    if (wcohi_entry_size(entry)) return WCOH_OK;
    return wcohi_json_fail(json, "the product of a shape does not fit 64 bits");
}

static wcoh_result wcohi_safetensors_offsets(wcohi_json *json, wcohi_entry *entry)
{
    uint64_t values[2];
    int count;
    wcoh_result result = wcohi_json_list(json, values, 2, &count);
    if (result) return result;
    if (count != 2) return wcohi_json_fail(json, "data_offsets needs two numbers");
    entry->begin = values[0];
    entry->end = values[1];
    return WCOH_OK;
}

/* One member of a tensor; *seen has a bit for each of the three that count. */
static wcoh_result wcohi_safetensors_member(wcohi_json *json, wcohi_entry *entry, unsigned *seen)
{
    static const char names[3][16] = {"dtype", "shape", "data_offsets"};
    wcohi_slice key;
    wcoh_result result = wcohi_json_key(json, &key);
    unsigned bit = 0;
    if (result) return result;
    while (bit < 3 && strcmp(json->text + key.at, names[bit])) bit++;
    if (bit == 3) return wcohi_json_skip(json, 126); /* the package reads as deep */
    if (*seen >> bit & 1) return wcohi_json_fail(json, "the same key twice");
    *seen |= 1u << bit;
    if (bit == 0) return wcohi_safetensors_dtype(json, entry);
    return bit == 1 ? wcohi_safetensors_shape(json, entry) : wcohi_safetensors_offsets(json, entry);
}

/* {"dtype":..,"shape":..,"data_offsets":..}, and that the three agree. */
static wcoh_result wcohi_safetensors_tensor(wcohi_json *json, wcohi_entry *entry,
                                            uint64_t data_size)
{
    wcoh_result result = wcohi_json_expect(json, '{');
    unsigned seen = 0;
    char shown[64];
    const char *name = wcohi_shown(json->text + entry->name, shown);
    if (result) return result;
    do {
        if ((result = wcohi_safetensors_member(json, entry, &seen)) != WCOH_OK) return result;
    } while (wcohi_json_accept(json, ','));
    if ((result = wcohi_json_expect(json, '}')) != WCOH_OK) return result;
    if (seen != 7) return wcohi_json_fail(json, "a tensor needs dtype, shape and data_offsets");
    if (entry->end < entry->begin)
        return wcohi_fail(json->error, WCOH_E_FORMAT, "%s: its data end before they begin", name);
    if (entry->end > data_size)
        return wcohi_fail(json->error, WCOH_E_FORMAT,
                          "%s: its data end at byte %llu of %llu (the file may be cut short)", name,
                          (unsigned long long)entry->end, (unsigned long long)data_size);
    if (wcohi_entry_fills(entry)) return WCOH_OK;
    return wcohi_fail(json->error, WCOH_E_FORMAT, "%s: shape and type do not give its %llu bytes",
                      name, (unsigned long long)(entry->end - entry->begin));
}

/* The place of the digits is known if no escape stands among them. */
static wcoh_result wcohi_safetensors_checksum(const wcohi_json *json, wcoh_tensors *t,
                                              const wcohi_slice *value)
{
    if (value->size != WCOHI_HASH_DIGITS || json->at - value->at != WCOHI_HASH_DIGITS + 1)
        return wcohi_json_fail(json, "wavecoh.checksum needs 16 hexadecimal digits");
    t->digits_at = t->header_at + (uint64_t)value->at;
    memcpy(t->digits, t->text + value->at, sizeof t->digits);
    return WCOH_OK;
}

/* {"key":"text",..} or null */
static wcoh_result wcohi_safetensors_notes(wcohi_json *json, wcoh_tensors *t)
{
    wcoh_result result;
    if (wcohi_json_peek(json) == 'n') return wcohi_json_word(json);
    result = wcohi_json_expect(json, '{');
    if (result || wcohi_json_accept(json, '}')) return result;
    do {
        wcohi_note *note = &t->notes[t->note_count];
        if (t->note_count == t->note_limit) return wcohi_json_fail(json, "the file has changed");
        if ((result = wcohi_json_key(json, &note->key)) != WCOH_OK) return result;
        if ((result = wcohi_json_string(json, &note->value)) != WCOH_OK) return result;
        t->note_count++;
        if (strcmp(t->text + note->key.at, wcohi_checksum_key) == 0)
            result = wcohi_safetensors_checksum(json, t, &note->value);
        if (result) return result;
    } while (wcohi_json_accept(json, ','));
    return wcohi_json_expect(json, '}');
}

/* A member of the header; *metadata counts the __metadata__. */
static wcoh_result wcohi_safetensors_entry(wcohi_json *json, wcoh_tensors *t, int *metadata)
{
    wcohi_entry *entry = &t->entries[t->entry_count];
    wcohi_slice key;
    wcoh_result result = wcohi_json_key(json, &key);
    if (result) return result;
    if (strcmp(json->text + key.at, "__metadata__") == 0) {
        if ((*metadata)++) return wcohi_json_fail(json, "__metadata__ twice");
        return wcohi_safetensors_notes(json, t);
    }
    if (t->entry_count == t->entry_limit) return wcohi_json_fail(json, "too many tensors");
    memset(entry, 0, sizeof *entry);
    entry->name = key.at;
    t->entry_count++;
    return wcohi_safetensors_tensor(json, entry, t->file_size - t->data_at);
}

WCOHI_COLD wcoh_result wcohi_safetensors_parse(wcoh_tensors *t, wcoh_error *error)
{
    wcohi_json json = {t->text, (size_t)t->header_size, 0, error};
    int metadata = 0;
    wcoh_result result = wcohi_json_expect(&json, '{');
    if (result) return result;
    if (!wcohi_json_accept(&json, '}')) {
        do {
            result = wcohi_safetensors_entry(&json, t, &metadata);
            if (result) return result;
        } while (wcohi_json_accept(&json, ','));
        if ((result = wcohi_json_expect(&json, '}')) != WCOH_OK) return result;
    }
    if (wcohi_json_peek(&json) || json.at < json.size)
        return wcohi_json_fail(&json, "something after the end of the header");
    return WCOH_OK;
}

/* ---- format: npy ----------------------------------------------------------------------------- */

/* NumPy's file of one array: "\x93NUMPY", version major and minor, the header's size (2 bytes in
   version 1, 4 in 2 and 3), the header, a Python dict {'descr': '<f4', 'fortran_order': False,
   'shape': (3, 4), } with blanks behind it, then the numbers. It is a file of one tensor, whose
   name is "array". */
static const char wcohi_npy_name[] = "array";

static int wcohi_npy_sniff(const unsigned char *start, size_t size)
{
    return size >= 8 && memcmp(start, "\223NUMPY", 6) == 0;
}

WCOHI_COLD wcoh_result wcohi_npy_count(wcoh_tensors *t, wcoh_error *error)
{
    unsigned char head[12];
    int wide;
    wcoh_result result = wcohi_read(&t->io, t->file_size, 0, head, 10, error);
    if (result) return result;
    if (head[6] < 1 || head[6] > 3)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "npy: version %d, 1 to 3 are read", head[6]);
    wide = head[6] > 1;
    if (wide) result = wcohi_read(&t->io, t->file_size, 0, head, 12, error);
    if (result) return result;
    t->header_at = wide ? 12 : 10;
    t->header_size = wcohi_get_le(head + 8, wide ? 4 : 2);
    t->text_size = (size_t)WCOHI_MIN(t->header_size, WCOHI_HEADER_MAX) + 1 + sizeof wcohi_npy_name;
    t->entry_limit = 1;
    return wcohi_header_fits(t, error);
}

static wcoh_result wcohi_npy_fail(const wcohi_json *text, const char *what)
{
    return wcohi_fail(text->error, WCOH_E_FORMAT, "npy header: %s", what);
}

/* 'text' or "text" without escapes; ends with a zero where its quote was. */
static wcoh_result wcohi_npy_word(wcohi_json *text, uint32_t *word)
{
    char quote = wcohi_json_peek(text);
    char *end;
    if (quote != '\'' && quote != '"') return wcohi_npy_fail(text, "a quoted word is missing");
    *word = (uint32_t)++text->at;
    end = (char *)memchr(text->text + text->at, quote, text->size - text->at);
    if (!end) return wcohi_npy_fail(text, "a quote is not closed");
    *end = 0;
    text->at = (size_t)(end - text->text) + 1;
    return WCOH_OK;
}

/* A record type, [('a','<f4'),..] or ('<f4',(3,)): shown, not read. It is moved one byte to the
   front, to make room for the zero at its end. */
static wcoh_result wcohi_npy_record(wcohi_json *text, uint32_t *word)
{
    size_t start = text->at, depth = 0;
    char quote = 0;
    do {
        char c = text->at < text->size ? text->text[text->at++] : (char)0;
        if (!c) return wcohi_npy_fail(text, "a record type does not end");
        if (quote) {
            quote = c == quote ? (char)0 : quote;
            continue;
        }
        if (c == '\'' || c == '"') quote = c;
        depth += c == '[' || c == '(';
        depth -= c == ']' || c == ')';
    } while (depth > 0);
    *word = (uint32_t)start - 1;
    memmove(text->text + start - 1, text->text + start, text->at - start);
    text->text[text->at - 1] = 0;
    return WCOH_OK;
}

/* '<f4' and its like: byte order (none: this machine's), kind, bytes. */
static wcoh_result wcohi_npy_dtype(wcohi_json *text, wcohi_entry *entry)
{
    char first = wcohi_json_peek(text);
    const char *type;
    int i = 0;
    wcoh_result result = first == '[' || first == '(' ? wcohi_npy_record(text, &entry->type)
                                                      : wcohi_npy_word(text, &entry->type);
    if (result) return result;
    type = text->text + entry->type;
    first = *type;
    if (first && strchr("<>=|", first)) type++;
    while (i < WCOHI_DTYPE_OTHER && (!*type || strcmp(type, wcohi_dtypes[i].npy) != 0)) i++;
    entry->dtype = (unsigned char)i;
    entry->turned = first == '>' || (first != '<' && !wcohi_little_endian());
    return WCOH_OK;
}

static wcoh_result wcohi_npy_order(wcohi_json *text, wcohi_entry *entry)
{
    static const char words[2][6] = {"False", "True"};
    int i;
    wcohi_json_peek(text);
    for (i = 0; i < 2; i++) {
        size_t length = strlen(words[i]);
        if (text->size - text->at < length) continue;
        if (memcmp(text->text + text->at, words[i], length) != 0) continue;
        text->at += length;
        entry->fortran = (unsigned char)i;
        return WCOH_OK;
    }
    return wcohi_npy_fail(text, "fortran_order is neither True nor False");
}

/* (), (3,) or (3, 4); Python 2 wrote (3L, 4L). */
static wcoh_result wcohi_npy_shape(wcohi_json *text, wcohi_entry *entry)
{
    int comma = 0;
    if (!wcohi_json_accept(text, '(')) return wcohi_npy_fail(text, "shape is not a tuple");
    while (!wcohi_json_accept(text, ')')) {
        if (entry->dims > 0 && !comma) return wcohi_npy_fail(text, "shape is not closed");
        if (entry->dims == WCOHI_DIMS_MAX) return wcohi_npy_fail(text, "more than 8 dimensions");
        if (wcohi_digit(wcohi_json_peek(text)) > 9)
            return wcohi_npy_fail(text, "a side is not a number");
        if (wcohi_json_u64(text, &entry->shape[entry->dims]))
            return wcohi_npy_fail(text, "a side is too large");
        entry->dims++;
        wcohi_json_accept(text, 'L');
        comma = wcohi_json_accept(text, ',');
    }
    if (entry->dims == 1 && !comma) return wcohi_npy_fail(text, "shape is not a tuple");
    return WCOH_OK;
}

/* One key and its value; *seen has a bit for each of the three. */
static wcoh_result wcohi_npy_member(wcohi_json *text, wcohi_entry *entry, unsigned *seen)
{
    static const char names[3][16] = {"descr", "fortran_order", "shape"};
    uint32_t key;
    unsigned bit = 0;
    wcoh_result result = wcohi_npy_word(text, &key);
    if (result) return result;
    if (!wcohi_json_accept(text, ':')) return wcohi_npy_fail(text, "a colon is missing");
    while (bit < 3 && strcmp(text->text + key, names[bit])) bit++;
    if (bit == 3 || *seen >> bit & 1)
        return wcohi_npy_fail(text, "a key is unknown or stands twice");
    *seen |= 1u << bit;
    if (bit == 0) return wcohi_npy_dtype(text, entry);
    return bit == 1 ? wcohi_npy_order(text, entry) : wcohi_npy_shape(text, entry);
}

static wcoh_result wcohi_npy_dict(wcohi_json *text, wcohi_entry *entry)
{
    unsigned seen = 0;
    wcoh_result result;
    if (strlen(text->text) != text->size) return wcohi_npy_fail(text, "a zero stands in it");
    if (!wcohi_json_accept(text, '{')) return wcohi_npy_fail(text, "it is not a dict");
    while (!wcohi_json_accept(text, '}')) {
        if ((result = wcohi_npy_member(text, entry, &seen)) != WCOH_OK) return result;
        if (wcohi_json_accept(text, ',')) continue;
        if (!wcohi_json_accept(text, '}')) return wcohi_npy_fail(text, "the dict is not closed");
        break;
    }
    if (wcohi_json_peek(text)) return wcohi_npy_fail(text, "text stands behind the dict");
    return seen == 7 ? WCOH_OK
                     : wcohi_npy_fail(text, "descr, fortran_order or shape is missing");
}

WCOHI_COLD wcoh_result wcohi_npy_parse(wcoh_tensors *t, wcoh_error *error)
{
    wcohi_json text = {t->text, (size_t)t->header_size, 0, error};
    wcohi_entry *entry = t->entries;
    wcoh_result result;
    memset(entry, 0, sizeof *entry);
    if ((result = wcohi_npy_dict(&text, entry)) != WCOH_OK) return result;
    entry->name = (uint32_t)t->header_size + 1;
    strcpy(t->text + entry->name, wcohi_npy_name);
    t->entry_count = 1;
    entry->end = t->file_size - t->data_at;
    if (!wcohi_entry_size(entry))
        return wcohi_fail(error, WCOH_E_FORMAT, "npy: the shape overflows");
    if (wcohi_entry_fills(entry)) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_FORMAT, "npy: the shape needs other than the %llu bytes there",
                      (unsigned long long)entry->end);
}

/* Number `at` of an array counted with one end's index fastest -> the same with the other's;
   `fortran`: `at` counts with the first index fastest. */
static uint64_t wcohi_npy_place(const wcohi_entry *entry, uint64_t at, int fortran)
{
    uint64_t place = 0, index[WCOHI_DIMS_MAX];
    int i, k, dims = entry->dims;
    for (i = 0; i < dims; i++) {
        k = fortran ? i : dims - 1 - i;
        index[k] = at % entry->shape[k];
        at /= entry->shape[k];
    }
    for (i = 0; i < dims; i++) {
        k = fortran ? i : dims - 1 - i;
        place = place * entry->shape[k] + index[k];
    }
    return place;
}

/* The first index fastest: few numbers are fetched one by one, many by going once through all. */
static wcoh_result wcohi_npy_decode(const wcoh_tensors *t, const wcohi_entry *entry, uint64_t first,
                                    size_t count, wcohi_number_type kind, void *values,
                                    wcoh_error *error)
{
    size_t size = wcohi_number_size(kind), i, part;
    double chunk[512]; /* room for numbers of every kind */
    uint64_t at;
    wcoh_result result;
    if (!entry->fortran || entry->dims < 2)
        return wcohi_decode_run(t, entry, first, count, kind, values, error);
    if (count < entry->count / 64) {
        for (i = 0; i < count; i++) {
            at = wcohi_npy_place(entry, first + i, 0);
            result = wcohi_decode_run(t, entry, at, 1, kind, (char *)values + i * size, error);
            if (result) return result;
        }
        return WCOH_OK;
    }
    for (at = 0; at < entry->count; at += part) {
        part = (size_t)WCOHI_MIN((uint64_t)512, entry->count - at);
        result = wcohi_decode_run(t, entry, at, part, kind, chunk, error);
        if (result) return result;
        for (i = 0; i < part; i++) {
            uint64_t place = wcohi_npy_place(entry, at + i, 1);
            if (place >= first && place - first < count)
                memcpy((char *)values + (size_t)(place - first) * size, (char *)chunk + i * size,
                       size);
        }
    }
    return WCOH_OK;
}

/* ---- the formats ----------------------------------------------------------------------------- */

static const wcohi_format wcohi_formats[] = {
    {"npy", wcohi_npy_sniff, wcohi_npy_count, wcohi_npy_parse, wcohi_npy_decode},
    {"safetensors", wcohi_safetensors_sniff, wcohi_safetensors_count, wcohi_safetensors_parse,
     wcohi_decode_run},
};

/* Which of them the file is; its size is known. */
static wcoh_result wcohi_tensors_sniff(wcoh_tensors *t, wcoh_error *error)
{
    unsigned char start[16];
    size_t size;
    int i;
    char names[80] = "";
    wcoh_result result;
    if (t->io.size(t->io.user, &t->file_size))
        return wcohi_fail(error, WCOH_E_IO, "the size of the file cannot be read");
    if (t->file_size < 10)
        return wcohi_fail(error, WCOH_E_FORMAT, "not a file of tensors: it has only %llu bytes",
                          (unsigned long long)t->file_size);
    size = (size_t)WCOHI_MIN(t->file_size, (uint64_t)sizeof start);
    if ((result = wcohi_read(&t->io, t->file_size, 0, start, size, error)) != WCOH_OK) return result;
    for (i = 0; i < WCOHI_COUNT(wcohi_formats); i++) {
        t->format = &wcohi_formats[i];
        if (t->format->sniff(start, size)) return WCOH_OK;
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                 t->format->name);
    }
    return wcohi_fail(error, WCOH_E_FORMAT, "not a file of tensors: it begins like none of %s",
                      names);
}

static wcoh_tensors *wcohi_tensors_layout(wcohi_arena *arena, const wcoh_tensors *from)
{
    wcoh_tensors *t = WCOHI_TAKE(arena, 1, wcoh_tensors);
    char *text = WCOHI_TAKE(arena, from->text_size, char);
    wcohi_entry *entries = WCOHI_TAKE(arena, from->entry_limit, wcohi_entry);
    uint32_t *by_name = WCOHI_TAKE(arena, from->entry_limit, uint32_t);
    wcohi_note *notes = WCOHI_TAKE(arena, from->note_limit, wcohi_note);
    unsigned char *wanted = WCOHI_TAKE(arena, from->entry_limit, unsigned char);
    if (!t) return NULL;
    *t = *from;
    t->text = text;
    t->entries = entries;
    t->by_name = by_name;
    t->notes = notes;
    t->wanted = wanted;
    return t;
}

static int wcohi_order_data(const void *a, const void *b, const wcoh_tensors *t)
{
    const wcohi_entry *x = (const wcohi_entry *)a, *y = (const wcohi_entry *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(t->text + x->name, t->text + y->name);
}

static int wcohi_order_names(const void *a, const void *b, const wcoh_tensors *t)
{
    return strcmp(wcohi_entry_name(t, *(const uint32_t *)a),
                  wcohi_entry_name(t, *(const uint32_t *)b));
}

static int wcohi_order_notes(const void *a, const void *b, const wcoh_tensors *t)
{
    return strcmp(t->text + ((const wcohi_note *)a)->key.at,
                  t->text + ((const wcohi_note *)b)->key.at);
}

/* Sort the tables; no name twice, no key twice, and the data without hole or overlap. */
static wcoh_result wcohi_header_check(wcoh_tensors *t, wcoh_error *error)
{
    uint64_t end = 0;
    size_t i;
    char shown[64];
    wcohi_sort(t->entries, t->entry_count, sizeof *t->entries, wcohi_order_data, t);
    wcohi_sort(t->notes, t->note_count, sizeof *t->notes, wcohi_order_notes, t);
    for (i = 0; i < t->entry_count; i++) t->by_name[i] = (uint32_t)i;
    wcohi_sort(t->by_name, t->entry_count, sizeof *t->by_name, wcohi_order_names, t);
    for (i = 1; i < t->entry_count; i++)
        if (wcohi_order_names(&t->by_name[i - 1], &t->by_name[i], t) == 0)
            return wcohi_fail(error, WCOH_E_FORMAT, "two tensors are named %s",
                              wcohi_shown(wcohi_entry_name(t, t->by_name[i]), shown));
    for (i = 1; i < t->note_count; i++)
        if (wcohi_order_notes(&t->notes[i - 1], &t->notes[i], t) == 0)
            return wcohi_fail(error, WCOH_E_FORMAT, "the metadata have %s twice",
                              wcohi_shown(t->text + t->notes[i].key.at, shown));
    for (i = 0; i < t->entry_count; i++) {
        if (t->entries[i].begin != end)
            return wcohi_fail(error, WCOH_E_FORMAT, "%s: its data %s",
                              wcohi_shown(wcohi_entry_name(t, i), shown),
                              t->entries[i].begin < end ? "overlap those of another tensor"
                                                        : "begin behind a hole");
        end = t->entries[i].end;
    }
    if (end != t->file_size - t->data_at)
        return wcohi_fail(error, WCOH_E_FORMAT, "%llu bytes at the end belong to no tensor",
                          (unsigned long long)(t->file_size - t->data_at - end));
    return WCOH_OK;
}

/* The checksum is XXH64 of the whole file with its own 16 digits taken as '0'. */
static wcoh_result wcohi_checksum_verify(const wcoh_tensors *t, wcoh_error *error)
{
    unsigned char chunk[4096];
    char digits[WCOHI_HASH_DIGITS + 1];
    wcohi_hash hash;
    uint64_t at, i, digits_end = t->digits_at + WCOHI_HASH_DIGITS;
    if (!t->digits_at) return WCOH_OK;
    wcohi_hash_start(&hash);
    for (at = 0; at < t->file_size; at += sizeof chunk) {
        size_t size = (size_t)WCOHI_MIN((uint64_t)sizeof chunk, t->file_size - at);
        wcoh_result result = wcohi_read(&t->io, t->file_size, at, chunk, size, error);
        if (result) return result;
        for (i = WCOHI_MAX(at, t->digits_at); i < WCOHI_MIN(at + size, digits_end); i++)
            chunk[i - at] = '0';
        wcohi_hash_add(&hash, chunk, size);
    }
    wcohi_hash_text(wcohi_hash_end(&hash), digits);
    if (memcmp(digits, t->digits, WCOHI_HASH_DIGITS) == 0) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_FORMAT,
                      "the file is damaged: its checksum is %s, it should be %s (if you edited it, "
                      "remove the metadata key %s)",
                      digits, t->digits, wcohi_checksum_key);
}

/* `verify`: read the whole file once for its checksum, if it has one. */
WCOHI_COLD wcoh_result wcohi_tensors_open(wcoh_tensors **tensors, const wcoh_io *io,
                                          const wcoh_memory *memory, int verify, wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_tensors head, *t;
    wcoh_result result;
    *tensors = NULL;
    memset(&head, 0, sizeof head);
    head.io = *io;
    if ((result = wcohi_tensors_sniff(&head, error)) != WCOH_OK) return result;
    if ((result = head.format->count(&head, error)) != WCOH_OK) return result;
    head.data_at = head.header_at + head.header_size;
    wcohi_tensors_layout(&arena, &head);
    result =
        wcohi_allocation_take(&block, &arena, memory, arena.used, "the header of a file", error);
    if (result) return result;
    t = wcohi_tensors_layout(&arena, &head);
    t->block = block;
    t->text[t->header_size] = 0;
    result = wcohi_read(io, t->file_size, t->header_at, t->text, (size_t)t->header_size, error);
    if (!result) result = t->format->parse(t, error);
    if (!result) result = wcohi_header_check(t, error);
    if (!result && verify) result = wcohi_checksum_verify(t, error);
    if (result) wcohi_allocation_give(&block);
    else *tensors = t;
    return result;
}

WCOHI_COLD wcoh_result wcohi_readable(const wcoh_io *io, wcoh_error *error)
{
    if (io && io->size && io->read) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "io needs size and read");
}

WCOH_API wcoh_result wcoh_tensors_open(wcoh_tensors **tensors, const wcoh_io *io,
                                       const wcoh_memory *memory, wcoh_error *error)
{
    wcoh_result result;
    if (!tensors) return wcohi_null("tensors", error);
    *tensors = NULL;
    if ((result = wcohi_readable(io, error)) != WCOH_OK) return result;
    return wcohi_tensors_open(tensors, io, memory, 1, error);
}

WCOH_API void wcoh_tensors_close(wcoh_tensors *tensors)
{
    if (!tensors) return;
#ifndef WAVECOH_NO_STDIO
    if (tensors->path.system)
        tensors->path.system->close(tensors->path.system->user, tensors->path.handle);
#endif
    wcohi_allocation_give(&tensors->block);
}

WCOH_API int wcoh_tensors_count(const wcoh_tensors *tensors)
{
    return tensors ? (int)tensors->entry_count : 0;
}

static wcoh_result wcohi_tensors_index(const wcoh_tensors *t, int index, wcoh_error *error)
{
    if (!t) return wcohi_null("tensors", error);
    if (index >= 0 && (size_t)index < t->entry_count) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "tensor %d: the file has %d", index,
                      (int)t->entry_count);
}

WCOH_API wcoh_result wcoh_tensors_info(const wcoh_tensors *tensors, int index,
                                       wcoh_tensor_info *info, wcoh_error *error)
{
    wcoh_result result = wcohi_tensors_index(tensors, index, error);
    const wcohi_entry *entry;
    const wcohi_dtype *dtype;
    if (result) return result;
    if (!info) return wcohi_null("info", error);
    entry = &tensors->entries[index];
    dtype = &wcohi_dtypes[entry->dtype];
    memset(info, 0, sizeof *info);
    info->name = tensors->text + entry->name;
    wcohi_shown_in(*dtype->name ? dtype->name : tensors->text + entry->type, info->dtype,
                   sizeof info->dtype);
    info->count = entry->count;
    info->dims = entry->dims;
    memcpy(info->shape, entry->shape, sizeof entry->shape);
    return WCOH_OK;
}

WCOH_API int wcoh_tensors_find(const wcoh_tensors *tensors, const char *name)
{
    size_t low = 0, high = tensors && name ? tensors->entry_count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(wcohi_entry_name(tensors, tensors->by_name[middle]), name);
        if (order == 0) return (int)tensors->by_name[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

/* The value of a key and its size (a value may hold zero characters), or NULL. */
static const char *wcohi_tensors_note(const wcoh_tensors *t, const char *key, size_t *size)
{
    size_t low = 0, high = t->note_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const wcohi_note *note = &t->notes[middle];
        int order = strcmp(t->text + note->key.at, key);
        if (order == 0) {
            if (size) *size = note->value.size;
            return t->text + note->value.at;
        }
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

WCOH_API const char *wcoh_tensors_metadata(const wcoh_tensors *tensors, const char *key)
{
    return tensors && key ? wcohi_tensors_note(tensors, key, NULL) : NULL;
}

/* Numbers first .. first+count-1 as `kind`. Integers are read from their own type alone. */
static wcoh_result wcohi_tensors_fetch(const wcoh_tensors *t, int index, uint64_t first,
                                       size_t count, wcohi_number_type kind, void *values,
                                       wcoh_error *error)
{
    const wcohi_entry *entry = &t->entries[index];
    char shown[64], shown_type[64];
    const char *name = wcohi_shown(wcohi_entry_name(t, (size_t)index), shown);
    if (first > entry->count || count > entry->count - first)
        return wcohi_fail(
            error, WCOH_E_ARGUMENT, "%s has %llu numbers: %llu from %llu on are asked for", name,
            (unsigned long long)entry->count, (unsigned long long)count, (unsigned long long)first);
    if (wcohi_dtypes[entry->dtype].number == WCOHI_NUMBER_OPAQUE ||
        (kind >= WCOHI_OF_U32 && entry->dtype != kind))
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "%s: numbers of type %s cannot be read as %s",
                          name, wcohi_shown(t->text + entry->type, shown_type),
                          wcohi_dtypes[kind].name);
    return t->format->decode(t, entry, first, count, kind, values, error);
}

WCOH_API wcoh_result wcoh_tensors_read(const wcoh_tensors *tensors, int index, uint64_t first,
                                       size_t count, float *values, wcoh_error *error)
{
    wcoh_result result = wcohi_tensors_index(tensors, index, error);
    if (result) return result;
    if (!values && count > 0) return wcohi_null("values", error);
    return wcohi_tensors_fetch(tensors, index, first, count, WCOHI_OF_F32, values, error);
}

/* ======== 2 ground: writing files ============================================================= */

/* ---- writing a safetensors file -------------------------------------------------------------- */

/* One tensor in memory, to be written or to be read into. Every value must lie in minimum ..
   maximum (never infinite or NaN); `limit` says what that range is, for the sentence. */
typedef struct wcohi_file_tensor {
    char name[80];
    wcohi_number_type kind;
    int dims; /* 0..3 */
    size_t shape[3], count;
    void *data;
    double minimum, maximum;
    const char *limit; /* NULL: the value must be finite */
    /* NULL, or looks at (and may mend) what was read of tensor `index`. */
    int (*accept)(void *data, const void *object, int index);
} wcohi_file_tensor;

/* Where the bytes of a file go: counted, hashed if `hash`, written if `io`. */
typedef struct wcohi_sink {
    const wcoh_io *io;
    wcohi_hash *hash;
    uint64_t bytes;
    int failed;
    size_t used;
    unsigned char buffer[4096];
} wcohi_sink;

/* What a file holds: `count` tensors and a function that puts the metadata (wcohi_put_note). What
   was read is copied to the tensor's data, or handed to `put` where that is set (a device). */
typedef struct wcohi_contents {
    const void *object;
    int count;
    void (*tensor)(const void *object, int index, wcohi_file_tensor *tensor);
    void (*notes)(const void *object, wcohi_sink *sink);
    wcoh_result (*put)(const void *object, int index, const void *data, wcoh_error *error);
} wcohi_contents;

static void wcohi_tensor_init(wcohi_file_tensor *tensor, wcohi_number_type kind, void *data,
                              size_t count)
{
    memset(tensor, 0, sizeof *tensor);
    tensor->kind = kind;
    tensor->dims = 1;
    tensor->shape[0] = tensor->count = count;
    tensor->data = data;
    tensor->maximum = kind == WCOHI_OF_F64 ? DBL_MAX : (double)FLT_MAX;
    if (kind == WCOHI_OF_U32) tensor->maximum = 4294967295.0;
    if (kind == WCOHI_OF_U8) tensor->maximum = 255;
    tensor->minimum = kind >= WCOHI_OF_U32 ? 0 : -tensor->maximum;
}

/* Large files are mostly numbers that need only be finite: a loop that compilers make fast. */
static int wcohi_all_finite(wcohi_number_type kind, const void *data, size_t count)
{
    const unsigned char *bytes = (const unsigned char *)data;
    uint32_t word, largest = 0;
    size_t i;
    if (kind != WCOHI_OF_F32) return 0; /* not known */
    for (i = 0; i < count; i++, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        word &= 0x7fffffffu;
        largest = word > largest ? word : largest;
    }
    return largest < 0x7f800000u;
}

static wcoh_result wcohi_tensor_check(const wcohi_file_tensor *tensor, const void *data,
                                      wcoh_result code, wcoh_error *error)
{
    size_t i;
    char text[40];
    if (!tensor->limit && wcohi_all_finite(tensor->kind, data, tensor->count)) return WCOH_OK;
    for (i = 0; i < tensor->count; i++) {
        double value = wcohi_number_value(tensor->kind, data, i);
        if (wcohi_is_finite(value) && value >= tensor->minimum && value <= tensor->maximum)
            continue;
        return wcohi_fail(error, code, "%s: number %llu is %s, it must be %s", tensor->name,
                          (unsigned long long)i, wcohi_format_real(value, text),
                          tensor->limit ? tensor->limit : "finite");
    }
    return WCOH_OK;
}

static void wcohi_sink_flush(wcohi_sink *sink)
{
    if (!sink->failed && sink->used > 0)
        sink->failed = sink->io->write(sink->io->user, sink->buffer, sink->used) != 0;
    sink->used = 0;
}

static void wcohi_put(wcohi_sink *sink, const void *data, size_t size)
{
    sink->bytes += size;
    if (sink->hash) wcohi_hash_add(sink->hash, data, size);
    if (!sink->io || sink->failed) return;
    if (size > sizeof sink->buffer - sink->used) wcohi_sink_flush(sink);
    if (size > sizeof sink->buffer) {
        if (!sink->failed) sink->failed = sink->io->write(sink->io->user, data, size) != 0;
        return;
    }
    memcpy(sink->buffer + sink->used, data, size);
    sink->used += size;
}

static void wcohi_put_text(wcohi_sink *sink, const char *text)
{
    wcohi_put(sink, text, strlen(text));
}

static void wcohi_put_u64(wcohi_sink *sink, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    wcohi_put_text(sink, text);
}

/* A JSON string of UTF-8 text [size]. */
static void wcohi_put_string(wcohi_sink *sink, const char *text, size_t size)
{
    size_t i;
    char escape[8];
    wcohi_put(sink, "\"", 1);
    for (i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            wcohi_put(sink, escape, 6);
        } else {
            if (c == '"' || c == '\\') wcohi_put(sink, "\\", 1);
            wcohi_put(sink, text + i, 1);
        }
    }
    wcohi_put(sink, "\"", 1);
}

/* One more key and value of the metadata; the checksum stands before all others. */
WCOHI_COLD void wcohi_put_note(wcohi_sink *sink, const char *key, const char *value, size_t size)
{
    wcohi_put(sink, ",", 1);
    wcohi_put_string(sink, key, strlen(key));
    wcohi_put(sink, ":", 1);
    wcohi_put_string(sink, value, size);
}

static void wcohi_put_tensor_head(wcohi_sink *sink, const wcohi_file_tensor *tensor, uint64_t *at)
{
    int i;
    wcohi_put(sink, ",", 1);
    wcohi_put_string(sink, tensor->name, strlen(tensor->name));
    wcohi_put_text(sink, ":{\"dtype\":\"");
    wcohi_put_text(sink, wcohi_dtypes[tensor->kind].name);
    wcohi_put_text(sink, "\",\"shape\":[");
    for (i = 0; i < tensor->dims; i++) {
        if (i) wcohi_put(sink, ",", 1);
        wcohi_put_u64(sink, tensor->shape[i]);
    }
    wcohi_put_text(sink, "],\"data_offsets\":[");
    wcohi_put_u64(sink, *at);
    wcohi_put(sink, ",", 1);
    *at += (uint64_t)tensor->count * wcohi_number_size(tensor->kind);
    wcohi_put_u64(sink, *at);
    wcohi_put_text(sink, "]}");
}

static void wcohi_put_tensor_data(wcohi_sink *sink, const wcohi_file_tensor *tensor)
{
    size_t i, size = wcohi_number_size(tensor->kind), k;
    const unsigned char *from = (const unsigned char *)tensor->data;
    if (wcohi_little_endian() || size == 1) {
        wcohi_put(sink, from, tensor->count * size);
        return;
    }
    for (i = 0; i < tensor->count; i++, from += size) {
        unsigned char turned[8];
        for (k = 0; k < size; k++) turned[k] = from[size - 1 - k];
        wcohi_put(sink, turned, size);
    }
}

/* Walk the tensors, widest numbers first, so that each lies on a multiple of its size. */
static void wcohi_put_tensors(wcohi_sink *sink, const wcohi_contents *contents, int data)
{
    size_t width;
    uint64_t at = 0;
    int i;
    wcohi_file_tensor tensor;
    for (width = 8; width > 0; width /= 2)
        for (i = 0; i < contents->count; i++) {
            contents->tensor(contents->object, i, &tensor);
            if (wcohi_number_size(tensor.kind) != width) continue;
            if (data) wcohi_put_tensor_data(sink, &tensor);
            else wcohi_put_tensor_head(sink, &tensor, &at);
        }
}

/* The JSON of the header, without the spaces that fill it up to a multiple of 8. */
static void wcohi_put_header(wcohi_sink *sink, const wcohi_contents *contents, const char *digits)
{
    wcohi_put_text(sink, "{\"__metadata__\":{\"");
    wcohi_put_text(sink, wcohi_checksum_key);
    wcohi_put_text(sink, "\":\"");
    wcohi_put_text(sink, digits);
    wcohi_put_text(sink, "\"");
    contents->notes(contents->object, sink);
    wcohi_put_text(sink, "}");
    wcohi_put_tensors(sink, contents, 0);
    wcohi_put_text(sink, "}");
}

static uint64_t wcohi_contents_header(const wcohi_contents *contents)
{
    wcohi_sink sink;
    memset(&sink, 0, sizeof sink);
    wcohi_put_header(&sink, contents, "0000000000000000");
    return sink.bytes;
}

/* Bytes of the file, 0 if they do not fit a size_t. */
static size_t wcohi_contents_size(const wcohi_contents *contents)
{
    uint64_t bytes = 8 + (wcohi_contents_header(contents) + 7) / 8 * 8;
    wcohi_file_tensor tensor;
    int i;
    for (i = 0; i < contents->count; i++) {
        contents->tensor(contents->object, i, &tensor);
        bytes += (uint64_t)tensor.count * wcohi_number_size(tensor.kind);
    }
    return bytes < WCOHI_SIZE_BAD ? (size_t)bytes : 0;
}

static void wcohi_put_file(wcohi_sink *sink, const wcohi_contents *contents, uint64_t header,
                           const char *digits)
{
    unsigned char size[8];
    wcohi_put_le(size, (header + 7) / 8 * 8, 8);
    wcohi_put(sink, size, 8);
    wcohi_put_header(sink, contents, digits);
    wcohi_put(sink, "       ", (size_t)(7 - (header + 7) % 8));
    wcohi_put_tensors(sink, contents, 1);
}

static wcoh_result wcohi_save_parts(const wcoh_io *io, const wcohi_contents *contents,
                                    wcoh_error *error)
{
    uint64_t header = wcohi_contents_header(contents);
    char digits[WCOHI_HASH_DIGITS + 1];
    wcohi_hash hash;
    wcohi_sink sink;
    wcohi_file_tensor tensor;
    int i;
    if (header + 7 > WCOHI_HEADER_MAX)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "the header would take %llu bytes",
                          (unsigned long long)header);
    for (i = 0; i < contents->count; i++) { /* never replace a good file by one that cannot load */
        wcoh_result result;
        contents->tensor(contents->object, i, &tensor);
        result = wcohi_tensor_check(&tensor, tensor.data, WCOH_E_NUMERIC, error);
        if (result) return result;
    }
    memset(&sink, 0, sizeof sink);
    sink.hash = &hash;
    wcohi_hash_start(&hash);
    wcohi_put_file(&sink, contents, header, "0000000000000000");
    wcohi_hash_text(wcohi_hash_end(&hash), digits);
    memset(&sink, 0, sizeof sink);
    sink.io = io;
    wcohi_put_file(&sink, contents, header, digits);
    wcohi_sink_flush(&sink);
    if (!sink.failed) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_IO, "writing the file failed");
}

/* Write a whole file; finish is called once, whatever happens. */
WCOHI_COLD wcoh_result wcohi_save(const wcoh_io *io, const wcohi_contents *contents,
                                  wcoh_error *error)
{
    wcoh_result result = wcohi_save_parts(io, contents, error);
    if (io->finish && io->finish(io->user, result == WCOH_OK) && !result)
        result = wcohi_fail(error, WCOH_E_IO, "the file could not be completed");
    return result;
}

WCOHI_COLD wcoh_result wcohi_writable(const wcoh_io *io, wcoh_error *error)
{
    if (io && io->write) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "io needs write");
}

/* ---- reading a list of tensors, all or none -------------------------------------------------- */

/* Entry `*index` of the file is what `tensor` expects. One number may have any shape of ones. */
static wcoh_result wcohi_load_match(const wcoh_tensors *t, const wcohi_file_tensor *tensor,
                                    int *index, wcoh_error *error)
{
    wcoh_tensor_info info;
    const wcohi_dtype *dtype;
    char found[64] = "", expected[64] = "";
    size_t used = 0, used_expected = 0;
    int i, same;
    *index = wcoh_tensors_find(t, tensor->name);
    if (*index < 0)
        return wcohi_fail(error, WCOH_E_MISMATCH, "%s is not in the file", tensor->name);
    wcoh_tensors_info(t, *index, &info, NULL);
    dtype = &wcohi_dtypes[t->entries[*index].dtype];
    if (tensor->kind >= WCOHI_OF_U32 ? dtype != &wcohi_dtypes[tensor->kind]
                                     : dtype->number > WCOHI_NUMBER_BFLOAT)
        return wcohi_fail(error, WCOH_E_MISMATCH,
                          "%s: expected numbers of type %s, the file has %s", tensor->name,
                          wcohi_dtypes[tensor->kind].name, info.dtype);
    same = info.dims == tensor->dims || (info.count == 1 && tensor->count == 1);
    for (i = 0; i < info.dims && i < tensor->dims; i++)
        if (info.shape[i] != tensor->shape[i]) same = 0;
    if (same) return WCOH_OK;
    for (i = 0; i < info.dims && used < 40; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, i ? ",%llu" : "%llu",
                                 (unsigned long long)info.shape[i]);
    for (i = 0; i < tensor->dims && used_expected < 40; i++)
        used_expected +=
            (size_t)snprintf(expected + used_expected, sizeof expected - used_expected,
                             i ? ",%llu" : "%llu", (unsigned long long)tensor->shape[i]);
    return wcohi_fail(error, WCOH_E_MISMATCH, "%s: expected [%s], file has [%s]", tensor->name,
                      expected, found);
}

/* Does a name begin with one of the words in `spare` ("adam. muon.", NULL: none)? */
static int wcohi_is_spare(const char *name, const char *spare)
{
    size_t length;
    for (; spare && *spare; spare += length, spare += strspn(spare, " ")) {
        length = strcspn(spare, " ");
        if (strncmp(name, spare, length) == 0) return 1;
    }
    return 0;
}

/* A tensor of the file that nobody asked for: a layer too many would be lost in silence. Names that
   begin with a word of `spare` may stand there. */
static wcoh_result wcohi_load_extra(const wcoh_tensors *t, const char *spare, wcoh_error *error)
{
    char shown[64];
    size_t i;
    for (i = 0; i < t->entry_count; i++) {
        const char *name = wcohi_entry_name(t, i);
        if (t->wanted[i] || wcohi_is_spare(name, spare)) continue;
        return wcohi_fail(error, WCOH_E_MISMATCH, "%s is in the file, and has no place here",
                          wcohi_shown(name, shown));
    }
    return WCOH_OK;
}

/* Read and check every tensor of `contents`: into `stage` (all their bytes, each from a multiple of
   8 on) or, where that is NULL, straight to where they belong. */
static wcoh_result wcohi_load_values(const wcoh_tensors *t, const wcohi_contents *contents,
                                     unsigned char *stage, wcoh_error *error)
{
    size_t at = 0;
    int i;
    for (i = 0; i < contents->count; i++) {
        wcohi_file_tensor tensor;
        wcoh_result result;
        void *to;
        contents->tensor(contents->object, i, &tensor);
        to = stage ? stage + at : (unsigned char *)tensor.data;
        result = wcohi_tensors_fetch(t, wcoh_tensors_find(t, tensor.name), 0, tensor.count,
                                     tensor.kind, to, error);
        if (!result) result = wcohi_tensor_check(&tensor, to, WCOH_E_FORMAT, error);
        if (result) return result;
        if (tensor.accept && !tensor.accept(to, contents->object, i))
            return wcohi_fail(error, WCOH_E_FORMAT, "%s: not what this model makes", tensor.name);
        at += wcohi_round_up(tensor.count * wcohi_number_size(tensor.kind), 8);
    }
    return WCOH_OK;
}

static wcoh_result wcohi_load_commit(const wcohi_contents *contents, const unsigned char *stage,
                                     wcoh_error *error)
{
    wcoh_result result = WCOH_OK;
    int i;
    for (i = 0; i < contents->count && !result; i++) {
        wcohi_file_tensor tensor;
        size_t bytes;
        contents->tensor(contents->object, i, &tensor);
        bytes = tensor.count * wcohi_number_size(tensor.kind);
        if (contents->put) result = contents->put(contents->object, i, stage, error);
        else if (bytes > 0) memcpy(tensor.data, stage, bytes);
        stage += wcohi_round_up(bytes, 8);
    }
    return result;
}

/* Fill all tensors of `contents` or none. With `stage` nothing is written before everything was
   read and checked, at the price of a temporary block from `memory`; without it a failure may leave
   the tensors half read (an object that is thrown away then). */
WCOHI_COLD wcoh_result wcohi_load(const wcoh_tensors *t, const wcohi_contents *contents,
                                  const char *spare, int stage, const wcoh_memory *memory,
                                  wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_result result;
    size_t bytes = 0;
    int i, index;
    if (t->entry_count > 0) memset(t->wanted, 0, t->entry_count);
    for (i = 0; i < contents->count; i++) {
        wcohi_file_tensor tensor;
        contents->tensor(contents->object, i, &tensor);
        if ((result = wcohi_load_match(t, &tensor, &index, error)) != WCOH_OK) return result;
        t->wanted[index] = 1;
        bytes = wcohi_add(bytes, wcohi_round_up(tensor.count * wcohi_number_size(tensor.kind), 8));
    }
    if ((result = wcohi_load_extra(t, spare, error)) != WCOH_OK) return result;
    if (!stage) return wcohi_load_values(t, contents, NULL, error);
    result = wcohi_allocation_take(&block, &arena, memory, bytes, "reading a file", error);
    if (result) return result;
    result = wcohi_load_values(t, contents, arena.base, error);
    if (!result) result = wcohi_load_commit(contents, arena.base, error);
    wcohi_allocation_give(&block);
    return result;
}

/* ---- a block of memory as a file ------------------------------------------------------------- */

static int wcohi_block_size(void *user, uint64_t *bytes)
{
    *bytes = ((const wcoh_memory_file *)user)->used;
    return 0;
}

static int wcohi_block_read(void *user, uint64_t offset, void *data, size_t size)
{
    const wcoh_memory_file *block = (const wcoh_memory_file *)user;
    if (offset > block->used || size > block->used - (size_t)offset) return 1;
    memcpy(data, block->data + (size_t)offset, size);
    return 0;
}

static int wcohi_block_write(void *user, const void *data, size_t size)
{
    wcoh_memory_file *block = (wcoh_memory_file *)user;
    if (block->used > block->capacity || size > block->capacity - block->used) return 1;
    memcpy(block->data + block->used, data, size);
    block->used += size;
    return 0;
}

static int wcohi_block_finish(void *user, int keep)
{
    if (!keep) ((wcoh_memory_file *)user)->used = 0;
    return 0;
}

WCOH_API wcoh_io wcoh_io_memory(wcoh_memory_file *block)
{
    wcoh_io io;
    memset(&io, 0, sizeof io);
    if (!block) return io;
    io.user = block;
    io.size = wcohi_block_size;
    io.read = wcohi_block_read;
    io.write = wcohi_block_write;
    io.finish = wcohi_block_finish;
    return io;
}

#ifndef WAVECOH_NO_STDIO
/* ---- paths as files -------------------------------------------------------------------------- */

#ifdef __cplusplus
}
#endif
#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#elif defined(__unix__) || defined(__unix) || defined(__APPLE__) || defined(__EMSCRIPTEN__)
#define WCOHI_POSIX 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#else
#include <errno.h>
#endif
#ifdef __cplusplus
extern "C" {
#endif

typedef struct wcohi_reason {
    int code;
    char text[48];
} wcohi_reason;

#define WCOHI_REASONS                                                                              \
    {WCOHI_SYSTEM_SHORT, "the file ended early"}, {WCOHI_SYSTEM_SPECIAL, "not a regular file"},    \
        {WCOHI_SYSTEM_LONG, "the path is too long"}, {WCOHI_SYSTEM_UNKNOWN, "the system refused"}, \
    {                                                                                              \
        WCOHI_SYSTEM_EXISTS, "too many temporary files beside it"                                  \
    }

#if defined(_WIN32)

static const wcohi_reason wcohi_reasons[] = {
    WCOHI_REASONS,
    {ERROR_FILE_NOT_FOUND, "no such file or directory"},
    {ERROR_PATH_NOT_FOUND, "no such file or directory"},
    {ERROR_INVALID_NAME, "not a valid file name"},
    {ERROR_ACCESS_DENIED, "permission denied"},
    {ERROR_SHARING_VIOLATION, "another program uses the file"},
    {ERROR_WRITE_PROTECT, "the disk is write-protected"},
    {ERROR_DISK_FULL, "no space left on the device"},
    {ERROR_HANDLE_DISK_FULL, "no space left on the device"},
};

static int wcohi_windows_code(BOOL ok)
{
    DWORD code = ok ? 0 : GetLastError();
    return ok ? 0 : code ? (int)code : WCOHI_SYSTEM_UNKNOWN;
}

static unsigned long wcohi_process(void) { return (unsigned long)GetCurrentProcessId(); }

static int wcohi_system_resolve(void *user, const char *path, char *real, size_t size, int *mode,
                                int *special)
{
    DWORD found = GetFileAttributesA(path);
    (void)user;
    *special = 0;
    *mode = -1;
    if (strlen(path) >= size) return WCOHI_SYSTEM_LONG;
    strcpy(real, path);
    if (found != INVALID_FILE_ATTRIBUTES && (found & FILE_ATTRIBUTE_DIRECTORY))
        return ERROR_ACCESS_DENIED;
    return 0;
}

static int wcohi_system_open(void *user, const char *path, intptr_t *handle, uint64_t *size)
{
    LARGE_INTEGER bytes;
    int code;
    HANDLE file =
        CreateFileA(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                    NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    (void)user;
    if (file == INVALID_HANDLE_VALUE) return wcohi_windows_code(0);
    code = GetFileType(file) == FILE_TYPE_DISK ? wcohi_windows_code(GetFileSizeEx(file, &bytes))
                                               : (int)WCOHI_SYSTEM_SPECIAL;
    if (code) {
        CloseHandle(file);
        return code;
    }
    *size = (uint64_t)bytes.QuadPart;
    *handle = (intptr_t)file;
    return 0;
}

static int wcohi_system_create(void *user, const char *path, int mode, int special,
                               intptr_t *handle)
{
    HANDLE file = CreateFileA(path, GENERIC_WRITE, 0, NULL, special ? OPEN_EXISTING : CREATE_NEW,
                              FILE_ATTRIBUTE_NORMAL, NULL);
    (void)user;
    (void)mode;
    *handle = (intptr_t)file;
    if (file != INVALID_HANDLE_VALUE) return 0;
    return GetLastError() == ERROR_FILE_EXISTS ? (int)WCOHI_SYSTEM_EXISTS : wcohi_windows_code(0);
}

static int wcohi_system_read(void *user, intptr_t handle, uint64_t offset, void *data, size_t size)
{
    LARGE_INTEGER at;
    (void)user;
    at.QuadPart = (LONGLONG)offset;
    if (!SetFilePointerEx((HANDLE)handle, at, NULL, FILE_BEGIN)) return wcohi_windows_code(0);
    while (size > 0) {
        DWORD done = 0, part = (DWORD)WCOHI_MIN(size, (size_t)1 << 28);
        if (!ReadFile((HANDLE)handle, data, part, &done, NULL)) return wcohi_windows_code(0);
        if (done == 0) return WCOHI_SYSTEM_SHORT;
        data = (char *)data + done;
        size -= done;
    }
    return 0;
}

static int wcohi_system_write(void *user, intptr_t handle, const void *data, size_t size)
{
    (void)user;
    while (size > 0) {
        DWORD done = 0, part = (DWORD)WCOHI_MIN(size, (size_t)1 << 28);
        if (!WriteFile((HANDLE)handle, data, part, &done, NULL)) return wcohi_windows_code(0);
        if (done == 0) return ERROR_DISK_FULL;
        data = (const char *)data + done;
        size -= done;
    }
    return 0;
}

static int wcohi_system_sync(void *user, intptr_t handle)
{
    (void)user;
    return wcohi_windows_code(FlushFileBuffers((HANDLE)handle));
}

static int wcohi_system_close(void *user, intptr_t handle)
{
    (void)user;
    return wcohi_windows_code(CloseHandle((HANDLE)handle));
}

static int wcohi_system_replace(void *user, const char *from, const char *to)
{
    (void)user;
    return wcohi_windows_code(
        MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH));
}

static int wcohi_system_sync_directory(void *user, const char *path) /* the move wrote through */
{
    (void)user;
    (void)path;
    return 0;
}

static int wcohi_system_remove(void *user, const char *path)
{
    (void)user;
    return wcohi_windows_code(DeleteFileA(path));
}

#elif defined(WCOHI_POSIX)

/* Strict ISO modes hide these from their headers. */
#if defined(__STRICT_ANSI__) && !defined(__cplusplus)
extern int kill(pid_t process, int signal_number);
extern int fsync(int file);
extern int fchmod(int file, mode_t mode);
extern ssize_t readlink(const char *path, char *target, size_t size);
#endif

static const wcohi_reason wcohi_reasons[] = {
    WCOHI_REASONS,
    {ENOENT, "no such file or directory"},
    {ENOTDIR, "a part of the path is not a directory"},
    {EISDIR, "it is a directory"},
    {EACCES, "permission denied"},
    {EPERM, "not permitted"},
    {EROFS, "the file system is read-only"},
    {ENOSPC, "no space left on the device"},
    {EFBIG, "the file would be larger than allowed"},
    {EMFILE, "too many open files"},
    {ENFILE, "too many open files"},
    {ENAMETOOLONG, "the path is too long"},
    {EIO, "input/output error"},
};

static int wcohi_posix_code(int failed)
{
    return !failed ? 0 : errno ? errno : (int)WCOHI_SYSTEM_UNKNOWN;
}

static unsigned long wcohi_process(void) { return (unsigned long)getpid(); }

/* One link of a chain: real [size] becomes what it points at. */
static int wcohi_posix_follow(char *real, size_t size)
{
    char target[4096];
    const char *slash = strrchr(real, '/');
    ssize_t length = readlink(real, target, sizeof target);
    size_t kept = 0;
    if (length < 0) return wcohi_posix_code(1);
    if (target[0] != '/' && slash) kept = (size_t)(slash - real) + 1;
    if ((size_t)length == sizeof target || kept + (size_t)length >= size) return WCOHI_SYSTEM_LONG;
    memcpy(real + kept, target, (size_t)length);
    real[kept + (size_t)length] = 0;
    return 0;
}

static int wcohi_system_resolve(void *user, const char *path, char *real, size_t size, int *mode,
                                int *special)
{
    struct stat found;
    char probe[1];
    int links = 0;
    (void)user;
    *mode = -1;
    *special = 0;
    if (strlen(path) >= size) return WCOHI_SYSTEM_LONG;
    strcpy(real, path);
    while (readlink(real, probe, 1) >= 0) {
        int code = links++ < 40 ? wcohi_posix_follow(real, size) : ELOOP;
        if (code) return code;
    }
    if (stat(real, &found)) return errno == ENOENT ? 0 : wcohi_posix_code(1);
    if (S_ISDIR(found.st_mode)) return EISDIR;
    *mode = (int)(found.st_mode & 0777);
    *special = !S_ISREG(found.st_mode);
    return 0;
}

#ifdef O_CLOEXEC
#define WCOHI_CLOEXEC O_CLOEXEC
#else
#define WCOHI_CLOEXEC 0
#endif

/* The kind is looked at before opening too: opening a pipe would wait for its writer. */
static int wcohi_system_open(void *user, const char *path, intptr_t *handle, uint64_t *size)
{
    struct stat found;
    int file;
    (void)user;
    if (stat(path, &found)) return wcohi_posix_code(1);
    if (!S_ISREG(found.st_mode)) return S_ISDIR(found.st_mode) ? EISDIR : (int)WCOHI_SYSTEM_SPECIAL;
    file = open(path, O_RDONLY | WCOHI_CLOEXEC);
    if (file < 0) return wcohi_posix_code(1);
    if (fstat(file, &found) || !S_ISREG(found.st_mode)) {
        close(file);
        return WCOHI_SYSTEM_SPECIAL;
    }
    *size = (uint64_t)found.st_size;
    *handle = file;
    return 0;
}

static int wcohi_system_create(void *user, const char *path, int mode, int special,
                               intptr_t *handle)
{
    int flags = O_WRONLY | WCOHI_CLOEXEC | (special ? 0 : O_CREAT | O_EXCL);
    int file = open(path, flags, (mode_t)(mode < 0 ? 0666 : mode));
    (void)user;
    *handle = file;
    if (file >= 0) {
        if (mode >= 0 && !special && fchmod(file, (mode_t)mode)) errno = 0; /* as good as it gets */
        return 0;
    }
    return errno == EEXIST ? (int)WCOHI_SYSTEM_EXISTS : wcohi_posix_code(1);
}

static int wcohi_system_read(void *user, intptr_t handle, uint64_t offset, void *data, size_t size)
{
    (void)user;
    if (lseek((int)handle, (off_t)offset, SEEK_SET) < 0) return wcohi_posix_code(1);
    while (size > 0) {
        ssize_t done = read((int)handle, data, WCOHI_MIN(size, (size_t)1 << 30));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return done < 0 ? wcohi_posix_code(1) : (int)WCOHI_SYSTEM_SHORT;
        data = (char *)data + done;
        size -= (size_t)done;
    }
    return 0;
}

static int wcohi_system_write(void *user, intptr_t handle, const void *data, size_t size)
{
    (void)user;
    while (size > 0) {
        ssize_t done = write((int)handle, data, WCOHI_MIN(size, (size_t)1 << 30));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return done < 0 ? wcohi_posix_code(1) : ENOSPC;
        data = (const char *)data + done;
        size -= (size_t)done;
    }
    return 0;
}

/* What cannot be synced (a pipe, some network mounts) is no failure. */
static int wcohi_posix_sync(int file)
{
#ifdef F_FULLFSYNC /* macOS: fsync alone leaves the data in the drive's cache */
    if (fcntl(file, F_FULLFSYNC) == 0) return 0;
#endif
    while (fsync(file)) {
        if (errno == EINTR) continue;
        return errno == EINVAL || errno == ENOSYS ? 0 : wcohi_posix_code(1);
    }
    return 0;
}

static int wcohi_system_sync(void *user, intptr_t handle)
{
    (void)user;
    return wcohi_posix_sync((int)handle);
}

static int wcohi_system_close(void *user, intptr_t handle)
{
    (void)user;
    return wcohi_posix_code(close((int)handle) && errno != EINTR);
}

static int wcohi_system_replace(void *user, const char *from, const char *to)
{
    (void)user;
    return wcohi_posix_code(rename(from, to) != 0);
}

static int wcohi_system_sync_directory(void *user, const char *path)
{
    char directory[4096] = ".";
    const char *slash = strrchr(path, '/');
    int file, code;
    (void)user;
    if (slash) {
        size_t length = WCOHI_MAX((size_t)(slash - path), 1);
        if (length >= sizeof directory) return WCOHI_SYSTEM_LONG;
        memcpy(directory, path, length);
        directory[length] = 0;
    }
    file = open(directory, O_RDONLY | WCOHI_CLOEXEC);
    if (file < 0) return errno == EACCES ? 0 : wcohi_posix_code(1); /* may be entered, not listed */
    code = wcohi_posix_sync(file);
    close(file);
    return code;
}

static int wcohi_system_remove(void *user, const char *path)
{
    (void)user;
    return wcohi_posix_code(remove(path) != 0);
}

#define WCOHI_SYSTEM_SWEEP wcohi_system_sweep

/* The process in a name "BASE.<process>-<n>.tmp", 0 if it is no such name or not of this base. */
static long wcohi_posix_owner(const char *name, const char *base)
{
    size_t length = strlen(base);
    long process = 0;
    int parts;
    if (strncmp(name, base, length) != 0 || name[length] != '.') return 0;
    name += length + 1;
    for (parts = 0; parts < 2; parts++) {
        long number = 0;
        if (*name < '0' || *name > '9') return 0;
        for (; *name >= '0' && *name <= '9' && number < 100000000; name++)
            number = 10 * number + (*name - '0');
        if (parts == 0) process = number;
        if (parts == 0 && *name++ != '-') return 0;
    }
    return strcmp(name, ".tmp") == 0 ? process : 0;
}

WCOHI_COLD void wcohi_system_sweep(void *user, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t kept = (size_t)(base - path);
    char name[4096];
    struct dirent *entry;
    DIR *directory;
    (void)user;
    if (kept >= sizeof name) return;
    memcpy(name, path, kept);
    strcpy(name + kept, "");
    directory = opendir(kept ? name : ".");
    while (directory && (entry = readdir(directory)) != NULL) {
        long owner = wcohi_posix_owner(entry->d_name, base);
        if (owner <= 0 || kill((pid_t)owner, 0) == 0 || errno != ESRCH) continue;
        if (kept + strlen(entry->d_name) >= sizeof name) continue;
        strcpy(name + kept, entry->d_name);
        remove(name);
    }
    if (directory) closedir(directory);
}

#else /* another system: the C library, which may have to remove the old file first */

static const wcohi_reason wcohi_reasons[] = {WCOHI_REASONS};

static unsigned long wcohi_process(void) { return 0; }

static int wcohi_libc_code(int failed)
{
    return !failed ? 0 : errno ? errno : (int)WCOHI_SYSTEM_UNKNOWN;
}

static int wcohi_system_resolve(void *user, const char *path, char *real, size_t size, int *mode,
                                int *special)
{
    (void)user;
    *mode = -1;
    *special = 0;
    if (strlen(path) >= size) return WCOHI_SYSTEM_LONG;
    strcpy(real, path);
    return 0;
}

static int wcohi_system_open(void *user, const char *path, intptr_t *handle, uint64_t *size)
{
    FILE *file = fopen(path, "rb");
    long bytes;
    (void)user;
    if (!file) return wcohi_libc_code(1);
    bytes = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    if (bytes < 0) {
        fclose(file);
        return WCOHI_SYSTEM_SPECIAL;
    }
    *size = (uint64_t)bytes;
    *handle = (intptr_t)file;
    return 0;
}

static int wcohi_system_create(void *user, const char *path, int mode, int special,
                               intptr_t *handle)
{
    FILE *file = special ? NULL : fopen(path, "rb");
    (void)user;
    (void)mode;
    if (file) {
        fclose(file);
        return WCOHI_SYSTEM_EXISTS;
    }
    file = fopen(path, "wb");
    *handle = (intptr_t)file;
    return wcohi_libc_code(!file);
}

static int wcohi_system_read(void *user, intptr_t handle, uint64_t offset, void *data, size_t size)
{
    FILE *file = (FILE *)handle;
    (void)user;
    if (offset > LONG_MAX || fseek(file, (long)offset, SEEK_SET)) return wcohi_libc_code(1);
    return fread(data, 1, size, file) == size ? 0 : (int)WCOHI_SYSTEM_SHORT;
}

static int wcohi_system_write(void *user, intptr_t handle, const void *data, size_t size)
{
    (void)user;
    return wcohi_libc_code(fwrite(data, 1, size, (FILE *)handle) != size);
}

static int wcohi_system_sync(void *user, intptr_t handle)
{
    (void)user;
    return wcohi_libc_code(fflush((FILE *)handle) != 0);
}

static int wcohi_system_close(void *user, intptr_t handle)
{
    (void)user;
    return wcohi_libc_code(fclose((FILE *)handle) != 0);
}

static int wcohi_system_replace(void *user, const char *from, const char *to)
{
    (void)user;
    if (rename(from, to) == 0) return 0;
    remove(to);
    return wcohi_libc_code(rename(from, to) != 0);
}

static int wcohi_system_sync_directory(void *user, const char *path)
{
    (void)user;
    (void)path;
    return 0;
}

static int wcohi_system_remove(void *user, const char *path)
{
    (void)user;
    return wcohi_libc_code(remove(path) != 0);
}

#endif

#ifndef WCOHI_SYSTEM_SWEEP
#define WCOHI_SYSTEM_SWEEP NULL
#endif
static const wcohi_system wcohi_system_own = {
    NULL,
    wcohi_system_resolve,
    wcohi_system_open,
    wcohi_system_create,
    wcohi_system_read,
    wcohi_system_write,
    wcohi_system_sync,
    wcohi_system_close,
    wcohi_system_replace,
    wcohi_system_sync_directory,
    wcohi_system_remove,
    WCOHI_SYSTEM_SWEEP,
};

/* "PATH: reason": with `code` the system's reason, else the sentence that stands in `error`. */
static wcoh_result wcohi_path_fail(wcoh_error *error, wcoh_result result, const char *path,
                                   int code)
{
    char text[sizeof error->text] = "", number[24];
    size_t length = strlen(path);
    const char *shown = length > 100 ? path + length - 97 : path;
    int i;
    if (!error || result == WCOH_OK) return result;
    if (code == 0) memcpy(text, error->text, sizeof text);
    for (i = 0; code && i < WCOHI_COUNT(wcohi_reasons); i++)
        if (wcohi_reasons[i].code == code) strcpy(text, wcohi_reasons[i].text);
    snprintf(number, sizeof number, "%d", code);
    return wcohi_fail(error, result, "%s%s: %s%s", shown == path ? "" : "...", shown,
                      *text ? text : "error ", *text ? "" : number);
}

static int wcohi_path_size(void *user, uint64_t *bytes)
{
    *bytes = ((const wcohi_path_reader *)user)->size;
    return 0;
}

static int wcohi_path_read(void *user, uint64_t offset, void *data, size_t size)
{
    wcohi_path_reader *reader = (wcohi_path_reader *)user;
    int code = reader->system->read(reader->system->user, reader->handle, offset, data, size);
    if (code) reader->code = code;
    return code;
}

WCOHI_COLD wcoh_result wcohi_path_open(wcohi_path_reader *reader, wcoh_io *io, const char *path,
                                       const wcohi_system *system, wcoh_error *error)
{
    memset(reader, 0, sizeof *reader);
    memset(io, 0, sizeof *io);
    if (!path) return wcohi_null("path", error);
    reader->code = system->open(system->user, path, &reader->handle, &reader->size);
    if (reader->code) return wcohi_path_fail(error, WCOH_E_IO, path, reader->code);
    reader->system = system;
    io->user = reader;
    io->size = wcohi_path_size;
    io->read = wcohi_path_read;
    return WCOH_OK;
}

/* Close, and name the path in whatever went wrong. */
WCOHI_COLD wcoh_result wcohi_path_close(wcohi_path_reader *reader, const char *path,
                                        wcoh_result result, wcoh_error *error)
{
    if (!reader->system) return result;
    reader->system->close(reader->system->user, reader->handle);
    return wcohi_path_fail(error, result, path, result == WCOH_E_IO ? reader->code : 0);
}

/* A file being written: `temporary` beside `target`, or a special file as it stands. */
typedef struct wcohi_path_writer {
    const wcohi_system *system;
    intptr_t handle;
    int special;
    int code; /* of the first call that failed */
    char target[4032], temporary[4096];
} wcohi_path_writer;

static int wcohi_path_write(void *user, const void *data, size_t size)
{
    wcohi_path_writer *writer = (wcohi_path_writer *)user;
    if (!writer->code)
        writer->code = writer->system->write(writer->system->user, writer->handle, data, size);
    return writer->code;
}

/* Sync, close, rename, sync the directory: at any crash the path is the old file or the new one. */
static int wcohi_path_finish(void *user, int keep)
{
    wcohi_path_writer *writer = (wcohi_path_writer *)user;
    const wcohi_system *system = writer->system;
    int code;
    if (keep && !writer->code) writer->code = system->sync(system->user, writer->handle);
    code = system->close(system->user, writer->handle);
    if (!writer->code) writer->code = code;
    if (writer->special) return writer->code;
    if (keep && !writer->code) {
        writer->code = system->replace(system->user, writer->temporary, writer->target);
        if (!writer->code) {
            writer->code = system->sync_directory(system->user, writer->target);
            return writer->code;
        }
    }
    system->remove(system->user, writer->temporary);
    return writer->code;
}

WCOHI_COLD wcoh_result wcohi_path_create(wcohi_path_writer *writer, wcoh_io *io, const char *path,
                                         const wcohi_system *system, wcoh_error *error)
{
    int attempt, mode, code;
    char ending[48];
    memset(io, 0, sizeof *io);
    writer->system = NULL;
    writer->code = 0;
    if (!path) return wcohi_null("path", error);
    code = system->resolve(system->user, path, writer->target, sizeof writer->target, &mode,
                           &writer->special);
    if (!code && !writer->special && system->sweep) system->sweep(system->user, writer->target);
    for (attempt = 0; !code && attempt < 1000; attempt++) {
        snprintf(ending, sizeof ending, ".%lu-%d.tmp", wcohi_process(), attempt);
        strcpy(writer->temporary, writer->target);
        if (!writer->special) strcat(writer->temporary, ending);
        code =
            system->create(system->user, writer->temporary, mode, writer->special, &writer->handle);
        if (code != WCOHI_SYSTEM_EXISTS) break;
        if (attempt < 999) code = 0;
    }
    if (code) return wcohi_path_fail(error, WCOH_E_IO, path, code);
    writer->system = system;
    io->user = writer;
    io->write = wcohi_path_write;
    io->finish = wcohi_path_finish;
    return WCOH_OK;
}

/* Name the path in whatever went wrong. */
WCOHI_COLD wcoh_result wcohi_path_created(const wcohi_path_writer *writer, const char *path,
                                          wcoh_result result, wcoh_error *error)
{
    if (!writer->system) return result;
    return wcohi_path_fail(error, result, path, result == WCOH_E_IO ? writer->code : 0);
}

WCOH_API wcoh_result wcoh_path_check(const char *path, wcoh_error *error)
{
    const wcohi_system *system = &wcohi_system_own;
    wcohi_path_writer writer;
    wcoh_io io;
    wcoh_result result;
    int mode, special = 0;
    if (path && system->resolve(system->user, path, writer.target, sizeof writer.target, &mode,
                                &special) == 0 && special)
        return WCOH_OK;
    result = wcohi_path_create(&writer, &io, path, system, error);
    if (!result) wcohi_path_finish(&writer, 0);
    return result;
}

/* The end of every function that saves to or loads from `path`: `call` does it through `io`. */
#define WCOHI_SAVE_FILE(call)                                                                      \
    do {                                                                                           \
        wcohi_path_writer writer;                                                                  \
        wcoh_io io;                                                                                \
        wcoh_result result = wcohi_path_create(&writer, &io, path, &wcohi_system_own, error);      \
        return result ? result : wcohi_path_created(&writer, path, call, error);                   \
    } while (0)

#define WCOHI_LOAD_FILE(call)                                                                      \
    do {                                                                                           \
        wcohi_path_reader reader;                                                                  \
        wcoh_io io;                                                                                \
        wcoh_result result = wcohi_path_open(&reader, &io, path, &wcohi_system_own, error);        \
        return result ? result : wcohi_path_close(&reader, path, call, error);                     \
    } while (0)

WCOH_API wcoh_result wcoh_tensors_open_file(wcoh_tensors **tensors, const char *path,
                                            const wcoh_memory *memory, wcoh_error *error)
{
    wcohi_path_reader reader;
    wcoh_io io;
    wcoh_result result;
    if (!tensors) return wcohi_null("tensors", error);
    *tensors = NULL;
    result = wcohi_path_open(&reader, &io, path, &wcohi_system_own, error);
    if (result) return result;
    result = wcohi_tensors_open(tensors, &io, memory, 1, error);
    if (result) return wcohi_path_close(&reader, path, result, error);
    (*tensors)->path = reader;
    (*tensors)->io.user = &(*tensors)->path;
    return WCOH_OK;
}
#endif /* WAVECOH_NO_STDIO */

/* ======== 2 ground: one vocabulary, five instruction sets ===================================== */

/* A kernel is written once. Kernels stand in blocks,

       #else     (a pass: kernels of ..)
       ..
       #endif
       #ifndef WCOHI_PASS

   inside the text that an ordinary inclusion reads between #ifndef WCOHI_PASS and #endif, so that a
   pass, an inclusion of this file by itself, reads the blocks alone. There is one pass for every
   instruction set of this build, and in it S_(name) is wcohi_scalar_name, wcohi_sse2_name,
   wcohi_avx2_name, wcohi_avx512_name or wcohi_neon_name: of a kernel, or of a word of the vocabulary:

     S_(fn), S_(inline)    `static` with the target attribute; the second is for helpers that are
                           inlined into kernels
     S_(v), S_(W)          vector of W reals          S_(iv)   vector of W int32_t     S_(m)   mask
     S_(dv), S_(DW)        vector of DW doubles; S_(dlo)(v), S_(dhi)(v) widen the halves of a v
                           (scalar: DW = 1, dlo is all of it and dhi is 0), S_(dnarrow)(lo, hi) back
     load store load_n store_n   at any address; the _n forms touch the first n (0..W) only
     even odd ziplo ziphi  of two vectors: complex pairs apart and together again
     quads mixlo mixhi pairlo pairhi   W/4 groups of four from p, p + stride, ..; unpacks of
                           lanes and of pairs inside each group of four (not in the scalar set)
     fold8                 p [8] = groups of a summed, groups of b summed
     keep                  the same value, opaque to -ffast-math: rounding steps stay in order

   In double mode (WAVECOH_TEST_DOUBLE) only the scalar set exists and its functions are libm's. */

#if (defined(__GNUC__) || defined(__clang__)) && !defined(__TINYC__)
#define WCOHI_FORCE_INLINE static inline __attribute__((__always_inline__, __unused__))
#define WCOHI_TARGET(set) __attribute__((__target__(set)))
#elif defined(_MSC_VER)
#define WCOHI_FORCE_INLINE static __forceinline
#define WCOHI_TARGET(set)
#else
#define WCOHI_FORCE_INLINE static inline
#define WCOHI_TARGET(set)
#endif

/* What memory and bits a real has, in plain C. */
WCOHI_FORCE_INLINE int32_t wcohi_real_bits(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

WCOHI_FORCE_INLINE float wcohi_bits_real(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- scalar ---------------------------------------------------------------------------------- */

#define wcohi_scalar_fn static
#define wcohi_scalar_inline WCOHI_FORCE_INLINE
#define wcohi_scalar_W 1
#define wcohi_scalar_DW 1
typedef wcoh_real wcohi_scalar_v;
typedef double wcohi_scalar_dv;
typedef int32_t wcohi_scalar_iv;
typedef int wcohi_scalar_m;

WCOHI_FORCE_INLINE wcoh_real wcohi_scalar_keep(wcoh_real a)
{
#if defined(WCOHI_FAST_MATH) && defined(__GNUC__)
    __asm__("" : "+m"(a));
#endif
    return a;
}
WCOHI_FORCE_INLINE wcoh_real wcohi_scalar_load_n(const wcoh_real *p, int n)
{
    return n > 0 ? *p : (wcoh_real)0;
}
WCOHI_FORCE_INLINE void wcohi_scalar_store_n(wcoh_real *p, wcoh_real a, int n)
{
    if (n > 0) *p = a;
}
WCOHI_FORCE_INLINE wcoh_real wcohi_scalar_select(int m, wcoh_real a, wcoh_real b)
{
    return m ? a : b;
}
WCOHI_FORCE_INLINE wcoh_real wcohi_scalar_max(wcoh_real a, wcoh_real b) { return a > b ? a : b; }
WCOHI_FORCE_INLINE wcoh_real wcohi_scalar_min(wcoh_real a, wcoh_real b) { return a < b ? a : b; }

#define wcohi_scalar_load(p) (*(p))
#define wcohi_scalar_store(p, a) ((void)(*(p) = (a)))
#define wcohi_scalar_set(x) ((wcoh_real)(x))
#define wcohi_scalar_zero() ((wcoh_real)0)
#define wcohi_scalar_iota() ((wcoh_real)0)
#define wcohi_scalar_add(a, b) ((a) + (b))
#define wcohi_scalar_sub(a, b) ((a) - (b))
#define wcohi_scalar_mul(a, b) ((a) * (b))
#define wcohi_scalar_div(a, b) ((a) / (b))
#define wcohi_scalar_fma(a, b, c) ((a) * (b) + (c))
#define wcohi_scalar_fnma(a, b, c) ((c) - (a) * (b))
#define wcohi_scalar_neg(a) (-(a))
#define wcohi_scalar_lt(a, b) ((a) < (b))
#define wcohi_scalar_le(a, b) ((a) <= (b))
#define wcohi_scalar_mand(a, b) ((a) & (b))
#define wcohi_scalar_mor(a, b) ((a) | (b))
#define wcohi_scalar_any(m) (m)
#define wcohi_scalar_sum(a) (a)
#define wcohi_scalar_hmax(a) (a)
#define wcohi_scalar_even(a, b) ((void)(b), (a))
#define wcohi_scalar_odd(a, b) ((void)(a), (b))
#define wcohi_scalar_ziplo(a, b) ((void)(b), (a))
#define wcohi_scalar_ziphi(a, b) ((void)(a), (b))
#define wcohi_scalar_prefetch(p) ((void)(p))
#ifdef WAVECOH_TEST_DOUBLE
#define wcohi_scalar_abs(a) fabs(a)
#define wcohi_scalar_sqrt(a) sqrt(a)
#else
#define wcohi_scalar_abs(a) fabsf(a)
#if defined(WCOHI_FAST_MATH) && defined(__SSE2__) && defined(__GNUC__)
WCOHI_FORCE_INLINE float wcohi_scalar_sqrt(float a) /* no estimate: that of infinity is NaN */
{
    __asm__("sqrtss {%0, %0|%0, %0}" : "+x"(a));
    return a;
}
#else
#define wcohi_scalar_sqrt(a) sqrtf(a)
#endif
#endif

#define wcohi_scalar_dload(p) (*(p))
#define wcohi_scalar_dstore(p, a) ((void)(*(p) = (a)))
#define wcohi_scalar_dset(x) ((double)(x))
#define wcohi_scalar_dzero() 0.0
#define wcohi_scalar_dadd(a, b) ((a) + (b))
#define wcohi_scalar_dsub(a, b) ((a) - (b))
#define wcohi_scalar_dmul(a, b) ((a) * (b))
#define wcohi_scalar_ddiv(a, b) ((a) / (b))
#define wcohi_scalar_dsqrt(a) sqrt(a)
#define wcohi_scalar_dfma(a, b, c) ((a) * (b) + (c))
#define wcohi_scalar_dfnma(a, b, c) ((c) - (a) * (b))
#define wcohi_scalar_dlo(a) ((double)(a))
#define wcohi_scalar_dhi(a) ((void)(a), 0.0)
#define wcohi_scalar_dnarrow(lo, hi) ((void)(hi), (wcoh_real)(lo))
#define wcohi_scalar_dsum(a) (a)

#ifndef WAVECOH_TEST_DOUBLE
WCOHI_FORCE_INLINE int32_t wcohi_scalar_toi(float a) /* nearest; |a| < 2^30 */
{
    return a >= 0 ? (int32_t)(a + 0.5f) : a < 0 ? (int32_t)(a - 0.5f) : 0; /* NaN: 0 */
}
WCOHI_FORCE_INLINE int32_t wcohi_scalar_iadd(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}
WCOHI_FORCE_INLINE int32_t wcohi_scalar_isub(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a - (uint32_t)b);
}
#define wcohi_scalar_fromi(i) ((float)(i))
#define wcohi_scalar_bits(a) wcohi_real_bits(a)
#define wcohi_scalar_real(i) wcohi_bits_real(i)
#define wcohi_scalar_iset(x) ((int32_t)(x))
#define wcohi_scalar_iand(a, b) ((a) & (b))
#define wcohi_scalar_ior(a, b) ((a) | (b))
#define wcohi_scalar_ixor(a, b) ((a) ^ (b))
#define wcohi_scalar_ishl(a, n) ((int32_t)((uint32_t)(a) << (n)))
#define wcohi_scalar_ishr(a, n) ((int32_t)((uint32_t)(a) >> (n)))
#define wcohi_scalar_isar(a, n) ((a) >> (n)) /* arithmetic on every compiler we know */
#define wcohi_scalar_igt(a, b) ((a) > (b))
#define wcohi_scalar_iload(p) (*(p))
#define wcohi_scalar_istore(p, a) ((void)(*(p) = (a)))
#endif

#ifdef WCOHI_HAS_SSE2
/* ---- SSE2 ------------------------------------------------------------------------------------ */

#ifdef __x86_64__
#define wcohi_sse2_fn static
#define wcohi_sse2_inline WCOHI_FORCE_INLINE
#else
#define wcohi_sse2_fn static WCOHI_TARGET("sse2")
#define wcohi_sse2_inline WCOHI_FORCE_INLINE WCOHI_TARGET("sse2")
#endif
#define wcohi_sse2_W 4
#define wcohi_sse2_DW 2
typedef __m128 wcohi_sse2_v;
typedef __m128d wcohi_sse2_dv;
typedef __m128i wcohi_sse2_iv;
typedef __m128 wcohi_sse2_m;

wcohi_sse2_inline __m128 wcohi_sse2_keep(__m128 a)
{
#if defined(WCOHI_FAST_MATH) && defined(__GNUC__)
    __asm__("" : "+x"(a));
#endif
    return a;
}
wcohi_sse2_inline __m128 wcohi_sse2_load_n(const float *p, int n)
{
    float lane[4] = {0, 0, 0, 0};
    int i;
    if (n == 4) return _mm_loadu_ps(p);
    for (i = 0; i < n; i++) lane[i] = p[i];
    return _mm_loadu_ps(lane);
}
wcohi_sse2_inline void wcohi_sse2_store_n(float *p, __m128 a, int n)
{
    float lane[4];
    int i;
    _mm_storeu_ps(lane, a);
    for (i = 0; i < n; i++) p[i] = lane[i];
}
wcohi_sse2_inline __m128 wcohi_sse2_select(__m128 m, __m128 a, __m128 b)
{
    return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b));
}
wcohi_sse2_inline float wcohi_sse2_sum(__m128 a)
{
    __m128 pair = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
wcohi_sse2_inline float wcohi_sse2_hmax(__m128 a)
{
    __m128 pair = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
wcohi_sse2_inline double wcohi_sse2_dsum(__m128d a)
{
    return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)));
}
#ifdef WCOHI_FAST_MATH
wcohi_sse2_inline __m128 wcohi_sse2_div(__m128 a, __m128 b)
{
    __asm__("divps {%1, %0|%0, %1}" : "+x"(a) : "x"(b));
    return a;
}
wcohi_sse2_inline __m128 wcohi_sse2_sqrt(__m128 a)
{
    __asm__("sqrtps {%0, %0|%0, %0}" : "+x"(a));
    return a;
}
#else
#define wcohi_sse2_div(a, b) _mm_div_ps(a, b)
#define wcohi_sse2_sqrt(a) _mm_sqrt_ps(a)
#endif

#define wcohi_sse2_load(p) _mm_loadu_ps(p)
#define wcohi_sse2_store(p, a) _mm_storeu_ps(p, a)
#define wcohi_sse2_set(x) _mm_set1_ps(x)
#define wcohi_sse2_zero() _mm_setzero_ps()
#define wcohi_sse2_iota() _mm_setr_ps(0, 1, 2, 3)
#define wcohi_sse2_add(a, b) _mm_add_ps(a, b)
#define wcohi_sse2_sub(a, b) _mm_sub_ps(a, b)
#define wcohi_sse2_mul(a, b) _mm_mul_ps(a, b)
#define wcohi_sse2_fma(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define wcohi_sse2_fnma(a, b, c) _mm_sub_ps(c, _mm_mul_ps(a, b))
#define wcohi_sse2_max(a, b) _mm_max_ps(a, b)
#define wcohi_sse2_min(a, b) _mm_min_ps(a, b)
#define wcohi_sse2_neg(a) _mm_xor_ps(a, _mm_set1_ps(-0.0f))
#define wcohi_sse2_abs(a) _mm_andnot_ps(_mm_set1_ps(-0.0f), a)
#define wcohi_sse2_lt(a, b) _mm_cmplt_ps(a, b)
#define wcohi_sse2_le(a, b) _mm_cmple_ps(a, b)
#define wcohi_sse2_mand(a, b) _mm_and_ps(a, b)
#define wcohi_sse2_mor(a, b) _mm_or_ps(a, b)
#define wcohi_sse2_any(m) (_mm_movemask_ps(m) != 0)
#define wcohi_sse2_even(a, b) _mm_shuffle_ps(a, b, 0x88)
#define wcohi_sse2_odd(a, b) _mm_shuffle_ps(a, b, 0xdd)
#define wcohi_sse2_ziplo(a, b) _mm_unpacklo_ps(a, b)
#define wcohi_sse2_ziphi(a, b) _mm_unpackhi_ps(a, b)
#define wcohi_sse2_quads(p, stride) _mm_loadu_ps(p)
#define wcohi_sse2_mixlo(a, b) _mm_unpacklo_ps(a, b)
#define wcohi_sse2_mixhi(a, b) _mm_unpackhi_ps(a, b)
#define wcohi_sse2_pairlo(a, b) _mm_movelh_ps(a, b)
#define wcohi_sse2_pairhi(a, b) _mm_movehl_ps(b, a)
#define wcohi_sse2_fold8(p, a, b) (_mm_storeu_ps(p, a), _mm_storeu_ps((p) + 4, b))
#define wcohi_sse2_prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)

#define wcohi_sse2_toi(a) _mm_cvtps_epi32(a)
#define wcohi_sse2_fromi(i) _mm_cvtepi32_ps(i)
#define wcohi_sse2_bits(a) _mm_castps_si128(a)
#define wcohi_sse2_real(i) _mm_castsi128_ps(i)
#define wcohi_sse2_iset(x) _mm_set1_epi32(x)
#define wcohi_sse2_iadd(a, b) _mm_add_epi32(a, b)
#define wcohi_sse2_isub(a, b) _mm_sub_epi32(a, b)
#define wcohi_sse2_iand(a, b) _mm_and_si128(a, b)
#define wcohi_sse2_ior(a, b) _mm_or_si128(a, b)
#define wcohi_sse2_ixor(a, b) _mm_xor_si128(a, b)
#define wcohi_sse2_ishl(a, n) _mm_slli_epi32(a, n)
#define wcohi_sse2_ishr(a, n) _mm_srli_epi32(a, n)
#define wcohi_sse2_isar(a, n) _mm_srai_epi32(a, n)
#define wcohi_sse2_igt(a, b) _mm_castsi128_ps(_mm_cmpgt_epi32(a, b))
#define wcohi_sse2_iload(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define wcohi_sse2_istore(p, a) _mm_storeu_si128((__m128i *)(void *)(p), a)

#define wcohi_sse2_dload(p) _mm_loadu_pd(p)
#define wcohi_sse2_dstore(p, a) _mm_storeu_pd(p, a)
#define wcohi_sse2_dset(x) _mm_set1_pd(x)
#define wcohi_sse2_dzero() _mm_setzero_pd()
#define wcohi_sse2_dadd(a, b) _mm_add_pd(a, b)
#define wcohi_sse2_dsub(a, b) _mm_sub_pd(a, b)
#define wcohi_sse2_dmul(a, b) _mm_mul_pd(a, b)
#define wcohi_sse2_ddiv(a, b) _mm_div_pd(a, b)
#define wcohi_sse2_dsqrt(a) _mm_sqrt_pd(a)
#define wcohi_sse2_dfma(a, b, c) _mm_add_pd(_mm_mul_pd(a, b), c)
#define wcohi_sse2_dfnma(a, b, c) _mm_sub_pd(c, _mm_mul_pd(a, b))
#define wcohi_sse2_dlo(a) _mm_cvtps_pd(a)
#define wcohi_sse2_dhi(a) _mm_cvtps_pd(_mm_movehl_ps(a, a))
#define wcohi_sse2_dnarrow(lo, hi) _mm_movelh_ps(_mm_cvtpd_ps(lo), _mm_cvtpd_ps(hi))
#endif

#ifdef WCOHI_HAS_AVX
/* ---- AVX2 with FMA --------------------------------------------------------------------------- */

#define WCOHI_AVX2_TARGET WCOHI_TARGET("avx2,fma")
#define wcohi_avx2_fn static WCOHI_AVX2_TARGET
#define wcohi_avx2_inline WCOHI_FORCE_INLINE WCOHI_AVX2_TARGET
#define wcohi_avx2_W 8
#define wcohi_avx2_DW 4
typedef __m256 wcohi_avx2_v;
typedef __m256d wcohi_avx2_dv;
typedef __m256i wcohi_avx2_iv;
typedef __m256 wcohi_avx2_m;

/* Eight lanes from here + 8 - n: the first n are on. */
static const int32_t wcohi_lane_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
#define WCOHI_AVX2_FIRST(n)                                                                        \
    _mm256_loadu_si256((const __m256i *)(const void *)(wcohi_lane_mask + 8 - (n)))

wcohi_avx2_inline __m256 wcohi_avx2_keep(__m256 a)
{
#if defined(WCOHI_FAST_MATH) && defined(__GNUC__)
    __asm__("" : "+x"(a));
#endif
    return a;
}
wcohi_avx2_inline float wcohi_avx2_sum(__m256 a)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 pair = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
wcohi_avx2_inline float wcohi_avx2_hmax(__m256 a)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 pair = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
wcohi_avx2_inline double wcohi_avx2_dsum(__m256d a)
{
    __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}
#ifdef WCOHI_FAST_MATH
wcohi_avx2_inline __m256 wcohi_avx2_div(__m256 a, __m256 b)
{
    __asm__("vdivps {%1, %0, %0|%0, %0, %1}" : "+x"(a) : "x"(b));
    return a;
}
wcohi_avx2_inline __m256 wcohi_avx2_sqrt(__m256 a)
{
    __asm__("vsqrtps {%0, %0|%0, %0}" : "+x"(a));
    return a;
}
#else
#define wcohi_avx2_div(a, b) _mm256_div_ps(a, b)
#define wcohi_avx2_sqrt(a) _mm256_sqrt_ps(a)
#endif

#define wcohi_avx2_load(p) _mm256_loadu_ps(p)
#define wcohi_avx2_store(p, a) _mm256_storeu_ps(p, a)
#define wcohi_avx2_load_n(p, n) _mm256_maskload_ps(p, WCOHI_AVX2_FIRST(n))
#define wcohi_avx2_store_n(p, a, n) _mm256_maskstore_ps(p, WCOHI_AVX2_FIRST(n), a)
#define wcohi_avx2_set(x) _mm256_set1_ps(x)
#define wcohi_avx2_zero() _mm256_setzero_ps()
#define wcohi_avx2_iota() _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7)
#define wcohi_avx2_add(a, b) _mm256_add_ps(a, b)
#define wcohi_avx2_sub(a, b) _mm256_sub_ps(a, b)
#define wcohi_avx2_mul(a, b) _mm256_mul_ps(a, b)
#define wcohi_avx2_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define wcohi_avx2_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define wcohi_avx2_max(a, b) _mm256_max_ps(a, b)
#define wcohi_avx2_min(a, b) _mm256_min_ps(a, b)
#define wcohi_avx2_neg(a) _mm256_xor_ps(a, _mm256_set1_ps(-0.0f))
#define wcohi_avx2_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define wcohi_avx2_lt(a, b) _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define wcohi_avx2_le(a, b) _mm256_cmp_ps(a, b, _CMP_LE_OQ)
#define wcohi_avx2_select(m, a, b) _mm256_blendv_ps(b, a, m)
#define wcohi_avx2_mand(a, b) _mm256_and_ps(a, b)
#define wcohi_avx2_mor(a, b) _mm256_or_ps(a, b)
#define wcohi_avx2_any(m) (_mm256_movemask_ps(m) != 0)
#define WCOHI_AVX2_ORDER(a, code)                                                                  \
    _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), code))
#define wcohi_avx2_even(a, b) WCOHI_AVX2_ORDER(_mm256_shuffle_ps(a, b, 0x88), 0xd8)
#define wcohi_avx2_odd(a, b) WCOHI_AVX2_ORDER(_mm256_shuffle_ps(a, b, 0xdd), 0xd8)
#define wcohi_avx2_ziplo(a, b)                                                                     \
    _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20)
#define wcohi_avx2_ziphi(a, b)                                                                     \
    _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31)
#define wcohi_avx2_quads(p, stride)                                                                \
    _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps((p) + (stride)), 1)
#define wcohi_avx2_mixlo(a, b) _mm256_unpacklo_ps(a, b)
#define wcohi_avx2_mixhi(a, b) _mm256_unpackhi_ps(a, b)
#define wcohi_avx2_pairlo(a, b) _mm256_shuffle_ps(a, b, 0x44)
#define wcohi_avx2_pairhi(a, b) _mm256_shuffle_ps(a, b, 0xee)
#define wcohi_avx2_fold8(p, a, b)                                                                  \
    _mm256_storeu_ps(p, _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20),                          \
                                      _mm256_permute2f128_ps(a, b, 0x31)))
#define wcohi_avx2_prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)

#define wcohi_avx2_toi(a) _mm256_cvtps_epi32(a)
#define wcohi_avx2_fromi(i) _mm256_cvtepi32_ps(i)
#define wcohi_avx2_bits(a) _mm256_castps_si256(a)
#define wcohi_avx2_real(i) _mm256_castsi256_ps(i)
#define wcohi_avx2_iset(x) _mm256_set1_epi32(x)
#define wcohi_avx2_iadd(a, b) _mm256_add_epi32(a, b)
#define wcohi_avx2_isub(a, b) _mm256_sub_epi32(a, b)
#define wcohi_avx2_iand(a, b) _mm256_and_si256(a, b)
#define wcohi_avx2_ior(a, b) _mm256_or_si256(a, b)
#define wcohi_avx2_ixor(a, b) _mm256_xor_si256(a, b)
#define wcohi_avx2_ishl(a, n) _mm256_slli_epi32(a, n)
#define wcohi_avx2_ishr(a, n) _mm256_srli_epi32(a, n)
#define wcohi_avx2_isar(a, n) _mm256_srai_epi32(a, n)
#define wcohi_avx2_igt(a, b) _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b))
#define wcohi_avx2_iload(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define wcohi_avx2_istore(p, a) _mm256_storeu_si256((__m256i *)(void *)(p), a)

#define wcohi_avx2_dload(p) _mm256_loadu_pd(p)
#define wcohi_avx2_dstore(p, a) _mm256_storeu_pd(p, a)
#define wcohi_avx2_dset(x) _mm256_set1_pd(x)
#define wcohi_avx2_dzero() _mm256_setzero_pd()
#define wcohi_avx2_dadd(a, b) _mm256_add_pd(a, b)
#define wcohi_avx2_dsub(a, b) _mm256_sub_pd(a, b)
#define wcohi_avx2_dmul(a, b) _mm256_mul_pd(a, b)
#define wcohi_avx2_ddiv(a, b) _mm256_div_pd(a, b)
#define wcohi_avx2_dsqrt(a) _mm256_sqrt_pd(a)
#define wcohi_avx2_dfma(a, b, c) _mm256_fmadd_pd(a, b, c)
#define wcohi_avx2_dfnma(a, b, c) _mm256_fnmadd_pd(a, b, c)
#define wcohi_avx2_dlo(a) _mm256_cvtps_pd(_mm256_castps256_ps128(a))
#define wcohi_avx2_dhi(a) _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))
#define wcohi_avx2_dnarrow(lo, hi)                                                                 \
    _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(lo)), _mm256_cvtpd_ps(hi), 1)

/* ---- AVX-512 (F, DQ, BW, VL) ----------------------------------------------------------------- */

#define WCOHI_AVX512_TARGET WCOHI_TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define wcohi_avx512_fn static WCOHI_AVX512_TARGET
#define wcohi_avx512_inline WCOHI_FORCE_INLINE WCOHI_AVX512_TARGET
#define wcohi_avx512_W 16
#define wcohi_avx512_DW 8
typedef __m512 wcohi_avx512_v;
typedef __m512d wcohi_avx512_dv;
typedef __m512i wcohi_avx512_iv;
typedef __mmask16 wcohi_avx512_m;

/* The maskz forms with a full mask cost nothing and keep g++ 12 from warning (GCC bug 105593). */
#define WCOHI_AVX512_HALF(a, half) _mm512_maskz_extractf32x8_ps((__mmask8)-1, a, half)
#define WCOHI_AVX512_FIRST(n) ((__mmask16)((1u << (n)) - 1u))

wcohi_avx512_inline __m512 wcohi_avx512_keep(__m512 a)
{
#if defined(WCOHI_FAST_MATH) && defined(__GNUC__)
    __asm__("" : "+v"(a));
#endif
    return a;
}
wcohi_avx512_inline float wcohi_avx512_sum(__m512 a)
{
    __m256 eight = _mm256_add_ps(WCOHI_AVX512_HALF(a, 0), WCOHI_AVX512_HALF(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 pair = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
wcohi_avx512_inline float wcohi_avx512_hmax(__m512 a)
{
    __m256 eight = _mm256_max_ps(WCOHI_AVX512_HALF(a, 0), WCOHI_AVX512_HALF(a, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 pair = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
wcohi_avx512_inline double wcohi_avx512_dsum(__m512d a)
{
    __m256d four = _mm256_add_pd(_mm512_maskz_extractf64x4_pd((__mmask8)-1, a, 0),
                                 _mm512_maskz_extractf64x4_pd((__mmask8)-1, a, 1));
    __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}
#ifdef WCOHI_FAST_MATH
wcohi_avx512_inline __m512 wcohi_avx512_div(__m512 a, __m512 b)
{
    __asm__("vdivps {%1, %0, %0|%0, %0, %1}" : "+v"(a) : "v"(b));
    return a;
}
wcohi_avx512_inline __m512 wcohi_avx512_sqrt(__m512 a)
{
    __asm__("vsqrtps {%0, %0|%0, %0}" : "+v"(a));
    return a;
}
#else
#define wcohi_avx512_div(a, b) _mm512_div_ps(a, b)
#define wcohi_avx512_sqrt(a) _mm512_maskz_sqrt_ps((__mmask16)-1, a)
#endif

#define wcohi_avx512_load(p) _mm512_loadu_ps(p)
#define wcohi_avx512_store(p, a) _mm512_storeu_ps(p, a)
#define wcohi_avx512_load_n(p, n) _mm512_maskz_loadu_ps(WCOHI_AVX512_FIRST(n), p)
#define wcohi_avx512_store_n(p, a, n) _mm512_mask_storeu_ps(p, WCOHI_AVX512_FIRST(n), a)
#define wcohi_avx512_set(x) _mm512_set1_ps(x)
#define wcohi_avx512_zero() _mm512_setzero_ps()
#define wcohi_avx512_iota()                                                                        \
    _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define wcohi_avx512_add(a, b) _mm512_add_ps(a, b)
#define wcohi_avx512_sub(a, b) _mm512_sub_ps(a, b)
#define wcohi_avx512_mul(a, b) _mm512_mul_ps(a, b)
#define wcohi_avx512_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define wcohi_avx512_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define wcohi_avx512_max(a, b) _mm512_maskz_max_ps((__mmask16)-1, a, b)
#define wcohi_avx512_min(a, b) _mm512_maskz_min_ps((__mmask16)-1, a, b)
#define wcohi_avx512_neg(a) _mm512_xor_ps(a, _mm512_set1_ps(-0.0f))
#define wcohi_avx512_abs(a)                                                                        \
    _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)))
#define wcohi_avx512_lt(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define wcohi_avx512_le(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define wcohi_avx512_select(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define wcohi_avx512_mand(a, b) ((__mmask16)((a) & (b)))
#define wcohi_avx512_mor(a, b) ((__mmask16)((a) | (b)))
#define wcohi_avx512_any(m) ((m) != 0)
#define WCOHI_AVX512_PICK(a, b, first, step, half)                                                 \
    _mm512_permutex2var_ps(a, _mm512_setr_epi32(                                                   \
        first, first + step, first + 2 * step, first + 3 * step, first + 4 * step,                 \
        first + 5 * step, first + 6 * step, first + 7 * step, first + 8 * step, first + 9 * step,  \
        first + 10 * step, first + 11 * step, first + 12 * step, first + 13 * step,                \
        first + 14 * step, first + 15 * step), b)
#define WCOHI_AVX512_ZIP(a, b, first)                                                              \
    _mm512_permutex2var_ps(a, _mm512_setr_epi32(                                                   \
        first, first + 16, first + 1, first + 17, first + 2, first + 18, first + 3, first + 19,    \
        first + 4, first + 20, first + 5, first + 21, first + 6, first + 22, first + 7,            \
        first + 23), b)
#define wcohi_avx512_even(a, b) WCOHI_AVX512_PICK(a, b, 0, 2, 8)
#define wcohi_avx512_odd(a, b) WCOHI_AVX512_PICK(a, b, 1, 2, 8)
#define wcohi_avx512_ziplo(a, b) WCOHI_AVX512_ZIP(a, b, 0)
#define wcohi_avx512_ziphi(a, b) WCOHI_AVX512_ZIP(a, b, 8)
#define wcohi_avx512_quads(p, stride)                                                              \
    _mm512_maskz_insertf32x8((__mmask16)-1, _mm512_castps256_ps512(wcohi_avx2_quads(p, stride)),   \
                             wcohi_avx2_quads((p) + 2 * (stride), stride), 1)
#define wcohi_avx512_mixlo(a, b) _mm512_maskz_unpacklo_ps((__mmask16)-1, a, b)
#define wcohi_avx512_mixhi(a, b) _mm512_maskz_unpackhi_ps((__mmask16)-1, a, b)
#define wcohi_avx512_pairlo(a, b) _mm512_maskz_shuffle_ps((__mmask16)-1, a, b, 0x44)
#define wcohi_avx512_pairhi(a, b) _mm512_maskz_shuffle_ps((__mmask16)-1, a, b, 0xee)
#define WCOHI_AVX512_GROUPS(a, b, code) _mm512_maskz_shuffle_f32x4((__mmask16)-1, a, b, code)
wcohi_avx512_inline void wcohi_avx512_fold8(float *p, __m512 a, __m512 b)
{
    __m512 two = _mm512_add_ps(WCOHI_AVX512_GROUPS(a, b, 0x44), WCOHI_AVX512_GROUPS(a, b, 0xee));
    two = _mm512_add_ps(WCOHI_AVX512_GROUPS(two, two, 0x88), WCOHI_AVX512_GROUPS(two, two, 0xdd));
    _mm256_storeu_ps(p, WCOHI_AVX512_HALF(two, 0));
}
#define wcohi_avx512_prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)

#define wcohi_avx512_toi(a) _mm512_maskz_cvtps_epi32((__mmask16)-1, a)
#define wcohi_avx512_fromi(i) _mm512_maskz_cvtepi32_ps((__mmask16)-1, i)
#define wcohi_avx512_bits(a) _mm512_castps_si512(a)
#define wcohi_avx512_real(i) _mm512_castsi512_ps(i)
#define wcohi_avx512_iset(x) _mm512_set1_epi32(x)
#define wcohi_avx512_iadd(a, b) _mm512_add_epi32(a, b)
#define wcohi_avx512_isub(a, b) _mm512_sub_epi32(a, b)
#define wcohi_avx512_iand(a, b) _mm512_and_si512(a, b)
#define wcohi_avx512_ior(a, b) _mm512_or_si512(a, b)
#define wcohi_avx512_ixor(a, b) _mm512_xor_si512(a, b)
#define wcohi_avx512_ishl(a, n) _mm512_maskz_slli_epi32((__mmask16)-1, a, n)
#define wcohi_avx512_ishr(a, n) _mm512_maskz_srli_epi32((__mmask16)-1, a, n)
#define wcohi_avx512_isar(a, n) _mm512_maskz_srai_epi32((__mmask16)-1, a, n)
#define wcohi_avx512_igt(a, b) _mm512_cmpgt_epi32_mask(a, b)
#define wcohi_avx512_iload(p) _mm512_loadu_si512(p)
#define wcohi_avx512_istore(p, a) _mm512_storeu_si512(p, a)

#define wcohi_avx512_dload(p) _mm512_loadu_pd(p)
#define wcohi_avx512_dstore(p, a) _mm512_storeu_pd(p, a)
#define wcohi_avx512_dset(x) _mm512_set1_pd(x)
#define wcohi_avx512_dzero() _mm512_setzero_pd()
#define wcohi_avx512_dadd(a, b) _mm512_add_pd(a, b)
#define wcohi_avx512_dsub(a, b) _mm512_sub_pd(a, b)
#define wcohi_avx512_dmul(a, b) _mm512_mul_pd(a, b)
#define wcohi_avx512_ddiv(a, b) _mm512_div_pd(a, b)
#define wcohi_avx512_dsqrt(a) _mm512_maskz_sqrt_pd((__mmask8)-1, a)
#define wcohi_avx512_dfma(a, b, c) _mm512_fmadd_pd(a, b, c)
#define wcohi_avx512_dfnma(a, b, c) _mm512_fnmadd_pd(a, b, c)
#define wcohi_avx512_dlo(a) _mm512_maskz_cvtps_pd((__mmask8)-1, WCOHI_AVX512_HALF(a, 0))
#define wcohi_avx512_dhi(a) _mm512_maskz_cvtps_pd((__mmask8)-1, WCOHI_AVX512_HALF(a, 1))
#define wcohi_avx512_dnarrow(lo, hi)                                                               \
    _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_maskz_cvtpd_ps((__mmask8)-1, lo)),            \
                       _mm512_maskz_cvtpd_ps((__mmask8)-1, hi), 1)
#endif

#ifdef WCOHI_HAS_NEON
/* ---- NEON (64-bit ARM) ----------------------------------------------------------------------- */

#define wcohi_neon_fn static
#define wcohi_neon_inline WCOHI_FORCE_INLINE
#define wcohi_neon_W 4
#define wcohi_neon_DW 2
typedef float32x4_t wcohi_neon_v;
typedef float64x2_t wcohi_neon_dv;
typedef int32x4_t wcohi_neon_iv;
typedef uint32x4_t wcohi_neon_m;

wcohi_neon_inline float32x4_t wcohi_neon_keep(float32x4_t a)
{
#if defined(WCOHI_FAST_MATH) && defined(__GNUC__)
    __asm__("" : "+w"(a));
#endif
    return a;
}
wcohi_neon_inline float32x4_t wcohi_neon_load_n(const float *p, int n)
{
    float lane[4] = {0, 0, 0, 0};
    int i;
    if (n == 4) return vld1q_f32(p);
    for (i = 0; i < n; i++) lane[i] = p[i];
    return vld1q_f32(lane);
}
wcohi_neon_inline void wcohi_neon_store_n(float *p, float32x4_t a, int n)
{
    float lane[4];
    int i;
    vst1q_f32(lane, a);
    for (i = 0; i < n; i++) p[i] = lane[i];
}
static const float wcohi_neon_lanes[4] = {0, 1, 2, 3};
#define wcohi_neon_iota() vld1q_f32(wcohi_neon_lanes)
wcohi_neon_inline float wcohi_neon_sum(float32x4_t a)
{
    float32x2_t pair = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
}

#define wcohi_neon_load(p) vld1q_f32(p)
#define wcohi_neon_store(p, a) vst1q_f32(p, a)
#define wcohi_neon_set(x) vdupq_n_f32(x)
#define wcohi_neon_zero() vdupq_n_f32(0)
#define wcohi_neon_add(a, b) vaddq_f32(a, b)
#define wcohi_neon_sub(a, b) vsubq_f32(a, b)
#define wcohi_neon_mul(a, b) vmulq_f32(a, b)
#define wcohi_neon_div(a, b) vdivq_f32(a, b)
#define wcohi_neon_fma(a, b, c) vfmaq_f32(c, a, b)
#define wcohi_neon_fnma(a, b, c) vfmsq_f32(c, a, b)
#define wcohi_neon_max(a, b) vmaxq_f32(a, b)
#define wcohi_neon_min(a, b) vminq_f32(a, b)
#define wcohi_neon_neg(a) vnegq_f32(a)
#define wcohi_neon_abs(a) vabsq_f32(a)
#define wcohi_neon_sqrt(a) vsqrtq_f32(a)
#define wcohi_neon_lt(a, b) vcltq_f32(a, b)
#define wcohi_neon_le(a, b) vcleq_f32(a, b)
#define wcohi_neon_select(m, a, b) vbslq_f32(m, a, b)
#define wcohi_neon_mand(a, b) vandq_u32(a, b)
#define wcohi_neon_mor(a, b) vorrq_u32(a, b)
#define wcohi_neon_any(m) (vmaxvq_u32(m) != 0)
#define wcohi_neon_hmax(a) vmaxvq_f32(a)
#define wcohi_neon_even(a, b) vuzp1q_f32(a, b)
#define wcohi_neon_odd(a, b) vuzp2q_f32(a, b)
#define wcohi_neon_ziplo(a, b) vzip1q_f32(a, b)
#define wcohi_neon_ziphi(a, b) vzip2q_f32(a, b)
#define wcohi_neon_quads(p, stride) vld1q_f32(p)
#define wcohi_neon_mixlo(a, b) vzip1q_f32(a, b)
#define wcohi_neon_mixhi(a, b) vzip2q_f32(a, b)
#define WCOHI_NEON_PAIRS(zip, a, b)                                                                \
    vreinterpretq_f32_f64(zip(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))
#define wcohi_neon_pairlo(a, b) WCOHI_NEON_PAIRS(vzip1q_f64, a, b)
#define wcohi_neon_pairhi(a, b) WCOHI_NEON_PAIRS(vzip2q_f64, a, b)
#define wcohi_neon_fold8(p, a, b) (vst1q_f32(p, a), vst1q_f32((p) + 4, b))
#ifdef __GNUC__
#define wcohi_neon_prefetch(p) __builtin_prefetch(p)
#else
#define wcohi_neon_prefetch(p) ((void)(p))
#endif

#define wcohi_neon_toi(a) vcvtnq_s32_f32(a)
#define wcohi_neon_fromi(i) vcvtq_f32_s32(i)
#define wcohi_neon_bits(a) vreinterpretq_s32_f32(a)
#define wcohi_neon_real(i) vreinterpretq_f32_s32(i)
#define wcohi_neon_iset(x) vdupq_n_s32(x)
#define wcohi_neon_iadd(a, b) vaddq_s32(a, b)
#define wcohi_neon_isub(a, b) vsubq_s32(a, b)
#define wcohi_neon_iand(a, b) vandq_s32(a, b)
#define wcohi_neon_ior(a, b) vorrq_s32(a, b)
#define wcohi_neon_ixor(a, b) veorq_s32(a, b)
#define wcohi_neon_ishl(a, n) vshlq_n_s32(a, n)
#define wcohi_neon_ishr(a, n)                                                                      \
    vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), n))
#define wcohi_neon_isar(a, n) vshrq_n_s32(a, n)
#define wcohi_neon_igt(a, b) vcgtq_s32(a, b)
#define wcohi_neon_iload(p) vld1q_s32(p)
#define wcohi_neon_istore(p, a) vst1q_s32(p, a)

#define wcohi_neon_dload(p) vld1q_f64(p)
#define wcohi_neon_dstore(p, a) vst1q_f64(p, a)
#define wcohi_neon_dset(x) vdupq_n_f64(x)
#define wcohi_neon_dzero() vdupq_n_f64(0)
#define wcohi_neon_dadd(a, b) vaddq_f64(a, b)
#define wcohi_neon_dsub(a, b) vsubq_f64(a, b)
#define wcohi_neon_dmul(a, b) vmulq_f64(a, b)
#define wcohi_neon_ddiv(a, b) vdivq_f64(a, b)
#define wcohi_neon_dsqrt(a) vsqrtq_f64(a)
#define wcohi_neon_dfma(a, b, c) vfmaq_f64(c, a, b)
#define wcohi_neon_dfnma(a, b, c) vfmsq_f64(c, a, b)
#define wcohi_neon_dlo(a) vcvt_f64_f32(vget_low_f32(a))
#define wcohi_neon_dhi(a) vcvt_high_f64_f32(a)
#define wcohi_neon_dnarrow(lo, hi) vcvt_high_f32_f64(vcvt_f32_f64(lo), hi)
#define wcohi_neon_dsum(a) (vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1))
#endif

/* ---- passes ---------------------------------------------------------------------------------- */

/* WAVECOH_FILE is the name by which this text includes itself. */
#ifndef WAVECOH_FILE
#ifdef __FILE_NAME__
#define WAVECOH_FILE __FILE_NAME__
#if defined(__INCLUDE_LEVEL__) && __INCLUDE_LEVEL__ == 0 && !defined(WCOHI_FIRST_LINES)
#error "the text of wavecoh.h stands in a larger file, but must include itself alone: keep it in a file of its own and define WAVECOH_FILE as the name of that file"
#endif
#else
#define WAVECOH_FILE "wavecoh.h"
#endif
#endif
#ifdef S_
#error "S_ is a macro already; wavecoh.h uses it while its implementation is compiled: include it first"
#endif

/* X(set, ISA) for every set of this build; written without a semicolon. */
#ifdef WCOHI_HAS_SCALAR
#define WCOHI_IF_SCALAR(X) X(wcohi_scalar, WCOH_ISA_SCALAR)
#else
#define WCOHI_IF_SCALAR(X)
#endif
#ifdef WCOHI_HAS_SSE2
#define WCOHI_IF_SSE2(X) X(wcohi_sse2, WCOH_ISA_SSE2)
#else
#define WCOHI_IF_SSE2(X)
#endif
#ifdef WCOHI_HAS_AVX
#define WCOHI_IF_AVX(X) X(wcohi_avx2, WCOH_ISA_AVX2) X(wcohi_avx512, WCOH_ISA_AVX512)
#else
#define WCOHI_IF_AVX(X)
#endif
#ifdef WCOHI_HAS_NEON
#define WCOHI_IF_NEON(X) X(wcohi_neon, WCOH_ISA_NEON)
#else
#define WCOHI_IF_NEON(X)
#endif
#define WCOHI_EACH_SET(X) WCOHI_IF_SCALAR(X) WCOHI_IF_SSE2(X) WCOHI_IF_AVX(X) WCOHI_IF_NEON(X)

/* The groups of kernels. wcohi_norm_kernels is a struct of functions beside the op, whose kernels
   fill one in every pass; a set's table points at one of each. */
#ifdef WAVECOH_NO_TRAINING
#define WCOHI_TRAINING_GROUP(X)
#define WCOHI_BACK(function)
#else
#define WCOHI_TRAINING_GROUP(X) X(common) X(adamw) X(muon) X(dropout)
#define WCOHI_BACK(function) , function /* last in the row of an op or of its kernels */
#endif
#ifdef WAVECOH_NO_TOOLKIT
#define WCOHI_TOOLKIT_GROUP(X)
#else
#define WCOHI_TOOLKIT_GROUP(X) X(toolkit)
#endif
#define WCOHI_KERNEL_GROUPS(X)                                                                     \
    X(gemm)                                                                                        \
    X(norm)                                                                                        \
    X(rms)                                                                                         \
    X(gate)                                                                                        \
    X(per_band) X(softmax) X(kerr) X(wave) X(dot) WCOHI_TRAINING_GROUP(X) WCOHI_TOOLKIT_GROUP(X)

#define WCOHI_GROUP_MEMBER(group) const struct wcohi_##group##_kernels *group;
typedef struct wcohi_kernels {
    wcoh_isa isa;
    WCOHI_KERNEL_GROUPS(WCOHI_GROUP_MEMBER)
} wcohi_kernels;

/* The head of a kernel `name` in a pass; what it takes and returns says wcohi_<name>_is, once. */
#define WCOHI_KERNEL(name) S_(fn) wcohi_##name##_is(S_(name))

/* ---- exp, sincos, tanh, log, gelu ------------------------------------------------------------ */

/* Minimum and maximum hand NaN on when it is the second operand, unless fast-math may swap them. */
#if defined(WCOHI_FAST_MATH) && !defined(WAVECOH_TEST_DOUBLE)
#define WCOHI_PASS_NAN(x, y) S_(select)(S_(is_nan)(x), x, y)
#else
#define WCOHI_PASS_NAN(x, y) (y)
#endif

#ifdef WAVECOH_TEST_DOUBLE

WCOHI_FORCE_INLINE double wcohi_scalar_exp(double x) { return exp(x); }
WCOHI_FORCE_INLINE double wcohi_scalar_tanh(double x) { return tanh(x); }
WCOHI_FORCE_INLINE double wcohi_scalar_log(double x) { return log(x); }
WCOHI_FORCE_INLINE void wcohi_scalar_sincos(double x, double *s, double *c)
{
    *s = sin(x);
    *c = cos(x);
}

#else

/* |x| >= 2^13 reduced by multiples of pi/2, with 2/pi to 224 bits (Payne and Hanek 1983). x is
   m 2^(e-150) with 24 bits of m; bits of 2/pi before number e-152 only add multiples of 4 to the
   quotient, and the 96 bits from there on give it modulo 4 in units of 2^-62. The table begins with
   32 zeros, so the bit is number e-120 of the table. bits: of |x|. */
static const uint32_t wcohi_two_over_pi[8] = {0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                              0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
static float wcohi_far_phase(int32_t bits, int32_t *quadrant)
{
    uint64_t mantissa = ((uint32_t)bits & 0x7fffffu) | 0x800000u, high, low, product, turn;
    int shift = (int)(bits >> 23) - 120, word, offset;
    double phase;
    *quadrant = 0;
    if (bits >= 0x7f800000) return wcohi_bits_real(0x7fc00000);
    word = shift / 32;
    offset = shift % 32;
    high = ((uint64_t)wcohi_two_over_pi[word] << 32) | wcohi_two_over_pi[word + 1];
    low = ((uint64_t)wcohi_two_over_pi[word + 2] << 32) | wcohi_two_over_pi[word + 3];
    if (offset) {
        high = (high << offset) | (low >> (64 - offset));
        low <<= offset;
    }
    product = mantissa * high + ((mantissa * (low >> 32)) >> 32);
    turn = product;
    *quadrant = (int32_t)(turn >> 62);
    turn &= 0x3fffffffffffffffull;
    phase = (double)turn;
    if (turn & 0x2000000000000000ull) {
        phase -= 4611686018427387904.0;
        *quadrant = (*quadrant + 1) & 3;
    }
    return (float)(phase * (1.57079632679489661923 / 4611686018427387904.0));
}

#endif /* WAVECOH_TEST_DOUBLE */

#define WCOHI_2U 1.595769121605730712        /* 2 sqrt(2/pi) */
#define WCOHI_2U_CUBE 0.07135481627260024876 /* times 0.044715 */

#else /* a pass: exp, tanh, sincos, log, gelu */

#ifndef WAVECOH_TEST_DOUBLE

/* 2^n * p for n in -160..130 and p in 1/2..2, also where the result is denormal or infinite. */
#if S_(W) == 16
#define wcohi_avx512_ldexp(p, n) _mm512_maskz_scalef_ps((__mmask16)-1, p, wcohi_avx512_fromi(n))
#else
S_(inline) S_(v) S_(ldexp)(S_(v) p, S_(iv) n)
{
    S_(iv) half = S_(isar)(n, 1), rest = S_(iadd)(S_(isub)(n, half), S_(iset)(127));
    p = S_(real)(S_(iadd)(S_(bits)(p), S_(ishl)(half, 23)));
    return S_(mul)(p, S_(real)(S_(ishl)(rest, 23)));
}
#endif

/* (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, interpolated at Chebyshev points: e^r is good to 1e-8. */
S_(inline) S_(v) S_(exp_tail)(S_(v) r)
{
    S_(v) p = S_(fma)(S_(set)(1.392621347e-3f), r, S_(set)(8.363202972e-3f));
    p = S_(fma)(p, r, S_(set)(4.166655444e-2f));
    p = S_(fma)(p, r, S_(set)(1.666657685e-1f));
    return S_(fma)(p, r, S_(set)(0.5f));
}

/* r = x - n ln 2 with n the nearest integer to x / ln 2; |x| < 200. ln 2 in two parts, the first
   with 15 bits so that n times it is exact. */
S_(inline) S_(v) S_(exp_reduce)(S_(v) x, S_(iv) *n)
{
    S_(v) whole;
    *n = S_(toi)(S_(mul)(x, S_(set)(1.44269504f)));
    whole = S_(fromi)(*n);
    x = S_(keep)(S_(fnma)(whole, S_(set)(0.693145752f), x));
    return S_(keep)(S_(fnma)(whole, S_(set)(1.42860677e-6f), x));
}

S_(inline) S_(v) S_(expm1_small)(S_(v) r)
{
    return S_(fma)(S_(mul)(S_(exp_tail)(r), r), r, r);
}

/* by the bits: fast-math may drop a comparison of reals */
S_(inline) S_(m) S_(is_nan)(S_(v) x)
{
    return S_(igt)(S_(iand)(S_(bits)(x), S_(iset)(0x7fffffff)), S_(iset)(0x7f800000));
}

/* e^x. At most 1.5 ULP over all floats, denormal results included; NaN stays NaN. */
S_(inline) S_(v) S_(exp)(S_(v) x)
{
    S_(iv) n;
    S_(v) t = S_(min)(S_(set)(89.0f), S_(max)(S_(set)(-105.0f), x));
    S_(v) r = S_(exp_reduce)(t, &n), one = S_(set)(1.0f), p;
    p = S_(fma)(S_(exp_tail)(r), r, one);
    p = S_(ldexp)(S_(fma)(p, r, one), n);
    return WCOHI_PASS_NAN(x, p);
}

/* tanh x = m / (m + 2), m = e^2|x| - 1 = 2^n (e^r - 1) + (2^n - 1), with the sign of x.
   At most 3 ULP. */
S_(inline) S_(v) S_(tanh)(S_(v) x)
{
    S_(iv) n, sign = S_(iand)(S_(bits)(x), S_(ixor)(S_(iset)(0x7fffffff), S_(iset)(-1)));
    S_(v) a = S_(min)(S_(set)(10.0f), S_(abs)(x)), scale, m;
    m = S_(expm1_small)(S_(exp_reduce)(S_(add)(a, a), &n));
    scale = S_(real)(S_(ishl)(S_(iadd)(n, S_(iset)(127)), 23));
    m = S_(fma)(scale, m, S_(keep)(S_(sub)(scale, S_(set)(1.0f))));
    m = S_(div)(m, S_(add)(m, S_(set)(2.0f)));
    m = S_(real)(S_(ior)(S_(bits)(m), sign));
    return WCOHI_PASS_NAN(x, m);
}

/* sin and cos. |x| = q pi/2 + r: up to 12800 pi/2 is subtracted in four parts, the first three so
   short that q times them is exact; beyond, lane by lane. At most 2.5 ULP over all floats. */
S_(inline) S_(v) S_(far_lanes)(S_(v) r, S_(iv) bits, S_(iv) *quadrant)
{
    float phase[S_(W)];
    int32_t x[S_(W)], q[S_(W)];
    int i;
    S_(store)(phase, r);
    S_(istore)(x, bits);
    S_(istore)(q, *quadrant);
    for (i = 0; i < S_(W); i++)
        if (x[i] > 0x46480000) phase[i] = wcohi_far_phase(x[i], &q[i]);
    *quadrant = S_(iload)(q);
    return S_(load)(phase);
}

S_(inline) void S_(sincos)(S_(v) x, S_(v) *sine, S_(v) *cosine)
{
    S_(iv) bits = S_(iand)(S_(bits)(x), S_(iset)(0x7fffffff)), q;
    S_(iv) sign = S_(ixor)(S_(bits)(x), bits), one = S_(iset)(1), two = S_(iset)(2);
    S_(m) distant = S_(igt)(bits, S_(iset)(0x46480000)), swap;
    S_(v) r = S_(select)(distant, S_(zero)(), S_(real)(bits)), n, z, s, c;
    q = S_(toi)(S_(mul)(r, S_(set)(0.636619772f)));
    n = S_(fromi)(q);
    r = S_(keep)(S_(fnma)(n, S_(set)(1.5703125f), r));
    r = S_(keep)(S_(fnma)(n, S_(set)(4.83751297e-4f), r));
    r = S_(keep)(S_(fnma)(n, S_(set)(7.5495336e-8f), r));
    r = S_(keep)(S_(fnma)(n, S_(set)(2.5633441e-12f), r));
    if (S_(any)(distant)) r = S_(far_lanes)(r, bits, &q);
    z = S_(mul)(r, r);
    s = S_(fma)(S_(set)(-1.9515295891e-4f), z, S_(set)(8.3321608736e-3f));
    s = S_(fma)(s, z, S_(set)(-1.6666654611e-1f));
    s = S_(fma)(S_(mul)(s, z), r, r);
    c = S_(fma)(S_(set)(2.443315711809948e-5f), z, S_(set)(-1.388731625493765e-3f));
    c = S_(fma)(c, z, S_(set)(4.166664568298827e-2f));
    c = S_(fma)(S_(mul)(c, z), z, S_(fnma)(S_(set)(0.5f), z, S_(set)(1.0f)));
    swap = S_(igt)(S_(iand)(q, one), S_(iset)(0));
    sign = S_(ixor)(sign, S_(ishl)(S_(iand)(q, two), 30));
    *sine = S_(real)(S_(ixor)(S_(bits)(S_(select)(swap, c, s)), sign));
    sign = S_(ishl)(S_(iand)(S_(iadd)(q, one), two), 30);
    *cosine = S_(real)(S_(ixor)(S_(bits)(S_(select)(swap, s, c)), sign));
}

/* ln x = e ln 2 + ln(1 + f), x = 2^e (1 + f), f in [sqrt(1/2)-1, sqrt(2)-1]. At most 1.5 ULP;
   0 gives -inf, negative values NaN. */
S_(inline) S_(v) S_(log_edges)(S_(v) x, S_(v) y)
{
    S_(iv) bits = S_(bits)(x), magnitude = S_(iand)(bits, S_(iset)(0x7fffffff));
    S_(m) big = S_(igt)(bits, S_(iset)(0x7f7fffff)); /* +inf and NaN: itself */
    S_(m) below = S_(igt)(S_(iset)(0), bits), none = S_(igt)(S_(iset)(1), magnitude);
    y = S_(select)(big, x, y);
    y = S_(select)(below, S_(real)(S_(iset)(0x7fc00000)), y);
    return S_(select)(none, S_(real)(S_(ishl)(S_(iset)(0x1ff), 23)), y);
}

S_(inline) S_(v) S_(log)(S_(v) x)
{
    S_(m) tiny = S_(igt)(S_(iset)(0x00800000), S_(bits)(x));
    S_(v) scaled = S_(select)(tiny, S_(mul)(x, S_(set)(8388608.0f)), x), f, e, z, p;
    S_(iv) bits = S_(isub)(S_(bits)(scaled), S_(iset)(0x3f3504f3));
    e = S_(fromi)(S_(isar)(bits, 23));
    e = S_(sub)(e, S_(select)(tiny, S_(set)(23.0f), S_(zero)()));
    bits = S_(iadd)(S_(iand)(bits, S_(iset)(0x007fffff)), S_(iset)(0x3f3504f3));
    f = S_(keep)(S_(sub)(S_(real)(bits), S_(set)(1.0f)));
    z = S_(mul)(f, f);
    p = S_(fma)(S_(set)(7.0376836292e-2f), f, S_(set)(-1.1514610310e-1f));
    p = S_(fma)(p, f, S_(set)(1.1676998740e-1f));
    p = S_(fma)(p, f, S_(set)(-1.2420140846e-1f));
    p = S_(fma)(p, f, S_(set)(1.4249322787e-1f));
    p = S_(fma)(p, f, S_(set)(-1.6668057665e-1f));
    p = S_(fma)(p, f, S_(set)(2.0000714765e-1f));
    p = S_(fma)(p, f, S_(set)(-2.4999993993e-1f));
    p = S_(fma)(p, f, S_(set)(3.3333331174e-1f));
    p = S_(fma)(S_(mul)(p, f), z, S_(mul)(e, S_(set)(-2.12194440e-4f)));
    p = S_(fnma)(S_(set)(0.5f), z, p);
    p = S_(fma)(e, S_(set)(0.693359375f), S_(keep)(S_(add)(f, p)));
    return S_(log_edges)(x, p);
}

#endif /* WAVECOH_TEST_DOUBLE */

/* gelu(x) = x/2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3), and
   gelu'(x) = s + x s (1 - s) 2u', s = 1 / (1 + e^-2u). The exponent stops at 80 and x at +-16, past
   which both are at their limits to rounding. Errors: 4e-7 (1 + |x|) and 8e-7 (1 + |x|). */
S_(inline) S_(v) S_(rsqrt)(S_(v) x)
{
    return S_(div)(S_(set)(1), S_(keep)(S_(sqrt)(x)));
}

/* 1 + e^-2u */
S_(inline) S_(v) S_(gelu_divisor)(S_(v) x, S_(v) square)
{
    S_(v) linear = S_(set)((wcoh_real)-WCOHI_2U), cube = S_(set)((wcoh_real)-WCOHI_2U_CUBE);
    S_(v) u = S_(mul)(S_(fma)(square, cube, linear), x);
    return S_(add)(S_(exp)(S_(min)(S_(set)(80), u)), S_(set)(1));
}

S_(inline) S_(v) S_(gelu)(S_(v) x)
{
    S_(v) low = S_(max)(S_(set)(-16), x), t = S_(min)(S_(set)(16), low);
    return WCOHI_PASS_NAN(x, S_(div)(low, S_(gelu_divisor)(t, S_(mul)(t, t))));
}

S_(inline) S_(v) S_(gelu_slope)(S_(v) x)
{
    S_(v) t = S_(min)(S_(set)(16), S_(max)(S_(set)(-16), x)), z = S_(mul)(t, t);
    S_(v) one = S_(set)(1), s = S_(div)(one, S_(gelu_divisor)(t, z)), slope;
    slope = S_(fma)(z, S_(set)((wcoh_real)(3 * WCOHI_2U_CUBE)), S_(set)((wcoh_real)WCOHI_2U));
    slope = S_(fma)(S_(mul)(S_(mul)(t, slope), s), S_(sub)(one, s), s);
    return WCOHI_PASS_NAN(x, slope);
}

#endif
#ifndef WCOHI_PASS

/* ======== 2 ground: matrix products =========================================================== */

/* C [m,n] = op(A) [m,k] op(B) [k,n], row-major, as BLIS does it: one register tile, everything else
   built around it. A panel of B (2 vectors wide, at most `depth` rows) is packed into the first
   cache, turned if B is stored [n,k]; A is read where it lies, in tiles of up to S_(ROWS) rows of
   nearly equal height. Every element of C is one chain of multiply-adds over k in order (fused
   where the set has them), cut only every `depth` steps, so its bits depend on the shape and the
   instruction set, not on tiles or threads. |error| <= (k + 3) eps (sum |a||b| + |what is added|).
   Up to WCOHI_DOT_ROWS rows of A against B [n,k] read B where it lies: vectors along k. */

typedef struct wcohi_gemm_args {
    int m, n, k;
    const wcoh_real *a; /* [m,k], or [k,m] if ta */
    size_t lda;
    int ta;
    const wcoh_real *b; /* [k,n], or [n,k] if tb: a weight matrix [out,in] */
    size_t ldb;
    int tb;
    wcoh_real *c; /* [m,n] */
    size_t ldc;
    int accumulate;            /* C += */
    int half;                  /* C is symmetric: right of the diagonal it need not be computed */
    const wcoh_real *bias;     /* [n] or NULL */
    const wcoh_real *residual; /* [m,n] or NULL; may be c */
    size_t ldr;
    int gelu;       /* C = gelu(what it would be) */
    wcoh_real *pre; /* [m,n], ld as C: receives the argument of gelu; or NULL */
} wcohi_gemm_args;

typedef struct wcohi_compute {
    const wcohi_kernels *kernels;
    wcohi_pool *pool;
    wcoh_real *pack; /* [wcohi_pack_count(slots)] */
} wcohi_compute;

/* One tile: c [rows,width] = sum over p of a(i,p) b(p,j), plus up to three matrices. */
typedef struct wcohi_tile {
    int k;
    const wcoh_real *a; /* (i,p) at a[i a_row + p a_step] */
    size_t a_row, a_step;
    const wcoh_real *b; /* row p at b + p b_step; for dots: column j at b + j b_step */
    size_t b_step;
    wcoh_real *c;
    size_t ldc;
    int adds;
    const wcoh_real *add[3];
    size_t add_row[3];
} wcohi_tile;
typedef void (*wcohi_tile_function)(const wcohi_tile *tile);

#define WCOHI_TILE_ROWS 14  /* the highest tile of any set */
#define WCOHI_DOT_COLUMNS 8 /* columns that the dot kernels take at once */
#define WCOHI_DOT_ROWS 4    /* up to so many rows of A, B [n,k] is read by dots instead of turned */
#define WCOHI_PACK_PANEL 8192
#define WCOHI_PACK_EDGE 512 /* a tile that hangs over the right edge */

#define wcohi_pack_is(name)                                                                        \
    void name(wcoh_real *to, const wcoh_real *from, size_t ld, int n, int k, int width)
#define wcohi_pack_turned_is(name)                                                                 \
    void name(wcoh_real *to, const wcoh_real *from, size_t ld, int n, int k, int width)
#define wcohi_finish_is(name)                                                                      \
    void name(const wcohi_tile *tile, int rows, int n, const wcoh_real *from, size_t ld)
#define wcohi_gelu_rows_is(name)                                                                   \
    void name(wcoh_real *c, const wcoh_real *pre, size_t ld, int rows, int n)
typedef struct wcohi_gemm_kernels {
    int rows, lanes, depth; /* highest tile, lanes of a vector, rows of a packed panel */
    wcohi_tile_function tile[2][WCOHI_TILE_ROWS + 1]; /* [vectors - 1][rows] */
    wcohi_tile_function dot[2];                       /* one or two rows of A */
    wcohi_pack_is((*pack));
    wcohi_pack_turned_is((*pack_turned));
    wcohi_finish_is((*finish));
    wcohi_gelu_rows_is((*gelu));
} wcohi_gemm_kernels;

/* Reals that wcohi_compute.pack holds; enough for every shape. */
static size_t wcohi_pack_count(int slots)
{
    return (size_t)slots * (WCOHI_PACK_PANEL + WCOHI_PACK_EDGE);
}

/* ---- the tile -------------------------------------------------------------------------------- */

/* 2 H accumulators, two of B and one of A fill 16 registers at H = 6, 32 at H = 14. Per set: rows,
   and depth (a panel of 2 W columns then fills at most half of a first-level cache). */
#define wcohi_scalar_ROWS 6
#define wcohi_scalar_DEPTH 512
#define wcohi_sse2_ROWS 6
#define wcohi_sse2_DEPTH 384
#define wcohi_avx2_ROWS 6
#define wcohi_avx2_DEPTH 256
#define wcohi_avx512_ROWS 14
#define wcohi_avx512_DEPTH 192
#define wcohi_neon_ROWS 8
#define wcohi_neon_DEPTH 384

/* Row r of a tile, inside S_(tile): its accumulators, a step of its sums, what is added, its end. */
#define WCOHI_ROW_SUMS(r) S_(v) c##r##_0 = S_(zero)(), c##r##_1 = c##r##_0;
#define WCOHI_ROW_STEP(r, at)                                                                      \
    {                                                                                              \
        x = S_(set)(*(at));                                                                        \
        c##r##_0 = S_(fma)(x, b0, c##r##_0);                                                       \
        if (V > 1) c##r##_1 = S_(fma)(x, b1, c##r##_1);                                            \
    }
#define WCOHI_ROW_ADD(r)                                                                           \
    {                                                                                              \
        c##r##_0 = S_(add)(c##r##_0, S_(load)(add));                                               \
        if (V > 1) c##r##_1 = S_(add)(c##r##_1, S_(load)(add + S_(W)));                            \
        add += add_row;                                                                            \
    }
#define WCOHI_ROW_STORE(r)                                                                         \
    {                                                                                              \
        S_(store)(c, c##r##_0);                                                                    \
        if (V > 1) S_(store)(c + S_(W), c##r##_1);                                                 \
        c += ldc;                                                                                  \
    }
#define WCOHI_TILE(H, V) S_(fn) void S_(tile_##H##x##V)(const wcohi_tile *tile)

/* Column j of eight, inside S_(dots): its sums with one or two rows x, and a step of them. */
#define WCOHI_DOT_SUMS(j) S_(v) c##j##_0 = S_(zero)(), c##j##_1 = c##j##_0;
#define WCOHI_DOT_STEP(j, b)                                                                       \
    {                                                                                              \
        y = b;                                                                                     \
        c##j##_0 = S_(fma)(y, x0, c##j##_0);                                                       \
        if (V > 1) c##j##_1 = S_(fma)(y, x1, c##j##_1);                                            \
    }

/* tile->c [rows,8] = sum [rows,8] plus what the tile adds, which may be c itself */
WCOHI_FORCE_INLINE void wcohi_dot_store(const wcohi_tile *tile, wcoh_real *sum, int rows)
{
    int i, j, t;
    for (i = 0; i < rows; i++, sum += 8) {
        wcoh_real *c = tile->c + (size_t)i * tile->ldc;
        for (t = 0; t < tile->adds; t++) {
            const wcoh_real *add = tile->add[t] + (size_t)i * tile->add_row[t];
            for (j = 0; j < 8; j++) sum[j] += add[j];
        }
        for (j = 0; j < 8; j++) c[j] = sum[j];
    }
}

#define WCOHI_PACK_AHEAD 24 /* rows ahead of the packing that are fetched */

/* to [k,width] (a part of it) = from [n,k] (ld) turned, zeros right of n. */
static void wcohi_pack_turned_part(wcoh_real *to, const wcoh_real *from, size_t ld, int n, int k,
                                   int part, int width)
{
    int p, j;
    for (j = 0; j < part; j++) {
        wcoh_real *column = to + j;
        for (p = 0; p < k; p++, column += width)
            *column = j < n ? from[(size_t)j * ld + (size_t)p] : 0;
    }
}

#else /* a pass: the matrix product */

/* H rows by V vectors of C. Both are constants where this is inlined, so rows beyond H cost nothing.
   Four base pointers and three strides reach 14 rows with few registers. What is added comes last,
   in the order given. */
S_(inline) void S_(tile)(const wcohi_tile *tile, int H, int V)
{
    const size_t row = tile->a_row, row2 = 2 * row, row3 = 3 * row;
    const size_t a_step = tile->a_step, b_step = tile->b_step, ldc = tile->ldc;
    const wcoh_real *a0 = tile->a, *a1 = H > 4 ? a0 + 4 * row : a0;
    const wcoh_real *a2 = H > 8 ? a1 + 4 * row : a0, *a3 = H > 12 ? a2 + 4 * row : a0;
    const wcoh_real *b = tile->b;
    wcoh_real *c = tile->c;
    int p, i;
    WCOHI_ROW_SUMS(0) WCOHI_ROW_SUMS(1) WCOHI_ROW_SUMS(2)
    WCOHI_ROW_SUMS(3) WCOHI_ROW_SUMS(4) WCOHI_ROW_SUMS(5)
#if S_(ROWS) > 6
    WCOHI_ROW_SUMS(6) WCOHI_ROW_SUMS(7)
#endif
#if S_(ROWS) > 8
    WCOHI_ROW_SUMS(8) WCOHI_ROW_SUMS(9) WCOHI_ROW_SUMS(10)
    WCOHI_ROW_SUMS(11) WCOHI_ROW_SUMS(12) WCOHI_ROW_SUMS(13)
#endif
    for (p = tile->k; p > 0; p--) {
        S_(v) b0 = S_(load)(b), b1 = V > 1 ? S_(load)(b + S_(W)) : b0, x;
        WCOHI_ROW_STEP(0, a0)
        if (H > 1) WCOHI_ROW_STEP(1, a0 + row)
        if (H > 2) WCOHI_ROW_STEP(2, a0 + row2)
        if (H > 3) WCOHI_ROW_STEP(3, a0 + row3)
        if (H > 4) WCOHI_ROW_STEP(4, a1)
        if (H > 5) WCOHI_ROW_STEP(5, a1 + row)
#if S_(ROWS) > 6
        if (H > 6) WCOHI_ROW_STEP(6, a1 + row2)
        if (H > 7) WCOHI_ROW_STEP(7, a1 + row3)
#endif
#if S_(ROWS) > 8
        if (H > 8) WCOHI_ROW_STEP(8, a2)
        if (H > 9) WCOHI_ROW_STEP(9, a2 + row)
        if (H > 10) WCOHI_ROW_STEP(10, a2 + row2)
        if (H > 11) WCOHI_ROW_STEP(11, a2 + row3)
        if (H > 12) WCOHI_ROW_STEP(12, a3)
        if (H > 13) WCOHI_ROW_STEP(13, a3 + row)
#endif
        a0 += a_step, a1 += a_step, a2 += a_step, a3 += a_step;
        b += b_step;
    }
    for (i = 0; i < tile->adds; i++) {
        const wcoh_real *add = tile->add[i];
        const size_t add_row = tile->add_row[i];
        WCOHI_ROW_ADD(0)
        if (H > 1) WCOHI_ROW_ADD(1)
        if (H > 2) WCOHI_ROW_ADD(2)
        if (H > 3) WCOHI_ROW_ADD(3)
        if (H > 4) WCOHI_ROW_ADD(4)
        if (H > 5) WCOHI_ROW_ADD(5)
#if S_(ROWS) > 6
        if (H > 6) WCOHI_ROW_ADD(6)
        if (H > 7) WCOHI_ROW_ADD(7)
#endif
#if S_(ROWS) > 8
        if (H > 8) WCOHI_ROW_ADD(8)
        if (H > 9) WCOHI_ROW_ADD(9)
        if (H > 10) WCOHI_ROW_ADD(10)
        if (H > 11) WCOHI_ROW_ADD(11)
        if (H > 12) WCOHI_ROW_ADD(12)
        if (H > 13) WCOHI_ROW_ADD(13)
#endif
    }
    WCOHI_ROW_STORE(0)
    if (H > 1) WCOHI_ROW_STORE(1)
    if (H > 2) WCOHI_ROW_STORE(2)
    if (H > 3) WCOHI_ROW_STORE(3)
    if (H > 4) WCOHI_ROW_STORE(4)
    if (H > 5) WCOHI_ROW_STORE(5)
#if S_(ROWS) > 6
    if (H > 6) WCOHI_ROW_STORE(6)
    if (H > 7) WCOHI_ROW_STORE(7)
#endif
#if S_(ROWS) > 8
    if (H > 8) WCOHI_ROW_STORE(8)
    if (H > 9) WCOHI_ROW_STORE(9)
    if (H > 10) WCOHI_ROW_STORE(10)
    if (H > 11) WCOHI_ROW_STORE(11)
    if (H > 12) WCOHI_ROW_STORE(12)
    if (H > 13) WCOHI_ROW_STORE(13)
#endif
    (void)a1, (void)a2, (void)a3, (void)row2, (void)row3, (void)c;
}

WCOHI_TILE(1, 1) { S_(tile)(tile, 1, 1); }
WCOHI_TILE(1, 2) { S_(tile)(tile, 1, 2); }
WCOHI_TILE(2, 1) { S_(tile)(tile, 2, 1); }
WCOHI_TILE(2, 2) { S_(tile)(tile, 2, 2); }
WCOHI_TILE(3, 1) { S_(tile)(tile, 3, 1); }
WCOHI_TILE(3, 2) { S_(tile)(tile, 3, 2); }
WCOHI_TILE(4, 1) { S_(tile)(tile, 4, 1); }
WCOHI_TILE(4, 2) { S_(tile)(tile, 4, 2); }
WCOHI_TILE(5, 1) { S_(tile)(tile, 5, 1); }
WCOHI_TILE(5, 2) { S_(tile)(tile, 5, 2); }
WCOHI_TILE(6, 1) { S_(tile)(tile, 6, 1); }
WCOHI_TILE(6, 2) { S_(tile)(tile, 6, 2); }
#if S_(ROWS) > 6
WCOHI_TILE(7, 1) { S_(tile)(tile, 7, 1); }
WCOHI_TILE(7, 2) { S_(tile)(tile, 7, 2); }
WCOHI_TILE(8, 1) { S_(tile)(tile, 8, 1); }
WCOHI_TILE(8, 2) { S_(tile)(tile, 8, 2); }
#endif
#if S_(ROWS) > 8
WCOHI_TILE(9, 1) { S_(tile)(tile, 9, 1); }
WCOHI_TILE(9, 2) { S_(tile)(tile, 9, 2); }
WCOHI_TILE(10, 1) { S_(tile)(tile, 10, 1); }
WCOHI_TILE(10, 2) { S_(tile)(tile, 10, 2); }
WCOHI_TILE(11, 1) { S_(tile)(tile, 11, 1); }
WCOHI_TILE(11, 2) { S_(tile)(tile, 11, 2); }
WCOHI_TILE(12, 1) { S_(tile)(tile, 12, 1); }
WCOHI_TILE(12, 2) { S_(tile)(tile, 12, 2); }
WCOHI_TILE(13, 1) { S_(tile)(tile, 13, 1); }
WCOHI_TILE(13, 2) { S_(tile)(tile, 13, 2); }
WCOHI_TILE(14, 1) { S_(tile)(tile, 14, 1); }
WCOHI_TILE(14, 2) { S_(tile)(tile, 14, 2); }
#endif

/* ---- few rows: dots along k ------------------------------------------------------------------ */

/* out [8] = the sums of eight vectors: groups of four lanes are summed by a transposition, then the
   groups. */
#if S_(W) == 1
#define wcohi_scalar_sum8(out, a, b, c, d, e, f, g, h)                                             \
    ((out)[0] = a, (out)[1] = b, (out)[2] = c, (out)[3] = d, (out)[4] = e, (out)[5] = f,           \
     (out)[6] = g, (out)[7] = h)
#else
S_(inline) S_(v) S_(sum4)(S_(v) a, S_(v) b, S_(v) c, S_(v) d)
{
    a = S_(add)(S_(mixlo)(a, b), S_(mixhi)(a, b));
    c = S_(add)(S_(mixlo)(c, d), S_(mixhi)(c, d));
    return S_(add)(S_(pairlo)(a, c), S_(pairhi)(a, c));
}

S_(inline) void S_(sum8)(wcoh_real *out, S_(v) a, S_(v) b, S_(v) c, S_(v) d, S_(v) e, S_(v) f,
                         S_(v) g, S_(v) h)
{
    S_(fold8)(out, S_(sum4)(a, b, c, d), S_(sum4)(e, f, g, h));
}
#endif

/* c [V,8] = a [V,k] b [8,k]^T, plus what the tile adds; V is a constant where this is inlined */
S_(inline) void S_(dots)(const wcohi_tile *tile, int V)
{
    const size_t row = tile->b_step, row2 = 2 * row, row3 = 3 * row;
    const wcoh_real *a0 = tile->b, *a1 = a0 + 4 * row;
    const wcoh_real *x = tile->a;
    wcoh_real sum[16];
    int p;
    WCOHI_DOT_SUMS(0) WCOHI_DOT_SUMS(1) WCOHI_DOT_SUMS(2) WCOHI_DOT_SUMS(3)
    WCOHI_DOT_SUMS(4) WCOHI_DOT_SUMS(5) WCOHI_DOT_SUMS(6) WCOHI_DOT_SUMS(7)
    for (p = tile->k; p >= S_(W); p -= S_(W)) {
        S_(v) x0 = S_(load)(x), x1 = V > 1 ? S_(load)(x + tile->a_row) : x0, y;
        WCOHI_DOT_STEP(0, S_(load)(a0))
        WCOHI_DOT_STEP(1, S_(load)(a0 + row))
        WCOHI_DOT_STEP(2, S_(load)(a0 + row2))
        WCOHI_DOT_STEP(3, S_(load)(a0 + row3))
        WCOHI_DOT_STEP(4, S_(load)(a1))
        WCOHI_DOT_STEP(5, S_(load)(a1 + row))
        WCOHI_DOT_STEP(6, S_(load)(a1 + row2))
        WCOHI_DOT_STEP(7, S_(load)(a1 + row3))
        a0 += S_(W), a1 += S_(W), x += S_(W);
    }
    if (p > 0) {
        S_(v) x0 = S_(load_n)(x, p), x1 = V > 1 ? S_(load_n)(x + tile->a_row, p) : x0, y;
        WCOHI_DOT_STEP(0, S_(load_n)(a0, p))
        WCOHI_DOT_STEP(1, S_(load_n)(a0 + row, p))
        WCOHI_DOT_STEP(2, S_(load_n)(a0 + row2, p))
        WCOHI_DOT_STEP(3, S_(load_n)(a0 + row3, p))
        WCOHI_DOT_STEP(4, S_(load_n)(a1, p))
        WCOHI_DOT_STEP(5, S_(load_n)(a1 + row, p))
        WCOHI_DOT_STEP(6, S_(load_n)(a1 + row2, p))
        WCOHI_DOT_STEP(7, S_(load_n)(a1 + row3, p))
    }
    S_(sum8)(sum, c0_0, c1_0, c2_0, c3_0, c4_0, c5_0, c6_0, c7_0);
    if (V > 1) S_(sum8)(sum + 8, c0_1, c1_1, c2_1, c3_1, c4_1, c5_1, c6_1, c7_1);
    wcohi_dot_store(tile, sum, V);
}
S_(fn) void S_(dot_1)(const wcohi_tile *tile) { S_(dots)(tile, 1); }
S_(fn) void S_(dot_2)(const wcohi_tile *tile) { S_(dots)(tile, 2); }

/* ---- packing and edges ----------------------------------------------------------------------- */

/* to [k,width] = from [k,n] (ld), zeros right of n. The rows are short pieces of long ones, which
   prefetchers do not foresee. */
WCOHI_KERNEL(pack)
{
    int p, j;
    for (p = 0; p < k; p++, from += ld, to += width)
        for (j = 0; j < width; j += S_(W)) {
            int left = WCOHI_CLAMP(n - j, 0, S_(W));
            S_(v) v = S_(zero)();
            S_(prefetch)(from + WCOHI_PACK_AHEAD * ld + j);
            if (left == S_(W)) v = S_(load)(from + j);
            else if (left > 0) v = S_(load_n)(from + j, left);
            S_(store)(to + j, v);
        }
}

#if S_(W) == 1
WCOHI_KERNEL(pack_turned) { wcohi_pack_turned_part(to, from, ld, n, k, width, width); }
#else
/* Blocks of W rows by 4: rows 4g + i meet in vector i, then 4x4 blocks are transposed in place. */
WCOHI_KERNEL(pack_turned)
{
    int j, p;
    for (j = 0; j < width; j += S_(W), to += S_(W), from += S_(W) * ld) {
        int whole = n - j >= S_(W) ? k / 4 * 4 : 0;
        for (p = 0; p < whole; p += 4) {
            const wcoh_real *at = from + p;
            S_(v) a = S_(quads)(at, 4 * ld), b = S_(quads)(at + ld, 4 * ld);
            S_(v) c = S_(quads)(at + 2 * ld, 4 * ld), d = S_(quads)(at + 3 * ld, 4 * ld);
            S_(v) ab = S_(mixlo)(a, b), cd = S_(mixlo)(c, d);
            wcoh_real *row = to + (size_t)p * (size_t)width;
            S_(store)(row, S_(pairlo)(ab, cd));
            S_(store)(row + width, S_(pairhi)(ab, cd));
            ab = S_(mixhi)(a, b), cd = S_(mixhi)(c, d);
            S_(store)(row + 2 * width, S_(pairlo)(ab, cd));
            S_(store)(row + 3 * width, S_(pairhi)(ab, cd));
        }
        wcohi_pack_turned_part(to + (size_t)whole * (size_t)width, from + whole, ld,
                               n > j ? n - j : 0, k - whole, S_(W), width);
    }
}
#endif

/* tile->c [rows,n] = from [rows,n] (ld) plus what the tile adds. */
WCOHI_KERNEL(finish)
{
    int i, j, t;
    for (i = 0; i < rows; i++, from += ld)
        for (j = 0; j < n; j += S_(W)) {
            int left = WCOHI_MIN(n - j, S_(W));
            S_(v) v = S_(load_n)(from + j, left);
            for (t = 0; t < tile->adds; t++) {
                const wcoh_real *add = tile->add[t] + (size_t)i * tile->add_row[t] + j;
                v = S_(add)(v, S_(load_n)(add, left));
            }
            S_(store_n)(tile->c + (size_t)i * tile->ldc + j, v, left);
        }
}

/* c [rows,n] = gelu(pre [rows,n]), both with ld; may be in place */
WCOHI_KERNEL(gelu_rows)
{
    int i, j;
    for (i = 0; i < rows; i++, c += ld, pre += ld) {
        for (j = 0; j + S_(W) <= n; j += S_(W)) S_(store)(c + j, S_(gelu)(S_(load)(pre + j)));
        if (j < n) S_(store_n)(c + j, S_(gelu)(S_(load_n)(pre + j, n - j)), n - j);
    }
}

static const wcohi_gemm_kernels S_(gemm_kernels) = {
    S_(ROWS), S_(W), S_(DEPTH),
    {
     {NULL,
      S_(tile_1x1), S_(tile_2x1), S_(tile_3x1),
      S_(tile_4x1), S_(tile_5x1), S_(tile_6x1),
#if S_(ROWS) > 6
      S_(tile_7x1), S_(tile_8x1),
#endif
#if S_(ROWS) > 8
      S_(tile_9x1), S_(tile_10x1), S_(tile_11x1),
      S_(tile_12x1), S_(tile_13x1), S_(tile_14x1),
#endif
     },
     {NULL,
      S_(tile_1x2), S_(tile_2x2), S_(tile_3x2),
      S_(tile_4x2), S_(tile_5x2), S_(tile_6x2),
#if S_(ROWS) > 6
      S_(tile_7x2), S_(tile_8x2),
#endif
#if S_(ROWS) > 8
      S_(tile_9x2), S_(tile_10x2), S_(tile_11x2),
      S_(tile_12x2), S_(tile_13x2), S_(tile_14x2),
#endif
     }},
    {S_(dot_1), S_(dot_2)},
    S_(pack), S_(pack_turned), S_(finish), S_(gelu_rows)};

#endif
#ifndef WCOHI_PASS

/* ---- the product ----------------------------------------------------------------------------- */

typedef struct wcohi_gemm_run {
    const wcohi_gemm_kernels *kernels;
    wcohi_gemm_args args;
    wcoh_real *pack;
    wcoh_real *to;  /* c, or pre when gelu keeps it */
    int tiles;      /* rows of tiles, of nearly equal height */
    int panels;     /* columns of tiles, 2 vectors wide */
    int row_parts, column_parts;
} wcohi_gemm_run;

/* First row of tile t. */
static int wcohi_tile_row(const wcohi_gemm_run *run, int t)
{
    int height = run->args.m / run->tiles, rest = run->args.m % run->tiles;
    return t * height + WCOHI_MIN(t, rest);
}

/* C at row i and column j, and what is added there: the sum so far, and last bias and residual. */
static void wcohi_tile_target(const wcohi_gemm_run *run, wcohi_tile *tile, int i, int j, int first,
                              int last)
{
    const wcohi_gemm_args *g = &run->args;
    int count = 0;
    tile->c = run->to + (size_t)i * g->ldc + j;
    tile->ldc = g->ldc;
    if (!first || g->accumulate) {
        tile->add[count] = tile->c;
        tile->add_row[count++] = g->ldc;
    }
    if (last && g->bias) {
        tile->add[count] = g->bias + j;
        tile->add_row[count++] = 0;
    }
    if (last && g->residual) {
        tile->add[count] = g->residual + (size_t)i * g->ldr + j;
        tile->add_row[count++] = g->ldr;
    }
    tile->adds = count;
}

/* After the last cut: gelu of the rows and columns that `tile` has written. */
static void wcohi_tile_gelu(const wcohi_gemm_run *run, const wcohi_tile *tile, int i, int j,
                            int rows, int n)
{
    const wcohi_gemm_args *g = &run->args;
    if (g->gelu) run->kernels->gelu(g->c + (size_t)i * g->ldc + j, tile->c, g->ldc, rows, n);
}

/* A panel of C: tiles t0 .. t1-1 by columns j .. j+n-1, and steps p .. p+k-1 of its sums. */
typedef struct wcohi_panel {
    int t0, t1;
    int j, n, width; /* width: n rounded up to one or two vectors */
    int p, k;
    wcoh_real *packed; /* [k,width], and behind it the edge [rows,width] */
} wcohi_panel;

/* Point the tile at rows p .. of B: packed, unless too few tiles would use the copy. */
static void wcohi_panel_pack(const wcohi_gemm_run *run, const wcohi_panel *panel, wcohi_tile *tile)
{
    const wcohi_gemm_args *g = &run->args;
    size_t j = (size_t)panel->j, p = (size_t)panel->p;
    tile->b = panel->packed;
    tile->b_step = (size_t)panel->width;
    if (g->tb) {
        run->kernels->pack_turned(panel->packed, g->b + j * g->ldb + p, g->ldb, panel->n, panel->k,
                                  panel->width);
    } else if (panel->n == panel->width && panel->t1 - panel->t0 < 3) {
        tile->b = g->b + p * g->ldb + j;
        tile->b_step = g->ldb;
    } else {
        run->kernels->pack(panel->packed, g->b + p * g->ldb + j, g->ldb, panel->n, panel->k,
                           panel->width);
    }
}

static void wcohi_gemm_panel(const wcohi_gemm_run *run, const wcohi_panel *panel)
{
    const wcohi_gemm_args *g = &run->args;
    const wcohi_gemm_kernels *kernels = run->kernels;
    int wide = panel->width > kernels->lanes, last = panel->p + panel->k == g->k, t;
    wcohi_tile tile;
    tile.k = panel->k;
    tile.a_row = g->ta ? 1 : g->lda;
    tile.a_step = g->ta ? g->lda : 1;
    wcohi_panel_pack(run, panel, &tile);
    for (t = panel->t0; t < panel->t1; t++) {
        int i = wcohi_tile_row(run, t), rows = wcohi_tile_row(run, t + 1) - i;
        if (g->half && i + rows <= panel->j) continue;
        tile.a = g->a + (size_t)i * tile.a_row + (size_t)panel->p * tile.a_step;
        wcohi_tile_target(run, &tile, i, panel->j, panel->p == 0, last);
        if (panel->n == panel->width) {
            kernels->tile[wide][rows](&tile);
        } else {
            wcohi_tile inner = tile;
            inner.c = panel->packed + WCOHI_PACK_PANEL;
            inner.ldc = (size_t)panel->width;
            inner.adds = 0;
            kernels->tile[wide][rows](&inner);
            kernels->finish(&tile, rows, panel->n, inner.c, inner.ldc);
        }
        if (last) wcohi_tile_gelu(run, &tile, i, panel->j, rows, panel->n);
    }
}

/* Where part `index` of `parts` begins when `count` things are shared out. */
static int wcohi_share(int count, int index, int parts)
{
    return (int)((int64_t)count * index / parts);
}

/* One part of the grid of row_parts by column_parts. Its rows of A and columns of B are few enough
   for one cut of them to stay in the second cache. */
static void wcohi_gemm_part(int index, int slot, void *user)
{
    const wcohi_gemm_run *run = (const wcohi_gemm_run *)user;
    const wcohi_gemm_args *g = &run->args;
    int row = index % run->row_parts, column = index / run->row_parts;
    int lanes = run->kernels->lanes, depth = run->kernels->depth;
    int cuts = WCOHI_MAX(1, (g->k + depth - 1) / depth), cut, j;
    wcohi_panel panel;
    panel.packed = run->pack + wcohi_pack_count(slot);
    panel.t0 = wcohi_share(run->tiles, row, run->row_parts);
    panel.t1 = wcohi_share(run->tiles, row + 1, run->row_parts);
    for (cut = 0; cut < cuts; cut++) {
        panel.p = wcohi_share(g->k, cut, cuts);
        panel.k = wcohi_share(g->k, cut + 1, cuts) - panel.p;
        for (j = wcohi_share(run->panels, column, run->column_parts);
             j < wcohi_share(run->panels, column + 1, run->column_parts); j++) {
            panel.j = j * 2 * lanes;
            panel.n = WCOHI_MIN(g->n - panel.j, 2 * lanes);
            panel.width = panel.n > lanes ? 2 * lanes : lanes;
            wcohi_gemm_panel(run, &panel);
        }
    }
}

/* The dots of rows i.. with columns j.. */
static void wcohi_dot_tile(const wcohi_gemm_args *g, wcohi_tile *tile, int i, int j)
{
    tile->k = g->k;
    tile->a = g->a + (size_t)i * g->lda;
    tile->a_row = g->lda;
    tile->b = g->b + (size_t)j * g->ldb;
    tile->b_step = g->ldb;
}

/* edge [rows,8] = dots of the rows of A with the last n < 8 columns, from j on. Returns where they
   begin: the block is read from 8 columns before the end. */
static wcoh_real *wcohi_gemm_dot_edge(const wcohi_gemm_run *run, wcoh_real *edge, int i, int rows,
                                      int j, int n)
{
    const wcohi_gemm_args *g = &run->args;
    int back = g->n >= WCOHI_DOT_COLUMNS ? WCOHI_DOT_COLUMNS - n : 0, column;
    wcohi_tile tile;
    wcohi_dot_tile(g, &tile, i, j - back);
    tile.c = edge;
    tile.ldc = WCOHI_DOT_COLUMNS;
    tile.adds = 0;
    if (back) {
        run->kernels->dot[rows - 1](&tile);
        return edge + back;
    }
    tile.b_step = 0; /* fewer than 8 in all: one by one */
    tile.c = edge + 2 * WCOHI_DOT_COLUMNS;
    for (column = 0; column < n; column++, tile.b += g->ldb) {
        run->kernels->dot[rows - 1](&tile);
        edge[column] = tile.c[0];
        if (rows == 2) edge[WCOHI_DOT_COLUMNS + column] = tile.c[WCOHI_DOT_COLUMNS];
    }
    return edge;
}

/* Few rows and B [n,k]: part of the columns, 8 at a time. */
static void wcohi_gemm_dots(int index, int slot, void *user)
{
    const wcohi_gemm_run *run = (const wcohi_gemm_run *)user;
    const wcohi_gemm_args *g = &run->args;
    int j = wcohi_share(run->panels, index, run->column_parts) * WCOHI_DOT_COLUMNS;
    int end = wcohi_share(run->panels, index + 1, run->column_parts) * WCOHI_DOT_COLUMNS;
    wcoh_real *edge = run->pack + wcohi_pack_count(slot);
    for (end = WCOHI_MIN(end, g->n); j < end; j += WCOHI_DOT_COLUMNS) {
        int n = WCOHI_MIN(WCOHI_DOT_COLUMNS, end - j), i, rows;
        for (i = 0; i < g->m; i += rows) {
            wcohi_tile tile;
            rows = WCOHI_MIN(2, g->m - i);
            wcohi_tile_target(run, &tile, i, j, 1, 1);
            if (n == WCOHI_DOT_COLUMNS) {
                wcohi_dot_tile(g, &tile, i, j);
                run->kernels->dot[rows - 1](&tile);
            } else {
                const wcoh_real *from = wcohi_gemm_dot_edge(run, edge, i, rows, j, n);
                run->kernels->finish(&tile, rows, n, from, WCOHI_DOT_COLUMNS);
            }
            wcohi_tile_gelu(run, &tile, i, j, rows, n);
        }
    }
}

/* At least `parts` parts, if there are so many tiles. Every part of the rows packs B again: so none
   below 128 rows if the columns can be parted instead, and none above 256, for the second cache. */
static void wcohi_gemm_grid(wcohi_gemm_run *run, int parts)
{
    int m = run->args.m, rows = WCOHI_CLAMP(m / 128, 1, parts);
    rows = WCOHI_MAX(rows, (m + 255) / 256);
    run->column_parts = WCOHI_MIN(run->panels, (parts + rows - 1) / rows);
    rows = WCOHI_MAX(rows, (parts + run->column_parts - 1) / run->column_parts);
    run->row_parts = WCOHI_MIN(run->tiles, rows);
}

/* The product that `args` describes; `accumulate` and `gelu` exclude each other. */
static void wcohi_gemm(const wcohi_compute *compute, const wcohi_gemm_args *args)
{
    double work = (double)args->m * args->n * args->k;
    int parts = work < WCOHI_SMALL_WORK ? 1 : 2 * wcohi_pool_slots(compute->pool);
    wcohi_gemm_run run;
    if (args->m <= 0 || args->n <= 0) return;
    run.kernels = compute->kernels->gemm;
    run.args = *args;
    run.pack = compute->pack;
    run.to = args->gelu && args->pre ? args->pre : args->c;
    if (args->residual == args->c && !args->gelu) { /* the first cut would overwrite it */
        run.args.residual = NULL;
        run.args.accumulate = 1;
    }
    if (args->m <= WCOHI_DOT_ROWS && args->tb && !args->ta) {
        run.panels = (args->n + WCOHI_DOT_COLUMNS - 1) / WCOHI_DOT_COLUMNS;
        run.column_parts = parts = WCOHI_MIN(parts, run.panels);
        wcohi_pool_run(compute->pool, parts, work, wcohi_gemm_dots, &run);
        return;
    }
    run.tiles = (args->m + run.kernels->rows - 1) / run.kernels->rows;
    run.panels = (args->n + 2 * run.kernels->lanes - 1) / (2 * run.kernels->lanes);
    wcohi_gemm_grid(&run, parts);
    wcohi_pool_run(compute->pool, run.row_parts * run.column_parts, work, wcohi_gemm_part, &run);
}

/* ======== 2 ground: kernels of rows =========================================================== */

/* ---- row kernels: norm, gelu, per-band, Kerr oscillators, cross-entropy, AdamW ------------------

   Rows are contiguous. A row of D = 2K numbers is K bands (r_0, s_0, r_1, s_1, ..): kernels of
   bands part them into a vector of r and one of s on loading, and join them again on storing. */

/* Up to W elements: n of them; the rest reads as 0 and is not written. */
#define WCOHI_LOAD(p, n) ((n) == S_(W) ? S_(load)(p) : S_(load_n)((p), (n)))
#define WCOHI_STORE(p, v, n)                                                                       \
    do {                                                                                           \
        if ((n) == S_(W)) S_(store)((p), (v));                                                     \
        else S_(store_n)((p), (v), (n));                                                           \
    } while (0)
/* v with all but its first n lanes replaced by `other`. */
#define WCOHI_KEEP(v, other, n)                                                                    \
    ((n) == S_(W) ? (v) : S_(select)(S_(lt)(S_(iota)(), S_(set)((wcoh_real)(n))), (v), (other)))
/* Lanes that are used by the vector at i of `count`. */
#define WCOHI_LANES(count, i) ((count) - (i) < S_(W) ? (count) - (i) : S_(W))
/* The same where `whole`, a constant once inlined, says that no vector is broken. */
#define WCOHI_LANES_IF(whole, count, i) ((whole) ? S_(W) : WCOHI_LANES(count, i))

/* n bands at p: 2n interleaved numbers as r and s, and back. */
#define WCOHI_LOAD_BANDS(p, n, r, s)                                                               \
    do {                                                                                           \
        int first_ = 2 * (n) < S_(W) ? 2 * (n) : S_(W), second_ = 2 * (n) - first_;                \
        S_(v) lo_ = WCOHI_LOAD((p), first_);                                                       \
        S_(v) hi_ = second_ ? WCOHI_LOAD((p) + S_(W), second_) : S_(zero)();                       \
        (r) = S_(even)(lo_, hi_);                                                                  \
        (s) = S_(odd)(lo_, hi_);                                                                   \
    } while (0)
#define WCOHI_STORE_BANDS(p, n, r, s)                                                              \
    do {                                                                                           \
        int first_ = 2 * (n) < S_(W) ? 2 * (n) : S_(W), second_ = 2 * (n) - first_;                \
        S_(v) lo_ = S_(ziplo)((r), (s)), hi_ = S_(ziphi)((r), (s));                                \
        WCOHI_STORE((p), lo_, first_);                                                          \
        if (second_) WCOHI_STORE((p) + S_(W), hi_, second_);                                       \
    } while (0)

/* ---- small ones ------------------------------------------------------------------------------ */

#ifndef WAVECOH_NO_TRAINING
#define wcohi_sum_squares_is(name) double name(const wcoh_real *g, size_t count)
#define wcohi_gelu_backward_is(name)                                                               \
    void name(wcoh_real *dx, const wcoh_real *dy, const wcoh_real *pre, size_t count)
#define wcohi_column_sums_is(name)                                                                 \
    void name(wcoh_real *sum, const wcoh_real *g, size_t stride, int rows, int n)
typedef struct wcohi_common_kernels {
    wcohi_sum_squares_is((*sum_squares));
    wcohi_gelu_backward_is((*gelu_backward));
    wcohi_column_sums_is((*column_sums));
} wcohi_common_kernels;
#endif

#elif !defined(WAVECOH_NO_TRAINING) /* a pass: several ops */

/* sum of g^2 in double, in a fixed order;  g [n] */
WCOHI_KERNEL(sum_squares)
{
    S_(dv) lo = S_(dzero)(), hi = S_(dzero)(), a, b;
    double lanes[2 * S_(DW)], sum = 0;
    size_t i = 0;
    int lane;
    for (; i < count; i += S_(W)) {
        int n = count - i < S_(W) ? (int)(count - i) : S_(W);
        S_(v) x = WCOHI_LOAD(g + i, n);
        a = S_(dlo)(x);
        lo = S_(dfma)(a, a, lo);
        if (S_(W) > S_(DW)) {
            b = S_(dhi)(x);
            hi = S_(dfma)(b, b, hi);
        }
    }
    S_(dstore)(lanes, lo);
    S_(dstore)(lanes + S_(DW), hi);
    for (lane = 0; lane < 2 * S_(DW); lane++) sum += lanes[lane];
    return sum;
}

/* dx = dy gelu'(pre).  All [n]; dx may be dy. */
WCOHI_KERNEL(gelu_backward)
{
    size_t i;
    for (i = 0; i < count; i += S_(W)) {
        int n = count - i < S_(W) ? (int)(count - i) : S_(W);
        S_(v) x = WCOHI_LOAD(pre + i, n), g = WCOHI_LOAD(dy + i, n);
        WCOHI_STORE(dx + i, S_(mul)(g, S_(gelu_slope)(x)), n);
    }
}

/* sum += column sums of g;  g [rows] of `stride`, sum [n]. Blocks of 128 rows keep float exact. */
WCOHI_KERNEL(column_sums)
{
    int i, row, end;
    for (i = 0; i < n; i += S_(W)) {
        int lanes = WCOHI_LANES(n, i);
        S_(v) total = WCOHI_LOAD(sum + i, lanes);
        for (row = 0; row < rows; row = end) {
            S_(v) part = S_(zero)();
            int r;
            end = WCOHI_MIN(rows, row + 128);
            for (r = row; r < end; r++)
                part = S_(add)(part, WCOHI_LOAD(g + (size_t)r * stride + i, lanes));
            total = S_(add)(total, part);
        }
        WCOHI_STORE(sum + i, total, lanes);
    }
}

static const wcohi_common_kernels S_(common_kernels) = {
    S_(sum_squares), S_(gelu_backward), S_(column_sums)};

#endif
#ifndef WCOHI_PASS

/* ---- the toolkit: kernels of the null and of the resonance memory ---------------------------- */

#ifndef WAVECOH_NO_TOOLKIT
#define wcohi_normals_is(name) void name(wcoh_real *u1, wcoh_real *u2, int n)
#define wcohi_gram_is(name) void name(const wcoh_real *a, const wcoh_real *b, int n, double *gram)
#define wcohi_product_is(name)                                                                     \
    void name(const wcoh_real *a, const wcoh_real *b, wcoh_real alpha, wcoh_real beta, int n,      \
              double *sums)
#define wcohi_scan_is(name)                                                                        \
    void name(const wcoh_real *tile, const wcoh_real *query, int columns, size_t lanes,            \
              wcoh_real *dots)
#define wcohi_scan_part_is(name)                                                                   \
    void name(const wcoh_real *tile, const wcoh_real *query, int columns, size_t lanes,            \
              wcoh_real *dots, wcoh_real *energies)
#define wcohi_promising_is(name)                                                                   \
    int name(const wcoh_real *dots, const wcoh_real *energies, int lanes, wcoh_real limit,         \
             int *list)
typedef struct wcohi_toolkit_kernels {
    wcohi_normals_is((*normals));
    wcohi_gram_is((*gram));
    wcohi_product_is((*product));
    wcohi_scan_is((*scan));
    wcohi_scan_part_is((*scan_part));
    wcohi_promising_is((*promising));
} wcohi_toolkit_kernels;
#endif

#else /* a pass: the toolkit */

#ifndef WAVECOH_NO_TOOLKIT

/* Box-Muller: u1 [n] in (0, 1], u2 [n] in [0, 1) become two arrays of independent normals. */
WCOHI_KERNEL(normals)
{
    int i;
    for (i = 0; i < n; i += S_(W)) {
        int w = WCOHI_MIN(n - i, S_(W));
        S_(v) one = S_(set)(1), u = S_(load_n)(u1 + i, w), r, s, c;
        u = S_(select)(S_(lt)(S_(zero)(), u), u, one);
        r = S_(sqrt)(S_(mul)(S_(set)(-2), S_(log)(u)));
        S_(sincos)(S_(mul)(S_(set)((wcoh_real)6.28318530717958648), S_(load_n)(u2 + i, w)),
                   &s, &c);
        S_(store_n)(u1 + i, S_(mul)(r, c), w);
        S_(store_n)(u2 + i, S_(mul)(r, s), w);
    }
}

/* gram = (a.a, a.b, b.b) of a, b [n] */
WCOHI_KERNEL(gram)
{
    S_(v) aa = S_(zero)(), ab = S_(zero)(), bb = S_(zero)();
    int i;
    for (i = 0; i < n; i += S_(W)) {
        int w = WCOHI_MIN(n - i, S_(W));
        S_(v) x = S_(load_n)(a + i, w), y = S_(load_n)(b + i, w);
        aa = S_(fma)(x, x, aa);
        ab = S_(fma)(x, y, ab);
        bb = S_(fma)(y, y, bb);
    }
    gram[0] = (double)S_(sum)(aa);
    gram[1] = (double)S_(sum)(ab);
    gram[2] = (double)S_(sum)(bb);
}

/* With p = a (alpha a + beta b) elementwise [n]: sums = (sum p, sum |p|, number of p > 0). */
WCOHI_KERNEL(product)
{
    S_(v) sum = S_(zero)(), size = S_(zero)(), above = S_(zero)();
    int i;
    for (i = 0; i < n; i += S_(W)) {
        int w = WCOHI_MIN(n - i, S_(W));
        S_(v) x = S_(load_n)(a + i, w), y = S_(load_n)(b + i, w), p;
        p = S_(mul)(x, S_(fma)(S_(set)(beta), y, S_(mul)(S_(set)(alpha), x)));
        sum = S_(add)(sum, p);
        size = S_(add)(size, S_(abs)(p));
        above = S_(add)(above, S_(select)(S_(lt)(S_(zero)(), p), S_(set)(1), S_(zero)()));
    }
    sums[0] = (double)S_(sum)(sum);
    sums[1] = (double)S_(sum)(size);
    sums[2] = (double)S_(sum)(above);
}

/* dots[p] += sum_c query[c] tile[c][p] for the packets p of a tile [columns, lanes], side by side:
   a lane is a packet, so there is no sum across lanes, any number of columns fits, and memory is
   read in long runs. Partial sums of 8 columns keep the rounding small. lanes: multiple of 64. */
WCOHI_KERNEL(scan)
{
    size_t p;
    int c;
    for (c = 0; c + 8 <= columns; c += 8, tile += 8 * lanes, query += 8) {
        S_(v) q0 = S_(set)(query[0]), q1 = S_(set)(query[1]), q2 = S_(set)(query[2]);
        S_(v) q3 = S_(set)(query[3]), q4 = S_(set)(query[4]), q5 = S_(set)(query[5]);
        S_(v) q6 = S_(set)(query[6]), q7 = S_(set)(query[7]);
        for (p = 0; p < lanes; p += S_(W)) {
            const wcoh_real *x = tile + p;
            S_(v) s = S_(mul)(q0, S_(load)(x)), t = S_(mul)(q1, S_(load)(x + lanes));
            s = S_(fma)(q2, S_(load)(x + 2 * lanes), s);
            t = S_(fma)(q3, S_(load)(x + 3 * lanes), t);
            s = S_(fma)(q4, S_(load)(x + 4 * lanes), s);
            t = S_(fma)(q5, S_(load)(x + 5 * lanes), t);
            s = S_(fma)(q6, S_(load)(x + 6 * lanes), s);
            t = S_(fma)(q7, S_(load)(x + 7 * lanes), t);
            S_(store)(dots + p, S_(add)(S_(load)(dots + p), S_(add)(s, t)));
        }
    }
    for (; c < columns; c++, tile += lanes, query++)
        for (p = 0; p < lanes; p += S_(W))
            S_(store)(dots + p,
                      S_(fma)(S_(set)(query[0]), S_(load)(tile + p), S_(load)(dots + p)));
}

/* The same with energies[p] += sum_c tile[c][p]^2. */
S_(inline) S_(v) S_(scan_part_step)(const wcoh_real *x, S_(v) q, S_(v) sum, S_(v) *energy)
{
    S_(v) y = S_(load)(x);
    *energy = S_(fma)(y, y, *energy);
    return S_(fma)(q, y, sum);
}

WCOHI_KERNEL(scan_part)
{
    size_t p;
    int c;
    for (c = 0; c + 8 <= columns; c += 8, tile += 8 * lanes, query += 8) {
        S_(v) q0 = S_(set)(query[0]), q1 = S_(set)(query[1]), q2 = S_(set)(query[2]);
        S_(v) q3 = S_(set)(query[3]), q4 = S_(set)(query[4]), q5 = S_(set)(query[5]);
        S_(v) q6 = S_(set)(query[6]), q7 = S_(set)(query[7]);
        for (p = 0; p < lanes; p += S_(W)) {
            const wcoh_real *x = tile + p;
            S_(v) s = S_(load)(dots + p), e = S_(load)(energies + p), t = S_(zero)(), f = t;
            s = S_(scan_part_step)(x, q0, s, &e);
            t = S_(scan_part_step)(x + lanes, q1, t, &f);
            s = S_(scan_part_step)(x + 2 * lanes, q2, s, &e);
            t = S_(scan_part_step)(x + 3 * lanes, q3, t, &f);
            s = S_(scan_part_step)(x + 4 * lanes, q4, s, &e);
            t = S_(scan_part_step)(x + 5 * lanes, q5, t, &f);
            s = S_(scan_part_step)(x + 6 * lanes, q6, s, &e);
            t = S_(scan_part_step)(x + 7 * lanes, q7, t, &f);
            S_(store)(dots + p, S_(add)(s, t));
            S_(store)(energies + p, S_(add)(e, f));
        }
    }
    for (; c < columns; c++, tile += lanes, query++)
        for (p = 0; p < lanes; p += S_(W)) {
            S_(v) e = S_(load)(energies + p), q = S_(set)(query[0]);
            S_(store)(dots + p, S_(scan_part_step)(tile + p, q, S_(load)(dots + p), &e));
            S_(store)(energies + p, e);
        }
}

/* list gets the packets that may have dot > 0 and dot^2 >= limit energy, and their neighbours. */
WCOHI_KERNEL(promising)
{
    int p, i, count = 0;
    for (p = 0; p < lanes; p += S_(W)) {
        S_(v) d = S_(load)(dots + p), e = S_(mul)(S_(set)(limit), S_(load)(energies + p));
        S_(v) below = S_(select)(S_(lt)(S_(mul)(d, S_(abs)(d)), e), S_(zero)(), S_(set)(1));
        if (S_(sum)(below) > 0)
            for (i = 0; i < S_(W); i++) list[count++] = p + i;
    }
    return count;
}

static const wcohi_toolkit_kernels S_(toolkit_kernels) = {
    S_(normals), S_(gram), S_(product), S_(scan), S_(scan_part), S_(promising)};

#endif /* WAVECOH_NO_TOOLKIT */

#endif
#ifndef WCOHI_PASS

/* ======== 3 ops: what devices are given ======================================================= */

/* ---- parameters ------------------------------------------------------------------------------ */

typedef enum wcohi_init {
    WCOHI_INIT_CONSTANT, /* value */
    WCOHI_INIT_WEIGHT,   /* by desc.init, fan_in = value */
    WCOHI_INIT_BIAS,     /* by desc.init, fan_in = value */
    WCOHI_INIT_NORMAL,   /* deviation = value */
    WCOHI_INIT_EMBEDDING,
    WCOHI_INIT_POSITION,
    WCOHI_INIT_RAMP,    /* (i+1) * value: omega_k = (k+1)/K */
    WCOHI_INIT_CARRIER, /* evenly from 0 to 0.5 */
    WCOHI_INIT_DAMPING, /* evenly from -6 to 0 */
    WCOHI_INIT_HARMONIC /* ln(1 + 0.5 (h+1)) */
} wcohi_init;

typedef struct wcohi_param_row {
    char name[64];
    int dims, shape[3];
    size_t count;
    size_t offset; /* in the parameter block; trained rows come first, so in the gradient too */
    int trained, decayed;
    int matrices; /* hidden matrices stacked in it: Muon's, if there is one; 0: never */
    wcohi_init init;
    double value;
    double maximum; /* the optimiser keeps the values at or below; 1e30: no bound */
} wcohi_param_row;

struct wcoh_model {
    wcoh_model_desc desc; /* resolved */
    wcohi_param_row *rows;
    int row_count;
    wcoh_real *params;   /* trained rows, then frozen rows */
    size_t trained_span; /* reals of the trained part, padding included */
    size_t span;         /* reals in all */
    uint64_t version;    /* grows whenever parameters change */
    wcohi_allocation block;
};

/* ---- plan: the only place where the architecture is spelled out ---------------------------------

   A plan is a list of ops over tensors. Forward walks it from 0 to count-1, backward walks it in
   reverse; at time t < count the forward of op t runs, at time t >= count the backward of op
   2*count-1-t. Every tensor lives for an interval of these times, and tensors whose intervals do
   not meet share memory. Devices execute the list; nothing but this chapter knows an
   architecture. */

/* The kinds of ops: name, what its backward reads of its forward, what it does when parameters
   change, how it looks at a state from a file. Each device has a row for each. To add one: "To add an op" in the manual above. */
#define WCOHI_KEEPS_NONE 0
#define WCOHI_KEEPS_IN 1
#define WCOHI_KEEPS_IN2 2
#define WCOHI_KEEPS_OUT 4
#define WCOHI_KEEPS_ALL 7

/* EMBED      tokens -> out
   NORM       in -> out; aux: mean, 1/deviation a row
   RMS        in -> out; aux: 0, 1/root mean square a row
   LINEAR     out = in W^T + b (+ in2); with gelu aux: what it was before it
   GATE       out = in2 times a function of in
   COHERENCE  in: phasors, in2: values -> out
   DOT        in: queries, keys, values -> out
   MAESTRO    out = in2 + W2 gelu(W1 in + b1) + b2
   KERR       limiter, offset, oscillators, corrector
   PER_BAND   a 2x2 matrix and a shift for every band
   LOGITS     in -> logits or loss
   DROPOUT    out = in (+ in2), a share of in's elements 0 and the others larger; training alone */
#define WCOHI_OP_KINDS(K)                                                                          \
    K(EMBED, embed, WCOHI_KEEPS_NONE, NULL, NULL)                                                  \
    K(NORM, norm, WCOHI_KEEPS_IN, NULL, NULL)                                                      \
    K(RMS, rms, WCOHI_KEEPS_IN, NULL, NULL)                                                        \
    K(LINEAR, linear, WCOHI_KEEPS_IN, NULL, NULL)                                                  \
    K(GATE, gate, WCOHI_KEEPS_IN | WCOHI_KEEPS_IN2, NULL, NULL)                                    \
    K(COHERENCE, coherence, WCOHI_KEEPS_ALL, wcohi_coherence_refresh, wcohi_coherence_admit)       \
    K(DOT, dot, WCOHI_KEEPS_IN | WCOHI_KEEPS_OUT, NULL, NULL)                                      \
    K(MAESTRO, maestro, WCOHI_KEEPS_IN, NULL, NULL)                                                \
    K(KERR, kerr, WCOHI_KEEPS_IN, wcohi_kerr_refresh, NULL)                                        \
    K(PER_BAND, per_band, WCOHI_KEEPS_IN, NULL, NULL)                                              \
    K(LOGITS, logits, WCOHI_KEEPS_IN, NULL, NULL) WCOHI_TRAINING_KINDS(K)
#ifdef WAVECOH_NO_TRAINING
#define WCOHI_TRAINING_KINDS(K)
#else
#define WCOHI_TRAINING_KINDS(K) K(DROPOUT, dropout, WCOHI_KEEPS_NONE, NULL, NULL)
#endif

#define WCOHI_KIND_ENUM(KIND, name, keeps, refresh, admit) WCOHI_##KIND,
typedef enum wcohi_kind { WCOHI_OP_KINDS(WCOHI_KIND_ENUM) WCOHI_KINDS } wcohi_kind;

/* Parameters of each kind: indexes into an op's `param`. */
enum { WCOHI_EMBED_TABLE, WCOHI_EMBED_POSITIONS };
enum { WCOHI_NORM_WEIGHT, WCOHI_NORM_BIAS };
enum { WCOHI_RMS_WEIGHT };
enum { WCOHI_LINEAR_WEIGHT, WCOHI_LINEAR_BIAS };
enum {
    WCOHI_COHERENCE_GAIN,
    WCOHI_COHERENCE_CARRIER,
    WCOHI_COHERENCE_DAMPING,
    WCOHI_COHERENCE_HARMONIC
};
enum {
    WCOHI_MAESTRO_SQUEEZE,
    WCOHI_MAESTRO_SQUEEZE_BIAS,
    WCOHI_MAESTRO_EXPAND,
    WCOHI_MAESTRO_EXPAND_BIAS
};
enum {
    WCOHI_KERR_GAMMA,
    WCOHI_KERR_OMEGA,
    WCOHI_KERR_ALPHA,
    WCOHI_KERR_BETA,
    WCOHI_KERR_CORRECTOR,
    WCOHI_KERR_OFFSET
};
enum { WCOHI_PER_BAND_WEIGHT, WCOHI_PER_BAND_BIAS };
enum { WCOHI_LOGITS_WEIGHT, WCOHI_LOGITS_SCALE };

#define WCOHI_OP_PARAMS 6

/* What a gate does with its number s before it multiplies. */
typedef enum wcohi_gate_form {
    WCOHI_GATE_LINEAR,  /* s */
    WCOHI_GATE_SIGMOID, /* 2 sigma(s): 1 where s is 0 */
    WCOHI_GATE_SILU     /* s sigma(s) (Elfwing and others, 2017) */
} wcohi_gate_form;

/* An op carries its own numbers: a device never reads a model's desc, and two ops of one kind may
   differ in all of them. */
typedef struct wcohi_op {
    wcohi_kind kind;
    int layer;                  /* -1 outside the blocks */
    int in, in2, out;           /* tensors, -1: none */
    int aux;                    /* tensor of what forward leaves for backward, -1: none */
    int wide_in, wide_out;      /* reals a row */
    int add_in;                 /* backward: 1 adds to the gradient of in, 0 sets it */
    int param[WCOHI_OP_PARAMS]; /* rows of the parameter table, -1: absent */
    size_t state;               /* attention: bytes before its state among those of a session */
    int vocab;                  /* EMBED, LOGITS: symbols */
    int context;                /* EMBED: rows of positions; DOT: tokens that a session sees */
    double amplitude;           /* EMBED: of sinusoids that go on past their table; 0: none do */
    int groups, gelu;           /* LINEAR: diagonal blocks; 1: gelu epilogue */
    int narrow;                 /* MAESTRO: width of the bottleneck */
    int heads;                  /* attention */
    int key_column;             /* COHERENCE: where raw keys begin in a row of in; 0: the query's */
    int column;                 /* COHERENCE, GATE: where the values begin in a row of in2 */
    wcohi_gate_form form;       /* GATE */
    int forget_column;          /* COHERENCE: where each row's raw dampings begin; 0: none */
    int loud_column;            /* COHERENCE: where each row's raw loudnesses begin; 0: none */
    int rotary;                 /* DOT */
    wcoh_solver solver;         /* KERR */
    int rk4_steps;
    double ceiling;  /* KERR: of the limiter; 0: none */
    double rate;     /* DROPOUT: share of the elements that become 0 */
    uint32_t stream; /* and which of the step's masks is its own */
} wcohi_op;

typedef struct wcohi_tensor {
    int width; /* reals a row; row r of the batch is at offset + r * width (aux: as the op likes) */
    size_t count;    /* reals in all */
    int first, last; /* times between which it must be kept */
    int grad;      /* tensor of its gradient, -1: none. Residual sums share one with their input */
    int set;       /* a gradient, while the plan is built: 1 when an op of the backward sets it */
    size_t offset; /* in the activation block */
    int born_next, dying_next; /* the tensors in the order of first, of last; -1: the end */
    int hole_next;             /* while places are given out: the hole that this one left */
    size_t hole_at, hole;
} wcohi_tensor;

typedef enum wcohi_mode { WCOHI_MODE_TRAIN, WCOHI_MODE_SCORE, WCOHI_MODE_SESSION } wcohi_mode;

/* What training drops at random, each a share of the elements; 0: none, and no op does it. */
typedef struct wcohi_rates {
    double branch; /* of what a branch adds to the stream */
    double embed;  /* of the embedded rows */
} wcohi_rates;

typedef struct wcohi_plan {
    wcohi_rates rates;           /* given before the plan is laid out and built */
    const wcohi_param_row *rows; /* the parameter table */
    int row_count;
    size_t trained_span, span; /* reals of the trained parameters, of all */
    int vocab;                 /* logits of a row */
    wcohi_op *ops;
    int count;
    wcohi_tensor *tensors;
    int tensor_count;
    int born, dying;    /* the first to be used, the first to be done with */
    int batch, seq;     /* the largest shape that fits */
    size_t states;      /* bytes of all states of a session */
    int training;       /* 1: backward too */
    int muon;           /* 1: the optimiser of hidden matrices */
    int matrices;       /* of all rows, those that Muon takes */
    size_t matrix;      /* reals that the largest wants as scratch */
    int session;        /* 1: one stream with states */
    size_t activations; /* reals of the activation block */
    int overflow;       /* 1: some size does not fit */
} wcohi_plan;

/* What an op needs; 0 where it needs nothing. Nothing else knows these sizes: whoever lays memory
   out asks the op's row. */
typedef struct wcohi_sizes {
    size_t aux;      /* reals of its aux tensor */
    size_t state;    /* bytes of its state in a session, */
    int state_reals; /* of reals (1) or of doubles (0) */
    size_t prepared; /* bytes that it derives from its parameters */
    size_t partial;  /* reals of one chunk's share of its parameter gradients */
    size_t scratch;  /* reals that each worker has for itself */
    size_t shared;   /* bytes that its workers have together */
} wcohi_sizes;

/* Of a pass of at most the plan's shape with `slots` workers; sizes come zeroed. */
typedef void wcohi_sizes_fn(const wcohi_plan *plan, const wcohi_op *op, int slots,
                            wcohi_sizes *sizes);

/* `width` reals for every row of the largest batch. */
static size_t wcohi_plan_reals(const wcohi_plan *plan, int width)
{
    return wcohi_mul(wcohi_mul((size_t)plan->batch, (size_t)plan->seq), (size_t)width);
}

/* Reals that Muon wants for a matrix: twice itself, and twice the product with itself. */
static size_t wcohi_matrix_reals(int rows, int columns)
{
    size_t small = (size_t)WCOHI_MIN(rows, columns);
    return wcohi_mul(2,
                     wcohi_add(wcohi_mul((size_t)rows, (size_t)columns), wcohi_mul(small, small)));
}

/* P[t][2n] = a sin(t f_n), P[t][2n+1] = a cos(t f_n), f_n = 10000^(-2n/D), n < K = D/2; for any t. */
static void wcohi_sinusoid(wcoh_real *row, int bands, double amplitude, double t)
{
    int n;
    for (n = 0; n < bands; n++) {
        double angle = t * pow(10000.0, -(double)n / bands);
        row[2 * n] = (wcoh_real)(amplitude * sin(angle));
        row[2 * n + 1] = (wcoh_real)(amplitude * cos(angle));
    }
}

/* ---- device: a small table of functions that executes plans -------------------------------------

   An `exec` is one plan made ready on one device: its parameters, gradients, moments, activations
   and states. The CPU's reads and writes the model's own parameter block; a GPU's has a copy, which
   `upload` fills and `download` brings back. Nothing above this chapter asks which device it is. */

/* What exists once per exec, beside the activations. */
typedef enum wcohi_area {
    WCOHI_AREA_PARAMS,   /* reals [span] */
    WCOHI_AREA_GRADIENT, /* reals [trained_span] */
    WCOHI_AREA_MOMENT1,  /* reals [trained_span] */
    WCOHI_AREA_MOMENT2,  /* reals [trained_span] */
    WCOHI_AREA_STATES,   /* bytes of all attention states of a session, in the CPU's layout */
    WCOHI_AREA_LOGITS    /* reals [vocab] of the last row of a session's run */
} wcohi_area;

/* What the random masks of a pass are made of: the key of the step (by its seed and number) and the
   place of this batch among those of the step. */
typedef struct wcohi_noise {
    int on; /* 0: nothing is dropped */
    uint32_t key[2];
    uint32_t window; /* windows of the step before the first of this batch */
} wcohi_noise;

/* One pass over the plan. */
typedef struct wcohi_run {
    const uint32_t *tokens;  /* [batch, seq] */
    const uint32_t *targets; /* [batch, seq], WCOH_TARGET_NONE among them; NULL: no loss */
    int batch, seq;
    int backward;      /* 1: backward follows; the head then computes loss and gradient there */
    int add;           /* 1: loss and parameter gradients are added to those of earlier runs */
    double scale;      /* of the gradient: rows / targets that count / micro-batches of a step */
    int active_bands;  /* curriculum: bands past it are 0 at the input */
    int session;       /* 1: states are read and advanced; batch is 1 */
    int logits;        /* 1: the head leaves the logits of the last row */
    uint64_t position; /* session: tokens heard before this run */
    wcohi_noise noise;
} wcohi_run;

/* One optimiser step over the gradient area. */
typedef struct wcohi_update {
    uint64_t step;                                 /* 1 for the first: bias correction */
    double lr, beta1, beta2, epsilon, decay, clip; /* decay 0: none; clip 0: none */
    double muon_lr, momentum;                      /* of the plan's matrices, where it has Muon */
} wcohi_update;

/* What came of one. */
typedef struct wcohi_outcome {
    double nats; /* sum of -log p over the step's rows */
    double norm; /* of the gradient, before clipping */
    int applied; /* 0: the loss is not finite or the gradient too large, and nothing changed */
} wcohi_outcome;

typedef struct wcohi_exec wcohi_exec;

typedef struct wcohi_device_table {
    const char *name;
    /* 0: work stops between any two ops. 1: between passes only, and `run` and `update` return while
       the device still works (a GPU). */
    int whole_passes;
    /* Host bytes that `open` wants; activations and areas of a CPU, little for a GPU. */
    size_t (*bytes)(wcoh_device *device, const wcohi_plan *plan, int session);
    /* Make a plan ready in `memory` [bytes], zeroed. plan and model outlive it. Refuses by name
       what the device cannot run. Fails with nothing left behind. */
    wcoh_result (*open)(wcoh_device *device, const wcohi_plan *plan, wcoh_model *model, int session,
                        void *memory, wcohi_exec **exec, wcoh_error *error);
    void (*close)(wcohi_exec *exec);
    wcoh_result (*upload)(wcohi_exec *exec, wcohi_area area, size_t first, const void *data,
                          size_t count, wcoh_error *error);
    wcoh_result (*download)(wcohi_exec *exec, wcohi_area area, size_t first, void *data,
                            size_t count, wcoh_error *error);
    /* Host memory of a whole area: the area itself on the CPU; a GPU copies it into memory of its
       own first (`upload` brings changes back). NULL on failure. */
    void *(*map)(wcohi_exec *exec, wcohi_area area, wcoh_error *error);
    /* Ops of times first .. last-1 (0 .. 2*count of the plan). */
    wcoh_result (*run)(wcohi_exec *exec, const wcohi_run *run, int first, int last,
                       wcoh_error *error);
    /* Sum of -log p over the rows of all runs since the last one with `add` 0. */
    wcoh_result (*loss)(wcohi_exec *exec, double *nats, wcoh_error *error);
#ifndef WAVECOH_NO_TRAINING
    /* Clip and the optimiser with the gradient at hand, unless it or the loss of the runs that made it
       is not finite. *time is 0, and again when all is done; with `whole` 0 it may come back before,
       wants to be called once more with *time as it left it, and has changed no parameter and no
       moment yet. */
    wcoh_result (*update)(wcohi_exec *exec, const wcohi_update *update, int whole, int *time,
                          wcoh_error *error);
    /* What came of the last update: waits for it, but not for runs begun since. Moves the model's
       version on if it was applied. */
    wcoh_result (*outcome)(wcohi_exec *exec, wcohi_outcome *outcome, wcoh_error *error);
#endif
    void (*destroy)(wcoh_device *device);
} wcohi_device_table;

/* Every device begins with these members. */
struct wcoh_device {
    const wcohi_device_table *table;
    wcohi_allocation block;
};

struct wcohi_exec {
    wcoh_device *device;
    const wcohi_plan *plan;
    wcoh_model *model;
};

/* ======== 3 ops: work on rows ================================================================= */

/* Each op has its sizes, forward and backward, which stand together, and perhaps what it prepares
   when parameters change; WCOHI_OP_KINDS lists them. backward adds to parameter gradients, and sets
   or adds to the gradients of its inputs as the plan says. N = batch * seq rows. */

typedef struct wcohi_cpu {
    wcoh_device base;
    const wcohi_kernels *kernels;
    wcohi_pool *pool;
    int slots;
} wcohi_cpu;

typedef struct wcohi_cpu_exec {
    wcohi_exec base;
    wcohi_compute compute;
    wcoh_real *gradient, *moment1, *moment2; /* [trained_span] */
    wcoh_real *activations;
    wcoh_real *partials; /* [WCOHI_CHUNKS, partial_count]: parameter gradients of chunks of rows */
    size_t partial_count;
    wcoh_real *scratch; /* [slots, scratch_count] */
    size_t scratch_count;
    void *shared;          /* scratch of the op under way, of all its workers */
    wcoh_real *logits;     /* session: [V] */
    unsigned char *states; /* session: attention states, one after the other */
    void **prepared;       /* [ops] what an op derives from its parameters */
    uint64_t prepared_version;
    const wcohi_run *run; /* of the pass under way */
    double loss;          /* sum of -log p since the last run with `add` 0 */
    double gradient_loss; /* the same, when the gradient was made */
    double *squares;      /* [chunks of the gradient] for its norm */
    wcohi_outcome outcome;
} wcohi_cpu_exec;

/* ---- reaching tensors and parameters --------------------------------------------------------- */

static wcoh_real *wcohi_tensor_data(const wcohi_cpu_exec *exec, int tensor)
{
    return tensor < 0 ? NULL : exec->activations + exec->base.plan->tensors[tensor].offset;
}

#ifndef WAVECOH_NO_TRAINING
static wcoh_real *wcohi_tensor_grad(const wcohi_cpu_exec *exec, int tensor)
{
    return tensor < 0 ? NULL : wcohi_tensor_data(exec, exec->base.plan->tensors[tensor].grad);
}
#endif

static wcoh_real *wcohi_param_data(const wcohi_cpu_exec *exec, int row)
{
    return row < 0 ? NULL : exec->base.model->params + exec->base.model->rows[row].offset;
}

#ifndef WAVECOH_NO_TRAINING
/* Where the gradient of a parameter is added; NULL if it is absent or frozen. */
static wcoh_real *wcohi_param_grad(const wcohi_cpu_exec *exec, int row)
{
    if (row < 0 || !exec->base.model->rows[row].trained) return NULL;
    return exec->gradient + exec->base.model->rows[row].offset;
}
#endif

static int wcohi_run_rows(const wcohi_cpu_exec *exec) { return exec->run->batch * exec->run->seq; }

/* ---- the same in plain C ------------------------------------------------------------------------

   Every room says its formula once more as MATH has it, in double, row by row: wcohi_<op>_plain.
   It is what a reader compares with the paper, and what the tests take for the truth. */

#ifdef WAVECOH_PLAIN
typedef struct wcohi_plain {
    const wcohi_plan *plan;
    const wcoh_real *params;
    size_t rows, seq;                 /* rows: batch * seq */
    const uint32_t *tokens, *targets; /* [rows] */
    wcohi_noise noise;
    double **tensors;                 /* of the plan: [rows, width] */
    double *room;                     /* [8, the widest row] */
    double nats;                      /* LOGITS: sum of -log p over the rows */
} wcohi_plain;

/* Number i of an op's parameter; 0 where it has none. */
static double wcohi_plain_param(const wcohi_plain *p, const wcohi_op *op, int which, size_t i)
{
    int row = op->param[which];
    return row < 0 ? 0 : (double)p->params[p->plan->rows[row].offset + i];
}

static double wcohi_plain_gelu(double x)
{
    return x / (1 + exp(-2 * sqrt(2 / wcohi_pi) * (x + 0.044715 * x * x * x)));
}
#endif

/* ---- noise of training --------------------------------------------------------------------------

   A counter-based generator (Salmon et al., 2011): what it gives depends on the key of the step, the
   op, and the element of the step's whole batch (window, token, column) alone. So masks are the same
   for any number of threads, any slice of time, either device and any split of the batch into
   micro-batches, and a backward makes its forward's again. tools/shaders/noise.glsl has it too. */

#ifndef WAVECOH_NO_TRAINING
/* 32 bits well mixed, one to one: constants of Wellons' hash-prospector (public domain). */
WCOHI_FORCE_INLINE uint32_t wcohi_hash32(uint32_t x)
{
    x = (x ^ x >> 16) * 0x21f0aaadu;
    x = (x ^ x >> 15) * 0x735a2d97u;
    return x ^ x >> 15;
}

/* The key of a row of the batch; its element c has the bits wcohi_hash32(key + c). */
static uint32_t wcohi_noise_row(const wcohi_noise *noise, uint32_t stream, size_t row, size_t seq)
{
    uint32_t key = wcohi_hash32(noise->key[0] ^ wcohi_hash32(stream + 1));
    key = wcohi_hash32(key ^ noise->key[1]);
    key = wcohi_hash32(key ^ (noise->window + (uint32_t)(row / seq)));
    return wcohi_hash32(key ^ (uint32_t)(row % seq));
}

/* Elements whose bits are below are dropped. */
static uint32_t wcohi_noise_drop(const wcohi_noise *noise, double rate)
{ return noise->on ? (uint32_t)(rate * 4294967296.0) : 0; }

/* By what the others are multiplied: the mean stays. */
static double wcohi_noise_scale(const wcohi_noise *noise, double rate)
{ return noise->on ? 1 / (1 - rate) : 1; }
#endif

/* ---- splitting rows -----------------------------------------------------------------------------

   Chunks depend on the number of rows alone; each adds its share of a parameter gradient to its own
   partial, and the partials are summed in order: the same bits for any number of threads. */

#define WCOHI_CHUNKS 32
#define WCOHI_CHUNK_ROWS 16 /* at least */

typedef struct wcohi_span {
    wcohi_cpu_exec *exec;
    const wcohi_op *op;
    int first, count;   /* rows of this chunk */
    wcoh_real *partial; /* [partial_count], zeroed, in a backward pass */
    wcoh_real *scratch; /* [scratch_count] of this worker */
} wcohi_span;

typedef void (*wcohi_span_fn)(const wcohi_span *span);

typedef struct wcohi_split {
    wcohi_span span;
    wcohi_span_fn fn;
    int total, chunk;
} wcohi_split;

static void wcohi_split_job(int index, int slot, void *user)
{
    const wcohi_split *split = (const wcohi_split *)user;
    wcohi_span span = split->span;
    wcohi_cpu_exec *exec = span.exec;
    span.first = index * split->chunk;
    span.count = WCOHI_MIN(split->chunk, split->total - span.first);
    span.scratch = exec->scratch + (size_t)slot * exec->scratch_count;
    if (span.partial) {
        span.partial = exec->partials + (size_t)index * exec->partial_count;
        memset(span.partial, 0, exec->partial_count * sizeof *span.partial);
    }
    split->fn(&span);
}

static int wcohi_chunk_rows(int total)
{
    return WCOHI_MAX(WCOHI_CHUNK_ROWS, (total + WCOHI_CHUNKS - 1) / WCOHI_CHUNKS);
}

/* Call fn for every chunk of rows; work: multiply-adds a row. Returns the number of chunks. */
static int wcohi_each_span(wcohi_cpu_exec *exec, const wcohi_op *op, wcohi_span_fn fn, int partials,
                           double work)
{
    wcohi_split split;
    int total = wcohi_run_rows(exec), count;
    memset(&split, 0, sizeof split);
    split.span.exec = exec;
    split.span.op = op;
    split.span.partial = partials ? exec->partials : NULL;
    split.fn = fn;
    split.total = total;
    split.chunk = wcohi_chunk_rows(total);
    count = (total + split.chunk - 1) / split.chunk;
    wcohi_pool_run(exec->compute.pool, count, work * total, wcohi_split_job, &split);
    return count;
}

#ifndef WAVECOH_NO_TRAINING
/* target[count] += the partials' values from `first`, in the order of the chunks; NULL: frozen. */
static void wcohi_sum_partials(const wcohi_cpu_exec *exec, wcoh_real *target, size_t first,
                               size_t count, int chunks)
{
    int chunk;
    size_t i;
    for (chunk = 0; target && chunk < chunks; chunk++) {
        const wcoh_real *partial = exec->partials + (size_t)chunk * exec->partial_count + first;
        for (i = 0; i < count; i++) target[i] += partial[i];
    }
}

/* Add to or set the chunk's rows of an input gradient from the worker's scratch. */
static void wcohi_span_put(const wcohi_span *span, const wcoh_real *values)
{
    size_t width = (size_t)span->op->wide_in, count = (size_t)span->count * width, i;
    wcoh_real *dx = wcohi_tensor_grad(span->exec, span->op->in) + (size_t)span->first * width;
    if (!span->op->add_in) memcpy(dx, values, count * sizeof *dx);
    else
        for (i = 0; i < count; i++) dx[i] += values[i];
}
#endif

/* ---- matrix products over all rows ----------------------------------------------------------- */

/* y [N,O] (ldy) = x [N,I] (ldx) W^T [O,I] + bias; residual and gelu through `args` beforehand */
static void wcohi_product(const wcohi_cpu_exec *exec, wcohi_gemm_args *args, wcoh_real *y, int ldy,
                          const wcoh_real *x, int ldx, const wcoh_real *weight, int wide_out,
                          int wide_in)
{
    args->m = wcohi_run_rows(exec);
    args->n = wide_out;
    args->k = wide_in;
    args->a = x;
    args->lda = (size_t)ldx;
    args->b = weight;
    args->ldb = (size_t)wide_in;
    args->tb = 1;
    args->c = y;
    args->ldc = (size_t)ldy;
    wcohi_gemm(&exec->compute, args);
}

#ifndef WAVECOH_NO_TRAINING
/* dx [N,I] (ldx) = or += g [N,O] (ldg) W [O,I] */
static void wcohi_product_input(const wcohi_cpu_exec *exec, wcoh_real *dx, int ldx, int add,
                                const wcoh_real *g, int ldg, const wcoh_real *weight, int wide_out,
                                int wide_in)
{
    wcohi_gemm_args args;
    memset(&args, 0, sizeof args);
    args.m = wcohi_run_rows(exec);
    args.n = wide_in;
    args.k = wide_out;
    args.a = g;
    args.lda = (size_t)ldg;
    args.b = weight;
    args.ldb = (size_t)wide_in;
    args.c = dx;
    args.ldc = (size_t)ldx;
    args.accumulate = add;
    wcohi_gemm(&exec->compute, &args);
}

/* dW [O,I] += g^T [O,N] (ldg) x [N,I] (ldx); NULL: frozen */
static void wcohi_product_weight(const wcohi_cpu_exec *exec, wcoh_real *dweight, const wcoh_real *g,
                                 int ldg, const wcoh_real *x, int ldx, int wide_out, int wide_in)
{
    wcohi_gemm_args args;
    if (!dweight) return;
    memset(&args, 0, sizeof args);
    args.m = wide_out;
    args.n = wide_in;
    args.k = wcohi_run_rows(exec);
    args.a = g;
    args.lda = (size_t)ldg;
    args.ta = 1;
    args.b = x;
    args.ldb = (size_t)ldx;
    args.c = dweight;
    args.ldc = (size_t)wide_in;
    args.accumulate = 1;
    wcohi_gemm(&exec->compute, &args);
}
#endif

/* ---- column sums: db [O] += sum over rows of g [N,O], split by columns ----------------------- */

#define WCOHI_BIAS_COLUMNS 64

typedef struct wcohi_columns {
    const wcohi_cpu_exec *exec;
    wcoh_real *sums;
    const wcoh_real *g;
    int width, rows;
} wcohi_columns;

#ifndef WAVECOH_NO_TRAINING
static void wcohi_columns_job(int index, int slot, void *user)
{
    const wcohi_columns *columns = (const wcohi_columns *)user;
    int from = index * WCOHI_BIAS_COLUMNS;
    (void)slot;
    columns->exec->compute.kernels->common->column_sums(
        columns->sums + from, columns->g + from, (size_t)columns->width, columns->rows,
        WCOHI_MIN(WCOHI_BIAS_COLUMNS, columns->width - from));
}

static void wcohi_product_bias(const wcohi_cpu_exec *exec, wcoh_real *dbias, const wcoh_real *g,
                               int width)
{
    wcohi_columns columns;
    if (!dbias) return;
    columns.exec = exec;
    columns.sums = dbias;
    columns.g = g;
    columns.width = width;
    columns.rows = wcohi_run_rows(exec);
    wcohi_pool_run(exec->compute.pool, (width + WCOHI_BIAS_COLUMNS - 1) / WCOHI_BIAS_COLUMNS,
                   (double)width * columns.rows, wcohi_columns_job, &columns);
}
#endif

/* ======== 3 ops: embed, norm, linear, gate, maestro, per band, noise ========================== */

/* ---- embed: out[row] = table[token] (+ positions[t]) ----------------------------------------- */

#ifdef WAVECOH_PLAIN
static void wcohi_embed_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_out, row, i;
    for (row = 0; row < p->rows; row++)
        for (i = 0; i < width; i++)
            p->tensors[op->out][row * width + i] =
                wcohi_plain_param(p, op, WCOHI_EMBED_TABLE, p->tokens[row] * width + i) +
                wcohi_plain_param(p, op, WCOHI_EMBED_POSITIONS, row % p->seq * width + i);
}
#endif

static void wcohi_embed_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                              wcohi_sizes *sizes)
{
    (void)plan;
    (void)slots;
    sizes->scratch = (size_t)op->wide_out; /* a row of positions */
}

static void wcohi_embed_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    const wcohi_run *run = exec->run;
    size_t width = (size_t)op->wide_out, i;
    const wcoh_real *table = wcohi_param_data(exec, op->param[WCOHI_EMBED_TABLE]),
                    *places = wcohi_param_data(exec, op->param[WCOHI_EMBED_POSITIONS]);
    wcoh_real *out = wcohi_tensor_data(exec, op->out) + (size_t)span->first * width;
    int r;
    for (r = span->first; r < span->first + span->count; r++, out += width) {
        uint64_t position = run->position + (uint64_t)(r % run->seq);
        memcpy(out, table + (size_t)run->tokens[r] * width, width * sizeof *out);
        if (places) {
            const wcoh_real *place = span->scratch;
            if (position < (uint64_t)op->context) place = places + (size_t)position * width;
            else /* past its table */
                wcohi_sinusoid(span->scratch, op->wide_out / 2, op->amplitude, (double)position);
            for (i = 0; i < width; i++) out[i] += place[i];
        }
        for (i = 2 * (size_t)run->active_bands; i < width; i++) out[i] = 0;
    }
}

static void wcohi_embed_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_embed_span, 0, op->wide_out); }

/* Rows of the tables are shared by tokens, so the work is split by columns. */
#define WCOHI_EMBED_COLUMNS 32

#ifndef WAVECOH_NO_TRAINING
static void wcohi_embed_columns(int index, int slot, void *user)
{
    const wcohi_span *span = (const wcohi_span *)user;
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    const wcohi_run *run = exec->run;
    size_t width = (size_t)op->wide_out, from = (size_t)index * WCOHI_EMBED_COLUMNS, i;
    size_t to =
        WCOHI_MIN(WCOHI_MIN(from + WCOHI_EMBED_COLUMNS, width), 2 * (size_t)run->active_bands);
    wcoh_real *dtable = wcohi_param_grad(exec, op->param[WCOHI_EMBED_TABLE]),
              *dplaces = wcohi_param_grad(exec, op->param[WCOHI_EMBED_POSITIONS]);
    const wcoh_real *g = wcohi_tensor_grad(exec, op->out);
    int r, total = wcohi_run_rows(exec);
    (void)slot;
    for (r = 0; r < total; r++, g += width) {
        wcoh_real *drow = dtable ? dtable + (size_t)run->tokens[r] * width : NULL;
        wcoh_real *dplace = dplaces ? dplaces + (size_t)(r % run->seq) * width : NULL;
        for (i = from; drow && i < to; i++) drow[i] += g[i];
        for (i = from; dplace && i < to; i++) dplace[i] += g[i];
    }
}

static void wcohi_embed_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_span span;
    if (!wcohi_param_grad(exec, op->param[WCOHI_EMBED_TABLE]) &&
        !wcohi_param_grad(exec, op->param[WCOHI_EMBED_POSITIONS]))
        return;
    memset(&span, 0, sizeof span);
    span.exec = exec;
    span.op = op;
    wcohi_pool_run(exec->compute.pool,
                   (op->wide_out + WCOHI_EMBED_COLUMNS - 1) / WCOHI_EMBED_COLUMNS,
                   2.0 * wcohi_run_rows(exec) * op->wide_out, wcohi_embed_columns, &span);
}
#endif

/* ---- norm: y = (x - mean) / deviation * weight + bias over each row -------------------------- */

#ifdef WAVECOH_PLAIN
static void wcohi_norm_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in, row, i;
    for (row = 0; row < p->rows; row++) {
        const double *x = p->tensors[op->in] + row * width;
        double *y = p->tensors[op->out] + row * width, mean = 0, variance = 0;
        for (i = 0; i < width; i++) mean += x[i] / (double)width;
        for (i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)width;
        for (i = 0; i < width; i++)
            y[i] = (x[i] - mean) / sqrt(variance + 1e-5) *
                       wcohi_plain_param(p, op, WCOHI_NORM_WEIGHT, i) +
                   wcohi_plain_param(p, op, WCOHI_NORM_BIAS, i);
    }
}
#endif

#define WCOHI_NORM_EPSILON 1e-5

#define wcohi_norm_forward_is(name)                                                                \
    void name(wcoh_real *y, wcoh_real *stats, const wcoh_real *x, const wcoh_real *w,              \
              const wcoh_real *b, int rows, int width)
#define wcohi_norm_backward_is(name)                                                               \
    void name(wcoh_real *dx, int accumulate, wcoh_real *dw, wcoh_real *db, const wcoh_real *dy,    \
              const wcoh_real *x, const wcoh_real *stats, const wcoh_real *w, int rows, int width)
typedef struct wcohi_norm_kernels {
    wcohi_norm_forward_is((*forward));
#ifndef WAVECOH_NO_TRAINING
    wcohi_norm_backward_is((*backward));
#endif
} wcohi_norm_kernels;

#define wcohi_rms_forward_is(name)                                                                 \
    void name(wcoh_real *y, wcoh_real *stats, const wcoh_real *x, const wcoh_real *w, int rows,    \
              int width)
#define wcohi_rms_backward_is(name)                                                                \
    void name(wcoh_real *dx, int accumulate, wcoh_real *dw, const wcoh_real *dy,                   \
              const wcoh_real *x, const wcoh_real *stats, const wcoh_real *w, int rows, int width)
typedef struct wcohi_rms_kernels {
    wcohi_rms_forward_is((*forward));
#ifndef WAVECOH_NO_TRAINING
    wcohi_rms_backward_is((*backward));
#endif
} wcohi_rms_kernels;

#else /* a pass: layer norm */

/* y = w (x - mean)/sqrt(var + eps) + b, population variance over the row;
   x, y [rows,D], w, b [D], stats [rows,2] = mean, 1/sqrt(var + eps). Not centred (RMS): the mean is
   taken for 0, and there is no b. */
S_(inline) void S_(norm_forward_row)(wcoh_real *y, wcoh_real *stat, const wcoh_real *x,
                                     const wcoh_real *w, const wcoh_real *b, int width,
                                     int whole, int centred)
{
    S_(v) sum = S_(zero)(), squares = S_(zero)(), mean, rstd;
    wcoh_real variance;
    int i;
    for (i = 0; centred && i < width; i += S_(W))
        sum = S_(add)(sum, WCOHI_LOAD(x + i, WCOHI_LANES_IF(whole, width, i)));
    stat[0] = S_(sum)(sum) / (wcoh_real)width;
    mean = S_(set)(stat[0]);
    for (i = 0; i < width; i += S_(W)) {
        int n = WCOHI_LANES_IF(whole, width, i);
        S_(v) d = S_(sub)(WCOHI_LOAD(x + i, n), mean);
        d = WCOHI_KEEP(d, S_(zero)(), n);
        squares = S_(fma)(d, d, squares);
    }
    variance = S_(sum)(squares) / (wcoh_real)width + (wcoh_real)WCOHI_NORM_EPSILON;
    rstd = S_(div)(S_(set)(1), S_(sqrt)(S_(set)(variance)));
    stat[1] = S_(hmax)(rstd);
    for (i = 0; i < width; i += S_(W)) {
        int n = WCOHI_LANES_IF(whole, width, i);
        S_(v) d = S_(mul)(S_(sub)(WCOHI_LOAD(x + i, n), mean), rstd);
        d = centred ? S_(fma)(d, WCOHI_LOAD(w + i, n), WCOHI_LOAD(b + i, n))
                    : S_(mul)(d, WCOHI_LOAD(w + i, n));
        WCOHI_STORE(y + i, d, n);
    }
}

WCOHI_KERNEL(norm_forward)
{
    int row, whole = width % S_(W) == 0;
    for (row = 0; row < rows; row++, x += width, y += width, stats += 2) {
        if (whole) S_(norm_forward_row)(y, stats, x, w, b, width, 1, 1);
        else S_(norm_forward_row)(y, stats, x, w, b, width, 0, 1);
    }
}

WCOHI_KERNEL(rms_forward)
{
    int row, whole = width % S_(W) == 0;
    for (row = 0; row < rows; row++, x += width, y += width, stats += 2) {
        if (whole) S_(norm_forward_row)(y, stats, x, w, NULL, width, 1, 0);
        else S_(norm_forward_row)(y, stats, x, w, NULL, width, 0, 0);
    }
}

/* With X = (x - mean) rstd and h = dy w: dx (+)= rstd (h - mean(h) - X mean(h X)), dw += sum dy X,
   db += sum dy;  dx, dy, x [rows,D], stats of forward. dx may be dy if not accumulated. Not centred:
   without mean(h) and db. */
S_(inline) void S_(norm_backward_row)(wcoh_real *dx, int accumulate, wcoh_real *dw,
                                      wcoh_real *db, const wcoh_real *dy,
                                      const wcoh_real *x, const wcoh_real *stat,
                                      const wcoh_real *w, int width, int whole, int centred)
{
    S_(v) mean = S_(set)(stat[0]), rstd = S_(set)(stat[1]);
    S_(v) sum = S_(zero)(), dot = S_(zero)();
    int i;
    for (i = 0; i < width; i += S_(W)) {
        int n = WCOHI_LANES_IF(whole, width, i);
        S_(v) g = WCOHI_LOAD(dy + i, n), h = S_(mul)(g, WCOHI_LOAD(w + i, n));
        S_(v) normal = S_(mul)(S_(sub)(WCOHI_LOAD(x + i, n), mean), rstd);
        if (centred) sum = S_(add)(sum, h);
        dot = S_(fma)(h, normal, dot);
        WCOHI_STORE(dw + i, S_(fma)(g, normal, WCOHI_LOAD(dw + i, n)), n);
        if (centred) WCOHI_STORE(db + i, S_(add)(g, WCOHI_LOAD(db + i, n)), n);
    }
    sum = S_(set)(S_(sum)(sum) / (wcoh_real)width);
    dot = S_(set)(S_(sum)(dot) / (wcoh_real)width);
    for (i = 0; i < width; i += S_(W)) {
        int n = WCOHI_LANES_IF(whole, width, i);
        S_(v) h = S_(mul)(WCOHI_LOAD(dy + i, n), WCOHI_LOAD(w + i, n));
        S_(v) normal = S_(mul)(S_(sub)(WCOHI_LOAD(x + i, n), mean), rstd);
        S_(v) d = S_(mul)(rstd, S_(fnma)(normal, dot, S_(sub)(h, sum)));
        if (accumulate) d = S_(add)(d, WCOHI_LOAD(dx + i, n));
        WCOHI_STORE(dx + i, d, n);
    }
}

#ifndef WAVECOH_NO_TRAINING
WCOHI_KERNEL(norm_backward)
{
    int row;
    for (row = 0; row < rows; row++, dx += width, dy += width, x += width, stats += 2) {
        if (width % S_(W) == 0)
            S_(norm_backward_row)(dx, accumulate, dw, db, dy, x, stats, w, width, 1, 1);
        else
            S_(norm_backward_row)(dx, accumulate, dw, db, dy, x, stats, w, width, 0, 1);
    }
}

WCOHI_KERNEL(rms_backward)
{
    int row;
    for (row = 0; row < rows; row++, dx += width, dy += width, x += width, stats += 2) {
        if (width % S_(W) == 0)
            S_(norm_backward_row)(dx, accumulate, dw, NULL, dy, x, stats, w, width, 1, 0);
        else
            S_(norm_backward_row)(dx, accumulate, dw, NULL, dy, x, stats, w, width, 0, 0);
    }
}
#endif

static const wcohi_norm_kernels S_(norm_kernels) = {S_(norm_forward) WCOHI_BACK(S_(norm_backward))};
static const wcohi_rms_kernels S_(rms_kernels) = {S_(rms_forward) WCOHI_BACK(S_(rms_backward))};

#endif
#ifndef WCOHI_PASS

static void wcohi_norm_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                             wcohi_sizes *sizes)
{
    (void)slots;
    sizes->aux = wcohi_plan_reals(plan, 2);   /* mean and 1/deviation of each row */
    sizes->partial = 2 * (size_t)op->wide_in; /* dweight, dbias */
}

static void wcohi_norm_forward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    exec->compute.kernels->norm->forward(
        wcohi_tensor_data(exec, op->out) + at,
        wcohi_tensor_data(exec, op->aux) + 2 * (size_t)span->first,
        wcohi_tensor_data(exec, op->in) + at, wcohi_param_data(exec, op->param[WCOHI_NORM_WEIGHT]),
        wcohi_param_data(exec, op->param[WCOHI_NORM_BIAS]), span->count, op->wide_in);
}

static void wcohi_norm_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_norm_forward_span, 0, 4.0 * op->wide_in); }

#ifndef WAVECOH_NO_TRAINING
static void wcohi_norm_backward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    exec->compute.kernels->norm->backward(
        wcohi_tensor_grad(exec, op->in) + at, op->add_in, span->partial,
        span->partial + op->wide_in, wcohi_tensor_grad(exec, op->out) + at,
        wcohi_tensor_data(exec, op->in) + at,
        wcohi_tensor_data(exec, op->aux) + 2 * (size_t)span->first,
        wcohi_param_data(exec, op->param[WCOHI_NORM_WEIGHT]), span->count, op->wide_in);
}

static void wcohi_norm_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in;
    int chunks = wcohi_each_span(exec, op, wcohi_norm_backward_span, 1, 8.0 * op->wide_in);
    wcohi_sum_partials(exec, wcohi_param_grad(exec, op->param[WCOHI_NORM_WEIGHT]), 0, width,
                       chunks);
    wcohi_sum_partials(exec, wcohi_param_grad(exec, op->param[WCOHI_NORM_BIAS]), width, width,
                       chunks);
}
#endif

/* ---- rms: y = x / root mean square * weight over each row (Zhang and Sennrich, 2019) --------- */

#ifdef WAVECOH_PLAIN
static void wcohi_rms_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in, row, i;
    for (row = 0; row < p->rows; row++) {
        const double *x = p->tensors[op->in] + row * width;
        double *y = p->tensors[op->out] + row * width, square = 0;
        for (i = 0; i < width; i++) square += x[i] * x[i] / (double)width;
        for (i = 0; i < width; i++)
            y[i] = x[i] / sqrt(square + 1e-5) * wcohi_plain_param(p, op, WCOHI_RMS_WEIGHT, i);
    }
}
#endif

static void wcohi_rms_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                            wcohi_sizes *sizes)
{
    (void)slots;
    sizes->aux = wcohi_plan_reals(plan, 2);
    sizes->partial = (size_t)op->wide_in; /* dweight */
}

static void wcohi_rms_forward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    exec->compute.kernels->rms->forward(wcohi_tensor_data(exec, op->out) + at,
                                        wcohi_tensor_data(exec, op->aux) + 2 * (size_t)span->first,
                                        wcohi_tensor_data(exec, op->in) + at,
                                        wcohi_param_data(exec, op->param[WCOHI_RMS_WEIGHT]),
                                        span->count, op->wide_in);
}

static void wcohi_rms_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_rms_forward_span, 0, 3.0 * op->wide_in); }

#ifndef WAVECOH_NO_TRAINING
static void wcohi_rms_backward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    exec->compute.kernels->rms->backward(
        wcohi_tensor_grad(exec, op->in) + at, op->add_in, span->partial,
        wcohi_tensor_grad(exec, op->out) + at, wcohi_tensor_data(exec, op->in) + at,
        wcohi_tensor_data(exec, op->aux) + 2 * (size_t)span->first,
        wcohi_param_data(exec, op->param[WCOHI_RMS_WEIGHT]), span->count, op->wide_in);
}

static void wcohi_rms_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int chunks = wcohi_each_span(exec, op, wcohi_rms_backward_span, 1, 6.0 * op->wide_in);
    wcohi_sum_partials(exec, wcohi_param_grad(exec, op->param[WCOHI_RMS_WEIGHT]), 0,
                       (size_t)op->wide_in, chunks);
}
#endif

/* ---- linear: y = x W^T + b (+ residual) (gelu); G diagonal blocks [O/G, I/G] ----------------- */

#ifdef WAVECOH_PLAIN
static void wcohi_linear_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t wide_in = (size_t)op->wide_in, wide_out = (size_t)op->wide_out, row, o, i;
    size_t in = wide_in / (size_t)op->groups, out = wide_out / (size_t)op->groups;
    for (row = 0; row < p->rows; row++)
        for (o = 0; o < wide_out; o++) {
            const double *x = p->tensors[op->in] + row * wide_in + o / out * in;
            double y = wcohi_plain_param(p, op, WCOHI_LINEAR_BIAS, o);
            for (i = 0; i < in; i++)
                y += x[i] * wcohi_plain_param(p, op, WCOHI_LINEAR_WEIGHT, o * in + i);
            if (op->in2 >= 0) y += p->tensors[op->in2][row * wide_out + o];
            p->tensors[op->out][row * wide_out + o] = op->gelu ? wcohi_plain_gelu(y) : y;
        }
}
#endif

static void wcohi_linear_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                               wcohi_sizes *sizes)
{
    (void)slots;
    if (op->gelu) sizes->aux = wcohi_plan_reals(plan, op->wide_out); /* before the gelu */
}

static void wcohi_linear_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int group, out = op->wide_out / op->groups, in = op->wide_in / op->groups;
    const wcoh_real *bias = wcohi_param_data(exec, op->param[WCOHI_LINEAR_BIAS]),
                    *residual = wcohi_tensor_data(exec, op->in2);
    wcoh_real *pre = op->gelu ? wcohi_tensor_data(exec, op->aux) : NULL;
    for (group = 0; group < op->groups; group++) {
        wcohi_gemm_args args;
        memset(&args, 0, sizeof args);
        args.bias = bias ? bias + group * out : NULL;
        args.residual = residual ? residual + group * out : NULL;
        args.ldr = (size_t)op->wide_out;
        args.gelu = op->gelu;
        args.pre = pre ? pre + group * out : NULL;
        wcohi_product(exec, &args, wcohi_tensor_data(exec, op->out) + group * out, op->wide_out,
                      wcohi_tensor_data(exec, op->in) + group * in, op->wide_in,
                      wcohi_param_data(exec, op->param[WCOHI_LINEAR_WEIGHT]) +
                          (size_t)group * (size_t)out * (size_t)in,
                      out, in);
    }
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_gelu_backward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    size_t width = (size_t)span->op->wide_out, at = (size_t)span->first * width;
    wcoh_real *g = wcohi_tensor_grad(exec, span->op->out) + at;
    exec->compute.kernels->common->gelu_backward(g, g, wcohi_tensor_data(exec, span->op->aux) + at,
                                                 (size_t)span->count * width);
}

static void wcohi_linear_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int group, out = op->wide_out / op->groups, in = op->wide_in / op->groups;
    const wcoh_real *g = wcohi_tensor_grad(exec, op->out), *x = wcohi_tensor_data(exec, op->in);
    wcoh_real *dx = wcohi_tensor_grad(exec, op->in),
              *dweight = wcohi_param_grad(exec, op->param[WCOHI_LINEAR_WEIGHT]);
    if (op->gelu) wcohi_each_span(exec, op, wcohi_gelu_backward_span, 0, 20.0 * op->wide_out);
    wcohi_product_bias(exec, wcohi_param_grad(exec, op->param[WCOHI_LINEAR_BIAS]), g, op->wide_out);
    for (group = 0; group < op->groups; group++) {
        size_t block = (size_t)group * (size_t)out * (size_t)in;
        wcohi_product_weight(exec, dweight ? dweight + block : NULL, g + group * out, op->wide_out,
                             x + group * in, op->wide_in, out, in);
        wcohi_product_input(
            exec, dx + group * in, op->wide_in, op->add_in, g + group * out, op->wide_out,
            wcohi_param_data(exec, op->param[WCOHI_LINEAR_WEIGHT]) + block, out, in);
    }
}
#endif

/* ---- gate: y = v f(s), f(s) = s, 2 sigma(s) or s sigma(s); s and v may be parts of one row --- */

#ifdef WAVECOH_PLAIN
static void wcohi_gate_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_out, row, i;
    for (row = 0; row < p->rows; row++)
        for (i = 0; i < width; i++) {
            double s = p->tensors[op->in][row * (size_t)op->wide_in + i];
            double v = p->tensors[op->in2][row * (size_t)p->plan->tensors[op->in2].width +
                                           (size_t)op->column + i];
            double sigma = 1 / (1 + exp(-s));
            p->tensors[op->out][row * width + i] = op->form == WCOHI_GATE_LINEAR    ? v * s
                                                   : op->form == WCOHI_GATE_SIGMOID ? v * 2 * sigma
                                                                                    : v * s * sigma;
        }
}
#endif

#define wcohi_gate_forward_is(name)                                                                \
    void name(wcoh_real *y, const wcoh_real *s, size_t lds, const wcoh_real *v, size_t ldv,        \
              wcohi_gate_form form, int rows, int width)
#define wcohi_gate_backward_is(name)                                                               \
    void name(wcoh_real *ds, wcoh_real *dv, const wcoh_real *dy, const wcoh_real *s, size_t lds,   \
              const wcoh_real *v, size_t ldv, wcohi_gate_form form, int rows, int width)
typedef struct wcohi_gate_kernels {
    wcohi_gate_forward_is((*forward));
#ifndef WAVECOH_NO_TRAINING
    wcohi_gate_backward_is((*backward));
#endif
} wcohi_gate_kernels;

#else /* a pass: gates */

/* f(s), and f'(s). */
S_(inline) S_(v) S_(gate)(wcohi_gate_form form, S_(v) s, S_(v) *slope)
{
    S_(v) one = S_(set)(1), sigma, rest;
    *slope = one;
    if (form == WCOHI_GATE_LINEAR) return s;
    sigma = S_(exp)(S_(min)(S_(set)(80), S_(neg)(s)));
    sigma = WCOHI_PASS_NAN(s, S_(div)(one, S_(add)(one, sigma)));
    rest = S_(sub)(one, sigma);
    if (form == WCOHI_GATE_SIGMOID) {
        sigma = S_(add)(sigma, sigma);
        *slope = S_(mul)(sigma, rest);
        return sigma;
    }
    *slope = S_(mul)(sigma, S_(fma)(s, rest, one));
    return S_(mul)(s, sigma);
}

/* y = v f(s);  y [rows,D], s [rows,D] of stride lds, v [rows,D] of stride ldv. */
WCOHI_KERNEL(gate_forward)
{
    int row, i;
    for (row = 0; row < rows; row++, y += width, s += lds, v += ldv)
        for (i = 0; i < width; i += S_(W)) {
            int n = WCOHI_LANES(width, i);
            S_(v) slope, f = S_(gate)(form, WCOHI_LOAD(s + i, n), &slope);
            WCOHI_STORE(y + i, S_(mul)(WCOHI_LOAD(v + i, n), f), n);
        }
}

#ifndef WAVECOH_NO_TRAINING
/* ds = dy v f'(s), dv = dy f(s);  shapes as forward, ds as s, dv as v. */
WCOHI_KERNEL(gate_backward)
{
    int row, i;
    for (row = 0; row < rows; row++, dy += width, s += lds, ds += lds, v += ldv, dv += ldv)
        for (i = 0; i < width; i += S_(W)) {
            int n = WCOHI_LANES(width, i);
            S_(v) slope, f = S_(gate)(form, WCOHI_LOAD(s + i, n), &slope);
            S_(v) g = WCOHI_LOAD(dy + i, n);
            WCOHI_STORE(ds + i, S_(mul)(S_(mul)(g, slope), WCOHI_LOAD(v + i, n)), n);
            WCOHI_STORE(dv + i, S_(mul)(g, f), n);
        }
}
#endif

static const wcohi_gate_kernels S_(gate_kernels) = {S_(gate_forward) WCOHI_BACK(S_(gate_backward))};

#endif
#ifndef WCOHI_PASS

static void wcohi_gate_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                             wcohi_sizes *sizes)
{
    (void)plan;
    (void)op;
    (void)slots;
    (void)sizes; /* nothing but its tensors */
}

/* Reals before row `first` of in2's values, and its stride. */
static size_t wcohi_gate_values(const wcohi_span *span, size_t *stride)
{
    *stride = (size_t)span->exec->base.plan->tensors[span->op->in2].width;
    return (size_t)span->first * *stride + (size_t)span->op->column;
}

static void wcohi_gate_forward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t lds = (size_t)op->wide_in, ldv, at = wcohi_gate_values(span, &ldv);
    exec->compute.kernels->gate->forward(
        wcohi_tensor_data(exec, op->out) + (size_t)span->first * (size_t)op->wide_out,
        wcohi_tensor_data(exec, op->in) + (size_t)span->first * lds, lds,
        wcohi_tensor_data(exec, op->in2) + at, ldv, op->form, span->count, op->wide_out);
}

static void wcohi_gate_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_gate_forward_span, 0, 10.0 * op->wide_out); }

#ifndef WAVECOH_NO_TRAINING
/* It is the only reader of both inputs: their gradients are set. */
static void wcohi_gate_backward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t lds = (size_t)op->wide_in, ldv, at = wcohi_gate_values(span, &ldv);
    exec->compute.kernels->gate->backward(
        wcohi_tensor_grad(exec, op->in) + (size_t)span->first * lds,
        wcohi_tensor_grad(exec, op->in2) + at,
        wcohi_tensor_grad(exec, op->out) + (size_t)span->first * (size_t)op->wide_out,
        wcohi_tensor_data(exec, op->in) + (size_t)span->first * lds, lds,
        wcohi_tensor_data(exec, op->in2) + at, ldv, op->form, span->count, op->wide_out);
}

static void wcohi_gate_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_gate_backward_span, 0, 20.0 * op->wide_out); }
#endif

/* ---- maestro: y = residual + W2 gelu(W1 x + b1) + b2; aux: W1 x + b1, its gelu, a gradient --- */

#ifdef WAVECOH_PLAIN
static void wcohi_maestro_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t in = (size_t)op->wide_in, out = (size_t)op->wide_out, narrow = (size_t)op->narrow;
    size_t row, m, i, o;
    for (row = 0; row < p->rows; row++) {
        const double *x = p->tensors[op->in] + row * in;
        double *y = p->tensors[op->out] + row * out;
        for (o = 0; o < out; o++)
            y[o] = p->tensors[op->in2][row * out + o] +
                   wcohi_plain_param(p, op, WCOHI_MAESTRO_EXPAND_BIAS, o);
        for (m = 0; m < narrow; m++) {
            double a = wcohi_plain_param(p, op, WCOHI_MAESTRO_SQUEEZE_BIAS, m);
            for (i = 0; i < in; i++)
                a += x[i] * wcohi_plain_param(p, op, WCOHI_MAESTRO_SQUEEZE, m * in + i);
            for (o = 0; o < out; o++)
                y[o] += wcohi_plain_gelu(a) *
                        wcohi_plain_param(p, op, WCOHI_MAESTRO_EXPAND, o * narrow + m);
        }
    }
}
#endif

static void wcohi_maestro_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                                wcohi_sizes *sizes)
{
    (void)slots;
    sizes->aux = wcohi_mul(wcohi_plan_reals(plan, 1), 3 * (size_t)op->narrow);
}

static void wcohi_maestro_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int narrow = op->narrow;
    size_t span = (size_t)wcohi_run_rows(exec) * (size_t)narrow;
    wcoh_real *pre = wcohi_tensor_data(exec, op->aux), *squeezed = pre + span;
    wcohi_gemm_args args;
    memset(&args, 0, sizeof args);
    args.bias = wcohi_param_data(exec, op->param[WCOHI_MAESTRO_SQUEEZE_BIAS]);
    args.gelu = 1;
    args.pre = pre;
    wcohi_product(exec, &args, squeezed, narrow, wcohi_tensor_data(exec, op->in), op->wide_in,
                  wcohi_param_data(exec, op->param[WCOHI_MAESTRO_SQUEEZE]), narrow, op->wide_in);
    memset(&args, 0, sizeof args);
    args.bias = wcohi_param_data(exec, op->param[WCOHI_MAESTRO_EXPAND_BIAS]);
    args.residual = wcohi_tensor_data(exec, op->in2);
    args.ldr = (size_t)op->wide_out;
    wcohi_product(exec, &args, wcohi_tensor_data(exec, op->out), op->wide_out, squeezed, narrow,
                  wcohi_param_data(exec, op->param[WCOHI_MAESTRO_EXPAND]), op->wide_out, narrow);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_maestro_gelu_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    size_t narrow = (size_t)span->op->narrow, all = (size_t)wcohi_run_rows(exec) * narrow;
    size_t at = (size_t)span->first * narrow;
    wcoh_real *pre = wcohi_tensor_data(exec, span->op->aux), *g = pre + 2 * all;
    exec->compute.kernels->common->gelu_backward(g + at, g + at, pre + at,
                                                 (size_t)span->count * narrow);
}

/* The residual's gradient is the output's (the plan made them one). */
static void wcohi_maestro_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int narrow = op->narrow;
    size_t span = (size_t)wcohi_run_rows(exec) * (size_t)narrow;
    wcoh_real *pre = wcohi_tensor_data(exec, op->aux), *squeezed = pre + span,
              *dsqueezed = squeezed + span;
    const wcoh_real *g = wcohi_tensor_grad(exec, op->out);
    wcohi_product_bias(exec, wcohi_param_grad(exec, op->param[WCOHI_MAESTRO_EXPAND_BIAS]), g,
                       op->wide_out);
    wcohi_product_weight(exec, wcohi_param_grad(exec, op->param[WCOHI_MAESTRO_EXPAND]), g,
                         op->wide_out, squeezed, narrow, op->wide_out, narrow);
    wcohi_product_input(exec, dsqueezed, narrow, 0, g, op->wide_out,
                        wcohi_param_data(exec, op->param[WCOHI_MAESTRO_EXPAND]), op->wide_out,
                        narrow);
    wcohi_each_span(exec, op, wcohi_maestro_gelu_span, 0, 20.0 * narrow);
    wcohi_product_bias(exec, wcohi_param_grad(exec, op->param[WCOHI_MAESTRO_SQUEEZE_BIAS]),
                       dsqueezed, narrow);
    wcohi_product_weight(exec, wcohi_param_grad(exec, op->param[WCOHI_MAESTRO_SQUEEZE]), dsqueezed,
                         narrow, wcohi_tensor_data(exec, op->in), op->wide_in, narrow, op->wide_in);
    wcohi_product_input(exec, wcohi_tensor_grad(exec, op->in), op->wide_in, op->add_in, dsqueezed,
                        narrow, wcohi_param_data(exec, op->param[WCOHI_MAESTRO_SQUEEZE]), narrow,
                        op->wide_in);
}
#endif

/* ---- per band: y_k = W_k z_k + b_k with a 2x2 matrix a band ---------------------------------- */

#ifdef WAVECOH_PLAIN
static void wcohi_per_band_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in, row, i;
    for (row = 0; row < p->rows; row++)
        for (i = 0; i < width; i++) {
            const double *z = p->tensors[op->in] + row * width + i / 2 * 2;
            p->tensors[op->out][row * width + i] =
                wcohi_plain_param(p, op, WCOHI_PER_BAND_BIAS, i) +
                wcohi_plain_param(p, op, WCOHI_PER_BAND_WEIGHT, 2 * i) * z[0] +
                wcohi_plain_param(p, op, WCOHI_PER_BAND_WEIGHT, 2 * i + 1) * z[1];
        }
}
#endif

/* The matrices of n bands from w [K,2,2] as four vectors: m[2i+j] = w[k][i][j] (out i, in j). */
#define WCOHI_BAND_MATRIX(w, n, m)                                                                 \
    do {                                                                                           \
        wcoh_real lanes_[4][S_(W)];                                                                \
        int lane_, part_;                                                                          \
        for (part_ = 0; part_ < 4; part_++) {                                                      \
            for (lane_ = 0; lane_ < S_(W); lane_++)                                                \
                lanes_[part_][lane_] = lane_ < (n) ? (w)[4 * lane_ + part_] : (wcoh_real)0;        \
            (m)[part_] = S_(load)(lanes_[part_]);                                                  \
        }                                                                                          \
    } while (0)

#define wcohi_per_band_forward_is(name)                                                            \
    void name(wcoh_real *y, const wcoh_real *x, const wcoh_real *w, const wcoh_real *b, int rows,  \
              int bands)
#define wcohi_per_band_backward_is(name)                                                           \
    void name(wcoh_real *dx, wcoh_real *dw, wcoh_real *db, const wcoh_real *dy,                    \
              const wcoh_real *x, const wcoh_real *w, int rows, int bands)
typedef struct wcohi_per_band_kernels {
    wcohi_per_band_forward_is((*forward));
#ifndef WAVECOH_NO_TRAINING
    wcohi_per_band_backward_is((*backward));
#endif
} wcohi_per_band_kernels;

#else /* a pass: 2x2 matrices */

/* y_k = w_k x_k + b_k;  x, y [rows,2K], w [K,2,2] as [out][in], b [K,2]. */
WCOHI_KERNEL(per_band_forward)
{
    int k, row;
    for (k = 0; k < bands; k += S_(W)) {
        int n = WCOHI_LANES(bands, k);
        S_(v) m[4], br, bs;
        WCOHI_BAND_MATRIX(w + 4 * (size_t)k, n, m);
        WCOHI_LOAD_BANDS(b + 2 * (size_t)k, n, br, bs);
        for (row = 0; row < rows; row++) {
            size_t at = 2 * ((size_t)row * (size_t)bands + (size_t)k);
            S_(v) r, s, yr, ys;
            WCOHI_LOAD_BANDS(x + at, n, r, s);
            yr = S_(fma)(m[0], r, S_(fma)(m[1], s, br));
            ys = S_(fma)(m[2], r, S_(fma)(m[3], s, bs));
            WCOHI_STORE_BANDS(y + at, n, yr, ys);
        }
    }
}

#ifndef WAVECOH_NO_TRAINING
/* dx = w^T dy, dw += dy x^T, db += dy;  shapes as forward. dx may be dy. */
WCOHI_KERNEL(per_band_backward)
{
    int k, row, part, lane;
    for (k = 0; k < bands; k += S_(W)) {
        int n = WCOHI_LANES(bands, k);
        wcoh_real lanes[S_(W)];
        S_(v) m[4], sum[6];
        for (part = 0; part < 6; part++) sum[part] = S_(zero)();
        WCOHI_BAND_MATRIX(w + 4 * (size_t)k, n, m);
        for (row = 0; row < rows; row++) {
            size_t at = 2 * ((size_t)row * (size_t)bands + (size_t)k);
            S_(v) r, s, gr, gs, dr, ds;
            WCOHI_LOAD_BANDS(x + at, n, r, s);
            WCOHI_LOAD_BANDS(dy + at, n, gr, gs);
            sum[0] = S_(fma)(gr, r, sum[0]);
            sum[1] = S_(fma)(gr, s, sum[1]);
            sum[2] = S_(fma)(gs, r, sum[2]);
            sum[3] = S_(fma)(gs, s, sum[3]);
            sum[4] = S_(add)(sum[4], gr);
            sum[5] = S_(add)(sum[5], gs);
            dr = S_(fma)(m[0], gr, S_(mul)(m[2], gs));
            ds = S_(fma)(m[1], gr, S_(mul)(m[3], gs));
            WCOHI_STORE_BANDS(dx + at, n, dr, ds);
        }
        for (part = 0; part < 6; part++) {
            S_(store)(lanes, sum[part]);
            for (lane = 0; lane < n; lane++) {
                size_t band = (size_t)(k + lane);
                if (part < 4) dw[4 * band + (size_t)part] += lanes[lane];
                else db[2 * band + (size_t)(part - 4)] += lanes[lane];
            }
        }
    }
}
#endif

static const wcohi_per_band_kernels S_(per_band_kernels) = {S_(per_band_forward)
                                                                WCOHI_BACK(S_(per_band_backward))};

#endif
#ifndef WCOHI_PASS

static void wcohi_per_band_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                                 wcohi_sizes *sizes)
{
    size_t width = (size_t)op->wide_in; /* [K,2,2] weights are 2 D reals, [K,2] biases D */
    (void)slots;
    sizes->partial = 3 * width;
    sizes->scratch = wcohi_mul((size_t)wcohi_chunk_rows(plan->batch * plan->seq), width);
}

static void wcohi_per_band_forward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    exec->compute.kernels->per_band->forward(
        wcohi_tensor_data(exec, op->out) + at, wcohi_tensor_data(exec, op->in) + at,
        wcohi_param_data(exec, op->param[WCOHI_PER_BAND_WEIGHT]),
        wcohi_param_data(exec, op->param[WCOHI_PER_BAND_BIAS]), span->count, op->wide_in / 2);
}

static void wcohi_per_band_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_per_band_forward_span, 0, 4.0 * op->wide_in); }

#ifndef WAVECOH_NO_TRAINING
static void wcohi_per_band_backward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    exec->compute.kernels->per_band->backward(
        span->scratch, span->partial, span->partial + 2 * op->wide_in,
        wcohi_tensor_grad(exec, op->out) + at, wcohi_tensor_data(exec, op->in) + at,
        wcohi_param_data(exec, op->param[WCOHI_PER_BAND_WEIGHT]), span->count, op->wide_in / 2);
    wcohi_span_put(span, span->scratch);
}

static void wcohi_per_band_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in;
    int chunks = wcohi_each_span(exec, op, wcohi_per_band_backward_span, 1, 8.0 * op->wide_in);
    wcohi_sum_partials(exec, wcohi_param_grad(exec, op->param[WCOHI_PER_BAND_WEIGHT]), 0, 2 * width,
                       chunks);
    wcohi_sum_partials(exec, wcohi_param_grad(exec, op->param[WCOHI_PER_BAND_BIAS]), 2 * width,
                       width, chunks);
}
#endif

/* ---- dropout: y = x m (+ residual), m = 0 for a share p of the elements, 1/(1 - p) for the others
   (Srivastava et al., 2014). Only trainers have it; without noise m is 1. ----------------------- */

#ifndef WAVECOH_NO_TRAINING
#ifdef WAVECOH_PLAIN
static void wcohi_dropout_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in, row, i;
    for (row = 0; row < p->rows; row++) {
        uint32_t key = wcohi_noise_row(&p->noise, op->stream, row, p->seq);
        const double *x = p->tensors[op->in] + row * width;
        for (i = 0; i < width; i++) {
            int drop = p->noise.on && wcohi_hash32(key + (uint32_t)i) < op->rate * 4294967296.0;
            double y = drop ? 0 : p->noise.on ? x[i] / (1 - op->rate) : x[i];
            if (op->in2 >= 0) y += p->tensors[op->in2][row * width + i];
            p->tensors[op->out][row * width + i] = y;
        }
    }
}
#endif

#define wcohi_dropout_row_is(name)                                                                 \
    void name(wcoh_real *y, const wcoh_real *residual, const wcoh_real *x, uint32_t key,           \
              uint32_t drop, wcoh_real scale, int width)
typedef struct wcohi_dropout_kernels {
    wcohi_dropout_row_is((*row));
} wcohi_dropout_kernels;
#endif

#elif !defined(WAVECOH_NO_TRAINING) /* a pass: dropout */

#define WCOHI_DROPOUT_BLOCK 16 /* whole, so that compilers see a vector of hashes */

/* y = x m (+ residual, or NULL);  x, y [D]; y may be x or residual. */
WCOHI_KERNEL(dropout_row)
{
    wcoh_real m[WCOHI_DROPOUT_BLOCK];
    int i, j;
    for (i = 0; i < width; i += WCOHI_DROPOUT_BLOCK) {
        int count = WCOHI_MIN(WCOHI_DROPOUT_BLOCK, width - i);
        for (j = 0; j < WCOHI_DROPOUT_BLOCK; j++)
            m[j] = wcohi_hash32(key + (uint32_t)(i + j)) < drop ? (wcoh_real)0 : scale;
        for (j = 0; j < count; j += S_(W)) {
            int n = WCOHI_LANES(count, j);
            S_(v) v = S_(mul)(WCOHI_LOAD(x + i + j, n), S_(load)(m + j));
            if (residual) v = S_(add)(v, WCOHI_LOAD(residual + i + j, n));
            WCOHI_STORE(y + i + j, v, n);
        }
    }
}

static const wcohi_dropout_kernels S_(dropout_kernels) = {S_(dropout_row)};

#endif
#ifndef WCOHI_PASS

#ifndef WAVECOH_NO_TRAINING
static void wcohi_dropout_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                                wcohi_sizes *sizes)
{
    (void)plan;
    (void)op;
    (void)slots;
    (void)sizes; /* the mask is made again where it is needed */
}

/* to [rows,D] = from m (+ residual) */
static void wcohi_dropout_rows(const wcohi_span *span, wcoh_real *to, const wcoh_real *residual,
                               const wcoh_real *from)
{
    const wcohi_run *run = span->exec->run;
    const wcohi_op *op = span->op;
    const uint32_t drop = wcohi_noise_drop(&run->noise, op->rate);
    const wcoh_real scale = (wcoh_real)wcohi_noise_scale(&run->noise, op->rate);
    size_t width = (size_t)op->wide_in, row = (size_t)span->first;
    for (; row < (size_t)(span->first + span->count); row++)
        span->exec->compute.kernels->dropout->row(
            to + row * width, residual ? residual + row * width : NULL, from + row * width,
            wcohi_noise_row(&run->noise, op->stream, row, (size_t)run->seq), drop, scale,
            op->wide_in);
}

static void wcohi_dropout_forward_span(const wcohi_span *span)
{
    wcohi_dropout_rows(span, wcohi_tensor_data(span->exec, span->op->out),
                       wcohi_tensor_data(span->exec, span->op->in2),
                       wcohi_tensor_data(span->exec, span->op->in));
}

static void wcohi_dropout_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_dropout_forward_span, 0, 2.0 * op->wide_in); }

/* The gradient of the residual is the output's own. */
static void wcohi_dropout_backward_span(const wcohi_span *span)
{
    wcoh_real *dx = wcohi_tensor_grad(span->exec, span->op->in);
    wcohi_dropout_rows(span, dx, span->op->add_in ? dx : NULL,
                       wcohi_tensor_grad(span->exec, span->op->out));
}

static void wcohi_dropout_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_dropout_backward_span, 0, 2.0 * op->wide_in); }
#endif

/* ======== 3 ops: Kerr oscillators ============================================================= */

/* ---- Kerr oscillators ---------------------------------------------------------------------------

   dz_k/dt = (-gamma_k + i phi_k) z_k,  phi_k = omega_k + alpha |z_k|^2 + beta sten(|z|^2)_k,
   t from 0 to 1;  sten(p)_k = p_{k-2} + p_{k-1} + p_{k+1} + p_{k+2}, 0 outside the row.
   Per row: limiter -> + offset -> oscillators -> rotation by the corrector's angles. A few rows are
   worked on at once as planar arrays r, s in scratch: K numbers a row, then WCOHI_KERR_GAP zeros,
   so that sten needs no edge case and vectors run on from row to row. */

typedef struct wcohi_kerr_source {
    int bands;                  /* K */
    wcoh_solver solver;
    int steps;                  /* of RK4 */
    const wcoh_real *gamma_raw; /* [K] gamma = softplus; NULL with WCOH_SOLVER_NONE */
    const wcoh_real *omega;     /* [K]; likewise */
    double alpha, beta;
    double ceiling;             /* c of the limiter's knee; 0: no limiter */
    const wcoh_real *corrector; /* [K] angles, or NULL */
    const wcoh_real *offset;    /* [2K] added after the limiter, or NULL */
} wcohi_kerr_source;

/* Coefficients of a run, made once from the parameters. Arrays repeat per row, zeros between. */
typedef struct wcohi_kerr {
    int bands, steps, limited, corrected;
    int rows, span; /* rows worked on at once; of the planar arrays in use: rows (K + gap) */
    size_t pitch;   /* of planar arrays */
    wcoh_solver solver;
    wcoh_real alpha, beta, ceiling;
    const wcoh_real *offset;
    wcoh_real *gamma, *omega;
    wcoh_real *decay;                  /* e^-gamma */
    wcoh_real *energy, *denergy;       /* e(gamma) = (1 - e^-2gamma)/(2 gamma), de/dgamma */
    wcoh_real *cos_omega, *sin_omega;
    wcoh_real *cos_turn, *sin_turn;    /* of the corrector */
} wcohi_kerr;

/* Where backward adds what it finds; [K] arrays, any of them NULL if nobody wants it. */
typedef struct wcohi_kerr_gradient {
    double *gamma; /* with respect to gamma: times sigmoid(gamma_raw) for the raw parameter */
    double *omega, *corrector;
    double alpha, beta;
} wcohi_kerr_gradient;

#define WCOHI_KERR_ARRAYS 9
#define WCOHI_KERR_EDGE 16 /* zeros on both sides of a planar array; at least the widest vector */
#define WCOHI_KERR_GAP 2   /* zeros between two rows: the reach of sten */
#define WCOHI_KERR_PLANAR 20

/* Rows worked on at once: enough that a pass reads what was stored long ago. */
static int wcohi_kerr_rows(int bands) { return WCOHI_MAX(1, 320 / (bands + WCOHI_KERR_GAP)); }

/* Reals of a planar array with its edges, rounded up to whole vectors. */
static size_t wcohi_kerr_pitch(int bands)
{
    size_t row = wcohi_add((size_t)bands, WCOHI_KERR_GAP);
    size_t span = wcohi_mul((size_t)wcohi_kerr_rows(bands), row);
    return wcohi_add(wcohi_round_up(span, WCOHI_KERR_EDGE), 2 * WCOHI_KERR_EDGE);
}

/* Reals of memory that wcohi_kerr_prepare fills. */
static size_t wcohi_kerr_count(int bands)
{
    return wcohi_mul(WCOHI_KERR_ARRAYS, wcohi_kerr_pitch(bands));
}

/* Reals of scratch that one concurrent call of kerr_forward or kerr_backward needs. */
static size_t wcohi_kerr_scratch(int bands, int steps)
{
    size_t planes = wcohi_add(WCOHI_KERR_PLANAR, wcohi_mul(2, (size_t)WCOHI_MAX(steps, 0)));
    return wcohi_mul(planes, wcohi_kerr_pitch(bands));
}

static double wcohi_softplus(double x) { return x > 20 ? x : log1p(exp(x)); }
#ifndef WAVECOH_NO_TRAINING
static double wcohi_sigmoid(double x) { return 1 / (1 + exp(-x)); }
#endif

/* e(gamma) and its derivative, by series where the closed form loses its digits. */
static void wcohi_kerr_energy(double gamma, double *energy, double *slope)
{
    if (gamma < 1e-3) {
        *energy = 1 - gamma + gamma * gamma * (2.0 / 3) - gamma * gamma * gamma / 3;
        *slope = -1 + gamma * (4.0 / 3) - gamma * gamma;
    } else {
        *energy = -expm1(-2 * gamma) / (2 * gamma);
        *slope = (exp(-2 * gamma) - *energy) / gamma;
    }
}

/* memory [wcohi_kerr_count(K)] lives as long as `kerr`. */
static void wcohi_kerr_prepare(wcohi_kerr *kerr, const wcohi_kerr_source *source, wcoh_real *memory)
{
    size_t pitch = wcohi_kerr_pitch(source->bands);
    wcoh_real **array[WCOHI_KERR_ARRAYS];
    int k, i;
    memset(kerr, 0, sizeof *kerr);
    memset(memory, 0, wcohi_kerr_count(source->bands) * sizeof *memory);
    array[0] = &kerr->gamma, array[1] = &kerr->omega, array[2] = &kerr->decay;
    array[3] = &kerr->energy, array[4] = &kerr->denergy, array[5] = &kerr->cos_omega;
    array[6] = &kerr->sin_omega, array[7] = &kerr->cos_turn, array[8] = &kerr->sin_turn;
    for (i = 0; i < WCOHI_KERR_ARRAYS; i++) *array[i] = memory + (size_t)i * pitch;
    kerr->bands = source->bands;
    kerr->rows = wcohi_kerr_rows(source->bands);
    kerr->pitch = pitch;
    kerr->steps = WCOHI_MAX(source->steps, 1);
    kerr->solver = source->solver;
    kerr->alpha = (wcoh_real)source->alpha;
    kerr->beta = (wcoh_real)source->beta;
    kerr->ceiling = (wcoh_real)source->ceiling;
    kerr->limited = source->ceiling > 0;
    kerr->corrected = source->corrector != NULL;
    kerr->offset = source->offset;
    for (k = 0; k < source->bands; k++) {
        double gamma = source->gamma_raw ? wcohi_softplus((double)source->gamma_raw[k]) : 1;
        double omega = source->omega ? (double)source->omega[k] : 0, energy, slope;
        double turn = source->corrector ? (double)source->corrector[k] : 0;
        wcohi_kerr_energy(gamma, &energy, &slope);
        kerr->gamma[k] = (wcoh_real)gamma;
        kerr->omega[k] = (wcoh_real)omega;
        kerr->decay[k] = (wcoh_real)exp(-gamma);
        kerr->energy[k] = (wcoh_real)energy;
        kerr->denergy[k] = (wcoh_real)slope;
        kerr->cos_omega[k] = (wcoh_real)cos(omega);
        kerr->sin_omega[k] = (wcoh_real)sin(omega);
        kerr->cos_turn[k] = (wcoh_real)cos(turn);
        kerr->sin_turn[k] = (wcoh_real)sin(turn);
    }
    for (i = 0; i < WCOHI_KERR_ARRAYS; i++)
        for (k = 1; k < kerr->rows; k++)
            memcpy(*array[i] + k * (source->bands + WCOHI_KERR_GAP), *array[i],
                   (size_t)source->bands * sizeof(wcoh_real));
}

/* Planar array number i of the scratch, past its leading zeros. */
#define WCOHI_PLANE(scratch, kerr, i) ((scratch) + (size_t)(i) * (kerr)->pitch + WCOHI_KERR_EDGE)
/* The plane of a role, inside a kernel with its `kerr` and its scratch `w`. */
#define WCOHI_AT(role) WCOHI_PLANE(w, kerr, WCOHI_KERR_##role)
#define WCOHI_STEN(p)                                                                              \
    S_(add)(S_(add)(S_(load)((p) - 2), S_(load)((p) - 1)),                                         \
            S_(add)(S_(load)((p) + 1), S_(load)((p) + 2)))
/* ++*p += v for a whole vector. */
#define WCOHI_BUMP(p, v) S_(store)((p), S_(add)(S_(load)(p), (v)))

/* The roles of the planes; a pair is r, s. SUM_* gather parameter gradients over a few rows. */
enum {
    WCOHI_KERR_ZR, WCOHI_KERR_ZS,        /* the row: in, then out */
    WCOHI_KERR_P,                      /* |z|^2 or its integral */
    WCOHI_KERR_GR, WCOHI_KERR_GS,      /* its gradient */
    WCOHI_KERR_GP,                     /* gradient of the phase, for sten */
    WCOHI_KERR_SUM_GAMMA, WCOHI_KERR_SUM_OMEGA, WCOHI_KERR_SUM_TURN,
    WCOHI_KERR_SUM, WCOHI_KERR_SUM2,   /* of RK4: what the four stages add up to */
    WCOHI_KERR_BACK, WCOHI_KERR_BACK2, /* gradient that a stage hands to the one before */
    WCOHI_KERR_NODE, WCOHI_KERR_NODES_END = WCOHI_KERR_NODE + 6, /* nodes 2, 3, 4 */
    WCOHI_KERR_SUM_ALPHA = WCOHI_KERR_PLANAR - 1, /* one vector of alpha, one of beta */
    WCOHI_KERR_SAVED = WCOHI_KERR_PLANAR          /* 2 planes a step of RK4 */
};

#define WCOHI_KERR_FLUSH 32 /* blocks of rows whose gradients are added in wcoh_real first */

/* Planes first .. last of the scratch = 0: their edges must be, and sums start there. */
static void wcohi_kerr_clear(wcoh_real *w, const wcohi_kerr *kerr, int first, int last)
{
    size_t count = (size_t)(last - first + 1) * kerr->pitch;
    memset(w + (size_t)first * kerr->pitch, 0, count * sizeof *w);
}

#ifndef WAVECOH_NO_TRAINING
/* Move the sums of the last rows into the double gradient. */
static void wcohi_kerr_flush(wcohi_kerr_gradient *gradient, wcoh_real *w, const wcohi_kerr *kerr,
                             int lanes)
{
    double *to[3];
    const wcoh_real *scalar = WCOHI_AT(SUM_ALPHA);
    int i, k, row;
    to[0] = gradient->gamma, to[1] = gradient->omega, to[2] = gradient->corrector;
    for (i = 0; i < 3; i++) {
        const wcoh_real *from = WCOHI_PLANE(w, kerr, WCOHI_KERR_SUM_GAMMA + i);
        for (row = 0; to[i] && row < kerr->rows; row++, from += kerr->bands + WCOHI_KERR_GAP)
            for (k = 0; k < kerr->bands; k++) to[i][k] += (double)from[k];
    }
    for (i = 0; i < lanes; i++) {
        gradient->alpha += (double)scalar[i];
        gradient->beta += (double)scalar[lanes + i];
    }
    wcohi_kerr_clear(w, kerr, WCOHI_KERR_SUM_GAMMA, WCOHI_KERR_SUM_TURN);
    wcohi_kerr_clear(w, kerr, WCOHI_KERR_SUM_ALPHA, WCOHI_KERR_SUM_ALPHA);
}
#endif

/* Zeros behind the last row of plane `role`, up to the end of its last vector. */
static void wcohi_kerr_end(wcoh_real *w, const wcohi_kerr *kerr, int role)
{
    wcoh_real *end = WCOHI_PLANE(w, kerr, role) + kerr->span - WCOHI_KERR_GAP;
    memset(end, 0, (WCOHI_KERR_EDGE + WCOHI_KERR_GAP) * sizeof *end);
}

#define wcohi_kerr_forward_is(name)                                                                \
    void name(wcoh_real *z, const wcoh_real *x, const wcohi_kerr *source, int rows, wcoh_real *w)
#define wcohi_kerr_backward_is(name)                                                               \
    void name(wcoh_real *dx, wcohi_kerr_gradient *gradient, const wcoh_real *dz,                   \
              const wcoh_real *x, const wcohi_kerr *source, int rows, wcoh_real *w)
typedef struct wcohi_kerr_kernels {
    wcohi_kerr_forward_is((*forward));
#ifndef WAVECOH_NO_TRAINING
    wcohi_kerr_backward_is((*backward));
#endif
} wcohi_kerr_kernels;

#else /* a pass: Kerr oscillators */

/* The knee f(m) = m up to c, c + c tanh((m - c)/c) above, as the factor f/m on z; with `slope`,
   also (f' - f/m)/m^2, by which backward multiplies (z.g) z. m2 = |z|^2. */
S_(fn) S_(v) S_(kerr_knee)(S_(v) m2, wcoh_real ceiling, S_(v) *slope)
{
    S_(v) c = S_(set)(ceiling), one = S_(set)((wcoh_real)1), m = S_(sqrt)(m2);
    S_(m) inside = S_(le)(m, c);
    S_(v) safe = S_(select)(inside, c, m);
    S_(v) t = S_(tanh)(S_(div)(S_(sub)(safe, c), c));
    S_(v) factor = S_(div)(S_(fma)(c, t, c), safe);
    S_(v) bend = S_(div)(S_(sub)(S_(fnma)(t, t, one), factor), S_(mul)(safe, safe));
    *slope = S_(select)(inside, S_(zero)(), bend);
    return S_(select)(inside, one, factor);
}

/* Row x [2K] -> planar r, s behind limiter and offset. */
S_(fn) void S_(kerr_load)(const wcohi_kerr *kerr, const wcoh_real *x, wcoh_real *pr,
                          wcoh_real *ps)
{
    int k;
    for (k = 0; k < kerr->bands; k += S_(W)) {
        int n = WCOHI_LANES(kerr->bands, k);
        S_(v) r, s, or_, os;
        WCOHI_LOAD_BANDS(x + 2 * (size_t)k, n, r, s);
        if (kerr->limited) {
            S_(v) bend, m2 = S_(fma)(r, r, S_(mul)(s, s));
            S_(v) f = S_(kerr_knee)(m2, kerr->ceiling, &bend);
            r = S_(mul)(r, f);
            s = S_(mul)(s, f);
        }
        if (kerr->offset) {
            WCOHI_LOAD_BANDS(kerr->offset + 2 * (size_t)k, n, or_, os);
            r = S_(add)(r, or_);
            s = S_(add)(s, os);
        }
        S_(store)(pr + k, r);
        S_(store)(ps + k, s);
    }
}

/* Planar r, s -> row z [2K], turned by the corrector. */
S_(fn) void S_(kerr_store)(const wcohi_kerr *kerr, wcoh_real *z, const wcoh_real *pr,
                           const wcoh_real *ps)
{
    int k;
    for (k = 0; k < kerr->bands; k += S_(W)) {
        int n = WCOHI_LANES(kerr->bands, k);
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k);
        if (kerr->corrected) {
            S_(v) c = S_(load)(kerr->cos_turn + k), d = S_(load)(kerr->sin_turn + k), r0 = r;
            r = S_(fnma)(d, s, S_(mul)(c, r));
            s = S_(fma)(d, r0, S_(mul)(c, s));
        }
        WCOHI_STORE_BANDS(z + 2 * (size_t)k, n, r, s);
    }
}

#ifndef WAVECOH_NO_TRAINING
/* Gradient of the row z -> planar, turned back through the corrector. */
S_(fn) void S_(kerr_load_gradient)(const wcohi_kerr *kerr, const wcoh_real *dz,
                                   wcoh_real *pr, wcoh_real *ps)
{
    int k;
    for (k = 0; k < kerr->bands; k += S_(W)) {
        int n = WCOHI_LANES(kerr->bands, k);
        S_(v) r, s;
        WCOHI_LOAD_BANDS(dz + 2 * (size_t)k, n, r, s);
        if (kerr->corrected) {
            S_(v) c = S_(load)(kerr->cos_turn + k), d = S_(load)(kerr->sin_turn + k), r0 = r;
            r = S_(fma)(d, s, S_(mul)(c, r));
            s = S_(fnma)(d, r0, S_(mul)(c, s));
        }
        S_(store)(pr + k, r);
        S_(store)(ps + k, s);
    }
}

/* Planar gradient -> row dx [2K], back through the limiter: g f/m + bend (z.g) z. */
S_(fn) void S_(kerr_store_gradient)(const wcohi_kerr *kerr, wcoh_real *dx, const wcoh_real *x,
                                    const wcoh_real *pr, const wcoh_real *ps)
{
    int k;
    for (k = 0; k < kerr->bands; k += S_(W)) {
        int n = WCOHI_LANES(kerr->bands, k);
        S_(v) gr = S_(load)(pr + k), gs = S_(load)(ps + k), r, s;
        if (kerr->limited) {
            S_(v) bend, f;
            WCOHI_LOAD_BANDS(x + 2 * (size_t)k, n, r, s);
            f = S_(kerr_knee)(S_(fma)(r, r, S_(mul)(s, s)), kerr->ceiling, &bend);
            bend = S_(mul)(bend, S_(fma)(r, gr, S_(mul)(s, gs)));
            gr = S_(fma)(f, gr, S_(mul)(bend, r));
            gs = S_(fma)(f, gs, S_(mul)(bend, s));
        }
        WCOHI_STORE_BANDS(dx + 2 * (size_t)k, n, gr, gs);
    }
}

/* The corrector's angles where nothing shortens the way: dturn += -s' g_r + r' g_s. */
S_(fn) void S_(kerr_turn_backward)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int span = kerr->span, k;
    wcoh_real *pr = WCOHI_AT(ZR), *ps = WCOHI_AT(ZS);
    wcoh_real *gr = WCOHI_AT(GR), *gs = WCOHI_AT(GS);
    wcoh_real *dturn = WCOHI_AT(SUM_TURN);
    if (!kerr->corrected) return;
    for (k = 0; k < span; k += S_(W)) {
        S_(v) turn = S_(mul)(S_(load)(pr + k), S_(load)(gs + k));
        turn = S_(fnma)(S_(load)(ps + k), S_(load)(gr + k), turn);
        WCOHI_BUMP(dturn + k, turn);
    }
}
#endif

/* Exact flow: P = |z|^2 e(gamma), theta = omega + alpha P + beta sten(P),
   z' = e^-gamma e^{i theta} z: phi is real, so |z| decays whatever the coupling does, and the phase
   integrates in closed form. */
S_(fn) void S_(kerr_exact)(const wcohi_kerr *kerr, wcoh_real *w)
{
    wcoh_real *pr = WCOHI_AT(ZR);
    wcoh_real *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    int k;
    for (k = 0; k < kerr->span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k);
        S_(store)(p + k, S_(mul)(S_(load)(kerr->energy + k), S_(fma)(r, r, S_(mul)(s, s))));
    }
    for (k = 0; k < kerr->span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k), decay = S_(load)(kerr->decay + k);
        S_(v) sten = WCOHI_STEN(p + k), c, d;
        S_(v) theta = S_(fma)(alpha, S_(load)(p + k), S_(load)(kerr->omega + k));
        S_(sincos)(S_(fma)(beta, sten, theta), &d, &c);
        S_(store)(pr + k, S_(mul)(decay, S_(fnma)(d, s, S_(mul)(c, r))));
        S_(store)(ps + k, S_(mul)(decay, S_(fma)(d, r, S_(mul)(c, s))));
    }
}

#ifndef WAVECOH_NO_TRAINING
/* With g_theta = -s' g_r + r' g_s: domega += g_theta, dalpha += g_theta P,
   dbeta += g_theta sten(P), g_P = alpha g_theta + beta sten(g_theta) (sten is its own transpose);
   g_z0 = e^-gamma e^{-i theta} g + 2 z e(gamma) g_P;
   dgamma += -(r' g_r + s' g_s) + |z|^2 g_P de/dgamma. The corrector's angle adds to theta alone. */
S_(fn) void S_(kerr_exact_phase)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int span = kerr->span, k;
    wcoh_real *pr = WCOHI_AT(ZR), *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P), *gp = WCOHI_AT(GP);
    wcoh_real *gr = WCOHI_AT(GR), *gs = WCOHI_AT(GS);
    wcoh_real *dgamma = WCOHI_AT(SUM_GAMMA);
    wcoh_real *domega = WCOHI_AT(SUM_OMEGA);
    wcoh_real *dscalar = WCOHI_AT(SUM_ALPHA);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    S_(v) dalpha = S_(load)(dscalar), dbeta = S_(load)(dscalar + S_(W));
    for (k = 0; k < span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k), decay = S_(load)(kerr->decay + k);
        S_(v) a = S_(load)(gr + k), b = S_(load)(gs + k), power = S_(load)(p + k);
        S_(v) sten = WCOHI_STEN(p + k), c, d, zr, zs, phase;
        S_(v) theta = S_(fma)(alpha, power, S_(load)(kerr->omega + k));
        S_(sincos)(S_(fma)(beta, sten, theta), &d, &c);
        c = S_(mul)(decay, c);
        d = S_(mul)(decay, d);
        zr = S_(fnma)(d, s, S_(mul)(c, r));
        zs = S_(fma)(d, r, S_(mul)(c, s));
        phase = S_(fnma)(zs, a, S_(mul)(zr, b));
        S_(store)(gp + k, phase);
        WCOHI_BUMP(domega + k, phase);
        WCOHI_BUMP(dgamma + k, S_(neg)(S_(fma)(zr, a, S_(mul)(zs, b))));
        dalpha = S_(fma)(phase, power, dalpha);
        dbeta = S_(fma)(phase, sten, dbeta);
        S_(store)(gr + k, S_(fma)(c, a, S_(mul)(d, b)));
        S_(store)(gs + k, S_(fnma)(d, a, S_(mul)(c, b)));
    }
    S_(store)(dscalar, dalpha);
    S_(store)(dscalar + S_(W), dbeta);
}

S_(fn) void S_(kerr_exact_backward)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int span = kerr->span, k;
    wcoh_real *pr = WCOHI_AT(ZR), *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P), *gp = WCOHI_AT(GP);
    wcoh_real *gr = WCOHI_AT(GR), *gs = WCOHI_AT(GS);
    wcoh_real *dgamma = WCOHI_AT(SUM_GAMMA);
    wcoh_real *dturn = WCOHI_AT(SUM_TURN);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    for (k = 0; k < span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k);
        S_(store)(p + k, S_(mul)(S_(load)(kerr->energy + k), S_(fma)(r, r, S_(mul)(s, s))));
    }
    S_(kerr_exact_phase)(kerr, w);
    for (k = 0; k < span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k), phase = S_(load)(gp + k);
        S_(v) power = S_(fma)(alpha, phase, S_(mul)(beta, WCOHI_STEN(gp + k)));
        S_(v) m2 = S_(fma)(r, r, S_(mul)(s, s));
        S_(v) both = S_(mul)(S_(load)(kerr->energy + k), power);
        both = S_(add)(both, both);
        WCOHI_BUMP(dgamma + k, S_(mul)(m2, S_(mul)(power, S_(load)(kerr->denergy + k))));
        if (kerr->corrected) WCOHI_BUMP(dturn + k, phase);
        S_(store)(gr + k, S_(fma)(r, both, S_(load)(gr + k)));
        S_(store)(gs + k, S_(fma)(s, both, S_(load)(gs + k)));
    }
}
#endif

/* First order in the phase shift: a + ib = e^-gamma e^{i omega} z, p = a^2 + b^2,
   delta = alpha p + beta sten(p), z' = (a - delta b) + i(b + delta a). Small |z| only. */
S_(fn) void S_(kerr_linear)(const wcohi_kerr *kerr, wcoh_real *w)
{
    wcoh_real *pr = WCOHI_AT(ZR);
    wcoh_real *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P);
    int k;
    for (k = 0; k < kerr->span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k), decay = S_(load)(kerr->decay + k);
        S_(v) c = S_(mul)(decay, S_(load)(kerr->cos_omega + k));
        S_(v) d = S_(mul)(decay, S_(load)(kerr->sin_omega + k));
        S_(v) a = S_(fnma)(d, s, S_(mul)(c, r)), b = S_(fma)(d, r, S_(mul)(c, s));
        S_(store)(pr + k, a);
        S_(store)(ps + k, b);
        S_(store)(p + k, S_(fma)(a, a, S_(mul)(b, b)));
    }
}

S_(fn) void S_(kerr_perturbative)(const wcohi_kerr *kerr, wcoh_real *w)
{
    wcoh_real *pr = WCOHI_AT(ZR);
    wcoh_real *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    int k;
    S_(kerr_linear)(kerr, w);
    for (k = 0; k < kerr->span; k += S_(W)) {
        S_(v) a = S_(load)(pr + k), b = S_(load)(ps + k);
        S_(v) shift = S_(fma)(alpha, S_(load)(p + k), S_(mul)(beta, WCOHI_STEN(p + k)));
        S_(store)(pr + k, S_(fnma)(shift, b, a));
        S_(store)(ps + k, S_(fma)(shift, a, b));
    }
}

#ifndef WAVECOH_NO_TRAINING
/* g_delta = -b g_r + a g_s, dalpha += g_delta p, dbeta += g_delta sten(p),
   g_p = alpha g_delta + beta sten(g_delta), g_a = g_r + delta g_s + 2a g_p,
   g_b = g_s - delta g_r + 2b g_p, domega += -b g_a + a g_b, dgamma += -(a g_a + b g_b),
   g_z0 = e^-gamma e^{-i omega} (g_a, g_b). */
S_(fn) void S_(kerr_shift_backward)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int span = kerr->span, k;
    wcoh_real *pr = WCOHI_AT(ZR), *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P), *gp = WCOHI_AT(GP);
    wcoh_real *gr = WCOHI_AT(GR), *gs = WCOHI_AT(GS);
    wcoh_real *dscalar = WCOHI_AT(SUM_ALPHA);
    wcoh_real *dturn = WCOHI_AT(SUM_TURN);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    S_(v) dalpha = S_(load)(dscalar), dbeta = S_(load)(dscalar + S_(W));
    for (k = 0; k < span; k += S_(W)) {
        S_(v) a = S_(load)(pr + k), b = S_(load)(ps + k), power = S_(load)(p + k);
        S_(v) hr = S_(load)(gr + k), hs = S_(load)(gs + k), sten = WCOHI_STEN(p + k);
        S_(v) phase = S_(fnma)(b, hr, S_(mul)(a, hs));
        S_(v) shift = S_(fma)(alpha, power, S_(mul)(beta, sten));
        S_(store)(gp + k, phase);
        dalpha = S_(fma)(phase, power, dalpha);
        dbeta = S_(fma)(phase, sten, dbeta);
        if (kerr->corrected) { /* the phase of z' = phase - delta (a g_r + b g_s) */
            S_(v) along = S_(fma)(a, hr, S_(mul)(b, hs));
            WCOHI_BUMP(dturn + k, S_(fnma)(shift, along, phase));
        }
    }
    S_(store)(dscalar, dalpha);
    S_(store)(dscalar + S_(W), dbeta);
}

S_(fn) void S_(kerr_perturbative_backward)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int span = kerr->span, k;
    wcoh_real *pr = WCOHI_AT(ZR), *ps = WCOHI_AT(ZS);
    wcoh_real *p = WCOHI_AT(P), *gp = WCOHI_AT(GP);
    wcoh_real *gr = WCOHI_AT(GR), *gs = WCOHI_AT(GS);
    wcoh_real *dgamma = WCOHI_AT(SUM_GAMMA);
    wcoh_real *domega = WCOHI_AT(SUM_OMEGA);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    S_(kerr_linear)(kerr, w);
    S_(kerr_shift_backward)(kerr, w);
    for (k = 0; k < span; k += S_(W)) {
        S_(v) a = S_(load)(pr + k), b = S_(load)(ps + k), decay = S_(load)(kerr->decay + k);
        S_(v) c = S_(mul)(decay, S_(load)(kerr->cos_omega + k));
        S_(v) d = S_(mul)(decay, S_(load)(kerr->sin_omega + k));
        S_(v) hr = S_(load)(gr + k), hs = S_(load)(gs + k), phase = S_(load)(gp + k);
        S_(v) shift = S_(fma)(alpha, S_(load)(p + k), S_(mul)(beta, WCOHI_STEN(p + k)));
        S_(v) power = S_(fma)(alpha, phase, S_(mul)(beta, WCOHI_STEN(gp + k))), ga, gb;
        power = S_(add)(power, power);
        ga = S_(fma)(a, power, S_(fma)(shift, hs, hr));
        gb = S_(fma)(b, power, S_(fnma)(shift, hr, hs));
        WCOHI_BUMP(domega + k, S_(fnma)(b, ga, S_(mul)(a, gb)));
        WCOHI_BUMP(dgamma + k, S_(neg)(S_(fma)(a, ga, S_(mul)(b, gb))));
        S_(store)(gr + k, S_(fma)(c, ga, S_(mul)(d, gb)));
        S_(store)(gs + k, S_(fnma)(d, ga, S_(mul)(c, gb)));
    }
}
#endif

/* Classical Runge-Kutta, n steps of h = 1/n: slopes k_1..k_4 at y, y + h/2 k_1, y + h/2 k_2,
   y + h k_3, then y += h (k_1 + 2 k_2 + 2 k_3 + k_4)/6. A node is a pair of planes. */
/* |z|^2 of plane pair `node` -> P */
S_(fn) void S_(kerr_power)(const wcohi_kerr *kerr, wcoh_real *w, int node)
{
    const wcoh_real *pr = WCOHI_PLANE(w, kerr, node), *ps = WCOHI_PLANE(w, kerr, node + 1);
    wcoh_real *p = WCOHI_AT(P);
    int k;
    for (k = 0; k < kerr->span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k);
        S_(store)(p + k, S_(fma)(r, r, S_(mul)(s, s)));
    }
}

/* with the slope k at pair `node`, whose |z|^2 is in plane p: `to` = `from` + x k, pair
   `next` = y + ahead k, and the |z|^2 of what comes next in plane q */
S_(fn) void S_(kerr_stage)(const wcohi_kerr *kerr, wcoh_real *w, int node, int to, int from,
                           wcoh_real x, int next, wcoh_real ahead, const wcoh_real *p,
                           wcoh_real *q)
{
    const wcoh_real *pr = WCOHI_PLANE(w, kerr, node), *ps = WCOHI_PLANE(w, kerr, node + 1);
    const wcoh_real *fr = WCOHI_PLANE(w, kerr, from), *fs = WCOHI_PLANE(w, kerr, from + 1);
    wcoh_real *tr = WCOHI_PLANE(w, kerr, to), *ts = WCOHI_PLANE(w, kerr, to + 1);
    wcoh_real *nr = WCOHI_PLANE(w, kerr, next), *ns = WCOHI_PLANE(w, kerr, next + 1);
    const wcoh_real *yr = WCOHI_AT(ZR), *ys = WCOHI_AT(ZS);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    S_(v) weight = S_(set)(x), step = S_(set)(ahead);
    int k;
    for (k = 0; k < kerr->span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k), gamma = S_(load)(kerr->gamma + k);
        S_(v) phi = S_(fma)(alpha, S_(load)(p + k), S_(load)(kerr->omega + k)), a, b;
        phi = S_(fma)(beta, WCOHI_STEN(p + k), phi);
        a = S_(neg)(S_(fma)(gamma, r, S_(mul)(phi, s)));
        b = S_(fnma)(gamma, s, S_(mul)(phi, r));
        r = S_(fma)(weight, a, S_(load)(fr + k));
        s = S_(fma)(weight, b, S_(load)(fs + k));
        S_(store)(tr + k, r);
        S_(store)(ts + k, s);
        if (next != to) {
            r = S_(fma)(step, a, S_(load)(yr + k));
            s = S_(fma)(step, b, S_(load)(ys + k));
            S_(store)(nr + k, r);
            S_(store)(ns + k, s);
        }
        S_(store)(q + k, S_(fma)(r, r, S_(mul)(s, s)));
    }
}

/* one step in place, |y|^2 in P before and after; the three inner nodes stay in pairs NODE,
   NODE + 2, NODE + 4 */
S_(fn) void S_(kerr_step)(const wcohi_kerr *kerr, wcoh_real *w)
{
    const int y = WCOHI_KERR_ZR, sum = WCOHI_KERR_SUM, node = WCOHI_KERR_NODE;
    wcoh_real h = (wcoh_real)1 / (wcoh_real)kerr->steps, half = h / 2;
    wcoh_real *p = WCOHI_AT(P), *q = WCOHI_AT(GP);
    S_(kerr_stage)(kerr, w, y, sum, y, h / 6, node, half, p, q);
    S_(kerr_stage)(kerr, w, node, sum, sum, h / 3, node + 2, half, q, p);
    S_(kerr_stage)(kerr, w, node + 2, sum, sum, h / 3, node + 4, h, p, q);
    S_(kerr_stage)(kerr, w, node + 4, y, sum, h / 6, y, 0, q, p);
}

#ifndef WAVECOH_NO_TRAINING
/* pair `to` = pair `from` */
S_(fn) void S_(kerr_copy)(const wcohi_kerr *kerr, wcoh_real *w, int to, int from)
{
    size_t count = (size_t)kerr->span + S_(W);
    memcpy(WCOHI_PLANE(w, kerr, to), WCOHI_PLANE(w, kerr, from), count * sizeof *w);
    memcpy(WCOHI_PLANE(w, kerr, to + 1), WCOHI_PLANE(w, kerr, from + 1), count * sizeof *w);
}
#endif

S_(fn) void S_(kerr_rk4)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int step;
    S_(kerr_power)(kerr, w, WCOHI_KERR_ZR);
    for (step = 0; step < kerr->steps; step++) S_(kerr_step)(kerr, w);
}

#ifndef WAVECOH_NO_TRAINING
/* Adjoint of a step. Stage i hands back o_i = J(node_i)^T gk_i with gk_4 = h/6 g,
   gk_3 = h/3 g + h o_4, gk_2 = h/3 g + h/2 o_3, gk_1 = h/6 g + h/2 o_2; the gradient of y is
   g + o_1 + o_2 + o_3 + o_4. */
/* (a, b) = x g + y o; g_phi = -s a + r b; o = (-gamma a + phi b, -phi a - gamma b) */
S_(fn) void S_(kerr_stage_phase)(const wcohi_kerr *kerr, wcoh_real *w, int node, wcoh_real x,
                                 wcoh_real y)
{
    int span = kerr->span, k;
    const wcoh_real *pr = WCOHI_PLANE(w, kerr, node);
    const wcoh_real *ps = WCOHI_PLANE(w, kerr, node + 1);
    wcoh_real *gr = WCOHI_AT(GR), *gs = WCOHI_AT(GS);
    wcoh_real *or_ = WCOHI_AT(BACK);
    wcoh_real *os = WCOHI_AT(BACK2);
    wcoh_real *p = WCOHI_AT(P), *gp = WCOHI_AT(GP);
    wcoh_real *dgamma = WCOHI_AT(SUM_GAMMA);
    wcoh_real *domega = WCOHI_AT(SUM_OMEGA);
    wcoh_real *dscalar = WCOHI_AT(SUM_ALPHA);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    S_(v) dalpha = S_(load)(dscalar), dbeta = S_(load)(dscalar + S_(W));
    S_(v) vx = S_(set)(x), vy = S_(set)(y);
    for (k = 0; k < span; k += S_(W)) {
        S_(v) r = S_(load)(pr + k), s = S_(load)(ps + k), gamma = S_(load)(kerr->gamma + k);
        S_(v) a = S_(fma)(vx, S_(load)(gr + k), S_(mul)(vy, S_(load)(or_ + k)));
        S_(v) b = S_(fma)(vx, S_(load)(gs + k), S_(mul)(vy, S_(load)(os + k)));
        S_(v) power = S_(load)(p + k), sten = WCOHI_STEN(p + k);
        S_(v) phase = S_(fnma)(s, a, S_(mul)(r, b));
        S_(v) phi = S_(fma)(alpha, power, S_(load)(kerr->omega + k));
        phi = S_(fma)(beta, sten, phi);
        S_(store)(gp + k, phase);
        WCOHI_BUMP(domega + k, phase);
        WCOHI_BUMP(dgamma + k, S_(neg)(S_(fma)(r, a, S_(mul)(s, b))));
        dalpha = S_(fma)(phase, power, dalpha);
        dbeta = S_(fma)(phase, sten, dbeta);
        S_(store)(or_ + k, S_(fnma)(gamma, a, S_(mul)(phi, b)));
        S_(store)(os + k, S_(neg)(S_(fma)(phi, a, S_(mul)(gamma, b))));
    }
    S_(store)(dscalar, dalpha);
    S_(store)(dscalar + S_(W), dbeta);
}

/* the whole stage: o += 2 z (alpha g_phi + beta sten(g_phi)); pair SUM += o */
S_(fn) void S_(kerr_stage_backward)(const wcohi_kerr *kerr, wcoh_real *w, int node,
                                    wcoh_real x, wcoh_real y)
{
    int span = kerr->span, k;
    const wcoh_real *pr = WCOHI_PLANE(w, kerr, node);
    const wcoh_real *ps = WCOHI_PLANE(w, kerr, node + 1);
    wcoh_real *or_ = WCOHI_AT(BACK);
    wcoh_real *os = WCOHI_AT(BACK2);
    wcoh_real *gp = WCOHI_AT(GP), *sr = WCOHI_AT(SUM), *ss = WCOHI_AT(SUM2);
    S_(v) alpha = S_(set)(kerr->alpha), beta = S_(set)(kerr->beta);
    S_(kerr_power)(kerr, w, node);
    S_(kerr_stage_phase)(kerr, w, node, x, y);
    for (k = 0; k < span; k += S_(W)) {
        S_(v) power = S_(mul)(beta, WCOHI_STEN(gp + k)), r, s;
        power = S_(fma)(alpha, S_(load)(gp + k), power);
        power = S_(add)(power, power);
        r = S_(fma)(power, S_(load)(pr + k), S_(load)(or_ + k));
        s = S_(fma)(power, S_(load)(ps + k), S_(load)(os + k));
        S_(store)(or_ + k, r);
        S_(store)(os + k, s);
        WCOHI_BUMP(sr + k, r);
        WCOHI_BUMP(ss + k, s);
    }
}

S_(fn) void S_(kerr_step_backward)(const wcohi_kerr *kerr, wcoh_real *w, int saved)
{
    wcoh_real h = (wcoh_real)1 / (wcoh_real)kerr->steps, half = h / 2;
    S_(kerr_copy)(kerr, w, WCOHI_KERR_ZR, saved);
    S_(kerr_power)(kerr, w, WCOHI_KERR_ZR);
    S_(kerr_step)(kerr, w); /* for its nodes */
    S_(kerr_copy)(kerr, w, WCOHI_KERR_SUM, WCOHI_KERR_GR);
    S_(kerr_copy)(kerr, w, WCOHI_KERR_BACK, WCOHI_KERR_GR);
    S_(kerr_stage_backward)(kerr, w, WCOHI_KERR_NODE + 4, h / 6, (wcoh_real)0);
    S_(kerr_stage_backward)(kerr, w, WCOHI_KERR_NODE + 2, h / 3, h);
    S_(kerr_stage_backward)(kerr, w, WCOHI_KERR_NODE, h / 3, half);
    S_(kerr_stage_backward)(kerr, w, saved, h / 6, half);
    S_(kerr_copy)(kerr, w, WCOHI_KERR_GR, WCOHI_KERR_SUM);
}

S_(fn) void S_(kerr_rk4_backward)(const wcohi_kerr *kerr, wcoh_real *w)
{
    int step;
    S_(kerr_power)(kerr, w, WCOHI_KERR_ZR);
    for (step = 0; step < kerr->steps; step++) {
        int saved = WCOHI_KERR_SAVED + 2 * step;
        S_(kerr_copy)(kerr, w, saved, WCOHI_KERR_ZR);
        S_(kerr_step)(kerr, w);
    }
    S_(kerr_turn_backward)(kerr, w);
    while (step-- > 0) S_(kerr_step_backward)(kerr, w, WCOHI_KERR_SAVED + 2 * step);
}
#endif

/* x, z [rows,2K], may be the same; scratch [wcohi_kerr_scratch(K, steps)]. */
S_(fn) void S_(kerr_solve)(const wcohi_kerr *kerr, wcoh_real *w)
{
    if (kerr->solver == WCOH_SOLVER_EXACT) S_(kerr_exact)(kerr, w);
    else if (kerr->solver == WCOH_SOLVER_PERTURBATIVE) S_(kerr_perturbative)(kerr, w);
    else if (kerr->solver == WCOH_SOLVER_RK4) S_(kerr_rk4)(kerr, w);
}

WCOHI_KERNEL(kerr_forward)
{
    wcohi_kerr here = *source, *kerr = &here;
    int step = kerr->bands + WCOHI_KERR_GAP, block = kerr->rows, first, i, role;
    role = kerr->solver == WCOH_SOLVER_RK4 ? WCOHI_KERR_GP : WCOHI_KERR_P;
    wcohi_kerr_clear(w, kerr, WCOHI_KERR_ZR, role);
    for (first = 0; first < rows; first += block) {
        int count = WCOHI_MIN(block, rows - first);
        size_t at = 2 * (size_t)first * (size_t)kerr->bands, row = 2 * (size_t)kerr->bands;
        kerr->span = count * step;
        for (i = 0; i < count; i++)
            S_(kerr_load)(kerr, x + at + (size_t)i * row, WCOHI_AT(ZR) + i * step,
                          WCOHI_AT(ZS) + i * step);
        wcohi_kerr_end(w, kerr, WCOHI_KERR_ZR);
        wcohi_kerr_end(w, kerr, WCOHI_KERR_ZS);
        S_(kerr_solve)(kerr, w);
        for (i = 0; i < count; i++)
            S_(kerr_store)(kerr, z + at + (size_t)i * row, WCOHI_AT(ZR) + i * step,
                           WCOHI_AT(ZS) + i * step);
    }
}

#ifndef WAVECOH_NO_TRAINING
/* dx set (may be dz), gradient added to; recomputes what it needs from x. Shapes as forward. */
S_(fn) void S_(kerr_solve_backward)(const wcohi_kerr *kerr, wcoh_real *w)
{
    if (kerr->solver == WCOH_SOLVER_EXACT) S_(kerr_exact_backward)(kerr, w);
    else if (kerr->solver == WCOH_SOLVER_PERTURBATIVE)
        S_(kerr_perturbative_backward)(kerr, w);
    else if (kerr->solver == WCOH_SOLVER_RK4) S_(kerr_rk4_backward)(kerr, w);
    else S_(kerr_turn_backward)(kerr, w);
}

WCOHI_KERNEL(kerr_backward)
{
    wcohi_kerr here = *source, *kerr = &here;
    int step = kerr->bands + WCOHI_KERR_GAP, block = kerr->rows, first, i;
    int gathered = 0, role;
    wcohi_kerr_clear(w, kerr, 0, WCOHI_KERR_PLANAR - 1);
    for (first = 0; first < rows; first += block) {
        int count = WCOHI_MIN(block, rows - first);
        size_t at = 2 * (size_t)first * (size_t)kerr->bands, row = 2 * (size_t)kerr->bands;
        kerr->span = count * step;
        for (i = 0; i < count; i++) {
            S_(kerr_load)(kerr, x + at + (size_t)i * row, WCOHI_AT(ZR) + i * step,
                          WCOHI_AT(ZS) + i * step);
            S_(kerr_load_gradient)(kerr, dz + at + (size_t)i * row, WCOHI_AT(GR) + i * step,
                                   WCOHI_AT(GS) + i * step);
        }
        for (role = WCOHI_KERR_ZR; role <= WCOHI_KERR_GS; role++)
            wcohi_kerr_end(w, kerr, role);
        S_(kerr_solve_backward)(kerr, w);
        for (i = 0; i < count; i++)
            S_(kerr_store_gradient)(kerr, dx + at + (size_t)i * row, x + at + (size_t)i * row,
                                    WCOHI_AT(GR) + i * step, WCOHI_AT(GS) + i * step);
        gathered += count;
        if (gathered >= WCOHI_KERR_FLUSH * block || first + count == rows) {
            wcohi_kerr_flush(gradient, w, kerr, S_(W));
            gathered = 0;
        }
    }
}
#endif

static const wcohi_kerr_kernels S_(kerr_kernels) = {S_(kerr_forward) WCOHI_BACK(S_(kerr_backward))};

#endif
#ifndef WCOHI_PASS

/* ---- kerr: limiter, offset, oscillators, corrector ------------------------------------------- */

#ifdef WAVECOH_PLAIN
/* What the oscillators of a row are: z_k = (z[2k], z[2k+1]). */
typedef struct wcohi_plain_kerr {
    const wcohi_plain *p;
    const wcohi_op *op;
    size_t bands;
    double alpha, beta;
    double *power; /* [K] */
} wcohi_plain_kerr;

static double wcohi_plain_gamma(const wcohi_plain_kerr *o, size_t k)
{
    return wcohi_softplus(wcohi_plain_param(o->p, o->op, WCOHI_KERR_GAMMA, k));
}

/* omega + alpha P_k + beta (P_{k-2} + P_{k-1} + P_{k+1} + P_{k+2}), less omega if it is 0 */
static double wcohi_plain_shift(const wcohi_plain_kerr *o, size_t k, int omega)
{
    double sten = 0;
    size_t i;
    for (i = k < 2 ? 0 : k - 2; i <= k + 2 && i < o->bands; i++)
        if (i != k) sten += o->power[i];
    return omega * wcohi_plain_param(o->p, o->op, WCOHI_KERR_OMEGA, k) + o->alpha * o->power[k] +
           o->beta * sten;
}

static void wcohi_plain_turn(double *z, double factor, double angle)
{
    double r = z[0], s = z[1];
    z[0] = factor * (r * cos(angle) - s * sin(angle));
    z[1] = factor * (r * sin(angle) + s * cos(angle));
}

/* The closed form: P = |z|^2 (1 - e^-2gamma)/(2 gamma), z' = e^-gamma e^{i (omega + shift)} z. */
static void wcohi_plain_exact(const wcohi_plain_kerr *o, double *z)
{
    size_t k;
    for (k = 0; k < o->bands; k++) {
        double gamma = wcohi_plain_gamma(o, k),
               m2 = z[2 * k] * z[2 * k] + z[2 * k + 1] * z[2 * k + 1];
        o->power[k] = m2 * -expm1(-2 * gamma) / (2 * gamma);
    }
    for (k = 0; k < o->bands; k++)
        wcohi_plain_turn(z + 2 * k, exp(-wcohi_plain_gamma(o, k)), wcohi_plain_shift(o, k, 1));
}

/* a + ib = e^-gamma e^{i omega} z, then z' = (1 + i shift)(a + ib) with P = a^2 + b^2. */
static void wcohi_plain_perturbative(const wcohi_plain_kerr *o, double *z)
{
    size_t k;
    for (k = 0; k < o->bands; k++) {
        wcohi_plain_turn(z + 2 * k, exp(-wcohi_plain_gamma(o, k)),
                         wcohi_plain_param(o->p, o->op, WCOHI_KERR_OMEGA, k));
        o->power[k] = z[2 * k] * z[2 * k] + z[2 * k + 1] * z[2 * k + 1];
    }
    for (k = 0; k < o->bands; k++) {
        double a = z[2 * k], b = z[2 * k + 1], shift = wcohi_plain_shift(o, k, 0);
        z[2 * k] = a - shift * b;
        z[2 * k + 1] = b + shift * a;
    }
}

/* dz/dt = (-gamma + i (omega + alpha |z|^2 + beta sten)) z */
static void wcohi_plain_slope(const wcohi_plain_kerr *o, double *slope, const double *z)
{
    size_t k;
    for (k = 0; k < o->bands; k++) o->power[k] = z[2 * k] * z[2 * k] + z[2 * k + 1] * z[2 * k + 1];
    for (k = 0; k < o->bands; k++) {
        double gamma = wcohi_plain_gamma(o, k), phi = wcohi_plain_shift(o, k, 1);
        slope[2 * k] = -gamma * z[2 * k] - phi * z[2 * k + 1];
        slope[2 * k + 1] = -gamma * z[2 * k + 1] + phi * z[2 * k];
    }
}

/* y += h/6 (k1 + 2 k2 + 2 k3 + k4), `steps` times with h = 1/steps; room [3, 2K] */
static void wcohi_plain_rk4(const wcohi_plain_kerr *o, double *z, double *room)
{
    static const double node[4] = {0, 0.5, 0.5, 1}, weight[4] = {1, 2, 2, 1};
    size_t width = 2 * o->bands, i;
    double *slope = room, *at = slope + width, *next = at + width, h = 1.0 / o->op->rk4_steps;
    int step, stage;
    for (step = 0; step < o->op->rk4_steps; step++) {
        memcpy(next, z, width * sizeof *z);
        memset(slope, 0, width * sizeof *z);
        for (stage = 0; stage < 4; stage++) {
            for (i = 0; i < width; i++) at[i] = z[i] + h * node[stage] * slope[i];
            wcohi_plain_slope(o, slope, at);
            for (i = 0; i < width; i++) next[i] += h / 6 * weight[stage] * slope[i];
        }
        memcpy(z, next, width * sizeof *z);
    }
}

/* |z| up to c as it is, c + c tanh((|z| - c)/c) above; then + offset */
static void wcohi_plain_limit(const wcohi_plain_kerr *o, double *z, const double *x)
{
    double c = o->op->ceiling;
    size_t i;
    for (i = 0; i < 2 * o->bands; i++) {
        double m = hypot(x[i / 2 * 2], x[i / 2 * 2 + 1]);
        double factor = c > 0 && m > c ? (c + c * tanh((m - c) / c)) / m : 1;
        z[i] = x[i] * factor + wcohi_plain_param(o->p, o->op, WCOHI_KERR_OFFSET, i);
    }
}

static void wcohi_kerr_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)op->wide_in, row, k;
    wcohi_plain_kerr o;
    o.p = p;
    o.op = op;
    o.bands = width / 2;
    o.alpha = wcohi_plain_param(p, op, WCOHI_KERR_ALPHA, 0);
    o.beta = wcohi_plain_param(p, op, WCOHI_KERR_BETA, 0);
    o.power = p->room;
    for (row = 0; row < p->rows; row++) {
        double *z = p->tensors[op->out] + row * width;
        wcohi_plain_limit(&o, z, p->tensors[op->in] + row * width);
        if (op->solver == WCOH_SOLVER_EXACT) wcohi_plain_exact(&o, z);
        if (op->solver == WCOH_SOLVER_PERTURBATIVE) wcohi_plain_perturbative(&o, z);
        if (op->solver == WCOH_SOLVER_RK4) wcohi_plain_rk4(&o, z, p->room + width);
        for (k = 0; k < o.bands; k++)
            wcohi_plain_turn(z + 2 * k, 1, wcohi_plain_param(p, op, WCOHI_KERR_CORRECTOR, k));
    }
}
#endif

static void wcohi_kerr_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                             wcohi_sizes *sizes)
{
    size_t bands = (size_t)op->wide_in / 2;
    (void)plan;
    (void)slots;
    sizes->prepared = wcohi_round_up(sizeof(wcohi_kerr), WCOHI_ALIGN) +
                      wcohi_mul(wcohi_kerr_count((int)bands), sizeof(wcoh_real));
    sizes->partial = (3 * bands + 2) * sizeof(double) / sizeof(wcoh_real);
    sizes->scratch = wcohi_kerr_scratch((int)bands, op->rk4_steps);
}

static void wcohi_kerr_refresh(wcohi_cpu_exec *exec, const wcohi_op *op, void *memory)
{
    wcohi_kerr_source source;
    const wcoh_real *alpha = wcohi_param_data(exec, op->param[WCOHI_KERR_ALPHA]),
                    *beta = wcohi_param_data(exec, op->param[WCOHI_KERR_BETA]);
    source.bands = op->wide_in / 2;
    source.solver = op->solver;
    source.steps = op->rk4_steps;
    source.gamma_raw = wcohi_param_data(exec, op->param[WCOHI_KERR_GAMMA]);
    source.omega = wcohi_param_data(exec, op->param[WCOHI_KERR_OMEGA]);
    source.alpha = alpha ? (double)*alpha : 0;
    source.beta = beta ? (double)*beta : 0;
    source.ceiling = op->ceiling;
    source.corrector = wcohi_param_data(exec, op->param[WCOHI_KERR_CORRECTOR]);
    source.offset = wcohi_param_data(exec, op->param[WCOHI_KERR_OFFSET]);
    wcohi_kerr_prepare((wcohi_kerr *)memory, &source,
                       (wcoh_real *)(void *)((unsigned char *)memory +
                                             wcohi_round_up(sizeof(wcohi_kerr), WCOHI_ALIGN)));
}

static const wcohi_kerr *wcohi_kerr_of(const wcohi_cpu_exec *exec, const wcohi_op *op)
{
    return (const wcohi_kerr *)exec->prepared[op - exec->base.plan->ops];
}

/* multiply-adds a row, roughly */
static double wcohi_kerr_work(const wcohi_op *op)
{
    return (op->solver == WCOH_SOLVER_RK4 ? 100.0 * op->rk4_steps : 60.0) * (op->wide_in / 2);
}

static void wcohi_kerr_forward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    size_t at = (size_t)span->first * (size_t)span->op->wide_in;
    exec->compute.kernels->kerr->forward(wcohi_tensor_data(exec, span->op->out) + at,
                                         wcohi_tensor_data(exec, span->op->in) + at,
                                         wcohi_kerr_of(exec, span->op), span->count, span->scratch);
}

static void wcohi_kerr_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{ wcohi_each_span(exec, op, wcohi_kerr_forward_span, 0, wcohi_kerr_work(op)); }

#ifndef WAVECOH_NO_TRAINING
/* A partial holds, as doubles: dgamma [K], domega [K], dcorrector [K], dalpha, dbeta. */
static void wcohi_kerr_backward_span(const wcohi_span *span)
{
    const wcohi_cpu_exec *exec = span->exec;
    const wcohi_op *op = span->op;
    const wcohi_kerr *kerr = wcohi_kerr_of(exec, op);
    size_t at = (size_t)span->first * (size_t)op->wide_in;
    double *sums = (double *)(void *)span->partial;
    wcoh_real *dz = wcohi_tensor_grad(exec, op->out) + at;
    wcoh_real *dx = op->add_in ? dz : wcohi_tensor_grad(exec, op->in) + at;
    wcohi_kerr_gradient gradient;
    gradient.gamma = sums;
    gradient.omega = sums + kerr->bands;
    gradient.corrector = op->param[WCOHI_KERR_CORRECTOR] < 0 ? NULL : sums + 2 * kerr->bands;
    gradient.alpha = gradient.beta = 0;
    exec->compute.kernels->kerr->backward(dx, &gradient, dz, wcohi_tensor_data(exec, op->in) + at,
                                          kerr, span->count, span->scratch);
    sums[3 * kerr->bands] = gradient.alpha;
    sums[3 * kerr->bands + 1] = gradient.beta;
    if (op->add_in) wcohi_span_put(span, dx); /* the output's gradient is not needed again */
}

/* Sum over the chunks of entry `index` of the partials. */
static double wcohi_kerr_sum(const wcohi_cpu_exec *exec, int index, int chunks)
{
    double sum = 0;
    int chunk;
    for (chunk = 0; chunk < chunks; chunk++)
        sum += ((const double *)(const void *)(exec->partials +
                                               (size_t)chunk * exec->partial_count))[index];
    return sum;
}

static void wcohi_kerr_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int k, bands = op->wide_in / 2;
    int chunks = wcohi_each_span(exec, op, wcohi_kerr_backward_span, 1, 2 * wcohi_kerr_work(op));
    const wcoh_real *raw = wcohi_param_data(exec, op->param[WCOHI_KERR_GAMMA]);
    wcoh_real *dgamma = wcohi_param_grad(exec, op->param[WCOHI_KERR_GAMMA]),
              *domega = wcohi_param_grad(exec, op->param[WCOHI_KERR_OMEGA]);
    wcoh_real *dalpha = wcohi_param_grad(exec, op->param[WCOHI_KERR_ALPHA]),
              *dbeta = wcohi_param_grad(exec, op->param[WCOHI_KERR_BETA]);
    wcoh_real *dcorrector = wcohi_param_grad(exec, op->param[WCOHI_KERR_CORRECTOR]);
    for (k = 0; k < bands; k++) {
        if (dgamma)
            dgamma[k] +=
                (wcoh_real)(wcohi_kerr_sum(exec, k, chunks) * wcohi_sigmoid((double)raw[k]));
        if (domega) domega[k] += (wcoh_real)wcohi_kerr_sum(exec, bands + k, chunks);
        if (dcorrector) dcorrector[k] += (wcoh_real)wcohi_kerr_sum(exec, 2 * bands + k, chunks);
    }
    if (dalpha) *dalpha += (wcoh_real)wcohi_kerr_sum(exec, 3 * bands, chunks);
    if (dbeta) *dbeta += (wcoh_real)wcohi_kerr_sum(exec, 3 * bands + 1, chunks);
}
#endif

/* ======== 3 ops: coherence attention, pairs of rows =========================================== */

/* ---- coherence attention ------------------------------------------------------------------------

   Head with gain kappa, carrier omega, damping lambda; a query is the unit phasor u = e^{i phi}, a
   key w = e^{i psi}. Weight of key k for query q >= k, up to the softmax's sum:
       A_qk = exp(kappa (cos(alpha_q - beta_k) - 1) - lambda (q - k)),
       alpha_q = phi_q + omega q,  beta_k = psi_k + omega k.
   Scores lie in [-2 kappa, 0] before the damping: no running maximum is needed.

   Near: pairs inside one chunk of rows go the quadratic way, lanes over queries (forward) or keys
   (backward), in wcoh_real. Far: keys of earlier chunks act through states, in double, because
       e^{kappa cos x} = sum_m c_m cos(m x),  c_0 = I_0(kappa), c_m = 2 I_m(kappa),
   converges faster than geometrically and cos m(a - b) parts into products of features:
       F_q = (1, cos alpha, sin alpha, cos 2 alpha, ..), Z = sum_k e^{-lambda (o - k)} F_k (v_k, 1),
       (N, D)_q += e^{-lambda (q - o)} sum_j c_j F_qj Z_j,  out = N/D,
   for a chunk that begins at o. The same function to rounding: orders stop where the rest is below
   1e-7 of the smallest weight. alpha and beta are counted in a frame that turns with the chunks.

   Listening (MATH.md 9): every row j may bring a damping lambda_j of its own, and lambda (q - k) is
   Lambda_q - Lambda_k, Lambda_t = sum_{j <= t} lambda_j; and a loudness b_j as a key, which adds to
   its scores. Inside a chunk Lambda is counted from the row before it, depth_i = lambda_o + .. +
   lambda_{o+i}: the states stand at that row, a query reads them times e^{-depth_i}, a key counts
   e^{lift_i}, lift_i = depth_i + b_i. With s_k = sum_q dS_qk, db_k = s_k, dlambda_j = sum_{k >= j} s_k. */

#define WCOHI_ORDERS 36       /* the largest M; enough for kappa <= 12 */
#define WCOHI_FEATURES 76     /* 2M + 1 features, rounded up */
#define WCOHI_WAVE_COUNT(order) (((order) * 2 + 4) / 4 * 4) /* 2M + 1, rounded up to a tile */
#define WCOHI_DENOMINATORS 80 /* the states of the constant 1: [WCOHI_FEATURES], rounded up */
#define WCOHI_CHUNK_MAX 256   /* rows of a chunk */
#define WCOHI_STRETCH 256     /* rows that all heads pass before the next begin: they stay cached */
#define WCOHI_WAVE_FRAME 76   /* among the denominators: e^{i frame} at this state */
#define WCOHI_WAVE_LOUDEST 8  /* |b| is below */
#define WCOHI_WAVE_LATER 78   /* of an adjoint state: sum of s_k of the keys behind it */
#define WCOHI_LOG2_E 1.44269504088896340736
#define WCOHI_WAVE_HEADER 16  /* what WCOHI_WAVE_* name */
enum {                        /* per head of a session: e^{i frame}, what its tables are of */
    WCOHI_WAVE_COS, WCOHI_WAVE_SIN, WCOHI_WAVE_GAIN, WCOHI_WAVE_CARRIER, WCOHI_WAVE_DAMPING,
    WCOHI_WAVE_DECAY, WCOHI_WAVE_TURN_COS, WCOHI_WAVE_TURN_SIN, WCOHI_WAVE_ORDER, WCOHI_WAVE_USED
};

/* All arguments of a layer's attention; B, T, H, E; rows N = B T, row of (b, t) is b T + t. */
typedef struct wcohi_coherence {
    int batch, seq, heads, width;
    const wcoh_real *phasor;  /* raw (rho, sigma) of head h's query at [row*phasor_stride + 2h] */
    size_t phasor_stride;
    size_t key_column;        /* the key stands so many reals further; 0: shared by both */
    size_t forget_column;     /* lambda_j = softplus of the row's [forget_column + h]; 0: damping */
    size_t loud_column;       /* b_j = 8 tanh(the row's [loud_column + h] / 8); 0: b = 0 */
    const wcoh_real *value;   /* of head h at [row*value_stride + h*E] */
    size_t value_stride;
    wcoh_real *out;           /* as value; backward reads it again */
    size_t out_stride;
    const double *gain, *carrier, *damping; /* [H]; NULL: 1, 0, 0 */
    const double *harmonic;   /* [H] or NULL: phasors are raised to this power through atan2 */
    wcoh_real *aux;           /* for backward; NULL in forward: no backward follows */
    double *state;            /* [wcohi_coherence_state_count] of a session (B = 1); NULL: fresh */
    void *scratch;            /* wcohi_coherence_scratch_bytes */
    int chunk;                /* rows of a chunk; 0: chosen by cost */
    const wcoh_real *dout;    /* backward from here: gradient of out */
    size_t dout_stride;
    wcoh_real *dphasor, *dvalue;         /* set, not added to; strides of phasor and value */
    double *dgain, *dcarrier, *ddamping; /* [H] added to; NULL: not wanted */
} wcohi_coherence;

/* One head, made ready for a call. */
typedef struct wcohi_wave {
    double gain, carrier, damping, harmonic;
    int order, chunk;
    double coefficient[WCOHI_FEATURES]; /* e^-kappa c_j of feature j */
    double slope[WCOHI_FEATURES];       /* e^-kappa dc_j/dkappa */
    double step[2];                     /* e^{i omega chunk} */
    double *turn_c, *turn_s;            /* [chunk] e^{i omega i} */
    double *decay;                      /* [chunk + 1] e^{-lambda i} */
    wcoh_real *real_c, *real_s;         /* the turns rounded */
    wcoh_real *decline, *place;         /* [chunk] lambda i log2 e, and i */
} wcohi_wave;

/* Scratch of one running job, cut from its slot's memory. P = chunk rounded up to whole vectors. */
typedef struct wcohi_wave_room {
    wcoh_real *qr, *qs, *kr, *ks;       /* [P] raw query and key */
    wcoh_real *ur, *us, *wr, *ws;       /* [P] their unit phasors */
    wcoh_real *ar, *as, *br, *bs;       /* [P] the same turned by omega i */
    wcoh_real *dphi, *dpsi, *delta, *inverse, *denominator; /* [P] */
    wcoh_real *weight, *product, *torque;                   /* [P,W] of one block of lanes */
    wcoh_real *raw, *heard; /* [P] raw dampings or loudnesses; what they stand for, or its slope */
    wcoh_real *shift;       /* [P] lifts or depths as seen from a block of lanes */
    wcoh_real *dkey;        /* [P] gradient of a key's scores, over all queries */
    double *depth, *lift, *reach;       /* [P] as above; e^-depth */
    wcoh_real *columns, *sums;          /* [E,P] */
    wcoh_real *packed;                  /* [P,E8] rows of v or dout, side by side */
    double *fr, *fs;                    /* [P] phasors in double, in the turning frame */
    double *query, *key, *image;        /* [FEATURES,P] features, and what they meet */
    double *rows, *across;              /* [P,E8] and [E+1,P] */
    double *scaled, *adjoint, *state;   /* states: see wcohi_wave_state */
    double *saved;                      /* the states before each chunk of a stretch */
} wcohi_wave_room;

/* One (batch, head): pointers at its first row and its columns. */
typedef struct wcohi_wave_task {
    const wcohi_wave *wave;
    const wcohi_coherence *call;
    const wcoh_real *query, *key, *value, *dout;
    int listens;                    /* 1: rows have dampings or loudnesses of their own */
    const wcoh_real *forget, *loud; /* raw; NULL: one damping for all rows, no loudness */
    wcoh_real *out, *inverse, *dquery, *dkey, *dvalue, *dforget, *dloud;
    int first, end;  /* rows of this stretch */
    double *state;   /* before the stretch, and moved past it; NULL: there is but this stretch */
    double *saved;   /* the states before the stretch, kept for backward, or NULL */
    double *partial; /* [3] gradients of kappa, omega, lambda: set */
    wcohi_wave_room room;
} wcohi_wave_task;

/* A state block: denominators z [80], then Z [76,E8]; row j belongs to feature j. */
static size_t wcohi_wave_pitch(int width) { return wcohi_round_up((size_t)width, 8); }
static size_t wcohi_wave_state(int width)
{
    return wcohi_add(WCOHI_DENOMINATORS, wcohi_mul(WCOHI_FEATURES, wcohi_wave_pitch(width)));
}

/* Doubles that a session keeps per layer. All zero: nothing heard yet. Per head: header, cached
   coefficients, state block; the same on every instruction set, so it may be saved and moved. */
static size_t wcohi_wave_session(int width)
{
    return wcohi_add(WCOHI_WAVE_HEADER + WCOHI_FEATURES + 4, wcohi_wave_state(width));
}
static size_t wcohi_coherence_state_count(int heads, int width)
{
    return wcohi_mul((size_t)heads, wcohi_wave_session(width));
}

/* Reals that forward leaves for backward: 1/D of every row and head, then the states before every
   stretch but the first. */
static size_t wcohi_coherence_inverses(int batch, int seq, int heads)
{
    size_t count = wcohi_mul(wcohi_mul((size_t)batch, (size_t)seq), (size_t)heads);
    return wcohi_round_up(count, 16);
}
static size_t wcohi_coherence_aux_count(int batch, int seq, int heads, int width)
{
    size_t later = seq > 0 ? (size_t)(seq - 1) / WCOHI_STRETCH : 0;
    size_t states = wcohi_mul(wcohi_mul((size_t)batch, (size_t)heads), later);
    size_t doubles = wcohi_mul(states, wcohi_wave_state(width));
    return wcohi_add(wcohi_coherence_inverses(batch, seq, heads),
                     wcohi_mul(doubles, sizeof(double) / sizeof(wcoh_real)));
}

/* e^-kappa I_m(kappa), m = 0..count-1, by Miller's backward recurrence in its ratio form
   I_m/I_{m-1} = 1/(2m/kappa + I_{m+1}/I_m), normalised by I_0 + 2 (I_1 + I_2 + ..) = e^kappa. */
static void wcohi_bessel(double kappa, double *scaled, int count)
{
    double ratio = 0, total = 0;
    int m;
    for (m = count + 12; m > 0; m--) {
        ratio = kappa / (2 * m + kappa * ratio);
        if (m < count) scaled[m] = ratio;
    }
    scaled[0] = 1;
    for (m = 1; m < count; m++) scaled[m] *= scaled[m - 1];
    for (m = count - 1; m > 0; m--) total += 2 * scaled[m];
    for (m = 0, total += 1; m < count; m++) scaled[m] /= total;
}

/* Coefficients and order of a gain: the smallest M whose rest is below 1e-7 of the least weight. */
static void wcohi_wave_series(wcohi_wave *wave)
{
    double bessel[WCOHI_ORDERS + 12], rest = 0, least = 1e-7 * exp(-2 * wave->gain);
    int m;
    wcohi_bessel(wave->gain, bessel, WCOHI_COUNT(bessel));
    for (m = WCOHI_COUNT(bessel) - 1; m > 0; m--) {
        rest += 2 * bessel[m];
        if (rest > least) break;
    }
    wave->order = WCOHI_MIN(m, WCOHI_ORDERS);
    wave->coefficient[0] = bessel[0];
    wave->slope[0] = bessel[1];
    for (m = 1; m <= wave->order; m++) {
        wave->coefficient[2 * m - 1] = wave->coefficient[2 * m] = 2 * bessel[m];
        wave->slope[2 * m - 1] = wave->slope[2 * m] = bessel[m - 1] + bessel[m + 1];
    }
}

/* Rows of a chunk, by the measured costs of a row's near and far part. */
#define WCOHI_WAVE_WHOLE 64 /* this many rows are one chunk whatever the order */
static int wcohi_wave_chunk(int seq, int order, int given)
{
    int whole = WCOHI_CLAMP(16 * order + 16, WCOHI_WAVE_WHOLE, WCOHI_CHUNK_MAX);
    int part = order <= 12 ? 32 : order <= 20 ? 48 : 64;
    if (given > 0) return WCOHI_MIN(WCOHI_CLAMP(given, 16, WCOHI_CHUNK_MAX), seq);
    return seq <= whole ? seq : part;
}

/* e^{i omega i} and e^{-lambda i} for the rows of a chunk in whole vectors (lanes behind the last
   row must be finite); every 16th is computed afresh. */
static void wcohi_wave_tables(wcohi_wave *wave)
{
    double c = cos(wave->carrier), s = sin(wave->carrier);
    int span = (int)wcohi_round_up((size_t)wave->chunk, 16), i;
    wave->step[0] = cos(wave->carrier * wave->chunk);
    wave->step[1] = sin(wave->carrier * wave->chunk);
    for (i = 0; i < span; i++) {
        if (i % 16 == 0) {
            wave->turn_c[i] = cos(wave->carrier * i);
            wave->turn_s[i] = sin(wave->carrier * i);
        } else {
            wave->turn_c[i] = wave->turn_c[i - 1] * c - wave->turn_s[i - 1] * s;
            wave->turn_s[i] = wave->turn_s[i - 1] * c + wave->turn_c[i - 1] * s;
        }
        wave->real_c[i] = (wcoh_real)wave->turn_c[i];
        wave->real_s[i] = (wcoh_real)wave->turn_s[i];
    }
}

static void wcohi_wave_decays(wcohi_wave *wave)
{
    double step = exp(-wave->damping);
    int span = (int)wcohi_round_up((size_t)wave->chunk, 16), i;
    for (i = 0; i <= span; i++)
        wave->decay[i] = i % 16 == 0 ? exp(-wave->damping * i) : wave->decay[i - 1] * step;
    for (i = 0; i < span; i++) {
        wave->decline[i] = (wcoh_real)(wave->damping * WCOHI_LOG2_E * i);
        wave->place[i] = (wcoh_real)i;
    }
}

static void wcohi_wave_parameters(wcohi_wave *wave, const wcohi_coherence *call, int head)
{
    wave->gain = call->gain ? call->gain[head] : 1;
    wave->carrier = call->carrier ? call->carrier[head] : 0;
    wave->damping = call->damping && !call->forget_column ? call->damping[head] : 0;
    wave->harmonic = call->harmonic ? call->harmonic[head] : 1;
}

/* Tables of one head for chunks of at most `longest` rows. */
static void wcohi_wave_take(wcohi_arena *arena, wcohi_wave *wave, int longest)
{
    int span = (int)wcohi_round_up((size_t)longest, 16);
    double *turn_c = WCOHI_TAKE(arena, span, double), *turn_s = WCOHI_TAKE(arena, span, double);
    double *decay = WCOHI_TAKE(arena, span + 16, double);
    wcoh_real *real_c = WCOHI_TAKE(arena, span, wcoh_real);
    wcoh_real *real_s = WCOHI_TAKE(arena, span, wcoh_real);
    wcoh_real *decline = WCOHI_TAKE(arena, span, wcoh_real);
    wcoh_real *place = WCOHI_TAKE(arena, span, wcoh_real);
    if (!arena->base) return;
    wave->turn_c = turn_c, wave->turn_s = turn_s, wave->decay = decay;
    wave->real_c = real_c, wave->real_s = real_s;
    wave->decline = decline, wave->place = place;
}

/* The next `count` elements of a block that was taken whole. */
static wcoh_real *wcohi_wave_next(wcoh_real **block, size_t count)
{
    wcoh_real *here = *block;
    *block = here + count;
    return here;
}

static void wcohi_wave_room_take(wcohi_arena *arena, wcohi_wave_room *room, int seq, int width)
{
    size_t span = wcohi_round_up((size_t)WCOHI_MIN(seq, WCOHI_CHUNK_MAX), 16), line = 0;
    size_t pitch = wcohi_wave_pitch(width), matrix = wcohi_mul(span, pitch);
    size_t block = wcohi_wave_state(width), chunks = span / 16 + 2;
    wcoh_real **lines[21], *reals;
    reals = WCOHI_TAKE(arena, wcohi_add((21 + 3 * 16) * span, wcohi_mul(3, matrix)), wcoh_real);
    room->depth = WCOHI_TAKE(arena, 3 * span, double);
    room->query = WCOHI_TAKE(arena, 3 * WCOHI_FEATURES * span, double);
    room->rows = WCOHI_TAKE(arena, wcohi_add(wcohi_mul(2, matrix), 3 * span), double);
    room->scaled = WCOHI_TAKE(arena, wcohi_mul(3, block), double);
    room->saved = WCOHI_TAKE(arena, wcohi_mul(chunks, block), double);
    if (!arena->base) return;
    room->lift = room->depth + span;
    room->reach = room->lift + span;
    room->key = room->query + WCOHI_FEATURES * span;
    room->image = room->key + WCOHI_FEATURES * span;
    room->across = room->rows + matrix;
    room->fr = room->across + matrix + span;
    room->fs = room->fr + span;
    room->adjoint = room->scaled + block;
    room->state = room->adjoint + block;
    lines[0] = &room->qr, lines[1] = &room->qs, lines[2] = &room->kr, lines[3] = &room->ks;
    lines[4] = &room->ur, lines[5] = &room->us, lines[6] = &room->wr, lines[7] = &room->ws;
    lines[8] = &room->ar, lines[9] = &room->as, lines[10] = &room->br, lines[11] = &room->bs;
    lines[12] = &room->dphi, lines[13] = &room->dpsi, lines[14] = &room->delta;
    lines[15] = &room->inverse, lines[16] = &room->denominator;
    lines[17] = &room->raw, lines[18] = &room->heard, lines[19] = &room->shift;
    lines[20] = &room->dkey;
    for (line = 0; line < 21; line++) *lines[line] = wcohi_wave_next(&reals, span);
    room->weight = wcohi_wave_next(&reals, span * 16);
    room->product = wcohi_wave_next(&reals, span * 16);
    room->torque = wcohi_wave_next(&reals, span * 16);
    room->columns = wcohi_wave_next(&reals, matrix);
    room->sums = wcohi_wave_next(&reals, matrix);
    room->packed = wcohi_wave_next(&reals, matrix);
}

/* Bytes of one job's scratch. */
static size_t wcohi_wave_room_bytes(int seq, int width)
{
    wcohi_arena arena;
    wcohi_wave_room room;
    memset(&arena, 0, sizeof arena);
    wcohi_wave_room_take(&arena, &room, seq, width);
    return arena.used;
}

/* ---- what kernels call for rows that vectors do not fill ------------------------------------- */

/* The phasor raised to the power n, through its angle: the compatibility form. [n rows] */
static void wcohi_wave_harmonic(wcoh_real *ur, wcoh_real *us, const wcoh_real *r,
                                const wcoh_real *s, double harmonic, int rows)
{
    int i;
    for (i = 0; i < rows; i++) {
        double x = (double)r[i], y = (double)s[i];
        double angle = x * x + y * y < 1e-12 ? 0 : harmonic * atan2(y, x);
        ur[i] = (wcoh_real)cos(angle);
        us[i] = (wcoh_real)sin(angle);
    }
}

/* Columns and rows of a matrix, for the rows and elements that vectors do not fill. */
static void wcohi_wave_columns_part(wcoh_real *columns, const wcoh_real *x, size_t stride,
                                    int rows, int lanes, int span, int from, int width)
{
    int i, e;
    for (i = 0; i < rows; i++, x += stride)
        for (e = from; e < width; e++) columns[(size_t)e * (size_t)span + (size_t)i] = x[e];
    for (e = from; e < width; e++)
        for (i = rows; i < lanes; i++) columns[(size_t)e * (size_t)span + (size_t)i] = 0;
}

static void wcohi_wave_rows_part(wcoh_real *x, size_t stride, const wcoh_real *columns,
                                 const wcoh_real *scale, int rows, int span, int from, int width)
{
    int i, e;
    for (i = 0; i < rows; i++, x += stride) {
        wcoh_real factor = scale ? scale[i] : (wcoh_real)1;
        for (e = from; e < width; e++)
            x[e] = columns[(size_t)e * (size_t)span + (size_t)i] * factor;
    }
}

#ifndef WAVECOH_NO_TRAINING
/* delta [rows] += sum over e of x[row][e] y[row][e] */
static void wcohi_wave_inner_part(wcoh_real *delta, const wcoh_real *x, size_t x_stride,
                                  const wcoh_real *y, size_t y_stride, int rows, int from,
                                  int width)
{
    int i, e;
    for (i = 0; i < rows; i++, x += x_stride, y += y_stride) {
        wcoh_real sum = delta[i];
        for (e = from; e < width; e++) sum += x[e] * y[e];
        delta[i] = sum;
    }
}
#endif

/* S_(spread)(p, stride, v): the W/4 groups of four of v to p, p + stride, ..: quads undone */
#define wcohi_sse2_spread(p, stride, v) _mm_storeu_ps((p), (v))
#define wcohi_avx2_spread(p, stride, v)                                                            \
    (_mm_storeu_ps((p), _mm256_castps256_ps128(v)),                                                \
     _mm_storeu_ps((p) + (stride), _mm256_extractf128_ps((v), 1)))
#define wcohi_avx512_spread(p, stride, v)                                                          \
    (_mm_storeu_ps((p), _mm512_maskz_extractf32x4_ps((__mmask8)-1, (v), 0)),                       \
     _mm_storeu_ps((p) + (stride), _mm512_maskz_extractf32x4_ps((__mmask8)-1, (v), 1)),            \
     _mm_storeu_ps((p) + 2 * (stride), _mm512_maskz_extractf32x4_ps((__mmask8)-1, (v), 2)),        \
     _mm_storeu_ps((p) + 3 * (stride), _mm512_maskz_extractf32x4_ps((__mmask8)-1, (v), 3)))
#define wcohi_neon_spread(p, stride, v) vst1q_f32((p), (v))

/* Four vectors of W/4 groups: 4x4 blocks transposed in place. */
#define WCOHI_WAVE_TRANSPOSE(a, b, c, d)                                                           \
    do {                                                                                           \
        S_(v) ab_ = S_(mixlo)(a, b), cd_ = S_(mixlo)(c, d);                                        \
        S_(v) ef_ = S_(mixhi)(a, b), gh_ = S_(mixhi)(c, d);                                        \
        a = S_(pairlo)(ab_, cd_);                                                                  \
        b = S_(pairhi)(ab_, cd_);                                                                  \
        c = S_(pairlo)(ef_, gh_);                                                                  \
        d = S_(pairhi)(ef_, gh_);                                                                  \
    } while (0)

/* Products of the elements e .. e + 3 of rows 4g + row of x and y. */
#define WCOHI_WAVE_QUADS(row)                                                                      \
    S_(mul)(S_(quads)(x + (row) * x_stride + e, 4 * x_stride),                                     \
            S_(quads)(y + (row) * y_stride + e, 4 * y_stride))

/* frame *= e^{i omega rows}, kept at length one; whole chunks turn by a table's entry */
static void wcohi_wave_turn_frame(double frame[2], const wcohi_wave *wave, int rows)
{
    double c = wave->step[0], s = wave->step[1], x, y, fix;
    if (rows != wave->chunk) {
        c = cos(wave->carrier * rows);
        s = sin(wave->carrier * rows);
    }
    x = frame[0] * c - frame[1] * s;
    y = frame[0] * s + frame[1] * c;
    fix = 1.5 - 0.5 * (x * x + y * y);
    frame[0] = x * fix;
    frame[1] = y * fix;
}

/* What a chunk leaves of the states before it. */
static double wcohi_wave_keep(const wcohi_wave_task *task, int rows)
{
    return task->listens ? exp(-task->room.depth[rows - 1]) : task->wave->decay[rows];
}

/* A state block with its frame; from NULL: the empty one. */
static void wcohi_wave_copy(const wcohi_wave_task *task, double *to, const double *from)
{
    size_t count = (size_t)WCOHI_WAVE_COUNT(task->wave->order);
    count = count * wcohi_wave_pitch(task->call->width) + WCOHI_DENOMINATORS;
    if (from) {
        memcpy(to, from, count * sizeof *to);
    } else {
        memset(to, 0, count * sizeof *to);
        to[WCOHI_WAVE_FRAME] = 1;
    }
}

#define WCOHI_STEP_HEADS 8 /* heads whose features are made together; a multiple of every DW */

/* The parts of one head's session state. */
typedef struct wcohi_wave_memory {
    double *header, *coefficient, *state;
} wcohi_wave_memory;

/* Find head's memory and bring its tables up to date with the parameters of this call. Harmonics
   that it did not hold before start empty. */
static wcohi_wave_memory wcohi_wave_open(const wcohi_coherence *call, int head)
{
    wcohi_wave_memory memory;
    wcohi_wave wave;
    double *header = call->state + (size_t)head * wcohi_wave_session(call->width);
    int used = header[WCOHI_WAVE_USED] > 0, order = (int)header[WCOHI_WAVE_ORDER], first, last;
    size_t pitch = wcohi_wave_pitch(call->width);
    memory.header = header;
    memory.coefficient = header + WCOHI_WAVE_HEADER;
    memory.state = memory.coefficient + WCOHI_FEATURES + 4;
    wcohi_wave_parameters(&wave, call, head);
    if (used && header[WCOHI_WAVE_GAIN] == wave.gain &&
        header[WCOHI_WAVE_CARRIER] == wave.carrier && header[WCOHI_WAVE_DAMPING] == wave.damping)
        return memory;
    wcohi_wave_series(&wave);
    first = used ? 2 * order + 1 : 0;
    last = 2 * wave.order + 1;
    if (last > first) {
        double *rows = memory.state + WCOHI_DENOMINATORS + (size_t)first * pitch;
        memset(memory.state + first, 0, (size_t)(last - first) * sizeof(double));
        memset(rows, 0, (size_t)(last - first) * pitch * sizeof(double));
    }
    if (!used) header[WCOHI_WAVE_COS] = 1, header[WCOHI_WAVE_SIN] = 0;
    memcpy(memory.coefficient, wave.coefficient, (size_t)last * sizeof(double));
    header[WCOHI_WAVE_GAIN] = wave.gain;
    header[WCOHI_WAVE_CARRIER] = wave.carrier;
    header[WCOHI_WAVE_DAMPING] = wave.damping;
    header[WCOHI_WAVE_DECAY] = exp(-wave.damping);
    header[WCOHI_WAVE_TURN_COS] = cos(wave.carrier);
    header[WCOHI_WAVE_TURN_SIN] = sin(wave.carrier);
    header[WCOHI_WAVE_ORDER] = wave.order;
    header[WCOHI_WAVE_USED] = 1;
    return memory;
}

/* x + iy = (r + is) made of length one, times the frame */
static void wcohi_wave_step_phasor(double *x, double *y, double r, double s, const double *frame)
{
    double fix = 1.5 - 0.5 * (r * r + s * s);
    *x = fix * (r * frame[0] - s * frame[1]);
    *y = fix * (r * frame[1] + s * frame[0]);
}

#define wcohi_wave_forward_is(name)                                                                \
    void name(const wcohi_wave_task *task, double *state, double frame[2], int known)
#define wcohi_wave_backward_is(name) void name(const wcohi_wave_task *task)
#define wcohi_wave_step_is(name)                                                                   \
    void name(const wcohi_coherence *call, int first, const wcohi_wave_room *room)
typedef struct wcohi_wave_kernels {
    wcohi_wave_forward_is((*forward));
    wcohi_wave_step_is((*step));
#ifndef WAVECOH_NO_TRAINING
    wcohi_wave_backward_is((*backward));
#endif
} wcohi_wave_kernels;

#else /* a pass: coherence attention */

/* x [rows,E] of `stride` -> columns [E,span], 0 behind the last row; and back times scale [rows];
   delta [rows] = inner products of the rows of two matrices. */
#if S_(W) == 1
S_(fn) void S_(wave_columns)(wcoh_real *columns, const wcoh_real *x, size_t stride,
                                      int rows, int span, int width)
{
    wcohi_wave_columns_part(columns, x, stride, rows, span, span, 0, width);
}

S_(fn) void S_(wave_rows)(wcoh_real *x, size_t stride, const wcoh_real *columns,
                                   const wcoh_real *scale, int rows, int span, int width)
{
    wcohi_wave_rows_part(x, stride, columns, scale, rows, span, 0, width);
}

#ifndef WAVECOH_NO_TRAINING
S_(fn) void S_(wave_inner)(wcoh_real *delta, const wcoh_real *x, size_t x_stride,
                                    const wcoh_real *y, size_t y_stride, int rows, int width)
{
    memset(delta, 0, (size_t)rows * sizeof *delta);
    wcohi_wave_inner_part(delta, x, x_stride, y, y_stride, rows, 0, width);
}
#endif
#else
S_(fn) void S_(wave_columns)(wcoh_real *columns, const wcoh_real *x, size_t stride, int rows,
                             int span, int width)
{
    int i, e, whole = width / 4 * 4;
    for (i = 0; i + S_(W) <= rows; i += S_(W), x += S_(W) * stride) {
        for (e = 0; e < whole; e += 4) {
            S_(v) a = S_(quads)(x + e, 4 * stride), b = S_(quads)(x + stride + e, 4 * stride);
            S_(v) c = S_(quads)(x + 2 * stride + e, 4 * stride);
            S_(v) d = S_(quads)(x + 3 * stride + e, 4 * stride);
            wcoh_real *to = columns + (size_t)e * (size_t)span + (size_t)i;
            WCOHI_WAVE_TRANSPOSE(a, b, c, d);
            S_(store)(to, a);
            S_(store)(to + span, b);
            S_(store)(to + 2 * span, c);
            S_(store)(to + 3 * span, d);
        }
        wcohi_wave_columns_part(columns + i, x, stride, S_(W), S_(W), span, whole, width);
    }
    wcohi_wave_columns_part(columns + i, x, stride, rows - i, span - i, span, 0, width);
}

S_(fn) void S_(wave_rows)(wcoh_real *x, size_t stride, const wcoh_real *columns,
                          const wcoh_real *scale, int rows, int span, int width)
{
    int i, e, whole = width / 4 * 4;
    for (i = 0; i + S_(W) <= rows; i += S_(W), x += S_(W) * stride, columns += S_(W)) {
        S_(v) by = scale ? S_(load)(scale + i) : S_(set)((wcoh_real)1);
        for (e = 0; e < whole; e += 4) {
            const wcoh_real *from = columns + (size_t)e * (size_t)span;
            S_(v) a = S_(mul)(by, S_(load)(from)), b = S_(mul)(by, S_(load)(from + span));
            S_(v) c = S_(mul)(by, S_(load)(from + 2 * span));
            S_(v) d = S_(mul)(by, S_(load)(from + 3 * span));
            WCOHI_WAVE_TRANSPOSE(a, b, c, d);
            S_(spread)(x + e, 4 * stride, a);
            S_(spread)(x + stride + e, 4 * stride, b);
            S_(spread)(x + 2 * stride + e, 4 * stride, c);
            S_(spread)(x + 3 * stride + e, 4 * stride, d);
        }
        wcohi_wave_rows_part(x, stride, columns, scale ? scale + i : NULL, S_(W), span, whole,
                             width);
    }
    wcohi_wave_rows_part(x, stride, columns, scale ? scale + i : NULL, rows - i, span, 0,
                         width);
}

#ifndef WAVECOH_NO_TRAINING
S_(fn) void S_(wave_inner)(wcoh_real *delta, const wcoh_real *x, size_t x_stride,
                           const wcoh_real *y, size_t y_stride, int rows, int width)
{
    int i, e, whole = width / 4 * 4;
    memset(delta, 0, (size_t)rows * sizeof *delta);
    for (i = 0; i + S_(W) <= rows; i += S_(W), delta += S_(W)) {
        S_(v) sum = S_(zero)();
        for (e = 0; e < whole; e += 4) {
            S_(v) a = WCOHI_WAVE_QUADS(0);
            S_(v) b = WCOHI_WAVE_QUADS(1);
            S_(v) c = WCOHI_WAVE_QUADS(2);
            S_(v) d = WCOHI_WAVE_QUADS(3);
            WCOHI_WAVE_TRANSPOSE(a, b, c, d);
            sum = S_(add)(sum, S_(add)(S_(add)(a, b), S_(add)(c, d)));
        }
        S_(store)(delta, sum);
        wcohi_wave_inner_part(delta, x, x_stride, y, y_stride, S_(W), whole, width);
        x += S_(W) * x_stride;
        y += S_(W) * y_stride;
    }
    wcohi_wave_inner_part(delta, x, x_stride, y, y_stride, rows - i, 0, width);
}
#endif
#endif

/* ---- phasors --------------------------------------------------------------------------------- */

/* Raw pairs [rows] of `stride` -> planar r, s, 0 behind the last row (span: rows in whole vectors),
   and back; pairs [2 span] lies between. */
/* rows [rows,E] of *stride side by side, zeros between; returns them with their stride E8 */
S_(fn) const wcoh_real *S_(wave_pack)(wcoh_real *to, const wcoh_real *x, size_t *stride,
                                      int rows, int width)
{
    size_t step = *stride, pitch = wcohi_wave_pitch(width);
    wcoh_real *y = to;
    int row, e;
    for (row = 0; row < rows; row++, x += step, y += pitch) {
        for (e = 0; e + 8 <= width; e += 8) memcpy(y + e, x + e, 8 * sizeof *x);
        for (; e < width; e++) y[e] = x[e];
        for (; e < (int)pitch; e++) y[e] = 0;
    }
    *stride = pitch;
    return to;
}

S_(fn) void S_(wave_gather)(wcoh_real *r, wcoh_real *s, const wcoh_real *raw, size_t stride,
                            int rows, int span, wcoh_real *pairs)
{
    int i;
    for (i = 0; i < rows; i++, raw += stride) memcpy(pairs + 2 * i, raw, 2 * sizeof *raw);
    for (; i < span; i++) pairs[2 * i] = pairs[2 * i + 1] = 0;
    for (i = 0; i < span; i += S_(W)) {
        S_(v) a = S_(load)(pairs + 2 * i), b = S_(load)(pairs + 2 * i + S_(W));
        S_(store)(r + i, S_(even)(a, b));
        S_(store)(s + i, S_(odd)(a, b));
    }
}

#ifndef WAVECOH_NO_TRAINING
S_(fn) void S_(wave_scatter)(wcoh_real *raw, size_t stride, const wcoh_real *r,
                             const wcoh_real *s, int rows, int span, wcoh_real *pairs)
{
    int i;
    for (i = 0; i < span; i += S_(W)) {
        S_(v) a = S_(load)(r + i), b = S_(load)(s + i);
        S_(store)(pairs + 2 * i, S_(ziplo)(a, b));
        S_(store)(pairs + 2 * i + S_(W), S_(ziphi)(a, b));
    }
    for (i = 0; i < rows; i++, raw += stride) memcpy(raw, pairs + 2 * i, 2 * sizeof *raw);
}
#endif

/* Raw phasors to unit ones: u = (r, s)/|.|, (1, 0) where the length is below 1e-6; then turned by
   a table, a = u e^{i turn}. All [span]. */
S_(fn) void S_(wave_unit)(wcoh_real *ur, wcoh_real *us, const wcoh_real *pr,
                          const wcoh_real *ps, int span)
{
    S_(v) one = S_(set)((wcoh_real)1), least = S_(set)((wcoh_real)1e-12);
    int i;
    for (i = 0; i < span; i += S_(W)) {
        S_(v) r = S_(load)(pr + i), s = S_(load)(ps + i), m2 = S_(fma)(r, r, S_(mul)(s, s));
        S_(m) none = S_(lt)(m2, least);
        S_(v) inverse = S_(div)(one, S_(sqrt)(S_(select)(none, one, m2)));
        S_(store)(ur + i, S_(select)(none, one, S_(mul)(r, inverse)));
        S_(store)(us + i, S_(select)(none, S_(zero)(), S_(mul)(s, inverse)));
    }
}

S_(fn) void S_(wave_turn)(wcoh_real *ar, wcoh_real *as, const wcoh_real *ur,
                          const wcoh_real *us, const wcohi_wave *wave, int rows, int span)
{
    int i;
    for (i = 0; i < span; i += S_(W)) {
        int n = rows > i ? WCOHI_LANES(rows, i) : 0;
        S_(v) r = S_(load)(ur + i), s = S_(load)(us + i);
        S_(v) c = WCOHI_LOAD(wave->real_c + i, n), d = WCOHI_LOAD(wave->real_s + i, n);
        S_(store)(ar + i, S_(fnma)(s, d, S_(mul)(r, c)));
        S_(store)(as + i, S_(fma)(r, d, S_(mul)(s, c)));
    }
}

/* ln(1 + e^x) = max(x, 0) + 2 artanh(t / (2 + t)), t = e^-|x|; relative error 2e-7 */
S_(inline) S_(v) S_(softplus)(S_(v) x)
#ifdef WAVECOH_TEST_DOUBLE
{ return wcohi_softplus(x); }
#else
{
    S_(v) t = S_(exp)(S_(neg)(S_(abs)(x))), z = S_(div)(t, S_(add)(t, S_(set)(2.0f)));
    S_(v) y = S_(mul)(z, z), p = S_(set)(2.0f / 13);
    p = S_(fma)(p, y, S_(set)(2.0f / 11));
    p = S_(fma)(p, y, S_(set)(2.0f / 9));
    p = S_(fma)(p, y, S_(set)(2.0f / 7));
    p = S_(fma)(p, y, S_(set)(2.0f / 5));
    p = S_(fma)(p, y, S_(set)(2.0f / 3));
    p = S_(fma)(p, y, S_(set)(2.0f));
    return S_(fma)(p, z, S_(max)(S_(zero)(), x));
}
#endif

/* One of a chunk's raw columns into room->raw [span], 0 behind the last row. */
S_(fn)
void S_(wave_column)(const wcohi_wave_task *task, const wcoh_real *column, int first, int rows,
                     int span)
{
    size_t stride = task->call->phasor_stride;
    int i;
    for (i = 0, column += (size_t)first * stride; i < rows; i++, column += stride)
        task->room.raw[i] = *column;
    for (; i < span; i++) task->room.raw[i] = 0;
}

/* What the rows of a chunk say of themselves: depth, lift [span]. */
S_(fn) void S_(wave_listen)(const wcohi_wave_task *task, int first, int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    S_(v) scale = S_(set)((wcoh_real)WCOHI_WAVE_LOUDEST);
    double depth = 0;
    int i;
    if (task->forget) S_(wave_column)(task, task->forget, first, rows, span);
    for (i = 0; task->forget && i < span; i += S_(W))
        S_(store)(room->heard + i, S_(softplus)(S_(load)(room->raw + i)));
    for (i = 0; i < span; i++) {
        if (i < rows) depth += task->forget ? (double)room->heard[i] : task->wave->damping;
        room->depth[i] = room->lift[i] = depth;
    }
    if (!task->loud) return;
    S_(wave_column)(task, task->loud, first, rows, span);
    for (i = 0; i < span; i += S_(W)) S_(store)
    (room->heard + i, S_(mul)(scale, S_(tanh)(S_(div)(S_(load)(room->raw + i), scale))));
    for (i = 0; i < rows; i++) room->lift[i] += (double)room->heard[i];
}

/* raw rows from `first` of the task, `rows` of them, to room's phasors; the keys unturned */
S_(fn) void S_(wave_keys)(const wcohi_wave_task *task, int first, int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    size_t stride = task->call->phasor_stride, at = (size_t)first * stride;
    if (task->listens) S_(wave_listen)(task, first, rows, span);
    S_(wave_gather)(room->kr, room->ks, task->key + at, stride, rows, span, room->weight);
    S_(wave_unit)(room->wr, room->ws, room->kr, room->ks, span);
    if (task->call->harmonic)
        wcohi_wave_harmonic(room->wr, room->ws, room->kr, room->ks, task->wave->harmonic,
                            rows);
}

S_(fn) void S_(wave_phasors)(const wcohi_wave_task *task, int first, int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    size_t stride = task->call->phasor_stride, at = (size_t)first * stride;
    S_(wave_keys)(task, first, rows, span);
    S_(wave_gather)(room->qr, room->qs, task->query + at, stride, rows, span, room->weight);
    S_(wave_unit)(room->ur, room->us, room->qr, room->qs, span);
    if (task->call->harmonic)
        wcohi_wave_harmonic(room->ur, room->us, room->qr, room->qs, wave->harmonic, rows);
    S_(wave_turn)(room->ar, room->as, room->ur, room->us, wave, rows, span);
    S_(wave_turn)(room->br, room->bs, room->wr, room->ws, wave, rows, span);
}

#ifndef WAVECOH_NO_TRAINING
/* (drho, dsigma) = n dphase (-sigma, rho)/r^2, 0 below r = 1e-6; pr, ps become the gradient. */
S_(fn) void S_(wave_unit_backward)(wcoh_real *pr, wcoh_real *ps, const wcoh_real *dphase,
                                   double harmonic, int span)
{
    S_(v) one = S_(set)((wcoh_real)1), least = S_(set)((wcoh_real)1e-12);
    S_(v) n = S_(set)((wcoh_real)harmonic);
    int i;
    for (i = 0; i < span; i += S_(W)) {
        S_(v) r = S_(load)(pr + i), s = S_(load)(ps + i), m2 = S_(fma)(r, r, S_(mul)(s, s));
        S_(m) none = S_(lt)(m2, least);
        S_(v) g = S_(div)(S_(mul)(n, S_(load)(dphase + i)), S_(select)(none, one, m2));
        g = S_(select)(none, S_(zero)(), g);
        S_(store)(pr + i, S_(neg)(S_(mul)(g, s)));
        S_(store)(ps + i, S_(mul)(g, r));
    }
}
#endif

/* ---- near pairs ------------------------------------------------------------------------------ */

/* 2^s for s <= 0 (or a rounding above), relative error 1e-7; below 2^-125 nothing falls, so no
   denormals. NaN stays. */
S_(inline) S_(v) S_(wave_weight)(S_(v) s)
#ifdef WAVECOH_TEST_DOUBLE
{ return S_(exp)(s / WCOHI_LOG2_E); }
#else
{
    S_(v) t = S_(max)(S_(set)(-125.0f), s), p = S_(set)(1.3276472e-3f), x;
    S_(iv) n = S_(toi)(t);
    x = S_(sub)(t, S_(fromi)(n));
    p = S_(fma)(p, x, S_(set)(9.6755413e-3f));
    p = S_(fma)(p, x, S_(set)(5.5507133e-2f));
    p = S_(fma)(p, x, S_(set)(2.4022120e-1f));
    p = S_(fma)(p, x, S_(set)(6.9314697e-1f));
    p = S_(fma)(p, x, S_(set)(1.0000001f));
    return S_(real)(S_(iadd)(S_(bits)(p), S_(ishl)(n, 23)));
}
#endif

/* columns[e][lane] += sum over rows of p[row][lane] x[row][e], for 8, 4 or 1 of e at once: n is a
   constant where this is inlined. */
#define WCOHI_MIX_OPEN(e) S_(v) sum##e = n > e ? S_(load)(columns + e * pitch) : S_(zero)();
#define WCOHI_MIX_STEP(e) if (n > e) sum##e = S_(fma)(w, S_(set)(x[e]), sum##e);
#define WCOHI_MIX_SHUT(e) if (n > e) S_(store)(columns + e * pitch, sum##e);
S_(inline) void S_(wave_mix_some)(int n, wcoh_real *columns, size_t pitch, const wcoh_real *p,
                                  int rows, const wcoh_real *x, size_t stride)
{
    int row;
    WCOHI_MIX_OPEN(0) WCOHI_MIX_OPEN(1) WCOHI_MIX_OPEN(2) WCOHI_MIX_OPEN(3)
    WCOHI_MIX_OPEN(4) WCOHI_MIX_OPEN(5) WCOHI_MIX_OPEN(6) WCOHI_MIX_OPEN(7)
    for (row = 0; row < rows; row++, x += stride, p += S_(W)) {
        S_(v) w = S_(load)(p);
        WCOHI_MIX_STEP(0) WCOHI_MIX_STEP(1) WCOHI_MIX_STEP(2) WCOHI_MIX_STEP(3)
        WCOHI_MIX_STEP(4) WCOHI_MIX_STEP(5) WCOHI_MIX_STEP(6) WCOHI_MIX_STEP(7)
    }
    WCOHI_MIX_SHUT(0) WCOHI_MIX_SHUT(1) WCOHI_MIX_SHUT(2) WCOHI_MIX_SHUT(3)
    WCOHI_MIX_SHUT(4) WCOHI_MIX_SHUT(5) WCOHI_MIX_SHUT(6) WCOHI_MIX_SHUT(7)
}

/* p[row][lane] = or += sum over e of columns[e][lane] x[row][e], likewise. */
#define WCOHI_DOT_OPEN(e) S_(v) column##e = n > e ? S_(load)(columns + e * pitch) : S_(zero)();
#define WCOHI_DOT_NEXT(e) if (n > e) d = S_(fma)(column##e, S_(set)(x[e]), d);
S_(inline) void S_(wave_dot_some)(int n, wcoh_real *p, int add, const wcoh_real *columns,
                                  size_t pitch, int rows, const wcoh_real *x, size_t stride)
{
    int row;
    WCOHI_DOT_OPEN(0) WCOHI_DOT_OPEN(1) WCOHI_DOT_OPEN(2) WCOHI_DOT_OPEN(3)
    WCOHI_DOT_OPEN(4) WCOHI_DOT_OPEN(5) WCOHI_DOT_OPEN(6) WCOHI_DOT_OPEN(7)
    for (row = 0; row < rows; row++, x += stride, p += S_(W)) {
        S_(v) d = add ? S_(load)(p) : S_(zero)();
        WCOHI_DOT_NEXT(0) WCOHI_DOT_NEXT(1) WCOHI_DOT_NEXT(2) WCOHI_DOT_NEXT(3)
        WCOHI_DOT_NEXT(4) WCOHI_DOT_NEXT(5) WCOHI_DOT_NEXT(6) WCOHI_DOT_NEXT(7)
        S_(store)(p, d);
    }
}

S_(fn) void S_(wave_mix)(wcoh_real *columns, size_t pitch, const wcoh_real *p, int rows,
                    const wcoh_real *x, size_t stride, int width)
{
    int e = 0;
    for (; e + 8 <= width; e += 8, columns += 8 * pitch)
        S_(wave_mix_some)(8, columns, pitch, p, rows, x + e, stride);
    for (; e + 4 <= width; e += 4, columns += 4 * pitch)
        S_(wave_mix_some)(4, columns, pitch, p, rows, x + e, stride);
    for (; e < width; e++, columns += pitch)
        S_(wave_mix_some)(1, columns, pitch, p, rows, x + e, stride);
}

S_(fn) void S_(wave_dot)(wcoh_real *p, const wcoh_real *columns, size_t pitch, int rows,
                    const wcoh_real *x, size_t stride, int width)
{
    int e = 0;
    for (; e + 8 <= width; e += 8, columns += 8 * pitch)
        S_(wave_dot_some)(8, p, e > 0, columns, pitch, rows, x + e, stride);
    for (; e + 4 <= width; e += 4, columns += 4 * pitch)
        S_(wave_dot_some)(4, p, e > 0, columns, pitch, rows, x + e, stride);
    for (; e < width; e++, columns += pitch)
        S_(wave_dot_some)(1, p, e > 0, columns, pitch, rows, x + e, stride);
}

/* log2 e (depths or lifts of the rows from `first` on - `from`), a lane a row. Differences are taken
   before they are rounded: a long memory behind rows that forget much stays exact. */
S_(inline) S_(v) S_(wave_depths)(const double *depths, int first, double from)
{
    S_(dv) start = S_(dset)(from), scale = S_(dset)(WCOHI_LOG2_E);
    S_(dv) lo = S_(dmul)(S_(dsub)(S_(dload)(depths + first), start), scale), hi = lo;
    if (S_(W) > S_(DW)) hi = S_(dmul)(S_(dsub)(S_(dload)(depths + first + S_(DW)), start), scale);
    return S_(dnarrow)(lo, hi);
}

/* Inside a block of lanes: what keys ahead of their queries, which count nothing, are kept below. */
S_(inline) S_(v) S_(wave_finite)(S_(v) s) { return S_(min)(S_(set)((wcoh_real)64), s); }

/* Near forward of a chunk, lanes over queries: sums[e][q] += sum_k A_qk v_k, denominator[q]
   too. listens, a constant: depths and lifts in place of distances */
S_(inline)
void S_(wave_near_some)(int listens, const wcohi_wave *wave, const wcohi_wave_room *room, int first,
                        int rows)
{
    S_(v) a = S_(load)(room->ar + first), b = S_(load)(room->as + first);
    S_(v) gain = S_(set)((wcoh_real)(wave->gain * WCOHI_LOG2_E)), lane = S_(iota)();
    S_(v) total = S_(load)(room->denominator + first), w, turn;
    const wcoh_real *kr = room->br, *ks = room->bs, *decline = wave->decline;
    wcoh_real *shift = room->shift;
    S_(v) step = S_(set)((wcoh_real)(wave->damping * WCOHI_LOG2_E));
    S_(v) base = S_(fnma)(lane, step, S_(neg)(gain));
    wcoh_real *p = room->weight;
    int end = WCOHI_MIN(first + S_(W), rows), k;
    if (listens) {
        for (k = 0; k < first; k += S_(W))
            S_(store)(shift + k, S_(wave_depths)(room->lift, k, room->depth[first]));
        base = S_(neg)(S_(add)(gain, S_(wave_depths)(room->depth, first, room->depth[first])));
    }
    for (k = 0; k < first; k++, p += S_(W)) {
        turn = S_(fma)(b, S_(set)(ks[k]), S_(mul)(a, S_(set)(kr[k])));
        w = listens ? S_(add)(base, S_(set)(shift[k])) : S_(sub)(base, S_(set)(decline[first - k]));
        w = S_(wave_weight)(S_(fma)(gain, turn, w));
        total = S_(add)(total, w);
        S_(store)(p, w);
    }
    for (; k < end; k++, p += S_(W)) {
        turn = S_(fma)(b, S_(set)(ks[k]), S_(mul)(a, S_(set)(kr[k])));
        w = S_(add)(base, S_(set)(decline[k - first]));
        if (listens) {
            w = S_(neg)(S_(wave_depths)(room->depth, first, room->lift[k]));
            w = S_(sub)(S_(wave_finite)(w), gain);
        }
        w = S_(wave_weight)(S_(fma)(gain, turn, w));
        w = S_(select)(S_(le)(S_(set)(wave->place[k - first]), lane), w, S_(zero)());
        total = S_(add)(total, w);
        S_(store)(p, w);
    }
    S_(store)(room->denominator + first, total);
}

S_(fn) void S_(wave_near_weights)(const wcohi_wave_task *task, int first, int rows)
{ S_(wave_near_some)(0, task->wave, &task->room, first, rows); }

S_(fn) void S_(wave_near_heard)(const wcohi_wave_task *task, int first, int rows)
{ S_(wave_near_some)(1, task->wave, &task->room, first, rows); }

S_(fn) void S_(wave_near)(const wcohi_wave_task *task, const wcoh_real *value, size_t stride,
                          int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    int first;
    for (first = 0; first < rows; first += S_(W)) {
        if (task->listens) S_(wave_near_heard)(task, first, rows);
        else S_(wave_near_weights)(task, first, rows);
        S_(wave_mix)(room->sums + first, (size_t)span, room->weight,
                     WCOHI_MIN(first + S_(W), rows), value, stride,
                     task->call->width);
    }
}

#ifndef WAVECOH_NO_TRAINING
/* Near backward of a block of keys, lanes over keys from `first`, all queries of the chunk from
   there on; product [q] holds dA = dout_q . v_k. With dS = A (dA - delta_q):
   dphi_q = -kappa sum_k sin dS, dpsi_k = kappa sum_q sin dS, dkappa = sum cos dS,
   dlambda = -sum (q - k) dS, or s_k = sum_q dS. weight [q] becomes A; torque [q] gathers
   -kappa sin dS by lanes. */
S_(inline)
void S_(wave_slopes_some)(int listens, const wcohi_wave *wave, const wcohi_wave_room *room,
                          int first, int rows, double *partial)
{
    S_(v) a = S_(load)(room->br + first), b = S_(load)(room->bs + first), lane = S_(iota)();
    S_(v) gain = S_(set)((wcoh_real)(wave->gain * WCOHI_LOG2_E)), turn = S_(zero)();
    S_(v) dgain = S_(zero)(), total = S_(zero)(), moment = S_(zero)();
    S_(v) step = S_(set)((wcoh_real)(wave->damping * WCOHI_LOG2_E));
    S_(v) base = S_(fma)(lane, step, S_(neg)(gain));
    const wcoh_real *qr = room->ar + first, *qs = room->as + first;
    const wcoh_real *inverse = room->inverse + first, *delta = room->delta + first;
    const wcoh_real *decline = listens ? room->shift + first : wave->decline;
    const wcoh_real *place = wave->place, *product = room->product;
    wcoh_real *torque = room->torque + (size_t)first * S_(W), *weight = room->weight;
    int q, end = rows - first;
    if (listens) { /* from the last row of the block on */
        double from = room->depth[first + S_(W) - 1];
        for (q = S_(W); q < end; q += S_(W))
            S_(store)(room->shift + first + q, S_(wave_depths)(room->depth, first + q, from));
        base = S_(sub)(S_(wave_depths)(room->lift, first, from), gain);
    }
    for (q = 0; q < end; q++, torque += S_(W), weight += S_(W), product += S_(W)) {
        S_(v) c = S_(set)(qr[q]), d = S_(set)(qs[q]), w, slope, sine, cosine;
        cosine = S_(fma)(b, d, S_(mul)(a, c));
        sine = S_(fnma)(b, c, S_(mul)(a, d));
        if (listens && q < S_(W)) {
            w = S_(wave_depths)(room->lift, first, room->depth[first + q]);
            w = S_(sub)(S_(wave_finite)(w), gain);
        } else {
            w = S_(sub)(base, S_(set)(decline[q]));
        }
        w = S_(wave_weight)(S_(fma)(gain, cosine, w));
        w = S_(mul)(w, S_(set)(inverse[q]));
        if (q < S_(W) - 1) w = S_(select)(S_(le)(lane, S_(set)(place[q])), w, S_(zero)());
        S_(store)(weight, w);
        slope = S_(mul)(w, S_(sub)(S_(load)(product), S_(set)(delta[q])));
        dgain = S_(fma)(slope, cosine, dgain);
        total = S_(add)(total, slope);
        moment = S_(fma)(slope, S_(set)(place[q]), moment);
        sine = S_(mul)(sine, slope);
        turn = S_(add)(turn, sine);
        if (first) sine = S_(add)(sine, S_(load)(torque));
        S_(store)(torque, sine);
    }
    S_(store)(room->dpsi + first, S_(mul)(S_(set)((wcoh_real)wave->gain), turn));
    partial[0] += S_(dsum)(S_(dadd)(S_(dlo)(dgain), S_(dhi)(dgain)));
    if (listens) S_(store)(room->dkey + first, total);
    moment = S_(fnma)(lane, total, moment);
    partial[2] -= S_(dsum)(S_(dadd)(S_(dlo)(moment), S_(dhi)(moment)));
}

S_(fn) void S_(wave_near_slopes)(const wcohi_wave_task *task, int first, int rows)
{ S_(wave_slopes_some)(0, task->wave, &task->room, first, rows, task->partial); }

S_(fn) void S_(wave_slopes_heard)(const wcohi_wave_task *task, int first, int rows)
{ S_(wave_slopes_some)(1, task->wave, &task->room, first, rows, task->partial); }

/* columns: v transposed; sums: gradient of v transposed, added to */
S_(fn) void S_(wave_near_backward)(const wcohi_wave_task *task, const wcoh_real *dout,
                                   size_t stride, int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    wcoh_real gain = (wcoh_real)task->wave->gain;
    int width = task->call->width, first, q;
    S_(v) moment = S_(zero)();
    for (first = 0; first < rows; first += S_(W)) {
        const wcoh_real *g = dout + (size_t)first * stride;
        S_(wave_dot)(room->product, room->columns + first, (size_t)span, rows - first, g,
                     stride, width);
        if (task->listens) S_(wave_slopes_heard)(task, first, rows);
        else S_(wave_near_slopes)(task, first, rows);
        S_(wave_mix)(room->sums + first, (size_t)span, room->weight, rows - first, g, stride,
                width);
    }
    for (q = 0; q < rows; q++)
        room->dphi[q] = -gain * S_(sum)(S_(load)(room->torque + (size_t)q * S_(W)));
    for (; q < span; q++) room->dphi[q] = room->dpsi[q] = 0;
    for (q = 0; q < span; q += S_(W)) { /* what the carrier gains: sum q dphi + sum k dpsi */
        S_(v) both = S_(add)(S_(load)(room->dphi + q), S_(load)(room->dpsi + q));
        moment = S_(fma)(both, S_(load)(task->wave->place + q), moment);
    }
    task->partial[1] += S_(dsum)(S_(dadd)(S_(dlo)(moment), S_(dhi)(moment)));
}
#endif

/* ======== 3 ops: coherence attention, states ================================================== */

/* ---- far pairs, in double -------------------------------------------------------------------- */

/* out [m,n] (ldo) = or += A [m,k] B [k,n] (ldb), A(i,l) = a[i*row + l*step]; n in whole vectors.
   Tiles of 4 rows by 2 vectors, 8 rows by 1, 4 by 1 and single ones; `rows` is a constant where this
   is inlined. */
#define WCOHI_TILE_OPEN(i) S_(dv) sum##i = rows > i && add ? S_(dload)(out + i * ldo) : S_(dzero)();
#define WCOHI_TILE_STEP(i) if (rows > i) sum##i = S_(dfma)(S_(dset)(a[i * row]), x, sum##i);
#define WCOHI_TILE_SHUT(i) if (rows > i) S_(dstore)(out + i * ldo, sum##i);
S_(inline) void S_(wave_tile)(int rows, double *out, size_t ldo, const double *a, size_t row,
                              size_t step, const double *b, size_t ldb, int k, int add)
{
    int l;
    WCOHI_TILE_OPEN(0) WCOHI_TILE_OPEN(1) WCOHI_TILE_OPEN(2) WCOHI_TILE_OPEN(3)
    WCOHI_TILE_OPEN(4) WCOHI_TILE_OPEN(5) WCOHI_TILE_OPEN(6) WCOHI_TILE_OPEN(7)
    for (l = 0; l < k; l++, a += step, b += ldb) {
        S_(dv) x = S_(dload)(b);
        WCOHI_TILE_STEP(0) WCOHI_TILE_STEP(1) WCOHI_TILE_STEP(2) WCOHI_TILE_STEP(3)
        WCOHI_TILE_STEP(4) WCOHI_TILE_STEP(5) WCOHI_TILE_STEP(6) WCOHI_TILE_STEP(7)
    }
    WCOHI_TILE_SHUT(0) WCOHI_TILE_SHUT(1) WCOHI_TILE_SHUT(2) WCOHI_TILE_SHUT(3)
    WCOHI_TILE_SHUT(4) WCOHI_TILE_SHUT(5) WCOHI_TILE_SHUT(6) WCOHI_TILE_SHUT(7)
}

#define WCOHI_TILE42_OPEN(i)                                                                       \
    S_(dv) sum##i = add ? S_(dload)(out + i * ldo) : S_(dzero)();                                  \
    S_(dv) more##i = add ? S_(dload)(out + i * ldo + S_(DW)) : S_(dzero)();
#define WCOHI_TILE42_STEP(i)                                                                       \
    f = S_(dset)(a[i * row]);                                                                      \
    sum##i = S_(dfma)(f, x, sum##i);                                                               \
    more##i = S_(dfma)(f, y, more##i);
#define WCOHI_TILE42_SHUT(i)                                                                       \
    S_(dstore)(out + i * ldo, sum##i);                                                             \
    S_(dstore)(out + i * ldo + S_(DW), more##i);
S_(inline) void S_(wave_tile42)(double *out, size_t ldo, const double *a, size_t row, size_t step,
                                const double *b, size_t ldb, int k, int add)
{
    int l;
    WCOHI_TILE42_OPEN(0) WCOHI_TILE42_OPEN(1) WCOHI_TILE42_OPEN(2) WCOHI_TILE42_OPEN(3)
    for (l = 0; l < k; l++, a += step, b += ldb) {
        S_(dv) x = S_(dload)(b), y = S_(dload)(b + S_(DW)), f;
        WCOHI_TILE42_STEP(0)
        WCOHI_TILE42_STEP(1)
        WCOHI_TILE42_STEP(2)
        WCOHI_TILE42_STEP(3)
    }
    WCOHI_TILE42_SHUT(0) WCOHI_TILE42_SHUT(1) WCOHI_TILE42_SHUT(2) WCOHI_TILE42_SHUT(3)
}

S_(fn) void S_(wave_product)(double *out, size_t ldo, const double *a, size_t row,
                             size_t step, const double *b, size_t ldb, int m, int n, int k,
                             int add)
{
    int i = 0, j;
    for (; n == S_(DW) && i + 8 <= m; i += 8, out += 8 * ldo, a += 8 * row)
        S_(wave_tile)(8, out, ldo, a, row, step, b, ldb, k, add);
    for (; i + 4 <= m; i += 4, out += 4 * ldo, a += 4 * row) {
        for (j = 0; j + 2 * S_(DW) <= n; j += 2 * S_(DW))
            S_(wave_tile42)(out + j, ldo, a, row, step, b + j, ldb, k, add);
        for (; j < n; j += S_(DW))
            S_(wave_tile)(4, out + j, ldo, a, row, step, b + j, ldb, k, add);
    }
    for (; i < m; i++, out += ldo, a += row)
        for (j = 0; j < n; j += S_(DW))
            S_(wave_tile)(1, out + j, ldo, a, row, step, b + j, ldb, k, add);
}

/* y [n] = factor x [n]; returns the inner product of x and y where they are different things. */
S_(fn) void S_(wave_scale)(double *y, const double *x, double factor, size_t count)
{
    size_t i = 0;
    for (; i + S_(DW) <= count; i += S_(DW))
        S_(dstore)(y + i, S_(dmul)(S_(dset)(factor), S_(dload)(x + i)));
    for (; i < count; i++) y[i] = factor * x[i];
}

#ifndef WAVECOH_NO_TRAINING
S_(fn) double S_(wave_inner_double)(const double *x, const double *y, size_t count)
{
    S_(dv) sum = S_(dzero)();
    double rest = 0;
    size_t i = 0;
    for (; i + S_(DW) <= count; i += S_(DW))
        sum = S_(dfma)(S_(dload)(x + i), S_(dload)(y + i), sum);
    for (; i < count; i++) rest += x[i] * y[i];
    return S_(dsum)(sum) + rest;
}
#endif

/* rows j of y [count,pitch] = or += coefficient[j] times rows of x */
S_(fn) void S_(wave_weigh)(double *y, const double *x, const double *coefficient, int count,
                           size_t pitch, int add)
{
    size_t e;
    int j;
    for (j = 0; j < count; j++, x += pitch, y += pitch)
        for (e = 0; e < pitch; e += S_(DW)) {
            S_(dv) old = add ? S_(dload)(y + e) : S_(dzero)();
            S_(dstore)(y + e, S_(dfma)(S_(dset)(coefficient[j]), S_(dload)(x + e), old));
        }
}

/* Unit phasors of a chunk in double, turned into the frame of the states: made of length one by a
   Newton step, times e^{i omega i} of the table times e^{i frame}. ur, us -> fr, fs [span] */
S_(inline) void S_(wave_frame_half)(double *fr, double *fs, S_(dv) r, S_(dv) s, S_(dv) c,
                                    S_(dv) d, double frame_c, double frame_s)
{
    S_(dv) m2 = S_(dfma)(r, r, S_(dmul)(s, s)), x, y;
    S_(dv) fix = S_(dfnma)(S_(dset)(0.5), m2, S_(dset)(1.5));
    r = S_(dmul)(r, fix);
    s = S_(dmul)(s, fix);
    x = S_(dfnma)(d, S_(dset)(frame_s), S_(dmul)(c, S_(dset)(frame_c)));
    y = S_(dfma)(d, S_(dset)(frame_c), S_(dmul)(c, S_(dset)(frame_s)));
    S_(dstore)(fr, S_(dfnma)(s, y, S_(dmul)(r, x)));
    S_(dstore)(fs, S_(dfma)(r, y, S_(dmul)(s, x)));
}

S_(fn) void S_(wave_frame)(const wcohi_wave_room *room, const wcoh_real *ur,
                           const wcoh_real *us, const wcohi_wave *wave,
                           const double frame[2], int span)
{
    double c = frame[0], d = frame[1];
    const double *tc = wave->turn_c, *ts = wave->turn_s;
    int i;
    for (i = 0; i < span; i += S_(W)) {
        S_(v) r = S_(load)(ur + i), s = S_(load)(us + i);
        int next = i + S_(DW);
        S_(wave_frame_half)(room->fr + i, room->fs + i, S_(dlo)(r), S_(dlo)(s),
                            S_(dload)(tc + i), S_(dload)(ts + i), c, d);
        if (S_(W) > S_(DW))
            S_(wave_frame_half)(room->fr + next, room->fs + next, S_(dhi)(r), S_(dhi)(s),
                                S_(dload)(tc + next), S_(dload)(ts + next), c, d);
    }
}

/* features [count,span]: 1, cos, sin, cos 2., sin 2., .. of the angle of (fr, fs), 0 */
S_(fn) void S_(wave_features)(double *features, const wcohi_wave_room *room, int order,
                              int span)
{
    int i, m;
    for (i = 0; i < span; i += S_(DW)) {
        S_(dv) r = S_(dload)(room->fr + i), s = S_(dload)(room->fs + i), c = r, d = s, next;
        double *f = features + i;
        S_(dstore)(f, S_(dset)(1));
        for (m = 1; m <= order; m++) {
            f += span;
            S_(dstore)(f, c);
            f += span;
            S_(dstore)(f, d);
            next = S_(dfnma)(d, s, S_(dmul)(c, r));
            d = S_(dfma)(c, s, S_(dmul)(d, r));
            c = next;
        }
        for (m = 2 * order + 1; m < WCOHI_WAVE_COUNT(order); m++) {
            f += span;
            S_(dstore)(f, S_(dzero)());
        }
    }
}

#ifndef WAVECOH_NO_TRAINING
/* Adjoint of the features: with y_j [J,span] their gradients over c_j, per row
   t = sum_m m c_m (-sin y_cos + cos y_sin), w = sum_j c_j F_j y_j; returns sum slope_j F_j y_j over
   rows and j. t and w replace fr and fs. coefficient, slope NULL: 1 and 0. */
S_(fn) double S_(wave_torque)(const wcohi_wave_room *room, const double *y,
                              const double *coefficient, const double *slope, int order,
                              int span)
{
    S_(dv) total = S_(dzero)();
    double lanes[S_(DW)], result = 0;
    int i, m;
    for (i = 0; i < span; i += S_(DW)) {
        S_(dv) r = S_(dload)(room->fr + i), s = S_(dload)(room->fs + i), c = r, d = s, next;
        const double *f = y + i;
        S_(dv) w = S_(dload)(f), t = S_(dzero)();
        total = S_(dfma)(S_(dset)(slope ? slope[0] : 0), w, total);
        w = S_(dmul)(S_(dset)(coefficient ? coefficient[0] : 1), w);
        for (m = 1; m <= order; m++) {
            S_(dv) yc = S_(dload)(f + span), ys = S_(dload)(f + 2 * span);
            S_(dv) along = S_(dfma)(c, yc, S_(dmul)(d, ys));
            S_(dv) across = S_(dfnma)(d, yc, S_(dmul)(c, ys));
            double factor = coefficient ? coefficient[2 * m] : 1;
            f += 2 * span;
            t = S_(dfma)(S_(dset)(m * factor), across, t);
            w = S_(dfma)(S_(dset)(factor), along, w);
            total = S_(dfma)(S_(dset)(slope ? slope[2 * m] : 0), along, total);
            next = S_(dfnma)(d, s, S_(dmul)(c, r));
            d = S_(dfma)(c, s, S_(dmul)(d, r));
            c = next;
        }
        S_(dstore)(room->fr + i, t);
        S_(dstore)(room->fs + i, w);
    }
    S_(dstore)(lanes, total);
    for (i = 0; i < S_(DW); i++) result += lanes[i];
    return result;
}
#endif

/* Widening: packed rows [rows,E8] times scale[row] -> double; columns [E,span] times scale[lane] ->
   double, and double columns times scale[lane] added to columns of reals. */
S_(fn) void S_(wave_widen_rows)(double *to, size_t pitch, const wcoh_real *x,
                                const double *scale, int rows)
{
    int row, e, half = pitch == S_(DW) && S_(DW) < S_(W);
    for (row = 0; half && row < rows; row += 2, x += S_(W), to += S_(W)) {
        S_(v) v = S_(load)(x); /* two rows */
        S_(dstore)(to, S_(dmul)(S_(dset)(scale[row]), S_(dlo)(v)));
        S_(dstore)(to + S_(DW), S_(dmul)(S_(dset)(scale[row + 1]), S_(dhi)(v)));
    }
    for (; row < rows; row++, x += pitch, to += pitch) {
        S_(dv) factor = S_(dset)(scale[row]);
        for (e = 0; e < (int)pitch; e += S_(W)) {
            S_(v) v = WCOHI_LOAD(x + e, WCOHI_LANES((int)pitch, e));
            S_(dstore)(to + e, S_(dmul)(factor, S_(dlo)(v)));
            if (S_(W) > S_(DW) && e + S_(DW) < (int)pitch)
                S_(dstore)(to + e + S_(DW), S_(dmul)(factor, S_(dhi)(v)));
        }
    }
}

#ifndef WAVECOH_NO_TRAINING
S_(fn) void S_(wave_widen_columns)(double *to, const wcoh_real *x, const double *scale,
                                   int width, int span)
{
    int e, i;
    for (e = 0; e < width; e++, x += span, to += span)
        for (i = 0; i < span; i += S_(W)) {
            S_(v) v = S_(load)(x + i);
            S_(dstore)(to + i, S_(dmul)(S_(dload)(scale + i), S_(dlo)(v)));
            if (S_(W) > S_(DW))
                S_(dstore)(to + i + S_(DW),
                           S_(dmul)(S_(dload)(scale + i + S_(DW)), S_(dhi)(v)));
        }
}
#endif

S_(fn) void S_(wave_narrow_columns)(wcoh_real *to, const double *x, const double *scale,
                                    int width, int span)
{
    int e, i;
    for (e = 0; e < width; e++, x += span, to += span)
        for (i = 0; i < span; i += S_(W)) {
            S_(dv) lo = S_(dmul)(S_(dload)(scale + i), S_(dload)(x + i)), hi = S_(dzero)();
            if (S_(W) > S_(DW))
                hi = S_(dmul)(S_(dload)(scale + i + S_(DW)), S_(dload)(x + i + S_(DW)));
            S_(store)(to + i, S_(add)(S_(load)(to + i), S_(dnarrow)(lo, hi)));
        }
}

/* sums[j] += factor[j] * (features[j] . x), features [J,span], x [span] */
S_(fn) void S_(wave_dots)(double *sums, const double *features, const double *x,
                          const double *factor, int count, int span)
{
    int i, j;
    for (j = 0; j < count; j++, features += span) {
        S_(dv) dot = S_(dzero)();
        for (i = 0; i < span; i += S_(DW))
            dot = S_(dfma)(S_(dload)(features + i), S_(dload)(x + i), dot);
        sums[j] += (factor ? factor[j] : 1) * S_(dsum)(dot);
    }
}

/* ---- the states ------------------------------------------------------------------------------ */

/* to [span] = e^{sign (depths - from)}, in the precision of reals */
S_(fn) void S_(wave_powers)(double *to, const double *depths, double from, int sign, int span)
{
    int i;
    for (i = 0; i < span; i += S_(W)) {
        S_(v) depth = S_(mul)(S_(set)((wcoh_real)sign), S_(wave_depths)(depths, i, from));
        S_(v) power = S_(wave_weight)(depth);
        S_(dstore)(to + i, S_(dlo)(power));
        if (S_(W) > S_(DW)) S_(dstore)(to + i + S_(DW), S_(dhi)(power));
    }
}

/* [span] what the states before a chunk are worth to its queries */
S_(fn) const double *S_(wave_reach)(const wcohi_wave_task *task, int span)
{
    if (!task->listens) return task->wave->decay;
    S_(wave_powers)(task->room.reach, task->room.depth, 0, -1, span);
    return task->room.reach;
}

/* Far forward of a chunk: sums and denominator = what the states before it give. room->query holds
   the features. */
S_(fn) void S_(wave_read)(const wcohi_wave_task *task, const double *state,
                          const double frame[2],
                          int span)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    int width = task->call->width, count = 2 * wave->order + 1, j;
    size_t pitch = wcohi_wave_pitch(width);
    double *z = room->scaled + WCOHI_DENOMINATORS, *numerators = room->across;
    const double *from = state + WCOHI_DENOMINATORS, *reach = S_(wave_reach)(task, span);
    for (j = 0; j < count; j++) room->scaled[j] = wave->coefficient[j] * state[j];
    S_(wave_weigh)(z, from, wave->coefficient, count, pitch, 0);
    S_(wave_frame)(room, room->ur, room->us, wave, frame, span);
    S_(wave_features)(room->query, room, wave->order, span);
    S_(wave_product)(numerators, (size_t)span, z, 1, pitch, room->query, (size_t)span, width,
                     span, count, 0);
    S_(wave_narrow_columns)(room->sums, numerators, reach, width, span);
    S_(wave_product)(numerators, (size_t)span, room->scaled, 1, 1, room->query, (size_t)span,
                     1, span, count, 0);
    S_(wave_narrow_columns)(room->denominator, numerators, reach, 1, span);
}

/* ages[i] = e^{-lambda (rows - i)}, 0 behind the last row; listening: e^lift from the last row on */
S_(fn) void S_(wave_ages)(double *ages, const wcohi_wave_task *task, int rows, int span)
{
    const double *decay = task->wave->decay;
    int i;
    if (!task->listens) {
        for (i = 0; i < span; i++) ages[i] = i < rows ? decay[rows - i] : 0;
        return;
    }
    S_(wave_powers)(ages, task->room.lift, task->room.depth[rows - 1], 1, span);
    for (i = rows; i < span; i++) ages[i] = 0;
}

/* The states move past a chunk: Z = e^{-lambda rows} Z + sum age_k F_k (v_k, 1); v packed */
S_(fn) void S_(wave_advance)(const wcohi_wave_task *task, double *state, const double *from,
                             const double frame[2], int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    int count = 2 * wave->order + 1;
    size_t pitch = wcohi_wave_pitch(task->call->width);
    double *z = state + WCOHI_DENOMINATORS, *ages = room->across;
    double keep = wcohi_wave_keep(task, rows);
    S_(wave_frame)(room, room->wr, room->ws, wave, frame, span);
    S_(wave_features)(room->key, room, wave->order, span);
    S_(wave_ages)(ages, task, rows, span);
    S_(wave_widen_rows)(room->rows, pitch, room->packed, ages, rows);
    S_(wave_scale)(state, from, keep, (size_t)count);
    S_(wave_scale)(z, from + WCOHI_DENOMINATORS, keep, (size_t)count * pitch);
    S_(wave_product)(z, pitch, room->key, (size_t)span, 1, room->rows, pitch,
                     WCOHI_WAVE_COUNT(wave->order), (int)pitch, rows, 1);
    S_(wave_dots)(state, room->key, ages, NULL, count, span);
}

#ifndef WAVECOH_NO_TRAINING
/* Far backward of the queries of a chunk: with g = e^{-lambda i} (dout, -delta)/D per row and the
   states Z before the chunk, dphi += torque of c_j Z_j.g; adjoint states R += c_j sum F_qj g_q. */
S_(fn) void S_(wave_far_queries)(const wcohi_wave_task *task, const double *state,
                                 const double frame[2], int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    const wcohi_coherence *call = task->call;
    int width = call->width, count = 2 * wave->order + 1, i;
    int full = WCOHI_WAVE_COUNT(wave->order);
    size_t pitch = wcohi_wave_pitch(width);
    const double *z = state + WCOHI_DENOMINATORS;
    double *last = room->across + (size_t)width * (size_t)span, *r = room->adjoint;
    double *scale = room->scaled; /* [span] here */
    double *sums = r + WCOHI_DENOMINATORS, *y = room->image;
    const double *reach = S_(wave_reach)(task, span);
    S_(wave_frame)(room, room->ur, room->us, wave, frame, span);
    S_(wave_features)(room->query, room, wave->order, span);
    for (i = 0; i < span; i++) {
        scale[i] = i < rows ? reach[i] * (double)room->inverse[i] : 0;
        last[i] = i < rows ? -scale[i] * (double)room->delta[i] : 0;
    }
    S_(wave_columns)(room->columns, room->packed, pitch, rows, span, width);
    S_(wave_widen_columns)(room->across, room->columns, scale, width, span);
    S_(wave_widen_rows)(room->rows, pitch, room->packed, scale, rows);
    S_(wave_product)(y, (size_t)span, z, pitch, 1, room->across, (size_t)span, full, span,
                     width, 0);
    S_(wave_product)(y, (size_t)span, state, 1, 1, last, (size_t)span, count, span, 1, 1);
    task->partial[0] +=
        S_(wave_torque)(room, y, wave->coefficient, wave->slope, wave->order, span);
    for (i = 0; i < rows; i++) {
        room->dphi[i] += (wcoh_real)room->fr[i];
        task->partial[1] += i * room->fr[i];
        task->partial[2] -= i * room->fs[i];
    }
    S_(wave_product)(room->image, pitch, room->query, (size_t)span, 1, room->rows, pitch,
                     full, (int)pitch, rows, 0);
    S_(wave_weigh)(sums, room->image, wave->coefficient, count, pitch, 1);
    S_(wave_dots)(r, room->query, last, wave->coefficient, count, span);
}

/* Far backward of the keys of a chunk against the adjoint states R behind it: with x = R.(v, 1) by
   age, dpsi += torque of x, dv += age F.R. room->columns holds v transposed, sums dv. */
S_(fn) void S_(wave_far_keys)(const wcohi_wave_task *task, const double frame[2], int rows,
                              int span)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    int width = task->call->width, count = 2 * wave->order + 1, i;
    int full = WCOHI_WAVE_COUNT(wave->order);
    size_t pitch = wcohi_wave_pitch(width);
    const double *r = room->adjoint, *sums = r + WCOHI_DENOMINATORS;
    double *ages = room->scaled;
    S_(wave_frame)(room, room->wr, room->ws, wave, frame, span);
    S_(wave_features)(room->key, room, wave->order, span);
    S_(wave_ages)(ages, task, rows, span);
    S_(wave_product)(room->across, (size_t)span, sums, 1, pitch, room->key, (size_t)span,
                     width, span, count, 0);
    S_(wave_narrow_columns)(room->sums, room->across, ages, width, span);
    S_(wave_widen_columns)(room->across, room->columns, ages, width, span);
    S_(wave_product)(room->image, (size_t)span, sums, pitch, 1, room->across, (size_t)span,
                     full, span, width, 0);
    S_(wave_product)(room->image, (size_t)span, r, 1, 1, ages, (size_t)span, count, span, 1,
                     1);
    (void)S_(wave_torque)(room, room->image, NULL, NULL, wave->order, span);
    for (i = 0; i < rows; i++) {
        room->dpsi[i] += (wcoh_real)room->fr[i];
        task->partial[1] -= (rows - i) * room->fr[i];
        task->partial[2] -= (rows - i) * room->fs[i];
        if (task->listens) room->dkey[i] += (wcoh_real)room->fs[i];
    }
}

/* What passes over a whole chunk: R = e^{-lambda rows} R, and the share of omega and lambda in it,
   rows times the torque and the product of R and Z. */
S_(fn) void S_(wave_pass)(const wcohi_wave_task *task, const double *state, int rows)
{
    const wcohi_wave *wave = task->wave;
    size_t pitch = wcohi_wave_pitch(task->call->width), at, count;
    double *r = task->room.adjoint, *sums = r + WCOHI_DENOMINATORS, torque = 0, product;
    const double *z = state + WCOHI_DENOMINATORS;
    double keep = wcohi_wave_keep(task, rows);
    int m;
    count = 2 * (size_t)wave->order + 1;
    S_(wave_scale)(r, r, keep, count);
    S_(wave_scale)(sums, sums, keep, count * pitch);
    product = S_(wave_inner_double)(r, state, count);
    product += S_(wave_inner_double)(sums, z, count * pitch);
    for (m = 1; m <= wave->order; m++) {
        double across = r[2 * m - 1] * state[2 * m] - r[2 * m] * state[2 * m - 1];
        at = (size_t)(2 * m - 1) * pitch;
        across += S_(wave_inner_double)(sums + at, z + at + pitch, pitch);
        across -= S_(wave_inner_double)(sums + at + pitch, z + at, pitch);
        torque += m * across;
    }
    task->partial[1] += rows * torque;
    task->partial[2] -= rows * product;
}
#endif

/* ---- one head of one sequence ---------------------------------------------------------------- */

/* state, frame: as they stand before the stretch; they move past it. known: the state is not
   empty */
WCOHI_KERNEL(wave_forward)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    const wcohi_coherence *call = task->call;
    int first, i;
    for (first = task->first; first < task->end; first += wave->chunk) {
        int rows = WCOHI_MIN(wave->chunk, task->end - first);
        int span = (int)wcohi_round_up((size_t)rows, 16);
        const wcoh_real *value = task->value + (size_t)first * call->value_stride;
        size_t stride = call->value_stride;
        if (wave->chunk < call->seq || call->state)
            value = S_(wave_pack)(room->packed, value, &stride, rows, call->width);
        memset(room->denominator, 0, (size_t)span * sizeof(wcoh_real));
        memset(room->sums, 0, (size_t)span * (size_t)call->width * sizeof(wcoh_real));
        S_(wave_phasors)(task, first, rows, span);
        if (known || first > task->first) S_(wave_read)(task, state, frame, span);
        S_(wave_near)(task, value, stride, rows, span);
        for (i = 0; i < rows; i++) room->inverse[i] = 1 / room->denominator[i];
        if (task->inverse)
            memcpy(task->inverse + first, room->inverse, (size_t)rows * sizeof(wcoh_real));
        S_(wave_rows)(task->out + (size_t)first * call->out_stride, call->out_stride,
                      room->sums, room->inverse, rows, span, call->width);
        if (call->state || first + rows < call->seq)
            S_(wave_advance)(task, state, state, frame, rows, span);
        wcohi_wave_turn_frame(frame, wave, rows);
    }
}

#ifndef WAVECOH_NO_TRAINING
/* the states before every chunk of the stretch again, into room->saved */
S_(fn) void S_(wave_replay)(const wcohi_wave_task *task)
{
    const wcohi_wave *wave = task->wave;
    const wcohi_coherence *call = task->call;
    size_t block = wcohi_wave_state(call->width);
    double *state = task->room.saved;
    int first, rows = wave->chunk, span = (int)wcohi_round_up((size_t)rows, 16);
    wcohi_wave_copy(task, state, task->saved);
    for (first = task->first; first + rows < task->end; first += rows, state += block) {
        double *frame = state + WCOHI_WAVE_FRAME, *next = state + block;
        S_(wave_keys)(task, first, rows, span);
        size_t stride = call->value_stride;
        S_(wave_pack)(task->room.packed, task->value + (size_t)first * stride, &stride, rows,
                      call->width);
        S_(wave_advance)(task, next, state, frame, rows, span);
        memcpy(next + WCOHI_WAVE_FRAME, frame, 2 * sizeof(double));
        wcohi_wave_turn_frame(next + WCOHI_WAVE_FRAME, wave, rows);
    }
}

S_(fn) void S_(wave_backward_chunk)(const wcohi_wave_task *task, int first, int rows)
{
    const wcohi_wave_room *room = &task->room;
    const wcohi_wave *wave = task->wave;
    const wcohi_coherence *call = task->call;
    int span = (int)wcohi_round_up((size_t)rows, 16);
    size_t at = (size_t)first, stride = call->dout_stride;
    const wcoh_real *dout = task->dout + at * call->dout_stride;
    const wcoh_real *out = task->out + at * call->out_stride;
    const double *state = room->saved, *frame;
    state += (size_t)((first - task->first) / wave->chunk) * wcohi_wave_state(call->width);
    frame = state + WCOHI_WAVE_FRAME;
    S_(wave_phasors)(task, first, rows, span);
    memcpy(room->inverse, task->inverse + first, (size_t)rows * sizeof(wcoh_real));
    S_(wave_inner)(room->delta, out, call->out_stride, dout, call->dout_stride, rows,
                   call->width);
    memset(room->sums, 0, (size_t)span * (size_t)call->width * sizeof(wcoh_real));
    S_(wave_columns)(room->columns, task->value + at * call->value_stride,
                       call->value_stride, rows, span, call->width);
    if (wave->chunk < call->seq)
        dout = S_(wave_pack)(room->packed, dout, &stride, rows, call->width);
    S_(wave_near_backward)(task, dout, stride, rows, span);
    if (first + rows < call->seq) S_(wave_far_keys)(task, frame, rows, span);
    S_(wave_rows)(task->dvalue + at * call->value_stride, call->value_stride, room->sums,
                    NULL, rows, span, call->width);
    if (first) {
        S_(wave_pass)(task, state, rows);
        S_(wave_far_queries)(task, state, frame, rows, span);
    }
}

/* dphi, dpsi of the chunk back to the raw phasors */
S_(fn) void S_(wave_raw_backward)(const wcohi_wave_task *task, int first, int rows)
{
    const wcohi_wave_room *room = &task->room;
    size_t stride = task->call->phasor_stride, at = (size_t)first * stride;
    int span = (int)wcohi_round_up((size_t)rows, 16), i;
    wcoh_real *query = task->dquery + at, *key = task->dkey + at;
    S_(wave_unit_backward)(room->qr, room->qs, room->dphi, task->wave->harmonic, span);
    S_(wave_unit_backward)(room->kr, room->ks, room->dpsi, task->wave->harmonic, span);
    if (query == key) { /* shared */
        for (i = 0; i < span; i += S_(W)) {
            WCOHI_BUMP(room->qr + i, S_(load)(room->kr + i));
            WCOHI_BUMP(room->qs + i, S_(load)(room->ks + i));
        }
    } else {
        S_(wave_scatter)(key, stride, room->kr, room->ks, rows, span, room->weight);
    }
    S_(wave_scatter)(query, stride, room->qr, room->qs, rows, span, room->weight);
}

/* dlambda_j = sum_{k >= j} s_k, back through softplus; from the last row of the chunk on */
S_(fn) void S_(wave_forget_backward)(const wcohi_wave_task *task, int first, int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    size_t stride = task->call->phasor_stride, at = (size_t)first * stride;
    S_(v) one = S_(set)((wcoh_real)1);
    double *later = &room->adjoint[WCOHI_WAVE_LATER];
    int i;
    S_(wave_column)(task, task->forget, first, rows, span);
    for (i = 0; i < span; i += S_(W)) {
        S_(v) below = S_(exp)(S_(neg)(S_(load)(room->raw + i)));
        S_(store)(room->heard + i, S_(div)(one, S_(add)(one, below)));
    }
    for (i = rows - 1; i >= 0; i--) {
        *later += (double)room->dkey[i];
        task->dforget[at + (size_t)i * stride] = (wcoh_real)*later * room->heard[i];
    }
}

/* db_k = s_k, back through 8 tanh(./8) */
S_(fn) void S_(wave_loud_backward)(const wcohi_wave_task *task, int first, int rows, int span)
{
    const wcohi_wave_room *room = &task->room;
    size_t stride = task->call->phasor_stride, at = (size_t)first * stride;
    S_(v) one = S_(set)((wcoh_real)1), scale = S_(set)((wcoh_real)WCOHI_WAVE_LOUDEST);
    int i;
    S_(wave_column)(task, task->loud, first, rows, span);
    for (i = 0; i < span; i += S_(W)) {
        S_(v) y = S_(tanh)(S_(div)(S_(load)(room->raw + i), scale));
        S_(store)(room->heard + i, S_(fnma)(y, y, one));
    }
    for (i = 0; i < rows; i++)
        task->dloud[at + (size_t)i * stride] = room->dkey[i] * room->heard[i];
}

S_(fn) void S_(wave_backward_rows)(const wcohi_wave_task *task, int first, int rows)
{
    int span = (int)wcohi_round_up((size_t)rows, 16);
    S_(wave_backward_chunk)(task, first, rows);
    S_(wave_raw_backward)(task, first, rows);
    if (task->forget) S_(wave_forget_backward)(task, first, rows, span);
    if (task->loud) S_(wave_loud_backward)(task, first, rows, span);
}

/* the chunks of a stretch, last first; room->adjoint stands behind it and moves before it */
WCOHI_KERNEL(wave_backward)
{
    int chunk = task->wave->chunk, rows = task->end - task->first, first;
    if (chunk < task->call->seq) S_(wave_replay)(task);
    for (first = (rows - 1) / chunk * chunk; first >= 0; first -= chunk)
        S_(wave_backward_rows)(task, task->first + first, WCOHI_MIN(chunk, rows - first));
}
#endif

/* ---- one token of a session: all heads at once ----------------------------------------------- */

/* one row's phasors fr, fs [8], a lane a head -> features [2M+1,8] */
S_(fn) void S_(wave_step_features)(double *features, const double *fr, const double *fs,
                                   int order)
{
    int i, m;
    for (i = 0; i < WCOHI_STEP_HEADS; i += S_(DW)) {
        S_(dv) r = S_(dload)(fr + i), s = S_(dload)(fs + i), c = r, d = s, next;
        double *f = features + i;
        S_(dstore)(f, S_(dset)(1));
        for (m = 1; m <= order; m++, f += 2 * WCOHI_STEP_HEADS) {
            S_(dstore)(f + WCOHI_STEP_HEADS, c);
            S_(dstore)(f + 2 * WCOHI_STEP_HEADS, d);
            next = S_(dfnma)(d, s, S_(dmul)(c, r));
            d = S_(dfma)(c, s, S_(dmul)(d, r));
            c = next;
        }
    }
}

/* Z += F v, number = sum_j c_j G_j Z_j, Z *= decay in one pass; Z [count,pitch], v [pitch];
   f, g: features of key and query, WCOHI_STEP_HEADS apart */
S_(fn) void S_(wave_step_states)(double *z, const double *v, double *number, const double *f,
                                 const double *cg, double decay, int count, int pitch)
{
    S_(dv) keep = S_(dset)(decay);
    int j, e;
    for (e = 0; e < pitch; e += S_(DW)) {
        S_(dv) x = S_(dload)(v + e), a = S_(dzero)(), b = a, c = a, sum = a;
        double *row = z + e;
        for (j = 0; j < count; j++, row += pitch) {
            S_(dv) now = S_(dfma)(S_(dset)(f[j * WCOHI_STEP_HEADS]), x, S_(dload)(row));
            S_(dv) next = S_(dfma)(S_(dset)(cg[j]), now, a);
            S_(dstore)(row, S_(dmul)(keep, now));
            a = b; /* four sums in turn */
            b = c;
            c = sum;
            sum = next;
        }
        S_(dstore)(number + e, S_(dadd)(S_(dadd)(a, b), S_(dadd)(c, sum)));
    }
}

/* Before a row is heard, where rows listen: the states fade by its own damping, e^{-softplus x} =
   1 / (1 + e^x), or by the head's; its features f are as loud as it says. */
S_(fn)
void S_(wave_step_listen)(const wcohi_coherence *call, int head, double *state, double *f,
                          double decay, int count, int pitch)
{
    const wcoh_real *raw = call->phasor + head;
    double *z = state + WCOHI_DENOMINATORS, loud;
    int j;
    if (call->forget_column) decay = 1 / (1 + exp((double)raw[call->forget_column]));
    S_(wave_scale)(state, state, decay, (size_t)count);
    S_(wave_scale)(z, z, decay, (size_t)count * (size_t)pitch);
    if (!call->loud_column) return;
    loud = exp(WCOHI_WAVE_LOUDEST * tanh((double)raw[call->loud_column] / WCOHI_WAVE_LOUDEST));
    for (j = 0; j < count; j++) f[j * WCOHI_STEP_HEADS] *= loud;
}

S_(fn) void S_(wave_step_head)(const wcohi_coherence *call, int head, int lane,
                               const wcohi_wave_memory *memory, const wcohi_wave_room *room)
{
    int count = 2 * (int)memory->header[WCOHI_WAVE_ORDER] + 1, width = call->width, j, e;
    int pitch = (int)wcohi_wave_pitch(width);
    double decay = memory->header[WCOHI_WAVE_DECAY], inverse, sum[4] = {0, 0, 0, 0}, frame[2];
    double *z = memory->state, *cg = room->scaled;
    const double *f = room->key + lane, *g = room->query + lane, *c = memory->coefficient;
    wcoh_real *out = call->out + (size_t)head * (size_t)width;
    const wcoh_real *value = call->value + (size_t)head * (size_t)width;
    if (call->forget_column || call->loud_column) {
        S_(wave_step_listen)(call, head, z, room->key + lane, decay, count, pitch);
        decay = 1;
    }
    for (j = 0; j < count; j++, f += WCOHI_STEP_HEADS, g += WCOHI_STEP_HEADS) {
        double now = z[j] + *f, next = sum[0];
        cg[j] = c[j] * *g;
        z[j] = decay * now;
        sum[0] = sum[1], sum[1] = sum[2], sum[2] = sum[3];
        sum[3] = next + cg[j] * now;
    }
    for (e = 0; e < width; e++) room->rows[e] = (double)value[e];
    for (; e < pitch; e++) room->rows[e] = 0;
    S_(wave_step_states)(z + WCOHI_DENOMINATORS, room->rows, room->across, room->key + lane,
                         cg, decay, count, pitch);
    inverse = 1 / (sum[0] + sum[1] + (sum[2] + sum[3]));
    for (e = 0; e < width; e++) out[e] = (wcoh_real)(room->across[e] * inverse);
    wcohi_wave_step_phasor(frame, frame + 1, memory->header[WCOHI_WAVE_TURN_COS],
                           memory->header[WCOHI_WAVE_TURN_SIN], memory->header);
    memcpy(memory->header, frame, sizeof frame);
}

/* heads first .. first + 7 of the one row */
WCOHI_KERNEL(wave_step)
{
    wcohi_wave_memory memory[WCOHI_STEP_HEADS];
    double query[2][WCOHI_STEP_HEADS], key[2][WCOHI_STEP_HEADS];
    int heads = WCOHI_MIN(WCOHI_STEP_HEADS, call->heads - first), order = 0, i;
    const wcoh_real *raw = call->phasor + 2 * first;
    memset(query, 0, sizeof query);
    memset(key, 0, sizeof key);
    S_(wave_gather)(room->qr, room->qs, raw, 2, heads, 16, room->weight);
    S_(wave_gather)(room->kr, room->ks, raw + call->key_column, 2, heads, 16, room->weight);
    S_(wave_unit)(room->ur, room->us, room->qr, room->qs, 16);
    S_(wave_unit)(room->wr, room->ws, room->kr, room->ks, 16);
    for (i = 0; i < heads; i++) {
        const double *header;
        memory[i] = wcohi_wave_open(call, first + i);
        header = memory[i].header;
        order = WCOHI_MAX(order, (int)header[WCOHI_WAVE_ORDER]);
        if (call->harmonic) {
            double n = call->harmonic[first + i];
            wcohi_wave_harmonic(room->ur + i, room->us + i, room->qr + i, room->qs + i, n, 1);
            wcohi_wave_harmonic(room->wr + i, room->ws + i, room->kr + i, room->ks + i, n, 1);
        }
        wcohi_wave_step_phasor(&query[0][i], &query[1][i], (double)room->ur[i],
                               (double)room->us[i], header);
        wcohi_wave_step_phasor(&key[0][i], &key[1][i], (double)room->wr[i],
                               (double)room->ws[i], header);
    }
    S_(wave_step_features)(room->query, query[0], query[1], order);
    S_(wave_step_features)(room->key, key[0], key[1], order);
    for (i = 0; i < heads; i++) S_(wave_step_head)(call, first + i, i, &memory[i], room);
}

static const wcohi_wave_kernels S_(wave_kernels) = {S_(wave_forward),
                                                    S_(wave_step) WCOHI_BACK(S_(wave_backward))};

#endif
#ifndef WCOHI_PASS

/* ---- a layer of coherence attention ---------------------------------------------------------- */

/* A layer's call as its jobs see it. */
typedef struct wcohi_wave_layer {
    const wcohi_coherence *call;
    const wcohi_wave_kernels *kernels;
    wcohi_wave *wave;  /* [H] */
    double *partial;   /* [B*H,3] */
    double *states;    /* [B*H] what each head carries from stretch to stretch; NULL: one stretch */
    unsigned char *slots;
    size_t slot_bytes;
    int first, end;    /* the stretch */
} wcohi_wave_layer;

static void wcohi_wave_layer_take(wcohi_arena *arena, wcohi_wave_layer *layer,
                                  const wcohi_coherence *call)
{
    size_t jobs = wcohi_mul((size_t)call->batch, (size_t)call->heads);
    size_t block = call->seq > WCOHI_STRETCH ? wcohi_wave_state(call->width) : 0;
    int head;
    memset(layer, 0, sizeof *layer);
    layer->call = call;
    layer->wave = WCOHI_TAKE(arena, call->heads, wcohi_wave);
    layer->partial = WCOHI_TAKE(arena, wcohi_mul(3, jobs), double);
    layer->states = WCOHI_TAKE(arena, wcohi_mul(jobs, block), double);
    if (!block) layer->states = NULL;
    for (head = 0; head < call->heads; head++)
        wcohi_wave_take(arena, layer->wave ? layer->wave + head : NULL,
                        WCOHI_MIN(call->seq, WCOHI_CHUNK_MAX));
    layer->slot_bytes = wcohi_wave_room_bytes(call->seq, call->width);
    layer->slots = (unsigned char *)wcohi_take(arena, 0, 1);
}

/* Bytes of scratch for all calls of this shape, forward, backward, session, on `slots` jobs. */
static size_t wcohi_coherence_scratch_bytes(int batch, int seq, int heads, int width, int slots)
{
    wcohi_coherence call;
    wcohi_wave_layer layer;
    wcohi_arena arena;
    memset(&call, 0, sizeof call);
    memset(&arena, 0, sizeof arena);
    call.batch = batch, call.seq = seq, call.heads = heads, call.width = width;
    wcohi_wave_layer_take(&arena, &layer, &call);
    (void)wcohi_take(&arena, (size_t)slots, layer.slot_bytes);
    return wcohi_add(arena.used, WCOHI_ALIGN);
}

/* What a slot's job works on: head `index % H` of sequence `index / H`. */
static void wcohi_wave_task_make(wcohi_wave_task *task, const wcohi_wave_layer *layer, int index,
                                 int slot)
{
    const wcohi_coherence *call = layer->call;
    size_t head = (size_t)(index % call->heads), batch = (size_t)(index / call->heads);
    size_t row = batch * (size_t)call->seq, column = head * (size_t)call->width;
    size_t phasor = row * call->phasor_stride + 2 * head, block = wcohi_wave_state(call->width);
    wcohi_arena arena;
    memset(task, 0, sizeof *task);
    arena.base = layer->slots + (size_t)slot * layer->slot_bytes;
    arena.used = 0;
    wcohi_wave_room_take(&arena, &task->room, call->seq, call->width);
    task->wave = layer->wave + head;
    task->call = call;
    task->query = call->phasor + phasor;
    task->key = task->query + call->key_column;
    if (call->forget_column)
        task->forget = call->phasor + row * call->phasor_stride + call->forget_column + head;
    if (call->loud_column)
        task->loud = call->phasor + row * call->phasor_stride + call->loud_column + head;
    task->listens = task->forget || task->loud;
    task->value = call->value + row * call->value_stride + column;
    task->out = call->out + row * call->out_stride + column;
    task->first = layer->first;
    task->end = layer->end;
    if (layer->states) task->state = layer->states + (size_t)index * block;
    if (call->aux) task->inverse = call->aux + (size_t)index * (size_t)call->seq;
    if (call->aux && layer->first) {
        size_t later = (size_t)(call->seq - 1) / WCOHI_STRETCH;
        size_t state = (size_t)index * later + (size_t)layer->first / WCOHI_STRETCH - 1;
        wcoh_real *states = call->aux;
        states += wcohi_coherence_inverses(call->batch, call->seq, call->heads);
        task->saved = (double *)(void *)states + state * block;
    }
    if (call->dout) {
        task->dout = call->dout + row * call->dout_stride + column;
        task->dquery = call->dphasor + phasor;
        task->dkey = task->dquery + call->key_column;
        if (task->forget) task->dforget = call->dphasor + (task->forget - call->phasor);
        if (task->loud) task->dloud = call->dphasor + (task->loud - call->phasor);
        task->dvalue = call->dvalue + row * call->value_stride + column;
        task->partial = layer->partial + 3 * (size_t)index;
    }
}

static void wcohi_wave_forward_job(int index, int slot, void *user)
{
    const wcohi_wave_layer *layer = (const wcohi_wave_layer *)user;
    const wcohi_coherence *call = layer->call;
    wcohi_wave_task task;
    double *state;
    wcohi_wave_task_make(&task, layer, index, slot);
    if (call->state) {
        size_t at = (size_t)index * wcohi_wave_session(call->width);
        int known = layer->first || call->state[at + WCOHI_WAVE_USED] > 0;
        wcohi_wave_memory memory = wcohi_wave_open(call, index);
        task.state = memory.state;
        layer->kernels->forward(&task, memory.state, memory.header, known);
        return;
    }
    state = task.state ? task.state : task.room.state;
    if (!layer->first) wcohi_wave_copy(&task, state, NULL);
    else if (task.saved) wcohi_wave_copy(&task, task.saved, state);
    layer->kernels->forward(&task, state, state + WCOHI_WAVE_FRAME, layer->first > 0);
}

static void wcohi_wave_step_job(int index, int slot, void *user)
{
    const wcohi_wave_layer *layer = (const wcohi_wave_layer *)user;
    wcohi_wave_room room;
    wcohi_arena arena;
    arena.base = layer->slots + (size_t)slot * layer->slot_bytes;
    arena.used = 0;
    wcohi_wave_room_take(&arena, &room, 1, layer->call->width);
    layer->kernels->step(layer->call, index * WCOHI_STEP_HEADS, &room);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_wave_backward_job(int index, int slot, void *user)
{
    const wcohi_wave_layer *layer = (const wcohi_wave_layer *)user;
    wcohi_wave_task task;
    wcohi_wave_task_make(&task, layer, index, slot);
    if (task.state) task.room.adjoint = task.state;
    if (layer->end == layer->call->seq) wcohi_wave_copy(&task, task.room.adjoint, NULL);
    layer->kernels->backward(&task);
}
#endif

/* Scratch from its first whole cache line on. */
static unsigned char *wcohi_wave_aligned(void *scratch)
{
    unsigned char *base = (unsigned char *)scratch;
    return base + (WCOHI_ALIGN - (uintptr_t)base % WCOHI_ALIGN) % WCOHI_ALIGN;
}

/* Lay the scratch out and prepare every head's tables. */
static void wcohi_wave_layer_open(wcohi_wave_layer *layer, const wcohi_coherence *call,
                                  const wcohi_wave_kernels *kernels)
{
    wcohi_arena arena;
    int head;
    arena.base = wcohi_wave_aligned(call->scratch);
    arena.used = 0;
    wcohi_wave_layer_take(&arena, layer, call);
    layer->kernels = kernels;
    for (head = 0; head < call->heads; head++) {
        wcohi_wave *wave = layer->wave + head;
        wcohi_wave_parameters(wave, call, head);
        wave->order = 0;
        if (call->state || call->chunk || call->seq > WCOHI_WAVE_WHOLE) wcohi_wave_series(wave);
        wave->chunk = wcohi_wave_chunk(call->seq, wave->order, call->chunk);
        wcohi_wave_tables(wave);
        wcohi_wave_decays(wave);
    }
    memset(layer->partial, 0, 3 * (size_t)call->batch * (size_t)call->heads * sizeof(double));
}

/* Multiply-adds of a stretch, roughly. */
static double wcohi_wave_work(const wcohi_coherence *call)
{
    double rows = (double)call->batch * call->heads * WCOHI_MIN(call->seq, WCOHI_STRETCH);
    return rows * (WCOHI_MIN(call->seq, 64) * 0.5 + 40) * (call->width + 16);
}

/* out = attention, aux for backward; with `state`, the session's rows that follow what it knows. */
static void wcohi_attend_coherence(const wcohi_compute *compute, const wcohi_coherence *call)
{
    wcohi_wave_layer layer;
    if (call->state && call->seq == 1) { /* the session's memory holds all tables */
        memset(&layer, 0, sizeof layer);
        layer.call = call;
        layer.kernels = compute->kernels->wave;
        layer.slots = wcohi_wave_aligned(call->scratch);
        layer.slot_bytes = wcohi_wave_room_bytes(1, call->width);
        wcohi_pool_run(compute->pool, (call->heads + WCOHI_STEP_HEADS - 1) / WCOHI_STEP_HEADS,
                       wcohi_wave_work(call), wcohi_wave_step_job, &layer);
        return;
    }
    wcohi_wave_layer_open(&layer, call, compute->kernels->wave);
    for (; layer.first < call->seq; layer.first = layer.end) {
        layer.end = WCOHI_MIN(layer.first + WCOHI_STRETCH, call->seq);
        wcohi_pool_run(compute->pool, call->batch * call->heads, wcohi_wave_work(call),
                       wcohi_wave_forward_job, &layer);
    }
}

#ifndef WAVECOH_NO_TRAINING
/* dphasor, dvalue set; dgain, dcarrier, ddamping added to, sequence by sequence. */
static void wcohi_attend_coherence_back(const wcohi_compute *compute, const wcohi_coherence *call)
{
    wcohi_wave_layer layer;
    double *target[3];
    int i, index;
    wcohi_wave_layer_open(&layer, call, compute->kernels->wave);
    for (layer.end = call->seq; layer.end > 0; layer.end = layer.first) {
        layer.first = (layer.end - 1) / WCOHI_STRETCH * WCOHI_STRETCH;
        wcohi_pool_run(compute->pool, call->batch * call->heads, 3 * wcohi_wave_work(call),
                       wcohi_wave_backward_job, &layer);
    }
    target[0] = call->dgain, target[1] = call->dcarrier, target[2] = call->ddamping;
    for (i = 0; i < 3; i++)
        for (index = 0; target[i] && index < call->batch * call->heads; index++)
            target[i][index % call->heads] += layer.partial[3 * (size_t)index + (size_t)i];
}
#endif

/* ---- coherence attention --------------------------------------------------------------------- */

#ifdef WAVECOH_PLAIN
/* The angle of head h's raw phasor in a row of op->in, `column` reals on, times its harmonic. */
static double wcohi_plain_phase(const wcohi_plain *p, const wcohi_op *op, size_t row, size_t h,
                                size_t column)
{
    const double *raw = p->tensors[op->in] + row * (size_t)op->wide_in + column + 2 * h;
    double n = op->param[WCOHI_COHERENCE_HARMONIC] < 0
                   ? 1
                   : wcohi_plain_param(p, op, WCOHI_COHERENCE_HARMONIC, h);
    return raw[0] * raw[0] + raw[1] * raw[1] < 1e-12 ? 0 : n * atan2(raw[1], raw[0]);
}

/* Damping lambda_j of head h in a row: its own, or one for all. */
static double wcohi_plain_damping(const wcohi_plain *p, const wcohi_op *op, size_t row, size_t h)
{
    const double *raw = p->tensors[op->in] + row * (size_t)op->wide_in;
    return wcohi_softplus(op->forget_column ? raw[(size_t)op->forget_column + h]
                                            : wcohi_plain_param(p, op, WCOHI_COHERENCE_DAMPING, h));
}

/* Loudness b of head h in a row. */
static double wcohi_plain_loudness(const wcohi_plain *p, const wcohi_op *op, size_t row, size_t h)
{
    const double *raw = p->tensors[op->in] + row * (size_t)op->wide_in;
    return op->loud_column ? 8 * tanh(raw[(size_t)op->loud_column + h] / 8) : 0;
}

/* out_q = sum over keys k <= q of A_qk v_k / sum A_qk,
   A_qk = exp(kappa cos(phi_q - psi_k + omega (q - k)) - sum_{k < j <= q} lambda_j + b_k); the frozen
   form has kappa 1, omega 0, lambda 0. From the query backwards. */
static void wcohi_coherence_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)(op->wide_out / op->heads), all = (size_t)op->wide_out, row, k, h, e;
    size_t pitch = (size_t)p->plan->tensors[op->in2].width;
    int frozen = op->param[WCOHI_COHERENCE_GAIN] < 0;
    for (row = 0; row < p->rows; row++)
        for (h = 0; h < (size_t)op->heads; h++) {
            double *out = p->tensors[op->out] + row * all + h * width, total = 0, faded = 0;
            double gain = wcohi_softplus(wcohi_plain_param(p, op, WCOHI_COHERENCE_GAIN, h));
            double carrier = wcohi_plain_param(p, op, WCOHI_COHERENCE_CARRIER, h);
            for (e = 0; e < width; e++) out[e] = 0;
            for (k = row + 1; k-- > row - row % p->seq;) {
                double age = (double)(row - k), weight;
                double x = wcohi_plain_phase(p, op, row, h, 0) -
                           wcohi_plain_phase(p, op, k, h, (size_t)op->key_column);
                weight = frozen ? exp(cos(x) - 1)
                                : exp(gain * (cos(x + carrier * age) - 1) - faded +
                                      wcohi_plain_loudness(p, op, k, h));
                faded += wcohi_plain_damping(p, op, k, h);
                total += weight;
                for (e = 0; e < width; e++)
                    out[e] += weight *
                              p->tensors[op->in2][k * pitch + (size_t)op->column + h * width + e];
            }
            for (e = 0; e < width; e++) out[e] /= total;
        }
}
#endif

/* What a layer derives from its parameters, [H] each, and where it sums their gradients. */
typedef struct wcohi_waves {
    double *gain, *carrier, *damping, *harmonic;
    double *dgain, *dcarrier, *ddamping;
} wcohi_waves;

static wcohi_waves wcohi_waves_at(void *memory, int heads)
{
    wcohi_waves waves;
    waves.gain = (double *)memory;
    waves.carrier = waves.gain + heads;
    waves.damping = waves.carrier + heads;
    waves.harmonic = waves.damping + heads;
    waves.dgain = waves.harmonic + heads;
    waves.dcarrier = waves.dgain + heads;
    waves.ddamping = waves.dcarrier + heads;
    return waves;
}

static void wcohi_coherence_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                                  wcohi_sizes *sizes)
{
    int width = op->wide_out / op->heads;
    sizes->aux = wcohi_coherence_aux_count(plan->batch, plan->seq, op->heads, width);
    sizes->state = wcohi_mul(wcohi_coherence_state_count(op->heads, width), sizeof(double));
    sizes->prepared = 7 * sizeof(double) * (size_t)op->heads;
    sizes->shared = wcohi_coherence_scratch_bytes(plan->batch, plan->seq, op->heads, width, slots);
}

static void wcohi_coherence_refresh(wcohi_cpu_exec *exec, const wcohi_op *op, void *memory)
{
    wcohi_waves waves = wcohi_waves_at(memory, op->heads);
    const wcoh_real *gain = wcohi_param_data(exec, op->param[WCOHI_COHERENCE_GAIN]);
    const wcoh_real *carrier = wcohi_param_data(exec, op->param[WCOHI_COHERENCE_CARRIER]);
    const wcoh_real *damping = wcohi_param_data(exec, op->param[WCOHI_COHERENCE_DAMPING]);
    const wcoh_real *harmonic = wcohi_param_data(exec, op->param[WCOHI_COHERENCE_HARMONIC]);
    int h;
    for (h = 0; h < op->heads; h++) {
        waves.gain[h] = gain ? wcohi_softplus((double)gain[h]) : 1;
        waves.carrier[h] = carrier ? (double)carrier[h] : 0;
        waves.damping[h] = damping ? wcohi_softplus((double)damping[h]) : 0;
        waves.harmonic[h] = harmonic ? (double)harmonic[h] : 1;
    }
}

/* Numbers in a state steer loops, and this one may come from an enemy: the order of each head's
   series must be possible, and its cached tables are made void, so that the next token computes
   them from the model again (with the same result). */
static int wcohi_coherence_admit(const wcohi_op *op, void *state)
{
    double *header = (double *)state;
    int head;
    for (head = 0; head < op->heads; head++) {
        double order = header[WCOHI_WAVE_ORDER];
        if (!(order >= 0 && order <= WCOHI_ORDERS) || order != (int)order) return 0;
        header[WCOHI_WAVE_GAIN] = -1;
        header += wcohi_wave_session(op->wide_out / op->heads);
    }
    return 1;
}

static wcohi_waves wcohi_waves_of(const wcohi_cpu_exec *exec, const wcohi_op *op)
{
    return wcohi_waves_at(exec->prepared[op - exec->base.plan->ops], op->heads);
}

static void *wcohi_state_of(const wcohi_cpu_exec *exec, const wcohi_op *op)
{
    return exec->run->session ? exec->states + op->state : NULL;
}

static wcohi_coherence wcohi_coherence_call(const wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_coherence call;
    wcohi_waves waves = wcohi_waves_of(exec, op);
    memset(&call, 0, sizeof call);
    call.batch = exec->run->batch;
    call.seq = exec->run->seq;
    call.heads = op->heads;
    call.width = op->wide_out / op->heads;
    call.phasor = wcohi_tensor_data(exec, op->in);
    call.phasor_stride = (size_t)op->wide_in;
    call.key_column = (size_t)op->key_column;
    call.forget_column = (size_t)op->forget_column;
    call.loud_column = (size_t)op->loud_column;
    call.value = wcohi_tensor_data(exec, op->in2) + op->column;
    call.value_stride = (size_t)exec->base.plan->tensors[op->in2].width;
    call.out = wcohi_tensor_data(exec, op->out);
    call.out_stride = (size_t)op->wide_out;
    call.gain = waves.gain;
    call.carrier = waves.carrier;
    call.damping = waves.damping;
    call.harmonic = op->param[WCOHI_COHERENCE_HARMONIC] < 0 ? NULL : waves.harmonic;
    call.aux = exec->run->backward ? wcohi_tensor_data(exec, op->aux) : NULL;
    call.state = (double *)wcohi_state_of(exec, op);
    call.scratch = exec->shared;
    return call;
}

static void wcohi_coherence_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_coherence call = wcohi_coherence_call(exec, op);
    wcohi_attend_coherence(&exec->compute, &call);
}

#ifndef WAVECOH_NO_TRAINING
/* target [H] += sums [H] times the slope of softplus at raw (NULL: times 1); NULL target:
   frozen. */
static void wcohi_raw_gradient(wcoh_real *target, const double *sums, const wcoh_real *raw,
                               int heads)
{
    int h;
    for (h = 0; target && h < heads; h++)
        target[h] += (wcoh_real)(sums[h] * (raw ? wcohi_sigmoid((double)raw[h]) : 1));
}

static void wcohi_coherence_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_coherence call = wcohi_coherence_call(exec, op);
    wcohi_waves waves = wcohi_waves_of(exec, op);
    memset(waves.dgain, 0, 3 * (size_t)op->heads * sizeof(double));
    call.dout = wcohi_tensor_grad(exec, op->out);
    call.dout_stride = call.out_stride;
    call.dphasor = wcohi_tensor_grad(exec, op->in);
    call.dvalue = wcohi_tensor_grad(exec, op->in2) + op->column;
    call.dgain = waves.dgain;
    call.dcarrier = waves.dcarrier;
    call.ddamping = waves.ddamping;
    wcohi_attend_coherence_back(&exec->compute, &call);
    wcohi_raw_gradient(wcohi_param_grad(exec, op->param[WCOHI_COHERENCE_GAIN]), waves.dgain,
                       wcohi_param_data(exec, op->param[WCOHI_COHERENCE_GAIN]), op->heads);
    wcohi_raw_gradient(wcohi_param_grad(exec, op->param[WCOHI_COHERENCE_CARRIER]), waves.dcarrier,
                       NULL, op->heads);
    wcohi_raw_gradient(wcohi_param_grad(exec, op->param[WCOHI_COHERENCE_DAMPING]), waves.ddamping,
                       wcohi_param_data(exec, op->param[WCOHI_COHERENCE_DAMPING]), op->heads);
}
#endif

/* ======== 3 ops: dot attention ================================================================ */

/* ---- dot-product attention ----------------------------------------------------------------------

   The baseline: weights softmax(q.k/sqrt(E)) over keys k <= q, plain or with rotary positions: the
   pair (x_2i, x_2i+1) of query and key turns by t 10000^(-2i/E). Lanes over queries (forward) or
   keys (backward), tiles of the other, a running maximum: memory grows with T, not with T^2. */

typedef struct wcohi_dot {
    int batch, seq, heads, width;
    const wcoh_real *qkv;  /* [N, q [HE] | k [HE] | v [HE]] of `stride` */
    size_t stride;
    wcoh_real *out;        /* [N,HE]; backward reads it again */
    size_t out_stride;
    int rotary;
    int context;           /* of the ring, in a session */
    wcoh_real *ring;       /* [wcohi_dot_ring_count] of a session (B = 1), or NULL */
    uint64_t position;     /* tokens that the session heard before this call */
    wcoh_real *aux;        /* [B,H,T] for backward, or NULL */
    void *scratch;         /* wcohi_dot_scratch_bytes */
    const wcoh_real *dout; /* backward: gradient of out */
    size_t dout_stride;
    wcoh_real *dqkv;       /* set, not added to; as qkv */
} wcohi_dot;

#define WCOHI_DOT_TILE 64
#define WCOHI_DOT_LEAST ((wcoh_real)-1e30) /* score of a key that is not seen */

typedef struct wcohi_dot_room {
    wcoh_real *query, *key, *dquery;         /* [T,E16] turned; the query over sqrt(E) */
    wcoh_real *columns, *values;             /* [E,16] of one block of lanes */
    wcoh_real *sums, *sums2;                 /* [E,16] */
    wcoh_real *weight, *product;             /* [TILE,16], or [context,16] in a session */
    wcoh_real *delta;                        /* [T] */
} wcohi_dot_room;

typedef struct wcohi_dot_task {
    const wcohi_dot *call;
    const wcoh_real *turn_c, *turn_s; /* [T,E/2] */
    const wcoh_real *query, *key, *value, *dout;
    wcoh_real *out, *aux, *dquery, *dkey, *dvalue, *keys, *values;
    wcohi_dot_room room;
} wcohi_dot_task;

static size_t wcohi_dot_pitch(int width) { return wcohi_round_up((size_t)width, 16); }

/* Reals of a session's ring per layer: per head keys [E,context] and values [context,E]. */
static size_t wcohi_dot_ring_count(int context, int heads, int width)
{
    size_t slots = wcohi_add(wcohi_round_up((size_t)context, 16), (size_t)context);
    return wcohi_mul((size_t)heads, wcohi_mul(slots, (size_t)width));
}

static size_t wcohi_dot_aux_count(int batch, int seq, int heads)
{
    return wcohi_mul(wcohi_mul((size_t)batch, (size_t)seq), (size_t)heads);
}

#define wcohi_dot_forward_is(name) void name(const wcohi_dot_task *task)
#define wcohi_dot_backward_is(name) void name(const wcohi_dot_task *task)
#define wcohi_dot_stream_is(name) void name(const wcohi_dot_task *task)
typedef struct wcohi_dot_kernels {
    wcohi_dot_forward_is((*forward));
    wcohi_dot_stream_is((*stream));
#ifndef WAVECOH_NO_TRAINING
    wcohi_dot_backward_is((*backward));
#endif
} wcohi_dot_kernels;

#else /* a pass: dot-product attention */

/* Rows [rows,E] of `stride`, turned by the table (side -1: back), times scale -> to of `pitch`. */
S_(fn) void S_(dot_turn)(wcoh_real *to, size_t pitch, const wcoh_real *x, size_t stride,
                         const wcohi_dot_task *task, int rows, wcoh_real side,
                         wcoh_real scale)
{
    int half = task->call->width / 2, width = task->call->width, row, i;
    const wcoh_real *tc = task->turn_c, *ts = task->turn_s;
    S_(v) factor = S_(set)(scale), sign = S_(set)(scale * side);
    for (row = 0; row < rows; row++, x += stride, to += pitch, tc += half, ts += half) {
        for (i = 0; i < half; i += S_(W)) {
            int n = WCOHI_LANES(half, i);
            S_(v) a, b, p, q, c = factor, s = S_(zero)();
            WCOHI_LOAD_BANDS(x + 2 * i, n, a, b);
            if (task->call->rotary) {
                c = S_(mul)(factor, WCOHI_LOAD(tc + i, n));
                s = S_(mul)(sign, WCOHI_LOAD(ts + i, n));
            }
            p = S_(fnma)(b, s, S_(mul)(a, c));
            q = S_(fma)(a, s, S_(mul)(b, c));
            WCOHI_STORE_BANDS(to + 2 * i, n, p, q);
        }
        if (width % 2) to[width - 1] = scale * x[width - 1];
    }
}

/* Queries first .. first + W - 1 in lanes against all keys that they see. */
/* scores of a tile, keys from `tile`: masked; the new maximum */
S_(fn) S_(v) S_(dot_top)(wcoh_real *p, S_(v) top, int tile, int first, int rows)
{
    S_(v) lane = S_(iota)(), least = S_(set)(WCOHI_DOT_LEAST);
    int k;
    for (k = 0; k < rows; k++, p += S_(W)) {
        S_(v) s = S_(load)(p);
        int ahead = tile + k - first;
        if (ahead > 0) {
            s = S_(select)(S_(le)(S_(set)((wcoh_real)ahead), lane), s, least);
            S_(store)(p, s);
        }
        top = S_(max)(top, s);
    }
    return top;
}

S_(fn) void S_(dot_block)(const wcohi_dot_task *task, int first)
{
    const wcohi_dot *call = task->call;
    const wcohi_dot_room *room = &task->room;
    size_t pitch = wcohi_dot_pitch(call->width);
    int end = WCOHI_MIN(first + S_(W), call->seq), width = call->width, tile, k, e;
    S_(v) top = S_(set)(WCOHI_DOT_LEAST), total = S_(zero)();
    wcoh_real inverse[S_(W)];
    S_(wave_columns)(room->columns, room->query + (size_t)first * pitch, pitch, end - first,
                       S_(W), width);
    memset(room->sums, 0, (size_t)(width * S_(W)) * sizeof(wcoh_real));
    for (tile = 0; tile < end; tile += WCOHI_DOT_TILE) {
        int rows = WCOHI_MIN(WCOHI_DOT_TILE, end - tile);
        wcoh_real *p = room->product;
        S_(v) before = top, shrink;
        S_(wave_dot)(p, room->columns, S_(W), rows, room->key + (size_t)tile * pitch, pitch,
                     width);
        top = S_(dot_top)(p, top, tile, first, rows);
        shrink = S_(exp)(S_(sub)(before, top));
        total = S_(mul)(total, shrink);
        for (e = 0; e < width; e++)
            S_(store)(room->sums + e * S_(W),
                      S_(mul)(shrink, S_(load)(room->sums + e * S_(W))));
        for (k = 0; k < rows; k++, p += S_(W)) {
            S_(v) w = S_(exp)(S_(sub)(S_(load)(p), top));
            total = S_(add)(total, w);
            S_(store)(p, w);
        }
        S_(wave_mix)(room->sums, S_(W), room->product, rows,
                     task->value + (size_t)tile * call->stride, call->stride, width);
    }
    S_(store)(inverse, S_(div)(S_(set)((wcoh_real)1), total));
    S_(wave_rows)(task->out + (size_t)first * call->out_stride, call->out_stride,
                    room->sums, inverse, end - first, S_(W), width);
    if (task->aux)
        WCOHI_STORE(task->aux + first, S_(add)(top, S_(log)(total)), end - first);
}

WCOHI_KERNEL(dot_forward)
{
    const wcohi_dot *call = task->call;
    const wcohi_dot_room *room = &task->room;
    size_t pitch = wcohi_dot_pitch(call->width);
    wcoh_real scale = (wcoh_real)(1 / sqrt((double)call->width));
    int first;
    S_(dot_turn)(room->query, pitch, task->query, call->stride, task, call->seq, 1, scale);
    S_(dot_turn)(room->key, pitch, task->key, call->stride, task, call->seq, 1, 1);
    for (first = 0; first < call->seq; first += S_(W)) S_(dot_block)(task, first);
}

#ifndef WAVECOH_NO_TRAINING
/* With P from the saved log of the sum, dS = P (dout.v - delta): dv = P^T dout, dk = dS^T q,
   dq = dS k, keys first .. first + W - 1 in lanes. */
/* product: scores -> dS; weight: dout.v -> P, queries from `tile` */
S_(fn) void S_(dot_slopes)(const wcohi_dot_task *task, int first, int tile, int rows)
{
    const wcohi_dot_room *room = &task->room;
    S_(v) lane = S_(iota)();
    int q;
    for (q = tile; q < tile + rows; q++) {
        wcoh_real *p = room->product + (q - tile) * S_(W);
        wcoh_real *w = room->weight + (q - tile) * S_(W);
        S_(v) weight = S_(exp)(S_(sub)(S_(load)(p), S_(set)(task->aux[q])));
        if (q - first < S_(W) - 1)
            weight = S_(select)(S_(le)(lane, S_(set)((wcoh_real)(q - first))), weight,
                                S_(zero)());
        S_(store)(p, S_(mul)(weight, S_(sub)(S_(load)(w), S_(set)(room->delta[q]))));
        S_(store)(w, weight);
    }
}

/* dq [rows,E] += dS [rows,W] k [n,E] */
S_(fn) void S_(dot_queries)(wcoh_real *dq, const wcoh_real *slopes, const wcoh_real *key,
                            size_t pitch, int rows, int n)
{
    int q, k, e;
    for (q = 0; q < rows; q++, dq += pitch, slopes += S_(W))
        for (e = 0; e < (int)pitch; e += 2 * S_(W)) {
            int two = e + S_(W) < (int)pitch;
            const wcoh_real *row = key + e;
            S_(v) a = S_(load)(dq + e), b = two ? S_(load)(dq + e + S_(W)) : S_(zero)();
            for (k = 0; k < n; k++, row += pitch) {
                S_(v) s = S_(set)(slopes[k]);
                a = S_(fma)(s, S_(load)(row), a);
                if (two) b = S_(fma)(s, S_(load)(row + S_(W)), b);
            }
            S_(store)(dq + e, a);
            if (two) S_(store)(dq + e + S_(W), b);
        }
}

S_(fn) void S_(dot_block_backward)(const wcohi_dot_task *task, int first)
{
    const wcohi_dot *call = task->call;
    const wcohi_dot_room *room = &task->room;
    size_t pitch = wcohi_dot_pitch(call->width), at = (size_t)first;
    int n = WCOHI_MIN(S_(W), call->seq - first), width = call->width, tile;
    const wcoh_real *key = room->key + at * pitch;
    S_(wave_columns)(room->columns, key, pitch, n, S_(W), width);
    S_(wave_columns)(room->values, task->value + at * call->stride, call->stride, n, S_(W),
                       width);
    memset(room->sums, 0, (size_t)(width * S_(W)) * sizeof(wcoh_real));
    memset(room->sums2, 0, (size_t)(width * S_(W)) * sizeof(wcoh_real));
    for (tile = first; tile < call->seq; tile += WCOHI_DOT_TILE) {
        int rows = WCOHI_MIN(WCOHI_DOT_TILE, call->seq - tile);
        const wcoh_real *query = room->query + (size_t)tile * pitch;
        const wcoh_real *dout = task->dout + (size_t)tile * call->dout_stride;
        S_(wave_dot)(room->product, room->columns, S_(W), rows, query, pitch, width);
        S_(wave_dot)(room->weight, room->values, S_(W), rows, dout, call->dout_stride, width);
        S_(dot_slopes)(task, first, tile, rows);
        S_(wave_mix)(room->sums, S_(W), room->weight, rows, dout, call->dout_stride, width);
        S_(wave_mix)(room->sums2, S_(W), room->product, rows, query, pitch, width);
        S_(dot_queries)(room->dquery + (size_t)tile * pitch, room->product, key, pitch, rows,
                        n);
    }
    S_(wave_rows)(task->dvalue + at * call->stride, call->stride, room->sums, NULL, n,
                    S_(W), width);
    S_(wave_rows)(task->dkey + at * call->stride, call->stride, room->sums2, NULL, n, S_(W),
                    width);
}

WCOHI_KERNEL(dot_backward)
{
    const wcohi_dot *call = task->call;
    const wcohi_dot_room *room = &task->room;
    size_t pitch = wcohi_dot_pitch(call->width), rows = (size_t)call->seq;
    wcoh_real scale = (wcoh_real)(1 / sqrt((double)call->width));
    int first;
    memset(room->key, 0, rows * pitch * sizeof(wcoh_real));
    memset(room->dquery, 0, rows * pitch * sizeof(wcoh_real));
    S_(dot_turn)(room->query, pitch, task->query, call->stride, task, call->seq, 1, scale);
    S_(dot_turn)(room->key, pitch, task->key, call->stride, task, call->seq, 1, 1);
    S_(wave_inner)(room->delta, task->out, call->out_stride, task->dout, call->dout_stride,
                   call->seq, call->width);
    for (first = 0; first < call->seq; first += S_(W)) S_(dot_block_backward)(task, first);
    S_(dot_turn)(task->dquery, call->stride, room->dquery, pitch, task, call->seq, -1, scale);
    S_(dot_turn)(task->dkey, call->stride, task->dkey, call->stride, task, call->seq, -1, 1);
}
#endif

/* One more token of a session: its key and value enter the ring, its query asks the ring. */
/* p [n] = softmax over keys [E,pitch] of q; the sum of the weights is not yet divided out */
S_(fn) wcoh_real S_(dot_step_weights)(wcoh_real *p, const wcoh_real *query,
                                      const wcoh_real *keys, size_t pitch, int n, int width)
{
    S_(v) top = S_(set)(WCOHI_DOT_LEAST), total = S_(zero)();
    int k, e;
    for (k = 0; k < n; k += S_(W)) {
        S_(v) s = S_(zero)();
        for (e = 0; e < width; e++)
            s = S_(fma)(S_(set)(query[e]), S_(load)(keys + (size_t)e * pitch + k), s);
        s = WCOHI_KEEP(s, S_(set)(WCOHI_DOT_LEAST), WCOHI_LANES(n, k));
        S_(store)(p + k, s);
        top = S_(max)(top, s);
    }
    top = S_(set)(S_(hmax)(top));
    for (k = 0; k < n; k += S_(W)) {
        S_(v) w = S_(exp)(S_(sub)(S_(load)(p + k), top));
        S_(store)(p + k, w);
        total = S_(add)(total, w);
    }
    return S_(sum)(total);
}

S_(fn) void S_(dot_step)(const wcohi_dot_task *task, int row)
{
    const wcohi_dot *call = task->call;
    const wcohi_dot_room *room = &task->room;
    wcohi_dot_task at = *task;
    int width = call->width, context = call->context, n, slot, e, k;
    uint64_t position = call->position + (uint64_t)row;
    size_t pitch = wcohi_round_up((size_t)context, 16), from = (size_t)row * call->stride;
    wcoh_real *out = task->out + (size_t)row * call->out_stride, total;
    slot = (int)(position % (uint64_t)context);
    n = position < (uint64_t)context ? slot + 1 : context;
    at.turn_c += row * (width / 2);
    at.turn_s += row * (width / 2);
    S_(dot_turn)(room->query, 0, task->query + from, 0, &at, 1, 1,
                 (wcoh_real)(1 / sqrt((double)width)));
    S_(dot_turn)(room->key, 0, task->key + from, 0, &at, 1, 1, 1);
    for (e = 0; e < width; e++) {
        task->keys[(size_t)e * pitch + (size_t)slot] = room->key[e];
        task->values[(size_t)slot * (size_t)width + (size_t)e] =
            task->value[from + (size_t)e];
    }
    total = S_(dot_step_weights)(room->product, room->query, task->keys, pitch, n, width);
    for (e = 0; e < width; e += S_(W)) {
        int lanes = WCOHI_LANES(width, e);
        const wcoh_real *v = task->values + e;
        S_(v) sum = S_(zero)();
        for (k = 0; k < n; k++, v += width)
            sum = S_(fma)(S_(set)(room->product[k]), WCOHI_LOAD(v, lanes), sum);
        WCOHI_STORE(out + e, S_(div)(sum, S_(set)(total)), lanes);
    }
}

WCOHI_KERNEL(dot_stream)
{
    int row;
    for (row = 0; row < task->call->seq; row++) S_(dot_step)(task, row);
}

static const wcohi_dot_kernels S_(dot_kernels) = {S_(dot_forward),
                                                  S_(dot_stream) WCOHI_BACK(S_(dot_backward))};

#endif
#ifndef WCOHI_PASS

/* ---- a layer of dot-product attention -------------------------------------------------------- */

typedef struct wcohi_dot_layer {
    const wcohi_dot *call;
    const wcohi_dot_kernels *kernels;
    wcoh_real *turn_c, *turn_s; /* [T,E/2] */
    unsigned char *slots;
    size_t slot_bytes;
} wcohi_dot_layer;

/* A session keeps weights of its whole ring; anything else works in tiles. */
static void wcohi_dot_room_take(wcohi_arena *arena, wcohi_dot_room *room, int seq, int width,
                                int context)
{
    size_t pitch = wcohi_dot_pitch(width), rows = context ? 1 : (size_t)seq, block = pitch * 16;
    size_t tile = WCOHI_DOT_TILE * 16;
    if (context) tile = WCOHI_MAX(tile, wcohi_round_up((size_t)context, 16));
    room->query = WCOHI_TAKE(arena, wcohi_mul(rows, pitch), wcoh_real);
    room->key = WCOHI_TAKE(arena, wcohi_mul(rows, pitch), wcoh_real);
    room->dquery = WCOHI_TAKE(arena, wcohi_mul(rows, pitch), wcoh_real);
    room->columns = WCOHI_TAKE(arena, block, wcoh_real);
    room->values = WCOHI_TAKE(arena, block, wcoh_real);
    room->sums = WCOHI_TAKE(arena, block, wcoh_real);
    room->sums2 = WCOHI_TAKE(arena, block, wcoh_real);
    room->weight = WCOHI_TAKE(arena, tile, wcoh_real);
    room->product = WCOHI_TAKE(arena, tile, wcoh_real);
    room->delta = WCOHI_TAKE(arena, rows, wcoh_real);
}

static void wcohi_dot_layer_take(wcohi_arena *arena, wcohi_dot_layer *layer, int seq, int width,
                                 int context)
{
    wcohi_dot_room room;
    wcohi_arena measure;
    size_t turns = wcohi_mul((size_t)seq, (size_t)(width / 2));
    memset(&measure, 0, sizeof measure);
    wcohi_dot_room_take(&measure, &room, seq, width, context);
    layer->slot_bytes = measure.used;
    layer->turn_c = WCOHI_TAKE(arena, turns, wcoh_real);
    layer->turn_s = WCOHI_TAKE(arena, turns, wcoh_real);
    layer->slots = (unsigned char *)wcohi_take(arena, 0, 1);
}

/* Bytes of scratch for calls of this shape on `slots` jobs; context: 0, or of a session's ring. */
static size_t wcohi_dot_scratch_bytes(int seq, int width, int context, int slots)
{
    wcohi_dot_layer layer;
    wcohi_arena arena;
    memset(&arena, 0, sizeof arena);
    wcohi_dot_layer_take(&arena, &layer, seq, width, context);
    (void)wcohi_take(&arena, (size_t)slots, layer.slot_bytes);
    return wcohi_add(arena.used, WCOHI_ALIGN);
}

/* Turns of rows position .. position + T - 1, in double; every 32nd row from the angle itself. */
static void wcohi_dot_turns(const wcohi_dot_layer *layer)
{
    const wcohi_dot *call = layer->call;
    int half = call->width / 2, i, t;
    for (i = 0; call->rotary && i < half; i++) {
        double rate = pow(10000.0, -2.0 * i / call->width), step_c = cos(rate), step_s = sin(rate);
        double c = 1, s = 0, next;
        for (t = 0; t < call->seq; t++) {
            if (t % 32 == 0) {
                double angle = rate * (double)(call->position + (uint64_t)t);
                c = cos(angle);
                s = sin(angle);
            }
            layer->turn_c[(size_t)t * (size_t)half + (size_t)i] = (wcoh_real)c;
            layer->turn_s[(size_t)t * (size_t)half + (size_t)i] = (wcoh_real)s;
            next = c * step_c - s * step_s;
            s = s * step_c + c * step_s;
            c = next;
        }
    }
}

static void wcohi_dot_layer_open(wcohi_dot_layer *layer, const wcohi_dot *call,
                                 const wcohi_dot_kernels *kernels)
{
    wcohi_arena arena;
    arena.base = wcohi_wave_aligned(call->scratch);
    arena.used = 0;
    layer->call = call;
    layer->kernels = kernels;
    wcohi_dot_layer_take(&arena, layer, call->seq, call->width, call->ring ? call->context : 0);
    wcohi_dot_turns(layer);
}

static void wcohi_dot_task_make(wcohi_dot_task *task, const wcohi_dot_layer *layer, int index,
                                int slot)
{
    const wcohi_dot *call = layer->call;
    size_t head = (size_t)(index % call->heads), batch = (size_t)(index / call->heads);
    size_t row = batch * (size_t)call->seq, column = head * (size_t)call->width;
    size_t all = (size_t)call->heads * (size_t)call->width, at = row * call->stride + column;
    wcohi_arena arena;
    memset(task, 0, sizeof *task);
    arena.base = layer->slots + (size_t)slot * layer->slot_bytes;
    arena.used = 0;
    wcohi_dot_room_take(&arena, &task->room, call->seq, call->width,
                        call->ring ? call->context : 0);
    task->call = call;
    task->turn_c = layer->turn_c;
    task->turn_s = layer->turn_s;
    task->query = call->qkv + at;
    task->key = task->query + all;
    task->value = task->key + all;
    task->out = call->out + row * call->out_stride + column;
    if (call->aux) task->aux = call->aux + (size_t)index * (size_t)call->seq;
    if (call->ring) {
        task->keys = call->ring + head * wcohi_dot_ring_count(call->context, 1, call->width);
        task->values = task->keys +
                       wcohi_round_up((size_t)call->context, 16) * (size_t)call->width;
    }
    if (call->dout) {
        task->dout = call->dout + row * call->dout_stride + column;
        task->dquery = call->dqkv + at;
        task->dkey = task->dquery + all;
        task->dvalue = task->dkey + all;
    }
}

static void wcohi_dot_forward_job(int index, int slot, void *user)
{
    const wcohi_dot_layer *layer = (const wcohi_dot_layer *)user;
    wcohi_dot_task task;
    wcohi_dot_task_make(&task, layer, index, slot);
    if (layer->call->ring) layer->kernels->stream(&task);
    else layer->kernels->forward(&task);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_dot_backward_job(int index, int slot, void *user)
{
    const wcohi_dot_layer *layer = (const wcohi_dot_layer *)user;
    wcohi_dot_task task;
    wcohi_dot_task_make(&task, layer, index, slot);
    layer->kernels->backward(&task);
}
#endif

static double wcohi_dot_work(const wcohi_dot *call)
{
    double keys = call->ring ? call->context : call->seq * 0.5;
    return (double)call->batch * call->heads * call->seq * keys * (2 * call->width + 16);
}

/* out = attention, aux for backward; with `ring`, the session's rows that follow `position`. */
static void wcohi_attend_dot(const wcohi_compute *compute, const wcohi_dot *call)
{
    wcohi_dot_layer layer;
    wcohi_dot_layer_open(&layer, call, compute->kernels->dot);
    wcohi_pool_run(compute->pool, call->batch * call->heads, wcohi_dot_work(call),
                   wcohi_dot_forward_job, &layer);
}

#ifndef WAVECOH_NO_TRAINING
/* dqkv set. */
static void wcohi_attend_dot_back(const wcohi_compute *compute, const wcohi_dot *call)
{
    wcohi_dot_layer layer;
    wcohi_dot_layer_open(&layer, call, compute->kernels->dot);
    wcohi_pool_run(compute->pool, call->batch * call->heads, 3 * wcohi_dot_work(call),
                   wcohi_dot_backward_job, &layer);
}
#endif

/* ---- dot attention --------------------------------------------------------------------------- */

#ifdef WAVECOH_PLAIN
/* q.k / sqrt E of head h; rotary: the pair (2i, 2i+1) of both turns by t 10000^(-2i/E). */
static double wcohi_plain_score(const wcohi_plain *p, const wcohi_op *op, size_t row, size_t key,
                                size_t h)
{
    size_t width = (size_t)(op->wide_out / op->heads), stride = (size_t)op->wide_in, i;
    const double *q = p->tensors[op->in] + row * stride + h * width;
    const double *k = p->tensors[op->in] + key * stride + (size_t)op->wide_out + h * width;
    double sum = 0;
    for (i = 0; i < width; i++) {
        double age = (double)(row - key),
               turn = age * pow(10000, -(double)(i / 2 * 2) / (double)width);
        if (!op->rotary) sum += q[i] * k[i];
        else sum += q[i] * (k[i] * cos(turn) + (i % 2 ? -k[i - 1] : k[i + 1]) * sin(turn));
    }
    return sum / sqrt((double)width);
}

static void wcohi_dot_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t width = (size_t)(op->wide_out / op->heads), all = (size_t)op->wide_out, row, k, h, e;
    for (row = 0; row < p->rows; row++)
        for (h = 0; h < (size_t)op->heads; h++) {
            size_t first = row - row % p->seq;
            double *out = p->tensors[op->out] + row * all + h * width, total = 0, top = -1e300;
            for (k = first; k <= row; k++) top = fmax(top, wcohi_plain_score(p, op, row, k, h));
            for (e = 0; e < width; e++) out[e] = 0;
            for (k = first; k <= row; k++) {
                const double *v =
                    p->tensors[op->in] + k * (size_t)op->wide_in + 2 * all + h * width;
                double weight = exp(wcohi_plain_score(p, op, row, k, h) - top);
                total += weight;
                for (e = 0; e < width; e++) out[e] += weight * v[e];
            }
            for (e = 0; e < width; e++) out[e] /= total;
        }
}
#endif

/* A session's works on its ring. */
static void wcohi_dot_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                            wcohi_sizes *sizes)
{
    int width = op->wide_out / op->heads;
    sizes->aux = wcohi_dot_aux_count(plan->batch, plan->seq, op->heads);
    sizes->state =
        wcohi_mul(wcohi_dot_ring_count(op->context, op->heads, width), sizeof(wcoh_real));
    sizes->state_reals = 1;
    sizes->shared =
        wcohi_dot_scratch_bytes(plan->seq, width, plan->session ? op->context : 0, slots);
}

static wcohi_dot wcohi_dot_call(const wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_dot call;
    memset(&call, 0, sizeof call);
    call.batch = exec->run->batch;
    call.seq = exec->run->seq;
    call.heads = op->heads;
    call.width = op->wide_out / op->heads;
    call.qkv = wcohi_tensor_data(exec, op->in);
    call.stride = (size_t)op->wide_in;
    call.out = wcohi_tensor_data(exec, op->out);
    call.out_stride = (size_t)op->wide_out;
    call.rotary = op->rotary;
    call.context = op->context;
    call.ring = (wcoh_real *)wcohi_state_of(exec, op);
    call.position = exec->run->position;
    call.aux = exec->run->backward ? wcohi_tensor_data(exec, op->aux) : NULL;
    call.scratch = exec->shared;
    return call;
}

static void wcohi_dot_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_dot call = wcohi_dot_call(exec, op);
    wcohi_attend_dot(&exec->compute, &call);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_dot_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_dot call = wcohi_dot_call(exec, op);
    call.dout = wcohi_tensor_grad(exec, op->out);
    call.dout_stride = call.out_stride;
    call.dqkv = wcohi_tensor_grad(exec, op->in);
    wcohi_attend_dot_back(&exec->compute, &call);
}
#endif

/* ======== 3 ops: logits and loss, the optimiser =============================================== */

/* ---- head: logits = scale * W h, loss = mean of -log softmax(logits)[target] --------------------

   The vocabulary is walked in chunks, so that no [N,V] array exists: a first walk finds each row's
   maximum and sum of exponentials, a second makes (p - 1_target) chunk by chunk and multiplies it
   into dh and dW. With a single chunk the logits of the first walk are still there for the
   second. */

#ifdef WAVECOH_PLAIN
static double wcohi_plain_logit(const wcohi_plain *p, const wcohi_op *op, size_t row, size_t symbol)
{
    size_t width = (size_t)op->wide_in, i;
    double sum = 0;
    for (i = 0; i < width; i++)
        sum += p->tensors[op->in][row * width + i] *
               wcohi_plain_param(p, op, WCOHI_LOGITS_WEIGHT, symbol * width + i);
    return op->param[WCOHI_LOGITS_SCALE] < 0
               ? sum
               : sum * wcohi_plain_param(p, op, WCOHI_LOGITS_SCALE, 0);
}

/* p->nats += -log softmax(logits)[target] of every row whose target counts */
static void wcohi_logits_plain(wcohi_plain *p, const wcohi_op *op)
{
    size_t row, symbol;
    for (row = 0; row < p->rows; row++) {
        double sum = 0, target;
        if (p->targets[row] == WCOH_TARGET_NONE) continue;
        target = wcohi_plain_logit(p, op, row, p->targets[row]);
        for (symbol = 0; symbol < (size_t)op->vocab; symbol++)
            sum += exp(wcohi_plain_logit(p, op, row, symbol) - target);
        p->nats += log(sum);
    }
}
#endif

#define wcohi_softmax_scan_is(name)                                                                \
    void name(const wcoh_real *x, int count, wcoh_real scale, wcoh_real *top, wcoh_real *sum)
#define wcohi_softmax_gradient_is(name)                                                            \
    double name(wcoh_real *x, int count, wcoh_real scale, wcoh_real top, wcoh_real inverse,        \
                wcoh_real factor, int target)
typedef struct wcohi_softmax_kernels {
    wcohi_softmax_scan_is((*scan));
#ifndef WAVECOH_NO_TRAINING
    wcohi_softmax_gradient_is((*gradient));
#endif
} wcohi_softmax_kernels;

#else /* a pass: softmax cross-entropy */

/* One more chunk of a row's logits x [count], each times `scale`: *top becomes the maximum so far,
   *sum the sum so far of exp(scale x - *top). Begin with *top = -1e30, *sum = 0. Logits of any size
   are safe; one that is NaN or +infinity makes *sum NaN. */
WCOHI_KERNEL(softmax_scan)
{
    S_(v) factor = S_(set)(scale), most = S_(set)(*top), total = S_(zero)();
    wcoh_real before = *top;
    int i;
    for (i = 0; i < count; i += S_(W)) {
        int n = WCOHI_LANES(count, i);
        S_(v) v = S_(mul)(factor, WCOHI_LOAD(x + i, n));
        most = S_(max)(most, WCOHI_KEEP(v, most, n));
    }
    *top = S_(hmax)(most);
    most = S_(set)(*top);
    for (i = 0; i < count; i += S_(W)) {
        int n = WCOHI_LANES(count, i);
        S_(v) v = S_(exp)(S_(sub)(S_(mul)(factor, WCOHI_LOAD(x + i, n)), most));
        total = S_(add)(total, WCOHI_KEEP(v, S_(zero)(), n));
    }
    *sum = *sum * (wcoh_real)exp((double)(before - *top)) + S_(sum)(total);
}

#ifndef WAVECOH_NO_TRAINING
/* x [count] of raw logits becomes the gradient with respect to them:
   scale factor (exp(scale x - top) inverse - 1_target); target -1: not in this chunk.
   Returns the gradient with respect to `scale`: sum of factor (p - 1_target) x. */
WCOHI_KERNEL(softmax_gradient)
{
    S_(v) by = S_(set)(scale), most = S_(set)(top), share = S_(set)(inverse * factor);
    S_(v) dscale = S_(zero)();
    wcoh_real hit = target < 0 ? 0 : x[target];
    int i;
    for (i = 0; i < count; i += S_(W)) {
        int n = WCOHI_LANES(count, i);
        S_(v) v = WCOHI_LOAD(x + i, n);
        S_(v) p = S_(mul)(share, S_(exp)(S_(sub)(S_(mul)(by, v), most)));
        p = WCOHI_KEEP(p, S_(zero)(), n);
        dscale = S_(fma)(p, v, dscale);
        WCOHI_STORE(x + i, S_(mul)(by, p), n);
    }
    if (target >= 0) x[target] -= scale * factor;
    return (double)S_(sum)(dscale) - (double)(factor * hit);
}
#endif

static const wcohi_softmax_kernels S_(softmax_kernels) = {S_(softmax_scan)
                                                              WCOHI_BACK(S_(softmax_gradient))};

#endif
#ifndef WCOHI_PASS

/* Logits of a chunk, for each row: small vocabularies whole, large ones in chunks that keep
   [N, width] near a quarter of a million reals. */
static int wcohi_logits_width(const wcohi_plan *plan, const wcohi_op *op)
{
    return WCOHI_MIN(op->vocab, WCOHI_MAX(256, 262144 / (plan->batch * plan->seq)));
}

/* Reals of the logits of a chunk; maximum, sum and target [N] follow. */
static size_t wcohi_logits_room(const wcohi_plan *plan, const wcohi_op *op)
{
    return wcohi_round_up(wcohi_plan_reals(plan, wcohi_logits_width(plan, op)),
                          WCOHI_ALIGN / sizeof(float));
}

static void wcohi_logits_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots,
                               wcohi_sizes *sizes)
{
    (void)slots;
    sizes->shared = wcohi_mul(wcohi_add(wcohi_logits_room(plan, op), wcohi_plan_reals(plan, 3)),
                              sizeof(wcoh_real));
}

static double wcohi_logits_scale(const wcohi_cpu_exec *exec, const wcohi_op *op)
{
    return op->param[WCOHI_LOGITS_SCALE] < 0
               ? 1
               : (double)*wcohi_param_data(exec, op->param[WCOHI_LOGITS_SCALE]);
}

typedef struct wcohi_logits_walk {
    wcohi_cpu_exec *exec;
    const wcohi_op *op;
    wcoh_real *logits; /* [N, width] */
    int width;
    int first, count; /* this chunk of the vocabulary */
    int rows, chunk_rows;
    double scale;                      /* of the logits (tied head) */
    double factor;                     /* of the gradient: run->scale / N */
    wcoh_real *maximum, *sum, *target; /* [N]: of each row; the target's scaled logit */
    double *dscale;                    /* [WCOHI_CHUNKS] shares of the scale's gradient */
} wcohi_logits_walk;

static void wcohi_logits_chunk(const wcohi_logits_walk *walk)
{
    const wcohi_cpu_exec *exec = walk->exec;
    wcohi_gemm_args args;
    memset(&args, 0, sizeof args);
    wcohi_product(exec, &args, walk->logits, walk->width, wcohi_tensor_data(exec, walk->op->in),
                  walk->op->wide_in,
                  wcohi_param_data(exec, walk->op->param[WCOHI_LOGITS_WEIGHT]) +
                      (size_t)walk->first * (size_t)walk->op->wide_in,
                  walk->count, walk->op->wide_in);
}

static void wcohi_logits_scan_job(int index, int slot, void *user)
{
    const wcohi_logits_walk *walk = (const wcohi_logits_walk *)user;
    int row, last = WCOHI_MIN((index + 1) * walk->chunk_rows, walk->rows);
    (void)slot;
    for (row = index * walk->chunk_rows; row < last; row++) {
        const wcoh_real *logits = walk->logits + (size_t)row * (size_t)walk->width;
        int64_t target = (int64_t)walk->exec->run->targets[row] - walk->first;
        walk->exec->compute.kernels->softmax->scan(logits, walk->count, (wcoh_real)walk->scale,
                                                   &walk->maximum[row], &walk->sum[row]);
        if (target >= 0 && target < walk->count)
            walk->target[row] = (wcoh_real)walk->scale * logits[target];
    }
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_logits_gradient_job(int index, int slot, void *user)
{
    const wcohi_logits_walk *walk = (const wcohi_logits_walk *)user;
    int row, last = WCOHI_MIN((index + 1) * walk->chunk_rows, walk->rows);
    (void)slot;
    for (row = index * walk->chunk_rows; row < last; row++) {
        uint32_t given = walk->exec->run->targets[row];
        int64_t target = (int64_t)given - walk->first;
        double factor = given == WCOH_TARGET_NONE ? 0 : walk->factor;
        walk->dscale[index] += walk->exec->compute.kernels->softmax->gradient(
            walk->logits + (size_t)row * (size_t)walk->width, walk->count, (wcoh_real)walk->scale,
            walk->maximum[row], 1 / walk->sum[row], (wcoh_real)factor,
            target >= 0 && target < walk->count ? (int)target : -1);
    }
}
#endif

static void wcohi_logits_rows(wcohi_logits_walk *walk, wcohi_job job)
{
    int chunks = (walk->rows + walk->chunk_rows - 1) / walk->chunk_rows;
    wcohi_pool_run(walk->exec->compute.pool, chunks, 20.0 * walk->rows * walk->count, job, walk);
}

static void wcohi_logits_begin(wcohi_logits_walk *walk, wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int row;
    memset(walk, 0, sizeof *walk);
    walk->exec = exec;
    walk->op = op;
    walk->rows = wcohi_run_rows(exec);
    walk->chunk_rows = wcohi_chunk_rows(walk->rows);
    walk->scale = wcohi_logits_scale(exec, op);
    walk->factor = exec->run->scale / walk->rows;
    walk->logits = (wcoh_real *)exec->shared;
    walk->width = wcohi_logits_width(exec->base.plan, op);
    walk->maximum = walk->logits + wcohi_logits_room(exec->base.plan, op);
    walk->sum = walk->maximum + walk->rows;
    walk->target = walk->sum + walk->rows;
    for (row = 0; row < walk->rows; row++) {
        walk->maximum[row] = (wcoh_real)-1e30;
        walk->sum[row] = 0;
    }
}

/* First walk: maxima, sums, and the loss: log sum exp - target's logit. */
static void wcohi_logits_scan(wcohi_logits_walk *walk)
{
    int vocab = walk->op->vocab, row;
    double nats = 0;
    for (walk->first = 0; walk->first < vocab; walk->first += walk->count) {
        walk->count = WCOHI_MIN(walk->width, vocab - walk->first);
        wcohi_logits_chunk(walk);
        wcohi_logits_rows(walk, wcohi_logits_scan_job);
    }
    for (row = 0; row < walk->rows; row++)
        if (walk->exec->run->targets[row] != WCOH_TARGET_NONE)
            nats += (double)walk->maximum[row] + log((double)walk->sum[row]) -
                    (double)walk->target[row];
    walk->exec->loss = walk->exec->run->add ? walk->exec->loss + nats : nats;
}

/* Session: logits [V] of the last row. */
static void wcohi_logits_last(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    int i, vocab = op->vocab;
    wcoh_real scale = (wcoh_real)wcohi_logits_scale(exec, op);
    wcohi_gemm_args args;
    memset(&args, 0, sizeof args);
    args.m = 1;
    args.n = vocab;
    args.k = op->wide_in;
    args.a =
        wcohi_tensor_data(exec, op->in) + (size_t)(wcohi_run_rows(exec) - 1) * (size_t)op->wide_in;
    args.lda = (size_t)op->wide_in;
    args.b = wcohi_param_data(exec, op->param[WCOHI_LOGITS_WEIGHT]);
    args.ldb = (size_t)op->wide_in;
    args.tb = 1;
    args.c = exec->logits;
    args.ldc = (size_t)vocab;
    wcohi_gemm(&exec->compute, &args);
    for (i = 0; op->param[WCOHI_LOGITS_SCALE] >= 0 && i < vocab; i++) exec->logits[i] *= scale;
}

static void wcohi_logits_forward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    wcohi_logits_walk walk;
    if (exec->run->logits) wcohi_logits_last(exec, op);
    if (!exec->run->targets || exec->run->backward)
        return; /* with a backward to come, it does both */
    wcohi_logits_begin(&walk, exec, op);
    wcohi_logits_scan(&walk);
}

#ifndef WAVECOH_NO_TRAINING
static void wcohi_logits_backward(wcohi_cpu_exec *exec, const wcohi_op *op)
{
    double dscale[WCOHI_CHUNKS];
    int i, vocab = op->vocab;
    wcoh_real *dweight = wcohi_param_grad(exec, op->param[WCOHI_LOGITS_WEIGHT]),
              *dtied = wcohi_param_grad(exec, op->param[WCOHI_LOGITS_SCALE]);
    wcohi_logits_walk walk;
    memset(dscale, 0, sizeof dscale);
    wcohi_logits_begin(&walk, exec, op);
    wcohi_logits_scan(&walk);
    exec->gradient_loss = exec->loss;
    walk.dscale = dscale;
    for (walk.first = 0; walk.first < vocab; walk.first += walk.count) {
        size_t at = (size_t)walk.first * (size_t)op->wide_in;
        walk.count = WCOHI_MIN(walk.width, vocab - walk.first);
        if (walk.count < vocab) wcohi_logits_chunk(&walk);
        wcohi_logits_rows(&walk, wcohi_logits_gradient_job);
        wcohi_product_weight(exec, dweight ? dweight + at : NULL, walk.logits, walk.width,
                             wcohi_tensor_data(exec, op->in), op->wide_in, walk.count, op->wide_in);
        wcohi_product_input(exec, wcohi_tensor_grad(exec, op->in), op->wide_in,
                            op->add_in || walk.first > 0, walk.logits, walk.width,
                            wcohi_param_data(exec, op->param[WCOHI_LOGITS_WEIGHT]) + at, walk.count,
                            op->wide_in);
    }
    for (i = 0; dtied && i < WCOHI_CHUNKS; i++) *dtied += (wcoh_real)dscale[i];
}

/* ---- optimisers: global norm, clip, AdamW, Muon, and the upper bounds of single parameters --- */

#define WCOHI_UPDATE_CHUNK 16384 /* reals that one job of the optimiser takes */

typedef struct wcohi_adamw {
    wcoh_real lr, beta1, beta2, epsilon;
    wcoh_real decay;                    /* decoupled; 0: none */
    wcoh_real correction1, correction2; /* 1/(1 - beta^t) */
    wcoh_real scale;                    /* of the gradient: the clip factor */
} wcohi_adamw;

#define wcohi_adamw_is(name)                                                                       \
    void name(wcoh_real *p, wcoh_real *m, wcoh_real *v, const wcoh_real *g, size_t count,          \
              const wcohi_adamw *rule)
typedef struct wcohi_adamw_kernels {
    wcohi_adamw_is((*adamw));
} wcohi_adamw_kernels;

/* Muon (Jordan and others, 2024): the step of a matrix is its momentum with every singular value
   brought near 1, by five rounds X <- (a + b A + c A^2) X of Newton and Schulz, A = X X^T. The steps
   have the size of AdamW's: 0.2 a number (Liu and others, 2025). */
#define WCOHI_MUON_ROUNDS 5
#define WCOHI_MUON_A 3.4445
#define WCOHI_MUON_B (-4.7750)
#define WCOHI_MUON_C 2.0315

typedef struct wcohi_muon {
    wcoh_real lr, momentum;
    wcoh_real decay; /* decoupled; 0: none */
    wcoh_real scale; /* of the gradient: the clip factor */
    wcoh_real size;  /* of the step: 0.2 sqrt(the longer side) */
} wcohi_muon;

#define wcohi_muon_mix_is(name)                                                                    \
    void name(wcoh_real *x, const wcoh_real *m, const wcoh_real *g, size_t count,                  \
              const wcohi_muon *rule)
#define wcohi_muon_step_is(name)                                                                   \
    void name(wcoh_real *p, wcoh_real *m, const wcoh_real *g, const wcoh_real *x, size_t count,    \
              const wcohi_muon *rule)
#define wcohi_blend_is(name)                                                                       \
    void name(wcoh_real *x, wcoh_real a, const wcoh_real *y, wcoh_real b, size_t count)
#define wcohi_mirror_is(name) void name(wcoh_real *c, int n)
typedef struct wcohi_muon_kernels {
    wcohi_muon_mix_is((*mix));
    wcohi_muon_step_is((*step));
    wcohi_blend_is((*blend));
    wcohi_mirror_is((*mirror));
} wcohi_muon_kernels;
#endif

#elif !defined(WAVECOH_NO_TRAINING) /* a pass: AdamW, Muon */

/* h = scale g; m = b1 m + (1 - b1) h; v = b2 v + (1 - b2) h^2;
   p -= lr (c1 m/(sqrt(c2 v) + eps) + decay p).  All [n]. */
WCOHI_KERNEL(adamw)
{
    S_(v) b1 = S_(set)(rule->beta1), b2 = S_(set)(rule->beta2), scale = S_(set)(rule->scale);
    S_(v) a1 = S_(set)(1 - rule->beta1), a2 = S_(set)(1 - rule->beta2);
    S_(v) c1 = S_(set)(rule->correction1), c2 = S_(set)(rule->correction2);
    S_(v) epsilon = S_(set)(rule->epsilon), lr = S_(set)(rule->lr);
    S_(v) decay = S_(set)(rule->decay);
    size_t i;
    for (i = 0; i < count; i += S_(W)) {
        int n = count - i < S_(W) ? (int)(count - i) : S_(W);
        S_(v) h = S_(mul)(scale, WCOHI_LOAD(g + i, n)), x = WCOHI_LOAD(p + i, n);
        S_(v) first = S_(fma)(b1, WCOHI_LOAD(m + i, n), S_(mul)(a1, h));
        S_(v) second = S_(fma)(b2, WCOHI_LOAD(v + i, n), S_(mul)(a2, S_(mul)(h, h)));
        S_(v) root = S_(add)(S_(sqrt)(S_(mul)(c2, second)), epsilon);
        S_(v) step = S_(fma)(decay, x, S_(div)(S_(mul)(c1, first), root));
        WCOHI_STORE(m + i, first, n);
        WCOHI_STORE(v + i, second, n);
        WCOHI_STORE(p + i, S_(fnma)(lr, step, x), n);
    }
}

static const wcohi_adamw_kernels S_(adamw_kernels) = {S_(adamw)};

/* x = h + mu (mu m + h), h = scale g: Nesterov's look ahead.  All [n]. */
WCOHI_KERNEL(muon_mix)
{
    S_(v) scale = S_(set)(rule->scale), mu = S_(set)(rule->momentum);
    size_t i;
    for (i = 0; i < count; i += S_(W)) {
        int n = count - i < S_(W) ? (int)(count - i) : S_(W);
        S_(v) h = S_(mul)(scale, WCOHI_LOAD(g + i, n));
        S_(v) first = S_(fma)(mu, WCOHI_LOAD(m + i, n), h);
        WCOHI_STORE(x + i, S_(fma)(mu, first, h), n);
    }
}

/* m = mu m + scale g; p -= lr (size x + decay p).  All [n]. */
WCOHI_KERNEL(muon_step)
{
    S_(v) scale = S_(set)(rule->scale), mu = S_(set)(rule->momentum), lr = S_(set)(rule->lr);
    S_(v) decay = S_(set)(rule->decay), size = S_(set)(rule->size);
    size_t i;
    for (i = 0; i < count; i += S_(W)) {
        int n = count - i < S_(W) ? (int)(count - i) : S_(W);
        S_(v) h = S_(mul)(scale, WCOHI_LOAD(g + i, n)), y = WCOHI_LOAD(p + i, n);
        S_(v) step = S_(fma)(decay, y, S_(mul)(size, WCOHI_LOAD(x + i, n)));
        WCOHI_STORE(m + i, S_(fma)(mu, WCOHI_LOAD(m + i, n), h), n);
        WCOHI_STORE(p + i, S_(fnma)(lr, step, y), n);
    }
}

/* x = a x + b y.  All [n]. */
WCOHI_KERNEL(blend)
{
    size_t i;
    for (i = 0; i < count; i += S_(W)) {
        int n = count - i < S_(W) ? (int)(count - i) : S_(W);
        S_(v) part = S_(mul)(S_(set)(b), WCOHI_LOAD(y + i, n));
        WCOHI_STORE(x + i, S_(fma)(S_(set)(a), WCOHI_LOAD(x + i, n), part), n);
    }
}

/* c [n,n]: right of the diagonal comes what stands left of it, in blocks of 4 columns by W rows as
   pack_turned turns them. */
WCOHI_KERNEL(mirror)
{
    size_t ld = (size_t)n;
    int i, j, p;
    for (i = 0; i < n; i += S_(W)) {
        int rows = WCOHI_MIN(S_(W), n - i), whole = 0;
#if S_(W) > 1
        for (whole = rows == S_(W) ? i : 0, p = 0; p < whole; p += 4) {
            const wcoh_real *at = c + (size_t)i * ld + p;
            wcoh_real *to = c + (size_t)p * ld + i;
            S_(v) x = S_(quads)(at, 4 * ld), y = S_(quads)(at + ld, 4 * ld);
            S_(v) z = S_(quads)(at + 2 * ld, 4 * ld), w = S_(quads)(at + 3 * ld, 4 * ld);
            S_(v) xy = S_(mixlo)(x, y), zw = S_(mixlo)(z, w);
            S_(store)(to, S_(pairlo)(xy, zw));
            S_(store)(to + ld, S_(pairhi)(xy, zw));
            xy = S_(mixhi)(x, y), zw = S_(mixhi)(z, w);
            S_(store)(to + 2 * ld, S_(pairlo)(xy, zw));
            S_(store)(to + 3 * ld, S_(pairhi)(xy, zw));
        }
#endif
        for (p = whole; p < i + rows; p++)
            for (j = WCOHI_MAX(p + 1, i); j < i + rows; j++)
                c[(size_t)p * ld + (size_t)j] = c[(size_t)j * ld + (size_t)p];
    }
}

static const wcohi_muon_kernels S_(muon_kernels) = {S_(muon_mix), S_(muon_step), S_(blend),
                                                    S_(mirror)};

#endif
#ifndef WCOHI_PASS

#ifndef WAVECOH_NO_TRAINING
/* ---- Muon's step of one matrix --------------------------------------------------------------- */

typedef struct wcohi_matrix {
    const wcohi_param_row *row;
    int rows, columns;
    size_t offset; /* in the parameter block */
} wcohi_matrix;

/* Number `index` of all matrices, in the order of the parameter rows. */
static wcohi_matrix wcohi_matrix_at(const wcohi_param_row *rows, int index)
{
    wcohi_matrix matrix;
    while (index >= rows->matrices) index -= rows++->matrices;
    matrix.row = rows;
    matrix.rows = rows->dims == 3 ? rows->shape[1] : rows->shape[0] / rows->matrices;
    matrix.columns = rows->shape[rows->dims - 1];
    matrix.offset = rows->offset + rows->count / (size_t)rows->matrices * (size_t)index;
    return matrix;
}

#ifdef WAVECOH_PLAIN
/* Every singular value of x [R,C] towards 1, in place; room: wcohi_matrix_reals(R, C) doubles. */
static WCOHI_UNUSED void wcohi_muon_plain(double *x, int rows, int columns, double *room)
{
    int small = WCOHI_MIN(rows, columns), wide = WCOHI_MAX(rows, columns), round, i, j, k;
    int is = rows <= columns ? columns : 1,
        js = rows <= columns ? 1 : columns; /* of it lying down */
    double norm = 0, *a = room, *b = a + small * small, *next = b + small * small;
    for (i = 0; i < rows * columns; i++) norm += x[i] * x[i];
    for (i = 0; i < rows * columns; i++) x[i] /= sqrt(norm) + 1e-7;
    for (round = 0; round < WCOHI_MUON_ROUNDS; round++) {
        for (i = 0; i < small; i++)
            for (j = 0; j < small; j++)
                for (a[i * small + j] = 0, k = 0; k < wide; k++)
                    a[i * small + j] += x[i * is + k * js] * x[j * is + k * js];
        for (i = 0; i < small; i++)
            for (j = 0; j < small; j++) {
                double square = 0;
                for (k = 0; k < small; k++) square += a[i * small + k] * a[k * small + j];
                b[i * small + j] = WCOHI_MUON_B * a[i * small + j] + WCOHI_MUON_C * square;
            }
        for (i = 0; i < small; i++)
            for (j = 0; j < wide; j++) {
                double sum = WCOHI_MUON_A * x[i * is + j * js];
                for (k = 0; k < small; k++) sum += b[i * small + k] * x[k * is + j * js];
                next[i * is + j * js] = sum;
            }
        memcpy(x, next, (size_t)rows * (size_t)columns * sizeof *x);
    }
}
#endif

/* A product of Muon: on one thread, for there are many matrices. */
typedef struct wcohi_muon_room {
    wcohi_compute compute;
    int rows, columns, small; /* of the matrix; small: its shorter side */
    wcoh_real *x, *next;      /* [rows,columns] */
    wcoh_real *gram, *square; /* [small,small] */
} wcohi_muon_room;

/* c = a b, or b a^T and the like as `args` says beforehand; every matrix is without gaps. */
static void wcohi_muon_product(const wcohi_muon_room *room, wcohi_gemm_args *args, wcoh_real *c,
                               const wcoh_real *a, const wcoh_real *b, int m, int k)
{
    args->m = m;
    args->k = k;
    args->a = a;
    args->lda = (size_t)(args->ta ? m : k);
    args->b = b;
    args->ldb = (size_t)(args->tb ? k : args->n);
    args->c = c;
    args->ldc = (size_t)args->n;
    wcohi_gemm(&room->compute, args);
}

/* gram = X X^T, or X^T X if X stands upright: always the smaller one. */
static void wcohi_muon_gram(const wcohi_muon_room *room)
{
    int upright = room->rows > room->columns;
    wcohi_gemm_args args;
    memset(&args, 0, sizeof args);
    args.half = 1;
    args.n = room->small;
    args.ta = upright;
    args.tb = !upright;
    wcohi_muon_product(room, &args, room->gram, room->x, room->x, room->small,
                       upright ? room->rows : room->columns);
    room->compute.kernels->muon->mirror(room->gram, room->small);
}

/* One round: next = (a + b A + c A^2) X, or X (..) if X stands upright; then they change places. */
static void wcohi_muon_round(wcohi_muon_room *room)
{
    const wcohi_muon_kernels *kernels = room->compute.kernels->muon;
    int i, n = room->small, upright = room->rows > room->columns;
    wcoh_real *x = room->x;
    wcohi_gemm_args args;
    wcohi_muon_gram(room);
    memset(&args, 0, sizeof args);
    args.half = 1;
    args.n = n;
    wcohi_muon_product(room, &args, room->square, room->gram, room->gram, n, n);
    for (i = 0; i < n; i++) { /* left of the diagonal alone */
        wcoh_real *row = room->square + (size_t)i * (size_t)n;
        kernels->blend(row, (wcoh_real)WCOHI_MUON_C, room->gram + (row - room->square),
                       (wcoh_real)WCOHI_MUON_B, (size_t)i + 1);
        row[i] += (wcoh_real)WCOHI_MUON_A;
    }
    kernels->mirror(room->square, n);
    memset(&args, 0, sizeof args);
    args.n = room->columns;
    wcohi_muon_product(room, &args, room->next, upright ? x : room->square,
                       upright ? room->square : x, room->rows, n);
    room->x = room->next;
    room->next = x;
}

/* ---- the update ------------------------------------------------------------------------------ */

typedef struct wcohi_update_job {
    wcohi_cpu_exec *exec;
    const wcohi_param_row *row;
    wcohi_adamw rule;
    wcohi_muon muon;
    double *squares; /* [chunks] */
    size_t count;
    int first; /* of the matrices whose turn it is */
} wcohi_update_job;

static void wcohi_squares_job(int index, int slot, void *user)
{
    const wcohi_update_job *job = (const wcohi_update_job *)user;
    size_t from = (size_t)index * WCOHI_UPDATE_CHUNK;
    (void)slot;
    job->squares[index] = job->exec->compute.kernels->common->sum_squares(
        job->exec->gradient + from, WCOHI_MIN((size_t)WCOHI_UPDATE_CHUNK, job->count - from));
}

/* Chunks are summed in order. */
static double wcohi_gradient_norm(wcohi_cpu_exec *exec)
{
    wcohi_update_job job;
    double sum = 0;
    int i, chunks;
    memset(&job, 0, sizeof job);
    job.exec = exec;
    job.count = exec->base.model->trained_span;
    job.squares = exec->squares;
    chunks = (int)((job.count + WCOHI_UPDATE_CHUNK - 1) / WCOHI_UPDATE_CHUNK);
    wcohi_pool_run(exec->compute.pool, chunks, (double)job.count, wcohi_squares_job, &job);
    for (i = 0; i < chunks; i++) sum += job.squares[i];
    return sqrt(sum);
}

/* The direction of one matrix, on one thread; it waits in the place of the second moment, which Muon
   has none of. */
static void wcohi_muon_job(int index, int slot, void *user)
{
    const wcohi_update_job *job = (const wcohi_update_job *)user;
    wcohi_cpu_exec *exec = job->exec;
    const wcohi_kernels *kernels = exec->compute.kernels;
    wcohi_matrix matrix = wcohi_matrix_at(exec->base.model->rows, job->first + index);
    size_t count = (size_t)matrix.rows * (size_t)matrix.columns;
    wcohi_muon_room room;
    double norm;
    int round;
    room.compute = exec->compute;
    room.compute.pool = NULL;
    room.compute.pack += wcohi_pack_count(slot);
    room.rows = matrix.rows;
    room.columns = matrix.columns;
    room.small = WCOHI_MIN(matrix.rows, matrix.columns);
    room.x = exec->scratch + (size_t)slot * exec->scratch_count;
    room.next = room.x + count;
    room.gram = room.next + count;
    room.square = room.gram + (size_t)room.small * (size_t)room.small;
    kernels->muon->mix(room.x, exec->moment1 + matrix.offset, exec->gradient + matrix.offset, count,
                       &job->muon);
    norm = sqrt(kernels->common->sum_squares(room.x, count)) + 1e-7;
    kernels->muon->blend(room.x, (wcoh_real)(1 / norm), room.x, 0, count);
    for (round = 0; round < WCOHI_MUON_ROUNDS; round++) wcohi_muon_round(&room);
    memcpy(exec->moment2 + matrix.offset, room.x, count * sizeof *room.x);
}

static void wcohi_update_chunk(int index, int slot, void *user)
{
    const wcohi_update_job *job = (const wcohi_update_job *)user;
    wcohi_cpu_exec *exec = job->exec;
    const wcohi_kernels *kernels = exec->compute.kernels;
    size_t from = (size_t)index * WCOHI_UPDATE_CHUNK, at = job->row->offset + from;
    size_t count = WCOHI_MIN((size_t)WCOHI_UPDATE_CHUNK, job->row->count - from);
    wcoh_real *p = exec->base.model->params + at, *m = exec->moment1 + at, *v = exec->moment2 + at;
    const wcoh_real *g = exec->gradient + at;
    (void)slot;
    if (exec->base.plan->muon && job->row->matrices)
        kernels->muon->step(p, m, g, v, count, &job->muon);
    else kernels->adamw->adamw(p, m, v, g, count, &job->rule);
}

/* 1 if the gradient, clipped, may enter the moments: they stay finite while its squares are floats,
   with some room. (tools/shaders/clip.comp has the same bound.) */
static int wcohi_gradient_fits(double norm, double clip)
{
    return wcohi_is_finite(norm) && (clip > 0 ? WCOHI_MIN(norm, clip) : norm) <= 1e19;
}

static void wcohi_update_rules(wcohi_update_job *job, wcohi_cpu_exec *exec,
                               const wcohi_update *update)
{
    double norm = exec->outcome.norm;
    memset(job, 0, sizeof *job);
    job->exec = exec;
    job->rule.lr = (wcoh_real)update->lr;
    job->rule.beta1 = (wcoh_real)update->beta1;
    job->rule.beta2 = (wcoh_real)update->beta2;
    job->rule.epsilon = (wcoh_real)update->epsilon;
    job->rule.correction1 = (wcoh_real)(1 / (1 - pow(update->beta1, (double)update->step)));
    job->rule.correction2 = (wcoh_real)(1 / (1 - pow(update->beta2, (double)update->step)));
    job->rule.scale =
        (wcoh_real)(update->clip > 0 && norm > update->clip ? update->clip / norm : 1);
    job->muon.lr = (wcoh_real)update->muon_lr;
    job->muon.momentum = (wcoh_real)update->momentum;
    job->muon.scale = job->rule.scale;
}

/* The size of Muon's steps of a row's matrices. */
static double wcohi_muon_size(const wcohi_param_row *row)
{
    wcohi_matrix matrix;
    if (!row->matrices) return 0;
    matrix = wcohi_matrix_at(row, 0);
    return 0.2 * sqrt((double)WCOHI_MAX(matrix.rows, matrix.columns));
}

/* Parameters and moments change, row by row. */
static void wcohi_update_apply(wcohi_update_job *job, const wcohi_update *update)
{
    wcohi_cpu_exec *exec = job->exec;
    wcoh_model *model = exec->base.model;
    size_t i;
    int r;
    for (r = 0; r < model->row_count; r++) {
        wcoh_real *data = model->params + model->rows[r].offset;
        job->row = &model->rows[r];
        if (!job->row->trained) continue;
        job->rule.decay = job->row->decayed ? (wcoh_real)update->decay : 0;
        job->muon.decay = job->rule.decay;
        job->muon.size = (wcoh_real)wcohi_muon_size(job->row);
        wcohi_pool_run(exec->compute.pool,
                       (int)((job->row->count + WCOHI_UPDATE_CHUNK - 1) / WCOHI_UPDATE_CHUNK),
                       10.0 * (double)job->row->count, wcohi_update_chunk, job);
        for (i = 0; job->row->maximum < 1e30 && i < job->row->count; i++)
            if (data[i] > (wcoh_real)job->row->maximum) data[i] = (wcoh_real)job->row->maximum;
    }
    model->version++;
}

/* *time: matrices whose direction is known. */
static wcoh_result wcohi_cpu_update(wcohi_exec *base, const wcohi_update *update, int whole,
                                    int *time, wcoh_error *error)
{
    wcohi_cpu_exec *exec = (wcohi_cpu_exec *)base;
    int left = base->plan->muon ? base->plan->matrices - *time : 0;
    wcohi_update_job job;
    (void)error;
    if (*time == 0) {
        exec->outcome.nats = exec->gradient_loss;
        exec->outcome.norm = wcohi_gradient_norm(exec);
        exec->outcome.applied = wcohi_is_finite(exec->gradient_loss) &&
                                wcohi_gradient_fits(exec->outcome.norm, update->clip);
    }
    if (!exec->outcome.applied) return WCOH_OK;
    wcohi_update_rules(&job, exec, update);
    job.first = *time;
    if (left > 0) {
        int now = whole ? left : WCOHI_MIN(left, wcohi_pool_slots(exec->compute.pool));
        wcohi_pool_run(exec->compute.pool, now, 1e30, wcohi_muon_job, &job);
        *time += now;
        if (now < left) return WCOH_OK;
    }
    *time = 0;
    wcohi_update_apply(&job, update);
    return WCOH_OK;
}
#endif

/* ======== 3 ops: the sets, the CPU device ===================================================== */

/* ---- the kernels of an instruction set ------------------------------------------------------- */

#define WCOHI_GROUP_TABLE(group) &S_(group##_kernels),
#define WCOHI_KERNEL_TABLE(isa)                                                                    \
    static const wcohi_kernels S_(kernels) = {isa, WCOHI_KERNEL_GROUPS(WCOHI_GROUP_TABLE)};

#ifdef __has_include
#if !__has_include(WAVECOH_FILE)
#error "wavecoh.h includes itself and finds no file of the name in WAVECOH_FILE: define WAVECOH_FILE as the name of the file that holds its text"
#endif
#endif
#define WCOHI_PASS
#ifdef WCOHI_HAS_SCALAR
#define S_(name) wcohi_scalar_##name
#include WAVECOH_FILE /* not found? WAVECOH_FILE must be the name of this file */
#ifdef WCOHI_PASS_DONE
WCOHI_KERNEL_TABLE(WCOH_ISA_SCALAR)
#endif
#undef S_
#endif
#ifdef WCOHI_HAS_SSE2
#define S_(name) wcohi_sse2_##name
#include WAVECOH_FILE /* not found? WAVECOH_FILE must be the name of this file */
#ifdef WCOHI_PASS_DONE
WCOHI_KERNEL_TABLE(WCOH_ISA_SSE2)
#endif
#undef S_
#endif
#ifdef WCOHI_HAS_AVX
#define S_(name) wcohi_avx2_##name
#include WAVECOH_FILE
#ifdef WCOHI_PASS_DONE
WCOHI_KERNEL_TABLE(WCOH_ISA_AVX2)
#endif
#undef S_
#define S_(name) wcohi_avx512_##name
#include WAVECOH_FILE
#ifdef WCOHI_PASS_DONE
WCOHI_KERNEL_TABLE(WCOH_ISA_AVX512)
#endif
#undef S_
#endif
#ifdef WCOHI_HAS_NEON
#define S_(name) wcohi_neon_##name
#include WAVECOH_FILE /* not found? WAVECOH_FILE must be the name of this file */
#ifdef WCOHI_PASS_DONE
WCOHI_KERNEL_TABLE(WCOH_ISA_NEON)
#endif
#undef S_
#endif
#undef WCOHI_PASS
#ifndef WCOHI_PASS_DONE
#error "wavecoh.h includes itself by the name in WAVECOH_FILE and found another text: define WAVECOH_FILE as the name of a file that holds the text of wavecoh.h and nothing else"
#endif

#define WCOHI_KERNELS_ADDRESS(set, isa) &set##_kernels,
static const wcohi_kernels *const wcohi_kernels_built[] = {WCOHI_EACH_SET(WCOHI_KERNELS_ADDRESS)};

/* The kernels of a set that this build has; of AUTO and the rest: those of its baseline. */
static const wcohi_kernels *wcohi_kernels_for(wcoh_isa isa)
{
    int i;
    for (i = 0; i < WCOHI_COUNT(wcohi_kernels_built); i++)
        if (wcohi_kernels_built[i]->isa == isa) return wcohi_kernels_built[i];
    return wcohi_kernels_built[0];
}

/* ---- the table of ops ------------------------------------------------------------------------ */

/* What every op is asked on a CPU. */
typedef struct wcohi_cpu_op {
    wcohi_sizes_fn *sizes;
    void (*forward)(wcohi_cpu_exec *exec, const wcohi_op *op);
    /* After parameters changed; memory: `prepared` bytes. NULL: nothing to do. */
    void (*refresh)(wcohi_cpu_exec *exec, const wcohi_op *op, void *memory);
    /* A state that comes from a file: 0 if it cannot be one. NULL: anything can. */
    int (*admit)(const wcohi_op *op, void *state);
#ifndef WAVECOH_NO_TRAINING
    void (*backward)(wcohi_cpu_exec *exec, const wcohi_op *op);
#endif
} wcohi_cpu_op;

#define WCOHI_CPU_OP(KIND, name, keeps, refresh, admit)                                            \
    {wcohi_##name##_sizes, wcohi_##name##_forward, refresh,                                        \
     admit WCOHI_BACK(wcohi_##name##_backward)},
static const wcohi_cpu_op wcohi_cpu_ops[WCOHI_KINDS] = {WCOHI_OP_KINDS(WCOHI_CPU_OP)};

#ifdef WAVECOH_PLAIN
#define WCOHI_OP_NAME(KIND, name, keeps, refresh, admit) #name,
static const char *const wcohi_op_names[WCOHI_KINDS] = {WCOHI_OP_KINDS(WCOHI_OP_NAME)};
#define WCOHI_PLAIN_OP(KIND, name, keeps, refresh, admit) wcohi_##name##_plain,
static void (*const wcohi_plain_ops[WCOHI_KINDS])(wcohi_plain *p, const wcohi_op *op) = {
    WCOHI_OP_KINDS(WCOHI_PLAIN_OP)};
#endif

/* What an op needs, in a pass of at most the plan's shape with `slots` workers. */
static wcohi_sizes wcohi_op_sizes(const wcohi_plan *plan, const wcohi_op *op, int slots)
{
    wcohi_sizes sizes;
    memset(&sizes, 0, sizeof sizes);
    wcohi_cpu_ops[op->kind].sizes(plan, op, slots, &sizes);
    return sizes;
}

WCOHI_COLD wcoh_result wcohi_cpu_desc_check(const wcoh_cpu_desc *cpu, wcoh_error *error)
{
    wcoh_isa isa;
    if (cpu->threads < 0 || cpu->threads > WCOHI_MAX_THREADS)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "threads is %d: allowed are 1 to %d, 0 for the CPUs of this process",
                          cpu->threads, WCOHI_MAX_THREADS);
    if ((int)cpu->isa < 0 || cpu->isa > WCOH_ISA_NEON)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "isa is %d: allowed are 0 to %d", (int)cpu->isa,
                          (int)WCOH_ISA_NEON);
    return wcohi_isa_choose(&isa, cpu->isa, error);
}

static int wcohi_cpu_slots(const wcoh_cpu_desc *desc)
{
    return desc->threads > 0 ? desc->threads : wcoh_cpu_count();
}

/* Memory of a CPU device: itself and its pool. */
static size_t wcohi_cpu_bytes(const wcoh_cpu_desc *desc)
{
    return wcohi_add(wcohi_round_up(sizeof(wcohi_cpu), WCOHI_ALIGN), wcohi_pool_bytes(desc));
}

/* The most that any op of a plan needs: ops take turns. */
static wcohi_sizes wcohi_plan_sizes(const wcohi_plan *plan, int slots)
{
    wcohi_sizes most, one;
    int i;
    memset(&most, 0, sizeof most);
    for (i = 0; i < plan->count; i++) {
        one = wcohi_op_sizes(plan, &plan->ops[i], slots);
        most.partial = WCOHI_MAX(most.partial, one.partial);
        most.scratch = WCOHI_MAX(most.scratch, one.scratch);
        most.shared = WCOHI_MAX(most.shared, one.shared);
    }
    if (plan->muon) most.scratch = WCOHI_MAX(most.scratch, plan->matrix);
    most.partial = wcohi_round_up(most.partial, WCOHI_ALIGN / sizeof(float));
    most.scratch = wcohi_round_up(most.scratch, WCOHI_ALIGN / sizeof(float));
    return most;
}

/* Lay an exec out; the same for measuring. */
static wcohi_cpu_exec *wcohi_cpu_exec_layout(wcohi_arena *arena, int slots, const wcohi_plan *plan,
                                             size_t trained)
{
    wcohi_sizes most = wcohi_plan_sizes(plan, slots);
    wcohi_cpu_exec blank, *exec = WCOHI_TAKE(arena, 1, wcohi_cpu_exec);
    int i;
    memset(&blank, 0, sizeof blank);
#ifdef WAVECOH_NO_TRAINING
    (void)trained;
#else
    if (plan->training) {
        blank.gradient = WCOHI_TAKE(arena, trained, wcoh_real);
        blank.moment1 = WCOHI_TAKE(arena, trained, wcoh_real);
        blank.moment2 = WCOHI_TAKE(arena, trained, wcoh_real);
        blank.squares = WCOHI_TAKE(arena, trained / WCOHI_UPDATE_CHUNK + 1, double);
        blank.partial_count = most.partial;
        blank.partials = WCOHI_TAKE(arena, wcohi_mul(WCOHI_CHUNKS, most.partial), wcoh_real);
    }
#endif
    blank.activations = WCOHI_TAKE(arena, plan->activations, wcoh_real);
    blank.scratch_count = most.scratch;
    blank.scratch = WCOHI_TAKE(arena, wcohi_mul((size_t)slots, most.scratch), wcoh_real);
    blank.shared = wcohi_take(arena, 1, most.shared);
    blank.compute.pack = WCOHI_TAKE(arena, wcohi_pack_count(slots), wcoh_real);
    if (plan->session) {
        blank.logits = WCOHI_TAKE(arena, plan->vocab, wcoh_real);
        blank.states = WCOHI_TAKE(arena, plan->states, unsigned char);
    }
    blank.prepared = WCOHI_TAKE(arena, plan->count, void *);
    for (i = 0; i < plan->count; i++) {
        void *memory = wcohi_take(arena, 1, wcohi_op_sizes(plan, &plan->ops[i], slots).prepared);
        if (blank.prepared) blank.prepared[i] = memory;
    }
    if (exec) *exec = blank;
    return exec;
}

WCOHI_COLD size_t wcohi_cpu_exec_bytes(int slots, const wcohi_plan *plan)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_cpu_exec_layout(&arena, slots, plan, plan->trained_span);
    return arena.used;
}

static size_t wcohi_cpu_table_bytes(wcoh_device *device, const wcohi_plan *plan, int session)
{
    (void)session;
    return wcohi_cpu_exec_bytes(((wcohi_cpu *)device)->slots, plan);
}

WCOHI_COLD wcoh_result wcohi_cpu_exec_open(wcoh_device *device, const wcohi_plan *plan,
                                           wcoh_model *model, int session, void *memory,
                                           wcohi_exec **out, wcoh_error *error)
{
    wcohi_cpu *cpu = (wcohi_cpu *)device;
    wcohi_arena arena;
    wcohi_cpu_exec *exec;
    (void)session;
    (void)error; /* a CPU refuses nothing */
    arena.base = (unsigned char *)memory;
    arena.used = 0;
    exec = wcohi_cpu_exec_layout(&arena, cpu->slots, plan, model->trained_span);
    exec->base.device = device;
    exec->base.plan = plan;
    exec->base.model = model;
    exec->compute.kernels = cpu->kernels;
    exec->compute.pool = cpu->pool;
    *out = &exec->base;
    return WCOH_OK;
}

static void wcohi_cpu_exec_close(wcohi_exec *exec) { (void)exec; }

/* Host memory of an area; *size of one element. */
static void *wcohi_cpu_area(wcohi_exec *base, wcohi_area area, size_t *size)
{
    wcohi_cpu_exec *exec = (wcohi_cpu_exec *)base;
    *size = area == WCOHI_AREA_STATES ? 1 : sizeof(wcoh_real);
    switch (area) {
    case WCOHI_AREA_PARAMS: return base->model->params;
    case WCOHI_AREA_GRADIENT: return exec->gradient;
    case WCOHI_AREA_MOMENT1: return exec->moment1;
    case WCOHI_AREA_MOMENT2: return exec->moment2;
    case WCOHI_AREA_STATES: return exec->states;
    default: return exec->logits;
    }
}

static void *wcohi_cpu_map(wcohi_exec *exec, wcohi_area area, wcoh_error *error)
{
    size_t size;
    (void)error;
    return wcohi_cpu_area(exec, area, &size);
}

static wcoh_result wcohi_cpu_upload(wcohi_exec *exec, wcohi_area area, size_t first,
                                    const void *data, size_t count, wcoh_error *error)
{
    size_t size;
    unsigned char *to = (unsigned char *)wcohi_cpu_area(exec, area, &size);
    (void)error;
    memmove(to + first * size, data, count * size); /* data may be the area itself */
    return WCOH_OK;
}

static wcoh_result wcohi_cpu_download(wcohi_exec *exec, wcohi_area area, size_t first, void *data,
                                      size_t count, wcoh_error *error)
{
    size_t size;
    const unsigned char *from = (const unsigned char *)wcohi_cpu_area(exec, area, &size);
    (void)error;
    memmove(data, from + first * size, count * size);
    return WCOH_OK;
}

static void wcohi_cpu_refresh(wcohi_cpu_exec *exec)
{
    const wcohi_plan *plan = exec->base.plan;
    int i;
    if (exec->prepared_version == exec->base.model->version) return;
    for (i = 0; i < plan->count; i++)
        if (wcohi_cpu_ops[plan->ops[i].kind].refresh)
            wcohi_cpu_ops[plan->ops[i].kind].refresh(exec, &plan->ops[i], exec->prepared[i]);
    exec->prepared_version = exec->base.model->version;
}

static wcoh_result wcohi_cpu_run(wcohi_exec *base, const wcohi_run *run, int first, int last,
                                 wcoh_error *error)
{
    wcohi_cpu_exec *exec = (wcohi_cpu_exec *)base;
    const wcohi_plan *plan = base->plan;
    int time;
    (void)error;
    exec->run = run;
    wcohi_cpu_refresh(exec);
    if (run->session && run->position == 0 && first == 0) /* a blank state is all zero */
        memset(exec->states, 0, plan->states);
    for (time = first; time < last && time < plan->count; time++)
        wcohi_cpu_ops[plan->ops[time].kind].forward(exec, &plan->ops[time]);
#ifndef WAVECOH_NO_TRAINING
    for (; time < last; time++) {
        const wcohi_op *op = &plan->ops[2 * plan->count - 1 - time];
        if (time == plan->count && !run->add)
            memset(exec->gradient, 0, base->model->trained_span * sizeof *exec->gradient);
        wcohi_cpu_ops[op->kind].backward(exec, op);
    }
#endif
    return WCOH_OK;
}

static wcoh_result wcohi_cpu_loss(wcohi_exec *exec, double *nats, wcoh_error *error)
{
    (void)error;
    *nats = ((wcohi_cpu_exec *)exec)->loss;
    return WCOH_OK;
}

#ifndef WAVECOH_NO_TRAINING
static wcoh_result wcohi_cpu_outcome(wcohi_exec *exec, wcohi_outcome *outcome, wcoh_error *error)
{
    (void)error;
    *outcome = ((wcohi_cpu_exec *)exec)->outcome;
    return WCOH_OK;
}
#endif

/* ---- its life -------------------------------------------------------------------------------- */

static void wcohi_cpu_destroy(wcoh_device *device)
{
    wcohi_pool_close(((wcohi_cpu *)device)->pool);
    wcohi_allocation_give(&device->block);
}

static const wcohi_device_table wcohi_cpu_table = {
    "cpu",
    0,
    wcohi_cpu_table_bytes,
    wcohi_cpu_exec_open,
    wcohi_cpu_exec_close,
    wcohi_cpu_upload,
    wcohi_cpu_download,
    wcohi_cpu_map,
    wcohi_cpu_run,
    wcohi_cpu_loss,
#ifndef WAVECOH_NO_TRAINING
    wcohi_cpu_update,
    wcohi_cpu_outcome,
#endif
    wcohi_cpu_destroy,
};

/* Make a CPU device in memory [wcohi_cpu_bytes(desc)]; desc is checked. */
WCOHI_COLD wcoh_result wcohi_cpu_open(wcoh_device **out, void *memory, const wcoh_cpu_desc *desc,
                                      wcoh_error *error)
{
    wcohi_cpu *cpu = (wcohi_cpu *)memory;
    unsigned char *pool = (unsigned char *)memory + wcohi_round_up(sizeof *cpu, WCOHI_ALIGN);
    wcoh_result result;
    memset(cpu, 0, sizeof *cpu);
    cpu->base.table = &wcohi_cpu_table;
    cpu->kernels = wcohi_kernels_for(desc->isa == WCOH_ISA_AUTO ? wcoh_cpu_best_isa() : desc->isa);
    if ((result = wcohi_pool_open(&cpu->pool, pool, desc, error)) != WCOH_OK) return result;
    cpu->slots = wcohi_pool_slots(cpu->pool);
    *out = &cpu->base;
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_cpu_device_create(wcoh_device **out, const wcoh_cpu_desc *desc,
                                            const wcoh_memory *memory, wcoh_error *error)
{
    wcohi_arena arena;
    wcohi_allocation block;
    void *place;
    wcoh_result result;
    if (!out) return wcohi_null("device", error);
    *out = NULL;
    if (!desc) return wcohi_null("desc", error);
    if ((result = wcohi_cpu_desc_check(desc, error)) != WCOH_OK) return result;
    if ((result = wcohi_allocation_take(&block, &arena, memory, wcohi_cpu_bytes(desc), "device",
                                        error)) != WCOH_OK)
        return result;
    place = wcohi_take(&arena, 1, wcohi_cpu_bytes(desc));
    if ((result = wcohi_cpu_open(out, place, desc, error)) != WCOH_OK) {
        wcohi_allocation_give(&block);
        return result;
    }
    (*out)->block = block;
    return WCOH_OK;
}

WCOH_API void wcoh_device_destroy(wcoh_device *device)
{
    if (device) device->table->destroy(device);
}

/* ======== 4 model: settings =================================================================== */

/* ---- the field tables ------------------------------------------------------------------------ */

/* clang-format off */
#define WCOHI_INT(desc, member, standard, low, high, off, help)                                    \
    {#member, WCOH_FIELD_INT, offsetof(desc, member), standard, low, high, off, 0, NULL, 0, help, 0}
#define WCOHI_REQUIRED(desc, member, low, high, help)                                              \
    {#member, WCOH_FIELD_INT, offsetof(desc, member), 0, low, high, 0, 1, NULL, 0, help, 0}
#define WCOHI_REAL(desc, member, standard, low, high, off, help)                                   \
    {#member, WCOH_FIELD_REAL, offsetof(desc, member), standard, low, high, off, 0, NULL, 0, help, \
     0}
#define WCOHI_CHOICE(desc, member, choices, help)                                                  \
    {#member, WCOH_FIELD_CHOICE, offsetof(desc, member), 0, 0, 0, 0, 0, choices, 0, help, 0}
#define WCOHI_CYCLED(desc, member, choices, help) /* or a pattern */                               \
    {#member, WCOH_FIELD_CHOICE, offsetof(desc, member), 0, 0, 0, 0, 0, choices,                   \
     offsetof(desc, member##_pattern), help, 0}
#define WCOHI_SEED(desc, member, help)                                                             \
    {#member, WCOH_FIELD_SEED, offsetof(desc, member), 0, 0, 0, 0, 0, NULL, 0, help, 0}
#define WCOHI_LIVE_INT(desc, member, standard, low, high, off, help) /* changes in mid-run */      \
    {#member, WCOH_FIELD_INT, offsetof(desc, member), standard, low, high, off, 0, NULL, 0, help, 1}
#define WCOHI_LIVE_REAL(desc, member, standard, low, high, off, help)                              \
    {#member, WCOH_FIELD_REAL, offsetof(desc, member), standard, low, high, off, 0, NULL, 0, help, \
     1}
/* clang-format on */
#define WCOHI_AUTO "auto off on"
#define WCOHI_RATE_MOST 10 /* the largest learning rate */

static const wcoh_field wcohi_model_fields[] = {
#define M wcoh_model_desc
    WCOHI_REQUIRED(M, vocab, 2, 16777216, "number of symbols (required)"),
    WCOHI_INT(M, context, 256, 1, 16777216, 0,
              "tokens in the position table and in dot attention's ring"),
    WCOHI_INT(M, bands, 64, 1, 65536, 0, "oscillators a layer; the width is twice that"),
    WCOHI_INT(M, layers, 4, 1, 1024, 0, "blocks"),
    WCOHI_INT(M, heads, 16, 1, 1024, 0, "attention heads; must divide 2 x bands"),
    WCOHI_INT(M, maestro, 16, 1, 65536, 0, "width of the maestro bottlenecks"),
    WCOHI_CHOICE(M, embedding, "auto harmonic circles random",
                 "symbol table; auto: one circle, several where one cannot tell neighbours apart"),
    WCOHI_CHOICE(M, embedding_trained, WCOHI_AUTO, "train the symbol table; auto: off"),
    WCOHI_CHOICE(M, embedding_unit, WCOHI_AUTO,
                 "scale harmonic and sinusoidal tables by 1/sqrt(bands); auto: off"),
    WCOHI_INT(M, circles, 2, 2, 4, 0, "number of circles of the circles embedding"),
    WCOHI_INT(M, modulus1, 0, 2, 16777216, 0, "modulus of circle 1; 0: automatic"),
    WCOHI_INT(M, modulus2, 0, 2, 16777216, 0, "modulus of circle 2"),
    WCOHI_INT(M, modulus3, 0, 2, 16777216, 0, "modulus of circle 3"),
    WCOHI_INT(M, modulus4, 0, 2, 16777216, 0, "modulus of circle 4"),
    WCOHI_CHOICE(M, position, "none sinusoidal learned", "position table"),
    WCOHI_CYCLED(M, attention, "coherence shared frozen dot rotary",
                 "kind of attention; a list, a,a,b, is cycled over the layers"),
    WCOHI_REAL(M, gain, 2, 0.01, 12, 0, "coherence gain kappa at the start"),
    WCOHI_CHOICE(M, forgetting, WCOHI_AUTO,
                 "coherence heads whose damping depends on what they hear; auto: off"),
    WCOHI_CHOICE(M, loudness, WCOHI_AUTO,
                 "coherence heads that hear some symbols more loudly than others; auto: off"),
    WCOHI_CHOICE(M, block, "parallel parallel_shared sequential",
                 "how attention and feed-forward join the stream"),
    WCOHI_CHOICE(M, norm, "layer rms", "what stands before attention, feed-forward and head"),
    WCOHI_CYCLED(M, ffn, "kerr mlp gated_mlp",
                 "kind of feed-forward layer; a list is cycled likewise"),
    WCOHI_INT(M, hidden, 0, 1, 16777216, 0,
              "hidden width of the mlp; 0: 8 x bands, gated two thirds of it to a multiple of 8"),
    WCOHI_CHOICE(M, gate, WCOHI_AUTO,
                 "multiply the kerr layer by a linear gate of its input; auto: off"),
    WCOHI_CHOICE(M, value_gate, WCOHI_AUTO,
                 "multiply attention by 2 sigmoid(a linear layer of its input); auto: off"),
    WCOHI_CHOICE(M, maestros, "dual add",
                 "maestros before and after the oscillators, or one added to them"),
    WCOHI_CHOICE(M, solver, "exact perturbative rk4 none",
                 "how the oscillators are solved; none: left out (the control)"),
    WCOHI_INT(M, rk4_steps, 8, 1, 256, 0, "steps of the rk4 solver"),
    WCOHI_CHOICE(M, limiter, WCOHI_AUTO,
                 "soft knee on |z| before the oscillators; auto: on for perturbative"),
    WCOHI_REAL(M, ceiling, 0, 0.01, 1000, 0, "knee of the limiter; 0: sqrt((pi/2)/(alpha+4 beta))"),
    WCOHI_REAL(M, gamma, 0.1, 1e-6, 20, 0, "damping of the oscillators at the start"),
    WCOHI_REAL(M, alpha, 0.1, 1e-6, 100, 1, "self-phase coupling at the start"),
    WCOHI_REAL(M, beta, 0.2, 1e-6, 100, 1, "coupling to the four neighbour bands at the start"),
    WCOHI_CHOICE(M, kerr_trained, WCOHI_AUTO, "train gamma, alpha, beta; auto: on"),
    WCOHI_CHOICE(M, omega_trained, WCOHI_AUTO, "train omega; auto: as kerr_trained"),
    WCOHI_CHOICE(M, corrector, WCOHI_AUTO,
                 "learned rotation of each band after the oscillators; auto: off"),
    WCOHI_CHOICE(M, per_band_first, WCOHI_AUTO,
                 "2x2 layer per band in place of the first block's oscillators; auto: off"),
    WCOHI_INT(M, groups, 1, 1, 65536, 0, "diagonal blocks of the feed-forward output projection"),
    WCOHI_REAL(M, offset, 0, 1e-6, 100, 0,
               "deviation of a fixed random offset before the oscillators (stochastic resonance)"),
    WCOHI_CHOICE(M, head, "dense tied low_rank", "output layer"),
    WCOHI_INT(M, head_rank, 32, 1, 65536, 0, "rank of the low_rank head"),
    WCOHI_CHOICE(M, init, "uniform uniform_zero normal",
                 "weights U(1/sqrt(fan_in)); that with zero biases; N(0,0.02)"),
    WCOHI_SEED(M, seed, "of the initial parameters"),
#undef M
};

#ifndef WAVECOH_NO_TRAINING
static const wcoh_field wcohi_trainer_fields[] = {
#define T wcoh_trainer_desc
    WCOHI_INT(T, batch, 12, 1, 1048576, 0, "windows a micro-batch"),
    WCOHI_INT(T, seq, 64, 1, 16777216, 0, "tokens a window"),
    WCOHI_LIVE_INT(T, steps, 2000, 1, 2147483647, 1, "steps of the run; negative: without end"),
    WCOHI_CHOICE(T, optimizer, "adamw muon",
                 "of hidden matrices: Muon orthogonalises their momenta; all else is AdamW's"),
    WCOHI_LIVE_REAL(T, lr, 4.5e-3, 1e-9, WCOHI_RATE_MOST, 0,
                    "peak learning rate; wider models want less"),
    WCOHI_LIVE_REAL(T, muon_lr, 4e-3, 1e-9, WCOHI_RATE_MOST, 0,
                    "peak learning rate of Muon's matrices; it goes up and down as lr does"),
    WCOHI_LIVE_REAL(T, lr_end, 0.1, 1e-9, 1, 1,
                    "share of lr at the end of the cosine; negative: constant lr"),
    WCOHI_LIVE_INT(T, warmup, 100, 1, 2147483647, 1, "steps of linear warm-up; negative: none"),
    WCOHI_REAL(T, beta1, 0.9, 1e-6, 0.999999, 1, "AdamW first moment; negative: 0"),
    WCOHI_REAL(T, beta2, 0.99, 1e-6, 0.9999999, 0, "AdamW second moment"),
    WCOHI_REAL(T, epsilon, 1e-8, 1e-20, 1, 0, "AdamW epsilon"),
    WCOHI_REAL(T, muon_momentum, 0.95, 1e-6, 0.999999, 1, "Muon's momentum; negative: 0"),
    WCOHI_LIVE_REAL(T, decay, 0.1, 1e-9, 10, 1, "weight decay of matrices; negative: none"),
    WCOHI_LIVE_REAL(T, clip, 1, 1e-6, 1e9, 1,
                    "largest global gradient norm; negative: no clipping"),
    WCOHI_INT(T, accumulate, 1, 1, 65536, 0, "micro-batches a step"),
    WCOHI_LIVE_INT(T, eval_every, 250, 1, 2147483647, 1,
                   "steps between evaluations; negative: never"),
    WCOHI_INT(T, eval_batches, 150, 1, 1048576, 0, "validation windows, in batches, evenly spaced"),
    WCOHI_LIVE_INT(T, patience, 0, 1, 2147483647, 0,
                   "evaluations without improvement before an early stop"),
    WCOHI_LIVE_REAL(T, target_val, 0, 1e-6, 100, 0, "stop at this validation loss"),
    WCOHI_CHOICE(T, curriculum, WCOHI_AUTO,
                 "8, 3/8 and all bands over thirds of the run; auto: off"),
    WCOHI_REAL(T, dropout, 0, 1e-6, 0.9, 0,
               "share of what attention and feed-forward add that a step drops; 0: none"),
    WCOHI_REAL(T, embedding_dropout, 0, 1e-6, 0.9, 0,
               "share of the embedded rows that a step drops; 0: none"),
    WCOHI_SEED(T, seed, "of the batches and of what is dropped"),
#undef T
};
#endif

static const wcoh_field wcohi_sample_fields[] = {
#define S wcoh_sample_desc
    WCOHI_REAL(S, temperature, 0, 1e-6, 1000, 0,
               "divides the logits; 0: always the likeliest symbol"),
    WCOHI_INT(S, top_k, 0, 1, 16777216, 0, "keep the k likeliest symbols; 0: all"),
    WCOHI_REAL(S, top_p, 0, 1e-9, 1, 0,
               "keep the smallest set whose probability reaches p; 0: all"),
    WCOHI_REAL(S, min_p, 0, 1e-9, 1, 0,
               "drop symbols below that share of the likeliest one's probability; 0: none"),
    WCOHI_REAL(S, repetition_penalty, 0, 0.01, 100, 0,
               "above 1: symbols heard of late become less likely; 0: off"),
    WCOHI_INT(S, repetition_window, 64, 1, 1024, 0, "symbols that count as heard of late"),
    WCOHI_SEED(S, seed, "of the draws"),
#undef S
};

static const wcoh_field wcohi_session_fields[] = {
    WCOHI_INT(wcoh_session_desc, prefill, 64, 1, 65536, 0,
              "tokens of a prompt that are heard at once"),
};

static const wcoh_field wcohi_eval_fields[] = {
    WCOHI_INT(wcoh_eval_desc, seq, 0, 1, 16777216, 0,
              "tokens a window; 0: 64, or the context if that is less"),
    WCOHI_INT(wcoh_eval_desc, batch, 16, 1, 1048576, 0, "windows scored at once"),
};

static const wcoh_field wcohi_tokenizer_fields[] = {
    WCOHI_CHOICE(wcoh_tokenizer_desc, kind, "bytes chars chars+bytes", "what a symbol is"),
    WCOHI_INT(wcoh_tokenizer_desc, start, 0, 1, 1, 0, "1: a symbol that every sequence begins with"),
};

#ifndef WAVECOH_NO_TOOLKIT
/* Arrays of the toolkit have that room; hits one search keeps beyond those wanted are spare. */
enum { WCOHI_BANDS = 128, WCOHI_TOP = 1024, WCOHI_SPARE_HITS = 16, WCOHI_HITS = WCOHI_TOP + WCOHI_SPARE_HITS };

static const wcoh_field wcohi_circle_fields[] = {
    WCOHI_INT(wcoh_circle_desc, buckets, 360, 1, 16777216, 0,
              "buckets of an axis; on a torus at most 4096"),
    WCOHI_INT(wcoh_circle_desc, axes, 1, 1, 2, 0, "phases of an entity: 1 a ring, 2 a torus"),
};

static const wcoh_field wcohi_spectral_fields[] = {
#define S wcoh_spectral_desc
    WCOHI_REQUIRED(S, dimensions, 1, 1048576, "numbers a vector (required)"),
    WCOHI_INT(S, bands, 0, 1, WCOHI_BANDS, 0,
              "bands of the split; 0: 8, or as many as there are bins"),
    WCOHI_INT(S, draws, 200, 1, 10000, 1, "random draws of each null; negative: none"),
    WCOHI_CHOICE(S, split, "dft blocks", "bands of DFT bins, or of dimensions"),
    WCOHI_CHOICE(S, null, "rotation permutation", "what a figure is held against"),
    WCOHI_SEED(S, seed, "of the draws"),
#undef S
};

static const wcoh_field wcohi_resonance_fields[] = {
#define R wcoh_resonance_desc
    WCOHI_REQUIRED(R, dimensions, 1, 1048576, "numbers a vector (required)"),
    WCOHI_CHOICE(R, packet, "sign dft phases",
                 "a packet's bins: the vector's signs, its DFT, or amplitudes and phases as given"),
#undef R
};

static const wcoh_field wcohi_query_fields[] = {
#define Q wcoh_resonance_query
    WCOHI_INT(Q, top, 10, 1, WCOHI_TOP, 0, "best packets wanted"),
    WCOHI_CHOICE(Q, score, "resonance cosine", "what the best packets are best in"),
    WCOHI_INT(Q, first_bin, 0, 1, 1048576, 0, "first bin that counts"),
    WCOHI_INT(Q, bins, 0, 1, 1048576, 0, "bins that count; 0: all from the first on"),
#undef Q
};
#endif

WCOH_API const wcoh_field *wcoh_fields(wcoh_desc_kind kind, int *count)
{
    /* in the order of wcoh_desc_kind */
    static const struct {
        const wcoh_field *fields;
        int count;
    } tables[] = {
#define WCOHI_TABLE(fields) {fields, WCOHI_COUNT(fields)}
        WCOHI_TABLE(wcohi_model_fields),
#ifdef WAVECOH_NO_TRAINING
        {NULL, 0},
#else
        WCOHI_TABLE(wcohi_trainer_fields),
#endif
        WCOHI_TABLE(wcohi_sample_fields),    WCOHI_TABLE(wcohi_session_fields),
        WCOHI_TABLE(wcohi_eval_fields),      WCOHI_TABLE(wcohi_tokenizer_fields),
#ifndef WAVECOH_NO_TOOLKIT
        WCOHI_TABLE(wcohi_circle_fields),    WCOHI_TABLE(wcohi_spectral_fields),
        WCOHI_TABLE(wcohi_resonance_fields), WCOHI_TABLE(wcohi_query_fields),
#endif
#undef WCOHI_TABLE
    };
    int there = (int)kind >= 0 && (int)kind < WCOHI_COUNT(tables);
    if (count) *count = there ? tables[kind].count : 0;
    return there ? tables[kind].fields : NULL;
}

static const wcoh_field *wcohi_field_find(wcoh_desc_kind kind, const char *name)
{
    int i, count;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    for (i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

static double wcohi_field_number(const wcoh_field *field, const void *desc)
{
    const unsigned char *member = (const unsigned char *)desc + field->offset;
    double real;
    int integer;
    if (field->kind == WCOH_FIELD_REAL) {
        memcpy(&real, member, sizeof real);
        return real;
    }
    memcpy(&integer, member,
           sizeof integer); /* enums of ours are as wide as int (FORCE_INT-free) */
    return integer;
}

WCOHI_COLD void wcohi_field_put(const wcoh_field *field, void *desc, double value)
{
    unsigned char *member = (unsigned char *)desc + field->offset;
    int integer = (int)value;
    if (field->kind == WCOH_FIELD_REAL) memcpy(member, &value, sizeof value);
    else memcpy(member, &integer, sizeof integer);
}

/* Word `index` of a list separated by spaces; its length, or 0 past the end. */
static size_t wcohi_word(const char *list, int index, const char **word)
{
    for (; *list; index--) {
        size_t length = strcspn(list, " ");
        *word = list;
        if (index == 0) return length;
        list += length;
        list += *list == ' ';
    }
    return 0;
}

WCOHI_COLD wcoh_result wcohi_field_range(const wcoh_field *field, double value, wcoh_error *error)
{
    char text[40], low[40], high[40];
    return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is %s: allowed are %s to %s%s%s", field->name,
                      wcohi_format_real(value, text), wcohi_format_real(field->minimum, low),
                      wcohi_format_real(field->maximum, high),
                      field->standard != 0 ? ", 0 for the default" : "",
                      field->off ? ", negative for off" : "");
}

/* 1 if `value` may stand in the field: 0 (where there is a default), off, or within the range. */
WCOHI_COLD int wcohi_field_allows(const wcoh_field *field, double value)
{
    if (!wcohi_is_finite(value)) return 0;
    return (value == 0 && !field->required) || (field->off && value < 0) ||
           (value >= field->minimum && value <= field->maximum);
}

#define WCOHI_FIELD_TEXT 192 /* characters of any field, a whole pattern included */
#define WCOHI_SHOWN 44       /* of a text that is refused: it may come from a file */

static wcoh_result wcohi_choice_refuse(const wcoh_field *field, const char *text, wcoh_error *error)
{
    char shown[WCOHI_SHOWN];
    return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is \"%s\": allowed are: %s", field->name,
                      wcohi_shown_in(text, shown, sizeof shown), field->choices);
}

/* The value of the choice text [length], -1: there is none. */
static int wcohi_choice_find(const wcoh_field *field, const char *text, size_t length)
{
    const char *word = NULL;
    size_t known;
    int i;
    for (i = 0; (known = wcohi_word(field->choices, i, &word)) > 0; i++)
        if (known == length && memcmp(text, word, length) == 0) return i;
    return -1;
}

static wcoh_pattern *wcohi_pattern_of(const wcoh_field *field, void *desc)
{
    return field->pattern ? (wcoh_pattern *)(void *)((unsigned char *)desc + field->pattern) : NULL;
}

/* A word, or where a pattern may stand words joined by commas; the desc is as before on failure. */
WCOHI_COLD wcoh_result wcohi_choice_set(const wcoh_field *field, void *desc, const char *text,
                                        wcoh_error *error)
{
    wcoh_pattern read, *pattern = wcohi_pattern_of(field, desc);
    const char *at = text;
    memset(&read, 0, sizeof read);
    for (;; at++) {
        size_t length = pattern ? strcspn(at, ",") : strlen(at);
        int value = wcohi_choice_find(field, at, length);
        if (value < 0) return wcohi_choice_refuse(field, at, error);
        if (read.count == WCOH_PATTERN_MAX)
            return wcohi_fail(error, WCOH_E_ARGUMENT, "%s: a pattern has at most %d layers",
                              field->name, WCOH_PATTERN_MAX);
        read.kinds[read.count++] = value;
        at += length;
        if (*at == 0) break;
    }
    wcohi_field_put(field, desc, read.kinds[0]);
    if (read.count == 1) memset(&read, 0, sizeof read);
    if (pattern) *pattern = read;
    return WCOH_OK;
}

/* The text that wcohi_choice_set reads; "" where the desc holds no choice. */
WCOHI_COLD void wcohi_choice_get(const wcoh_field *field, const void *desc,
                                 char text[WCOHI_FIELD_TEXT])
{
    wcoh_pattern one;
    const char *word = "";
    int i, used = 0;
    memset(&one, 0, sizeof one);
    if (field->pattern) memcpy(&one, (const unsigned char *)desc + field->pattern, sizeof one);
    if (one.count < 1 || one.count > WCOH_PATTERN_MAX) {
        one.count = 1;
        one.kinds[0] = (int)wcohi_field_number(field, desc);
    }
    text[0] = 0;
    for (i = 0; i < one.count; i++) {
        int length = (int)wcohi_word(field->choices, one.kinds[i], &word);
        used += snprintf(text + used, (size_t)(WCOHI_FIELD_TEXT - used), "%s%.*s", i ? "," : "",
                         length, word);
    }
}

WCOH_API wcoh_result wcoh_field_set(wcoh_desc_kind kind, void *desc, const char *name,
                                    const char *text, wcoh_error *error)
{
    const wcoh_field *field;
    char shown[WCOHI_SHOWN];
    double value;
    if (!desc || !name || !text)
        return wcohi_null(!desc ? "desc" : !name ? "name" : "text", error);
    field = wcohi_field_find(kind, name);
    if (!field)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "there is no setting \"%s\"",
                          wcohi_shown_in(name, shown, sizeof shown));
    if (field->kind == WCOH_FIELD_CHOICE) return wcohi_choice_set(field, desc, text, error);
    if (field->kind == WCOH_FIELD_SEED) {
        uint64_t seed;
        if (!wcohi_parse_u64(text, &seed))
            return wcohi_fail(error, WCOH_E_ARGUMENT,
                              "%s is \"%s\": expected a whole number of at most 64 bits", name,
                              wcohi_shown_in(text, shown, sizeof shown));
        memcpy((unsigned char *)desc + field->offset, &seed, sizeof seed);
        return WCOH_OK;
    }
    if (!wcohi_parse_real(text, &value))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is \"%s\": expected a number", name,
                          wcohi_shown_in(text, shown, sizeof shown));
    if (field->kind == WCOH_FIELD_INT && value != floor(value))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is %s: expected a whole number", name,
                          wcohi_shown_in(text, shown, sizeof shown));
    if (!wcohi_field_allows(field, value) || value < -2147483647.0)
        return wcohi_field_range(field, value, error);
    wcohi_field_put(field, desc, value);
    return WCOH_OK;
}

WCOH_API int wcoh_field_get(wcoh_desc_kind kind, const void *desc, const char *name, char *text,
                            size_t size)
{
    const wcoh_field *field = desc && name ? wcohi_field_find(kind, name) : NULL;
    char number[40], choice[WCOHI_FIELD_TEXT];
    uint64_t seed;
    if (!field || (!text && size > 0)) return -1;
    if (field->kind == WCOH_FIELD_CHOICE) {
        wcohi_choice_get(field, desc, choice);
        return snprintf(text, size, "%s", choice);
    }
    if (field->kind == WCOH_FIELD_SEED) {
        memcpy(&seed, (const unsigned char *)desc + field->offset, sizeof seed);
        return snprintf(text, size, "%llu", (unsigned long long)seed);
    }
    return snprintf(text, size, "%s", wcohi_format_real(wcohi_field_number(field, desc), number));
}

static wcoh_result wcohi_choice_check(const wcoh_field *field, int value, wcoh_error *error)
{
    const char *word;
    if (value >= 0 && wcohi_word(field->choices, value, &word) > 0) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is %d: allowed are: %s", field->name, value,
                      field->choices);
}

/* A pattern of one kind becomes the single choice; of several, the choice is its first. */
static wcoh_result wcohi_pattern_resolve(const wcoh_field *field, void *desc, wcoh_error *error)
{
    wcoh_pattern *pattern = wcohi_pattern_of(field, desc);
    wcoh_result result = WCOH_OK;
    int i, kinds = 0;
    if (pattern->count < 0 || pattern->count > WCOH_PATTERN_MAX)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "%s_pattern.count is %d: allowed are 0 to %d layers", field->name,
                          pattern->count, WCOH_PATTERN_MAX);
    for (i = 0; !result && i < pattern->count; i++) {
        result = wcohi_choice_check(field, pattern->kinds[i], error);
        kinds += i == 0 || pattern->kinds[i] != pattern->kinds[0];
    }
    if (result || pattern->count == 0) return result;
    wcohi_field_put(field, desc, pattern->kinds[0]);
    if (kinds == 1) memset(pattern, 0, sizeof *pattern);
    return WCOH_OK;
}

/* Check every member and put the standard where 0 stands. */
static wcoh_result wcohi_fields_resolve(wcoh_desc_kind kind, void *desc, wcoh_error *error)
{
    int i, count;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    for (i = 0; i < count; i++) {
        const wcoh_field *field = &fields[i];
        double value;
        if (field->kind == WCOH_FIELD_SEED) continue;
        value = wcohi_field_number(field, desc);
        if (field->kind == WCOH_FIELD_CHOICE) {
            wcoh_result result = wcohi_choice_check(field, (int)value, error);
            if (!result && field->pattern) result = wcohi_pattern_resolve(field, desc, error);
            if (result) return result;
        } else if (!wcohi_field_allows(field, value)) {
            return wcohi_field_range(field, value, error);
        } else if (value == 0) {
            wcohi_field_put(field, desc, field->standard);
        } else if (value < 0) {
            wcohi_field_put(field, desc, -1);
        }
    }
    return WCOH_OK;
}

/* ---- kinds of a layer ------------------------------------------------------------------------ */

static wcoh_attention wcohi_attention_of(const wcoh_model_desc *desc, int layer)
{
    const wcoh_pattern *pattern = &desc->attention_pattern;
    return pattern->count ? (wcoh_attention)pattern->kinds[layer % pattern->count]
                          : desc->attention;
}

static wcoh_ffn wcohi_ffn_of(const wcoh_model_desc *desc, int layer)
{
    const wcoh_pattern *pattern = &desc->ffn_pattern;
    return pattern->count ? (wcoh_ffn)pattern->kinds[layer % pattern->count] : desc->ffn;
}

/* 1 if some layer's feed-forward is of that kind. */
static int wcohi_has_ffn(const wcoh_model_desc *desc, wcoh_ffn kind)
{
    int layer, found = 0;
    for (layer = 0; layer < desc->layers; layer++) found |= wcohi_ffn_of(desc, layer) == kind;
    return found;
}

/* Hidden width of an mlp where none is given. A gated one has three matrices where the plain one has
   two: two thirds of its width are as many parameters. */
static int wcohi_hidden_default(const wcoh_model_desc *desc, wcoh_ffn kind)
{
    int width = 2 * desc->bands;
    return kind == WCOH_FFN_GATED_MLP ? (8 * width + 12) / 24 * 8 : 4 * width;
}

/* 0 in a resolved desc: layers of both kinds, each with its own default. */
static int wcohi_hidden_of(const wcoh_model_desc *desc, int layer)
{
    return desc->hidden ? desc->hidden : wcohi_hidden_default(desc, wcohi_ffn_of(desc, layer));
}

static int wcohi_is_dot(wcoh_attention attention)
{
    return attention == WCOH_ATTENTION_DOT || attention == WCOH_ATTENTION_ROTARY;
}

/* 1 if some layer turns queries and keys by their positions. */
static int wcohi_has_rotary(const wcoh_model_desc *desc)
{
    int layer, found = 0;
    for (layer = 0; layer < desc->layers; layer++)
        found |= wcohi_attention_of(desc, layer) == WCOH_ATTENTION_ROTARY;
    return found;
}

/* 1 if a sequence must not be longer than the context. */
static int wcohi_bound_to_context(const wcoh_model_desc *desc)
{
    int layer, bound = desc->position == WCOH_POSITION_LEARNED;
    for (layer = 0; layer < desc->layers; layer++)
        bound |= wcohi_is_dot(wcohi_attention_of(desc, layer));
    return bound;
}

/* ---- resolving a model desc ------------------------------------------------------------------ */

static uint64_t wcohi_gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* K - sum_n cos(2 pi n / V): how far neighbours are apart on one circle (half the squared
   distance). */
WCOHI_COLD double wcohi_circle_separation(int vocab, int bands)
{
    double sum = bands;
    int n;
    for (n = 1; n <= bands; n++) sum -= cos(2 * wcohi_pi * n / vocab);
    return sum;
}

static int *wcohi_modulus(wcoh_model_desc *desc, int circle)
{
    return circle == 0   ? &desc->modulus1
           : circle == 1 ? &desc->modulus2
           : circle == 2 ? &desc->modulus3
                         : &desc->modulus4;
}

/* Automatic moduli: the first odd number >= V^(1/c), then each the first value more than one above
   the last that is coprime to all before; the last also makes the product reach V.
   V = 65 -> 9, 11; 50257 -> 225, 227. */
static void wcohi_moduli_auto(wcoh_model_desc *desc)
{
    int circle, before, m = 2;
    double product = 1;
    while (pow(m, desc->circles) < desc->vocab) m++;
    m += m % 2 == 0;
    for (circle = 0; circle < desc->circles; circle++) {
        int last = circle == desc->circles - 1;
        for (;; m++) {
            int coprime = !last || product * m >= desc->vocab;
            for (before = 0; before < circle; before++)
                if (wcohi_gcd((uint64_t)*wcohi_modulus(desc, before), (uint64_t)m) != 1)
                    coprime = 0;
            if (coprime) break;
        }
        *wcohi_modulus(desc, circle) = m;
        product *= m;
        m += 2;
    }
}

WCOHI_COLD wcoh_result wcohi_moduli_resolve(wcoh_model_desc *desc, wcoh_error *error)
{
    double product = 1;
    int i, j, given = 0;
    for (i = 0; i < desc->circles; i++) given += *wcohi_modulus(desc, i) != 0;
    if (!given) wcohi_moduli_auto(desc);
    else if (given != desc->circles)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "modulus: give all %d or none (circles is %d)",
                          desc->circles, desc->circles);
    for (i = 0; i < desc->circles; i++) {
        product *= *wcohi_modulus(desc, i);
        for (j = 0; j < i; j++)
            if (wcohi_gcd((uint64_t)*wcohi_modulus(desc, i), (uint64_t)*wcohi_modulus(desc, j)) !=
                1)
                return wcohi_fail(error, WCOH_E_ARGUMENT,
                                  "modulus%d is %d and modulus%d is %d: they must be coprime",
                                  j + 1, *wcohi_modulus(desc, j), i + 1, *wcohi_modulus(desc, i));
    }
    if (product < desc->vocab)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "the moduli tell only %.0f symbols apart, vocab is %d", product,
                          desc->vocab);
    return desc->circles <= desc->bands
               ? WCOH_OK
               : wcohi_fail(error, WCOH_E_ARGUMENT, "circles is %d: at most bands, %d",
                            desc->circles, desc->bands);
}

WCOHI_COLD void wcohi_switch_default(wcoh_switch *value, int on)
{
    if (*value == WCOH_SWITCH_AUTO) *value = on ? WCOH_SWITCH_ON : WCOH_SWITCH_OFF;
}

WCOHI_COLD wcoh_result wcohi_divides(int value, const char *name, int width, wcoh_error *error)
{
    if (width % value == 0) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "%s is %d: must divide the width 2 x bands = %d",
                      name, value, width);
}

/* `given`: heads as the caller set it; where 0 stands there, bands is what does not fit. */
WCOHI_COLD wcoh_result wcohi_heads_check(const wcoh_model_desc *desc, int given, wcoh_error *error)
{
    int heads = desc->heads, width = 2 * desc->bands;
    int rotary = wcohi_has_rotary(desc);
    if (width % (rotary ? 2 * heads : heads) == 0) return WCOH_OK;
    if (given == 0)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "bands is %d: %s must be a multiple of heads, which is %d by default",
                          desc->bands, rotary ? "with rotary heads it" : "twice that", heads);
    if (width % heads) return wcohi_divides(heads, "heads", width, error);
    return wcohi_fail(error, WCOH_E_ARGUMENT,
                      "heads is %d: rotary heads need an even width, 2 x bands / heads is %d",
                      heads, width / heads);
}

/* What only heads with a gain and a damping can do. */
WCOHI_COLD wcoh_result wcohi_listening_resolve(wcoh_model_desc *desc, wcoh_error *error)
{
    int layer, able = 0;
    for (layer = 0; layer < desc->layers; layer++)
        able |= wcohi_attention_of(desc, layer) <= WCOH_ATTENTION_SHARED;
    wcohi_switch_default(&desc->forgetting, 0);
    wcohi_switch_default(&desc->loudness, 0);
    if (able || (desc->forgetting == WCOH_SWITCH_OFF && desc->loudness == WCOH_SWITCH_OFF))
        return WCOH_OK;
    return wcohi_fail(error, WCOH_E_ARGUMENT,
                      "%s is on: no layer's attention is coherence or shared",
                      desc->forgetting == WCOH_SWITCH_ON ? "forgetting" : "loudness");
}

WCOH_API wcoh_result wcoh_model_desc_resolve(wcoh_model_desc *desc, wcoh_error *error)
{
    wcoh_result result;
    int width, heads, gated;
    if (!desc) return wcohi_null("desc", error);
    heads = desc->heads;
    result = wcohi_fields_resolve(WCOH_DESC_MODEL, desc, error);
    if (result) return result;
    width = 2 * desc->bands;
    if ((result = wcohi_heads_check(desc, heads, error)) != WCOH_OK) return result;
    if ((result = wcohi_divides(desc->groups, "groups", width, error)) != WCOH_OK) return result;
    gated = wcohi_has_ffn(desc, WCOH_FFN_GATED_MLP);
    if (desc->hidden == 0 && !(gated && wcohi_has_ffn(desc, WCOH_FFN_MLP)))
        desc->hidden = wcohi_hidden_default(desc, gated ? WCOH_FFN_GATED_MLP : WCOH_FFN_MLP);
    if (desc->ceiling == 0) {
        double coupling = WCOHI_MAX(desc->alpha, 0) + 4 * WCOHI_MAX(desc->beta, 0);
        desc->ceiling = coupling > 1e-6 ? WCOHI_MIN(sqrt(wcohi_pi / 2 / coupling), 1000.0) : 1000.0;
    }
    if ((result = wcohi_listening_resolve(desc, error)) != WCOH_OK) return result;
    wcohi_switch_default(&desc->embedding_trained, 0);
    wcohi_switch_default(&desc->embedding_unit, 0);
    wcohi_switch_default(&desc->value_gate, 0);
    wcohi_switch_default(&desc->gate, 0);
    wcohi_switch_default(&desc->limiter, desc->solver == WCOH_SOLVER_PERTURBATIVE);
    wcohi_switch_default(&desc->kerr_trained, 1);
    wcohi_switch_default(&desc->omega_trained, desc->kerr_trained == WCOH_SWITCH_ON);
    wcohi_switch_default(&desc->corrector, 0);
    wcohi_switch_default(&desc->per_band_first, 0);
    if (desc->embedding ==
        WCOH_EMBEDDING_AUTO) /* neighbours whose cosine is above 0.9 look alike */
        desc->embedding = wcohi_circle_separation(desc->vocab, desc->bands) < 0.1 * desc->bands &&
                                  desc->bands >= desc->circles
                              ? WCOH_EMBEDDING_CIRCLES
                              : WCOH_EMBEDDING_HARMONIC;
    return desc->embedding == WCOH_EMBEDDING_CIRCLES ? wcohi_moduli_resolve(desc, error) : WCOH_OK;
}

/* ---- presets --------------------------------------------------------------------------------- */

WCOHI_COLD void wcohi_preset_gpt(wcoh_model_desc *desc)
{
    desc->context = 64;
    desc->heads = 4;
    desc->embedding = WCOH_EMBEDDING_RANDOM;
    desc->embedding_trained = WCOH_SWITCH_ON;
    desc->position = WCOH_POSITION_LEARNED;
    desc->attention = WCOH_ATTENTION_DOT;
    desc->block = WCOH_BLOCK_SEQUENTIAL;
    desc->ffn = WCOH_FFN_MLP;
    desc->init = WCOH_INIT_NORMAL;
}

WCOHI_COLD void wcohi_preset_kerr_engine(wcoh_model_desc *desc)
{
    desc->heads = 4;
    desc->embedding = WCOH_EMBEDDING_HARMONIC;
    desc->embedding_unit = WCOH_SWITCH_ON;
    desc->position = WCOH_POSITION_SINUSOIDAL;
    desc->attention = WCOH_ATTENTION_DOT;
    desc->block = WCOH_BLOCK_SEQUENTIAL;
    desc->maestros = WCOH_MAESTROS_ADD;
    desc->solver = WCOH_SOLVER_RK4;
    desc->beta = 0.1;
    desc->per_band_first = WCOH_SWITCH_ON;
    desc->init = WCOH_INIT_UNIFORM_ZERO;
}

WCOHI_COLD void wcohi_preset_wave_engine(wcoh_model_desc *desc)
{
    desc->bands = 384;
    desc->heads = 12;
    desc->embedding = WCOH_EMBEDDING_HARMONIC;
    desc->position = WCOH_POSITION_SINUSOIDAL;
    desc->attention = WCOH_ATTENTION_FROZEN;
    desc->block = WCOH_BLOCK_PARALLEL_SHARED;
    desc->solver = WCOH_SOLVER_PERTURBATIVE;
    desc->rk4_steps = 16; /* its second variant: set solver to rk4 */
    desc->limiter = WCOH_SWITCH_ON;
    desc->beta = 0.1;
    desc->omega_trained = WCOH_SWITCH_OFF;
    desc->corrector = WCOH_SWITCH_ON;
    desc->init = WCOH_INIT_UNIFORM_ZERO;
}

WCOH_API wcoh_model_desc wcoh_model_preset(wcoh_preset preset, int vocab)
{
    wcoh_model_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.vocab = vocab;
    if (preset == WCOH_PRESET_GPT) wcohi_preset_gpt(&desc);
    if (preset == WCOH_PRESET_KERR_ENGINE) wcohi_preset_kerr_engine(&desc);
    if (preset == WCOH_PRESET_WAVE_ENGINE) wcohi_preset_wave_engine(&desc);
    return desc;
}

/* ======== 4 model: tokenizers ================================================================= */

/* Tokens: the characters, then 256 bytes unless the kind is chars, then the start. */
struct wcoh_tokenizer {
    wcoh_tokenizer_kind kind;
    int vocab;
    int characters;
    int start;        /* its token, or -1 */
    uint32_t *points; /* [characters] code points, ascending; the token is the index */
    char *alphabet;   /* the same as UTF-8, what a file keeps */
    size_t alphabet_size;
    int32_t low[128];  /* token of a code point below 128, or -1 */
    wcohi_allocation block; /* all zero in a copy that lives inside a model */
};

/* The tokenizer and its arrays, still blank; NULL when the arena only measures. */
WCOHI_COLD wcoh_tokenizer *wcohi_tokenizer_place(wcohi_arena *arena, size_t points,
                                                 size_t alphabet_size)
{
    wcoh_tokenizer *tokenizer = WCOHI_TAKE(arena, 1, wcoh_tokenizer);
    uint32_t *point_array = WCOHI_TAKE(arena, points, uint32_t);
    char *alphabet = WCOHI_TAKE(arena, alphabet_size, char);
    if (!tokenizer) return NULL;
    tokenizer->points = point_array;
    tokenizer->alphabet = alphabet;
    tokenizer->alphabet_size = alphabet_size;
    return tokenizer;
}

/* A copy inside `arena` for an object that carries its tokenizer; from == NULL gives NULL. */
static const wcoh_tokenizer *wcohi_tokenizer_copy(wcohi_arena *arena, const wcoh_tokenizer *from)
{
    size_t points = from ? (size_t)from->characters : 0;
    wcoh_tokenizer *to = from ? wcohi_tokenizer_place(arena, points, from->alphabet_size) : NULL;
    if (!to) return NULL;
    to->kind = from->kind;
    to->vocab = from->vocab;
    to->characters = from->characters;
    to->start = from->start;
    memcpy(to->low, from->low, sizeof to->low);
    if (points) {
        memcpy(to->points, from->points, points * sizeof *to->points);
        memcpy(to->alphabet, from->alphabet, to->alphabet_size);
    }
    return to;
}

/* The alphabet as UTF-8 [*bytes], from which wcoh_tokenizer_create makes the same tokenizer; empty
   for bytes. */
static void wcohi_tokenizer_alphabet(const wcoh_tokenizer *tokenizer, const char **utf8,
                                     size_t *bytes)
{
    *utf8 = tokenizer->alphabet_size ? tokenizer->alphabet : "";
    *bytes = tokenizer->alphabet_size;
}

/* "chars", as a file keeps it. */
static void wcohi_tokenizer_kind_text(const wcoh_tokenizer *tokenizer, char kind[16])
{
    wcoh_tokenizer_desc desc;
    desc.kind = tokenizer->kind;
    wcoh_field_get(WCOH_DESC_TOKENIZER, &desc, "kind", kind, 16);
}

WCOHI_COLD wcoh_result wcohi_tokenizer_open(wcoh_tokenizer **tokenizer, size_t points,
                                            size_t alphabet_size, const wcoh_memory *memory,
                                            wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_result result;
    wcohi_tokenizer_place(&arena, points, alphabet_size);
    result = wcohi_allocation_take(&block, &arena, memory, arena.used, "tokenizer", error);
    if (result) return result;
    *tokenizer = wcohi_tokenizer_place(&arena, points, alphabet_size);
    (*tokenizer)->block = block;
    return WCOH_OK;
}

/* The distinct code points of a text are found one plane (65,536 code points) at a time: a set of
   8 KiB on the stack, and no memory but the tokenizer's own block. */
#define WCOHI_PLANE_BYTES 8192

/* Bit p of *planes: `text` has code points of plane p. What is no UTF-8 is refused or, where the
   tokenizer has `bytes` for it, passed over. */
WCOHI_COLD wcoh_result wcohi_utf8_check(const char *text, size_t size, int bytes, uint32_t *planes,
                                        wcoh_error *error)
{
    uint32_t point = 0;
    size_t at = 0;
    *planes = 0;
    while (at < size) {
        int length = wcohi_utf8_read(text + at, size - at, &point);
        if (length == 0 && !bytes) return wcohi_utf8_fail(text, at, error);
        if (length > 0) *planes |= 1u << (point >> 16);
        at += (size_t)WCOHI_MAX(length, 1);
    }
    return WCOH_OK;
}

/* Append the code points of one plane of a checked text to `tokenizer`, or with NULL only count them
   and their bytes as UTF-8. */
static void wcohi_alphabet_plane(wcoh_tokenizer *tokenizer, const char *text, size_t size,
                                 uint32_t plane, size_t *points, size_t *bytes)
{
    unsigned char seen[WCOHI_PLANE_BYTES];
    uint32_t point = 0, low;
    char utf8[4];
    size_t at = 0;
    memset(seen, 0, sizeof seen);
    while (at < size) {
        int length = wcohi_utf8_read(text + at, size - at, &point);
        at += (size_t)WCOHI_MAX(length, 1);
        if (length > 0 && point >> 16 == plane)
            seen[(point & 0xffff) >> 3] |= (unsigned char)(1u << (point & 7));
    }
    for (low = 0; low < 0x10000; low++) {
        int length;
        if (!(seen[low >> 3] & 1u << (low & 7))) continue;
        length = wcohi_utf8_write(plane << 16 | low, utf8);
        if (tokenizer) {
            tokenizer->points[*points] = plane << 16 | low;
            memcpy(tokenizer->alphabet + *bytes, utf8, (size_t)length);
        }
        *points += 1;
        *bytes += (size_t)length;
    }
}

WCOHI_COLD void wcohi_alphabet(wcoh_tokenizer *tokenizer, const char *text, size_t size,
                               uint32_t planes, size_t *points, size_t *bytes)
{
    uint32_t plane;
    *points = *bytes = 0;
    for (plane = 0; plane <= 16; plane++)
        if (planes >> plane & 1) wcohi_alphabet_plane(tokenizer, text, size, plane, points, bytes);
}

/* A new tokenizer with its alphabet, from a text that was checked. */
WCOHI_COLD void wcohi_tokenizer_fill(wcoh_tokenizer *tokenizer, const wcoh_tokenizer_desc *desc,
                                     const char *text, size_t size, uint32_t planes)
{
    size_t points, bytes;
    int i;
    wcohi_alphabet(tokenizer, text, size, planes, &points, &bytes);
    tokenizer->kind = desc->kind;
    tokenizer->characters = (int)points;
    tokenizer->vocab = (int)points + (desc->kind == WCOH_TOKENIZER_CHARS ? 0 : 256) + desc->start;
    tokenizer->start = desc->start ? tokenizer->vocab - 1 : -1;
    for (i = 0; i < 128; i++) tokenizer->low[i] = -1;
    for (i = 0; i < (int)points && tokenizer->points[i] < 128; i++)
        tokenizer->low[tokenizer->points[i]] = i;
}

WCOH_API wcoh_result wcoh_tokenizer_create(wcoh_tokenizer **tokenizer,
                                           const wcoh_tokenizer_desc *given, const char *text,
                                           size_t size, wcoh_error *error)
{
    wcoh_tokenizer_desc desc;
    wcoh_result result;
    size_t points, bytes;
    uint32_t planes = 0;
    if (!tokenizer || !given) return wcohi_null(tokenizer ? "desc" : "tokenizer", error);
    *tokenizer = NULL;
    desc = *given;
    if ((result = wcohi_fields_resolve(WCOH_DESC_TOKENIZER, &desc, error)) != WCOH_OK)
        return result;
    if (desc.kind == WCOH_TOKENIZER_BYTES) size = 0;
    if (!text && size > 0) return wcohi_null("text", error);
    if (size == 0 && desc.kind == WCOH_TOKENIZER_CHARS)
        return wcohi_fail(error, WCOH_E_DATA, "there is no text to take an alphabet from");
    result = wcohi_utf8_check(text, size, desc.kind == WCOH_TOKENIZER_CHARS_BYTES, &planes, error);
    if (result) return result;
    wcohi_alphabet(NULL, text, size, planes, &points, &bytes);
    result = wcohi_tokenizer_open(tokenizer, points, bytes, &desc.memory, error);
    if (!result) wcohi_tokenizer_fill(*tokenizer, &desc, text, size, planes);
    return result;
}

WCOHI_COLD wcoh_tokenizer_desc wcohi_tokenizer_of(wcoh_tokenizer_kind kind,
                                                  const wcoh_memory *memory)
{
    wcoh_tokenizer_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.kind = kind;
    if (memory) desc.memory = *memory;
    return desc;
}

WCOH_API wcoh_result wcoh_tokenizer_create_bytes(wcoh_tokenizer **tokenizer,
                                                 const wcoh_memory *memory, wcoh_error *error)
{
    wcoh_tokenizer_desc desc = wcohi_tokenizer_of(WCOH_TOKENIZER_BYTES, memory);
    return wcoh_tokenizer_create(tokenizer, &desc, NULL, 0, error);
}

WCOH_API wcoh_result wcoh_tokenizer_create_chars(wcoh_tokenizer **tokenizer, const char *text,
                                                 size_t size, const wcoh_memory *memory,
                                                 wcoh_error *error)
{
    wcoh_tokenizer_desc desc = wcohi_tokenizer_of(WCOH_TOKENIZER_CHARS, memory);
    return wcoh_tokenizer_create(tokenizer, &desc, text, size, error);
}

WCOH_API void wcoh_tokenizer_destroy(wcoh_tokenizer *tokenizer)
{
    if (tokenizer) wcohi_allocation_give(&tokenizer->block);
}

WCOH_API wcoh_tokenizer_kind wcoh_tokenizer_get_kind(const wcoh_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->kind : WCOH_TOKENIZER_BYTES;
}

WCOH_API int wcoh_tokenizer_vocab(const wcoh_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->vocab : 0;
}

WCOH_API int wcoh_tokenizer_characters(const wcoh_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->characters : 0;
}

WCOH_API int wcoh_tokenizer_start(const wcoh_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->start : -1;
}

/* Index of a code point in the alphabet, or -1: a table below 128, bisection above. */
static int32_t wcohi_tokenizer_find(const wcoh_tokenizer *tokenizer, uint32_t point)
{
    int low = 0, high = tokenizer->characters;
    if (point < 128) return tokenizer->low[point];
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (tokenizer->points[middle] < point) low = middle + 1;
        else high = middle;
    }
    return low < tokenizer->characters && tokenizer->points[low] == point ? low : -1;
}

static wcoh_result wcohi_tokenizer_unknown(const wcoh_tokenizer *tokenizer, uint32_t point,
                                           size_t at, wcoh_error *error)
{
    char quoted[8] = "";
    if (point > 0x20 && (point < 0x7f || point > 0xa0)) { /* show what can be seen */
        int length = wcohi_utf8_write(point, quoted + 1);
        quoted[0] = '\'';
        memcpy(quoted + 1 + length, "' ", 3);
    }
    return wcohi_fail(error, WCOH_E_TOKEN,
                      "the character %s(U+%04X) at byte %llu is not in the alphabet of %d", quoted,
                      (unsigned)point, (unsigned long long)at, tokenizer->vocab);
}

/* The token at the beginning of a text [size > 0] and its length in bytes; -1: there is none, the
   length is then that of the character *point, or 0 where there is none either. */
static int32_t wcohi_tokenizer_next(const wcoh_tokenizer *tokenizer, const char *text, size_t size,
                                    int *length, uint32_t *point)
{
    int32_t token = -1;
    if (tokenizer->kind != WCOH_TOKENIZER_BYTES) {
        *length = wcohi_utf8_read(text, size, point);
        if (*length) token = wcohi_tokenizer_find(tokenizer, *point);
        if (token >= 0 || tokenizer->kind == WCOH_TOKENIZER_CHARS) return token;
    }
    *length = 1;
    return tokenizer->characters + (int32_t)(unsigned char)*text;
}

WCOH_API wcoh_result wcoh_tokenizer_encode(const wcoh_tokenizer *tokenizer, const char *text,
                                           size_t size, uint32_t *tokens, size_t capacity,
                                           size_t *count, wcoh_error *error)
{
    size_t at = 0, written = 0;
    wcoh_result result = WCOH_OK;
    if (count) *count = 0;
    if (!tokenizer || (!text && size > 0) || (!tokens && capacity > 0))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "the tokenizer, the text or tokens is NULL");
    while (at < size && !result) {
        uint32_t point = 0;
        int length = 0;
        int32_t token = wcohi_tokenizer_next(tokenizer, text + at, size - at, &length, &point);
        if (length == 0) result = wcohi_utf8_fail(text, at, error);
        else if (token < 0) result = wcohi_tokenizer_unknown(tokenizer, point, at, error);
        else if (written++ < capacity) tokens[written - 1] = (uint32_t)token;
        at += (size_t)length;
    }
    if (count) *count = written;
    if (!result && tokens && written > capacity)
        return wcohi_fail(error, WCOH_E_MEMORY, "the text has %llu tokens, there is room for %llu",
                          (unsigned long long)written, (unsigned long long)capacity);
    return result;
}

WCOH_API int wcoh_tokenizer_decode(const wcoh_tokenizer *tokenizer, uint32_t token, char bytes[4])
{
    uint32_t characters = tokenizer ? (uint32_t)tokenizer->characters : 0;
    if (!tokenizer || !bytes || token >= (uint32_t)tokenizer->vocab) return 0;
    if (token < characters) return wcohi_utf8_write(tokenizer->points[token], bytes);
    if (tokenizer->start == (int)token) return 0;
    bytes[0] = (char)(unsigned char)(token - characters);
    return 1;
}

/* ======== 4 model: the walk =================================================================== */

/* What the walk has emitted so far. One builder emits a layer's parameter rows and its ops: it
   always counts both, fills rows where `rows` is given, and ops and tensors where the plan has
   memory for them. A row goes to its op by its index, which is what the builder returns. */
typedef struct wcohi_walk {
    const wcoh_model_desc *desc;
    wcohi_param_row *rows; /* NULL: only counted */
    int row_count;
    int layer;      /* -1: names stand as they are; else "blocks.<layer>." goes before them */
    int trained;    /* of the rows that follow */
    int joined;     /* 1: no gap after the rows that follow: one GEMM can read several tensors */
    size_t span[2]; /* reals so far of frozen [0] and trained [1] rows, gaps included */
    wcohi_plan *plan;
    wcohi_param_row spare_row; /* stands for every row, tensor and op that is only counted */
    wcohi_tensor spare_tensor;
    wcohi_op spare_op;
} wcohi_walk;

/* Rows of an op's parameters, in the order of its enum; -1: absent. */
typedef struct wcohi_params {
    int row[WCOHI_OP_PARAMS];
} wcohi_params;

static wcohi_params wcohi_no_params(void)
{
    wcohi_params params;
    int i;
    for (i = 0; i < WCOHI_OP_PARAMS; i++) params.row[i] = -1;
    return params;
}

/* ---- emitting parameter rows ----------------------------------------------------------------- */

static wcohi_param_row *wcohi_walk_at(wcohi_walk *walk, int row)
{
    return walk->rows ? &walk->rows[row] : &walk->spare_row;
}

static void wcohi_walk_name(const wcohi_walk *walk, char *name, size_t size, const char *part,
                            const char *word)
{
    if (walk->layer < 0) snprintf(name, size, "%s%s", part, word);
    else snprintf(name, size, "blocks.%d.%s%s", walk->layer, part, word);
}

/* A tensor [a,b,c] of the name part + word; b and c may be 0. Returns its index. */
static int wcohi_emit(wcohi_walk *walk, const char *part, const char *word, int a, int b, int c,
                      wcohi_init init, double value)
{
    wcohi_param_row *row = wcohi_walk_at(walk, walk->row_count);
    size_t *span = &walk->span[walk->trained], offset = *span;
    size_t count = wcohi_mul((size_t)a, wcohi_mul((size_t)(b ? b : 1), (size_t)(c ? c : 1)));
    *span = wcohi_add(offset, count);
    if (!walk->joined) *span = wcohi_round_up(*span, WCOHI_DEVICE_ALIGN / sizeof(float));
    memset(row, 0, sizeof *row);
    if (walk->rows) wcohi_walk_name(walk, row->name, sizeof row->name, part, word);
    row->offset = offset;
    row->count = count;
    row->dims = c ? 3 : b ? 2 : 1;
    row->shape[0] = a;
    row->shape[1] = b ? b : 1;
    row->shape[2] = c ? c : 1;
    row->trained = walk->trained;
    row->decayed = walk->trained && row->dims > 1;
    row->init = init;
    row->value = value;
    row->maximum = 1e30;
    return walk->row_count++;
}

/* The last row is a stack of hidden matrices [rows,columns], each of which maps one hidden row to
   another: what Muon is for. Returns the row's index. */
static int wcohi_walk_hidden(wcohi_walk *walk, int matrices, int rows, int columns)
{
    wcohi_param_row *row = wcohi_walk_at(walk, walk->row_count - 1);
    if (row->trained) {
        row->matrices = matrices;
        walk->plan->matrices += matrices;
        walk->plan->matrix = WCOHI_MAX(walk->plan->matrix, wcohi_matrix_reals(rows, columns));
    }
    return walk->row_count - 1;
}

/* weight [S O,I], S matrices one on the other, and bias [S O] */
static wcohi_params wcohi_emit_stack(wcohi_walk *walk, const char *part, int stack, int out, int in)
{
    wcohi_params params = wcohi_no_params();
    wcohi_emit(walk, part, "weight", stack * out, in, 0, WCOHI_INIT_WEIGHT, in);
    params.row[WCOHI_LINEAR_WEIGHT] = wcohi_walk_hidden(walk, stack, out, in);
    params.row[WCOHI_LINEAR_BIAS] =
        wcohi_emit(walk, part, "bias", stack * out, 0, 0, WCOHI_INIT_BIAS, in);
    return params;
}

/* weight [O,I] and bias [O] */
static wcohi_params wcohi_emit_linear(wcohi_walk *walk, const char *part, int out, int in)
{
    return wcohi_emit_stack(walk, part, 1, out, in);
}

/* weight [G,O/G,I/G], G diagonal blocks of a square matrix, and bias [O] */
static wcohi_params wcohi_emit_blocks(wcohi_walk *walk, const char *part, int groups, int width)
{
    wcohi_params params = wcohi_no_params();
    int block = width / groups;
    wcohi_emit(walk, part, "weight", groups, block, block, WCOHI_INIT_WEIGHT, block);
    params.row[WCOHI_LINEAR_WEIGHT] = wcohi_walk_hidden(walk, groups, block, block);
    params.row[WCOHI_LINEAR_BIAS] =
        wcohi_emit(walk, part, "bias", width, 0, 0, WCOHI_INIT_BIAS, block);
    return params;
}

static wcohi_params wcohi_emit_maestro(wcohi_walk *walk, const char *part)
{
    wcohi_params params = wcohi_no_params();
    int width = 2 * walk->desc->bands, narrow = walk->desc->maestro;
    wcohi_emit(walk, part, "squeeze.weight", narrow, width, 0, WCOHI_INIT_WEIGHT, width);
    params.row[WCOHI_MAESTRO_SQUEEZE] = wcohi_walk_hidden(walk, 1, narrow, width);
    params.row[WCOHI_MAESTRO_SQUEEZE_BIAS] =
        wcohi_emit(walk, part, "squeeze.bias", narrow, 0, 0, WCOHI_INIT_BIAS, width);
    wcohi_emit(walk, part, "expand.weight", width, narrow, 0, WCOHI_INIT_WEIGHT, narrow);
    params.row[WCOHI_MAESTRO_EXPAND] = wcohi_walk_hidden(walk, 1, width, narrow);
    params.row[WCOHI_MAESTRO_EXPAND_BIAS] =
        wcohi_emit(walk, part, "expand.bias", width, 0, 0, WCOHI_INIT_BIAS, narrow);
    return params;
}

static wcohi_params wcohi_emit_kerr(wcohi_walk *walk)
{
    const wcoh_model_desc *desc = walk->desc;
    wcohi_params params = wcohi_no_params();
    int bands = desc->bands;
    if (desc->offset > 0) {
        walk->trained = 0;
        params.row[WCOHI_KERR_OFFSET] =
            wcohi_emit(walk, "ffn.", "offset", 2 * bands, 0, 0, WCOHI_INIT_NORMAL, desc->offset);
    }
    if (desc->solver != WCOH_SOLVER_NONE) {
        walk->trained = desc->kerr_trained == WCOH_SWITCH_ON;
        params.row[WCOHI_KERR_GAMMA] = wcohi_emit(walk, "ffn.kerr.", "gamma_raw", bands, 0, 0,
                                                  WCOHI_INIT_CONSTANT, log(expm1(desc->gamma)));
        params.row[WCOHI_KERR_ALPHA] = wcohi_emit(walk, "ffn.kerr.", "alpha", 1, 0, 0,
                                                  WCOHI_INIT_CONSTANT, WCOHI_MAX(desc->alpha, 0));
        params.row[WCOHI_KERR_BETA] = wcohi_emit(walk, "ffn.kerr.", "beta", 1, 0, 0,
                                                 WCOHI_INIT_CONSTANT, WCOHI_MAX(desc->beta, 0));
        walk->trained = desc->omega_trained == WCOH_SWITCH_ON;
        params.row[WCOHI_KERR_OMEGA] =
            wcohi_emit(walk, "ffn.kerr.", "omega", bands, 0, 0, WCOHI_INIT_RAMP, 1.0 / bands);
    }
    walk->trained = 1;
    if (desc->corrector == WCOH_SWITCH_ON)
        params.row[WCOHI_KERR_CORRECTOR] =
            wcohi_emit(walk, "ffn.", "corrector", bands, 0, 0, WCOHI_INIT_CONSTANT, 0);
    return params;
}

/* ---- emitting ops and tensors ---------------------------------------------------------------- */

static wcohi_tensor *wcohi_walk_tensor(wcohi_walk *walk, int tensor)
{
    return walk->plan->tensors ? &walk->plan->tensors[tensor] : &walk->spare_tensor;
}

static int wcohi_emit_tensor(wcohi_walk *walk, int width, size_t count)
{
    wcohi_tensor *tensor = wcohi_walk_tensor(walk, walk->plan->tensor_count);
    memset(tensor, 0, sizeof *tensor);
    tensor->width = width;
    tensor->count = count;
    tensor->grad = -1;
    tensor->first = INT_MAX;
    tensor->last = -1;
    if (count == WCOHI_SIZE_BAD) walk->plan->overflow = 1;
    return walk->plan->tensor_count++;
}

/* A tensor [N,width] and, where there is a backward, its gradient. */
static int wcohi_emit_stream(wcohi_walk *walk, int width)
{
    size_t count = wcohi_plan_reals(walk->plan, width);
    int tensor = wcohi_emit_tensor(walk, width, count);
    if (walk->plan->training) {
        int grad = wcohi_emit_tensor(walk, width, count);
        wcohi_walk_tensor(walk, tensor)->grad = grad;
    }
    return tensor;
}

static wcohi_op *wcohi_emit_op(wcohi_walk *walk, wcohi_kind kind, const wcohi_params *params,
                               int in, int in2, int wide_out)
{
    wcohi_plan *plan = walk->plan;
    wcohi_op *op = plan->ops ? &plan->ops[plan->count] : &walk->spare_op;
    plan->count++;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->layer = walk->layer;
    op->in = in;
    op->in2 = in2;
    op->wide_in = in < 0 ? 0 : wcohi_walk_tensor(walk, in)->width;
    op->wide_out = wide_out;
    op->out = wide_out ? wcohi_emit_stream(walk, wide_out) : -1;
    op->aux = -1;
    op->groups = 1;
    op->heads = walk->desc->heads;
    memcpy(op->param, params->row, sizeof op->param);
    return op;
}

/* Once an op has its numbers: its aux tensor and its place among the states of a session. */
static int wcohi_walk_done(wcohi_walk *walk, wcohi_op *op)
{
    wcohi_plan *plan = walk->plan;
    wcohi_sizes sizes = wcohi_op_sizes(plan, op, 1);
    if (sizes.aux) op->aux = wcohi_emit_tensor(walk, 0, sizes.aux);
    op->state = plan->states;
    plan->states = wcohi_add(plan->states, wcohi_round_up(sizes.state, sizeof(double)));
    return op->out;
}

/* The output is in2 plus something and this op is the last reader of in2: both gradients are one. */
static void wcohi_walk_residual(wcohi_walk *walk, const wcohi_op *op)
{
    if (walk->plan->training)
        wcohi_walk_tensor(walk, op->out)->grad = wcohi_walk_tensor(walk, op->in2)->grad;
}

/* ---- the parts of a block -------------------------------------------------------------------- */

static int wcohi_walk_norm(wcohi_walk *walk, const char *part, int in)
{
    wcohi_params params = wcohi_no_params();
    int width = 2 * walk->desc->bands;
    wcohi_op *op;
    if (walk->desc->norm == WCOH_NORM_RMS) {
        params.row[WCOHI_RMS_WEIGHT] =
            wcohi_emit(walk, part, "weight", width, 0, 0, WCOHI_INIT_CONSTANT, 1);
        return wcohi_walk_done(walk, wcohi_emit_op(walk, WCOHI_RMS, &params, in, -1, width));
    }
    params.row[WCOHI_NORM_WEIGHT] =
        wcohi_emit(walk, part, "weight", width, 0, 0, WCOHI_INIT_CONSTANT, 1);
    params.row[WCOHI_NORM_BIAS] =
        wcohi_emit(walk, part, "bias", width, 0, 0, WCOHI_INIT_CONSTANT, 0);
    op = wcohi_emit_op(walk, WCOHI_NORM, &params, in, -1, width);
    return wcohi_walk_done(walk, op);
}

/* residual: tensor to add, or -1. */
static wcohi_op *wcohi_walk_linear(wcohi_walk *walk, const wcohi_params *params, int in,
                                   int residual, int wide_out)
{
    wcohi_op *op = wcohi_emit_op(walk, WCOHI_LINEAR, params, in, residual, wide_out);
    if (residual >= 0) wcohi_walk_residual(walk, op);
    return op;
}

/* Which of a layer's masks an op has: one does not move when another is switched on. */
enum { WCOHI_MASK_EMBED, WCOHI_MASK_ATTENTION, WCOHI_MASK_FFN, WCOHI_MASKS = 8 };

#ifndef WAVECOH_NO_TRAINING
static int wcohi_walk_dropout(wcohi_walk *walk, int in, int residual, double rate, int mask)
{
    wcohi_params params = wcohi_no_params();
    int width = wcohi_walk_tensor(walk, in)->width;
    wcohi_op *op = wcohi_emit_op(walk, WCOHI_DROPOUT, &params, in, residual, width);
    op->rate = rate;
    op->stream = (uint32_t)((walk->layer + 1) * WCOHI_MASKS + mask);
    if (residual >= 0) wcohi_walk_residual(walk, op);
    return wcohi_walk_done(walk, op);
}
#endif

static int wcohi_walk_maestro(wcohi_walk *walk, const wcohi_params *params, int in, int residual)
{
    wcohi_op *op = wcohi_emit_op(walk, WCOHI_MAESTRO, params, in, residual, 2 * walk->desc->bands);
    op->narrow = walk->desc->maestro;
    wcohi_walk_residual(walk, op);
    return wcohi_walk_done(walk, op);
}

static int wcohi_walk_dot(wcohi_walk *walk, int in)
{
    int width = 2 * walk->desc->bands, all;
    wcohi_params params = wcohi_emit_stack(walk, "attn.qkv.", 3, width, width);
    wcohi_op *op;
    all = wcohi_walk_linear(walk, &params, in, -1, 3 * width)->out;
    params = wcohi_no_params();
    op = wcohi_emit_op(walk, WCOHI_DOT, &params, all, -1, width);
    op->rotary = wcohi_attention_of(walk->desc, walk->layer) == WCOH_ATTENTION_ROTARY;
    op->context = walk->desc->context;
    return wcohi_walk_done(walk, op);
}

/* Frozen phasors, a value matrix a head, harmonics in place of gain, carrier and damping. */
static int wcohi_walk_frozen(wcohi_walk *walk, int in)
{
    int heads = walk->desc->heads, width = 2 * walk->desc->bands, phasors;
    wcohi_params raw = wcohi_emit_linear(walk, "attn.phasor.", 2 * heads, width);
    wcohi_params value = wcohi_emit_blocks(walk, "attn.value.", heads, width);
    wcohi_params params = wcohi_no_params();
    wcohi_op *op;
    params.row[WCOHI_COHERENCE_HARMONIC] =
        wcohi_emit(walk, "attn.", "harmonic", heads, 0, 0, WCOHI_INIT_HARMONIC, 0);
    phasors = wcohi_walk_linear(walk, &raw, in, -1, 2 * heads)->out;
    op = wcohi_walk_linear(walk, &value, in, -1, width);
    op->groups = heads;
    op = wcohi_emit_op(walk, WCOHI_COHERENCE, &params, phasors, op->out, width);
    return wcohi_walk_done(walk, op);
}

#define WCOHI_GAIN_MAX 12.0 /* the states of a session hold the digits of gains up to here */

/* 1 if this layer's keys are its queries. */
static int wcohi_walk_shares(const wcohi_walk *walk)
{
    return wcohi_attention_of(walk->desc, walk->layer) == WCOH_ATTENTION_SHARED;
}

/* Some columns of a linear layer: the names of their weights and biases, and how these start. */
typedef struct wcohi_asked {
    const char *weight, *bias;
    int wide;
    wcohi_init start, start_bias;
    double value, value_bias;
} wcohi_asked;

/* What a coherence layer asks of a row, in order: phasors of queries and keys, values,
   dampings, loudnesses. */
#define WCOHI_ASKED_MOST 5
static int wcohi_walk_asks(const wcohi_walk *walk, wcohi_asked asked[WCOHI_ASKED_MOST])
{
    static const char names[2][2][24] = {{"query_phasor.weight", "query_phasor.bias"},
                                         {"phasor.weight", "phasor.bias"}};
    const wcoh_model_desc *desc = walk->desc;
    int shares = wcohi_walk_shares(walk), heads = desc->heads, width = 2 * desc->bands, count = 0;
    wcohi_asked usual = {NULL, NULL, 0, WCOHI_INIT_WEIGHT, WCOHI_INIT_BIAS, 0, 0};
    usual.value = usual.value_bias = width;
    usual.wide = 2 * heads;
    asked[count] = usual;
    asked[count].weight = names[shares][0], asked[count++].bias = names[shares][1];
    if (!shares) {
        asked[count] = usual;
        asked[count].weight = "key_phasor.weight", asked[count++].bias = "key_phasor.bias";
    }
    asked[count] = usual;
    asked[count].wide = width;
    asked[count].weight = "value.weight", asked[count++].bias = "value.bias";
    if (desc->forgetting == WCOH_SWITCH_ON) {
        wcohi_asked forget = {
            "forgetting.weight", "damping_raw", 0, WCOHI_INIT_CONSTANT, WCOHI_INIT_DAMPING, 0, 0};
        asked[count] = forget;
        asked[count++].wide = heads;
    }
    if (desc->loudness == WCOH_SWITCH_ON) {
        wcohi_asked loud = {
            "loudness.weight", "loudness.bias", 0, WCOHI_INIT_CONSTANT, WCOHI_INIT_CONSTANT, 0, 0};
        asked[count] = loud;
        asked[count++].wide = heads;
    }
    return count;
}

/* They are one linear layer: their weights [.,D] stand together without a gap, and so do their
   biases. The first row stands for all. Returns the width. */
static wcohi_params wcohi_emit_asked(wcohi_walk *walk, const wcohi_asked *asked, int count)
{
    wcohi_params params = wcohi_no_params();
    int width = 2 * walk->desc->bands, bias, i;
    for (bias = 0; bias < 2; bias++) {
        for (i = 0; i < count; i++) {
            const wcohi_asked *c = &asked[i];
            int row;
            walk->joined = i < count - 1;
            row = bias
                      ? wcohi_emit(walk, "attn.", c->bias, c->wide, 0, 0, c->start_bias,
                                   c->value_bias)
                      : wcohi_emit(walk, "attn.", c->weight, c->wide, width, 0, c->start, c->value);
            if (!bias) wcohi_walk_hidden(walk, 1, c->wide, width);
            if (i == 0) params.row[bias ? WCOHI_LINEAR_BIAS : WCOHI_LINEAR_WEIGHT] = row;
        }
    }
    return params;
}

static int wcohi_walk_coherence(wcohi_walk *walk, int in)
{
    const wcoh_model_desc *desc = walk->desc;
    wcohi_asked asked[WCOHI_ASKED_MOST];
    int heads = desc->heads, width = 2 * desc->bands, both, count = wcohi_walk_asks(walk, asked);
    int column = (wcohi_walk_shares(walk) ? 2 : 4) * heads, all = column + width;
    int forgets = desc->forgetting == WCOH_SWITCH_ON, loud = desc->loudness == WCOH_SWITCH_ON;
    wcohi_params linear = wcohi_emit_asked(walk, asked, count), params = wcohi_no_params();
    wcohi_op *op;
    params.row[WCOHI_COHERENCE_GAIN] = wcohi_emit(walk, "attn.", "gain_raw", heads, 0, 0,
                                                  WCOHI_INIT_CONSTANT, log(expm1(desc->gain)));
    wcohi_walk_at(walk, walk->row_count - 1)->maximum = log(expm1(WCOHI_GAIN_MAX));
    params.row[WCOHI_COHERENCE_CARRIER] =
        wcohi_emit(walk, "attn.", "carrier", heads, 0, 0, WCOHI_INIT_CARRIER, 0);
    if (!forgets)
        params.row[WCOHI_COHERENCE_DAMPING] =
            wcohi_emit(walk, "attn.", "damping_raw", heads, 0, 0, WCOHI_INIT_DAMPING, 0);
    both = wcohi_walk_linear(walk, &linear, in, -1, all + (forgets + loud) * heads)->out;
    op = wcohi_emit_op(walk, WCOHI_COHERENCE, &params, both, both, width);
    op->key_column = column - 2 * heads;
    op->column = column;
    op->forget_column = forgets ? all : 0;
    op->loud_column = loud ? all + forgets * heads : 0;
    return wcohi_walk_done(walk, op);
}

/* The linear layer of a gate, as wide as the stream. */
static int wcohi_walk_gates(wcohi_walk *walk, const char *part, int in)
{
    int width = 2 * walk->desc->bands;
    wcohi_params params = wcohi_emit_linear(walk, part, width, width);
    return wcohi_walk_linear(walk, &params, in, -1, width)->out;
}

/* values f(gates); values stand in their rows from `column` on. */
static int wcohi_walk_gate(wcohi_walk *walk, wcohi_gate_form form, int gates, int values,
                           int column, int width)
{
    wcohi_params none = wcohi_no_params();
    wcohi_op *op = wcohi_emit_op(walk, WCOHI_GATE, &none, gates, values, width);
    op->form = form;
    op->column = column;
    return wcohi_walk_done(walk, op);
}

/* Attention up to its output projection, whose rows come with it: *project. */
static int wcohi_walk_attention(wcohi_walk *walk, int in, wcohi_params *project)
{
    wcoh_attention kind = wcohi_attention_of(walk->desc, walk->layer);
    int width = 2 * walk->desc->bands, gates = -1, out;
    walk->trained = kind != WCOH_ATTENTION_FROZEN;
    if (walk->desc->value_gate == WCOH_SWITCH_ON) gates = wcohi_walk_gates(walk, "attn.gate.", in);
    out = wcohi_is_dot(kind)              ? wcohi_walk_dot(walk, in)
          : kind == WCOH_ATTENTION_FROZEN ? wcohi_walk_frozen(walk, in)
                                          : wcohi_walk_coherence(walk, in);
    if (gates >= 0) out = wcohi_walk_gate(walk, WCOHI_GATE_SIGMOID, gates, out, 0, width);
    *project = wcohi_emit_linear(walk, "attn.out.", width, width);
    walk->trained = 1;
    return out;
}

static int wcohi_walk_per_band(wcohi_walk *walk, int in)
{
    wcohi_params params = wcohi_no_params();
    int bands = walk->desc->bands;
    params.row[WCOHI_PER_BAND_WEIGHT] =
        wcohi_emit(walk, "ffn.per_band.", "weight", bands, 2, 2, WCOHI_INIT_WEIGHT, 2);
    params.row[WCOHI_PER_BAND_BIAS] =
        wcohi_emit(walk, "ffn.per_band.", "bias", bands, 2, 0, WCOHI_INIT_BIAS, 2);
    wcohi_walk_at(walk, walk->row_count - 1)->decayed = 0;
    return wcohi_walk_done(walk, wcohi_emit_op(walk, WCOHI_PER_BAND, &params, in, -1, 2 * bands));
}

static int wcohi_walk_oscillators(wcohi_walk *walk, const wcohi_params *params, int in)
{
    const wcoh_model_desc *desc = walk->desc;
    wcohi_op *op = wcohi_emit_op(walk, WCOHI_KERR, params, in, -1, 2 * desc->bands);
    op->solver = desc->solver;
    op->rk4_steps = desc->rk4_steps;
    op->ceiling = desc->limiter == WCOH_SWITCH_ON ? desc->ceiling : 0;
    return wcohi_walk_done(walk, op);
}

/* Oscillators between two maestros, or before the only one, which listens to their input. */
static int wcohi_walk_kerr(wcohi_walk *walk, int in)
{
    int dual = walk->desc->maestros == WCOH_MAESTROS_DUAL, x = in;
    wcohi_params before = wcohi_emit_maestro(walk, dual ? "ffn.maestro_in." : "ffn.maestro.");
    wcohi_params params = wcohi_emit_kerr(walk);
    if (dual) {
        wcohi_params after = wcohi_emit_maestro(walk, "ffn.maestro_out.");
        x = wcohi_walk_maestro(walk, &before, in, in);
        x = wcohi_walk_oscillators(walk, &params, x);
        return wcohi_walk_maestro(walk, &after, x, x);
    }
    x = wcohi_walk_oscillators(walk, &params, in);
    return wcohi_walk_maestro(walk, &before, in, x);
}

static int wcohi_walk_mlp(wcohi_walk *walk, int in)
{
    int hidden = wcohi_hidden_of(walk->desc, walk->layer);
    int gated = wcohi_ffn_of(walk->desc, walk->layer) == WCOH_FFN_GATED_MLP;
    int parts = gated ? 2 : 1; /* of a row: gates, then values */
    wcohi_params params = wcohi_emit_stack(walk, "ffn.up.", parts, hidden, 2 * walk->desc->bands);
    wcohi_op *op = wcohi_walk_linear(walk, &params, in, -1, parts * hidden);
    if (gated) return wcohi_walk_gate(walk, WCOHI_GATE_SILU, op->out, op->out, hidden, hidden);
    op->gelu = 1;
    return wcohi_walk_done(walk, op);
}

/* Feed-forward up to its output projection, whose rows come with it: *project. */
static int wcohi_walk_ffn(wcohi_walk *walk, int in, wcohi_params *project)
{
    const wcoh_model_desc *desc = walk->desc;
    int width = 2 * desc->bands, gates = -1, out;
    if (wcohi_ffn_of(desc, walk->layer) != WCOH_FFN_KERR) {
        out = wcohi_walk_mlp(walk, in);
        *project = wcohi_emit_linear(walk, "ffn.down.", width, wcohi_hidden_of(desc, walk->layer));
        return out;
    }
    if (desc->gate == WCOH_SWITCH_ON) /* before the maestro, which is the last reader of `in` */
        gates = wcohi_walk_gates(walk, "ffn.gate.", in);
    out = walk->layer == 0 && desc->per_band_first == WCOH_SWITCH_ON ? wcohi_walk_per_band(walk, in)
                                                                     : wcohi_walk_kerr(walk, in);
    if (gates >= 0) out = wcohi_walk_gate(walk, WCOHI_GATE_LINEAR, gates, out, 0, width);
    *project = desc->groups == 1 ? wcohi_emit_linear(walk, "ffn.out.", width, width)
                                 : wcohi_emit_blocks(walk, "ffn.out.", desc->groups, width);
    return out;
}

/* h + a branch, which ends in a linear layer of `groups` blocks. */
static int wcohi_walk_join(wcohi_walk *walk, const wcohi_params *params, int in, int h, int groups,
                           int mask)
{
    double rate = walk->plan->rates.branch;
    wcohi_op *op = wcohi_walk_linear(walk, params, in, rate > 0 ? -1 : h, 2 * walk->desc->bands);
    op->groups = groups;
    (void)mask;
#ifndef WAVECOH_NO_TRAINING
    if (rate > 0) return wcohi_walk_dropout(walk, op->out, h, rate, mask);
#endif
    return op->out;
}

/* One block on the stream h; returns the stream after it. In a parallel block both branches are
   computed first and added last, so that no gradient reaches h before both have been read. */
static int wcohi_walk_layer(wcohi_walk *walk, int h)
{
    const wcoh_model_desc *desc = walk->desc;
    int normed = wcohi_walk_norm(walk, "norm1.", h), fed;
    int groups = wcohi_ffn_of(desc, walk->layer) == WCOH_FFN_KERR ? desc->groups : 1;
    wcohi_params attention, ffn;
    int attended = wcohi_walk_attention(walk, normed, &attention);
    if (desc->block == WCOH_BLOCK_SEQUENTIAL) {
        h = wcohi_walk_join(walk, &attention, attended, h, 1, WCOHI_MASK_ATTENTION);
        fed = wcohi_walk_ffn(walk, wcohi_walk_norm(walk, "norm2.", h), &ffn);
    } else {
        if (desc->block == WCOH_BLOCK_PARALLEL) normed = wcohi_walk_norm(walk, "norm2.", h);
        fed = wcohi_walk_ffn(walk, normed, &ffn);
        h = wcohi_walk_join(walk, &attention, attended, h, 1, WCOHI_MASK_ATTENTION);
    }
    return wcohi_walk_join(walk, &ffn, fed, h, groups, WCOHI_MASK_FFN);
}

/* Of embeddings and of sinusoidal positions. */
static double wcohi_amplitude(const wcoh_model_desc *desc)
{
    return desc->embedding_unit == WCOH_SWITCH_ON ? 1 / sqrt((double)desc->bands) : 1;
}

static int wcohi_walk_embed(wcohi_walk *walk, wcohi_params *params)
{
    const wcoh_model_desc *desc = walk->desc;
    int width = 2 * desc->bands, learned = desc->position == WCOH_POSITION_LEARNED;
    wcohi_op *op;
    *params = wcohi_no_params();
    walk->trained = desc->embedding_trained == WCOH_SWITCH_ON;
    params->row[WCOHI_EMBED_TABLE] =
        wcohi_emit(walk, "embed.", "weight", desc->vocab, width, 0, WCOHI_INIT_EMBEDDING, 0);
    walk->trained = learned;
    if (desc->position != WCOH_POSITION_NONE)
        params->row[WCOHI_EMBED_POSITIONS] =
            wcohi_emit(walk, "position.", "weight", desc->context, width, 0,
                       learned ? WCOHI_INIT_NORMAL : WCOHI_INIT_POSITION, 0.02);
    walk->trained = 1;
    op = wcohi_emit_op(walk, WCOHI_EMBED, params, -1, -1, width);
    op->vocab = desc->vocab;
    op->context = desc->context;
    if (desc->position == WCOH_POSITION_SINUSOIDAL) op->amplitude = wcohi_amplitude(desc);
    return wcohi_walk_done(walk, op);
}

/* table: the row of the embedding, which a tied head reads. */
static void wcohi_walk_head(wcohi_walk *walk, int h, int table)
{
    const wcoh_model_desc *desc = walk->desc;
    int width = 2 * desc->bands, in = wcohi_walk_norm(walk, "norm_f.", h), rank = desc->head_rank;
    wcohi_params params = wcohi_no_params(), down = wcohi_no_params();
    wcohi_op *op;
    if (desc->head == WCOH_HEAD_DENSE)
        params.row[WCOHI_LOGITS_WEIGHT] =
            wcohi_emit(walk, "head.", "weight", desc->vocab, width, 0, WCOHI_INIT_WEIGHT, width);
    if (desc->head == WCOH_HEAD_TIED) {
        params.row[WCOHI_LOGITS_WEIGHT] = table;
        params.row[WCOHI_LOGITS_SCALE] =
            wcohi_emit(walk, "head.", "scale", 1, 0, 0, WCOHI_INIT_CONSTANT, 1);
    }
    if (desc->head == WCOH_HEAD_LOW_RANK) {
        down.row[WCOHI_LINEAR_WEIGHT] =
            wcohi_emit(walk, "head.down.", "weight", rank, width, 0, WCOHI_INIT_WEIGHT, width);
        params.row[WCOHI_LOGITS_WEIGHT] =
            wcohi_emit(walk, "head.up.", "weight", desc->vocab, rank, 0, WCOHI_INIT_WEIGHT, rank);
        in = wcohi_walk_linear(walk, &down, in, -1, rank)->out;
    }
    op = wcohi_emit_op(walk, WCOHI_LOGITS, &params, in, -1, 0);
    op->vocab = walk->plan->vocab = desc->vocab;
    wcohi_walk_done(walk, op);
}

/* Every tensor of the architecture, in the order in which files list them, and its ops in the order
   of a forward pass. */
static void wcohi_walk_model(wcohi_walk *walk)
{
    wcohi_params embed;
    int h, i;
    walk->layer = -1;
    h = wcohi_walk_embed(walk, &embed);
#ifndef WAVECOH_NO_TRAINING
    if (walk->plan->rates.embed > 0)
        h = wcohi_walk_dropout(walk, h, -1, walk->plan->rates.embed, WCOHI_MASK_EMBED);
#endif
    for (walk->layer = 0; walk->layer < walk->desc->layers; walk->layer++)
        h = wcohi_walk_layer(walk, h);
    walk->layer = -1;
    wcohi_walk_head(walk, h, embed.row[WCOHI_EMBED_TABLE]);
    for (i = 0; walk->rows && i < walk->row_count; i++)
        if (!walk->rows[i].trained)
            walk->rows[i].offset += walk->span[1]; /* the frozen part follows the trained */
}

/* Fill `rows`; NULL: only count. The plan is counted too, and lost. */
static wcohi_walk wcohi_walk_rows(const wcoh_model_desc *desc, wcohi_param_row *rows)
{
    wcohi_plan plan;
    wcohi_walk walk;
    memset(&plan, 0, sizeof plan);
    memset(&walk, 0, sizeof walk);
    plan.batch = plan.seq = 1;
    walk.desc = desc;
    walk.rows = rows;
    walk.plan = &plan;
    wcohi_walk_model(&walk);
    walk.plan = NULL;
    return walk;
}

/* Fill plan's ops and tensors, where it has memory for them; else only count. */
static void wcohi_walk_plan(wcohi_plan *plan, const wcoh_model_desc *desc, wcohi_mode mode)
{
    wcohi_walk walk;
    memset(&walk, 0, sizeof walk);
    walk.desc = desc;
    walk.plan = plan;
    plan->count = plan->tensor_count = plan->overflow = plan->matrices = 0;
    plan->states = plan->matrix = 0;
    plan->training = mode == WCOHI_MODE_TRAIN;
    plan->session = mode == WCOHI_MODE_SESSION;
    wcohi_walk_model(&walk);
    plan->trained_span = walk.span[1];
    plan->span = wcohi_add(walk.span[0], walk.span[1]);
    plan->row_count = walk.row_count;
}

/* ---- lifetimes ------------------------------------------------------------------------------- */

#define WCOHI_KIND_KEEPS(KIND, name, keeps, refresh, admit) keeps,
static const int wcohi_keeps[WCOHI_KINDS] = {WCOHI_OP_KINDS(WCOHI_KIND_KEEPS)};

#define WCOHI_USES 7 /* tensors that an op's backward can touch: in, in2, out, aux, 3 gradients */

static int wcohi_plan_grad(const wcohi_plan *plan, int tensor)
{
    return tensor < 0 ? -1 : plan->tensors[tensor].grad;
}

/* The tensors in use at a time, -1 where there is none. */
static void wcohi_plan_uses(const wcohi_plan *plan, int time, int uses[WCOHI_USES])
{
    int back = time >= plan->count;
    const wcohi_op *op = &plan->ops[back ? 2 * plan->count - 1 - time : time];
    int keeps = back ? wcohi_keeps[op->kind] : WCOHI_KEEPS_ALL;
    uses[0] = keeps & WCOHI_KEEPS_IN ? op->in : -1;
    uses[1] = keeps & WCOHI_KEEPS_IN2 ? op->in2 : -1;
    uses[2] = keeps & WCOHI_KEEPS_OUT ? op->out : -1;
    uses[3] = op->aux;
    uses[4] = back ? wcohi_plan_grad(plan, op->in) : -1;
    uses[5] = back ? wcohi_plan_grad(plan, op->in2) : -1;
    uses[6] = back ? wcohi_plan_grad(plan, op->out) : -1;
}

/* First and last use of every tensor, and the lists of them in the order of each: a walk up the
   times meets tensors as they are born, a walk down meets the last to die first. */
static void wcohi_plan_lifetimes(wcohi_plan *plan)
{
    int times = (plan->training ? 2 : 1) * plan->count, time, i, uses[WCOHI_USES];
    int *end = &plan->born;
    for (time = 0; time < times; time++) {
        wcohi_plan_uses(plan, time, uses);
        for (i = 0; i < WCOHI_USES; i++) {
            wcohi_tensor *tensor = uses[i] < 0 ? NULL : &plan->tensors[uses[i]];
            if (!tensor || tensor->first != INT_MAX) continue;
            tensor->first = time;
            *end = uses[i];
            end = &tensor->born_next;
        }
    }
    *end = -1;
    plan->dying = -1;
    for (time = times - 1; time >= 0; time--) {
        wcohi_plan_uses(plan, time, uses);
        for (i = 0; i < WCOHI_USES; i++) {
            wcohi_tensor *tensor = uses[i] < 0 ? NULL : &plan->tensors[uses[i]];
            if (!tensor || tensor->last >= 0) continue;
            tensor->last = time;
            tensor->dying_next = plan->dying;
            plan->dying = uses[i];
        }
    }
}

/* An op of the backward writes the gradient of `tensor`: the first to do so sets it, all later ones
   add. Returns 1 if this one adds. */
static int wcohi_plan_write_grad(wcohi_plan *plan, int tensor)
{
    int grad = tensor < 0 ? -1 : plan->tensors[tensor].grad, add;
    if (grad < 0) return 0;
    add = plan->tensors[grad].set;
    plan->tensors[grad].set = 1;
    return add;
}

/* Only `in` needs a flag: the gradient of in2 is the output's own (a residual), or its op is the
   only reader and sets it (the values of COHERENCE). */
static void wcohi_plan_accumulation(wcohi_plan *plan)
{
    int i;
    for (i = plan->count - 1; i >= 0 && plan->training; i--) {
        wcohi_op *op = &plan->ops[i];
        wcohi_plan_write_grad(plan, op->out);
        op->add_in = wcohi_plan_write_grad(plan, op->in);
    }
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Memory while it is given out in the order of time. Holes lie in ascending order and never touch
   one another or the end; each is kept in the tensor that died there. */
typedef struct wcohi_places {
    wcohi_tensor *tensors;
    int holes;  /* the lowest, -1: none */
    size_t end; /* nothing lives from here on */
    size_t most;
    size_t steps; /* holes looked at: tests count the work */
} wcohi_places;

static size_t wcohi_place_size(const wcohi_tensor *tensor)
{
    return wcohi_round_up(tensor->count, WCOHI_ALIGN / sizeof(float));
}

/* First fit: the lowest hole that is large enough, else the end. */
static size_t wcohi_place_take(wcohi_places *places, size_t size)
{
    int *link = &places->holes;
    size_t at = places->end;
    while (*link >= 0 && places->tensors[*link].hole < size) {
        places->steps++;
        link = &places->tensors[*link].hole_next;
    }
    if (*link >= 0) {
        wcohi_tensor *hole = &places->tensors[*link];
        at = hole->hole_at;
        hole->hole_at += size;
        hole->hole -= size;
        if (hole->hole == 0) *link = hole->hole_next;
        return at;
    }
    places->end = wcohi_add(at, size);
    places->most = WCOHI_MAX(places->most, places->end);
    return at;
}

/* Make a hole of the dead tensor's place and join it to the holes and the end that it touches. */
static void wcohi_place_give(wcohi_places *places, int dead)
{
    wcohi_tensor *tensors = places->tensors, *hole = &tensors[dead];
    int *link = &places->holes, *before = NULL;
    hole->hole_at = hole->offset;
    hole->hole = wcohi_place_size(hole);
    if (hole->hole == 0) return;
    while (*link >= 0 && tensors[*link].hole_at < hole->hole_at) {
        places->steps++;
        before = link;
        link = &tensors[*link].hole_next;
    }
    hole->hole_next = *link;
    *link = dead;
    if (hole->hole_next >= 0 && hole->hole_at + hole->hole == tensors[hole->hole_next].hole_at) {
        hole->hole += tensors[hole->hole_next].hole;
        hole->hole_next = tensors[hole->hole_next].hole_next;
    }
    if (before && tensors[*before].hole_at + tensors[*before].hole == hole->hole_at) {
        tensors[*before].hole += hole->hole;
        tensors[*before].hole_next = hole->hole_next;
        link = before;
    }
    if (tensors[*link].hole_at + tensors[*link].hole == places->end) {
        places->end = tensors[*link].hole_at;
        *link = -1; /* the highest hole: none follows */
    }
}

/* Give every tensor that is used its offset. Returns the holes looked at. */
static size_t wcohi_plan_place(wcohi_plan *plan)
{
    wcohi_places places;
    int born, dead = plan->dying;
    memset(&places, 0, sizeof places);
    places.tensors = plan->tensors;
    places.holes = -1;
    for (born = plan->born; born >= 0; born = plan->tensors[born].born_next) {
        wcohi_tensor *tensor = &plan->tensors[born];
        while (plan->tensors[dead].last < tensor->first) { /* `born` itself ends the walk */
            wcohi_place_give(&places, dead);
            dead = plan->tensors[dead].dying_next;
        }
        tensor->offset = wcohi_place_take(&places, wcohi_place_size(tensor));
    }
    plan->activations = places.most;
    return places.steps;
}

/* ---- making a plan --------------------------------------------------------------------------- */

/* The plan's own arrays; measuring and laying out. */
WCOHI_COLD void wcohi_plan_layout(wcohi_plan *plan, wcohi_arena *arena, const wcoh_model_desc *desc,
                                  wcohi_mode mode)
{
    wcohi_plan counted;
    memset(&counted, 0, sizeof counted);
    counted.batch = counted.seq = 1;
    counted.rates = plan->rates;
    wcohi_walk_plan(&counted, desc, mode);
    plan->ops = WCOHI_TAKE(arena, counted.count, wcohi_op);
    plan->tensors = WCOHI_TAKE(arena, counted.tensor_count, wcohi_tensor);
}

/* Build the plan of a model's architecture in `plan`, whose arrays wcohi_plan_layout has placed.
   rows: the model's parameter rows, NULL while nothing runs yet. */
static void wcohi_plan_build(wcohi_plan *plan, const wcoh_model_desc *desc,
                             const wcohi_param_row *rows, int batch, int seq, wcohi_mode mode)
{
    plan->rows = rows;
    plan->batch = batch;
    plan->seq = seq;
    plan->activations = 0;
    wcohi_walk_plan(plan, desc, mode);
    if (plan->overflow) return;
    wcohi_plan_lifetimes(plan);
    wcohi_plan_accumulation(plan);
    wcohi_plan_place(plan);
}

/* ======== 4 model: initial values and the object ============================================== */

/* ---- initial parameters ---------------------------------------------------------------------- */

/* A circle's share of a row: (cos n theta, sin n theta), n = 1 .., theta = 2 pi (v mod m) / m. */
static void wcohi_harmonics(wcoh_real *row, int bands, int symbol, int modulus, double amplitude)
{
    int n;
    for (n = 1; n <= bands; n++) { /* the product is reduced as an integer: exact for any n and v */
        double theta = 2 * wcohi_pi * (double)((int64_t)n * (symbol % modulus) % modulus) / modulus;
        row[2 * n - 2] = (wcoh_real)(amplitude * cos(theta));
        row[2 * n - 1] = (wcoh_real)(amplitude * sin(theta));
    }
}

static void wcohi_init_embedding(wcoh_real *table, wcoh_model_desc *desc, wcoh_rng *rng)
{
    int v, circle, bands = desc->bands;
    double amplitude = wcohi_amplitude(desc);
    for (v = 0; v < desc->vocab; v++, table += 2 * bands) {
        if (desc->embedding == WCOH_EMBEDDING_RANDOM) {
            int i;
            for (i = 0; i < 2 * bands; i++) table[i] = (wcoh_real)(0.02 * wcoh_rng_normal(rng));
        } else if (desc->embedding == WCOH_EMBEDDING_HARMONIC) {
            wcohi_harmonics(table, bands, v, desc->vocab, amplitude);
        } else {
            for (circle = 0; circle < desc->circles; circle++) {
                int from = (int)((int64_t)bands * circle / desc->circles);
                int to = (int)((int64_t)bands * (circle + 1) / desc->circles);
                wcohi_harmonics(table + 2 * from, to - from, v, *wcohi_modulus(desc, circle),
                                amplitude);
            }
        }
    }
}

static double wcohi_init_value(const wcohi_param_row *row, const wcoh_model_desc *desc, size_t i,
                               wcoh_rng *rng)
{
    double share = row->count > 1 ? (double)i / (double)(row->count - 1) : 0,
           bound = 1 / sqrt(row->value);
    switch (row->init) {
    case WCOHI_INIT_WEIGHT:
        if (desc->init == WCOH_INIT_NORMAL) return 0.02 * wcoh_rng_normal(rng);
        return bound * (2 * wcoh_rng_uniform(rng) - 1);
    case WCOHI_INIT_BIAS:
        return desc->init == WCOH_INIT_UNIFORM ? bound * (2 * wcoh_rng_uniform(rng) - 1) : 0;
    case WCOHI_INIT_NORMAL: return row->value * wcoh_rng_normal(rng);
    case WCOHI_INIT_RAMP: return (double)(i + 1) * row->value;
    case WCOHI_INIT_CARRIER: return 0.5 * share;
    case WCOHI_INIT_DAMPING: return -6 + 6 * share;
    case WCOHI_INIT_HARMONIC: return log(1 + 0.5 * (double)(i + 1));
    default: return row->value;
    }
}

static void wcohi_model_init(wcoh_model *model)
{
    wcoh_rng rng = wcoh_rng_seed(model->desc.seed);
    int r, t;
    size_t i;
    for (r = 0; r < model->row_count; r++) {
        const wcohi_param_row *row = &model->rows[r];
        wcoh_real *data = model->params + row->offset;
        if (row->init == WCOHI_INIT_EMBEDDING) wcohi_init_embedding(data, &model->desc, &rng);
        else if (row->init == WCOHI_INIT_POSITION)
            for (t = 0; t < row->shape[0]; t++)
                wcohi_sinusoid(data + (size_t)t * (size_t)row->shape[1], model->desc.bands,
                               wcohi_amplitude(&model->desc), t);
        else
            for (i = 0; i < row->count; i++)
                data[i] = (wcoh_real)wcohi_init_value(row, &model->desc, i, &rng);
    }
}

/* ---- model object ---------------------------------------------------------------------------- */

/* Lay a model out in the arena; NULL while the arena only measures. desc is resolved. */
WCOHI_COLD wcoh_model *wcohi_model_layout(wcohi_arena *arena, const wcoh_model_desc *desc)
{
    wcohi_walk counted = wcohi_walk_rows(desc, NULL);
    wcoh_model *model = WCOHI_TAKE(arena, 1, wcoh_model);
    wcohi_param_row *rows = WCOHI_TAKE(arena, counted.row_count, wcohi_param_row);
    wcoh_real *params = WCOHI_TAKE(arena, wcohi_add(counted.span[0], counted.span[1]), wcoh_real);
    const wcoh_tokenizer *tokenizer =
        desc->tokenizer ? wcohi_tokenizer_copy(arena, desc->tokenizer) : NULL;
    if (!model) return NULL;
    model->desc = *desc;
    model->desc.tokenizer = tokenizer;
    model->rows = rows;
    model->row_count = counted.row_count;
    model->params = params;
    model->trained_span = counted.span[1];
    model->span = counted.span[0] + counted.span[1];
    model->version = 1;
    wcohi_walk_rows(&model->desc, rows);
    return model;
}

WCOHI_COLD wcoh_result wcohi_model_measure(wcoh_model_desc *resolved, const wcoh_model_desc *desc,
                                           size_t *used, wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcoh_result result;
    if (!desc) return wcohi_null("desc", error);
    *resolved = *desc;
    if ((result = wcoh_model_desc_resolve(resolved, error)) != WCOH_OK) return result;
    if (desc->tokenizer && wcoh_tokenizer_vocab(desc->tokenizer) > resolved->vocab)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "vocab is %d: the tokenizer has %d symbols",
                          resolved->vocab, wcoh_tokenizer_vocab(desc->tokenizer));
    wcohi_model_layout(&arena, resolved);
    *used = arena.used;
    return WCOH_OK;
}

WCOH_API size_t wcoh_model_size(const wcoh_model_desc *desc, wcoh_error *error)
{
    wcoh_model_desc resolved;
    size_t used = 0, bytes;
    if (wcohi_model_measure(&resolved, desc, &used, error)) return 0;
    bytes = wcohi_allocation_bytes(used);
    if (bytes != WCOHI_SIZE_BAD) return bytes;
    wcohi_fail(error, WCOH_E_MEMORY, "the model does not fit this machine's address space");
    return 0;
}

WCOH_API wcoh_result wcoh_model_create(wcoh_model **out, const wcoh_model_desc *desc,
                                       wcoh_error *error)
{
    wcoh_model_desc resolved;
    wcohi_arena arena;
    wcohi_allocation block;
    wcoh_model *model;
    wcoh_result result;
    size_t used = 0;
    if (!out) return wcohi_null("model", error);
    *out = NULL;
    if ((result = wcohi_model_measure(&resolved, desc, &used, error)) != WCOH_OK) return result;
    if ((result = wcohi_allocation_take(&block, &arena, &desc->memory, used, "model", error)) !=
        WCOH_OK)
        return result;
    model = wcohi_model_layout(&arena, &resolved);
    model->block = block;
    wcohi_model_init(model);
    *out = model;
    return WCOH_OK;
}

WCOH_API void wcoh_model_destroy(wcoh_model *model)
{
    if (model) wcohi_allocation_give(&model->block);
}

WCOH_API const wcoh_model_desc *wcoh_model_get_desc(const wcoh_model *model)
{
    return model ? &model->desc : NULL;
}
WCOH_API const wcoh_tokenizer *wcoh_model_tokenizer(const wcoh_model *model)
{
    return model ? model->desc.tokenizer : NULL;
}
WCOH_API int wcoh_model_param_count(const wcoh_model *model)
{
    return model ? model->row_count : 0;
}

WCOH_API void wcoh_model_touch(wcoh_model *model)
{
    if (model) model->version++;
}

WCOH_API wcoh_result wcoh_model_param(const wcoh_model *model, int index, wcoh_param *param,
                                      wcoh_error *error)
{
    const wcohi_param_row *row;
    if (!model || !param) return wcohi_null(model ? "param" : "model", error);
    memset(param, 0, sizeof *param);
    if (index < 0 || index >= model->row_count)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "parameter %d: allowed are 0 to %d", index,
                          model->row_count - 1);
    row = &model->rows[index];
    memcpy(param->name, row->name, sizeof param->name);
    param->dims = row->dims;
    memcpy(param->shape, row->shape, sizeof param->shape);
    param->count = row->count;
    param->trained = row->trained;
    param->decayed = row->decayed;
    param->matrices = row->matrices;
    param->data = model->params + row->offset;
    return WCOH_OK;
}

WCOH_API int wcoh_model_param_find(const wcoh_model *model, const char *name)
{
    int i;
    for (i = 0; model && name && i < model->row_count; i++)
        if (strcmp(model->rows[i].name, name) == 0) return i;
    return -1;
}

WCOH_API size_t wcoh_model_trained_count(const wcoh_model *model)
{
    size_t count = 0;
    int i;
    for (i = 0; model && i < model->row_count; i++)
        if (model->rows[i].trained) count += model->rows[i].count;
    return count;
}

WCOH_API wcoh_result wcoh_model_copy(wcoh_model *to, const wcoh_model *from, wcoh_error *error)
{
    int i;
    if (!to || !from) return wcohi_null(to ? "from" : "to", error);
    if (to->row_count != from->row_count || to->span != from->span)
        return wcohi_fail(error, WCOH_E_MISMATCH, "the models have different tensors");
    for (i = 0; i < to->row_count; i++)
        if (strcmp(to->rows[i].name, from->rows[i].name) ||
            to->rows[i].offset != from->rows[i].offset)
            return wcohi_fail(error, WCOH_E_MISMATCH, "%s: the other model has %s in its place",
                              to->rows[i].name, from->rows[i].name);
    memcpy(to->params, from->params, to->span * sizeof *to->params);
    to->version++;
    return WCOH_OK;
}

/* ======== 5 running: engine =================================================================== */

/* ---- engine: what trainers, sessions and evaluations have in common -------------------------- */

/* A plan made ready on a device, borrowed or of its own. */
typedef struct wcohi_engine {
    wcohi_plan plan;
    wcoh_device *device;
    wcoh_device *own_device; /* NULL: borrowed */
    wcohi_exec *exec;
    void *device_memory, *exec_memory;
} wcohi_engine;

/* What is asked of it. */
typedef struct wcohi_engine_desc {
    const wcoh_model_desc *model; /* resolved */
    int batch, seq;
    wcohi_mode mode;
    wcohi_rates rates; /* of a training plan */
    int muon; /* 1: the plan's optimiser is Muon */
    const wcoh_cpu_desc *cpu;
    wcoh_device *device;
    const wcoh_memory *memory;
    size_t exec_bytes; /* filled by wcohi_engine_measure */
} wcohi_engine_desc;

WCOHI_COLD void wcohi_engine_layout(wcohi_engine *engine, wcohi_arena *arena,
                                    const wcohi_engine_desc *desc)
{
    engine->plan.rates = desc->rates;
    wcohi_plan_layout(&engine->plan, arena, desc->model, desc->mode);
    engine->device_memory = desc->device ? NULL : wcohi_take(arena, 1, wcohi_cpu_bytes(desc->cpu));
    engine->exec_memory = wcohi_take(arena, 1, desc->exec_bytes);
}

/* Build the plan once, in a small block that is given back at once (the beginning of the user's
   block if there is one), to learn what the device wants for it. */
WCOHI_COLD wcoh_result wcohi_engine_measure(wcohi_engine_desc *desc, wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcohi_plan plan;
    wcoh_result result;
    memset(&plan, 0, sizeof plan);
    plan.rates = desc->rates;
    wcohi_plan_layout(&plan, &arena, desc->model, desc->mode);
    if ((result = wcohi_allocation_take(&block, &arena, desc->memory, arena.used, "plan", error)) !=
        WCOH_OK)
        return result;
    wcohi_plan_layout(&plan, &arena, desc->model, desc->mode);
    plan.muon = desc->muon;
    wcohi_plan_build(&plan, desc->model, NULL, desc->batch, desc->seq, desc->mode);
    if (plan.overflow || plan.activations == WCOHI_SIZE_BAD)
        result = wcohi_fail(error, WCOH_E_MEMORY, "batch %d x seq %d does not fit this machine",
                            desc->batch, desc->seq);
    else if (desc->device)
        desc->exec_bytes = desc->device->table->bytes(desc->device, &plan, plan.session);
    else desc->exec_bytes = wcohi_cpu_exec_bytes(wcohi_cpu_slots(desc->cpu), &plan);
    wcohi_allocation_give(&block);
    return result;
}

WCOHI_COLD wcoh_result wcohi_engine_open(wcohi_engine *engine, const wcohi_engine_desc *desc,
                                         wcoh_model *model, wcoh_error *error)
{
    wcoh_result result;
    engine->plan.muon = desc->muon;
    wcohi_plan_build(&engine->plan, &model->desc, model->rows, desc->batch, desc->seq, desc->mode);
    engine->device = desc->device;
    if (!desc->device) {
        result = wcohi_cpu_open(&engine->own_device, engine->device_memory, desc->cpu, error);
        if (result) return result;
        engine->device = engine->own_device;
    }
    result = engine->device->table->open(engine->device, &engine->plan, model, engine->plan.session,
                                         engine->exec_memory, &engine->exec, error);
    if (result && engine->own_device) engine->own_device->table->destroy(engine->own_device);
    return result;
}

WCOHI_COLD void wcohi_engine_close(wcohi_engine *engine)
{
    engine->device->table->close(engine->exec);
    if (engine->own_device) engine->own_device->table->destroy(engine->own_device);
}

/* ======== 5 running: evaluation and session =================================================== */

/* ---- tokens that callers hand in ------------------------------------------------------------- */

static wcoh_result wcohi_tokens_check(const uint32_t *tokens, size_t count, int vocab,
                                      const char *what, wcoh_error *error)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (tokens[i] >= (uint32_t)vocab)
            return wcohi_fail(error, WCOH_E_TOKEN,
                              "%s token %llu is %lu: the vocabulary has %d symbols", what,
                              (unsigned long long)i, (unsigned long)tokens[i], vocab);
    return WCOH_OK;
}

#ifndef WAVECOH_NO_TRAINING
/* The same for targets, of which *counted count; at least one must. */
static wcoh_result wcohi_targets_check(const uint32_t *targets, size_t count, int vocab,
                                       size_t *counted, wcoh_error *error)
{
    size_t i;
    for (i = 0, *counted = 0; i < count; i++) {
        if (targets[i] == WCOH_TARGET_NONE) continue;
        if (targets[i] >= (uint32_t)vocab)
            return wcohi_fail(error, WCOH_E_TOKEN,
                              "target token %llu is %lu: the vocabulary has %d symbols",
                              (unsigned long long)i, (unsigned long)targets[i], vocab);
        *counted += 1;
    }
    return *counted ? WCOH_OK : wcohi_fail(error, WCOH_E_DATA, "no target of the batch counts");
}
#endif

static wcoh_result wcohi_data_check(const uint32_t *tokens, size_t count, int seq, int vocab,
                                    const char *what, wcoh_error *error)
{
    if (!tokens) return wcohi_fail(error, WCOH_E_ARGUMENT, "the %s data is NULL", what);
    if (count < (size_t)seq + 1)
        return wcohi_fail(error, WCOH_E_DATA,
                          "%s data has %llu tokens: one window of seq %d needs %d", what,
                          (unsigned long long)count, seq, seq + 1);
    return wcohi_tokens_check(tokens, count, vocab, what, error);
}

/* ---- sequences in windows -------------------------------------------------------------------- */

static size_t wcohi_sequence_length(const wcoh_sequences *s, size_t index)
{
    return s->offsets[index + 1] - s->offsets[index];
}

/* A text as a sequence; ends [2] get its offsets. */
static wcoh_sequences wcohi_sequence_of(const uint32_t *tokens, size_t count, size_t ends[2])
{
    wcoh_sequences s;
    ends[0] = 0;
    ends[1] = count;
    s.count = 1;
    s.offsets = ends;
    s.tokens = tokens;
    return s;
}

static wcoh_result wcohi_sequences_check(const wcoh_sequences *s, int vocab, const char *what,
                                         wcoh_error *error)
{
    size_t i;
    if (!s->tokens || !s->offsets)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "the %s %s are NULL", what,
                          s->tokens ? "offsets" : "tokens");
    if (s->count == 0) return wcohi_fail(error, WCOH_E_DATA, "there is no %s sequence", what);
    for (i = 0; i < s->count; i++) {
        if (s->offsets[i + 1] < s->offsets[i])
            return wcohi_fail(error, WCOH_E_ARGUMENT, "%s sequence %llu ends before it begins",
                              what, (unsigned long long)i);
        if (wcohi_sequence_length(s, i) < 2)
            return wcohi_fail(error, WCOH_E_DATA,
                              "%s sequence %llu has %llu tokens: it takes two to predict one", what,
                              (unsigned long long)i,
                              (unsigned long long)wcohi_sequence_length(s, i));
    }
    return wcohi_tokens_check(s->tokens + s->offsets[0], s->offsets[s->count] - s->offsets[0],
                              vocab, what, error);
}

/* Windows of seq targets that a sequence of `length` tokens falls into, the last one short. */
static size_t wcohi_windows_in(size_t length, int seq) { return (length - 2) / (size_t)seq + 1; }

static size_t wcohi_windows_of(const wcoh_sequences *s, int seq)
{
    size_t i, windows = 0;
    for (i = 0; i < s->count; i++) windows += wcohi_windows_in(wcohi_sequence_length(s, i), seq);
    return windows;
}

/* Where the windows of sequences are: all zero at the start; it moves forward alone. */
typedef struct wcohi_cursor {
    size_t sequence, before; /* windows of the sequences before it */
} wcohi_cursor;

/* Where window `index` begins; *there of its targets exist. */
static const uint32_t *wcohi_cursor_at(wcohi_cursor *cursor, const wcoh_sequences *s, int seq,
                                       size_t index, size_t *there)
{
    size_t length, start;
    for (;; cursor->sequence++) {
        size_t windows;
        length = wcohi_sequence_length(s, cursor->sequence);
        windows = wcohi_windows_in(length, seq);
        if (index - cursor->before < windows) break;
        cursor->before += windows;
    }
    start = (index - cursor->before) * (size_t)seq;
    *there = WCOHI_MIN(length - 1 - start, (size_t)seq);
    return s->tokens + s->offsets[cursor->sequence] + start;
}

/* Copy a window into tokens [seq] and targets [seq], each one token further; those that are not
   there do not count, and what is heard in their place has no effect: attention is causal. */
static void wcohi_window_put(uint32_t *tokens, uint32_t *targets, int seq, const uint32_t *text,
                             size_t there)
{
    size_t i;
    memcpy(tokens, text, there * sizeof *text);
    memcpy(targets, text + 1, there * sizeof *text);
    for (i = there; i < (size_t)seq; i++) {
        tokens[i] = 0;
        targets[i] = WCOH_TARGET_NONE;
    }
}

/* ---- evaluation of texts in windows ---------------------------------------------------------- */

/* What is scored: the first `windows` of these sequences. */
typedef struct wcohi_scoring {
    const wcoh_sequences *sequences;
    size_t windows;
    uint32_t *tokens, *targets; /* [batch, seq] */
    size_t counted;             /* targets so far */
    double nats;                /* -log p of them all */
} wcohi_scoring;

static wcoh_result wcohi_score_windows(wcohi_engine *engine, const wcohi_engine_desc *desc,
                                       wcohi_scoring *scoring, wcoh_error *error)
{
    const wcohi_device_table *table = engine->device->table;
    size_t seq = (size_t)desc->seq, window, there;
    wcoh_result result = WCOH_OK;
    wcohi_cursor cursor = {0, 0};
    wcohi_run run;
    memset(&run, 0, sizeof run);
    run.seq = desc->seq;
    run.active_bands = desc->model->bands;
    run.tokens = scoring->tokens;
    run.targets = scoring->targets;
    for (window = 0; !result && window < scoring->windows; window += (size_t)run.batch) {
        size_t row, rows = WCOHI_MIN((size_t)desc->batch, scoring->windows - window);
        for (row = 0; row < rows; row++) {
            const uint32_t *text = wcohi_cursor_at(&cursor, scoring->sequences, desc->seq,
                                                   window + row, &there);
            wcohi_window_put(scoring->tokens + row * seq, scoring->targets + row * seq, desc->seq,
                             text, there);
            scoring->counted += there;
        }
        run.add = window > 0;
        run.batch = (int)rows;
        result = table->run(engine->exec, &run, 0, engine->plan.count, error);
    }
    return result ? result : table->loss(engine->exec, &scoring->nats, error);
}

static void wcohi_scoring_layout(wcohi_scoring *scoring, wcohi_engine *engine, wcohi_arena *arena,
                                 const wcohi_engine_desc *wanted)
{
    size_t rows = (size_t)wanted->batch * (size_t)wanted->seq;
    scoring->tokens = WCOHI_TAKE(arena, rows, uint32_t);
    scoring->targets = WCOHI_TAKE(arena, rows, uint32_t);
    wcohi_engine_layout(engine, arena, wanted);
}

WCOHI_COLD wcoh_result wcohi_eval_desc_resolve(wcoh_eval_desc *desc, const wcoh_model_desc *model,
                                               wcoh_error *error)
{
    wcoh_result result = wcohi_fields_resolve(WCOH_DESC_EVAL, desc, error);
    if (result) return result;
    if (desc->seq == 0) desc->seq = WCOHI_MIN(64, model->context);
    if ((int64_t)desc->seq * desc->batch > INT_MAX / 8)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "seq is %d and batch is %d: their product must be below %d", desc->seq,
                          desc->batch, INT_MAX / 8);
    if (desc->seq > model->context && wcohi_bound_to_context(model))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "seq is %d: the model's context is %d", desc->seq,
                          model->context);
    return desc->device ? WCOH_OK : wcohi_cpu_desc_check(&desc->cpu, error);
}

/* Run an evaluation with a resolved desc; scoring has its sequences, checked, and windows. */
static wcoh_result wcohi_evaluate(wcoh_model *model, const wcoh_eval_desc *desc,
                                  wcohi_scoring *scoring, double *loss, size_t *scored,
                                  wcoh_error *error)
{
    wcohi_engine_desc wanted;
    wcohi_engine engine;
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_result result;
    memset(&wanted, 0, sizeof wanted);
    memset(&engine, 0, sizeof engine);
    wanted.model = &model->desc;
    wanted.batch = (int)WCOHI_MIN((size_t)desc->batch, scoring->windows);
    wanted.seq = desc->seq;
    wanted.mode = WCOHI_MODE_SCORE;
    wanted.cpu = &desc->cpu;
    wanted.device = desc->device;
    wanted.memory = &desc->memory;
    if ((result = wcohi_engine_measure(&wanted, error)) != WCOH_OK) return result;
    wcohi_scoring_layout(scoring, &engine, &arena, &wanted);
    if ((result = wcohi_allocation_take(&block, &arena, &desc->memory, arena.used, "evaluation",
                                        error)) != WCOH_OK)
        return result;
    wcohi_scoring_layout(scoring, &engine, &arena, &wanted);
    if ((result = wcohi_engine_open(&engine, &wanted, model, error)) == WCOH_OK) {
        result = wcohi_score_windows(&engine, &wanted, scoring, error);
        wcohi_engine_close(&engine);
    }
    wcohi_allocation_give(&block);
    if (result) return result;
    if (scored) *scored = scoring->counted;
    *loss = scoring->nats / (double)scoring->counted;
    return wcohi_is_finite(*loss) ? WCOH_OK
                                  : wcohi_fail(error, WCOH_E_NUMERIC, "the loss is not finite");
}

WCOH_API wcoh_result wcoh_model_evaluate(wcoh_model *model, const wcoh_eval_desc *given,
                                         const uint32_t *tokens, size_t count, double *loss,
                                         size_t *scored, wcoh_error *error)
{
    wcoh_eval_desc desc;
    wcoh_sequences one;
    wcohi_scoring scoring;
    size_t ends[2];
    wcoh_result result;
    if (!model || !given || !loss)
        return wcohi_null(!model ? "model" : !given ? "desc" : "loss", error);
    desc = *given;
    if ((result = wcohi_eval_desc_resolve(&desc, &model->desc, error)) != WCOH_OK) return result;
    if ((result = wcohi_data_check(tokens, count, desc.seq, model->desc.vocab, "evaluation",
                                   error)) != WCOH_OK)
        return result;
    memset(&scoring, 0, sizeof scoring);
    one = wcohi_sequence_of(tokens, count, ends);
    scoring.sequences = &one;
    scoring.windows = (count - 1) / (size_t)desc.seq; /* whole ones */
    return wcohi_evaluate(model, &desc, &scoring, loss, scored, error);
}

WCOH_API wcoh_result wcoh_model_evaluate_sequences(wcoh_model *model, const wcoh_eval_desc *given,
                                                   const wcoh_sequences *sequences, double *loss,
                                                   size_t *scored, wcoh_error *error)
{
    wcoh_eval_desc desc;
    wcohi_scoring scoring;
    wcoh_result result;
    if (!model || !given) return wcohi_null(model ? "desc" : "model", error);
    if (!sequences || !loss) return wcohi_null(sequences ? "loss" : "sequences", error);
    desc = *given;
    if ((result = wcohi_eval_desc_resolve(&desc, &model->desc, error)) != WCOH_OK) return result;
    result = wcohi_sequences_check(sequences, model->desc.vocab, "evaluation", error);
    if (result) return result;
    memset(&scoring, 0, sizeof scoring);
    scoring.sequences = sequences;
    scoring.windows = wcohi_windows_of(sequences, desc.seq);
    return wcohi_evaluate(model, &desc, &scoring, loss, scored, error);
}

#define WCOHI_RECENT 1024 /* tokens that the repetition penalty may look back */

struct wcoh_session {
    wcoh_session_desc desc;
    wcoh_model *model;
    wcohi_engine engine;
    uint64_t position;  /* tokens heard */
    uint32_t *recent;   /* [WCOHI_RECENT] ring: token i at i % WCOHI_RECENT */
    uint32_t *ordered;  /* [WCOHI_RECENT] the same, oldest first, for the sampler */
    wcoh_real *logits;  /* [V] */
    float *scratch;     /* [2V] for the sampler */
    size_t state_bytes; /* of all attention states */
    int has_logits;
    wcohi_allocation block;
};

WCOHI_COLD wcoh_session *wcohi_session_layout(wcohi_arena *arena, const wcoh_model *model,
                                              const wcoh_session_desc *desc,
                                              const wcohi_engine_desc *engine)
{
    wcoh_session *session = WCOHI_TAKE(arena, 1, wcoh_session);
    uint32_t *recent = WCOHI_TAKE(arena, WCOHI_RECENT, uint32_t),
             *ordered = WCOHI_TAKE(arena, WCOHI_RECENT, uint32_t);
    wcoh_real *logits = WCOHI_TAKE(arena, model->desc.vocab, wcoh_real);
    float *scratch = WCOHI_TAKE(arena, 2 * (size_t)model->desc.vocab, float);
    wcohi_engine measured;
    memset(&measured, 0, sizeof measured);
    wcohi_engine_layout(session ? &session->engine : &measured, arena, engine);
    if (!session) return NULL;
    session->desc = *desc;
    session->recent = recent;
    session->ordered = ordered;
    session->logits = logits;
    session->scratch = scratch;
    return session;
}

WCOHI_COLD wcoh_result wcohi_session_measure(wcoh_session_desc *desc, wcohi_engine_desc *engine,
                                             const wcoh_model *model, size_t *used,
                                             wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcoh_result result = wcohi_fields_resolve(WCOH_DESC_SESSION, desc, error);
    if (result) return result;
    if (desc->cpu.threads == 0) desc->cpu.threads = 1;
    if (!desc->device && (result = wcohi_cpu_desc_check(&desc->cpu, error)) != WCOH_OK)
        return result;
    memset(engine, 0, sizeof *engine);
    engine->model = &model->desc;
    engine->batch = 1;
    engine->seq = desc->prefill;
    engine->mode = WCOHI_MODE_SESSION;
    engine->cpu = &desc->cpu;
    engine->device = desc->device;
    engine->memory = &desc->memory;
    if ((result = wcohi_engine_measure(engine, error)) != WCOH_OK) return result;
    wcohi_session_layout(&arena, model, desc, engine);
    *used = arena.used;
    return WCOH_OK;
}

WCOH_API size_t wcoh_session_size(const wcoh_model *model, const wcoh_session_desc *given,
                                  wcoh_error *error)
{
    wcoh_session_desc desc;
    wcohi_engine_desc engine;
    size_t used = 0, bytes;
    if (!model || !given) {
        wcohi_null(model ? "desc" : "model", error);
        return 0;
    }
    desc = *given;
    if (wcohi_session_measure(&desc, &engine, model, &used, error)) return 0;
    bytes = wcohi_allocation_bytes(used);
    if (bytes != WCOHI_SIZE_BAD) return bytes;
    wcohi_fail(error, WCOH_E_MEMORY, "the session does not fit this machine's address space");
    return 0;
}

WCOH_API wcoh_result wcoh_session_create(wcoh_session **out, wcoh_model *model,
                                         const wcoh_session_desc *given, wcoh_error *error)
{
    wcoh_session_desc desc;
    wcohi_engine_desc engine;
    wcohi_arena arena;
    wcohi_allocation block;
    wcoh_session *session;
    wcoh_result result;
    size_t used = 0;
    if (!out) return wcohi_null("session", error);
    *out = NULL;
    if (!model || !given) return wcohi_null(model ? "desc" : "model", error);
    desc = *given;
    if ((result = wcohi_session_measure(&desc, &engine, model, &used, error)) != WCOH_OK)
        return result;
    if ((result = wcohi_allocation_take(&block, &arena, &given->memory, used, "session", error)) !=
        WCOH_OK)
        return result;
    session = wcohi_session_layout(&arena, model, &desc, &engine);
    session->block = block;
    session->model = model;
    if ((result = wcohi_engine_open(&session->engine, &engine, model, error)) != WCOH_OK) {
        wcohi_allocation_give(&block);
        return result;
    }
    session->state_bytes = session->engine.plan.states;
    *out = session;
    return WCOH_OK;
}

WCOH_API void wcoh_session_destroy(wcoh_session *session)
{
    if (!session) return;
    wcohi_engine_close(&session->engine);
    wcohi_allocation_give(&session->block);
}

WCOH_API void wcoh_session_reset(wcoh_session *session)
{
    if (!session) return;
    session->position = 0; /* at position 0 every attention begins with a blank state */
    session->has_logits = 0;
}

/* ---- hearing --------------------------------------------------------------------------------- */

/* Run rows tokens [rows <= prefill] from the session's position; targets NULL or [rows], with `add`
   their loss is added to that of the runs before. */
static wcoh_result wcohi_session_run(wcoh_session *session, const uint32_t *tokens,
                                     const uint32_t *targets, int rows, int add, int logits,
                                     wcoh_error *error)
{
    const wcohi_device_table *table = session->engine.device->table;
    wcohi_run run;
    wcoh_result result;
    int i;
    memset(&run, 0, sizeof run);
    run.tokens = tokens;
    run.targets = targets;
    run.batch = 1;
    run.seq = rows;
    run.active_bands = session->model->desc.bands;
    run.session = 1;
    run.add = add;
    run.logits = logits;
    run.position = session->position;
    result = table->run(session->engine.exec, &run, 0, session->engine.plan.count, error);
    if (!result && logits)
        result = table->download(session->engine.exec, WCOHI_AREA_LOGITS, 0, session->logits,
                                 (size_t)session->model->desc.vocab, error);
    if (result) return result;
    for (i = 0; i < rows; i++)
        session->recent[(session->position + (uint64_t)i) % WCOHI_RECENT] = tokens[i];
    session->position += (uint64_t)rows;
    session->has_logits = logits;
    return WCOH_OK;
}

static wcoh_result wcohi_session_check(const wcoh_session *session, const uint32_t *tokens,
                                       size_t count, wcoh_error *error)
{
    const wcoh_model_desc *desc;
    if (!session || (!tokens && count > 0))
        return wcohi_null(session ? "tokens" : "session", error);
    desc = &session->model->desc;
    if (desc->position == WCOH_POSITION_LEARNED &&
        session->position + count > (uint64_t)desc->context)
        return wcohi_fail(error, WCOH_E_CONTEXT,
                          "position %llu: the model has %d learned positions",
                          (unsigned long long)(session->position + count), desc->context);
    return wcohi_tokens_check(tokens, count, desc->vocab, "input", error);
}

WCOH_API wcoh_result wcoh_session_step(wcoh_session *session, uint32_t token, wcoh_error *error)
{
    return wcoh_session_prefill(session, &token, 1, error);
}

WCOH_API wcoh_result wcoh_session_prefill(wcoh_session *session, const uint32_t *tokens,
                                          size_t count, wcoh_error *error)
{
    size_t at, rows;
    wcoh_result result = wcohi_session_check(session, tokens, count, error);
    for (at = 0; !result && at < count; at += rows) {
        rows = WCOHI_MIN(count - at, (size_t)session->desc.prefill);
        result =
            wcohi_session_run(session, tokens + at, NULL, (int)rows, 0, at + rows == count, error);
    }
    return result;
}

WCOH_API wcoh_result wcoh_session_score(wcoh_session *session, const uint32_t *tokens, size_t count,
                                        double *nats, wcoh_error *error)
{
    size_t at, rows, heard = count ? count - 1 : 0;
    wcoh_result result;
    if (!nats || (!tokens && count > 0)) return wcohi_null(nats ? "tokens" : "nats", error);
    result = wcohi_session_check(session, tokens, heard, error);
    if (!result && count)
        result = wcohi_tokens_check(tokens + heard, 1, session->model->desc.vocab, "last", error);
    *nats = 0;
    for (at = 0; !result && at < heard; at += rows) {
        rows = WCOHI_MIN(heard - at, (size_t)session->desc.prefill);
        result = wcohi_session_run(session, tokens + at, tokens + at + 1, (int)rows, at > 0,
                                   at + rows == heard, error);
    }
    if (result || heard == 0) return result;
    return session->engine.device->table->loss(session->engine.exec, nats, error);
}

WCOH_API const wcoh_real *wcoh_session_logits(const wcoh_session *session)
{
    return session && session->has_logits ? session->logits : NULL;
}

WCOH_API uint64_t wcoh_session_position(const wcoh_session *session)
{
    return session ? session->position : 0;
}

WCOH_API wcoh_result wcoh_session_copy(wcoh_session *to, const wcoh_session *from,
                                       wcoh_error *error)
{
    const wcohi_device_table *table;
    wcoh_result result;
    void *states;
    if (!to || !from) return wcohi_null(to ? "from" : "to", error);
    table = from->engine.device->table;
    if (to->model != from->model)
        return wcohi_fail(error, WCOH_E_MISMATCH, "the sessions are of different models");
    states = table->map(from->engine.exec, WCOHI_AREA_STATES, error);
    if (!states) return WCOH_E_DEVICE;
    result = to->engine.device->table->upload(to->engine.exec, WCOHI_AREA_STATES, 0, states,
                                              from->state_bytes, error);
    if (result) return result;
    memcpy(to->recent, from->recent, WCOHI_RECENT * sizeof *to->recent);
    memcpy(to->logits, from->logits, (size_t)from->model->desc.vocab * sizeof *to->logits);
    to->position = from->position;
    to->has_logits = from->has_logits;
    return WCOH_OK;
}

/* ---- sampling -------------------------------------------------------------------------------- */

WCOH_API wcoh_result wcoh_session_sample(wcoh_session *session, const wcoh_sample_desc *desc,
                                         wcoh_rng *rng, uint32_t *token, wcoh_error *error)
{
    uint64_t count, i;
    if (!session) return wcohi_null("session", error);
    count = WCOHI_MIN(session->position, (uint64_t)WCOHI_RECENT);
    if (!session->has_logits)
        return wcohi_fail(error, WCOH_E_DATA, "the session has heard nothing yet");
    for (i = 0; i < count; i++)
        session->ordered[i] = session->recent[(session->position - count + i) % WCOHI_RECENT];
    return wcoh_sample(desc, rng, session->logits, session->model->desc.vocab, session->ordered,
                       (size_t)count, session->scratch, token, error);
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* One draw. A filter drops a symbol by making its logit not a number; the draw at the end walks the
   symbols in ascending order, so that a filter which drops nothing changes nothing. */
typedef struct wcohi_draw {
    float *logit; /* [vocab], then exp((logit - best) / temperature): the likeliest has 1 */
    float *heap;  /* [vocab] symbols, exact as floats below 2^24 */
    int vocab;
    int candidates;  /* symbols with a finite logit, all in `heap` */
    int size;        /* heap[0 .. size-1] is a max-heap; above it lie the ones taken out */
    float best;      /* the largest logit */
    int best_symbol; /* the lowest symbol that has it */
    double temperature;
} wcohi_draw;

static int wcohi_is_minus_infinity(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits == 0xff800000u;
}

static void wcohi_draw_drop(wcohi_draw *draw, int symbol)
{
    memset(&draw->logit[symbol], 0xff, sizeof draw->logit[symbol]); /* a NaN */
}

/* Put a changed logit back; what was not finite stays dropped, and nothing becomes infinite. */
static void wcohi_draw_put(wcohi_draw *draw, uint32_t symbol, double logit)
{
    if (wcohi_is_finite((double)draw->logit[symbol]))
        draw->logit[symbol] = (float)WCOHI_CLAMP(logit, -(double)FLT_MAX, (double)FLT_MAX);
}

static void wcohi_draw_bias(wcohi_draw *draw, const wcoh_sample_desc *desc)
{
    int i;
    for (i = 0; i < desc->bias_count; i++) {
        const wcoh_logit_bias *bias = &desc->bias[i];
        double logit = (double)draw->logit[bias->token];
        if (wcohi_is_minus_infinity(bias->bias)) wcohi_draw_drop(draw, (int)bias->token);
        else wcohi_draw_put(draw, bias->token, logit + (double)bias->bias);
    }
}

/* Repetition penalty r (Keskar et al., CTRL, 2019): x -> x / r if x > 0, else x * r, once for each
   distinct symbol among the last ones heard. The heap's memory marks what was done. */
static wcoh_result wcohi_draw_penalty(wcohi_draw *draw, const wcoh_sample_desc *desc,
                                      const uint32_t *recent, size_t count, wcoh_error *error)
{
    size_t window = desc->repetition_window ? (size_t)desc->repetition_window : 64, i;
    double penalty = desc->repetition_penalty;
    if (penalty == 0) return WCOH_OK;
    for (i = 0; i < (size_t)draw->vocab; i++) draw->heap[i] = 0;
    for (i = count > window ? count - window : 0; i < count; i++) {
        uint32_t symbol = recent[i];
        double logit;
        if (symbol >= (uint32_t)draw->vocab)
            return wcohi_fail(error, WCOH_E_TOKEN, "recent[%llu] is %lu: allowed are 0 to %d",
                              (unsigned long long)i, (unsigned long)symbol, draw->vocab - 1);
        if (draw->heap[symbol] > 0) continue;
        draw->heap[symbol] = 1;
        logit = (double)draw->logit[symbol];
        wcohi_draw_put(draw, symbol, logit > 0 ? logit / penalty : logit * penalty);
    }
    return WCOH_OK;
}

static void wcohi_draw_collect(wcohi_draw *draw)
{
    int i;
    draw->candidates = 0;
    for (i = 0; i < draw->vocab; i++) {
        if (!wcohi_is_finite((double)draw->logit[i])) continue;
        if (draw->candidates == 0 || draw->logit[i] > draw->best) {
            draw->best = draw->logit[i];
            draw->best_symbol = i;
        }
        draw->heap[draw->candidates++] = (float)i;
    }
    draw->size = draw->candidates;
}

static double wcohi_draw_weight(const wcohi_draw *draw, int symbol)
{
    return exp(((double)draw->logit[symbol] - (double)draw->best) / draw->temperature);
}

/* The symbol at place `i` of the heap comes before the one at `j`. */
static int wcohi_draw_before(const wcohi_draw *draw, int i, int j)
{
    float a = draw->logit[(int)draw->heap[i]], b = draw->logit[(int)draw->heap[j]];
    return a > b || (!(b > a) && draw->heap[i] < draw->heap[j]);
}

static void wcohi_draw_swap(wcohi_draw *draw, int i, int j)
{
    float symbol = draw->heap[i];
    draw->heap[i] = draw->heap[j];
    draw->heap[j] = symbol;
}

static void wcohi_draw_sink(wcohi_draw *draw, int i)
{
    for (;;) {
        int child = 2 * i + 1;
        if (child >= draw->size) return;
        if (child + 1 < draw->size && wcohi_draw_before(draw, child + 1, child)) child++;
        if (!wcohi_draw_before(draw, child, i)) return;
        wcohi_draw_swap(draw, i, child);
        i = child;
    }
}

/* Take the likeliest symbol out of the heap, to the place that it leaves free; returns it. */
static int wcohi_draw_pop(wcohi_draw *draw)
{
    draw->size--;
    wcohi_draw_swap(draw, 0, draw->size);
    wcohi_draw_sink(draw, 0);
    return (int)draw->heap[draw->size];
}

/* Top-k (Fan et al., 2018): the k likeliest stay. */
static void wcohi_draw_top_k(wcohi_draw *draw, int k)
{
    int i;
    if (k == 0 || k >= draw->candidates) return;
    for (i = 0; i < k; i++) wcohi_draw_pop(draw);
    for (i = 0; i < draw->size; i++) wcohi_draw_drop(draw, (int)draw->heap[i]);
    for (i = 0; i < draw->candidates / 2; i++) wcohi_draw_swap(draw, i, draw->candidates - 1 - i);
    draw->candidates = draw->size = k; /* in descending order, which is a heap */
}

/* Top-p (Holtzman et al., The curious case of neural text degeneration, 2019): the smallest set
   stays whose probability, among what the filters before left, reaches p. */
static void wcohi_draw_top_p(wcohi_draw *draw, double p)
{
    double total = 0, reached = 0;
    int i;
    if (p == 0 || p >= 1) return;
    for (i = 0; i < draw->candidates; i++) total += wcohi_draw_weight(draw, (int)draw->heap[i]);
    while (draw->size > 0 && reached < p * total)
        reached += wcohi_draw_weight(draw, wcohi_draw_pop(draw));
    for (i = 0; i < draw->size; i++) wcohi_draw_drop(draw, (int)draw->heap[i]);
}

/* Logits become weights; min-p (Nguyen et al., 2024) drops those below min_p times the largest. */
static double wcohi_draw_weights(wcohi_draw *draw, double min_p)
{
    double total = 0;
    int i;
    for (i = 0; i < draw->vocab; i++) {
        int in = wcohi_is_finite((double)draw->logit[i]);
        double weight = in ? wcohi_draw_weight(draw, i) : 0;
        draw->logit[i] = weight < min_p ? 0 : (float)weight;
        total += (double)draw->logit[i];
    }
    return total;
}

static uint32_t wcohi_draw_pick(const wcohi_draw *draw, double target)
{
    double reached = 0;
    int i, last = draw->best_symbol;
    for (i = 0; i < draw->vocab; i++) {
        if (!(draw->logit[i] > 0)) continue;
        last = i;
        reached += (double)draw->logit[i];
        if (target < reached) break;
    }
    return (uint32_t)last;
}

static wcoh_result wcohi_bias_check(const wcoh_sample_desc *desc, int vocab, wcoh_error *error)
{
    int i;
    if (desc->bias_count < 0 || (desc->bias_count > 0 && !desc->bias))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "bias_count is %d: allowed is the length of bias",
                          desc->bias_count);
    for (i = 0; i < desc->bias_count; i++) {
        const wcoh_logit_bias *bias = &desc->bias[i];
        if (bias->token >= (uint32_t)vocab)
            return wcohi_fail(error, WCOH_E_TOKEN, "bias[%d].token is %lu: allowed are 0 to %d", i,
                              (unsigned long)bias->token, vocab - 1);
        if (!wcohi_is_finite((double)bias->bias) && !wcohi_is_minus_infinity(bias->bias))
            return wcohi_fail(error, WCOH_E_ARGUMENT,
                              "bias[%d].bias: allowed are finite numbers and -infinity", i);
    }
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_sample_desc_check(const wcoh_sample_desc *desc, int vocab,
                                            wcoh_error *error)
{
    wcoh_sample_desc copy;
    wcoh_result result;
    if (!desc) return wcohi_fail(error, WCOH_E_ARGUMENT, "the sample desc is NULL");
    if (vocab < 1 || vocab > 16777216)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "vocab is %d: allowed are 1 to 16777216", vocab);
    copy = *desc;
    result = wcohi_fields_resolve(WCOH_DESC_SAMPLE, &copy, error);
    return result ? result : wcohi_bias_check(desc, vocab, error);
}

/* Copy the logits and apply what comes before the filters. */
static wcoh_result wcohi_draw_open(wcohi_draw *draw, const wcoh_sample_desc *desc,
                                   const wcoh_real *logits, int vocab, const uint32_t *recent,
                                   size_t recent_count, float *scratch, wcoh_error *error)
{
    wcoh_result result;
    int i;
    memset(draw, 0, sizeof *draw);
    draw->logit = scratch;
    draw->heap = scratch + vocab;
    draw->vocab = vocab;
    draw->temperature = desc->temperature;
    for (i = 0; i < vocab; i++) draw->logit[i] = (float)logits[i];
    wcohi_draw_bias(draw, desc);
    result = wcohi_draw_penalty(draw, desc, recent, recent_count, error);
    if (result) return result;
    wcohi_draw_collect(draw);
    if (draw->candidates > 0) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_NUMERIC, "none of the %d logits is finite", vocab);
}

WCOH_API wcoh_result wcoh_sample(const wcoh_sample_desc *desc, wcoh_rng *rng,
                                 const wcoh_real *logits, int vocab, const uint32_t *recent,
                                 size_t recent_count, float *scratch, uint32_t *token,
                                 wcoh_error *error)
{
    wcohi_draw draw;
    double total;
    int i;
    wcoh_result result = wcoh_sample_desc_check(desc, vocab, error);
    if (result) return result;
    if (!logits || !scratch || !token || (!recent && recent_count > 0))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "logits, scratch, token or recent is NULL");
    if (!rng && desc->temperature > 0)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "rng is NULL: allowed at temperature 0 alone");
    result = wcohi_draw_open(&draw, desc, logits, vocab, recent, recent_count, scratch, error);
    if (result) return result;
    *token = (uint32_t)draw.best_symbol;
    if (desc->temperature <= 0) return WCOH_OK;
    if (desc->top_k > 0 || desc->top_p > 0)
        for (i = draw.size / 2 - 1; i >= 0; i--) wcohi_draw_sink(&draw, i);
    wcohi_draw_top_k(&draw, desc->top_k);
    wcohi_draw_top_p(&draw, desc->top_p);
    total = wcohi_draw_weights(&draw, desc->min_p);
    *token = wcohi_draw_pick(&draw, wcoh_rng_uniform(rng) * total);
    return WCOH_OK;
}

/* ======== 5 running: files of models and sessions ============================================= */

/* A checkpoint is a safetensors file whose metadata say what its tensors are for:

     wavecoh.checksum   XXH64 of the file with these 16 digits as '0' (remove the key after editing)
     wavecoh.format     1; a reader refuses what is newer than itself
     wavecoh.kind       model, trainer (a model and what training needs) or session
     model.*            every setting of the model; model.vocab and so on
     tokenizer.kind     bytes or chars, the latter with tokenizer.alphabet; absent without one
     trainer.*          every setting of the trainer
     train.*            the state of the run: train.step, train.best_val, train.rng ..
     session.position   tokens heard
     note               the caller's own words

   Nothing here knows an architecture: all loops go over the parameter table and field tables. */

#define WCOHI_FORMAT "1"
#define WCOHI_MOMENTS "adam. muon." /* how names of tensors begin that only a trainer reads */

/* ---- settings as metadata -------------------------------------------------------------------- */

static void wcohi_put_value(wcohi_sink *sink, const char *prefix, const char *name,
                            const char *value)
{
    char key[64];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    wcohi_put_note(sink, key, value, strlen(value));
}

static void wcohi_put_kind(wcohi_sink *sink, const char *kind)
{
    wcohi_put_value(sink, "wavecoh.", "format", WCOHI_FORMAT);
    wcohi_put_value(sink, "wavecoh.", "kind", kind);
}

static void wcohi_put_fields(wcohi_sink *sink, wcoh_desc_kind kind, const char *prefix,
                             const void *desc)
{
    char value[WCOHI_FIELD_TEXT];
    int i, count;
    const wcoh_field *fields = wcoh_fields(kind, &count);
    for (i = 0; i < count; i++) {
        wcoh_field_get(kind, desc, fields[i].name, value, sizeof value);
        wcohi_put_value(sink, prefix, fields[i].name, value);
    }
}

static void wcohi_put_model(wcohi_sink *sink, const wcoh_model *model)
{
    const wcoh_tokenizer *tokenizer = wcoh_model_tokenizer(model);
    const char *alphabet;
    char kind[16];
    size_t size;
    wcohi_put_fields(sink, WCOH_DESC_MODEL, "model.", wcoh_model_get_desc(model));
    if (!tokenizer) return;
    wcohi_tokenizer_kind_text(tokenizer, kind);
    wcohi_put_value(sink, "tokenizer.", "kind", kind);
    if (tokenizer->start >= 0) wcohi_put_value(sink, "tokenizer.", "start", "1");
    if (tokenizer->kind == WCOH_TOKENIZER_BYTES) return;
    wcohi_tokenizer_alphabet(tokenizer, &alphabet, &size);
    wcohi_put_note(sink, "tokenizer.alphabet", alphabet, size);
}

/* The text of a key that must be there and hold no zero character. */
static wcoh_result wcohi_note_text(const wcoh_tensors *t, const char *key, const char **text,
                                   wcoh_error *error)
{
    size_t size = 0;
    *text = wcohi_tensors_note(t, key, &size);
    if (*text && strlen(*text) == size) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_FORMAT, "the metadata have no %s", key);
}

/* The file is of format 1 and of one of two kinds (or one, given twice). */
WCOHI_COLD wcoh_result wcohi_note_kind(const wcoh_tensors *t, const char *kind, const char *other,
                                       wcoh_error *error)
{
    const char *text = wcoh_tensors_metadata(t, "wavecoh.format");
    char shown[64];
    if (!text)
        return wcohi_fail(error, WCOH_E_MISMATCH, "the file has no settings of wavecoh: make the "
                          "model yourself and read the tensors into it (wcoh_model_read)");
    if (strcmp(text, WCOHI_FORMAT))
        return wcohi_fail(error, WCOH_E_FORMAT, "the file has format %s, this library reads %s",
                          wcohi_shown(text, shown), WCOHI_FORMAT);
    text = wcoh_tensors_metadata(t, "wavecoh.kind");
    if (text && (strcmp(text, kind) == 0 || strcmp(text, other) == 0)) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_MISMATCH, "the file holds a %s, not a %s",
                      text ? wcohi_shown(text, shown) : "thing without a name", kind);
}

/* Every key that begins with `prefix` is a setting; an unknown one comes from a newer library and
   may change what the model computes. */
WCOHI_COLD wcoh_result wcohi_note_fields(const wcoh_tensors *t, wcoh_desc_kind kind,
                                         const char *prefix, void *desc, wcoh_error *error)
{
    size_t i, length = strlen(prefix);
    for (i = 0; i < t->note_count; i++) {
        const char *key = t->text + t->notes[i].key.at, *text;
        wcoh_error own;
        char shown[64];
        if (strncmp(key, prefix, length)) continue;
        if (wcohi_note_text(t, key, &text, &own) ||
            wcoh_field_set(kind, desc, key + length, text, &own))
            return wcohi_fail(error, WCOH_E_FORMAT, "%s in the file: %s", wcohi_shown(key, shown),
                              own.text);
    }
    return WCOH_OK;
}

/* The settings in the file are those of `desc`. */
static wcoh_result wcohi_note_same(const wcoh_tensors *t, const wcoh_model_desc *desc,
                                   wcoh_error *error)
{
    char here[WCOHI_FIELD_TEXT], there[WCOHI_FIELD_TEXT];
    wcoh_model_desc read;
    wcoh_result result;
    int i, count;
    const wcoh_field *fields = wcoh_fields(WCOH_DESC_MODEL, &count);
    memset(&read, 0, sizeof read);
    result = wcohi_note_fields(t, WCOH_DESC_MODEL, "model.", &read, error);
    for (i = 0; i < count && !result; i++) {
        wcoh_field_get(WCOH_DESC_MODEL, desc, fields[i].name, here, sizeof here);
        wcoh_field_get(WCOH_DESC_MODEL, &read, fields[i].name, there, sizeof there);
        if (strcmp(here, there))
            result = wcohi_fail(error, WCOH_E_MISMATCH, "%s is %s here and %s in the file",
                                fields[i].name, here, there);
    }
    return result;
}

/* The hooks that made an object, for blocks that are given back before the call returns. */
static wcoh_memory wcohi_temporary(const wcoh_memory *memory)
{
    wcoh_memory hooks;
    memset(&hooks, 0, sizeof hooks);
    if (memory) hooks = *memory;
    hooks.block = NULL;
    hooks.block_size = 0;
    return hooks;
}

/* ---- model ----------------------------------------------------------------------------------- */

static void wcohi_param_tensor(const wcoh_param *param, wcohi_file_tensor *tensor)
{
    int i;
    wcohi_tensor_init(tensor, WCOHI_OF_REAL, param->data, param->count);
    snprintf(tensor->name, sizeof tensor->name, "%s", param->name);
    tensor->dims = param->dims;
    for (i = 0; i < param->dims; i++) tensor->shape[i] = (size_t)param->shape[i];
}

WCOHI_COLD void wcohi_model_tensor(const void *object, int index, wcohi_file_tensor *tensor)
{
    const wcoh_model *model = (const wcoh_model *)object;
    double maximum = model->rows[index].maximum;
    wcoh_param param;
    wcoh_model_param(model, index, &param, NULL);
    wcohi_param_tensor(&param, tensor);
    if (maximum >= tensor->maximum || maximum >= 1e30) return;
    tensor->maximum = maximum + 1e-5; /* rounded to a float it may lie above */
    tensor->limit = "at most 12 as a gain (softplus of it)";
}

WCOHI_COLD void wcohi_model_notes(const void *object, wcohi_sink *sink)
{
    wcohi_put_kind(sink, "model");
    wcohi_put_model(sink, (const wcoh_model *)object);
}

WCOHI_COLD wcohi_contents wcohi_model_contents(const wcoh_model *model)
{
    wcohi_contents contents;
    memset(&contents, 0, sizeof contents);
    contents.object = model;
    contents.count = wcoh_model_param_count(model);
    contents.tensor = wcohi_model_tensor;
    contents.notes = wcohi_model_notes;
    return contents;
}

WCOH_API wcoh_result wcoh_model_save(const wcoh_model *model, const wcoh_io *io, wcoh_error *error)
{
    wcohi_contents contents;
    wcoh_result result = wcohi_writable(io, error);
    if (result) return result;
    if (!model) return wcohi_null("model", error);
    contents = wcohi_model_contents(model);
    return wcohi_save(io, &contents, error);
}

/* A model and what the caller notes about it. */
typedef struct wcohi_noted {
    const wcoh_model *model;
    const char *note;
} wcohi_noted;

WCOHI_COLD void wcohi_noted_tensor(const void *object, int index, wcohi_file_tensor *tensor)
{
    wcohi_model_tensor(((const wcohi_noted *)object)->model, index, tensor);
}

WCOHI_COLD void wcohi_noted_notes(const void *object, wcohi_sink *sink)
{
    const wcohi_noted *noted = (const wcohi_noted *)object;
    wcohi_model_notes(noted->model, sink);
    wcohi_put_note(sink, "note", noted->note, strlen(noted->note));
}

WCOHI_COLD wcoh_result wcohi_noted_check(const wcoh_model *model, const char *note,
                                         wcoh_error *error)
{
    uint32_t point;
    size_t left;
    int length;
    if (!model) return wcohi_null("model", error);
    if (!note) return wcohi_null("note", error);
    for (left = strlen(note); left > 0; left -= (size_t)length, note += length) {
        length = wcohi_utf8_read(note, left, &point);
        if (length == 0) return wcohi_fail(error, WCOH_E_FORMAT, "note is not UTF-8");
    }
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_model_save_note(const wcoh_model *model, const char *note,
                                          const wcoh_io *io, wcoh_error *error)
{
    wcohi_contents contents;
    wcohi_noted noted;
    wcoh_result result = wcohi_writable(io, error);
    if (!result) result = wcohi_noted_check(model, note, error);
    if (result) return result;
    noted.note = note;
    noted.model = model;
    contents = wcohi_model_contents(model);
    contents.object = &noted;
    contents.tensor = wcohi_noted_tensor;
    contents.notes = wcohi_noted_notes;
    return wcohi_save(io, &contents, error);
}

WCOH_API size_t wcoh_model_file_size(const wcoh_model *model)
{
    wcohi_contents contents;
    if (!model) return 0;
    contents = wcohi_model_contents(model);
    return wcohi_contents_size(&contents);
}

/* The tokenizer that the metadata describe; NULL where there is none. */
WCOHI_COLD wcoh_result wcohi_note_tokenizer(const wcoh_tensors *t, wcoh_tokenizer **tokenizer,
                                            const wcoh_memory *memory, wcoh_error *error)
{
    const char *kind = wcoh_tensors_metadata(t, "tokenizer.kind"), *alphabet,
               *start = wcoh_tensors_metadata(t, "tokenizer.start");
    wcoh_tokenizer_desc desc;
    wcoh_result result;
    wcoh_error own;
    size_t size = 0;
    *tokenizer = NULL;
    if (!kind) return WCOH_OK;
    memset(&desc, 0, sizeof desc);
    desc.memory = *memory;
    alphabet = wcohi_tensors_note(t, "tokenizer.alphabet", &size);
    if (wcoh_field_set(WCOH_DESC_TOKENIZER, &desc, "kind", kind, NULL) ||
        (desc.kind != WCOH_TOKENIZER_BYTES && !alphabet) ||
        (start && wcoh_field_set(WCOH_DESC_TOKENIZER, &desc, "start", start, NULL)))
        return wcohi_fail(error, WCOH_E_FORMAT, "the tokenizer of the file is not known");
    result = wcoh_tokenizer_create(tokenizer, &desc, alphabet, size, &own);
    if (!result) return result;
    return wcohi_fail(error, result == WCOH_E_MEMORY ? result : WCOH_E_FORMAT,
                      "tokenizer.alphabet in the file: %s", own.text);
}

/* Make the model and fill it. A header of a few bytes may describe a giant: all its numbers must be
   in the file, so its size cannot be many times the file's. */
WCOHI_COLD wcoh_result wcohi_model_build(wcoh_model **model, const wcoh_tensors *t,
                                         const wcoh_model_desc *desc, wcoh_error *error)
{
    wcoh_error own;
    wcohi_contents contents;
    wcoh_result result;
    size_t bytes = wcoh_model_size(desc, &own);
    if (bytes == 0)
        return wcohi_fail(error, own.code == WCOH_E_MEMORY ? WCOH_E_MEMORY : WCOH_E_FORMAT,
                          "the settings in the file: %s", own.text);
    if (bytes / 8 > t->file_size + 65536)
        return wcohi_fail(error, WCOH_E_FORMAT, "the settings in the file describe a model of %llu "
                          "bytes, the file has %llu", (unsigned long long)bytes,
                          (unsigned long long)t->file_size);
    if ((result = wcoh_model_create(model, desc, error)) != WCOH_OK) return result;
    contents = wcohi_model_contents(*model);
    result = wcohi_load(t, &contents, WCOHI_MOMENTS, 0, NULL, error);
    if (!result) return WCOH_OK;
    wcoh_model_destroy(*model);
    *model = NULL;
    return result;
}

WCOH_API wcoh_result wcoh_model_load(wcoh_model **model, const wcoh_io *io,
                                     const wcoh_memory *memory, wcoh_error *error)
{
    wcoh_memory hooks = wcohi_temporary(memory);
    wcoh_model_desc desc;
    wcoh_tensors *t;
    wcoh_tokenizer *tokenizer = NULL;
    wcoh_result result;
    if (!model) return wcohi_null("model", error);
    *model = NULL;
    if ((result = wcohi_readable(io, error)) != WCOH_OK) return result;
    if ((result = wcohi_tensors_open(&t, io, &hooks, 1, error)) != WCOH_OK) return result;
    memset(&desc, 0, sizeof desc);
    result = wcohi_note_kind(t, "model", "trainer", error);
    if (!result) result = wcohi_note_fields(t, WCOH_DESC_MODEL, "model.", &desc, error);
    if (!result) result = wcohi_note_tokenizer(t, &tokenizer, &hooks, error);
    desc.tokenizer = tokenizer;
    if (memory) desc.memory = *memory;
    if (!result) result = wcohi_model_build(model, t, &desc, error);
    wcoh_tokenizer_destroy(tokenizer);
    wcoh_tensors_close(t);
    return result;
}

WCOH_API wcoh_result wcoh_model_read(wcoh_model *model, const wcoh_io *io, wcoh_error *error)
{
    wcoh_memory hooks;
    wcohi_contents contents;
    wcoh_tensors *t;
    wcoh_result result;
    if (!model) return wcohi_null("model", error);
    if ((result = wcohi_readable(io, error)) != WCOH_OK) return result;
    hooks = wcohi_temporary(&wcoh_model_get_desc(model)->memory);
    if ((result = wcohi_tensors_open(&t, io, &hooks, 1, error)) != WCOH_OK) return result;
    contents = wcohi_model_contents(model);
    result = wcohi_load(t, &contents, WCOHI_MOMENTS, 1, &hooks, error);
    if (!result) wcoh_model_touch(model);
    wcoh_tensors_close(t);
    return result;
}

/* ---- session --------------------------------------------------------------------------------- */

/* What a session has heard: attention states as the device has them, logits, the last tokens. */
typedef struct wcohi_session_view {
    wcoh_session *session;
    void *states;
} wcohi_session_view;

/* The ops with a state that a tensor of the file holds: all of them together where their states are
   of one type, else each in a tensor of its own. */
typedef struct wcohi_states {
    int first, last;      /* ops */
    size_t offset, bytes; /* of the states of a session */
    int reals;
    int mixed; /* 1: the stack has states of both types */
} wcohi_states;

/* Number `index` of the tensors that hold states; *count: how many there are. */
static wcohi_states wcohi_states_of(const wcohi_plan *plan, int index, int *count)
{
    wcohi_states all, one;
    int i;
    memset(&all, 0, sizeof all);
    one = all;
    for (*count = i = 0; i < plan->count; i++) {
        wcohi_sizes sizes = wcohi_op_sizes(plan, &plan->ops[i], 1);
        if (!sizes.state) continue;
        if (*count > 0 && sizes.state_reals != all.reals) all.mixed = 1;
        all.reals = sizes.state_reals;
        if ((*count)++ != index) continue;
        one.first = i;
        one.last = i + 1;
        one.offset = plan->ops[i].state;
        one.bytes = sizes.state;
        one.reals = sizes.state_reals;
    }
    one.mixed = all.mixed;
    if (all.mixed) return one;
    *count = 1;
    all.last = plan->count;
    all.bytes = plan->states;
    return all;
}

WCOHI_COLD int wcohi_session_accept(void *data, const void *object, int index)
{
    const wcohi_plan *plan = &((const wcohi_session_view *)object)->session->engine.plan;
    int count, i;
    wcohi_states states = wcohi_states_of(plan, index, &count);
    for (i = states.first; i < states.last; i++) {
        const wcohi_op *op = &plan->ops[i];
        if (!wcohi_cpu_ops[op->kind].admit) continue;
        if (!wcohi_cpu_ops[op->kind].admit(op, (unsigned char *)data + op->state - states.offset))
            return 0;
    }
    return 1;
}

/* States, then logits, then the last tokens. */
WCOHI_COLD void wcohi_session_tensor(const void *object, int index, wcohi_file_tensor *tensor)
{
    const wcohi_session_view *view = (const wcohi_session_view *)object;
    wcoh_session *session = view->session;
    int count;
    wcohi_states states = wcohi_states_of(&session->engine.plan, index, &count);
    if (index < count) {
        wcohi_number_type kind = states.reals ? WCOHI_OF_REAL : WCOHI_OF_F64;
        wcohi_tensor_init(tensor, kind, (unsigned char *)view->states + states.offset,
                          states.bytes / wcohi_number_size(kind));
        tensor->accept = wcohi_session_accept;
        strcpy(tensor->name, "session.states");
        if (states.mixed) snprintf(tensor->name, sizeof tensor->name, "session.states.%d", index);
    } else if (index == count) {
        wcohi_tensor_init(tensor, WCOHI_OF_REAL, session->logits,
                          (size_t)session->model->desc.vocab);
        strcpy(tensor->name, "session.logits");
    } else {
        wcohi_tensor_init(tensor, WCOHI_OF_U32, session->recent, WCOHI_RECENT);
        strcpy(tensor->name, "session.recent");
        tensor->maximum = session->model->desc.vocab - 1;
        tensor->limit = "a token of the model";
    }
}

WCOHI_COLD wcoh_result wcohi_session_put(const void *object, int index, const void *data,
                                         wcoh_error *error)
{
    wcoh_session *session = ((const wcohi_session_view *)object)->session;
    const wcohi_engine *engine = &session->engine;
    int count;
    wcohi_states states = wcohi_states_of(&engine->plan, index, &count);
    if (index < count)
        return engine->device->table->upload(engine->exec, WCOHI_AREA_STATES, states.offset, data,
                                             states.bytes, error);
    if (index == count)
        memcpy(session->logits, data, (size_t)session->model->desc.vocab * sizeof(wcoh_real));
    else memcpy(session->recent, data, WCOHI_RECENT * sizeof *session->recent);
    return WCOH_OK;
}

WCOHI_COLD void wcohi_session_notes(const void *object, wcohi_sink *sink)
{
    const wcoh_session *session = ((const wcohi_session_view *)object)->session;
    char text[24];
    wcohi_put_kind(sink, "session");
    wcohi_put_fields(sink, WCOH_DESC_MODEL, "model.", &session->model->desc);
    snprintf(text, sizeof text, "%llu", (unsigned long long)session->position);
    wcohi_put_value(sink, "session.", "position", text);
    wcohi_put_value(sink, "session.", "has_logits", session->has_logits ? "1" : "0");
}

WCOHI_COLD wcoh_result wcohi_session_contents(const wcoh_session *session, wcohi_session_view *view,
                                              wcohi_contents *contents, wcoh_error *error)
{
    const wcohi_engine *engine = &session->engine;
    view->session = (wcoh_session *)(uintptr_t)session; /* written by loading alone */
    view->states = engine->device->table->map(engine->exec, WCOHI_AREA_STATES, error);
    if (!view->states) return WCOH_E_DEVICE;
    contents->object = view;
    wcohi_states_of(&engine->plan, 0, &contents->count);
    contents->count += 2;
    contents->tensor = wcohi_session_tensor;
    contents->notes = wcohi_session_notes;
    contents->put = wcohi_session_put;
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_session_save(const wcoh_session *session, const wcoh_io *io,
                                       wcoh_error *error)
{
    wcohi_session_view view;
    wcohi_contents contents;
    wcoh_result result = wcohi_writable(io, error);
    if (result) return result;
    if (!session) return wcohi_null("session", error);
    result = wcohi_session_contents(session, &view, &contents, error);
    if (!result) return wcohi_save(io, &contents, error);
    if (io->finish) io->finish(io->user, 0);
    return result;
}

WCOH_API size_t wcoh_session_file_size(const wcoh_session *session)
{
    wcohi_session_view view;
    wcohi_contents contents;
    if (!session || wcohi_session_contents(session, &view, &contents, NULL)) return 0;
    return wcohi_contents_size(&contents);
}

/* What was heard is what a session of this model can have heard. */
static wcoh_result wcohi_note_heard(const wcoh_tensors *t, const wcoh_model_desc *desc,
                                    uint64_t *position, uint64_t *has_logits, wcoh_error *error)
{
    const char *text = "", *logits = "";
    uint64_t most = (uint64_t)1 << 53;
    wcoh_result result = wcohi_note_text(t, "session.position", &text, error);
    if (!result) result = wcohi_note_text(t, "session.has_logits", &logits, error);
    if (result) return result;
    if (desc->position == WCOH_POSITION_LEARNED) most = (uint64_t)desc->context;
    if (!wcohi_parse_u64(text, position) || *position > most)
        return wcohi_fail(error, WCOH_E_FORMAT, "session.position in the file is no position");
    if (!wcohi_parse_u64(logits, has_logits) || *has_logits > (*position > 0))
        return wcohi_fail(error, WCOH_E_FORMAT,
                          "session.has_logits in the file is neither 0 nor, after something was "
                          "heard, 1");
    return WCOH_OK;
}

WCOHI_COLD wcoh_result wcohi_session_restore(wcoh_session *session, const wcoh_tensors *t,
                                             const wcoh_memory *hooks, wcoh_error *error)
{
    wcohi_session_view view;
    wcohi_contents contents;
    uint64_t position = 0, has_logits = 0;
    wcoh_result result = wcohi_note_kind(t, "session", "session", error);
    if (!result) result = wcohi_note_same(t, &session->model->desc, error);
    if (!result) result = wcohi_note_heard(t, &session->model->desc, &position, &has_logits, error);
    if (!result) result = wcohi_session_contents(session, &view, &contents, error);
    if (!result) result = wcohi_load(t, &contents, NULL, 1, hooks, error);
    if (result) return result;
    session->position = position;
    session->has_logits = (int)has_logits;
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_session_load(wcoh_session *session, const wcoh_io *io, wcoh_error *error)
{
    wcoh_memory hooks;
    wcoh_tensors *t;
    wcoh_result result;
    if (!session) return wcohi_null("session", error);
    if ((result = wcohi_readable(io, error)) != WCOH_OK) return result;
    hooks = wcohi_temporary(&session->desc.memory);
    if ((result = wcohi_tensors_open(&t, io, &hooks, 1, error)) != WCOH_OK) return result;
    result = wcohi_session_restore(session, t, &hooks, error);
    wcoh_tensors_close(t);
    return result;
}

/* ---- the same on paths ----------------------------------------------------------------------- */

#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_model_save_file(const wcoh_model *model, const char *path,
                                          wcoh_error *error)
{
    if (!model) return wcohi_null("model", error);
    WCOHI_SAVE_FILE(wcoh_model_save(model, &io, error));
}

WCOH_API wcoh_result wcoh_model_save_note_file(const wcoh_model *model, const char *note,
                                               const char *path, wcoh_error *error)
{
    wcoh_result checked = wcohi_noted_check(model, note, error);
    if (checked) return checked;
    WCOHI_SAVE_FILE(wcoh_model_save_note(model, note, &io, error));
}

WCOH_API wcoh_result wcoh_model_load_file(wcoh_model **model, const char *path,
                                          const wcoh_memory *memory, wcoh_error *error)
{
    if (!model) return wcohi_null("model", error);
    *model = NULL;
    WCOHI_LOAD_FILE(wcoh_model_load(model, &io, memory, error));
}

WCOH_API wcoh_result wcoh_model_read_file(wcoh_model *model, const char *path, wcoh_error *error)
{
    if (!model) return wcohi_null("model", error);
    WCOHI_LOAD_FILE(wcoh_model_read(model, &io, error));
}

WCOH_API wcoh_result wcoh_session_save_file(const wcoh_session *session, const char *path,
                                            wcoh_error *error)
{
    if (!session) return wcohi_null("session", error);
    WCOHI_SAVE_FILE(wcoh_session_save(session, &io, error));
}

WCOH_API wcoh_result wcoh_session_load_file(wcoh_session *session, const char *path,
                                            wcoh_error *error)
{
    if (!session) return wcohi_null("session", error);
    WCOHI_LOAD_FILE(wcoh_session_load(session, &io, error));
}
#endif

/* ======== 6 training: trainer ================================================================= */
#ifndef WAVECOH_NO_TRAINING

/* By what a text is known again: its length and its XXH64, of tokens of four bytes, lowest first. */
typedef struct wcohi_mark {
    uint64_t tokens, hash; /* no tokens: not known */
} wcohi_mark;

/* What a checkpoint keeps of a trainer beside parameters and moments. Between steps only. */
typedef struct wcohi_train_state {
    uint64_t step, tokens, best_step, adam_steps, patience_used;
    double train_loss, val_loss, best_val, grad_norm, lr, seconds;
    uint64_t turn_step;           /* the rates' way began before that step, 0 is the first .. */
    double turn_lr, turn_muon_lr; /* .. at these rates, 0 at the very beginning .. */
    int turn;                     /* .. and is this wcohi_turn */
    wcoh_rng rng;       /* of the batches of the next step */
    int evaluate;       /* 1: an evaluation is due before the next step */
    int best_pending;   /* 1: nobody said yet that the best weights are kept */
    int done;
    wcohi_mark text, val; /* of the data of the steps so far */
} wcohi_train_state;

/* Where the learning rate is on its way to. */
typedef enum wcohi_turn {
    WCOHI_TURN_RISE, /* to lr, then on as the settings say */
    WCOHI_TURN_FALL, /* to lr_end x lr, at the end of the run: the final decay */
    WCOHI_TURN_KEEP, /* nowhere */
    WCOHI_TURNS
} wcohi_turn;

/* A step is a walk through these phases; a slice of time may end after any unit of one. */
typedef enum wcohi_phase {
    WCOHI_PHASE_BATCH,   /* draw windows */
    WCOHI_PHASE_PASS,    /* one op, forward or backward */
    WCOHI_PHASE_UPDATE,  /* all-reduce, clip, the optimiser or a part of it */
    WCOHI_PHASE_WINDOWS, /* evaluation: gather windows, or its end */
    WCOHI_PHASE_SCORE    /* evaluation: one op forward */
} wcohi_phase;

/* A text, or several, to learn from or to validate on; no sequence: there is none. */
typedef struct wcohi_data {
    wcoh_sequences sequences;
    size_t ends[2]; /* offsets of a single text */
    size_t size;    /* tokens of all sequences */
    size_t windows; /* of which validation chooses */
} wcohi_data;

struct wcoh_trainer {
    wcoh_trainer_desc desc; /* resolved */
    wcoh_model *model;
    wcohi_engine engine;
    wcohi_run run;
    uint32_t *tokens, *targets; /* [batch, seq] of the run under way */
    wcohi_data train, val;
    wcohi_train_state state;
    wcohi_phase phase;
    wcoh_rng rng;       /* state.rng plus what the step under way has drawn */
    int time;           /* of the pass or the update under way */
    wcohi_update update; /* under way */
    int micro;          /* micro-batches done in this step */
    size_t counted;     /* targets of this step so far, those that count */
    size_t window;      /* evaluation: windows done */
    size_t scored;      /* and targets in them */
    wcohi_cursor cursor;
    uint64_t goal;      /* the call under way ends with this step */
    double until;       /* and at this time */
    double last, pace;  /* time of the last step's end, seconds that it took */
    int stop;           /* 1: the callback wants the call under way to end */
    wcohi_mark text_mark, val_mark; /* of the data at hand */
    char notice[256];               /* what is to be said about them, or "" */
    wcohi_allocation block;
};

/* ---- presets and settings -------------------------------------------------------------------- */

WCOH_API wcoh_trainer_desc wcoh_trainer_preset(wcoh_preset preset)
{
    wcoh_trainer_desc desc;
    memset(&desc, 0, sizeof desc);
    if (preset == WCOH_PRESET_GPT) desc.lr = 3e-3; /* the best found for it */
    if (preset == WCOH_PRESET_KERR_ENGINE || preset == WCOH_PRESET_WAVE_ENGINE) {
        desc.batch = 4;
        desc.lr = preset == WCOH_PRESET_KERR_ENGINE ? 3e-4 : 1e-4;
        desc.lr_end = -1;
        desc.warmup = -1;
        desc.beta2 = 0.999;
        desc.decay = preset == WCOH_PRESET_KERR_ENGINE ? -1 : 0.01;
        desc.steps = preset == WCOH_PRESET_KERR_ENGINE ? 3000 : 200;
    }
    return desc;
}

WCOH_API wcoh_result wcoh_trainer_desc_resolve(wcoh_trainer_desc *desc,
                                               const wcoh_model_desc *model, wcoh_error *error)
{
    wcoh_result result;
    if (!desc) return wcohi_null("desc", error);
    if ((result = wcohi_fields_resolve(WCOH_DESC_TRAINER, desc, error)) != WCOH_OK) return result;
    if (desc->curriculum == WCOH_SWITCH_AUTO) desc->curriculum = WCOH_SWITCH_OFF;
    if (desc->curriculum == WCOH_SWITCH_ON && desc->steps < 0)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "curriculum is on: it goes by thirds of steps, which is negative");
    if ((int64_t)desc->batch * desc->seq > INT_MAX / 8)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "batch is %d and seq is %d: their product must be below %d", desc->batch,
                          desc->seq, INT_MAX / 8);
    if (model && desc->seq > model->context && wcohi_bound_to_context(model))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "seq is %d: the model's context is %d", desc->seq,
                          model->context);
    return desc->device ? WCOH_OK : wcohi_cpu_desc_check(&desc->cpu, error);
}

/* ---- making one ------------------------------------------------------------------------------ */

WCOHI_COLD wcoh_trainer *wcohi_trainer_layout(wcohi_arena *arena, const wcoh_trainer_desc *desc,
                                              const wcohi_engine_desc *engine)
{
    wcoh_trainer *trainer = WCOHI_TAKE(arena, 1, wcoh_trainer);
    size_t window = (size_t)desc->batch * (size_t)desc->seq;
    uint32_t *tokens = WCOHI_TAKE(arena, window, uint32_t),
             *targets = WCOHI_TAKE(arena, window, uint32_t);
    wcohi_engine measured;
    memset(&measured, 0, sizeof measured);
    wcohi_engine_layout(trainer ? &trainer->engine : &measured, arena, engine);
    if (!trainer) return NULL;
    trainer->desc = *desc;
    trainer->tokens = tokens;
    trainer->targets = targets;
    return trainer;
}

/* Resolve and measure; *used are the bytes of the layout. */
WCOHI_COLD wcoh_result wcohi_trainer_measure(wcoh_trainer_desc *desc, wcohi_engine_desc *engine,
                                             const wcoh_model_desc *model, size_t *used,
                                             wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcoh_result result = wcoh_trainer_desc_resolve(desc, model, error);
    if (result) return result;
    memset(engine, 0, sizeof *engine);
    engine->model = model;
    engine->batch = desc->batch;
    engine->seq = desc->seq;
    engine->mode = WCOHI_MODE_TRAIN;
    engine->rates.branch = desc->dropout;
    engine->rates.embed = desc->embedding_dropout;
    engine->muon = desc->optimizer == WCOH_OPTIMIZER_MUON;
    engine->cpu = &desc->cpu;
    engine->device = desc->device;
    engine->memory = &desc->memory;
    if ((result = wcohi_engine_measure(engine, error)) != WCOH_OK) return result;
    wcohi_trainer_layout(&arena, desc, engine);
    *used = arena.used;
    return WCOH_OK;
}

WCOH_API size_t wcoh_trainer_size(const wcoh_model_desc *model, const wcoh_trainer_desc *desc,
                                  wcoh_error *error)
{
    wcoh_trainer_desc trainer;
    wcoh_model_desc resolved;
    wcohi_engine_desc engine;
    size_t used = 0, bytes;
    if (!model || !desc) {
        wcohi_null(model ? "desc" : "model", error);
        return 0;
    }
    trainer = *desc;
    resolved = *model;
    if (wcoh_model_desc_resolve(&resolved, error)) return 0;
    if (wcohi_trainer_measure(&trainer, &engine, &resolved, &used, error)) return 0;
    bytes = wcohi_allocation_bytes(used);
    if (bytes != WCOHI_SIZE_BAD) return bytes;
    wcohi_fail(error, WCOH_E_MEMORY, "the trainer does not fit this machine's address space");
    return 0;
}

WCOH_API wcoh_result wcoh_trainer_create(wcoh_trainer **out, wcoh_model *model,
                                         const wcoh_trainer_desc *desc, wcoh_error *error)
{
    wcoh_trainer_desc resolved;
    wcohi_engine_desc engine;
    wcohi_arena arena;
    wcohi_allocation block;
    wcoh_trainer *trainer;
    wcoh_result result;
    size_t used = 0;
    if (!out) return wcohi_null("trainer", error);
    *out = NULL;
    if (!model || !desc) return wcohi_null(model ? "desc" : "model", error);
    resolved = *desc;
    if ((result = wcohi_trainer_measure(&resolved, &engine, &model->desc, &used, error)) != WCOH_OK)
        return result;
    if ((result = wcohi_allocation_take(&block, &arena, &desc->memory, used, "trainer", error)) !=
        WCOH_OK)
        return result;
    trainer = wcohi_trainer_layout(&arena, &resolved, &engine);
    trainer->block = block;
    trainer->model = model;
    trainer->pace = 1e30; /* unknown */
    trainer->until = HUGE_VAL;
    trainer->state.val_loss = trainer->state.best_val = -1;
    trainer->state.rng = trainer->rng = wcoh_rng_seed(resolved.seed);
    if ((result = wcohi_engine_open(&trainer->engine, &engine, model, error)) != WCOH_OK) {
        wcohi_allocation_give(&block);
        return result;
    }
    *out = trainer;
    return WCOH_OK;
}

WCOH_API void wcoh_trainer_destroy(wcoh_trainer *trainer)
{
    if (!trainer) return;
    wcohi_engine_close(&trainer->engine);
    wcohi_allocation_give(&trainer->block);
}

WCOH_API const wcoh_trainer_desc *wcoh_trainer_get_desc(const wcoh_trainer *trainer)
{
    return trainer ? &trainer->desc : NULL;
}

/* ---- data ------------------------------------------------------------------------------------ */

static void wcohi_trainer_rewind(wcoh_trainer *trainer)
{
    trainer->phase = trainer->state.evaluate ? WCOHI_PHASE_WINDOWS : WCOHI_PHASE_BATCH;
    trainer->rng = trainer->state.rng;
    trainer->time = trainer->micro = 0;
    trainer->counted = trainer->window = trainer->scored = 0;
    memset(&trainer->cursor, 0, sizeof trainer->cursor);
}

/* Whether all steps are made; without end they never are. */
static int wcohi_steps_made(const wcoh_trainer_desc *desc, const wcohi_train_state *state)
{
    return desc->steps >= 0 && state->step >= (uint64_t)desc->steps;
}

/* Whether the run is over, by the settings and the state. */
static void wcohi_trainer_settle(wcoh_trainer *trainer)
{
    const wcoh_trainer_desc *desc = &trainer->desc;
    wcohi_train_state *state = &trainer->state;
    state->done = !state->evaluate &&
                  (wcohi_steps_made(desc, state) ||
                   (desc->patience > 0 && state->patience_used >= (uint64_t)desc->patience) ||
                   (desc->target_val > 0 && wcohi_is_finite(state->val_loss) &&
                    state->val_loss >= 0 && state->val_loss <= desc->target_val));
}

/* Of several sequences their lengths are hashed too, behind all tokens. */
static wcohi_mark wcohi_mark_of(const wcohi_data *data)
{
    const wcoh_sequences *s = &data->sequences;
    const int direct = wcohi_little_endian(); /* the numbers are the bytes */
    unsigned char bytes[8];
    wcohi_hash hash;
    wcohi_mark mark;
    size_t i;
    wcohi_hash_start(&hash);
    if (direct && data->size)
        wcohi_hash_add(&hash, s->tokens + s->offsets[0], data->size * sizeof *s->tokens);
    for (i = 0; i < data->size && !direct; i++) {
        wcohi_put_le(bytes, s->tokens[s->offsets[0] + i], 4);
        wcohi_hash_add(&hash, bytes, 4);
    }
    for (i = 0; s->count > 1 && i < s->count; i++) {
        wcohi_put_le(bytes, (uint64_t)wcohi_sequence_length(s, i), 8);
        wcohi_hash_add(&hash, bytes, 8);
    }
    mark.tokens = data->size;
    mark.hash = wcohi_hash_end(&hash);
    return mark;
}

/* 1 if both texts are known and are not the same; *told, if so, is "the WHICH text has .." [120]. */
static int wcohi_mark_differs(const wcohi_mark *now, const wcohi_mark *before, const char *which,
                              char *told)
{
    *told = 0;
    if (now->tokens == 0 || before->tokens == 0) return 0;
    if (now->tokens == before->tokens && now->hash == before->hash) return 0;
    if (now->tokens == before->tokens)
        snprintf(told, 120,
                 "the %s text has other tokens or boundaries than that of the steps before", which);
    else
        snprintf(told, 120, "the %s text has %llu tokens, that of the steps before had %llu", which,
                 (unsigned long long)now->tokens, (unsigned long long)before->tokens);
    return 1;
}

/* The data at hand meet the state: what differs from the data of the steps so far is noted, and
   losses on another validation text are no measure any more. */
WCOHI_COLD void wcohi_trainer_meet(wcoh_trainer *trainer)
{
    wcohi_train_state *state = &trainer->state;
    char text[120], val[120];
    int other = wcohi_mark_differs(&trainer->text_mark, &state->text, "training", text);
    int measured = wcohi_mark_differs(&trainer->val_mark, &state->val, "validation", val);
    snprintf(trainer->notice, sizeof trainer->notice, "%s%s%s", text, other && measured ? "; " : "",
             val);
    if (measured) {
        state->val_loss = state->best_val = -1;
        state->best_step = state->patience_used = 0;
        state->best_pending = 0;
    }
    if (trainer->text_mark.tokens) state->text = trainer->text_mark;
    if (trainer->val_mark.tokens) state->val = trainer->val_mark;
    if (trainer->train.size && !trainer->val.size) state->evaluate = 0;
}

WCOH_API const char *wcoh_trainer_notice(const wcoh_trainer *trainer)
{
    return trainer && *trainer->notice ? trainer->notice : NULL;
}

/* 1 if it is one text that has a whole window: all windows are whole, anywhere in it. */
static int wcohi_data_whole(const wcohi_data *data, int seq)
{
    return data->sequences.count == 1 && data->size > (size_t)seq;
}

static void wcohi_data_measure(wcohi_data *data, int seq)
{
    const wcoh_sequences *s = &data->sequences;
    data->size = s->offsets[s->count] - s->offsets[0];
    data->windows = wcohi_data_whole(data, seq) ? (data->size - 1) / (size_t)seq
                                                : wcohi_windows_of(s, seq);
}

/* Checked texts, or NULL. */
static void wcohi_data_texts(wcohi_data *data, const wcoh_sequences *sequences, int seq)
{
    memset(data, 0, sizeof *data);
    if (!sequences) return;
    data->sequences = *sequences;
    wcohi_data_measure(data, seq);
}

static void wcohi_data_text(wcohi_data *data, const uint32_t *tokens, size_t count, int seq)
{
    memset(data, 0, sizeof *data);
    if (!tokens) return;
    data->sequences = wcohi_sequence_of(tokens, count, data->ends);
    wcohi_data_measure(data, seq);
}

/* The trainer has its data. */
static void wcohi_trainer_data_set(wcoh_trainer *trainer)
{
    trainer->text_mark = wcohi_mark_of(&trainer->train);
    trainer->val_mark = wcohi_mark_of(&trainer->val);
    wcohi_trainer_meet(trainer);
    wcohi_trainer_settle(trainer);
    wcohi_trainer_rewind(trainer);
}

WCOH_API wcoh_result wcoh_trainer_set_data(wcoh_trainer *trainer, const uint32_t *train,
                                           size_t train_count, const uint32_t *val,
                                           size_t val_count, wcoh_error *error)
{
    int seq, vocab;
    wcoh_result result;
    if (!trainer) return wcohi_null("trainer", error);
    seq = trainer->desc.seq;
    vocab = trainer->model->desc.vocab;
    result = wcohi_data_check(train, train_count, seq, vocab, "training", error);
    if (result) return result;
    if (val &&
        (result = wcohi_data_check(val, val_count, seq, vocab, "validation", error)) != WCOH_OK)
        return result;
    wcohi_data_text(&trainer->train, train, train_count, seq);
    wcohi_data_text(&trainer->val, val, val_count, seq);
    wcohi_trainer_data_set(trainer);
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_trainer_set_sequences(wcoh_trainer *trainer, const wcoh_sequences *train,
                                                const wcoh_sequences *val, wcoh_error *error)
{
    int vocab;
    wcoh_result result;
    if (!trainer || !train) return wcohi_null(trainer ? "train" : "trainer", error);
    vocab = trainer->model->desc.vocab;
    result = wcohi_sequences_check(train, vocab, "training", error);
    if (!result && val) result = wcohi_sequences_check(val, vocab, "validation", error);
    if (result) return result;
    wcohi_data_texts(&trainer->train, train, trainer->desc.seq);
    wcohi_data_texts(&trainer->val, val, trainer->desc.seq);
    wcohi_trainer_data_set(trainer);
    return WCOH_OK;
}

/* The sequence that has token `place` of all, by bisection. */
static size_t wcohi_sequence_at(const wcoh_sequences *s, size_t place)
{
    size_t low = 0, high = s->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (s->offsets[middle] - s->offsets[0] <= place) low = middle;
        else high = middle;
    }
    return low;
}

/* Draw a sequence of n tokens with weight max(n - 1, seq). No array of weights is kept: one is drawn
   with weight n + seq, which offsets and their number give, and taken by the ratio of the two, at
   least a half. */
static size_t wcohi_sequence_draw(const wcohi_data *data, int seq, wcoh_rng *rng)
{
    const wcoh_sequences *s = &data->sequences;
    uint64_t size = data->size, shared = (uint64_t)s->count * (uint64_t)seq;
    for (;;) {
        uint64_t at = wcohi_rng_below(rng, size + shared), length;
        size_t index = at < size ? wcohi_sequence_at(s, (size_t)at)
                                 : (size_t)((at - size) / (uint64_t)seq);
        length = wcohi_sequence_length(s, index);
        if (wcohi_rng_below(rng, length + (uint64_t)seq) < WCOHI_MAX(length - 1, (uint64_t)seq))
            return index;
    }
}

/* Where a window begins; *there of its targets exist. */
static const uint32_t *wcohi_window_draw(const wcohi_data *data, int seq, wcoh_rng *rng,
                                         size_t *there)
{
    const wcoh_sequences *s = &data->sequences;
    size_t index = s->count > 1 ? wcohi_sequence_draw(data, seq, rng) : 0;
    size_t length = wcohi_sequence_length(s, index), start = 0;
    if (length > (size_t)seq) start = (size_t)wcohi_rng_below(rng, length - (size_t)seq);
    *there = WCOHI_MIN(length - 1, (size_t)seq);
    return s->tokens + s->offsets[index] + start;
}

/* The same for window `index` of `windows` of a validation. */
static const uint32_t *wcohi_window_chosen(wcoh_trainer *trainer, size_t index, size_t windows,
                                           size_t *there)
{
    const wcohi_data *val = &trainer->val;
    int seq = trainer->desc.seq, whole = wcohi_data_whole(val, seq);
    size_t room = whole ? val->size - 1 - (size_t)seq : val->windows - 1, place = 0;
    if (windows > 1) place = (size_t)((double)room * (double)index / (double)(windows - 1));
    if (!whole) return wcohi_cursor_at(&trainer->cursor, &val->sequences, seq, place, there);
    *there = (size_t)seq;
    return val->sequences.tokens + val->sequences.offsets[0] + place;
}

/* Put a window into row `row` of the batch. */
static void wcohi_trainer_window(wcoh_trainer *trainer, int row, const uint32_t *text, size_t there)
{
    size_t at = (size_t)row * (size_t)trainer->desc.seq;
    wcohi_window_put(trainer->tokens + at, trainer->targets + at, trainer->desc.seq, text, there);
}

static void wcohi_run_prepare(wcoh_trainer *trainer, int batch, int backward)
{
    wcohi_run *run = &trainer->run;
    memset(run, 0, sizeof *run);
    run->tokens = trainer->tokens;
    run->targets = trainer->targets;
    run->batch = batch;
    run->seq = trainer->desc.seq;
    run->backward = backward;
    run->scale = 1;
    run->active_bands = trainer->model->desc.bands;
    trainer->time = 0;
}

/* The run that is prepared drops what step `state.step` drops of the micro-batch at hand. */
static void wcohi_run_noise(wcoh_trainer *trainer)
{
    wcohi_noise *noise = &trainer->run.noise;
    wcoh_rng rng = wcoh_rng_seed(trainer->desc.seed);
    rng = wcoh_rng_seed(rng.s[0] + trainer->state.step);
    noise->on = 1;
    noise->key[0] = (uint32_t)rng.s[0];
    noise->key[1] = (uint32_t)(rng.s[0] >> 32);
    noise->window = (uint32_t)trainer->micro * (uint32_t)trainer->desc.batch;
}

/* ---- the schedule ---------------------------------------------------------------------------- */

/* A learning rate of step `step` (0 is the first): linear warm-up from where the turn began to its
   peak, then a cosine to lr_end * peak at the last step; without end it stays there. A final decay is
   that cosine alone, from the rate where it began. */
static double wcohi_rate_at(const wcoh_trainer_desc *desc, const wcohi_train_state *state,
                            uint64_t step, double peak, double began)
{
    double from = peak, end = desc->lr_end, warmup = WCOHI_MAX(desc->warmup, 0);
    double at = (double)(step - state->turn_step), length, share;
    if (state->turn == WCOHI_TURN_KEEP) return began;
    if (state->turn == WCOHI_TURN_FALL) {
        from = began;
        end = end < 0 || from <= 0 ? end : WCOHI_MIN(peak * end / from, 1.0); /* it never rises */
        warmup = 0;
    }
    if (at < warmup) return began + (peak - began) * (at + 1) / warmup;
    length = desc->steps - (double)state->turn_step - warmup;
    if (end < 0 || desc->steps < 0 || length <= 0) return from;
    share = WCOHI_MIN((at - warmup) / length, 1.0);
    return from * (end + (1 - end) * 0.5 * (1 + cos(wcohi_pi * share)));
}

static double wcohi_learning_rate(const wcoh_trainer_desc *desc, const wcohi_train_state *state,
                                  uint64_t step)
{
    return wcohi_rate_at(desc, state, step, desc->lr, state->turn_lr);
}

static double wcohi_muon_rate(const wcoh_trainer_desc *desc, const wcohi_train_state *state,
                              uint64_t step)
{
    return wcohi_rate_at(desc, state, step, desc->muon_lr, state->turn_muon_lr);
}

/* The rates at hand become the beginning of a new way; one to another peak that no step has gone yet
   is begun again. */
static void wcohi_turn_take(wcohi_train_state *state, const wcoh_trainer_desc *desc,
                            wcohi_turn turn)
{
    int again = turn == WCOHI_TURN_RISE && state->turn == WCOHI_TURN_RISE &&
                state->turn_step == state->step;
    if (!again) {
        state->turn_lr = wcohi_learning_rate(desc, state, state->step);
        state->turn_muon_lr = wcohi_muon_rate(desc, state, state->step);
    }
    state->turn_step = state->step;
    state->turn = (int)turn;
}

/* How the rate goes on where the settings become others in mid-run: nothing here jumps. */
static void wcohi_turn_settings(wcohi_train_state *state, const wcoh_trainer_desc *before,
                                const wcoh_trainer_desc *after)
{
    int falls = state->turn == WCOHI_TURN_FALL;
    if (state->step == 0) return;
    if (after->lr < before->lr || after->lr > before->lr || after->muon_lr < before->muon_lr ||
        after->muon_lr > before->muon_lr)
        wcohi_turn_take(state, before, WCOHI_TURN_RISE);
    else if (after->steps == before->steps || state->turn_step == state->step) return;
    else if (wcohi_steps_made(before, state) || (falls && after->steps < 0))
        wcohi_turn_take(state, before, WCOHI_TURN_KEEP);
    else if (falls) wcohi_turn_take(state, before, WCOHI_TURN_FALL);
}

WCOH_API wcoh_result wcoh_trainer_set(wcoh_trainer *trainer, const char *name, const char *text,
                                      wcoh_error *error)
{
    wcoh_trainer_desc desc;
    const wcoh_field *field;
    wcoh_result result;
    if (!trainer) return wcohi_null("trainer", error);
    if (!name) return wcohi_null("name", error);
    if (!text) return wcohi_null("text", error);
    desc = trainer->desc;
    field = wcohi_field_find(WCOH_DESC_TRAINER, name);
    if (field && !field->live)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "%s cannot change: it is fixed when the trainer is made", field->name);
    result = wcoh_field_set(WCOH_DESC_TRAINER, &desc, name, text, error);
    if (!result) result = wcoh_trainer_desc_resolve(&desc, &trainer->model->desc, error);
    if (result) return result;
    wcohi_turn_settings(&trainer->state, &trainer->desc, &desc);
    trainer->desc = desc;
    wcohi_trainer_settle(trainer);
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_trainer_finish(wcoh_trainer *trainer, int steps, wcoh_error *error)
{
    wcohi_train_state *state;
    uint64_t more = (uint64_t)steps;
    if (!trainer) return wcohi_null("trainer", error);
    state = &trainer->state;
    if (steps == 0) more = WCOHI_MAX(state->step / 10, 1);
    if (steps < 0 || state->step + more > 2147483647)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "finish is %d at step %llu: allowed are 0 for the default and at most "
                          "2147483647 steps in all",
                          steps, (unsigned long long)state->step);
    wcohi_turn_take(state, &trainer->desc, WCOHI_TURN_FALL);
    trainer->desc.steps = (int)(state->step + more);
    state->patience_used = 0;
    wcohi_trainer_settle(trainer);
    return WCOH_OK;
}

/* Curriculum: 8, 3/8 K, K bands over the thirds of the run. */
static int wcohi_active_bands(const wcoh_trainer *trainer)
{
    int bands = trainer->model->desc.bands;
    uint64_t step = 3 * trainer->state.step, steps = (uint64_t)trainer->desc.steps;
    if (trainer->desc.curriculum != WCOH_SWITCH_ON || step >= 2 * steps) return bands;
    return WCOHI_MIN(bands, WCOHI_MAX(8, step < steps ? 8 : bands * 3 / 8));
}

/* ---- one unit of work ------------------------------------------------------------------------ */

WCOH_API void wcoh_trainer_stats(const wcoh_trainer *trainer, wcoh_stats *stats)
{
    const wcohi_train_state *state;
    if (!stats) return;
    memset(stats, 0, sizeof *stats);
    if (!trainer) return;
    state = &trainer->state;
    stats->step = state->step;
    stats->tokens = state->tokens;
    stats->train_loss = state->train_loss;
    stats->val_loss = state->val_loss;
    stats->best_val = state->best_val;
    stats->best_step = state->best_step;
    stats->lr = state->lr;
    stats->grad_norm = state->grad_norm;
    stats->seconds = state->seconds;
    stats->best_pending = state->best_pending;
    stats->done = state->done;
}

WCOH_API void wcoh_trainer_best_kept(wcoh_trainer *trainer)
{
    if (trainer) trainer->state.best_pending = 0;
}

static void wcohi_trainer_report(wcoh_trainer *trainer, int evaluated, int improved)
{
    wcoh_stats stats;
    if (!trainer->desc.progress) return;
    wcoh_trainer_stats(trainer, &stats);
    stats.evaluated = evaluated;
    stats.improved = improved;
    if (trainer->desc.progress(&stats, trainer->desc.progress_user)) trainer->stop = 1;
}

static void wcohi_unit_batch(wcoh_trainer *trainer)
{
    int row, batch = trainer->desc.batch, seq = trainer->desc.seq;
    size_t there, counted = 0;
    for (row = 0; row < batch; row++, counted += there) {
        const uint32_t *text = wcohi_window_draw(&trainer->train, seq, &trainer->rng, &there);
        wcohi_trainer_window(trainer, row, text, there);
    }
    wcohi_run_prepare(trainer, batch, 1);
    wcohi_run_noise(trainer);
    trainer->counted += counted;
    trainer->run.add = trainer->micro > 0;
    trainer->run.scale = (double)batch * seq / (double)counted / trainer->desc.accumulate;
    trainer->run.active_bands = wcohi_active_bands(trainer);
    trainer->phase = WCOHI_PHASE_PASS;
}

/* Where passes are only begun, one that another follows is waited for before a time budget is looked
   at. */
static wcoh_result wcohi_unit_passed(wcoh_trainer *trainer, wcoh_error *error)
{
    const wcohi_device_table *table = trainer->engine.device->table;
    double nats;
    if (!table->whole_passes || trainer->until >= HUGE_VAL) return WCOH_OK;
    return table->loss(trainer->engine.exec, &nats, error);
}

/* One op of the pass, or the rest of it where the device stops between passes only. */
static wcoh_result wcohi_unit_pass(wcoh_trainer *trainer, int end, wcoh_error *error)
{
    const wcohi_device_table *table = trainer->engine.device->table;
    int last = table->whole_passes ? end : trainer->time + 1;
    wcoh_result result =
        table->run(trainer->engine.exec, &trainer->run, trainer->time, last, error);
    if (!result) trainer->time = last;
    return result;
}

static wcoh_result wcohi_unit_train(wcoh_trainer *trainer, wcoh_error *error)
{
    int end = 2 * trainer->engine.plan.count;
    wcoh_result result = wcohi_unit_pass(trainer, end, error);
    if (result || trainer->time < end) return result;
    if (++trainer->micro < trainer->desc.accumulate) {
        trainer->phase = WCOHI_PHASE_BATCH;
        return wcohi_unit_passed(trainer, error);
    }
    trainer->phase = WCOHI_PHASE_UPDATE;
    trainer->time = 0;
    return WCOH_OK;
}

static wcoh_result wcohi_all_reduce(wcoh_trainer *trainer, wcoh_error *error)
{
    wcohi_exec *exec = trainer->engine.exec;
    const wcohi_device_table *table = trainer->engine.device->table;
    size_t count = trainer->model->trained_span;
    wcoh_real *gradient = (wcoh_real *)table->map(exec, WCOHI_AREA_GRADIENT, error);
    if (!gradient) return WCOH_E_DEVICE;
    if (trainer->desc.all_reduce(gradient, count, trainer->desc.all_reduce_user))
        return wcohi_fail(error, WCOH_E_DEVICE, "all_reduce of the gradient failed at step %llu",
                          (unsigned long long)trainer->state.step + 1);
    return table->upload(exec, WCOHI_AREA_GRADIENT, 0, gradient, count, error);
}

/* The settings of the step that begins. */
static void wcohi_trainer_rules(wcoh_trainer *trainer)
{
    const wcoh_trainer_desc *desc = &trainer->desc;
    const wcohi_train_state *state = &trainer->state;
    wcohi_update *update = &trainer->update;
    update->step = state->adam_steps + 1;
    update->lr = wcohi_learning_rate(desc, state, state->step);
    update->beta1 = WCOHI_MAX(desc->beta1, 0);
    update->beta2 = desc->beta2;
    update->epsilon = desc->epsilon;
    update->decay = WCOHI_MAX(desc->decay, 0);
    update->clip = WCOHI_MAX(desc->clip, 0);
    update->muon_lr = wcohi_muon_rate(desc, state, state->step);
    update->momentum = WCOHI_MAX(desc->muon_momentum, 0);
}

/* Clip and optimiser with the gradient at hand, or with `whole` 0 a part of them; time is 0 again
   when the step is counted. */
static wcoh_result wcohi_trainer_apply(wcoh_trainer *trainer, int whole, wcoh_error *error)
{
    wcohi_train_state *state = &trainer->state;
    wcoh_result result;
    if (trainer->time == 0) wcohi_trainer_rules(trainer);
    result = trainer->engine.device->table->update(trainer->engine.exec, &trainer->update, whole,
                                                   &trainer->time, error);
    if (result || trainer->time) return result;
    state->adam_steps++;
    state->step++;
    state->lr = trainer->update.lr;
    return WCOH_OK;
}

/* What came of the step just counted. */
static wcoh_result wcohi_trainer_outcome(wcoh_trainer *trainer, double *nats, wcoh_error *error)
{
    wcohi_outcome outcome;
    char norm[40];
    wcoh_result result =
        trainer->engine.device->table->outcome(trainer->engine.exec, &outcome, error);
    if (result) return result;
    if (!outcome.applied && wcohi_is_finite(outcome.nats) && wcohi_is_finite(outcome.norm))
        return wcohi_fail(error, WCOH_E_NUMERIC,
                          "the gradient of step %llu has norm %s: allowed without clipping is 1e19",
                          (unsigned long long)trainer->state.step,
                          wcohi_format_real(outcome.norm, norm));
    if (!outcome.applied)
        return wcohi_fail(error, WCOH_E_NUMERIC, "the %s of step %llu is not finite",
                          wcohi_is_finite(outcome.nats) ? "gradient" : "loss",
                          (unsigned long long)trainer->state.step);
    trainer->state.grad_norm = outcome.norm;
    *nats = outcome.nats;
    return WCOH_OK;
}

/* While the host reads and reports a step, a GPU already works at the first pass of the next, if
   the call under way has time for all of that step. */
static wcoh_result wcohi_trainer_look_ahead(wcoh_trainer *trainer, wcoh_error *error)
{
    const wcohi_train_state *state = &trainer->state;
    wcoh_result result;
    if (!trainer->engine.device->table->whole_passes || state->done || state->evaluate ||
        state->step >= trainer->goal || wcohi_seconds() + 2 * trainer->pace > trainer->until)
        return WCOH_OK;
    wcohi_unit_batch(trainer);
    result = wcohi_unit_train(trainer, error);
    if (result) wcohi_trainer_rewind(trainer);
    return result;
}

static void wcohi_trainer_stepped(wcoh_trainer *trainer, double nats, double rows)
{
    const uint64_t version = trainer->model->version;
    const double now = wcohi_seconds();
    trainer->state.train_loss = nats / rows;
    trainer->state.tokens += (uint64_t)rows;
    trainer->pace = now - trainer->last;
    trainer->last = now;
    wcohi_trainer_report(trainer, 0, 0);
    if (trainer->model->version != version)
        wcohi_trainer_rewind(trainer); /* a pass begun before the callback changed parameters */
}

/* A step whose loss or gradient is not finite is dropped: its batch counts as drawn, no parameter
   changes, and the caller hears of it. */
static wcoh_result wcohi_unit_update(wcoh_trainer *trainer, wcoh_error *error)
{
    wcohi_train_state *state = &trainer->state, before;
    const wcoh_trainer_desc *desc = &trainer->desc;
    double nats = 0, counted = (double)trainer->counted;
    wcoh_result result = WCOH_OK, ahead = WCOH_OK;
    before = *state;
    before.rng = trainer->rng;
    if (desc->all_reduce && trainer->time == 0) result = wcohi_all_reduce(trainer, error);
    if (!result) result = wcohi_trainer_apply(trainer, trainer->until >= HUGE_VAL, error);
    if (!result && trainer->time) return WCOH_OK; /* the rest of it later */
    state->rng = trainer->rng;
    if (!result) {
        state->evaluate =
            trainer->val.size && desc->eval_every > 0 &&
            (state->step % (uint64_t)desc->eval_every == 0 || wcohi_steps_made(desc, state));
        wcohi_trainer_settle(trainer);
        wcohi_trainer_rewind(trainer);
        ahead = wcohi_trainer_look_ahead(trainer, error);
        result = wcohi_trainer_outcome(trainer, &nats, error);
    }
    if (result) {
        *state = before;
        wcohi_trainer_rewind(trainer);
        return result;
    }
    wcohi_trainer_stepped(trainer, nats, counted);
    return ahead;
}

/* ---- evaluation: evenly spaced windows of the validation texts, the same ones every time ----- */

static size_t wcohi_eval_windows(const wcoh_trainer *trainer)
{
    size_t wanted = (size_t)trainer->desc.eval_batches * (size_t)trainer->desc.batch;
    return WCOHI_MIN(wanted, trainer->val.windows);
}

static void wcohi_unit_windows(wcoh_trainer *trainer)
{
    size_t windows = wcohi_eval_windows(trainer), first = trainer->window, there;
    int row = 0;
    for (; row < trainer->desc.batch && trainer->window < windows; row++, trainer->window++) {
        const uint32_t *text = wcohi_window_chosen(trainer, trainer->window, windows, &there);
        wcohi_trainer_window(trainer, row, text, there);
        trainer->scored += there;
    }
    wcohi_run_prepare(trainer, row, 0);
    trainer->run.add = first > 0;
    trainer->phase = WCOHI_PHASE_SCORE;
}

static wcoh_result wcohi_unit_score(wcoh_trainer *trainer, wcoh_error *error)
{
    wcoh_result result = wcohi_unit_pass(trainer, trainer->engine.plan.count, error);
    if (result || trainer->time < trainer->engine.plan.count) return result;
    trainer->phase = WCOHI_PHASE_WINDOWS;
    return wcohi_unit_passed(trainer, error);
}

/* Mean loss of all windows, after the last. */
static wcoh_result wcohi_eval_loss(wcoh_trainer *trainer, double *loss, wcoh_error *error)
{
    double nats = 0;
    wcoh_result result =
        trainer->engine.device->table->loss(trainer->engine.exec, &nats, error);
    *loss = nats / (double)trainer->scored;
    return result;
}

static wcoh_result wcohi_unit_evaluated(wcoh_trainer *trainer, wcoh_error *error)
{
    wcohi_train_state *state = &trainer->state;
    double loss;
    int improved;
    wcoh_result result = wcohi_eval_loss(trainer, &loss, error);
    if (result) return result;
    improved = wcohi_is_finite(loss) && (state->best_val < 0 || loss < state->best_val);
    state->val_loss = loss;
    state->evaluate = 0;
    if (improved) {
        state->best_val = loss;
        state->best_step = state->step;
        state->best_pending = 1;
    }
    state->patience_used = improved ? 0 : state->patience_used + 1;
    wcohi_trainer_settle(trainer);
    wcohi_trainer_rewind(trainer);
    wcohi_trainer_report(trainer, 1, improved);
    return WCOH_OK;
}

static wcoh_result wcohi_trainer_unit(wcoh_trainer *trainer, wcoh_error *error)
{
    switch (trainer->phase) {
    case WCOHI_PHASE_BATCH: wcohi_unit_batch(trainer); return WCOH_OK;
    case WCOHI_PHASE_PASS: return wcohi_unit_train(trainer, error);
    case WCOHI_PHASE_UPDATE: return wcohi_unit_update(trainer, error);
    case WCOHI_PHASE_SCORE: return wcohi_unit_score(trainer, error);
    default:
        if (trainer->window == wcohi_eval_windows(trainer))
            return wcohi_unit_evaluated(trainer, error);
        wcohi_unit_windows(trainer);
        return WCOH_OK;
    }
}

/* ---- stepping -------------------------------------------------------------------------------- */

/* Units of work until `steps` are finished (with the evaluation that follows), the time is over or
   the callback says so. */
static wcoh_result wcohi_trainer_units(wcoh_trainer *trainer, uint64_t steps, double until,
                                       wcoh_error *error)
{
    const wcohi_train_state *state = &trainer->state;
    wcoh_result result = WCOH_OK;
    while (!result && !state->done && !trainer->stop && (state->step < steps || state->evaluate)) {
        result = wcohi_trainer_unit(trainer, error);
        if (wcohi_seconds() >= until) break;
    }
    return result;
}

static wcoh_result wcohi_trainer_work(wcoh_trainer *trainer, uint64_t steps, double milliseconds,
                                      wcoh_stats *stats, wcoh_error *error)
{
    const uint64_t goal = trainer->goal; /* of a call whose callback calls this one */
    const int stop = trainer->stop;
    const double start = wcohi_seconds(), outer = trainer->until,
                 until = milliseconds < 0 ? HUGE_VAL : start + milliseconds * 1e-3;
    wcoh_result result = WCOH_DONE;
    if (!trainer->train.size)
        return wcohi_fail(error, WCOH_E_DATA,
                          "the trainer has no data: call wcoh_trainer_set_data first");
    trainer->goal = steps;
    trainer->stop = 0;
    trainer->until = until;
    trainer->last = start;
    if (!trainer->state.done) result = wcohi_trainer_units(trainer, steps, until, error);
    trainer->goal = goal;
    trainer->stop = stop;
    trainer->until = outer;
    trainer->state.seconds += wcohi_seconds() - start;
    if (stats) wcoh_trainer_stats(trainer, stats);
    return result;
}

WCOH_API wcoh_result wcoh_trainer_step(wcoh_trainer *trainer, wcoh_stats *stats, wcoh_error *error)
{
    if (!trainer) return wcohi_null("trainer", error);
    return wcohi_trainer_work(trainer, trainer->state.step + 1, -1, stats, error);
}

WCOH_API wcoh_result wcoh_trainer_run(wcoh_trainer *trainer, double milliseconds, wcoh_stats *stats,
                                      wcoh_error *error)
{
    if (!trainer) return wcohi_null("trainer", error);
    return wcohi_trainer_work(trainer, UINT64_MAX, milliseconds, stats, error);
}

/* ---- the caller's own batches ---------------------------------------------------------------- */

static wcoh_result wcohi_trainer_batch(wcoh_trainer *trainer, const uint32_t *tokens,
                                       const uint32_t *targets, int batch, int seq, int backward,
                                       double *loss, wcoh_error *error)
{
    const wcohi_device_table *table;
    int vocab, end;
    size_t rows, counted;
    wcoh_result result;
    if (!trainer || !tokens || !targets)
        return wcohi_null(!trainer ? "trainer" : !tokens ? "tokens" : "targets", error);
    table = trainer->engine.device->table;
    vocab = trainer->model->desc.vocab;
    end = trainer->engine.plan.count * (backward ? 2 : 1);
    if (batch < 1 || batch > trainer->desc.batch || seq < 1 || seq > trainer->desc.seq)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "a batch of %d x %d: the trainer was made for up to %d x %d", batch, seq,
                          trainer->desc.batch, trainer->desc.seq);
    rows = (size_t)batch * (size_t)seq;
    if ((result = wcohi_tokens_check(tokens, rows, vocab, "input", error)) != WCOH_OK)
        return result;
    if ((result = wcohi_targets_check(targets, rows, vocab, &counted, error)) != WCOH_OK)
        return result;
    wcohi_trainer_rewind(trainer);
    wcohi_run_prepare(trainer, batch, backward);
    wcohi_run_noise(trainer);
    trainer->run.scale = (double)rows / (double)counted;
    trainer->run.tokens = tokens;
    trainer->run.targets = targets;
    trainer->run.seq = seq;
    result = table->run(trainer->engine.exec, &trainer->run, 0, end, error);
    if (!result) result = table->loss(trainer->engine.exec, loss, error);
    *loss /= (double)counted;
    trainer->time = 0;
    return result;
}

WCOH_API wcoh_result wcoh_trainer_gradient(wcoh_trainer *trainer, const uint32_t *tokens,
                                           const uint32_t *targets, int batch, int seq,
                                           double *loss, wcoh_error *error)
{
    double mean = 0;
    wcoh_result result = wcohi_trainer_batch(trainer, tokens, targets, batch, seq, 1, &mean, error);
    if (loss) *loss = mean;
    return result;
}

WCOH_API wcoh_result wcoh_trainer_loss(wcoh_trainer *trainer, const uint32_t *tokens,
                                       const uint32_t *targets, int batch, int seq, double *loss,
                                       wcoh_error *error)
{
    if (!loss) return wcohi_null("loss", error);
    *loss = 0;
    return wcohi_trainer_batch(trainer, tokens, targets, batch, seq, 0, loss, error);
}

WCOH_API wcoh_result wcoh_trainer_update(wcoh_trainer *trainer, wcoh_stats *stats,
                                         wcoh_error *error)
{
    wcohi_train_state before;
    double nats;
    wcoh_result result = WCOH_OK;
    if (!trainer) return wcohi_null("trainer", error);
    before = trainer->state;
    wcohi_trainer_rewind(trainer);
    if (trainer->desc.all_reduce) result = wcohi_all_reduce(trainer, error);
    if (!result) result = wcohi_trainer_apply(trainer, 1, error);
    if (!result) result = wcohi_trainer_outcome(trainer, &nats, error);
    if (result) trainer->state = before;
    if (stats) wcoh_trainer_stats(trainer, stats);
    return result;
}

WCOH_API const wcoh_real *wcoh_trainer_param_gradient(wcoh_trainer *trainer, int index)
{
    const wcohi_param_row *row;
    const wcoh_real *gradient;
    if (!trainer || index < 0 || index >= trainer->model->row_count) return NULL;
    row = &trainer->model->rows[index];
    gradient = row->trained ? (const wcoh_real *)trainer->engine.device->table->map(
                                  trainer->engine.exec, WCOHI_AREA_GRADIENT, NULL)
                            : NULL;
    return gradient ? gradient + row->offset : NULL;
}

WCOH_API wcoh_result wcoh_trainer_evaluate(wcoh_trainer *trainer, double *val_loss,
                                           wcoh_error *error)
{
    wcoh_result result = WCOH_OK;
    size_t windows;
    if (!trainer || !val_loss) return wcohi_null(trainer ? "val_loss" : "trainer", error);
    if (!trainer->val.size)
        return wcohi_fail(error, WCOH_E_DATA, "the trainer has no validation data");
    windows = wcohi_eval_windows(trainer);
    wcohi_trainer_rewind(trainer);
    trainer->phase = WCOHI_PHASE_WINDOWS;
    trainer->window = 0;
    while (!result && (trainer->phase == WCOHI_PHASE_SCORE || trainer->window < windows)) {
        if (trainer->phase == WCOHI_PHASE_SCORE) result = wcohi_unit_score(trainer, error);
        else wcohi_unit_windows(trainer);
    }
    if (!result) result = wcohi_eval_loss(trainer, val_loss, error);
    wcohi_trainer_rewind(trainer);
    return result;
}

WCOH_API wcoh_result wcoh_trainer_sync(wcoh_trainer *trainer, wcoh_error *error)
{
    wcoh_model *model;
    if (!trainer) return wcohi_null("trainer", error);
    model = trainer->model;
    return trainer->engine.device->table->download(trainer->engine.exec, WCOHI_AREA_PARAMS, 0,
                                                   model->params, model->span, error);
}

/* ---- what checkpoints need ------------------------------------------------------------------- */

static wcoh_model *wcohi_trainer_model(wcoh_trainer *trainer) { return trainer->model; }
static wcohi_train_state *wcohi_trainer_state(wcoh_trainer *trainer) { return &trainer->state; }

/* Moments of parameter `index` that a checkpoint keeps: AdamW's two, Muon's one, none of a frozen
   one. */
static int wcohi_trainer_moments(const wcoh_trainer *trainer, int index)
{
    const wcohi_param_row *row = &trainer->model->rows[index];
    return !row->trained ? 0 : trainer->engine.plan.muon && row->matrices ? 1 : 2;
}

/* The host copy of all moments, 0 the first, 1 the second, which lie as the trained parameters do; NULL
   where the device failed. */
static wcoh_real *wcohi_trainer_moment(wcoh_trainer *trainer, int moment)
{
    return (wcoh_real *)trainer->engine.device->table->map(
        trainer->engine.exec, moment ? WCOHI_AREA_MOMENT2 : WCOHI_AREA_MOMENT1, NULL);
}

/* Give the device a moment of parameter `index`, [count], read from a file. */
static wcoh_result wcohi_trainer_put_moment(wcoh_trainer *trainer, int index, int moment,
                                            const wcoh_real *values, wcoh_error *error)
{
    const wcohi_param_row *row = &trainer->model->rows[index];
    return trainer->engine.device->table->upload(trainer->engine.exec,
                                                 moment ? WCOHI_AREA_MOMENT2 : WCOHI_AREA_MOMENT1,
                                                 row->offset, values, row->count, error);
}

/* After a resume wrote the model's parameters and the state, of a run with the settings `before`:
   stand at the beginning of the next step. An evaluation that was due is dropped where the data at
   hand have no validation text. */
static wcoh_result wcohi_trainer_restored(wcoh_trainer *trainer, const wcoh_trainer_desc *before,
                                          wcoh_error *error)
{
    wcoh_model *model = trainer->model;
    model->version++;
    wcohi_turn_settings(&trainer->state, before, &trainer->desc);
    wcohi_trainer_meet(trainer);
    wcohi_trainer_settle(trainer);
    wcohi_trainer_rewind(trainer);
    return trainer->engine.device->table->upload(trainer->engine.exec, WCOHI_AREA_PARAMS, 0,
                                                 model->params, model->span, error);
}

/* ======== 6 training: files of trainers ======================================================= */

/* ---- trainer --------------------------------------------------------------------------------- */

/* The parameters, then the moments of each trained one: adam.m.NAME and adam.v.NAME, or of what is
   Muon's muon.m.NAME. A device's moments are fetched once: they lie in one array, at the places that
   the parameters have in theirs. */
typedef struct wcohi_trainer_view {
    wcoh_trainer *trainer;
    wcoh_model *model;
    wcoh_real *origin, *moment[2]; /* of the first trained parameter */
    int at, before;                /* the last row asked for its moments, moments before its own */
} wcohi_trainer_view;

/* The parameter of tensor `index` of the list; *moment: 0 is its m, 1 its v, -1 itself. The list is
   walked in order: a moment's row is the last one's or soon behind it. */
static int wcohi_trainer_param(wcohi_trainer_view *view, int index, wcoh_param *param, int *moment)
{
    int params = wcoh_model_param_count(view->model), wanted = index - params, here;
    *moment = -1;
    if (index >= params) {
        if (wanted < view->before) view->at = view->before = 0;
        while ((here = wcohi_trainer_moments(view->trainer, view->at)) <= wanted - view->before) {
            view->before += here;
            view->at++;
        }
        *moment = wanted - view->before;
        index = view->at;
    }
    wcoh_model_param(view->model, index, param, NULL);
    return index;
}

WCOHI_COLD void wcohi_trainer_tensor(const void *object, int index, wcohi_file_tensor *tensor)
{
    wcohi_trainer_view *view = (wcohi_trainer_view *)(uintptr_t)object; /* for its place */
    wcoh_param param;
    int moment, row = wcohi_trainer_param(view, index, &param, &moment);
    if (moment < 0) {
        wcohi_model_tensor(view->model, row, tensor);
        return;
    }
    wcohi_param_tensor(&param, tensor);
    snprintf(tensor->name, sizeof tensor->name, "%s.%c.%s",
             wcohi_trainer_moments(view->trainer, row) == 1 ? "muon" : "adam", moment ? 'v' : 'm',
             param.name);
    tensor->data = view->moment[moment] + (param.data - view->origin);
    if (moment) tensor->minimum = 0;
    tensor->limit = moment ? "finite and not negative" : NULL;
}

WCOHI_COLD wcoh_result wcohi_trainer_put(const void *object, int index, const void *data,
                                         wcoh_error *error)
{
    wcohi_trainer_view *view = (wcohi_trainer_view *)(uintptr_t)object;
    wcoh_param param;
    int moment, row = wcohi_trainer_param(view, index, &param, &moment);
    if (moment >= 0)
        return wcohi_trainer_put_moment(view->trainer, row, moment, (const wcoh_real *)data, error);
    memcpy(param.data, data, param.count * sizeof *param.data);
    return WCOH_OK;
}

typedef enum wcohi_state_kind {
    WCOHI_STATE_U64,
    WCOHI_STATE_HASH, /* a uint64_t as 16 hexadecimal digits */
    WCOHI_STATE_REAL, /* also inf and nan: an evaluation may end there */
    WCOHI_STATE_INT
} wcohi_state_kind;

/* later: a file of an older library lacks it, and 0 stands for it. */
static const struct wcohi_state_field {
    const char *name;
    wcohi_state_kind kind;
    size_t offset;
    int later;
} wcohi_state_fields[] = {
/* clang-format off */
#define WCOHI_STATE(kind, member, later)                                                           \
    {"train." #member, WCOHI_STATE_##kind, offsetof(wcohi_train_state, member), later}
    WCOHI_STATE(U64, step, 0),          WCOHI_STATE(U64, tokens, 0),
    WCOHI_STATE(U64, best_step, 0),     WCOHI_STATE(U64, adam_steps, 0),
    WCOHI_STATE(U64, patience_used, 0), WCOHI_STATE(REAL, train_loss, 0),
    WCOHI_STATE(REAL, val_loss, 0),     WCOHI_STATE(REAL, best_val, 0),
    WCOHI_STATE(REAL, grad_norm, 0),    WCOHI_STATE(REAL, lr, 0),
    WCOHI_STATE(REAL, seconds, 0),      WCOHI_STATE(INT, evaluate, 0),
    WCOHI_STATE(INT, done, 0),          WCOHI_STATE(INT, best_pending, 1),
    WCOHI_STATE(U64, turn_step, 1),     WCOHI_STATE(REAL, turn_lr, 1),
    WCOHI_STATE(INT, turn, 1),          WCOHI_STATE(U64, text.tokens, 1),
    WCOHI_STATE(HASH, text.hash, 1),    WCOHI_STATE(U64, val.tokens, 1),
    WCOHI_STATE(HASH, val.hash, 1),     WCOHI_STATE(REAL, turn_muon_lr, 1),
#undef WCOHI_STATE
    /* clang-format on */
};

/* One member as text [40]. */
static void wcohi_state_text(const struct wcohi_state_field *field, const wcohi_train_state *state,
                             char *text)
{
    const unsigned char *member = (const unsigned char *)state + field->offset;
    uint64_t whole;
    double real;
    int small;
    if (field->kind == WCOHI_STATE_REAL) {
        memcpy(&real, member, sizeof real);
        wcohi_format_real(real, text);
    } else if (field->kind == WCOHI_STATE_INT) {
        memcpy(&small, member, sizeof small);
        snprintf(text, 40, "%d", small);
    } else {
        memcpy(&whole, member, sizeof whole);
        if (field->kind == WCOHI_STATE_HASH) wcohi_hash_text(whole, text);
        else snprintf(text, 40, "%llu", (unsigned long long)whole);
    }
}

/* What wcohi_format_real wrote of any double, NaN as a quiet one. */
static int wcohi_parse_any_real(const char *text, double *value)
{
    int negative = *text == '-';
    const uint64_t quiet = (uint64_t)0x7ff8 << 48;
    if (strcmp(text, "nan") == 0) memcpy(value, &quiet, sizeof quiet);
    else if (strcmp(text + negative, "inf") == 0) *value = negative ? -HUGE_VAL : HUGE_VAL;
    else return wcohi_parse_real(text, value);
    return 1;
}

/* 16 hexadecimal digits, as wcohi_hash_text writes them. */
static int wcohi_parse_hash(const char *text, uint64_t *value)
{
    int i;
    *value = 0;
    for (i = 0; i < WCOHI_HASH_DIGITS; i++) {
        if (wcohi_digit(text[i]) > 15) return 0;
        *value = *value << 4 | (uint64_t)wcohi_digit(text[i]);
    }
    return text[i] == 0;
}

static int wcohi_state_set(const struct wcohi_state_field *field, wcohi_train_state *state,
                           const char *text)
{
    unsigned char *member = (unsigned char *)state + field->offset;
    uint64_t whole = 0;
    double real;
    int small;
    if (field->kind == WCOHI_STATE_REAL) {
        if (!wcohi_parse_any_real(text, &real)) return 0;
        memcpy(member, &real, sizeof real);
        return 1;
    }
    if (field->kind == WCOHI_STATE_HASH) {
        if (!wcohi_parse_hash(text, &whole)) return 0;
        memcpy(member, &whole, sizeof whole);
        return 1;
    }
    if (!wcohi_parse_u64(text, &whole)) return 0;
    small = (int)(whole & 1023);
    if (field->kind == WCOHI_STATE_U64) memcpy(member, &whole, sizeof whole);
    else memcpy(member, &small, sizeof small);
    return whole <= (field->kind == WCOHI_STATE_U64 ? (uint64_t)1 << 53 : 1023);
}

/* A state is one that a run can have: counts do not pass the steps, figures are such as steps leave
   behind, and only the last evaluation may be not finite. */
static wcoh_result wcohi_state_check(const wcohi_train_state *state, wcoh_error *error)
{
    const struct {
        const char *name;
        int holds;
    } checks[] = {
        {"best_step", state->best_step <= state->step},
        {"adam_steps", state->adam_steps <= state->step},
        {"patience_used", state->patience_used <= state->step},
        {"turn_step", state->turn_step <= state->step},
        {"train_loss", wcohi_is_finite(state->train_loss)},
        {"best_val", wcohi_is_finite(state->best_val)},
        {"grad_norm", wcohi_is_finite(state->grad_norm) && state->grad_norm >= 0},
        {"seconds", wcohi_is_finite(state->seconds) && state->seconds >= 0},
        {"lr", state->lr >= 0 && state->lr <= WCOHI_RATE_MOST},
        {"turn_lr", state->turn_lr >= 0 && state->turn_lr <= WCOHI_RATE_MOST},
        {"turn_muon_lr", state->turn_muon_lr >= 0 && state->turn_muon_lr <= WCOHI_RATE_MOST},
        {"turn",
         state->turn < WCOHI_TURNS && (state->turn == WCOHI_TURN_RISE || state->turn_lr > 0)},
        {"evaluate", state->evaluate <= 1},
        {"done", state->done <= 1},
        {"best_pending", state->best_pending <= (state->best_val >= 0)},
    };
    int i;
    for (i = 0; i < WCOHI_COUNT(checks); i++)
        if (!checks[i].holds)
            return wcohi_fail(error, WCOH_E_FORMAT,
                              "train.%s in the file is none that a run of %llu steps can have",
                              checks[i].name, (unsigned long long)state->step);
    return WCOH_OK;
}

WCOHI_COLD void wcohi_trainer_notes(const void *object, wcohi_sink *sink)
{
    const wcohi_trainer_view *view = (const wcohi_trainer_view *)object;
    const wcohi_train_state *state = wcohi_trainer_state(view->trainer);
    char text[80];
    int i;
    wcohi_put_kind(sink, "trainer");
    wcohi_put_model(sink, view->model);
    wcohi_put_fields(sink, WCOH_DESC_TRAINER, "trainer.", wcoh_trainer_get_desc(view->trainer));
    for (i = 0; i < WCOHI_COUNT(wcohi_state_fields); i++) {
        wcohi_state_text(&wcohi_state_fields[i], state, text);
        wcohi_put_value(sink, "", wcohi_state_fields[i].name, text);
    }
    for (i = 0; i < 4; i++) wcohi_hash_text(state->rng.s[i], text + i * WCOHI_HASH_DIGITS);
    wcohi_put_value(sink, "train.", "rng", text);
}

static wcoh_result wcohi_note_rng(const wcoh_tensors *t, wcoh_rng *rng, wcoh_error *error)
{
    const char *text;
    uint64_t any = 0;
    int i, bad;
    wcoh_result result = wcohi_note_text(t, "train.rng", &text, error);
    if (result) return result;
    bad = strlen(text) != 64;
    for (i = 0; i < 64 && !bad; i++) {
        uint64_t *word = &rng->s[i / 16];
        if (wcohi_digit(text[i]) > 15) bad = 1;
        else *word = (i % 16 ? *word : 0) << 4 | (uint64_t)wcohi_digit(text[i]);
        any |= *word;
    }
    if (!bad && any) return WCOH_OK; /* all zero would stay zero for ever */
    return wcohi_fail(error, WCOH_E_FORMAT,
                      "train.rng in the file is not a state of the generator");
}

static wcoh_result wcohi_note_state(const wcoh_tensors *t, wcohi_train_state *state,
                                    wcoh_error *error)
{
    int i;
    for (i = 0; i < WCOHI_COUNT(wcohi_state_fields); i++) {
        const struct wcohi_state_field *field = &wcohi_state_fields[i];
        const char *text;
        char shown[64];
        wcoh_result result;
        if (field->later && !wcoh_tensors_metadata(t, field->name)) continue;
        if ((result = wcohi_note_text(t, field->name, &text, error)) != WCOH_OK) return result;
        if (!wcohi_state_set(field, state, text))
            return wcohi_fail(error, WCOH_E_FORMAT, "%s in the file is \"%s\"", field->name,
                              wcohi_shown(text, shown));
    }
    return wcohi_note_rng(t, &state->rng, error);
}

WCOHI_COLD wcoh_result wcohi_trainer_contents(wcoh_trainer *trainer, wcohi_trainer_view *view,
                                              wcohi_contents *contents, wcoh_error *error)
{
    int i, params, moments = 0;
    wcoh_param param;
    memset(view, 0, sizeof *view);
    view->trainer = trainer;
    view->model = wcohi_trainer_model(trainer);
    params = wcoh_model_param_count(view->model);
    for (i = 0; i < params; i++) {
        moments += wcohi_trainer_moments(trainer, i);
        wcoh_model_param(view->model, i, &param, NULL);
        if (param.trained && !view->origin) view->origin = param.data;
    }
    for (i = 0; i < 2 && moments; i++)
        if ((view->moment[i] = wcohi_trainer_moment(trainer, i)) == NULL)
            return wcohi_fail(error, WCOH_E_DEVICE,
                              "the moments are not to be had from the device");
    contents->object = view;
    contents->count = params + moments;
    contents->tensor = wcohi_trainer_tensor;
    contents->notes = wcohi_trainer_notes;
    contents->put = wcohi_trainer_put;
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_trainer_save(wcoh_trainer *trainer, const wcoh_io *io, wcoh_error *error)
{
    wcohi_trainer_view view;
    wcohi_contents contents;
    wcoh_result result = wcohi_writable(io, error);
    if (result) return result;
    if (!trainer) return wcohi_null("trainer", error);
    result = wcoh_trainer_sync(trainer, error);
    if (!result) result = wcohi_trainer_contents(trainer, &view, &contents, error);
    if (!result) return wcohi_save(io, &contents, error);
    if (io->finish) io->finish(io->user, 0);
    return result;
}

WCOH_API size_t wcoh_trainer_file_size(wcoh_trainer *trainer)
{
    wcohi_trainer_view view;
    wcohi_contents contents;
    if (!trainer || wcohi_trainer_contents(trainer, &view, &contents, NULL)) return 0;
    return wcohi_contents_size(&contents);
}

/* A run goes on with the optimiser that it began with; files without the setting are AdamW's. */
static wcoh_result wcohi_note_optimizer(const wcoh_tensors *t, const wcoh_trainer_desc *desc,
                                        wcoh_error *error)
{
    const char *there = wcoh_tensors_metadata(t, "trainer.optimizer");
    char here[WCOHI_FIELD_TEXT], shown[64];
    wcoh_field_get(WCOH_DESC_TRAINER, desc, "optimizer", here, sizeof here);
    if (strcmp(here, there ? there : "adamw") == 0) return WCOH_OK;
    return wcohi_fail(error, WCOH_E_MISMATCH,
                      "optimizer is %s here and %s in the file, whose moments are of no use to the "
                      "other: load it as a model and begin a new run",
                      here, there ? wcohi_shown(there, shown) : "adamw");
}

WCOHI_COLD wcoh_result wcohi_trainer_restore(wcoh_trainer *trainer, const wcoh_tensors *t,
                                             const wcoh_memory *hooks, wcoh_error *error)
{
    wcoh_trainer_desc before = *wcoh_trainer_get_desc(trainer); /* where the file says nothing */
    wcohi_train_state state;
    wcohi_trainer_view view;
    wcohi_contents contents;
    wcoh_result result = wcohi_note_kind(t, "trainer", "trainer", error);
    memset(&state, 0, sizeof state);
    if (!result)
        result = wcohi_note_same(t, wcoh_model_get_desc(wcohi_trainer_model(trainer)), error);
    if (!result) result = wcohi_note_optimizer(t, &before, error);
    if (!result) result = wcohi_note_fields(t, WCOH_DESC_TRAINER, "trainer.", &before, error);
    if (!result) result = wcohi_note_state(t, &state, error);
    if (!result) result = wcohi_state_check(&state, error);
    if (!result) result = wcohi_trainer_contents(trainer, &view, &contents, error);
    if (!result) result = wcohi_load(t, &contents, NULL, 1, hooks, error);
    if (result) return result;
    *wcohi_trainer_state(trainer) = state;
    return wcohi_trainer_restored(trainer, &before, error);
}

WCOH_API wcoh_result wcoh_trainer_resume(wcoh_trainer *trainer, const wcoh_io *io,
                                         wcoh_error *error)
{
    wcoh_memory hooks;
    wcoh_tensors *t;
    wcoh_result result;
    if (!trainer) return wcohi_null("trainer", error);
    if ((result = wcohi_readable(io, error)) != WCOH_OK) return result;
    hooks = wcohi_temporary(&wcoh_trainer_get_desc(trainer)->memory);
    if ((result = wcohi_tensors_open(&t, io, &hooks, 1, error)) != WCOH_OK) return result;
    result = wcohi_trainer_restore(trainer, t, &hooks, error);
    wcoh_tensors_close(t);
    return result;
}

WCOH_API wcoh_result wcoh_trainer_read_desc(wcoh_trainer_desc *desc, const wcoh_io *io,
                                            wcoh_error *error)
{
    wcoh_trainer_desc read;
    wcoh_tensors *t;
    wcoh_result result;
    if (!desc) return wcohi_null("desc", error);
    if ((result = wcohi_readable(io, error)) != WCOH_OK) return result;
    if ((result = wcohi_tensors_open(&t, io, NULL, 1, error)) != WCOH_OK) return result;
    memset(&read, 0, sizeof read);
    result = wcohi_note_kind(t, "trainer", "trainer", error);
    if (!result) result = wcohi_note_fields(t, WCOH_DESC_TRAINER, "trainer.", &read, error);
    if (!result) *desc = read;
    wcoh_tensors_close(t);
    return result;
}

/* ---- the same on paths ----------------------------------------------------------------------- */

#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_trainer_save_file(wcoh_trainer *trainer, const char *path,
                                            wcoh_error *error)
{
    if (!trainer) return wcohi_null("trainer", error);
    WCOHI_SAVE_FILE(wcoh_trainer_save(trainer, &io, error));
}

WCOH_API wcoh_result wcoh_trainer_resume_file(wcoh_trainer *trainer, const char *path,
                                              wcoh_error *error)
{
    if (!trainer) return wcohi_null("trainer", error);
    WCOHI_LOAD_FILE(wcoh_trainer_resume(trainer, &io, error));
}

WCOH_API wcoh_result wcoh_trainer_read_desc_file(wcoh_trainer_desc *desc, const char *path,
                                                 wcoh_error *error)
{
    if (!desc) return wcohi_null("desc", error);
    WCOHI_LOAD_FILE(wcoh_trainer_read_desc(desc, &io, error));
}
#endif
#endif /* WAVECOH_NO_TRAINING */

/* ======== 7 toolkit: the circle =============================================================== */
#ifndef WAVECOH_NO_TOOLKIT

/* ---- relations on the circle ----------------------------------------------------------------- */

static double wcohi_acos(double x) { return acos(WCOHI_CLAMP(x, -1.0, 1.0)); }

/* Phases up to here are folded exactly, and taken by the index: above, doubles lie more than a radian
   apart. */
static const double wcohi_phase_max = 9007199254740992.0; /* 2^53 */

/* x as a double where the machine calculates with more digits: an index and a full scan must see the
   same number. */
static double wcohi_rounded(double x)
{
    volatile double rounded = x;
    return rounded;
}

/* fmod is exact, but takes away k turns of the double 2 pi, which is short of 2 pi by 2.45e-16; k is
   known exactly, so the rest is taken away behind it. */
WCOH_API double wcoh_phase_wrap(double phase)
{
    const double turn = 2 * wcohi_pi, short_of = 2.4492935982947064e-16;
    double folded, turns;
    if (phase >= 0 && phase < turn) return phase;
    folded = fmod(phase, turn);
    turns = (phase - folded) / turn;
    if (fabs(phase) <= wcohi_phase_max)
        folded = wcohi_rounded(folded - floor(turns + 0.5) * short_of);
    if (folded < 0) folded = wcohi_rounded(folded + turn);
    return folded < turn ? folded : 0; /* a tiny negative phase rounds up to the full turn */
}

/* a - b of two phases, each folded first: so no digit of a small one is lost beside a large one. */
static double wcohi_phase_minus(double a, double b)
{
    return wcohi_rounded(wcoh_phase_wrap(a) - wcoh_phase_wrap(b));
}

WCOH_API double wcoh_phase_id(uint64_t k, uint64_t buckets)
{
    return buckets ? wcohi_rounded(2 * wcohi_pi * (double)(k % buckets) / (double)buckets) : 0;
}

WCOH_API double wcoh_phase_fraction(double k, double buckets)
{
    return buckets > 0 ? wcoh_phase_wrap(2 * wcohi_pi * fmod(k, buckets) / buckets) : 0;
}

WCOH_API double wcoh_phase_degrees(double degrees)
{
    return wcoh_phase_wrap(fmod(degrees, 360) * wcohi_pi / 180);
}

WCOH_API double wcoh_coherence(double a, double b) { return cos(wcohi_phase_minus(a, b)); }

WCOH_API double wcoh_coherence_harmonic(double a, double b, int n)
{
    return wcohi_rounded(cos(wcohi_rounded(n * wcohi_phase_minus(a, b))));
}

WCOH_API double wcoh_angle(double a, double b)
{
    double d = wcoh_phase_wrap(wcohi_phase_minus(a, b));
    return WCOHI_MIN(d, 2 * wcohi_pi - d);
}

WCOH_API double wcoh_angle_directed(double source, double target)
{
    return wcoh_phase_wrap(wcohi_phase_minus(target, source));
}

/* cos(pi d / (2 orb)) for d <= orb, else 0. */
static double wcohi_orb_score(double d, double orb)
{
    d = fabs(d);
    return orb > 0 && d <= orb ? cos(wcohi_pi * d / (2 * orb)) : 0;
}

WCOH_API double wcoh_fuzzy(double a, double b, double angle, double orb)
{
    return wcohi_orb_score(wcoh_angle(a, b) - angle, orb);
}

WCOH_API double wcoh_fuzzy_directed(double source, double target, double angle, double orb)
{
    return wcohi_orb_score(wcoh_angle(wcoh_angle_directed(source, target), angle), orb);
}

WCOH_API double wcoh_reach(double source, double target, const double *angles, int count,
                           double orb)
{
    double best = 0;
    int i;
    for (i = 0; angles && i < count; i++) {
        double score = wcoh_fuzzy_directed(source, target, angles[i], orb);
        best = WCOHI_MAX(best, score);
    }
    return best;
}

WCOH_API double wcoh_conjunction(const double *scores, int count)
{
    double product = 1;
    int i;
    for (i = 0; scores && i < count; i++) product *= scores[i];
    return product;
}

WCOH_API double wcoh_threshold_floor(uint64_t buckets, int n)
{
    return buckets ? cos(n * 2 * wcohi_pi / (double)buckets) : 0;
}

WCOH_API double wcoh_threshold_safe(uint64_t buckets)
{
    return buckets ? (1 + cos(2 * wcohi_pi / (double)buckets)) / 2 : 0;
}

WCOH_API double wcoh_threshold_width(double threshold, int n)
{
    return n > 0 ? wcohi_acos(threshold) / n : 0;
}

WCOH_API double wcoh_threshold_buckets(double threshold, int n)
{
    double width = wcoh_threshold_width(threshold, n);
    return width > 0 ? floor(2 * wcohi_pi / width) + 1 : 0;
}

WCOH_API double wcoh_fingerprint(double a, double b, double threshold)
{
    double d = wcoh_angle(a, b);
    return d > 0 ? ceil(wcohi_acos(threshold) / d) : 0;
}

WCOH_API void wcoh_sweep(double a, double b, double *scores, int count)
{
    int n;
    for (n = 1; scores && n <= count; n++) scores[n - 1] = wcoh_coherence_harmonic(a, b, n);
}

WCOH_API wcoh_profile_row wcoh_profile(const double *phases, size_t count, int n, double threshold)
{
    wcoh_profile_row row;
    double pairs = count > 1 ? (double)count * (double)(count - 1) / 2 : 1;
    size_t i, j;
    memset(&row, 0, sizeof row);
    for (i = 0; phases && i < count; i++) {
        for (j = i + 1; j < count; j++) {
            double c = wcoh_coherence_harmonic(phases[i], phases[j], n), size = fabs(c);
            row.mean += c;
            row.mean_abs += size;
            row.max_abs = WCOHI_MAX(row.max_abs, size);
            row.above += size > threshold;
        }
    }
    row.mean /= pairs;
    row.mean_abs /= pairs;
    return row;
}

WCOH_API double wcoh_resultant(const double *differences, size_t count, int n, double *offset)
{
    double re = 0, im = 0;
    size_t i;
    if (!differences) count = 0;
    for (i = 0; i < count; i++) {
        double d = wcoh_phase_wrap(differences[i]);
        re += cos(n * d);
        im += sin(n * d);
    }
    if (offset) *offset = n ? atan2(im, re) / n : 0;
    return count ? sqrt(re * re + im * im) / (double)count : 0;
}

/* The signed mean of C_n over pairs is (|sum e^{in phase}|^2 - P) / (P (P - 1)). */
WCOH_API int wcoh_fundamental(const double *phases, size_t count, int harmonics, double threshold)
{
    double p = (double)count;
    int n;
    if (!phases || count < 2) return 0;
    for (n = 1; n <= harmonics; n++) {
        double length = p * wcoh_resultant(phases, count, n, NULL);
        if ((length * length - p) / (p * (p - 1)) > threshold) return n;
    }
    return 0;
}

WCOH_API void wcoh_harmonic_vector(double phase, float *values, int count)
{
    double scale = count > 0 ? 1 / sqrt((double)count) : 0;
    int n;
    phase = wcoh_phase_wrap(phase);
    for (n = 1; values && n <= count; n++) {
        values[2 * (n - 1)] = (float)(cos(n * phase) * scale);
        values[2 * (n - 1) + 1] = (float)(sin(n * phase) * scale);
    }
}

/* The union of the grids k/B_i by inclusion and exclusion: a set of grids shares gcd points. */
static uint64_t wcohi_grid_union(const uint64_t *moduli, int count)
{
    uint64_t sum = 0;
    uint32_t set;
    for (set = 1; set < (uint32_t)1 << count; set++) {
        uint64_t shared = 0;
        int i, members = 0;
        for (i = 0; i < count; i++) {
            if (!(set >> i & 1)) continue;
            shared = wcohi_gcd(moduli[i], shared);
            members++;
        }
        sum = members & 1 ? sum + shared : sum - shared;
    }
    return sum;
}

WCOH_API wcoh_result wcoh_grids_of(wcoh_grids *grids, const uint64_t *moduli, int count,
                                   wcoh_error *error)
{
    uint64_t largest = 0;
    int i;
    if (!grids || !moduli)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "grids: grids or moduli is NULL");
    memset(grids, 0, sizeof *grids);
    if (count < 1 || count > 16)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "grids: count is %d, allowed 1..16", count);
    grids->lcm = 1;
    for (i = 0; i < count; i++) {
        uint64_t step;
        if (moduli[i] < 1 || moduli[i] > (uint64_t)1 << 58)
            return wcohi_fail(error, WCOH_E_ARGUMENT, "grids: modulus %d is outside 1..2^58", i);
        step = moduli[i] / wcohi_gcd(grids->lcm, moduli[i]);
        if (grids->lcm > (UINT64_MAX >> 1) / step)
            return wcohi_fail(error, WCOH_E_ARGUMENT, "grids: the least common multiple overflows");
        grids->lcm *= step;
        grids->positions += moduli[i];
        largest = WCOHI_MAX(largest, moduli[i]);
    }
    grids->distinct = wcohi_grid_union(moduli, count);
    grids->harmonic = grids->lcm / 2;
    grids->gain = (double)grids->lcm / (double)largest;
    return WCOH_OK;
}

/* ---- memory that grows ----------------------------------------------------------------------- */

/* Pieces of the user's allocator, or cut from the user's block, each on a cache line. The word
   before a piece holds the pointer as allocated. A block does not take pieces back. */
typedef struct wcohi_pieces {
    wcoh_memory memory;
    size_t used; /* of memory.block */
} wcohi_pieces;

/* What a piece of that many bytes takes from the allocator. */
static size_t wcohi_piece_size(size_t bytes)
{
    return wcohi_add(wcohi_round_up(bytes, WCOHI_ALIGN), WCOHI_ALIGN + sizeof(void *));
}

static void *wcohi_piece_take(wcohi_pieces *pieces, size_t bytes)
{
    const wcoh_memory *memory = &pieces->memory;
    size_t all = wcohi_piece_size(bytes);
    unsigned char *raw, *piece;
    if (all == WCOHI_SIZE_BAD) return NULL;
    if (memory->block) {
        if (all > memory->block_size || pieces->used > memory->block_size - all) return NULL;
        raw = (unsigned char *)memory->block + pieces->used;
        pieces->used += all;
    } else {
        raw = (unsigned char *)(memory->alloc ? memory->alloc(all, memory->user)
                                              : WAVECOH_MALLOC(all));
        if (!raw) return NULL;
    }
    piece = raw + sizeof(void *);
    piece += (WCOHI_ALIGN - (uintptr_t)piece % WCOHI_ALIGN) % WCOHI_ALIGN;
    memcpy(piece - sizeof(void *), &raw, sizeof(void *));
    memset(piece, 0, bytes);
    return piece;
}

static void wcohi_piece_give(wcohi_pieces *pieces, void *piece, size_t bytes)
{
    unsigned char *raw;
    if (!piece || pieces->memory.block) return;
    memcpy(&raw, (unsigned char *)piece - sizeof(void *), sizeof(void *));
    if (pieces->memory.alloc) {
        if (pieces->memory.release)
            pieces->memory.release(raw, wcohi_piece_size(bytes), pieces->memory.user);
    } else {
        WAVECOH_FREE(raw);
    }
}

/* A list of pieces that doubles its directory: entries never move. */
typedef struct wcohi_directory {
    void **entries;
    size_t count, capacity;
} wcohi_directory;

static size_t wcohi_directory_bytes(size_t entries) { return wcohi_mul(entries, sizeof(void *)); }

static int wcohi_directory_push(wcohi_directory *directory, wcohi_pieces *pieces, void *entry)
{
    if (directory->count == directory->capacity) {
        size_t capacity = WCOHI_MAX((size_t)16, wcohi_mul(directory->capacity, 2));
        void **entries = (void **)wcohi_piece_take(pieces, wcohi_directory_bytes(capacity));
        if (!entries) return 0;
        if (directory->count)
            memcpy(entries, directory->entries, wcohi_directory_bytes(directory->count));
        wcohi_piece_give(pieces, directory->entries, wcohi_directory_bytes(directory->capacity));
        directory->entries = entries;
        directory->capacity = capacity;
    }
    directory->entries[directory->count++] = entry;
    return 1;
}

/* Give back all pieces of `bytes` each, and the directory. */
static void wcohi_directory_give(wcohi_directory *directory, wcohi_pieces *pieces, size_t bytes)
{
    size_t i;
    for (i = 0; i < directory->count; i++) wcohi_piece_give(pieces, directory->entries[i], bytes);
    wcohi_piece_give(pieces, directory->entries, wcohi_directory_bytes(directory->capacity));
    memset(directory, 0, sizeof *directory);
}

/* ---- the circle as an index ------------------------------------------------------------------ */

/* A bucket is a chain of small nodes that hold the phases themselves, so a query reads nothing
   else; the entity table is for removal by slot. */
enum { WCOHI_NODE = 6, WCOHI_SEGMENT = 1024, WCOHI_SLAB = 64 };

typedef struct wcohi_node {
    struct wcohi_node *next;
    uint64_t count;
    uint64_t slot[WCOHI_NODE];
    double phase[2][WCOHI_NODE];
} wcohi_node;

typedef struct wcohi_segment {
    double phase[WCOHI_SEGMENT][2];
    unsigned char alive[WCOHI_SEGMENT];
} wcohi_segment;

struct wcoh_circle {
    wcoh_circle_desc desc;
    wcohi_pieces pieces;
    size_t cells;
    wcohi_node **heads;       /* [cells] buckets on each axis */
    wcohi_node *spare;        /* free nodes */
    wcohi_directory segments; /* the entity table */
    wcohi_directory slabs;    /* of WCOHI_SLAB nodes */
    uint64_t slots, count;
};

/* bucket = floor(phase / 2 pi * B) mod B of a phase in [0, 4 pi), in this order of rounding: the
   published counts of examined entities depend on it where a query sits on a bucket's edge. */
static int wcohi_bucket(double phase, int buckets)
{
    const double turn = 2 * wcohi_pi;
    double turns = wcohi_rounded((phase < turn ? phase : phase - turn) / turn);
    double position = wcohi_rounded(turns * buckets);
    return position < buckets ? (int)floor(position) : 0;
}

static size_t wcohi_cell(const wcoh_circle *circle, const double *phases)
{
    int buckets = circle->desc.buckets;
    size_t cell = (size_t)wcohi_bucket(phases[0], buckets);
    if (circle->desc.axes == 1) return cell;
    return cell * (size_t)buckets + (size_t)wcohi_bucket(phases[1], buckets);
}

static wcohi_segment *wcohi_segment_of(const wcoh_circle *circle, uint64_t slot)
{
    return (wcohi_segment *)circle->segments.entries[slot / WCOHI_SEGMENT];
}

/* Phases [2] of an entity that is there, else NULL. */
static double *wcohi_entity_at(const wcoh_circle *circle, uint64_t slot)
{
    if (!circle || slot >= circle->slots) return NULL;
    if (!wcohi_segment_of(circle, slot)->alive[slot % WCOHI_SEGMENT]) return NULL;
    return wcohi_segment_of(circle, slot)->phase[slot % WCOHI_SEGMENT];
}

WCOHI_COLD wcoh_result wcohi_circle_check(wcoh_circle_desc *desc, wcoh_error *error)
{
    wcoh_result result = wcohi_fields_resolve(WCOH_DESC_CIRCLE, desc, error);
    if (result || desc->axes == 1 || desc->buckets <= 4096) return result;
    return wcohi_fail(error, WCOH_E_ARGUMENT, "buckets is %d: allowed on two axes are 1 to 4096",
                      desc->buckets);
}

WCOH_API wcoh_result wcoh_circle_create(wcoh_circle **circle, const wcoh_circle_desc *desc,
                                        wcoh_error *error)
{
    wcohi_pieces pieces;
    wcoh_circle_desc full;
    wcoh_circle *made;
    if (!circle) return wcohi_null("circle", error);
    *circle = NULL;
    memset(&full, 0, sizeof full);
    memset(&pieces, 0, sizeof pieces);
    if (desc) full = *desc;
    if (wcohi_circle_check(&full, error)) return WCOH_E_ARGUMENT;
    pieces.memory = full.memory;
    made = (wcoh_circle *)wcohi_piece_take(&pieces, sizeof *made);
    if (!made) return wcohi_fail(error, WCOH_E_MEMORY, "circle: no memory");
    made->desc = full;
    made->pieces = pieces;
    made->cells = wcohi_mul((size_t)full.buckets, full.axes == 2 ? (size_t)full.buckets : 1);
    made->heads = (wcohi_node **)wcohi_piece_take(&made->pieces,
                                                  wcohi_mul(made->cells, sizeof(wcohi_node *)));
    if (!made->heads) {
        wcoh_circle_destroy(made);
        return wcohi_fail(error, WCOH_E_MEMORY, "circle: no memory for %llu buckets",
                          (unsigned long long)full.buckets);
    }
    *circle = made;
    return WCOH_OK;
}

WCOH_API void wcoh_circle_destroy(wcoh_circle *circle)
{
    wcohi_pieces pieces;
    if (!circle) return;
    pieces = circle->pieces;
    wcohi_directory_give(&circle->segments, &pieces, sizeof(wcohi_segment));
    wcohi_directory_give(&circle->slabs, &pieces, WCOHI_SLAB * sizeof(wcohi_node));
    wcohi_piece_give(&pieces, circle->heads, wcohi_mul(circle->cells, sizeof(wcohi_node *)));
    wcohi_piece_give(&pieces, circle, sizeof *circle);
}

/* Make sure of a free node and of a place in the entity table; nothing else changes. */
static int wcohi_circle_reserve(wcoh_circle *circle, uint64_t slots)
{
    if (slots > (uint64_t)circle->segments.count * WCOHI_SEGMENT) {
        size_t bytes = sizeof(wcohi_segment);
        void *segment = wcohi_piece_take(&circle->pieces, bytes);
        if (!segment) return 0;
        if (!wcohi_directory_push(&circle->segments, &circle->pieces, segment)) {
            wcohi_piece_give(&circle->pieces, segment, bytes);
            return 0;
        }
    }
    if (!circle->spare) {
        size_t bytes = WCOHI_SLAB * sizeof(wcohi_node);
        wcohi_node *slab = (wcohi_node *)wcohi_piece_take(&circle->pieces, bytes);
        int i;
        if (!slab) return 0;
        if (!wcohi_directory_push(&circle->slabs, &circle->pieces, slab)) {
            wcohi_piece_give(&circle->pieces, slab, bytes);
            return 0;
        }
        for (i = 0; i < WCOHI_SLAB; i++) {
            slab[i].next = circle->spare;
            circle->spare = &slab[i];
        }
    }
    return 1;
}

/* Into the first node of the bucket; a full one gets a new node before it. */
static void wcohi_bucket_add(wcoh_circle *circle, uint64_t slot, const double *phases)
{
    wcohi_node **head = &circle->heads[wcohi_cell(circle, phases)], *node = *head;
    if (!node || node->count == WCOHI_NODE) {
        node = circle->spare;
        circle->spare = node->next;
        node->count = 0;
        node->next = *head;
        *head = node;
    }
    node->slot[node->count] = slot;
    node->phase[0][node->count] = phases[0];
    node->phase[1][node->count] = phases[1];
    node->count++;
}

/* The first node's last entry takes the place of the one that goes. */
static void wcohi_bucket_remove(wcoh_circle *circle, uint64_t slot, const double *phases)
{
    wcohi_node **head = &circle->heads[wcohi_cell(circle, phases)], *first = *head, *node;
    uint64_t i, last;
    for (node = first; node; node = node->next) {
        for (i = 0; i < node->count; i++) {
            if (node->slot[i] != slot) continue;
            last = --first->count;
            node->slot[i] = first->slot[last];
            node->phase[0][i] = first->phase[0][last];
            node->phase[1][i] = first->phase[1][last];
            if (last) return;
            *head = first->next;
            first->next = circle->spare;
            circle->spare = first;
            return;
        }
    }
}

/* Phases are folded here, once: buckets, scores and files see them in [0, 2 pi). */
static void wcohi_entity_put(wcoh_circle *circle, uint64_t slot, const double *phases)
{
    double *own = wcohi_entity_at(circle, slot);
    own[0] = wcoh_phase_wrap(phases[0]);
    own[1] = circle->desc.axes == 2 ? wcoh_phase_wrap(phases[1]) : 0;
    wcohi_bucket_add(circle, slot, own);
}

static wcoh_result wcohi_phases_check(const wcoh_circle *circle, const double *phases,
                                      wcoh_error *error)
{
    int i;
    if (!circle || !phases)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: the circle or its phases are NULL");
    for (i = 0; i < circle->desc.axes; i++) {
        if (!wcohi_is_finite(phases[i]))
            return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: phase %d is not finite", i);
        if (fabs(phases[i]) > wcohi_phase_max)
            return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: phase %d is beyond 2^53 radians", i);
    }
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_circle_insert(wcoh_circle *circle, const double *phases, uint64_t *slot,
                                        wcoh_error *error)
{
    uint64_t next = circle ? circle->slots : 0;
    if (wcohi_phases_check(circle, phases, error)) return WCOH_E_ARGUMENT;
    if (!wcohi_circle_reserve(circle, next + 1))
        return wcohi_fail(error, WCOH_E_MEMORY, "circle: no memory for entity %llu",
                          (unsigned long long)next);
    circle->slots++;
    circle->count++;
    wcohi_segment_of(circle, next)->alive[next % WCOHI_SEGMENT] = 1;
    wcohi_entity_put(circle, next, phases);
    if (slot) *slot = next;
    return WCOH_OK;
}

WCOH_API int wcoh_circle_remove(wcoh_circle *circle, uint64_t slot)
{
    const double *phases = wcohi_entity_at(circle, slot);
    if (!phases) return 0;
    wcohi_bucket_remove(circle, slot, phases);
    wcohi_segment_of(circle, slot)->alive[slot % WCOHI_SEGMENT] = 0;
    circle->count--;
    return 1;
}

WCOH_API wcoh_result wcoh_circle_update(wcoh_circle *circle, uint64_t slot, const double *phases,
                                        wcoh_error *error)
{
    const double *old = wcohi_entity_at(circle, slot);
    if (wcohi_phases_check(circle, phases, error)) return WCOH_E_ARGUMENT;
    if (!old)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: slot %llu holds no entity",
                          (unsigned long long)slot);
    if (!wcohi_circle_reserve(circle, circle->slots))
        return wcohi_fail(error, WCOH_E_MEMORY, "circle: no memory");
    wcohi_bucket_remove(circle, slot, old);
    wcohi_entity_put(circle, slot, phases);
    return WCOH_OK;
}

WCOH_API uint64_t wcoh_circle_count(const wcoh_circle *circle)
{
    return circle ? circle->count : 0;
}

WCOH_API uint64_t wcoh_circle_slots(const wcoh_circle *circle)
{
    return circle ? circle->slots : 0;
}

WCOH_API const wcoh_circle_desc *wcoh_circle_get_desc(const wcoh_circle *circle)
{
    return circle ? &circle->desc : NULL;
}

WCOH_API int wcoh_circle_phases(const wcoh_circle *circle, uint64_t slot, double *phases)
{
    const double *own = wcohi_entity_at(circle, slot);
    if (!own || !phases) return 0;
    memcpy(phases, own, (size_t)circle->desc.axes * sizeof *phases);
    return 1;
}

/* The buckets of one axis that can hold an answer, each once: around each of the n places where
   harmonic n is 1, `spread` buckets to either side. Offsets count from the first bucket of the
   first arc, so the arcs come in order and only their overlap must be cut. */
typedef struct wcohi_arcs {
    double phase;
    int buckets, n, spread, k;
    int start;     /* bucket of offset 0 */
    int next, end; /* offsets: next to give, end of the current arc */
} wcohi_arcs;

static wcohi_arcs wcohi_arcs_of(double phase, double threshold, int n, int buckets)
{
    wcohi_arcs arcs;
    /* A hair below the threshold, since a cosine may round up to it, and a hair above the ceiling,
       since a match that sits on a bucket's edge may round outside. */
    double width = wcohi_acos(threshold - 4e-16) / n;
    double spread = ceil(width * buckets / (2 * wcohi_pi) + 1e-7);
    arcs.phase = phase;
    arcs.buckets = buckets;
    arcs.n = n;
    arcs.spread = (int)WCOHI_MIN(spread, (double)buckets);
    arcs.k = 0;
    arcs.start = wcohi_bucket(phase, buckets) - arcs.spread;
    arcs.next = 0;
    arcs.end = WCOHI_MIN(2 * arcs.spread + 1, buckets);
    if (2.0 * arcs.spread * n >= buckets) arcs.end = buckets; /* no gap between them */
    return arcs;
}

/* The next bucket, or -1. */
static int wcohi_arcs_next(wcohi_arcs *arcs)
{
    while (arcs->next >= arcs->end) {
        int centre, offset;
        if (arcs->end >= arcs->buckets || ++arcs->k >= arcs->n) return -1;
        centre = wcohi_bucket(arcs->phase + 2 * wcohi_pi * arcs->k / arcs->n, arcs->buckets);
        offset = centre - arcs->start - arcs->spread; /* from the first centre, in turn order */
        if (offset < 0) offset += arcs->buckets;
        arcs->next = WCOHI_MAX(arcs->next, offset);
        arcs->end = WCOHI_MAX(arcs->end, WCOHI_MIN(offset + 2 * arcs->spread + 1, arcs->buckets));
    }
    return ((arcs->start + arcs->next++) % arcs->buckets + arcs->buckets) % arcs->buckets;
}

typedef struct wcohi_circle_scan {
    double phase[2]; /* in [0, 2 pi) */
    double threshold[2];
    int harmonic[2];
    int axes;
    wcoh_circle_hit *hits;
    size_t capacity, count, examined;
} wcohi_circle_scan;

static void wcohi_scan_bucket(wcohi_circle_scan *scan, const wcohi_node *node)
{
    uint64_t i;
    int axis;
    for (; node; node = node->next) {
        scan->examined += (size_t)node->count;
        for (i = 0; i < node->count; i++) {
            double score = 1;
            for (axis = 0; axis < scan->axes; axis++) {
                double c = wcoh_coherence_harmonic(node->phase[axis][i], scan->phase[axis],
                                                   scan->harmonic[axis]);
                if (!(c >= scan->threshold[axis])) break;
                score = wcohi_rounded(score * c);
            }
            if (axis < scan->axes) continue;
            if (scan->count < scan->capacity) {
                scan->hits[scan->count].slot = node->slot[i];
                scan->hits[scan->count].score = score;
            }
            scan->count++;
        }
    }
}

/* The query into the scan, all defaults filled in. */
static wcoh_result wcohi_scan_prepare(wcohi_circle_scan *scan, const wcoh_circle *circle,
                                      const wcoh_circle_query *query, wcoh_error *error)
{
    int axis;
    scan->axes = circle->desc.axes;
    if (wcohi_phases_check(circle, query->phase, error)) return WCOH_E_ARGUMENT;
    for (axis = 0; axis < scan->axes; axis++) {
        scan->harmonic[axis] = query->harmonic[axis] ? query->harmonic[axis] : 1;
        if (scan->harmonic[axis] < 1 || scan->harmonic[axis] > 1 << 20)
            return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: harmonic is %d, allowed 1..1048576",
                              query->harmonic[axis]);
        if (!wcohi_is_finite(query->threshold[axis]))
            return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: the threshold is not finite");
        scan->phase[axis] = wcoh_phase_wrap(query->phase[axis]);
        scan->threshold[axis] = query->threshold[axis];
    }
    return WCOH_OK;
}

static wcohi_arcs wcohi_scan_arcs(const wcohi_circle_scan *scan, const wcoh_circle *circle,
                                  int axis)
{
    return wcohi_arcs_of(scan->phase[axis], scan->threshold[axis], scan->harmonic[axis],
                         circle->desc.buckets);
}

WCOH_API wcoh_result wcoh_circle_find(const wcoh_circle *circle, const wcoh_circle_query *query,
                                      wcoh_circle_hit *hits, size_t capacity, size_t *count,
                                      size_t *examined, wcoh_error *error)
{
    wcohi_circle_scan scan;
    wcohi_arcs first, second;
    int a, b;
    if (!circle || !query)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "circle: the circle or the query is NULL");
    memset(&scan, 0, sizeof scan);
    scan.hits = hits;
    scan.capacity = hits ? capacity : 0;
    if (wcohi_scan_prepare(&scan, circle, query, error)) return WCOH_E_ARGUMENT;
    first = wcohi_scan_arcs(&scan, circle, 0);
    while ((a = wcohi_arcs_next(&first)) >= 0) {
        if (scan.axes == 1) {
            wcohi_scan_bucket(&scan, circle->heads[a]);
            continue;
        }
        second = wcohi_scan_arcs(&scan, circle, 1);
        while ((b = wcohi_arcs_next(&second)) >= 0)
            wcohi_scan_bucket(&scan,
                              circle->heads[(size_t)a * (size_t)circle->desc.buckets + (size_t)b]);
    }
    if (count) *count = scan.count;
    if (examined) *examined = scan.examined;
    return WCOH_OK;
}

/* ---- the circle's file ----------------------------------------------------------------------- */

static void wcohi_put_count(wcohi_sink *sink, const char *key, uint64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    wcohi_put_note(sink, key, text, (size_t)size);
}

/* A number of the metadata in minimum .. maximum. */
static wcoh_result wcohi_get_count(const wcoh_tensors *t, const char *key, uint64_t minimum,
                                   uint64_t maximum, uint64_t *value, wcoh_error *error)
{
    const char *text = wcoh_tensors_metadata(t, key);
    if (!text) return wcohi_fail(error, WCOH_E_MISMATCH, "the file has no metadata %s", key);
    if (!wcohi_parse_u64(text, value) || *value < minimum || *value > maximum)
        return wcohi_fail(error, WCOH_E_FORMAT, "metadata %s is outside %llu..%llu", key,
                          (unsigned long long)minimum, (unsigned long long)maximum);
    return WCOH_OK;
}

/* Tensors 2i and 2i+1: phases and flags of segment i. */
WCOHI_COLD void wcohi_circle_tensor(const void *object, int index, wcohi_file_tensor *tensor)
{
    const wcoh_circle *circle = (const wcoh_circle *)object;
    wcohi_segment *segment = (wcohi_segment *)circle->segments.entries[index / 2];
    uint64_t left = circle->slots - (uint64_t)(index / 2) * WCOHI_SEGMENT;
    size_t count = (size_t)WCOHI_MIN(left, (uint64_t)WCOHI_SEGMENT);
    if (index % 2) {
        wcohi_tensor_init(tensor, WCOHI_OF_U8, segment->alive, count);
        tensor->maximum = 1;
    } else {
        wcohi_tensor_init(tensor, WCOHI_OF_F64, segment->phase, 2 * count);
        tensor->dims = 2;
        tensor->shape[0] = count;
        tensor->shape[1] = 2;
    }
    snprintf(tensor->name, sizeof tensor->name, "%s.%d", index % 2 ? "alive" : "phase", index / 2);
}

WCOHI_COLD void wcohi_circle_notes(const void *object, wcohi_sink *sink)
{
    const wcoh_circle *circle = (const wcoh_circle *)object;
    wcohi_put_count(sink, "wavecoh.circle.axes", (uint64_t)circle->desc.axes);
    wcohi_put_count(sink, "wavecoh.circle.buckets", (uint64_t)circle->desc.buckets);
    wcohi_put_count(sink, "wavecoh.circle.slots", circle->slots);
}

WCOH_API wcoh_result wcoh_circle_save(const wcoh_circle *circle, const wcoh_io *io,
                                      wcoh_error *error)
{
    wcohi_contents contents;
    uint64_t segments;
    if (!circle) return wcohi_null("circle", error);
    if (wcohi_writable(io, error)) return WCOH_E_ARGUMENT;
    segments = (circle->slots + WCOHI_SEGMENT - 1) / WCOHI_SEGMENT;
    if (segments > INT_MAX / 2)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "circle: too large for one file");
    contents.object = circle;
    contents.count = 2 * (int)segments;
    contents.tensor = wcohi_circle_tensor;
    contents.notes = wcohi_circle_notes;
    return wcohi_save(io, &contents, error);
}

/* Segment i of the file, entity by entity, so that every rule of insert holds. */
static wcoh_result wcohi_circle_read(wcoh_circle *circle, const wcoh_tensors *t, int index,
                                     size_t count, wcohi_segment *stage, wcoh_error *error)
{
    static const char kinds[2][8] = {"phase", "alive"};
    wcoh_tensor_info info;
    wcoh_result result;
    char name[32];
    int part;
    size_t i;
    for (part = 0; part < 2; part++) {
        int found;
        snprintf(name, sizeof name, "%s.%d", kinds[part], index);
        found = wcoh_tensors_find(t, name);
        if (found < 0) return wcohi_fail(error, WCOH_E_MISMATCH, "%s is not in the file", name);
        wcoh_tensors_info(t, found, &info, NULL);
        if (info.count != count * (part ? 1u : 2u))
            return wcohi_fail(error, WCOH_E_MISMATCH, "%s: expected %llu entities", name,
                              (unsigned long long)count);
        result =
            part ? wcohi_tensors_fetch(t, found, 0, count, WCOHI_OF_U8, stage->alive, error)
                 : wcohi_tensors_fetch(t, found, 0, 2 * count, WCOHI_OF_F64, stage->phase, error);
        if (result) return result;
    }
    for (i = 0; i < count; i++) {
        uint64_t slot;
        if (wcoh_circle_insert(circle, stage->phase[i], &slot, error) == WCOH_E_MEMORY)
            return WCOH_E_MEMORY;
        if (circle->slots != (uint64_t)index * WCOHI_SEGMENT + i + 1)
            return wcohi_fail(error, WCOH_E_FORMAT, "phase.%d: a phase is not finite, or beyond 2^53 radians",
                              index);
        if (!stage->alive[i]) wcoh_circle_remove(circle, slot);
    }
    return WCOH_OK;
}

WCOHI_COLD wcoh_result wcohi_circle_fill(wcoh_circle **circle, const wcoh_tensors *t,
                                         const wcoh_memory *memory, wcoh_error *error)
{
    wcoh_circle_desc desc;
    uint64_t axes, buckets, slots, done;
    wcohi_segment *stage;
    wcoh_result result;
    memset(&desc, 0, sizeof desc);
    if (memory) desc.memory = *memory;
    result = wcohi_get_count(t, "wavecoh.circle.axes", 1, 2, &axes, error);
    if (!result)
        result = wcohi_get_count(t, "wavecoh.circle.buckets", 1, axes == 1 ? 1 << 24 : 4096,
                                 &buckets, error);
    if (!result) result = wcohi_get_count(t, "wavecoh.circle.slots", 0, INT_MAX, &slots, error);
    if (result) return result;
    desc.axes = (int)axes;
    desc.buckets = (int)buckets;
    result = wcoh_circle_create(circle, &desc, error);
    if (result) return result;
    stage = (wcohi_segment *)wcohi_piece_take(&(*circle)->pieces, sizeof *stage);
    if (!stage) result = wcohi_fail(error, WCOH_E_MEMORY, "circle: no memory");
    for (done = 0; !result && done < slots; done += WCOHI_SEGMENT)
        result = wcohi_circle_read(*circle, t, (int)(done / WCOHI_SEGMENT),
                                   (size_t)WCOHI_MIN(slots - done, (uint64_t)WCOHI_SEGMENT), stage,
                                   error);
    wcohi_piece_give(&(*circle)->pieces, stage, sizeof *stage);
    if (result) {
        wcoh_circle_destroy(*circle);
        *circle = NULL;
    }
    return result;
}

/* The file's header goes through the allocator while reading, never into the caller's block. */
WCOHI_COLD wcoh_result wcohi_open_header(wcoh_tensors **t, const wcoh_io *io,
                                         const wcoh_memory *memory, int verify, wcoh_error *error)
{
    wcoh_memory own;
    memset(&own, 0, sizeof own);
    if (memory) own = *memory;
    own.block = NULL;
    if (wcohi_readable(io, error)) return WCOH_E_ARGUMENT;
    return wcohi_tensors_open(t, io, &own, verify, error);
}

WCOH_API wcoh_result wcoh_circle_load(wcoh_circle **circle, const wcoh_io *io,
                                      const wcoh_memory *memory, wcoh_error *error)
{
    wcoh_tensors *t;
    wcoh_result result;
    if (!circle) return wcohi_null("circle", error);
    *circle = NULL;
    result = wcohi_open_header(&t, io, memory, 1, error);
    if (result) return result;
    result = wcohi_circle_fill(circle, t, memory, error);
    wcoh_tensors_close(t);
    return result;
}

#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_circle_save_file(const wcoh_circle *circle, const char *path,
                                           wcoh_error *error)
{
    if (!circle) return wcohi_null("circle", error);
    WCOHI_SAVE_FILE(wcoh_circle_save(circle, &io, error));
}

WCOH_API wcoh_result wcoh_circle_load_file(wcoh_circle **circle, const char *path,
                                           const wcoh_memory *memory, wcoh_error *error)
{
    if (!circle) return wcohi_null("circle", error);
    *circle = NULL;
    WCOHI_LOAD_FILE(wcoh_circle_load(circle, &io, memory, error));
}
#endif

/* ======== 7 toolkit: spectral coherence ======================================================= */

/* ---- discrete Fourier transform -------------------------------------------------------------- */

/* Complex FFT by Stockham's self-sorting steps. One step of radix r on n = r m points in s
   interleaved transforms:  y[q + s(rp + j)] = w_n^{pj} sum_k w_r^{jk} x[q + s(p + mk)].
   A length with a prime factor above WCOHI_FFT_PRIME goes by Bluestein's chirp as a convolution of
   a smooth length. Everything in double. */
enum { WCOHI_FFT_PRIME = 61, WCOHI_FFT_STEPS = 32 };

typedef struct wcohi_fft {
    int n, steps;
    size_t scratch; /* complex numbers that wcohi_fft_run wants */
    int radix[WCOHI_FFT_STEPS];
    const wcoh_complex *roots;  /* [n] exp(-2 pi i k/n) */
    struct wcohi_fft *inner;    /* Bluestein: the convolution's transform, of length inner->n */
    const wcoh_complex *chirp;  /* [n] exp(-pi i k^2/n) */
    const wcoh_complex *filter; /* [inner->n] transform of the conjugate chirp, over inner->n */
} wcohi_fft;

static wcoh_complex wcohi_cmul(wcoh_complex a, wcoh_complex b)
{
    wcoh_complex c;
    c.re = a.re * b.re - a.im * b.im;
    c.im = a.re * b.im + a.im * b.re;
    return c;
}

static wcoh_complex wcohi_cadd(wcoh_complex a, wcoh_complex b)
{
    a.re += b.re;
    a.im += b.im;
    return a;
}

static wcoh_complex wcohi_csub(wcoh_complex a, wcoh_complex b)
{
    a.re -= b.re;
    a.im -= b.im;
    return a;
}

/* exp(-i angle) */
static wcoh_complex wcohi_cis(double angle)
{
    wcoh_complex c;
    c.re = cos(angle);
    c.im = -sin(angle);
    return c;
}

static void wcohi_fft_step2(const wcohi_fft *fft, int m, int s, const wcoh_complex *x,
                            wcoh_complex *y)
{
    int p, q;
    for (p = 0; p < m; p++) {
        wcoh_complex w = fft->roots[p * s];
        const wcoh_complex *a = x + s * p, *b = a + s * m;
        wcoh_complex *out = y + 2 * s * p;
        for (q = 0; q < s; q++) {
            out[q] = wcohi_cadd(a[q], b[q]);
            out[q + s] = wcohi_cmul(w, wcohi_csub(a[q], b[q]));
        }
    }
}

static void wcohi_fft_step3(const wcohi_fft *fft, int m, int s, const wcoh_complex *x,
                            wcoh_complex *y)
{
    const double h = 0.86602540378443864676; /* sqrt(3)/2 */
    int p, q;
    for (p = 0; p < m; p++) {
        wcoh_complex w1 = fft->roots[p * s], w2 = fft->roots[2 * p * s];
        const wcoh_complex *a = x + s * p, *b = a + s * m, *c = b + s * m;
        wcoh_complex *out = y + 3 * s * p;
        for (q = 0; q < s; q++) {
            wcoh_complex t = wcohi_cadd(b[q], c[q]), d = wcohi_csub(b[q], c[q]), e, f;
            e.re = a[q].re - 0.5 * t.re + h * d.im;
            e.im = a[q].im - 0.5 * t.im - h * d.re;
            f.re = a[q].re - 0.5 * t.re - h * d.im;
            f.im = a[q].im - 0.5 * t.im + h * d.re;
            out[q] = wcohi_cadd(a[q], t);
            out[q + s] = wcohi_cmul(w1, e);
            out[q + 2 * s] = wcohi_cmul(w2, f);
        }
    }
}

static void wcohi_fft_step4(const wcohi_fft *fft, int m, int s, const wcoh_complex *x,
                            wcoh_complex *y)
{
    int p, q;
    for (p = 0; p < m; p++) {
        wcoh_complex w1 = fft->roots[p * s], w2 = fft->roots[2 * p * s], w3 = fft->roots[3 * p * s];
        const wcoh_complex *a = x + s * p, *b = a + s * m, *c = b + s * m, *d = c + s * m;
        wcoh_complex *out = y + 4 * s * p;
        for (q = 0; q < s; q++) {
            wcoh_complex t0 = wcohi_cadd(a[q], c[q]), t1 = wcohi_csub(a[q], c[q]);
            wcoh_complex t2 = wcohi_cadd(b[q], d[q]), t3 = wcohi_csub(b[q], d[q]), e, f;
            e.re = t1.re + t3.im;
            e.im = t1.im - t3.re;
            f.re = t1.re - t3.im;
            f.im = t1.im + t3.re;
            out[q] = wcohi_cadd(t0, t2);
            out[q + s] = wcohi_cmul(w1, e);
            out[q + 2 * s] = wcohi_cmul(w2, wcohi_csub(t0, t2));
            out[q + 3 * s] = wcohi_cmul(w3, f);
        }
    }
}

/* Any odd radix r <= WCOHI_FFT_PRIME, O(r^2). */
static void wcohi_fft_step(const wcohi_fft *fft, int r, int m, int s, const wcoh_complex *x,
                           wcoh_complex *y)
{
    int p, q, j, k, turn = fft->n / r;
    for (p = 0; p < m; p++) {
        for (q = 0; q < s; q++) {
            const wcoh_complex *a = x + q + s * p;
            wcoh_complex *out = y + q + r * s * p;
            for (j = 0; j < r; j++) {
                wcoh_complex sum = a[0];
                for (k = 1; k < r; k++)
                    sum = wcohi_cadd(sum, wcohi_cmul(fft->roots[j * k % r * turn], a[k * s * m]));
                out[j * s] = wcohi_cmul(fft->roots[(size_t)j * (size_t)p * (size_t)s], sum);
            }
        }
    }
}

/* A length of small factors alone, one step a factor; the result as of wcohi_fft_run. */
static const wcoh_complex *wcohi_fft_small(const wcohi_fft *fft, wcoh_complex *x,
                                           wcoh_complex *scratch)
{
    wcoh_complex *from = x, *to = scratch, *swap;
    int i, s = 1, n = fft->n;
    for (i = 0; i < fft->steps; i++) {
        int r = fft->radix[i], m = n / r;
        if (r == 4) wcohi_fft_step4(fft, m, s, from, to);
        else if (r == 2) wcohi_fft_step2(fft, m, s, from, to);
        else if (r == 3) wcohi_fft_step3(fft, m, s, from, to);
        else wcohi_fft_step(fft, r, m, s, from, to);
        n = m;
        s *= r;
        swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* Factors into fft->radix, fours first; returns what is left: 1, or a factor with a large prime. */
static int wcohi_fft_factor(wcohi_fft *fft, int n)
{
    int radix = 4;
    fft->steps = 0;
    while (n > 1) {
        while (n % radix) {
            radix = radix == 4 ? 2 : radix == 2 ? 3 : radix + 2;
            if (radix > WCOHI_FFT_PRIME) return n;
        }
        fft->radix[fft->steps++] = radix;
        n /= radix;
    }
    return 1;
}

/* The least 2^a 3^b 5^c at or above n. */
static int wcohi_fft_smooth(int n)
{
    for (;; n++) {
        int rest = n;
        while (rest % 2 == 0) rest /= 2;
        while (rest % 3 == 0) rest /= 3;
        while (rest % 5 == 0) rest /= 5;
        if (rest == 1) return n;
    }
}

static const wcoh_complex *wcohi_fft_roots(int n, wcohi_arena *arena)
{
    wcoh_complex *roots = WCOHI_TAKE(arena, n, wcoh_complex);
    int k;
    if (!roots) return NULL;
    for (k = 0; k < n; k++) roots[k] = wcohi_cis(2 * wcohi_pi * k / n);
    return roots;
}

/* Plan the transform of n points; an arena that only measures leaves the tables NULL. */
static void wcohi_fft_plan(wcohi_fft *fft, int n, wcohi_arena *arena)
{
    wcoh_complex *chirp, *filter, *work;
    int k, m;
    memset(fft, 0, sizeof *fft);
    fft->n = n;
    if (wcohi_fft_factor(fft, n) == 1) {
        fft->scratch = (size_t)n;
        fft->roots = wcohi_fft_roots(n, arena);
        return;
    }
    m = wcohi_fft_smooth(2 * n - 1);
    fft->scratch = 2 * (size_t)m;
    chirp = WCOHI_TAKE(arena, n, wcoh_complex);
    filter = WCOHI_TAKE(arena, m, wcoh_complex);
    work = WCOHI_TAKE(arena, m, wcoh_complex);
    fft->inner = WCOHI_TAKE(arena, 1, wcohi_fft);
    fft->chirp = chirp;
    fft->filter = filter;
    if (!fft->inner) {
        wcohi_fft measured;
        wcohi_fft_plan(&measured, m, arena);
        return;
    }
    wcohi_fft_plan(fft->inner, m, arena);
    memset(filter, 0, (size_t)m * sizeof *filter);
    for (k = 0; k < n; k++) {
        uint64_t square = (uint64_t)k * (uint64_t)k % (2 * (uint64_t)n);
        chirp[k] = wcohi_cis(wcohi_pi * (double)square / n);
        filter[k].re = chirp[k].re / m;
        filter[k].im = -chirp[k].im / m;
        if (k) filter[m - k] = filter[k];
    }
    memcpy(filter, wcohi_fft_small(fft->inner, filter, work), (size_t)m * sizeof *filter);
}

/* X_k = chirp_k sum_j (x_j chirp_j) conj(chirp_{k-j}); the inverse inner transform runs on swapped
   parts. */
static const wcoh_complex *wcohi_fft_bluestein(const wcohi_fft *fft, wcoh_complex *x,
                                               wcoh_complex *scratch)
{
    int n = fft->n, m = fft->inner->n, k;
    wcoh_complex *a = scratch, *b = scratch + m;
    const wcoh_complex *spectrum, *result;
    for (k = 0; k < n; k++) a[k] = wcohi_cmul(x[k], fft->chirp[k]);
    memset(a + n, 0, (size_t)(m - n) * sizeof *a);
    spectrum = wcohi_fft_small(fft->inner, a, b);
    for (k = 0; k < m; k++) {
        wcoh_complex product = wcohi_cmul(spectrum[k], fft->filter[k]);
        a[k].re = product.im;
        a[k].im = product.re;
    }
    result = wcohi_fft_small(fft->inner, a, b);
    for (k = 0; k < n; k++) {
        wcoh_complex value;
        value.re = result[k].im;
        value.im = result[k].re;
        x[k] = wcohi_cmul(value, fft->chirp[k]);
    }
    return x;
}

/* Transform x [n]; the result lies in x or in scratch, whichever is returned. */
static const wcoh_complex *wcohi_fft_run(const wcohi_fft *fft, wcoh_complex *x,
                                         wcoh_complex *scratch)
{
    return fft->inner ? wcohi_fft_bluestein(fft, x, scratch) : wcohi_fft_small(fft, x, scratch);
}

/* Real data of even length n goes as n/2 complex points, odd lengths as they are. */
struct wcoh_dft {
    wcohi_allocation block;
    int n;
    wcohi_fft fft;
    const wcoh_complex *twist; /* [n/2+1] exp(-2 pi i k/n), even lengths */
    wcoh_complex *x, *scratch;
};

static void wcohi_dft_layout(wcoh_dft *dft, int n, wcohi_arena *arena)
{
    wcoh_complex *twist;
    int k;
    dft->n = n;
    wcohi_fft_plan(&dft->fft, n % 2 ? n : n / 2, arena);
    twist = WCOHI_TAKE(arena, n / 2 + 1, wcoh_complex);
    dft->x = WCOHI_TAKE(arena, n, wcoh_complex);
    dft->scratch = WCOHI_TAKE(arena, dft->fft.scratch, wcoh_complex);
    for (k = 0; twist && k <= n / 2; k++) twist[k] = wcohi_cis(2 * wcohi_pi * k / n);
    dft->twist = twist;
}

WCOH_API wcoh_result wcoh_dft_create(wcoh_dft **dft, int length, const wcoh_memory *memory,
                                     wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_dft measured, *made;
    wcoh_result result;
    if (!dft) return wcohi_null("dft", error);
    *dft = NULL;
    if (length < 1 || length > 1 << 26)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "dft: length is %d, allowed 1..%d", length,
                          1 << 26);
    WCOHI_TAKE(&arena, 1, wcoh_dft);
    wcohi_dft_layout(&measured, length, &arena);
    result = wcohi_allocation_take(&block, &arena, memory, arena.used, "dft", error);
    if (result) return result;
    made = WCOHI_TAKE(&arena, 1, wcoh_dft);
    made->block = block;
    wcohi_dft_layout(made, length, &arena);
    *dft = made;
    return WCOH_OK;
}

WCOH_API void wcoh_dft_destroy(wcoh_dft *dft)
{
    if (dft) wcohi_allocation_give(&dft->block);
}

WCOH_API int wcoh_dft_length(const wcoh_dft *dft) { return dft ? dft->n : 0; }

WCOH_API int wcoh_dft_bins(const wcoh_dft *dft) { return dft ? dft->n / 2 + 1 : 0; }

/* Number j of the input into its place in dft->x. */
static void wcohi_dft_put(wcoh_dft *dft, int j, double value)
{
    if (dft->n % 2) {
        dft->x[j].re = value;
        dft->x[j].im = 0;
    } else if (j % 2) {
        dft->x[j / 2].im = value;
    } else {
        dft->x[j / 2].re = value;
    }
}

/* Bin k from the complex transform z. Even n: z_j was x_2j + i x_2j+1, Z_{n/2} = Z_0, and
   X_k = (Z_k + conj Z_{n/2-k}) / 2 - i/2 e^{-2 pi i k/n} (Z_k - conj Z_{n/2-k}). */
static wcoh_complex wcohi_dft_bin(const wcoh_dft *dft, const wcoh_complex *z, int k)
{
    int m = dft->n / 2;
    wcoh_complex a, b, even, odd;
    if (dft->n % 2) return z[k];
    a = z[k % m];
    b = z[(m - k) % m];
    even.re = (a.re + b.re) / 2;
    even.im = (a.im - b.im) / 2;
    odd.re = (a.im + b.im) / 2;
    odd.im = (b.re - a.re) / 2;
    even = wcohi_cadd(even, wcohi_cmul(dft->twist[k], odd));
    if (k == 0 || k == m) even.im = 0;
    return even;
}

WCOH_API void wcoh_dft_forward(wcoh_dft *dft, const double *x, wcoh_complex *bins)
{
    const wcoh_complex *z;
    int k;
    if (!dft || !x || !bins) return;
    for (k = 0; k < dft->n; k++) wcohi_dft_put(dft, k, x[k]);
    z = wcohi_fft_run(&dft->fft, dft->x, dft->scratch);
    for (k = 0; k <= dft->n / 2; k++) bins[k] = wcohi_dft_bin(dft, z, k);
}

/* The forward steps backwards; the inverse complex transform runs on swapped parts. */
WCOH_API void wcoh_dft_inverse(wcoh_dft *dft, const wcoh_complex *bins, double *x)
{
    int n = dft ? dft->n : 0, m = n / 2, k;
    wcoh_complex *z = dft ? dft->x : NULL;
    const wcoh_complex *y;
    if (!dft || !bins || !x) return;
    if (n % 2) {
        for (k = 0; k < n; k++) {
            wcoh_complex bin = bins[k <= m ? k : n - k];
            z[k].re = k == 0 ? 0 : k <= m ? bin.im : -bin.im;
            z[k].im = bin.re;
        }
        y = wcohi_fft_run(&dft->fft, z, dft->scratch);
        for (k = 0; k < n; k++) x[k] = y[k].im / n;
        return;
    }
    for (k = 0; k < m; k++) {
        wcoh_complex a = bins[k], b = bins[m - k], even, odd, w = dft->twist[k];
        if (k == 0) a.im = b.im = 0;
        w.im = -w.im;
        even.re = a.re + b.re;
        even.im = a.im - b.im;
        odd.re = a.re - b.re;
        odd.im = a.im + b.im;
        odd = wcohi_cmul(w, odd);
        z[k].im = even.re - odd.im; /* even + i odd, parts swapped */
        z[k].re = even.im + odd.re;
    }
    y = wcohi_fft_run(&dft->fft, z, dft->scratch);
    for (k = 0; k < m; k++) {
        x[2 * k] = y[k].im / n;
        x[2 * k + 1] = y[k].re / n;
    }
}

/* The kernels that a cpu desc asks for. */
static wcoh_result wcohi_toolkit_kernels_for(const wcohi_toolkit_kernels **kernels, wcoh_isa asked,
                                             wcoh_error *error)
{
    wcoh_isa isa;
    wcoh_result result = wcohi_isa_choose(&isa, asked, error);
    if (!result) *kernels = wcohi_kernels_for(isa)->toolkit;
    return result;
}

/* ---- spectral coherence ---------------------------------------------------------------------- */

/* A vector becomes n columns: its dimensions, or the real and imaginary parts of its DFT bins in
   order (DC and an even length's Nyquist bin have one column each). A band is a range of columns.
   In the DFT's orthonormal columns a random direction is again a random direction, only the two
   single columns weigh twice as much; so the rotation null draws columns and needs no DFT.
   A random pair with cosine c: normals g1, g2 [n]; a = g1, b = alpha g1 + beta g2 with
   beta = sqrt(1 - c^2)/|g2 - proj g2|, alpha = c/|g1| - beta g1.g2/|g1|^2. */

/* pairs are cut into so many chunks, whatever the threads */
enum { WCOHI_PAIR_CHUNKS = 64 };
/* figures of a pair in one array: cosine, variance, cancellation, positive, then the bands */
enum { WCOHI_COSINE, WCOHI_VARIANCE, WCOHI_CANCELLATION, WCOHI_POSITIVE, WCOHI_BAND };

/* Draws against a value: Welford's running mean and sum of squares of draw - value. */
typedef struct wcohi_tally {
    double value, mean, squares, below;
    int draws;
} wcohi_tally;

typedef struct wcohi_spectral_slot {
    wcoh_complex *z, *work; /* [n], [fft.scratch] */
    double *u, *v;          /* [n] columns of a and b */
    wcoh_real *g;           /* [2n] */
    int *order;             /* [n] */
    double *figures;        /* [4 + bands] */
    wcohi_tally *tallies;   /* [4 + bands] */
} wcohi_spectral_slot;

struct wcoh_spectral {
    wcohi_allocation block;
    wcoh_spectral_desc desc;
    const wcohi_toolkit_kernels *kernels;
    wcohi_pool *pool;
    wcohi_fft fft;
    int edges[WCOHI_BANDS + 1]; /* band i is columns edges[i] .. edges[i+1]-1 */
    wcohi_spectral_slot *slots;
    double *sums; /* [chunks, 1 + draws, 4 + bands]: values, then each draw */
};

WCOHI_COLD wcoh_result wcohi_spectral_check(wcoh_spectral_desc *desc, wcoh_error *error)
{
    wcoh_result result = wcohi_fields_resolve(WCOH_DESC_SPECTRAL, desc, error);
    int n = desc->dimensions, bins = desc->split == WCOH_SPLIT_DFT ? n / 2 + 1 : n;
    if (result) return result;
    if (desc->bands == 0) desc->bands = WCOHI_MIN(8, bins);
    if (desc->bands > bins)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "bands is %d: vectors of %d dimensions have %d bins, allowed are 1 to %d",
                          desc->bands, n, bins, WCOHI_MIN(bins, WCOHI_BANDS));
    return wcohi_cpu_desc_check(&desc->cpu, error);
}

static int wcohi_spectral_draws(const wcoh_spectral *s) { return WCOHI_MAX(s->desc.draws, 0); }

static int wcohi_spectral_width(const wcoh_spectral *s) { return WCOHI_BAND + s->desc.bands; }

static void wcohi_spectral_edges(wcoh_spectral *s)
{
    int n = s->desc.dimensions, bands = s->desc.bands, i;
    int bins = s->desc.split == WCOH_SPLIT_DFT ? n / 2 + 1 : n, size = bins / bands;
    for (i = 0; i <= bands; i++) {
        int bin = i < bands ? i * size : bins;
        if (s->desc.split == WCOH_SPLIT_DFT) bin = bin ? WCOHI_MIN(2 * bin - 1, n) : 0;
        s->edges[i] = bin;
    }
}

WCOHI_COLD void wcohi_spectral_layout(wcoh_spectral *s, int slots, wcohi_arena *arena)
{
    size_t n = (size_t)s->desc.dimensions, width = (size_t)wcohi_spectral_width(s);
    size_t passes = wcohi_add(1, (size_t)wcohi_spectral_draws(s));
    int i;
    wcohi_spectral_slot slot;
    wcohi_fft_plan(&s->fft, s->desc.dimensions, arena);
    s->slots = WCOHI_TAKE(arena, slots, wcohi_spectral_slot);
    for (i = 0; i < slots; i++) {
        slot.z = WCOHI_TAKE(arena, n, wcoh_complex);
        slot.work = WCOHI_TAKE(arena, s->fft.scratch, wcoh_complex);
        slot.u = WCOHI_TAKE(arena, n, double);
        slot.v = WCOHI_TAKE(arena, n, double);
        slot.g = WCOHI_TAKE(arena, wcohi_mul(2, n), wcoh_real);
        slot.order = WCOHI_TAKE(arena, n, int);
        slot.figures = WCOHI_TAKE(arena, width, double);
        slot.tallies = WCOHI_TAKE(arena, width, wcohi_tally);
        if (s->slots) s->slots[i] = slot;
    }
    s->sums = WCOHI_TAKE(arena, wcohi_mul(WCOHI_PAIR_CHUNKS, wcohi_mul(width, passes)), double);
    wcohi_spectral_edges(s);
}

WCOH_API wcoh_result wcoh_spectral_create(wcoh_spectral **spectral, const wcoh_spectral_desc *desc,
                                          wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcoh_spectral measured, *made;
    wcohi_allocation block;
    wcohi_pool *pool;
    wcoh_result result;
    size_t pool_bytes;
    void *pool_memory;
    int slots;
    if (!spectral) return wcohi_null("spectral", error);
    *spectral = NULL;
    if (!desc) return wcohi_fail(error, WCOH_E_ARGUMENT, "spectral: desc is NULL");
    memset(&measured, 0, sizeof measured);
    measured.desc = *desc;
    result = wcohi_spectral_check(&measured.desc, error);
    if (result) return result;
    result = wcohi_toolkit_kernels_for(&measured.kernels, desc->cpu.isa, error);
    if (result) return result;
    pool_bytes = wcohi_pool_bytes(&desc->cpu);
    slots = wcohi_pool_width(&desc->cpu);
    WCOHI_TAKE(&arena, 1, wcoh_spectral);
    WCOHI_TAKE(&arena, pool_bytes, unsigned char);
    wcohi_spectral_layout(&measured, slots, &arena);
    result = wcohi_allocation_take(&block, &arena, &desc->memory, arena.used, "spectral", error);
    if (result) return result;
    made = WCOHI_TAKE(&arena, 1, wcoh_spectral);
    pool_memory = WCOHI_TAKE(&arena, pool_bytes, unsigned char);
    *made = measured;
    made->block = block;
    wcohi_spectral_layout(made, slots, &arena);
    result = wcohi_pool_open(&pool, pool_memory, &desc->cpu, error);
    if (result) {
        wcohi_allocation_give(&block);
        return result;
    }
    made->pool = pool;
    *spectral = made;
    return WCOH_OK;
}

WCOH_API void wcoh_spectral_destroy(wcoh_spectral *spectral)
{
    if (!spectral) return;
    wcohi_pool_close(spectral->pool);
    wcohi_allocation_give(&spectral->block);
}

WCOH_API const wcoh_spectral_desc *wcoh_spectral_get_desc(const wcoh_spectral *spectral)
{
    return spectral ? &spectral->desc : NULL;
}

/* Columns u, v of a, b [n], taken in the order given (NULL: as they are). One complex transform
   of a + ib serves both: A_k = (Z_k + conj Z_{n-k})/2, B_k = (Z_k - conj Z_{n-k})/2i. */
static void wcohi_spectral_columns(const wcoh_spectral *s, wcohi_spectral_slot *slot,
                                   const float *a, const float *b, const int *order)
{
    int n = s->desc.dimensions, k;
    double *u = slot->u, *v = slot->v;
    const wcoh_complex *z;
    for (k = 0; k < n; k++) {
        int from = order ? order[k] : k;
        u[k] = slot->z[k].re = (double)a[from];
        v[k] = slot->z[k].im = (double)b[from];
    }
    if (s->desc.split == WCOH_SPLIT_BLOCKS) return;
    z = wcohi_fft_run(&s->fft, slot->z, slot->work);
    u[0] = z[0].re;
    v[0] = z[0].im;
    for (k = 1; 2 * k < n; k++) {
        wcoh_complex p = z[k], q = z[n - k];
        u[2 * k - 1] = (p.re + q.re) / 2;
        u[2 * k] = (p.im - q.im) / 2;
        v[2 * k - 1] = (p.im + q.im) / 2;
        v[2 * k] = (q.re - p.re) / 2;
    }
    if (n % 2 == 0 && n > 1) {
        u[n - 1] = z[n / 2].re;
        v[n - 1] = z[n / 2].im;
    }
}

/* Population variance of the band coherences [bands]. */
static double wcohi_band_variance(const double *coherence, int bands)
{
    double mean = 0, sum = 0;
    int i;
    for (i = 0; i < bands; i++) mean += coherence[i] / bands;
    for (i = 0; i < bands; i++) sum += (coherence[i] - mean) * (coherence[i] - mean);
    return sum / bands;
}

static double wcohi_ratio(double ab, double aa, double bb)
{
    double power = aa * bb;
    return power > 0 ? ab / sqrt(power) : 0;
}

/* Band coherences and their variance from the slot's columns into figures. */
static void wcohi_spectral_bands(const wcoh_spectral *s, const wcohi_spectral_slot *slot,
                                 double *figures)
{
    int i, c;
    for (i = 0; i < s->desc.bands; i++) {
        double aa = 0, ab = 0, bb = 0;
        for (c = s->edges[i]; c < s->edges[i + 1]; c++) {
            aa += slot->u[c] * slot->u[c];
            ab += slot->u[c] * slot->v[c];
            bb += slot->v[c] * slot->v[c];
        }
        figures[WCOHI_BAND + i] = wcohi_ratio(ab, aa, bb);
    }
    figures[WCOHI_VARIANCE] = wcohi_band_variance(figures + WCOHI_BAND, s->desc.bands);
}

/* Cosine, cancellation and share of positive products of a, b [n] into figures. */
static void wcohi_spectral_products(const float *a, const float *b, int n, double *figures)
{
    double aa = 0, bb = 0, sum = 0, size = 0, above = 0;
    int i;
    for (i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i], p = x * y;
        aa += x * x;
        bb += y * y;
        sum += p;
        size += fabs(p);
        above += p > 0;
    }
    figures[WCOHI_COSINE] = wcohi_ratio(sum, aa, bb);
    figures[WCOHI_CANCELLATION] = size > 0 ? fabs(sum) / size : 0;
    figures[WCOHI_POSITIVE] = above / n;
}

/* Uniform numbers u1 [n] in (0, 1] and u2 [n] in [0, 1), 24 bits each, side by side in g [2n]. */
static void wcohi_uniforms(wcoh_rng *rng, wcoh_real *g, int n)
{
    const wcoh_real unit = (wcoh_real)(1.0 / 16777216.0);
    int i;
    for (i = 0; i < n; i++) {
        uint64_t bits = wcoh_rng_next(rng);
        g[i] = (wcoh_real)((int32_t)(bits >> 40) + 1) * unit;
        g[n + i] = (wcoh_real)(int32_t)(bits >> 8 & 0xffffff) * unit;
    }
}

/* One draw of the rotation null for a pair of the given cosine. */
static void wcohi_draw_rotation(const wcoh_spectral *s, wcohi_spectral_slot *slot, double cosine,
                                wcoh_rng *rng, double *figures)
{
    int n = s->desc.dimensions, bands = s->desc.bands, i;
    double gram[WCOHI_BANDS][3], total[3] = {0, 0, 0}, sums[3], rest, alpha, beta;
    wcoh_real *g1 = slot->g, *g2 = slot->g + n;
    wcohi_uniforms(rng, slot->g, n);
    s->kernels->normals(g1, g2, n);
    for (i = 0; i < bands; i++) {
        int from = s->edges[i], count = s->edges[i + 1] - from;
        s->kernels->gram(g1 + from, g2 + from, count, gram[i]);
        total[0] += gram[i][0];
        total[1] += gram[i][1];
        total[2] += gram[i][2];
    }
    rest = total[2] - total[1] * total[1] / total[0];
    beta = n > 1 && rest > 0 ? sqrt(WCOHI_MAX(0.0, 1 - cosine * cosine) / rest) : 0;
    alpha = cosine / sqrt(total[0]) - beta * total[1] / total[0];
    if (s->desc.split == WCOH_SPLIT_DFT) { /* the single columns weigh double */
        int last = n - 1, twice = n > 1 && n % 2 == 0;
        double single[3];
        s->kernels->gram(g1, g2, 1, single);
        for (i = 0; i < 3; i++) gram[0][i] += single[i];
        s->kernels->gram(g1 + last, g2 + last, twice, single);
        for (i = 0; i < 3; i++) gram[bands - 1][i] += single[i];
    }
    for (i = 0; i < bands; i++) {
        double aa = gram[i][0], ab = alpha * aa + beta * gram[i][1];
        double bb = alpha * (ab + beta * gram[i][1]) + beta * beta * gram[i][2];
        figures[WCOHI_BAND + i] = wcohi_ratio(ab, aa, bb);
    }
    figures[WCOHI_VARIANCE] = wcohi_band_variance(figures + WCOHI_BAND, bands);
    s->kernels->product(g1, g2, (wcoh_real)alpha, (wcoh_real)beta, n, sums);
    figures[WCOHI_COSINE] = cosine;
    figures[WCOHI_CANCELLATION] = sums[1] > 0 ? fabs(sums[0]) / sums[1] : 0;
    figures[WCOHI_POSITIVE] = sums[2] / n;
}

/* One draw of the permutation null; cosine, cancellation and share do not depend on the order. */
static void wcohi_draw_permutation(const wcoh_spectral *s, wcohi_spectral_slot *slot,
                                   const float *a, const float *b, wcoh_rng *rng, double *figures)
{
    int n = s->desc.dimensions, i, *order = slot->order;
    for (i = 0; i < n; i++) order[i] = i;
    for (i = n - 1; i > 0; i--) {
        int j = (int)wcohi_rng_below(rng, (uint64_t)i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    wcohi_spectral_columns(s, slot, a, b, order);
    wcohi_spectral_bands(s, slot, figures);
    figures[WCOHI_COSINE] = slot->tallies[WCOHI_COSINE].value;
    figures[WCOHI_CANCELLATION] = slot->tallies[WCOHI_CANCELLATION].value;
    figures[WCOHI_POSITIVE] = slot->tallies[WCOHI_POSITIVE].value;
}

static void wcohi_tally_start(wcohi_tally *tally, double value)
{
    memset(tally, 0, sizeof *tally);
    tally->value = value;
}

/* How far apart two results for one number may lie by rounding. Coherences and shares are sums over
   up to 2^20 products in double, right to WCOHI_TIE; a variance v, the mean square of deviations so
   far off, moves by 2 sqrt(v) times that, and its square. */
#define WCOHI_TIE 1e-12
static double wcohi_tie(int figure, double a, double b)
{
    if (figure != WCOHI_VARIANCE) return WCOHI_TIE;
    return 2 * WCOHI_TIE * sqrt(WCOHI_MAX(fabs(a), fabs(b))) + WCOHI_TIE * WCOHI_TIE;
}

static void wcohi_tally_add(wcohi_tally *tally, int figure, double draw)
{
    double d = draw - tally->value, step;
    if (fabs(d) <= wcohi_tie(figure, draw, tally->value)) d = 0;
    tally->below += d < 0 ? 1 : d > 0 ? 0 : 0.5;
    step = d - tally->mean;
    tally->mean += step / ++tally->draws;
    tally->squares += step * (d - tally->mean);
}

static wcoh_figure wcohi_tally_figure(const wcohi_tally *tally, int figure)
{
    wcoh_figure f;
    memset(&f, 0, sizeof f);
    f.value = tally->value;
    if (tally->draws < 1) return f;
    f.mean = tally->value + tally->mean;
    f.percentile = 100 * tally->below / tally->draws;
    if (tally->draws < 2) return f;
    f.deviation = sqrt(tally->squares / (tally->draws - 1));
    if (f.deviation <= wcohi_tie(figure, f.mean, f.value)) f.deviation = 0;
    if (f.deviation > 0) f.z = -tally->mean / f.deviation;
    return f;
}

typedef struct wcohi_spectral_job {
    wcoh_spectral *s;
    const float *vectors;
    const uint32_t *pairs;
    size_t count;
    int chunks;
    wcoh_pair_figures *each;
    wcoh_figure *bands;
} wcohi_spectral_job;

static wcoh_pair_figures wcohi_pair_figures_of(const wcohi_tally *tallies)
{
    wcoh_pair_figures pair;
    pair.cosine = tallies[WCOHI_COSINE].value;
    pair.variance = wcohi_tally_figure(&tallies[WCOHI_VARIANCE], WCOHI_VARIANCE);
    pair.cancellation = wcohi_tally_figure(&tallies[WCOHI_CANCELLATION], WCOHI_CANCELLATION);
    pair.positive = wcohi_tally_figure(&tallies[WCOHI_POSITIVE], WCOHI_POSITIVE);
    return pair;
}

/* One pair: its figures, its null, and both added to the chunk's sums [1 + draws, width]. */
static void wcohi_spectral_pair(const wcohi_spectral_job *job, size_t pair,
                                wcohi_spectral_slot *slot, double *sums)
{
    const wcoh_spectral *s = job->s;
    int n = s->desc.dimensions, draws = wcohi_spectral_draws(s), width = wcohi_spectral_width(s);
    const float *a = job->vectors + (size_t)job->pairs[2 * pair] * (size_t)n;
    const float *b = job->vectors + (size_t)job->pairs[2 * pair + 1] * (size_t)n;
    double *figures = slot->figures;
    wcoh_rng rng = wcoh_rng_seed(s->desc.seed + 0x632be59bd9b4e019ull * (uint64_t)(pair + 1));
    int d, i;
    wcohi_spectral_products(a, b, n, figures);
    wcohi_spectral_columns(s, slot, a, b, NULL);
    wcohi_spectral_bands(s, slot, figures);
    for (i = 0; i < width; i++) {
        sums[i] += figures[i];
        wcohi_tally_start(&slot->tallies[i], figures[i]);
    }
    for (d = 0; d < draws; d++) {
        sums += width;
        if (s->desc.null == WCOH_NULL_PERMUTATION)
            wcohi_draw_permutation(s, slot, a, b, &rng, figures);
        else wcohi_draw_rotation(s, slot, slot->tallies[WCOHI_COSINE].value, &rng, figures);
        for (i = 0; i < width; i++) {
            sums[i] += figures[i];
            wcohi_tally_add(&slot->tallies[i], i, figures[i]);
        }
    }
    if (job->each) job->each[pair] = wcohi_pair_figures_of(slot->tallies);
    for (i = 0; job->bands && i < s->desc.bands; i++)
        job->bands[pair * (size_t)s->desc.bands + (size_t)i] =
            wcohi_tally_figure(&slot->tallies[WCOHI_BAND + i], WCOHI_BAND + i);
}

/* floor(count index / parts), where that product may be too large: the first of part `index`. */
static size_t wcohi_part_start(size_t count, size_t index, size_t parts)
{
    return count / parts * index + count % parts * index / parts;
}

static void wcohi_spectral_chunk(int index, int slot, void *user)
{
    const wcohi_spectral_job *job = (const wcohi_spectral_job *)user;
    size_t chunk = (size_t)index, chunks = (size_t)job->chunks, pair;
    size_t size = (size_t)wcohi_spectral_width(job->s) * (1 + (size_t)wcohi_spectral_draws(job->s));
    size_t end = wcohi_part_start(job->count, chunk + 1, chunks);
    double *sums = job->s->sums + chunk * size;
    memset(sums, 0, size * sizeof *sums);
    for (pair = wcohi_part_start(job->count, chunk, chunks); pair < end; pair++)
        wcohi_spectral_pair(job, pair, &job->s->slots[slot], sums);
}

/* The group's means: chunk sums added in order, the null drawn for the mean itself. */
static void wcohi_spectral_group(const wcohi_spectral_job *job, wcoh_pair_figures *mean,
                                 wcoh_figure *profile)
{
    const wcoh_spectral *s = job->s;
    size_t width = (size_t)wcohi_spectral_width(s), draws = (size_t)wcohi_spectral_draws(s);
    wcohi_tally *tallies = s->slots[0].tallies;
    size_t d, i;
    int chunk;
    for (d = 0; d <= draws; d++) {
        for (i = 0; i < width; i++) {
            double sum = 0;
            for (chunk = 0; chunk < job->chunks; chunk++)
                sum += s->sums[((size_t)chunk * (draws + 1) + d) * width + i];
            sum /= (double)job->count;
            if (d == 0) wcohi_tally_start(&tallies[i], sum);
            else wcohi_tally_add(&tallies[i], (int)i, sum);
        }
    }
    if (mean) *mean = wcohi_pair_figures_of(tallies);
    for (i = 0; profile && i < (size_t)s->desc.bands; i++)
        profile[i] = wcohi_tally_figure(&tallies[WCOHI_BAND + i], (int)(WCOHI_BAND + i));
}

/* All values [count, n] there and finite, else the error names the first that is not. */
static wcoh_result wcohi_check_vectors(const float *vectors, size_t count, size_t n,
                                       const char *what, wcoh_error *error)
{
    size_t total = wcohi_mul(count, n), i;
    if (!vectors) return wcohi_fail(error, WCOH_E_ARGUMENT, "%s: the vectors are NULL", what);
    if (wcohi_mul(total, sizeof *vectors) == WCOHI_SIZE_BAD)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "%s: %llu x %llu numbers do not fit this machine",
                          what, (unsigned long long)count, (unsigned long long)n);
    for (i = 0; i < total; i++)
        if (!wcohi_is_finite((double)vectors[i]))
            return wcohi_fail(error, WCOH_E_ARGUMENT,
                              "%s: vector %llu, dimension %llu is not finite", what,
                              (unsigned long long)(i / n), (unsigned long long)(i % n));
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_spectral_pairs(wcoh_spectral *spectral, const float *vectors,
                                         size_t vector_count, const uint32_t *pairs, size_t count,
                                         wcoh_pair_figures *each, wcoh_figure *bands,
                                         wcoh_pair_figures *mean, wcoh_figure *profile,
                                         wcoh_error *error)
{
    wcohi_spectral_job job;
    size_t n, i;
    double work;
    if (!spectral || !pairs)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "spectral: it or the pairs are NULL");
    if (count < 1 || wcohi_mul(count, 2 * sizeof *pairs) == WCOHI_SIZE_BAD)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "spectral: %llu pairs are none, or too many",
                          (unsigned long long)count);
    n = (size_t)spectral->desc.dimensions;
    for (i = 0; i < 2 * count; i++)
        if (pairs[i] >= vector_count)
            return wcohi_fail(error, WCOH_E_ARGUMENT,
                              "spectral: pair %llu names vector %lu of %llu",
                              (unsigned long long)(i / 2), (unsigned long)pairs[i],
                              (unsigned long long)vector_count);
    if (wcohi_check_vectors(vectors, vector_count, n, "spectral", error)) return WCOH_E_ARGUMENT;
    job.s = spectral;
    job.vectors = vectors;
    job.pairs = pairs;
    job.count = count;
    job.chunks = (int)WCOHI_MIN(count, (size_t)WCOHI_PAIR_CHUNKS);
    job.each = each;
    job.bands = bands;
    work = (double)count * (double)n * 20 * (1 + wcohi_spectral_draws(spectral));
    wcohi_pool_run(spectral->pool, job.chunks, work, wcohi_spectral_chunk, &job);
    if (mean || profile) wcohi_spectral_group(&job, mean, profile);
    return WCOH_OK;
}

/* Shares of energy of one vector [bands] from the slot's columns u, added to sums. The DFT's inner
   columns count twice: Parseval. */
static void wcohi_energy_add(const wcoh_spectral *s, const wcohi_spectral_slot *slot, double *sums)
{
    int n = s->desc.dimensions, dft = s->desc.split == WCOH_SPLIT_DFT, i, c;
    double band[WCOHI_BANDS], total = 0;
    for (i = 0; i < s->desc.bands; i++) {
        band[i] = 0;
        for (c = s->edges[i]; c < s->edges[i + 1]; c++) {
            int single = c == 0 || (c == n - 1 && n % 2 == 0);
            band[i] += slot->u[c] * slot->u[c] * (dft && !single ? 2 : 1);
        }
        total += band[i];
    }
    for (i = 0; total > 0 && i < s->desc.bands; i++) sums[i] += band[i] / total;
}

static void wcohi_energy_chunk(int index, int slot, void *user)
{
    const wcohi_spectral_job *job = (const wcohi_spectral_job *)user;
    wcoh_spectral *s = job->s;
    size_t chunk = (size_t)index, chunks = (size_t)job->chunks, n = (size_t)s->desc.dimensions, row;
    size_t end = wcohi_part_start(job->count, chunk + 1, chunks);
    double *sums = s->sums + chunk * (size_t)s->desc.bands;
    memset(sums, 0, (size_t)s->desc.bands * sizeof *sums);
    for (row = wcohi_part_start(job->count, chunk, chunks); row < end; row++) {
        const float *x = job->vectors + row * n;
        wcohi_spectral_columns(s, &s->slots[slot], x, x, NULL);
        wcohi_energy_add(s, &s->slots[slot], sums);
    }
}

/* The share of d of n columns of a random direction has Beta(d/2, (n-d)/2): mean d/n, variance
   2 d (n-d) / (n^2 (n+2)). */
WCOH_API wcoh_result wcoh_spectral_energy(wcoh_spectral *spectral, const float *vectors,
                                          size_t count, wcoh_figure *bands, wcoh_error *error)
{
    wcohi_spectral_job job;
    double n = spectral ? spectral->desc.dimensions : 0;
    int i, chunk;
    if (!spectral || !bands)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "spectral: it or the bands are NULL");
    if (count < 1) return wcohi_fail(error, WCOH_E_ARGUMENT, "spectral: no vectors");
    if (wcohi_check_vectors(vectors, count, (size_t)spectral->desc.dimensions, "spectral", error))
        return WCOH_E_ARGUMENT;
    memset(&job, 0, sizeof job);
    job.s = spectral;
    job.vectors = vectors;
    job.count = count;
    job.chunks = (int)WCOHI_MIN(count, (size_t)WCOHI_PAIR_CHUNKS);
    wcohi_pool_run(spectral->pool, job.chunks, (double)count * n * 20, wcohi_energy_chunk, &job);
    for (i = 0; i < spectral->desc.bands; i++) {
        double d = spectral->edges[i + 1] - spectral->edges[i], sum = 0;
        for (chunk = 0; chunk < job.chunks; chunk++)
            sum += spectral->sums[(size_t)chunk * (size_t)spectral->desc.bands + (size_t)i];
        bands[i].value = sum / (double)count;
        bands[i].mean = d / n;
        bands[i].deviation = sqrt(2 * d * (n - d) / (n * n * (n + 2)) / (double)count);
        bands[i].z = bands[i].deviation > 0 ? (bands[i].value - d / n) / bands[i].deviation : 0;
        bands[i].percentile = 50 * erfc(-bands[i].z / sqrt(2.0));
    }
    return WCOH_OK;
}

/* ======== 7 toolkit: resonance memory ========================================================= */

/* ---- wave packets ---------------------------------------------------------------------------- */

/* S from the energies and the real part of the inner product of two packets. */
static double wcohi_resonance_score(double e1, double e2, double dot)
{
    double sum = e1 + e2;
    if (!(e1 > 0) || !(e2 > 0)) return 0;
    return 0.5 * ((sum + 2 * dot) / sum) * (2 * sqrt(e1) * sqrt(e2) / sum);
}

WCOH_API double wcoh_packet_resonance(const double *amplitude1, const double *phase1,
                                      const double *amplitude2, const double *phase2, int bins,
                                      double *difference)
{
    double e1 = 0, e2 = 0, dot = 0, turn = 0;
    int i, both = 0;
    if (!amplitude1 || !phase1 || !amplitude2 || !phase2) bins = 0;
    for (i = 0; i < bins; i++) {
        double a = amplitude1[i], b = amplitude2[i], d = wcoh_angle_directed(phase1[i], phase2[i]);
        e1 += a * a;
        e2 += b * b;
        dot += a * b * cos(d);
        if (!(a > 0) || !(b > 0)) continue;
        turn += d > wcohi_pi ? d - 2 * wcohi_pi : d;
        both++;
    }
    if (difference) *difference = both ? turn / both : 0;
    return wcohi_resonance_score(e1, e2, dot);
}

WCOH_API void wcoh_packet_sign(const float *vector, int n, double *amplitude, double *phase)
{
    int i;
    if (!vector || !amplitude || !phase) return;
    for (i = 0; i < n; i++) {
        double x = (double)vector[i];
        amplitude[i] = fabs(x);
        phase[i] = x < 0 ? wcohi_pi : 0;
    }
}

WCOH_API void wcoh_packet_dft(wcoh_dft *dft, const float *vector, double *amplitude, double *phase)
{
    const wcoh_complex *z;
    int k;
    if (!dft || !vector || !amplitude || !phase) return;
    for (k = 0; k < dft->n; k++) wcohi_dft_put(dft, k, (double)vector[k]);
    z = wcohi_fft_run(&dft->fft, dft->x, dft->scratch);
    for (k = 0; k <= dft->n / 2; k++) {
        wcoh_complex bin = wcohi_dft_bin(dft, z, k);
        amplitude[k] = sqrt(bin.re * bin.re + bin.im * bin.im);
        phase[k] = amplitude[k] > 0 ? atan2(bin.im, bin.re) : 0;
    }
}

static int wcohi_order_doubles(const void *a, const void *b, const wcoh_tensors *unused)
{
    double x = *(const double *)a, y = *(const double *)b;
    (void)unused;
    return x < y ? -1 : x > y;
}

WCOH_API int wcoh_packet_strongest(const double *amplitude, int bins, double percentile,
                                   double *order, uint8_t *mask)
{
    double at, limit;
    int i, below, chosen = 0;
    if (bins < 1 || !amplitude || !order || !mask) return 0;
    memcpy(order, amplitude, (size_t)bins * sizeof *order);
    wcohi_sort(order, (size_t)bins, sizeof *order, wcohi_order_doubles, NULL);
    at = WCOHI_CLAMP(percentile, 0.0, 100.0) / 100 * (bins - 1);
    below = WCOHI_MIN((int)at, bins - 1);
    limit = order[below];
    if (below + 1 < bins) limit += (at - below) * (order[below + 1] - order[below]);
    limit -= WCOHI_TIE * fabs(limit); /* amplitudes that are equal but for rounding go together */
    for (i = 0; i < bins; i++) chosen += mask[i] = amplitude[i] >= limit;
    return chosen;
}

/* ---- resonance memory ------------------------------------------------------------------------ */

/* A packet is a row of real columns whose plain inner product is the packets': the signed vector
   (sign-phase), the orthonormal DFT (DC, then real and imaginary part of each bin times sqrt 2,
   then an even length's Nyquist bin), or A cos phi, A sin phi. A tile is 64 to 1024 packets side
   by side: [1 + columns, lanes], its first row their norms; so a range of columns is one run of
   memory. Chunks of tiles are what a thread takes.
   Scores do not depend on a packet's scale, but squares in float do: a tile with a norm outside
   WCOHI_NORM_LOW .. WCOHI_NORM_HIGH, or with a part of less energy than the former's, is searched in
   double. */
enum {
    WCOHI_LANES_MAX = 1024,
    WCOHI_CHUNK_BYTES = 1 << 20
};
#define WCOHI_NORM_MAX 1e38 /* of a packet */
#define WCOHI_NORM_LOW 1e-15
#define WCOHI_NORM_HIGH 1e15

struct wcoh_resonance {
    wcoh_resonance_desc desc;
    wcohi_pieces pieces;
    size_t bytes; /* of the piece that holds this struct and its arrays */
    const wcohi_toolkit_kernels *kernels;
    wcohi_pool *pool;
    int slots;
    int bins, width;          /* of a whole packet */
    int first_bin, held_bins; /* what this store holds */
    int first, columns;       /* the same in columns */
    int lanes;                /* packets of a tile */
    int chunk_tiles;
    size_t chunk_bytes;
    wcohi_directory chunks;
    uint64_t count;
    wcoh_dft dft;             /* WCOH_PACKET_DFT */
    double *row;              /* [width] a packet under way */
    wcoh_real *query;         /* [columns] the question, 0 where a bin does not count */
    wcoh_real *weight;        /* [columns] 1 where a bin counts */
    wcoh_resonance_hit *hits; /* [slots, WCOHI_HITS] */
    int *hit_counts;          /* [slots] */
    void *pool_memory;
};

/* First column of a bin; that of `bins` is the width. */
static int wcohi_bin_column(const wcoh_resonance *store, int bin)
{
    if (store->desc.packet == WCOH_PACKET_SIGN) return bin;
    if (store->desc.packet == WCOH_PACKET_PHASES) return 2 * bin;
    return bin ? WCOHI_MIN(2 * bin - 1, store->desc.dimensions) : 0;
}

static size_t wcohi_tile_bytes(const wcoh_resonance *store)
{
    size_t rows = wcohi_add(1, (size_t)store->columns);
    return wcohi_mul(wcohi_mul(rows, (size_t)store->lanes), sizeof(wcoh_real));
}

static wcoh_real *wcohi_store_tile(const wcoh_resonance *store, uint64_t tile)
{
    unsigned char *chunk =
        (unsigned char *)store->chunks.entries[tile / (uint64_t)store->chunk_tiles];
    size_t bytes = wcohi_tile_bytes(store);
    return (wcoh_real *)(void *)(chunk + (size_t)(tile % (uint64_t)store->chunk_tiles) * bytes);
}

static uint64_t wcohi_store_tiles(const wcoh_resonance *store)
{
    return (store->count + (uint64_t)store->lanes - 1) / (uint64_t)store->lanes;
}

/* Number c of packet `index`, c = 0 its norm. */
static wcoh_real *wcohi_store_place(const wcoh_resonance *store, uint64_t index, int c)
{
    uint64_t lanes = (uint64_t)store->lanes;
    return wcohi_store_tile(store, index / lanes) + (size_t)c * (size_t)lanes + index % lanes;
}

/* What a store of this desc holds and how it is cut. Range of bins: checked by the caller; lanes 0:
   tiles of about 2 MB. */
static void wcohi_store_shape(wcoh_resonance *store, int first_bin, int held_bins, int lanes)
{
    int n = store->desc.dimensions;
    size_t tile;
    store->bins = store->desc.packet == WCOH_PACKET_DFT ? n / 2 + 1 : n;
    store->width = wcohi_bin_column(store, store->bins);
    store->first_bin = first_bin;
    store->held_bins = held_bins ? held_bins : store->bins - first_bin;
    store->first = wcohi_bin_column(store, first_bin);
    store->columns = wcohi_bin_column(store, first_bin + store->held_bins) - store->first;
    store->lanes = lanes ? lanes : WCOHI_CLAMP(524288 / (store->columns + 1) / 64, 1, 16) * 64;
    tile = wcohi_tile_bytes(store);
    store->chunk_tiles = (int)WCOHI_CLAMP(WCOHI_CHUNK_BYTES / tile, (size_t)1, (size_t)1024);
    store->chunk_bytes = wcohi_mul(tile, (size_t)store->chunk_tiles);
}

WCOHI_COLD wcoh_result wcohi_store_check(wcoh_resonance_desc *desc, wcoh_error *error)
{
    wcoh_result result = wcohi_fields_resolve(WCOH_DESC_RESONANCE, desc, error);
    return result ? result : wcohi_cpu_desc_check(&desc->cpu, error);
}

static void wcohi_store_layout(wcoh_resonance *store, wcohi_arena *arena)
{
    size_t hits = wcohi_mul((size_t)store->slots, WCOHI_HITS);
    store->row = WCOHI_TAKE(arena, store->width, double);
    store->query = WCOHI_TAKE(arena, store->columns, wcoh_real);
    store->weight = WCOHI_TAKE(arena, store->columns, wcoh_real);
    store->hits = WCOHI_TAKE(arena, hits, wcoh_resonance_hit);
    store->hit_counts = WCOHI_TAKE(arena, store->slots, int);
    store->pool_memory = WCOHI_TAKE(arena, wcohi_pool_bytes(&store->desc.cpu), unsigned char);
    if (store->desc.packet == WCOH_PACKET_DFT)
        wcohi_dft_layout(&store->dft, store->desc.dimensions, arena);
}

/* Make an empty store for a checked desc and range of bins. */
WCOHI_COLD wcoh_result wcohi_store_make(wcoh_resonance **store, const wcoh_resonance_desc *desc,
                                        int first_bin, int held_bins, int lanes, wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcoh_resonance measured, *made;
    wcoh_result result;
    memset(&measured, 0, sizeof measured);
    measured.desc = *desc;
    measured.pieces.memory = desc->memory;
    result = wcohi_toolkit_kernels_for(&measured.kernels, desc->cpu.isa, error);
    if (result) return result;
    measured.slots = wcohi_pool_width(&desc->cpu);
    wcohi_store_shape(&measured, first_bin, held_bins, lanes);
    WCOHI_TAKE(&arena, 1, wcoh_resonance);
    wcohi_store_layout(&measured, &arena);
    measured.bytes = arena.used;
    if (measured.chunk_bytes == WCOHI_SIZE_BAD)
        return wcohi_fail(error, WCOH_E_MEMORY, "resonance: a tile does not fit this machine");
    made = (wcoh_resonance *)wcohi_piece_take(&measured.pieces, measured.bytes);
    if (!made) return wcohi_fail(error, WCOH_E_MEMORY, "resonance: no memory");
    *made = measured;
    arena.base = (unsigned char *)made;
    arena.used = 0;
    WCOHI_TAKE(&arena, 1, wcoh_resonance);
    wcohi_store_layout(made, &arena);
    result = wcohi_pool_open(&made->pool, made->pool_memory, &desc->cpu, error);
    if (result) wcohi_piece_give(&measured.pieces, made, measured.bytes);
    else *store = made;
    return result;
}

WCOH_API wcoh_result wcoh_resonance_create(wcoh_resonance **store, const wcoh_resonance_desc *desc,
                                           wcoh_error *error)
{
    wcoh_resonance_desc full;
    wcoh_result result;
    if (!store) return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the store is NULL");
    *store = NULL;
    if (!desc) return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: desc is NULL");
    full = *desc;
    result = wcohi_store_check(&full, error);
    return result ? result : wcohi_store_make(store, &full, 0, 0, 0, error);
}

WCOH_API void wcoh_resonance_destroy(wcoh_resonance *store)
{
    wcohi_pieces pieces;
    if (!store) return;
    pieces = store->pieces;
    wcohi_pool_close(store->pool);
    wcohi_directory_give(&store->chunks, &pieces, store->chunk_bytes);
    wcohi_piece_give(&pieces, store, store->bytes);
}

WCOH_API const wcoh_resonance_desc *wcoh_resonance_get_desc(const wcoh_resonance *store)
{
    return store ? &store->desc : NULL;
}

WCOH_API uint64_t wcoh_resonance_count(const wcoh_resonance *store)
{
    return store ? store->count : 0;
}

WCOH_API int wcoh_resonance_bins(const wcoh_resonance *store) { return store ? store->bins : 0; }

WCOH_API uint64_t wcoh_resonance_bytes(const wcoh_resonance *store)
{
    return store ? wcohi_store_tiles(store) * wcohi_tile_bytes(store) : 0;
}

/* One vector into store->row. Returns 0 if a value is not finite, an amplitude is negative, or the
   norm is too large for a real. */
static int wcohi_store_encode(wcoh_resonance *store, const float *vector, const float *phases)
{
    int n = store->desc.dimensions, k;
    double energy = 0;
    const wcoh_complex *z;
    double inner = sqrt(2.0 / n);
    for (k = 0; k < n; k++) {
        if (!wcohi_is_finite((double)vector[k])) return 0;
        energy += (double)vector[k] * (double)vector[k];
        if (store->desc.packet == WCOH_PACKET_SIGN) {
            store->row[k] = (double)vector[k];
        } else if (store->desc.packet == WCOH_PACKET_DFT) {
            wcohi_dft_put(&store->dft, k, (double)vector[k]);
        } else {
            if (vector[k] < 0 || !wcohi_is_finite((double)phases[k])) return 0;
            store->row[2 * k] = (double)vector[k] * cos((double)phases[k]);
            store->row[2 * k + 1] = (double)vector[k] * sin((double)phases[k]);
        }
    }
    if (sqrt(energy) > WCOHI_NORM_MAX) return 0;
    if (store->desc.packet != WCOH_PACKET_DFT) return 1;
    z = wcohi_fft_run(&store->dft.fft, store->dft.x, store->dft.scratch);
    for (k = 0; k < store->bins; k++) {
        wcoh_complex bin = wcohi_dft_bin(&store->dft, z, k);
        int column = wcohi_bin_column(store, k), single = k == 0 || 2 * k == n;
        store->row[column] = bin.re * (single ? sqrt(1.0 / n) : inner);
        if (!single) store->row[column + 1] = bin.im * inner;
    }
    return 1;
}

/* Room for one packet more. */
static int wcohi_store_reserve(wcoh_resonance *store)
{
    void *chunk;
    uint64_t tiles = (uint64_t)store->chunks.count * (uint64_t)store->chunk_tiles;
    if (store->count < tiles * (uint64_t)store->lanes) return 1;
    chunk = wcohi_piece_take(&store->pieces, store->chunk_bytes);
    if (!chunk) return 0;
    if (wcohi_directory_push(&store->chunks, &store->pieces, chunk)) return 1;
    wcohi_piece_give(&store->pieces, chunk, store->chunk_bytes);
    return 0;
}

/* Norms of a tile from its columns, in double. Returns 0 if one is too large. */
static int wcohi_tile_norms(wcoh_real *tile, int columns, size_t lanes)
{
    double energies[WCOHI_LANES_MAX];
    size_t c, p;
    memset(energies, 0, sizeof energies);
    for (c = 1; c <= (size_t)columns; c++)
        for (p = 0; p < lanes; p++)
            energies[p] += (double)tile[c * lanes + p] * (double)tile[c * lanes + p];
    for (p = 0; p < lanes; p++) {
        if (sqrt(energies[p]) > WCOHI_NORM_MAX) return 0;
        tile[p] = (wcoh_real)sqrt(energies[p]);
    }
    return 1;
}

WCOH_API wcoh_result wcoh_resonance_add(wcoh_resonance *store, const float *vectors,
                                        const float *phases, size_t count, wcoh_error *error)
{
    size_t n, i;
    int c;
    if (!store || (!vectors && count))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the store or the vectors are NULL");
    n = (size_t)store->desc.dimensions;
    if (wcohi_mul(wcohi_mul(count, n), sizeof *vectors) == WCOHI_SIZE_BAD)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: %llu vectors do not fit this machine",
                          (unsigned long long)count);
    if (store->columns != store->width)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: this store holds %d of %d bins",
                          store->held_bins, store->bins);
    if ((phases != NULL) != (store->desc.packet == WCOH_PACKET_PHASES))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: phases go with WCOH_PACKET_PHASES");
    for (i = 0; i < count; i++) {
        wcoh_real *lane;
        double energy = 0;
        if (!wcohi_store_encode(store, vectors + i * n, phases ? phases + i * n : NULL))
            return wcohi_fail(error, WCOH_E_ARGUMENT,
                              "resonance: vector %llu has a value that is not allowed",
                              (unsigned long long)i);
        if (!wcohi_store_reserve(store))
            return wcohi_fail(error, WCOH_E_MEMORY, "resonance: no memory for packet %llu",
                              (unsigned long long)store->count);
        lane = wcohi_store_place(store, store->count, 0);
        for (c = 0; c < store->columns; c++) {
            wcoh_real x = (wcoh_real)store->row[c];
            lane[(size_t)(1 + c) * (size_t)store->lanes] = x;
            energy += (double)x * (double)x;
        }
        lane[0] = (wcoh_real)sqrt(energy);
        store->count++;
    }
    return WCOH_OK;
}

/* ---- top-k search ---------------------------------------------------------------------------- */

/* A search over all chunks: each slot keeps its best in a heap whose root is the worst kept, by
   score and then by index, so that the answer does not depend on who scanned what. */
typedef struct wcohi_search {
    wcoh_resonance *store;
    wcoh_score score;
    int from, count; /* columns, relative to the store's first */
    int part;        /* 1: energies of the chosen columns alone must be summed */
    int keep;        /* hits a slot keeps */
    double energy;   /* of the query */
    double scale;    /* a power of two: store->query is the query times this, and about 1 long */
} wcohi_search;

static double wcohi_search_score(const wcohi_search *search, double energy, double dot)
{
    double norm = sqrt(energy) * sqrt(search->energy);
    if (search->score == WCOH_SCORE_RESONANCE)
        return wcohi_resonance_score(energy, search->energy, dot);
    return norm > 0 ? dot / norm : 0;
}

/* 1 if a comes before b in the answer. */
static int wcohi_hit_before(const wcoh_resonance_hit *a, const wcoh_resonance_hit *b)
{
    if (a->score > b->score) return 1;
    return a->score >= b->score && a->index < b->index;
}

/* Let the hit at `i` sink below every child that comes after it. */
static void wcohi_hit_sink(wcoh_resonance_hit *heap, int count, int i)
{
    wcoh_resonance_hit hit = heap[i];
    for (;;) {
        int child = 2 * i + 1;
        if (child >= count) break;
        if (child + 1 < count && wcohi_hit_before(&heap[child], &heap[child + 1])) child++;
        if (!wcohi_hit_before(&hit, &heap[child])) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = hit;
}

static void wcohi_hit_keep(wcoh_resonance_hit *heap, int *count, int keep, wcoh_resonance_hit hit)
{
    int i = *count;
    if (i < keep) {
        (*count)++;
        while (i > 0 && wcohi_hit_before(&heap[(i - 1) / 2], &hit)) {
            heap[i] = heap[(i - 1) / 2];
            i = (i - 1) / 2;
        }
        heap[i] = hit;
    } else if (wcohi_hit_before(&hit, &heap[0])) {
        heap[0] = hit;
        wcohi_hit_sink(heap, keep, 0);
    }
}

/* What is under way of a tile: dot products with the scaled query and energies of its packets over
   the columns that count, in float; or, where that is too narrow, in double. */
typedef struct wcohi_scan_room {
    wcoh_real dots[WCOHI_LANES_MAX], energies[WCOHI_LANES_MAX];
    double wide_dots[WCOHI_LANES_MAX], wide_energies[WCOHI_LANES_MAX];
    int list[WCOHI_LANES_MAX]; /* packets that may be among the best */
} wcohi_scan_room;

/* Columns from `c` on that all count or all do not. */
static int wcohi_search_run(const wcohi_search *search, int c)
{
    const wcoh_real *weight = search->store->weight;
    int run = 1, end = search->from + search->count;
    while (c + run < end && (weight[c + run] > 0) == (weight[c] > 0)) run++;
    return run;
}

static void wcohi_search_scan(const wcohi_search *search, const wcoh_real *tile,
                              wcohi_scan_room *room)
{
    const wcoh_resonance *store = search->store;
    size_t lanes = (size_t)store->lanes, p;
    int c, run, end = search->from + search->count;
    memset(room->dots, 0, lanes * sizeof *room->dots);
    if (!search->part) {
        store->kernels->scan(tile + lanes, store->query, search->count, lanes, room->dots);
        for (p = 0; p < lanes; p++) room->energies[p] = tile[p] * tile[p];
        return;
    }
    memset(room->energies, 0, lanes * sizeof *room->energies);
    for (c = search->from; c < end; c += run) {
        run = wcohi_search_run(search, c);
        if (store->weight[c] > 0)
            store->kernels->scan_part(tile + (size_t)(1 + c) * lanes, store->query + c, run, lanes,
                                      room->dots, room->energies);
    }
}

/* The same in double. */
static void wcohi_search_scan_wide(const wcohi_search *search, const wcoh_real *tile,
                                   wcohi_scan_room *room)
{
    const wcoh_resonance *store = search->store;
    size_t lanes = (size_t)store->lanes, p;
    int c;
    memset(room->wide_dots, 0, sizeof room->wide_dots);
    memset(room->wide_energies, 0, sizeof room->wide_energies);
    for (c = search->from; c < search->from + search->count; c++) {
        const wcoh_real *x = tile + (size_t)(1 + c) * lanes;
        double q = (double)store->query[c];
        if (!(store->weight[c] > 0)) continue;
        for (p = 0; p < lanes; p++) {
            room->wide_dots[p] += q * (double)x[p];
            room->wide_energies[p] += (double)x[p] * (double)x[p];
        }
    }
}

/* 1 if the squares of these packets' norms keep within a float. */
static int wcohi_norms_narrow(const wcoh_real *norms, int here)
{
    int p;
    for (p = 0; p < here; p++)
        if (norms[p] > 0 && !(norms[p] > (wcoh_real)WCOHI_NORM_LOW &&
                              norms[p] < (wcoh_real)WCOHI_NORM_HIGH))
            return 0;
    return 1;
}

/* 1 if the part that counts is not lost in the float either. */
static int wcohi_energies_narrow(const wcoh_real *norms, const wcoh_real *energies, int here)
{
    const wcoh_real low = (wcoh_real)(WCOHI_NORM_LOW * WCOHI_NORM_LOW);
    int p;
    for (p = 0; p < here; p++)
        if (norms[p] > 0 && !(energies[p] > low)) return 0;
    return 1;
}

/* The packets of a tile whose score may reach `worst`, into room->list. S <= (1 + R) / 2, so one
   test serves both: R^2 energy of the query <= dot^2 / energy, a little loosened. */
static int wcohi_search_promising(const wcohi_search *search, wcohi_scan_room *room, int here,
                                  int wide, double worst)
{
    double r = search->score == WCOH_SCORE_RESONANCE ? 2 * worst - 1 : worst;
    double limit = r * r * search->energy * search->scale * search->scale * (1 - 1e-5);
    int p;
    if (!wide && r > 0)
        return search->store->kernels->promising(
            room->dots, room->energies, search->store->lanes, (wcoh_real)limit, room->list);
    for (p = 0; p < here; p++) room->list[p] = p;
    return here;
}

static void wcohi_search_tile(const wcohi_search *search, uint64_t tile, wcoh_resonance_hit *heap,
                              int *count)
{
    const wcoh_resonance *store = search->store;
    const wcoh_real *data = wcohi_store_tile(store, tile);
    uint64_t lanes = (uint64_t)store->lanes, left = store->count - tile * lanes;
    int i, promising, here = (int)WCOHI_MIN(left, lanes), wide = !wcohi_norms_narrow(data, here);
    double worst = *count == search->keep ? heap[0].score : -1;
    wcohi_scan_room room;
    if (!wide) {
        wcohi_search_scan(search, data, &room);
        wide = search->part && !wcohi_energies_narrow(data, room.energies, here);
    }
    if (wide) wcohi_search_scan_wide(search, data, &room);
    promising = wcohi_search_promising(search, &room, here, wide, worst);
    for (i = 0; i < promising; i++) {
        wcoh_resonance_hit hit;
        int p = room.list[i];
        double energy, dot;
        if (p >= here) continue; /* beside the last packet */
        energy = wide ? room.wide_energies[p] : (double)room.energies[p];
        dot = wide ? room.wide_dots[p] : (double)room.dots[p];
        hit.index = tile * lanes + (uint64_t)p;
        hit.score = wcohi_search_score(search, energy, dot / search->scale);
        wcohi_hit_keep(heap, count, search->keep, hit);
    }
}

static void wcohi_search_chunk(int index, int slot, void *user)
{
    const wcohi_search *search = (const wcohi_search *)user;
    wcoh_resonance *store = search->store;
    uint64_t tile = (uint64_t)index * (uint64_t)store->chunk_tiles;
    uint64_t end = WCOHI_MIN(tile + (uint64_t)store->chunk_tiles, wcohi_store_tiles(store));
    for (; tile < end; tile++)
        wcohi_search_tile(search, tile, store->hits + (size_t)slot * WCOHI_HITS,
                          &store->hit_counts[slot]);
}

/* The power of two that brings the longest of the columns [count] to 1/2 .. 1; 1 where all are 0. */
static double wcohi_scale_of(const double *row, int count)
{
    double largest = 0;
    int i, exponent = 0;
    for (i = 0; i < count; i++) largest = WCOHI_MAX(largest, fabs(row[i]));
    if (largest > 0) frexp(largest, &exponent);
    return ldexp(1, -exponent);
}

/* The range and mask of a query into search and store->query, store->weight. */
static wcoh_result wcohi_search_prepare(wcohi_search *search, const wcoh_resonance_query *query,
                                        const float *vector, const float *phases, wcoh_error *error)
{
    wcoh_resonance *store = search->store;
    int first = query->first_bin, bins = query->bins, k, c;
    if (first >= store->bins || bins > store->bins - first)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "bins is %d and first_bin is %d: a packet has bins 0 to %d", bins, first,
                          store->bins - 1);
    if (bins == 0) bins = store->bins - first;
    if ((phases != NULL) != (store->desc.packet == WCOH_PACKET_PHASES))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: phases go with WCOH_PACKET_PHASES");
    if (!wcohi_store_encode(store, vector, phases))
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: a value of the query is not allowed");
    memset(store->query, 0, (size_t)store->columns * sizeof *store->query);
    memset(store->weight, 0, (size_t)store->columns * sizeof *store->weight);
    bins = WCOHI_MIN(first + bins, store->first_bin + store->held_bins);
    first = WCOHI_MAX(first, store->first_bin);
    search->from = first < bins ? wcohi_bin_column(store, first) - store->first : 0;
    search->count = first < bins ? wcohi_bin_column(store, bins) - store->first - search->from : 0;
    search->part = query->mask || search->count != store->columns;
    search->energy = 0;
    search->scale = wcohi_scale_of(store->row + store->first + search->from, search->count);
    for (k = first; k < bins; k++) {
        if (query->mask && !query->mask[k]) continue;
        for (c = wcohi_bin_column(store, k); c < wcohi_bin_column(store, k + 1); c++) {
            store->query[c - store->first] = (wcoh_real)(store->row[c] * search->scale);
            store->weight[c - store->first] = 1;
            search->energy += store->row[c] * store->row[c];
        }
    }
    return WCOH_OK;
}

/* The score of one packet again, in double. */
static double wcohi_search_exact(const wcohi_search *search, uint64_t index)
{
    const wcoh_resonance *store = search->store;
    const wcoh_real *lane = wcohi_store_place(store, index, 0);
    double energy = 0, dot = 0;
    int c;
    for (c = search->from; c < search->from + search->count; c++) {
        double x = (double)lane[(size_t)(1 + c) * (size_t)store->lanes] * (double)store->weight[c];
        energy += x * x;
        dot += x * store->row[c + store->first];
    }
    return wcohi_search_score(search, energy, dot);
}

/* All slots' hits with exact scores, the best `top` of them in order. */
static int wcohi_search_merge(const wcohi_search *search, int top, wcoh_resonance_hit *hits)
{
    const wcoh_resonance *store = search->store;
    int slot, i, count = 0;
    for (slot = 0; slot < store->slots; slot++) {
        const wcoh_resonance_hit *own = store->hits + (size_t)slot * WCOHI_HITS;
        for (i = 0; i < store->hit_counts[slot]; i++) {
            wcoh_resonance_hit hit = own[i];
            hit.score = wcohi_search_exact(search, hit.index);
            wcohi_hit_keep(hits, &count, top, hit);
        }
    }
    for (i = count - 1; i > 0; i--) { /* heap sort: the worst goes to the end */
        wcoh_resonance_hit worst = hits[0];
        hits[0] = hits[i];
        hits[i] = worst;
        wcohi_hit_sink(hits, i, 0);
    }
    return count;
}

WCOH_API wcoh_result wcoh_resonance_find(wcoh_resonance *store, const wcoh_resonance_query *query,
                                         const float *vector, const float *phases,
                                         wcoh_resonance_hit *hits, int *found, wcoh_error *error)
{
    wcoh_resonance_query full;
    wcohi_search search;
    wcoh_result result;
    uint64_t chunks;
    if (!store || !vector || !hits || !found)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "resonance: the store, the vector, the hits or their number is NULL");
    *found = 0;
    memset(&full, 0, sizeof full);
    if (query) full = *query;
    result = wcohi_fields_resolve(WCOH_DESC_RESONANCE_QUERY, &full, error);
    if (result) return result;
    search.store = store;
    search.score = full.score;
    search.keep = full.top + WCOHI_SPARE_HITS; /* rounding at the edge is set right by merge */
    result = wcohi_search_prepare(&search, &full, vector, phases, error);
    if (result) return result;
    memset(store->hit_counts, 0, (size_t)store->slots * sizeof *store->hit_counts);
    chunks = (wcohi_store_tiles(store) + (uint64_t)store->chunk_tiles - 1) /
             (uint64_t)store->chunk_tiles;
    wcohi_pool_run(store->pool, (int)chunks, (double)store->count * search.count,
                   wcohi_search_chunk, &search);
    *found = wcohi_search_merge(&search, full.top, hits);
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_resonance_get(const wcoh_resonance *store, uint64_t index,
                                        double *amplitude, double *phase, wcoh_error *error)
{
    int k;
    if (!store || !amplitude || !phase)
        return wcohi_fail(error, WCOH_E_ARGUMENT,
                          "resonance: the store, the amplitudes or the phases are NULL");
    if (index >= store->count)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: there is no packet %llu",
                          (unsigned long long)index);
    for (k = 0; k < store->bins; k++) {
        int held = k >= store->first_bin && k < store->first_bin + store->held_bins;
        int column = wcohi_bin_column(store, k) - store->first;
        int pair = wcohi_bin_column(store, k + 1) - store->first > column + 1;
        double re = held ? (double)*wcohi_store_place(store, index, 1 + column) : 0;
        double im = held && pair ? (double)*wcohi_store_place(store, index, 2 + column) : 0;
        amplitude[k] = sqrt(re * re + im * im);
        if (store->desc.packet == WCOH_PACKET_DFT && pair) amplitude[k] /= sqrt(2.0);
        phase[k] = amplitude[k] > 0 ? atan2(im, re) : 0;
    }
    return WCOH_OK;
}

/* ---- the store's file ------------------------------------------------------------------------ */

static const char wcohi_packet_names[][8] = {"sign", "dft", "phases"};

WCOHI_COLD void wcohi_store_tensor(const void *object, int index, wcohi_file_tensor *tensor)
{
    const wcoh_resonance *store = (const wcoh_resonance *)object;
    uint64_t from = (uint64_t)index * (uint64_t)store->chunk_tiles;
    uint64_t left = wcohi_store_tiles(store) - from;
    size_t tiles = (size_t)WCOHI_MIN(left, (uint64_t)store->chunk_tiles);
    wcohi_tensor_init(tensor, WCOHI_OF_REAL, store->chunks.entries[index],
                      wcohi_mul(tiles, wcohi_tile_bytes(store)) / sizeof(wcoh_real));
    tensor->dims = 3;
    tensor->shape[0] = tiles;
    tensor->shape[1] = (size_t)(1 + store->columns);
    tensor->shape[2] = (size_t)store->lanes;
    snprintf(tensor->name, sizeof tensor->name, "packets.%d", index);
}

WCOHI_COLD void wcohi_store_notes(const void *object, wcohi_sink *sink)
{
    const wcoh_resonance *store = (const wcoh_resonance *)object;
    const char *packet = wcohi_packet_names[store->desc.packet];
    wcohi_put_note(sink, "wavecoh.resonance.packet", packet, strlen(packet));
    wcohi_put_count(sink, "wavecoh.resonance.dimensions", (uint64_t)store->desc.dimensions);
    wcohi_put_count(sink, "wavecoh.resonance.count", store->count);
    wcohi_put_count(sink, "wavecoh.resonance.first_bin", (uint64_t)store->first_bin);
    wcohi_put_count(sink, "wavecoh.resonance.bins", (uint64_t)store->held_bins);
    wcohi_put_count(sink, "wavecoh.resonance.lanes", (uint64_t)store->lanes);
}

WCOH_API wcoh_result wcoh_resonance_save(const wcoh_resonance *store, const wcoh_io *io,
                                         wcoh_error *error)
{
    wcohi_contents contents;
    uint64_t tiles, each;
    if (!store) return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the store is NULL");
    if (wcohi_writable(io, error)) return WCOH_E_ARGUMENT;
    tiles = wcohi_store_tiles(store);
    each = (uint64_t)store->chunk_tiles;
    contents.object = store;
    contents.count = (int)((tiles + each - 1) / each);
    contents.tensor = wcohi_store_tensor;
    contents.notes = wcohi_store_notes;
    return wcohi_save(io, &contents, error);
}

/* What the file says it holds: desc and shape of `file`, a store that is never filled. */
WCOHI_COLD wcoh_result wcohi_store_header(wcoh_resonance *file, const wcoh_tensors *t,
                                          wcoh_error *error)
{
    const char *packet = wcoh_tensors_metadata(t, "wavecoh.resonance.packet");
    uint64_t value, first, bins, lanes;
    wcoh_result result;
    int i;
    if (!packet)
        return wcohi_fail(error, WCOH_E_MISMATCH, "the file is no resonance store of wavecoh");
    for (i = 0; i < 3 && strcmp(packet, wcohi_packet_names[i]); i++) continue;
    if (i == 3)
        return wcohi_fail(error, WCOH_E_FORMAT, "metadata wavecoh.resonance.packet is unknown");
    file->desc.packet = (wcoh_packet)i;
    result = wcohi_get_count(t, "wavecoh.resonance.dimensions", 1, 1 << 20, &value, error);
    if (result) return result;
    file->desc.dimensions = (int)value;
    wcohi_store_shape(file, 0, 0, 0);
    result = wcohi_get_count(t, "wavecoh.resonance.first_bin", 0, (uint64_t)file->bins - 1, &first,
                             error);
    if (!result)
        result = wcohi_get_count(t, "wavecoh.resonance.bins", 1, (uint64_t)file->bins - first,
                                 &bins, error);
    if (!result)
        result = wcohi_get_count(t, "wavecoh.resonance.count", 0, (uint64_t)INT_MAX * 64,
                                 &file->count, error);
    if (!result)
        result = wcohi_get_count(t, "wavecoh.resonance.lanes", 64, WCOHI_LANES_MAX, &lanes, error);
    if (!result && lanes % 64)
        result = wcohi_fail(error, WCOH_E_FORMAT,
                            "metadata wavecoh.resonance.lanes is no multiple "
                            "of 64");
    if (!result) wcohi_store_shape(file, (int)first, (int)bins, (int)lanes);
    return result;
}

/* One tile of the file into the next tile of the store: the columns that it holds, and their norms.
   Places in the tensor are below info.count, which the file's reader has checked. */
static wcoh_result wcohi_store_read_tile(wcoh_resonance *store, const wcoh_resonance *file,
                                         const wcoh_tensors *t, int tensor, uint64_t tile,
                                         uint64_t left, wcoh_error *error)
{
    uint64_t row = tile * (uint64_t)(1 + file->columns) + 1;
    size_t lanes = (size_t)store->lanes, count = (size_t)store->columns * lanes, i;
    wcoh_real *to;
    wcoh_result result;
    if (!wcohi_store_reserve(store))
        return wcohi_fail(error, WCOH_E_MEMORY, "resonance: no memory");
    to = wcohi_store_place(store, store->count, 0);
    row += (uint64_t)(store->first - file->first);
    result = wcohi_tensors_fetch(t, tensor, row * lanes, count, WCOHI_OF_REAL, to + lanes, error);
    if (result) return result;
    for (i = 0; i < count; i++) {
        wcoh_real *x = &to[lanes + i];
        if (i % lanes >= left) *x = 0; /* beside the last packet */
        if (!wcohi_is_finite((double)*x))
            return wcohi_fail(error, WCOH_E_FORMAT, "packets: a value is not finite");
    }
    if (!wcohi_tile_norms(to, store->columns, lanes))
        return wcohi_fail(error, WCOH_E_FORMAT, "packets: a packet's norm is above 1e38");
    store->count += WCOHI_MIN(left, (uint64_t)lanes);
    return WCOH_OK;
}

WCOHI_COLD wcoh_result wcohi_store_fill(wcoh_resonance *store, const wcoh_resonance *file,
                                        const wcoh_tensors *t, wcoh_error *error)
{
    int index;
    for (index = 0; store->count < file->count; index++) {
        wcoh_tensor_info info;
        wcoh_result result;
        char name[32];
        uint64_t tile;
        int tensor;
        snprintf(name, sizeof name, "packets.%d", index);
        tensor = wcoh_tensors_find(t, name);
        if (tensor < 0) return wcohi_fail(error, WCOH_E_MISMATCH, "%s is not in the file", name);
        wcoh_tensors_info(t, tensor, &info, NULL);
        if (info.dims != 3 || info.shape[0] < 1 || info.shape[2] != (uint64_t)file->lanes ||
            info.shape[1] != (uint64_t)(1 + file->columns))
            return wcohi_fail(error, WCOH_E_MISMATCH, "%s: expected [tiles,%d,%d]", name,
                              1 + file->columns, file->lanes);
        for (tile = 0; tile < info.shape[0] && store->count < file->count; tile++) {
            result = wcohi_store_read_tile(store, file, t, tensor, tile, file->count - store->count,
                                           error);
            if (result) return result;
        }
    }
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_resonance_load(wcoh_resonance **store, const wcoh_io *io, int first_bin,
                                         int bins, const wcoh_cpu_desc *cpu,
                                         const wcoh_memory *memory, wcoh_error *error)
{
    wcoh_resonance file;
    wcoh_tensors *t;
    wcoh_result result;
    int whole = first_bin == 0 && bins == 0; /* a part is not worth a checksum of everything */
    if (!store) return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the store is NULL");
    *store = NULL;
    if (first_bin < 0 || bins < 0)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: bins must not be negative");
    memset(&file, 0, sizeof file);
    if (cpu) file.desc.cpu = *cpu;
    if (memory) file.desc.memory = *memory;
    result = wcohi_open_header(&t, io, memory, whole, error);
    if (result) return result;
    result = wcohi_store_header(&file, t, error);
    if (!result) result = wcohi_store_check(&file.desc, error);
    if (!result && whole) first_bin = file.first_bin;
    if (!result && !bins) bins = file.first_bin + file.held_bins - first_bin;
    if (!result && (first_bin < file.first_bin || bins < 1 ||
                    bins > file.first_bin + file.held_bins - first_bin))
        result = wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the file has bins %d..%d",
                            file.first_bin, file.first_bin + file.held_bins - 1);
    if (!result) result = wcohi_store_make(store, &file.desc, first_bin, bins, file.lanes, error);
    if (!result) result = wcohi_store_fill(*store, &file, t, error);
    if (result) {
        wcoh_resonance_destroy(*store);
        *store = NULL;
    }
    wcoh_tensors_close(t);
    return result;
}

#ifndef WAVECOH_NO_STDIO
WCOH_API wcoh_result wcoh_resonance_save_file(const wcoh_resonance *store, const char *path,
                                              wcoh_error *error)
{
    if (!store) return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the store is NULL");
    WCOHI_SAVE_FILE(wcoh_resonance_save(store, &io, error));
}

WCOH_API wcoh_result wcoh_resonance_load_file(wcoh_resonance **store, const char *path,
                                              int first_bin, int bins, const wcoh_cpu_desc *cpu,
                                              const wcoh_memory *memory, wcoh_error *error)
{
    if (!store) return wcohi_fail(error, WCOH_E_ARGUMENT, "resonance: the store is NULL");
    *store = NULL;
    WCOHI_LOAD_FILE(wcoh_resonance_load(store, &io, first_bin, bins, cpu, memory, error));
}
#endif

/* ======== 7 toolkit: attention and weights ==================================================== */

/* ---- attention and depth --------------------------------------------------------------------- */

static const double wcohi_no_centroid = 4.0; /* outside +-pi */

/* What a row adds to the means. */
typedef struct wcohi_map_sums {
    double entropy, concentration, first, re, im;
    uint64_t rows, undefined;
} wcohi_map_sums;

/* Keys from .. last of one row [T], angles as (cos, sin) [T]; weights are divided by their sum.
   Returns the centroid phase. A row without weight does not count. */
static double wcohi_map_row(const float *row, int from, int last, const wcoh_complex *angles,
                            wcohi_map_sums *sums)
{
    double total = 0, entropy = 0, re = 0, im = 0, length;
    int j;
    for (j = from; j <= last; j++) total += row ? (double)row[j] : 1;
    if (!(total > 0)) return wcohi_no_centroid;
    for (j = from; j <= last; j++) {
        double w = (row ? (double)row[j] : 1) / total;
        if (w > 0) entropy -= w * log(w);
        re += w * angles[j].re;
        im += w * angles[j].im;
    }
    length = sqrt(re * re + im * im);
    sums->rows++;
    sums->entropy += entropy;
    sums->concentration += length;
    if (from == 0) sums->first += (row ? (double)row[0] : 1) / total;
    if (length < 1e-6) {
        sums->undefined++;
        return wcohi_no_centroid;
    }
    sums->re += re / length;
    sums->im += im / length;
    return atan2(im, re);
}

static wcoh_map_mean wcohi_map_mean_of(const wcohi_map_sums *sums)
{
    wcoh_map_mean mean;
    double rows = sums->rows ? (double)sums->rows : 1;
    mean.entropy = sums->entropy / rows;
    mean.concentration = sums->concentration / rows;
    mean.first = sums->first / rows;
    mean.centroid = atan2(sums->im, sums->re);
    mean.rows = sums->rows;
    mean.undefined = sums->undefined;
    return mean;
}

/* The last key that counts for a query. */
static int wcohi_map_last(int query, int tokens, wcoh_map_keys keys)
{
    return keys == WCOH_MAP_ALL ? tokens - 1 : query;
}

/* The four means of a map, NULL for the uniform one: with key 0, without it. */
static void wcohi_map_sum(const float *map, int tokens, wcoh_map_keys keys,
                          const wcoh_complex *angles, double *centroids, wcoh_map_mean *all,
                          wcoh_map_mean *rest)
{
    wcohi_map_sums with, without;
    int q;
    memset(&with, 0, sizeof with);
    memset(&without, 0, sizeof without);
    for (q = 0; q < tokens; q++) {
        const float *row = map ? map + (size_t)q * (size_t)tokens : NULL;
        int last = wcohi_map_last(q, tokens, keys);
        double centroid = wcohi_map_row(row, 0, last, angles, &with);
        if (centroids) centroids[q] = centroid;
        wcohi_map_row(row, 1, last, angles, &without);
    }
    *all = wcohi_map_mean_of(&with);
    *rest = wcohi_map_mean_of(&without);
}

static wcoh_result wcohi_map_check(const float *map, int tokens, wcoh_map_keys keys,
                                   wcoh_error *error)
{
    int q, k;
    if (tokens < 1 || tokens > 1 << 20 ||
        wcohi_mul(wcohi_mul((size_t)tokens, (size_t)tokens), sizeof *map) == WCOHI_SIZE_BAD)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "map: tokens is %d, allowed 1..%d", tokens,
                          sizeof(size_t) < 8 ? 32767 : 1 << 20);
    if ((unsigned)keys > WCOH_MAP_ALL)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "map: the keys are neither causal nor all");
    for (q = 0; q < tokens; q++)
        for (k = 0; k <= wcohi_map_last(q, tokens, keys); k++) {
            double w = (double)map[(size_t)q * (size_t)tokens + (size_t)k];
            if (!wcohi_is_finite(w) || w < 0)
                return wcohi_fail(error, WCOH_E_ARGUMENT,
                                  "map: the weight of query %d, key %d is negative or not finite",
                                  q, k);
        }
    return WCOH_OK;
}

WCOH_API wcoh_result wcoh_map_measure(wcoh_map_figures *figures, const float *map, int tokens,
                                      wcoh_map_keys keys, const wcoh_memory *memory,
                                      double *centroids, wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_complex *angles;
    wcoh_result result;
    int k;
    if (!figures || !map)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "map: the figures or the map are NULL");
    result = wcohi_map_check(map, tokens, keys, error);
    if (result) return result;
    WCOHI_TAKE(&arena, tokens, wcoh_complex);
    result = wcohi_allocation_take(&block, &arena, memory, arena.used, "map", error);
    if (result) return result;
    angles = WCOHI_TAKE(&arena, tokens, wcoh_complex);
    for (k = 0; k < tokens; k++) {
        angles[k] = wcohi_cis(2 * wcohi_pi * k / tokens);
        angles[k].im = -angles[k].im;
    }
    wcohi_map_sum(map, tokens, keys, angles, centroids, &figures->all, &figures->rest);
    wcohi_map_sum(NULL, tokens, keys, angles, NULL, &figures->all_uniform,
                  &figures->rest_uniform);
    wcohi_allocation_give(&block);
    return WCOH_OK;
}

/* Mean over queries of cos(a - b) where both centroids [T] are defined. */
static double wcohi_head_alignment(const double *a, const double *b, int tokens)
{
    double sum = 0;
    int q, rows = 0;
    for (q = 0; q < tokens; q++) {
        if (a[q] >= wcohi_no_centroid || b[q] >= wcohi_no_centroid) continue;
        sum += cos(a[q] - b[q]);
        rows++;
    }
    return rows ? sum / rows : 0;
}

WCOH_API wcoh_heads_figures wcoh_heads_measure(const double *centroids, int heads, int tokens,
                                               double *alignment)
{
    wcoh_heads_figures figures;
    int g, h, q;
    memset(&figures, 0, sizeof figures);
    if (!centroids) heads = 0;
    for (q = 0; q < tokens; q++) {
        double re = 0, im = 0;
        int defined = 0;
        for (h = 0; h < heads; h++) {
            double phase = centroids[(size_t)h * (size_t)tokens + (size_t)q];
            if (phase >= wcohi_no_centroid) continue;
            re += cos(phase);
            im += sin(phase);
            defined++;
        }
        if (defined < 2) continue;
        figures.synchronisation += sqrt(re * re + im * im) / defined;
        figures.rows++;
    }
    if (figures.rows) figures.synchronisation /= (double)figures.rows;
    figures.synchronisation = WCOHI_MIN(figures.synchronisation, 1.0);
    figures.dispersion = 9;
    if (figures.synchronisation > 0)
        figures.dispersion = WCOHI_MIN(9.0, sqrt(-2 * log(figures.synchronisation)));
    for (g = 0; alignment && g < heads; g++)
        for (h = 0; h < heads; h++)
            alignment[(size_t)g * (size_t)heads + (size_t)h] =
                wcohi_head_alignment(centroids + (size_t)g * (size_t)tokens,
                                     centroids + (size_t)h * (size_t)tokens, tokens);
    return figures;
}

WCOH_API wcoh_collapse wcoh_collapse_of(const double *values, int layers)
{
    wcoh_collapse collapse;
    int l;
    collapse.layer = collapse.runner_up = -1;
    collapse.drop = collapse.runner_up_drop = 0;
    for (l = 1; values && l < layers; l++) {
        double drop = values[l - 1] - values[l];
        if (!(drop > WCOHI_TIE * fabs(values[l]))) continue; /* equal but for rounding: no fall */
        if (drop > collapse.drop) {
            collapse.runner_up = collapse.layer;
            collapse.runner_up_drop = collapse.drop;
            collapse.layer = l;
            collapse.drop = drop;
        } else if (drop > collapse.runner_up_drop) {
            collapse.runner_up = l;
            collapse.runner_up_drop = drop;
        }
    }
    return collapse;
}

/* ---- inside a model -------------------------------------------------------------------------- */

/* Parameter `name` of a layer, or NULL. */
static const wcoh_real *wcohi_layer_param(const wcoh_model *model, int layer, const char *name)
{
    wcoh_param param;
    char full[64];
    snprintf(full, sizeof full, "blocks.%d.%s", layer, name);
    if (wcoh_model_param(model, wcoh_model_param_find(model, full), &param, NULL)) return NULL;
    return param.data;
}

WCOH_API wcoh_result wcoh_model_wave(const wcoh_model *model, int layer, int head, wcoh_wave *wave,
                                     wcoh_error *error)
{
    const wcoh_model_desc *desc;
    const wcoh_real *gain, *carrier, *damping;
    if (!model || !wave) return wcohi_fail(error, WCOH_E_ARGUMENT, "wave: it or the model is NULL");
    memset(wave, 0, sizeof *wave);
    desc = &model->desc;
    if (layer < 0 || layer >= desc->layers || head < 0 || head >= desc->heads)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "there is no layer %d, head %d", layer, head);
    gain = wcohi_layer_param(model, layer, "attn.gain_raw");
    carrier = wcohi_layer_param(model, layer, "attn.carrier");
    damping = wcohi_layer_param(model, layer, "attn.damping_raw");
    if (!gain || !carrier || !damping)
        return wcohi_fail(error, WCOH_E_UNSUPPORTED, "this model's heads have no carrier");
    wave->gain = wcohi_softplus((double)gain[head]);
    wave->carrier = (double)carrier[head];
    wave->damping = wcohi_softplus((double)damping[head]);
    wave->wavelength = wave->carrier != 0 ? 2 * wcohi_pi / fabs(wave->carrier) : 0;
    wave->reach = wave->damping > 0 ? 1 / wave->damping : 0;
    return WCOH_OK;
}

typedef struct wcohi_inspection {
    const wcoh_model *model;
    wcohi_engine engine;
    int count;
    float *maps;    /* [H,T,T] */
    double *scores; /* [T] of one query */
    double *phases; /* [2,T] of the queries and the keys of one head */
    double *fading; /* [2,T] sums of dampings up to each row, and loudnesses */
} wcohi_inspection;

WCOHI_COLD void wcohi_inspection_layout(wcohi_inspection *inspection, wcohi_arena *arena,
                                        const wcohi_engine_desc *desc)
{
    size_t count = (size_t)inspection->count, heads = (size_t)desc->model->heads;
    wcohi_engine_layout(&inspection->engine, arena, desc);
    inspection->maps = WCOHI_TAKE(arena, wcohi_mul(heads, wcohi_mul(count, count)), float);
    inspection->scores = WCOHI_TAKE(arena, count, double);
    inspection->phases = WCOHI_TAKE(arena, wcohi_mul(2, count), double);
    inspection->fading = WCOHI_TAKE(arena, wcohi_mul(2, count), double);
}

/* Scores of one query over keys 0 .. q into its row of the map, as weights. */
static void wcohi_map_softmax(const double *scores, int q, int tokens, float *row)
{
    double largest = scores[0], sum = 0;
    int k;
    for (k = 1; k <= q; k++) largest = WCOHI_MAX(largest, scores[k]);
    for (k = 0; k <= q; k++) sum += exp(scores[k] - largest);
    for (k = 0; k < tokens; k++) row[k] = k <= q ? (float)(exp(scores[k] - largest) / sum) : 0;
}

/* Phase of the raw phasor at p; where it is shorter than 1e-6 it stands for (1, 0). */
static double wcohi_phasor_phase(const wcoh_real *p)
{
    double re = (double)p[0], im = (double)p[1];
    return sqrt(re * re + im * im) < 1e-6 ? 0 : atan2(im, re);
}

/* S_qk = kappa cos(phi_q - psi_k + omega (q - k)) - sum_{k < j <= q} lambda_j + b_k; the frozen form is
   cos(n (phi_q - phi_k)). phasors [T,stride] */
static void wcohi_map_waves(wcohi_inspection *inspection, const wcohi_op *op,
                            const wcoh_real *phasors, size_t stride, int head)
{
    const wcoh_real *harmonic = wcohi_layer_param(inspection->model, op->layer, "attn.harmonic");
    int tokens = inspection->count, q, k;
    size_t key = (size_t)op->key_column;
    double *query_phase = inspection->phases, *key_phase = query_phase + tokens, n, fading = 0;
    double *loud = inspection->fading + tokens;
    float *map = inspection->maps + (size_t)head * (size_t)tokens * (size_t)tokens;
    wcoh_wave wave;
    if (wcoh_model_wave(inspection->model, op->layer, head, &wave, NULL)) wave.gain = 1;
    n = harmonic ? (double)harmonic[head] : 1;
    for (q = 0; q < tokens; q++) {
        const wcoh_real *row = phasors + (size_t)q * stride + 2 * (size_t)head;
        query_phase[q] = n * wcohi_phasor_phase(row);
        key_phase[q] = n * wcohi_phasor_phase(row + key);
        if (op->forget_column) fading += wcohi_softplus((double)row[op->forget_column - head]);
        inspection->fading[q] = fading;
        loud[q] = op->loud_column ? 8 * tanh((double)row[op->loud_column - head] / 8) : 0;
    }
    for (q = 0; q < tokens; q++) {
        for (k = 0; k <= q; k++) {
            double faded = op->forget_column ? inspection->fading[q] - inspection->fading[k]
                                             : wave.damping * (q - k);
            inspection->scores[k] =
                wave.gain * cos(query_phase[q] - key_phase[k] + wave.carrier * (q - k)) - faded +
                loud[k];
        }
        wcohi_map_softmax(inspection->scores, q, tokens, map + (size_t)q * (size_t)tokens);
    }
}

/* One pair of a query's or key's numbers, turned by its position where the heads are rotary. */
static wcoh_complex wcohi_rotary_pair(const wcoh_real *p, int pair, int width, int position,
                                      int rotary)
{
    double angle = rotary ? position * pow(10000, -2.0 * pair / width) : 0;
    wcoh_complex value, turn = wcohi_cis(-angle);
    value.re = (double)p[2 * pair];
    value.im = (double)p[2 * pair + 1];
    return wcohi_cmul(value, turn);
}

/* S_qk = q.k / sqrt E. rows [T,3D]: queries, keys, values of all heads. E is even, or nothing
   turns. */
static void wcohi_map_dots(wcohi_inspection *inspection, const wcohi_op *op, const wcoh_real *rows,
                           size_t stride, int head)
{
    int tokens = inspection->count, width = op->wide_out / op->heads, q, k, i;
    const wcoh_real *queries = rows + head * width, *keys = queries + op->wide_out;
    float *map = inspection->maps + (size_t)head * (size_t)tokens * (size_t)tokens;
    for (q = 0; q < tokens; q++) {
        for (k = 0; k <= q; k++) {
            const wcoh_real *x = queries + (size_t)q * stride, *y = keys + (size_t)k * stride;
            double dot = width % 2 ? (double)x[width - 1] * (double)y[width - 1] : 0;
            for (i = 0; i < width / 2; i++) {
                wcoh_complex a = wcohi_rotary_pair(x, i, width, q, op->rotary);
                wcoh_complex b = wcohi_rotary_pair(y, i, width, k, op->rotary);
                dot += a.re * b.re + a.im * b.im;
            }
            inspection->scores[k] = dot / sqrt((double)width);
        }
        wcohi_map_softmax(inspection->scores, q, tokens, map + (size_t)q * (size_t)tokens);
    }
}

/* Run the plan op by op up to the head and look at what has just been computed. */
static wcoh_result wcohi_inspect_run(wcohi_inspection *inspection, const uint32_t *tokens,
                                     wcoh_inspector inspector, void *user, wcoh_error *error)
{
    wcohi_engine *engine = &inspection->engine;
    const wcohi_plan *plan = &engine->plan;
    const wcohi_cpu_exec *exec = (const wcohi_cpu_exec *)(void *)engine->exec;
    const wcoh_real *hidden = NULL;
    wcohi_run run;
    int i, layer = -1, head;
    memset(&run, 0, sizeof run);
    run.tokens = tokens;
    run.batch = 1;
    run.seq = inspection->count;
    run.scale = 1;
    run.active_bands = inspection->model->desc.bands;
    for (i = 0; i < plan->count && plan->ops[i].kind != WCOHI_LOGITS; i++) {
        const wcohi_op *op = &plan->ops[i];
        wcoh_result result = engine->device->table->run(engine->exec, &run, i, i + 1, error);
        if (result) return result;
        if (op->layer != layer) { /* its first op, a norm, reads the stream */
            hidden = wcohi_tensor_data(exec, op->in);
            layer = op->layer;
            if (layer < 0) inspector(inspection->model->desc.layers, hidden, NULL, user);
        }
        if (op->kind != WCOHI_COHERENCE && op->kind != WCOHI_DOT) continue;
        for (head = 0; head < op->heads; head++) {
            const wcoh_real *in = wcohi_tensor_data(exec, op->in);
            size_t stride = (size_t)plan->tensors[op->in].width;
            if (op->kind == WCOHI_DOT) wcohi_map_dots(inspection, op, in, stride, head);
            else wcohi_map_waves(inspection, op, in, stride, head);
        }
        inspector(layer, hidden, inspection->maps, user);
    }
    return WCOH_OK;
}

WCOHI_COLD wcoh_result wcohi_inspect_check(const wcoh_model_desc *desc, const uint32_t *tokens,
                                           int count, wcoh_error *error)
{
    if (count < 1 || count > 1 << 16)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "inspect: count is %d, allowed 1..%d", count,
                          1 << 16);
    if (count > desc->context && wcohi_bound_to_context(desc))
        return wcohi_fail(error, WCOH_E_CONTEXT, "inspect: count is %d, the model's context is %d",
                          count, desc->context);
    return wcohi_tokens_check(tokens, (size_t)count, desc->vocab, "inspected", error);
}

WCOH_API wcoh_result wcoh_model_inspect(wcoh_model *model, const uint32_t *tokens, int count,
                                        const wcoh_cpu_desc *cpu, const wcoh_memory *memory,
                                        wcoh_inspector inspector, void *user, wcoh_error *error)
{
    wcohi_inspection inspection;
    wcohi_engine_desc wanted;
    wcoh_cpu_desc own;
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcoh_result result;
    if (!model || !tokens || !inspector)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "inspect: model, tokens or inspector is NULL");
    result = wcohi_inspect_check(&model->desc, tokens, count, error);
    if (result) return result;
    memset(&own, 0, sizeof own);
    memset(&wanted, 0, sizeof wanted);
    memset(&inspection, 0, sizeof inspection);
    if (cpu) own = *cpu;
    if ((result = wcohi_cpu_desc_check(&own, error)) != WCOH_OK) return result;
    inspection.model = model;
    inspection.count = count;
    wanted.model = &model->desc;
    wanted.batch = 1;
    wanted.seq = count;
    wanted.mode = WCOHI_MODE_SCORE;
    wanted.cpu = &own;
    wanted.memory = memory;
    if ((result = wcohi_engine_measure(&wanted, error)) != WCOH_OK) return result;
    wcohi_inspection_layout(&inspection, &arena, &wanted);
    result = wcohi_allocation_take(&block, &arena, memory, arena.used, "inspect", error);
    if (result) return result;
    wcohi_inspection_layout(&inspection, &arena, &wanted);
    result = wcohi_engine_open(&inspection.engine, &wanted, model, error);
    if (!result) {
        result = wcohi_inspect_run(&inspection, tokens, inspector, user, error);
        wcohi_engine_close(&inspection.engine);
    }
    wcohi_allocation_give(&block);
    return result;
}

/* ---- singular values ------------------------------------------------------------------------- */

/* Householder reflections make A [m,n], m >= n, upper bidiagonal (diagonal d [n], above it
   e [n-1]); its singular values are the positive eigenvalues of the symmetric tridiagonal matrix of
   order 2n with zero diagonal and d0, e0, d1, e1 .. beside it (Golub and Kahan). They are found by
   bisection on Sturm counts: slow beside QR, but simple, without a failing case, and accurate to
   the last bits of the largest. */

/* Turn x [count], stride apart, into v with v[0] = 1 stored in place of it below the first entry;
   returns beta and, in *alpha, the first entry of (1 - beta v v^T) x. */
static double wcohi_householder(double *x, size_t stride, int count, double *alpha)
{
    double norm = 0, scale = 0, beta, first = x[0], head;
    int i;
    for (i = 0; i < count; i++) scale = WCOHI_MAX(scale, fabs(x[(size_t)i * stride]));
    *alpha = first;
    if (!(scale > 0)) return 0;
    for (i = 0; i < count; i++) {
        double t = x[(size_t)i * stride] / scale;
        norm += t * t;
    }
    norm = scale * sqrt(norm);
    *alpha = first > 0 ? -norm : norm;
    head = first - *alpha;
    beta = -head / *alpha;
    for (i = 1; i < count; i++) x[(size_t)i * stride] /= head;
    return beta;
}

/* Rows below the head of column k, and then columns right of the head of row k, are reflected.
   a [m,n] row-major; u [m], w [n] scratch. */
static void wcohi_bidiagonal(double *a, int m, int n, double *d, double *e, double *u, double *w)
{
    size_t stride = (size_t)n;
    int k, i, j;
    for (k = 0; k < n; k++) {
        double *corner = a + (size_t)k * stride + (size_t)k, beta, sum;
        beta = wcohi_householder(corner, stride, m - k, &d[k]);
        for (i = 0; i < m - k; i++) u[i] = i ? corner[(size_t)i * stride] : 1;
        for (j = 1; j < n - k; j++) w[j] = 0;
        for (i = 0; i < m - k; i++) /* w = v^T A, row by row */
            for (j = 1; j < n - k; j++) w[j] += u[i] * corner[(size_t)i * stride + (size_t)j];
        for (i = 0; i < m - k; i++)
            for (j = 1; j < n - k; j++)
                corner[(size_t)i * stride + (size_t)j] -= beta * u[i] * w[j];
        if (k + 1 >= n) break;
        beta = wcohi_householder(corner + 1, 1, n - k - 1, &e[k]);
        for (j = 1; j < n - k; j++) w[j] = j > 1 ? corner[j] : 1;
        for (i = 1; i < m - k; i++) {
            double *row = corner + (size_t)i * stride;
            for (sum = 0, j = 1; j < n - k; j++) sum += row[j] * w[j];
            for (j = 1; j < n - k; j++) row[j] -= beta * sum * w[j];
        }
    }
}

/* Singular values of the bidiagonal matrix below x: eigenvalues in (0, x) of the tridiagonal one,
   by the signs of the Sturm sequence q_i = -x - b_{i-1}^2 / q_{i-1}. squares [2n-1] = b^2. */
static int wcohi_sturm(const double *squares, int n, double x, double tiny)
{
    double q = -x;
    int i, negative = 1;
    for (i = 0; i < 2 * n - 1; i++) {
        if (fabs(q) < tiny) q = q < 0 ? -tiny : tiny;
        q = -x - squares[i] / q;
        negative += q < 0;
    }
    return negative - n; /* n eigenvalues are negative */
}

/* values [n], largest first. squares [2n-1] scratch. */
static void wcohi_bisect(const double *d, const double *e, int n, double *squares, double *values)
{
    double bound = 0, tiny;
    int i, k;
    for (i = 0; i < n; i++) {
        double off = i + 1 < n ? fabs(e[i]) : 0;
        bound = WCOHI_MAX(bound, fabs(d[i]) + WCOHI_MAX(off, i ? fabs(e[i - 1]) : 0));
        squares[2 * i] = d[i] * d[i];
        if (i + 1 < n) squares[2 * i + 1] = e[i] * e[i];
    }
    bound *= 2;
    tiny = bound * bound * DBL_MIN + DBL_MIN;
    tiny = WCOHI_MAX(tiny, bound * 1e-290);
    for (k = 0; k < n; k++) { /* the k-th from below */
        double low = 0, high = bound;
        int step;
        for (step = 0; step < 64 && high - low > bound * 1e-16; step++) {
            double middle = (low + high) / 2;
            if (wcohi_sturm(squares, n, middle, tiny) > k) high = middle;
            else low = middle;
        }
        values[n - 1 - k] = (low + high) / 2;
        if (values[n - 1 - k] < bound * 2e-16) values[n - 1 - k] = 0;
    }
}

/* exp of the entropy of s / sum s. */
static double wcohi_effective_rank(const double *values, int n)
{
    double sum = 0, entropy = 0;
    int i;
    for (i = 0; i < n; i++) sum += values[i];
    if (!(sum > 0)) return 0;
    for (i = 0; i < n; i++) {
        double p = values[i] / sum;
        if (p > 0) entropy -= p * log(p);
    }
    return exp(entropy);
}

/* The same for white noise [m,n], m >= n, whose squared singular values over m follow the law of
   Marchenko and Pastur on (1 -+ sqrt r)^2, r = n/m: with s drawn from it the rank is
   n E(s) exp(-E(s ln s) / E(s)). Midpoints in t, x = centre - radius cos t. */
static double wcohi_noise_rank(int m, int n)
{
    double r = (double)n / m, centre = 1 + r, radius = 2 * sqrt(r), mass = 0, mean = 0,
           log_mean = 0;
    int i, points = 20000;
    for (i = 0; i < points; i++) {
        double t = wcohi_pi * (i + 0.5) / points, x = centre - radius * cos(t);
        double density = sin(t) * sin(t) / x, s = sqrt(x);
        mass += density;
        mean += density * s;
        log_mean += density * s * log(s);
    }
    return n * (mean / mass) * exp(-log_mean / mean);
}

/* ---- a matrix in figures --------------------------------------------------------------------- */

typedef struct wcohi_matrix_work {
    double *a; /* [m,n], m >= n */
    double *d, *e, *u, *w, *squares, *values;
    wcohi_fft fft; /* of a row */
    wcoh_complex *z, *scratch;
} wcohi_matrix_work;

static void wcohi_matrix_layout(wcohi_matrix_work *work, int rows, int columns, wcohi_arena *arena)
{
    size_t m = (size_t)WCOHI_MAX(rows, columns), n = (size_t)WCOHI_MIN(rows, columns);
    work->a = WCOHI_TAKE(arena, wcohi_mul(m, n), double);
    work->d = WCOHI_TAKE(arena, n, double);
    work->e = WCOHI_TAKE(arena, n, double);
    work->u = WCOHI_TAKE(arena, m, double);
    work->w = WCOHI_TAKE(arena, n, double);
    work->squares = WCOHI_TAKE(arena, wcohi_mul(2, n), double);
    work->values = WCOHI_TAKE(arena, n, double);
    wcohi_fft_plan(&work->fft, columns, arena);
    work->z = WCOHI_TAKE(arena, columns, wcoh_complex);
    work->scratch = WCOHI_TAKE(arena, work->fft.scratch, wcoh_complex);
}

/* Energy of the rows' DFT bins 0 .. columns/2 in three bands; inner bins count twice. */
static void wcohi_matrix_thirds(wcohi_matrix_work *work, const float *matrix, int rows, int columns,
                                wcoh_matrix_figures *figures)
{
    int bins = columns / 2 + 1, i, k;
    double total = 0, dimensions[3] = {0, 0, 0};
    for (k = 0; k < bins; k++) dimensions[3 * k / bins] += k == 0 || 2 * k == columns ? 1 : 2;
    for (i = 0; i < rows; i++) {
        const wcoh_complex *z;
        for (k = 0; k < columns; k++) {
            work->z[k].re = (double)matrix[(size_t)i * (size_t)columns + (size_t)k];
            work->z[k].im = 0;
        }
        z = wcohi_fft_run(&work->fft, work->z, work->scratch);
        for (k = 0; k < bins; k++) {
            double power = z[k].re * z[k].re + z[k].im * z[k].im;
            figures->thirds[3 * k / bins] += k == 0 || 2 * k == columns ? power : 2 * power;
        }
    }
    for (k = 0; k < 3; k++) total += figures->thirds[k];
    for (k = 0; k < 3; k++) {
        figures->thirds[k] = total > 0 ? figures->thirds[k] / total : 0;
        figures->thirds_random[k] = dimensions[k] / columns;
    }
}

static void wcohi_matrix_identity(const float *matrix, int n, wcoh_matrix_figures *figures)
{
    double sum = 0;
    int i, j;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) {
            double x = (double)matrix[(size_t)i * (size_t)n + (size_t)j] - (i == j);
            sum += x * x;
        }
    figures->identity = sqrt(sum / n);
    figures->identity_random = sqrt((figures->norm * figures->norm + n) / n);
}

/* a [m,n] = the matrix or its transpose, whichever is tall. */
static void wcohi_matrix_tall(double *a, const float *matrix, int rows, int columns)
{
    size_t i, j, m = (size_t)rows, n = (size_t)columns;
    for (i = 0; i < m; i++)
        for (j = 0; j < n; j++)
            a[rows >= columns ? i * n + j : j * m + i] = (double)matrix[i * n + j];
}

WCOH_API wcoh_result wcoh_matrix_measure(wcoh_matrix_figures *figures, const float *matrix,
                                         int rows, int columns, double *values,
                                         const wcoh_memory *memory, wcoh_error *error)
{
    wcohi_arena arena = {NULL, 0};
    wcohi_allocation block;
    wcohi_matrix_work work;
    wcoh_result result;
    double sum = 0;
    int m = WCOHI_MAX(rows, columns), n = WCOHI_MIN(rows, columns), i;
    if (!figures) return wcohi_fail(error, WCOH_E_ARGUMENT, "matrix: the figures are NULL");
    memset(figures, 0, sizeof *figures);
    if (n < 1 || m > 1 << 20)
        return wcohi_fail(error, WCOH_E_ARGUMENT, "matrix [%d,%d]: sides are allowed from 1 to %d",
                          rows, columns, 1 << 20);
    if (wcohi_check_vectors(matrix, (size_t)rows, (size_t)columns, "matrix", error))
        return WCOH_E_ARGUMENT;
    wcohi_matrix_layout(&work, rows, columns, &arena);
    result = wcohi_allocation_take(&block, &arena, memory, arena.used, "matrix", error);
    if (result) return result;
    wcohi_matrix_layout(&work, rows, columns, &arena);
    wcohi_matrix_tall(work.a, matrix, rows, columns);
    wcohi_bidiagonal(work.a, m, n, work.d, work.e, work.u, work.w);
    wcohi_bisect(work.d, work.e, n, work.squares, work.values);
    for (i = 0; i < n; i++) sum += work.values[i] * work.values[i];
    figures->norm = sqrt(sum);
    figures->largest = work.values[0];
    figures->smallest = work.values[n - 1];
    figures->effective_rank = wcohi_effective_rank(work.values, n);
    figures->stable_rank = figures->largest > 0 ? sum / (figures->largest * figures->largest) : 0;
    figures->random_rank = wcohi_noise_rank(m, n);
    figures->identity = figures->identity_random = -1;
    if (rows == columns) wcohi_matrix_identity(matrix, rows, figures);
    wcohi_matrix_thirds(&work, matrix, rows, columns, figures);
    if (values) memcpy(values, work.values, (size_t)n * sizeof *values);
    wcohi_allocation_give(&block);
    return WCOH_OK;
}

#endif /* WAVECOH_NO_TOOLKIT */

#ifdef __cplusplus
}
#endif
#endif /* WCOHI_PASS */
#endif /* WAVECOH_IMPLEMENTATION */

/*
   This software is available under two licences: choose the one you prefer.
   SPDX-License-Identifier: Unlicense OR MIT-0

   ------------------------------------------------------------------------------
   ALTERNATIVE A - Public Domain (The Unlicense, https://unlicense.org)

   This is free and unencumbered software released into the public domain.

   Anyone is free to copy, modify, publish, use, compile, sell, or
   distribute this software, either in source code form or as a compiled
   binary, for any purpose, commercial or non-commercial, and by any
   means.

   In jurisdictions that recognize copyright laws, the author or authors
   of this software dedicate any and all copyright interest in the
   software to the public domain. We make this dedication for the benefit
   of the public at large and to the detriment of our heirs and
   successors. We intend this dedication to be an overt act of
   relinquishment in perpetuity of all present and future rights to this
   software under copyright law.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
   EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
   MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
   IN NO EVENT SHALL THE AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR
   OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
   ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR
   OTHER DEALINGS IN THE SOFTWARE.

   For more information, please refer to <https://unlicense.org>

   ------------------------------------------------------------------------------
   ALTERNATIVE B - MIT No Attribution (MIT-0)

   Copyright (c) 2026 the wavecoh authors

   Permission is hereby granted, free of charge, to any person obtaining a copy
   of this software and associated documentation files (the "Software"), to deal
   in the Software without restriction, including without limitation the rights
   to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
   copies of the Software, and to permit persons to whom the Software is
   furnished to do so.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
   LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
   SOFTWARE. */
