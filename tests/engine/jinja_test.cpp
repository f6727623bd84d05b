// The template language: its rules one by one, and whole templates against what transformers renders
// (tests/data/make_chat_templates.py).
#include "engine/jinja/template.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/support/check.h"
#include "tests/support/shared_data.h"

using namespace longleaf;
using namespace longleaf::test;
using jinja::Dict;
using jinja::List;
using jinja::Template;
using jinja::Value;
using Json = nlohmann::ordered_json;

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Value value_of(const Json& json) {
  if (json.is_null()) return jinja::None{};
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.push_back(value_of(item));
    return list;
  }
  Dict dict;
  for (const auto& [key, item] : json.items()) dict.set(key, value_of(item));
  return dict;
}

Result<std::string> render(const std::string& source, const Json& globals) {
  auto parsed = Template::parse(source);
  if (!parsed.ok()) return parsed.status();
  std::tm noon{};
  noon.tm_year = 126, noon.tm_mon = 10, noon.tm_mday = 21, noon.tm_hour = 12, noon.tm_isdst = -1;
  return parsed->render(*value_of(globals).dict(), std::mktime(&noon));
}

std::string fnv(const std::string& text) {
  uint64_t value = 0xcbf29ce484222325;
  for (char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(value));
  return hex;
}

void expect(const std::string& source, const std::string& expected, const Json& globals = Json::object()) {
  const auto got = render(source, globals);
  if (!got.ok()) return fail(__FILE__, __LINE__, source + ": " + got.status().message());
  if (*got != expected) fail(__FILE__, __LINE__, source + " gave “" + *got + "”, not “" + expected + "”");
}

}  // namespace

TEST(blanks_are_taken_as_tags_say) {
  expect("a\n  {% if true %}\nb\n  {% endif %}\nc\n", "a\nb\nc");
  expect("a  {{- 1 -}}  b", "a1b");
  expect("a {% if true %} b {% endif %} c", "a  b  c");
  expect("{# gone #}\nx", "x");
  expect("  {%+ if true %}y{% endif %}", "  y");
  expect("{% raw %}{{ x }}{% endraw %}", "{{ x }}");
}

TEST(expressions_follow_pythons_rules) {
  expect("{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 3 }}", "7 3 -4 3.5 2 8");
  expect("{{ 'a' ~ 1 ~ none }} {{ 'x' * 3 }} {{ [1] + [2, 'b'] }} {{ {'k': true} }}",
         "a1None xxx [1, 2, 'b'] {'k': True}");
  expect("{{ 'b' in 'abc' }} {{ 1 not in [2] }} {{ not x is defined }} {{ (1, 2) | length }}", "True True True 2");
  expect("{{ 'yes' if 0 else 'no' }} {{ 'a' if false }}|", "no |");
  expect("{{ 'hello'[1:3] }} {{ [1,2,3][::-1] }} {{ [1,2,3][-1] }} {{ 'äöü'[1] }}", "el [3, 2, 1] 3 ö");
  expect("{{ 1.0 }} {{ 0.00001 }} {{ 100000.0 }}", "1.0 1e-05 100000.0");
  expect("{{ d.items() | list }} {{ d.get('x', 5) }} {{ d['k'] }} {{ d.k.z is undefined }}", "[['k', 1]] 5 1 True",
         {{"d", {{"k", 1}}}});
}

TEST(statements_have_their_scopes) {
  expect("{% set x = 1 %}{% for i in [1,2] %}{% set x = i %}{% endfor %}{{ x }}", "1");
  expect("{% set n = namespace(v=0) %}{% for i in range(4) if i % 2 %}{% set n.v = n.v + i %}{% endfor %}{{ n.v }}",
         "4");
  expect("{% for a, b in [[1,2],[3,4]] %}{{ loop.index }}{{ a }}{{ b }}{{ ',' if not loop.last }}{% endfor %}",
         "112,234");
  expect("{% for i in [] %}x{% else %}none{% endfor %}", "none");
  expect(
      "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% "
      "endfor %}",
      "013");
  expect("{% macro m(a, b='z') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}", "1z12");
  expect("{% set t %} a {% endset %}[{{ t }}]{% filter upper %}b{% endfilter %}", "[ a ]B");
  expect("{{ [{'n': 1, 'k': true}, {'n': 2, 'k': false}] | selectattr('k') | map(attribute='n') | join(',') }}", "1");
  expect("{{ {'a': [1, {'b': none}], 'c': 'é\"'} | tojson }}", "{\"a\": [1, {\"b\": null}], \"c\": \"é\\\"\"}");
}

