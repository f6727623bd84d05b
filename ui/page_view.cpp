#include "ui/page_view.h"

#include <QKeyEvent>
#include <QPainter>
#include <QScrollBar>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

namespace longleaf::ui {
namespace {

constexpr int kGap = 12;        // between pages, and around them
constexpr int kKeepAround = 4;  // pages whose pictures are kept before and behind the visible ones
constexpr double kLeastZoom = 0.25, kMostZoom = 4.0;
const QColor kHighlight(255, 226, 89);

}  // namespace

PageView::PageView(QWidget* parent) : QAbstractScrollArea(parent) {
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Pages"));
  viewport()->setBackgroundRole(QPalette::Mid);
  verticalScrollBar()->setSingleStep(40);
  connect(verticalScrollBar(), &QScrollBar::valueChanged, this, [this] { wantVisible(); });
}

void PageView::setPages(QList<PageItem> pages) {
  pages_ = std::move(pages);
  images_.clear();
  wanted_.clear();
  problems_.clear();
  boxPage_ = -1;
  boxes_.clear();
  lastCurrent_ = -1;
  verticalScrollBar()->setValue(0);
  layOut();
}

void PageView::setImage(int page, const QImage& image) {
  if (!wanted_.contains(page)) return;
  images_.insert(page, image);
  viewport()->update(pageRect(page));
}

void PageView::setProblem(int page, const QString& reason) {
  problems_.insert(page, reason);
  viewport()->update();
}

void PageView::showBoxes(int page, const QList<QRectF>& boxes) {
  if (page < 0 || page >= pages_.size()) return;
  boxPage_ = page;
  boxes_ = boxes;
  const double height = pageRect(page).height();
  const double y = boxes.isEmpty() ? 0 : boxes.first().top() * height;
  scrollToY(tops_[page] + y - viewport()->height() / 3.0);
  viewport()->update();
}

void PageView::showPage(int page) {
  if (page >= 0 && page < pages_.size()) scrollToY(tops_[page] - kGap);
}

void PageView::scrollToY(double y) { verticalScrollBar()->setValue(static_cast<int>(std::lround(y))); }

void PageView::setZoom(double zoom) {
  const int page = std::max(0, currentPage());
  zoom_ = std::clamp(zoom, kLeastZoom, kMostZoom);
  layOut();
  showPage(page);
}

int PageView::currentPage() const {
  if (tops_.isEmpty()) return -1;
  const int middle = verticalScrollBar()->value() + viewport()->height() / 2;
  const auto next = std::upper_bound(tops_.begin(), tops_.end(), middle);
  return std::max(0, static_cast<int>(next - tops_.begin()) - 1);
}

void PageView::layOut() {
  pageWidth_ = std::max(50, static_cast<int>((viewport()->width() - 2 * kGap) * zoom_));
  tops_.clear();
  int y = kGap;
  for (const PageItem& page : pages_) {
    tops_.append(y);
    const double ratio = page.sizePt.width() > 0 ? page.sizePt.height() / page.sizePt.width() : 1.4;
    y += static_cast<int>(pageWidth_ * ratio) + kGap;
  }
  verticalScrollBar()->setRange(0, std::max(0, y - viewport()->height()));
  verticalScrollBar()->setPageStep(viewport()->height());
  horizontalScrollBar()->setRange(0, std::max(0, pageWidth_ + 2 * kGap - viewport()->width()));
  horizontalScrollBar()->setPageStep(viewport()->width());
  wantVisible();
  viewport()->update();
}

QRect PageView::pageRect(int page) const {
  const PageItem& item = pages_[page];
  const double ratio = item.sizePt.width() > 0 ? item.sizePt.height() / item.sizePt.width() : 1.4;
  const int x = std::max(kGap, (viewport()->width() - pageWidth_) / 2) - horizontalScrollBar()->value();
  return {x, tops_[page] - verticalScrollBar()->value(), pageWidth_, static_cast<int>(pageWidth_ * ratio)};
}

void PageView::wantVisible() {
  const int width = static_cast<int>(pageWidth_ * devicePixelRatioF());
  for (int page = 0; page < pages_.size(); ++page) {
    if (!pageRect(page).intersects(viewport()->rect()) || wanted_.value(page) == width) continue;
    wanted_.insert(page, width);
    emit imageWanted(page, width);
  }
  forgetFarImages();
  if (const int current = currentPage(); current != lastCurrent_) {
    lastCurrent_ = current;
    emit currentPageChanged(current);
  }
}

void PageView::forgetFarImages() {
  const int here = currentPage();
  const auto far = [&](int page) {
    return std::abs(page - here) > kKeepAround && !pageRect(page).intersects(viewport()->rect());
  };
  for (auto it = images_.begin(); it != images_.end();) it = far(it.key()) ? images_.erase(it) : std::next(it);
  for (auto it = wanted_.begin(); it != wanted_.end();) it = far(it.key()) ? wanted_.erase(it) : std::next(it);
}

void PageView::paintEvent(QPaintEvent*) {
  QPainter painter(viewport());
  painter.setRenderHint(QPainter::SmoothPixmapTransform);  // a picture may be a pixel off the page's place
  if (pages_.isEmpty()) {
    painter.drawText(viewport()->rect(), Qt::AlignCenter | Qt::TextWordWrap,
                     tr("Drop a PDF, a book, a text or a folder here, or press Ctrl+O"));
    return;
  }
  for (int page = 0; page < pages_.size(); ++page) {
    const QRect rect = pageRect(page);
    if (!rect.intersects(viewport()->rect())) continue;
    painter.fillRect(rect, Qt::white);
    if (images_.contains(page))
      painter.drawImage(rect, images_[page]);
    else
      painter.setPen(Qt::gray), painter.drawText(rect, Qt::AlignCenter | Qt::TextWordWrap,
                                                 problems_.value(page, tr("Page %1").arg(page + 1)));
    if (page != boxPage_) continue;
    painter.setCompositionMode(QPainter::CompositionMode_Multiply);
    for (const QRectF& box : boxes_)
      painter.fillRect(QRectF(rect.x() + box.x() * rect.width(), rect.y() + box.y() * rect.height(),
                              box.width() * rect.width(), box.height() * rect.height()),
                       kHighlight);
    painter.setCompositionMode(QPainter::CompositionMode_SourceOver);
  }
}

void PageView::resizeEvent(QResizeEvent* event) {
  const int page = currentPage();
  QAbstractScrollArea::resizeEvent(event);
  layOut();
  if (page > 0) showPage(page);
}

void PageView::wheelEvent(QWheelEvent* event) {
  if ((event->modifiers() & Qt::ControlModifier) != 0) {
    setZoom(zoom_ * (event->angleDelta().y() > 0 ? 1.1 : 1 / 1.1));
    event->accept();
  } else {
    QAbstractScrollArea::wheelEvent(event);
  }
}

void PageView::keyPressEvent(QKeyEvent* event) {
  switch (event->key()) {
    case Qt::Key_Home:
      return scrollToY(0);
    case Qt::Key_End:
      return scrollToY(verticalScrollBar()->maximum());
    case Qt::Key_PageDown:
    case Qt::Key_Space:
      return scrollToY(verticalScrollBar()->value() + viewport()->height() * 0.9);
    case Qt::Key_PageUp:
      return scrollToY(verticalScrollBar()->value() - viewport()->height() * 0.9);
    default:
      QAbstractScrollArea::keyPressEvent(event);
  }
}

}  // namespace longleaf::ui
