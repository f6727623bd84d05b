#include "engine/memory/learned_memory.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <unordered_set>

#include "engine/base/checksum.h"
#include "engine/routing/descent.h"
#include "kernels/cpu_backend.h"

namespace longleaf {

using train::Tape;
using train::Var;

namespace {

constexpr size_t kReadTokens = 2048;  // at a time
constexpr double kLayoutVersion = 1;
constexpr size_t kVectors = 3;     // at most, that are read with a text
constexpr size_t kMarkFloats = 2;  // behind a node's numbers: the mark of what it was made from

uint64_t fingerprint_of(const AdapterContents& adapter) {
  const std::vector<double> settings = {kLayoutVersion,
                                        static_cast<double>(adapter.memory.aggregation),
                                        static_cast<double>(adapter.memory.d_routing),
                                        double{adapter.memory.query_fraction},
                                        adapter.memory.scales ? 1.0 : 0.0,
                                        double{adapter.lora_alpha}};
  uint64_t key = fingerprint(settings, adapter.model_fingerprint);
  for (const AdapterTensor& t : adapter.tensors) key = fingerprint(t.values, fingerprint(t.name, key));
  return key;
}

// What a node's memory depends on: its text and everything below it.
std::vector<uint64_t> marks_of(const TextTree& tree) {
  const auto children = children_of(tree.parents);
  std::vector<uint64_t> marks(tree.size());
  for (size_t i = tree.size(); i-- > 0;) {
    marks[i] = fingerprint(tree.tokens[i], fingerprint("node"));
    for (const int child : children[i])
      marks[i] = fingerprint(std::vector{marks[static_cast<size_t>(child)]}, marks[i]);
  }
  return marks;
}

uint64_t mark_in(std::span<const float> record) {
  uint64_t mark;
  std::memcpy(&mark, record.data() + record.size() - kMarkFloats, sizeof mark);
  return mark;
}

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

LearnedMemory::LearnedMemory(Transformer& transformer)
    : transformer_(transformer),
      d_model_(static_cast<size_t>(transformer.model().config().d_model)),
      host_(kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 0})),
      parameters_(*host_, train::Parameters::Use::Reading),
      tape_(*host_) {
  tape_.record(false);
}

Result<std::unique_ptr<LearnedMemory>> LearnedMemory::load(const AdapterContents& adapter, Transformer& transformer) {
  std::unique_ptr<LearnedMemory> memory(new LearnedMemory(transformer));
  const Model& model = transformer.model();
  const auto shape = train::hidden_shape(model.config(), model.embedding());
  LL_ASSIGN_OR_RETURN(memory->weights_, train::MemoryWeights::load(shape, memory->parameters_, adapter));
  LL_ASSIGN_OR_RETURN(memory->additions_, Additions::load(adapter, model));
  LL_ASSIGN_OR_RETURN(memory->e_write_, memory->on_tape([&](Tape& tape) { return memory->weights_->e_write(tape); }));
  LL_ASSIGN_OR_RETURN(memory->e_read_, memory->on_tape([&](Tape& tape) { return memory->weights_->e_read(tape); }));
  for (const AdapterTensor& t : adapter.tensors)
    if (!t.name.starts_with("h2mt.") && !t.name.ends_with(".lora_a") && !t.name.ends_with(".lora_b"))
      return Status(Code::Corrupt, "The adapter has a part that this version does not know: " + t.name);
  memory->fingerprint_ = longleaf::fingerprint_of(adapter);
  return memory;
}

Result<std::vector<float>> LearnedMemory::on_tape(const std::function<Var(Tape&)>& f) {
  tape_.clear();
  std::vector<float> values = tape_.read(f(tape_));
  const Status status = tape_.status();
  tape_.clear();
  if (!status.ok()) return status;
  return values;
}

std::filesystem::path LearnedMemory::path_of(const std::filesystem::path& folder,
                                             const std::string& document_id) const {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%016" PRIx64 ".llm", fingerprint_);
  return folder / (document_id + tail);
}

