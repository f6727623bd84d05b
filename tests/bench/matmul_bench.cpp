// Rate of one matrix product, per format and number of tokens: giga-operations per second (a multiply and an add are
// two) and bytes of packed weights read per second.
//
//   matmul_bench ROWS COLS [--threads N] [--formats Q8_0,Q4_K] [--tokens 1,4,512] [--isa avx2] [--device cuda]
//
// On a card, products go round as many copies of the weight as no cache holds. [--device cuda]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu_backend.h"
#include "kernels/cuda_backend.h"

using namespace longleaf;
using namespace longleaf::kernels;

namespace {

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> all;
  std::stringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) all.push_back(word);
  return all;
}

Isa isa_named(const std::string& name) {
  const std::pair<const char*, Isa> all[] = {
      {"best", Isa::Best},        {"baseline", Isa::Baseline}, {"sse4.2", Isa::Sse42},    {"avx2", Isa::Avx2},
      {"avx-vnni", Isa::AvxVnni}, {"avx-512", Isa::Avx512},    {"neon-dot", Isa::NeonDot}};
  std::string known;
  for (const auto& [own, isa] : all) {
    if (name == own) return isa;
    known += std::string(" ") + own;
  }
  std::printf("--isa is one of%s\n", known.c_str());
  std::exit(2);
}

[[noreturn]] void give_up(const Status& status) {
  std::printf("%s\n", status.message().c_str());
  std::exit(1);
}

void check(const Status& status) {
  if (!status.ok()) give_up(status);
}

Buffer allocate(const Backend& backend, size_t bytes) {
  auto buffer = Buffer::allocate(backend, bytes);
  if (!buffer.ok()) give_up(buffer.status());
  return std::move(*buffer);
}

// Seconds of one product, from the first launch to the last result.
double seconds_of(const Backend& backend, const std::vector<Product>& products, DevicePtr x, int tokens, int runs) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < runs; ++i)
    check(backend.matmul(backend.self, {&products[static_cast<size_t>(i) % products.size()], 1}, x, tokens));
  float last = 0;
  check(backend.download(backend.self, &last, products[0].out, sizeof last));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / runs;
}

void measure(const Backend& backend, const Format& format, int rows, int cols, int tokens, size_t least_bytes) {
  const auto n = static_cast<size_t>(tokens);
  std::vector<uint8_t> stored(row_bytes(format.type, cols) * static_cast<size_t>(rows), 0x11);
  const Weight w{format.type, rows, cols, stored.data()};
  const size_t bytes = backend.packed_bytes(backend.self, w);
  const Buffer x = allocate(backend, n * static_cast<size_t>(cols) * 4);
  const Buffer out = allocate(backend, n * static_cast<size_t>(rows) * 4);
  const std::vector<float> ones(n * static_cast<size_t>(cols), 1.0f);
  check(backend.upload(backend.self, x.data(), ones.data(), ones.size() * 4));
  std::vector<Buffer> copies;
  std::vector<Product> products;
  do {
    copies.push_back(allocate(backend, bytes));
    check(backend.pack(backend.self, w, copies.back().data()));
    products.push_back({{format.type, rows, cols, copies.back().data()}, nullptr, out.data()});
  } while (copies.size() * bytes < least_bytes);
  const double operations = 2.0 * rows * cols * tokens, enough = least_bytes > 0 ? 2e13 : 2e11;
  const int runs = std::min(20000, static_cast<int>(enough / operations) + 3);
  double best = 1e30;
  for (int part = 0; part < 3; ++part) best = std::min(best, seconds_of(backend, products, x.data(), tokens, runs));
  std::printf("%-7s %5d tokens: %9.1f GOP/s %7.1f GB/s of weights\n", format.name, tokens, operations / best / 1e9,
              static_cast<double>(bytes) / best / 1e9);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string formats = "Q8_0,Q4_0,Q4_K,Q6_K,BF16", tokens = "1,512";
  bool on_card = false;
  int threads = 0;
  Isa isa = Isa::Best;
  if (argc < 3 || std::atoi(argv[1]) < 1 || std::atoi(argv[2]) < 256 || std::atoi(argv[2]) % 256 != 0)
    return std::printf(
               "matmul_bench ROWS COLS [--threads N] [--formats Q8_0,Q4_K] [--tokens 1,512] [--isa avx2] [--device "
               "cuda]\n"
               "COLS is a multiple of 256\n"),
           2;
  for (int i = 3; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--threads") == 0) threads = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--formats") == 0) formats = argv[i + 1];
    if (std::strcmp(argv[i], "--tokens") == 0) tokens = argv[i + 1];
    if (std::strcmp(argv[i], "--isa") == 0) isa = isa_named(argv[i + 1]);
    if (std::strcmp(argv[i], "--device") == 0) on_card = std::strcmp(argv[i + 1], "cuda") == 0;
  }
  BackendPtr backend;
  if (on_card) {
    auto card = make_cuda_backend();
    if (!card.ok()) give_up(card.status());
    backend = std::move(*card);
  } else {
    backend = make_cpu_backend({.isa = isa, .n_threads = threads, .limit_bytes = 0});
  }
  if (backend == nullptr) return std::printf("This processor has no such instructions\n"), 1;
  std::printf("%s, %s x %s\n", backend->name.c_str(), argv[1], argv[2]);
  for (const auto& name : words(formats))
    for (const Format& format : kFormats)
      if (name == format.name)
        for (const auto& n : words(tokens))
          measure(*backend, format, std::atoi(argv[1]), std::atoi(argv[2]), std::max(1, std::atoi(n.c_str())),
                  on_card ? size_t{512} << 20 : 0);
}
