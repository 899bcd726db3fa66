"""Passes TCP connections on: `relay.py LISTEN:PORT TO:PORT`. Part of two_machines.sh; it makes a Hub on loopback reachable."""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def main(listen: str, to: str) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*to.split(":"))
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    server = await asyncio.start_server(accept, *listen.split(":"))
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:3]))
