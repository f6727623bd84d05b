// Which leaves of a document hold the answer to a question on file.
#pragma once

#include <string>
#include <vector>

#include "app/questions_file.h"
#include "ingest/library/library.h"

namespace longleaf {

// A document's leaves with their texts, read once.
class EvidenceLeaves {
 public:
  static Result<EvidenceLeaves> read(Library& library, const DocumentRow& document);

  // Those on the pages named that have the answer's words; all of those pages where none has; empty where that says
  // nothing: words that stand in many leaves. REQUIRES: the question has answers.
  std::vector<int64_t> of(const QuestionOnFile& question) const;

 private:
  struct Leaf {
    int64_t key;
    int page_first, page_last;
    std::string text;
  };
  std::vector<Leaf> all_;
};

}  // namespace longleaf
