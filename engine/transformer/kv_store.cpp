#include "engine/transformer/kv_store.h"

#include <algorithm>

namespace longleaf {

using kernels::Buffer;
using kernels::DevicePtr;
using kernels::kPageTokens;

namespace {

size_t pages_for(int n_tokens) { return static_cast<size_t>((n_tokens + kPageTokens - 1) / kPageTokens); }

KvPool make_pool(const Placement& placement, size_t layer_bytes, int most_tokens) {
  std::vector<const kernels::Backend*> devices;
  std::vector<size_t> page_bytes;
  for (const DeviceShare& share : placement) {
    devices.push_back(share.backend);
    page_bytes.push_back(layer_bytes * static_cast<size_t>(share.n_layers));
  }
  return {std::move(devices), std::move(page_bytes), pages_for(most_tokens)};
}

}  // namespace

KvStore::KvStore(const ModelConfig& config, const Placement& placement, kernels::DType type, int most_tokens)
    : type_(type),
      n_kv_heads_(config.n_kv_heads),
      head_dim_(config.head_dim),
      row_bytes_(kernels::row_bytes(type, int64_t{config.n_kv_heads} * config.head_dim)),
      layer_bytes_(kernels::kv_page_layer_bytes(type, config.n_kv_heads, config.head_dim)),
      pool_(make_pool(placement, layer_bytes_, most_tokens)) {
  int first = 0;
  for (const DeviceShare& share : placement) {
    parts_.push_back({share.backend, first, share.n_layers, {}, {}});
    first += share.n_layers;
  }
}

size_t KvStore::bytes_per_token(const ModelConfig& config, kernels::DType type) {
  return 2 * static_cast<size_t>(config.n_layers) *
         kernels::row_bytes(type, int64_t{config.n_kv_heads} * config.head_dim);
}

Status KvStore::append(std::span<const int32_t> positions) {
  assert(size() % kPageTokens == 0 || !pool_.is_shared(pages_.back()));
  const size_t needed = pages_for(size() + static_cast<int>(positions.size()));
  if (needed > pages_.size()) {
    const size_t n = needed - pages_.size();
    LL_RETURN_IF_ERROR(pool_.reserve(n));
    std::vector<int> fresh;
    while (fresh.size() < n) fresh.push_back(pool_.take());
    LL_RETURN_IF_ERROR(attach(fresh));
  }
  positions_.insert(positions_.end(), positions.begin(), positions.end());
  return {};
}

// Pages that have this store as a user already go behind its others; if they cannot, they are given back.
Status KvStore::attach(const std::vector<int>& pages) {
  pages_.insert(pages_.end(), pages.begin(), pages.end());
  Status status;
  for (size_t i = 0; i < parts_.size() && status.ok(); ++i) status = send_table(i);
  if (!status.ok()) drop_pages(pages_.size() - pages.size());
  return status;
}

void KvStore::drop_pages(size_t n_left) {
  for (; pages_.size() > n_left; pages_.pop_back()) pool_.give_back(pages_.back());
}

Status KvStore::send_table(size_t device) {
  Part& part = parts_[device];
  const size_t bytes = pages_.size() * sizeof(DevicePtr);
  if (part.page_table.bytes() < bytes) {
    auto table = Buffer::allocate(*part.backend, std::max(bytes, 2 * part.page_table.bytes()));
    if (!table.ok()) return table.status();
    part.page_table = std::move(*table);
  }
  std::vector<DevicePtr> addresses;
  for (int page : pages_) addresses.push_back(pool_.address(page, device));
  return part.backend->upload(part.backend->self, part.page_table.data(), addresses.data(), bytes);
}

void KvStore::truncate(int size) {
  assert(size >= 0 && size <= this->size());
  positions_.resize(static_cast<size_t>(size));
  drop_pages(pages_for(size));
}

void KvStore::keep(const KvRunKey& key, int first_key) {
  assert(first_key % kPageTokens == 0 && first_key < size());
  pool_.keep(key, {{pages_.begin() + first_key / kPageTokens, pages_.end()},
                   {positions_.begin() + first_key, positions_.end()}});
  end_page();
}

Result<bool> KvStore::recall(const KvRunKey& key) {
  assert(size() % kPageTokens == 0);
  const KvRun* run = pool_.find(key);
  if (run == nullptr) return false;
  for (int page : run->pages) pool_.share(page);
  LL_RETURN_IF_ERROR(attach(run->pages));
  positions_.insert(positions_.end(), run->positions.begin(), run->positions.end());
  end_page();
  return true;
}

void KvStore::end_page() { positions_.resize(pages_for(size()) * kPageTokens, positions_.back()); }

const KvStore::Part& KvStore::part_of(int layer) const {
  return *std::find_if(parts_.begin(), parts_.end(),
                       [&](const Part& part) { return layer < part.first_layer + part.n_layers; });
}

kernels::KvView KvStore::view(int layer) const {
  const Part& part = part_of(layer);
  return {part.page_table.data(), static_cast<size_t>(layer - part.first_layer) * layer_bytes_, type_, n_kv_heads_,
          head_dim_};
}

Status KvStore::staging(const Part& part, int n_tokens) const {
  const size_t bytes = 2 * static_cast<size_t>(n_tokens) * row_bytes_;
  if (part.staging.bytes() >= bytes) return {};
  auto buffer = Buffer::allocate(*part.backend, bytes);
  if (!buffer.ok()) return buffer.status();
  part.staging = std::move(*buffer);
  return {};
}

Status KvStore::read_rows(int layer, int first_key, int n_tokens, uint8_t* k, uint8_t* v) const {
  assert(first_key >= 0 && first_key + n_tokens <= size());
  const Part& part = part_of(layer);
  const kernels::Backend& b = *part.backend;
  const size_t bytes = static_cast<size_t>(n_tokens) * row_bytes_;
  LL_RETURN_IF_ERROR(staging(part, n_tokens));
  const auto v_rows = kernels::at(part.staging.data(), bytes);
  LL_RETURN_IF_ERROR(b.kv_read(b.self, {view(layer), part.staging.data(), v_rows, type_, n_tokens, first_key}));
  LL_RETURN_IF_ERROR(b.download(b.self, k, part.staging.data(), bytes));
  return b.download(b.self, v, v_rows, bytes);
}

Status KvStore::write_rows(int layer, int first_key, int n_tokens, const uint8_t* k, const uint8_t* v) {
  assert(first_key >= 0 && first_key + n_tokens <= size());
  const Part& part = part_of(layer);
  const kernels::Backend& b = *part.backend;
  const size_t bytes = static_cast<size_t>(n_tokens) * row_bytes_;
  LL_RETURN_IF_ERROR(staging(part, n_tokens));
  const auto v_rows = kernels::at(part.staging.data(), bytes);
  LL_RETURN_IF_ERROR(b.upload(b.self, part.staging.data(), k, bytes));
  LL_RETURN_IF_ERROR(b.upload(b.self, v_rows, v, bytes));
  return b.kv_write(b.self, {view(layer), part.staging.data(), v_rows, type_, n_tokens, first_key});
}

}  // namespace longleaf
