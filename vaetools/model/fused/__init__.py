"""Graphs that are assembled from those of a model when they are opened.

A model is stored as small graphs with one subject each. What a device computes in one go is one graph
here, so that only small tensors cross to it and back, and nothing between two graphs runs in Python.
"""
