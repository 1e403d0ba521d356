/*
 * What colony check says, and how it ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>

#include "qemu/colony/verbs.h"
#include "tests/unit/colony-conf.h"

typedef struct Fixture {
    char *folder, *file; /* there is nothing else in @folder */
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    (void)data;
    fixture->folder = g_dir_make_tmp("colony-XXXXXX", NULL);
    fixture->file = g_build_filename(fixture->folder, "vm.conf", NULL);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    (void)data;
    g_unlink(fixture->file);
    g_rmdir(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->file);
}

/* In a process of its own: the exit status, and what it printed. */
static int check(const Fixture *fixture, const char *text, const char *node,
                 char **output, char **errors)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    char *argv[] = { self, "check", fixture->file, (char *)node, NULL };
    g_autoptr(GError) error = NULL;
    int status;

    if (text) {
        g_assert_true(g_file_set_contents(fixture->file, text, -1, NULL));
    }
    g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, output, errors, &status,
                 &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_right_file_is_summed_up(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL, *first = NULL;

    (void)data;
    g_assert_cmpint(check(fixture, conf_usual, NULL, &output, &errors), ==, 0);
    first = g_strdup_printf("%s: ok: vm1: 2048 MiB, 2 CPUs, 2 disks, 2 NICs; "
                            "runs on a, b; votes: c; preset hybrid\n",
                            fixture->file);
    g_assert_true(g_str_has_prefix(output, first));
    g_assert_nonnull(strstr(output, "note: without [tls]"));
    g_assert_cmpstr(errors, ==, "");
}

static void what_is_seldom_meant_is_told(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;
    g_autofree char *text = g_strconcat(
        conf_usual, "[node d]\nhost=192.0.2.3\ncan-run=no\ngroup-port=1\n"
        "control-port=2\n[tls]\ndirectory=/etc/tls\n", NULL);

    (void)data;
    g_assert_cmpint(check(fixture, text, NULL, &output, &errors), ==, 0);
    g_assert_nonnull(strstr(output, "note: 4 nodes survive no more failures "
                            "than 3"));
    g_assert_nonnull(strstr(output, "note: nodes c and d are on one host"));
    g_assert_null(strstr(output, "without [tls]"));
}

static void a_wrong_file_is_told_of(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL, *first = NULL;
    g_autofree char *text = conf_changed(conf_usual, "cpus=2", "cups=2");

    (void)data;
    g_assert_cmpint(check(fixture, text, NULL, &output, &errors), ==,
                    COLONY_EXIT_FILE);
    first = g_strdup_printf("%s:4: [vm] cups: there is no such key; did you "
                            "mean cpus?\n", fixture->file);
    g_assert_cmpstr(errors, ==, first);
    g_assert_cmpstr(output, ==, "");
}

static void a_file_that_is_missing_is_told_of(Fixture *fixture,
                                              gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;

    (void)data;
    g_assert_cmpint(check(fixture, NULL, NULL, &output, &errors), ==,
                    COLONY_EXIT_FILE);
    g_assert_nonnull(strstr(errors, "vm.conf: No such file"));
}

static void a_stranger_is_refused(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;

    (void)data;
    g_assert_cmpint(check(fixture, conf_usual, "d", &output, &errors), ==,
                    COLONY_EXIT_USAGE);
    g_assert_nonnull(strstr(errors, "there is no [node d]"));
}

/* Each is told; those of another node are not looked for. */
static void what_a_host_lacks_is_told(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;
    g_autofree char *files = conf_changed(conf_usual, "/srv/b.img",
                                          "/dev/null");
    g_autofree char *cards = conf_changed(files, "tap=tap1", "tap=lo");
    g_autofree char *text = conf_changed(
        cards, "cpus=2", "cpus=2\nkernel=/no/kernel\nemulator=/bin/sh\n"
        "[tls]\ndirectory=/no");

    (void)data;
    g_assert_cmpint(check(fixture, text, "a", &output, &errors), ==,
                    COLONY_EXIT_FAILED);
    g_assert_nonnull(strstr(errors, "[vm] kernel: /no/kernel: No such file"));
    g_assert_nonnull(strstr(errors, "[disk vda]: /srv/a.img: No such"));
    g_assert_nonnull(strstr(errors, "[nic net0] bridge=br0: there is no "));
    g_assert_nonnull(strstr(errors, "[tls] directory: /no/keys.psk: No such"));
    g_assert_null(strstr(errors, "emulator"));
    g_assert_null(strstr(errors, "net1"));
    g_assert_nonnull(strstr(errors, "[disk vdb]: /dev/null is neither a "));
    g_assert_null(strstr(errors, "/srv/b"));
    g_assert_cmpstr(output, ==, "");
}

