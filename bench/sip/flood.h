/*
 * A flood beside the load, from a socket of its own and at a rate of its own, sent by the load's loop: a process of
 * its own would take turns with the load on its core, and the calls would be seen to wait for it.
 */
#define FLOOD_BATCH 64
#define FLOOD_SIZE 640

static struct flood {
    int sock; /* -1: there is none */
    double rate; /* messages/s */
    bool scanner, garbage, forged; /* forged: each from another address of this machine, if it can be */
    unsigned long sent;
    uint64_t random;
    char host[INET_ADDRSTRLEN];
} flood = {.sock = -1};

/* xorshift64*: what makes each message another one. */
static uint64_t flood_random(void)
{
    flood.random ^= flood.random >> 12;
    flood.random ^= flood.random << 25;
    flood.random ^= flood.random >> 27;
    return flood.random * UINT64_C(2685821657736338717);
}

static void flood_open(int sock, const char *kind, double rate, uint64_t seed)
{
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    flood = (struct flood){.sock = sock, .rate = rate, .random = seed | 1};
    flood.scanner = strcmp(kind, "scanner") == 0;
    flood.garbage = strcmp(kind, "garbage") == 0;
    flood.forged = strcmp(kind, "forged") == 0;
    if (getsockname(sock, (struct sockaddr *)&own, &size) != 0 ||
        inet_ntop(AF_INET, &own.sin_addr, flood.host, sizeof flood.host) == NULL) {
        perror("load: the flood's socket");
        exit(1);
    }
}

/* One message; its size. */
static size_t flood_write(char *data, unsigned long number)
{
    static const char *const methods[] = {"REGISTER", "OPTIONS", "INVITE"};
    if (flood.garbage) {
        for (size_t i = 0; i + sizeof(uint64_t) <= FLOOD_SIZE; i += sizeof(uint64_t)) {
            uint64_t word = flood_random();
            memcpy(data + i, &word, sizeof word);
        }
        return FLOOD_SIZE;
    }
    const char *method = methods[number % 3];
    unsigned long long mark = flood_random();
    int size = snprintf(data, FLOOD_SIZE,
                        "%s sip:bench.example SIP/2.0\r\nVia: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bK%llx\r\n"
                        "From: <sip:%llu@bench.example>;tag=%llx\r\nTo: <sip:%llu@bench.example>\r\n"
                        "Call-ID: %llx\r\nCSeq: 1 %s\r\nContact: <sip:%llu@%s:5060>\r\nMax-Forwards: 70\r\n"
                        "User-Agent: %s\r\nContent-Length: 0\r\n\r\n",
                        method, flood.host, mark, mark % 10000, mark, mark % 10000, mark ^ 1, method, mark % 10000,
                        flood.host, flood.scanner ? "friendly-scanner" : "flood");
    return size < FLOOD_SIZE ? (size_t)size : FLOOD_SIZE - 1;
}

/* The address that a forged message comes from goes with it (ip(7), IP_PKTINFO): one of 127.128.0.0/9. */
static void flood_forge(struct msghdr *header, char *control, size_t size)
{
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f800000u | (uint32_t)(flood_random() & 0x7fffffu))};
    memset(control, 0, size);
    header->msg_control = control;
    header->msg_controllen = size;
    struct cmsghdr *first = CMSG_FIRSTHDR(header);
    first->cmsg_level = IPPROTO_IP;
    first->cmsg_type = IP_PKTINFO;
    first->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(first), &info, sizeof info);
    inet_ntop(AF_INET, &info.ipi_spec_dst, flood.host, sizeof flood.host);
}

/* Send what is due `elapsed` seconds after the start. */
static void flood_pour(double elapsed, struct sockaddr_in *target)
{
    static char data[FLOOD_BATCH][FLOOD_SIZE];
    static struct mmsghdr headers[FLOOD_BATCH];
    static struct iovec parts[FLOOD_BATCH];
    static _Alignas(struct cmsghdr) char controls[FLOOD_BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
    unsigned long due = flood.sock < 0 ? 0 : (unsigned long)(elapsed * flood.rate);
    unsigned count = 0;
    for (; count < FLOOD_BATCH && flood.sent + count < due; count++) {
        headers[count].msg_hdr = (struct msghdr){
            .msg_name = target, .msg_namelen = sizeof *target, .msg_iov = &parts[count], .msg_iovlen = 1};
        if (flood.forged)
            flood_forge(&headers[count].msg_hdr, controls[count], sizeof controls[count]);
        parts[count] =
            (struct iovec){.iov_base = data[count], .iov_len = flood_write(data[count], flood.sent + count)};
    }
    int sent = count > 0 ? sendmmsg(flood.sock, headers, count, 0) : 0;
    flood.sent += sent > 0 ? (unsigned long)sent : 0;
}
