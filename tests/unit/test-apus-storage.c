/*
 * A state directory: what is founded can be opened, what is ordered is kept
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "colo-net/apus/core/slot.h"
#include "colo-net/apus/core/bytes.h"
#include "fake-files.h"
#include "storage-box.h"

#define DIRECTORY "/state"

typedef struct {
    FakeFiles *files;
    StorageBox *box;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture->files = fake_files_new(1);
    fixture->box = box_new(DIRECTORY, fake_files_ops(fixture->files));
}

static void tear_down(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    box_free(fixture->box);
    fake_files_free(fixture->files);
}

static void refused(StorageBox *box, ApusError code)
{
    g_assert_false(box_open(box));
    g_assert_error(box->error, APUS_ERROR, (int)code);
    g_clear_error(&box->error);
}

/* Close, and open again what is safe. */
static void again(StorageBox *box)
{
    box_close(box);
    box_open(box);
    g_assert_no_error(box->error);
    g_assert_true(box_matches(box));
    box_start(box);
}

/* --- founding and opening ------------------------------------------------- */

static void what_is_founded_is_opened(Fixture *fixture, gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    g_assert_true(box_found(box));
    g_assert_true(box_open(box));
    g_assert_cmpuint(box->notes->len, ==, 0);
    g_assert_cmpuint(box->state.term, ==, 1);
    g_assert_cmpuint(box->state.base.members.count, ==, 3);
    g_assert_cmpuint(box->state.base.role.leader, ==, 1);
    g_assert_false(box->state.amnesiac);
    g_assert_true(box_matches(box));
}

static void nothing_is_founded_twice(Fixture *fixture, gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    g_assert_true(box_found(box));
    g_assert_false(box_found(box));
    g_assert_error(box->error, APUS_ERROR, APUS_ERROR_IN_USE);
}

static void nothing_is_founded_over_a_log(Fixture *fixture,
                                          gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 1, 10);
    g_assert_true(box_settle(box));
    box_close(box);
    fake_files_delete(fixture->files, DIRECTORY "/state");
    g_assert_false(box_found(box));
    g_assert_error(box->error, APUS_ERROR, APUS_ERROR_IN_USE);
}

static void what_was_not_founded_is_missing(Fixture *fixture,
                                            gconstpointer unused)
{
    (void)unused;
    refused(fixture->box, APUS_ERROR_MISSING);
}

static void another_cluster_or_member_is_foreign(Fixture *fixture,
                                                 gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    g_assert_true(box_found(box));
    box->config.id = 3;
    refused(box, APUS_ERROR_FOREIGN);
    box->config.id = 2;
    box->config.cluster = "other";
    refused(box, APUS_ERROR_FOREIGN);
}

static void another_version_is_refused(Fixture *fixture, gconstpointer unused)
{
    StorageBox *box = fixture->box;
    uint8_t *slot;

    (void)unused;
    g_assert_true(box_found(box));
    /* One copy is enough: it may be the newer one. */
    slot = fake_files_bytes(fixture->files, DIRECTORY "/state")->data;
    slot[16] = 2;
    apus_put64(slot, apus_checksum(slot + 8, APUS_SLOT_SIZE - 8));
    refused(box, APUS_ERROR_VERSION);
}

static void settings_that_cannot_be_are_refused(Fixture *fixture,
                                                gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box->config.cluster = "";
    refused(box, APUS_ERROR_CONFIG);
    box->config.cluster = "box";
    box->config.id = APUS_NOBODY;
    refused(box, APUS_ERROR_CONFIG);
    box->config.id = 2;
    box->config.segment_size = 1 << 20;
    refused(box, APUS_ERROR_CONFIG);
    box->config.segment_size = BOX_SEGMENT + 1;
    refused(box, APUS_ERROR_CONFIG);
}

