"""Bench. paramiko and AsyncSSH; the same marks as flights_scenario.mjs.

Arguments: the library, then the parameters as JSON. Prints a line of JSON for each mark.
"""

import asyncio
import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")
LIBRARY, P = sys.argv[1], json.loads(sys.argv[2])
since = 0.0


def mark(name):
    global since
    now = time.perf_counter()
    print(json.dumps({"mark": name, "ms": (now - since) * 1000}), flush=True)
    since = now


def with_paramiko():
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    begin()
    client.connect(
        P["hostname"], port=P["port"], username=P["username"], key_filename=P["keyFile"],
        look_for_keys=False, allow_agent=False,
    )
    mark("connect")
    _, out, _ = client.exec_command("true")
    assert out.channel.recv_exit_status() == 0
    mark("exec")
    sftp = client.open_sftp()
    mark("sftp")
    with sftp.open(P["remote"], "rb") as file:
        file.read()
    mark("file")
    client.close()
    mark("close")


async def with_asyncssh():
    import asyncssh

    begin()
    conn = await asyncssh.connect(
        P["hostname"], port=P["port"], username=P["username"], client_keys=[P["keyFile"]],
        known_hosts=None, agent_path=None, config=None,
    )
    mark("connect")
    await conn.run("true", check=True)
    mark("exec")
    sftp = await conn.start_sftp_client()
    mark("sftp")
    async with sftp.open(P["remote"], "rb") as file:
        await file.read()
    mark("file")
    conn.close()
    await conn.wait_closed()
    mark("close")


def begin():
    global since
    since = time.perf_counter()


if LIBRARY == "paramiko":
    with_paramiko()
else:
    asyncio.run(with_asyncssh())
print(json.dumps({"mark": "end"}), flush=True)
