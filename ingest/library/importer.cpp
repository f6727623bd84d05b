#include "ingest/library/importer.h"

#include <algorithm>
#include <chrono>

#include "ingest/library/document_tree.h"
#include "ingest/library/file_id.h"
#include "ingest/library/recognition.h"
#include "ingest/reader/protocol.h"
#include "ingest/reader/reader_pool.h"
#include "ingest/reader/recognition.h"

namespace longleaf {
namespace {

constexpr int kPagesEach = 8;          // for which another reader is worth its start
constexpr size_t kLongestTitle = 300;  // bytes
constexpr int64_t kHiddenBytes = 40;   // less is a stray mark
constexpr size_t kShownBytes = 80;
constexpr size_t kShownId = 12;
constexpr double kWholePage = 0.8;   // of a page that is a picture
constexpr size_t kStampBytes = 160;  // of text on such a page that may be a stamp on a scan

// At most `most` bytes, never half a character.
std::string beginning(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (text[most] & 0xC0) == 0x80) --most;
  return text.substr(0, most);
}

// A title a person would recognise: the file's own unless it is empty or a producer's leftover.
std::string title_of(const DocumentInfo& info, const std::filesystem::path& file) {
  std::string title = beginning(info.title, kLongestTitle);
  while (!title.empty() && (title.back() == ' ' || title.back() == '\0')) title.pop_back();
  const bool leftover = title.size() < 3 || title.rfind("Microsoft Word", 0) == 0 || title.rfind("untitled", 0) == 0 ||
                        title.find(".doc") != std::string::npos || title.find(".indd") != std::string::npos ||
                        title.find(".tex") != std::string::npos || title.find(".qxd") != std::string::npos;
  return leftover ? file.stem().string() : title;
}

class Import {
 public:
  Import(Library& library, std::filesystem::path file, const ImportOptions& options)
      : library_(library), db_(library.database()), file_(std::move(file)), options_(options) {}

  Result<ImportReport> run();

 private:
  Status open_document(const std::string& id);
  Status tell_what_became_of(int64_t key, const std::string& path);
  Status read_pages();
  Status store_range(const std::vector<int>& numbers, const std::vector<Result<PageText>>& pages);
  Status store_page(int number, const Result<PageText>& page);
  Status warn_of_hidden_text();
  Status warn_of_scans();
  Status collect_warnings();

