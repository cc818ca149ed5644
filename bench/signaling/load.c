/* Clients of a rendezvous server, or of an MQTT broker, over TLS 1.3 with pre-shared keys.
 *
 * load crs|mqtt PORT SECRET COUNT MODE SECONDS RATE
 *
 * SECRET is the HKDF pseudo-random key, in hexadecimal, of which each client's key is made. COUNT clients
 * connect from 250 addresses, the even ones each to talk to the next odd one. Prints "ready NANOSECONDS",
 * waits for a line, does what MODE says, prints "BEGUN DONE LOST NANOSECONDS MEDIAN P99 MOST" (the last three
 * in nanoseconds), and stays connected until its standard input ends.
 *
 * open    connect, and close when the WebSocket is open, or CONNACK is there; 32 at a time
 * attach  the same, closing when attached, or subscribed
 * idle    nothing
 * relay   crs: within a call of each pair, a change is offered and refused, which are two messages told to the
 *         other party; mqtt: one PUBLISH, QoS 0
 * reply   mqtt: as relay, but PUBLISH has QoS 1 for its sender
 * call    crs: invite, ringing, answer, hangup, each told to the other party
 * store   crs: post, deliver, ack, and the same for the receipt; mqtt: PUBLISH with QoS 1 for both
 *
 * WINDOW pairs are busy at a time; with a RATE so many begin in a second. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64, CONNECTING = 32, ADDRESSES = 250, PAYLOAD = 200, BUFFER = 8192, SAMPLES = 1 << 22, CONFIRM = 64 };
enum state { CLOSED, TCP, TLS, UPGRADE, ATTACH, READY };

struct client {
    int fd, number;
    enum state state;
    SSL *ssl;
    uint8_t *data;
    int length;
    unsigned received, serial; /* of this attachment; of requests */
};

static const char *mode;
static bool mqtt, passing;
static int port, count, connecting, ready, poller;
static uint8_t secret[32];
static SSL_CTX *context;
static struct client *clients;
static int64_t *since, *samples; /* since: when the latest message of a pair was sent */
static unsigned *labels, *changes;
static int *idle, idle_first, idle_count; /* a ring of pairs */
static long begun, done, lost, sampled, called; /* called: the calls of mode relay */

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static unsigned give_key(SSL *ssl, const char *hint, char *identity, unsigned identity_room, unsigned char *key,
                         unsigned room) {
    struct client *client = SSL_get_app_data(ssl);
    char info[16];
    unsigned size;
    (void)hint;
    (void)room;
    snprintf(info, sizeof info, "c%05d\1", client->number);
    snprintf(identity, identity_room, "c%05d@demo", client->number);
    HMAC(EVP_sha256(), secret, 32, (unsigned char *)info, strlen(info), key, &size);
    return size;
}

static void drop(struct client *client) {
    if (client->state == CLOSED) return;
    if (client->state != READY) connecting--;
    client->state = CLOSED;
    SSL_free(client->ssl);
    client->ssl = NULL;
    close(client->fd);
    free(client->data);
    client->data = NULL;
}

static void gone(struct client *client, const char *why) {
    if (lost++ < 5) fprintf(stderr, "load: client %d: %s in state %d\n", client->number, why, client->state);
    drop(client);
}

static void put(struct client *client, const uint8_t *data, int size) {
    if (client->state != CLOSED && SSL_write(client->ssl, data, size) != size) gone(client, "cannot send");
}

static void name_of(int number, char *name) { sprintf(name, "c%05d", number); }

static void arrived(int pair) {
    int64_t time = now() - since[pair];
    if (sampled < SAMPLES) samples[sampled++] = time;
}

static void finished(int pair) {
    done++;
    idle[(idle_first + idle_count++) % (count / 2)] = pair;
}

static void opened(struct client *client) {
    connecting--;
    ready++;
    client->state = READY;
    if (passing) {
        done++;
        drop(client);
    }
}

#include "crs.h"
#include "mqtt.h"

static void start(int number) {
    struct client *client = clients + number;
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    struct linger abort = {1, 0};
    int yes = 1;
    *client = (struct client){.number = number, .state = TCP};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) fail("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (passing) setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    address.sin_addr.s_addr = htonl(0x7f010001 + number % ADDRESSES);
    if (bind(client->fd, (void *)&address, sizeof address)) fail("bind");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    connecting++;
    begun++;
    if (connect(client->fd, (void *)&address, sizeof address) && errno != EINPROGRESS) fail("connect");
    epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
}

static void attach(struct client *client) {
    if (passing && *mode == 'o') {
        opened(client);
        return;
    }
    struct message message = request(client, "attach", 2);
    client->state = ATTACH;
    entry(&message, "version", "load/1.0");
    text(&message, "resumable");
    byte(&message, passing ? 0xc2 : 0xc3);
    frame(client, &message);
}

