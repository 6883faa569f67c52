#!/bin/bash
# Makes .venv on the distribution's python3 (whose packages include Mininet), with every version pinned.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # functions run as users of their own and read what is installed here

/usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: /usr/bin/python3 is older than 3.11, which the pinned packages need; use Debian 12 or Ubuntu 24.04, or newer" >&2
    exit 3
}
[ -x .venv/bin/pip ] || /usr/bin/python3 -m venv --system-site-packages .venv
chmod --recursive go+rX .venv # where an earlier one was made with another umask
pip=(.venv/bin/pip --disable-pip-version-check --quiet)

# Ryu 4.34 builds only with a setuptools older than 68 and without build isolation; the others want a newer one.
"${pip[@]}" install setuptools==67.8.0 wheel==0.38.4 pbr==7.1.3
"${pip[@]}" install --no-build-isolation ryu==4.34 -c constraints.txt
"${pip[@]}" install --no-build-isolation --editable '.[dev]' -c constraints.txt
# Users who cannot write here would compile every module at every start, which takes seconds in the lab kernel.
.venv/bin/python -m compileall -q testbed controllers experiments functions
# Mininet comes from the distribution; without it nothing works, so say it here and not later.
.venv/bin/python -c 'import mininet.net, ryu' 2>/dev/null || {
    echo "setup: the environment cannot import mininet and ryu; remove .venv and run make setup again" >&2
    exit 3
}
