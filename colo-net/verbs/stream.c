/*
 * A stream of bytes over a link, for threads that wait
 *
 * Who waits does the host's work: there is no thread that does nothing else.
 * When that brings something that the other thread waits for, it is woken by a
 * descriptor of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "colo-net/verbs/stream.h"

/*
 * The other lane has what both say of how far they have read: who does not
 * read, or uses what lies there, still hears what it may write.
 */
#define LANE 1
#define OTHER_LANE 0
#define OTHER_SIZE 4096
#define SECOND UINT64_C(1000000000)

/* Threads that may wait at the same time. */
enum { READER, WRITER, SIDES };

struct VerbsStream {
    VerbsOffer offer;
    gboolean caller;
    uint64_t poll;
    int wake[SIDES];
    gint shut; /* atomic */

    pthread_mutex_t lock; /* for all below */
    VerbsHost *host;
    VerbsLink *link; /* NULL before it was accepted, and when it is over */
    gboolean waits[SIDES];
    gboolean open;
    gboolean finished; /* the other side will write no more */
    gboolean full; /* room() will tell when it is no more */
    char *why; /* it has ended, or cannot begin */
    const uint8_t *kept; /* the record that is being read, */
    size_t size;
    size_t used; /* so far */
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return ts.tv_sec * SECOND + ts.tv_nsec;
}

/* --- what happens on the link, with the lock ------------------------------ */

static void signal_fd(int fd)
{
    const uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0) {
        /* It is readable already. */
        g_assert(errno == EAGAIN);
    }
}

static void wake(VerbsStream *stream, unsigned side)
{
    if (stream->waits[side]) {
        stream->waits[side] = FALSE;
        signal_fd(stream->wake[side]);
    }
}

static void end(VerbsStream *stream, const char *why)
{
    if (!stream->why) {
        stream->why = g_strdup(why);
    }
    wake(stream, READER);
    wake(stream, WRITER);
}

static void on_called(void *opaque, VerbsLink *link, const void *data,
                      size_t size)
{
    VerbsStream *stream = opaque;
    uint8_t token[VERBS_TOKEN_SIZE];

    if (stream->link || stream->why ||
        !verbs_token_check(&stream->offer, TRUE, data, size)) {
        verbs_link_reject(link, NULL, 0);
        return;
    }
    stream->link = link;
    verbs_host_stop_listening(stream->host);
    verbs_token_make(&stream->offer, FALSE, token);
    verbs_link_trust(link);
    verbs_link_accept(link, token, sizeof(token));
}

static void on_open(void *opaque, VerbsLink *link, const void *data,
                    size_t size)
{
    VerbsStream *stream = opaque;

    if (stream->caller) {
        if (!verbs_token_check(&stream->offer, FALSE, data, size)) {
            g_autofree char *why = g_strdup_printf(
                "%s does not know the secret of the offer",
                verbs_link_name(link));

            stream->link = NULL;
            verbs_link_close(link);
            end(stream, why);
            return;
        }
        verbs_link_trust(link);
    }
    stream->open = TRUE;
    wake(stream, READER);
    wake(stream, WRITER);
}

static void on_received(void *opaque, VerbsLink *link, unsigned lane,
                        const uint8_t *data, size_t size)
{
    VerbsStream *stream = opaque;

    if (stream->finished || lane != LANE) {
        stream->link = NULL;
        verbs_link_close(link);
        end(stream, "the other side wrote what it may not");
    } else if (!size) {
        stream->finished = TRUE;
    } else {
        verbs_keep(link, lane);
        stream->kept = data;
        stream->size = size;
        stream->used = 0;
    }
    wake(stream, READER);
}

static void on_room(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                    unsigned lane G_GNUC_UNUSED)
{
    VerbsStream *stream = opaque;

    stream->full = FALSE;
    wake(stream, WRITER);
}

static void on_closed(void *opaque, VerbsLink *link,
                      VerbsEnd reason G_GNUC_UNUSED, const char *text,
                      const void *data G_GNUC_UNUSED,
                      size_t size G_GNUC_UNUSED)
{
    VerbsStream *stream = opaque;

    /* Of one that was rejected nobody need know. */
    if (link == stream->link) {
        end(stream, text);
        if (!stream->kept) {
            stream->link = NULL;
        }
    }
}

