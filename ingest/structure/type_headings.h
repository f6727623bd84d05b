// Finds headings by how they are set: size, weight, slant, capitals, underline, numbering, and what follows them.
// Pure functions: any thread.
#pragma once

#include <compare>
#include <vector>

#include "ingest/layout/blocks.h"
#include "ingest/structure/headings.h"
#include "ingest/structure/numbering.h"

namespace longleaf {

// What makes two headings look alike.
struct TypeKey {
  int half_points = 0;
  bool bold = false, italic = false, underlined = false, capitals = false;
  auto operator<=>(const TypeKey&) const = default;
};
TypeKey type_key(const Block& block);

// "Contents", "Inhaltsverzeichnis" …
bool names_contents(const std::string& title);

// In reading order, levels nested from 1.
std::vector<Heading> headings_from_type(const std::vector<Block>& blocks);

}  // namespace longleaf
