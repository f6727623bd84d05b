// The engine: one model on one device, ready to encode documents and to answer. No Qt, no SQLite, no PDF.
// A GPU that stops ends the request with DeviceLost, a model file that cannot be read any more with Io; the next
// request opens the model again. Not thread-safe: one thread owns it. Long calls block, report through callbacks on
// that thread, and look at their stop token at least once per layer.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/answer/evidence.h"
#include "engine/generate/chat_template.h"
#include "engine/generate/draft.h"
#include "engine/generate/form.h"
#include "engine/generate/sampler.h"
#include "engine/memory/encoder.h"
#include "engine/memory/node_vectors.h"
#include "engine/placement.h"
#include "engine/routing/descent.h"
#include "kernels/cuda/options.h"

namespace longleaf {

class LearnedMemory;
struct ComputeDevices;
struct DeviceRequest;

// How keys and values may be kept, as people call it.
struct KvFormat {
  const char* name;
  kernels::DType type;
};
inline constexpr KvFormat kKvFormats[] = {
    {"f16", kernels::DType::F16}, {"q8_0", kernels::DType::Q8_0}, {"f32", kernels::DType::F32}};

struct EngineOptions {
  std::string device = "auto";              // see DeviceRequest
  int n_threads = 0;                        // 0: one per processor
  size_t memory_limit_bytes = 0;            // of each card, or with "cpu" of the processor; 0: what there is
  kernels::DType kv = kernels::DType::F16;  // of keys and values: F16, F32, or Q8_0: half the memory and files of F16
  std::filesystem::path draft;              // a smaller model of the same vocabulary, which writes ahead; empty: none
  std::filesystem::path adapter;            // what training made for this model: memory tokens; empty: none
  kernels::cuda::DeviceOptions gpu;  // its driver and kernels, where they are not the system's and this program's
};

// What a model takes, in bytes.
struct MemoryNeeds {
  uint64_t weights = 0, kv = 0, workspace = 0, table = 0;
  uint64_t all() const { return weights + kv + workspace + table; }
};

struct ModelFacts {
  ModelConfig config;
  ChatStyle chat;
  std::string path;
  uint64_t kv_bytes_per_token = 0;
  // To load and answer here, with KV of 4,096 tokens; and the whole table of embeddings, whose pages the system may
  // take back.
  MemoryNeeds needed;
  // On a card, with KV of a whole window or of 4,096 tokens, this model alone; the table stays in this machine's
  // memory.
  MemoryNeeds needed_card;
  int needed_tokens = 0, card_tokens = 0;  // whose KV is counted in them
};

// Reads a model's description without loading it.
Result<ModelFacts> describe_model(const std::filesystem::path& file, kernels::DType kv = kernels::DType::F16);

struct MemoryUse {
  // Of the cards together, or of the processor where there is none.
  uint64_t device_bytes = 0, peak_device_bytes = 0, total_device_bytes = 0;
  uint64_t stated_device_bytes = 0;  // most that was to be expected before the model was loaded
  uint64_t other_device_bytes = 0;   // that other programs, and the driver for this one, have of the cards
  uint64_t peak_host_bytes = 0;      // resident set of this process
};

// What encoding makes.
struct EncodeParts {
  bool leaves = true;  // their keys and values: leaf_kv
  bool nodes = true;   // with an adapter, learned memories: memory_tokens, or hmt
};

struct EncodedCounts {
  size_t leaves = 0;  // whose keys and values are kept
  size_t nodes = 0;   // learned memories; 0 without an adapter
};

struct EncodeReport {
  size_t leaves = 0;
  size_t nodes = 0;    // learned memories: of nodes, or of segments; 0 without an adapter
  int64_t tokens = 0;  // that were computed now
  double seconds = 0;
  uint64_t bytes = 0, node_bytes = 0;  // of the memory files: keys and values, and learned memories
};

// How a question finds its way through learned memories: by their scores and by the question's words; or, to tell what
// routing loses from what memories lose, by their scores alone, to `leaves` alone, or anywhere.
enum class MemoryRouting { WithWords, Learned, ToLeaves, Random };

struct AnswerRequest {
  std::string question;
  std::vector<Turn> history;
  std::vector<int64_t> leaves;  // surviving leaves, best first; learned memories find their own
  Evidence evidence = Evidence::Auto;
  SamplerOptions sampler;
  int max_tokens = 256;
  int evidence_tokens = 3072;        // at most; less where the model's trained length is shorter; at least one leaf
  std::optional<Gate> gate;          // take the draft model's word where it is likely enough; needs one
  std::shared_ptr<const Form> form;  // that the answer must have; nullptr: any
  // Through learned memories; children 0: as many as the adapter was trained with.
  DescentOptions descent{.children = 0};
  MemoryRouting memory_routing = MemoryRouting::WithWords;
  // Leaf key → how much of the question its words tell, by BM25 and what refines it: an estimate of the log odds that
  // it answers (Robertson and Zaragoza 2009, section 3), as the memories' scores are one. Absent: 0.
  std::unordered_map<int64_t, double> words;
  int repair_tokens = 0;  // at the head of every later run of leaves, computed again in its new surroundings
  std::chrono::steady_clock::time_point asked = std::chrono::steady_clock::now();
};

struct AnswerStats {
  Evidence evidence = Evidence::Exact;
  std::string reason;       // why the planner chose it
  double predicted_ms = 0;  // planner's; of routing, only that by learned memories
  double actual_ms = 0;     // the same span, measured
  double ttft_ms = 0;       // from `asked`
  // Parts of it, in order: reading the question for its vector, choosing nodes, loading what is kept of them, and
  // reading the prompt. What the kind of evidence has no use for is 0.
  double query_ms = 0, descent_ms = 0, load_ms = 0, prefill_ms = 0;
  int evidence_tokens = 0;  // the model may look at
  int memory_tokens = 0;    // … nodes' memories among them
  int prefill_tokens = 0;   // the model read for this question
  double prefill_tokens_per_s = 0;
  int decode_tokens = 0;
  double decode_tokens_per_s = 0;
  int guessed_tokens = 0, accepted_tokens = 0;  // that were written ahead, and those of them that are in the answer
};

// A node of the document that learned routing reached; with hmt, one whose text was recalled.
struct ReachedNode {
  int64_t node = 0;
  // Of the question's way to it: the product of its path's shares among siblings, 1 for the root. With hmt, the largest
  // share of what was recalled that a segment of its text has.
  double share = 0;
};

struct AnswerResult {
  std::string text;
  std::vector<int64_t> leaves;       // those that were evidence, or whose memories were, in reading order
  std::vector<ReachedNode> reached;  // with learned memories: parents before children
  bool stopped = false;              // by the caller: `text` is what there was
  bool whole = true;                 // false: there was an end before the text had the form that was asked for
  AnswerStats stats;
};

struct BenchReport {
  std::vector<double> prefill_tokens_per_s, decode_tokens_per_s;
};

class Engine {
 public:
  // Returns NotFound, Corrupt, Unsupported, NoMemory.
  static Result<std::unique_ptr<Engine>> load(const std::filesystem::path& file, const EngineOptions& options);
  ~Engine();

