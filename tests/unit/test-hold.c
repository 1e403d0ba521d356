/*
 * What hold.h promises
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/hold.h"

/* A frame that carries its number */
static HoldFrame *frame_new(unsigned number)
{
    HoldFrame *frame = hold_frame_new(sizeof(number));

    memcpy(frame->data, &number, sizeof(number));
    return frame;
}

static void hold(HoldQueue *queue, unsigned first, unsigned last,
                 uint64_t sealed)
{
    for (unsigned i = first; i <= last; i++) {
        hold_queue_hold(queue, frame_new(i), sealed);
    }
}

/* The frames from @first to @last leave, and no others. */
static void check_leave(HoldQueue *queue, unsigned first, unsigned last)
{
    g_assert_cmpuint(queue->leaving_frames, ==, last + 1 - first);
    for (unsigned i = first; i <= last; i++) {
        HoldFrame *frame = hold_queue_next(queue);
        unsigned number;

        g_assert_nonnull(frame);
        g_assert_cmpuint(frame->size, ==, sizeof(number));
        memcpy(&number, frame->data, sizeof(number));
        g_assert_cmpuint(number, ==, i);
        hold_queue_pop(queue);
    }
    g_assert_null(hold_queue_next(queue));
    g_assert_cmpuint(queue->leaving_frames, ==, 0);
}

static void check_held(const HoldQueue *queue, unsigned frames)
{
    g_assert_cmpuint(queue->held_frames, ==, frames);
    g_assert_cmpuint(queue->bytes, ==,
                     frames * (HOLD_OVERHEAD + sizeof(unsigned)));
}

static void test_commit_releases_what_came_before_the_seal(void)
{
    HoldQueue queue;

    hold_queue_init(&queue);
    hold(&queue, 1, 3, 0);
    g_assert_null(hold_queue_next(&queue));
    /* epoch 7 is sealed here */
    hold(&queue, 4, 5, 7);
    g_assert_cmpuint(hold_queue_commit(&queue, 7), ==, 3);
    check_leave(&queue, 1, 3);
    check_held(&queue, 2);
    /* nothing more was sealed with it */
    g_assert_cmpuint(hold_queue_commit(&queue, 7), ==, 0);
    g_assert_cmpuint(hold_queue_commit(&queue, 8), ==, 2);
    check_leave(&queue, 4, 5);
    check_held(&queue, 0);
    hold_queue_clear(&queue);
}

static void test_failed_epoch_goes_with_the_next(void)
{
    HoldQueue queue;

    hold_queue_init(&queue);
    hold(&queue, 1, 2, 0);
    /* 1 is sealed, and fails */
    hold(&queue, 3, 4, 1);
    /* 2 is sealed */
    hold(&queue, 5, 6, 2);
    g_assert_cmpuint(hold_queue_commit(&queue, 2), ==, 4);
    check_leave(&queue, 1, 4);
    check_held(&queue, 2);
    hold_queue_clear(&queue);
}

static void test_new_session_forgets_epochs(void)
{
    HoldQueue queue;

    hold_queue_init(&queue);
    hold(&queue, 1, 2, 0);
    hold(&queue, 3, 4, 900);
    hold_queue_unseal(&queue);
    g_assert_cmpuint(hold_queue_commit(&queue, 1), ==, 4);
    check_leave(&queue, 1, 4);
    hold_queue_clear(&queue);
}

static void test_discard_spares_what_may_leave(void)
{
    HoldQueue queue;

    hold_queue_init(&queue);
    g_assert_cmpuint(hold_queue_discard(&queue), ==, 0);
    hold(&queue, 1, 2, 0);
    g_assert_cmpuint(hold_queue_discard(&queue), ==, 2);
    check_held(&queue, 0);

    hold(&queue, 1, 3, 0);
    hold_queue_commit(&queue, 1);
    hold(&queue, 4, 9, 1);
    g_assert_cmpuint(hold_queue_discard(&queue), ==, 6);
    hold(&queue, 10, 10, 1);
    check_leave(&queue, 1, 3);
    check_held(&queue, 1);
    hold_queue_clear(&queue);
}

static void test_release_keeps_the_order(void)
{
    HoldQueue queue;

    hold_queue_init(&queue);
    hold(&queue, 1, 2, 0);
    hold_queue_commit(&queue, 1);
    hold(&queue, 3, 4, 1);
    g_assert_cmpuint(hold_queue_release(&queue), ==, 2);
    hold_queue_add(&queue, frame_new(5));
    check_leave(&queue, 1, 5);

    hold_queue_add(&queue, frame_new(6));
    check_leave(&queue, 6, 6);
    check_held(&queue, 0);
    hold_queue_clear(&queue);
}

static void test_a_frame_that_is_taken_is_whole(void)
{
    HoldQueue queue;
    HoldFrame *frame;

    hold_queue_init(&queue);
    hold_queue_add(&queue, frame_new(1));
    hold_queue_add(&queue, frame_new(2));
    frame = hold_queue_take(&queue);
    check_leave(&queue, 2, 2);
    check_held(&queue, 0);
    hold_queue_add(&queue, frame);
    check_leave(&queue, 1, 1);
    hold_queue_clear(&queue);
}

static void test_clear_frees_all(void)
{
    HoldQueue queue;

    hold_queue_init(&queue);
    hold(&queue, 1, 2, 0);
    hold_queue_commit(&queue, 1);
    hold(&queue, 3, 4, 1);
    hold_queue_clear(&queue);
    check_held(&queue, 0);
    g_assert_null(hold_queue_next(&queue));
}

/* Whatever is done, frames leave in order, once, and only if committed. */
static void test_random_sessions(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(20261121);
    unsigned next = 1, left = 1, committable = 1;
    uint64_t sealed = 0;
    HoldQueue queue;

    hold_queue_init(&queue);
    for (int i = 0; i < 100000; i++) {
        switch (g_rand_int_range(rand, 0, 8)) {
        case 0 ... 4:
            hold(&queue, next, next, sealed);
            next++;
            break;
        case 5:
            sealed++;
            committable = next;
            break;
        case 6:
            if (sealed) {
                hold_queue_commit(&queue, sealed);
                g_assert_cmpuint(queue.leaving_frames, ==,
                                 committable - left);
            }
            break;
        case 7:
            if (hold_queue_next(&queue)) {
                uint64_t n = queue.leaving_frames;

                check_leave(&queue, left, left + n - 1);
                left += n;
            }
            break;
        }
        g_assert_cmpuint(queue.held_frames + queue.leaving_frames, ==,
                         next - left);
    }
    hold_queue_clear(&queue);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hold/commit-releases-what-came-before-the-seal",
                    test_commit_releases_what_came_before_the_seal);
    g_test_add_func("/hold/failed-epoch-goes-with-the-next",
                    test_failed_epoch_goes_with_the_next);
    g_test_add_func("/hold/new-session-forgets-epochs",
                    test_new_session_forgets_epochs);
    g_test_add_func("/hold/discard-spares-what-may-leave",
                    test_discard_spares_what_may_leave);
    g_test_add_func("/hold/release-keeps-the-order",
                    test_release_keeps_the_order);
    g_test_add_func("/hold/a-frame-that-is-taken-is-whole",
                    test_a_frame_that_is_taken_is_whole);
    g_test_add_func("/hold/clear-frees-all", test_clear_frees_all);
    g_test_add_func("/hold/random-sessions", test_random_sessions);
    return g_test_run();
}
