// import, list, tree, text, search
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "app/cli/context.h"
#include "app/places.h"
#include "engine/base/log.h"
#include "ingest/library/import_queue.h"
#include "ingest/library/search.h"
#include "ingest/reader/recognition.h"

namespace longleaf::cli {
namespace {

Json importJson(const ImportReport& report) {
  Json warnings = Json::array();
  for (const auto& w : report.warnings)
    warnings.push_back({{"code", w.code}, {"page", w.page + 1}, {"message", w.message}});
  const DocumentRow& d = report.document;
  return {{"id", d.id},
          {"title", d.title},
          {"pages", d.pages},
          {"sections", d.sections},
          {"leaves", d.leaves},
          {"seconds", report.seconds},
          {"already_there", report.already_there},
          {"warnings", warnings}};
}

void printImport(const ImportReport& report) {
  const DocumentRow& d = report.document;
  std::printf("%s  %s: %d pages, %d sections, %d leaves", shortId(d).c_str(), d.title.c_str(), d.pages, d.sections,
              d.leaves);
  if (report.already_there)
    std::printf(" (already in your library)\n");
  else
    std::printf(" in %.1f s\n", report.seconds);
  for (const auto& warning : report.warnings) {
    std::printf("  note: %s\n", warning.message.c_str());
    if (warning.code == "scanned_pages" && !recognition_languages().empty())
      std::printf("        to read them: longleaf-cli recognise %s --languages %s\n", shortId(d).c_str(),
                  recognition_languages().front().c_str());
  }
}

// A person who stops an import wants nothing more of it; what waited before goes on waiting.
void dropNew(ImportQueue& queue, const std::vector<std::filesystem::path>& files,
             const std::vector<std::filesystem::path>& known) {
  for (const auto& file : files) {
    std::error_code error;
    const auto path = std::filesystem::weakly_canonical(file, error);
    if (std::find(known.begin(), known.end(), path) != known.end()) continue;
    if (const Status dropped = queue.drop(file); !dropped.ok()) log(LogLevel::Warning, dropped.message());
  }
}

// One bad file does not stop the others; the exit status tells.
int runImport(Context& context, const std::vector<std::string>& paths) {
  LL_TRY(Library * library, context.library());
  ImportQueue queue(*library);
  LL_TRY(const auto waited, queue.files());
  LL_TRY(auto known, queue.set_aside());
  known.insert(known.end(), waited.begin(), waited.end());
  const auto files = paths.empty() ? waited : documents_in({paths.begin(), paths.end()});
  if (paths.empty() && files.empty())
    return context.failed(Status(Code::Invalid, "No file waits to be read; name one, or a folder"));
  if (files.empty()) return context.failed(Status(Code::NotFound, "There is no document in " + paths.front()));
  // All of them first, so that a crash forgets none.
  if (const Status added = queue.add(files, false); !added.ok()) return context.failed(added);
  Json documents = Json::array(), failed = Json::array();
  int status = kDone;
  for (const auto& file : files) {
    const bool named = std::find(paths.begin(), paths.end(), file.string()) != paths.end();
    const auto report = context.import(file, named);
    context.progress("");
    if (!report.ok()) {
      const std::string& reason = report.status().message();
      const bool says_which = reason.find(file.filename().string()) != std::string::npos;
      context.failed(says_which ? report.status() : Status(report.status().code(), file.string() + ": " + reason));
      status = kFailed;
      failed.push_back({{"file", file.string()}, {"reason", reason}});
      if (report.status().code() == Code::Cancelled) dropNew(queue, files, known);
      if (report.status().code() == Code::Cancelled || report.status().code() == Code::Unavailable) break;
      continue;
    }
    documents.push_back(importJson(*report));
    if (!context.json()) printImport(*report);
  }
  if (context.json()) Context::print({{"documents", documents}, {"failed", failed}});
  return status;
}

Json encodedJson(const DocumentRow& document, Library& library, Engine* engine) {
  Json encoded = Json::array();
  Asking asking(library, engine);
  const auto input =
      engine == nullptr ? Result<const DocumentInput*>(Status(Code::NotFound, "")) : asking.input(document);
  if (!input.ok()) return encoded;
  const EncodedCounts counts = engine->encoded(**input, memoryFolder(library.folder()));
  Json one = {{"model", engine->facts().config.title}, {"leaves_done", counts.leaves}};
  if (!engine->memory_kinds().empty()) one["nodes_done"] = counts.nodes;
  encoded.push_back(std::move(one));
  return encoded;
}

int runList(Context& context) {
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto documents, library->documents());
  Engine* engine = nullptr;
  if (context.hasModel()) {
    LL_TRY(engine, context.engine());
  }
  Json all = Json::array();
  for (const auto& d : documents) {
    if (context.json())
      all.push_back({{"id", d.id},
                     {"title", d.title},
                     {"pages", d.pages},
                     {"sections", d.sections},
                     {"leaves", d.leaves},
                     {"ready", d.state == DocumentState::Ready},
                     {"encoded", encodedJson(d, *library, engine)}});
    else
      std::printf("%s  %5d pages  %s%s\n", shortId(d).c_str(), d.pages, d.title.c_str(),
                  d.state == DocumentState::Ready ? "" : "  (not read to its end)");
  }
  ImportQueue queue(*library);
  LL_TRY(const auto waiting, queue.waiting());
  LL_TRY(const auto aside, queue.set_aside());
  if (context.json()) {
    Json set_aside = Json::array();
    for (const auto& file : aside) set_aside.push_back(file.string());
    return Context::print({{"documents", all}, {"waiting", waiting}, {"set_aside", set_aside}}), kDone;
  }
  if (documents.empty()) std::printf("The library is empty. Add a document with: longleaf-cli import FILE\n");
  if (waiting > 0) std::printf("Waiting to be read: %d; to go on: longleaf-cli import\n", waiting);
  for (const auto& file : aside)
    std::printf("%s was set aside: reading it broke off twice; import it by its name to try once more\n", file.c_str());
  return kDone;
}

int runTree(Context& context, const std::string& name) {
  LL_TRY(const DocumentRow document, context.document(name));
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto nodes, library->tree(document.key));
  Json all = Json::array();
  for (const auto& node : nodes) {
    const bool leaf = node.kind == NodeKind::Leaf;
    if (context.json())
      all.push_back({{"id", node.key},
                     {"parent", node.parent == 0 ? Json(nullptr) : Json(node.parent)},
                     {"kind", leaf ? "leaf" : "section"},
                     {"level", node.level},
                     {"title", node.title},
                     {"page_first", node.page_first + 1},
                     {"page_last", node.page_last + 1},
                     {"tokens", node.tokens}});
    else if (!leaf)
      std::printf("%*s%s  (%d-%d)\n", 2 * node.level, "", node.title.c_str(), node.page_first + 1, node.page_last + 1);
  }
  if (context.json())
    Context::print(
        {{"document", {{"id", document.id}, {"title", document.title}, {"pages", document.pages}}}, {"nodes", all}});
  return kDone;
}

