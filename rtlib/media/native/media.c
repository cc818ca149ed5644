/* The media thread: it waits for packets, and moves them a batch at a time. */
#define _GNU_SOURCE
#include "batch.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

struct batch *batch_make(void)
{
    struct batch *batch = aligned_alloc(_Alignof(struct batch), sizeof *batch);
    if (batch == NULL)
        return NULL;
    memset(batch, 0, sizeof *batch);
    arrivals_prepare(&batch->arrivals);
    return batch;
}

void batch_free(struct batch *batch)
{
    free(batch);
}

/* Let go of the lock, and tell Python if there is something for it. */
static void unlock(struct engine *engine)
{
    bool tell = engine->uplink_untold;
    engine->uplink_untold = false;
    pthread_mutex_unlock(&engine->lock);
    if (tell)
        eventfd_write(engine->up, 1);
}

/* Take the lock after descriptors were used without it: engine_close() may go on. */
static void lock_after_use(struct engine *engine)
{
    struct failures *failures = &engine->batch->failures;
    pthread_mutex_lock(&engine->lock);
    engine->using_descriptors = false;
    engine->uses++;
    pthread_cond_signal(&engine->used);
    engine->uplink_untold |= failures->count > 0 && uplink_is_empty(&engine->uplink);
    for (size_t i = 0; i < failures->count; i++)
        if (find_port(engine, failures->all[i].port) != NULL)
            uplink_failure(&engine->uplink, &failures->all[i]);
    failures->count = 0;
}

/* Copy what is needed to read from the ports that are ready. */
static void choose(struct engine *engine, const struct epoll_event *events, size_t count)
{
    pthread_mutex_lock(&engine->lock);
    for (size_t i = 0; i < count; i++) {
        struct port *port = find_port(engine, (int64_t)events[i].data.u64);
        struct source *source = &engine->batch->sources[i];
        *source = (struct source){.descriptor = -1};
        if (port == NULL)
            continue;
        if (events[i].events & EPOLLOUT)
            queue_flush(engine, port);
        if (events[i].events & (EPOLLIN | EPOLLERR))
            *source = (struct source){port->handle, port->descriptor, events[i].events};
    }
    engine->using_descriptors = true;
    pthread_mutex_unlock(&engine->lock);
}

/* Move what has arrived. A flow with many targets may need more than one round. */
static void move(struct engine *engine)
{
    struct batch *batch = engine->batch;
    uint64_t now = monotonic();
    size_t next = 0;
    lock_after_use(engine);
    while (next < batch->arrivals.count) {
        next = look_up(engine, next, now);
        if (batch->departures.count == 0)
            continue;
        engine->using_descriptors = true;
        unlock(engine);
        transmit(batch);
        lock_after_use(engine);
        settle(engine);
    }
    unlock(engine);
}

/* Serve each port that is ready once; give whether more is likely to be waiting. */
static bool drain(struct engine *engine, const struct epoll_event *events, size_t count)
{
    bool more = false;
    for (size_t next = 0; next < count && !atomic_load(&engine->stopping);) {
        choose(engine, &events[next], count - next);
        next += receive(engine->batch, count - next);
        more |= engine->batch->arrivals.count == BATCH;
        move(engine);
    }
    return more;
}

void *media_thread(void *argument)
{
    struct engine *engine = argument;
    struct epoll_event events[BATCH];
    const struct timespec pause = {.tv_nsec = (long)engine->pause};
    while (!atomic_load(&engine->stopping)) {
        uint64_t asked = monotonic();
        int count = epoll_wait(engine->epoll, events, BATCH, -1);
        /* Packets that come this close together cost far less in batches; one that comes alone is not kept waiting. */
        bool loaded = monotonic() - asked < engine->pause;
        bool more = count > 0 && drain(engine, events, (size_t)count);
        if (loaded && !more)
            nanosleep(&pause, NULL);
    }
    return NULL;
}
