// Time to first token of a question to an encoded document, against reading the whole document again.
//
//   ttft_bench WORKER QWEN_VOCABULARY_FOLDER LAYERS MOST_EXACT_TOKENS FILE.pdf…
//
// The model has random weights: LAYERS layers, width 256, 4 heads of 64, 2 KV heads, Qwen2.5's vocabulary; times depend
// on shapes, not on values. Documents longer than MOST_EXACT_TOKENS are not read again: that takes quadratic time.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "app/asking.h"
#include "app/places.h"
#include "ingest/library/importer.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/vocabularies.h"

using namespace longleaf;

namespace {

int failed(const Status& status) { return std::fprintf(stderr, "%s\n", status.message().c_str()), 1; }

std::vector<int64_t> all_leaves(const DocumentInput& document) {
  std::vector<int64_t> leaves;
  for (const auto& node : document.nodes)
    if (node.is_leaf) leaves.push_back(node.key);
  return leaves;
}

constexpr const char* kQuestion = "What does the document say about the history of the order?";

// `asked` is when the question was sent: what came before this call, routing for one, counts.
Result<AnswerResult> ask(Engine& engine, const DocumentInput& document, const std::filesystem::path& memory,
                         Evidence evidence, std::vector<int64_t> leaves, int evidence_tokens,
                         std::chrono::steady_clock::time_point asked) {
  AnswerRequest request;
  request.question = kQuestion;
  request.leaves = std::move(leaves);
  request.evidence = evidence;
  request.max_tokens = 1;
  request.evidence_tokens = evidence_tokens;
  request.asked = asked;
  return engine.answer(document, memory, request, [](std::string_view) {}, nullptr, {});
}

int measure(Library& library, Engine& engine, const std::filesystem::path& worker, const std::string& file,
            int most_exact_tokens) {
  ImportOptions options;
  options.reader.worker = worker;
  const auto report = import_document(library, file, options);
  if (!report.ok()) return failed(report.status());
  Asking asking(library, &engine);
  const auto input = asking.input(report->document);
  if (!input.ok()) return failed(input.status());
  const auto memory = memoryFolder(library.folder());
  const auto encoded = engine.encode(**input, memory, nullptr, {});
  if (!encoded.ok()) return failed(encoded.status());

  std::vector<double> reuse;
  int question_tokens = 0;
  for (int i = 0; i < 5; ++i) {
    const auto asked = std::chrono::steady_clock::now();
    const auto route = asking.findRoute(report->document, kQuestion, RouteMethod::Flat, 0, {});
    if (!route.ok()) return failed(route.status());
    std::vector<int64_t> leaves;
    for (const auto& leaf : route->leaves) leaves.push_back(leaf.node);
    const auto answer = ask(engine, **input, memory, Evidence::LeafKv, leaves, 3072, asked);
    if (!answer.ok()) return failed(answer.status());
    reuse.push_back(answer->stats.ttft_ms);
    question_tokens = answer->stats.prefill_tokens;
  }
  const double first = reuse[0];
  std::sort(reuse.begin(), reuse.end());
  double exact_ms = -1;
  if (encoded->tokens <= most_exact_tokens) {
    const auto answer =
        ask(engine, **input, memory, Evidence::Exact, all_leaves(**input), 1 << 30, std::chrono::steady_clock::now());
    if (!answer.ok()) return failed(answer.status());
    exact_ms = answer->stats.ttft_ms;
  }
  std::printf("| %d | %lld | %.1f | %.1f | %d | %.1f | %.1f | ", report->document.pages,
              static_cast<long long>(encoded->tokens), encoded->seconds,
              static_cast<double>(encoded->bytes) / (1 << 20), question_tokens, first, reuse[2]);
  if (exact_ms >= 0)
    std::printf("%.0f | %.0f |\n", exact_ms, exact_ms / reuse[2]);
  else
    std::printf("not run | – |\n");
  std::fflush(stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6)
    return std::fprintf(stderr, "usage: ttft_bench WORKER QWEN_VOCABULARY_FOLDER LAYERS MOST_EXACT_TOKENS FILE.pdf…\n"),
           2;
  const test::TemporaryFolder folder;
  test::RandomModel shape{.layers = std::atoi(argv[3]),
                          .d_model = 256,
                          .heads = 4,
                          .kv_heads = 2,
                          .d_ff = 512,
                          .context = 1 << 20,
                          .seed = 1};
  shape.vocabulary = [&](test::GgufWriter& gguf) { return test::write_qwen2(gguf, argv[2]); };
  const auto model = folder / "model.gguf";
  std::ofstream(model, std::ios::binary) << test::random_model_gguf(shape);
  auto engine = Engine::load(model, {});
  if (!engine.ok()) return failed(engine.status());
  auto library = Library::open(folder / "library");
  if (!library.ok()) return failed(library.status());
  std::printf(
      "%s, %d layers\n\n| pages | tokens | encode s | memory MiB | tokens prefilled | leaf_kv TTFT ms, first | median "
      "of 5 "
      "| exact TTFT ms | ratio |\n|---|---|---|---|---|---|---|---|---|\n",
      (*engine)->device().c_str(), shape.layers);
  for (int i = 5; i < argc; ++i)
    if (const int status = measure(**library, **engine, argv[1], argv[i], std::atoi(argv[4])); status != 0)
      return status;
  return 0;
}
