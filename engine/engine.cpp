#include "engine/engine.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "engine/base/checksum.h"
#include "engine/parts.h"

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int64_t count(const std::vector<TokenId>& tokens) { return static_cast<int64_t>(tokens.size()); }

uint64_t text_of(const DocumentInput& document) {
  uint64_t key = fingerprint(document.title);
  for (const DocumentNode& node : document.nodes)
    key = fingerprint(node.text, fingerprint(std::vector{node.key, node.parent, int64_t{node.is_leaf}}, key));
  return key;
}

// What a memory file is made by.
uint64_t maker_of(const Model& model, kernels::DType kv) {
  if (kv == kernels::DType::F16) return model.fingerprint();
  return fingerprint(std::vector{static_cast<uint64_t>(kv)}, model.fingerprint());
}

std::string file_name(const std::string& document_id, uint64_t model) {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%016llx.llm", static_cast<unsigned long long>(model));
  return document_id + tail;
}

}  // namespace

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

std::filesystem::path Engine::memory_path(const std::string& document_id, const std::filesystem::path& folder,
                                          kernels::DType kv) const {
  return folder / file_name(document_id, maker_of(parts_->transformer->model(), kv));
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
  look_at(memory_path(document.id, folder, options_.kv), open_->plan, open_->file);
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
  if (parts.leaves) LL_RETURN_IF_ERROR(encode_leaves(open, on_leaves, stop, report));
  const auto on_node = [&](size_t tokens) {
    ++state.nodes_done;
    state.tokens_done += static_cast<int64_t>(tokens);
    if (progress) progress(state);
  };
  if (makes_nodes) LL_RETURN_IF_ERROR(encode_nodes(open, on_node, stop, report));
  report.seconds = seconds_since(start);
  return report;
}

// When it is whole, keys and values of the same text in other formats only take room.
Status Engine::encode_leaves(const OpenDocument& open, const std::function<void(const EncodeProgress&)>& progress,
                             std::stop_token stop, EncodeReport& report) {
  LL_ASSIGN_OR_RETURN(const auto file,
                      MemoryFile::open_or_create(memory_path(open.id, open.folder, options_.kv), open.plan));
  report.leaves = open.plan.entries.size() - 1;
  report.bytes = file->bytes();
  for (size_t i = 1; i < open.plan.entries.size(); ++i)
    if (!file->has(i)) report.tokens += count(open.plan.entries[i].tokens);
  LL_RETURN_IF_ERROR(encode_document(*parts_->transformer, *parts_->store, *file, window_limits(facts_.config),
                                     progress, std::move(stop)));
  std::error_code ignored;
  for (const KvFormat& format : kKvFormats)
    if (format.type != options_.kv) std::filesystem::remove(memory_path(open.id, open.folder, format.type), ignored);
  return {};
}

std::string Engine::other_kv(const OpenDocument& open) const {
  std::error_code ignored;
  for (const KvFormat& format : kKvFormats)
    if (format.type != options_.kv && std::filesystem::exists(memory_path(open.id, open.folder, format.type), ignored))
      return format.name;
  return {};
}

Status Engine::use_kv(kernels::DType kv) {
  if (kv == options_.kv) return {};
  LL_RETURN_IF_ERROR(KvStore::check_format(facts_.config, kv));
  rest();
  options_.kv = kv;
  return describe();
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
