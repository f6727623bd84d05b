// longleaf-cli as a user runs it, on a manual and a small model of a folder of its own.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace longleaf::test {

using Json = nlohmann::json;

struct Outcome {
  int status;
  std::string out, err;
  Json json() const { return Json::parse(out, nullptr, false); }
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct CliRig {
  TemporaryFolder folder;
  std::string pdf = (folder / "manual.pdf").string(), model = (folder / "model.gguf").string();
  explicit CliRig(int pages = 10) {
    manual({.pages = pages, .outline = true, .salt = 0}).save(pdf);
    std::ofstream(model, std::ios::binary) << random_model_gguf({.layers = 4,
                                                                 .d_model = 64,
                                                                 .heads = 4,
                                                                 .kv_heads = 2,
                                                                 .d_ff = 128,
                                                                 .context = 2000,
                                                                 .seed = 2,
                                                                 .chat_template = "<|im_start|>"});
  }
  std::string command(const std::string& arguments) const {
    return program("longleaf-cli").string() + " --library " + (folder / "lib").string() + " " + arguments;
  }
  Outcome run(const std::string& arguments) const {
    const std::string line =
        command(arguments) + " >" + (folder / "out").string() + " 2>" + (folder / "err").string() + " </dev/null";
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, slurp(folder / "out"), slurp(folder / "err")};
  }
};

}  // namespace longleaf::test