  Library& library_;
  Database& db_;
  std::filesystem::path file_;
  const ImportOptions& options_;
  std::unique_ptr<ReaderPool> pool_;
  ImportReport report_;
};

Result<ImportReport> Import::run() {
  const auto start = std::chrono::steady_clock::now();
  auto id = file_id(file_, options_.stop);
  if (!id.ok()) return id.status();
  LL_RETURN_IF_ERROR(open_document(*id));
  if (report_.document.state == DocumentState::Reading) {
    LL_RETURN_IF_ERROR(read_pages());
    LL_RETURN_IF_ERROR(make_tree(library_, report_.document, options_.stop, false));
  } else {
    report_.already_there = true;
  }
  LL_RETURN_IF_ERROR(collect_warnings());
  auto row = library_.document(report_.document.key);
  if (!row.ok()) return row.status();
  report_.document = *row;
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report_;
}

// Finds the document by its bytes, or makes its row. Opening the PDF comes first: nothing is stored of a file that
// cannot be read.
Status Import::open_document(const std::string& id) {
  int64_t key = 0;
  LL_RETURN_IF_ERROR(db_.query("SELECT key FROM documents WHERE id = ?", {std::string_view(id)},
                               [&](const Row& row) { return key = row.integer(0), false; }));
  const std::string path = file_.string();
  LL_RETURN_IF_ERROR(tell_what_became_of(key, path));
  if (key != 0) {
    LL_RETURN_IF_ERROR(db_.run("UPDATE documents SET path = ? WHERE key = ?", {std::string_view(path), key}));
    auto row = library_.document(key);
    if (!row.ok()) return row.status();
    report_.document = *row;
    if (row->state == DocumentState::Ready) return {};
  }
  LL_ASSIGN_OR_RETURN(pool_, ReaderPool::open(file_, options_.reader, options_.readers));
  const DocumentInfo& info = pool_->first().info();
  const std::string title = title_of(info, file_);
  const auto outline = pool_->first().outline();  // a broken outline is no reason to refuse the text
  LL_RETURN_IF_ERROR(db_.transaction([&]() -> Status {
    // Another process may have begun the same file since we looked.
    LL_RETURN_IF_ERROR(db_.query("SELECT key FROM documents WHERE id = ?", {std::string_view(id)},
                                 [&](const Row& row) { return key = row.integer(0), false; }));
    if (key != 0)  // begun before, or taken out of use by a check: this reader may count other pages
      LL_RETURN_IF_ERROR(db_.run("UPDATE documents SET pages = ? WHERE key = ?", {int64_t{info.pages}, key}));
    else
      LL_RETURN_IF_ERROR(
          db_.run("INSERT INTO documents(id, title, author, path, pages, state) VALUES (?, ?, ?, ?, ?, 0)",
                  {std::string_view(id), std::string_view(title), std::string_view(info.author), std::string_view(path),
                   int64_t{info.pages}}));
    if (key == 0) key = db_.last_id();
    return outline.ok() ? store_outline(db_, key, *outline) : Status();
  }));
  auto row = library_.document(key);
  if (!row.ok()) return row.status();
  report_.document = *row;
  return {};
}

// Whether the library knows these bytes from a place where they are no more, or this place with other bytes.
Status Import::tell_what_became_of(int64_t key, const std::string& path) {
  return db_.query(
      "SELECT key, path, title, id FROM documents WHERE (key = ?1 AND path <> ?2) OR (key <> ?1 AND path = ?2)",
      {key, std::string_view(path)}, [&](const Row& row) {
        const std::string known(row.text(1)), title(row.text(2)), id(row.text(3));
        std::error_code error;
        if (row.integer(0) != key)
          report_.warnings.push_back({"changed", -1,
                                      "The file has changed since it was imported before; what was read then stays in "
                                      "the library as “" +
                                          title + "” (" + id.substr(0, kShownId) + ")"});
        else if (!std::filesystem::exists(known, error))
          report_.warnings.push_back({"moved", -1, "The file was at " + known + " before; its new place is kept"});
        return true;
      });
}

Status Import::read_pages() {
  std::vector<bool> have(static_cast<size_t>(report_.document.pages), false);
  LL_RETURN_IF_ERROR(
      db_.query("SELECT number FROM pages WHERE document = ?", {report_.document.key}, [&](const Row& row) {
        if (const auto n = static_cast<size_t>(row.integer(0)); n < have.size()) have[n] = true;
        return true;
      }));
  std::vector<int> missing;
  for (size_t i = 0; i < have.size(); ++i)
    if (!have[i]) missing.push_back(static_cast<int>(i));

  for (size_t at = 0; at < missing.size();) {
    if (options_.progress)
      options_.progress({report_.document.key, report_.document.title,
                         report_.document.pages - static_cast<int>(missing.size() - at), report_.document.pages});
    const size_t n = std::min<size_t>(static_cast<size_t>(options_.range_pages), missing.size() - at);
    const std::vector<int> numbers(missing.begin() + static_cast<long>(at),
                                   missing.begin() + static_cast<long>(at + n));
    const auto pages = pool_->read(numbers, kPagesEach, options_.stop,
                                   [](DocumentReader& reader, int number) { return reader.page(number); });
    if (options_.stop.stop_requested()) return Status(Code::Cancelled, "The import was stopped; what was read is kept");
    LL_RETURN_IF_ERROR(store_range(numbers, pages));
    at += n;
  }
  if (options_.progress)
    options_.progress({report_.document.key, report_.document.title, report_.document.pages, report_.document.pages});
  return {};
}

Status Import::store_range(const std::vector<int>& numbers, const std::vector<Result<PageText>>& pages) {
  return db_.transaction([&]() -> Status {
    for (size_t i = 0; i < numbers.size(); ++i) {
      // That there is no reader is no fault of the page.
      if (pages[i].status().code() == Code::Unavailable) return pages[i].status();
      LL_RETURN_IF_ERROR(store_page(numbers[i], pages[i]));
    }
    return {};
  });
}

Status Import::store_page(int number, const Result<PageText>& page) {
  const PageText empty{number, 612, 792, "", 0, {}, {}};
  const PageText& p = page.ok() ? *page : empty;
  const std::string packed = worker::encode(p);
  const SqlValue problem = page.ok() ? SqlValue(nullptr) : SqlValue(std::string_view(page.status().message()));
  std::string hidden;
  size_t visible = 0;
  for (const Word& word : p.words) {
    visible += word.hidden ? 0 : word.text.size();
    if (word.hidden) hidden += (hidden.empty() ? "" : " ") + word.text;
  }
  const bool has_text = p.picture_share >= kWholePage ? visible > kStampBytes : visible > 0;
  return db_.run(
      "INSERT OR IGNORE INTO pages(document, number, width, height, label, has_text, problem, words, hidden,"
      " picture_share) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {report_.document.key, int64_t{number}, double{p.width_pt}, double{p.height_pt}, std::string_view(p.label),
       int64_t{has_text ? 1 : 0}, problem, Blob{packed}, std::string_view(hidden), double{p.picture_share}});
}

