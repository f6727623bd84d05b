// Writes small PDFs: lines of text in Helvetica at given places, and an outline. For the sample document and for tests.
// Not for other use: no compression, Latin-1 only.
#pragma once

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace longleaf {

class PdfWriter {
 public:
  static constexpr double kWidthPt = 595, kHeightPt = 842;  // A4

  void add_page() { pages_.emplace_back(); }
  int pages() const { return static_cast<int>(pages_.size()); }

  // x, y: baseline in points from the top left corner of the last page.
  void text(double x, double y, double size_pt, bool bold, const std::string& text) {
    char place[64];
    std::snprintf(place, sizeof place, "BT /F%d %.2f Tf %.2f %.2f Td (", bold ? 2 : 1, size_pt, x, kHeightPt - y);
    pages_.back() += place + escaped(text) + ") Tj ET\n";
  }
  void raw(const std::string& content) { pages_.back() += content; }
  // Points to the last page.
  void outline(int level, const std::string& title, double y) { outline_.push_back({level, title, pages() - 1, y}); }
  void set_title(const std::string& title) { title_ = title; }

  // Width of a text in points.
  static double width(const std::string& text, double size_pt, bool bold) {
    double sum = 0;
    for (unsigned char c : text) sum += c >= 32 && c < 127 ? kHelvetica[c - 32] : 556;
    return sum * size_pt / 1000 * (bold ? 1.06 : 1.0);
  }

  std::string bytes() const {
    std::vector<std::string> objects;
    const size_t first_page = 5, first_entry = first_page + 2 * pages_.size();
    objects.push_back("<< /Type /Catalog /Pages 2 0 R" +
                      (outline_.empty() ? std::string() : " /Outlines " + reference(first_entry)) + " >>");
    std::string kids;
    for (size_t i = 0; i < pages_.size(); ++i) kids += reference(first_page + 2 * i) + " ";
    objects.push_back("<< /Type /Pages /Count " + std::to_string(pages_.size()) + " /Kids [" + kids + "] >>");
    for (const char* font : {"Helvetica", "Helvetica-Bold"})
      objects.push_back(std::string("<< /Type /Font /Subtype /Type1 /Encoding /WinAnsiEncoding /BaseFont /") + font +
                        " >>");
    for (size_t i = 0; i < pages_.size(); ++i) {
      objects.push_back(
          "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> "
          "/Contents " +
          reference(first_page + 2 * i + 1) + " >>");
      objects.push_back("<< /Length " + std::to_string(pages_[i].size()) + " >>\nstream\n" + pages_[i] + "endstream");
    }
    add_outline(objects, first_page, first_entry);
    return assemble(objects);
  }

  bool save(const std::string& path) const {
    std::ofstream file(path, std::ios::binary);
    file << bytes();
    return static_cast<bool>(file.flush());
  }

 private:
  struct Entry {
    int level;
    std::string title;
    int page;
    double y;
  };

  static std::string reference(size_t object) { return std::to_string(object) + " 0 R"; }
  static std::string escaped(const std::string& text) {
    std::string out;
    for (char c : text) {
      if (c == '(' || c == ')' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  }

  // Entry i is object first_entry + 1 + i; its parent is the nearest entry before it of a lower level, or the root.
  void add_outline(std::vector<std::string>& objects, size_t first_page, size_t first_entry) const {
    if (outline_.empty()) return;
    const size_t n = outline_.size();
    std::vector<size_t> parent(n, n);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = i; j-- > 0;)
        if (outline_[j].level < outline_[i].level) {
          parent[i] = j;
          break;
        }
    const auto object = [&](size_t i) { return reference(i == n ? first_entry : first_entry + 1 + i); };
    const auto children = [&](size_t of) {
      std::vector<size_t> all;
      for (size_t i = 0; i < n; ++i)
        if (parent[i] == of) all.push_back(i);
      return all;
    };
    const auto top = children(n);
    objects.push_back("<< /Type /Outlines /Count " + std::to_string(top.size()) + " /First " + object(top.front()) +
                      " /Last " + object(top.back()) + " >>");
    for (size_t i = 0; i < n; ++i) {
      const auto siblings = children(parent[i]), own = children(i);
      std::string entry = "<< /Title (" + escaped(outline_[i].title) + ") /Parent " + object(parent[i]);
      for (size_t s = 0; s < siblings.size(); ++s) {
        if (siblings[s] != i) continue;
        if (s > 0) entry += " /Prev " + object(siblings[s - 1]);
        if (s + 1 < siblings.size()) entry += " /Next " + object(siblings[s + 1]);
      }
      if (!own.empty())
        entry +=
            " /First " + object(own.front()) + " /Last " + object(own.back()) + " /Count " + std::to_string(own.size());
      char target[96];
      std::snprintf(target, sizeof target, " /Dest [%s /XYZ 0 %.1f 0] >>",
                    reference(first_page + 2 * static_cast<size_t>(outline_[i].page)).c_str(),
                    kHeightPt - outline_[i].y);
      objects.push_back(entry + target);
    }
  }

  std::string assemble(std::vector<std::string>& objects) const {
    objects.push_back("<< /Title (" + escaped(title_) + ") >>");
    std::string out = "%PDF-1.4\n";
    std::vector<size_t> offsets;
    for (size_t i = 0; i < objects.size(); ++i) {
      offsets.push_back(out.size());
      out += std::to_string(i + 1) + " 0 obj\n" + objects[i] + "\nendobj\n";
    }
    const size_t table = out.size();
    out += "xref\n0 " + std::to_string(objects.size() + 1) + "\n0000000000 65535 f \n";
    for (size_t offset : offsets) {
      char row[32];
      std::snprintf(row, sizeof row, "%010zu 00000 n \n", offset);
      out += row;
    }
    return out + "trailer << /Size " + std::to_string(objects.size() + 1) + " /Root 1 0 R /Info " +
           reference(objects.size()) + " >>\nstartxref\n" + std::to_string(table) + "\n%%EOF\n";
  }

  // Advance widths of Helvetica for codes 32 to 126, in thousandths of the size (Adobe's published font metrics).
  static constexpr int kHelvetica[] = {278,  278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
                                       556,  556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
                                       1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
                                       667,  778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
                                       333,  556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
                                       556,  556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584};

  std::vector<std::string> pages_;
  std::vector<Entry> outline_;
  std::string title_;
};

}  // namespace longleaf
