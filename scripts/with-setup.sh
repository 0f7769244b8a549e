#!/bin/sh
# Brings a fresh Debian 12 machine with Node 20 to where Berth can be built and run, builds it, and runs a command of
# node_modules. What is done already is not done again. Says what it does on standard error.
#   with-setup.sh COMMAND [ARGUMENT...]
#   BERTH_PACKAGES="more Debian packages" with-setup.sh …
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
stamp=$root/build/.built

say() { echo "berth: $*" >&2; }

install_packages() {
    wanted=$(cat "$root/scripts/packages.txt")
    missing=
    for package in $wanted ${BERTH_PACKAGES:-}; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || { say "these Debian packages are missing:$missing. Install them, or run this as root"; exit 1; }
    say "installing Debian packages:$missing"
    log=$(mktemp)
    # Services of these packages are not to be started: the private cluster starts its own.
    policy=/usr/sbin/policy-rc.d
    made_policy=
    if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made_policy=yes; fi
    status=0
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1 || status=$?
    [ -z "$made_policy" ] || rm -f "$policy"
    if [ "$status" != 0 ]; then cat "$log" >&2; rm -f "$log"; say "installing Debian packages failed"; exit 1; fi
    rm -f "$log"
}

install_modules() {
    [ "$root/node_modules/.package-lock.json" -nt "$root/package-lock.json" ] && return 0
    say "installing npm packages"
    (cd "$root" && npm ci --silent --no-audit --no-fund >&2)
    touch "$root/node_modules/.package-lock.json"
}

build() {
    if [ -e "$stamp" ] && [ -z "$(cd "$root" && find native slurm src proto scripts package.json package-lock.json CMakeLists.txt -newer "$stamp" -type f \
        ! -path 'src/*/generated/*' -print -quit)" ]; then
        return 0
    fi
    say "building"
    mkdir -p "$root/build"
    log=$root/build/build.log
    # What is edited meanwhile is newer than this.
    touch "$stamp.begun"
    sh "$root/scripts/build.sh" >"$log" 2>&1 || { tail -n 60 "$log" >&2; say "building failed"; exit 1; }
    mv "$stamp.begun" "$stamp"
}

# Two commands at once on a fresh checkout must not install or build into each other.
mkdir -p "$root/build"
exec 9>"$root/build/.lock"
flock 9
install_packages
install_modules
build
exec 9>&-
PATH=$root/node_modules/.bin:$PATH
export PATH
exec "$@"
