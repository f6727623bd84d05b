#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalSpy>
#include <QTest>
#include <QTextBrowser>

#include "ui/answer_html.h"
#include "ui/chat_view.h"

using namespace longleaf::ui;

class ChatViewTest : public QObject {
  Q_OBJECT

 private slots:
  void init() {
    chat_ = std::make_unique<ChatView>();
    chat_->setAskingEnabled(true, QStringLiteral("Ask"));
    chat_->resize(400, 500);
    chat_->show();
    QVERIFY(QTest::qWaitForWindowExposed(chat_.get()));
  }

  void enterSendsAndShiftEnterBreaksTheLine() {
    QSignalSpy asked(chat_.get(), &ChatView::questionAsked);
    QTest::keyClicks(input(), QStringLiteral("What"));
    QTest::keyClick(input(), Qt::Key_Return, Qt::ShiftModifier);
    QTest::keyClicks(input(), QStringLiteral("now?"));
    QCOMPARE(asked.count(), 0);
    QTest::keyClick(input(), Qt::Key_Return);
    QCOMPARE(asked.count(), 1);
    QCOMPARE(asked[0][0].toString(), QStringLiteral("What\nnow?"));
    QVERIFY(chat_->isAnswering());
    QVERIFY(input()->toPlainText().isEmpty());
  }

  void nothingIsSentWhileAnAnswerIsOpenOrTheLineIsEmpty() {
    QSignalSpy asked(chat_.get(), &ChatView::questionAsked);
    QTest::keyClicks(input(), QStringLiteral("   "));
    QTest::keyClick(input(), Qt::Key_Return);
    QCOMPARE(asked.count(), 0);
    chat_->beginAnswer(QStringLiteral("one"));
    QTest::keyClicks(input(), QStringLiteral("two"));
    QTest::keyClick(input(), Qt::Key_Return);
    QCOMPARE(asked.count(), 0);
  }

  void textStreamsAndTheFinishedAnswerTakesItsPlace() {
    chat_->beginAnswer(QStringLiteral("Q"));
    for (int i = 0; i < 50; ++i) chat_->addText(QStringLiteral("word "));
    QTRY_VERIFY(chat_->transcript().contains(QStringLiteral("word word")));
    chat_->finishAnswer({QStringLiteral("Q"), QStringLiteral("All said."), {source(QStringLiteral("All said."))}});
    QVERIFY(!chat_->transcript().contains(QStringLiteral("word")));
    QVERIFY(chat_->transcript().contains(QStringLiteral("All said. [page 12]")));
    QVERIFY(!chat_->isAnswering());
    SourceItem inText = source(QStringLiteral("Told."));  // of a document without pages of its own
    inText.pageLabel = QStringLiteral("§3 ¶12");
    chat_->beginAnswer(QStringLiteral("Q"));
    chat_->finishAnswer({QStringLiteral("Q"), QStringLiteral("Told."), {inText}});
    QVERIFY(chat_->transcript().contains(QStringLiteral("Told. [§3 ¶12]")));
  }

  void stopAndEscapeAskToStop() {
    QSignalSpy stopped(chat_.get(), &ChatView::stopRequested);
    chat_->beginAnswer(QStringLiteral("Q"));
    const auto buttons = chat_->findChildren<QPushButton*>();
    for (QPushButton* button : buttons)
      if (button->text().contains(QStringLiteral("top"))) QTest::mouseClick(button, Qt::LeftButton);
    QTest::keyClick(input(), Qt::Key_Escape);
    QCOMPARE(stopped.count(), 2);
  }

  void aSourceLinkGivesItsSource() {
    QSignalSpy activated(chat_.get(), &ChatView::sourceActivated);
    chat_->setMessages({{QStringLiteral("Q"), QStringLiteral("A."), {source(QStringLiteral("A."))}}});
    auto* browser = chat_->findChild<QTextBrowser*>();
    emit browser->anchorClicked(QUrl(QStringLiteral("source:0:0")));
    emit browser->anchorClicked(QUrl(QStringLiteral("source:9:0")));
    emit browser->anchorClicked(QUrl(QStringLiteral("http://example.org")));
    QCOMPARE(activated.count(), 1);
    QCOMPARE(activated[0][0].value<SourceItem>().page, 11);
  }

  void textOfStrangersIsNeverHtml() {
    const ChatItem item{
        QStringLiteral("Q"), QStringLiteral("<img src=x> & <b>"), {source(QStringLiteral("<img src=x> & <b>"))}};
    const QString html = answerHtml(item, 0);
    QVERIFY(!html.contains(QStringLiteral("<img")));
    QVERIFY(html.contains(QStringLiteral("&lt;img")));
  }

  void aSentenceWithoutSourceIsMarked() {
    SourceItem lost = source(QStringLiteral("Maybe."));
    lost.supported = false;
    QVERIFY(answerHtml({QStringLiteral("Q"), QStringLiteral("Maybe."), {lost}}, 0)
                .contains(QStringLiteral("no source found")));
  }

  void aFailureEndsTheAnswerWithItsReason() {
    chat_->beginAnswer(QStringLiteral("Q"));
    chat_->failAnswer(QStringLiteral("The disk is full."));
    QVERIFY(chat_->transcript().contains(QStringLiteral("The disk is full.")));
    QVERIFY(!chat_->isAnswering());
  }

 private:
  QPlainTextEdit* input() const { return chat_->findChild<QPlainTextEdit*>(); }
  static SourceItem source(const QString& sentence) {
    return {sentence, true, 11, {}, QStringLiteral("quote"), {QRectF(0.1, 0.1, 0.2, 0.02)}};
  }
  std::unique_ptr<ChatView> chat_;
};

QTEST_MAIN(ChatViewTest)
#include "chat_view_test.moc"
