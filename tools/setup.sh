# Shared by tools/check and tools/quickstart: packages, Python environment, configuration, build.
# Sourced, not run. Every step is skipped when its result is there already.

set -euo pipefail
SPARSEATTN_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SPARSEATTN_BUILD=${SPARSEATTN_BUILD:-$SPARSEATTN_ROOT/build}
SPARSEATTN_JOBS=${SPARSEATTN_JOBS:-$(nproc)}
export CMAKE_BUILD_PARALLEL_LEVEL=$SPARSEATTN_JOBS # Also for the fuzzer's build, which CMake starts.

# Debian 12 packages. The LLVM ones come from its security suite.
SPARSEATTN_BUILD_PACKAGES="cmake ninja-build g++ ccache lld-22 llvm-22-dev llvm-22-tools libmlir-22-dev
  mlir-22-tools libomp-22-dev nlohmann-json3-dev zlib1g-dev libzstd-dev python3 python3-venv ca-certificates"
SPARSEATTN_TEST_PACKAGES="libgtest-dev clang-22 libclang-rt-22-dev"

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# install_packages NAME...: installs the missing ones.
install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing ${missing[*]}"
  command -v apt-get >/dev/null ||
    fail "apt-get not found: install the equivalents of these Debian packages by hand: ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "run as root, or install these packages first: ${missing[*]}"
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null || fail "apt-get could not install ${missing[*]}; Debian 12 with its security updates has them"
}

# make_venv REQUIREMENTS: a Python environment in the build folder with these packages.
make_venv() {
  local requirements=$1 venv=$SPARSEATTN_BUILD/venv
  local stamp=$venv/$(basename "$requirements").stamp
  if [ -f "$stamp" ] && cmp -s "$requirements" "$stamp"; then return; fi
  say "Python packages of $(basename "$requirements")"
  mkdir -p "$SPARSEATTN_BUILD"
  [ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  # The package of ptxas leaves out that it is a program.
  find "$venv/lib" -path '*/nvidia/cu*/bin/ptxas' -exec chmod +x {} +
  cp "$requirements" "$stamp"
}

# configure_and_build CMAKE_ARGUMENTS...: builds SPARSEATTN_TARGETS, default all.
configure_and_build() {
  say "Configuring $SPARSEATTN_BUILD"
  mkdir -p "$SPARSEATTN_BUILD"
  cmake -G Ninja -S "$SPARSEATTN_ROOT" -B "$SPARSEATTN_BUILD" "$@" >"$SPARSEATTN_BUILD/configure.log" 2>&1 || {
    tail -n 30 "$SPARSEATTN_BUILD/configure.log" >&2
    fail "configuration failed; the whole log is $SPARSEATTN_BUILD/configure.log"
  }
  grep -A3 'CMake Warning' "$SPARSEATTN_BUILD/configure.log" || true
  say "Building with $SPARSEATTN_JOBS jobs"
  # One line every 20 steps, or the compiler's own words when it has any.
  # Not awk: Debian's reads pipes in blocks, and progress would come in bursts.
  # shellcheck disable=SC2086
  cmake --build "$SPARSEATTN_BUILD" --parallel "$SPARSEATTN_JOBS" --target ${SPARSEATTN_TARGETS:-all} 2>&1 | {
    local line steps=0
    while IFS= read -r line; do
      if [[ $line =~ ^\[[0-9]+/[0-9]+\] ]]; then
        if ((steps++ % 20 == 0)); then printf '%s\n' "${line%% *}"; fi
      else
        printf '%s\n' "$line"
      fi
    done
  }
}

# Runs a module of the Python package against the build.
sparseattn_python() {
  PYTHONPATH=$SPARSEATTN_ROOT/python PYTHONDONTWRITEBYTECODE=1 \
    SPARSEATTN_LIBRARY=$SPARSEATTN_BUILD/lib/libSparseAttn.so SPARSEATTN_TOOLS=$SPARSEATTN_BUILD/bin \
    "$SPARSEATTN_BUILD/venv/bin/python" "$@"
}
