"""PyTorch side of sparseattn: the operator that attention becomes on export.

Importing this package imports torch. The importers of `sparseattn.frontend`
do not need it: they read what torch wrote.
"""
