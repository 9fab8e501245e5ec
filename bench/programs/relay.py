"""
Bench. A TCP relay on loopback that holds every byte for a while, as the kernel here adds no delay itself. In Python, which takes a fraction of the
CPU that Deno takes for it: one thread, a few calls of the system for each 256 KiB, so that the relay is not what limits a rate.

Argument: {"port": where connections go, "delay": milliseconds one way}. Prints its port; ends when standard input does.
"""

import collections
import json
import os
import select
import socket
import sys
import time

BLOCK = 256 * 1024
# Bytes that one way holds before it stops reading.
HELD = 64 * 1024 * 1024


class Way:
    """One direction of a connection."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.waiting = collections.deque()  # (due, bytes); no bytes are the end
        self.held = 0
        self.reading, self.blocked, self.over = True, False, False

    def read(self, due):
        try:
            data = self.source.recv(BLOCK)
        except BlockingIOError:
            return
        self.waiting.append((due, memoryview(data)))
        self.held += len(data)
        self.reading = len(data) > 0

    def write(self, now):
        """Sends what is due, until the socket takes no more."""
        while self.waiting and self.waiting[0][0] <= now:
            due, data = self.waiting.popleft()
            if len(data) == 0:
                self.over = True
                self.sink.shutdown(socket.SHUT_WR)
                return
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            self.held -= sent
            if sent < len(data):
                self.waiting.appendleft((due, data[sent:]))
                self.blocked = True
                return
        self.blocked = False


def main():
    params = json.loads(sys.argv[1])
    delay = params["delay"] / 1000
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    pairs = []
    while True:
        now = time.monotonic()
        for pair in list(pairs):
            try:
                for way in pair:
                    if not way.blocked:
                        way.write(now)
            except OSError:
                end(pairs, pair)
                continue
            if all(way.over for way in pair):
                end(pairs, pair)
        ways = [way for pair in pairs for way in pair]
        readers = {way.source: way for way in ways if way.reading and way.held < HELD}
        writers = {way.sink: way for way in ways if way.blocked}
        dues = [way.waiting[0][0] for way in ways if way.waiting and not way.blocked]
        timeout = max(0, min(dues) - time.monotonic()) if dues else None
        readable, writable, _ = select.select([0, listener, *readers], [*writers], [], timeout)
        due = time.monotonic() + delay
        for one in readable:
            if one == 0:
                if os.read(0, 65536) == b"":
                    return
            elif one is listener:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", params["port"]))
                except OSError:
                    near.close()
                    continue
                for side in (near, far):
                    side.setblocking(False)
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pairs.append((Way(near, far), Way(far, near)))
            else:
                try:
                    readers[one].read(due)
                except OSError:
                    end(pairs, next((pair for pair in pairs if readers[one] in pair), None))
        for one in writable:
            writers[one].blocked = False


def end(pairs, pair):
    """Closes both sockets of a connection."""
    if pair not in pairs:
        return
    pairs.remove(pair)
    for way in pair:
        way.source.close()


main()
