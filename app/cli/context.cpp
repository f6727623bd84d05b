#include "app/cli/context.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <thread>

#include "app/places.h"
#include "engine/base/log.h"
#include "ingest/library/import_queue.h"

namespace longleaf::cli {
namespace {

constexpr size_t kShortId = 12;
std::vector<std::string> kvNames() {
  std::vector<std::string> names;
  for (const KvFormat& format : kKvFormats) names.emplace_back(format.name);
  return names;
}

const std::map<std::string, double> kSizes = {{"MB", 1e6}, {"GB", 1e9}, {"MiB", 0x1p20}, {"GiB", 0x1p30}};

}  // namespace

void Context::addOptions(CLI::App& app) {
  app.add_option("--library", data_option_, "Data folder")->type_name("DIR");
  app.add_option("--model", model_, "GGUF file or safetensors folder")->type_name("FILE");
  app.add_option("--draft", draft_, "Smaller model of the same vocabulary, which writes ahead and is checked")
      ->type_name("FILE");
  app.add_option("--adapter", adapter_, "Memory that was trained for the model, for memory_tokens or hmt")
      ->type_name("FILE");
  app.add_option("--embedder", embedder_file_, "Embedding model (BERT family) that helps to find passages")
      ->type_name("FILE");
  app.add_option("--device", device_, "auto, cpu or cuda[:N]; several cards with commas between them")
      ->type_name("NAME");
  app.add_option("--memory-limit", memory_limit_,
                 "Memory a model may take of each card, or with --device cpu of the processor: 6GB, 800MiB")
      ->type_name("SIZE")
      ->transform(
          CLI::AsNumberWithUnit(kSizes, CLI::AsNumberWithUnit::Options(CLI::AsNumberWithUnit::UNIT_REQUIRED |
                                                                       CLI::AsNumberWithUnit::CASE_INSENSITIVE)))
      ->check(CLI::Range(1.0, 1e15));
  app.add_option("--kv", kv_name_,
                 "How keys and values are kept: f16, q8_0 (half the memory and files, nearly as exact) or f32")
      ->type_name("FORMAT")
      ->transform(CLI::IsMember(kvNames(), CLI::ignore_case));
  app.add_option("--threads", threads_, "Threads to compute with (0: one per processor)")->check(CLI::Range(0, 1024));
  app.add_flag("--json", json_, "Print JSON for programs");
  app.add_flag("--progress", progress_, "Show progress even where stderr is no terminal");
  app.add_flag("--verbose", verbose_, "Print the log on stderr");
  app.add_flag("--password-stdin", password_from_stdin_, "Read the password of an encrypted file from standard input");
}

kernels::DType Context::kv() const {
  return std::find_if(std::begin(kKvFormats), std::end(kKvFormats),
                      [this](const KvFormat& format) { return kv_name_ == format.name; })
      ->type;
}

void Context::start() {
  data_folder_ = data_option_.empty() ? defaultDataFolder() : std::filesystem::absolute(data_option_);
  std::error_code error;
  std::filesystem::create_directories(data_folder_, error);
  if (const Status log_status = start_log(data_folder_, verbose_); !log_status.ok())
    std::fprintf(stderr, "%s\n", log_status.message().c_str());
  if (password_from_stdin_) std::getline(std::cin, password_);
  // Ctrl-C asks politely once; a second time it ends the program. The watch is a thread because a stop request runs
  // more than a signal handler may.
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  sigaddset(&interrupt, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &interrupt, nullptr);
  std::thread([source = stop_, interrupt]() mutable {
    int which = 0;
    sigwait(&interrupt, &which);
    source.request_stop();
    sigwait(&interrupt, &which);
    _exit(130);
  }).detach();
}

Result<Library*> Context::library() {
  if (library_ == nullptr) {
    LL_ASSIGN_OR_RETURN(library_, Library::open(data_folder_));
  }
  return library_.get();
}

Result<Engine*> Context::engine() {
  if (engine_ != nullptr) return engine_.get();
  if (model_.empty())
    return Status(Code::Invalid, "No model is given; add --model FILE with a GGUF file, or ask with --evidence quote");
  const auto facts = describe_model(model_, kv());
  progress(!facts.ok() ? "Loading the model …"
                       : "Loading the model, about " + std::to_string(facts->needed.all() >> 20) + " MiB …");
  LL_ASSIGN_OR_RETURN(engine_, Engine::load(model_, {.device = device_,
                                                     .n_threads = threads_,
                                                     .memory_limit_bytes = static_cast<size_t>(memory_limit_),
                                                     .kv = kv(),
                                                     .draft = draft_,
                                                     .adapter = adapter_,
                                                     .gpu = {}}));
  if (engine_->facts().chat.is_plain())
    log(LogLevel::Warning,
        "The model has no chat template that this version knows; plain questions and answers are used");
  return engine_.get();
}

Result<Embedder*> Context::embedder() {
  if (embedder_ == nullptr && !embedder_file_.empty()) {
    LL_ASSIGN_OR_RETURN(embedder_, Embedder::load(embedder_file_, threads_));
  }
  return embedder_.get();
}

Result<std::unique_ptr<Asking>> Context::asking(bool with_model) {
  LL_ASSIGN_OR_RETURN(Library * library, this->library());
  Engine* engine = nullptr;
  if (with_model && hasModel()) {
    LL_ASSIGN_OR_RETURN(engine, this->engine());
  }
  LL_ASSIGN_OR_RETURN(Embedder * embedder, this->embedder());
  auto asking = std::make_unique<Asking>(*library, engine, embedder);
  asking->onReading([this](size_t done, size_t leaves) {
    progress("Reading for meaning: passage " + std::to_string(done) + " of " + std::to_string(leaves));
    if (done == leaves) progress("");
  });
  return asking;
}

Result<DocumentRow> Context::document(const std::string& name) {
  LL_ASSIGN_OR_RETURN(Library * library, this->library());
  // A path means the file as it is now, not as it was when it was imported from there.
  std::error_code error;
  auto found = library->find(name);
  if (std::filesystem::is_regular_file(name, error)) {
    LL_ASSIGN_OR_RETURN(const ImportReport report, import(name));
    return report.document;
  }
  if (found.ok() && found->state != DocumentState::Ready)
    return Status(Code::NotFound, "“" + found->title + "” has not been read to its end; import " +
                                      found->path.string() + " again, it goes on where it stopped");
  return found;
}

Result<ImportReport> Context::import(const std::filesystem::path& file, bool named) {
  LL_ASSIGN_OR_RETURN(Library * library, this->library());
  ImportQueue queue(*library);
  LL_ASSIGN_OR_RETURN(const bool waited, queue.has(file));
  LL_RETURN_IF_ERROR(queue.add({file}, named));
  LL_RETURN_IF_ERROR(queue.begin(file));
  ImportOptions options;
  options.reader = readerOptions();
  options.stop = stop();
  options.progress = [this](const ImportProgress& p) {
    progress("Reading " + p.title + ": page " + std::to_string(p.pages_done) + " of " + std::to_string(p.pages));
  };
  auto report = import_document(*library, file, options);
  const bool forget = report.status().code() == Code::Cancelled && !waited;
  LL_RETURN_IF_ERROR(forget ? queue.drop(file) : queue.end(file, report.status()));
  if (report.ok())
    log(LogLevel::Info, "imported " + report->document.id + " in " + std::to_string(report->seconds) + " s");
  if (!report.ok() && report.status().code() == Code::Locked && !is_of_library(report.status()))
    return Status(Code::Locked, file.string() + ": " + report.status().message() + "; give it with --password-stdin");
  return report;
}

ReaderOptions Context::readerOptions() const {
  ReaderOptions options;
  options.worker = pdfWorkerProgram();
  options.password = password_;
  return options;
}

void Context::progress(const std::string& line) {
  if (!progress_ && isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  if (line.empty()) std::fflush(stderr);
  line_open_ = !line.empty();
}

void Context::print(const Json& value) {
  std::printf("%s\n", value.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

void Context::warn(const std::string& sentence) {
  if (line_open_) progress("");
  std::fprintf(stderr, "longleaf-cli: %s.\n", sentence.c_str());
}

int Context::failed(const Status& status) {
  warn(status.message());
  return status.code() == Code::Invalid ? kUsage : kFailed;
}

Json boxesJson(const std::vector<Box>& boxes) {
  Json all = Json::array();
  for (const Box& box : boxes) all.push_back({box.x0, box.y0, box.x1, box.y1});
  return all;
}

std::string shortId(const DocumentRow& document) { return document.id.substr(0, kShortId); }

void addDescentOptions(CLI::App& command, DescentOptions& descent) {
  command
      .add_option("--children", descent.children,
                  "memory_tokens: parts of every section that are kept; hmt: segments that are named as evidence; 0: "
                  "as the adapter was trained, of hmt 4")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command.add_option("--memory-depth", descent.most_depth, "memory_tokens: levels below the top; 0: all")
      ->check(CLI::Range(0, 1000));
  command.add_option("--most-memories", descent.most_nodes, "memory_tokens: at most, the likeliest")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command.add_flag("--leaves-only", descent.leaves_only, "memory_tokens: without the sections above");
}

}  // namespace longleaf::cli
