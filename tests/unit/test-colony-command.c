/*
 * Command lines and QMP commands, word by word
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/command.h"

#define MIB (1 << 20)

/* --- a config ------------------------------------------------------------- */

static void add_node(ColonyConfig *config, const char *name, const char *host,
                     gboolean can_run)
{
    ColonyNode *node = g_new0(ColonyNode, 1);

    node->name = g_strdup(name);
    node->id = config->nodes->len + 1;
    node->host = g_strdup(host);
    node->can_run = can_run;
    node->group_port = 7000;
    node->migration_port = 7001;
    node->control_port = 7002;
    node->disk_port = 7100;
    node->directory = g_strdup_printf("/var/lib/colony/%s", name);
    g_ptr_array_add(config->nodes, node);
}

static void node_free(void *opaque)
{
    ColonyNode *node = opaque;

    g_free(node->name);
    g_free(node->host);
    g_free(node->directory);
    g_free(node);
}

static ColonyDisk *add_disk(ColonyConfig *config, const char *id,
                            const char *format, const char *interface)
{
    ColonyDisk *disk = g_new0(ColonyDisk, 1);

    disk->id = g_strdup(id);
    disk->format = g_strdup(format);
    disk->interface = g_strdup(interface);
    disk->files = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    for (guint i = 0; i < config->nodes->len; i++) {
        ColonyNode *node = config->nodes->pdata[i];

        if (node->can_run) {
            g_hash_table_insert(disk->files, node->name,
                                g_strdup_printf("/disks/%s.img", id));
        }
    }
    g_ptr_array_add(config->disks, disk);
    return disk;
}

static void disk_free(void *opaque)
{
    ColonyDisk *disk = opaque;

    g_free(disk->id);
    g_free(disk->format);
    g_free(disk->interface);
    g_hash_table_unref(disk->files);
    g_free(disk);
}

static void add_nic(ColonyConfig *config, const char *id, const char *tap,
                    const char *model)
{
    ColonyNic *nic = g_new0(ColonyNic, 1);

    nic->id = g_strdup(id);
    nic->tap = g_strdup(tap);
    nic->mac = g_strdup("52:54:00:00:00:01");
    nic->model = g_strdup(model);
    g_ptr_array_add(config->nics, nic);
}

static void nic_free(void *opaque)
{
    ColonyNic *nic = opaque;

    g_free(nic->id);
    g_free(nic->tap);
    g_free(nic->mac);
    g_free(nic->model);
    g_free(nic);
}

/* Two nodes that can run, and a witness; neither disks nor NICs. */
static ColonyConfig *config_new(void)
{
    ColonyConfig *config = g_new0(ColonyConfig, 1);

    config->name = g_strdup("shop");
    config->memory = 2048ull * MIB;
    config->cpus = 2;
    config->machine = g_strdup("q35");
    config->accel = g_strdup("kvm");
    config->emulator = g_strdup("/usr/bin/qemu-system-x86_64");
    config->disks = g_ptr_array_new_with_free_func(disk_free);
    config->nics = g_ptr_array_new_with_free_func(nic_free);
    config->nodes = g_ptr_array_new_with_free_func(node_free);
    add_node(config, "a", "192.0.2.1", TRUE);
    add_node(config, "b", "192.0.2.2", TRUE);
    add_node(config, "w", "192.0.2.3", FALSE);
    config->preset = COLONY_PRESET_HYBRID;
    config->timeout = 100;
    config->interval = 1000;
    config->compare_timeout = 50;
    config->held_limit = 32 * MIB;
    config->log_size = 64 * MIB;
    config->durability = g_strdup("memory");
    return config;
}

static const ColonyNode *node_at(const ColonyConfig *config, guint place)
{
    return config->nodes->pdata[place];
}

/* --- what comes of it ----------------------------------------------------- */

static char **qemu(const ColonyConfig *config, guint place, ColonyStart start)
{
    ColonyStartOptions options = {
        .start = start,
        .generation = 1,
        .id = "a",
        .leader = node_at(config, 0),
    };

    return colony_command_qemu(config, node_at(config, place), &options);
}

