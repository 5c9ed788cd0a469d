"""Merkle roots and proofs against a tree that is built naively from its definition (RFC 6962 section 2.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from lineage.tiles import TileTree, widths

LEAVES = [leaf_hash(b"%d" % number) for number in range(700)]
SIZES = st.integers(1, 700)


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def node_at(level: int, index: int) -> bytes:
    return naive_root(LEAVES[index << level : (index + 1) << level])


@given(st.integers(0, 700))
def test_every_way_to_the_root_gives_the_naive_one(size: int) -> None:
    root = naive_root(LEAVES[:size])
    frontier, tree = Frontier(), TileTree()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
        tree.append(leaf)
    assert frontier.root() == tree.root() == subtree_root(LEAVES[:size]) == range_root(0, size, node_at) == root
    stored = tree.open_tiles()
    tiles = [stored.get((level, full), b"") for level, (full, _) in enumerate(widths(size))]
    assert TileTree.restore(size, tiles).root() == root


@given(SIZES, st.integers(0, 699))
def test_an_inclusion_proof_leads_to_the_naive_root(size: int, place: int) -> None:
    index = place % size
    path = inclusion_path(index, size, node_at)
    verify_inclusion(LEAVES[index], index, size, path, naive_root(LEAVES[:size]))


@given(SIZES, SIZES)
def test_a_consistency_proof_connects_the_naive_roots(one: int, other: int) -> None:
    old, new = sorted((one, other))
    path = consistency_path(old, new, node_at)
    verify_consistency(old, new, path, naive_root(LEAVES[:old]), naive_root(LEAVES[:new]))


@given(SIZES, st.integers(0, 699), st.integers(0, 10**6), st.integers(0, 255))
def test_a_proof_with_any_other_byte_fails(size: int, place: int, where: int, bit: int) -> None:
    index = place % size
    path = inclusion_path(index, size, node_at)
    if not path:
        return
    position = where % len(path)
    changed = bytearray(path[position])
    changed[bit % 32] ^= 1 << bit % 8
    path[position] = bytes(changed)
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[index], index, size, path, naive_root(LEAVES[:size]))


@given(SIZES, st.integers(0, 699), st.integers(0, 699))
def test_a_leaf_is_not_proved_at_another_place(size: int, place: int, other: int) -> None:
    index, claimed = place % size, other % size
    if index != claimed:
        with pytest.raises(VerificationError):
            verify_inclusion(
                LEAVES[index], claimed, size, inclusion_path(index, size, node_at), naive_root(LEAVES[:size])
            )


@given(SIZES, SIZES)
def test_a_rewritten_prefix_is_not_consistent(one: int, other: int) -> None:
    old, new = sorted((one, other))
    forged = [leaf_hash(b"forged"), *LEAVES[1:old]]
    with pytest.raises(VerificationError):
        verify_consistency(old, new, consistency_path(old, new, node_at), naive_root(forged), naive_root(LEAVES[:new]))
