#include "engine/train/training_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/checksum.h"
#include "engine/base/files.h"
#include "engine/memory/encoder.h"
#include "engine/train/beginning.h"
#include "engine/train/memory_trainer.h"
#include "engine/train/recurrent_trainer.h"
#include "engine/train/training_memory.h"

namespace longleaf::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes kLongestUnsaved{2};

constexpr const char* kReconstruct = "Repeat the text:\n";

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

}  // namespace

TrainingRun::~TrainingRun() = default;

int64_t TrainingRun::steps_done() const { return parameters_->steps(); }

Result<std::unique_ptr<TrainingRun>> TrainingRun::prepare(const TrainingOptions& options, const TrainingInput& input,
                                                          std::stop_token stop) {
  LL_ASSIGN_OR_RETURN(auto run, open(options, input, std::move(stop)));
  LL_RETURN_IF_ERROR(run->state_->take_up(*run->parameters_, run->history_));
  return run;
}

Status TrainingRun::check(const TrainingOptions& options, const TrainingInput& input, std::stop_token stop) {
  TrainingOptions on_text = options;
  on_text.steps.corpus_steps = options.steps.optimizer.total_steps;
  if (options.steps.corpus_steps == 0) on_text.steps.tokens_per_corpus_step = 1;  // which are no need of this training
  LL_ASSIGN_OR_RETURN(const auto run, open(on_text, input, std::move(stop)));
  return run->state_->check();
}

Result<std::unique_ptr<TrainingRun>> TrainingRun::open(const TrainingOptions& options, const TrainingInput& input,
                                                       std::stop_token stop) {
  auto run = open_on_device(options, input, stop);
  const Status refused = run.status();
  const bool is_of_device = refused.code() == Code::NoMemory || refused.code() == Code::Unsupported;
  if (options.device != "auto" || !is_of_device) return run;
  TrainingOptions processor = options;
  processor.device = "cpu";
  run = open_on_device(processor, input, std::move(stop));
  if (run.ok()) (*run)->plan_.device_note = "The processor trains: " + refused.message();
  return run;
}

Result<std::unique_ptr<TrainingRun>> TrainingRun::open_on_device(const TrainingOptions& options,
                                                                 const TrainingInput& input, std::stop_token stop) {
  std::unique_ptr<TrainingRun> run(new TrainingRun);
  run->options_ = options;
  LL_RETURN_IF_ERROR(run->open_device());
  LL_RETURN_IF_ERROR(run->open_model());
  LL_RETURN_IF_ERROR(run->take_texts(input, stop));
  run->state_needs();
  LL_RETURN_IF_ERROR(run->check_memory());
  run->state_ = std::make_unique<TrainingState>(options.out, run->set_.key);
  return run;
}

Status TrainingRun::open_device() {
  DeviceRequest request;
  request.name = options_.device;
  request.n_threads = options_.n_threads, request.limit_bytes = options_.memory_limit_bytes, request.gpu = options_.gpu;
  LL_ASSIGN_OR_RETURN(ComputeDevices devices, open_one_device(request));
  is_card_ = devices.has_gpu();
  plan_.device = devices.name();
  backend_ = std::move(devices.all.front().backend);
  return {};
}

Status TrainingRun::open_model() {
  std::error_code ignored;
  if (std::filesystem::is_directory(options_.out, ignored))
    return Status(Code::Invalid, "The adapter is to be a file, and " + options_.out.string() + " is a folder");
  if (std::filesystem::equivalent(options_.model, options_.out, ignored))
    return Status(Code::Invalid,
                  "The file " + options_.out.string() + " is the model itself; give the adapter another name");
  LL_ASSIGN_OR_RETURN(file_, ModelFile::open(options_.model));
  LL_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::load(file_));
  chat_ = ChatStyle::of(*file_);
  model_ = fingerprint_of(*file_);
  LL_ASSIGN_OR_RETURN(const AdapterContents begun, beginning());
  options_.memory.piece_tokens = options_.piece_tokens.value_or(options_.memory.piece_tokens);
  options_.memory.children = options_.children.value_or(options_.memory.children);
  options_.steps.descent.children = options_.memory.children;
  parameters_ = std::make_unique<Parameters>(*backend_);
  LL_RETURN_IF_ERROR(check_weights());
  const DecoderSettings settings{.all_weights = false, .keeps_layers = false, .lora = options_.lora};
  LL_ASSIGN_OR_RETURN(decoder_, Decoder::create(file_, *backend_, *parameters_, settings));
  LL_RETURN_IF_ERROR(backend_->training->takes_heads(backend_->self, decoder_->config().head_dim));
  LL_ASSIGN_OR_RETURN(memory_, MemoryModel::create(*decoder_, *parameters_, options_.memory));
  if (!options_.begin.empty()) LL_RETURN_IF_ERROR(take_values(begun, *parameters_));
  options_.memory = memory_->weights().settings();
  const MemorySettings& memory = options_.memory;
  if (memory.method == MemoryMethod::Recurrent &&
      memory.segment_tokens + memory.sensory_tokens + 2 > decoder_->config().context_tokens)
    return Status(Code::Invalid, "A segment with the text in front of it is longer than this model can read (" +
                                     std::to_string(decoder_->config().context_tokens) +
                                     " tokens); make segments shorter");
  options_.steps.reconstruct = tokenizer_->encode(kReconstruct);
  if (options_.memory.method == MemoryMethod::Tree)
    trainer_ = std::make_unique<MemoryTrainer>(*decoder_, *memory_, *parameters_, *backend_, options_.steps);
  else
    trainer_ = std::make_unique<RecurrentTrainer>(*decoder_, *memory_, *parameters_, *backend_, options_.steps);
  return {};
}

