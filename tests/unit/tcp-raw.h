/*
 * The other end of a TCP transport's connection, byte by byte
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TCP_RAW_H
#define TCP_RAW_H

#include "colo-net/apus/core/hello.h"
#include "tests/unit/nodes.h"

typedef struct {
    Nodes *nodes;
    int fd;
    ApusHello mine, theirs;
    uint8_t mine_bytes[APUS_HELLO_SIZE], theirs_bytes[APUS_HELLO_SIZE];
} Raw;

/* A connection with node @to. */
void raw_call(Raw *raw, Nodes *nodes, ApusId to);
/* A listening socket on loopback, and its address, to be freed. */
int raw_listen(char **address);
/* Accept what a node calls. */
void raw_accept(Raw *raw, Nodes *nodes, int listener);
gboolean raw_can_accept(int listener);
void raw_close(Raw *raw);
/* Show a node that was called by @raw that it listens at @listener. */
void raw_be_looked_at(const Raw *raw, int listener);

void raw_write(Raw *raw, const void *data, size_t size);
/* Exactly @size bytes; the loop goes on meanwhile. */
void raw_read(Raw *raw, void *data, size_t size);
/* Up to @size bytes; 0: none yet; -1: it was closed. */
gssize raw_try(Raw *raw, void *data, size_t size);
/* Until the other side closes; what comes before is ignored. */
void raw_wait_for_end(Raw *raw);

/* Begin to be @from, in process @life, who wants to speak with @to. */
void raw_prepare(Raw *raw, ApusId from, ApusId to, uint64_t life);
void raw_mac(Raw *raw, const char *key, gboolean caller, gboolean called,
             uint8_t mac[APUS_MAC_SIZE]);

/* The whole handshake, of who has called; until the answer. */
ApusAnswer raw_greet(Raw *raw, const char *key);
/* Its parts: until our proof is due; that; the answer. */
void raw_say_hello(Raw *raw, const char *key);
void raw_prove(Raw *raw, const char *key);
ApusAnswer raw_answer(Raw *raw);
/* Likewise, of who was called by @from. */
void raw_welcome(Raw *raw);

/* The frame of a message with @records, which may be NULL. */
GByteArray *raw_frame(Raw *raw, const GByteArray *records);

#endif
