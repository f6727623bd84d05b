// How far one model's predictions are from another's: mean Kullback-Leibler divergence over a text. As llama-perplexity
// does, it takes pieces of --context tokens, whose first becomes the one that begins a text, if the model has one, and
// counts the second half of each. KV is kept as F32.
// With the weights of a quantized model as F32 in the first file, it shows what 8-bit activations cost.
//
//   logit_bench REFERENCE.gguf OTHER.gguf TEXT [--context 512] [--pieces 2]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/transformer.h"
#include "kernels/cpu_backend.h"

using namespace longleaf;

namespace {

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) std::printf("%s\n", result.status().message().c_str()), std::exit(1);
  return std::move(*result);
}

// Log probabilities of all tokens behind each of ids[first …], one row per token.
std::vector<std::vector<double>> predictions(Transformer& transformer, std::span<const TokenId> ids, size_t first) {
  KvStore store(transformer.model().config(), transformer.model().placement(), kernels::DType::F32);
  const DenseStrategy dense;
  std::vector<std::vector<double>> rows;
  std::vector<float> logits;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (const Status s = transformer.forward(ids.subspan(i, 1), store, dense, Want::LastLogits, &logits); !s.ok())
      std::printf("%s\n", s.message().c_str()), std::exit(1);
    if (i < first) continue;
    double top = logits[0], sum = 0;
    for (float x : logits) top = std::max(top, double{x});
    for (float x : logits) sum += std::exp(x - top);
    std::vector<double>& row = rows.emplace_back(logits.begin(), logits.end());
    for (double& x : row) x -= top + std::log(sum);
  }
  return rows;
}

double divergence(const std::vector<double>& reference, const std::vector<double>& other) {
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) sum += std::exp(reference[i]) * (reference[i] - other[i]);
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::printf("logit_bench REFERENCE.gguf OTHER.gguf TEXT [--context 512] [--pieces 2]\n"), 2;
  size_t context = 512, pieces = 2;
  for (int i = 4; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--context") == 0) context = std::strtoul(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--pieces") == 0) pieces = std::strtoul(argv[i + 1], nullptr, 10);
  }
  std::ifstream file(argv[3], std::ios::binary);
  if (!file) return std::printf("%s cannot be read\n", argv[3]), 1;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto backend = kernels::make_cpu_backend();
  int n_vocab = 0;
  std::vector<TokenId> ids, first;
  std::vector<std::unique_ptr<Transformer>> models;
  for (int i : {1, 2}) {
    const auto model_file = must(ModelFile::open(argv[i]));
    const auto tokenizer = must(Tokenizer::load(model_file));
    const int size = std::exchange(n_vocab, tokenizer->size());
    if (i == 2 && size != n_vocab) return std::printf("The models have different vocabularies\n"), 1;
    ids = tokenizer->encode(text);
    first = tokenizer->prefix();
    models.push_back(must(Transformer::create(must(Model::load(model_file, *backend)))));
  }
  if (context < 4 || pieces < 1 || ids.size() < context * pieces) return std::printf("The text is too short\n"), 1;
  double sum = 0, square = 0;
  size_t n = 0;
  for (size_t piece = 0; piece < pieces; ++piece) {
    std::vector<TokenId> part(ids.begin() + static_cast<std::ptrdiff_t>(piece * context),
                              ids.begin() + static_cast<std::ptrdiff_t>((piece + 1) * context));
    if (!first.empty()) part[0] = first[0];
    const auto reference = predictions(*models[0], part, context / 2);
    const auto other = predictions(*models[1], part, context / 2);
    for (size_t i = 0; i + 1 < reference.size(); ++i, ++n) {
      const double own = divergence(reference[i], other[i]);
      sum += own;
      square += own * own;
    }
  }
  const double mean = sum / static_cast<double>(n);
  std::printf("mean divergence %.3e +- %.1e over %zu tokens\n", mean,
              std::sqrt(std::max(0.0, square / static_cast<double>(n) - mean * mean) / static_cast<double>(n)), n);
}
