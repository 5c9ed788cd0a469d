"""The Merkle tree of RFC 6962 section 2.1, built leaf by leaf, and its proofs (RFC 9162 sections 2.1.3 and 2.1.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from lineage.errors import VerificationError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]
"""Gives the root of the complete subtree over leaves [index << level, (index + 1) << level)."""


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over neighbouring subtree roots of one level; `hashes` may have any length."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        paired = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        if len(row) % 2:
            paired.append(row[-1])
        row = paired
    return row[0]


class Frontier:
    """The right edge of a growing tree: the roots of the complete subtrees, largest first.

    Memory is one hash for each set bit of `size`; appending costs one node hash on average.
    """

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if len(nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(nodes)}")
        self.size = size
        self.nodes = list(nodes)

    def append(self, leaf: bytes) -> None:
        """Add the next leaf's hash."""
        nodes = self.nodes
        size = self.size
        node = leaf
        while size & 1:
            node = sha256(b"\x01" + nodes.pop() + node).digest()
            size >>= 1
        nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self.nodes:
            return EMPTY_ROOT
        node = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            node = node_hash(left, node)
        return node


def range_root(start: int, end: int, node_at: NodeAt) -> bytes:
    """Return the root over leaves [start, end); `start` is a multiple of the smallest power of two that covers them."""
    parts = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(node_at(level, start >> level))
        start += 1 << level
    if not parts:
        return EMPTY_ROOT
    node = parts.pop()
    while parts:
        node = node_hash(parts.pop(), node)
    return node


def inclusion_path(index: int, size: int, node_at: NodeAt) -> list[bytes]:
    """Return the hashes from the leaf at `index` up to the root of the first `size` leaves (RFC 9162 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, node_at))
            end = middle
        else:
            path.append(range_root(start, middle, node_at))
            start = middle
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise VerificationError unless the leaf's hash is at `index` under the root (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        raise VerificationError(f"the proof speaks of leaf {index} in a tree of {size}")
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            raise VerificationError("the inclusion proof is too long")
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        index >>= 1
        last >>= 1
    if last != 0 or node != root:
        raise VerificationError("the inclusion proof does not lead to the root")


def consistency_path(old: int, new: int, node_at: NodeAt) -> list[bytes]:
    """Return the proof that the first `old` leaves are a prefix of the first `new` (RFC 9162 2.1.4.1)."""
    if not 0 < old <= new:
        raise ValueError(f"there is no consistency proof from {old} to {new} leaves")
    path: list[bytes] = []
    start, end, complete = 0, new, True
    while old - start != end - start:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_root(middle, end, node_at))
            end = middle
        else:
            path.append(range_root(start, middle, node_at))
            start = middle
            complete = False
    if not complete:
        path.append(range_root(start, end, node_at))
    path.reverse()
    return path


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise VerificationError unless the tree of `new` leaves extends the one of `old` (RFC 9162 2.1.4.2)."""
    if not 0 < old <= new:
        raise VerificationError(f"there is no consistency proof from {old} to {new} leaves")
    if old == new:
        if path or old_root != new_root:
            raise VerificationError("two different roots are claimed for the same size")
        return
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise VerificationError("the consistency proof is empty")
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    left = right = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise VerificationError("the consistency proof is too long")
        if first & 1 or first == last:
            left = node_hash(sibling, left)
            right = node_hash(sibling, right)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            right = node_hash(right, sibling)
        first >>= 1
        last >>= 1
    if last != 0 or left != old_root or right != new_root:
        raise VerificationError("the consistency proof does not connect the two roots")


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1
