// A small model of the tests' data as training has it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/train/decoder.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/test_gpu.h"

namespace longleaf::test {

// What gradients of the tests' data are of.
inline std::vector<TokenId> golden_tokens() {
  std::vector<TokenId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back((7 * i * i + 3 * i + 1) % 64);
  return ids;
}

inline kernels::BackendPtr cpu(int n_threads = 2) {
  return kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = n_threads, .limit_bytes = 0});
}

// What tests of training run on: the GPU of test_gpu.h, or the processor.
inline kernels::BackendPtr training_device() { return test_gpu() != nullptr ? make_test_gpu() : cpu(); }

struct TrainedModel {
  kernels::BackendPtr backend;
  train::Parameters parameters;
  train::Tape tape;
  std::unique_ptr<train::Decoder> decoder;

  TrainedModel(const std::string& name, const train::DecoderSettings& settings,
               kernels::BackendPtr on = training_device())
      : backend(std::move(on)), parameters(*backend), tape(*backend) {
    auto file = ModelFile::open(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / (name + ".gguf"));
    CHECK(file.ok());
    auto made = train::Decoder::create(*file, *backend, parameters, settings);
    if (made.ok())
      decoder = std::move(*made);
    else
      fail(__FILE__, __LINE__, made.status().message());
  }

  // The mean loss of the golden tokens, in sequences of the given lengths; gradients are left in the parameters.
  double run(const std::vector<size_t>& lengths) {
    tape.clear();
    const auto ids = golden_tokens();
    const train::Var hidden = decoder->embed(tape, ids);
    train::Batch batch;
    for (const size_t n : lengths) batch.add(static_cast<int>(n));
    const train::Var rows = decoder->run(tape, hidden, batch);
    std::vector<int32_t> targets(ids.begin() + 1, ids.end());
    targets.push_back(0);
    std::vector<float> weights(ids.size(), 1.0f / 39);
    weights.back() = 0;
    const double loss = decoder->loss(tape, rows, targets, weights);
    const Status status = tape.backward();
    if (!status.ok()) fail(__FILE__, __LINE__, status.message());
    return loss;
  }
  std::vector<float> gradient(const train::Parameter& p) const {
    std::vector<float> values(static_cast<size_t>(p.size()));
    CHECK(backend->download(backend->self, values.data(), p.gradient.data(), values.size() * 4).ok());
    return values;
  }
};

}  // namespace longleaf::test
