#include "engine/jinja/template.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/jinja/ast.h"
#include "engine/jinja/builtins.h"

namespace longleaf::jinja {
namespace {

constexpr size_t kMostSource = size_t{256} << 10;
constexpr int64_t kMostSteps = 2'000'000;
constexpr size_t kMostOutput = size_t{1} << 20;  // of one text, and of all that is rendered
constexpr int kMostFrames = 1000;  // evaluations inside each other, through macros too: what they take of the stack
constexpr int kMostNesting = 20;
constexpr int64_t kMostMade = int64_t{256} << 20;  // bytes of texts and lists, all together

using Scope = std::map<std::string, Value, std::less<>>;

// One rendering. The first error ends it: from then on every step does nothing.
class Interpreter {
 public:
  Interpreter(const Dict& globals, std::time_t now) : now_(now) {
    scopes_.emplace_back();
    for (const auto& [name, value] : globals.entries) scopes_[0][name] = value;
    scopes_.emplace_back();
  }

  // Namespaces may hold themselves or each other: what they hold is let go one by one.
  ~Interpreter() {
    for (Value& value : namespaces_) value.mutable_dict()->entries.clear();
  }

  Result<std::string> run(const Node& root) {
    std::string out;
    execute(root, out);
    if (!error_.empty()) return Status(Code::Invalid, "the chat template" + error_);
    return out;
  }

 private:
  enum class Flow { On, Break, Continue };

  bool failed() const { return !error_.empty(); }
  void fail(const Node& at, const std::string& what) {
    if (error_.empty()) error_ = ", line " + std::to_string(at.line) + ": " + what;
  }
  // Takes over what a builtin complained of.
  void check(const Node& at) {
    if (!complaint_.empty()) fail(at, complaint_);
  }
  bool step(const Node& at) {
    if (++steps_ > kMostSteps) fail(at, "it takes too many steps");
    return !failed();
  }

  // Counts what a value takes; too much of everything, or too deep a value, ends the rendering.
  Value made(const Node& at, Value value) {
    if (value.text() != nullptr) made_ += static_cast<int64_t>(value.text()->size());
    if (value.list() != nullptr) made_ += static_cast<int64_t>(value.list()->size() * sizeof(Value));
    if (value.text() != nullptr && value.text()->size() > kMostOutput) fail(at, "a text is too long");
    if (made_ > kMostMade) fail(at, "it makes too much text");
    if (value.depth() > kMostNesting) fail(at, "its lists are nested too deeply");
    return failed() ? Value() : value;
  }

  // --- statements ---

  struct Frame {
    Frame(Interpreter& owner, const Node& at) : interpreter(owner) {
      if (++owner.frames_ > kMostFrames) owner.fail(at, "it goes too deep");
    }
    ~Frame() { --interpreter.frames_; }
    Interpreter& interpreter;
  };

  Flow execute(const Node& node, std::string& out) {
    const Frame frame(*this, node);
    if (!step(node)) return Flow::On;
    if (out.size() > kMostOutput) fail(node, "its output is too long");
    switch (node.kind) {
      case NodeKind::Text:
        out += node.text;
        return Flow::On;
      case NodeKind::Output:
        out += to_text(evaluate(*node.children[0]));
        return Flow::On;
      case NodeKind::Block:
        for (const auto& child : node.children)
          if (const Flow flow = execute(*child, out); flow != Flow::On || failed()) return flow;
        return Flow::On;
      case NodeKind::If:
        return execute(evaluate(*node.children[0]).truthy() ? *node.children[1] : *node.children[2], out);
      case NodeKind::For:
        return loop(node, out);
      case NodeKind::Set:
        assign(node, evaluate(*node.children[0]));
        return Flow::On;
      case NodeKind::SetBlock:
      case NodeKind::Filter:
        return captured(node, out);
      case NodeKind::Macro:
        scopes_.back()[node.text] = Function([this, &node](const Arguments& a) { return call_macro(node, a); });
        return Flow::On;
      case NodeKind::Break:
        return Flow::Break;
      case NodeKind::Continue:
        return Flow::Continue;
      default:
        return Flow::On;
    }
  }

  // A loop that ends inside takes what was captured with it.
  Flow captured(const Node& node, std::string& out) {
    const bool is_set = node.kind == NodeKind::SetBlock;
    const Node &body = *node.children[is_set ? 0 : 1], &filter = *node.children[is_set ? 1 : 0];
    std::string text;
    scopes_.emplace_back();
    const Flow flow = execute(body, text);
    scopes_.pop_back();
    if (flow != Flow::On) return flow;
    Value value(std::move(text));
    if (filter.kind != NodeKind::Empty) {
      std::swap(hole_, value);
      Value result = evaluate(filter);
      std::swap(hole_, value);
      value = std::move(result);
    }
    if (is_set)
      assign(node, std::move(value));
    else
      out += to_text(value);
    return Flow::On;
  }

