// Gradients of whole models, of what is added to them, and of a learned memory, against PyTorch's
// (tests/data/make_gradients.py).
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "engine/train/recurrent_model.h"
#include "tests/support/trained_model.h"

using namespace longleaf;
using namespace longleaf::train;

namespace {

using Rig = test::TrainedModel;

struct Golden {
  double norm = 0, first = 0, second = 0;
};
using Goldens = std::map<std::string, Golden>;

// Of all models, by name.
const std::map<std::string, Goldens>& goldens() {
  static const auto all = [] {
    std::map<std::string, Goldens> models;
    std::ifstream file(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / "gradients.txt");
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string model, name;
      Golden golden;
      words >> model >> name >> golden.norm >> golden.first >> golden.second;
      models[model][name] = golden;
    }
    return models;
  }();
  return all;
}

Golden measures(const std::vector<float>& gradient) {
  Golden g;
  for (size_t i = 0; i < gradient.size(); ++i) {
    const double x = double{gradient[i]}, angle = 0.7391 * static_cast<double>(i + 1);
    g.norm += x * x;
    g.first += x * std::cos(angle);
    g.second += x * std::cos(2 * angle);
  }
  g.norm = std::sqrt(g.norm);
  return g;
}

// Rounding is of all that passes through a place, and some parameters share one: the experts of a layer, and what a
// parent and its children are asked by, where a softmax takes away what all children have alike.
std::string place_of(const std::string& name) {
  if (name == "h2mt.slope_parent") return "h2mt.slope_child.";
  if (name == "h2mt.parent_q") return "h2mt.child_k.";
  // blk.LAYER.ffn_gate.EXPERT.weight
  std::istringstream parts(name);
  std::string place;
  int n = 0;
  for (std::string part; std::getline(parts, part, '.'); ++n)
    if (n < 2 || part.find_first_not_of("0123456789") != std::string::npos) place += part + ".";
  return place;
}

// passes: of the model, that a gradient goes back through one after the other.
void check_gradients(const std::string& name, const Rig& rig, int passes = 1) {
  const auto model = goldens().find(name);
  REQUIRE(model != goldens().end());
  CHECK_EQ(rig.parameters.all().size() + 1, model->second.size());
  std::map<std::string, double> passing;
  for (const auto& [key, golden] : model->second)
    if (key != "loss") passing[place_of(key)] = std::hypot(passing[place_of(key)], golden.norm);
  double worst = 0;
  std::string where;
  for (const Parameter& p : rig.parameters.all()) {
    const auto golden = model->second.find(p.name);
    if (golden == model->second.end()) {
      test::fail(__FILE__, __LINE__, name + " knows no " + p.name);
      continue;
    }
    const Golden ours = measures(rig.gradient(p)), &theirs = golden->second;
    const double error = std::max({std::abs(ours.norm - theirs.norm), std::abs(ours.first - theirs.first),
                                   std::abs(ours.second - theirs.second)}) /
                         (passing.at(place_of(p.name)) + 1e-6);
    CHECK(std::isfinite(error));
    if (error > worst) worst = error, where = p.name;
  }
  // A gradient passes forward and back through (7 * layers + 1) products of at most 64 terms in f32, each rounded to
  // 2^-24 of what passes: errors of either sign, which add up like the root of their number. Norms and softmaxes
  // amplify them by a few times.
  const int layers = rig.decoder->config().n_layers;
  const double bound = 8 * std::sqrt(2.0 * passes * (7 * layers + 1) * 66) * 0x1p-24;
  std::printf("  %s: %.2g of %.2g allowed (%s)\n", name.c_str(), worst, bound, where.c_str());
  CHECK(worst <= bound);
}

const std::vector<std::string> kModelNames = {"llama",    "llama_tied", "llama_rope_scaling",
                                              "mistral",  "qwen2",      "qwen3",
                                              "qwen3moe", "gemma2",     "gemma3",
                                              "phi3",     "smollm3",    "granite",
                                              "olmo2"};

