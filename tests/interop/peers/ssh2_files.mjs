// The real file system for an SFTP session of ssh2's server, which brings the messages only.
import fs from "node:fs";

const { promises: files } = fs;

export function serveFiles(sftp, { STATUS_CODE, OPEN_MODE }) {
  const handles = new Map();
  let last = 0;
  const keep = (value) => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(++last);
    handles.set(last, value);
    return handle;
  };
  const held = (handle) => {
    const value = handles.get(handle.readUInt32BE());
    if (value === undefined) throw new Error("no such handle");
    return value;
  };
  const attributes = (stat) => ({
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    size: stat.size,
    atime: Math.floor(stat.atimeMs / 1000),
    mtime: Math.floor(stat.mtimeMs / 1000),
  });
  const entry = (filename, stat) => ({ filename, longname: filename, attrs: stat === null ? {} : attributes(stat) });
  const change = async (target, attrs) => {
    if (attrs.size !== undefined) await target.truncate(attrs.size);
    if (attrs.mode !== undefined) await target.chmod(attrs.mode & 0o7777);
    if (attrs.atime !== undefined) await target.utimes(attrs.atime, attrs.mtime);
  };
  const byPath = (path) => ({
    truncate: (size) => files.truncate(path, size),
    chmod: (mode) => files.chmod(path, mode),
    utimes: (atime, mtime) => files.utimes(path, atime, mtime),
  });
  // One request after the other, as the draft wants it for those of one file.
  let before = Promise.resolve();
  // What a handler gives back is the answer; nothing is "OK".
  const on = (event, handler) => {
    sftp.on(event, (id, ...args) => before = before.then(() => run(handler, id, args)));
  };
  const run = async (handler, id, args) => {
    try {
      const answer = await handler(...args);
      if (answer === undefined) sftp.status(id, STATUS_CODE.OK);
      else answer(id);
    } catch (error) {
      const codes = { ENOENT: STATUS_CODE.NO_SUCH_FILE, EACCES: STATUS_CODE.PERMISSION_DENIED };
      sftp.status(id, codes[error.code] ?? STATUS_CODE.FAILURE, error.message);
    }
  };
  const end = (id) => sftp.status(id, STATUS_CODE.EOF);

  on("OPEN", async (path, flags, attrs) => {
    const { READ, WRITE, CREAT, TRUNC, EXCL, APPEND } = OPEN_MODE, { constants } = fs;
    let mode = flags & WRITE ? flags & READ ? constants.O_RDWR : constants.O_WRONLY : constants.O_RDONLY;
    if (flags & CREAT) mode |= constants.O_CREAT;
    if (flags & TRUNC) mode |= constants.O_TRUNC;
    if (flags & EXCL) mode |= constants.O_EXCL;
    if (flags & APPEND) mode |= constants.O_APPEND;
    const handle = keep(await files.open(path, mode, attrs.mode ?? 0o666));
    return (id) => sftp.handle(id, handle);
  });
  on("READ", async (handle, offset, length) => {
    const { bytesRead, buffer } = await held(handle).read(Buffer.alloc(Math.min(length, 32768)), 0, null, offset);
    return bytesRead === 0 ? end : (id) => sftp.data(id, buffer.subarray(0, bytesRead));
  });
  on("WRITE", async (handle, offset, data) => {
    await held(handle).write(data, 0, data.length, offset);
  });
  on("FSTAT", async (handle) => {
    const stat = await held(handle).stat();
    return (id) => sftp.attrs(id, attributes(stat));
  });
  on("FSETSTAT", (handle, attrs) => change(held(handle), attrs));
  on("CLOSE", async (handle) => {
    const value = held(handle);
    handles.delete(handle.readUInt32BE());
    await value.close?.();
  });
  on("OPENDIR", async (path) => {
    const handle = keep({ path, names: await files.readdir(path) });
    return (id) => sftp.handle(id, handle);
  });
  on("READDIR", async (handle) => {
    const { path, names } = held(handle), list = [];
    for (const name of names.splice(0, 100)) list.push(entry(name, await files.lstat(`${path}/${name}`)));
    return list.length === 0 ? end : (id) => sftp.name(id, list);
  });
  for (const [event, call] of [["STAT", files.stat], ["LSTAT", files.lstat]]) {
    on(event, async (path) => {
      const stat = await call(path);
      return (id) => sftp.attrs(id, attributes(stat));
    });
  }
  on("SETSTAT", (path, attrs) => change(byPath(path), attrs));
  on("MKDIR", (path, attrs) => files.mkdir(path, attrs.mode ?? 0o777));
  on("RMDIR", (path) => files.rmdir(path));
  on("REMOVE", (path) => files.unlink(path));
  on("RENAME", async (from, to) => {
    if (fs.existsSync(to)) throw new Error("there already");
    await files.rename(from, to);
  });
  on("REALPATH", async (path) => {
    const real = await files.realpath(path);
    return (id) => sftp.name(id, [entry(real, null)]);
  });
  on("READLINK", async (path) => {
    const target = await files.readlink(path);
    return (id) => sftp.name(id, [entry(target, null)]);
  });
  on("SYMLINK", (path, target) => files.symlink(target, path));
}
