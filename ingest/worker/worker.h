// The inside of longleaf-pdf: the only code that parses an untrusted file, and the only user of the libraries for it.
#pragma once

namespace longleaf::worker {

// Takes the limits of limits.cpp, then answers requests from `in` on `out` until `in` ends. The document is the file
// open at descriptor `document`. Returns the exit status of the process.
int run_worker(int document, int in, int out);

// Lowers what this process may take: address space, open files, file writing, processor time, core dumps.
void limit_this_process();

struct Sandbox {
  bool files = false;  // Landlock: only fonts, character maps and languages can be read (kernel 5.13 or later)
  bool calls = false;  // seccomp: no sockets, no processes, no writing; on Windows the job
};

// Gives up, for ever, what reading a handed-in PDF does not need.
Sandbox enter_sandbox();

}  // namespace longleaf::worker
