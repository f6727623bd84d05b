// The numbers that are printed at the edges of pages, for documents whose file does not tell them.
// Not thread-safe: one thread owns it.
#pragma once

#include <string>
#include <vector>

#include "ingest/layout/lines.h"

namespace longleaf {

class PageNumbers {
 public:
  // REQUIRES: pages come in order, none is left out.
  void learn(const std::vector<Line>& lines);
  // What to call each page: its number as printed (or as its neighbours' numbers say), "[3]" for the third page where
  // none is. Empty where the numbers tell nothing that counting does not, or name two pages alike.
  std::vector<std::string> labels() const;

 private:
  // Page n bears the number n + shift, n from 0.
  struct Counting {
    bool is_roman = false;
    int shift = 0;
    bool operator==(const Counting&) const = default;
  };
  static void read(const std::string& word, int page, std::vector<Counting>& out);
  bool bears(int page, const Counting& counting) const;

  std::vector<std::vector<Counting>> pages_;  // by what stands at the edges of each
};

}  // namespace longleaf
