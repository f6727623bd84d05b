// Device, memory and speed, live, in the status bar. GUI thread.
#pragma once

#include <QWidget>

#include "ui/rows.h"

class QLabel;

namespace longleaf::ui {

class FiguresBar final : public QWidget {
  Q_OBJECT

 public:
  explicit FiguresBar(QWidget* parent = nullptr);
  void setFigures(const Figures& figures);
  QString text() const;

 private:
  QLabel* device_;
  QLabel* memory_;
  QLabel* first_;
  QLabel* prefill_;
  QLabel* decode_;
};

// "1.4 GiB", "230 MiB"
QString shownBytes(quint64 bytes);

}  // namespace longleaf::ui
