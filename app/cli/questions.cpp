// route, encode, ask
#include <cstdio>

#include "app/cli/context.h"
#include "app/places.h"

namespace longleaf::cli {
namespace {

struct AskArguments {
  std::string document, question, evidence = "auto", method = "flat";
  std::string decode = "exact", form;
  double hand_over = Gate().hand_over, roll_back = Gate().roll_back;
  int max_tokens = 256, k = 10, evidence_tokens = 3072, repair = 0, top_k = 0, rerank = 0;
  float temperature = 0, top_p = 1, min_p = 0;
  uint64_t seed = 0;
  DescentOptions descent{.children = 0};
};

RouteMethod methodNamed(const std::string& name) {
  return name == "descent" ? RouteMethod::Descent : RouteMethod::Flat;
}

Result<Json> leavesJson(Library& library, const DocumentRow& document, const std::vector<RoutedNode>& leaves,
                        size_t most) {
  LL_ASSIGN_OR_RETURN(const auto nodes, library.tree(document.key));
  std::unordered_map<int64_t, const NodeRow*> by_key;
  for (const auto& node : nodes) by_key[node.key] = &node;
  Json all = Json::array();
  for (size_t i = 0; i < std::min(most, leaves.size()); ++i) {
    const NodeRow& node = *by_key.at(leaves[i].node);
    LL_ASSIGN_OR_RETURN(const std::string path, library.title_path(node.parent));
    all.push_back({{"node", node.key},
                   {"title", path},
                   {"page_first", node.page_first + 1},
                   {"page_last", node.page_last + 1},
                   {"score", leaves[i].score}});
  }
  return all;
}

Result<Json> routeJson(Library& library, const DocumentRow& document, const Route& route, size_t most, double seconds) {
  LL_ASSIGN_OR_RETURN(const Json leaves, leavesJson(library, document, route.leaves, most));
  Json trace = Json::array();
  for (const auto& n : route.trace)
    trace.push_back({{"node", n.node},
                     {"parent", n.parent == 0 ? Json(nullptr) : Json(n.parent)},
                     {"score", n.score},
                     {"kept", n.kept}});
  return Json{{"leaves", leaves}, {"trace", trace}, {"seconds", seconds}};
}

int runRoute(Context& context, const AskArguments& args) {
  LL_TRY(const DocumentRow document, context.document(args.document));
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto asking, context.asking());
  context.progress("");
  const auto start = std::chrono::steady_clock::now();
  LL_TRY(const Route route,
         asking->findRoute(document, args.question, methodNamed(args.method), args.rerank, context.stop()));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  LL_TRY(const Json json, routeJson(*library, document, route, static_cast<size_t>(args.k), seconds));
  if (context.json()) return Context::print(json), kDone;
  for (const auto& leaf : json["leaves"])
    std::printf("%.4f  pages %d-%d  %s\n", leaf["score"].get<double>(), leaf["page_first"].get<int>(),
                leaf["page_last"].get<int>(), leaf["title"].get<std::string>().c_str());
  if (json["leaves"].empty()) std::printf("No leaf shares a word with the question.\n");
  return kDone;
}

int printMeaning(Context& context, const DocumentRow& document) {
  if (context.json())
    Context::print({{"leaves", document.leaves}});
  else
    std::printf("The meaning of %d leaves is in the library\n", document.leaves);
  return kDone;
}

int runEncode(Context& context, const std::string& name) {
  LL_TRY(const DocumentRow document, context.document(name));
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto asking, context.asking());
  if (context.hasEmbedder()) {
    if (const Status status = asking->readMeaning(document, context.stop()); !status.ok())
      return context.failed(status);
    if (!context.hasModel()) return printMeaning(context, document);
  }
  LL_TRY(Engine * engine, context.engine());
  LL_TRY(const DocumentInput* input, asking->input(document));
  const auto progress = [&](const EncodeProgress& p) {
    context.progress("Encoding: " + std::to_string(p.leaves_done) + " of " + std::to_string(p.leaves) + " leaves" +
                     (p.nodes_done == 0
                          ? ""
                          : ", " + std::to_string(p.nodes_done) + " of " + std::to_string(p.nodes) + " memories"));
  };
  LL_TRY(const EncodeReport report, engine->encode(*input, memoryFolder(library->folder()), progress, context.stop()));
  context.progress("");
  const double rate = static_cast<double>(report.tokens) / std::max(report.seconds, 1e-9);
  if (context.json())
    Context::print({{"leaves", report.leaves},
                    {"tokens", report.tokens},
                    {"seconds", report.seconds},
                    {"tokens_per_s", rate},
                    {"bytes", report.bytes},
                    {"nodes", report.nodes},
                    {"node_bytes", report.node_bytes}});
  else
    std::printf("Encoded %zu leaves, %lld tokens in %.1f s (%.0f tokens/s); the memory file has %.1f MiB\n",
                report.leaves, static_cast<long long>(report.tokens), report.seconds, rate,
                static_cast<double>(report.bytes) / (1 << 20));
  if (!context.json() && report.nodes > 0)
    std::printf("%zu learned memories are there, %.1f MiB in all\n", report.nodes,
                static_cast<double>(report.node_bytes) / (1 << 20));
  return kDone;
}

