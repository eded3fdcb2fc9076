"""Layers, losses and an optimizer that are fast on every backend."""
