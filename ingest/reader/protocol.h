// The language spoken over the pipes between a program and the worker, version kProtocolVersion. Little-endian.
//
//   frame    u32 length of what follows (1 .. kMaxFrame), u8 kind, body
//   program → worker   Open{password, file name}  Page{u32 index}  Outline{}  Render{u32 index, u32 width in pixels}
//                      Recognise{u32 index, languages}, answered as Page
//   worker → program   Hello{u32 version} once at the start; then one answer per request, or Error{u8 code, sentence}
//
// Texts are u32 length + UTF-8. The reading side trusts nothing: every length is checked, and a body must be used up.
// Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "ingest/reader/page_text.h"

namespace longleaf::worker {

constexpr uint32_t kProtocolVersion = 3;
constexpr uint32_t kMaxFrame = 128 << 20;
constexpr uint32_t kMaxRenderWidth = 4096;

enum class Kind : uint8_t {
  Open = 1,
  Page = 2,
  Outline = 3,
  Render = 4,
  Recognise = 5,
  Hello = 128,
  Opened,
  PageText,
  OutlineIs,
  Image,
  Error
};

struct Frame {
  Kind kind;
  std::string body;
};

// Whole frames through a file descriptor. `deadline_ms` is the longest wait for the frame; -1 waits for ever.
// Return Timeout, Io (the other side is gone), Corrupt (an impossible length).
Status write_frame(int fd, Kind kind, std::string_view body);
Result<Frame> read_frame(int fd, int deadline_ms);

// Encoders and decoders of bodies; a decoder returns Corrupt for anything an encoder cannot have written.
struct OpenRequest {
  std::string password;
  std::string name;  // of the file, for formats that only its ending tells
};
std::string encode(const OpenRequest& request);
struct RecogniseRequest {
  uint32_t index = 0;
  std::string languages;
};
std::string encode(const RecogniseRequest& request);
std::string encode(const DocumentInfo& info);
std::string encode(const PageText& page);
std::string encode(const std::vector<OutlineEntry>& outline);
std::string encode(const PageImage& image);
std::string encode_error(Code code, std::string_view message);
std::string encode_numbers(std::initializer_list<uint32_t> numbers);

Result<OpenRequest> decode_open(std::string_view body);
Result<RecogniseRequest> decode_recognise(std::string_view body);
Result<DocumentInfo> decode_info(std::string_view body);
Result<PageText> decode_page(std::string_view body);
Result<std::vector<OutlineEntry>> decode_outline(std::string_view body);
Result<PageImage> decode_image(std::string_view body);
Status decode_error(std::string_view body);
// Exactly `count` numbers.
Result<std::vector<uint32_t>> decode_numbers(std::string_view body, size_t count);

}  // namespace longleaf::worker
