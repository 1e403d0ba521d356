/*
 * Streams over links
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fake-verbs.h"
#include "tests/unit/streams.h"

#define MS UINT64_C(1000000) /* in ns */
/* A record can be a quarter of the ring, less what is around it. */
#define RECORD (STREAMS_SIZE / 4 - 64)

/* What the byte at @place of any test's stream is. */
static uint8_t byte_at(size_t place)
{
    return place * 2654435761u >> 24;
}

static uint8_t *some_bytes(size_t from, size_t size)
{
    uint8_t *bytes = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        bytes[i] = byte_at(from + i);
    }
    return bytes;
}

static void check_bytes(const uint8_t *bytes, size_t from, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        g_assert_cmpuint(bytes[i], ==, byte_at(from + i));
    }
}

static VerbsWait wait_ms(VerbsStream *stream, VerbsStreamFor what, int life,
                         unsigned ms)
{
    return verbs_stream_wait(stream, what, life, streams_in(ms * MS));
}

/* Nothing that happens meanwhile is waited for. */
static void must_be_ready(VerbsStream *stream, VerbsStreamFor what)
{
    g_assert_cmpint(verbs_stream_wait(stream, what, -1,
                                      streams_in(STREAMS_PATIENCE)),
                    ==, VERBS_WAIT_READY);
}

static void write_some(VerbsStream *stream, size_t from, size_t size)
{
    g_autofree uint8_t *bytes = some_bytes(from, size);

    streams_write(stream, bytes, size);
}

static void read_some(VerbsStream *stream, size_t from, size_t size)
{
    g_autofree uint8_t *bytes = g_malloc(size);
    g_autoptr(GError) error = NULL;

    streams_read(stream, bytes, size, &error);
    g_assert_no_error(error);
    check_bytes(bytes, from, size);
}

/* Write until there is no room. */
static size_t fill(VerbsStream *stream, size_t from, size_t piece)
{
    g_autofree uint8_t *bytes = some_bytes(from, piece);
    const VerbsPiece one = { bytes, piece };
    size_t total = 0;

    for (;;) {
        g_autoptr(GError) error = NULL;
        gssize sent = verbs_stream_write(stream, &one, 1, &error);

        g_assert_no_error(error);
        if (sent == VERBS_STREAM_LATER) {
            return total;
        }
        g_assert_cmpint(sent, ==, piece);
        total += sent;
    }
}

/* --- bytes ---------------------------------------------------------------- */

typedef struct {
    VerbsStream *stream;
    size_t total;
    uint32_t seed;
} Job;

static void *write_job(void *opaque)
{
    Job *job = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(job->seed);
    size_t done = 0;

    while (done < job->total) {
        size_t size = g_rand_int_range(rand, 1, g_rand_boolean(rand) ? 100 :
                                       3 * STREAMS_SIZE);

        size = MIN(size, job->total - done);
        write_some(job->stream, done, size);
        done += size;
    }
    return NULL;
}

static void *read_job(void *opaque)
{
    Job *job = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(job->seed);
    size_t done = 0;

    while (done < job->total) {
        size_t size = g_rand_int_range(rand, 1, 2 * STREAMS_SIZE);

        size = MIN(size, job->total - done);
        read_some(job->stream, done, size);
        done += size;
    }
    return NULL;
}

/* Four threads: each end has one that reads and one that writes. */
static void bytes_come_as_they_were_both_ways_at_once(void)
{
    GThread *threads[4];
    Job jobs[4];
    Streams streams;

    streams_open(&streams);
    for (int i = 0; i < 4; i++) {
        jobs[i] = (Job) {
            .stream = streams.end[i / 2],
            .total = 2 << 20,
            .seed = g_test_rand_int(),
        };
        threads[i] = g_thread_new("job", i % 2 ? read_job : write_job,
                                  &jobs[i]);
    }
    for (int i = 0; i < 4; i++) {
        g_thread_join(threads[i]);
    }
    streams_free(&streams);
}

