#include "ingest/library/library.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/base/log.h"
#include "ingest/library/file_id.h"
#include "ingest/library/schema.h"

namespace longleaf {
namespace {

constexpr const char *kLibraryFile = "library.sqlite", *kLogFile = "library.sqlite-wal";
constexpr uint64_t kWrittenAnew = uint64_t{1} << 30;  // bytes: larger libraries are not, when something is removed

constexpr size_t kShortestPrefix = 4;

struct PackedWord {
  uint32_t offset;
  uint16_t length, x0, y0, x1, y1;
};
constexpr size_t kPackedBytes = 14;
constexpr float kBoxSteps = 65535;

const char* const kDocumentColumns =
    "SELECT key, id, title, author, path, pages, state,"
    " (SELECT count(*) FROM nodes n WHERE n.document = d.key AND n.kind = 0 AND n.level > 0),"
    " (SELECT count(*) FROM nodes n WHERE n.document = d.key AND n.kind = 1) FROM documents d ";

DocumentRow document_row(const Row& row) {
  DocumentRow d;
  d.key = row.integer(0);
  d.id = row.text(1);
  d.title = row.text(2);
  d.author = row.text(3);
  d.path = std::string(row.text(4));
  d.pages = static_cast<int>(row.integer(5));
  d.state = static_cast<DocumentState>(row.integer(6));
  d.sections = static_cast<int>(row.integer(7));
  d.leaves = static_cast<int>(row.integer(8));
  return d;
}

bool is_hexadecimal(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

BlockRow block_row(const Row& row) {
  BlockRow b;
  b.node = row.integer(0);
  b.block.page = static_cast<int>(row.integer(1));
  b.block.kind = static_cast<BlockKind>(row.integer(2));
  b.block.text = row.text(3);
  b.block.words = unpack_words(row.text(4));
  // A damaged row must not lead outside its text.
  std::erase_if(b.block.words, [&](const WordPlace& w) { return size_t{w.offset} + w.length > b.block.text.size(); });
  for (size_t i = 0; i < b.block.words.size(); ++i)
    b.block.box = i == 0 ? b.block.words[0].box : united(b.block.box, b.block.words[i].box);
  return b;
}

}  // namespace

std::string pack_words(const std::vector<WordPlace>& words) {
  std::string out;
  const auto step = [](float x) { return static_cast<uint16_t>(std::lround(std::clamp(x, 0.0f, 1.0f) * kBoxSteps)); };
  for (const WordPlace& word : words) {
    const PackedWord packed{word.offset,       word.length,       step(word.box.x0),
                            step(word.box.y0), step(word.box.x1), step(word.box.y1)};
    out.append(reinterpret_cast<const char*>(&packed), kPackedBytes);
  }
  return out;
}

std::vector<WordPlace> unpack_words(std::string_view packed) {
  std::vector<WordPlace> words;
  for (; packed.size() >= kPackedBytes; packed.remove_prefix(kPackedBytes)) {
    PackedWord word{};
    std::memcpy(&word, packed.data(), kPackedBytes);
    words.push_back({word.offset,
                     word.length,
                     {static_cast<float>(word.x0) / kBoxSteps, static_cast<float>(word.y0) / kBoxSteps,
                      static_cast<float>(word.x1) / kBoxSteps, static_cast<float>(word.y1) / kBoxSteps}});
  }
  return words;
}

Result<std::unique_ptr<Library>> Library::open(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Status(Code::Io, "The data folder " + folder.string() + " cannot be made: " + error.message());
  auto database = Database::open(folder / kLibraryFile, kLibraryMigrations);
  if (!database.ok()) return database.status();
  std::unique_ptr<Library> library(new Library);
  library->folder_ = folder;
  library->database_ = std::move(*database);
  library->database_->watch("leaf_text");
  return library;
}

Result<std::vector<DocumentRow>> Library::documents() {
  std::vector<DocumentRow> all;
  const std::string sql = std::string(kDocumentColumns) + "ORDER BY key";
  LL_RETURN_IF_ERROR(
      database_->query(sql.c_str(), {}, [&](const Row& row) { return all.push_back(document_row(row)), true; }));
  return all;
}

Result<DocumentRow> Library::find(std::string_view name) {
  auto all = documents();
  if (!all.ok()) return all.status();
  std::error_code error;
  const std::string path = std::filesystem::weakly_canonical(std::filesystem::path(name), error).string();
  std::vector<DocumentRow> matches;
  for (auto& d : *all) {
    const bool by_id =
        name.size() >= kShortestPrefix && is_hexadecimal(name) && d.id.compare(0, name.size(), name) == 0;
    const bool by_name = d.path.filename() == name || d.path.stem() == name;
    if (by_id || d.title == name || by_name || (!error && d.path == path)) matches.push_back(d);
  }
  const std::string shown(name);
  if (matches.empty())
    return Status(Code::NotFound, "There is no document “" + shown + "” in the library; `list` shows what is there");
  if (matches.size() > 1)
    return Status(Code::Invalid, "“" + shown + "” fits several documents; use the id that `list` shows");
  return matches[0];
}

Result<DocumentRow> Library::document(int64_t key) {
  std::optional<DocumentRow> found;
  const std::string sql = std::string(kDocumentColumns) + "WHERE key = ?";
  LL_RETURN_IF_ERROR(
      database_->query(sql.c_str(), {key}, [&](const Row& row) { return found = document_row(row), false; }));
  if (!found) return Status(Code::NotFound, "The document is no longer in the library");
  return *found;
}

Result<std::vector<NodeRow>> Library::tree(int64_t document) {
  std::vector<NodeRow> nodes;
  LL_RETURN_IF_ERROR(database_->query(
      "SELECT n.key, coalesce(n.parent, 0), n.kind, n.level, iif(n.kind = 1, p.title, n.title), n.page_first, "
      "n.page_last, n.tokens"
      " FROM nodes n LEFT JOIN nodes p ON p.key = n.parent WHERE n.document = ? ORDER BY n.ordinal",
      {document}, [&](const Row& row) {
        nodes.push_back({row.integer(0), row.integer(1), static_cast<NodeKind>(row.integer(2)),
                         static_cast<int>(row.integer(3)), std::string(row.text(4)), static_cast<int>(row.integer(5)),
                         static_cast<int>(row.integer(6)), static_cast<int>(row.integer(7))});
        return true;
      }));
  return nodes;
}

Result<std::vector<PageRow>> Library::pages(int64_t document) {
  std::vector<PageRow> pages;
  LL_RETURN_IF_ERROR(database_->query(
      "SELECT number, width, height, label, has_text FROM pages WHERE document = ? ORDER BY number", {document},
      [&](const Row& row) {
        pages.push_back({static_cast<int>(row.integer(0)), static_cast<float>(row.real(1)),
                         static_cast<float>(row.real(2)), std::string(row.text(3)), row.integer(4) != 0});
        return true;
      }));
  return pages;
}

Result<std::vector<BlockRow>> Library::leaf_blocks(int64_t leaf) {
  std::vector<BlockRow> blocks;
  LL_RETURN_IF_ERROR(database_->query("SELECT node, page, kind, text, words FROM blocks WHERE node = ? ORDER BY key",
                                      {leaf}, [&](const Row& row) { return blocks.push_back(block_row(row)), true; }));
  return blocks;
}

Result<std::vector<BlockRow>> Library::page_blocks(int64_t document, int first, int last) {
  std::vector<BlockRow> blocks;
  LL_RETURN_IF_ERROR(database_->query(
      "SELECT node, page, kind, text, words FROM blocks WHERE document = ? AND page BETWEEN ? AND ? ORDER BY key",
      {document, int64_t{first}, int64_t{last}},
      [&](const Row& row) { return blocks.push_back(block_row(row)), true; }));
  return blocks;
}

Result<std::string> Library::leaf_text(int64_t leaf) {
  std::string text;
  LL_RETURN_IF_ERROR(database_->query("SELECT body FROM leaf_text WHERE key = ?", {leaf},
                                      [&](const Row& row) { return text = row.text(0), false; }));
  return text;
}

Result<std::string> Library::title_path(int64_t node) {
  std::string path;
  LL_RETURN_IF_ERROR(database_->query(
      "WITH RECURSIVE up(key, parent, title, level, kind) AS ("
      "  SELECT key, parent, title, level, kind FROM nodes WHERE key = ?"
      "  UNION ALL SELECT n.key, n.parent, n.title, n.level, n.kind FROM nodes n JOIN up ON n.key = up.parent)"
      " SELECT title FROM up WHERE kind = 0 AND level > 0 ORDER BY level",
      {node}, [&](const Row& row) {
        path += path.empty() ? "" : " › ";
        path += row.text(0);
        return true;
      }));
  return path;
}

// Of the library's files on disk.
uint64_t Library::size_bytes() const {
  uint64_t bytes = 0;
  for (const char* name : {kLibraryFile, kLogFile}) {
    std::error_code error;
    const auto size = std::filesystem::file_size(folder_ / name, error);
    bytes += error ? 0 : size;
  }
  return bytes;
}

// A small library is written anew, since pages keep bytes of rows that were moved within them (10 ms per MB, in which
// nobody else can write); of a large one free pages are given back. Neither has to succeed: what was removed is gone.
void Library::give_space_back() {
  const auto tried = [](const Status& done) {
    if (!done.ok()) log(LogLevel::Warning, done.message());
    return done.ok();
  };
  if (size_bytes() >= kWrittenAnew || !tried(database_->run("VACUUM")))
    (void)tried(database_->run("PRAGMA incremental_vacuum"));
  bool is_busy = false;
  (void)tried(database_->query("PRAGMA wal_checkpoint(TRUNCATE)", {},
                               [&](const Row& row) { return is_busy = row.integer(0) != 0, false; }));
  if (is_busy) log(LogLevel::Warning, "The library is being read; the space of what was removed is given back later");
}

Result<uint64_t> Library::remove(int64_t document) {
  const uint64_t before = size_bytes();
  LL_RETURN_IF_ERROR(database_->transaction([&]() -> Status {
    // Explicitly, because cascades would not fire the triggers that keep the index. It forgets words only where it is
    // written anew: a merge that ends early leaves some.
    LL_RETURN_IF_ERROR(database_->run("DELETE FROM leaf_text WHERE document = ?", {document}));
    LL_RETURN_IF_ERROR(database_->run("INSERT INTO leaf_index(leaf_index) VALUES ('optimize')"));
    return database_->run("DELETE FROM documents WHERE key = ?", {document});
  }));
  give_space_back();
  const uint64_t after = size_bytes();
  return before > after ? before - after : 0;
}

Result<CheckReport> Library::check(bool mend) {
  CheckReport report;
  LL_RETURN_IF_ERROR(check_file(report, mend));
  LL_RETURN_IF_ERROR(check_index(report, mend));
  LL_RETURN_IF_ERROR(check_documents(report, mend));
  LL_RETURN_IF_ERROR(database_->query("SELECT count(*) FROM documents", {}, [&](const Row& row) {
    return report.documents = static_cast<int>(row.integer(0)), true;
  }));
  return report;
}

Status Library::check_file(CheckReport& report, bool mend) {
  const auto problems = [&]() -> Result<std::vector<std::string>> {
    std::vector<std::string> found;
    LL_RETURN_IF_ERROR(database_->query("PRAGMA integrity_check", {}, [&](const Row& row) {
      if (row.text(0) != "ok") found.emplace_back(row.text(0));
      return true;
    }));
    std::map<std::string, int> orphans;
    LL_RETURN_IF_ERROR(database_->query("PRAGMA foreign_key_check", {},
                                        [&](const Row& row) { return ++orphans[std::string(row.text(0))], true; }));
    for (const auto& [table, n] : orphans)
      found.push_back(std::to_string(n) + " rows of " + table + " belong to nothing");
    return found;
  };
  auto before = problems();
  if (!before.ok()) return before.status();
  if (!mend) report.problems.insert(report.problems.end(), before->begin(), before->end());
  if (before->empty() || !mend) return {};
  // Rows of nothing are of no use to anyone.
  for (const char* sql : {"DELETE FROM blocks WHERE node NOT IN (SELECT key FROM nodes)",
                          "DELETE FROM leaf_text WHERE key NOT IN (SELECT key FROM nodes)",
                          "DELETE FROM node_vectors WHERE node NOT IN (SELECT key FROM nodes)"})
    if (const Status done = database_->run(sql); !done.ok()) log(LogLevel::Warning, done.message());
  // Indexes can be made anew from their tables; a damaged table cannot.
  if (const Status made = database_->run("REINDEX"); !made.ok()) log(LogLevel::Warning, made.message());
  auto after = problems();
  if (!after.ok()) return after.status();
  if (after->empty())
    report.repaired.push_back("Indexes of the library were damaged or held rows of nothing; they were made anew");
  report.problems.insert(report.problems.end(), after->begin(), after->end());
  return {};
}

Status Library::check_index(CheckReport& report, bool mend) {
  const auto verify = [&] {
    return database_->run("INSERT INTO leaf_index(leaf_index, rank) VALUES ('integrity-check', 1)");
  };
  const Status verified = verify();
  if (verified.ok() || verified.code() != Code::Corrupt) return verified;
  if (mend && database_->run("INSERT INTO leaf_index(leaf_index) VALUES ('rebuild')").ok() && verify().ok())
    report.repaired.push_back("The search index did not match the text; it was made anew");
  else
    report.problems.push_back("The search index does not match the text");
  return {};
}

Status Library::check_documents(CheckReport& report, bool mend) {
  struct Damaged {
    int64_t key;
    std::string id, title, path;
  };
  std::vector<Damaged> damaged;
  LL_RETURN_IF_ERROR(
      database_->query("SELECT key, id, title, path FROM documents d WHERE state = 1 AND ("
                       " pages <> (SELECT count(*) FROM pages p WHERE p.document = d.key)"
                       " OR NOT EXISTS (SELECT 1 FROM nodes n WHERE n.document = d.key)"
                       " OR EXISTS (SELECT 1 FROM nodes n WHERE n.document = d.key AND n.kind = 1"
                       "  AND NOT EXISTS (SELECT 1 FROM leaf_text t WHERE t.key = n.key AND"
                       "   (t.body = '' OR EXISTS (SELECT 1 FROM blocks b WHERE b.node = n.key))))"
                       " OR EXISTS (SELECT 1 FROM blocks b WHERE b.document = d.key AND length(b.words) % 14 <> 0))",
                       {}, [&](const Row& row) {
                         damaged.push_back({row.integer(0), std::string(row.text(1)), std::string(row.text(2)),
                                            std::string(row.text(3))});
                         return true;
                       }));
  for (const Damaged& document : damaged) {
    const std::string what = "Parts of “" + document.title + "” are missing or damaged; ";
    const auto id = file_id(document.path);
    if (!id.ok() || *id != document.id) {
      report.problems.push_back(what + "what is left can be used, because " + document.path +
                                " is not there any more or has changed; restore a backup, or import another copy");
      continue;
    }
    if (mend) LL_RETURN_IF_ERROR(forget_content(document.key));
    report.problems.push_back(what + "import " + document.path + " to read it anew (its conversations are kept)");
  }
  return {};
}

// As if the import had just begun; but what text recognition took hours for is kept.
Status Library::forget_content(int64_t document) {
  return database_->transaction([&]() -> Status {
    for (const char* sql :
         {"DELETE FROM leaf_text WHERE document = ?", "DELETE FROM blocks WHERE document = ?",
          "DELETE FROM nodes WHERE document = ?", "DELETE FROM pages WHERE document = ? AND recognised = 0",
          "DELETE FROM outline WHERE document = ?", "UPDATE documents SET state = 0 WHERE key = ?"})
      LL_RETURN_IF_ERROR(database_->run(sql, {document}));
    return {};
  });
}

Result<std::string> Library::text_state(int64_t document) {
  LL_ASSIGN_OR_RETURN(const Database::Mark mark, database_->mark());
  if (seen_ && seen_->document == document && seen_->mark == mark) return seen_->state;
  std::string state;
  LL_RETURN_IF_ERROR(database_->query(
      "SELECT count(*), sum(key), sum(length(body)), sum(key % 8191 * (length(body) + 17 * unicode(body))) "
      "FROM leaf_text WHERE document = ?",
      {document}, [&](const Row& row) {
        for (int i = 0; i < 4; ++i) state += std::to_string(row.integer(i)) + " ";
        return true;
      }));
  seen_ = SeenText{document, mark, state};
  return state;
}

Result<std::string> Library::setting(std::string_view key) {
  std::string value;
  LL_RETURN_IF_ERROR(database_->query("SELECT value FROM settings WHERE key = ?", {key},
                                      [&](const Row& row) { return value = row.text(0), false; }));
  return value;
}

Status Library::set_setting(std::string_view key, std::string_view value) {
  return database_->run(
      "INSERT INTO settings(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
      {key, value});
}

}  // namespace longleaf