/* The value of the @nth option of this name that begins with @begin. */
static const char *value_of(char **argv, const char *option, const char *begin,
                            unsigned nth)
{
    for (unsigned i = 1; argv[i]; i++) {
        if (!strcmp(argv[i - 1], option) && g_str_has_prefix(argv[i], begin) &&
            nth-- == 0) {
            return argv[i];
        }
    }
    return NULL;
}

/* What follows: the commands as text, and NULL. */
static void G_GNUC_NULL_TERMINATED assert_commands(GPtrArray *commands, ...)
{
    g_autoptr(GPtrArray) mine = commands;
    va_list expected;

    va_start(expected, commands);
    for (guint i = 0; i < mine->len; i++) {
        g_autofree char *text = json_to_string(mine->pdata[i], FALSE);

        g_assert_cmpstr(text, ==, va_arg(expected, const char *));
    }
    g_assert_null(va_arg(expected, const char *));
    va_end(expected);
}

/* --- tests ---------------------------------------------------------------- */

#define CAPABILITIES \
    "{\"execute\":\"migrate-set-capabilities\",\"arguments\":" \
    "{\"capabilities\":[{\"capability\":\"events\",\"state\":true}," \
    "{\"capability\":\"x-colo\",\"state\":true}," \
    "{\"capability\":\"x-plover\",\"state\":true}]}}"

#define PARAMETERS(more) \
    "{\"execute\":\"migrate-set-parameters\",\"arguments\":" \
    "{\"x-checkpoint-delay\":1000" more "}}"

#define RESYNC(disk, port, mode) \
    "{\"execute\":\"gannet-resync\",\"arguments\":{\"node-name\":\"" disk \
    "\",\"peer\":{\"type\":\"inet\",\"host\":\"192.0.2.2\",\"port\":\"" \
    port "\"},\"mode\":\"" mode "\"}}"

#define MEMBERS \
    "members.0.id=1,members.0.address=192.0.2.1:7000,members.0.can-run=on," \
    "members.1.id=2,members.1.address=192.0.2.2:7000,members.1.can-run=on," \
    "members.2.id=3,members.2.address=192.0.2.3:7000,members.2.can-run=off"

static void the_whole_command_line(void)
{
    ColonyConfig *config = config_new();
    const char *const taps[] = { "tap7" };
    ColonyStartOptions options = {
        .start = COLONY_START_BOOT,
        .found = TRUE,
        .generation = 3,
        .id = "5eed",
        .leader = node_at(config, 1),
        .taps = taps,
    };
    g_auto(GStrv) argv = NULL;
    g_autofree char *text = NULL;

    config->cpu_model = g_strdup("host");
    config->arguments = g_strsplit("-vga std", " ", -1);
    add_disk(config, "data", "raw", "virtio");
    add_nic(config, "lan", NULL, "virtio-net-pci");
    argv = colony_command_qemu(config, node_at(config, 1), &options);
    text = colony_command_print((const char *const *)argv);
    g_assert_cmpstr(text, ==,
        "/usr/bin/qemu-system-x86_64 \\\n"
        "    -name guest=shop \\\n"
        "    -nodefaults \\\n"
        "    -no-user-config \\\n"
        "    -display none \\\n"
        "    -msg timestamp=on \\\n"
        "    -machine pc-q35-10.0 \\\n"
        "    -accel kvm \\\n"
        "    -cpu host \\\n"
        "    -smp 2 \\\n"
        "    -m 2048M \\\n"
        "    -rtc clock=vm \\\n"
        "    -chardev socket,id=qmp0,path=/var/lib/colony/b/qmp,server=on,"
        "wait=off \\\n"
        "    -mon chardev=qmp0,mode=control \\\n"
        "    -blockdev driver=gannet,node-name=data,metadata.driver=file,"
        "metadata.filename=/var/lib/colony/b/disk-data.meta,"
        "listen.type=inet,listen.host=192.0.2.2,listen.port=7100,"
        "file.driver=file,file.filename=/disks/data.img \\\n"
        "    -device virtio-blk-pci,id=disk-data,drive=data \\\n"
        "    -netdev tap,id=lan,ifname=tap7,script=no,downscript=no \\\n"
        "    -device virtio-net-pci,id=nic-lan,netdev=lan,"
        "mac=52:54:00:00:00:01,romfile= \\\n"
        "    -object apus-group,id=g0,cluster=shop.3.5eed,member=2,"
        "directory=/var/lib/colony/b/member,found=on,leader=2,"
        "unprotected=serve,timeout=100,durability=memory,log-size=64,"
        MEMBERS " \\\n"
        "    -object filter-apus,id=apus-lan,netdev=lan,group=g0 \\\n"
        "    -object filter-guard,id=guard-lan,netdev=lan,group=g0,"
        "release=compare,compare-timeout=50,limit=33554432 \\\n"
        "    -object plover,id=plover0,copy=hash \\\n"
        "    -vga std \\\n"
        "    -chardev socket,id=console0,path=/var/lib/colony/b/console,"
        "server=on,wait=off \\\n"
        "    -serial chardev:console0\n");
    colony_config_free(config);
}

