// Draws pages of the open document on a thread of its own; the newest wish first. Its own methods: GUI thread; signals
// come there too.
#pragma once

#include <QImage>
#include <QObject>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "app/gui/task_thread.h"
#include "ingest/reader/reader.h"

namespace longleaf {

class PageController final : public QObject {
  Q_OBJECT

 public:
  using QObject::QObject;

  // Pages wanted of another document before are forgotten.
  //   id  of the file's bytes when it was imported: another file in its place is not drawn
  void setDocument(const std::filesystem::path& file, const std::string& id, const QString& password);
  void want(int page, int widthPx);

 signals:
  void drawn(int page, const QImage& image);
  void failed(int page, const QString& reason);
  void passwordNeeded(const QString& file, const QString& reason);  // once per setDocument

 private:
  struct Wish {
    quint64 document;
    int page, width;
  };
  static constexpr size_t kMostWishes = 12;  // older ones have been scrolled past
  // On the thread.
  void drawNext();
  Status openReader(const std::filesystem::path& file, const std::string& id, const std::string& password);
  void home(std::function<void()> done);

  std::mutex mutex_;
  std::vector<Wish> wishes_;                // guarded by mutex_
  std::filesystem::path file_;              // guarded by mutex_
  std::string id_, password_;               // guarded by mutex_
  quint64 document_ = 0;                    // guarded by mutex_; counts setDocument
  std::unique_ptr<DocumentReader> reader_;  // only the thread touches it, and the next line
  quint64 readerOf_ = 0;
  Status readerStatus_;  // why there is no reader for readerOf_
  TaskThread thread_;    // last: ends before the rest goes
};

}  // namespace longleaf
