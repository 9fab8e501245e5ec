"""An AsyncSSH server for the tests. Its argument is JSON: port, host_keys, authorized, username, password, rekey_bytes,
forwards, cas."""

import asyncio
import json
import sys
import warnings

warnings.filterwarnings("ignore")
import older_cryptography  # noqa: E402,F401
import asyncssh  # noqa: E402

config = json.loads(sys.argv[1])


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        lines = [" ".join(line.split()[:2]) for line in config["authorized"]]
        return username == config["username"] and key.export_public_key().decode().strip() in lines

    def validate_ca_key(self, username, key):
        return key.export_public_key().decode().strip() in config.get("cas", [])

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return username == config["username"] and password == config["password"]

    def kbdint_auth_supported(self):
        return True

    def get_kbdint_challenge(self, username, lang, submethods):
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username, responses):
        return username == config["username"] and list(responses) == [config["password"]]

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return bool(config.get("forwards"))

    def server_requested(self, listen_host, listen_port):
        return bool(config.get("forwards"))

    def unix_connection_requested(self, dest_path):
        return bool(config.get("forwards"))

    def unix_server_requested(self, listen_path):
        return bool(config.get("forwards"))


async def run(process):
    child = await asyncio.create_subprocess_shell(
        process.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    async def feed():
        try:
            while data := await process.stdin.read(32768):
                child.stdin.write(data)
                await child.stdin.drain()
            child.stdin.close()
        except (OSError, asyncssh.Error):
            pass

    async def drain(source, target):
        while data := await source.read(32768):
            target.write(data)
            await target.drain()

    feeding = asyncio.ensure_future(feed())
    await asyncio.gather(drain(child.stdout, process.stdout), drain(child.stderr, process.stderr))
    process.exit(await child.wait())
    feeding.cancel()


async def main():
    options = {}
    if config.get("rekey_bytes"):
        options["rekey_bytes"] = config["rekey_bytes"]
    for name in ("kex_algs", "encryption_algs", "mac_algs", "signature_algs", "compression_algs"):
        if config.get(name):
            options[name] = config[name]
    await asyncssh.create_server(
        Server,
        "127.0.0.1",
        config["port"],
        server_host_keys=config["host_keys"],
        process_factory=run,
        encoding=None,
        sftp_factory=True,
        allow_scp=True,
        **options,
    )
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
