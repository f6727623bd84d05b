// The engine for the window: loads models, encodes and answers on a thread of its own. Its own methods: GUI thread;
// signals come there too.
#pragma once

#include <QHash>
#include <QObject>
#include <QTimer>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stop_token>

#include "app/asking.h"
#include "app/gui/task_thread.h"
#include "ui/rows.h"

namespace longleaf {

class EngineController final : public QObject {
  Q_OBJECT

 public:
  explicit EngineController(std::filesystem::path folder, QObject* parent = nullptr);
  ~EngineController() override;

  // A model that makes vectors of texts is kept beside the one that answers, and helps to find passages; a memory that
  // was trained for the open model is kept with it.
  void openModel(const QString& file);
  void closeModel();
  // Of a card; the open model is opened again within it. 0: what is free.
  void setMemoryLimit(quint64 bytes);
  // Keeps keys and values in 8 bits where the model allows it; an open model is opened again for the next question.
  void setCompact(bool compact);
  // Releases the model's memory until it is needed again.
  void rest();
  // After so long without work the model's memory is released until it is needed again. 0: never.
  void setIdle(std::chrono::milliseconds idle);
  // Every question has an id; signals of others than the last are not sent.
  void ask(qint64 document, const QString& question, const QString& evidence, const QList<ui::PageItem>& pages);
  void stopAnswer();
  // A question asked meanwhile is answered first; encoding then goes on where it was.
  void encode(qint64 document);
  // Pausing gives the processor back; going on costs nothing, because every finished leaf is kept.
  void setEncodePaused(bool paused);
  void cancelEncode();
  bool isEncoding() const { return encoding_ != 0; }

 signals:
  void modelOpened(const QString& file, const ui::Figures& figures);
  void modelOpening(const QString& notice);
  void embedderOpened(const QString& file, const QString& title);
  void languageModelClosed();
  void embedderClosed();
  void adapterOpened(const QString& file, const QStringList& kinds);  // of evidence
  void adapterClosed();
  void modelFailed(const QString& file, const QString& reason);
  void routed(const QHash<qint64, ui::RouteMark>& marks);
  void textCame(const QString& text);
  void figuresChanged(const ui::Figures& figures);
  void formatChanged(const QString& notice);  // of keys and values, or that it cannot be
  void answered(qint64 document, const ui::ChatItem& item);
  void answerFailed(const QString& reason);
  void readingProgress(const ui::JobItem& job);  // for meaning, before a document's first question
  void readingDone();
  void encodeProgress(const ui::JobItem& job);
  void encoded(const QString& summary);
  void encodeFailed(const QString& reason);

 private:
  // All on the thread.
  void answer(quint64 id, qint64 document, const QString& question, const QString& evidence,
              const QList<ui::PageItem>& pages, std::stop_token stop);
  Result<ui::ChatItem> answerAndKeep(quint64 id, qint64 document, const QString& question, const QString& evidence,
                                     const QList<ui::PageItem>& pages, std::stop_token stop);
  Result<EncodeReport> encodeNow(qint64 document, std::stop_token stop);
  Result<Asking*> asking();
  void openEmbedder(const QString& file);
  static QString openingText(const ModelFacts& facts);
  void openLanguageModel(const QString& file, const QString& adapter = {});
  void openAdapter(const QString& file);
  void restNow();
  void restIfIdle();
  void showReading(size_t done, size_t leaves);
  void endReading();
  ui::Figures figures(const AnswerStats* stats) const;

  void postEncode(qint64 document);
  void home(std::function<void()> done);
  void homeIfCurrent(quint64 id, std::function<void()> done);

  std::filesystem::path folder_;
  std::unique_ptr<Library> library_;  // the thread's, like the next five
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Embedder> embedder_;
  std::chrono::steady_clock::time_point reading_shown_;
  bool reading_ = false;  // for meaning, and shown
  std::unique_ptr<Asking> asking_;
  quint64 current_ = 0;
  qint64 encoding_ = 0;  // the document, 0: none
  quint64 encodeId_ = 0;
  bool encodePaused_ = false;
  ui::JobItem encodeJob_;  // as shown last
  std::stop_source answerStop_, encodeStop_;
  // The thread's.
  std::chrono::milliseconds idle_{0};
  std::chrono::steady_clock::time_point worked_;  // when work ended last
  size_t memoryLimit_ = 0;
  bool isCompact_ = false;
  QString modelFile_, adapterFile_;

  QTimer idleTimer_;
  TaskThread thread_;  // last: ends before the rest goes
};

}  // namespace longleaf
