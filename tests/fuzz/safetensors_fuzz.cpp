// Safetensors folders on any bytes: config.json up to the first zero byte, the weights' file behind it.
#include <algorithm>
#include <cstdlib>

#include "engine/model/model.h"
#include "engine/model/published.h"
#include "engine/model/safetensors.h"
#include "kernels/cpu_backend.h"

using namespace longleaf;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto backend =
      kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 256 << 20});
  const uint8_t* border = std::find(data, data + size, 0);
  const std::string_view config(reinterpret_cast<const char*>(data), static_cast<size_t>(border - data));
  const size_t skipped = std::min(size, config.size() + 1);
  ModelContents contents;
  contents.name = "fuzz";
  contents.tokenizer_json = "{}";
  Published published;
  published.config = parse_json(config);
  if (!read_safetensors({data + skipped, size - skipped}, "fuzz.safetensors", contents).ok()) return 0;
  if (!translate(published, contents).ok()) return 0;
  const auto model = Model::load(std::make_shared<const ModelFile>(std::move(contents)), *backend);
  if (!model.ok() && model.status().message().empty()) std::abort();
  return 0;
}
