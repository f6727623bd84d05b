// Which device gets a model's layers, and what is said where there is no GPU. The GPU is the emulator's.
#include "engine/compute_device.h"

#include "kernels/cuda/images.h"
#include "tests/support/check.h"
#include "tests/support/simt/control.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

DeviceRequest request(const std::string& name) {
  DeviceRequest r;
  r.name = name;
  r.gpu = simt_options(LONGLEAF_SIMT_DRIVER);
  return r;
}

// What is said when the card is asked for by name.
std::string refusal(const std::string& name = "cuda") {
  const auto device = open_devices(request(name));
  return device.ok() ? "" : device.status().message();
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(without_a_driver_the_processor_computes_and_says_why) {
  DeviceRequest r;
  r.gpu.library = "/nowhere/libcuda.so.1";
  const auto device = open_devices(r);
  REQUIRE_OK(device);
  CHECK(!device->has_gpu());
  CHECK_EQ(device->note,
           "No NVIDIA driver is installed (/nowhere/libcuda.so.1 is missing); install NVIDIA's driver to compute on an "
           "NVIDIA card");
  r.name = "cuda";
  const auto card = open_devices(r);
  CHECK(!card.ok() && card.status().code() == Code::Unsupported && card.status().message() == device->note);
  r.name = "cpu";
  CHECK(open_devices(r)->note.empty());
}

TEST(a_library_that_is_no_driver_is_told_from_a_driver) {
  DeviceRequest r;
  r.name = "cuda";
  r.gpu.library = "libm.so.6";
  const auto device = open_devices(r);
  CHECK(!device.ok() && contains(device.status().message(), "too old (it lacks cuInit)"));
}

TEST(a_device_that_is_none_is_refused) {
  for (const char* name : {"", "gpu", "cuda:", "cuda0", "CPU"}) {
    const auto device = open_devices(request(name));
    CHECK(!device.ok() && device.status().code() == Code::Invalid);
  }
}

TEST(what_a_card_or_its_driver_lacks_is_said_in_a_sentence) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  CHECK_EQ(refusal(), "");
  emulator.settings.driver_version = 12020;
  CHECK_EQ(refusal(),
           "The NVIDIA driver is too old (for CUDA 12.2, 13.0 is needed); update it to use the card Emulated 0");
  emulator.settings = {};
  emulator.settings.compute = 61;
  CHECK_EQ(refusal(), "The card Emulated 0 is too old to be used (compute capability 6.1, 7.5 is needed)");
  emulator.settings = {};
  emulator.settings.cards = 0;
  CHECK(contains(refusal(), "finds no card"));
  emulator.settings = {};
  emulator.settings.init_code = 100;
  CHECK(contains(refusal(), "finds no card"));
  emulator.settings.init_code = 999;
  CHECK(contains(refusal(), "does not start (error 999)"));
}

TEST(a_build_without_kernels_says_so) {
  if (!kernels::cuda::embedded_images().empty()) return;
  DeviceRequest r = request("cuda");
  r.gpu.images = {};
  const auto device = open_devices(r);
  CHECK(!device.ok() && contains(device.status().message(), "This build has no kernels for GPUs"));
}

TEST(cards_are_chosen_by_number_and_by_uuid) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.cards = 2;
  CHECK_EQ(open_devices(request("cuda:1"))->name(), "Emulated 1, 16 GiB");
  CHECK_EQ(open_devices(request("cuda:GPU-10111213-1415-1617-1819-1a1b1c1d1e1f"))->name(), "Emulated 1, 16 GiB");
  CHECK_EQ(open_devices(request("cuda"))->name(), "Emulated 0, 16 GiB");
  CHECK_EQ(refusal("cuda:2"), "There is no NVIDIA card 2; longleaf-cli doctor names those that are there");
}

// Ten layers of 8 MiB; 18 MiB behind them and 2 MiB for each device that computes.
DeviceRequest request_of_100_mib(const std::string& name) {
  DeviceRequest r = request(name);
  r.needs.layer_bytes.assign(10, uint64_t{8} << 20);
  r.needs.output_bytes = uint64_t{18} << 20;
  r.needs.workspace_bytes = uint64_t{2} << 20;
  return r;
}

