// eval qa: how good answers are, how fast they come, and what they cost, for every kind of evidence.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "app/cli/context.h"
#include "app/evidence_leaves.h"
#include "app/places.h"
#include "app/questions_file.h"
#include "engine/base/checksum.h"
#include "engine/base/files.h"
#include "engine/evaluation/text_scores.h"

namespace longleaf::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Arguments {
  std::vector<std::string> questions;  // files: each is a seed of its own
  std::string documents, method = "flat", memory_routing = "words";
  std::vector<std::string> evidence = {"auto"};
  int most = 0, max_tokens = 64, evidence_tokens = 3072;
  DescentOptions descent{.children = 0};
};

// Questions whose text is in the questions file are about a document of their own: the text, as a file.
Result<std::string> documentOf(const Context& context, const QuestionOnFile& question, const std::string& folder) {
  if (question.context.empty()) return (std::filesystem::path(folder) / question.document).string();
  const std::filesystem::path texts = context.dataFolder() / "eval";
  std::error_code error;
  std::filesystem::create_directories(texts, error);
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.txt", static_cast<unsigned long long>(fingerprint(question.context)));
  if (!std::filesystem::exists(texts / name, error)) LL_RETURN_IF_ERROR(write_file(texts / name, question.context));
  return (texts / name).string();
}

// Shares of gold nodes that were reached, level by level below the top, the leaves last.
class Survival {
 public:
  void add(const DocumentInput& input, const std::vector<int64_t>& gold, const Route& route) {
    std::map<int64_t, int64_t> parents;
    for (const DocumentNode& node : input.nodes) parents[node.key] = node.parent;
    std::set<int64_t> kept;
    for (const RoutedNode& node : route.trace)
      if (node.kept) kept.insert(node.node);
    std::set<int64_t> counted;
    for (const int64_t leaf : gold) {
      std::vector<int64_t> path;
      for (int64_t node = leaf; parents.count(node) > 0 && parents[node] != 0; node = parents[node])
        path.insert(path.begin(), node);
      for (size_t level = 0; level < path.size(); ++level) {
        if (!counted.insert(path[level]).second) continue;
        if (levels_.size() <= level) levels_.resize(level + 1);
        count(levels_[level], kept.count(path[level]) > 0);
      }
      count(leaves_, kept.count(leaf) > 0);
    }
  }
  Json levels() const {
    Json all = Json::array();
    for (const auto& level : levels_) all.push_back(level.reached / level.gold);
    return all;
  }
  Json leaves() const { return leaves_.gold > 0 ? Json(leaves_.reached / leaves_.gold) : Json(nullptr); }

 private:
  struct Share {
    double reached = 0, gold = 0;
  };
  static void count(Share& share, bool reached) {
    ++share.gold;
    share.reached += reached ? 1 : 0;
  }
  std::vector<Share> levels_;
  Share leaves_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// What one kind of evidence came to.
struct Tally {
  double pages_reached = 0, pages_known = 0;
  std::vector<TextScores> scores;  // of every question
  std::map<std::string, std::vector<double>> times, counts;
  std::vector<size_t> file_ends;  // number of questions, when a file's were done
  Survival survival;
  std::map<int64_t, EncodeReport> encoded;              // by document
  uint64_t peak_device_bytes = 0, peak_host_bytes = 0;  // of the program until then

  void add(const QuestionOnFile& question, const Asked& asked, double ms) {
    const AnswerStats& s = asked.stats;
    scores.push_back(score_text(asked.found ? asked.answer : "", question.answers));
    for (const auto& [name, value] :
         {std::pair{"ttft_ms", s.ttft_ms}, std::pair{"route_ms", asked.route_ms}, std::pair{"query_ms", s.query_ms},
          std::pair{"descent_ms", s.descent_ms}, std::pair{"load_ms", s.load_ms}, std::pair{"prefill_ms", s.prefill_ms},
          std::pair{"total_ms", ms}})
      times[name].push_back(value);
    for (const auto& [name, value] :
         {std::pair{"evidence_tokens", s.evidence_tokens}, std::pair{"memory_tokens", s.memory_tokens},
          std::pair{"prefill_tokens", s.prefill_tokens}})
      counts[name].push_back(value);
    if (question.pages.empty()) return;
    ++pages_known;
    const auto cited = [&](int page) {
      return std::any_of(asked.citations.begin(), asked.citations.end(),
                         [&](const CitationRow& citation) { return citation.page + 1 == page; });
    };
    pages_reached += std::any_of(question.pages.begin(), question.pages.end(), cited) ? 1 : 0;
  }

