/*
 * A storage with its loop, and a model of what it should hold
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "storage-box.h"

#define SECONDS 1000000000ull
#define DEADLINE (60 * SECONDS)

typedef enum {
    ORDER_SAVE,
    ORDER_APPEND,
} OrderKind;

typedef struct {
    OrderKind kind;
    ApusHardState state;
    uint64_t first, term;
    unsigned count;
    uint32_t length;
} BoxOrder;

/* What stands for an entry. Its payload is a number, again and again. */
typedef struct {
    uint64_t term;
    uint32_t length;
    uint8_t content[8]; /* its first bytes */
} Seen;

typedef struct {
    ApusHardState state;
    uint64_t first; /* index of the first one in log */
    GArray *log; /* Seen */
} Model;

void box_first_state(ApusHardState *state)
{
    ApusSnapshot *base = &state->base;

    memset(state, 0, sizeof(*state));
    base->members.count = 3;
    for (unsigned i = 0; i < 3; i++) {
        ApusMember *member = &base->members.member[i];

        member->id = i + 1;
        member->can_run = i < 2;
        g_snprintf(member->address, sizeof(member->address), "host%u:1", i);
    }
    base->role.leader = 1;
    state->newest = *base;
    state->term = 1;
}

StorageBox *box_new(const char *directory, const ApusFileOps *files)
{
    StorageBox *box = g_new0(StorageBox, 1);

    box->config = (ApusStorageConfig) {
        .directory = g_strdup(directory),
        .cluster = "box",
        .id = 2,
        .durability = APUS_DURABILITY_DISK,
        .segment_size = BOX_SEGMENT,
        .files = files,
    };
    box->notes = g_ptr_array_new_with_free_func(g_free);
    box->orders = g_array_new(FALSE, FALSE, sizeof(BoxOrder));
    box_first_state(&box->state);
    return box;
}

void box_free(StorageBox *box)
{
    box_close(box);
    g_free((char *)box->config.directory);
    g_ptr_array_unref(box->notes);
    g_array_unref(box->orders);
    g_clear_error(&box->error);
    g_free(box);
}

/* --- handlers ------------------------------------------------------------- */

static void stored(void *opaque, uint64_t ticket)
{
    StorageBox *box = opaque;

    g_assert_cmpuint(ticket, >, box->stored);
    g_assert_cmpuint(ticket, <=, box->ticket);
    g_assert(!box->error);
    box->stored = ticket;
    if (box->on_stored) {
        box->on_stored(box->opaque);
    }
    if (box->stored == box->ticket) {
        apus_loop_quit(box->loop);
    }
}

static void failed(void *opaque, const GError *error)
{
    StorageBox *box = opaque;

    g_assert(!box->error);
    box->error = g_error_copy(error);
    apus_loop_quit(box->loop);
}

static void stalled(void *opaque, const char *why)
{
    StorageBox *box = opaque;

    g_assert((why != NULL) != box->stalled);
    box->stalled = why != NULL;
    if (why) {
        box->stalls++;
    } else {
        box->resumptions++;
    }
    apus_loop_quit(box->loop);
}

static const ApusStorageHandlers handlers = {
    .stored = stored,
    .failed = failed,
    .stalled = stalled,
};

static void too_late(void *opaque)
{
    (void)opaque;
    g_error("the storage has not answered in time");
}

static void run(StorageBox *box)
{
    apus_timer_set(box->deadline, apus_clock() + DEADLINE);
    apus_loop_run(box->loop);
    apus_timer_set(box->deadline, 0);
}

gboolean box_settle(StorageBox *box)
{
    while (!box->error && box->stored < box->ticket) {
        run(box);
    }
    return !box->error;
}

void box_wait_for_stall(StorageBox *box, gboolean stalled)
{
    while (!box->error && box->stalled != stalled) {
        run(box);
    }
}

static void time_is_up(void *opaque)
{
    StorageBox *box = opaque;

    box->timed_out = TRUE;
    apus_loop_quit(box->loop);
}

void box_run_for(StorageBox *box, uint64_t nanoseconds)
{
    ApusTimer *timer = apus_loop_timer(box->loop, time_is_up, box);

    apus_timer_set(timer, apus_clock() + nanoseconds);
    box->timed_out = FALSE;
    while (!box->timed_out) {
        run(box);
    }
    apus_timer_free(timer);
}

/* --- opening -------------------------------------------------------------- */

gboolean box_found(StorageBox *box)
{
    return apus_storage_found(&box->config, &box->state, &box->error);
}

gboolean box_open(StorageBox *box)
{
    g_clear_error(&box->error);
    g_ptr_array_set_size(box->notes, 0);
    box->storage = apus_storage_open(&box->config, &box->state, box->notes,
                                     &box->error);
    return box->storage != NULL;
}

