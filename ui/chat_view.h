// The conversation about one document, and the line to ask in. GUI thread.
#pragma once

#include <QTextBrowser>
#include <QTimer>
#include <QWidget>

#include "ui/rows.h"

class QComboBox;
class QPlainTextEdit;
class QPushButton;

namespace longleaf::ui {

class ChatView final : public QWidget {
  Q_OBJECT

 public:
  explicit ChatView(QWidget* parent = nullptr);

  void setMessages(QList<ChatItem> messages);
  // A question was sent: shows it and waits for text.
  void beginAnswer(const QString& question);
  // Text of the open answer; shown at most 30 times a second.
  void addText(const QString& text);
  // The whole answer with its sources takes the place of what streamed.
  void finishAnswer(const ChatItem& item);
  // The open answer ends with a reason.
  void failAnswer(const QString& reason);

  void setAskingEnabled(bool enabled, const QString& hint);
  bool isAnswering() const { return answering_; }
  QString evidence() const;  // "auto", "exact", "leaf_kv", "quote"; with a memory, also its kinds
  // Kinds of evidence that a memory which was trained for the model can be.
  void setMemoryKinds(const QStringList& kinds);
  QString transcript() const { return view_->toPlainText(); }

 signals:
  void questionAsked(const QString& question);
  void stopRequested();
  void sourceActivated(const ui::SourceItem& source);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void send();
  void flush();
  void appendQuestion(const QString& question);
  void appendAnswer(const QString& html);
  void replaceOpenAnswer(const QString& html);
  void setAnswering(bool answering);
  void activate(const QUrl& link);

  QTextBrowser* view_;
  QPlainTextEdit* input_;
  QPushButton* ask_;
  QPushButton* stop_;
  QComboBox* evidence_;
  QTimer flushTimer_;
  QList<ChatItem> messages_;
  QString pending_;
  int answerStart_ = 0;  // in the view's text, of the open answer
  bool answering_ = false, waiting_ = false, enabled_ = false;
};

}  // namespace longleaf::ui
