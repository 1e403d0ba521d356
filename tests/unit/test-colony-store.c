/*
 * What is on a node's disks while no VM runs there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>

#include "gannet-blk/core/side-page.h"
#include "qemu/colony/command.h"
#include "qemu/colony/store.h"

#define DISKS 2
#define SIZE (1 << 20)

typedef struct Fixture {
    char *directory;
    ColonyConfig config;
    ColonyNode node;
    ColonyDisk disks[DISKS];
} Fixture;

static void write_file(const char *path, const void *content, gsize size)
{
    g_assert_true(g_file_set_contents(path, content, size, NULL));
}

/* The side file of a disk, and its image. */
static void write_disk(Fixture *fixture, unsigned number, guint64 generation)
{
    const GannetSideHeader header = {
        .sequence = 7,
        .image_size = SIZE,
        .state = {
            .pair = 3,
            .generation = generation,
            .term = 2,
            .epoch = 1,
        },
    };
    g_autofree guint8 *content = g_malloc0(COLONY_METADATA_SIZE);
    g_autofree char *path = colony_path_metadata(&fixture->node,
                                                 &fixture->disks[number]);
    guint8 page[GANNET_SIDE_FILE_PAGE];
    unsigned place = gannet_side_header_put(&header, page);

    memcpy(content + place * sizeof(page), page, sizeof(page));
    write_file(path, content, COLONY_METADATA_SIZE);
    write_file(g_hash_table_lookup(fixture->disks[number].files, "a"), "", 0);
}

static GannetSideHeader read_header(Fixture *fixture, unsigned number,
                                    const char *suffix)
{
    g_autofree char *path = colony_path_metadata(&fixture->node,
                                                 &fixture->disks[number]);
    g_autofree char *name = g_strconcat(path, suffix, NULL);
    g_autofree char *content = NULL;
    GannetSideHeader header;
    gsize size;

    g_assert_true(g_file_get_contents(name, &content, &size, NULL));
    g_assert_cmpuint(size, ==, COLONY_METADATA_SIZE);
    g_assert_true(gannet_side_header_get((guint8 *)content, SIZE, &header,
                                         NULL));
    return header;
}

static void set_up(Fixture *fixture, gconstpointer unused G_GNUC_UNUSED)
{
    static const char *const names[DISKS] = { "root", "data" };

    fixture->directory = g_dir_make_tmp("colony-XXXXXX", NULL);
    fixture->node.name = (char *)"a";
    fixture->node.directory = fixture->directory;
    fixture->node.can_run = TRUE;
    fixture->config.disks = g_ptr_array_new();
    for (unsigned i = 0; i < DISKS; i++) {
        ColonyDisk *disk = &fixture->disks[i];

        disk->id = (char *)names[i];
        disk->files = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                            g_free);
        g_hash_table_insert(disk->files, (char *)"a", g_build_filename(
            fixture->directory, names[i], NULL));
        g_ptr_array_add(fixture->config.disks, disk);
    }
}

static void tear_down(Fixture *fixture, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GDir) dir = g_dir_open(fixture->directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(fixture->directory, name,
                                                 NULL);

        g_unlink(path);
    }
    g_rmdir(fixture->directory);
    g_free(fixture->directory);
    for (unsigned i = 0; i < DISKS; i++) {
        g_hash_table_unref(fixture->disks[i].files);
    }
    g_ptr_array_unref(fixture->config.disks);
}

static ColonyStored read_all(Fixture *fixture)
{
    return colony_store_read(&fixture->config, &fixture->node, NULL);
}

static char *put_aside(Fixture *fixture, guint64 generation)
{
    GError *error = NULL;
    char *names = colony_store_put_aside(&fixture->config, &fixture->node,
                                         generation, &error);

    g_assert_no_error(error);
    return names;
}

static void test_read(Fixture *fixture, gconstpointer unused G_GNUC_UNUSED)
{
    ColonyStored stored;

    write_disk(fixture, 0, 5);
    g_assert_cmpint(read_all(fixture).state, ==, COLONY_STORE_MISSING);
    write_disk(fixture, 1, 3);
    stored = read_all(fixture);
    g_assert_cmpint(stored.state, ==, COLONY_STORE_CLEAN);
    g_assert_cmpuint(stored.generation, ==, 5);
    g_assert_cmpuint(stored.lowest, ==, 3);
}

static void test_newer(Fixture *fixture, gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *names = NULL;
    GannetSideHeader header;

    write_disk(fixture, 0, 5);
    write_disk(fixture, 1, 4);
    names = put_aside(fixture, 4);
    g_assert_cmpstr(names, ==, "root");
    header = read_header(fixture, 0, "");
    g_assert_cmpuint(header.state.generation, ==, 0);
    g_assert_cmpuint(header.state.pair, ==, 0);
    g_assert_true(header.state.partial);
    g_assert_cmpuint(read_header(fixture, 0, ".old").state.generation, ==, 5);
    g_assert_cmpuint(read_header(fixture, 1, "").state.generation, ==, 4);
    /* No VM starts from them. */
    g_assert_cmpint(read_all(fixture).state, ==, COLONY_STORE_PARTIAL);
    /* What was interrupted can be done again. */
    g_assert_null(put_aside(fixture, 4));
    g_assert_cmpuint(read_header(fixture, 0, ".old").state.generation, ==, 5);
}

static void test_kept(Fixture *fixture, gconstpointer unused G_GNUC_UNUSED)
{
    write_disk(fixture, 0, 5);
    write_disk(fixture, 1, 5);
    g_assert_null(put_aside(fixture, 5));
    g_assert_null(put_aside(fixture, G_MAXINT64));
    fixture->node.can_run = FALSE;
    g_assert_null(put_aside(fixture, 1));
    fixture->node.can_run = TRUE;
    g_assert_cmpuint(read_all(fixture).lowest, ==, 5);
}

static void test_new(Fixture *fixture, gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree guint8 *zeroes = g_malloc0(COLONY_METADATA_SIZE);
    g_autofree char *path = colony_path_metadata(&fixture->node,
                                                 &fixture->disks[0]);

    write_file(path, zeroes, COLONY_METADATA_SIZE);
    g_assert_null(put_aside(fixture, 0));
}

#define ADD(NAME, TEST) \
    g_test_add("/colony/store/" NAME, Fixture, NULL, set_up, TEST, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("all-disks-are-read", test_read);
    ADD("newer-disks-are-put-aside", test_newer);
    ADD("others-are-not", test_kept);
    ADD("nor-new-ones", test_new);
    return g_test_run();
}
