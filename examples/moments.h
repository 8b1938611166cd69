/* Moments of the optimiser across files: those of an engine's run into a checkpoint that our trainer
   resumes, and those of ours out of one. A model whose parameters are the moments carries them: the
   walk over an engine's flat list then reads or writes them as it does parameters.
   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef MOMENTS_H
#define MOMENTS_H

#include "bytes.h"

/* How far a run is. */
typedef struct progress {
    unsigned long long step, adam; /* steps of it, and of its moments */
    double rate;
    wcoh_model *moments[2]; /* m, v; NULL: none */
} progress;

static void progress_end(progress *run)
{
    wcoh_model_destroy(run->moments[0]);
    wcoh_model_destroy(run->moments[1]);
}

/* A model like another, all zero. */
static wcoh_model *moments_new(const wcoh_model *model)
{
    wcoh_model_desc desc = *wcoh_model_get_desc(model);
    wcoh_model *moments = NULL;
    wcoh_error error;
    wcoh_param param;
    int i;
    memset(&desc.memory, 0, sizeof desc.memory);
    must(wcoh_model_create(&moments, &desc, &error), NULL, &error);
    for (i = 0; i < wcoh_model_param_count(moments); i++)
        if (wcoh_model_param(moments, i, &param, NULL) == WCOH_OK)
            memset(param.data, 0, param.count * sizeof *param.data);
    return moments;
}

/* ---- out of our checkpoint ------------------------------------------------------------------- */

static unsigned long long note_whole(const wcoh_tensors *tensors, const char *key)
{
    const char *text = wcoh_tensors_metadata(tensors, key);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* What a file, `path` in sentences, has of AdamW's moments; a model's has none, and the step is 0. Those
   of a run with Muon, which has AdamW's for a part of its parameters alone, are none either, nor is one
   of the two without the other: that is told. */
static progress moments_read(const char *path, const wcoh_io *io, const wcoh_model *model)
{
    static const char letters[2] = {'m', 'v'};
    wcoh_tensors *tensors = NULL;
    wcoh_error error;
    progress run;
    int which, i, found = 0, missing;
    memset(&run, 0, sizeof run);
    run.rate = 3e-4;
    must(wcoh_tensors_open(&tensors, io, NULL, &error), path, &error);
    for (which = 0; which < 2; which++) {
        wcoh_model *moments = moments_new(model);
        for (i = missing = 0; i < wcoh_model_param_count(model); i++) {
            wcoh_param param;
            char name[128];
            int index;
            must(wcoh_model_param(moments, i, &param, &error), path, &error);
            snprintf(name, sizeof name, "adam.%c.%s", letters[which], param.name);
            if ((index = wcoh_tensors_find(tensors, name)) < 0) {
                missing += param.trained;
                continue;
            }
            must(wcoh_tensors_read(tensors, index, 0, param.count, param.data, &error), name, &error);
            found++;
        }
        if (found && !missing) run.moments[which] = moments;
        else wcoh_model_destroy(moments);
    }
    if (!run.moments[0] || !run.moments[1]) {
        if (found)
            say("%s: its moments are not all AdamW's: none goes along, as if its run began anew",
                path);
        progress_end(&run);
        run.moments[0] = run.moments[1] = NULL;
    } else {
        const char *rate = wcoh_tensors_metadata(tensors, "trainer.lr");
        run.step = note_whole(tensors, "train.step");
        run.adam = note_whole(tensors, "train.adam_steps");
        if (rate) run.rate = strtod(rate, NULL);
    }
    wcoh_tensors_close(tensors);
    return run;
}

/* ---- into one -------------------------------------------------------------------------------- */

/* A copy of `text` with `from`, which stands there, as `to`. */
static char *text_with(char *text, const char *from, size_t length, const char *to)
{
    char *place = strstr(text, from),
         *out = (char *)malloc(strlen(text) + strlen(to) + 8); /* blanks may follow */
    if (!place || !out) fail(EXIT_FAILED, "a checkpoint without %s", from);
    sprintf(out, "%.*s%s%s", (int)(place - text), text, to, place + length);
    free(text);
    return out;
}

/* The moments over those of a checkpoint, at the places that its header tells. */
static void moments_put(const char *header, unsigned char *data, const progress *run)
{
    int which, i;
    for (which = 0; which < 2; which++)
        for (i = 0; i < wcoh_model_param_count(run->moments[which]); i++) {
            wcoh_param param;
            char name[128];
            const char *at;
            bytes_out out;
            size_t k;
            if (wcoh_model_param(run->moments[which], i, &param, NULL) < 0) continue;
            snprintf(name, sizeof name, "\"adam.%c.%s\":", which ? 'v' : 'm', param.name);
            if (!(at = strstr(header, name)) || !(at = strstr(at, "data_offsets\":["))) continue;
            out.bytes = data + strtoull(strchr(at, '[') + 1, NULL, 10);
            out.used = 0;
            for (k = 0; k < param.count; k++) put_float(&out, (float)param.data[k]);
        }
}

/* A trainer with the moments and the step of `run`, which come from the file at `path`: its own
   checkpoint, changed as a safetensors file may be (without its checksum), and resumed. */
static wcoh_trainer *moments_trainer(const char *path, wcoh_model *model, wcoh_preset preset,
                                     progress *run)
{
    wcoh_trainer_desc desc = wcoh_trainer_preset(preset);
    wcoh_trainer *trainer = NULL;
    wcoh_memory_file file;
    wcoh_error error;
    wcoh_io io;
    char *header, text[64];
    size_t size, before;
    desc.lr = run->rate > 0 && run->rate <= 1 ? run->rate : desc.lr;
    desc.steps = -1; /* no file says how many were meant */
    desc.cpu.threads = 1; /* it makes none */
    if (wcoh_model_get_desc(model)->context < 64) desc.seq = wcoh_model_get_desc(model)->context;
    must(wcoh_trainer_create(&trainer, model, &desc, &error), path, &error);
    file.capacity = wcoh_trainer_file_size(trainer) + 64;
    file.data = (unsigned char *)malloc(file.capacity);
    file.used = 0;
    if (!file.data) fail(EXIT_FAILED, "no memory for a checkpoint");
    io = wcoh_io_memory(&file);
    must(wcoh_trainer_save(trainer, &io, &error), path, &error);
    for (before = 0, size = 8; size-- > 0;) before = before << 8 | file.data[size];
    if (!(header = (char *)malloc(before + 1))) fail(EXIT_FAILED, "no memory for a checkpoint");
    memcpy(header, file.data + 8, before);
    header[before] = 0;
    moments_put(header, file.data + 8 + before, run);
    header = text_with(header, "\"wavecoh.checksum\":\"", 38, "");
    if (run->step < run->adam) run->step = run->adam;
    sprintf(text, "\"train.step\":\"%llu\"", run->step);
    header = text_with(header, "\"train.step\":\"0\"", 16, text);
    sprintf(text, "\"train.adam_steps\":\"%llu\"", run->adam);
    header = text_with(header, "\"train.adam_steps\":\"0\"", 22, text);
    while ((size = strlen(header)) % 8) strcat(header, " ");
    memmove(file.data + 8 + size, file.data + 8 + before, file.used - 8 - before);
    memcpy(file.data + 8, header, size);
    file.used = file.used - before + size;
    for (before = 0; before < 8; before++) file.data[before] = (unsigned char)(size >> 8 * before);
    must(wcoh_trainer_resume(trainer, &io, &error), path, &error);
    free(file.data);
    free(header);
    return trainer;
}

#endif
