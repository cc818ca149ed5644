/* What happens to a packet that has arrived: forwarded by its flow, handed up, or dropped and counted. */
#define _GNU_SOURCE
#include "batch.h"

static void go_up(struct engine *engine, struct port *port, size_t i)
{
    const struct arrivals *arrivals = &engine->batch->arrivals;
    bool first = uplink_is_empty(&engine->uplink);
    port->counters.unmatched++;
    if (uplink_packet(&engine->uplink, &port->share, port->handle, &arrivals->from[i], arrivals->data[i],
                      arrivals->headers[i].msg_len))
        engine->uplink_untold |= first;
    else
        port->counters.unmatched_dropped++;
}

static size_t group_of(struct departures *departures, struct port *port)
{
    if (port->group_round != departures->round) {
        port->group_round = departures->round;
        port->group = departures->group_count++;
        departures->groups[port->group] = (struct group){
            .port = port->handle,
            .descriptor = port->descriptor,
            .behind_others = port->queue.count > 0,
        };
    }
    return port->group;
}

/* False if the target's port is not open. */
static bool depart_to(struct engine *engine, struct flow *flow, const struct target *target, size_t i)
{
    struct departures *departures = &engine->batch->departures;
    const struct arrivals *arrivals = &engine->batch->arrivals;
    size_t size = arrivals->headers[i].msg_len;
    struct port *port = find_port(engine, target->port);
    if (port == NULL)
        return false;
    flow->counters.tx++;
    flow->counters.tx_bytes += size;
    if (target->address.size != port->name_size) {
        port->counters.send_errors++; /* the other family */
        return true;
    }
    departures->all[departures->count++] = (struct departure){
        .data = arrivals->data[i],
        .size = size,
        .group = group_of(departures, port),
        .to = target->address,
    };
    return true;
}

/* False if none of the flow's targets has an open port. */
static bool depart(struct engine *engine, struct flow *flow, size_t i)
{
    const struct audience *audience = flow->audience;
    bool any = false;
    for (size_t t = 0; t < flow->target_count; t++)
        any |= depart_to(engine, flow, &flow->targets[t], i);
    for (size_t t = 0; audience != NULL && t < audience->target_count; t++)
        if (!endpoint_equal(&audience->targets[t].address, &flow->source))
            any |= depart_to(engine, flow, &audience->targets[t], i);
    return any;
}

static size_t most_copies(const struct flow *flow)
{
    return flow->audience == NULL ? flow->target_count : flow->audience->target_count;
}

static void forward(struct engine *engine, struct port *port, struct flow *flow, size_t i, uint64_t now)
{
    const struct arrivals *arrivals = &engine->batch->arrivals;
    if (flow->source.size != 0 && !endpoint_equal(&flow->source, &arrivals->from[i]))
        flow->counters.wrong_source++;
    if (!endpoint_equal(&flow->source, &arrivals->from[i])) {
        go_up(engine, port, i);
        return;
    }
    flow->counters.rx++;
    flow->counters.rx_bytes += arrivals->headers[i].msg_len;
    flow->counters.last_active = now;
    if (!depart(engine, flow, i))
        port->counters.no_destination++;
}

/* False if the packet's copies do not fit the departures any more: then nothing is done yet. */
static bool handle(struct engine *engine, struct port *port, size_t i, uint64_t now)
{
    const struct arrivals *arrivals = &engine->batch->arrivals;
    size_t size = arrivals->headers[i].msg_len;
    uint32_t key = 0;
    enum verdict verdict = classify(port->relay, arrivals->data[i], size, &key);
    struct flow *flow = NULL;
    if (verdict == VERDICT_FLOW)
        flow = table_find(&engine->flows, table_key(port_index(port->handle), key));
    if (flow != NULL && most_copies(flow) > MAX_TARGETS - engine->batch->departures.count)
        return false;
    port->counters.received++;
    port->counters.received_bytes += size;
    if (verdict == VERDICT_TOO_SHORT)
        port->counters.too_short++;
    else if (verdict == VERDICT_TOO_LONG)
        port->counters.too_long++;
    else if (flow == NULL)
        go_up(engine, port, i);
    else
        forward(engine, port, flow, i, now);
    return true;
}

size_t look_up(struct engine *engine, size_t next, uint64_t now)
{
    const struct arrivals *arrivals = &engine->batch->arrivals;
    struct departures *departures = &engine->batch->departures;
    departures->round++;
    departures->count = departures->group_count = 0;
    for (; next < arrivals->count; next++) {
        struct port *port = find_port(engine, arrivals->ports[next]);
        if (port != NULL && !handle(engine, port, next, now))
            break;
    }
    return next;
}
