#include "ingest/library/importer.h"

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "ingest/layout/layout.h"
#include "ingest/reader/protocol.h"

namespace longleaf {
namespace {

constexpr int kMostReaders = 4;
constexpr size_t kLongestTitle = 300;  // bytes
constexpr int64_t kHiddenBytes = 40;   // less is a stray mark
constexpr size_t kShownBytes = 80;
constexpr size_t kHashChunk = 1 << 20;

std::string hexadecimal(const unsigned char* bytes, unsigned n) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (unsigned i = 0; i < n; ++i) out += digits[bytes[i] >> 4], out += digits[bytes[i] & 15];
  return out;
}

// At most `most` bytes, never half a character.
std::string shortened(std::string text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (text[most] & 0xC0) == 0x80) --most;
  return text.substr(0, most) + "…";
}

// A title a person would recognise: the file's own unless it is empty or a producer's leftover.
std::string title_of(const DocumentInfo& info, const std::filesystem::path& file) {
  std::string title = info.title.substr(0, kLongestTitle);
  while (!title.empty() && (title.back() & 0xC0) == 0x80) title.pop_back();  // never half a character
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
  Status read_pages();
  std::vector<Result<PageText>> read_range(const std::vector<int>& numbers);
  Status store_range(const std::vector<int>& numbers, const std::vector<Result<PageText>>& pages);
  Status store_page(int number, const Result<PageText>& page);
  Status make_tree();
  Status store_tree(const SectionTree& tree);
  Status warn_of_hidden_text();
  Status collect_warnings();

  Library& library_;
  Database& db_;
  std::filesystem::path file_;
  const ImportOptions& options_;
  std::vector<std::unique_ptr<DocumentReader>> readers_;
  ImportReport report_;
};

Result<ImportReport> Import::run() {
  const auto start = std::chrono::steady_clock::now();
  auto id = file_id(file_, options_.stop);
  if (!id.ok()) return id.status();
  LL_RETURN_IF_ERROR(open_document(*id));
  if (report_.document.state == DocumentState::Reading) {
    LL_RETURN_IF_ERROR(read_pages());
    LL_RETURN_IF_ERROR(make_tree());
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
  if (key != 0) {
    LL_RETURN_IF_ERROR(db_.run("UPDATE documents SET path = ? WHERE key = ?", {std::string_view(path), key}));
    auto row = library_.document(key);
    if (!row.ok()) return row.status();
    report_.document = *row;
    if (row->state == DocumentState::Ready) return {};
  }
  auto reader = DocumentReader::open(file_, options_.reader);
  if (!reader.ok()) return reader.status();
  readers_.push_back(std::move(*reader));
  if (key != 0) return {};

  const DocumentInfo& info = readers_[0]->info();
  const std::string title = title_of(info, file_);
  const auto outline = readers_[0]->outline();  // a broken outline is no reason to refuse the text
  LL_RETURN_IF_ERROR(db_.transaction([&]() -> Status {
    // Another process may have begun the same file since we looked.
    LL_RETURN_IF_ERROR(db_.query("SELECT key FROM documents WHERE id = ?", {std::string_view(id)},
                                 [&](const Row& row) { return key = row.integer(0), false; }));
    if (key != 0) return {};
    LL_RETURN_IF_ERROR(db_.run("INSERT INTO documents(id, title, author, path, pages, state) VALUES (?, ?, ?, ?, ?, 0)",
                               {std::string_view(id), std::string_view(title), std::string_view(info.author),
                                std::string_view(path), int64_t{info.pages}}));
    key = db_.last_id();
    int64_t ordinal = 0;
    for (const auto& entry : outline.ok() ? *outline : std::vector<OutlineEntry>{})
      LL_RETURN_IF_ERROR(db_.run("INSERT INTO outline VALUES (?, ?, ?, ?, ?, ?)",
                                 {key, ordinal++, int64_t{entry.level}, std::string_view(entry.title),
                                  int64_t{entry.page}, double{entry.top}}));
    return {};
  }));
  auto row = library_.document(key);
  if (!row.ok()) return row.status();
  report_.document = *row;
  return {};
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

  const auto wanted = static_cast<size_t>(
      options_.readers > 0 ? options_.readers
                           : std::clamp<int>(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostReaders));
  while (readers_.size() < std::min(wanted, (missing.size() + 7) / 8)) {
    auto reader = DocumentReader::open(file_, options_.reader);
    if (!reader.ok()) break;  // one is enough
    readers_.push_back(std::move(*reader));
  }
  for (size_t at = 0; at < missing.size();) {
    if (options_.progress)
      options_.progress({report_.document.title, report_.document.pages - static_cast<int>(missing.size() - at),
                         report_.document.pages});
    const size_t n = std::min<size_t>(static_cast<size_t>(options_.range_pages), missing.size() - at);
    const std::vector<int> numbers(missing.begin() + static_cast<long>(at),
                                   missing.begin() + static_cast<long>(at + n));
    const auto pages = read_range(numbers);
    if (options_.stop.stop_requested()) return Status(Code::Cancelled, "The import was stopped; what was read is kept");
    LL_RETURN_IF_ERROR(store_range(numbers, pages));
    at += n;
  }
  if (options_.progress) options_.progress({report_.document.title, report_.document.pages, report_.document.pages});
  return {};
}

// Each reader takes the next page until none is left.
std::vector<Result<PageText>> Import::read_range(const std::vector<int>& numbers) {
  std::vector<Result<PageText>> pages(numbers.size(), Status(Code::Cancelled, "Not read"));
  std::atomic<size_t> next{0};
  const auto work = [&](DocumentReader& reader) {
    for (size_t i = next++; i < numbers.size() && !options_.stop.stop_requested(); i = next++)
      pages[i] = reader.page(numbers[i]);
  };
  std::vector<std::thread> threads;
  for (size_t r = 1; r < readers_.size(); ++r) threads.emplace_back([&, r] { work(*readers_[r]); });
  work(*readers_[0]);
  for (auto& thread : threads) thread.join();
  return pages;
}

Status Import::store_range(const std::vector<int>& numbers, const std::vector<Result<PageText>>& pages) {
  return db_.transaction([&]() -> Status {
    for (size_t i = 0; i < numbers.size(); ++i) LL_RETURN_IF_ERROR(store_page(numbers[i], pages[i]));
    return {};
  });
}

Status Import::store_page(int number, const Result<PageText>& page) {
  const PageText empty{number, 612, 792, "", 0, {}, {}};
  const PageText& p = page.ok() ? *page : empty;
  const std::string packed = worker::encode(p);
  const SqlValue problem = page.ok() ? SqlValue(nullptr) : SqlValue(std::string_view(page.status().message()));
  std::string hidden;
  bool has_text = false;
  for (const Word& word : p.words) {
    has_text |= !word.hidden;
    if (word.hidden) hidden += (hidden.empty() ? "" : " ") + word.text;
  }
  return db_.run(
      "INSERT OR IGNORE INTO pages(document, number, width, height, label, has_text, problem, words, hidden,"
      " picture_share) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {report_.document.key, int64_t{number}, double{p.width_pt}, double{p.height_pt}, std::string_view(p.label),
       int64_t{has_text ? 1 : 0}, problem, Blob{packed}, std::string_view(hidden), double{p.picture_share}});
}

