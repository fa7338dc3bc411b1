#!/usr/bin/env bash
# Real Triton kernels that nobody here wrote, for `pytest tests/corpus`: the packages' own files under .cache/corpus, never committed.
# Prints the folder. Fetches once; a changed pin below fetches anew.
set -euo pipefail
cd "$(dirname "$0")/.."
pins=(liger-kernel==0.8.5 fla-core==0.6.0)
folder=.cache/corpus
stamp=$folder/.pins
if [ "$(cat "$stamp" 2>/dev/null)" != "${pins[*]}" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  "${PYTHON:-.venv/bin/python}" -m pip --disable-pip-version-check install --quiet --no-deps --no-compile \
    --target "$folder" "${pins[@]}" >&2
  echo "${pins[*]}" >"$stamp"
fi
echo "$PWD/$folder"
