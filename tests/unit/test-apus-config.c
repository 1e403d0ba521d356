/*
 * What apusd's configuration may say, and how everything else is refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "colo-net/apus/tools/daemon/config.h"

#define MS 1000000ull

static const char members[] =
    "[member 1]\naddress=10.0.0.1:7000\ncan-run=yes\n"
    "[member 2]\naddress=10.0.0.2:7000\ncan-run=yes\n"
    "[member 3]\naddress=10.0.0.3:7000\n";

/* A whole file, with @group behind what [group] has to have. */
static char *file(const char *group)
{
    return g_strdup_printf("[group]\nname=demo\nid=3\n%s\n%s", group,
                           members);
}

static ApusdConfig *parse(const char *text, ApusdPurpose purpose,
                          GError **errp)
{
    return apusd_config_parse("demo.conf", text, strlen(text), purpose, errp);
}

static ApusdConfig *accepted(const char *text, ApusdPurpose purpose)
{
    g_autoptr(GError) error = NULL;
    ApusdConfig *config = parse(text, purpose, &error);

    g_assert_no_error(error);
    g_assert_nonnull(config);
    return config;
}

/* The message has to say all of @words, each behind the one before it. */
static void assert_says(const GError *error, const char *words)
{
    g_auto(GStrv) word = g_strsplit(words, "|", -1);
    const char *at;

    g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
    at = error->message;
    for (unsigned i = 0; word[i]; i++) {
        at = strstr(at, word[i]);
        if (!at) {
            g_error("\"%s\" does not say \"%s\"", error->message, word[i]);
        }
        at += strlen(word[i]);
    }
}

static void assert_refused(const char *text, ApusdPurpose purpose,
                           const char *words)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *all = g_strconcat("demo.conf: ", words, NULL);

    g_assert_null(parse(text, purpose, &error));
    assert_says(error, all);
}

/* --- what is accepted ---------------------------------------------------- */

static void little_has_to_be_said(void)
{
    g_autofree char *text = file("");
    g_autoptr(ApusdConfig) config = accepted(text, APUSD_RUN);

    g_assert_cmpstr(config->apus.cluster, ==, "demo");
    g_assert_cmpuint(config->apus.id, ==, 3);
    g_assert_cmpstr(config->apus.directory, ==, "/var/lib/apusd/demo");
    g_assert_cmpstr(config->socket, ==, "/run/apusd/demo/socket");
    g_assert_cmpint(config->apus.durability, ==, APUS_DURABILITY_MEMORY);
    g_assert_false(config->apus.tls);
    g_assert_false(config->apus.can_run);
    g_assert_null(config->key_file);
    g_assert_cmpuint(config->members.count, ==, 3);
    g_assert_true(config->members.member[0].can_run);
    g_assert_false(config->members.member[2].can_run);
    g_assert_cmpuint(config->leader, ==, 1);
    g_assert_cmpint(config->log_level, ==, G_LOG_LEVEL_INFO);
}

static void all_can_be_said(void)
{
    g_autofree char *text = file(
        "directory=/srv/demo\nlisten=[::]:7003\ndurability=disk\ntls=psk\n"
        "key-file=/etc/demo.key\nlog-size=16\nheartbeat=20\ntimeout=300\n"
        "lease=200\nlease-strict=yes\nleader=2\nsocket=/tmp/demo.sock\n"
        "log-level=debug\n");
    g_autoptr(ApusdConfig) config = accepted(text, APUSD_RUN);

    g_assert_cmpstr(config->apus.directory, ==, "/srv/demo");
    g_assert_cmpstr(config->apus.listen, ==, "[::]:7003");
    g_assert_cmpint(config->apus.durability, ==, APUS_DURABILITY_DISK);
    g_assert_true(config->apus.tls);
    g_assert_cmpstr(config->key_file, ==, "/etc/demo.key");
    g_assert_cmpuint(config->apus.log_size, ==, 16u << 20);
    g_assert_cmpuint(config->apus.heartbeat, ==, 20 * MS);
    g_assert_cmpuint(config->apus.timeout, ==, 300 * MS);
    g_assert_cmpuint(config->apus.lease, ==, 200 * MS);
    g_assert_true(config->apus.lease_strict);
    g_assert_cmpuint(config->leader, ==, 2);
    g_assert_cmpstr(config->socket, ==, "/tmp/demo.sock");
    g_assert_cmpint(config->log_level, ==, G_LOG_LEVEL_DEBUG);
}

