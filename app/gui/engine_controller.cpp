#include "app/gui/engine_controller.h"

#include <QLocale>

#include "app/gui/convert.h"
#include "app/places.h"
#include "engine/adapter/adapter_file.h"

namespace longleaf {

using Clock = std::chrono::steady_clock;

namespace {

constexpr size_t kTurnsRemembered = 2;
constexpr double kSecondsBetweenFigures = 0.1;
constexpr std::chrono::milliseconds kLongestTick{20000};  // between looks at whether there was work

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

EngineController::EngineController(std::filesystem::path folder, QObject* parent)
    : QObject(parent), folder_(std::move(folder)) {
  connect(&idleTimer_, &QTimer::timeout, this, [this] { thread_.post([this] { restIfIdle(); }); });
}

EngineController::~EngineController() {
  answerStop_.request_stop();
  encodeStop_.request_stop();
}

void EngineController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void EngineController::homeIfCurrent(quint64 id, std::function<void()> done) {
  home([this, id, done = std::move(done)] {
    if (id == current_) done();
  });
}

Result<Asking*> EngineController::asking() {
  if (library_ == nullptr) {
    LL_ASSIGN_OR_RETURN(library_, Library::open(folder_));
  }
  if (asking_ == nullptr) {
    asking_ = std::make_unique<Asking>(*library_, engine_.get(), embedder_.get());
    asking_->onReading([this](size_t done, size_t leaves) { showReading(done, leaves); });
  }
  return asking_.get();
}

void EngineController::showReading(size_t done, size_t leaves) {
  if (secondsSince(reading_shown_) < kSecondsBetweenFigures) return;
  reading_shown_ = Clock::now();
  const ui::JobItem job{tr("Reading for meaning"),
                        static_cast<qint64>(done),
                        static_cast<qint64>(leaves),
                        tr("leaves"),
                        -1,
                        false,
                        false};
  reading_ = true;
  home([this, job] { emit readingProgress(job); });
}

// Also when it was stopped halfway: what it was shown in is free again.
void EngineController::endReading() {
  if (reading_) home([this] { emit readingDone(); });
  reading_ = false;
}

void EngineController::openEmbedder(const QString& file) {
  auto loaded = Embedder::load(file.toStdString());
  if (!loaded.ok()) return home([this, file, text = toSentence(loaded.status())] { emit modelFailed(file, text); });
  asking_.reset();
  embedder_ = std::move(*loaded);
  home([this, file, title = QString::fromStdString(embedder_->facts().title)] { emit embedderOpened(file, title); });
}

ui::Figures EngineController::figures(const AnswerStats* stats) const {
  ui::Figures f;
  if (engine_ != nullptr) {
    const MemoryUse memory = engine_->memory_use();
    f.device = QString::fromStdString(engine_->device());
    f.deviceNote = QString::fromStdString(engine_->device_note());
    f.model = QString::fromStdString(engine_->facts().config.title);
    f.memoryUsed = memory.device_bytes;
    f.memoryTotal = memory.total_device_bytes;
    f.memoryOthers = memory.other_device_bytes;
  }
  if (stats == nullptr) return f;
  f.ttftMs = stats->ttft_ms;
  if (stats->prefill_tokens > 0) f.prefillPerSecond = stats->prefill_tokens_per_s;
  if (stats->decode_tokens > 1) f.decodePerSecond = stats->decode_tokens_per_s;
  return f;
}

void EngineController::openModel(const QString& file) {
  thread_.post([this, file] {
    if (is_embedder(file.toStdString())) return openEmbedder(file);
    if (is_adapter(file.toStdString())) return openAdapter(file);
    // What cannot be a model does not take the place of one.
    if (const auto facts = describe_model(file.toStdString()); !facts.ok())
      return home([this, file, text = toSentence(facts.status())] { emit modelFailed(file, text); });
    openLanguageModel(file);
  });
}

void EngineController::openAdapter(const QString& file) {
  const Status none(Code::Invalid, "This is a memory that was trained for a model; open that model first");
  const Status status = engine_ == nullptr ? none : engine_->use_adapter(file.toStdString());
  worked_ = Clock::now();
  if (!status.ok()) return home([this, file, text = toSentence(status)] { emit modelFailed(file, text); });
  adapterFile_ = file;
  QStringList kinds;
  for (const Evidence kind : engine_->memory_kinds()) kinds.append(QString::fromLatin1(name_of(kind)));
  home([this, file, kinds] { emit adapterOpened(file, kinds); });
}

QString EngineController::openingText(const ModelFacts& facts) {
  const auto size = [](uint64_t bytes) { return QLocale().formattedDataSize(static_cast<qint64>(bytes)); };
  const MemoryNeeds& needs = facts.needed;
  return tr("Opening %1. It needs about %2 of memory: %3 for weights, %4 for keys and values of %5 tokens, %6 to work "
            "in.")
      .arg(QString::fromStdString(facts.config.title), size(needs.all()), size(needs.weights + needs.table),
           size(needs.kv))
      .arg(facts.needed_tokens)
      .arg(size(needs.workspace));
}

void EngineController::openLanguageModel(const QString& file, const QString& adapter) {
  asking_.reset();
  engine_.reset();
  adapterFile_ = adapter;
  EngineOptions options;
  options.adapter = adapter.toStdString();
  options.memory_limit_bytes = memoryLimit_;
  const auto facts = describe_model(file.toStdString(), isCompact_ ? kernels::DType::Q8_0 : kernels::DType::F16);
  if (facts.ok()) {
    const bool fits = KvStore::check_format(facts->config, kernels::DType::Q8_0).ok();
    if (isCompact_ && fits) options.kv = kernels::DType::Q8_0;
    home([this, text = openingText(*facts)] { emit modelOpening(text); });
  }
  auto loaded = Engine::load(file.toStdString(), options);
  worked_ = Clock::now();
  if (adapter.isEmpty()) home([this] { emit adapterClosed(); });
  if (!loaded.ok())
    return home([this, file, text = toSentence(loaded.status())] {
      emit languageModelClosed();
      emit modelFailed(file, text);
    });
  engine_ = std::move(*loaded);
  modelFile_ = file;
  home([this, file, f = figures(nullptr)] { emit modelOpened(file, f); });
}

void EngineController::setMemoryLimit(quint64 bytes) {
  thread_.post([this, bytes] {
    if (bytes == memoryLimit_) return;
    memoryLimit_ = bytes;
    if (engine_ != nullptr) openLanguageModel(modelFile_, adapterFile_);
  });
}

void EngineController::setCompact(bool compact) {
  if (isEncoding()) encodeStop_.request_stop();
  thread_.post([this, compact] {
    isCompact_ = compact;
    if (engine_ == nullptr) return;
    const auto before = engine_->kv();
    const Status status = engine_->use_kv(compact ? kernels::DType::Q8_0 : kernels::DType::F16);
    QString text;
    if (!status.ok())
      text = tr("The keys and values of this model cannot be kept in 8 bits; they stay as they are.");
    else if (engine_->kv() != before)
      text = tr("Documents have to be encoded once more to be answered from memory.");
    home([this, text, f = figures(nullptr)] {
      emit figuresChanged(f);
      if (!text.isEmpty()) emit formatChanged(text);
    });
  });
  if (isEncoding() && !encodePaused_) postEncode(encoding_);
}

void EngineController::setIdle(std::chrono::milliseconds idle) {
  thread_.post([this, idle] { idle_ = idle; });
  idle.count() > 0 ? idleTimer_.start(std::min(idle / 2, kLongestTick)) : idleTimer_.stop();
}

void EngineController::rest() {
  thread_.post([this] { restNow(); });
}

void EngineController::restNow() {
  if (engine_ == nullptr || engine_->is_resting()) return;
  engine_->rest();
  home([this, f = figures(nullptr)] { emit figuresChanged(f); });
}

void EngineController::restIfIdle() {
  if (Clock::now() - worked_ >= idle_ && idle_.count() > 0) restNow();
}

void EngineController::closeModel() {
  thread_.post([this] {
    asking_.reset();
    engine_.reset();
    embedder_.reset();
    adapterFile_.clear();
    home([this] {
      emit adapterClosed();
      emit languageModelClosed();
      emit embedderClosed();
    });
  });
}

void EngineController::ask(qint64 document, const QString& question, const QString& evidence,
                           const QList<ui::PageItem>& pages) {
  answerStop_.request_stop();
  answerStop_ = std::stop_source();
  const quint64 id = ++current_;
  if (isEncoding()) encodeStop_.request_stop();
  thread_.post([=, this, stop = answerStop_.get_token()] { answer(id, document, question, evidence, pages, stop); });
  if (isEncoding() && !encodePaused_) postEncode(encoding_);
}

void EngineController::stopAnswer() { answerStop_.request_stop(); }

void EngineController::answer(quint64 id, qint64 document, const QString& question, const QString& evidence,
                              const QList<ui::PageItem>& pages, std::stop_token stop) {
  auto item = answerAndKeep(id, document, question, evidence, pages, std::move(stop));
  worked_ = Clock::now();
  endReading();
  if (!item.ok()) return homeIfCurrent(id, [this, text = toSentence(item.status())] { emit answerFailed(text); });
  homeIfCurrent(id, [this, document, chatItem = std::move(*item)] { emit answered(document, chatItem); });
}

Result<ui::ChatItem> EngineController::answerAndKeep(quint64 id, qint64 document, const QString& question,
                                                     const QString& evidence, const QList<ui::PageItem>& pages,
                                                     std::stop_token stop) {
  LL_ASSIGN_OR_RETURN(Asking * asking, this->asking());
  LL_ASSIGN_OR_RETURN(const DocumentRow row, library_->document(document));
  LL_ASSIGN_OR_RETURN(const int64_t chat, current_chat(*library_, document));
  LL_ASSIGN_OR_RETURN(const auto said, messages(*library_, chat));
  AskOptions options;
  LL_ASSIGN_OR_RETURN(options.evidence, evidence_named(evidence.toStdString()));
  for (size_t i = said.size() - std::min(kTurnsRemembered, said.size()); i < said.size(); ++i)
    options.history.push_back({said[i].question, said[i].answer});

  AskCallbacks callbacks;
  callbacks.on_route = [&](const Route& route) {
    endReading();
    homeIfCurrent(id, [this, marks = toMarks(route)] { emit routed(marks); });
  };
  callbacks.on_text = [&](std::string_view text) {
    homeIfCurrent(id, [this, piece = QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size()))] {
      emit textCame(piece);
    });
  };
  auto lastFigures = Clock::time_point();
  callbacks.on_progress = [&](const AnswerStats& stats) {
    if (secondsSince(lastFigures) < kSecondsBetweenFigures) return;
    lastFigures = Clock::now();
    homeIfCurrent(id, [this, f = figures(&stats)] { emit figuresChanged(f); });
  };
  LL_ASSIGN_OR_RETURN(Asked asked, asking->ask(row, question.toStdString(), options, callbacks, std::move(stop)));
  ui::Figures f = figures(&asked.stats);
  f.evidence = QString::fromLatin1(name_of(asked.evidence));
  homeIfCurrent(id, [this, f] { emit figuresChanged(f); });
  const MessageRow message{0, question.toStdString(), asked.answer, name_of(asked.evidence), asked.citations};
  LL_RETURN_IF_ERROR(add_message(*library_, chat, message));
  return toItem(message, pages);
}

