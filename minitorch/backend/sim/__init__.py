"""The simulated GPU: the kernels of `kernels/` run thread by thread, and checked."""
