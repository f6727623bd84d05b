#include "engine/memory/learned_memory.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <unordered_set>

#include "engine/base/checksum.h"
#include "engine/memory/memory_encoding.h"
#include "engine/routing/descent.h"

namespace longleaf {

using train::Tape;
using train::Var;

namespace {

constexpr double kLayoutVersion = 1;

uint64_t fingerprint_of(const AdapterContents& adapter, kernels::DType kv) {
  std::vector<double> settings = {kLayoutVersion,
                                  static_cast<double>(adapter.memory.aggregation),
                                  static_cast<double>(adapter.memory.d_routing),
                                  double{adapter.memory.query_fraction},
                                  adapter.memory.scales ? 1.0 : 0.0,
                                  double{adapter.lora_alpha}};
  const MemorySettings& m = adapter.memory;
  if (m.piece_tokens > 0) settings.push_back(m.piece_tokens);
  if (m.method == MemoryMethod::Recurrent)
    for (const int n : {m.segment_tokens, m.sensory_tokens, m.recalled}) settings.push_back(n);
  if (kv != kernels::DType::F16) settings.push_back(-static_cast<double>(kv));
  uint64_t key = fingerprint(settings, adapter.model_fingerprint);
  for (const AdapterTensor& t : adapter.tensors) key = fingerprint(t.values, fingerprint(t.name, key));
  return key;
}

// What a node's memory depends on: its text and everything below it.
std::vector<uint64_t> marks_of_nodes(const TextTree& tree) {
  const auto children = children_of(tree.parents);
  std::vector<uint64_t> marks(tree.size());
  for (size_t i = tree.size(); i-- > 0;) {
    marks[i] = fingerprint(tree.tokens[i], fingerprint("node"));
    for (const int child : children[i])
      marks[i] = fingerprint(std::vector{marks[static_cast<size_t>(child)]}, marks[i]);
  }
  return marks;
}

// … and a segment's, on its text and all text in front of it.
std::vector<uint64_t> marks_of_segments(const Segments& text) {
  std::vector<uint64_t> marks;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto segment = text.segment(i);
    marks.push_back(
        fingerprint(std::vector(segment.begin(), segment.end()), i == 0 ? fingerprint("segment") : marks.back()));
  }
  return marks;
}

}  // namespace

Result<std::unique_ptr<LearnedMemory>> LearnedMemory::load(const AdapterContents& adapter, Transformer& transformer,
                                                           kernels::DType kv) {
  LL_ASSIGN_OR_RETURN(auto reader, MemoryReader::load(adapter, transformer));
  return std::unique_ptr<LearnedMemory>(new LearnedMemory(std::move(reader), fingerprint_of(adapter, kv)));
}

std::vector<uint64_t> LearnedMemory::marks_of(const TextTree& tree) const {
  return is_recurrent() ? marks_of_segments(segments(tree)) : marks_of_nodes(tree);
}

std::filesystem::path LearnedMemory::path_of(const std::filesystem::path& folder,
                                             const std::string& document_id) const {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%016" PRIx64 ".llm", fingerprint_);
  return folder / (document_id + tail);
}

MemoryPlan LearnedMemory::plan(const TextTree& tree, std::span<const int64_t> keys) const {
  MemoryPlan plan;
  plan.d_model = static_cast<int>(reader_->d_model()) + settings().d_routing + static_cast<int>(kMarkFloats);
  const std::vector<uint64_t> marks = marks_of(tree);
  plan.key = longleaf::fingerprint(marks, fingerprint_);
  plan.entries.resize(marks.size());
  if (is_recurrent()) return plan;
  for (size_t i = 0; i < keys.size(); ++i) plan.entries[i].node = keys[i];
  plan.key = longleaf::fingerprint(tree.parents, plan.key);
  plan.key = longleaf::fingerprint(std::vector(keys.begin(), keys.end()), plan.key);
  return plan;
}

KnownMemories LearnedMemory::known(const TextTree& tree, const std::filesystem::path& folder) const {
  KnownMemories known;
  const std::vector<uint64_t> marks = marks_of(tree);
  const std::unordered_set<uint64_t> wanted(marks.begin(), marks.end());
  const std::string tail = path_of("", "").filename().string();
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.path().filename().string().ends_with(tail)) continue;
    MemoryFile::find_vectors(
        entry.path(), kMarkFloats,
        [&](std::span<const float> last) { return wanted.count(mark_in(last)) > 0 && known.count(mark_in(last)) == 0; },
        [&](std::vector<float> record) {
          const uint64_t mark = mark_in(record);
          known.emplace(mark, std::move(record));
        });
  }
  return known;
}

