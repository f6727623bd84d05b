#include "engine/jinja/builtins.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace longleaf::jinja {
namespace {

constexpr int64_t kMostItems = 10000;          // of a range
constexpr size_t kMostText = size_t{2} << 20;  // what is longer is refused by who asked, and is not made longer
constexpr size_t kMostUnique = 1000;

constexpr const char* kBlanks = " \t\n\r\f\v";

std::string strip(const std::string& text, const std::string& what, bool left, bool right) {
  const size_t first = left ? text.find_first_not_of(what) : 0;
  if (first == std::string::npos) return "";
  const size_t last = right ? text.find_last_not_of(what) : text.size() - 1;
  return last == std::string::npos || text.empty() ? "" : text.substr(first, last - first + 1);
}

template <typename Change>
std::string changed(std::string text, const Change& change) {
  for (char& c : text) c = change(c);
  return text;
}
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string title(const std::string& text) {
  bool inside = false;
  return changed(text, [&](char c) {
    const bool letter = upper(c) != lower(c);
    const char result = inside ? lower(c) : upper(c);
    inside = letter;
    return result;
  });
}

std::string capitalized(const std::string& text) {
  std::string out = changed(text, lower);
  if (!out.empty()) out[0] = upper(out[0]);
  return out;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, int64_t most) {
  if (from.empty()) return text;
  std::string out;
  size_t at = 0;
  for (size_t found; most != 0 && out.size() < kMostText && (found = text.find(from, at)) != std::string::npos;
       at = found + from.size(), --most)
    out += text.substr(at, found - at) + to;
  return out + text.substr(at);
}

List split(const std::string& text, const Value& separator, int64_t most) {
  List parts;
  if (separator.text() == nullptr || separator.text()->empty()) {
    size_t at = text.find_first_not_of(kBlanks);
    while (at != std::string::npos) {
      const size_t end = most == 0 ? std::string::npos : text.find_first_of(kBlanks, at);
      parts.emplace_back(text.substr(at, end == std::string::npos ? end : end - at));
      at = end == std::string::npos ? end : text.find_first_not_of(kBlanks, end);
      --most;
    }
    return parts;
  }
  size_t at = 0;
  for (size_t found; most != 0 && (found = text.find(*separator.text(), at)) != std::string::npos; --most) {
    parts.emplace_back(text.substr(at, found - at));
    at = found + separator.text()->size();
  }
  parts.emplace_back(text.substr(at));
  return parts;
}

std::string text_of(const Value& value) { return value.text() != nullptr ? *value.text() : to_text(value); }

List pairs_of(const Dict& dict) {
  List all;
  for (const auto& [key, value] : dict.entries) all.push_back(List{Value(key), value});
  return all;
}

// An attribute path such as "function.name" of an object.
Value path_of(Value object, const std::string& path) {
  for (const Value& part : split(path, Value("."), -1)) object = item_of(object, part);
  return object;
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  return text_of(a) < text_of(b);
}

std::string indent(const std::string& text, const Arguments& arguments) {
  const Value width = arguments.get(0, "width", Value(4));
  const std::string margin =
      width.text() != nullptr
          ? *width.text()
          : std::string(static_cast<size_t>(std::clamp<int64_t>(whole_number(width, 4), 0, 1000)), ' ');
  const bool first = arguments.get(1, "first", Value(false)).truthy(),
             blank = arguments.get(2, "blank", Value(false)).truthy();
  std::string out;
  bool is_first = true;
  for (const Value& line : split(text, Value("\n"), -1)) {
    if (out.size() > kMostText) break;
    if (!is_first) out += '\n';
    if ((is_first && first) || (!is_first && (blank || !line.text()->empty()))) out += margin;
    out += *line.text();
    is_first = false;
  }
  return out;
}

// select, reject, selectattr, rejectattr.
List chosen(const List& items, const Arguments& arguments, bool by_attribute, bool wanted, std::string& error) {
  List out;
  const size_t test_at = by_attribute ? 1 : 0;
  Arguments rest;
  for (size_t i = test_at + 1; i < arguments.positional.size(); ++i) rest.positional.push_back(arguments.positional[i]);
  for (const Value& item : items) {
    const Value subject = by_attribute ? path_of(item, text_of(arguments.get(0, "attribute", Value("")))) : item;
    const bool holds = arguments.positional.size() > test_at
                           ? apply_test(text_of(arguments.positional[test_at]), subject, rest, error)
                           : subject.truthy();
    if (holds == wanted) out.push_back(item);
  }
  return out;
}

List mapped(const List& items, const Arguments& arguments, std::string& error) {
  List out;
  const Value attribute = arguments.get(kMostItems, "attribute", Value());
  Arguments rest;
  for (size_t i = 1; i < arguments.positional.size(); ++i) rest.positional.push_back(arguments.positional[i]);
  for (const Value& item : items) {
    if (!attribute.is_undefined()) {
      Value found = path_of(item, text_of(attribute));
      out.push_back(found.is_undefined() ? arguments.get(kMostItems, "default", found) : found);
    } else {
      out.push_back(apply_filter(text_of(arguments.get(0, "filter", Value(""))), item, rest, error));
    }
  }
  return out;
}

std::string joined(const List& items, const Arguments& arguments) {
  const std::string separator = text_of(arguments.get(0, "d", Value("")));
  const Value attribute = arguments.get(1, "attribute", Value());
  std::string out;
  for (size_t i = 0; i < items.size(); ++i)
    out +=
        (i > 0 ? separator : "") + to_text(attribute.is_undefined() ? items[i] : path_of(items[i], text_of(attribute)));
  return out;
}

List unique(const List& items) {
  List out;
  for (const Value& item : items)
    if (std::find(out.begin(), out.end(), item) == out.end()) out.push_back(item);
  return out;
}

// Filters over sequences; undefined when `name` is none of them.
Value sequence_filter(const std::string& name, const List& items, const Arguments& arguments, std::string& error) {
  if (name == "list") return items;
  if (name == "join") return joined(items, arguments);
  if (name == "first") return items.empty() ? Value() : items.front();
  if (name == "last") return items.empty() ? Value() : items.back();
  if (name == "unique" && items.size() > kMostUnique) return error = "a list is too long", Value();
  if (name == "unique") return unique(items);
  if (name == "map") return mapped(items, arguments, error);
  if (name == "select" || name == "reject") return chosen(items, arguments, false, name == "select", error);
  if (name == "selectattr" || name == "rejectattr") return chosen(items, arguments, true, name == "selectattr", error);
  if (name == "sum") {
    double total = 0;
    for (const Value& item : items) total += item.number();
    return total == std::floor(total) ? Value(whole_number(Value(total), 0)) : Value(total);
  }
  List copy = items;
  if (name == "reverse") return std::reverse(copy.begin(), copy.end()), Value(copy);
  if (name == "sort") {
    const Value attribute = arguments.get(kMostItems, "attribute", Value());
    const auto key = [&](const Value& item) {
      return attribute.is_undefined() ? item : path_of(item, text_of(attribute));
    };
    std::stable_sort(copy.begin(), copy.end(), [&](const Value& a, const Value& b) { return less(key(a), key(b)); });
    if (arguments.get(0, "reverse", Value(false)).truthy()) std::reverse(copy.begin(), copy.end());
    return copy;
  }
  if (name == "min" || name == "max") {
    const auto place = name == "min" ? std::min_element(copy.begin(), copy.end(), less)
                                     : std::max_element(copy.begin(), copy.end(), less);
    return place == copy.end() ? Value() : *place;
  }
  error = "the filter “" + name + "” is not known";
  return Value();
}

using TextMethod = Value (*)(const std::string&, const Arguments&);

const std::map<std::string, TextMethod, std::less<>>& text_methods() {
  static const auto characters_of = [](const Arguments& a) {
    const Value what = a.get(0, "chars", Value(None{}));
    return what.text() != nullptr ? *what.text() : std::string(kBlanks);
  };
  static const auto matches = [](const std::string& text, const Value& what, bool at_end) {
    List storage;
    const List* options = what.list();
    if (options == nullptr) storage = {what}, options = &storage;
    return std::any_of(options->begin(), options->end(), [&](const Value& option) {
      const std::string part = text_of(option);
      return text.size() >= part.size() && text.compare(at_end ? text.size() - part.size() : 0, part.size(), part) == 0;
    });
  };
  static const std::map<std::string, TextMethod, std::less<>> methods = {
      {"strip", [](const std::string& s, const Arguments& a) { return Value(strip(s, characters_of(a), true, true)); }},
      {"lstrip",
       [](const std::string& s, const Arguments& a) { return Value(strip(s, characters_of(a), true, false)); }},
      {"rstrip",
       [](const std::string& s, const Arguments& a) { return Value(strip(s, characters_of(a), false, true)); }},
      {"upper", [](const std::string& s, const Arguments&) { return Value(changed(s, upper)); }},
      {"lower", [](const std::string& s, const Arguments&) { return Value(changed(s, lower)); }},
      {"title", [](const std::string& s, const Arguments&) { return Value(title(s)); }},
      {"capitalize", [](const std::string& s, const Arguments&) { return Value(capitalized(s)); }},
      {"split",
       [](const std::string& s, const Arguments& a) {
         return Value(split(s, a.get(0, "sep", Value(None{})), whole_number(a.get(1, "maxsplit", Value(-1)), -1)));
       }},
      {"replace",
       [](const std::string& s, const Arguments& a) {
         return Value(replaced(s, text_of(a.get(0, "old", Value(""))), text_of(a.get(1, "new", Value(""))),
                               whole_number(a.get(2, "count", Value(-1)), -1)));
       }},
      {"startswith", [](const std::string& s,
                        const Arguments& a) { return Value(matches(s, a.get(0, "prefix", Value("")), false)); }},
      {"endswith",
       [](const std::string& s, const Arguments& a) { return Value(matches(s, a.get(0, "suffix", Value("")), true)); }},
      {"find",
       [](const std::string& s, const Arguments& a) {
         const size_t at = s.find(text_of(a.get(0, "sub", Value(""))));
         return at == std::string::npos ? Value(-1) : Value(static_cast<int64_t>(characters(s.substr(0, at)).size()));
       }},
      {"count",
       [](const std::string& s, const Arguments& a) {
         return Value(static_cast<int64_t>(split(s, a.get(0, "sub", Value(" ")), -1).size()) - 1);
       }},
  };
  return methods;
}

Value dict_method(const Value& object, const std::string& name) {
  if (name == "items") return Function([object](const Arguments&) { return Value(pairs_of(*object.dict())); });
  if (name == "get")
    return Function([object](const Arguments& a) {
      const Value* found = object.dict()->find(text_of(a.get(0, "key", Value(""))));
      return found != nullptr ? *found : a.get(1, "default", Value(None{}));
    });
  if (name == "keys" || name == "values")
    return Function([object, keys = name == "keys"](const Arguments&) {
      List all;
      for (const auto& [key, value] : object.dict()->entries) all.push_back(keys ? Value(key) : value);
      return Value(all);
    });
  return Value();
}

}  // namespace

