/*
 * Masks: which sectors of a block are data
 *
 * Bit n of the words is sector n of the block.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_MASK_H
#define GANNET_MASK_H

#include <glib.h>
#include <stdint.h>

/* The bits of word @i that lie between sectors @first and @end (exclusive). */
static inline uint64_t gannet_mask_word(unsigned i, unsigned first,
                                        unsigned end)
{
    uint64_t word = ~UINT64_C(0);

    if (end <= i * 64 || first >= i * 64 + 64) {
        return 0;
    }
    if (first > i * 64) {
        word <<= first % 64;
    }
    if (end < i * 64 + 64) {
        word &= ~(~UINT64_C(0) << end % 64);
    }
    return word;
}

static inline void gannet_mask_set(uint64_t *mask, unsigned first,
                                   unsigned end)
{
    for (unsigned i = first / 64; i * 64 < end; i++) {
        mask[i] |= gannet_mask_word(i, first, end);
    }
}

static inline void gannet_mask_clear(uint64_t *mask, unsigned first,
                                     unsigned end)
{
    for (unsigned i = first / 64; i * 64 < end; i++) {
        mask[i] &= ~gannet_mask_word(i, first, end);
    }
}

static inline gboolean gannet_mask_any(const uint64_t *mask, unsigned words)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < words; i++) {
        any |= mask[i];
    }
    return any != 0;
}

/* Whether each sector of @part is one of @mask. */
static inline gboolean gannet_mask_has(const uint64_t *mask,
                                       const uint64_t *part, unsigned words)
{
    uint64_t lacking = 0;

    for (unsigned i = 0; i < words; i++) {
        lacking |= part[i] & ~mask[i];
    }
    return lacking == 0;
}

/* The first sector from @from on that is in the mask, or is not; or @end. */
static inline unsigned gannet_mask_find(const uint64_t *mask, unsigned from,
                                        unsigned end, gboolean set)
{
    for (unsigned i = from / 64; i * 64 < end; i++) {
        uint64_t word = (set ? mask[i] : ~mask[i]) &
                        gannet_mask_word(i, from, end);

        if (word) {
            return i * 64 + __builtin_ctzll(word);
        }
    }
    return end;
}

/* The next run of sectors that are: from *@first, up to *@end at most. */
static inline gboolean gannet_mask_run(const uint64_t *mask, unsigned *first,
                                       unsigned *end)
{
    *first = gannet_mask_find(mask, *first, *end, TRUE);
    if (*first == *end) {
        return FALSE;
    }
    *end = gannet_mask_find(mask, *first, *end, FALSE);
    return TRUE;
}

#endif
