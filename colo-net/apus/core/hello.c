/*
 * The handshake of two members as bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "../../core/versions.h"
#include "bytes.h"
#include "hello.h"

/* Where the fields stand. The first four are the same in all versions. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_KIND = 6,
    AT_DETAIL = 7, /* flags of a HELLO, the answer of an ANSWER */
    FRONT = 8,

    AT_FROM = 8,
    AT_TO = 10,
    AT_RING = 12, /* its logarithm */
    AT_ZEROS = 13,
    AT_CLUSTER = 16,
    AT_LIFE = 24,
    AT_INCARNATION = 32,
    AT_NONCE = 40,

    AT_MAC = 8,
};

#define ZEROS (AT_CLUSTER - AT_ZEROS)
#define KEYED 1 /* flag */

static const uint8_t magic[4] = { 'A', 'P', 'U', 'S' };

uint64_t apus_hello_cluster(const char *name)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    uint8_t digest[APUS_MAC_SIZE];
    gsize size = sizeof(digest);

    g_checksum_update(sum, (const guchar *)name, strlen(name));
    g_checksum_get_digest(sum, digest, &size);
    return apus_get64(digest);
}

static gssize refuse(GError **errp, ApusError code, const char *what,
                     unsigned value)
{
    g_set_error(errp, APUS_ERROR, code, "handshake: %s %u", what, value);
    return -1;
}

unsigned apus_handshake_version(const uint8_t *data)
{
    return apus_get16(data + AT_VERSION);
}

static gssize check_version(unsigned version, gssize size, GError **errp)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_GROUP];
    const ColonyVersions theirs = {
        .oldest = MIN(version, UINT8_MAX),
        .newest = MIN(version, UINT8_MAX),
    };
    g_autofree char *text = NULL;

    if (version && colony_versions_common(mine, &theirs)) {
        return size;
    }
    text = colony_versions_differ(COLONY_PROTOCOL_GROUP, "this side", mine,
                                  "the other side", &theirs);
    g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_VERSION, text);
    return -1;
}

gssize apus_handshake_peek(const uint8_t *data, size_t size,
                           ApusHandshakeKind *kind, GError **errp)
{
    /* Looked at as far as it is there: a stranger may not send more. */
    for (size_t i = 0; i < MIN(size, sizeof(magic)); i++) {
        if (data[AT_MAGIC + i] != magic[i]) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_CORRUPT,
                        "handshake: no member begins like that (0x%02x,"
                        " byte %zu)", data[i], i);
            return -1;
        }
    }
    if (size < FRONT) {
        return 0;
    }
    switch (data[AT_KIND]) {
    case APUS_HANDSHAKE_HELLO:
        *kind = APUS_HANDSHAKE_HELLO;
        return check_version(apus_handshake_version(data), APUS_HELLO_SIZE,
                             errp);
    case APUS_HANDSHAKE_PROOF:
        *kind = APUS_HANDSHAKE_PROOF;
        return check_version(apus_handshake_version(data), APUS_PROOF_SIZE,
                             errp);
    case APUS_HANDSHAKE_ANSWER:
        *kind = APUS_HANDSHAKE_ANSWER;
        return APUS_ANSWER_SIZE;
    default:
        return refuse(errp, APUS_ERROR_CORRUPT, "unknown kind of message",
                      data[AT_KIND]);
    }
}

static void put_front(uint8_t *data, unsigned version, ApusHandshakeKind kind,
                      unsigned detail)
{
    memcpy(data + AT_MAGIC, magic, sizeof(magic));
    apus_put16(data + AT_VERSION, version);
    data[AT_KIND] = kind;
    data[AT_DETAIL] = detail;
}

void apus_hello_encode(uint8_t data[APUS_HELLO_SIZE], const ApusHello *hello)
{
    g_assert(hello->ring_size && !(hello->ring_size & (hello->ring_size - 1)));

    put_front(data, hello->version, APUS_HANDSHAKE_HELLO,
              hello->keyed ? KEYED : 0);
    apus_put16(data + AT_FROM, hello->from);
    apus_put16(data + AT_TO, hello->to);
    data[AT_RING] = __builtin_ctzll(hello->ring_size);
    memset(data + AT_ZEROS, 0, ZEROS);
    apus_put64(data + AT_CLUSTER, hello->cluster);
    apus_put64(data + AT_LIFE, hello->life);
    apus_put64(data + AT_INCARNATION, hello->incarnation);
    memcpy(data + AT_NONCE, hello->nonce, sizeof(hello->nonce));
}

