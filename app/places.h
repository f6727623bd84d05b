// Where things lie on this machine. Any thread.
#pragma once

#include <filesystem>
#include <vector>

namespace longleaf {

// $XDG_DATA_HOME/longleaf, or ~/.local/share/longleaf.
std::filesystem::path defaultDataFolder();

// The program longleaf-pdf: beside the running program, else where it is installed.
std::filesystem::path pdfWorkerProgram();

// Memory files of documents.
std::filesystem::path memoryFolder(const std::filesystem::path& data_folder);

// Memories that were trained from the window.
std::filesystem::path trainedFolder(const std::filesystem::path& data_folder);

// The sample document that comes with the program; empty when it is not installed.
std::filesystem::path sampleDocument();

// GGUF files and safetensors folders in the data folder's `models` and where other programs keep theirs, sorted,
// without split parts but the first.
std::vector<std::filesystem::path> findModels(const std::filesystem::path& data_folder);

}  // namespace longleaf
