/* MQTT 3.1.1. A part of load.c. */

static void packet(struct client *client, uint8_t type, const uint8_t *body, int size) {
    uint8_t bytes[600], *to = bytes;
    int left = size;
    *to++ = type;
    do {
        *to++ = (left & 127) | (left > 127 ? 128 : 0);
        left >>= 7;
    } while (left);
    memcpy(to, body, size);
    put(client, bytes, to + size - bytes);
}

static int quality(void) { return *mode == 's' ? 1 : 0; }

static void mqtt_connect(struct client *client) {
    uint8_t body[32] = "\0\4MQTT\4\2\0\0\0\6";
    name_of(client->number, (char *)body + 12);
    if (quality()) body[7] = 0;
    packet(client, 0x10, body, 18);
}

static void subscribe(struct client *client) {
    uint8_t body[16] = "\0\1\0\6";
    name_of(client->number, (char *)body + 4);
    body[10] = quality();
    packet(client, 0x82, body, 11);
}

static void publish(int pair) {
    struct client *client = clients + 2 * pair;
    uint8_t body[PAYLOAD + 16] = "\0\6", *to = body + 8;
    bool answered = *mode == 's' || !strcmp(mode, "reply");
    name_of(2 * pair + 1, (char *)body + 2);
    if (answered) {
        client->serial = client->serial % 65535 + 1;
        *to++ = client->serial >> 8, *to++ = client->serial;
    }
    memset(to, 'x', PAYLOAD);
    since[pair] = now();
    packet(client, answered ? 0x32 : 0x30, body, to + PAYLOAD - body);
}

static void mqtt_message(struct client *client, uint8_t type, const uint8_t *body) {
    int pair = client->number / 2;
    if (type >> 4 == 2) {
        if (passing && *mode == 'o') opened(client);
        else subscribe(client);
    } else if (type >> 4 == 9) opened(client);
    else if (type >> 4 == 3) {
        if (type & 6) packet(client, 0x40, body + 2 + (body[0] << 8 | body[1]), 2);
        arrived(pair);
        finished(pair);
    }
}

static int packets(struct client *client) {
    int used = 0;
    while (client->state >= ATTACH) {
        const uint8_t *at = client->data + used;
        int left = client->length - used, head = 1, size = 0;
        do {
            if (head >= left) return used;
            size |= (at[head] & 127) << 7 * (head - 1);
        } while (at[head++] & 128);
        if (left < head + size) break;
        used += head + size;
        mqtt_message(client, at[0], at + head);
    }
    return used;
}
