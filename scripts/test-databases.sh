#!/usr/bin/env bash
# The knowledge base on a real, throw-away PostgreSQL server. Installs what it needs; arguments go to pytest.
. "$(dirname "$0")/editors/common.sh"
cd "$root"
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  need_debian initdb=postgresql
fi
PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH
.venv/bin/python -m pip --disable-pip-version-check install --quiet 'psycopg[binary]>=3.2'
KERNEL_EVOLVE_TEST_POSTGRES=1 exec .venv/bin/python -m pytest tests/unit/knowledge "$@"
