#include "ui/model_menu.h"

#include <QActionGroup>
#include <QInputDialog>

namespace longleaf::ui {
namespace {

constexpr int kIdleMinutes[] = {0, 5, 15, 60};
constexpr double kGiB = 0x1p30, kMostGiB = 4096;

}  // namespace

ModelMenu::ModelMenu(QWidget* parent) : QMenu(tr("&Model"), parent), idle_(new QActionGroup(this)) {
  addAction(tr("&Open model …"), QKeySequence(tr("Ctrl+M")), this, &ModelMenu::openRequested);
  close_ = addAction(tr("&Close model"), this, &ModelMenu::closeRequested);
  train_ = addAction(tr("&Train a memory …"), this, &ModelMenu::trainRequested);
  addSeparator();
  addIdleChoices();
  addAction(tr("&Limit memory of a graphics card …"), this, &ModelMenu::askLimit);
  setToolTipsVisible(true);
  compact_ = addAction(tr("&Keep documents in half the memory"));
  compact_->setToolTip(
      tr("Keys and values in 8 bits, where the model allows it: half the memory and disk space, nearly as "
         "exact. Documents have to be encoded once more."));
  compact_->setCheckable(true);
  connect(compact_, &QAction::triggered, this, &ModelMenu::compactChosen);
}

void ModelMenu::addIdleChoices() {
  QMenu* menu = addMenu(tr("&Release memory when idle"));
  menu->setToolTipsVisible(true);
  for (int minutes : kIdleMinutes) {
    QAction* action = menu->addAction(minutes == 0 ? tr("&Never") : tr("After %1 minutes").arg(minutes));
    action->setToolTip(tr("The next question then has to load the model again"));
    action->setCheckable(true);
    action->setData(minutes);
    idle_->addAction(action);
    connect(action, &QAction::triggered, this, [this, minutes] { emit idleMinutesChosen(minutes); });
  }
  setIdleMinutes(0);
}

void ModelMenu::setIdleMinutes(int minutes) {
  for (QAction* action : idle_->actions()) action->setChecked(action->data().toInt() == minutes);
}

int ModelMenu::idleMinutes() const {
  return idle_->checkedAction() != nullptr ? idle_->checkedAction()->data().toInt() : 0;
}

void ModelMenu::setCompact(bool compact) { compact_->setChecked(compact); }

bool ModelMenu::isCompact() const { return compact_->isChecked(); }

void ModelMenu::setMemoryLimit(quint64 bytes) { limit_ = bytes; }

void ModelMenu::askLimit() {
  auto* dialog = new QInputDialog(parentWidget());
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setWindowTitle(tr("Memory of a graphics card"));
  dialog->setLabelText(
      tr("GiB that a model may take of each card (0: what is free).\nThe layers that do not fit run on "
         "the processor."));
  dialog->setInputMode(QInputDialog::DoubleInput);
  dialog->setDoubleRange(0, kMostGiB);
  dialog->setDoubleDecimals(1);
  dialog->setDoubleValue(static_cast<double>(limit_) / kGiB);
  connect(dialog, &QInputDialog::doubleValueSelected, this, [this, shown = dialog->doubleValue()](double gib) {
    if (gib == shown) return;
    const auto bytes = static_cast<quint64>(gib * kGiB);
    setMemoryLimit(bytes);
    emit memoryLimitChosen(bytes);
  });
  dialog->open();
}

}  // namespace longleaf::ui