Value apply_filter(const std::string& name, const Value& object, const Arguments& arguments, std::string& error) {
  if (name == "default" || name == "d") {
    const bool falsy = arguments.get(1, "boolean", Value(false)).truthy() && !object.truthy();
    return object.is_undefined() || falsy ? arguments.get(0, "default_value", Value("")) : object;
  }
  if (name == "tojson") {
    if (object.is_undefined()) error = "“" + object.undefined_name() + "” is not defined";
    return to_json(object, static_cast<int>(whole_number(arguments.get(kMostItems, "indent", Value(-1)), -1)));
  }
  if (name == "string") return to_text(object);
  if (name == "safe" || name == "e" || name == "escape") return object;
  if (name == "trim") return strip(text_of(object), text_of(arguments.get(0, "chars", Value(kBlanks))), true, true);
  if (name == "indent") return indent(text_of(object), arguments);
  for (const char* method : {"upper", "lower", "title", "capitalize", "replace"})
    if (name == method) return text_methods().at(name)(text_of(object), arguments);
  if (name == "abs")
    return object.integer() != nullptr ? Value(std::abs(whole_number(object, 0))) : Value(std::abs(object.number()));
  if (name == "int") {
    if (object.is_number()) return Value(whole_number(object, 0));
    char* end = nullptr;
    const std::string text = strip(text_of(object), kBlanks, true, true);
    const int64_t value = std::strtoll(text.c_str(), &end, 10);
    return text.empty() || *end != 0 ? arguments.get(0, "default", Value(0)) : Value(value);
  }
  if (name == "float")
    return object.is_number() ? Value(object.number()) : Value(std::strtod(text_of(object).c_str(), nullptr));
  if (name == "round") return Value(std::nearbyint(object.number()));
  if (name == "items") return object.dict() != nullptr ? Value(pairs_of(*object.dict())) : Value(List{});
  if (name == "dictsort" && object.dict() != nullptr) {
    List sorted = pairs_of(*object.dict());
    std::stable_sort(sorted.begin(), sorted.end(), [](const Value& a, const Value& b) {
      return changed(text_of((*a.list())[0]), lower) < changed(text_of((*b.list())[0]), lower);
    });
    return sorted;
  }
  List storage;
  const List* items = items_of(object, storage);
  if (name == "length" || name == "count") {
    if (items == nullptr) error = "what has no length was asked for it";
    return Value(static_cast<int64_t>(items == nullptr ? 0 : items->size()));
  }
  if (items == nullptr) items = &storage;
  return sequence_filter(name, *items, arguments, error);
}