void EngineController::encode(qint64 document) {
  if (isEncoding()) return;
  encoding_ = document;
  encodePaused_ = false;
  postEncode(document);
}

void EngineController::postEncode(qint64 document) {
  encodeStop_ = std::stop_source();
  const quint64 id = ++encodeId_;
  thread_.post([this, document, id, stop = encodeStop_.get_token()] {
    const auto report = encodeNow(document, stop);
    worked_ = Clock::now();
    home([this, report, id] {
      if (id != encodeId_) return;  // it made way for a question and is posted again
      encoding_ = 0;
      if (report.ok())
        emit encoded(tr("Encoded %n leaves", nullptr, static_cast<int>(report->leaves)) +
                     tr(", %1 tokens in %2 s.").arg(report->tokens).arg(report->seconds, 0, 'f', 1));
      else
        emit encodeFailed(report.status().code() == Code::Cancelled
                              ? tr("Encoding was stopped; it goes on from there next time.")
                              : toSentence(report.status()));
    });
  });
}

void EngineController::setEncodePaused(bool paused) {
  if (!isEncoding() || paused == encodePaused_) return;
  encodePaused_ = paused;
  if (!paused) return postEncode(encoding_);
  ++encodeId_;  // what the running one reports is not its end
  encodeStop_.request_stop();
  encodeJob_.paused = true;
  emit encodeProgress(encodeJob_);
}

