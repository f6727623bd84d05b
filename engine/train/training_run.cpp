#include "engine/train/training_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>

#include "engine/base/checksum.h"
#include "engine/base/files.h"
#include "engine/memory/encoder.h"
#include "engine/train/beginning.h"
#include "engine/train/memory_trainer.h"
#include "engine/train/recurrent_trainer.h"
#include "engine/train/sentences.h"
#include "engine/train/training_log.h"
#include "engine/train/training_memory.h"

namespace longleaf::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes kLongestUnsaved{2};

constexpr const char* kReconstruct = "Repeat the text:\n";

// What stands in OUT.state in front of the parameters.
struct StateHead {
  char magic[8];
  uint64_t key;
  int64_t scores, no_better;
  double best_loss, best_right, best_leaves, best_tokens, best_questions;
};
constexpr char kMagic[9] = "LLmemtr4";

std::filesystem::path beside(const std::filesystem::path& out, const char* ending) { return out.string() + ending; }

// Every setting that decides what is learnt, as bytes.
std::string described(const TrainingOptions& o) {
  const MemoryTrainingSettings& s = o.steps;
  const OptimizerSettings& z = s.optimizer;
  const double numbers[] = {double{o.lora.alpha},
                            double{o.memory.query_fraction},
                            double{s.route_weight},
                            double{s.reconstruction_weight},
                            double{s.temperature},
                            double{s.text_weight},
                            s.drop_gold,
                            o.held_out,
                            double{z.rate},
                            double{z.last_rate},
                            double{z.beta1},
                            double{z.beta2},
                            double{z.epsilon},
                            double{z.decay},
                            double{z.clip}};
  std::vector<int64_t> counts = {o.lora.rank,
                                 static_cast<int64_t>(o.lora.seed),
                                 o.memory.d_routing,
                                 o.memory.scales,
                                 static_cast<int64_t>(o.memory.seed),
                                 static_cast<int64_t>(o.memory.method),
                                 s.corpus_steps,
                                 z.total_steps,
                                 z.warm_up_steps,
                                 z.first_steps,
                                 s.tokens_per_corpus_step,
                                 s.questions_per_step,
                                 static_cast<int64_t>(s.seed),
                                 o.score_every,
                                 o.most_scored,
                                 o.patience};
  if (o.memory.method == MemoryMethod::Tree)
    for (const int64_t n : {static_cast<int64_t>(o.memory.aggregation), int64_t{s.most_nodes}, int64_t{s.begins_short},
                            int64_t{s.descent.children}, int64_t{s.descent.most_depth}, int64_t{s.descent.most_nodes}})
      counts.push_back(n);
  else
    for (const int n : {o.memory.segment_tokens, o.memory.sensory_tokens, o.memory.recalled, s.most_segments})
      counts.push_back(n);
  std::string text(reinterpret_cast<const char*>(numbers), sizeof numbers);
  text.append(reinterpret_cast<const char*>(counts.data()), counts.size() * sizeof(int64_t));
  for (const std::string& target : o.lora.targets) text += target + " ";
  return text;
}

}  // namespace

void set_steps(TrainingOptions& options, int64_t steps, double corpus_share, bool has_questions) {
  options.steps.optimizer.total_steps = steps;
  options.steps.optimizer.warm_up_steps = std::min<int64_t>(100, steps / 10);
  options.steps.corpus_steps = has_questions ? std::llround(corpus_share * static_cast<double>(steps)) : steps;
  options.steps.optimizer.first_steps = options.steps.corpus_steps;
}

TrainingRun::~TrainingRun() = default;

int64_t TrainingRun::steps_done() const { return parameters_->steps(); }

Result<std::unique_ptr<TrainingRun>> TrainingRun::prepare(const TrainingOptions& options, const TrainingInput& input,
                                                          std::stop_token stop) {
  auto run = prepare_on_device(options, input, stop);
  const Status refused = run.status();
  const bool is_of_device = refused.code() == Code::NoMemory || refused.code() == Code::Unsupported;
  if (options.device != "auto" || !is_of_device) return run;
  TrainingOptions processor = options;
  processor.device = "cpu";
  run = prepare_on_device(processor, input, std::move(stop));
  if (run.ok()) (*run)->plan_.device_note = "The processor trains: " + refused.message();
  return run;
}

