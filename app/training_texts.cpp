#include "app/training_texts.h"

#include <map>
#include <set>

#include "app/asking.h"
#include "app/evidence_leaves.h"
#include "app/questions_file.h"

namespace longleaf {
namespace {

class Reading {
 public:
  Reading(Library& library, const std::vector<DocumentRow>& rows) : library_(library), rows_(rows) {}

  Status documents(const std::stop_token& stop) {
    Asking asking(library_, nullptr);
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
      const DocumentRow& row = rows_[i];
      LL_ASSIGN_OR_RETURN(const DocumentInput* document, asking.input(row));
      for (const std::string& name : {row.id, row.title, row.path.filename().string(), row.path.string()})
        by_name_[name].insert(i);
      texts_.input.documents.push_back(*document);
    }
    return {};
  }

  Status questions(const std::string& file, std::stop_token stop) {
    LL_ASSIGN_OR_RETURN(auto lines, read_questions(file));
    std::erase_if(lines, [](const QuestionOnFile& line) { return line.answers.empty(); });
    for (const QuestionOnFile& line : lines) {
      if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
      LL_RETURN_IF_ERROR(take(line));
    }
    if (texts_.input.questions.empty())
      return Status(Code::Invalid, "None of the questions in " + file +
                                       " is about a document of the corpus; name documents by file name, title or id");
    note(unknown_, "are left out: their documents are not in the corpus");
    note(unclear_, "are left out: several documents of the corpus have the name they give; use ids or paths");
    note(without_evidence_, "have no evidence that could be found: they train answering, not routing");
    return {};
  }

  TrainingTexts take_all() { return std::move(texts_); }

 private:
  Status take(const QuestionOnFile& line) {
    const auto it = by_name_.find(line.document);
    if (it == by_name_.end() || it->second.size() > 1) {
      ++(it == by_name_.end() ? unknown_ : unclear_);
      return {};
    }
    const size_t document = *it->second.begin();
    if (leaves_of_.count(document) == 0) {
      LL_ASSIGN_OR_RETURN(auto read, EvidenceLeaves::read(library_, rows_[document]));
      leaves_of_.emplace(document, std::move(read));
    }
    auto leaves = leaves_of_.at(document).of(line);
    without_evidence_ += leaves.empty() ? 1 : 0;
    texts_.input.questions.push_back({document, line.question, line.answers[0], std::move(leaves)});
    return {};
  }

  void note(size_t questions, const std::string& what) {
    if (questions > 0) texts_.notes.push_back("Of the questions, " + std::to_string(questions) + " " + what);
  }

  Library& library_;
  const std::vector<DocumentRow>& rows_;
  TrainingTexts texts_;
  std::map<std::string, std::set<size_t>> by_name_;  // several where it is not clear which is meant
  std::map<size_t, EvidenceLeaves> leaves_of_;
  size_t unknown_ = 0, unclear_ = 0, without_evidence_ = 0;
};

}  // namespace

Result<std::vector<DocumentRow>> documents_to_train_on(Library& library, size_t& left_out) {
  LL_ASSIGN_OR_RETURN(auto all, library.documents());
  left_out = std::erase_if(all, [](const DocumentRow& row) { return row.state != DocumentState::Ready; });
  return all;
}

Result<TrainingTexts> training_texts(Library& library, const std::vector<DocumentRow>& documents,
                                     const std::string& questions, std::stop_token stop) {
  Reading reading(library, documents);
  LL_RETURN_IF_ERROR(reading.documents(stop));
  if (!questions.empty()) LL_RETURN_IF_ERROR(reading.questions(questions, stop));
  return reading.take_all();
}

}  // namespace longleaf
