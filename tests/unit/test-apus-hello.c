/*
 * The handshake of two members as bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/hello.h"

#define KEY ((const uint8_t *)"0123456789abcdef")
#define KEY_SIZE 16

static const ApusHello sample = {
    .version = 1,
    .from = 0x0102,
    .to = 0x0304,
    .keyed = TRUE,
    .cluster = 0x1111222233334444,
    .life = 0x5555666677778888,
    .incarnation = 0x9999aaaabbbbcccc,
    .ring_size = 64 << 20,
    .nonce = { 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9,
               0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf },
};

/* As documented. */
static const uint8_t sample_bytes[APUS_HELLO_SIZE] = {
    'A', 'P', 'U', 'S', 1, 0, 1, 1,
    0x02, 0x01, 0x04, 0x03, 26, 0, 0, 0,
    0x44, 0x44, 0x33, 0x33, 0x22, 0x22, 0x11, 0x11,
    0x88, 0x88, 0x77, 0x77, 0x66, 0x66, 0x55, 0x55,
    0xcc, 0xcc, 0xbb, 0xbb, 0xaa, 0xaa, 0x99, 0x99,
    0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7,
    0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf,
};

static void hello_has_the_documented_bytes(void)
{
    uint8_t bytes[APUS_HELLO_SIZE];

    apus_hello_encode(bytes, &sample);
    g_assert_cmpmem(bytes, sizeof(bytes), sample_bytes, sizeof(sample_bytes));
}

static void hello_comes_back_as_it_was(void)
{
    g_autoptr(GError) error = NULL;
    ApusHandshakeKind kind;
    ApusHello hello;

    g_assert_cmpint(apus_handshake_peek(sample_bytes, sizeof(sample_bytes),
                                        &kind, &error), ==, APUS_HELLO_SIZE);
    g_assert_cmpint(kind, ==, APUS_HANDSHAKE_HELLO);
    g_assert_true(apus_hello_decode(&hello, sample_bytes, &error));
    g_assert_cmpuint(hello.from, ==, sample.from);
    g_assert_cmpuint(hello.to, ==, sample.to);
    g_assert_cmpint(hello.keyed, ==, TRUE);
    g_assert_cmpuint(hello.cluster, ==, sample.cluster);
    g_assert_cmpuint(hello.life, ==, sample.life);
    g_assert_cmpuint(hello.incarnation, ==, sample.incarnation);
    g_assert_cmpuint(hello.ring_size, ==, sample.ring_size);
    g_assert_cmpmem(hello.nonce, sizeof(hello.nonce), sample.nonce,
                    sizeof(sample.nonce));
}

