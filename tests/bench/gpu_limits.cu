// What a card can do at most, to compare our kernels with: bytes read per second by a kernel that only reads, and
// cuBLAS's rate of bfloat16 products. Built by gpu.sh:  nvcc -O3 -arch=native -o gpu_limits gpu_limits.cu -lcublas
#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <cstdio>
#include <cstdlib>

namespace {

void check(int code, const char* what) {
  if (code == 0) return;
  std::printf("%s failed (%d)\n", what, code);
  std::exit(1);
}

// Every thread adds up what it reads, so that no read is left out.
__global__ void read_all(const uint4* from, size_t n, unsigned* out) {
  unsigned sum = 0;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < n; i += size_t{gridDim.x} * blockDim.x) {
    const uint4 x = from[i];
    sum += x.x ^ x.y ^ x.z ^ x.w;
  }
  if (sum == 1) *out = sum;
}

// Milliseconds of one run, the least of five.
template <typename Run>
float milliseconds(const Run& run) {
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start), "cudaEventCreate");
  check(cudaEventCreate(&stop), "cudaEventCreate");
  float best = 1e30f;
  for (int i = 0; i < 6; ++i) {
    check(cudaEventRecord(start), "cudaEventRecord");
    run();
    check(cudaEventRecord(stop), "cudaEventRecord");
    check(cudaEventSynchronize(stop), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, start, stop), "cudaEventElapsedTime");
    if (i > 0 && ms < best) best = ms;
  }
  return best;
}

void measure_reading() {
  const size_t bytes = size_t{4} << 30;
  uint4* memory = nullptr;
  unsigned* out = nullptr;
  check(cudaMalloc(&memory, bytes), "cudaMalloc");
  check(cudaMalloc(&out, sizeof *out), "cudaMalloc");
  check(cudaMemset(memory, 0, bytes), "cudaMemset");
  const float ms = milliseconds([&] { read_all<<<4096, 256>>>(memory, bytes / sizeof(uint4), out); });
  std::printf("reading: %.0f GB/s\n", static_cast<double>(bytes) / ms / 1e6);
  check(cudaFree(memory), "cudaFree");
  check(cudaFree(out), "cudaFree");
}

void measure_product(cublasHandle_t handle, int rows, int cols, int tokens) {
  __nv_bfloat16 *w = nullptr, *x = nullptr, *y = nullptr;
  const size_t n = static_cast<size_t>(rows) * cols, m = static_cast<size_t>(tokens) * cols;
  check(cudaMalloc(&w, n * 2), "cudaMalloc");
  check(cudaMalloc(&x, m * 2), "cudaMalloc");
  check(cudaMalloc(&y, static_cast<size_t>(tokens) * rows * 2), "cudaMalloc");
  check(cudaMemset(w, 0, n * 2), "cudaMemset");
  check(cudaMemset(x, 0, m * 2), "cudaMemset");
  const float one = 1, zero = 0;
  const float ms = milliseconds([&] {
    check(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, rows, tokens, cols, &one, w, CUDA_R_16BF, cols, x, CUDA_R_16BF,
                       cols, &zero, y, CUDA_R_16BF, rows, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
  });
  std::printf("cuBLAS bf16 %d x %d, %d tokens: %.0f GOP/s\n", rows, cols, tokens, 2.0 * n * tokens / ms / 1e6);
  check(cudaFree(w), "cudaFree");
  check(cudaFree(x), "cudaFree");
  check(cudaFree(y), "cudaFree");
}

}  // namespace

int main() {
  measure_reading();
  cublasHandle_t handle;
  check(cublasCreate(&handle), "cublasCreate");
  for (int tokens : {252, 512, 4096}) {
    measure_product(handle, 8192, 2048, tokens);
    measure_product(handle, 18944, 3584, tokens);
    measure_product(handle, 14336, 4096, tokens);
  }
  check(cublasDestroy(handle), "cublasDestroy");
  return 0;
}