static const VerbsHandlers handlers = {
    .called = on_called,
    .open = on_open,
    .received = on_received,
    .room = on_room,
    .closed = on_closed,
};

/* --- beginning and end ---------------------------------------------------- */

static VerbsStream *stream_new(const VerbsStreamConfig *config,
                               gboolean caller, GError **errp)
{
    const VerbsConfig host = {
        .lanes[LANE].size = config->size,
        .lanes[OTHER_LANE].size = OTHER_SIZE,
        .connect_timeout = config->connect_timeout,
        .ack_timeout = config->ack_timeout,
    };
    VerbsStream *stream = g_new0(VerbsStream, 1);

    stream->caller = caller;
    stream->poll = config->poll;
    pthread_mutex_init(&stream->lock, NULL);
    for (unsigned i = 0; i < SIDES; i++) {
        stream->wake[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (stream->wake[READER] < 0 || stream->wake[WRITER] < 0) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_SYSTEM, "eventfd: %s",
                    g_strerror(errno));
        g_clear_pointer(&stream, verbs_stream_free);
        return NULL;
    }
    stream->host = verbs_host_new(&host, &handlers, stream, errp);
    if (!stream->host) {
        g_clear_pointer(&stream, verbs_stream_free);
    }
    return stream;
}

VerbsStream *verbs_stream_listen(const VerbsStreamConfig *config,
                                 const struct sockaddr_storage *address,
                                 VerbsOffer *offer, GError **errp)
{
    g_autoptr(VerbsStream) stream = stream_new(config, FALSE, errp);

    if (!stream) {
        return NULL;
    }
    if (getrandom(stream->offer.secret, VERBS_SECRET_SIZE, 0) !=
        VERBS_SECRET_SIZE) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_SYSTEM,
                    "there are no random numbers: %s", g_strerror(errno));
        return NULL;
    }
    if (!verbs_host_listen(stream->host, (const struct sockaddr *)address,
                           errp)) {
        return NULL;
    }
    verbs_host_address(stream->host, &stream->offer.address);
    *offer = stream->offer;
    return g_steal_pointer(&stream);
}

VerbsStream *verbs_stream_call(const VerbsStreamConfig *config,
                               const VerbsOffer *offer, GError **errp)
{
    g_autoptr(VerbsStream) stream = stream_new(config, TRUE, errp);
    uint8_t token[VERBS_TOKEN_SIZE];

    if (!stream) {
        return NULL;
    }
    stream->offer = *offer;
    verbs_token_make(offer, TRUE, token);
    stream->link = verbs_call(stream->host,
                              (const struct sockaddr *)&offer->address, token,
                              sizeof(token), errp);
    return stream->link ? g_steal_pointer(&stream) : NULL;
}

void verbs_stream_free(VerbsStream *stream)
{
    if (!stream) {
        return;
    }
    if (stream->kept) {
        verbs_done(stream->link, LANE);
    }
    if (stream->link && !stream->why) {
        verbs_link_close(stream->link);
    }
    if (stream->host) {
        verbs_host_free(stream->host);
    }
    for (unsigned i = 0; i < SIDES; i++) {
        if (stream->wake[i] >= 0) {
            close(stream->wake[i]);
        }
    }
    pthread_mutex_destroy(&stream->lock);
    g_free(stream->why);
    g_free(stream);
}

/* --- waiting -------------------------------------------------------------- */

static gboolean is_shut(VerbsStream *stream)
{
    return g_atomic_int_get(&stream->shut);
}

static gboolean is_ready(VerbsStream *stream, VerbsStreamFor what)
{
    if (stream->why || is_shut(stream)) {
        return TRUE;
    }
    switch (what) {
    case VERBS_STREAM_OPENS:
        return stream->open;
    case VERBS_STREAM_READS:
        return stream->kept || stream->finished;
    case VERBS_STREAM_WRITES:
        return stream->open && !stream->full;
    }
    g_assert_not_reached();
}

static struct timespec *time_left(struct timespec *ts, uint64_t until)
{
    uint64_t now = now_ns();
    uint64_t left = until > now ? until - now : 0;

