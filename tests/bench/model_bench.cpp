// Tokens per second of a model: prefill of a prompt, and decoding behind one. The same figures as llama-bench gives.
//
//   model_bench MODEL.gguf [--device cpu] [--threads N] [--prefill 512,2048] [--decode 64] [--behind 0] [--repeat 3]
//
// Prints one line per figure: median, least and most of the repetitions.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>

#include "engine/compute_device.h"
#include "engine/transformer/transformer.h"
#include "kernels/cuda_backend.h"

using namespace longleaf;

namespace {

struct Settings {
  const char* model = nullptr;
  std::string device = "cpu";
  int threads = 0, decode = 64, behind = 0, repeat = 3;
  std::vector<int> prefill = {512};
};

std::vector<int> numbers(const char* text) {
  std::vector<int> all;
  for (const char* at = text; at != nullptr && *at != 0; at = std::strchr(at, ',')) {
    at += *at == ',' ? 1 : 0;
    all.push_back(std::atoi(at));
  }
  return all;
}

bool parse(int argc, char** argv, Settings& s) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      s.model = argv[i];
      continue;
    }
    if (++i == argc) return false;
    if (name == "--device")
      s.device = argv[i];
    else if (name == "--threads")
      s.threads = std::atoi(argv[i]);
    else if (name == "--prefill")
      s.prefill = numbers(argv[i]);
    else if (name == "--decode")
      s.decode = std::atoi(argv[i]);
    else if (name == "--behind")
      s.behind = std::atoi(argv[i]);
    else if (name == "--repeat")
      s.repeat = std::max(1, std::atoi(argv[i]));
    else
      return false;
  }
  return s.model != nullptr;
}

std::vector<TokenId> prompt(int n, int vocabulary) {
  std::vector<TokenId> ids(static_cast<size_t>(n));
  uint32_t state = 1;
  for (auto& id : ids)
    id = static_cast<TokenId>((state = state * 1664525u + 1013904223u) % static_cast<uint32_t>(vocabulary));
  return ids;
}

double seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void print(const char* what, int n, std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  std::printf("%s %d: %.2f tokens/s (%.2f to %.2f)\n", what, n, rates[rates.size() / 2], rates.front(), rates.back());
  std::fflush(stdout);
}

// Tokens per second of one prefill of `n` tokens, or of `n` single tokens behind `behind`.
double run(Transformer& transformer, int n, int behind, bool decode) {
  const ModelConfig& config = transformer.model().config();
  KvStore store(config, transformer.model().placement(), kernels::DType::F16);
  std::vector<float> logits;
  const auto ids = prompt(n + behind, config.n_vocab);
  const std::span all(ids);
  const DenseStrategy dense;
  const auto forward = [&](std::span<const TokenId> part, Want want) {
    const Status status = transformer.forward(part, store, dense, want, &logits);
    if (!status.ok()) std::printf("%s\n", status.message().c_str()), std::exit(1);
  };
  if (behind > 0) forward(all.first(static_cast<size_t>(behind)), Want::Nothing);
  const auto start = std::chrono::steady_clock::now();
  const auto rest = all.subspan(static_cast<size_t>(behind));
  if (decode)
    for (size_t i = 0; i < rest.size(); ++i) forward(rest.subspan(i, 1), Want::LastLogits);
  else
    forward(rest, Want::LastLogits);
  return n / seconds(start);
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  if (!parse(argc, argv, s)) {
    std::printf(
        "model_bench MODEL.gguf [--device cpu] [--threads N] [--prefill 512,2048] [--decode 64] [--behind 0] [--repeat "
        "3]\n");
    return 2;
  }
  DeviceRequest request;
  request.name = s.device;
  request.n_threads = s.threads;
  const auto start = std::chrono::steady_clock::now();
  auto file = ModelFile::open(s.model);
  if (!file.ok()) return std::printf("%s\n", file.status().message().c_str()), 1;
  auto config = read_model_config(**file);
  if (!config.ok()) return std::printf("%s\n", config.status().message().c_str()), 1;
  int most_tokens = s.behind + s.decode;
  for (int n : s.prefill) most_tokens = std::max(most_tokens, n);
  request.needs = needs_on_card(*config, kernels::DType::F16, most_tokens);
  auto devices = open_devices(request);
  if (!devices.ok()) return std::printf("%s\n", devices.status().message().c_str()), 1;
  auto model = Model::load(*file, devices->placement());
  if (!model.ok()) return std::printf("%s\n", model.status().message().c_str()), 1;
  auto transformer = Transformer::create(*model);
  if (!transformer.ok()) return std::printf("%s\n", transformer.status().message().c_str()), 1;
  std::printf("%s, %s, loaded in %.2f s\n", devices->name().c_str(), (*model)->config().weight_format.c_str(),
              seconds(start));
  run(**transformer, 16, 0, false);  // first touch
  for (int n : s.prefill) {
    std::vector<double> rates;
    for (int i = 0; i < s.repeat && n > 0; ++i) rates.push_back(run(**transformer, n, 0, false));
    if (n > 0) print("prefill", n, rates);
  }
  std::vector<double> rates;
  for (int i = 0; i < s.repeat && s.decode > 0; ++i) rates.push_back(run(**transformer, s.decode, s.behind, true));
  if (s.decode > 0) print("decode", s.decode, rates);
}
