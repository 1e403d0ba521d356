/*
 * How a node begins, and how a leader comes to be protected: the rules
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "qemu/colony/protect-rules.h"
#include "qemu/colony/start-rules.h"

#define NODES 3

/* --- situations in words -------------------------------------------------- */

static gboolean take_number(const char *word, const char *name,
                            guint64 *number)
{
    size_t length = strlen(name);

    if (strncmp(word, name, length)) {
        return FALSE;
    }
    *number = g_ascii_strtoull(word + length, NULL, 10);
    return TRUE;
}

static void take_word(ColonySituation *node, const char *word)
{
    static const char *const processes[] = {
        "unknown", "none", "idle", "boots", "vm", "outdated",
    };
    guint64 number;

    for (size_t i = 0; i < G_N_ELEMENTS(processes); i++) {
        if (!strcmp(word, processes[i])) {
            node->process = i;
            return;
        }
    }
    if (take_number(word, "g", &node->generation) ||
        take_number(word, "disks", &node->disks) ||
        take_number(word, "lowest", &node->lowest) ||
        take_number(word, "without", &node->absent) ||
        take_number(word, "term", &node->term)) {
        return;
    }
    if (take_number(word, "leader", &number)) {
        node->leader = number;
    } else if (!strncmp(word, "id", 2)) {
        node->id = word[2] == 'A' ? "A" : "B";
    } else if (!strcmp(word, "down")) {
        node->wanted = FALSE;
    } else if (!strcmp(word, "votes")) {
        node->can_run = FALSE;
    } else if (!strcmp(word, "off")) {
        node->off = TRUE;
    } else if (!strcmp(word, "elected")) {
        node->elected = TRUE;
    } else if (!strcmp(word, "led")) {
        node->led = TRUE;
    } else if (!strcmp(word, "partial")) {
        node->store = COLONY_STORE_PARTIAL;
    } else if (!strcmp(word, "missing")) {
        node->store = COLONY_STORE_MISSING;
    } else {
        g_error("what is %s?", word);
    }
}

/* "idle g3 disks2": wanted, and able to run the VM, unless it says else. */
static ColonySituation parse(const char *text)
{
    ColonySituation node = { .can_run = TRUE, .wanted = TRUE };
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    for (unsigned i = 0; words[i]; i++) {
        take_word(&node, words[i]);
    }
    return node;
}

typedef struct Case {
    const char *name;
    const char *nodes[NODES]; /* the first decides, unless @self says else */
    ColonyDo what;
    unsigned node;
    guint64 generation;
    unsigned self;
    gboolean unsettled;
    guint64 off; /* a bit for each node */
    int disk_of; /* from 1; 0: the newest */
} Case;

#define DO(WHAT) .what = COLONY_DO_##WHAT
#define AT(WHAT, NODE) DO(WHAT), .node = NODE
#define FOUND(NODE, GENERATION) AT(FOUND, NODE), .generation = GENERATION

