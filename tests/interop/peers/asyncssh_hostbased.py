"""hostbased login with AsyncSSH, both roles: one JSON request per line on standard input, one answer per line on standard output.

`serve` listens and answers its port; who comes is let in where a known host vouches for the user "al". `connect` logs in and answers the
exit status of a command.
"""

import asyncio
import json
import sys
import warnings

warnings.filterwarnings("ignore")
import older_cryptography  # noqa: E402,F401
import asyncssh  # noqa: E402


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def host_based_auth_supported(self):
        return True

    def validate_host_based_user(self, username, client_host, client_username):
        return (username, client_host, client_username) == ("alice", "desk.example", "al")


async def answer(request):
    if request["do"] == "serve":
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=[request["host_key"]],
            known_client_hosts=request["known"].encode(), trust_client_host=True, host_based_auth=True,
            process_factory=lambda process: process.exit(7))
        return server.sockets[0].getsockname()[1]
    async with asyncssh.connect(
            "127.0.0.1", request["port"], username="alice", known_hosts=None, client_keys=None, agent_path=None,
            preferred_auth="hostbased", client_host_keysign=False, client_host_keys=[request["key"]],
            client_host="desk.example", client_username="al") as conn:
        return (await conn.run("exit 3")).exit_status


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            result = await answer(json.loads(line))
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        print(json.dumps(result), flush=True)


asyncio.run(main())
