#include "backlog.h"

#include <stdlib.h>

bool backlog_make(struct backlog *backlog)
{
    *backlog = (struct backlog){.free_count = BACKLOG_PLACES};
    backlog->places = calloc(BACKLOG_PLACES, sizeof *backlog->places);
    if (backlog->places == NULL)
        return false;
    for (int i = 0; i < BACKLOG_PLACES; i++)
        backlog->places[i].next = i + 1 < BACKLOG_PLACES ? i + 1 : BACKLOG_END;
    return true;
}

void backlog_free(struct backlog *backlog)
{
    free(backlog->places);
    *backlog = (struct backlog){0};
}

bool backlog_put(struct backlog *backlog, struct queue *queue, const struct endpoint *to, const uint8_t *data,
                 size_t size)
{
    /* No queue may be longer than what is free, so that one socket that is stuck leaves room for the others. */
    if (size > MAX_PACKET || queue->count >= backlog->free_count)
        return false;
    int place = backlog->free;
    struct waiting *waiting = &backlog->places[place];
    backlog->free = waiting->next;
    backlog->free_count--;
    waiting->next = BACKLOG_END;
    waiting->to = *to;
    waiting->size = size;
    memcpy(waiting->data, data, size);
    if (queue->count++ == 0)
        queue->first = place;
    else
        backlog->places[queue->last].next = place;
    queue->last = place;
    return true;
}

const struct waiting *backlog_peek(const struct backlog *backlog, const struct queue *queue)
{
    return queue->count == 0 ? NULL : &backlog->places[queue->first];
}

void backlog_drop(struct backlog *backlog, struct queue *queue)
{
    int place = queue->first;
    queue->first = backlog->places[place].next;
    backlog->places[place].next = backlog->free;
    backlog->free = place;
    backlog->free_count++;
    if (--queue->count == 0)
        *queue = queue_make();
}
