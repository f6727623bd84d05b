// An answer with its sources as HTML for the chat. Any thread.
#pragma once

#include <QString>

#include "ui/rows.h"

namespace longleaf::ui {

// Sentences in order; a supported one is followed by a link "source:<message>:<index>", an unsupported one is marked.
// Without sources, the plain answer. Nothing of the texts is read as HTML.
QString answerHtml(const ChatItem& item, int message);

}  // namespace longleaf::ui
