#include "app/gui/import_controller.h"

#include <QFileInfo>

#include "app/gui/convert.h"
#include "app/places.h"

namespace longleaf {

using Clock = std::chrono::steady_clock;

ImportController::ImportController(std::filesystem::path folder, QObject* parent)
    : QObject(parent), folder_(std::move(folder)) {}

ImportController::~ImportController() { cancel(); }

void ImportController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void ImportController::import(const QString& file, const QString& password) {
  ++pending_;
  emit progress({tr("Waiting for %1").arg(QFileInfo(file).fileName()), 0, 0, tr("pages"), -1, isPaused()});
  thread_.post([this, file, password, stop = stop_.get_token()] {
    if (!stop.stop_requested()) run(file, password, stop);
    home([this] {
      if (--pending_ == 0) emit idle();
    });
  });
}

void ImportController::run(const QString& file, const QString& password, std::stop_token stop) {
  auto library = Library::open(folder_);
  if (!library.ok()) return home([this, file, text = toSentence(library.status())] { emit failed(file, text); });
  ImportOptions options;
  options.reader.worker = pdfWorkerProgram();
  options.reader.password = password.toStdString();
  options.stop = stop;
  const auto start = Clock::now();
  int firstPage = -1;
  options.progress = [&](const ImportProgress& p) {
    if (firstPage < 0) firstPage = p.pages_done;
    report(p, start, firstPage);
    waitWhilePaused(stop);
  };
  const auto result = import_document(**library, file.toStdString(), options);
  if (result.ok()) {
    QStringList warnings;
    for (const auto& w : result->warnings) warnings.append(QString::fromStdString(w.message));
    return home([this, file, key = result->document.key, there = result->already_there, warnings] {
      emit imported(file, key, there, warnings);
    });
  }
  const bool locked = result.status().code() == Code::Locked && !result.status().message().starts_with("The library");
  home([this, file, locked, text = toSentence(result.status())] {
    if (locked)
      emit passwordNeeded(file, text);
    else
      emit failed(file, text);
  });
}

void ImportController::report(const ImportProgress& p, Clock::time_point start, int firstPage) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const int done = p.pages_done - firstPage;
  ui::JobItem job{tr("Reading %1").arg(QString::fromStdString(p.title)), p.pages_done, p.pages, tr("pages"), -1, false};
  if (done > 0) job.secondsLeft = seconds / done * (p.pages - p.pages_done);
  job.paused = isPaused();
  home([this, job] { emit progress(job); });
}

bool ImportController::isPaused() {
  std::lock_guard lock(pauseMutex_);
  return paused_;
}

void ImportController::waitWhilePaused(std::stop_token stop) {
  std::unique_lock lock(pauseMutex_);
  pauseEnded_.wait(lock, std::move(stop), [this] { return !paused_; });
}

void ImportController::setPaused(bool paused) {
  {
    std::lock_guard lock(pauseMutex_);
    paused_ = paused;
  }
  pauseEnded_.notify_all();
}

void ImportController::cancel() {
  stop_.request_stop();
  stop_ = std::stop_source();
  setPaused(false);
}

}  // namespace longleaf
