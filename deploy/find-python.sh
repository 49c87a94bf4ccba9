#!/bin/sh
# Prints the first command of a Python that can make the virtual environment: from 3.11 to 3.14, with
# the modules venv and ensurepip. `make` runs it.
#
#     deploy/find-python.sh [COMMAND …]    (default: python3, then python3.14 … python3.11)
#
# Where there is none, it prints a line for each command that it found, and exits with 1.
set -u

[ $# -gt 0 ] || set -- python3 python3.14 python3.13 python3.12 python3.11

# Prints nothing if the Python is suitable, and otherwise what it lacks.
check='
import sys
found = "%d.%d" % sys.version_info[:2]
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    print("is Python " + found)
else:
    try:
        import venv, ensurepip
    except ImportError as error:
        print("is Python %s without the module %s; on Debian and Ubuntu, install the package "
              "python%s-venv" % (found, error.name, found))
'
problems=
for command in "$@"; do
  # A command of pyenv or of macOS may exist and yet start no Python.
  if output=$("$command" -c "$check" 2>&1); then
    if [ -z "$output" ]; then
      echo "$command"
      exit 0
    fi
    problems="$problems
  $command $output"
  elif command -v "$command" >/dev/null 2>&1; then
    problems="$problems
  $command does not start: $(printf '%s\n' "$output" | sed -n '/./{p;q;}')"
  fi
done
echo "expected a Python from 3.11 to 3.14 with the modules venv and ensurepip; found${problems:- none of: $*}" >&2
echo "Install one, or name one: make PYTHON=/path/to/python3 …" >&2
exit 1
