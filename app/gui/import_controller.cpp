#include "app/gui/import_controller.h"

#include <QFileInfo>

#include "app/gui/convert.h"
#include "app/places.h"
#include "engine/base/log.h"
#include "ingest/library/recognition.h"

namespace longleaf {

using Clock = std::chrono::steady_clock;

ImportController::ImportController(std::filesystem::path folder, QObject* parent)
    : QObject(parent), folder_(std::move(folder)) {}

// What waits stays in the queue: only a person's cancel empties it.
ImportController::~ImportController() {
  quitting_ = true;
  std::lock_guard lock(requestsMutex_);
  stop_.request_stop();
  setPaused(false);
  if (requests_.isEmpty()) return;
  auto library = Library::open(folder_);
  for (const Request& request : std::exchange(requests_, {}))
    if (library.ok())
      if (const Status kept = ImportQueue(**library).add(documents_in({request.path.toStdString()}), true); !kept.ok())
        log(LogLevel::Warning, kept.message());
}

void ImportController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void ImportController::import(const QString& path, const QString& password) {
  {
    std::lock_guard lock(requestsMutex_);
    requests_.append({path, password});
  }
  emit progress({tr("Waiting for %1").arg(QFileInfo(path).fileName()), 0, 0, tr("pages"), -1, isPaused()});
  wake();
}

void ImportController::recognise(qint64 document, const QString& languages) {
  ++pending_;
  emit progress({tr("Waiting to recognise text"), 0, 0, tr("pages"), -1, isPaused()});
  thread_.post([this, document, languages, stop = stop_.get_token()] {
    if (!stop.stop_requested()) runRecognition(document, languages, stop);
    home([this] {
      if (--pending_ == 0) emit idle();
    });
  });
}

void ImportController::runRecognition(qint64 document, const QString& languages, std::stop_token stop) {
  auto library = Library::open(folder_);
  const auto row = library.ok() ? (*library)->document(document) : Result<DocumentRow>(library.status());
  if (!row.ok()) return home([this, text = toSentence(row.status())] { emit failed({}, text); });
  RecogniseOptions options;
  options.reader.worker = pdfWorkerProgram();
  const QString file = QString::fromStdString(row->path.string());
  options.reader.password = passwords_.value(file).toStdString();
  options.languages = languages.toStdString();
  options.stop = stop;
  const auto start = Clock::now();
  const QString what = tr("Recognising %1").arg(QString::fromStdString(row->title));
  options.progress = [&](const ImportProgress& p) {
    report(what, p, start, 0);
    waitWhilePaused(stop);
  };
  const auto result = recognise_scans(**library, *row, options);
  if (!result.ok()) return tellFailure(file, result.status());
  QString summary = tr("The text of %n scanned page(s) was read.", nullptr, result->pages);
  if (result->failed > 0) summary += tr(" %n could not be read.", nullptr, result->failed);
  if (result->waiting > 0) summary += tr(" %n are left; start again to go on.", nullptr, result->waiting);
  home([this, document, summary] { emit recognised(document, summary); });
}

void ImportController::resume() {
  thread_.post([this] { tellSetAside(); });
  wake();
}

void ImportController::tellSetAside() {
  auto library = Library::open(folder_);
  if (!library.ok()) return;  // drain tells why
  ImportQueue queue(**library);
  const auto files = queue.set_aside();
  if (!files.ok()) return log(LogLevel::Warning, files.status().message());
  for (const auto& file : *files) {
    if (std::error_code error; !std::filesystem::exists(file, error)) {
      if (const Status dropped = queue.drop(file); !dropped.ok()) log(LogLevel::Warning, dropped.message());
      continue;
    }
    home([this, path = QString::fromStdString(file.string())] {
      emit failed(path, tr("%1 was set aside: reading it broke off twice. Drop it here to try once more.")
                            .arg(QFileInfo(path).fileName()));
    });
  }
}

void ImportController::wake() {
  ++pending_;
  thread_.post([this, stop = stop_.get_token()] {
    if (!quitting_) drain(stop);
    home([this] {
      waiting_ = 0;
      if (--pending_ == 0) emit idle();
    });
  });
}

void ImportController::addRequests(ImportQueue& queue) {
  QList<Request> requests;
  {
    std::lock_guard lock(requestsMutex_);
    requests.swap(requests_);
  }
  for (const Request& request : requests) {
    const bool isFolder = QFileInfo(request.path).isDir();
    const auto files = documents_in({request.path.toStdString()});
    if (!request.password.isEmpty()) passwords_.insert(QFileInfo(request.path).canonicalFilePath(), request.password);
    const Status added = queue.add(files, !isFolder);
    const QString problem = !added.ok()     ? toSentence(added)
                            : files.empty() ? tr("There is no document in this folder")
                                            : QString();
    if (!problem.isEmpty()) home([this, path = request.path, problem] { emit failed(path, problem); });
  }
}

void ImportController::drain(std::stop_token stop) {
  auto library = Library::open(folder_);
  if (!library.ok()) {
    std::lock_guard lock(requestsMutex_);
    for (const Request& request : requests_)
      home([this, path = request.path, text = toSentence(library.status())] { emit failed(path, text); });
    requests_.clear();
    return;
  }
  ImportQueue queue(**library);
  while (!stop.stop_requested()) {
    addRequests(queue);
    const auto next = queue.next();
    const auto waiting = queue.waiting();
    if (!next.ok() || !*next || !waiting.ok()) break;
    home([this, n = *waiting] { waiting_ = n; });
    if (!run(**library, queue, QString::fromStdString((*next)->string()), *waiting, stop)) break;
    waitWhilePaused(stop);
  }
  if (stop.stop_requested() && !quitting_)
    if (const Status cleared = queue.clear(); !cleared.ok()) log(LogLevel::Warning, cleared.message());
}

bool ImportController::run(Library& library, ImportQueue& queue, const QString& file, int waiting,
                           std::stop_token stop) {
  ImportOptions options;
  options.reader.worker = pdfWorkerProgram();
  options.reader.password = passwords_.value(file).toStdString();
  options.stop = stop;
  const auto start = Clock::now();
  int firstPage = -1;
  bool told = false;
  options.progress = [&](const ImportProgress& p) {
    const bool isFirst = p.pages_done > 0 && p.pages_done < p.pages && !told;
    if (isFirst) home([this, key = p.document] { emit begun(key); });
    told |= isFirst;
    if (firstPage < 0) firstPage = p.pages_done;
    const QString title = QString::fromStdString(p.title);
    report(waiting > 1 ? tr("Reading %1 (%n waiting)", nullptr, waiting - 1).arg(title) : tr("Reading %1").arg(title),
           p, start, firstPage);
    addRequests(queue);  // what is dropped meanwhile must survive a crash too
    waitWhilePaused(stop);
  };
  const std::filesystem::path path = file.toStdString();
  const Status begun = queue.begin(path);
  const bool canWrite = begun.ok() || begun.code() == Code::Unsupported;  // the latter: it was set aside
  const auto result = begun.ok() ? import_document(library, path, options) : Result<ImportReport>(begun);
  const Status ended = canWrite ? queue.end(path, result.status()) : begun;
  if (!ended.ok()) log(LogLevel::Warning, ended.message());
  if (result.ok()) {
    QStringList warnings;
    for (const auto& w : result->warnings) warnings.append(QString::fromStdString(w.message));
    home([this, file, key = result->document.key, there = result->already_there, warnings] {
      emit imported(file, key, there, warnings);
    });
    return ended.ok();
  }
  tellFailure(file, result.status());
  // On a full disk, or without a reader, the next file fares no better.
  return ended.ok() && !is_of_library(result.status()) && result.status().code() != Code::Unavailable;
}

void ImportController::report(const QString& what, const ImportProgress& p, Clock::time_point start, int firstPage) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const int done = p.pages_done - firstPage;
  ui::JobItem job{what, p.pages_done, p.pages, tr("pages"), -1, false};
  if (done > 0) job.secondsLeft = seconds / done * (p.pages - p.pages_done);
  job.paused = isPaused();
  home([this, job] { emit progress(job); });
}

void ImportController::tellFailure(const QString& file, const Status& status) {
  const bool locked = status.code() == Code::Locked && !is_of_library(status);
  home([this, file, locked, text = toSentence(status)] {
    if (locked)
      emit passwordNeeded(file, text);
    else
      emit failed(file, text);
  });
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
  {
    std::lock_guard lock(requestsMutex_);
    requests_.clear();
  }
  stop_.request_stop();
  stop_ = std::stop_source();
  setPaused(false);
}

}  // namespace longleaf
