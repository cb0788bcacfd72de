/* decimal.c: fuzzes the decimal parser: the fast way must give what the slow way gives, and both what a plain reading with
 * 128 bits gives. Input: decimals, then the text. */
#include "fuzz.h"

/* The number's value by schoolbook: digits, one point between digits, no digits but zeros beyond the unit, int64. */
static int decimal_plain(const u8 *s, u32 length, u32 decimals, i64 *out) {
    unsigned __int128 value = 0;
    u32 point = length, used;
    if (length == 0) return 0;
    for (u32 i = 0; i < length; i++) {
        if (s[i] == '.') {
            if (point != length) return 0;
            point = i;
        } else if (s[i] < '0' || s[i] > '9') {
            return 0;
        }
    }
    if (point == 0 || point == length - 1) return 0;
    used = point;
    for (u32 i = 0; i < point; i++) {
        value = value * 10 + (u32)(s[i] - '0');
        if (value > INT64_MAX) return 0;
    }
    for (u32 i = 0; i < decimals; i++) {
        u32 at = used + 1 + i;
        value = value * 10 + (at < length ? (u32)(s[at] - '0') : 0);
        if (value > INT64_MAX) return 0;
    }
    for (u32 i = used + 1 + decimals; i < length; i++)
        if (s[i] != '0') return 0;
    *out = (i64)value;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    u8 text[128];
    if (size < 1 || size > 100) return 0;
    u32 decimals = data[0] % 13, length = (u32)size - 1, point = 0;
    i64 fast = -1, slow = -2, plain = -3;
    memset(text, '7', sizeof text); /* what follows a number in its message must not matter */
    memcpy(text, data + 1, length);
    while (point < length && text[point] != '.') point++;
    int took_slow = decimal_slow(text, length, decimals, &slow), took_plain = decimal_plain(text, length, decimals, &plain);
    int took_fast = decimal_fast(text, length, point, decimals, &fast);
    CHECK(took_fast == took_slow && (!took_fast || fast == slow), "\"%.*s\", %u decimals: fast %d %lld, slow %d %lld", (int)length, text,
          decimals, took_fast, (long long)fast, took_slow, (long long)slow);
    CHECK(!took_slow || (took_plain && slow == plain), "\"%.*s\", %u decimals: slow %lld, plain %d %lld", (int)length, text, decimals,
          (long long)slow, took_plain, (long long)plain);
    /* the slow way may refuse only what is within 10 of the end of the range */
    CHECK(took_slow || !took_plain || plain > INT64_MAX - 16 || decimals > 0, "\"%.*s\", %u decimals is refused", (int)length, text, decimals);
    return 0;
}
