// Models as their makers publish them for the transformers library, told in GGUF's words: settings as metadata under
// GGUF's keys, tensors under GGUF's names.
#pragma once

#include "engine/model/json.h"
#include "engine/model/model_file.h"

namespace longleaf {

struct Published {
  Json config, tokenizer_config, generation_config;  // null where the folder has none
  Json pooling, modules;                             // of an embedding model: 1_Pooling/config.json, modules.json
  std::string_view chat_template;                    // of its own file; outlives the contents
};

// Renames the tensors in `contents` and adds its metadata.
// Returns Unsupported with the name of what this version cannot run, Corrupt for settings that cannot be.
Status translate(const Published& published, ModelContents& contents);

}  // namespace longleaf
