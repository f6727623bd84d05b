// train: a memory for a model, from documents and questions about them.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "app/cli/context.h"
#include "app/question_writer.h"
#include "app/training_texts.h"

namespace longleaf::cli {
namespace {

using train::TrainingInput;
using train::TrainingOptions;
using train::TrainingProgress;

struct Arguments {
  std::string corpus, questions, out, aggregation = "graph", method = "h2mt", targets = "q,k,v,o,gate,up,down";
  int64_t steps = 1000;
  double corpus_share = 0.5;
  size_t written = 0;  // questions, by the model
  TrainingOptions options;
  std::vector<const CLI::Option*> of_tree, of_segments;  // that only one method has a use for
};

// Documents of the library, or of a folder or file, which is imported where it has to be. Questions that lie in the
// folder are no document of it.
Result<std::vector<DocumentRow>> corpusOf(Context& context, const std::string& corpus, const std::string& questions) {
  LL_ASSIGN_OR_RETURN(Library * library, context.library());
  const Status nothing(Code::Invalid, "There is no document to train on in " + corpus +
                                          "; name a folder with some, a file, or “library”");
  if (corpus == "library") {
    size_t unread = 0;
    LL_ASSIGN_OR_RETURN(auto all, documents_to_train_on(*library, unread));
    if (unread > 0) context.warn("Documents that are not read to their end are left out: " + std::to_string(unread));
    if (all.empty()) return nothing;
    return all;
  }
  std::vector<std::filesystem::path> files;
  std::error_code error;
  if (std::filesystem::is_directory(corpus, error)) {
    for (const auto& entry : std::filesystem::directory_iterator(corpus, error))
      if (entry.is_regular_file(error) && !std::filesystem::equivalent(entry.path(), questions, error))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(corpus);
  }
  std::vector<DocumentRow> documents;
  for (const auto& file : files) {
    const auto document = context.document(file.string());
    if (document.ok())
      documents.push_back(*document);
    else if (files.size() == 1 || document.status().code() == Code::Cancelled)
      return document.status();
    else
      context.failed(document.status());  // one bad file does not stop a folder
  }
  if (documents.empty()) return nothing;
  return documents;
}

// Questions that the model writes lie beside what is made of them.
Status writeQuestions(Context& context, const std::vector<DocumentRow>& rows, Arguments& args) {
  LL_ASSIGN_OR_RETURN(Library * library, context.library());
  LL_ASSIGN_OR_RETURN(Engine * engine, context.engine());
  args.questions = args.out + ".questions.jsonl";
  const auto progress = [&](size_t n, size_t leaves, size_t all) {
    context.progress("Writing questions: " + std::to_string(n) + " of " + std::to_string(args.written) + ", about " +
                     std::to_string(leaves) + " of " + std::to_string(all) + " passages");
  };
  const auto written =
      write_questions_file(*library, rows, leaf_asker(*engine, context.stop()), args.questions, args.written, progress);
  context.progress("");
  engine->rest();  // training needs the room
  if (written.ok() && *written < args.written)
    context.warn("Questions that the model wrote: " + std::to_string(*written) + ", about all passages that there are");
  return written.status();
}

Result<TrainingInput> readInput(Context& context, Arguments& args) {
  LL_ASSIGN_OR_RETURN(Library * library, context.library());
  LL_ASSIGN_OR_RETURN(const auto rows, corpusOf(context, args.corpus, args.questions));
  if (args.written > 0) {
    context.progress("Preparing …");
    LL_ASSIGN_OR_RETURN(const TrainingTexts texts, training_texts(*library, rows, "", context.stop()));
    LL_RETURN_IF_ERROR(train::TrainingRun::check(args.options, texts.input, context.stop()));
    LL_RETURN_IF_ERROR(writeQuestions(context, rows, args));
  }
  LL_ASSIGN_OR_RETURN(TrainingTexts texts, training_texts(*library, rows, args.questions, context.stop()));
  for (const std::string& note : texts.notes) context.warn(note);
  return std::move(texts.input);
}

std::string duration(double seconds) {
  const auto minutes = static_cast<int>(std::ceil(seconds / 60));
  return minutes < 120 ? std::to_string(minutes) + " min" : std::to_string((minutes + 30) / 60) + " h";
}

void tellProgress(Context& context, const TrainingProgress& p) {
  char line[200];
  std::snprintf(line, sizeof line, "Step %lld of %lld (%s): loss %.3f, about %s left",
                static_cast<long long>(p.step.step), static_cast<long long>(p.total_steps),
                p.step.corpus ? "text" : "questions", p.step.answer_loss, duration(p.seconds_left).c_str());
  context.progress(line);
  if (!p.scores || context.json()) return;
  context.progress("");
  std::printf("step %lld: held-out loss %.4f, %.1f %% of answers right, %.1f %% of evidence reached\n",
              static_cast<long long>(p.step.step), p.scores->answer_loss, 100 * p.scores->right,
              100 * p.scores->gold_leaves_survive);
  std::fflush(stdout);
}

Json scoresJson(const std::optional<train::MemoryScores>& scores) {
  if (!scores) return nullptr;
  return {{"questions", scores->questions},
          {"answer_loss", scores->answer_loss},
          {"right", scores->right},
          {"gold_survives", scores->gold_survives},
          {"gold_leaves_survive", scores->gold_leaves_survive},
          {"memory_tokens", scores->memory_tokens}};
}

// Options that the method has no use for.
Status checkMethod(const Arguments& args, MemoryMethod method) {
  for (const CLI::Option* option : method == MemoryMethod::Tree ? args.of_segments : args.of_tree)
    if (option->count() > 0)
      return Status(Code::Invalid, "The option " + option->get_name() + " is not for a memory by " + name_of(method) +
                                       "; leave it out, or choose the other method");
  return {};
}

Status readOptions(const Context& context, Arguments& args) {
  TrainingOptions& o = args.options;
  if (!context.hasModel()) return Status(Code::Invalid, "Training needs a model: name its file with --model FILE");
  o.model = context.modelFile();
  o.out = args.out;
  o.device = context.device();
  o.n_threads = context.threads();
  o.memory_limit_bytes = context.memoryLimit();
  for (const double number : {double{o.steps.optimizer.rate}, double{o.lora.alpha}, args.corpus_share, o.held_out,
                              double{o.memory.query_fraction}, double{o.steps.route_weight},
                              double{o.steps.reconstruction_weight}, double{o.steps.text_weight}})
    if (!std::isfinite(number)) return Status(Code::Invalid, "An option is not a number; see train --help");
  std::error_code ignored;
  if (std::filesystem::equivalent(args.questions, args.out, ignored) ||
      std::filesystem::equivalent(args.corpus, args.out, ignored))
    return Status(Code::Invalid,
                  "The file " + args.out + " is what is to be trained on; give the adapter another name");
  o.lora.targets.clear();
  for (size_t at = 0; at <= args.targets.size();) {
    const size_t end = std::min(args.targets.find(',', at), args.targets.size());
    o.lora.targets.insert(args.targets.substr(at, end - at));
    at = end + 1;
  }
  for (const std::string& target : o.lora.targets)
    if (train::LoraSettings().targets.count(target) == 0)
      return Status(Code::Invalid, "There is no matrix “" + target + "”; choose among q, k, v, o, gate, up and down");
  LL_ASSIGN_OR_RETURN(o.memory.aggregation, aggregation_named(args.aggregation));
  LL_ASSIGN_OR_RETURN(o.memory.method, memory_method_named(args.method));
  if (o.begin.empty()) LL_RETURN_IF_ERROR(checkMethod(args, o.memory.method));
  set_steps(o, args.steps, args.corpus_share, !args.questions.empty() || args.written > 0);
  return {};
}

void tellPlan(Context& context, const train::TrainingRun& run) {
  const train::TrainingPlan& plan = run.plan();
  if (!plan.device_note.empty()) context.warn(plan.device_note);
  if (context.json()) return;
  std::printf("%zu documents, %zu passages, %lld tokens; %zu questions, and %zu held out\n", plan.documents,
              plan.leaves, static_cast<long long>(plan.tokens), plan.questions, plan.held_out);
  std::printf("%.2f million numbers are trained; this takes about %.0f MiB of memory on %s\n",
              static_cast<double>(plan.parameters) * 1e-6, static_cast<double>(plan.bytes) / (1 << 20),
              plan.device.c_str());
  if (plan.left_out > 0)
    std::printf("Questions without words or an answer, or too long for the model, are left out: %zu\n", plan.left_out);
  if (run.steps_done() > 0) std::printf("Going on after step %lld\n", static_cast<long long>(run.steps_done()));
  std::fflush(stdout);
}

int runTrain(Context& context, Arguments& args) {
  if (const Status status = readOptions(context, args); !status.ok()) return context.failed(status);
  LL_TRY(const TrainingInput input, readInput(context, args));
  context.progress("Preparing …");
  LL_TRY(const auto run, train::TrainingRun::prepare(args.options, input, context.stop()));
  context.progress("");
  // An adapter that it begins with says its method only now.
  if (const Status status = checkMethod(args, run->plan().method); !status.ok()) return context.failed(status);
  tellPlan(context, *run);
  context.progress("Taking the time of a step …");
  const auto estimate = run->estimate(context.stop());
  const double seconds = estimate.ok() ? *estimate : 0;  // else the run that follows says why
  context.progress("");
  if (!context.json() && seconds > 0) {
    std::printf("The steps that are left take about %s, without scores\n", duration(seconds).c_str());
    std::fflush(stdout);
  }
  LL_TRY(const train::TrainingResult result,
         run->run([&](const TrainingProgress& p) { tellProgress(context, p); }, context.stop()));
  context.progress("");
  if (context.json())
    Context::print({{"steps", result.steps},
                    {"stopped", result.stopped},
                    {"early", result.early},
                    {"scores", scoresJson(result.best)},
                    {"stated_bytes", run->plan().bytes},
                    {"stated_seconds", seconds},
                    {"peak_bytes", result.peak_bytes},
                    {"device", run->plan().device},
                    {"adapter", args.out}});
  else if (result.stopped)
    std::printf("Stopped after step %lld; the same command goes on from there\n", static_cast<long long>(result.steps));
  else
    std::printf("%s %lld steps; the memory is in %s\n",
                result.early ? "Held-out scores stopped getting better: done after" : "Done after",
                static_cast<long long>(result.steps), args.out.c_str());
  return kDone;
}

}  // namespace

void addTrainCommand(CLI::App& app, Context& context, Run& run) {
  static Arguments args;
  train::MemoryTrainingSettings& steps = args.options.steps;
  auto* command = app.add_subcommand("train", "Train a memory for a model, on documents and questions about them");
  command->add_option("--corpus", args.corpus, "Folder or file of documents, or “library”")->required();
  command->add_option("--out", args.out, "The adapter that is made; beside it FILE.state and FILE.csv")->required();
  auto* begin = command->add_option("--begin-with", args.options.begin,
                                    "An adapter whose training goes on with these texts, in a new file");
  auto* questions = command->add_option("--qa", args.questions,
                                        "JSON lines of {document, question, answers, pages}, or MMLongBench-Doc");
  command
      ->add_option("--write-questions", args.written,
                   "So many questions are written by the model about the texts first, into FILE.questions.jsonl")
      ->check(CLI::Range(1, 1'000'000))
      ->excludes(questions);
  command->add_option("--steps", args.steps, "Steps in all")->check(CLI::Range(1, 10'000'000));
  command
      ->add_option("--corpus-share", args.corpus_share,
                   "Of the steps, that are on text alone, when there are questions")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--rank", args.options.lora.rank, "Of the low-rank additions to the model; 0: none")
      ->check(CLI::Range(0, 1024));
  command->add_option("--alpha", args.options.lora.alpha, "Their scale times their rank")->check(CLI::PositiveNumber);
  command->add_option("--targets", args.targets, "Matrices that get them, of q,k,v,o,gate,up,down");
  command->add_option("--rate", steps.optimizer.rate, "Learning rate at its highest")->check(CLI::PositiveNumber);
  command->add_option("--aggregation", args.aggregation, "mean, self_weights, cross_attention, graph or parent_token");
  command
      ->add_option("--piece-tokens", args.options.piece_tokens,
                   "Text of a leaf, at most, that a memory is of; 0: as much as the model reads at once, 4,096 at most")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--method", args.method,
                      "h2mt: a memory per section; hmt: one after another as the text is read");
  command->add_option("--segment-tokens", args.options.memory.segment_tokens, "hmt: text that a memory is of")
      ->check(CLI::Range(2, 1 << 20));
  command->add_option("--sensory-tokens", args.options.memory.sensory_tokens, "hmt: text in front, read with it again")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--recalled", args.options.memory.recalled, "hmt: memories that are looked back at, at most")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--step-segments", steps.most_segments, "hmt: most segments of a text that a step reads")
      ->check(CLI::Range(2, 1 << 20));
  command->add_option("--query-fraction", args.options.memory.query_fraction, "Of the question, that routes it")
      ->check(CLI::Range(0.01f, 1.0f));
  command->add_flag("--scale-memories", args.options.memory.scales,
                    "Bring memories to the size of embeddings; for small models");
  command
      ->add_option("--children", args.options.children,
                   "Parts of every section that a question goes on to; else 4, or as the adapter that it begins with")
      ->check(CLI::Range(1, 1000));
  command->add_option("--step-tokens", steps.tokens_per_corpus_step, "Tokens of a step on text")
      ->check(CLI::Range(16, 1 << 20));
  command->add_flag("!--whole-texts", steps.begins_short, "Tell texts whole from the first step on");
  command->add_option("--step-questions", steps.questions_per_step, "Questions of a step")->check(CLI::Range(1, 1024));
  command->add_option("--step-nodes", steps.most_nodes, "Most nodes of a document that a step reads")
      ->check(CLI::Range(2, 1 << 20));
  command->add_option("--reconstruction", steps.reconstruction_weight, "Weight of telling a text back from its memory")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--text-weight", steps.text_weight, "Weight of telling texts in steps on questions")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--route-weight", steps.route_weight, "Weight of routing beside answering")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--held-out", args.options.held_out, "Share of the questions for scores; 0: none")
      ->check(CLI::Range(0.0, 0.5));
  command->add_option("--score-every", args.options.score_every, "Steps from score to score, and from save to save")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--patience", args.options.patience, "Scores that may be no better before training ends")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--train-seed", steps.seed, "Of what steps look at");
  args.of_tree = {command->get_option("--aggregation"), command->get_option("--children"),
                  command->get_option("--step-nodes"),  command->get_option("--reconstruction"),
                  command->get_option("--text-weight"), command->get_option("--whole-texts"),
                  command->get_option("--piece-tokens")};
  args.of_segments = {command->get_option("--segment-tokens"), command->get_option("--sensory-tokens"),
                      command->get_option("--recalled"), command->get_option("--step-segments")};
  for (const char* shape : {"--rank", "--alpha", "--targets", "--aggregation", "--method", "--segment-tokens",
                            "--sensory-tokens", "--recalled", "--query-fraction", "--scale-memories"})
    begin->excludes(command->get_option(shape));  // the adapter has them
  command->callback([&] { run = [&] { return runTrain(context, args); }; });
}

}  // namespace longleaf::cli