/* But for its own number, places, and who waits. */
static void replicas_are_alike(void)
{
    ColonyConfig *config = config_new();
    g_auto(GStrv) a = NULL;
    g_auto(GStrv) b = NULL;
    guint i;

    add_nic(config, "lan", "tap0", "virtio-net-pci");
    a = qemu(config, 0, COLONY_START_BOOT);
    b = qemu(config, 1, COLONY_START_WAIT);
    for (i = 0; a[i]; i++) {
        g_autoptr(GString) text = g_string_new(b[i]);

        g_string_replace(text, "/colony/b/", "/colony/a/", 0);
        g_string_replace(text, "member=2", "member=1", 0);
        g_assert_cmpstr(a[i], ==, text->str);
    }
    g_assert_cmpstr(b[i], ==, "-incoming");
    g_assert_cmpstr(b[i + 1], ==, "defer");
    g_assert_null(b[i + 2]);
    colony_config_free(config);
}

static void the_preset_is_release_and_idle(void)
{
    ColonyConfig *config = config_new();
    g_auto(GStrv) argv = NULL;

    add_nic(config, "lan", "tap0", "virtio-net-pci");
    config->preset = COLONY_PRESET_PLOVER;
    config->hold_unprotected = TRUE;
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_cmpstr(value_of(argv, "-object", "filter-guard", 0), ==,
                    "filter-guard,id=guard-lan,netdev=lan,group=g0,"
                    "release=sync,limit=33554432");
    g_assert_cmpstr(value_of(argv, "-object", "plover", 0), ==,
                    "plover,id=plover0,copy=hash,idle=on");
    g_assert_nonnull(strstr(value_of(argv, "-object", "apus-group", 0),
                            ",found=off,leader=1,unprotected=hold,"));
    colony_config_free(config);
}

static void kernel_firmware_and_odd_memory(void)
{
    ColonyConfig *config = config_new();
    g_auto(GStrv) argv = NULL;

    config->memory += 4096;
    config->firmware = g_strdup("/fw");
    config->kernel = g_strdup("/k");
    config->initrd = g_strdup("/i");
    config->append = g_strdup("console=ttyS0 quiet");
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_nonnull(value_of(argv, "-m", "2147487744B", 0));
    g_assert_nonnull(value_of(argv, "-bios", "/fw", 0));
    g_assert_nonnull(value_of(argv, "-kernel", "/k", 0));
    g_assert_nonnull(value_of(argv, "-initrd", "/i", 0));
    g_assert_nonnull(value_of(argv, "-append", "console=ttyS0 quiet", 0));
    colony_config_free(config);
}

