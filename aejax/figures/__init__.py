"""Pictures of one run.

In: what `examples` computes on the device, and what the run left. Out: pictures as bytes.
Imports: base, models, metrics, evaluation.
"""
