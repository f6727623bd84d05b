#!/usr/bin/env bash
# Whether what opens a card and launches its kernels compiles for Windows, too. windows.sh COMPILER: a GCC that makes
# programs for Windows (MinGW-w64).
set -euo pipefail
cd "$(dirname "$0")/../.."
for file in kernels/cuda/*.cpp; do
  "$1" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I. "$file"
done
