// The operations of training on the CPU: what is cut how for threads. The twins where the backend has no others.
#include <cstring>
#include <limits>

#include "kernels/blocks.h"
#include "kernels/cpu_device.h"
#include "kernels/fast_training.h"
#include "kernels/ops_cpu.h"
#include "kernels/training_cpu.h"

namespace longleaf::kernels {
namespace {

constexpr int kRowsAtOnce = 16;  // by one thread
constexpr int kColsAtOnce = 64;
constexpr int kPiecesPerThread = 4;  // of a product: what the fastest thread may take over from the slowest
constexpr int kTileRowsGrain = 12, kTileColsGrain = 32;  // whole tiles of every instruction set

const FastTraining* fast(void* self) { return cpu(self).ops == nullptr ? nullptr : cpu(self).ops->training; }

Status copy(void*, DevicePtr from, DevicePtr to, size_t bytes) {
  std::memcpy(to, from, bytes);
  return {};
}

Status unpack(void* self, const Weight& rows, DevicePtr, DevicePtr out) {
  const size_t stride = row_bytes(rows.type, rows.cols);
  cpu(self).pool.parallel_for(rows.rows, kRowsAtOnce, [&](int first, int last, int) {
    for (int i = first; i < last; ++i)
      dequantize_row(rows.type, rows.data + static_cast<size_t>(i) * stride, rows.cols,
                     floats(out) + int64_t{i} * rows.cols);
  });
  return {};
}

int pieces_of(int n, int size) { return (n + size - 1) / size; }

// A product cut in pieces of whole tiles, about as many as wanted. A piece copies its rows of a and its columns of b:
// of all ways to cut, the one that copies least.
struct Cut {
  int rows, cols;  // of a piece
};
Cut cut(const GemmArgs& g, int wanted) {
  const auto size = [](int n, int pieces, int grain) { return pieces_of(pieces_of(n, pieces), grain) * grain; };
  Cut best{g.m, g.n};
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int down = 1; down <= wanted; ++down) {
    const int across = pieces_of(wanted, down);
    const int64_t copied = int64_t{down} * g.n + int64_t{across} * g.m;
    if (copied < least) least = copied, best = {size(g.m, down, kTileRowsGrain), size(g.n, across, kTileColsGrain)};
  }
  return best;
}

Status gemm(void* self, const GemmArgs& args) {
  Cpu& c = cpu(self);
  if (args.m == 0 || args.n == 0) return {};
  if (fast(self) == nullptr) {
    twin::gemm(args);
    return {};
  }
  LL_RETURN_IF_ERROR(c.reserve_scratch(kGemmScratch));
  const Cut piece = cut(args, kPiecesPerThread * c.pool.n_threads());
  const int across = pieces_of(args.n, piece.cols);
  c.pool.parallel_for(across * pieces_of(args.m, piece.rows), 1, [&](int begin, int end, int thread) {
    for (int i = begin; i < end; ++i) {
      const int row = i / across * piece.rows, col = i % across * piece.cols;
      fast(self)->gemm(args, row, std::min(args.m, row + piece.rows), col, std::min(args.n, col + piece.cols),
                       c.scratch_for(thread));
    }
  });
  return {};
}

Status rms_norm_back(void* self, const NormBack& args) {
  Cpu& c = cpu(self);
  if (fast(self) == nullptr) {
    twin::rms_norm_back(args);
    return {};
  }
  LL_RETURN_IF_ERROR(c.grow({&c.plain, 1}, static_cast<size_t>(args.rows)));
  c.pool.parallel_for(args.rows, kRowsAtOnce,
                      [&](int first, int last, int) { fast(self)->rms_norm_back(args, first, last, c.plain.data()); });
  if (args.dweight == nullptr) return {};
  c.pool.parallel_for(pieces_of(args.cols, kColsAtOnce), 1, [&](int begin, int end, int) {
    fast(self)->norm_weight_back(args, c.plain.data(), begin * kColsAtOnce, std::min(args.cols, end * kColsAtOnce));
  });
  return {};
}

Status gate_back(void* self, const GateBack& args) {
  if (fast(self) == nullptr || args.activation == Activation::GeluErf)
    twin::gate_back(args);
  else
    over_elements(cpu(self), args.n, [&](int64_t first, int64_t last) { fast(self)->gate_back(args, first, last); });
  return {};
}

// Queries of one head of one sequence.
struct Piece {
  const Sequence* sequence;
  int head, first, last;
};

std::vector<Piece> query_pieces(const SequenceAttention& args) {
  std::vector<Piece> pieces;
  for (const Sequence& s : args.sequences)
    for (int head = 0; head < args.n_heads; ++head)
      for (int first = 0; first < s.n_queries; first += kAttendRows)
        pieces.push_back({&s, head, first, std::min(s.n_queries, first + kAttendRows)});
  return pieces;
}

size_t scratch_of(const SequenceAttention& args) {
  int longest = 0;
  for (const Sequence& s : args.sequences) longest = std::max(longest, s.n_keys);
  return sequence_scratch(longest);
}

Status takes_heads(void*, int) { return {}; }

Status attention(void* self, const SequenceAttention& args) {
  Cpu& c = cpu(self);
  if (fast(self) == nullptr) {
    twin::attention(args);
    return {};
  }
  LL_RETURN_IF_ERROR(c.reserve_scratch(scratch_of(args)));
  const std::vector<Piece> pieces = query_pieces(args);
  c.pool.parallel_for(static_cast<int>(pieces.size()), 1, [&](int begin, int end, int thread) {
    for (int i = begin; i < end; ++i) {
      const Piece& p = pieces[static_cast<size_t>(i)];
      fast(self)->attend_sequence(args, *p.sequence, p.head, p.first, p.last, c.scratch_for(thread));
    }
  });
  return {};
}

Status attention_back(void* self, const SequenceAttentionBack& args) {
  Cpu& c = cpu(self);
  if (fast(self) == nullptr) {
    twin::attention_back(args);
    return {};
  }
  LL_RETURN_IF_ERROR(c.reserve_scratch(scratch_of(args.of)));
  const int heads = args.of.n_kv_heads, n = static_cast<int>(args.of.sequences.size()) * heads;
  c.pool.parallel_for(n, 1, [&](int begin, int end, int thread) {
    for (int i = begin; i < end; ++i)
      fast(self)->attend_sequence_back(args, args.of.sequences[static_cast<size_t>(i / heads)], i % heads,
                                       c.scratch_for(thread));
  });
  return {};
}

Status cross_entropy(void* self, const CrossEntropy& args) {
  if (fast(self) == nullptr)
    twin::cross_entropy(args);
  else
    cpu(self).pool.parallel_for(args.rows, 1,
                                [&](int first, int last, int) { fast(self)->cross_entropy(args, first, last); });
  return {};
}

Status softmax(void*, const SoftmaxArgs& args) {
  twin::softmax(args);
  return {};
}

Status softmax_back(void*, const SoftmaxArgs& args) {
  twin::softmax_back(args);
  return {};
}

Status add_rows(void* self, DevicePtr rows, DevicePtr ids, int n, int cols, DevicePtr x) {
  const auto* to = reinterpret_cast<const int32_t*>(ids);
  cpu(self).pool.parallel_for(pieces_of(cols, kColsAtOnce), 1, [&](int begin, int end, int) {
    for (int i = 0; i < n; ++i)
      for (int c = begin * kColsAtOnce; c < std::min(cols, end * kColsAtOnce); ++c)
        floats(x)[int64_t{to[i]} * cols + c] += floats(rows)[int64_t{i} * cols + c];
  });
  return {};
}

Status scale_rows(void*, DevicePtr x, DevicePtr factors, int rows, int cols, DevicePtr out, bool add) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = i * cols; c < (i + 1) * cols; ++c)
      floats(out)[c] = (add ? floats(out)[c] : 0.0f) + floats(x)[c] * floats(factors)[i];
  return {};
}

