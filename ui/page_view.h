// The pages of a document, one below the other, drawn as their pictures arrive. GUI thread.
#pragma once

#include <QAbstractScrollArea>
#include <QHash>
#include <QImage>

#include "ui/rows.h"

namespace longleaf::ui {

class PageView final : public QAbstractScrollArea {
  Q_OBJECT

 public:
  explicit PageView(QWidget* parent = nullptr);

  void setPages(QList<PageItem> pages);
  // `image` was wanted at this width; a picture of a page that is no longer wanted is dropped.
  void setImage(int page, const QImage& image);
  void setProblem(int page, const QString& reason);
  // Scrolls the first box into view, a third from the top.
  void showBoxes(int page, const QList<QRectF>& boxes);
  void showPage(int page);
  void setZoom(double zoom);  // 1: the page fills the width
  double zoom() const { return zoom_; }
  int currentPage() const;
  int highlightedPage() const { return boxPage_; }
  QSize sizeHint() const override { return {640, 800}; }

 signals:
  void imageWanted(int page, int widthPx);
  void currentPageChanged(int page);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  QRect pageRect(int page) const;  // in the viewport
  void layOut();
  void wantVisible();
  void forgetFarImages();
  void scrollToY(double y);

  QList<PageItem> pages_;
  QList<int> tops_;  // of each page, in pixels from the top of the document
  int pageWidth_ = 0;
  double zoom_ = 1.0;
  QHash<int, QImage> images_;
  QHash<int, int> wanted_;  // page → width asked for
  QHash<int, QString> problems_;
  int boxPage_ = -1;
  QList<QRectF> boxes_;
  int lastCurrent_ = -1;
};

}  // namespace longleaf::ui
