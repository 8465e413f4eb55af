#!/bin/sh
# Writes the locks of the image anew, with uv: sh docker/lock.sh
# torch and torchaudio are not in them: the image takes their CPU builds, which only their own index has.
set -eu
cd "$(dirname "$0")/.."

made="--quiet --generate-hashes --no-annotate --no-header --no-emit-index-url --python-version 3.11 -c constraints.txt"
cuda="triton nvidia-cublas-cu12 nvidia-cuda-cupti-cu12 nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12 nvidia-cudnn-cu12
nvidia-cufft-cu12 nvidia-cufile-cu12 nvidia-curand-cu12 nvidia-cusolver-cu12 nvidia-cusparse-cu12 nvidia-cusparselt-cu12
nvidia-nccl-cu12 nvidia-nvjitlink-cu12 nvidia-nvshmem-cu12 nvidia-nvtx-cu12"
left=""
for name in torch torchaudio $cuda; do left="$left --no-emit-package $name"; done

lock() {
    name=$1
    shift
    # shellcheck disable=SC2086 # words of options
    uv pip compile $made "$@" >"docker/$name.new"
    { echo "# Made by docker/lock.sh; do not edit."; cat "docker/$name.new"; } >"docker/$name"
    rm "docker/$name.new"
}

# shellcheck disable=SC2086
lock requirements.lock --python-platform x86_64-manylinux_2_28 --extra serve $left pyproject.toml
echo "hatchling>=1.25" | lock build.lock -
