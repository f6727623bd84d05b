// The tensors of a model's files: found, checked and made ready for a device.
// Not thread-safe: one thread loads.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/model/model_file.h"
#include "kernels/backend.h"

namespace longleaf {

class Weights {
 public:
  // All must outlive the object. `memory` takes what is allocated.
  Weights(const ModelFile& file, std::vector<kernels::Buffer>& memory) : file_(file), memory_(memory) {}
  // What is loaded from now on goes to this device. REQUIRES: called before anything is loaded.
  void use(const kernels::Backend& backend) { backend_ = &backend; }

  bool has(const std::string& name) const { return file_.tensors().count(name) > 0; }
  // A tensor as the file has it; all dimensions but the innermost become rows.
  // Returns Corrupt when it is missing or of another shape, Unsupported for its format.
  Result<kernels::Weight> stored(const std::string& name, const std::vector<int64_t>& shape);
  static kernels::Weight rows(const kernels::Weight& w, int first, int n);
  // … in the layout the device multiplies with; lets go of the file's pages.
  Result<kernels::PackedWeight> packed(const kernels::Weight& w);
  Result<kernels::PackedWeight> matrix(const std::string& name, int n_rows, int cols);
  // The numbers of a vector, `offset` added to each.
  Result<std::vector<float>> values(const std::string& name, int n, float offset = 0);
  // … on the device.
  Result<kernels::DevicePtr> vector(const std::string& name, int n, float offset = 0);
  // nullptr when there is none.
  Result<kernels::DevicePtr> optional_vector(const std::string& name, int n);
  Result<kernels::Buffer> numbers(const std::vector<float>& values) const;
  // … kept with the weights; nullptr where there are none.
  Result<kernels::DevicePtr> kept(const std::vector<float>& values);
  // Unsupported when the file has weights that nobody asked for, but those that positions are scaled by or that see
  // pictures: they would be left out silently.
  Status check_all_used() const;
  // … biases alone.
  Status check_biases() const;

 private:
  const ModelFile& file_;
  const kernels::Backend* backend_ = nullptr;
  std::vector<kernels::Buffer>& memory_;
  Status unused(bool (*counts)(std::string_view name)) const;
  std::set<std::string> used_;
};

// Changes when weights, vocabulary or settings change: descriptions in full, and a sample of every tensor.
uint64_t fingerprint_of(const ModelFile& file);

}  // namespace longleaf
