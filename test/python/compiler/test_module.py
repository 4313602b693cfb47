"""compile_cpu: signatures, values of every kind, ownership, refusals."""

import gc
import threading

import ml_dtypes
import numpy as np
import pytest

from sparseattn import calling, compiler
from sparseattn.compiler import CompilerError, compile_cpu, compile_to_files

UPSTREAM = (
    "one-shot-bufferize{bufferize-function-boundaries=true function-boundary-type-conversion=identity-layout-map},"
    "convert-linalg-to-loops,convert-scf-to-cf,expand-strided-metadata,finalize-memref-to-llvm,convert-to-llvm,"
    "reconcile-unrealized-casts"
)


def compile_upstream(ir, **options):
    return compile_cpu(ir, pipeline=UPSTREAM, **options)


@pytest.fixture(scope="module")
def matmul():
    return compile_upstream(
        """
        func.func @matmul(%a: tensor<?x3xf32> {sparseattn.name = "left"}, %b: tensor<3x2xf32>)
            -> (tensor<?x2xf32> {sparseattn.name = "out"}) attributes {sparseattn.layer = 7 : i64} {
          %c0 = arith.constant 0 : index
          %zero = arith.constant 0.0 : f32
          %n = tensor.dim %a, %c0 : tensor<?x3xf32>
          %e = tensor.empty(%n) : tensor<?x2xf32>
          %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x2xf32>) -> tensor<?x2xf32>
          %r = linalg.matmul ins(%a, %b : tensor<?x3xf32>, tensor<3x2xf32>)
                             outs(%f : tensor<?x2xf32>) -> tensor<?x2xf32>
          return %r : tensor<?x2xf32>
        }
        """
    )("matmul")


def test_signature(matmul):
    assert repr(matmul) == "matmul(left: tensor<?x3xf32>, arg1: tensor<3x2xf32>) -> (tensor<?x2xf32>)"
    assert matmul.attributes == {"layer": 7}
    assert matmul.results[0].name == "out" and matmul.arguments[0].shape == (None, 3)


@pytest.mark.parametrize("rows", [0, 1, 2, 33])
def test_dynamic_rows(matmul, rows):
    a = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    b = np.arange(6, dtype=np.float32).reshape(3, 2)
    out = matmul(a, b)
    assert out.shape == (rows, 2) and out.dtype == np.float32
    np.testing.assert_allclose(out, a @ b, rtol=1e-6, atol=1e-6)


def test_any_strides_are_accepted(matmul):
    a = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    b = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::-2]
    np.testing.assert_array_equal(matmul(a, b), a @ b)
    reversed_rows = np.arange(12, dtype=np.float32).reshape(4, 3)[::-1]
    np.testing.assert_array_equal(matmul(reversed_rows, b), reversed_rows @ b)


def test_unaligned_and_read_only_arrays_are_accepted(matmul):
    raw = np.zeros(6 * 4 + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(2, 3)
    unaligned[:] = 1
    unaligned.flags.writeable = False
    np.testing.assert_array_equal(matmul(unaligned, np.ones((3, 2), np.float32)), np.full((2, 2), 3, np.float32))


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((np.zeros((2, 3), np.float32),), TypeError, "expected 2 arguments, found 1"),
        ((np.zeros((2, 3)), np.zeros((3, 2), np.float32)), TypeError, r"'left'\) of matmul: expected tensor<\?x3xf32>, found an array of float64; use .astype"),
        ((np.zeros((2, 4), np.float32), np.zeros((3, 2), np.float32)), ValueError, r"expected tensor<\?x3xf32>, found shape \(2, 4\)"),
        ((np.zeros(3, np.float32), np.zeros((3, 2), np.float32)), ValueError, r"found shape \(3,\)"),
        (([[1.0, 2.0, 3.0]], np.zeros((3, 2), np.float32)), TypeError, "found list; use np.asarray"),
        ((np.zeros((2, 3), ">f4"), np.zeros((3, 2), np.float32)), TypeError, "found an array of >f4"),
        ((np.zeros((2, 3), np.uint16), np.zeros((3, 2), np.float32)), TypeError, "found an array of uint16"),
    ],
)
def test_arguments_that_do_not_fit(matmul, arguments, error, words):
    with pytest.raises(error, match=words):
        matmul(*arguments)


