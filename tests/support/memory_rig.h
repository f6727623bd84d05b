// An engine with a small random model, and documents to encode and to ask.
#pragma once

#include <filesystem>
#include <fstream>

#include "engine/engine.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace longleaf::test {

inline DocumentInput document(int leaves, int bytes_per_leaf = 90) {
  DocumentInput d{"doc", 1, "A manual", {{1, 0, false, 0, ""}}};
  for (int i = 0; i < leaves; ++i) {
    if (i % 3 == 0) d.nodes.push_back({1000 + i, 1, false, 0, ""});
    std::string text = "Leaf " + std::to_string(i) + ": ";
    while (static_cast<int>(text.size()) < bytes_per_leaf)
      text += static_cast<char>('a' + (i * 7 + static_cast<int>(text.size()) * 5) % 26);
    d.nodes.push_back({10 + i, 1000 + i / 3 * 3, true, 30, text + "\n\n"});
  }
  return d;
}

struct MemoryRig {
  TemporaryFolder folder;
  std::unique_ptr<Engine> engine;
  explicit MemoryRig(const RandomModel& model = {}, kernels::DType kv = kernels::DType::F32) {
    const auto path = folder / "model.gguf";
    const std::string bytes = random_model_gguf(model);
    std::ofstream(path, std::ios::binary) << bytes;
    EngineOptions options;
    options.device = "cpu";
    options.n_threads = 2;
    options.kv = kv;
    auto loaded = Engine::load(path, options);
    if (loaded.ok())
      engine = std::move(*loaded);
    else
      fail(__FILE__, __LINE__, loaded.status().message());
  }
  std::filesystem::path memory() const { return folder / "memory"; }
  Status encode(const DocumentInput& d, std::stop_token stop = {}) {
    const auto report = engine->encode(d, memory(), nullptr, stop);
    return report.ok() ? Status() : report.status();
  }
  AnswerResult ask(const DocumentInput& d, Evidence evidence, std::vector<int64_t> leaves, int repair = 0) {
    AnswerRequest request;
    request.question = "Which leaf speaks of pumps?";
    request.leaves = std::move(leaves);
    request.evidence = evidence;
    request.max_tokens = 24;
    request.evidence_tokens = 1 << 20;
    request.repair_tokens = repair;
    auto result = engine->answer(d, memory(), request, [](std::string_view) {}, nullptr, {});
    if (!result.ok()) return fail(__FILE__, __LINE__, result.status().message()), AnswerResult{};
    return *result;
  }
  std::filesystem::path memory_file() const { return std::filesystem::directory_iterator(memory())->path(); }
};

inline std::vector<int64_t> all_leaves(const DocumentInput& d) {
  std::vector<int64_t> leaves;
  for (const auto& node : d.nodes)
    if (node.is_leaf) leaves.push_back(node.key);
  return leaves;
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace longleaf::test
