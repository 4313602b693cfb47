"""Importers: one reader for each kind of exported model, one MLIR writer.

Torch-free and MLIR-free: the readers parse what a framework wrote and produce
MLIR text.
"""
