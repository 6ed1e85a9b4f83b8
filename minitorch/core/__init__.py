"""What an afternoon reads: from numbers in memory to derivatives of any order.

Read the modules in this order; each needs only those before it (and `minitorch.backend`, whose
kernels it calls).

    dtypes      dtypes and PyTorch's rules of promotion; shapes
    recording   what a compiled step must be told; one call at most while nobody records
    device      devices, what a backend offers, and which ones there are
    pytree      nested tuples, lists and dicts
    grad_mode   whether ops are recorded
    sparse      RowGrad: gradients of a few rows
    tensor      Tensor: an array, its version, its place on the tape, which is a Node
    operands    bringing an op's operands to one device and dtype
    dispatch    Op, the registry, finding a kernel, and what may stand before all kernels
    tape        values that nodes save, in-place changes, views
    families    elementwise, linear, bilinear, general, fused: both rules from one line
    engine      the backward and the forward pass
    function    users' own ops
"""
