#include "ingest/reader/reader.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace longleaf {

using worker::Frame;
using worker::Kind;

namespace {

constexpr int kDocumentDescriptor = 3;  // where the worker expects the file

// A socket pair behaves as two pipes, but writing to a dead worker gives an error instead of a signal.
bool make_pair(int ends[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0; }

void close_and_forget(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

}  // namespace

Result<std::unique_ptr<DocumentReader>> DocumentReader::open(const std::filesystem::path& file, ReaderOptions options) {
  std::unique_ptr<DocumentReader> reader(new DocumentReader(std::move(options)));
  reader->name_ = file.filename().string();
  reader->file_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (reader->file_ < 0)
    return Status(errno == ENOENT ? Code::NotFound : Code::Io,
                  file.string() + " cannot be opened: " + std::strerror(errno));
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    return Status(Code::Invalid, file.string() + " is a folder, not a document");
  LL_RETURN_IF_ERROR(reader->start());
  return reader;
}

DocumentReader::~DocumentReader() {
  stop();
  close_and_forget(file_);
}

Status DocumentReader::start() {
  signal(SIGPIPE, SIG_IGN);
  int ends[2];
  if (!make_pair(ends))
    return Status(Code::Unavailable, "The reader cannot be started: no more open files are allowed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Through high numbers first: one of ours may already be 0, 1 or 3.
  const int document = fcntl(file_, F_DUPFD_CLOEXEC, 10), peer = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
  posix_spawn_file_actions_adddup2(&actions, peer, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, peer, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, document, kDocumentDescriptor);
  // No terminal of ours: neither to write to nor to belong to.
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::string program = options_.worker.string();
  char* arguments[] = {program.data(), nullptr};
  const int error = document < 0 || peer < 0
                        ? EMFILE
                        : posix_spawn(&pid_, program.c_str(), &actions, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (document >= 0) close(document);
  if (peer >= 0) close(peer);
  if (error != 0) {
    pid_ = 0;
    close(ends[0]);
    return Status(Code::Unavailable,
                  "The reader " + program + " cannot be started: " + std::strerror(error) + "; install Longleaf again");
  }
  to_worker_ = from_worker_ = ends[0];
  const auto hello = worker::read_frame(from_worker_, options_.open_timeout_ms);
  const auto version = hello.ok() && hello->kind == Kind::Hello ? worker::decode_numbers(hello->body, 1)
                                                                : Result<std::vector<uint32_t>>(Status(Code::Io, ""));
  if (!version.ok() || (*version)[0] != worker::kProtocolVersion) {
    stop();
    return Status(Code::Unavailable, "The reader does not belong to this version of Longleaf; install Longleaf again");
  }
  const auto opened = exchange(Kind::Open, worker::encode(worker::OpenRequest{options_.password, name_}), Kind::Opened,
                               options_.open_timeout_ms);
  if (!opened.ok()) {
    stop();
    return opened.status();
  }
  auto info = worker::decode_info(opened->body);
  if (!info.ok()) return info.status();
  info_ = std::move(*info);
  return {};
}

void DocumentReader::stop() {
  close_and_forget(to_worker_);
  from_worker_ = -1;
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = 0;
}

// Anything but an answer or an Error frame leaves the pipe out of step, or the worker is gone: a new one next time.
Result<Frame> DocumentReader::exchange(Kind request, std::string_view body, Kind expected, int timeout_ms) {
  const Status sent = worker::write_frame(to_worker_, request, body);
  auto answer = sent.ok() ? worker::read_frame(from_worker_, timeout_ms) : Result<Frame>(sent);
  if (answer.ok() && answer->kind == expected) return answer;
  if (answer.ok() && answer->kind == Kind::Error) return worker::decode_error(answer->body);
  stop();
  return answer.ok() ? Status(Code::Corrupt, "The reader answered something else") : answer.status();
}

Result<Frame> DocumentReader::ask(Kind request, std::string_view body, Kind expected, int timeout_ms) {
  if (pid_ == 0) LL_RETURN_IF_ERROR(start());
  return exchange(request, body, expected, timeout_ms);
}

Result<PageText> DocumentReader::page(int index) {
  return page_of(
      ask(Kind::Page, worker::encode_numbers({static_cast<uint32_t>(index)}), Kind::PageText, options_.page_timeout_ms),
      index);
}

Result<PageText> DocumentReader::recognise(int index, const std::string& languages) {
  return page_of(ask(Kind::Recognise, worker::encode(worker::RecogniseRequest{static_cast<uint32_t>(index), languages}),
                     Kind::PageText, options_.recognise_timeout_ms),
                 index);
}

Result<PageText> DocumentReader::page_of(const Result<Frame>& answer, int index) {
  if (!answer.ok()) return answer.status();
  auto page = worker::decode_page(answer->body);
  if (page.ok() && page->index == index) return page;
  stop();
  return page.ok() ? Status(Code::Corrupt, "The reader answered another page") : page.status();
}

Result<std::vector<OutlineEntry>> DocumentReader::outline() {
  const auto answer = ask(Kind::Outline, {}, Kind::OutlineIs, options_.open_timeout_ms);
  if (!answer.ok()) return answer.status();
  return worker::decode_outline(answer->body);
}

Result<PageImage> DocumentReader::render(int index, int width_px) {
  const auto answer =
      ask(Kind::Render,
          worker::encode_numbers({static_cast<uint32_t>(index), static_cast<uint32_t>(std::max(1, width_px))}),
          Kind::Image, options_.page_timeout_ms);
  if (!answer.ok()) return answer.status();
  return worker::decode_image(answer->body);
}

}  // namespace longleaf
