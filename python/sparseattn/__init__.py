"""sparseattn: a compiler for hybrid sparse attention.

``sparseattn.reference`` is the slow, exact NumPy definition of every operator.
It imports nothing of the compiler and can be used on its own.
"""

__version__ = "0.1.0"
