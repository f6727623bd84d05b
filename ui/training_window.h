// Trains a memory for the open model: what to train on, what it will take, losses as they come. It shows values and
// emits what the reader wants. Closing it does not end a training. GUI thread.
#pragma once

#include <QDialog>

#include "ui/rows.h"

class QCheckBox;
class QComboBox;
class QDoubleSpinBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QPushButton;
class QSpinBox;

namespace longleaf::ui {

class LossPlot;

class TrainingWindow final : public QDialog {
  Q_OBJECT

 public:
  explicit TrainingWindow(QWidget* parent = nullptr);

  // What it begins with. title: of the model.
  void setModel(const QString& title);
  void setWish(const TrainingWish& wish);
  TrainingWish wish() const;

  void showPlan(const TrainingPlan& plan);
  void addPoints(const QList<TrainingPoint>& points, double secondsLeft);
  void showPaused();
  // It is over, or could not begin.
  void showEnd(const QString& sentence, bool problem);
  bool isTraining() const { return state_ == State::Running || state_ == State::Paused; }
  LossPlot* plot() const { return plot_; }
  QString status() const;

 signals:
  void startRequested(const TrainingWish& wish);
  void pauseToggled(bool paused);
  void stopRequested();

 private:
  enum class State { Idle, Running, Paused };
  void addRows();
  void addFileRow(QFormLayout& form, const QString& label, QLineEdit* line, bool saves);
  void setState(State state);
  void start();
  void say(const QString& sentence, bool problem);

  QLabel* model_;
  QComboBox* texts_;
  QLineEdit *questions_, *out_;
  QSpinBox *steps_, *rank_;
  QDoubleSpinBox* rate_;
  QCheckBox* scales_;
  QWidget* form_;
  QLabel *plan_, *status_;
  LossPlot* plot_;
  QPushButton *start_, *pause_, *stop_;
  State state_ = State::Idle;
};

}  // namespace longleaf::ui