void EngineController::cancelEncode() {
  encodeStop_.request_stop();
  if (!isEncoding() || !encodePaused_) return;
  encoding_ = 0;
  emit encodeFailed(tr("Encoding was stopped; it goes on from there next time."));
}

Result<EncodeReport> EngineController::encodeNow(qint64 document, std::stop_token stop) {
  if (engine_ == nullptr) return Status(Code::Invalid, "Open a model first");
  LL_ASSIGN_OR_RETURN(Asking * asking, this->asking());
  LL_ASSIGN_OR_RETURN(const DocumentRow row, library_->document(document));
  LL_ASSIGN_OR_RETURN(const DocumentInput* input, asking->input(row));
  const auto start = Clock::now();
  auto last = Clock::time_point();
  const auto progress = [&](const EncodeProgress& p) {
    if (secondsSince(last) < kSecondsBetweenFigures && !p.is_done()) return;
    last = Clock::now();
    const bool makesMemories = p.nodes_done > 0;  // behind the leaves
    ui::JobItem job{tr("Encoding %1").arg(QString::fromStdString(row.title)),
                    static_cast<qint64>(makesMemories ? p.nodes_done : p.leaves_done),
                    static_cast<qint64>(makesMemories ? p.nodes : p.leaves),
                    makesMemories ? tr("memories") : tr("leaves"),
                    -1,
                    false};
    if (p.tokens_done > 0)
      job.secondsLeft =
          secondsSince(start) / static_cast<double>(p.tokens_done) * static_cast<double>(p.tokens - p.tokens_done);
    home([this, job, f = figures(nullptr)] {
      if (encodePaused_ || !isEncoding()) return;
      encodeJob_ = job;
      emit encodeProgress(job);
      emit figuresChanged(f);
    });
  };
  return engine_->encode(*input, memoryFolder(folder_), progress, std::move(stop));
}

}  // namespace longleaf
