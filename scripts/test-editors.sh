#!/usr/bin/env bash
# The story in real VS Code and real Neovim: lens, evolve, verdict, apply. Installs what it needs (see scripts/editors);
# screenshots and screen texts are left in .artifacts/editors. Arguments go to pytest.
cd "$(dirname "$0")/.." || exit
scripts/editors/neovim.sh || exit
scripts/editors/vscode.sh || exit
scripts/editors/extension.sh || exit
rm -rf .artifacts/editors
exec .venv/bin/python -m pytest tests/editors "$@"
