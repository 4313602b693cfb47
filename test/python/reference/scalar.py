"""Every operator once more, for one row, in scalars and lists: the check of the NumPy reference.

Written from Appendix A of the specification, without NumPy and without a look at the reference's structure.
``q`` is a vector, ``k`` and ``v`` lists of vectors of one KV head, ``p`` the query's absolute position, a
range a pair [bos, eos). Patterns are tuples: ("full",), ("causal",), ("window", w), ("complete", block, stride).
"""

import cmath
import math

NEG_INF = float("-inf")


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def sees(pattern, p, j):
    """Whether position p sees key j."""
    kind, *args = pattern
    if kind == "full":
        return True
    if kind == "causal":
        return j <= p
    if kind == "window":
        return j <= p and p - j < args[0]
    if kind == "prefix_lm":
        return j <= p or j < args[0]
    block, stride = args
    return j * stride + block - 1 <= p


def visible_keys(pattern, p, num_keys, key_range=None):
    bos, eos = key_range or (0, num_keys)
    return [j for j in range(num_keys) if bos <= j < eos and sees(pattern, p, j)]


def logits(q, k, keys, scale=None, cap=None):
    """{key: z} after scale and soft cap."""
    scale = 1 / math.sqrt(len(q)) if scale is None else scale
    z = {j: scale * dot(q, k[j]) for j in keys}
    return z if cap is None else {j: cap * math.tanh(s / cap) for j, s in z.items()}


def attend(z, v, dv, sink=None):
    """(o, lse) of {key: z}; v maps a key to its value vector."""
    terms = list(z.values()) + ([] if sink is None else [sink])
    if not terms or max(terms) == NEG_INF:
        return [0.0] * dv, NEG_INF
    m = max(terms)
    lse = m + math.log(math.fsum(math.exp(t - m) for t in terms))
    return [math.fsum(math.exp(s - lse) * v[j][e] for j, s in z.items()) for e in range(dv)], lse


def packed_rows(cu_q, cu_k):
    """[(position, (begin, end))] for every packed query."""
    rows = []
    for s in range(len(cu_q) - 1):
        lenq, lenk = cu_q[s + 1] - cu_q[s], cu_k[s + 1] - cu_k[s]
        rows += [(cu_k[s] + i + lenk - lenq, (cu_k[s], cu_k[s + 1])) for i in range(lenq)]
    return rows


# ---- block scores and selection

def reduce(values, how):
    if how == "max":
        return max(values)
    total = sum(values)
    return total if how == "sum" else total / len(values)


