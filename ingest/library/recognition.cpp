#include "ingest/library/recognition.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>

#include "ingest/library/document_tree.h"
#include "ingest/library/file_id.h"
#include "ingest/reader/protocol.h"
#include "ingest/reader/reader_pool.h"

namespace longleaf {
namespace {

constexpr double kPictureShare = 0.3;  // of a page without text, from which it may be a scan
constexpr const char* kRateSetting = "recognition_seconds_per_page";
constexpr size_t kRange = 64;  // pages with text, read again at once

class Recognition {
 public:
  Recognition(Library& library, const DocumentRow& document, const RecogniseOptions& options)
      : library_(library), db_(library.database()), document_(document), options_(options) {}

  Result<RecogniseReport> run() {
    const auto start = std::chrono::steady_clock::now();
    LL_ASSIGN_OR_RETURN(std::vector<int> scans, scanned_pages(library_, document_.key));
    LL_ASSIGN_OR_RETURN(bool is_behind, tree_is_behind());  // a run before this one did not come to the tree
    report_.waiting = static_cast<int>(scans.size());
    if (scans.empty() && !is_behind) return report_;
    LL_RETURN_IF_ERROR(open());
    LL_RETURN_IF_ERROR(read_scans(scans));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (report_.pages > 0)
      LL_RETURN_IF_ERROR(library_.set_setting(kRateSetting, std::to_string(seconds / report_.pages)));
    if (report_.pages > 0 || is_behind) {
      LL_RETURN_IF_ERROR(read_the_rest());
      LL_RETURN_IF_ERROR(make_tree(library_, document_, {}, true));
    }
    report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report_;
  }

 private:
  Result<bool> tree_is_behind() {
    bool behind = false;
    LL_RETURN_IF_ERROR(db_.query("SELECT 1 FROM pages WHERE document = ? AND recognised = 2 LIMIT 1", {document_.key},
                                 [&](const Row&) { return behind = true, false; }));
    return behind;
  }

  Status open() {
    const auto id = file_id(document_.path, options_.stop);
    if (!id.ok()) return id.status();
    if (*id != document_.id)
      return Status(Code::Invalid,
                    document_.path.string() + " has changed since it was imported; import it again first");
    LL_ASSIGN_OR_RETURN(pool_, ReaderPool::open(document_.path, options_.reader, options_.readers));
    return {};
  }

  // As many at once as there are workers, so that each is kept soon.
  Status read_scans(const std::vector<int>& scans) {
    const auto step = static_cast<size_t>(pool_->size());
    for (size_t at = 0; at < scans.size() && !options_.stop.stop_requested(); at += step) {
      if (options_.progress)
        options_.progress({document_.key, document_.title, static_cast<int>(at), static_cast<int>(scans.size())});
      const std::vector<int> numbers(scans.begin() + static_cast<long>(at),
                                     scans.begin() + static_cast<long>(std::min(at + step, scans.size())));
      const auto pages = pool_->read(numbers, 1, options_.stop, [&](DocumentReader& reader, int number) {
        return reader.recognise(number, options_.languages);
      });
      for (size_t i = 0; i < pages.size(); ++i) {
        const Code code = pages[i].status().code();
        if (code == Code::NotFound || code == Code::Unavailable)
          return pages[i].status();  // no Tesseract, language, reader
        if (pages[i].status().code() == Code::Cancelled) continue;
        LL_RETURN_IF_ERROR(keep(numbers[i], pages[i]));
      }
    }
    return {};
  }

  // A page is given up only when it is the page's own fault; else it stays a scan for the next time.
  Status keep(int number, const Result<PageText>& page) {
    ++(page.ok() ? report_.pages : report_.failed);
    if (!page.ok() && page.status().code() != Code::Corrupt) return {};
    --report_.waiting;
    if (!page.ok())
      return db_.run("UPDATE pages SET recognised = 1, problem = ? WHERE document = ? AND number = ?",
                     {std::string_view(page.status().message()), document_.key, int64_t{number}});
    const std::string packed = worker::encode(*page);
    return db_.run("UPDATE pages SET recognised = 2, has_text = ?, words = ? WHERE document = ? AND number = ?",
                   {int64_t{page->words.empty() ? 0 : 1}, Blob{packed}, document_.key, int64_t{number}});
  }

  // The tree is made of all pages, and those with text were dropped when it was made first. One that was read then and
  // cannot be read now must not lose its text: the old tree stays, and the next time goes on here.
  Status read_the_rest() {
    std::vector<int> missing;
    std::set<int> failed_before;
    LL_RETURN_IF_ERROR(db_.query("SELECT number, problem FROM pages WHERE document = ? AND words IS NULL",
                                 {document_.key}, [&](const Row& row) {
                                   missing.push_back(static_cast<int>(row.integer(0)));
                                   if (!row.is_null(1)) failed_before.insert(missing.back());
                                   return true;
                                 }));
    for (size_t at = 0; at < missing.size(); at += kRange) {
      const std::vector<int> numbers(missing.begin() + static_cast<long>(at),
                                     missing.begin() + static_cast<long>(std::min(at + kRange, missing.size())));
      const auto pages = pool_->read(numbers, 8, {}, [](DocumentReader& reader, int n) { return reader.page(n); });
      LL_RETURN_IF_ERROR(db_.transaction([&]() -> Status {
        for (size_t i = 0; i < pages.size(); ++i) {
          if (!pages[i].ok() && failed_before.count(numbers[i]) == 0) return pages[i].status();
          const std::string packed =
              worker::encode(pages[i].ok() ? *pages[i] : PageText{numbers[i], 612, 792, "", 0, {}, {}});
          LL_RETURN_IF_ERROR(db_.run("UPDATE pages SET words = ? WHERE document = ? AND number = ?",
                                     {Blob{packed}, document_.key, int64_t{numbers[i]}}));
        }
        return {};
      }));
    }
    const auto outline = pool_->first().outline();
    return outline.ok() ? store_outline(db_, document_.key, *outline) : Status();
  }

  Library& library_;
  Database& db_;
  const DocumentRow& document_;
  const RecogniseOptions& options_;
  std::unique_ptr<ReaderPool> pool_;
  RecogniseReport report_;
};

}  // namespace

Result<std::vector<int>> scanned_pages(Library& library, int64_t document) {
  std::vector<int> numbers;
  LL_RETURN_IF_ERROR(library.database().query(
      "SELECT number FROM pages WHERE document = ? AND has_text = 0 AND recognised = 0 AND problem IS NULL"
      " AND picture_share >= ? ORDER BY number",
      {document, kPictureShare},
      [&](const Row& row) { return numbers.push_back(static_cast<int>(row.integer(0))), true; }));
  return numbers;
}

Result<double> recognition_seconds_per_page(Library& library) {
  const auto rate = library.setting(kRateSetting);
  if (!rate.ok()) return rate.status();
  return std::strtod(rate->c_str(), nullptr);
}

Result<RecogniseReport> recognise_scans(Library& library, const DocumentRow& document,
                                        const RecogniseOptions& options) {
  return Recognition(library, document, options).run();
}

}  // namespace longleaf
