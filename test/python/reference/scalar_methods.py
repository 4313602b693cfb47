"""Whole attention methods for one query row of one group of heads, in scalars and lists (Appendix A and §6).

``q_group`` holds the query vectors that share the KV head whose rows are ``k`` and ``v``; ``p`` is the query's
absolute position.
"""

import math

import scalar


def hysparse_full_row(q_group, k, v, p, block, k_blocks):
    z = [scalar.logits(q, k, range(p + 1)) for q in q_group]
    rows = [scalar.attend(zh, v, len(v[0])) for zh in z]
    num_blocks = (len(k) + block - 1) // block
    per_head = [scalar.block_score_head(zh, lse, num_blocks, block, "prob_max") for zh, (_, lse) in zip(z, rows)]
    score = [max(column) for column in zip(*per_head)]
    return [o for o, _ in rows], scalar.topk(score, k_blocks, block, p)


def keys_of_blocks(indices, block, p):
    return [j for c in indices if c >= 0 for j in range(c * block, min((c + 1) * block, p + 1))]


def hysparse_sparse_row(q, k_full, v_full, k_own, v_own, indices, p, block, w, sinks, gates):
    z1 = scalar.logits(q, k_full, keys_of_blocks(indices, block, p))
    z2 = scalar.logits(q, k_own, range(max(0, p - w + 1), p + 1))
    o1, _ = scalar.attend(z1, v_full, len(v_full[0]), sinks[0])
    o2, _ = scalar.attend(z2, v_own, len(v_own[0]), sinks[1])
    return [scalar.sigmoid(a) * x + scalar.sigmoid(b) * y for a, x, b, y in zip(gates[0], o1, gates[1], o2)]


def hysparse2_tokens(q_group, k, v, p, w, kept):
    z = [scalar.logits(q, k, range(p + 1)) for q in q_group]
    lse = [scalar.attend(zh, v, len(v[0]))[1] for zh in z]
    first = max(0, p - w + 1)
    score = {j: max(zh[j] - l for zh, l in zip(z, lse)) for j in range(first)}
    return sorted(sorted(score, key=lambda j: (-score[j], j))[:kept]) + list(range(first, p + 1))


