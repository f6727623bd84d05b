// longleaf: the window.
#include <QApplication>
#include <QCommandLineParser>
#include <clocale>
#include <cstdio>

#include "app/gui/application.h"
#include "app/places.h"
#include "engine/base/log.h"

int main(int argc, char** argv) {
  QApplication qt(argc, argv);
  std::setlocale(LC_NUMERIC, "C");  // Qt has set the user's; files have points for decimals
  QApplication::setApplicationName(QStringLiteral("longleaf"));
  QApplication::setApplicationDisplayName(QStringLiteral("Longleaf"));
  QApplication::setApplicationVersion(QStringLiteral(LONGLEAF_VERSION));

  QCommandLineParser parser;
  parser.setApplicationDescription(
      QStringLiteral("Answers questions about long documents on your own machine, with proof."));
  parser.addHelpOption();
  parser.addVersionOption();
  parser.addPositionalArgument(QStringLiteral("files"), QStringLiteral("Documents or folders to read"),
                               QStringLiteral("[files…]"));
  parser.addOption({QStringLiteral("library"), QStringLiteral("Data folder"), QStringLiteral("DIR")});
  parser.addOption({QStringLiteral("verbose"), QStringLiteral("Print the log on stderr")});
  parser.process(qt);

  const QString chosen = parser.value(QStringLiteral("library"));
  const std::filesystem::path folder =
      chosen.isEmpty() ? longleaf::defaultDataFolder() : std::filesystem::absolute(chosen.toStdString());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (const auto status = longleaf::start_log(folder, parser.isSet(QStringLiteral("verbose"))); !status.ok())
    std::fprintf(stderr, "%s\n", status.message().c_str());

  longleaf::Application application(folder);
  application.start(parser.positionalArguments());
  return QApplication::exec();
}
