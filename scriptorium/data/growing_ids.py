"""Ids that are written once, piece by piece, into memory or, if there are many, into a file."""

import tempfile

import numpy as np

# Beyond this many, ids go to a memory-mapped file, so that a corpus may be larger than memory.
IDS_IN_MEMORY = 16_000_000


class GrowingIds:
    """An array of ids that grows at its end.

    Args:
        vocab_size: int; an id takes the fewest bytes that hold so many.
        smallest: the least type of an id, as the name of a numpy dtype.
    """

    def __init__(self, vocab_size, smallest="uint8"):
        fits = [kind for kind in ("uint8", "uint16") if vocab_size <= np.iinfo(kind).max]
        self.dtype = np.promote_types(fits[0], smallest) if fits else np.dtype("int32")
        self._recent, self._file, self._written = bytearray(), None, 0

    def __len__(self):
        return self._written + len(self._recent) // self.dtype.itemsize

    def extend(self, ids):
        """Appends ids, integers (n,)."""
        self._recent += np.asarray(ids, self.dtype).tobytes()
        if len(self._recent) > IDS_IN_MEMORY * self.dtype.itemsize:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 (it must stay open as long as the map)
            self._flush()

    def _flush(self):
        self._written = len(self)
        self._file.write(self._recent)
        self._file.flush()
        self._recent = bytearray()

    def finish(self):
        """Returns all ids, integers (length,), in memory or mapped from a file; nothing may be added afterward."""
        if self._file is None:
            return np.frombuffer(self._recent, self.dtype)
        self._flush()
        return np.memmap(self._file, self.dtype, "r")
