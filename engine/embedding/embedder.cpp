#include "engine/embedding/embedder.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/embedding/encoder_model.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/cpu_backend.h"

namespace longleaf {
namespace {

constexpr int kMostTokens = 512;  // read at once; attention within, and memory for it, grow with it

// Words that a family of models wants in front of a text, by its name.
std::string_view words_in_front(std::string_view title, TextRole role) {
  std::string name(title);
  std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (has("e5-") || has("e5_")) return role == TextRole::Question ? "query: " : "passage: ";
  if (has("bge-") && has("-en") && role == TextRole::Question)
    return "Represent this sentence for searching relevant passages: ";
  return "";
}

double normalise(std::vector<float>& v) {
  double squares = 0;
  for (float x : v) squares += double{x} * double{x};
  const double length = std::sqrt(squares);
  if (length > 0)
    for (float& x : v) x = static_cast<float>(double{x} / length);
  return length;
}

}  // namespace

struct Embedder::Parts {
  kernels::BackendPtr backend;  // first: everything below lives on it
  std::shared_ptr<const ModelFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<EncoderModel> model;
};

Embedder::~Embedder() = default;

bool is_embedder(const std::filesystem::path& path) {
  const auto file = ModelFile::open(path);
  return file.ok() && (*file)->text_or("general.architecture", "") == "bert";
}

Result<EmbedderFacts> describe_embedder(const std::filesystem::path& path) {
  LL_ASSIGN_OR_RETURN(const auto file, ModelFile::open(path));
  return read_encoder_facts(*file);
}

Result<std::unique_ptr<Embedder>> Embedder::load(const std::filesystem::path& path, int n_threads) {
  std::unique_ptr<Embedder> embedder(new Embedder);
  embedder->parts_ = std::make_unique<Parts>();
  Parts& parts = *embedder->parts_;
  LL_ASSIGN_OR_RETURN(parts.file, ModelFile::open(path));
  LL_ASSIGN_OR_RETURN(embedder->facts_, read_encoder_facts(*parts.file));
  LL_ASSIGN_OR_RETURN(parts.tokenizer, Tokenizer::load(parts.file));
  if (parts.tokenizer->size() > embedder->facts_.n_vocab)
    return damaged_file(parts.file->name(), "its vocabulary is larger than its table of embeddings");
  parts.backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = n_threads, .limit_bytes = 0});
  const size_t around = parts.tokenizer->prefix().size() + parts.tokenizer->suffix().size();
  if (around >= static_cast<size_t>(std::min(kMostTokens, embedder->facts_.context_tokens)))
    return damaged_file(parts.file->name(), "it wants more tokens around a text than it can read");
  LL_ASSIGN_OR_RETURN(parts.model, EncoderModel::load(*parts.file, embedder->facts_, *parts.backend,
                                                      std::min(kMostTokens, embedder->facts_.context_tokens)));
  embedder->fingerprint_ = parts.model->fingerprint();
  LL_RETURN_IF_ERROR(parts.file->check());
  return embedder;
}

Result<std::vector<float>> Embedder::embed(std::string_view text, TextRole role, std::stop_token stop) {
  const Tokenizer& tokenizer = *parts_->tokenizer;
  const auto tokens = tokenizer.encode(std::string(words_in_front(facts_.title, role)).append(text));
  const auto &prefix = tokenizer.prefix(), &suffix = tokenizer.suffix();
  const auto most = static_cast<size_t>(parts_->model->most_tokens());
  const size_t room = most - prefix.size() - suffix.size();
  std::vector<float> sum(static_cast<size_t>(facts_.d_model), 0.0f);
  for (size_t begin = 0; begin < tokens.size(); begin += room) {
    const auto part = std::span(tokens).subspan(begin, std::min(room, tokens.size() - begin));
    std::vector<TokenId> ids(prefix);
    ids.insert(ids.end(), part.begin(), part.end());
    ids.insert(ids.end(), suffix.begin(), suffix.end());
    LL_ASSIGN_OR_RETURN(auto vector, parts_->model->run(ids, stop));
    if (!(normalise(vector) > 0)) continue;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += vector[i] * static_cast<float>(part.size());
  }
  LL_RETURN_IF_ERROR(parts_->file->check());
  normalise(sum);
  return sum;
}

}  // namespace longleaf