bool apply_test(const std::string& name, const Value& object, const Arguments& arguments, std::string& error) {
  const Value other = arguments.get(0, "other", Value());
  if (name == "defined") return !object.is_undefined();
  if (name == "undefined") return object.is_undefined();
  if (name == "none") return object.is_none();
  if (name == "string") return object.text() != nullptr;
  if (name == "number") return object.is_number();
  if (name == "integer") return object.integer() != nullptr;
  if (name == "float") return object.real() != nullptr;
  if (name == "boolean") return object.boolean() != nullptr;
  if (name == "true") return object.boolean() != nullptr && *object.boolean();
  if (name == "false") return object.boolean() != nullptr && !*object.boolean();
  if (name == "mapping") return object.dict() != nullptr;
  if (name == "callable") return object.function() != nullptr;
  if (name == "sequence" || name == "iterable")
    return object.text() != nullptr || object.list() != nullptr || object.dict() != nullptr || object.is_undefined();
  if (name == "eq" || name == "equalto" || name == "==") return object == other;
  if (name == "ne" || name == "!=") return !(object == other);
  if (name == "gt") return less(other, object);
  if (name == "lt") return less(object, other);
  if (name == "in") return contains(other, object, error);
  if (name == "odd") return whole_number(object, 0) % 2 != 0;
  if (name == "even") return whole_number(object, 0) % 2 == 0;
  if (name == "divisibleby")
    return whole_number(other, 0) != 0 && whole_number(object, 0) % whole_number(other, 1) == 0;
  if (name == "lower") return object.text() != nullptr && changed(*object.text(), lower) == *object.text();
  if (name == "upper") return object.text() != nullptr && changed(*object.text(), upper) == *object.text();
  error = "the test “" + name + "” is not known";
  return false;
}

