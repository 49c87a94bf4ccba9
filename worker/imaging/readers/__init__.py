"""From encoded files to pixels as stored: one reader for each kind of file, whatever the depth.

PNG of 16 bits and TIFF are read by libvips, everything else by Pillow. All readers give the same:
a `StoredImage`.
"""
