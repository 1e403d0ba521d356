/*
 * Test: who has lost the right to write into a lane writes nowhere, by looking
 * at all memory of the process that it writes to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parent is a follower. Leaders are children: each does what it is told by
 * a letter over a socket, and answers with a byte. Between two letters it
 * sleeps, so that it does not hear that it was deposed.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "colo-net/verbs/verbs.h"

#define ADDRESS "10.0.0.1"
#define PORT 7472

enum { SECONDS = 25, MAIL = 0, LOG = 1, LEADERS = 2, ROUNDS = 10 };

enum {
    DO_WAIT_GRANT = 'g',
    DO_SEND = 's', /* one record; the answer is a VerbsSent */
    DO_SEND_ALL = 'a', /* records until no more can be sent */
    DO_WAIT_LOSS = 'l', /* of the grant: TRUE if a write was refused */
    DO_WAIT_END = 'e', /* of the link: likewise */
};

static const VerbsConfig config = {
    .lanes = { [MAIL] = { .size = 1 << 16 },
               [LOG] = { .size = 1 << 20, .gated = TRUE } },
    .connect_timeout = 5 * G_GUINT64_CONSTANT(1000000000),
};

static struct sockaddr_in address(void)
{
    struct sockaddr_in found = { .sin_family = AF_INET,
                                 .sin_port = htons(PORT) };

    g_assert_cmpint(inet_pton(AF_INET, ADDRESS, &found.sin_addr), ==, 1);
    return found;
}

static void work_until(VerbsHost *host, const gboolean *true)
{
    gint64 deadline = g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC;

    while (!*true) {
        struct pollfd fd = { .fd = verbs_host_fd(host), .events = POLLIN };
        int ready = verbs_host_arm(host) ? poll(&fd, 1, 1) : 1;

        verbs_host_work(host, ready > 0);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

/* --- what is written ---------------------------------------------------- */

/*
 * A record says nothing else anywhere in memory says, and nobody who looks for
 * one has it in his own memory: neither side stores it in one piece.
 */
enum { RECORD = 40, SIGNATURE = 32 };

/* The number of the first one that is sent with this grant. */
#define FIRST(ticket) (((uint64_t)(ticket) << 32) + 1)

static uint8_t signature(unsigned i)
{
    return 0x5a ^ (i * i * 29 + i * 7);
}

static VerbsSent send_record(VerbsLink *link, uint64_t number)
{
    uint8_t record[RECORD];
    VerbsPiece piece = { record, sizeof(record) };

    for (unsigned i = 0; i < SIGNATURE; i++) {
        record[i] = signature(i);
    }
    memcpy(record + SIGNATURE, &number, sizeof(number));
    return verbs_send(link, LOG, &piece, 1);
}

static uint64_t newest_between(const uint8_t *from, const uint8_t *to)
{
    uint64_t newest = 0;

    while (to - from >= RECORD && (from = memchr(from, signature(0),
                                                 to - from - RECORD + 1))) {
        unsigned i = 1;
        uint64_t number;

        while (i < SIGNATURE && from[i] == signature(i)) {
            i++;
        }
        if (i == SIGNATURE) {
            memcpy(&number, from + SIGNATURE, sizeof(number));
            newest = MAX(newest, number);
        }
        from++;
    }
    return newest;
}

/* The highest number of a record in all our memory; 0: there is none. */
static uint64_t newest_in_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    uint64_t newest = 0;
    char line[512];

    g_assert_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;
        char rights[5];

        if (sscanf(line, "%zx-%zx %4s", &from, &to, rights) == 3 &&
            g_str_has_prefix(rights, "rw")) {
            newest = MAX(newest, newest_between((void *)from, (void *)to));
        }
    }
    fclose(maps);
    return newest;
}

/* --- a leader ----------------------------------------------------------- */

typedef struct {
    VerbsHost *host;
    VerbsLink *link;
    gboolean open, granted, lost, ended, fenced;
    uint64_t sent;
} Leader;

static void leader_open(void *opaque, VerbsLink *link,
                        const void *data G_GNUC_UNUSED,
                        size_t size G_GNUC_UNUSED)
{
    Leader *leader = opaque;

    verbs_link_trust(link);
    leader->open = TRUE;
}

static void leader_granted(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                           unsigned lane, gboolean granted,
                           uint64_t ticket)
{
    Leader *leader = opaque;

    g_assert_cmpuint(lane, ==, LOG);
    leader->granted = granted;
    leader->lost = !granted;
    if (granted) {
        leader->sent = FIRST(ticket) - 1;
    }
}

static void leader_closed(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                          VerbsEnd end, const char *text G_GNUC_UNUSED,
                          const void *data G_GNUC_UNUSED,
                          size_t size G_GNUC_UNUSED)
{
    Leader *leader = opaque;

    leader->fenced = end == VERBS_END_FENCED;
    leader->ended = leader->lost = leader->open = leader->granted = TRUE;
}

