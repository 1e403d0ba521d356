/*
 * apus-group: its options, and what it tells
 *
 * What a group does with a VM is in filter-apus.c and in the system tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "apus-trio.h"
#include "test-deadline.h"

#define DEADLINE 30 /* seconds */
#define POLL 1000 /* microseconds */
#define MACHINE "-M none -nodefaults"

/* Members that nobody plays. */
#define MEMBERS                                                             \
    "'members': [ { 'id': 1, 'address': '127.0.0.1:1', 'can-run': true },"  \
    "             { 'id': 2, 'address': '127.0.0.1:2', 'can-run': true },"  \
    "             { 'id': 3, 'address': '127.0.0.1:3' } ]"
#define GROUP "'cluster': 'alone', 'member': 1, " MEMBERS

static QTestState *start(const char *options)
{
    QTestState *qts = qtest_initf(MACHINE " %s", options);

    test_deadline_kills(qts);
    return qts;
}

static void remove_folder(const char *dir)
{
    g_autofree char *command = g_strdup_printf("rm -r %s", dir);

    g_assert_cmpint(system(command), ==, 0);
}

static void check_error(QDict *reply, const char *expected)
{
    const char *desc;

    g_assert_true(qdict_haskey(reply, "error"));
    desc = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");
    if (!g_pattern_match_simple(expected, desc)) {
        g_error("the error is \"%s\", not \"%s\"", desc, expected);
    }
    qobject_unref(reply);
}

/* object-add with @properties; the reply. */
static QDict *add(QTestState *qts, const char *id, const char *properties)
{
    g_autofree char *text = g_strdup_printf(
        "{ 'qom-type': 'apus-group', 'id': '%s', %s }", id, properties);

    return qtest_qmp(qts, "{ 'execute': 'object-add', 'arguments': %p }",
                     qobject_from_json(text, &error_abort));
}

static QDict *query(QTestState *qts)
{
    return qtest_qmp(qts, "{ 'execute': 'query-apus' }");
}

/* What query-apus returns; to be unreferenced. */
static QDict *info(QTestState *qts)
{
    QDict *reply = query(qts);
    QDict *result = qdict_get_qdict(reply, "return");

    g_assert_nonnull(result);
    qobject_ref(result);
    qobject_unref(reply);
    return result;
}

static void without_a_group_there_is_nothing_to_tell(void)
{
    QTestState *qts;
    g_autofree char *text = NULL;

    test_deadline(DEADLINE, "query-apus fails");
    qts = start("");
    check_error(query(qts), "there is no apus-group*");
    text = qtest_hmp(qts, "info apus");
    g_assert_nonnull(strstr(text, "there is no apus-group"));
    /* As ever. */
    check_error(qtest_qmp(qts, "{ 'execute': 'x-colo-lost-heartbeat' }"),
                "VM is not in COLO mode");
    check_error(qtest_qmp(qts, "{ 'execute': 'x-colo-lost-heartbeat',"
                          "  'arguments': { 'force': true } }"),
                "VM is not in COLO mode");
    test_deadline_quit(qts);
    test_deadline(0, NULL);
}

