/*
 * What the file that describes a VM may say
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "qemu/colony/config-internal.h"
#include "tests/unit/colony-conf.h"

#define EXAMPLES "qemu/packaging/examples/"
#define MANUAL "docs/man/colony.conf.rst"

static const ColonyNode *node_of(const ColonyConfig *config, unsigned number)
{
    return config->nodes->pdata[number];
}

static const char *file_of(const ColonyConfig *config, unsigned disk,
                           const char *node)
{
    ColonyDisk *of = config->disks->pdata[disk];

    return g_hash_table_lookup(of->files, node);
}

/* --- what is accepted ----------------------------------------------------- */

static void little_has_to_be_said(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(
        "[vm]\nname=v\nmemory=64M\n[node a]\nhost=192.0.2.1\n"
        "[node b]\nhost=192.0.2.2\n[node c]\nhost=192.0.2.3\n");
    const ColonyNode *b = node_of(config, 1);

    g_assert_true(g_path_is_absolute(config->path));
    g_assert_cmpuint(config->memory, ==, 64 << 20);
    g_assert_cmpuint(config->cpus, ==, 1);
    g_assert_cmpstr(config->machine, ==, "q35");
    g_assert_cmpstr(config->accel, ==, "kvm");
    g_assert_cmpstr(config->cpu_model, ==, "Nehalem");
    g_assert_null(config->kernel);
    g_assert_null(config->arguments);
    g_assert_true(g_path_is_absolute(config->emulator));
    g_assert_cmpuint(config->disks->len, ==, 0);
    g_assert_cmpuint(config->nics->len, ==, 0);
    g_assert_cmpint(config->preset, ==, COLONY_PRESET_HYBRID);
    g_assert_false(config->hold_unprotected);
    g_assert_true(config->reprotect);
    g_assert_cmpuint(config->timeout, ==, 100);
    g_assert_cmpuint(config->interval, ==, 1000);
    g_assert_cmpuint(config->compare_timeout, ==, 50);
    g_assert_cmpuint(config->held_limit, ==, 32 << 20);
    g_assert_cmpuint(config->log_size, ==, 64 << 20);
    g_assert_cmpstr(config->durability, ==, "memory");
    g_assert_cmpstr(config->transport, ==, "tcp");
    g_assert_null(config->key_file);
    g_assert_null(config->tls_directory);
    g_assert_null(config->metrics_host);
    g_assert_cmpuint(b->id, ==, 2);
    g_assert_true(b->can_run);
    g_assert_cmpuint(b->group_port, ==, 7000);
    g_assert_cmpuint(b->migration_port, ==, 7001);
    g_assert_cmpuint(b->control_port, ==, 7002);
    g_assert_cmpuint(b->disk_port, ==, 7010);
    g_assert_cmpstr(b->directory, ==, "/var/lib/colony/v/b");
}

static void all_of_a_vm_can_be_said(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted_change(
        "cpus=2\n", "cpus=2\nmachine=pc,usb=off\naccel=tcg\ncpu=max,-svm\n"
        "kernel=/k\ninitrd=/i\nappend=a=\"b\"\\ c # d\nfirmware=/f\n"
        "arguments=-device 'virtio-rng-pci,id=a b'\nemulator=/opt/qemu\n");

    g_assert_cmpstr(config->name, ==, "vm1");
    g_assert_cmpuint(config->memory, ==, 2ull << 30);
    g_assert_cmpuint(config->cpus, ==, 2);
    g_assert_cmpstr(config->machine, ==, "pc,usb=off");
    g_assert_cmpstr(config->accel, ==, "tcg");
    g_assert_cmpstr(config->cpu_model, ==, "max,-svm");
    g_assert_cmpstr(config->kernel, ==, "/k");
    g_assert_cmpstr(config->initrd, ==, "/i");
    g_assert_cmpstr(config->append, ==, "a=\"b\"\\ c # d");
    g_assert_cmpstr(config->firmware, ==, "/f");
    g_assert_cmpuint(g_strv_length(config->arguments), ==, 2);
    g_assert_cmpstr(config->arguments[1], ==, "virtio-rng-pci,id=a b");
    g_assert_cmpstr(config->emulator, ==, "/opt/qemu");
}

