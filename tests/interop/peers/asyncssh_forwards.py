"""Forwards through a server with AsyncSSH: a direct connection, and a remote listener. The settings are the argument, in JSON."""

import asyncio
import hashlib
import json
import sys

import asyncssh

settings = json.loads(sys.argv[1])
SENT = bytes(i * 7 & 255 for i in range(1_000_000))


async def echoed(reader, writer):
    async def send():
        writer.write(SENT)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    got = b""
    while True:
        part = await reader.read(65536)
        if not part:
            break
        got += part
    await sending
    writer.close()
    return hashlib.sha256(got).digest() == hashlib.sha256(SENT).digest()


async def main():
    async with asyncssh.connect(
        "127.0.0.1", settings["port"], username="alice", known_hosts=None, client_keys=[settings["key"]], config=None
    ) as client:
        if await echoed(*await client.open_connection("127.0.0.1", settings["target"])):
            print("direct ok")
        listener = await client.forward_remote_port("127.0.0.1", 0, "127.0.0.1", settings["target"])
        port = listener.get_port()
        if await echoed(*await asyncio.open_connection("127.0.0.1", port)):
            print("remote ok")
        listener.close()
        await listener.wait_closed()
        try:
            await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            print("cancelled")


asyncio.run(main())
