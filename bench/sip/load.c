/*
 * SIP load for a proxy, as both ends of it: the caller or the phones, and the Genesis system that calls go to.
 *
 *     load MODE SECONDS WINDOW FIRST USERS PROXY-PORT CALLER GENESIS [FLOOD KIND RATE]
 *
 * MODE is `call` (INVITE, 180, 200, ACK, BYE, 200), `register` (REGISTER, 200), `change` (the same, and each time
 * another User-Agent, so that the binding is not as it was) or `digest` (REGISTER, 401, REGISTER, 200). WINDOW of them are open at a time, each that ends is followed by the next one. USERS users of
 * the domain `bench.example` register in turn, from u(FIRST) on; their password is `secret`. CALLER and GENESIS are
 * sockets, bound on 127.0.0.1 and inherited; the proxy is on that address, too. Nothing is sent twice: what is lost
 * counts as lost. SECONDS may be `Nx`: then N of them are done, however long that takes. WINDOW may be `N/s`: then
 * N are begun in each second, however many are open. FLOOD is one more socket, from which RATE messages/s come
 * meanwhile that nobody wants: `good` ones, those of a `scanner`, or `garbage`; `forged` ones are good, and each has
 * another sender.
 * Prints one line: how many were begun, done, refused, the ns that this took, the median and the 99th percentile of
 * the ns from INVITE (or first REGISTER) to 200, and the messages of the flood.
 */
#define _GNU_SOURCE
#include "md5.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "flood.h"

enum { BATCH = 64, SIZE = 4096, MOST = 4 << 20, PATIENCE_NS = 1000000000 };
enum stage { OPEN = 1, ANSWERED, ENDED };

/* A message being written: what does not fit is left out, and the proxy will say so. */
struct text {
    size_t size;
    char data[SIZE];
};

/* Messages of one socket that go out with one system call. */
struct outbox {
    int sock;
    unsigned count;
    struct text messages[BATCH];
};

static struct outbox caller, genesis;
static struct sockaddr_in proxy;
static unsigned proxy_port, caller_port, genesis_port;
static unsigned long first_user, users, begun, done, refused;
static uint8_t stages[MOST];
static uint64_t begins[MOST], setups[MOST]; /* when each began; how long those that were accepted took, in ns */
static unsigned long accepted;
static uint64_t run; /* marks the Call-IDs of this run */
static bool calls, changes;

static const char OFFER[] = "v=0\r\no=- 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                            "m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
                            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";
static const char ANSWER[] = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                             "m=audio 7000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
                             "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";