static void what_is_written_at_once_lies_in_one_piece(void)
{
    static const size_t sizes[] = { 1, 47, 48, 4096, RECORD };
    Streams streams;

    streams_open(&streams);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree uint8_t *bytes = some_bytes(0, sizes[i]);
        const VerbsPiece pieces[2] = {
            { bytes, sizes[i] / 2 },
            { bytes + sizes[i] / 2, sizes[i] - sizes[i] / 2 },
        };
        const uint8_t *data;

        g_assert_cmpint(verbs_stream_write(streams.end[0], pieces, 2, NULL),
                        ==, sizes[i]);
        must_be_ready(streams.end[1], VERBS_STREAM_READS);
        g_assert_cmpint(verbs_stream_peek(streams.end[1], &data, NULL), ==,
                        sizes[i]);
        check_bytes(data, 0, sizes[i]);
        verbs_stream_skip(streams.end[1], sizes[i]);
    }
    streams_free(&streams);
}

static void what_is_peeked_at_stays_until_it_is_skipped(void)
{
    VerbsStream *reader, *writer;
    const uint8_t *data, *again;
    Streams streams;
    size_t more;

    streams_open(&streams);
    reader = streams.end[0];
    writer = streams.end[1];
    write_some(writer, 0, 1000);
    must_be_ready(reader, VERBS_STREAM_READS);
    g_assert_cmpint(verbs_stream_peek(reader, &data, NULL), ==, 1000);
    more = fill(writer, 1000, 500);
    g_assert_cmpint(wait_ms(reader, VERBS_STREAM_WRITES, -1, 1), ==,
                    VERBS_WAIT_READY);
    check_bytes(data, 0, 1000);
    verbs_stream_skip(reader, 0);
    verbs_stream_skip(reader, 300);
    g_assert_cmpint(verbs_stream_peek(reader, &again, NULL), ==, 700);
    g_assert_true(again == data + 300);
    read_some(reader, 300, 700);
    for (size_t at = 0; at < more; at += 500) {
        read_some(reader, 1000, 500);
    }
    streams_free(&streams);
}

/* Whoever uses it does not know yet that it was the last. */
static void what_is_peeked_at_outlives_the_link(void)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *data;
    Streams streams;

    streams_open(&streams);
    write_some(streams.end[1], 0, 1000);
    must_be_ready(streams.end[0], VERBS_STREAM_READS);
    g_assert_cmpint(verbs_stream_peek(streams.end[0], &data, NULL), ==, 1000);
    g_clear_pointer(&streams.end[1], verbs_stream_free);
    /* It writes until it learns that nobody is there. */
    while (!error) {
        const VerbsPiece piece = { "x", 1 };

        if (verbs_stream_write(streams.end[0], &piece, 1, &error) ==
            VERBS_STREAM_LATER) {
            must_be_ready(streams.end[0], VERBS_STREAM_WRITES);
        } else if (!error) {
            wait_ms(streams.end[0], VERBS_STREAM_WRITES, -1, 1);
        }
    }
    g_assert_error(error, VERBS_ERROR, VERBS_ERROR_LINK);
    check_bytes(data, 0, 1000);
    verbs_stream_skip(streams.end[0], 1000);
    g_assert_cmpint(verbs_stream_peek(streams.end[0], &data, NULL), ==,
                    VERBS_STREAM_ERROR);
    streams_free(&streams);
}

static void who_is_ahead_waits_for_room(void)
{
    Streams streams;
    size_t total;

    streams_open(&streams);
    total = fill(streams.end[0], 0, 512);
    g_assert_cmpuint(total, >=, STREAMS_SIZE / 2);
    g_assert_cmpuint(total, <=, STREAMS_SIZE);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_WRITES, -1, 20), ==,
                    VERBS_WAIT_LATE);
    for (size_t at = 0; at < total; at += 512) {
        read_some(streams.end[1], 0, 512);
    }
    must_be_ready(streams.end[0], VERBS_STREAM_WRITES);
    g_assert_cmpuint(fill(streams.end[0], 0, 512), >, 0);
    streams_free(&streams);
}

