/*
 * Deltas: what became of some bytes that the peer has in an older version
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <string.h>

#include "delta.h"
#include "leb128.h"

G_DEFINE_QUARK(plover_delta_error_quark, plover_delta_error)

/* 0 when the eight bytes are equal; the first is the lowest. */
static uint64_t differ8(const uint8_t *old, const uint8_t *new)
{
    uint64_t a, b;

    memcpy(&a, old, sizeof(a));
    memcpy(&b, new, sizeof(b));
    return GUINT64_FROM_LE(a ^ b);
}

static uint64_t differ32(const uint8_t *old, const uint8_t *new)
{
    return differ8(old, new) | differ8(old + 8, new + 8) |
           differ8(old + 16, new + 16) | differ8(old + 24, new + 24);
}

/* Where, from @at on, the next run begins; @size if there is none. */
static size_t find_run(const uint8_t *old, const uint8_t *new, size_t at,
                       size_t size)
{
    while (size - at >= 32 && !differ32(old + at, new + at)) {
        at += 32;
    }
    while (size - at >= 8) {
        uint64_t bits = differ8(old + at, new + at);

        if (bits) {
            return at + __builtin_ctzll(bits) / 8;
        }
        at += 8;
    }
    while (at < size && old[at] == new[at]) {
        at++;
    }
    return at;
}

/*
 * Where the run that @at is in ends: at three equal bytes, as up to two cost
 * no more than the gap and the length of another run, or at the end.
 */
static size_t find_run_end(const uint8_t *old, const uint8_t *new, size_t at,
                           size_t size)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    size_t end;

    while (size - at >= 8) {
        uint64_t bits = differ8(old + at, new + at);
        /* The top bit of each byte that is equal, then of three in a row. */
        uint64_t equal = ~(((bits & low) + low) | bits | low);

        equal &= equal >> 8 & equal >> 16;
        if (equal) {
            return at + __builtin_ctzll(equal) / 8;
        }
        at += 6;
    }
    /* Too little is left to look at eight: the run ends with what differs. */
    for (end = at; at < size; at++) {
        if (old[at] != new[at]) {
            end = at + 1;
        } else if (at - end == 2) {
            break;
        }
    }
    return end;
}

gssize plover_delta_encode(const uint8_t *old, const uint8_t *new, size_t size,
                           uint8_t *delta, size_t limit)
{
    uint8_t *out = delta;
    size_t end = 0;

    for (;;) {
        size_t start = find_run(old, new, end, size);
        size_t gap = start - end;
        size_t room = limit - (out - delta);
        size_t length, header;

        if (start == size) {
            return out - delta;
        }
        end = find_run_end(old, new, start, size);
        length = end - start;
        header = plover_leb128_size(gap) + plover_leb128_size(length);
        if (header > room || length > room - header) {
            return -1;
        }
        out = plover_leb128_put(out, gap);
        out = plover_leb128_put(out, length);
        memcpy(out, new + start, length);
        out += length;
    }
}

gboolean plover_delta_apply(uint8_t *data, size_t size, const uint8_t *delta,
                            size_t delta_size, GError **errp)
{
    const uint8_t *end = delta + delta_size;
    const uint8_t *in = delta;
    size_t left = size;

    while (in < end) {
        const uint8_t *run = in;
        uint64_t gap, length;

        if (!plover_leb128_read(&in, end, &gap) ||
            !plover_leb128_read(&in, end, &length) ||
            (gap == 0 && run > delta) || gap > left ||
            length == 0 || length > left - gap ||
            length > (uint64_t)(end - in)) {
            g_set_error(errp, PLOVER_DELTA_ERROR, PLOVER_DELTA_ERROR_CORRUPT,
                        "delta of %zu bytes: no run for %zu bytes at byte %zu",
                        delta_size, size, (size_t)(run - delta));
            return FALSE;
        }
        memcpy(data + gap, in, length);
        data += gap + length;
        left -= gap + length;
        in += length;
    }
    return TRUE;
}