static void members_can_be_over_rdma(void)
{
    g_autofree char *text = file(
        "transport=rdma\nbusy-poll=20\nrdma-ring=256\n"
        "rdma-ack-timeout=40\nkey-file=/etc/demo.key\n");
    g_autoptr(ApusdConfig) config = accepted(text, APUSD_RUN);

    g_assert_cmpint(config->apus.transport, ==, APUS_TRANSPORT_RDMA);
    g_assert_cmpuint(config->apus.busy_poll, ==, 20000);
    g_assert_cmpuint(config->apus.rdma_ring, ==, 256u << 10);
    g_assert_cmpuint(config->apus.rdma_ack_timeout, ==, 40 * MS);
}

static void the_state_of_who_runs_the_vm_can_be_founded(void)
{
    g_autofree char *text = g_strdup_printf("[group]\nname=demo\nid=1\n%s",
                                            members);
    g_autoptr(ApusdConfig) config = accepted(text, APUSD_FOUND);

    g_assert_cmpuint(config->apus.id, ==, 1);
}

static void who_joins_makes_four(void)
{
    g_autofree char *text = g_strdup_printf(
        "[group]\nname=demo\nid=4\n%s[member 4]\naddress=10.0.0.4:7000\n",
        members);
    g_autoptr(ApusdConfig) config = accepted(text, APUSD_JOIN);

    g_assert_cmpuint(config->members.count, ==, 4);
    assert_refused(text, APUSD_FOUND, "[member 4]: |4 members|3 or 5");
}

/* --- what is refused ----------------------------------------------------- */

typedef struct {
    const char *name;
    const char *group; /* more of [group] */
    const char *words; /* of the error */
} Refusal;

