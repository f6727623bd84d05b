#include "engine/memory/encoder.h"

#include <algorithm>
#include <cstring>

#include "engine/base/background.h"
#include "engine/base/checksum.h"

namespace longleaf {
namespace {

constexpr int kMostWindowTokens = 16384;
constexpr int kMostReserve = 1024;  // of the trained length, for question and answer
constexpr int kMostOverlap = 1024;
constexpr uint64_t kLayoutVersion = 1;

uint64_t key_of(const Model& model, kernels::DType kv_type, const std::vector<MemoryEntry>& entries,
                const WindowLimits& limits) {
  const std::vector<uint64_t> fixed = {kLayoutVersion, model.fingerprint(), static_cast<uint64_t>(kv_type),
                                       static_cast<uint64_t>(limits.overlap_tokens)};
  uint64_t key = fingerprint(fixed, fingerprint("memory"));
  for (const MemoryEntry& entry : entries) {
    const std::vector<int64_t> place = {entry.node, entry.window, entry.first_position};
    key = fingerprint(entry.tokens, fingerprint(place, key));
  }
  return key;
}

int count(const std::vector<TokenId>& tokens) { return static_cast<int>(tokens.size()); }

// Last `n` tokens of the text in front of entry `first`.
std::vector<TokenId> overlap_before(const std::vector<MemoryEntry>& entries, size_t first, int n) {
  std::vector<TokenId> tokens;
  for (size_t i = first; i-- > 1 && count(tokens) < n;)
    tokens.insert(tokens.begin(), entries[i].tokens.begin(), entries[i].tokens.end());
  if (count(tokens) > n) tokens.erase(tokens.begin(), tokens.end() - n);
  return tokens;
}

// A dense pass that stops at half depth.
class HalfDepth : public DenseStrategy {
 public:
  int depth(int n_layers) const override { return std::max(1, n_layers / 2); }
};

class Encoding {
 public:
  Encoding(Transformer& transformer, KvStore& store, MemoryFile& file, const WindowLimits& limits,
           const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop)
      : transformer_(transformer),
        store_(store),
        file_(file),
        limits_(limits),
        progress_(progress),
        stop_(std::move(stop)) {}

  Status run() {
    const auto& entries = file_.plan().entries;
    state_.leaves = entries.size() - 1;
    for (size_t i = 1; i < entries.size(); ++i) state_.tokens += count(entries[i].tokens);
    for (size_t first = 1; first < entries.size() || first == 1;) {
      size_t end = first;
      while (end < entries.size() && entries[end].window == entries[first].window) ++end;
      LL_RETURN_IF_ERROR(window(first, end));
      first = std::max(end, first + 1);
    }
    return finish_writing();
  }

 private:
  Status window(size_t first, size_t end) {
    LL_RETURN_IF_ERROR(finish_writing());
    there_.assign(file_.plan().entries.size(), false);
    for (size_t i = first; i < end; ++i) there_[i] = file_.has(i);
    there_[0] = file_.has(0);
    size_t missing = first;
    while (missing < end && is_whole(missing)) ++missing;
    if (missing < end || !is_whole(0)) {
      store_.truncate(0);
      LL_RETURN_IF_ERROR(put(0, false));
      if (first < end && file_.plan().entries[first].window > 0) {
        const auto overlap = overlap_before(file_.plan().entries, first, limits_.overlap_tokens);
        if (!overlap.empty())
          LL_RETURN_IF_ERROR(transformer_.forward(overlap, store_, DenseStrategy(), Want::Nothing, nullptr, stop_));
      }
    }
    for (size_t i = first; i < end; ++i) {
      if (missing < end) LL_RETURN_IF_ERROR(put(i, true));
      if (i + 1 == file_.plan().entries.size()) LL_RETURN_IF_ERROR(finish_writing());  // all means all
      ++state_.leaves_done;
      state_.tokens_done += count(file_.plan().entries[i].tokens);
      if (progress_) progress_(state_);
    }
    return {};
  }

  // There, and its checksums hold: a damaged entry counts as missing from then on.
  bool is_whole(size_t i) {
    there_[i] = there_[i] && file_.read(i).ok();
    return there_[i];
  }

  // Brings entry `i` behind the last key: from the file when it is whole there, else by computing and writing it.
  Status put(size_t i, bool is_leaf) {
    const MemoryEntry& entry = file_.plan().entries[i];
    if (there_[i]) {
      LL_RETURN_IF_ERROR(finish_writing());
      const auto blob = file_.read(i);
      if (blob.ok()) return load_entry(entry, *blob, store_);
    }
    const int first_key = store_.size();
    assert(first_key == 0 || store_.positions().back() + 1 == entry.first_position);
    MemoryBlob blob;
    LL_ASSIGN_OR_RETURN(blob.vector, read_and_pool(transformer_, entry.tokens, store_, true, stop_));
    if (!is_leaf) std::fill(blob.vector.begin(), blob.vector.end(), 0.0f);
    blob.kv.resize(file_.kv_bytes(i));
    LL_RETURN_IF_ERROR(store_.read_rows(first_key, count(entry.tokens), blob.kv.data()));
    LL_RETURN_IF_ERROR(finish_writing());
    // While the next one is computed.
    writing_ = in_background(
        [this, i, whole = std::make_shared<const MemoryBlob>(std::move(blob))] { return file_.write(i, *whole); });
    return {};
  }

  Status finish_writing() { return writing_.valid() ? writing_.get() : Status(); }

