// One thread that runs tasks in the order they were given. The owner's destructor lets the running task end (ask it to
// stop first) and drops the rest, but for what has to be done at any rate.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace longleaf {

class TaskThread {
 public:
  TaskThread() : thread_([this] { run(); }) {}
  ~TaskThread() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      std::erase_if(tasks_, [](const Task& task) { return !task.at_any_rate; });
    }
    wake_.notify_one();
    thread_.join();
  }
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;

  // Any thread. Does not wait.
  //   at_any_rate  the destructor waits for it: short work that a person would miss
  void post(std::function<void()> task, bool at_any_rate = false) {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      tasks_.push_back({std::move(task), at_any_rate});
    }
    wake_.notify_one();
  }

 private:
  struct Task {
    std::function<void()> run;
    bool at_any_rate = false;
  };
  void run() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front().run);
        tasks_.pop_front();
      }
      task();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;  // guarded by mutex_; when stopping, only what has to be done
  bool stopping_ = false;   // guarded by mutex_
  std::thread thread_;      // last: starts when the rest is there
};

}  // namespace longleaf
