// The part of the Jinja language that the chat templates of model files are written in, run with no access to
// anything but the values it is given. What a template may use is bounded: steps, depth and length of its output.
// Behaviour: Jinja 3 as transformers sets it up (trim_blocks, lstrip_blocks, loop controls, tojson of its own).
// Const methods: any thread.
#pragma once

#include <ctime>
#include <memory>
#include <string>

#include "engine/base/status.h"
#include "engine/jinja/value.h"

namespace longleaf::jinja {

struct Node;

class Template {
 public:
  // Returns Invalid with the line and what is wrong.
  static Result<Template> parse(const std::string& source);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  //   globals  what the template can name
  //   now      what strftime_now tells
  // Returns Invalid when the template refuses (raise_exception), cannot go on, or uses too much.
  Result<std::string> render(const Dict& globals, std::time_t now = std::time(nullptr)) const;

 private:
  explicit Template(std::unique_ptr<Node> root);
  std::unique_ptr<Node> root_;
};

}  // namespace longleaf::jinja
