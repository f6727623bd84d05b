// Reads the words of a page together with what decides whether a reader can see them: ink, fills, pictures and clips.
// Uses poppler's core, because its stable bindings give no colours. One per page; not thread-safe.
#pragma once

#include <TextOutputDev.h>

#include <cstdint>
#include <vector>

#include "ingest/reader/page_text.h"

class PDFDoc;

namespace longleaf::worker {

constexpr double kMaxPagePt = 14400;  // the PDF specification's limit: 200 inches

class PageDevice : public TextOutputDev {
 public:
  PageDevice();
  // Draws page `number` (from 0) of `document` and returns its words in poppler's reading order.
  //   page  size, label and index are the caller's; words and picture_share are filled
  void read(PDFDoc& document, PageText& page);

  bool needNonText() override { return true; }
  void drawChar(GfxState* state, double x, double y, double dx, double dy, double origin_x, double origin_y,
                CharCode code, int n_bytes, const Unicode* unicode, int n_unicode) override;
  void incCharCount(int n) override;
  void fill(GfxState* state) override;
  void eoFill(GfxState* state) override;
  void drawImageMask(GfxState* state, Object* ref, Stream* stream, int width, int height, bool invert, bool interpolate,
                     bool inlined) override;
  void drawImage(GfxState* state, Object* ref, Stream* stream, int width, int height, GfxImageColorMap* colours,
                 bool interpolate, const int* mask, bool inlined) override;
  void drawMaskedImage(GfxState* state, Object* ref, Stream* stream, int width, int height, GfxImageColorMap* colours,
                       bool interpolate, Stream* mask, int mask_width, int mask_height, bool invert,
                       bool mask_interpolate) override;
  void drawSoftMaskedImage(GfxState* state, Object* ref, Stream* stream, int width, int height,
                           GfxImageColorMap* colours, bool interpolate, Stream* mask, int mask_width, int mask_height,
                           GfxImageColorMap* mask_colours, bool mask_interpolate) override;

 private:
  enum class Mode : uint8_t { Drawn, Invisible, Outside };
  // What holds from byte `at` of the page's text on.
  struct Ink {
    int at = 0;
    float light = 0;  // 0 black .. 1 white
    Mode mode = Mode::Drawn;
    bool outlined = false;  // drawn with an outline as well, which makes it look bold
    bool slanted = false;   // by its matrix, which makes it look italic
  };
  enum class Area : uint8_t { Colour, Picture, SeeThrough };
  struct Painted {
    int at;  // text byte before which it was painted
    Area kind;
    bool is_rectangle;
    float light;
    Box box;  // in points
  };
  static bool looks_like(const Ink& a, const Ink& b);
  void add_fill(GfxState* state);
  void add_picture(GfxState* state, Area kind);
  Ink ink_of(const TextWord& word) const;
  bool is_hidden(const TextWord& word, const Ink& ink, const Box& box) const;
  Word word_of(const TextWord& word, const PageText& page) const;

  int at_ = 0;
  double page_area_ = 0, pictures_ = 0;  // square points
  std::vector<Ink> inks_;
  std::vector<Painted> painted_;
};

}  // namespace longleaf::worker