Result<std::unique_ptr<TrainingRun>> TrainingRun::prepare_on_device(const TrainingOptions& options,
                                                                    const TrainingInput& input, std::stop_token stop) {
  std::unique_ptr<TrainingRun> run(new TrainingRun);
  run->options_ = options;
  LL_RETURN_IF_ERROR(run->open_device());
  LL_RETURN_IF_ERROR(run->open_model());
  LL_RETURN_IF_ERROR(run->take_texts(input, stop));
  run->state_needs();
  LL_RETURN_IF_ERROR(run->check_memory());
  LL_RETURN_IF_ERROR(run->take_up());
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

TrainingDocument TrainingRun::document(const DocumentInput& from, std::vector<int64_t>& keys) const {
  TrainingDocument document{prompt_prefix(*tokenizer_, chat_, from.title),
                            text_tree(from, *tokenizer_, decoder_->config().context_tokens, keys),
                            {}};
  if (options_.memory.method == MemoryMethod::Tree && options_.steps.begins_short)
    for (const auto& tokens : document.tree.tokens) document.sentences.push_back(sentence_starts(*tokenizer_, tokens));
  return document;
}

Status TrainingRun::take_texts(const TrainingInput& input, const std::stop_token& stop) {
  std::vector<std::vector<int64_t>> keys(input.documents.size());
  key_ = fingerprint(described(options_), model_ ^ begun_with_);
  for (size_t i = 0; i < input.documents.size(); ++i) {
    if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
    documents_.push_back(document(input.documents[i], keys[i]));
    const TextTree& tree = documents_.back().tree;
    for (const auto& tokens : tree.tokens) {
      plan_.tokens += static_cast<int64_t>(tokens.size());
      plan_.leaves += tokens.empty() ? 0 : 1;
      key_ = fingerprint(tokens, key_);
    }
    key_ = fingerprint(documents_.back().opening, fingerprint(tree.parents, key_));
  }
  plan_.documents = documents_.size();
  if (plan_.tokens == 0) return Status(Code::Invalid, "There is no text to train on; name documents that have some");
  return take_questions(input, keys);
}

Status TrainingRun::take_questions(const TrainingInput& input, const std::vector<std::vector<int64_t>>& keys) {
  // Every so many, the first of them half way: of few questions, one.
  const auto before = [&](size_t n) { return std::floor(static_cast<double>(n) * options_.held_out + 0.5); };
  for (size_t i = 0; i < input.questions.size(); ++i) {
    const TrainingInput::Question& from = input.questions[i];
    TrainingQuestion q;
    q.document = from.document;
    q.words = tokenizer_->encode(from.question);
    q.asked = encode_pieces(*tokenizer_, document_prompt(chat_, "", {}, from.question).after);
    q.answer = tokenizer_->encode((chat_.is_plain() ? " " : "") + from.answer);
    if (const TokenId end = tokenizer_->end(); end >= 0) q.answer.push_back(end);
    const auto& own = keys[from.document];
    for (const int64_t leaf : from.leaves)
      if (const auto it = std::find(own.begin(), own.end(), leaf); it != own.end())
        q.gold.push_back(static_cast<int>(it - own.begin()));
    const size_t most_memories = options_.memory.method == MemoryMethod::Recurrent
                                     ? 1 + static_cast<size_t>(options_.memory.sensory_tokens)
                                     : std::min(own.size(), static_cast<size_t>(options_.steps.descent.most_nodes));
    const size_t tokens = documents_[from.document].opening.size() + most_memories + q.asked.size() + q.answer.size();
    if (q.words.empty() || from.answer.find_first_not_of(" \t\n") == std::string::npos ||
        tokens > static_cast<size_t>(decoder_->config().context_tokens)) {
      ++plan_.left_out;
      continue;
    }
    key_ = fingerprint(q.gold, fingerprint(q.answer, fingerprint(q.asked, key_)));
    key_ = fingerprint(std::vector{q.document}, key_);
    (before(i + 1) > before(i) ? held_out_ : questions_).push_back(std::move(q));
  }
  plan_.questions = questions_.size();
  plan_.held_out = held_out_.size();
  if (questions_.empty() && (options_.steps.corpus_steps == 0 || !input.questions.empty()))
    return Status(Code::Invalid, input.questions.empty()
                                     ? "There are neither questions nor steps on the text to train with"
                                     : "No question is left to train with: questions and answers need words, and some "
                                       "are held out for scores");
  return {};
}

void TrainingRun::state_needs() {
  plan_.parameters = parameters_->size();
  const StepTokens most = trainer_->most_tokens(documents_, questions_);
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
                                    " MiB of memory and " + most.text +
                                    "; choose --device cpu, or a smaller model");
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

// OUT and what stands beside it, as an earlier run left them, or nothing at all.
Status TrainingRun::take_up() {
  const std::filesystem::path state = beside(options_.out, ".state"), log = beside(options_.out, ".csv");
  auto saved = read_file(state);
  if (saved.status().code() == Code::NotFound) {
    std::error_code ignored;
    const auto there = read_file(log);  // of a run that ended before it saved anything, it may go
    const bool foreign_log =
        there.status().code() != Code::NotFound && !(there.ok() && there->starts_with(training_log_columns()));
    if (foreign_log || std::filesystem::exists(options_.out, ignored))
      return Status(Code::Invalid, "The file " + (foreign_log ? log : options_.out).string() +
                                       " is there already, and is not of a training that could go on; choose another "
                                       "name, or move it away");
    return write_file(log, training_log_columns());
  }
  LL_RETURN_IF_ERROR(saved.status());
  StateHead head{};
  if (saved->size() >= sizeof head) std::memcpy(&head, saved->data(), sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof head.magic) != 0 || head.key != key_)
    return Status(Code::Invalid, "The file " + state.string() +
                                     " belongs to a training with other texts or settings; go on with those, or choose "
                                     "another name for what is trained now");
  LL_RETURN_IF_ERROR(parameters_->restore(std::string_view(*saved).substr(sizeof head)));
  scores_ = head.scores, no_better_ = head.no_better;
  if (head.best_questions > 0)
    best_ = MemoryScores{static_cast<size_t>(head.best_questions),
                         head.best_loss,
                         head.best_right,
                         {},
                         head.best_leaves,
                         head.best_tokens};
  auto lines = read_file(log);
  return write_file(
      log, lines.ok() ? training_log_up_to(*lines, parameters_->steps()) : std::string(training_log_columns()));
}

