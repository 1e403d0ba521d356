/*
 * The names in a directory, as they are and as they would be after a power cut
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNSYNCED ".unsynced"

typedef struct {
    char *from;
    char *to; /* NULL: @from is removed */
} Order;

struct Names {
    /* name -> name on disk, or "" if there is none any more */
    GHashTable *real;
    GPtrArray *orders;
    unsigned made; /* files, so far */
};

static void order_free(void *opaque)
{
    Order *order = opaque;

    g_free(order->from);
    g_free(order->to);
    g_free(order);
}

Names *names_new(void)
{
    Names *names = g_new0(Names, 1);

    names->real = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        g_free);
    names->orders = g_ptr_array_new_with_free_func(order_free);
    return names;
}

void names_free(Names *names)
{
    g_hash_table_destroy(names->real);
    g_ptr_array_free(names->orders, TRUE);
    g_free(names);
}

/* What @path is called on disk; NULL if it is not there. */
static const char *real_name(Names *names, const char *path)
{
    const char *real = g_hash_table_lookup(names->real, path);

    if (real) {
        return *real ? real : NULL;
    }
    return access(path, F_OK) == 0 ? path : NULL;
}

static void set_real(Names *names, const char *path, const char *real)
{
    g_hash_table_replace(names->real, g_strdup(path), g_strdup(real));
}

static void add_order(Names *names, const char *from, const char *to)
{
    Order *order = g_new(Order, 1);

    *order = (Order) { .from = g_strdup(from), .to = g_strdup(to) };
    g_ptr_array_add(names->orders, order);
}

static int make(Names *names, const char *path, int flags)
{
    g_autofree char *real = g_strdup_printf("%s.%u" UNSYNCED, path,
                                            names->made++);
    int fd;

    unlink(real); /* of an earlier process */
    fd = open(real, flags | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    set_real(names, path, real);
    add_order(names, real, path);
    return fd;
}

int names_open(Names *names, const char *path, int flags, gboolean *made)
{
    const char *real = real_name(names, path);
    int fd;

    *made = !real;
    if (!real) {
        return flags & O_CREAT ? make(names, path, flags) : -ENOENT;
    }
    if (flags & O_EXCL) {
        return -EEXIST;
    }
    fd = open(real, (flags & ~O_CREAT) | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int names_rename(Names *names, const char *from, const char *to)
{
    g_autofree char *real = g_strdup(real_name(names, from));

    if (!real) {
        return -ENOENT;
    }
    add_order(names, from, to);
    set_real(names, to, real);
    set_real(names, from, "");
    return 0;
}

int names_remove(Names *names, const char *path)
{
    if (!real_name(names, path)) {
        return -ENOENT;
    }
    add_order(names, path, NULL);
    set_real(names, path, "");
    return 0;
}

int names_sync(Names *names)
{
    int result = 0;

    for (guint i = 0; i < names->orders->len && result == 0; i++) {
        Order *order = g_ptr_array_index(names->orders, i);

        if (order->to ? rename(order->from, order->to)
                      : unlink(order->from)) {
            result = -errno;
        }
    }
    g_ptr_array_set_size(names->orders, 0);
    g_hash_table_remove_all(names->real);
    return result;
}

/* Is the file that is called @real on disk one that is not there yet? */
static gboolean is_unsynced(Names *names, const char *directory,
                            const char *real)
{
    g_autofree char *path = g_build_filename(directory, real, NULL);
    GHashTableIter iter;
    void *value;

    if (!g_str_has_suffix(real, UNSYNCED)) {
        return FALSE;
    }
    g_hash_table_iter_init(&iter, names->real);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (strcmp(value, path) == 0) {
            return TRUE;
        }
    }
    unlink(path); /* the power went */
    return TRUE;
}

/* Those that have another name, or none, on disk. */
static void list_changed(Names *names, const char *directory, GPtrArray *found)
{
    GHashTableIter iter;
    void *key, *value;

    g_hash_table_iter_init(&iter, names->real);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_autofree char *parent = g_path_get_dirname(key);

        if (*(char *)value && strcmp(parent, directory) == 0) {
            g_ptr_array_add(found, g_path_get_basename(key));
        }
    }
}

int names_list(Names *names, const char *directory, GPtrArray *found)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;

    if (!stream) {
        return -errno;
    }
    while ((entry = readdir(stream))) {
        g_autofree char *path = g_build_filename(directory, entry->d_name,
                                                 NULL);

        if (!is_unsynced(names, directory, entry->d_name) &&
            !g_hash_table_contains(names->real, path)) {
            g_ptr_array_add(found, g_strdup(entry->d_name));
        }
    }
    closedir(stream);
    list_changed(names, directory, found);
    return 0;
}
