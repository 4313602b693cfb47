"""`tools/bench`: our kernels and torch's, correct first, then timed side by side in one run.

cases: what is measured · kernels: ours, compiled ahead or on the spot · lists: of key blocks · peers: torch's, and
triton_attention, Triton's · check: against float32 · timing: bursts and sustained, interleaved · report: tables, JSON, plot.
"""
