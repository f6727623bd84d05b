#include "engine/embedding/encoder_model.h"

#include <array>
#include <cmath>
#include <map>

#include "engine/model/config.h"
#include "engine/model/weights.h"

namespace longleaf {

using kernels::Buffer;
using kernels::DevicePtr;

namespace {

constexpr int64_t kMaxWidth = 1 << 16;
constexpr int64_t kMaxLayers = 200;
constexpr int64_t kMaxContext = 1 << 17;

enum GgmlPooling : int64_t { kMean = 1, kFirst = 2 };

ModelConfig one_layer(const EmbedderFacts& facts) {
  ModelConfig config;
  config.n_layers = 1;
  config.n_heads = config.n_kv_heads = facts.n_heads;
  config.head_dim = facts.d_model / facts.n_heads;
  return config;
}

void count_weights(const ModelFile& file, EmbedderFacts& facts) {
  std::map<std::string, uint64_t> by_format;
  for (const auto& [name, tensor] : file.tensors()) {
    facts.weight_bytes += tensor.data.size();
    if (tensor.type) by_format[kernels::name_of(*tensor.type)] += tensor.data.size();
  }
  uint64_t most = 0;
  for (const auto& [format, bytes] : by_format)
    if (bytes > most) most = bytes, facts.weight_format = format;
}

}  // namespace

Result<EmbedderFacts> read_encoder_facts(const ModelFile& file) {
  const std::string_view architecture = file.text_or("general.architecture", "");
  if (architecture != "bert")
    return Status(Code::Unsupported, "The model " + file.name() + " has the architecture " + std::string(architecture) +
                                         ", which makes no vectors of texts; choose a BERT model");
  const auto count = [&](const char* key, int64_t most) {
    const int64_t value = file.integer_or(std::string("bert.") + key, 0);
    return value > 0 && value <= most ? static_cast<int>(value) : 0;
  };
  EmbedderFacts facts;
  facts.title = file.text_or("general.name", file.name());
  facts.n_layers = count("block_count", kMaxLayers);
  facts.d_model = count("embedding_length", kMaxWidth);
  facts.n_heads = count("attention.head_count", kMaxWidth);
  facts.d_ff = count("feed_forward_length", kMaxWidth);
  facts.first_position = count("first_position", kMaxContext);
  facts.context_tokens = count("context_length", kMaxContext) - facts.first_position;
  if (facts.n_layers == 0 || facts.d_model == 0 || facts.n_heads == 0 || facts.d_ff == 0 || facts.context_tokens <= 0 ||
      facts.d_model % facts.n_heads != 0)
    return lacks(file, "usable dimensions");
  const auto table = file.tensors().find("token_embd.weight");
  if (table == file.tensors().end() || table->second.shape.size() != 2) return lacks(file, "its table of embeddings");
  if (table->second.shape[1] > (1 << 26)) return lacks(file, "a usable table of embeddings");
  facts.n_vocab = static_cast<int>(table->second.shape[1]);
  facts.norm_eps = static_cast<float>(file.number_or("bert.attention.layer_norm_epsilon", 1e-12));
  if (!(facts.norm_eps >= 0 && facts.norm_eps < 1)) return lacks(file, "usable settings of its norms");
  const int64_t pooling = file.integer_or("bert.pooling_type", kMean);
  if (pooling != kMean && pooling != kFirst)
    return Status(Code::Unsupported, "The model " + file.name() + " pools its rows by the method number " +
                                         std::to_string(pooling) + ", which this version cannot compute");
  facts.pooling = pooling == kFirst ? Pooling::First : Pooling::Mean;
  count_weights(file, facts);
  return facts;
}

EncoderModel::EncoderModel(const EmbedderFacts& facts, const kernels::Backend& backend, int most_tokens)
    : facts_(facts),
      backend_(backend),
      most_tokens_(most_tokens),
      store_(one_layer(facts), backend, kernels::DType::F32) {}

Result<std::unique_ptr<EncoderModel>> EncoderModel::load(const ModelFile& file, const EmbedderFacts& facts,
                                                         const kernels::Backend& backend, int most_tokens) {
  std::unique_ptr<EncoderModel> model(new EncoderModel(facts, backend, most_tokens));
  LL_RETURN_IF_ERROR(model->read(file));
  LL_RETURN_IF_ERROR(model->allocate());
  model->fingerprint_ = fingerprint_of(file);
  file.release();
  return model;
}

Status EncoderModel::read(const ModelFile& file) {
  Weights weights(file, memory_);
  weights.use(backend_);
  const int d = facts_.d_model, ff = facts_.d_ff;
  const auto norm = [&](const std::string& name, Norm& to) -> Status {
    LL_ASSIGN_OR_RETURN(to.weight, weights.vector(name + ".weight", d));
    LL_ASSIGN_OR_RETURN(to.bias, weights.vector(name + ".bias", d));
    return {};
  };
  const auto linear = [&](const std::string& name, int rows, int cols, Linear& to) -> Status {
    LL_ASSIGN_OR_RETURN(to.w, weights.matrix(name + ".weight", rows, cols));
    LL_ASSIGN_OR_RETURN(to.bias, weights.optional_vector(name + ".bias", rows));
    return {};
  };
  LL_ASSIGN_OR_RETURN(words_, weights.stored("token_embd.weight", {d, facts_.n_vocab}));
  LL_ASSIGN_OR_RETURN(places_,
                      weights.stored("position_embd.weight", {d, facts_.context_tokens + facts_.first_position}));
  if (const auto it = file.tensors().find("token_types.weight"); it != file.tensors().end()) {
    const int64_t n_kinds = it->second.shape.size() == 2 ? it->second.shape[1] : 1;
    if (n_kinds > kMaxWidth) return lacks(file, "usable weights token_types.weight");
    LL_ASSIGN_OR_RETURN(
        kinds_, weights.stored("token_types.weight", it->second.shape.size() == 2 ? std::vector<int64_t>{d, n_kinds}
                                                                                  : std::vector<int64_t>{d}));
  }
  LL_RETURN_IF_ERROR(norm("token_embd_norm", word_norm_));
  for (int i = 0; i < facts_.n_layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    Layer& w = layers_.emplace_back();
    LL_RETURN_IF_ERROR(linear(prefix + "attn_q", d, d, w.q));
    LL_RETURN_IF_ERROR(linear(prefix + "attn_k", d, d, w.k));
    LL_RETURN_IF_ERROR(linear(prefix + "attn_v", d, d, w.v));
    LL_RETURN_IF_ERROR(linear(prefix + "attn_output", d, d, w.out));
    LL_RETURN_IF_ERROR(linear(prefix + "ffn_up", ff, d, w.up));
    LL_RETURN_IF_ERROR(linear(prefix + "ffn_down", d, ff, w.down));
    LL_RETURN_IF_ERROR(norm(prefix + "attn_output_norm", w.attention_norm));
    LL_RETURN_IF_ERROR(norm(prefix + "layer_output_norm", w.output_norm));
  }
  return weights.check_biases();
}

Status EncoderModel::allocate() {
  struct Wanted {
    Buffer* buffer;
    int width;
  };
  for (const Wanted& wanted :
       {Wanted{&hidden_, facts_.d_model}, Wanted{&q_, facts_.d_model}, Wanted{&k_, facts_.d_model},
        Wanted{&v_, facts_.d_model}, Wanted{&part_, facts_.d_model}, Wanted{&wide_, facts_.d_ff}}) {
    const auto bytes = static_cast<size_t>(most_tokens_) * static_cast<size_t>(wanted.width) * 4;
    LL_ASSIGN_OR_RETURN(*wanted.buffer, Buffer::allocate(backend_, bytes));
  }
  LL_ASSIGN_OR_RETURN(spans_, Buffer::allocate(backend_, sizeof(kernels::Span)));
  LL_ASSIGN_OR_RETURN(groups_, Buffer::allocate(backend_, 2 * sizeof(int32_t)));
  return {};
}

Result<std::vector<float>> EncoderModel::run(std::span<const TokenId> ids, std::stop_token stop) {
  assert(!ids.empty() && ids.size() <= static_cast<size_t>(most_tokens_));
  const auto n = static_cast<int>(ids.size());
  store_.truncate(0);
  LL_RETURN_IF_ERROR(store_.append(std::vector<int32_t>(ids.size(), 0)));
  LL_RETURN_IF_ERROR(embed(ids));
  for (const Layer& w : layers_) {
    if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
    LL_RETURN_IF_ERROR(layer(w, n));
  }
  DevicePtr pooled = hidden_.data();
  if (facts_.pooling == Pooling::Mean) {
    LL_RETURN_IF_ERROR(backend_.mean_rows(backend_.self, hidden_.data(), n, facts_.d_model, part_.data()));
    pooled = part_.data();
  }
  std::vector<float> vector(static_cast<size_t>(facts_.d_model));
  LL_RETURN_IF_ERROR(backend_.download(backend_.self, vector.data(), pooled, vector.size() * 4));
  return vector;
}

// hidden = norm(word + place + kind).
Status EncoderModel::embed(std::span<const TokenId> ids) {
  const auto n = static_cast<int>(ids.size());
  const auto add = [&](const kernels::Weight& table, const std::vector<int32_t>& rows) -> Status {
    LL_RETURN_IF_ERROR(backend_.embed(backend_.self, table, rows.data(), n, part_.data()));
    return backend_.add(backend_.self, hidden_.data(), part_.data(), 1.0f, int64_t{n} * facts_.d_model);
  };
  LL_RETURN_IF_ERROR(backend_.embed(backend_.self, words_, ids.data(), n, hidden_.data()));
  std::vector<int32_t> rows(ids.size());
  for (int i = 0; i < n; ++i) rows[static_cast<size_t>(i)] = facts_.first_position + i;
  LL_RETURN_IF_ERROR(add(places_, rows));
  if (kinds_.data != nullptr) LL_RETURN_IF_ERROR(add(kinds_, std::vector<int32_t>(ids.size(), 0)));
  return backend_.layer_norm(backend_.self, hidden_.data(), word_norm_.weight, word_norm_.bias, facts_.norm_eps, n,
                             facts_.d_model, hidden_.data());
}

Status EncoderModel::layer(const Layer& w, int n) {
  LL_RETURN_IF_ERROR(multiply(w.q, hidden_, q_, n));
  LL_RETURN_IF_ERROR(multiply(w.k, hidden_, k_, n));
  LL_RETURN_IF_ERROR(multiply(w.v, hidden_, v_, n));
  LL_RETURN_IF_ERROR(attend(n));
  LL_RETURN_IF_ERROR(multiply(w.out, part_, q_, n));
  LL_RETURN_IF_ERROR(add_and_normalise(q_, w.attention_norm, n));
  LL_RETURN_IF_ERROR(multiply(w.up, hidden_, wide_, n));
  LL_RETURN_IF_ERROR(
      backend_.gate(backend_.self, kernels::Activation::GeluErf, wide_.data(), nullptr, int64_t{n} * facts_.d_ff));
  LL_RETURN_IF_ERROR(multiply(w.down, wide_, q_, n));
  return add_and_normalise(q_, w.output_norm, n);
}

// q, k, v → part: every row sees all n.
Status EncoderModel::attend(int n) {
  const kernels::Span all{0, n, 0, 0, 0};
  const std::array<int32_t, 2> begins = {0, 1};
  LL_RETURN_IF_ERROR(backend_.upload(backend_.self, spans_.data(), &all, sizeof all));
  LL_RETURN_IF_ERROR(backend_.upload(backend_.self, groups_.data(), begins.data(), sizeof begins));
  LL_RETURN_IF_ERROR(
      backend_.kv_write(backend_.self, {store_.view(0), k_.data(), v_.data(), kernels::DType::F32, n, 0}));
  kernels::SpanAttentionArgs args;
  args.q = q_.data();
  args.out = part_.data();
  args.kv = store_.view(0);
  args.n_tokens = n;
  args.n_heads = facts_.n_heads;
  args.spans = spans_.data();
  args.group_begin = groups_.data();
  args.scale = 1.0f / std::sqrt(static_cast<float>(facts_.d_model / facts_.n_heads));
  return backend_.span_attention(backend_.self, args);
}

Status EncoderModel::multiply(const Linear& w, const Buffer& x, Buffer& out, int n) const {
  const kernels::Product product{w.w, w.bias, out.data()};
  return backend_.matmul(backend_.self, {&product, 1}, x.data(), n);
}

// hidden = norm(hidden + part).
Status EncoderModel::add_and_normalise(const Buffer& part, const Norm& norm, int n) {
  LL_RETURN_IF_ERROR(backend_.add(backend_.self, hidden_.data(), part.data(), 1.0f, int64_t{n} * facts_.d_model));
  return backend_.layer_norm(backend_.self, hidden_.data(), norm.weight, norm.bias, facts_.norm_eps, n, facts_.d_model,
                             hidden_.data());
}

}  // namespace longleaf
