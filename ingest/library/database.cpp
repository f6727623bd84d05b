#include "ingest/library/database.h"

#include <sqlite3.h>

#include <chrono>
#include <thread>

#include "ingest/library/text_tokenizer.h"

namespace longleaf {
namespace {

constexpr int kBusyMs = 20000;  // longer than any transaction of ours
constexpr std::chrono::milliseconds kBetweenOpenings{5};

int bind(sqlite3_stmt* statement, int index, const SqlValue& value) {
  const auto size = [](std::string_view bytes) { return static_cast<sqlite3_uint64>(bytes.size()); };
  if (const auto* integer = std::get_if<int64_t>(&value)) return sqlite3_bind_int64(statement, index, *integer);
  if (const auto* real = std::get_if<double>(&value)) return sqlite3_bind_double(statement, index, *real);
  if (const auto* text = std::get_if<std::string_view>(&value))
    return sqlite3_bind_text64(statement, index, text->data() != nullptr ? text->data() : "", size(*text),
                               SQLITE_TRANSIENT, SQLITE_UTF8);
  if (const auto* blob = std::get_if<Blob>(&value))
    return sqlite3_bind_blob64(statement, index, blob->bytes.data() != nullptr ? blob->bytes.data() : "",
                               size(blob->bytes), SQLITE_TRANSIENT);
  return sqlite3_bind_null(statement, index);
}

// Leaves the statement ready for its next use, however it is left.
struct Using {
  sqlite3_stmt* statement;
  ~Using() {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
  }
};

}  // namespace

bool is_of_library(const Status& status) { return status.message().starts_with("The library "); }

int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Row::real(int column) const { return sqlite3_column_double(statement_, column); }
bool Row::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
std::string_view Row::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int n = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr ? std::string_view()
                          : std::string_view(static_cast<const char*>(bytes), static_cast<size_t>(n));
}

// Who makes the file, or closes it last, locks all of it, and where two do so together SQLite gives up at once, however
// long it may wait: that is begun anew.
Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file,
                                                 const std::vector<const char*>& migrations) {
  const auto last = std::chrono::steady_clock::now() + std::chrono::milliseconds(kBusyMs);
  while (true) {
    auto database = open_once(file, migrations);
    const bool is_locked = !database.ok() && database.status().code() == Code::Locked;
    if (!is_locked || std::chrono::steady_clock::now() > last) return database;
    std::this_thread::sleep_for(kBetweenOpenings);
  }
}

Result<std::unique_ptr<Database>> Database::open_once(const std::filesystem::path& file,
                                                      const std::vector<const char*>& migrations) {
  std::unique_ptr<Database> database(new Database);
  database->file_ = file;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (const int code = sqlite3_open_v2(file.c_str(), &database->handle_, flags, nullptr); code != SQLITE_OK)
    return database->error(code);
  sqlite3_busy_timeout(database->handle_, kBusyMs);
  if (const int code = register_text_tokenizer(database->handle_); code != SQLITE_OK) return database->error(code);
  for (const char* pragma : {"PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL",
                             "PRAGMA synchronous = NORMAL", "PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON"})
    LL_RETURN_IF_ERROR(database->query(pragma, {}, [](const Row&) { return true; }));
  LL_RETURN_IF_ERROR(database->migrate(migrations));
  return database;
}

Database::~Database() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

