#include "app/gui/page_controller.h"

#include "app/gui/convert.h"
#include "app/places.h"
#include "ingest/library/file_id.h"

namespace longleaf {

void PageController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void PageController::setDocument(const std::filesystem::path& file, const std::string& id, const QString& password) {
  std::lock_guard lock(mutex_);
  file_ = file;
  id_ = id;
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

Status PageController::openReader(const std::filesystem::path& file, const std::string& id,
                                  const std::string& password) {
  reader_.reset();
  LL_ASSIGN_OR_RETURN(const std::string found, file_id(file));
  if (found != id)
    return Status(Code::NotFound,
                  file.string() + " has changed since it was imported; drop it on the window to read it again");
  ReaderOptions options;
  options.worker = pdfWorkerProgram();
  options.password = password;
  LL_ASSIGN_OR_RETURN(reader_, DocumentReader::open(file, options));
  return {};
}

void PageController::drawNext() {
  Wish wish{};
  std::filesystem::path file;
  std::string id, password;
  {
    std::lock_guard lock(mutex_);
    if (wishes_.empty()) return;
    wish = wishes_.back();
    wishes_.pop_back();
    file = file_;
    id = id_;
    password = password_;
  }
  const auto fail = [&](const Status& status) {
    home([this, wish, text = toSentence(status)] { emit failed(wish.page, text); });
  };
  if (readerOf_ != wish.document) {
    readerOf_ = wish.document;
    readerStatus_ = openReader(file, id, password);
    if (readerStatus_.code() == Code::Locked)
      home([this, name = QString::fromStdString(file.string()), text = toSentence(readerStatus_)] {
        emit passwordNeeded(name, text);
      });
  }
  if (!readerStatus_.ok()) return fail(readerStatus_);
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