  void assign(const Node& node, Value value) {
    if (failed()) return;
    if (!node.text.empty()) {
      Value object = variable(node.text);
      if (object.dict() == nullptr || !object.dict()->is_namespace)
        return fail(node, "“" + node.text + "” is no namespace");
      namespaces_.push_back(object);
      return object.mutable_dict()->set(node.names[0], std::move(value));
    }
    bind(node, node.names, value);
  }

  // Gives names values: one name all of it, several one item each.
  void bind(const Node& node, const std::vector<std::string>& names, const Value& value) {
    if (names.size() == 1) {
      scopes_.back()[names[0]] = value;
      return;
    }
    List storage;
    const List* items = items_of(value, storage);
    if (items == nullptr || items->size() != names.size()) return fail(node, "there are not as many values as names");
    for (size_t i = 0; i < names.size(); ++i) scopes_.back()[names[i]] = (*items)[i];
  }

  // What its else part does to the loop around it.
  Flow loop(const Node& node, std::string& out) {
    const Value iterable = evaluate(*node.children[0]);
    List storage;
    const List* all = items_of(iterable, storage);
    if (all == nullptr) {
      fail(node, "it loops over what has no items");
      return Flow::On;
    }
    List items;
    if (node.children[1]->kind == NodeKind::Empty) {
      items = *all;
    } else {
      for (const Value& item : *all) {
        if (failed()) return Flow::On;
        scopes_.emplace_back();
        bind(node, node.names, item);
        if (evaluate(*node.children[1]).truthy()) items.push_back(item);
        scopes_.pop_back();
      }
    }
    for (size_t i = 0; i < items.size() && !failed(); ++i) {
      scopes_.emplace_back();
      bind(node, node.names, items[i]);
      scopes_.back()["loop"] = loop_facts(items, i);
      const Flow flow = execute(*node.children[2], out);
      scopes_.pop_back();
      if (flow == Flow::Break) break;
    }
    return items.empty() ? execute(*node.children[3], out) : Flow::On;
  }

  static Value loop_facts(const List& items, size_t i) {
    const auto index = static_cast<int64_t>(i), n = static_cast<int64_t>(items.size());
    Dict facts;
    facts.entries = {{"index", Value(index + 1)},
                     {"index0", Value(index)},
                     {"revindex", Value(n - index)},
                     {"revindex0", Value(n - index - 1)},
                     {"first", Value(index == 0)},
                     {"last", Value(index == n - 1)},
                     {"length", Value(n)},
                     {"previtem", i > 0 ? items[i - 1] : Value(Undefined{"previtem"})},
                     {"nextitem", i + 1 < items.size() ? items[i + 1] : Value(Undefined{"nextitem"})}};
    facts.set("cycle", Function([i](const Arguments& a) {
                return a.positional.empty() ? Value() : a.positional[i % a.positional.size()];
              }));
    return facts;
  }

  // A macro sees what stands at the template's top, and its arguments.
  Value call_macro(const Node& node, const Arguments& arguments) {
    Scope own;
    for (size_t i = 0; i < node.names.size(); ++i) {
      const Node& otherwise = *node.children[i + 1];
      Value value = arguments.get(i, node.names[i], Undefined{node.names[i]});
      if (value.is_undefined() && otherwise.kind != NodeKind::Empty) value = evaluate(otherwise);
      own[node.names[i]] = std::move(value);
    }
    std::vector<Scope> outer(std::make_move_iterator(scopes_.begin() + 2), std::make_move_iterator(scopes_.end()));
    scopes_.resize(2);
    scopes_.push_back(std::move(own));
    std::string text;
    execute(*node.children[0], text);
    scopes_.resize(2);
    for (Scope& scope : outer) scopes_.push_back(std::move(scope));
    return text;
  }

  // --- expressions ---

  Value variable(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return found->second;
    Value function = global_function(name, now_, &complaint_);
    return function.is_undefined() ? Value(Undefined{name}) : function;
  }

  Value evaluate(const Node& node) {
    const Frame frame(*this, node);
    if (!step(node)) return Value();
    Value value = compute(node);
    return node.kind == NodeKind::Variable || node.kind == NodeKind::Literal ? value : made(node, std::move(value));
  }

