#include "kernels/cuda/device.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "kernels/cuda/images.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kLeastCompute = 75;    // Turing: the oldest that CUDA 13 compiles for
constexpr int kLeastDriver = 13000;  // kernels built by CUDA 13 need a driver of CUDA 13
constexpr size_t kRingBytes = size_t{8} << 20;
constexpr size_t kPieceBytes = size_t{1} << 20;   // of an upload, at most
constexpr unsigned kPlainSharedBytes = 48 << 10;  // what a kernel may have without asking

DeviceAddress address(DevicePtr p) { return reinterpret_cast<uintptr_t>(p); }

std::string uuid_text(const Uuid& uuid) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "GPU-";
  for (size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = static_cast<uint8_t>(uuid.bytes[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<Card> describe(const Driver& d, int ordinal) {
  Card card;
  card.ordinal = ordinal;
  DeviceIndex device = 0;
  char name[256] = {};
  Uuid uuid{};
  int major = 0, minor = 0, shared = 0;
  for (const int code :
       {d.device(&device, ordinal), d.device_name(name, sizeof name, device), d.device_uuid(&uuid, device),
        d.device_memory(&card.memory_bytes, device), d.device_attribute(&major, kComputeMajor, device),
        d.device_attribute(&minor, kComputeMinor, device),
        d.device_attribute(&card.multiprocessors, kMultiprocessors, device),
        d.device_attribute(&shared, kMostSharedBytes, device)})
    LL_RETURN_IF_ERROR(d.status(code, "describing itself"));
  card.name = name;
  card.uuid = uuid_text(uuid);
  card.compute = 10 * major + minor;
  card.shared_bytes = static_cast<size_t>(shared);
  return card;
}

Result<Cards> describe_all(const Driver& driver) {
  Cards all;
  int count = 0;
  LL_RETURN_IF_ERROR(driver.status(driver.driver_version(&all.driver_version), "telling its version"));
  LL_RETURN_IF_ERROR(driver.status(driver.device_count(&count), "counting cards"));
  for (int i = 0; i < count; ++i) {
    LL_ASSIGN_OR_RETURN(Card card, describe(driver, i));
    all.cards.push_back(std::move(card));
  }
  return all;
}

// 75 is 7.5.
std::string capability_text(int compute) { return std::to_string(compute / 10) + "." + std::to_string(compute % 10); }

// 12020 is 12.2.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

bool is_named(const Card& card, const std::string& wanted) {
  int ordinal = -1;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), ordinal);
  const bool is_number = error == std::errc() && end == wanted.data() + wanted.size();
  return is_number ? ordinal == card.ordinal : wanted == card.uuid;
}

// The card that is asked for, or the first that can be used; else why there is none.
Result<Card> choose(const Cards& all, const std::string& wanted) {
  Status reason(Code::NotFound, wanted.empty() ? "The NVIDIA driver finds no card; check that one is there"
                                               : "There is no NVIDIA card " + wanted +
                                                     "; longleaf-cli doctor names those that are there");
  for (const Card& card : all.cards) {
    if (!wanted.empty() && !is_named(card, wanted)) continue;
    Status status = usable(card, all.driver_version);
    if (status.ok()) return card;
    reason = std::move(status);
  }
  return reason;
}

}  // namespace

Status usable(const Card& card, int driver_version) {
  if (card.compute < kLeastCompute)
    return Status(Code::Unsupported, "The card " + card.name + " is too old to be used (compute capability " +
                                         capability_text(card.compute) + ", " + capability_text(kLeastCompute) +
                                         " is needed)");
  if (driver_version < kLeastDriver)
    return Status(Code::Unsupported, "The NVIDIA driver is too old (for CUDA " + version_text(driver_version) + ", " +
                                         version_text(kLeastDriver) + " is needed); update it to use the card " +
                                         card.name);
  return {};
}