Result<int64_t> LearnedMemory::encode(const TextTree& tree, KvStore& store, const KnownMemories& known,
                                      MemoryFile& file, const std::function<void(size_t)>& progress,
                                      std::stop_token stop) {
  std::vector<size_t> lengths;
  const auto make = [&](const auto& text, const auto& encode) -> Result<int64_t> {
    MemoryRecords records(*reader_, marks_of(tree), std::move(lengths), file, progress);
    LL_RETURN_IF_ERROR(records.take(known));
    LL_RETURN_IF_ERROR(encode(text, *reader_, store, records, std::move(stop)));
    return records.tokens_made();
  };
  if (is_recurrent()) {
    const Segments text = segments(tree);
    for (size_t i = 0; i < text.size(); ++i) lengths.push_back(text.segment(i).size());
    return make(text, encode_segments);
  }
  for (const auto& text : tree.tokens) lengths.push_back(text.size());
  return make(tree, encode_tree);
}

Result<LearnedMemory::Memories> LearnedMemory::read(const TextTree& tree, MemoryFile& file) const {
  Memories memories;
  const std::vector<uint64_t> marks = marks_of(tree);
  const auto width = static_cast<long>(reader_->d_model()), routing = static_cast<long>(settings().d_routing);
  for (size_t i = 0; i < file.plan().entries.size(); ++i) {
    const auto record = file.read_vector(i);
    const auto n = width + routing;
    if (!record.ok() || mark_in(*record) != marks[i] ||
        !std::all_of(record->begin(), record->begin() + n, [](float x) { return std::isfinite(x); }))
      return Status(Code::Corrupt, "The document's memories are damaged; encode it again, or choose exact");
    memories.values.insert(memories.values.end(), record->begin(), record->begin() + width);
    memories.keys.insert(memories.keys.end(), record->begin() + width, record->begin() + width + routing);
  }
  return memories;
}

Result<std::vector<float>> LearnedMemory::asked(std::span<const TokenId> question, KvStore& store,
                                                std::stop_token stop) {
  const auto text = reader_->text(reader_->weights().asked(question));
  LL_ASSIGN_OR_RETURN(const auto state, reader_->read({&text, 1}, store, std::move(stop)));
  return reader_->on_tape([&](Tape& tape) { return reader_->weights().routed(tape, reader_->rows(tape, state)); });
}

float LearnedMemory::score(const Memories& memories, std::span<const float> asked, int memory) {
  const float* key = memories.keys.data() + static_cast<size_t>(memory) * asked.size();
  double sum = 0;
  for (size_t i = 0; i < asked.size(); ++i) sum += double{asked[i]} * double{key[i]};
  return static_cast<float>(sum);
}

Result<std::vector<float>> LearnedMemory::entered(const Memories& memories, std::span<const int> chosen) {
  const auto width = static_cast<long>(reader_->d_model());
  std::vector<float> rows;
  for (const int i : chosen) {
    const auto first = memories.values.begin() + i * width;
    rows.insert(rows.end(), first, first + width);
  }
  if (rows.empty()) return rows;
  return reader_->on_tape([&](Tape& tape) { return reader_->weights().entered(tape, reader_->rows(tape, rows)); });
}

Result<std::vector<float>> LearnedMemory::recalled(const Memories& memories, const std::vector<float>& scores,
                                                   std::vector<float>& shares) {
  const train::MemoryWeights& weights = reader_->weights();
  shares.clear();
  if (scores.empty()) return reader_->on_tape([&](Tape& tape) { return weights.entered(tape, weights.first(tape)); });
  const auto n = static_cast<int>(scores.size());
  LL_ASSIGN_OR_RETURN(shares, reader_->on_tape([&](Tape& tape) { return tape.softmax(tape.constant(1, n, scores)); }));
  return reader_->on_tape([&](Tape& tape) {
    const Var mixed = tape.product(tape.constant(1, n, shares), false, reader_->rows(tape, memories.values), false);
    return weights.entered(tape, mixed);
  });
}

}  // namespace longleaf
