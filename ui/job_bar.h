// A running job with real counters, time left, pause and cancel. Hidden when there is none. GUI thread.
#pragma once

#include <QWidget>

#include "ui/rows.h"

class QLabel;
class QProgressBar;
class QPushButton;

namespace longleaf::ui {

class JobBar final : public QWidget {
  Q_OBJECT

 public:
  explicit JobBar(QWidget* parent = nullptr);
  void setJob(const JobItem& job);
  void clear();
  QString text() const;

 signals:
  void pauseToggled(bool paused);
  void cancelRequested();

 private:
  QLabel* what_;
  QProgressBar* bar_;
  QPushButton* pause_;
  QPushButton* cancel_;
};

}  // namespace longleaf::ui
