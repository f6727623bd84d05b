// Time to the first token of a question to documents of growing length, by leaf_kv, and the device's memory beside it.
// Engine only, so that it runs where there is neither Qt nor a PDF; a token of the models of random_model is a byte.
//
//   document_bench MODEL.gguf DEVICE TOKENS…
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/engine.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;

namespace {

constexpr int kLeafTokens = 256, kLeavesAsked = 8, kRepeats = 5;

DocumentInput document_of(int tokens) {
  DocumentInput document;
  document.id = "tokens" + std::to_string(tokens);
  document.key = tokens;
  document.title = "A long document";
  document.nodes.push_back({1, 0, false, 0, ""});
  for (int i = 0; i < tokens / kLeafTokens; ++i) {
    std::string text;
    while (static_cast<int>(text.size()) < kLeafTokens)
      text += static_cast<char>('a' + (i * 7 + static_cast<int>(text.size()) * 5) % 26);
    document.nodes.push_back({10 + i, 1, true, kLeafTokens, text});
  }
  return document;
}

int failed(const Status& status) { return std::printf("%s\n", status.message().c_str()), 1; }

// Milliseconds to the first token, of every repetition.
Result<std::vector<double>> ask(Engine& engine, const DocumentInput& document, const std::filesystem::path& folder) {
  AnswerRequest request;
  request.question = "What does the document say?";
  request.evidence = Evidence::LeafKv;
  request.max_tokens = 1;
  const auto leaves = static_cast<int>(document.nodes.size()) - 1, asked = std::min(kLeavesAsked, leaves);
  for (int i = 0; i < asked; ++i) request.leaves.push_back(10 + i * (leaves / asked));
  std::vector<double> all;
  for (int i = 0; i < kRepeats; ++i) {
    request.asked = std::chrono::steady_clock::now();
    LL_ASSIGN_OR_RETURN(const AnswerResult answer,
                        engine.answer(document, folder, request, [](std::string_view) {}, nullptr, {}));
    all.push_back(answer.stats.ttft_ms);
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::printf("document_bench MODEL.gguf DEVICE TOKENS…\n"), 2;
  const test::TemporaryFolder folder;
  EngineOptions options;
  options.device = argv[2];
  auto engine = Engine::load(argv[1], options);
  if (!engine.ok()) return failed(engine.status());
  const auto stated = (*engine)->memory_use().stated_device_bytes;
  std::printf(
      "%s, loaded in %.0f ms, %zu MiB stated\n\n| tokens | encoded tokens/s | TTFT ms, first | median of %d | "
      "peak MiB on the device |\n|---|---|---|---|---|\n",
      (*engine)->device().c_str(), (*engine)->load_ms(), static_cast<size_t>(stated >> 20), kRepeats);
  for (int i = 3; i < argc; ++i) {
    const auto document = document_of(std::atoi(argv[i]));
    const auto encoded = (*engine)->encode(document, folder.path(), nullptr, {});
    if (!encoded.ok()) return failed(encoded.status());
    auto times = ask(**engine, document, folder.path());
    if (!times.ok()) return failed(times.status());
    const double first = times->front();
    std::sort(times->begin(), times->end());
    std::printf("| %s | %.0f | %.1f | %.1f | %zu |\n", argv[i],
                static_cast<double>(encoded->tokens) / std::max(encoded->seconds, 1e-9), first, (*times)[kRepeats / 2],
                static_cast<size_t>((*engine)->memory_use().peak_device_bytes >> 20));
    std::fflush(stdout);
    remove_memory(folder.path(), document.id);
  }
  return 0;
}
