#!/bin/sh
# What runs before a worker in its image, and becomes it, so that SIGTERM arrives there.
#
# numba keeps kernels only where it may write, and the root file system may be read-only: those that
# were compiled with the image are laid where NUMBA_CACHE_DIR says.
set -eu
# Process 1 gets no signal that it has no handler for.
trap 'exit 143' TERM
mkdir -p "$NUMBA_CACHE_DIR"
if /lib64/ld-linux-x86-64.so.2 --help | grep -q "^ *$NUMBA_CPU_NAME (supported"; then
  cp -R /opt/cutwork/kernels/. "$NUMBA_CACHE_DIR"
else
  echo "this CPU is no $NUMBA_CPU_NAME, which the image's kernels are for: compiling them anew" >&2
  unset NUMBA_CPU_NAME NUMBA_CPU_FEATURES
fi
exec "$@"
