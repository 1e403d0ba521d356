/*
 * A tape: records that can be read after their writer was killed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "colo-net/apus/core/types.h"

typedef struct {
    char magic[8];
    uint64_t size;
    uint64_t records;
    int64_t counter;
    uint8_t unused[32];
} Header;

struct Tape {
    Header *header;
    uint8_t *records;
    size_t limit, bytes;
};

Tape *tape_new(const char *path, size_t size, size_t limit, GError **errp)
{
    size_t bytes = sizeof(Header) + size * limit;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    void *map = MAP_FAILED;
    Tape *tape;

    if (fd >= 0 && ftruncate(fd, bytes) == 0) {
        map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (map == MAP_FAILED) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO, "%s: %s", path,
                    g_strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    if (map == MAP_FAILED) {
        return NULL;
    }
    tape = g_new0(Tape, 1);
    tape->header = map;
    tape->records = (uint8_t *)map + sizeof(Header);
    tape->limit = limit;
    tape->bytes = bytes;
    memcpy(tape->header->magic, "APUSTAPE", 8);
    tape->header->size = size;
    return tape;
}

const void *tape_open(const char *path, size_t size, size_t *records)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t bytes = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    const Header *header = MAP_FAILED;

    if (bytes > (off_t)sizeof(Header)) {
        header = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (header == MAP_FAILED || header->size != size) {
        return NULL;
    }
    *records = header->records;
    return header + 1;
}

void tape_free(Tape *tape)
{
    munmap(tape->header, tape->bytes);
    g_free(tape);
}

void tape_add(Tape *tape, const void *record)
{
    uint64_t records = tape->header->records;

    if (records == tape->limit) {
        g_error("a tape is full: %" PRIu64 " records", records);
    }
    memcpy(tape->records + records * tape->header->size, record,
           tape->header->size);
    __atomic_store_n(&tape->header->records, records + 1, __ATOMIC_RELEASE);
}

void *tape_newest(Tape *tape)
{
    uint64_t records = tape->header->records;

    return records ? tape->records + (records - 1) * tape->header->size : NULL;
}

void tape_count(Tape *tape, int64_t more)
{
    __atomic_fetch_add(&tape->header->counter, more, __ATOMIC_RELAXED);
}
