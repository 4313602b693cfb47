"""Sparse attention methods on top of a family: `sparse_config` of MiniCPM4, and
our own key `sparse_attention`.

    "sparse_attention": {"method": "hysparse", "full_layers": [0, 4, 8], "block": 64, "top_k": 16, "window": 128,
                         "gate": "elementwise", "sinks": true}
    "sparse_attention": {"method": "consa", "window": 1024, "head_kinds": [["full", "window", ...], ...]}
    "sparse_attention": {"method": "dash", "chunk": 64, "alpha": 1.5, "routing_scale": 0.23, "prior": "tempered", "sigma": 1e8}

Each method replaces the attention of the layers it names; shapes and scale come
from the family. Semantics: the project's specification of each method, cited
by section at each function.
"""

from .graph import CAUSAL, Attention, KeyPattern, Op, TensorType, float_text, window

METHODS = ("consa", "dash", "hysparse")


def _div_up(size, divisor):
    return -(-size // divisor) if isinstance(size, int) else f"{size}_over_{divisor}"


class Plan:
    """Builds the function for one config; `make` creates the inputs of a layer
    (see hf_config.Builder)."""

    def __init__(self, builder):
        self.b = builder

    def op(self, mnemonic, operands, results, text, layer=None, kv_source=None):
        attributes = {} if layer is None else {"layer": layer}
        if kv_source is not None:
            attributes["kv_source"] = kv_source
        self.b.graph.nodes.append(Op(mnemonic, operands, results, text, attributes))
        return results

    # MiniCPM4, InfLLMv2 (specification 6.2)

    def infllm(self, layers, sparse):
        block, kernel, stride = (sparse[n].int(1, 1 << 16) for n in ("block_size", "kernel_size", "kernel_stride"))
        local = sparse["window_size"].int(0, 1 << 24) // block
        first = sparse["init_blocks"].int(0, 1 << 16)
        # The models call the kernel with topk + local blocks, the forced ones counted.
        top_k = sparse["topk"].int(1, 1 << 16) + local
        if block % stride or kernel < stride:
            sparse.fail("block_size a multiple of kernel_stride, and kernel_size at least kernel_stride",
                        f"block_size {block}, kernel_size {kernel}, kernel_stride {stride}")
        if first + local > top_k:
            sparse.fail("init_blocks at most topk", f"init_blocks {first}, topk {top_k - local}")
        dense = sparse.get("dense_len")
        if dense is not None and dense.int() > 0:
            self.b.graph.remark("sparse_config", f"this plan is for more than dense_len = {dense.int()} tokens",
                                "below it the model runs dense attention: import it without sparse_config")
        for layer in layers:
            q, k, v = self.b.qkv(layer)
            i, d, n = layer.index, layer.head_dim, self.b.length
            # Chunks that are not complete yet are summarised and then masked by visibility(complete),
            # so that every block has a column, the query's own included.
            m, blocks = _div_up(n, stride), f"{n}_blocks"
            if isinstance(n, int):
                pool = block // stride
                blocks = _div_up(m + 2 - (pool + 1), pool) + 1
            summary = self.b.value(f"summary{i}", (layer.kv_heads, m, d), q)
            self.op("chunk_summarize", [k], [summary], f"{{0}} block {kernel} stride {stride} mode(mean)")
            logits = self.b.value(f"logits{i}", (layer.heads, n, m), "f32")
            self.op("block_logits", [q, summary], [logits],
                    f"{{0}}, {{1}} block {kernel} stride {stride} scale {float_text(layer.scale)} visibility(complete)")
            probabilities = self.b.value(f"probabilities{i}", (layer.kv_heads, n, m), "f32")
            self.op("block_softmax", [logits], [probabilities], f"{{0}} kv_heads {layer.kv_heads} group(sum)")
            scores = self.b.value(f"scores{i}", (layer.kv_heads, n, blocks), "f32")
            self.op("pool_scores", [probabilities], [scores],
                    f"{{0}} kernel {block // stride + 1} stride {block // stride} pad 1 mode(max) ceil_mode")
            indices = self.b.value(f"indices{i}", (layer.kv_heads, n, top_k), "i32")
            self.op("select_topk", [scores], [indices],
                    f"{{0}} <k = {top_k}, block = {block}, force_first = {first}, force_local = {local}>")
            out = self.b.value(f"out{i}", (layer.heads, n, layer.v_head_dim), q)
            self.op("sparse_attention", [q, k, v, indices], [out],
                    f"{{0}}, {{1}}, {{2}} selection({{3}}) block {block} format(index) keys(#sparseattn.causal) "
                    f"scale {float_text(layer.scale)} layout(bhsd)", i, layer.kv_source)
            self.b.output(out, i)

    # ConSA (specification 5.1)

    def consa(self, layers, method):
        size = method["window"].int(1, 1 << 40)
        table = method["head_kinds"].list()
        if len(table) != len(layers):
            method["head_kinds"].fail(f"one list for each of the {len(layers)} layers", f"{len(table)}")
        patterns = {"full": CAUSAL, "window": window(size)}
        for layer, row in zip(layers, table):
            kinds = row.list()
            if len(kinds) != layer.kv_heads:
                row.fail(f"one kind for each of the {layer.kv_heads} key/value heads", f"{len(kinds)}")
            for kind in kinds:
                if kind.str() not in patterns:
                    kind.fail("'full' or 'window'")
            heads = tuple(patterns[kind.str()] for kind in kinds)
            keys = heads[0] if len(set(heads)) == 1 else KeyPattern("head_table", heads=heads)
            self.b.attention(layer, keys)

    # HySparse (specification 2.1)

    def hysparse(self, layers, method):
        block, top_k = method["block"].int(1, 1 << 16), method["top_k"].int(1, 1 << 16)
        keys = window(method["window"].int(1, 1 << 40))
        sinks = method["sinks"].bool()
        gate = method["gate"].str()
        if gate not in ("elementwise", "headwise"):
            method["gate"].fail("'elementwise' or 'headwise'")
        full = {f.int(0, len(layers) - 1) for f in method["full_layers"].list()}
        if 0 not in full:
            method["full_layers"].fail("a list that contains layer 0: a sparse layer reads the full layer before it")
        source = None
        for layer in layers:
            if layer.index in full:
                source = self._full_with_selection(layer, block, top_k)
            else:
                self._sparse(layer, source, block, keys, sinks, gate)

    def _full_with_selection(self, layer, block, top_k):
        q, k, v = self.b.qkv(layer)
        i, n = layer.index, self.b.length
        out = self.b.value(f"out{i}", (layer.heads, n, layer.v_head_dim), q)
        indices = self.b.value(f"indices{i}", (layer.kv_heads, n, top_k), "i32")
        self.op("attention", [q, k, v], [out, indices],
                f"{{0}}, {{1}}, {{2}} keys(#sparseattn.causal) scale {float_text(layer.scale)} "
                f"emit(#sparseattn.block_score<block = {block}, kind = prob_max, group = max>) "
                f"select <k = {top_k}, block = {block}> layout(bhsd)", i, i)
        self.b.output(out, i)
        return layer.index, k, v, indices

    def _sparse(self, layer, source, block, keys, sinks, gate):
        producer, k_full, v_full, indices = source
        q, k, v = self.b.qkv(layer)
        i, n = layer.index, self.b.length
        sink = [self.b.sink(layer, "block"), self.b.sink(layer, "window")] if sinks else [None, None]
        shape = (layer.heads, n, layer.v_head_dim)
        block_out = self.b.value(f"block_out{i}", shape, q)
        self.op("sparse_attention", [q, k_full, v_full, indices] + ([sink[0]] if sinks else []), [block_out],
                f"{{0}}, {{1}}, {{2}} selection({{3}}) block {block} format(index) keys(#sparseattn.causal) "
                f"scale {float_text(layer.scale)}{' sink({4})' if sinks else ''} layout(bhsd)", i, producer)
        window_out = self.b.value(f"window_out{i}", shape, q)
        self.b.graph.nodes.append(Attention(q, k, v, window_out, keys, layer.scale, f"window{i}", sink[1],
                                            layer=i, kv_source=i))
        gates = [self.b.input(f"gate_{name}{i}", shape if gate == "elementwise" else shape[:2], q)
                 for name in ("block", "window")]
        out = self.b.value(f"out{i}", shape, q)
        self.op("gated_combine", [block_out, window_out, *gates], [out],
                f"{{0}}, {{1}} gates({{2}}, {{3}}) gate({gate}) activation(sigmoid)")
        self.b.output(out, i)

    # DashAttention (specification 4.1)

    def dash(self, layers, method):
        chunk, alpha = method["chunk"].int(1, 1 << 16), method["alpha"].float()
        gamma, sigma = method["routing_scale"].float(), method["sigma"].float()
        prior = method["prior"].str()
        if prior not in ("none", "raw", "tempered"):
            method["prior"].fail("'none', 'raw' or 'tempered'")
        if not 1.0 <= alpha <= 2.0:
            method["alpha"].fail("a number in [1, 2]")
        for layer in layers:
            q, k, v = self.b.qkv(layer)
            i, n = layer.index, self.b.length
            m = _div_up(n, chunk)
            words = _div_up(m, 32)
            probe = self.b.plain_input(f"summary_query{i}", TensorType((layer.kv_heads, layer.head_dim), q.type.element))
            summary = self.b.value(f"summary{i}", (layer.kv_heads, m, layer.head_dim), q)
            self.op("chunk_summarize", [k, probe], [summary],
                    f"{{0}} block {chunk} mode(learned_query) summary_query({{1}}) scale {float_text(layer.scale)}")
            logits = self.b.value(f"logits{i}", (layer.heads, n, m), "f32")
            self.op("block_logits", [q, summary], [logits],
                    f"{{0}}, {{1}} block {chunk} scale {float_text(layer.scale * gamma)} visibility(before_own)")
            mask = self.b.value(f"mask{i}", (layer.kv_heads, n, words), "i32")
            bias = self.b.value(f"bias{i}", (layer.kv_heads, n, m), "f32")
            self.op("entmax_route", [logits], [mask, bias],
                    f"{{0}} kv_heads {layer.kv_heads} block {chunk} alpha {float_text(alpha)} prior({prior}) "
                    f"sigma {float_text(sigma)}")
            out = self.b.value(f"out{i}", (layer.heads, n, layer.v_head_dim), q)
            self.op("sparse_attention", [q, k, v, mask, bias], [out],
                    f"{{0}}, {{1}}, {{2}} selection({{3}}) block {chunk} format(bitmask) keys(#sparseattn.causal) "
                    f"scale {float_text(layer.scale)} bias({{4}}) layout(bhsd)", i, layer.kv_source)
            self.b.output(out, i)
