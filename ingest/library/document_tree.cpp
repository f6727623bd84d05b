#include "ingest/library/document_tree.h"

#include <functional>
#include <utility>

#include "ingest/layout/layout.h"
#include "ingest/reader/protocol.h"
#include "ingest/structure/sections.h"

namespace longleaf {
namespace {

// The words of blocks wait here for the tree, in a table that is this connection's own: most of what a document is made
// of is places of words, and the tree needs none.
class WaitingWords {
 public:
  explicit WaitingWords(Database& db) : db_(db) {}
  ~WaitingWords() { (void)db_.run("DELETE FROM temp.waiting_words"); }

  Status open() {
    LL_RETURN_IF_ERROR(db_.run("CREATE TEMP TABLE IF NOT EXISTS waiting_words(block INTEGER PRIMARY KEY, words BLOB)"));
    return db_.run("DELETE FROM temp.waiting_words");
  }

  // Takes the words out of the block.
  Status put(int block_number, Block& block) {
    const std::string packed = pack_words(std::exchange(block.words, {}));
    return db_.run("INSERT INTO temp.waiting_words VALUES (?, ?)", {int64_t{block_number}, Blob{packed}});
  }

  // Of a block of the tree, packed. Those of a block that was cut are read once.
  Result<std::string> words_of(const BlockOrigin& origin, const Block& part) {
    if (origin.block != read_) {
      LL_RETURN_IF_ERROR(db_.query("SELECT words FROM temp.waiting_words WHERE block = ?", {int64_t{origin.block}},
                                   [&](const Row& row) { return words_ = unpack_words(row.text(0)), false; }));
      read_ = origin.block;
    }
    return pack_words(words_within(words_, origin.begin, origin.begin + part.text.size()));
  }

