// Documents without pages of their own, set on pages of ours.
#include <QFont>
#include <QGuiApplication>
#include <QImage>
#include <QPainter>
#include <algorithm>
#include <cmath>

#include "ingest/reader/protocol.h"
#include "ingest/worker/document.h"
#include "ingest/worker/flow/epub.h"
#include "ingest/worker/flow/html.h"
#include "ingest/worker/flow/plain_text.h"
#include "ingest/worker/flow/typesetter.h"

namespace longleaf::worker {
namespace {

constexpr size_t kMostText = size_t{64} << 20;  // bytes; a hundred long novels

// Qt draws text only for an application; one without a screen, which needs nothing of the system.
void need_application() {
  if (QCoreApplication::instance() != nullptr) return;
  static int count = 1;
  static char name[] = "longleaf-pdf";
  static char* arguments[] = {name, nullptr};
  qputenv("QT_QPA_PLATFORM", "offscreen");
  qInstallMessageHandler([](QtMsgType, const QMessageLogContext&, const QString&) {});  // it misses folders by design
  new QGuiApplication(count, arguments);                                                // lives as long as the process
}

void draw(QPainter& painter, const Word& word, double width, double height) {
  QFont font(word.fixed_pitch ? QStringLiteral("monospace") : QStringLiteral("serif"));
  font.setPixelSize(100);
  font.setBold(word.bold);
  font.setItalic(word.italic);
  const QFontMetricsF metrics(font);
  const QString text = QString::fromStdString(word.text);
  const double natural = metrics.horizontalAdvance(text);
  if (natural <= 0) return;
  const QRectF box(word.box.x0 * width, word.box.y0 * height, word.box.width() * width, word.box.height() * height);
  painter.save();
  painter.setFont(font);
  painter.translate(box.left(), box.bottom() - 0.22 * box.height());
  painter.scale(box.width() / natural, box.height() / 100);
  painter.drawText(QPointF(0, 0), text);
  painter.restore();
}

class FlowDocument final : public OpenDocument {
 public:
  FlowDocument(Flow flow, SetPages set)
      : title_(std::move(flow.title)), author_(std::move(flow.author)), set_(std::move(set)) {}

  DocumentInfo info() const override { return {static_cast<int>(set_.pages.size()), title_, author_}; }

  Result<PageText> page(uint32_t index) override {
    if (index >= set_.pages.size()) return no_page(index);
    return set_.pages[index];
  }

  Result<std::vector<OutlineEntry>> outline() override { return set_.outline; }

  Result<PageImage> render(uint32_t index, uint32_t width_px) override {
    if (index >= set_.pages.size()) return no_page(index);
    need_application();
    const PageText& page = set_.pages[index];
    const int width = static_cast<int>(std::clamp<uint32_t>(width_px, 1, kMaxRenderWidth));
    const int height = static_cast<int>(std::lround(width * page.height_pt / page.width_pt));
    QImage image(width, height, QImage::Format_RGB32);
    if (image.isNull()) return Status(Code::NoMemory, "The page is too large to draw");
    image.fill(Qt::white);
    QPainter painter(&image);
    painter.setRenderHint(QPainter::TextAntialiasing);
    for (const Word& word : page.words)
      if (!word.hidden) draw(painter, word, width, height);
    painter.end();
    PageImage out{width, height, {}};
    out.rgb32.assign(image.constBits(), image.constBits() + image.sizeInBytes());
    return out;
  }

 private:
  static Status no_page(uint32_t index) {
    return Status(Code::Corrupt, "Page " + std::to_string(index + 1) + " cannot be read");
  }

  std::string title_, author_;
  SetPages set_;
};

}  // namespace

Result<std::unique_ptr<OpenDocument>> open_flow(std::string_view bytes, Format format) {
  Flow flow;
  LL_RETURN_IF_ERROR(format == Format::Epub       ? read_epub(bytes, flow)
                     : format == Format::Html     ? read_html(bytes, flow)
                     : format == Format::Markdown ? read_markdown(bytes, flow)
                                                  : read_plain_text(bytes, flow));
  size_t text = 0;
  for (const FlowBlock& block : flow.blocks)
    for (const FlowRun& run : block.runs) text += run.text.size();
  if (text > kMostText) return Status(Code::Unsupported, "The document has more than 64 MB of text");
  SetPages set = set_pages(flow);
  return std::unique_ptr<OpenDocument>(std::make_unique<FlowDocument>(std::move(flow), std::move(set)));
}

}  // namespace longleaf::worker
