/*
 * A disk in memory that can fail, be full, and lose its power
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fake-files.h"

typedef struct {
    unsigned references; /* names and descriptors */
    GByteArray *cached, *safe;
    GByteArray *unsafe; /* a byte for each sector: it is not safe */
    gboolean locked;
} Inode;

typedef struct {
    Inode *inode; /* NULL: a directory, or not open */
    gboolean used;
} Descriptor;

/* A change of the directory that is not safe. */
typedef struct {
    char *from, *to; /* from NULL: made; to NULL: removed */
    Inode *inode;
} Change;

struct FakeFiles {
    ApusFileOps ops;
    pthread_mutex_t mutex; /* not GLib's: ThreadSanitizer does not see it */
    GRand *random;
    GHashTable *names, *safe_names; /* of Inode */
    GArray *descriptors;
    GPtrArray *changes;
    unsigned calls;
    unsigned fail_at, cut_at; /* 0: never */
    int error;
    gboolean off, is_short;
    uint64_t room;
};

/* --- inodes --------------------------------------------------------------- */

static Inode *inode_new(void)
{
    Inode *inode = g_new0(Inode, 1);

    inode->references = 1;
    inode->cached = g_byte_array_new();
    inode->safe = g_byte_array_new();
    inode->unsafe = g_byte_array_new();
    return inode;
}

static Inode *inode_ref(Inode *inode)
{
    inode->references++;
    return inode;
}

static void inode_unref(void *opaque)
{
    Inode *inode = opaque;

    if (--inode->references == 0) {
        g_byte_array_unref(inode->cached);
        g_byte_array_unref(inode->safe);
        g_byte_array_unref(inode->unsafe);
        g_free(inode);
    }
}

static void resize(GByteArray *bytes, size_t size)
{
    size_t old = bytes->len;

    g_byte_array_set_size(bytes, size);
    if (size > old) {
        memset(bytes->data + old, 0, size - old);
    }
}

/* The sectors from @first to before @end are safe, as the cache has them. */
static void make_safe(Inode *inode, size_t first, size_t end)
{
    size_t from = first * FAKE_SECTOR;
    size_t to = MIN(end * FAKE_SECTOR, inode->cached->len);

    if (from < to) {
        resize(inode->safe, MAX(inode->safe->len, to));
        memcpy(inode->safe->data + from, inode->cached->data + from,
               to - from);
    }
}

/* Say of these sectors whether they are safe. */
static void mark(Inode *inode, size_t first, size_t end, gboolean safe)
{
    if (first == end) {
        return;
    }
    if (inode->unsafe->len < end) {
        resize(inode->unsafe, end);
    }
    memset(inode->unsafe->data + first, !safe, end - first);
    if (safe) {
        make_safe(inode, first, end);
    }
}

static void sync_inode(Inode *inode)
{
    resize(inode->safe, inode->cached->len);
    for (size_t sector = 0; sector < inode->unsafe->len; sector++) {
        size_t first = sector;

        while (sector < inode->unsafe->len && inode->unsafe->data[sector]) {
            sector++;
        }
        make_safe(inode, first, sector);
    }
    g_byte_array_set_size(inode->unsafe, 0);
}

static void lose(FakeFiles *files, Inode *inode)
{
    /* Of what belongs together often all or nothing is there. */
    gint32 percent = 25 * g_rand_int_range(files->random, 0, 5);

    if (inode->cached->len > inode->safe->len &&
        g_rand_boolean(files->random)) {
        resize(inode->safe, inode->cached->len);
    }
    for (size_t sector = 0; sector < inode->unsafe->len; sector++) {
        if (inode->unsafe->data[sector] &&
            sector * FAKE_SECTOR < inode->safe->len &&
            g_rand_int_range(files->random, 0, 100) < percent) {
            make_safe(inode, sector, sector + 1);
        }
    }
    g_byte_array_set_size(inode->unsafe, 0);
    g_byte_array_set_size(inode->cached, 0);
    g_byte_array_append(inode->cached, inode->safe->data, inode->safe->len);
}

/* --- what goes wrong ------------------------------------------------------ */

/* An error for this call, or 0. Whoever gets one has the mutex all the same. */
static int begin(FakeFiles *files)
{
    pthread_mutex_lock(&files->mutex);
    files->calls++;
    if (files->off) {
        return -EIO;
    }
    if (files->calls == files->fail_at) {
        return files->error;
    }
    if (files->calls == files->cut_at) {
        files->off = TRUE;
    }
    return 0;
}

/* What the call returns: one that the power cut met never returns well. */
static int64_t end(FakeFiles *files, int64_t result)
{
    int64_t real = files->off && result >= 0 ? -EIO : result;

    pthread_mutex_unlock(&files->mutex);
    return real;
}

