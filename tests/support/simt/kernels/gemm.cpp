#include "kernels/cuda/gemm.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(gemm_64)
SIMT_KERNEL(gemm_128)
SIMT_KERNEL(product_F32_64)
SIMT_KERNEL(product_F32_128)
SIMT_KERNEL(product_BF16_64)
SIMT_KERNEL(product_BF16_128)
