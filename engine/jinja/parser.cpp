// Recursive descent, with Jinja's precedence: … if … else, or, and, not, comparison, + -, ~, * / // %, **, sign, then
// attributes, items, calls, filters and tests.
#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "engine/jinja/ast.h"

namespace longleaf::jinja {
namespace {

constexpr int kMostDepth = 200;  // of the parser
constexpr size_t kMostArguments = 64;
constexpr int kMostHeight = 400;  // of the tree: chains of operators grow it without the parser going deeper

class Parser {
 public:
  explicit Parser(const std::vector<Token>& tokens) : tokens_(tokens) {}

  Result<NodePtr> run() {
    NodePtr root = block({});
    if (error_.empty() && token().kind != TokenKind::End) fail("a tag that closes nothing");
    if (!error_.empty()) return Status(Code::Invalid, error_);
    return root;
  }

 private:
  // --- tokens ---

  const Token& token(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool failed() const { return !error_.empty(); }
  void fail(const std::string& what) {
    if (error_.empty()) error_ = "the chat template, line " + std::to_string(token().line) + ": " + what;
  }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool is_operator(std::string_view text, size_t ahead = 0) const {
    return token(ahead).kind == TokenKind::Operator && token(ahead).text == text;
  }
  bool is_word(std::string_view text, size_t ahead = 0) const {
    return token(ahead).kind == TokenKind::Name && token(ahead).text == text;
  }
  bool accept(std::string_view text) {
    if (!is_operator(text)) return false;
    next();
    return true;
  }
  bool accept_word(std::string_view text) {
    if (!is_word(text)) return false;
    next();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail("“" + std::string(text) + "” is missing");
  }
  std::string name() {
    if (token().kind != TokenKind::Name) return fail("a name is missing"), std::string();
    std::string text = token().text;
    next();
    return text;
  }
  void end_tag() {
    if (token().kind != TokenKind::TagEnd) return fail("the end of a tag is missing");
    next();
  }

  NodePtr node(NodeKind kind, std::string text = {}) const {
    auto made = std::make_unique<Node>();
    made->kind = kind;
    made->line = token().line;
    made->text = std::move(text);
    return made;
  }
  template <typename... Children>
  NodePtr node_of(NodeKind kind, std::string text, Children... children) {
    NodePtr made = node(kind, std::move(text));
    (adopt(*made, std::move(children)), ...);
    return made;
  }
  void adopt(Node& parent, NodePtr child) {
    parent.height = std::max(parent.height, child->height + 1);
    if (parent.height > kMostHeight) fail("it is nested too deeply");
    parent.children.push_back(std::move(child));
  }

  // --- statements ---

  bool at_tag(std::initializer_list<std::string_view> words) const {
    return token().kind == TokenKind::TagBegin &&
           std::any_of(words.begin(), words.end(), [&](std::string_view word) { return is_word(word, 1); });
  }

  // Statements up to a tag that begins with one of `ends`, which is not taken.
  NodePtr block(std::initializer_list<std::string_view> ends) {
    NodePtr made = node(NodeKind::Block);
    const Depth depth(*this);
    while (!failed() && token().kind != TokenKind::End && !at_tag(ends)) {
      if (token().kind == TokenKind::Text) {
        adopt(*made, node(NodeKind::Text, token().text));
        next();
      } else if (token().kind == TokenKind::OutputBegin) {
        next();
        adopt(*made, node_of(NodeKind::Output, "", expression()));
        if (token().kind != TokenKind::OutputEnd) fail("“}}” is missing");
        next();
      } else {
        next();
        if (NodePtr statement = tag()) adopt(*made, std::move(statement));
      }
    }
    return made;
  }

  void close(std::string_view word) {
    next();
    if (!accept_word(word)) fail("“" + std::string(word) + "” is missing");
    end_tag();
  }

  NodePtr tag() {
    const std::string word = name();
    if (word == "if") return if_statement();
    if (word == "for") return for_statement();
    if (word == "set") return set_statement();
    if (word == "macro") return macro();
    if (word == "filter") return filter_block();
    if (word == "break" || word == "continue") {
      if (loops_ == 0) fail("“" + word + "” stands outside a loop");
      end_tag();
      return node(word == "break" ? NodeKind::Break : NodeKind::Continue);
    }
    if (word == "generation") {  // marks what a model said: its text is kept as it is
      end_tag();
      NodePtr body = block({"endgeneration"});
      close("endgeneration");
      return body;
    }
    fail("the tag “" + word + "” is not known");
    return nullptr;
  }

  NodePtr if_statement() {
    NodePtr condition = expression();
    end_tag();
    NodePtr then = block({"elif", "else", "endif"});
    NodePtr otherwise = node(NodeKind::Block);
    if (at_tag({"elif"})) {
      next(), next();
      const Depth depth(*this);
      if (!failed()) otherwise = if_statement();
    } else {
      if (at_tag({"else"})) {
        next(), next();
        end_tag();
        otherwise = block({"endif"});
      }
      close("endif");
    }
    return node_of(NodeKind::If, "", std::move(condition), std::move(then), std::move(otherwise));
  }

  NodePtr for_statement() {
    NodePtr made = node(NodeKind::For);
    made->names = targets();
    if (!accept_word("in")) fail("“in” is missing");
    adopt(*made, or_expression());
    adopt(*made, accept_word("if") ? or_expression() : node(NodeKind::Empty));
    end_tag();
    ++loops_;
    adopt(*made, block({"else", "endfor"}));
    --loops_;
    if (at_tag({"else"})) {
      next(), next();
      end_tag();
      adopt(*made, block({"endfor"}));
    } else {
      adopt(*made, node(NodeKind::Block));
    }
    close("endfor");
    return made;
  }

  std::vector<std::string> targets() {
    const bool parenthesis = accept("(");
    std::vector<std::string> names = {name()};
    while (accept(",")) names.push_back(name());
    if (parenthesis) expect(")");
    return names;
  }

  NodePtr set_statement() {
    NodePtr made = node(NodeKind::Set);
    made->names = targets();
    if (accept(".")) {
      made->text = made->names[0];
      made->names = {name()};
    }
    if (accept("=")) {
      adopt(*made, tuple());
      end_tag();
      return made;
    }
    made->kind = NodeKind::SetBlock;
    NodePtr filter = node(NodeKind::Empty);
    if (is_operator("|")) filter = postfix(node(NodeKind::Hole));
    end_tag();
    adopt(*made, block({"endset"}));
    adopt(*made, std::move(filter));
    close("endset");
    return made;
  }

  NodePtr macro() {
    NodePtr made = node(NodeKind::Macro, name());
    made->children.push_back(nullptr);
    expect("(");
    while (!failed() && !accept(")")) {
      made->names.push_back(name());
      adopt(*made, accept("=") ? expression() : node(NodeKind::Empty));
      if (!is_operator(")")) expect(",");
    }
    end_tag();
    const int outer_loops = std::exchange(loops_, 0);
    made->children[0] = block({"endmacro"});
    loops_ = outer_loops;
    made->height = std::max(made->height, made->children[0]->height + 1);
    close("endmacro");
    return made;
  }

  NodePtr filter_block() {
    NodePtr chain = apply(node(NodeKind::Hole));
    while (accept("|")) chain = apply(std::move(chain));
    end_tag();
    NodePtr body = block({"endfilter"});
    close("endfilter");
    return node_of(NodeKind::Filter, "", std::move(chain), std::move(body));
  }

  // --- expressions ---

  struct Depth {
    explicit Depth(Parser& owner) : parser(owner) {
      if (++parser.depth_ > kMostDepth) parser.fail("it is nested too deeply");
    }
    ~Depth() { --parser.depth_; }
    Parser& parser;
  };

  NodePtr tuple() {
    NodePtr first = expression();
    if (!is_operator(",")) return first;
    NodePtr made = node_of(NodeKind::ListOf, "", std::move(first));
    while (accept(",") && !failed()) adopt(*made, expression());
    return made;
  }

  NodePtr expression() {
    const Depth depth(*this);
    if (failed()) return node(NodeKind::Empty);
    NodePtr value = or_expression();
    while (accept_word("if")) {
      NodePtr condition = or_expression();
      NodePtr otherwise = accept_word("else") ? expression() : node(NodeKind::Empty);
      value = node_of(NodeKind::Choice, "", std::move(condition), std::move(value), std::move(otherwise));
    }
    return value;
  }

  NodePtr or_expression() {
    NodePtr left = and_expression();
    while (accept_word("or")) left = node_of(NodeKind::Binary, "or", std::move(left), and_expression());
    return left;
  }

  NodePtr and_expression() {
    NodePtr left = not_expression();
    while (accept_word("and")) left = node_of(NodeKind::Binary, "and", std::move(left), not_expression());
    return left;
  }

  NodePtr not_expression() {
    const Depth depth(*this);
    if (!failed() && is_word("not") && !is_word("in", 1)) {
      next();
      return node_of(NodeKind::Unary, "not", not_expression());
    }
    return comparison();
  }

  NodePtr comparison() {
    NodePtr left = sum();
    while (!failed()) {
      std::string op;
      for (std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_operator(sign)) op = sign;
      if (is_word("in")) op = "in";
      if (is_word("not") && is_word("in", 1)) op = "not in", next();
      if (op.empty()) return left;
      next();
      left = node_of(NodeKind::Binary, op, std::move(left), sum());
    }
    return left;
  }

  template <typename Operand>
  NodePtr chain(std::initializer_list<std::string_view> signs, const Operand& operand) {
    NodePtr left = operand();
    while (!failed()) {
      const auto sign = std::find_if(signs.begin(), signs.end(), [&](std::string_view s) { return is_operator(s); });
      if (sign == signs.end()) return left;
      next();
      left = node_of(NodeKind::Binary, std::string(*sign), std::move(left), operand());
    }
    return left;
  }

  NodePtr sum() {
    return chain({"+", "-"}, [this] { return joined(); });
  }
  NodePtr joined() {
    return chain({"~"}, [this] { return product(); });
  }
  NodePtr product() {
    return chain({"*", "/", "//", "%"}, [this] { return power(); });
  }
  NodePtr power() {
    return chain({"**"}, [this] { return sign(); });
  }

  NodePtr sign() {
    const Depth depth(*this);
    if (!failed() && accept("-")) return node_of(NodeKind::Unary, "-", sign());
    if (!failed() && accept("+")) return sign();
    return postfix(primary());
  }

  NodePtr literal(Value value) {
    NodePtr made = node(NodeKind::Literal);
    made->value = std::move(value);
    return made;
  }

  NodePtr primary() {
    const Depth depth(*this);
    if (failed()) return node(NodeKind::Empty);
    const Token& first = token();
    next();
    switch (first.kind) {
      case TokenKind::String: {
        std::string text = first.text;
        for (; token().kind == TokenKind::String; next()) text += token().text;
        return literal(Value(std::move(text)));
      }
      case TokenKind::Integer:
        return literal(Value(static_cast<int64_t>(std::strtoll(first.text.c_str(), nullptr, 10))));
      case TokenKind::Real:
        return literal(Value(std::strtod(first.text.c_str(), nullptr)));
      case TokenKind::Name:
        if (first.text == "true" || first.text == "True") return literal(Value(true));
        if (first.text == "false" || first.text == "False") return literal(Value(false));
        if (first.text == "none" || first.text == "None") return literal(Value(None{}));
        return node(NodeKind::Variable, first.text);
      case TokenKind::Operator:
        if (first.text == "(") return parenthesis();
        if (first.text == "[") return list();
        if (first.text == "{") return dict();
        break;
      default:
        break;
    }
    fail("an expression is missing");
    return node(NodeKind::Empty);
  }

  NodePtr parenthesis() {
    if (accept(")")) return node(NodeKind::ListOf);
    NodePtr inner = expression();
    if (is_operator(",")) {
      inner = node_of(NodeKind::ListOf, "", std::move(inner));
      while (!failed() && accept(",") && !is_operator(")")) adopt(*inner, expression());
    }
    expect(")");
    return inner;
  }

  NodePtr list() {
    NodePtr made = node(NodeKind::ListOf);
    while (!failed() && !accept("]")) {
      adopt(*made, expression());
      if (!is_operator("]")) expect(",");
    }
    return made;
  }

  NodePtr dict() {
    NodePtr made = node(NodeKind::DictOf);
    while (!failed() && !accept("}")) {
      adopt(*made, expression());
      expect(":");
      adopt(*made, expression());
      if (!is_operator("}")) expect(",");
    }
    return made;
  }

  NodePtr postfix(NodePtr object) {
    while (!failed()) {
      if (accept(".")) {
        if (token().kind == TokenKind::Integer) {
          object = node_of(NodeKind::Item, "", std::move(object), primary());
          continue;
        }
        std::string key = name();
        object = node_of(NodeKind::Attribute, std::move(key), std::move(object));
      } else if (accept("[")) {
        object = item(std::move(object));
      } else if (accept("(")) {
        object = node_of(NodeKind::Call, "", std::move(object));
        arguments(*object);
      } else if (accept("|")) {
        object = apply(std::move(object));
      } else if (accept_word("is")) {
        object = test(std::move(object));
      } else {
        return object;
      }
    }
    return object;
  }

  NodePtr item(NodePtr object) {
    const auto part = [this]() -> NodePtr {
      return is_operator(":") || is_operator("]") ? node(NodeKind::Empty) : expression();
    };
    NodePtr first = part();
    if (!is_operator(":")) {
      expect("]");
      return node_of(NodeKind::Item, "", std::move(object), std::move(first));
    }
    NodePtr made = node_of(NodeKind::Slice, "", std::move(object), std::move(first));
    for (int i = 0; i < 2; ++i) adopt(*made, accept(":") ? part() : node(NodeKind::Empty));
    expect("]");
    return made;
  }

  // Behind the opening parenthesis.
  void arguments(Node& call) {
    while (!failed() && !accept(")")) {
      std::string key;
      if (token().kind == TokenKind::Name && is_operator("=", 1)) key = name(), next();
      if (call.names.size() >= kMostArguments) fail("it has too many arguments");
      call.names.push_back(std::move(key));
      adopt(call, expression());
      if (!is_operator(")")) expect(",");
    }
  }

  NodePtr apply(NodePtr object) {
    NodePtr made = node_of(NodeKind::Apply, name(), std::move(object));
    if (accept("(")) arguments(*made);
    return made;
  }

  NodePtr test(NodePtr object) {
    const bool negated = accept_word("not");
    NodePtr made = node_of(NodeKind::Test, name(), std::move(object));
    if (accept("(")) {
      arguments(*made);
    } else if (const TokenKind kind = token().kind; kind == TokenKind::String || kind == TokenKind::Integer) {
      made->names.emplace_back();
      adopt(*made, primary());
    }
    return negated ? node_of(NodeKind::Unary, "not", std::move(made)) : std::move(made);
  }

  const std::vector<Token>& tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // around what is read now
  std::string error_;
};

}  // namespace

Result<NodePtr> parse(const std::vector<Token>& tokens) { return Parser(tokens).run(); }

}  // namespace longleaf::jinja
