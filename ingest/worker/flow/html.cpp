#include "ingest/worker/flow/html.h"

#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "ingest/worker/flow/html_elements.h"
#include "ingest/worker/flow/plain_text.h"

namespace longleaf::worker {
namespace {

constexpr int kDeepestList = 8;
constexpr int kMostCells = 200;

// Walks a tree and collects its blocks. Without recursion: a hostile page nests as deep as it likes.
class Collector {
 public:
  explicit Collector(Flow& flow) : flow_(flow) {}

  void walk(xmlNode* root) {
    for (xmlNode* node = root; node != nullptr;) {
      if (enter(node) && node->children != nullptr) {
        node = node->children;
        continue;
      }
      leave(node);
      while (node != root && node->next == nullptr) leave(node = node->parent);
      node = node == root ? nullptr : node->next;
    }
    flush();
  }

 private:
  struct List {
    bool ordered;
    int next;
  };

  // Whether to go into it; `leave` follows in any case.
  bool enter(xmlNode* node) {
    if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
      add_text(node->content == nullptr ? "" : reinterpret_cast<const char*>(node->content));
      return false;
    }
    if (node->type != XML_ELEMENT_NODE) return false;
    if (role_of(node) == Role::Skip || is_permalink(node)) return false;
    if (role_of(node) == Role::Table) arranging_.push_back(rows_ == 0 && arranges_a_page(node));
    begin(node, role_here(node));
    change_look(node, 1);
    return true;
  }

  void leave(xmlNode* node) {
    if (node->type != XML_ELEMENT_NODE) return;
    if (role_of(node) == Role::Skip || is_permalink(node)) return;
    end(node, role_here(node));
    if (role_of(node) == Role::Table) arranging_.pop_back();
    change_look(node, -1);
  }

  // Rows and cells that only arrange a page are blocks.
  Role role_here(const xmlNode* node) const {
    const Role role = role_of(node);
    const bool arranged =
        (role == Role::Row || role == Role::Cell || role == Role::Table) && !arranging_.empty() && arranging_.back();
    return arranged ? Role::Block : role;
  }

  void begin(const xmlNode* node, Role role) {
    if (rows_ > 0 && role != Role::Cell && role != Role::Row) {  // a cell is one line of text, whatever it holds
      if (role != Role::Inline) add_text(" ");
      return;
    }
    switch (role) {
      case Role::Inline:
      case Role::Skip:
        return;
      case Role::Break:
        return add(preformatted_ > 0 || !block_.runs.empty() ? "\n" : "");
      case Role::Cell:
        if (rows_ == 1) cell_ = std::min(cell_ + 1, kMostCells);
        return add_text(" ");
      case Role::Row:
        if (++rows_ > 1) return;
        flush();
        block_.kind = FlowKind::TableRow, cell_ = -1;
        return;
      case Role::Table:
        flush();
        ++tables_;
        return;
      case Role::Heading:
        flush();
        block_.kind = FlowKind::Heading, block_.level = name_of(node)[1] - '0';
        return;
      case Role::Preformatted:
        flush();
        ++preformatted_;
        return;
      case Role::List:
        flush();
        lists_.push_back({name_of(node) == "ol", count_of(node, "start", 1)});
        return;
      case Role::Item:
        flush();
        begin_item(node);
        return;
      case Role::Block:
        flush();
        if (is_one_of(name_of(node), {"blockquote", "dd"})) ++quotations_;
        return;
    }
  }

  static int count_of(const xmlNode* node, const char* name, int otherwise) {
    return static_cast<int>(std::clamp(number_of(attribute(node, name)).value_or(otherwise), -1e9, 1e9));
  }

  void begin_item(const xmlNode* node) {
    if (lists_.empty()) lists_.push_back({false, 1});  // an item without a list
    List& list = lists_.back();
    list.next = count_of(node, "value", list.next);
    mark_ = list.ordered ? std::to_string(list.next) + ". " : "• ";
    ++list.next;
  }

  void end(const xmlNode* node, Role role) {
    if (rows_ > 0 && role != Role::Row) return;
    if (role == Role::Inline || role == Role::Break || role == Role::Cell) return;
    if (role == Role::Row && --rows_ > 0) return;
    flush();
    if (role == Role::List && !lists_.empty()) lists_.pop_back();
    if (role == Role::Item) mark_.clear();
    if (role == Role::Preformatted) --preformatted_;
    if (is_one_of(name_of(node), {"blockquote", "dd"})) --quotations_;
  }

  void change_look(const xmlNode* node, int by) {
    const auto name = name_of(node);
    if (is_one_of(name, {"b", "strong", "th", "dt"})) bold_ += by;
    if (is_one_of(name, {"i", "em", "cite", "var", "dfn"})) italic_ += by;
    if (is_one_of(name, {"code", "tt", "kbd", "samp", "pre"})) fixed_ += by;
    if (hides(node)) hidden_ += by;
  }

