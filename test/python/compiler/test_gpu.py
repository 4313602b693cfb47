"""Attention from the dialect to artefacts for Hopper GPUs; no GPU is needed."""

import pytest

from sparseattn import compiler, gpu_artefact, runtime
from sparseattn.bench import kernels
from sparseattn.bench.cases import Case
from sparseattn.compiler import CompilerError

PTXAS = gpu_artefact.find_ptxas()

CASES = [*[Case("test", 1, 4, 2, 512, dim, mask, values_dim=values)
           for dim, values in [(96, 0), (192, 128), (192, 0), (32, 0), (160, 0)] for mask in ("full", "causal")],
         *[Case("test", 1, 4, 2, 512, dim, mask, window=window, documents=3, layout=layout, extras=extras)
           for layout in ("bhsd", "thd")
           for dim, mask, window, extras in [(128, "causal", 0, ()), (64, "full", 0, ("lse",)), (256, "causal", 0, ()),
                                            (64, "window", 100, ("lse",)),
                                             (128, "window", 100, ("sink", "softcap", "lse"))]],
         *[Case("test", 1, 4, 2, 512, dim, mask, block=block, extras=extras)
           for dim, mask, block, extras in [(128, "causal", 128, ()), (128, "full", 64, ("lse",)), (64, "causal", 64, ()),
                                            (256, "causal", 128, ()), (128, "causal", 64, ("sink", "softcap", "lse"))]],
         *[Case("test", 1, heads, kv_heads, 512, dim, mask, window=window, extras=extras)
         for heads, kv_heads, dim, mask, window, extras in [
             (4, 4, 64, "full", 0, ()), (4, 4, 64, "causal", 0, ()),
             (4, 4, 128, "full", 0, ()), (4, 1, 128, "causal", 0, ()),
             (4, 4, 256, "full", 0, ()), (4, 4, 256, "causal", 0, ()),
             (4, 2, 128, "window", 100, ()), (8, 4, 128, "mixed", 64, ()),
             (4, 4, 128, "causal", 0, ("sink", "softcap", "lse"))]]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: kernels.spec(case).name)
def test_artefact(case, tmp_path):
    """PTX everywhere; where CUDA's assembler is, it must not serialise products or spill."""
    manifest = compiler.compile_gpu(kernels.spec(case).text(), tmp_path, ptxas=PTXAS)
    name = kernels.spec(case).name
    artefact = runtime.load(tmp_path)
    assert artefact.manifest == manifest and artefact.names == (name,)
    kernel = artefact(name)
    names = [operand.name for operand in kernel.operands]
    packed = case.layout == "thd"
    documents = ["cu_seqlens_q", "cu_seqlens_k"] if packed else ["valid_range"] if case.documents else []
    assert names == ["query", "key", "value", *["selection"] * (case.block > 0), *["sink"] * ("sink" in case.extras), *documents,
                     "out", *["lse"] * ("lse" in case.extras)]
    assert kernel.operands[0].shape == (("Nq", "Hq", case.dim) if packed else ("B", "Hq", "Nq", case.dim))
    assert kernel.operands[-1 - ("lse" in case.extras)].shape[-1] == kernel.operands[2].shape[-1] == case.value_dim
    assert kernel.operands[1].shape == (("Nk", "Hkv", case.dim) if packed else ("B", "Hkv", "Nk", case.dim))
    ptx = (tmp_path / f"{name}.ptx").read_text()
    assert "wgmma.mma_async" in ptx and "cp.async.bulk.tensor" in ptx and "setmaxnreg" in ptx and ".extern .func" not in ptx
    assert (tmp_path / f"{name}.cubin").exists() == (PTXAS is not None)


