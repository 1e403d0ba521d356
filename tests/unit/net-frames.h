/*
 * Ethernet frames for tests, and what is in them
 *
 * Written without packet.h's help, so that both can be wrong only alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_NET_FRAMES_H
#define TESTS_NET_FRAMES_H

#include <glib.h>

#include "colo-net/core/hold.h"

enum {
    NET_FIN = 1,
    NET_SYN = 2,
    NET_RST = 4,
    NET_PSH = 8,
    NET_ACK = 16,
};

/* A TCP segment. All zero but what matters is a plain one over IPv4. */
typedef struct NetSegment {
    gboolean ipv6;
    gboolean to_guest; /* else from it */
    unsigned vlans; /* tags */
    unsigned vnet; /* size of the header; the checksum is partial */
    gboolean whole; /* ... is not */
    unsigned gso; /* with vnet */
    unsigned extension; /* IPv4: of options, IPv6: of extension headers */
    unsigned padding; /* behind the packet */

    uint8_t client; /* who the peer is */
    uint16_t guest_port; /* 0: 80 */
    uint16_t peer_port; /* 0: 4711 */
    uint32_t seq;
    uint32_t ack;
    uint8_t flags;
    uint16_t window; /* 0: 65535 */
    const uint8_t *options;
    size_t n_options; /* a multiple of 4 */
    const void *payload;
    size_t size;
} NetSegment;

HoldFrame *net_segment(const NetSegment *segment);

/* A UDP datagram from the guest, with this IP identification. */
HoldFrame *net_datagram(uint16_t id, const void *payload, size_t size);

/*
 * An ICMP error of @type about @about, a segment without tags and vnet header,
 * to the guest, or from it if the segment is to it. It quotes @quoted bytes of
 * the packet, or all there are.
 */
HoldFrame *net_error(const NetSegment *about, uint8_t type, size_t quoted);
gboolean net_error_sum_right(const HoldFrame *frame);
/* The segment that it quotes, and where that is. */
uint8_t *net_quoted(const HoldFrame *frame);

/* Whether the sums are right; @vnet: of the header. */
gboolean net_sums_right(const uint8_t *frame, size_t size, unsigned vnet);

/* Of a segment without tags or extensions over IPv4 */
uint32_t net_seq(const HoldFrame *frame);
uint32_t net_ack(const HoldFrame *frame);
uint8_t net_flags(const HoldFrame *frame);
uint16_t net_window(const HoldFrame *frame);
size_t net_payload(const HoldFrame *frame, const uint8_t **payload);

/* SYN options: MSS 1460, SACK permitted, timestamps, NOP, window scale 7 */
#define NET_SYN_OPTIONS 20
void net_syn_options(uint8_t options[NET_SYN_OPTIONS], uint32_t stamp,
                     uint32_t echo);
/* NOP, NOP, timestamps */
#define NET_STAMP_OPTIONS 12
void net_stamp_options(uint8_t options[NET_STAMP_OPTIONS], uint32_t stamp,
                       uint32_t echo);

#endif
