#include "engine/base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <exception>

#include "engine/base/processors.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace longleaf {
namespace {

// Longer than the pause between two loops of one forward pass, and short enough not to be seen as load.
constexpr auto kSpin = std::chrono::microseconds(100);

void relax() {
#ifdef __x86_64__
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `value` is not `old` any more, then sleeps until it is not.
template <typename T>
void wait_while(const std::atomic<T>& value, T old) {
  const auto give_up = std::chrono::steady_clock::now() + kSpin;
  while (value.load(std::memory_order_acquire) == old) {
    for (int i = 0; i < 64; ++i) {
      relax();
      if (value.load(std::memory_order_acquire) != old) return;
    }
    if (std::chrono::steady_clock::now() >= give_up) return value.wait(old, std::memory_order_acquire);
  }
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) {
  if (n_threads <= 0) n_threads = usable_processors();
  try {
    workers_.reserve(static_cast<size_t>(n_threads - 1));
    for (int i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::exception&) {  // no more threads are to be had: work with those there are
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::parallel_for(int count, int grain, const std::function<void(int, int, int)>& body) {
  if (count <= 0) return;
  if (workers_.empty() || count <= grain) {
    for (int begin = 0; begin < count; begin += grain) body(begin, std::min(count, begin + grain), 0);
    return;
  }
  count_ = count;
  grain_ = grain;
  n_pieces_ = (count + grain - 1) / grain;
  body_ = &body;
  undone_.store(n_pieces_, std::memory_order_relaxed);
  untaken_.store(n_pieces_, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  take_pieces(0);
  for (int undone = undone_.load(std::memory_order_acquire); undone > 0;
       undone = undone_.load(std::memory_order_acquire))
    wait_while(undone_, undone);
}

void ThreadPool::take_pieces(int thread) {
  int taken = 0;
  for (int left = untaken_.load(std::memory_order_acquire); left > 0;) {
    if (!untaken_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    const int begin = (n_pieces_ - left) * grain_;
    (*body_)(begin, std::min(count_, begin + grain_), thread);
    ++taken;
    left = untaken_.load(std::memory_order_acquire);
  }
  if (taken > 0 && undone_.fetch_sub(taken, std::memory_order_acq_rel) == taken) undone_.notify_one();
}

void ThreadPool::work(int thread) {
  for (uint32_t seen = 0;;) {
    wait_while(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_) return;
    take_pieces(thread);
  }
}

}  // namespace longleaf
