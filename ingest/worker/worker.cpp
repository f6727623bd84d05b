#include "ingest/worker/worker.h"

#include <Error.h>
#include <GlobalParams.h>
#include <PDFDoc.h>
#include <PDFDocEncoding.h>
#include <Stream.h>
#include <UnicodeMapFuncs.h>
#include <poppler-qt6.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <QByteArray>
#include <QImage>
#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>

#include "ingest/reader/protocol.h"
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

class Worker {
 public:
  Worker(std::span<const char> bytes, bool too_large) : bytes_(bytes), too_large_(too_large) {}

  // The answer's kind and body, or an error.
  Result<Frame> answer(const Frame& request) {
    if (request.kind == Kind::Open) return open(request.body);
    if (document_ == nullptr) return Status(Code::Invalid, "No document is open");
    switch (request.kind) {
      case Kind::Page:
        return page(request.body);
      case Kind::Outline:
        return outline();
      case Kind::Render:
        return render(request.body);
      default:
        return Status(Code::Invalid, "Unknown request");
    }
  }

 private:
  Result<Frame> open(const std::string& password);
  Result<Frame> page(const std::string& body);
  Result<Frame> outline();
  Result<Frame> render(const std::string& body);
  Status open_for_qt();
  void add_outline(const QVector<Poppler::OutlineItem>& items, int level, std::vector<OutlineEntry>& out);

  std::span<const char> bytes_;
  bool too_large_;
  std::string password_;
  std::unique_ptr<PDFDoc> document_;
  std::unique_ptr<Poppler::Document> qt_document_;  // outline targets and pictures, opened when first needed
};

Result<Frame> Worker::open(const std::string& password) {
  if (too_large_) return Status(Code::Unsupported, "The PDF is larger than 2 GiB, which the PDF reader cannot open");
  if (bytes_.size() < 8) return Status(Code::Corrupt, "The file is empty or far too short to be a PDF");
  // Some producers put bytes in front; the specification asks readers to look in the first KiB.
  const std::string_view head(bytes_.data(), std::min<size_t>(bytes_.size(), 1024));
  if (head.find("%PDF-") == std::string_view::npos) return Status(Code::Corrupt, "The file is not a PDF");
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
  DocumentInfo info;
  info.pages = document_->getNumPages();
  if (info.pages <= 0) return Status(Code::Corrupt, "The PDF has no pages that can be read");
  info.title = utf8_of(document_->getDocInfoTitle().get());
  info.author = utf8_of(document_->getDocInfoAuthor().get());
  return Frame{Kind::Opened, encode(info)};
}

Result<Frame> Worker::page(const std::string& body) {
  const auto numbers = decode_numbers(body, 1);
  if (!numbers.ok()) return numbers.status();
  const int number = static_cast<int>(std::min<uint32_t>((*numbers)[0], INT32_MAX - 1)) + 1;
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
  return Frame{Kind::PageText, encode(out)};
}

Status Worker::open_for_qt() {
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
void Worker::add_outline(const QVector<Poppler::OutlineItem>& items, int level, std::vector<OutlineEntry>& out) {
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

Result<Frame> Worker::outline() {
  LL_RETURN_IF_ERROR(open_for_qt());
  std::vector<OutlineEntry> entries;
  add_outline(qt_document_->outline(), 0, entries);
  return Frame{Kind::OutlineIs, encode(entries)};
}

Result<Frame> Worker::render(const std::string& body) {
  const auto numbers = decode_numbers(body, 2);
  if (!numbers.ok()) return numbers.status();
  LL_RETURN_IF_ERROR(open_for_qt());
  const auto page = qt_document_->page(static_cast<int>((*numbers)[0]));
  const QSizeF size = page == nullptr ? QSizeF() : page->pageSizeF();
  if (!(size.width() > 0 && size.height() > 0 && size.width() <= kMaxPagePt &&
        size.height() <= 4 * size.width() + kMaxPagePt))
    return Status(Code::Corrupt, "Page " + std::to_string((*numbers)[0] + 1) + " cannot be drawn");
  const double width = std::min({(*numbers)[1], kMaxRenderWidth});
  // A strip far longer than wide is drawn smaller, so that no picture is larger than 4096 x 8192 pixels.
  const double dpi = 72.0 * std::min(width / size.width(), 8192.0 / size.height());
  const QImage image = page->renderToImage(dpi, dpi).convertToFormat(QImage::Format_RGB32);
  if (image.isNull()) return Status(Code::NoMemory, "The page is too large to draw");
  PageImage out{std::min<int>(image.width(), kMaxRenderWidth), image.height(), {}};
  for (int y = 0; y < image.height(); ++y)
    out.rgb32.insert(out.rgb32.end(), image.constScanLine(y),
                     image.constScanLine(y) + static_cast<ptrdiff_t>(out.width) * 4);
  return Frame{Kind::Image, encode(out)};
}

std::span<const char> map_document(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || info.st_size <= 0 || info.st_size > INT32_MAX) return {};
  void* memory = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED) return {};
  return {static_cast<const char*>(memory), static_cast<size_t>(info.st_size)};
}

}  // namespace

int run_worker(int document, int in, int out) {
  limit_this_process();
  // A kernel without seccomp would leave a parser of untrusted files unguarded: better none.
  if (!enter_sandbox().calls) return 1;
  Poppler::setDebugErrorFunction([](const QString&, const QVariant&) {}, {});
  globalParams = std::make_unique<GlobalParams>();
  setErrorCallback([](ErrorCategory, Goffset, const char*) {});
  struct stat info {};
  const bool too_large = fstat(document, &info) == 0 && info.st_size > INT32_MAX;
  Worker worker(map_document(document), too_large);
  if (!write_frame(out, Kind::Hello, encode_numbers({kProtocolVersion})).ok()) return 1;
  while (true) {
    const auto request = read_frame(in, -1);
    if (!request.ok()) return request.status().code() == Code::Io ? 0 : 1;
    Result<Frame> answer = Status(Code::NoMemory, "The page needs more memory than the PDF reader may take");
    try {
      answer = worker.answer(*request);
    } catch (const std::bad_alloc&) {  // the limit on address space, met inside poppler
    } catch (const std::exception& error) {
      answer = Status(Code::Corrupt, std::string("The PDF cannot be read: ") + error.what());
    }
    const Status sent =
        answer.ok() ? write_frame(out, answer->kind, answer->body)
                    : write_frame(out, Kind::Error, encode_error(answer.status().code(), answer.status().message()));
    if (!sent.ok()) return 1;
  }
}

}  // namespace longleaf::worker