TEST(a_loop_ends_from_wherever_it_is_left) {  // as jinja2 3.1 with its loop controls does
  expect("{% for a in [1,2] %}{% for b in [] %}{% else %}{% break %}{% endfor %}{{ a }}{% endfor %}", "");
  expect("{% for a in [1,2] %}{% filter upper %}x{% break %}{% endfilter %}{{ a }}{% endfor %}", "");
  expect("{% for a in [1,2] %}{% set q %}x{% continue %}{% endset %}{{ a }}{% endfor %}{{ q }}", "");
  expect("{% for a in [1,2] %}{% for b in [3] %}{% break %}{% endfor %}{{ a }}{% endfor %}", "12");
}

TEST(what_cannot_go_on_is_told_with_its_line) {
  const auto refused = render("a\n{{ raise_exception('No, thanks') }}", Json::object());
  CHECK(!refused.ok() && refused.status().message().find("line 2") != std::string::npos &&
        refused.status().message().find("No, thanks") != std::string::npos);
  for (const char* source :
       {"{{ x.y.z }}", "{% for %}", "{% if 1 %}", "{{ 'a }}", "{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{% nothing %}",
        "{{ 'x' * 99999999 }}", "{{ 1 | nothing }}", "{{ f() }}", "{% endfor %}", "{# open", "{% break %}",
        "{% for x in y %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}",
        "{% for x in y %}{% else %}{% break %}{% endfor %}"})
    CHECK(!render(source, Json::object()).ok());
}

TEST(a_hostile_template_ends) {
  const auto loops =
      render("{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}", Json::object());
  CHECK(!loops.ok());
  CHECK(!render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", Json::object()).ok());
  CHECK(!render("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}", Json::object()).ok());
  CHECK(!render("{{ " + std::string(100000, '-') + "1 }}", Json::object()).ok());
  for (const char* source :
       {"{% set n = namespace() %}{% set n.x = [n] %}{{ n }}{{ n.x }}{{ n.x | tojson }}{{ n == n }}{{ nothing.here }}",
        "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
        "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
        "{% set n = namespace(t='a') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
        "{% set n = namespace(t='a' * 9999999) %}{% for i in range(9999) %}{% set n.t = n.t | upper %}{% endfor %}"})
    CHECK(!render(source, Json::object()).ok());
  for (const char* source :
       {"{{ ('a' * 4000)[2000::('9223372036854774784' | int)] | length }}{{ x.y.z }}",
        "{{ [[1]] | tojson(indent=2000000000) }}{{ x.y.z }}",
        "{{ ('-9223372036854775808' | int) is divisibleby(-1) }}{{ range(1, 5, 9007199254740993) }}",
        "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}", "{{ range(9999) | unique }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"})
    CHECK(!render(source, Json::object()).ok());
  for (const char* part : {"+1", "|upper", ".x", " and 1", " is defined", "[0]"}) {
    std::string long_one = "{{ x";
    for (int i = 0; i < 50000; ++i) long_one += part;
    CHECK(!render(long_one + " }}", Json::object()).ok());
  }
  std::string chain;
  for (int i = 0; i < 20000; ++i) chain += "{% if true %}";
  CHECK(!render(chain, Json::object()).ok());
  CHECK(
      !render(
           "{% set x = 'ab' %}{% for i in range(99) %}{% set ns = x %}{% endfor %}{{ (x * 9999999) ~ (x * 9999999) }}",
           Json::object())
           .ok());
}

// With tools, which this program never gives, two templates do what only Python would: one writes a generator as JSON,
// which fails there, and one adds to a text marked safe, which escapes it for HTML.
static bool is_pythons_own(const std::string& name, const Json& conversation) {
  return conversation.contains("tools") &&
         (name == "llama-cpp-deepseek-r1.jinja" || name == "meetkai-functionary-medium-v3.1.jinja");
}

TEST(templates_of_model_makers_give_what_transformers_gives) {
  const auto folder = shared_data() / "tokenizers" / "chat-templates";
  if (!std::filesystem::exists(folder)) {
    std::printf("skipped: there are no chat templates in %s\n", folder.c_str());
    return;
  }
  const Json expected = Json::parse(read(std::filesystem::path(LONGLEAF_TEST_DATA) / "chat_templates.json"));
  int right = 0;
  for (const auto& [name, results] : expected["templates"].items()) {
    const std::string source = read(folder / name);
    for (size_t i = 0; i < results.size(); ++i) {
      Json globals = expected["conversations"][i];
      if (is_pythons_own(name, globals)) continue;
      if (!globals.contains("tools")) globals["tools"] = nullptr;
      globals["documents"] = nullptr;
      const auto got = render(source, globals);
      const bool same = results[i].is_null()
                            ? !got.ok()
                            : got.ok() && got->size() == results[i][0].get<size_t>() && fnv(*got) == results[i][1];
      if (!same)
        fail(__FILE__, __LINE__,
             name + ", conversation " + std::to_string(i) + ": " +
                 (got.ok() ? "“" + *got + "”" : got.status().message()).substr(0, 1500));
      right += same ? 1 : 0;
    }
  }
  std::printf("  %d renderings of %zu templates\n", right, expected["templates"].size());
}
