// The documents of the library as a list. GUI thread.
#pragma once

#include <QAbstractListModel>

#include "ui/rows.h"

namespace longleaf::ui {

class LibraryModel final : public QAbstractListModel {
  Q_OBJECT

 public:
  enum Role { KeyRole = Qt::UserRole, ReadyRole };

  using QAbstractListModel::QAbstractListModel;
  void setDocuments(QList<LibraryItem> documents);
  // Invalid when the document is not there.
  QModelIndex indexOf(qint64 key) const;

  int rowCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;

 private:
  QList<LibraryItem> documents_;
};

}  // namespace longleaf::ui