    ts->tv_sec = left / SECOND;
    ts->tv_nsec = left % SECOND;
    return until == UINT64_MAX ? NULL : ts;
}

/* Sleep, without the lock. @events: whether the host has something to do. */
static VerbsWait doze(VerbsStream *stream, unsigned side, int life,
                      uint64_t deadline, gboolean *events)
{
    enum { HOST, WAKE, LIFE, FDS }; /* a negative one is ignored */
    struct pollfd fds[FDS] = {
        [HOST] = { .fd = verbs_host_fd(stream->host), .events = POLLIN },
        [WAKE] = { .fd = stream->wake[side], .events = POLLIN },
        [LIFE] = { .fd = life, .events = POLLIN },
    };
    uint64_t due = verbs_host_deadline(stream->host);
    struct timespec ts;
    uint64_t count;
    int ready;

    stream->waits[side] = TRUE;
    pthread_mutex_unlock(&stream->lock);
    ready = ppoll(fds, FDS, time_left(&ts, due ? MIN(due, deadline) : deadline),
                  NULL);
    pthread_mutex_lock(&stream->lock);
    stream->waits[side] = FALSE;
    *events = ready > 0 && fds[HOST].revents;
    if (ready > 0 && fds[WAKE].revents && !is_shut(stream) &&
        read(stream->wake[side], &count, sizeof(count)) < 0) {
        g_assert(errno == EAGAIN);
    }
    return ready > 0 && fds[LIFE].revents ? VERBS_WAIT_LIFE : VERBS_WAIT_READY;
}

/*
 * Give the lock back. Who was awake may have taken the event that the other
 * sleeps for, and nobody has asked for the next one: do it, and look what has
 * come meanwhile.
 */
static void leave(VerbsStream *stream)
{
    unsigned tries = 2;

    while ((stream->waits[READER] || stream->waits[WRITER]) && !stream->why &&
           !verbs_host_arm(stream->host)) {
        if (!tries--) {
            wake(stream, READER);
            wake(stream, WRITER);
            break;
        }
        verbs_host_work(stream->host, FALSE);
    }
    pthread_mutex_unlock(&stream->lock);
}

VerbsWait verbs_stream_wait(VerbsStream *stream, VerbsStreamFor what, int life,
                            uint64_t deadline)
{
    unsigned side = what == VERBS_STREAM_WRITES ? WRITER : READER;
    uint64_t look_until = now_ns() + stream->poll;
    VerbsWait result = VERBS_WAIT_READY;
    gboolean events = FALSE;

    pthread_mutex_lock(&stream->lock);
    for (;;) {
        uint64_t now;

        if (!stream->why) {
            verbs_host_work(stream->host, events);
        }
        if (is_ready(stream, what)) {
            result = VERBS_WAIT_READY;
            break;
        }
        /* What came before it ended has been looked at. */
        if (result == VERBS_WAIT_LIFE) {
            break;
        }
        now = now_ns();
        if (now >= deadline) {
            result = VERBS_WAIT_LATE;
            break;
        }
        events = FALSE;
        if (now < look_until || !verbs_host_arm(stream->host)) {
            pthread_mutex_unlock(&stream->lock);
            pthread_mutex_lock(&stream->lock);
        } else {
            result = doze(stream, side, life, deadline, &events);
        }
    }
    leave(stream);
    return result;
}

void verbs_stream_shutdown(VerbsStream *stream)
{
    g_atomic_int_set(&stream->shut, TRUE);
    signal_fd(stream->wake[READER]);
    signal_fd(stream->wake[WRITER]);
}

/* --- bytes ---------------------------------------------------------------- */

static int failed(VerbsStream *stream, GError **errp)
{
    g_set_error(errp, VERBS_ERROR, VERBS_ERROR_LINK, "the RDMA link: %s",
                stream->why ? stream->why :
                is_shut(stream) ? "it was shut down here" : "it is broken");
    return VERBS_STREAM_ERROR;
}

int verbs_stream_is_open(VerbsStream *stream, GError **errp)
{
    int result;

    pthread_mutex_lock(&stream->lock);
    result = stream->why || is_shut(stream) ? failed(stream, errp)
                                            : stream->open;
    leave(stream);
    return result;
}

