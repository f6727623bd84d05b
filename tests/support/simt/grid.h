// Runs one grid of CUDA threads on the CPU: every thread is a fiber, blocks run one after another, threads of a block
// in an order shuffled by a seed. A thread runs until it meets others: at a barrier of its block, or at an operation of
// its warp. What no GPU forgives ends the launch with a report: a barrier that not all threads reach, lanes of a warp
// at different operations, a lane that is waited for and gone. Not thread-safe: one grid at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace simt {

constexpr int kWarp = 32;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

struct Launch {
  Dim3 grid, block;
  unsigned shared_bytes = 0;
  unsigned seed = 0;
};

// Runs `thread` for every thread of the grid. Returns an empty string, or what went wrong.
std::string run(const Launch& launch, const std::function<void()>& thread);

// From within a thread:

// An operation that the lanes of `mask` do together. Each lane gives `in`; when all have come, `compute` is called once
// for every lane, with the inputs of all (nullptr for those not in the mask), and fills `out`, which each then gets.
// The call's line tells operations apart.
constexpr size_t kLaneBytes = 64;  // that a lane gets at most
using Compute = void (*)(const void* const* in, int lane, void* out);
void meet(uint32_t mask, int line, const void* in, void* out, size_t out_bytes, Compute compute);

void barrier(int line);

void* dynamic_shared();

// Bytes on their way from global to shared memory: they arrive at once or when the thread waits for them, by chance.
void copy_later(void* to, const void* from, int bytes);
void end_copy_group();

// Ends the launch with a report unless the address is a multiple of `bytes`.
void check_aligned(const void* p, int bytes);
void wait_for_copies(int still_open);

}  // namespace simt