/* Whose ring is full, because it does not read, hears all the same. */
static void who_does_not_read_can_write(void)
{
    const uint8_t *data;
    Streams streams;
    size_t unread;

    streams_open(&streams);
    unread = fill(streams.end[0], 0, 512);
    must_be_ready(streams.end[1], VERBS_STREAM_READS);
    g_assert_cmpint(verbs_stream_peek(streams.end[1], &data, NULL), ==, 512);
    /* Many times what there is room for, and more records than it has told. */
    for (unsigned i = 0; i < 2000; i++) {
        write_some(streams.end[1], i * 100, 100);
        read_some(streams.end[0], i * 100, 100);
    }
    for (size_t at = 0; at < unread; at += 512) {
        read_some(streams.end[1], 0, 512);
    }
    streams_free(&streams);
}

/* --- waiting -------------------------------------------------------------- */

static void a_wait_ends_at_its_deadline(void)
{
    Streams streams;
    uint64_t start;

    streams_open(&streams);
    start = streams_in(0);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_READS, -1, 30), ==,
                    VERBS_WAIT_LATE);
    g_assert_cmpuint(streams_in(0) - start, >=, 30 * MS);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_READS, -1, 0), ==,
                    VERBS_WAIT_LATE);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_WRITES, -1, 0), ==,
                    VERBS_WAIT_READY);
    streams_free(&streams);
}

typedef struct {
    VerbsStream *stream;
    VerbsStreamFor what;
    VerbsWait result;
} Waiter;

static void *wait_job(void *opaque)
{
    Waiter *waiter = opaque;

    waiter->result = verbs_stream_wait(waiter->stream, waiter->what, -1,
                                       UINT64_MAX);
    return NULL;
}

static void a_shutdown_wakes_who_reads_and_who_writes(void)
{
    Waiter waiters[2];
    GThread *threads[2];
    Streams streams;
    char byte;

    streams_open(&streams);
    fill(streams.end[0], 0, 512);
    for (int i = 0; i < 2; i++) {
        waiters[i] = (Waiter) {
            .stream = streams.end[0],
            .what = i ? VERBS_STREAM_READS : VERBS_STREAM_WRITES,
        };
        threads[i] = g_thread_new("waiter", wait_job, &waiters[i]);
    }
    if (g_test_rand_bit()) {
        g_usleep(g_test_rand_int_range(0, 3000));
    }
    verbs_stream_shutdown(streams.end[0]);
    for (int i = 0; i < 2; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpint(waiters[i].result, ==, VERBS_WAIT_READY);
    }
    for (int i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        const VerbsPiece piece = { "x", 1 };

        g_assert_cmpint(i ? verbs_stream_read(streams.end[0], &byte, 1, &error)
                          : verbs_stream_write(streams.end[0], &piece, 1,
                                               &error),
                        ==, VERBS_STREAM_ERROR);
        g_assert_error(error, VERBS_ERROR, VERBS_ERROR_LINK);
    }
    /* And however often. */
    must_be_ready(streams.end[0], VERBS_STREAM_READS);
    must_be_ready(streams.end[0], VERBS_STREAM_READS);
    streams_free(&streams);
}

/* The end of the connection, but not before what came was looked at. */
static void the_life_line_ends_a_wait(void)
{
    Streams streams;
    int fds[2];

    streams_open(&streams);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_READS, fds[0], 5), ==,
                    VERBS_WAIT_LATE);
    close(fds[1]);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_READS, fds[0], 60000),
                    ==, VERBS_WAIT_LIFE);
    write_some(streams.end[1], 0, 100);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_READS, fds[0], 60000),
                    ==, VERBS_WAIT_READY);
    read_some(streams.end[0], 0, 100);
    fill(streams.end[0], 0, 512);
    g_assert_cmpint(wait_ms(streams.end[0], VERBS_STREAM_WRITES, fds[0],
                            60000), ==, VERBS_WAIT_LIFE);
    close(fds[0]);
    streams_free(&streams);
}

