// The whole program in one process: real window, real controllers, real worker, real engine.
#include "app/gui/application.h"

#include <QComboBox>
#include <QDropEvent>
#include <QInputDialog>
#include <QLineEdit>
#include <QListWidget>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QSignalSpy>
#include <QTest>
#include <QTextBrowser>
#include <QThread>
#include <fstream>

#include "app/places.h"
#include "ingest/library/import_queue.h"
#include "ingest/reader/recognition.h"
#include "tests/support/manual.h"
#include "tests/support/random_model.h"
#include "tests/support/scan.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trained_adapter.h"
#include "ui/chat_view.h"
#include "ui/figures_bar.h"
#include "ui/job_bar.h"
#include "ui/library_model.h"
#include "ui/model_menu.h"
#include "ui/page_view.h"
#include "ui/search_panel.h"
#include "ui/section_model.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

const RandomModel kModel{.layers = 4,
                         .d_model = 128,
                         .heads = 4,
                         .kv_heads = 2,
                         .d_ff = 256,
                         .context = 4096,
                         .seed = 4,
                         .chat_template = "<|im_start|>"};

}  // namespace

class ApplicationTest : public QObject {
  Q_OBJECT

 private slots:
  void init() {
    folder_ = std::make_unique<TemporaryFolder>();
    pdf_ = QString::fromStdString((*folder_ / "manual.pdf").string());
    manual({.pages = 12, .outline = true, .salt = 0}).save(pdf_.toStdString());
    application_ = std::make_unique<Application>(*folder_ / "lib");
  }
  void cleanup() { application_.reset(); }

  void aDroppedFileIsReadAskedAndCited() {
    application_->start({});
    QVERIFY(QTest::qWaitForWindowExposed(&window()));
    drop(pdf_);
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    QCOMPARE(window().sections()->rowCount(), 1);
    QCOMPARE(window().sections()->rowCount(window().sections()->index(0, 0)), 6);
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QVERIFY2(window().chat()->transcript().contains(QStringLiteral("149 litres per minute. [page 8]")),
             qPrintable(window().chat()->transcript()));
    emit browser()->anchorClicked(QUrl(QStringLiteral("source:0:0")));
    QCOMPARE(window().pages()->highlightedPage(), 7);
    QCOMPARE(window().pages()->currentPage(), 7);
    QVERIFY(kept() >= 2);
  }

  void aPassageIsFoundByItsWordsAndShown() {
    application_->start({});
    drop(pdf_);
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    auto* line = window().search()->findChild<QLineEdit*>();
    QTest::keyClicks(line, QStringLiteral("\"pump number 7\" deliv"));
    auto* list = window().search()->findChild<QListWidget*>();
    QTRY_COMPARE_WITH_TIMEOUT(list->count(), 1, 30000);
    QVERIFY2(list->item(0)->text().startsWith(QStringLiteral("8 ")), qPrintable(list->item(0)->text()));
    QTest::keyClick(line, Qt::Key_Return);
    QCOMPARE(window().pages()->highlightedPage(), 7);
  }

  void anImportIsPausedAndGoesOnAndOneThatWasCancelledIsKept() {
    const QString large = QString::fromStdString((*folder_ / "large.pdf").string());
    manual({.pages = 1500, .outline = true, .salt = 7}).save(large.toStdString());
    application_->start({});
    drop(large);
    auto library = Library::open(*folder_ / "lib");
    QVERIFY(library.ok());
    const auto pages = [&] {
      int64_t n = 0;
      const Status counted = (*library)->database().query(
          "SELECT count(*) FROM pages p JOIN documents d ON d.key = p.document WHERE d.path LIKE '%large.pdf'", {},
          [&](const Row& row) { return n = row.integer(0), false; });
      return counted.ok() ? n : -1;
    };
    QTRY_VERIFY_WITH_TIMEOUT(pages() > 0, 120000);
    emit window().job()->pauseToggled(true);
    int64_t before = -1;
    QTRY_VERIFY_WITH_TIMEOUT(std::exchange(before, pages()) == pages() && (QTest::qWait(300), before == pages()),
                             60000);
    QVERIFY(before < 1500);
    QTest::qWait(500);
    QCOMPARE(pages(), before);
    emit window().job()->pauseToggled(false);
    QTRY_VERIFY_WITH_TIMEOUT(pages() > before, 60000);
    emit window().job()->cancelRequested();
    QTRY_VERIFY_WITH_TIMEOUT(window().job()->isHidden(), 60000);
    const int64_t kept = pages();
    QVERIFY(kept >= before && kept < 1500);
    QCOMPARE(*ImportQueue(**library).waiting(), 0);
    drop(large);
    QTRY_COMPARE_WITH_TIMEOUT(pages(), int64_t{1500}, 120000);
  }

