// models, bench, doctor
#include <algorithm>
#include <cstdio>

#include "app/cli/context.h"
#include "app/places.h"
#include "engine/base/processors.h"
#include "engine/compute_device.h"
#include "ingest/reader/recognition.h"

namespace longleaf::cli {
namespace {

double mebibytes(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

Json needsJson(const MemoryNeeds& needs, int tokens) {
  return {{"weights", needs.weights},
          {"kv", needs.kv},
          {"tokens", tokens},
          {"workspace", needs.workspace},
          {"table", needs.table}};
}

Json factsJson(const ModelFacts& facts) {
  const ModelConfig& c = facts.config;
  return {{"path", facts.path},
          {"title", c.title},
          {"architecture", std::string(c.architecture->name)},
          {"quantisation", c.weight_format},
          {"layers", c.n_layers},
          {"width", c.d_model},
          {"vocabulary", c.n_vocab},
          {"context", c.context_tokens},
          {"chat_form", facts.chat.name()},
          {"weight_bytes", c.weight_bytes},
          {"kv_bytes_per_token", facts.kv_bytes_per_token},
          {"needed_bytes", facts.needed.all()},
          {"needed", needsJson(facts.needed, facts.needed_tokens)},
          {"needed_card_bytes", facts.needed_card.all()},
          {"needed_card", needsJson(facts.needed_card, facts.card_tokens)}};
}

void printNeeds(const char* where, const MemoryNeeds& needs, int tokens) {
  std::printf("  %s: about %.1f MiB: %.1f of weights, %.1f for keys and values of %d tokens, %.1f to work in", where,
              mebibytes(needs.all()), mebibytes(needs.weights), mebibytes(needs.kv), tokens,
              mebibytes(needs.workspace));
  if (needs.table > 0) std::printf(", %.1f of embeddings", mebibytes(needs.table));
  std::printf("\n");
}

void printFacts(const ModelFacts& facts) {
  const ModelConfig& c = facts.config;
  std::printf("%s\n  %s, %s, %d layers, width %d, context %d tokens, chat form %s\n  weights of %.1f MiB in the file\n",
              facts.path.c_str(), std::string(c.architecture->name).c_str(), c.weight_format.c_str(), c.n_layers,
              c.d_model, c.context_tokens, facts.chat.name().c_str(), mebibytes(c.weight_bytes));
  printNeeds("memory to answer with it here", facts.needed, facts.needed_tokens);
  printNeeds("memory of a graphics card", facts.needed_card, facts.card_tokens);
}

Json embedderJson(const std::string& path, const EmbedderFacts& facts) {
  return {{"path", path},
          {"title", facts.title},
          {"architecture", "bert"},
          {"use", "embedding"},
          {"quantisation", facts.weight_format},
          {"layers", facts.n_layers},
          {"width", facts.d_model},
          {"vocabulary", facts.n_vocab},
          {"context", facts.context_tokens},
          {"weight_bytes", facts.weight_bytes}};
}

void printEmbedder(const std::string& path, const EmbedderFacts& facts) {
  std::printf(
      "%s\n  an embedding model: helps to find passages, does not write answers (--embedder)\n  %s, %d layers, width "
      "%d, "
      "reads %d tokens at once, weights %.1f MiB\n",
      path.c_str(), facts.weight_format.c_str(), facts.n_layers, facts.d_model, facts.context_tokens,
      static_cast<double>(facts.weight_bytes) / (1 << 20));
}

// What one model is, printed or as JSON.
Result<Json> tell(Context& context, const std::filesystem::path& path) {
  if (is_embedder(path)) {
    LL_ASSIGN_OR_RETURN(const EmbedderFacts facts, describe_embedder(path));
    if (!context.json()) printEmbedder(path.string(), facts);
    return embedderJson(path.string(), facts);
  }
  LL_ASSIGN_OR_RETURN(const ModelFacts facts, describe_model(path, context.kv()));
  if (!context.json()) printFacts(facts);
  return factsJson(facts);
}

int runModelsList(Context& context) {
  Json all = Json::array();
  for (const auto& path : findModels(context.dataFolder())) {
    const auto facts = tell(context, path);
    if (!facts.ok() && !context.json())
      std::printf("%s\n  cannot be used: %s\n", path.c_str(), facts.status().message().c_str());
    all.push_back(facts.ok() ? *facts : Json{{"path", path.string()}, {"problem", facts.status().message()}});
  }
  if (context.json())
    Context::print({{"models", all}});
  else if (all.empty())
    std::printf("No model was found. Put a GGUF file or a safetensors folder into %s, or name it with --model FILE.\n",
                (context.dataFolder() / "models").c_str());
  return kDone;
}

int runModelsShow(Context& context, const std::string& file) {
  LL_TRY(const Json facts, tell(context, file));
  if (context.json()) Context::print(facts);
  return kDone;
}

struct BenchArguments {
  int prompt = 512, generate = 64, repeat = 5;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

int runBench(Context& context, const BenchArguments& args) {
  LL_TRY(Engine * engine, context.engine());
  context.progress("");
  LL_TRY(const BenchReport report, engine->bench(args.prompt, args.generate, args.repeat, context.stop()));
  const MemoryUse memory = engine->memory_use();
  if (context.json())
    Context::print({{"prefill_tokens_per_s", report.prefill_tokens_per_s},
                    {"decode_tokens_per_s", report.decode_tokens_per_s},
                    {"load_ms", engine->load_ms()},
                    {"peak_host_bytes", memory.peak_host_bytes},
                    {"peak_device_bytes", memory.peak_device_bytes},
                    {"stated_device_bytes", memory.stated_device_bytes},
                    {"other_device_bytes", memory.other_device_bytes},
                    {"device", engine->device()}});
  else
    std::printf(
        "%s\nprefill of %d tokens: %.1f tokens/s; decode of %d: %.1f tokens/s (medians of %d); loaded in %.0f ms; peak "
        "memory %.0f MiB\n",
        engine->device().c_str(), args.prompt, median(report.prefill_tokens_per_s), args.generate,
        median(report.decode_tokens_per_s), args.repeat, engine->load_ms(),
        static_cast<double>(memory.peak_host_bytes) / (1 << 20));
  return kDone;
}

Json gpusJson(const DeviceFacts& devices) {
  Json cards = Json::array();
  for (const GpuFacts& gpu : devices.gpus)
    cards.push_back({{"name", gpu.name},
                     {"uuid", gpu.uuid},
                     {"memory_bytes", gpu.memory_bytes},
                     {"compute", gpu.compute},
                     {"problem", gpu.problem}});
  return {{"driver", devices.driver_version > 0},
          {"driver_version", devices.driver_version},
          {"devices", devices.gpus.size()},
          {"used", devices.why_no_gpu.empty()},
          {"reason", devices.why_no_gpu},
          {"cards", cards},
          {"cublaslt", devices.gpus.empty() ? Json() : Json(devices.has_products_library)}};
}

void printGpus(const DeviceFacts& devices) {
  if (!devices.why_no_gpu.empty()) std::printf("GPU: not used. %s\n", devices.why_no_gpu.c_str());
  for (size_t i = 0; i < devices.gpus.size(); ++i) {
    const GpuFacts& gpu = devices.gpus[i];
    std::printf("GPU %zu: %s, %.1f GiB, %s%s%s\n", i, gpu.name.c_str(),
                static_cast<double>(gpu.memory_bytes) / (1 << 30), gpu.uuid.c_str(), gpu.problem.empty() ? "" : ". ",
                gpu.problem.c_str());
  }
  if (!devices.gpus.empty() && !devices.has_products_library)
    std::printf(
        "NVIDIA's cuBLASLt is not installed: models in BF16 and F32 are computed by this program's kernels "
        "alone. It comes with the CUDA Toolkit and is used where it is faster.\n");
}

int runDoctor(Context& context) {
  const auto worker = pdfWorkerProgram();
  const bool has_worker = std::filesystem::exists(worker);
  const DeviceFacts devices = describe_devices();
  const auto library = context.library();
  CheckReport check;
  if (library.ok()) {
    auto checked = (*library)->check(false);
    if (checked.ok())
      check = *checked;
    else
      check.problems.push_back(checked.status().message());
  } else {
    check.problems.push_back(library.status().message());
  }
  std::error_code error;
  const auto space = std::filesystem::space(context.dataFolder(), error);
  std::string recognition;
  for (const auto& language : recognition_languages())
    recognition += (recognition.empty() ? "Tesseract with " : ", ") + language;
  if (recognition.empty()) recognition = std::string("cannot be read; ") + kInstallTesseract;
  if (context.json()) {
    Context::print({{"version", LONGLEAF_VERSION},
                    {"cpu", devices.processor},
                    {"processors", usable_processors()},
                    {"gpu", gpusJson(devices)},
                    {"memory_bytes", devices.memory_bytes},
                    {"data_folder", context.dataFolder().string()},
                    {"free_bytes", error ? 0 : space.available},
                    {"pdf_reader", has_worker},
                    {"recognition_languages", recognition_languages()},
                    {"documents", check.documents},
                    {"repaired", check.repaired},
                    {"problems", check.problems}});
  } else {
    std::printf("Longleaf %s\nprocessor: %s\nmemory: %.1f GiB\n", LONGLEAF_VERSION, devices.processor.c_str(),
                static_cast<double>(devices.memory_bytes) / (1 << 30));
    printGpus(devices);
    std::printf("reader: %s\nscanned pages: %s\ndata folder: %s (%.1f GiB free)\nlibrary: %d documents, %zu problems\n",
                has_worker ? worker.c_str() : "missing; install Longleaf again", recognition.c_str(),
                context.dataFolder().c_str(), static_cast<double>(space.available) / (1 << 30), check.documents,
                check.problems.size());
    for (const auto& repaired : check.repaired) std::printf("  %s\n", repaired.c_str());
    for (const auto& problem : check.problems) std::printf("  %s\n", problem.c_str());
  }
  return check.problems.empty() && has_worker ? kDone : kFailed;
}

}  // namespace

void addModelCommands(CLI::App& app, Context& context, Run& run) {
  static std::string file;
  static BenchArguments args;

  auto* models = app.add_subcommand("models", "Models on this machine");
  models->require_subcommand(1);
  models->add_subcommand("list", "Models found")->callback([&] { run = [&] { return runModelsList(context); }; });
  auto* show = models->add_subcommand("show", "One model's facts");
  show->add_option("FILE", file, "GGUF file")->required();
  show->callback([&] { run = [&] { return runModelsShow(context, file); }; });

  auto* bench = app.add_subcommand("bench", "Prefill and decode speed of a model");
  bench->add_option("--prompt", args.prompt, "Tokens to prefill")->check(CLI::Range(0, 1000000))->capture_default_str();
  bench->add_option("--generate", args.generate, "Tokens to decode")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  bench->add_option("--repeat", args.repeat, "Runs")->check(CLI::Range(1, 1000000))->capture_default_str();
  bench->callback([&] { run = [&] { return runBench(context, args); }; });

  app.add_subcommand("doctor", "What this machine has, and what is wrong")->callback([&] {
    run = [&] { return runDoctor(context); };
  });
}

}  // namespace longleaf::cli
