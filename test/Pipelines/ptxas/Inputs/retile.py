"""Prints test/Pipelines/attention-l2.mlir for another head dimension, tile and number of consumers.

retile.py <file> <head dimension> <keys of a tile> <consumers> <producer registers> <consumer registers> <stages>
"""

import re
import sys

path = sys.argv[1]
dim, keys, consumers, producer_registers, consumer_registers, stages = map(int, sys.argv[2:])
queries = 64 * consumers

# Old text -> new text, all at once: a new number may look like an old one.
rules = {
    r"<128x128xbf16": f"<{queries}x{dim}xbf16",
    r"<64x128xbf16, pitch = 128": f"<64x{dim}xbf16, pitch = {queries}",
    r"176x128x": f"{keys}x{dim}x",
    r"64x176x": f"64x{keys}x",
    r"64x128x": f"64x{dim}x",
    r"constant 128\b": f"constant {queries}",
    r"constant 127\b": f"constant {queries - 1}",
    r"constant 176\b": f"constant {keys}",
    r"constant 175\b": f"constant {keys - 1}",
    r"registers\(24\)": f"registers({producer_registers})",
    r"consumers\(2\) registers\(240\)": f"consumers({consumers}) registers({consumer_registers})",
    r"stages = 2": f"stages = {stages}",
}
text = open(path).read()
pattern = re.compile("|".join(f"({rule})" for rule in rules))
replacements = list(rules.values())
print(pattern.sub(lambda match: replacements[match.lastindex - 1], text))
