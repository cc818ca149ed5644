/*
 * The native forwarder under traffic while its tables change and its system calls fail.
 *
 *     stress SEED SECONDS
 *
 * Two threads send random packets; the main thread opens, closes, changes and reads without rest. Then the tables
 * are left alone, and every packet must be accounted for. Linked with --wrap, so that sendmmsg, recvmmsg and sendto
 * fail as they may: full sockets, refused packets, only a part of a batch done. First it is seen that no packet is
 * blamed for what ICMP says of others.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "state.h"

enum { PORTS = 6, KEYS = 8, SENDERS = 3, SINKS = 2, MANY = 70, AUDIENCES = 3 };
#define PATIENCE UINT64_C(10000000000) /* ns */

int __real_sendmmsg(int, struct mmsghdr *, unsigned, int);
int __real_recvmmsg(int, struct mmsghdr *, unsigned, int, struct timespec *);
ssize_t __real_sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
int __wrap_sendmmsg(int, struct mmsghdr *, unsigned, int);
int __wrap_recvmmsg(int, struct mmsghdr *, unsigned, int, struct timespec *);
ssize_t __wrap_sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t);

static atomic_bool faults = false;
static atomic_int errors_of_others = 0; /* calls that still fail with the ICMP error of another packet */

/* An errno to fail with, 0 for most calls. */
static int fault(void)
{
    static _Thread_local struct random random = {1};
    if (atomic_load(&errors_of_others) > 0) {
        atomic_fetch_sub(&errors_of_others, 1);
        return ECONNREFUSED;
    }
    static const int errors[] = {EAGAIN, EAGAIN, EAGAIN, EPERM, ENOBUFS, ECONNREFUSED, EINTR};
    if (!atomic_load(&faults) || choose(&random, 8) > 0)
        return 0;
    return errors[choose(&random, sizeof errors / sizeof *errors)];
}

int __wrap_sendmmsg(int descriptor, struct mmsghdr *headers, unsigned count, int flags)
{
    if ((errno = fault()) != 0)
        return -1;
    return __real_sendmmsg(descriptor, headers, atomic_load(&faults) ? (count + 1) / 2 : count, flags);
}

int __wrap_recvmmsg(int descriptor, struct mmsghdr *headers, unsigned count, int flags, struct timespec *timeout)
{
    if (atomic_load(&faults) && (errno = fault()) != 0)
        return -1;
    return __real_recvmmsg(descriptor, headers, count, flags, timeout);
}

ssize_t __wrap_sendto(int descriptor, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t n)
{
    if ((errno = fault()) != 0)
        return -1;
    return __real_sendto(descriptor, data, size, flags, to, n);
}

struct place {
    int64_t handle;
    bool relay;
    _Atomic uint16_t number; /* UDP port, in network order; 0: closed */
};

struct rig {
    struct engine *engine;
    struct place places[PORTS];
    int senders[SENDERS];
    struct endpoint sources[SENDERS];
    int sinks[SINKS];
    struct endpoint sinks_at[SINKS + 1]; /* the last one is dead */
    struct audience *audiences[AUDIENCES];
    atomic_bool done;
    uint64_t packets_up, failures_up, closes, longest_close;
};

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static int bound_socket(struct endpoint *at)
{
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *at = (struct endpoint){.size = sizeof at->address.ipv4};
    at->address.ipv4.sin_family = AF_INET;
    at->address.ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(descriptor >= 0 && bind(descriptor, &at->address.any, at->size) == 0);
    check(getsockname(descriptor, &at->address.any, &at->size) == 0);
    return descriptor;
}

static void open_place(struct rig *rig, struct place *place, bool relay)
{
    struct endpoint at;
    int descriptor = bound_socket(&at);
    place->relay = relay;
    place->handle = engine_open(rig->engine, descriptor, relay);
    check(place->handle > 0);
    atomic_store(&place->number, at.address.ipv4.sin_port);
}

