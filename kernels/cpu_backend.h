// The CPU as a device.
#pragma once

#include "kernels/backend.h"

namespace longleaf::kernels {

enum class Isa { Best, Baseline, Sse42, Avx2, AvxVnni, Avx512, Avx512Bf16, NeonDot };

struct CpuOptions {
  Isa isa = Isa::Best;     // another than Best is for tests and comparisons
  int n_threads = 0;       // 0: one per processor
  size_t limit_bytes = 0;  // allocations beyond this return NoMemory; 0: no limit but the machine's
};

// Whole tiles of the products (12 tokens with AVX-512), and activations stay in the cache.
constexpr int kCpuBatchTokens = 252;

// Returns nullptr when this processor lacks the instruction set asked for; never for Best.
BackendPtr make_cpu_backend(const CpuOptions& options = {});

// The same operations by the twins (plain loops, sums in double), for comparison in tests.
BackendPtr make_reference_backend();

}  // namespace longleaf::kernels
