#!/bin/bash
# Installs the Debian or Ubuntu packages that a lab needs; does nothing, quickly, where they are installed.
set -euo pipefail

packages=(
    mininet openvswitch-switch            # hosts, links and switches
    iproute2 ethtool tcpdump procps iputils-ping curl kmod
    haproxy                               # the peer of `make bench`
    mariadb-server                        # data stores; a lab starts its own, on its own data
    python3-venv python3-dev gcc libc6-dev make
    nodejs node-mysql                     # languages of functions/templates, and what Bookinfo's functions use
    ruby ruby-webrick
    openjdk-17-jdk-headless libgoogle-gson-java
    python-is-python3 sudo                # so that `sudo python -m testbed.run` works as it is printed
)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "setup: this system has no apt-get; install these packages by hand, then run make setup again: ${missing[*]}" >&2
    exit 3
fi
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && exec sudo "$(realpath "$0")"
    echo "setup: packages are missing (${missing[*]}) and installing them needs root; run sudo make setup" >&2
    exit 3
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
# Each node of a lab runs its own Open vSwitch, and each data store its own MariaDB; the machine's own services are not
# started on our account.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.testbed
if [ ! -e /usr/sbin/policy-rc.d ]; then
    mv /usr/sbin/policy-rc.d.testbed /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
else
    rm -f /usr/sbin/policy-rc.d.testbed
fi
apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
