#include <QScrollBar>
#include <QSignalSpy>
#include <QTest>

#include "ui/page_view.h"

using namespace longleaf::ui;

class PageViewTest : public QObject {
  Q_OBJECT

 private slots:
  void init() {
    view_ = std::make_unique<PageView>();
    view_->resize(500, 600);
    view_->show();
    QVERIFY(QTest::qWaitForWindowExposed(view_.get()));
  }

  void onlyVisiblePagesAreWanted() {
    QSignalSpy wanted(view_.get(), &PageView::imageWanted);
    view_->setPages(pages(600));
    QVERIFY(wanted.count() >= 1 && wanted.count() <= 3);
    wanted.clear();
    view_->showPage(300);
    QVERIFY(wanted.count() >= 1 && wanted.count() <= 3);
    QVERIFY(std::abs(wanted[0][0].toInt() - 300) <= 1);
    QVERIFY(std::abs(view_->currentPage() - 300) <= 1);
  }

  void aSourceScrollsToItsPageAndIsPainted() {
    view_->setPages(pages(20));
    view_->showBoxes(7, {QRectF(0.2, 0.5, 0.4, 0.1)});
    QCOMPARE(view_->currentPage(), 7);
    const QImage picture = view_->viewport()->grab().toImage();
    int yellow = 0;
    for (int y = 0; y < picture.height(); ++y)
      for (int x = 0; x < picture.width(); ++x) {
        const QColor c = picture.pixelColor(x, y);
        yellow += c.red() > 240 && c.green() > 200 && c.blue() < 120 ? 1 : 0;
      }
    QVERIFY2(yellow > 1000, qPrintable(QString::number(yellow)));
    view_->showBoxes(99, {});
    QCOMPARE(view_->highlightedPage(), 7);
  }

  void anImageForAnotherDocumentIsDropped() {
    view_->setPages(pages(3));
    view_->setPages(pages(1));
    QImage red(10, 10, QImage::Format_RGB32);
    red.fill(Qt::red);
    view_->setImage(2, red);
    view_->setImage(0, red);
    const QImage picture = view_->viewport()->grab().toImage();
    QCOMPARE(picture.pixelColor(picture.width() / 2, 100), QColor(Qt::red));
  }

  void zoomKeepsThePage() {
    view_->setPages(pages(50));
    view_->showPage(25);
    view_->setZoom(2.0);
    QVERIFY(std::abs(view_->currentPage() - 25) <= 1);
    view_->setZoom(1000);
    QCOMPARE(view_->zoom(), 4.0);
  }

  void noPagesIsAnInvitation() {
    view_->setPages({});
    QCOMPARE(view_->currentPage(), -1);
    view_->viewport()->grab();
  }

 private:
  static QList<PageItem> pages(int n) { return QList<PageItem>(n, PageItem{QSizeF(595, 842), {}}); }
  std::unique_ptr<PageView> view_;
};

QTEST_MAIN(PageViewTest)
#include "page_view_test.moc"
