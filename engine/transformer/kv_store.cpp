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
      n_layers_(config.n_layers),
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

size_t KvStore::bytes_of(const ModelConfig& config, kernels::DType type, int n_tokens) {
  return pages_for(n_tokens) * kPageTokens * bytes_per_token(config, type);
}

Status KvStore::check_format(const ModelConfig& config, kernels::DType type) {
  if (type != kernels::DType::Q8_0 || config.head_dim % kernels::kKvBlock == 0) return {};
  return Status(Code::Unsupported, "Keys and values of " + config.title + " cannot be kept in 8 bits: its heads have " +
                                       std::to_string(config.head_dim) + " numbers, no multiple of " +
                                       std::to_string(kernels::kKvBlock) + "; choose --kv f16");
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

// Memory for rows of at least one layer, of several where there is room.
Status KvStore::make_staging(const Part& part, size_t layer_bytes) const {
  for (size_t n =
           std::clamp(kStagedBytes / layer_bytes, size_t{1}, std::max(static_cast<size_t>(part.n_layers), size_t{1}));
       ; n /= 2) {
    if (part.staging.bytes() >= n * layer_bytes) return {};
    part.staging.reset();
    auto buffer = Buffer::allocate(*part.backend, n * layer_bytes);
    if (!buffer.ok() && n == 1) return buffer.status();
    if (buffer.ok()) part.staging = std::move(*buffer);
  }
}

Status KvStore::each_staged(int first_key, int n_tokens, uint8_t* host,
                            const std::function<Status(const Staged&)>& use) const {
  assert(first_key >= 0 && first_key + n_tokens <= size());
  const size_t half = static_cast<size_t>(n_tokens) * row_bytes_;
  if (half == 0) return {};
  for (const Part& part : parts_) {
    const bool in_host = part.backend->in_host_memory;
    if (!in_host) LL_RETURN_IF_ERROR(make_staging(part, 2 * half));
    const int most = in_host ? part.n_layers : static_cast<int>(part.staging.bytes() / (2 * half));
    for (int done = 0; done < part.n_layers;) {
      const int layer = part.first_layer + done, n = std::min(most, part.n_layers - done);
      const size_t bytes = 2 * half * static_cast<size_t>(n);
      const size_t at = 2 * half * static_cast<size_t>(layer);
      const DevicePtr rows = in_host ? reinterpret_cast<DevicePtr>(host + at) : part.staging.data();
      LL_RETURN_IF_ERROR(use(
          {part, at, bytes, {view(layer), rows, kernels::at(rows, half), type_, n_tokens, first_key, n, 2 * half}}));
      done += n;
    }
  }
  return {};
}

Status KvStore::read_rows(int first_key, int n_tokens, uint8_t* rows) const {
  return each_staged(first_key, n_tokens, rows, [&](const Staged& staged) -> Status {
    const kernels::Backend& b = *staged.part.backend;
    LL_RETURN_IF_ERROR(b.kv_read(b.self, staged.args));
    return b.in_host_memory ? Status() : b.download(b.self, rows + staged.at, staged.args.k, staged.bytes);
  });
}

Status KvStore::write_rows(int first_key, int n_tokens, const uint8_t* rows) {
  // Nothing is written to what is read from.
  return each_staged(first_key, n_tokens, const_cast<uint8_t*>(rows), [&](const Staged& staged) -> Status {
    const kernels::Backend& b = *staged.part.backend;
    if (!b.in_host_memory) LL_RETURN_IF_ERROR(b.upload(b.self, staged.args.k, rows + staged.at, staged.bytes));
    return b.kv_write(b.self, staged.args);
  });
}

}  // namespace longleaf