  Transformer& transformer_;
  KvStore& store_;
  MemoryFile& file_;
  WindowLimits limits_;
  const std::function<void(const EncodeProgress&)>& progress_;
  std::stop_token stop_;
  EncodeProgress state_;
  std::vector<bool> there_;      // entries of the window, and the prefix, that the file had when it was begun
  std::future<Status> writing_;  // of an entry; the file is nobody else's until then
};

}  // namespace

WindowLimits window_limits(const ModelConfig& config) {
  const int reserve = std::min(kMostReserve, config.context_tokens / 4);
  const int window = std::min(config.context_tokens - reserve, kMostWindowTokens);
  return {window, std::min(kMostOverlap, window / 8)};
}

std::vector<TokenId> encode_pieces(const Tokenizer& tokenizer, const std::vector<Piece>& pieces) {
  std::vector<TokenId> ids;
  for (const Piece& piece : pieces) {
    const auto more =
        tokenizer.encode(piece.text, piece.control ? Tokenizer::Special::AsToken : Tokenizer::Special::AsText);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

std::vector<TokenId> prompt_prefix(const Tokenizer& tokenizer, const ChatStyle& chat, const std::string& title) {
  const ChatPrompt prompt = document_prompt(chat, title, {}, "");
  std::vector<TokenId> ids;
  if (tokenizer.adds_bos()) ids.push_back(tokenizer.bos());
  const auto pieces = encode_pieces(tokenizer, prompt.before);
  ids.insert(ids.end(), pieces.begin(), pieces.end());
  return ids;
}

MemoryPlan plan_memory(const Model& model, const Tokenizer& tokenizer, const std::vector<TokenId>& prefix,
                       const DocumentInput& document, kernels::DType kv_type, const WindowLimits& limits) {
  const ModelConfig& c = model.config();
  MemoryPlan plan;
  plan.n_layers = c.n_layers;
  plan.d_model = c.d_model;
  plan.row_bytes = kernels::row_bytes(kv_type, int64_t{c.n_kv_heads} * c.head_dim);
  plan.entries.push_back({0, 0, 0, prefix});
  int window = 0, position = count(prefix), in_window = 0;
  for (const DocumentNode& node : document.nodes) {
    if (!node.is_leaf) continue;
    MemoryEntry entry{node.key, window, position, tokenizer.encode(node.text)};
    if (entry.tokens.empty()) continue;
    if (in_window > 0 && position + count(entry.tokens) > limits.window_tokens) {
      entry.window = ++window;
      in_window = 0;
      entry.first_position =
          count(prefix) + count(overlap_before(plan.entries, plan.entries.size(), limits.overlap_tokens));
    }
    position = entry.first_position + count(entry.tokens);
    ++in_window;
    plan.entries.push_back(std::move(entry));
  }
  plan.key = key_of(model, kv_type, plan.entries, limits);
  return plan;
}

Status encode_document(Transformer& transformer, KvStore& store, MemoryFile& file, const WindowLimits& limits,
                       const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop) {
  Status status = Encoding(transformer, store, file, limits, progress, std::move(stop)).run();
  store.truncate(0);
  return status;
}

Status load_entry(const MemoryEntry& entry, const MemoryBlob& blob, KvStore& store) {
  std::vector<int32_t> positions(entry.tokens.size());
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = entry.first_position + static_cast<int32_t>(i);
  const int first_key = store.size();
  LL_RETURN_IF_ERROR(store.append(positions));
  return store.write_rows(first_key, count(entry.tokens), blob.kv.data());
}

KvRunKey run_key(const MemoryFile& file, size_t entry) { return {file.plan().key, entry}; }

Status recall_entry(const MemoryFile& file, EntryReader& reader, size_t entry, KvStore& store) {
  LL_ASSIGN_OR_RETURN(const bool is_there, store.recall(run_key(file, entry)));
  if (is_there) return {};
  LL_ASSIGN_OR_RETURN(const MemoryBlob blob, reader.take(entry));
  const int first_key = store.size();
  LL_RETURN_IF_ERROR(load_entry(file.plan().entries[entry], blob, store));
  store.keep(run_key(file, entry), first_key);
  return {};
}

Result<std::vector<float>> read_and_pool(Transformer& transformer, const std::vector<TokenId>& tokens, KvStore& store,
                                         bool full_depth, std::stop_token stop) {
  const ModelConfig& c = transformer.model().config();
  const int probe = std::max(1, c.n_layers / 2) - 1;
  std::vector<double> sum(static_cast<size_t>(c.d_model), 0.0);
  std::vector<float> mean(sum.size());
  kernels::Buffer pooled;
  const LayerTap tap = [&](int layer, const kernels::Backend& b, kernels::DevicePtr hidden, int n) -> Status {
    if (layer != probe) return {};
    if (pooled.data() == nullptr) {
      LL_ASSIGN_OR_RETURN(pooled, kernels::Buffer::allocate(b, mean.size() * 4));
    }
    LL_RETURN_IF_ERROR(b.mean_rows(b.self, hidden, n, c.d_model, pooled.data()));
    LL_RETURN_IF_ERROR(b.download(b.self, mean.data(), pooled.data(), mean.size() * 4));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += double{mean[i]} * n;
    return {};
  };
  const DenseStrategy dense;
  const HalfDepth half;
  const Strategy& strategy = full_depth ? static_cast<const Strategy&>(dense) : half;
  LL_RETURN_IF_ERROR(transformer.forward(tokens, store, strategy, Want::Nothing, nullptr, std::move(stop), tap));
  for (size_t i = 0; i < sum.size(); ++i) mean[i] = static_cast<float>(sum[i] / static_cast<double>(tokens.size()));
  return mean;
}

}  // namespace longleaf
