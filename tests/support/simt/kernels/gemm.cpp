#include "kernels/cuda/gemm.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(gemm_64)
SIMT_KERNEL(gemm_128)
