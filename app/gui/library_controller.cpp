#include "app/gui/library_controller.h"

#include "app/gui/convert.h"
#include "app/places.h"
#include "ingest/library/chats.h"
#include "ingest/library/recognition.h"
#include "ingest/library/search.h"

namespace longleaf {
namespace {

constexpr int kLookEveryMs = 2000;
constexpr int kMostHits = 200;

}  // namespace

LibraryController::LibraryController(std::filesystem::path folder, QObject* parent)
    : QObject(parent), folder_(std::move(folder)) {
  connect(&watch_, &QTimer::timeout, this, &LibraryController::lookForChanges);
  watch_.start(kLookEveryMs);
}

void LibraryController::lookForChanges() {
  thread_.post([this] {
    if (!shown_) return;
    const auto mark = library_->database().mark();
    if (mark.ok() && mark->others != shown_->others) home([this] { loadDocuments(); });
  });
}

void LibraryController::home(std::function<void()> done) {
  QMetaObject::invokeMethod(this, std::move(done), Qt::QueuedConnection);
}

void LibraryController::fail(const Status& status) {
  home([this, text = toSentence(status)] { emit failed(text); });
}

Library* LibraryController::library() {
  if (library_ != nullptr) return library_.get();
  auto opened = Library::open(folder_);
  if (!opened.ok()) return fail(opened.status()), nullptr;
  library_ = std::move(*opened);
  return library_.get();
}

void LibraryController::loadDocuments() {
  thread_.post([this] {
    Library* library = this->library();
    if (library == nullptr) return;
    if (const auto mark = library->database().mark(); mark.ok()) shown_ = *mark;  // before they are read
    const auto rows = library->documents();
    if (!rows.ok()) return fail(rows.status());
    QList<ui::LibraryItem> items;
    for (const DocumentRow& row : *rows) items.append(toItem(row));
    home([this, items] { emit documentsLoaded(items); });
  });
}

// The pages can be looked at while the rest is read: those not read yet are taken to be as large as the last one.
Result<OpenedDocument> LibraryController::readUnfinished(Library& library, OpenedDocument opened) {
  LL_ASSIGN_OR_RETURN(const auto pages, library.pages(opened.row.key));
  if (pages.empty())
    return Status(
        Code::Invalid,
        "“" + opened.row.title + "” has not been read to its end; drop the file again, it goes on where it stopped");
  opened.pages = toItems(pages);
  while (opened.pages.size() < opened.row.pages) opened.pages.append(ui::PageItem{opened.pages.last().sizePt, {}});
  return opened;
}

Result<OpenedDocument> LibraryController::read(Library& library, qint64 key) {
  OpenedDocument opened;
  LL_ASSIGN_OR_RETURN(opened.row, library.document(key));
  if (opened.row.state != DocumentState::Ready) return readUnfinished(library, std::move(opened));
  LL_ASSIGN_OR_RETURN(const auto nodes, library.tree(key));
  LL_ASSIGN_OR_RETURN(const auto pages, library.pages(key));
  LL_ASSIGN_OR_RETURN(const int64_t chat, current_chat(library, key));
  LL_ASSIGN_OR_RETURN(const auto said, messages(library, chat));
  opened.sections = toItems(nodes);
  opened.pages = toItems(pages);
  for (const auto& message : said) opened.messages.append(toItem(message, opened.pages));
  return opened;
}

void LibraryController::openDocument(qint64 key) {
  const quint64 request = ++opening_;
  thread_.post([this, key, request] {
    Library* library = this->library();
    if (library == nullptr) return;
    auto opened = read(*library, key);
    if (!opened.ok()) {
      home([this, request] { opened_ = std::max(opened_, request); });
      return fail(opened.status());
    }
    home([this, request, document = std::move(*opened)] {
      opened_ = std::max(opened_, request);
      if (request == opening_) emit documentOpened(document);
    });
  });
}

void LibraryController::newChat(qint64 key) {
  thread_.post([this, key] {
    Library* library = this->library();
    if (library == nullptr) return;
    if (const auto chat = new_chat(*library, key); !chat.ok()) return fail(chat.status());
  });
  openDocument(key);
}

void LibraryController::search(qint64 key, const QString& text, const QList<ui::PageItem>& pages) {
  const quint64 request = ++searching_;
  thread_.post([this, key, text, pages, request] {
    Library* library = this->library();
    if (library == nullptr) return;
    const auto hits = longleaf::search(*library, key, text.toStdString(), kMostHits);
    if (!hits.ok() && hits.status().code() != Code::Invalid) return fail(hits.status());  // the latter: no word yet
    QList<ui::SearchItem> items;
    for (size_t i = 0; hits.ok() && i < hits->size(); ++i) items.append(toItem((*hits)[i], pages));
    home([this, request, text, items] {
      if (request == searching_) emit found(text, items);
    });
  });
}

void LibraryController::remove(qint64 key) {
  thread_.post([this, key] {
    Library* library = this->library();
    if (library == nullptr) return;
    const auto row = library->document(key);
    if (!row.ok()) return fail(row.status());
    const auto freed = library->remove(key);
    if (!freed.ok()) return fail(freed.status());
    const auto bytes = static_cast<qint64>(*freed + remove_memory(memoryFolder(folder_), row->id));
    home([this, key, bytes, title = QString::fromStdString(row->title)] { emit removed(key, title, bytes); });
  });
}

void LibraryController::countScans(qint64 key) {
  thread_.post([this, key] {
    Library* library = this->library();
    if (library == nullptr) return;
    const auto scans = scanned_pages(*library, key);
    const auto rate = recognition_seconds_per_page(*library);
    if (!scans.ok() || !rate.ok()) return fail(scans.ok() ? rate.status() : scans.status());
    home([this, key, n = static_cast<int>(scans->size()), seconds = *rate] { emit scansCounted(key, n, seconds); });
  });
}

void LibraryController::loadSettings(const QStringList& names) {
  loading_ += QSet<QString>(names.begin(), names.end());
  thread_.post([this, names] {
    Library* library = this->library();
    if (library == nullptr) return;
    QList<std::pair<QString, QString>> loaded;
    for (const QString& name : names) {
      const auto value = library->setting(name.toStdString());
      if (!value.ok()) return fail(value.status());
      loaded.append({name, QString::fromStdString(*value)});
    }
    home([this, loaded] {
      for (const auto& [name, value] : loaded)
        if (loading_.remove(name)) emit settingLoaded(name, value);
    });
  });
}

void LibraryController::saveSetting(const QString& name, const QString& value) {
  loading_.remove(name);
  const auto save = [this, name, value] {
    Library* library = this->library();
    if (library == nullptr) return;
    if (const Status status = library->set_setting(name.toStdString(), value.toStdString()); !status.ok()) fail(status);
  };
  thread_.post(save, true);
}

}  // namespace longleaf