static const Case cases[] = {
    { "all-new-are-founded", { "none", "none", "none votes" },
      FOUND(0, 1) },
    { "only-one-founds", { "none", "none", "none votes" },
      AT(WAIT, 0), .self = 1 },
    { "who-is-not-wanted-founds-nothing", { "none down", "none", "none" },
      DO(NOTHING) },
    { "the-first-that-is-wanted-founds", { "none down", "none", "none" },
      FOUND(0, 1), .self = 1 },
    { "all-must-answer", { "none", "none", "unknown votes" },
      AT(WAIT, 2) },
    { "but-who-is-off-for-certain", { "none", "none", "unknown votes" },
      FOUND(0, 1), .off = 4 },
    { "and-not-who-was-not-named", { "unknown", "none", "unknown votes" },
      AT(WAIT, 0), .self = 1, .off = 4 },
    { "the-first-may-only-vote", { "none votes", "none", "none" },
      FOUND(1, 1) },
    { "nobody-can-run", { "none votes", "unknown", "unknown" },
      DO(ASK), .off = 6 },

    { "a-member-starts-at-once", { "none g1", "unknown", "unknown" },
      DO(START) },
    { "even-where-another-leads", { "none g1", "vm g1", "idle g1 votes" },
      DO(START) },
    { "who-lost-its-state-does-not", { "none", "vm g1", "idle g1 votes" },
      DO(ASK) },
    { "unless-it-was-never-told", { "none", "vm g2 without1", "idle g2" },
      AT(JOIN, 1) },
    { "who-is-older-joins", { "none g1", "vm g2", "idle g2 votes" },
      AT(JOIN, 1) },
    { "a-leader-that-was-cut-off-joins",
      { "vm g1", "vm g2 elected", "idle g2 votes" }, AT(JOIN, 1) },
    { "a-vm-is-left-only-for-a-majority",
      { "vm g1", "vm g2", "idle g2 votes" }, DO(NOTHING) },
    { "nor-by-a-witness", { "idle g1 votes", "boots g2", "vm g1" },
      DO(NOTHING) },
    { "nor-while-somebody-may-have-one",
      { "idle g1", "boots g2", "unknown" }, DO(NOTHING) },
    { "unless-that-was-said-to-be-off",
      { "idle g1", "boots g2 without4", "unknown" }, AT(JOIN, 1) },
    { "and-not-another-one",
      { "idle g1", "boots g2 without3", "unknown" }, DO(NOTHING) },
    { "who-is-led-stays",
      { "idle g1 led", "boots g2 without5", "unknown" }, DO(NOTHING) },
    { "unless-a-newer-one-is-heard",
      { "idle g1 led", "vm g2 elected", "idle g2 votes" }, AT(JOIN, 1) },
    { "a-majority-is-not-left",
      { "vm g1 elected", "boots g2", "idle g1 votes" }, DO(NOTHING) },
    { "forced-on-the-wrong-side",
      { "boots g2", "vm g1 elected", "idle g1 votes" }, AT(ASK, 1) },
    { "forced-on-the-right-side-after-all",
      { "idle g1 votes", "vm g2 elected", "vm g1" }, AT(JOIN, 1) },
    { "the-newest-counts", { "idle g1", "idle g2", "vm g3" },
      AT(JOIN, 2) },
    { "deposed-is-ended", { "outdated g1", "vm g1", "idle g1 votes" },
      DO(END) },
    { "a-vm-is-left-alone", { "vm g1", "unknown", "unknown" },
      DO(NOTHING) },
    { "who-waits-is-left-alone", { "idle g1", "vm g1", "idle g1 votes" },
      DO(NOTHING) },
    { "even-if-nobody-wants-it", { "idle g1 down", "vm g1", "idle g1 votes" },
      DO(NOTHING) },

    { "cold-start", { "idle g1", "idle g1", "idle g1 votes" },
      FOUND(0, 2) },
    { "not-while-a-takeover-may-be-under-way",
      { "idle g1", "idle g1", "idle g1 votes" },
      AT(WAIT, 0), .unsettled = TRUE },
    { "not-while-one-is-away", { "idle g1", "unknown", "idle g1 votes" },
      AT(WAIT, 1) },
    { "where-the-disks-are-newer",
      { "idle g1 disks3 term5 leader1", "idle g1 disks4", "idle g1 votes" },
      FOUND(1, 2) },
    { "where-the-leader-was",
      { "idle g1 term4 leader1", "idle g1 term5 leader2", "idle g1 votes" },
      FOUND(1, 2) },
    { "as-a-witness-knows",
      { "idle g1 term4 leader1", "idle g1 term4 leader1",
        "idle g1 votes term5 leader2" }, FOUND(1, 2) },
    { "terms-of-an-older-founding-do-not-count",
      { "idle g2 term3 leader1", "none g1 term9 leader2 down",
        "idle g2 votes" }, FOUND(0, 3) },
    { "a-whole-disk-before-a-partial-one",
      { "idle g1 disks2 partial", "idle g1 disks2", "idle g1 votes" },
      FOUND(1, 2) },
    { "but-not-before-the-leaders",
      { "idle g1 disks2 partial", "idle g1 disks2",
        "idle g1 votes term1 leader1" }, AT(ASK, 0) },
    { "nor-when-the-leaders-is-missing",
      { "idle g1 missing", "idle g1 disks2",
        "idle g1 votes term1 leader1" }, AT(ASK, 0) },
    { "but-not-an-older-one",
      { "idle g1 disks2 partial", "idle g1 disks1", "idle g1 votes" },
      AT(ASK, 0) },
    { "unless-it-is-named",
      { "idle g1 disks2 partial", "idle g1 disks1", "idle g1 votes" },
      FOUND(1, 2), .disk_of = 2 },
    { "a-missing-disk-boots-nowhere",
      { "idle g1 missing", "unknown", "idle g1 votes" },
      AT(ASK, 0), .off = 6 },
    { "who-is-named-must-answer",
      { "idle g1", "unknown", "idle g1 votes" },
      AT(WAIT, 1), .off = 6, .disk_of = 2 },
    { "force-does-not-end-a-vm",
      { "idle g1", "vm g1", "unknown votes" },
      DO(NOTHING), .off = 6 },

    { "off-is-heard", { "idle g1", "none g1 off down", "idle g1 votes" },
      AT(STOP, 1) },
    { "but-not-where-it-runs",
      { "vm g1", "none g1 off down", "idle g1 votes" }, DO(NOTHING) },
    { "nor-where-another-runs-it",
      { "idle g1", "none g1 off down", "vm g1 votes" }, DO(NOTHING) },

    { "founded-twice-who-has-no-vm-joins",
      { "boots g2 idB", "vm g2 idA elected", "idle g2 idA" }, AT(JOIN, 1) },
    { "founded-twice-a-witness-stays",
      { "idle g2 idA", "boots g2 idB", "vm g2 idA elected" }, DO(NOTHING) },
    { "founded-twice-even-if-that-is-silent",
      { "idle g2 idA", "vm g2 idB", "vm g2 idA" }, DO(NOTHING) },
    { "founded-twice-or-away",
      { "idle g2 idA", "boots g2 idB", "unknown" }, DO(NOTHING) },
    { "founded-twice-who-has-the-vm-stays",
      { "vm g2 idA", "boots g2 idB", "idle g2 idA" }, DO(NOTHING) },
    { "founded-twice-without-a-vm-one-joins",
      { "boots g2 idA", "boots g2 idB", "idle g2 idB" }, AT(JOIN, 1) },
    { "founded-twice-without-a-vm-one-does-not",
      { "boots g2 idB", "boots g2 idA", "idle g2 idA" }, DO(NOTHING) },
    { "founded-twice-with-two-vms",
      { "vm g2 idA elected", "vm g2 idB elected", "idle g2 idA" },
      AT(ASK, 1) },
    { "off-of-another-founding-is-not-heard",
      { "idle g2 idB", "none g2 idA off down", "idle g2 idB" },
      DO(WAIT), .unsettled = TRUE },
    { "off-though-it-runs-votes-again",
      { "none g1 off", "vm g1 elected", "idle g1 votes" }, DO(START) },
    { "off-while-one-ends-waits",
      { "none g1 off", "vm g1", "idle g1 votes" }, DO(NOTHING) },
    { "off-stays-off", { "none g1 off down", "none g1 off down",
                         "none g1 off down votes" }, DO(NOTHING) },
    { "off-is-started-anew", { "none g1 off", "none g1 off",
                               "none g1 off votes" }, FOUND(0, 2) },
    { "off-of-before-is-not-heard",
      { "idle g2", "none g1 off", "vm g2" }, DO(NOTHING) },
    { "votes-for-nothing-end",
      { "idle g1 down", "none g1 down", "idle g1 votes down" },
      AT(STOP, 0) },
    { "but-not-before-all-say-so",
      { "idle g1 down", "unknown g1 down", "idle g1 votes down" },
      DO(NOTHING) },
};

