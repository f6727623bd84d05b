#include "app/gui/training_desk.h"

#include <QDir>
#include <QFileInfo>

#include "app/gui/convert.h"
#include "app/places.h"

namespace longleaf {
namespace {

// What tells models apart: many are a file "model.safetensors", or a folder.
QString baseName(const QString& model) {
  const QFileInfo info(model);
  if (info.isDir()) return info.fileName();
  return info.suffix() == QLatin1String("gguf") ? info.completeBaseName() : info.dir().dirName();
}

}  // namespace

const QString TrainingDesk::kWishSetting = QStringLiteral("training");        // what was wished for last …
const QString TrainingDesk::kModelSetting = QStringLiteral("trained_model");  // … and for which model

TrainingDesk::TrainingDesk(std::filesystem::path folder, QObject* parent)
    : QObject(parent), folder_(std::move(folder)), training_(folder_) {}

void TrainingDesk::setWindow(ui::TrainingWindow* window) {
  window_ = window;
  connect(window_, &ui::TrainingWindow::startRequested, this, &TrainingDesk::begin);
  connect(window_, &ui::TrainingWindow::pauseToggled, &training_, &TrainingController::setPaused);
  connect(window_, &ui::TrainingWindow::stopRequested, &training_, &TrainingController::stop);
  connect(&training_, &TrainingController::writing, window_, &ui::TrainingWindow::showWriting);
  connect(&training_, &TrainingController::planned, window_, &ui::TrainingWindow::showPlan);
  connect(&training_, &TrainingController::estimated, window_, &ui::TrainingWindow::showEstimate);
  connect(&training_, &TrainingController::logged, window_, &ui::TrainingWindow::addLogged);
  connect(&training_, &TrainingController::advanced, this, &TrainingDesk::advance);
  connect(&training_, &TrainingController::paused, window_, &ui::TrainingWindow::showPaused);
  connect(&training_, &TrainingController::failed, this, [this](const QString& reason) { end(reason, true, {}); });
  connect(&training_, &TrainingController::ended, this,
          [this](const QString& sentence, const QString& adapter) { end(sentence, false, adapter); });
}

void TrainingDesk::setModel(const QString& file, const QString& title) {
  modelFile_ = file, modelTitle_ = title;
  offer();
}

void TrainingDesk::setDocument(qint64 key, const QString& title) {
  document_ = key, documentTitle_ = title;
  offer();
}

void TrainingDesk::takeSetting(const QString& name, const QString& value) {
  if (name == kModelSetting) trainedModel_ = value;
  if (name == kWishSetting && !value.isEmpty()) window_->setWish(toWish(value));
}

QString TrainingDesk::memoryOf(const QString& model) const {
  return QString::fromStdString(trainedFolder(folder_).string()) + QLatin1Char('/') + baseName(model) +
         QStringLiteral(".memory.gguf");
}

// What is open, and a file of its own for the model's memory, unless the reader has named another. What is being
// trained stays on view.
void TrainingDesk::offer() {
  if (window_->isTraining()) return;
  window_->setModel(modelTitle_);
  window_->setDocument(documentTitle_);
  ui::TrainingWish wish = window_->wish();
  if (modelFile_.isEmpty() || (!wish.out.isEmpty() && wish.out != memoryOf(trainedModel_))) return;
  wish.out = memoryOf(modelFile_);
  trainedModel_ = modelFile_;
  window_->setWish(wish);
}

void TrainingDesk::begin(ui::TrainingWish wish) {
  if (modelFile_.isEmpty()) return window_->showEnd(tr("Open the model first."), true);
  if (wish.out.startsWith(QLatin1String("~/"))) wish.out.replace(0, 1, QDir::homePath());
  wish.out = QDir(QString::fromStdString(trainedFolder(folder_).string())).absoluteFilePath(wish.out);
  window_->setWish(wish);
  trainedModel_ = modelFile_;
  emit settingChanged(kWishSetting, toText(wish));
  emit settingChanged(kModelSetting, modelFile_);
  emit began();
  training_.start(modelFile_, document_, wish);
}

void TrainingDesk::advance(const QList<ui::TrainingPoint>& points, double secondsLeft) {
  window_->addPoints(points, secondsLeft);
  if (points.isEmpty()) return;
  emit progress({tr("Training a memory"), points.constLast().step, window_->wish().steps, tr("steps"), secondsLeft,
                 false, false});
}

void TrainingDesk::end(const QString& sentence, bool problem, const QString& adapter) {
  window_->showEnd(sentence, problem);
  const bool isOfOpenModel = trainedModel_ == modelFile_;
  emit ended(sentence, problem, isOfOpenModel ? adapter : QString());
  offer();
}

}  // namespace longleaf
