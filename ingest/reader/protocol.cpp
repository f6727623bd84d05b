#include "ingest/reader/protocol.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

namespace longleaf::worker {
namespace {

using Clock = std::chrono::steady_clock;

class Writer {
 public:
  template <typename T>
  void put(T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(std::string_view value) {
    put(static_cast<uint32_t>(value.size()));
    out.append(value);
  }
  std::string out;
};

class Reader {
 public:
  explicit Reader(std::string_view body) : rest_(body) {}
  template <typename T>
  T get() {
    T value{};
    if (rest_.size() < sizeof value) return ok_ = false, value;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  float number() {
    const auto value = get<float>();
    if (!std::isfinite(value)) ok_ = false;
    return value;
  }
  std::string text() {
    const auto length = get<uint32_t>();
    if (rest_.size() < length) return ok_ = false, std::string();
    std::string value(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return value;
  }
  // A count of things that take at least `least` bytes each; 0 after a failure.
  uint32_t count(size_t least) {
    const auto n = get<uint32_t>();
    if (n > rest_.size() / least) ok_ = false;
    return ok_ ? n : 0;
  }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

constexpr size_t kMaxWord = 60000;  // bytes; lengths of words are kept in 16 bits
constexpr int kMaxLevel = 64;

Status garbled() { return Status(Code::Corrupt, "The reader gave an answer that makes no sense"); }

void put_box(Writer& w, const Box& box) { w.put(box.x0), w.put(box.y0), w.put(box.x1), w.put(box.y1); }

Box get_box(Reader& r) {
  Box box;
  box.x0 = r.number(), box.y0 = r.number(), box.x1 = r.number(), box.y1 = r.number();
  return box;
}

// Reads exactly `n` bytes before `deadline`.
Status read_all(int fd, char* to, size_t n, std::optional<Clock::time_point> deadline) {
  while (n > 0) {
    int wait = -1;
    if (deadline) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - Clock::now()).count();
      wait = left > 0 ? static_cast<int>(left) : 0;
    }
    pollfd poller{fd, POLLIN, 0};
    const int ready = poll(&poller, 1, wait);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return Status(Code::Timeout, "The reader did not answer in time");
    const ssize_t got = ready < 0 ? -1 : read(fd, to, n);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return Status(Code::Io, "The reader stopped");
    to += got;
    n -= static_cast<size_t>(got);
  }
  return {};
}

}  // namespace

Status write_frame(int fd, Kind kind, std::string_view body) {
  if (body.size() >= kMaxFrame) return Status(Code::Invalid, "A page is too large to hand over");
  Writer w;
  w.put(static_cast<uint32_t>(body.size() + 1));
  w.put(kind);
  w.out.append(body);
  for (size_t at = 0; at < w.out.size();) {
    const ssize_t n = write(fd, w.out.data() + at, w.out.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Status(Code::Io, "The reader stopped");
    at += static_cast<size_t>(n);
  }
  return {};
}

Result<Frame> read_frame(int fd, int deadline_ms) {
  std::optional<Clock::time_point> deadline;
  if (deadline_ms >= 0) deadline = Clock::now() + std::chrono::milliseconds(deadline_ms);
  uint32_t length = 0;
  LL_RETURN_IF_ERROR(read_all(fd, reinterpret_cast<char*>(&length), sizeof length, deadline));
  if (length == 0 || length > kMaxFrame) return garbled();
  Frame frame{};
  LL_RETURN_IF_ERROR(read_all(fd, reinterpret_cast<char*>(&frame.kind), 1, deadline));
  frame.body.resize(length - 1);
  LL_RETURN_IF_ERROR(read_all(fd, frame.body.data(), frame.body.size(), deadline));
  return frame;
}

std::string encode(const OpenRequest& request) {
  Writer w;
  w.text(request.password);
  w.text(request.name);
  return w.out;
}

Result<OpenRequest> decode_open(std::string_view body) {
  Reader r(body);
  OpenRequest request;
  request.password = r.text();
  request.name = r.text();
  if (!r.done()) return garbled();
  return request;
}

std::string encode(const RecogniseRequest& request) {
  Writer w;
  w.put(request.index);
  w.text(request.languages);
  return w.out;
}

Result<RecogniseRequest> decode_recognise(std::string_view body) {
  Reader r(body);
  RecogniseRequest request;
  request.index = r.get<uint32_t>();
  request.languages = r.text();
  if (!r.done()) return garbled();
  return request;
}

std::string encode(const DocumentInfo& info) {
  Writer w;
  w.put(static_cast<int32_t>(info.pages));
  w.text(info.title);
  w.text(info.author);
  return w.out;
}

Result<DocumentInfo> decode_info(std::string_view body) {
  Reader r(body);
  DocumentInfo info;
  info.pages = r.get<int32_t>();
  info.title = r.text();
  info.author = r.text();
  if (!r.done() || info.pages < 0) return garbled();
  return info;
}

std::string encode(const PageText& page) {
  Writer w;
  w.put(static_cast<int32_t>(page.index));
  w.put(page.width_pt);
  w.put(page.height_pt);
  w.put(page.picture_share);
  w.text(page.label);
  w.put(static_cast<uint32_t>(page.words.size()));
  for (const Word& word : page.words) {
    w.text(word.text);
    put_box(w, word.box);
    w.put(word.size_pt);
    w.put(word.font);
    w.put(static_cast<uint8_t>((word.bold ? 1 : 0) | (word.italic ? 2 : 0) | (word.space_after ? 4 : 0) |
                               (word.fixed_pitch ? 8 : 0) | (word.hidden ? 16 : 0) | ((word.turns & 3) << 5) |
                               (word.underlined ? 128 : 0)));
  }
  w.put(static_cast<uint32_t>(page.blocks.size()));
  for (const BlockStart& block : page.blocks) {
    w.put(block.word);
    w.put(static_cast<uint8_t>(block.kind));
    w.put(static_cast<uint8_t>(block.is_cell ? 1 : 0));
  }
  return w.out;
}

Result<PageText> decode_page(std::string_view body) {
  Reader r(body);
  PageText page;
  page.index = r.get<int32_t>();
  page.width_pt = r.number();
  page.height_pt = r.number();
  page.picture_share = r.number();
  page.label = r.text();
  const uint32_t n = r.count(27);
  for (uint32_t i = 0; i < n && r.ok(); ++i) {
    Word word;
    word.text = r.text();
    word.box = get_box(r);
    word.size_pt = r.number();
    word.font = r.get<uint16_t>();
    const auto flags = r.get<uint8_t>();
    word.bold = (flags & 1) != 0;
    word.italic = (flags & 2) != 0;
    word.space_after = (flags & 4) != 0;
    word.fixed_pitch = (flags & 8) != 0;
    word.hidden = (flags & 16) != 0;
    word.turns = (flags >> 5) & 3;
    word.underlined = (flags & 128) != 0;
    if (word.text.empty() || word.text.size() > kMaxWord) return garbled();
    page.words.push_back(std::move(word));
  }
  const uint32_t n_blocks = r.count(6);
  for (uint32_t i = 0; i < n_blocks && r.ok(); ++i) {
    BlockStart block;
    block.word = r.get<uint32_t>();
    const auto kind = r.get<uint8_t>();
    block.kind = static_cast<BlockKind>(kind);
    const auto is_cell = r.get<uint8_t>();
    block.is_cell = is_cell == 1;
    const bool in_order =
        page.blocks.empty() ? block.word == 0 && !block.is_cell : block.word > page.blocks.back().word;
    if (!in_order || block.word >= page.words.size() || is_cell > 1 || kind > static_cast<uint8_t>(BlockKind::TocEntry))
      return garbled();
    page.blocks.push_back(block);
  }
  if (!r.done() || page.index < 0) return garbled();
  return page;
}

std::string encode(const std::vector<OutlineEntry>& outline) {
  Writer w;
  w.put(static_cast<uint32_t>(outline.size()));
  for (const auto& entry : outline) {
    w.put(static_cast<int32_t>(entry.level));
    w.text(entry.title);
    w.put(static_cast<int32_t>(entry.page));
    w.put(entry.top);
  }
  return w.out;
}

Result<std::vector<OutlineEntry>> decode_outline(std::string_view body) {
  Reader r(body);
  std::vector<OutlineEntry> outline;
  const uint32_t n = r.count(16);
  for (uint32_t i = 0; i < n && r.ok(); ++i) {
    OutlineEntry entry;
    entry.level = r.get<int32_t>();
    entry.title = r.text();
    entry.page = r.get<int32_t>();
    entry.top = r.number();
    if (entry.level < 0 || entry.level > kMaxLevel) return garbled();
    outline.push_back(std::move(entry));
  }
  if (!r.done()) return garbled();
  return outline;
}

std::string encode(const PageImage& image) {
  Writer w;
  w.put(static_cast<uint32_t>(image.width));
  w.put(static_cast<uint32_t>(image.height));
  w.out.append(reinterpret_cast<const char*>(image.rgb32.data()), image.rgb32.size());
  return w.out;
}

Result<PageImage> decode_image(std::string_view body) {
  Reader r(body);
  const auto width = r.get<uint32_t>(), height = r.get<uint32_t>();
  if (!r.ok() || width > kMaxRenderWidth || height > 16 * kMaxRenderWidth ||
      r.rest().size() != uint64_t{width} * height * 4)
    return garbled();
  PageImage image{static_cast<int>(width), static_cast<int>(height), {}};
  image.rgb32.assign(r.rest().begin(), r.rest().end());
  return image;
}

std::string encode_error(Code code, std::string_view message) {
  Writer w;
  w.put(static_cast<uint8_t>(code));
  w.text(message);
  return w.out;
}

Status decode_error(std::string_view body) {
  Reader r(body);
  const auto code = r.get<uint8_t>();
  std::string message = r.text();
  if (!r.done() || code == 0 || code > static_cast<uint8_t>(Code::DeviceLost)) return garbled();
  return Status(static_cast<Code>(code), std::move(message));
}

std::string encode_numbers(std::initializer_list<uint32_t> numbers) {
  Writer w;
  for (uint32_t number : numbers) w.put(number);
  return w.out;
}

Result<std::vector<uint32_t>> decode_numbers(std::string_view body, size_t count) {
  Reader r(body);
  std::vector<uint32_t> numbers;
  for (size_t i = 0; i < count; ++i) numbers.push_back(r.get<uint32_t>());
  if (!r.done()) return garbled();
  return numbers;
}

}  // namespace longleaf::worker
