// What training changes: matrices with their gradients and the state of the optimiser, in f32 on the device.
// Not thread-safe: one thread owns it.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "engine/train/tape.h"

namespace longleaf::train {

struct Parameter {
  std::string name;
  int rows = 0, cols = 0;
  float rate = 1;      // times the optimiser's
  bool decays = true;  // norms and biases do not
  kernels::Buffer value, gradient, m, v;
  int64_t size() const { return int64_t{rows} * cols; }
};

// AdamW with a warm-up and a cosine decay (Loshchilov and Hutter, arXiv 1608.03983), and gradients clipped together
// (Pascanu et al., arXiv 1211.5063).
struct OptimizerSettings {
  float rate = 1e-4f;  // at its highest
  int64_t warm_up_steps = 0, total_steps = 0;
  int64_t first_steps = 0;  // of the total, a part of its own: the rate rises and falls in it, and again in the rest
  float last_rate = 0.1f;   // at the end, of the highest
  float beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f, decay = 0.01f;
  float clip = 1;  // most of the gradients' norm
};
float rate_at(const OptimizerSettings& settings, int64_t step);  // steps count from 1

class Parameters {
 public:
  // What is only read has neither gradients nor a state of the optimiser: step() and state() are not for it.
  enum class Use { Training, Reading };
  explicit Parameters(const kernels::Backend& backend, Use use = Use::Training) : backend_(backend), use_(use) {}

  // The parameter is the object's; its address stays. Returns NoMemory. REQUIRES: the name is new.
  Result<Parameter*> add(const std::string& name, int rows, int cols, std::span<const float> values);
  Parameter* find(const std::string& name);  // nullptr when there is none
  const Parameter* find(const std::string& name) const;
  const std::deque<Parameter>& all() const { return parameters_; }
  int64_t size() const;

  Var on(Tape& tape, const Parameter& parameter) const;
  Result<std::vector<float>> values(const Parameter& parameter) const;
  Status set_values(Parameter& parameter, std::span<const float> values);

  // Of all gradients together; waits for the device.
  Result<double> gradient_norm() const;
  // Divides the gradients by `parts`, clips and applies them, and clears them. Returns their norm before the clip.
  // Returns Invalid where it is not a number, with the parameters as they were and the gradients cleared.
  Result<double> step(const OptimizerSettings& settings, int parts = 1);
  Status clear_gradients();
  // Returns Invalid where a value is not a number any more.
  Status check_values() const;
  int64_t steps() const { return steps_; }

  // All that a later run needs to go on to the same bits: values, the optimiser's state, steps.
  // Stands behind `head`.
  Result<std::string> state(std::string_view head = {}) const;
  // Returns Corrupt for what is not the state of these parameters.
  Status restore(std::string_view state);

 private:
  const kernels::Backend& backend_;
  Use use_;
  std::deque<Parameter> parameters_;
  int64_t steps_ = 0;
};

}  // namespace longleaf::train
