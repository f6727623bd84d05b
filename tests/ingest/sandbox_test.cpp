// What code that took over the PDF reader could still do. Each attempt runs in a process of its own, as the reader.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <string>
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
}

TEST(no_other_process_can_be_touched) {
  CHECK_EQ(inside([] { return kill(getppid(), 0) == 0; }), EPERM);
  CHECK_EQ(inside([] { return syscall(SYS_tkill, getppid(), 0) == 0; }), EPERM);
  CHECK_EQ(inside([] { return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0; }), EPERM);
  CHECK_EQ(inside([] { return sigqueue(getppid(), 0, {}) == 0; }), EPERM);
  CHECK_EQ(inside([] { return setpriority(PRIO_PROCESS, static_cast<id_t>(getppid()), 19) == 0; }), EPERM);
  CHECK_EQ(inside([] { return prlimit(getppid(), RLIMIT_NOFILE, nullptr, nullptr) == 0; }), EPERM);
  CHECK_EQ(inside([] { return shmget(IPC_PRIVATE, 4096, 0600) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return msgget(IPC_PRIVATE, 0600) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return syscall(SYS_semtimedop, 0, nullptr, 0, nullptr) == 0; }), EPERM);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK_EQ(inside([&] { return fcntl(ends[0], F_SETOWN, getppid()) == 0; }), EPERM);
  CHECK_EQ(inside([&] { return fcntl(ends[0], F_SETSIG, SIGKILL) == 0; }), EPERM);
  const char typed = '#';
  CHECK_EQ(inside([&] { return ioctl(ends[0], TIOCSTI, &typed) == 0; }), EPERM);
  close(ends[0]), close(ends[1]);
  rlimit own{};
  CHECK_EQ(inside([&] { return getrlimit(RLIMIT_NOFILE, &own) == 0; }), 0);
}

TEST(the_document_itself_cannot_be_changed) {
  const std::string path = "/tmp/longleaf-sandbox-" + std::to_string(getpid());
  std::ofstream(path) << "bytes";
  const int document = open(path.c_str(), O_RDONLY);
  CHECK_EQ(inside([&] { return fsetxattr(document, "user.x", "1", 1, 0) == 0; }), EPERM);
  CHECK_EQ(inside([&] { return futimens(document, nullptr) == 0; }), EPERM);
  CHECK_EQ(inside([&] { return fchmod(document, 0) == 0; }), EPERM);
  CHECK_EQ(inside([&] { return syscall(452, AT_FDCWD, path.c_str(), 0777, 0) == 0; }), ENOSYS);  // fchmodat2
  CHECK_EQ(inside([&] { return open(path.c_str(), O_RDONLY | O_TRUNC) >= 0; }), EPERM);
  CHECK_EQ(inside([&] {
             char byte = 0;
             return pread(document, &byte, 1, 0) == 1 && byte == 'b';
           }),
           0);
  close(document);
  unlink(path.c_str());
}

TEST(no_file_can_be_written_made_or_removed) {
  CHECK_EQ(inside([] { return open("/tmp/longleaf-sandbox", O_WRONLY | O_CREAT, 0600) >= 0; }), EPERM);
  CHECK_EQ(inside([] { return open("/tmp/longleaf-sandbox", O_RDONLY | O_CREAT, 0600) >= 0; }), EPERM);
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

TEST(threads_still_work) {
  CHECK_EQ(inside([] {
             bool ran = false;
             std::thread([&] { ran = true; }).join();
             return ran;
           }),
           0);
}
