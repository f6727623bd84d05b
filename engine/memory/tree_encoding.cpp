#include "engine/memory/memory_encoding.h"
#include "engine/routing/descent.h"

namespace longleaf {

using train::Tape;
using train::Var;

namespace {

class TreeEncoding {
 public:
  TreeEncoding(const TextTree& tree, MemoryReader& reader, KvStore& store, MemoryRecords& records, std::stop_token stop)
      : tree_(tree),
        children_(children_of(tree.parents)),
        reader_(reader),
        store_(store),
        records_(records),
        stop_(std::move(stop)) {}

  Status run() {
    const auto levels = levels_of(tree_);
    for (auto level = levels.rbegin(); level != levels.rend(); ++level) LL_RETURN_IF_ERROR(make_level(*level));
    return {};
  }

 private:
  // Some nodes at a time.
  Status make_level(const std::vector<int>& level) {
    std::vector<size_t> some;
    size_t n_tokens = 0;
    for (const int number : level) {
      const auto node = static_cast<size_t>(number);
      if (records_.has(node)) continue;
      const size_t n = tree_.tokens[node].size() + MemoryReader::kVectors;
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
    std::vector<std::vector<float>> made(nodes.size()), inner(nodes.size());  // inner: as it stands among embeddings
    std::vector<MemoryReader::Text> texts;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const size_t node = nodes[i];
      const bool has_text = !tree_.tokens[node].empty(), has_children = !children_[node].empty();
      if (has_children) {
        LL_ASSIGN_OR_RETURN(made[i], aggregate(node, said[i]));
      }
      if (has_children && has_text) {
        LL_ASSIGN_OR_RETURN(inner[i], reader_.on_tape([&](Tape& tape) {
          return reader_.weights().entered(tape, reader_.rows(tape, made[i]));
        }));
      }
      if (has_text || !has_children)
        texts.push_back(reader_.text(tree_.tokens[node], inner[i].empty() ? nullptr : inner[i].data()));
    }
    LL_ASSIGN_OR_RETURN(const auto states, reader_.read(texts, store_, stop_));
    std::vector<float> memories;
    size_t next = 0;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const bool was_read = !tree_.tokens[nodes[i]].empty() || children_[nodes[i]].empty();
      const std::vector<float> memory = was_read ? at(states, next++) : made[i];
      memories.insert(memories.end(), memory.begin(), memory.end());
    }
    return records_.keep(nodes, memories);
  }

  // What the nodes that have children say by themselves, where aggregation asks for it; empty for the others.
  Result<std::vector<std::vector<float>>> parents_say(const std::vector<size_t>& nodes) {
    std::vector<std::vector<float>> said(nodes.size());
    std::vector<MemoryReader::Text> texts;
    std::vector<size_t> places;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const size_t node = nodes[i];
      if (!reader_.weights().asks_parent() || children_[node].empty() || tree_.tokens[node].empty()) continue;
      texts.push_back(reader_.text(tree_.tokens[node]));
      places.push_back(i);
    }
    LL_ASSIGN_OR_RETURN(const auto states, reader_.read(texts, store_, stop_));
    for (size_t i = 0; i < places.size(); ++i) said[places[i]] = at(states, i);
    return said;
  }

  // The mean of its children stands for a parent that says nothing.
  Result<std::vector<float>> aggregate(size_t node, const std::vector<float>& said) {
    std::vector<float> below;
    for (const int child : children_[node]) {
      const auto value = records_.memory(static_cast<size_t>(child));
      below.insert(below.end(), value.begin(), value.end());
    }
    return reader_.on_tape([&](Tape& tape) {
      const train::MemoryWeights& weights = reader_.weights();
      const Var stack = reader_.rows(tape, below);
      const Var parent = !weights.asks_parent() ? Var{} : said.empty() ? tape.mean(stack) : reader_.rows(tape, said);
      return weights.aggregate(tape, stack, parent);
    });
  }

  std::vector<float> at(const std::vector<float>& rows, size_t i) const {
    const auto width = static_cast<long>(reader_.d_model());
    const auto first = rows.begin() + static_cast<long>(i) * width;
    return {first, first + width};
  }

  const TextTree& tree_;
  std::vector<std::vector<int>> children_;
  MemoryReader& reader_;
  KvStore& store_;
  MemoryRecords& records_;
  std::stop_token stop_;
};

}  // namespace

Status encode_tree(const TextTree& tree, MemoryReader& reader, KvStore& store, MemoryRecords& records,
                   std::stop_token stop) {
  return TreeEncoding(tree, reader, store, records, std::move(stop)).run();
}

}  // namespace longleaf
