#!/bin/sh
# The entry point of the worker images. It replaces itself by the worker, which then gets SIGTERM.
#
# numba uses cached kernels only from a writable folder, and the root file system may be read-only:
# the kernels that were compiled with the image are copied to NUMBA_CACHE_DIR.
set -eu
# Process 1 ignores signals for which it has no handler.
trap 'exit 143' TERM
mkdir -p "$NUMBA_CACHE_DIR"
supported() {
  case $NUMBA_CPU_NAME in
    x86-64*) /lib64/ld-linux-x86-64.so.2 --help | grep -q "^ *$NUMBA_CPU_NAME (supported" ;;
    # There is no such list for other names; `generic` runs everywhere.
    *) true ;;
  esac
}
if supported; then
  cp -R /opt/cutwork/kernels/. "$NUMBA_CACHE_DIR"
else
  echo "expected a CPU with $NUMBA_CPU_NAME, for which the image has kernels; compiling new ones" >&2
  unset NUMBA_CPU_NAME NUMBA_CPU_FEATURES
fi
exec "$@"
