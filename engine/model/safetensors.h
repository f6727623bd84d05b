// Models as the transformers library writes them: a folder of config.json, tokenizer.json and safetensors files, whose
// names and settings are translated into GGUF's.
// Format: the specification of the safetensors project.
#pragma once

#include "engine/model/model_file.h"

namespace longleaf {

// A folder, or a file whose name says so.
bool is_safetensors(const std::filesystem::path& path);

// Maps and reads the model in the folder `path`, or beside the file `path`.
// Returns NotFound for a missing file, Corrupt, Unsupported.
Status open_safetensors(const std::filesystem::path& path, ModelContents& contents);

// Adds the tensors of one safetensors file under their own names. `name` stands in messages.
Status read_safetensors(std::span<const uint8_t> bytes, const std::string& name, ModelContents& contents);

}  // namespace longleaf
