/*
 * The handshake of two members as bytes
 *
 * Before two members exchange messages each says who it is and for whom, and
 * proves that it knows the cluster's key:
 *
 *   caller  HELLO
 *   called         HELLO PROOF
 *   caller  PROOF
 *   called         ANSWER: welcome
 *
 * Instead of any of its messages each may send an ANSWER that says why it
 * refuses. docs/internals/apus-tcp.rst has every byte. A HELLO fits in
 * the private data of an RDMA connection request, which has 56 bytes, HELLO
 * and PROOF in that of its acceptance.
 *
 * The caller's HELLO is of the newest version that it speaks
 * (COLONY_PROTOCOL_GROUP). Who is called answers in the same, or refuses it and
 * says which is its own newest; the caller can then call again in that.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_HELLO_H
#define APUS_HELLO_H

#include "types.h"

#define APUS_HELLO_SIZE 56
#define APUS_PROOF_SIZE 40
#define APUS_ANSWER_SIZE 8

#define APUS_NONCE_SIZE 16
#define APUS_MAC_SIZE 32

typedef enum {
    APUS_HANDSHAKE_HELLO = 1,
    APUS_HANDSHAKE_PROOF,
    APUS_HANDSHAKE_ANSWER,
} ApusHandshakeKind;

/* What an ANSWER says; the numbers are the same in all versions. */
typedef enum {
    APUS_ANSWER_WELCOME,
    APUS_ANSWER_VERSION, /* another version of the handshake */
    APUS_ANSWER_CLUSTER, /* another cluster */
    APUS_ANSWER_KEYED, /* one has a key and the other has none */
    APUS_ANSWER_KEY, /* another key */
    APUS_ANSWER_NOT_ME, /* the called one has another id */
    APUS_ANSWER_UNKNOWN, /* the caller is no member */
    APUS_ANSWER_RING, /* rings of different size */
    APUS_ANSWER_DUPLICATE, /* another process with that id is connected */
    APUS_ANSWERS, /* not an answer: how many there are */
} ApusAnswer;

typedef struct {
    unsigned version; /* of the connection that it is to become */
    ApusId from;
    ApusId to;
    gboolean keyed; /* the sender has a key */
    uint64_t cluster; /* apus_hello_cluster() of its name */
    uint64_t life, incarnation;
    uint64_t ring_size; /* bytes, a power of two */
    uint8_t nonce[APUS_NONCE_SIZE]; /* random, new in each handshake */
} ApusHello;

/* What stands for a cluster's @name in a HELLO. */
uint64_t apus_hello_cluster(const char *name);

/*
 * What message do the @size bytes at @data begin with? Returns how many bytes
 * it has, with @kind set; 0 when more are needed to know; -1 with @errp set
 * when it is none: APUS_ERROR_CORRUPT, or APUS_ERROR_VERSION if it is of a
 * version that is not spoken here. An ANSWER is understood whatever its version.
 */
gssize apus_handshake_peek(const uint8_t *data, size_t size,
                           ApusHandshakeKind *kind, GError **errp);

/* The version of a message that could be peeked at, or was refused for it. */
unsigned apus_handshake_version(const uint8_t *data);

/*
 * The messages; @data has the size of the kind, and was peeked at. @version:
 * the connection's; of an ANSWER that refuses, the sender's newest.
 */
void apus_hello_encode(uint8_t data[APUS_HELLO_SIZE], const ApusHello *hello);
gboolean apus_hello_decode(ApusHello *hello,
                           const uint8_t data[APUS_HELLO_SIZE],
                           GError **errp);
void apus_proof_encode(uint8_t data[APUS_PROOF_SIZE], unsigned version,
                       const uint8_t mac[APUS_MAC_SIZE]);
/* Is that proof the one that is expected? Takes the same time if it is not. */
gboolean apus_proof_check(const uint8_t data[APUS_PROOF_SIZE],
                          const uint8_t mac[APUS_MAC_SIZE]);
void apus_answer_encode(uint8_t data[APUS_ANSWER_SIZE], unsigned version,
                        ApusAnswer answer);
gboolean apus_answer_decode(ApusAnswer *answer,
                            const uint8_t data[APUS_ANSWER_SIZE],
                            GError **errp);

/*
 * What the caller, or the called one, has to prove: an HMAC over both HELLOs,
 * the cluster's name and which side says it. Without a key (@key_size 0) it
 * shows no more than that both have seen the same HELLOs.
 */
void apus_hello_mac(uint8_t mac[APUS_MAC_SIZE], const uint8_t *key,
                    size_t key_size, const char *cluster, gboolean caller,
                    const uint8_t caller_hello[APUS_HELLO_SIZE],
                    const uint8_t called_hello[APUS_HELLO_SIZE]);

/*
 * Can who says @mine and who says @theirs be connected? @mine->to is 0 as long
 * as it is not known who calls. What needs to know more (members, the key,
 * other connections) is not looked at.
 */
ApusAnswer apus_hello_match(const ApusHello *mine, const ApusHello *theirs);

/* "another cluster", ... */
const char *apus_answer_text(ApusAnswer answer);

#endif
