// The window that trains a memory: what it shows, and what it asks for.
#include "ui/training_window.h"

#include <QComboBox>
#include <QLabel>
#include <QPushButton>
#include <QSignalSpy>
#include <QTest>

#include "ui/loss_plot.h"

using namespace longleaf::ui;

class TrainingWindowTest : public QObject {
  Q_OBJECT

 private slots:
  void cleanup() { window_.showEnd({}, false); }

  void whatIsWishedForComesBackAsItWasSet() {
    TrainingWish wish{true, {}, 150, QStringLiteral("/a.gguf"), 77, 3, 0.002, true};
    window_.setWish(wish);
    QCOMPARE(window_.wish().written, 150);
    wish.questions = QStringLiteral("/q.jsonl");
    window_.setWish(wish);
    QCOMPARE(window_.wish().written, 0);  // there are some
    const TrainingWish got = window_.wish();
    QVERIFY(got.wholeLibrary && got.scales);
    QCOMPARE(got.questions, wish.questions);
    QCOMPARE(got.out, wish.out);
    QCOMPARE(got.steps, 77);
    QCOMPARE(got.rank, 3);
    QCOMPARE(got.rate, 0.002);
  }

  void trainingWithoutAFileToSaveAsDoesNotBegin() {
    window_.setWish({});
    QSignalSpy started(&window_, &TrainingWindow::startRequested);
    button("&Train")->click();
    QCOMPARE(started.count(), 0);
    QVERIFY(window_.status().contains(QStringLiteral("Choose the file")));
    QVERIFY(!window_.isTraining());
  }

  void aTrainingIsStartedShownPausedAndStopped() {
    begin();
    QVERIFY(window_.isTraining());
    window_.showWriting(3, 20, 400);
    QVERIFY(window_.status().contains(QStringLiteral("Writing questions: 3 of")));
    window_.showPlan({2, 30, 5000, 40, 4, 123456, 300u << 20, QStringLiteral("a card"), 7, {QStringLiteral("A note")}});
    QVERIFY(shows(QStringLiteral("of memory beside the model's file, on a card.")));
    QVERIFY(shows(QStringLiteral("Documents: 2, passages: 30, tokens: %1; questions: 40, held out for scores: 4")
                      .arg(QLocale().toString(5000))));
    QVERIFY(shows(QStringLiteral("A note.")));
    QVERIFY(window_.status().contains(QStringLiteral("after step 7")));
    window_.addPoints({{8, 2.5, false, -1, -1, -1}, {9, 2.25, true, 1.5, 0.25, 0.5}, {10, 2.125, true, -1, -1, -1}},
                      90);
    QVERIFY(window_.status().contains(QStringLiteral("Step 10 of 100 (questions): loss 2.125, about 2 min left")));
    QVERIFY(window_.status().contains(
        QStringLiteral("at step 9: loss 1.500, 25.0 % of answers right, 50.0 % of evidence reached")));

    window_.addLogged({{7, 3, false, -1, -1, -1}});
    QVERIFY(window_.status().contains(QStringLiteral("Step 10")));  // what was is no news

    QSignalSpy paused(&window_, &TrainingWindow::pauseToggled), stopped(&window_, &TrainingWindow::stopRequested);
    button("&Pause")->click();
    QCOMPARE(paused.takeFirst().at(0).toBool(), true);
    QVERIFY(!button("&Pause")->isEnabled());  // until it is paused
    window_.showPaused();
    QVERIFY(window_.status().contains(QStringLiteral("Paused")));
    button("&Go on")->click();
    QCOMPARE(paused.takeFirst().at(0).toBool(), false);
    window_.showPaused();  // that was on its way
    QVERIFY(button("&Pause") != nullptr && window_.status().contains(QStringLiteral("Going on")));
    window_.addPoints({{11, 2, true, -1, -1, -1}}, 60);
    QVERIFY(button("&Pause") != nullptr);
    button("S&top")->click();
    QCOMPARE(stopped.count(), 1);
    QVERIFY(!button("S&top")->isEnabled());
    window_.showEnd(QStringLiteral("Stopped after step 11."), false);
    QVERIFY(!window_.isTraining());
    window_.addPoints({{12, 2, true, -1, -1, -1}}, 60);  // that was on its way
    QCOMPARE(window_.status(), QStringLiteral("Stopped after step 11."));
  }

  void lossesAreDrawn() {
    begin();
    LossPlot* plot = window_.plot();
    plot->resize(600, 300);
    const QImage empty = plot->grab().toImage();
    QList<TrainingPoint> points;
    for (int i = 1; i <= 100; ++i) points.append({i, 5.0 / i, i > 50, i % 25 == 0 ? 4.0 / i : -1.0, 0.5, 0.5});
    plot->add(points);
    QVERIFY(plot->accessibleDescription().contains(QStringLiteral("at step 100 of 100")));
    const QImage drawn = plot->grab().toImage();
    QVERIFY(pixelsOf(drawn, QColor(0x7a, 0x9c, 0xc6)) > pixelsOf(empty, QColor(0x7a, 0x9c, 0xc6)) + 100);
    QVERIFY(pixelsOf(drawn, QColor(0xc0, 0x5a, 0x1c)) > pixelsOf(empty, QColor(0xc0, 0x5a, 0x1c)) + 30);
    plot->clear(100);
    QVERIFY(plot->grab().toImage() == empty);
  }

 private:
  void begin() {
    TrainingWish wish;
    wish.out = QStringLiteral("/a.gguf"), wish.steps = 100;
    window_.setWish(wish);
    QSignalSpy started(&window_, &TrainingWindow::startRequested);
    button("&Train")->click();
    QCOMPARE(started.count(), 1);
  }
  QPushButton* button(const char* text) {
    for (auto* b : window_.findChildren<QPushButton*>())
      if (b->text() == QLatin1String(text) && !b->isHidden()) return b;
    return nullptr;
  }
  bool shows(const QString& text) {
    for (const auto* label : window_.findChildren<QLabel*>())
      if (label->text().contains(text)) return true;
    return false;
  }
  static int pixelsOf(const QImage& image, const QColor& colour) {
    int n = 0;
    for (int y = 0; y < image.height(); ++y)
      for (int x = 0; x < image.width(); ++x) {
        const QColor at = image.pixelColor(x, y);
        n += std::abs(at.red() - colour.red()) + std::abs(at.green() - colour.green()) +
                         std::abs(at.blue() - colour.blue()) <
                     60
                 ? 1
                 : 0;
      }
    return n;
  }
  TrainingWindow window_;
};

QTEST_MAIN(TrainingWindowTest)
#include "training_window_test.moc"
