// Span attention: few tokens by rows, split over keys; many by tiles, on tensor cores.
#include <algorithm>

#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/gpu.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kTileDims[] = {64, 128, 256};  // heads that attend_tiles is compiled for

// Enough blocks of threads for every multiprocessor twice over; the same number whatever the number of tokens.
int splits_for(const Card& card, int n_kv_heads) {
  return std::clamp((2 * card.multiprocessors + n_kv_heads - 1) / n_kv_heads, 1, kMostKeySplits);
}

AttentionArgs arguments(const SpanAttentionArgs& a) {
  return {as<float>(a.q),
          as<float>(a.out),
          nullptr,
          a.kv,
          as<Span>(a.spans),
          as<int32_t>(a.group_begin),
          as<float>(a.inv_freq),
          as<int32_t>(a.positions),
          as<int32_t>(a.base_key),
          a.n_tokens,
          a.n_heads,
          a.first_key,
          a.n_groups,
          a.rope_dims / 2,
          1,
          a.window,
          a.rope_style,
          a.scale,
          a.soft_cap};
}

Status attend_rows(Gpu& g, AttentionArgs args) {
  const auto tokens = static_cast<unsigned>(args.n_tokens), heads = static_cast<unsigned>(args.kv.n_kv_heads);
  const unsigned shared = attend_rows_shared_bytes(args.n_heads / args.kv.n_kv_heads, args.kv.head_dim);
  if (shared > g.device->card().shared_bytes)
    return Status(Code::Unsupported,
                  "The card " + g.device->card().name +
                      " has too little shared memory for the heads of this model; choose --device cpu");
  args.n_splits = args.n_tokens <= kSameBits ? splits_for(g.device->card(), args.kv.n_kv_heads) : 1;
  const auto rows = static_cast<size_t>(args.n_tokens) * static_cast<size_t>(args.n_heads);
  LL_ASSIGN_OR_RETURN(const DevicePtr partial,
                      g.partial.at_least(rows * static_cast<size_t>(args.n_splits) *
                                         static_cast<size_t>(args.kv.head_dim + 2) * sizeof(float)));
  args.partial = as<float>(partial);
  LL_RETURN_IF_ERROR(g.device->launch("attend_rows", {heads, tokens, static_cast<unsigned>(args.n_splits)},
                                      kAttentionThreads, shared, args));
  return g.device->launch("attend_join", {static_cast<unsigned>(args.n_heads), tokens}, kAttentionThreads, 0, args);
}

// The smallest compiled size that holds such heads; 0 for none.
int tile_dim(int head_dim) {
  for (int dim : kTileDims)
    if (head_dim <= dim) return dim;
  return 0;
}

}  // namespace

Status span_attention(void* self, const SpanAttentionArgs& a) {
  if (a.n_tokens == 0) return {};
  Gpu& g = gpu(self);
  const AttentionArgs args = arguments(a);
  const int dim = tile_dim(a.kv.head_dim);
  const bool has_tiles = a.kv.type != DType::F32 && a.kv.head_dim % 8 == 0 && dim != 0 &&
                         attend_tiles_shared_bytes(dim) <= g.device->card().shared_bytes;
  if (!has_tiles || a.n_tokens <= kSameBits) return attend_rows(g, args);
  const int rows = a.n_tokens * (a.n_heads / a.kv.n_kv_heads);
  return g.device->launch("attend_tiles_" + std::to_string(dim),
                          {static_cast<unsigned>(a.kv.n_kv_heads), pieces(rows, kQueryRows)}, kAttentionThreads,
                          attend_tiles_shared_bytes(dim), args);
}

}  // namespace longleaf::kernels::cuda
