/*
 * Side files after a crash: whatever the moment, and whatever became of the
 * page that was being written, what was said to be durable is there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-blk/core/side-file.h"

#define PAGE GANNET_SIDE_FILE_PAGE
#define SECTOR 512
#define HEADERS 2
#define REGION (UINT64_C(4) << 20)
#define PAGE_REGIONS 32576
#define LOG_PAGES 2
#define MAX_STATES 64

/* More with -m slow. */
#define CRASHES (g_test_slow() ? 20000 : 200)

/* What became of a page that was written. */
typedef enum {
    LOST,
    TORN,
    LANDED,
    OUTCOMES
} Outcome;

typedef struct {
    uint64_t disk;
    unsigned regions;
    unsigned log_pages;
    uint8_t content[GANNET_SIDE_FILE_BYTES];
    GannetSideFile *file;

    /* What may come back, oldest first, and the change that each was. */
    GannetSideState states[MAX_STATES];
    uint64_t changes[MAX_STATES];
    unsigned n_states;

    gboolean *want;   /* marked */
    gboolean *must;   /* marked in the file, whatever happens */
    gboolean *lately;
    gboolean *stored; /* what the file says, unless the page is torn */
    gboolean torn[LOG_PAGES];

    GannetSidePage page; /* being written */
    gboolean *writing;   /* its marks */
    gboolean under_way;
} Sim;

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

static void load(Sim *sim)
{
    g_autoptr(GError) error = NULL;

    sim->file = gannet_side_file_new(sim->content, sizeof(sim->content),
                                     sim->disk, &error);
    g_assert_no_error(error);
}

static Sim *sim_new(unsigned regions)
{
    Sim *sim = g_new0(Sim, 1);

    sim->regions = regions;
    sim->disk = regions * REGION - below(REGION / SECTOR) * SECTOR;
    sim->log_pages = (regions + PAGE_REGIONS - 1) / PAGE_REGIONS;
    sim->want = g_new0(gboolean, regions);
    sim->must = g_new0(gboolean, regions);
    sim->lately = g_new0(gboolean, regions);
    sim->stored = g_new0(gboolean, regions);
    sim->writing = g_new0(gboolean, regions);
    /* In a file of ours, a page of the log that was never written is torn. */
    sim->torn[0] = sim->torn[1] = TRUE;
    sim->n_states = 1;
    load(sim);
    return sim;
}

static void sim_free(Sim *sim)
{
    gannet_side_file_free(sim->file);
    g_free(sim->want);
    g_free(sim->must);
    g_free(sim->lately);
    g_free(sim->stored);
    g_free(sim->writing);
    g_free(sim);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sim, sim_free)

static gboolean is_new(const Sim *sim)
{
    for (size_t i = 0; i < sizeof(sim->content); i++) {
        if (sim->content[i]) {
            return FALSE;
        }
    }
    return TRUE;
}

/* --- what is asked of the file -------------------------------------------- */

static void set_state(Sim *sim)
{
    GannetSideState *state = &sim->states[sim->n_states];

    if (sim->n_states == MAX_STATES) {
        return;
    }
    *state = (GannetSideState) {
        .pair = below(3), .generation = below(2), .term = below(3),
        .epoch = below(4), .partial = below(2),
    };
    gannet_side_file_set(sim->file, state);
    sim->changes[sim->n_states++] = gannet_side_file_change(sim->file);
}

/* Some regions, here and there near each other. */
static void pick(const Sim *sim, unsigned *first, unsigned *n)
{
    *first = below(4) ? below(MIN(sim->regions, 12)) : below(sim->regions);
    if (below(8) == 0 && sim->regions > PAGE_REGIONS) {
        *first = PAGE_REGIONS - 1; /* and the next page's first */
    }
    *n = MIN(1 + below(4) / 2, sim->regions - *first);
}

static GannetRange range_of(const Sim *sim, unsigned first, unsigned n)
{
    uint64_t offset = first * REGION;

    return (GannetRange) {
        .offset = offset,
        .bytes = MIN(n * REGION, sim->disk - offset),
    };
}

/* As who writes does: if it is marked it stays so, else mark it. */
static void write_somewhere(Sim *sim)
{
    unsigned first;
    unsigned n;
    GannetRange range;

    pick(sim, &first, &n);
    range = range_of(sim, first, n);
    if (below(2) &&
        !gannet_side_file_marked(sim->file, range.offset, range.bytes)) {
        return;
    }
    gannet_side_file_mark(sim->file, range.offset, range.bytes);
    for (unsigned i = first; i < first + n; i++) {
        sim->want[i] = TRUE;
        sim->lately[i] = TRUE;
    }
}

