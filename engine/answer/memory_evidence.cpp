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

Status Answering::leaves_missing() const {
  const std::string other = engine_.other_kv(document_);
  if (!other.empty())
    return Status(Code::NotFound, "The document has been encoded with keys and values in " + other +
                                      "; ask with --kv " + other + ", encode it again, or choose exact");
  return Status(Code::NotFound, "The document has not been encoded for this model; encode it first, or choose exact");
}

DescentOptions Answering::descent() const {
  DescentOptions options = request_.descent;
  if (options.children <= 0) options.children = parts_.learned->settings().children;
  return options;
}

// What learned routing reaches (H²MT, section 3.3): the memories the model gets, and the leaves they stand for.
Status Answering::choose_memories(int question_tokens) {
  AnswerStats& stats = result_.stats;
  LL_ASSIGN_OR_RETURN(const auto asked, ask_memories());
  const auto start = Clock::now();
  DescentOptions options = descent();
  const int room = engine_.facts_.config.context_tokens - prefix_tokens() - question_tokens - request_.max_tokens;
  options.most_nodes = std::clamp(room, 1, std::max(1, options.most_nodes));
  const auto nodes = reach(node_score(asked), options);
  LL_ASSIGN_OR_RETURN(memories_, parts_.learned->entered(*document_.learned, nodes));
  stats.memory_tokens = static_cast<int>(nodes.size());
  choose_leaves(leaves_reached(), question_tokens + stats.memory_tokens);
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

// What memories are compared to; reads those of the document when it is asked for the first time.
Result<std::vector<float>> Answering::ask_memories() {
  auto start = Clock::now();
  LearnedMemory& learned = *parts_.learned;
  if (!document_.learned) {
    LL_ASSIGN_OR_RETURN(document_.learned, learned.read(document_.tree, *document_.learned_file));
    result_.stats.load_ms += ms_since(start);
    start = Clock::now();
  }
  const auto words = parts_.tokenizer->encode(request_.question);
  LL_ASSIGN_OR_RETURN(auto asked, learned.asked(words, *parts_.store, stop_));
  result_.stats.query_ms = ms_since(start);
  return asked;
}

// HMT (arXiv 2405.06067, equation 3): one vector of all segments, by how well each answers the question, and the last
// words of the document behind it.
Status Answering::recall_memories(int question_tokens) {
  AnswerStats& stats = result_.stats;
  LL_ASSIGN_OR_RETURN(const auto asked, ask_memories());
  const auto start = Clock::now();
  const Segments text = parts_.learned->segments(document_.tree);
  const auto given = segments_given(text);
  std::vector<float> scores(given.size(), -INFINITY);
  for (size_t i = 0; i < scores.size(); ++i)
    if (given[i]) scores[i] = LearnedMemory::score(*document_.learned, asked, static_cast<int>(i));
  std::vector<float> shares;
  LL_ASSIGN_OR_RETURN(memories_, parts_.learned->recalled(*document_.learned, scores, shares));
  const int room = engine_.facts_.config.context_tokens - prefix_tokens() - question_tokens - request_.max_tokens - 1;
  const auto sensory = text.with_front(text.size(), std::clamp(room, 0, parts_.learned->settings().sensory_tokens));
  sensory_.assign(sensory.begin(), sensory.end());
  tell_recalled(text, shares);
  stats.memory_tokens = 1;
  std::vector<int64_t> leaves = leaves_reached();
  for (const int node : text.last_nodes(sensory_.size())) leaves.push_back(document_.keys[static_cast<size_t>(node)]);
  choose_leaves(leaves, question_tokens + 1 + static_cast<int>(sensory_.size()));
  stats.evidence_tokens = 1 + static_cast<int>(sensory_.size());
  stats.descent_ms = ms_since(start);
  return {};
}

// The nodes whose text was recalled most, with those above them.
void Answering::tell_recalled(const Segments& text, const std::vector<float>& shares) {
  if (shares.empty()) return;
  std::vector<float> best = shares;
  std::sort(best.rbegin(), best.rend());
  const auto n_best = static_cast<size_t>(descent().children);
  const float least = best[std::min(n_best, best.size()) - 1];
  std::vector<float> of_nodes(document_.tree.size());
  for (size_t node = of_nodes.size(); node-- > 0;) {
    float& share = of_nodes[node];
    for (const int i : text.of_node(static_cast<int>(node))) share = std::max(share, shares[static_cast<size_t>(i)]);
    const int parent = document_.tree.parents[node];
    if (parent >= 0) of_nodes[static_cast<size_t>(parent)] = std::max(of_nodes[static_cast<size_t>(parent)], share);
  }
  for (size_t node = 0; node < of_nodes.size(); ++node)
    if (of_nodes[node] >= least && of_nodes[node] > 0)
      result_.reached.push_back({document_.keys[node], double{of_nodes[node]}});
}

// Each node of the document once: of a text in pieces its own node, which comes first, or else the best piece.
void Answering::tell_reached(const std::vector<int>& nodes, const std::vector<double>& shares) {
  std::unordered_map<int64_t, size_t> told;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const int64_t key = document_.keys[static_cast<size_t>(nodes[i])];
    const auto [it, is_new] = told.try_emplace(key, result_.reached.size());
    if (is_new)
      result_.reached.push_back({key, shares[i]});
    else if (request_.descent.leaves_only)  // the node of the pieces itself is not among them
      result_.reached[it->second].share = std::max(result_.reached[it->second].share, shares[i]);
  }
}