static const Refusal refusals[] = {
    { "an unknown key", "timout=100", "[group] timout=100: |unknown|timeout" },
    { "a word for a number", "timeout=long",
      "[group] timeout=long: |whole number from 1 to 3600000" },
    { "a number that is too small", "timeout=0", "[group] timeout=0: |from 1" },
    { "a number that is too large", "timeout=3600001",
      "[group] timeout=3600001: |to 3600000" },
    { "a negative number", "timeout=-1", "[group] timeout=-1: |whole number" },
    { "a fraction", "timeout=1.5", "[group] timeout=1.5: |whole number" },
    { "an empty value", "timeout=", "[group] timeout=: |value" },
    { "a heartbeat as long as the timeout", "heartbeat=100",
      "[group] heartbeat=100: |a third of the timeout (100 ms)" },
    { "a lease as long as the timeout", "lease=100",
      "[group] lease=100: |less than the timeout (100 ms)|80 %" },
    { "a lease shorter than a heartbeat", "lease=9",
      "[group] lease=9: |at least a heartbeat (10 ms)" },
    { "an unknown durability", "durability=ram",
      "[group] durability=ram: |memory, disk" },
    { "an unknown tls", "tls=yes", "[group] tls=yes: |off, psk" },
    { "tls without a key", "tls=psk", "[group] tls=psk: |key-file" },
    { "an unknown transport", "transport=ib",
      "[group] transport=ib: |tcp, rdma" },
    { "rdma with tls", "transport=rdma\ntls=psk\nkey-file=/k",
      "[group] transport=rdma: |no TLS|tls=off|transport=tcp" },
    { "a ring without rdma", "rdma-ring=64",
      "[group] rdma-ring=64: |transport=rdma only" },
    { "a ring that is no power of two", "transport=rdma\nrdma-ring=96",
      "[group] rdma-ring=96: |power of two" },
    { "a ring that is too small", "transport=rdma\nrdma-ring=32",
      "[group] rdma-ring=32: |from 64" },
    { "an ack timeout without rdma", "rdma-ack-timeout=1",
      "[group] rdma-ack-timeout=1: |transport=rdma only" },
    { "an endless look", "busy-poll=1000001",
      "[group] busy-poll=1000001: |to 1000000" },
    { "a relative key file", "key-file=key", "[group] key-file=key: |path" },
    { "a relative directory", "directory=state",
      "[group] directory=state: |path" },
    { "a relative socket", "socket=s", "[group] socket=s: |path" },
    { "a log that is no power of two", "log-size=48",
      "[group] log-size=48: |power of two" },
    { "a log that is too small", "log-size=2",
      "[group] log-size=2: |from 4 to 1048576" },
    { "true for yes", "lease-strict=true",
      "[group] lease-strict=true: |no, yes" },
    { "an unknown level", "log-level=loud",
      "[group] log-level=loud: |error, warning, notice, info, debug" },
    { "a leader that is a witness", "leader=3",
      "[group] leader=3: |can-run=yes" },
    { "a leader that is no member", "leader=4",
      "[group] leader=4: |can-run=yes" },
    { "an address to listen on without a port", "listen=0.0.0.0",
      "[group] listen=0.0.0.0: |HOST:PORT" },
    { "an address to listen on without a host", "listen=:7000",
      "[group] listen=:7000: |HOST:PORT" },
    { "a port that is none", "listen=host:65536",
      "[group] listen=host:65536: |1 to 65535" },
    { "a key twice", "tls=off\ntls=psk", "line 5: [group] tls is there twice" },
    { "an unknown group", "[memeber 4]\naddress=[::1]:9",
      "[memeber 4]: |unknown|[member N]" },
    { "a member twice", "[member 2]\naddress=[::1]:9",
      "line 9: [member 2] is there twice" },
    { "a member with an unknown key", "[member 4]\naddress=[::1]:9\nrun=yes",
      "[member 4] run=yes: |unknown|address, can-run" },
    { "a member without an address", "[member 4]\ncan-run=no",
      "[member 4] address: |missing" },
    { "a member's address without a port", "[member 4]\naddress=host",
      "[member 4] address=host: |HOST:PORT" },
    { "a member's address with a space", "[member 4]\naddress=a b:1",
      "[member 4] address=a b:1: |no address" },
    { "a member with an id of 0", "[member 0]\naddress=[::1]:9",
      "[member 0]: |from 1 to 65535" },
    { "a member with an id that is too large",
      "[member 65536]\naddress=[::1]:9",
      "[member 65536]: |from 1 to 65535" },
    { "a member with two spellings of an id", "[member 02]\naddress=[::1]:9",
      "[member 02]: |whole number" },
    { "a member that is named", "[member a]\naddress=[::1]:9",
      "[member a]: |whole number" },
    { "an address twice", "[member 4]\naddress=10.0.0.2:7000",
      "members |have the same address 10.0.0.2:7000" },
    { "seven members",
      "[member 4]\naddress=[::1]:9\n[member 5]\naddress=10.0.0.5:1\n"
      "[member 6]\naddress=10.0.0.6:1\n[member 7]\naddress=10.0.0.7:1",
      "|one member too many" },
};

static void refuses(gconstpointer data)
{
    const Refusal *refusal = data;
    g_autofree char *text = file(refusal->group);

    assert_refused(text, APUSD_RUN, refusal->words);
}

static void what_is_missing_is_named(void)
{
    g_autofree char *nameless = g_strconcat("[group]\nid=3\n", members, NULL);
    g_autofree char *idless = g_strconcat("[group]\nname=x\n", members, NULL);

    assert_refused(nameless, APUSD_RUN, "[group] name: |missing|name=");
    assert_refused(idless, APUSD_RUN, "[group] id: |missing|id=");
    assert_refused(members, APUSD_RUN, "[group] name: |missing");
}

static void names_that_are_no_paths_are_refused(void)
{
    static const char *const names[] = { "a/b", "..", "a b", "\xc3\xa4" };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *text = g_strdup_printf("[group]\nname=%s\nid=3\n%s",
                                                names[i], members);

        assert_refused(text, APUSD_RUN, "[group] name=|: ");
    }
}

