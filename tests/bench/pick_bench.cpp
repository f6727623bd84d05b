// What picking a token costs behind the logits: from all of them on the host, against from the best on the device.
// Logits are normally distributed with a deviation of 3, as those of small models are; both pick the same tokens.
//
//   pick_bench [--device cpu] [--vocabulary 151936] [--temperature 0.7] [--top-p 1] [--threads 0]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "engine/compute_device.h"
#include "engine/generate/sampler.h"

using namespace longleaf;

namespace {

constexpr int kPicks = 100, kShortlist = 256;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void must(const Status& status) {
  if (!status.ok()) std::printf("%s\n", status.message().c_str()), std::exit(1);
}

kernels::Buffer take(const kernels::Backend& b, size_t bytes) {
  auto buffer = kernels::Buffer::allocate(b, bytes);
  must(buffer.status());
  return std::move(*buffer);
}

std::vector<float> random_logits(size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> given{
      {"--device", "cpu"}, {"--vocabulary", "151936"}, {"--temperature", "0.7"}, {"--top-p", "1"}, {"--threads", "0"}};
  for (int i = 1; i + 1 < argc; i += 2) given[argv[i]] = argv[i + 1];
  DeviceRequest request;
  request.name = given["--device"];
  request.n_threads = std::atoi(given["--threads"].c_str());
  const auto devices = open_one_device(request);
  must(devices.status());
  const kernels::Backend& b = *devices->all.front().backend;

  const auto logits = random_logits(static_cast<size_t>(std::atol(given["--vocabulary"].c_str())));
  SamplerOptions options;
  options.temperature = std::strtof(given["--temperature"].c_str(), nullptr);
  options.top_p = std::strtof(given["--top-p"].c_str(), nullptr);
  const auto row = take(b, logits.size() * 4), values = take(b, kShortlist * 4), ids = take(b, kShortlist * 4),
             sums = take(b, 8);
  must(b.upload(b.self, row.data(), logits.data(), logits.size() * 4));
  const kernels::TopArgs args{
      row.data(), values.data(),      ids.data(), sums.data(), 1, static_cast<int>(logits.size()),
      kShortlist, options.temperature};

  Sampler all(options), few(options);
  double all_ms = 0, few_ms = 0;
  int differ = 0, not_told = 0;
  std::vector<float> read(logits.size()), best(kShortlist);
  std::vector<TokenId> names(kShortlist);
  for (int i = 0; i < kPicks; ++i) {
    auto start = Clock::now();
    must(b.download(b.self, read.data(), row.data(), read.size() * 4));
    const TokenId expected = all.pick(read);
    all_ms += ms_since(start);
    start = Clock::now();
    double sum = 0;
    must(b.top(b.self, args));
    must(b.download(b.self, best.data(), values.data(), kShortlist * 4));
    must(b.download(b.self, names.data(), ids.data(), kShortlist * 4));
    must(b.download(b.self, &sum, sums.data(), sizeof sum));
    const auto id = few.pick(Shortlist{best, names, sum});
    not_told += id ? 0 : 1;
    differ += (id ? *id : few.pick(read)) != expected;
    few_ms += ms_since(start);
  }
  std::printf(
      "%s, %zu tokens, temperature %.2f, top-p %.2f: all %.3f ms, best %.3f ms (%d of %d needed all), %d differ\n",
      b.name.c_str(), logits.size(), double{options.temperature}, double{options.top_p}, all_ms / kPicks,
      few_ms / kPicks, not_told, kPicks, differ);
  return differ == 0 ? 0 : 1;
}
