// Where a key's row lies in the pages of a KV store.
#pragma once

#include "kernels/cuda/numbers.cuh"
#include "kernels/span_attention.h"

namespace longleaf::kernels::cuda {

__device__ inline uint8_t* kv_row(const KvView& kv, int key, int head, bool value) {
  auto* const* pages = reinterpret_cast<uint8_t* const*>(kv.page_table);
  const size_t row_bytes = kv_row_bytes(kv.type, kv.head_dim);
  const size_t tile = static_cast<size_t>(value ? kv.n_kv_heads + head : head) * kPageTokens;
  return pages[key / kPageTokens] + kv.layer_offset + (tile + key % kPageTokens) * row_bytes;
}

// Number i of a row.
__device__ inline float kv_number(const uint8_t* row, DType type, int64_t i) {
  if (type == DType::F32) return reinterpret_cast<const float*>(row)[i];
  if (type == DType::F16) return from_half(reinterpret_cast<const uint16_t*>(row)[i]);
  const uint8_t* block = row + i / kKvBlock * kKvBlockBytes;
  const auto code = static_cast<int8_t>(block[2 + i % kKvBlock]);
  return from_half(*reinterpret_cast<const uint16_t*>(block)) * static_cast<float>(code);
}

// The first key as a plain number.
template <typename Args>
__device__ inline Args placed(Args a) {
  if (a.base_key != nullptr) a.first_key += *a.base_key;
  return a;
}

}  // namespace longleaf::kernels::cuda
