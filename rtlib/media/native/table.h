/*
 * The flows, found by port and key: open addressing with linear probing.
 *
 * Only the control side (Python) adds, replaces and removes, and does so with the engine's lock held; it may
 * therefore read without the lock. The media thread reads, and counts in the flows, with the lock held.
 */
#ifndef RTLIB_MEDIA_TABLE_H
#define RTLIB_MEDIA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"

struct target {
    int64_t port;
    struct endpoint address;
};

/*
 * Targets that flows share: each sends to all of them but its own source. The control side counts who holds it, and
 * changes `targets` with the engine's lock held, as the media thread reads them.
 */
struct audience {
    const void *engine; /* whose lock that is */
    size_t holders;
    size_t target_count;
    struct target *targets;
};

struct flow_counters {
    uint64_t rx, rx_bytes, tx, tx_bytes, wrong_source;
    uint64_t last_active; /* ns of CLOCK_MONOTONIC, 0: never */
};

struct flow {
    uint64_t key; /* table_key() */
    struct flow *next, *previous; /* the other flows of the port */
    struct endpoint source;
    struct flow_counters counters;
    struct audience *audience; /* NULL: it has targets of its own */
    size_t target_count;
    struct target targets[];
};

struct slot {
    uint64_t key;
    struct flow *flow; /* NULL: free */
};

struct table {
    struct slot *slots;
    size_t mask; /* number of slots - 1, the number being a power of two */
    size_t used;
    uint64_t seed; /* senders choose SSRCs: they must not choose slots */
};

static inline uint64_t table_key(uint32_t port_index, uint32_t key)
{
    return (uint64_t)port_index << 32 | key;
}

/* Make an empty table of `slots` (a power of two) slots; false without memory. */
bool table_make(struct table *table, size_t slots, uint64_t seed);
void table_free(struct table *table);

/* Whether one more flow would fill more than half of the slots. */
bool table_is_full(const struct table *table);
/* Make `larger` with twice the slots and the same flows; false without memory. */
bool table_grow(const struct table *table, struct table *larger);

struct flow *table_find(const struct table *table, uint64_t key);
/* Add a flow, or put it in the place of the one with its key. The table must not be full. */
void table_put(struct table *table, struct flow *flow);
/* Give the flow that had the key, NULL if none had. */
struct flow *table_remove(struct table *table, uint64_t key);

#endif
