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

  // What it begins with: titles of the open model and document, empty where there is none.
  void setModel(const QString& title);
  void setDocument(const QString& title);
  void setWish(const TrainingWish& wish);
  TrainingWish wish() const;

  // Before there is a plan: questions are written about leaves.
  void showWriting(qint64 questions, qint64 leaves, qint64 allLeaves);
  void showPlan(const TrainingPlan& plan);
  void showEstimate(double seconds);                   // behind the plan
  void addLogged(const QList<TrainingPoint>& points);  // of earlier runs
  void addPoints(const QList<TrainingPoint>& points, double secondsLeft);
  void showPaused();
  // It is over, or could not begin.
  void showEnd(const QString& sentence, bool problem);
  bool isTraining() const { return state_ != State::Idle; }
  LossPlot* plot() const { return plot_; }
  QString status() const;

 signals:
  void startRequested(const TrainingWish& wish);
  void pauseToggled(bool paused);
  void stopRequested();

 private:
  enum class State { Idle, Running, Pausing, Paused, Stopping };
  void addRows();
  QWidget* makeButtons();
  void addFileRow(QFormLayout& form, const QString& label, QLineEdit* line, bool saves);
  void setState(State state);
  void start();
  void togglePause();
  void stop();
  void say(const QString& sentence, bool problem);

  QLabel* model_;
  QComboBox* texts_;
  QLineEdit *questions_, *out_;
  QSpinBox *written_, *steps_, *rank_;
  QDoubleSpinBox* rate_;
  QCheckBox* scales_;
  QWidget* form_;
  QLabel *plan_, *status_;
  LossPlot* plot_;
  QPushButton *start_, *pause_, *stop_;
  State state_ = State::Idle;
};

}  // namespace longleaf::ui
