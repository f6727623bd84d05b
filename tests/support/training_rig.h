// A training of a small random model on a few pumps, with questions about them.
#pragma once

#include "engine/base/files.h"
#include "engine/train/training_run.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace longleaf::test {

struct TrainingRig {
  TemporaryFolder folder;
  train::TrainingInput input;
  train::TrainingOptions options;

  TrainingRig() {
    CHECK(write_file(folder / "m.gguf", random_model_gguf({})).ok());
    DocumentInput document{"id", 1, "Pumps", {}};
    document.nodes.push_back({1, 0, false, 0, ""});
    for (int64_t i = 0; i < 12; ++i) {
      if (i % 4 == 0) document.nodes.push_back({100 + i, 1, false, 0, ""});
      document.nodes.push_back({2 + i, 100 + i / 4 * 4, true, 9,
                                "Pump " + std::to_string(i) + " gives " + std::to_string(7 * i) + " litres.\n"});
      input.questions.push_back(
          {0, "How much does pump " + std::to_string(i) + " give?", std::to_string(7 * i) + " litres", {2 + i}});
    }
    input.documents.push_back(document);
    options.model = folder / "m.gguf", options.out = folder / "a.gguf";
    options.lora.rank = 2;
    options.memory.scales = true;
    options.steps.optimizer.rate = 2e-3f, options.steps.optimizer.total_steps = 12;
    options.steps.corpus_steps = 4, options.steps.tokens_per_corpus_step = 100;
    options.steps.questions_per_step = 2, options.steps.most_nodes = 8;
    options.held_out = 0.25, options.score_every = 3;
  }
  // Runs until `steps` are made; 0: all.
  Result<train::TrainingResult> run(int64_t steps = 0) {
    LL_ASSIGN_OR_RETURN(const auto training, train::TrainingRun::prepare(options, input));
    std::stop_source stop;
    return training->run(
        [&](const train::TrainingProgress& p) {
          if (p.step.step == steps) stop.request_stop();
        },
        stop.get_token());
  }
  std::string file(const char* name) const {
    auto bytes = read_file(folder / name);
    return bytes.ok() ? *bytes : bytes.status().message();
  }
};

}  // namespace longleaf::test
