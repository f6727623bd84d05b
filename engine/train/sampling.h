// What a step of training looks at: chance that is the same on every machine.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "engine/train/trainer.h"

namespace longleaf::train {

using Random = std::mt19937_64;

// The standard library's distributions differ between its makers; a remainder is even enough here.
inline size_t below(Random& random, size_t n) { return static_cast<size_t>(random() % n); }

template <typename T>
void shuffle(std::vector<T>& values, Random& random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(random, i)]);
}

uint64_t seed_of(uint64_t seed, int64_t step);

// One of the documents that have text.
const TrainingDocument& a_document(std::span<const TrainingDocument> documents, Random& random);

// Questions about one document, `most` and as many as have at most `most_gold` leaves together; one at least.
std::vector<const TrainingQuestion*> some_questions(std::span<const TrainingQuestion> questions, size_t most,
                                                    size_t most_gold, Random& random);

}  // namespace longleaf::train