IDENTITY = """
func.func @same_{t}(%x: tensor<3x{t}>) -> tensor<3x{t}> {{ return %x : tensor<3x{t}> }}
func.func @scalar_{t}(%x: {t}) -> {t} {{ return %x : {t} }}
func.func @pick_{t}(%x: tensor<3x{t}>, %i: index) -> {t} {{
  %0 = tensor.extract %x[%i] : tensor<3x{t}>
  return %0 : {t}
}}
"""
SAMPLES = {
    "f16": [0.5, -2.0, 65504.0],
    "bf16": [0.5, -2.0, 3.0e38],
    "f32": [0.5, -2.0, 3.0e38],
    "f64": [0.5, -2.0, 1.0e300],
    "index": [-1, 0, 2**62],
    "i1": [True, False, True],
    "i8": [-128, 0, 127],
    "i16": [-(2**15), 0, 2**15 - 1],
    "i32": [-(2**31), 0, 2**31 - 1],
    "i64": [-(2**63), 0, 2**63 - 1],
}


@pytest.fixture(scope="module")
def kinds():
    return compile_upstream("".join(IDENTITY.format(t=t) for t in SAMPLES))


@pytest.mark.parametrize("dtype", SAMPLES)
def test_every_dtype(kinds, dtype):
    array = np.array(SAMPLES[dtype]).astype(calling.DTYPES[dtype])
    out = kinds(f"same_{dtype}")(array)
    assert out.dtype == array.dtype
    np.testing.assert_array_equal(out, array)
    for index, value in enumerate(array):
        assert kinds(f"scalar_{dtype}")(value) == value
        assert kinds(f"pick_{dtype}")(array, index) == value


