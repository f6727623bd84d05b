// A model, and an adapter for it with random numbers in every part, as training has them.
#pragma once

#include <cstdlib>
#include <random>

#include "engine/generate/utf8_stream.h"
#include "engine/train/memory_model.h"
#include "kernels/cpu_backend.h"
#include "tests/support/random_model.h"

namespace longleaf::test {

struct TrainedAdapter {
  static constexpr int kRank = 3;
  std::string gguf;  // where the model is no file
  std::shared_ptr<const ModelFile> file;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  train::Parameters parameters{*backend};
  train::Tape tape{*backend};
  std::unique_ptr<train::Decoder> decoder;
  std::unique_ptr<train::MemoryModel> memory;

  explicit TrainedAdapter(const MemorySettings& settings, const RandomModel& model = {})
      : gguf(random_model_gguf(model)),
        file(*ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random")) {
    make(settings);
  }
  // For a model of the tests' data.
  TrainedAdapter(const MemorySettings& settings, const std::string& model)
      : file(*ModelFile::open(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / model)) {
    make(settings);
  }

  void make(const MemorySettings& settings) {
    train::DecoderSettings decoding;
    decoding.lora.rank = kRank, decoding.lora.alpha = 2;
    decoder = std::move(*train::Decoder::create(file, *backend, parameters, decoding));
    memory = std::move(*train::MemoryModel::create(*decoder, parameters, settings));
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 0.15f);
    for (const train::Parameter& p : parameters.all()) {
      std::vector<float> values(static_cast<size_t>(p.size()));
      for (float& x : values) x = normal(random);
      if (!parameters.set_values(*parameters.find(p.name), values).ok()) std::abort();
    }
    tape.record(false);
  }

  AdapterContents adapter() const {
    AdapterContents contents;
    contents.model_title = "random";
    contents.architecture = decoder->config().architecture->name;
    contents.model_fingerprint = fingerprint_of(*file);
    contents.lora_alpha = 2, contents.lora_rank = kRank;
    contents.memory = memory->weights().settings();
    for (const train::Parameter& p : parameters.all())
      contents.tensors.push_back({p.name, p.rows, p.cols, *parameters.values(p)});
    return contents;
  }

  // Up to `most` words behind [front; given; behind], the likeliest; given (n, d_model) is on the tape. As the engine
  // hands it out: without white space in front.
  std::string answer(const std::vector<TokenId>& front, train::Var given, std::vector<TokenId> behind, int most) {
    const auto tokenizer = *Tokenizer::load(file);
    Utf8Stream stream;
    std::string text;
    for (int i = 0; i < most; ++i) {
      const train::Var parts[] = {decoder->embed(tape, front), given, decoder->embed(tape, behind)};
      train::Batch batch;
      batch.add(static_cast<int>(front.size() + behind.size()) + tape.rows(given));
      const auto hidden = decoder->run(tape, tape.stacked(parts), batch);
      const int32_t none[] = {0};
      const TokenId next = decoder->guess(tape, tape.gathered(hidden, {batch.n_tokens() - 1}), none).tokens.front();
      if (tokenizer->ends_answer(next)) break;
      text += stream.push(tokenizer->decode(next));
      behind.push_back(next);
    }
    text += stream.finish();
    return text.substr(std::min(text.find_first_not_of(" \n\t"), text.size()));
  }

  std::vector<float> memories(const TextTree& tree) {
    tape.clear();
    return tape.read(memory->build(tape, tree));
  }
};

}  // namespace longleaf::test