// Words that only a program sees may be there to mislead it.
Status Import::warn_of_hidden_text() {
  return db_.query("SELECT number, hidden FROM pages WHERE document = ? AND length(hidden) >= ? ORDER BY number",
                   {report_.document.key, kHiddenBytes}, [&](const Row& row) {
                     const auto page = static_cast<int>(row.integer(0));
                     const std::string text(row.text(1)), start = beginning(text, kShownBytes);
                     const std::string shown = start + (start.size() < text.size() ? "…" : "");
                     report_.warnings.push_back({"hidden_text", page,
                                                 "Page " + std::to_string(page + 1) +
                                                     " has text that no reader sees; it is left out: “" + shown + "”"});
                     return true;
                   });
}

Status Import::collect_warnings() {
  LL_RETURN_IF_ERROR(db_.query(
      "SELECT number, problem FROM pages WHERE document = ? AND problem IS NOT NULL", {report_.document.key},
      [&](const Row& row) {
        const auto page = static_cast<int>(row.integer(0));
        report_.warnings.push_back(
            {"page_failed", page, "Page " + std::to_string(page + 1) + " was left out: " + std::string(row.text(1))});
        return true;
      }));
  LL_RETURN_IF_ERROR(warn_of_scans());
  return warn_of_hidden_text();
}

// Pages without text that are pictures; an empty page is no reason for a warning unless all are.
Status Import::warn_of_scans() {
  const auto scans = scanned_pages(library_, report_.document.key);
  if (!scans.ok()) return scans.status();
  bool has_leaves = false;
  LL_RETURN_IF_ERROR(db_.query("SELECT 1 FROM leaf_text WHERE document = ? LIMIT 1", {report_.document.key},
                               [&](const Row&) { return has_leaves = true, false; }));
  const std::string remedy =
      recognition_languages().empty() ? std::string("; to have their text, ") + kInstallTesseract : std::string();
  if (!scans->empty())
    report_.warnings.push_back({"scanned_pages", scans->front(),
                                std::to_string(scans->size()) + " of " + std::to_string(report_.document.pages) +
                                    " pages are scans with no text, or no more than a line, the first is page " +
                                    std::to_string(scans->front() + 1) + remedy});
  else if (!has_leaves)
    report_.warnings.push_back({"no_text", -1, "No page has text that can be read"});
  return {};
}

}  // namespace

Result<ImportReport> import_document(Library& library, const std::filesystem::path& file,
                                     const ImportOptions& options) {
  std::error_code error;
  const auto path = std::filesystem::weakly_canonical(file, error);
  return Import(library, error ? file : path, options).run();
}

}  // namespace longleaf
