/*
 * Guest helper: echo server with a sequence number and a time stamp.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TCP and UDP port 7001.  Each line TEXT is answered with
 *
 *     SEQ NSEC TEXT
 *
 * SEQ counts the answers of this server, over all connections, from 1; it
 * never goes back while the VM lives, whichever replica runs it.  NSEC is
 * CLOCK_MONOTONIC in nanoseconds; two VMs never agree on it, so that every
 * answer diverges.  --stamp=seq|time|none leaves the other (or both) out;
 * with seq or none, two VMs given the same input say the same.
 */

#define _GNU_SOURCE
#include "serve.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static bool stamp_seq = true;
static bool stamp_time = true;
static unsigned long long seq;

static int reply(const char *line, char *text, size_t size)
{
    struct timespec ts;
    int len = 0;

    seq++;
    if (stamp_seq) {
        len += snprintf(text + len, size - len, "%llu ", seq);
    }
    if (stamp_time) {
        clock_gettime(CLOCK_MONOTONIC, &ts);
        len += snprintf(text + len, size - len, "%llu ",
                        ts.tv_sec * 1000000000ULL + ts.tv_nsec);
    }
    len += snprintf(text + len, size - len, "%s", line);
    return len;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--stamp=seq")) {
            stamp_time = false;
        } else if (!strcmp(argv[i], "--stamp=time")) {
            stamp_seq = false;
        } else if (!strcmp(argv[i], "--stamp=none")) {
            stamp_seq = stamp_time = false;
        } else if (strcmp(argv[i], "--stamp=both")) {
            die("%s: want --stamp=both, seq, time or none", argv[i]);
        }
    }
    serve(7001, true, reply);
}
