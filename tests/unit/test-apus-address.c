/*
 * HOST:PORT as a socket address, and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <netinet/in.h>
#include <string.h>

#include "colo-net/apus/core/types.h"
#include "colo-net/apus/runtime/address.h"

static void numbers_and_localhost_are_addresses(void)
{
    static const struct {
        const char *text;
        int family;
        const char *back; /* NULL: the same */
    } right[] = {
        { "127.0.0.1:4711", AF_INET, NULL },
        { "0.0.0.0:1", AF_INET, NULL },
        { "10.1.2.3:65535", AF_INET, NULL },
        { "localhost:4711", AF_INET, "127.0.0.1:4711" },
        { "[::1]:4711", AF_INET6, NULL },
        { "[::]:4711", AF_INET6, NULL },
        { "[2001:db8::1:2]:80", AF_INET6, NULL },
        { "[fe80::1%lo]:80", AF_INET6, NULL },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(right); i++) {
        g_autofree char *back = NULL;
        g_autoptr(GError) error = NULL;
        ApusAddress address;

        apus_address_parse(&address, right[i].text, FALSE, &error);
        g_assert_no_error(error);
        g_assert_cmpint(address.storage.ss_family, ==, right[i].family);
        back = apus_address_text(&address);
        g_assert_cmpstr(back, ==, right[i].back ?: right[i].text);
    }
}

static void everything_else_is_refused_with_its_text(void)
{
    static const char *const wrong[] = {
        "", ":", "127.0.0.1", "127.0.0.1:", ":4711", "127.0.0.1:0",
        "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 1",
        "127.0.0.1:1x", "127.0.0.1:http", "example.org:80", "::1:80", "[::1]",
        "[::1]80", "[::1:80", "[]:80", "[localhost]:80", "1.2.3.4.5:80",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        ApusAddress address;

        g_assert_false(apus_address_parse(&address, wrong[i], FALSE, &error));
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
        g_assert_nonnull(strstr(error->message, wrong[i]));
    }
}

static void what_is_too_long_is_refused(void)
{
    g_autofree char *host = g_strnfill(APUS_MAX_ADDRESS, '1');
    g_autofree char *text = g_strconcat(host, ":80", NULL);
    g_autoptr(GError) error = NULL;
    ApusAddress address;

    g_assert_false(apus_address_parse(&address, text, FALSE, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
}

static void any_port_is_for_who_listens(void)
{
    ApusAddress address;

    g_assert_true(apus_address_parse(&address, "127.0.0.1:0", TRUE, NULL));
}

static void mapped_addresses_are_shown_as_what_they_are(void)
{
    g_autofree char *text = NULL;
    ApusAddress address;

    g_assert_true(apus_address_parse(&address, "[::ffff:1.2.3.4]:80", FALSE,
                                     NULL));
    text = apus_address_text(&address);
    g_assert_cmpstr(text, ==, "1.2.3.4:80");
}

int main(int argc, char **argv)
{
#define ADD(test) g_test_add_func("/apus-address/" #test, test)

    g_test_init(&argc, &argv, NULL);
    ADD(numbers_and_localhost_are_addresses);
    ADD(everything_else_is_refused_with_its_text);
    ADD(what_is_too_long_is_refused);
    ADD(any_port_is_for_who_listens);
    ADD(mapped_addresses_are_shown_as_what_they_are);
    return g_test_run();
}