static uint64_t clock_ns(void)
{
    struct timespec time = {0};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static void flush(struct outbox *box)
{
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    for (unsigned i = 0; i < box->count; i++) {
        parts[i] = (struct iovec){.iov_base = box->messages[i].data, .iov_len = box->messages[i].size};
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &proxy, .msg_namelen = sizeof proxy, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (unsigned sent = 0; sent < box->count;) {
        int result = sendmmsg(box->sock, headers + sent, box->count - sent, 0);
        if (result < 0 && errno != EAGAIN && errno != ECONNREFUSED && errno != ENOBUFS) {
            perror("load: sendmmsg");
            exit(1);
        }
        sent += result > 0 ? (unsigned)result : 0;
    }
    box->count = 0;
}

static struct text *next_message(struct outbox *box)
{
    if (box->count == BATCH)
        flush(box);
    struct text *message = &box->messages[box->count++];
    message->size = 0;
    return message;
}

__attribute__((format(printf, 2, 3))) static void write_text(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text->data + text->size, SIZE - text->size, format, arguments);
    va_end(arguments);
    if (size > 0 && text->size + (size_t)size < SIZE)
        text->size += (size_t)size;
}

/* The first line of a header at or after `from`, its line end included; its size is 0 where there is none. */
static const char *find_line(const char *from, const char *name, size_t *size)
{
    size_t length = strlen(name);
    *size = 0;
    for (const char *at = from; (at = strchr(at, '\n')) != NULL && *++at != '\r';)
        if (strncasecmp(at, name, length) == 0 && at[length] == ':') {
            const char *end = strchr(at, '\n');
            *size = end != NULL ? (size_t)(end + 1 - at) : 0;
            return at;
        }
    return from;
}

static void copy_first(struct text *text, const char *message, const char *name)
{
    size_t size;
    const char *line = find_line(message, name, &size);
    write_text(text, "%.*s", (int)size, line);
}

static void copy_all(struct text *text, const char *message, const char *name)
{
    size_t size;
    for (const char *line = find_line(message, name, &size); size > 0;
         line = find_line(line + size - 1, name, &size))
        write_text(text, "%.*s", (int)size, line);
}

/* Record-Route as the Route of the caller: the other way round (RFC 3261 section 12.1.2). */
static void copy_routes(struct text *text, const char *message)
{
    const char *routes[8];
    size_t sizes[8], count = 0;
    for (const char *from = message; count < 8; count++) {
        routes[count] = find_line(from, "Record-Route", &sizes[count]);
        if (sizes[count] == 0)
            break;
        from = routes[count] + sizes[count] - 1;
    }
    static const size_t name = sizeof "Record-" - 1;
    while (count-- > 0)
        write_text(text, "%.*s", (int)(sizes[count] - name), routes[count] + name);
}

static void begin_line(struct text *text, const char *method, const char *uri, unsigned long number, unsigned step)
{
    write_text(text, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%llx-%lu-%u\r\n", method, uri,
               caller_port, (unsigned long long)run, number, step);
}

static void invite(unsigned long number)
{
    struct text *text = next_message(&caller);
    char uri[64];
    snprintf(uri, sizeof uri, "sip:2005551212@127.0.0.1:%u", proxy_port);
    begin_line(text, "INVITE", uri, number, 1);
    write_text(text,
               "From: caller <sip:caller@127.0.0.1:%u>;tag=c%lu\r\nTo: <%s>\r\nCall-ID: %lu-%llx@127.0.0.1\r\n"
               "CSeq: 1 INVITE\r\nContact: <sip:caller@127.0.0.1:%u>\r\nMax-Forwards: 70\r\nUser-Agent: load\r\n"
               "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, INFO\r\nSupported: replaces\r\n"
               "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
               caller_port, number, uri, number, (unsigned long long)run, caller_port, sizeof OFFER - 1, OFFER);
}

/* ACK or BYE for an answered INVITE. */
static void follow(const char *answer, const char *method, unsigned long number, unsigned cseq, unsigned step)
{
    struct text *text = next_message(&caller);
    char uri[64];
    snprintf(uri, sizeof uri, "sip:genesis@127.0.0.1:%u", genesis_port);
    begin_line(text, method, uri, number, step);
    copy_routes(text, answer);
    copy_first(text, answer, "From");
    copy_first(text, answer, "To");
    copy_first(text, answer, "Call-ID");
    write_text(text, "CSeq: %u %s\r\nMax-Forwards: 70\r\nUser-Agent: load\r\nContent-Length: 0\r\n\r\n", cseq, method);
}

static void enrol(unsigned long number, unsigned cseq, const char *credentials)
{
    struct text *text = next_message(&caller);
    unsigned long user = first_user + number % users;
    char agent[64] = "load";
    if (changes)
        snprintf(agent, sizeof agent, "load %llx-%lu", (unsigned long long)run, number);
    begin_line(text, "REGISTER", "sip:bench.example", number, cseq);
    write_text(text,
               "From: <sip:u%lu@bench.example>;tag=r%lu\r\nTo: <sip:u%lu@bench.example>\r\n"
               "Call-ID: %lu-%llx@127.0.0.1\r\nCSeq: %u REGISTER\r\nContact: <sip:u%lu@127.0.0.1:%u>\r\n%s"
               "Max-Forwards: 70\r\nUser-Agent: %s\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n",
               user, number, user, number, (unsigned long long)run, cseq, user, caller_port, credentials, agent);
}

/* A quoted parameter of the challenge. */
static void quoted(const char *challenge, const char *name, char *value, size_t size)
{
    const char *start = strstr(challenge, name);
    start = start != NULL ? strchr(start, '"') : NULL;
    const char *end = start != NULL ? strchr(start + 1, '"') : NULL;
    snprintf(value, size, "%.*s", end != NULL ? (int)(end - start - 1) : 0, end != NULL ? start + 1 : "");
}

/* The challenge that asks for MD5: a server may offer better ones in lines before it. */
static void answer_challenge(const char *message, unsigned long number)
{
    size_t size;
    const char *line = find_line(message, "WWW-Authenticate", &size);
    static const char better[] = "algorithm=SHA";
    while (size > 0 && memmem(line, size, better, sizeof better - 1) != NULL)
        line = find_line(line + size - 1, "WWW-Authenticate", &size);
    char realm[64], nonce[256], text[800], secret[MD5_HEX], request[MD5_HEX], response[MD5_HEX], credentials[1024];
    quoted(line, "realm=", realm, sizeof realm);
    quoted(line, "nonce=", nonce, sizeof nonce);
    unsigned long user = first_user + number % users;
    snprintf(text, sizeof text, "u%lu:%s:secret", user, realm);
    md5(text, secret);
    md5("REGISTER:sip:bench.example", request);
    snprintf(text, sizeof text, "%s:%s:00000001:0a4f113b:auth:%s", secret, nonce, request);
    md5(text, response);
    snprintf(credentials, sizeof credentials,
             "Authorization: Digest username=\"u%lu\", realm=\"%s\", nonce=\"%s\", uri=\"sip:bench.example\", "
             "response=\"%s\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f113b\"\r\n",
             user, realm, nonce, response);
    enrol(number, 2, credentials);
}

/* The number in the Call-ID of a message of this run; ULONG_MAX for any other. */
static unsigned long number_of(const char *message)
{
    size_t size;
    const char *line = find_line(message, "Call-ID", &size);
    char *end;
    unsigned long number = size > 0 ? strtoul(line + sizeof "Call-ID:" - 1, &end, 10) : begun;
    if (number >= begun || *end != '-' || strtoull(end + 1, NULL, 16) != run)
        return (unsigned long)-1;
    return number;
}

static void finish(unsigned long number, int status, const char *message)
{
    if (stages[number] == ENDED)
        return;
    stages[number] = ENDED;
    if (status < 300)
        done++;
    else if (refused++ == 0)
        fprintf(stderr, "load: refused: %.*s\n", (int)strcspn(message, "\r\n"), message);
}

static void accept_call(unsigned long number)
{
    setups[accepted++] = clock_ns() - begins[number];
}

/* A response to the caller or to a phone. */
static void take_response(const char *message)
{
    int status = atoi(message + sizeof "SIP/2.0 " - 1);
    unsigned long number = number_of(message);
    if (number == (unsigned long)-1 || status < 200 || stages[number] == ENDED)
        return;
    size_t size;
    const char *cseq = find_line(message, "CSeq", &size);
    bool first = size > 0 && strtoul(cseq + sizeof "CSeq:" - 1, NULL, 10) == 1;
    if (status == 401 && first && stages[number] == OPEN && !calls) {
        stages[number] = ANSWERED;
        answer_challenge(message, number);
    } else if (status >= 300 || !calls || !first) {
        if (status < 300 && !calls)
            accept_call(number);
        finish(number, status, message);
    } else if (stages[number] == OPEN) {
        stages[number] = ANSWERED;
        accept_call(number);
        follow(message, "ACK", number, 1, 2);
        follow(message, "BYE", number, 2, 3);
    }
}

static void answer(const char *request, const char *status, const char *tag, const char *body)
{
    struct text *text = next_message(&genesis);
    bool dialog = strncmp(request, "INVITE", 6) == 0;
    size_t size;
    write_text(text, "SIP/2.0 %s\r\n", status);
    copy_all(text, request, "Via");
    if (dialog)
        copy_all(text, request, "Record-Route");
    copy_first(text, request, "From");
    const char *to = find_line(request, "To", &size);
    write_text(text, "%.*s%s\r\n", (int)size - 2, to, memmem(to, size, ";tag=", 5) != NULL ? "" : tag);
    copy_first(text, request, "Call-ID");
    copy_first(text, request, "CSeq");
    if (dialog)
        write_text(text, "Contact: <sip:genesis@127.0.0.1:%u>\r\n", genesis_port);
    if (*body != '\0')
        write_text(text, "Content-Type: application/sdp\r\n");
    write_text(text, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
}

/* A request to the Genesis system. */
static void take_request(const char *message)
{
    if (strncmp(message, "INVITE", 6) == 0) {
        answer(message, "180 Ringing", ";tag=g", "");
        answer(message, "200 OK", ";tag=g", ANSWER);
    } else if (strncmp(message, "ACK", 3) != 0) {
        answer(message, "200 OK", ";tag=g", "");
    }
}

static void receive(int sock, void (*take)(const char *))
{
    static char data[BATCH][SIZE];
    static struct mmsghdr headers[BATCH];
    static struct iovec parts[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = SIZE - 1};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(sock, headers, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        data[i][headers[i].msg_len] = '\0';
        take(data[i]);
    }
}

static void begin(void)
{
    unsigned long number = begun++;
    stages[number] = OPEN;
    begins[number] = clock_ns();
    if (calls)
        invite(number);
    else
        enrol(number, 1, "");
}

static int compare(const void *one, const void *other)
{
    uint64_t first = *(const uint64_t *)one, second = *(const uint64_t *)other;
    return (first > second) - (first < second);
}

/* Whether another one is to begin now. */
static bool is_due(double elapsed, unsigned long window, double rate)
{
    return rate > 0 ? (double)begun < elapsed * rate : begun - done - refused < window;
}

static void load(double seconds, unsigned long limit, unsigned long window, double rate)
{
    uint64_t start = clock_ns(), now = start, last = start, seen = 0;
    while (now - last < PATIENCE_NS) {
        double elapsed = (double)(now - start) / 1e9;
        bool going = limit > 0 ? begun < limit : elapsed < seconds;
        while (going && is_due(elapsed, window, rate) && begun < (limit > 0 ? limit : MOST))
            begin();
        flush(&caller);
        receive(genesis.sock, take_request);
        flush(&genesis);
        receive(caller.sock, take_response);
        if (going)
            flood_pour(elapsed, &proxy);
        now = clock_ns();
        if (!going && done + refused == begun)
            break;
        if (done + refused + begun != seen)
            seen = done + refused + begun, last = now;
    }
    qsort(setups, accepted, sizeof *setups, compare);
    printf("%lu %lu %lu %llu %llu %llu %lu\n", begun, done, refused, (unsigned long long)(now - start),
           (unsigned long long)setups[accepted / 2], (unsigned long long)setups[accepted * 99 / 100], flood.sent);
}

static unsigned port_of(int sock)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    if (getsockname(sock, (struct sockaddr *)&address, &size) != 0) {
        perror("load: getsockname");
        exit(1);
    }
    return ntohs(address.sin_port);
}

int main(int count, char **arguments)
{
    if (count != 9 && count != 12) {
        fprintf(stderr, "usage: load MODE SECONDS WINDOW FIRST USERS PROXY-PORT CALLER GENESIS [FLOOD KIND RATE]\n");
        return 2;
    }
    char *unit, *each;
    double amount = strtod(arguments[2], &unit), window = strtod(arguments[3], &each);
    calls = strcmp(arguments[1], "call") == 0;
    changes = strcmp(arguments[1], "change") == 0;
    first_user = strtoul(arguments[4], NULL, 10);
    users = strtoul(arguments[5], NULL, 10);
    proxy_port = (unsigned)atoi(arguments[6]);
    proxy = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)proxy_port)};
    proxy.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    caller.sock = atoi(arguments[7]);
    genesis.sock = atoi(arguments[8]);
    caller_port = port_of(caller.sock);
    genesis_port = port_of(genesis.sock);
    run = clock_ns();
    if (count == 12)
        flood_open(atoi(arguments[9]), arguments[10], atof(arguments[11]), run);
    unsigned long limit = *unit == 'x' ? (unsigned long)amount : 0;
    load(amount, limit < MOST ? limit : MOST, (unsigned long)window, *each == '/' ? window : 0);
    return 0;
}
