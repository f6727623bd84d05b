// longleaf-cli: everything the window does, for scripts, tests and people on servers.
#include <cstdio>

#include "app/cli/context.h"

int main(int argc, char** argv) {
  using namespace longleaf::cli;
  CLI::App app("Longleaf answers questions about long PDFs on your own machine, with proof.", "longleaf-cli");
  app.set_version_flag("--version", LONGLEAF_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  Context context;
  context.addOptions(app);
  Run run;
  addDocumentCommands(app, context, run);
  addUpkeepCommands(app, context, run);
  addQuestionCommands(app, context, run);
  addModelCommands(app, context, run);
  addEvalCommand(app, context, run);
  addTrainCommand(app, context, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  context.start();
  const int status = run();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "longleaf-cli: The output could not be written; check the disk it goes to.\n");
  return kFailed;
}
