#include "engine/answer/answering.h"

#include <algorithm>
#include <unordered_map>

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::Span;

constexpr double kNewRateShare = 0.3;  // of a new measurement in the planner's rates
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void blend(double& rate, double measured) { rate += kNewRateShare * (measured - rate); }

int count(const std::vector<TokenId>& tokens) { return static_cast<int>(tokens.size()); }

// What ends an answer of a model without control tokens.
std::string_view stop_text(const ChatStyle& chat) { return chat.is_plain() ? "\n\n" : ""; }

}  // namespace

Result<AnswerResult> Answering::run(const std::function<void(std::string_view)>& on_text,
                                    const std::function<void(const AnswerResult&)>& on_progress) {
  std::vector<TokenId> question = question_tokens(request_.history);
  const int room = engine_.facts_.config.context_tokens - prefix_tokens();
  // Earlier turns are left out, oldest first, where the model's trained length has no room for them.
  for (auto history = request_.history; count(question) > room / 2 && !history.empty();) {
    history.erase(history.begin());
    question = question_tokens(history);
  }
  if (count(question) > std::max(room, 64))
    return Status(Code::Invalid, "The question is longer than this model can read (" + std::to_string(count(question)) +
                                     " tokens); shorten it");
  parts_.store->truncate(0);
  choose_leaves(request_.leaves, count(question));
  LL_RETURN_IF_ERROR(choose_evidence(count(question)));

  const auto start = Clock::now();
  Status status;
  if (result_.stats.evidence == Evidence::Hmt)
    status = recall_memories(count(question));
  else if (remembers())
    status = choose_memories(count(question));
  if (status.code() == Code::Corrupt && request_.evidence == Evidence::Auto) {
    use_text("the document's memories are damaged and have to be encoded again");
    choose_leaves(request_.leaves, count(question));
    status = {};
  }
  if (status.ok()) status = prefill(std::move(question));
  if (status.code() == Code::Cancelled) {
    if (!so_far_.tokens.empty()) result_ = so_far_.result;
    result_.stopped = true;
    parts_.store->truncate(0);
    return result_;
  }
  LL_RETURN_IF_ERROR(status);
  result_.stats.actual_ms = ms_since(start);
  status = generate(on_text, on_progress);
  parts_.store->truncate(0);
  LL_RETURN_IF_ERROR(status);
  return result_;
}

// Evidence, question, and what is answered already.
Status Answering::prefill(std::vector<TokenId> question) {
  question.insert(question.end(), so_far_.tokens.begin(), so_far_.tokens.end());
  const Evidence evidence = result_.stats.evidence;
  question.insert(question.begin(), sensory_.begin(), sensory_.end());
  if (evidence == Evidence::MemoryTokens || evidence == Evidence::Hmt) return prefill_memory(question);
  const bool reuse = evidence != Evidence::Exact;
  Status status = reuse ? prefill_leaf_kv(question) : prefill_exact(question);
  if (!reuse || status.code() != Code::Corrupt) return status;
  use_text("the document's memory is damaged and has to be encoded again");
  return prefill_exact(question);
}

// What is kept is damaged on disk: the text is still there.
void Answering::use_text(const char* reason) {
  parts_.store->truncate(0);
  memories_.clear();
  sensory_.clear();
  result_.reached.clear();
  AnswerStats& stats = result_.stats;
  stats.evidence_tokens -= stats.memory_tokens;
  stats.evidence = Evidence::Exact;
  stats.prefill_tokens = stats.memory_tokens = 0;
  stats.reason = reason;
}

std::vector<TokenId> Answering::question_tokens(const std::vector<Turn>& history) const {
  const auto prompt = document_prompt(engine_.facts_.chat, "", history, request_.question);
  return encode_pieces(*parts_.tokenizer, prompt.after);
}

// The text of the evidence, the question and the answer so far: what guesses are taken from.
std::vector<TokenId> Answering::known_tokens() const {
  std::vector<TokenId> known = entry(0).tokens;
  for (size_t i : chosen_) known.insert(known.end(), entry(i).tokens.begin(), entry(i).tokens.end());
  const auto question = question_tokens(request_.history);
  known.insert(known.end(), question.begin(), question.end());
  known.insert(known.end(), so_far_.tokens.begin(), so_far_.tokens.end());
  return known;
}

