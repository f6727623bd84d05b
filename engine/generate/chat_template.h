// How a model is addressed: by its file's own template where that can be run, else by the form that the template's
// marks give away.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/jinja/template.h"
#include "engine/model/model_file.h"

namespace longleaf {

enum class ChatForm { Plain, ChatMl, Llama3, Llama2, Mistral, Gemma, Phi3, Zephyr };

const char* name_of(ChatForm form);

// Plain when the file has no template, or one of another form.
ChatForm chat_form_of(const ModelFile& file);

struct Turn {
  std::string question;
  std::string answer;
};

// A prompt in parts, because evidence comes between them as token ids of its own and never as template text.
// `before` and `after` hold control tokens of the form; the texts of turns and question are in `Piece`s marked as text.
struct Piece {
  std::string text;
  bool control = false;  // encode control tokens in it as such
  bool operator==(const Piece&) const = default;
};
struct ChatPrompt {
  std::vector<Piece> before;  // up to where the evidence stands: opens the first user turn
  std::vector<Piece> after;   // earlier turns, the question, and the opening of the answer
};

//   instructions  what the assistant is told
//   document      a line naming the document, in front of the evidence
//   history       earlier turns, oldest first
ChatPrompt make_prompt(ChatForm form, std::string_view instructions, std::string_view document,
                       const std::vector<Turn>& history, std::string_view question);

// A model's way of being addressed. Const methods: any thread.
class ChatStyle {
 public:
  ChatStyle() = default;
  // Never fails: a template that cannot be run, or drops what it is given, leaves the form.
  static ChatStyle of(const ModelFile& file);

  // Whether neither a template nor a known form says how the model is addressed.
  bool is_plain() const { return template_ == nullptr && form_ == ChatForm::Plain; }
  std::string name() const;

  // As make_prompt. Texts never become control tokens: they are put in behind the template's back. A model that would
  // think aloud finds its thought ended: what it is asked stands in the evidence, and the reader waits (Ma et al.,
  // arXiv 2504.09858).
  ChatPrompt prompt(std::string_view instructions, std::string_view document, const std::vector<Turn>& history,
                    std::string_view question) const;

 private:
  ChatForm form_ = ChatForm::Plain;
  std::string end_;  // the token that ends a turn, as text
  std::shared_ptr<const jinja::Template> template_;
  bool system_turn_ = true;
  bool thinks_ = false;  // also when it is told not to
};

// As every question about a document is put.
ChatPrompt document_prompt(const ChatStyle& style, std::string_view title, const std::vector<Turn>& history,
                           std::string_view question);

}  // namespace longleaf
