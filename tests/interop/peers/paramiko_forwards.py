"""Forwards through a server with paramiko: a direct connection, and a remote listener. The settings are the argument, in JSON."""

import hashlib
import json
import socket
import sys
import threading

import paramiko

settings = json.loads(sys.argv[1])
SENT = bytes(i * 7 & 255 for i in range(1_000_000))


def echoed(end):
    def send():
        end.sendall(SENT)
        if isinstance(end, paramiko.Channel):
            end.shutdown_write()
        else:
            end.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    got = b""
    while True:
        part = end.recv(65536)
        if not part:
            break
        got += part
    sending.join()
    end.close()
    return hashlib.sha256(got).digest() == hashlib.sha256(SENT).digest()


def reflect(channel):
    while True:
        part = channel.recv(65536)
        if not part:
            break
        channel.sendall(part)
    channel.shutdown_write()
    channel.close()


transport = paramiko.Transport(("127.0.0.1", settings["port"]))
transport.connect(username="alice", pkey=paramiko.Ed25519Key.from_private_key_file(settings["key"]))
channel = transport.open_channel("direct-tcpip", ("127.0.0.1", settings["target"]), ("127.0.0.1", 1))
if echoed(channel):
    print("direct ok")
port = transport.request_port_forward("127.0.0.1", 0)
end = socket.create_connection(("127.0.0.1", port))
threading.Thread(target=lambda: reflect(transport.accept(20)), daemon=True).start()
if echoed(end):
    print("remote ok")
transport.cancel_port_forward("127.0.0.1", port)
try:
    socket.create_connection(("127.0.0.1", port))
except OSError:
    print("cancelled")
transport.close()
