"""An AsyncSSH client with a terminal that it resizes and presses ^C on. The settings are the argument, in JSON."""

import asyncio
import json
import sys

import older_cryptography  # noqa: F401
import asyncssh

settings = json.loads(sys.argv[1])


async def main():
    async with asyncssh.connect(
        "127.0.0.1", settings["port"], username="amiko", known_hosts=None, client_keys=[settings["key"]], config=None
    ) as conn:
        process = await conn.create_process(settings["command"], term_type="vt220", term_size=(101, 31))
        said = ""

        async def until(wanted):
            nonlocal said
            while wanted not in said:
                data = await process.stdout.read(65536)
                if not data:
                    raise SystemExit(f"it ended: {said}")
                said += data

        await until("ready")
        process.change_terminal_size(102, 32)
        await until("32 102")
        process.stdin.write("\x03")
        await until("int")
        await process.wait_closed()
        print(json.dumps({"said": said, "code": process.exit_status}))


asyncio.run(main())