Status Import::make_tree() {
  std::vector<PageText> pages;
  Status bad;
  LL_RETURN_IF_ERROR(db_.query("SELECT words FROM pages WHERE document = ? ORDER BY number", {report_.document.key},
                               [&](const Row& row) {
                                 if (row.is_null(0)) return false;  // another process has made the tree
                                 auto page = worker::decode_page(row.text(0));
                                 if (!page.ok()) return bad = page.status(), false;
                                 pages.push_back(std::move(*page));
                                 return true;
                               }));
  LL_RETURN_IF_ERROR(bad);
  std::vector<Block> blocks = lay_out(pages);
  std::vector<OutlineEntry> outline;
  LL_RETURN_IF_ERROR(db_.query("SELECT level, title, page, top FROM outline WHERE document = ? ORDER BY ordinal",
                               {report_.document.key}, [&](const Row& row) {
                                 outline.push_back({static_cast<int>(row.integer(0)), std::string(row.text(1)),
                                                    static_cast<int>(row.integer(2)), static_cast<float>(row.real(3))});
                                 return true;
                               }));
  LeafLimits limits;
  limits.count = estimate_tokens;
  const SectionTree tree = make_sections(std::move(blocks), outline, report_.document.title, limits);
  if (options_.stop.stop_requested()) return Status(Code::Cancelled, "The import was stopped; what was read is kept");
  return db_.transaction([&]() -> Status {
    bool done = false;  // by another process that reads the same file
    LL_RETURN_IF_ERROR(db_.query("SELECT 1 FROM documents WHERE key = ? AND state = 1", {report_.document.key},
                                 [&](const Row&) { return done = true, false; }));
    return done ? Status() : store_tree(tree);
  });
}

