#!/usr/bin/env bash
# Everything there is to do on a machine with an NVIDIA card, in one command: build, the tests on the card, those under
# compute-sanitizer, the card's limits, rates of products, of models and of answers. Needs a compiler, CMake, Ninja,
# nlohmann-json, Oniguruma, utf8proc and CUDA's toolkit; neither Qt nor a network. Prints Markdown for RESULTS.md.
#
#   tests/bench/gpu.sh [--kernels] [--models FOLDER]
#
#   --kernels   only what needs no engine (and none of those three libraries)
#   --models    where random models are written (up to 16 GB each, one at a time); default: /tmp
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=ON
models=/tmp
while [ $# -gt 0 ]; do
  case "$1" in
    --kernels) engine=OFF ;;
    --models) models=$2; shift ;;
    *) sed -n '2,10p' "$0" >&2; exit 2 ;;
  esac
  shift
done

nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
cmake --preset gpu -DLONGLEAF_CUDA_ARCHITECTURES="$arch" -DLONGLEAF_ENGINE="$engine" >/dev/null
cmake --build --preset gpu
build=build/gpu

failed=0
echo "## Tests on the card"
LONGLEAF_REQUIRE_GPU=1 ctest --test-dir "$build" -L gpu --output-on-failure
for unit in ops matmul attention training; do
  for tool in memcheck racecheck synccheck initcheck; do
    echo "compute-sanitizer $tool, $unit:"
    LONGLEAF_TEST_DEVICE=gpu timeout 300 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$build/tests/kernels_${unit}_test" | tail -n 2 || {
      if [ $? -eq 124 ]; then echo "  not done in 300 s"; else echo "  FAILED"; failed=1; fi
    }
  done
done
if [ "$engine" = ON ]; then
  echo "compute-sanitizer memcheck, transformer:"
  LONGLEAF_TEST_DEVICE=gpu timeout 300 compute-sanitizer --tool memcheck --error-exitcode 1 \
    "$build/tests/engine_transformer_test" | tail -n 2 || {
    if [ $? -eq 124 ]; then echo "  not done in 300 s"; else echo "  FAILED"; failed=1; fi
  }
fi

echo "## Limits of the card"
nvcc -O3 -arch="sm_$arch" -o "$build/gpu_limits" tests/bench/gpu_limits.cu -lcublas
"$build/gpu_limits"

echo "## Products"
for shape in "8192 2048" "18944 3584" "14336 4096"; do
  # shellcheck disable=SC2086
  "$build/bin/matmul_bench" $shape --device cuda --formats BF16,Q8_0,Q4_K --tokens 1,8,252,512,4096
done
[ "$engine" = ON ] || exit $failed

echo "## Models"
for shape in llama-3.2-1b qwen2.5-7b llama-3.1-8b; do
  for format in Q4_K Q8_0 BF16; do
    file="$models/longleaf-random.gguf"
    "$build/bin/random_model" "$shape" "$format" "$file"
    echo "$shape $format"
    "$build/bin/model_bench" "$file" --device cuda --prefill 512,4096 --decode 128
    [ "$format" != Q4_K ] || "$build/bin/document_bench" "$file" cuda 10000 100000 1000000
    [ "$shape $format" != "llama-3.2-1b Q8_0" ] ||
      "$build/bin/train_bench" "$file" 2048 256 3 cuda || echo "  not all of it had room"
    rm -f "$file"
  done
done
exit $failed