static uint8_t leader_obey(Leader *leader, char letter)
{
    VerbsSent sent = VERBS_SENT;

    switch (letter) {
    case DO_WAIT_GRANT:
        work_until(leader->host, &leader->granted);
        return leader->lost;
    case DO_SEND:
        return send_record(leader->link, ++leader->sent);
    case DO_SEND_ALL:
        while (sent == VERBS_SENT) {
            sent = send_record(leader->link, ++leader->sent);
        }
        return sent;
    case DO_WAIT_END:
        work_until(leader->host, &leader->ended);
        return leader->fenced;
    default:
        work_until(leader->host, &leader->lost);
        return leader->fenced;
    }
}

static G_NORETURN void be_leader(int number, int follower)
{
    static const VerbsHandlers handlers = {
        .open = leader_open,
        .granted = leader_granted,
        .closed = leader_closed,
    };
    struct sockaddr_in there = address();
    uint8_t who = number;
    Leader leader = { 0 };
    char letter;

    alarm(SECONDS);
    leader.host = verbs_host_new(&config, &handlers, &leader, NULL);
    g_assert_nonnull(leader.host);
    leader.link = verbs_call(leader.host, (struct sockaddr *)&there, &who, 1,
                             NULL);
    g_assert_nonnull(leader.link);
    work_until(leader.host, &leader.open);
    while (read(follower, &letter, 1) == 1) {
        uint8_t answer = leader_obey(&leader, letter);

        g_assert_cmpint(write(follower, &answer, 1), ==, 1);
    }
    _exit(0);
}

/* --- the follower ------------------------------------------------------- */

typedef struct {
    VerbsHost *host;
    VerbsLink *link[LEADERS];
    gboolean standing[LEADERS];
    gboolean received;
    uint64_t newest; /* number of the last record that was handed out */
    int socket[LEADERS];
    pid_t pid[LEADERS];
} Follower;

static unsigned number_of(Follower *follower, VerbsLink *link)
{
    return follower->link[0] == link ? 0 : 1;
}

static void follower_called(void *opaque, VerbsLink *link, const void *data,
                            size_t size)
{
    Follower *follower = opaque;
    uint8_t number = *(const uint8_t *)data;

    g_assert_cmpuint(size, ==, VERBS_CALL_DATA);
    g_assert_cmpuint(number, <, LEADERS);
    follower->link[number] = link;
    verbs_link_accept(link, NULL, 0);
}

static void follower_open(void *opaque, VerbsLink *link,
                          const void *data G_GNUC_UNUSED,
                          size_t size G_GNUC_UNUSED)
{
    Follower *follower = opaque;

    verbs_link_trust(link);
    follower->standing[number_of(follower, link)] = TRUE;
}

static void follower_received(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                              unsigned lane, const uint8_t *data, size_t size)
{
    Follower *follower = opaque;

    g_assert_cmpuint(lane, ==, LOG);
    g_assert_cmpuint(size, ==, RECORD);
    memcpy(&follower->newest, data + SIGNATURE, sizeof(follower->newest));
    follower->received = TRUE;
}

static void follower_closed(void *opaque, VerbsLink *link,
                            VerbsEnd end G_GNUC_UNUSED,
                            const char *text G_GNUC_UNUSED,
                            const void *data G_GNUC_UNUSED,
                            size_t size G_GNUC_UNUSED)
{
    Follower *follower = opaque;

    follower->standing[number_of(follower, link)] = FALSE;
}

static uint8_t have(Follower *follower, unsigned leader, char letter)
{
    uint8_t answer;

    g_assert_cmpint(write(follower->socket[leader], &letter, 1), ==, 1);
    g_assert_cmpint(read(follower->socket[leader], &answer, 1), ==, 1);
    return answer;
}

static void start_leader(Follower *follower, unsigned number)
{
    char name[4], fd[12];
    int sockets[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
    fcntl(sockets[0], F_SETFD, FD_CLOEXEC); /* not the next leader's */
    snprintf(name, sizeof(name), "%u", number);
    snprintf(fd, sizeof(fd), "%d", sockets[1]);
    follower->socket[number] = sockets[0];
    follower->pid[number] = fork();
    if (follower->pid[number] == 0) {
        execl("/proc/self/exe", "leader", name, fd, NULL);
        _exit(127);
    }
    close(sockets[1]);
    work_until(follower->host, &follower->standing[number]);
}

static void end_leader(Follower *follower, unsigned number)
{
    int status;

    close(follower->socket[number]);
    g_assert_cmpint(waitpid(follower->pid[number], &status, 0), ==,
                    follower->pid[number]);
    g_assert_cmpint(status, ==, 0);
    if (follower->standing[number]) {
        verbs_link_close(follower->link[number]);
        follower->standing[number] = FALSE;
    }
}

static void set_up(Follower *follower, gconstpointer unused G_GNUC_UNUSED)
{
    static const VerbsHandlers handlers = {
        .called = follower_called,
        .open = follower_open,
        .received = follower_received,
        .closed = follower_closed,
    };
    struct sockaddr_in here = address();
    GError *error = NULL;

    alarm(SECONDS);
    follower->host = verbs_host_new(&config, &handlers, follower, &error);
    g_assert_no_error(error);
    verbs_host_listen(follower->host, (struct sockaddr *)&here, &error);
    g_assert_no_error(error);
}

static void tear_down(Follower *follower, gconstpointer unused G_GNUC_UNUSED)
{
    verbs_host_free(follower->host);
    alarm(0);
}

static void grant(Follower *follower, unsigned number, uint64_t ticket)
{
    GError *error = NULL;

    verbs_grant(follower->link[number], LOG, ticket, &error);
    g_assert_no_error(error);
    g_assert_cmpint(have(follower, number, DO_WAIT_GRANT), ==, 0);
}

static uint64_t refusals(Follower *follower)
{
    VerbsCounters counters;

    verbs_host_counters(follower->host, &counters);
    return counters.refusals;
}

/* --- what must be true -------------------------------------------------- */

static void wait_until_in_memory(uint64_t number)
{
    gint64 deadline = g_get_monotonic_time() + SECONDS * G_USEC_PER_SEC;

    while (newest_in_memory() < number) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        sched_yield();
    }
}

