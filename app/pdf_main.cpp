// longleaf-pdf: reads one PDF for the other programs. The document is descriptor 3, requests come on standard input,
// answers go to standard output. Not meant to be started by hand.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "ingest/worker/worker.h"

int main() {
  if (fcntl(3, F_GETFD) < 0) {
    std::fprintf(stderr, "longleaf-pdf works for longleaf and longleaf-cli and cannot be started by hand.\n");
    return 2;
  }
  // Libraries may print to standard output; the protocol keeps the real one to itself.
  const int out = dup(STDOUT_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return longleaf::worker::run_worker(3, STDIN_FILENO, out);
}
