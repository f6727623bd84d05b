// GGUF files for tests are written as the program writes its own.
#pragma once

#include "engine/model/gguf_writer.h"

namespace longleaf::test {
using longleaf::GgufWriter;
}