gboolean apus_hello_decode(ApusHello *hello,
                           const uint8_t data[APUS_HELLO_SIZE],
                           GError **errp)
{
    const ApusError corrupt = APUS_ERROR_CORRUPT;
    ApusId from = apus_get16(data + AT_FROM);
    ApusId to = apus_get16(data + AT_TO);

    if (data[AT_DETAIL] > KEYED) {
        refuse(errp, corrupt, "unknown flags", data[AT_DETAIL]);
        return FALSE;
    }
    if (from == APUS_NOBODY || to == APUS_NOBODY) {
        refuse(errp, corrupt, "impossible id", APUS_NOBODY);
        return FALSE;
    }
    if (data[AT_RING] > 63) {
        refuse(errp, corrupt, "impossible size of the ring: 2 to the",
               data[AT_RING]);
        return FALSE;
    }
    for (unsigned i = 0; i < ZEROS; i++) {
        if (data[AT_ZEROS + i] != 0) {
            refuse(errp, corrupt, "reserved byte in use at", AT_ZEROS + i);
            return FALSE;
        }
    }
    *hello = (ApusHello) {
        .version = apus_handshake_version(data),
        .from = from,
        .to = to,
        .keyed = data[AT_DETAIL] == KEYED,
        .cluster = apus_get64(data + AT_CLUSTER),
        .life = apus_get64(data + AT_LIFE),
        .incarnation = apus_get64(data + AT_INCARNATION),
        .ring_size = UINT64_C(1) << data[AT_RING],
    };
    memcpy(hello->nonce, data + AT_NONCE, sizeof(hello->nonce));
    return TRUE;
}

void apus_proof_encode(uint8_t data[APUS_PROOF_SIZE], unsigned version,
                       const uint8_t mac[APUS_MAC_SIZE])
{
    put_front(data, version, APUS_HANDSHAKE_PROOF, 0);
    memcpy(data + AT_MAC, mac, APUS_MAC_SIZE);
}

gboolean apus_proof_check(const uint8_t data[APUS_PROOF_SIZE],
                          const uint8_t mac[APUS_MAC_SIZE])
{
    uint8_t difference = data[AT_DETAIL];

    /* All of it in any case: the time must not tell how much is right. */
    for (unsigned i = 0; i < APUS_MAC_SIZE; i++) {
        difference |= data[AT_MAC + i] ^ mac[i];
    }
    return difference == 0;
}

void apus_answer_encode(uint8_t data[APUS_ANSWER_SIZE], unsigned version,
                        ApusAnswer answer)
{
    put_front(data, version, APUS_HANDSHAKE_ANSWER, answer);
}

gboolean apus_answer_decode(ApusAnswer *answer,
                            const uint8_t data[APUS_ANSWER_SIZE],
                            GError **errp)
{
    /* A welcome is for versions that are spoken; why not is for all. */
    if (data[AT_DETAIL] == APUS_ANSWER_WELCOME &&
        check_version(apus_handshake_version(data), 0, errp) < 0) {
        return FALSE;
    }
    if (data[AT_DETAIL] >= APUS_ANSWERS) {
        refuse(errp, APUS_ERROR_CORRUPT, "unknown answer", data[AT_DETAIL]);
        return FALSE;
    }
    *answer = data[AT_DETAIL];
    return TRUE;
}

void apus_hello_mac(uint8_t mac[APUS_MAC_SIZE], const uint8_t *key,
                    size_t key_size, const char *cluster, gboolean caller,
                    const uint8_t caller_hello[APUS_HELLO_SIZE],
                    const uint8_t called_hello[APUS_HELLO_SIZE])
{
    static const char *const labels[] = { "apus called", "apus caller" };
    const char *label = labels[!!caller];
    GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, key_size ? key :
                             (const uint8_t *)"", key_size);
    gsize size = APUS_MAC_SIZE;

    /* The cluster's name is last, because all before it has a fixed size. */
    g_hmac_update(hmac, (const guchar *)label, strlen(label));
    g_hmac_update(hmac, caller_hello, APUS_HELLO_SIZE);
    g_hmac_update(hmac, called_hello, APUS_HELLO_SIZE);
    g_hmac_update(hmac, (const guchar *)cluster, strlen(cluster));
    g_hmac_get_digest(hmac, mac, &size);
    g_hmac_unref(hmac);
}

ApusAnswer apus_hello_match(const ApusHello *mine, const ApusHello *theirs)
{
    if (theirs->version != mine->version) {
        return APUS_ANSWER_VERSION;
    }
    if (theirs->cluster != mine->cluster) {
        return APUS_ANSWER_CLUSTER;
    }
    if (theirs->keyed != mine->keyed) {
        return APUS_ANSWER_KEYED;
    }
    if (theirs->to != mine->from ||
        (mine->to != APUS_NOBODY && theirs->from != mine->to)) {
        return APUS_ANSWER_NOT_ME;
    }
    if (theirs->ring_size != mine->ring_size) {
        return APUS_ANSWER_RING;
    }
    return APUS_ANSWER_WELCOME;
}

const char *apus_answer_text(ApusAnswer answer)
{
    static const char *const texts[APUS_ANSWERS] = {
        [APUS_ANSWER_WELCOME] = "welcome",
        [APUS_ANSWER_VERSION] = "another version of the protocol",
        [APUS_ANSWER_CLUSTER] = "another cluster",
        [APUS_ANSWER_KEYED] = "one side has a key, the other has none",
        [APUS_ANSWER_KEY] = "another key",
        [APUS_ANSWER_NOT_ME] = "the member there has another id",
        [APUS_ANSWER_UNKNOWN] = "no member of the group has that id",
        [APUS_ANSWER_RING] = "logs of different size",
        [APUS_ANSWER_DUPLICATE] = "another process with that id is connected",
    };

    return texts[answer];
}