static void settle(Sim *sim)
{
    g_autoptr(GannetRegions) pending =
        gannet_regions_new(sim->disk, below(2) ? REGION : REGION / 4);

    for (unsigned i = below(8); i > 0; i--) {
        unsigned first;
        unsigned n;
        GannetRange range;

        pick(sim, &first, &n);
        range = range_of(sim, first, n);
        gannet_regions_add(pending, range.offset, range.bytes);
    }
    gannet_side_file_settle(sim->file, pending);
    for (unsigned i = 0; i < sim->regions; i++) {
        GannetRange range = range_of(sim, i, 1);

        if (!sim->lately[i] &&
            !gannet_regions_touch(pending, range.offset, range.bytes)) {
            sim->want[i] = sim->must[i] = FALSE;
        }
        sim->lately[i] = FALSE;
    }
}

static void settle_all(Sim *sim)
{
    gannet_side_file_settle_all(sim->file);
    for (unsigned i = 0; i < sim->regions; i++) {
        sim->want[i] = sim->must[i] = sim->lately[i] = FALSE;
    }
}

/* --- writing -------------------------------------------------------------- */

static gboolean begin_page(Sim *sim, gboolean urgent)
{
    if (sim->under_way ||
        !gannet_side_file_next(sim->file, urgent, &sim->page)) {
        return FALSE;
    }
    sim->under_way = TRUE;
    memcpy(sim->writing, sim->want, sim->regions * sizeof(gboolean));
    return TRUE;
}

/* Some sectors of the new page, at least one, and of the old, likewise. */
static gboolean tear(Sim *sim)
{
    uint8_t *old = sim->content + sim->page.offset;
    uint8_t mixed[PAGE];

    memcpy(mixed, old, PAGE);
    for (unsigned at = 0; at < PAGE; at += SECTOR) {
        if (below(2)) {
            memcpy(mixed + at, sim->page.data + at, SECTOR);
        }
    }
    if (memcmp(mixed, old, PAGE) == 0 ||
        memcmp(mixed, sim->page.data, PAGE) == 0) {
        return FALSE;
    }
    memcpy(old, mixed, PAGE);
    return TRUE;
}

static void reach_the_disk(Sim *sim, Outcome outcome)
{
    int log_page = (int)(sim->page.offset / PAGE) - HEADERS;

    if (outcome == LOST) {
        return;
    }
    if (outcome == TORN) {
        if (tear(sim)) {
            g_assert_cmpint(log_page, >=, 0); /* a header has one sector */
            sim->torn[log_page] = TRUE;
        }
        return;
    }
    memcpy(sim->content + sim->page.offset, sim->page.data, PAGE);
    if (log_page >= 0) {
        unsigned first = log_page * PAGE_REGIONS;
        unsigned n = MIN(sim->regions - first, PAGE_REGIONS);

        sim->torn[log_page] = FALSE;
        memcpy(sim->stored + first, sim->writing + first,
               n * sizeof(gboolean));
    }
}

/* The states before the last one that is durable cannot come back. */
static void note_durable(Sim *sim)
{
    uint64_t durable = gannet_side_file_durable(sim->file);
    unsigned old = 0;

    g_assert_cmpuint(durable, <=, gannet_side_file_change(sim->file));
    while (old + 1 < sim->n_states && sim->changes[old + 1] <= durable) {
        old++;
    }
    sim->n_states -= old;
    memmove(sim->states, sim->states + old,
            sim->n_states * sizeof(sim->states[0]));
    memmove(sim->changes, sim->changes + old,
            sim->n_states * sizeof(sim->changes[0]));
    if (durable == gannet_side_file_change(sim->file)) {
        /* Everything that is marked is so durably. */
        memcpy(sim->must, sim->want, sim->regions * sizeof(gboolean));
    }
}

/* Asks about a few regions: what is marked stays so. */
static void note_marked(Sim *sim)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned first;
        unsigned n;
        GannetRange range;

        pick(sim, &first, &n);
        range = range_of(sim, first, n);
        if (gannet_side_file_marked(sim->file, range.offset, range.bytes)) {
            for (unsigned j = first; j < first + n; j++) {
                g_assert_true(sim->want[j]);
                sim->must[j] = TRUE;
                sim->lately[j] = TRUE;
            }
        }
    }
}

