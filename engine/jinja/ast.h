// A parsed template: statements and expressions as one kind of node.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/jinja/lexer.h"
#include "engine/jinja/value.h"

namespace longleaf::jinja {

enum class NodeKind {
  // Statements
  Text,      // text
  Output,    // {expression}
  If,        // {condition, then, else}
  For,       // {iterable, filter or Empty, body, else}; names: targets
  Set,       // {value}; names: targets, or text.names[0] for an attribute
  SetBlock,  // {body, filter chain or Empty}; names: target
  Macro,     // {body, defaults …}; text: name, names: parameters
  Filter,    // {expression over a Hole, body}
  Block,     // statements
  Break,
  Continue,
  // Expressions
  Empty,
  Hole,       // what a filter block filters
  Literal,    // value
  Variable,   // text
  ListOf,     // items
  DictOf,     // key, value, key, value …
  Attribute,  // {object}; text
  Item,       // {object, index}
  Slice,      // {object, from, to, step}, each or Empty
  Call,       // {callee, arguments …}; names: of arguments, "" for positional
  Apply,      // {object, arguments …}; text: filter; names as in Call
  Test,       // {object, arguments …}; text: test
  Unary,      // {operand}; text: operator
  Binary,     // {left, right}; text: operator
  Choice,     // {condition, then, else or Empty}
};

struct Node {
  NodeKind kind = NodeKind::Empty;
  int line = 1;
  int height = 1;  // of the tree below: what evaluating it takes of the stack
  std::string text;
  Value value;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Node>> children;
};
using NodePtr = std::unique_ptr<Node>;

// The whole template as a Block. Returns Invalid with the line and what is wrong.
Result<NodePtr> parse(const std::vector<Token>& tokens);

}  // namespace longleaf::jinja
