// eval retrieval: which share of questions reaches its evidence pages. eval qa: how good the answers are.
#include <algorithm>
#include <cstdio>
#include <map>

#include "app/cli/context.h"
#include "app/cli/questions_file.h"
#include "app/places.h"
#include "engine/base/checksum.h"
#include "engine/base/files.h"
#include "engine/evaluation/text_scores.h"

namespace longleaf::cli {
namespace {

struct Share {
  int reached_any = 0, reached_all = 0, questions = 0;
};

struct Arguments {
  std::string questions, documents;
  std::vector<int> k = {1, 3, 5, 10};
  std::string method = "flat";
  std::vector<std::string> evidence = {"auto"};
  int most = 0, max_tokens = 64, evidence_tokens = 3072;
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

// Pages of the first `k` leaves, from 1.
Result<std::vector<std::vector<int>>> pagesReached(Library& library, const DocumentRow& document, const Route& route,
                                                   const std::vector<int>& ks) {
  LL_ASSIGN_OR_RETURN(const auto nodes, library.tree(document.key));
  std::map<int64_t, std::pair<int, int>> pages;
  for (const auto& node : nodes) pages[node.key] = {node.page_first + 1, node.page_last + 1};
  std::vector<std::vector<int>> reached;
  for (int k : ks) {
    std::vector<int> all;
    for (size_t i = 0; i < std::min<size_t>(static_cast<size_t>(k), route.leaves.size()); ++i)
      for (int p = pages[route.leaves[i].node].first; p <= pages[route.leaves[i].node].second; ++p) all.push_back(p);
    reached.push_back(std::move(all));
  }
  return reached;
}

Json sharesJson(const std::vector<int>& ks, const std::vector<Share>& shares, bool all) {
  Json out = Json::object();
  for (size_t i = 0; i < ks.size(); ++i)
    out[std::to_string(ks[i])] =
        shares[i].questions == 0
            ? 0.0
            : static_cast<double>(all ? shares[i].reached_all : shares[i].reached_any) / shares[i].questions;
  return out;
}

int runRetrieval(Context& context, const Arguments& args) {
  LL_TRY(auto questions, read_questions(args.questions));
  std::erase_if(questions, [](const QuestionOnFile& q) { return q.pages.empty() || q.document.empty(); });
  if (questions.empty())
    return context.failed(
        Status(Code::Invalid, "No question in " + args.questions + " names the pages of its evidence"));
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto asking, context.asking());
  std::vector<Share> total(args.k.size());
  std::map<std::string, std::vector<Share>> per_document;
  for (const QuestionOnFile& question : questions) {
    const auto document = context.document((std::filesystem::path(args.documents) / question.document).string());
    if (!document.ok()) {
      context.failed(document.status());
      continue;
    }
    LL_TRY(const Route route,
           asking->findRoute(*document, question.question,
                             args.method == "descent" ? RouteMethod::Descent : RouteMethod::Flat, 0, context.stop()));
    LL_TRY(const auto reached, pagesReached(*library, *document, route, args.k));
    auto& own = per_document[question.document];
    own.resize(args.k.size());
    for (size_t i = 0; i < args.k.size(); ++i) {
      const auto has = [&](int page) {
        return std::find(reached[i].begin(), reached[i].end(), page) != reached[i].end();
      };
      for (Share* share : {&total[i], &own[i]}) {
        ++share->questions;
        share->reached_any += std::any_of(question.pages.begin(), question.pages.end(), has) ? 1 : 0;
        share->reached_all += std::all_of(question.pages.begin(), question.pages.end(), has) ? 1 : 0;
      }
    }
  }
  context.progress("");
  Json documents = Json::array();
  for (const auto& [name, shares] : per_document)
    documents.push_back({{"document", name},
                         {"questions", shares[0].questions},
                         {"recall_any", sharesJson(args.k, shares, false)},
                         {"recall_all", sharesJson(args.k, shares, true)}});
  const Json result{{"questions", total[0].questions},
                    {"recall_any", sharesJson(args.k, total, false)},
                    {"recall_all", sharesJson(args.k, total, true)},
                    {"per_document", documents}};
  if (context.json()) return Context::print(result), kDone;
  std::printf("%d questions\n  k   any page  all pages\n", total[0].questions);
  for (int k : args.k)
    std::printf("%3d     %.3f      %.3f\n", k, result["recall_any"][std::to_string(k)].get<double>(),
                result["recall_all"][std::to_string(k)].get<double>());
  return kDone;
}

// What one kind of evidence came to.
struct Tally {
  double exact = 0, f1 = 0, rouge_l = 0, pages_reached = 0, pages_known = 0, prefill_tokens = 0, evidence_tokens = 0;
  std::vector<double> ttft_ms, route_ms, total_ms;
  int questions = 0;

