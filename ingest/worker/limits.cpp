#include <sys/resource.h>
#include <csignal>

#include "ingest/worker/worker.h"

namespace longleaf::worker {
namespace {

void lower(__rlimit_resource what, rlim_t limit) {
  rlimit current{};
  if (getrlimit(what, &current) != 0 || (current.rlim_max != RLIM_INFINITY && current.rlim_max < limit)) return;
  current.rlim_cur = current.rlim_max = limit;
  setrlimit(what, &current);  // a failure leaves the stricter limit that was there
}

}  // namespace

void limit_this_process() {
#if !defined(__SANITIZE_ADDRESS__)  // the sanitizer reserves terabytes of address space for its shadow
  lower(RLIMIT_AS, rlim_t{3} << 30);
#endif
  lower(RLIMIT_NOFILE, 64);  // fonts are opened by fontconfig
  signal(SIGXFSZ, SIG_IGN);  // fontconfig tries to write its cache: that must fail, not kill
  lower(RLIMIT_FSIZE, 0);    // no file is ever written
  lower(RLIMIT_CPU, 4 * 3600);
  lower(RLIMIT_CORE, 0);
}

}  // namespace longleaf::worker
