/*
 * The packet forwarder without Python: ports, flows, and a thread that moves packets between them.
 *
 * The functions below are the control side. They are called by one thread at a time (in Python the GIL sees to
 * that) and wait for the media thread for microseconds only; engine_close() for at most one batch and
 * engine_stop() for at most one batch and one pause. The thread starts with the first engine_open(), so that a
 * daemon may fork before. Functions that can fail give a negative errno.
 */
#ifndef RTLIB_MEDIA_ENGINE_H
#define RTLIB_MEDIA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "table.h"
#include "uplink.h"

enum {
    BATCH = 64,        /* packets received between two looks at the table */
    MAX_TARGETS = 256, /* of a flow or an audience, and packets sent between two looks at the table */
};

struct engine;

/* The fields mean what rtlib.media.forwarder.PortCounters says. */
struct port_counters {
    uint64_t received, received_bytes, sent, sent_bytes;
    uint64_t too_short, too_long, no_destination, send_errors, unmatched, unmatched_dropped;
};

/* A copy of a flow, without the targets of its audience. */
struct flow_view {
    struct endpoint source;
    struct flow_counters counters;
    size_t target_count;
    struct target targets[MAX_TARGETS];
};

/* An audience without targets, held by the caller; NULL without memory. It outlives the engine if it is held. */
struct audience *engine_make_audience(struct engine *engine);
void engine_drop_audience(struct audience *audience);
/* -EINVAL for more than MAX_TARGETS targets and for an audience of another engine. */
int engine_set_audience(struct engine *engine, struct audience *audience, const struct target *targets, size_t count);

/* How often the control side found the lock taken, and the longest time in ns that it then waited. */
struct contention {
    uint64_t times, longest;
};

/* `pause`: ns to wait between two drains under load. */
int engine_new(struct engine **engine, uint64_t pause);
/* Stops the engine too. */
void engine_free(struct engine *engine);

/* A descriptor that is readable when engine_take() has something to give. */
int engine_fileno(const struct engine *engine);
/* Packets and failures for Python, valid until the next call. */
const struct box *engine_take(struct engine *engine);

/* Take over a bound UDP socket; give its handle, a positive number. After a failure it is still the caller's. */
int64_t engine_open(struct engine *engine, int descriptor, bool relay);
int engine_close(struct engine *engine, int64_t port);
/* Close all ports and end the thread. engine_open() starts it again. */
void engine_stop(struct engine *engine);

/*
 * `source` of size 0: packets go up until there is one. The flow keeps its counters when it is changed.
 * -EINVAL for more than MAX_TARGETS targets, and for a key other than 0 on a port that is no relay.
 */
int engine_set_flow(struct engine *engine, int64_t port, uint32_t key, const struct endpoint *source,
                    const struct target *targets, size_t target_count);
/* The same with the targets of an audience of this engine; -EINVAL for one of another. */
int engine_set_speaker(struct engine *engine, int64_t port, uint32_t key, const struct endpoint *source,
                       struct audience *audience);
int engine_remove_flow(struct engine *engine, int64_t port, uint32_t key);
int engine_flow(struct engine *engine, int64_t port, uint32_t key, struct flow_view *view);
int engine_port_counters(struct engine *engine, int64_t port, struct port_counters *counters);
/* Send one packet now, or queue it behind others that wait. Only -ENOENT is a failure: the rest is counted. */
int engine_send(struct engine *engine, int64_t port, const uint8_t *data, size_t size, const struct endpoint *to);

struct contention engine_contention(const struct engine *engine);

#endif
