// Vocabularies that exist only in their makers' own formats, written as GGUF bytes.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/base64.h"
#include "engine/tokenizer/unicode.h"
#include "tests/support/gguf_writer.h"

namespace longleaf::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// How GPT-2 vocabularies spell a byte.
inline std::string spell_bytes(const std::string& bytes) {
  std::string out;
  for (unsigned char b : bytes) {
    uint32_t code = b, next = 256;
    for (uint32_t c = 0; c <= b; ++c) {
      const bool printable = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
      code = printable ? c : next++;
    }
    append_utf8(code, out);
  }
  return out;
}

inline int write_bpe(GgufWriter& gguf, const std::string& pre, const std::vector<std::string>& tokens,
                     const std::vector<std::string>& merges) {
  gguf.text("tokenizer.ggml.model", "gpt2");
  gguf.text("tokenizer.ggml.pre", pre);
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.texts("tokenizer.ggml.merges", merges);
  return static_cast<int>(tokens.size());
}

// vocab.json and merges.txt, as Qwen publishes them.
inline int write_qwen2(GgufWriter& gguf, const std::filesystem::path& folder) {
  const auto vocabulary = nlohmann::json::parse(read_file(folder / "vocab.json"));
  std::vector<std::string> tokens(vocabulary.size()), merges;
  for (const auto& [text, id] : vocabulary.items()) tokens.at(id.get<size_t>()) = text;
  std::ifstream file(folder / "merges.txt");
  for (std::string line; std::getline(file, line);)
    if (!line.empty() && line.rfind("#version", 0) != 0) merges.push_back(line);
  return write_bpe(gguf, "qwen2", tokens, merges);
}

// The pair of known pieces whose merging made `token`: byte-pair encoding of it with earlier ranks only.
inline std::string last_merge(const std::string& token, const std::map<std::string, size_t>& ranks, size_t rank) {
  std::vector<std::string> parts;
  for (char c : token) parts.emplace_back(1, c);
  while (parts.size() > 2) {
    size_t best = rank, at = parts.size();
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = ranks.find(parts[i] + parts[i + 1]);
      if (it != ranks.end() && it->second < best) best = it->second, at = i;
    }
    if (at == parts.size()) return {};
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<long>(at) + 1);
  }
  return parts.size() == 2 ? spell_bytes(parts[0]) + " " + spell_bytes(parts[1]) : "";
}

// A tiktoken file ("base64 rank" lines), as Meta publishes Llama 3's.
inline int write_llama3(GgufWriter& gguf, const std::filesystem::path& tiktoken) {
  std::ifstream file(tiktoken);
  std::map<std::string, size_t> ranks;
  std::vector<std::string> raw, tokens, merges;
  for (std::string line; std::getline(file, line);) {
    raw.push_back(from_base64(line));
    ranks[raw.back()] = raw.size() - 1;
  }
  for (size_t i = 0; i < raw.size(); ++i) {
    tokens.push_back(spell_bytes(raw[i]));
    if (const auto merge = last_merge(raw[i], ranks, i); !merge.empty()) merges.push_back(merge);
  }
  return write_bpe(gguf, "llama-bpe", tokens, merges);
}

}  // namespace longleaf::test