Status Import::store_tree(const SectionTree& tree) {
  const int64_t document = report_.document.key;
  std::vector<int64_t> keys;
  std::vector<std::string> paths;
  for (size_t i = 0; i < tree.nodes.size(); ++i) {
    const TreeNode& node = tree.nodes[i];
    const auto parent = static_cast<size_t>(node.parent);
    const SqlValue parent_key = node.parent < 0 ? SqlValue(nullptr) : SqlValue(keys[parent]);
    LL_RETURN_IF_ERROR(db_.run(
        "INSERT INTO nodes(document, parent, ordinal, kind, level, title, page_first, page_last, tokens) VALUES (?, ?, "
        "?, ?, ?, ?, ?, ?, ?)",
        {document, parent_key, static_cast<int64_t>(i), int64_t{static_cast<uint8_t>(node.kind)}, int64_t{node.level},
         std::string_view(node.title), int64_t{node.page_first}, int64_t{node.page_last}, int64_t{node.tokens}}));
    keys.push_back(db_.last_id());
    const std::string above = node.parent < 0 ? std::string() : paths[parent];
    paths.push_back(node.level == 0 || node.title.empty() ? above
                    : above.empty()                       ? node.title
                                                          : above + " › " + node.title);
    if (node.kind == NodeKind::Section) continue;
    std::string body;
    for (int b = node.block_first; b < node.block_end; ++b) {
      const Block& block = tree.blocks[static_cast<size_t>(b)];
      const std::string words = pack_words(block.words);
      LL_RETURN_IF_ERROR(
          db_.run("INSERT INTO blocks(document, page, node, kind, text, words) VALUES (?, ?, ?, ?, ?, ?)",
                  {document, int64_t{block.page}, keys.back(), int64_t{static_cast<uint8_t>(block.kind)},
                   std::string_view(block.text), Blob{words}}));
      body += (body.empty() ? "" : "\n") + block.text;
    }
    LL_RETURN_IF_ERROR(db_.run("INSERT INTO leaf_text(key, document, path, body) VALUES (?, ?, ?, ?)",
                               {keys.back(), document, std::string_view(paths.back()), std::string_view(body)}));
  }
  LL_RETURN_IF_ERROR(db_.run("UPDATE pages SET words = NULL WHERE document = ?", {document}));
  LL_RETURN_IF_ERROR(db_.run("DELETE FROM outline WHERE document = ?", {document}));
  return db_.run("UPDATE documents SET state = 1 WHERE key = ?", {document});
}

// Words that only a program sees may be there to mislead it.
Status Import::warn_of_hidden_text() {
  return db_.query("SELECT number, hidden FROM pages WHERE document = ? AND length(hidden) >= ? ORDER BY number",
                   {report_.document.key, kHiddenBytes}, [&](const Row& row) {
                     const auto page = static_cast<int>(row.integer(0));
                     const std::string shown = shortened(std::string(row.text(1)), kShownBytes);
                     report_.warnings.push_back({"hidden_text", page,
                                                 "Page " + std::to_string(page + 1) +
                                                     " has text that no reader sees; it is left out: “" + shown + "”"});
                     return true;
                   });
}

Status Import::collect_warnings() {
  int without_text = 0;
  LL_RETURN_IF_ERROR(db_.query(
      "SELECT number, has_text, problem FROM pages WHERE document = ? AND (has_text = 0 OR problem IS NOT NULL)",
      {report_.document.key}, [&](const Row& row) {
        const auto page = static_cast<int>(row.integer(0));
        const std::string shown = "Page " + std::to_string(page + 1);
        without_text += row.is_null(2) ? 1 : 0;
        if (!row.is_null(2))
          report_.warnings.push_back({"page_failed", page, shown + " was left out: " + std::string(row.text(2))});
        else
          report_.warnings.push_back(
              {"page_without_text", page, shown + " has no text; it may be a picture of a page"});
        return true;
      }));
  if (without_text == report_.document.pages)
    report_.warnings = {
        {"no_text", -1,
         "No page has text that can be read; the document may be a scan, which needs text recognition first"}};
  return warn_of_hidden_text();
}

}  // namespace

Result<std::string> file_id(const std::filesystem::path& file, std::stop_token stop) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    return Status(Code::Invalid, file.string() + " is a folder, not a document");
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
    return Status(Code::Invalid, file.string() + " is not a file that can be read to its end; choose a PDF");
  std::ifstream in(file, std::ios::binary);
  if (!in) return Status(Code::NotFound, file.string() + " cannot be opened: " + std::strerror(errno));
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> chunk(kHashChunk);
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())), in.gcount() > 0) {
    if (stop.stop_requested()) return Status(Code::Cancelled, "The import was stopped");
    EVP_DigestUpdate(context.get(), chunk.data(), static_cast<size_t>(in.gcount()));
  }
  if (in.bad()) return Status(Code::Io, file.string() + " could not be read to its end");
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  EVP_DigestFinal_ex(context.get(), digest, &n);
  return hexadecimal(digest, n);
}

Result<ImportReport> import_document(Library& library, const std::filesystem::path& file,
                                     const ImportOptions& options) {
  std::error_code error;
  const auto path = std::filesystem::weakly_canonical(file, error);
  return Import(library, error ? file : path, options).run();
}

}  // namespace longleaf
