// Training speed beside the speed of a forward pass: the same tokens through the engine, forward on the tape, and in a
// whole training step, with low-rank additions or every weight trained; and the memory that each takes.
//
//   train_bench MODEL.gguf [TOKENS] [SEQUENCE] [REPEAT] [DEVICE]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "engine/compute_device.h"
#include "engine/train/decoder.h"
#include "engine/transformer/transformer.h"

using namespace longleaf;
using namespace longleaf::train;

namespace {

[[noreturn]] void give_up(const Status& status) {
  std::printf("%s\n", status.message().c_str());
  std::exit(1);
}

void check(const Status& status) {
  if (!status.ok()) give_up(status);
}

template <typename T>
T taken(Result<T> result) {
  if (!result.ok()) give_up(result.status());
  return std::move(*result);
}

struct Texts {
  std::vector<TokenId> tokens;
  Batch batch;
};

Texts texts(int n_tokens, int length, int n_vocab) {
  Texts t;
  for (int i = 0; i < n_tokens; ++i) t.tokens.push_back((37 * i + i * i % 101) % n_vocab);
  for (int first = 0; first < n_tokens; first += length) t.batch.add(std::min(length, n_tokens - first));
  return t;
}

// Median seconds of `run`, after one that is not counted.
template <typename Run>
double median_seconds(int repeat, const Run& run) {
  std::vector<double> all;
  for (int i = 0; i <= repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    if (i > 0) all.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

kernels::BackendPtr opened(const std::string& device) {
  DeviceRequest request;
  request.name = device;
  return std::move(taken(open_one_device(request)).all.front().backend);
}

double engine_seconds(const std::shared_ptr<const ModelFile>& file, const Texts& t, int repeat,
                      const std::string& device) {
  const auto backend = opened(device);
  const auto model = taken(Model::load(file, *backend));
  const auto transformer = taken(Transformer::create(model));
  KvStore store(model->config(), *backend, kernels::DType::F16);
  std::vector<float> logits;
  return median_seconds(repeat, [&] {
    for (const kernels::Sequence& s : t.batch.sequences) {
      const auto part =
          std::span(t.tokens).subspan(static_cast<size_t>(s.query_begin), static_cast<size_t>(s.n_queries));
      check(transformer->forward(part, store, DenseStrategy(), Want::AllLogits, &logits));
      store.truncate(0);
    }
  });
}

struct Figures {
  double forward, step;  // seconds
  uint64_t bytes;
};

Figures training(const std::shared_ptr<const ModelFile>& file, const Texts& t, int repeat, DecoderSettings settings,
                 const std::string& device) {
  const auto backend = opened(device);
  Parameters parameters(*backend);
  const auto decoder = taken(Decoder::create(file, *backend, parameters, settings));
  Tape tape(*backend);
  std::vector<int32_t> targets(t.tokens.begin(), t.tokens.end());
  const std::vector<float> weights(targets.size(), 1.0f / static_cast<float>(targets.size()));
  Figures f{};
  f.forward = median_seconds(repeat, [&] {
    tape.clear();
    decoder->logits(tape, decoder->run(tape, decoder->embed(tape, t.tokens), t.batch));
    check(tape.status());
    check(backend->finish(backend->self));
  });
  f.step = median_seconds(repeat, [&] {
    tape.clear();
    decoder->loss(tape, decoder->run(tape, decoder->embed(tape, t.tokens), t.batch), targets, weights);
    check(tape.backward());
    taken(parameters.step({}));
    check(backend->finish(backend->self));
  });
  f.bytes = backend->memory(backend->self).peak_bytes;
  return f;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::printf("train_bench MODEL.gguf [TOKENS] [SEQUENCE] [REPEAT] [DEVICE]\n"), 2;
  const int n_tokens = argc > 2 ? std::atoi(argv[2]) : 1024, length = argc > 3 ? std::atoi(argv[3]) : 256;
  const int repeat = argc > 4 ? std::atoi(argv[4]) : 3;
  const std::string device = argc > 5 ? argv[5] : "cpu";
  const auto file = taken(ModelFile::open(argv[1]));
  const ModelConfig config = taken(read_model_config(*file));
  const Texts t = texts(n_tokens, length, config.n_vocab);
  std::printf("%s, %d tokens in sequences of %d, medians of %d\n", argv[1], n_tokens, length, repeat);
  const auto rate = [&](double seconds) { return n_tokens / seconds; };
  const double engine = engine_seconds(file, t, repeat, device);
  std::printf("engine, forward              %8.1f tokens/s\n", rate(engine));
  struct Kind {
    const char* name;
    DecoderSettings settings;
  };
  DecoderSettings lora;
  lora.lora.rank = 8;
  for (const Kind& kind : {Kind{"additions of rank 8", lora}, Kind{"all weights", {true, false, {}}},
                           Kind{"all weights, layers kept", {true, true, {}}}}) {
    const Figures f = training(file, t, repeat, kind.settings, device);
    std::printf("%-28s %8.1f tokens/s, a step is %.2f of its forward passes (%.1f tokens/s); %.0f MiB\n", kind.name,
                rate(f.step), f.step / f.forward, rate(f.forward), static_cast<double>(f.bytes) / (1 << 20));
  }
  return 0;
}
