// Where a key's row lies in the pages of a KV store.
#pragma once

#include "kernels/span_attention.h"

namespace longleaf::kernels::cuda {

__device__ inline uint8_t* kv_row(const KvView& kv, int key, int head, bool value) {
  auto* const* pages = reinterpret_cast<uint8_t* const*>(kv.page_table);
  const size_t row_bytes = static_cast<size_t>(kv.head_dim) * (kv.type == DType::F32 ? 4 : 2);
  const size_t tile = static_cast<size_t>(value ? kv.n_kv_heads + head : head) * kPageTokens;
  return pages[key / kPageTokens] + kv.layer_offset + (tile + key % kPageTokens) * row_bytes;
}

// The first key as a plain number.
template <typename Args>
__device__ inline Args placed(Args a) {
  if (a.base_key != nullptr) a.first_key += *a.base_key;
  return a;
}

}  // namespace longleaf::kernels::cuda
