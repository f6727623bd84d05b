// Values of the template language: what Python's would be, as far as chat templates can tell.
// Texts, lists and dictionaries are shared, not copied. Not thread-safe: a value belongs to one rendering.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace longleaf::jinja {

class Value;
using List = std::vector<Value>;

// Entries in the order they were put.
struct Dict {
  std::vector<std::pair<std::string, Value>> entries;
  bool is_namespace = false;  // its entries may be set by templates, so it may hold itself: nothing looks through it
  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
  // The argument at `index`, or the one called `name`, or `otherwise`.
  Value get(size_t index, std::string_view name, Value otherwise) const;
};

using Function = std::function<Value(const Arguments&)>;

struct Undefined {
  std::string name;  // for messages
};
struct None {};

class Value {
 public:
  Value() : data_(Undefined{}) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(None none) : data_(none) {}
  Value(bool b) : data_(b) {}
  Value(int i) : data_(int64_t{i}) {}
  Value(int64_t i) : data_(i) {}
  Value(double d) : data_(d) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(std::string text) : data_(std::make_shared<std::string>(std::move(text))) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(List list);
  Value(Dict dict);
  Value(Function function) : data_(std::make_shared<Function>(std::move(function))) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const std::string* text() const { return shared<std::string>(); }
  const List* list() const { return shared<List>(); }
  const Dict* dict() const { return shared<Dict>(); }
  Dict* mutable_dict() { return const_cast<Dict*>(shared<Dict>()); }
  const Function* function() const { return shared<Function>(); }
  const std::string& undefined_name() const { return std::get<Undefined>(data_).name; }

  bool is_number() const { return boolean() != nullptr || integer() != nullptr || real() != nullptr; }
  double number() const;  // of a number
  bool truthy() const;
  // Lists and dictionaries inside each other; a namespace counts as one.
  int depth() const { return depth_; }

  friend bool operator==(const Value& a, const Value& b);

 private:
  template <typename T>
  const T* shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<std::string>, std::shared_ptr<List>,
               std::shared_ptr<Dict>, std::shared_ptr<Function>>
      data_;
  int depth_ = 0;
};

// A number as a whole one, cut towards zero and to what a double holds exactly; `otherwise` when it is none.
int64_t whole_number(const Value& value, int64_t otherwise);

// As Python's str() and repr() write it, and json.dumps(); indent < 0: on one line.
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
std::string to_json(const Value& value, int indent);

// Characters of UTF-8 text, one string each.
std::vector<std::string> characters(std::string_view text);

}  // namespace longleaf::jinja
