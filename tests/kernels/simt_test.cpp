// The emulator of GPUs itself: it finds the faults that people plant in kernels, and blames no kernel that is right.
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "kernels/cuda/device.h"
#include "tests/support/check.h"
#include "tests/support/simt/control.h"
#include "tests/support/simt/faults.h"

using namespace longleaf;
using namespace longleaf::test;
using namespace longleaf::kernels;

namespace {

constexpr int kBlock = 128, kBlocks = 3, kNumbers = kBlock * kBlocks;

int reversed(int i) { return i / kBlock * kBlock + kBlock - 1 - i % kBlock; }
int neighbour(int i) { return i ^ 1; }
int transposed(int i) { return i / kBlock * kBlock + i % 4 * 32 + i % kBlock / 4; }

enum Outcome { kRight = 0, kWrong = 1, kNotRun = 3 };  // 1 is also what a sanitizer ends a process with

// Whether the kernel ran without a report and its numbers are those expected.
Outcome run(const std::string& kernel, int (*source)(int), unsigned seed) {
  simt_settings(LONGLEAF_SIMT_DRIVER)->seed = seed;
  auto device = cuda::Device::open(simt_options(LONGLEAF_SIMT_DRIVER));
  if (!device.ok()) return kNotRun;
  cuda::Device& d = **device;
  std::vector<float> x(kNumbers), out(kNumbers);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  const auto in = d.allocate(sizeof(float) * kNumbers), to = d.allocate(sizeof(float) * kNumbers);
  if (!in.ok() || !to.ok() || !d.upload(*in, x.data(), sizeof(float) * kNumbers).ok()) return kNotRun;
  const FaultArgs args{reinterpret_cast<const float*>(*in), reinterpret_cast<float*>(*to), kNumbers};
  const Status launched = d.launch(kernel, {kBlocks}, kBlock, kBlock * sizeof(float), args);
  if (!launched.ok()) return launched.code() == Code::DeviceLost ? kWrong : kNotRun;
  if (!d.download(out.data(), *to, sizeof(float) * kNumbers).ok()) return kNotRun;
  for (int i = 0; i < kNumbers; ++i)
    if (out[static_cast<size_t>(i)] != static_cast<float>(source(i) + 1)) return kWrong;
  return kRight;
}

// … in a process of its own: a sanitizer ends it.
Outcome run_alone(const std::string& kernel, int (*source)(int), unsigned seed) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(kNotRun);
    _exit(run(kernel, source, seed));
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return kNotRun;
  return static_cast<Outcome>(WEXITSTATUS(status));
}

struct Fault {
  const char* name;
  int (*source)(int);
};
constexpr Fault kFaults[] = {
    {"barrier", reversed},      {"second_barrier", reversed}, {"early_return", reversed},
    {"two_barriers", reversed}, {"missing_lanes", neighbour}, {"off_by_one", neighbour},
    {"stride", transposed},     {"copies", reversed},         {"shared_size", reversed},
};
constexpr unsigned kSeeds = 8;

}  // namespace

TEST(kernels_that_are_right_pass_whatever_the_order) {
  for (const Fault& fault : kFaults)
    for (unsigned seed = 0; seed < kSeeds; ++seed) {
      const Outcome outcome = run_alone(std::string(fault.name) + "_right", fault.source, seed);
      if (outcome != kRight) std::printf("  %s, seed %u\n", fault.name, seed);
      CHECK(outcome == kRight);
    }
}

TEST(every_planted_fault_is_caught) {
  for (const Fault& fault : kFaults) {
#ifndef __SANITIZE_ADDRESS__
    if (std::strcmp(fault.name, "shared_size") == 0) continue;  // only a sanitizer sees the end of shared memory
#endif
    unsigned caught = 0;
    for (unsigned seed = 1; seed <= kSeeds; ++seed)
      caught += run_alone(std::string(fault.name) + "_wrong", fault.source, seed) == kWrong ? 1 : 0;
    std::printf("  %s: caught in %u of %u orders\n", fault.name, caught, kSeeds);
    CHECK_EQ(caught, kSeeds);
  }
}

TEST(reports_say_what_is_wrong) {
  const auto report = [](const char* kernel) {
    CHECK(run(kernel, reversed, 1) == kWrong);
    return std::string(simt_settings(LONGLEAF_SIMT_DRIVER)->report);
  };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CHECK(has(report("early_return_wrong"), "early_return_wrong: 28 of 128 threads do not reach the barrier at line"));
  CHECK(has(report("two_barriers_wrong"), "threads wait at different barriers"));
  CHECK(has(report("missing_lanes_wrong"), "for others of their warp that do not come"));
#ifndef __SANITIZE_ADDRESS__
  CHECK(has(report("off_by_one_wrong"), "wrote beyond the end of its memory"));
#endif
}

TEST(lanes_and_threads_exchange_what_they_should) {
  simt_settings(LONGLEAF_SIMT_DRIVER)->seed = 3;
  auto device = cuda::Device::open(simt_options(LONGLEAF_SIMT_DRIVER));
  REQUIRE_OK(device);
  std::vector<float> out(8 * kNumbers);
  const auto memory = (*device)->allocate(sizeof(float) * out.size());
  REQUIRE_OK(memory);
  const FaultArgs args{nullptr, reinterpret_cast<float*>(*memory), kNumbers};
  REQUIRE_OK((*device)->launch("primitives", {kBlocks}, kBlock, 0, args));
  REQUIRE_OK((*device)->download(out.data(), *memory, sizeof(float) * out.size()));
  for (int i = 0; i < kNumbers; ++i) {
    const int lane = i % 32;
    const std::vector<int> expected = {5,          lane + 3 < 32 ? lane + 3 : lane, 7, 1, 0, 2 * kBlock,
                                       kBlock - 1, lane < 16 ? lane ^ 1 : -1};
    for (size_t j = 0; j < 8; ++j) CHECK_EQ(out[8 * static_cast<size_t>(i) + j], static_cast<float>(expected[j]));
  }
}