  uint64_t bytes_kept() const {
    uint64_t bytes = 0;
    for (const auto& [document, report] : encoded) {
      bytes += report.bytes + report.node_bytes;
    }
    return bytes;
  }
};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// The mean over all questions; and where there are several files, the standard deviation of the files' means.
void addScore(Json& row, const std::string& name, const Tally& t, double TextScores::*member) {
  std::vector<double> all, means;
  size_t at = 0;
  for (const size_t end : t.file_ends) {
    std::vector<double> own;
    for (; at < end; ++at) own.push_back(t.scores[at].*member);
    if (!own.empty()) means.push_back(mean_of(own));
    all.insert(all.end(), own.begin(), own.end());
  }
  row[name] = mean_of(all);
  if (means.size() < 2) return;
  const double mean = mean_of(means);
  double squares = 0;
  for (const double x : means) squares += (x - mean) * (x - mean);
  row[name + "_spread"] = std::sqrt(squares / static_cast<double>(means.size() - 1));
}

Json tallyJson(const std::string& name, const Tally& t) {
  Json row{{"evidence", name}, {"questions", t.scores.size()}};
  addScore(row, "exact_match", t, &TextScores::exact);
  addScore(row, "f1", t, &TextScores::f1);
  addScore(row, "rouge_l", t, &TextScores::rouge_l);
  row["cites_an_evidence_page"] = t.pages_known > 0 ? Json(t.pages_reached / t.pages_known) : Json(nullptr);
  for (const auto& [what, values] : t.times) row[what] = median(values);
  for (const auto& [what, values] : t.counts) row[what] = mean_of(values);
  row["gold_survives"] = t.survival.levels();
  row["gold_leaves_survive"] = t.survival.leaves();
  row["bytes_kept"] = t.bytes_kept();
  row["peak_device_bytes"] = t.peak_device_bytes;
  row["peak_host_bytes"] = t.peak_host_bytes;
  return row;
}

MemoryRouting routingNamed(const std::string& name) {
  if (name == "gold") return MemoryRouting::ToLeaves;
  if (name == "random") return MemoryRouting::Random;
  return name == "learned" ? MemoryRouting::Learned : MemoryRouting::WithWords;
}

// Asks all questions with one kind of evidence.
class Answers {
 public:
  Answers(Context& context, const Arguments& args, Evidence evidence, std::string name)
      : context_(context), args_(args), evidence_(evidence), name_(std::move(name)) {
    options_.evidence = evidence;
    options_.method = args.method == "descent" ? RouteMethod::Descent : RouteMethod::Flat;
    options_.max_tokens = args.max_tokens;
    options_.evidence_tokens = args.evidence_tokens;
    options_.descent = args.descent;
    options_.memory_routing = routingNamed(args.memory_routing);
  }

  Result<Tally> all(const std::vector<std::vector<QuestionOnFile>>& files) {
    LL_ASSIGN_OR_RETURN(library_, context_.library());
    LL_ASSIGN_OR_RETURN(asking_, context_.asking(evidence_ != Evidence::Quote));
    size_t n = 0;
    for (const auto& file : files) n += file.size();
    for (const auto& file : files) {
      for (const QuestionOnFile& question : file) {
        if (context_.stop().stop_requested()) return Status(Code::Cancelled, "Stopped");
        LL_RETURN_IF_ERROR(one(question));
        context_.progress(name_ + ": " + std::to_string(tally_.scores.size()) + " of " + std::to_string(n));
      }
      tally_.file_ends.push_back(tally_.scores.size());
    }
    context_.progress("");
    if (evidence_ != Evidence::Quote && context_.hasModel()) {
      LL_ASSIGN_OR_RETURN(Engine * engine, context_.engine());
      const MemoryUse use = engine->memory_use();
      tally_.peak_device_bytes = use.peak_device_bytes, tally_.peak_host_bytes = use.peak_host_bytes;
    }
    return tally_;
  }

