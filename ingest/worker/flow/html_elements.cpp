#include "ingest/worker/flow/html_elements.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <memory>

namespace longleaf::worker {
namespace {

constexpr int kLookedInTable = 2000;  // elements

struct Element {
  std::string_view name;
  Role role;
};

// What is not here is inline.
constexpr std::array kElements = {
    Element{"script", Role::Skip},      Element{"style", Role::Skip},    Element{"template", Role::Skip},
    Element{"noscript", Role::Skip},    Element{"head", Role::Skip},     Element{"svg", Role::Skip},
    Element{"iframe", Role::Skip},      Element{"object", Role::Skip},   Element{"select", Role::Skip},
    Element{"rt", Role::Skip},          Element{"rp", Role::Skip},  // how the characters beside are read
    Element{"p", Role::Block},          Element{"div", Role::Block},     Element{"section", Role::Block},
    Element{"article", Role::Block},    Element{"aside", Role::Block},   Element{"main", Role::Block},
    Element{"nav", Role::Block},        Element{"header", Role::Block},  Element{"footer", Role::Block},
    Element{"blockquote", Role::Block}, Element{"figure", Role::Block},  Element{"figcaption", Role::Block},
    Element{"caption", Role::Block},    Element{"address", Role::Block}, Element{"dl", Role::Block},
    Element{"dt", Role::Block},         Element{"dd", Role::Block},      Element{"form", Role::Block},
    Element{"hr", Role::Block},         Element{"body", Role::Block},    Element{"h1", Role::Heading},
    Element{"h2", Role::Heading},       Element{"h3", Role::Heading},    Element{"h4", Role::Heading},
    Element{"h5", Role::Heading},       Element{"h6", Role::Heading},    Element{"ul", Role::List},
    Element{"ol", Role::List},          Element{"menu", Role::List},     Element{"li", Role::Item},
    Element{"pre", Role::Preformatted}, Element{"table", Role::Table},   Element{"tr", Role::Row},
    Element{"td", Role::Cell},          Element{"th", Role::Cell},       Element{"br", Role::Break}};

}  // namespace

std::string_view name_of(const xmlNode* node) {
  return node->name == nullptr ? std::string_view() : reinterpret_cast<const char*>(node->name);
}

Role role_of(const xmlNode* node) {
  const auto name = name_of(node);
  const auto known = std::find_if(kElements.begin(), kElements.end(), [&](const auto& e) { return e.name == name; });
  return known == kElements.end() ? Role::Inline : known->role;
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string attribute(const xmlNode* node, const char* name) {
  const std::unique_ptr<xmlChar, void (*)(void*)> value(xmlGetProp(node, reinterpret_cast<const xmlChar*>(name)),
                                                        [](void* p) { xmlFree(p); });
  return value == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(value.get()));
}

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end != text.data() ? std::optional(value) : std::nullopt;
}

namespace {

// Whether one declaration of a style, without spaces and in small letters, takes the text from sight.
bool hides(std::string_view declaration) {
  const size_t colon = declaration.find(':');
  if (colon == std::string_view::npos) return false;
  const auto property = declaration.substr(0, colon), value = declaration.substr(colon + 1);
  if (property == "display") return value.starts_with("none");
  if (property == "visibility") return value.starts_with("hidden") || value.starts_with("collapse");
  if (property == "font-size" || property == "opacity") return number_of(value) == 0.0;
  return false;
}

}  // namespace

bool hides(const xmlNode* node) {
  if (xmlHasProp(node, reinterpret_cast<const xmlChar*>("hidden")) != nullptr) return true;
  std::string style = attribute(node, "style");
  std::erase_if(style, [](unsigned char c) { return std::isspace(c) != 0; });
  std::transform(style.begin(), style.end(), style.begin(), [](unsigned char c) { return std::tolower(c); });
  for (size_t begin = 0; begin < style.size();) {
    const size_t end = std::min(style.find(';', begin), style.size());
    if (hides(std::string_view(style).substr(begin, end - begin))) return true;
    begin = end + 1;
  }
  return false;
}

bool arranges_a_page(const xmlNode* table) {
  int looked = 0;
  for (const xmlNode* node = table->children; node != nullptr && looked < kLookedInTable; ++looked) {
    if (node->type == XML_ELEMENT_NODE && (role_of(node) == Role::Heading || role_of(node) == Role::Table)) return true;
    if (node->children != nullptr && node->type == XML_ELEMENT_NODE) {
      node = node->children;
      continue;
    }
    while (node != table && node->next == nullptr) node = node->parent;
    node = node == table ? nullptr : node->next;
  }
  return false;
}

bool is_permalink(const xmlNode* node) {
  return name_of(node) == "a" && attribute(node, "class").find("headerlink") != std::string::npos;
}

}  // namespace longleaf::worker