Result<Cards> find_cards(const std::string& library) {
  LL_ASSIGN_OR_RETURN(const Driver driver, Driver::open(library));
  return describe_all(driver);
}

Result<std::unique_ptr<Device>> Device::open(const DeviceOptions& options) {
  LL_ASSIGN_OR_RETURN(const Driver driver, Driver::open(options.library));
  LL_ASSIGN_OR_RETURN(const Cards all, describe_all(driver));
  LL_ASSIGN_OR_RETURN(Card card, choose(all, options.card));
  const auto images = options.images.empty() ? embedded_images() : options.images;
  if (images.empty())
    return Status(Code::Unsupported, "This build has no kernels for GPUs; build it where CUDA's compiler is installed");
  std::unique_ptr<Device> device(new Device(driver, std::move(card), options));
  const Status started = device->start(images);
  if (started.code() == Code::DeviceLost)
    return Status(Code::Unsupported, "The card " + device->card_.name + " does not start: " + started.message());
  if (!started.ok()) return started;
  return device;
}

Device::Device(const Driver& driver, Card card, const DeviceOptions& options)
    : driver_(driver), management_(options.library), card_(std::move(card)), limit_bytes_(options.limit_bytes) {
  memory_.total_bytes = card_.memory_bytes;
}

Status Device::start(std::span<const void* const> images) {
  const auto checked = [this](int code) { return driver_.status(code, "starting"); };
  LL_RETURN_IF_ERROR(checked(driver_.retain_context(&context_, card_.ordinal)));
  LL_RETURN_IF_ERROR(attach());
  LL_RETURN_IF_ERROR(checked(driver_.create_stream(&stream_, kStreamNonBlocking)));
  for (Event& event : half_read_) LL_RETURN_IF_ERROR(checked(driver_.create_event(&event, kEventDisableTiming)));
  for (Event& event : timed_) LL_RETURN_IF_ERROR(checked(driver_.create_event(&event, kEventDefault)));
  void* ring = nullptr;
  LL_RETURN_IF_ERROR(checked(driver_.allocate_host(&ring, kRingBytes, 0)));
  ring_ = static_cast<char*>(ring);
  return load(images);
}

Status Device::load(std::span<const void* const> images) {
  for (const void* image : images) {
    Module module = nullptr;
    const int code = driver_.load_module(&module, image);
    if (code == kNoBinaryForGpu)
      return Status(Code::Unsupported, "This build has no kernels for the card " + card_.name +
                                           " (compute capability " + capability_text(card_.compute) +
                                           "); build it for that architecture");
    if (code == kUnsupportedPtxVersion)
      return Status(Code::Unsupported, "The NVIDIA driver is too old for this program's kernels on the card " +
                                           card_.name + " (" + driver_.name_of(code) + "); update the driver");
    LL_RETURN_IF_ERROR(driver_.status(code, "loading kernels"));
    modules_.push_back(module);
  }
  return {};
}

Device::~Device() {
  if (context_ == nullptr) return;
  const bool works = driver_.set_context(context_) == kSuccess && driver_.wait_for_stream(stream_) == kSuccess;
  if (works) {
    for (const auto& [memory, bytes] : sizes_) driver_.release(address(memory));
    if (ring_ != nullptr) driver_.release_host(ring_);
    for (Event event : {half_read_[0], half_read_[1], timed_[0], timed_[1]})
      if (event != nullptr) driver_.destroy_event(event);
    if (stream_ != nullptr) driver_.destroy_stream(stream_);
    for (Module module : modules_) driver_.unload_module(module);
  } else {
    driver_.reset_context(card_.ordinal);  // frees everything, and gives the next device a sound one
  }
  driver_.release_context(card_.ordinal);
}

Status Device::attach() { return driver_.status(driver_.set_context(context_), "changing threads"); }