def test_tensor_maps(tmp_path):
    """Multiples of 64 features are loaded at once; of others each block of 64 alone, zeros behind the last feature."""
    whole = {"axis": "feature", "inner": 64, "box": 64}
    for dim, first, rows, blocks in ((128, whole, (192, 80, 80), [{"axis": "feature", "outer": 64, "box": 2}]),
                                     (96, {"axis": "feature", "box": 64}, (128, 128, 128), [])):
        manifest = compiler.compile_gpu(kernels.spec(Case("test", 1, 4, 4, 512, dim, "causal")).text(), tmp_path)
        maps = [p for p in manifest["kernels"][0]["parameters"] if p["kind"] == "tensor_map"]
        assert [m["dims"] for m in maps] == [
            [first, {"axis": "position", "box": box}, *blocks, {"axis": "head", "box": 1}, {"axis": "batch", "box": 1}]
            for box in rows]


def test_static_sizes_and_bshd(tmp_path):
    text = """func.func @layer(%q: tensor<2x300x8x128xf16>, %k: tensor<2x500x2x128xf16>, %v: tensor<2x500x2x128xf16>)
        -> (tensor<2x300x8x128xf16>, tensor<2x8x300xf32>) {
      %o, %l = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) return_lse layout(bshd)
        : (tensor<2x300x8x128xf16>, tensor<2x500x2x128xf16>, tensor<2x500x2x128xf16>)
          -> (tensor<2x300x8x128xf16>, tensor<2x8x300xf32>)
      return %o, %l : tensor<2x300x8x128xf16>, tensor<2x8x300xf32>
    }"""
    compiler.compile_gpu(text, tmp_path)
    kernel = runtime.load(tmp_path)("layer")
    assert kernel.operands[0].axes == ("batch", "position", "head", "feature")
    assert kernel.operands[0].shape == (2, 300, 8, 128) and kernel.operands[4].shape == (2, 8, 300)


# All that takes registers, and documents in both ways.
TIGHT = [Case("test", 1, 4, 2, 512, 128, mask, window=window, documents=documents, layout=layout, extras=extras)
         for mask, window, documents, layout, extras in [
             ("full", 0, 0, "bhsd", ()), ("causal", 0, 0, "bhsd", ()), ("prefix", 150, 0, "bhsd", ()),
             ("causal", 0, 0, "bhsd", ("sink", "softcap", "lse")), ("full", 0, 0, "bhsd", ("sink", "softcap", "lse")),
             ("causal", 0, 1, "bhsd", ("sink", "softcap", "lse")), ("causal", 0, 1, "thd", ("sink", "softcap", "lse"))]]


@pytest.mark.parametrize("case", TIGHT, ids=lambda case: kernels.spec(case).name)
def test_three_consumers_do_not_spill(case, tmp_path):
    manifest = compiler.compile_gpu(kernels.spec(case).text(), tmp_path, ptxas=PTXAS)
    assert manifest["kernels"][0]["block_threads"] == 512


@pytest.mark.parametrize("extras, documents", [((), 0), (("sink", "softcap", "lse"), 1)])
def test_length_classes(extras, documents, tmp_path):
    """Long sequences of mixed heads have a third consumer."""
    spec = kernels.spec(Case("test", 1, 4, 2, 32768, 128, "mixed", window=64, documents=documents, extras=extras))
    threads = {}
    for keys in (None, 1024, 32768):
        folder = tmp_path / str(keys)
        folder.mkdir()
        threads[keys] = compiler.compile_gpu(spec.text(), folder, expected_keys=keys, ptxas=PTXAS)["kernels"][0]["block_threads"]
    assert threads == {None: 384, 1024: 384, 32768: 512}


def test_expected_keys_are_of_the_usual_pipeline(tmp_path):
    with pytest.raises(ValueError, match="a pipeline or expected_keys, found both"):
        compiler.compile_gpu("", tmp_path, pipeline="sparseattn-to-nvvm", expected_keys=8192)
    with pytest.raises(CompilerError, match="expected-keys is -1; expected a number of keys"):
        compiler.compile_gpu(kernels.spec(TIGHT[0]).text(), tmp_path, expected_keys=-1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["table", "two words", "a,b=c", "it's ä"])
