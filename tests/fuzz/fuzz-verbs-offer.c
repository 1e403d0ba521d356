/*
 * Fuzzing of offers of a link, and of addresses for it: the input is taken for
 * either
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/verbs/offer.h"
#include "colo-net/verbs/verbs.h"
#include "tests/fuzz/fuzz.h"

static void decode(const uint8_t *data, size_t size)
{
    uint8_t again[VERBS_OFFER_SIZE];
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    VerbsOffer offer;
    gboolean ok = verbs_offer_decode(&offer, data, size, &error);

    fuzz_outcome(ok, error, VERBS_ERROR);
    if (ok) {
        verbs_offer_encode(&offer, again);
        g_assert_cmpmem(again, sizeof(again), data, size);
        text = verbs_address_text(&offer.address);
        g_assert_nonnull(text);
    }
}

static void parse(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    struct sockaddr_storage address, same;
    g_autoptr(GError) error = NULL;
    g_autofree char *again = NULL;
    gboolean ok = verbs_address_parse(&address, text, &error);

    fuzz_outcome(ok, error, VERBS_ERROR);
    if (ok) {
        again = verbs_address_text(&address);
        g_assert_true(verbs_address_parse(&same, again, NULL));
        g_assert_cmpmem(&same, sizeof(same), &address, sizeof(address));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    parse(data, size);
    return 0;
}

void fuzz_seeds(void)
{
    static const char *const texts[] = {
        "10.0.0.1:4711", "[fd00::1]:65535", "10.0.0.1", "[fe80::1%lo]",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        uint8_t data[VERBS_OFFER_SIZE];
        VerbsOffer offer;

        fuzz_seed(texts[i], strlen(texts[i]));
        memset(&offer, i, sizeof(offer));
        if (i < 2 && verbs_address_parse(&offer.address, texts[i], NULL)) {
            verbs_offer_encode(&offer, data);
            fuzz_seed(data, sizeof(data));
        }
    }
}
