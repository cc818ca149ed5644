/* Flows, counters and packets of Python's own: what it does on ports that are open. */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

void control_lock(struct engine *engine)
{
    if (pthread_mutex_trylock(&engine->lock) == 0)
        return;
    uint64_t asked = monotonic();
    pthread_mutex_lock(&engine->lock);
    uint64_t waited = monotonic() - asked;
    engine->contention.times++;
    if (waited > engine->contention.longest)
        engine->contention.longest = waited;
}

struct contention engine_contention(const struct engine *engine)
{
    return engine->contention;
}

int engine_fileno(const struct engine *engine)
{
    return engine->up;
}

const struct box *engine_take(struct engine *engine)
{
    eventfd_t value;
    /* Read before the swap: what comes between the two is swapped already, and at worst wakes Python for nothing. */
    (void)eventfd_read(engine->up, &value);
    control_lock(engine);
    const struct box *box = uplink_swap(&engine->uplink);
    pthread_mutex_unlock(&engine->lock);
    return box;
}

/* The media thread only reads the table, and Python is the only one to change it: it is copied without the lock. */
static bool make_room_for_flow(struct engine *engine)
{
    struct table larger;
    if (!table_is_full(&engine->flows))
        return true;
    if (!table_grow(&engine->flows, &larger))
        return false;
    control_lock(engine);
    struct table smaller = engine->flows;
    engine->flows = larger;
    pthread_mutex_unlock(&engine->lock);
    table_free(&smaller);
    return true;
}

static struct flow *flow_make(uint64_t key, const struct endpoint *source, const struct target *targets, size_t count)
{
    struct flow *flow = calloc(1, sizeof *flow + count * sizeof *targets);
    if (flow == NULL)
        return NULL;
    flow->key = key;
    flow->source = *source;
    flow->target_count = count;
    if (count > 0)
        memcpy(flow->targets, targets, count * sizeof *targets);
    return flow;
}

static void flow_free(struct flow *flow)
{
    if (flow != NULL && flow->audience != NULL)
        engine_drop_audience(flow->audience);
    free(flow);
}

static void link_flow(struct port *port, struct flow *flow)
{
    flow->previous = NULL;
    flow->next = port->flows;
    if (port->flows != NULL)
        port->flows->previous = flow;
    port->flows = flow;
}

static void unlink_flow(struct port *port, const struct flow *flow)
{
    if (flow->previous != NULL)
        flow->previous->next = flow->next;
    else
        port->flows = flow->next;
    if (flow->next != NULL)
        flow->next->previous = flow->previous;
}

static void remove_flow(struct engine *engine, struct port *port, uint64_t key)
{
    control_lock(engine);
    struct flow *flow = table_remove(&engine->flows, key);
    pthread_mutex_unlock(&engine->lock);
    if (flow == NULL)
        return;
    unlink_flow(port, flow);
    flow_free(flow);
}

void control_forget_flows(struct engine *engine, struct port *port)
{
    /* One at a time, so that the media thread never waits for all of them. */
    while (port->flows != NULL)
        remove_flow(engine, port, port->flows->key);
}

/* Put a flow that was made for this port, NULL for no memory, in the place of the one with its key. */
static int put_flow(struct engine *engine, struct port *port, struct flow *flow)
{
    if (flow == NULL || !make_room_for_flow(engine)) {
        flow_free(flow);
        return -ENOMEM;
    }
    struct flow *before = table_find(&engine->flows, flow->key);
    if (before != NULL)
        unlink_flow(port, before);
    link_flow(port, flow);
    control_lock(engine);
    if (before != NULL)
        flow->counters = before->counters;
    table_put(&engine->flows, flow);
    pthread_mutex_unlock(&engine->lock);
    flow_free(before);
    return 0;
}

int engine_set_flow(struct engine *engine, int64_t handle, uint32_t key, const struct endpoint *source,
                    const struct target *targets, size_t target_count)
{
    struct port *port = find_port(engine, handle);
    if (port == NULL)
        return -ENOENT;
    if (target_count > MAX_TARGETS || (!port->relay && key != 0))
        return -EINVAL;
    return put_flow(engine, port, flow_make(table_key(port_index(handle), key), source, targets, target_count));
}

