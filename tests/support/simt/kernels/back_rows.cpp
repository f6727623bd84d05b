#include "kernels/cuda/back_rows.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(rms_norm_back)
SIMT_KERNEL(norm_weight_back)
SIMT_KERNEL(cross_entropy)
SIMT_KERNEL(softmax)
SIMT_KERNEL(softmax_back)
SIMT_KERNEL(add_rows)
SIMT_KERNEL(scale_rows)
SIMT_KERNEL(dot_rows)
