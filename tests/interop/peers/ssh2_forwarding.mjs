// Forwards of the ssh2 server: it connects where it is asked to, and listens, to ports and Unix sockets.
import { connect, createServer } from "node:net";

function join(socket, channel) {
  socket.on("error", () => channel.close());
  channel.on("error", () => socket.destroy());
  socket.pipe(channel).pipe(socket);
}

export function serveForwards(client) {
  const listening = new Map();
  const dial = (accept, reject, where) => {
    const socket = connect({ ...where, allowHalfOpen: true });
    socket.once("connect", () => join(socket, accept()));
    socket.once("error", () => reject());
  };
  client.on("tcpip", (accept, reject, { destIP, destPort }) => dial(accept, reject, { host: destIP, port: destPort }));
  client.on("openssh.streamlocal", (accept, reject, { socketPath }) => dial(accept, reject, { path: socketPath }));
  client.on("request", (accept, reject, name, { bindAddr, bindPort, socketPath }) => {
    const key = socketPath ?? `${bindAddr}:${bindPort}`, cancelled = listening.get(key);
    if (name.startsWith("cancel-")) {
      if (cancelled === undefined) return reject();
      listening.delete(key);
      cancelled.close();
      return accept();
    }
    const listener = createServer({ allowHalfOpen: true }, (socket) => {
      const opened = (error, channel) => error ? socket.destroy() : join(socket, channel);
      if (socketPath !== undefined) return client.openssh_forwardOutStreamLocal(socketPath, opened);
      const { port } = listener.address();
      client.forwardOut(bindAddr, port, socket.remoteAddress, socket.remotePort, opened);
    });
    listener.once("error", () => reject());
    const bound = () => {
      const port = listener.address().port;
      listening.set(socketPath ?? `${bindAddr}:${port}`, listener);
      accept(socketPath === undefined && bindPort === 0 ? port : undefined);
    };
    if (socketPath !== undefined) return listener.listen(socketPath, bound);
    listener.listen(bindPort, bindAddr === "" ? undefined : bindAddr, bound);
  });
  client.on("close", () => listening.forEach((one) => one.close()));
}