static Inode *inode_of(FakeFiles *files, int fd)
{
    g_assert(fd >= 0 && (unsigned)fd < files->descriptors->len);
    g_assert(g_array_index(files->descriptors, Descriptor, fd).used);
    return g_array_index(files->descriptors, Descriptor, fd).inode;
}

static int new_descriptor(FakeFiles *files, Inode *inode)
{
    Descriptor descriptor = { .inode = inode, .used = TRUE };

    for (unsigned i = 0; i < files->descriptors->len; i++) {
        if (!g_array_index(files->descriptors, Descriptor, i).used) {
            g_array_index(files->descriptors, Descriptor, i) = descriptor;
            return i;
        }
    }
    g_array_append_val(files->descriptors, descriptor);
    return files->descriptors->len - 1;
}

static void change(FakeFiles *files, const char *from, const char *to,
                   Inode *inode)
{
    Change *change = g_new(Change, 1);

    *change = (Change) {
        .from = g_strdup(from),
        .to = g_strdup(to),
        .inode = inode ? inode_ref(inode) : NULL,
    };
    g_ptr_array_add(files->changes, change);
}

static void free_change(void *opaque)
{
    Change *change = opaque;

    g_free(change->from);
    g_free(change->to);
    if (change->inode) {
        inode_unref(change->inode);
    }
    g_free(change);
}

/* Do to @names what @change says; what is not there cannot be changed. */
static void apply(GHashTable *names, const Change *change)
{
    if (!change->from) {
        g_hash_table_replace(names, g_strdup(change->to),
                             inode_ref(change->inode));
        return;
    }
    if (g_hash_table_lookup(names, change->from) != change->inode) {
        return;
    }
    if (change->to) {
        g_hash_table_replace(names, g_strdup(change->to),
                             inode_ref(change->inode));
    }
    g_hash_table_remove(names, change->from);
}

static void do_change(FakeFiles *files, const char *from, const char *to,
                      Inode *inode)
{
    change(files, from, to, inode);
    apply(files->names,
          g_ptr_array_index(files->changes, files->changes->len - 1));
}

/* --- the calls ------------------------------------------------------------ */

static int fake_make_directory(void *opaque, const char *path)
{
    FakeFiles *files = opaque;

    (void)path;
    return end(files, begin(files));
}

static int fake_list(void *opaque, const char *path, GPtrArray *names)
{
    FakeFiles *files = opaque;
    g_autofree char *prefix = g_strdup_printf("%s/", path);
    GHashTableIter iter;
    void *key;
    int error = begin(files);

    g_hash_table_iter_init(&iter, files->names);
    while (error == 0 && g_hash_table_iter_next(&iter, &key, NULL)) {
        if (g_str_has_prefix(key, prefix)) {
            g_ptr_array_add(names, g_strdup((char *)key + strlen(prefix)));
        }
    }
    return end(files, error);
}

static int open_locked(FakeFiles *files, const char *path, int flags)
{
    Inode *inode = g_hash_table_lookup(files->names, path);

    if (flags & O_DIRECTORY) {
        return new_descriptor(files, NULL);
    }
    if (!inode && !(flags & O_CREAT)) {
        return -ENOENT;
    }
    if (!inode) {
        inode = inode_new();
        do_change(files, NULL, path, inode);
        inode_unref(inode);
    } else if (flags & O_TRUNC) {
        g_byte_array_set_size(inode->cached, 0);
    }
    return new_descriptor(files, inode_ref(inode));
}

static int fake_open(void *opaque, const char *path, int flags)
{
    FakeFiles *files = opaque;
    int result = begin(files);

    return end(files, result < 0 ? result : open_locked(files, path, flags));
}

static int fake_lock(void *opaque, const char *path)
{
    FakeFiles *files = opaque;
    int fd = begin(files);

    if (fd == 0) {
        fd = open_locked(files, path, O_CREAT);
        if (inode_of(files, fd)->locked) {
            inode_unref(inode_of(files, fd));
            g_array_index(files->descriptors, Descriptor, fd).used = FALSE;
            fd = -EWOULDBLOCK;
        } else {
            inode_of(files, fd)->locked = TRUE;
        }
    }
    return end(files, fd);
}

static void fake_close(void *opaque, int fd)
{
    FakeFiles *files = opaque;
    Inode *inode;

    pthread_mutex_lock(&files->mutex);
    inode = inode_of(files, fd);
    g_array_index(files->descriptors, Descriptor, fd) = (Descriptor) { 0 };
    if (inode) {
        inode->locked = FALSE;
        inode_unref(inode);
    }
    pthread_mutex_unlock(&files->mutex);
}

static int64_t fake_size(void *opaque, int fd)
{
    FakeFiles *files = opaque;
    int64_t result = begin(files);

    return end(files, result < 0 ? result : inode_of(files, fd)->cached->len);
}