  Value compute(const Node& node) {
    switch (node.kind) {
      case NodeKind::Literal:
        return node.value;
      case NodeKind::Variable:
        return variable(node.text);
      case NodeKind::Hole:
        return hole_;
      case NodeKind::ListOf: {
        List items;
        for (const auto& child : node.children) items.push_back(evaluate(*child));
        return items;
      }
      case NodeKind::DictOf: {
        Dict dict;
        for (size_t i = 0; i + 1 < node.children.size(); i += 2)
          dict.set(to_text(evaluate(*node.children[i])), evaluate(*node.children[i + 1]));
        return dict;
      }
      case NodeKind::Attribute:
      case NodeKind::Item:
        return member(node);
      case NodeKind::Slice:
        return slice(node);
      case NodeKind::Call:
        return call(node);
      case NodeKind::Apply:
      case NodeKind::Test: {
        const Value object = evaluate(*node.children[0]);
        const Arguments arguments = arguments_of(node);
        if (failed()) return Value();
        const Value result = node.kind == NodeKind::Apply ? apply_filter(node.text, object, arguments, complaint_)
                                                          : Value(apply_test(node.text, object, arguments, complaint_));
        check(node);
        return result;
      }
      case NodeKind::Unary: {
        const Value operand = evaluate(*node.children[0]);
        if (node.text == "not") return !operand.truthy();
        return operand.real() != nullptr ? Value(-*operand.real()) : Value(-whole_number(operand, 0));
      }
      case NodeKind::Binary:
        return binary(node);
      case NodeKind::Choice:
        if (evaluate(*node.children[0]).truthy()) return evaluate(*node.children[1]);
        return node.children[2]->kind == NodeKind::Empty ? Value() : evaluate(*node.children[2]);
      default:
        return Value();
    }
  }

  // object.name tries methods first, object["name"] items first, as Jinja does.
  Value member(const Node& node) {
    const Value object = evaluate(*node.children[0]);
    if (failed()) return Value();
    if (object.is_undefined()) return fail(node, "“" + object.undefined_name() + "” is not defined"), Value();
    if (node.kind == NodeKind::Attribute) {
      Value method = method_of(object, node.text);
      return method.is_undefined() ? item_of(object, Value(node.text)) : method;
    }
    const Value key = evaluate(*node.children[1]);
    Value item = item_of(object, key);
    return item.is_undefined() && key.text() != nullptr ? or_method(object, *key.text(), std::move(item)) : item;
  }

  static Value or_method(const Value& object, const std::string& name, Value otherwise) {
    Value method = method_of(object, name);
    return method.is_undefined() ? otherwise : method;
  }

  Value slice(const Node& node) {
    const Value object = evaluate(*node.children[0]);
    List storage;
    const List* items = items_of(object, storage);
    if (items == nullptr) return fail(node, "it cuts what has no items"), Value();
    const auto part = [&](size_t child, int64_t otherwise) {
      if (node.children[child]->kind == NodeKind::Empty) return otherwise;
      const Value value = evaluate(*node.children[child]);
      return whole_number(value, otherwise);
    };
    const auto n = static_cast<int64_t>(items->size());
    const int64_t by = std::clamp<int64_t>(part(3, 1), -n - 1, n + 1);
    if (by == 0) return fail(node, "a slice cannot have steps of zero"), Value();
    const auto place = [&](int64_t at, int64_t least, int64_t most) {
      return std::min(std::max(at < 0 ? at + n : at, least), most);
    };
    const bool forward = by > 0;
    const int64_t from = node.children[1]->kind == NodeKind::Empty
                             ? (forward ? 0 : n - 1)
                             : place(part(1, 0), forward ? 0 : -1, forward ? n : n - 1);
    const int64_t to = node.children[2]->kind == NodeKind::Empty
                           ? (forward ? n : -1)
                           : place(part(2, n), forward ? 0 : -1, forward ? n : n - 1);
    List chosen;
    for (int64_t i = from; forward ? i < to : i > to; i += by) chosen.push_back((*items)[static_cast<size_t>(i)]);
    if (object.text() == nullptr) return chosen;
    std::string text;
    for (const Value& character : chosen) text += *character.text();
    return text;
  }

  Arguments arguments_of(const Node& node) {
    Arguments arguments;
    for (size_t i = 0; i < node.names.size(); ++i) {
      Value value = evaluate(*node.children[i + 1]);
      if (node.names[i].empty())
        arguments.positional.push_back(std::move(value));
      else
        arguments.named.emplace_back(node.names[i], std::move(value));
    }
    return arguments;
  }

