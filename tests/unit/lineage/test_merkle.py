"""The Merkle tree against the known answers of RFC 6962's reference implementation."""

from __future__ import annotations

from hashlib import sha256

import pytest

from lineage.errors import VerificationError
from lineage.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    range_root,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def node_at(level: int, index: int) -> bytes:
    return subtree_root(HASHES[index << level : (index + 1) << level])


def test_the_root_of_no_leaves_is_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier().root() == subtree_root([]) == range_root(0, 0, node_at) == EMPTY_ROOT


def test_leaves_and_nodes_are_hashed_apart() -> None:
    assert leaf_hash(b"ab") == sha256(b"\x00ab").digest()
    assert node_hash(b"a", b"b") == sha256(b"\x01ab").digest()


def test_the_frontier_has_the_known_roots() -> None:
    frontier = Frontier()
    for size, root in enumerate(ROOTS, 1):
        frontier.append(HASHES[size - 1])
        assert frontier.root() == root
        assert frontier.size == size
        assert len(frontier.nodes) == size.bit_count()
        assert subtree_root(HASHES[:size]) == range_root(0, size, node_at) == root


@pytest.mark.parametrize("size", range(9))
def test_a_frontier_goes_on_from_its_nodes(size: int) -> None:
    first = Frontier()
    for leaf in HASHES[:size]:
        first.append(leaf)
    second = Frontier(first.size, first.nodes)
    for leaf in HASHES[size:]:
        second.append(leaf)
    assert second.root() == ROOTS[7]


def test_a_frontier_of_the_wrong_number_of_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="complete subtrees"):
        Frontier(3, [ROOTS[0]])


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_inclusion_paths_are_the_known_ones(index: int, size: int, path: list[str]) -> None:
    assert [node.hex() for node in inclusion_path(index, size, node_at)] == path
    verify_inclusion(HASHES[index], index, size, [bytes.fromhex(node) for node in path], ROOTS[size - 1])


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_consistency_paths_are_the_known_ones(old: int, new: int, path: list[str]) -> None:
    assert [node.hex() for node in consistency_path(old, new, node_at)] == path
    verify_consistency(old, new, [bytes.fromhex(node) for node in path], ROOTS[old - 1], ROOTS[new - 1])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_inclusion_path_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_path(index, size, node_at)
    with pytest.raises(VerificationError):
        verify_inclusion(HASHES[0], index, size, [], ROOTS[0])


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 1)])
def test_there_is_no_consistency_path_between_impossible_sizes(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="no consistency"):
        consistency_path(old, new, node_at)
    with pytest.raises(VerificationError):
        verify_consistency(old, new, [], ROOTS[0], ROOTS[0])


def test_an_inclusion_proof_fails_for_everything_but_its_own_claim() -> None:
    path = inclusion_path(4, 7, node_at)
    root = ROOTS[6]
    verify_inclusion(HASHES[4], 4, 7, path, root)
    wrong = [
        (HASHES[3], 4, 7, path, root),
        (HASHES[4], 3, 7, path, root),
        (HASHES[4], 4, 7, path[:-1], root),
        (HASHES[4], 4, 7, [*path, path[0]], root),
        (HASHES[4], 4, 7, path[::-1], root),
        (HASHES[4], 4, 7, path, ROOTS[5]),
        (HASHES[4], 4, 7, [], root),
    ]
    for claim in wrong:
        with pytest.raises(VerificationError):
            verify_inclusion(*claim)


def test_a_consistency_proof_fails_for_everything_but_its_own_claim() -> None:
    path = consistency_path(3, 7, node_at)
    old, new = ROOTS[2], ROOTS[6]
    verify_consistency(3, 7, path, old, new)
    wrong = [
        (3, 7, path, new, old),
        (4, 7, path, old, new),
        (3, 7, path[:-1], old, new),
        (3, 7, [*path, path[0]], old, new),
        (3, 7, [], old, new),
        (3, 3, path, old, old),
        (3, 3, [], old, new),
    ]
    for claim in wrong:
        with pytest.raises(VerificationError):
            verify_consistency(*claim)
