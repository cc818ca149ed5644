/*
 * Packets that a full socket did not take: one pool of places for all ports, first in, first out for each.
 *
 * Used with the engine's lock held.
 */
#ifndef RTLIB_MEDIA_BACKLOG_H
#define RTLIB_MEDIA_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "classify.h"
#include "endpoint.h"

enum { BACKLOG_PLACES = 512, BACKLOG_END = -1 };

struct waiting {
    int next; /* the one behind it, BACKLOG_END for none */
    struct endpoint to;
    size_t size;
    uint8_t data[MAX_PACKET];
};

struct backlog {
    struct waiting *places;
    int free; /* first of the free ones */
    size_t free_count;
};

/* A port's queue. */
struct queue {
    int first, last;
    size_t count;
};

bool backlog_make(struct backlog *backlog);
void backlog_free(struct backlog *backlog);

static inline struct queue queue_make(void)
{
    return (struct queue){.first = BACKLOG_END, .last = BACKLOG_END};
}

/* Add a copy of a packet; false if there is no room for this queue. */
bool backlog_put(struct backlog *backlog, struct queue *queue, const struct endpoint *to, const uint8_t *data,
                 size_t size);
/* The packet that is next, NULL for none. */
const struct waiting *backlog_peek(const struct backlog *backlog, const struct queue *queue);
/* Forget the packet that is next; there must be one. */
void backlog_drop(struct backlog *backlog, struct queue *queue);

#endif