static void upgrade(struct client *client) {
    static const char http[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Protocol: crs.v1\r\n\r\n";
    client->state = mqtt ? ATTACH : UPGRADE;
    if (mqtt) mqtt_connect(client);
    else put(client, (const uint8_t *)http, sizeof http - 1);
}

static void parse(struct client *client) {
    int used = 0;
    if (client->state == UPGRADE) {
        uint8_t *end = memmem(client->data, client->length, "\r\n\r\n", 4);
        if (!end) return;
        if (memcmp(client->data, "HTTP/1.1 101", 12)) {
            gone(client, "no WebSocket");
            return;
        }
        used = end + 4 - client->data;
        attach(client);
    } else used = mqtt ? packets(client) : frames(client);
    if (client->state == CLOSED) return;
    memmove(client->data, client->data + used, client->length - used);
    client->length -= used;
}

static void handshake(struct client *client, uint32_t events) {
    if (client->state == TCP) {
        if (!(events & EPOLLOUT)) return;
        client->ssl = SSL_new(context);
        SSL_set_app_data(client->ssl, client);
        SSL_set_fd(client->ssl, client->fd);
        SSL_set_connect_state(client->ssl);
        client->state = TLS;
    }
    int result = SSL_do_handshake(client->ssl);
    if (result == 1) {
        upgrade(client);
        return;
    }
    int error = SSL_get_error(client->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) gone(client, "no TLS");
}

static void serve(struct client *client, uint32_t events) {
    if (client->state == CLOSED) return;
    if (client->state <= TLS) handshake(client, events);
    while (client->state > TLS) {
        if (!client->data) client->data = malloc(BUFFER);
        int size = SSL_read(client->ssl, client->data + client->length, BUFFER - client->length);
        if (size <= 0) {
            if (SSL_get_error(client->ssl, size) != SSL_ERROR_WANT_READ) gone(client, "cut off");
            break;
        }
        client->length += size;
        parse(client);
    }
    if (client->state != CLOSED && client->data && !client->length && *mode == 'i') {
        free(client->data);
        client->data = NULL;
    }
}

static void turn(int milliseconds) {
    static struct epoll_event events[256];
    int some = epoll_wait(poller, events, 256, milliseconds);
    for (int i = 0; i < some; i++) serve(events[i].data.ptr, events[i].events);
}

static void begin(void) {
    int pair = idle[idle_first];
    idle_first = (idle_first + 1) % (count / 2);
    idle_count--;
    begun++;
    if (!mqtt && *mode == 'r') {
        changes[pair]++;
        change(pair, false);
        return;
    }
    labels[pair]++;
    if (mqtt) publish(pair);
    else if (*mode == 's') post(pair);
    else step(pair, false, "invite");
}

/* All calls of mode relay begin, or end. */
static void in_calls(bool begins) {
    int64_t until = now() + 20000000000LL;
    if (mqtt || *mode != 'r') return;
    for (int pair = 0; pair < count / 2; pair++) {
        labels[pair] += begins;
        step(pair, false, begins ? "invite" : "hangup");
        turn(0);
    }
    while (called != (begins ? count / 2 : 0) && now() < until) turn(10);
    if (begins && called != count / 2) fail("not all calls were answered");
    sampled = 0;
}

static void pass(int64_t until) {
    for (int number = 0; now() < until; turn(1))
        for (; connecting < CONNECTING; number = (number + 1) % count)
            if (clients[number].state == CLOSED) start(number);
}

static void talk(int64_t until, double rate) {
    int64_t first = now(), time;
    while ((time = now()) < until) {
        long due = rate > 0 ? (time - first) / 1e9 * rate : begun + WINDOW - (begun - done);
        while (begun < due && idle_count) begin();
        turn(rate > 0 ? 0 : 10);
    }
    /* What has begun is finished, and counts. */
    for (until += 5000000000LL; done < begun && now() < until;) turn(10);
}

static int compare(const void *one, const void *other) {
    int64_t difference = *(const int64_t *)one - *(const int64_t *)other;
    return difference < 0 ? -1 : difference > 0;
}

static int64_t part(double share) { return sampled ? samples[(long)((sampled - 1) * share)] : 0; }

static void wait_for_word(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char byte;
    do turn(20);
    while (!poll(&input, 1, 0));
    while (read(0, &byte, 1) == 1 && byte != '\n');
}

int main(int argc, char **argv) {
    struct rlimit limit;
    if (argc != 8) return 2;
    mqtt = !strcmp(argv[1], "mqtt");
    port = atoi(argv[2]);
    for (int i = 0; i < 32; i++) sscanf(argv[3] + 2 * i, "%2hhx", secret + i);
    count = atoi(argv[4]);
    mode = argv[5];
    passing = *mode == 'o' || *mode == 'a';
    int64_t length = atof(argv[6]) * 1e9;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    clients = calloc(count, sizeof *clients);
    since = calloc(count, sizeof *since);
    labels = calloc(count, sizeof *labels);
    changes = calloc(count, sizeof *changes);
    idle = calloc(count, sizeof *idle);
    samples = malloc(SAMPLES * sizeof *samples);
    poller = epoll_create1(0);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_curves_list(context, "X25519");
    SSL_CTX_set_psk_client_callback(context, give_key);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    /* Labels go on where an earlier run has left them. */
    for (int pair = 0; pair < count / 2; pair++) labels[pair] = time(NULL) << 8;

    int64_t first = now();
    for (int next = 0; !passing && ready + lost < count; turn(10))
        while (connecting < CONNECTING && next < count) start(next++);
    int64_t connected = now() - first;
    in_calls(true);
    printf("ready %lld\n", (long long)connected);
    fflush(stdout);
    for (int pair = 0; pair < count / 2; pair++) idle[idle_count++] = pair;
    wait_for_word();
    begun = done = 0;
    first = now();
    if (passing) pass(first + length);
    else if (*mode != 'i') talk(first + length, atof(argv[7]));
    int64_t passed = now() - first;
    qsort(samples, sampled, sizeof *samples, compare);
    printf("%ld %ld %ld %lld %lld %lld %lld\n", begun, done, lost, (long long)passed, (long long)part(0.5),
           (long long)part(0.99), (long long)part(1));
    fflush(stdout);
    wait_for_word();
    in_calls(false);
    return 0;
}
