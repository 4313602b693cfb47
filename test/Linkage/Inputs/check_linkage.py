"""Checks every ELF file of a build: python check_linkage.py BUILD_DIR (llvm-nm in PATH).

In each process there is exactly one libMLIR.so and one libLLVM.so, and no file defines a function that
one of the two defines itself. Vague-linkage symbols (inline functions, templates) do not count.
The GPU runtime needs neither, nor the CUDA driver: it needs the C and C++ libraries.
"""

import pathlib
import re
import subprocess
import sys

SHARED = ("MLIR", "LLVM")
RUNTIME = "libSparseAttnRuntime.so"
# Sanitizers' libraries stand for themselves in a sanitized build.
RUNTIME_NEEDS = re.compile(r"(lib(stdc\+\+|gcc_s|c|m|dl|pthread|asan|ubsan)\.so\.|ld-linux)")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def functions(path, *options):
    """Names of the functions that a file defines; nm's letter t or T."""
    lines = run("llvm-nm", "--defined-only", *options, str(path)).splitlines()
    return {line.split()[-1] for line in lines if len(line.split()) >= 3 and line.split()[-2] in "tT"}


def loaded(path, library):
    """Paths of all files libMLIR*.so* (or libLLVM*.so*) that the loader brings into the process."""
    return re.findall(rf"lib{library}[-.]\S* => (\S+)", run("ldd", str(path)))


def is_elf(path):
    return path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF"


def main(build):
    files = [path for folder in ("bin", "lib") for path in sorted((build / folder).iterdir()) if is_elf(path)]
    exported = {}
    failures = 0
    for path in files:
        problems = []
        if path.name == RUNTIME:
            needed = re.findall(r"NEEDED +(\S+)", run("objdump", "-p", str(path)))
            problems = [f"needs {name}" for name in needed if not RUNTIME_NEEDS.match(name)]
            assert "libc.so.6" in needed
        for library in SHARED if path.name != RUNTIME else ():
            sources = loaded(path, library)
            if len(sources) != 1:
                problems.append(f"loads {sources or 'no'} lib{library}.so, expected one")
                continue
            source = sources[0]
            if source not in exported:
                exported[source] = functions(source, "-D", "--extern-only")
                assert len(exported[source]) > 1000, f"{source} exports {len(exported[source])} functions only"
            copies = sorted(functions(path) & exported[source])
            if copies:
                problems.append(f"defines {len(copies)} functions of {source}, e.g. {copies[:3]}")
        print(f"{path.relative_to(build)}: {'; '.join(problems) or 'ok'}")
        failures += bool(problems)
    sys.exit(1 if failures or not files else 0)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
