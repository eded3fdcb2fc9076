"""Logits to text: sampling, beam search, and continuing a text."""
