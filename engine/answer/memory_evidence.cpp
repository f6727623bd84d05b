// Evidence from learned memories: where a question goes, and what of it stands in front of the model.
#include <algorithm>
#include <cmath>
#include <random>

#include "engine/answer/answering.h"
#include "engine/base/checksum.h"

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

Status Answering::leaves_missing() {
  return Status(Code::NotFound, "The document has not been encoded for this model; encode it first, or choose exact");
}

// What learned routing reaches (H²MT, section 3.3): the memories the model gets, and the leaves they stand for.
Status Answering::choose_memories(int question_tokens) {
  AnswerStats& stats = result_.stats;
  LL_ASSIGN_OR_RETURN(const auto scores, score_nodes());
  const auto start = Clock::now();
  DescentOptions options = request_.descent;
  const int room = engine_.facts_.config.context_tokens - prefix_tokens() - question_tokens - request_.max_tokens;
  options.most_nodes = std::clamp(room, 1, std::max(1, options.most_nodes));
  const auto nodes = reach(scores, options);
  LL_ASSIGN_OR_RETURN(memories_, parts_.learned->entered(*document_.learned, nodes));
  stats.memory_tokens = static_cast<int>(nodes.size());
  choose_leaves(leaves_reached(nodes), question_tokens + stats.memory_tokens);
  stats.descent_ms = ms_since(start);
  if (stats.evidence == Evidence::MemoryAndLeafKv) {
    const PlanInput input = plan_input(question_tokens);  // now that the leaves are known
    if (!input.kv_there) return leaves_missing();
    stats.predicted_ms = predicted_ms(stats.evidence, input, engine_.rates_);
  } else {
    stats.evidence_tokens = 0;
  }
  stats.evidence_tokens += stats.memory_tokens;
  return {};
}

// How well each node answers the question; reads the document's memories when it is asked for the first time.
Result<std::vector<float>> Answering::score_nodes() {
  auto start = Clock::now();
  LearnedMemory& learned = *parts_.learned;
  if (!document_.learned) {
    LL_ASSIGN_OR_RETURN(document_.learned, learned.read(document_.tree, *document_.tree_file));
    result_.stats.load_ms += ms_since(start);
    start = Clock::now();
  }
  const auto words = parts_.tokenizer->encode(request_.question);
  LL_ASSIGN_OR_RETURN(auto scores, learned.scores(words, *document_.learned, *parts_.store, stop_));
  result_.stats.query_ms = ms_since(start);
  return scores;
}

// The nodes reached, as MemoryRouting says; told in the result.
std::vector<int> Answering::reach(std::vector<float> scores, DescentOptions options) {
  if (request_.memory_routing == MemoryRouting::Random) {
    std::mt19937_64 random(fingerprint(request_.question));
    for (float& score : scores) score = static_cast<float>(random() % 4096);
  }
  std::vector<int> wanted;
  for (size_t i = 0; request_.memory_routing == MemoryRouting::ToLeaves && i < document_.keys.size(); ++i)
    if (std::find(request_.leaves.begin(), request_.leaves.end(), document_.keys[i]) != request_.leaves.end())
      wanted.push_back(static_cast<int>(i));
  if (!wanted.empty()) options.children = 0;
  std::vector<double> shares;
  auto nodes = descend(document_.tree.parents, scores, options, wanted, &shares);
  for (size_t i = 0; i < nodes.size(); ++i)
    result_.reached.push_back({document_.keys[static_cast<size_t>(nodes[i])], std::exp(shares[i])});
  return nodes;
}

// Keys of the leaves among the nodes reached, the likeliest first.
std::vector<int64_t> Answering::leaves_reached(const std::vector<int>& nodes) const {
  const auto& parents = document_.tree.parents;
  std::vector<bool> is_parent(parents.size(), false);
  for (const int parent : parents)
    if (parent >= 0) is_parent[static_cast<size_t>(parent)] = true;
  std::vector<ReachedNode> leaves;
  for (size_t i = 0; i < nodes.size(); ++i)
    if (!is_parent[static_cast<size_t>(nodes[i])]) leaves.push_back(result_.reached[i]);
  std::stable_sort(leaves.begin(), leaves.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  std::vector<int64_t> keys;
  for (const ReachedNode& leaf : leaves) keys.push_back(leaf.node);
  return keys;
}

}  // namespace longleaf
