/*
 * Guest helper: numbered records on a disk, each acknowledged when durable.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TCP port 7004; one answer per line:
 *
 *     append    writes and flushes the next record: "ok SEQ"
 *     last      "ok SEQ" of the last record, 0 if there is none
 *     check SEQ reads a record: "ok SEQ", or "bad SEQ WHY"
 *     verify    reads all records: "ok LAST", or "bad SEQ WHY" of the first
 *               that is not what was written
 *     slowest   "ok USEC" of the slowest append since this was asked last
 *
 * An answer "error WHY" means that nothing is known about the request.
 *
 * Record SEQ (from 1) is the 512 bytes at (SEQ - 1) * 512:
 *
 *       0  "diskseq1"
 *       8  SEQ, little endian
 *      16  488 bytes of filling, xorshift64 started with SEQ
 *     504  FNV-1a (64 bits) of the 504 bytes before, little endian
 *
 * Reads and writes are direct where the file system allows: what the disk
 * holds is checked, not what the guest's page cache does.
 *
 * --file=PATH  file or device (/data/diskseq if a disk is mounted at /data,
 *              otherwise /dev/vda)
 * --then=PATH  another one, which gets each record when the first one has it,
 *              flushed; it is only written
 */

#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RECORD = 512, FILLING = 16, DIGEST = RECORD - 8 };

static const char magic[8] = "diskseq1";
static const char *path;
static const char *then_path;
static int fd;
static int then_fd = -1;
static uint64_t last;
static uint64_t slowest_us;

typedef union Record {
    uint8_t bytes[RECORD];
    uint64_t words[RECORD / 8];
} Record;

/* Aligned for direct I/O */
static Record wanted __attribute__((aligned(4096)));
static Record found __attribute__((aligned(4096)));

static void make_record(Record *r, uint64_t seq)
{
    uint64_t x = seq;
    uint64_t digest = 0xcbf29ce484222325ULL;

    memcpy(r->bytes, magic, sizeof(magic));
    r->words[1] = seq;
    for (int i = FILLING / 8; i < DIGEST / 8; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        r->words[i] = x;
    }
    for (int i = 0; i < DIGEST; i++) {
        digest = (digest ^ r->bytes[i]) * 0x100000001b3ULL;
    }
    r->words[DIGEST / 8] = digest;
}

/* NULL if record seq is there, otherwise what is wrong with it */
static const char *check_record(uint64_t seq)
{
    ssize_t n = pread(fd, &found, RECORD, (seq - 1) * RECORD);

    if (n < 0) {
        return strerror(errno);
    }
    if (n < RECORD) {
        return "beyond the end";
    }
    make_record(&wanted, seq);
    if (!memcmp(&wanted, &found, RECORD)) {
        return NULL;
    }
    if (memcmp(found.bytes, magic, sizeof(magic))) {
        return "no record";
    }
    return found.words[1] == seq ? "torn record" : "record of another number";
}

/* NULL if record seq is in the file and flushed, otherwise what went wrong */
static const char *put_record(int file, uint64_t seq)
{
    ssize_t n = pwrite(file, &wanted, RECORD, (seq - 1) * RECORD);

    if (n != RECORD) {
        return n < 0 ? strerror(errno) : "disk full";
    }
    return fdatasync(file) ? strerror(errno) : NULL;
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static int append_record(char *text, size_t size)
{
    uint64_t seq = last + 1;
    uint64_t begin = now_us();
    uint64_t took;
    const char *why;

    make_record(&wanted, seq);
    why = put_record(fd, seq);
    if (!why && then_fd >= 0) {
        why = put_record(then_fd, seq);
    }
    if (why) {
        return snprintf(text, size, "error append: %s", why);
    }
    took = now_us() - begin;
    if (took > slowest_us) {
        slowest_us = took;
    }
    last = seq;
    return snprintf(text, size, "ok %llu", (unsigned long long)seq);
}

static int tell_slowest(char *text, size_t size)
{
    uint64_t us = slowest_us;

    slowest_us = 0;
    return snprintf(text, size, "ok %llu", (unsigned long long)us);
}

static int check_records(uint64_t from, uint64_t to, char *text, size_t size)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        const char *why = check_record(seq);

        if (why) {
            return snprintf(text, size, "bad %llu %s",
                            (unsigned long long)seq, why);
        }
    }
    return snprintf(text, size, "ok %llu", (unsigned long long)to);
}

static int reply(const char *line, char *text, size_t size)
{
    unsigned long long seq;

    if (!strcmp(line, "append")) {
        return append_record(text, size);
    }
    if (!strcmp(line, "last")) {
        return snprintf(text, size, "ok %llu", (unsigned long long)last);
    }
    if (!strcmp(line, "slowest")) {
        return tell_slowest(text, size);
    }
    if (!strcmp(line, "verify")) {
        return check_records(1, last, text, size);
    }
    if (sscanf(line, "check %llu", &seq) == 1 && seq) {
        return check_records(seq, seq, text, size);
    }
    return snprintf(text, size,
                    "error want append, last, slowest, verify or check SEQ");
}

static void choose_path(void)
{
    struct stat root;
    struct stat data;

    path = "/dev/vda";
    if (!stat("/", &root) && !stat("/data", &data) &&
        root.st_dev != data.st_dev) {
        path = "/data/diskseq";
    }
}

static int open_direct(const char *file)
{
    int opened = open(file, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);

    if (opened < 0 && errno == EINVAL) {
        opened = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    }
    if (opened < 0) {
        die("%s: %s", file, strerror(errno));
    }
    return opened;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--file=", 7)) {
            path = argv[i] + 7;
        } else if (!strncmp(argv[i], "--then=", 7)) {
            then_path = argv[i] + 7;
        } else {
            die("%s: unknown argument", argv[i]);
        }
    }
    if (!path) {
        choose_path();
    }
    fd = open_direct(path);
    if (then_path) {
        then_fd = open_direct(then_path);
    }
    while (!check_record(last + 1)) {
        last++;
    }
    serve(7004, false, reply);
}