// Of all segments, those that a question may recall: as MemoryRouting says; the last ones, as for a segment.
std::vector<bool> Answering::segments_given(const Segments& text) const {
  std::vector<bool> given(text.size());
  const auto cached = std::min(given.size(), static_cast<size_t>(parts_.learned->settings().recalled));
  const auto last = given.end() - static_cast<long>(cached);
  if (request_.memory_routing == MemoryRouting::WithWords || request_.memory_routing == MemoryRouting::Learned)
    std::fill(last, given.end(), true);
  if (request_.memory_routing == MemoryRouting::Random && !given.empty())
    given[std::mt19937_64(fingerprint(request_.question))() % text.size()] = true;
  for (const int node : wanted_nodes())
    for (const int i : text.of_node(node)) given[static_cast<size_t>(i)] = true;
  if (std::find(given.begin(), given.end(), true) == given.end()) std::fill(last, given.end(), true);
  return given;
}

// The nodes that a question is to be led to, where MemoryRouting says so.
std::vector<int> Answering::wanted_nodes() const {
  std::vector<int> wanted;
  for (size_t i = 0; request_.memory_routing == MemoryRouting::ToLeaves && i < document_.keys.size(); ++i)
    if (std::find(request_.leaves.begin(), request_.leaves.end(), document_.keys[i]) != request_.leaves.end())
      wanted.push_back(static_cast<int>(i));
  return wanted;
}

// What the question's words tell of nodes: of a leaf, and of what is above it as much as its best leaf.
std::unordered_map<int, double> Answering::words_of_nodes() const {
  std::unordered_map<int, double> words;
  for (const auto& [key, worth] : request_.words) {
    const auto it = document_.places.find(key);
    if (it == document_.places.end()) continue;
    for (int node = it->second; node >= 0; node = document_.tree.parents[static_cast<size_t>(node)]) {
      double& most = words[node];
      if (most >= worth) break;
      most = worth;
    }
  }
  return words;
}

// How well a node answers the question, as MemoryRouting says.
NodeScore Answering::node_score(const std::vector<float>& asked) const {
  if (request_.memory_routing == MemoryRouting::Random)
    return [seed = fingerprint(request_.question)](int node) {
      return static_cast<float>(fingerprint(std::vector{node}, seed) % 4096);
    };
  const auto learned = [this, &asked](int node) { return LearnedMemory::score(*document_.learned, asked, node); };
  if (request_.memory_routing != MemoryRouting::WithWords) return learned;
  return [learned, words = words_of_nodes()](int node) {
    const auto it = words.find(node);
    return learned(node) + (it == words.end() ? 0.0f : static_cast<float>(it->second));
  };
}

