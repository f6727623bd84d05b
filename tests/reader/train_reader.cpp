// Trains the reader of synthetic manuals from scratch. Stopped, it goes on where it was when it is started again.
//   train_reader OUT.gguf STATE [steps]     without a step to make, only scores are told
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "engine/base/files.h"
#include "engine/generate/chat_template.h"
#include "engine/memory/encoder.h"
#include "engine/train/decoder.h"
#include "kernels/cpu_backend.h"
#include "tests/reader/reader_model.h"
#include "tests/reader/world.h"

using namespace longleaf;
using namespace longleaf::reader;

namespace {

volatile std::sig_atomic_t stopped = 0;

// Of a token of the manual, beside one of an answer. Later it is nothing: what a text says next is mostly chance, and
// to guess at it is to learn which names and numbers are held out.
float text_weight(int64_t step) { return step < 1000 ? 0.1f : 0.0f; }
constexpr int kTokensPerStep = 2048;
constexpr int kSaveEvery = 500, kTestEvery = 250;

// A sequence, and how much the loss of every token behind its first counts.
struct Example {
  std::vector<TokenId> tokens;
  std::vector<float> weights;
  void add(const std::vector<TokenId>& more, float weight) {
    tokens.insert(tokens.end(), more.begin(), more.end());
    weights.insert(weights.end(), more.size(), weight);
  }
};

struct Reader {
  std::shared_ptr<const ModelFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatStyle chat;

  // The manual as evidence, then questions with their answers, turn by turn.
  Example example(const SyntheticManual& manual, float text_weight) const {
    Example e;
    const ChatPrompt opening = document_prompt(chat, manual.document.title, {}, "");
    e.add({tokenizer->bos()}, 0);
    e.add(encode_pieces(*tokenizer, opening.before), 0);
    for (const DocumentNode& node : manual.document.nodes)
      if (node.is_leaf) e.add(tokenizer->encode(node.text), text_weight);
    for (const ManualQuestion& q : manual.questions) {
      e.add(encode_pieces(*tokenizer, document_prompt(chat, "", {}, q.text).after), 0);
      e.add(tokenizer->encode(" " + q.answer), 1);
      e.add({2}, 1);
    }
    return e;
  }
};

// Copying comes first: a run of pieces, again and again. Answering is copying what stands behind the same words.
constexpr int64_t kCopySteps = 300;
Example copied_run(const Reader& reader, Random& random) {
  constexpr int kFirstPiece = 4;  // behind the special tokens
  std::vector<TokenId> run(static_cast<size_t>(4 + random.below(120)));
  for (TokenId& token : run) token = kFirstPiece + random.below(reader.tokenizer->size() - kFirstPiece);
  Example e;
  e.add({reader.tokenizer->bos()}, 0);
  e.add(run, 0);
  do e.add(run, 1);
  while (e.tokens.size() < 128);
  return e;
}

// Manuals grow while the reader learns; of one leaf alone it would learn to look at properties only, not at names.
ManualShape shape_at(int64_t step, Random& random) {
  const bool early = step < 1000;
  ManualShape shape;
  shape.leaves = 1 + random.below(early ? 4 : 10);
  shape.facts = 2 + random.below(6);
  shape.questions = 8 + random.below(6);
  shape.two_hop_percent = early ? 0 : 20;
  return shape;
}

Example example_at(const Reader& reader, int64_t step, Random& random) {
  if (step < kCopySteps || (step < 10 * kCopySteps && random.one_in(10))) return copied_run(reader, random);
  return reader.example(make_manual(shape_at(step, random), random.next()), text_weight(step));
}

struct Packed {
  std::vector<TokenId> tokens;
  std::vector<int32_t> targets;
  std::vector<float> weights;
  train::Batch batch;
};

Packed pack(const Reader& reader, int64_t step, uint64_t seed) {
  Packed p;
  Random random(seed);
  double total = 0;
  while (static_cast<int>(p.tokens.size()) < kTokensPerStep) {
    const Example e = example_at(reader, step, random);
    p.batch.add(static_cast<int>(e.tokens.size()));
    p.tokens.insert(p.tokens.end(), e.tokens.begin(), e.tokens.end());
    for (size_t i = 1; i <= e.tokens.size(); ++i) {
      p.targets.push_back(i < e.tokens.size() ? e.tokens[i] : 0);
      p.weights.push_back(i < e.tokens.size() ? e.weights[i] : 0.0f);
      total += double{p.weights.back()};
    }
  }
  for (float& weight : p.weights) weight = static_cast<float>(double{weight} / total);
  return p;
}

struct Count {
  int right = 0, all = 0;
};

// Answers to held-out manuals whose every token is the most likely one, by kind of question.
std::map<QuestionKind, Count> exact_answers(const Reader& reader, const train::Decoder& decoder, train::Tape& tape,
                                            int leaves) {
  std::map<QuestionKind, Count> counts;
  for (uint64_t i = 0; i < 12; ++i) {
    tape.clear();
    ManualShape shape;
    shape.leaves = leaves, shape.held_out = true;
    const SyntheticManual manual = make_manual(shape, 1'000'000 + i);
    const Example e = reader.example(manual, 0);
    train::Batch batch;
    batch.add(static_cast<int>(e.tokens.size()));
    const train::Var rows = decoder.run(tape, decoder.embed(tape, e.tokens), batch);
    std::vector<TokenId> targets(e.tokens.begin() + 1, e.tokens.end());
    targets.push_back(0);
    const std::vector<TokenId> guesses = decoder.guess(tape, rows, targets).tokens;
    size_t question = 0;
    for (size_t t = 1; t < e.tokens.size(); ++t) {
      if (e.weights[t] == 0) continue;
      bool good = true;
      for (; t < e.tokens.size() && e.weights[t] > 0; ++t) good = good && guesses[t - 1] == e.tokens[t];
      Count& count = counts[manual.questions[question++].kind];
      ++count.all, count.right += good ? 1 : 0;
    }
  }
  return counts;
}

void tell_scores(const Reader& reader, const train::Decoder& decoder, train::Tape& tape) {
  for (const int leaves : {1, 4, 10}) {
    const auto counts = exact_answers(reader, decoder, tape, leaves);
    Count sum;
    std::printf("  %2d leaves:", leaves);
    for (const auto& [kind, name] :
         {std::pair{QuestionKind::Fact, "facts"}, std::pair{QuestionKind::TwoHop, "two hops"},
          std::pair{QuestionKind::Unanswerable, "not stated"}}) {
      const auto it = counts.find(kind);
      if (it == counts.end()) continue;
      std::printf(" %s %d of %d,", name, it->second.right, it->second.all);
      sum.right += it->second.right, sum.all += it->second.all;
    }
    std::printf(" right in all %.1f %%\n", 100.0 * sum.right / std::max(1, sum.all));
  }
}

int fail(const Status& status) {
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return fail(Status(Code::Invalid, "train_reader OUT.gguf STATE [steps]"));
  const std::filesystem::path out = argv[1], state = argv[2];
  const int64_t steps = argc > 3 ? std::atoll(argv[3]) : 5000;
  std::signal(SIGINT, [](int) { stopped = 1; });
  std::signal(SIGTERM, [](int) { stopped = 1; });

  const ReaderShape shape;
  const std::string gguf = new_model(shape, 1);
  Reader reader;
  auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "reader");
  if (!file.ok()) return fail(file.status());
  reader.file = *file;
  auto tokenizer = Tokenizer::load(reader.file);
  if (!tokenizer.ok()) return fail(tokenizer.status());
  reader.tokenizer = *tokenizer;
  reader.chat = ChatStyle::of(*reader.file);

