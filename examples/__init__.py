"""Examples over the public API. Each runs by itself: ``python -m examples.quickstart``."""