static void all_of_a_policy_can_be_said(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted_change(
        "preset=hybrid\ninterval=1s\n", "unprotected=hold\nreprotect=no\n"
        "timeout=2s\ninterval=300\ncompare-timeout=20ms\nheld-limit=1g\n"
        "log-size=4194304\ndurability=disk\n[tls]\ndirectory=/etc/tls\n"
        "[metrics]\nhost=::\nport=9100\n");

    g_assert_true(config->hold_unprotected);
    g_assert_false(config->reprotect);
    g_assert_cmpuint(config->timeout, ==, 2000);
    g_assert_cmpuint(config->interval, ==, 300);
    g_assert_cmpuint(config->compare_timeout, ==, 20);
    g_assert_cmpuint(config->held_limit, ==, 1 << 30);
    g_assert_cmpuint(config->log_size, ==, 4 << 20);
    g_assert_cmpstr(config->durability, ==, "disk");
    g_assert_cmpstr(config->tls_directory, ==, "/etc/tls");
    g_assert_cmpstr(config->metrics_host, ==, "::");
    g_assert_cmpuint(config->metrics_port, ==, 9100);
}

static void a_group_may_have_a_key(void)
{
    static const char *const transports[] = { "tcp", "rdma" };

    for (unsigned i = 0; i < G_N_ELEMENTS(transports); i++) {
        g_autofree char *keys = g_strdup_printf(
            "interval=1s\ntransport=%s\nkey-file=/etc/colony/key\n",
            transports[i]);
        g_autoptr(ColonyConfig) config = conf_accepted_change("interval=1s\n",
                                                              keys);

        g_assert_cmpstr(config->transport, ==, transports[i]);
        g_assert_cmpstr(config->key_file, ==, "/etc/colony/key");
    }
}

static void all_of_a_node_can_be_said(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted_change(
        "host=192.0.2.2\n", "host=2001:DB8:0::2\nid=9\ngroup-port=1\n"
        "migration-port=2\ncontrol-port=3\ndisk-port=65534\ndirectory=/b\n");
    const ColonyNode *b = colony_config_node(config, "b");

    g_assert_true(b == node_of(config, 1));
    g_assert_true(b == colony_config_member(config, 9));
    g_assert_null(colony_config_member(config, 2));
    g_assert_null(colony_config_node(config, "d"));
    g_assert_cmpstr(b->host, ==, "2001:db8::2");
    g_assert_cmpuint(b->group_port, ==, 1);
    g_assert_cmpuint(b->migration_port, ==, 2);
    g_assert_cmpuint(b->control_port, ==, 3);
    g_assert_cmpuint(b->disk_port, ==, 65534);
    g_assert_cmpstr(b->directory, ==, "/b");
    g_assert_false(colony_config_node(config, "c")->can_run);
}

static void each_node_that_can_run_has_a_file_of_each_disk(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted_change(
        "format=raw", "file.b=/own\nformat=qcow2\ninterface=scsi\n"
        "buffer=256M");
    ColonyDisk *disk = config->disks->pdata[0];

    g_assert_cmpstr(disk->id, ==, "vda");
    g_assert_cmpstr(disk->format, ==, "qcow2");
    g_assert_cmpstr(disk->interface, ==, "scsi");
    g_assert_cmpuint(disk->buffer, ==, 256 << 20);
    g_assert_cmpstr(file_of(config, 0, "a"), ==, "/srv/a.img");
    g_assert_cmpstr(file_of(config, 0, "b"), ==, "/own");
    g_assert_cmpstr(file_of(config, 1, "a"), ==, "/srv/b.img");
    g_assert_cmpuint(g_hash_table_size(disk->files), ==, 2);
    disk = config->disks->pdata[1];
    g_assert_cmpuint(disk->buffer, ==, 0);
}

