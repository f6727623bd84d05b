// The steps that a tokenizer.json names, made. Names: the tokenizers library.
#pragma once

#include <string>

#include "engine/model/json.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/pretokenizer.h"

namespace longleaf {

class JsonSteps {
 public:
  // `model` stands in messages.
  explicit JsonSteps(std::string model) : model_(std::move(model)) {}

  // Empty functions for null. Return Unsupported with the name of an unknown step, Corrupt.
  Result<Normalizer> normalizer(const Json& step);
  Result<PreTokenizer> pretokenizer(const Json& step);
  // True when a step spelled bytes as characters.
  bool spells_bytes() const { return spells_bytes_; }

 private:
  Status unknown(const std::string& what) const;
  Result<Regex> pattern(const Json& given) const;
  template <typename Step, typename Make>
  Result<Step> sequence(const Json& steps, Make make);
  Result<Normalizer> compiled(const Json& step) const;
  Result<PreTokenizer> metaspace_step(const Json& step) const;

  std::string model_;
  int depth_ = 0;
  bool spells_bytes_ = false;
};

}  // namespace longleaf
