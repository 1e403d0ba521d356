/*
 * A group of three members for tests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qobject/qdict.h"
#include "apus-trio.h"
#include "test-deadline.h"

#define POLL 1000 /* microseconds */
#define PORT 7301 /* of addresses that no other process has */

/* A busy machine must not look like a dead member. */
#define TIMEOUTS "'heartbeat': 50, 'timeout': 1000"

char *apus_trio_address(unsigned member)
{
    unsigned pid = getpid();

    /* 127.0.0.0/8 is larger than the number of processes. */
    return g_strdup_printf("127.%u.%u.%u:%u", 1 + (pid >> 16) % 64,
                           pid >> 8 & 0xff, pid & 0xff, PORT + member);
}

/* @more: ", " and a member, or nothing */
static char *member_options(const char *dir, unsigned member, const char *more)
{
    g_autofree char *state = g_strdup_printf("%s/%u", dir, member);
    g_autofree char *one = apus_trio_address(1);
    g_autofree char *two = apus_trio_address(2);
    g_autofree char *three = apus_trio_address(3);
    char *options = g_strdup_printf(
        "-object \"{ 'qom-type': 'apus-group', 'id': 'apus', "
        "'cluster': 'trio', 'member': %u, 'directory': '%s', 'found': true, "
        TIMEOUTS ", 'members': [ "
        "{ 'id': 1, 'address': '%s', 'can-run': true }, "
        "{ 'id': 2, 'address': '%s', 'can-run': true }, "
        "{ 'id': 3, 'address': '%s' }%s ] }\"", member, state, one, two, three,
        more);

    g_assert_cmpint(g_mkdir(state, 0700), ==, 0);
    return options;
}

ApusTrio *apus_trio_new(void)
{
    ApusTrio *trio = g_new0(ApusTrio, 1);
    g_autoptr(GError) err = NULL;

    trio->dir = g_dir_make_tmp("colony-apus-XXXXXX", &err);
    g_assert_no_error(err);
    for (unsigned i = 0; i < ARRAY_SIZE(trio->options); i++) {
        trio->options[i] = member_options(trio->dir, i + 1, "");
    }
    trio->witness_options = member_options(trio->dir, 3, "");
    return trio;
}

char *apus_trio_joins(ApusTrio *trio, unsigned member)
{
    g_autofree char *address = apus_trio_address(member);
    g_autofree char *self = g_strdup_printf(
        ", { 'id': %u, 'address': '%s' }", member, address);

    return member_options(trio->dir, member, self);
}

void apus_trio_start(ApusTrio *trio)
{
    trio->witness = qtest_initf("-name witness -M none -nodefaults %s",
                                trio->witness_options);
    test_deadline_kills(trio->witness);
}

/* @dir, which holds files and folders of files, and no more */
static void remove_folder(const char *dir)
{
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(entries))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
            remove_folder(path);
        } else {
            g_assert_cmpint(g_unlink(path), ==, 0);
        }
    }
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

void apus_trio_free(ApusTrio *trio)
{
    if (trio->witness) {
        test_deadline_quit(trio->witness);
    }
    remove_folder(trio->dir);
    for (unsigned i = 0; i < ARRAY_SIZE(trio->options); i++) {
        g_free(trio->options[i]);
    }
    g_free(trio->witness_options);
    g_free(trio->dir);
    g_free(trio);
}

typedef bool InfoTest(const QDict *info, const char *value);

static void wait_info(QTestState *qts, InfoTest *test, const char *value)
{
    bool is = false;

    while (!is) {
        QDict *reply = qtest_qmp(qts, "{ 'execute': 'query-apus' }");
        QDict *info = qdict_get_qdict(reply, "return");

        /* The member's thread may be busy: that is an error, and passes. */
        is = info && test(info, value);
        qobject_unref(reply);
        if (!is) {
            g_usleep(POLL);
        }
    }
}

static bool part_is(const QDict *info, const char *value)
{
    return g_str_equal(qdict_get_str(info, "part"), value);
}

static bool leads(const QDict *info, const char *value)
{
    return part_is(info, "leader") &&
           g_str_equal(qdict_get_str(info, "state"), "leader");
}

static bool is_protected(const QDict *info, const char *value)
{
    return qdict_get_bool(info, "protected");
}

void apus_wait_part(QTestState *qts, const char *part)
{
    wait_info(qts, part_is, part);
}

void apus_wait_leads(QTestState *qts)
{
    wait_info(qts, leads, NULL);
}

void apus_wait_protected(QTestState *qts)
{
    wait_info(qts, is_protected, NULL);
}
