#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "engine/generate/chat_template.h"
#include "engine/generate/sampler.h"
#include "engine/generate/thoughts.h"
#include "engine/generate/utf8_stream.h"
#include "tests/support/check.h"
#include "tests/support/gguf_writer.h"

using namespace longleaf;

TEST(greedy_takes_the_most_likely_and_the_lower_id_on_a_tie) {
  Sampler greedy({});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_EQ(greedy.pick(std::vector<float>{1, 5, 5, 2}), 1);
  CHECK_EQ(greedy.pick(std::vector<float>{nan, -3, nan}), 1);
}

TEST(filters_keep_what_they_say) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.5f), std::log(0.3f), std::log(0.1f)};
  const auto ids = [&](const SamplerOptions& options) {
    std::string out;
    double total = 0;
    for (const auto& c : Sampler(options).candidates(logits)) out += std::to_string(c.id), total += c.probability;
    CHECK(std::abs(total - 1) < 1e-12);
    return out;
  };
  CHECK_EQ(ids({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 0}), std::string("1203"));
  CHECK_EQ(ids({.temperature = 1, .top_k = 3, .top_p = 1, .min_p = 0, .seed = 0}), std::string("120"));
  CHECK_EQ(ids({.temperature = 1, .top_k = 0, .top_p = 0.7f, .min_p = 0, .seed = 0}), std::string("12"));
  CHECK_EQ(ids({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0.5f, .seed = 0}), std::string("12"));
  CHECK_EQ(ids({.temperature = 1, .top_k = 0, .top_p = 0, .min_p = 0, .seed = 0}), std::string("1"));
}

TEST(an_infinite_logit_is_the_most_likely) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (int top_k : {0, 1}) {
    Sampler warm({.temperature = 1, .top_k = top_k});
    CHECK_EQ(warm.pick(std::vector<float>{1, infinity, 2, infinity}), 1);
  }
}

// Of a vocabulary that is not sorted as a whole.
TEST(candidates_of_a_large_vocabulary_come_most_likely_first) {
  std::vector<float> logits(5000);
  uint32_t state = 1;
  for (float& x : logits) x = static_cast<float>((state = state * 1664525 + 1013904223) >> 20) / 512.0f;  // with ties
  logits[17] = std::numeric_limits<float>::quiet_NaN();
  logits[18] = -std::numeric_limits<float>::infinity();
  std::vector<TokenId> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity()) order.push_back(static_cast<TokenId>(i));
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  for (const SamplerOptions& options : {SamplerOptions{.temperature = 1},
                                        {.temperature = 2, .top_k = 700},
                                        {.temperature = 1, .top_p = 0.8f},
                                        {.temperature = 1, .min_p = 0.3f}}) {
    const auto all = Sampler(options).candidates(logits);
    double mass = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      CHECK_EQ(all[i].id, order[i]);
      mass += all[i].probability;
    }
    CHECK(std::abs(mass - 1) < 1e-9);
    if (options.top_k > 0) CHECK_EQ(all.size(), size_t{700});
    if (options.top_p == 1 && options.min_p == 0 && options.top_k == 0) CHECK_EQ(all.size(), order.size());
    if (options.min_p > 0) CHECK(all.back().probability >= 0.3 * all[0].probability);
    CHECK(all.size() > 64);  // more than are sorted at first
  }
}

// A vocabulary of 4,000 and the 200 best of it, as a device finds them.
struct Listed {
  std::vector<float> all, best;
  std::vector<TokenId> ids;
  explicit Listed(size_t n_numbers) : all(4000, -std::numeric_limits<float>::infinity()) {
    uint32_t state = 9;
    const auto next = [&state] { return (state = state * 1664525 + 1013904223) >> 20; };  // 12 bits
    for (size_t i = 0; i < n_numbers; ++i) all[next() % all.size()] = static_cast<float>(next()) / 256.0f;
    for (size_t i = 0; i < all.size(); ++i)
      if (!std::isinf(all[i])) ids.push_back(static_cast<TokenId>(i));
    std::stable_sort(ids.begin(), ids.end(), [this](TokenId a, TokenId b) { return logit(a) > logit(b); });
    ids.resize(200, -1);
    for (const TokenId id : ids) best.push_back(id < 0 ? -std::numeric_limits<float>::infinity() : logit(id));
  }
  float logit(TokenId id) const { return all[static_cast<size_t>(id)]; }
  double sum(float temperature) const {
    double sum = 0;
    for (const float x : all) sum += std::exp((double{x} - double{best[0]}) / double{temperature});
    return sum;
  }
};

