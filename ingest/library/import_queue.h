// What is still to be imported, kept in the library, so that it survives a crash. Uses a Library: its thread; other
// processes may use the same queue.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "ingest/library/library.h"

namespace longleaf {

// Files in `paths`, in the order given; folders are replaced by the documents in them at any depth, by name.
std::vector<std::filesystem::path> documents_in(const std::vector<std::filesystem::path>& paths);

class ImportQueue {
 public:
  explicit ImportQueue(Library& library) : db_(library.database()) {}

  // Files named by a person (urgent) come before files found in folders, and are tried again if they were set aside.
  Status add(const std::vector<std::filesystem::path>& files, bool urgent);
  // The next one to read; nothing when all that is left was set aside.
  Result<std::optional<std::filesystem::path>> next();
  Result<int> waiting();
  Result<bool> has(const std::filesystem::path& file);
  // All that wait, in the order in which they are read.
  Result<std::vector<std::filesystem::path>> files();
  Result<std::vector<std::filesystem::path>> set_aside();

  // Around each import. A file whose import was begun twice, ended neither time and came no further is set aside:
  // it takes the reader or the program down. Returns Unsupported for such a one.
  Status begin(const std::filesystem::path& file);
  // With the import's outcome: a reader that died counts as not ended, and what was stopped stays in the queue.
  Status end(const std::filesystem::path& file, const Status& outcome);
  Status drop(const std::filesystem::path& file);
  // All that wait, but not those set aside.
  Status clear();

 private:
  Database& db_;
};

}  // namespace longleaf
