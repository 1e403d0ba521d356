/*
 * A group of real members in one process
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/apus-group.h"

#include <ftw.h>
#include <glib/gstdio.h>
#include <time.h>
#include <unistd.h>

#include "colo-net/apus/core/payload.h"

#define PATIENCE 60 /* seconds: sanitizers, and a busy machine */
#define MS 1000000ull

static GroupMember *member_of(Group *group, ApusId id)
{
    return &group->member[id - 1];
}

/* --- handlers ------------------------------------------------------------ */

static ApusDeliver deliver(void *opaque, const ApusEntry *entry)
{
    GroupMember *member = opaque;
    ApusDeliver next;

    pthread_mutex_lock(&member->group->lock);
    g_assert_cmpuint(entry->index, >, member->last);
    member->last = entry->index;
    if (entry->kind == APUS_ENTRY_INPUT && entry->length) {
        g_byte_array_append(member->delivered, entry->payload, entry->length);
    }
    next = entry->kind == member->pause_at ? APUS_DELIVER_PAUSE
                                           : APUS_DELIVER_GO_ON;
    pthread_cond_broadcast(&member->group->cond);
    pthread_mutex_unlock(&member->group->lock);
    return next;
}

static void told(void *opaque, ApusId from, uint64_t term, const uint8_t *data,
                 size_t size)
{
    GroupMember *member = opaque;

    g_assert_cmpuint(from, !=, member->id);
    pthread_mutex_lock(&member->group->lock);
    g_assert_cmpuint(term, ==, member->term);
    if (size) {
        g_byte_array_append(member->told, data, size);
    }
    pthread_cond_broadcast(&member->group->cond);
    pthread_mutex_unlock(&member->group->lock);
}

static void term_rises(void *opaque, uint64_t term)
{
    GroupMember *member = opaque;

    pthread_mutex_lock(&member->group->lock);
    g_assert_cmpuint(term, >, member->term);
    member->term = term;
    pthread_mutex_unlock(&member->group->lock);
}

static void skipped(void *opaque, const ApusSnapshot *snapshot)
{
    GroupMember *member = opaque;

    g_error("member %u did not deliver what is up to %" G_GUINT64_FORMAT,
            member->id, snapshot->index);
}

static void changed(void *opaque, const ApusStatus *status)
{
    GroupMember *member = opaque;
    gboolean leads;

    pthread_mutex_lock(&member->group->lock);
    leads = status->state == APUS_STATE_LEADER &&
            member->status.state != APUS_STATE_LEADER;
    g_assert_cmpuint(status->term, <=, MAX(member->term, 1));
    member->status = *status;
    pthread_cond_broadcast(&member->group->cond);
    pthread_mutex_unlock(&member->group->lock);
    if (leads) {
        apus_resume(member->apus);
        apus_settled(member->apus);
    }
    if (member->also) {
        member->also(member->also_opaque, member->apus, status);
    }
}

static void failed(void *opaque, const GError *error)
{
    GroupMember *member = opaque;

    pthread_mutex_lock(&member->group->lock);
    member->failure = g_error_copy(error);
    pthread_cond_broadcast(&member->group->cond);
    pthread_mutex_unlock(&member->group->lock);
}

static void say(void *opaque, GLogLevelFlags level, const char *text)
{
    GroupMember *member = opaque;

    (void)level;
    g_test_message("%u: %s", member->id, text);
}

/* --- life ---------------------------------------------------------------- */

/*
 * All of 127.0.0.0/8 is this host's: an address for each process, so that
 * tests that run at once do not meet, and a port that no client is given.
 */
static void set_address(ApusMember *member)
{
    unsigned pid = getpid();

    g_snprintf(member->address, sizeof(member->address), "127.%u.%u.%u:%u",
               64 + (pid >> 16) % 128, (pid >> 8) & 255, pid & 255,
               10000 + member->id);
}

static void found(Group *group, GroupMember *member)
{
    g_autoptr(GError) error = NULL;

    member->config = (ApusConfig) {
        .cluster = "test",
        .id = member->id,
        .directory = g_strdup_printf("%s/%u", group->directory, member->id),
        .can_run = member->id <= 2,
        .delivers = member->id <= 2,
        .log_size = 4u << 20,
        /* The machine may be busy: nobody should seem dead who is not. */
        .heartbeat = 20 * MS,
        .timeout = 250 * MS,
    };
    apus_found(&member->config, &group->members, 1, FALSE, &error);
    g_assert_no_error(error);
}

void group_up(Group *group, unsigned count)
{
    *group = (Group) { .count = count };
    pthread_mutex_init(&group->lock, NULL);
    pthread_cond_init(&group->cond, NULL);
    group->directory = g_dir_make_tmp("apus-XXXXXX", NULL);
    g_assert_nonnull(group->directory);
    group->members.count = count;
    for (unsigned i = 0; i < count; i++) {
        ApusMember *member = &group->members.member[i];

        *member = (ApusMember) { .id = i + 1, .can_run = i < 2 };
        set_address(member);
    }
    for (unsigned i = 0; i < count; i++) {
        GroupMember *member = &group->member[i];

        member->group = group;
        member->id = i + 1;
        member->delivered = g_byte_array_new();
        member->told = g_byte_array_new();
        found(group, member);
    }
}

