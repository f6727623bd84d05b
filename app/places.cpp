#include "app/places.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace longleaf {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepestModelFolder = 6;

fs::path fromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? fs::path(value) : fs::path();
}

fs::path programFolder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

fs::path firstExisting(std::initializer_list<fs::path> places) {
  std::error_code error;
  for (const auto& place : places)
    if (fs::exists(place, error)) return place;
  return {};
}

}  // namespace

fs::path defaultDataFolder() {
  const fs::path data = fromEnvironment("XDG_DATA_HOME");
  return (data.is_absolute() ? data : fromEnvironment("HOME") / ".local/share") / "longleaf";
}

fs::path pdfWorkerProgram() {
  const fs::path here = programFolder();
  const fs::path found =
      firstExisting({here / "longleaf-pdf", fromEnvironment("LONGLEAF_PROGRAMS") / "longleaf-pdf",
                     here / "../lib/longleaf/longleaf-pdf", here / LONGLEAF_LIBRARY_FOLDER / "longleaf/longleaf-pdf"});
  return found.empty() ? here / "longleaf-pdf" : found;
}

fs::path memoryFolder(const fs::path& data_folder) { return data_folder / "memory"; }

fs::path trainedFolder(const fs::path& data_folder) { return data_folder / "trained"; }

fs::path sampleDocument() {
  const fs::path here = programFolder();
  return firstExisting({here / "../share/longleaf/sample.pdf", here / "sample.pdf"});
}

std::vector<fs::path> findModels(const fs::path& data_folder) {
  const fs::path home = fromEnvironment("HOME");
  std::vector<fs::path> models;
  for (const auto& root :
       {data_folder / "models", home / "models", home / ".lmstudio/models", home / ".cache/lm-studio/models",
        home / ".cache/llama.cpp", home / ".cache/huggingface/hub"}) {
    std::error_code error;
    fs::recursive_directory_iterator it(root, fs::directory_options::skip_permission_denied, error), end;
    for (; !error && it != end; it.increment(error)) {
      if (it.depth() > kDeepestModelFolder) it.disable_recursion_pending();
      const std::string name = it->path().filename().string();
      const bool later_part = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
      std::error_code ignored;
      if (!it->is_regular_file(ignored)) continue;
      if (it->path().extension() == ".gguf" && !later_part) models.push_back(it->path());
      if (name == "model.safetensors" || name == "model.safetensors.index.json") {
        const fs::path folder = it->path().parent_path();
        if (fs::exists(folder / "config.json", ignored) && fs::exists(folder / "tokenizer.json", ignored))
          models.push_back(folder);
      }
    }
  }
  std::sort(models.begin(), models.end());
  models.erase(std::unique(models.begin(), models.end()), models.end());
  return models;
}

}  // namespace longleaf
