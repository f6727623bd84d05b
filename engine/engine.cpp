#include "engine/engine.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "engine/base/checksum.h"
#include "engine/base/host_memory.h"
#include "engine/model/decoder_tensors.h"
#include "engine/parts.h"
#include "kernels/cpu_backend.h"
#include "kernels/cuda_backend.h"

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kStatedTokens = 4096;  // KV counted in "memory it will need"

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// KV counted in what a model is said to need of a card: that of a window, for cards are for encoding too.
int card_tokens(const ModelConfig& config) { return std::max(kStatedTokens, window_limits(config).window_tokens); }

// What one card that has the whole model needs.
ModelNeeds needs_of_card(const ModelFacts& facts, int n_tokens) {
  return needs_of(facts.config, facts.kv_bytes_per_token, n_tokens, kernels::kCudaBatchTokens);
}

// What the layers need that are on cards, or those that are not.
uint64_t needed_on(const ComputeDevices& devices, const ModelNeeds& needs, bool is_gpu) {
  uint64_t bytes = devices.all.back().is_gpu == is_gpu ? needs.output_bytes : 0;
  auto layer = needs.layer_bytes.begin();
  for (const ComputeDevice& device : devices.all) {
    const auto end = layer + device.n_layers;
    if (device.is_gpu == is_gpu) bytes = std::accumulate(layer, end, bytes + needs.workspace_bytes);
    layer = end;
  }
  return bytes;
}

//   limit_bytes  that the user set for it; 0: none
Status has_room(const kernels::Backend& processor, uint64_t needed, size_t limit_bytes) {
  const uint64_t machine = processor.memory(processor.self).total_bytes;
  const bool is_limited = limit_bytes != 0 && limit_bytes < machine;
  const uint64_t most = is_limited ? limit_bytes : machine;
  if (most == 0 || needed <= most) return {};
  return Status(Code::NoMemory, "The model needs " + std::to_string(needed >> 20) + " MiB and " +
                                    (is_limited ? "may have " : "this machine has ") + std::to_string(most >> 20) +
                                    " MiB; choose a smaller model");
}

// Besides other programs, at this moment. Whoever sets a limit knows better.
Status is_left(uint64_t needed) {
  const auto free = free_host_memory();
  if (!free || needed <= *free) return {};
  return Status(Code::NoMemory, "The model needs " + std::to_string(needed >> 20) + " MiB and this machine has " +
                                    std::to_string(*free >> 20) +
                                    " MiB left; close other programs, choose a smaller model, or set --memory-limit");
}

int64_t count(const std::vector<TokenId>& tokens) { return static_cast<int64_t>(tokens.size()); }

uint64_t text_of(const DocumentInput& document) {
  uint64_t key = fingerprint(document.title);
  for (const DocumentNode& node : document.nodes)
    key = fingerprint(node.text, fingerprint(std::vector{node.key, node.parent, int64_t{node.is_leaf}}, key));
  return key;
}

uint64_t file_bytes(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : bytes;
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
  const Status tensors = check_decoder_tensors(*file, facts.config);
  LL_RETURN_IF_ERROR(file->check());
  LL_RETURN_IF_ERROR(tensors);
  facts.chat = ChatStyle::of(*file);
  facts.path = path.string();
  facts.kv_bytes_per_token = KvStore::bytes_per_token(facts.config, f32_kv ? kernels::DType::F32 : kernels::DType::F16);
  facts.needed_bytes = facts.config.table_bytes +
                       needs_of(facts.config, facts.kv_bytes_per_token, kStatedTokens, kernels::kCpuBatchTokens).all();
  facts.needed_card_bytes = needs_of_card(facts, card_tokens(facts.config)).all();
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
  engine->facts_.needed_bytes += file_bytes(options.adapter);
  Status status = engine->start(options.device);
  // A card that fills up or fails while the model is loaded is no reason to have none.
  const bool steps_down = options.device == "auto" && !engine->is_resting() && engine->parts_->devices.has_gpu() &&
                          (status.code() == Code::NoMemory || status.code() == Code::DeviceLost);
  if (steps_down)
    status =
        status.code() == Code::NoMemory ? engine->place_again(status.message()) : engine->step_down(status.message());
  if (!status.ok()) return status;
  engine->load_ms_ = 1000 * seconds_since(start);
  return engine;
}

