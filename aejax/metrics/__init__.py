"""Metrics: pure functions of arrays, each with shapes, unit and source; evaluate.py decides what they are fed."""
