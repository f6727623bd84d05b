// Pages of keys and values on the devices of one model, and runs of tokens that stay there between questions, so that
// what a question needs of a document is often on the device already. The runs used least recently make way: memory
// does not grow with the document. InfiniteHiP (arXiv 2502.08910) keeps hot keys on the device in the same way.
// Not thread-safe: one thread owns it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/model.h"

namespace longleaf {

// Names a run: the memory file's key and the entry in it.
struct KvRunKey {
  uint64_t memory = 0;
  size_t entry = 0;
  auto operator<=>(const KvRunKey&) const = default;
};

struct KvRun {
  std::vector<int> pages;
  std::vector<int32_t> positions;  // of its tokens
};

class KvPool {
 public:
  //   page_bytes  of a page on each device
  //   most_pages  that are allocated for the sake of runs that are kept; what is in use may be more
  KvPool(std::vector<const kernels::Backend*> devices, std::vector<size_t> page_bytes, size_t most_pages);

  // Sees to it that `n` pages are free: runs make way, or memory is allocated. Returns NoMemory when both end.
  Status reserve(size_t n);
  // A page with one user. REQUIRES: one is free.
  int take();
  // One user more, and one less; a page without any is free.
  void share(int page) { ++pages_[static_cast<size_t>(page)].users; }
  void give_back(int page);
  bool is_shared(int page) const { return pages_[static_cast<size_t>(page)].users > 1; }
  kernels::DevicePtr address(int page, size_t device) const;

  // Keeps a run, whose pages have a user, and the run's own share of them.
  void keep(const KvRunKey& key, KvRun run);
  bool has(const KvRunKey& key) const { return kept_.count(key) > 0; }
  // The run if it is kept, or nullptr; it counts as just used; valid until the next call.
  const KvRun* find(const KvRunKey& key);

 private:
  struct Page {
    std::vector<kernels::Buffer> memory;  // per device
    int users = 0;
  };
  struct Kept {
    KvRun run;
    uint64_t used = 0;  // the later, the larger
  };
  Status allocate();
  bool forget_oldest();

  std::vector<const kernels::Backend*> devices_;
  std::vector<size_t> page_bytes_;
  size_t most_pages_;
  std::vector<Page> pages_;
  std::vector<int> free_;
  std::map<KvRunKey, Kept> kept_;
  uint64_t clock_ = 0;
};

}  // namespace longleaf
