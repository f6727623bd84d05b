#include "engine/train/beginning.h"

namespace longleaf::train {
namespace {

struct Target {
  const char *part, *name;  // of a tensor's name, and as LoraSettings have it
};
constexpr Target kTargets[] = {{"attn_q", "q"},      {"attn_k", "k"},  {"attn_v", "v"},     {"attn_output", "o"},
                               {"ffn_gate", "gate"}, {"ffn_up", "up"}, {"ffn_down", "down"}};

Status unknown(const std::string& name) {
  return Status(Code::Corrupt, "The adapter has a part that training cannot begin with: " + name);
}

// Of an addition "blk.7.attn_q.weight.lora_a"; nullptr for none that is known.
const char* target_of(const std::string& name) {
  const size_t first = name.find('.', name.find('.') + 1) + 1, end = name.find('.', first);
  for (const Target& target : kTargets)
    if (name.starts_with("blk.") && name.compare(first, end - first, target.part) == 0) return target.name;
  return nullptr;
}

}  // namespace

Status take_shape(const AdapterContents& adapter, LoraSettings& lora, MemorySettings& memory) {
  memory = adapter.memory;
  lora.rank = adapter.lora_rank, lora.alpha = adapter.lora_alpha;
  lora.targets.clear();
  for (const AdapterTensor& tensor : adapter.tensors) {
    if (!tensor.name.ends_with(".lora_a")) continue;
    const char* target = target_of(tensor.name);
    if (target == nullptr) return unknown(tensor.name);
    lora.targets.insert(target);
  }
  return {};
}

Status take_values(const AdapterContents& adapter, Parameters& parameters) {
  for (const AdapterTensor& tensor : adapter.tensors) {
    Parameter* parameter = parameters.find(tensor.name);
    if (parameter == nullptr || parameter->rows != tensor.rows || parameter->cols != tensor.cols)
      return unknown(tensor.name);
    LL_RETURN_IF_ERROR(parameters.set_values(*parameter, tensor.values));
  }
  if (adapter.tensors.size() == parameters.all().size()) return {};
  return Status(Code::Corrupt, "The adapter lacks parts that training would begin with; begin without it");
}

}  // namespace longleaf::train
