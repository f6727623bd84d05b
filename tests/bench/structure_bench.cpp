// How well headings and reading order are recovered, against outlines that are hidden from the reader and against
// ground truth in docling's JSON form.
//
//   structure_bench [--verbose] LONGLEAF-PDF FILE.pdf|FOLDER ...
//   structure_bench --blocks LONGLEAF-PDF FILE.pdf PAGE      what the layout makes of one page
//
// A PDF is measured by its outline when that has at least 10 entries with a target and at least 80 % of their titles
// are printed on the page they point to: of those entries, with levels that count printed ancestors only. Headings
// found deeper than the outline goes are left out, because an outline to depth n says nothing of depth n + 1; the
// column "any" counts them as false. And by FOLDER/groundtruth/NAME.json where there is one.
#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "ingest/layout/layout.h"
#include "ingest/reader/reader.h"
#include "ingest/structure/headings.h"
#include "ingest/structure/numbering.h"
#include "ingest/structure/printed_title.h"

namespace {

using namespace longleaf;
namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kFewestEntries = 10;
constexpr double kHonest = 0.8;

struct Title {
  int page, level;
  std::string key, shown;
};

struct Measured {
  std::string name, from;
  double precision = 0, recall = 0, f1 = 0, level_f1 = 0, strict_f1 = 0, order = -1;
  size_t wanted = 0, found = 0;
  std::vector<std::string> notes;
};

struct Document {
  std::vector<PageText> pages;
  std::vector<OutlineEntry> outline;
  std::vector<Block> blocks;
  std::vector<Heading> headings;
};

bool load(const fs::path& file, const fs::path& worker, Document& document) {
  ReaderOptions options;
  options.worker = worker;
  auto reader = DocumentReader::open(file, options);
  if (!reader.ok()) return false;
  for (int i = 0; i < (*reader)->info().pages; ++i) {
    auto page = (*reader)->page(i);
    document.pages.push_back(page.ok() ? *page : PageText{i, 612, 792, "", 0, {}, {}});
  }
  if (auto outline = (*reader)->outline(); outline.ok()) document.outline = *outline;
  document.blocks = lay_out(document.pages);
  document.headings = find_headings(document.blocks, {});
  return true;
}

std::string page_key(const PageText& page) {
  std::string text;
  for (const Word& word : page.words) text += folded(word.text);
  return text;
}

// Compares as multisets of (page, key); a matched pair also agrees in level or not.
void compare(std::vector<Title> wanted, const std::vector<Title>& found, Measured& out) {
  size_t hits = 0, level_hits = 0;
  out.wanted = wanted.size();
  out.found = found.size();
  for (const Title& title : found) {
    auto it = std::find_if(wanted.begin(), wanted.end(),
                           [&](const Title& w) { return w.page == title.page && w.key == title.key; });
    if (it == wanted.end()) {
      out.notes.push_back("  + p" + std::to_string(title.page + 1) + " L" + std::to_string(title.level) + " " +
                          title.shown);
      continue;
    }
    ++hits;
    if (it->level == title.level)
      ++level_hits;
    else
      out.notes.push_back("  ~ p" + std::to_string(title.page + 1) + " L" + std::to_string(it->level) + " found as L" +
                          std::to_string(title.level) + " " + title.shown);
    wanted.erase(it);
  }
  for (const Title& title : wanted)
    out.notes.push_back("  - p" + std::to_string(title.page + 1) + " L" + std::to_string(title.level) + " " +
                        title.shown);
  const auto f1 = [&](size_t n) {
    return out.wanted + out.found == 0 ? 1.0
                                       : 2.0 * static_cast<double>(n) / static_cast<double>(out.wanted + out.found);
  };
  out.precision = out.found == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(out.found);
  out.recall = out.wanted == 0 ? 1 : static_cast<double>(hits) / static_cast<double>(out.wanted);
  out.f1 = f1(hits);
  out.level_f1 = f1(level_hits);
}

// `with_title`: the document's own title counts as a heading, as docling has it.
std::vector<Title> titles_of(const Document& document, bool with_title) {
  std::vector<Title> titles;
  const auto printed = with_title ? printed_title(document.blocks) : std::nullopt;
  if (printed)
    titles.push_back(
        {document.blocks[static_cast<size_t>(printed->first)].page, 1, title_key(printed->text), printed->text});
  for (const Heading& heading : document.headings) {
    const Block& block = document.blocks[static_cast<size_t>(heading.block)];
    if (printed && heading.block >= printed->first && heading.block < printed->end) continue;
    titles.push_back({block.page, heading.level, title_key(heading.title), heading.title});
  }
  return titles;
}

// Entries that are printed on the page they point to; their levels count printed ancestors only.
std::vector<Title> printed_entries(const Document& document, size_t& all) {
  std::vector<Title> printed;
  std::map<int, std::string> pages;
  std::vector<int> open;  // outline levels of the printed ancestors
  for (const OutlineEntry& entry : document.outline) {
    const std::string key = title_key(entry.title);
    if (entry.page < 0 || entry.page >= static_cast<int>(document.pages.size()) || key.empty()) continue;
    ++all;
    auto& text = pages[entry.page];
    if (text.empty()) text = page_key(document.pages[static_cast<size_t>(entry.page)]);
    if (text.find(key) == std::string::npos) continue;
    while (!open.empty() && open.back() >= entry.level) open.pop_back();
    open.push_back(entry.level);
    printed.push_back({entry.page, static_cast<int>(open.size()), key, entry.title});
  }
  return printed;
}

bool measure_outline(const Document& document, Measured& out) {
  size_t all = 0;
  auto wanted = printed_entries(document, all);
  if (wanted.size() < kFewestEntries || static_cast<double>(wanted.size()) < kHonest * static_cast<double>(all))
    return false;
  int depth = 1;
  for (const Title& title : wanted) depth = std::max(depth, title.level);
  auto found = titles_of(document, false);
  Measured strict;
  compare(wanted, found, strict);
  std::erase_if(found, [&](const Title& title) { return title.level > depth; });
  out.from = "outline";
  compare(std::move(wanted), found, out);
  out.strict_f1 = strict.f1;
  return true;
}

struct Item {
  int page;
  Box box;
  std::string text;
};

std::string shown(const Item& item) {
  char place[64];
  std::snprintf(place, sizeof place, "p%d y %.2f x %.2f “", item.page + 1, item.box.y0, item.box.x0);
  return place + item.text.substr(0, 40) + "”";
}

// Body items in docling's order: text, lists, tables, code. What it keeps inside of pictures, tables and code is left
// out: captions are there too, so that its order does not say on which side of their picture they stand.
void collect(const Json& root, const Json& node, const Document& document, std::vector<Item>& items,
             std::vector<Title>& headings) {
  for (const auto& child : node.value("children", Json::array())) {
    const Json& item = root.at(Json::json_pointer(child.at("$ref").get<std::string>().substr(1)));
    const std::string label = item.value("label", "");
    const bool body = item.value("content_layer", "body") == "body";
    if (body && label != "picture" && item.contains("prov") && !item["prov"].empty()) {
      const Json& prov = item["prov"][0];
      const int page = prov.at("page_no").get<int>() - 1;
      if (page >= 0 && page < static_cast<int>(document.pages.size())) {
        const auto& size = document.pages[static_cast<size_t>(page)];
        const Json& b = prov.at("bbox");
        const bool bottom = b.value("coord_origin", "") == "BOTTOMLEFT";
        const float top = b.at("t"), low = b.at("b"), left = b.at("l"), right = b.at("r");
        items.push_back({page,
                         {left / size.width_pt, bottom ? 1 - top / size.height_pt : top / size.height_pt,
                          right / size.width_pt, bottom ? 1 - low / size.height_pt : low / size.height_pt},
                         item.value("text", label)});
        if (label == "section_header" || label == "title")
          headings.push_back({page, 1, title_key(item.at("text")), item.at("text")});
      }
    }
    const bool is_whole = label == "picture" || label == "table" || label == "code";
    if (!is_whole) collect(root, item, document, items, headings);
  }
}

// The place of an item in our order: the first of our words whose middle lies in it.
int place_of(const Item& item, const Document& document) {
  int at = 0;
  for (const Block& block : document.blocks) {
    for (const WordPlace& word : block.words) {
      const float x = (word.box.x0 + word.box.x1) / 2, y = (word.box.y0 + word.box.y1) / 2;
      if (block.page == item.page && x >= item.box.x0 && x <= item.box.x1 && y >= item.box.y0 && y <= item.box.y1)
        return at;
      ++at;
    }
  }
  return -1;
}

bool measure_truth(const fs::path& truth, const Document& document, Measured& out) {
  std::ifstream in(truth);
  const Json root = Json::parse(in, nullptr, false);
  if (root.is_discarded()) return false;
  std::vector<Item> items;
  std::vector<Title> wanted;
  collect(root, root.at("body"), document, items, wanted);
  auto found = titles_of(document, true);
  for (auto* titles : {&wanted, &found})
    for (Title& title : *titles) {
      title.level = 1;
      // The ground truth has some numbers behind their titles.
      const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
      while (title.key.size() > 1 && is_digit(title.key.back())) title.key.pop_back();
      while (title.key.size() > 1 && is_digit(title.key.front())) title.key.erase(0, 1);
    }
  out.from = "truth";
  compare(std::move(wanted), found, out);
  std::vector<std::pair<int, int>> order;  // place, item
  for (size_t i = 0; i < items.size(); ++i)
    if (const int at = place_of(items[i], document); at >= 0) order.push_back({at, static_cast<int>(i)});
  std::vector<int> rank;  // items that were found, in the true order
  for (const auto& [place, item] : order) rank.push_back(item);
  std::sort(order.begin(), order.end());
  size_t pairs = 0, kept = 0;
  for (size_t i = 0; i + 1 < rank.size(); ++i) {
    if (items[static_cast<size_t>(rank[i])].page != items[static_cast<size_t>(rank[i + 1])].page) continue;
    ++pairs;
    bool is_kept = false;
    for (size_t j = 0; j + 1 < order.size(); ++j)
      is_kept |= order[j].second == rank[i] && order[j + 1].second == rank[i + 1];
    kept += is_kept ? 1 : 0;
    if (!is_kept)
      out.notes.push_back("  > " + shown(items[static_cast<size_t>(rank[i])]) + " then " +
                          shown(items[static_cast<size_t>(rank[i + 1])]));
  }
  out.order = pairs == 0 ? 1 : static_cast<double>(kept) / static_cast<double>(pairs);
  return true;
}

void print(const std::vector<Measured>& all, const char* from, bool verbose) {
  double f1 = 0, level_f1 = 0, strict_f1 = 0, order = 0;
  size_t n = 0;
  std::printf("%-52s %7s %6s %6s %6s %6s %6s %6s %6s\n", from, "wanted", "found", "prec", "recall", "F1", "level",
              "any", "order");
  for (const Measured& m : all) {
    if (m.from != from) continue;
    std::printf("%-52s %7zu %6zu %6.3f %6.3f %6.3f %6.3f %6.3f %6.3f\n", m.name.substr(0, 52).c_str(), m.wanted,
                m.found, m.precision, m.recall, m.f1, m.level_f1, m.strict_f1, m.order);
    for (const auto& note : m.notes)
      if (verbose) std::printf("%s\n", note.c_str());
    ++n, f1 += m.f1, level_f1 += m.level_f1, strict_f1 += m.strict_f1, order += m.order;
  }
  const auto mean = [&](double sum) { return n == 0 ? 0 : sum / static_cast<double>(n); };
  std::printf("mean of %zu: F1 %.3f, with the right level %.3f, F1 of all depths %.3f, order %.3f\n\n", n, mean(f1),
              mean(level_f1), mean(strict_f1), mean(order));
}

int show_blocks(const fs::path& worker, const fs::path& file, int page) {
  Document document;
  if (!load(file, worker, document)) return 1;
  for (const Block& block : document.blocks)
    if (block.page == page)
      std::printf("%-9s %5.2f%s%s%s%s y %.3f-%.3f x %.3f-%.3f lines %d | %.90s\n", name_of(block.kind), block.size_pt,
                  block.bold ? " bold" : "", block.italic ? " italic" : "", block.underlined ? " under" : "",
                  block.capitals ? " CAPS" : "", block.box.y0, block.box.y1, block.box.x0, block.box.x1, block.n_lines,
                  block.text.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool verbose = !arguments.empty() && arguments[0] == "--verbose";
  if (verbose) arguments.erase(arguments.begin());
  if (arguments.size() == 4 && arguments[0] == "--blocks")
    return show_blocks(arguments[1], arguments[2], std::stoi(arguments[3]) - 1);
  if (arguments.size() < 2)
    return std::fprintf(stderr, "structure_bench [--verbose] LONGLEAF-PDF FILE|FOLDER ...\n"), 2;
  std::vector<fs::path> files;
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (fs::is_regular_file(arguments[i])) files.emplace_back(arguments[i]);
    if (!fs::is_directory(arguments[i])) continue;
    for (const auto& entry : fs::recursive_directory_iterator(arguments[i]))
      if (entry.path().extension() == ".pdf") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Measured> all;
  std::mutex mutex;
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < files.size(); i = next++) {
      Document document;
      if (!load(files[i], arguments[0], document)) continue;
      Measured by_outline, by_truth;
      by_outline.name = by_truth.name = files[i].filename().string();
      const auto truth = files[i].parent_path().parent_path() / "groundtruth" / (files[i].stem().string() + ".json");
      const bool has_outline = measure_outline(document, by_outline);
      const bool has_truth = fs::exists(truth) && measure_truth(truth, document, by_truth);
      const std::lock_guard lock(mutex);
      if (has_outline) all.push_back(std::move(by_outline));
      if (has_truth) all.push_back(std::move(by_truth));
    }
  };
  std::thread second(work);
  work();
  second.join();
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.f1 < b.f1; });
  print(all, "outline", verbose);
  print(all, "truth", verbose);
}