MemoryPlan LearnedMemory::plan(const TextTree& tree, std::span<const int64_t> keys) const {
  MemoryPlan plan;
  plan.d_model = static_cast<int>(d_model_) + settings().d_routing + static_cast<int>(kMarkFloats);
  for (const int64_t key : keys) plan.entries.push_back({key, 0, 0, {}});
  plan.key = longleaf::fingerprint(tree.parents, longleaf::fingerprint(marks_of(tree), fingerprint_));
  plan.key = longleaf::fingerprint(std::vector(keys.begin(), keys.end()), plan.key);
  return plan;
}

KnownMemories LearnedMemory::known(const TextTree& tree, const std::filesystem::path& folder) const {
  KnownMemories known;
  const std::vector<uint64_t> marks = marks_of(tree);
  const std::unordered_set<uint64_t> wanted(marks.begin(), marks.end());
  const std::string tail = path_of("", "").filename().string();
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.path().filename().string().ends_with(tail)) continue;
    MemoryFile::find_vectors(
        entry.path(), kMarkFloats,
        [&](std::span<const float> last) { return wanted.count(mark_in(last)) > 0 && known.count(mark_in(last)) == 0; },
        [&](std::vector<float> record) {
          const uint64_t mark = mark_in(record);
          known.emplace(mark, std::move(record));
        });
  }
  return known;
}

// One making of what a file lacks.
class MemoryEncoding {
 public:
  MemoryEncoding(LearnedMemory& memory, const TextTree& tree, KvStore& store, MemoryFile& file,
                 const std::function<void(size_t)>& progress, std::stop_token stop)
      : m_(memory),
        tree_(tree),
        children_(children_of(tree.parents)),
        marks_(marks_of(tree)),
        store_(store),
        file_(file),
        progress_(progress),
        stop_(std::move(stop)),
        values_(tree.size()) {}

  Result<int64_t> run(const KnownMemories& known) {
    for (size_t i = 0; i < tree_.size(); ++i) LL_RETURN_IF_ERROR(take(i, known));
    const auto levels = levels_of(tree_);
    for (auto level = levels.rbegin(); level != levels.rend(); ++level) LL_RETURN_IF_ERROR(make_level(*level));
    return tokens_;
  }

 private:
  size_t width() const { return m_.d_model_; }

  // A node that is there already, in the file or among what is known.
  Status take(size_t node, const KnownMemories& known) {
    std::vector<float> record;
    if (file_.has(node)) {
      if (auto there = file_.read_vector(node); there.ok() && mark_in(*there) == marks_[node])
        record = std::move(*there);
    }
    if (record.empty()) {
      const auto it = known.find(marks_[node]);
      if (it == known.end() || it->second.size() != static_cast<size_t>(file_.plan().d_model)) return {};
      record = it->second;
      LL_RETURN_IF_ERROR(file_.write(node, {record, {}}));
    }
    values_[node].assign(record.begin(), record.begin() + static_cast<long>(width()));
    done(node);
    return {};
  }

  void done(size_t node) {
    if (progress_) progress_(tree_.tokens[node].size());
  }

  // Some nodes at a time, so that a pass stays small, and little is lost when it is stopped.
  Status make_level(const std::vector<int>& level) {
    std::vector<size_t> some;
    size_t n_tokens = 0;
    for (const int number : level) {
      const auto node = static_cast<size_t>(number);
      if (!values_[node].empty()) continue;
      const size_t n = tree_.tokens[node].size() + kVectors;
      if (!some.empty() && n_tokens + n > kReadTokens) {
        LL_RETURN_IF_ERROR(make(some));
        some.clear(), n_tokens = 0;
      }
      some.push_back(node), n_tokens += n;
    }
    return some.empty() ? Status() : make(some);
  }

