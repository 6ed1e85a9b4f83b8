"""The simulated GPU's settings, launch log and errors; `device="sim"` is the GPU itself.

with minitorch.sim.config(checked=True, schedule="reverse"):
    y = model(x.to("sim"))
for launch in minitorch.sim.launches():
    print(launch.kind, launch.name, launch.grid, launch.block)
"""

from minitorch.backend.cuda.api import DeviceApi, DeviceProperties
from minitorch.backend.sim.driver import Record, SimError, clear, launches
from minitorch.backend.sim.settings import Settings, config, settings

_API = DeviceApi("sim")  # the functions of `minitorch.cuda`

Event = _API.Event
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
is_available = _API.is_available
max_memory_allocated = _API.max_memory_allocated
mem_get_info = _API.mem_get_info
memory_allocated = _API.memory_allocated
memory_reserved = _API.memory_reserved
reset_peak_memory_stats = _API.reset_peak_memory_stats
set_device = _API.set_device
stream = _API.stream
synchronize = _API.synchronize

__all__ = [
    "DeviceProperties",
    "Event",
    "Record",
    "Settings",
    "SimError",
    "Stream",
    "clear",
    "config",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "is_available",
    "launches",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "settings",
    "stream",
    "synchronize",
]
