// Texts of a form: what a form allows, and that a model under it writes nothing else.
#include "engine/generate/form.h"

#include <filesystem>
#include <random>
#include <set>

#include "engine/engine.h"
#include "engine/generate/token_mask.h"
#include "engine/tokenizer/regex.h"
#include "tests/reader/world.h"
#include "tests/support/check.h"
#include "tests/support/forms.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

std::string random_text(std::mt19937& random, std::string_view letters, size_t most) {
  std::string text;
  for (size_t n = random() % (most + 1); text.size() < n;) text += letters[random() % letters.size()];
  return text;
}

// What Oniguruma says of whole texts. Matches of nothing are not told, so a mark stands behind every text.
class WholeMatch {
 public:
  explicit WholeMatch(const std::string& pattern) : regex_(Regex::known("\\A(?:" + pattern + ")!\\z")) {}
  bool operator()(const std::string& text) const {
    bool found = false;
    regex_.find_all(text + "!", [&](size_t, size_t) { found = true; });
    return found;
  }

 private:
  Regex regex_;
};

// A random pattern of what both this program and Oniguruma know alike.
std::string random_pattern(std::mt19937& random, int depth) {
  static constexpr const char* kSingles[] = {"a", "b", "[ab]", "[^a]", ".", "\\d", "\\w", "[0-9b]", "\\.", "[a-c]"};
  static constexpr const char* kTimes[] = {"", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}"};
  std::string pattern;
  for (size_t i = 0, n = 1 + random() % 3; i < n; ++i) {
    const bool group = depth > 0 && random() % 3 == 0;
    pattern += group ? "(" + random_pattern(random, depth - 1) + ")" : kSingles[random() % std::size(kSingles)];
    pattern += kTimes[random() % std::size(kTimes)];
  }
  return random() % 4 == 0 ? pattern + "|" + kSingles[random() % std::size(kSingles)] : pattern;
}

bool matches(const char* pattern, std::string_view text) {
  const auto form = Form::matching(pattern);
  CHECK(form.ok());
  return form.ok() && fits(**form, text);
}

std::filesystem::path reader_file() { return std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / "reader.gguf"; }

}  // namespace

TEST(patterns_match_what_regular_expressions_match) {
  std::mt19937 random(1);
  int matched = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string pattern = random_pattern(random, 2);
    const auto form = Form::matching(pattern);
    REQUIRE_OK(form);
    const WholeMatch matches_whole(pattern);
    for (int t = 0; t < 30; ++t) {
      const std::string text = random_text(random, "ab.0c", 5);
      const bool wanted = matches_whole(text);
      matched += wanted ? 1 : 0;
      if (fits(**form, text) == wanted) continue;
      std::printf("  “%s” and “%s”\n", pattern.c_str(), text.c_str());
      CHECK(false);
    }
  }
  CHECK(matched > 1000);  // of 12,000: not only what matches nothing was tried
}

TEST(characters_beyond_ascii_are_whole) {
  CHECK(matches("...", "a\u00e9\U0001F600"));
  CHECK(!matches("..", "\u00e9\xe2\x82"));
  CHECK(!matches(".", "\xc0\x80") && !matches(".", "\xed\xa0") && !matches(".", "\xf5\x80\x80\x80"));
  CHECK(matches("(\u00e9|\u20ac)+", "\u20ac\u00e9") && matches("\u00e9{2}", "\u00e9\u00e9"));
  CHECK(matches("[^?]+\uff1f", "\u8ab0\uff1f"));
  CHECK(!matches("[^\\s]", "\n") && matches("\\S", "\u00e9") && matches("\\w", "\u00e9"));
}

TEST(what_is_no_pattern_is_told_with_its_place) {
  for (const char* pattern : {"(",
                              ")",
                              "a)",
                              "[a",
                              "[z-a",
                              "a**",
                              "*",
                              "a{",
                              "a{2",
                              "a{3,2}",
                              "a{9999}",
                              "\\",
                              "\\q",
                              "[\u00e9]",
                              "[a-\\d]",
                              "[z-a]",
                              "a^b",
                              "a$b",
                              "(^a)",
                              "a{1000}{2}",
                              "(((a{1000}){1000}){1000})",
                              "((){1000}){1000}"}) {
    const auto form = Form::matching(pattern);
    CHECK_EQ(static_cast<int>(form.status().code()), static_cast<int>(Code::Invalid));
    CHECK(form.status().message().find("at character") != std::string::npos);
  }
  CHECK_EQ(static_cast<int>(Form::matching(std::string(5000, '(')).status().code()), static_cast<int>(Code::Invalid));
  CHECK(matches("^(yes|no)$", "yes") && !matches("^yes$", "^yes$") && matches("\\^\\$", "^$"));
  CHECK(matches("", "") && !matches("", "a") && matches("a|", ""));
}

