// Every decoder of the protocol on any bytes; what decodes must encode to the same bytes.
#include <cstdlib>

#include "ingest/reader/protocol.h"

using namespace longleaf;

namespace {

template <typename T>
void check_round_trip(const Result<T>& decoded, std::string_view body) {
  if (decoded.ok() && worker::encode(*decoded) != body) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 6) {
    case 0:
      check_round_trip(worker::decode_open(body), body);
      break;
    case 1:
      check_round_trip(worker::decode_info(body), body);
      break;
    case 2:
      check_round_trip(worker::decode_page(body), body);
      break;
    case 3:
      check_round_trip(worker::decode_outline(body), body);
      break;
    case 4:
      check_round_trip(worker::decode_image(body), body);
      break;
    default:
      (void)worker::decode_error(body).ok();
      (void)worker::decode_numbers(body, data[0] / 6 % 4).ok();
  }
  return 0;
}
