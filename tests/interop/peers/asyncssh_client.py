"""An AsyncSSH client for the tests: one JSON request per line on standard input, one answer per line on standard output."""

import asyncio
import base64
import json
import sys
import warnings

warnings.filterwarnings("ignore")
import older_cryptography  # noqa: E402,F401
import asyncssh  # noqa: E402


class Client(asyncssh.SSHClient):
    def __init__(self, request):
        self.request = request

    def kbdint_auth_requested(self):
        return "" if self.request.get("interactive") else None

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [self.request["password"] for _ in prompts]


async def copy(conn, files):
    """Copies a tree to /tree and back."""
    tree, back = files["tree"].encode(), files["back"].encode()
    if files["by"] == "scp":
        await asyncssh.scp(tree, (conn, b"/"), recurse=True, preserve=True)
        await asyncssh.scp((conn, b"/tree"), back, recurse=True, preserve=True)
        return None
    async with conn.start_sftp_client(path_encoding=None) as sftp:
        await sftp.put(tree, b"/tree", recurse=True, preserve=True)
        await sftp.get(b"/tree", back + b"/tree", recurse=True, preserve=True)
        return [name.decode("utf-8", "replace") for name in await sftp.listdir(b"/tree")]


async def answer(request):
    options = {"client_keys": None, "agent_path": None, "preferred_auth": "publickey"}
    if request.get("key_file"):
        options["client_keys"] = [request["key_file"]]
    elif request.get("interactive"):
        options["preferred_auth"] = "keyboard-interactive"
    else:
        options["password"] = request["password"]
        options["preferred_auth"] = "password"
    if request.get("rekey_bytes"):
        options["rekey_bytes"] = request["rekey_bytes"]
    for name in ("kex_algs", "encryption_algs", "mac_algs", "signature_algs", "compression_algs"):
        if request.get(name):
            options[name] = request[name]
    known = "".join(f"[127.0.0.1]:{request['port']} {line}\n" for line in request["host_keys"])
    if "server_host_key_algs" in request:
        options["server_host_key_algs"] = request["server_host_key_algs"]
    conn, _ = await asyncssh.create_connection(
        lambda: Client(request),
        "127.0.0.1",
        request["port"],
        username=request["username"],
        known_hosts=asyncssh.import_known_hosts(known),
        config=None,
        **options,
    )
    async with conn:
        if "files" in request:
            return {"listing": await copy(conn, request["files"])}
        result = await conn.run(request["command"], input=base64.b64decode(request["input"]), encoding=None)
        return {
            "stdout": base64.b64encode(result.stdout).decode(),
            "stderr": result.stderr.decode(),
            "code": result.exit_status,
        }


for line in sys.stdin:
    try:
        reply = asyncio.run(answer(json.loads(line)))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
