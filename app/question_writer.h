// Questions that a model writes about passages, and answers from the same passage: what a memory is trained on where
// nobody has written any. Calls block.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "ingest/library/library.h"

namespace longleaf {

struct WrittenQuestion {
  size_t document = 0;
  int64_t leaf = 0;
  std::string question, answer;
};

// What a model says, in a form, to a request about one leaf, which is all that it is shown; Cancelled when stopped.
using AskAboutLeaf =
    std::function<Result<std::string>(const DocumentInput& document, int64_t leaf, const std::string& request,
                                      std::shared_ptr<const Form> form, int most_tokens)>;
AskAboutLeaf leaf_asker(Engine& engine, std::stop_token stop);

class QuestionWriter {
 public:
  // Leaves of a few words and more are asked about, in an order that follows from the documents alone.
  // documents: outlive the object.
  QuestionWriter(const std::vector<DocumentInput>& documents, AskAboutLeaf ask);

  size_t leaves() const { return order_.size(); }
  size_t leaves_done() const { return done_; }
  // Goes on behind a leaf, where there is such a one.
  void skip_to(int64_t leaf);
  // A question that was written already, and is not to be written again.
  void know(const std::string& question) { known_.insert(question); }
  // Asks about the next leaf, for one line that ends with a question mark and for an answer in the leaf's own words. A
  // question counts where it is whole, is new, shares a word with its leaf, and has an answer whose every sentence the
  // leaf carries. REQUIRES: leaves_done() < leaves().
  Result<std::optional<WrittenQuestion>> next();

 private:
  struct Place {
    size_t document, node;
  };

  const std::vector<DocumentInput>& documents_;
  AskAboutLeaf ask_;
  std::vector<Place> order_;
  size_t done_ = 0;
  std::shared_ptr<const Form> question_form_;
  std::set<std::string> known_;
};

// Adds to a file of questions until it has `most`, as far as the documents go; what is there already is kept, so that
// writing goes on where it was stopped. progress: questions so far, leaves tried and all leaves. Returns how many there
// are, Invalid where there is none, and what `ask` returns.
Result<size_t> write_questions_file(Library& library, const std::vector<DocumentRow>& documents,
                                    const AskAboutLeaf& ask, const std::filesystem::path& file, size_t most,
                                    const std::function<void(size_t, size_t, size_t)>& progress);

}  // namespace longleaf
