"""A JAX function as generic StableHLO text.

`sparseattn-raise-imported` recognises two forms in such text:
`stablehlo.composite "sparseattn.attention"` (from `sparseattn.jax.attention`)
and the cuDNN call that `jax.nn.dot_product_attention(implementation="cudnn")`
makes. The generic form is needed: MLIR can parse it without a StableHLO
library, the pretty form it cannot.
"""

from .errors import FrontendError


def stablehlo_text(fn, *args, platform=None, **kwargs):
    """Generic StableHLO text of `fn(*args, **kwargs)`.

    fn: a Python function or a `jax.jit` of one. args: arrays or
    `jax.ShapeDtypeStruct`. platform: lower for "cpu", "cuda", ... instead of
    the default backend. The text has no locations.
    Raises FrontendError if JAX is missing or cannot lower the function.
    """
    try:
        import jax
    except ImportError as error:
        raise FrontendError("JAX is needed to lower a JAX function, and it is not installed", "no module named 'jax'",
                            "install it (pip install jax), or export the text on a machine that has it") from error
    jitted = fn if hasattr(fn, "trace") else jax.jit(fn)
    try:
        platforms = None if platform is None else (platform,)
        lowered = jitted.trace(*args, **kwargs).lower(lowering_platforms=platforms)
        module = lowered.compiler_ir("stablehlo")
    except Exception as error:  # JAX raises many types; each is the user's function failing to lower
        raise FrontendError("JAX could not lower the function to StableHLO", f"{type(error).__name__}: {error}",
                            "run the function once under jax.jit with the same shapes and fix what it reports") from error
    return module.operation.get_asm(print_generic_op_form=True, enable_debug_info=False) + "\n"
