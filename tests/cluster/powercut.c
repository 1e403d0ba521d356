/*
 * A disk that forgets what was not synced
 *
 * What was not synced may be lost, or be there, or be there in part: for each
 * write that is decided when it is made, and what is to be there is written
 * at once, as a kernel might do.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "powercut.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "colo-net/apus/runtime/files.h"
#include "names.h"

typedef struct {
    uint64_t offset;
    size_t size;
    uint8_t data[];
} Write;

/* A file on disk, whatever it is called, and what is not written to it. */
typedef struct {
    const char *kind; /* for the names of points: "state", "log", ... */
    gboolean directory;
    GPtrArray *writes;
} File;

struct PowerCut {
    ApusFileOps ops;
    Trace *trace;
    pthread_mutex_t lock; /* of all that follows */
    PowerCutMood mood;
    Names *names;
    GHashTable *files; /* inode -> File */
    GHashTable *opened; /* descriptor -> File */
};

static void file_free(void *opaque)
{
    File *file = opaque;

    g_ptr_array_free(file->writes, TRUE);
    g_free(file);
}

/* --- points -------------------------------------------------------------- */

static const char *kind_of(const char *path)
{
    const char *base = strrchr(path, '/');

    base = base ? base + 1 : path;
    return g_str_has_prefix(base, "state") ? "state" :
           g_str_has_prefix(base, "log") ? "log" : "other";
}

static void point(PowerCut *power, const File *file, const char *step)
{
    char name[32];

    g_snprintf(name, sizeof(name), "%s-%s", file->kind, step);
    trace_point(power->trace, name);
}

/* --- data ---------------------------------------------------------------- */

/* Really write the first @size bytes at @data. */
static int put(int fd, const void *data, size_t size, uint64_t offset)
{
    ssize_t n = size ? pwrite(fd, data, size, offset) : 0;

    return n < 0 ? -errno : (size_t)n < size ? -ENOSPC : 0;
}

static ssize_t write_synced(PowerCut *power, File *file, int fd,
                            const uint8_t *data, size_t size, uint64_t offset)
{
    size_t half = size / 2;
    int result;

    point(power, file, "write");
    result = put(fd, data, half, offset);
    if (result == 0) {
        point(power, file, "sync");
        result = put(fd, data + half, size - half, offset + half);
    }
    if (result == 0) {
        point(power, file, "synced");
    }
    return result < 0 ? result : (ssize_t)size;
}

static ssize_t write_unsynced(PowerCut *power, File *file, int fd,
                              const uint8_t *data, size_t size,
                              uint64_t offset)
{
    uint32_t fate = g_random_int_range(0, 4);
    size_t there = fate == 0 ? size : fate == 1 ? size / 2 : 0;
    Write *later = g_malloc(sizeof(Write) + size);
    int result;

    *later = (Write) { .offset = offset, .size = size };
    memcpy(later->data, data, size);
    g_ptr_array_add(file->writes, later);
    point(power, file, "write");
    result = put(fd, data, there, offset);
    return result < 0 ? result : (ssize_t)size;
}

static ssize_t write_file(void *opaque, int fd, const void *data, size_t size,
                          uint64_t offset, gboolean sync)
{
    PowerCut *power = opaque;
    ssize_t result = -ENOSPC;
    File *file;

    pthread_mutex_lock(&power->lock);
    file = g_hash_table_lookup(power->opened, GINT_TO_POINTER(fd));
    if (power->mood != POWER_CUT_FULL) {
        result = sync && power->mood != POWER_CUT_LIES ?
            write_synced(power, file, fd, data, size, offset) :
            write_unsynced(power, file, fd, data, size, offset);
    }
    pthread_mutex_unlock(&power->lock);
    return result;
}

static int sync_data(PowerCut *power, File *file, int fd)
{
    int result = 0;

    for (guint i = 0; i < file->writes->len && result == 0; i++) {
        Write *late = g_ptr_array_index(file->writes, i);

        if (i == file->writes->len / 2) {
            point(power, file, "sync");
        }
        result = put(fd, late->data, late->size, late->offset);
    }
    if (result == 0) {
        g_ptr_array_set_size(file->writes, 0);
        point(power, file, "synced");
    }
    return result;
}

static int sync_file(void *opaque, int fd)
{
    PowerCut *power = opaque;
    File *file;
    int result;

    pthread_mutex_lock(&power->lock);
    file = g_hash_table_lookup(power->opened, GINT_TO_POINTER(fd));
    if (power->mood == POWER_CUT_LIES) {
        result = 0;
    } else if (file->directory) {
        point(power, file, "sync");
        result = names_sync(power->names);
        point(power, file, "synced");
    } else {
        result = sync_data(power, file, fd);
    }
    pthread_mutex_unlock(&power->lock);
    return result;
}

/* What was written counts for who reads, too. */
static size_t lay_over(const File *file, uint8_t *data, size_t size,
                       uint64_t offset, size_t have)
{
    for (guint i = 0; i < file->writes->len; i++) {
        const Write *late = g_ptr_array_index(file->writes, i);
        uint64_t first = MAX(offset, late->offset);
        uint64_t end = MIN(offset + size, late->offset + late->size);

        if (first < end) {
            memcpy(data + (first - offset), late->data + (first - late->offset),
                   end - first);
            have = MAX(have, end - offset);
        }
    }
    return have;
}