// The nodes reached; with the shares of their paths, told in the result.
std::vector<int> Answering::reach(const NodeScore& score, DescentOptions options) {
  const std::vector<int> wanted = best_pieces(wanted_nodes(), score, options.children);
  if (!wanted.empty()) options.children = 0;
  std::vector<double> shares;
  auto nodes = descend(document_.tree.parents, document_.children, score, options, wanted, &shares);
  for (double& share : shares) share = std::exp(share);
  tell_reached(nodes, shares);
  return nodes;
}

// Of nodes and the pieces of their texts: the nodes, and the best `most` pieces of each.
std::vector<int> Answering::best_pieces(const std::vector<int>& nodes, const NodeScore& score, int most) const {
  std::vector<int> best;
  for (const int node : nodes) {
    if (is_piece(document_.tree, document_.keys, node)) continue;
    best.push_back(node);
    std::vector<std::pair<float, int>> pieces;
    for (const int child : document_.children[static_cast<size_t>(node)])
      if (is_piece(document_.tree, document_.keys, child)) pieces.push_back({-score(child), child});
    std::sort(pieces.begin(), pieces.end());
    pieces.resize(std::min(pieces.size(), static_cast<size_t>(std::max(1, most))));
    for (const auto& piece : pieces) best.push_back(piece.second);
  }
  return best;
}

// Keys of the leaves that were reached, the likeliest first.
std::vector<int64_t> Answering::leaves_reached() const {
  std::vector<ReachedNode> leaves;
  for (const ReachedNode& node : result_.reached) {
    const auto& below = document_.children[static_cast<size_t>(document_.places.at(node.node))];
    if (below.empty() || is_piece(document_.tree, document_.keys, below.front())) leaves.push_back(node);
  }
  std::stable_sort(leaves.begin(), leaves.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  std::vector<int64_t> keys;
  for (const ReachedNode& leaf : leaves) keys.push_back(leaf.node);
  return keys;
}

Status Answering::prefill_memory(const std::vector<TokenId>& question) {
  LL_RETURN_IF_ERROR(read_prefix());
  strategy_ = std::make_unique<SpanStrategy>(spans_, parts_.store->size(), prefix_tokens(), additions());
  return read_prompt({}, question);
}

// What stands in front of memories is the same for every question about a document: it is read with the additions once,
// and stays on the device as leaves do.
Status Answering::read_prefix() {
  const std::vector<TokenId>& tokens = entry(0).tokens;
  if (tokens.empty()) return {};
  const KvRunKey key{fingerprint(tokens, parts_.learned->fingerprint()), 0};
  LL_ASSIGN_OR_RETURN(const bool is_there, parts_.store->recall(key));
  if (!is_there) {
    const auto start = Clock::now();
    LL_RETURN_IF_ERROR(
        parts_.transformer->forward(tokens, *parts_.store, DenseStrategy(additions()), Want::Nothing, nullptr, stop_));
    parts_.store->keep(key, 0);
    result_.stats.prefill_tokens += prefix_tokens();
    result_.stats.load_ms += ms_since(start);
  }
  spans_.push_back({0, prefix_tokens(), 0, 0});
  return {};
}

// Memories beside text are read with the additions that they were made with. What comes behind is read without, as the
// text was: additions that were trained on memories alone read text no more.
Status Answering::read_memories(const Strategy& strategy) {
  const std::vector<TokenId> tokens(memories_.size() / static_cast<size_t>(engine_.facts_.config.d_model), kVector);
  const auto start = Clock::now();
  LL_RETURN_IF_ERROR(
      parts_.transformer->forward(Input{tokens, memories_}, *parts_.store, strategy, Want::Nothing, nullptr, stop_));
  memories_.clear();
  result_.stats.prefill_tokens += static_cast<int>(tokens.size());
  result_.stats.load_ms += ms_since(start);
  return {};
}

}  // namespace longleaf