  Value call(const Node& node) {
    const Value callee = evaluate(*node.children[0]);
    const Arguments arguments = arguments_of(node);
    if (failed()) return Value();
    if (callee.function() == nullptr)
      return fail(node, callee.is_undefined() ? "“" + callee.undefined_name() + "” is not defined"
                                              : "it calls what is no function"),
             Value();
    Value result = (*callee.function())(arguments);
    check(node);
    return result;
  }

  Value binary(const Node& node) {
    const Value left = evaluate(*node.children[0]);
    if (node.text == "and") return left.truthy() ? evaluate(*node.children[1]) : left;
    if (node.text == "or") return left.truthy() ? left : evaluate(*node.children[1]);
    const Value right = evaluate(*node.children[1]);
    if (failed()) return Value();
    if (node.text == "==") return left == right;
    if (node.text == "!=") return !(left == right);
    if (node.text == "~") return joined(node, to_text(left), to_text(right));
    if (node.text == "in" || node.text == "not in") {
      const bool inside = contains(right, left, complaint_);
      check(node);
      return inside == (node.text == "in");
    }
    if (left.is_number() && right.is_number()) return arithmetic(node, left, right);
    if (node.text == "+" && left.text() != nullptr && right.text() != nullptr)
      return joined(node, *left.text(), *right.text());
    if (node.text == "+" && left.list() != nullptr && right.list() != nullptr) {
      List all = *left.list();
      all.insert(all.end(), right.list()->begin(), right.list()->end());
      return all;
    }
    if (node.text == "*" && left.text() != nullptr && right.integer() != nullptr)
      return repeated(node, *left.text(), *right.integer());
    if (left.text() != nullptr && right.text() != nullptr) {
      if (node.text == "<") return *left.text() < *right.text();
      if (node.text == ">") return *left.text() > *right.text();
      if (node.text == "<=") return *left.text() <= *right.text();
      if (node.text == ">=") return *left.text() >= *right.text();
    }
    const Value& odd = left.is_undefined() ? left : right;
    fail(node, odd.is_undefined() ? "“" + odd.undefined_name() + "” is not defined"
                                  : "“" + node.text + "” cannot be done with these values");
    return Value();
  }

  Value joined(const Node& node, const std::string& a, const std::string& b) {
    if (a.size() + b.size() > kMostOutput) return fail(node, "a text is too long"), Value();
    return a + b;
  }

  Value repeated(const Node& node, const std::string& text, int64_t n) {
    if (n > 0 && text.size() > kMostOutput / static_cast<size_t>(n)) return fail(node, "a text is too long"), Value();
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += text;
    return out;
  }

  Value arithmetic(const Node& node, const Value& left, const Value& right) {
    const double a = left.number(), b = right.number();
    const std::string& op = node.text;
    if (op == "<") return a < b;
    if (op == ">") return a > b;
    if (op == "<=") return a <= b;
    if (op == ">=") return a >= b;
    if ((op == "/" || op == "//" || op == "%") && b == 0) return fail(node, "it divides by zero"), Value();
    double result = op == "+"    ? a + b
                    : op == "-"  ? a - b
                    : op == "*"  ? a * b
                    : op == "/"  ? a / b
                    : op == "//" ? std::floor(a / b)
                    : op == "%"  ? a - b * std::floor(a / b)
                                 : std::pow(a, b);
    const bool whole = left.real() == nullptr && right.real() == nullptr && op != "/" && std::abs(result) < 9e15;
    return whole && result == std::floor(result) ? Value(static_cast<int64_t>(result)) : Value(result);
  }

  std::time_t now_;
  std::vector<Scope> scopes_;  // globals, the template's top, then loops and blocks
  Value hole_;
  std::vector<Value> namespaces_;  // that templates have set something in
  std::string error_, complaint_;
  int64_t steps_ = 0, made_ = 0;
  int frames_ = 0;
};

}  // namespace

Template::Template(std::unique_ptr<Node> root) : root_(std::move(root)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Result<Template> Template::parse(const std::string& source) {
  if (source.size() > kMostSource) return Status(Code::Invalid, "the chat template is too long");
  LL_ASSIGN_OR_RETURN(const auto tokens, tokenize(source));
  LL_ASSIGN_OR_RETURN(NodePtr root, jinja::parse(tokens));
  return Template(std::move(root));
}

Result<std::string> Template::render(const Dict& globals, std::time_t now) const {
  try {
    return Interpreter(globals, now).run(*root_);
  } catch (const std::exception& error) {  // memory
    return Status(Code::NoMemory, std::string("the chat template cannot be rendered: ") + error.what());
  }
}

}  // namespace longleaf::jinja
