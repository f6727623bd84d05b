#include "kernels/cuda/matmul.cu"

#include "tests/support/simt/entries.h"

#define REGISTER(type) SIMT_KERNEL(matmul_##type)
REGISTER(BF16)
REGISTER(F16)
BLOCK_FORMATS(REGISTER)
