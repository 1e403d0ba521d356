/*
 * Offers of RDMA links, and who knows their secrets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <netinet/in.h>
#include <string.h>

#include "colo-net/verbs/offer.h"
#include "colo-net/verbs/verbs.h"

static void addresses_are_what_they_say(void)
{
    static const struct {
        const char *text;
        const char *again;
    } good[] = {
        { "10.0.0.1", "10.0.0.1:0" },
        { "10.0.0.1:7", "10.0.0.1:7" },
        { "192.168.255.254:65535", "192.168.255.254:65535" },
        { "[fd00::1]", "[fd00::1]:0" },
        { "[fd00::1]:4711", "[fd00::1]:4711" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        struct sockaddr_storage address;
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        verbs_address_parse(&address, good[i].text, &error);
        g_assert_no_error(error);
        text = verbs_address_text(&address);
        g_assert_cmpstr(text, ==, good[i].again);
    }
}

static void other_texts_are_no_addresses(void)
{
    static const char *const bad[] = {
        "", ":", ":7", "host", "host:7", "10.0.0.1:", "10.0.0.1:x",
        "10.0.0.1:65536", "10.0.0.1:-1", "fd00::1", "[fd00::1", "[fd00::1]7",
        "[]:7", "[fd00::1]:", "0.0.0.0", "0.0.0.0:7", "[::]:7",
        "10.0.0.1:7:8", " 10.0.0.1", "10.0.0.1 ",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct sockaddr_storage address;
        g_autoptr(GError) error = NULL;

        if (verbs_address_parse(&address, bad[i], &error)) {
            g_error("'%s' was taken for an address", bad[i]);
        }
        g_assert_error(error, VERBS_ERROR, VERBS_ERROR_ADDRESS);
    }
}

static VerbsOffer make_offer(const char *text)
{
    VerbsOffer offer;

    g_assert_true(verbs_address_parse(&offer.address, text, NULL));
    for (unsigned i = 0; i < VERBS_SECRET_SIZE; i++) {
        offer.secret[i] = g_test_rand_int();
    }
    return offer;
}

static void an_offer_arrives_as_it_was(void)
{
    static const char *const addresses[] = {
        "10.0.0.1:4711", "[fd00::1:2]:1",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(addresses); i++) {
        VerbsOffer offer = make_offer(addresses[i]);
        uint8_t data[VERBS_OFFER_SIZE], again[VERBS_OFFER_SIZE];
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        VerbsOffer got;

        verbs_offer_encode(&offer, data);
        verbs_offer_decode(&got, data, sizeof(data), &error);
        g_assert_no_error(error);
        text = verbs_address_text(&got.address);
        g_assert_cmpstr(text, ==, addresses[i]);
        g_assert_cmpmem(got.secret, VERBS_SECRET_SIZE, offer.secret,
                        VERBS_SECRET_SIZE);
        verbs_offer_encode(&got, again);
        g_assert_cmpmem(again, sizeof(again), data, sizeof(data));
    }
}

/* What is accepted is encoded as it was, whatever it is. */
static void what_is_no_offer_is_refused(void)
{
    VerbsOffer offer = make_offer("10.0.0.1:4711");
    uint8_t data[VERBS_OFFER_SIZE + 1] = { 0 };
    VerbsOffer got;

    verbs_offer_encode(&offer, data);
    for (size_t size = 0; size <= sizeof(data); size++) {
        g_assert_true(verbs_offer_decode(&got, data, size, NULL) ==
                      (size == VERBS_OFFER_SIZE));
    }
    for (unsigned bit = 0; bit < 8 * VERBS_OFFER_SIZE; bit++) {
        uint8_t again[VERBS_OFFER_SIZE];
        g_autoptr(GError) error = NULL;

        data[bit / 8] ^= 1 << bit % 8;
        if (verbs_offer_decode(&got, data, VERBS_OFFER_SIZE, &error)) {
            verbs_offer_encode(&got, again);
            g_assert_cmpmem(again, sizeof(again), data, sizeof(again));
        } else {
            g_assert_error(error, VERBS_ERROR, VERBS_ERROR_ADDRESS);
        }
        data[bit / 8] ^= 1 << bit % 8;
    }
    /* No port, no address. */
    memset(data + 2, 0, 2);
    g_assert_false(verbs_offer_decode(&got, data, VERBS_OFFER_SIZE, NULL));
    data[3] = 7;
    memset(data + 4, 0, 16);
    g_assert_false(verbs_offer_decode(&got, data, VERBS_OFFER_SIZE, NULL));
}

static void each_side_shows_its_own_half(void)
{
    VerbsOffer offer = make_offer("10.0.0.1:4711");
    uint8_t padded[VERBS_CALL_DATA] = { 0 };
    uint8_t token[VERBS_TOKEN_SIZE];

    for (int caller = 0; caller < 2; caller++) {
        verbs_token_make(&offer, caller, token);
        memcpy(padded, token, sizeof(token));
        g_assert_true(verbs_token_check(&offer, caller, token, sizeof(token)));
        /* As it comes, with what there is room for. */
        g_assert_true(verbs_token_check(&offer, caller, padded,
                                        sizeof(padded)));
        g_assert_false(verbs_token_check(&offer, !caller, token,
                                         sizeof(token)));
        g_assert_false(verbs_token_check(&offer, caller, token,
                                         sizeof(token) - 1));
        g_assert_false(verbs_token_check(&offer, caller, NULL, 0));
        for (unsigned bit = 0; bit < 8 * sizeof(token); bit++) {
            token[bit / 8] ^= 1 << bit % 8;
            g_assert_false(verbs_token_check(&offer, caller, token,
                                             sizeof(token)));
            token[bit / 8] ^= 1 << bit % 8;
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verbs/offer/addresses", addresses_are_what_they_say);
    g_test_add_func("/verbs/offer/no-addresses", other_texts_are_no_addresses);
    g_test_add_func("/verbs/offer/round-trip", an_offer_arrives_as_it_was);
    g_test_add_func("/verbs/offer/refused", what_is_no_offer_is_refused);
    g_test_add_func("/verbs/offer/tokens", each_side_shows_its_own_half);
    return g_test_run();
}
