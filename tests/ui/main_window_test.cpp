#include <QDropEvent>
#include <QLabel>
#include <QMimeData>
#include <QSignalSpy>
#include <QTest>

#include "ui/drop_overlay.h"
#include "ui/figures_bar.h"
#include "ui/job_bar.h"
#include "ui/main_window.h"

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

  void figuresAreShownAsTheyCome() {
    FiguresBar bar;
    QVERIFY(bar.text().contains(QStringLiteral("No model")));
    bar.setFigures({QStringLiteral("CPU"), QStringLiteral("Tiny"), 300u << 20, 8ull << 30, 1ull << 30, 123.4, 456, 7.89,
                    QStringLiteral("exact"), QStringLiteral("No driver")});
    QCOMPARE(bar.findChildren<QLabel*>().constFirst()->toolTip(), QStringLiteral("No driver"));
    for (const char* part : {"Tiny · CPU", "300 MiB of 8.0 GiB (others 1.0 GiB)", "123 ms", "456 tok/s", "7.9 tok/s", "exact"})
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
