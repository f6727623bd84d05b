// Writes a model of a known shape with random weights: it answers nothing, and is as fast as the real one.
//
//   random_model llama-3.2-1b|qwen2.5-7b|llama-3.1-8b|smollm-135m|tiny FORMAT OUT.gguf
#include "tests/support/random_model.h"

#include <cstdio>
#include <fstream>
#include <iterator>

using namespace longleaf;

namespace {

struct Shape {
  const char* name;
  int layers, d_model, heads, kv_heads, d_ff, vocabulary;
};
constexpr Shape kShapes[] = {{"llama-3.2-1b", 16, 2048, 32, 8, 8192, 128256},
                             {"qwen2.5-7b", 28, 3584, 28, 4, 18944, 152064},
                             {"llama-3.1-8b", 32, 4096, 32, 8, 14336, 128256},
                             {"smollm-135m", 30, 576, 9, 3, 1536, 49152},
                             {"tiny", 2, 256, 4, 2, 512, 300}};

}  // namespace

int main(int argc, char** argv) {
  const auto* shape = std::end(kShapes);
  const auto* format = std::end(kernels::kFormats);
  if (argc == 4) {
    for (shape = std::begin(kShapes); shape != std::end(kShapes) && std::string(shape->name) != argv[1];) ++shape;
    for (format = std::begin(kernels::kFormats);
         format != std::end(kernels::kFormats) && format->name != std::string(argv[2]);)
      ++format;
  }
  if (shape == std::end(kShapes) || format == std::end(kernels::kFormats))
    return std::printf("random_model llama-3.2-1b|qwen2.5-7b|llama-3.1-8b|smollm-135m|tiny FORMAT OUT.gguf\n"), 2;
  test::RandomModel model;
  model.layers = shape->layers, model.d_model = shape->d_model, model.heads = shape->heads;
  model.kv_heads = shape->kv_heads, model.d_ff = shape->d_ff, model.context = 1 << 20;
  model.type = format->type;
  model.vocabulary = [shape](test::GgufWriter& gguf) { return test::byte_vocabulary(gguf, shape->vocabulary); };
  std::ofstream file(argv[3], std::ios::binary);
  const std::string bytes = test::random_model_gguf(model);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) return std::printf("%s could not be written\n", argv[3]), 1;
  return 0;
}
