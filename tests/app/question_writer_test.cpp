// Questions that a model writes: which of them count, and going on where writing was stopped.
#include "app/question_writer.h"

#include <map>

#include "app/questions_file.h"
#include "engine/base/files.h"
#include "tests/support/check.h"
#include "tests/support/forms.h"
#include "tests/support/import_rig.h"

using namespace longleaf;

namespace {

constexpr const char* kPump = "The feed pump of line four delivers 149 litres per minute at full speed.";
constexpr const char* kAnswer = "149 litres per minute";
constexpr const char* kQuestion = "How many litres does the feed pump deliver?";

// Two documents of one leaf each, and one that says next to nothing.
std::vector<DocumentInput> documents() {
  const auto one = [](int64_t key, const std::string& text) {
    return DocumentInput{
        "d" + std::to_string(key), key, "Manual", {{key, 0, false, 0, ""}, {key + 1, key, true, 9, text}}};
  };
  return {one(10, kPump), one(20, "The valve of line nine closes within 30 seconds of an alarm."), one(30, "Page 3")};
}

// A model that says what it is told to, by leaf: a question, then its answer.
struct Script {
  std::map<int64_t, std::pair<std::string, std::string>> says;
  int asked = 0;
  AskAboutLeaf ask() {
    return [this](const DocumentInput&, int64_t leaf, const std::string& request, std::shared_ptr<const Form> form,
                  int) -> Result<std::string> {
      ++asked;
      const auto& [question, answer] = says[leaf];
      const std::string& said = request.find("Write one question") != std::string::npos ? question : answer;
      return test::fits(*form, said) ? said : std::string();  // what a model cannot say is cut off
    };
  }
};

std::vector<WrittenQuestion> all_of(QuestionWriter& writer) {
  std::vector<WrittenQuestion> all;
  while (writer.leaves_done() < writer.leaves()) {
    const auto written = writer.next();
    CHECK(written.ok());
    if (written.ok() && *written) all.push_back(**written);
  }
  return all;
}

size_t count_for(const std::string& question, const std::string& answer) {
  const auto texts = documents();
  Script script{{{11, {question, answer}}}};
  QuestionWriter writer(texts, script.ask());
  return all_of(writer).size();
}

}  // namespace

TEST(a_question_counts_with_an_answer_that_its_passage_carries) {
  const auto texts = documents();
  Script script{{{11, {kQuestion, kAnswer}}, {21, {"When does the valve close?", "within 30 seconds of an alarm"}}}};
  QuestionWriter writer(texts, script.ask());
  CHECK_EQ(writer.leaves(), size_t{2});
  const auto all = all_of(writer);
  REQUIRE(all.size() == 2);
  for (const WrittenQuestion& written : all) {
    CHECK_EQ(written.leaf, written.document == 0 ? 11 : 21);
    if (written.document == 0) CHECK(written.question == kQuestion);
    if (written.document == 0) CHECK(written.answer == kAnswer);
  }
}

TEST(what_is_no_question_or_made_up_does_not_count) {
  const std::string answer = kAnswer;
  CHECK_EQ(count_for(kQuestion, answer), size_t{1});
  CHECK_EQ(count_for("", answer), size_t{0});
  CHECK_EQ(count_for("The feed pump delivers litres.", answer), size_t{0});
  CHECK_EQ(count_for("Litres?", answer), size_t{0});
  CHECK_EQ(count_for("Sure:\nHow many litres does the feed pump deliver?", answer), size_t{0});
  CHECK_EQ(count_for("\"How many litres does the feed pump deliver?\"", answer), size_t{0});
  CHECK_EQ(count_for("Who was the first emperor of Rome?", answer), size_t{0});
  std::string endless = "Is the pump";
  for (int i = 0; i < 50; ++i) endless += " very";
  CHECK_EQ(count_for(endless + " fast?", answer), size_t{0});
  CHECK_EQ(count_for("How many litres does the feed pump deliver ?", answer), size_t{1});
  CHECK_EQ(count_for(kQuestion, ""), size_t{0});
  CHECK_EQ(count_for(kQuestion, "150 litres per minute"), size_t{0});
  CHECK_EQ(count_for(kQuestion, answer + " It was built by Romans in Gaul."), size_t{0});
  CHECK_EQ(count_for(kQuestion, "at"), size_t{0});  // of the passage, and says nothing
}

