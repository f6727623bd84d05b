#include "kernels/cuda/matvec.cu"

#include "tests/support/simt/entries.h"

#define REGISTER(type)           \
  SIMT_KERNEL(matvec_##type##_1) \
  SIMT_KERNEL(matvec_##type##_2) \
  SIMT_KERNEL(matvec_##type##_4) \
  SIMT_KERNEL(matvec_##type##_8)
REGISTER(F32)
REGISTER(F16)
REGISTER(BF16)
BLOCK_FORMATS(REGISTER)