Result<ModelNeeds> Engine::needs_with_draft(int n_tokens) const {
  ModelNeeds needs = needs_of_card(facts_, n_tokens);
  if (!options_.draft.empty()) {
    LL_ASSIGN_OR_RETURN(const ModelFacts draft, describe_model(options_.draft, options_.f32_kv));
    needs.output_bytes +=
        needs_of(draft.config, draft.kv_bytes_per_token, kStatedTokens, kernels::kCudaBatchTokens).all();
  }
  needs.output_bytes += file_bytes(options_.adapter);
  return needs;
}

// With room for the keys and values of `n_tokens`.
Result<ComputeDevices> Engine::devices_for(int n_tokens, DeviceRequest& request) const {
  LL_ASSIGN_OR_RETURN(request.needs, needs_with_draft(n_tokens));
  return open_devices(request);
}

// With room for the keys and values of a window, for cards are for encoding, too. Where only that keeps layers from the
// cards, with room for those of a question, until more are needed.
Status Engine::choose_devices(const std::string& name) {
  // A limit that was meant for a card does not bind the processor that takes its place.
  const size_t limit = name == options_.device ? options_.memory_limit_bytes : 0;
  DeviceRequest request{name, options_.n_threads, limit, {}, options_.gpu};
  parts_ = std::make_unique<Parts>();
  kept_tokens_ = card_tokens(facts_.config);
  auto devices = devices_for(kept_tokens_, request);
  const bool is_full = devices.ok() ? devices->wants_room : devices.status().code() == Code::NoMemory;
  if (is_full && !needs_window_ && kept_tokens_ > kStatedTokens) {
    DeviceRequest smaller = request;
    auto narrow = devices_for(kStatedTokens, smaller);
    if (narrow.ok() && narrow->all.front().is_gpu) {
      devices = std::move(narrow);
      request = std::move(smaller);
      kept_tokens_ = kStatedTokens;
    }
  }
  LL_RETURN_IF_ERROR(devices.status());
  parts_->devices = std::move(*devices);
  if (!parts_->devices.has_gpu()) kept_tokens_ = kStatedTokens;
  device_name_ = parts_->devices.name();
  device_note_ = parts_->devices.note;
  total_device_bytes_ = parts_->devices.memory().total_bytes;
  const auto& first = parts_->devices.all.front();
  if (parts_->devices.has_gpu()) {
    stated_device_bytes_ = needed_on(parts_->devices, request.needs, true);
    return first.is_gpu ? Status() : has_room(*first.backend, needed_on(parts_->devices, request.needs, false), 0);
  }
  stated_device_bytes_ = facts_.needed_bytes - table_bytes_;  // tables stay in the file's pages
  LL_RETURN_IF_ERROR(has_room(*first.backend, stated_device_bytes_, name == "cpu" ? limit : 0));
  return options_.memory_limit_bytes == 0 ? is_left(stated_device_bytes_) : Status();
}

Status Engine::start(const std::string& name) {
  open_.reset();
  parts_.reset();
  LL_RETURN_IF_ERROR(choose_devices(name));
  Parts& parts = *parts_;
  const Placement placement = parts.devices.placement();
  LL_ASSIGN_OR_RETURN(parts.file, ModelFile::open(facts_.path));
  LL_RETURN_IF_ERROR(check_same_file());
  LL_ASSIGN_OR_RETURN(parts.tokenizer, Tokenizer::load(parts.file));
  LL_ASSIGN_OR_RETURN(auto model, Model::load(parts.file, placement));
  LL_ASSIGN_OR_RETURN(parts.transformer, Transformer::create(std::move(model)));
  parts.store = std::make_unique<KvStore>(facts_.config, placement,
                                          options_.f32_kv ? kernels::DType::F32 : kernels::DType::F16, kept_tokens_);
  if (!options_.draft.empty()) LL_RETURN_IF_ERROR(load_draft());
  if (!options_.adapter.empty()) {
    LL_ASSIGN_OR_RETURN(parts.learned, load_learned(options_.adapter));
  }
  return measure_rates();
}