  const auto backend = kernels::make_cpu_backend();
  train::Parameters parameters(*backend);
  auto decoder = train::Decoder::create(reader.file, *backend, parameters,
                                        {.all_weights = true, .keeps_layers = true, .lora = {}});
  if (!decoder.ok()) return fail(decoder.status());
  std::printf("%.2f million weights, %d tokens in the vocabulary, template: %s\n",
              static_cast<double>(parameters.size()) * 1e-6, reader.tokenizer->size(), reader.chat.name().c_str());
  if (auto saved = read_file(state); saved.ok()) {
    if (const Status status = parameters.restore(*saved); !status.ok()) return fail(status);
    std::printf("going on behind step %lld\n", static_cast<long long>(parameters.steps()));
  } else if (saved.status().code() != Code::NotFound) {
    return fail(saved.status());
  }

  train::OptimizerSettings settings;
  settings.rate = 1e-3f, settings.warm_up_steps = 200, settings.total_steps = steps, settings.last_rate = 0.02f;
  settings.decay = 0.05f;
  train::Tape tape(*backend);
  if (parameters.steps() >= steps) tell_scores(reader, **decoder, tape);
  const auto begin = std::chrono::steady_clock::now();
  int64_t tokens = 0;
  while (parameters.steps() < steps) {
    const int64_t step = parameters.steps() + 1;
    const Packed p = pack(reader, step, static_cast<uint64_t>(step));
    tape.clear();
    const train::Var rows = (*decoder)->run(tape, (*decoder)->embed(tape, p.tokens), p.batch);
    const double loss = (*decoder)->loss(tape, rows, p.targets, p.weights);
    if (const Status status = tape.backward(); !status.ok()) return fail(status);
    auto norm = parameters.step(settings);
    if (!norm.ok()) return fail(norm.status());
    tokens += static_cast<int64_t>(p.tokens.size());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (step % 50 == 0)
      std::printf("step %lld: loss %.4f, gradient %.3f, %.0f tokens/s\n", static_cast<long long>(step), loss, *norm,
                  static_cast<double>(tokens) / seconds);
    if (step % kTestEvery == 0 || step == steps) {
      std::printf("step %lld\n", static_cast<long long>(step));
      tell_scores(reader, **decoder, tape);
    }
    std::fflush(stdout);
    const bool ends = stopped != 0;
    if (step % kSaveEvery == 0 || step == steps || ends) {
      auto bytes = parameters.state();
      if (!bytes.ok()) return fail(bytes.status());
      if (const Status status = write_file(state, *bytes); !status.ok()) return fail(status);
      auto model = trained_model(shape, parameters);
      if (!model.ok()) return fail(model.status());
      if (const Status status = write_file(out, *model); !status.ok()) return fail(status);
    }
    if (ends) break;
  }
  return 0;
}
