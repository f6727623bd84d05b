// What the worker may ask of Windows: a job that allows this one process, so much memory and time; a token of untrusted
// integrity without privileges, which can write nothing of the user's; no child processes. A running process cannot
// give up the network there: that takes an AppContainer, which the program that starts it has to make.
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <sddl.h>

#include "ingest/worker/worker.h"

namespace longleaf::worker {
namespace {

constexpr SIZE_T kMostMemory = SIZE_T{3} << 30;                        // bytes
constexpr LONGLONG kMostTime = LONGLONG{4} * 3600 * 1000 * 1000 * 10;  // in 100 ns
constexpr const wchar_t* kUntrusted = L"S-1-16-0";

// The job ends with the process: its handle is never closed.
bool enter_job() {
  HANDLE job = CreateJobObjectW(nullptr, nullptr);
  if (job == nullptr) return false;
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits{};
  limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_ACTIVE_PROCESS | JOB_OBJECT_LIMIT_PROCESS_MEMORY |
                                            JOB_OBJECT_LIMIT_PROCESS_TIME | JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE |
                                            JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
  limits.BasicLimitInformation.ActiveProcessLimit = 1;
  limits.BasicLimitInformation.PerProcessUserTimeLimit.QuadPart = kMostTime;
  limits.ProcessMemoryLimit = kMostMemory;
  JOBOBJECT_BASIC_UI_RESTRICTIONS screen{};
  screen.UIRestrictionsClass = JOB_OBJECT_UILIMIT_READCLIPBOARD | JOB_OBJECT_UILIMIT_WRITECLIPBOARD |
                               JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS | JOB_OBJECT_UILIMIT_EXITWINDOWS |
                               JOB_OBJECT_UILIMIT_DESKTOP | JOB_OBJECT_UILIMIT_GLOBALATOMS;
  return SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits) != 0 &&
         SetInformationJobObject(job, JobObjectBasicUIRestrictions, &screen, sizeof screen) != 0 &&
         AssignProcessToJobObject(job, GetCurrentProcess()) != 0;
}

bool forbid_child_processes() {
  PROCESS_MITIGATION_CHILD_PROCESS_POLICY children{};
  children.NoChildProcessCreation = 1;
  return SetProcessMitigationPolicy(ProcessChildProcessPolicy, &children, sizeof children) != 0;
}

// Last: what follows can open only what the untrusted may.
bool lower_token() {
  HANDLE token = nullptr;
  if (OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_DEFAULT | TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &token) == 0)
    return false;
  bool ok = AdjustTokenPrivileges(token, TRUE, nullptr, 0, nullptr, nullptr) != 0;
  PSID sid = nullptr;
  ok = ok && ConvertStringSidToSidW(kUntrusted, &sid) != 0;
  if (ok) {
    TOKEN_MANDATORY_LABEL label{};
    label.Label.Attributes = SE_GROUP_INTEGRITY;
    label.Label.Sid = sid;
    ok = SetTokenInformation(token, TokenIntegrityLevel, &label, sizeof label + GetLengthSid(sid)) != 0;
    LocalFree(sid);
  }
  CloseHandle(token);
  return ok;
}

}  // namespace

void limit_this_process() { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX); }

Sandbox enter_sandbox() {
  Sandbox entered;
  entered.calls = enter_job() && forbid_child_processes();
  entered.files = lower_token();
  return entered;
}

}  // namespace longleaf::worker
