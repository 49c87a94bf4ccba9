"""`make audit` names each Python and platform that a pinned package has no wheel for."""

from typing import Any

import pytest

from deploy.wheels import PYTHONS, Gap, find_gaps, table


def package(*files: str) -> dict[str, Any]:
    return {"name": "a", "wheels": [{"url": f"https://files.example/x/{file}"} for file in files]}


def gaps(*files: str) -> set[tuple[str, str]]:
    found = find_gaps([package(*files)])
    return {(".".join(map(str, gap.python)), gap.platform) for gap in found}


@pytest.mark.parametrize("file", ["a-1-py3-none-any.whl", "a-1-py2.py3-none-any.whl"])
def test_a_pure_wheel_has_no_gap(file: str) -> None:
    assert gaps(file) == set()


def test_a_stable_abi_serves_later_pythons_of_its_platform() -> None:
    files = [
        "a-1-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "a-1-cp312-abi3-macosx_11_0_universal2.whl",
        *(f"a-1-cp3{minor}-cp3{minor}-manylinux_2_28_aarch64.whl" for minor in range(11, 14)),
    ]
    assert gaps(*files) == {("3.11", "macos-arm64"), ("3.14", "linux-aarch64")}


@pytest.mark.parametrize(
    "file",
    [
        "a-1-cp311-cp311-manylinux_2_38_x86_64.whl",  # newer than the oldest glibc
        "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
        "a-1-cp311-cp311-macosx_15_0_arm64.whl",
        "a-1-cp311-cp311-macosx_11_0_x86_64.whl",
        "a-1-cp314-cp314t-manylinux_2_28_x86_64.whl",
        "a-1-cp311-cp311-win_amd64.whl",
    ],
)
def test_a_wheel_for_another_machine_closes_no_gap(file: str) -> None:
    assert len(gaps(file)) == 3 * len(PYTHONS)


def test_a_package_with_source_alone_is_a_gap() -> None:
    assert len(list(find_gaps([{"name": "a", "sdist": {}}]))) == 3 * len(PYTHONS)


def test_the_table_says_which_pythons_lack_a_wheel_and_why() -> None:
    found = [Gap("b", (3, 13), "macos-arm64"), Gap("b", (3, 14), "macos-arm64")]
    lines = list(table([*found, Gap("atheris", (3, 14), "linux-x86_64")], count=7))
    assert lines[0].startswith("7 packages")
    assert lines[-2:] == [
        "| atheris | 3.14 | – | – | `make fuzz` alone |",
        "| b | – | – | 3.13, 3.14 | unknown |",
    ]
