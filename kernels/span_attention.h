// Span attention: every query row attends, with one softmax, to the union of disjoint key spans that its plan names.
// DESIGN: the engine's one idea. Online softmax: Milakov & Gimelshein, arXiv 1805.02867.
//
//   out[t,h] = softmax over visible keys of soft_cap( scale * <R(-shift) q[t,h], k[key,h/G]> ) · v[key,h/G]
//
// Keys lie rotated at the position where they were read; a span that now stands `rope_shift` positions further on is
// served by rotating the query back, once per distinct shift.
#pragma once

#include "kernels/types.h"

namespace longleaf::kernels {

// Tokens per page of a KV store. A page holds, per layer, K then V, each (n_kv_heads, kPageTokens, head_dim).
constexpr int kPageTokens = 64;

struct Span {
  int32_t key_begin = 0;  // index into the KV store
  int32_t length = 0;
  int32_t rope_shift = 0;  // new position minus the position at which the keys were rotated
  int32_t causal = 0;      // 1: a query sees keys up to and including its own index; 0: all keys of the span
  int32_t position = 0;    // where the first key stands now, behind the shift; looked at only where there is a window
  bool operator==(const Span&) const = default;
};

// One layer of a paged KV store.
struct KvView {
  DevicePtr page_table = nullptr;  // DevicePtr[n_pages], in device memory
  size_t layer_offset = 0;         // bytes from a page's start to this layer's K
  DType type = DType::F16;         // F32, F16, or Q8_0 where head_dim is a multiple of kKvBlock
  int n_kv_heads = 0;
  int head_dim = 0;
};

// Numbers of a Q8_0 row that share a scale, largest / 127 rounded up to a half; each is rounded to a multiple of it, so
// it is off by no more than half a scale. A NaN makes its block NaN; 127 * 65504 is the largest number there is.
constexpr int kKvBlock = 32, kKvBlockBytes = 2 + kKvBlock;  // the scale, then the codes

// Of a head's numbers of one token.
constexpr size_t kv_row_bytes(DType type, int head_dim) {
  const auto n = static_cast<size_t>(head_dim);
  return type == DType::Q8_0 ? n / kKvBlock * kKvBlockBytes : n * (type == DType::F32 ? 4 : 2);
}

constexpr size_t kv_page_layer_bytes(DType type, int n_kv_heads, int head_dim) {
  return 2 * static_cast<size_t>(n_kv_heads) * kPageTokens * kv_row_bytes(type, head_dim);
}

struct SpanAttentionArgs {
  DevicePtr q = nullptr;    // (n_tokens, n_heads, head_dim) f32, rotated to the queries' positions
  DevicePtr out = nullptr;  // (n_tokens, n_heads, head_dim) f32, must not overlap q
  KvView kv;
  int n_tokens = 0;
  int n_heads = 0;    // a multiple of kv.n_kv_heads
  int first_key = 0;  // index in the KV store of the first query's own key, behind base_key
  // Spans of group g (of n_groups, which divides n_kv_heads): spans[group_begin[g] .. group_begin[g+1]).
  DevicePtr spans = nullptr;        // Span[]
  DevicePtr group_begin = nullptr;  // int32[n_groups + 1]
  int n_groups = 1;
  DevicePtr inv_freq = nullptr;  // f32 (rope_dims / 2)
  int rope_dims = 0;             // leading numbers of a head that are rotated; even
  RopeStyle rope_style = RopeStyle::Adjacent;
  float scale = 1.0f;
  float soft_cap = 0;             // > 0: scores become cap * tanh(score / cap) (Gemma 2, arXiv 2408.00118)
  int window = 0;                 // > 0: a query sees only keys less than this many positions before it
  DevicePtr positions = nullptr;  // i32 (n_tokens), of the queries; needed where there is a window
  DevicePtr base_key = nullptr;   // i32 in the device's memory: may change where all else stays; nullptr: 0
};

// Writes rows of K and V of layers into the store, or reads them back without change of value, unless the format is
// another.
//   kv           of the first layer; the others follow it in every page
//   k, v         of the first layer (n_tokens, n_kv_heads, head_dim), `type` a store's; between two formats
//                rows are converted
//   rows_stride  bytes from a layer's rows in k, and in v, to those of the next layer
struct KvRowsArgs {
  KvView kv;
  DevicePtr k = nullptr;
  DevicePtr v = nullptr;
  DType type = DType::F32;
  int n_tokens = 0;
  int first_key = 0;  // and base_key as in SpanAttentionArgs
  int n_layers = 1;
  size_t rows_stride = 0;
  DevicePtr base_key = nullptr;

  int rows() const { return n_layers * n_tokens; }
};

// One layer of a store, `layer` layers on.
constexpr KvView layer_of(KvView view, int layer) {
  view.layer_offset += static_cast<size_t>(layer) * kv_page_layer_bytes(view.type, view.n_kv_heads, view.head_dim);
  return view;
}

}  // namespace longleaf::kernels
