#include "kernels/cuda/top.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(top)
