// Imports files and folders one after the other on a thread of its own, with pause and cancel. What waits is kept in
// the library and goes on at the next start. Its own methods: GUI thread; signals come there too.
#pragma once

#include <QHash>
#include <QList>
#include <QObject>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <stop_token>

#include "app/gui/task_thread.h"
#include "ingest/library/import_queue.h"
#include "ingest/library/importer.h"
#include "ui/rows.h"

namespace longleaf {

class ImportController final : public QObject {
  Q_OBJECT

 public:
  explicit ImportController(std::filesystem::path folder, QObject* parent = nullptr);
  ~ImportController() override;

  // A file or a folder; a file comes before what waits of folders.
  void import(const QString& path, const QString& password = {});
  // Reads the text of a document's scanned pages, after the files that wait.
  void recognise(qint64 document, const QString& languages);
  // What an earlier start left.
  void resume();
  void setPaused(bool paused);
  // The file in work and those that wait.
  void cancel();
  // Files in work and waiting; at least one until idle().
  int pending() const { return std::max(pending_, waiting_); }

 signals:
  void progress(const ui::JobItem& job);
  // Its first pages can be looked at; only of documents that take a while.
  void begun(qint64 document);
  void imported(const QString& file, qint64 document, bool alreadyThere, const QStringList& warnings);
  void recognised(qint64 document, const QString& summary);
  void passwordNeeded(const QString& file, const QString& reason);
  void failed(const QString& file, const QString& reason);
  void idle();

 private:
  // Names the files that broke their import twice; on the thread.
  void tellSetAside();
  struct Request {
    QString path, password;
  };
  void wake();
  // On the thread: reads until nothing waits.
  void drain(std::stop_token stop);
  void runRecognition(qint64 document, const QString& languages, std::stop_token stop);
  void addRequests(ImportQueue& queue);
  // False when the library cannot be written, so that going on makes no sense.
  bool run(Library& library, ImportQueue& queue, const QString& file, int waiting, std::stop_token stop);
  void report(const QString& what, const ImportProgress& progress, std::chrono::steady_clock::time_point start,
              int firstPage);
  void tellFailure(const QString& file, const Status& status);
  bool isPaused();
  void waitWhilePaused(std::stop_token stop);
  void home(std::function<void()> done);

  std::filesystem::path folder_;
  std::stop_source stop_;  // of the files asked for since the last cancel
  int pending_ = 0;        // drains that have not ended
  int waiting_ = 0;        // files, as the thread last said
  std::atomic<bool> quitting_{false};
  std::mutex requestsMutex_;
  QList<Request> requests_;            // guarded by requestsMutex_; not yet in the queue
  QHash<QString, QString> passwords_;  // only the thread touches it
  std::mutex pauseMutex_;
  std::condition_variable_any pauseEnded_;
  bool paused_ = false;  // guarded by pauseMutex_
  TaskThread thread_;    // last: ends before the rest goes
};

}  // namespace longleaf
