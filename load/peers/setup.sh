#!/usr/bin/env bash
# Installs the peers of `make compare`: npm packages as the lock file pins them (Bun among them) into
# load/peers/node_modules, and nchan from the system's packages. What it cannot install it names, and ends with 1.
set -uo pipefail
cd "$(dirname "$0")"
missing=0

lacks() {
    echo "peers: missing: $1; $2" >&2
    missing=1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

has_nchan() {
    compgen -G '/usr/lib*/nginx/modules/ngx_nchan_module.so' >/dev/null && { type -P nginx || [[ -x /usr/sbin/nginx ]]; } >/dev/null
}

# Without starting nginx's own service: the comparison starts its own.
install_nchan() {
    type -P apt-get >/dev/null || return
    export DEBIAN_FRONTEND=noninteractive
    local policy=/usr/sbin/policy-rc.d made=
    [[ -e $policy ]] || { printf '#!/bin/sh\nexit 101\n' | as_root tee $policy && as_root chmod +x $policy && made=1; } >/dev/null
    as_root apt-get update -q >/dev/null
    as_root apt-get install -y -q --no-install-recommends nginx libnginx-mod-nchan >/dev/null
    [[ -z $made ]] || as_root rm $policy
    has_nchan
}

if ! type -P node >/dev/null || ! type -P npm >/dev/null; then
    lacks "node and npm" "install Node 20 or newer"
elif ! cmp -s package-lock.json node_modules/.installed || ! compgen -G 'node_modules/@oven/*' >/dev/null; then
    # Install scripts are not needed: Bun's only copies its binary, and we run that where it lies.
    npm ci --ignore-scripts --no-fund --no-audit && cp package-lock.json node_modules/.installed ||
        lacks "npm packages" "npm ci --prefix load/peers failed"
fi
has_nchan || install_nchan || lacks nchan "Debian: apt-get install nginx libnginx-mod-nchan"
exit $missing
