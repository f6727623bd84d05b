// A question from the library to a cited answer: route, choose evidence, answer, cite. Used by the command line and the
// window alike. Not thread-safe: uses a Library and an Engine of the calling thread.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "app/meaning.h"
#include "engine/engine.h"
#include "engine/routing/router.h"
#include "ingest/library/chats.h"
#include "ingest/library/lexical_index.h"
#include "ingest/library/library.h"

namespace longleaf {

struct AskOptions {
  Evidence evidence = Evidence::Auto;
  RouteMethod method = RouteMethod::Flat;
  int rerank = 0;  // leaves to rank again by how well their memory explains the question; each costs a pass over it
  SamplerOptions sampler;
  int max_tokens = 256;
  int evidence_tokens = 3072;
  int repair_tokens = 0;
  // See AnswerRequest.
  DescentOptions descent{.children = 0};
  MemoryRouting memory_routing = MemoryRouting::WithWords;
  std::vector<int64_t> leaves;  // that ToLeaves means
  std::optional<Gate> gate;
  std::shared_ptr<const Form> form;
  std::vector<Turn> history;
};

struct Asked {
  std::string answer;
  bool found = true;  // false: nothing in the document answers; `answer` says so
  bool stopped = false;
  bool whole = true;  // see AnswerResult
  Evidence evidence = Evidence::Quote;
  std::vector<CitationRow> citations;  // one per sentence of the answer, in order
  Route route;                         // kept: what was evidence, and its ancestors
  double route_ms = 0;
  AnswerStats stats;
};

struct AskCallbacks {
  std::function<void(const Route&)> on_route;  // once, with the first word
  std::function<void(std::string_view)> on_text;
  std::function<void(const AnswerStats&)> on_progress;  // with every token
};

class Asking {
 public:
  //   engine    nullptr: no model is loaded, only `quote` can answer
  //   embedder  nullptr: words decide what a question reaches, with the model's own memory where there is one
  explicit Asking(Library& library, Engine* engine, Embedder* embedder = nullptr) : library_(library), engine_(engine) {
    if (embedder != nullptr) meaning_.emplace(library, *embedder);
  }

  // Told while leaves that have no vector yet get one, before the first question of a document.
  void onReading(Meaning::Progress progress) { on_reading_ = std::move(progress); }
  // Makes the vectors of a document now. REQUIRES: an embedder.
  Status readMeaning(const DocumentRow& document, std::stop_token stop);

  // The document as the engine reads it; kept until another one is asked for.
  Result<const DocumentInput*> input(const DocumentRow& document);

  //   rerank  see AskOptions; needs an encoded document, else nothing is ranked again
  Result<Route> findRoute(const DocumentRow& document, const std::string& question, RouteMethod method, int rerank,
                          std::stop_token stop);

  // Auto without a model is `quote`. A stop request ends the answer; it is returned as far as it got.
  Result<Asked> ask(const DocumentRow& document, const std::string& question, const AskOptions& options,
                    const AskCallbacks& callbacks, std::stop_token stop);

 private:
  struct Sentence;
  Result<const LexicalIndex*> words(const DocumentRow& document);
  Status rankAgain(const DocumentInput& input, const std::string& question, int most, std::stop_token stop,
                   Route& route);
  Result<std::vector<Sentence>> sentencesOf(const std::vector<RoutedNode>& leaves, bool with_headings);
  Status quote(const std::string& question, const AskCallbacks& callbacks, Asked& asked);
  Status generate(const DocumentRow& document, const std::string& question, const AskOptions& options,
                  const AskCallbacks& callbacks, std::chrono::steady_clock::time_point start, std::stop_token stop,
                  Asked& asked);
  static void takeRoute(const DocumentInput& input, const AnswerResult& result, Asked& asked);
  Status cite(const std::vector<int64_t>& leaves, Asked& asked);
  Status sayNotFound(const AskCallbacks& callbacks, Asked& asked);

  Status addVectors(const DocumentInput& input, const std::string& question, std::stop_token stop, RouteInput& in);

  Library& library_;
  Engine* engine_;
  std::optional<Meaning> meaning_;
  std::shared_ptr<const NodeMemory> memory_;  // that the last route looked at
  Meaning::Progress on_reading_;
  DocumentInput input_;
  std::string state_;                  // of its text in the library, when it was read
  std::optional<LexicalIndex> words_;  // of words_document_
  std::pair<std::string, int64_t> words_document_;
};

}  // namespace longleaf