  const ModelFacts& facts() const { return facts_; }
  const std::string& device() const { return device_name_; }
  // See ComputeDevices::note.
  const std::string& device_note() const { return device_note_; }
  double load_ms() const { return load_ms_; }
  MemoryUse memory_use() const;
  // Answers with this adapter's memory from now on. Where it cannot be used, the one before stays. Returns what load()
  // returns for an adapter.
  Status use_adapter(const std::filesystem::path& adapter);
  // Kinds of evidence that the adapter's memory can be; none without one.
  std::vector<Evidence> memory_kinds() const;
  // Gives back the memory of model and device; the next request opens the model again.
  void rest();
  // From the next request on, for which the model is opened again, keys and values are kept so. Returns Unsupported as
  // KvStore::check_format does; nothing changes then.
  Status use_kv(kernels::DType kv);
  kernels::DType kv() const { return options_.kv; }
  bool is_resting() const { return parts_ == nullptr; }
  Rates rates() const { return rates_; }

  // Encodes what is missing of `document`, in `folder`. Cancelled keeps what is finished.
  Result<EncodeReport> encode(const DocumentInput& document, const std::filesystem::path& folder,
                              const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop,
                              const EncodeParts& parts = {});
  // What of the document is there.
  EncodedCounts encoded(const DocumentInput& document, const std::filesystem::path& folder);

  // Node memories for routing; empty when the document is not encoded completely.
  std::shared_ptr<const NodeMemory> node_memory(const DocumentInput& document, const std::filesystem::path& folder);
  // The question's vector, comparable with them.
  Result<std::vector<float>> question_vector(const std::string& question, const NodeMemory& memory,
                                             std::stop_token stop);

