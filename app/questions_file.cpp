#include "app/questions_file.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace longleaf {
namespace {

using Json = nlohmann::ordered_json;
using Questions = std::vector<QuestionOnFile>;

std::vector<int> page_list(const Json& value) {
  // MMLongBench-Doc writes the list as a string: "[3, 5]".
  const Json list = value.is_string() ? Json::parse(value.get<std::string>(), nullptr, false) : value;
  std::vector<int> pages;
  if (list.is_array())
    for (const auto& page : list)
      if (page.is_number_integer()) pages.push_back(page.get<int>());
  return pages;
}

std::vector<std::string> text_list(const Json& value) {
  if (value.is_string()) return {value.get<std::string>()};
  std::vector<std::string> texts;
  for (const auto& text : value) texts.push_back(text.is_object() ? text.at("text") : text);
  return texts;
}

// Text and table questions only where the file says what the evidence is: pictures have no words to find.
bool is_readable(const Json& sample) {
  const std::string sources = sample.value("evidence_sources", "text");
  return sources.find("Pure-text") != std::string::npos || sources == "text" ||
         sources.find("Table") != std::string::npos;
}

void add_mmlongbench(const Json& sample, Questions& to) {
  if (!is_readable(sample)) return;
  QuestionOnFile q{sample.at("doc_id"), "", sample.at("question"), {}, page_list(sample.at("evidence_pages"))};
  if (const auto answer = sample.find("answer"); answer != sample.end()) q.answers = text_list(*answer);
  to.push_back(std::move(q));
}

void add_musique(const Json& sample, Questions& to) {
  QuestionOnFile q{"", "", sample.at("question"), text_list(sample.at("answers")), {}};
  for (const auto& passage : sample.at("ctxs")) q.context += passage.at("text").get<std::string>() + "\n\n";
  to.push_back(std::move(q));
}

void add_squad(const Json& whole, Questions& to) {
  for (const auto& article : whole.at("data"))
    for (const auto& paragraph : article.at("paragraphs"))
      for (const auto& question : paragraph.at("qas"))
        to.push_back({"", paragraph.at("context"), question.at("question"), text_list(question.at("answers")), {}});
}

// A line of a collection of lines.
void add_line(const Json& sample, Questions& to) {
  if (sample.contains("instructions")) {  // L-Eval: several questions about one text
    const auto questions = text_list(sample.at("instructions")), answers = text_list(sample.at("outputs"));
    for (size_t i = 0; i < questions.size(); ++i)
      to.push_back({"", sample.at("input"), questions[i], {answers.at(i)}, {}});
  } else if (sample.contains("context")) {  // LongBench
    to.push_back({"", sample.at("context"), sample.at("input"), text_list(sample.at("answers")), {}});
  } else {
    QuestionOnFile q{sample.at("document"), "", sample.at("question"), {}, {}};
    if (const auto answers = sample.find("answers"); answers != sample.end()) q.answers = text_list(*answers);
    if (const auto pages = sample.find("pages"); pages != sample.end()) q.pages = page_list(*pages);
    to.push_back(std::move(q));
  }
}

Questions read(const std::string& all) {
  Questions questions;
  const Json whole = Json::parse(all, nullptr, false);
  if (whole.is_array()) {
    for (const auto& sample : whole) (sample.contains("ctxs") ? add_musique : add_mmlongbench)(sample, questions);
  } else if (whole.is_object() && whole.contains("data")) {
    add_squad(whole, questions);
  } else {
    std::istringstream lines(all);
    for (std::string line; std::getline(lines, line);)
      if (line.find_first_not_of(" \t\r") != std::string::npos) add_line(Json::parse(line), questions);
  }
  return questions;
}

}  // namespace

Result<std::vector<QuestionOnFile>> read_questions(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status(Code::NotFound, "The questions file " + path + " cannot be opened");
  try {
    std::stringstream all;
    all << file.rdbuf();
    auto questions = read(all.str());
    if (!questions.empty()) return questions;
  } catch (const std::exception&) {  // not JSON, not of this form, or too large
  }
  return Status(Code::Corrupt, "The questions file " + path +
                                   " has no questions in a known form: JSON lines of {document, question, answers, "
                                   "pages}, MMLongBench-Doc, LongBench, L-Eval, SQuAD or MuSiQue");
}

}  // namespace longleaf
