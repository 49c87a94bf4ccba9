#!/usr/bin/env bash
# The install steps of a target of deploy/Dockerfile, into a new virtual environment:
#
#     deploy/install.sh producer|worker-cpu|worker-gpu FOLDER [pip's arguments]
#
# deploy/Dockerfile and the tests run it. With `--dry-run` pip prints what it would install, and the
# script stops. A worker's kernels are compiled into NUMBA_CACHE_DIR if that is set, and the models
# named in MODELS are fetched into CUTWORK_MODEL_CACHE.
set -euo pipefail

target=${1:?expected a target: producer, worker-cpu or worker-gpu}
folder=${2:?expected the folder of the virtual environment}
shift 2
sources=$(dirname "$0")/..
wanted=(-c "$sources/constraints.txt")

case $target in
  producer) wanted+=("${sources}[report,signing,exporter,otel]") ;;
  worker-cpu) wanted+=("${sources}[worker-cpu,signing,otel]") ;;
  # CUDA and cuDNN are wheels too, so that the image needs only the driver of the machine.
  worker-gpu) wanted+=(-c "$sources/deploy/cuda.txt" "${sources}[worker-gpu,signing,otel]" "onnxruntime-gpu[cuda,cudnn]") ;;
  *) echo "$target: expected producer, worker-cpu or worker-gpu" >&2; exit 2 ;;
esac

python=$folder/bin/python
[[ -x $python ]] || "${PYTHON:-python3.11}" -m venv --without-pip "$folder"
"${PYTHON:-python3.11}" -m pip --python "$python" --disable-pip-version-check --quiet \
  install --no-compile "${wanted[@]}" "$@"
[[ " $* " != *" --dry-run "* ]] || exit 0

# numba reuses a cached kernel only if the modification time of its source is unchanged, and image
# layers keep whole seconds.
find "$folder" -name '*.py' -exec touch --date=@1767225600 {} +
"$python" -m compileall -q "$folder/lib"
[[ $target != producer ]] || exit 0

cd "$folder"  # A folder `worker` in the current one would shadow the package.
[[ -z ${NUMBA_CACHE_DIR:-} ]] || "$python" -m worker compile
read -ra models <<< "${MODELS:-}"
[[ ${#models[@]} == 0 ]] || "$python" -m worker models fetch "${models[@]}"
