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
 */

#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 512, FILLING = 16, DIGEST = RECORD - 8 };

static const char magic[8] = "diskseq1";
static const char *path;
static int fd;
static uint64_t last;

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

static int append_record(char *text, size_t size)
{
    uint64_t seq = last + 1;
    ssize_t n;

    make_record(&wanted, seq);
    n = pwrite(fd, &wanted, RECORD, (seq - 1) * RECORD);
    if (n != RECORD) {
        return snprintf(text, size, "error write: %s",
                        n < 0 ? strerror(errno) : "disk full");
    }
    if (fdatasync(fd)) {
        return snprintf(text, size, "error fdatasync: %s", strerror(errno));
    }
    last = seq;
    return snprintf(text, size, "ok %llu", (unsigned long long)seq);
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
    if (!strcmp(line, "verify")) {
        return check_records(1, last, text, size);
    }
    if (sscanf(line, "check %llu", &seq) == 1 && seq) {
        return check_records(seq, seq, text, size);
    }
    return snprintf(text, size,
                    "error want append, last, verify or check SEQ");
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

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--file=", 7)) {
            die("%s: unknown argument", argv[i]);
        }
        path = argv[i] + 7;
    }
    if (!path) {
        choose_path();
    }
    fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EINVAL) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    }
    if (fd < 0) {
        die("%s: %s", path, strerror(errno));
    }
    while (!check_record(last + 1)) {
        last++;
    }
    serve(7004, false, reply);
}
