#include "app/gui/convert.h"

#include <QHash>
#include <QJsonDocument>
#include <QJsonObject>

namespace longleaf {

ui::LibraryItem toItem(const DocumentRow& d) {
  return {d.key,    QString::fromStdString(d.title), d.pages,
          d.leaves, d.state == DocumentState::Ready, QString::fromStdString(d.id)};
}

QList<ui::SectionItem> toItems(const std::vector<NodeRow>& nodes) {
  QList<ui::SectionItem> items;
  items.reserve(static_cast<qsizetype>(nodes.size()));
  for (const NodeRow& n : nodes)
    items.append(
        {n.key, n.parent, n.kind == NodeKind::Leaf, QString::fromStdString(n.title), n.page_first, n.page_last});
  return items;
}

QList<ui::PageItem> toItems(const std::vector<PageRow>& pages) {
  QList<ui::PageItem> items;
  items.reserve(static_cast<qsizetype>(pages.size()));
  for (const PageRow& p : pages)
    items.append(
        {QSizeF(static_cast<double>(p.width_pt), static_cast<double>(p.height_pt)), QString::fromStdString(p.label)});
  return items;
}

namespace {

QList<QRectF> toRects(const std::vector<Box>& boxes) {
  QList<QRectF> rects;
  for (const Box& b : boxes)
    rects.append(QRectF(QPointF(static_cast<double>(b.x0), static_cast<double>(b.y0)),
                        QPointF(static_cast<double>(b.x1), static_cast<double>(b.y1))));
  return rects;
}

}  // namespace

ui::SearchItem toItem(const SearchHit& hit, const QList<ui::PageItem>& pages) {
  const QString printed = pages.value(hit.page).label;
  return {hit.page, printed.isEmpty() ? QString::number(hit.page + 1) : printed, QString::fromStdString(hit.snippet),
          toRects(hit.boxes)};
}

ui::ChatItem toItem(const MessageRow& message, const QList<ui::PageItem>& pages) {
  ui::ChatItem item{QString::fromStdString(message.question), QString::fromStdString(message.answer), {}};
  for (const CitationRow& c : message.citations) {
    ui::SourceItem source{QString::fromStdString(c.sentence), c.supported, c.page, {},
                          QString::fromStdString(c.quote),    {}};
    if (c.page >= 0 && c.page < pages.size()) source.pageLabel = pages[c.page].label;
    source.boxes = toRects(c.boxes);
    item.sources.append(std::move(source));
  }
  return item;
}

QHash<qint64, ui::RouteMark> toMarks(const Route& route) {
  QHash<qint64, ui::RouteMark> marks;
  for (const RoutedNode& n : route.trace) marks.insert(n.node, n.kept ? ui::RouteMark::Kept : ui::RouteMark::Pruned);
  return marks;
}

ui::TrainingPoint toItem(const train::StepReport& step, const std::optional<train::MemoryScores>& scores) {
  ui::TrainingPoint point{step.step, step.answer_loss, !step.corpus, -1, -1, -1};
  if (scores)
    point.heldOutLoss = scores->answer_loss, point.right = scores->right, point.reached = scores->gold_leaves_survive;
  return point;
}

QString toText(const ui::TrainingWish& wish) {
  const QJsonObject object{{QStringLiteral("library"), wish.wholeLibrary},
                           {QStringLiteral("questions"), wish.questions},
                           {QStringLiteral("written"), wish.written},
                           {QStringLiteral("out"), wish.out},
                           {QStringLiteral("steps"), wish.steps},
                           {QStringLiteral("rank"), wish.rank},
                           {QStringLiteral("rate"), wish.rate},
                           {QStringLiteral("scales"), wish.scales}};
  return QString::fromUtf8(QJsonDocument(object).toJson(QJsonDocument::Compact));
}

ui::TrainingWish toWish(const QString& text) {
  const QJsonObject object = QJsonDocument::fromJson(text.toUtf8()).object();
  ui::TrainingWish wish;
  wish.wholeLibrary = object.value(QLatin1String("library")).toBool(wish.wholeLibrary);
  wish.questions = object.value(QLatin1String("questions")).toString();
  wish.written = object.value(QLatin1String("written")).toInt(wish.written);
  wish.out = object.value(QLatin1String("out")).toString();
  wish.steps = object.value(QLatin1String("steps")).toInt(wish.steps);
  wish.rank = object.value(QLatin1String("rank")).toInt(wish.rank);
  wish.rate = object.value(QLatin1String("rate")).toDouble(wish.rate);
  wish.scales = object.value(QLatin1String("scales")).toBool(wish.scales);
  return wish;
}

QString toSentence(const Status& status) {
  QString text = QString::fromStdString(status.message());
  if (!text.endsWith('.') && !text.endsWith('!') && !text.endsWith('?')) text += '.';
  return text;
}

}  // namespace longleaf
