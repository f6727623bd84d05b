#include "ui/training_window.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QDoubleSpinBox>
#include <QFileDialog>
#include <QFormLayout>
#include <QLabel>
#include <QLineEdit>
#include <QLocale>
#include <QPushButton>
#include <QSpinBox>
#include <QVBoxLayout>
#include <cmath>

#include "ui/loss_plot.h"

namespace longleaf::ui {
namespace {

constexpr int kMostSteps = 10'000'000, kMostRank = 1024, kMostWritten = 100'000;

QString duration(double seconds) {
  const auto minutes = static_cast<qint64>(std::ceil(seconds / 60));
  return minutes < 120 ? TrainingWindow::tr("%1 min").arg(minutes)
                       : TrainingWindow::tr("%1 h").arg((minutes + 30) / 60);
}

}  // namespace

TrainingWindow::TrainingWindow(QWidget* parent)
    : QDialog(parent),
      model_(new QLabel),
      texts_(new QComboBox),
      questions_(new QLineEdit),
      out_(new QLineEdit),
      written_(new QSpinBox),
      steps_(new QSpinBox),
      rank_(new QSpinBox),
      rate_(new QDoubleSpinBox),
      scales_(new QCheckBox(tr("&Bring memories to the size of embeddings (for small models)"))),
      form_(new QWidget),
      plan_(new QLabel),
      status_(new QLabel),
      plot_(new LossPlot),
      start_(new QPushButton(tr("&Train"))),
      pause_(new QPushButton(tr("&Pause"))),
      stop_(new QPushButton(tr("S&top"))) {
  setWindowTitle(tr("Train a memory"));
  auto* intro = new QLabel(
      tr("The open model learns to keep each section of a document as one vector, and to answer from those: long "
         "documents are then answered at once. With a large model it takes hours; what is done is kept, and goes on "
         "after a pause or a crash."));
  intro->setWordWrap(true);
  addRows();
  for (QLabel* label : {plan_, status_}) {
    label->setWordWrap(true);
    label->setTextFormat(Qt::PlainText);
    label->setTextInteractionFlags(Qt::TextSelectableByMouse);
  }
  auto* layout = new QVBoxLayout(this);
  layout->addWidget(intro);
  layout->addWidget(form_);
  layout->addWidget(plan_);
  layout->addWidget(plot_, 1);
  layout->addWidget(status_);
  layout->addWidget(makeButtons());
  setModel({});
  setDocument({});
  setWish({});
  setState(State::Idle);
}

// None is pressed by Enter: a training is long.
QWidget* TrainingWindow::makeButtons() {
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Close);
  for (QPushButton* button : {start_, pause_, stop_}) buttons->addButton(button, QDialogButtonBox::ActionRole);
  for (QAbstractButton* button : buttons->buttons()) static_cast<QPushButton*>(button)->setAutoDefault(false);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::close);
  connect(start_, &QPushButton::clicked, this, &TrainingWindow::start);
  connect(pause_, &QPushButton::clicked, this, &TrainingWindow::togglePause);
  connect(stop_, &QPushButton::clicked, this, &TrainingWindow::stop);
  return buttons;
}

