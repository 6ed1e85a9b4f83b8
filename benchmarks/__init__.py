"""Timings of minitorch beside PyTorch, JAX, tinygrad, NumPy and gensim: `python -m benchmarks`.

They are compared as ratios within one run; no test asserts a time.
"""
