/* crc32.h: CRC-32 (ISO 3309, reflected 0xEDB88320), for OKX's book checksum. */
#ifndef CWTS_CRC32_H
#define CWTS_CRC32_H

#include "internal.h"

/* Half-byte table: small enough to read, fast enough for two thousand bytes. */
static const u32 CRC_NIBBLE[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};

static inline u32 crc32_byte(u32 crc, u8 byte) {
    crc ^= byte;
    crc = (crc >> 4) ^ CRC_NIBBLE[crc & 15];
    return (crc >> 4) ^ CRC_NIBBLE[crc & 15];
}

/* Adds a decimal as OKX writes it: no trailing zeros, no point without a fraction. */
static u32 crc32_decimal(u32 crc, i64 value, u32 decimals) {
    u8 text[24];
    u32 n = 0, fraction = decimals;
    u64 v = (u64)value;
    while (fraction && v % 10 == 0) {
        v /= 10;
        fraction--;
    }
    do {
        if (n == fraction && fraction) text[n++] = '.', fraction = 0;
        text[n++] = (u8)('0' + v % 10);
        v /= 10;
    } while (v || fraction);
    while (n) crc = crc32_byte(crc, text[--n]);
    return crc;
}

#endif
