#include "ingest/worker/flow/plain_text.h"

#include <iconv.h>
#include <md4c-html.h>

#include <QStringDecoder>
#include <algorithm>
#include <cctype>
#include <map>

#include "ingest/structure/numbering.h"
#include "ingest/worker/flow/html.h"

namespace longleaf::worker {
namespace {

constexpr size_t kLongestHeading = 90;  // bytes
constexpr size_t kLongestLabel = 60;
constexpr size_t kFewestHeadings = 2;  // of one kind

// Unknown bytes become U+FFFD.
std::string converted(std::string_view bytes, const char* from) {
  const iconv_t converter = iconv_open("UTF-8", from);
  if (converter == reinterpret_cast<iconv_t>(-1)) return {};
  std::string out, source(bytes);
  char* in = source.data();
  size_t left = source.size();
  char buffer[4096];
  while (left > 0) {
    char* to = buffer;
    size_t room = sizeof buffer;
    const size_t bad = iconv(converter, &in, &left, &to, &room);
    out.append(buffer, sizeof buffer - room);
    if (bad == static_cast<size_t>(-1) && room == sizeof buffer) out += "\uFFFD", ++in, --left;
  }
  iconv_close(converter);
  return out;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Text wrapped by hand has lines of like length; verse, lists and addresses do not, and keep their breaks.
bool is_wrapped(const std::vector<std::string_view>& lines) {
  size_t longest = 0;
  for (const auto& line : lines) longest = std::max(longest, line.size());
  if (longest < 50) return false;
  return std::all_of(lines.begin(), lines.end() - 1, [&](const auto& line) { return line.size() * 2 >= longest; });
}

// What the headings of one level of a plain text have in common: "chapter", "1.1", "IV.", capitals. "" for no heading.
std::string family_of(const FlowBlock& block) {
  const std::string& text = block.runs[0].text;
  if (text.size() > kLongestHeading || text.find('\n') != std::string::npos) return {};
  if (text.find_last_of(".,;:") == text.size() - 1 && text.size() > 12) return {};
  const Numbering number = numbering_of(text);
  if (number.kind == NumberKind::Named) return number.name;
  if (number.kind == NumberKind::Decimal) return std::string("1.") + static_cast<char>('0' + std::min(number.depth, 9));
  const auto letters = [&](int (*is)(int)) {
    return std::count_if(text.begin(), text.end(), [&](unsigned char c) { return c < 0x80 && is(c) != 0; });
  };
  if (letters(std::islower) > 0 || letters(std::isupper) < 4) return {};
  return "capitals";
}

// A plain text has no other sign of a heading than how it is written. Levels follow the order in which the kinds of
// headings first appear, as in Part, Chapter, Section.
void mark_headings(std::vector<FlowBlock>& blocks) {
  std::map<std::string, size_t> counts;
  for (const FlowBlock& block : blocks) ++counts[family_of(block)];
  std::vector<std::string> order;
  for (FlowBlock& block : blocks) {
    const std::string family = family_of(block);
    if (family.empty() || counts[family] < kFewestHeadings) continue;
    auto found = std::find(order.begin(), order.end(), family);
    if (found == order.end()) found = order.insert(order.end(), family);
    block.kind = FlowKind::Heading;
    block.level = std::min(6, static_cast<int>(found - order.begin()) + 1);
  }
}

FlowBlock paragraph_of(const std::vector<std::string_view>& lines) {
  FlowBlock block;
  const bool wrapped = is_wrapped(lines);
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : wrapped ? " " : "\n") + std::string(line);
  std::replace(text.begin(), text.end(), '\t', ' ');
  block.runs.push_back({wrapped ? simplified(text) : text});
  return block;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  QStringDecoder decoder(QStringDecoder::Utf8);
  const QString ignored = decoder(QByteArrayView(bytes.data(), static_cast<qsizetype>(bytes.size())));
  return !decoder.hasError();
}

namespace {

std::string to_utf8(std::string_view bytes) {
  if (bytes.starts_with("\xFF\xFE")) return converted(bytes.substr(2), "UTF-16LE");
  if (bytes.starts_with("\xFE\xFF")) return converted(bytes.substr(2), "UTF-16BE");
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  return is_utf8(bytes) ? std::string(bytes) : converted(bytes, "WINDOWS-1252");
}

}  // namespace

std::string decoded(std::string_view bytes) {
  const std::string text = to_utf8(bytes);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] != '\r')
      out += text[i];
    else if (i + 1 == text.size() || text[i + 1] != '\n')
      out += '\n';  // as old Macs end a line
  return out;
}

Status read_plain_text(std::string_view bytes, Flow& flow) {
  const std::string text = decoded(bytes);
  const auto lines = lines_of(text);
  const bool has_gaps =
      std::any_of(lines.begin(), lines.end(), [](const auto& line) { return line.empty() || line[0] == '\f'; });
  std::vector<std::string_view> paragraph;
  bool new_chapter = false;
  const auto finish = [&] {
    if (paragraph.empty()) return;
    flow.blocks.push_back(paragraph_of(paragraph));
    flow.blocks.back().starts_chapter = std::exchange(new_chapter, false);
    paragraph.clear();
  };
  for (std::string_view line : lines) {
    if (line.starts_with('\f')) finish(), new_chapter = true, line.remove_prefix(1);
    if (line.empty() || !has_gaps) finish();
    if (!line.empty()) paragraph.push_back(line);
    // "Chapter 3", with the text right under it.
    if (paragraph.size() == 1 && line.size() <= kLongestLabel && numbering_of(line).kind == NumberKind::Named) finish();
  }
  finish();
  mark_headings(flow.blocks);
  return {};
}

// Settings in front of a Markdown text (YAML), between a line of three dashes and one of three dashes or dots; their
// title is taken. A rule that opens a text is told from them by what stands in the line below it.
std::string_view without_front_matter(std::string_view text, Flow& flow) {
  const auto line_from = [&](size_t at) { return text.substr(at, std::min(text.find('\n', at), text.size()) - at); };
  if (line_from(0) != "---") return text;
  const std::string_view first = line_from(std::min<size_t>(4, text.size()));
  const size_t colon = first.find(':');
  const bool is_setting =
      colon != std::string_view::npos && colon > 0 && first.substr(0, colon).find(' ') == std::string_view::npos;
  if (!is_setting && !first.starts_with("#")) return text;
  std::string title;
  for (size_t at = 4; at < text.size();) {
    const std::string_view line = line_from(at);
    at = std::min(at + line.size() + 1, text.size());
    if (line == "---" || line == "...") {
      flow.title = std::move(title);
      return text.substr(at);
    }
    if (line.starts_with("title:")) title = simplified(line.substr(6));
    if (title.size() > 1 && (title[0] == '"' || title[0] == '\'') && title.back() == title[0])
      title = title.substr(1, title.size() - 2);
  }
  return text;  // never closed
}

Status read_markdown(std::string_view bytes, Flow& flow) {
  const std::string all = decoded(bytes);
  const std::string_view text = without_front_matter(all, flow);
  std::string html;
  const auto collect = [](const MD_CHAR* part, MD_SIZE size, void* to) {
    static_cast<std::string*>(to)->append(part, size);
  };
  if (md_html(text.data(), static_cast<MD_SIZE>(text.size()), collect, &html, MD_DIALECT_GITHUB, 0) != 0)
    return Status(Code::Corrupt, "The Markdown cannot be read");
  return html.empty() ? Status() : read_html(html, flow);
}

}  // namespace longleaf::worker