Json citationsJson(const Asked& asked, const std::vector<PageRow>& pages) {
  Json all = Json::array();
  for (const auto& c : asked.citations) {
    Json citation{{"sentence", c.sentence}, {"supported", c.supported}};
    const auto page = static_cast<size_t>(std::max(c.page, 0));
    citation["page"] = c.supported ? Json(c.page + 1) : Json(nullptr);
    citation["label"] = c.supported && page < pages.size() ? Json(pages[page].label) : Json(nullptr);
    citation["quote"] = c.quote;
    citation["boxes"] = boxesJson(c.boxes);
    all.push_back(std::move(citation));
  }
  return all;
}

Json statsJson(const Asked& asked, const MemoryUse& memory, const std::string& device) {
  const AnswerStats& s = asked.stats;
  return {{"ttft_ms", s.ttft_ms},
          {"route_ms", asked.route_ms},
          {"query_ms", s.query_ms},
          {"descent_ms", s.descent_ms},
          {"load_ms", s.load_ms},
          {"prefill_ms", s.prefill_ms},
          {"prefill_tokens", s.prefill_tokens},
          {"prefill_tokens_per_s", s.prefill_tokens_per_s},
          {"decode_tokens", s.decode_tokens},
          {"decode_tokens_per_s", s.decode_tokens_per_s},
          {"guessed_tokens", s.guessed_tokens},
          {"accepted_tokens", s.accepted_tokens},
          {"peak_device_bytes", memory.peak_device_bytes},
          {"peak_host_bytes", memory.peak_host_bytes},
          {"device", device},
          {"evidence_tokens", s.evidence_tokens},
          {"memory_tokens", s.memory_tokens},
          {"predicted_ms", s.predicted_ms},
          {"actual_ms", s.actual_ms},
          {"reason", s.reason}};
}

void printSources(const Asked& asked, const std::vector<PageRow>& pages) {
  bool first = true;
  for (const auto& c : asked.citations) {
    if (!c.supported) continue;
    if (first) std::printf("\nSources\n");
    first = false;
    const auto& label = pages[static_cast<size_t>(c.page)].label;
    const bool labelled = !label.empty() && label != std::to_string(c.page + 1);
    std::printf("  page %d%s: “%s”\n", c.page + 1, labelled ? (" (printed " + label + ")").c_str() : "",
                c.quote.c_str());
  }
  for (const auto& c : asked.citations)
    if (!c.supported) std::printf("  not found in the document: “%s”\n", c.sentence.c_str());
  if (!asked.whole && !asked.stopped)
    std::printf("\nThe answer ended before it had the form; give --max-tokens more, or ask for less\n");
}

void printStats(const Asked& asked, const std::string& device) {
  const AnswerStats& s = asked.stats;
  std::printf("\n%s evidence, first word after %.0f ms (routing %.0f ms)", name_of(asked.evidence), s.ttft_ms,
              asked.route_ms);
  if (asked.evidence != Evidence::Quote)
    std::printf("; %d tokens read at %.0f/s, %d written at %.0f/s; predicted %.0f ms, took %.0f ms; %s",
                s.prefill_tokens, s.prefill_tokens_per_s, s.decode_tokens, s.decode_tokens_per_s, s.predicted_ms,
                s.actual_ms, device.c_str());
  std::printf("\n");
}

int runAsk(Context& context, const AskArguments& args) {
  LL_TRY(const Evidence evidence, evidence_named(args.evidence));
  LL_TRY(const DocumentRow document, context.document(args.document));
  LL_TRY(Library * library, context.library());
  Engine* engine = nullptr;
  if (context.hasModel() && evidence != Evidence::Quote) {
    LL_TRY(engine, context.engine());
  }
  context.progress("");
  AskOptions options;
  options.evidence = evidence;
  options.method = methodNamed(args.method);
  options.rerank = args.rerank;
  options.sampler = {.temperature = args.temperature,
                     .top_k = args.top_k,
                     .top_p = args.top_p,
                     .min_p = args.min_p,
                     .seed = args.seed};
  options.max_tokens = args.max_tokens;
  options.evidence_tokens = args.evidence_tokens;
  options.repair_tokens = args.repair;
  options.descent = args.descent;
  if (args.decode == "bild") options.gate = Gate{args.hand_over, args.roll_back};
  if (options.gate && !context.hasDraft())
    return context.failed(Status(Code::Invalid, "--decode bild needs a draft model; add --draft FILE"));
  if (!args.form.empty()) {
    if (engine == nullptr)
      return context.failed(Status(Code::Invalid, "--form is for a model that writes; add --model FILE"));
    LL_TRY(options.form, Form::matching(args.form));
  }
  AskCallbacks callbacks;
  if (!context.json())
    callbacks.on_text = [](std::string_view text) {
      std::printf("%.*s", static_cast<int>(text.size()), text.data()), std::fflush(stdout);
    };
  LL_TRY(const auto asking, context.asking(engine != nullptr));
  LL_TRY(const Asked asked, asking->ask(document, args.question, options, callbacks, context.stop()));
  LL_TRY(const auto pages, library->pages(document.key));
  const MemoryUse memory = engine != nullptr ? engine->memory_use() : MemoryUse{};
  const std::string device = engine != nullptr ? engine->device() : "none";
  if (context.json()) {
    LL_TRY(const Json route,
           routeJson(*library, document, asked.route, static_cast<size_t>(args.k), asked.route_ms / 1000));
    Context::print({{"answer", asked.answer},
                    {"found", asked.found},
                    {"whole", asked.whole},
                    {"evidence", name_of(asked.evidence)},
                    {"citations", citationsJson(asked, pages)},
                    {"route", route},
                    {"stats", statsJson(asked, memory, device)}});
  } else {
    std::printf("\n");
    printSources(asked, pages);
    printStats(asked, device);
  }
  return kDone;
}

