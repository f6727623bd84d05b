#include "ingest/reader/reader_pool.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "engine/base/processors.h"

namespace longleaf {
namespace {

constexpr int kMostReaders = 4;

}  // namespace

Result<std::unique_ptr<ReaderPool>> ReaderPool::open(const std::filesystem::path& file, const ReaderOptions& options,
                                                     int readers) {
  const int most = readers > 0 ? readers : std::clamp(usable_processors(), 1, kMostReaders);
  std::unique_ptr<ReaderPool> pool(new ReaderPool(file, options, most));
  auto reader = DocumentReader::open(file, options);
  if (!reader.ok()) return reader.status();
  pool->readers_.push_back(std::move(*reader));
  return pool;
}

std::vector<Result<PageText>> ReaderPool::read(const std::vector<int>& numbers, int pages_each, std::stop_token stop,
                                               const Read& read) {
  while (static_cast<int>(readers_.size()) < most_ &&
         readers_.size() * static_cast<size_t>(pages_each) < numbers.size()) {
    auto reader = DocumentReader::open(file_, options_);
    if (!reader.ok()) break;  // one is enough
    readers_.push_back(std::move(*reader));
  }
  std::vector<Result<PageText>> pages(numbers.size(), Status(Code::Cancelled, "Not read"));
  std::atomic<size_t> next{0};
  const auto work = [&](DocumentReader& reader) {
    for (size_t i = next++; i < numbers.size() && !stop.stop_requested(); i = next++)
      if (pages[i] = read(reader, numbers[i]); pages[i].status().code() == Code::Io)
        pages[i] = read(reader, numbers[i]);
  };
  std::vector<std::thread> threads;
  for (size_t r = 1; r < readers_.size(); ++r) threads.emplace_back([&, r] { work(*readers_[r]); });
  work(*readers_[0]);
  for (auto& thread : threads) thread.join();
  return pages;
}

}  // namespace longleaf
