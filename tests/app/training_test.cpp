// A memory trained from the window: real window, real engine, a small random model.
#include <QComboBox>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalSpy>
#include <QTest>
#include <fstream>

#include "app/gui/application.h"
#include "app/places.h"
#include "engine/base/files.h"
#include "engine/train/training_log.h"
#include "tests/support/manual.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"
#include "ui/chat_view.h"
#include "ui/loss_plot.h"
#include "ui/model_menu.h"
#include "ui/training_window.h"

using namespace longleaf;
using namespace longleaf::test;

class TrainingTest : public QObject {
  Q_OBJECT

 private slots:
  void init() {
    folder_ = std::make_unique<TemporaryFolder>();
    manual({.pages = 6, .outline = true, .salt = 0}).save((*folder_ / "manual.pdf").string());
    std::ofstream(*folder_ / "model.gguf", std::ios::binary) << random_model_gguf(
        {.layers = 2, .d_model = 64, .heads = 4, .kv_heads = 2, .d_ff = 128, .context = 1024, .seed = 4});
    std::ofstream questions(*folder_ / "questions.jsonl");
    const auto ask = [&](const std::string& document, int pump) {
      questions << "{\"document\": \"" << document << "\", \"question\": \"How much does pump number " << pump
                << " deliver?\", \"answers\": [\"pump\"]}\n";
    };
    for (int pump = 2; pump < 6; ++pump) ask("manual.pdf", pump);
    ask("other.pdf", 2);
    application_ = std::make_unique<Application>(*folder_ / "lib");
  }
  void cleanup() { application_.reset(); }

  void aMemoryIsTrainedAndOpened() {
    open();
    ui::TrainingWish wish = training()->wish();
    QVERIFY(wish.out.endsWith(QStringLiteral("/lib/trained/model.memory.gguf")));
    wish.steps = 8, wish.rank = 2;
    wish.questions = QString::fromStdString((*folder_ / "questions.jsonl").string());
    training()->setWish(wish);
    QSignalSpy adapter(&application_->engine(), &EngineController::adapterOpened);
    button("&Train")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    QVERIFY2(training()->status().startsWith(QStringLiteral("Done after 8 steps")), qPrintable(training()->status()));
    QCOMPARE(training()->plot()->points().size(), 8);
    QVERIFY(training()->plot()->points().at(7).onQuestions && !training()->plot()->points().at(3).onQuestions);
    QVERIFY(shows(QStringLiteral("Of the questions, 1 are left out")));
    QVERIFY(shows(QStringLiteral("The steps that are left take about")));
    QTRY_COMPARE_WITH_TIMEOUT(adapter.count(), 1, 120000);
    auto* kinds = application_->window().chat()->findChild<QComboBox*>();
    QTRY_VERIFY_WITH_TIMEOUT(kinds->findText(QStringLiteral("memory_tokens")) >= 0, 5000);
  }

  void aTrainingIsPausedAndGoesOn() {
    open();
    QSignalSpy adapter(&application_->engine(), &EngineController::adapterOpened);
    begin(100000);
    QTRY_VERIFY_WITH_TIMEOUT(points() > 2, 120000);
    button("&Pause")->click();
    QTRY_VERIFY_WITH_TIMEOUT(button("&Go on") != nullptr, 120000);
    QTest::qWait(300);
    const auto paused = points();
    QTest::qWait(300);
    QCOMPARE(points(), paused);
    button("&Go on")->click();
    QTRY_VERIFY_WITH_TIMEOUT(points() > paused, 120000);
    button("&Pause")->click();
    QTRY_VERIFY_WITH_TIMEOUT(button("&Go on") != nullptr, 120000);
    button("S&top")->click();  // while it is paused
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    QVERIFY(training()->status().startsWith(QStringLiteral("Stopped after step")));
    QTest::qWait(300);
    QCOMPARE(adapter.count(), 0);  // half trained, it does not take the place of another
  }