static void long_values_are_refused(void)
{
    g_autofree char *long_text = g_strnfill(200, 'x');
    g_autofree char *name = g_strdup_printf("[group]\nname=%s\nid=3\n%s",
                                            long_text, members);
    g_autofree char *key = g_strdup_printf("socket=/%s", long_text);
    g_autofree char *socket = file(key);
    g_autofree char *member = g_strdup_printf("[member 4]\naddress=%s:1",
                                              long_text);
    g_autofree char *address = file(member);

    assert_refused(name, APUSD_RUN, "[group] name=|63 characters");
    assert_refused(socket, APUSD_RUN, "[group] socket=|107 bytes");
    assert_refused(address, APUSD_RUN, "[member 4] address=|127 characters");
}

static void who_is_no_member_is_refused(void)
{
    g_autofree char *text = g_strconcat("[group]\nname=x\nid=9\n", members,
                                        NULL);

    assert_refused(text, APUSD_RUN, "[group] id=9: |add [member 9]");
}

static void who_runs_the_vm_is_no_witness(void)
{
    g_autofree char *text = g_strconcat("[group]\nname=x\nid=1\n", members,
                                        NULL);

    assert_refused(text, APUSD_RUN, "[member 1] can-run=yes: |witness");
}

static void two_members_are_too_few(void)
{
    static const char text[] = "[group]\nname=x\nid=2\n"
                               "[member 1]\naddress=[::1]:9\ncan-run=yes\n"
                               "[member 2]\naddress=10.0.0.2:1\n";

    assert_refused(text, APUSD_RUN, "[member 2]: |2 members|fewer than 3");
    assert_refused(text, APUSD_FOUND, "[member 2]: |3 or 5");
}

static void witnesses_alone_are_refused(void)
{
    static const char text[] = "[group]\nname=x\nid=2\n"
                               "[member 1]\naddress=[::1]:9\n"
                               "[member 2]\naddress=10.0.0.2:1\n"
                               "[member 3]\naddress=10.0.0.3:1\n";

    assert_refused(text, APUSD_RUN, "no member can run the VM");
}

static void what_is_no_key_file_is_refused(void)
{
    g_autoptr(GError) error = NULL;

    assert_refused("", APUSD_RUN, "it is empty");
    assert_refused("hello\n", APUSD_RUN, "");
    assert_refused("name=x\n", APUSD_RUN, "");
    assert_refused("[group]\nname=\xff\n", APUSD_RUN, "|no text file");
    g_assert_null(apusd_config_parse("demo.conf", "[group]\n\0", 9, APUSD_RUN,
                                     &error));
    assert_says(error, "demo.conf: |no text file");
}

/* --- files --------------------------------------------------------------- */

typedef struct {
    char *directory, *config, *key;
} Files;

static void files_up(Files *files, gconstpointer data)
{
    g_autofree char *more = NULL;
    g_autofree char *text = NULL;

    (void)data;
    files->directory = g_dir_make_tmp("apusd-XXXXXX", NULL);
    g_assert_nonnull(files->directory);
    files->config = g_build_filename(files->directory, "conf", NULL);
    files->key = g_build_filename(files->directory, "key", NULL);
    more = g_strdup_printf("tls=psk\nkey-file=%s", files->key);
    text = file(more);
    g_assert_true(g_file_set_contents(files->config, text, -1, NULL));
}

static void files_down(Files *files, gconstpointer data)
{
    (void)data;
    g_remove(files->config);
    g_remove(files->key);
    g_assert_cmpint(g_rmdir(files->directory), ==, 0);
    g_free(files->directory);
    g_free(files->config);
    g_free(files->key);
}

static void write_key(const Files *files, const char *text, int mode)
{
    g_assert_true(g_file_set_contents(files->key, text, -1, NULL));
    g_assert_cmpint(g_chmod(files->key, mode), ==, 0);
}

static void assert_load_refused(const Files *files, const char *words)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(apusd_config_load(files->config, APUSD_RUN, &error));
    assert_says(error, words);
}

