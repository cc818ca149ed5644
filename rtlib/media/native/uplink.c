#include "uplink.h"

#include <stdlib.h>

bool uplink_make(struct uplink *uplink)
{
    /* The kernel gives pages of these only as they are first used. */
    *uplink = (struct uplink){.filling = calloc(1, sizeof(struct box)), .emptying = calloc(1, sizeof(struct box))};
    uplink->round = 1;
    return uplink->filling != NULL && uplink->emptying != NULL;
}

void uplink_free(struct uplink *uplink)
{
    free(uplink->filling);
    free(uplink->emptying);
    *uplink = (struct uplink){0};
}

bool uplink_is_empty(const struct uplink *uplink)
{
    return uplink->filling->packet_count == 0 && uplink->filling->failure_count == 0;
}

/*
 * A port may hold no more places than are free: one flooded port leaves room for the others, two leave less, but
 * some always. Otherwise a flood against one call would keep every other call's first packets from being seen.
 */
static bool has_room(const struct uplink *uplink, const struct up_share *share)
{
    size_t left = UPLINK_PACKETS - uplink->filling->packet_count;
    return share->count < UPLINK_PACKETS_PER_PORT && share->count < left;
}

bool uplink_packet(struct uplink *uplink, struct up_share *share, int64_t port, const struct endpoint *from,
                   const uint8_t *data, size_t size)
{
    if (share->round != uplink->round)
        *share = (struct up_share){.round = uplink->round};
    if (size > MAX_PACKET || !has_room(uplink, share))
        return false;
    struct up_packet *packet = &uplink->filling->packets[uplink->filling->packet_count++];
    packet->port = port;
    packet->from = *from;
    packet->size = size;
    memcpy(packet->data, data, size);
    share->count++;
    return true;
}

void uplink_failure(struct uplink *uplink, const struct up_failure *failure)
{
    struct box *box = uplink->filling;
    for (size_t i = 0; i < box->failure_count; i++)
        if (box->failures[i].port == failure->port && endpoint_equal(&box->failures[i].to, &failure->to))
            return;
    if (box->failure_count < UPLINK_FAILURES)
        box->failures[box->failure_count++] = *failure;
}

const struct box *uplink_swap(struct uplink *uplink)
{
    struct box *full = uplink->filling;
    uplink->filling = uplink->emptying;
    uplink->emptying = full;
    uplink->filling->packet_count = uplink->filling->failure_count = 0;
    uplink->round++;
    return full;
}