/* --- ends ----------------------------------------------------------------- */

static void the_end_comes_after_everything(void)
{
    g_autoptr(GError) error = NULL;
    Streams streams;
    char byte;

    streams_open(&streams);
    write_some(streams.end[0], 0, 3000);
    g_assert_cmpint(verbs_stream_end(streams.end[0], &error), ==, 0);
    g_assert_no_error(error);
    read_some(streams.end[1], 0, 3000);
    must_be_ready(streams.end[1], VERBS_STREAM_READS);
    g_assert_cmpint(verbs_stream_read(streams.end[1], &byte, 1, &error), ==, 0);
    g_assert_no_error(error);
    /* The other way there is no end yet. */
    write_some(streams.end[1], 0, 3000);
    read_some(streams.end[0], 0, 3000);
    streams_free(&streams);
}

/* Who has not looked at all of it yet when the other side goes. */
static void an_end_in_order_loses_nothing(void)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *data;
    Streams streams;
    char byte;

    streams_open(&streams);
    for (unsigned i = 0; i < 3; i++) {
        write_some(streams.end[0], i * 700, 700);
    }
    g_assert_cmpint(verbs_stream_end(streams.end[0], NULL), ==, 0);
    must_be_ready(streams.end[1], VERBS_STREAM_READS);
    g_assert_cmpint(verbs_stream_peek(streams.end[1], &data, NULL), ==, 700);
    /* Who waits for room sees that it has gone. */
    fill(streams.end[1], 0, 512);
    g_clear_pointer(&streams.end[0], verbs_stream_free);
    wait_ms(streams.end[1], VERBS_STREAM_WRITES, -1, 20);
    check_bytes(data, 0, 700);
    verbs_stream_skip(streams.end[1], 700);
    read_some(streams.end[1], 700, 1400);
    must_be_ready(streams.end[1], VERBS_STREAM_READS);
    g_assert_cmpint(verbs_stream_read(streams.end[1], &byte, 1, &error), ==, 0);
    g_assert_no_error(error);
    streams_free(&streams);
}

/* However many records there were, what comes is a part of them. */
static void a_cut_after_each_record_is_seen(void)
{
    for (unsigned records = 0; records < 12; records++) {
        g_autoptr(GError) error = NULL;
        size_t got = 0;
        Streams streams;

        streams_open(&streams);
        for (unsigned i = 0; i < records; i++) {
            write_some(streams.end[0], i * 700, 700);
        }
        g_clear_pointer(&streams.end[0], verbs_stream_free);
        while (!error) {
            uint8_t byte;
            gssize n = verbs_stream_read(streams.end[1], &byte, 1, &error);

            if (n == VERBS_STREAM_LATER) {
                must_be_ready(streams.end[1], VERBS_STREAM_READS);
            } else if (n >= 0) {
                g_assert_cmpint(n, ==, 1);
                check_bytes(&byte, got++, 1);
            }
        }
        g_assert_error(error, VERBS_ERROR, VERBS_ERROR_LINK);
        g_assert_cmpuint(got, <=, records * 700);
        streams_free(&streams);
    }
}

/* --- who may come --------------------------------------------------------- */

static VerbsStream *offer_one(VerbsOffer *offer)
{
    const VerbsStreamConfig config = streams_config();
    struct sockaddr_storage address;
    g_autoptr(GError) error = NULL;
    VerbsStream *stream;

    g_assert_true(verbs_address_parse(&address, "127.0.0.1", NULL));
    stream = verbs_stream_listen(&config, &address, offer, &error);
    g_assert_no_error(error);
    return stream;
}