static void end_page(Sim *sim)
{
    gboolean written = below(4) > 0;

    if (!sim->under_way) {
        return;
    }
    reach_the_disk(sim, written ? LANDED : below(OUTCOMES));
    sim->under_way = FALSE;
    gannet_side_file_done(sim->file, written);
    note_durable(sim);
}

static void write_everything(Sim *sim)
{
    while (sim->under_way || begin_page(sim, FALSE)) {
        end_page(sim);
    }
}

/* --- checks --------------------------------------------------------------- */

static void check_marks(const Sim *sim, const gboolean *marked)
{
    g_autoptr(GannetRegions) marks = gannet_regions_new(sim->disk, REGION);

    gannet_side_file_marks(sim->file, marks);
    for (unsigned i = 0; i < sim->regions; i++) {
        GannetRange range = range_of(sim, i, 1);

        g_assert_true(marked[i] == gannet_regions_touch(marks, range.offset,
                                                        range.bytes));
    }
}

static void check_state(Sim *sim)
{
    const GannetSideState *state = gannet_side_file_state(sim->file);
    gboolean found = FALSE;

    for (unsigned i = 0; i < sim->n_states; i++) {
        const GannetSideState *one = &sim->states[i];

        found |= one->pair == state->pair && one->term == state->term &&
                 one->generation == state->generation &&
                 one->epoch == state->epoch && one->partial == state->partial;
    }
    g_assert_true(found);
    sim->states[0] = *state;
    sim->changes[0] = 0;
    sim->n_states = 1;
}

/* What is read is one of the contents that the pages had, or all marked. */
static void check_log(Sim *sim)
{
    gboolean ours = !is_new(sim);

    for (unsigned i = 0; i < sim->regions; i++) {
        gboolean marked = sim->stored[i] ||
                          (sim->torn[i / PAGE_REGIONS] && ours);

        g_assert_true(marked || !sim->must[i]);
        sim->want[i] = sim->must[i] = marked;
        sim->lately[i] = FALSE;
    }
    check_marks(sim, sim->want);
}

static void crash(Sim *sim)
{
    if (sim->under_way) {
        reach_the_disk(sim, below(OUTCOMES));
        sim->under_way = FALSE;
    }
    gannet_side_file_free(sim->file);
    load(sim);
    check_state(sim);
    check_log(sim);
}

static void step(Sim *sim)
{
    switch (below(16)) {
    case 0:
    case 1:
        set_state(sim);
        break;
    case 2:
        settle(sim);
        break;
    case 3:
        if (below(4) == 0) {
            settle_all(sim);
        }
        break;
    case 4:
    case 5:
    case 6:
        write_somewhere(sim);
        break;
    case 7:
        note_marked(sim);
        break;
    case 8:
        if (below(8) == 0) {
            write_everything(sim);
        }
        break;
    case 9:
    case 10:
    case 11:
        begin_page(sim, below(2));
        break;
    default:
        end_page(sim);
        break;
    }
}

static void crash_again_and_again(unsigned regions, unsigned crashes)
{
    g_autoptr(Sim) sim = sim_new(regions);

    for (unsigned i = 0; i < crashes; i++) {
        for (unsigned steps = below(40); steps > 0; steps--) {
            step(sim);
        }
        check_marks(sim, sim->want);
        crash(sim);
    }
    /* In the end, and without a crash, the file says just what it should. */
    settle_all(sim);
    write_somewhere(sim);
    write_everything(sim);
    g_assert_cmpmem(sim->want, sim->regions * sizeof(gboolean), sim->stored,
                    sim->regions * sizeof(gboolean));
}

static void a_crash_at_any_moment_loses_nothing_durable(void)
{
    for (unsigned left = CRASHES; left > 0; left -= 20) {
        crash_again_and_again(1 + below(40), 20);
    }
}

static void nor_does_one_of_a_log_of_several_pages(void)
{
    crash_again_and_again(PAGE_REGIONS + 1 + below(30), CRASHES / 20);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gannet-side-file-crash/"
                    "a-crash-at-any-moment-loses-nothing-durable",
                    a_crash_at_any_moment_loses_nothing_durable);
    g_test_add_func("/gannet-side-file-crash/"
                    "nor-does-one-of-a-log-of-several-pages",
                    nor_does_one_of_a_log_of_several_pages);
    return g_test_run();
}