void TrainingWindow::addRows() {
  texts_->addItems({tr("The open document"), tr("All documents of the library")});
  questions_->setPlaceholderText(tr("None; a file of JSON lines: document, question, answers, pages"));
  texts_->setAccessibleName(tr("Texts"));
  written_->setRange(0, kMostWritten);
  written_->setSingleStep(50);
  written_->setSpecialValueText(tr("None"));
  written_->setToolTip(
      tr("About passages of the texts, each answered from its passage; they are kept in a file beside "
         "the memory"));
  connect(questions_, &QLineEdit::textChanged, this,
          [this](const QString& file) { written_->setEnabled(file.trimmed().isEmpty()); });
  steps_->setRange(1, kMostSteps);
  rank_->setRange(0, kMostRank);
  rank_->setToolTip(tr("Of the low-rank additions to the model: more can learn more, and takes more memory"));
  rate_->setRange(1e-6, 1);
  rate_->setDecimals(6);
  rate_->setSingleStep(1e-4);
  auto* form = new QFormLayout(form_);
  form->setContentsMargins(0, 0, 0, 0);
  form->addRow(tr("Model:"), model_);
  form->addRow(tr("T&exts:"), texts_);
  addFileRow(*form, tr("&Questions:"), questions_, false);
  form->addRow(tr("&Written by the model:"), written_);
  form->addRow(tr("Step&s:"), steps_);
  form->addRow(tr("&Rank:"), rank_);
  form->addRow(tr("&Learning rate:"), rate_);
  form->addRow(QString(), scales_);
  addFileRow(*form, tr("Sa&ve as:"), out_, true);
}

void TrainingWindow::addFileRow(QFormLayout& form, const QString& label, QLineEdit* line, bool saves) {
  auto* browse = new QPushButton(tr("Choose …"));
  browse->setAutoDefault(false);
  browse->setAccessibleName(saves ? tr("Choose where the memory is saved") : tr("Choose a file of questions"));
  connect(browse, &QPushButton::clicked, this, [this, line, saves] {
    auto* dialog = new QFileDialog(this, saves ? tr("Save the memory as") : tr("Questions"), line->text(),
                                   saves ? tr("Memories (*.gguf)") : tr("Questions (*.jsonl *.json);;All files (*)"));
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    // A memory that is there may be one whose training goes on.
    if (saves) dialog->setAcceptMode(QFileDialog::AcceptSave), dialog->setOption(QFileDialog::DontConfirmOverwrite);
    if (saves) dialog->setDefaultSuffix(QStringLiteral("gguf"));
    if (!saves) dialog->setFileMode(QFileDialog::ExistingFile);
    connect(dialog, &QFileDialog::fileSelected, line, &QLineEdit::setText);
    dialog->open();
  });
  auto* row = new QHBoxLayout;
  row->addWidget(line, 1);
  row->addWidget(browse);
  auto* name = new QLabel(label);
  name->setBuddy(line);
  form.addRow(name, row);
}

void TrainingWindow::setModel(const QString& title) { model_->setText(title.isEmpty() ? tr("None is open") : title); }

void TrainingWindow::setDocument(const QString& title) {
  texts_->setItemText(0, title.isEmpty() ? tr("The open document: none") : tr("The open document: %1").arg(title));
}

void TrainingWindow::setWish(const TrainingWish& wish) {
  texts_->setCurrentIndex(wish.wholeLibrary ? 1 : 0);
  questions_->setText(wish.questions);
  written_->setValue(wish.written);
  out_->setText(wish.out);
  steps_->setValue(wish.steps);
  rank_->setValue(wish.rank);
  rate_->setValue(wish.rate);
  scales_->setChecked(wish.scales);
}

TrainingWish TrainingWindow::wish() const {
  TrainingWish wish;
  wish.wholeLibrary = texts_->currentIndex() == 1;
  wish.questions = questions_->text().trimmed();
  wish.written = wish.questions.isEmpty() ? written_->value() : 0;
  wish.out = out_->text().trimmed();
  wish.steps = steps_->value();
  wish.rank = rank_->value();
  wish.rate = rate_->value();
  wish.scales = scales_->isChecked();
  return wish;
}

void TrainingWindow::start() {
  if (wish().out.isEmpty()) return say(tr("Choose the file that the memory is saved as."), true);
  plan_->clear();
  plot_->clear(wish().steps);
  setState(State::Running);
  say(tr("Preparing …"), false);
  emit startRequested(wish());
}

void TrainingWindow::togglePause() {
  const bool pauses = state_ == State::Running;
  setState(pauses ? State::Pausing : State::Running);
  say(pauses ? tr("Pausing …") : tr("Going on …"), false);
  emit pauseToggled(pauses);
}

