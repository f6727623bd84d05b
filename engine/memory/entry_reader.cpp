#include "engine/memory/entry_reader.h"

#include "engine/base/background.h"

namespace longleaf {

EntryReader::EntryReader(MemoryFile& file, std::vector<size_t> entries) : file_(file), entries_(std::move(entries)) {
  read_ahead();
}

void EntryReader::read_ahead() {
  if (next_ < entries_.size()) ahead_ = in_background([this, entry = entries_[next_]] { return file_.read(entry); });
}

Result<MemoryBlob> EntryReader::take(size_t entry) {
  if (next_ == entries_.size() || entries_[next_] != entry) {
    if (ahead_.valid()) ahead_.wait();
    return file_.read(entry);
  }
  auto blob = ahead_.get();
  ++next_;
  read_ahead();
  return blob;
}

}  // namespace longleaf
