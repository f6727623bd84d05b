#include "ui/figures_bar.h"

#include <QHBoxLayout>
#include <QLabel>

namespace longleaf::ui {

FiguresBar::FiguresBar(QWidget* parent)
    : QWidget(parent),
      device_(new QLabel),
      memory_(new QLabel),
      first_(new QLabel),
      prefill_(new QLabel),
      decode_(new QLabel) {
  auto* layout = new QHBoxLayout(this);
  layout->setContentsMargins(4, 0, 4, 0);
  layout->setSpacing(18);
  for (QLabel* label : {device_, memory_, first_, prefill_, decode_}) layout->addWidget(label);
  memory_->setToolTip(
      tr("Memory the model uses, what the device has, and what other programs and the driver use of it"));
  first_->setToolTip(tr("Time to first token: from sending the question to the first word"));
  prefill_->setToolTip(tr("Tokens read per second"));
  decode_->setToolTip(tr("Tokens written per second"));
  setFigures({});
}

void FiguresBar::setFigures(const Figures& f) {
  const auto rate = [](double value) {
    return value < 0 ? QStringLiteral("–") : QString::number(value, 'f', value < 100 ? 1 : 0);
  };
  device_->setText(f.device.isEmpty() ? tr("No model: answers are quotes") : tr("%1 · %2").arg(f.model, f.device));
  device_->setToolTip(f.deviceNote);
  memory_->setVisible(f.memoryTotal > 0);
  QString memory = tr("Memory %1 of %2").arg(shownBytes(f.memoryUsed), shownBytes(f.memoryTotal));
  if (f.memoryOthers > 0) memory += tr(" (others %1)").arg(shownBytes(f.memoryOthers));
  memory_->setText(memory);
  first_->setText(tr("First token %1").arg(f.ttftMs < 0 ? QStringLiteral("–") : tr("%1 ms").arg(f.ttftMs, 0, 'f', 0)));
  prefill_->setText(tr("Read %1 tok/s").arg(rate(f.prefillPerSecond)));
  decode_->setText(
      tr("Write %1 tok/s%2")
          .arg(rate(f.decodePerSecond), f.evidence.isEmpty() ? QString() : QStringLiteral(" · ") + f.evidence));
}

QString FiguresBar::text() const {
  return QStringList{device_->text(), memory_->text(), first_->text(), prefill_->text(), decode_->text()}.join(
      QStringLiteral(" | "));
}

QString shownBytes(quint64 bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  return mib >= 1024 ? QObject::tr("%1 GiB").arg(mib / 1024, 0, 'f', 1) : QObject::tr("%1 MiB").arg(mib, 0, 'f', 0);
}

}  // namespace longleaf::ui
