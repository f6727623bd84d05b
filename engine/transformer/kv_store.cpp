#include "engine/transformer/kv_store.h"

#include <algorithm>

namespace longleaf {

using kernels::Buffer;
using kernels::kPageTokens;

KvStore::KvStore(const ModelConfig& config, const kernels::Backend& backend, kernels::DType type)
    : backend_(&backend),
      type_(type),
      n_layers_(config.n_layers),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      row_bytes_(kernels::row_bytes(type, int64_t{config.n_kv_heads} * config.head_dim)),
      layer_bytes_(kernels::kv_page_layer_bytes(type, config.n_kv_heads, config.head_dim)) {}

size_t KvStore::bytes_per_token(const ModelConfig& config, kernels::DType type) {
  return 2 * static_cast<size_t>(config.n_layers) *
         kernels::row_bytes(type, int64_t{config.n_kv_heads} * config.head_dim);
}

Status KvStore::append(std::span<const int32_t> positions) {
  LL_RETURN_IF_ERROR(grow(size() + static_cast<int>(positions.size())));
  positions_.insert(positions_.end(), positions.begin(), positions.end());
  return {};
}

void KvStore::truncate(int size) {
  assert(size >= 0 && size <= this->size());
  positions_.resize(static_cast<size_t>(size));
}

Status KvStore::grow(int n_tokens) {
  const auto needed = static_cast<size_t>((n_tokens + kPageTokens - 1) / kPageTokens);
  if (needed * sizeof(kernels::DevicePtr) <= page_table_.bytes()) return {};
  while (pages_.size() < needed) {
    auto page = Buffer::allocate(*backend_, layer_bytes_ * static_cast<size_t>(n_layers_));
    if (!page.ok()) return page.status();
    pages_.push_back(std::move(*page));
  }
  auto table = Buffer::allocate(*backend_, pages_.size() * sizeof(kernels::DevicePtr));
  if (!table.ok()) return table.status();
  std::vector<kernels::DevicePtr> addresses;
  for (const Buffer& page : pages_) addresses.push_back(page.data());
  LL_RETURN_IF_ERROR(backend_->upload(backend_->self, table->data(), addresses.data(), table->bytes()));
  page_table_ = std::move(*table);
  return {};
}

kernels::KvView KvStore::view(int layer) const {
  return {page_table_.data(), static_cast<size_t>(layer) * layer_bytes_, type_, n_kv_heads_, head_dim_};
}

Status KvStore::staging(int n_tokens) const {
  const size_t bytes = 2 * static_cast<size_t>(n_tokens) * row_bytes_;
  if (staging_.bytes() >= bytes) return {};
  auto buffer = Buffer::allocate(*backend_, bytes);
  if (!buffer.ok()) return buffer.status();
  staging_ = std::move(*buffer);
  return {};
}

Status KvStore::read_rows(int layer, int first_key, int n_tokens, uint8_t* k, uint8_t* v) const {
  assert(first_key >= 0 && first_key + n_tokens <= size());
  const size_t bytes = static_cast<size_t>(n_tokens) * row_bytes_;
  LL_RETURN_IF_ERROR(staging(n_tokens));
  const auto v_rows = kernels::at(staging_.data(), bytes);
  LL_RETURN_IF_ERROR(
      backend_->kv_read(backend_->self, {view(layer), staging_.data(), v_rows, type_, n_tokens, first_key}));
  LL_RETURN_IF_ERROR(backend_->download(backend_->self, k, staging_.data(), bytes));
  return backend_->download(backend_->self, v, v_rows, bytes);
}

Status KvStore::write_rows(int layer, int first_key, int n_tokens, const uint8_t* k, const uint8_t* v) {
  assert(first_key >= 0 && first_key + n_tokens <= size());
  const size_t bytes = static_cast<size_t>(n_tokens) * row_bytes_;
  LL_RETURN_IF_ERROR(staging(n_tokens));
  const auto v_rows = kernels::at(staging_.data(), bytes);
  LL_RETURN_IF_ERROR(backend_->upload(backend_->self, staging_.data(), k, bytes));
  LL_RETURN_IF_ERROR(backend_->upload(backend_->self, v_rows, v, bytes));
  return backend_->kv_write(backend_->self, {view(layer), staging_.data(), v_rows, type_, n_tokens, first_key});
}

}  // namespace longleaf