// What options_.begin names, if any; options take its shape.
Result<AdapterContents> TrainingRun::beginning() {
  if (options_.begin.empty()) return AdapterContents();
  LL_ASSIGN_OR_RETURN(AdapterContents adapter, load_adapter(options_.begin, *file_, model_));
  LL_RETURN_IF_ERROR(take_shape(adapter, options_.lora, options_.memory));
  for (const AdapterTensor& tensor : adapter.tensors) begun_with_ = fingerprint(tensor.values, begun_with_);
  return adapter;
}

Status TrainingRun::take_texts(const TrainingInput& input, std::stop_token stop) {
  const uint64_t settings = fingerprint(described(options_), model_ ^ begun_with_);
  const TextReading reading{*tokenizer_, chat_, decoder_->config().context_tokens, options_};
  LL_ASSIGN_OR_RETURN(set_, read_training_set(input, reading, settings, std::move(stop)));
  plan_.documents = set_.documents.size(), plan_.leaves = set_.leaves, plan_.tokens = set_.tokens;
  plan_.questions = set_.questions.size(), plan_.held_out = set_.held_out.size(), plan_.left_out = set_.left_out;
  return {};
}

void TrainingRun::state_needs() {
  plan_.parameters = parameters_->size();
  plan_.method = options_.memory.method;
  const StepTokens most = trainer_->most_tokens(set_.documents, set_.questions);
  plan_.step_tokens = most.all;
  plan_.bytes = training_bytes(*decoder_, {plan_.parameters, most, is_card_});
}

