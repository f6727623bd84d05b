#include "app/question_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "app/asking.h"
#include "engine/answer/support.h"
#include "engine/base/files.h"
#include "ingest/structure/sentences.h"

namespace longleaf {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kAskForQuestion =
    "Write one question that this passage answers and that names what it is about. Write the question only.";
constexpr const char* kAskForAnswer = " Answer in the words of the passage, and with no more of them than it takes.";
// Three words at least; or, in scripts without spaces, four characters beyond ASCII.
constexpr const char* kQuestionForm =
    R"([^\s?"*]{1,30}( [^\s?"*]{1,30}){2,39} ?(\?|؟|？)|([^ -~\s][^\s?"*]{0,3}){4,60}(\?|？))";
constexpr int kQuestionTokens = 96, kAnswerTokens = 96;
constexpr size_t kFewestWords = 8;  // of a leaf

size_t words_in(const std::string& text) {
  std::istringstream words(text);
  size_t n = 0;
  for (std::string word; words >> word;) ++n;
  return n;
}

std::vector<std::string> sentences_of(const std::string& text) {
  std::vector<std::string> all;
  for (const Range& range : sentences(text)) all.push_back(text.substr(range.begin, range.end - range.begin));
  return all;
}

// Whole, not cut off, and about this leaf.
bool is_question(const std::string& text, const SentenceIndex& leaf) {
  const bool is_whole = text.ends_with("?") || text.ends_with("؟") || text.ends_with("？");
  return is_whole && !leaf.answers_to(text, {}).empty();
}

// Every sentence of it, so that nothing is made up.
bool is_carried(const std::string& answer, const SentenceIndex& leaf) {
  const auto claims = sentences_of(answer);
  return !claims.empty() && std::all_of(claims.begin(), claims.end(),
                                        [&](const auto& claim) { return leaf.support_for(claim).sentence >= 0; });
}

}  // namespace

AskAboutLeaf leaf_asker(Engine& engine, std::stop_token stop) {
  return [&engine, stop](const DocumentInput& document, int64_t leaf, const std::string& request,
                         std::shared_ptr<const Form> form, int most_tokens) -> Result<std::string> {
    // The leaf alone: the engine need not read a whole book for one passage of it.
    DocumentInput passage{document.id, document.key, document.title, {}};
    for (const DocumentNode& node : document.nodes)
      if (node.key == leaf) passage.nodes = {{leaf, 0, true, node.tokens, node.text}};
    AnswerRequest asked;
    asked.question = request;
    asked.leaves = {leaf};
    asked.evidence = Evidence::Exact;
    asked.form = std::move(form);
    asked.max_tokens = most_tokens;
    const auto unheard = [](std::string_view) {};
    LL_ASSIGN_OR_RETURN(const AnswerResult result, engine.answer(passage, {}, asked, unheard, nullptr, stop));
    if (result.stopped) return Status(Code::Cancelled, "Stopped");
    return result.text;
  };
}

QuestionWriter::QuestionWriter(const std::vector<DocumentInput>& documents, AskAboutLeaf ask)
    : documents_(documents), ask_(std::move(ask)) {
  for (size_t d = 0; d < documents.size(); ++d)
    for (size_t n = 0; n < documents[d].nodes.size(); ++n) {
      const DocumentNode& node = documents[d].nodes[n];
      if (node.is_leaf && words_in(node.text) >= kFewestWords) order_.push_back({d, n});
    }
  question_form_ = *Form::matching(kQuestionForm);
  std::mt19937_64 random(1);  // from all over the documents, where not every leaf comes to its turn
  for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
}

void QuestionWriter::skip_to(int64_t leaf) {
  const auto it = std::find_if(order_.begin(), order_.end(), [&](const Place& place) {
    return documents_[place.document].nodes[place.node].key == leaf;
  });
  if (it != order_.end()) done_ = static_cast<size_t>(it - order_.begin()) + 1;
}

Result<std::optional<WrittenQuestion>> QuestionWriter::next() {
  const Place& place = order_[done_];
  const DocumentInput& document = documents_[place.document];
  const DocumentNode& node = document.nodes[place.node];
  const SentenceIndex leaf(sentences_of(node.text));
  WrittenQuestion written{place.document, node.key, {}, {}};
  LL_ASSIGN_OR_RETURN(written.question, ask_(document, node.key, kAskForQuestion, question_form_, kQuestionTokens));
  if (is_question(written.question, leaf) && known_.count(written.question) == 0) {
    LL_ASSIGN_OR_RETURN(written.answer, ask_(document, node.key, written.question + kAskForAnswer,
                                             Form::quoting(node.text), kAnswerTokens));
  }
  ++done_;
  if (!is_carried(written.answer, leaf)) return std::optional<WrittenQuestion>();
  known_.insert(written.question);
  return std::optional(std::move(written));
}

namespace {

Json line_of(const WrittenQuestion& written, const DocumentRow& row, const std::vector<NodeRow>& tree) {
  Json line{{"document", row.id}, {"question", written.question}, {"answers", {written.answer}}};
  for (const NodeRow& node : tree)
    if (node.key == written.leaf)
      for (int page = node.page_first; page <= node.page_last; ++page) line["pages"].push_back(page + 1);
  line["leaf"] = written.leaf;
  return line;
}

// What an earlier run wrote. Returns how many questions there are.
Result<size_t> take_up(const std::filesystem::path& file, QuestionWriter& writer) {
  const auto there = read_file(file);
  if (there.status().code() == Code::NotFound) return size_t{0};
  LL_RETURN_IF_ERROR(there.status());
  std::istringstream lines(*there);
  size_t n = 0;
  for (std::string text; std::getline(lines, text);) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("question") || !line["question"].is_string())
      return Status(Code::Invalid, "The file " + file.string() +
                                       " is there already, and is not of questions that were written by a model; move "
                                       "it away, or train with it as it is");
    writer.know(line["question"].get<std::string>());
    if (line.contains("leaf") && line["leaf"].is_number_integer()) writer.skip_to(line["leaf"].get<int64_t>());
    ++n;
  }
  return n;
}

}  // namespace

Result<size_t> write_questions_file(Library& library, const std::vector<DocumentRow>& documents,
                                    const AskAboutLeaf& ask, const std::filesystem::path& file, size_t most,
                                    const std::function<void(size_t, size_t, size_t)>& progress) {
  std::vector<DocumentInput> inputs;
  std::vector<std::vector<NodeRow>> trees;
  Asking asking(library, nullptr);
  for (const DocumentRow& row : documents) {
    LL_ASSIGN_OR_RETURN(const DocumentInput* input, asking.input(row));
    inputs.push_back(*input);
    LL_ASSIGN_OR_RETURN(auto tree, library.tree(row.key));
    trees.push_back(std::move(tree));
  }
  QuestionWriter writer(inputs, ask);
  LL_ASSIGN_OR_RETURN(size_t n, take_up(file, writer));
  while (n < most && writer.leaves_done() < writer.leaves()) {
    LL_ASSIGN_OR_RETURN(const std::optional<WrittenQuestion> written, writer.next());
    if (written) {
      const Json line = line_of(*written, documents[written->document], trees[written->document]);
      LL_RETURN_IF_ERROR(append_to_file(file, line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"));
      ++n;
    }
    if (progress) progress(n, writer.leaves_done(), writer.leaves());
  }
  if (n > 0) return n;
  return Status(Code::Invalid,
                "The model wrote no question that its passage answers; give questions of your own, or use a model that "
                "follows instructions");
}

}  // namespace longleaf
