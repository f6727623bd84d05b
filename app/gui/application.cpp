#include "app/gui/application.h"

#include <QFileInfo>
#include <QLocale>
#include <cmath>

#include "app/gui/convert.h"
#include "app/places.h"
#include "ingest/reader/recognition.h"
#include "ui/chat_view.h"
#include "ui/figures_bar.h"
#include "ui/job_bar.h"
#include "ui/model_menu.h"
#include "ui/page_view.h"
#include "ui/search_panel.h"

namespace longleaf {
namespace {

const QString kModelSetting = QStringLiteral("model");
const QString kEmbedderSetting = QStringLiteral("embedder");
const QString kAdapterSetting = QStringLiteral("adapter");
const QString kIdleSetting = QStringLiteral("idle_minutes");
const QString kLimitSetting = QStringLiteral("memory_limit");
const QString kCompactSetting = QStringLiteral("compact_memory");
constexpr qsizetype kShownProblems = 6;
const QString kDocumentSetting = QStringLiteral("document");

}  // namespace

Application::Application(const std::filesystem::path& folder, QObject* parent)
    : QObject(parent), library_(folder), import_(folder), engine_(folder), training_(folder) {
  connectWindow();
  connectLibrary();
  connectImport();
  connectEngine();
  connectTraining();
}

void Application::start(const QStringList& files) {
  window_.show();
  offerSample_ = files.isEmpty();
  // What was chosen for models, before one is opened.
  library_.loadSettings({TrainingDesk::kWishSetting, TrainingDesk::kModelSetting, kIdleSetting, kLimitSetting,
                         kCompactSetting, kModelSetting, kEmbedderSetting, kAdapterSetting, kDocumentSetting});
  library_.loadDocuments();
  import_.resume();
  for (const QString& file : files) import_.import(QFileInfo(file).absoluteFilePath());
}

void Application::connectWindow() {
  connect(&window_, &ui::MainWindow::filesOpened, this, [this](const QStringList& files) {
    problems_.clear();
    window_.showNotice({}, false);
    for (const QString& file : files) import_.import(file);
  });
  connect(&window_, &ui::MainWindow::passwordGiven, this, [this](const QString& file, const QString& password) {
    passwords_.insert(QFileInfo(file).canonicalFilePath(), password);
    import_.import(file, password);
  });
  connect(&window_, &ui::MainWindow::documentSelected, &library_, &LibraryController::openDocument);
  connect(&window_, &ui::MainWindow::deleteRequested, &library_, &LibraryController::remove);
  connect(&window_, &ui::MainWindow::newChatRequested, this, [this] {
    if (document() == 0) return;
    engine_.stopAnswer();
    window_.chat()->setMessages({});
    library_.newChat(document());
  });
  connect(&window_, &ui::MainWindow::modelOpened, &engine_, &EngineController::openModel);
  connect(&window_, &ui::MainWindow::modelClosed, &engine_, &EngineController::closeModel);
  connect(window_.modelMenu(), &ui::ModelMenu::idleMinutesChosen, this, [this](int minutes) {
    engine_.setIdle(std::chrono::minutes(minutes));
    library_.saveSetting(kIdleSetting, QString::number(minutes));
  });
  connect(window_.modelMenu(), &ui::ModelMenu::memoryLimitChosen, this, [this](quint64 bytes) {
    engine_.setMemoryLimit(bytes);
    training_.setMemoryLimit(bytes);
    library_.saveSetting(kLimitSetting, QString::number(bytes));
  });
  connect(window_.modelMenu(), &ui::ModelMenu::compactChosen, this, [this](bool compact) {
    engine_.setCompact(compact);
    library_.saveSetting(kCompactSetting, QString::number(compact ? 1 : 0));
  });
  connect(&window_, &ui::MainWindow::recogniseRequested, this, [this] {
    if (document() != 0) library_.countScans(document());
  });
  connect(&window_, &ui::MainWindow::languagesChosen, this,
          [this](const QString& languages) { import_.recognise(scanned_, languages.trimmed()); });
  connect(&window_, &ui::MainWindow::encodeRequested, this, [this] {
    if (document() != 0) engine_.encode(document());
  });
  connect(window_.pages(), &ui::PageView::imageWanted, &pages_, &PageController::want);
  connect(window_.search(), &ui::SearchPanel::searched, this, [this](const QString& text) {
    if (document() == 0) return window_.search()->setHits(text, {});
    library_.search(document(), text, document_.pages);
  });
  connect(window_.chat(), &ui::ChatView::questionAsked, this, [this](const QString& question) {
    window_.setRoute({});
    engine_.ask(document(), question, window_.chat()->evidence(), document_.pages);
  });
  connect(window_.chat(), &ui::ChatView::stopRequested, &engine_, &EngineController::stopAnswer);
  connect(window_.job(), &ui::JobBar::pauseToggled, &import_, &ImportController::setPaused);
  connect(window_.job(), &ui::JobBar::pauseToggled, &engine_, &EngineController::setEncodePaused);
  connect(window_.job(), &ui::JobBar::cancelRequested, this, [this] {
    import_.cancel();
    engine_.cancelEncode();
  });
}

void Application::connectLibrary() {
  connect(&library_, &LibraryController::documentsLoaded, this, &Application::showDocuments);
  connect(&library_, &LibraryController::found, window_.search(), &ui::SearchPanel::setHits);
  connect(&library_, &LibraryController::documentOpened, this, &Application::showDocument);
  connect(&library_, &LibraryController::removed, this, [this](qint64 key, const QString& title, qint64 bytesFreed) {
    window_.showNotice(tr("“%1” was removed; %2 were freed.").arg(title, QLocale().formattedDataSize(bytesFreed)),
                       false);
    if (key == document()) closeDocument();
    library_.loadDocuments();
  });
  connect(&library_, &LibraryController::settingLoaded, this, [this](const QString& name, const QString& value) {
    if (name == kEmbedderSetting) rememberedEmbedder_ = value;
    if (name == kAdapterSetting) rememberedAdapter_ = value;
    if (name == kIdleSetting) {
      window_.modelMenu()->setIdleMinutes(value.toInt());
      engine_.setIdle(std::chrono::minutes(value.toInt()));
    }
    training_.takeSetting(name, value);
    if (name == kLimitSetting) {
      window_.modelMenu()->setMemoryLimit(value.toULongLong());
      engine_.setMemoryLimit(value.toULongLong());
      training_.setMemoryLimit(value.toULongLong());
    }
    if (name == kCompactSetting) {
      window_.modelMenu()->setCompact(value.toInt() != 0);
      engine_.setCompact(value.toInt() != 0);
    }
    const bool isModel = name == kModelSetting || name == kEmbedderSetting || name == kAdapterSetting;
    if (isModel && !value.isEmpty()) engine_.openModel(value);
    if (name == kDocumentSetting && value.toLongLong() != 0 && offerSample_) {
      remembered_ = true;
      library_.openDocument(value.toLongLong());
    }
  });
  connect(&library_, &LibraryController::scansCounted, this, &Application::offerRecognition);
  connect(&library_, &LibraryController::failed, this,
          [this](const QString& reason) { window_.showNotice(reason, true); });
  connect(&pages_, &PageController::drawn, window_.pages(), &ui::PageView::setImage);
  connect(&pages_, &PageController::failed, window_.pages(), &ui::PageView::setProblem);
  connect(&pages_, &PageController::passwordNeeded, &window_, &ui::MainWindow::askPassword);
}

void Application::connectImport() {
  connect(&import_, &ImportController::progress, window_.job(), &ui::JobBar::setJob);
  connect(&import_, &ImportController::idle, this, [this] {
    if (!engine_.isEncoding()) window_.job()->clear();
    library_.loadDocuments();
  });
  connect(&import_, &ImportController::begun, this, [this](qint64 key) {
    if (!interrupts()) library_.openDocument(key);
  });
  connect(&import_, &ImportController::imported, this, &Application::showImported);
  connect(&import_, &ImportController::recognised, this, [this](qint64 key, const QString& summary) {
    window_.showNotice(summary, false);
    if (key == document()) library_.openDocument(key);
  });
  connect(&import_, &ImportController::passwordNeeded, &window_, &ui::MainWindow::askPassword);
  connect(&import_, &ImportController::failed, this, [this](const QString& file, const QString& reason) {
    const QString name = QFileInfo(file).fileName();
    const QString line = reason.contains(name) ? reason : tr("%1: %2").arg(name, reason);
    problems_ = problems_.mid(std::max<qsizetype>(0, problems_.size() - kShownProblems));
    problems_.append(line);
    window_.showNotice(problems_.mid(std::max<qsizetype>(0, problems_.size() - kShownProblems)).join('\n'), true);
  });
}

void Application::connectEngine() {
  connect(&engine_, &EngineController::modelOpened, this, [this](const QString& file, const ui::Figures& figures) {
    window_.figures()->setFigures(figures);
    hasLanguageModel_ = true;
    window_.setModelsOpen(hasLanguageModel_, hasEmbedder_);
    window_.showNotice({}, false);
    training_.setModel(file, figures.model);
    library_.saveSetting(kModelSetting, file);
  });
  connect(&engine_, &EngineController::modelOpening, this,
          [this](const QString& text) { window_.showNotice(text, false); });
  connect(&engine_, &EngineController::formatChanged, this,
          [this](const QString& text) { window_.showNotice(text, false); });
  connect(&engine_, &EngineController::languageModelClosed, this, [this] {
    hasLanguageModel_ = false;
    training_.setModel({}, {});
    window_.figures()->setFigures({});
    window_.setModelsOpen(hasLanguageModel_, hasEmbedder_);
    library_.saveSetting(kModelSetting, {});
  });
  connect(&engine_, &EngineController::embedderClosed, this, [this] {
    hasEmbedder_ = false;
    window_.setModelsOpen(hasLanguageModel_, hasEmbedder_);
    library_.saveSetting(kEmbedderSetting, {});
  });
  connect(&engine_, &EngineController::embedderOpened, this, [this](const QString& file, const QString& title) {
    hasEmbedder_ = true;
    window_.setModelsOpen(hasLanguageModel_, hasEmbedder_);
    const QString more = hasLanguageModel_ ? QString() : tr(" To have answers written, open a language model.");
    if (file != rememberedEmbedder_)
      window_.showNotice(tr("%1 helps to find passages by their meaning.").arg(title) + more, false);
    library_.saveSetting(kEmbedderSetting, file);
  });
  connect(&engine_, &EngineController::adapterOpened, this, [this](const QString& file, const QStringList& kinds) {
    window_.chat()->setMemoryKinds(kinds);
    if (file != rememberedAdapter_)
      window_.showNotice(tr("%1: the model has a memory of its own now. Encode the document (Document ▸ Encode), and "
                            "choose “%2” as evidence.")
                             .arg(QFileInfo(file).fileName(), kinds.value(0)),
                         false);
    rememberedAdapter_.clear();
    library_.saveSetting(kAdapterSetting, file);
  });
  connect(&engine_, &EngineController::adapterClosed, this, [this] {
    window_.chat()->setMemoryKinds({});
    if (rememberedAdapter_.isEmpty()) library_.saveSetting(kAdapterSetting, {});
  });
  connect(&engine_, &EngineController::readingProgress, window_.job(), &ui::JobBar::setJob);
  connect(&engine_, &EngineController::readingDone, this, [this] {
    if (import_.pending() == 0 && !engine_.isEncoding()) window_.job()->clear();
  });
  connect(&engine_, &EngineController::modelFailed, this,
          [this](const QString&, const QString& reason) { window_.showNotice(reason, true); });
  connect(&engine_, &EngineController::figuresChanged, window_.figures(), &ui::FiguresBar::setFigures);
  connect(&engine_, &EngineController::routed, &window_, &ui::MainWindow::setRoute);
  connect(&engine_, &EngineController::textCame, window_.chat(), &ui::ChatView::addText);
  connect(&engine_, &EngineController::answered, this, [this](qint64 key, const ui::ChatItem& item) {
    if (key == document()) window_.chat()->finishAnswer(item);
  });
  connect(&engine_, &EngineController::answerFailed, window_.chat(), &ui::ChatView::failAnswer);
  connect(&engine_, &EngineController::encodeProgress, window_.job(), &ui::JobBar::setJob);
  const auto encodeEnded = [this](const QString& text) {
    if (import_.pending() == 0) window_.job()->clear();
    window_.showNotice(text, false);
  };
  connect(&engine_, &EngineController::encoded, this, encodeEnded);
  connect(&engine_, &EngineController::encodeFailed, this, encodeEnded);
}

// A training is shown in the main window too, where nothing else is at work: its own may be closed.
void Application::connectTraining() {
  training_.setWindow(window_.training());
  const auto isBusy = [this] { return import_.pending() > 0 || engine_.isEncoding(); };
  connect(&training_, &TrainingDesk::began, &engine_, &EngineController::rest);
  connect(&training_, &TrainingDesk::settingChanged, &library_, &LibraryController::saveSetting);
  connect(&training_, &TrainingDesk::progress, this, [this, isBusy](const ui::JobItem& job) {
    if (!isBusy()) window_.job()->setJob(job);
  });
  connect(&training_, &TrainingDesk::ended, this,
          [this, isBusy](const QString& sentence, bool problem, const QString& adapter) {
            if (!isBusy()) window_.job()->clear();
            if (!window_.training()->isVisible()) window_.showNotice(sentence, problem);
            window_.setModelsOpen(hasLanguageModel_, hasEmbedder_);
            if (!adapter.isEmpty()) engine_.openModel(adapter);
          });
}

void Application::closeDocument() {
  engine_.stopAnswer();
  document_ = {};
  library_.saveSetting(kDocumentSetting, {});
  window_.setDocument({}, {}, {});
  training_.setDocument(0, {});
  window_.chat()->setMessages({});
}

// The open document, after another program changed the library: closed where it is gone, shown anew where it was read
// on.
void Application::followDocument(const QList<ui::LibraryItem>& documents) {
  const DocumentRow& row = document_.row;
  const auto there = std::find_if(documents.begin(), documents.end(), [&](const ui::LibraryItem& item) {
    return item.key == row.key && item.id.toStdString() == row.id;
  });
  if (there == documents.end()) {
    const QString title = QString::fromStdString(row.title);
    closeDocument();
    window_.showNotice(tr("“%1” was removed from the library by another program.").arg(title), false);
  } else if (library_.isOpening()) {
    return;  // the list is loaded again behind it
  } else if (there->ready != (row.state == DocumentState::Ready) || there->leaves != row.leaves) {
    library_.openDocument(row.key);
  }
}

void Application::showDocuments(const QList<ui::LibraryItem>& documents) {
  if (document() != 0) followDocument(documents);
  window_.setDocuments(documents, document());
  const auto sample = sampleDocument();
  if (documents.isEmpty() && offerSample_ && !sample.empty()) import_.import(QString::fromStdString(sample.string()));
  if (!documents.isEmpty() && offerSample_ && !remembered_) library_.openDocument(documents.last().key);
  offerSample_ = false;
}

// A document that is read anew while its reader waits for an answer keeps that answer: its text is already the new one.
void Application::showDocument(const OpenedDocument& document) {
  const bool again = document.row.key == document_.row.key;
  const bool answering = again && window_.chat()->isAnswering();
  const int page = again ? window_.pages()->currentPage() : 0;
  document_ = document;
  const QString file = QString::fromStdString(document.row.path.string());
  pages_.setDocument(document.row.path, document.row.id, passwords_.value(file));
  window_.setDocument(QString::fromStdString(document.row.title), document.sections, document.pages);
  training_.setDocument(document.row.key, QString::fromStdString(document.row.title));
  if (!answering) {
    engine_.stopAnswer();
    window_.chat()->setMessages(document.messages);
  }
  if (page > 0) window_.pages()->showPage(page);
  if (document.row.state != DocumentState::Ready)
    window_.chat()->setAskingEnabled(false, tr("This document has not been read to its end yet"));
  library_.saveSetting(kDocumentSetting, QString::number(document.row.key));
  library_.loadDocuments();
}

void Application::offerRecognition(qint64 key, int pages, double secondsPerPage) {
  if (key != document()) return;
  if (pages == 0) return window_.showNotice(tr("No page of this document is a scan without text."), false);
  QStringList languages;
  for (const auto& language : recognition_languages()) languages.append(QString::fromStdString(language));
  if (languages.isEmpty())
    return window_.showNotice(
        tr("%n page(s) are scans; to have their text, %1.", nullptr, pages).arg(QString::fromLatin1(kInstallTesseract)),
        true);
  const double seconds = secondsPerPage * pages;
  const QString time = seconds <= 0   ? tr("The time is known after the first page.")
                       : seconds < 90 ? tr("It will take about %1 s.").arg(std::ceil(seconds))
                                      : tr("It will take about %1 min.").arg(std::ceil(seconds / 60));
  scanned_ = key;
  window_.askLanguages(languages, tr("%n page(s) are scans. %1", nullptr, pages).arg(time));
}

void Application::showImported(const QString& file, qint64 key, bool alreadyThere, const QStringList& warnings) {
  QString notice = alreadyThere ? tr("%1 is already in your library.").arg(QFileInfo(file).fileName()) : QString();
  if (!warnings.isEmpty())
    notice += (notice.isEmpty() ? QString() : QStringLiteral(" ")) + warnings.first() + QStringLiteral(".");
  if (warnings.size() > 1) notice += tr(" (and %n more note(s))", nullptr, static_cast<int>(warnings.size()) - 1);
  if (!notice.isEmpty() && problems_.isEmpty()) window_.showNotice(notice, false);
  if (key == document() || !interrupts()) library_.openDocument(key);
}

// A reader who is in the middle of something else is not interrupted: the library shows what is there now.
bool Application::interrupts() const {
  return document() != 0 && (import_.pending() > 1 || window_.chat()->isAnswering());
}

}  // namespace longleaf
