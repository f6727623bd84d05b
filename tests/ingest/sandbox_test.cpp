// What code that took over the PDF reader could still do. Each attempt runs in a process of its own, as the reader.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "ingest/worker/worker.h"
#include "tests/support/check.h"

using namespace longleaf::worker;

namespace {

constexpr int kNoLandlock = 99;

// The exit status of `attempt` in a sandboxed process: 0 when it succeeds, else errno.
int inside(const std::function<bool()>& attempt, bool needs_landlock = false) {
  const pid_t child = fork();
  if (child == 0) {
    limit_this_process();
    const Sandbox sandbox = enter_sandbox();
    if (!sandbox.calls) _exit(100);
    if (needs_landlock && !sandbox.files) _exit(kNoLandlock);
    errno = 0;
    _exit(attempt() ? 0 : errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST(no_socket_and_no_process_can_be_made) {
  CHECK_EQ(inside([] { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return fork() >= 0; }), EPERM);
  CHECK_EQ(inside([] { return vfork() >= 0; }), EPERM);
  CHECK_EQ(inside([] { return execl("/bin/true", "true", nullptr) == 0; }), EPERM);
  CHECK_EQ(inside([] { return kill(getppid(), 0) == 0; }), EPERM);
}

TEST(no_file_can_be_written_made_or_removed) {
  CHECK_EQ(inside([] { return open("/tmp/longleaf-sandbox", O_WRONLY | O_CREAT, 0600) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return open("/dev/null", O_RDWR) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return unlink("/tmp/longleaf-sandbox") == 0; }), EPERM);
  CHECK_EQ(inside([] { return mkdir("/tmp/longleaf-sandbox", 0700) == 0; }), EPERM);
}

TEST(no_file_of_the_user_can_be_read) {
  const int refused = inside([] { return open("/etc/passwd", O_RDONLY) >= 0; }, true);
  if (refused == kNoLandlock) return std::puts("  this kernel has no Landlock: files can still be read"), void();
  CHECK_EQ(refused, EACCES);
  CHECK_EQ(inside([] { return open("/etc/fonts/fonts.conf", O_RDONLY) >= 0; }, true), 0);
}

TEST(threads_and_reading_what_is_open_still_work) {
  CHECK_EQ(inside([] {
             bool ran = false;
             std::thread([&] { ran = true; }).join();
             return ran;
           }),
           0);
}