std::vector<int> layers(const ComputeDevices& devices) {
  std::vector<int> all;
  for (const auto& device : devices.all) all.push_back(device.is_gpu ? device.n_layers : -device.n_layers);
  return all;
}

TEST(a_card_takes_the_layers_it_has_room_for_and_the_processor_the_rest) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.memory_bytes = size_t{107} << 20;  // a sixteenth of it is left free
  for (const char* name : {"auto", "cuda"}) {
    CHECK(layers(*open_devices(request_of_100_mib(name))) == std::vector<int>{10});
    emulator.settings.taken_bytes = size_t{40} << 20;
    const auto devices = open_devices(request_of_100_mib(name));
    REQUIRE_OK(devices);
    CHECK(layers(*devices) == (std::vector<int>{-5, 5}));
    CHECK(contains(devices->name(), "Emulated 0, 0 GiB (5 layers) + CPU"));
    CHECK_EQ(devices->note,
             "5 of 10 layers run on the processor: the model needs 100 MiB and Emulated 0, 0 GiB has 62 MiB for it; "
             "close other programs or choose a smaller model");
    emulator.settings.taken_bytes = 0;
  }
}

TEST(a_card_without_room_for_a_layer_leaves_the_model_to_the_processor) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.memory_bytes = size_t{29} << 20;
  const auto devices = open_devices(request_of_100_mib("auto"));
  REQUIRE_OK(devices);
  CHECK(layers(*devices) == std::vector<int>{-10});
  CHECK(contains(devices->note, "needs 100 MiB and Emulated 0, 0 GiB has 27 MiB for it"));
  const auto named = open_devices(request_of_100_mib("cuda"));
  CHECK(!named.ok() && named.status().code() == Code::NoMemory);
  CHECK(contains(named.status().message(), "No layer of the model fits on the card"));
}

TEST(a_full_card_has_no_room) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.taken_bytes = emulator.settings.memory_bytes;
  CHECK(layers(*open_devices(request_of_100_mib("auto"))) == std::vector<int>{-10});
}

TEST(a_limit_counts_like_a_smaller_card) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  DeviceRequest r = request_of_100_mib("auto");
  r.limit_bytes = size_t{67} << 20;
  CHECK(layers(*open_devices(r)) == (std::vector<int>{-5, 5}));
}

TEST(two_cards_share_what_is_too_large_for_one) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.cards = 2;
  emulator.settings.memory_bytes = size_t{70} << 20;
  emulator.settings.taken_bytes = size_t{20} << 20;
  for (const char* name : {"auto", "cuda:1,cuda:0"}) {
    const auto devices = open_devices(request_of_100_mib(name));
    REQUIRE_OK(devices);
    CHECK(layers(*devices) == (std::vector<int>{5, 5}));  // the one with more room has the last layers
    CHECK(devices->note.empty());
    CHECK(contains(devices->name(), "Emulated 1, 0 GiB (5 layers) + Emulated 0, 0 GiB (5 layers)"));
  }
  // The faster one has them where its memory turns out to be faster.
  emulator.settings.slow_card = 1;
  CHECK(contains(open_devices(request_of_100_mib("auto"))->name(),
                 "Emulated 0, 0 GiB (3 layers) + Emulated 1, 0 GiB (7 layers)"));
  CHECK(
      contains(open_devices(request_of_100_mib("cuda:1,cuda:0"))->name(), "Emulated 1, 0 GiB (5 layers) + Emulated 0"));
  for (const char* twice : {"cuda:0,cuda:0", "cuda,cuda:0", "cuda:GPU-00010203-0405-0607-0809-0a0b0c0d0e0f,cuda:00"})
    CHECK(contains(refusal(twice), "named twice"));
  CHECK(refusal("cuda:0,,cuda:1") != "");
}

TEST(auto_takes_the_first_card_with_room) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.cards = 2;
  emulator.settings.memory_bytes = size_t{110} << 20;
  emulator.settings.taken_bytes = size_t{50} << 20;
  const auto devices = open_devices(request_of_100_mib("auto"));
  REQUIRE_OK(devices);
  CHECK_EQ(devices->name(), "Emulated 1, 0 GiB");
}
