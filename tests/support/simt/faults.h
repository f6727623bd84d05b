// What the kernels with planted faults are given.
#pragma once

namespace longleaf::test {

struct FaultArgs {
  const float* x;
  float* out;
  int n;
};

}  // namespace longleaf::test
