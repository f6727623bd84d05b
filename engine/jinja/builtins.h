// Filters, tests, methods and functions of the template language. What cannot be done is said in `error`.
#pragma once

#include <ctime>
#include <string>

#include "engine/jinja/value.h"

namespace longleaf::jinja {

Value apply_filter(const std::string& name, const Value& object, const Arguments& arguments, std::string& error);
bool apply_test(const std::string& name, const Value& object, const Arguments& arguments, std::string& error);

// A method of a string or dictionary, bound to it; undefined when there is none of that name.
Value method_of(const Value& object, const std::string& name);

// object[key] and object.key without methods; undefined when there is none.
Value item_of(const Value& object, const Value& key);

// What a for loop runs over; null when it cannot.
const List* items_of(const Value& object, List& storage);

bool contains(const Value& container, const Value& item, std::string& error);

// The functions every template can call: range, namespace, dict, raise_exception, strftime_now.
Value global_function(const std::string& name, std::time_t now, std::string* error);

}  // namespace longleaf::jinja
