#include "tests/support/simt/grid.h"

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "tests/support/simt/cuda.h"
#include "tests/support/simt/sanitize.h"

// The bounds of all static shared memory: the linker makes them from the section's name.
extern "C" {
extern char __start_simt_shared[] __attribute__((weak));
extern char __stop_simt_shared[] __attribute__((weak));
}

simt::Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {
namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

constexpr size_t kStackBytes = 128 << 10;

enum class State { Ready, AtBarrier, AtMeeting, Done };

struct Copy {
  void* to;
  const void* from;
  int bytes;
};

struct Thread {
  fcontext_t context = nullptr;
  FiberMark mark;
  Dim3 index;
  State state = State::Ready;
  int line = 0;  // of the barrier or the meeting
  uint32_t mask = 0;
  Compute compute = nullptr;
  const void* in = nullptr;
  alignas(16) unsigned char out[kLaneBytes] = {};
  std::vector<std::vector<Copy>> copies;  // groups, oldest first; the last is open
};

// Stacks live as long as the program: a fiber that never ended is simply left.
struct Stack {
  explicit Stack(size_t bytes) : memory(static_cast<char*>(std::malloc(bytes))) {}
  ~Stack() { std::free(memory); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  char* memory;
};

class Grid {
 public:
  std::string run(const Launch& launch, const std::function<void()>& thread) {
    body_ = &thread;
    blockDim = launch.block;
    gridDim = launch.grid;
    n_threads_ = launch.block.x * launch.block.y * launch.block.z;
    if (n_threads_ == 0 || n_threads_ > 1024) return "a block has 1 to 1024 threads, not " + std::to_string(n_threads_);
    random_.seed(launch.seed);
    std::vector<unsigned> blocks(launch.grid.x * launch.grid.y * launch.grid.z);
    for (unsigned i = 0; i < blocks.size(); ++i) blocks[i] = i;
    if (launch.seed != 0) std::shuffle(blocks.begin(), blocks.end(), random_);
    for (unsigned block : blocks) {
      blockIdx = {block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y};
      if (auto report = run_block(launch); !report.empty()) return report + where(block);
    }
    return {};
  }

  void meet(uint32_t mask, int line, const void* in, void* out, size_t out_bytes, Compute compute) {
    Thread& self = *current_;
    self.mask = mask;
    self.in = in;
    self.compute = compute;
    wait(State::AtMeeting, line);
    std::memcpy(out, self.out, out_bytes);
  }

  void wait(State state, int line) {
    current_->state = state;
    current_->line = line;
    leave(*current_, false);
  }

  // At once or as late as it may be, by chance.
  void copy_later(void* to, const void* from, int bytes) {
    check_aligned(to, bytes);
    check_aligned(from, bytes);
    if (random_() % 2 == 0)
      std::memcpy(to, from, static_cast<size_t>(bytes));
    else
      current_->copies.back().push_back({to, from, bytes});
  }

  void wait_for_copies(int still_open) {
    auto& groups = current_->copies;
    while (static_cast<int>(groups.size()) - 1 > still_open) {
      for (const Copy& c : groups.front()) std::memcpy(c.to, c.from, static_cast<size_t>(c.bytes));
      groups.erase(groups.begin());
    }
  }

  void check_aligned(const void* p, int bytes) {
    if (reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) != 0)
      blame_ = "an address that is no multiple of " + std::to_string(bytes);
  }

  void end_copy_group() { current_->copies.emplace_back(); }
  void* shared() { return shared_.get(); }

 private:
  std::string run_block(const Launch& launch) {
    // Exactly as large as asked for, so that a sanitizer sees what reaches beyond; full of NaN.
    shared_.reset(static_cast<char*>(std::malloc(std::max(launch.shared_bytes, 1u))));
    std::memset(shared_.get(), 0xff, std::max(launch.shared_bytes, 1u));
    if (__start_simt_shared != nullptr)
      std::memset(__start_simt_shared, 0xff, static_cast<size_t>(__stop_simt_shared - __start_simt_shared));
    while (stacks_.size() < n_threads_) stacks_.push_back(std::make_unique<Stack>(kStackBytes));
    threads_.resize(n_threads_);  // of the block before, where there was one: blocks come by the thousand
    for (unsigned i = 0; i < n_threads_; ++i) {
      Thread& t = threads_[i];
      t.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
      t.context = make_fcontext(stacks_[i]->memory + kStackBytes, kStackBytes, &enter);
      t.mark.begin(stacks_[i]->memory, kStackBytes);
      t.state = State::Ready;
      t.copies.resize(1);
      t.copies.front().clear();
    }
    warps_.resize((n_threads_ + kWarp - 1) / kWarp);
    for (auto& warp : warps_) warp.clear();
    for (unsigned i = 0; i < n_threads_; ++i) warps_[i / kWarp].push_back(i);
    std::string report;
    do {
      if (launch.seed != 0) shuffle_threads();
      for (const auto& warp : warps_) run_warp(warp);
    } while (release_barrier(report));
    return report.empty() ? std::exchange(blame_, {}) : report;
  }

  void shuffle_threads() {
    std::shuffle(warps_.begin(), warps_.end(), random_);
    for (auto& warp : warps_) std::shuffle(warp.begin(), warp.end(), random_);
  }

  // Runs a warp as far as it comes without others: as far ahead of them as a GPU may let it be.
  void run_warp(const std::vector<unsigned>& warp) {
    for (bool ran = true; ran;) {
      ran = false;
      for (unsigned i : warp) {
        if (threads_[i].state != State::Ready) continue;
        ran = true;
        resume(threads_[i]);
        if (threads_[i].state == State::AtMeeting) finish_meeting(i);
      }
    }
  }

  // When all lanes of the meeting that thread `index` came to are there, lets them go on with their results.
  void finish_meeting(unsigned index) {
    const unsigned first = index / kWarp * kWarp;
    const Thread& newest = threads_[index];
    const void* in[kWarp] = {};
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((newest.mask >> lane & 1) == 0) continue;
      if (first + lane >= n_threads_) return;
      const Thread& t = threads_[first + lane];
      if (t.state != State::AtMeeting || t.line != newest.line || t.mask != newest.mask) return;
      in[lane] = t.in;
    }
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (in[lane] != nullptr) newest.compute(in, static_cast<int>(lane), threads_[first + lane].out);
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (in[lane] != nullptr) threads_[first + lane].state = State::Ready;
  }

  // Nobody can run: all are done, or all stand at one barrier and go on, or something is wrong.
  bool release_barrier(std::string& report) {
    unsigned done = 0, waiting = 0;
    int line = 0;
    bool same = true;
    for (const Thread& t : threads_) {
      if (t.state == State::AtMeeting) {
        report = "lanes wait at line " + std::to_string(t.line) + " for others of their warp that do not come";
        return false;
      }
      if (t.state == State::Done) ++done;
      if (t.state != State::AtBarrier) continue;
      same = same && (waiting == 0 || t.line == line);
      line = t.line;
      ++waiting;
    }
    if (waiting == 0) return false;
    if (done > 0)
      report = std::to_string(done) + " of " + std::to_string(n_threads_) +
               " threads do not reach the barrier at line " + std::to_string(line);
    else if (!same)
      report = "threads wait at different barriers, one of them at line " + std::to_string(line);
    if (!report.empty()) return false;
    for (Thread& t : threads_) t.state = State::Ready;
    return true;
  }

  void resume(Thread& t) {
    current_ = &t;
    threadIdx = t.index;
    t.mark.switch_in();
    const transfer_t back = jump_fcontext(t.context, this);
    t.mark.back_outside();
    t.context = back.fctx;
  }

  void leave(Thread& t, bool last) {
    t.mark.switch_out(last);
    const transfer_t again = jump_fcontext(outside_, nullptr);
    outside_ = again.fctx;
    t.mark.back_inside();
  }

  static void enter(transfer_t from) {
    Grid& grid = *static_cast<Grid*>(from.data);
    grid.outside_ = from.fctx;
    grid.current_->mark.first_inside();
    (*grid.body_)();
    grid.wait_for_copies(0);
    grid.current_->state = State::Done;
    grid.leave(*grid.current_, true);
    std::abort();  // nobody resumes what is done
  }

  std::string where(unsigned block) const {
    return " (block " + std::to_string(block) + " of " + std::to_string(gridDim.x * gridDim.y * gridDim.z) + ")";
  }

  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  const std::function<void()>* body_ = nullptr;
  unsigned n_threads_ = 0;
  std::mt19937 random_;
  std::vector<std::unique_ptr<Stack>> stacks_;
  std::vector<Thread> threads_;
  std::vector<std::vector<unsigned>> warps_;  // their threads
  std::unique_ptr<char, Free> shared_;
  Thread* current_ = nullptr;
  std::string blame_;  // of a thread, for what would stop a card
  fcontext_t outside_ = nullptr;
};

Grid& grid() {
  static Grid the_grid;
  return the_grid;
}

}  // namespace

std::string run(const Launch& launch, const std::function<void()>& thread) { return grid().run(launch, thread); }

void meet(uint32_t mask, int line, const void* in, void* out, size_t out_bytes, Compute compute) {
  grid().meet(mask, line, in, out, out_bytes, compute);
}

void barrier(int line) { grid().wait(State::AtBarrier, line); }

void* dynamic_shared() { return grid().shared(); }

void copy_later(void* to, const void* from, int bytes) { grid().copy_later(to, from, bytes); }

void check_aligned(const void* p, int bytes) { grid().check_aligned(p, bytes); }

void end_copy_group() { grid().end_copy_group(); }

void wait_for_copies(int still_open) { grid().wait_for_copies(still_open); }

}  // namespace simt