// All of them; on the emulator, which computes one thread at a time, those that between them have every operation.
std::vector<std::string> models() {
  const char* device = test::test_gpu();
  const bool emulated = device != nullptr && std::string(device) != "gpu";
  return emulated ? std::vector<std::string>{"qwen2", "gemma2", "qwen3moe"} : kModelNames;
}

// The numbers of make_gradients.py.
void take_golden_values(Rig& rig) {
  static const std::map<std::string, double> pitches = {
      {"e_write", 0.11}, {"e_read", 0.17},  {"w_q", 0.23},          {"w_k", 0.29},          {"parent_q", 0.31},
      {"child_k", 0.41}, {"child_v", 0.43}, {"parent_token", 0.47}, {"slope_parent", 0.59}, {"slope_child", 0.61},
      {"lora_a", 0.37},  {"lora_b", 0.53},  {"summary", 0.67},      {"first", 0.71}};
  for (const Parameter& p : rig.parameters.all()) {
    const std::string kind = p.name.substr(p.name.rfind('.') + 1);
    const double size = kind.starts_with("lora") ? 0.1 : 0.15;
    std::vector<float> values(static_cast<size_t>(p.size()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(size * std::cos(pitches.at(kind) * static_cast<double>(i + 1)));
    CHECK(rig.parameters.set_values(*rig.parameters.find(p.name), values).ok());
  }
}

DecoderSettings with_additions() {
  DecoderSettings settings;
  settings.lora.rank = 2, settings.lora.alpha = 3;
  return settings;
}

std::vector<TokenId> text(int salt, int n) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((37 * salt + 11 * i + i * i) % 64);
  return tokens;
}

// A tree is read, a question is routed by it and answered; what all of it is worse by than it could be.
double memory_loss(Rig& rig, const MemoryModel& memory) {
  TextTree tree;
  tree.parents = {-1, 0, 1, 1, 0, 4, 4, 6, 6};
  tree.tokens = {{}, text(1, 18), text(2, 20), text(3, 19), {}, text(5, 22), {}, text(7, 18), text(8, 21)};
  const auto question = text(9, 36), answer = text(10, 4);
  Tape& tape = rig.tape;
  const Var memories = memory.build(tape, tree);
  const std::span<const TokenId> asked = question;
  const Var scores = memory.scores(tape, memory.queries(tape, {&asked, 1}), memories);
  const Var siblings = tape.reshaped(tape.gathered(tape.reshaped(scores, 9, 1), {1, 4}), 1, 2);
  double loss = MemoryModel::route_loss(tape, siblings, {0}, 1, 1);
  auto words = question;
  words.insert(words.end(), answer.begin(), answer.end());
  const Var parts[] = {memory.weights().entered(tape, tape.gathered(memories, {0, 1, 4, 7})),
                       rig.decoder->embed(tape, words)};
  Batch batch;
  batch.add(4 + 36 + 4);
  const Var rows = tape.gathered(rig.decoder->run(tape, tape.stacked(parts), batch), {39, 40, 41, 42});
  loss += rig.decoder->loss(tape, rows, {answer.begin(), answer.end()}, {1, 1, 1, 1});
  const Status status = tape.backward();
  if (!status.ok()) test::fail(__FILE__, __LINE__, status.message());
  return loss;
}

void check_memory(const std::string& name, const std::string& kind, Aggregation aggregation) {
  Rig rig(name, with_additions());
  REQUIRE(rig.decoder != nullptr);
  auto memory = MemoryModel::create(
      *rig.decoder, rig.parameters,
      {.aggregation = aggregation, .d_routing = 8, .query_fraction = 0.5f, .scales = true, .seed = 1});
  REQUIRE_OK(memory);
  take_golden_values(rig);
  const double loss = memory_loss(rig, **memory);
  CHECK(std::abs(loss - goldens().at(name + "+" + kind).at("loss").norm) < 5e-5);  // five terms
  check_gradients(name + "+" + kind, rig, 5);                                      // four levels, and the answer
}

// A text is told segment by segment, a question recalls of it and is answered.
double recurrent_loss(Rig& rig, const MemoryModel& memory) {
  const Segments segments(TextTree{{-1}, {text(3, 96)}}, 32);
  const auto question = text(9, 36), answer = text(10, 4);
  Tape& tape = rig.tape;
  const RecurrentModel model(*rig.decoder, memory);
  auto reading = model.read(tape, {{&segments, {0, 1, 2}}}, RecurrentModel::From::Recall, true);
  double loss = rig.decoder->loss(tape, reading.rows, std::move(reading.targets), std::vector<float>(96, 1.0f / 96));
  const std::span<const TokenId> asked = question;
  const Var summary = memory.queries(tape, {&asked, 1}), memories = reading.memories[0];
  loss += MemoryModel::route_loss(tape, memory.scores(tape, summary, memories), {1}, 1, 1);
  const auto sensory = segments.with_front(3, 3);
  std::vector<TokenId> words(sensory.begin(), sensory.end());
  words.insert(words.end(), question.begin(), question.end());
  words.insert(words.end(), answer.begin(), answer.end());
  const Var parts[] = {model.given(tape, summary, memories), rig.decoder->embed(tape, words)};
  Batch batch;
  batch.add(1 + 3 + 36 + 4);
  const Var rows = tape.gathered(rig.decoder->run(tape, tape.stacked(parts), batch), {39, 40, 41, 42});
  loss += rig.decoder->loss(tape, rows, {answer.begin(), answer.end()}, {1, 1, 1, 1});
  const Status status = tape.backward();
  if (!status.ok()) test::fail(__FILE__, __LINE__, status.message());
  return loss;
}

}  // namespace

