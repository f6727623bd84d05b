#include <Error.h>
#include <GlobalParams.h>
#include <PDFDoc.h>
#include <PDFDocEncoding.h>
#include <Stream.h>
#include <UnicodeMapFuncs.h>
#include <poppler-qt6.h>

#include <QByteArray>
#include <QImage>
#include <algorithm>
#include <cmath>
#include <optional>

#include "ingest/reader/protocol.h"
#include "ingest/worker/document.h"
#include "ingest/worker/page_device.h"

namespace longleaf::worker {
namespace {

constexpr int kMaxOutlineLevel = 32;
constexpr size_t kMaxOutlineEntries = 100000;

float unit(double value) { return std::isfinite(value) ? static_cast<float>(std::clamp(value, 0.0, 1.0)) : 0.0f; }

// A PDF text string: UTF-16BE or UTF-8 behind a mark, else PDFDocEncoding.
std::string utf8_of(const GooString* string) {
  if (string == nullptr) return {};
  const std::string& bytes = string->toStr();
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  std::string out;
  const auto add = [&](Unicode u) {
    char utf8[8];
    if (u >= 0x20 && u != 0x7f) out.append(utf8, static_cast<size_t>(mapUTF8(u, utf8, sizeof utf8)));
  };
  if (bytes.rfind("\xFE\xFF", 0) == 0) {
    for (size_t i = 2; i + 1 < bytes.size(); i += 2) {
      Unicode u = static_cast<Unicode>(at(i) << 8 | at(i + 1));
      if (u >= 0xD800 && u < 0xDC00 && i + 3 < bytes.size()) {
        u = 0x10000 + ((u & 0x3FF) << 10 | (static_cast<Unicode>(at(i + 2) << 8 | at(i + 3)) & 0x3FF));
        i += 2;
      }
      add(u);
    }
  } else if (bytes.rfind("\xEF\xBB\xBF", 0) == 0) {
    out = QString::fromUtf8(bytes.data() + 3, static_cast<qsizetype>(bytes.size() - 3)).toStdString();
    std::erase_if(out, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  } else {
    for (size_t i = 0; i < bytes.size(); ++i) add(pdfDocEncoding[at(i)]);
  }
  return out;
}

class PdfDocument final : public OpenDocument {
 public:
  explicit PdfDocument(std::string_view bytes) : bytes_(bytes) {}
  Status open(const std::string& password);

  DocumentInfo info() const override { return info_; }
  Result<PageText> page(uint32_t index) override;
  Result<std::vector<OutlineEntry>> outline() override;
  Result<PageImage> render(uint32_t index, uint32_t width_px) override;

 private:
  Status open_for_qt();
  void add_outline(const QVector<Poppler::OutlineItem>& items, int level, std::vector<OutlineEntry>& out);

  std::string_view bytes_;
  std::string password_;
  DocumentInfo info_;
  std::unique_ptr<PDFDoc> document_;
  std::unique_ptr<Poppler::Document> qt_document_;  // outline targets and pictures, opened when first needed
};

Status PdfDocument::open(const std::string& password) {
  password_ = password;
  const std::optional<GooString> secret(std::in_place, password);
  auto* stream = new MemStream(bytes_.data(), 0, static_cast<Goffset>(bytes_.size()), Object(objNull));
  document_ = std::make_unique<PDFDoc>(stream, secret, secret);  // takes the stream
  if (!document_->isOk()) {
    const bool locked = document_->getErrorCode() == errEncrypted;
    document_.reset();
    if (!locked) return Status(Code::Corrupt, "The PDF is damaged beyond reading");
    return password.empty() ? Status(Code::Locked, "The PDF is protected by a password")
                            : Status(Code::Locked, "The password does not open this PDF");
  }
  info_.pages = document_->getNumPages();
  if (info_.pages <= 0) return Status(Code::Corrupt, "The PDF has no pages that can be read");
  info_.title = utf8_of(document_->getDocInfoTitle().get());
  info_.author = utf8_of(document_->getDocInfoAuthor().get());
  return {};
}

Result<PageText> PdfDocument::page(uint32_t index) {
  const int number = static_cast<int>(std::min<uint32_t>(index, INT32_MAX - 1)) + 1;
  ::Page* page = number <= document_->getNumPages() ? document_->getPage(number) : nullptr;
  if (page == nullptr) return Status(Code::Corrupt, "Page " + std::to_string(number) + " cannot be read");
  PageText out;
  out.index = number - 1;
  const bool sideways = page->getRotate() == 90 || page->getRotate() == 270;
  out.width_pt = static_cast<float>(sideways ? page->getCropHeight() : page->getCropWidth());
  out.height_pt = static_cast<float>(sideways ? page->getCropWidth() : page->getCropHeight());
  if (!(out.width_pt > 0 && out.height_pt > 0 && out.width_pt <= kMaxPagePt && out.height_pt <= kMaxPagePt))
    return Status(Code::Corrupt, "Page " + std::to_string(number) + " has an impossible size");
  if (GooString label; document_->getCatalog()->indexToLabel(out.index, &label)) out.label = utf8_of(&label);
  PageDevice device;
  device.read(*document_, out);
  return out;
}

Status PdfDocument::open_for_qt() {
  if (qt_document_ != nullptr) return {};
  const QByteArray password = QByteArray::fromStdString(password_);
  qt_document_ = Poppler::Document::loadFromData(
      QByteArray::fromRawData(bytes_.data(), static_cast<qsizetype>(bytes_.size())), password, password);
  if (qt_document_ == nullptr || qt_document_->isLocked()) {
    qt_document_.reset();
    return Status(Code::Corrupt, "The PDF cannot be opened for pictures");
  }
  qt_document_->setRenderHint(Poppler::Document::Antialiasing);
  qt_document_->setRenderHint(Poppler::Document::TextAntialiasing);
  return {};
}

// Depth and count are bounded because a damaged outline may contain itself.
void PdfDocument::add_outline(const QVector<Poppler::OutlineItem>& items, int level, std::vector<OutlineEntry>& out) {
  for (const auto& item : items) {
    if (level > kMaxOutlineLevel || out.size() >= kMaxOutlineEntries) return;
    OutlineEntry entry;
    entry.level = level;
    entry.title = item.name().simplified().toStdString();
    if (const auto target = item.destination(); target != nullptr && target->pageNumber() > 0) {
      entry.page = target->pageNumber() - 1;
      entry.top = target->isChangeTop() ? unit(target->top()) : 0.0f;
    }
    out.push_back(std::move(entry));
    if (item.hasChildren()) add_outline(item.children(), level + 1, out);
  }
}

Result<std::vector<OutlineEntry>> PdfDocument::outline() {
  LL_RETURN_IF_ERROR(open_for_qt());
  std::vector<OutlineEntry> entries;
  add_outline(qt_document_->outline(), 0, entries);
  return entries;
}

Result<PageImage> PdfDocument::render(uint32_t index, uint32_t width_px) {
  LL_RETURN_IF_ERROR(open_for_qt());
  const auto page = qt_document_->page(static_cast<int>(index));
  const QSizeF size = page == nullptr ? QSizeF() : page->pageSizeF();
  if (!(size.width() > 0 && size.height() > 0 && size.width() <= kMaxPagePt &&
        size.height() <= 4 * size.width() + kMaxPagePt))
    return Status(Code::Corrupt, "Page " + std::to_string(index + 1) + " cannot be drawn");
  const double width = std::min(width_px, kMaxRenderWidth);
  // A strip far longer than wide is drawn smaller, so that no picture is larger than 4096 x 8192 pixels.
  const double dpi = 72.0 * std::min(width / size.width(), 8192.0 / size.height());
  const QImage image = page->renderToImage(dpi, dpi).convertToFormat(QImage::Format_RGB32);
  if (image.isNull()) return Status(Code::NoMemory, "The page is too large to draw");
  PageImage out{std::min<int>(image.width(), kMaxRenderWidth), image.height(), {}};
  for (int y = 0; y < image.height(); ++y)
    out.rgb32.insert(out.rgb32.end(), image.constScanLine(y),
                     image.constScanLine(y) + static_cast<ptrdiff_t>(out.width) * 4);
  return out;
}

}  // namespace

Result<std::unique_ptr<OpenDocument>> open_pdf(std::string_view bytes, const std::string& password) {
  if (globalParams == nullptr) {
    Poppler::setDebugErrorFunction([](const QString&, const QVariant&) {}, {});
    globalParams = std::make_unique<GlobalParams>();
    setErrorCallback([](ErrorCategory, Goffset, const char*) {});
  }
  auto document = std::make_unique<PdfDocument>(bytes);
  LL_RETURN_IF_ERROR(document->open(password));
  return std::unique_ptr<OpenDocument>(std::move(document));
}

}  // namespace longleaf::worker
