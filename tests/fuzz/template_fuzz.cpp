// Chat templates of any bytes, with a conversation: they end, within their limits, in text or a reason.
#include <cstdlib>

#include "engine/jinja/template.h"

using namespace longleaf;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using jinja::Dict;
  using jinja::Value;
  const auto parsed = jinja::Template::parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return parsed.status().message().empty() ? std::abort(), 0 : 0;
  const auto turn = [](const char* role, const char* text) {
    Dict message;
    message.set("role", std::string(role));
    message.set("content", std::string(text));
    return Value(message);
  };
  Dict globals;
  globals.set("messages", jinja::List{turn("system", "Be brief."), turn("user", "Why?"), turn("assistant", "So.")});
  globals.set("bos_token", std::string("<s>"));
  globals.set("eos_token", std::string("</s>"));
  globals.set("add_generation_prompt", true);
  const auto text = parsed->render(globals, 0);
  if (!text.ok() && text.status().message().empty()) std::abort();
  return 0;
}
