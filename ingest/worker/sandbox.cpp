// What the worker may ask of the system. Two nets: Landlock, where the kernel has it, leaves only the files that fonts
// and character maps come from, for reading; seccomp takes away sockets, processes, writing, and whatever reaches other
// processes or what belongs to a file besides its bytes. Refused calls fail with EPERM, so that poppler and fontconfig
// go on without.
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "ingest/reader/recognition.h"
#include "ingest/worker/worker.h"

namespace longleaf::worker {
namespace {

constexpr std::array kReadable = {"/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/fontconfig",
                                  "/etc/fonts",       "/var/cache/fontconfig",  "/usr/share/poppler",
                                  "/usr/lib",         "/etc/ld.so.cache"};
constexpr uint64_t kAllAccess = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // of the first version

constexpr std::array kRefused = {SCMP_SYS(socket),
                                 SCMP_SYS(socketpair),
                                 SCMP_SYS(connect),
                                 SCMP_SYS(bind),
                                 SCMP_SYS(listen),
                                 SCMP_SYS(accept),
                                 SCMP_SYS(accept4),
                                 SCMP_SYS(execve),
                                 SCMP_SYS(execveat),
                                 SCMP_SYS(fork),
                                 SCMP_SYS(vfork),
                                 SCMP_SYS(ptrace),
                                 SCMP_SYS(kill),
                                 SCMP_SYS(tkill),
                                 SCMP_SYS(rt_sigqueueinfo),
                                 SCMP_SYS(rt_tgsigqueueinfo),
                                 SCMP_SYS(ioctl),  // could type into a terminal, and change a file's flags
                                 SCMP_SYS(setpriority),
                                 SCMP_SYS(ioprio_set),
                                 SCMP_SYS(sched_setaffinity),
                                 SCMP_SYS(sched_setattr),
                                 SCMP_SYS(sched_setparam),
                                 SCMP_SYS(sched_setscheduler),
                                 SCMP_SYS(migrate_pages),
                                 SCMP_SYS(move_pages),
                                 SCMP_SYS(process_madvise),
                                 SCMP_SYS(kcmp),
                                 SCMP_SYS(shmget),
                                 SCMP_SYS(shmat),
                                 SCMP_SYS(shmctl),
                                 SCMP_SYS(semget),
                                 SCMP_SYS(semop),
                                 SCMP_SYS(semtimedop),
                                 SCMP_SYS(semctl),
                                 SCMP_SYS(msgget),
                                 SCMP_SYS(msgsnd),
                                 SCMP_SYS(msgrcv),
                                 SCMP_SYS(msgctl),
                                 SCMP_SYS(mq_open),
                                 SCMP_SYS(mq_unlink),
                                 SCMP_SYS(process_vm_readv),
                                 SCMP_SYS(process_vm_writev),
                                 SCMP_SYS(pidfd_open),
                                 SCMP_SYS(pidfd_getfd),
                                 SCMP_SYS(pidfd_send_signal),
                                 SCMP_SYS(creat),
                                 SCMP_SYS(unlink),
                                 SCMP_SYS(unlinkat),
                                 SCMP_SYS(rename),
                                 SCMP_SYS(renameat),
                                 SCMP_SYS(renameat2),
                                 SCMP_SYS(mkdir),
                                 SCMP_SYS(mkdirat),
                                 SCMP_SYS(rmdir),
                                 SCMP_SYS(link),
                                 SCMP_SYS(linkat),
                                 SCMP_SYS(symlink),
                                 SCMP_SYS(symlinkat),
                                 SCMP_SYS(mknod),
                                 SCMP_SYS(mknodat),
                                 SCMP_SYS(chmod),
                                 SCMP_SYS(fchmod),
                                 SCMP_SYS(fchmodat),
                                 SCMP_SYS(chown),
                                 SCMP_SYS(fchown),
                                 SCMP_SYS(lchown),
                                 SCMP_SYS(fchownat),
                                 SCMP_SYS(truncate),
                                 SCMP_SYS(setxattr),
                                 SCMP_SYS(lsetxattr),
                                 SCMP_SYS(fsetxattr),
                                 SCMP_SYS(removexattr),
                                 SCMP_SYS(lremovexattr),
                                 SCMP_SYS(fremovexattr),
                                 SCMP_SYS(utime),
                                 SCMP_SYS(utimes),
                                 SCMP_SYS(futimesat),
                                 SCMP_SYS(utimensat),
                                 SCMP_SYS(inotify_init),
                                 SCMP_SYS(inotify_init1),
                                 SCMP_SYS(fanotify_init),
                                 SCMP_SYS(open_tree),
                                 SCMP_SYS(move_mount),
                                 SCMP_SYS(fsopen),
                                 SCMP_SYS(name_to_handle_at),
                                 SCMP_SYS(mount),
                                 SCMP_SYS(umount2),
                                 SCMP_SYS(chroot),
                                 SCMP_SYS(pivot_root),
                                 SCMP_SYS(unshare),
                                 SCMP_SYS(setns),
                                 SCMP_SYS(setuid),
                                 SCMP_SYS(setgid),
                                 SCMP_SYS(open_by_handle_at),
                                 SCMP_SYS(bpf),
                                 SCMP_SYS(perf_event_open),
                                 SCMP_SYS(userfaultfd),
                                 SCMP_SYS(keyctl),
                                 SCMP_SYS(add_key),
                                 SCMP_SYS(request_key),
                                 SCMP_SYS(io_uring_setup),
                                 SCMP_SYS(io_uring_enter),
                                 SCMP_SYS(io_uring_register)};

// fchmodat2, setxattrat, removexattrat: newer than the names that libseccomp knows.
constexpr std::array kUnnamed = {452, 463, 466};

// The headers of this C library have no wrappers for these.
int landlock(long call, auto... arguments) { return static_cast<int>(syscall(call, arguments...)); }

bool restrict_files() {
  if (landlock(SYS_landlock_create_ruleset, nullptr, size_t{0}, LANDLOCK_CREATE_RULESET_VERSION) < 1) return false;
  landlock_ruleset_attr rules{};
  rules.handled_access_fs = kAllAccess;
  const int ruleset = landlock(SYS_landlock_create_ruleset, &rules, sizeof rules, 0U);
  if (ruleset < 0) return false;
  std::vector<const char*> readable(kReadable.begin(), kReadable.end());
  readable.insert(readable.end(), kTessdataFolders.begin(), kTessdataFolders.end());
  for (const char* path : readable) {
    landlock_path_beneath_attr beneath{};
    beneath.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (beneath.parent_fd < 0) continue;  // not on this system
    beneath.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
    if (faccessat(beneath.parent_fd, ".", F_OK, 0) == 0) beneath.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
    landlock(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0U);
    close(beneath.parent_fd);
  }
  const bool ok = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && landlock(SYS_landlock_restrict_self, ruleset, 0U) == 0;
  close(ruleset);
  return ok;
}

bool restrict_calls() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) return false;
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM), unknown = SCMP_ACT_ERRNO(ENOSYS);
  bool ok = true;
  const auto rule = [&](int code) { ok &= code == 0; };
  for (const int call : kRefused) rule(seccomp_rule_add(filter, refuse, call, 0));
  for (const int call : kUnnamed) rule(seccomp_rule_add(filter, unknown, call, 0));
  // Signals to whoever is named the owner of a pipe.
  for (const int command : {F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE, F_NOTIFY})
    rule(seccomp_rule_add(filter, refuse, SCMP_SYS(fcntl), 1,
                          SCMP_A1(SCMP_CMP_MASKED_EQ, 0xFFFFFFFF, static_cast<scmp_datum_t>(command))));
  // Threads are fine, processes are not; clone3 hides its flags, so the C library is sent to clone.
  rule(seccomp_rule_add(filter, unknown, SCMP_SYS(clone3), 0));
  rule(seccomp_rule_add(filter, refuse, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)));
  rule(seccomp_rule_add(filter, unknown, SCMP_SYS(openat2), 0));
  // Each flag by itself: reading can make a file and empty it.
  const auto refuse_opening = [&](int mask, int mode) {
    const auto bits = static_cast<scmp_datum_t>(mask), way = static_cast<scmp_datum_t>(mode);
    rule(seccomp_rule_add(filter, refuse, SCMP_SYS(open), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, bits, way)));
    rule(seccomp_rule_add(filter, refuse, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, bits, way)));
  };
  refuse_opening(O_ACCMODE, O_WRONLY);
  refuse_opening(O_ACCMODE, O_RDWR);
  refuse_opening(O_CREAT, O_CREAT);
  refuse_opening(O_TRUNC, O_TRUNC);
  // What a process may do to itself, it must not do to others: abort() signals, the C library asks for limits.
  const auto self = static_cast<scmp_datum_t>(getpid());
  rule(seccomp_rule_add(filter, refuse, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_NE, self, 0)));
  rule(seccomp_rule_add(filter, refuse, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0, 0)));
  ok = ok && seccomp_load(filter) == 0;
  seccomp_release(filter);
  return ok;
}

}  // namespace

Sandbox enter_sandbox() {
  Sandbox entered;
  entered.files = restrict_files();
  entered.calls = restrict_calls();
  return entered;
}

}  // namespace longleaf::worker
