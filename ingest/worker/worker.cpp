#include "ingest/worker/worker.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <new>
#include <thread>

#include "ingest/reader/protocol.h"
#include "ingest/worker/document.h"
#include "ingest/worker/recogniser.h"

namespace longleaf::worker {
namespace {

constexpr float kRecognitionDpi = 300;  // what Tesseract was trained for

class Worker {
 public:
  Worker(std::string_view bytes, bool too_large) : bytes_(bytes), too_large_(too_large) {}

  // The answer's kind and body, or an error.
  Result<Frame> answer(const Frame& request) {
    if (request.kind == Kind::Open) return open(request.body);
    if (document_ == nullptr) return Status(Code::Invalid, "No document is open");
    switch (request.kind) {
      case Kind::Page:
        return page(request.body);
      case Kind::Outline:
        return outline();
      case Kind::Render:
        return render(request.body);
      case Kind::Recognise:
        return recognise(request.body);
      default:
        return Status(Code::Invalid, "Unknown request");
    }
  }

 private:
  Result<Frame> open(const std::string& body);
  Result<Frame> page(const std::string& body);
  Result<Frame> outline();
  Result<Frame> render(const std::string& body);
  Result<Frame> recognise(const std::string& body);

  std::string_view bytes_;
  bool too_large_;
  std::unique_ptr<OpenDocument> document_;
  Recogniser recogniser_;
};

Result<Frame> Worker::open(const std::string& body) {
  const auto request = decode_open(body);
  if (!request.ok()) return request.status();
  if (too_large_) return Status(Code::Unsupported, "The file is larger than 2 GiB, which the reader cannot open");
  const auto format = format_of(bytes_, request->name);
  if (!format.ok()) return format.status();
  auto document = *format == Format::Pdf ? open_pdf(bytes_, request->password) : open_flow(bytes_, *format);
  if (!document.ok()) return document.status();
  document_ = std::move(*document);
  return Frame{Kind::Opened, encode(document_->info())};
}

Result<Frame> Worker::page(const std::string& body) {
  const auto numbers = decode_numbers(body, 1);
  if (!numbers.ok()) return numbers.status();
  const auto page = document_->page((*numbers)[0]);
  if (!page.ok()) return page.status();
  return Frame{Kind::PageText, encode(*page)};
}

Result<Frame> Worker::outline() {
  const auto entries = document_->outline();
  if (!entries.ok()) return entries.status();
  return Frame{Kind::OutlineIs, encode(*entries)};
}

Result<Frame> Worker::render(const std::string& body) {
  const auto numbers = decode_numbers(body, 2);
  if (!numbers.ok()) return numbers.status();
  const auto image = document_->render((*numbers)[0], (*numbers)[1]);
  if (!image.ok()) return image.status();
  return Frame{Kind::Image, encode(*image)};
}

Result<Frame> Worker::recognise(const std::string& body) {
  const auto request = decode_recognise(body);
  if (!request.ok()) return request.status();
  auto page = document_->page(request->index);
  if (!page.ok()) return page.status();
  const auto image = document_->render(request->index, static_cast<uint32_t>(page->width_pt / 72 * kRecognitionDpi));
  if (!image.ok()) return image.status();
  LL_RETURN_IF_ERROR(recogniser_.read(*image, request->languages, *page));
  return Frame{Kind::PageText, encode(*page)};
}

std::string_view map_document(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || info.st_size <= 0 || info.st_size > INT32_MAX) return {};
  void* memory = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED) return {};
  return {static_cast<const char*>(memory), static_cast<size_t>(info.st_size)};
}

// A page that never ends must not outlive the program that wanted it.
void end_with_the_program(int in) {
  pollfd other{in, 0, 0};
  while (poll(&other, 1, -1) < 0 && errno == EINTR) {
  }
  _exit(0);
}

}  // namespace

int run_worker(int document, int in, int out) {
  limit_this_process();
  // A kernel without seccomp would leave a parser of untrusted files unguarded: better none.
  if (!enter_sandbox().calls) return 1;
  std::thread(end_with_the_program, in).detach();  // as restricted as this one
  struct stat info {};
  const bool too_large = fstat(document, &info) == 0 && info.st_size > INT32_MAX;
  Worker worker(map_document(document), too_large);
  if (!write_frame(out, Kind::Hello, encode_numbers({kProtocolVersion})).ok()) return 1;
  while (true) {
    const auto request = read_frame(in, -1);
    if (!request.ok()) return request.status().code() == Code::Io ? 0 : 1;
    Result<Frame> answer = Status(Code::NoMemory, "The file needs more memory than the reader may take");
    try {
      answer = worker.answer(*request);
    } catch (const std::bad_alloc&) {  // the limit on address space, met inside poppler
    } catch (const std::exception& error) {
      answer = Status(Code::Corrupt, std::string("The file cannot be read: ") + error.what());
    }
    const Status sent =
        answer.ok() ? write_frame(out, answer->kind, answer->body)
                    : write_frame(out, Kind::Error, encode_error(answer.status().code(), answer.status().message()));
    if (!sent.ok()) return 1;
  }
}

}  // namespace longleaf::worker