Status TrainingRun::save_state() {
  StateHead head{{}, key_, scores_, no_better_, 0, 0, 0, 0, 0};
  std::memcpy(head.magic, kMagic, sizeof head.magic);
  if (best_) {
    head.best_loss = best_->answer_loss, head.best_right = best_->right, head.best_leaves = best_->gold_leaves_survive;
    head.best_tokens = best_->memory_tokens, head.best_questions = static_cast<double>(best_->questions);
  }
  LL_ASSIGN_OR_RETURN(const std::string state, parameters_->state({reinterpret_cast<const char*>(&head), sizeof head}));
  return write_file(beside(options_.out, ".state"), state);
}

Status TrainingRun::save_adapter_file() {
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
  LL_ASSIGN_OR_RETURN(const std::string lines, read_file(beside(options_.out, ".csv")));
  return parse_training_log(lines);
}

Result<MemoryScores> TrainingRun::score() {
  const std::span<const TrainingQuestion> some =
      std::span(held_out_).first(std::min(held_out_.size(), static_cast<size_t>(options_.most_scored)));
  return trainer_->score(documents_, some);
}

Status TrainingRun::note(const TrainingProgress& progress) {
  return append_to_file(beside(options_.out, ".csv"), training_log_line(progress.step, progress.scores));
}

// Scores what is held out, where it is time to, and notes whether it got better. True where this is the best so far.
Result<bool> TrainingRun::score_step(TrainingProgress& progress) {
  if (held_out_.empty() || progress.step.corpus) return scores_ == 0;  // then the last is the best
  LL_ASSIGN_OR_RETURN(progress.scores, score());
  const double loss = progress.scores->answer_loss;
  const bool better = std::isfinite(loss) && (!best_ || loss < best_->answer_loss);
  ++scores_;
  no_better_ = better ? 0 : no_better_ + 1;
  if (better) best_ = progress.scores;
  return better;
}

Result<TrainingResult> TrainingRun::run(const std::function<void(const TrainingProgress&)>& on_progress,
                                        std::stop_token stop) {
  const auto begin = Clock::now();
  auto saved = begin;
  const int64_t first = steps_done(), total = options_.steps.optimizer.total_steps;
  TrainingResult result;
  const auto is_over = [&] { return no_better_ >= options_.patience; };
  while (steps_done() < total && !is_over()) {
    if (stop.stop_requested()) {
      result.stopped = true;
      break;
    }
    TrainingProgress progress;
    LL_ASSIGN_OR_RETURN(progress.step, trainer_->step(documents_, questions_));
    const int64_t step = progress.step.step;
    const bool due = step % options_.score_every == 0 || step == total;
    const bool is_late = Clock::now() - saved >= kLongestUnsaved;
    bool better = false;
    if (due || is_late) LL_RETURN_IF_ERROR(parameters_->check_values());  // what is saved can be gone on with
    if (due) {
      LL_ASSIGN_OR_RETURN(better, score_step(progress));
    }
    progress.total_steps = total;
    progress.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    progress.seconds_left = progress.seconds / static_cast<double>(step - first) * static_cast<double>(total - step);
    LL_RETURN_IF_ERROR(note(progress));
    if (due || is_late) {
      LL_RETURN_IF_ERROR(save_state());
      saved = Clock::now();
    }
    if (due && better) LL_RETURN_IF_ERROR(save_adapter_file());
    if (on_progress) on_progress(progress);
  }
  if (result.stopped) {
    LL_RETURN_IF_ERROR(parameters_->check_values());
    LL_RETURN_IF_ERROR(save_state());
  }
  // What there is, where scores have not chosen yet, or where the file was taken away.
  std::error_code ignored;
  const bool is_missing = result.stopped ? scores_ == 0 : !std::filesystem::exists(options_.out, ignored);
  if (is_missing && steps_done() > 0) LL_RETURN_IF_ERROR(save_adapter_file());
  result.steps = steps_done();
  result.early = is_over();
  result.best = best_;
  result.peak_bytes = backend_->memory(backend_->self).peak_bytes;
  return result;
}

}  // namespace longleaf::train
