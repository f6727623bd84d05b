// Synthetic manuals, and questions about them whose answers are known. The same seed gives the same text everywhere.
// Some names and numbers are held out: a manual is made of those or of the others, never of both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/memory/document.h"

namespace longleaf::reader {

// xorshift64*, Vigna, arXiv 1402.6246: the standard library's distributions differ between its makers.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  uint64_t next();
  int below(int n) { return static_cast<int>(next() >> 33) % n; }
  bool one_in(int n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

enum class QuestionKind { Fact, TwoHop, Unanswerable };

struct ManualQuestion {
  std::string text, answer;
  QuestionKind kind = QuestionKind::Fact;
  std::vector<int64_t> leaves;  // that the answer stands in, in the order they are needed; of the part for what is not
};

struct SyntheticManual {
  std::string markdown;    // as a file
  DocumentInput document;  // as that file is read: chapters, parts, and a leaf for each of them
  std::vector<ManualQuestion> questions;
};

struct ManualShape {
  int leaves = 10;  // that are parts
  int facts = 6;    // per part, about
  int questions = 8;
  bool held_out = false;
  int two_hop_percent = 15, unanswerable_percent = 10;
};

SyntheticManual make_manual(const ManualShape& shape, uint64_t seed);

// The pieces that every text of these manuals is made of, with their scores: words, syllables, and all ASCII.
struct ScoredPiece {
  std::string text;  // \u2581 is a space
  float score;
};
std::vector<ScoredPiece> vocabulary();

}  // namespace longleaf::reader
