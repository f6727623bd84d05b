#include "app/asking.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/places.h"
#include "engine/answer/support.h"
#include "ingest/structure/sentences.h"

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kQuotedLeaves = 12;  // read for sentences to quote
constexpr size_t kQuotes = 3;
constexpr double kLeastQuoteShare = 0.4;  // of the question's weight, for a sentence to be an answer
constexpr double kCloseToBest = 0.75;     // further quotes have at least this share of the best one's score
constexpr double kRouteBonus = 0.25;      // for a sentence of the best leaf; falls to 0 with rank
constexpr size_t kClosestSections = 3;
constexpr size_t kShortestQuote = 20;  // bytes; shorter ones are labels

Status check(const std::string& question) {
  if (question.find_first_not_of(" \t\n") != std::string::npos) return {};
  return Status(Code::Invalid, "The question is empty");
}

// Whether memories of a document's nodes may be what is answered from.
bool ledByWords(Evidence evidence) {
  return evidence == Evidence::MemoryTokens || evidence == Evidence::MemoryAndLeafKv || evidence == Evidence::Auto;
}

double msSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

struct Asking::Sentence {
  std::string text;
  int page;
  std::vector<Box> boxes;
  size_t leaf;  // index into the routed leaves
};

Result<const DocumentInput*> Asking::input(const DocumentRow& document) {
  LL_ASSIGN_OR_RETURN(std::string state, library_.text_state(document.key));
  if (input_.id == document.id && input_.key == document.key && state_ == state) return &input_;
  words_.reset();
  DocumentInput input{document.id, document.key, document.title, {}};
  LL_ASSIGN_OR_RETURN(const auto nodes, library_.tree(document.key));
  for (const NodeRow& node : nodes) {
    DocumentNode out{node.key, node.parent, node.kind == NodeKind::Leaf, node.tokens, ""};
    if (out.is_leaf) {
      LL_ASSIGN_OR_RETURN(const std::string path, library_.title_path(node.parent));
      LL_ASSIGN_OR_RETURN(const std::string text, library_.leaf_text(node.key));
      out.text = (path.empty() ? "" : path + "\n") + text + "\n\n";
    }
    input.nodes.push_back(std::move(out));
  }
  input_ = std::move(input);
  state_ = std::move(state);
  return &input_;
}

Result<const LexicalIndex*> Asking::words(const DocumentRow& document) {
  const std::pair key{document.id, document.key};
  if (words_ && words_document_ == key) return &*words_;
  LL_ASSIGN_OR_RETURN(words_, LexicalIndex::build(library_, document.key));
  words_document_ = key;
  return &*words_;
}

Result<Route> Asking::findRoute(const DocumentRow& document, const std::string& question, RouteMethod method,
                                int rerank, std::stop_token stop) {
  LL_ASSIGN_OR_RETURN(const DocumentInput* input, this->input(document));
  LL_RETURN_IF_ERROR(check(question));
  LL_ASSIGN_OR_RETURN(const LexicalIndex* words, this->words(document));
  RouteInput in;
  in.nodes = &input->nodes;
  for (const auto& score : words->scores(question)) in.lexical[score.leaf] = score.score;
  LL_RETURN_IF_ERROR(addVectors(*input, question, stop, in));
  Route route = longleaf::route(in, {.method = method, .beam = 8, .least_leaves = 64});
  if (rerank > 0 && engine_ != nullptr && !in.question.empty())
    LL_RETURN_IF_ERROR(rankAgain(*input, question, rerank, stop, route));
  return route;
}

Status Asking::readMeaning(const DocumentRow& document, std::stop_token stop) {
  LL_ASSIGN_OR_RETURN(const DocumentInput* input, this->input(document));
  return meaning_->read(*input, on_reading_, std::move(stop)).status();
}