/* With the lock. 0 or one of the codes. */
static int send_record(VerbsStream *stream, const VerbsPiece *pieces,
                       unsigned n, GError **errp)
{
    VerbsSent sent;

    if (stream->why || is_shut(stream)) {
        return failed(stream, errp);
    }
    g_assert(stream->open);
    /* Hear and say how far both have read, even if nobody reads here. */
    verbs_host_work(stream->host, FALSE);
    if (stream->why) {
        return failed(stream, errp);
    }
    sent = verbs_send(stream->link, LANE, pieces, n);
    switch (sent) {
    case VERBS_SENT:
        return 0;
    case VERBS_NO_ROOM:
        stream->full = TRUE;
        return VERBS_STREAM_LATER;
    default:
        /* Why is told when everything that has come was read. */
        verbs_host_work(stream->host, TRUE);
        return failed(stream, errp);
    }
}

/* So many of @pieces, the last one cut, that they have at most @size bytes. */
static unsigned cut(const VerbsPiece *pieces, unsigned n, size_t size,
                    VerbsPiece *out, size_t *total)
{
    unsigned i;

    *total = 0;
    for (i = 0; i < n && *total < size; i++) {
        out[i] = pieces[i];
        out[i].size = MIN(pieces[i].size, size - *total);
        *total += out[i].size;
    }
    return i;
}

gssize verbs_stream_write(VerbsStream *stream, const VerbsPiece *pieces,
                          unsigned n, GError **errp)
{
    g_autofree VerbsPiece *out = g_new(VerbsPiece, n);
    size_t total = 0;
    int result;

    pthread_mutex_lock(&stream->lock);
    if (stream->open && !stream->why) {
        n = cut(pieces, n, verbs_lane_longest(stream->link, LANE), out, &total);
    }
    result = total || stream->why ? send_record(stream, out, n, errp) : 0;
    leave(stream);
    return result < 0 ? result : (gssize)total;
}

int verbs_stream_end(VerbsStream *stream, GError **errp)
{
    int result;

    pthread_mutex_lock(&stream->lock);
    result = send_record(stream, NULL, 0, errp);
    leave(stream);
    return result;
}

/* With the lock. 1: there are bytes, 0: the end, or one of the codes. */
static int look(VerbsStream *stream, GError **errp)
{
    if (is_shut(stream)) {
        return failed(stream, errp);
    }
    if (!stream->kept && !stream->finished && !stream->why) {
        verbs_host_work(stream->host, FALSE);
    }
    if (stream->kept) {
        return 1;
    }
    if (stream->finished) {
        return 0;
    }
    return stream->why ? failed(stream, errp) : VERBS_STREAM_LATER;
}

static void skip(VerbsStream *stream, size_t size)
{
    g_assert(stream->kept && size <= stream->size - stream->used);
    stream->used += size;
    if (stream->used == stream->size) {
        stream->kept = NULL;
        verbs_done(stream->link, LANE);
        if (stream->why) {
            stream->link = NULL;
        }
    }
}

gssize verbs_stream_peek(VerbsStream *stream, const uint8_t **data,
                         GError **errp)
{
    gssize result;

    pthread_mutex_lock(&stream->lock);
    result = look(stream, errp);
    if (result > 0) {
        *data = stream->kept + stream->used;
        result = stream->size - stream->used;
    }
    leave(stream);
    return result;
}

void verbs_stream_skip(VerbsStream *stream, size_t size)
{
    pthread_mutex_lock(&stream->lock);
    if (size) {
        skip(stream, size);
    }
    leave(stream);
}

gssize verbs_stream_read(VerbsStream *stream, void *data, size_t size,
                         GError **errp)
{
    gssize result;

    pthread_mutex_lock(&stream->lock);
    result = look(stream, errp);
    if (result > 0) {
        result = MIN(size, stream->size - stream->used);
        memcpy(data, stream->kept + stream->used, result);
        skip(stream, result);
    }
    leave(stream);
    return result;
}

void verbs_stream_counters(VerbsStream *stream, VerbsCounters *counters)
{
    pthread_mutex_lock(&stream->lock);
    verbs_host_counters(stream->host, counters);
    pthread_mutex_unlock(&stream->lock);
}
