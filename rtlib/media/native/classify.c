#include "classify.h"

static uint32_t number_at(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* Packet types 192 to 223 are RTCP (RFC 5761 section 4). */
static bool is_rtcp(const uint8_t *data, size_t size)
{
    return size > 1 && data[1] >= 192 && data[1] <= 223;
}

enum verdict classify(bool relay, const uint8_t *data, size_t size, uint32_t *key)
{
    *key = 0;
    if (size > MAX_PACKET)
        return VERDICT_TOO_LONG;
    bool rtp = size > 0 && (data[0] & 0xc0) == 0x80;
    bool rtcp = rtp && is_rtcp(data, size);
    size_t header = !rtp ? RELAY_HEADER : rtcp ? RTCP_HEADER : RTP_HEADER;
    if (size < header)
        return VERDICT_TOO_SHORT;
    if (!relay)
        return VERDICT_FLOW;
    if (!rtp && data[0] != OPAQUE)
        return VERDICT_UP;
    *key = number_at(data + (rtp && !rtcp ? 8 : 4));
    return VERDICT_FLOW;
}