def dash_row(q_group, k, v, summaries, p, block, gamma, sigma):
    own = p // block
    bias = {own: 0.0}
    if own > 0:
        heads = [scalar.entmax15_exact([gamma * scalar.dot(q, summaries[c]) / math.sqrt(len(q)) for c in range(own)])
                 for q in q_group]
        w = [sum(column) / len(heads) for column in zip(*heads)]
        support = [c for c in range(own) if w[c] > 0]
        mu = sum(math.log(w[c]) for c in support) / len(support)
        bias.update({c: (math.log(w[c]) - mu) / sigma for c in support})
    keys = [j for j in range(p + 1) if j // block in bias]
    out = []
    for q in q_group:
        z = {j: s + bias[j // block] for j, s in scalar.logits(q, k, keys).items()}
        out.append(scalar.attend(z, v, len(v[0]))[0])
    return out, sorted(bias)


def overlapping(j, num_chunks, block, stride, select_block):
    """Chunks that share a token with selection block j."""
    return [c for c in range(num_chunks)
            if c * stride < (j + 1) * select_block and c * stride + block > j * select_block]


def compressed_row(q_group, k_cmp, p, block, stride):
    """[{chunk: z}] of every head over the chunks complete at p, and the summed probability of every chunk."""
    seen = scalar.visible_keys(("complete", block, stride), p, len(k_cmp))
    z = [scalar.logits(q, k_cmp, seen) for q in q_group]
    total = [0.0] * len(k_cmp)
    for zh in z:
        for c, w in zip(zh, scalar.softmax(list(zh.values()))):
            total[c] += w
    return z, total


def nsa_row(q_group, cmp, slc, win, gates, p, block, stride, select_block, k_blocks, w):
    """cmp, slc, win: (keys, values), cmp already compressed; gates: three per head, before the sigmoid."""
    z, total = compressed_row(q_group, cmp[0], p, block, stride)
    num_blocks = math.ceil(len(slc[0]) / select_block)
    importance = [math.fsum(total[c] for c in overlapping(j, len(total), block, stride, select_block))
                  for j in range(num_blocks)]
    indices = scalar.topk(importance, k_blocks, select_block, p, first=1, local=2)
    out = []
    for q, zh, g in zip(q_group, z, gates):
        dv = len(slc[1][0])
        branches = [scalar.attend(zh, cmp[1], dv)[0],
                    scalar.attend(scalar.logits(q, slc[0], keys_of_blocks(indices, select_block, p)), slc[1], dv)[0],
                    scalar.attend(scalar.logits(q, win[0], range(max(0, p - w + 1), p + 1)), win[1], dv)[0]]
        out.append([sum(scalar.sigmoid(a) * x for a, x in zip(g, column)) for column in zip(*branches)])
    return out, indices


def infllmv2_row(q_group, k, v, p, block, stride, select_block, k_blocks, w):
    chunks = scalar.chunks(len(k), block, stride, True)
    _, total = compressed_row(q_group, [scalar.mean_of(k, keys) for keys in chunks], p, block, stride)
    score = [max((total[c] for c in overlapping(j, len(total), block, stride, select_block)), default=0.0)
             for j in range(math.ceil(len(k) / select_block))]
    indices = scalar.topk(score, k_blocks, select_block, p, first=1, local=math.ceil(w / select_block))
    keys = keys_of_blocks(indices, select_block, p)
    return [scalar.attend(scalar.logits(q, k, keys), v, len(v[0]))[0] for q in q_group], indices


def indexer(index_queries, index_key, weights):
    """DSA's score of one key."""
    heads, d = len(index_queries), len(index_key)
    return math.fsum(w * max(0.0, scalar.dot(q, index_key)) for q, w in zip(index_queries, weights)) / math.sqrt(heads * d)


def dsa_tokens(index_queries, index_keys, weights, p, kept):
    score = [indexer(index_queries, index_keys[j], weights) for j in range(p + 1)]
    return sorted(sorted(range(p + 1), key=lambda j: (-score[j], j))[:kept])


def msa_blocks(index_query, index_keys, p, block, kept):
    score = [max(scalar.dot(index_query, index_keys[j]) for j in keys_of_blocks([c], block, p))
             for c in range(p // block + 1)]
    return scalar.topk(score, kept, block, p, local=1)


def moba_chunks(q, k, p, block, kept):
    own = p // block
    score = [scalar.dot(q, scalar.mean_of(k, range(c * block, (c + 1) * block))) for c in range(own)]
    return sorted(sorted(range(own), key=lambda c: (-score[c], c))[:kept - 1] + [own])


def quest_pages(q, k, block, kept):
    """The newest query, for which every stored key is visible."""
    score = []
    for keys in scalar.chunks(len(k), block, block, False):
        low = [min(k[j][e] for j in keys) for e in range(len(q))]
        high = [max(k[j][e] for j in keys) for e in range(len(q))]
        score.append(scalar.minmax_bound(q, low, high))
    return sorted(sorted(range(len(score)), key=lambda c: (-score[c], c))[:kept])


def csa_row(q, kv, entries, chosen, sink, p, w, rope_dims, base):
    """entries: compressed rows; chosen: the selected ones, all of them complete at p."""
    raw = scalar.logits(q, kv, range(max(0, p - w + 1), p + 1))
    z = {("raw", j): s for j, s in raw.items()}
    z.update({("entry", c): s for c, s in scalar.logits(q, entries, chosen).items()})
    values = {("raw", j): x for j, x in enumerate(kv)} | {("entry", c): x for c, x in enumerate(entries)}
    out, _ = scalar.attend(z, values, len(q), sink)
    plain = len(q) - rope_dims
    return out[:plain] + scalar.rope(out[plain:], p, base, rope_dims, inverse=True)
