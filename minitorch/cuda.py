"""PyTorch's `torch.cuda`: devices, streams, events and memory of NVIDIA GPUs.

`minitorch.sim` has the same functions for the simulated GPU.
"""

from minitorch.backend import OutOfMemoryError as OutOfMemoryError
from minitorch.backend.cuda.api import DeviceApi as _DeviceApi
from minitorch.backend.cuda.api import DeviceProperties as DeviceProperties
from minitorch.random import manual_seed as manual_seed

_API = _DeviceApi("cuda")

CUDAGraph = _API.CUDAGraph
Event = _API.Event
ExternalStream = _API.ExternalStream
Stream = _API.Stream
current_device = _API.current_device
current_stream = _API.current_stream
default_stream = _API.default_stream
device = _API.device
device_count = _API.device_count
empty_cache = _API.empty_cache
get_device_capability = _API.get_device_capability
get_device_name = _API.get_device_name
get_device_properties = _API.get_device_properties
graph = _API.graph
graph_pool_handle = _API.graph_pool_handle
is_available = _API.is_available
is_current_stream_capturing = _API.is_current_stream_capturing
max_memory_allocated = _API.max_memory_allocated
mem_get_info = _API.mem_get_info
memory_allocated = _API.memory_allocated
memory_reserved = _API.memory_reserved
memory_stats = _API.memory_stats
memory_summary = _API.memory_summary
nvtx = _API.nvtx
reset_peak_memory_stats = _API.reset_peak_memory_stats
set_device = _API.set_device
stream = _API.stream
synchronize = _API.synchronize

# All devices draw from one stream of random numbers, so there is nothing else to seed.
manual_seed_all = manual_seed

__all__ = [name for name in globals() if not name.startswith("_")]
