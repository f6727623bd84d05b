// Several workers on one document, so that its pages are read on all processors. Not thread-safe: one thread owns it;
// calls block.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "ingest/reader/reader.h"

namespace longleaf {

class ReaderPool {
 public:
  // Errors: DocumentReader::open's. One worker is started; more when pages are read.
  //   readers  most workers; 0: one per processor, four at most
  static Result<std::unique_ptr<ReaderPool>> open(const std::filesystem::path& file, const ReaderOptions& options,
                                                  int readers);

  DocumentReader& first() { return *readers_[0]; }
  int size() const { return most_; }

  // `read` for each of `numbers`, in any order, on all workers; results in the order of `numbers`. What was not begun
  // when `stop` was asked for is Cancelled. Where a worker died, which may have been no fault of the page's, a new one
  // tries once more.
  //   pages_each  a further worker is only started for so many pages
  using Read = std::function<Result<PageText>(DocumentReader&, int number)>;
  std::vector<Result<PageText>> read(const std::vector<int>& numbers, int pages_each, std::stop_token stop,
                                     const Read& read);

 private:
  ReaderPool(std::filesystem::path file, ReaderOptions options, int most)
      : file_(std::move(file)), options_(std::move(options)), most_(most) {}

  std::filesystem::path file_;
  ReaderOptions options_;
  int most_;
  std::vector<std::unique_ptr<DocumentReader>> readers_;
};

}  // namespace longleaf