TEST(a_quotation_is_whole_words_of_the_text) {
  const auto form = Form::quoting(" The pump\n delivers 149 litres (at 3.5 bar), or more.\n");
  for (const char* text : {"149", "149 litres", "The pump delivers", "3.5 bar", "(at 3.5 bar", "or more", "or more.",
                           "at 3.5 bar", "The pump delivers 149 litres (at 3.5 bar), or more."})
    CHECK(fits(*form, text));
  for (const char* text : {"", " ", "49 litres", "149 litre", "149  litres", "or more. The", "pump 149", "bar ", "3."})
    CHECK(!fits(*form, text));
  CHECK(fits(*Form::quoting(" \n"), "") && !fits(*Form::quoting(""), "a"));
  CHECK(fits(*Form::quoting("a"), "a") && !fits(*Form::quoting("a"), ""));
  const auto quoted = Form::quoting("He said \u201cno more\u201d\u2014twice.");
  for (const char* text : {"no more", "said \u201cno more\u201d", "said \u201cno more"}) CHECK(fits(*quoted, text));
  const auto chinese = Form::quoting("\u6cf5\u6bcf\u5206\u949f");
  CHECK(fits(*chinese, "\u6bcf\u5206") && !fits(*chinese, "\u6bcf\xe5"));
}

// Every prefix of a text of the form is allowed token by token, and of all tokens exactly those that go on.
TEST(the_mask_allows_the_tokens_that_go_on_and_no_other) {
  const auto file = ModelFile::open(reader_file());
  REQUIRE_OK(file);
  const auto tokenizer = Tokenizer::load(*file);
  REQUIRE_OK(tokenizer);
  const TokenSpellings spellings(**tokenizer);
  const auto form = Form::matching("The [a-z]+ has [0-9]{1,3}(\\.| bar)");
  REQUIRE_OK(form);
  TokenMask mask(**form, **tokenizer, spellings);
  const std::vector<float> logits(static_cast<size_t>((*tokenizer)->size()), 1.0f);
  std::string said;
  const WholeMatch begins_well(
      "(|T|Th|The|The |The [a-z]+|The [a-z]+ (|h|ha|has|has )|The [a-z]+ has [0-9]{1,3}"
      "(|\\.| | b| ba| bar))");
  std::mt19937 random(2);
  for (int step = 0; step < 2000 && !mask.is_complete(); ++step) {
    const auto masked = mask.masked(logits);
    REQUIRE_OK(masked);
    std::vector<TokenId> allowed;
    for (TokenId id = 0; id < (*tokenizer)->size(); ++id) {
      const std::string bytes = (*tokenizer)->decode(id);
      const std::string then = said + (said.empty() && bytes.starts_with(' ') ? bytes.substr(1) : bytes);
      const bool goes_on = !bytes.empty() && begins_well(then);
      CHECK_EQ((*masked)[static_cast<size_t>(id)] > 0, goes_on);
      if (goes_on && then != " ") allowed.push_back(id);
    }
    REQUIRE(!allowed.empty());
    const TokenId next = allowed[random() % allowed.size()];
    const std::string bytes = (*tokenizer)->decode(next);
    said += said.empty() && bytes.starts_with(' ') ? bytes.substr(1) : bytes;
    CHECK(mask.take(next));
  }
  CHECK(mask.is_complete() && fits(**form, said));
}

