#include "ingest/reader/recognition.h"

#include <algorithm>
#include <filesystem>

namespace longleaf {

std::string tessdata_folder() {
  std::error_code error;
  for (const char* folder : kTessdataFolders)
    if (std::filesystem::is_directory(folder, error)) return folder;
  return {};
}

std::vector<std::string> recognition_languages() {
  std::vector<std::string> languages;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(tessdata_folder(), error))
    if (entry.path().extension() == ".traineddata" && entry.path().stem() != "osd")
      languages.push_back(entry.path().stem().string());
  std::sort(languages.begin(), languages.end());
  return languages;
}

}  // namespace longleaf