void TrainingWindow::stop() {
  setState(State::Stopping);
  say(tr("Stopping …"), false);
  emit stopRequested();
}

void TrainingWindow::showWriting(qint64 questions, qint64 leaves, qint64 allLeaves) {
  if (state_ == State::Running)
    say(tr("Writing questions: %1 of %2, about %3 of %4 passages")
            .arg(questions)
            .arg(written_->value())
            .arg(leaves)
            .arg(allLeaves),
        false);
}

void TrainingWindow::showPlan(const TrainingPlan& plan) {
  const QLocale locale;
  const auto number = [&](qint64 n) { return locale.toString(n); };
  QString text = tr("Documents: %1, passages: %2, tokens: %3; questions: %4, held out for scores: %5. %6 numbers are "
                    "trained, which takes about %7 of memory beside the model's file, on %8.")
                     .arg(number(plan.documents), number(plan.passages), number(plan.tokens), number(plan.questions),
                          number(plan.heldOut), number(plan.parameters),
                          locale.formattedDataSize(static_cast<qint64>(plan.bytes)), plan.device);
  if (plan.questions > 0) text += tr(" The first half of the steps is on the texts alone.");
  for (const QString& note : plan.notes) text += QLatin1Char('\n') + note + QLatin1Char('.');
  plan_->setText(text);
  if (plan.stepsDone > 0) say(tr("Going on after step %1 …").arg(plan.stepsDone), false);
}

void TrainingWindow::showEstimate(double seconds) {
  if (seconds > 0)
    plan_->setText(plan_->text() + QLatin1Char('\n') +
                   tr("The steps that are left take about %1, without scores.").arg(duration(seconds)));
}

void TrainingWindow::addLogged(const QList<TrainingPoint>& points) { plot_->add(points); }

void TrainingWindow::addPoints(const QList<TrainingPoint>& points, double secondsLeft) {
  plot_->add(points);
  if (points.isEmpty() || state_ != State::Running) return;
  const TrainingPoint& last = points.constLast();
  QString text = tr("Step %1 of %2 (%3): loss %4")
                     .arg(last.step)
                     .arg(steps_->value())
                     .arg(last.onQuestions ? tr("questions") : tr("text"))
                     .arg(last.loss, 0, 'f', 3);
  if (secondsLeft >= 0) text += tr(", about %1 left").arg(duration(secondsLeft));
  if (const TrainingPoint* scored = plot_->lastScored(); scored != nullptr)
    text += tr("\nHeld out, at step %1: loss %2, %3 % of answers right, %4 % of evidence reached")
                .arg(scored->step)
                .arg(scored->heldOutLoss, 0, 'f', 3)
                .arg(100 * scored->right, 0, 'f', 1)
                .arg(100 * scored->reached, 0, 'f', 1);
  say(text, false);
}

void TrainingWindow::showPaused() {
  if (state_ != State::Pausing) return;  // it goes on already
  setState(State::Paused);
  say(tr("Paused; what is done is saved."), false);
}

void TrainingWindow::showEnd(const QString& sentence, bool problem) {
  setState(State::Idle);
  say(sentence, problem);
}

QString TrainingWindow::status() const { return status_->text(); }

void TrainingWindow::say(const QString& sentence, bool problem) {
  status_->setText(sentence);
  status_->setStyleSheet(problem ? QStringLiteral("color: #8e2c22;") : QString());
}

void TrainingWindow::setState(State state) {
  state_ = state;
  form_->setEnabled(state == State::Idle);
  start_->setVisible(state == State::Idle);
  pause_->setVisible(state != State::Idle);
  pause_->setEnabled(state == State::Running || state == State::Paused);
  pause_->setText(state == State::Paused ? tr("&Go on") : tr("&Pause"));
  stop_->setVisible(state != State::Idle);
  stop_->setEnabled(state != State::Stopping);
}

}  // namespace longleaf::ui
