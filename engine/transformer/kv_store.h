// Keys and values of one token sequence, all layers, in pages of kPageTokens tokens on a device.
// Keys lie rotated at the position their token had when it was written.
// Not thread-safe: one thread owns it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/model.h"

namespace longleaf {

class KvStore {
 public:
  // type  F32 or F16. `backend` must outlive the store.
  KvStore(const ModelConfig& config, const kernels::Backend& backend, kernels::DType type);

  int size() const { return static_cast<int>(positions_.size()); }
  kernels::DType type() const { return type_; }
  // Position each key was rotated at.
  const std::vector<int32_t>& positions() const { return positions_; }

  // Makes room behind the last key and records the positions of what will be written there.
  // Returns NoMemory; the store is then as before.
  Status append(std::span<const int32_t> positions);
  // Forgets keys from `size` on. Pages are kept for reuse.
  void truncate(int size);

  kernels::KvView view(int layer) const;

  // K and V of one layer for keys [first_key, first_key + n_tokens), as host rows (n_tokens, n_kv_heads, head_dim) in
  // the store's type: exactly what the kernels read.
  size_t row_bytes() const { return row_bytes_; }  // of K (or V) of one token in one layer
  Status read_rows(int layer, int first_key, int n_tokens, uint8_t* k, uint8_t* v) const;
  Status write_rows(int layer, int first_key, int n_tokens, const uint8_t* k, const uint8_t* v);

  // Bytes a token takes, all layers.
  static size_t bytes_per_token(const ModelConfig& config, kernels::DType type);

 private:
  Status grow(int n_tokens);
  Status staging(int n_tokens) const;

  const kernels::Backend* backend_;
  kernels::DType type_;
  int n_layers_, n_kv_heads_, head_dim_;
  size_t row_bytes_, layer_bytes_;
  std::vector<int32_t> positions_;
  std::vector<kernels::Buffer> pages_;
  kernels::Buffer page_table_;
  mutable kernels::Buffer staging_;  // K rows, then V rows, on their way to or from the host
};

}  // namespace longleaf
