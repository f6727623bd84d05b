#include "ingest/worker/recogniser.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "ingest/reader/recognition.h"

namespace longleaf::worker {
namespace {

constexpr float kMoreText = 1.2f;        // than the file has, in bytes, that recognition must bring
constexpr float kLeastConfidence = 30;   // percent; below, words are mostly stains and pictures
constexpr int kTextLine = 2, kWord = 3;  // Tesseract's PageIteratorLevel

// The few functions of Tesseract's C interface (capi.h, the same in versions 4 and 5) that are used.
struct Api {
  void* (*create)();
  void (*destroy)(void*);
  int (*init)(void*, const char* folder, const char* languages);
  void (*set_image)(void*, const unsigned char*, int width, int height, int bytes_per_pixel, int bytes_per_line);
  void (*set_resolution)(void*, int dpi);
  int (*recognize)(void*, void* monitor);
  void* (*iterator)(void*);
  void (*delete_iterator)(void*);
  const void* (*places)(const void* iterator);
  int (*next)(void* iterator, int level);
  char* (*text)(const void* iterator, int level);
  float (*confidence)(const void* iterator, int level);
  int (*box)(const void* places, int level, int* left, int* top, int* right, int* bottom);
  void (*delete_text)(const char*);
};

bool load(void* library, Api& api) {
  bool all = true;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    all &= function != nullptr;
  };
  find(api.create, "TessBaseAPICreate");
  find(api.destroy, "TessBaseAPIDelete");
  find(api.init, "TessBaseAPIInit3");
  find(api.set_image, "TessBaseAPISetImage");
  find(api.set_resolution, "TessBaseAPISetSourceResolution");
  find(api.recognize, "TessBaseAPIRecognize");
  find(api.iterator, "TessBaseAPIGetIterator");
  find(api.delete_iterator, "TessResultIteratorDelete");
  find(api.places, "TessResultIteratorGetPageIteratorConst");
  find(api.next, "TessResultIteratorNext");
  find(api.text, "TessResultIteratorGetUTF8Text");
  find(api.confidence, "TessResultIteratorConfidence");
  find(api.box, "TessPageIteratorBoundingBox");
  find(api.delete_text, "TessDeleteText");
  return all;
}

Api api;  // of the one library a process opens

void collect(void* iterator, const PageImage& image, PageText& page) {
  const void* places = api.places(iterator);
  const auto width = static_cast<float>(image.width), height = static_cast<float>(image.height);
  do {
    int left = 0, top = 0, right = 0, bottom = 0, line_top = 0, line_bottom = 0, ignored = 0;
    char* text = api.text(iterator, kWord);
    if (text == nullptr) continue;
    const bool placed = api.box(places, kWord, &left, &top, &right, &bottom) != 0 && right > left && bottom > top;
    if (placed && *text != '\0' && api.confidence(iterator, kWord) >= kLeastConfidence) {
      if (api.box(places, kTextLine, &ignored, &line_top, &ignored, &line_bottom) == 0)
        line_top = top, line_bottom = bottom;
      Word word;
      word.text = text;
      word.box = {static_cast<float>(left) / width, static_cast<float>(top) / height, static_cast<float>(right) / width,
                  static_cast<float>(bottom) / height};
      word.size_pt = std::round(static_cast<float>(line_bottom - line_top) / height * page.height_pt * 0.8f);
      word.space_after = true;
      page.words.push_back(std::move(word));
    }
    api.delete_text(text);
  } while (api.next(iterator, kWord) != 0);
}

size_t bytes_seen(const PageText& page) {
  size_t bytes = 0;
  for (const Word& word : page.words) bytes += word.hidden ? 0 : word.text.size();
  return bytes;
}

}  // namespace

Recogniser::~Recogniser() {
  if (engine_ != nullptr) api.destroy(engine_);
}

Status Recogniser::need(const std::string& languages) {
  const Status missing(Code::NotFound,
                       std::string("Tesseract, which reads scanned pages, is not installed; ") + kInstallTesseract);
  if (library_ == nullptr) {
    setenv("OMP_THREAD_LIMIT", "1", 1);  // there is a worker for each processor
    for (const char* name : {"libtesseract.so.5", "libtesseract.so.4"})
      if (library_ == nullptr) library_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr || !load(library_, api)) return missing;
  }
  if (engine_ != nullptr && languages_ == languages) return {};
  if (engine_ != nullptr) api.destroy(engine_);
  const std::string folder = tessdata_folder();
  engine_ = folder.empty() ? nullptr : api.create();
  if (engine_ == nullptr) return missing;
  if (api.init(engine_, folder.c_str(), languages.c_str()) != 0) {
    api.destroy(engine_);
    engine_ = nullptr;
    return Status(Code::NotFound, "Tesseract has no language “" + languages + "” here; " + kInstallTesseract);
  }
  languages_ = languages;
  return {};
}

Status Recogniser::read(const PageImage& image, const std::string& languages, PageText& page) {
  LL_RETURN_IF_ERROR(need(languages));
  api.set_image(engine_, image.rgb32.data(), image.width, image.height, 4, image.width * 4);
  api.set_resolution(engine_,
                     std::max(70, static_cast<int>(std::lround(static_cast<float>(image.width) / page.width_pt * 72))));
  if (api.recognize(engine_, nullptr) != 0)
    return Status(Code::Corrupt, "Tesseract could not read page " + std::to_string(page.index + 1));
  PageText recognised = page;
  recognised.words.clear();
  recognised.blocks.clear();
  if (void* iterator = api.iterator(engine_); iterator != nullptr) {  // else nothing is there
    collect(iterator, image, recognised);
    api.delete_iterator(iterator);
  }
  // What the file itself has is exact: it gives way only to more than that.
  if (static_cast<float>(bytes_seen(recognised)) > kMoreText * static_cast<float>(bytes_seen(page)))
    page = std::move(recognised);
  return {};
}

}  // namespace longleaf::worker