static void disks_of_every_kind(void)
{
    ColonyConfig *config = config_new();
    g_auto(GStrv) argv = NULL;

    add_disk(config, "s1", "qcow2", "scsi")->buffer = 5 * MIB;
    add_disk(config, "s2", "raw", "scsi");
    add_disk(config, "i", "raw", "ide");
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_cmpstr(value_of(argv, "-blockdev", "", 0), ==,
        "driver=gannet,node-name=s1,metadata.driver=file,"
        "metadata.filename=/var/lib/colony/a/disk-s1.meta,"
        "listen.type=inet,listen.host=192.0.2.1,listen.port=7100,"
        "buffer-limit=5242880,file.driver=qcow2,file.file.driver=file,"
        "file.file.filename=/disks/s1.img");
    g_assert_nonnull(strstr(value_of(argv, "-blockdev", "", 2),
                            "listen.port=7102,"));
    g_assert_nonnull(value_of(argv, "-device", "virtio-scsi-pci,id=scsi0",
                              0));
    g_assert_null(value_of(argv, "-device", "virtio-scsi-pci", 1));
    g_assert_cmpstr(value_of(argv, "-device", "scsi-hd", 1), ==,
                    "scsi-hd,id=disk-s2,drive=s2");
    g_assert_cmpstr(value_of(argv, "-device", "ide-hd", 0), ==,
                    "ide-hd,id=disk-i,drive=i");
    colony_config_free(config);
}

static void a_machine_without_pci(void)
{
    ColonyConfig *config = config_new();
    g_auto(GStrv) argv = NULL;

    g_free(config->machine);
    config->machine = g_strdup("microvm,rtc=on");
    add_disk(config, "d", "raw", "virtio");
    add_disk(config, "s", "raw", "scsi");
    add_nic(config, "lan", "tap0", "virtio-net-device");
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_cmpstr(value_of(argv, "-machine", "", 0), ==, "microvm,rtc=on");
    g_assert_nonnull(value_of(argv, "-device", "virtio-blk-device,", 0));
    g_assert_nonnull(value_of(argv, "-device", "virtio-scsi-device,", 0));
    g_assert_cmpstr(value_of(argv, "-device", "virtio-net", 0), ==,
                    "virtio-net-device,id=nic-lan,netdev=lan,"
                    "mac=52:54:00:00:00:01");
    colony_config_free(config);
}

static void only_pci_cards_have_a_rom(void)
{
    static const char *const models[] = { "usb-net", "ne2k_isa", "e1000" };
    ColonyConfig *config = config_new();
    g_auto(GStrv) argv = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        add_nic(config, models[i], "tap0", models[i]);
    }
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_null(strstr(value_of(argv, "-device", "usb-net", 0), "rom"));
    g_assert_null(strstr(value_of(argv, "-device", "ne2k_isa", 0), "rom"));
    g_assert_nonnull(strstr(value_of(argv, "-device", "e1000", 0),
                            ",romfile="));
    colony_config_free(config);
}

/* What QEMU would take for the next option, and a shell for more. */
static void values_are_quoted(void)
{
    ColonyConfig *config = config_new();
    ColonyDisk *disk = add_disk(config, "d", "raw", "virtio");
    g_auto(GStrv) argv = NULL;
    g_autofree char *text = NULL;

    g_hash_table_insert(disk->files, node_at(config, 0)->name,
                        g_strdup("/my disks/a,b,,c=d.img"));
    config->append = g_strdup("it's $HOME");
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_true(g_str_has_suffix(
        value_of(argv, "-blockdev", "", 0),
        ",file.filename=/my disks/a,,b,,,,c=d.img"));
    text = colony_command_print((const char *const *)argv);
    g_assert_nonnull(strstr(text, "    -append 'it'\\''s $HOME' \\\n"));
    g_assert_nonnull(strstr(text, "    -blockdev 'driver=gannet,"));
    colony_config_free(config);
}

