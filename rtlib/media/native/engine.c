/* The life of an engine and of its thread; ports. */
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

enum { FIRST_PORTS = 16, FIRST_SLOTS = 64 };

uint64_t monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static bool make_lock(struct engine *engine)
{
    pthread_mutexattr_t kind;
    if (pthread_mutexattr_init(&kind) != 0)
        return false;
#ifdef __GLIBC__
    /* It is held for so short that spinning a little is cheaper than sleeping. */
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    bool made = pthread_mutex_init(&engine->lock, &kind) == 0;
    pthread_mutexattr_destroy(&kind);
    if (made && pthread_cond_init(&engine->used, NULL) != 0) {
        pthread_mutex_destroy(&engine->lock);
        return false;
    }
    return made;
}

static bool make_tables(struct engine *engine)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return false;
    engine->port_room = FIRST_PORTS;
    engine->ports = calloc(FIRST_PORTS, sizeof *engine->ports);
    engine->batch = batch_make();
    return engine->ports != NULL && engine->batch != NULL && table_make(&engine->flows, FIRST_SLOTS, seed) &&
           uplink_make(&engine->uplink) && backlog_make(&engine->backlog);
}

static bool make_descriptors(struct engine *engine)
{
    struct epoll_event event = {.events = EPOLLIN}; /* no handle is 0 */
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    engine->up = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    engine->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return engine->epoll >= 0 && engine->up >= 0 && engine->wake >= 0 &&
           epoll_ctl(engine->epoll, EPOLL_CTL_ADD, engine->wake, &event) == 0;
}

static void close_if_open(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
}

static void release(struct engine *engine)
{
    close_if_open(engine->epoll);
    close_if_open(engine->up);
    close_if_open(engine->wake);
    backlog_free(&engine->backlog);
    uplink_free(&engine->uplink);
    table_free(&engine->flows);
    batch_free(engine->batch);
    free(engine->ports);
    pthread_cond_destroy(&engine->used);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

int engine_new(struct engine **result, uint64_t pause)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL || !make_lock(engine)) {
        free(engine);
        return -ENOMEM;
    }
    engine->pause = pause;
    engine->epoll = engine->up = engine->wake = -1;
    errno = ENOMEM;
    if (!make_tables(engine) || !make_descriptors(engine)) {
        int number = errno;
        release(engine);
        return -number;
    }
    *result = engine;
    return 0;
}

/* Whether this process was forked from the one that has the thread. Then nobody lets go of the lock. */
static bool is_orphan(const struct engine *engine)
{
    return engine->process != 0 && engine->process != getpid();
}

void engine_free(struct engine *engine)
{
    if (is_orphan(engine))
        return; /* what there is belongs to the parent's thread; it goes with the process */
    engine_stop(engine);
    release(engine);
}

static int start_thread(struct engine *engine)
{
    sigset_t all, before;
    if (engine->process != 0)
        return is_orphan(engine) ? -ECHILD : 0;
    atomic_store(&engine->stopping, false);
    /* Signals are for the reactor's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int number = pthread_create(&engine->thread, NULL, media_thread, engine);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (number != 0)
        return -number;
    pthread_setname_np(engine->thread, "forwarder");
    engine->process = getpid();
    return 0;
}

void engine_stop(struct engine *engine)
{
    uint64_t wake;
    if (engine->process == 0 || is_orphan(engine))
        return;
    atomic_store(&engine->stopping, true);
    eventfd_write(engine->wake, 1);
    pthread_join(engine->thread, NULL);
    eventfd_read(engine->wake, &wake);
    engine->process = 0;
    /* Without the thread, closing waits for nobody. */
    for (uint32_t i = 0; i < engine->port_room; i++)
        if (engine->ports[i] != NULL)
            engine_close(engine, engine->ports[i]->handle);
}

static int make_room_for_port(struct engine *engine, uint32_t *index)
{
    for (uint32_t i = 0; i < engine->port_room; i++) {
        *index = ((uint32_t)engine->opened + i) % engine->port_room;
        if (engine->ports[*index] == NULL)
            return 0;
    }
    if (engine->port_room >= MAX_PORTS)
        return -EMFILE;
    struct port **larger = calloc((size_t)engine->port_room * 2, sizeof *larger);
    if (larger == NULL)
        return -ENOMEM;
    memcpy(larger, engine->ports, engine->port_room * sizeof *larger);
    control_lock(engine);
    struct port **smaller = engine->ports;
    *index = engine->port_room;
    engine->ports = larger;
    engine->port_room *= 2;
    pthread_mutex_unlock(&engine->lock);
    free(smaller);
    return 0;
}

/* What the socket is; -EINVAL if it is not one for UDP. */
static int examine(int descriptor, socklen_t *name_size)
{
    static const int on = 1;
    struct endpoint name = {.size = sizeof name.address};
    int kind = 0;
    socklen_t size = sizeof kind;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &size) < 0 ||
        getsockname(descriptor, &name.address.any, &name.size) < 0)
        return -errno;
    int family = name.address.any.sa_family;
    *name_size = endpoint_size(family);
    if (kind != SOCK_DGRAM || *name_size == 0)
        return -EINVAL;
    int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    int option = family == AF_INET ? IP_RECVERR : IPV6_RECVERR;
    return setsockopt(descriptor, level, option, &on, sizeof on) < 0 ? -errno : 0;
}

int64_t engine_open(struct engine *engine, int descriptor, bool relay)
{
    uint32_t index = 0;
    socklen_t name_size = 0;
    int failure = examine(descriptor, &name_size);
    if (failure == 0)
        failure = start_thread(engine);
    if (failure == 0)
        failure = make_room_for_port(engine, &index);
    if (failure != 0)
        return failure;
    struct port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return -ENOMEM;
    *port = (struct port){.descriptor = descriptor, .name_size = name_size, .relay = relay, .queue = queue_make()};
    port->handle = ++engine->opened << INDEX_BITS | index;
    control_lock(engine);
    engine->ports[index] = port;
    pthread_mutex_unlock(&engine->lock);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)port->handle};
    if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        int number = errno;
        control_lock(engine);
        engine->ports[index] = NULL;
        pthread_mutex_unlock(&engine->lock);
        free(port);
        return -number;
    }
    return port->handle;
}

int engine_close(struct engine *engine, int64_t handle)
{
    struct port *port = find_port(engine, handle);
    if (port == NULL)
        return -ENOENT;
    epoll_ctl(engine->epoll, EPOLL_CTL_DEL, port->descriptor, NULL);
    control_lock(engine);
    engine->ports[port_index(handle)] = NULL;
    queue_clear(engine, port);
    /* From here the thread does not find the port; what it copied from it before, it uses until then at most. */
    for (uint64_t use = engine->uses; engine->using_descriptors && engine->uses == use;)
        pthread_cond_wait(&engine->used, &engine->lock);
    pthread_mutex_unlock(&engine->lock);
    control_forget_flows(engine, port);
    close(port->descriptor);
    free(port);
    return 0;
}
