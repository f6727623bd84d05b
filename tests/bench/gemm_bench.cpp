// Rate of products of two matrices of floats, as training needs them: giga-operations per second (a multiply and an add
// are two), the best of ten.
//
//   gemm_bench [THREADS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/cpu_backend.h"

using namespace longleaf;
using namespace longleaf::kernels;

namespace {

struct Size {
  int m, n, k;
  bool left, right;  // transposed
};
constexpr Size kSizes[] = {{2048, 256, 256, false, true},   {2048, 1024, 256, false, true},
                           {2048, 256, 1024, false, false}, {256, 1024, 2048, true, false},
                           {160, 384, 8192, true, false},   {512, 2048, 2048, false, true},
                           {512, 2048, 2048, false, false}, {512, 8192, 2048, false, true}};

void check(const Status& status) {
  if (status.ok()) return;
  std::printf("%s\n", status.message().c_str());
  std::exit(1);
}

Buffer filled(const Backend& backend, size_t n) {
  auto buffer = Buffer::allocate(backend, n * 4);
  check(buffer.status());
  check(backend.upload(backend.self, buffer->data(), std::vector<float>(n, 0.5f).data(), n * 4));
  return std::move(*buffer);
}

double best_rate(const Backend& backend, const Size& s) {
  const auto m = static_cast<size_t>(s.m), n = static_cast<size_t>(s.n), k = static_cast<size_t>(s.k);
  const Buffer a = filled(backend, m * k), b = filled(backend, k * n), c = filled(backend, m * n);
  const GemmArgs args{{a.data(), s.left ? 1 : s.k, s.left ? s.m : 1},
                      {b.data(), s.right ? 1 : s.n, s.right ? s.k : 1},
                      c.data(),
                      s.n,
                      s.m,
                      s.n,
                      s.k,
                      1,
                      false};
  double best = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto start = std::chrono::steady_clock::now();
    check(backend.training->gemm(backend.self, args));
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2e-9 * s.m * s.n * s.k / best;
}

}  // namespace

int main(int argc, char** argv) {
  const auto backend =
      make_cpu_backend({.isa = Isa::Best, .n_threads = argc > 1 ? std::atoi(argv[1]) : 0, .limit_bytes = 0});
  std::printf("%s\n", backend->name.c_str());
  for (const Size& s : kSizes)
    std::printf("%5d x %5d x %5d%s%s  %7.1f GFLOP/s\n", s.m, s.n, s.k, s.left ? ", left transposed" : "",
                s.right ? ", right transposed" : "", best_rate(*backend, s));
  return 0;
}
