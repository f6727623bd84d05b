#include "kernels/cuda/prepare.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(prepare_codes)
SIMT_KERNEL(prepare_bfloats)
SIMT_KERNEL(prepare_halves)
SIMT_KERNEL(prepare_floats)
