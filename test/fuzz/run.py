"""Runs the fuzzer for a while: seeds from the suite's .mlir files, regressions of test/fuzz/crashes first.

python run.py --fuzzer PROGRAM --work DIR [--seconds N] [--seed N] [--keep]

Exits with 1 when an input crashes, hangs for 20 s or takes 3 GB; the input is then in DIR/artifacts, and
`PROGRAM DIR/artifacts/...` reproduces it. Once fixed, add it to test/fuzz/crashes.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
# LLVM's arenas poison memory where they are compiled with AddressSanitizer, in our objects, and do not lift it
# where they are not, in libMLIR.so.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="allow_user_poisoning=0")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def modules(path):
    """The modules of a lit test, without comments."""
    for chunk in path.read_text().split("// -----"):
        text = re.sub(r"^\s*//.*\n", "", chunk, flags=re.MULTILINE).strip()
        if text:
            yield text + "\n"


def write_corpus(folder):
    """One file for each module; the first letter, which selects the pass, takes turns."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for path in sorted(TESTS.rglob("*.mlir")):
        if "fixtures" in path.parts:
            continue
        # A method is worth every pass, a verifier test only one.
        letters = LETTERS if path.parent.name == "Methods" else None
        for text in modules(path):
            for letter in letters or LETTERS[count % len(LETTERS)]:
                (folder / f"{count:05}").write_text(letter + text)
                count += 1
    return count


def write_dictionary(path, corpus):
    words = set()
    for file in corpus.iterdir():
        words.update(re.findall(r"[#!]?[A-Za-z_][\w.]{2,}", file.read_text()))
    path.write_text("".join(f'"{word}"\n' for word in sorted(words)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fuzzer", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="fixed, so that a failure is not a matter of luck")
    parser.add_argument("--keep", action="store_true", help="continue with the corpus of the last run")
    options = parser.parse_args()

    corpus, artifacts = options.work / "corpus", options.work / "artifacts"
    for folder in [artifacts] + ([] if options.keep else [corpus]):
        shutil.rmtree(folder, ignore_errors=True)
    artifacts.mkdir(parents=True)
    seeds = write_corpus(corpus)
    dictionary = options.work / "words.dict"
    write_dictionary(dictionary, corpus)

    limits = ["-timeout=20", "-rss_limit_mb=3072", f"-artifact_prefix={artifacts}/"]
    crashes = sorted(path for path in (HERE / "crashes").iterdir() if path.suffix != ".md")
    if crashes:
        subprocess.run([options.fuzzer, *limits, *crashes], check=True, env=ENVIRONMENT)
    print(f"{len(crashes)} regressions passed; {seeds} seeds, {options.seconds} s", flush=True)
    command = [options.fuzzer, *limits, f"-dict={dictionary}", f"-seed={options.seed}", "-max_len=6000",
               f"-max_total_time={options.seconds}", "-print_final_stats=1", "-verbosity=1", corpus]
    process = subprocess.run(command, text=True, stderr=subprocess.PIPE, env=ENVIRONMENT)
    lines = process.stderr.splitlines()
    coverage = [line for line in lines if " cov: " in line]
    # The last progress line and the statistics; everything when it failed.
    shown = lines if process.returncode else coverage[-1:] + [line for line in lines if line.startswith("stat::")]
    print("\n".join(shown), flush=True)
    if process.returncode:
        print(f"the fuzzer failed; inputs: {[str(path) for path in artifacts.iterdir()]}")
    sys.exit(1 if process.returncode else 0)


if __name__ == "__main__":
    main()
