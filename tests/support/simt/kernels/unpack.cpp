#include "kernels/cuda/unpack.cu"

#include "tests/support/simt/entries.h"

#define REGISTER(type) SIMT_KERNEL(unpack_##type)
REGISTER(F32)
REGISTER(F16)
REGISTER(BF16)
BLOCK_FORMATS(REGISTER)
