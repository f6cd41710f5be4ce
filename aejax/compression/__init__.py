"""Compressed files: examples as the quantized, entropy-coded codes of a trained model, with residuals if lossless.

In: a Trained model, arrays, or the bytes of a file. Out: bytes, arrays, a report.
Imports: base, inference.
"""
