"""Tools for developers of minitorch, which check, compile and count its kernels."""