 private:
  Status one(const QuestionOnFile& question) {
    LL_ASSIGN_OR_RETURN(const std::string file, documentOf(context_, question, args_.documents));
    const auto document = context_.document(file);
    if (!document.ok()) {
      context_.failed(document.status());  // one bad document does not stop the others
      return {};
    }
    LL_RETURN_IF_ERROR(prepare(*document));
    LL_ASSIGN_OR_RETURN(const auto gold, goldOf(*document, question));
    options_.leaves = options_.memory_routing == MemoryRouting::ToLeaves ? gold : std::vector<int64_t>();
    const auto start = Clock::now();
    LL_ASSIGN_OR_RETURN(const Asked asked, asking_->ask(*document, question.question, options_, {}, context_.stop()));
    tally_.add(question, asked, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    LL_ASSIGN_OR_RETURN(const DocumentInput* input, asking_->input(*document));
    tally_.survival.add(*input, gold, asked.route);
    return {};
  }

  // What is loaded has to be made first.
  Status prepare(const DocumentRow& document) {
    if ((evidence_ != Evidence::LeafKv && !needs_memory(evidence_)) || tally_.encoded.count(document.key) > 0)
      return {};
    LL_ASSIGN_OR_RETURN(Engine * engine, context_.engine());
    const auto kinds = engine->memory_kinds();
    if (needs_memory(evidence_) && std::find(kinds.begin(), kinds.end(), evidence_) == kinds.end())
      return {};  // asking says why
    LL_ASSIGN_OR_RETURN(const DocumentInput* input, asking_->input(document));
    LL_ASSIGN_OR_RETURN(
        tally_.encoded[document.key],
        engine->encode(*input, memoryFolder(library_->folder()), nullptr, context_.stop(),
                       {.leaves = evidence_ == Evidence::LeafKv || evidence_ == Evidence::MemoryAndLeafKv,
                        .nodes = needs_memory(evidence_)}));
    return {};
  }

  Result<std::vector<int64_t>> goldOf(const DocumentRow& document, const QuestionOnFile& question) {
    auto it = leaves_.find(document.key);
    if (it == leaves_.end()) {
      LL_ASSIGN_OR_RETURN(auto read, EvidenceLeaves::read(*library_, document));
      it = leaves_.emplace(document.key, std::move(read)).first;
    }
    return it->second.of(question);
  }

  Context& context_;
  const Arguments& args_;
  Evidence evidence_;
  std::string name_;
  AskOptions options_;
  Library* library_ = nullptr;
  std::unique_ptr<Asking> asking_;
  std::map<int64_t, EvidenceLeaves> leaves_;  // by document
  Tally tally_;
};

Result<std::vector<std::vector<QuestionOnFile>>> readFiles(const Arguments& args) {
  std::vector<std::vector<QuestionOnFile>> files;
  size_t n = 0;
  for (const std::string& name : args.questions) {
    LL_ASSIGN_OR_RETURN(auto questions, read_questions(name));
    std::erase_if(questions, [](const QuestionOnFile& q) { return q.answers.empty(); });
    if (args.most > 0 && questions.size() > static_cast<size_t>(args.most))
      questions.resize(static_cast<size_t>(args.most));
    n += questions.size();
    files.push_back(std::move(questions));
  }
  if (n == 0) return Status(Code::Invalid, "No question in " + args.questions[0] + " says what the answer is");
  return files;
}

void printTable(const Json& rows) {
  std::printf("evidence               questions  exact     F1  ROUGE-L  gold kept  first word  routing  all\n");
  for (const Json& row : rows) {
    const Json& gold = row["gold_leaves_survive"];
    std::printf("%-22s %9d  %5.3f  %5.3f    %5.3f      %5s  %7.0f ms %5.0f ms  %.0f ms\n",
                row["evidence"].get<std::string>().c_str(), row["questions"].get<int>(),
                row["exact_match"].get<double>(), row["f1"].get<double>(), row["rouge_l"].get<double>(),
                gold.is_null() ? "–" : gold.dump().substr(0, 5).c_str(), row["ttft_ms"].get<double>(),
                row["route_ms"].get<double>(), row["total_ms"].get<double>());
  }
}

int runAnswers(Context& context, const Arguments& args) {
  LL_TRY(const auto files, readFiles(args));
  Json rows = Json::array();
  int status = kDone;
  for (const std::string& name : args.evidence) {
    LL_TRY(const Evidence evidence, evidence_named(name));
    const auto tally = Answers(context, args, evidence, name).all(files);
    if (!tally.ok())
      status = context.failed(tally.status());  // what the other kinds came to is still told
    else if (tally->scores.empty())
      status = context.failed(Status(Code::NotFound, "None of the documents could be read"));
    else
      rows.push_back(tallyJson(name, *tally));
    if (context.stop().stop_requested()) break;
  }
  if (context.json()) return Context::print({{"evidence", rows}}), status;
  if (!rows.empty()) printTable(rows);
  return status;
}

}  // namespace

void addEvalAnswersCommand(CLI::App& eval, Context& context, Run& run) {
  static Arguments args;
  auto* answers = eval.add_subcommand("qa", "How good answers are: exact match, F1 and ROUGE-L, and how fast");
  answers
      ->add_option("--questions", args.questions,
                   "JSON lines of {document, question, answers, pages}, MMLongBench-Doc, LongBench, L-Eval, SQuAD or "
                   "MuSiQue; of several files, the spread between them is told too")
      ->required()
      ->delimiter(',');
  answers->add_option("--documents", args.documents, "Folder with the documents, where the questions name files");
  answers
      ->add_option("--evidence", args.evidence, "Kinds to compare, for example exact,leaf_kv,memory_tokens,hmt,quote")
      ->delimiter(',');
  answers->add_option("--most", args.most, "Questions of a file, from the first; 0: all")
      ->check(CLI::NonNegativeNumber);
  answers->add_option("--max-tokens", args.max_tokens, "Of an answer")->check(CLI::PositiveNumber);
  answers->add_option("--evidence-tokens", args.evidence_tokens, "Text of the document the model may look at, at most")
      ->check(CLI::PositiveNumber);
  answers->add_option("--route", args.method, "flat or descent")->check(CLI::IsMember({"flat", "descent"}));
  answers
      ->add_option(
          "--memory-routing", args.memory_routing,
          "Of memory_tokens, words: by the memories' scores and the question's words, as ask does; of that and "
          "hmt, learned: by the scores alone; gold: to the leaves that hold the answer; random: anywhere")
      ->check(CLI::IsMember({"words", "learned", "gold", "random"}));
  addDescentOptions(*answers, args.descent);
  answers->callback([&] { run = [&] { return runAnswers(context, args); }; });
}

}  // namespace longleaf::cli