/* Otherwise the next tests would prove nothing. */
static void test_granted_write_is_found_in_memory(
    Follower *follower, gconstpointer unused G_GNUC_UNUSED)
{
    start_leader(follower, 0);
    grant(follower, 0, 1);
    g_assert_cmpuint(newest_in_memory(), ==, 0);
    g_assert_cmpint(have(follower, 0, DO_SEND), ==, VERBS_SENT);
    wait_until_in_memory(FIRST(1));
    work_until(follower->host, &follower->received);
    g_assert_cmpuint(follower->newest, ==, FIRST(1));
    end_leader(follower, 0);
}

static void test_write_without_grant_is_not_sent(
    Follower *follower, gconstpointer unused G_GNUC_UNUSED)
{
    start_leader(follower, 0);
    g_assert_cmpint(have(follower, 0, DO_SEND), ==, VERBS_NOT_GRANTED);
    end_leader(follower, 0);
}

static void test_deposed_leader_writes_nowhere(
    Follower *follower, gconstpointer unused G_GNUC_UNUSED)
{
    start_leader(follower, 0);
    start_leader(follower, 1);
    grant(follower, 0, 1);
    verbs_revoke(follower->link[0], LOG);
    grant(follower, 1, 2);
    /* It does not know that yet, and its write is on its way. */
    g_assert_cmpint(have(follower, 0, DO_SEND), ==, VERBS_SENT);
    g_assert_true(have(follower, 0, DO_WAIT_END));
    g_assert_cmpuint(newest_in_memory(), ==, 0);
    /* Nor does that disturb who has been granted it. */
    g_assert_cmpint(have(follower, 1, DO_SEND), ==, VERBS_SENT);
    work_until(follower->host, &follower->received);
    g_assert_cmpuint(follower->newest, ==, FIRST(2));
    g_assert_cmpuint(refusals(follower), >, 0);
    end_leader(follower, 0);
    end_leader(follower, 1);
}

/* Whatever moment it is: what landed before has landed, and nothing after. */
static void test_nothing_lands_once_revoked(
    Follower *follower, gconstpointer unused G_GNUC_UNUSED)
{
    for (int i = 1; i <= ROUNDS; i++) {
        uint64_t enough = FIRST(i) + g_test_rand_int_range(0, 200);
        char letter = DO_SEND_ALL;
        uint64_t newest;
        uint8_t answer;

        alarm(SECONDS);
        start_leader(follower, 0);
        grant(follower, 0, i);
        g_assert_cmpint(write(follower->socket[0], &letter, 1), ==, 1);
        wait_until_in_memory(enough);
        verbs_revoke(follower->link[0], LOG);
        newest = newest_in_memory();
        g_assert_cmpint(read(follower->socket[0], &answer, 1), ==, 1);
        g_test_message("%u had landed; %s", (unsigned)newest,
                       have(follower, 0, DO_WAIT_LOSS) ? "one was refused" :
                       "it was told first");
        g_assert_cmpuint(newest_in_memory(), ==, newest);
        g_assert_false(follower->received);
        end_leader(follower, 0);
    }
}

#define ADD(name, test) \
    g_test_add("/fence/" name, Follower, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[0], "leader")) {
        be_leader(atoi(argv[1]), atoi(argv[2]));
    }
    g_test_init(&argc, &argv, NULL);
    ADD("granted-write-is-found-in-memory",
        test_granted_write_is_found_in_memory);
    ADD("write-without-grant-is-not-sent",
        test_write_without_grant_is_not_sent);
    ADD("deposed-leader-writes-nowhere", test_deposed_leader_writes_nowhere);
    ADD("soak/nothing-lands-once-revoked", test_nothing_lands_once_revoked);
    return g_test_run();
}
