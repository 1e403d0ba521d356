/*
 * What is on a node's disks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "gannet-blk/core/side-page.h"
#include "store.h"

static const char *const names[] = {
    [COLONY_STORE_CLEAN] = "clean",
    [COLONY_STORE_PARTIAL] = "partial",
    [COLONY_STORE_MISSING] = "missing",
};

/* @header: all 0 if nothing was ever replicated. */
static gboolean read_side_file(const char *path, GannetSideHeader *header,
                               GError **error)
{
    g_autofree char *content = NULL;
    gsize size;
    GError *local = NULL;

    *header = (GannetSideHeader) { 0 };
    if (!g_file_get_contents(path, &content, &size, &local)) {
        if (g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
            g_error_free(local);
            return TRUE;
        }
        g_propagate_error(error, local);
        return FALSE;
    }
    if (size < GANNET_SIDE_FILE_BYTES) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s is too short", path);
        return FALSE;
    }
    if (gannet_side_is_zero((guint8 *)content, size)) {
        return TRUE;
    }
    return gannet_side_header_get((guint8 *)content, GANNET_SIDE_ANY_SIZE,
                                  header, error);
}

static ColonyStore read_disk(const ColonyNode *node, const ColonyDisk *disk,
                             GannetSideState *state, GError **error)
{
    const char *image = g_hash_table_lookup(disk->files, node->name);
    g_autofree char *path = colony_path_metadata(node, disk);
    GannetSideHeader header;

    *state = (GannetSideState) { 0 };
    if (!image || access(image, R_OK | W_OK) < 0) {
        int number = errno;

        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number),
                    "%s: %s", image ?: "no file", g_strerror(number));
        return COLONY_STORE_MISSING;
    }
    if (!read_side_file(path, &header, error)) {
        return COLONY_STORE_MISSING;
    }
    *state = header.state;
    return state->partial ? COLONY_STORE_PARTIAL : COLONY_STORE_CLEAN;
}

static void add_disk(JsonArray *disks, const ColonyDisk *disk,
                     ColonyStore store, const GannetSideState *state,
                     const GError *error)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "disk", disk->id);
    json_object_set_string_member(object, "state", names[store]);
    json_object_set_int_member(object, "generation", state->generation);
    json_object_set_int_member(object, "term", state->term);
    json_object_set_int_member(object, "epoch", state->epoch);
    if (error) {
        json_object_set_string_member(object, "error", error->message);
    }
    json_array_add_object_element(disks, object);
}

ColonyStored colony_store_read(const ColonyConfig *config,
                               const ColonyNode *node, JsonArray *disks)
{
    ColonyStored stored = {
        .state = COLONY_STORE_CLEAN,
        .lowest = G_MAXINT64,
    };

    for (guint i = 0; i < config->disks->len && node->can_run; i++) {
        const ColonyDisk *disk = g_ptr_array_index(config->disks, i);
        g_autoptr(GError) error = NULL;
        GannetSideState state;
        ColonyStore store = read_disk(node, disk, &state, &error);

        stored.state = MAX(stored.state, store);
        stored.generation = MAX(stored.generation, state.generation);
        stored.lowest = MIN(stored.lowest, state.generation);
        if (disks) {
            add_disk(disks, disk, store, &state, error);
        }
    }
    return stored;
}

/*
 * In the place of a side file comes one that knows of nothing but the disk's
 * size, so that no VM starts from it.
 */
static gboolean replace_side_file(const char *path,
                                  const GannetSideHeader *before,
                                  GError **error)
{
    const GannetSideHeader header = {
        .sequence = before->sequence + 1,
        .image_size = before->image_size,
        .state = { .partial = TRUE },
    };
    g_autofree char *old = g_strconcat(path, ".old", NULL);
    g_autofree char *content = NULL, *fresh = g_malloc0(COLONY_METADATA_SIZE);
    guint8 page[GANNET_SIDE_FILE_PAGE];
    unsigned place = gannet_side_header_put(&header, page);
    gsize size;

    memcpy(fresh + place * sizeof(page), page, sizeof(page));
    return g_file_get_contents(path, &content, &size, error) &&
           g_file_set_contents_full(old, content, size,
                                    G_FILE_SET_CONTENTS_CONSISTENT |
                                    G_FILE_SET_CONTENTS_DURABLE, 0600,
                                    error) &&
           g_file_set_contents_full(path, fresh, COLONY_METADATA_SIZE,
                                    G_FILE_SET_CONTENTS_CONSISTENT |
                                    G_FILE_SET_CONTENTS_DURABLE, 0600, error);
}

char *colony_store_put_aside(const ColonyConfig *config,
                             const ColonyNode *node, guint64 generation,
                             GError **error)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (guint i = 0; i < config->disks->len && node->can_run; i++) {
        const ColonyDisk *disk = g_ptr_array_index(config->disks, i);
        g_autofree char *path = colony_path_metadata(node, disk);
        GannetSideHeader header;

        /* What cannot be read is told of by whoever uses it. */
        if (!read_side_file(path, &header, NULL) ||
            header.state.generation <= generation) {
            continue;
        }
        if (!replace_side_file(path, &header, error)) {
            return NULL;
        }
        g_string_append_printf(names, "%s%s", names->len ? ", " : "",
                               disk->id);
    }
    return names->len ? g_string_free(g_steal_pointer(&names), FALSE) : NULL;
}
