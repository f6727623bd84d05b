// Covers the window while files are dragged over it. GUI thread.
#pragma once

#include <QWidget>

namespace longleaf::ui {

class DropOverlay final : public QWidget {
  Q_OBJECT

 public:
  explicit DropOverlay(QWidget* parent);

 protected:
  void paintEvent(QPaintEvent* event) override;
};

}  // namespace longleaf::ui
