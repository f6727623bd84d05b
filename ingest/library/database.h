// SQLite with our errors: statements are prepared once, values are bound by type, rows come to a callback.
// Not thread-safe: one connection per thread. Other connections, of this and other processes, may use the same file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace longleaf {

struct Blob {
  std::string_view bytes;
};
using SqlValue = std::variant<std::nullptr_t, int64_t, double, std::string_view, Blob>;

// One row of a result; views are valid until the callback returns.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  // also for blobs
  bool is_null(int column) const;

 private:
  sqlite3_stmt* statement_;
};

// Whether `status` tells of the library itself (full disk, in use, damaged), not of what was to be read into it.
bool is_of_library(const Status& status);

class Database {
 public:
  // Opens or creates `file` in WAL mode with foreign keys on, and applies the migrations it lacks.
  // Waits for others that do so, some 20 s. Returns Io, NoMemory (disk full), Corrupt, Locked, Unsupported (made by a
  // newer version).
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file,
                                                const std::vector<const char*>& migrations);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs one statement; `?` stand for `values` in order. An error names the cause, and nothing of it is kept.
  Status run(const char* sql, const std::vector<SqlValue>& values = {});
  // Calls `row` for each row until it returns false.
  Status query(const char* sql, const std::vector<SqlValue>& values, const std::function<bool(const Row&)>& row);
  int64_t last_id() const;
  // Differs from an earlier one if a row of the table that is watched was changed here in between, or anything by
  // another connection.
  struct Mark {
    int64_t others = 0, own = 0;
    bool operator==(const Mark&) const = default;
  };
  Result<Mark> mark();
  // Rows that REPLACE takes away, and a DELETE without WHERE, are not seen: SQLite's update hook does not tell of them.
  void watch(std::string table);

  // Several statements as one: all or nothing. `body` must not begin another.
  Status transaction(const std::function<Status()>& body);

  // A copy that is consistent although others write meanwhile.
  Status backup(const std::filesystem::path& to);

 private:
  Database() = default;
  static Result<std::unique_ptr<Database>> open_once(const std::filesystem::path& file,
                                                     const std::vector<const char*>& migrations);
  Status migrate(const std::vector<const char*>& migrations);
  Status error(int code) const;
  Result<sqlite3_stmt*> prepared(const char* sql);

  sqlite3* handle_ = nullptr;
  std::string watched_;
  int64_t watched_changes_ = 0;
  std::filesystem::path file_;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
};

}  // namespace longleaf
