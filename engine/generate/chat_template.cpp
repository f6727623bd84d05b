#include "engine/generate/chat_template.h"

namespace longleaf {
namespace {

// What stands around each speaker. A form without a system turn gets its instructions at the head of the first
// user turn.
struct Marks {
  std::string system_open, system_close;
  std::string user_open, user_close;
  std::string answer_open, answer_close;
};

Marks marks_of(ChatForm form) {
  switch (form) {
    case ChatForm::ChatMl:
      return {"<|im_start|>system\n",    "<|im_end|>\n", "<|im_start|>user\n", "<|im_end|>\n",
              "<|im_start|>assistant\n", "<|im_end|>\n"};
    case ChatForm::Llama3:
      return {"<|start_header_id|>system<|end_header_id|>\n\n",    "<|eot_id|>",
              "<|start_header_id|>user<|end_header_id|>\n\n",      "<|eot_id|>",
              "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"};
    case ChatForm::Llama2:
      return {"<<SYS>>\n", "\n<</SYS>>\n\n", "[INST] ", " [/INST]", " ", " </s><s>"};
    case ChatForm::Mistral:
      return {"", "\n\n", "[INST] ", " [/INST]", "", "</s>"};
    case ChatForm::Gemma:
      return {"", "\n\n", "<start_of_turn>user\n", "<end_of_turn>\n", "<start_of_turn>model\n", "<end_of_turn>\n"};
    case ChatForm::Phi3:
      return {"<|system|>\n", "<|end|>\n", "<|user|>\n", "<|end|>\n", "<|assistant|>\n", "<|end|>\n"};
    case ChatForm::Zephyr:
      return {"<|system|>\n", "</s>\n", "<|user|>\n", "</s>\n", "<|assistant|>\n", "</s>\n"};
    case ChatForm::Plain:
      return {"", "\n\n", "", "\n", "Answer:", "\n\n"};
  }
  return {};
}

bool system_inside_user(ChatForm form) {
  return form == ChatForm::Llama2 || form == ChatForm::Mistral || form == ChatForm::Gemma;
}

}  // namespace

const char* name_of(ChatForm form) {
  switch (form) {
    case ChatForm::Plain:
      return "plain";
    case ChatForm::ChatMl:
      return "ChatML";
    case ChatForm::Llama3:
      return "Llama 3";
    case ChatForm::Llama2:
      return "Llama 2";
    case ChatForm::Mistral:
      return "Mistral";
    case ChatForm::Gemma:
      return "Gemma";
    case ChatForm::Phi3:
      return "Phi-3";
    case ChatForm::Zephyr:
      return "Zephyr";
  }
  return "?";
}

ChatForm chat_form_of(const ModelFile& file) {
  const auto text = file.text_or("tokenizer.chat_template", "");
  const auto has = [&](std::string_view mark) { return text.find(mark) != std::string_view::npos; };
  if (has("<|im_start|>")) return ChatForm::ChatMl;
  if (has("<|start_header_id|>")) return ChatForm::Llama3;
  if (has("[INST]")) return has("<<SYS>>") ? ChatForm::Llama2 : ChatForm::Mistral;
  if (has("<start_of_turn>")) return ChatForm::Gemma;
  if (has("<|user|>") && has("<|end|>")) return ChatForm::Phi3;
  if (has("<|user|>")) return ChatForm::Zephyr;
  return ChatForm::Plain;
}

ChatPrompt make_prompt(ChatForm form, std::string_view instructions, std::string_view document,
                       const std::vector<Turn>& history, std::string_view question) {
  const Marks m = marks_of(form);
  ChatPrompt prompt;
  const auto put = [](std::vector<Piece>& to, std::string_view text, bool control) {
    if (!text.empty()) to.push_back({std::string(text), control});
  };
  if (system_inside_user(form)) put(prompt.before, m.user_open, true);
  put(prompt.before, m.system_open, true);
  put(prompt.before, instructions, false);
  put(prompt.before, m.system_close, true);
  if (!system_inside_user(form)) put(prompt.before, m.user_open, true);
  put(prompt.before, std::string(document) + "\n\n", false);

  const auto ask = [&](std::string_view text, bool first) {
    if (!first) put(prompt.after, m.user_open, true);
    put(prompt.after, "Question: " + std::string(text), false);
    put(prompt.after, m.user_close, true);
    put(prompt.after, m.answer_open, true);
  };
  bool first = true;
  for (const Turn& turn : history) {
    ask(turn.question, first);
    put(prompt.after, turn.answer, false);
    put(prompt.after, m.answer_close, true);
    first = false;
  }
  ask(question, first);
  return prompt;
}

}  // namespace longleaf
