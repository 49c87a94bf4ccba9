"""Checkpoints that cost more than their size, and those that hold anything but dense tensors."""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import Final

import torch
from safetensors.torch import save

from tests.support.hostile.file import INVALID, HostileFile

LEVELS: Final = 60
FAR: Final = 2**40

# Opcodes that do not come from pickling an object; `Q` is the index of a memo's entry.
MARK, STOP, DICT, LIST, SETITEM, SETITEMS = b"(", b".", b"}", b"]", b"s", b"u"
PROTO: Final = b"\x80\x02"


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def text(words: str) -> bytes:
    data = words.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = value.to_bytes(12, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def function(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def storage(elements: int, *, kind: str = "FloatStorage", key: str = "0") -> bytes:
    parts = text("storage"), function(f"torch.{kind}"), text(key), text("cpu"), number(elements)
    return MARK + b"".join(parts) + b"tQ"


def tensor(
    size: tuple[int, ...],
    stride: tuple[int, ...],
    *,
    elements: int = 4,
    offset: int = 0,
    rebuild: str = "torch._utils._rebuild_tensor_v2",
    **facts: str,
) -> bytes:
    sides, steps = (MARK + b"".join(map(number, item)) + b"t" for item in (size, stride))
    hooks = function("collections.OrderedDict") + b")R"
    parts = storage(elements, **facts), number(offset), sides, steps, b"\x89", hooks
    return function(rebuild) + MARK + b"".join(parts) + b"tR"


def entry(key: bytes, value: bytes = b"N") -> bytes:
    """Return the pickle of a dictionary with one entry."""
    return PROTO + DICT + key + value + SETITEM + STOP


def nested_tuples(first: bytes = b"K\1") -> bytes:
    """Return a tuple of the same tuple twice, and so on; its hash takes 2⁶⁰ steps."""
    return first + b"".join(put(n) + get(n) + b"\x86" for n in range(LEVELS))


def archive(
    content: bytes,
    records: Mapping[str, bytes] | None = None,
    *,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return the zip file of a checkpoint with this pickle."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as file:
        file.writestr("own/data.pkl", content)
        file.writestr("own/version", b"3\n")
        for name, data in (records or {"own/data/0": bytes(16)}).items():
            file.writestr(name, data)
    return held.getvalue()


def legacy(content: bytes, keys: list[str], storages: bytes) -> bytes:
    """Return a checkpoint in the format before PyTorch 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    return b"".join(head) + content + pickle.dumps(keys, 2) + storages


def pickles() -> Iterator[tuple[str, bytes]]:
    """Yield pickles that `torch.load` reads slowly, into much memory, or not at all."""
    tuples = nested_tuples()
    yield "key", entry(tuples)
    yield "key-inside", entry(text("state_dict"), DICT + tuples + b"N" + SETITEM)
    yield "key-optimizer", entry(text("optimizer"), DICT + tuples + b"N" + SETITEM)
    yield "key-of-texts", entry(nested_tuples(text("a")))
    yield "key-frozenset", PROTO + DICT + MARK + tuples + b"\x91N" + SETITEM + STOP
    yield "set", PROTO + b"\x8f" + MARK + tuples + b"\x90" + STOP
    yield "set-by-name", PROTO + function("builtins.set") + LIST + tuples + b"a\x85R" + STOP
    yield "value", entry(text("conv_in.weight"), tuples)
    yield "counter", PROTO + function("collections.Counter") + DICT + tuples + b"Ns\x85R" + STOP
    state = PROTO + function("collections.OrderedDict") + b")R" + DICT + tuples + b"Nsb" + STOP
    yield "attributes", state
    shape = function("torch._utils._rebuild_tensor_v2") + MARK + storage(4) + number(0)
    broken = shape + tuples + tuples + b"\x89" + DICT + b"tR"
    yield "shape", entry(text("conv_in.weight"), broken)
    yield "storage-key", entry(text("w"), tensor((4,), (1,), key="k" * 10**6))
    itself = PROTO + DICT + put(0) + text("state_dict") + get(0) + SETITEM + STOP
    yield "itself", itself
    lists = LIST + b"".join(put(n) + LIST + get(n) + b"a" + get(n) + b"a" for n in range(LEVELS))
    yield "lists", entry(text("conv_in.weight"), lists)
    yield "deep", entry(text("w"), LIST * 400_000)
    yield "marks", PROTO + MARK * 400_000
    yield "opcodes", PROTO + b"N0" * 200_000 + b"}" + STOP
    items = b"".join(number(n * (2**61 - 1)) + b"N" for n in range(60_000))
    yield "colliding-keys", PROTO + DICT + MARK + items + SETITEMS + STOP
    memo = b"".join(b"p%d\n" % (n * (2**61 - 1)) for n in range(60_000))
    yield "colliding-memo", PROTO + DICT + memo + STOP
    long = b"X" + struct.pack("<I", 2**20) + b"n" * 2**20
    yield "long-name", PROTO + DICT + long + tensor((4,), (1,)) + SETITEM + STOP
    yield "long-text", PROTO + b"X" + struct.pack("<I", 2**32 - 1) + b"short"
    yield "text-8", PROTO + b"\x8d" + struct.pack("<Q", 2**62) + b"short"
    yield "bytes-8", PROTO + b"\x8e" + struct.pack("<Q", 2**62) + b"short"
    yield "bytearray", PROTO + b"\x96" + struct.pack("<Q", 2**40) + b"short"
    yield "long-4", PROTO + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"short"
    yield "large-number", entry(text("w"), b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6)
    yield "decimal", entry(text("w"), b"L" + b"9" * 10**6 + b"L\n")
    yield "pairs", PROTO + function("collections.OrderedDict") + LIST + b"\x85R" + STOP
    yield "extension", PROTO + b"\x82\x01" + STOP
    yield "instance", PROTO + b"(ios\nsystem\n" + STOP
    yield "empty", b""
    yield "no-end", PROTO + DICT
    yield "no-stack", PROTO + SETITEM + STOP
    yield "reference", PROTO + get(7) + STOP
    yield "code", PROTO + function("os.system") + text("true") + b"\x85R" + STOP
    hidden = text("posix") + text("system") + b"\x93" + text("true") + b"\x85R" + STOP
    yield "code-stacked", b"\x80\x04" + hidden


def tensors() -> Iterator[tuple[str, bytes]]:
    """Yield pickles with a tensor of a strange shape or kind; storage 0 has four numbers."""
    shape = (64, 3, 3, 3)
    steps = (27, 9, 3, 1)
    yield "expanded", tensor((10**6, 10**6), (0, 0))
    yield "larger", tensor(shape, steps, elements=1728)
    yield "outside", tensor((4,), (1,), offset=2**40)
    yield "far", tensor((2, 2), (FAR, 1), elements=2**47)
    yield "negative", tensor((-1, 4), (1, 1))
    yield "negative-offset", tensor((4,), (1,), offset=-(2**40))
    yield "negative-stride", tensor((4,), (-1,))
    yield "negative-storage", tensor((4,), (1,), elements=-4)
    yield "huge-side", tensor((2**62, 2**62), (1, 1))
    yield "axes", tensor((1,) * 100_000, (1,) * 100_000)
    yield "axes-differ", tensor((4,), (1, 1))
    yield "complex", tensor((4,), (1,), kind="ComplexFloatStorage")
    yield "quantised", tensor((4,), (1,), kind="QInt8Storage")
    yield "no-record", tensor((4,), (1,), key="7")
    yield "path", tensor((4,), (1,), key="../../etc/passwd")
    yield "meta", tensor((4,), (1,), rebuild="torch._utils._rebuild_meta_tensor_no_storage")
    yield "sparse", tensor((4,), (1,), rebuild="torch._utils._rebuild_sparse_tensor")


def attacks() -> Iterator[HostileFile]:
    for name, content in pickles():
        yield HostileFile(f"checkpoint/{name}.pth", archive(content), INVALID)
        yield HostileFile(f"checkpoint/legacy-{name}.pth", legacy(content, [], b""), INVALID)
    for name, view in tensors():
        content = entry(text("conv_in.weight"), view)
        yield HostileFile(f"checkpoint/tensor-{name}.pth", archive(content), INVALID)
    plain = entry(text("conv_in.weight"), tensor((4,), (1,)))
    for length in (-1, FAR, 2**62):
        name = f"checkpoint/legacy-length-{length}.pth"
        data = struct.pack("<q", length) + bytes(16)
        yield HostileFile(name, legacy(plain, ["0"], data), INVALID)
    yield HostileFile("checkpoint/legacy-repeated.pth", legacy(plain, ["0"] * 10**5, b""), INVALID)
    yield from archives(plain)
    yield from headers()


def archives(plain: bytes) -> Iterator[HostileFile]:
    """Yield zip files that are bombs, or that two readers could read differently."""
    make = HostileFile
    packed = zipfile.ZIP_DEFLATED
    bomb = {"own/data/0": bytes(20_000_000)}
    yield make("checkpoint/zip-bomb.pth", archive(plain, bomb, compression=packed), INVALID)
    long = PROTO + b"N0" * 5_000_000
    yield make("checkpoint/zip-pickle-bomb.pth", archive(long, compression=packed), INVALID)
    yield make("checkpoint/zip-long-pickle.pth", archive(PROTO + b"N0" * 2_200_000), INVALID)
    many = {f"own/data/{n:01000}": b"" for n in range(4_500)}  # A directory of 4.7 MB.
    yield make("checkpoint/zip-records.pth", archive(plain, many), INVALID)
    two = {"own/data/0": bytes(16), "other/data.pkl": plain}
    yield make("checkpoint/zip-two-pickles.pth", archive(plain, two), INVALID)
    yield make("checkpoint/zip-none.pth", archive(plain).replace(b"data.pkl", b"date.pkl"), INVALID)
    twice = archive(plain, {"own/data/0": bytes(16), "own/data/1": bytes(16)})
    yield make("checkpoint/zip-twice.pth", twice.replace(b"data/1", b"data/0"), INVALID)
    big = {"own/data/0": bytes(16), "own/byteorder": b"big"}
    yield make("checkpoint/zip-big-endian.pth", archive(plain, big), INVALID)
    directory = bytearray(archive(plain))
    place = directory.rindex(b"PK\1\2")
    directory[place + 42 : place + 46] = b"\xff\xff\xff\x7f"
    yield make("checkpoint/zip-outside.pth", bytes(directory), INVALID)
    directory[place + 42 : place + 46] = bytes(4)
    yield make("checkpoint/zip-overlapping.pth", bytes(directory), INVALID)
    script = {"own/data/0": bytes(16), "own/constants.pkl": plain, "own/code/a.py": b"pass"}
    yield make("checkpoint/zip-script.pth", archive(plain, script), INVALID)


def headers() -> Iterator[HostileFile]:
    """Yield safetensors files whose header lies."""

    def make(name: str, header: bytes, data: bytes = bytes(16), length: int = 0) -> HostileFile:
        content = struct.pack("<Q", length or len(header)) + header + data
        return HostileFile(f"checkpoint/{name}.safetensors", content, INVALID)

    def one(shape: str, offsets: str = "[0,16]", dtype: str = "F32") -> bytes:
        return f'{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}'.encode()

    yield make("header-length", one("[4]"), length=2**63)
    yield make("header-beyond", one("[4]"), length=10**6)
    yield make("header-long", one("[4]").ljust(20_000_000))
    yield make("header-deep", b'{"w":' + b"[" * 1_000_000)
    yield make("header-text", b"[1, 2]")
    yield make("header-empty", b"")
    yield make("shape-huge", one(f"[{2**62},{2**62}]"))
    yield make("shape-negative", one("[-1,4]"))
    yield make("shape-nothing", one(f"[0,{2**62}]", "[0,0]"), b"")
    yield make("offsets-beyond", one(f"[{2**30}]", f"[0,{2**32}]"))
    yield make("offsets-backwards", one("[4]", "[16,0]"))
    yield make("type", one("[4]", dtype="F33"))
    pair = one("[4]")[:-1] + b"," + one("[4]").replace(b'"w"', b'"v"')[1:]
    yield make("overlapping", pair)
    whole_file = save({"w": torch.zeros(4)})
    yield HostileFile("checkpoint/cut.safetensors", whole_file[:-8], INVALID)
