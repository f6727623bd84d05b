#include "app/gui/training_controller.h"

#include "app/gui/convert.h"
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

void TrainingController::start(const QString& model, qint64 document, const ui::TrainingWish& wish) {
  training_ = true;
  paused_ = ending_ = false;
  stop_ = std::stop_source();
  thread_.post([this, model, document, wish, stop = stop_.get_token()] {
    if (const Status status = prepare(model, document, wish, stop); !status.ok()) return tellFailure(status);
    run(stop);
  });
}

void TrainingController::setPaused(bool paused) {
  if (!training_ || paused == paused_) return;
  paused_ = paused;
  if (paused) return void(stop_.request_stop());
  stop_ = std::stop_source();
  thread_.post([this, stop = stop_.get_token()] { run(stop); });
}

void TrainingController::stop() {
  if (!training_) return;
  ending_ = true;
  stop_.request_stop();
  if (paused_) thread_.post([this, stop = stop_.get_token()] { run(stop); });  // which only ends it
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
  LL_ASSIGN_OR_RETURN(const auto library, Library::open(folder_));
  ui::TrainingPlan plan;
  LL_ASSIGN_OR_RETURN(const auto rows, documentsOf(*library, document, wish.wholeLibrary, plan));
  LL_ASSIGN_OR_RETURN(const TrainingTexts texts,
                      training_texts(*library, rows, wish.questions.toStdString(), std::move(stop)));
  for (const std::string& note : texts.notes) plan.notes.append(QString::fromStdString(note));
  train::TrainingOptions options;
  options.model = model.toStdString();
  options.out = wish.out.toStdString();
  options.lora.rank = wish.rank;
  options.steps.optimizer.rate = static_cast<float>(wish.rate);
  options.memory.scales = wish.scales;
  set_steps(options, wish.steps, kCorpusShare, !wish.questions.isEmpty());
  out_ = options.out;
  std::error_code error;
  std::filesystem::create_directories(out_.parent_path(), error);  // if it cannot be, writing says so
  LL_ASSIGN_OR_RETURN(run_, train::TrainingRun::prepare(options, texts.input));
  showPlan(plan);
  return {};
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
  plan.stepsDone = run_->steps_done();
  if (p.left_out > 0)
    plan.notes.append(tr("Questions without words or without an answer are left out: %1").arg(p.left_out));
  points_.clear();
  if (const auto log = run_->log(); log.ok())
    for (const train::LoggedStep& step : *log) points_.append(toItem(step.report, step.scores));
  home([this, plan] { emit planned(plan); });
  flush(-1);
}

void TrainingController::run(std::stop_token stop) {
  if (run_ == nullptr) return;
  const auto result = run_->run([this](const train::TrainingProgress& p) { advance(p); }, std::move(stop));
  if (!result.ok()) return tellFailure(result.status());
  if (result->stopped && !ending_) return home([this] { emit paused(); });
  tellEnd(*result);
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
  home([this, text = toSentence(status)] {
    training_ = false;
    emit failed(text);
  });
}

void TrainingController::tellEnd(const train::TrainingResult& result) {
  flush(0);
  run_.reset();
  std::error_code error;
  const QString file = QString::fromStdString(out_.string());
  const QString adapter = std::filesystem::exists(out_, error) ? file : QString();
  const QString sentence =
      result.stopped ? tr("Stopped behind step %1; training with the same settings goes on from there.")
      : result.early ? tr("Held-out scores stopped to get better: done after %1 steps. The memory is in %2.")
                     : tr("Done after %1 steps. The memory is in %2.");
  const QString text = result.stopped ? sentence.arg(result.steps) : sentence.arg(result.steps).arg(file);
  home([this, text, adapter] {
    training_ = false;
    emit ended(text, adapter);
  });
}

}  // namespace longleaf
