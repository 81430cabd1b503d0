"""Benchmarks over the public API. Each runs the raw limit or a peer beside the thing measured, in the same rounds."""
