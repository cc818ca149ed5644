/* Random input for the parts of the native forwarder that stand alone, each held against a plain model. */
#include "fuzz.h"

#include <stdlib.h>

#include "backlog.h"
#include "classify.h"
#include "table.h"
#include "uplink.h"

enum { KEYS = 512 };

static void fuzz_one_packet(struct random *random)
{
    static const uint8_t first_bytes[] = {0x80, 0x90, 0xbf, 0x00, 0x01, 0x0f, 0x10, 0x11, 0x40, 0xc0, 0xff};
    static const uint8_t second_bytes[] = {0, 0x80, 191, 192, 200, 223, 224, 255};
    size_t size = choose(random, 2) ? choose(random, 20) : choose(random, MAX_PACKET + 3);
    uint8_t *data = malloc(size + !size); /* as long as the packet: a read beyond it is seen */
    bool relay = choose(random, 2);
    uint32_t key = 1;
    fill(random, data, size);
    if (size > 0 && choose(random, 4))
        data[0] = first_bytes[choose(random, sizeof first_bytes)];
    if (size > 1 && choose(random, 2))
        data[1] = second_bytes[choose(random, sizeof second_bytes)];
    enum verdict verdict = classify(relay, data, size, &key);
    check((verdict == VERDICT_TOO_LONG) == (size > MAX_PACKET));
    check(size >= 8 || verdict == VERDICT_TOO_SHORT);
    check(size < 12 || verdict != VERDICT_TOO_SHORT);
    check(relay || verdict != VERDICT_UP);
    if (relay && verdict == VERDICT_FLOW) {
        size_t offset = data[0] >> 6 == 2 && (data[1] < 192 || data[1] > 223) ? 8 : 4;
        uint8_t bytes[] = {(uint8_t)(key >> 24), (uint8_t)(key >> 16), (uint8_t)(key >> 8), (uint8_t)key};
        check(size >= offset + 4 && memcmp(bytes, data + offset, 4) == 0);
    } else {
        check(key == 0);
    }
    free(data);
}

static void grow_if_full(struct table *table)
{
    struct table larger;
    if (!table_is_full(table))
        return;
    check(table_grow(table, &larger));
    check(larger.used == table->used);
    table_free(table);
    *table = larger;
}

/* A model of the table: the flow of each key, NULL for none. */
static void fuzz_table(struct random *random, int steps)
{
    struct flow *model[KEYS] = {NULL};
    struct table table;
    size_t used = 0;
    check(table_make(&table, 4, ((uint64_t)choose(random, 1 << 30) << 32) | choose(random, 1 << 30)));
    for (int step = 0; step < steps; step++) {
        size_t key = choose(random, KEYS);
        if (choose(random, 2)) {
            struct flow *flow = calloc(1, sizeof *flow);
            flow->key = table_key((uint32_t)key % 3, (uint32_t)key);
            grow_if_full(&table);
            table_put(&table, flow);
            used += model[key] == NULL;
            free(model[key]);
            model[key] = flow;
        } else {
            struct flow *flow = table_remove(&table, table_key((uint32_t)key % 3, (uint32_t)key));
            check(flow == model[key]);
            used -= flow != NULL;
            free(flow);
            model[key] = NULL;
        }
        size_t other = choose(random, KEYS);
        check(table_find(&table, table_key((uint32_t)other % 3, (uint32_t)other)) == model[other]);
        check(table.used == used);
    }
    for (size_t key = 0; key < KEYS; key++) {
        check(table_find(&table, table_key((uint32_t)key % 3, (uint32_t)key)) == model[key]);
        free(model[key]);
    }
    table_free(&table);
}

/* Three queues in one pool: what comes out of each is what went in, in order. */
static void fuzz_backlog(struct random *random, int steps)
{
    static const struct endpoint to = {.size = sizeof(struct sockaddr_in)};
    struct queue queues[] = {queue_make(), queue_make(), queue_make()};
    uint32_t put[3] = {0}, taken[3] = {0};
    struct backlog backlog;
    check(backlog_make(&backlog));
    for (int step = 0; step < steps; step++) {
        size_t q = choose(random, 3);
        const struct waiting *waiting = backlog_peek(&backlog, &queues[q]);
        check((waiting == NULL) == (put[q] == taken[q]));
        if (choose(random, 5) < 3) {
            bool room = put[q] - taken[q] < backlog.free_count;
            check(backlog_put(&backlog, &queues[q], &to, (const uint8_t *)&put[q], sizeof put[q]) == room);
            put[q] += room;
        } else if (waiting != NULL) {
            check(waiting->size == sizeof taken[q] && memcmp(waiting->data, &taken[q], sizeof taken[q]) == 0);
            backlog_drop(&backlog, &queues[q]);
            taken[q]++;
        }
        check(backlog.free_count + queues[0].count + queues[1].count + queues[2].count == BACKLOG_PLACES);
    }
    backlog_free(&backlog);
}

/* Two flooded ports leave room for a third. */
static void check_uplink_shares(void)
{
    static const struct endpoint from = {.size = sizeof(struct sockaddr_in)};
    static const uint8_t data[MAX_PACKET] = {1};
    struct up_share shares[3] = {{0}};
    struct uplink uplink;
    size_t counts[3] = {0};
    check(uplink_make(&uplink));
    for (int round = 0; round < 3; round++) {
        memset(counts, 0, sizeof counts);
        for (size_t port = 0; port < 3; port++)
            for (size_t i = 0; i < UPLINK_PACKETS; i++)
                counts[port] += uplink_packet(&uplink, &shares[port], (int64_t)port + 1, &from, data, sizeof data);
        check(counts[0] == UPLINK_PACKETS_PER_PORT && counts[1] > 100 && counts[2] > 50);
        check(!uplink_packet(&uplink, &shares[2], 3, &from, data, MAX_PACKET + 1));
        check(uplink_swap(&uplink)->packet_count == counts[0] + counts[1] + counts[2]);
    }
    uplink_free(&uplink);
}

void fuzz_parts(struct random *random, int steps)
{
    for (int step = 0; step < steps; step++)
        fuzz_one_packet(random);
    fuzz_table(random, steps);
    fuzz_backlog(random, steps);
    check_uplink_shares();
}
