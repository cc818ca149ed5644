/* The media thread's sending: one sendmmsg(2) for all packets that leave by the same socket. */
#define _GNU_SOURCE
#include <errno.h>

#include "batch.h"

/* Sort by group, keeping the order in each (counting sort), and lay out the headers. */
static void arrange(struct departures *departures)
{
    size_t next[MAX_TARGETS];
    for (size_t i = 0; i < departures->count; i++)
        departures->groups[departures->all[i].group].count++;
    for (size_t g = 0, first = 0; g < departures->group_count; first += departures->groups[g++].count)
        departures->groups[g].first = next[g] = first;
    for (size_t i = 0; i < departures->count; i++) {
        struct departure *departure = &departures->all[i];
        size_t place = next[departure->group]++;
        departures->order[place] = departure;
        /* sendmmsg does not write to the data; iovec has no const because readers share it. */
        departures->parts[place] = (struct iovec){.iov_base = (void *)departure->data, .iov_len = departure->size};
        departures->headers[place].msg_hdr = (struct msghdr){
            .msg_name = &departure->to.address,
            .msg_namelen = departure->to.size,
            .msg_iov = &departures->parts[place],
            .msg_iovlen = 1,
        };
    }
}

static void count_sent(const struct departures *departures, struct group *group, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group->sent_bytes += departures->order[group->first + group->done + i]->size;
    group->sent += count;
    group->done += count;
}

/* sendmmsg stops before the first packet that fails, and says why only when that is the first of all. */
static void send_group(struct departures *departures, struct failures *failures, struct group *group)
{
    unsigned tries = 0;
    while (group->done < group->count) {
        struct mmsghdr *headers = &departures->headers[group->first + group->done];
        int sent = sendmmsg(group->descriptor, headers, (unsigned)(group->count - group->done), MSG_DONTWAIT);
        if (sent > 0) {
            count_sent(departures, group, (size_t)sent);
            tries = 0;
        } else if (sent < 0 && errno == EAGAIN) {
            return;
        } else if (++tries == TRIES) {
            const struct departure *departure = departures->order[group->first + group->done];
            note_failure(failures, group->port, &departure->to, sent < 0 ? errno : EIO);
            group->refused++;
            group->done++;
            tries = 0;
        }
    }
}

void transmit(struct batch *batch)
{
    struct departures *departures = &batch->departures;
    arrange(departures);
    for (size_t g = 0; g < departures->group_count; g++)
        if (!departures->groups[g].behind_others)
            send_group(departures, &batch->failures, &departures->groups[g]);
}

void settle(struct engine *engine)
{
    const struct departures *departures = &engine->batch->departures;
    for (size_t g = 0; g < departures->group_count; g++) {
        const struct group *group = &departures->groups[g];
        struct port *port = find_port(engine, group->port);
        if (port == NULL)
            continue;
        port->counters.sent += group->sent;
        port->counters.sent_bytes += group->sent_bytes;
        port->counters.send_errors += group->refused;
        for (size_t i = group->done; i < group->count; i++) {
            const struct departure *departure = departures->order[group->first + i];
            queue_packet(engine, port, &departure->to, departure->data, departure->size);
        }
    }
}