  void add_text(std::string_view text) {
    if (preformatted_ > 0 && rows_ == 0) return add(text);
    std::string folded;
    for (size_t i = 0; i < text.size(); ++i) {
      const bool space = std::strchr(" \t\r\n\f", text[i]) != nullptr || text.substr(i, 2) == "\xC2\xA0";
      if (!space)
        folded += text[i];
      else if (folded.empty() ? !ends_in_space() : folded.back() != ' ')
        folded += ' ';
      if (space && text[i] == '\xC2') ++i;
    }
    add(folded);
  }

  bool ends_in_space() const {
    return block_.runs.empty() || block_.runs.back().text.ends_with(' ') || block_.runs.back().text.ends_with('\n');
  }

  void add(std::string_view text) {
    if (text.empty()) return;
    FlowRun run{{}, bold_ > 0, italic_ > 0, fixed_ > 0, hidden_ > 0, rows_ > 0 ? std::max(cell_, 0) : 0};
    if (block_.runs.empty() || !block_.runs.back().looks_like(run)) block_.runs.push_back(std::move(run));
    block_.runs.back().text += text;
  }

  void flush() {
    const bool empty = std::all_of(block_.runs.begin(), block_.runs.end(), [](const FlowRun& run) {
      return run.text.find_first_not_of(" \n\t\r") == std::string::npos;
    });
    FlowBlock block = std::exchange(block_, {});
    if (empty) return;
    if (block.kind == FlowKind::TableRow) block.table = tables_;
    if (block.kind == FlowKind::Paragraph) {
      const size_t depth = lists_.size() + static_cast<size_t>(std::max(0, quotations_));
      block.level = static_cast<int>(std::min<size_t>(depth, kDeepestList));
      if (preformatted_ > 0) block.kind = FlowKind::Code;
      if (!mark_.empty()) {
        block.kind = FlowKind::ListItem, --block.level;
        block.runs.insert(block.runs.begin(), FlowRun{std::exchange(mark_, {}), false, false, false, false, 0});
      }
    }
    flow_.blocks.push_back(std::move(block));
  }

  Flow& flow_;
  FlowBlock block_;
  std::vector<List> lists_;
  std::vector<bool> arranging_;  // of the tables we are in: whether it only arranges the page
  std::string mark_;             // of the item that has begun
  int bold_ = 0, italic_ = 0, fixed_ = 0, hidden_ = 0;
  int preformatted_ = 0, quotations_ = 0, rows_ = 0, tables_ = 0, cell_ = 0;
};

xmlNode* child_named(const xmlNode* parent, std::string_view name) {
  for (xmlNode* node = parent == nullptr ? nullptr : parent->children; node != nullptr; node = node->next)
    if (node->type == XML_ELEMENT_NODE && name_of(node) == name) return node;
  return nullptr;
}

std::string title_of(const xmlNode* root) {
  const xmlNode* title = child_named(child_named(root, "head"), "title");
  if (title == nullptr) return {};
  const std::unique_ptr<xmlChar, void (*)(void*)> text(xmlNodeGetContent(title), [](void* p) { xmlFree(p); });
  return text == nullptr ? std::string() : simplified(reinterpret_cast<const char*>(text.get()));
}

// What is UTF-8 is read so, whatever the page says; else an XML declaration counts, else the parser's own search.
std::string encoding_of(std::string_view bytes) {
  if (is_utf8(bytes)) return "UTF-8";
  const std::string_view head = bytes.substr(0, std::min(bytes.find("?>"), size_t{200}));
  const size_t at = head.starts_with("<?xml") ? head.find("encoding=") : std::string_view::npos;
  if (at == std::string_view::npos || at + 10 >= head.size()) return {};
  const auto value = head.substr(at + 10);
  return std::string(value.substr(0, value.find(head[at + 9])));
}

}  // namespace

std::string simplified(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (std::strchr(" \t\r\n\f", c) == nullptr)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

Status read_html(std::string_view bytes, Flow& flow) {
  constexpr int kOptions = HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET;
  const std::unique_ptr<htmlParserCtxt, void (*)(htmlParserCtxt*)> parser(
      htmlCreateMemoryParserCtxt(bytes.data(), static_cast<int>(bytes.size())), htmlFreeParserCtxt);
  if (parser == nullptr) return Status(Code::Corrupt, "The file has no HTML that can be read");
  htmlCtxtUseOptions(parser.get(), kOptions);
  // Else it drops what is nested deeper than 256 or longer than 10 MB; the process has limits of its own.
  parser->options |= XML_PARSE_HUGE;
  if (const std::string encoding = encoding_of(bytes); !encoding.empty())
    if (auto* handler = xmlFindCharEncodingHandler(encoding.c_str())) xmlSwitchToEncoding(parser.get(), handler);
  htmlParseDocument(parser.get());
  const std::unique_ptr<xmlDoc, void (*)(xmlDoc*)> document(parser->myDoc, xmlFreeDoc);
  parser->myDoc = nullptr;
  xmlNode* root = document == nullptr ? nullptr : xmlDocGetRootElement(document.get());
  if (root == nullptr) return Status(Code::Corrupt, "The file has no HTML that can be read");
  if (flow.title.empty()) flow.title = title_of(root);
  Collector(flow).walk(root);
  return {};
}

}  // namespace longleaf::worker
