#include "ui/search_panel.h"

#include <QAbstractTextDocumentLayout>
#include <QKeyEvent>
#include <QLineEdit>
#include <QListWidget>
#include <QPainter>
#include <QStackedWidget>
#include <QStyledItemDelegate>
#include <QTextDocument>
#include <QVBoxLayout>

namespace longleaf::ui {
namespace {

constexpr int kPauseMs = 200;

// "a **hit** here" as rich text.
QString richText(const SearchItem& hit) {
  const QStringList parts = hit.snippet.split(QStringLiteral("**"));
  QString html = QStringLiteral("<b>%1</b> ").arg(hit.pageLabel.toHtmlEscaped());
  for (qsizetype i = 0; i < parts.size(); ++i)
    html += i % 2 == 1 ? QStringLiteral("<b>%1</b>").arg(parts[i].toHtmlEscaped()) : parts[i].toHtmlEscaped();
  return html;
}

// Draws rich text over as many lines as it takes.
class RichTextDelegate final : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;

  void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    QStyleOptionViewItem plain = option;
    initStyleOption(&plain, index);
    plain.text.clear();
    plain.widget->style()->drawControl(QStyle::CE_ItemViewItem, &plain, painter, plain.widget);
    QTextDocument document;
    layOut(document, option, index);
    QAbstractTextDocumentLayout::PaintContext context;
    const bool selected = option.state.testFlag(QStyle::State_Selected);
    context.palette.setColor(QPalette::Text,
                             option.palette.color(selected ? QPalette::HighlightedText : QPalette::Text));
    painter->save();
    painter->translate(option.rect.topLeft());
    document.documentLayout()->draw(painter, context);
    painter->restore();
  }

  QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override {
    QTextDocument document;
    layOut(document, option, index);
    return {static_cast<int>(document.idealWidth()), static_cast<int>(document.size().height())};
  }

 private:
  static void layOut(QTextDocument& document, const QStyleOptionViewItem& option, const QModelIndex& index) {
    const auto* view = qobject_cast<const QAbstractItemView*>(option.widget);
    document.setDefaultFont(option.font);
    document.setHtml(index.data(Qt::UserRole).toString());
    document.setTextWidth(view == nullptr ? 300 : view->viewport()->width());
  }
};

}  // namespace

SearchPanel::SearchPanel(QWidget* otherwise, QWidget* parent)
    : QWidget(parent), line_(new QLineEdit), list_(new QListWidget), stack_(new QStackedWidget) {
  line_->setPlaceholderText(tr("Search in this document"));
  line_->setAccessibleName(tr("Search in this document"));
  line_->setClearButtonEnabled(true);
  line_->installEventFilter(this);
  list_->setAccessibleName(tr("Found passages"));
  list_->setItemDelegate(new RichTextDelegate(list_));
  list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  list_->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOn);  // heights are taken from the width that is left
  list_->setResizeMode(QListView::Adjust);
  list_->installEventFilter(this);
  stack_->addWidget(otherwise);
  stack_->addWidget(list_);
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->addWidget(line_);
  layout->addWidget(stack_, 1);
  pause_.setSingleShot(true);
  pause_.setInterval(kPauseMs);
  connect(&pause_, &QTimer::timeout, this, &SearchPanel::again);
  connect(line_, &QLineEdit::textChanged, this, &SearchPanel::typed);
  connect(line_, &QLineEdit::returnPressed, this, [this] { activate(std::max(0, list_->currentRow())); });
  connect(list_, &QListWidget::itemActivated, this, [this](QListWidgetItem* item) { activate(list_->row(item)); });
  connect(list_, &QListWidget::currentRowChanged, this, &SearchPanel::activate);
}

QString SearchPanel::text() const { return line_->text().trimmed(); }

void SearchPanel::typed() {
  if (!text().isEmpty()) return pause_.start();
  pause_.stop();
  setHits({}, {});
}

void SearchPanel::again() {
  if (!text().isEmpty()) emit searched(text());
}

void SearchPanel::setHits(const QString& text, const QList<SearchItem>& hits) {
  if (text != this->text()) return;
  const QSignalBlocker quiet(list_);
  list_->clear();
  hits_ = hits;
  for (const SearchItem& hit : hits) {
    auto* item = new QListWidgetItem(QStringLiteral("%1 %2").arg(hit.pageLabel, QString(hit.snippet).remove("**")));
    item->setData(Qt::UserRole, richText(hit));
    list_->addItem(item);
  }
  if (hits.isEmpty() && !text.isEmpty()) {
    auto* none = new QListWidgetItem(tr("Nothing found"));
    none->setData(Qt::UserRole, none->text().toHtmlEscaped());
    none->setFlags(Qt::NoItemFlags);
    list_->addItem(none);
  }
  stack_->setCurrentIndex(text.isEmpty() ? 0 : 1);
}

void SearchPanel::focusLine() {
  line_->setFocus(Qt::ShortcutFocusReason);
  line_->selectAll();
}

void SearchPanel::activate(int row) {
  if (row >= 0 && row < hits_.size()) emit hitActivated(hits_[row]);
}

bool SearchPanel::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() != QEvent::KeyPress) return QWidget::eventFilter(watched, event);
  const int key = static_cast<QKeyEvent*>(event)->key();
  if (key == Qt::Key_Escape) return line_->clear(), line_->setFocus(), true;
  if (watched == line_ && key == Qt::Key_Down && !hits_.isEmpty()) {
    list_->setFocus(Qt::TabFocusReason);
    list_->setCurrentRow(std::max(0, list_->currentRow()));
    return true;
  }
  return QWidget::eventFilter(watched, event);
}

}  // namespace longleaf::ui
