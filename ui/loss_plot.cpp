#include "ui/loss_plot.h"

#include <QPainter>
#include <QPainterPath>
#include <algorithm>
#include <cmath>

namespace longleaf::ui {
namespace {

constexpr int kLeft = 48, kRight = 12, kTop = 26, kBottom = 24;
constexpr int kLines = 4;  // across
const QColor kLossColour(0x7a, 0x9c, 0xc6), kHeldOutColour(0xc0, 0x5a, 0x1c);

}  // namespace

// Where steps and losses lie.
struct LossPlot::Frame {
  QRectF area;
  double most = 1;  // loss
  double steps = 1;

  double x(double step) const { return area.left() + area.width() * step / steps; }
  double y(double loss) const { return area.bottom() - area.height() * std::min(loss, most) / most; }
};

LossPlot::LossPlot(QWidget* parent) : QWidget(parent) {
  setAccessibleName(tr("Losses"));
  setMinimumSize(320, 160);
}

QSize LossPlot::sizeHint() const { return {560, 220}; }

void LossPlot::clear(qint64 steps) {
  points_.clear();
  most_ = 0, lastScored_ = -1;
  steps_ = std::max<qint64>(1, steps);
  setAccessibleDescription({});
  update();
}

void LossPlot::add(const QList<TrainingPoint>& points) {
  for (const TrainingPoint& p : points) {
    if (!std::isfinite(p.loss) || !std::isfinite(p.heldOutLoss) || p.step > steps_) continue;
    points_.append(p);
    most_ = std::max({most_, p.loss, p.heldOutLoss});
    if (p.heldOutLoss >= 0) lastScored_ = points_.size() - 1;
  }
  if (points_.isEmpty()) return;
  const TrainingPoint& last = points_.constLast();
  QString text = tr("Loss %1 at step %2 of %3").arg(last.loss, 0, 'f', 3).arg(last.step).arg(steps_);
  if (lastScored_ >= 0) text += tr("; %1 of held-out questions").arg(points_.at(lastScored_).heldOutLoss, 0, 'f', 3);
  setAccessibleDescription(text);
  update();
}

void LossPlot::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  const Frame frame{QRectF(rect()).adjusted(kLeft, kTop, -kRight, -kBottom), most_ > 0 ? most_ : 1,
                    static_cast<double>(steps_)};
  drawAxes(painter, frame);
  drawLosses(painter, frame);
  drawHeldOut(painter, frame);
  drawLegend(painter, frame);
}

void LossPlot::drawAxes(QPainter& painter, const Frame& frame) const {
  QColor faint = palette().color(QPalette::Text);
  faint.setAlpha(40);
  for (int i = 0; i <= kLines; ++i) {
    const double loss = frame.most * i / kLines, y = frame.y(loss);
    painter.setPen(faint);
    painter.drawLine(QPointF(frame.area.left(), y), QPointF(frame.area.right(), y));
    painter.setPen(palette().color(QPalette::Text));
    painter.drawText(QRectF(0, y - 10, kLeft - 6, 20), Qt::AlignRight | Qt::AlignVCenter,
                     QString::number(loss, 'f', 2));
  }
  const QRectF below(frame.area.left(), frame.area.bottom() + 2, frame.area.width(), kBottom - 2);
  painter.drawText(below, Qt::AlignLeft, QStringLiteral("0"));
  painter.drawText(below, Qt::AlignRight, tr("step %1").arg(steps_));
}

// The mean of the steps that share a pixel.
void LossPlot::drawLosses(QPainter& painter, const Frame& frame) const {
  QPainterPath path;
  double sum = 0;
  int n = 0;
  int column = 0;
  const auto flush = [&] {
    if (n == 0) return;
    const QPointF at(column, frame.y(sum / n));
    path.elementCount() == 0 ? path.moveTo(at) : path.lineTo(at);
    sum = 0, n = 0;
  };
  for (const TrainingPoint& p : points_) {
    const int x = static_cast<int>(frame.x(static_cast<double>(p.step)));
    if (x != column) flush();
    column = x;
    sum += p.loss, ++n;
  }
  flush();
  painter.setPen(QPen(kLossColour, 1.5));
  painter.drawPath(path);
}

void LossPlot::drawHeldOut(QPainter& painter, const Frame& frame) const {
  QPainterPath path;
  QList<QPointF> dots;
  for (const TrainingPoint& p : points_) {
    if (p.heldOutLoss < 0) continue;
    const QPointF at(frame.x(static_cast<double>(p.step)), frame.y(p.heldOutLoss));
    path.elementCount() == 0 ? path.moveTo(at) : path.lineTo(at);
    dots.append(at);
  }
  painter.setPen(QPen(kHeldOutColour, 1.5));
  painter.setBrush(Qt::NoBrush);
  painter.drawPath(path);
  painter.setBrush(kHeldOutColour);
  for (const QPointF& dot : dots) painter.drawEllipse(dot, 2.5, 2.5);
}

void LossPlot::drawLegend(QPainter& painter, const Frame& frame) const {
  double x = frame.area.left();
  const auto name = [&](const QColor& colour, const QString& text) {
    painter.setPen(QPen(colour, 2));
    painter.drawLine(QPointF(x, kTop / 2.0), QPointF(x + 16, kTop / 2.0));
    painter.setPen(palette().color(QPalette::Text));
    const int width = painter.fontMetrics().horizontalAdvance(text);
    painter.drawText(QRectF(x + 22, 0, width + 2, kTop), Qt::AlignVCenter, text);
    x += width + 44;
  };
  name(kLossColour, tr("Loss of a step, per token"));
  name(kHeldOutColour, tr("of held-out questions"));
}

}  // namespace longleaf::ui
