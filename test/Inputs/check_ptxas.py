"""Assembles the PTX of a gpu.binary with ptxas and refuses what makes a kernel slow.

check_ptxas.py <ptxas> <registers> [--keep FILE] < module.mlir

Reads the output of sparseattn-nvvm-to-ptx. Fails on any C75xx line (matrix products serialised or waits
injected), on any spill, and unless every kernel has <registers> registers at entry: what `setmaxnreg`
distributes depends on it. Prints one line a kernel.
"""

import re
import subprocess
import sys
import tempfile


def unescape(text):
    return re.sub(r"\\([0-9A-F]{2}|.)", lambda m: chr(int(m[1], 16)) if len(m[1]) == 2 else m[1], text)


def extract(module):
    """PTX text of every object in the module."""
    return [unescape(text) for text in re.findall(r'assembly = "((?:[^"\\]|\\.)*)"', module)]


def assemble(ptxas, ptx, output):
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as source:
        source.write(ptx)
        source.flush()
        run = subprocess.run([ptxas, "-arch=sm_90a", "-O3", "-v", "--warn-on-spills", source.name, "-o", output],
                             capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def main():
    ptxas, registers = sys.argv[1], int(sys.argv[2])
    output = sys.argv[4] if sys.argv[3:4] == ["--keep"] else "/dev/null"
    objects = extract(sys.stdin.read())
    if not objects:
        sys.exit("no PTX in the input: expected a gpu.binary with `assembly = \"...\"`")
    for ptx in objects:
        status, report = assemble(ptxas, ptx, output)
        problems = [line for line in report.splitlines()
                    if re.search(r"C7[0-9]{3}|error|fatal", line)
                    or re.search(r"[1-9]\d* bytes spill", line)]
        if status != 0 or problems:
            sys.exit("\n".join(["ptxas refuses or degrades the kernel:", *problems, report]))
        for name, rest in re.findall(r"Compiling entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", report, re.DOTALL):
            used = int(re.search(r"Used (\d+) registers", rest)[1])
            if used != registers:
                sys.exit(f"{name}: {used} registers at entry, expected {registers}\n{report}")
            print(f"{name}: {used} registers, no spills, no C75xx")


if __name__ == "__main__":
    main()