// Those of the embedding model, or of the language model's memory.
Status Asking::addVectors(const DocumentInput& input, const std::string& question, std::stop_token stop,
                          RouteInput& in) {
  if (meaning_) {
    LL_ASSIGN_OR_RETURN(const NodeMemory* memory, meaning_->read(input, on_reading_, stop));
    LL_ASSIGN_OR_RETURN(in.question, meaning_->question(question, *memory, stop));
    in.vectors = &memory->nodes;
  } else if (engine_ != nullptr) {
    memory_ = engine_->node_memory(input, memoryFolder(library_.folder()));
    LL_ASSIGN_OR_RETURN(in.question, engine_->question_vector(question, *memory_, stop));
    in.vectors = &memory_->nodes;
  }
  // Vectors rank every leaf. Where no word is shared, only nearness of meaning is left, which a language model's
  // vectors do not show reliably: the question is then not answered from this document.
  if (in.lexical.empty() && !meaning_) in.question.clear();
  return {};
}

// The first leaves by 0.7 z(likelihood) + 0.3 z(score), as the KV reuse specification (f) has it.
Status Asking::rankAgain(const DocumentInput& input, const std::string& question, int most, std::stop_token stop,
                         Route& route) {
  const size_t n = std::min(static_cast<size_t>(most), route.leaves.size());
  std::vector<double> likelihood, score;
  for (size_t i = 0; i < n; ++i) {
    LL_ASSIGN_OR_RETURN(const double gain, engine_->question_likelihood(input, memoryFolder(library_.folder()),
                                                                        route.leaves[i].node, question, stop));
    likelihood.push_back(gain);
    score.push_back(route.leaves[i].score);
  }
  const auto z = [](const std::vector<double>& values, size_t i) {
    const auto count = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    double squares = 0;
    for (double v : values) squares += (v - mean) * (v - mean);
    return squares > 0 ? (values[i] - mean) / std::sqrt(squares / count) : 0.0;
  };
  // Scores stay above those of the leaves behind.
  const double base = n < route.leaves.size() ? route.leaves[n].score : 0.0;
  std::vector<std::pair<double, RoutedNode>> ranked;
  for (size_t i = 0; i < n; ++i) ranked.push_back({0.7 * z(likelihood, i) + 0.3 * z(score, i), route.leaves[i]});
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t i = 0; i < n; ++i) {
    route.leaves[i] = ranked[i].second;
    route.leaves[i].score = base + static_cast<double>(n - i) / static_cast<double>(n);
  }
  return {};
}

Result<Asked> Asking::ask(const DocumentRow& document, const std::string& question, const AskOptions& options,
                          const AskCallbacks& callbacks, std::stop_token stop) {
  const auto start = Clock::now();
  const bool quotes = options.evidence == Evidence::Quote || (options.evidence == Evidence::Auto && engine_ == nullptr);
  if (!quotes && engine_ == nullptr)
    return Status(Code::Invalid, std::string("Evidence “") + name_of(options.evidence) + "” needs a model" +
                                     (needs_memory(options.evidence) ? " and an adapter that was trained for it" : "") +
                                     "; open one, or choose quote");
  LL_RETURN_IF_ERROR(check(question));
  Asked asked;
  const bool remembers = needs_memory(options.evidence);  // which finds its own way
  if (!remembers) {
    LL_ASSIGN_OR_RETURN(asked.route, findRoute(document, question, options.method, options.rerank, stop));
    asked.route_ms = msSince(start);
  }
  if (!remembers && asked.route.leaves.empty())
    LL_RETURN_IF_ERROR(sayNotFound(callbacks, asked));
  else if (quotes)
    LL_RETURN_IF_ERROR(quote(question, callbacks, asked));
  else
    LL_RETURN_IF_ERROR(generate(document, question, options, callbacks, start, stop, asked));
  if (quotes || !asked.found) asked.stats.ttft_ms = msSince(start);
  return asked;
}

