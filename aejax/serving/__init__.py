"""A trained run behind HTTP: its operations as endpoints, their description, and pages for people (extra `serve`).

In: a Trained model, a place to listen. Out: answers in JSON and npy, pages that load nothing from the network.
Imports: base, compat, inference.
"""