/* 1: open; -1: it failed. */
static int call_until_known(VerbsStream *listener, VerbsStream *caller)
{
    int open;

    while (!(open = verbs_stream_is_open(caller, NULL))) {
        wait_ms(listener, VERBS_STREAM_OPENS, -1, 1);
        wait_ms(caller, VERBS_STREAM_OPENS, -1, 1);
    }
    return open;
}

static void who_does_not_know_the_secret_is_not_let_in(void)
{
    const VerbsStreamConfig config = streams_config();
    g_autoptr(VerbsStream) stranger = NULL;
    g_autoptr(VerbsStream) friend = NULL;
    g_autoptr(VerbsStream) listener = NULL;
    g_autoptr(VerbsStream) late = NULL;
    VerbsOffer offer, guess;

    listener = offer_one(&offer);
    guess = offer;
    guess.secret[g_test_rand_int_range(0, VERBS_SECRET_SIZE / 2)] ^= 1;
    stranger = verbs_stream_call(&config, &guess, NULL);
    g_assert_cmpint(call_until_known(listener, stranger), ==, -1);
    g_assert_cmpint(verbs_stream_is_open(listener, NULL), ==, 0);
    /* It does not take the place of who does. */
    friend = verbs_stream_call(&config, &offer, NULL);
    g_assert_cmpint(call_until_known(listener, friend), ==, 1);
    /* And then nobody is let in any more. */
    late = verbs_stream_call(&config, &offer, NULL);
    g_assert_cmpint(call_until_known(listener, late), ==, -1);
}

static void who_answers_without_the_secret_is_not_believed(void)
{
    const VerbsStreamConfig config = streams_config();
    g_autoptr(VerbsStream) listener = NULL;
    g_autoptr(VerbsStream) caller = NULL;
    g_autoptr(GError) error = NULL;
    VerbsOffer offer;

    listener = offer_one(&offer);
    offer.secret[VERBS_SECRET_SIZE - 1] ^= 1;
    caller = verbs_stream_call(&config, &offer, NULL);
    g_assert_cmpint(call_until_known(listener, caller), ==, -1);
    g_assert_cmpint(verbs_stream_is_open(caller, &error), ==, -1);
    g_assert_nonnull(strstr(error->message, "does not know the secret"));
}

static void an_offer_that_is_withdrawn_is_refused(void)
{
    const VerbsStreamConfig config = streams_config();
    g_autoptr(VerbsStream) caller = NULL;
    g_autoptr(GError) error = NULL;
    VerbsOffer offer;

    verbs_stream_free(offer_one(&offer));
    caller = verbs_stream_call(&config, &offer, &error);
    while (caller && !verbs_stream_is_open(caller, &error)) {
        must_be_ready(caller, VERBS_STREAM_OPENS);
    }
    g_assert_nonnull(error);
}

static void run(gconstpointer data)
{
    void (*const *test)(void) = data;

    fake_verbs_begin();
    (*test)();
    fake_verbs_end();
}

#define TEST(name) { "/verbs/stream/" #name, name }

static const struct {
    const char *path;
    void (*run)(void);
} tests[] = {
    TEST(bytes_come_as_they_were_both_ways_at_once),
    TEST(what_is_written_at_once_lies_in_one_piece),
    TEST(what_is_peeked_at_stays_until_it_is_skipped),
    TEST(what_is_peeked_at_outlives_the_link),
    TEST(who_is_ahead_waits_for_room),
    TEST(who_does_not_read_can_write),
    TEST(a_wait_ends_at_its_deadline),
    TEST(a_shutdown_wakes_who_reads_and_who_writes),
    TEST(the_life_line_ends_a_wait),
    TEST(the_end_comes_after_everything),
    TEST(an_end_in_order_loses_nothing),
    TEST(a_cut_after_each_record_is_seen),
    TEST(who_does_not_know_the_secret_is_not_let_in),
    TEST(who_answers_without_the_secret_is_not_believed),
    TEST(an_offer_that_is_withdrawn_is_refused),
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add_data_func(tests[i].path, &tests[i].run, run);
    }
    return g_test_run();
}