// What the driver took for this program besides; asked for now and then, for the answer takes a while.
size_t Device::driver_bytes() {
  constexpr std::chrono::seconds kNow{2};
  const auto now = std::chrono::steady_clock::now();
  if (now - asked_ < kNow) return driver_bytes_;
  asked_ = now;
  if (const auto own = management_.own_bytes(card_.uuid)) driver_bytes_ = *own - std::min(*own, memory_.used_bytes);
  return driver_bytes_;
}

MemoryInfo Device::memory() {
  MemoryInfo info = memory_;
  info.free_bytes = info.total_bytes - std::min(info.total_bytes, info.used_bytes);
  size_t free = 0, total = 0;
  if (attach().ok() && driver_.free_memory(&free, &total) == kSuccess) {
    info.free_bytes = free;
    info.other_bytes = total - std::min(total, free + info.used_bytes + driver_bytes());
  }
  if (limit_bytes_ != 0)
    info.free_bytes = std::min(info.free_bytes, limit_bytes_ - std::min(limit_bytes_, info.used_bytes));
  return info;
}

// What is done at once, and so cannot be recorded.
Status Device::may_be_asked_for() const {
  return is_recording_ ? Status(Code::Unsupported, "What a card is asked for cannot be recorded") : Status();
}

Result<DevicePtr> Device::allocate(size_t bytes) {
  LL_RETURN_IF_ERROR(may_be_asked_for());
  const size_t size = std::max<size_t>(bytes, 1);
  if (limit_bytes_ != 0 && (size > limit_bytes_ || memory_.used_bytes > limit_bytes_ - size))
    return driver_.status(kOutOfMemory, "");
  LL_RETURN_IF_ERROR(attach());
  DeviceAddress memory = 0;
  LL_RETURN_IF_ERROR(driver_.status(driver_.allocate(&memory, size), "taking memory"));
  const auto p = reinterpret_cast<DevicePtr>(static_cast<uintptr_t>(memory));
  sizes_[p] = size;
  memory_.used_bytes += size;
  memory_.peak_bytes = std::max(memory_.peak_bytes, memory_.used_bytes);
  return p;
}

void Device::release(DevicePtr memory) {
  const auto entry = sizes_.find(memory);
  if (entry == sizes_.end()) return;
  memory_.used_bytes -= entry->second;
  sizes_.erase(entry);
  // Kernels that were asked for may still use it. A lost device has freed it already.
  if (finish().ok()) driver_.release(address(memory));
}

Status Device::upload(DevicePtr to, const void* from, size_t bytes) {
  LL_RETURN_IF_ERROR(may_be_asked_for());
  if (bytes > 0) LL_RETURN_IF_ERROR(attach());
  for (size_t done = 0; done < bytes; done += kPieceBytes)
    LL_RETURN_IF_ERROR(
        upload_piece(at(to, done), static_cast<const char*>(from) + done, std::min(kPieceBytes, bytes - done)));
  return {};
}

Status Device::upload_piece(DevicePtr to, const void* from, size_t bytes) {
  constexpr size_t kHalf = kRingBytes / 2;
  if (ring_used_ + bytes > kHalf) {
    LL_RETURN_IF_ERROR(driver_.status(driver_.record_event(half_read_[half_], stream_), "copying to it"));
    half_ = 1 - half_;
    ring_used_ = 0;
    LL_RETURN_IF_ERROR(driver_.status(driver_.wait_for_event(half_read_[half_]), "copying to it"));
  }
  char* place = ring_ + static_cast<size_t>(half_) * kHalf + ring_used_;
  std::memcpy(place, from, bytes);
  ring_used_ += (bytes + 15) / 16 * 16;
  return driver_.status(driver_.upload(address(to), place, bytes, stream_), "copying to it");
}

Status Device::finish() {
  LL_RETURN_IF_ERROR(may_be_asked_for());
  LL_RETURN_IF_ERROR(attach());
  return driver_.status(driver_.wait_for_stream(stream_), "computing");
}

