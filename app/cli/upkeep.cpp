// recognise, delete, check, backup
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "app/cli/context.h"
#include "app/places.h"
#include "ingest/library/recognition.h"

namespace longleaf::cli {
namespace {

constexpr const char* kDamaged = ".damaged";

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

void addUpkeepCommands(CLI::App& app, Context& context, Run& run) {
  // Options live as long as the program: CLI11 writes to them while parsing.
  static std::string name, backup_file, languages = "eng";

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
