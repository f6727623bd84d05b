// A small manual as a PDF, with everything a reader of PDFs has to cope with: outline, running heads, hyphenation.
#pragma once

#include "resources/pdf_writer.h"

namespace longleaf::test {

struct ManualOptions {
  int pages = 6;
  bool outline = true;
  int salt = 0;  // makes files of different bytes
};

inline std::string page_fact(int page) {
  return "The pump number " + std::to_string(page) + " delivers " + std::to_string(100 + 7 * page) +
         " litres per minute.";
}

inline PdfWriter manual(const ManualOptions& options = {}) {
  PdfWriter pdf;
  pdf.set_title("Pump manual " + std::to_string(options.salt));
  for (int p = 0; p < options.pages; ++p) {
    pdf.add_page();
    pdf.text(72, 40, 9, false, "Pump manual, edition " + std::to_string(2020 + options.salt));
    pdf.text(290, 810, 9, false, std::to_string(p + 1));
    const std::string title =
        (p % 2 == 0 ? "Chapter " : "Section ") + std::string(1, static_cast<char>('A' + p % 26)) + " of the pumps";
    pdf.text(72, 110, p % 2 == 0 ? 20 : 15, true, title);
    if (options.outline) pdf.outline(p % 2, title, 95);
    pdf.text(72, 150, 11, false, page_fact(p) + " It has to be main-");
    pdf.text(72, 165, 11, false, "tained by trained people only. Keep the valve closed while it runs.");
    pdf.text(72, 210, 11, false,
             "A second paragraph follows here. It names the colour of part " + std::to_string(p) + ", which is green.");
  }
  return pdf;
}

}  // namespace longleaf::test