static ssize_t fake_read(void *opaque, int fd, void *data, size_t size,
                         uint64_t offset)
{
    FakeFiles *files = opaque;
    ssize_t n = begin(files);

    if (n == 0) {
        const GByteArray *bytes = inode_of(files, fd)->cached;

        n = offset < bytes->len ? MIN(size, bytes->len - offset) : 0;
        if (n > 0) {
            memcpy(data, bytes->data + offset, n);
        }
    }
    return end(files, n);
}

static uint64_t used(FakeFiles *files)
{
    GHashTableIter iter;
    uint64_t sum = 0;
    void *value;

    g_hash_table_iter_init(&iter, files->names);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        sum += ((Inode *)value)->cached->len;
    }
    return sum;
}

/* Have @inode @size bytes at least. */
static int grow(FakeFiles *files, Inode *inode, uint64_t size)
{
    if (size > inode->cached->len) {
        if (used(files) + size - inode->cached->len > files->room) {
            return -ENOSPC;
        }
        resize(inode->cached, size);
    }
    return 0;
}

static ssize_t write_locked(FakeFiles *files, int fd, const void *data,
                            size_t size, uint64_t offset, gboolean sync)
{
    Inode *inode = inode_of(files, fd);
    int error;

    g_assert(((uintptr_t)data | size | offset) % 4096 == 0);
    if (files->is_short && g_rand_boolean(files->random)) {
        size = FAKE_SECTOR * g_rand_int_range(files->random, 0,
                                              size / FAKE_SECTOR);
    }
    error = grow(files, inode, offset + size);
    if (error < 0) {
        return error;
    }
    memcpy(inode->cached->data + offset, data, size);
    mark(inode, offset / FAKE_SECTOR, (offset + size) / FAKE_SECTOR,
         sync && !files->off);
    return size;
}

static ssize_t fake_write(void *opaque, int fd, const void *data, size_t size,
                          uint64_t offset, gboolean sync)
{
    FakeFiles *files = opaque;
    ssize_t n = begin(files);

    return end(files, n < 0 ? n : write_locked(files, fd, data, size, offset,
                                               sync));
}

static int fake_sync(void *opaque, int fd)
{
    FakeFiles *files = opaque;
    int error = begin(files);

    if (error == 0 && !files->off) {
        Inode *inode = inode_of(files, fd);

        if (inode) {
            sync_inode(inode);
        } else {
            for (unsigned i = 0; i < files->changes->len; i++) {
                apply(files->safe_names,
                      g_ptr_array_index(files->changes, i));
            }
            g_ptr_array_set_size(files->changes, 0);
        }
    }
    return end(files, error);
}

static int fake_allocate(void *opaque, int fd, uint64_t size)
{
    FakeFiles *files = opaque;
    int error = begin(files);

    return end(files, error < 0 ? error
                                : grow(files, inode_of(files, fd), size));
}

static int fake_rename(void *opaque, const char *from, const char *to)
{
    FakeFiles *files = opaque;
    int error = begin(files);

    if (error == 0) {
        Inode *inode = g_hash_table_lookup(files->names, from);

        if (inode) {
            do_change(files, from, to, inode);
        }
        error = inode ? 0 : -ENOENT;
    }
    return end(files, error);
}

static int fake_remove(void *opaque, const char *path)
{
    FakeFiles *files = opaque;
    int error = begin(files);

    if (error == 0) {
        Inode *inode = g_hash_table_lookup(files->names, path);

        if (inode) {
            do_change(files, path, NULL, inode);
        }
        error = inode ? 0 : -ENOENT;
    }
    return end(files, error);
}

/* --- the disk ------------------------------------------------------------- */

static GHashTable *new_names(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                 inode_unref);
}

FakeFiles *fake_files_new(uint32_t seed)
{
    FakeFiles *files = g_new0(FakeFiles, 1);

    files->ops = (ApusFileOps) {
        .opaque = files,
        .make_directory = fake_make_directory,
        .list = fake_list,
        .lock = fake_lock,
        .open = fake_open,
        .close = fake_close,
        .size = fake_size,
        .read = fake_read,
        .write = fake_write,
        .sync = fake_sync,
        .allocate = fake_allocate,
        .rename = fake_rename,
        .remove = fake_remove,
    };
    pthread_mutex_init(&files->mutex, NULL);
    files->random = g_rand_new_with_seed(seed);
    files->names = new_names();
    files->safe_names = new_names();
    files->descriptors = g_array_new(FALSE, FALSE, sizeof(Descriptor));
    files->changes = g_ptr_array_new_with_free_func(free_change);
    files->room = UINT64_MAX;
    return files;
}

const ApusFileOps *fake_files_ops(FakeFiles *files)
{
    return &files->ops;
}

