// eval retrieval: which share of questions reaches its evidence pages.
#include <algorithm>
#include <cstdio>
#include <map>

#include "app/cli/context.h"
#include "app/questions_file.h"

namespace longleaf::cli {
namespace {

struct Share {
  int reached_any = 0, reached_all = 0, questions = 0;
};

// A question none of whose evidence pages is among those of the leaves looked at.
struct Miss {
  const QuestionOnFile* question;
  std::string cause;
};

struct Arguments {
  std::string questions, documents;
  std::vector<int> k = {1, 3, 5, 10};
  std::string method = "flat";
};

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

// Why the first `k` leaves have no page of the evidence: "no_text", these pages have none; "section", another place of
// a section that has evidence was reached; "words", others have more of the question's words.
Result<std::string> causeOfMiss(Library& library, const DocumentRow& document, const Route& route, size_t k,
                                const std::vector<int>& evidence) {
  bool has_text = false;
  for (const int page : evidence) {
    LL_ASSIGN_OR_RETURN(const auto blocks, library.page_blocks(document.key, page - 1, page - 1));
    has_text |= !blocks.empty();
  }
  if (!has_text) return std::string("no_text");
  LL_ASSIGN_OR_RETURN(const auto nodes, library.tree(document.key));
  std::map<int64_t, const NodeRow*> by_key;
  for (const auto& node : nodes) by_key[node.key] = &node;
  const auto has_evidence = [&](const NodeRow& section) {
    return std::any_of(evidence.begin(), evidence.end(),
                       [&](int page) { return section.page_first + 1 <= page && page <= section.page_last + 1; });
  };
  for (size_t i = 0; i < std::min(k, route.leaves.size()); ++i) {
    const NodeRow* section = by_key[by_key[route.leaves[i].node]->parent];
    if (section->parent != 0 && has_evidence(*section)) return std::string("section");
  }
  return std::string("words");
}

Json missesJson(const std::vector<Miss>& misses) {
  Json out = Json::array();
  for (const Miss& miss : misses)
    out.push_back({{"document", miss.question->document},
                   {"question", miss.question->question},
                   {"pages", miss.question->pages},
                   {"cause", miss.cause}});
  return out;
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
  std::vector<Miss> misses;
  const auto largest = static_cast<size_t>(std::max_element(args.k.begin(), args.k.end()) - args.k.begin());
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
      if (i != largest || std::any_of(question.pages.begin(), question.pages.end(), has)) continue;
      LL_TRY(auto cause, causeOfMiss(*library, *document, route, static_cast<size_t>(args.k[i]), question.pages));
      misses.push_back({&question, std::move(cause)});
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
                    {"per_document", documents},
                    {"missed", missesJson(misses)}};
  if (context.json()) return Context::print(result), kDone;
  std::printf("%d questions\n  k   any page  all pages\n", total[0].questions);
  for (int k : args.k)
    std::printf("%3d     %.3f      %.3f\n", k, result["recall_any"][std::to_string(k)].get<double>(),
                result["recall_all"][std::to_string(k)].get<double>());
  std::map<std::string, int> causes;
  for (const Miss& miss : misses) ++causes[miss.cause];
  if (!misses.empty())
    std::printf("Missed at %d: %d in pages without text, %d elsewhere in the right section, %d by their words\n",
                args.k[largest], causes["no_text"], causes["section"], causes["words"]);
  return kDone;
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

  addEvalAnswersCommand(*eval, context, run);
}

}  // namespace longleaf::cli
