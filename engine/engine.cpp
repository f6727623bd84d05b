#include "engine/engine.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "engine/parts.h"

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kStatedTokens = 4096;  // KV counted in "memory it will need"
constexpr const char* kInstructions =
    "Answer the question from the document below, in one or two sentences. If the document does not answer it, say so.";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Activations of one batch, and one row of logits.
uint64_t workspace_bytes(const ModelConfig& c) {
  const uint64_t model = static_cast<uint64_t>(c.d_model), ff = static_cast<uint64_t>(c.d_ff);
  const uint64_t heads = static_cast<uint64_t>(c.n_heads) * static_cast<uint64_t>(c.head_dim);
  const uint64_t kv = static_cast<uint64_t>(c.n_kv_heads) * static_cast<uint64_t>(c.head_dim);
  const uint64_t rounded = std::max(model, ff) / 2;  // the input of a product as bytes and scales, in units of floats
  return ((2 * model + 2 * heads + 2 * kv + 2 * ff + rounded) * Transformer::kBatchTokens +
          static_cast<uint64_t>(c.n_vocab)) *
         4;
}

std::string file_name(const std::string& document_id, uint64_t model) {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%016llx.llm", static_cast<unsigned long long>(model));
  return document_id + tail;
}

}  // namespace

Result<ModelFacts> describe_model(const std::filesystem::path& path, bool f32_kv) {
  LL_ASSIGN_OR_RETURN(const auto file, ModelFile::open(path));
  ModelFacts facts;
  LL_ASSIGN_OR_RETURN(facts.config, read_model_config(*file));
  facts.chat = ChatStyle::of(*file);
  facts.path = path.string();
  facts.kv_bytes_per_token = KvStore::bytes_per_token(facts.config, f32_kv ? kernels::DType::F32 : kernels::DType::F16);
  facts.needed_bytes = facts.config.packed_bytes + facts.config.table_bytes + workspace_bytes(facts.config) +
                       kStatedTokens * facts.kv_bytes_per_token;
  return facts;
}

Result<std::unique_ptr<Engine>> Engine::load(const std::filesystem::path& path, const EngineOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Engine> engine(new Engine);
  LL_ASSIGN_OR_RETURN(engine->facts_, describe_model(path, options.f32_kv));
  engine->table_bytes_ = engine->facts_.config.table_bytes;
  if (!options.draft.empty()) {
    LL_ASSIGN_OR_RETURN(const ModelFacts draft, describe_model(options.draft, options.f32_kv));
    engine->facts_.needed_bytes += draft.needed_bytes;
    engine->table_bytes_ += draft.config.table_bytes;
  }
  engine->options_ = options;
  Status status = engine->start(options.device);
  // A card that fills up or fails while the model is loaded is no reason to have none.
  const bool steps_down = options.device == "auto" && engine->parts_ != nullptr && engine->parts_->is_gpu &&
                          (status.code() == Code::NoMemory || status.code() == Code::DeviceLost);
  if (steps_down) status = engine->step_down(status.message());
  if (!status.ok()) return status;
  engine->load_ms_ = 1000 * seconds_since(start);
  return engine;
}

Status Engine::start(const std::string& name) {
  open_.reset();
  parts_.reset();
  const uint64_t least = facts_.needed_bytes - table_bytes_;  // tables stay in the file's pages
  LL_ASSIGN_OR_RETURN(auto device,
                      open_device({name, options_.n_threads, options_.memory_limit_bytes, least, options_.gpu}));
  parts_ = std::make_unique<Parts>();
  Parts& parts = *parts_;
  parts.is_gpu = device.is_gpu;
  parts.why_no_gpu = std::move(device.why_no_gpu);
  parts.backend = std::move(device.backend);
  const auto available = parts.backend->memory(parts.backend->self).total_bytes;
  if (available != 0 && least > available)
    return Status(Code::NoMemory, "The model needs " + std::to_string(least >> 20) + " MiB and this " +
                                      (parts.is_gpu ? "card" : "machine") + " has " + std::to_string(available >> 20) +
                                      " MiB; choose a smaller model");
  LL_ASSIGN_OR_RETURN(parts.file, ModelFile::open(facts_.path));
  LL_ASSIGN_OR_RETURN(parts.tokenizer, Tokenizer::load(parts.file));
  LL_ASSIGN_OR_RETURN(auto model, Model::load(parts.file, *parts.backend));
  LL_ASSIGN_OR_RETURN(parts.transformer, Transformer::create(std::move(model)));
  parts.store = std::make_unique<KvStore>(facts_.config, *parts.backend,
                                          options_.f32_kv ? kernels::DType::F32 : kernels::DType::F16);
  if (!options_.draft.empty()) LL_RETURN_IF_ERROR(load_draft());
  return measure_rates();
}