// A vocabulary as SentencePiece writes it: marks for spaces, and a token for every byte.
TEST(a_mask_spells_what_it_has_no_word_for) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    tokens.emplace_back(name);
    types.push_back(6);
  }
  for (const char* word : {"\u2581yes", "\u2581n", "o", "\u2581", "\u2581no\u2581"})
    tokens.emplace_back(word), types.push_back(1);
  GgufWriter gguf;
  gguf.text("tokenizer.ggml.model", "llama");
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.floats("tokenizer.ggml.scores", std::vector<float>(tokens.size()));
  gguf.ints("tokenizer.ggml.token_type", types);
  gguf.u32("tokenizer.ggml.eos_token_id", 2);
  const std::string bytes = gguf.bytes();
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "spm");
  REQUIRE_OK(file);
  const auto tokenizer = Tokenizer::load(*file);
  REQUIRE_OK(tokenizer);
  const TokenSpellings spellings(**tokenizer);
  const auto form = Form::matching("yes|no*|\u00e9");
  REQUIRE_OK(form);
  const auto allowed = [&](TokenMask& mask) {
    std::set<std::string> texts;
    const std::vector<float> logits(tokens.size(), 1.0f);
    const auto masked = mask.masked(logits);
    CHECK(masked.ok());
    for (size_t id = 0; masked.ok() && id < tokens.size(); ++id)
      if ((*masked)[id] > 0) texts.insert(tokens[id]);
    return texts;
  };
  using Set = std::set<std::string>;
  TokenMask mask(**form, **tokenizer, spellings);
  CHECK(allowed(mask) == Set({"\u2581yes", "\u2581n", "\u2581", "<0x20>", "<0x79>", "<0x6E>", "<0xC3>"}));
  CHECK(mask.take(260));  // "n", without the space
  CHECK_EQ(mask.text(), std::string("n"));
  CHECK(mask.accepts() && !mask.is_complete());
  CHECK(allowed(mask) == Set({"o", "<0x6F>", "<0x0A>", "</s>"}));
  CHECK(mask.take(261) && mask.take(261));
  CHECK(allowed(mask) == Set({"o", "<0x6F>", "<0x0A>", "</s>"}));
  CHECK(!mask.take(2));
  CHECK_EQ(mask.text(), std::string("noo"));
  TokenMask accent(**form, **tokenizer, spellings);
  CHECK(accent.take(3 + 0xC3) && !accent.accepts());
  CHECK(allowed(accent) == Set({"<0xA9>"}));
  CHECK(accent.take(3 + 0xA9) && accent.is_complete());
}

// Every set of states is new, so that what is known would grow with every token.
TEST(a_mask_does_not_grow_without_end) {
  const auto file = ModelFile::open(reader_file());
  REQUIRE_OK(file);
  const auto tokenizer = Tokenizer::load(*file);
  REQUIRE_OK(tokenizer);
  const TokenSpellings spellings(**tokenizer);
  const auto form = Form::matching(".*[aeiou].{60}");
  REQUIRE_OK(form);
  TokenMask mask(**form, **tokenizer, spellings);
  const std::vector<float> logits(static_cast<size_t>((*tokenizer)->size()), 1.0f);
  std::mt19937 random(3);
  for (int i = 0; i < 150; ++i) {
    const auto masked = mask.masked(logits);
    REQUIRE_OK(masked);
    TokenId next = 0;
    do next = static_cast<TokenId>(random() % logits.size());
    while (!((*masked)[static_cast<size_t>(next)] > 0) || (*tokenizer)->ends_answer(next));
    CHECK(mask.take(next));
  }
  CHECK(mask.nodes() < 3 * size_t{8192});
  CHECK_EQ(mask.accepts(), fits(**form, mask.text()));
}

TEST(an_answer_has_the_form_whatever_the_model_would_say) {
  const TemporaryFolder folder;
  auto engine = Engine::load(reader_file(), {});
  REQUIRE_OK(engine);
  const auto manual = reader::make_manual({.leaves = 4, .facts = 3, .questions = 6, .held_out = true}, 77);
  std::string text;
  for (const DocumentNode& node : manual.document.nodes)
    if (node.is_leaf) text += node.text + "\n";
  const auto quoting = Form::quoting(text);
  int right = 0;
  for (size_t i = 0; i < manual.questions.size(); ++i) {
    for (const char* pattern : {"yes|no", "[0-9]{2} (bar|litres)", "[^\\s?\"]{1,9}( [^\\s?\"]{1,9}){2,4}\\?", ""}) {
      const auto form = *pattern == '\0' ? Result(quoting) : Form::matching(pattern);
      REQUIRE_OK(form);
      AnswerRequest request;
      request.question = manual.questions[i].text;
      for (const DocumentNode& node : manual.document.nodes)
        if (node.is_leaf) request.leaves.push_back(node.key);
      request.evidence = Evidence::Exact;
      request.form = *form;
      request.sampler = {.temperature = i % 2 == 0 ? 0.0f : 1.5f, .top_k = 0, .top_p = 1, .min_p = 0, .seed = i};
      const auto answer =
          (*engine)->answer(manual.document, folder.path(), request, [](std::string_view) {}, nullptr, {});
      REQUIRE_OK(answer);
      if (!fits(**form, answer->text)) std::printf("  “%s”\n", answer->text.c_str());
      CHECK(answer->whole && fits(**form, answer->text));
      if (*pattern == '\0' && manual.questions[i].answer.find(answer->text) != std::string::npos) ++right;
    }
  }
  CHECK(right > 0);  // and the model is still the one that chooses
  AnswerRequest request;
  request.question = "Is it?";
  request.max_tokens = 3;
  request.form = *Form::matching("a{100}");
  const auto cut = (*engine)->answer(manual.document, folder.path(), request, [](std::string_view) {}, nullptr, {});
  REQUIRE_OK(cut);
  CHECK(!cut->whole && cut->text.starts_with('a'));
}
