/* The media thread's reading: packets, and the error queues of sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
/* Of the kernel's, and after the C library's socket headers, which it needs. */
#include <linux/errqueue.h>

#include "batch.h"

void note_failure(struct failures *failures, int64_t port, const struct endpoint *to, int number)
{
    if (failures->count < UPLINK_FAILURES)
        failures->all[failures->count++] = (struct up_failure){.port = port, .to = *to, .number = number};
}

/* The errno that an ICMP message brought, 0 for anything else. */
static int reported(struct msghdr *header)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
        bool ipv4 = part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR;
        bool ipv6 = part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR;
        struct sock_extended_err error;
        if ((!ipv4 && !ipv6) || part->cmsg_len < CMSG_LEN(sizeof error))
            continue;
        memcpy(&error, CMSG_DATA(part), sizeof error);
        /* What failed here has failed in the call that sent it, too, and is counted there. */
        return error.ee_origin == SO_EE_ORIGIN_LOCAL ? 0 : (int)error.ee_errno;
    }
    return 0;
}

void receive_failures(struct failures *failures, int64_t port, int descriptor)
{
    for (int i = 0; i < UPLINK_FAILURES; i++) {
        struct endpoint to = {0};
        union {
            struct cmsghdr aligned;
            char space[512];
        } control;
        struct msghdr header = {
            .msg_name = &to.address,
            .msg_namelen = sizeof to.address,
            .msg_control = &control,
            .msg_controllen = sizeof control,
        };
        if (recvmsg(descriptor, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        to.size = endpoint_size(to.address.any.sa_family);
        int number = reported(&header);
        if (number != 0 && to.size != 0)
            note_failure(failures, port, &to, number);
    }
}

void arrivals_prepare(struct arrivals *arrivals)
{
    for (size_t i = 0; i < BATCH; i++) {
        arrivals->parts[i] = (struct iovec){.iov_base = arrivals->data[i], .iov_len = READ_SIZE};
        arrivals->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &arrivals->from[i].address,
            .msg_namelen = sizeof arrivals->from[i].address,
            .msg_iov = &arrivals->parts[i],
            .msg_iovlen = 1,
        };
    }
}

/* The kernel has written the size of an address where it reads how much room there is for the next one. */
static void clear(struct arrivals *arrivals)
{
    for (size_t i = 0; i < arrivals->count; i++)
        arrivals->headers[i].msg_hdr.msg_namelen = sizeof arrivals->from[i].address;
    arrivals->count = 0;
}

static void receive_from(struct arrivals *arrivals, struct failures *failures, const struct source *source)
{
    size_t first = arrivals->count;
    int count = -1;
    /* The first failure is the ICMP error of an earlier packet, as a rule; it says nothing about what has arrived. */
    for (int attempt = 0; attempt < 2 && count < 0; attempt++) {
        count = recvmmsg(source->descriptor, &arrivals->headers[first], (unsigned)(BATCH - first), MSG_DONTWAIT, NULL);
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0)
            receive_failures(failures, source->port, source->descriptor);
    }
    for (size_t i = first; count > 0 && i < first + (size_t)count; i++) {
        arrivals->ports[i] = source->port;
        arrivals->from[i].size = arrivals->headers[i].msg_hdr.msg_namelen;
    }
    arrivals->count += count > 0 ? (size_t)count : 0;
}

size_t receive(struct batch *batch, size_t source_count)
{
    size_t i = 0;
    clear(&batch->arrivals);
    for (; i < source_count && batch->arrivals.count < BATCH; i++) {
        const struct source *source = &batch->sources[i];
        if (source->descriptor < 0)
            continue;
        if (source->events & EPOLLERR)
            receive_failures(&batch->failures, source->port, source->descriptor);
        receive_from(&batch->arrivals, &batch->failures, source);
    }
    return i;
}