// What was stated and placed is of the file that was opened first.
Status Engine::check_same_file() {
  const uint64_t found = fingerprint_of(*parts_->file);
  LL_RETURN_IF_ERROR(parts_->file->check());
  if (file_fingerprint_ == 0) file_fingerprint_ = found;
  if (file_fingerprint_ == found) return {};
  return Status(Code::Invalid, "The model file " + parts_->file->name() +
                                   " has been replaced by another one since it was opened; open it again");
}

void Engine::rest() {
  open_.reset();
  parts_.reset();
  closed_ = true;
}

Status Engine::revive() {
  if (!closed_) return {};
  const std::string twice =
      "The GPU stopped " + std::to_string(losses_) + " times; the processor is used until the model is opened again";
  LL_RETURN_IF_ERROR(describe_model(facts_.path).status());  // no other device has what the disk has not
  const Status status = losses_ < 2 ? start(options_.device) : Status(Code::DeviceLost, twice);
  closed_ = !status.ok();
  if (status.ok()) return {};
  if (status.code() == Code::NoMemory) {
    if (options_.device != "auto") return status;  // what was asked for by name is not replaced
    if (!is_resting() && parts_->devices.has_gpu()) return place_again(status.message());
  }
  return step_down(status.message());
}

// Whether what filled a card may find room: "auto" takes fewer layers there, or the processor; a card that was named,
// fewer layers where it had reserved less than a window.
bool Engine::may_place_again() const { return options_.device == "auto" || kept_tokens_ < card_tokens(facts_.config); }

// Other programs may have taken some of a card, or a window more than was planned for: as many layers as fit now.
Status Engine::place_again(const std::string& why) {
  needs_window_ = true;
  closed_ = true;
  const Status status = start(options_.device);
  if (!status.ok() && options_.device == "auto") return step_down(status.message());
  if (!status.ok()) {
    needs_window_ = false;  // questions need no more than there was
    return status;
  }
  closed_ = false;
  if (!parts_->devices.has_gpu()) device_note_ = why;
  return {};
}

Status Engine::step_down(const std::string& why) {
  closed_ = true;  // until the processor has the model
  LL_RETURN_IF_ERROR(start("cpu"));
  closed_ = false;
  device_note_ = why;
  return {};
}

Status Engine::load_draft() {
  LL_ASSIGN_OR_RETURN(const auto file, ModelFile::open(options_.draft));
  LL_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::load(file));
  LL_RETURN_IF_ERROR(check_same_vocabulary(*parts_->tokenizer, *tokenizer));
  LL_ASSIGN_OR_RETURN(auto model, Model::load(file, *parts_->devices.all.back().backend));
  LL_ASSIGN_OR_RETURN(parts_->draft, Draft::create(std::move(model), parts_->store->type()));
  return {};
}

Result<std::unique_ptr<LearnedMemory>> Engine::load_learned(const std::filesystem::path& path) {
  const Model& model = parts_->transformer->model();
  LL_ASSIGN_OR_RETURN(const auto adapter, load_adapter(path, *parts_->file, model.fingerprint()));
  return LearnedMemory::load(adapter, *parts_->transformer);
}

Status Engine::use_adapter(const std::filesystem::path& adapter) {
  LL_RETURN_IF_ERROR(revive());
  LL_ASSIGN_OR_RETURN(auto learned, load_learned(adapter));
  open_.reset();
  parts_->learned = std::move(learned);
  options_.adapter = adapter;
  return {};
}

