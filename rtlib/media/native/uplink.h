/*
 * What waits for Python: packets that nobody has decided about, and addresses that cannot be reached.
 *
 * There are two boxes. The media thread fills one with the engine's lock held; Python swaps them with the lock
 * held and empties the other one without it, so that the making of Python objects never delays media.
 */
#ifndef RTLIB_MEDIA_UPLINK_H
#define RTLIB_MEDIA_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "classify.h"
#include "endpoint.h"

enum {
    UPLINK_PACKETS = 512,
    UPLINK_PACKETS_PER_PORT = 256, /* forwarder.UNMATCHED_PER_DRAIN */
    UPLINK_FAILURES = 64,
};

struct up_packet {
    int64_t port;
    struct endpoint from;
    size_t size;
    uint8_t data[MAX_PACKET];
};

struct up_failure {
    int64_t port;
    struct endpoint to;
    int number; /* errno */
};

struct box {
    size_t packet_count, failure_count;
    struct up_failure failures[UPLINK_FAILURES];
    struct up_packet packets[UPLINK_PACKETS];
};

/* A port's share of the box that is being filled. */
struct up_share {
    uint64_t round;
    size_t count;
};

struct uplink {
    struct box *filling, *emptying;
    uint64_t round; /* counts the swaps, so that every port's share begins anew with each */
};

bool uplink_make(struct uplink *uplink);
void uplink_free(struct uplink *uplink);
bool uplink_is_empty(const struct uplink *uplink);

/* Add a packet; false if there is no room for this port. */
bool uplink_packet(struct uplink *uplink, struct up_share *share, int64_t port, const struct endpoint *from,
                   const uint8_t *data, size_t size);
/* Add a failure unless the same address waits already; what does not fit is dropped, there will be more of it. */
void uplink_failure(struct uplink *uplink, const struct up_failure *failure);
/* Give what is there; it stays valid until the next swap. */
const struct box *uplink_swap(struct uplink *uplink);

#endif
