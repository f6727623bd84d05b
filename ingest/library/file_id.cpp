#include "ingest/library/file_id.h"

#include <openssl/evp.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

namespace longleaf {
namespace {

constexpr size_t kHashChunk = 1 << 20;

std::string hexadecimal(const unsigned char* bytes, unsigned n) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (unsigned i = 0; i < n; ++i) out += digits[bytes[i] >> 4], out += digits[bytes[i] & 15];
  return out;
}

}  // namespace

Result<std::string> file_id(const std::filesystem::path& file, std::stop_token stop) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    return Status(Code::Invalid, file.string() + " is a folder, not a document");
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
    return Status(Code::Invalid, file.string() + " is not a file that can be read to its end; choose a PDF");
  std::ifstream in(file, std::ios::binary);
  if (!in) return Status(Code::NotFound, file.string() + " cannot be opened: " + std::strerror(errno));
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> chunk(kHashChunk);
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())), in.gcount() > 0) {
    if (stop.stop_requested()) return Status(Code::Cancelled, "The import was stopped");
    EVP_DigestUpdate(context.get(), chunk.data(), static_cast<size_t>(in.gcount()));
  }
  if (in.bad()) return Status(Code::Io, file.string() + " could not be read to its end");
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  EVP_DigestFinal_ex(context.get(), digest, &n);
  return hexadecimal(digest, n);
}

}  // namespace longleaf
