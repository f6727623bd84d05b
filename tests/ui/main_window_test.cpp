#include <QDropEvent>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QMimeData>
#include <QSignalSpy>
#include <QTest>

#include "ui/drop_overlay.h"
#include "ui/figures_bar.h"
#include "ui/job_bar.h"
#include "ui/main_window.h"
#include "ui/page_view.h"
#include "ui/search_panel.h"

using namespace longleaf::ui;

class MainWindowTest : public QObject {
  Q_OBJECT

 private slots:
  void filesDroppedAnywhereAreOpened() {
    MainWindow window;
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
    QSignalSpy opened(&window, &MainWindow::filesOpened);
    QMimeData data;
    data.setUrls({QUrl::fromLocalFile(QStringLiteral("/a.pdf")), QUrl::fromLocalFile(QStringLiteral("/b c.pdf")),
                  QUrl(QStringLiteral("http://x/y.pdf"))});
    QDragEnterEvent enter(QPoint(10, 10), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(&window, &enter);
    QVERIFY(enter.isAccepted());
    QVERIFY(window.findChild<DropOverlay*>()->isVisible());
    QDropEvent drop(QPointF(10, 10), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(&window, &drop);
    QCOMPARE(opened.count(), 1);
    QCOMPARE(opened[0][0].toStringList(), (QStringList{QStringLiteral("/a.pdf"), QStringLiteral("/b c.pdf")}));
    QVERIFY(!window.findChild<DropOverlay*>()->isVisible());
  }

  void textDroppedIsNotTaken() {
    MainWindow window;
    QMimeData data;
    data.setText(QStringLiteral("hello"));
    QDragEnterEvent enter(QPoint(10, 10), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    enter.setAccepted(false);
    QCoreApplication::sendEvent(&window, &enter);
    QVERIFY(!enter.isAccepted());
  }

  void whatIsLookedForIsFoundByKeys() {
    MainWindow window;
    window.show();
    QVERIFY(QTest::qWaitForWindowExposed(&window));
    window.setDocument(QStringLiteral("Book"), {}, {{{600, 800}, {}}, {{600, 800}, {}}});
    QSignalSpy searched(window.search(), &SearchPanel::searched);
    window.search()->focusLine();
    auto* line = window.search()->findChild<QLineEdit*>();
    QTRY_VERIFY(line->hasFocus());
    QTest::keyClicks(line, QStringLiteral("pump"));
    QVERIFY(searched.wait());
    QCOMPARE(searched.count(), 1);  // not for every letter
    const SearchItem hit{1, QStringLiteral("2"), QStringLiteral("the **pump** <runs>"), {QRectF(0.1, 0.2, 0.3, 0.1)}};
    window.search()->setHits(QStringLiteral("pum"), {hit, hit});  // late: of what was typed before
    auto* list = window.search()->findChild<QListWidget*>();
    QCOMPARE(list->count(), 0);
    window.search()->setHits(QStringLiteral("pump"), {hit});
    QCOMPARE(list->count(), 1);
    QVERIFY(list->isVisible());
    QCOMPARE(list->item(0)->text(), QStringLiteral("2 the pump <runs>"));
    QVERIFY(list->item(0)->data(Qt::UserRole).toString().contains(QStringLiteral("<b>pump</b> &lt;runs&gt;")));
    QTest::keyClick(line, Qt::Key_Down);
    QCOMPARE(window.pages()->highlightedPage(), 1);
    QTest::keyClick(list, Qt::Key_Escape);
    QVERIFY(line->text().isEmpty() && !list->isVisible());
    QTest::keyClicks(line, QStringLiteral("unicorn"));
    QVERIFY(searched.wait());
    window.search()->setHits(QStringLiteral("unicorn"), {});
    QCOMPARE(list->item(0)->text(), QStringLiteral("Nothing found"));
  }

  void figuresAreShownAsTheyCome() {
    FiguresBar bar;
    QVERIFY(bar.text().contains(QStringLiteral("No model")));
    bar.setFigures({QStringLiteral("CPU"), QStringLiteral("Tiny"), 300u << 20, 8ull << 30, 1ull << 30, 123.4, 456, 7.89,
                    QStringLiteral("exact"), QStringLiteral("No driver")});
    QCOMPARE(bar.findChildren<QLabel*>().constFirst()->toolTip(), QStringLiteral("No driver"));
    for (const char* part :
         {"Tiny · CPU", "300 MiB of 8.0 GiB (others 1.0 GiB)", "123 ms", "456 tok/s", "7.9 tok/s", "exact"})
      QVERIFY2(bar.text().contains(QString::fromUtf8(part)), qPrintable(bar.text()));
  }

  void aJobShowsCountersAndTimeLeft() {
    JobBar bar;
    bar.setJob({QStringLiteral("Reading Book"), 40, 100, QStringLiteral("pages"), 59.2, false});
    QCOMPARE(bar.text(), QStringLiteral("Reading Book: 40 of 100 pages – 60 s left"));
    bar.setJob({QStringLiteral("Reading Book"), 40, 100, QStringLiteral("pages"), 240, false});
    QVERIFY(bar.text().contains(QStringLiteral("4 min left")));
    QSignalSpy paused(&bar, &JobBar::pauseToggled);
    bar.setJob({QStringLiteral("Reading Book"), 40, 100, QStringLiteral("pages"), 240, true});
    QVERIFY(bar.text().contains(QStringLiteral("paused")));
    QVERIFY(!bar.isHidden());
    bar.clear();
    QVERIFY(bar.isHidden());
  }

  void everyControlSaysWhatItIs() {
    MainWindow window;
    const auto widgets = window.findChildren<QWidget*>();
    for (const QWidget* widget : widgets) {
      if (widget->focusPolicy() != Qt::StrongFocus && widget->focusPolicy() != Qt::WheelFocus) continue;
      const bool named = !widget->accessibleName().isEmpty() || widget->property("text").isValid() ||
                         widget->objectName().startsWith(QLatin1String("qt_"));
      QVERIFY2(named, widget->metaObject()->className());
    }
  }
};

QTEST_MAIN(MainWindowTest)
#include "main_window_test.moc"