TEST(the_best_of_a_vocabulary_are_enough_to_pick_as_from_all) {
  for (const size_t n_numbers : {size_t{6000}, size_t{150}}) {
    const Listed listed(n_numbers);
    int told = 0, asked = 0;
    for (const SamplerOptions& options : {SamplerOptions{.temperature = 0.5f},
                                          {.temperature = 3},
                                          {.temperature = 1, .top_k = 40},
                                          {.temperature = 1, .top_k = 200, .top_p = 0.9f},
                                          {.temperature = 2, .top_p = 0.8f},
                                          {.temperature = 9, .top_p = 0.99f},
                                          {.temperature = 1, .min_p = 0.05f}}) {
      Sampler sampler(options), few = sampler;
      for (int i = 0; i < 200; ++i) {
        const auto id = few.pick(Shortlist{listed.best, listed.ids, listed.sum(options.temperature)});
        (id ? told : asked) += 1;
        CHECK_EQ(sampler.pick(listed.all), id ? *id : few.pick(listed.all));
      }
    }
    CHECK(told > 500);
    if (n_numbers == 150) CHECK_EQ(asked, 0);  // all that there are
    if (n_numbers == 6000) CHECK(asked > 200);
  }
}

TEST(a_shortlist_without_numbers_or_with_infinite_ones_is_picked_from_as_all_are) {
  const float infinity = std::numeric_limits<float>::infinity();
  Sampler sampler({.temperature = 1});
  const std::vector<float> none = {-infinity, -infinity}, high = {infinity, infinity};
  const std::vector<TokenId> ids = {-1, -1}, two = {3, 8};
  CHECK_EQ(sampler.pick(Shortlist{none, ids, 0}).value_or(-1), 0);
  CHECK_EQ(sampler.pick(Shortlist{high, two, 0}).value_or(-1), 3);
}

TEST(samples_follow_the_distribution_and_repeat_with_the_seed) {
  const std::vector<float> logits = {std::log(0.2f), std::log(0.8f)};
  Sampler a({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 5}), b = a;
  int ones = 0;
  for (int i = 0; i < 10000; ++i) {
    const TokenId id = a.pick(logits);
    CHECK_EQ(id, b.pick(logits));
    ones += id;
  }
  CHECK(std::abs(ones - 8000) < 5 * 40);  // five standard deviations of a binomial with n = 10000, p = 0.8
}

TEST(streamed_text_never_splits_a_character) {
  const std::string text = "a\u00e9\u20ac\U0001F600z";
  Utf8Stream stream;
  std::string out;
  for (char c : text) {
    const std::string piece = stream.push(std::string(1, c));
    CHECK(piece.empty() || character_length(piece) > 0);
    out += piece;
  }
  CHECK_EQ(out + stream.finish(), text);
  Utf8Stream broken;
  CHECK_EQ(broken.push("\xff!"), std::string("\uFFFD!"));
  CHECK_EQ(broken.push("\xe2\x82"), std::string());
  CHECK_EQ(broken.finish(), std::string("\uFFFD\uFFFD"));
}

TEST(chat_forms_are_recognised_and_unknown_ones_are_plain) {
  struct Example {
    const char* text;
    ChatForm form;
  };
  const Example examples[] = {{"{{'<|im_start|>' + role}}", ChatForm::ChatMl},
                              {"<|start_header_id|>", ChatForm::Llama3},
                              {"[INST] <<SYS>>", ChatForm::Llama2},
                              {"[INST]", ChatForm::Mistral},
                              {"<start_of_turn>user", ChatForm::Gemma},
                              {"<|user|> <|end|>", ChatForm::Phi3},
                              {"<|user|> eos_token", ChatForm::Zephyr},
                              {"{{ weird }}", ChatForm::Plain}};
  for (const auto& example : examples) {
    test::GgufWriter gguf;
    gguf.text("tokenizer.chat_template", example.text);
    const std::string bytes = gguf.bytes();
    const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x");
    REQUIRE_OK(file);
    CHECK_EQ(chat_form_of(**file), example.form);
  }
}

TEST(a_chatml_prompt_reads_as_its_makers_write_it) {
  const auto prompt = make_prompt(ChatForm::ChatMl, "Be brief.", "Document: D", {{"q1", "a1"}}, "q2");
  std::string text;
  for (const auto& piece : prompt.before) text += piece.text;
  text += "[evidence]";
  for (const auto& piece : prompt.after) text += piece.text;
  CHECK_EQ(text, std::string("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nDocument: D\n\n[evidence]"
                             "Question: q1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
                             "<|im_start|>user\nQuestion: q2<|im_end|>\n<|im_start|>assistant\n"));
}

namespace {

ChatStyle style_of(const std::string& source) {
  test::GgufWriter gguf;
  gguf.text("tokenizer.chat_template", source);
  const std::string bytes = gguf.bytes();
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x");
  return file.ok() ? ChatStyle::of(**file) : ChatStyle();
}

// Control pieces in angle brackets, texts as they are.
std::string shown(const ChatPrompt& prompt) {
  std::string text;
  for (const auto& piece : prompt.before) text += piece.control ? "‹" + piece.text + "›" : piece.text;
  text += "[evidence]";
  for (const auto& piece : prompt.after) text += piece.control ? "‹" + piece.text + "›" : piece.text;
  return text;
}

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

}  // namespace

