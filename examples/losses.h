/* Losses of single tokens, as wcoh_eval_desc gives them, in blocks: what two networks differ by over a
   text, and how sure that is. What is near is alike, whole scenes are: over 111,488 characters of
   Shakespeare's plays, seven pairs of small networks, 435 blocks of 256 give half the deviation that 16
   blocks give, 32 give nine tenths, 8 a seventh more; single characters would give a third. Hence few
   blocks, and large (batch means; Schmeiser, Operations Research 30, 1982: 10 to 30 of them).

   SPDX-License-Identifier: Unlicense OR MIT-0 */
#ifndef WAVECOH_EXAMPLES_LOSSES_H
#define WAVECOH_EXAMPLES_LOSSES_H

#include "common.h"
#include "statistics.h"

enum { LOSS_BLOCK = 256, LOSS_BLOCKS = 16 }; /* the least tokens of a block, the most blocks */

/* Blocks of a text of `count` tokens, all as large to one token. */
COMMON_USED(__unused__)
static int losses_blocks(size_t count)
{
    size_t blocks = count / LOSS_BLOCK;
    return blocks < 1 ? 1 : blocks < LOSS_BLOCKS ? (int)blocks : LOSS_BLOCKS;
}

/* sums, counts [losses_blocks(count)] of the tokens of each block that are scored */
COMMON_USED(__unused__)
static void losses_sum(const wcoh_real *losses, size_t count, double *sums, double *counts)
{
    int blocks = losses_blocks(count), k;
    size_t i;
    for (k = 0; k < blocks; k++) sums[k] = counts[k] = 0;
    for (i = 0; i < count; i++) {
        if (losses[i] == -1) continue;
        k = (int)((uint64_t)i * (uint64_t)blocks / count);
        sums[k] += (double)losses[i];
        counts[k]++;
    }
}

#endif
