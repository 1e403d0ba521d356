/*
 * The file that describes one protected VM: from the disk, and what is made of
 * it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config-internal.h"

#define FILE_MAX (64 << 10)
#define EMULATOR "qemu-system-x86_64"

/* --- memory --------------------------------------------------------------- */

static void disk_free(gpointer data)
{
    ColonyDisk *disk = data;

    g_free(disk->id);
    g_hash_table_unref(disk->files);
    g_free(disk->format);
    g_free(disk->interface);
    g_free(disk);
}

static void nic_free(gpointer data)
{
    ColonyNic *nic = data;

    g_free(nic->id);
    g_free(nic->bridge);
    g_free(nic->tap);
    g_free(nic->mac);
    g_free(nic->model);
    g_free(nic);
}

static void node_free(gpointer data)
{
    ColonyNode *node = data;

    g_free(node->name);
    g_free(node->host);
    g_free(node->directory);
    g_free(node);
}

ColonyConfig *colony_config_new(const char *path)
{
    ColonyConfig *config = g_new0(ColonyConfig, 1);

    config->path = g_canonicalize_filename(path, NULL);
    config->disks = g_ptr_array_new_with_free_func(disk_free);
    config->nics = g_ptr_array_new_with_free_func(nic_free);
    config->nodes = g_ptr_array_new_with_free_func(node_free);
    return config;
}

void colony_config_free(ColonyConfig *config)
{
    if (!config) {
        return;
    }
    g_free(config->path);
    g_free(config->name);
    g_free(config->machine);
    g_free(config->accel);
    g_free(config->cpu_model);
    g_free(config->kernel);
    g_free(config->initrd);
    g_free(config->append);
    g_free(config->firmware);
    g_strfreev(config->arguments);
    g_free(config->emulator);
    g_ptr_array_unref(config->disks);
    g_ptr_array_unref(config->nics);
    g_ptr_array_unref(config->nodes);
    g_free(config->transport);
    g_free(config->durability);
    g_free(config->key_file);
    g_free(config->tls_directory);
    g_free(config->metrics_host);
    g_free(config);
}

/* --- the file ------------------------------------------------------------- */

/* At most FILE_MAX bytes; NULL: @error is set to what is wrong. */
static GByteArray *read_file(const char *path, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_sized_new(FILE_MAX + 1);
    /* Not blocking: it might be a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    const char *wrong = NULL;
    gssize n = 1;

    if (fd >= 0 && fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)) {
        wrong = "is no regular file";
    }
    g_byte_array_set_size(bytes, FILE_MAX + 1);
    bytes->len = 0;
    while (fd >= 0 && !wrong && n > 0 && bytes->len <= FILE_MAX) {
        n = read(fd, bytes->data + bytes->len, FILE_MAX + 1 - bytes->len);
        bytes->len += MAX(n, 0);
    }
    if (fd < 0 || n < 0) {
        wrong = g_strerror(errno);
    } else if (bytes->len > FILE_MAX) {
        wrong = "is longer than 64 KiB; is it the right file?";
    }
    if (fd >= 0) {
        close(fd);
    }
    if (wrong) {
        g_set_error(error, COLONY_CONFIG_ERROR, COLONY_CONFIG_ERROR_FILE,
                    "%s: %s", path, wrong);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

ColonyConfig *colony_config_load(const char *path, GError **error)
{
    g_autoptr(GByteArray) bytes = read_file(path, error);

    return bytes ? colony_config_parse(path, (char *)bytes->data, bytes->len,
                                       error) : NULL;
}

char *colony_config_emulator(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = g_path_get_dirname(self ?: "/usr/bin/colony");
    g_autofree char *parent = g_path_get_dirname(folder);
    char *installed = g_build_filename(parent, "libexec/colony", EMULATOR,
                                       NULL);

    if (!g_file_test(installed, G_FILE_TEST_EXISTS)) {
        g_free(installed);
        return g_build_filename(folder, EMULATOR, NULL);
    }
    return installed;
}

/* --- questions ------------------------------------------------------------ */

const ColonyNode *colony_config_node(const ColonyConfig *config,
                                     const char *name)
{
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        if (!strcmp(node->name, name)) {
            return node;
        }
    }
    return NULL;
}

const ColonyNode *colony_config_member(const ColonyConfig *config, unsigned id)
{
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        if (node->id == id) {
            return node;
        }
    }
    return NULL;
}

guint64 colony_config_digest(const ColonyConfig *config)
{
    g_autofree char *all = colony_config_print(config);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256,
                                                         all, -1);

    sum[16] = '\0';
    return g_ascii_strtoull(sum, NULL, 16);
}
