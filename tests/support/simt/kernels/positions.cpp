#include "kernels/cuda/positions.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(rope)
SIMT_KERNEL(kv_write)
SIMT_KERNEL(kv_read)
