"""An AsyncSSH client that lends its display and its agent, and a server that takes those of its client. The settings are the argument, in JSON."""

import asyncio
import json
import sys

import older_cryptography  # noqa: F401
import asyncssh

settings = json.loads(sys.argv[1])


async def client():
    async with asyncssh.connect(
        "127.0.0.1",
        settings["port"],
        username="amiko",
        known_hosts=None,
        client_keys=[settings["key"]],
        config=None,
        agent_forwarding=True,
    ) as conn:
        result = await conn.run(settings["command"], x11_forwarding=True)
        print(result.stdout, end="")


async def handle(process):
    env = {"PATH": "/usr/bin:/bin", "HOME": settings["home"]}
    display, agent = process.channel.get_x11_display(), process.channel.get_agent_path()
    if display:
        env.update(DISPLAY=display, XAUTHORITY=settings["authority"])
    if agent:
        env["SSH_AUTH_SOCK"] = agent
    child = await asyncio.create_subprocess_shell(
        process.command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=env
    )
    stdout, _ = await child.communicate()
    process.stdout.write(stdout.decode())
    process.exit(child.returncode)


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        return True


async def server():
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[settings["host_key"]],
        process_factory=handle,
        x11_forwarding=True,
        x11_auth_path=settings["authority"],
        agent_forwarding=True,
    )
    print(listener.get_port(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    listener.close()


asyncio.run(server() if "host_key" in settings else client())
