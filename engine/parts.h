// The engine's inside, shared by the files that implement it.
#pragma once

#include "engine/compute_device.h"
#include "engine/engine.h"
#include "engine/generate/token_mask.h"
#include "engine/memory/learned_memory.h"

namespace longleaf {

struct Engine::Parts {
  ComputeDevices devices;  // first: everything below lives on them
  std::shared_ptr<const ModelFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<LearnedMemory> learned;  // nullptr: no adapter was asked for
  std::unique_ptr<KvStore> store;
  std::unique_ptr<Draft> draft;                     // nullptr: none was asked for
  std::unique_ptr<const TokenSpellings> spellings;  // from the first answer on that has a form

  Status check_files() const {
    LL_RETURN_IF_ERROR(file->check());
    return draft == nullptr ? Status() : draft->file().check();
  }
};

struct Engine::OpenDocument {
  std::string id;
  int64_t key = 0;
  uint64_t text = 0;  // fingerprint of its nodes: recognition changes them under the same key
  std::filesystem::path folder;
  MemoryPlan plan;
  std::unique_ptr<MemoryFile> file;  // nullptr: none for this text and model
  std::shared_ptr<const NodeMemory> memory = std::make_shared<NodeMemory>();
  size_t memory_of = 0;  // leaves that were encoded when `memory` was made
  // With an adapter:
  TextTree tree;
  std::vector<int64_t> keys;                // of its nodes
  std::vector<std::vector<int>> children;   // … of each
  std::unordered_map<int64_t, int> places;  // number of the node with a key; of a text in pieces, the one they are of
  MemoryPlan learned_plan;
  std::unique_ptr<MemoryFile> learned_file;        // nullptr: none for this text and adapter
  std::optional<LearnedMemory::Memories> learned;  // of that file, when all of it was there
  bool is_learned() const {
    return learned_file != nullptr && learned_file->count_done() == learned_plan.entries.size();
  }
};

// Runs a request once, and notes what it means for the next.
template <typename Request>
auto Engine::checked(const Request& request) -> decltype(request()) {
  auto result = request();
  if (Status status = parts_->check_files(); !status.ok()) {
    closed_ = true;
    return status;
  }
  if (result.status().code() == Code::DeviceLost) {
    closed_ = true;
    ++losses_;
  }
  return result;
}

template <typename Request>
auto Engine::guarded(const Request& request) -> decltype(request()) {
  LL_RETURN_IF_ERROR(revive());
  auto result = checked(request);
  const auto is_full = [&] { return result.status().code() == Code::NoMemory && parts_->devices.has_gpu(); };
  if (is_full() && may_place_again()) {
    LL_RETURN_IF_ERROR(place_again(result.status().message()));
    result = checked(request);
  }
  if (is_full() && options_.device == "auto") {
    LL_RETURN_IF_ERROR(step_down(result.status().message()));
    result = checked(request);
  }
  return result;
}

}  // namespace longleaf
