// Where things lie on this machine. Any thread.
#pragma once

#include <filesystem>
#include <vector>

namespace longleaf {

// $XDG_DATA_HOME/longleaf, or ~/.local/share/longleaf.
std::filesystem::path default_data_folder();

// The program longleaf-pdf: beside the running program, else in ../lib/longleaf or ../libexec.
std::filesystem::path pdf_worker_program();

// Memory files of documents.
std::filesystem::path memory_folder(const std::filesystem::path& data_folder);

// The sample document that comes with the program; empty when it is not installed.
std::filesystem::path sample_document();

// GGUF files in the data folder's `models` and where other programs keep theirs, sorted, without split parts but the
// first.
std::vector<std::filesystem::path> find_models(const std::filesystem::path& data_folder);

}  // namespace longleaf
