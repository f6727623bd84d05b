// Keys and values of one token sequence, all layers, in pages of kPageTokens tokens on the devices of its model.
// Keys lie rotated at the position their token had when it was written.
// Not thread-safe: one thread owns it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/model.h"
#include "engine/transformer/kv_pool.h"

namespace longleaf {

class KvStore {
 public:
  // `type` as check_format wants it. The devices must outlive the store.
  //   most_tokens  that runs may be kept for, together with the sequence itself
  KvStore(const ModelConfig& config, const Placement& placement, kernels::DType type, int most_tokens = 0);
  // All layers on one device.
  KvStore(const ModelConfig& config, const kernels::Backend& backend, kernels::DType type)
      : KvStore(config, Placement{{&backend, config.n_layers}}, type) {}

  int size() const { return static_cast<int>(positions_.size()); }
  kernels::DType type() const { return type_; }
  // Position each key was rotated at.
  const std::vector<int32_t>& positions() const { return positions_; }

  // Makes room behind the last key and records the positions of what will be written there.
  // Returns NoMemory; the store is then as before.
  Status append(std::span<const int32_t> positions);
  // Forgets keys from `size` on; their pages can be used again. REQUIRES: `size` does not cut a run that is kept.
  void truncate(int size);

  // Keeps the keys from `first_key` on for `recall`, also when the store forgets them. They begin on a page, must not
  // be written again, and what comes behind them begins on a new page: keys between have no meaning.
  void keep(const KvRunKey& key, int first_key);
  // Appends the run if it is still kept; else false. REQUIRES: the store ends with a page.
  Result<bool> recall(const KvRunKey& key);
  bool keeps(const KvRunKey& key) const { return pool_.has(key); }

  kernels::KvView view(int layer) const;

  // Keys and values [first_key, first_key + n_tokens) of all layers, in host memory: per layer K, then V, each
  // (n_tokens, n_kv_heads, head_dim) in the store's type, exactly what the kernels read.
  size_t rows_bytes(int n_tokens) const { return 2 * static_cast<size_t>(n_layers_ * n_tokens) * row_bytes_; }
  Status read_rows(int first_key, int n_tokens, uint8_t* rows) const;
  Status write_rows(int first_key, int n_tokens, const uint8_t* rows);

  // Bytes a token takes, all layers.
  static size_t bytes_per_token(const ModelConfig& config, kernels::DType type);
  // Of so many, in whole pages.
  static size_t bytes_of(const ModelConfig& config, kernels::DType type, int n_tokens);
  // Of rows that are copied to or from another device's memory at once; a layer's may be more.
  static constexpr size_t kStagedBytes = size_t{8} << 20;
  // Unsupported where the model's heads do not fit the format.
  static Status check_format(const ModelConfig& config, kernels::DType type);

 private:
  // What one device has of every page.
  struct Part {
    const kernels::Backend* backend;
    int first_layer, n_layers;
    kernels::Buffer page_table;
    mutable kernels::Buffer staging;  // rows on their way to or from the host
  };
  const Part& part_of(int layer) const;
  Status attach(const std::vector<int>& pages);
  Status send_table(size_t device);
  void drop_pages(size_t n_left);
  Status make_staging(const Part& part, size_t layer_bytes) const;
  // Rows of some layers of one device: where they are in host memory, if the device computes there, else as many as are
  // staged at once.
  struct Staged {
    const Part& part;
    size_t at, bytes;  // in the host's rows
    kernels::KvRowsArgs args;
  };
  Status each_staged(int first_key, int n_tokens, uint8_t* host, const std::function<Status(const Staged&)>& use) const;
  void end_page();

  kernels::DType type_;
  int n_layers_, n_kv_heads_, head_dim_;
  size_t row_bytes_, layer_bytes_;
  std::vector<int32_t> positions_;
  std::vector<Part> parts_;
  KvPool pool_;
  std::vector<int> pages_;
};

}  // namespace longleaf