static void what_cannot_be_is_refused(void)
{
    static const struct {
        unsigned at;
        uint8_t value;
    } wrong[] = {
        { 7, 2 }, { 12, 64 }, { 13, 1 }, { 14, 1 }, { 15, 1 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        uint8_t bytes[APUS_HELLO_SIZE];
        g_autoptr(GError) error = NULL;
        ApusHello hello;

        memcpy(bytes, sample_bytes, sizeof(bytes));
        bytes[wrong[i].at] = wrong[i].value;
        g_assert_false(apus_hello_decode(&hello, bytes, &error));
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    }
}

static void nobody_is_refused(void)
{
    for (unsigned at = 8; at <= 10; at += 2) {
        uint8_t bytes[APUS_HELLO_SIZE];
        g_autoptr(GError) error = NULL;
        ApusHello hello;

        memcpy(bytes, sample_bytes, sizeof(bytes));
        apus_put16(bytes + at, 0);
        g_assert_false(apus_hello_decode(&hello, bytes, &error));
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    }
}

static void garbage_is_recognised_at_its_first_wrong_byte(void)
{
    for (unsigned wrong = 0; wrong < 4; wrong++) {
        uint8_t bytes[8] = { 'A', 'P', 'U', 'S' };
        g_autoptr(GError) error = NULL;
        ApusHandshakeKind kind;

        bytes[wrong]++;
        g_assert_cmpint(apus_handshake_peek(bytes, wrong, &kind, &error), ==,
                        0);
        g_assert_cmpint(apus_handshake_peek(bytes, wrong + 1, &kind, &error),
                        ==, -1);
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    }
}

static void other_versions_are_named(void)
{
    uint8_t bytes[8] = { 'A', 'P', 'U', 'S', 7, 0, APUS_HANDSHAKE_HELLO, 0 };
    g_autoptr(GError) error = NULL;
    ApusHandshakeKind kind;

    g_assert_cmpint(apus_handshake_peek(bytes, 8, &kind, &error), ==, -1);
    g_assert_error(error, APUS_ERROR, APUS_ERROR_VERSION);
    g_assert_nonnull(strstr(error->message, "speaks version 1 of the group "
                                            "protocol, the other side version "
                                            "7"));
    g_assert_cmpuint(apus_handshake_version(bytes), ==, 7);
}

static void why_not_is_understood_in_all_versions(void)
{
    uint8_t bytes[8] = {
        'A', 'P', 'U', 'S', 7, 0, APUS_HANDSHAKE_ANSWER, APUS_ANSWER_VERSION,
    };
    g_autoptr(GError) error = NULL;
    ApusHandshakeKind kind;
    ApusAnswer answer;

    g_assert_cmpint(apus_handshake_peek(bytes, 8, &kind, &error), ==,
                    APUS_ANSWER_SIZE);
    g_assert_true(apus_answer_decode(&answer, bytes, &error));
    g_assert_cmpint(answer, ==, APUS_ANSWER_VERSION);
    bytes[7] = APUS_ANSWER_WELCOME;
    g_assert_false(apus_answer_decode(&answer, bytes, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_VERSION);
}

/* A proof is for these two HELLOs, this key, this side, this cluster. */
static void a_proof_is_for_one_use(void)
{
    uint8_t other[APUS_HELLO_SIZE], right[APUS_MAC_SIZE];
    uint8_t mac[APUS_MAC_SIZE], proof[APUS_PROOF_SIZE];

    memcpy(other, sample_bytes, sizeof(other));
    other[APUS_HELLO_SIZE - 1] ^= 1;
    apus_hello_mac(right, KEY, KEY_SIZE, "a", TRUE, sample_bytes, other);
    apus_proof_encode(proof, 1, right);
    g_assert_true(apus_proof_check(proof, right));

    apus_hello_mac(mac, KEY, KEY_SIZE, "a", FALSE, sample_bytes, other);
    g_assert_false(apus_proof_check(proof, mac));
    apus_hello_mac(mac, KEY, KEY_SIZE, "a", TRUE, other, sample_bytes);
    g_assert_false(apus_proof_check(proof, mac));
    apus_hello_mac(mac, KEY, KEY_SIZE, "a", TRUE, other, other);
    g_assert_false(apus_proof_check(proof, mac));
    apus_hello_mac(mac, KEY, KEY_SIZE - 1, "a", TRUE, sample_bytes, other);
    g_assert_false(apus_proof_check(proof, mac));
    apus_hello_mac(mac, NULL, 0, "a", TRUE, sample_bytes, other);
    g_assert_false(apus_proof_check(proof, mac));
    apus_hello_mac(mac, KEY, KEY_SIZE, "b", TRUE, sample_bytes, other);
    g_assert_false(apus_proof_check(proof, mac));
}

static void every_bit_of_a_proof_counts(void)
{
    uint8_t proof[APUS_PROOF_SIZE], mac[APUS_MAC_SIZE];

    apus_hello_mac(mac, KEY, KEY_SIZE, "a", TRUE, sample_bytes, sample_bytes);
    for (unsigned bit = 8 * 7; bit < 8 * APUS_PROOF_SIZE; bit++) {
        apus_proof_encode(proof, 1, mac);
        proof[bit / 8] ^= 1 << bit % 8;
        g_assert_false(apus_proof_check(proof, mac));
    }
}

static void two_match_or_it_is_said_why_not(void)
{
    ApusHello mine = sample, theirs = sample;

    theirs.from = mine.to;
    theirs.to = mine.from;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==,
                    APUS_ANSWER_WELCOME);
    mine.to = APUS_NOBODY;
    theirs.from = 9;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==,
                    APUS_ANSWER_WELCOME);
    mine.to = 8;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==, APUS_ANSWER_NOT_ME);
    mine.to = 9;
    theirs.to++;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==, APUS_ANSWER_NOT_ME);
    theirs.to--;
    theirs.ring_size *= 2;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==, APUS_ANSWER_RING);
    theirs.keyed = FALSE;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==, APUS_ANSWER_KEYED);
    theirs.cluster++;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==,
                    APUS_ANSWER_CLUSTER);
    theirs.version++;
    g_assert_cmpint(apus_hello_match(&mine, &theirs), ==,
                    APUS_ANSWER_VERSION);
}

static void every_answer_has_a_text(void)
{
    for (unsigned i = 0; i < APUS_ANSWERS; i++) {
        g_assert_nonnull(apus_answer_text(i));
    }
}

static void names_of_clusters_are_checked(void)
{
    g_autofree char *longest = g_strnfill(APUS_CLUSTER_MAX, 'x');
    g_autofree char *too_long = g_strnfill(APUS_CLUSTER_MAX + 1, 'x');
    const char *wrong[] = { NULL, "", too_long, "a\nb", "\xc3\xa4" };

    g_assert_true(apus_cluster_check("a", NULL));
    g_assert_true(apus_cluster_check(longest, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(apus_cluster_check(wrong[i], &error));
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
    }
}

int main(int argc, char **argv)
{
#define ADD(test) g_test_add_func("/apus-hello/" #test, test)

    g_test_init(&argc, &argv, NULL);
    ADD(hello_has_the_documented_bytes);
    ADD(hello_comes_back_as_it_was);
    ADD(what_cannot_be_is_refused);
    ADD(nobody_is_refused);
    ADD(garbage_is_recognised_at_its_first_wrong_byte);
    ADD(other_versions_are_named);
    ADD(why_not_is_understood_in_all_versions);
    ADD(a_proof_is_for_one_use);
    ADD(every_bit_of_a_proof_counts);
    ADD(two_match_or_it_is_said_why_not);
    ADD(every_answer_has_a_text);
    ADD(names_of_clusters_are_checked);
    return g_test_run();
}
