// GGUF v2 and v3. Every length and offset is checked against the file before it is used.
// Format: the GGUF specification of the ggml project.
#pragma once

#include "engine/model/model_file.h"

namespace longleaf {

// Adds what `bytes` hold to `contents`; they outlive it. `name` stands in messages. Metadata that is there already
// stays. Returns Corrupt, Unsupported.
Status read_gguf(std::span<const uint8_t> bytes, const std::string& name, ModelContents& contents);

// Maps and reads a whole model, of which `path` may be any part. Returns NotFound with the name of a missing part.
Status open_gguf(const std::filesystem::path& path, ModelContents& contents);

}  // namespace longleaf
