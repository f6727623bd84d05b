// A PDF of three pages, of which drawing the second never ends: its forms draw forms that draw forms.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace longleaf::test {

inline void save_hanging_pdf(const std::filesystem::path& file) {
  constexpr int kForms = 9, kCalls = 16;
  std::string pdf = "%PDF-1.4\n";
  std::vector<size_t> offsets;
  const auto object = [&](const std::string& body) {
    offsets.push_back(pdf.size());
    pdf += std::to_string(offsets.size()) + " 0 obj\n" + body + "\nendobj\n";
  };
  const auto stream = [&](const std::string& dictionary, const std::string& content) {
    object("<<" + dictionary + "/Length " + std::to_string(content.size()) + ">>stream\n" + content + "\nendstream");
  };
  const std::string font = "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>";
  object("<</Type/Catalog/Pages 2 0 R>>");
  object("<</Type/Pages/Count 3/Kids[3 0 R 4 0 R 5 0 R]>>");
  for (int page = 0; page < 3; ++page)
    object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents " + std::to_string(6 + page) + " 0 R/Resources<<" +
           font + (page == 1 ? "/XObject<</X 9 0 R>>" : "") + ">>>>");
  stream("", "BT /F 12 Tf 72 700 Td (The first page is read.) Tj ET");
  stream("", "BT /F 12 Tf 72 700 Td (The second page hangs.) Tj ET /X Do");
  stream("", "BT /F 12 Tf 72 700 Td (The third page is read as well.) Tj ET");
  for (int form = 0; form < kForms; ++form) {
    std::string content;
    for (int call = 0; call < kCalls && form + 1 < kForms; ++call) content += "/X Do ";
    stream("/Type/XObject/Subtype/Form/BBox[0 0 595 842]/Resources<</XObject<</X " + std::to_string(10 + form) +
               " 0 R>>>>",
           content);
  }
  const size_t table = pdf.size();
  pdf += "xref\n0 " + std::to_string(offsets.size() + 1) + "\n0000000000 65535 f \n";
  for (const size_t offset : offsets) {
    const std::string digits = std::to_string(offset);
    pdf += std::string(10 - digits.size(), '0') + digits + " 00000 n \n";
  }
  pdf += "trailer<</Root 1 0 R/Size " + std::to_string(offsets.size() + 1) + ">>\nstartxref\n" + std::to_string(table) +
         "\n%%EOF";
  std::ofstream(file, std::ios::binary) << pdf;
}

}  // namespace longleaf::test