static void impossible_options_are_refused(void)
{
    static const struct {
        const char *properties;
        const char *error;
    } cases[] = {
        { "'cluster': 'a', 'member': 1, 'directory': '@', 'members': []",
          "*'members' lists 0: a group has 3 or 5*" },
        { "'cluster': 'a', 'member': 1, 'directory': '@',"
          "'members': [ { 'id': 1, 'address': '127.0.0.1:1' } ]",
          "*'members' lists 1: a group has 3 or 5*" },
        { "'cluster': 'a', 'member': 1, 'directory': '@',"
          "'members': [ { 'id': 1, 'address': '127.0.0.1:1' },"
          "             { 'id': 1, 'address': '127.0.0.1:2' },"
          "             { 'id': 2, 'address': '127.0.0.1:3' } ],"
          "'found': true", "*" },
        { "'cluster': 'a', 'member': 5, 'directory': '@', 'members': ["
          "  { 'id': 1, 'address': '127.0.0.1:1', 'can-run': true },"
          "  { 'id': 2, 'address': '127.0.0.1:2' },"
          "  { 'id': 3, 'address': '127.0.0.1:3' },"
          "  { 'id': 4, 'address': '127.0.0.1:4' } ], 'found': true",
          "*'members' lists 4*but this is member 5" },
        { "'cluster': 'a', " MEMBERS ", 'directory': '@'",
          "Parameter 'member' is missing" },
        { "'cluster': 'a', 'member': 0, " MEMBERS ", 'directory': '@'",
          "apus-group*'member'*" },
        { "'cluster': '', 'member': 1, " MEMBERS ", 'directory': '@'",
          "*name has 0 characters*" },
        { "'cluster': 'a b', 'member': 1, " MEMBERS ", 'directory': '@'",
          "*name contains byte 0x20*" },
        { GROUP ", 'directory': ''", "*no directory*" },
        { GROUP ", 'directory': '@'", "*@ has no state of a member" },
        { GROUP ", 'directory': '@/not/there', 'found': true",
          "*@/not/there*" },
        { GROUP ", 'directory': '@', 'heartbeat': 0",
          "*heartbeat*from 1 to*" },
        { GROUP ", 'directory': '@', 'heartbeat': 50",
          "*heartbeat of 50 ms is impossible*" },
        { GROUP ", 'directory': '@', 'timeout': 3600001",
          "*timeout*from 1 to 3600000*" },
        { GROUP ", 'directory': '@', 'lease': 100",
          "*lease of 100 ms is impossible*" },
        { GROUP ", 'directory': '@', 'submit-timeout': 10",
          "*submit-timeout of 10 ms is impossible*" },
        { GROUP ", 'directory': '@', 'log-size': 5", "*power of two*" },
        { GROUP ", 'directory': '@', 'queue-limit': 4096",
          "*queue of 4096 bytes is too short*" },
        { GROUP ", 'directory': '@', 'durability': 'paper'", "*paper*" },
        { GROUP ", 'directory': '@', 'unprotected': 'maybe'", "*maybe*" },
        { GROUP ", 'directory': '@', 'listen': 'nowhere'",
          "*cannot listen: *nowhere*" },
        { GROUP ", 'directory': '@', 'key-secret': 'key'",
          "No secret with id 'key'" },
        { GROUP ", 'directory': '@', 'tls-creds': 'creds'",
          "*no tls-creds-psk 'creds'" },
        { GROUP ", 'directory': '@', 'tls-creds': 'a', 'key-secret': 'b'",
          "*leave one of them out" },
        { GROUP ", 'directory': '@', 'found': true, 'leader': 3",
          "*leader 3 is a witness*" },
        { GROUP ", 'directory': '@', 'found': true, 'leader': 4",
          "*leader 4*" },
    };
    g_autofree char *dir = g_dir_make_tmp("colony-apus-XXXXXX", NULL);
    QTestState *qts;

    test_deadline(DEADLINE, "objects are refused");
    qts = start("");
    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_auto(GStrv) properties = g_strsplit(cases[i].properties, "@", -1);
        g_auto(GStrv) error = g_strsplit(cases[i].error, "@", -1);
        g_autofree char *filled = g_strjoinv(dir, properties);
        g_autofree char *expected = g_strjoinv(dir, error);

        check_error(add(qts, "g0", filled), expected);
    }
    check_error(query(qts), "there is no apus-group*");
    test_deadline_quit(qts);
    remove_folder(dir);
    test_deadline(0, NULL);
}

/* A member without the others. */
static void check_alone(QTestState *qts)
{
    QDict *is = info(qts);
    QList *members = qdict_get_qlist(is, "members");
    QDict *self = qobject_to(QDict, qlist_peek(members));

    g_assert_cmpstr(qdict_get_str(is, "cluster"), ==, "trio");
    g_assert_cmpint(qdict_get_int(is, "member"), ==, 1);
    g_assert_cmpstr(qdict_get_str(is, "part"), ==, "witness");
    g_assert_false(qdict_get_bool(is, "protected"));
    g_assert_false(qdict_get_bool(is, "may-speak"));
    g_assert_false(qdict_haskey(is, "secondary"));
    g_assert_cmpuint(qlist_size(members), ==, 3);
    g_assert_cmpint(qdict_get_int(self, "id"), ==, 1);
    g_assert_true(qdict_get_bool(self, "can-run"));
    g_assert_true(qdict_get_bool(self, "connected"));
    qobject_unref(is);
}

/* -object with JSON, and the properties of the same for object-add */
static char *properties_of(const char *option)
{
    const char *from = strstr(option, "'cluster'");

    g_assert_nonnull(from);
    return g_strndup(from, strrchr(from, '}') - from);
}