  void add(const QuestionOnFile& question, const Asked& asked, double ms) {
    const TextScores scores = score_text(asked.found ? asked.answer : "", question.answers);
    exact += scores.exact, f1 += scores.f1, rouge_l += scores.rouge_l;
    ttft_ms.push_back(asked.stats.ttft_ms), route_ms.push_back(asked.route_ms), total_ms.push_back(ms);
    prefill_tokens += asked.stats.prefill_tokens, evidence_tokens += asked.stats.evidence_tokens;
    ++questions;
    if (question.pages.empty()) return;
    ++pages_known;
    const auto cited = [&](int page) {
      return std::any_of(asked.citations.begin(), asked.citations.end(),
                         [&](const CitationRow& citation) { return citation.page + 1 == page; });
    };
    pages_reached += std::any_of(question.pages.begin(), question.pages.end(), cited) ? 1 : 0;
  }
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

Json tallyJson(const std::string& evidence, const Tally& t) {
  const double n = std::max(1, t.questions);
  return {{"evidence", evidence},
          {"questions", t.questions},
          {"exact_match", t.exact / n},
          {"f1", t.f1 / n},
          {"rouge_l", t.rouge_l / n},
          {"cites_an_evidence_page", t.pages_known > 0 ? Json(t.pages_reached / t.pages_known) : Json(nullptr)},
          {"ttft_ms", median(t.ttft_ms)},
          {"route_ms", median(t.route_ms)},
          {"total_ms", median(t.total_ms)},
          {"evidence_tokens", t.evidence_tokens / n},
          {"prefill_tokens", t.prefill_tokens / n}};
}

// Leaf KV can only be loaded where it was made.
Status prepare(Context& context, Asking& asking, const DocumentRow& document, Evidence evidence) {
  if (evidence != Evidence::LeafKv) return {};
  LL_ASSIGN_OR_RETURN(Engine * engine, context.engine());
  LL_ASSIGN_OR_RETURN(Library * library, context.library());
  LL_ASSIGN_OR_RETURN(const DocumentInput* input, asking.input(document));
  return engine->encode(*input, memoryFolder(library->folder()), nullptr, context.stop()).status();
}

Result<Tally> answerAll(Context& context, const Arguments& args, const std::vector<QuestionOnFile>& questions,
                        const std::string& name) {
  LL_ASSIGN_OR_RETURN(const Evidence evidence, evidence_named(name));
  LL_ASSIGN_OR_RETURN(const auto asking, context.asking(evidence != Evidence::Quote));
  AskOptions options;
  options.evidence = evidence;
  options.method = args.method == "descent" ? RouteMethod::Descent : RouteMethod::Flat;
  options.max_tokens = args.max_tokens;
  options.evidence_tokens = args.evidence_tokens;
  Tally tally;
  for (const QuestionOnFile& question : questions) {
    if (context.stop().stop_requested()) return Status(Code::Cancelled, "Stopped");
    LL_ASSIGN_OR_RETURN(const std::string file, documentOf(context, question, args.documents));
    const auto document = context.document(file);
    if (!document.ok()) {
      context.failed(document.status());  // one bad document does not stop the others
      continue;
    }
    LL_RETURN_IF_ERROR(prepare(context, *asking, *document, evidence));
    const auto start = std::chrono::steady_clock::now();
    LL_ASSIGN_OR_RETURN(const Asked asked, asking->ask(*document, question.question, options, {}, context.stop()));
    tally.add(question, asked,
              std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    context.progress(name + ": " + std::to_string(tally.questions) + " of " + std::to_string(questions.size()));
  }
  context.progress("");
  return tally;
}

int runAnswers(Context& context, const Arguments& args) {
  LL_TRY(auto questions, read_questions(args.questions));
  std::erase_if(questions, [](const QuestionOnFile& q) { return q.answers.empty(); });
  if (args.most > 0 && questions.size() > static_cast<size_t>(args.most))
    questions.resize(static_cast<size_t>(args.most));
  if (questions.empty())
    return context.failed(Status(Code::Invalid, "No question in " + args.questions + " says what the answer is"));
  Json rows = Json::array();
  int status = kDone;
  for (const std::string& name : args.evidence) {
    const auto tally = answerAll(context, args, questions, name);
    if (!tally.ok())
      status = context.failed(tally.status());  // what the other kinds came to is still told
    else if (tally->questions == 0)
      status = context.failed(Status(Code::NotFound, "None of the documents could be read"));
    else
      rows.push_back(tallyJson(name, *tally));
    if (context.stop().stop_requested()) break;
  }
  if (context.json()) return Context::print({{"evidence", rows}}), status;
  if (rows.empty()) return status;
  std::printf("evidence       questions  exact     F1  ROUGE-L  first word  routing  all\n");
  for (const Json& row : rows)
    std::printf("%-14s %9d  %5.3f  %5.3f    %5.3f  %7.0f ms %5.0f ms  %.0f ms\n",
                row["evidence"].get<std::string>().c_str(), row["questions"].get<int>(),
                row["exact_match"].get<double>(), row["f1"].get<double>(), row["rouge_l"].get<double>(),
                row["ttft_ms"].get<double>(), row["route_ms"].get<double>(), row["total_ms"].get<double>());
  return status;
}

}  // namespace

void addEvalCommand(CLI::App& app, Context& context, Run& run) {
  static Arguments args;
  auto* eval = app.add_subcommand("eval", "Measure quality");
  eval->require_subcommand(1);
  auto* retrieval = eval->add_subcommand("retrieval", "Share of questions whose evidence pages are reached");
  retrieval
      ->add_option("--questions", args.questions,
                   "samples.json of MMLongBench-Doc, or JSON lines of {document, question, pages}")
      ->required();
  retrieval->add_option("--documents", args.documents, "Folder with the PDFs")->required();
  retrieval->add_option("-k", args.k, "Leaves to look at, for example 1,3,5,10")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  retrieval->add_option("--route", args.method, "flat or descent")->check(CLI::IsMember({"flat", "descent"}));
  retrieval->callback([&] { run = [&] { return runRetrieval(context, args); }; });

  auto* answers = eval->add_subcommand("qa", "How good answers are: exact match, F1 and ROUGE-L, and how fast");
  answers
      ->add_option("--questions", args.questions,
                   "JSON lines of {document, question, answers, pages}, MMLongBench-Doc, LongBench, L-Eval, SQuAD or "
                   "MuSiQue")
      ->required();
  answers->add_option("--documents", args.documents, "Folder with the documents, where the questions name files");
  answers->add_option("--evidence", args.evidence, "Kinds to compare, for example exact,leaf_kv,quote")->delimiter(',');
  answers->add_option("--most", args.most, "Questions, from the first; 0: all")->check(CLI::NonNegativeNumber);
  answers->add_option("--max-tokens", args.max_tokens, "Of an answer")->check(CLI::PositiveNumber);
  answers->add_option("--evidence-tokens", args.evidence_tokens, "Text of the document the model may look at, at most")
      ->check(CLI::PositiveNumber);
  answers->add_option("--route", args.method, "flat or descent")->check(CLI::IsMember({"flat", "descent"}));
  answers->callback([&] { run = [&] { return runAnswers(context, args); }; });
}

}  // namespace longleaf::cli