static void a_directory_is_used_by_one(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(StorageBox) other = box_new(DIRECTORY,
                                          fake_files_ops(fixture->files));

    (void)unused;
    box_begin(fixture->box);
    refused(other, APUS_ERROR_IN_USE);
    box_close(fixture->box);
    g_assert_true(box_open(other));
}

/* --- orders --------------------------------------------------------------- */

static void what_is_ordered_is_found_again(Fixture *fixture,
                                           gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box->state.term = 5;
    box->state.vote = 3;
    box_save(box);
    box_append(box, 1, 10, 64);
    box_append(box, 11, 1, 0);
    box_append(box, 12, 3, 65536);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->ticket, ==, 4);
    g_assert_cmpuint(box->last, ==, 14);
}

static void closing_carries_out_what_was_ordered(Fixture *fixture,
                                                 gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    for (unsigned i = 0; i < 20; i++) {
        box_append(box, i + 1, 1, 100000);
        box->state.term++;
        box_save(box);
    }
    again(box);
    g_assert_cmpuint(box->ticket, ==, 40);
}

static void the_longest_record_is_kept(Fixture *fixture, gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 3, APUS_RECORD_MAX_PAYLOAD);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->last, ==, 3);
}

static void orders_of_one_time_share_a_write(Fixture *fixture,
                                             gconstpointer unused)
{
    StorageBox *box = fixture->box;
    unsigned calls;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 1, 100);
    g_assert_true(box_settle(box));
    calls = fake_files_calls(fixture->files);
    for (unsigned i = 0; i < 50; i++) {
        box_append(box, i + 2, 1, 100);
    }
    g_assert_true(box_settle(box));
    /* The keeper may be at work as well. */
    g_assert_cmpuint(fake_files_calls(fixture->files) - calls, <, 25);
}

static void a_later_entry_supersedes_an_earlier_one(Fixture *fixture,
                                                    gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 10, 20);
    box->state.term = 2;
    box_save(box);
    box_append(box, 4, 2, 30);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->last, ==, 5);
    box_append(box, 3, 0, 0);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->last, ==, 2);
    /* Both wait, and could share a batch. */
    box_append(box, 3, 8, 20);
    box_append(box, 6, 1, 30);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->last, ==, 6);
}

static void a_log_can_begin_anew_behind_a_base(Fixture *fixture,
                                               gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 10, 20);
    box->state.term = 2;
    box_install(box, 5);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->last, ==, 5);
    box_append(box, 6, 2, 20);
    box->state.term = 3;
    box_install(box, 100);
    box_append(box, 101, 2, 20);
    g_assert_true(box_settle(box));
    again(box);
    g_assert_cmpuint(box->last, ==, 102);
}

static unsigned segments(Fixture *fixture)
{
    g_autoptr(GPtrArray) names = fake_files_names(fixture->files);
    unsigned count = 0;

    for (unsigned i = 0; i < names->len; i++) {
        count += g_str_has_prefix(g_ptr_array_index(names, i),
                                  DIRECTORY "/log-");
    }
    return count;
}

static void a_trimmed_log_takes_no_more_room(Fixture *fixture,
                                             gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    for (unsigned i = 1; i < 60; i++) {
        box_append(box, i, 1, 600000);
        if (i > 2) {
            box_trim(box, i - 2);
        }
        g_assert_true(box_settle(box));
    }
    again(box);
    g_assert_cmpuint(box->last, ==, 59);
    box_close(box);
    g_assert_cmpuint(segments(fixture), <=, 18);
}

static void nothing_is_removed_that_no_saved_base_stands_for(
    Fixture *fixture, gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    for (unsigned i = 1; i < 10; i++) {
        box_append(box, i, 1, 600000);
        g_assert_true(box_settle(box));
        apus_storage_trim(box->storage, i);
    }
    again(box);
    g_assert_cmpuint(box->last, ==, 9);
}