static void close_place(struct rig *rig, struct place *place)
{
    uint64_t begun = now();
    atomic_store(&place->number, 0);
    check(engine_close(rig->engine, place->handle) == 0);
    check(engine_close(rig->engine, place->handle) == -ENOENT);
    uint64_t took = now() - begun;
    rig->closes++;
    if (took > rig->longest_close)
        rig->longest_close = took;
}

/* A packet that is likely to be of a flow. */
static size_t make_packet(struct random *random, uint8_t *data)
{
    static const uint8_t kinds[][2] = {{0x80, 0}, {0x80, 0}, {0x80, 200}, {0x10, 0}, {0x01, 0}};
    size_t size = choose(random, 16) ? 12 + choose(random, 200) : choose(random, MAX_PACKET + 10);
    const uint8_t *kind = kinds[choose(random, sizeof kinds / sizeof *kinds)];
    memset(data, 0, size);
    if (size >= 12) {
        memcpy(data, kind, 2);
        data[7] = data[11] = (uint8_t)choose(random, KEYS + 1);
    }
    return size;
}

static void *traffic(void *argument)
{
    struct rig *rig = argument;
    static atomic_int seeds = 7;
    struct random random = {(uint64_t)atomic_fetch_add(&seeds, 1)};
    uint8_t data[MAX_PACKET + 16];
    while (!atomic_load(&rig->done)) {
        struct endpoint to = rig->sources[0];
        to.address.ipv4.sin_port = atomic_load(&rig->places[choose(&random, PORTS)].number);
        int sender = rig->senders[choose(&random, 16) ? 0 : choose(&random, SENDERS)];
        if (to.address.ipv4.sin_port != 0)
            (void)__real_sendto(sender, data, make_packet(&random, data), 0, &to.address.any, to.size);
    }
    return NULL;
}

static void change_flow(struct rig *rig, struct random *random)
{
    static const uint32_t counts[] = {0, 1, 1, 1, 2, MANY, MAX_TARGETS};
    const struct place *place = &rig->places[choose(random, PORTS)];
    struct target targets[MAX_TARGETS];
    size_t count = counts[choose(random, sizeof counts / sizeof *counts)];
    static const struct endpoint none = {0};
    uint32_t key = place->relay ? choose(random, KEYS) : 0;
    for (size_t i = 0; i < count; i++)
        targets[i] = (struct target){rig->places[choose(random, PORTS)].handle, rig->sinks_at[choose(random, SINKS + 1)]};
    if (count > 0 && choose(random, 8) == 0)
        targets[0].address = rig->sources[0]; /* a speaker that listens */
    const struct endpoint *source = choose(random, 8) ? &rig->sources[0] : &none;
    struct audience *audience = rig->audiences[choose(random, AUDIENCES)];
    switch (choose(random, 4)) {
    case 0:
        check(engine_set_audience(rig->engine, audience, targets, count) == 0);
        break;
    case 1:
        check(engine_set_speaker(rig->engine, place->handle, key, source, audience) == 0);
        break;
    default:
        check(engine_set_flow(rig->engine, place->handle, key, source, targets, count) == 0);
    }
}

/* Its speakers keep the old one. */
static void change_audience(struct rig *rig, struct random *random)
{
    struct audience **audience = &rig->audiences[choose(random, AUDIENCES)];
    engine_drop_audience(*audience);
    check((*audience = engine_make_audience(rig->engine)) != NULL);
}

static void read_everything(struct rig *rig)
{
    struct port_counters counters;
    struct flow_view view;
    for (size_t p = 0; p < PORTS; p++) {
        check(engine_port_counters(rig->engine, rig->places[p].handle, &counters) == 0);
        for (uint32_t key = 0; key < KEYS; key++)
            (void)engine_flow(rig->engine, rig->places[p].handle, key, &view);
    }
}

static void take(struct rig *rig)
{
    const struct box *box = engine_take(rig->engine);
    for (size_t i = 0; i < box->packet_count; i++)
        check(box->packets[i].port > 0 && box->packets[i].size <= MAX_PACKET && box->packets[i].from.size == 16);
    for (size_t i = 0; i < box->failure_count; i++)
        check(box->failures[i].number > 0 && box->failures[i].to.size == 16);
    rig->packets_up += box->packet_count;
    rig->failures_up += box->failure_count;
}