  void whatAnotherProgramDoesToTheLibraryIsSeen() {
    application_->start({});
    drop(pdf_);
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    QTRY_COMPARE_WITH_TIMEOUT(window().library()->rowCount(), 1, 30000);  // the list comes behind the document
    const qint64 key = application_->document();
    std::ofstream(*folder_ / "other.md") << "# Another document\n\nIt says little.";
    auto library = Library::open(*folder_ / "lib");
    QVERIFY(library.ok());
    ImportOptions options;
    options.reader.worker = pdfWorkerProgram();
    QVERIFY(import_document(**library, *folder_ / "other.md", options).ok());
    QTRY_COMPARE_WITH_TIMEOUT(window().library()->rowCount(), 2, 30000);
    QCOMPARE(application_->document(), key);
    QVERIFY((*library)->remove(key).ok());
    QTRY_COMPARE_WITH_TIMEOUT(application_->document(), qint64{0}, 30000);
    QCOMPARE(window().library()->rowCount(), 1);
  }

  void aFileThatWasSetAsideIsNamedAtTheStart() {
    {
      auto library = Library::open(*folder_ / "lib");
      QVERIFY(library.ok());
      ImportQueue queue(**library);
      std::ofstream(*folder_ / "bad.pdf") << "%PDF-1.4";
      QVERIFY(queue.add({*folder_ / "bad.pdf"}, false).ok());
      for (int attempt = 0; attempt < 2; ++attempt) QVERIFY(queue.begin(*folder_ / "bad.pdf").ok());
    }
    application_->start({});
    QTRY_VERIFY_WITH_TIMEOUT(window().notice().contains(QStringLiteral("bad.pdf was set aside")), 30000);
  }

  void whatWaitedWhenTheProgramEndedIsReadAtTheNextStart() {
    std::filesystem::create_directories(*folder_ / "shelf");
    for (int i = 1; i <= 3; ++i)
      manual({.pages = 4, .outline = true, .salt = i})
          .save((*folder_ / "shelf" / (std::to_string(i) + ".pdf")).string());
    std::ofstream(*folder_ / "shelf" / "4.md") << "# Valves\n\nA valve closes.";
    {
      auto library = Library::open(*folder_ / "lib");
      QVERIFY(library.ok());
      QVERIFY(ImportQueue(**library).add(documents_in({*folder_ / "shelf"}), false).ok());
    }
    application_->start({});
    QTRY_COMPARE_WITH_TIMEOUT(window().library()->rowCount(), 4, 120000);
  }

  void aLongDocumentCanBeLookedAtWhileItIsRead() {
    const QString file = QString::fromStdString((*folder_ / "long.pdf").string());
    manual({.pages = 1500, .outline = false, .salt = 5}).save(file.toStdString());
    application_->start({file});
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    auto* input = window().chat()->findChild<QPlainTextEdit*>();
    QVERIFY(!input->isEnabled());  // still being read
    window().pages()->showPage(700);
    QTRY_VERIFY_WITH_TIMEOUT(input->isEnabled(), 120000);
    QCOMPARE(window().pages()->currentPage(), 700);
    QVERIFY(window().sections()->rowCount() == 1);
  }