static void the_backlog_is_what_is_not_safe(Fixture *fixture,
                                            gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    g_assert_cmpuint(apus_storage_backlog(box->storage), ==, 0);
    box_append(box, 1, 2, 68);
    g_assert_cmpuint(apus_storage_backlog(box->storage), ==, 200);
    g_assert_true(box_settle(box));
    g_assert_cmpuint(apus_storage_backlog(box->storage), ==, 0);
}

/* --- durability memory ---------------------------------------------------- */

static void with_durability_memory_a_restart_is_amnesia(Fixture *fixture,
                                                        gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box->config.durability = APUS_DURABILITY_MEMORY;
    box->state.term = 0;
    g_assert_true(box_found(box));
    g_assert_true(box_open(box));
    g_assert_false(box->state.amnesiac);
    box_start(box);
    box->state.term = 4;
    box->state.vote = 2;
    box_save(box);
    g_assert_true(box_settle(box));
    box_close(box);
    g_assert_true(box_open(box));
    g_assert_true(box->state.amnesiac);
    g_assert_cmpuint(box->state.term, ==, 4);
    g_assert_cmpuint(box->state.vote, ==, 2);
    g_assert_cmpuint(segments(fixture), ==, 0);
}

static void a_change_of_durability_is_amnesia(Fixture *fixture,
                                              gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 3, 20);
    g_assert_true(box_settle(box));
    box_close(box);
    box->config.durability = APUS_DURABILITY_MEMORY;
    g_assert_true(box_open(box));
    g_assert_true(box->state.amnesiac);
    g_assert_cmpuint(segments(fixture), ==, 0);
    box_start(box);
    box->state.amnesiac = FALSE;
    box_save(box);
    g_assert_true(box_settle(box));
    box_close(box);
    box->config.durability = APUS_DURABILITY_DISK;
    g_assert_true(box_open(box));
    g_assert_true(box->state.amnesiac);
}

/* --- a full disk ---------------------------------------------------------- */

static void a_full_disk_stalls_and_loses_nothing(Fixture *fixture,
                                                 gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    fake_files_set_room(fixture->files, 3 * BOX_SEGMENT);
    box_begin(box);
    for (unsigned i = 1; i < 20; i++) {
        box_append(box, i, 1, 600000);
    }
    box_wait_for_stall(box, TRUE);
    g_assert_no_error(box->error);
    g_assert_cmpuint(box->stored, <, box->ticket);
    g_assert_cmpuint(box->stalls, ==, 1);

    fake_files_set_room(fixture->files, UINT64_MAX);
    g_assert_true(box_settle(box));
    g_assert_false(box->stalled);
    g_assert_cmpuint(box->resumptions, ==, 1);
    again(box);
    g_assert_cmpuint(box->last, ==, 19);
}

static void states_are_saved_on_a_full_disk(Fixture *fixture,
                                            gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    box_begin(box);
    box_append(box, 1, 1, 10);
    g_assert_true(box_settle(box));
    fake_files_set_room(fixture->files, 0);
    for (unsigned i = 0; i < 10; i++) {
        box->state.term++;
        box_save(box);
        g_assert_true(box_settle(box));
    }
    again(box);
    g_assert_cmpuint(box->state.term, ==, 11);
}

static void trimming_makes_room_on_a_full_disk(Fixture *fixture,
                                               gconstpointer unused)
{
    StorageBox *box = fixture->box;

    (void)unused;
    fake_files_set_room(fixture->files, 4 * BOX_SEGMENT);
    box_begin(box);
    for (unsigned i = 1; i < 40; i++) {
        box_append(box, i, 1, 600000);
        box_trim(box, i);
        g_assert_true(box_settle(box));
    }
    g_assert_cmpuint(box->stored, ==, box->ticket);
}

/* --- a disk that does not answer ----------------------------------------- */

/* Not freed: the thread that waits for the disk still has it. */
static struct {
    pthread_mutex_t mutex;
    FakeFiles *files;
    ApusFileOps ops;
} stuck = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static ssize_t stuck_write(void *opaque, int fd, const void *data,
                           size_t size, uint64_t offset, gboolean sync)
{
    ssize_t n;

    pthread_mutex_lock(&stuck.mutex);
    n = fake_files_ops(stuck.files)->write(opaque, fd, data, size, offset,
                                           sync);
    pthread_mutex_unlock(&stuck.mutex);
    return n;
}