Status Database::migrate(const std::vector<const char*>& migrations) {
  return transaction([&]() -> Status {
    int64_t version = 0;
    LL_RETURN_IF_ERROR(
        query("PRAGMA user_version", {}, [&](const Row& row) { return version = row.integer(0), true; }));
    if (version > static_cast<int64_t>(migrations.size()))
      return Status(Code::Unsupported,
                    "The library " + file_.string() + " was made by a newer version of Longleaf; update the program");
    for (auto i = static_cast<size_t>(version); i < migrations.size(); ++i)
      if (const int code = sqlite3_exec(handle_, migrations[i], nullptr, nullptr, nullptr); code != SQLITE_OK)
        return error(code);
    const std::string set = "PRAGMA user_version = " + std::to_string(migrations.size());
    const int code = sqlite3_exec(handle_, set.c_str(), nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? Status() : error(code);
  });
}

Status Database::error(int code) const {
  const std::string name = "The library " + file_.string();
  const std::string detail = handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Status(Code::NoMemory, name + " cannot grow: the disk is full; free some space and try again");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Status(Code::Corrupt,
                    name + " is damaged (" + detail + "); restore a backup, or move the file away to begin anew");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Status(Code::Locked, name + " is in use by another program; close it and try again");
    case SQLITE_CONSTRAINT:
      return Status(Code::Locked, name + " was changed by another program at the same time; try again");
    case SQLITE_NOMEM:
      return Status(Code::NoMemory, "The library needs more memory than there is");
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Status(Code::Io, name + " cannot be opened for writing (" + detail + "); check the folder's permissions");
    default:
      return Status(Code::Io, name + " could not be used: " + detail);
  }
}

Result<sqlite3_stmt*> Database::prepared(const char* sql) {
  if (const auto it = statements_.find(std::string_view(sql)); it != statements_.end()) return it->second;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return error(code);
  statements_[sql] = statement;
  return statement;
}

Status Database::run(const char* sql, const std::vector<SqlValue>& values) {
  return query(sql, values, [](const Row&) { return true; });
}

Status Database::query(const char* sql, const std::vector<SqlValue>& values,
                       const std::function<bool(const Row&)>& row) {
  auto statement = prepared(sql);
  if (!statement.ok()) return statement.status();
  const Using use{*statement};
  for (size_t i = 0; i < values.size(); ++i)
    if (const int code = bind(*statement, static_cast<int>(i) + 1, values[i]); code != SQLITE_OK) return error(code);
  while (true) {
    const int code = sqlite3_step(*statement);
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return error(code);
    if (!row(Row(*statement))) return {};
  }
}

int64_t Database::last_id() const { return sqlite3_last_insert_rowid(handle_); }

void Database::watch(std::string table) {
  watched_ = std::move(table);
  const auto on_change = [](void* self, int, const char*, const char* changed, sqlite3_int64) {
    auto& database = *static_cast<Database*>(self);
    if (database.watched_ == changed) ++database.watched_changes_;
  };
  sqlite3_update_hook(handle_, on_change, this);
}

Result<Database::Mark> Database::mark() {
  Mark mark{0, watched_changes_};
  LL_RETURN_IF_ERROR(query("PRAGMA data_version", {}, [&](const Row& row) {
    mark.others = row.integer(0);
    return false;
  }));
  return mark;
}

Status Database::transaction(const std::function<Status()>& body) {
  LL_RETURN_IF_ERROR(run("BEGIN IMMEDIATE"));
  Status status = body();
  if (status.ok()) status = run("COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(handle_) == 0) {
    // The first error is the one to report.
    const Status rolled_back = run("ROLLBACK");
    (void)rolled_back;
  }
  return status;
}

Status Database::backup(const std::filesystem::path& to) {
  // Under another name until it is whole: a copy that was cut off must not pass for one.
  std::filesystem::path part = to;
  part += ".longleaf-part";
  std::error_code error;
  std::filesystem::remove(part, error);
  sqlite3* target = nullptr;
  int code = sqlite3_open_v2(part.c_str(), &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_backup* copy = sqlite3_backup_init(target, "main", handle_, "main");
    code = copy == nullptr ? sqlite3_errcode(target) : sqlite3_backup_step(copy, -1);
    if (copy != nullptr) sqlite3_backup_finish(copy);
  }
  std::string detail = sqlite3_errstr(code);
  sqlite3_close(target);
  if (code == SQLITE_OK || code == SQLITE_DONE) {
    std::filesystem::rename(part, to, error);
    if (!error) return {};
    detail = error.message();
  }
  std::filesystem::remove(part, error);
  return Status(Code::Io, "The backup " + to.string() + " could not be written: " + detail);
}

}  // namespace longleaf
