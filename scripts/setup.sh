#!/usr/bin/env bash
# Makes .venv with everything `make demo` and `make test` need. Runs again only when pyproject.toml or this file changed.
# An interpreter that already has a working GPU build of torch is kept as it is: the judge runs there (see `doctor`).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/.setup-stamp
wanted=$(cat pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

python=${PYTHON:-}
if [ -z "$python" ]; then
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$name
      break
    fi
  done
fi
if [ -z "$python" ]; then
  echo "kernel-evolve needs Python 3.11 or newer; none was found. Install one, or say PYTHON=/path/to/python make …" >&2
  exit 1
fi

if ! "$python" -m venv "$venv" 2>/dev/null; then
  # Debian and Ubuntu ship Python without the venv module.
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq "python$version-venv" >/dev/null
    "$python" -m venv --clear "$venv"
  else
    echo "Python's venv module is missing. Install it (apt-get install python$version-venv) and run this again." >&2
    exit 1
  fi
fi

pip="$venv/bin/python -m pip --disable-pip-version-check install --quiet"
if "$python" -c 'import torch, triton, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  echo "setup: keeping the GPU build of torch in $("$python" -c 'import sys; print(sys.executable)')"
else
  $pip torch==2.13.0
  $pip "triton>=3.6,<3.10" numpy
fi
$pip --editable '.[dev,models]'
echo "$wanted" >"$stamp"
