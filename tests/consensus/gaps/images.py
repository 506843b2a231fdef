"""Files as a fault may leave them."""

PAGE = 4096


def page(image: bytes, at: int) -> bytes:
    """One page of a file, short or empty behind its end."""
    return image[at : at + PAGE]


def flip(image: bytes, at: int) -> bytes:
    """A file with one bit flipped."""
    return image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]