Value method_of(const Value& object, const std::string& name) {
  if (object.dict() != nullptr && !object.dict()->is_namespace) return dict_method(object, name);
  if (object.text() == nullptr) return Value();
  const auto method = text_methods().find(name);
  if (method == text_methods().end()) return Value();
  return Function([text = *object.text(), run = method->second](const Arguments& a) { return run(text, a); });
}

Value item_of(const Value& object, const Value& key) {
  if (object.dict() != nullptr) {
    const Value* found = object.dict()->find(text_of(key));
    return found != nullptr ? *found : Value(Undefined{text_of(key)});
  }
  int64_t index = whole_number(key, 0);
  if (key.integer() == nullptr && key.text() != nullptr && !key.text()->empty() &&
      key.text()->find_first_not_of("0123456789") == std::string::npos && key.text()->size() < 10)
    index = std::strtoll(key.text()->c_str(), nullptr, 10);
  else if (key.integer() == nullptr)
    return Undefined{text_of(key)};
  List storage;
  const List* items = object.function() == nullptr ? items_of(object, storage) : nullptr;
  if (items == nullptr) return Undefined{text_of(key)};
  if (index < 0) index += static_cast<int64_t>(items->size());
  if (index < 0 || index >= static_cast<int64_t>(items->size())) return Undefined{text_of(key)};
  return (*items)[static_cast<size_t>(index)];
}

