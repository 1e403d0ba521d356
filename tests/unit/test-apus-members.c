/*
 * Which lists of members, and which roles, can be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/apus-samples.h"

static void accepted(const ApusMembers *members)
{
    g_autoptr(GError) error = NULL;

    apus_members_check(members, &error);
    g_assert_no_error(error);
}

static void refused(const ApusMembers *members)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(apus_members_check(members, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_MEMBERS);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
}

static void role_refused(const ApusRole *role)
{
    g_autoptr(GError) error = NULL;
    ApusMembers members;

    sample_members(&members, 3);
    g_assert_false(apus_role_check(role, &members, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_ROLE);
}

static void role_accepted(const ApusRole *role)
{
    g_autoptr(GError) error = NULL;
    ApusMembers members;

    sample_members(&members, 3);
    apus_role_check(role, &members, &error);
    g_assert_no_error(error);
}

static void members_are_found_by_id(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    members.member[1].id = 700;
    g_assert_cmpint(apus_members_find(&members, 1), ==, 0);
    g_assert_cmpint(apus_members_find(&members, 700), ==, 1);
    g_assert_cmpint(apus_members_find(&members, 3), ==, 2);
    g_assert_cmpint(apus_members_find(&members, 2), ==, -1);
}

static void nobody_is_no_member(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    g_assert_cmpint(apus_members_find(&members, APUS_NOBODY), ==, -1);
}

static void two_majorities_share_a_member(void)
{
    static const unsigned majority[] = { 1, 2, 2, 3, 3, 4 };
    ApusMembers members;

    for (unsigned count = 1; count <= APUS_MAX_MEMBERS; count++) {
        sample_members(&members, count);
        g_assert_cmpuint(apus_members_majority(&members), ==,
                         majority[count - 1]);
        g_assert_cmpuint(2 * majority[count - 1], >, count);
    }
}

static void groups_of_all_sizes_can_be(void)
{
    ApusMembers members;

    for (unsigned count = 1; count <= APUS_MAX_MEMBERS; count++) {
        sample_members(&members, count);
        accepted(&members);
        members.leaving = count;
        accepted(&members);
    }
    sample_members_longest(&members);
    accepted(&members);
}

static void empty_group_is_refused(void)
{
    ApusMembers members = { 0 };

    refused(&members);
}

static void too_many_members_are_refused(void)
{
    ApusMembers members;

    sample_members(&members, APUS_MAX_MEMBERS);
    members.count++;
    refused(&members);
    members.count = UINT_MAX;
    refused(&members);
}

static void member_without_id_is_refused(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    members.member[2].id = APUS_NOBODY;
    refused(&members);
}

static void id_that_is_there_twice_is_refused(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    members.member[2].id = 1;
    refused(&members);
}

static void address_that_is_there_twice_is_refused(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    strcpy(members.member[2].address, members.member[0].address);
    refused(&members);
}

static void empty_address_is_refused(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    members.member[1].address[0] = 0;
    refused(&members);
}

static void address_without_end_is_refused(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    memset(members.member[1].address, 'x', APUS_MAX_ADDRESS);
    refused(&members);
}

static void address_that_cannot_be_shown_is_refused(void)
{
    static const char *const wrong[] = {
        "a b:1", "a:1\n", "\x1b[2J:1", "\xc3\xa4:1", "\xff:1",
    };
    ApusMembers members;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        sample_members(&members, 3);
        strcpy(members.member[1].address, wrong[i]);
        refused(&members);
    }
}

static void group_of_witnesses_is_refused(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    members.member[0].can_run = FALSE;
    accepted(&members);
    members.member[1].can_run = FALSE;
    refused(&members);
}

static void stranger_cannot_leave(void)
{
    ApusMembers members;

    sample_members(&members, 3);
    members.leaving = 4;
    refused(&members);
}

static void leader_and_secondary_that_can_run_are_accepted(void)
{
    role_accepted(&(ApusRole) {
        .leader = 2, .leader_incarnation = 3,
        .secondary = 1, .secondary_incarnation = 4,
    });
    role_accepted(&(ApusRole) { .leader = 1 });
    role_accepted(&(ApusRole) { .leader = 1, .stopped = TRUE });
}

static void role_without_leader_is_refused(void)
{
    role_refused(&(ApusRole) { .leader = APUS_NOBODY });
    role_refused(&(ApusRole) { .leader = APUS_NOBODY, .secondary = 2 });
}

static void role_of_a_stranger_is_refused(void)
{
    role_refused(&(ApusRole) { .leader = 4 });
    role_refused(&(ApusRole) { .leader = 1, .secondary = 4 });
}

static void role_of_a_witness_is_refused(void)
{
    role_refused(&(ApusRole) { .leader = 3 });
    role_refused(&(ApusRole) { .leader = 1, .secondary = 3 });
}

static void leader_that_is_secondary_is_refused(void)
{
    role_refused(&(ApusRole) { .leader = 1, .secondary = 1 });
}

static void incarnation_of_nobody_is_refused(void)
{
    role_refused(&(ApusRole) { .leader = 1, .secondary_incarnation = 1 });
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-members/" #name, name)
    PROMISE(members_are_found_by_id);
    PROMISE(nobody_is_no_member);
    PROMISE(two_majorities_share_a_member);
    PROMISE(groups_of_all_sizes_can_be);
    PROMISE(empty_group_is_refused);
    PROMISE(too_many_members_are_refused);
    PROMISE(member_without_id_is_refused);
    PROMISE(id_that_is_there_twice_is_refused);
    PROMISE(address_that_is_there_twice_is_refused);
    PROMISE(empty_address_is_refused);
    PROMISE(address_without_end_is_refused);
    PROMISE(address_that_cannot_be_shown_is_refused);
    PROMISE(group_of_witnesses_is_refused);
    PROMISE(stranger_cannot_leave);
    PROMISE(leader_and_secondary_that_can_run_are_accepted);
    PROMISE(role_without_leader_is_refused);
    PROMISE(role_of_a_stranger_is_refused);
    PROMISE(role_of_a_witness_is_refused);
    PROMISE(leader_that_is_secondary_is_refused);
    PROMISE(incarnation_of_nobody_is_refused);
    return g_test_run();
}
