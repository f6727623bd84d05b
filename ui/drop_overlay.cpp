#include "ui/drop_overlay.h"

#include <QPainter>

namespace longleaf::ui {

DropOverlay::DropOverlay(QWidget* parent) : QWidget(parent) {
  setAttribute(Qt::WA_TransparentForMouseEvents);
  hide();
}

void DropOverlay::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  QColor shade = palette().color(QPalette::Highlight);
  shade.setAlpha(60);
  painter.fillRect(rect(), shade);
  painter.setPen(QPen(palette().color(QPalette::Highlight), 4, Qt::DashLine));
  painter.drawRoundedRect(rect().adjusted(20, 20, -20, -20), 16, 16);
  QFont font = painter.font();
  font.setPointSizeF(font.pointSizeF() * 1.8);
  painter.setFont(font);
  painter.setPen(palette().color(QPalette::Text));
  painter.drawText(rect(), Qt::AlignCenter, tr("Drop documents or folders to read them"));
}

}  // namespace longleaf::ui
