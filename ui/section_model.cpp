#include "ui/section_model.h"

#include <QColor>
#include <QFont>
#include <QGuiApplication>
#include <QPalette>

namespace longleaf::ui {

void SectionModel::setSections(QList<SectionItem> sections) {
  beginResetModel();
  nodes_.clear();
  top_.clear();
  byKey_.clear();
  for (SectionItem& item : sections) {
    Node node;
    node.parent = byKey_.value(item.parent, -1);
    const int self = static_cast<int>(nodes_.size());
    QList<int>& siblings = node.parent < 0 ? top_ : nodes_[node.parent].children;
    node.row = static_cast<int>(siblings.size());
    siblings.append(self);
    byKey_.insert(item.key, self);
    node.item = std::move(item);
    nodes_.append(std::move(node));
  }
  endResetModel();
}

void SectionModel::setRoute(const QHash<qint64, RouteMark>& marks) {
  for (int i = 0; i < nodes_.size(); ++i) {
    const RouteMark mark = marks.value(nodes_[i].item.key, RouteMark::None);
    if (nodes_[i].mark == mark) continue;
    nodes_[i].mark = mark;
    const QModelIndex at = createIndex(nodes_[i].row, 0, static_cast<quintptr>(i));
    emit dataChanged(at, at);
  }
}

QModelIndex SectionModel::indexOf(qint64 key) const {
  const auto it = byKey_.constFind(key);
  return it == byKey_.constEnd() ? QModelIndex() : createIndex(nodes_[*it].row, 0, static_cast<quintptr>(*it));
}

const QList<int>& SectionModel::childrenOf(const QModelIndex& parent) const {
  return parent.isValid() ? nodes_[static_cast<int>(parent.internalId())].children : top_;
}

QModelIndex SectionModel::index(int row, int column, const QModelIndex& parent) const {
  const QList<int>& children = childrenOf(parent);
  if (column != 0 || row < 0 || row >= children.size()) return {};
  return createIndex(row, column, static_cast<quintptr>(children[row]));
}

QModelIndex SectionModel::parent(const QModelIndex& child) const {
  if (!child.isValid()) return {};
  const int parent = nodes_[static_cast<int>(child.internalId())].parent;
  return parent < 0 ? QModelIndex() : createIndex(nodes_[parent].row, 0, static_cast<quintptr>(parent));
}

int SectionModel::rowCount(const QModelIndex& parent) const { return static_cast<int>(childrenOf(parent).size()); }

int SectionModel::columnCount(const QModelIndex&) const { return 1; }

QString SectionModel::titleOf(const Node& node) const {
  if (!node.item.isLeaf) return node.item.title;
  return node.item.pageFirst == node.item.pageLast
             ? tr("page %1").arg(node.item.pageFirst + 1)
             : tr("pages %1–%2").arg(node.item.pageFirst + 1).arg(node.item.pageLast + 1);
}

QVariant SectionModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const Node& node = nodes_[static_cast<int>(index.internalId())];
  switch (role) {
    case Qt::DisplayRole:
      return titleOf(node);
    case Qt::ToolTipRole:
      return tr("%1 (page %2)").arg(node.item.title).arg(node.item.pageFirst + 1);
    case Qt::ForegroundRole:
      if (node.mark == RouteMark::Pruned) return QGuiApplication::palette().color(QPalette::Disabled, QPalette::Text);
      return {};
    case Qt::BackgroundRole:
      if (node.mark == RouteMark::Kept) return QColor(255, 222, 120, 130);
      return {};
    case Qt::FontRole: {
      QFont font;
      font.setBold(node.mark == RouteMark::Kept);
      font.setItalic(node.item.isLeaf);
      return font;
    }
    case Qt::AccessibleDescriptionRole:
      return node.mark == RouteMark::Kept     ? tr("used for the last answer")
             : node.mark == RouteMark::Pruned ? tr("not used for the last answer")
                                              : QString();
    case KeyRole:
      return node.item.key;
    case PageRole:
      return node.item.pageFirst;
    case MarkRole:
      return static_cast<int>(node.mark);
    default:
      return {};
  }
}

}  // namespace longleaf::ui