// What training may take of the device, and of whom that is said.
TrainingRun::Room TrainingRun::room() const {
  const kernels::MemoryInfo memory = backend_->memory(backend_->self);
  const uint64_t there = is_card_ ? memory.free_bytes + memory.used_bytes : memory.total_bytes;
  const uint64_t limit = options_.memory_limit_bytes;
  const auto mib = [](uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  if (limit > 0 && (there == 0 || limit <= there)) return {limit, "may have " + mib(limit)};
  return {there, is_card_ ? plan_.device + " has " + mib(there) + " free" : "this machine has " + mib(there)};
}

// Before the weights are taken to a card, where they stay.
Status TrainingRun::check_weights() const {
  const Room most = room();
  if (!is_card_ || file_->bytes() <= most.bytes) return {};
  return Status(Code::NoMemory, "The model's weights take about " + std::to_string(file_->bytes() >> 20) +
                                    " MiB of memory and " + most.text + "; choose --device cpu, or a smaller model");
}

Status TrainingRun::check_memory() const {
  const Room most = room();
  if (most.bytes == 0 || plan_.bytes <= most.bytes) return {};
  return Status(Code::NoMemory, "Training would take about " + std::to_string(plan_.bytes >> 20) +
                                    " MiB of memory and " + most.text +
                                    "; let a step have fewer tokens, questions, nodes or segments, or choose a smaller "
                                    "model" +
                                    (is_card_ ? " or --device cpu" : ""));
}

Status TrainingRun::save_adapter_file() {
  LL_RETURN_IF_ERROR(parameters_->check_values());
  const ModelConfig& c = decoder_->config();
  AdapterContents contents;
  contents.model_title = c.title;
  contents.architecture = c.architecture->name;
  contents.model_fingerprint = model_;
  contents.lora_alpha = options_.lora.alpha;
  contents.lora_rank = options_.lora.rank;
  contents.memory = options_.memory;
  for (const Parameter& p : parameters_->all()) {
    LL_ASSIGN_OR_RETURN(std::vector<float> values, parameters_->values(p));
    contents.tensors.push_back({p.name, p.rows, p.cols, std::move(values)});
  }
  return save_adapter(options_.out, contents);
}

Result<std::vector<LoggedStep>> TrainingRun::log() const {
  LL_ASSIGN_OR_RETURN(const std::string lines, read_file(state_->log()));
  return parse_training_log(lines);
}

Result<double> TrainingRun::estimate(std::stop_token stop) {
  const int64_t total = options_.steps.optimizer.total_steps, done = steps_done();
  const int64_t corpus = std::max(done, set_.questions.empty() ? total : std::min(total, options_.steps.corpus_steps));
  double seconds = 0;
  for (const auto& [first, last] : {std::pair{done, corpus}, std::pair{corpus, total}}) {
    if (first >= last || is_over()) continue;
    LL_ASSIGN_OR_RETURN(const double one, seconds_of((first + last + 1) / 2, stop));
    seconds += one * static_cast<double>(last - first);
  }
  return seconds;
}

// The first time, weights may have to come from the disk.
Result<double> TrainingRun::seconds_of(int64_t step, const std::stop_token& stop) {
  constexpr double kQuick = 10;
  double seconds = 0;
  for (int i = 0; i < 2 && seconds < kQuick; ++i) {
    const auto begin = Clock::now();
    LL_RETURN_IF_ERROR(trainer_->rehearse(set_.documents, set_.questions, step, stop));
    seconds = seconds_since(begin);
  }
  return seconds;
}

bool TrainingRun::is_due(int64_t step) const {
  return step % options_.score_every == 0 || step == options_.steps.optimizer.total_steps;
}

// Scores what is held out, where it is time to, and notes whether it got better. True where this is the best so far.
Result<bool> TrainingRun::score_step(TrainingProgress& progress, std::stop_token stop) {
  if (set_.held_out.empty() || progress.step.corpus) return history_.scores == 0;  // then the last is the best
  const auto most = static_cast<size_t>(options_.most_scored);
  const auto some = std::span(set_.held_out).first(std::min(set_.held_out.size(), most));
  LL_ASSIGN_OR_RETURN(progress.scores,
                      trainer_->score(set_.documents, some, Trainer::Routing::Learned, std::move(stop)));
  const double worth = progress.scores->worth();
  const bool better = std::isfinite(worth) && (!history_.best || worth > history_.best->worth());
  ++history_.scores;
  history_.no_better = better ? 0 : history_.no_better + 1;
  if (better) history_.best = progress.scores;
  return better;
}

Status TrainingRun::save() {
  if (saved_step_ == steps_done()) return {};
  LL_RETURN_IF_ERROR(parameters_->check_values());  // what is saved can be gone on with
  LL_RETURN_IF_ERROR(state_->save(*parameters_, history_));
  saved_ = Clock::now();
  saved_step_ = steps_done();
  return {};
}

// A step, and what is due behind it. Cancelled: the step was not made. What is due is done in an order in which whoever
// kills the program finds a state whose adapter is there, or that of the step before.
Status TrainingRun::advance(TrainingProgress& progress, const std::stop_token& stop) {
  const bool due = is_due(steps_done() + 1);
  if (due) LL_RETURN_IF_ERROR(save());
  LL_ASSIGN_OR_RETURN(progress.step, trainer_->step(set_.documents, set_.questions, stop));
  LL_RETURN_IF_ERROR(file_->check());
  bool better = false;
  if (due) {
    const auto scored = score_step(progress, stop);
    if (scored.status().code() == Code::Cancelled) LL_RETURN_IF_ERROR(state_->take_back(*parameters_));
    LL_ASSIGN_OR_RETURN(better, scored);
  }
  LL_RETURN_IF_ERROR(append_to_file(state_->log(), training_log_line(progress.step, progress.scores)));
  if (better) LL_RETURN_IF_ERROR(save_adapter_file());
  return due || Clock::now() - saved_ >= kLongestUnsaved ? save() : Status();
}

Result<TrainingResult> TrainingRun::run(const std::function<void(const TrainingProgress&)>& on_progress,
                                        std::stop_token stop) {
  const auto begin = saved_ = Clock::now();
  const int64_t first = steps_done(), total = options_.steps.optimizer.total_steps;
  TrainingResult result;
  while (steps_done() < total && !is_over() && !result.stopped) {
    TrainingProgress progress;
    const Status status = advance(progress, stop);
    result.stopped = status.code() == Code::Cancelled;
    if (result.stopped) continue;
    LL_RETURN_IF_ERROR(status);
    const auto made = static_cast<double>(steps_done() - first), left = static_cast<double>(total - steps_done());
    progress.total_steps = total;
    progress.seconds = seconds_since(begin);
    progress.seconds_left = progress.seconds / made * left;
    if (on_progress) on_progress(progress);
  }
  if (result.stopped) LL_RETURN_IF_ERROR(save());
  // What there is, where scores have not chosen yet, or where the file was taken away.
  std::error_code ignored;
  const bool is_missing = result.stopped ? history_.scores == 0 : !std::filesystem::exists(options_.out, ignored);
  if (is_missing && steps_done() > 0) LL_RETURN_IF_ERROR(save_adapter_file());
  result.steps = steps_done();
  result.early = is_over();
  result.best = history_.best;
  result.peak_bytes = backend_->memory(backend_->self).peak_bytes;
  return result;
}

}  // namespace longleaf::train