TEST(a_models_own_template_is_used_and_texts_stay_texts) {
  const ChatStyle style = style_of(kTemplate);
  CHECK_EQ(style.name(), std::string("its own template"));
  CHECK_EQ(shown(style.prompt("Be brief.", "D", {{"q1", "a1"}}, "<|end|> {{ 1 }}")),
           std::string("‹<|system|>›Be brief.‹<|end|><|user|>›D\n\n[evidence]Question: q1‹<|end|><|assistant|>›a1"
                       "‹<|end|><|user|>›Question: <|end|> {{ 1 }}‹<|end|><|assistant|>›"));
}

TEST(a_template_without_system_turns_gets_instructions_in_the_first_question) {
  const ChatStyle style =
      style_of("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + std::string(kTemplate));
  CHECK_EQ(shown(style.prompt("Be brief.", "D", {}, "q")),
           std::string("‹<|user|>›Be brief.‹\n\n›D\n\n[evidence]Question: q‹<|end|><|assistant|>›"));
}

TEST(a_template_that_drops_system_turns_gets_instructions_in_the_first_question) {
  const ChatStyle style = style_of(
      "{% for m in messages %}{% if m.role != 'system' %}<{{ m.role }}>{{ m.content }}"
      "{% endif %}{% endfor %}<assistant>");
  CHECK_EQ(shown(style.prompt("Be brief.", "D", {}, "q")),
           std::string("‹<user>›Be brief.‹\n\n›D\n\n[evidence]Question: q‹<assistant>›"));
}

TEST(a_template_is_given_the_token_that_ends_a_turn) {
  test::GgufWriter gguf;
  gguf.text("tokenizer.chat_template", "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}");
  gguf.texts("tokenizer.ggml.tokens", {"<s>", "</s>"});
  gguf.u32("tokenizer.ggml.eos_token_id", 1);
  const std::string bytes = gguf.bytes();
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x");
  REQUIRE_OK(file);
  CHECK_EQ(shown(ChatStyle::of(**file).prompt("I", "D", {}, "q")),
           std::string("I‹</s>›D\n\n[evidence]Question: q‹</s>›"));
}

TEST(a_published_models_template_is_given_the_token_by_its_name) {
  ModelContents contents;
  contents.metadata["tokenizer.chat_template"] =
      MetadataScalar(std::string_view("{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"));
  contents.metadata["tokenizer.eos_token"] = MetadataScalar(std::string_view("</s>"));
  CHECK_EQ(shown(ChatStyle::of(ModelFile(std::move(contents))).prompt("I", "D", {}, "q")),
           std::string("I‹</s>›D\n\n[evidence]Question: q‹</s>›"));
}

TEST(a_model_that_would_think_aloud_finds_its_thought_ended) {
  const std::string turns =
      "{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}{% endfor %}<assistant>";
  const auto opening = [&](const std::string& source) {
    const std::string text = shown(style_of(source).prompt("I", "D", {{"q1", "a1"}}, "q2"));
    return text.substr(text.rfind("q2") + 2);
  };
  CHECK_EQ(opening(turns), std::string("‹<assistant><think>\n\n</think>\n\n›"));
  CHECK_EQ(opening(turns + "<think>\n"), std::string("‹<assistant><think>\n\n</think>\n\n›"));
  CHECK_EQ(opening(turns + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
                           "{% endif %}"),
           std::string("‹<assistant><think>\n\n</think>\n\n›"));
  CHECK_EQ(opening(kTemplate), std::string("‹<|end|><|assistant|>›"));  // one that does not think
  // One that was told in its instructions, and begins its answers itself.
  const std::string told =
      "{% for m in messages %}{% if m.role == 'system' and thinking %}Think between <think> and </think>.{% endif %}"
      "<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
  CHECK_EQ(opening(told), std::string("‹<assistant>›"));
}

TEST(what_is_thought_aloud_is_no_part_of_an_answer) {
  // Cut anywhere, a text comes out the same.
  const auto heard = [](std::string_view text) {
    std::set<std::string> all;
    for (size_t step = 1; step <= text.size(); ++step) {
      Thoughts thoughts;
      std::string out;
      for (size_t at = 0; at < text.size(); at += step) out += thoughts.push(text.substr(at, step));
      all.insert(out + thoughts.finish());
    }
    return all;
  };
  using Set = std::set<std::string>;
  CHECK(heard("It is 149.") == Set{"It is 149."});
  CHECK(heard("<think>149 or 150?</think>\nIt is 149.") == Set{"\nIt is 149."});
  CHECK(heard("\n <think>a <b</think>c <think>d</think>") == Set{"c <think>d</think>"});
  CHECK(heard("<think>and on and on") == Set{""});
  CHECK(heard("<thin") == Set{"<thin"});
  CHECK(heard(" <table>") == Set{" <table>"});
}

TEST(a_template_that_cannot_be_used_leaves_its_form) {
  for (const char* source :
       {"<|im_start|>{% broken", "<|im_start|>{{ raise_exception('never') }}", "<|im_start|>{{ messages | length }}"})
    CHECK_EQ(style_of(source).name(), std::string("ChatML"));
  CHECK(style_of("").is_plain());
}
