#include "engine/train/training_options.h"

#include <algorithm>
#include <cmath>

namespace longleaf::train {

void set_steps(TrainingOptions& options, int64_t steps, double corpus_share, bool has_questions) {
  options.steps.optimizer.total_steps = steps;
  options.steps.optimizer.warm_up_steps = std::min<int64_t>(100, steps / 10);
  options.steps.corpus_steps = has_questions ? std::llround(corpus_share * static_cast<double>(steps)) : steps;
  options.steps.optimizer.first_steps = options.steps.corpus_steps;
}

std::string described(const TrainingOptions& o) {
  const MemoryTrainingSettings& s = o.steps;
  const OptimizerSettings& z = s.optimizer;
  const double numbers[] = {double{o.lora.alpha},
                            double{o.memory.query_fraction},
                            double{s.route_weight},
                            double{s.reconstruction_weight},
                            double{s.temperature},
                            double{s.text_weight},
                            s.drop_gold,
                            o.held_out,
                            double{z.rate},
                            double{z.last_rate},
                            double{z.beta1},
                            double{z.beta2},
                            double{z.epsilon},
                            double{z.decay},
                            double{z.clip}};
  std::vector<int64_t> counts = {o.lora.rank,
                                 static_cast<int64_t>(o.lora.seed),
                                 o.memory.d_routing,
                                 o.memory.scales,
                                 static_cast<int64_t>(o.memory.seed),
                                 static_cast<int64_t>(o.memory.method),
                                 s.corpus_steps,
                                 z.total_steps,
                                 z.warm_up_steps,
                                 z.first_steps,
                                 s.tokens_per_corpus_step,
                                 s.questions_per_step,
                                 static_cast<int64_t>(s.seed),
                                 o.score_every,
                                 o.most_scored,
                                 o.patience};
  if (o.memory.method == MemoryMethod::Tree)
    for (const int64_t n : {static_cast<int64_t>(o.memory.aggregation), int64_t{s.most_nodes}, int64_t{s.begins_short},
                            int64_t{s.descent.children}, int64_t{s.descent.most_depth}, int64_t{s.descent.most_nodes}})
      counts.push_back(n);
  if (o.memory.piece_tokens > 0) counts.push_back(o.memory.piece_tokens);
  if (o.memory.method == MemoryMethod::Recurrent)
    for (const int n : {o.memory.segment_tokens, o.memory.sensory_tokens, o.memory.recalled, s.most_segments})
      counts.push_back(n);
  std::string text(reinterpret_cast<const char*>(numbers), sizeof numbers);
  text.append(reinterpret_cast<const char*>(counts.data()), counts.size() * sizeof(int64_t));
  for (const std::string& target : o.lora.targets) text += target + " ";
  return text;
}

}  // namespace longleaf::train
