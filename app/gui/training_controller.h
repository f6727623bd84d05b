// Trains a memory for the window, on a thread of its own. Its own methods: GUI thread; signals come there too.
#pragma once

#include <QObject>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stop_token>

#include "app/gui/task_thread.h"
#include "engine/train/training_run.h"
#include "ingest/library/library.h"
#include "ui/rows.h"

namespace longleaf {

class TrainingController final : public QObject {
  Q_OBJECT

 public:
  explicit TrainingController(std::filesystem::path folder, QObject* parent = nullptr);
  ~TrainingController() override;

  // document: that is open, 0 for none. What an earlier run of the same settings left is gone on with.
  // REQUIRES: none is running.
  void start(const QString& model, qint64 document, const ui::TrainingWish& wish);
  void setMemoryLimit(quint64 bytes);  // of the device, for trainings that begin from now on; 0: what there is
  // Pausing gives the processor back at once; what is done is saved, and the step that was computed is computed again.
  // While a training is prepared, it waits for that.
  void setPaused(bool paused);
  void stop();

 signals:
  void writing(qint64 questions, qint64 leaves, qint64 allLeaves);  // before the plan
  void planned(const ui::TrainingPlan& plan);
  void estimated(double seconds);                       // that the steps which are left take, without scores
  void logged(const QList<ui::TrainingPoint>& points);  // steps of earlier runs
  void advanced(const QList<ui::TrainingPoint>& points, double secondsLeft);
  void paused();
  void ended(const QString& sentence, const QString& adapter);  // adapter: empty where training was stopped
  void failed(const QString& reason);

 private:
  // All on the thread.
  Status prepare(const QString& model, qint64 document, const ui::TrainingWish& wish, std::stop_token stop);
  Result<std::vector<DocumentRow>> documentsOf(Library& library, qint64 document, bool wholeLibrary,
                                               ui::TrainingPlan& plan);
  // The file of questions; empty where there are none.
  Result<std::string> questionsOf(Library& library, const std::vector<DocumentRow>& rows, const QString& model,
                                  const ui::TrainingWish& wish, std::stop_token stop);
  void showPlan(ui::TrainingPlan plan);
  void run(std::stop_token stop, std::stop_token pause);
  void tellTime(std::stop_token stop);
  void advance(const train::TrainingProgress& progress);
  void flush(double secondsLeft);
  void tellFailure(const Status& status);
  void tellEnd(const train::TrainingResult& result);

  void home(std::function<void()> done);

  std::filesystem::path folder_;
  bool training_ = false;
  std::stop_source stop_, pause_;
  bool paused_ = false;
  // The thread's.
  std::unique_ptr<train::TrainingRun> run_;
  std::filesystem::path out_;
  size_t memoryLimit_ = 0;
  bool isEstimated_ = false;
  QList<ui::TrainingPoint> points_;  // that have not been shown yet
  std::chrono::steady_clock::time_point shown_;

  TaskThread thread_;  // last: ends before the rest goes
};

}  // namespace longleaf
