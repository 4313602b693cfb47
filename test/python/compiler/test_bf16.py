"""bf16 in compiled code: the code generator calls a conversion that older run-time libraries lack."""

import ml_dtypes
import numpy as np
import pytest

from sparseattn.compiler import compile_cpu

ROUND = """
func.func @round(%x: memref<?xf32>, %y: memref<?xbf16>) attributes {llvm.emit_c_interface} {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?xf32>
  scf.for %i = %zero to %n step %one {
    %wide = memref.load %x[%i] : memref<?xf32>
    %narrow = arith.truncf %wide : f32 to bf16
    memref.store %narrow, %y[%i] : memref<?xbf16>
  }
  return
}
"""
# Unlike sparseattn-to-cpu, this leaves the conversion to the code generator.
PASSES = ("convert-scf-to-cf,finalize-memref-to-llvm,convert-arith-to-llvm,convert-cf-to-llvm,convert-func-to-llvm,"
          "reconcile-unrealized-casts")

LARGEST = """
func.func @largest(%x: memref<?x{lanes}xbf16>, %y: memref<{lanes}xbf16>) {{
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?x{lanes}xbf16>
  %first = vector.load %x[%zero, %zero] : memref<?x{lanes}xbf16>, vector<{lanes}xbf16>
  %largest = scf.for %i = %one to %n step %one iter_args(%v = %first) -> (vector<{lanes}xbf16>) {{
    %row = vector.load %x[%i, %zero] : memref<?x{lanes}xbf16>, vector<{lanes}xbf16>
    %max = arith.maximumf %v, %row : vector<{lanes}xbf16>
    scf.yield %max : vector<{lanes}xbf16>
  }}
  vector.store %largest, %y[%zero] : memref<{lanes}xbf16>, vector<{lanes}xbf16>
  return
}}
"""


@pytest.mark.parametrize("opt_level", [0, 3])
def test_rounding(opt_level):
    edges = [0, 1, 0x8000, 0x18000, 0x3f808000, 0x3f818000, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0x7f800000, 0x7f800001,
             0x7fbfffff, 0x7fffffff]
    random = np.random.default_rng(0).integers(0, 1 << 32, size=100_000, dtype=np.uint64)
    bits = np.concatenate([random, edges, np.array(edges) + (1 << 31)]).astype(np.uint32)
    wide = bits.view(np.float32)
    narrow = np.zeros(wide.shape, ml_dtypes.bfloat16)
    compile_cpu(ROUND, pipeline=PASSES, opt_level=opt_level)("round")(wide, narrow)
    is_nan = np.isnan(wide)
    expected = wide[~is_nan].astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(narrow[~is_nan].view(np.uint16), expected.view(np.uint16))
    assert np.isnan(narrow[is_nan].astype(np.float32)).all()


@pytest.mark.parametrize("opt_level", [0, 3])
@pytest.mark.parametrize("lanes", [1, 2, 8, 16])
def test_vectors_across_blocks(lanes, opt_level):
    rows = np.random.default_rng(lanes).normal(size=(7, lanes)).astype(ml_dtypes.bfloat16)
    found = np.zeros(lanes, ml_dtypes.bfloat16)
    compile_cpu(LARGEST.format(lanes=lanes), opt_level=opt_level)("largest")(rows, found)
    np.testing.assert_array_equal(found.astype(np.float32), rows.astype(np.float32).max(axis=0))
