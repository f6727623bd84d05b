// A fixed set of threads that share loops. One loop at a time: the owner calls, every thread helps, the call returns
// when all is done. Idle threads sleep. Not thread-safe: one thread owns it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace longleaf {

class ThreadPool {
 public:
  // n_threads counts the calling thread; 0 means one per processor.
  explicit ThreadPool(int n_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) for pieces of [0, count) of at most `grain`, each exactly once, in any order and on
  // any thread (0 <= thread < n_threads()). Returns when all calls have returned.
  void parallel_for(int count, int grain, const std::function<void(int, int, int)>& body);

 private:
  void work(int thread);
  void take_pieces(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  long generation_ = 0;    // guarded by mutex_
  int busy_ = 0;           // guarded by mutex_: workers still inside the current loop
  bool stopping_ = false;  // guarded by mutex_
  std::atomic<int> next_{0};
  int count_ = 0, grain_ = 1;
  const std::function<void(int, int, int)>* body_ = nullptr;
};

}  // namespace longleaf
