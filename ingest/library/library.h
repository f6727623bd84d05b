// The library: every imported document with its pages, blocks, section tree and chats, in one SQLite file.
// Schema and its history: schema.h. Not thread-safe: one Library per thread, all on the same folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/layout/blocks.h"
#include "ingest/library/database.h"
#include "ingest/structure/sections.h"

namespace longleaf {

enum class DocumentState : int { Reading = 0, Ready = 1 };

struct DocumentRow {
  int64_t key = 0;
  std::string id;  // SHA-256 of the file, hexadecimal
  std::string title, author;
  std::filesystem::path path;  // where it was last imported from
  int pages = 0, sections = 0, leaves = 0;
  DocumentState state = DocumentState::Reading;
};

struct NodeRow {
  int64_t key = 0;
  int64_t parent = 0;  // 0 for the document's node
  NodeKind kind = NodeKind::Section;
  int level = 0;
  std::string title;  // of a leaf: its section's
  int page_first = 0, page_last = 0;
  int tokens = 0;
};

struct BlockRow {
  int64_t node = 0;  // the leaf it belongs to
  Block block;
};

struct PageRow {
  int number = 0;
  float width_pt = 0, height_pt = 0;
  std::string label;
  bool has_text = false;
};

struct CheckReport {
  int documents = 0;
  std::vector<std::string> repaired;  // one sentence each: what was wrong, and what was done
  std::vector<std::string> problems;  // what is left; empty: all is well
};

class Library {
 public:
  // Opens or creates the library in `folder`. Errors: see Database::open.
  static Result<std::unique_ptr<Library>> open(const std::filesystem::path& folder);

  Result<std::vector<DocumentRow>> documents();
  // By id or its prefix (4 characters at least), by exact title, by path or by the name of its file. NotFound, or
  // Invalid when several match.
  Result<DocumentRow> find(std::string_view name);
  Result<DocumentRow> document(int64_t key);
  // Parents before children, in reading order.
  Result<std::vector<NodeRow>> tree(int64_t document);
  Result<std::vector<PageRow>> pages(int64_t document);
  // In reading order; of one leaf, of pages [first, last], or of the whole document.
  Result<std::vector<BlockRow>> leaf_blocks(int64_t leaf);
  Result<std::vector<BlockRow>> page_blocks(int64_t document, int first, int last);
  // The text of a leaf as the model reads it: blocks separated by newlines.
  Result<std::string> leaf_text(int64_t leaf);
  // "Chapter › Section", without the document's own title.
  Result<std::string> title_path(int64_t node);

  // Removes everything of a document and gives the space back. Returns the bytes by which the library shrank.
  Result<uint64_t> remove(int64_t document);
  // Verifies everything, and mends what it can if `mend`: the search index is made anew; a document with missing parts
  // is taken out of use, but for its conversations, until its file is imported again – if that is still there.
  Result<CheckReport> check(bool mend = true);
  Status backup(const std::filesystem::path& to) { return database_->backup(to); }

  // Differs when the leaves of a document differ: text recognition makes them anew under the same document.
  Result<std::string> text_state(int64_t document);

  Result<std::string> setting(std::string_view key);  // "" when it was never set
  Status set_setting(std::string_view key, std::string_view value);

  const std::filesystem::path& folder() const { return folder_; }
  Database& database() { return *database_; }

 private:
  Library() = default;
  uint64_t size_bytes() const;
  void give_space_back();
  Status check_file(CheckReport& report, bool mend);
  Status check_index(CheckReport& report, bool mend);
  Status check_documents(CheckReport& report, bool mend);
  Status forget_content(int64_t document);
  std::filesystem::path folder_;
  std::unique_ptr<Database> database_;
  // The text_state asked for last: finding it reads all of a document's text.
  struct SeenText {
    int64_t document = 0;
    Database::Mark mark;  // then
    std::string state;
  };
  std::optional<SeenText> seen_;
};

// Word places of a block as the library stores them: 14 bytes a word.
std::string pack_words(const std::vector<WordPlace>& words);
std::vector<WordPlace> unpack_words(std::string_view packed);

}  // namespace longleaf