static void act(struct rig *rig, struct random *random)
{
    struct place *place = &rig->places[choose(random, PORTS)];
    switch (choose(random, 16)) {
    case 0:
        if (choose(random, 8))
            break;
        close_place(rig, place);
        open_place(rig, place, choose(random, 2));
        break;
    case 1:
        check(engine_remove_flow(rig->engine, place->handle, choose(random, KEYS)) == 0);
        break;
    case 2:
        check(engine_send(rig->engine, place->handle, (const uint8_t *)"bind ack", 8, &rig->sinks_at[0]) == 0);
        break;
    case 3:
        read_everything(rig);
        break;
    case 4:
        if (choose(random, 100) == 0)
            engine_stop(rig->engine);
        for (size_t p = 0; p < PORTS; p++)
            if (engine_port_counters(rig->engine, rig->places[p].handle, &(struct port_counters){0}) < 0)
                open_place(rig, &rig->places[p], p % 2);
        break;
    case 5:
        take(rig);
        break;
    case 6:
        change_audience(rig, random);
        break;
    default:
        change_flow(rig, random);
    }
}

static void change(struct rig *rig, struct random *random, double seconds)
{
    static const struct timespec breath = {.tv_nsec = 50000};
    uint64_t end = now() + (uint64_t)(seconds * 1e9);
    uint8_t data[2048];
    while (now() < end) {
        for (int i = 0; i < 20; i++)
            act(rig, random);
        for (int i = 0; i < SINKS; i++)
            while (recv(rig->sinks[i], data, sizeof data, 0) >= 0)
                continue;
        nanosleep(&breath, NULL);
    }
}

/* What the ports and flows have counted in all; only what they agree on in every state of the tables is compared. */
struct totals {
    uint64_t received, judged, departed, settled;
};

static struct totals add_up(struct rig *rig)
{
    struct totals totals = {0};
    struct port_counters port;
    struct flow_view flow;
    for (size_t p = 0; p < PORTS; p++) {
        check(engine_port_counters(rig->engine, rig->places[p].handle, &port) == 0);
        totals.received += port.received;
        totals.judged += port.too_short + port.too_long + port.unmatched;
        totals.settled += port.sent + port.send_errors;
        for (uint32_t key = 0; key < KEYS; key++) {
            if (engine_flow(rig->engine, rig->places[p].handle, key, &flow) < 0)
                continue;
            totals.judged += flow.counters.rx;
            totals.departed += flow.counters.tx;
        }
    }
    return totals;
}

/* Until nothing moves any more. On a busy machine the forwarder's thread may be without the processor for longer than
 * a moment between counting a copy and sending it. */
static void rest(struct rig *rig)
{
    static const struct timespec moment = {.tv_nsec = 20000000};
    uint64_t latest = now() + PATIENCE;
    struct totals totals = add_up(rig), before;
    do {
        before = totals;
        nanosleep(&moment, NULL);
        take(rig);
        totals = add_up(rig);
    } while (memcmp(&totals, &before, sizeof totals) != 0 || (totals.departed != totals.settled && now() < latest));
}

/* With tables that stay as they are, each packet is in exactly one counter. */
static void account(struct rig *rig, struct random *random, double seconds)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    pthread_t threads[2];
    for (size_t p = 0; p < PORTS; p++) {
        if (engine_port_counters(rig->engine, rig->places[p].handle, &(struct port_counters){0}) == 0)
            close_place(rig, &rig->places[p]);
        open_place(rig, &rig->places[p], p % 2);
    }
    for (int i = 0; i < 40; i++)
        change_flow(rig, random);
    atomic_store(&rig->done, false);
    for (size_t i = 0; i < 2; i++)
        check(pthread_create(&threads[i], NULL, traffic, rig) == 0);
    for (uint64_t end = now() + (uint64_t)(seconds * 1e9); now() < end; take(rig))
        nanosleep(&moment, NULL);
    atomic_store(&rig->done, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&faults, false);
    rest(rig);
    struct totals totals = add_up(rig);
    printf("accounted: %llu received, %llu forwarded copies\n", (unsigned long long)totals.received,
           (unsigned long long)totals.departed);
    check(totals.received > 0 && totals.departed > 0);
    check(totals.received == totals.judged);
    check(totals.departed == totals.settled);
}

