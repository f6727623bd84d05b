// A PDF of three pages, of which drawing the second never ends: its forms draw forms that draw forms.
#pragma once

#include "tests/support/raw_pdf.h"

namespace longleaf::test {

inline void save_hanging_pdf(const std::filesystem::path& file) {
  constexpr int kForms = 9, kCalls = 16;
  RawPdf pdf;
  const std::string font = "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>";
  pdf.object("<</Type/Catalog/Pages 2 0 R>>");
  pdf.object("<</Type/Pages/Count 3/Kids[3 0 R 4 0 R 5 0 R]>>");
  for (int page = 0; page < 3; ++page)
    pdf.object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents " + std::to_string(6 + page) +
               " 0 R/Resources<<" + font + (page == 1 ? "/XObject<</X 9 0 R>>" : "") + ">>>>");
  pdf.stream("", "BT /F 12 Tf 72 700 Td (The first page is read.) Tj ET");
  pdf.stream("", "BT /F 12 Tf 72 700 Td (The second page hangs.) Tj ET /X Do");
  pdf.stream("", "BT /F 12 Tf 72 700 Td (The third page is read as well.) Tj ET");
  for (int form = 0; form < kForms; ++form) {
    std::string content;
    for (int call = 0; call < kCalls && form + 1 < kForms; ++call) content += "/X Do ";
    pdf.stream("/Type/XObject/Subtype/Form/BBox[0 0 595 842]/Resources<</XObject<</X " + std::to_string(10 + form) +
                   " 0 R>>>>",
               content);
  }
  pdf.save(file);
}

}  // namespace longleaf::test
