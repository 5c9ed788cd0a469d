import os
from concurrent.futures import ThreadPoolExecutor

from lineage import chance


def test_pieces_are_sixteen_bytes_and_none_comes_twice_whatever_thread_takes_them():
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: [chance.sixteen() for _ in range(2_000)], range(8)))
    pieces = [piece for part in taken for piece in part]
    assert {len(piece) for piece in pieces} == {16}
    assert len(set(pieces)) == len(pieces)


def test_a_forked_process_gives_out_other_bytes_than_its_parent():
    chance.sixteen()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"".join(chance.sixteen() for _ in range(64)))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    theirs = os.read(reading, 4_096)
    os.close(reading)
    ours = {chance.sixteen() for _ in range(chance._DRAWN)}
    assert not ours & {theirs[at : at + 16] for at in range(0, len(theirs), 16)}
