"""The stack machine of pickles, for the opcodes that a state dict needs."""

from collections.abc import Mapping
from typing import Any, Final

from worker.models.engines.torch.pickle_objects import (
    OTHER,
    Names,
    Other,
    Refused,
    Storage,
    call,
    named,
    storage_of,
)

_MAX_MEMO: Final = 2**31
_CONSTANTS: Final[Mapping[str, object]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES: Final = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING
    BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8""".split()  # noqa: SIM905 - a list of 20 strings reads worse
)


class PickleMachine:
    """Runs the opcodes of one pickle. Each costs a time that its own length bounds."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        """`storages` collects every storage that is named, by its key."""
        self.stack: list[Any] = []
        self._below_marks: list[list[Any]] = []
        self._memo: dict[int, object] = {}
        self._storages = storages

    def run(self, name: str, argument: Any) -> None:
        """Run the opcode with this name in `pickletools`.

        Raises `Refused`, and for damaged bytes `ValueError`, `IndexError`, `KeyError` or
        `TypeError`.
        """
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        elif (method := getattr(self, f"_{name.lower()}", None)) is not None:
            method(argument)
        else:
            raise Refused(f"the opcode {name}")

    def _mark(self, _: None) -> None:
        self._below_marks.append(self.stack)
        self.stack = []

    def _pop_mark(self, _: None) -> list[Any]:
        items, self.stack = self.stack, self._below_marks.pop()
        return items

    def _pop(self, _: None) -> None:
        self.stack.pop()

    def _dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    # The memo; `MEMOIZE` numbers its entries itself.

    def _put(self, index: int) -> None:
        # Indices far apart could be chosen to collide in a dictionary.
        if not 0 <= index < _MAX_MEMO:
            raise Refused("a number of the memo that is too large")
        self._memo[index] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def _get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    _binget = _long_binget = _get

    # Containers.

    def _empty_tuple(self, _: None) -> None:
        self.stack.append(())

    def _tuple(self, _: None) -> None:
        items = self._pop_mark(None)
        self.stack.append(tuple(items))

    def _tuple1(self, _: None) -> None:
        self._tuple_of(1)

    def _tuple2(self, _: None) -> None:
        self._tuple_of(2)

    def _tuple3(self, _: None) -> None:
        self._tuple_of(3)

    def _tuple_of(self, length: int) -> None:
        if len(self.stack) < length:
            raise IndexError("the stack is empty")
        items = tuple(self.stack[-length:])
        del self.stack[-length:]
        self.stack.append(items)

    def _empty_list(self, _: None) -> None:
        self.stack.append([])

    def _list(self, _: None) -> None:
        items = self._pop_mark(None)
        self.stack.append(items)

    def _append(self, _: None) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: None) -> None:
        self._extend(self._pop_mark(None))

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Other):
            raise Refused("a list that is not a list")

    def _empty_dict(self, _: None) -> None:
        self.stack.append(Names())

    def _dict(self, _: None) -> None:
        items = self._pop_mark(None)
        self.stack.append(Names())
        self._set(items)

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _setitems(self, _: None) -> None:
        self._set(self._pop_mark(None))

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Names):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target.put(key, value)
        elif not isinstance(target, Other):
            raise Refused("a dictionary that is not a dictionary")

    def _empty_set(self, _: None) -> None:
        self.stack.append(OTHER)

    def _additems(self, _: None) -> None:
        self._extend(self._pop_mark(None))

    def _frozenset(self, _: None) -> None:
        self._pop_mark(None)
        self.stack.append(OTHER)

    # Functions, of which none is called.

    def _global(self, name: str) -> None:
        self.stack.append(named(*name.split(" ", 1)))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(named(module, name))

    def _reduce(self, _: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(call(function, arguments))

    _newobj = _reduce

    def _build(self, _: None) -> None:
        """Drop an object's attributes, such as `_metadata` of a state dict."""
        self.stack.pop()

    def _binpersid(self, _: None) -> None:
        storage = storage_of(self.stack.pop())
        if self._storages.setdefault(storage.key, storage) != storage:
            raise Refused("a storage of two kinds")
        self.stack.append(storage)
