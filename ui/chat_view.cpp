#include "ui/chat_view.h"

#include <QAbstractItemView>
#include <QComboBox>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QScrollBar>
#include <QVBoxLayout>
#include <array>

#include "ui/answer_html.h"

namespace longleaf::ui {
namespace {

constexpr int kFlushMs = 33;
constexpr int kInputLines = 3;
constexpr std::array kTextKinds = {"auto", "exact", "leaf_kv", "quote"};

}  // namespace

ChatView::ChatView(QWidget* parent)
    : QWidget(parent),
      view_(new QTextBrowser),
      input_(new QPlainTextEdit),
      ask_(new QPushButton(tr("&Ask"))),
      stop_(new QPushButton(tr("S&top"))),
      evidence_(new QComboBox) {
  view_->setOpenLinks(false);
  view_->setAccessibleName(tr("Conversation"));
  view_->document()->setDocumentMargin(10);
  input_->setPlaceholderText(tr("Ask about this document …"));
  input_->setAccessibleName(tr("Question"));
  input_->setFixedHeight(input_->fontMetrics().lineSpacing() * kInputLines + 14);
  input_->setTabChangesFocus(true);
  input_->installEventFilter(this);
  ask_->setDefault(true);
  stop_->hide();
  evidence_->setAccessibleName(tr("Evidence"));
  evidence_->view()->setAccessibleName(tr("Kinds of evidence"));
  evidence_->setToolTip(
      tr("What the answer is made from: chosen automatically, the text read again, its memory, or verbatim quotes "
         "without a model"));
  evidence_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  for (const char* name : kTextKinds) evidence_->addItem(QString::fromLatin1(name));
  flushTimer_.setInterval(kFlushMs);
  flushTimer_.setSingleShot(true);

  auto* buttons = new QHBoxLayout;
  auto* label = new QLabel(tr("&Evidence:"));
  label->setBuddy(evidence_);
  buttons->addWidget(label);
  buttons->addWidget(evidence_);
  buttons->addStretch();
  buttons->addWidget(stop_);
  buttons->addWidget(ask_);
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->addWidget(view_, 1);
  layout->addWidget(input_);
  layout->addLayout(buttons);

  connect(ask_, &QPushButton::clicked, this, &ChatView::send);
  connect(stop_, &QPushButton::clicked, this, &ChatView::stopRequested);
  connect(view_, &QTextBrowser::anchorClicked, this, &ChatView::activate);
  connect(&flushTimer_, &QTimer::timeout, this, &ChatView::flush);
  setAskingEnabled(false, tr("Open a document first"));
}

QString ChatView::evidence() const { return evidence_->currentText(); }

void ChatView::setMemoryKinds(const QStringList& kinds) {
  while (evidence_->count() > static_cast<int>(kTextKinds.size())) evidence_->removeItem(evidence_->count() - 1);
  evidence_->addItems(kinds);
}

void ChatView::setMessages(QList<ChatItem> messages) {
  messages_ = std::move(messages);
  pending_.clear();
  flushTimer_.stop();
  setAnswering(false);
  view_->clear();
  for (int i = 0; i < messages_.size(); ++i) {
    appendQuestion(messages_[i].question);
    appendAnswer(answerHtml(messages_[i], i));
  }
}

void ChatView::appendQuestion(const QString& question) {
  QTextCursor cursor(view_->document());
  cursor.movePosition(QTextCursor::End);
  if (!view_->document()->isEmpty()) cursor.insertBlock();
  QTextBlockFormat block;
  block.setTopMargin(14);
  cursor.setBlockFormat(block);
  QTextCharFormat format;
  format.setFontWeight(QFont::Bold);
  cursor.insertText(question, format);
  view_->ensureCursorVisible();
}

void ChatView::appendAnswer(const QString& html) {
  QTextCursor cursor(view_->document());
  cursor.movePosition(QTextCursor::End);
  QTextBlockFormat block;
  block.setTopMargin(4);
  cursor.insertBlock(block, QTextCharFormat());
  answerStart_ = cursor.position();
  cursor.insertHtml(html);
  view_->verticalScrollBar()->setValue(view_->verticalScrollBar()->maximum());
}

void ChatView::beginAnswer(const QString& question) {
  appendQuestion(question);
  appendAnswer(QStringLiteral("<span style=\"color:gray\">%1</span>").arg(tr("Looking …")));
  waiting_ = true;
  setAnswering(true);
}

void ChatView::addText(const QString& text) {
  if (!answering_) return;
  pending_ += text;
  if (!flushTimer_.isActive()) flushTimer_.start();
}

void ChatView::flush() {
  if (!answering_ || pending_.isEmpty()) return;
  if (waiting_) replaceOpenAnswer(QString());
  waiting_ = false;
  const bool atEnd = view_->verticalScrollBar()->value() >= view_->verticalScrollBar()->maximum() - 4;
  QTextCursor cursor(view_->document());
  cursor.movePosition(QTextCursor::End);
  cursor.insertText(pending_, QTextCharFormat());
  pending_.clear();
  if (atEnd) view_->verticalScrollBar()->setValue(view_->verticalScrollBar()->maximum());
}

void ChatView::replaceOpenAnswer(const QString& html) {
  QTextCursor cursor(view_->document());
  cursor.setPosition(answerStart_);
  cursor.movePosition(QTextCursor::End, QTextCursor::KeepAnchor);
  cursor.removeSelectedText();
  cursor.setCharFormat(QTextCharFormat());
  if (!html.isEmpty()) cursor.insertHtml(html);
}

void ChatView::finishAnswer(const ChatItem& item) {
  if (!answering_) return;
  pending_.clear();
  flushTimer_.stop();
  messages_.append(item);
  replaceOpenAnswer(answerHtml(item, static_cast<int>(messages_.size()) - 1));
  setAnswering(false);
  view_->verticalScrollBar()->setValue(view_->verticalScrollBar()->maximum());
}

void ChatView::failAnswer(const QString& reason) {
  if (!answering_) return;
  flush();
  replaceOpenAnswer(QStringLiteral("<span style=\"color:#b03a2e\">%1</span>").arg(reason.toHtmlEscaped()));
  setAnswering(false);
}

void ChatView::setAnswering(bool answering) {
  answering_ = answering;
  waiting_ = waiting_ && answering;
  stop_->setVisible(answering);
  ask_->setEnabled(enabled_ && !answering);
}

void ChatView::setAskingEnabled(bool enabled, const QString& hint) {
  enabled_ = enabled;
  input_->setEnabled(enabled);
  input_->setPlaceholderText(hint);
  ask_->setEnabled(enabled && !answering_);
}

void ChatView::send() {
  const QString question = input_->toPlainText().trimmed();
  if (question.isEmpty() || answering_ || !enabled_) return;
  input_->clear();
  beginAnswer(question);
  emit questionAsked(question);
}

// Enter sends, Shift+Enter breaks the line, Escape stops.
bool ChatView::eventFilter(QObject* watched, QEvent* event) {
  if (watched == input_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<QKeyEvent*>(event);
    const bool enter = key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter;
    if (enter && (key->modifiers() & Qt::ShiftModifier) == 0) return send(), true;
    if (key->key() == Qt::Key_Escape && answering_) return emit stopRequested(), true;
  }
  return QWidget::eventFilter(watched, event);
}

void ChatView::activate(const QUrl& link) {
  const QStringList parts = link.toString().split(':');
  if (parts.size() != 3 || parts[0] != QLatin1String("source")) return;
  const int message = parts[1].toInt(), index = parts[2].toInt();
  if (message >= 0 && message < messages_.size() && index >= 0 && index < messages_[message].sources.size())
    emit sourceActivated(messages_[message].sources[index]);
}

}  // namespace longleaf::ui