std::vector<Evidence> Engine::memory_kinds() const {
  if (is_resting() || parts_->learned == nullptr) return {};
  if (parts_->learned->is_recurrent()) return {Evidence::Hmt};
  return {Evidence::MemoryTokens, Evidence::MemoryAndLeafKv};
}

Engine::~Engine() = default;

MemoryUse Engine::memory_use() const {
  MemoryUse use;
  use.total_device_bytes = total_device_bytes_;
  use.stated_device_bytes = stated_device_bytes_;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  use.peak_host_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  if (is_resting()) return use;
  const auto memory = parts_->devices.memory();
  use.device_bytes = memory.used_bytes;
  use.peak_device_bytes = memory.peak_bytes;
  use.other_device_bytes = memory.other_bytes;
  return use;
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
  const std::vector<uint8_t> rows(store.rows_bytes(kProbe));
  start = Clock::now();
  LL_RETURN_IF_ERROR(store.write_rows(0, kProbe, rows.data()));
  LL_RETURN_IF_ERROR(finish());
  rates_.load_bytes_per_s = static_cast<double>(rows.size()) / std::max(seconds_since(start), 1e-6);
  store.truncate(0);
  return {};
}

// Waits for the device: before a clock is read.
Status Engine::finish() {
  for (const ComputeDevice& device : parts_->devices.all)
    LL_RETURN_IF_ERROR(device.backend->finish(device.backend->self));
  return {};
}

std::filesystem::path Engine::memory_path(const DocumentInput& document, const std::filesystem::path& folder) const {
  return folder / file_name(document.id, parts_->transformer->model().fingerprint());
}

namespace {

// Each time: another process may have encoded the document meanwhile.
void look_at(const std::filesystem::path& path, const MemoryPlan& plan, std::unique_ptr<MemoryFile>& file) {
  if (file != nullptr && file->is_current()) return;
  auto found = MemoryFile::open(path, plan);
  file = found.ok() ? std::move(*found) : nullptr;
}

}  // namespace

Engine::OpenDocument& Engine::open_document(const DocumentInput& document, const std::filesystem::path& folder) {
  const uint64_t text = text_of(document);
  if (open_ == nullptr || open_->id != document.id || open_->key != document.key || open_->folder != folder ||
      open_->text != text) {
    open_ = std::make_unique<OpenDocument>();
    open_->id = document.id;
    open_->key = document.key;
    open_->text = text;
    open_->folder = folder;
    open_->plan = plan_memory(parts_->transformer->model(), *parts_->tokenizer,
                              prompt_prefix(*parts_->tokenizer, facts_.chat, document.title), document,
                              parts_->store->type(), window_limits(facts_.config));
    if (parts_->learned != nullptr) {
      const int piece = piece_length(parts_->learned->settings(), facts_.config.context_tokens);
      open_->tree = text_tree(document, *parts_->tokenizer, piece, open_->keys);
      open_->children = children_of(open_->tree.parents);
      for (size_t i = 0; i < open_->keys.size(); ++i) open_->places.try_emplace(open_->keys[i], static_cast<int>(i));
      open_->learned_plan = parts_->learned->plan(open_->tree, open_->keys);
    }
  }
  look_at(memory_path(document, folder), open_->plan, open_->file);
  if (parts_->learned != nullptr)
    look_at(parts_->learned->path_of(folder, document.id), open_->learned_plan, open_->learned_file);
  return *open_;
}

Result<EncodeReport> Engine::encode(const DocumentInput& document, const std::filesystem::path& folder,
                                    const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop,
                                    const EncodeParts& parts) {
  return guarded([&] { return encode_now(document, folder, progress, stop, parts); });
}

