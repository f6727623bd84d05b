#include "engine/base/thread_pool.h"

#include <algorithm>

namespace longleaf {

ThreadPool::ThreadPool(int n_threads) {
  if (n_threads <= 0) n_threads = std::max(1u, std::thread::hardware_concurrency());
  for (int i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::parallel_for(int count, int grain, const std::function<void(int, int, int)>& body) {
  if (count <= 0) return;
  if (workers_.empty() || count <= grain) {
    for (int begin = 0; begin < count; begin += grain) body(begin, std::min(count, begin + grain), 0);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    count_ = count;
    grain_ = grain;
    body_ = &body;
    next_ = 0;
    busy_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  wake_.notify_all();
  take_pieces(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
}

void ThreadPool::take_pieces(int thread) {
  for (int begin = next_.fetch_add(grain_); begin < count_; begin = next_.fetch_add(grain_))
    (*body_)(begin, std::min(count_, begin + grain_), thread);
}

void ThreadPool::work(int thread) {
  long seen = 0;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
    }
    take_pieces(thread);
    std::lock_guard lock(mutex_);
    if (--busy_ == 0) done_.notify_one();
  }
}

}  // namespace longleaf