static ColonyDecision decide(const ColonySituation *nodes, unsigned self,
                             const Case *how)
{
    ColonyInsist insist = { how->off, how->disk_of - 1 };

    return colony_start_decide(nodes, NODES, self, !how->unsettled, &insist);
}

static void test_case(const void *opaque)
{
    const Case *test = opaque;
    ColonySituation nodes[NODES];
    ColonyDecision decision;

    for (unsigned i = 0; i < NODES; i++) {
        nodes[i] = parse(test->nodes[i]);
    }
    decision = decide(nodes, test->self, test);
    g_assert_cmpint(decision.what, ==, test->what);
    switch (test->what) {
    case COLONY_DO_FOUND:
        g_assert_cmpuint(decision.generation, ==, test->generation);
        /* fall through */
    case COLONY_DO_JOIN:
        g_assert_cmpuint(decision.node, ==, test->node);
        break;
    case COLONY_DO_WAIT:
    case COLONY_DO_ASK:
        g_assert_cmpuint(decision.node, ==, test->node);
        g_assert_nonnull(decision.why);
        break;
    default:
        break;
    }
}

static void test_even(void)
{
    const ColonyInsist insist = { .disk_of = -1 };
    ColonySituation nodes[NODES + 1];

    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++) {
        nodes[i] = parse("none");
    }
    g_assert_cmpint(colony_start_decide(nodes, G_N_ELEMENTS(nodes), 0, TRUE,
                                        &insist).what, ==, COLONY_DO_ASK);
}

/* --- whatever the situation ----------------------------------------------- */

