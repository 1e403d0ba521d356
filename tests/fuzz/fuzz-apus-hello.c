/*
 * Fuzzing of the handshake between members
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/hello.h"
#include "tests/fuzz/fuzz.h"

static void decode_hello(const uint8_t *data)
{
    uint8_t again[APUS_HELLO_SIZE];
    g_autoptr(GError) error = NULL;
    ApusHello hello;
    gboolean ok = apus_hello_decode(&hello, data, &error);

    fuzz_outcome(ok, error, APUS_ERROR);
    if (ok) {
        apus_hello_encode(again, &hello);
        g_assert_cmpmem(again, sizeof(again), data, APUS_HELLO_SIZE);
        g_assert_nonnull(apus_answer_text(apus_hello_match(&hello, &hello)));
    }
}

static void decode_answer(const uint8_t *data)
{
    g_autoptr(GError) error = NULL;
    ApusAnswer answer;
    gboolean ok = apus_answer_decode(&answer, data, &error);

    fuzz_outcome(ok, error, APUS_ERROR);
    if (ok) {
        g_assert_nonnull(apus_answer_text(answer));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[APUS_MAC_SIZE];
    g_autoptr(GError) error = NULL;
    ApusHandshakeKind kind;
    gssize n = apus_handshake_peek(data, size, &kind, &error);

    fuzz_outcome(n >= 0, error, APUS_ERROR);
    if (n <= 0 || (size_t)n > size) {
        return 0;
    }
    /* Nothing behind the message is looked at. */
    switch (kind) {
    case APUS_HANDSHAKE_HELLO:
        decode_hello(data);
        break;
    case APUS_HANDSHAKE_PROOF:
        apus_proof_check(data, mac);
        break;
    case APUS_HANDSHAKE_ANSWER:
        decode_answer(data);
        break;
    default:
        g_assert_not_reached();
    }
    return 0;
}

void fuzz_seeds(void)
{
    const ApusHello hello = {
        .version = 1, .from = 1, .to = 2, .keyed = TRUE, .ring_size = 1 << 20,
    };
    uint8_t bytes[APUS_HELLO_SIZE];

    apus_hello_encode(bytes, &hello);
    fuzz_seed(bytes, APUS_HELLO_SIZE);
    apus_proof_encode(bytes, 1, bytes + 8);
    fuzz_seed(bytes, APUS_PROOF_SIZE);
    apus_answer_encode(bytes, 1, APUS_ANSWER_DUPLICATE);
    fuzz_seed(bytes, APUS_ANSWER_SIZE);
}