Result<std::vector<Asking::Sentence>> Asking::sentencesOf(const std::vector<RoutedNode>& leaves, bool with_headings) {
  std::vector<Sentence> all;
  for (size_t i = 0; i < leaves.size(); ++i) {
    LL_ASSIGN_OR_RETURN(const auto blocks, library_.leaf_blocks(leaves[i].node));
    for (const auto& [node, block] : blocks) {
      if (block.kind == BlockKind::TocEntry || (block.kind == BlockKind::Heading && !with_headings)) continue;
      for (const Range& range : sentences(block.text))
        all.push_back({block.text.substr(range.begin, range.end - range.begin), block.page,
                       boxes_of(block, range.begin, range.end), i});
    }
  }
  return all;
}

Status Asking::quote(const std::string& question, const AskCallbacks& callbacks, Asked& asked) {
  std::vector<RoutedNode> leaves(
      asked.route.leaves.begin(),
      asked.route.leaves.begin() + static_cast<long>(std::min(kQuotedLeaves, asked.route.leaves.size())));
  LL_ASSIGN_OR_RETURN(const auto all, sentencesOf(leaves, false));
  std::vector<std::string> texts;
  std::vector<double> bonus;
  for (const Sentence& sentence : all) {
    texts.push_back(sentence.text);
    bonus.push_back(kRouteBonus * (1.0 - static_cast<double>(sentence.leaf) / static_cast<double>(leaves.size())));
  }
  std::vector<int64_t> used;
  double best = 0;
  for (const Support& candidate : SentenceIndex(texts).answers_to(question, bonus)) {
    const Sentence& sentence = all[static_cast<size_t>(candidate.sentence)];
    const double share = candidate.share - bonus[static_cast<size_t>(candidate.sentence)];
    const bool again = std::any_of(asked.citations.begin(), asked.citations.end(),
                                   [&](const CitationRow& c) { return c.quote == sentence.text; });
    if (share < kLeastQuoteShare || sentence.text.size() < kShortestQuote || again) continue;
    if (best == 0) best = candidate.share;
    if (candidate.share < kCloseToBest * best || asked.citations.size() == kQuotes) break;
    asked.citations.push_back({sentence.text, true, sentence.page, sentence.text, sentence.boxes});
    used.push_back(leaves[sentence.leaf].node);
  }
  if (asked.citations.empty()) return sayNotFound(callbacks, asked);
  mark_kept(asked.route, input_.nodes, used);
  if (callbacks.on_route) callbacks.on_route(asked.route);
  for (const auto& citation : asked.citations) asked.answer += (asked.answer.empty() ? "" : "\n\n") + citation.sentence;
  if (callbacks.on_text) callbacks.on_text(asked.answer);
  return {};
}

Status Asking::sayNotFound(const AskCallbacks& callbacks, Asked& asked) {
  asked.found = false;
  asked.answer = "Nothing in this document answers the question.";
  std::vector<std::string> closest;
  std::vector<int64_t> leaves;
  for (const RoutedNode& leaf : asked.route.leaves) {
    LL_ASSIGN_OR_RETURN(std::string path, library_.title_path(leaf.parent));
    leaves.push_back(leaf.node);
    if (!path.empty() && std::find(closest.begin(), closest.end(), path) == closest.end())
      closest.push_back(std::move(path));
    if (closest.size() == kClosestSections) break;
  }
  for (size_t i = 0; i < closest.size(); ++i)
    asked.answer += (i == 0 ? " The closest sections are: " : "; ") + closest[i];
  if (!closest.empty()) asked.answer += ".";
  mark_kept(asked.route, input_.nodes, leaves);
  if (callbacks.on_route) callbacks.on_route(asked.route);
  if (callbacks.on_text) callbacks.on_text(asked.answer);
  return {};
}