static void forget_descriptors(FakeFiles *files)
{
    for (unsigned i = 0; i < files->descriptors->len; i++) {
        Descriptor *descriptor = &g_array_index(files->descriptors,
                                                Descriptor, i);

        if (descriptor->used && descriptor->inode) {
            descriptor->inode->locked = FALSE;
            inode_unref(descriptor->inode);
        }
    }
    g_array_set_size(files->descriptors, 0);
}

void fake_files_free(FakeFiles *files)
{
    forget_descriptors(files);
    g_ptr_array_unref(files->changes);
    g_hash_table_unref(files->names);
    g_hash_table_unref(files->safe_names);
    g_array_unref(files->descriptors);
    g_rand_free(files->random);
    pthread_mutex_destroy(&files->mutex);
    g_free(files);
}

unsigned fake_files_calls(FakeFiles *files)
{
    unsigned calls;

    pthread_mutex_lock(&files->mutex);
    calls = files->calls;
    pthread_mutex_unlock(&files->mutex);
    return calls;
}

void fake_files_fail(FakeFiles *files, unsigned n, int error)
{
    pthread_mutex_lock(&files->mutex);
    files->fail_at = files->calls + n;
    files->error = error;
    pthread_mutex_unlock(&files->mutex);
}

void fake_files_cut(FakeFiles *files, unsigned n)
{
    pthread_mutex_lock(&files->mutex);
    files->cut_at = files->calls + n;
    pthread_mutex_unlock(&files->mutex);
}

void fake_files_be_short(FakeFiles *files, gboolean on)
{
    pthread_mutex_lock(&files->mutex);
    files->is_short = on;
    pthread_mutex_unlock(&files->mutex);
}

void fake_files_set_room(FakeFiles *files, uint64_t bytes)
{
    pthread_mutex_lock(&files->mutex);
    files->room = bytes;
    pthread_mutex_unlock(&files->mutex);
}

static void power_on(FakeFiles *files)
{
    forget_descriptors(files);
    files->off = FALSE;
    files->cut_at = files->fail_at = 0;
}

static void copy_names(GHashTable *to, GHashTable *from)
{
    GHashTableIter iter;
    void *key, *value;

    g_hash_table_remove_all(to);
    g_hash_table_iter_init(&iter, from);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_hash_table_insert(to, g_strdup(key), inode_ref(value));
    }
}

void fake_files_power_cut(FakeFiles *files)
{
    GHashTableIter iter;
    void *value;

    pthread_mutex_lock(&files->mutex);
    for (unsigned i = 0; i < files->changes->len; i++) {
        if (g_rand_boolean(files->random)) {
            apply(files->safe_names, g_ptr_array_index(files->changes, i));
        }
    }
    g_ptr_array_set_size(files->changes, 0);
    copy_names(files->names, files->safe_names);
    g_hash_table_iter_init(&iter, files->names);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        lose(files, value);
    }
    power_on(files);
    pthread_mutex_unlock(&files->mutex);
}

void fake_files_kill(FakeFiles *files)
{
    pthread_mutex_lock(&files->mutex);
    power_on(files);
    pthread_mutex_unlock(&files->mutex);
}

void fake_files_settle(FakeFiles *files)
{
    GHashTableIter iter;
    void *value;

    g_ptr_array_set_size(files->changes, 0);
    copy_names(files->safe_names, files->names);
    g_hash_table_iter_init(&iter, files->names);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Inode *inode = value;

        g_byte_array_set_size(inode->unsafe, 0);
        g_byte_array_set_size(inode->safe, 0);
        g_byte_array_append(inode->safe, inode->cached->data,
                            inode->cached->len);
    }
}

void fake_files_copy(FakeFiles *files, FakeFiles *from)
{
    GHashTableIter iter;
    void *key, *value;

    g_hash_table_remove_all(files->names);
    g_hash_table_iter_init(&iter, from->names);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const GByteArray *bytes = ((Inode *)value)->cached;
        Inode *inode = inode_new();

        g_byte_array_append(inode->cached, bytes->data, bytes->len);
        g_byte_array_append(inode->safe, bytes->data, bytes->len);
        g_hash_table_insert(files->names, g_strdup(key), inode);
    }
    g_ptr_array_set_size(files->changes, 0);
    copy_names(files->safe_names, files->names);
    power_on(files);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

GPtrArray *fake_files_names(FakeFiles *files)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    void *key;

    g_hash_table_iter_init(&iter, files->names);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        g_ptr_array_add(names, g_strdup(key));
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}

GByteArray *fake_files_bytes(FakeFiles *files, const char *path)
{
    Inode *inode = g_hash_table_lookup(files->names, path);

    return inode ? inode->cached : NULL;
}

void fake_files_delete(FakeFiles *files, const char *path)
{
    g_hash_table_remove(files->names, path);
    g_hash_table_remove(files->safe_names, path);
}
