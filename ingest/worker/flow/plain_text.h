// Plain text and Markdown to a flow. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "ingest/worker/flow/flow.h"

namespace longleaf::worker {

bool is_utf8(std::string_view bytes);

// As UTF-8 with lines that end in \n, from UTF-8, from UTF-16 behind a mark, else from Windows-1252.
std::string decoded(std::string_view bytes);

// Paragraphs are separated by empty lines; where there are none, every line is one. A form feed begins a chapter.
Status read_plain_text(std::string_view bytes, Flow& flow);

// GitHub's dialect, through md4c.
Status read_markdown(std::string_view bytes, Flow& flow);

}  // namespace longleaf::worker
