#include "ui/job_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>
#include <cmath>

namespace longleaf::ui {

JobBar::JobBar(QWidget* parent)
    : QWidget(parent),
      what_(new QLabel),
      bar_(new QProgressBar),
      pause_(new QPushButton(tr("&Pause"))),
      cancel_(new QPushButton(tr("&Cancel"))) {
  pause_->setCheckable(true);
  bar_->setTextVisible(false);
  what_->setTextFormat(Qt::PlainText);
  auto* layout = new QHBoxLayout(this);
  layout->addWidget(what_);
  layout->addWidget(bar_, 1);
  layout->addWidget(pause_);
  layout->addWidget(cancel_);
  connect(pause_, &QPushButton::clicked, this, &JobBar::pauseToggled);  // not toggled: showing a job is no wish
  connect(cancel_, &QPushButton::clicked, this, &JobBar::cancelRequested);
  hide();
}

void JobBar::setJob(const JobItem& job) {
  QString left;
  if (job.paused)
    left = tr(" – paused");
  else if (job.secondsLeft >= 1)
    left = job.secondsLeft < 90 ? tr(" – %1 s left").arg(std::ceil(job.secondsLeft))
                                : tr(" – %1 min left").arg(std::ceil(job.secondsLeft / 60));
  what_->setText(job.total > 0 ? tr("%1: %2 of %3 %4%5").arg(job.what).arg(job.done).arg(job.total).arg(job.unit, left)
                               : job.what);
  bar_->setRange(0, static_cast<int>(job.total));
  bar_->setValue(static_cast<int>(job.done));
  pause_->setChecked(job.paused);
  pause_->setVisible(job.controls);
  cancel_->setVisible(job.controls);
  show();
}

void JobBar::clear() {
  pause_->setChecked(false);
  hide();
}

QString JobBar::text() const { return what_->text(); }

}  // namespace longleaf::ui