static void comes_and_goes_at_run_time(void)
{
    ApusTrio *trio = apus_trio_new();
    g_autofree char *properties = properties_of(trio->options[0]);
    QTestState *qts;

    test_deadline(DEADLINE, "a member comes and goes");
    qts = start("");
    for (int i = 0; i < 3; i++) {
        QDict *reply = add(qts, "apus", properties);

        g_assert_true(qdict_haskey(reply, "return"));
        qobject_unref(reply);
        check_alone(qts);
        check_error(add(qts, "second", properties),
                    "There is an apus-group already*");
        check_alone(qts);
        qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                                 "  'arguments': { 'id': 'apus' } }");
        check_error(query(qts), "there is no apus-group*");
    }
    test_deadline_quit(qts);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

static void a_directory_belongs_to_one_member(void)
{
    ApusTrio *trio = apus_trio_new();
    g_autofree char *properties = properties_of(trio->options[0]);
    g_autofree char *other = NULL;
    g_auto(GStrv) parts = g_strsplit(properties, "'member': 1", -1);
    QTestState *qts, *second;

    test_deadline(DEADLINE, "a directory is refused");
    qts = start(trio->options[0]);
    second = start("");
    check_error(add(second, "apus", properties), "*is in use by another*");
    test_deadline_quit(qts);
    other = g_strjoinv("'member': 2", parts);
    check_error(add(second, "apus", other), "*belongs to member 1 of*");
    test_deadline_quit(second);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

/* Without JSON, too. */
static void members_are_listed_with_dots(void)
{
    g_autofree char *dir = g_dir_make_tmp("colony-apus-XXXXXX", NULL);
    g_autofree char *options = g_strdup_printf(
        "-object apus-group,id=g0,cluster=dots,member=3,directory=%s/state,"
        "found=on,log-size=4,"
        "members.0.id=1,members.0.address=127.0.0.1:1,members.0.can-run=on,"
        "members.1.id=2,members.1.address=127.0.0.1:2,members.1.can-run=on,"
        "members.2.id=3,members.2.address=127.0.0.1:3,listen=127.0.0.1:0",
        dir);
    QTestState *qts;
    QDict *is;

    test_deadline(DEADLINE, "a member is there");
    qts = start(options);
    is = info(qts);
    g_assert_cmpstr(qdict_get_str(is, "cluster"), ==, "dots");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(is, "members")), ==, 3);
    qobject_unref(is);
    test_deadline_quit(qts);
    remove_folder(dir);
    test_deadline(0, NULL);
}

