"""Figures of the chapters, a module each. They take tidy data and return a matplotlib Figure; none computes a score.

Figures carry no titles: the caption in the chapter speaks, and its numbers come from result files.
"""
