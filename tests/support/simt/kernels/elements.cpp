#include "kernels/cuda/elements.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(gate)
SIMT_KERNEL(add)
SIMT_KERNEL(scale)
SIMT_KERNEL(gather_rows)
SIMT_KERNEL(scatter_add)
SIMT_KERNEL(mean_rows)
SIMT_KERNEL(best)
