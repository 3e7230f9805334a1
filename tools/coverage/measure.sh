#!/usr/bin/env bash
# Runs the tests with counters in the engine and the package, and writes which lines of code ran. `make coverage` calls
# it, in the root of the checkout.
#
# All of it lives in .build/coverage: an environment, the engine built into it, the binaries of the Rust tests, the data,
# and at the end lines.json and table.txt. The ordinary build and .venv stay as they are. A test that fails does not stop
# the measurement, because a line that it ran has been run; the exit status tells.
#
# Python 3.12 is needed, newer than what Fairlead itself needs: only sys.monitoring notes lines at no cost to the rest
# (see line_recorder.py). The processes under test keep their timing, and most tests are about that.
set -euo pipefail

here=$PWD/.build/coverage
bin=$here/venv/bin
data=$here/data

find_python() {
    local python
    for python in ${COVERAGE_PYTHON:-"$PYTHON" python3.12 python3.13 python3.14}; do
        if "$python" -c 'import sys, venv; sys.monitoring' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "coverage needs Python 3.12 or newer beside yours: make coverage COVERAGE_PYTHON=/path/to/python3.12" >&2
    exit 1
}

# The toolchain's own tools if it has them, else the pinned ones. Profiles are read by the same major version only.
find_llvm() {
    local sysroot host needed llvm
    sysroot=$(rustc --print sysroot)
    host=$(rustc -vV | sed -n 's/^host: //p')
    needed=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    llvm=$sysroot/lib/rustlib/$host/bin
    [ -x "$llvm/llvm-cov" ] || llvm=$("$bin/python" -c 'import llvm, os; print(os.path.dirname(llvm.__file__))')/bin
    if ! "$llvm/llvm-cov" --version | grep -q "LLVM version $needed\."; then
        echo "rustc makes profiles of LLVM $needed, which $llvm does not read: rustup component add llvm-tools," \
            "or set the version in requirements/coverage.in" >&2
        exit 1
    fi
    echo "$llvm"
}

checksum() { # what the recorded line numbers stand for
    find crates bindings python -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.py' \) -print0 | sort -z |
        xargs -0 cat Cargo.lock | sha256sum
}

python=$(find_python)
"$python" -m venv "$here/venv"
"$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r requirements/run.txt -r requirements/test.txt -r requirements/coverage.txt
llvm=$(find_llvm)

# Optimised a little: tests of time-outs and loads still hold, and a counter stands where the source has it either way.
export RUSTC_WORKSPACE_WRAPPER=$PWD/tools/coverage/rustc CARGO_TARGET_DIR=$here/target PYO3_PYTHON=$bin/python
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
rm -rf "$here/wheel"
VIRTUAL_ENV=$here/venv "$bin/maturin" build --quiet --release --locked --compatibility linux \
    --interpreter "$bin/python" --out "$here/wheel"
cargo build --quiet --locked --package fairlead-c # for tests/c_binding
cargo test --quiet --locked --workspace --exclude fairlead-python --no-run --message-format json >"$here/tests.json"

if [ "${COVERAGE_KEEP:-no}" = no ]; then
    rm -rf "$data"
elif [ "$(cat "$data/sources" 2>/dev/null)" != "$(checksum)" ]; then
    echo "COVERAGE_KEEP=yes adds to what is recorded, but the sources are not those of the last run" >&2
    exit 1
fi
packages=$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -f "$packages"/line_recorder.*
"$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall "$here"/wheel/*.whl
mkdir -p "$data"
chmod 777 "$data" # some tests become another user
checksum >"$data/sources"
cp tools/coverage/line_recorder.py "$packages"
echo "import line_recorder" >"$packages/line_recorder.pth"

failed=""
LLVM_PROFILE_FILE=$data/rust/%m%c.profraw FAIRLEAD_STRESS_SECONDS=${STRESS_SECONDS:-10} \
    cargo test --locked --no-fail-fast --workspace --exclude fairlead-python || failed="$failed cargo-test"
# What it depends on, the ordinary environment and build, is not what runs here (-o).
"${MAKE:-make}" -o setup -o build test-python BIN="${bin#"$PWD/"}" || failed="$failed test-python"

"$bin/python" tools/coverage/report.py --data "$data" --llvm "$llvm" --package "$packages/fairlead" \
    --pytest-object "$packages"/fairlead/_engine*.so --pytest-object "$here/target/debug/libfairlead.so" \
    --cargo-messages "$here/tests.json" --list "$here/lines.json" --table "$here/table.txt"
if [ -n "${BEFORE:-}" ]; then
    "$bin/python" tools/coverage/compare.py "$BEFORE" "$here/lines.json" | tee "$here/comparison.txt" ||
        failed="$failed comparison"
fi
if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
