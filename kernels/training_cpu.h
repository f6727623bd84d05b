// The twins of the operations of training: plain loops with sums in double, written to be read. Contracts: training.h.
// Every faster version is tested against these, and these against differences of the functions they differentiate.
// Any thread.
#pragma once

#include "kernels/training.h"

namespace longleaf::kernels::twin {

void gemm(const GemmArgs& args);
void rms_norm_back(const NormBack& args);
void gate_back(const GateBack& args);
void attention(const SequenceAttention& args);
void attention_back(const SequenceAttentionBack& args);
void cross_entropy(const CrossEntropy& args);
void softmax(const SoftmaxArgs& args);
void softmax_back(const SoftmaxArgs& args);
void adam(const AdamStep& step);

// activation(x), and its slope there.
struct Bend {
  double value, slope;
};
Bend bend(Activation activation, double x);

}  // namespace longleaf::kernels::twin
