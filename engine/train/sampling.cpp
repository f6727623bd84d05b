#include "engine/train/sampling.h"

#include <algorithm>

#include "engine/train/trainer.h"

namespace longleaf::train {

uint64_t seed_of(uint64_t seed, int64_t step) {
  std::seed_seq sequence = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                            static_cast<uint32_t>(step)};
  uint32_t words[2];
  sequence.generate(words, words + 2);
  return words[0] | uint64_t{words[1]} << 32;
}

const TrainingDocument& a_document(std::span<const TrainingDocument> documents, Generator& random) {
  const auto has_text = [](const TrainingDocument& d) {
    return std::any_of(d.tree.tokens.begin(), d.tree.tokens.end(), [](const auto& text) { return !text.empty(); });
  };
  std::vector<const TrainingDocument*> with_text;
  for (const TrainingDocument& document : documents)
    if (has_text(document)) with_text.push_back(&document);
  return *with_text[below(random, with_text.size())];
}

std::vector<const TrainingQuestion*> some_questions(std::span<const TrainingQuestion> questions, size_t most,
                                                    size_t most_parts,
                                                    const std::function<size_t(const TrainingQuestion&)>& parts_of,
                                                    Generator& random) {
  const TrainingQuestion& first = questions[below(random, questions.size())];
  std::vector<const TrainingQuestion*> same;
  for (const TrainingQuestion& question : questions)
    if (question.document == first.document && &question != &first) same.push_back(&question);
  shuffle(same, random);
  same.insert(same.begin(), &first);
  same.resize(std::min(same.size(), most));
  size_t parts = 0, n = 0;
  while (n < same.size() && (n == 0 || parts + parts_of(*same[n]) <= most_parts)) parts += parts_of(*same[n++]);
  same.resize(n);
  return same;
}

}  // namespace longleaf::train