const List* items_of(const Value& object, List& storage) {
  if (object.list() != nullptr) return object.list();
  if (object.dict() != nullptr) {
    for (const auto& entry : object.dict()->entries) storage.emplace_back(entry.first);
  } else if (object.text() != nullptr) {
    for (auto& character : characters(*object.text())) storage.emplace_back(std::move(character));
  } else if (!object.is_undefined()) {
    return nullptr;
  }
  return &storage;
}

bool contains(const Value& container, const Value& item, std::string& error) {
  if (container.text() != nullptr) return container.text()->find(text_of(item)) != std::string::npos;
  if (container.dict() != nullptr) return container.dict()->find(text_of(item)) != nullptr;
  if (container.list() != nullptr)
    return std::find(container.list()->begin(), container.list()->end(), item) != container.list()->end();
  if (!container.is_undefined()) error = "“in” needs a list, a dictionary or a text";
  return false;
}

namespace {

Value range(const Arguments& a, std::string* error) {
  const bool one = a.positional.size() == 1;
  const int64_t first = one ? 0 : whole_number(a.get(0, "start", Value(0)), 0);
  const int64_t last = whole_number(a.get(one ? 0 : 1, "stop", Value(0)), 0),
                step = whole_number(a.get(2, "step", Value(1)), 1);
  if (step == 0 || step < -kMostItems || step > kMostItems || first < -kMostItems || first > kMostItems ||
      last < -kMostItems || last > kMostItems)
    return *error = "a range is too long", Value(List{});
  List all;
  for (int64_t i = first; step > 0 ? i < last : i > last; i += step) all.emplace_back(i);
  return all;
}

Value dict_of(const Arguments& a, bool is_namespace) {
  Dict dict;
  dict.is_namespace = is_namespace;
  if (!a.positional.empty() && a.positional[0].dict() != nullptr) dict.entries = a.positional[0].dict()->entries;
  for (const auto& [key, value] : a.named) dict.set(key, value);
  return dict;
}

}  // namespace

Value global_function(const std::string& name, std::time_t now, std::string* error) {
  if (name == "range") return Function([error](const Arguments& a) { return range(a, error); });
  if (name == "namespace" || name == "dict")
    return Function([is_namespace = name == "namespace"](const Arguments& a) { return dict_of(a, is_namespace); });
  if (name == "raise_exception")
    return Function([error](const Arguments& a) {
      *error = text_of(a.get(0, "message", Value("")));
      return Value();
    });
  if (name == "strftime_now")
    return Function([now](const Arguments& a) {
      char buffer[256];
      const size_t n =
          std::strftime(buffer, sizeof buffer, text_of(a.get(0, "format", Value(""))).c_str(), std::localtime(&now));
      return Value(std::string(buffer, n));
    });
  return Value();
}

}  // namespace longleaf::jinja
