// Questions with their answers and evidence, in the forms that the field's collections have.
// Pure functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "engine/base/status.h"

namespace longleaf {

struct QuestionOnFile {
  std::string document;  // a file's name; empty where `context` is the document
  std::string context;
  std::string question;
  std::vector<std::string> answers;  // each is right; none: not said, or the document has no answer
  std::vector<int> pages;            // of the evidence, from 1; empty: not said
};

// Reads samples.json of MMLongBench-Doc (of which pictures are left out: they have no words), JSON lines of {document,
// question, answers, pages}, of LongBench or of L-Eval, SQuAD's JSON, or MuSiQue's list of {ctxs, question, answers}.
// Returns NotFound, and Corrupt with the forms that are known.
Result<std::vector<QuestionOnFile>> read_questions(const std::string& path);

}  // namespace longleaf
