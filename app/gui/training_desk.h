// Ties the window that trains a memory to its controller, and remembers what was wished for. GUI thread.
#pragma once

#include <QObject>
#include <filesystem>

#include "app/gui/training_controller.h"
#include "ui/training_window.h"

namespace longleaf {

class TrainingDesk final : public QObject {
  Q_OBJECT

 public:
  explicit TrainingDesk(std::filesystem::path folder, QObject* parent = nullptr);
  // Once, before anything else. The window may go before the object, which then only ends what runs.
  void setWindow(ui::TrainingWindow* window);

  // What is open; empty or 0 where there is none.
  void setModel(const QString& file, const QString& title);
  void setDocument(qint64 key, const QString& title);
  // Settings of earlier starts. They come before a model is open.
  static const QString kWishSetting, kModelSetting;
  void takeSetting(const QString& name, const QString& value);
  void setMemoryLimit(quint64 bytes) { training_.setMemoryLimit(bytes); }

 signals:
  void began();  // what else has memory of the device may give it back
  void settingChanged(const QString& name, const QString& value);
  void progress(const ui::JobItem& job);
  // adapter: empty unless a memory for the open model was made.
  void ended(const QString& sentence, bool problem, const QString& adapter);

 private:
  void offer();
  void begin(ui::TrainingWish wish);
  void advance(const QList<ui::TrainingPoint>& points, double secondsLeft);
  void end(const QString& sentence, bool problem, const QString& adapter);
  QString memoryOf(const QString& model) const;

  std::filesystem::path folder_;
  ui::TrainingWindow* window_ = nullptr;
  QString modelFile_, modelTitle_, documentTitle_;
  qint64 document_ = 0;
  QString trainedModel_;  // that a memory is, was, or would be trained for
  TrainingController training_;
};

}  // namespace longleaf
