// Losses of a training, step by step. GUI thread.
#pragma once

#include <QWidget>

#include "ui/rows.h"

namespace longleaf::ui {

class LossPlot final : public QWidget {
  Q_OBJECT

 public:
  explicit LossPlot(QWidget* parent = nullptr);
  void clear(qint64 steps);  // that there will be
  void add(const QList<TrainingPoint>& points);
  const QList<TrainingPoint>& points() const { return points_; }
  const TrainingPoint* lastScored() const { return lastScored_ < 0 ? nullptr : &points_.at(lastScored_); }
  QSize sizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  struct Frame;
  void drawAxes(QPainter& painter, const Frame& frame) const;
  void drawLosses(QPainter& painter, const Frame& frame) const;
  void drawHeldOut(QPainter& painter, const Frame& frame) const;
  void drawLegend(QPainter& painter, const Frame& frame) const;

  QList<TrainingPoint> points_;
  qint64 steps_ = 1;
  double most_ = 0;  // of all losses
  qsizetype lastScored_ = -1;
};

}  // namespace longleaf::ui
