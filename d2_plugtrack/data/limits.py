"""How large numbers in annotation files may be, the same for XML, lists and JSON."""

LARGE = 2**31 - 1  # what sizes, lengths and frame numbers are below: they are kept in 32 bits
FAR = 1e9  # pixels; what coordinates are below, as NaN and infinity are not
MAX_PIXELS = 178_956_970  # of an image: Pillow opens none that has more
