// What a model needs, which devices get it, and how it is opened anew when one is full or gone.
#include <algorithm>
#include <numeric>

#include "engine/base/host_memory.h"
#include "engine/model/decoder_tensors.h"
#include "engine/parts.h"
#include "kernels/cpu_backend.h"
#include "kernels/cuda_backend.h"

namespace longleaf {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kStatedTokens = 4096;  // KV counted in "memory it will need"

// KV counted in what a model is said to need of a card: that of a window, for cards are for encoding too.
int card_tokens(const ModelConfig& config) { return std::max(kStatedTokens, window_limits(config).window_tokens); }

// What an adapter adds to a product, for the tokens of a batch.
uint64_t added_bytes(const ModelConfig& c) {
  const int widest = std::max({c.d_model, c.d_ff, c.n_heads * c.head_dim});
  return uint64_t{kernels::kCudaBatchTokens} * static_cast<uint64_t>(widest) * 2 * sizeof(float);
}

// What is asked for, or F16 for heads that do not fit it.
kernels::DType possible_kv(const ModelConfig& config, kernels::DType kv) {
  return KvStore::check_format(config, kv).ok() ? kv : kernels::DType::F16;
}

MemoryNeeds parts_of(const ModelNeeds& needs, uint64_t table_bytes) {
  const uint64_t workspace = needs.workspace_bytes + needs.logit_bytes;
  return {needs.all() - needs.kv_bytes - workspace, needs.kv_bytes, workspace, table_bytes};
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

// What helps besides a smaller model.
std::string or_smaller_kv(const ModelConfig& config, kernels::DType kv) {
  const bool helps = kv != kernels::DType::Q8_0 && KvStore::check_format(config, kernels::DType::Q8_0).ok();
  return helps ? ", or keep keys and values in 8 bits (--kv q8_0)" : "";
}

//   limit_bytes  that the user set for it; 0: none
Status has_room(const kernels::Backend& processor, uint64_t needed, size_t limit_bytes, const std::string& or_else) {
  const uint64_t machine = processor.memory(processor.self).total_bytes;
  const bool is_limited = limit_bytes != 0 && limit_bytes < machine;
  const uint64_t most = is_limited ? limit_bytes : machine;
  if (most == 0 || needed <= most) return {};
  return Status(Code::NoMemory, "The model needs " + std::to_string(needed >> 20) + " MiB and " +
                                    (is_limited ? "may have " : "this machine has ") + std::to_string(most >> 20) +
                                    " MiB; choose a smaller model" + or_else);
}

// Besides other programs, at this moment. Whoever sets a limit knows better.
Status is_left(uint64_t needed, const std::string& or_else) {
  const auto free = free_host_memory();
  if (!free || needed <= *free) return {};
  return Status(Code::NoMemory, "The model needs " + std::to_string(needed >> 20) + " MiB and this machine has " +
                                    std::to_string(*free >> 20) +
                                    " MiB left; close other programs, choose a smaller model, or set --memory-limit" +
                                    or_else);
}

uint64_t file_bytes(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : bytes;
}

}  // namespace

Result<ModelFacts> describe_model(const std::filesystem::path& path, kernels::DType kv) {
  LL_ASSIGN_OR_RETURN(const auto file, ModelFile::open(path));
  ModelFacts facts;
  LL_ASSIGN_OR_RETURN(facts.config, read_model_config(*file));
  const Status tensors = check_decoder_tensors(*file, facts.config);
  LL_RETURN_IF_ERROR(file->check());
  LL_RETURN_IF_ERROR(tensors);
  facts.chat = ChatStyle::of(*file);
  facts.path = path.string();
  kv = possible_kv(facts.config, kv);
  facts.kv_bytes_per_token = KvStore::bytes_per_token(facts.config, kv);
  facts.needed = parts_of(needs_on_processor(facts.config, kv, kStatedTokens), facts.config.table_bytes);
  facts.needed_tokens = kStatedTokens;
  facts.card_tokens = card_tokens(facts.config);
  facts.needed_card = parts_of(needs_on_card(facts.config, kv, card_tokens(facts.config)), 0);
  return facts;
}

Result<std::unique_ptr<Engine>> Engine::load(const std::filesystem::path& path, const EngineOptions& options) {
  const auto start = Clock::now();
  std::unique_ptr<Engine> engine(new Engine);
  engine->options_ = options;
  engine->facts_.path = path.string();
  LL_RETURN_IF_ERROR(engine->describe());
  LL_RETURN_IF_ERROR(KvStore::check_format(engine->facts_.config, options.kv));
  Status status = engine->start(options.device);
  // A card that fills up or fails while the model is loaded is no reason to have none.
  const bool steps_down = options.device == "auto" && !engine->is_resting() && engine->parts_->devices.has_gpu() &&
                          (status.code() == Code::NoMemory || status.code() == Code::DeviceLost);
  if (steps_down)
    status =
        status.code() == Code::NoMemory ? engine->place_again(status.message()) : engine->step_down(status.message());
  if (!status.ok()) return status;
  engine->load_ms_ = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  return engine;
}

Status Engine::describe() {
  LL_ASSIGN_OR_RETURN(facts_, describe_model(facts_.path, options_.kv));
  needed_bytes_ = facts_.needed.all() + file_bytes(options_.adapter);
  table_bytes_ = facts_.config.table_bytes;
  if (options_.draft.empty()) return {};
  LL_ASSIGN_OR_RETURN(const ModelFacts draft, describe_model(options_.draft, options_.kv));
  needed_bytes_ += draft.needed.all();
  table_bytes_ += draft.config.table_bytes;
  return {};
}

Result<ModelNeeds> Engine::needs_with_draft(int n_tokens) const {
  ModelNeeds needs = needs_on_card(facts_.config, options_.kv, n_tokens);
  if (!options_.draft.empty()) {
    LL_ASSIGN_OR_RETURN(const ModelFacts draft, describe_model(options_.draft, options_.kv));
    needs.output_bytes += needs_on_card(draft.config, possible_kv(draft.config, options_.kv), kStatedTokens).all();
  }
  if (!options_.adapter.empty()) {
    needs.output_bytes += file_bytes(options_.adapter);
    needs.workspace_bytes += added_bytes(facts_.config);
  }
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
  const std::string or_else = or_smaller_kv(facts_.config, options_.kv);
  if (parts_->devices.has_gpu()) {
    stated_device_bytes_ = needed_on(parts_->devices, request.needs, true);
    return first.is_gpu ? Status()
                        : has_room(*first.backend, needed_on(parts_->devices, request.needs, false), 0, or_else);
  }
  stated_device_bytes_ = needed_bytes_ - table_bytes_;  // tables stay in the file's pages
  LL_RETURN_IF_ERROR(has_room(*first.backend, stated_device_bytes_, name == "cpu" ? limit : 0, or_else));
  return options_.memory_limit_bytes == 0 ? is_left(stated_device_bytes_, or_else) : Status();
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
  parts.store = std::make_unique<KvStore>(facts_.config, placement, options_.kv, kept_tokens_);
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
  LL_RETURN_IF_ERROR(describe_model(facts_.path, options_.kv).status());  // no other device has what the disk has not
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
  LL_ASSIGN_OR_RETURN(parts_->draft, Draft::create(model, possible_kv(model->config(), options_.kv)));
  return {};
}

Result<std::unique_ptr<LearnedMemory>> Engine::load_learned(const std::filesystem::path& path) {
  const Model& model = parts_->transformer->model();
  LL_ASSIGN_OR_RETURN(const auto adapter, load_adapter(path, *parts_->file, model.fingerprint()));
  return LearnedMemory::load(adapter, *parts_->transformer, options_.kv);
}

Status Engine::use_adapter(const std::filesystem::path& adapter) {
  LL_RETURN_IF_ERROR(revive());
  LL_ASSIGN_OR_RETURN(auto learned, load_learned(adapter));
  open_.reset();
  parts_->learned = std::move(learned);
  options_.adapter = adapter;
  return {};
}

}  // namespace longleaf
