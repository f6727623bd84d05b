#include "kernels/cuda/back_elements.cu"

#include "tests/support/simt/entries.h"

SIMT_KERNEL(copy_numbers)
SIMT_KERNEL(gate_back)
SIMT_KERNEL(leaky)
SIMT_KERNEL(leaky_back)
SIMT_KERNEL(adam)
SIMT_KERNEL(squares)
