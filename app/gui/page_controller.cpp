#include "app/gui/page_controller.h"

#include "app/gui/convert.h"
#include "app/places.h"

namespace longleaf {

void PageController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void PageController::setDocument(const std::filesystem::path& file, const QString& password) {
  std::lock_guard lock(mutex_);
  file_ = file;
  password_ = password.toStdString();
  wishes_.clear();
  ++document_;
}

void PageController::want(int page, int widthPx) {
  {
    std::lock_guard lock(mutex_);
    wishes_.push_back({document_, page, widthPx});
    if (wishes_.size() > kMostWishes) wishes_.erase(wishes_.begin());
  }
  thread_.post([this] { drawNext(); });
}

void PageController::drawNext() {
  Wish wish{};
  PdfReaderOptions options;
  std::filesystem::path file;
  {
    std::lock_guard lock(mutex_);
    if (wishes_.empty()) return;
    wish = wishes_.back();
    wishes_.pop_back();
    file = file_;
    options.password = password_;
  }
  const auto fail = [&](const Status& status) {
    home([this, wish, text = toSentence(status)] { emit failed(wish.page, text); });
  };
  if (reader_ == nullptr || readerOf_ != wish.document) {
    options.worker = pdfWorkerProgram();
    auto opened = PdfReader::open(file, options);
    if (!opened.ok()) return fail(opened.status());
    reader_ = std::move(*opened);
    readerOf_ = wish.document;
  }
  const auto picture = reader_->render(wish.page, wish.width);
  if (!picture.ok()) return fail(picture.status());
  // Deep copy: the picture's bytes go with this function.
  const QImage image = QImage(picture->rgb32.data(), picture->width, picture->height, QImage::Format_RGB32).copy();
  home([this, wish, image] {
    {
      std::lock_guard lock(mutex_);
      if (wish.document != document_) return;
    }
    emit drawn(wish.page, image);
  });
}

}  // namespace longleaf