static void set_up(struct rig *rig)
{
    check(engine_new(&rig->engine, 100000) == 0);
    for (size_t i = 0; i < SENDERS; i++)
        rig->senders[i] = bound_socket(&rig->sources[i]);
    for (size_t i = 0; i < SINKS; i++)
        rig->sinks[i] = bound_socket(&rig->sinks_at[i]);
    close(bound_socket(&rig->sinks_at[SINKS]));
    for (size_t i = 0; i < AUDIENCES; i++)
        check((rig->audiences[i] = engine_make_audience(rig->engine)) != NULL);
    for (size_t p = 0; p < PORTS; p++)
        open_place(rig, &rig->places[p], p % 2);
}

/* Counters of a port once one more packet is dealt with. */
static struct port_counters dealt_with(struct engine *engine, int64_t port, uint64_t number)
{
    struct port_counters counters;
    do {
        check(engine_port_counters(engine, port, &counters) == 0);
        usleep(100);
    } while (counters.sent + counters.send_errors < number);
    return counters;
}

/* A packet is not to blame for errors that others have caused, however many come in between, up to a bound. */
static void blame(void)
{
    struct engine *engine;
    struct endpoint at, source, sink;
    check(engine_new(&engine, 1000000) == 0);
    int64_t port = engine_open(engine, bound_socket(&at), false);
    int sender = bound_socket(&source), receiver = bound_socket(&sink);
    struct target target = {port, sink};
    static const uint8_t packet[RTP_HEADER] = {0x80};
    check(port > 0 && engine_set_flow(engine, port, 0, &source, &target, 1) == 0);
    for (uint64_t turn = 0; turn < 4; turn++) {
        int failures = turn < 2 ? TRIES - 1 : TRIES;
        atomic_store(&errors_of_others, failures);
        if (turn % 2 == 0)
            check(engine_send(engine, port, packet, sizeof packet, &sink) == 0);
        else
            check(__real_sendto(sender, packet, sizeof packet, 0, &at.address.any, at.size) == sizeof packet);
        struct port_counters counters = dealt_with(engine, port, turn + 1);
        check(counters.send_errors == (turn < 2 ? 0 : turn - 1));
        check(atomic_load(&errors_of_others) == 0);
    }
    engine_free(engine);
    close(sender);
    close(receiver);
}

int main(int count, char **arguments)
{
    static struct rig rig;
    pthread_t threads[2];
    check(count == 3);
    struct random random = {strtoull(arguments[1], NULL, 10)};
    double seconds = strtod(arguments[2], NULL);
    fuzz_parts(&random, 200000);
    blame();
    set_up(&rig);
    atomic_store(&faults, true);
    for (size_t i = 0; i < 2; i++)
        check(pthread_create(&threads[i], NULL, traffic, &rig) == 0);
    change(&rig, &random, seconds / 2);
    atomic_store(&rig.done, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    account(&rig, &random, seconds / 2);
    struct contention contention = engine_contention(rig.engine);
    engine_free(rig.engine);
    for (size_t i = 0; i < AUDIENCES; i++)
        engine_drop_audience(rig.audiences[i]);
    for (size_t i = 0; i < SENDERS; i++)
        close(rig.senders[i]);
    for (size_t i = 0; i < SINKS; i++)
        close(rig.sinks[i]);
    printf("up: %llu packets, %llu failures; %llu closes, longest %.0f us; lock taken %llu times, longest wait %.0f us\n",
           (unsigned long long)rig.packets_up, (unsigned long long)rig.failures_up,
           (unsigned long long)rig.closes, (double)rig.longest_close / 1e3,
           (unsigned long long)contention.times, (double)contention.longest / 1e3);
    return 0;
}
