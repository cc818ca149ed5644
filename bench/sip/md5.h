/* MD5 (RFC 1321) of a short text, in hexadecimal: what a digest (RFC 7616) of a REGISTER is made with. */
#ifndef MD5_H
#define MD5_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { MD5_BLOCK = 64, MD5_HEX = 33, MD5_LONGEST = 15 * MD5_BLOCK };

static void md5_block(uint32_t state[4], const uint8_t *block)
{
    static const unsigned shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    static uint32_t sines[64], words[16];
    if (sines[0] == 0)
        for (int i = 0; i < 64; i++)
            sines[i] = (uint32_t)(fabs(sin(i + 1)) * 4294967296.0);
    memcpy(words, block, sizeof words);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (unsigned i = 0; i < 64; i++) {
        static const unsigned factors[4] = {1, 5, 3, 7}, offsets[4] = {0, 1, 5, 0};
        unsigned round = i / 16, shift = shifts[round][i % 4];
        uint32_t mixed = round == 0   ? (b & c) | (~b & d)
                         : round == 1 ? (d & b) | (~d & c)
                         : round == 2 ? b ^ c ^ d
                                      : c ^ (b | ~d);
        mixed += a + sines[i] + words[(factors[round] * i + offsets[round]) % 16];
        a = d, d = c, c = b;
        b += mixed << shift | mixed >> (32 - shift);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

/* Texts of more than MD5_LONGEST - 9 bytes are cut. */
static void md5(const char *text, char hex[MD5_HEX])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    uint8_t padded[MD5_LONGEST] = {0};
    size_t size = strnlen(text, sizeof padded - 9);
    size_t total = (size + 8) / MD5_BLOCK * MD5_BLOCK + MD5_BLOCK;
    uint64_t bits = size * 8;
    memcpy(padded, text, size);
    padded[size] = 0x80;
    memcpy(padded + total - sizeof bits, &bits, sizeof bits);
    for (size_t at = 0; at < total; at += MD5_BLOCK)
        md5_block(state, padded + at);
    const uint8_t *bytes = (const uint8_t *)state;
    for (size_t i = 0; i < sizeof state; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

#endif
