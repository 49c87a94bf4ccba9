"""Decompression bombs: files that cost far more time to read than their pixels, by structure.

A parser in Python spends about a microsecond on each element, a decoder passes over the whole
picture for each scan, and neither can be interrupted. These modules therefore count beforehand what
a file would make them do. The limits are far above what encoders write; times in comments are for
one core of 2024.
"""
