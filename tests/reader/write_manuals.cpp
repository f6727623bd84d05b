// Writes synthetic manuals as Markdown, and questions about them with their answers, as `eval qa` and `train` read
// them.
//   write_manuals FOLDER PARTS MANUALS QUESTIONS SEED [known|held-out [FACTS]]
// Names and numbers are those that the reader was not trained with, or with `known` those that it was; FACTS of a part,
// about. Files of several seeds have room in one folder: manual-SEED-1.md …, questions-SEED.jsonl.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/base/files.h"
#include "tests/reader/world.h"

using namespace longleaf;
using namespace longleaf::reader;

int main(int argc, char** argv) {
  if (argc < 6)
    return std::fprintf(stderr, "write_manuals FOLDER PARTS MANUALS QUESTIONS SEED [known|held-out [FACTS]]\n"), 2;
  const std::filesystem::path folder = argv[1];
  ManualShape shape;
  shape.leaves = std::atoi(argv[2]);
  shape.questions = std::atoi(argv[4]);
  shape.held_out = argc < 7 || std::string_view(argv[6]) != "known";
  if (argc > 7) shape.facts = std::max(1, std::atoi(argv[7]));
  Random random(static_cast<uint64_t>(std::atoll(argv[5])));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  std::string questions;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    const SyntheticManual manual = make_manual(shape, random.next());
    const std::string name = "manual-" + std::string(argv[5]) + "-" + std::to_string(i + 1) + ".md";
    if (const Status status = write_file(folder / name, manual.markdown); !status.ok())
      return std::fprintf(stderr, "%s\n", status.message().c_str()), 1;
    for (const ManualQuestion& q : manual.questions)
      questions += nlohmann::json{{"document", name}, {"question", q.text}, {"answers", {q.answer}}}.dump() + "\n";
  }
  if (const Status status = write_file(folder / ("questions-" + std::string(argv[5]) + ".jsonl"), questions);
      !status.ok())
    return std::fprintf(stderr, "%s\n", status.message().c_str()), 1;
  return 0;
}
