// Training a memory on documents, and on questions about them: what goes in, what comes out, and what every method's
// trainer does. What a step looks at follows from its number alone, so a training that is taken up again goes on to the
// same bits.
#pragma once

#include <span>
#include <stop_token>
#include <vector>

#include "engine/memory/text_tree.h"
#include "engine/routing/descent.h"
#include "engine/train/memory_model.h"
#include "engine/train/sampling.h"

namespace longleaf::train {

struct TrainingDocument {
  std::vector<TokenId> opening;  // of a prompt, in front of the evidence
  TextTree tree;
  std::vector<std::vector<int>> sentences;  // of every node, the tokens they begin with; empty: texts are taken whole
};

struct TrainingQuestion {
  size_t document = 0;
  std::vector<TokenId> words;   // of the question alone, for its vector
  std::vector<TokenId> asked;   // the rest of the prompt, behind the evidence
  std::vector<TokenId> answer;  // with the token that ends it
  std::vector<int> gold;        // leaves that hold the answer; none: only answering is trained
};

struct MemoryTrainingSettings {
  OptimizerSettings optimizer;
  int64_t corpus_steps = 0;  // first these, then questions until optimizer.total_steps
  int tokens_per_corpus_step = 2048;
  int questions_per_step = 8;  // about one document
  int most_nodes = 64;         // H²MT: of a document that a step encodes: the gold ones and others at random
  int most_segments = 12;      // HMT: … that gradients go back through
  float route_weight = 1, reconstruction_weight = 0, temperature = 1;
  float text_weight = 1;  // H²MT: of telling texts in steps on questions; without, they are forgotten within 300 steps
  double drop_gold = 0.1;  // H²MT: how often a gold leaf that routing misses is not handed to the model
  DescentOptions descent;
  // H²MT: texts are told a sentence at a time at first, then more of them up to the whole. Without, a model that was
  // never trained for it does not learn to put a long text into one vector.
  bool begins_short = true;
  std::vector<TokenId> reconstruct;  // what asks for a text back, between its memory and the text
  uint64_t seed = 1;
};

struct StepReport {
  int64_t step = 0;
  bool corpus = false;
  double loss = 0;         // all that was trained on
  double answer_loss = 0;  // per token; of texts in the corpus stage
  double route_loss = 0;   // per parent on a gold path
  double text_loss = 0;    // of texts that are told beside questions, per token
  double gradient = 0;     // its norm before the clip
  int64_t tokens = 0;      // that were computed
};

// Over questions that were held out.
struct MemoryScores {
  size_t questions = 0;
  double answer_loss = 0;             // per token, with what routing reached
  double right = 0;                   // share of answers whose every token is the likeliest
  std::vector<double> gold_survives;  // share of gold nodes that routing reaches, per level below the root; not of HMT
  double gold_leaves_survive = 0;     // of texts in pieces, gold pieces; of HMT: how much of what questions get is gold
  double memory_tokens = 0;           // on average

  // More is better: answers that are right, less the loss. By the loss alone a model that has become sure would count
  // as worse, as it pays more for the questions whose evidence routing misses.
  double worth() const { return right - answer_loss; }
};

// Tokens that a step computes at most: in all, and in one run through the layers.
struct StepTokens {
  int64_t all = 0, run = 0;
};

// What is counted over questions until it becomes scores.
struct AnswerCounts {
  double questions = 0, answer_tokens = 0, loss = 0, right = 0, leaves = 0, leaves_reached = 0, memory_tokens = 0;
  std::vector<double> gold, reached;  // nodes, per level below the root

  MemoryScores scores() const;
};

// Not thread-safe: one thread owns it.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // The step behind the last that the parameters have made. REQUIRES: some document has text, questions have documents.
  // Returns Invalid where gradients are no numbers any more, and Cancelled: the parameters are then as they were.
  Result<StepReport> step(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                          std::stop_token stop = {});
  // Computes a step, and learns nothing from it: to see how long it takes.
  Status rehearse(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                  int64_t step, std::stop_token stop = {});
  // What a question is given of a document: what was learnt, or for comparison its gold leaves, or others at random.
  enum class Routing { Learned, Gold, Random };
  Result<MemoryScores> score(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                             Routing routing = Routing::Learned, std::stop_token stop = {});
  virtual StepTokens most_tokens(std::span<const TrainingDocument> documents,
                                 std::span<const TrainingQuestion> questions) const = 0;

  size_t tape_bytes() const { return tape_.bytes(); }

 protected:
  // All outlive the object.
  Trainer(const Decoder& decoder, const MemoryModel& memory, Parameters& parameters, const kernels::Backend& backend,
          const MemoryTrainingSettings& settings)
      : decoder_(decoder), memory_(memory), parameters_(parameters), settings_(settings), tape_(backend) {}

  using Questions = std::vector<const TrainingQuestion*>;  // about one document
  virtual double corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report) = 0;
  // How many of a document's parts a question's answer needs, and how many a step has room for.
  virtual size_t parts_of(const TrainingDocument& document, const TrainingQuestion& question) const = 0;
  virtual size_t most_parts() const = 0;
  virtual double question_loss(const TrainingDocument& document, const Questions& questions, uint64_t seed,
                               StepReport& report) = 0;
  virtual Status score_document(const TrainingDocument& document, const Questions& questions, Routing routing,
                                uint64_t seed, AnswerCounts& counts) = 0;

  // [opening; given; text; asked; answer] of a question.
  struct Prompt {
    const TrainingQuestion* question;
    Var given;                      // memories, as they stand among embeddings: (n, d_model)
    std::span<const TokenId> text;  // of the document, behind them; may be empty
  };
  // The mean loss of the answers' tokens; what was computed is added to the report.
  double answer_loss(const TrainingDocument& document, std::span<const Prompt> prompts, StepReport& report);
  void score_answer(const TrainingDocument& document, const Prompt& prompt, AnswerCounts& counts);

  // Vectors of questions: (n, d_model).
  Var queries(const Questions& questions);
  static int64_t query_tokens(const Questions& questions);
  // Of prompts, at most, with so much between opening and question.
  int64_t most_prompt_tokens(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                             int64_t given) const;

  const Decoder& decoder_;
  const MemoryModel& memory_;
  Parameters& parameters_;
  MemoryTrainingSettings settings_;
  Tape tape_;

 private:
  // The losses of a step, and their gradients; none where it fails.
  Result<StepReport> compute(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                             int64_t step, std::stop_token stop);
  // Rows of the model at the answers' tokens.
  Var answer_rows(const TrainingDocument& document, std::span<const Prompt> prompts, std::vector<int32_t>& targets,
                  int64_t& n_tokens);
};

}  // namespace longleaf::train
