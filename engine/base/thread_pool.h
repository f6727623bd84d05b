// A fixed set of threads that share loops. One loop at a time: the owner calls, every thread that is awake in time
// helps, the call returns when all is done. Nobody waits for a thread that has not begun: on a busy machine the system
// may not run it for longer than the loop takes. Between loops that follow each other closely threads spin, since
// waking one takes longer than many of the loops; after that they sleep. Not thread-safe: one thread owns it.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace longleaf {

class ThreadPool {
 public:
  // n_threads counts the calling thread; 0 means one per processor that this process may use. Fewer where the system
  // gives no more.
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
  std::atomic<uint32_t> generation_{0};  // one more for every loop
  std::atomic<int> untaken_{0};          // pieces of the current loop that nobody has taken
  std::atomic<int> undone_{0};           // … that are not done
  std::atomic<bool> stopping_{false};    // written before generation_ moves on
  // Of the current loop. Read only by who has taken a piece: the loop does not end before that is done.
  int count_ = 0, grain_ = 1, n_pieces_ = 0;
  const std::function<void(int, int, int)>* body_ = nullptr;
};

}  // namespace longleaf
