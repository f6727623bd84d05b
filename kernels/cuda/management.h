// What NVIDIA's management library (NVML) says of a card and the driver does not. The library comes with the driver and
// is opened when the program runs; without it there is less to say. Names and types are those of its reference. Const
// methods: any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace longleaf::kernels::cuda {

class Management {
 public:
  // `library`: the usual name when empty. Never fails: what cannot be opened knows nothing.
  explicit Management(const std::string& library);

  // Of a card's memory, what this program has: besides what it asked for, what the driver took for it. nullopt where
  // that is not known: no library, a program in a container, Windows' display driver.
  std::optional<size_t> own_bytes(const std::string& uuid) const;

 private:
  struct Process {
    unsigned id;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
  };
  using Card = struct nvmlDevice_st*;
  int (*card_by_uuid_)(const char* uuid, Card* card) = nullptr;
  int (*compute_processes_)(Card card, unsigned* n, Process* processes) = nullptr;
};

}  // namespace longleaf::kernels::cuda
