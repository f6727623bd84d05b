// Breaks real documents and reads them: flipped bits, cut ends, parts of one file inside another. Seeds are fixed, so
// number N is the same file every time. mutation_bench WORKER FOLDER COUNT [FIRST]
// Exit status 1 when one hangs while it is opened, or when a process is left behind.
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "ingest/layout/layout.h"
#include "ingest/reader/reader.h"
#include "ingest/structure/sections.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
namespace fs = std::filesystem;

namespace {

constexpr uintmax_t kLargest = 2 << 20;
constexpr int kMostPages = 5;

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<fs::path> originals(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.file_size() > 64 && entry.file_size() <= kLargest &&
        (entry.path().extension() == ".pdf" || entry.path().extension() == ".txt"))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string mutated(const std::vector<fs::path>& files, unsigned number, std::string& ending) {
  std::mt19937 random(number);
  const fs::path& file = files[random() % files.size()];
  ending = file.extension().string();
  std::string bytes = bytes_of(file);
  const auto place = [&] { return random() % bytes.size(); };
  switch (random() % 3) {
    case 0:
      for (unsigned i = 1 + random() % 200; i > 0; --i) bytes[place()] ^= static_cast<char>(1u << random() % 8);
      break;
    case 1:
      bytes.resize(1 + place());
      break;
    default: {
      const std::string other = bytes_of(files[random() % files.size()]);
      const size_t from = random() % other.size(), n = 1 + random() % std::min<size_t>(4096, other.size() - from);
      const size_t at = place();
      bytes.replace(at, std::min(n, bytes.size() - at), other, from, n);
    }
  }
  return bytes;
}

std::string outcome_of(const fs::path& file, const fs::path& worker) {
  ReaderOptions options;
  options.worker = worker;
  auto reader = DocumentReader::open(file, options);
  if (!reader.ok())
    return reader.status().code() == Code::Timeout ? "hang while opening" : "refused: " + reader.status().message();
  std::vector<PageText> pages;
  bool damaged = false, died = false, hung = false;
  for (int p = 0; p < std::min(kMostPages, (*reader)->info().pages); ++p) {
    auto page = (*reader)->page(p);
    damaged |= !page.ok();
    died |= page.status().code() == Code::Io;
    hung |= page.status().code() == Code::Timeout;
    pages.push_back(page.ok() ? std::move(*page) : PageText());
  }
  const auto outline = (*reader)->outline();
  LeafLimits limits;
  limits.count = estimate_tokens;
  make_sections(lay_out(pages), outline.ok() ? *outline : std::vector<OutlineEntry>(), "Mutated", limits);
  return hung ? "a page took too long" : died ? "a page killed the reader" : damaged ? "read in part" : "read";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "mutation_bench WORKER FOLDER COUNT [FIRST]\n"), 2;
  const auto files = originals(argv[2]);
  if (files.empty()) return std::fprintf(stderr, "There is no document in %s\n", argv[2]), 2;
  const unsigned count = static_cast<unsigned>(std::atoi(argv[3]));
  const unsigned first = argc > 4 ? static_cast<unsigned>(std::atoi(argv[4])) : 0;
  test::TemporaryFolder folder;
  std::atomic<unsigned> next{0};
  std::mutex mutex;
  std::map<std::string, int> outcomes;
  const auto work = [&] {
    for (unsigned i = next++; i < count; i = next++) {
      std::string ending;
      const std::string bytes = mutated(files, first + i, ending);
      const fs::path file = folder / (std::to_string(i) + ending);
      std::ofstream(file, std::ios::binary) << bytes;
      const auto start = std::chrono::steady_clock::now();
      const std::string outcome = outcome_of(file, argv[1]);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      fs::remove(file);
      std::lock_guard lock(mutex);
      ++outcomes[outcome];
      if (outcome.find("read") != 0 && outcome.find("refused") != 0)
        std::printf("%u: %s (%.1f s)\n", first + i, outcome.c_str(), seconds);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  for (const auto& [outcome, n] : outcomes) std::printf("%6d %s\n", n, outcome.c_str());
  const bool left_behind = waitpid(-1, nullptr, WNOHANG) >= 0;
  std::printf("%s\n", left_behind ? "A reader was left behind" : "No process was left behind");
  return left_behind || outcomes.count("hang while opening") > 0 ? 1 : 0;
}
