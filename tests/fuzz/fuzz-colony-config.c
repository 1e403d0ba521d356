/*
 * Fuzzing of the file that describes a VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/types.h"
#include "qemu/colony/config-internal.h"
#include "tests/fuzz/fuzz.h"

/* What is accepted, GKeyFile reads in the same way. */
static void check_same_for_glib(const char *text, size_t size)
{
    g_autoptr(ColonyIni) ini = colony_ini_new("vm.conf", text, size);
    g_autoptr(GKeyFile) keys = g_key_file_new();
    g_autofree char *copy = g_strndup(text, size);

    g_assert_true(g_key_file_load_from_data(keys, copy, strlen(copy), 0,
                                            NULL));
    for (unsigned i = 0; i < ini->groups->len; i++) {
        const ColonyIniGroup *group = ini->groups->pdata[i];
        GHashTableIter all;
        gpointer key, entry;

        g_hash_table_iter_init(&all, group->entries);
        while (g_hash_table_iter_next(&all, &key, &entry)) {
            g_autofree char *value = g_key_file_get_value(keys, group->name,
                                                          key, NULL);

            g_assert_nonnull(value);
            g_assert_cmpstr(g_strstrip(value), ==,
                            ((ColonyIniEntry *)entry)->value);
        }
    }
}

static void check_nodes(const ColonyConfig *config)
{
    unsigned runs = 0;

    g_assert_cmpuint(config->nodes->len, >=, 3);
    g_assert_cmpuint(config->nodes->len, <=, APUS_MAX_MEMBERS);
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = config->nodes->pdata[i];

        runs += node->can_run;
        g_assert_true(colony_config_node(config, node->name) == node);
        g_assert_true(colony_config_member(config, node->id) == node);
        g_assert_cmpuint(node->id, >=, 1);
        g_assert_cmpuint(node->id, <=, G_MAXUINT16);
        g_assert_nonnull(node->host);
        g_assert_true(g_path_is_absolute(node->directory));
        g_assert_cmpuint(node->disk_port + config->disks->len, <=,
                         node->can_run ? G_MAXUINT16 + 1 : G_MAXUINT);
        for (unsigned n = 0; n < config->disks->len; n++) {
            const ColonyDisk *disk = config->disks->pdata[n];
            const char *file = g_hash_table_lookup(disk->files, node->name);

            g_assert_true(!node->can_run == !file);
            g_assert_true(!file || g_path_is_absolute(file));
        }
    }
    g_assert_cmpuint(runs, >=, 2);
}

static void check(const ColonyConfig *config)
{
    g_assert_nonnull(config->name);
    g_assert_cmpuint(config->memory, >=, 1 << 20);
    g_assert_cmpuint(config->memory % (1 << 20), ==, 0);
    g_assert_cmpuint(config->cpus, >=, 1);
    g_assert_nonnull(config->machine);
    g_assert_nonnull(config->accel);
    g_assert_nonnull(config->cpu_model);
    g_assert_true(g_path_is_absolute(config->emulator));
    g_assert_cmpuint(config->timeout, >=, 30);
    g_assert_cmpuint(config->interval, >=, 10);
    g_assert_cmpuint(config->log_size & (config->log_size - 1), ==, 0);
    g_assert_true(!config->metrics_host == !config->metrics_port);
    for (unsigned i = 0; i < config->nics->len; i++) {
        const ColonyNic *nic = config->nics->pdata[i];

        g_assert_true(!nic->bridge != !nic->tap);
        g_assert_cmpuint(strlen(nic->mac), ==, 17);
    }
    check_nodes(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ColonyConfig) config = NULL;

    config = colony_config_parse("vm.conf", (const char *)data, size, &error);
    fuzz_outcome(config != NULL, error, COLONY_CONFIG_ERROR);
    if (config) {
        check(config);
        check_same_for_glib((const char *)data, size);
    } else {
        g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);

        for (unsigned i = 0; lines[i]; i++) {
            g_assert_true(g_str_has_prefix(lines[i], "vm.conf:"));
        }
    }
    return 0;
}

void fuzz_seeds(void)
{
    static const char *const seeds[] = {
        "[vm]\nname=v\nmemory=64M\n[node a]\nhost=192.0.2.1\n[node b]\n"
        "host=192.0.2.2\n[node c]\nhost=192.0.2.3\ncan-run=no\n",
        "[vm]\nname=vm1\nmemory=2G\ncpus=2\nmachine=pc,usb=off\naccel=tcg\n"
        "cpu=max,-svm\nkernel=/k\ninitrd=/i\nappend=console=ttyS0 \\ # d\n"
        "firmware=/f\narguments=-device 'virtio-rng-pci,id=a b'\n"
        "emulator=/opt/qemu\n[disk vda]\nfile=/d\nformat=qcow2\n"
        "interface=scsi\nbuffer=256M\n[disk vdb]\nfile.a=/e\nfile.b=/f\n"
        "[nic n0]\nbridge=br0\nmac=52:54:00:12:34:56\nmodel=e1000\n"
        "[nic n1]\ntap=tap0\n[node a]\nhost=2001:db8::1\nid=4\n[node b]\n"
        "host=2001:db8::2\ngroup-port=1\nmigration-port=2\ncontrol-port=3\n"
        "disk-port=4\ndirectory=/b\n[node c]\nhost=2001:db8::1\ncan-run=no\n"
        "group-port=1\ncontrol-port=2\n[policy]\npreset=plover\n"
        "unprotected=hold\nreprotect=no\ntimeout=2s\ninterval=300ms\n"
        "held-limit=1g\nlog-size=4194304\ndurability=disk\n[tls]\n"
        "directory=/etc/tls\n",
        "[vm]\nname=v\nmemory=64M\n[disk d]\nfile.a=/a\nfile.b=/b\n"
        "[node a]\nhost=127.0.0.1\n[node b]\nhost=127.0.0.1\n"
        "group-port=7100\nmigration-port=7101\ncontrol-port=7102\n"
        "disk-port=7110\n[node c]\nhost=127.0.0.1\ngroup-port=7200\n"
        "control-port=7202\ncan-run=no\n[policy]\ncompare-timeout=10\n",
        "[vm]\ncups=2\n[vm]\nmemory=x\n[polciy]\n[disk]\n[nic a b]\nx\n=\n",
        "[vm]\nname=v\nmemory=64M\n[node a]\nhost=192.0.2.1\n[node b]\n"
        "host=192.0.2.2\n[node c]\nhost=192.0.2.3\n[metrics]\nport=9100\n"
        "host=::\n",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(seeds); i++) {
        fuzz_seed(seeds[i], strlen(seeds[i]));
    }
}
