"""paramiko's SFTP client for the tests: one JSON request per line on standard input, one answer per line on standard output."""

import base64
import json
import os
import socket
import stat
import sys

import paramiko


def copy(sftp, files):
    """Copies a tree to /tree and back."""

    def up(here, there):
        sftp.mkdir(there)
        for entry in os.scandir(here):
            path = f"{there}/{entry.name}"
            if entry.is_symlink():
                sftp.symlink(os.readlink(entry.path), path)
            elif entry.is_dir():
                up(entry.path, path)
            else:
                sftp.put(entry.path, path)

    def down(there, here):
        os.mkdir(here)
        for entry in sftp.listdir_attr(there):
            source, path = f"{there}/{entry.filename}", f"{here}/{entry.filename}"
            if stat.S_ISLNK(entry.st_mode):
                os.symlink(sftp.readlink(source), path)
            elif stat.S_ISDIR(entry.st_mode):
                down(source, path)
            else:
                sftp.get(source, path)

    up(files["tree"], "/tree")
    down("/tree", f"{files['back']}/tree")
    return sftp.listdir("/tree")


def answer(request):
    transport = paramiko.Transport(socket.create_connection(("127.0.0.1", request["port"])))
    try:
        transport.start_client(timeout=30)
        known = {line.split()[1] for line in request["host_keys"]}
        if base64.b64encode(transport.get_remote_server_key().asbytes()).decode() not in known:
            return {"error": "host key not known"}
        transport.auth_publickey(request["username"], paramiko.Ed25519Key.from_private_key_file(request["key_file"]))
        return {"listing": copy(paramiko.SFTPClient.from_transport(transport), request["files"])}
    finally:
        transport.close()


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
