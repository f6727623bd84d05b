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

// Launches the kernel that fills one form of the input; the pointer of the form is set in `args` already.
Status prepare_form(Gpu& g, const char* kernel, const PrepareArgs& args, int n_tokens) {
  const int threads = args.codes != nullptr ? args.cols : args.cols_padded;
  return g.device->launch(kernel, {pieces(threads, kPrepareThreads), static_cast<unsigned>(n_tokens)}, kPrepareThreads,
                          0, args);
}

struct Forms {
  bool codes = false, bfloats = false, floats = false;
};

Forms forms_of(std::span<const Product> products) {
  Forms forms;
  for (const Product& p : products)
    (is_quantized(p.w.type) ? forms.codes : p.w.type == DType::BF16 ? forms.bfloats : forms.floats) = true;
  return forms;
}

// The input in every form that is wanted.
Result<PrepareArgs> prepare(Gpu& g, const Forms& forms, const float* x, int cols, int n_tokens) {
  const auto n = static_cast<size_t>(n_tokens), padded = static_cast<size_t>(padded_cols(cols));
  const int tokens_padded = (n_tokens + 1) / 2 * 2;
  const size_t codes = forms.codes ? rounded(n * static_cast<size_t>(cols)) : 0;
  const size_t metas =
      forms.codes ? rounded(padded / kBlockCols * static_cast<size_t>(tokens_padded) * sizeof(Meta)) : 0;
  const size_t bfloats = forms.bfloats ? rounded(n * padded * 2) : 0, floats = forms.floats ? n * padded * 4 : 0;
  LL_ASSIGN_OR_RETURN(const DevicePtr memory, g.activations.at_least(codes + metas + bfloats + floats));
  PrepareArgs all{x, nullptr, nullptr, nullptr, nullptr, cols, padded_cols(cols), tokens_padded};
  if (forms.codes) {
    all.codes = as<int8_t>(memory);
    all.meta = as<Meta>(at(memory, codes));
    LL_RETURN_IF_ERROR(prepare_form(g, "prepare_codes", all, n_tokens));
  }
  PrepareArgs numbers = all;
  numbers.codes = nullptr;
  if (forms.bfloats) {
    all.bfloats = numbers.bfloats = as<uint16_t>(at(memory, codes + metas));
    LL_RETURN_IF_ERROR(prepare_form(g, "prepare_bfloats", numbers, n_tokens));
  }
  if (forms.floats) {
    all.floats = numbers.floats = as<float>(at(memory, codes + metas + bfloats));
    LL_RETURN_IF_ERROR(prepare_form(g, "prepare_floats", numbers, n_tokens));
  }
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
  const bool has_tensor_cores =
      is_quantized(type) || (type == DType::BF16 && g.device->card().compute >= kFirstBfloatProducts);
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
  LL_ASSIGN_OR_RETURN(const PrepareArgs input, prepare(g, forms_of(products), as<float>(x), cols, n_tokens));
  for (const Product& p : products)
    LL_RETURN_IF_ERROR(multiply(g, p.w.type,
                                {as<uint8_t>(p.w.data), input.codes, input.meta, input.bfloats, input.floats,
                                 as<float>(p.bias), as<float>(p.out), p.w.rows, cols, n_tokens, input.tokens_padded}));
  return {};
}

}  // namespace longleaf::kernels::cuda
