#include "app/gui/training_controller.h"

#include "app/gui/convert.h"
#include "app/question_writer.h"
#include "app/training_texts.h"

namespace longleaf {

using Clock = std::chrono::steady_clock;

namespace {

constexpr double kCorpusShare = 0.5;
constexpr std::chrono::milliseconds kBetweenPoints{200};

}  // namespace

TrainingController::TrainingController(std::filesystem::path folder, QObject* parent)
    : QObject(parent), folder_(std::move(folder)) {}

TrainingController::~TrainingController() { stop_.request_stop(); }

void TrainingController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void TrainingController::setMemoryLimit(quint64 bytes) {
  thread_.post([this, bytes] { memoryLimit_ = bytes; });
}

void TrainingController::start(const QString& model, qint64 document, const ui::TrainingWish& wish) {
  training_ = true;
  paused_ = false;
  stop_ = std::stop_source(), pause_ = std::stop_source();
  thread_.post([this, model, document, wish, stop = stop_.get_token(), pause = pause_.get_token()] {
    if (const Status status = prepare(model, document, wish, stop); !status.ok()) return tellFailure(status);
    run(stop, pause);
  });
}

void TrainingController::setPaused(bool paused) {
  if (!training_ || paused == paused_) return;
  paused_ = paused;
  if (paused) return void(pause_.request_stop());
  pause_ = std::stop_source();
  thread_.post([this, stop = stop_.get_token(), pause = pause_.get_token()] { run(stop, pause); });
}

void TrainingController::stop() {
  if (!training_) return;
  stop_.request_stop();
  if (paused_) thread_.post([this, stop = stop_.get_token()] { run(stop, {}); });  // which only ends it
}

Result<std::vector<DocumentRow>> TrainingController::documentsOf(Library& library, qint64 document, bool wholeLibrary,
                                                                 ui::TrainingPlan& plan) {
  if (!wholeLibrary) {
    if (document == 0) return Status(Code::Invalid, "No document is open; open one, or train on the whole library");
    LL_ASSIGN_OR_RETURN(const DocumentRow row, library.document(document));
    if (row.state == DocumentState::Ready) return std::vector{row};
    return Status(Code::Invalid, "The open document has not been read to its end yet");
  }
  size_t leftOut = 0;
  LL_ASSIGN_OR_RETURN(auto rows, documents_to_train_on(library, leftOut));
  if (leftOut > 0) plan.notes.append(tr("Documents that are not read to their end are left out: %1").arg(leftOut));
  if (rows.empty()) return Status(Code::Invalid, "There is no document in the library to train on");
  return rows;
}

Status TrainingController::prepare(const QString& model, qint64 document, const ui::TrainingWish& wish,
                                   std::stop_token stop) {
  out_ = wish.out.toStdString();
  std::error_code error;
  std::filesystem::create_directories(out_.parent_path(), error);  // if it cannot be, writing says so
  LL_ASSIGN_OR_RETURN(const auto library, Library::open(folder_));
  ui::TrainingPlan plan;
  LL_ASSIGN_OR_RETURN(const auto rows, documentsOf(*library, document, wish.wholeLibrary, plan));
  train::TrainingOptions options;
  options.model = model.toStdString();
  options.out = out_;
  options.memory_limit_bytes = memoryLimit_;
  options.lora.rank = wish.rank;
  options.steps.optimizer.rate = static_cast<float>(wish.rate);
  options.memory.scales = wish.scales;
  set_steps(options, wish.steps, kCorpusShare, wish.written > 0 || !wish.questions.isEmpty());
  if (wish.written > 0) {
    LL_ASSIGN_OR_RETURN(const TrainingTexts texts, training_texts(*library, rows, "", stop));
    LL_RETURN_IF_ERROR(train::TrainingRun::check(options, texts.input, stop));
  }
  LL_ASSIGN_OR_RETURN(const std::string questions, questionsOf(*library, rows, model, wish, stop));
  LL_ASSIGN_OR_RETURN(const TrainingTexts texts, training_texts(*library, rows, questions, stop));
  for (const std::string& note : texts.notes) plan.notes.append(QString::fromStdString(note));
  LL_ASSIGN_OR_RETURN(run_, train::TrainingRun::prepare(options, texts.input, stop));
  isEstimated_ = false;
  showPlan(plan);
  return {};
}

Result<std::string> TrainingController::questionsOf(Library& library, const std::vector<DocumentRow>& rows,
                                                    const QString& model, const ui::TrainingWish& wish,
                                                    std::stop_token stop) {
  if (wish.written == 0) return wish.questions.toStdString();
  EngineOptions memory;
  memory.memory_limit_bytes = memoryLimit_;
  LL_ASSIGN_OR_RETURN(const auto engine, Engine::load(model.toStdString(), memory));  // for as long as it writes
  const std::filesystem::path file = out_.string() + ".questions.jsonl";
  const auto progress = [this](size_t n, size_t leaves, size_t all) {
    home([=, this] { emit writing(static_cast<qint64>(n), static_cast<qint64>(leaves), static_cast<qint64>(all)); });
  };
  LL_RETURN_IF_ERROR(write_questions_file(library, rows, leaf_asker(*engine, std::move(stop)), file,
                                          static_cast<size_t>(wish.written), progress)
                         .status());
  return file.string();
}

void TrainingController::showPlan(ui::TrainingPlan plan) {
  const train::TrainingPlan& p = run_->plan();
  plan.documents = static_cast<qint64>(p.documents);
  plan.passages = static_cast<qint64>(p.leaves);
  plan.tokens = p.tokens;
  plan.questions = static_cast<qint64>(p.questions);
  plan.heldOut = static_cast<qint64>(p.held_out);
  plan.parameters = p.parameters;
  plan.bytes = p.bytes;
  plan.device = QString::fromStdString(p.device);
  plan.stepsDone = run_->steps_done();
  if (!p.device_note.empty()) plan.notes.append(QString::fromStdString(p.device_note));
  if (p.left_out > 0)
    plan.notes.append(
        tr("Questions without words or an answer, or too long for the model, are left out: %1").arg(p.left_out));
  QList<ui::TrainingPoint> before;
  if (const auto log = run_->log(); log.ok())
    for (const train::LoggedStep& step : *log) before.append(toItem(step.report, step.scores));
  home([this, plan, before] {
    emit planned(plan);
    emit logged(before);
  });
}

void TrainingController::run(std::stop_token stop, std::stop_token pause) {
  if (run_ == nullptr) return;
  std::stop_source either;
  const auto end = [&either] { either.request_stop(); };
  const std::stop_callback onStop(stop, end), onPause(pause, end);
  if (!isEstimated_) tellTime(either.get_token());
  const auto result = run_->run([this](const train::TrainingProgress& p) { advance(p); }, either.get_token());
  if (!result.ok()) return tellFailure(result.status());
  flush(-1);
  if (!result->stopped || stop.stop_requested()) return tellEnd(*result);
  home([this] { emit paused(); });
}

// Where that is stopped or fails, the run that follows says so.
void TrainingController::tellTime(std::stop_token stop) {
  const auto seconds = run_->estimate(std::move(stop));
  isEstimated_ = seconds.ok();
  if (isEstimated_) home([this, seconds = *seconds] { emit estimated(seconds); });
}

void TrainingController::advance(const train::TrainingProgress& progress) {
  points_.append(toItem(progress.step, progress.scores));
  if (Clock::now() - shown_ >= kBetweenPoints || progress.scores || progress.step.step == progress.total_steps)
    flush(progress.seconds_left);
}

void TrainingController::flush(double secondsLeft) {
  shown_ = Clock::now();
  home([this, points = std::exchange(points_, {}), secondsLeft] { emit advanced(points, secondsLeft); });
}

void TrainingController::tellFailure(const Status& status) {
  run_.reset();
  const bool stopped = status.code() == Code::Cancelled;
  home([this, stopped, text = toSentence(status)] {
    training_ = false;
    if (stopped)
      emit ended(tr("Stopped before it began."), {});
    else
      emit failed(text);
  });
}

void TrainingController::tellEnd(const train::TrainingResult& result) {
  run_.reset();
  const QString file = QString::fromStdString(out_.string());
  const QString sentence =
      result.stopped ? tr("Stopped after step %1; training with the same settings goes on from there.")
      : result.early ? tr("Held-out scores stopped getting better: done after %1 steps. The memory is in %2.")
                     : tr("Done after %1 steps. The memory is in %2.");
  const QString text = result.stopped ? sentence.arg(result.steps) : sentence.arg(result.steps).arg(file);
  home([this, text, adapter = result.stopped ? QString() : file] {
    training_ = false;
    emit ended(text, adapter);
  });
}

}  // namespace longleaf
