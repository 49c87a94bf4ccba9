"""Decompression bombs: files that cost far more to read than their pixels, by structure.

A parser in Python spends about a microsecond on each element, a decoder passes over the whole
picture for each scan, and neither can be interrupted. These modules therefore count beforehand what
a file would make them do. The limits are far above what encoders write; times in comments are for
one core of 2024.

- Time: segments, chunks, blocks, tags and their values (`jpeg`, `png`, `gif`, `tiff`, `webp`),
  scans over the whole picture (`jpeg`), run lengths that Python decodes (`bmp`), tiles that are
  named many times (`heif`), steps of an ICC profile (`icc`).
- Memory: EXIF and all other metadata (`metadata`), sizes in the headers of the coded data of AVIF
  and HEIC instead of those in their boxes (`heif_coded`, `av1`, `hevc`), tiles larger than the
  picture (`tiff`), files that are long for their pixels (`webp`, `heif`).

`make hostile` measures what is left.
"""