static void the_key_is_read(Files *files, gconstpointer data)
{
    g_autoptr(ApusdConfig) config = NULL;
    g_autoptr(GError) error = NULL;

    (void)data;
    write_key(files, "000102030405060708090a0b0c0d0e0fA0\n", 0640);
    config = apusd_config_load(files->config, APUSD_RUN, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(config->apus.key_size, ==, 17);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmpuint(config->apus.key[i], ==, i);
    }
    g_assert_cmpuint(config->apus.key[16], ==, 0xa0);
}

static void the_key_of_user_qemu_is_read(Files *files, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApusdConfig) config = NULL;

    (void)data;
    write_key(files, "other:00\nqemu:000102030405060708090a0b0c0d0e0f\nx:1\n",
              0600);
    config = apusd_config_load(files->config, APUSD_RUN, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(config->apus.key_size, ==, 16);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmpuint(config->apus.key[i], ==, i);
    }
}

static void a_key_that_others_can_read_is_refused(Files *files,
                                                  gconstpointer data)
{
    static const int modes[] = { 0604, 0602, 0620, 0644, 0666 };

    (void)data;
    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        write_key(files, "000102030405060708090a0b0c0d0e0f", modes[i]);
        assert_load_refused(files, "key: |mode|chmod 0600");
    }
}

static void a_key_that_is_none_is_refused(Files *files, gconstpointer data)
{
    g_autofree char *long_key = g_strnfill(130, 'a');
    g_autofree char *long_file = g_strnfill(2000, ' ');
    const char *keys[] = {
        "", "\n", "secret", "000102030405060708090a0b0c0d0e",
        "000102030405060708090a0b0c0d0e0", "000102030405060708090a0b0c0d0e0g",
        long_key, "qemu:", "qemu:\n000102030405060708090a0b0c0d0e0f",
        "other:000102030405060708090a0b0c0d0e0f",
    };

    (void)data;
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        write_key(files, keys[i], 0600);
        assert_load_refused(files, "key: |no key|32 to 128 hexadecimal");
    }
    write_key(files, long_file, 0600);
    assert_load_refused(files, "key: |too long");
}

static void files_that_cannot_be_read_are_named(Files *files,
                                                gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    assert_load_refused(files, "key: |cannot be read");
    g_assert_cmpint(g_mkdir(files->key, 0700), ==, 0);
    assert_load_refused(files, "key: |no regular file");
    g_assert_null(apusd_config_load(files->directory, APUSD_RUN, &error));
    assert_says(error, "no regular file");
}

static void a_huge_file_is_refused(Files *files, gconstpointer data)
{
    g_autofree char *text = g_strnfill(APUSD_CONFIG_MAX + 1, '\n');

    (void)data;
    g_assert_true(g_file_set_contents(files->config, text, -1, NULL));
    assert_load_refused(files, "conf: |too long|65536");
}

/* --- the library's own ---------------------------------------------------- */

static void lib_refuses(const ApusConfig *config, const char *words)
{
    g_autoptr(GError) error = NULL;
    ApusHandlers handlers = { 0 };

    g_assert_false(apus_config_check(config, &handlers, &error));
    assert_says(error, words);
}