// What was evidence: of what the library's routing found, or what the memory's own reached.
void Asking::takeRoute(const DocumentInput& input, const AnswerResult& result, Asked& asked) {
  if (result.reached.empty()) return mark_kept(asked.route, input.nodes, result.leaves);
  std::unordered_map<int64_t, double> scores;
  for (const ReachedNode& node : result.reached) scores[node.node] = node.share;
  asked.route = {};
  for (const DocumentNode& node : input.nodes) {
    const auto it = scores.find(node.key);
    const bool kept = it != scores.end();
    if (!kept && scores.count(node.parent) == 0) continue;  // nobody looked at it
    asked.route.trace.push_back({node.key, node.parent, kept ? it->second : 0, kept});
    if (kept && node.is_leaf) asked.route.leaves.push_back(asked.route.trace.back());
  }
  std::stable_sort(asked.route.leaves.begin(), asked.route.leaves.end(),
                   [](const RoutedNode& a, const RoutedNode& b) { return a.score > b.score; });
  asked.route_ms = result.stats.query_ms + result.stats.descent_ms;
}

Status Asking::generate(const DocumentRow& document, const std::string& question, const AskOptions& options,
                        const AskCallbacks& callbacks, std::chrono::steady_clock::time_point start,
                        std::stop_token stop, Asked& asked) {
  LL_ASSIGN_OR_RETURN(const DocumentInput* input, this->input(document));
  AnswerRequest request;
  request.question = question;
  request.history = options.history;
  if (needs_memory(options.evidence)) request.leaves = options.leaves;
  if (ledByWords(options.evidence)) {
    LL_ASSIGN_OR_RETURN(const LexicalIndex* words, this->words(document));
    for (const auto& score : words->scores(question)) request.words[score.leaf] = score.score;
  }
  for (const auto& leaf : asked.route.leaves) request.leaves.push_back(leaf.node);
  const double words_ms = msSince(start);
  request.descent = options.descent;
  request.memory_routing = options.memory_routing;
  request.evidence = options.evidence;
  request.sampler = options.sampler;
  request.max_tokens = options.max_tokens;
  request.evidence_tokens = options.evidence_tokens;
  request.repair_tokens = options.repair_tokens;
  request.gate = options.gate;
  request.form = options.form;
  request.asked = start;
  bool routed = false;
  const auto on_text = [&](std::string_view text) {
    if (callbacks.on_text) callbacks.on_text(text);
  };
  const auto on_progress = [&](const AnswerResult& so_far) {
    if (!routed) takeRoute(*input, so_far, asked);
    if (!routed && callbacks.on_route) callbacks.on_route(asked.route);
    routed = true;
    if (callbacks.on_progress) callbacks.on_progress(so_far.stats);
  };
  LL_ASSIGN_OR_RETURN(AnswerResult result, engine_->answer(*input, memoryFolder(library_.folder()), request, on_text,
                                                           on_progress, std::move(stop)));
  asked.answer = std::move(result.text);
  asked.stopped = result.stopped;
  asked.whole = result.whole;
  asked.stats = result.stats;
  asked.evidence = result.stats.evidence;
  takeRoute(*input, result, asked);
  if (!result.reached.empty()) asked.route_ms += words_ms;
  return cite(result.leaves, asked);
}

// Every sentence of the answer to the sentence of the evidence that carries it, if one does.
Status Asking::cite(const std::vector<int64_t>& leaves, Asked& asked) {
  std::vector<RoutedNode> nodes;
  for (int64_t leaf : leaves) nodes.push_back({leaf, 0, 0, true});
  LL_ASSIGN_OR_RETURN(const auto all, sentencesOf(nodes, true));
  std::vector<std::string> texts;
  for (const Sentence& sentence : all) texts.push_back(sentence.text);
  const SentenceIndex index(texts);
  const bool is_from_memory = asked.evidence == Evidence::MemoryTokens || asked.evidence == Evidence::Hmt;
  for (const Range& range : sentences(asked.answer)) {
    CitationRow citation;
    citation.sentence = asked.answer.substr(range.begin, range.end - range.begin);
    const Support support = index.support_for(citation.sentence, is_from_memory);
    if (support.sentence >= 0) {
      const Sentence& source = all[static_cast<size_t>(support.sentence)];
      citation.supported = true;
      citation.page = source.page;
      citation.quote = source.text;
      citation.boxes = source.boxes;
    }
    asked.citations.push_back(std::move(citation));
  }
  return {};
}

}  // namespace longleaf