  // Nodes with text are read, behind what their children were made to; others are what their children were made to.
  Status make(const std::vector<size_t>& nodes) {
    if (stop_.stop_requested()) return Status(Code::Cancelled, "Stopped");
    LL_ASSIGN_OR_RETURN(const auto said, parents_say(nodes));
    std::vector<std::vector<float>> inner(nodes.size());  // as it stands among embeddings
    std::vector<LearnedMemory::Text> texts;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const size_t node = nodes[i];
      const bool has_text = !tree_.tokens[node].empty(), has_children = !children_[node].empty();
      if (has_children) {
        LL_ASSIGN_OR_RETURN(values_[node], aggregate(node, said[i]));
      }
      if (has_children && has_text) {
        LL_ASSIGN_OR_RETURN(
            inner[i], m_.on_tape([&](Tape& tape) { return m_.weights_->entered(tape, row(tape, values_[node])); }));
      }
      if (has_text || !has_children)
        texts.push_back({tree_.tokens[node], inner[i].empty() ? nullptr : inner[i].data()});
    }
    LL_ASSIGN_OR_RETURN(const auto states, m_.read(texts, store_, stop_));
    size_t next = 0;
    for (const size_t node : nodes)
      if (!tree_.tokens[node].empty() || children_[node].empty()) values_[node] = at(states, next++);
    return keep(nodes);
  }

  // What the nodes that have children say by themselves, where aggregation asks for it; empty for the others.
  Result<std::vector<std::vector<float>>> parents_say(const std::vector<size_t>& nodes) {
    std::vector<std::vector<float>> said(nodes.size());
    std::vector<LearnedMemory::Text> texts;
    std::vector<size_t> places;
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (!m_.weights_->asks_parent() || children_[nodes[i]].empty() || tree_.tokens[nodes[i]].empty()) continue;
      texts.push_back({tree_.tokens[nodes[i]], nullptr});
      places.push_back(i);
    }
    LL_ASSIGN_OR_RETURN(const auto states, m_.read(texts, store_, stop_));
    for (size_t i = 0; i < places.size(); ++i) said[places[i]] = at(states, i);
    return said;
  }

  // The mean of its children stands for a parent that says nothing.
  Result<std::vector<float>> aggregate(size_t node, const std::vector<float>& said) {
    std::vector<float> below;
    for (const int child : children_[node]) {
      const auto& value = values_[static_cast<size_t>(child)];
      below.insert(below.end(), value.begin(), value.end());
    }
    return m_.on_tape([&](Tape& tape) {
      const Var stack = tape.constant(static_cast<int>(children_[node].size()), static_cast<int>(width()), below);
      const Var parent = !m_.weights_->asks_parent() ? Var{} : said.empty() ? tape.mean(stack) : row(tape, said);
      return m_.weights_->aggregate(tape, stack, parent);
    });
  }

  // Each with what questions are compared to.
  Status keep(const std::vector<size_t>& nodes) {
    std::vector<float> memories;
    for (const size_t node : nodes) memories.insert(memories.end(), values_[node].begin(), values_[node].end());
    LL_ASSIGN_OR_RETURN(const auto keys, m_.on_tape([&](Tape& tape) {
      return m_.weights_->keys(tape,
                               tape.constant(static_cast<int>(nodes.size()), static_cast<int>(width()), memories));
    }));
    const size_t routing = keys.size() / nodes.size();
    for (size_t i = 0; i < nodes.size(); ++i) {
      const size_t node = nodes[i];
      std::vector<float> record = values_[node];
      const auto key = keys.begin() + static_cast<long>(i * routing);
      record.insert(record.end(), key, key + static_cast<long>(routing));
      record.resize(record.size() + kMarkFloats);
      std::memcpy(record.data() + record.size() - kMarkFloats, &marks_[node], sizeof marks_[node]);
      LL_RETURN_IF_ERROR(file_.write(node, {std::move(record), {}}));
      tokens_ += static_cast<int64_t>(tree_.tokens[node].size());
      done(node);
    }
    return {};
  }

  Var row(Tape& tape, const std::vector<float>& values) const {
    return tape.constant(1, static_cast<int>(width()), values);
  }
  std::vector<float> at(const std::vector<float>& rows, size_t i) const {
    const auto first = rows.begin() + static_cast<long>(i * width());
    return {first, first + static_cast<long>(width())};
  }

  LearnedMemory& m_;
  const TextTree& tree_;
  std::vector<std::vector<int>> children_;
  std::vector<uint64_t> marks_;
  KvStore& store_;
  MemoryFile& file_;
  const std::function<void(size_t)>& progress_;
  std::stop_token stop_;
  std::vector<std::vector<float>> values_;  // memories; empty: not made yet
  int64_t tokens_ = 0;
};