static void cards_have_addresses_of_their_own(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_usual);
    g_autoptr(ColonyConfig) again = conf_accepted(conf_usual);
    g_autoptr(ColonyConfig) other = conf_accepted_change("name=vm1",
                                                         "name=vm2");
    g_autoptr(ColonyConfig) given = conf_accepted_change(
        "bridge=br0", "bridge=br0\nmac=52:54:00:AB:cd:09\nmodel=e1000");
    ColonyNic *first = config->nics->pdata[0];
    ColonyNic *second = config->nics->pdata[1];

    g_assert_cmpstr(first->id, ==, "net0");
    g_assert_cmpstr(first->bridge, ==, "br0");
    g_assert_null(first->tap);
    g_assert_cmpstr(first->model, ==, "virtio-net-pci");
    g_assert_cmpstr(second->tap, ==, "tap1");
    g_assert_true(g_str_has_prefix(first->mac, "52:54:00:"));
    g_assert_cmpstr(first->mac, !=, second->mac);
    g_assert_cmpstr(first->mac, ==, ((ColonyNic *)again->nics->pdata[0])->mac);
    g_assert_cmpstr(first->mac, !=, ((ColonyNic *)other->nics->pdata[0])->mac);
    first = given->nics->pdata[0];
    g_assert_cmpstr(first->mac, ==, "52:54:00:ab:cd:09");
    g_assert_cmpstr(first->model, ==, "e1000");
}

static void plover_syncs_more_often(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted_change(
        "preset=hybrid\ninterval=1s", "preset=plover");
    g_autoptr(ColonyConfig) given = conf_accepted_change("preset=hybrid",
                                                         "preset=plover");

    g_assert_cmpint(config->preset, ==, COLONY_PRESET_PLOVER);
    g_assert_cmpuint(config->interval, ==, 100);
    g_assert_cmpuint(given->interval, ==, 1000);
}

static void nodes_may_share_a_host(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(
        "[vm]\nname=v\nmemory=64M\n[disk d]\nfile.a=/a\nfile.b=/b\n"
        "[nic n]\nbridge=br0\n[node a]\nhost=127.0.0.1\n"
        "[node b]\nhost=127.0.0.1\ngroup-port=7100\nmigration-port=7101\n"
        "control-port=7102\ndisk-port=7110\n"
        "[node c]\nhost=127.0.0.1\ngroup-port=7200\ncontrol-port=7202\n"
        "can-run=no\n");

    g_assert_cmpstr(node_of(config, 1)->host, ==, node_of(config, 2)->host);
}

static void lines_may_end_as_in_dos_and_have_spaces(void)
{
    g_auto(GStrv) lines = g_strsplit(conf_usual, "\n", -1);
    g_autofree char *dos = g_strjoinv("\r\n", lines);
    g_autofree char *spaced = conf_changed(dos, "name=vm1",
                                           "  name \t=  vm1\t ");
    g_autoptr(ColonyConfig) config = conf_accepted(spaced);

    g_assert_cmpstr(config->name, ==, "vm1");
}

/* --- the digest ----------------------------------------------------------- */

/*
 * Supervisors of two releases read the same file during an upgrade. A key that
 * comes later has to be marked as added, see config-internal.h.
 */
static void the_digest_is_that_of_the_first_release(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_usual);

    g_assert_cmphex(colony_config_digest(config), ==,
                    0xb32c6b81f629072c);
}

