// GGUF files on any bytes: description, vocabulary, weights, and a few tokens through whatever model comes out.
#include <cstdlib>

#include "engine/embedding/encoder_model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/transformer.h"
#include "kernels/cpu_backend.h"

using namespace longleaf;

namespace {

constexpr size_t kLimit = 256 << 20;  // of memory; no file of the fuzzer's size justifies more

const kernels::Backend& backend() {
  static const auto cpu = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = kLimit});
  return *cpu;
}

void run_decoder(const std::shared_ptr<const ModelFile>& file) {
  auto model = Model::load(file, backend());
  if (!model.ok()) return;
  auto transformer = Transformer::create(*model);
  if (!transformer.ok()) return;
  KvStore store((*model)->config(), backend(), kernels::DType::F16);
  const std::vector<TokenId> tokens(3, 0);
  std::vector<float> logits;
  (void)(*transformer)->forward(tokens, store, DenseStrategy(), Want::LastLogits, &logits);
}

void run_encoder(const ModelFile& file) {
  const auto facts = read_encoder_facts(file);
  if (!facts.ok()) return;
  auto model = EncoderModel::load(file, *facts, backend(), std::min(8, facts->context_tokens));
  if (model.ok()) (void)(*model)->run(std::vector<TokenId>(1, 0), {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = ModelFile::parse({data, size}, "fuzz.gguf");
  if (!file.ok()) return file.status().message().empty() ? std::abort(), 0 : 0;
  if (const auto tokenizer = Tokenizer::load(*file); tokenizer.ok())
    for (TokenId id : (*tokenizer)->encode("A text.\n\xff caf\u00e9", Tokenizer::Special::AsToken))
      (void)(*tokenizer)->decode(id);
  run_decoder(*file);
  run_encoder(**file);
  return 0;
}