 private:
  Database& db_;
  int read_ = -1;
  std::vector<WordPlace> words_;
};

Status store_tree(Database& db, int64_t document, const SectionTree& tree, WaitingWords& waiting) {
  std::vector<int64_t> keys;
  std::vector<std::string> paths;
  for (size_t i = 0; i < tree.nodes.size(); ++i) {
    const TreeNode& node = tree.nodes[i];
    const auto parent = static_cast<size_t>(node.parent);
    const SqlValue parent_key = node.parent < 0 ? SqlValue(nullptr) : SqlValue(keys[parent]);
    LL_RETURN_IF_ERROR(db.run(
        "INSERT INTO nodes(document, parent, ordinal, kind, level, title, page_first, page_last, tokens) VALUES (?, ?, "
        "?, ?, ?, ?, ?, ?, ?)",
        {document, parent_key, static_cast<int64_t>(i), int64_t{static_cast<uint8_t>(node.kind)}, int64_t{node.level},
         std::string_view(node.title), int64_t{node.page_first}, int64_t{node.page_last}, int64_t{node.tokens}}));
    keys.push_back(db.last_id());
    const std::string above = node.parent < 0 ? std::string() : paths[parent];
    paths.push_back(node.level == 0 || node.title.empty() ? above
                    : above.empty()                       ? node.title
                                                          : above + " › " + node.title);
    if (node.kind == NodeKind::Section) continue;
    std::string body;
    for (int b = node.block_first; b < node.block_end; ++b) {
      const Block& block = tree.blocks[static_cast<size_t>(b)];
      LL_ASSIGN_OR_RETURN(const std::string words, waiting.words_of(tree.origins[static_cast<size_t>(b)], block));
      LL_RETURN_IF_ERROR(db.run("INSERT INTO blocks(document, page, node, kind, text, words) VALUES (?, ?, ?, ?, ?, ?)",
                                {document, int64_t{block.page}, keys.back(), int64_t{static_cast<uint8_t>(block.kind)},
                                 std::string_view(block.text), Blob{words}}));
      body += (body.empty() ? "" : "\n") + block.text;
    }
    LL_RETURN_IF_ERROR(db.run("INSERT INTO leaf_text(key, document, path, body) VALUES (?, ?, ?, ?)",
                              {keys.back(), document, std::string_view(paths.back()), std::string_view(body)}));
  }
  LL_RETURN_IF_ERROR(db.run("UPDATE pages SET words = NULL WHERE document = ? AND recognised = 0", {document}));
  LL_RETURN_IF_ERROR(db.run("UPDATE pages SET recognised = 1 WHERE document = ? AND recognised = 2", {document}));
  LL_RETURN_IF_ERROR(db.run("DELETE FROM outline WHERE document = ?", {document}));
  return db.run("UPDATE documents SET state = 1 WHERE key = ?", {document});
}

Status remove_tree(Database& db, int64_t document) {
  for (const char* sql : {"DELETE FROM leaf_text WHERE document = ?", "DELETE FROM blocks WHERE document = ?",
                          "DELETE FROM nodes WHERE document = ?"})
    LL_RETURN_IF_ERROR(db.run(sql, {document}));
  return {};
}

// The pages as they were read, one at a time; stops where another process has made the tree.
Status each_page(Database& db, int64_t document, std::stop_token stop,
                 const std::function<Status(int, PageText)>& use) {
  Status status;
  LL_RETURN_IF_ERROR(
      db.query("SELECT number, words FROM pages WHERE document = ? ORDER BY number", {document}, [&](const Row& row) {
        if (stop.stop_requested()) status = Status(Code::Cancelled, "The import was stopped; what was read is kept");
        if (!status.ok() || row.is_null(1)) return false;
        auto page = worker::decode_page(row.text(1));
        status = page.ok() ? use(static_cast<int>(row.integer(0)), std::move(*page)) : page.status();
        return status.ok();
      }));
  return status;
}

// Names pages as they are numbered in print.
Status store_labels(Database& db, int64_t document, const std::vector<std::string>& labels) {
  return db.transaction([&]() -> Status {
    for (size_t page = 0; page < labels.size(); ++page)
      LL_RETURN_IF_ERROR(db.run("UPDATE pages SET label = ? WHERE document = ? AND number = ?",
                                {std::string_view(labels[page]), document, static_cast<int64_t>(page)}));
    return {};
  });
}

// The document's blocks without their words, which wait.
Result<std::vector<Block>> lay_out_pages(Database& db, int64_t document, WaitingWords& waiting, std::stop_token stop) {
  Layout layout;
  bool is_named = false;  // by the file, which otherwise only counts its pages
  LL_RETURN_IF_ERROR(each_page(db, document, stop, [&](int number, const PageText& page) {
    is_named |= !page.label.empty() && page.label != std::to_string(number + 1);
    layout.learn(number, page);
    return Status();
  }));
  if (!is_named) LL_RETURN_IF_ERROR(store_labels(db, document, layout.page_labels()));
  std::vector<Block> blocks;
  LL_RETURN_IF_ERROR(each_page(db, document, stop, [&](int number, PageText page) -> Status {
    for (Block& block : layout.blocks_of(number, std::move(page))) {
      LL_RETURN_IF_ERROR(waiting.put(static_cast<int>(blocks.size()), block));
      blocks.push_back(std::move(block));
    }
    return {};
  }));
  return blocks;
}

}  // namespace

Status store_outline(Database& db, int64_t document, const std::vector<OutlineEntry>& outline) {
  int64_t ordinal = 0;
  for (const OutlineEntry& entry : outline)
    LL_RETURN_IF_ERROR(db.run("INSERT OR REPLACE INTO outline VALUES (?, ?, ?, ?, ?, ?)",
                              {document, ordinal++, int64_t{entry.level}, std::string_view(entry.title),
                               int64_t{entry.page}, double{entry.top}}));
  return {};
}

Status make_tree(Library& library, const DocumentRow& document, std::stop_token stop, bool replace) {
  Database& db = library.database();
  WaitingWords waiting(db);
  LL_RETURN_IF_ERROR(waiting.open());
  LL_ASSIGN_OR_RETURN(std::vector<Block> blocks, lay_out_pages(db, document.key, waiting, stop));
  std::vector<OutlineEntry> outline;
  LL_RETURN_IF_ERROR(db.query("SELECT level, title, page, top FROM outline WHERE document = ? ORDER BY ordinal",
                              {document.key}, [&](const Row& row) {
                                outline.push_back({static_cast<int>(row.integer(0)), std::string(row.text(1)),
                                                   static_cast<int>(row.integer(2)), static_cast<float>(row.real(3))});
                                return true;
                              }));
  LeafLimits limits;
  limits.count = estimate_tokens;
  const SectionTree tree = make_sections(std::move(blocks), outline, document.title, limits);
  if (stop.stop_requested()) return Status(Code::Cancelled, "The import was stopped; what was read is kept");
  return db.transaction([&]() -> Status {
    bool done = false;  // by another process that reads the same file
    LL_RETURN_IF_ERROR(db.query("SELECT 1 FROM documents WHERE key = ? AND state = 1", {document.key},
                                [&](const Row&) { return done = true, false; }));
    if (done && !replace) return {};
    if (replace) LL_RETURN_IF_ERROR(remove_tree(db, document.key));
    // A title that is only the file's name gives way to the one on the first page.
    if (!tree.printed_title.empty() && document.title == document.path.stem().string())
      LL_RETURN_IF_ERROR(
          db.run("UPDATE documents SET title = ? WHERE key = ?", {std::string_view(tree.printed_title), document.key}));
    return store_tree(db, document.key, tree, waiting);
  });
}

}  // namespace longleaf
