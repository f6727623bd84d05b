// Reads the text in a picture with Tesseract, whose library is opened when first needed: the program neither builds
// nor starts with it. Not thread-safe: one thread owns it.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "ingest/reader/page_text.h"

namespace longleaf::worker {

class Recogniser {
 public:
  Recogniser() = default;
  ~Recogniser();
  Recogniser(const Recogniser&) = delete;
  Recogniser& operator=(const Recogniser&) = delete;

  // The words of `image`, which shows the whole page, into `page`.
  //   languages  joined by '+', such as "eng+deu"
  // Returns NotFound where Tesseract or a language is not installed, NoMemory.
  Status read(const PageImage& image, const std::string& languages, PageText& page);

 private:
  Status need(const std::string& languages);

  void* library_ = nullptr;
  void* engine_ = nullptr;
  std::string languages_;  // of engine_
};

}  // namespace longleaf::worker
