#include "ingest/worker/page_device.h"

#include <GfxFont.h>
#include <GfxState.h>
#include <PDFDoc.h>
#include <UnicodeMapFuncs.h>
#include <goo/GooString.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>

namespace longleaf::worker {
namespace {

constexpr double kPointsPerInch = 72;
constexpr size_t kMaxWordBytes = 10000;  // more without a space is no word
constexpr size_t kMaxPainted = 4000;     // a drawing of more areas hides nothing that we look for
constexpr float kLeastContrast = 0.06f;  // of lightness between ink and paper
constexpr float kLeastSizePt = 1.2f;
constexpr double kLeastSlant = 0.1;
constexpr float kWholePage = 0.5f;  // share of the page from which its pictures are a scan of it

float unit(double value) { return std::isfinite(value) ? static_cast<float>(std::clamp(value, 0.0, 1.0)) : 0.0f; }

float lightness(const GfxState& state) {
  GfxRGB rgb;
  state.getFillRGB(&rgb);
  return static_cast<float>(0.299 * colToDbl(rgb.r) + 0.587 * colToDbl(rgb.g) + 0.114 * colToDbl(rgb.b));
}

bool name_contains(const std::string& name, std::initializer_list<const char*> parts) {
  std::string lower;
  for (char c : name) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::any_of(parts.begin(), parts.end(), [&](const char* p) { return lower.find(p) != std::string::npos; });
}

// Without the prefix that tells subsets of one font apart: "ABCDEF+Times".
std::string base_name(const GooString* name) {
  if (name == nullptr) return {};
  const std::string& full = name->toStr();
  return full.size() > 7 && full[6] == '+' ? full.substr(7) : full;
}

Box clip_of(const GfxState& state) {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  state.getClipBBox(&x0, &y0, &x1, &y1);
  return {static_cast<float>(x0), static_cast<float>(y0), static_cast<float>(x1), static_cast<float>(y1)};
}

Box common(const Box& a, const Box& b) {
  return {std::max(a.x0, b.x0), std::max(a.y0, b.y0), std::min(a.x1, b.x1), std::min(a.y1, b.y1)};
}

float area(const Box& box) { return std::max(0.0f, box.width()) * std::max(0.0f, box.height()); }

bool has_middle_of(const Box& outer, const Box& inner) {
  const float x = (inner.x0 + inner.x1) / 2, y = (inner.y0 + inner.y1) / 2;
  return outer.x0 <= x && x <= outer.x1 && outer.y0 <= y && y <= outer.y1;
}

void extend(Box& box, const GfxState& state, double x, double y) {
  double dx = 0, dy = 0;
  state.transform(x, y, &dx, &dy);
  const auto fx = static_cast<float>(dx), fy = static_cast<float>(dy);
  box = {std::min(box.x0, fx), std::min(box.y0, fy), std::max(box.x1, fx), std::max(box.y1, fy)};
}

constexpr Box kNothing{1e9f, 1e9f, -1e9f, -1e9f};

std::string text_of(const TextWord& word) {
  std::string text;
  char bytes[8];
  for (int i = 0; i < word.getLength(); ++i) {
    const Unicode u = *word.getChar(i);
    if (u < 0x20 || u == 0x7f) continue;  // terminals obey control characters
    text.append(bytes, static_cast<size_t>(mapUTF8(u, bytes, sizeof bytes)));
  }
  return text;
}

}  // namespace

PageDevice::PageDevice() : TextOutputDev(nullptr, false, 0, false, false) {
  enableHTMLExtras(true);  // finds underlines
}

bool PageDevice::looks_like(const Ink& a, const Ink& b) {
  return a.light == b.light && a.mode == b.mode && a.outlined == b.outlined && a.slanted == b.slanted;
}

void PageDevice::drawChar(GfxState* state, double x, double y, double dx, double dy, double origin_x, double origin_y,
                          CharCode code, int n_bytes, const Unicode* unicode, int n_unicode) {
  double px = 0, py = 0;
  state->transform(x + dx / 2, y + dy / 2, &px, &py);
  const Box clip = clip_of(*state);
  constexpr float kSlack = 3;  // points; a clip that only shaves the letters does not hide them
  const bool outside = px < clip.x0 - kSlack || px > clip.x1 + kSlack || py < clip.y0 - kSlack || py > clip.y1 + kSlack;
  const bool no_ink = (state->getRender() & 3) == 3 || state->getFillOpacity() < 0.05;
  const Mode mode = outside ? Mode::Outside : no_ink ? Mode::Invisible : Mode::Drawn;
  const double* matrix = state->getTextMat();
  const bool slanted = std::abs(matrix[2]) > kLeastSlant * std::abs(matrix[3]) && matrix[1] == 0;
  const Ink ink{at_, lightness(*state), mode, (state->getRender() & 3) == 2, slanted};
  if (inks_.empty() || !looks_like(inks_.back(), ink)) inks_.push_back(ink);
  at_ += n_bytes;
  // Letters of one glyph come in reading order, the words of right-to-left text in the page's: make it one order.
  std::vector<Unicode> letters(unicode, unicode + n_unicode);
  if (n_unicode > 1 && letters[0] >= 0x590 && letters[0] <= 0x8FF) std::reverse(letters.begin(), letters.end());
  TextOutputDev::drawChar(state, x, y, dx, dy, origin_x, origin_y, code, n_bytes, letters.data(), n_unicode);
}

void PageDevice::incCharCount(int n) {
  at_ += n;
  TextOutputDev::incCharCount(n);
}

void PageDevice::add_fill(GfxState* state) {
  if (painted_.size() >= kMaxPainted || state->getFillOpacity() < 0.9 || state->getBlendMode() != gfxBlendNormal)
    return;
  const GfxPath* path = state->getPath();
  for (int s = 0; s < path->getNumSubpaths(); ++s) {
    const GfxSubpath* part = path->getSubpath(s);
    Box box = kNothing;
    bool curved = false;
    for (int i = 0; i < part->getNumPoints(); ++i) {
      extend(box, *state, part->getX(i), part->getY(i));
      curved |= part->getCurve(i);
    }
    box = common(box, clip_of(*state));
    if (area(box) < 20) continue;  // rules and dots
    const bool rectangle = !curved && part->getNumPoints() <= 5;
    painted_.push_back({at_, Area::Colour, rectangle, lightness(*state), box});
  }
}

void PageDevice::fill(GfxState* state) {
  add_fill(state);
  TextOutputDev::fill(state);
}

void PageDevice::eoFill(GfxState* state) {
  add_fill(state);
  TextOutputDev::eoFill(state);
}

void PageDevice::add_picture(GfxState* state, Area kind) {
  if (painted_.size() >= kMaxPainted) return;
  Box box = kNothing;
  for (const double x : {0.0, 1.0})
    for (const double y : {0.0, 1.0}) extend(box, *state, x, y);
  painted_.push_back({at_, kind, true, 0, common(box, clip_of(*state))});
}

void PageDevice::drawImageMask(GfxState* state, Object* ref, Stream* stream, int width, int height, bool invert,
                               bool interpolate, bool inlined) {
  add_picture(state, Area::SeeThrough);
  TextOutputDev::drawImageMask(state, ref, stream, width, height, invert, interpolate, inlined);
}

void PageDevice::drawImage(GfxState* state, Object* ref, Stream* stream, int width, int height,
                           GfxImageColorMap* colours, bool interpolate, const int* mask, bool inlined) {
  add_picture(state, mask == nullptr ? Area::Picture : Area::SeeThrough);
  TextOutputDev::drawImage(state, ref, stream, width, height, colours, interpolate, mask, inlined);
}

// The two below only note the place: the base class would decode the picture to throw it away.
void PageDevice::drawMaskedImage(GfxState* state, Object*, Stream*, int, int, GfxImageColorMap*, bool, Stream*, int,
                                 int, bool, bool) {
  add_picture(state, Area::SeeThrough);
}

void PageDevice::drawSoftMaskedImage(GfxState* state, Object*, Stream*, int, int, GfxImageColorMap*, bool, Stream*, int,
                                     int, GfxImageColorMap*, bool) {
  add_picture(state, Area::SeeThrough);
}

PageDevice::Ink PageDevice::ink_of(const TextWord& word) const {
  const auto next = std::upper_bound(inks_.begin(), inks_.end(), word.getCharPos(),
                                     [](int value, const Ink& ink) { return value < ink.at; });
  return next == inks_.begin() ? Ink{} : *(next - 1);
}

// Text under or on the pictures of a scanned page is what text recognition put there: the reader sees a picture of it.
bool PageDevice::is_hidden(const TextWord& word, const Ink& ink, const Box& box) const {
  const int at = word.getCharPos();
  float paper = 1;  // lightness, or negative where a picture makes it unknown
  bool covered = false, on_scan = false;
  for (const Painted& painted : painted_) {
    if (!has_middle_of(painted.box, box)) continue;
    const bool picture = painted.kind != Area::Colour;
    on_scan |= picture && pictures_ >= kWholePage * page_area_;
    if (painted.at <= at) {
      paper = picture ? -1 : painted.light;
      covered = false;
    } else {
      covered |= painted.is_rectangle && painted.kind != Area::SeeThrough;
    }
  }
  if (on_scan) return false;
  if (ink.mode != Mode::Drawn || covered || word.getFontSize() < kLeastSizePt) return true;
  if (painted_.size() >= kMaxPainted) return false;
  return paper >= 0 && std::abs(ink.light - paper) < kLeastContrast;
}

Word PageDevice::word_of(const TextWord& from, const PageText& page) const {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  from.getBBox(&x0, &y0, &x1, &y1);
  Word word;
  word.text = text_of(from);
  word.box = {unit(x0 / page.width_pt), unit(y0 / page.height_pt), unit(x1 / page.width_pt), unit(y1 / page.height_pt)};
  const double size = from.getFontSize();
  word.size_pt = std::isfinite(size) ? static_cast<float>(std::clamp(std::abs(size), 0.0, kMaxPagePt)) : 0;
  const Ink ink = ink_of(from);
  const TextFontInfo* font = from.getFontInfo(0);
  const std::string name = base_name(font->getFontName());
  word.font = static_cast<uint16_t>(std::hash<std::string>{}(name));
  word.bold = font->isBold() || ink.outlined ||
              name_contains(name, {"bold", "black", "heavy", "demi", "medi", "cmbx", "sfbx", "-bd"});
  word.italic =
      font->isItalic() || ink.slanted || name_contains(name, {"ital", "obli", "cmti", "cmsl", "cmmi", "sfti", "sfsl"});
  word.fixed_pitch =
      font->isFixedWidth() || name_contains(name, {"mono", "courier", "consol", "cmtt", "sftt", "typewriter"});
  word.underlined = from.isUnderlined();
  word.space_after = from.hasSpaceAfter();
  word.turns = static_cast<uint8_t>(from.getRotation() & 3);
  const Box points{static_cast<float>(x0), static_cast<float>(y0), static_cast<float>(x1), static_cast<float>(y1)};
  const Box sheet{0, 0, page.width_pt, page.height_pt};
  word.hidden = !has_middle_of(sheet, points) || is_hidden(from, ink, points);
  return word;
}

void PageDevice::read(PDFDoc& document, PageText& page) {
  page_area_ = double{page.width_pt} * page.height_pt;
  document.displayPage(this, page.index + 1, kPointsPerInch, kPointsPerInch, 0, false, true, false);
  const Box sheet{0, 0, page.width_pt, page.height_pt};
  for (const Painted& painted : painted_)
    if (painted.kind != Area::Colour) pictures_ += area(common(painted.box, sheet));
  page.picture_share = unit(pictures_ / page_area_);
  const auto words = makeWordList();
  for (int i = 0; words != nullptr && i < words->getLength(); ++i) {
    Word word = word_of(*words->get(i), page);
    if (!word.text.empty() && word.text.size() <= kMaxWordBytes) page.words.push_back(std::move(word));
  }
}

}  // namespace longleaf::worker