static void who_only_votes_needs_little(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;

    (void)data;
    g_assert_cmpint(check(fixture, conf_usual, "c", &output, &errors), ==, 0);
    g_assert_cmpstr(errors, ==, "");
}

/* --- the group's key ------------------------------------------------------ */

/* Of node c, which needs nothing but a key; @text: of the key's file. */
static int check_key(const Fixture *fixture, const char *text, int mode,
                     char **output, char **errors)
{
    g_autofree char *path = g_build_filename(fixture->folder, "key", NULL);
    g_autofree char *line = g_strdup_printf("interval=1s\nkey-file=%s", path);
    g_autofree char *conf = conf_changed(conf_usual, "interval=1s", line);
    int status;

    if (text) {
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_cmpint(g_chmod(path, mode), ==, 0);
    }
    status = check(fixture, conf, "c", output, errors);
    g_unlink(path);
    return status;
}

#define DIGITS "0123456789abcdefABCDEF9876543210"

static void a_key_is_looked_at(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *text;
        int mode;
        const char *wrong; /* NULL: nothing */
    } cases[] = {
        { DIGITS, 0600, NULL },
        { DIGITS DIGITS " \r\n", 0640, NULL },
        { DIGITS DIGITS DIGITS DIGITS "\n", 0400, NULL },
        { NULL, 0, "No such file or directory" },
        { DIGITS, 0604, "has mode 0604, so that others could read" },
        { DIGITS, 0620, "has mode 0620, so that others could read" },
        { "", 0600, "is no key; it has to be 32 to 128 hexadecimal digits" },
        { "01234567", 0600, "is no key; " },
        { DIGITS "0", 0600, "is no key; " },
        { DIGITS "0g", 0600, "is no key; " },
        { " " DIGITS, 0600, "is no key; " },
        { "qemu:" DIGITS "0", 0600, "is no key; " },
        { DIGITS DIGITS DIGITS DIGITS "00", 0600, "is no key; " },
    };

    (void)data;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *output = NULL, *errors = NULL;
        int status = check_key(fixture, cases[i].text, cases[i].mode, &output,
                               &errors);

        if (cases[i].wrong) {
            g_autofree char *start = g_strdup_printf(
                "%s: [policy] key-file: %s/key: %s", fixture->file,
                fixture->folder, cases[i].wrong);

            g_assert_cmpint(status, ==, COLONY_EXIT_FAILED);
            g_assert_true(g_str_has_prefix(errors, start));
        } else {
            g_assert_cmpstr(errors, ==, "");
            g_assert_cmpint(status, ==, 0);
            g_assert_nonnull(strstr(output, "note: key-file= says who takes "
                                    "part in the group, and encrypts "
                                    "nothing"));
            g_assert_null(strstr(output, "can pass for"));
        }
    }
}

static void a_key_is_in_a_file(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;
    g_autofree char *line = g_strdup_printf("interval=1s\nkey-file=%s",
                                            fixture->folder);
    g_autofree char *conf = conf_changed(conf_usual, "interval=1s", line);

    (void)data;
    g_assert_cmpint(check(fixture, conf, "c", &output, &errors), ==,
                    COLONY_EXIT_FAILED);
    g_assert_nonnull(strstr(errors, ": is no regular file\n"));
}

static void rdma_without_a_key_is_told(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL, *errors = NULL;
    g_autofree char *conf = conf_changed(conf_usual, "interval=1s",
                                         "interval=1s\ntransport=rdma");

    (void)data;
    g_assert_cmpint(check(fixture, conf, NULL, &output, &errors), ==, 0);
    g_assert_nonnull(strstr(output, "note: with transport=rdma, nothing is "
                            "encrypted, and without key-file=, anybody can "
                            "pass for a node"));
    g_assert_null(strstr(output, "[tls]"));
}

