#include "table.h"

#include <stdlib.h>

/* The finalizer of MurmurHash3: every bit of the key changes half of the bits of the result. */
static uint64_t mixed(uint64_t value)
{
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    value ^= value >> 33;
    value *= UINT64_C(0xc4ceb9fe1a85ec53);
    return value ^ value >> 33;
}

static size_t home(const struct table *table, uint64_t key)
{
    return (size_t)mixed(key ^ table->seed) & table->mask;
}

/* The slot that holds the key, or the free one where it belongs; there always is a free one. */
static size_t place(const struct table *table, uint64_t key)
{
    size_t position = home(table, key);
    while (table->slots[position].flow != NULL && table->slots[position].key != key)
        position = (position + 1) & table->mask;
    return position;
}

bool table_make(struct table *table, size_t slots, uint64_t seed)
{
    *table = (struct table){.mask = slots - 1, .seed = seed};
    table->slots = calloc(slots, sizeof *table->slots);
    return table->slots != NULL;
}

void table_free(struct table *table)
{
    free(table->slots);
    table->slots = NULL;
}

bool table_is_full(const struct table *table)
{
    return table->used >= (table->mask + 1) / 2;
}

bool table_grow(const struct table *table, struct table *larger)
{
    if (!table_make(larger, (table->mask + 1) * 2, table->seed))
        return false;
    for (size_t i = 0; i <= table->mask; i++)
        if (table->slots[i].flow != NULL)
            table_put(larger, table->slots[i].flow);
    return true;
}

struct flow *table_find(const struct table *table, uint64_t key)
{
    return table->slots[place(table, key)].flow;
}

void table_put(struct table *table, struct flow *flow)
{
    struct slot *slot = &table->slots[place(table, flow->key)];
    table->used += slot->flow == NULL;
    *slot = (struct slot){.key = flow->key, .flow = flow};
}

struct flow *table_remove(struct table *table, uint64_t key)
{
    size_t hole = place(table, key);
    struct flow *flow = table->slots[hole].flow;
    if (flow == NULL)
        return NULL;
    /* What follows moves back if it may, so that no search ends early at the hole and no tombstones pile up. */
    for (size_t i = (hole + 1) & table->mask; table->slots[i].flow != NULL; i = (i + 1) & table->mask) {
        size_t distance = (i - home(table, table->slots[i].key)) & table->mask;
        if (distance >= ((i - hole) & table->mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole] = (struct slot){0};
    table->used--;
    return flow;
}
