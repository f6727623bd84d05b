// Search in the open document: a line to type in, and what was found below it. It finds nothing itself: it emits what
// is looked for, and shows hits. GUI thread.
#pragma once

#include <QList>
#include <QTimer>
#include <QWidget>

#include "ui/rows.h"

class QLineEdit;
class QListWidget;
class QStackedWidget;

namespace longleaf::ui {

class SearchPanel final : public QWidget {
  Q_OBJECT

 public:
  // `otherwise` is shown while nothing is looked for; the panel owns it.
  explicit SearchPanel(QWidget* otherwise, QWidget* parent = nullptr);

  // Hits for `text`, best first; dropped when something else is typed by now.
  void setHits(const QString& text, const QList<SearchItem>& hits);
  // Looks for the same again: the document is another, or was read anew.
  void again();
  void focusLine();

 signals:
  void searched(const QString& text);
  void hitActivated(const longleaf::ui::SearchItem& hit);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  QString text() const;
  void typed();
  void activate(int row);

  QLineEdit* line_;
  QListWidget* list_;
  QStackedWidget* stack_;
  QTimer pause_;  // in typing
  QList<SearchItem> hits_;
};

}  // namespace longleaf::ui
