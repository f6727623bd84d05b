// Matrix products: the input in the form that the weights want, then one kernel per product.
#include <algorithm>

#include "kernels/cuda/gemm_tiles.h"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/steps.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr unsigned kVectorThreads = 128;
constexpr int kVectorRows = 16;           // of a block: 4 warps of 4
constexpr int kFirstBfloatProducts = 80;  // Ampere: the first cards with tensor cores for bfloats
constexpr unsigned kPrepareThreads = 256;

size_t rounded(size_t bytes) { return (bytes + 255) / 256 * 256; }

struct Forms {
  bool codes = false, bfloats = false, halves = false, floats = false;
};

Forms forms_of(std::span<const Product> products, int n_tokens) {
  Forms forms;
  for (const Product& p : products) {
    if (is_quantized(p.w.type))
      forms.codes = true;
    else if (p.w.type == DType::BF16)
      forms.bfloats = true;
    else if (p.w.type == DType::F16 && n_tokens > kSameBits)
      forms.halves = true;
    else
      forms.floats = true;
  }
  return forms;
}

// The input in every form that is wanted.
Result<PrepareArgs> prepare(Gpu& g, const Forms& forms, const float* x, int cols, int n_tokens) {
  const auto n = static_cast<size_t>(n_tokens), padded = static_cast<size_t>(padded_cols(cols));
  const int tokens_padded = (n_tokens + 1) / 2 * 2;
  size_t end = 0;
  const auto place = [&end](bool is_wanted, size_t bytes) {
    const size_t begin = end;
    end += is_wanted ? rounded(bytes) : 0;
    return begin;
  };
  const size_t codes = place(forms.codes, n * static_cast<size_t>(cols));
  const size_t metas = place(forms.codes, padded / kBlockCols * static_cast<size_t>(tokens_padded) * sizeof(Meta));
  const size_t bfloats = place(forms.bfloats, n * padded * 2), halves = place(forms.halves, n * padded * 2);
  const size_t scales = place(forms.halves, n * sizeof(float)), floats = place(forms.floats, n * padded * 4);
  LL_ASSIGN_OR_RETURN(const DevicePtr memory, g.activations.at_least(end));
  const PrepareArgs all{x,
                        as<int8_t>(at(memory, codes)),
                        as<Meta>(at(memory, metas)),
                        as<uint16_t>(at(memory, bfloats)),
                        as<uint16_t>(at(memory, halves)),
                        as<float>(at(memory, scales)),
                        as<float>(at(memory, floats)),
                        cols,
                        padded_cols(cols),
                        tokens_padded};
  const auto tokens = static_cast<unsigned>(n_tokens);
  const Grid by_number{pieces(all.cols_padded, kPrepareThreads), tokens};
  const auto fill = [&](bool is_wanted, const char* kernel, Grid grid) {
    return is_wanted ? g.device->launch(kernel, grid, kPrepareThreads, 0, all) : Status();
  };
  LL_RETURN_IF_ERROR(fill(forms.codes, "prepare_codes", {pieces(cols, kPrepareThreads), tokens}));
  LL_RETURN_IF_ERROR(fill(forms.bfloats, "prepare_bfloats", by_number));
  LL_RETURN_IF_ERROR(fill(forms.halves, "prepare_halves", {1, tokens}));
  LL_RETURN_IF_ERROR(fill(forms.floats, "prepare_floats", by_number));
  return all;
}

// Up to kSameBits tokens, each the same whatever the others are.
Status multiply_few(Gpu& g, DType type, const ProductArgs& args) {
  const char* tokens = args.n_tokens == 1 ? "_1" : args.n_tokens == 2 ? "_2" : args.n_tokens <= 4 ? "_4" : "_8";
  return g.device->launch(std::string("matvec_") + name_of(type) + tokens, {pieces(args.rows, kVectorRows)},
                          kVectorThreads, 0, args);
}

// Without tensor cores: exact sums of floats, and of bfloats on cards that have none for them.
Status multiply_plain(Gpu& g, DType type, const ProductArgs& args) {
  const int64_t padded = padded_cols(args.cols);
  const void* input = type == DType::BF16 ? static_cast<const void*>(args.bfloats) : args.floats;
  const auto memory = [](const void* p) { return reinterpret_cast<DevicePtr>(reinterpret_cast<uintptr_t>(p)); };
  GemmArgs gemm;
  gemm.a = {memory(input), padded, 1};
  gemm.b = {memory(args.weight), 1, padded};
  gemm.c = memory(args.out);
  gemm.c_stride = gemm.n = args.rows;
  gemm.m = args.n_tokens, gemm.k = args.cols;
  const int tile = tile_for(gemm.m, gemm.n, g.device->card().multiprocessors);
  return g.device->launch(std::string("product_") + name_of(type) + "_" + std::to_string(tile),
                          {pieces(gemm.n, tile), pieces(gemm.m, tile)}, kGemmThreads, 0,
                          TileProductArgs{gemm, args.bias});
}

Status multiply_many(Gpu& g, DType type, const ProductArgs& args) {
  const bool has_tensor_cores = is_quantized(type) || type == DType::F16 ||
                                (type == DType::BF16 && g.device->card().compute >= kFirstBfloatProducts);
  if (!has_tensor_cores) return multiply_plain(g, type, args);
  return g.device->launch(std::string("matmul_") + name_of(type),
                          {pieces(args.rows, kTileRows), pieces(args.n_tokens, kTileTokens)}, kTileThreads,
                          static_cast<unsigned>(matmul_shared_bytes(type)), args);
}

Status multiply(Gpu& g, DType type, const ProductArgs& args) {
  if (args.n_tokens <= kSameBits) return multiply_few(g, type, args);
  return g.choice.multiply(type, args, [&] { return multiply_many(g, type, args); });
}

}  // namespace

Status matmul(void* self, std::span<const Product> products, DevicePtr x, int n_tokens) {
  if (n_tokens == 0 || products.empty()) return {};
  Gpu& g = gpu(self);
  const int cols = products[0].w.cols;
  LL_ASSIGN_OR_RETURN(const PrepareArgs input, prepare(g, forms_of(products, n_tokens), as<float>(x), cols, n_tokens));
  for (const Product& p : products)
    LL_RETURN_IF_ERROR(
        multiply(g, p.w.type,
                 {as<uint8_t>(p.w.data), input.codes, input.meta, input.bfloats, input.halves, input.scales,
                  input.floats, as<float>(p.bias), as<float>(p.out), p.w.rows, cols, n_tokens, input.tokens_padded}));
  return {};
}

}  // namespace longleaf::kernels::cuda