TEST(gradients_of_every_architecture_agree_with_an_independent_implementation) {
  for (const std::string& name : models()) {
    Rig rig(name, {.all_weights = true, .keeps_layers = false, .lora = {}});
    REQUIRE(rig.decoder != nullptr);
    const double loss = rig.run({40});
    CHECK(std::abs(loss - goldens().at(name).at("loss").norm) < 1e-5);
    check_gradients(name, rig);
  }
}

TEST(gradients_of_low_rank_additions_agree_with_an_independent_implementation) {
  for (const std::string& name : models()) {
    Rig rig(name, with_additions());
    REQUIRE(rig.decoder != nullptr);
    take_golden_values(rig);
    const double loss = rig.run({40});
    CHECK(std::abs(loss - goldens().at(name + "+lora").at("loss").norm) < 1e-5);
    check_gradients(name + "+lora", rig);
  }
}

TEST(gradients_of_a_learned_memory_agree_with_an_independent_implementation) {
  for (const std::string& name : models()) check_memory(name, "graph", Aggregation::Graph);
}

TEST(gradients_of_every_aggregation_agree_with_an_independent_implementation) {
  check_memory("qwen3", "mean", Aggregation::Mean);
  check_memory("qwen3", "self_weights", Aggregation::SelfWeights);
  check_memory("qwen3", "cross_attention", Aggregation::CrossAttention);
  check_memory("qwen3", "parent_token", Aggregation::ParentToken);
}

TEST(gradients_of_a_recurrent_memory_agree_with_an_independent_implementation) {
  for (const std::string& name : models()) {
    Rig rig(name, with_additions());
    REQUIRE(rig.decoder != nullptr);
    MemorySettings settings{.d_routing = 8, .query_fraction = 0.5f, .scales = true};
    settings.method = MemoryMethod::Recurrent, settings.segment_tokens = 32, settings.sensory_tokens = 3;
    auto memory = MemoryModel::create(*rig.decoder, rig.parameters, settings);
    REQUIRE_OK(memory);
    take_golden_values(rig);
    const double loss = recurrent_loss(rig, **memory);
    CHECK(std::abs(loss - goldens().at(name + "+hmt").at("loss").norm) < 5e-5);
    check_gradients(name + "+hmt", rig, 5);  // three segments, a summary of the last, and the answer
  }
}