// Within a range, which NaN is not.
CLI::Validator number(float least, float most) {
  CLI::Validator range = CLI::Range(least, most);
  const CLI::Validator is_number(
      [](std::string& text) { return text.find_first_of("nN") != text.npos ? "not a number" : ""; }, "");
  return range & is_number;
}

void addAskOptions(CLI::App& ask, AskArguments& args) {
  ask.add_option("--evidence", args.evidence,
                 "auto, exact, leaf_kv, memory_tokens, memory_tokens+leaf_kv, hmt or quote")
      ->capture_default_str();
  ask.add_option("--max-tokens", args.max_tokens, "Length of the answer at most")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  ask.add_option("--temperature", args.temperature, "0: always the most likely word")
      ->check(number(0.0f, 10.0f))
      ->capture_default_str();
  ask.add_option("--top-k", args.top_k, "Choose among the K most likely tokens; 0: all")->check(CLI::Range(0, 1000000));
  ask.add_option("--top-p", args.top_p, "Choose among the most likely tokens of this share")->check(number(0.0f, 1.0f));
  ask.add_option("--min-p", args.min_p, "Leave out tokens less likely than this share of the best")
      ->check(number(0.0f, 1.0f));
  ask.add_option("--seed", args.seed, "For temperature above 0");
  ask.add_option("--evidence-tokens", args.evidence_tokens, "Text of the document the model may look at, at most")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  ask.add_option("--decode", args.decode,
                 "exact: the model's own answer, word for word, however it is sped up; bild: the draft model's words "
                 "count where the model finds them likely enough")
      ->check(CLI::IsMember({"exact", "bild"}))
      ->capture_default_str();
  ask.add_option("--hand-over", args.hand_over, "bild: probability below which the draft model does not write")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  ask.add_option("--roll-back", args.roll_back, "bild: surprise (-ln p) above which the model rewrites a word")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  ask.add_option("--form", args.form,
                 "A regular expression that the whole answer has to match, such as \"yes|no\" or \"[0-9]+ litres\"");
  addDescentOptions(ask, args.descent);
  ask.add_option("--repair", args.repair, "Tokens at the head of each later run of leaves to compute again")
      ->check(CLI::Range(0, 1000000));
}

void addRouteOptions(CLI::App& command, AskArguments& args) {
  command.add_option("DOC", args.document, "Id, title or PDF")->required();
  command.add_option("QUESTION", args.question, "The question")->required();
  command.add_option("--route", args.method, "flat or descent")
      ->check(CLI::IsMember({"flat", "descent"}))
      ->capture_default_str();
  command
      .add_option("--rerank", args.rerank, "Rank the first N leaves again by their memory; needs an encoded document")
      ->check(CLI::Range(0, 1000000));
  command.add_option("-k", args.k, "Leaves to show")->check(CLI::Range(1, 1000000))->capture_default_str();
}

}  // namespace

void addQuestionCommands(CLI::App& app, Context& context, Run& run) {
  static AskArguments args;

  auto* route = app.add_subcommand("route", "Which leaves a question reaches");
  addRouteOptions(*route, args);
  route->callback([&] { run = [&] { return runRoute(context, args); }; });

  auto* encode = app.add_subcommand("encode", "Build the memory of a document for a model; goes on where it stopped");
  encode->add_option("DOC", args.document, "Id, title or PDF")->required();
  encode->callback([&] { run = [&] { return runEncode(context, args.document); }; });

  auto* ask = app.add_subcommand("ask", "Answer a question from a document, with sources");
  addRouteOptions(*ask, args);
  addAskOptions(*ask, args);
  ask->callback([&] { run = [&] { return runAsk(context, args); }; });
}

}  // namespace longleaf::cli
