/* The use of the backlog: packets wait until epoll says that the socket takes more. */
#include <errno.h>
#include <sys/epoll.h>

#include "state.h"

/* Sent with the lock held, which is rare and therefore simple; so few of them take less than 0.1 ms. */
enum { FLUSHED_AT_ONCE = 16 };

static void watch(const struct engine *engine, const struct port *port, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)port->handle};
    /* Changing what is watched allocates nothing, and the descriptor is open: it cannot fail. */
    (void)epoll_ctl(engine->epoll, EPOLL_CTL_MOD, port->descriptor, &event);
}

void queue_packet(struct engine *engine, struct port *port, const struct endpoint *to, const uint8_t *data, size_t size)
{
    bool first = port->queue.count == 0;
    if (!backlog_put(&engine->backlog, &port->queue, to, data, size))
        port->counters.send_errors++;
    else if (first)
        watch(engine, port, EPOLLIN | EPOLLOUT);
}

/* Whether the packet is dealt with, sent or not; false: the socket is still full. */
static bool flush_one(struct port *port, const struct waiting *packet)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (sendto(port->descriptor, packet->data, packet->size, MSG_DONTWAIT, &packet->to.address.any,
                   packet->to.size) >= 0) {
            port->counters.sent++;
            port->counters.sent_bytes += packet->size;
            return true;
        }
        if (errno == EAGAIN)
            return false;
    }
    port->counters.send_errors++;
    return true;
}

void queue_flush(struct engine *engine, struct port *port)
{
    for (int i = 0; i < FLUSHED_AT_ONCE; i++) {
        const struct waiting *packet = backlog_peek(&engine->backlog, &port->queue);
        if (packet == NULL || !flush_one(port, packet))
            break;
        backlog_drop(&engine->backlog, &port->queue);
    }
    if (port->queue.count == 0)
        watch(engine, port, EPOLLIN);
}

void queue_clear(struct engine *engine, struct port *port)
{
    while (port->queue.count > 0)
        backlog_drop(&engine->backlog, &port->queue);
}
