#include "ui/library_model.h"

namespace longleaf::ui {

void LibraryModel::setDocuments(QList<LibraryItem> documents) {
  beginResetModel();
  documents_ = std::move(documents);
  endResetModel();
}

QModelIndex LibraryModel::indexOf(qint64 key) const {
  for (int row = 0; row < documents_.size(); ++row)
    if (documents_[row].key == key) return index(row);
  return {};
}

int LibraryModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(documents_.size());
}

QVariant LibraryModel::data(const QModelIndex& index, int role) const {
  if (!checkIndex(index, CheckIndexOption::IndexIsValid)) return {};
  const LibraryItem& item = documents_[index.row()];
  switch (role) {
    case Qt::DisplayRole:
      return item.title;
    case Qt::ToolTipRole:
      return item.ready ? tr("%1\n%n page(s)", nullptr, item.pages).arg(item.title)
                        : tr("%1\nnot read to its end").arg(item.title);
    case KeyRole:
      return item.key;
    case ReadyRole:
      return item.ready;
    default:
      return {};
  }
}

}  // namespace longleaf::ui
