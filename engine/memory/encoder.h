// Reads a document once: windows of leaves in one causal pass each, behind a shared prefix, each leaf's KV and pooled
// hidden state kept (DESIGN, "What a memory is"; windows and overlap: KV reuse specification e.7).
// Not thread-safe: it uses a Transformer.
#pragma once

#include <functional>
#include <stop_token>

#include "engine/generate/chat_template.h"
#include "engine/memory/document.h"
#include "engine/memory/entry_reader.h"
#include "engine/memory/memory_file.h"
#include "engine/transformer/transformer.h"

namespace longleaf {

struct WindowLimits {
  int window_tokens = 0;   // prefix, overlap and leaves together
  int overlap_tokens = 0;  // of the text before a window, read again in front of it and not kept
};

// Windows that leave room for a question and an answer in the model's trained length, 16,384 tokens at most.
WindowLimits window_limits(const ModelConfig& config);

// Token ids of prompt pieces: control tokens only where the template says so.
std::vector<TokenId> encode_pieces(const Tokenizer& tokenizer, const std::vector<Piece>& pieces);

// What stands in front of the evidence in a prompt.
std::vector<TokenId> prompt_prefix(const Tokenizer& tokenizer, const ChatStyle& chat, const std::string& title);

// Cuts the document into windows and computes the key. `prefix` includes the beginning-of-sequence token.
MemoryPlan plan_memory(const Model& model, const Tokenizer& tokenizer, const std::vector<TokenId>& prefix,
                       const DocumentInput& document, kernels::DType kv_type, const WindowLimits& limits);

struct EncodeProgress {
  size_t leaves_done = 0, leaves = 0;
  size_t nodes_done = 0, nodes = 0;     // learned memories, behind the leaves; 0 without an adapter
  int64_t tokens_done = 0, tokens = 0;  // of the document, once for leaves and once for memories
  bool is_done() const { return leaves_done == leaves && nodes_done == nodes; }
};

// Encodes the entries that `file` lacks. On Cancelled or an error, what was finished is kept.
// `store` is scratch: emptied before and after.
Status encode_document(Transformer& transformer, KvStore& store, MemoryFile& file, const WindowLimits& limits,
                       const std::function<void(const EncodeProgress&)>& progress, std::stop_token stop);

// Copies an entry's KV behind the last key of `store`. Its keys stay rotated as they were.
Status load_entry(const MemoryEntry& entry, const MemoryBlob& blob, KvStore& store);

// The same from what the store keeps, else from what `reader` reads of `file`, and keeps it. REQUIRES: the store ends
// with a page.
Status recall_entry(const MemoryFile& file, EntryReader& reader, size_t entry, KvStore& store);
// What the store keeps it by.
KvRunKey run_key(const MemoryFile& file, size_t entry);

// Mean of the hidden rows of `tokens` at half depth: the untrained node memory. Appends the tokens to `store`; with
// `full_depth` false the upper layers are not run and the store must be cut back by the caller.
Result<std::vector<float>> read_and_pool(Transformer& transformer, const std::vector<TokenId>& tokens, KvStore& store,
                                         bool full_depth, std::stop_token stop);

}  // namespace longleaf
