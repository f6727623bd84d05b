// A PDF whose pages are nothing but pictures, as a scanner makes them.
#pragma once

#include "ingest/reader/page_text.h"
#include "tests/support/raw_pdf.h"

namespace longleaf::test {

//   stamp  one line of text on every page; no brackets
inline void save_scan(const std::vector<PageImage>& pages, const std::filesystem::path& file,
                      const std::string& stamp = "") {
  RawPdf pdf;
  std::string kids;
  for (size_t i = 0; i < pages.size(); ++i) kids += std::to_string(3 + 3 * i) + " 0 R ";
  pdf.object("<</Type/Catalog/Pages 2 0 R>>");
  pdf.object("<</Type/Pages/Count " + std::to_string(pages.size()) + "/Kids[" + kids + "]>>");
  for (const PageImage& image : pages) {
    const size_t n = pdf.objects();
    pdf.object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents " + std::to_string(n + 2) +
               " 0 R/Resources<</XObject<</I " + std::to_string(n + 3) +
               " 0 R>>/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>");
    std::string draw = "q 595 0 0 842 0 0 cm /I Do Q";
    if (!stamp.empty()) draw += " BT /F 9 Tf 60 20 Td (" + stamp + ") Tj ET";
    pdf.stream("", draw);
    std::string grey;
    for (size_t p = 0; p < image.rgb32.size(); p += 4) grey += static_cast<char>(image.rgb32[p + 1]);
    pdf.stream("/Type/XObject/Subtype/Image/Width " + std::to_string(image.width) + "/Height " +
                   std::to_string(image.height) + "/ColorSpace/DeviceGray/BitsPerComponent 8",
               grey);
  }
  pdf.save(file);
}

}  // namespace longleaf::test
