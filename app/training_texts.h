// What a memory is trained on: documents of a library, and questions about them.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "engine/train/training_run.h"
#include "ingest/library/library.h"

namespace longleaf {

struct TrainingTexts {
  train::TrainingInput input;
  std::vector<std::string> notes;  // a sentence for everything that is not trained on as one would expect
};

// Documents of the library that are read to their end. `left_out`: how many are not.
Result<std::vector<DocumentRow>> documents_to_train_on(Library& library, size_t& left_out);

// The texts of `documents`, and of the questions in the file those that are about one of them. Documents go by file
// name, path, title or id. questions: empty for none. Blocks. Returns Cancelled, what reading the file returns, and
// Invalid where no question is about a document.
Result<TrainingTexts> training_texts(Library& library, const std::vector<DocumentRow>& documents,
                                     const std::string& questions, std::stop_token stop);

}  // namespace longleaf
