// The menu of models: open and close, how much memory one may have, and when it gives it back.
// GUI thread.
#pragma once

#include <QMenu>

class QAction;
class QActionGroup;

namespace longleaf::ui {

class ModelMenu final : public QMenu {
  Q_OBJECT

 public:
  explicit ModelMenu(QWidget* parent = nullptr);

  void setCloseEnabled(bool enabled) { close_->setEnabled(enabled); }
  void setTrainEnabled(bool enabled) { train_->setEnabled(enabled); }
  void setIdleMinutes(int minutes);    // 0: memory is never released
  void setMemoryLimit(quint64 bytes);  // of a card; 0: none
  quint64 memoryLimit() const { return limit_; }
  int idleMinutes() const;
  void setCompact(bool compact);  // keys and values in 8 bits
  bool isCompact() const;

 signals:
  void openRequested();
  void closeRequested();
  void trainRequested();
  void idleMinutesChosen(int minutes);
  void memoryLimitChosen(quint64 bytes);
  void compactChosen(bool compact);

 private:
  void addIdleChoices();
  void askLimit();

  QAction *close_, *train_, *compact_;
  QActionGroup* idle_;
  quint64 limit_ = 0;
};

}  // namespace longleaf::ui
