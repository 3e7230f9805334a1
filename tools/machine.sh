#!/usr/bin/env bash
# Checks that this machine has what comes before the environment: Python, Rust, a linker, and for the tests a browser
# a Redis, and two proxies.
#
#     tools/machine.sh build      what `make run` needs
#     tools/machine.sh test       and what `make test` needs
#
# As root on Debian and its children the missing packages are installed. Anyone else, and Rust, which Debian has only in
# versions that are too old for us, gets one sentence that says what to type. Nothing else outside this checkout is touched.
set -euo pipefail

what=${1:-build}
python=${PYTHON:-python3}
rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
missing=()      # Debian packages
complaints=()   # what no package can mend

is_at_least() { # is_at_least WANTED VERSION
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

has_python() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

look() {
    missing=() complaints=()
    command -v cc >/dev/null || missing+=(build-essential)
    if ! command -v "$python" >/dev/null; then
        missing+=(python3 python3-venv)
    elif ! has_python; then
        complaints+=("Python 3.11 or newer is needed, and $python is $("$python" --version 2>&1): install one and say" \
            "  make PYTHON=python3.11 ...")
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=(python3-venv)
    fi
    if [ "$what" = test ]; then
        command -v openssl >/dev/null || missing+=(openssl)
        command -v valgrind >/dev/null || missing+=(valgrind)
        command -v redis-server >/dev/null || missing+=(redis-server)
        # Debian puts both where only root's PATH looks.
        PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx)
        PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || missing+=(haproxy)
    fi
    if [ "$what" = test ]; then
        command -v ruby >/dev/null || missing+=(ruby)
        ruby -e 'require "rack"' 2>/dev/null || missing+=(ruby-rack)
        ruby -e 'require "ffi"' 2>/dev/null || missing+=(ruby-ffi)
    fi
    if [ "$what" = test ] && [ "${BROWSER:-yes}" != no ]; then
        command -v chromium >/dev/null || missing+=(chromium)
        command -v chromedriver >/dev/null || missing+=(chromium-driver)
        command -v npm >/dev/null || missing+=(npm) # fetches what a page loads in the browser
    fi
}

look_at_rust() {
    local version
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        complaints+=("Rust $rust_needed or newer is needed, and there is no cargo here. Install it with rustup" \
            "  (https://rustup.rs, or Debian 13's package rustup): rustup toolchain install stable")
        return
    fi
    version=$(rustc --version | cut -d' ' -f2)
    if ! is_at_least "$rust_needed" "${version%%-*}"; then
        complaints+=("Rust $rust_needed or newer is needed, and rustc is $version: rustup update stable")
    elif [ "$what" = test ]; then
        cargo fmt --version >/dev/null 2>&1 || complaints+=("cargo fmt is missing: rustup component add rustfmt")
        cargo clippy --version >/dev/null 2>&1 || complaints+=("cargo clippy is missing: rustup component add clippy")
    fi
}

install() {
    echo "installing with apt-get: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # A fresh machine has no lists, an old one has lists whose files are gone: either way the second try has new ones.
    apt-get install --yes --no-install-recommends "${missing[@]}" ||
        { apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; }
    # Debian starts the servers that it installs; the tests start their own.
    local server
    for server in redis-server nginx haproxy; do
        case " ${missing[*]} " in *" $server "*)
            [ ! -d /run/systemd/system ] || systemctl disable --quiet --now "$server" ;;
        esac
    done
}

look
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install
    look
fi
if [ ${#missing[@]} -gt 0 ]; then
    complaints+=("missing on this machine: sudo apt-get install ${missing[*]}")
    case "${missing[*]}" in *chromium* | *npm*) complaints+=("  (or leave the browser's tests out: make test BROWSER=no)") ;; esac
fi
look_at_rust
if [ ${#complaints[@]} -gt 0 ]; then
    printf '%s\n' "${complaints[@]}" >&2
    exit 1
fi
