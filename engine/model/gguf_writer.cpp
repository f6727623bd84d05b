#include "engine/model/gguf_writer.h"

#include "engine/base/files.h"

namespace longleaf {

Status GgufWriter::save(const std::filesystem::path& path) const { return write_file(path, bytes()); }

}  // namespace longleaf
