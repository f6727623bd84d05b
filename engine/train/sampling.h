// What a step of training looks at: chance that is the same on every machine.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace longleaf::train {

struct TrainingDocument;
struct TrainingQuestion;

using Generator = std::mt19937_64;

// The standard library's distributions differ between its makers; a remainder is even enough here.
inline size_t below(Generator& random, size_t n) { return static_cast<size_t>(random() % n); }

template <typename T>
void shuffle(std::vector<T>& values, Generator& random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(random, i)]);
}

uint64_t seed_of(uint64_t seed, int64_t step);

// One of the documents that have text.
const TrainingDocument& a_document(std::span<const TrainingDocument> documents, Generator& random);

// Questions about one document, `most` and as many as need at most `most_parts` of it together; one at least.
std::vector<const TrainingQuestion*> some_questions(std::span<const TrainingQuestion> questions, size_t most,
                                                    size_t most_parts,
                                                    const std::function<size_t(const TrainingQuestion&)>& parts_of,
                                                    Generator& random);

}  // namespace longleaf::train