Status Device::download(void* to, DevicePtr from, size_t bytes) {
  if (bytes == 0) return {};
  LL_RETURN_IF_ERROR(may_be_asked_for());
  LL_RETURN_IF_ERROR(attach());
  LL_RETURN_IF_ERROR(driver_.status(driver_.download(to, address(from), bytes, stream_), "copying from it"));
  return driver_.status(driver_.wait_for_stream(stream_), "computing");
}

Status Device::launch_raw(const std::string& kernel, Grid grid, unsigned threads, unsigned shared_bytes, void* args) {
  LL_RETURN_IF_ERROR(attach());
  LL_ASSIGN_OR_RETURN(const Function f, function(kernel, shared_bytes));
  void* parameters[] = {args};
  return driver_.status(
      driver_.launch(f, grid.x, grid.y, grid.z, threads, 1, 1, shared_bytes, stream_, parameters, nullptr),
      "starting a kernel");
}

Result<Stream> Device::stream() {
  LL_RETURN_IF_ERROR(attach());
  return stream_;
}

Result<float> Device::time(const std::function<Status()>& work) {
  const auto checked = [this](int code) { return driver_.status(code, "computing"); };
  LL_RETURN_IF_ERROR(attach());
  LL_RETURN_IF_ERROR(checked(driver_.record_event(timed_[0], stream_)));
  LL_RETURN_IF_ERROR(work());
  LL_RETURN_IF_ERROR(checked(driver_.record_event(timed_[1], stream_)));
  LL_RETURN_IF_ERROR(checked(driver_.wait_for_event(timed_[1])));
  float ms = 0;
  LL_RETURN_IF_ERROR(checked(driver_.ms_between(&ms, timed_[0], timed_[1])));
  return ms;
}

Result<GraphExec> Device::record(const std::function<Status()>& work) {
  const auto checked = [this](int code) { return driver_.status(code, "recording"); };
  LL_RETURN_IF_ERROR(attach());
  LL_RETURN_IF_ERROR(checked(driver_.begin_capture(stream_, kCaptureThreadLocal)));
  is_recording_ = true;
  const Status worked = work();
  is_recording_ = false;
  Graph graph = nullptr;
  const Status ended = checked(driver_.end_capture(stream_, &graph));  // also where the work went wrong
  GraphExec recording = nullptr;
  Status status = worked.ok() ? ended : worked;
  if (status.ok()) status = checked(driver_.instantiate(&recording, graph, 0));
  if (graph != nullptr) driver_.destroy_graph(graph);
  if (!status.ok()) return status;
  return recording;
}

Status Device::replay(GraphExec recording) {
  LL_RETURN_IF_ERROR(attach());
  return driver_.status(driver_.launch_graph(recording, stream_), "starting what was recorded");
}

void Device::forget(GraphExec recording) {
  if (attach().ok()) driver_.destroy_executable(recording);
}

Result<Function> Device::function(const std::string& kernel, unsigned shared_bytes) {
  Kernel& k = kernels_[kernel];
  for (size_t i = 0; k.function == nullptr && i < modules_.size(); ++i) {
    const int code = driver_.function(&k.function, modules_[i], kernel.c_str());
    if (code == kNotFound)
      k.function = nullptr;
    else
      LL_RETURN_IF_ERROR(driver_.status(code, "finding a kernel"));
  }
  if (k.function == nullptr) return Status(Code::Unsupported, "This program has no kernel " + kernel + " for GPUs");
  if (shared_bytes > std::max(kPlainSharedBytes, k.shared_bytes)) {
    LL_RETURN_IF_ERROR(
        driver_.status(driver_.set_function(k.function, kMaxDynamicSharedBytes, static_cast<int>(shared_bytes)),
                       "preparing a kernel"));
    k.shared_bytes = shared_bytes;
  }
  return k.function;
}

}  // namespace longleaf::kernels::cuda
