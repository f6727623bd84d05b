// Imports files one after the other on a thread of its own, with pause and cancel. Its own methods: GUI thread; signals
// come there too.
#pragma once

#include <QHash>
#include <QObject>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <stop_token>

#include "app/gui/task_thread.h"
#include "ingest/library/importer.h"
#include "ui/rows.h"

namespace longleaf {

class ImportController final : public QObject {
  Q_OBJECT

 public:
  explicit ImportController(std::filesystem::path folder, QObject* parent = nullptr);
  ~ImportController() override;

  void import(const QString& file, const QString& password = {});
  void setPaused(bool paused);
  // The file in work and those that wait.
  void cancel();
  // Files in work and waiting.
  int pending() const { return pending_; }

 signals:
  void progress(const ui::JobItem& job);
  void imported(const QString& file, qint64 document, bool alreadyThere, const QStringList& warnings);
  void passwordNeeded(const QString& file, const QString& reason);
  void failed(const QString& file, const QString& reason);
  void idle();

 private:
  void run(const QString& file, const QString& password, std::stop_token stop);  // on the thread
  void report(const ImportProgress& progress, std::chrono::steady_clock::time_point start, int firstPage);
  bool isPaused();
  void waitWhilePaused(std::stop_token stop);
  void home(std::function<void()> done);

  std::filesystem::path folder_;
  std::stop_source stop_;  // of the files asked for since the last cancel
  int pending_ = 0;
  std::mutex pauseMutex_;
  std::condition_variable_any pauseEnded_;
  bool paused_ = false;  // guarded by pauseMutex_
  TaskThread thread_;    // last: ends before the rest goes
};

}  // namespace longleaf
