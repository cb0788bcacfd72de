// simdjson_parse.cpp: what simdjson needs merely to parse the messages that the kernel takes from bytes to a decision.
// Input file: messages, each as a 32-bit length and its bytes. Prints one line: implementation, then nanoseconds: p50, mean and
// p99 of messages parsed and timed one at a time, less the clock's own, and a message's share of all of them parsed in a row.
#include <simdjson.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;

static double nanoseconds(Clock::duration d) { return std::chrono::duration<double, std::nano>(d).count(); }

int main(int argc, char **argv) {
    std::ifstream file(argc > 1 ? argv[1] : "", std::ios::binary);
    std::string all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<simdjson::padded_string> messages;
    for (size_t at = 0; at + 4 <= all.size();) {
        std::uint32_t length;
        std::memcpy(&length, all.data() + at, 4);
        if (length > all.size() - at - 4) return 2;
        messages.emplace_back(all.data() + at + 4, length);
        at += 4 + length;
    }
    if (messages.empty()) return 2;
    simdjson::dom::parser parser;
    std::vector<double> each;
    size_t failed = 0;
    for (auto &message : messages) failed += parser.parse(message).error() != simdjson::SUCCESS;
    double cost = 1e9;
    for (int i = 0; i < 16; i++) {
        auto began = Clock::now();
        cost = std::min(cost, nanoseconds(Clock::now() - began));
    }
    for (auto &message : messages) {
        auto began = Clock::now();
        failed += parser.parse(message).error() != simdjson::SUCCESS;
        each.push_back(std::max(nanoseconds(Clock::now() - began) - cost, 0.0));
    }
    auto began = Clock::now();
    for (auto &message : messages) failed += parser.parse(message).error() != simdjson::SUCCESS;
    double batch = nanoseconds(Clock::now() - began) / double(messages.size());
    if (failed) return 1;
    double sum = 0;
    for (double ns : each) sum += ns;
    std::sort(each.begin(), each.end());
    std::string name = simdjson::get_active_implementation()->name();
    std::printf("%s %.1f %.1f %.1f %.1f\n", name.c_str(), each[each.size() / 2],
                sum / double(each.size()), each[each.size() * 99 / 100], batch);
    return 0;
}