void box_start(StorageBox *box)
{
    box->loop = apus_loop_new(NULL);
    box->deadline = apus_loop_timer(box->loop, too_late, NULL);
    apus_storage_start(box->storage, box->loop, &handlers, box, &box->error);
    g_assert_no_error(box->error);
}

void box_begin(StorageBox *box)
{
    box_found(box);
    g_assert_no_error(box->error);
    box_open(box);
    g_assert_no_error(box->error);
    g_assert_true(box_matches(box));
    box_start(box);
}

void box_close(StorageBox *box)
{
    apus_storage_close(box->storage, 10 * SECONDS);
    box->storage = NULL;
    if (box->loop) {
        apus_timer_free(box->deadline);
        apus_loop_free(box->loop);
        box->loop = NULL;
    }
}

/* --- orders --------------------------------------------------------------- */

static BoxOrder *new_order(StorageBox *box, OrderKind kind)
{
    BoxOrder order = { .kind = kind, .state = box->state };

    g_array_append_val(box->orders, order);
    box->ticket++;
    g_assert_cmpuint(box->ticket, ==, box->orders->len);
    return &g_array_index(box->orders, BoxOrder, box->orders->len - 1);
}

void box_save(StorageBox *box)
{
    new_order(box, ORDER_SAVE);
    apus_storage_save(box->storage, box->ticket, &box->state);
}

static void get_content(uint8_t content[8], const BoxOrder *order, unsigned i)
{
    apus_put64(content, order->term * 0x9e3779b97f4a7c15u + order->first + i);
}

static void put_entry(uint8_t *out, const BoxOrder *order, unsigned i)
{
    ApusEntry entry = {
        .kind = APUS_ENTRY_INPUT,
        .term = order->term,
        .index = order->first + i,
        .payload = out + APUS_RECORD_HEADER,
        .length = order->length,
    };

    uint8_t content[8];

    get_content(content, order, i);
    for (uint32_t at = 0; at < order->length; at += sizeof(content)) {
        memcpy(out + APUS_RECORD_HEADER + at, content,
               MIN(sizeof(content), order->length - at));
    }
    apus_record_put(out, &entry);
}

void box_append(StorageBox *box, uint64_t first, unsigned count,
                uint32_t length)
{
    BoxOrder *order = new_order(box, ORDER_APPEND);
    size_t record = APUS_RECORD_HEADER + length;
    g_autofree uint8_t *data = g_malloc(MAX(count, 1) * record);
    ApusRecords records = { .data = { data } };

    order->first = first;
    order->count = count;
    order->length = length;
    order->term = box->state.term;
    for (unsigned i = 0; i < count; i++) {
        put_entry(data + i * record, order, i);
    }
    /* In two pieces, as it comes out of a ring. */
    records.size[0] = count / 2 * record;
    records.data[1] = data + records.size[0];
    records.size[1] = (count - count / 2) * record;
    apus_storage_append(box->storage, box->ticket, first, &records);
    box->last = first - 1 + count;
}

/* --- the model ------------------------------------------------------------ */

static Seen *seen_at(const Model *model, uint64_t index)
{
    if (index < model->first || index >= model->first + model->log->len) {
        return NULL;
    }
    return &g_array_index(model->log, Seen, index - model->first);
}

static void model_rebase(Model *model)
{
    const ApusSnapshot *base = &model->state.base;
    const Seen *at_base = seen_at(model, base->index);

    if (at_base && at_base->term == base->term) {
        g_array_remove_range(model->log, 0, base->index + 1 - model->first);
    } else if (model->first != base->index + 1) {
        g_array_set_size(model->log, 0);
    }
    model->first = base->index + 1;
}

static void model_cut(Model *model, uint64_t first)
{
    g_assert_cmpuint(first, >=, model->first);
    if (first < model->first + model->log->len) {
        g_array_set_size(model->log, first - model->first);
    }
}

/* The @i-th entry of @order. */
static void model_append(Model *model, const BoxOrder *order, unsigned i)
{
    Seen seen = { .term = order->term, .length = order->length };
    uint8_t content[8];

    g_assert_cmpuint(model->first + model->log->len, ==, order->first + i);
    get_content(content, order, i);
    memcpy(seen.content, content, MIN(order->length, sizeof(content)));
    g_array_append_val(model->log, seen);
}

static gboolean add_seen(void *opaque, const ApusEntry *entry, GError **errp)
{
    Model *found = opaque;
    Seen seen = { .term = entry->term, .length = entry->length };
    size_t size = sizeof(seen.content);

    (void)errp;
    memcpy(seen.content, entry->payload, MIN(entry->length, size));
    if (entry->length > size) {
        g_assert_cmpmem(entry->payload + size, entry->length - size,
                        entry->payload, entry->length - size);
    }
    if (found->log->len == 0) {
        found->first = entry->index;
    }
    g_assert_cmpuint(entry->index, ==, found->first + found->log->len);
    g_array_append_val(found->log, seen);
    return TRUE;
}

