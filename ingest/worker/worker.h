// The inside of longleaf-pdf: the only code that parses an untrusted PDF, and the only user of poppler.
#pragma once

namespace longleaf::worker {

// Takes the limits of limits.cpp, then answers requests from `in` on `out` until `in` ends. The document is the file
// open at descriptor `document`. Returns the exit status of the process.
int run_worker(int document, int in, int out);

// Lowers what this process may take: address space, open files, file writing, processor time, core dumps.
void limit_this_process();

struct Sandbox {
  bool files = false;  // Landlock: only fonts and character maps can be read (kernel 5.13 or later)
  bool calls = false;  // seccomp: no sockets, no processes, no writing
};

// Gives up, for ever, what reading a handed-in PDF does not need. Linux only.
Sandbox enter_sandbox();

}  // namespace longleaf::worker
