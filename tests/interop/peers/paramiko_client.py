"""A paramiko client for the tests: one JSON request per line on standard input, one answer per line on standard output."""

import base64
import json
import os
import socket
import sys
import threading

import paramiko


def load_key(file):
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            key = kind.from_private_key_file(file)
        except Exception:
            continue
        if os.path.exists(f"{file}-cert.pub"):
            key.load_certificate(f"{file}-cert.pub")
        return key
    raise ValueError(file)


def answer(request):
    sock = socket.create_connection(("127.0.0.1", request["port"]))
    transport = paramiko.Transport(sock)
    try:
        if request.get("compress"):
            transport.use_compression(True)
        transport.start_client(timeout=30)
        shown = transport.get_remote_server_key()
        known = {line.split()[1] for line in request["host_keys"]}
        if base64.b64encode(shown.asbytes()).decode() not in known:
            return {"error": "host key not known"}
        if request.get("key_file"):
            transport.auth_publickey(request["username"], load_key(request["key_file"]))
        elif request.get("interactive"):
            transport.auth_interactive(
                request["username"], lambda title, text, prompts: [request["password"] for _ in prompts]
            )
        else:
            transport.auth_password(request["username"], request["password"], fallback=False)
        channel = transport.open_session()
        channel.exec_command(request["command"])
        data = base64.b64decode(request["input"])

        def feed():
            # Not by volume: paramiko answers CLOSE in the thread that reads, where it waits for the end of the key exchange that it has begun, and so
            # for ever when CLOSE was on its way. Before EOF the server has no reason to send one.
            half = len(data) // 2
            channel.sendall(data[:half])
            if request.get("rekey"):
                transport.renegotiate_keys()
            channel.sendall(data[half:])
            channel.shutdown_write()

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        out, err = bytearray(), bytearray()

        def drain_stderr():
            while piece := channel.recv_stderr(65536):
                err.extend(piece)

        drain = threading.Thread(target=drain_stderr, daemon=True)
        drain.start()
        while piece := channel.recv(65536):
            out.extend(piece)
        drain.join(20)
        feeder.join(20)
        code = channel.recv_exit_status()
        return {"stdout": base64.b64encode(out).decode(), "stderr": err.decode(), "code": code}
    finally:
        transport.close()


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