Result<EncodeReport> Engine::encode_now(const DocumentInput& document, const std::filesystem::path& folder,
                                        const std::function<void(const EncodeProgress&)>& progress,
                                        std::stop_token stop, const EncodeParts& parts) {
  const auto start = Clock::now();
  const OpenDocument& open = open_document(document, folder);
  const bool makes_nodes = parts.nodes && parts_->learned != nullptr;
  EncodeReport report;
  EncodeProgress state;
  if (makes_nodes) {
    state.nodes = report.nodes = open.learned_plan.entries.size();
    for (const auto& tokens : open.tree.tokens) state.tokens += count(tokens);
  }
  const auto on_leaves = [&, of_nodes = state.tokens](const EncodeProgress& now) {
    state.leaves_done = now.leaves_done, state.leaves = now.leaves;
    state.tokens_done = now.tokens_done, state.tokens = now.tokens + of_nodes;
    if (progress) progress(state);
  };
  if (parts.leaves) LL_RETURN_IF_ERROR(encode_leaves(open, memory_path(document, folder), on_leaves, stop, report));
  const auto on_node = [&](size_t tokens) {
    ++state.nodes_done;
    state.tokens_done += static_cast<int64_t>(tokens);
    if (progress) progress(state);
  };
  if (makes_nodes) LL_RETURN_IF_ERROR(encode_nodes(open, on_node, stop, report));
  report.seconds = seconds_since(start);
  return report;
}

Status Engine::encode_leaves(const OpenDocument& open, const std::filesystem::path& path,
                             const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop,
                             EncodeReport& report) {
  LL_ASSIGN_OR_RETURN(const auto file, MemoryFile::open_or_create(path, open.plan));
  report.leaves = open.plan.entries.size() - 1;
  report.bytes = file->bytes();
  for (size_t i = 1; i < open.plan.entries.size(); ++i)
    if (!file->has(i)) report.tokens += count(open.plan.entries[i].tokens);
  return encode_document(*parts_->transformer, *parts_->store, *file, window_limits(facts_.config), progress,
                         std::move(stop));
}

Status Engine::encode_nodes(const OpenDocument& open, const std::function<void(size_t)>& progress, std::stop_token stop,
                            EncodeReport& report) {
  LearnedMemory& learned = *parts_->learned;
  const KnownMemories known =
      open.is_learned() ? KnownMemories() : learned.known(open.tree, open.folder);  // before it is begun anew
  LL_ASSIGN_OR_RETURN(const auto file,
                      MemoryFile::open_or_create(learned.path_of(open.folder, open.id), open.learned_plan));
  LL_ASSIGN_OR_RETURN(const int64_t tokens,
                      learned.encode(open.tree, *parts_->store, known, *file, progress, std::move(stop)));
  report.tokens += tokens;
  report.node_bytes = file->bytes();
  return {};
}

EncodedCounts Engine::encoded(const DocumentInput& document, const std::filesystem::path& folder) {
  if (!revive().ok()) return {};
  const OpenDocument& open = open_document(document, folder);
  EncodedCounts counts;
  if (open.file != nullptr) counts.leaves = open.file->count_done() - (open.file->has(0) ? 1 : 0);
  if (open.learned_file != nullptr) counts.nodes = open.learned_file->count_done();
  return counts;
}

std::shared_ptr<const NodeMemory> Engine::node_memory(const DocumentInput& document,
                                                      const std::filesystem::path& folder) {
  if (!revive().ok()) return std::make_shared<NodeMemory>();
  OpenDocument& open = open_document(document, folder);
  const size_t done = open.file == nullptr ? 0 : open.file->count_done();
  if (done < open.plan.entries.size()) {
    open.memory = std::make_shared<NodeMemory>();
    open.memory_of = 0;
  } else if (open.memory_of != done) {
    NodeVectors leaves;
    for (size_t i = 1; i < open.plan.entries.size(); ++i)
      if (auto vector = open.file->read_vector(i); vector.ok()) leaves[open.plan.entries[i].node] = std::move(*vector);
    open.memory = std::make_shared<NodeMemory>(make_node_memory(document.nodes, leaves));
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
