/*
 * The calls of the system that the storage makes
 *
 * A test puts its own in their place, to let a call fail, a disk be full, or
 * the power go. All return a negative errno when they fail. They block; the
 * storage calls them in threads of its own, several at once, and in the
 * caller's only while a directory is opened or closed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_FILES_H
#define APUS_FILES_H

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

#include "storage.h"

struct ApusFileOps {
    void *opaque; /* passed to each call */

    int (*make_directory)(void *opaque, const char *path);
    /* Adds the names in the directory at @path to @names. */
    int (*list)(void *opaque, const char *path, GPtrArray *names);
    /*
     * Returns a descriptor that holds the lock; -EWOULDBLOCK: another has it.
     * The file is made if it is not there.
     */
    int (*lock)(void *opaque, const char *path);
    /* @flags as open() has them; with O_DIRECT where the system can. */
    int (*open)(void *opaque, const char *path, int flags);
    void (*close)(void *opaque, int fd);
    int64_t (*size)(void *opaque, int fd);
    ssize_t (*read)(void *opaque, int fd, void *data, size_t size,
                    uint64_t offset);
    /* May write less. With @sync what it wrote is safe when it returns. */
    ssize_t (*write)(void *opaque, int fd, const void *data, size_t size,
                     uint64_t offset, gboolean sync);
    /*
     * All that was written is safe when it returns; of a directory: what was
     * made, renamed and removed in it.
     */
    int (*sync)(void *opaque, int fd);
    /* Have the space that @size bytes need. */
    int (*allocate)(void *opaque, int fd, uint64_t size);
    int (*rename)(void *opaque, const char *from, const char *to);
    int (*remove)(void *opaque, const char *path);
};

extern const ApusFileOps apus_files;

/*
 * What is built from them. Data is aligned to APUS_BLOCK, and so are sizes and
 * offsets. They read and write all of it, or fail; -EIO: it ended early.
 */
int apus_files_read(const ApusFileOps *files, int fd, void *data, size_t size,
                    uint64_t offset);
int apus_files_write(const ApusFileOps *files, int fd, const void *data,
                     size_t size, uint64_t offset, gboolean sync);
/* Make safe what was made, renamed and removed in @directory. */
int apus_files_sync_directory(const ApusFileOps *files,
                              const char *directory);

/* Memory that is aligned to APUS_BLOCK and all 0; to be freed with free(). */
void *apus_files_memory(size_t size);

/* Does @error say that there is no room on the disk now? */
gboolean apus_files_is_full(int error);

#endif
