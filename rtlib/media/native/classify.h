/* What a packet is, by its first bytes: RTP, RTCP (RFC 3550, RFC 5761), relay packets (docs/crs-protocol.md). */
#ifndef RTLIB_MEDIA_CLASSIFY_H
#define RTLIB_MEDIA_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_PACKET = 1500,
    RTP_HEADER = 12,
    RTCP_HEADER = 8,
    RELAY_HEADER = 8,
    OPAQUE = 0x10, /* first byte of opaque relay data */
};

enum verdict {
    VERDICT_FLOW, /* belongs to the flow of the key */
    VERDICT_UP,   /* Python decides */
    VERDICT_TOO_SHORT,
    VERDICT_TOO_LONG,
};

/* Judge the packet of a port. `relay`: the port serves many flows, found by identifier; else it has one, with key 0. */
enum verdict classify(bool relay, const uint8_t *data, size_t size, uint32_t *key);

#endif
