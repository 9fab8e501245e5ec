/**
 * Bench. The scenarios of file transfer, written once for this module's client and ssh2's, on Deno and on Node.
 * Plain JavaScript because Node runs it too.
 *
 * Beside what `common.mjs` asks for, a driver's connection has `sftp()`, resolving to
 * `{ get(remote, local, onBytes), put(local, remote, onBytes), getTree(remote, local), putTree(local, remote), stat(path), list(path), close() }`;
 * `onBytes`, if any, is called with the bytes done so far, and `list` resolves to the number of entries.
 */

import { addScenarios, cpuSeconds, latencies, params, peakRss, rss } from "./common.mjs";

/** Runs `body` on a session; connecting and starting the session are not measured. */
async function measured(connect, body) {
  const conn = await connect(params);
  const sftp = await conn.sftp();
  await sftp.stat(".");
  const cpu = cpuSeconds(), begin = performance.now();
  const more = await body(sftp);
  const seconds = (performance.now() - begin) / 1000;
  const used = cpuSeconds() - cpu;
  await sftp.close();
  await conn.close();
  return { seconds, cpu: used, peak: peakRss(), ...more };
}

/** Resident bytes at each twentieth of a transfer, where the parameters ask for them. */
function sampler() {
  const series = [];
  const step = params.bytes / 20;
  let next = step;
  const onBytes = (done) => {
    if (done < next) return;
    next += step;
    series.push(rss());
  };
  return { series, onBytes: params.sample ? onBytes : undefined };
}

addScenarios({
  sftpGet: (connect) =>
    measured(connect, async (sftp) => {
      const { series, onBytes } = sampler();
      await sftp.get(params.remote, params.local, onBytes);
      return { bytes: params.bytes, series };
    }),

  sftpPut: (connect) =>
    measured(connect, async (sftp) => {
      const { series, onBytes } = sampler();
      await sftp.put(params.local, params.remote, onBytes);
      return { bytes: params.bytes, series };
    }),

  sftpGetTree: (connect) =>
    measured(connect, async (sftp) => {
      await sftp.getTree(params.remote, params.local);
      return { count: params.count };
    }),

  sftpPutTree: (connect) =>
    measured(connect, async (sftp) => {
      await sftp.putTree(params.local, params.remote);
      return { count: params.count };
    }),

  sftpStat: (connect) =>
    measured(connect, async (sftp) => {
      const each = [];
      for (let i = 0; i < params.count; i++) {
        const from = performance.now();
        await sftp.stat(params.remote);
        each.push(performance.now() - from);
      }
      return { count: params.count, ...latencies(each) };
    }),

  /** The same, as many at once as `params.parallel`. */
  sftpStatParallel: (connect) =>
    measured(connect, async (sftp) => {
      let left = params.count;
      const one = async () => {
        while (left-- > 0) await sftp.stat(params.remote);
      };
      await Promise.all(Array.from({ length: params.parallel }, one));
      return { count: params.count };
    }),

  sftpList: (connect) =>
    measured(connect, async (sftp) => {
      const count = await sftp.list(params.remote);
      if (count !== params.count) throw new Error(`${count} entries listed instead of ${params.count}`);
      return { count };
    }),
});
