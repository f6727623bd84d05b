#include "kernels/cuda/attend_tiles.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(attend_tiles_64)
SIMT_KERNEL(attend_tiles_128)
SIMT_KERNEL(attend_tiles_256)