static void what_is_said_in_another_way_does_not_count(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_usual);
    guint64 digest = colony_config_digest(config);
    static const char *const changes[][2] = {
        { "# a comment\n", "" },
        { "name=vm1\nmemory=2G\n", "memory=2048M\nname=vm1\n" },
        { "interval=1s", "interval=1000" },
        { "interval=1s", "interval=1s\ntransport=tcp" },
        { "format=raw\n", "" },
        { "can-run=yes\n", "" },
        { "can-run=yes\n", "id=1\n" },
        { "cpus=2\n", "cpus=2\nemulator=/opt/qemu\n" },
        { "host=192.0.2.2", "host=192.0.2.2\ndirectory=/var/lib/colony/vm1/b" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autoptr(ColonyConfig) other = conf_accepted_change(changes[i][0],
                                                             changes[i][1]);

        g_assert_cmpuint(colony_config_digest(other), ==, digest);
    }
}

static void all_else_counts(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_usual);
    guint64 digest = colony_config_digest(config);
    static const char *const changes[][2] = {
        { "name=vm1", "name=vm2" },
        { "memory=2G", "memory=1G" },
        { "cpus=2", "cpus=2\narguments=-a b" },
        { "cpus=2", "cpus=2\narguments='-a b'" },
        { "cpus=2", "cpus=2\ncpu=max" },
        { "file=/srv/a.img", "file=/srv/d.img" },
        { "file.b=/srv/c.img", "file.b=/srv/d.img" },
        { "bridge=br0", "tap=br0" },
        { "host=192.0.2.2", "host=192.0.2.4" },
        { "can-run=yes", "id=7" },
        { "can-run=yes", "disk-port=8000" },
        { "preset=hybrid", "unprotected=hold" },
        { "preset=hybrid", "reprotect=no" },
        { "preset=hybrid", "transport=rdma" },
        { "preset=hybrid", "key-file=/k" },
        { "preset=hybrid", "key-file=/l" },
        { "preset=hybrid", "[metrics]" },
        { "preset=hybrid", "[tls]\ndirectory=/t" },
        { "[node a]", "[node z]" },
    };
    g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
    guint64 digests[G_N_ELEMENTS(changes)];

    g_hash_table_add(seen, &digest);
    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *whole = conf_changed(conf_usual, "interval=1s\n", "");
        g_autofree char *text = conf_changed(whole, changes[i][0],
                                             changes[i][1]);
        g_autofree char *named = NULL;
        g_autoptr(ColonyConfig) other = NULL;

        if (!strcmp(changes[i][1], "[node z]")) {
            named = conf_changed(text, "file.a", "file.z");
        }
        other = conf_accepted(named ?: text);
        digests[i] = colony_config_digest(other);
        g_assert_true(g_hash_table_add(seen, &digests[i]));
    }
}

static void shuffle(char **words, unsigned n)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned k = g_test_rand_int_range(0, i);
        char *word = words[i - 1];

        words[i - 1] = words[k];
        words[k] = word;
    }
}

/* The next group of the same kind as @group, each once. */
static char *take_like(char **groups, const char *group)
{
    while (!*groups || strncmp(*groups, group, strcspn(group, " ]"))) {
        groups++;
    }
    return g_steal_pointer(groups);
}

/* The lines of groups in any order; groups, but for those of one kind. */
static char *shuffled(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) groups = g_strsplit(conf_usual + 1, "\n[", -1);
    g_auto(GStrv) order = g_strdupv(groups);
    unsigned n = g_strv_length(groups);

    shuffle(order, n);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *group = take_like(groups, order[i]);
        g_auto(GStrv) lines = g_strsplit(group, "\n", -1);
        g_autofree char *all = NULL;

        shuffle(lines + 1, g_strv_length(lines) - 1);
        all = g_strjoinv("\n", lines);
        g_string_append_printf(text, "[%s\n", all);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void order_does_not_count(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_usual);

    for (unsigned i = 0; i < 100; i++) {
        g_autofree char *text = shuffled();
        g_autoptr(ColonyConfig) other = conf_accepted(text);

        g_assert_cmpuint(colony_config_digest(other), ==,
                         colony_config_digest(config));
    }
}

/* --- files ---------------------------------------------------------------- */

