// The names of tensors in the transformers library as GGUF has them.
#pragma once

#include <string>
#include <string_view>

namespace longleaf {

// Empty for tensors that a text model has no use for (pictures, stored positions).
// A name that is not known stays as it is, so that what is unused can be seen.
std::string ggml_name(std::string_view name, std::string_view architecture);

}  // namespace longleaf
