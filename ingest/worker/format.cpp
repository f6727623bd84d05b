#include <algorithm>
#include <array>
#include <cctype>

#include "ingest/worker/document.h"

namespace longleaf::worker {
namespace {

constexpr size_t kLooked = 65536;
constexpr size_t kPdfMark = 1024;    // some producers put bytes in front; readers are told to look this far
constexpr double kControls = 0.001;  // share of control characters that a text may have

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string ending_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string() : lower(name.substr(dot + 1));
}

bool has_utf16_mark(std::string_view bytes) { return bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF"); }

bool is_text(std::string_view head) {
  if (has_utf16_mark(head)) return true;
  const auto controls = std::count_if(head.begin(), head.end(), [](unsigned char c) {
    return (c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1B) || c == 0x7F;
  });
  return head.find('\0') == std::string_view::npos &&
         static_cast<double>(controls) <= kControls * static_cast<double>(head.size());
}

bool begins_as_html(std::string_view head) {
  const std::string start = lower(head.substr(0, 1024));
  const size_t first = start.find('<');
  if (first == std::string::npos || start.find_first_not_of(" \t\r\n\xEF\xBB\xBF") != first) return false;
  return start.find("<!doctype html") != std::string::npos || start.find("<html") != std::string::npos;
}

}  // namespace

Result<Format> format_of(std::string_view bytes, std::string_view name) {
  if (bytes.empty()) return Status(Code::Corrupt, "The file is empty");
  const std::string ending = ending_of(name);
  const std::string_view head = bytes.substr(0, kLooked);
  const size_t mark = head.substr(0, kPdfMark).find("%PDF-");
  // A text may speak of the mark.
  if (mark == 0 || (mark != std::string_view::npos && (ending == "pdf" || !is_text(head)))) return Format::Pdf;
  if (ending == "pdf") return Status(Code::Corrupt, "The file is not a PDF");
  const bool zip = head.starts_with("PK\x03\x04");
  if (zip && (ending == "epub" || head.substr(0, 128).find("application/epub+zip") != std::string_view::npos))
    return Format::Epub;
  if (ending == "epub") return Status(Code::Corrupt, "The file is not an EPUB");
  if (zip || !is_text(head))
    return Status(Code::Unsupported, "The file is neither a PDF nor an EPUB, HTML, Markdown or text file");
  if (ending == "md" || ending == "markdown") return Format::Markdown;
  if (ending == "html" || ending == "htm" || ending == "xhtml" || begins_as_html(head)) return Format::Html;
  return Format::Text;
}

}  // namespace longleaf::worker