Status dot_rows(void*, DevicePtr x, DevicePtr y, int rows, int cols, DevicePtr out) {
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (int64_t c = i * cols; c < (i + 1) * cols; ++c) sum += double{floats(x)[c]} * double{floats(y)[c]};
    floats(out)[i] += static_cast<float>(sum);
  }
  return {};
}

Status leaky(void*, DevicePtr x, float slope, int64_t n, DevicePtr y) {
  for (int64_t i = 0; i < n; ++i) floats(y)[i] = floats(x)[i] * (floats(x)[i] > 0 ? 1.0f : slope);
  return {};
}

Status leaky_back(void*, DevicePtr x, DevicePtr dy, float slope, int64_t n, DevicePtr dx) {
  for (int64_t i = 0; i < n; ++i) floats(dx)[i] += floats(dy)[i] * (floats(x)[i] > 0 ? 1.0f : slope);
  return {};
}

Status adam(void* self, const AdamStep& step) {
  if (fast(self) == nullptr)
    twin::adam(step);
  else
    over_elements(cpu(self), step.n, [&](int64_t first, int64_t last) { fast(self)->adam(step, first, last); });
  return {};
}

// Tiles are summed in their order, whoever summed them up.
Result<double> squares(void* self, DevicePtr x, int64_t n) {
  Cpu& c = cpu(self);
  const auto tiles = static_cast<size_t>((n + kElementTile - 1) / kElementTile);
  LL_RETURN_IF_ERROR(c.grow({&c.plain, 1}, 2 * tiles));
  auto* sums = reinterpret_cast<double*>(c.plain.data());
  over_elements(c, n, [&](int64_t first, int64_t last) {
    for (int64_t begin = first; begin < last; begin += kElementTile) {
      const int64_t end = std::min(last, begin + kElementTile);
      double sum = 0;
      if (fast(self) != nullptr)
        sum = fast(self)->squares(floats(x), begin, end);
      else
        for (int64_t i = begin; i < end; ++i) sum += double{floats(x)[i]} * double{floats(x)[i]};
      sums[begin / kElementTile] = sum;
    }
  });
  double sum = 0;
  for (size_t i = 0; i < tiles; ++i) sum += sums[i];
  return sum;
}

}  // namespace

const TrainingOps& cpu_training() {
  static const TrainingOps ops{copy,      false,          unpack,        gemm,    rms_norm_back, gate_back, takes_heads,
                               attention, attention_back, cross_entropy, softmax, softmax_back,  add_rows,  scale_rows,
                               dot_rows,  leaky,          leaky_back,    adam,    squares};
  return ops;
}

}  // namespace longleaf::kernels
