"""Bench. paramiko and AsyncSSH as SFTP clients; the same scenarios and results as sftp_scenarios.mjs.

Arguments: the library, then the parameters as JSON. Prints one line of JSON.
"""

import asyncio
import json
import os
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")
LIBRARY, P = sys.argv[1], json.loads(sys.argv[2])


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Meter:
    def __init__(self):
        self.cpu = cpu()
        self.begin = time.perf_counter()

    def end(self, **more):
        seconds = time.perf_counter() - self.begin
        result = {
            "seconds": seconds,
            "cpu": cpu() - self.cpu,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            **more,
        }
        print(json.dumps(result), flush=True)


def names(folder):
    return sorted(os.listdir(folder))


def with_paramiko():
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        P["hostname"], port=P["port"], username=P["username"], key_filename=P["keyFile"],
        look_for_keys=False, allow_agent=False,
    )
    sftp = client.open_sftp()
    remote, local, scenario = P["remote"], P.get("local"), P["scenario"]
    sftp.stat(".")
    meter = Meter()
    if scenario == "sftpGet":
        sftp.get(remote, local)
        meter.end(bytes=P["bytes"])
    elif scenario == "sftpPut":
        sftp.put(local, remote)
        meter.end(bytes=P["bytes"])
    elif scenario == "sftpGetTree":
        os.makedirs(local, exist_ok=True)
        for name in sftp.listdir(remote):
            sftp.get(f"{remote}/{name}", f"{local}/{name}")
        meter.end(count=P["count"])
    elif scenario == "sftpPutTree":
        sftp.mkdir(remote)
        for name in names(local):
            sftp.put(f"{local}/{name}", f"{remote}/{name}")
        meter.end(count=P["count"])
    elif scenario == "sftpStat":
        for _ in range(P["count"]):
            sftp.stat(remote)
        meter.end(count=P["count"])
    elif scenario == "sftpList":
        assert len(sftp.listdir_attr(remote)) == P["count"]
        meter.end(count=P["count"])
    else:
        raise SystemExit(f"No such scenario: {scenario}")
    client.close()


async def with_asyncssh():
    import asyncssh

    async with asyncssh.connect(
        P["hostname"], port=P["port"], username=P["username"], client_keys=[P["keyFile"]],
        known_hosts=None, agent_path=None, encryption_algs=[P["cipher"]], config=None,
    ) as conn, conn.start_sftp_client() as sftp:
        remote, local, scenario = P["remote"], P.get("local"), P["scenario"]
        await sftp.stat(".")
        meter = Meter()
        if scenario == "sftpGet":
            await sftp.get(remote, local)
            meter.end(bytes=P["bytes"])
        elif scenario == "sftpPut":
            await sftp.put(local, remote)
            meter.end(bytes=P["bytes"])
        elif scenario == "sftpGetTree":
            os.makedirs(local, exist_ok=True)
            await sftp.mget(f"{remote}/*", local)
            meter.end(count=P["count"])
        elif scenario == "sftpPutTree":
            await sftp.mkdir(remote)
            await sftp.mput(f"{local}/*", remote)
            meter.end(count=P["count"])
        elif scenario == "sftpStat":
            for _ in range(P["count"]):
                await sftp.stat(remote)
            meter.end(count=P["count"])
        elif scenario == "sftpStatParallel":
            left = [P["count"]]

            async def one():
                while left[0] > 0:
                    left[0] -= 1
                    await sftp.stat(remote)

            await asyncio.gather(*(one() for _ in range(P["parallel"])))
            meter.end(count=P["count"])
        elif scenario == "sftpList":
            found = await sftp.readdir(remote)
            assert len([entry for entry in found if entry.filename not in (".", "..")]) == P["count"]
            meter.end(count=P["count"])
        else:
            raise SystemExit(f"No such scenario: {scenario}")


if LIBRARY == "paramiko":
    with_paramiko()
else:
    asyncio.run(with_asyncssh())