Status Engine::revive() {
  if (!lost_) return {};
  const std::string twice =
      "The GPU stopped " + std::to_string(losses_) + " times; the processor is used until the model is opened again";
  const Status status = losses_ < 2 ? start(options_.device) : Status(Code::DeviceLost, twice);
  if (!status.ok()) LL_RETURN_IF_ERROR(step_down(status.message()));
  lost_ = false;
  return {};
}

Status Engine::step_down(const std::string& why) {
  lost_ = true;  // until the processor has the model
  LL_RETURN_IF_ERROR(start("cpu"));
  lost_ = false;
  parts_->why_no_gpu = why;
  return {};
}

Status Engine::load_draft() {
  LL_ASSIGN_OR_RETURN(const auto file, ModelFile::open(options_.draft));
  LL_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(file));
  LL_RETURN_IF_ERROR(check_same_vocabulary(*parts_->tokenizer, *tokenizer));
  LL_ASSIGN_OR_RETURN(auto model, Model::load(file, *parts_->backend));
  LL_ASSIGN_OR_RETURN(parts_->draft, Draft::create(std::move(model), parts_->store->type()));
  return {};
}

Engine::~Engine() = default;

const std::string& Engine::device() const { return parts_->backend->name; }

const std::string& Engine::why_no_gpu() const { return parts_->why_no_gpu; }

MemoryUse Engine::memory_use() const {
  const auto memory = parts_->backend->memory(parts_->backend->self);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {memory.used_bytes, memory.peak_bytes, memory.total_bytes, static_cast<uint64_t>(usage.ru_maxrss) * 1024};
}

// A short prefill and a copy through the KV store: what the planner predicts with until real answers correct it.
Status Engine::measure_rates() {
  constexpr int kProbe = 32;
  std::vector<TokenId> tokens(kProbe);
  for (int i = 0; i < kProbe; ++i) tokens[static_cast<size_t>(i)] = i % facts_.config.n_vocab;
  KvStore& store = *parts_->store;
  LL_RETURN_IF_ERROR(parts_->transformer->forward(tokens, store, DenseStrategy(), Want::Nothing, nullptr));
  LL_RETURN_IF_ERROR(finish());
  store.truncate(0);
  auto start = Clock::now();
  LL_RETURN_IF_ERROR(parts_->transformer->forward(tokens, store, DenseStrategy(), Want::Nothing, nullptr));
  LL_RETURN_IF_ERROR(finish());
  rates_.prefill_tokens_per_s = kProbe / std::max(seconds_since(start), 1e-6);
  std::vector<uint8_t> rows(2 * kProbe * store.row_bytes());
  start = Clock::now();
  for (int layer = 0; layer < facts_.config.n_layers; ++layer)
    LL_RETURN_IF_ERROR(store.write_rows(layer, 0, kProbe, rows.data(), rows.data() + rows.size() / 2));
  LL_RETURN_IF_ERROR(finish());
  rates_.load_bytes_per_s =
      static_cast<double>(rows.size()) * facts_.config.n_layers / std::max(seconds_since(start), 1e-6);
  store.truncate(0);
  return {};
}

// Waits for the device: before a clock is read.
Status Engine::finish() { return parts_->backend->finish(parts_->backend->self); }

std::vector<TokenId> Engine::prefix_of(const DocumentInput& document) const {
  const auto prompt = facts_.chat.prompt(kInstructions, "Document: " + document.title, {}, "");
  std::vector<TokenId> ids;
  if (parts_->tokenizer->adds_bos()) ids.push_back(parts_->tokenizer->bos());
  const auto pieces = encode_pieces(*parts_->tokenizer, prompt.before);
  ids.insert(ids.end(), pieces.begin(), pieces.end());
  return ids;
}

std::filesystem::path Engine::memory_path(const DocumentInput& document, const std::filesystem::path& folder) const {
  return folder / file_name(document.id, parts_->transformer->model().fingerprint());
}

Engine::OpenDocument& Engine::open_document(const DocumentInput& document, const std::filesystem::path& folder) {
  if (open_ == nullptr || open_->id != document.id || open_->key != document.key || open_->folder != folder) {
    open_ = std::make_unique<OpenDocument>();
    open_->id = document.id;
    open_->key = document.key;
    open_->folder = folder;
    open_->plan = plan_memory(parts_->transformer->model(), *parts_->tokenizer, prefix_of(document), document,
                              parts_->store->type(), window_limits(facts_.config));
  }
  // Looked for again each time: another process may have encoded it meanwhile.
  auto file = MemoryFile::open(memory_path(document, folder), open_->plan);
  open_->file = file.ok() ? std::move(*file) : nullptr;
  return *open_;
}

Result<EncodeReport> Engine::encode(const DocumentInput& document, const std::filesystem::path& folder,
                                    const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop) {
  return guarded([&] { return encode_now(document, folder, progress, stop); });
}