  void scannedPagesAreOfferedAndRead() {
    if (recognition_languages().empty()) QSKIP("Tesseract is not installed");
    ReaderOptions options;
    options.worker = pdfWorkerProgram();
    std::vector<PageImage> images;
    {
      auto reader = DocumentReader::open(pdf_.toStdString(), options);
      QVERIFY(reader.ok());
      images.push_back(*(*reader)->render(7, 1654));
    }
    save_scan(images, *folder_ / "scan.pdf");
    application_->start({QString::fromStdString((*folder_ / "scan.pdf").string())});
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    QTRY_VERIFY_WITH_TIMEOUT(window().notice().contains(QStringLiteral("pages are scans")), 120000);
    emit window().recogniseRequested();
    QTRY_VERIFY_WITH_TIMEOUT(window().findChild<QInputDialog*>() != nullptr, 5000);
    window().findChild<QInputDialog*>()->accept();
    QTRY_VERIFY_WITH_TIMEOUT(window().notice().contains(QStringLiteral("was read")), 120000);
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QVERIFY2(window().chat()->transcript().contains(QStringLiteral("149 litres per minute")),
             qPrintable(window().chat()->transcript()));
  }

  void aModelStreamsItsAnswerWithFigures() {
    openEverything();
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    const QString figures = window().figures()->text();
    QVERIFY2(figures.contains(QStringLiteral("random")) && figures.contains(QStringLiteral("ms")) &&
                 !figures.contains(QStringLiteral("First token –")),
             qPrintable(figures));
    QVERIFY(window().chat()->transcript().contains(QStringLiteral("no source found")));
  }

  void anIdleModelGivesItsMemoryBackAndAnswersAgain() {
    openEverything();
    QVERIFY(!window().figures()->text().contains(QStringLiteral("Memory 0")));
    engine()->setIdle(std::chrono::milliseconds(100));
    QTRY_VERIFY_WITH_TIMEOUT(window().figures()->text().contains(QStringLiteral("Memory 0")), 120000);
    QVERIFY(window().figures()->text().contains(QStringLiteral("random")));
    engine()->setIdle(std::chrono::milliseconds(0));
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QVERIFY2(!window().figures()->text().contains(QStringLiteral("Memory 0")), qPrintable(window().figures()->text()));
  }