static void the_library_checks_what_it_is_given(void)
{
    static const uint8_t key[APUS_KEY_MAX + 1];
    const ApusConfig good = {
        .cluster = "demo", .id = 1, .directory = "/d", .listen = "[::]:0",
    };
    ApusHandlers handlers = { 0 };
    ApusConfig c;

    g_assert_true(apus_config_check(&good, &handlers, NULL));
    c = good, c.cluster = NULL, lib_refuses(&c, "name");
    c = good, c.cluster = "a b", lib_refuses(&c, "name|0x20");
    c = good, c.id = 0, lib_refuses(&c, "id");
    c = good, c.directory = "", lib_refuses(&c, "directory");
    c = good, c.listen = "host", lib_refuses(&c, "cannot listen|HOST:PORT");
    c = good, c.tls = TRUE, lib_refuses(&c, "TLS|key");
    c = good, c.key = key, c.key_size = 15, lib_refuses(&c, "15 bytes|16");
    c = good, c.key = key, c.key_size = 65, lib_refuses(&c, "65 bytes|64");
    c = good, c.key_size = 16, lib_refuses(&c, "key");
    c = good, c.log_size = 5u << 20, lib_refuses(&c, "5242880|power of two");
    c = good, c.log_size = 1u << 20, lib_refuses(&c, "1048576|4 MiB");
    c = good, c.queue_limit = 1, lib_refuses(&c, "queue of 1 bytes");
    c = good, c.timeout = 1, lib_refuses(&c, "timeout");
    c = good, c.heartbeat = 50 * MS, lib_refuses(&c, "heartbeat of 50 ms");
    c = good, c.lease = 100 * MS, lib_refuses(&c, "lease of 100 ms");
    c = good, c.submit_timeout = 1 * MS, lib_refuses(&c, "submit-timeout");
    c = good, c.alive_timeout = UINT64_MAX, lib_refuses(&c, "alive-timeout");
    c = good, c.busy_poll = UINT64_MAX, lib_refuses(&c, "busy-poll");
    c = good, c.transport = 2, lib_refuses(&c, "transport 2");
    c = good, c.transport = APUS_TRANSPORT_RDMA, c.tls = TRUE, c.key = key,
    c.key_size = 16, lib_refuses(&c, "RDMA|TLS");
    c = good, c.rdma_ring = 96 << 10, lib_refuses(&c, "ring of 98304 bytes");
    c = good, c.rdma_ack_timeout = 1, lib_refuses(&c, "ack-timeout");
    c = good, c.durability = 7, lib_refuses(&c, "durability 7");
    c = good, c.delivers = TRUE, lib_refuses(&c, "deliver()");
}

static void add(const char *name, void (*test)(Files *files,
                                               gconstpointer data))
{
    g_test_add(name, Files, NULL, files_up, test, files_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apus/config/little-has-to-be-said",
                    little_has_to_be_said);
    g_test_add_func("/apus/config/all-can-be-said", all_can_be_said);
    g_test_add_func("/apus/config/members-can-be-over-rdma", members_can_be_over_rdma);
    g_test_add_func("/apus/config/the-state-of-who-runs-the-vm-can-be-founded",
                    the_state_of_who_runs_the_vm_can_be_founded);
    g_test_add_func("/apus/config/who-joins-makes-four", who_joins_makes_four);
    for (unsigned i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autofree char *path = g_strconcat("/apus/config/refused/",
                                            refusals[i].name, NULL);

        g_test_add_data_func(g_strdelimit(path, " ", '-'), &refusals[i],
                             refuses);
    }
    g_test_add_func("/apus/config/what-is-missing-is-named",
                    what_is_missing_is_named);
    g_test_add_func("/apus/config/names-that-are-no-paths-are-refused",
                    names_that_are_no_paths_are_refused);
    g_test_add_func("/apus/config/long-values-are-refused",
                    long_values_are_refused);
    g_test_add_func("/apus/config/who-is-no-member-is-refused",
                    who_is_no_member_is_refused);
    g_test_add_func("/apus/config/who-runs-the-vm-is-no-witness",
                    who_runs_the_vm_is_no_witness);
    g_test_add_func("/apus/config/two-members-are-too-few",
                    two_members_are_too_few);
    g_test_add_func("/apus/config/witnesses-alone-are-refused",
                    witnesses_alone_are_refused);
    g_test_add_func("/apus/config/what-is-no-key-file-is-refused",
                    what_is_no_key_file_is_refused);
    add("/apus/config/the-key-is-read", the_key_is_read);
    add("/apus/config/the-key-of-user-qemu-is-read",
        the_key_of_user_qemu_is_read);
    add("/apus/config/a-key-that-others-can-read-is-refused",
        a_key_that_others_can_read_is_refused);
    add("/apus/config/a-key-that-is-none-is-refused",
        a_key_that_is_none_is_refused);
    add("/apus/config/files-that-cannot-be-read-are-named",
        files_that_cannot_be_read_are_named);
    add("/apus/config/a-huge-file-is-refused", a_huge_file_is_refused);
    g_test_add_func("/apus/config/the-library-checks-what-it-is-given",
                    the_library_checks_what_it_is_given);
    return g_test_run();
}
