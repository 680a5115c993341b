"""Measuring Ostraka as its users meet it: real processes, a real disk, the real model. See docs/benchmarks.md."""
