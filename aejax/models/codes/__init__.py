"""Codes beyond real vectors with Gaussian posteriors: spheres, balls, flows, codebooks, categories, levels."""
