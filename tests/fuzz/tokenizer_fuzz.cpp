// tokenizer.json of any bytes; what loads encodes text, and gives it back without harm.
#include <cstdlib>

#include "engine/tokenizer/tokenizer.h"

using namespace longleaf;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  ModelContents contents;
  contents.name = "fuzz";
  contents.tokenizer_json = {reinterpret_cast<const char*>(data), size};
  const auto tokenizer = Tokenizer::load(std::make_shared<const ModelFile>(std::move(contents)));
  if (!tokenizer.ok()) return tokenizer.status().message().empty() ? std::abort(), 0 : 0;
  for (const char* text : {"It's 2,024 o'clock.\r\n\tcaf\u00e9 \u4e2d\u6587", "<s>[MASK] </s>", "\xff\xc3"})
    for (TokenId id : (*tokenizer)->encode(text, Tokenizer::Special::AsToken))
      if (id < 0 || id >= (*tokenizer)->size()) std::abort();
  return 0;
}