  // Streams pieces of text (whole characters) to `on_text`. A stop request ends the answer: the result has what was
  // said until then. `on_progress` is told with every token what there is so far: leaves, text and statistics.
  Result<AnswerResult> answer(const DocumentInput& document, const std::filesystem::path& folder,
                              const AnswerRequest& request, const std::function<void(std::string_view)>& on_text,
                              const std::function<void(const AnswerResult&)>& on_progress, std::stop_token stop);

  // log-likelihood per token of `question` behind the leaf, minus without it: how much the leaf explains the question.
  Result<double> question_likelihood(const DocumentInput& document, const std::filesystem::path& folder, int64_t leaf,
                                     const std::string& question, std::stop_token stop);

  Result<BenchReport> bench(int prompt_tokens, int generate_tokens, int repeat, std::stop_token stop);

 private:
  Engine() = default;
  friend class Answering;
  // Opens the model on a device; what was open is closed before.
  Status start(const std::string& device);
  Result<ComputeDevices> devices_for(int n_tokens, DeviceRequest& request) const;
  Status choose_devices(const std::string& name);
  Status check_same_file();
  Result<ModelNeeds> needs_with_draft(int n_tokens) const;  // of a card that has all of it
  // Runs one request. A lost device ends it with a reason; the next request finds the model opened anew, on the same
  // device the first time, then on the processor. Where a card is full that "auto" chose, or that reserved less than a
  // window, the model is placed again, with fewer layers there, and the request goes on with what it has done; where
  // that is not enough, on the processor.
  template <typename Request>
  auto guarded(const Request& request) -> decltype(request());
  Status revive();
  template <typename Request>
  auto checked(const Request& request) -> decltype(request());
  bool may_place_again() const;
  Status place_again(const std::string& why);
  Status step_down(const std::string& why);
  Result<EncodeReport> encode_now(const DocumentInput& document, const std::filesystem::path& folder,
                                  const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop,
                                  const EncodeParts& parts);
  Result<std::vector<float>> question_vector_now(const std::string& question, const NodeMemory& memory,
                                                 std::stop_token stop);
  Result<double> question_likelihood_now(const DocumentInput& document, const std::filesystem::path& folder,
                                         int64_t leaf, const std::string& question, std::stop_token stop);
  Result<BenchReport> bench_now(int prompt_tokens, int generate_tokens, int repeat, std::stop_token stop);
  struct OpenDocument;
  Status load_draft();
  Result<std::unique_ptr<LearnedMemory>> load_learned(const std::filesystem::path& adapter);
  Status encode_leaves(const OpenDocument& open, const std::function<void(const EncodeProgress&)>& progress,
                       std::stop_token stop, EncodeReport& report);
  // The name of another format that the document was encoded in; empty where there is none.
  std::string other_kv(const OpenDocument& open) const;
  Status encode_nodes(const OpenDocument& open, const std::function<void(size_t tokens)>& progress,
                      std::stop_token stop, EncodeReport& report);
  Status measure_rates();
  Status finish();
  // The document's plan, and its memory file when there is one; kept until another document is asked for.
  OpenDocument& open_document(const DocumentInput& document, const std::filesystem::path& folder);
  std::filesystem::path memory_path(const std::string& document_id, const std::filesystem::path& folder,
                                    kernels::DType kv) const;
  Status describe();  // facts_, and what they add up to with a draft and an adapter

  ModelFacts facts_;
  EngineOptions options_;
  struct Parts;
  std::unique_ptr<Parts> parts_;
  std::unique_ptr<OpenDocument> open_;
  Rates rates_;
  double load_ms_ = 0;
  uint64_t file_fingerprint_ = 0;
  uint64_t needed_bytes_ = 0;  // of the processor's memory, by all that is loaded; of that,
  uint64_t table_bytes_ = 0;   // by tables of embeddings
  bool closed_ = false;        // the model: the device was lost since the last request, or rests
  int losses_ = 0;
  int kept_tokens_ = 0;        // whose keys and values have room on the devices
  bool needs_window_ = false;  // room for less was not enough
  std::string device_name_, device_note_;
  uint64_t total_device_bytes_ = 0, stated_device_bytes_ = 0;
};

// Removes every memory file of a document, whatever the model. Returns the bytes freed.
uint64_t remove_memory(const std::filesystem::path& folder, const std::string& document_id);

}  // namespace longleaf
