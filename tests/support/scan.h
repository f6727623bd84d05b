// A PDF whose pages are nothing but pictures, as a scanner makes them.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "ingest/reader/page_text.h"

namespace longleaf::test {

//   stamp  one line of text on every page; no brackets
inline void save_scan(const std::vector<PageImage>& pages, const std::filesystem::path& file,
                      const std::string& stamp = "") {
  std::string pdf = "%PDF-1.4\n";
  std::vector<size_t> offsets;
  const auto object = [&](const std::string& body) {
    offsets.push_back(pdf.size());
    pdf += std::to_string(offsets.size()) + " 0 obj\n" + body + "\nendobj\n";
  };
  std::string kids;
  for (size_t i = 0; i < pages.size(); ++i) kids += std::to_string(3 + 3 * i) + " 0 R ";
  object("<</Type/Catalog/Pages 2 0 R>>");
  object("<</Type/Pages/Count " + std::to_string(pages.size()) + "/Kids[" + kids + "]>>");
  for (const PageImage& image : pages) {
    const size_t n = offsets.size();
    object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents " + std::to_string(n + 2) +
           " 0 R/Resources<</XObject<</I " + std::to_string(n + 3) +
           " 0 R>>/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>");
    std::string draw = "q 595 0 0 842 0 0 cm /I Do Q";
    if (!stamp.empty()) draw += " BT /F 9 Tf 60 20 Td (" + stamp + ") Tj ET";
    object("<</Length " + std::to_string(draw.size()) + ">>stream\n" + draw + "\nendstream");
    std::string grey;
    for (size_t p = 0; p < image.rgb32.size(); p += 4) grey += static_cast<char>(image.rgb32[p + 1]);
    object("<</Type/XObject/Subtype/Image/Width " + std::to_string(image.width) + "/Height " +
           std::to_string(image.height) + "/ColorSpace/DeviceGray/BitsPerComponent 8/Length " +
           std::to_string(grey.size()) + ">>stream\n" + grey + "\nendstream");
  }
  const size_t table = pdf.size();
  pdf += "xref\n0 " + std::to_string(offsets.size() + 1) + "\n0000000000 65535 f \n";
  for (const size_t offset : offsets) {
    std::string digits = std::to_string(offset);
    pdf += std::string(10 - digits.size(), '0') + digits + " 00000 n \n";
  }
  pdf += "trailer<</Root 1 0 R/Size " + std::to_string(offsets.size() + 1) + ">>\nstartxref\n" + std::to_string(table) +
         "\n%%EOF";
  std::ofstream(file, std::ios::binary) << pdf;
}

}  // namespace longleaf::test
