#include "kernels/cuda/norm.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(rms_norm)
SIMT_KERNEL(add_rms_norm)
SIMT_KERNEL(layer_norm)
