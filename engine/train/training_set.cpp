#include "engine/train/training_set.h"

#include <algorithm>
#include <cmath>

#include "engine/base/checksum.h"
#include "engine/memory/encoder.h"
#include "engine/tokenizer/sentences.h"

namespace longleaf::train {
namespace {

constexpr double kLeastShare = 0.6;  // of an answer, or of a text, in one run, for the text to have the answer
constexpr size_t kSentence = 6;      // tokens of a run, at least, where it is not most of the answer

// The longest run of tokens that both have.
size_t run_in_common(std::span<const TokenId> a, std::span<const TokenId> b) {
  std::vector<size_t> runs(b.size() + 1, 0);  // that end at a token of b and at the last one of a
  size_t longest = 0;
  for (const TokenId token : a)
    for (size_t j = b.size(); j-- > 0;) {
      runs[j + 1] = token == b[j] ? runs[j] + 1 : 0;
      longest = std::max(longest, runs[j + 1]);
    }
  return longest;
}

// How much of an answer a text has: a run of most of it, or one that is most of the text, as where an answer is made of
// several sentences; else 0.
size_t answer_in(std::span<const TokenId> text, std::span<const TokenId> answer) {
  const size_t run = run_in_common(text, answer);
  const auto is_most_of = [run](size_t n) { return static_cast<double>(run) >= kLeastShare * static_cast<double>(n); };
  return run > 0 && (is_most_of(answer.size()) || (run >= kSentence && is_most_of(text.size()))) ? run : 0;
}

class Reader {
 public:
  Reader(const TextReading& reading, uint64_t key) : r_(reading) { set_.key = key; }

  Status read_documents(const std::vector<DocumentInput>& documents, const std::stop_token& stop) {
    keys_.resize(documents.size());
    for (size_t i = 0; i < documents.size(); ++i) {
      if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
      add(document(documents[i], keys_[i]));
      for (const DocumentNode& node : documents[i].nodes) set_.leaves += node.text.empty() ? 0 : 1;
    }
    if (set_.tokens > 0) return {};
    return Status(Code::Invalid, "There is no text to train on; name documents that have some");
  }

  Status read_questions(const std::vector<TrainingInput::Question>& questions) {
    // Every so many are held out, the first of them half way: of few questions, one.
    const auto before = [&](size_t n) { return std::floor(static_cast<double>(n) * r_.options.held_out + 0.5); };
    for (size_t i = 0; i < questions.size(); ++i) {
      TrainingQuestion q = question(questions[i]);
      if (!can_be_asked(questions[i], q)) {
        ++set_.left_out;
        continue;
      }
      set_.key = fingerprint(q.gold, fingerprint(q.answer, fingerprint(q.asked, set_.key)));
      set_.key = fingerprint(std::vector{q.document}, set_.key);
      (before(i + 1) > before(i) ? set_.held_out : set_.questions).push_back(std::move(q));
    }
    if (!set_.questions.empty() || (r_.options.steps.corpus_steps > 0 && questions.empty())) return {};
    return Status(Code::Invalid, questions.empty()
                                     ? "There are neither questions nor steps on the text to train with"
                                     : "No question is left to train with: questions and answers need words, and some "
                                       "are held out for scores");
  }

  TrainingSet take() { return std::move(set_); }

 private:
  bool is_tree() const { return r_.options.memory.method == MemoryMethod::Tree; }

  TrainingDocument document(const DocumentInput& from, std::vector<int64_t>& keys) const {
    const int piece = piece_length(r_.options.memory, r_.context_tokens);
    TrainingDocument document{
        prompt_prefix(r_.tokenizer, r_.chat, from.title), text_tree(from, r_.tokenizer, piece, keys), {}};
    if (is_tree() && r_.options.steps.begins_short)
      for (const auto& tokens : document.tree.tokens)
        document.sentences.push_back(sentence_starts(r_.tokenizer, tokens));
    return document;
  }

  void add(TrainingDocument document) {
    const TextTree& tree = document.tree;
    for (const auto& tokens : tree.tokens) {
      set_.tokens += static_cast<int64_t>(tokens.size());
      set_.key = fingerprint(tokens, set_.key);
    }
    set_.key = fingerprint(document.opening, fingerprint(tree.parents, set_.key));
    set_.documents.push_back(std::move(document));
  }

  TrainingQuestion question(const TrainingInput::Question& from) const {
    TrainingQuestion q;
    q.document = from.document;
    q.words = r_.tokenizer.encode(from.question);
    q.asked = encode_pieces(r_.tokenizer, document_prompt(r_.chat, "", {}, from.question).after);
    q.answer = r_.tokenizer.encode((r_.chat.is_plain() ? " " : "") + from.answer);
    if (const TokenId end = r_.tokenizer.end(); end >= 0) q.answer.push_back(end);
    const auto& own = keys_[from.document];
    const TextTree& tree = set_.documents[from.document].tree;
    for (const int64_t leaf : from.leaves)
      if (const auto it = std::find(own.begin(), own.end(), leaf); it != own.end())
        q.gold.push_back(gold_piece(tree, own, static_cast<int>(it - own.begin()), from.answer));
    return q;
  }

  // The piece of a node's text that has most of the answer; the node itself where it has no pieces, or none has it, or
  // several alike.
  int gold_piece(const TextTree& tree, const std::vector<int64_t>& keys, int node, const std::string& answer) const {
    const auto tokens = r_.tokenizer.encode(answer), behind_space = r_.tokenizer.encode(" " + answer);
    int best = node;
    size_t most = 0;
    for (int piece = node + 1; piece < static_cast<int>(tree.size()) && is_piece(tree, keys, piece); ++piece) {
      const auto& text = tree.tokens[static_cast<size_t>(piece)];
      const size_t n = std::max(answer_in(text, tokens), answer_in(text, behind_space));
      if (n > most)
        best = piece, most = n;
      else if (n == most)
        best = node;
    }
    return best;
  }

  bool can_be_asked(const TrainingInput::Question& from, const TrainingQuestion& q) const {
    const TrainingDocument& document = set_.documents[q.document];
    const size_t memories = is_tree() ? most_reached(document.tree.parents, r_.options.steps.descent, q.gold.size())
                                      : 1 + static_cast<size_t>(r_.options.memory.sensory_tokens);
    const size_t tokens = document.opening.size() + memories + q.asked.size() + q.answer.size();
    return !q.words.empty() && from.answer.find_first_not_of(" \t\n") != std::string::npos &&
           tokens <= static_cast<size_t>(r_.context_tokens);
  }

  const TextReading& r_;
  TrainingSet set_;
  std::vector<std::vector<int64_t>> keys_;  // of every document, the keys of its nodes
};

}  // namespace

Result<TrainingSet> read_training_set(const TrainingInput& input, const TextReading& reading, uint64_t key,
                                      std::stop_token stop) {
  Reader reader(reading, key);
  LL_RETURN_IF_ERROR(reader.read_documents(input.documents, stop));
  LL_RETURN_IF_ERROR(reader.read_questions(input.questions));
  return reader.take();
}

}  // namespace longleaf::train
