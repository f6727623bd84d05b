// What the elements of an HTML page are to a flow, and whether they are seen. Any thread.
#pragma once

#include <libxml/tree.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace longleaf::worker {

enum class Role { Inline, Skip, Block, Heading, List, Item, Preformatted, Table, Row, Cell, Break };

std::string_view name_of(const xmlNode* node);
Role role_of(const xmlNode* node);  // Inline for what is not known
bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names);
std::string attribute(const xmlNode* node, const char* name);  // "" where there is none

// A number of an attribute or a style; nothing when there is none. A unit may follow.
std::optional<double> number_of(std::string_view text);

// Whether the element's own attributes take its text from sight.
bool hides(const xmlNode* node);

// A table that only arranges a page: it holds headings or other tables. Looks at its first elements only.
bool arranges_a_page(const xmlNode* table);

// The mark beside a heading that links to itself.
bool is_permalink(const xmlNode* node);

}  // namespace longleaf::worker
