// An adapter's memory in the engine that answers, beside what training has of the same adapter.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "engine/memory/learned_memory.h"
#include "tests/support/check.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trained_adapter.h"

namespace longleaf::test {

inline std::vector<int64_t> keys_of(const TextTree& t) {
  std::vector<int64_t> all;
  for (size_t i = 0; i < t.size(); ++i) all.push_back(100 + static_cast<int64_t>(i));
  return all;
}

struct MemoryInEngine {
  TemporaryFolder folder;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<KvStore> store;
  std::unique_ptr<LearnedMemory> learned;

  explicit MemoryInEngine(const TrainedAdapter& trained) : MemoryInEngine(trained, trained.adapter()) {}
  MemoryInEngine(const TrainedAdapter& trained, const AdapterContents& adapter) {
    auto model = *Model::load(trained.file, *backend);
    store = std::make_unique<KvStore>(model->config(), *backend, kernels::DType::F32);
    transformer = std::move(*Transformer::create(std::move(model)));
    learned = std::move(*LearnedMemory::load(adapter, *transformer, kernels::DType::F32));
  }

  std::filesystem::path path(const std::string& id = "book") const { return learned->path_of(folder.path(), id); }
  std::unique_ptr<MemoryFile> open(const TextTree& t, const std::string& id = "book") const {
    return std::move(*MemoryFile::open_or_create(path(id), learned->plan(t, keys_of(t))));
  }
  // Tokens that were read; -1 where it failed.
  int64_t encode(const TextTree& t, const KnownMemories& known = {}, const std::string& id = "book") const {
    const auto tokens = learned->encode(t, *store, known, *open(t, id), nullptr, {});
    CHECK(tokens.ok());
    return tokens.ok() ? *tokens : -1;
  }
  // Stops when `n` memories are there. How many that made.
  size_t encode_until(const TextTree& t, int n) const {
    const auto file = open(t);
    std::stop_source stop;
    const auto status = learned->encode(
        t, *store, {}, *file,
        [&](size_t) {
          if (--n == 0) stop.request_stop();
        },
        stop.get_token());
    CHECK(status.status().code() == Code::Cancelled);
    return file->count_done();
  }
  LearnedMemory::Memories memories(const TextTree& t, const std::string& id = "book") const {
    auto file = MemoryFile::open(path(id), learned->plan(t, keys_of(t)));
    CHECK(file.ok() && (*file)->count_done() == (*file)->plan().entries.size());
    return file.ok() ? *learned->read(t, **file) : LearnedMemory::Memories{};
  }
  // How well each answers the question.
  std::vector<float> scores(std::span<const TokenId> question, const LearnedMemory::Memories& memories) const {
    const auto asked = learned->asked(question, *store, {});
    CHECK(asked.ok());
    std::vector<float> scores;
    for (size_t i = 0; asked.ok() && i * asked->size() < memories.keys.size(); ++i)
      scores.push_back(LearnedMemory::score(memories, *asked, static_cast<int>(i)));
    return scores;
  }
};

// The largest between numbers in the same places.
inline double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double top = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) top = std::max(top, std::abs(double{a[i]} - double{b[i]}));
  return top;
}

}  // namespace longleaf::test