  void openingAModelSaysWhatItNeeds() {
    application_->start({});
    QSignalSpy opening(engine(), &EngineController::modelOpening), opened(engine(), &EngineController::modelOpened);
    emit window().modelOpened(QStringLiteral(LONGLEAF_TEST_DATA "/models/reader.gguf"));
    QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, 120000);
    QCOMPARE(opening.count(), 1);
    const QString text = opening[0][0].toString();
    QVERIFY2(text.contains(QStringLiteral("for keys and values of 4096 tokens")), qPrintable(text));
    QVERIFY(window().notice().isEmpty());  // it is open
    QSignalSpy changed(engine(), &EngineController::formatChanged);
    emit window().modelMenu()->compactChosen(true);
    QTRY_COMPARE_WITH_TIMEOUT(changed.count(), 1, 120000);
    QVERIFY(window().notice().contains(QStringLiteral("encoded once more")));
    emit window().modelOpened(QStringLiteral(LONGLEAF_TEST_DATA "/models/llama.gguf"));  // heads of 8 numbers
    QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 2, 120000);
    emit window().modelMenu()->compactChosen(true);
    QTRY_COMPARE_WITH_TIMEOUT(changed.count(), 2, 120000);
    QVERIFY(window().notice().contains(QStringLiteral("cannot be kept in 8 bits")));
  }

  void choicesAboutMemoryAreThereAgainNextTime() {
    application_->start({});
    emit window().modelMenu()->idleMinutesChosen(15);
    emit window().modelMenu()->memoryLimitChosen(3ull << 30);
    emit window().modelMenu()->compactChosen(true);
    application_ = std::make_unique<Application>(*folder_ / "lib");
    application_->start({});
    QTRY_COMPARE_WITH_TIMEOUT(window().modelMenu()->memoryLimit(), quint64{3ull << 30}, 120000);
    QTRY_COMPARE_WITH_TIMEOUT(window().modelMenu()->idleMinutes(), 15, 120000);
    QTRY_VERIFY_WITH_TIMEOUT(window().modelMenu()->isCompact(), 120000);
    application_ = std::make_unique<Application>(*folder_ / "lib");
    application_->start({});
    emit window().modelMenu()->compactChosen(false);  // before it is known what was chosen last time
    QTRY_COMPARE_WITH_TIMEOUT(window().modelMenu()->idleMinutes(), 15, 120000);
    QVERIFY(!window().modelMenu()->isCompact());
  }

  void anEmbeddingModelIsKeptAndReadsADocumentOnce() {
    const QString model = QStringLiteral(LONGLEAF_TEST_DATA "/models/bert.gguf");
    application_->start({pdf_});
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    QSignalSpy opened(engine(), &EngineController::embedderOpened), read(engine(), &EngineController::readingDone);
    emit window().modelOpened(model);
    QTRY_VERIFY_WITH_TIMEOUT(opened.count() == 1, 120000);
    QVERIFY(window().notice().contains(QStringLiteral("find passages")));
    for (int i = 0; i < 2; ++i) {
      ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
      QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
      QVERIFY(window().chat()->transcript().contains(QStringLiteral("149 litres per minute")));
    }
    QCOMPARE(read.count(), 1);
    auto library = Library::open(*folder_ / "lib");
    QVERIFY(library.ok());
    QTRY_COMPARE(QString::fromStdString(*(*library)->setting("embedder")), model);
  }

  void aMemoryThatWasTrainedForTheModelIsKeptWithItAndAnswers() {
    const QString adapter = QString::fromStdString((*folder_ / "memory.gguf").string());
    QVERIFY(save_adapter(adapter.toStdString(), TrainedAdapter({}, kModel).adapter()).ok());
    auto* kinds = window().chat()->findChild<QComboBox*>();
    {
      QSignalSpy failed(engine(), &EngineController::modelFailed);
      application_->start({});
      emit window().modelOpened(adapter);  // without a model
      QTRY_COMPARE_WITH_TIMEOUT(failed.count(), 1, 120000);
      QVERIFY2(window().notice().contains(QStringLiteral("open that model first")), qPrintable(window().notice()));
    }
    openEverything();
    QCOMPARE(kinds->findText(QStringLiteral("memory_tokens")), -1);
    QSignalSpy opened(engine(), &EngineController::adapterOpened), encoded(engine(), &EngineController::encoded);
    emit window().modelOpened(adapter);
    QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, 120000);
    QVERIFY(window().notice().contains(QStringLiteral("memory of its own")));
    emit window().encodeRequested();
    QTRY_COMPARE_WITH_TIMEOUT(encoded.count(), 1, 120000);
    kinds->setCurrentText(QStringLiteral("memory_tokens"));
    QCOMPARE(window().chat()->evidence(), QStringLiteral("memory_tokens"));
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QVERIFY2(window().figures()->text().contains(QStringLiteral("memory_tokens")),
             qPrintable(window().figures()->text()));
    QVERIFY(kept() >= 2);

    application_ = std::make_unique<Application>(*folder_ / "lib");  // the next start
    QSignalSpy again(engine(), &EngineController::adapterOpened), closed(engine(), &EngineController::adapterClosed);
    application_->start({});
    QTRY_COMPARE_WITH_TIMEOUT(again.count(), 1, 120000);
    QVERIFY(window().notice().isEmpty());
    closed.clear();
    QSignalSpy model(engine(), &EngineController::modelOpened);
    emit window().modelOpened(QString::fromStdString((*folder_ / "model.gguf").string()));
    QTRY_COMPARE_WITH_TIMEOUT(model.count(), 1, 120000);
    QCOMPARE(closed.count(), 1);  // a model is opened without: it may be another
    QCOMPARE(window().chat()->findChild<QComboBox*>()->findText(QStringLiteral("memory_tokens")), -1);
  }

  void whatIsNoModelDoesNotTakeThePlaceOfOne() {
    openEverything();
    QSignalSpy failed(engine(), &EngineController::modelFailed),
        closed(engine(), &EngineController::languageModelClosed);
    for (const QString& file : {pdf_, QStringLiteral("/nonexistent/embedder.gguf")}) emit window().modelOpened(file);
    QTRY_COMPARE_WITH_TIMEOUT(failed.count(), 2, 120000);
    QCOMPARE(closed.count(), 0);
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QVERIFY(window().figures()->text().contains(QStringLiteral("random")));
  }

  void anAnswerOutlivesItsDocumentBeingReadAnew() {
    RandomModel slow = kModel;  // still answering when the document has been read
    slow.layers = 8, slow.d_model = 256, slow.d_ff = 2048;
    openEverything(slow);
    QSignalSpy text(engine(), &EngineController::textCame);
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(text.count() > 2, 120000);
    QSignalSpy shown(window().sections(), &QAbstractItemModel::modelReset);
    emit window().documentSelected(application_->document());
    QTRY_VERIFY_WITH_TIMEOUT(shown.count() > 0, 120000);
    QVERIFY(window().chat()->isAnswering());
    QVERIFY(window().chat()->transcript().contains(QStringLiteral("pump number 7")));
    emit window().newChatRequested();
    QVERIFY(!window().chat()->isAnswering());
  }

  void stopEndsALongAnswer() {
    openEverything();
    QSignalSpy text(engine(), &EngineController::textCame);
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(text.count() > 2, 120000);
    emit window().chat()->stopRequested();
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 5000);
  }

  void signalsComeOnTheGuiThread() {
    openEverything();
    int wrong = 0, all = 0;
    const auto note = [&] {
      ++all;
      wrong += QThread::currentThread() != qApp->thread() ? 1 : 0;
    };
    connect(engine(), &EngineController::textCame, engine(), note, Qt::DirectConnection);
    connect(engine(), &EngineController::figuresChanged, engine(), note, Qt::DirectConnection);
    connect(engine(), &EngineController::answered, engine(), note, Qt::DirectConnection);
    ask(QStringLiteral("Which pump delivers most?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QVERIFY(all > 3);
    QCOMPARE(wrong, 0);
  }

  void encodingShowsProgressAndTheMemoryIsUsed() {
    openEverything();
    QSignalSpy encoded(engine(), &EngineController::encoded);
    emit window().encodeRequested();
    QTRY_COMPARE_WITH_TIMEOUT(encoded.count(), 1, 120000);
    QVERIFY(window().notice().startsWith(QStringLiteral("Encoded")));
    QVERIFY(window().job()->isHidden());
  }

  void aQuestionDoesNotWaitForEncoding() {
    manual({.pages = 400, .outline = true, .salt = 1}).save(pdf_.toStdString());
    openEverything();
    QSignalSpy encoded(engine(), &EngineController::encoded);
    QSignalSpy progress(engine(), &EngineController::encodeProgress);
    emit window().encodeRequested();
    QTRY_VERIFY_WITH_TIMEOUT(progress.count() > 0, 120000);
    ask(QStringLiteral("How many litres per minute does pump number 7 deliver?"));
    QTRY_VERIFY_WITH_TIMEOUT(!window().chat()->isAnswering(), 120000);
    QCOMPARE(encoded.count(), 0);
    const int before = progress.count();
    QTRY_VERIFY_WITH_TIMEOUT(progress.count() > before, 120000);  // it goes on
    emit window().job()->pauseToggled(true);
    QVERIFY(window().job()->text().contains(QStringLiteral("paused")));
    QTest::qWait(300);
    const int paused = progress.count();
    QTest::qWait(300);
    QCOMPARE(progress.count(), paused);
    emit window().job()->pauseToggled(false);
    QTRY_VERIFY_WITH_TIMEOUT(progress.count() > paused, 120000);
    emit window().job()->cancelRequested();
    QTRY_VERIFY_WITH_TIMEOUT(window().notice().contains(QStringLiteral("goes on from there")), 120000);
  }

  void whatCannotBeReadIsToldAndTheNextFileIsRead() {
    application_->start({});
    std::ofstream(*folder_ / "bad.pdf") << "not a pdf at all";
    drop(QString::fromStdString((*folder_ / "bad.pdf").string()));
    QTRY_VERIFY_WITH_TIMEOUT(window().notice().contains(QStringLiteral("not a PDF")), 120000);
    drop(pdf_);
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
  }

  void theConversationIsThereAgainNextTime() {
    aDroppedFileIsReadAskedAndCited();
    application_ = std::make_unique<Application>(*folder_ / "lib");
    application_->start({});
    QTRY_VERIFY_WITH_TIMEOUT(window().chat()->transcript().contains(QStringLiteral("149 litres")), 120000);
  }

  void aModelThatCannotBeUsedSaysWhy() {
    application_->start({});
    emit window().modelOpened(pdf_);
    QTRY_VERIFY_WITH_TIMEOUT(window().notice().contains(QStringLiteral("not a GGUF")), 120000);
  }

  void deletingTheOpenDocumentEmptiesTheWindow() {
    application_->start({pdf_});
    QTRY_VERIFY_WITH_TIMEOUT(application_->document() != 0, 120000);
    emit window().deleteRequested(application_->document());
    QTRY_COMPARE_WITH_TIMEOUT(window().sections()->rowCount(), 0, 120000);
    QCOMPARE(application_->document(), qint64{0});
  }

 private:
  ui::MainWindow& window() { return application_->window(); }
  EngineController* engine() { return &application_->engine(); }
  QTextBrowser* browser() { return window().chat()->findChild<QTextBrowser*>(); }

  void drop(const QString& file) {
    QMimeData data;
    data.setUrls({QUrl::fromLocalFile(file)});
    QDragEnterEvent enter(QPoint(100, 100), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(&window(), &enter);
    QDropEvent event(QPointF(100, 100), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(&window(), &event);
  }

  // A document is open and read to its end.
  bool isRead() { return application_->document() != 0 && window().chat()->findChild<QPlainTextEdit*>()->isEnabled(); }

  void ask(const QString& question) {
    auto* input = window().chat()->findChild<QPlainTextEdit*>();
    input->setPlainText(question);
    QTest::keyClick(input, Qt::Key_Return);
    QVERIFY(window().chat()->isAnswering());
  }

  void openEverything(const RandomModel& weights = kModel) {
    const auto model = *folder_ / "model.gguf";
    std::ofstream(model, std::ios::binary) << random_model_gguf(weights);
    application_->start({pdf_});
    QSignalSpy opened(engine(), &EngineController::modelOpened);
    emit window().modelOpened(QString::fromStdString(model.string()));
    QTRY_COMPARE_WITH_TIMEOUT(opened.count(), 1, 120000);
    QTRY_VERIFY_WITH_TIMEOUT(isRead(), 120000);
  }

  int kept() {
    int n = 0;
    const auto* model = window().sections();
    const std::function<void(const QModelIndex&)> walk = [&](const QModelIndex& index) {
      n += index.data(ui::SectionModel::MarkRole).toInt() == static_cast<int>(ui::RouteMark::Kept) ? 1 : 0;
      for (int row = 0; row < model->rowCount(index); ++row) walk(model->index(row, 0, index));
    };
    walk(model->index(0, 0));
    return n;
  }

  std::unique_ptr<TemporaryFolder> folder_;
  QString pdf_;
  std::unique_ptr<Application> application_;
};

QTEST_MAIN(ApplicationTest)
#include "application_test.moc"
