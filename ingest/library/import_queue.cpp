#include "ingest/library/import_queue.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>

namespace longleaf {
namespace {

constexpr int64_t kMostAttempts = 2;
constexpr std::array<std::string_view, 9> kEndings = {".pdf", ".epub",     ".html", ".htm", ".xhtml",
                                                      ".md",  ".markdown", ".txt",  ".text"};

bool is_document(const std::filesystem::path& file) {
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

std::vector<std::filesystem::path> documents_below(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<fs::path> found;
  std::error_code error;
  auto entries = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error))
    if (std::error_code ignored; is_document(entries->path()) && entries->is_regular_file(ignored))
      found.push_back(entries->path());
  std::sort(found.begin(), found.end());
  return found;
}

// The name under which the library knows a file.
std::string key_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto path = std::filesystem::weakly_canonical(file, error);
  return (error ? file : path).string();
}

}  // namespace

std::vector<std::filesystem::path> documents_in(const std::vector<std::filesystem::path>& paths) {
  std::vector<std::filesystem::path> files;
  for (const auto& path : paths) {
    std::error_code error;
    const auto found = std::filesystem::is_directory(path, error) ? documents_below(path) : std::vector{path};
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

Status ImportQueue::add(const std::vector<std::filesystem::path>& files, bool urgent) {
  return db_.transaction([&]() -> Status {
    for (const auto& file : files) {
      const std::string key = key_of(file);
      LL_RETURN_IF_ERROR(db_.run(
          "INSERT OR IGNORE INTO queue(path, urgent, place) SELECT ?, 0, coalesce(max(place), 0) + 1 FROM queue",
          {std::string_view(key)}));
      if (urgent)
        LL_RETURN_IF_ERROR(
            db_.run("UPDATE queue SET urgent = 1, attempts = 0 WHERE path = ?", {std::string_view(key)}));
    }
    return {};
  });
}

Result<std::optional<std::filesystem::path>> ImportQueue::next() {
  std::optional<std::filesystem::path> file;
  LL_RETURN_IF_ERROR(
      db_.query("SELECT path FROM queue WHERE attempts < ? ORDER BY attempts, urgent DESC, place LIMIT 1",
                {kMostAttempts}, [&](const Row& row) { return file = std::string(row.text(0)), false; }));
  return file;
}

Result<bool> ImportQueue::has(const std::filesystem::path& file) {
  const std::string key = key_of(file);
  bool found = false;
  LL_RETURN_IF_ERROR(db_.query("SELECT 1 FROM queue WHERE path = ?", {std::string_view(key)},
                               [&](const Row&) { return found = true, false; }));
  return found;
}

Result<std::vector<std::filesystem::path>> ImportQueue::files() {
  std::vector<std::filesystem::path> files;
  LL_RETURN_IF_ERROR(db_.query("SELECT path FROM queue WHERE attempts < ? ORDER BY attempts, urgent DESC, place",
                               {kMostAttempts},
                               [&](const Row& row) { return files.emplace_back(std::string(row.text(0))), true; }));
  return files;
}

Result<int> ImportQueue::waiting() {
  int n = 0;
  LL_RETURN_IF_ERROR(db_.query("SELECT count(*) FROM queue WHERE attempts < ?", {kMostAttempts},
                               [&](const Row& row) { return n = static_cast<int>(row.integer(0)), false; }));
  return n;
}

Result<std::vector<std::filesystem::path>> ImportQueue::set_aside() {
  std::vector<std::filesystem::path> files;
  LL_RETURN_IF_ERROR(db_.query("SELECT path FROM queue WHERE attempts >= ? ORDER BY path", {kMostAttempts},
                               [&](const Row& row) { return files.emplace_back(std::string(row.text(0))), true; }));
  return files;
}

Status ImportQueue::begin(const std::filesystem::path& file) {
  LL_RETURN_IF_ERROR(add({file}, false));
  const std::string key = key_of(file);
  int64_t attempts = 0;
  return db_.transaction([&]() -> Status {
    // What came further since the last attempt is not stuck.
    LL_RETURN_IF_ERROR(db_.run(
        "UPDATE queue SET (attempts, reached) = (SELECT iif(count(p.number) > queue.reached, 0, queue.attempts),"
        " count(p.number) FROM documents d JOIN pages p ON p.document = d.key WHERE d.path = queue.path) WHERE path = "
        "?",
        {std::string_view(key)}));
    LL_RETURN_IF_ERROR(db_.query("SELECT attempts FROM queue WHERE path = ?", {std::string_view(key)},
                                 [&](const Row& row) { return attempts = row.integer(0), false; }));
    if (attempts >= kMostAttempts)
      return Status(Code::Unsupported, file.string() +
                                           " was set aside: reading it broke off twice; import it by its name to try "
                                           "once more");
    return db_.run("UPDATE queue SET attempts = attempts + 1 WHERE path = ?", {std::string_view(key)});
  });
}

Status ImportQueue::end(const std::filesystem::path& file, const Status& outcome) {
  const std::string key = key_of(file);
  const bool broke_off = outcome.code() == Code::Io || outcome.code() == Code::Timeout;
  if (broke_off) return {};
  // Stopped, or nothing the file can help: a full disk, a busy library, a reader that is missing.
  if (outcome.code() == Code::Cancelled || outcome.code() == Code::Unavailable || is_of_library(outcome))
    return db_.run("UPDATE queue SET attempts = 0 WHERE path = ?", {std::string_view(key)});
  return drop(file);
}

Status ImportQueue::drop(const std::filesystem::path& file) {
  const std::string key = key_of(file);
  return db_.run("DELETE FROM queue WHERE path = ?", {std::string_view(key)});
}

Status ImportQueue::clear() { return db_.run("DELETE FROM queue WHERE attempts < ?", {kMostAttempts}); }

}  // namespace longleaf
