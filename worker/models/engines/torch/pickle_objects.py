"""The objects in the pickle of a state dict, and the functions that it may name."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

MAX_NAME: Final = 1024
"""Characters of a name in a dictionary; a longer one counts as another key."""
_MAX_GLOBAL: Final = 100
"""Characters of the name of a function, a class or a storage."""
_MAX_AXES: Final = 8
_MAX_NUMBER: Final = 2**48
"""Of an offset, a side or a stride."""


class Refused(Exception):
    """The pickle contains what a state dict does not need; the text says what."""


class Code(Refused):
    """The pickle names a function or class, which could run code; the text is its name."""


class Storage(NamedTuple):
    """A one-dimensional array in the file."""

    kind: str
    """The name of torch's class, such as `FloatStorage`."""
    key: str
    elements: int


class StoredTensor(NamedTuple):
    """A view of a storage, of at most 8 axes and with numbers of 0 to 2⁴⁸; it may not lie in it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Names(dict[str, object]):
    """A dictionary without the entries whose keys are not short texts, which are only counted."""

    __slots__ = ("other_keys",)

    def __init__(self) -> None:
        super().__init__()
        self.other_keys = 0

    def put(self, key: object, value: object) -> None:
        """Set an entry; a tuple or another object is never hashed as a key."""
        if isinstance(key, str) and len(key) <= MAX_NAME:
            self[key] = value
        else:
            self.other_keys += 1


class Other:
    """Any object that is valid in a checkpoint but is not read, such as a set or a dtype."""


class Global(NamedTuple):
    """The name of a function or class, which is never imported."""

    name: str


OTHER: Final = Other()
_PATHS: Final = ("Path", "PosixPath", "WindowsPath")
_BUILTINS: Final = ("list", "dict", "complex", "slice", "range", "xrange", "frozenset")
_UNREAD: Final = frozenset(
    {
        *(f"torch.{name}" for name in ("Size", "device", "Tensor", "strided", "sparse_coo")),
        *(f"torch.{kind}{bits}" for kind in ("int", "float") for bits in (16, 32, 64)),
        *("torch.int8", "torch.uint8", "torch.bool", "torch.bfloat16", "torch.half", "torch.float"),
        *(f"torch.{name}" for name in ("uint16", "uint32", "uint64", "complex64", "complex128")),
        *(f"torch.{name}" for name in ("qint8", "quint8", "float8_e4m3fn", "float8_e5m2")),
        *("torch.long", "torch.int", "torch.short", "torch.double"),
        *("torch.serialization._get_layout", "torch.nn.parameter.Parameter"),
        *("torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor"),
        *("torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_meta_tensor_no_storage"),
        *("torch._utils._rebuild_parameter_with_state", "torch._tensor._rebuild_from_type_v2"),
        *("torch.per_tensor_affine", "torch.per_channel_affine"),
        *("builtins.set", "__builtin__.set", "builtins.bytearray", "__builtin__.bytearray"),
        *("collections.Counter", "_codecs.encode"),
        # What trainers keep beside the network: counts, losses, arguments, paths and dates.
        *(f"numpy.{name}" for name in ("dtype", "ndarray", "bool_", "bool")),
        *(f"numpy.{kind}{bits}" for kind in ("int", "float") for bits in (16, 32, 64)),
        *(
            f"numpy.{core}.multiarray.{name}"
            for core in ("core", "_core")
            for name in ("scalar", "_reconstruct")
        ),
        *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(f"pathlib.{kind}{name}" for kind in ("", "Pure") for name in _PATHS),
        *(f"pathlib._local.{kind}{name}" for kind in ("", "Pure") for name in _PATHS),
        *("argparse.Namespace", "types.SimpleNamespace", "collections.deque", "uuid.UUID"),
        "decimal.Decimal",
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _BUILTINS),
    }
)
"""What else a checkpoint may name: values without code, none of which is read."""


def _rebuild(arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, size, stride = arguments[:4]
    if not (isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)):
        raise Refused("a tensor that is not rebuilt from a storage")
    if len(size) != len(stride) or len(size) > _MAX_AXES:
        raise Refused(f"a tensor of {len(size):,} axes")
    if any(arguments[6:]):
        raise Refused("a conjugate or negative view")
    if not all(type(n) is int and 0 <= n < _MAX_NUMBER for n in (offset, *size, *stride)):
        raise Refused("a tensor with an invalid shape")
    return StoredTensor(storage, offset, size, stride)


def _ordered_dict(arguments: tuple[Any, ...]) -> Names:
    if arguments:
        raise Refused("a dictionary in the form of Python 2")
    return Names()


_FUNCTIONS: Final[Mapping[str, Callable[[tuple[Any, ...]], object]]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": lambda _: Names(),
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_parameter": lambda arguments: arguments[0],
}


def named(module: object, name: object) -> Global:
    """Return a function or class by its names; raise `Code` unless a checkpoint may name it."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused("a function without a name")
    if len(module) + len(name) > _MAX_GLOBAL:
        raise Refused("a function with a long name")
    full = f"{module}.{name}"
    is_storage = module in ("torch", "torch.storage") and name.endswith("Storage")
    if not is_storage and full not in _FUNCTIONS and full not in _UNREAD:
        raise Code(full)
    return Global(full)


def call(function: object, arguments: object) -> object:
    """Return what a function would return, without calling it."""
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise Refused("a call of something that is not a function")
    if function.name not in _FUNCTIONS:
        return OTHER
    return _FUNCTIONS[function.name](arguments)


def storage_of(identity: object) -> Storage:
    """Return the storage behind a persistent id: `storage`, kind, key, place, elements, view."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
        raise Refused("a reference that is not to a storage")
    name, kind, key, _, elements = identity[:5]
    if name != "storage" or not isinstance(kind, Global) or any(identity[5:]):
        raise Refused("a reference that is not to a storage")
    if not isinstance(key, str) or len(key) > _MAX_GLOBAL or type(elements) is not int:
        raise Refused("a storage without a key or a length")
    return Storage(kind.name.rpartition(".")[2], key, elements)