int engine_set_speaker(struct engine *engine, int64_t handle, uint32_t key, const struct endpoint *source,
                       struct audience *audience)
{
    struct port *port = find_port(engine, handle);
    if (port == NULL)
        return -ENOENT;
    if (audience->engine != engine || (!port->relay && key != 0))
        return -EINVAL;
    struct flow *flow = flow_make(table_key(port_index(handle), key), source, NULL, 0);
    if (flow != NULL) {
        flow->audience = audience;
        audience->holders++;
    }
    return put_flow(engine, port, flow);
}

struct audience *engine_make_audience(struct engine *engine)
{
    struct audience *audience = calloc(1, sizeof *audience);
    if (audience != NULL)
        *audience = (struct audience){.engine = engine, .holders = 1};
    return audience;
}

void engine_drop_audience(struct audience *audience)
{
    /* No flow that the media thread can find holds it any more, if this was the last one. */
    if (--audience->holders > 0)
        return;
    free(audience->targets);
    free(audience);
}

int engine_set_audience(struct engine *engine, struct audience *audience, const struct target *targets, size_t count)
{
    if (audience->engine != engine || count > MAX_TARGETS)
        return -EINVAL;
    struct target *after = calloc(count > 0 ? count : 1, sizeof *targets);
    if (after == NULL)
        return -ENOMEM;
    if (count > 0)
        memcpy(after, targets, count * sizeof *targets);
    control_lock(engine);
    struct target *before = audience->targets;
    audience->targets = after;
    audience->target_count = count;
    pthread_mutex_unlock(&engine->lock);
    free(before);
    return 0;
}

int engine_remove_flow(struct engine *engine, int64_t handle, uint32_t key)
{
    struct port *port = find_port(engine, handle);
    if (port == NULL)
        return -ENOENT;
    remove_flow(engine, port, table_key(port_index(handle), key));
    return 0;
}

int engine_flow(struct engine *engine, int64_t handle, uint32_t key, struct flow_view *view)
{
    if (find_port(engine, handle) == NULL)
        return -ENOENT;
    const struct flow *flow = table_find(&engine->flows, table_key(port_index(handle), key));
    if (flow == NULL)
        return -ENOENT;
    view->source = flow->source;
    view->target_count = flow->target_count;
    memcpy(view->targets, flow->targets, flow->target_count * sizeof *flow->targets);
    control_lock(engine);
    view->counters = flow->counters;
    pthread_mutex_unlock(&engine->lock);
    return 0;
}

int engine_port_counters(struct engine *engine, int64_t handle, struct port_counters *counters)
{
    const struct port *port = find_port(engine, handle);
    if (port == NULL)
        return -ENOENT;
    control_lock(engine);
    *counters = port->counters;
    pthread_mutex_unlock(&engine->lock);
    return 0;
}

/* Only Python closes descriptors, so that it may use one without the lock. */
static int send_now(const struct port *port, const uint8_t *data, size_t size, const struct endpoint *to)
{
    int number = 0;
    for (int tries = 0; tries < TRIES; tries++) {
        if (sendto(port->descriptor, data, size, MSG_DONTWAIT, &to->address.any, to->size) >= 0)
            return 0;
        number = errno;
        if (number == EAGAIN)
            break;
    }
    return number;
}

int engine_send(struct engine *engine, int64_t handle, const uint8_t *data, size_t size, const struct endpoint *to)
{
    struct port *port = find_port(engine, handle);
    if (port == NULL)
        return -ENOENT;
    control_lock(engine);
    bool behind_others = port->queue.count > 0;
    pthread_mutex_unlock(&engine->lock);
    int number = EAGAIN;
    if (size > MAX_PACKET)
        number = EMSGSIZE;
    else if (to->size != port->name_size)
        number = EAFNOSUPPORT;
    else if (!behind_others)
        number = send_now(port, data, size, to);
    control_lock(engine);
    if (number == 0) {
        port->counters.sent++;
        port->counters.sent_bytes += size;
    } else if (number == EAGAIN) {
        queue_packet(engine, port, to, data, size);
    } else {
        port->counters.send_errors++;
    }
    pthread_mutex_unlock(&engine->lock);
    return 0;
}
