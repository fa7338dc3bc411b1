#!/usr/bin/env bash
# Builds the VS Code extension into .cache/editors/kernel-evolve.vsix. Runs again only when its files changed.
. "$(dirname "$0")/common.sh"
need_node
extension=$root/editors/vscode
package=$cache/kernel-evolve.vsix
stamp=$cache/.extension-stamp
mapfile -t sources < <(find "$extension" -name node_modules -prune -o -name dist -prune -o -type f ! -name '*.vsix' -print | sort)
[ -f "$package" ] && up_to_date "$stamp" "${sources[@]}" && exit 0
say "building the VS Code extension"
cd "$extension"
log=$cache/extension.log
{ npm ci --no-audit --no-fund --loglevel=error && npm run package -- --out "$package"; } >"$log" 2>&1 ||
  fail "the extension could not be built; the output is in $log"
wanted_stamp "${sources[@]}" >"$stamp"