// Takes leaves, best first, while they fit the budget; the first always does.
void Answering::choose_leaves(const std::vector<int64_t>& leaves, int question_tokens) {
  std::unordered_map<int64_t, size_t> by_node;
  for (size_t i = 1; i < document_.plan.entries.size(); ++i) by_node[entry(i).node] = i;
  const int trained = engine_.facts_.config.context_tokens - prefix_tokens() - question_tokens - request_.max_tokens;
  const int budget = std::min(request_.evidence_tokens, std::max(trained, 0));
  int used = 0;
  chosen_.clear();
  result_.leaves.clear();
  for (int64_t leaf : leaves) {
    const auto it = by_node.find(leaf);
    if (it == by_node.end()) continue;
    const int n = count(entry(it->second).tokens);
    if (!chosen_.empty() && used + n > budget) continue;
    chosen_.push_back(it->second);
    by_node.erase(it);  // a leaf may be named again
    used += n;
  }
  std::sort(chosen_.begin(), chosen_.end());
  for (size_t i : chosen_) result_.leaves.push_back(entry(i).node);
  result_.stats.evidence_tokens = used;
}

// None where the device has kept it from an earlier question.
size_t Answering::bytes_to_load(size_t entry) const {
  const MemoryFile& file = *document_.file;
  const bool is_there = request_.repair_tokens == 0 && parts_.store->keeps(run_key(file, entry));
  return is_there ? 0 : file.kv_bytes(entry);
}

bool Answering::prefix_and_leaves_there() const {
  const auto& file = document_.file;
  return file != nullptr && file->has(0) &&
         std::all_of(chosen_.begin(), chosen_.end(), [&](size_t i) { return file->has(i); });
}

PlanInput Answering::plan_input(int question_tokens) const {
  PlanInput input{prefix_tokens(), result_.stats.evidence_tokens, question_tokens, 0, prefix_and_leaves_there()};
  if (input.kv_there) {
    input.kv_bytes = bytes_to_load(0);
    for (size_t i : chosen_) input.kv_bytes += bytes_to_load(i);
  }
  if (document_.is_learned())
    input.memory_tokens = parts_.learned->is_recurrent()
                              ? 1 + parts_.learned->settings().sensory_tokens
                              : static_cast<int>(most_reached(document_.tree.parents, descent()));
  return input;
}

Status Answering::choose_evidence(int question_tokens) {
  const PlanInput input = plan_input(question_tokens);
  const bool memory_there = input.memory_tokens > 0;
  AnswerStats& stats = result_.stats;
  const bool goes_on = so_far_.used && (input.kv_there || *so_far_.used != Evidence::LeafKv) &&
                       (memory_there || !needs_memory(*so_far_.used));
  if (request_.evidence == Evidence::Auto && goes_on) {
    stats.evidence = *so_far_.used;
    stats.predicted_ms = predicted_ms(stats.evidence, input, engine_.rates_);
    stats.reason = "the answer was begun with it";
    return {};
  }
  if (request_.evidence == Evidence::Auto) {
    const auto plan = longleaf::choose_evidence(input, engine_.rates_);
    const bool recalls = plan.evidence == Evidence::MemoryTokens && parts_.learned->is_recurrent();
    stats.evidence = recalls ? Evidence::Hmt : plan.evidence;
    stats.predicted_ms = plan.predicted_ms;
    stats.reason = plan.reason;
    return {};
  }
  LL_RETURN_IF_ERROR(check_evidence(input));
  stats.evidence = request_.evidence;
  stats.predicted_ms = predicted_ms(stats.evidence, input, engine_.rates_);
  stats.reason = "asked for";
  return {};
}

// Whether what was asked for is there.
Status Answering::check_evidence(const PlanInput& input) const {
  const Evidence evidence = request_.evidence;
  assert(evidence != Evidence::Quote);  // needs no model: not the engine's
  if (evidence == Evidence::LeafKv && !input.kv_there) return leaves_missing();
  if (!needs_memory(evidence)) return {};
  if (parts_.learned == nullptr)
    return Status(Code::Unsupported, std::string("Evidence “") + name_of(evidence) +
                                         "” needs an adapter that was trained for this model; choose exact or leaf_kv");
  if (parts_.learned->is_recurrent() != (evidence == Evidence::Hmt))
    return Status(Code::Invalid, parts_.learned->is_recurrent()
                                     ? "The adapter has a recurrent memory (HMT); choose hmt as evidence"
                                     : "The adapter has a memory of sections (H²MT); choose memory_tokens as evidence");
  if (input.memory_tokens > 0) return {};
  return Status(Code::NotFound,
                "The document has not been encoded with this adapter; encode it first, or choose exact");
}

// The last part of a prompt, memories between `in_front` and the question.
Status Answering::read_prompt(const std::vector<TokenId>& in_front, const std::vector<TokenId>& question) {
  std::vector<TokenId> tokens = in_front;
  tokens.insert(tokens.end(), memories_.size() / static_cast<size_t>(engine_.facts_.config.d_model), kVector);
  tokens.insert(tokens.end(), question.begin(), question.end());
  const auto start = Clock::now();
  LL_RETURN_IF_ERROR(parts_.transformer->forward(Input{tokens, memories_}, *parts_.store, *strategy_, Want::LastLogits,
                                                 &logits_, stop_));
  AnswerStats& stats = result_.stats;
  stats.prefill_ms = ms_since(start);
  stats.prefill_tokens += count(tokens);
  stats.prefill_tokens_per_s = 1000.0 * count(tokens) / std::max(stats.prefill_ms, 1e-6);
  // With an adapter, reading is slower: that says nothing of reading the text.
  if (!remembers()) blend(engine_.rates_.prefill_tokens_per_s, stats.prefill_tokens_per_s);
  return {};
}