static void tls_is_for_everything(void)
{
    ColonyConfig *config = config_new();
    ColonyStartOptions options = { .generation = 1, .id = "a",
                                   .leader = node_at(config, 0) };
    g_auto(GStrv) argv = NULL;
    g_autofree char *text = NULL;

    config->tls_directory = g_strdup("/etc/colony/tls");
    add_disk(config, "d", "raw", "virtio");
    argv = qemu(config, 0, COLONY_START_BOOT);
    g_assert_cmpstr(value_of(argv, "-object", "", 0), ==,
                    "tls-creds-psk,id=tls-server,endpoint=server,"
                    "dir=/etc/colony/tls,priority=NORMAL:-CHACHA20-POLY1305");
    g_assert_cmpstr(value_of(argv, "-object", "", 1), ==,
                    "tls-creds-psk,id=tls-client,endpoint=client,"
                    "dir=/etc/colony/tls,priority=NORMAL:-CHACHA20-POLY1305");
    g_assert_nonnull(strstr(value_of(argv, "-blockdev", "", 0),
                            ",tls-server-creds=tls-server,"
                            "tls-creds=tls-client,"));
    g_assert_nonnull(strstr(value_of(argv, "-object", "apus-group", 0),
                            ",tls-creds=tls-server,"));
    text = colony_command_apusd_config(config, node_at(config, 2), &options);
    g_assert_nonnull(strstr(text, "\ntls=psk\n"
                            "key-file=/etc/colony/tls/keys.psk\n"));
    assert_commands(
        colony_command_prepare(config, node_at(config, 1), node_at(config, 0)),
        CAPABILITIES, PARAMETERS(",\"tls-creds\":\"tls-server\""),
            "{\"execute\":\"migrate-incoming\",\"arguments\":"
            "{\"uri\":\"tcp:192.0.2.2:7001\"}}", NULL);
    colony_config_free(config);
}

static void what_qmp_is_told(void)
{
    ColonyConfig *config = config_new();
    const ColonyNode *a = node_at(config, 0), *b = node_at(config, 1);

    add_disk(config, "d0", "raw", "virtio");
    add_disk(config, "d1", "raw", "virtio");
    assert_commands(colony_command_prepare(config, b, a),
        CAPABILITIES, PARAMETERS(""),
            "{\"execute\":\"migrate-incoming\",\"arguments\":"
            "{\"uri\":\"tcp:192.0.2.2:7001\"}}", NULL);
    assert_commands(colony_command_resync(config, b, FALSE),
        RESYNC("d0", "7100", "changed"),
        RESYNC("d1", "7101", "changed"), NULL);
    assert_commands(colony_command_protect(config, b),
        CAPABILITIES, PARAMETERS(""),
            "{\"execute\":\"migrate\",\"arguments\":"
            "{\"uri\":\"tcp:192.0.2.2:7001\"}}", NULL);
    g_ptr_array_set_size(config->disks, 1);
    assert_commands(colony_command_resync(config, b, TRUE),
        RESYNC("d0", "7100", "full"), NULL);
    colony_config_free(config);
}

static void ipv6_addresses_have_brackets(void)
{
    ColonyConfig *config = config_new();
    g_auto(GStrv) argv = NULL;

    add_node(config, "c", "2001:db8::1", TRUE);
    add_disk(config, "d", "raw", "virtio");
    argv = qemu(config, 3, COLONY_START_BOOT);
    g_assert_nonnull(strstr(value_of(argv, "-object", "apus-group", 0),
                            "members.3.address=[2001:db8::1]:7000,"));
    g_assert_nonnull(strstr(value_of(argv, "-blockdev", "", 0),
                            "listen.host=2001:db8::1,"));
    assert_commands(colony_command_protect(config, node_at(config, 3)),
        CAPABILITIES, PARAMETERS(""),
            "{\"execute\":\"migrate\",\"arguments\":"
            "{\"uri\":\"tcp:[2001:db8::1]:7001\"}}", NULL);
    colony_config_free(config);
}

