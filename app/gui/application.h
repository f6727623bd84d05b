// Ties the window to its controllers: the only place that knows all of them. GUI thread.
#pragma once

#include <QHash>
#include <QObject>
#include <filesystem>

#include "app/gui/engine_controller.h"
#include "app/gui/import_controller.h"
#include "app/gui/library_controller.h"
#include "app/gui/page_controller.h"
#include "app/gui/training_desk.h"
#include "ui/main_window.h"

namespace longleaf {

class Application final : public QObject {
  Q_OBJECT

 public:
  explicit Application(const std::filesystem::path& folder, QObject* parent = nullptr);

  // Shows the window, opens the remembered model, and reads `files`, or the sample document into an empty library.
  void start(const QStringList& files);
  ui::MainWindow& window() { return window_; }
  EngineController& engine() { return engine_; }
  qint64 document() const { return document_.row.key; }

 private:
  void connectWindow();
  void connectLibrary();
  void connectImport();
  void connectEngine();
  void connectTraining();
  void closeDocument();
  void followDocument(const QList<ui::LibraryItem>& documents);
  void showDocuments(const QList<ui::LibraryItem>& documents);
  void showDocument(const OpenedDocument& document);
  bool interrupts() const;
  void offerRecognition(qint64 key, int pages, double secondsPerPage);
  void showImported(const QString& file, qint64 key, bool alreadyThere, const QStringList& warnings);

  // The window comes last, so that it goes first: nothing is shown any more while threads end.
  LibraryController library_;
  ImportController import_;
  PageController pages_;
  EngineController engine_;
  TrainingDesk training_;
  OpenedDocument document_;
  QHash<QString, QString> passwords_;  // file → password, for this run only
  qint64 scanned_ = 0;                 // the document whose scans were offered to be read
  bool hasLanguageModel_ = false, hasEmbedder_ = false;
  bool offerSample_ = false, remembered_ = false;
  QString rememberedEmbedder_, rememberedAdapter_;  // opened by themselves, without a word
  QStringList problems_;                            // with the files that were opened last
  ui::MainWindow window_;
};

}  // namespace longleaf
