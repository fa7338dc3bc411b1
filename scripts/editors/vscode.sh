#!/usr/bin/env bash
# Installs the VS Code workbench (code-server), a browser for it and the browser's driver. Runs again only when this file changed.
. "$(dirname "$0")/common.sh"
need_debian chromium=chromium rg=ripgrep g++=g++ make=make \
  /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core
need_node
home=$cache/vscode
stamp=$home/.stamp
here=$root/scripts/editors
up_to_date "$stamp" "$here/vscode.sh" "$here/common.sh" && exit 0

say "installing code-server 4.100.3 and playwright-core 1.64.1 into $home (about a minute)"
rm -rf "$home"
mkdir -p "$home"
cd "$home"
log=$home/install.log
quiet() { "$@" >>"$log" 2>&1 || fail "'$*' failed in $PWD; its output is in $log"; }
npm_install() { quiet npm install --ignore-scripts --no-audit --no-fund --loglevel=error "$@"; }

echo '{"private": true}' >package.json
npm_install --save-exact code-server@4.100.3 playwright-core@1.64.1
server=$home/node_modules/code-server
for folder in lib/vscode lib/vscode/extensions; do
  cd "$server/$folder"
  npm_install --omit=dev
done

# What the packages' install scripts would download is Debian's or built from source instead.
cd "$server/lib/vscode"
mkdir -p node_modules/@vscode/ripgrep/bin
ln -sfn "$(command -v rg)" node_modules/@vscode/ripgrep/bin/rg
ln -sfn node_modules node_modules.asar
argon=$home/node_modules/argon2
[ -d "$argon" ] || argon=$server/node_modules/argon2
cd "$argon"
for builder in "$home/node_modules/.bin/node-pre-gyp" "$server/node_modules/.bin/node-pre-gyp"; do
  [ -e "$builder" ] && break
done
quiet node "$builder" install --build-from-source --nodedir="$node_prefix"
wanted_stamp "$here/vscode.sh" "$here/common.sh" >"$stamp"
