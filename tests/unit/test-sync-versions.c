/*
 * Replicas of different releases: this one speaks versions 2 to 3 of the sync
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/replicas.h"

/* In place of that of the build. */
const ColonyVersions colony_speaks[COLONY_PROTOCOLS] = {
    [COLONY_PROTOCOL_GROUP] = { .oldest = 1, .newest = 1 },
    [COLONY_PROTOCOL_SYNC] = { .oldest = 2, .newest = 3 },
    [COLONY_PROTOCOL_DISK] = { .oldest = 1, .newest = 1 },
    [COLONY_PROTOCOL_CONTROL] = { .oldest = 1, .newest = 1 },
};

static const Setup setup = {
    .pages = { 4, 4, 4 },
    .page_size = 4096,
};

/* A message of what a peer says. */
static GByteArray *message(PloverHeader header, uint64_t key,
                           const GByteArray *payload)
{
    GByteArray *bytes = g_byte_array_new();
    PloverPiece piece = { payload ? payload->data : NULL,
                          payload ? payload->len : 0 };

    g_byte_array_set_size(bytes, PLOVER_HEADER_SIZE);
    plover_header_encode(bytes->data, &header, key, &piece, 1);
    if (payload) {
        g_byte_array_append(bytes, payload->data, payload->len);
    }
    return bytes;
}

static PloverHeader header_of(const GByteArray *bytes)
{
    g_autoptr(GError) error = NULL;
    PloverHeader header;

    g_assert_cmpuint(bytes->len, >=, PLOVER_HEADER_SIZE);
    plover_header_decode(&header, bytes->data, &error);
    g_assert_no_error(error);
    return header;
}

/*
 * A leader that @speaks greets us, and has @more behind its HELLO; what we
 * said. @why: what is in our error, or NULL.
 */
static GByteArray *answer_to(ColonyVersions speaks, const char *more,
                             const char *why)
{
    FakeVm *vm = fake_vm_new(setup.pages, setup.page_size, 0);
    PloverHello hello = setup_hello(&setup, vm), heard;
    PloverHeader header = {
        .type = PLOVER_HELLO, .term = 1, .speaks = speaks,
    };
    PloverSecondaryConfig config = setup_secondary(vm, NULL);
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GByteArray) said = NULL;
    g_autoptr(GError) error = NULL;
    PloverSecondary *secondary;
    FakePlayback playback;
    PloverLink *link;
    GByteArray *answer;

    plover_hello_encode(payload, &hello);
    g_byte_array_append(payload, (const uint8_t *)more, strlen(more));
    said = message(header, 0, payload);
    fake_playback_init(&playback, said->data, said->len);
    link = plover_link_new(&fake_playback_io, &playback);
    secondary = plover_secondary_new(&config, &fake_vm_ops, vm, link);
    if (plover_secondary_greet(secondary, &heard, &error)) {
        plover_hello_clear(&heard);
        g_assert_null(why);
    } else {
        g_assert_nonnull(why);
        g_assert_nonnull(strstr(error->message, why));
    }
    answer = g_byte_array_ref(playback.sent);
    plover_hello_clear(&hello);
    plover_secondary_free(secondary);
    plover_link_free(link);
    fake_playback_clear(&playback);
    fake_vm_free(vm);
    return answer;
}

static void welcomed_in(ColonyVersions speaks, unsigned version)
{
    g_autoptr(GByteArray) answer = answer_to(
        speaks, speaks.newest > 3 ? "more" : "", NULL);
    PloverHeader header = header_of(answer);

    g_assert_cmpint(header.type, ==, PLOVER_WELCOME);
    g_assert_cmpuint(header.speaks.newest, ==, version);
    g_assert_cmpuint(header.speaks.oldest, ==, version);
}

static void the_newest_that_both_speak_counts(void)
{
    welcomed_in((ColonyVersions) { 1, 2 }, 2);
    welcomed_in((ColonyVersions) { 1, 3 }, 3);
    welcomed_in((ColonyVersions) { 3, 9 }, 3);
}

static void what_an_older_one_adds_is_refused(void)
{
    g_autoptr(GByteArray) answer = answer_to((ColonyVersions) { 2, 3 }, "more",
                                             "HELLO: 4 bytes too many");

    g_assert_cmpuint(answer->len, ==, 0);
}

static void a_leader_without_a_common_version_is_told(ColonyVersions speaks,
                                                      const char *why)
{
    g_autoptr(GByteArray) answer = answer_to(speaks, "", why);
    g_autofree char *text = NULL;

    g_assert_cmpint(header_of(answer).type, ==, PLOVER_REFUSE);
    text = g_strndup((char *)answer->data + PLOVER_HEADER_SIZE,
                     answer->len - PLOVER_HEADER_SIZE);
    g_assert_cmpstr(strstr(text, why), ==, text);
}

static void no_common_version_is_refused_by_name(void)
{
    a_leader_without_a_common_version_is_told(
        (ColonyVersions) { 1, 1 },
        "the leader speaks version 1 of the sync protocol, the secondary "
        "versions 2 to 3; upgrade the leader first");
    a_leader_without_a_common_version_is_told(
        (ColonyVersions) { 4, 5 },
        "the leader speaks versions 4 to 5 of the sync protocol, the secondary "
        "versions 2 to 3; upgrade the secondary first");
}

/* A secondary chooses @version; what the leader says to that, or NULL. */
static char *leader_on(unsigned version)
{
    FakeVm *vm = fake_vm_new(setup.pages, setup.page_size, 0);
    PloverLeaderConfig config = setup_leader(&setup, NULL);
    PloverHello hello = setup_hello(&setup, vm);
    PloverHeader header = {
        .type = PLOVER_WELCOME, .term = config.term,
        .speaks = { version, version },
    };
    g_autoptr(GByteArray) said = NULL;
    g_autoptr(GError) error = NULL;
    FakePlayback playback;
    PloverLeader *leader;
    PloverLink *link;

    header.epoch = header.base = config.epoch;
    said = message(header, hello.key, NULL);
    fake_playback_init(&playback, said->data, said->len);
    link = plover_link_new(&fake_playback_io, &playback);
    leader = plover_leader_new(&config, &fake_vm_ops, vm, link);
    plover_leader_greet(leader, &hello, &error);
    g_assert_cmpuint(header_of(playback.sent).speaks.oldest, ==, 2);
    g_assert_cmpuint(header_of(playback.sent).speaks.newest, ==, 3);
    plover_hello_clear(&hello);
    plover_leader_free(leader);
    plover_link_free(link);
    fake_playback_clear(&playback);
    fake_vm_free(vm);
    return error ? g_strdup(error->message) : NULL;
}

static void a_leader_takes_what_it_has_offered(void)
{
    g_assert_cmpstr(leader_on(2), ==, NULL);
    g_assert_cmpstr(leader_on(3), ==, NULL);
}

static void a_leader_takes_nothing_else(void)
{
    g_autofree char *older = leader_on(1), *newer = leader_on(4);

    g_assert_cmpstr(older, ==, "WELCOME is of version 1, but versions 2 to 3 "
                    "were offered");
    g_assert_cmpstr(newer, ==, "WELCOME is of version 4, but versions 2 to 3 "
                    "were offered");
}

#define ADD(NAME) g_test_add_func("/sync-versions/" #NAME, NAME)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_newest_that_both_speak_counts);
    ADD(what_an_older_one_adds_is_refused);
    ADD(no_common_version_is_refused_by_name);
    ADD(a_leader_takes_what_it_has_offered);
    ADD(a_leader_takes_nothing_else);
    return g_test_run();
}