int runText(Context& context, const std::string& name, const std::string& pages) {
  int first = 1, last = 1 << 30;
  if (!pages.empty()) {
    int used_one = 0, used_both = 0;
    std::sscanf(pages.c_str(), "%d%n-%d%n", &first, &used_one, &last, &used_both);
    const auto all = static_cast<int>(pages.size());
    if (used_one == all) last = first;
    if ((used_one != all && used_both != all) || first < 1 || last < first)
      return context.failed(Status(Code::Invalid, "Pages are given as A-B, for example 3-7"));
  }
  LL_TRY(const DocumentRow document, context.document(name));
  LL_TRY(Library * library, context.library());
  if (first > document.pages)
    return context.failed(Status(Code::Invalid, "The document has " + std::to_string(document.pages) + " pages"));
  LL_TRY(const auto blocks, library->page_blocks(document.key, first - 1, last - 1));
  Json all = Json::array();
  for (const auto& [node, block] : blocks) {
    if (context.json()) {
      LL_TRY(const std::string section, library->title_path(node));
      all.push_back({{"page", block.page + 1},
                     {"kind", name_of(block.kind)},
                     {"text", block.text},
                     {"boxes", boxesJson(boxes_of(block, 0, block.text.size()))},
                     {"section", section}});
    } else {
      std::printf("%s%s\n\n", block.kind == BlockKind::Heading ? "# " : "", block.text.c_str());
    }
  }
  if (context.json()) Context::print({{"blocks", all}});
  return kDone;
}

int runSearch(Context& context, const std::string& name, const std::vector<std::string>& words, int limit) {
  LL_TRY(const DocumentRow document, context.document(name));
  LL_TRY(Library * library, context.library());
  std::string all;
  for (const auto& word : words) all += (all.empty() ? "" : " ") + word;
  LL_TRY(const auto hits, search(*library, document.key, all, limit));
  Json list = Json::array();
  for (const auto& hit : hits) {
    if (context.json())
      list.push_back({{"node", hit.leaf},
                      {"page", hit.page + 1},
                      {"score", hit.score},
                      {"snippet", hit.snippet},
                      {"boxes", boxesJson(hit.boxes)}});
    else
      std::printf("page %d: %s\n", hit.page + 1, hit.snippet.c_str());
  }
  if (context.json())
    Context::print({{"hits", list}});
  else if (hits.empty())
    std::printf("Nothing found.\n");
  return kDone;
}

}  // namespace

void addDocumentCommands(CLI::App& app, Context& context, Run& run) {
  // Options live as long as the program: CLI11 writes to them while parsing.
  static std::vector<std::string> files, words;
  static std::string name, pages;
  static int limit = 20;

  auto* read = app.add_subcommand("import", "Read documents into the library");
  read->add_option("FILE", files,
                   "PDF, EPUB, HTML, Markdown and text files, or folders with such files at any depth; "
                   "none: what still waits from a run that broke off");
  read->callback([&] { run = [&] { return runImport(context, files); }; });

  app.add_subcommand("list", "Documents in the library")->callback([&] { run = [&] { return runList(context); }; });

  auto* tree = app.add_subcommand("tree", "The section tree of a document");
  tree->add_option("DOC", name, "Id, title or file")->required();
  tree->callback([&] { run = [&] { return runTree(context, name); }; });

  auto* text = app.add_subcommand("text", "What was read, in reading order");
  text->add_option("DOC", name, "Id, title or file")->required();
  text->add_option("--pages", pages, "Only pages A-B");
  text->callback([&] { run = [&] { return runText(context, name, pages); }; });

  auto* find = app.add_subcommand("search", "Full-text search, best first");
  find->add_option("DOC", name, "Id, title or file")->required();
  find->add_option("WORDS", words, "Words; \"quoted phrases\" stay together")->required();
  find->add_option("--limit", limit, "At most this many hits")->check(CLI::Range(1, 1000000));
  find->callback([&] { run = [&] { return runSearch(context, name, words, limit); }; });
}

}  // namespace longleaf::cli
