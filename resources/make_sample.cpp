// Lays out handbook.txt as the sample document: make_sample handbook.txt sample.pdf
// Lines: "= title", "# chapter", "## section", otherwise a paragraph.
#include <cstdio>
#include <fstream>
#include <sstream>

#include "resources/pdf_writer.h"

namespace {

using longleaf::PdfWriter;

constexpr double kMargin = 72, kBottom = PdfWriter::kHeightPt - 80, kBodyPt = 11, kLeading = 15.5;

class Layout {
 public:
  explicit Layout(PdfWriter& pdf) : pdf_(pdf) { new_page(); }

  void heading(int level, const std::string& text) {
    const double size = level == 0 ? 26 : level == 1 ? 18 : 13;
    if (level == 1 && y_ > kMargin + 100) new_page();
    y_ += level == 0 ? 40 : level == 1 ? 36 : 32;
    if (y_ > kBottom - 60) new_page();
    pdf_.text(kMargin, y_, size, true, text);
    if (level > 0) pdf_.outline(level - 1, text, y_ - size);
    y_ += size * 0.2;
  }

  void paragraph(const std::string& text) {
    y_ += 8;
    std::istringstream words(text);
    std::string line;
    for (std::string word; words >> word;) {
      if (!line.empty() && PdfWriter::width(line + " " + word, kBodyPt, false) > PdfWriter::kWidthPt - 2 * kMargin)
        flush(line);
      line += (line.empty() ? "" : " ") + word;
    }
    flush(line);
  }

 private:
  void flush(std::string& line) {
    if (line.empty()) return;
    if (y_ > kBottom) new_page();
    y_ += kLeading;
    pdf_.text(kMargin, y_, kBodyPt, false, line);
    line.clear();
  }
  void new_page() {
    pdf_.add_page();
    pdf_.text(PdfWriter::kWidthPt / 2 - 4, PdfWriter::kHeightPt - 40, 9, false, std::to_string(pdf_.pages()));
    y_ = kMargin;
  }
  PdfWriter& pdf_;
  double y_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: make_sample handbook.txt sample.pdf\n"), 2;
  std::ifstream in(argv[1]);
  if (!in) return std::fprintf(stderr, "%s cannot be read\n", argv[1]), 1;
  PdfWriter pdf;
  Layout layout(pdf);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("= ", 0) == 0)
      layout.heading(0, line.substr(2)), pdf.set_title(line.substr(2));
    else if (line.rfind("## ", 0) == 0)
      layout.heading(2, line.substr(3));
    else if (line.rfind("# ", 0) == 0)
      layout.heading(1, line.substr(2));
    else if (!line.empty())
      layout.paragraph(line);
  }
  return pdf.save(argv[2]) ? 0 : 1;
}
