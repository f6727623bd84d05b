// The CPU twins: plain loops with sums in double, written to be read. Contracts: backend.h and span_attention.h.
// Every faster version, on any device, is tested against these. Any thread.
#pragma once

#include <vector>

#include "kernels/backend.h"

namespace longleaf::kernels::twin {

void embed(const Weight& table, const int32_t* ids, int n_tokens, float* out);
void rms_norm(const float* x, const float* weight, float eps, int rows, int cols, float* out);
void layer_norm(const float* x, const float* weight, const float* bias, float eps, int rows, int cols, float* out);
// REQUIRES: w.data is not packed, but rows as files store them.
void matmul(const PackedWeight& w, const float* bias, const float* x, int n_tokens, float* out);
void rope(const RopeArgs& args, int first, int last);  // tokens [first, last)
// Rows [first, last) of the tokens of all layers, one layer behind the other.
void kv_write(const KvRowsArgs& args, int first, int last);
void kv_read(const KvRowsArgs& args, int first, int last);
void span_attention(const SpanAttentionArgs& args);
void gate(Activation activation, float* gate, const float* up, int64_t n);
void add(float* x, const float* y, float scale, int64_t n);
void gather_rows(const float* x, const int32_t* ids, int n, int cols, float* out);
void scatter_add(const float* rows, const int32_t* ids, const float* weights, int n, int cols, float* x);
void mean_rows(const float* x, int rows, int cols, float* out);
// Of columns [first, last); -1 where none is a number above minus infinity.
int best(const float* row, int first, int last);
// Of columns [first, last), those of the k largest numbers, largest first: see TopArgs.
std::vector<int32_t> top(const float* row, int first, int last, int k);
// Orders columns of a row as `top` does.
bool comes_before(const float* row, int32_t a, int32_t b);
// Of columns [first, last): see TopArgs::sums.
double softmax_sum(const float* row, int first, int last, float largest, float temperature);

// Rotates one head by `position` (any sign). Angles in double, so that rotations compose.
void rotate_head(float* head, double position, const float* inv_freq, int rope_dims, RopeStyle style);

}  // namespace longleaf::kernels::twin
