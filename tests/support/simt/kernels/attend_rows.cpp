#include "kernels/cuda/attend_rows.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(attend_rows)
SIMT_KERNEL(attend_join)
