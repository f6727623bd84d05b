// Work on a thread of its own. Any thread.
#pragma once

#include <future>
#include <system_error>

namespace longleaf {

// Begins `work`; the future waits for it when it goes. Where no thread is to be had, it is done when its result is
// asked for.
template <typename Work>
auto in_background(Work work) -> std::future<decltype(work())> {
  try {
    return std::async(std::launch::async, work);
  } catch (const std::system_error&) {
    return std::async(std::launch::deferred, work);
  }
}

}  // namespace longleaf
