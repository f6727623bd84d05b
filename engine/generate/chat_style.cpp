// A conversation is rendered with marks in place of its texts; what stands between the marks is the template's.
#include <optional>

#include "engine/base/log.h"
#include "engine/generate/chat_template.h"

namespace longleaf {
namespace {

using jinja::Dict;
using jinja::List;
using jinja::Value;

// Private-use characters that no template has: 0 the instructions, 1 the document's line, then what is said in turn.
// The date templates are told: a prompt that changed with the day would make every document be encoded again.
constexpr std::time_t kDate = 1767268800;  // 1 January 2026, noon UTC

constexpr int kInstructions = 0, kDocument = 1, kFirstTurn = 2;

std::string mark(int number) { return "\uE000" + std::to_string(number) + "\uE001"; }

Value said(const char* role, std::string text) {
  Dict message;
  message.set("role", Value(role));
  message.set("content", Value(std::move(text)));
  return message;
}

// The conversation in marks. A template may not know system turns: instructions then open the first question.
Dict globals(size_t n_answers, bool system_turn, const std::string& end, bool thinking) {
  List messages;
  if (system_turn) messages.push_back(said("system", mark(kInstructions)));
  const std::string opening = (system_turn ? "" : mark(kInstructions) + "\n\n") + mark(kDocument);
  for (size_t i = 0; i <= n_answers; ++i) {
    const int number = kFirstTurn + 2 * static_cast<int>(i);
    messages.push_back(said("user", (i == 0 ? opening : "") + mark(number)));
    if (i < n_answers) messages.push_back(said("assistant", mark(number + 1)));
  }
  Dict all;
  all.set("messages", messages);
  all.set("add_generation_prompt", Value(true));
  all.set("bos_token", Value(""));  // the tokenizer puts it in front where the model wants one
  all.set("eos_token", Value(end));
  all.set("tools", Value(jinja::None{}));
  all.set("documents", Value(jinja::None{}));
  all.set("enable_thinking", Value(thinking));  // Qwen 3, SmolLM 3, GLM
  all.set("thinking", Value(thinking));         // Granite, DeepSeek
  return all;
}

// Cuts rendered text at its marks. nullopt when a mark is not one of `texts`.
std::optional<std::vector<std::pair<int, Piece>>> cut(const std::string& text, const std::vector<std::string>& texts) {
  std::vector<std::pair<int, Piece>> pieces;
  const std::string open = "\uE000", close = "\uE001";
  size_t at = 0;
  while (at < text.size()) {
    const size_t begin = text.find(open, at), end = begin == std::string::npos ? begin : text.find(close, begin);
    const size_t stop = end == std::string::npos ? text.size() : begin;
    if (stop > at) pieces.push_back({-1, {text.substr(at, stop - at), true}});
    if (end == std::string::npos) break;
    const std::string number = text.substr(begin + open.size(), end - begin - open.size());
    if (number.empty() || number.size() > 6 || number.find_first_not_of("0123456789") != std::string::npos) return {};
    const auto index = static_cast<size_t>(std::stoi(number));
    if (index >= texts.size()) return {};
    pieces.push_back({static_cast<int>(index), {texts[index], false}});
    at = end + close.size();
  }
  return pieces;
}

// The prompt, when the template renders the conversation and leaves the document's line where evidence can follow it.
std::optional<ChatPrompt> rendered(const jinja::Template& its_own, bool system_turn, const std::string& end,
                                   const std::vector<std::string>& texts, bool thinking = false) {
  const size_t n_answers = (texts.size() - kFirstTurn - 1) / 2;
  const auto text = its_own.render(globals(n_answers, system_turn, end, thinking), kDate);
  if (!text.ok()) return {};
  const auto pieces = cut(*text, texts);
  if (!pieces) return {};
  ChatPrompt prompt;
  int documents = 0, instructions = 0, turns = 0;
  for (const auto& [number, piece] : *pieces) {
    auto& part = documents == 0 ? prompt.before : prompt.after;
    if (!piece.text.empty()) part.push_back(piece);
    documents += number == kDocument ? 1 : 0;
    instructions += number == kInstructions ? 1 : 0;
    turns += number >= kFirstTurn ? 1 : 0;
  }
  if (documents != 1 || instructions != 1 || turns != 2 * static_cast<int>(n_answers) + 1) return {};
  return prompt;
}

// What the prompt ends with, without white space.
std::string_view opening_of(const ChatPrompt& prompt) {
  if (prompt.after.empty() || !prompt.after.back().control) return {};
  const std::string_view text = prompt.after.back().text;
  return text.substr(0, text.find_last_not_of(" \n") + 1);
}

// Where the answer begins, a thought without content.
void end_thinking(ChatPrompt& prompt) {
  const std::string said(opening_of(prompt));
  if (said.empty() || said.ends_with("</think>")) return;
  std::string& opening = prompt.after.back().text;
  opening = said.ends_with("<think>") ? said : opening + "<think>";
  opening += "\n\n</think>\n\n";
}

// Whether a model thinks although it is told not to: its template opens a thought, or has a place for thoughts and no
// word on whether there are any.
bool thinks(const jinja::Template& its_own, bool system_turn, const std::string& end, const std::string& source) {
  const std::vector<std::string> texts(kFirstTurn + 1, "x");
  const auto without = rendered(its_own, system_turn, end, texts, false);
  const auto with = rendered(its_own, system_turn, end, texts, true);
  if (!without || opening_of(*without).ends_with("<think>")) return without.has_value();
  const bool is_told = !with || with->before != without->before || with->after != without->after;
  return !is_told && source.find("</think>") != std::string::npos;
}

}  // namespace

namespace {

// Whether the template takes a first question and a later one, and begins both alike: the beginning is encoded once.
bool usable(const jinja::Template& its_own, bool system_turn, const std::string& end) {
  const auto first = rendered(its_own, system_turn, end, std::vector<std::string>(kFirstTurn + 1, "x"));
  const auto later = rendered(its_own, system_turn, end, std::vector<std::string>(kFirstTurn + 3, "x"));
  return first && later && first->before == later->before;
}

std::string end_token(const ModelFile& file) {
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  const int64_t id = file.integer_or("tokenizer.ggml.eos_token_id", -1);
  return tokens != nullptr && id >= 0 && id < static_cast<int64_t>(tokens->size())
             ? std::string((*tokens)[static_cast<size_t>(id)])
             : std::string(file.text_or("tokenizer.eos_token", ""));
}

}  // namespace

ChatStyle ChatStyle::of(const ModelFile& file) {
  ChatStyle style;
  style.form_ = chat_form_of(file);
  style.end_ = end_token(file);
  const std::string source(file.text_or("tokenizer.chat_template", ""));
  if (source.empty()) return style;
  auto parsed = jinja::Template::parse(source);
  if (parsed.ok()) {
    const auto its_own = std::make_shared<const jinja::Template>(std::move(*parsed));
    for (bool system_turn : {false, true})
      if (usable(*its_own, system_turn, style.end_)) style.template_ = its_own, style.system_turn_ = system_turn;
  }
  if (style.template_ != nullptr) style.thinks_ = thinks(*style.template_, style.system_turn_, style.end_, source);
  if (style.template_ == nullptr)
    log(LogLevel::Warning, "The model's chat template cannot be used" +
                               (parsed.ok() ? std::string() : " (" + parsed.status().message() + ")") + "; the form “" +
                               name_of(style.form_) + "” is used");
  return style;
}

std::string ChatStyle::name() const { return template_ != nullptr ? "its own template" : name_of(form_); }

ChatPrompt ChatStyle::prompt(std::string_view instructions, std::string_view document, const std::vector<Turn>& history,
                             std::string_view question) const {
  if (template_ != nullptr) {
    std::vector<std::string> texts = {std::string(instructions), std::string(document) + "\n\n"};
    for (const Turn& turn : history) {
      texts.push_back("Question: " + turn.question);
      texts.push_back(turn.answer);
    }
    texts.push_back("Question: " + std::string(question));
    if (auto prompt = rendered(*template_, system_turn_, end_, texts)) {
      if (thinks_) end_thinking(*prompt);
      return std::move(*prompt);
    }
  }
  return make_prompt(form_, instructions, document, history, question);
}

ChatPrompt document_prompt(const ChatStyle& style, std::string_view title, const std::vector<Turn>& history,
                           std::string_view question) {
  constexpr std::string_view kAsked =
      "Answer the question from the document below, in one or two sentences. If the document does not answer it, say "
      "so.";
  return style.prompt(kAsked, "Document: " + std::string(title), history, question);
}

}  // namespace longleaf