static void assert_no_file(const char *path, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *all = g_strdup_printf("%s: %s", path, words);

    g_assert_null(colony_config_load(path, &error));
    g_assert_error(error, COLONY_CONFIG_ERROR, COLONY_CONFIG_ERROR_FILE);
    g_assert_cmpstr(error->message, ==, all);
}

static void what_is_no_file_is_refused(void)
{
    g_autofree char *folder = g_dir_make_tmp("colony-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "vm.conf", NULL);
    g_autofree char *text = g_strnfill(65537, '\n');
    g_autoptr(ColonyConfig) config = NULL;

    assert_no_file(path, "No such file or directory");
    assert_no_file(folder, "is no regular file");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    assert_no_file(path, "is no regular file");
    g_unlink(path);
    g_assert_true(g_file_set_contents(path, text, 65537, NULL));
    assert_no_file(path, "is longer than 64 KiB; is it the right file?");
    g_assert_true(g_file_set_contents(path, conf_usual, -1, NULL));
    config = colony_config_load(path, NULL);
    g_assert_cmpstr(config->path, ==, path);
    g_unlink(path);
    g_rmdir(folder);
}

/* What is commented out in an example is what would be without it. */
static void assert_shows_defaults(const char *name)
{
    g_autofree char *path = g_build_filename(EXAMPLES, name, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(ColonyConfig) config = colony_config_load(path, &error);
    g_autoptr(ColonyConfig) full = NULL;
    g_autoptr(GRegex) hidden = g_regex_new("^#(?=[a-z-]+=)",
                                           G_REGEX_MULTILINE, 0, NULL);
    g_autofree char *text = NULL;
    g_autofree char *shown = NULL;

    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    shown = g_regex_replace_literal(hidden, text, -1, 0, "", 0, NULL);
    g_assert_cmpstr(shown, !=, text);
    full = conf_accepted(shown);
    g_assert_cmpuint(colony_config_digest(full), ==,
                     colony_config_digest(config));
}

static void examples_are_right(void)
{
    assert_shows_defaults("hybrid.conf");
    assert_shows_defaults("plover.conf");
}

static void the_manual_has_all_keys(void)
{
    g_autoptr(ColonyConfig) config = conf_accepted(conf_usual);
    g_autofree char *all = colony_config_print(config);
    g_auto(GStrv) lines = g_strsplit(all, "\n", -1);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(MANUAL, &text, NULL, NULL));
    for (unsigned i = 0; lines[i] && *lines[i]; i++) {
        g_autofree char *entry = NULL;

        if (*lines[i] == '[') {
            /* The group is the heading of a section. */
            entry = g_strdup_printf("\n%.*s", (int)strcspn(lines[i], " ]"),
                                    lines[i]);
        } else if (!g_str_has_prefix(lines[i], "file.")) {
            entry = g_strdup_printf("``%.*s=``", (int)strcspn(lines[i], "="),
                                    lines[i]);
        }
        if (entry && !strstr(text, entry)) {
            g_error(MANUAL " does not have %s", entry);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/colony-config/" #name, name)
    TEST(little_has_to_be_said);
    TEST(all_of_a_vm_can_be_said);
    TEST(all_of_a_policy_can_be_said);
    TEST(a_group_may_have_a_key);
    TEST(all_of_a_node_can_be_said);
    TEST(each_node_that_can_run_has_a_file_of_each_disk);
    TEST(cards_have_addresses_of_their_own);
    TEST(plover_syncs_more_often);
    TEST(nodes_may_share_a_host);
    TEST(lines_may_end_as_in_dos_and_have_spaces);
    TEST(the_digest_is_that_of_the_first_release);
    TEST(what_is_said_in_another_way_does_not_count);
    TEST(all_else_counts);
    TEST(order_does_not_count);
    TEST(what_is_no_file_is_refused);
    TEST(examples_are_right);
    TEST(the_manual_has_all_keys);
    return g_test_run();
}
