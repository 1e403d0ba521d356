/*
 * Does this host have what a node needs?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check-host.h"
#include "key-file.h"

/* @path may be NULL: nothing is needed then. @remedy: "; ..." */
static gboolean check_access(const char *file, const char *what,
                             const char *path, int mode, const char *remedy)
{
    if (path && access(path, mode) < 0) {
        g_printerr("%s: %s: %s: %s%s\n", file, what, path, strerror(errno),
                   remedy);
        return FALSE;
    }
    return TRUE;
}

gboolean colony_check_host_vm(const char *file, const ColonyConfig *config)
{
    gboolean good = TRUE;

    good &= check_access(file, "[vm] emulator", config->emulator, X_OK,
                         "; install colony-qemu, or write emulator=");
    good &= check_access(file, "[vm] kernel", config->kernel, R_OK, "");
    good &= check_access(file, "[vm] initrd", config->initrd, R_OK, "");
    good &= check_access(file, "[vm] firmware", config->firmware, R_OK, "");
    if (!strcmp(config->accel, "kvm")) {
        good &= check_access(file, "[vm] accel", "/dev/kvm", R_OK | W_OK,
                             "; without KVM write accel=tcg, which is slow");
    }
    return good;
}

static gboolean check_disk(const char *file, const char *group,
                           const char *path)
{
    struct stat info;

    if (!check_access(file, group, path, R_OK | W_OK, "")) {
        return FALSE;
    }
    if (path && stat(path, &info) == 0 && !S_ISREG(info.st_mode) &&
        !S_ISBLK(info.st_mode)) {
        g_printerr("%s: %s: %s is neither a file nor a block device\n",
                   file, group, path);
        return FALSE;
    }
    return TRUE;
}

gboolean colony_check_host_disks(const char *file, const ColonyConfig *config,
                                 const ColonyNode *node)
{
    gboolean good = TRUE;

    for (unsigned i = 0; i < config->disks->len; i++) {
        const ColonyDisk *disk = config->disks->pdata[i];
        g_autofree char *group = g_strdup_printf("[disk %s]", disk->id);

        good &= check_disk(file, group,
                           g_hash_table_lookup(disk->files, node->name));
    }
    return good;
}

gboolean colony_check_host_nics(const char *file, const ColonyConfig *config)
{
    gboolean good = TRUE;

    for (unsigned i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = config->nics->pdata[i];
        g_autofree char *group = g_strdup_printf("[nic %s]", nic->id);

        if (!if_nametoindex(nic->bridge ?: nic->tap)) {
            g_printerr("%s: %s %s=%s: there is no such device on this host; "
                       "make it first\n", file, group,
                       nic->bridge ? "bridge" : "tap", nic->bridge ?: nic->tap);
            good = FALSE;
        }
    }
    return good;
}

gboolean colony_check_host_tls(const char *file, const ColonyConfig *config)
{
    static const char *const names[] = {
        "ca-cert.pem", "cert.pem", "key.pem", "keys.psk",
    };
    gboolean good = TRUE;

    for (unsigned i = 0; config->tls_directory && i < G_N_ELEMENTS(names);
         i++) {
        g_autofree char *path = g_build_filename(config->tls_directory,
                                                 names[i], NULL);

        good &= check_access(file, "[tls] directory", path, R_OK, "");
    }
    return good;
}

gboolean colony_check_host_key(const char *file, const ColonyConfig *config)
{
    g_autoptr(GError) error = NULL;

    if (!colony_key_file_check(config->key_file, &error)) {
        g_printerr("%s: %s\n", file, error->message);
        return FALSE;
    }
    return TRUE;
}
