/*
 * Who may write entries into a member's memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/grant.h"

static void test_first(void)
{
    ApusGrant grant = { 0 };
    ApusId revoke;

    g_assert_cmpint(apus_grant_ask(&grant, 2, 5, &revoke), ==,
                    APUS_GRANT_GIVEN);
    g_assert_cmpuint(revoke, ==, APUS_NOBODY);
    g_assert_cmpuint(grant.holder, ==, 2);
}

static void test_again(void)
{
    ApusGrant grant = { .holder = 2, .term = 5, .fenced = 5 };
    ApusId revoke;

    g_assert_cmpint(apus_grant_ask(&grant, 2, 5, &revoke), ==,
                    APUS_GRANT_KEPT);
    g_assert_cmpint(apus_grant_ask(&grant, 2, 7, &revoke), ==,
                    APUS_GRANT_KEPT);
    g_assert_cmpuint(grant.term, ==, 7);
}

static void test_newer_takes_it(void)
{
    ApusGrant grant = { .holder = 2, .term = 5, .fenced = 5 };
    ApusId revoke;

    g_assert_cmpint(apus_grant_ask(&grant, 3, 6, &revoke), ==,
                    APUS_GRANT_GIVEN);
    g_assert_cmpuint(revoke, ==, 2);
    /* Even after the newer one has gone. */
    apus_grant_lost(&grant, 3);
    g_assert_cmpint(apus_grant_ask(&grant, 2, 5, &revoke), ==,
                    APUS_GRANT_REFUSED);
}

static void test_two_of_one_term(void)
{
    ApusGrant grant = { .holder = 2, .term = 5, .fenced = 5 };
    ApusId revoke;

    g_assert_cmpint(apus_grant_ask(&grant, 3, 5, &revoke), ==,
                    APUS_GRANT_REFUSED);
    g_assert_cmpuint(grant.holder, ==, 2);
}

static void test_fence(void)
{
    ApusGrant grant = { .holder = 2, .term = 5, .fenced = 5 };
    ApusId revoke;

    g_assert_cmpuint(apus_grant_fence(&grant, 6), ==, 2);
    g_assert_cmpuint(apus_grant_fence(&grant, 6), ==, APUS_NOBODY);
    g_assert_cmpint(apus_grant_ask(&grant, 2, 5, &revoke), ==,
                    APUS_GRANT_REFUSED);
    g_assert_cmpint(apus_grant_ask(&grant, 3, 6, &revoke), ==,
                    APUS_GRANT_GIVEN);
    /* To be asked once more for a vote in that term changes nothing. */
    g_assert_cmpuint(apus_grant_fence(&grant, 6), ==, APUS_NOBODY);
    g_assert_cmpuint(grant.holder, ==, 3);
}

static void test_lost(void)
{
    ApusGrant grant = { .holder = 2, .term = 5, .fenced = 5 };
    ApusId revoke;

    apus_grant_lost(&grant, 3);
    g_assert_cmpuint(grant.holder, ==, 2);
    apus_grant_lost(&grant, 2);
    g_assert_cmpuint(grant.holder, ==, APUS_NOBODY);
    g_assert_cmpint(apus_grant_ask(&grant, 2, 5, &revoke), ==,
                    APUS_GRANT_GIVEN);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apus/grant/first", test_first);
    g_test_add_func("/apus/grant/again", test_again);
    g_test_add_func("/apus/grant/newer", test_newer_takes_it);
    g_test_add_func("/apus/grant/one-term", test_two_of_one_term);
    g_test_add_func("/apus/grant/fence", test_fence);
    g_test_add_func("/apus/grant/lost", test_lost);
    return g_test_run();
}
