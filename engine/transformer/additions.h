// What an adapter adds to the matrices of a model while it reads: y = W x + B A x (Hu et al., LoRA, arXiv 2106.09685).
// The model's own weights stay as they are, so it answers with or without, from one request to the next.
// Immutable after load; const methods: any thread.
#pragma once

#include <memory>
#include <vector>

#include "engine/adapter/adapter_file.h"
#include "engine/model/model.h"

namespace longleaf {

// (rank, cols) and (rows, rank) of a matrix (rows, cols), on its device; b is scaled. Rank 0: none.
struct Addition {
  kernels::PackedWeight a, b;
  int rank() const { return a.rows; }
};

struct LayerAdditions {
  Addition wq, wk, wv, wo, w_gate, w_up, w_down;
  struct Expert {
    Addition w_gate, w_up, w_down;
  };
  std::vector<Expert> experts;
};

class Additions {
 public:
  // Of those of the adapter's tensors that are low-rank. `model` outlives the object.
  // Returns Corrupt for one that fits no matrix of the model, NoMemory.
  static Result<std::unique_ptr<Additions>> load(const AdapterContents& adapter, const Model& model);

  uint64_t id() const { return id_; }  // of no other object of this program
  const LayerAdditions& layer(int index) const { return layers_[static_cast<size_t>(index)]; }

 private:
  friend class AdditionLoader;
  Additions();
  uint64_t id_;
  std::vector<kernels::Buffer> memory_;
  std::vector<LayerAdditions> layers_;
};

}  // namespace longleaf
