#!/usr/bin/env bash
# What each kernel takes of a card: registers, spilled bytes, static shared memory. Fails if any kernel spills or does not
# compile. resources.sh [ARCHITECTURE …], by default all that are supported; nvcc must be there, a card need not.
set -euo pipefail
cd "$(dirname "$0")/../.."
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[ -x "$nvcc" ] || { echo "nvcc is not installed; it comes with NVIDIA's CUDA Toolkit" >&2; exit 77; }
[ $# -gt 0 ] || set -- 75 80 86 89 90 100 120
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One line per kernel: name, registers, spilled bytes, static shared bytes.
table() {
  awk '
    /Function properties for/ { name = $NF; sub(/.*for /, "", name) }
    /spill stores/ { match($0, /[0-9]+ bytes spill stores/); spill = substr($0, RSTART) + 0 }
    /Used [0-9]+ registers/ {
      match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
      shared = 0
      if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART) + 0
      printf "%-22s %4d %6d %7d\n", name, registers, spill, shared
    }'
}

# compile ARCHITECTURE SOURCE: what the assembler says goes into one file per pair.
compile() {
  "$nvcc" -std=c++20 -cubin -arch="sm_$1" --expt-relaxed-constexpr -I. -Xptxas -v -o /dev/null "$2" \
    >"$work/$1-$(basename "$2")" 2>&1 || { cat "$work/$1-$(basename "$2")" >&2; return 1; }
}
export -f compile
export nvcc work
for arch in "$@"; do printf "$arch %s\n" kernels/cuda/*.cu; done | xargs -P "$(nproc)" -n 2 bash -c 'compile "$@"' _

spilled=0
for arch in "$@"; do
  printf 'sm_%s\n%-22s %4s %6s %7s\n' "$arch" kernel regs spill shared
  cat "$work/$arch"-* | table | sort | tee "$work/table"
  [ -s "$work/table" ] || { echo "No kernel was found" >&2; exit 1; }
  spilled=$((spilled + $(awk '$3 > 0' "$work/table" | wc -l)))
done
[ "$spilled" -eq 0 ] || { echo "$spilled kernels spill registers" >&2; exit 1; }
