#include "engine/transformer/additions.h"

#include <atomic>

#include <string_view>
#include <unordered_map>

namespace longleaf {

using kernels::PackedWeight;

class AdditionLoader {
 public:
  AdditionLoader(const AdapterContents& adapter, const Model& model, Additions& to)
      : adapter_(adapter), model_(model), to_(to) {
    for (const AdapterTensor& t : adapter.tensors)
      if (t.name.ends_with(kFirst) || t.name.ends_with(kSecond)) left_[t.name] = &t;
  }

  Status load() {
    int layer = 0;
    for (const DeviceShare& share : model_.placement()) {
      backend_ = share.backend;
      for (int i = 0; i < share.n_layers; ++i) LL_RETURN_IF_ERROR(load_layer(layer++));
    }
    if (!left_.empty()) return does_not_fit("the model has no matrix for " + left_.begin()->first);
    return {};
  }

 private:
  static constexpr std::string_view kFirst = ".lora_a", kSecond = ".lora_b";

  Status load_layer(int index) {
    const LayerWeights& w = model_.layers()[static_cast<size_t>(index)];
    LayerAdditions& to = to_.layers_.emplace_back();
    const std::string p = "blk." + std::to_string(index) + ".";
    LL_RETURN_IF_ERROR(one(p + "attn_q", w.wq, to.wq));
    LL_RETURN_IF_ERROR(one(p + "attn_k", w.wk, to.wk));
    LL_RETURN_IF_ERROR(one(p + "attn_v", w.wv, to.wv));
    LL_RETURN_IF_ERROR(one(p + "attn_output", w.wo, to.wo));
    to.experts.resize(w.experts.size());
    for (size_t e = 0; e < w.experts.size(); ++e) {
      const std::string suffix = "." + std::to_string(e);
      LL_RETURN_IF_ERROR(one(p + "ffn_gate" + suffix, w.experts[e].w_gate, to.experts[e].w_gate));
      LL_RETURN_IF_ERROR(one(p + "ffn_up" + suffix, w.experts[e].w_up, to.experts[e].w_up));
      LL_RETURN_IF_ERROR(one(p + "ffn_down" + suffix, w.experts[e].w_down, to.experts[e].w_down));
    }
    if (!w.experts.empty()) return {};
    LL_RETURN_IF_ERROR(one(p + "ffn_gate", w.w_gate, to.w_gate));
    LL_RETURN_IF_ERROR(one(p + "ffn_up", w.w_up, to.w_up));
    return one(p + "ffn_down", w.w_down, to.w_down);
  }

  Status one(const std::string& name, const PackedWeight& matrix, Addition& to) {
    const AdapterTensor *a = take(name + ".weight" + std::string(kFirst)),
                        *b = take(name + ".weight" + std::string(kSecond));
    if (a == nullptr && b == nullptr) return {};
    const int rank = adapter_.lora_rank;
    const bool fits = a != nullptr && b != nullptr && a->rows == rank && a->cols == matrix.cols &&
                      b->rows == matrix.rows && b->cols == rank;
    if (!fits) return does_not_fit("what it adds to " + name + " has another shape");
    LL_ASSIGN_OR_RETURN(to.a, packed(*a, 1));
    LL_ASSIGN_OR_RETURN(to.b, packed(*b, adapter_.lora_alpha / static_cast<float>(rank)));
    return {};
  }

  const AdapterTensor* take(const std::string& name) {
    const auto it = left_.find(name);
    if (it == left_.end()) return nullptr;
    const AdapterTensor* tensor = it->second;
    left_.erase(it);
    return tensor;
  }

  Result<PackedWeight> packed(const AdapterTensor& t, float scale) {
    std::vector<float> values = t.values;
    for (float& x : values) x *= scale;
    const kernels::Weight rows{kernels::DType::F32, t.rows, t.cols, reinterpret_cast<const uint8_t*>(values.data())};
    LL_ASSIGN_OR_RETURN(auto memory,
                        kernels::Buffer::allocate(*backend_, backend_->packed_bytes(backend_->self, rows)));
    LL_RETURN_IF_ERROR(backend_->pack(backend_->self, rows, memory.data()));
    LL_RETURN_IF_ERROR(backend_->finish(backend_->self));  // `values` goes
    to_.memory_.push_back(std::move(memory));
    return PackedWeight{rows.type, rows.rows, rows.cols, to_.memory_.back().data()};
  }

  static Status does_not_fit(const std::string& why) {
    return Status(Code::Corrupt, "The adapter does not fit the model: " + why + "; train it again for this model");
  }

  const AdapterContents& adapter_;
  const Model& model_;
  Additions& to_;
  const kernels::Backend* backend_ = nullptr;
  std::unordered_map<std::string, const AdapterTensor*> left_;
};

Additions::Additions() {
  static std::atomic<uint64_t> last{0};
  id_ = ++last;
}

Result<std::unique_ptr<Additions>> Additions::load(const AdapterContents& adapter, const Model& model) {
  std::unique_ptr<Additions> additions(new Additions);
  LL_RETURN_IF_ERROR(AdditionLoader(adapter, model, *additions).load());
  return additions;
}

}  // namespace longleaf
