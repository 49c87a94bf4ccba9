"""Read the pickle of a state dict without running or hashing what it contains.

`torch.load` refuses code, but builds any structure: a key of 60 nested tuples is hashed 2⁶⁰ times
while it holds the interpreter's lock. This reader has a fixed cost per opcode, and its only objects
are numbers, texts, lists, tuples, dictionaries by text, and descriptions of tensors.
"""

import pickletools
from typing import IO, Final

from worker.models.engines.torch.pickle_machine import PickleMachine
from worker.models.engines.torch.pickle_objects import Refused, Storage

MAX_OPCODES: Final = 300_000
"""ISNet with the state of its optimizer has some 70,000."""


class StatePickle:
    """Reads the pickles of one stream, one after the other."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._opcodes = 0
        self.storages: dict[str, Storage] = {}
        """Every storage that was named, by its key."""

    def read(self) -> object:
        """Return the next object of the stream.

        Raises `Refused`, and for damaged bytes `ValueError`, `IndexError`, `KeyError`, `TypeError`
        or `AttributeError`.
        """
        machine = PickleMachine(self.storages)
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._opcodes += 1
            if self._opcodes > MAX_OPCODES:
                raise Refused(f"more than {MAX_OPCODES:,} opcodes")
            machine.run(opcode.name, argument)
        return machine.stack.pop()
