#include "ingest/library/chats.h"

#include <cstring>

namespace longleaf {
namespace {

std::string pack_boxes(const std::vector<Box>& boxes) {
  return {reinterpret_cast<const char*>(boxes.data()), boxes.size() * sizeof(Box)};
}

std::vector<Box> unpack_boxes(std::string_view bytes) {
  std::vector<Box> boxes(bytes.size() / sizeof(Box));
  if (!boxes.empty()) std::memcpy(boxes.data(), bytes.data(), boxes.size() * sizeof(Box));
  return boxes;
}

}  // namespace

Result<int64_t> current_chat(Library& library, int64_t document) {
  int64_t chat = 0;
  LL_RETURN_IF_ERROR(library.database().query("SELECT max(key) FROM chats WHERE document = ?", {document},
                                              [&](const Row& row) { return chat = row.integer(0), false; }));
  return chat != 0 ? Result<int64_t>(chat) : new_chat(library, document);
}

Result<int64_t> new_chat(Library& library, int64_t document) {
  LL_RETURN_IF_ERROR(library.database().run("INSERT INTO chats(document) VALUES (?)", {document}));
  return library.database().last_id();
}

Status add_message(Library& library, int64_t chat, const MessageRow& message) {
  Database& db = library.database();
  return db.transaction([&]() -> Status {
    LL_RETURN_IF_ERROR(db.run("INSERT INTO messages(chat, question, answer, evidence) VALUES (?, ?, ?, ?)",
                              {chat, std::string_view(message.question), std::string_view(message.answer),
                               std::string_view(message.evidence)}));
    const int64_t key = db.last_id();
    int64_t ordinal = 0;
    for (const CitationRow& c : message.citations) {
      const std::string boxes = pack_boxes(c.boxes);
      LL_RETURN_IF_ERROR(db.run("INSERT INTO citations VALUES (?, ?, ?, ?, ?, ?, ?)",
                                {key, ordinal++, std::string_view(c.sentence), int64_t{c.supported ? 1 : 0},
                                 int64_t{c.page}, std::string_view(c.quote), Blob{boxes}}));
    }
    return {};
  });
}

Result<std::vector<MessageRow>> messages(Library& library, int64_t chat) {
  Database& db = library.database();
  std::vector<MessageRow> all;
  LL_RETURN_IF_ERROR(db.query(
      "SELECT key, question, answer, evidence FROM messages WHERE chat = ? ORDER BY key", {chat}, [&](const Row& row) {
        all.push_back(
            {row.integer(0), std::string(row.text(1)), std::string(row.text(2)), std::string(row.text(3)), {}});
        return true;
      }));
  for (MessageRow& message : all)
    LL_RETURN_IF_ERROR(db.query(
        "SELECT sentence, supported, page, quote, boxes FROM citations WHERE message = ? ORDER BY ordinal",
        {message.key}, [&](const Row& row) {
          message.citations.push_back({std::string(row.text(0)), row.integer(1) != 0, static_cast<int>(row.integer(2)),
                                       std::string(row.text(3)), unpack_boxes(row.text(4))});
          return true;
        }));
  return all;
}

}  // namespace longleaf
