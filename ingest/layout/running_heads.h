// Finds headers, footers and page numbers: lines at a page's edge that return, up to their numbers, on other pages.
// Not thread-safe: one thread owns it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ingest/layout/lines.h"

namespace longleaf {

class RunningHeads {
 public:
  // REQUIRES: pages come in order.
  void learn(int page, const std::vector<Line>& lines);
  // Whether the line is one, after all pages were learnt.
  bool is_running(int page, const Line& line) const;
  void remove_from(int page, std::vector<Line>& lines) const;

 private:
  struct Place {
    int page;
    float y;
  };
  std::map<std::string, std::vector<Place>> places_;  // by the line's shape
};

}  // namespace longleaf
