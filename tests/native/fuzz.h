/* What the test programs of the native forwarder share: reproducible numbers, and checks that name their line. */
#ifndef TESTS_NATIVE_FUZZ_H
#define TESTS_NATIVE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
    uint64_t state;
};

/* The linear congruential generator of Knuth's MMIX. */
static inline uint32_t draw(struct random *random)
{
    random->state = random->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random->state >> 33);
}

static inline uint32_t choose(struct random *random, uint32_t limit)
{
    return draw(random) % limit;
}

static inline void fill(struct random *random, uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)draw(random);
}

#define check(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

static inline void check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

void fuzz_parts(struct random *random, int steps);

#endif