static void the_witness(void)
{
    ColonyConfig *config = config_new();
    ColonyStartOptions options = { .generation = 2, .id = "b",
                                   .leader = node_at(config, 1) };
    const ColonyNode *witness = node_at(config, 2);
    g_autofree char *text = colony_command_apusd_config(config, witness,
                                                        &options);
    g_auto(GStrv) found = colony_command_apusd(config, witness, "/f", TRUE);
    g_auto(GStrv) run = colony_command_apusd(config, witness, "/f", FALSE);

    g_assert_cmpstr(text, ==,
        "[group]\n"
        "name=shop.2.b\n"
        "id=3\n"
        "directory=/var/lib/colony/w/member\n"
        "socket=/var/lib/colony/w/witness\n"
        "leader=2\n"
        "timeout=100\n"
        "durability=memory\n"
        "log-size=64\n"
        "\n"
        "[member 1]\n"
        "address=192.0.2.1:7000\n"
        "can-run=yes\n"
        "\n"
        "[member 2]\n"
        "address=192.0.2.2:7000\n"
        "can-run=yes\n"
        "\n"
        "[member 3]\n"
        "address=192.0.2.3:7000\n"
        "can-run=no\n");
    /* There is none beside this program. */
    g_assert_cmpstr(run[0], ==, "apusd");
    g_assert_cmpstr(run[1], ==, "-c");
    g_assert_cmpstr(run[2], ==, "/f");
    g_assert_null(run[3]);
    g_assert_cmpstr(found[3], ==, "--found");
    g_assert_null(found[4]);
    colony_config_free(config);
}

static gboolean has_word(char **argv, const char *begins, const char *word)
{
    for (char **at = argv; *at; at++) {
        if (g_str_has_prefix(*at, begins)) {
            return strstr(*at, word) != NULL;
        }
    }
    return FALSE;
}

static void all_may_go_by_rdma(void)
{
    ColonyConfig *config = config_new();
    ColonyStartOptions options = { .generation = 2, .id = "b",
                                   .leader = node_at(config, 1) };
    g_autofree char *witness = NULL;
    g_auto(GStrv) argv = NULL;

    config->transport = g_strdup("rdma");
    add_disk(config, "data", "raw", "virtio");
    witness = colony_command_apusd_config(config, node_at(config, 2),
                                          &options);
    argv = colony_command_qemu(config, node_at(config, 0), &options);
    g_assert_nonnull(strstr(witness, "\ntransport=rdma\n"));
    g_assert_true(has_word(argv, "apus-group,", ",transport=rdma,"));
    g_assert_true(has_word(argv, "plover,", ",rdma=192.0.2.1:0"));
    g_assert_true(has_word(argv, "driver=gannet,", ",rdma=192.0.2.1:0"));
    colony_config_free(config);
}

static void a_key_is_given_as_a_file(void)
{
    ColonyConfig *config = config_new();
    ColonyStartOptions options = { .generation = 1, .id = "a",
                                   .leader = node_at(config, 0) };
    g_auto(GStrv) argv = NULL;
    g_autofree char *witness = NULL;

    config->key_file = g_strdup("/etc/colony/a,b.key");
    add_disk(config, "data", "raw", "virtio");
    argv = qemu(config, 0, COLONY_START_WAIT);
    witness = colony_command_apusd_config(config, node_at(config, 2),
                                          &options);
    g_assert_cmpstr(value_of(argv, "-object", "", 0), ==,
                    "secret,id=key0,file=/etc/colony/a,,b.key");
    g_assert_true(has_word(argv, "apus-group,", ",key-secret=key0,"));
    g_assert_false(has_word(argv, "apus-group,", "tls-creds"));
    g_assert_false(has_word(argv, "driver=gannet,", "tls"));
    g_assert_nonnull(strstr(witness, "\nkey-file=/etc/colony/a,b.key\n"));
    g_assert_null(strstr(witness, "tls="));
    colony_config_free(config);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/colony/command/" #name, name)
    TEST(the_whole_command_line);
    TEST(replicas_are_alike);
    TEST(the_preset_is_release_and_idle);
    TEST(kernel_firmware_and_odd_memory);
    TEST(disks_of_every_kind);
    TEST(a_machine_without_pci);
    TEST(only_pci_cards_have_a_rom);
    TEST(values_are_quoted);
    TEST(tls_is_for_everything);
    TEST(what_qmp_is_told);
    TEST(ipv6_addresses_have_brackets);
    TEST(the_witness);
    TEST(all_may_go_by_rdma);
    TEST(a_key_is_given_as_a_file);
#undef TEST
    return g_test_run();
}
