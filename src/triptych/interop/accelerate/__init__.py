"""Models and processors of transformers, made quicker in place: ``accelerate``, ``accelerated``."""

from triptych.interop.accelerate.switch import accelerate, accelerated

__all__ = ["accelerate", "accelerated"]
