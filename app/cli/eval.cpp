// eval retrieval: which share of questions reaches its evidence pages.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "app/cli/context.h"

namespace longleaf::cli {
namespace {

struct Question {
  std::string document, text;
  std::vector<int> pages;  // from 1
};

struct Share {
  int reached_any = 0, reached_all = 0, questions = 0;
};

std::vector<int> pageList(const Json& value) {
  // MMLongBench-Doc writes the list as a string: "[3, 5]".
  const Json list = value.is_string() ? Json::parse(value.get<std::string>(), nullptr, false) : value;
  std::vector<int> pages;
  if (list.is_array())
    for (const auto& page : list)
      if (page.is_number_integer()) pages.push_back(page.get<int>());
  return pages;
}

// Text and table questions only where the file says what the evidence is: pictures have no words to find.
bool isReadable(const Json& sample) {
  const std::string sources = sample.value("evidence_sources", "text");
  return sources.find("Pure-text") != std::string::npos || sources == "text" ||
         sources.find("Table") != std::string::npos;
}

Result<std::vector<Question>> readQuestions(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status(Code::NotFound, "The questions file " + path + " cannot be opened");
  std::stringstream all;
  all << file.rdbuf();
  const Status damaged(Code::Corrupt,
                       "The questions file " + path +
                           " is neither samples.json of MMLongBench-Doc nor JSON lines of {document, question, pages}");
  std::vector<Question> questions;
  const Json whole = Json::parse(all.str(), nullptr, false);
  try {
    if (whole.is_array()) {
      for (const auto& sample : whole)
        if (isReadable(sample))
          questions.push_back({sample.at("doc_id"), sample.at("question"), pageList(sample.at("evidence_pages"))});
    } else {
      for (std::string line; std::getline(all, line);)
        if (!line.empty()) {
          const Json sample = Json::parse(line);
          questions.push_back({sample.at("document"), sample.at("question"), pageList(sample.at("pages"))});
        }
    }
  } catch (const Json::exception&) {
    return damaged;
  }
  std::erase_if(questions, [](const Question& q) { return q.pages.empty(); });
  if (questions.empty()) return damaged;
  return questions;
}

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
  LL_TRY(const auto questions, readQuestions(args.questions));
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto asking, context.asking());
  std::vector<Share> total(args.k.size());
  std::map<std::string, std::vector<Share>> per_document;
  for (const Question& question : questions) {
    const auto document = context.document((std::filesystem::path(args.documents) / question.document).string());
    if (!document.ok()) {
      context.failed(document.status());
      continue;
    }
    LL_TRY(const Route route,
           asking->findRoute(*document, question.text,
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
}

}  // namespace longleaf::cli