TEST(a_question_is_written_once) {
  const auto texts = documents();
  Script script{{{11, {kQuestion, kAnswer}}}};
  QuestionWriter writer(texts, script.ask());
  writer.know(kQuestion);
  CHECK(all_of(writer).empty());
  CHECK_EQ(script.asked, 2);  // and nobody was asked for an answer
}

TEST(writing_goes_on_behind_the_leaf_that_was_written_about_last) {
  const auto texts = documents();
  Script script{{{11, {kQuestion, kAnswer}}, {21, {"When does the valve close?", "within 30 seconds"}}}};
  QuestionWriter first(texts, script.ask());
  const auto written = first.next();
  REQUIRE(written.ok() && written->has_value());
  QuestionWriter second(texts, script.ask());
  second.skip_to((*written)->leaf);
  const auto rest = all_of(second);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].leaf != (*written)->leaf);
  QuestionWriter third(texts, script.ask());
  third.skip_to(999);  // of another reading of the document
  CHECK_EQ(third.leaves_done(), size_t{0});
}

TEST(a_file_of_questions_is_written_gone_on_with_and_read) {
  test::TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  auto imported =
      import_document(**library, test::save(folder, {.pages = 6, .outline = true, .salt = 0}), test::options());
  REQUIRE_OK(imported);
  const std::vector<DocumentRow> rows = {imported->document};
  const auto file = folder / "q.jsonl";
  int left = 3;  // requests until somebody stops it
  const AskAboutLeaf ask = [&](const DocumentInput& document, int64_t leaf, const std::string& request,
                               const std::shared_ptr<const Form>&, int) -> Result<std::string> {
    if (left-- == 0) return Status(Code::Cancelled, "Stopped");
    for (const DocumentNode& node : document.nodes)
      if (node.key == leaf) {
        std::string first = node.text.substr(0, node.text.find('.'));
        first = first.substr(first.rfind('\n') + 1);  // without the headings above it
        return request.find("Write one question") != std::string::npos ? "What is said of " + first + "?" : first + ".";
      }
    return std::string();
  };
  CHECK(write_questions_file(**library, rows, ask, file, 3, nullptr).status().code() == Code::Cancelled);
  const auto some = read_questions(file.string());
  REQUIRE_OK(some);
  CHECK_EQ(some->size(), size_t{1});  // what was written before is there
  left = 1000;
  size_t told = 0;
  const auto all = write_questions_file(**library, rows, ask, file, 3, [&](size_t n, size_t, size_t) { told = n; });
  REQUIRE_OK(all);
  CHECK_EQ(*all, size_t{3});
  CHECK_EQ(told, size_t{3});
  const auto read = read_questions(file.string());
  REQUIRE_OK(read);
  REQUIRE(read->size() == 3);
  CHECK((*read)[0].question == (*some)[0].question);
  for (const QuestionOnFile& q : *read) {
    CHECK(q.document == imported->document.id);
    CHECK(!q.pages.empty() && q.pages[0] >= 1 && q.pages[0] <= 6);
    CHECK(q.answers.size() == 1 && q.question.find(q.answers[0].substr(0, 10)) != std::string::npos);
  }
  left = 0;
  CHECK_EQ(*write_questions_file(**library, rows, ask, file, 3, nullptr), size_t{3});  // nobody is asked

  REQUIRE(write_file(folder / "mine.txt", "my own words\n").ok());
  CHECK(write_questions_file(**library, rows, ask, folder / "mine.txt", 3, nullptr).status().code() == Code::Invalid);
  const AskAboutLeaf silent = [](const DocumentInput&, int64_t, const std::string&, const std::shared_ptr<const Form>&,
                                 int) -> Result<std::string> { return std::string("No."); };
  const auto none = write_questions_file(**library, rows, silent, folder / "none.jsonl", 3, nullptr);
  CHECK(none.status().code() == Code::Invalid &&
        none.status().message().find("questions of your own") != std::string::npos);
}