Status Answering::prefill_exact(const std::vector<TokenId>& question) {
  std::vector<TokenId> tokens = entry(0).tokens;
  for (size_t i : chosen_) tokens.insert(tokens.end(), entry(i).tokens.begin(), entry(i).tokens.end());
  strategy_ = std::make_unique<DenseStrategy>();
  return read_prompt(tokens, question);
}

// Leaves of one window keep their places while the answer still fits the trained length; otherwise gaps are closed.
std::vector<Answering::Placed> Answering::place(int question_tokens) const {
  std::vector<Placed> placed = {{0, 0}};
  const bool one_window = chosen_.empty() || entry(chosen_.front()).window == entry(chosen_.back()).window;
  const int last =
      chosen_.empty() ? prefix_tokens() : entry(chosen_.back()).first_position + count(entry(chosen_.back()).tokens);
  const bool keep = one_window && last + question_tokens + request_.max_tokens <= engine_.facts_.config.context_tokens;
  int position = prefix_tokens();
  for (size_t i : chosen_) {
    placed.push_back({i, keep ? entry(i).first_position : position});
    position += count(entry(i).tokens);
  }
  return placed;
}

Status Answering::load(const std::vector<Placed>& placed) {
  const auto start = Clock::now();
  uint64_t bytes = 0;
  std::vector<size_t> missing;
  for (const Placed& p : placed)
    if (bytes_to_load(p.entry) > 0) missing.push_back(p.entry);
  EntryReader reader(*document_.file, std::move(missing));
  for (const Placed& p : placed) {
    if (stop_.stop_requested()) return Status(Code::Cancelled, "Stopped");
    bytes += bytes_to_load(p.entry);
    spans_.push_back(
        {parts_.store->size(), count(entry(p.entry).tokens), p.position - entry(p.entry).first_position, 0});
    LL_RETURN_IF_ERROR(request_.repair_tokens > 0 ? load_alone(reader, p.entry)
                                                  : recall_entry(*document_.file, reader, p.entry, *parts_.store));
  }
  LL_RETURN_IF_ERROR(engine_.finish());
  result_.stats.load_ms += ms_since(start);
  if (bytes > 0)
    blend(engine_.rates_.load_bytes_per_s, 1000.0 * static_cast<double>(bytes) / std::max(ms_since(start), 1e-6));
  return {};
}

// For this answer only: what is repaired is written again.
Status Answering::load_alone(EntryReader& reader, size_t i) {
  LL_ASSIGN_OR_RETURN(const MemoryBlob blob, reader.take(i));
  return load_entry(entry(i), blob, *parts_.store);
}

// Computes the first tokens of every later run again, now that they stand behind other text (EPIC's LegoLink,
// arXiv 2410.15332). A query keeps its recorded position; every span is shifted relative to the query's own.
Status Answering::repair(const std::vector<Placed>& placed) {
  for (size_t run = 2; run < placed.size(); ++run) {
    const bool follows = placed[run].entry == placed[run - 1].entry + 1 &&
                         entry(placed[run].entry).window == entry(placed[run - 1].entry).window;
    if (follows) continue;
    const auto& tokens = entry(placed[run].entry).tokens;
    const int n = std::min(request_.repair_tokens, count(tokens));
    std::vector<Span> spans(spans_.begin(), spans_.begin() + static_cast<long>(run));
    for (Span& span : spans) span.rope_shift -= spans_[run].rope_shift;
    const SpanStrategy strategy(spans, spans_[run].key_begin, 0);
    LL_RETURN_IF_ERROR(parts_.transformer->recompute(std::span(tokens).first(static_cast<size_t>(n)),
                                                     spans_[run].key_begin, *parts_.store, strategy, stop_));
    result_.stats.prefill_tokens += n;
  }
  return {};
}

Status Answering::prefill_leaf_kv(const std::vector<TokenId>& question) {
  const auto placed = place(count(question) + result_.stats.memory_tokens);
  LL_RETURN_IF_ERROR(load(placed));
  if (request_.repair_tokens > 0) LL_RETURN_IF_ERROR(repair(placed));
  const int end = parts_.store->size(), position = placed.back().position + count(entry(placed.back().entry).tokens);
  if (!memories_.empty()) LL_RETURN_IF_ERROR(read_memories(SpanStrategy(spans_, end, position, additions())));
  strategy_ = std::make_unique<SpanStrategy>(spans_, end, position);
  return read_prompt({}, question);
}

