// Rate of one matrix product, per format and number of tokens: giga-operations per second (a multiply and an add are
// two) and bytes of packed weights read per second.
//
//   matmul_bench ROWS COLS [--threads N] [--formats Q8_0,Q4_K] [--tokens 1,4,512] [--isa avx2]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu_backend.h"

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

void measure(const Backend& backend, const Format& format, int rows, int cols, int tokens) {
  std::vector<uint8_t> stored(row_bytes(format.type, cols) * static_cast<size_t>(rows), 0x11);
  const Weight w{format.type, rows, cols, stored.data()};
  const size_t bytes = backend.packed_bytes(backend.self, w);
  const auto packed = Buffer::allocate(backend, bytes);
  const auto x = Buffer::allocate(backend, static_cast<size_t>(tokens) * static_cast<size_t>(cols) * 4);
  const auto out = Buffer::allocate(backend, static_cast<size_t>(tokens) * static_cast<size_t>(rows) * 4);
  if (!packed.ok() || !x.ok() || !out.ok() || !backend.pack(backend.self, w, packed->data()).ok()) std::exit(1);
  const std::vector<float> ones(static_cast<size_t>(tokens) * static_cast<size_t>(cols), 1.0f);
  if (!backend.upload(backend.self, x->data(), ones.data(), ones.size() * 4).ok()) std::exit(1);
  const Product product{{format.type, rows, cols, packed->data()}, nullptr, out->data()};
  const double operations = 2.0 * rows * cols * tokens;
  const int runs = static_cast<int>(2e11 / operations) + 3;
  double best = 1e30;
  for (int part = 0; part < 3; ++part) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < runs; ++i)
      if (!backend.matmul(backend.self, {&product, 1}, x->data(), tokens).ok()) std::exit(1);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / runs;
    best = seconds < best ? seconds : best;
  }
  std::printf("%-7s %5d tokens: %7.1f GOP/s %6.1f GB/s of weights\n", format.name, tokens, operations / best / 1e9,
              static_cast<double>(bytes) / best / 1e9);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string formats = "Q8_0,Q4_0,Q4_K,Q6_K,BF16", tokens = "1,512";
  int threads = 0;
  Isa isa = Isa::Best;
  if (argc < 3 || std::atoi(argv[1]) < 1 || std::atoi(argv[2]) < 256 || std::atoi(argv[2]) % 256 != 0)
    return std::printf(
               "matmul_bench ROWS COLS [--threads N] [--formats Q8_0,Q4_K] [--tokens 1,512] [--isa avx2]\n"
               "COLS is a multiple of 256\n"),
           2;
  for (int i = 3; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--threads") == 0) threads = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--formats") == 0) formats = argv[i + 1];
    if (std::strcmp(argv[i], "--tokens") == 0) tokens = argv[i + 1];
    if (std::strcmp(argv[i], "--isa") == 0) isa = isa_named(argv[i + 1]);
  }
  const auto backend = make_cpu_backend({.isa = isa, .n_threads = threads, .limit_bytes = 0});
  if (backend == nullptr) return std::printf("This processor has no such instructions\n"), 1;
  std::printf("%s, %s x %s\n", backend->name.c_str(), argv[1], argv[2]);
  for (const auto& name : words(formats))
    for (const Format& format : kFormats)
      if (name == format.name)
        for (const auto& n : words(tokens))
          measure(*backend, format, std::atoi(argv[1]), std::atoi(argv[2]), std::max(1, std::atoi(n.c_str())));
}
