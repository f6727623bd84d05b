// One answer from question to last token. Made by Engine::answer; not for other use.
#pragma once

#include "engine/answer/answer_text.h"
#include "engine/generate/lookahead.h"
#include "engine/parts.h"

namespace longleaf {

// What is chosen already when an answer goes on on another device; empty at its beginning.
struct AnswerSoFar {
  explicit AnswerSoFar(const SamplerOptions& options) : sampler(options) {}
  Sampler sampler;
  std::vector<TokenId> tokens;
  double decode_ms = 0;          // that they took
  AnswerResult result;           // as told last
  std::optional<Evidence> used;  // that it was begun with
};

class Answering {
 public:
  Answering(Engine& engine, Engine::OpenDocument& document, const AnswerRequest& request, AnswerSoFar& so_far,
            std::stop_token stop)
      : engine_(engine),
        parts_(*engine.parts_),
        document_(document),
        request_(request),
        so_far_(so_far),
        stop_(std::move(stop)) {}

  Result<AnswerResult> run(const std::function<void(std::string_view)>& on_text,
                           const std::function<void(const AnswerResult&)>& on_progress);

 private:
  // A leaf that is evidence: its entry in the plan and where it stands now.
  struct Placed {
    size_t entry;
    int position;
  };
  std::vector<TokenId> question_tokens(const std::vector<Turn>& history) const;
  std::vector<TokenId> known_tokens() const;
  Status prefill(std::vector<TokenId> question);
  void use_text(const char* reason);
  void choose_leaves(const std::vector<int64_t>& leaves, int question_tokens);
  DescentOptions descent() const;
  Status choose_memories(int question_tokens);
  Result<std::vector<float>> ask_memories();
  Status recall_memories(int question_tokens);
  void tell_recalled(const Segments& text, const std::vector<float>& shares);
  void tell_reached(const std::vector<int>& nodes, const std::vector<double>& shares);
  std::vector<bool> segments_given(const Segments& text) const;
  std::vector<int> wanted_nodes() const;
  std::unordered_map<int, double> words_of_nodes() const;
  NodeScore node_score(const std::vector<float>& asked) const;
  std::vector<int> reach(const NodeScore& score, DescentOptions options);
  std::vector<int> best_pieces(const std::vector<int>& nodes, const NodeScore& score, int most) const;
  std::vector<int64_t> leaves_reached() const;
  Status leaves_missing() const;
  PlanInput plan_input(int question_tokens) const;
  Status check_evidence(const PlanInput& input) const;
  Status choose_evidence(int question_tokens);
  Status read_prompt(const std::vector<TokenId>& in_front, const std::vector<TokenId>& question);
  Status prefill_exact(const std::vector<TokenId>& question);
  Status prefill_memory(const std::vector<TokenId>& question);
  Status read_prefix();
  Status read_memories(const Strategy& strategy);
  Status prefill_leaf_kv(const std::vector<TokenId>& question);
  bool remembers() const { return needs_memory(result_.stats.evidence); }
  const Additions* additions() const { return remembers() ? &parts_.learned->additions() : nullptr; }
  std::vector<Placed> place(int question_tokens) const;
  Status load(const std::vector<Placed>& placed);
  Status load_alone(EntryReader& reader, size_t entry);
  size_t bytes_to_load(size_t entry) const;
  Status repair(const std::vector<Placed>& placed);
  std::optional<TokenMask> form_mask() const;
  Result<TokenId> next_token(size_t index, Lookahead& ahead, std::optional<TokenMask>& mask,
                             std::span<const float> logits);
  bool take(TokenId token, std::optional<TokenMask>& mask, AnswerText& text, bool& is_whole);
  Status generate(const std::function<void(std::string_view)>& on_text,
                  const std::function<void(const AnswerResult&)>& on_progress);
  bool prefix_and_leaves_there() const;
  const MemoryEntry& entry(size_t i) const { return document_.plan.entries[i]; }
  int prefix_tokens() const { return static_cast<int>(entry(0).tokens.size()); }

  Engine& engine_;
  Engine::Parts& parts_;
  Engine::OpenDocument& document_;
  const AnswerRequest& request_;
  AnswerSoFar& so_far_;
  std::stop_token stop_;
  std::vector<size_t> chosen_;    // entries, in reading order
  std::vector<float> memories_;   // that stand in front of the question, as embeddings
  std::vector<TokenId> sensory_;  // between them and the question, with hmt
  std::unique_ptr<Strategy> strategy_;
  std::vector<kernels::Span> spans_;
  std::vector<float> logits_;
  AnswerResult result_;
};

}  // namespace longleaf
