#include "engine/memory/memory_reader.h"

#include "kernels/cpu_backend.h"

namespace longleaf {

using train::Tape;
using train::Var;

namespace {

// Hidden rows of some tokens of a pass, through the model's last norm, as they come out of the last layer.
class RowCollector {
 public:
  //   rows  numbers of tokens in the pass, rising
  RowCollector(const Model& model, std::vector<int> rows) : model_(model), rows_(std::move(rows)) {}

  Status operator()(int layer, const kernels::Backend& b, kernels::DevicePtr hidden, int n_tokens) {
    const ModelConfig& c = model_.config();
    if (layer != c.n_layers - 1) return {};
    std::vector<int32_t> ids;
    for (; next_ < rows_.size() && rows_[next_] < seen_ + n_tokens; ++next_) ids.push_back(rows_[next_] - seen_);
    seen_ += n_tokens;
    if (ids.empty()) return {};
    const size_t bytes = ids.size() * static_cast<size_t>(c.d_model) * 4;
    const auto n = static_cast<int>(ids.size());
    LL_ASSIGN_OR_RETURN(const auto places, kernels::Buffer::allocate(b, ids.size() * 4));
    LL_ASSIGN_OR_RETURN(const auto chosen, kernels::Buffer::allocate(b, bytes));
    LL_RETURN_IF_ERROR(b.upload(b.self, places.data(), ids.data(), ids.size() * 4));
    LL_RETURN_IF_ERROR(b.gather_rows(b.self, hidden, places.data(), n, c.d_model, chosen.data()));
    LL_RETURN_IF_ERROR(
        b.rms_norm(b.self, chosen.data(), model_.output_norm(), c.norm_eps, n, c.d_model, chosen.data()));
    const size_t before = values.size();
    values.resize(before + bytes / 4);
    return b.download(b.self, values.data() + before, chosen.data(), bytes);
  }

  std::vector<float> values;

 private:
  const Model& model_;
  std::vector<int> rows_;
  size_t next_ = 0;
  int seen_ = 0;
};

}  // namespace

MemoryReader::MemoryReader(Transformer& transformer)
    : transformer_(transformer),
      d_model_(static_cast<size_t>(transformer.model().config().d_model)),
      host_(kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 0})),
      parameters_(*host_, train::Parameters::Use::Reading),
      tape_(*host_) {
  tape_.record(false);
}

Result<std::unique_ptr<MemoryReader>> MemoryReader::load(const AdapterContents& adapter, Transformer& transformer) {
  std::unique_ptr<MemoryReader> reader(new MemoryReader(transformer));
  const Model& model = transformer.model();
  const MemorySettings& m = adapter.memory;
  if (m.method == MemoryMethod::Recurrent && m.segment_tokens + m.sensory_tokens + 2 > model.config().context_tokens)
    return Status(Code::Corrupt, "The adapter does not fit the model: its segments are longer than the model can read");
  const auto shape = train::hidden_shape(model.config(), model.embedding());
  LL_ASSIGN_OR_RETURN(reader->weights_, train::MemoryWeights::load(shape, reader->parameters_, adapter));
  LL_ASSIGN_OR_RETURN(reader->additions_, Additions::load(adapter, model));
  LL_ASSIGN_OR_RETURN(reader->e_write_, reader->on_tape([&](Tape& tape) { return reader->weights_->e_write(tape); }));
  LL_ASSIGN_OR_RETURN(reader->e_read_, reader->on_tape([&](Tape& tape) { return reader->weights_->e_read(tape); }));
  const std::string own = std::string(name_of(adapter.memory.method)) + ".";
  for (const AdapterTensor& t : adapter.tensors)
    if (!t.name.starts_with(own) && !t.name.ends_with(".lora_a") && !t.name.ends_with(".lora_b"))
      return Status(Code::Corrupt, "The adapter has a part that this version does not know: " + t.name);
  return reader;
}

Result<std::vector<float>> MemoryReader::on_tape(const std::function<Var(Tape&)>& f) {
  tape_.clear();
  std::vector<float> values = tape_.read(f(tape_));
  const Status status = tape_.status();
  tape_.clear();
  if (!status.ok()) return status;
  return values;
}

Result<std::vector<float>> MemoryReader::read(std::span<const Text> texts, KvStore& store, std::stop_token stop) {
  std::vector<TokenId> tokens;
  std::vector<float> vectors;
  std::vector<int> lengths, ends;
  const auto add_vector = [&](const float* vector) {
    tokens.push_back(kVector);
    vectors.insert(vectors.end(), vector, vector + d_model_);
  };
  for (const Text& text : texts) {
    const size_t begin = tokens.size();
    add_vector(text.front);
    if (text.inner != nullptr) add_vector(text.inner);
    tokens.insert(tokens.end(), text.tokens.begin(), text.tokens.end());
    ends.push_back(static_cast<int>(tokens.size()));
    add_vector(text.behind);
    lengths.push_back(static_cast<int>(tokens.size() - begin));
  }
  if (tokens.empty()) return std::vector<float>();
  RowCollector collected(transformer_.model(), std::move(ends));
  const LayerTap tap = std::ref(collected);
  store.truncate(0);
  const Status status = transformer_.forward(Input{tokens, vectors}, store, SeparateTexts(lengths, additions_.get()),
                                             Want::Nothing, nullptr, std::move(stop), tap);
  store.truncate(0);
  if (!status.ok()) return status;
  return std::move(collected.values);
}

}  // namespace longleaf
