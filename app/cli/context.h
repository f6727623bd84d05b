// What the commands of longleaf-cli share: options, the library, the model, how results and reasons are printed.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "app/asking.h"
#include "ingest/library/importer.h"

namespace longleaf::cli {

using Json = nlohmann::ordered_json;

enum ExitStatus { kDone = 0, kFailed = 1, kUsage = 2 };

class Context {
 public:
  // Global options; every command has them.
  void addOptions(CLI::App& app);
  // Starts the log and the watch for Ctrl-C. Call after parsing.
  void start();

  bool json() const { return json_; }
  std::stop_token stop() const { return stop_.get_token(); }
  const std::filesystem::path& dataFolder() const { return data_folder_; }
  Result<Library*> library();
  // Device and model of the options; Invalid without --model.
  Result<Engine*> engine();
  bool hasModel() const { return !model_.empty(); }
  const std::string& modelFile() const { return model_; }
  int threads() const { return threads_; }
  const std::string& device() const { return device_; }
  size_t memoryLimit() const { return static_cast<size_t>(memory_limit_); }
  kernels::DType kv() const;
  bool hasDraft() const { return !draft_.empty(); }
  // The embedding model of the options; nullptr without one.
  Result<Embedder*> embedder();
  bool hasEmbedder() const { return !embedder_file_.empty(); }
  // An Asking with both, as far as they are given. with_model: false leaves the language model out.
  Result<std::unique_ptr<Asking>> asking(bool with_model = true);

  // By id, title or path; a PDF that is not there yet is imported first.
  Result<DocumentRow> document(const std::string& name);
  //   named  by a person, so that it is tried again if it was set aside; not one of a folder's
  Result<ImportReport> import(const std::filesystem::path& file, bool named = true);

  ReaderOptions readerOptions() const;

  // A line that is overwritten by the next, on a terminal or when --progress asks.
  void progress(const std::string& line);

  static void print(const Json& value);
  // Prints the reason; returns the exit status for it.
  int failed(const Status& status);
  // Prints what should be known, and goes on.
  void warn(const std::string& sentence);

 private:
  std::string data_option_, model_, draft_, adapter_, embedder_file_, device_ = "auto";
  bool json_ = false, verbose_ = false, progress_ = false, password_from_stdin_ = false, line_open_ = false;
  int threads_ = 0;
  std::string kv_name_ = "f16";
  double memory_limit_ = 0;  // bytes; 0: none
  std::filesystem::path data_folder_;
  std::string password_;
  std::stop_source stop_;
  std::unique_ptr<Library> library_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Embedder> embedder_;
};

// Commands register themselves; each sets `run` when it was chosen.
using Run = std::function<int()>;
void addDocumentCommands(CLI::App& app, Context& context, Run& run);
void addUpkeepCommands(CLI::App& app, Context& context, Run& run);
void addQuestionCommands(CLI::App& app, Context& context, Run& run);
void addModelCommands(CLI::App& app, Context& context, Run& run);
void addEvalCommand(CLI::App& app, Context& context, Run& run);
void addEvalAnswersCommand(CLI::App& eval, Context& context, Run& run);
void addTrainCommand(CLI::App& app, Context& context, Run& run);

Json boxesJson(const std::vector<Box>& boxes);
std::string shortId(const DocumentRow& document);

// How far a question goes in a learned memory.
void addDescentOptions(CLI::App& command, DescentOptions& descent);

}  // namespace longleaf::cli

// For commands: assigns the value of a Result, or leaves with its reason printed. Needs a `context`.
#define LL_TRY(target, expression)                                                                  \
  auto LL_JOIN(ll_try_, __LINE__) = (expression);                                                   \
  if (!LL_JOIN(ll_try_, __LINE__).ok()) return context.failed(LL_JOIN(ll_try_, __LINE__).status()); \
  target = std::move(*LL_JOIN(ll_try_, __LINE__))
