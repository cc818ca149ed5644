/* A socket address as the kernel writes it (ip(7), ipv6(7)), compared byte by byte like rtlib.address. */
#ifndef RTLIB_MEDIA_ENDPOINT_H
#define RTLIB_MEDIA_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } address;
    socklen_t size; /* 0: there is none */
};

static inline bool endpoint_equal(const struct endpoint *one, const struct endpoint *other)
{
    return one->size == other->size && memcmp(&one->address, &other->address, one->size) == 0;
}

/* The size of the addresses of a family; 0 for a family that is not forwarded. */
static inline socklen_t endpoint_size(int family)
{
    if (family == AF_INET)
        return sizeof(struct sockaddr_in);
    return family == AF_INET6 ? sizeof(struct sockaddr_in6) : 0;
}

#endif