Result<int64_t> LearnedMemory::encode(const TextTree& tree, KvStore& store, const KnownMemories& known,
                                      MemoryFile& file, const std::function<void(size_t)>& progress,
                                      std::stop_token stop) {
  return MemoryEncoding(*this, tree, store, file, progress, std::move(stop)).run(known);
}

Result<std::vector<float>> LearnedMemory::read(std::span<const Text> texts, KvStore& store, std::stop_token stop) {
  std::vector<TokenId> tokens;
  std::vector<float> vectors;
  std::vector<int> lengths, ends;
  const auto add_vector = [&](const float* vector) {
    tokens.push_back(kVector);
    vectors.insert(vectors.end(), vector, vector + d_model_);
  };
  for (const Text& text : texts) {
    const size_t begin = tokens.size();
    add_vector(e_write_.data());
    if (text.inner != nullptr) add_vector(text.inner);
    tokens.insert(tokens.end(), text.tokens.begin(), text.tokens.end());
    ends.push_back(static_cast<int>(tokens.size()));
    add_vector(e_read_.data());
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

Result<LearnedMemory::Nodes> LearnedMemory::read(const TextTree& tree, MemoryFile& file) const {
  Nodes nodes;
  const std::vector<uint64_t> marks = marks_of(tree);
  const auto width = static_cast<long>(d_model_), routing = static_cast<long>(settings().d_routing);
  for (size_t i = 0; i < file.plan().entries.size(); ++i) {
    const auto record = file.read_vector(i);
    if (!record.ok() || mark_in(*record) != marks[i])
      return Status(Code::Corrupt, "The document's memories are damaged; encode it again, or choose exact");
    nodes.memories.insert(nodes.memories.end(), record->begin(), record->begin() + width);
    nodes.keys.insert(nodes.keys.end(), record->begin() + width, record->begin() + width + routing);
  }
  return nodes;
}

Result<std::vector<float>> LearnedMemory::scores(std::span<const TokenId> question, const Nodes& nodes, KvStore& store,
                                                 std::stop_token stop) {
  const Text text{weights_->asked(question), nullptr};
  LL_ASSIGN_OR_RETURN(const auto state, read({&text, 1}, store, std::move(stop)));
  LL_ASSIGN_OR_RETURN(const auto routed, on_tape([&](Tape& tape) {
                        return weights_->routed(tape, tape.constant(1, static_cast<int>(d_model_), state));
                      }));
  std::vector<float> scores;
  for (auto key = nodes.keys.begin(); key != nodes.keys.end(); key += static_cast<long>(routed.size())) {
    double sum = 0;
    for (size_t i = 0; i < routed.size(); ++i) sum += double{routed[i]} * double{key[static_cast<long>(i)]};
    scores.push_back(static_cast<float>(sum));
  }
  return scores;
}

Result<std::vector<float>> LearnedMemory::entered(const Nodes& nodes, std::span<const int> chosen) {
  std::vector<float> rows;
  for (const int node : chosen) {
    const auto first = nodes.memories.begin() + static_cast<long>(static_cast<size_t>(node) * d_model_);
    rows.insert(rows.end(), first, first + static_cast<long>(d_model_));
  }
  if (rows.empty()) return rows;
  return on_tape([&](Tape& tape) {
    return weights_->entered(tape, tape.constant(static_cast<int>(chosen.size()), static_cast<int>(d_model_), rows));
  });
}

}  // namespace longleaf
