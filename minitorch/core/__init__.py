"""What an afternoon reads: from numbers in memory to derivatives of any order.

Read the modules in this order; each needs only those before it, and beside them `backend`, whose
kernels it calls, `operands`, the slow path to one dtype, and `recording`, for compiled steps.

    pytree      nested tuples, lists and dicts
    dtypes      dtypes and PyTorch's rules of promotion; shapes
    device      devices, what a backend offers, and which ones there are
    grad_mode   whether ops are recorded
    sparse      RowGrad: gradients of a few rows
    tensor      Tensor: an array, its version, and its Node on the tape
    dispatch    Op, the registry, finding a kernel, and the stack of interceptors
    tape        saved tensors, in-place changes, views
    families    elementwise, linear, bilinear, general, fused: both rules from one line
    engine      the backward pass and the forward pass
    function    users' own ops
"""
