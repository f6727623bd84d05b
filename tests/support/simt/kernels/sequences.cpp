#include "kernels/cuda/sequences.cu"

#include "tests/support/simt/entries.h"

#define REGISTER(dim)                     \
  SIMT_KERNEL(attend_sequences_##dim)      \
  SIMT_KERNEL(sequence_queries_back_##dim) \
  SIMT_KERNEL(sequence_keys_back_##dim)
REGISTER(64)
REGISTER(128)
REGISTER(256)