std::optional<TokenMask> Answering::form_mask() const {
  if (request_.form == nullptr) return std::nullopt;
  if (parts_.spellings == nullptr) parts_.spellings = std::make_unique<const TokenSpellings>(*parts_.tokenizer);
  return std::optional<TokenMask>(std::in_place, *request_.form, *parts_.tokenizer, *parts_.spellings);
}

// The next token: what was chosen on another device already, else the model's choice.
Result<TokenId> Answering::next_token(size_t index, Lookahead& ahead, std::optional<TokenMask>& mask,
                                      std::span<const float> logits) {
  if (index == so_far_.tokens.size()) {
    if (mask) {
      LL_ASSIGN_OR_RETURN(logits, mask->masked(logits));
    }
    LL_ASSIGN_OR_RETURN(const TokenId chosen, ahead.choose(so_far_.sampler, logits, stop_));
    so_far_.tokens.push_back(chosen);
  }
  return so_far_.tokens[index];
}

// Adds a token to the text. False: it ends the answer and says nothing.
bool Answering::take(TokenId token, std::optional<TokenMask>& mask, AnswerText& text, bool& is_whole) {
  if (!mask) {
    if (parts_.tokenizer->ends_answer(token)) return false;
    is_whole = text.add(parts_.tokenizer->decode(token));
    return true;
  }
  const size_t before = mask->text().size();
  if (!mask->take(token)) return false;
  text.add(std::string_view(mask->text()).substr(before));
  is_whole = mask->is_complete();
  return true;
}

Status Answering::generate(const std::function<void(std::string_view)>& on_text,
                           const std::function<void(const AnswerResult&)>& on_progress) {
  AnswerStats& stats = result_.stats;
  const size_t chosen_before = so_far_.tokens.size();  // the reader has their text
  const auto start = Clock::now();
  const double ms_before = so_far_.decode_ms;
  std::optional<TokenMask> mask = form_mask();
  AnswerText text(stop_text(engine_.facts_.chat), mask.has_value());
  const auto say = [&](bool is_new) {
    const std::string_view said = text.unsaid();
    if (is_new && !said.empty()) on_text(said);
    result_.text = text.text();
  };
  Lookahead ahead(*parts_.transformer, *parts_.store, *strategy_, known_tokens());
  // The draft model has no such memory, and knows nothing of forms, so its word alone does not count in one.
  if (parts_.draft != nullptr && !remembers()) ahead.use_draft(*parts_.draft, mask ? std::nullopt : request_.gate);
  if (!mask && !request_.gate) ahead.leave_logits(request_.sampler);
  std::span<const float> logits = logits_;
  bool is_whole = false;
  for (size_t i = 0; !is_whole && i < static_cast<size_t>(request_.max_tokens); ++i) {
    const bool is_new = i >= chosen_before;
    const auto next = next_token(i, ahead, mask, logits);
    if (next.status().code() == Code::Cancelled) {
      result_.stopped = true;
      break;
    }
    LL_RETURN_IF_ERROR(next.status());
    if (i == 0) stats.ttft_ms = is_new ? ms_since(request_.asked) : so_far_.result.stats.ttft_ms;
    if (!take(*next, mask, text, is_whole)) break;
    ++stats.decode_tokens;
    say(is_new);
    if (is_new) {
      so_far_.decode_ms = ms_before + ms_since(start);
      stats.decode_tokens_per_s = 1000.0 * stats.decode_tokens / std::max(so_far_.decode_ms, 1e-6);
      so_far_.used = stats.evidence;
      so_far_.result = result_;
      if (on_progress) on_progress(result_);
    }
    if (is_whole || i + 1 == static_cast<size_t>(request_.max_tokens)) break;
    if (i + 1 <= chosen_before) continue;  // read with the question
    const auto behind = ahead.next(*next, stop_);
    if (behind.status().code() == Code::Cancelled) {
      result_.stopped = true;
      break;
    }
    LL_RETURN_IF_ERROR(behind.status());
    logits = *behind;
  }
  result_.whole = !mask || mask->accepts();
  stats.guessed_tokens = ahead.guessed();
  stats.accepted_tokens = ahead.accepted();
  text.finish();
  say(true);
  return {};
}

Result<AnswerResult> Engine::answer(const DocumentInput& document, const std::filesystem::path& folder,
                                    const AnswerRequest& request, const std::function<void(std::string_view)>& on_text,
                                    const std::function<void(const AnswerResult&)>& on_progress, std::stop_token stop) {
  AnswerSoFar so_far(request.sampler);
  return guarded([&] {
    return Answering(*this, open_document(document, folder), request, so_far, stop).run(on_text, on_progress);
  });
}

}  // namespace longleaf
