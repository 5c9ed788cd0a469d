"""The log writer as its clients see it."""

from __future__ import annotations

import asyncio

from lineage.paths import Paths
from lineage.reader import open_reader
from tests.support.logs import connect, data_directory, running_writer
from tests.support.records import intent


def test_an_acknowledged_record_can_be_read_at_its_index() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await connect(data_dir)
                records = [intent(1_000 + i) for i in range(300)]
                indexes = await asyncio.gather(*[client.append(record) for record in records])
                assert indexes == list(range(300))
                reader = open_reader(data_dir)
                assert reader.read(0, 1_000) == list(enumerate(records))
                assert Paths(data_dir).socket.stat().st_mode & 0o777 == 0o600
                reader.close()
                await client.close()

    asyncio.run(scenario())
