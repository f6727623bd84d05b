// Attention within sequences, for training: tiles of queries and of keys, a block of threads each.
#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/gpu.h"
#include "kernels/cuda/sequence_tiles.h"
#include "kernels/cuda/training.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kDims[] = {64, 128, 256};  // heads that the kernels are compiled for

// The smallest compiled size that holds such heads, if the card has the shared memory for it; else 0.
int dim_for(const Gpu& g, int head_dim) {
  for (const int dim : kDims)
    if (head_dim <= dim && sequence_shared_bytes(dim, 2) <= g.device->card().shared_bytes) return dim;
  return 0;
}

// The last queries see most keys, the first keys are seen by most queries: what takes longest begins first.
std::vector<SequenceTile> tiles_of_queries(std::span<const Sequence> sequences, int size) {
  std::vector<SequenceTile> tiles;
  for (const Sequence& s : sequences)
    for (int first = (s.n_queries - 1) / size * size; s.n_queries > 0 && first >= 0; first -= size)
      tiles.push_back({s, first});
  return tiles;
}
std::vector<SequenceTile> tiles_of_keys(std::span<const Sequence> sequences) {
  std::vector<SequenceTile> tiles;
  for (const Sequence& s : sequences)
    for (int first = 0; first < s.n_keys; first += kSequenceKeys) tiles.push_back({s, first});
  return tiles;
}

SequencesArgs arguments(const SequenceAttention& a) {
  SequencesArgs args{};
  args.q = as<float>(a.q), args.k = as<float>(a.k), args.v = as<float>(a.v);
  args.out = as<float>(a.out), args.norms = as<float>(a.norms);
  args.n_heads = a.n_heads, args.n_kv_heads = a.n_kv_heads, args.head_dim = a.head_dim;
  args.window = a.window, args.scale = a.scale, args.soft_cap = a.soft_cap;
  return args;
}

Status launch(Gpu& g, const char* kernel, int dim, int query_rows, const std::vector<SequenceTile>& tiles, int heads,
              SequencesArgs args) {
  if (tiles.empty()) return {};
  const size_t bytes = tiles.size() * sizeof(SequenceTile);
  LL_ASSIGN_OR_RETURN(const DevicePtr memory, g.activations.at_least(bytes));
  LL_RETURN_IF_ERROR(g.device->upload(memory, tiles.data(), bytes));
  args.tiles = as<SequenceTile>(memory);
  return g.device->launch(kernel + std::to_string(dim),
                          {static_cast<unsigned>(tiles.size()), static_cast<unsigned>(heads)}, kSequenceThreads,
                          sequence_shared_bytes(dim, query_rows), args);
}

size_t n_queries(std::span<const Sequence> sequences) {
  size_t end = 0;
  for (const Sequence& s : sequences) end = std::max(end, static_cast<size_t>(s.query_begin + s.n_queries));
  return end;
}

}  // namespace

Status takes_heads(void* self, int head_dim) {
  const Gpu& g = gpu(self);
  if (dim_for(g, head_dim) != 0) return {};
  return Status(Code::Unsupported, "The card " + g.device->card().name + " cannot train a model with heads of " +
                                       std::to_string(head_dim) + " numbers; choose --device cpu");
}

Status attend(void* self, const SequenceAttention& a) {
  LL_RETURN_IF_ERROR(takes_heads(self, a.head_dim));
  Gpu& g = gpu(self);
  const int dim = dim_for(g, a.head_dim);
  return launch(g, "attend_sequences_", dim, 1, tiles_of_queries(a.sequences, sequence_queries(dim)), a.n_heads,
                arguments(a));
}

Status attend_back(void* self, const SequenceAttentionBack& b) {
  const SequenceAttention& a = b.of;
  LL_RETURN_IF_ERROR(takes_heads(self, a.head_dim));
  Gpu& g = gpu(self);
  const int dim = dim_for(g, a.head_dim);
  SequencesArgs args = arguments(a);
  args.dout = as<float>(b.dout), args.dq = as<float>(b.dq), args.dk = as<float>(b.dk), args.dv = as<float>(b.dv);
  const size_t entries = n_queries(a.sequences) * static_cast<size_t>(a.n_heads);
  LL_ASSIGN_OR_RETURN(const DevicePtr along, g.partial.at_least(entries * sizeof(float)));
  args.along = as<float>(along);
  LL_RETURN_IF_ERROR(launch(g, "sequence_queries_back_", dim, 2, tiles_of_queries(a.sequences, sequence_queries(dim)),
                            a.n_heads, args));
  return launch(g, "sequence_keys_back_", dim, 2, tiles_of_keys(a.sequences), a.n_kv_heads, args);
}

}  // namespace longleaf::kernels::cuda
