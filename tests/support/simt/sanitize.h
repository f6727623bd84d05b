// What AddressSanitizer must be told about fibers: which stack runs now.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {

#ifdef __SANITIZE_ADDRESS__

class FiberMark {
 public:
  void begin(void* stack, size_t bytes) {
    stack_ = stack;
    bytes_ = bytes;
    __asan_unpoison_memory_region(stack, bytes);  // of a fiber that lived here before
  }
  // Outside, before and after the fiber runs.
  void switch_in() { __sanitizer_start_switch_fiber(&outside_fake_, stack_, bytes_); }
  void back_outside() { __sanitizer_finish_switch_fiber(outside_fake_, nullptr, nullptr); }
  // Inside, around the time that others run.
  void first_inside() { __sanitizer_finish_switch_fiber(nullptr, &outside_stack_, &outside_bytes_); }
  void switch_out(bool last) {
    __sanitizer_start_switch_fiber(last ? nullptr : &own_fake_, outside_stack_, outside_bytes_);
  }
  void back_inside() { __sanitizer_finish_switch_fiber(own_fake_, &outside_stack_, &outside_bytes_); }

 private:
  void* stack_ = nullptr;
  size_t bytes_ = 0;
  void *outside_fake_ = nullptr, *own_fake_ = nullptr;
  const void* outside_stack_ = nullptr;
  size_t outside_bytes_ = 0;
};

#else

class FiberMark {
 public:
  void begin(void*, size_t) {}
  void switch_in() {}
  void back_outside() {}
  void first_inside() {}
  void switch_out(bool) {}
  void back_inside() {}
};

#endif

}  // namespace simt
