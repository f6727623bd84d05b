// Training a memory on documents, and on questions about them: what goes in, what comes out, and what every method's
// trainer does. What a step looks at follows from its number alone, so a training that is taken up again goes on to the
// same bits.
#pragma once

#include <span>
#include <vector>

#include "engine/memory/text_tree.h"
#include "engine/routing/descent.h"
#include "engine/train/parameters.h"

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
  int most_nodes = 64;         // of a document that a step encodes: the gold ones and others at random
  int most_segments = 12;      // … of HMT, that gradients go back through
  float route_weight = 1, reconstruction_weight = 0, temperature = 1;
  double drop_gold = 0.1;  // how often a gold leaf that routing misses is not handed to the model
  DescentOptions descent;
  // Texts are told a sentence at a time at first, then more of them up to the whole. Without, a model that was never
  // trained for it does not learn to put a long text into one vector.
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
  double gradient = 0;     // its norm before the clip
  int64_t tokens = 0;      // that were computed
};

// Over questions that were held out.
struct MemoryScores {
  size_t questions = 0;
  double answer_loss = 0;             // per token, with what routing reached
  double right = 0;                   // share of answers whose every token is the likeliest
  std::vector<double> gold_survives;  // share of gold nodes that routing reaches, per level below the root; not of HMT
  double gold_leaves_survive = 0;     // of HMT: how much of what is recalled is the gold segments
  double memory_tokens = 0;           // on average
};

// Not thread-safe: one thread owns it.
class Trainer {
 public:
  virtual ~Trainer() = default;
  // The step behind the last that the parameters have made. REQUIRES: some document has text, questions have documents.
  // Returns Invalid where gradients are no numbers any more: the parameters are then as they were.
  virtual Result<StepReport> step(std::span<const TrainingDocument> documents,
                                  std::span<const TrainingQuestion> questions) = 0;
  // What a question is given of a document: what was learnt, or for comparison its gold leaves, or others at random.
  enum class Routing { Learned, Gold, Random };
  virtual Result<MemoryScores> score(std::span<const TrainingDocument> documents,
                                     std::span<const TrainingQuestion> questions,
                                     Routing routing = Routing::Learned) = 0;
};

}  // namespace longleaf::train