static ColonySituation random_node(void)
{
    ColonySituation node = {
        .can_run = g_test_rand_int_range(0, 3),
        .wanted = g_test_rand_int_range(0, 3),
        .off = !g_test_rand_int_range(0, 4),
        .generation = g_test_rand_int_range(0, 4),
        .id = g_test_rand_int_range(0, 4) ? "A" : "B",
        .process = g_test_rand_int_range(0, COLONY_PROCESS_OUTDATED + 1),
        .led = !g_test_rand_int_range(0, 4),
        .absent = g_test_rand_int_range(0, 1 << NODES),
        .store = g_test_rand_int_range(0, COLONY_STORE_MISSING + 1),
        .disks = g_test_rand_int_range(0, 3),
        .lowest = g_test_rand_int_range(0, 3),
        .term = g_test_rand_int_range(0, 5),
        .leader = g_test_rand_int_range(0, NODES + 1),
    };

    node.elected = node.process == COLONY_PROCESS_VM &&
                   g_test_rand_int_range(0, 2);
    return node;
}

static gboolean is_served(const ColonySituation *nodes,
                          const ColonySituation *founding)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (nodes[i].elected && nodes[i].generation == founding->generation &&
            !strcmp(nodes[i].id, founding->id)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void check(const ColonySituation *nodes, unsigned self,
                  const Case *how, unsigned *founders)
{
    const ColonySituation *own = &nodes[self];
    ColonyDecision decision = decide(nodes, self, how);
    const ColonySituation *about = &nodes[decision.node];

    g_assert_cmpuint(decision.node, <, NODES);
    switch (decision.what) {
    case COLONY_DO_FOUND:
        ++*founders;
        g_assert_true(own->wanted && about->can_run);
        g_assert_cmpuint(decision.disks, ==, how->disk_of ? about->lowest
                                                          : G_MAXINT64);
        g_assert_cmpint(about->store, ==, COLONY_STORE_CLEAN);
        for (unsigned i = 0; i < NODES; i++) {
            g_assert_cmpuint(decision.generation, >, nodes[i].generation);
            g_assert_cmpint(nodes[i].process, !=, COLONY_PROCESS_VM);
            g_assert_cmpint(nodes[i].process, !=, COLONY_PROCESS_BOOTS);
            g_assert_true(how->off >> i & 1 ||
                          nodes[i].process != COLONY_PROCESS_UNKNOWN);
            g_assert_true(how->disk_of || i == decision.node ||
                          !nodes[i].can_run ||
                          nodes[i].process == COLONY_PROCESS_UNKNOWN ||
                          nodes[i].disks <= about->disks);
        }
        break;
    case COLONY_DO_START:
        g_assert_true(own->generation && own->wanted);
        g_assert_true(!own->off || is_served(nodes, own));
        g_assert_cmpint(own->process, ==, COLONY_PROCESS_NONE);
        break;
    case COLONY_DO_END:
        g_assert_cmpint(own->process, ==, COLONY_PROCESS_OUTDATED);
        break;
    case COLONY_DO_JOIN:
        g_assert_true(about->generation > own->generation ||
                      (about->generation == own->generation &&
                       strcmp(about->id, own->id)));
        g_assert_true(own->generation || about->absent >> self & 1);
        g_assert_false(own->generation && is_served(nodes, own));
        g_assert_true(own->process != COLONY_PROCESS_VM ||
                      is_served(nodes, about) || !own->generation);
        break;
    case COLONY_DO_STOP:
        for (unsigned i = 0; i < NODES; i++) {
            g_assert_cmpint(nodes[i].process, !=, COLONY_PROCESS_VM);
        }
        break;
    default:
        break;
    }
}

static void test_random(void)
{
    for (unsigned round = 0; round < 200000; round++) {
        ColonySituation nodes[NODES];
        unsigned founders = 0;
        const Case how = {
            .unsettled = g_test_rand_int_range(0, 2),
            .off = g_test_rand_int_range(0, 1 << NODES),
            .disk_of = g_test_rand_int_range(0, 4) ? 0
                       : g_test_rand_int_range(1, NODES + 1),
        };

        for (unsigned i = 0; i < NODES; i++) {
            nodes[i] = random_node();
        }
        if (how.disk_of && !nodes[how.disk_of - 1].can_run) {
            continue;
        }
        for (unsigned i = 0; i < NODES; i++) {
            if (nodes[i].process != COLONY_PROCESS_UNKNOWN) {
                check(nodes, i, &how, &founders);
            }
        }
        g_assert_cmpuint(founders, <=, 1);
    }
}

/* --- protecting ----------------------------------------------------------- */

typedef struct Protect {
    const char *name;
    ColonyProgress progress;
    ColonyStep step;
} Protect;

#define LEADS .known = TRUE, .leads = TRUE, .wanted = TRUE, .candidate = TRUE

static const Protect protects[] = {
    { "begins", { COLONY_STAGE_IDLE, LEADS }, COLONY_STEP_PREPARE },
    { "not-without-a-candidate",
      { COLONY_STAGE_IDLE, .known = TRUE, .leads = TRUE, .wanted = TRUE },
      COLONY_STEP_NONE },
    { "not-if-nobody-wants-it",
      { COLONY_STAGE_IDLE, .known = TRUE, .leads = TRUE, .candidate = TRUE },
      COLONY_STEP_NONE },
    { "only-the-leader",
      { COLONY_STAGE_IDLE, .known = TRUE, .wanted = TRUE,
                            .candidate = TRUE },
      COLONY_STEP_NONE },
    { "not-twice", { COLONY_STAGE_IDLE, LEADS, .protected = TRUE },
      COLONY_STEP_NONE },
    { "what-was-begun-before-is-followed",
      { COLONY_STAGE_IDLE, LEADS, .moving = TRUE }, COLONY_STEP_FOLLOW },
    { "prepares", { COLONY_STAGE_PREPARE, LEADS }, COLONY_STEP_NONE },
    { "then-disks", { COLONY_STAGE_PREPARE, LEADS, .done = TRUE,
                      .disks = TRUE }, COLONY_STEP_RESYNC },
    { "no-disks", { COLONY_STAGE_PREPARE, LEADS, .done = TRUE },
      COLONY_STEP_MIGRATE },
    { "then-memory", { COLONY_STAGE_RESYNC, LEADS, .done = TRUE },
      COLONY_STEP_MIGRATE },
    { "then-waits", { COLONY_STAGE_MIGRATE, LEADS, .moving = TRUE },
      COLONY_STEP_NONE },
    { "then-rests", { COLONY_STAGE_MIGRATE, LEADS, .protected = TRUE },
      COLONY_STEP_REST },
    { "not-prepared", { COLONY_STAGE_PREPARE, LEADS, .failed = TRUE },
      COLONY_STEP_FAIL },
    { "a-disk-lost", { COLONY_STAGE_RESYNC, LEADS, .failed = TRUE,
                       .done = TRUE }, COLONY_STEP_FAIL },
    { "migration-failed", { COLONY_STAGE_MIGRATE, LEADS, .failed = TRUE },
      COLONY_STEP_FAIL },
    { "waits-for-the-next-try", { COLONY_STAGE_WAIT, LEADS },
      COLONY_STEP_NONE },
    { "tries-again", { COLONY_STAGE_WAIT, LEADS, .due = TRUE },
      COLONY_STEP_PREPARE },
    { "leads-no-more", { COLONY_STAGE_RESYNC, .known = TRUE, .wanted = TRUE },
      COLONY_STEP_REST },
    { "a-late-answer-changes-nothing",
      { COLONY_STAGE_RESYNC, .wanted = TRUE }, COLONY_STEP_NONE },
    { "but-a-deadline", { COLONY_STAGE_RESYNC, .failed = TRUE },
      COLONY_STEP_FAIL },
    { "protected-by-itself", { COLONY_STAGE_WAIT, LEADS, .protected = TRUE },
      COLONY_STEP_REST },
};

static void test_protect(const void *opaque)
{
    const Protect *test = opaque;

    g_assert_cmpint(colony_protect_decide(&test->progress), ==, test->step);
}

static void test_delay(void)
{
    g_assert_cmpuint(colony_protect_delay(1), ==, 1000);
    g_assert_cmpuint(colony_protect_delay(2), ==, 2000);
    g_assert_cmpuint(colony_protect_delay(6), ==, 32000);
    g_assert_cmpuint(colony_protect_delay(7), ==, 60000);
    g_assert_cmpuint(colony_protect_delay(G_MAXUINT), ==, 60000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/colony/start/", cases[i].name,
                                            NULL);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/colony/start/an-even-number-founds-nothing", test_even);
    g_test_add_func("/colony/start/whatever-the-situation", test_random);
    for (size_t i = 0; i < G_N_ELEMENTS(protects); i++) {
        g_autofree char *path = g_strconcat("/colony/protect/",
                                            protects[i].name, NULL);

        g_test_add_data_func(path, &protects[i], test_protect);
    }
    g_test_add_func("/colony/protect/ever-later", test_delay);
    return g_test_run();
}
