/*
 * The least that forwarding in batches costs: no lookup, no check of the source, one target, no counters.
 *
 *     floor SOCKET SINK-PORT
 *
 * SOCKET was bound and inherited. Waits 0.5 ms after a drain, like the native forwarder under load.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, SIZE = 1501 };

int main(int count, char **arguments)
{
    static const struct timespec pause = {.tv_nsec = 500000};
    static uint8_t data[BATCH][SIZE];
    struct sockaddr_in from[BATCH], sink = {.sin_family = AF_INET};
    struct iovec parts[BATCH];
    struct mmsghdr headers[BATCH];
    if (count != 3)
        return 2;
    sink.sin_port = htons((uint16_t)atoi(arguments[2]));
    sink.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (;;) {
        for (size_t i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){.iov_base = data[i], .iov_len = SIZE};
            headers[i].msg_hdr = (struct msghdr){
                .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        int arrived = recvmmsg(atoi(arguments[1]), headers, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < arrived; i++) {
            headers[i].msg_hdr.msg_name = &sink;
            parts[i].iov_len = headers[i].msg_len;
        }
        for (int sent = 0; sent < arrived;) {
            int some = sendmmsg(atoi(arguments[1]), headers + sent, (unsigned)(arrived - sent), 0);
            sent += some > 0 ? some : 1;
        }
        if (arrived < BATCH)
            nanosleep(&pause, NULL);
    }
}