static ssize_t read_file(void *opaque, int fd, void *data, size_t size,
                         uint64_t offset)
{
    PowerCut *power = opaque;
    ssize_t have;
    int error;

    pthread_mutex_lock(&power->lock);
    memset(data, 0, size);
    have = pread(fd, data, size, offset);
    error = errno;
    if (have >= 0) {
        File *file = g_hash_table_lookup(power->opened, GINT_TO_POINTER(fd));

        have = lay_over(file, data, size, offset, have);
    }
    pthread_mutex_unlock(&power->lock);
    return have < 0 ? -error : have;
}

static int64_t file_size(void *opaque, int fd)
{
    PowerCut *power = opaque;
    struct stat info;
    int64_t size;
    File *file;

    if (fstat(fd, &info) < 0) {
        return -errno;
    }
    size = info.st_size;
    pthread_mutex_lock(&power->lock);
    file = g_hash_table_lookup(power->opened, GINT_TO_POINTER(fd));
    for (guint i = 0; i < file->writes->len; i++) {
        const Write *late = g_ptr_array_index(file->writes, i);

        size = MAX(size, (int64_t)(late->offset + late->size));
    }
    pthread_mutex_unlock(&power->lock);
    return size;
}

static int allocate(void *opaque, int fd, uint64_t size)
{
    PowerCut *power = opaque;
    gboolean full;

    pthread_mutex_lock(&power->lock);
    full = power->mood == POWER_CUT_FULL;
    pthread_mutex_unlock(&power->lock);
    return full ? -ENOSPC : -posix_fallocate(fd, 0, size);
}

/* --- names --------------------------------------------------------------- */

static File *file_of(PowerCut *power, int fd, const char *path, gboolean made)
{
    struct stat info;
    File *file;

    g_assert(fstat(fd, &info) == 0);
    file = g_hash_table_lookup(power->files, GSIZE_TO_POINTER(info.st_ino));
    /* A new file may have the inode of one that was removed. */
    if (!file || made) {
        file = g_new0(File, 1);
        file->writes = g_ptr_array_new_with_free_func(g_free);
        file->directory = S_ISDIR(info.st_mode);
        file->kind = file->directory ? "directory" : kind_of(path);
        g_hash_table_replace(power->files, GSIZE_TO_POINTER(info.st_ino),
                             file);
    }
    return file;
}

static int open_file(void *opaque, const char *path, int flags)
{
    PowerCut *power = opaque;
    gboolean made;
    int fd;

    pthread_mutex_lock(&power->lock);
    fd = names_open(power->names, path, flags & ~O_DIRECT, &made);
    if (fd >= 0) {
        g_hash_table_replace(power->opened, GINT_TO_POINTER(fd),
                             file_of(power, fd, path, made));
    }
    pthread_mutex_unlock(&power->lock);
    return fd;
}

static void close_file(void *opaque, int fd)
{
    PowerCut *power = opaque;

    pthread_mutex_lock(&power->lock);
    g_hash_table_remove(power->opened, GINT_TO_POINTER(fd));
    close(fd);
    pthread_mutex_unlock(&power->lock);
}

static int make_directory(void *opaque, const char *path)
{
    (void)opaque;
    return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int list(void *opaque, const char *path, GPtrArray *found)
{
    PowerCut *power = opaque;
    int result;

    pthread_mutex_lock(&power->lock);
    result = names_list(power->names, path, found);
    pthread_mutex_unlock(&power->lock);
    return result;
}

static int take_lock(void *opaque, const char *path)
{
    (void)opaque;
    return apus_files.lock(apus_files.opaque, path);
}

static int rename_file(void *opaque, const char *from, const char *to)
{
    PowerCut *power = opaque;
    int result;

    pthread_mutex_lock(&power->lock);
    result = names_rename(power->names, from, to);
    pthread_mutex_unlock(&power->lock);
    return result;
}

static int remove_file(void *opaque, const char *path)
{
    PowerCut *power = opaque;
    int result;

    pthread_mutex_lock(&power->lock);
    result = names_remove(power->names, path);
    pthread_mutex_unlock(&power->lock);
    return result;
}

/* --- life ---------------------------------------------------------------- */

PowerCut *power_cut_new(Trace *trace)
{
    PowerCut *power = g_new0(PowerCut, 1);

    power->trace = trace;
    pthread_mutex_init(&power->lock, NULL);
    power->names = names_new();
    power->files = g_hash_table_new_full(NULL, NULL, NULL, file_free);
    power->opened = g_hash_table_new(NULL, NULL);
    power->ops = (ApusFileOps) {
        .opaque = power,
        .make_directory = make_directory, .list = list, .lock = take_lock,
        .open = open_file, .close = close_file, .size = file_size,
        .read = read_file, .write = write_file, .sync = sync_file,
        .allocate = allocate, .rename = rename_file, .remove = remove_file,
    };
    return power;
}

void power_cut_free(PowerCut *power)
{
    if (!power) {
        return;
    }
    names_free(power->names);
    g_hash_table_destroy(power->opened);
    g_hash_table_destroy(power->files);
    pthread_mutex_destroy(&power->lock);
    g_free(power);
}

const ApusFileOps *power_cut_ops(PowerCut *power)
{
    return &power->ops;
}

gboolean power_cut_set(PowerCut *power, PowerCutMood mood, GError **errp)
{
    if (!power) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "only the disk of --power-cut has moods");
        return FALSE;
    }
    pthread_mutex_lock(&power->lock);
    power->mood = mood;
    pthread_mutex_unlock(&power->lock);
    return TRUE;
}
