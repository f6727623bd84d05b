// Who multiplies: our kernel or NVIDIA's library, whichever is faster for a shape on this card. It is measured when the
// shape comes for the first time, and the two results are compared: a library that is wrong is not asked again.
// Not thread-safe: the thread that owns the device.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/workspace.h"

namespace longleaf::kernels::cuda {

class ProductChoice {
 public:
  //   library  of products; empty: where the system has it
  //   moved    as Workspace has it
  ProductChoice(Device& device, std::string library, uint64_t& moved)
      : device_(device), library_(std::move(library)), memory_(device, moved) {}

  // A product of many tokens; `own` asks for it from our kernel.
  Status multiply(DType type, const ProductArgs& args, const std::function<Status()>& own);

 private:
  using Shape = std::tuple<DType, int, int, int>;  // rows, columns, and tokens up to the next power of two
  bool has_library();
  Status measure(const Shape& shape, DType type, const ProductArgs& args, const std::function<Status()>& own);
  Status by_library(DType type, const ProductArgs& args);
  Result<std::vector<float>> sample(const ProductArgs& args);

  Device& device_;
  std::string library_;
  Workspace memory_;
  std::unique_ptr<Blas> blas_;
  bool has_looked_ = false;
  std::map<Shape, bool> library_is_faster_;
};

}  // namespace longleaf::kernels::cuda
