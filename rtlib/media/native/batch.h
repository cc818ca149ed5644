/*
 * The media thread's own buffers: packets that have arrived and packets that are to depart. Nothing is copied
 * between them, and nothing is allocated after batch_make().
 */
#ifndef RTLIB_MEDIA_BATCH_H
#define RTLIB_MEDIA_BATCH_H

/* The includer defines _GNU_SOURCE for struct mmsghdr. */
#include <sys/socket.h>

#include "state.h"

enum {
    READ_SIZE = MAX_PACKET + 1, /* one byte more shows that a packet was longer */
    PLACE_SIZE = 1536,          /* READ_SIZE in whole cache lines */
};

struct arrivals {
    size_t count;
    int64_t ports[BATCH];
    struct endpoint from[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr headers[BATCH];
    _Alignas(64) uint8_t data[BATCH][PLACE_SIZE];
};

struct departure {
    const uint8_t *data; /* in the arrivals */
    size_t size;
    size_t group;
    struct endpoint to;
};

/* The departures from one port: these are sent with one system call. */
struct group {
    int64_t port;
    int descriptor;
    bool behind_others; /* packets are queued: send none past them */
    size_t first, count; /* in `order` and `headers` */
    size_t done;        /* of them, sent or refused; the rest is to be queued */
    uint64_t sent, sent_bytes, refused;
};

struct departures {
    uint64_t round;
    size_t count, group_count;
    struct departure all[MAX_TARGETS];
    struct group groups[MAX_TARGETS];
    /* By group, and in each in the order of arrival. */
    const struct departure *order[MAX_TARGETS];
    struct iovec parts[MAX_TARGETS];
    struct mmsghdr headers[MAX_TARGETS];
};

struct failures {
    size_t count;
    struct up_failure all[UPLINK_FAILURES];
};

/* A port that is ready, copied so that it can be read without the lock. */
struct source {
    int64_t port;
    int descriptor; /* -1: nothing to read */
    uint32_t events;
};

struct batch {
    struct arrivals arrivals;
    struct departures departures;
    struct failures failures;
    struct source sources[BATCH];
};

/* receive.c, without the lock. */
void arrivals_prepare(struct arrivals *arrivals);
/* Give how many of the sources were read before the buffers were full. */
size_t receive(struct batch *batch, size_t source_count);
/* Read what ICMP has reported (ip(7), IP_RECVERR). */
void receive_failures(struct failures *failures, int64_t port, int descriptor);
void note_failure(struct failures *failures, int64_t port, const struct endpoint *to, int number);

/* lookup.c, with the lock held. Handle arrivals from `next` on; give where it stopped for lack of room to depart. */
size_t look_up(struct engine *engine, size_t next, uint64_t now);

/* transmit.c: the first without the lock; the second, with it held, counts and queues what the first left. */
void transmit(struct batch *batch);
void settle(struct engine *engine);

#endif