static void a_disk_that_does_not_answer_delays_nobody(void)
{
    g_autoptr(StorageBox) box = NULL;
    ApusHardState state;
    uint64_t begin;

    stuck.files = fake_files_new(1);
    stuck.ops = *fake_files_ops(stuck.files);
    stuck.ops.write = stuck_write;
    box = box_new(DIRECTORY, &stuck.ops);
    box_begin(box);
    box_append(box, 1, 1, 10);
    g_assert_true(box_settle(box));

    pthread_mutex_lock(&stuck.mutex);
    box_append(box, 2, 1, 10);
    begin = apus_clock();
    apus_storage_close(box->storage, 100 * 1000000);
    box->storage = NULL;
    g_assert_cmpuint(apus_clock() - begin, <, 5000 * 1000000ull);
    /* It may still write, so nobody else may use the directory. */
    g_assert_null(apus_storage_open(&box->config, &state, NULL, &box->error));
    g_assert_error(box->error, APUS_ERROR, APUS_ERROR_IN_USE);
    pthread_mutex_unlock(&stuck.mutex);
}

/* The n-th call from now on finds the disk full, the next one takes long. */
static void full_then_slow(unsigned n, void (*order)(StorageBox *box))
{
    g_autoptr(StorageBox) box = NULL;

    stuck.files = fake_files_new(1);
    stuck.ops = *fake_files_ops(stuck.files);
    stuck.ops.write = stuck_write;
    box = box_new(DIRECTORY, &stuck.ops);
    box_begin(box);
    box_append(box, 1, 1, 10);
    box_save(box);
    g_assert_true(box_settle(box));
    box_run_for(box, 100 * 1000000); /* second copies, and segments */

    fake_files_fail(stuck.files, n, -ENOSPC);
    order(box);
    box_wait_for_stall(box, TRUE);
    pthread_mutex_lock(&stuck.mutex);
    /* Tried again after one second, and not again after two. */
    for (unsigned i = 0; i < 5; i++) {
        box->state.term++;
        box_save(box);
        box_run_for(box, 500 * 1000000ull);
    }
    g_assert_cmpuint(box->stored, <, box->ticket);
    pthread_mutex_unlock(&stuck.mutex);
    g_assert_true(box_settle(box));
    again(box);
    box_close(box);
    fake_files_free(stuck.files);
}

static void save_a_term(StorageBox *box)
{
    box->state.term++;
    box_save(box);
}

static void append_one(StorageBox *box)
{
    box_append(box, 2, 1, 10);
}

static void a_state_is_not_tried_twice_at_once(void)
{
    full_then_slow(1, save_a_term);
}

static void a_batch_is_not_tried_twice_at_once(void)
{
    full_then_slow(1, append_one);
}

/* --- the real thing ------------------------------------------------------- */

static char *new_folder(void)
{
    char *path = g_dir_make_tmp("apus-storage-XXXXXX", NULL);

    g_assert_nonnull(path);
    return path;
}

static void remove_folder(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(folder))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        g_unlink(file);
    }
    g_rmdir(path);
}

static void use_real_disk(const ApusFileOps *files)
{
    g_autofree char *path = new_folder();

    {
        g_autoptr(StorageBox) box = box_new(path, files);

        box_begin(box);
        for (unsigned i = 0; i < 30; i++) {
            box_append(box, i * 4 + 1, 4, i % 5 == 0 ? 70000 : i * 10);
            if (i % 10 == 9) {
                box_trim(box, i * 4 - 10);
            }
            if (i % 3 == 0) {
                g_assert_true(box_settle(box));
            }
        }
        again(box);
        g_assert_cmpuint(box->last, ==, 120);
    }
    remove_folder(path);
}