  void aTrainingIsStoppedAndPausedBeforeItBegins() {
    open();
    ui::TrainingWish wish = training()->wish();
    wish.questions = QString::fromStdString((*folder_ / "questions.jsonl").string());
    training()->setWish(wish);
    begin(100000);
    button("&Pause")->click();
    QTRY_VERIFY_WITH_TIMEOUT(button("&Go on") != nullptr, 120000);
    QCOMPARE(points(), qsizetype{0});
    button("&Go on")->click();
    QTRY_VERIFY_WITH_TIMEOUT(points() > 0, 120000);
    button("S&top")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    begin(200000);
    button("S&top")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    QVERIFY2(training()->status().startsWith(QStringLiteral("Stopped before it began")),
             qPrintable(training()->status()));
  }

  void whatWasTrainedWhenTheProgramEndedIsGoneOnWith() {
    open();
    const QString out = QString::fromStdString((*folder_ / "lib" / "trained" / "mine.gguf").string());
    begin(100000, QStringLiteral("mine.gguf"));
    QTRY_VERIFY_WITH_TIMEOUT(points() > 2, 120000);
    application_.reset();  // in the middle of a step
    const auto log = read_file(out.toStdString() + ".csv");
    QVERIFY(log.ok());
    const auto done = static_cast<qsizetype>(train::parse_training_log(*log).size());
    QVERIFY(done > 2);

    application_ = std::make_unique<Application>(*folder_ / "lib");
    open();
    QCOMPARE(training()->wish().out, out);
    QCOMPARE(training()->wish().steps, 100000);
    button("&Train")->click();
    QTRY_VERIFY_WITH_TIMEOUT(points() > done, 120000);
    for (qsizetype i = 0; i < points(); ++i) QCOMPARE(training()->plot()->points().at(i).step, i + 1);
    button("S&top")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
  }

  void whatCannotBeTrainedSaysWhy() {
    open();
    ui::TrainingWish wish = training()->wish();
    wish.questions = QStringLiteral("/nonexistent.jsonl");
    training()->setWish(wish);
    button("&Train")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    QVERIFY2(training()->status().contains(QStringLiteral("nonexistent.jsonl")), qPrintable(training()->status()));
    wish.questions.clear();
    wish.written = 2;  // by a model that writes at random
    training()->setWish(wish);
    button("&Train")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    QVERIFY2(training()->status().contains(QStringLiteral("questions of your own")), qPrintable(training()->status()));
    wish.written = 0;
    wish.out = QString::fromStdString((*folder_ / "model.gguf").string());
    training()->setWish(wish);
    button("&Train")->click();
    QTRY_VERIFY_WITH_TIMEOUT(!training()->isTraining(), 120000);
    QVERIFY2(training()->status().contains(QStringLiteral("is the model itself")), qPrintable(training()->status()));
  }

 private:
  ui::TrainingWindow* training() { return application_->window().training(); }
  qsizetype points() { return training()->plot()->points().size(); }

  // Document and model, and the window that trains.
  void open() {
    application_->start({QString::fromStdString((*folder_ / "manual.pdf").string())});
    QSignalSpy opened(&application_->engine(), &EngineController::modelOpened);
    emit application_->window().modelOpened(QString::fromStdString((*folder_ / "model.gguf").string()));
    QTRY_VERIFY_WITH_TIMEOUT(opened.count() > 0, 120000);
    auto* input = application_->window().chat()->findChild<QPlainTextEdit*>();
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0 && input->isEnabled(), 120000);
    emit application_->window().modelMenu()->trainRequested();
    QVERIFY(training()->isVisible());
  }
  void begin(int steps, const QString& out = {}) {
    ui::TrainingWish wish = training()->wish();
    wish.steps = steps, wish.rank = 2;
    if (!out.isEmpty()) wish.out = out;
    training()->setWish(wish);
    button("&Train")->click();
    QVERIFY(training()->isTraining());
  }
  QPushButton* button(const char* text) {
    for (auto* b : training()->findChildren<QPushButton*>())
      if (b->text() == QLatin1String(text) && b->isVisible()) return b;
    return nullptr;
  }
  bool shows(const QString& text) {
    for (const auto* label : training()->findChildren<QLabel*>())
      if (label->text().contains(text)) return true;
    return false;
  }

  std::unique_ptr<TemporaryFolder> folder_;
  std::unique_ptr<Application> application_;
};

QTEST_MAIN(TrainingTest)
#include "training_test.moc"
