// Documents and questions as tokens, as a training takes them. Pure functions: any thread.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "engine/generate/chat_template.h"
#include "engine/memory/document.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/train/training_options.h"

namespace longleaf::train {

struct TrainingInput {
  struct Question {
    size_t document = 0;
    std::string question, answer;
    std::vector<int64_t> leaves;  // nodes that hold the answer; may be empty
  };
  std::vector<DocumentInput> documents;
  std::vector<Question> questions;
};

struct TrainingSet {
  std::vector<TrainingDocument> documents;
  std::vector<TrainingQuestion> questions, held_out;
  size_t leaves = 0;    // texts of the documents, whole
  size_t left_out = 0;  // questions without words or an answer, or too long for the model
  int64_t tokens = 0;   // of the documents
  uint64_t key = 0;     // fingerprint of all that, behind the one that was given
};

// What texts are read with. All outlive it.
struct TextReading {
  const Tokenizer& tokenizer;
  const ChatStyle& chat;
  int context_tokens = 0;  // that the model reads at most
  const TrainingOptions& options;
};

// Returns Invalid where nothing can be learnt from what there is, and Cancelled.
Result<TrainingSet> read_training_set(const TrainingInput& input, const TextReading& reading, uint64_t key,
                                      std::stop_token stop);

}  // namespace longleaf::train
