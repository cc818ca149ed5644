/*
 * RTP load for a relay, and the sink behind it: how much arrives, how late, and what CPU time that cost the relay.
 *
 *     load SECONDS RATE PID SINK REST < streams
 *
 * With nothing to do it rests REST us; with 0 it looks again at once, and no other program gets its core.
 * RATE is packets/s in all; 0 keeps WINDOW packets in flight, which shows how much the relay can do. SINK and the
 * senders are sockets that were bound and inherited. A stream is a line: sender's descriptor, port of the relay on
 * 127.0.0.1, SSRC, and bytes in hex to put before the RTP header ("-": none). Prints one line: packets sent,
 * received, ns of sending, ns of CPU time of process PID, and the median and 99th percentile of the delay in ns.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, WINDOW = 192, PACKET = 172, RTP_HEADER = 12, PREFIX = 8, MAX_STREAMS = 65536 };
enum { BUCKET_NS = 2000, BUCKETS = 50000 };

struct stream {
    int sender;
    struct sockaddr_in to;
    uint32_t ssrc;
    uint16_t sequence;
    size_t prefix_size;
    uint8_t prefix[PREFIX];
};

static struct stream streams[MAX_STREAMS];
static size_t stream_count;
static uint64_t sent, received, histogram[BUCKETS];
static uint64_t run; /* marks the packets of this run */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time = {0};
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void read_streams(void)
{
    char prefix[2 * PREFIX + 1];
    unsigned port, ssrc;
    struct stream *stream = streams;
    while (stream_count < MAX_STREAMS && scanf("%d %u %u %16s", &stream->sender, &port, &ssrc, prefix) == 4) {
        stream->ssrc = ssrc;
        stream->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        stream->to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        for (; prefix[0] != '-' && prefix[2 * stream->prefix_size] != 0; stream->prefix_size++)
            sscanf(prefix + 2 * stream->prefix_size, "%2hhx", &stream->prefix[stream->prefix_size]);
        stream = &streams[++stream_count];
    }
    if (stream_count == 0) {
        fprintf(stderr, "load: no streams\n");
        exit(2);
    }
}

static size_t make_packet(struct stream *stream, uint8_t *packet, uint64_t now)
{
    uint8_t *rtp = packet + stream->prefix_size;
    uint16_t sequence = htons(stream->sequence++);
    uint32_t ssrc = htonl(stream->ssrc);
    memcpy(packet, stream->prefix, stream->prefix_size);
    memset(rtp, 0, PACKET);
    rtp[0] = 0x80;
    memcpy(rtp + 2, &sequence, sizeof sequence);
    memcpy(rtp + 8, &ssrc, sizeof ssrc);
    memcpy(rtp + RTP_HEADER, &now, sizeof now);
    memcpy(rtp + RTP_HEADER + sizeof now, &run, sizeof run);
    return stream->prefix_size + PACKET;
}

static void send_all(int sender, struct mmsghdr *headers, size_t count)
{
    for (size_t done = 0; done < count;) {
        int result = sendmmsg(sender, headers + done, (unsigned)(count - done), 0);
        if (result < 0 && errno != ECONNREFUSED && errno != EAGAIN && errno != ENOBUFS)
            fail("load: sendmmsg");
        done += result > 0 ? (size_t)result : 0;
    }
}

/* Send the next packets of the streams in turn, one system call for neighbours with the same sender. */
static void send_batch(size_t count)
{
    static uint8_t data[BATCH][PREFIX + PACKET];
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    static size_t next = 0;
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    size_t first = 0;
    int sender = streams[next].sender;
    for (size_t i = 0; i < count; i++, next = (next + 1) % stream_count) {
        struct stream *stream = &streams[next];
        if (stream->sender != sender) {
            send_all(sender, headers + first, i - first);
            first = i;
            sender = stream->sender;
        }
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = make_packet(stream, data[i], now)};
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &stream->to, .msg_namelen = sizeof stream->to, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    send_all(sender, headers + first, count - first);
    sent += count;
}

static bool receive_batch(int sink)
{
    static uint8_t data[BATCH][PACKET];
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = PACKET};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(sink, headers, BATCH, MSG_DONTWAIT, NULL);
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        uint64_t then, marked;
        memcpy(&then, data[i] + RTP_HEADER, sizeof then);
        memcpy(&marked, data[i] + RTP_HEADER + sizeof then, sizeof marked);
        if (marked != run)
            continue;
        uint64_t bucket = (now - then) / BUCKET_NS;
        histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
        received++;
    }
    return count > 0;
}

static uint64_t percentile(double part)
{
    uint64_t wanted = (uint64_t)((double)received * part), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) > wanted)
            return (i + 1) * BUCKET_NS;
    return 0;
}

/* How many packets to send now. */
static size_t due(uint64_t passed, double rate, uint64_t lost)
{
    if (rate == 0) {
        uint64_t flying = sent - received - lost;
        uint64_t room = flying < WINDOW ? WINDOW - flying : 0;
        return room < WINDOW / 4 ? 0 : room < BATCH ? room : BATCH;
    }
    uint64_t wanted = (uint64_t)((double)passed * rate / 1e9);
    return wanted <= sent ? 0 : wanted - sent < BATCH ? wanted - sent : BATCH;
}

/* Give how long it sent, in ns. */
static uint64_t load(int sink, double seconds, double rate, const struct timespec *rest)
{
    uint64_t begun = clock_ns(CLOCK_MONOTONIC), last = begun, now = begun, lost = 0;
    uint64_t end = begun + (uint64_t)(seconds * 1e9);
    for (; now < end; now = clock_ns(CLOCK_MONOTONIC)) {
        size_t count = due(now - begun, rate, lost);
        if (count > 0)
            send_batch(count);
        bool received_some = receive_batch(sink);
        if (received_some)
            last = now;
        else if (count == 0 && rest->tv_nsec > 0)
            nanosleep(rest, NULL);
        else if (rate == 0 && now > last + 50000000) {
            lost = sent - received; /* nothing has come for so long that nothing will */
            last = now;
        }
    }
    uint64_t passed = now - begun;
    for (end = now + 200000000; sent > received && now < end; now = clock_ns(CLOCK_MONOTONIC))
        receive_batch(sink);
    return passed;
}

int main(int count, char **arguments)
{
    clockid_t cpu;
    if (count != 6) {
        fprintf(stderr, "usage: load SECONDS RATE PID SINK REST < streams\n");
        return 2;
    }
    double seconds = strtod(arguments[1], NULL);
    const struct timespec rest = {.tv_nsec = 1000 * atol(arguments[5])};
    int sink = atoi(arguments[4]);
    read_streams();
    if (clock_getcpuclockid((pid_t)atoi(arguments[3]), &cpu) != 0)
        fail("load: the relay's CPU clock");
    run = clock_ns(CLOCK_MONOTONIC);
    uint64_t cpu_before = clock_ns(cpu);
    uint64_t passed = load(sink, seconds, strtod(arguments[2], NULL), &rest);
    printf("%llu %llu %llu %llu %llu %llu\n", (unsigned long long)sent, (unsigned long long)received,
           (unsigned long long)passed, (unsigned long long)(clock_ns(cpu) - cpu_before),
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99));
    return 0;
}