static gboolean same_state(const ApusHardState *a, const ApusHardState *b)
{
    return a->generation == b->generation && a->term == b->term &&
           a->vote == b->vote && a->amnesiac == b->amnesiac &&
           a->blank == b->blank && a->base.index == b->base.index &&
           a->base.term == b->base.term &&
           a->base.position == b->base.position &&
           a->newest.index == b->newest.index;
}

static gboolean same(const Model *a, const Model *b)
{
    if (!same_state(&a->state, &b->state) || a->first != b->first ||
        a->log->len != b->log->len) {
        return FALSE;
    }
    for (unsigned i = 0; i < a->log->len; i++) {
        const Seen *x = &g_array_index(a->log, Seen, i);
        const Seen *y = &g_array_index(b->log, Seen, i);

        if (x->term != y->term || x->length != y->length ||
            memcmp(x->content, y->content, sizeof(x->content)) != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static void describe(uint64_t point, const Model *model)
{
    g_test_message("%" G_GUINT64_FORMAT ": term %" G_GUINT64_FORMAT
                   ", entries from %" G_GUINT64_FORMAT ": %u", point,
                   model->state.term, model->first, model->log->len);
}

/* Up to where orders were carried out, the last one perhaps in part. */
typedef struct {
    gboolean found;
    unsigned orders;
    unsigned entries; /* of the last order */
} Point;

static void compare(const StorageBox *box, const Model *model,
                    const Model *found, unsigned orders, unsigned entries,
                    Point *point)
{
    if (orders >= box->stored && same(model, found)) {
        /* The latest of those that look alike. */
        *point = (Point) { TRUE, orders, entries };
    }
}

static void carry_out(const StorageBox *box, Model *model,
                      const Model *found, unsigned i, Point *point)
{
    const BoxOrder *order = &g_array_index(box->orders, BoxOrder, i);

    if (order->kind == ORDER_SAVE) {
        model->state = order->state;
        model_rebase(model);
    } else {
        model_cut(model, order->first);
        for (unsigned entry = 0; entry < order->count; entry++) {
            if (i >= box->stored) {
                compare(box, model, found, i + 1, entry, point);
            }
            model_append(model, order, entry);
        }
    }
    compare(box, model, found, i + 1, order->count, point);
}

static Point find_point(const StorageBox *box, const Model *found,
                        gboolean verbose)
{
    Model model = { .first = 1 };
    Point point = { FALSE };

    box_first_state(&model.state);
    model.log = g_array_new(FALSE, TRUE, sizeof(Seen));
    compare(box, &model, found, 0, 0, &point);
    for (unsigned i = 0; i < box->orders->len; i++) {
        carry_out(box, &model, found, i, &point);
        if (verbose && i + 1 >= box->stored) {
            describe(i + 1, &model);
        }
    }
    g_array_unref(model.log);
    return point;
}

gboolean box_matches(StorageBox *box)
{
    Model found = {
        .state = box->state,
        .first = box->state.base.index + 1,
        .log = g_array_new(FALSE, TRUE, sizeof(Seen)),
    };
    Point point;

    g_assert_true(apus_storage_replay(box->storage, add_seen, &found, NULL));
    point = find_point(box, &found, FALSE);
    if (!point.found) {
        describe(0, &found);
        find_point(box, &found, TRUE);
    }
    box->last = found.first - 1 + found.log->len;
    g_array_unref(found.log);
    if (!point.found) {
        return FALSE;
    }
    g_array_set_size(box->orders, point.orders);
    box->ticket = box->stored = point.orders;
    if (point.orders > 0) {
        g_array_index(box->orders, BoxOrder, point.orders - 1).count =
            point.entries;
    }
    return TRUE;
}

/* --- orders that need the model ------------------------------------------- */

void box_trim(StorageBox *box, uint64_t index)
{
    box->state.base.index = index;
    box->state.base.position += 64;
    /* Of the last order that has the entry. */
    for (unsigned i = 0; i < box->orders->len; i++) {
        const BoxOrder *order = &g_array_index(box->orders, BoxOrder, i);

        if (order->kind == ORDER_APPEND && index >= order->first &&
            index < order->first + order->count) {
            box->state.base.term = order->term;
        }
    }
    box_save(box);
    apus_storage_trim(box->storage, index);
}

void box_install(StorageBox *box, uint64_t index)
{
    ApusHardState *state = &box->state;

    state->base.index = index;
    state->base.term = state->term;
    state->base.position += 64;
    box_save(box);
    box->last = index;
}