/* With the file itself as the other one, and with one that is changed. */
static int check_beside(Fixture *fixture, const char *text, char **errors)
{
    g_autofree char *other = g_strconcat(fixture->file, ".other", NULL);
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    char *argv[] = {
        self, "check", "--beside", other, fixture->file, NULL
    };
    g_autofree char *output = NULL;
    g_autoptr(GError) error = NULL;
    int status;

    g_assert_true(g_file_set_contents(fixture->file, conf_usual, -1, NULL));
    g_assert_true(g_file_set_contents(other, text, -1, NULL));
    g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, &output, errors, &status,
                 &error);
    g_assert_no_error(error);
    g_unlink(other);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void two_of_the_same_collide(Fixture *fixture, gconstpointer data)
{
    static const char *const claims[] = {
        "[vm] name: name vm1 is taken by [vm] name of ",
        "[nic net0] mac: MAC address ",
        "[nic net1] tap: tap tap1 of 192.0.2.1 is taken by ",
        "[node a] group-port: port 7000 of 192.0.2.1 is taken by ",
        "[node a] migration-port: port 7001 of 192.0.2.1 is taken by ",
        "[node c] control-port: port 7002 of 192.0.2.3 is taken by ",
        "[node b] disk-port: port 7011 of 192.0.2.2 is taken by ",
        "[node a] directory: directory /var/lib/colony/vm1/a of 192.0.2.1 is ",
        "[disk vda]: file /srv/a.img of 192.0.2.2 is taken by [disk vda] of ",
    };
    g_autofree char *errors = NULL;

    (void)data;
    g_assert_cmpint(check_beside(fixture, conf_usual, &errors), ==,
                    COLONY_EXIT_FAILED);
    for (size_t i = 0; i < G_N_ELEMENTS(claims); i++) {
        if (!strstr(errors, claims[i])) {
            g_error("no \"%s\" in:\n%s", claims[i], errors);
        }
    }
}

static void two_on_other_hosts_do_not(Fixture *fixture, gconstpointer data)
{
    g_autofree char *errors = NULL;
    g_autofree char *name = conf_changed(conf_usual, "name=vm1", "name=vm2");
    g_autofree char *a = conf_changed(name, "192.0.2.1", "192.0.2.11");
    g_autofree char *b = conf_changed(a, "192.0.2.2", "192.0.2.12");
    g_autofree char *c = conf_changed(b, "192.0.2.3", "192.0.2.13");
    g_autofree char *wrong = conf_changed(c, "cpus=2", "cups=2");

    (void)data;
    g_assert_cmpint(check_beside(fixture, c, &errors), ==, 0);
    g_assert_cmpstr(errors, ==, "");
    g_free(errors);
    g_assert_cmpint(check_beside(fixture, wrong, &errors), ==,
                    COLONY_EXIT_FILE);
}

static void a_port_is_one_whatever_it_is_for(Fixture *fixture,
                                             gconstpointer data)
{
    g_autofree char *errors = NULL;
    g_autofree char *name = conf_changed(conf_usual, "name=vm1", "name=vm2");
    g_autofree char *a = conf_changed(name, "192.0.2.1", "192.0.2.11");
    g_autofree char *b = conf_changed(a, "192.0.2.2", "192.0.2.12");
    g_autofree char *c = conf_changed(b, "192.0.2.3\n",
                                      "192.0.2.1\ngroup-port=7010\n"
                                      "control-port=7020\n");
    g_autofree char *text = g_strdup_printf(
        "%s: [node a] disk-port: port 7010 of 192.0.2.1 is taken by [node c] "
        "group-port of %s.other; take another one\n", fixture->file,
        fixture->file);

    (void)data;
    g_assert_cmpint(check_beside(fixture, c, &errors), ==,
                    COLONY_EXIT_FAILED);
    g_assert_cmpstr(errors, ==, text);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "check")) {
        g_set_prgname("colony check");
        return colony_verb_check(argc - 1, argv + 1);
    }
    g_test_init(&argc, &argv, NULL);
#define TEST(name)                                                            \
    g_test_add("/colony-check/" #name, Fixture, NULL, set_up, name, tear_down)
    TEST(a_right_file_is_summed_up);
    TEST(what_is_seldom_meant_is_told);
    TEST(a_wrong_file_is_told_of);
    TEST(a_file_that_is_missing_is_told_of);
    TEST(a_stranger_is_refused);
    TEST(what_a_host_lacks_is_told);
    TEST(who_only_votes_needs_little);
    TEST(a_key_is_looked_at);
    TEST(a_key_is_in_a_file);
    TEST(rdma_without_a_key_is_told);
    TEST(two_of_the_same_collide);
    TEST(two_on_other_hosts_do_not);
    TEST(a_port_is_one_whatever_it_is_for);
    return g_test_run();
}