def test_bf16_as_bits(kinds):
    array = np.array([0.5, -2.0, 3.0], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(kinds("same_bf16")(array.view(np.uint16)), array)


@pytest.mark.parametrize(
    "dtype, value, error",
    [
        ("i8", 128, ValueError),
        ("i32", 2**31, ValueError),
        ("index", 1.0, TypeError),
        ("index", True, TypeError),
        ("i1", 1, TypeError),
        ("f32", "1", TypeError),
        ("f32", None, TypeError),
        ("f32", np.zeros(1, np.float32), TypeError),
    ],
)
def test_scalars_that_do_not_fit(kinds, dtype, value, error):
    with pytest.raises(error, match=rf"argument 0 \('arg0'\) of scalar_{dtype}"):
        kinds(f"scalar_{dtype}")(value)


def test_result_that_is_the_argument_is_a_copy(kinds):
    array = np.arange(3, dtype=np.float32)
    out = kinds("same_f32")(array)
    out[0] = 7
    assert array[0] == 0 and not np.shares_memory(out, array)


def test_tensor_arguments_are_never_written():
    module = compile_upstream(
        """
        func.func @set(%x: tensor<3xf32>) -> tensor<3xf32> {
          %c0 = arith.constant 0 : index
          %v = arith.constant 9.0 : f32
          %0 = tensor.insert %v into %x[%c0] : tensor<3xf32>
          return %0 : tensor<3xf32>
        }
        """
    )
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    np.testing.assert_array_equal(module("set")(array), [9, 0, 0])
    np.testing.assert_array_equal(array, [0, 0, 0])


def test_buffers_are_written_in_place():
    module = compile_upstream(
        """
        func.func @set(%x: memref<3xf32>) {
          %c0 = arith.constant 0 : index
          %v = arith.constant 9.0 : f32
          memref.store %v, %x[%c0] : memref<3xf32>
          return
        }
        """
    )
    array = np.zeros(3, np.float32)
    assert module("set")(array) is None
    np.testing.assert_array_equal(array, [9, 0, 0])
    with pytest.raises(ValueError, match="writable C-contiguous"):
        module("set")(np.zeros(6, np.float32)[::2])
    array.flags.writeable = False
    with pytest.raises(ValueError, match="writable C-contiguous"):
        module("set")(array)


def test_results_are_freed_exactly_once(matmul, monkeypatch):
    library = compiler.library.load()
    freed = []
    free = library.sparseattnBufferFree

    class Spy:
        def __getattr__(self, name):
            return getattr(library, name)

        def sparseattnBufferFree(self, base):
            freed.append(base)
            free(base)

    monkeypatch.setattr(compiler.library, "load", lambda spy=Spy(): spy)
    out = matmul(np.ones((4, 3), np.float32), np.ones((3, 2), np.float32))
    base = out.base
    view = out[1:, :1]
    del out
    gc.collect()
    assert freed == [] and view[0, 0] == 3
    del view, base
    gc.collect()
    assert len(freed) == 1


def test_results_that_share_memory_or_are_constants(monkeypatch):
    module = compile_upstream(
        """
        func.func @f(%x: f32) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
          %0 = tensor.from_elements %x, %x : tensor<2xf32>
          %c = arith.constant dense<[5.0, 6.0]> : tensor<2xf32>
          return %0, %0, %c : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
        }
        """
    )
    first, second, constant = module("f")(2.5)
    del module
    gc.collect()
    first[0] = 0
    np.testing.assert_array_equal(second, [2.5, 2.5])
    np.testing.assert_array_equal(constant, [5, 6])


def test_results_outlive_the_module(matmul):
    function = compile_upstream("func.func @f(%x: f32) -> tensor<2xf32> {\n %0 = tensor.from_elements %x, %x : tensor<2xf32>\n return %0 : tensor<2xf32>\n}")("f")
    gc.collect()
    out = function(1.5)
    del function
    gc.collect()
    np.testing.assert_array_equal(out, [1.5, 1.5])


def test_many_calls_do_not_leak(matmul):
    import resource

    a, b = np.ones((50000, 3), np.float32), np.ones((3, 2), np.float32)
    # AddressSanitizer reuses memory only after 256 MB of it were freed.
    for _ in range(800):
        matmul(a, b)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(400):
        matmul(a, b)
    # 400 results of 400 kB would be 160 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def test_threads(matmul):
    failures = []

    def work(seed):
        a = np.random.default_rng(seed).standard_normal((64, 3)).astype(np.float32)
        b = np.ones((3, 2), np.float32)
        for _ in range(20):
            if not np.allclose(matmul(a, b), a @ b, atol=1e-5):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_unknown_function(kinds):
    with pytest.raises(KeyError, match="no function 'nothing'; the module has same_f16"):
        kinds("nothing")


@pytest.mark.parametrize(
    "ir, words",
    [
        ("", "at least one public func.func"),
        ("func.func @f(%x: tensor<*xf32>) { return }", "argument 0 cannot cross a call: expected a rank"),
        ("func.func @f(%x: !llvm.ptr) { return }", "cannot cross a call"),
        ("func.func @f( {", "expected"),
    ],
)
def test_modules_that_cannot_be_compiled(ir, words):
    with pytest.raises(CompilerError, match=words):
        compile_upstream(ir)


def test_cpu_and_features_are_checked():
    ir = "func.func @f() { return }"
    with pytest.raises(CompilerError, match="found 'z80'"):
        compile_upstream(ir, cpu="z80")
    with pytest.raises(CompilerError, match=r"found '\+warp'"):
        compile_upstream(ir, features="+warp")
    with pytest.raises(ValueError, match="from 0 to 3, found 4"):
        compile_upstream(ir, opt_level=4)
    for level in range(4):
        compile_upstream(ir, opt_level=level)


def test_files(tmp_path):
    description = compile_to_files(
        IDENTITY.format(t="f32"), tmp_path / "k.o", tmp_path / "k.so", pipeline=UPSTREAM, cpu="x86-64-v3"
    )
    assert description["cpu"] == "x86-64-v3"
    assert [function["name"] for function in description["functions"]] == ["same_f32", "scalar_f32", "pick_f32"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.o", "k.so"]
    with pytest.raises(CompilerError, match="SPARSEATTN_LLD|not an executable"):
        compile_to_files(IDENTITY.format(t="f32"), tmp_path / "l.o", tmp_path / "l.so", pipeline=UPSTREAM, linker="/nowhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.o", "k.so"]