static void it_works_on_a_real_disk(void)
{
    use_real_disk(NULL);
}

static void it_works_without_io_uring(void)
{
    use_real_disk(&apus_files);
}

static void two_processes_do_not_share_a_directory(void)
{
    g_autofree char *path = new_folder();
    g_autoptr(StorageBox) box = box_new(path, NULL);
    int status;
    pid_t child;

    g_assert_true(box_found(box));
    g_assert_true(box_open(box));
    child = fork();
    if (child == 0) {
        GError *error = NULL;
        ApusHardState state;

        apus_storage_open(&box->config, &state, NULL, &error);
        _exit(g_error_matches(error, APUS_ERROR, APUS_ERROR_IN_USE) ? 0 : 1);
    }
    g_assert_cmpint(child, >, 0);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    box_close(box);
    remove_folder(path);
}

#define ADD(path, function) \
    g_test_add("/storage/" path, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("what-is-founded-is-opened", what_is_founded_is_opened);
    ADD("nothing-is-founded-twice", nothing_is_founded_twice);
    ADD("nothing-is-founded-over-a-log", nothing_is_founded_over_a_log);
    ADD("what-was-not-founded-is-missing", what_was_not_founded_is_missing);
    ADD("another-cluster-or-member-is-foreign",
        another_cluster_or_member_is_foreign);
    ADD("another-version-is-refused", another_version_is_refused);
    ADD("settings-that-cannot-be-are-refused",
        settings_that_cannot_be_are_refused);
    ADD("a-directory-is-used-by-one", a_directory_is_used_by_one);
    ADD("what-is-ordered-is-found-again", what_is_ordered_is_found_again);
    ADD("closing-carries-out-what-was-ordered",
        closing_carries_out_what_was_ordered);
    ADD("the-longest-record-is-kept", the_longest_record_is_kept);
    ADD("orders-of-one-time-share-a-write", orders_of_one_time_share_a_write);
    ADD("a-later-entry-supersedes-an-earlier-one",
        a_later_entry_supersedes_an_earlier_one);
    ADD("a-log-can-begin-anew-behind-a-base",
        a_log_can_begin_anew_behind_a_base);
    ADD("a-trimmed-log-takes-no-more-room", a_trimmed_log_takes_no_more_room);
    ADD("nothing-is-removed-that-no-saved-base-stands-for",
        nothing_is_removed_that_no_saved_base_stands_for);
    ADD("the-backlog-is-what-is-not-safe", the_backlog_is_what_is_not_safe);
    ADD("with-durability-memory-a-restart-is-amnesia",
        with_durability_memory_a_restart_is_amnesia);
    ADD("a-change-of-durability-is-amnesia",
        a_change_of_durability_is_amnesia);
    ADD("a-full-disk-stalls-and-loses-nothing",
        a_full_disk_stalls_and_loses_nothing);
    ADD("states-are-saved-on-a-full-disk", states_are_saved_on_a_full_disk);
    ADD("trimming-makes-room-on-a-full-disk",
        trimming_makes_room_on_a_full_disk);
    g_test_add_func("/storage/a-state-is-not-tried-twice-at-once",
                    a_state_is_not_tried_twice_at_once);
    g_test_add_func("/storage/a-batch-is-not-tried-twice-at-once",
                    a_batch_is_not_tried_twice_at_once);
    g_test_add_func("/storage/it-works-on-a-real-disk",
                    it_works_on_a_real_disk);
    g_test_add_func("/storage/it-works-without-io-uring",
                    it_works_without_io_uring);
    g_test_add_func("/storage/two-processes-do-not-share-a-directory",
                    two_processes_do_not_share_a_directory);
    /* The last one: its thread and its files stay. */
    g_test_add_func("/storage/a-disk-that-does-not-answer-delays-nobody",
                    a_disk_that_does_not_answer_delays_nobody);
    return g_test_run();
}
