/* What train asks of the other processes of its run. Here it is the only one, and all of this is
   nothing; train_mpi.c defines TEAM_MPI and the same functions over MPI. No part of the library.

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_TEAM_H
#define WAVECOH_EXAMPLES_TEAM_H

#include "common.h"

#ifdef TEAM_MPI
#define TEAM_NAME "train_mpi"
static void team_begin(int *argc, char ***argv);
static int team_size(void);
static int team_leads(void);
static void team_join(wcoh_trainer_desc *desc, int own_accumulate);
static void team_same(const char *what, const wcoh_model *model, const uint32_t *tokens,
                      size_t count);
static void team_agree(int last);
static int team_stops(void);
static void team_saved(const char *path, uint64_t step);
static void team_line(uint64_t steps);
static int team_end(int status);
#else
#define TEAM_NAME "train"
/* The first thing in main. */
static void team_begin(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
}
static int team_size(void) { return 1; }
/* 1: this process prints and writes files, alone among all. */
static int team_leads(void) { return 1; }
/* The trainer to be takes its share of the run. */
static void team_join(wcoh_trainer_desc *desc, int own_accumulate)
{
    (void)desc;
    (void)own_accumulate;
}
/* The end, unless all have the same weights and tokens. */
static void team_same(const char *what, const wcoh_model *model, const uint32_t *tokens,
                      size_t count)
{
    (void)what;
    (void)model;
    (void)tokens;
    (void)count;
}
/* All go on together, or none, with the sentence of one. After the last time a failure is at once the
   end of all. */
static void team_agree(int last) { (void)last; }
/* 1 once all know that the run is to be interrupted; a unit of work lies between two calls. */
static int team_stops(void) { return interrupted; }
/* The file that holds the run if a process dies. */
static void team_saved(const char *path, uint64_t step)
{
    (void)path;
    (void)step;
}
/* What was sent, after so many steps. */
static void team_line(uint64_t steps) { (void)steps; }
/* The last thing in main; the status that it returns. */
static int team_end(int status) { return status; }
#endif

#endif
