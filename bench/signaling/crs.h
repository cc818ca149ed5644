/* crs.v1: MessagePack in masked WebSocket frames. A part of load.c. */

struct message {
    uint8_t bytes[512];
    int size;
};

static void byte(struct message *message, uint8_t value) { message->bytes[message->size++] = value; }

static void text(struct message *message, const char *value) {
    size_t size = strlen(value);
    byte(message, 0xa0 | size);
    memcpy(message->bytes + message->size, value, size);
    message->size += size;
}

static void entry(struct message *message, const char *name, const char *value) {
    text(message, name);
    text(message, value);
}

static void number(struct message *message, const char *name, unsigned value) {
    text(message, name);
    byte(message, 0xce);
    for (int shift = 24; shift >= 0; shift -= 8) byte(message, value >> shift);
}

static void payload(struct message *message) {
    text(message, "payload");
    byte(message, 0xc4);
    byte(message, PAYLOAD);
    memset(message->bytes + message->size, 'x', PAYLOAD);
    message->size += PAYLOAD;
}

static struct message request(struct client *client, const char *type, int entries) {
    struct message message = {.size = 0};
    byte(&message, 0x80 | (entries + 2));
    entry(&message, "type", type);
    number(&message, "id", ++client->serial);
    return message;
}

static void frame(struct client *client, struct message *message) {
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t bytes[600], *to = bytes;
    int size = message->size;
    *to++ = 0x82;
    if (size < 126) *to++ = 0x80 | size;
    else *to++ = 0x80 | 126, *to++ = size >> 8, *to++ = size;
    memcpy(to, mask, 4);
    to += 4;
    for (int i = 0; i < size; i++) *to++ = message->bytes[i] ^ mask[i & 3];
    put(client, bytes, to - bytes);
}

static void label_of(int pair, char *label) { sprintf(label, "%d-%u", pair, labels[pair]); }

static void change(int pair, bool odd) {
    struct client *client = clients + 2 * pair + odd;
    struct message message = request(client, odd ? "refuse-change" : "change", odd ? 4 : 5);
    char label[32], name[16];
    label_of(pair, label);
    entry(&message, "session", label);
    name_of(2 * pair, name);
    entry(&message, "caller", name);
    snprintf(label, sizeof label, "%u", changes[pair]);
    entry(&message, "change", label);
    if (!odd) {
        text(&message, "remove");
        byte(&message, 0x91);
        byte(&message, 1);
    }
    payload(&message);
    since[pair] = now();
    frame(client, &message);
}

static void step(int pair, bool odd, const char *type) {
    struct client *client = clients + 2 * pair + odd;
    bool invite = *type == 'i', hangup = *type == 'h';
    struct message message = request(client, type, invite ? 4 : hangup ? 2 : 3);
    char label[32], name[16];
    label_of(pair, label);
    entry(&message, "session", label);
    name_of(2 * pair + invite, name);
    entry(&message, invite ? "to" : "caller", name);
    if (invite) {
        text(&message, "streams");
        byte(&message, *mode == 'r' ? 0x92 : 0x91);
        text(&message, "rtp");
        if (*mode == 'r') text(&message, "rtp");
    }
    if (!hangup) payload(&message);
    since[pair] = now();
    frame(client, &message);
}

static void confirm(int pair, bool odd, const char *label) {
    struct client *client = clients + 2 * pair + odd;
    struct message message = request(client, "ack", 4);
    char name[16];
    name_of(2 * pair + !odd, name);
    entry(&message, "kind", odd ? "content" : "ack");
    entry(&message, "message", label);
    entry(&message, "sender", name);
    entry(&message, "account", "demo");
    frame(client, &message);
}

static void post(int pair) {
    struct client *client = clients + 2 * pair;
    struct message message = request(client, "post", 3);
    char label[32], name[16];
    label_of(pair, label);
    name_of(2 * pair + 1, name);
    entry(&message, "message", label);
    entry(&message, "to", name);
    payload(&message);
    since[pair] = now();
    frame(client, &message);
}

static bool is(const uint8_t *data, int size, const char *type) {
    int wanted = strlen(type);
    return size > 7 + wanted && data[6] == (0xa0 | wanted) && !memcmp(data + 7, type, wanted);
}

/* What lies behind a name that is a short string; empty if there is none. */
static void value_of(const uint8_t *data, int size, const char *name, char *value) {
    const uint8_t *at = memmem(data, size, name, strlen(name));
    int length = at ? at[strlen(name)] & 31 : 0;
    memcpy(value, at + strlen(name) + 1, length);
    value[length] = 0;
}

static void crs_message(struct client *client, const uint8_t *data, int size) {
    int pair = client->number / 2;
    if (client->state == ATTACH) {
        if (is(data, size, "attached")) opened(client);
        else gone(client, "not attached");
        return;
    }
    if (++client->received % CONFIRM == 0) {
        struct message message = request(client, "seen", 1);
        number(&message, "count", client->received);
        frame(client, &message);
    }
    if (is(data, size, "error")) {
        if (lost++ < 5) fprintf(stderr, "load: %.*s\n", size, data);
        return;
    }
    /* What an earlier run has left, told again after the attach, is confirmed and does not count. */
    char label[32], current[32];
    bool odd = client->number & 1, deliver = is(data, size, "deliver");
    value_of(data, size, deliver ? "message" : "session", label);
    label_of(pair, current);
    bool told = !strcmp(label, current);
    if (deliver) {
        confirm(pair, odd, label);
        if (told && odd) arrived(pair);
        else if (told) finished(pair);
    } else if (!told) return;
    else if (is(data, size, "invited")) arrived(pair), step(pair, true, "ringing");
    else if (is(data, size, "rang")) arrived(pair), step(pair, true, "answer");
    else if (is(data, size, "change-offered")) arrived(pair), change(pair, true);
    else if (is(data, size, "change-refused")) arrived(pair), finished(pair);
    else if (is(data, size, "answered") && *mode == 'r') called++;
    else if (is(data, size, "answered")) arrived(pair), step(pair, false, "hangup");
    else if (is(data, size, "ended") && *mode == 'r') called--;
    else if (is(data, size, "ended")) arrived(pair), finished(pair);
}

static int frames(struct client *client) {
    int used = 0;
    while (client->state >= ATTACH) {
        const uint8_t *at = client->data + used;
        int left = client->length - used, head = 2;
        if (left < 2) break;
        int size = at[1] & 127;
        if (size == 126) {
            if (left < 4) break;
            size = at[2] << 8 | at[3];
            head = 4;
        }
        if (left < head + size) break;
        used += head + size;
        if ((at[0] & 15) == 8) gone(client, "closed by the server");
        else if ((at[0] & 15) == 2) crs_message(client, at + head, size);
    }
    return used;
}
