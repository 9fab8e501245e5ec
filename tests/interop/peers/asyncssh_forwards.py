"""Forwards through a server with AsyncSSH: connections and listeners to ports and Unix sockets, local and dynamic forwards, and a second
server through it. The settings are the argument, in JSON: port, key, target and unix_target, what gives everything back; folder; addresses,
pairs of an address to listen at and one where that is reached; second, the other server's port."""

import asyncio
import hashlib
import json
import sys

import asyncssh

settings = json.loads(sys.argv[1])
SENT = bytes(i * 7 & 255 for i in range(200_000))
LOGIN = {"username": "alice", "known_hosts": None, "client_keys": [settings["key"]], "config": None}


def done(what):
    print(what, flush=True)


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


async def refused(opening):
    try:
        await opening
    except OSError:
        return True
    return False


async def main():
    host, target = "127.0.0.1", settings["target"]
    async with asyncssh.connect(host, settings["port"], **LOGIN) as client:
        if await echoed(*await client.open_connection(host, target)):
            done("direct")
        if await echoed(*await client.open_unix_connection(settings["unix_target"])):
            done("direct unix")
        for address, reached in settings["addresses"]:
            listener = await client.forward_remote_port(address, 0, host, target)
            port = listener.get_port()
            if await echoed(*await asyncio.open_connection(reached, port)):
                done(f"remote {address}")
            listener.close()
            await listener.wait_closed()
            if await refused(asyncio.open_connection(reached, port)):
                done("cancelled")
        path = settings["folder"] + "/asyncssh"
        listener = await client.forward_remote_path(path, settings["unix_target"])
        if await echoed(*await asyncio.open_unix_connection(path)):
            done("remote unix")
        listener.close()
        await listener.wait_closed()
        listener = await client.forward_local_port(host, 0, host, target)
        if await echoed(*await asyncio.open_connection(host, listener.get_port())):
            done("local")
        listener = await client.forward_socks(host, 0)
        reader, writer = await asyncio.open_connection(host, listener.get_port())
        writer.write(bytes([5, 1, 0, 5, 1, 0, 3, 9]) + b"localhost" + target.to_bytes(2, "big"))
        await reader.readexactly(2)
        head = await reader.readexactly(5)
        await reader.readexactly({1: 5, 3: head[4] + 2, 4: 17}[head[3]])
        if await echoed(reader, writer):
            done("dynamic")
        async with asyncssh.connect(host, settings["second"], tunnel=client, **LOGIN) as inner:
            done((await inner.run()).stdout.strip())


asyncio.run(main())
