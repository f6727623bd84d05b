// import, list, tree, text, search, recognise, delete, check, backup
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "app/cli/context.h"
#include "app/places.h"
#include "ingest/library/import_queue.h"
#include "ingest/library/recognition.h"
#include "ingest/library/search.h"
#include "ingest/reader/recognition.h"

namespace longleaf::cli {
namespace {

constexpr const char* kDamaged = ".damaged";

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

// One bad file does not stop the others; the exit status tells.
int runImport(Context& context, const std::vector<std::string>& paths) {
  const auto files = documents_in({paths.begin(), paths.end()});
  if (files.empty()) return context.failed(Status(Code::NotFound, "There is no document in " + paths.front()));
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
      if (report.status().code() == Code::Cancelled) break;
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
  if (input.ok())
    encoded.push_back({{"model", engine->facts().config.title},
                       {"leaves_done", engine->leaves_encoded(**input, memoryFolder(library.folder()))}});
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
  if (context.json())
    Context::print({{"documents", all}});
  else if (documents.empty())
    std::printf("The library is empty. Add a document with: longleaf-cli import FILE\n");
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

int runDelete(Context& context, const std::string& name) {
  LL_TRY(Library * library, context.library());
  LL_TRY(const DocumentRow document, library->find(name));
  LL_TRY(const uint64_t library_bytes, library->remove(document.key));
  const uint64_t memory_bytes = remove_memory(memoryFolder(library->folder()), document.id);
  if (context.json())
    Context::print({{"id", document.id}, {"library_bytes_freed", library_bytes}, {"memory_bytes_freed", memory_bytes}});
  else
    std::printf("Removed “%s”; %.1f MB were freed. The file itself was not touched.\n", document.title.c_str(),
                static_cast<double>(library_bytes + memory_bytes) / 1e6);
  return kDone;
}

std::string duration(double seconds) {
  const int whole = static_cast<int>(seconds + 0.5);
  return whole < 90 ? std::to_string(whole) + " s" : std::to_string((whole + 30) / 60) + " min";
}

int runRecognise(Context& context, const std::string& name, const std::string& languages) {
  LL_TRY(const DocumentRow document, context.document(name));
  LL_TRY(Library * library, context.library());
  LL_TRY(const auto scans, scanned_pages(*library, document.key));
  LL_TRY(const double rate, recognition_seconds_per_page(*library));
  RecogniseOptions options;
  options.reader = context.readerOptions();
  options.languages = languages;
  options.stop = context.stop();
  const auto total = static_cast<double>(scans.size());
  context.progress(std::to_string(scans.size()) + " scanned pages" +
                   (rate > 0 ? ", about " + duration(rate * total) : ", the time is known after the first"));
  const auto start = std::chrono::steady_clock::now();
  options.progress = [&](const ImportProgress& p) {
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (p.pages_done > 0)
      context.progress("Recognised " + std::to_string(p.pages_done) + " of " + std::to_string(p.pages) + " pages, " +
                       duration(spent / p.pages_done * (p.pages - p.pages_done)) + " left");
  };
  const auto report = recognise_scans(*library, document, options);
  context.progress("");
  if (!report.ok()) return context.failed(report.status());
  if (context.json())
    Context::print({{"id", document.id},
                    {"pages", report->pages},
                    {"failed", report->failed},
                    {"waiting", report->waiting},
                    {"seconds", report->seconds}});
  else if (scans.empty() && report->seconds == 0)
    std::printf("No page of “%s” is a scan without text.\n", document.title.c_str());
  else
    std::printf("Recognised %d pages in %s; %d could not be read, %d are left.\n", report->pages,
                duration(report->seconds).c_str(), report->failed, report->waiting);
  return report->waiting > 0 || report->failed > 0 ? kFailed : kDone;
}

// A damaged memory file is made anew by the next encoding; nothing must use it until then.
void setAside(const std::filesystem::path& file, const Status& damage, CheckReport& report) {
  std::error_code error;
  std::filesystem::rename(file, file.string() + kDamaged, error);
  if (error)
    report.problems.push_back(damage.message());
  else
    report.repaired.push_back(damage.message() + "; it was set aside as " + file.filename().string() + kDamaged);
}

int runCheck(Context& context) {
  LL_TRY(Library * library, context.library());
  LL_TRY(CheckReport report, library->check());
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(memoryFolder(library->folder()), error))
    if (file.path().extension() == kDamaged)
      continue;
    else if (const Status whole = verify_memory_file(file.path()); !whole.ok())
      setAside(file.path(), whole, report);
  if (context.json())
    Context::print({{"documents", report.documents}, {"repaired", report.repaired}, {"problems", report.problems}});
  else
    std::printf("%d documents, %zu repaired, %zu problems\n", report.documents, report.repaired.size(),
                report.problems.size());
  for (const auto& repaired : report.repaired)
    if (!context.json()) std::printf("  %s\n", repaired.c_str());
  for (const auto& problem : report.problems)
    if (!context.json()) std::printf("  %s\n", problem.c_str());
  return report.problems.empty() ? kDone : kFailed;
}

uint64_t fileBytes(const std::string& file) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  return error ? 0 : bytes;
}

int runBackup(Context& context, const std::string& file) {
  LL_TRY(Library * library, context.library());
  if (std::error_code error; std::filesystem::exists(file, error))
    return context.failed(Status(Code::Invalid, file + " exists already; choose another name"));
  if (const Status status = library->backup(file); !status.ok()) return context.failed(status);
  if (context.json())
    Context::print({{"file", file}, {"bytes", fileBytes(file)}});
  else
    std::printf("Saved to %s\n", file.c_str());
  return kDone;
}

}  // namespace

void addDocumentCommands(CLI::App& app, Context& context, Run& run) {
  // Options live as long as the program: CLI11 writes to them while parsing.
  static std::vector<std::string> files, words;
  static std::string name, pages, backup_file, languages = "eng";
  static int limit = 20;

  auto* read = app.add_subcommand("import", "Read documents into the library");
  read->add_option("FILE", files, "PDF, EPUB, HTML, Markdown and text files, or folders with such files at any depth")
      ->required();
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

  auto* recognise =
      app.add_subcommand("recognise", "Read the text of scanned pages with Tesseract; goes on where it stopped");
  recognise->add_option("DOC", name, "Id, title or file")->required();
  recognise->add_option("--languages", languages, "Of the text, as Tesseract names them, such as eng+deu");
  recognise->callback([&] { run = [&] { return runRecognise(context, name, languages); }; });

  auto* remove = app.add_subcommand("delete", "Remove everything of a document from the library");
  remove->add_option("DOC", name, "Id, title or path")->required();
  remove->callback([&] { run = [&] { return runDelete(context, name); }; });

  app.add_subcommand("check", "Verify the library")->callback([&] { run = [&] { return runCheck(context); }; });

  auto* backup = app.add_subcommand("backup", "Save a consistent copy of the library");
  backup->add_option("FILE", backup_file, "New file")->required();
  backup->callback([&] { run = [&] { return runBackup(context, backup_file); }; });
}

}  // namespace longleaf::cli
