"""The simulated GPU's settings, launch log and errors; `device="sim"` is the GPU itself.

with minitorch.sim.config(checked=True, schedule="reverse"):
    y = model(x.to("sim"))
for launch in minitorch.sim.launches():
    print(launch.kind, launch.name, launch.grid, launch.block)
"""

from minitorch.backend.sim.driver import Record, SimError, clear, launches
from minitorch.backend.sim.settings import Settings, config, settings

__all__ = ["Record", "Settings", "SimError", "clear", "config", "launches", "settings"]
