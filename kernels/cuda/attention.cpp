// Span attention: few tokens by rows, split over keys; many by tiles, on tensor cores.
#include <algorithm>

#include "kernels/cuda/gpu.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kMostSplits = 64;
constexpr int kChunk = 64;                   // keys that attend_rows scores at a time
constexpr int kTileDims[] = {64, 128, 256};  // heads that attend_tiles is compiled for
constexpr int kTileRows = 64;

// Enough blocks of threads for every multiprocessor twice over; the same number whatever the number of tokens.
int splits_for(const Card& card, int n_kv_heads) {
  return std::clamp((2 * card.multiprocessors + n_kv_heads - 1) / n_kv_heads, 1, kMostSplits);
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
  args.n_splits = args.n_tokens <= kSameBits ? splits_for(g.device->card(), args.kv.n_kv_heads) : 1;
  const auto rows = static_cast<size_t>(args.n_tokens) * static_cast<size_t>(args.n_heads);
  LL_ASSIGN_OR_RETURN(const DevicePtr partial,
                      g.partial.at_least(rows * static_cast<size_t>(args.n_splits) *
                                         static_cast<size_t>(args.kv.head_dim + 2) * sizeof(float)));
  args.partial = as<float>(partial);
  const int group = args.n_heads / args.kv.n_kv_heads;
  const auto shared = static_cast<unsigned>(group * (3 * args.kv.head_dim + kChunk + 3)) * 4;
  LL_RETURN_IF_ERROR(
      g.device->launch("attend_rows", {heads, tokens, static_cast<unsigned>(args.n_splits)}, kThreads, shared, args));
  return g.device->launch("attend_join", {static_cast<unsigned>(args.n_heads), tokens}, kThreads, 0, args);
}

// The smallest compiled size that holds such heads; 0 for none.
int tile_dim(int head_dim) {
  for (int dim : kTileDims)
    if (head_dim <= dim) return dim;
  return 0;
}

unsigned tile_shared_bytes(int dim) { return 3 * kTileRows * static_cast<unsigned>(dim + 8) * 2; }

}  // namespace

Status span_attention(void* self, const SpanAttentionArgs& a) {
  if (a.n_tokens == 0) return {};
  Gpu& g = gpu(self);
  const AttentionArgs args = arguments(a);
  const int dim = tile_dim(a.kv.head_dim);
  const bool has_tiles = a.kv.type == DType::F16 && a.kv.head_dim % 8 == 0 && dim != 0 &&
                         tile_shared_bytes(dim) <= g.device->card().shared_bytes;
  if (!has_tiles || a.n_tokens <= kSameBits) return attend_rows(g, args);
  const int rows = a.n_tokens * (a.n_heads / a.kv.n_kv_heads);
  return g.device->launch("attend_tiles_" + std::to_string(dim),
                          {static_cast<unsigned>(a.kv.n_kv_heads), pieces(rows, kTileRows)}, kThreads,
                          tile_shared_bytes(dim), args);
}

}  // namespace longleaf::kernels::cuda
