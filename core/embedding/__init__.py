"""Texts to vectors, on this machine: nothing here sends a text anywhere, and importing it costs nothing."""
