# Shared by ./run and ./test: finds and installs what the build needs on Debian and Ubuntu. Sourced, not run.

# package: why it is needed
needed_packages() {
  if [ "${only_arm:-0}" = 1 ]; then
    cat <<'LIST'
cmake: the build system
ninja-build: runs the build
g++-aarch64-linux-gnu: builds the kernels for ARM
qemu-user-static: runs their tests
LIST
    return 0
  fi
  cat <<'LIST'
g++: the C++ compiler
cmake: the build system
ninja-build: runs the build
pkg-config: finds poppler
qt6-base-dev: the window (Qt 6 Widgets) and its tests (Qt Test)
libgl-dev: headers that Qt's packages ask for
libpoppler-private-dev: reads the words of a PDF with their fonts, colours and covers
libpoppler-qt6-dev: reads a PDF's outline and draws its pages
libxml2-dev: reads HTML and the pages of EPUB books
libzip-dev: unpacks EPUB books
libmd4c-html0-dev: reads Markdown
libmd4c-dev: reads Markdown
libseccomp-dev: takes from the reader what it does not need of the system
poppler-data: character maps for Chinese, Japanese and Korean PDFs
libsqlite3-dev: the library of documents, and full-text search
libssl-dev: SHA-256, by which a document is known
libspdlog-dev: the log
libcli11-dev: the command line
nlohmann-json3-dev: JSON
libonig-dev: regular expressions of vocabularies
libutf8proc-dev: Unicode
fonts-dejavu-core: a font for the window, and for documents that bring none
LIST
  [ "${with_tests:-0}" = 1 ] || return 0
  cat <<'LIST'
tesseract-ocr: text recognition of scans; the program finds it where it is installed
tesseract-ocr-eng: its English
g++-mingw-w64-x86-64-posix: whether what opens a card compiles for Windows, too
libboost-context-dev: fibers, as which the emulator of GPUs runs their threads
LIST
}

setup_fail() {
  echo "$1" >&2
  exit 1
}

is_installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

missing_packages() {
  needed_packages | while IFS=: read -r name reason; do
    is_installed "$name" || echo "$name:$reason"
  done
}

# install_missing <yes: 1 to install without asking>
install_missing() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian or Ubuntu. Install the equivalents of these packages yourself, then build with CMake:" >&2
    needed_packages | sed 's/^/  /' >&2
    echo "  cmake --preset cpu && cmake --build --preset cpu" >&2
    exit 1
  fi
  local missing
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  echo "These packages are needed and not installed:"
  echo "$missing" | sed 's/^/  /'
  if [ "$1" != 1 ]; then
    [ -t 0 ] || setup_fail "Start again with --yes to install them."
    read -r -p "Install them now? [Y/n] " answer
    case "$answer" in [nN]*) setup_fail "Nothing was installed." ;; esac
  fi
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || setup_fail "Installing needs root: run  apt-get install $(echo "$missing" | cut -d: -f1 | tr '\n' ' ')"
    sudo=sudo
  fi
  $sudo apt-get update -q || echo "The package lists could not be updated; trying with those that are there." >&2
  # shellcheck disable=SC2046
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(echo "$missing" | cut -d: -f1) ||
    setup_fail "The packages could not be installed; the lines above say why."
}

# Sanitizer builds take about 1.5 GB per compiler; leave room for the system.
build_jobs() {
  local by_memory
  by_memory=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  local jobs
  jobs=$(nproc)
  [ "$by_memory" -lt "$jobs" ] && jobs=$by_memory
  [ "$jobs" -lt 1 ] && jobs=1
  echo "$jobs"
}