Result<EncodeReport> Engine::encode_now(const DocumentInput& document, const std::filesystem::path& folder,
                                        const std::function<void(const EncodeProgress&)>& progress,
                                        std::stop_token stop) {
  const auto start = Clock::now();
  const OpenDocument& open = open_document(document, folder);
  LL_ASSIGN_OR_RETURN(const auto file, MemoryFile::open_or_create(memory_path(document, folder), open.plan));
  int64_t missing = 0;
  for (size_t i = 1; i < open.plan.entries.size(); ++i)
    if (!file->has(i)) missing += static_cast<int64_t>(open.plan.entries[i].tokens.size());
  LL_RETURN_IF_ERROR(encode_document(*parts_->transformer, *parts_->store, *file, window_limits(facts_.config),
                                     progress, std::move(stop)));
  EncodeReport report{open.plan.entries.size() - 1, missing, 0, file->bytes()};
  report.seconds = seconds_since(start);
  return report;
}

size_t Engine::leaves_encoded(const DocumentInput& document, const std::filesystem::path& folder) {
  if (!revive().ok()) return 0;
  const OpenDocument& open = open_document(document, folder);
  return open.file == nullptr ? 0 : open.file->count_done() - (open.file->has(0) ? 1 : 0);
}

const NodeMemory& Engine::node_memory(const DocumentInput& document, const std::filesystem::path& folder) {
  static const NodeMemory kNone;
  if (!revive().ok()) return kNone;
  OpenDocument& open = open_document(document, folder);
  const size_t done = open.file == nullptr ? 0 : open.file->count_done();
  if (done < open.plan.entries.size()) {
    open.memory = {};
    open.memory_of = 0;
  } else if (open.memory_of != done) {
    NodeVectors leaves;
    for (size_t i = 1; i < open.plan.entries.size(); ++i)
      if (auto vector = open.file->read_vector(i); vector.ok()) leaves[open.plan.entries[i].node] = std::move(*vector);
    open.memory = make_node_memory(document.nodes, leaves);
    open.memory_of = done;
  }
  return open.memory;
}

Result<std::vector<float>> Engine::question_vector(const std::string& question, const NodeMemory& memory,
                                                   std::stop_token stop) {
  return guarded([&] { return question_vector_now(question, memory, stop); });
}

Result<std::vector<float>> Engine::question_vector_now(const std::string& question, const NodeMemory& memory,
                                                       std::stop_token stop) {
  KvStore& store = *parts_->store;
  store.truncate(0);
  const auto tokens = parts_->tokenizer->encode(question);
  if (tokens.empty() || memory.nodes.empty()) return std::vector<float>{};
  auto vector = read_and_pool(*parts_->transformer, tokens, store, false, std::move(stop));
  store.truncate(0);
  if (!vector.ok()) return vector.status();
  return centred(std::move(*vector), memory.mean);
}

Result<BenchReport> Engine::bench(int prompt_tokens, int generate_tokens, int repeat, std::stop_token stop) {
  return guarded([&] { return bench_now(prompt_tokens, generate_tokens, repeat, stop); });
}

Result<BenchReport> Engine::bench_now(int prompt_tokens, int generate_tokens, int repeat, std::stop_token stop) {
  BenchReport report;
  std::vector<TokenId> prompt(static_cast<size_t>(prompt_tokens));
  for (size_t i = 0; i < prompt.size(); ++i)
    prompt[i] = static_cast<TokenId>((i * 31 + 7) % static_cast<size_t>(facts_.config.n_vocab));
  KvStore& store = *parts_->store;
  std::vector<float> logits;
  for (int r = 0; r < repeat; ++r) {
    store.truncate(0);
    auto start = Clock::now();
    if (!prompt.empty())
      LL_RETURN_IF_ERROR(parts_->transformer->forward(prompt, store, DenseStrategy(), Want::LastLogits, &logits, stop));
    report.prefill_tokens_per_s.push_back(prompt_tokens / std::max(seconds_since(start), 1e-9));
    start = Clock::now();
    Sampler greedy({});
    TokenId next = 1;
    for (int i = 0; i < generate_tokens; ++i) {
      LL_RETURN_IF_ERROR(
          parts_->transformer->forward(std::span(&next, 1), store, DenseStrategy(), Want::LastLogits, &logits, stop));
      next = greedy.pick(logits);
    }
    report.decode_tokens_per_s.push_back(generate_tokens / std::max(seconds_since(start), 1e-9));
  }
  store.truncate(0);
  return report;
}

uint64_t remove_memory(const std::filesystem::path& folder, const std::string& document_id) {
  uint64_t freed = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(document_id + "-", 0) != 0) continue;
    const auto bytes = entry.file_size(error);
    if (std::filesystem::remove(entry.path(), error)) freed += bytes;
  }
  return freed;
}

}  // namespace longleaf
