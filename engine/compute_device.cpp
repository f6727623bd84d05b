#include "engine/compute_device.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "kernels/cpu_backend.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda_backend.h"

namespace longleaf {
namespace {

constexpr std::string_view kCuda = "cuda";
constexpr uint64_t kMostSpareBytes = uint64_t{256} << 20;  // see kCudaSpareShare

struct OpenCard {
  kernels::BackendPtr backend;
  uint64_t room = 0;       // bytes
  double bytes_per_s = 0;  // that it reads and writes of its memory; 0: not measured
};

// What bounds the writing of an answer. Returns what the card does.
Result<double> measured_rate(const kernels::Backend& b, uint64_t room) {
  constexpr uint64_t kMostBytes = uint64_t{512} << 20;  // beyond all caches
  constexpr int kRuns = 6;                              // of which the first wake the card up
  const auto n = static_cast<int64_t>(std::min(kMostBytes, room / 4) / sizeof(float));
  LL_ASSIGN_OR_RETURN(const auto buffer, kernels::Buffer::allocate(b, static_cast<size_t>(n) * sizeof(float)));
  double least = 1e9;
  for (int i = 0; i < kRuns; ++i) {
    LL_ASSIGN_OR_RETURN(const double s, b.time(b.self, [&] { return b.scale(b.self, buffer.data(), 0.5f, n); }));
    if (i > kRuns / 2) least = std::min(least, s);
  }
  return 2.0 * static_cast<double>(n) * sizeof(float) / std::max(least, 1e-9);
}

// The faster ones first: they take as many layers as they can. Those about as fast as each other, by their room.
void sort_best_first(std::vector<OpenCard>& cards) {
  constexpr double kAboutAsFast = 1.25;
  std::stable_sort(cards.begin(), cards.end(),
                   [](const OpenCard& a, const OpenCard& b) { return a.bytes_per_s > b.bytes_per_s; });
  for (size_t i = 1; i < cards.size(); ++i)
    for (size_t j = i;
         j > 0 && cards[j].bytes_per_s * kAboutAsFast > cards[j - 1].bytes_per_s && cards[j].room > cards[j - 1].room;
         --j)
      std::swap(cards[j], cards[j - 1]);
}

ComputeDevice processor(const DeviceRequest& request, int n_layers, size_t limit_bytes) {
  return {kernels::make_cpu_backend(
              {.isa = kernels::Isa::Best, .n_threads = request.n_threads, .limit_bytes = limit_bytes}),
          false, n_layers};
}

int layers_of(const DeviceRequest& request) { return static_cast<int>(request.needs.layer_bytes.size()); }

ComputeDevices processor_alone(const DeviceRequest& request, std::string note = {}) {
  ComputeDevices devices;
  devices.all.push_back(processor(request, layers_of(request), request.name == "cpu" ? request.limit_bytes : 0));
  devices.note = std::move(note);
  return devices;
}

// `name` as DeviceRequest has it, of one card.
Result<OpenCard> open_card(const DeviceRequest& request, std::string_view name) {
  kernels::cuda::DeviceOptions options = request.gpu;
  if (name.size() > kCuda.size()) options.card = name.substr(kCuda.size() + 1);
  options.n_threads = request.n_threads;
  options.limit_bytes = request.limit_bytes;
  LL_ASSIGN_OR_RETURN(auto backend, kernels::make_cuda_backend(options));
  const uint64_t free = backend->memory(backend->self).free_bytes;
  return OpenCard{std::move(backend), free - std::min(kMostSpareBytes, free / kernels::kCudaSpareShare)};
}

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

std::string too_large(const DeviceRequest& request, const std::vector<OpenCard>& cards) {
  const OpenCard& card = *std::max_element(cards.begin(), cards.end(),
                                           [](const OpenCard& a, const OpenCard& b) { return a.room < b.room; });
  return "the model needs " + mebibytes(request.needs.all()) + " and " + card.backend->name + " has " +
         mebibytes(card.room) + " for it; close other programs or choose a smaller model";
}

// The cards, best first, with as many layers as they can take, and the processor with the rest.
ComputeDevices shared_out(const DeviceRequest& request, std::vector<OpenCard> cards) {
  std::vector<uint64_t> rooms;
  for (const OpenCard& card : cards) rooms.push_back(card.room);
  const auto placed = place_layers(request.needs, rooms);
  const int left = layers_of(request) - std::accumulate(placed.begin(), placed.end(), 0);
  if (left == layers_of(request) && left > 0) {
    ComputeDevices alone = processor_alone(request, too_large(request, cards));
    alone.wants_room = true;
    return alone;
  }
  ComputeDevices devices;
  if (left > 0) {
    devices.wants_room = true;
    devices.note = std::to_string(left) + " of " + std::to_string(layers_of(request)) +
                   " layers run on the processor: " + too_large(request, cards);
    devices.all.push_back(processor(request, left, 0));
  }
  for (size_t i = cards.size(); i-- > 0;)
    if (placed[i] > 0 || layers_of(request) == 0) devices.all.push_back({std::move(cards[i].backend), true, placed[i]});
  return devices;
}

// Each is opened anew behind it: its memory counts from nothing. Those that fail are left out.
std::vector<OpenCard> measured(const DeviceRequest& request, std::vector<OpenCard> cards) {
  std::vector<OpenCard> sound;
  for (OpenCard& card : cards) {
    const auto rate = measured_rate(*card.backend, card.room);
    const std::string name = std::string(kCuda) + ":" + card.backend->uuid;
    card.backend.reset();
    if (rate.status().code() == Code::DeviceLost) continue;
    auto again = open_card(request, name);
    if (!again.ok()) continue;
    again->bytes_per_s = rate.ok() ? *rate : 0;  // one without room has no rate
    sound.push_back(std::move(*again));
  }
  return sound;
}

ComputeDevices whichever_has_room(const DeviceRequest& request) {
  const auto there = kernels::cuda::find_cards(request.gpu.library);
  if (!there.ok()) return processor_alone(request, there.status().message());
  std::string why = "The NVIDIA driver finds no card";
  std::vector<OpenCard> cards;
  for (const auto& one : there->cards) {
    auto card = open_card(request, std::string(kCuda) + ":" + std::to_string(one.ordinal));
    if (!card.ok()) {
      why = card.status().message();
      continue;
    }
    const bool has_room = card->room >= request.needs.all();
    if (has_room) cards.clear();
    cards.push_back(std::move(*card));
    if (has_room) break;
  }
  if (cards.size() > 1) cards = measured(request, std::move(cards));
  if (cards.empty()) return processor_alone(request, why);
  sort_best_first(cards);
  ComputeDevices devices = shared_out(request, std::move(cards));
  if (!devices.has_gpu()) devices.note = "The processor is used: " + devices.note;
  return devices;
}

std::vector<std::string> split(const std::string& names) {
  std::vector<std::string> parts = {""};
  for (char c : names) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool is_card(const std::string& name) {
  return name == kCuda || (name.starts_with("cuda:") && name.size() > kCuda.size() + 1);
}

}  // namespace

bool ComputeDevices::has_gpu() const {
  return std::any_of(all.begin(), all.end(), [](const ComputeDevice& device) { return device.is_gpu; });
}

std::string ComputeDevices::name() const {
  if (all.size() == 1) return all[0].backend->name;
  std::string text;
  for (auto device = all.rbegin(); device != all.rend(); ++device)
    text += (text.empty() ? "" : " + ") + device->backend->name + " (" + std::to_string(device->n_layers) +
            (device->n_layers == 1 ? " layer)" : " layers)");
  return text;
}

Placement ComputeDevices::placement() const {
  Placement placement;
  for (const ComputeDevice& device : all) placement.push_back({device.backend.get(), device.n_layers});
  return placement;
}

kernels::MemoryInfo ComputeDevices::memory() const {
  kernels::MemoryInfo sum;
  for (const ComputeDevice& device : all) {
    if (has_gpu() && !device.is_gpu) continue;
    const auto memory = device.backend->memory(device.backend->self);
    sum.used_bytes += memory.used_bytes;
    sum.peak_bytes += memory.peak_bytes;
    sum.total_bytes += memory.total_bytes;
    sum.free_bytes += memory.free_bytes;
    sum.other_bytes += memory.other_bytes;
  }
  return sum;
}

Result<ComputeDevices> open_devices(const DeviceRequest& request) {
  if (request.name == "cpu") return processor_alone(request);
  if (request.name == "auto") return whichever_has_room(request);
  const auto names = split(request.name);
  if (!std::all_of(names.begin(), names.end(), is_card))
    return Status(Code::Invalid, "There is no device " + request.name +
                                     "; --device takes auto, cpu, cuda or cuda:N (longleaf-cli doctor names cards)");
  std::vector<OpenCard> cards;
  std::set<std::string> uuids;
  for (const auto& name : names) {
    LL_ASSIGN_OR_RETURN(auto card, open_card(request, name));
    if (!uuids.insert(card.backend->uuid).second)
      return Status(Code::Invalid, "The card " + card.backend->name + " is named twice in " + request.name);
    cards.push_back(std::move(card));
  }
  ComputeDevices devices = shared_out(request, std::move(cards));
  if (!devices.has_gpu()) return Status(Code::NoMemory, "No layer of the model fits on the card: " + devices.note);
  return devices;
}

Result<ComputeDevices> open_one_device(DeviceRequest request) {
  request.needs = {};
  ComputeDevices devices;
  if (request.name != "auto") {
    LL_ASSIGN_OR_RETURN(devices, open_devices(request));
    if (devices.all.size() == 1) return devices;
    return Status(Code::Invalid, "This runs on one card; name one of " + request.name);
  }
  OpenCard best;
  if (const auto there = kernels::cuda::find_cards(request.gpu.library); there.ok()) {
    for (const auto& one : there->cards) {
      auto card = open_card(request, std::string(kCuda) + ":" + std::to_string(one.ordinal));
      if (card.ok() && card->room > best.room) best = std::move(*card);
    }
  }
  if (best.backend != nullptr)
    devices.all.push_back({std::move(best.backend), true, 0});
  else
    devices.all.push_back(processor(request, 0, request.limit_bytes));
  return devices;
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
  facts.has_products_library = kernels::cuda::BlasFunctions{}.find_all("");
  return facts;
}

}  // namespace longleaf
