"""Runs the fuzzer for a while: regressions of test/fuzz/crashes first, then mutations of the suite's .mlir files.

python run.py --fuzzer PROGRAM --work DIR [--runs N | --seconds N] [--seed N] [--keep]

Exits with 1 when an input crashes, hangs for 20 s or takes 3 GB; the input is then in DIR/artifacts, and
`PROGRAM DIR/artifacts/...` reproduces it. Once fixed, add it to test/fuzz/crashes.

The same program tries the same inputs in the same order every time: a number of runs (`--runs`) finds a crash
always or never. `--seconds` only decides how far it gets, and `--seed` gives another order.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
# LLVM's arenas poison memory where they are compiled with AddressSanitizer, in our objects, and do not lift it
# where they are not, in libMLIR.so. No other variable: they lie on the stack and move it.
ENVIRONMENT = dict(PATH=os.defpath, ASAN_OPTIONS="allow_user_poisoning=0")
# Level L2 is not fuzzed yet.
SKIPPED = re.compile(r"fixtures|SparseAttnNV|sparseattn-nv|sparseattn-to-nv|-l2\.mlir")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def modules(path):
    """The modules of a lit test, without comments."""
    for chunk in path.read_text().split("// -----"):
        text = re.sub(r"^\s*//.*\n", "", chunk, flags=re.MULTILINE).strip()
        if text:
            yield text + "\n"


def write_seeds(folder):
    """One file for each module; the first letter, which selects the pass, takes turns. Returns the files."""
    folder.mkdir(parents=True)
    files = []
    for path in sorted(TESTS.rglob("*.mlir")):
        if SKIPPED.search(str(path.relative_to(TESTS))):
            continue
        # A method is worth every pass, a verifier test only one.
        letters = LETTERS if path.parent.name == "Methods" else None
        for text in modules(path):
            for letter in letters or LETTERS[len(files) % len(LETTERS)]:
                files.append(folder / f"{len(files):05}")
                files[-1].write_text(letter + text)
    return files


def write_dictionary(path, seeds):
    words = set()
    for file in seeds:
        words.update(re.findall(r"[#!]?[A-Za-z_][\w.]{2,}", file.read_text()))
    path.write_text("".join(f'"{word}"\n' for word in sorted(words)))


def at_fixed_addresses(command):
    """``command`` without address randomisation. The fuzzer learns from compared values, addresses among them, and
    tables keyed by addresses are searched along other paths when these change."""
    prefix = ["setarch", "--addr-no-randomize"]
    if shutil.which(prefix[0]) and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
        return prefix + command
    print("setarch cannot switch address randomisation off here: another run may try other inputs")
    return command


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fuzzer", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument("--runs", type=int, help="inputs to try")
    bound.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="continue with the corpus of the last run")
    options = parser.parse_args()

    work, fuzzer = options.work.absolute(), options.fuzzer.absolute()
    corpus, seeds, artifacts = (work / name for name in ("corpus", "seeds", "artifacts"))
    for folder in [artifacts, seeds] + ([] if options.keep else [corpus]):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (artifacts, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    files = write_seeds(seeds)
    # A list, because libFuzzer reads a folder in the order of the file system.
    (work / "seeds.list").write_text(",".join(f"seeds/{file.name}" for file in files))
    write_dictionary(work / "words.dict", files)

    limits = ["-timeout=20", "-rss_limit_mb=3072", "-artifact_prefix=artifacts/"]
    crashes = sorted(path for path in (HERE / "crashes").iterdir() if path.suffix != ".md")
    if crashes:
        subprocess.run([fuzzer, *limits, *crashes], check=True, env=ENVIRONMENT, cwd=work)
    bound = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    print(f"{len(crashes)} regressions passed; {len(files)} seeds, {bound[1:]}", flush=True)
    # Names relative to the folder: paths lie on the stack, too.
    program = work / "fuzzer"
    program.unlink(missing_ok=True)
    program.symlink_to(fuzzer)
    command = at_fixed_addresses(["./fuzzer", *limits, "-dict=words.dict", f"-seed={options.seed}", "-max_len=6000",
                                  bound, "-reload=0", "-seed_inputs=@seeds.list", "-print_final_stats=1",
                                  "-verbosity=1", "corpus"])
    begin = time.monotonic()
    process = subprocess.run(command, text=True, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd=work)
    lines = process.stderr.splitlines()
    coverage = [line for line in lines if " cov: " in line]
    # The last progress line and the statistics; everything when it failed.
    shown = lines if process.returncode else coverage[-1:] + [line for line in lines if line.startswith("stat::")]
    print("\n".join(shown), f"{time.monotonic() - begin:.0f} s", sep="\n", flush=True)
    if process.returncode:
        print(f"the fuzzer failed; inputs: {[str(path) for path in artifacts.iterdir()]}")
    sys.exit(1 if process.returncode else 0)


if __name__ == "__main__":
    main()