void group_start(Group *group, ApusId id)
{
    static const ApusHandlers handlers = {
        .deliver = deliver,
        .skipped = skipped,
        .told = told,
        .term_rises = term_rises,
        .changed = changed,
        .failed = failed,
        .log = say,
    };
    GroupMember *member = member_of(group, id);
    g_autoptr(GError) error = NULL;

    g_assert_null(member->apus);
    member->apus = apus_new(&member->config, &handlers, member, &error);
    g_assert_no_error(error);
    g_assert_true(apus_start(member->apus, &error));
}

void group_start_all(Group *group)
{
    for (unsigned i = 1; i <= group->count; i++) {
        group_start(group, i);
    }
}

void group_stop(Group *group, ApusId id)
{
    GroupMember *member = member_of(group, id);

    apus_stop(member->apus, 5000 * MS);
    apus_free(member->apus);
    member->apus = NULL;
    member->status = (ApusStatus) { 0 };
}

static int remove_entry(const char *path, const struct stat *status, int type,
                        struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void group_down(Group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        GroupMember *member = &group->member[i];

        if (member->apus) {
            group_stop(group, member->id);
        }
        g_byte_array_unref(member->delivered);
        g_byte_array_unref(member->told);
        g_clear_error(&member->failure);
        g_free((char *)member->config.directory);
    }
    nftw(group->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    g_free(group->directory);
    pthread_mutex_destroy(&group->lock);
    pthread_cond_destroy(&group->cond);
}

/* --- waiting ------------------------------------------------------------- */

time_t group_deadline(void)
{
    return time(NULL) + PATIENCE;
}

static void show(const Group *group)
{
    for (unsigned i = 0; i < group->count; i++) {
        const ApusStatus *status = &group->member[i].status;

        g_printerr("%u: %s, term %" G_GUINT64_FORMAT ", leader %u, role %u "
                   "%u, accepts %d, commit %" G_GUINT64_FORMAT ", delivered "
                   "%u bytes\n", i + 1, apus_state_name(status->state),
                   status->term, status->leader, status->role.leader,
                   status->role.secondary, status->accepts, status->commit,
                   group->member[i].delivered->len);
    }
}

void group_wait(Group *group, time_t deadline)
{
    struct timespec time = { .tv_sec = deadline };

    if (pthread_cond_timedwait(&group->cond, &group->lock, &time) != 0) {
        show(group);
        g_error("what was waited for has not happened");
    }
}

ApusId group_wait_leader(Group *group)
{
    time_t deadline = group_deadline();
    ApusId leader = APUS_NOBODY;

    pthread_mutex_lock(&group->lock);
    while (leader == APUS_NOBODY) {
        for (unsigned i = 0; i < group->count; i++) {
            GroupMember *member = &group->member[i];

            if (member->apus && member->status.accepts) {
                leader = member->id;
            }
        }
        if (leader == APUS_NOBODY) {
            group_wait(group, deadline);
        }
    }
    pthread_mutex_unlock(&group->lock);
    return leader;
}

gboolean group_connected(Group *group, ApusId id, ApusId peer)
{
    GroupMember *member = member_of(group, id);

    for (unsigned i = 0; i < member->status.peers; i++) {
        if (member->status.peer[i].id == peer) {
            return member->status.peer[i].connected;
        }
    }
    return FALSE;
}

void group_protect(Group *group, ApusId leader, ApusId secondary)
{
    GroupMember *member = member_of(group, leader);
    time_t deadline = group_deadline();
    Fates fates = { .group = group };
    g_autoptr(GError) error = NULL;

    pthread_mutex_lock(&group->lock);
    while (!group_connected(group, leader, secondary)) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
    apus_submit_role(member->apus, secondary, 0, fates_done, &fates, &error);
    g_assert_no_error(error);
    fates_wait(&fates, 1);
    g_assert_cmpuint(fates.committed, ==, 1);
    pthread_mutex_lock(&group->lock);
    while (member->status.role.secondary != secondary) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
}

void group_wait_delivered(Group *group, ApusId id, size_t bytes)
{
    time_t deadline = group_deadline();

    pthread_mutex_lock(&group->lock);
    while (member_of(group, id)->delivered->len < bytes) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
}

void fates_done(void *opaque, ApusFate fate, uint64_t index)
{
    Fates *fates = opaque;

    pthread_mutex_lock(&fates->group->lock);
    if (fate == APUS_FATE_COMMITTED) {
        g_assert_cmpuint(index, >, fates->last);
        fates->last = index;
        fates->committed++;
    } else {
        fates->unknown++;
    }
    pthread_cond_broadcast(&fates->group->cond);
    pthread_mutex_unlock(&fates->group->lock);
}

void fates_wait(Fates *fates, unsigned count)
{
    time_t deadline = group_deadline();

    pthread_mutex_lock(&fates->group->lock);
    while (fates->committed + fates->unknown < count) {
        group_wait(fates->group, deadline);
    }
    pthread_mutex_unlock(&fates->group->lock);
}
