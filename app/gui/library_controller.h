// Reads and changes the library for the window, on a thread of its own. Its own methods: GUI thread; they return at
// once, and signals come on the GUI thread.
#pragma once

#include <QObject>
#include <QSet>
#include <QTimer>
#include <filesystem>
#include <memory>
#include <optional>

#include "app/gui/task_thread.h"
#include "ingest/library/library.h"
#include "ui/rows.h"

namespace longleaf {

struct OpenedDocument {
  DocumentRow row;
  QList<ui::SectionItem> sections;
  QList<ui::PageItem> pages;
  QList<ui::ChatItem> messages;
};

class LibraryController final : public QObject {
  Q_OBJECT

 public:
  explicit LibraryController(std::filesystem::path folder, QObject* parent = nullptr);

  void loadDocuments();
  void openDocument(qint64 key);  // a later call makes an earlier one's answer void
  bool isOpening() const { return opening_ != opened_; }
  void newChat(qint64 key);
  // Answers with found; a later call makes an earlier one's answer void.
  void search(qint64 key, const QString& text, const QList<ui::PageItem>& pages);
  void remove(qint64 key);
  // Answers with scansCounted.
  void countScans(qint64 key);
  // Answers with settingLoaded for each in order, all at once; not for what was saved meanwhile.
  void loadSettings(const QStringList& names);
  void saveSetting(const QString& name, const QString& value);

 signals:
  void documentsLoaded(const QList<ui::LibraryItem>& documents);
  void documentOpened(const OpenedDocument& document);
  void found(const QString& text, const QList<ui::SearchItem>& hits);
  void removed(qint64 key, const QString& title, qint64 bytesFreed);
  void scansCounted(qint64 key, int pages, double secondsPerPage);  // 0 s: not known yet
  void settingLoaded(const QString& name, const QString& value);
  void failed(const QString& reason);

 private:
  // Loads the documents again if another program, or another thread of this one, changed the library.
  void lookForChanges();
  // On the thread: the library, opened when first needed. nullptr after telling why not.
  Library* library();
  Result<OpenedDocument> read(Library& library, qint64 key);
  Result<OpenedDocument> readUnfinished(Library& library, OpenedDocument opened);
  // From the thread: runs `done` on the GUI thread.
  void home(std::function<void()> done);
  void fail(const Status& status);

  std::filesystem::path folder_;
  std::unique_ptr<Library> library_;     // only the thread touches it
  std::optional<Database::Mark> shown_;  // when the documents were loaded; as library_
  QTimer watch_;
  QSet<QString> loading_;  // settings
  quint64 opening_ = 0, opened_ = 0, searching_ = 0;
  TaskThread thread_;  // last: ends before the rest goes
};

}  // namespace longleaf
