"""Tools for those who work on minitorch: its kernels checked, compiled ahead and counted."""