def block_score_head(z, lse, num_blocks, block, kind, begin=0):
    """Score of each block for one head from its visible logits {key: z}."""
    score = []
    for c in range(num_blocks):
        members = [z[j] for j in z if (j - begin) // block == c]
        if kind == "logit_max":
            score.append(max(members, default=NEG_INF))
        elif kind == "log_prob_max":
            score.append(max((s - lse for s in members), default=NEG_INF))
        else:
            score.append(max((math.exp(s - lse) for s in members), default=0.0))
    return score


def topk(score, k, block, p, first=0, local=0, count_forced=True, key_range=None, from_begin=False):
    """Selected columns, ascending, without padding."""
    allowed = []
    for c in range(len(score)):
        if from_begin:
            ok = key_range[0] + c * block < key_range[1]
        else:
            ok = c * block <= p
            if key_range is not None:
                ok = ok and any(key_range[0] <= j < key_range[1] for j in range(c * block, (c + 1) * block))
        if ok:
            allowed.append(c)
    forced = []
    for c in allowed[:first] + (allowed[-local:] if local else []):
        if c not in forced:
            forced.append(c)
    free = [c for c in allowed if c not in forced and score[c] == score[c] and score[c] != NEG_INF]
    free.sort(key=lambda c: -score[c])          # stable: the lower index stays first
    return sorted(forced + free[:k - len(forced) if count_forced else k])


def pad(indices, width):
    return indices + [-1] * (width - len(indices))


# ---- chunk summaries and their logits

def chunks(num_keys, block, stride, complete_only):
    """Keys of each chunk."""
    result, begin = [], 0
    while begin < num_keys:
        keys = list(range(begin, min(begin + block, num_keys)))
        if not complete_only or len(keys) == block:
            result.append(keys)
        begin += stride
    return result


def mean_of(k, keys):
    return [math.fsum(k[j][e] for j in keys) / len(keys) for e in range(len(k[0]))]


def learned_summary(k, keys, query, scale=None):
    return attend(logits(query, k, keys, scale), k, len(k[0]))[0]


def mlp_summary(k, keys, w_in, w_out, position=None):
    flat = [k[j][e] + (position[t][e] if position else 0.0) for t, j in enumerate(keys) for e in range(len(k[0]))]
    hidden = [max(0.0, dot(flat, column)) for column in zip(*w_in)]
    return [dot(hidden, column) for column in zip(*w_out)]


def gated_summary(k, keys, gate, position=None):
    out = []
    for e in range(len(k[0])):
        weight = [math.exp(gate[j][e] + (position[t][e] if position else 0.0)) for t, j in enumerate(keys)]
        out.append(sum(w * k[j][e] for w, j in zip(weight, keys)) / sum(weight))
    return out


def minmax_bound(q, low, high):
    return math.fsum(x * (b if x > 0 else a) for x, a, b in zip(q, low, high))


def masked_logit(z, c, p, visibility, block, stride):
    own = p // block
    if visibility == "before_own":
        return z if c < own else NEG_INF
    if visibility == "complete":
        return z if sees(("complete", block, stride), p, c) else NEG_INF
    if visibility == "own_inf":
        return z if c < own else math.inf if c == own else NEG_INF
    return z


def softmax(z):
    m = max(z, default=NEG_INF)
    if m == NEG_INF:
        return [0.0] * len(z)
    e = [math.exp(a - m) for a in z]
    return [a / sum(e) for a in e]


def pool(score, kernel, stride, padding, mode, ceil_mode):
    count = (len(score) + 2 * padding - kernel) / stride
    out = []
    for m in range(max(0, (math.ceil(count) if ceil_mode else math.floor(count)) + 1)):
        window = [score[c] for c in range(m * stride - padding, m * stride - padding + kernel) if 0 <= c < len(score)]
        out.append(max(window, default=NEG_INF) if mode == "max" else math.fsum(window))
    return out


# ---- entmax; z holds finite logits only

def entmax15_exact(z):
    x = sorted((a / 2 for a in z), reverse=True)
    for r in range(len(x), 0, -1):              # the largest support first
        mean = math.fsum(x[:r]) / r
        spread = math.fsum((a - mean) ** 2 for a in x[:r])
        if spread <= 1:
            kappa = mean - math.sqrt((1 - spread) / r)
            if kappa <= x[r - 1]:
                return [max(0.0, a / 2 - kappa) ** 2 for a in z]
    raise AssertionError("the support of one element always qualifies")


def sparsemax_exact(z):
    x = sorted(z, reverse=True)
    for r in range(len(x), 0, -1):
        kappa = (math.fsum(x[:r]) - 1) / r
        if kappa <= x[r - 1]:
            return [max(0.0, a - kappa) for a in z]
    raise AssertionError("the support of one element always qualifies")


def entmax_by_search(z, alpha):
    """Any alpha in (1, 2]: the threshold by halving until it no longer moves."""
    x = [(alpha - 1) * a for a in z]
    low, high = max(x) - 1, max(x)
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return [max(0.0, a - low) ** (1 / (alpha - 1)) for a in x]
        if math.fsum(max(0.0, a - middle) ** (1 / (alpha - 1)) for a in x) >= 1:
            low = middle
        else:
            high = middle


def entmax_bisect(z, alpha, n):
    """``n`` halvings of [max - 1, max - M^(1 - alpha)]; the low end is the threshold."""
    x = [(alpha - 1) * a for a in z]
    low, high = max(x) - 1, max(x) - len(x) ** (1 - alpha)
    for _ in range(n):
        middle = (low + high) / 2
        enough = math.fsum((a - middle) ** (1 / (alpha - 1)) for a in x if a > middle) >= 1
        low, high = (middle, high) if enough else (low, middle)
    return [max(0.0, a - low) ** (1 / (alpha - 1)) for a in x]


def entmax15_halley(z, n):
    x = [a / 2 for a in z]
    hi = max(x)
    lo = hi - 1
    t = (lo + hi) / 2
    for _ in range(n):
        act = [a - t for a in x if a > t]
        f, f1, f2 = math.fsum(a * a for a in act) - 1, -2 * math.fsum(act), 2 * len(act)
        new = t - 2 * f * f1 / (2 * f1 * f1 - f * f2)
        if f > 0:
            lo = t
        if f < 0:
            hi = t
        t = new if lo - 1e-5 <= new <= hi + 1e-5 else (lo + hi) / 2
    return [max(0.0, a - t) ** 2 for a in x]


def entmax(z, alpha, solver):
    """z may hold -inf; ``solver`` maps finite logits to weights."""
    finite = [c for c, a in enumerate(z) if a != NEG_INF]
    out = [0.0] * len(z)
    if finite:
        for c, w in zip(finite, softmax([z[c] for c in finite]) if alpha == 1 else solver([z[c] for c in finite])):
            out[c] = w
    return out


def route(weights_of_heads, p, block, local_blocks, prior, sigma):
    """(routed columns, {column: bias}) of one group."""
    num = len(weights_of_heads[0])
    w = [math.fsum(head[c] for head in weights_of_heads) / len(weights_of_heads) for c in range(num)]
    support = [c for c in range(num) if w[c] > 0]
    own = p // block
    forced = [c for c in range(own - local_blocks, own + 1) if 0 <= c < num]
    bias = {c: 0.0 for c in range(num)}
    for c in support:
        if c not in forced and prior == "raw":
            bias[c] = math.log(w[c])
        if c not in forced and prior == "tempered":
            mu = math.fsum(math.log(w[a]) for a in support) / len(support)
            bias[c] = (math.log(w[c]) - mu) / sigma
    return sorted(set(support) | set(forced)), bias


# ---- masks

def words_of(columns, num_columns):
    """Bit mask as signed 32-bit words."""
    big = sum(1 << c for c in set(columns))
    words = [(big >> (32 * n)) & 0xFFFFFFFF for n in range((num_columns + 31) // 32)]
    return [w - (1 << 32) if w >> 31 else w for w in words]


def columns_of(words):
    big = sum((w & 0xFFFFFFFF) << (32 * n) for n, w in enumerate(words))
    return [c for c in range(32 * len(words)) if big >> c & 1]


# ---- outputs

def lse_merge(parts, sink=None):
    """parts: [(o, lse)]."""
    terms = [lse for _, lse in parts] + ([] if sink is None else [sink])
    m = max(terms)
    if m == NEG_INF:
        return [0.0] * len(parts[0][0]), NEG_INF
    lse = m + math.log(math.fsum(math.exp(t - m) for t in terms))
    return [math.fsum(o[e] * math.exp(l - lse) for o, l in parts) for e in range(len(parts[0][0]))], lse


def hard_concrete(log_alpha, u, beta, gamma, zeta):
    s = sigmoid((math.log(u) - math.log(1 - u) + log_alpha) / beta)
    return min(1.0, max(0.0, s * (zeta - gamma) + gamma)), sigmoid(log_alpha - beta * math.log(-gamma / zeta))


def rope(x, p, base, dims, inverse=False, interleaved=False):
    """Each pair as a complex number, turned by a unit complex number."""
    out = list(x)
    for i in range(dims // 2):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + dims // 2)
        turned = complex(x[a], x[b]) * cmath.exp(1j * p * base ** (-2 * i / dims) * (-1 if inverse else 1))
        out[a], out[b] = turned.real, turned.imag
    return out


def rms_norm(x, weight, eps):
    rms = math.sqrt(math.fsum(a * a for a in x) / len(x) + eps)
    return [a / rms * w for a, w in zip(x, weight)]
