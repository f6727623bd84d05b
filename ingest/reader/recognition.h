// What text recognition (Tesseract) this machine has. It is found when it is needed and never required. Any thread.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace longleaf {

// Where the systems we know keep its language files; the sandbox opens these to the worker.
inline constexpr std::array kTessdataFolders = {"/usr/share/tesseract-ocr/5/tessdata",
                                                "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata",
                                                "/usr/local/share/tessdata"};

// The first of them that is there; "" where Tesseract is not installed.
std::string tessdata_folder();

// "deu", "eng", …, sorted; empty where Tesseract is not installed.
std::vector<std::string> recognition_languages();

// What to do where there is none, as the end of a sentence.
inline constexpr const char* kInstallTesseract =
    "install Tesseract with the languages of the document, on Debian and Ubuntu: sudo apt install tesseract-ocr "
    "tesseract-ocr-eng";

}  // namespace longleaf
