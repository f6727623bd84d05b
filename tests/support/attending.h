// An attention within sequences, for tests.
#pragma once

#include <vector>

#include "kernels/training.h"

namespace longleaf::test {

using namespace longleaf::kernels;

// The shapes of one attention: two sequences, of which one has keys before its queries.
struct Attending {
  int heads = 4, kv_heads = 2, head_dim = 6;
  std::vector<Sequence> sequences = {{0, 5, 0, 5}, {5, 3, 5, 7}};
  int queries = 8, keys = 12;
  double scale = 0.4, soft_cap = 0;
  int window = 0;

  size_t query_size() const { return static_cast<size_t>(queries * heads * head_dim); }
  size_t key_size() const { return static_cast<size_t>(keys * kv_heads * head_dim); }
  SequenceAttention args() const {
    SequenceAttention a;
    a.sequences = sequences;
    a.n_heads = heads, a.n_kv_heads = kv_heads, a.head_dim = head_dim;
    a.scale = static_cast<float>(scale), a.soft_cap = static_cast<float>(soft_cap), a.window = window;
    return a;
  }
};

}  // namespace longleaf::test
