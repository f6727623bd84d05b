// The section tree of the open document, with what the last question kept and pruned. GUI thread.
#pragma once

#include <QAbstractItemModel>
#include <QHash>

#include "ui/rows.h"

namespace longleaf::ui {

class SectionModel final : public QAbstractItemModel {
  Q_OBJECT

 public:
  enum Role { KeyRole = Qt::UserRole, PageRole, MarkRole };

  using QAbstractItemModel::QAbstractItemModel;
  // Parents before children, in reading order; an item whose parent is missing hangs at the top.
  void setSections(QList<SectionItem> sections);
  // Nodes not named are neither lit nor dimmed.
  void setRoute(const QHash<qint64, RouteMark>& marks);
  QModelIndex indexOf(qint64 key) const;

  QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
  QModelIndex parent(const QModelIndex& child) const override;
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;

 private:
  struct Node {
    SectionItem item;
    int parent = -1;  // index into nodes_, -1: top
    int row = 0;      // among its siblings
    QList<int> children;
    RouteMark mark = RouteMark::None;
  };
  const QList<int>& childrenOf(const QModelIndex& parent) const;
  QString titleOf(const Node& node) const;

  QList<Node> nodes_;
  QList<int> top_;
  QHash<qint64, int> byKey_;
};

}  // namespace longleaf::ui
