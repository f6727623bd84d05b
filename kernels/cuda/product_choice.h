// Who multiplies: our kernel or NVIDIA's library, whichever is faster for a shape on this card. It is measured when the
// shape comes for the first time, and the two results are compared: a library that is wrong is not asked again, nor one
// that the card was lost with.
// Not thread-safe: the thread that owns the device.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/workspace.h"

namespace longleaf::kernels::cuda {

class ProductChoice {
 public:
  //   moved  as Workspace has it
  ProductChoice(Device& device, const DeviceOptions& options, uint64_t& moved)
      : device_(device), library_(options.library), has_looked_(options.own_products), memory_(device, moved) {}
  ~ProductChoice();

  // A product of many tokens; `own` asks for it from our kernel.
  Status multiply(DType type, const ProductArgs& args, const std::function<Status()>& own);

 private:
  using Shape = std::tuple<DType, int, int, int>;  // rows, columns, and tokens up to the next power of two
  bool has_library();
  Result<bool> is_faster(DType type, const ProductArgs& args, const std::function<Status()>& own);
  Status by_library(DType type, const ProductArgs& args);
  Result<std::vector<float>> sample(const ProductArgs& args);

  Device& device_;
  std::string library_;
  bool has_looked_;
  Workspace memory_;
  std::unique_ptr<Blas> blas_;
  std::map<Shape, bool> library_is_faster_;
};

}  // namespace longleaf::kernels::cuda