def test_schedule_table(name, tmp_path):
    """Rows of the user come before the built-in ones, of their length class too."""
    table = tmp_path / name
    table.write_text("""
128 128 full>=9000 #sparseattn.schedule<query_tile = 128, key_tile = 64>
128 128 full #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>
""")
    text = kernels.spec(TIGHT[0]).text()
    for keys, threads in ((None, 256), (8192, 256), (9000, 384)):
        folder = tmp_path / f"keys-{keys}"
        folder.mkdir()
        contents = compiler.compile_gpu(text, folder, expected_keys=keys, schedule_table=table)
        assert contents["kernels"][0]["block_threads"] == threads
    compiler.check_schedule_table(table)


def test_schedule_table_that_cannot_be_used(tmp_path):
    text, out, table = kernels.spec(TIGHT[0]).text(), tmp_path / "out", tmp_path / "table"
    out.mkdir()
    with pytest.raises(ValueError, match="a pipeline or schedule_table, found both"):
        compiler.compile_gpu(text, out, pipeline="sparseattn-to-nvvm", schedule_table=table)
    for name in ("", " table", "table ", 'a"b', "a{b", "a}b", "a\nb", "a\0b"):
        with pytest.raises(ValueError, match="expected a path without braces.*rename or copy the file"):
            compiler.compile_gpu(text, out, schedule_table=name)
    for contents, message in ((None, "cannot read '.*table'"), ("128 128 odd x", "table:1: expected a mask kind"),
                              ("* * * #sparseattn.window<3>", "table:1: expected")):
        if contents:
            table.write_text(contents)
        for use in (lambda: compiler.compile_gpu(text, out, schedule_table=table), lambda: compiler.check_schedule_table(table)):
            with pytest.raises(CompilerError, match=message):
                use()
    assert not list(out.iterdir())


def test_artefacts_by_length_class(tmp_path):
    spec, other = (kernels.spec(Case("test", 1, 4, 2, 512, 128, mask, window=64)) for mask in ("mixed", "full"))
    assert [gpu_artefact.round_keys(keys) for keys in (0, 1, 2, 3, 8191, 8192)] == [1, 1, 2, 2, 4096, 8192]
    assert [gpu_artefact.length_class(spec, keys) for keys in (0, 32767, 32768, 1 << 20)] == [None, None, 32768, 32768]
    assert gpu_artefact.length_class(other, 1 << 20) is None
    assert gpu_artefact.find_spec(spec, tmp_path, 512) is None
    (tmp_path / f"{spec.name}-keysmany").mkdir()
    (tmp_path / f"{spec.name}-keysmany" / "manifest.json").touch()
    assert gpu_artefact.find_spec(spec, tmp_path, 512) is None
    long = gpu_artefact.compile_spec(spec, tmp_path, expected_keys=32768)
    assert long == tmp_path / f"{spec.name}-keys32768" and runtime.load(long).names == (spec.name,)
    assert gpu_artefact.find_spec(spec, tmp_path, 512) == long == gpu_artefact.find_spec(spec, tmp_path, 1 << 20)
    short = gpu_artefact.compile_spec(spec, tmp_path)
    assert [gpu_artefact.find_spec(spec, tmp_path, keys) for keys in (0, 32767, 32768)] == [short, short, long]


@pytest.mark.parametrize("text, reason", [
    ("tensor<1x2x64x128xf32>", "f32"),
    ("tensor<1x2x64x80xbf16>", "80"),
])
def test_refused(text, reason, tmp_path):
    source = f"""func.func @layer(%q: {text}, %k: {text}, %v: {text}) -> {text} {{
      %o = sparseattn.attention %q, %k, %v keys(#sparseattn.causal) : ({text}, {text}, {text}) -> {text}
      return %o : {text}
    }}"""
    with pytest.raises(CompilerError, match=reason):
        compiler.compile_gpu(source, tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_folder_and_no_attention(tmp_path):
    with pytest.raises(CompilerError, match="does not exist"):
        compiler.compile_gpu(kernels.spec(CASES[0]).text(), tmp_path / "none")
    with pytest.raises(CompilerError, match="grid loop"):
        compiler.compile_gpu("func.func @f(%x: f32) -> f32 { return %x : f32 }", tmp_path)
    assert not list(tmp_path.iterdir())
