#include "engine/transformer/kv_pool.h"

#include <algorithm>

namespace longleaf {

KvPool::KvPool(std::vector<const kernels::Backend*> devices, std::vector<size_t> page_bytes, size_t most_pages)
    : devices_(std::move(devices)), page_bytes_(std::move(page_bytes)), most_pages_(most_pages) {}

Status KvPool::reserve(size_t n) {
  while (free_.size() < n) {
    if (pages_.size() >= most_pages_ && forget_oldest()) continue;
    const Status status = allocate();
    if (status.ok()) continue;
    if (status.code() != Code::NoMemory || !forget_oldest()) return status;
  }
  return {};
}

int KvPool::take() {
  assert(!free_.empty());
  const int page = free_.back();
  free_.pop_back();
  share(page);
  return page;
}

Status KvPool::allocate() {
  Page page;
  for (size_t i = 0; i < devices_.size(); ++i) {
    LL_ASSIGN_OR_RETURN(auto memory, kernels::Buffer::allocate(*devices_[i], page_bytes_[i]));
    page.memory.push_back(std::move(memory));
  }
  free_.push_back(static_cast<int>(pages_.size()));
  pages_.push_back(std::move(page));
  return {};
}

void KvPool::give_back(int page) {
  if (--pages_[static_cast<size_t>(page)].users == 0) free_.push_back(page);
}

kernels::DevicePtr KvPool::address(int page, size_t device) const {
  return pages_[static_cast<size_t>(page)].memory[device].data();
}

void KvPool::keep(const KvRunKey& key, KvRun run) {
  const auto [it, is_new] = kept_.try_emplace(key);
  if (!is_new) return;
  for (int page : run.pages) share(page);
  it->second = {std::move(run), ++clock_};
}

const KvRun* KvPool::find(const KvRunKey& key) {
  const auto it = kept_.find(key);
  if (it == kept_.end()) return nullptr;
  it->second.used = ++clock_;
  return &it->second.run;
}

// False when nothing is kept.
bool KvPool::forget_oldest() {
  if (kept_.empty()) return false;
  const auto oldest = std::min_element(kept_.begin(), kept_.end(),
                                       [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
  for (int page : oldest->second.run.pages) give_back(page);
  kept_.erase(oldest);
  return true;
}

}  // namespace longleaf