static void one_leads_and_the_others_do_not_run(void)
{
    ApusTrio *trio = apus_trio_new();
    QTestState *one, *two;
    g_autofree char *text = NULL;
    QDict *is;

    test_deadline(DEADLINE, "member 1 leads");
    apus_trio_start(trio);
    one = start(trio->options[0]);
    two = start(trio->options[1]);
    apus_wait_leads(one);
    is = info(one);
    g_assert_true(qdict_get_bool(is, "may-speak"));
    g_assert_false(qdict_get_bool(is, "protected"));
    g_assert_cmpint(qdict_get_int(is, "leader"), ==, 1);
    g_assert_cmpstr(qdict_get_str(is, "unprotected"), ==, "serve");
    g_assert_true(qdict_haskey(is, "incarnation"));
    qobject_unref(is);
    text = qtest_hmp(one, "info apus");
    g_assert_nonnull(strstr(text, "member 1 of trio, leader, not protected"));
    qtest_qmp_assert_success(one, "{ 'execute': 'cont' }");

    apus_wait_part(two, "witness");
    check_error(qtest_qmp(two, "{ 'execute': 'cont' }"),
                "The VM cannot be started: *");
    check_error(qtest_qmp(one, "{ 'execute': 'object-del',"
                          "  'arguments': { 'id': 'apus' } }"),
                "*in use*");
    qtest_qmp_assert_success(one, "{ 'execute': 'qom-set', 'arguments': {"
                             "  'path': '/objects/apus',"
                             "  'property': 'unprotected',"
                             "  'value': 'hold' } }");
    is = info(one);
    g_assert_cmpstr(qdict_get_str(is, "unprotected"), ==, "hold");
    qobject_unref(is);
    check_error(qtest_qmp(one, "{ 'execute': 'qom-set', 'arguments': {"
                          "  'path': '/objects/apus',"
                          "  'property': 'timeout', 'value': 500 } }"),
                "*cannot be changed later");
    test_deadline_quit(two);
    test_deadline_quit(one);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* Members 1 and 2, both with @key, an option, and the object that it names. */
static void check_key(const char *key, const char *object)
{
    ApusTrio *trio = apus_trio_new();
    QTestState *qts[2];

    test_deadline(DEADLINE, "members with a key find each other");
    for (int i = 0; i < ARRAY_SIZE(qts); i++) {
        g_autofree char *properties = properties_of(trio->options[i]);
        g_autofree char *with_key = g_strdup_printf("%s, %s", properties, key);
        g_autofree char *options = g_strdup_printf("-object %s", object);
        QDict *reply;

        qts[i] = start(options);
        reply = add(qts[i], "apus", with_key);
        g_assert_true(qdict_haskey(reply, "return"));
        qobject_unref(reply);
    }
    apus_wait_leads(qts[0]);
    test_deadline_quit(qts[1]);
    test_deadline_quit(qts[0]);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

/* As it stands in a file that apusd reads, too: with the end of its line. */
static void a_secret_is_a_key(void)
{
    g_autofree char *dir = g_dir_make_tmp("colony-apus-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "key", NULL);
    g_autofree char *object = g_strdup_printf("secret,id=key,file=%s", file);

    g_assert_true(g_file_set_contents(file, KEY "\n", -1, NULL));
    check_key("'key-secret': 'key'", object);
    remove_folder(dir);
}

static void tls_takes_the_key_of_its_credentials(void)
{
    g_autofree char *dir = g_dir_make_tmp("colony-apus-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "keys.psk", NULL);
    g_autofree char *object = g_strdup_printf(
        "tls-creds-psk,id=tls,endpoint=server,dir=%s", dir);

    g_assert_true(g_file_set_contents(file, "other:00\nqemu:" KEY "\n", -1,
                                      NULL));
    check_key("'tls-creds': 'tls'", object);
    remove_folder(dir);
}

static QDict *force(QTestState *qts)
{
    return qtest_qmp(qts, "{ 'execute': 'x-colo-lost-heartbeat',"
                     "  'arguments': { 'force': true } }");
}

static void who_has_a_majority_is_not_forced(void)
{
    ApusTrio *trio = apus_trio_new();
    QTestState *one, *two;

    test_deadline(DEADLINE, "nobody is forced");
    apus_trio_start(trio);
    one = start(trio->options[0]);
    two = start(trio->options[1]);
    apus_wait_leads(one);
    apus_wait_part(two, "witness");
    check_error(qtest_qmp(one, "{ 'execute': 'x-colo-lost-heartbeat' }"),
                "*decide by themselves*");
    check_error(force(one), "*decide by themselves");
    check_error(force(two), "*no VM that could go on*");
    check_error(force(trio->witness), "*no VM that could go on*");
    test_deadline_quit(two);
    test_deadline_quit(one);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

/* Once it is certain that nobody else may speak any more. */
static void who_is_left_alone_can_be_forced(void)
{
    ApusTrio *trio = apus_trio_new();
    QTestState *one;
    QDict *is, *reply;

    test_deadline(DEADLINE, "member 1 goes on alone");
    apus_trio_start(trio);
    one = start(trio->options[0]);
    apus_wait_leads(one);
    test_deadline_quit(trio->witness);
    trio->witness = NULL;
    while (reply = force(one), qdict_haskey(reply, "error")) {
        qobject_unref(reply);
        g_usleep(POLL);
    }
    qobject_unref(reply);
    for (;;) {
        is = info(one);
        if (qdict_get_int(is, "generation") &&
            qdict_get_bool(is, "may-speak")) {
            break;
        }
        qobject_unref(is);
        g_usleep(POLL);
    }
    g_assert_cmpstr(qdict_get_str(is, "part"), ==, "leader");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(is, "members")), ==, 1);
    qobject_unref(is);
    test_deadline_quit(one);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

/* Member @id, a witness, in the place of @old, "'old': N, " or nothing. */
static QDict *replace(QTestState *qts, const char *old, unsigned id)
{
    g_autofree char *address = apus_trio_address(id);
    g_autofree char *text = g_strdup_printf(
        "{ %s 'new': { 'id': %u, 'address': '%s' } }", old, id, address);

    return qtest_qmp(qts, "{ 'execute': 'apus-replace', 'arguments': %p }",
                     qobject_from_json(text, &error_abort));
}

static void check_class(QDict *reply, const char *class, const char *expected)
{
    QDict *error = qdict_get_qdict(reply, "error");

    g_assert_nonnull(error);
    g_assert_cmpstr(qdict_get_str(error, "class"), ==, class);
    check_error(reply, expected);
}

static void must_succeed(QDict *reply)
{
    g_assert_true(qdict_haskey(reply, "return"));
    qobject_unref(reply);
}

/* Wait until @id is one of @count members, and nothing changes any more. */
static void wait_member(QTestState *qts, unsigned id, unsigned count)
{
    bool is = false;

    while (!is) {
        QDict *now = info(qts);
        QList *members = qdict_get_qlist(now, "members");

        is = !qdict_get_bool(now, "changing");
        if (is) {
            QDict *last = qobject_to(QDict, qlist_entry_obj(QTAILQ_LAST(
                &members->head)));

            g_assert_cmpuint(qlist_size(members), ==, count);
            g_assert_cmpint(qdict_get_int(last, "id"), ==, id);
        }
        qobject_unref(now);
        g_usleep(POLL);
    }
}

static void a_member_is_replaced(void)
{
    ApusTrio *trio = apus_trio_new();
    g_autofree char *joins = apus_trio_joins(trio, 4);
    QTestState *one, *two, *four;
    QDict *is;

    test_deadline(DEADLINE, "member 4 comes, member 3 goes");
    apus_trio_start(trio);
    one = start(trio->options[0]);
    two = start(trio->options[1]);
    apus_wait_leads(one);
    apus_wait_part(two, "witness");
    check_class(replace(one, "'old': 9,", 4), "DeviceNotFound",
                "member 9 does not belong to the group");
    check_class(replace(one, "'old': 1,", 4), "GenericError",
                "member 1 is the leader*");
    check_class(replace(one, "'old': 3,", 2), "GenericError", "*");
    check_class(qtest_qmp(one, "{ 'execute': 'apus-replace' }"),
                "GenericError", "nobody to be added or removed");
    check_class(replace(two, "'old': 3,", 4), "DeviceNotActive",
                "member 2 does not lead the group: ask the leader, member 1");
    must_succeed(replace(one, "'old': 3,", 4));
    is = info(one);
    g_assert_true(qdict_get_bool(is, "changing"));
    qobject_unref(is);
    check_class(replace(one, "", 5), "GenericError", "another change*");
    four = start(joins);
    wait_member(one, 4, 3);
    apus_wait_part(four, "witness");
    test_deadline_quit(four);
    test_deadline_quit(two);
    test_deadline_quit(one);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

static void who_was_forced_is_joined_again(void)
{
    ApusTrio *trio = apus_trio_new();
    g_autofree char *joins = apus_trio_joins(trio, 4);
    QTestState *one, *four;
    QDict *reply;

    test_deadline(DEADLINE, "member 4 joins a group of one");
    apus_trio_start(trio);
    one = start(trio->options[0]);
    apus_wait_leads(one);
    test_deadline_quit(trio->witness);
    trio->witness = NULL;
    while (reply = force(one), qdict_haskey(reply, "error")) {
        qobject_unref(reply);
        g_usleep(POLL);
    }
    qobject_unref(reply);
    apus_wait_leads(one);
    wait_member(one, 1, 1);
    four = start(joins);
    must_succeed(replace(one, "", 4));
    wait_member(one, 4, 2);
    test_deadline_quit(four);
    test_deadline_quit(one);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

static QDict *switch_over(QTestState *qts)
{
    return qtest_qmp(qts, "{ 'execute': 'apus-switchover' }");
}

static void who_is_not_protected_does_not_hand_over(void)
{
    ApusTrio *trio = apus_trio_new();
    QTestState *one, *two;

    test_deadline(DEADLINE, "apus-switchover is refused");
    apus_trio_start(trio);
    one = start(trio->options[0]);
    two = start(trio->options[1]);
    apus_wait_leads(one);
    apus_wait_part(two, "witness");
    check_class(switch_over(one), "GenericError",
                "the VM is not protected*there is no secondary");
    check_class(switch_over(two), "DeviceNotActive",
                "*ask the leader, member 1");
    test_deadline_quit(two);
    check_class(switch_over(trio->witness), "DeviceNotActive",
                "*ask the leader, member 1");
    test_deadline_quit(one);
    apus_trio_free(trio);
    test_deadline(0, NULL);
}

#define TEST(name) qtest_add_func("/apus-group/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(without_a_group_there_is_nothing_to_tell);
    TEST(impossible_options_are_refused);
    TEST(comes_and_goes_at_run_time);
    TEST(a_directory_belongs_to_one_member);
    TEST(members_are_listed_with_dots);
    TEST(one_leads_and_the_others_do_not_run);
    TEST(a_secret_is_a_key);
    TEST(tls_takes_the_key_of_its_credentials);
    TEST(who_has_a_majority_is_not_forced);
    TEST(who_is_left_alone_can_be_forced);
    TEST(a_member_is_replaced);
    TEST(who_was_forced_is_joined_again);
    TEST(who_is_not_protected_does_not_hand_over);
    return g_test_run();
}
