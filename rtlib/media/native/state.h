/*
 * What the control side and the media thread share, and who may touch it.
 *
 * One lock. The media thread holds it while it looks packets up and while it counts (microseconds), never during a
 * system call on a socket but for the rare flush of a backlog. Python holds it while it swaps a pointer or copies
 * counters. What the media thread uses without the lock: its own buffers, and descriptors copied from ports. A
 * descriptor stays open meanwhile since engine_close() first takes the port out of `ports`, then waits until
 * the media thread has left the section in which it uses descriptors (`using_descriptors`).
 */
#ifndef RTLIB_MEDIA_STATE_H
#define RTLIB_MEDIA_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "backlog.h"
#include "engine.h"

enum {
    /* A handle is a number never used again, above these bits, and in them the place in `ports`. */
    INDEX_BITS = 20,
    MAX_PORTS = 1 << INDEX_BITS,
    /*
     * A call that sends fails with the ICMP error of an earlier packet, if one has come in since the last call (ip(7),
     * IP_RECVERR); the next call may meet another one. A packet is to blame for what it fails with so often in a row.
     */
    TRIES = 8,
};

struct port {
    int64_t handle;
    int descriptor;
    socklen_t name_size; /* of the addresses of its family */
    bool relay;
    struct flow *flows; /* a list; the control side's */
    struct port_counters counters;
    struct queue queue;
    struct up_share share;
    /* The media thread's: place among the groups of the round of departures. */
    uint64_t group_round;
    size_t group;
};

struct batch;

struct engine {
    pthread_mutex_t lock;

    /* With the lock held by whoever changes it. Only the control side changes ports and flows. */
    struct port **ports;
    uint32_t port_room;
    struct table flows;
    struct uplink uplink;
    bool uplink_untold; /* there is something for Python, and `up` does not say so yet */
    struct backlog backlog;
    bool using_descriptors;
    uint64_t uses;       /* how often the media thread has left that section */
    pthread_cond_t used; /* it has */

    /* Set once, or while there is no media thread. */
    int epoll, up, wake;
    uint64_t pause;
    struct batch *batch; /* the media thread's */
    atomic_bool stopping;

    /* The control side's. */
    pthread_t thread;
    pid_t process; /* that has the thread, 0: it does not run */
    int64_t opened; /* ports so far */
    struct contention contention;
};

static inline uint32_t port_index(int64_t handle)
{
    return (uint32_t)handle & (MAX_PORTS - 1);
}

/* The port of a handle, NULL if it is not open. */
static inline struct port *find_port(const struct engine *engine, int64_t handle)
{
    uint32_t index = port_index(handle);
    struct port *port = handle > 0 && index < engine->port_room ? engine->ports[index] : NULL;
    return port != NULL && port->handle == handle ? port : NULL;
}

uint64_t monotonic(void);

/* media.c: the thread. */
struct batch *batch_make(void);
void batch_free(struct batch *batch);
void *media_thread(void *engine);

/* queueing.c: what a full socket did not take. With the lock held. */
void queue_packet(struct engine *engine, struct port *port, const struct endpoint *to, const uint8_t *data, size_t size);
void queue_flush(struct engine *engine, struct port *port);
void queue_clear(struct engine *engine, struct port *port);

#endif
