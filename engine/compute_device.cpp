#include "engine/compute_device.h"

#include "kernels/cpu_backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda_backend.h"

namespace longleaf {
namespace {

constexpr std::string_view kCuda = "cuda";

ComputeDevice processor(const DeviceRequest& request, std::string why_no_gpu = {}) {
  return {kernels::make_cpu_backend(
              {.isa = kernels::Isa::Best, .n_threads = request.n_threads, .limit_bytes = request.limit_bytes}),
          false, std::move(why_no_gpu)};
}

Result<kernels::BackendPtr> card(const DeviceRequest& request) {
  kernels::cuda::DeviceOptions options = request.gpu;
  if (request.name.size() > kCuda.size() && request.name.starts_with(kCuda))
    options.card = request.name.substr(kCuda.size() + 1);
  options.n_threads = request.n_threads;
  options.limit_bytes = request.limit_bytes;
  return kernels::make_cuda_backend(options);
}

std::string too_large(const std::string& gpu, uint64_t needed, uint64_t free) {
  return "The model needs " + std::to_string(needed >> 20) + " MiB and " + gpu + " has " + std::to_string(free >> 20) +
         " MiB free; the processor is used. Close other programs or choose a smaller model";
}

bool is_card(const std::string& name) {
  return name == kCuda || (name.starts_with("cuda:") && name.size() > kCuda.size() + 1);
}

// The first card that can be used and has room for what is needed; else the processor.
ComputeDevice first_with_room(const DeviceRequest& request) {
  const auto cards = kernels::cuda::find_cards(request.gpu.library);
  if (!cards.ok()) return processor(request, cards.status().message());
  std::string why = "The NVIDIA driver finds no card";
  for (const auto& one : cards->cards) {
    DeviceRequest named = request;
    named.name = "cuda:" + std::to_string(one.ordinal);
    auto backend = card(named);
    if (!backend.ok()) {
      why = backend.status().message();
      continue;
    }
    const size_t free = (*backend)->memory((*backend)->self).free_bytes;
    if (free == 0 || free >= request.needed_bytes) return {std::move(*backend), true, {}};
    why = too_large((*backend)->name, request.needed_bytes, free);
  }
  return processor(request, why);
}

}  // namespace

Result<ComputeDevice> open_device(const DeviceRequest& request) {
  if (request.name == "cpu") return processor(request);
  if (is_card(request.name)) {
    LL_ASSIGN_OR_RETURN(auto backend, card(request));
    return ComputeDevice{std::move(backend), true, {}};
  }
  if (request.name != "auto")
    return Status(Code::Invalid, "There is no device " + request.name +
                                     "; --device takes auto, cpu, cuda or cuda:N (longleaf-cli doctor names cards)");
  return first_with_room(request);
}

DeviceFacts describe_devices() {
  const auto cpu = kernels::make_cpu_backend();
  DeviceFacts facts;
  facts.processor = cpu->name;
  facts.memory_bytes = cpu->memory(cpu->self).total_bytes;
  const auto cards = kernels::cuda::find_cards();
  if (!cards.ok()) {
    facts.why_no_gpu = cards.status().message();
    return facts;
  }
  facts.driver_version = cards->driver_version;
  for (const auto& card : cards->cards) {
    const Status usable = kernels::cuda::usable(card, cards->driver_version);
    facts.gpus.push_back({card.name, card.uuid, card.memory_bytes, card.compute, usable.ok() ? "" : usable.message()});
  }
  const auto backend = kernels::make_cuda_backend();
  if (!backend.ok()) facts.why_no_gpu = backend.status().message();
  return facts;
}

}  // namespace longleaf
